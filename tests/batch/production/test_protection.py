"""What leaves the office of a production: an attacker who has all published bytes and knows all populations.

The attacker shares no code with the protection: dense linear programmes of scipy over sums that he forms
himself from the records' weights. He is given the published figures without rounding and all weights, more
than the files hold: rounded figures and the ends of intervals leave him no less open.
"""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from sae import cli
from sae.batch.comparison import compare_results
from sae.batch.production.runner import run_production
from sae.batch.production.spec import parse_production
from sae.publish import published
from sae.quality.appearance import PROTECTING
from sae.tables import EstimateTable

CLOSE = 1e-5  # of an interval's ends: five times the tolerance of both programmes, on rates between 0 and 1
MET = 1e-8  # a sum that holds: an area without records has 1e-9 of a mean weight in a benchmark
LEVELS = """
groups = [[], ["birth"], ["birth", "sex"]]
levels = { region = "region", district = "district", nation = "" }
"""
BENCHMARK = """
[[benchmark]]
to = "nation"
groups = true
method = "logit"
factor_range = [0.1, 10.0]
"""
TOTAL = "total"


@pytest.fixture(scope="module")
def records(texts):
    """Regions with few foreigners, some with one to three of a sex."""
    rng = np.random.default_rng(11)
    frame = texts.draw(np.random.default_rng(5))
    few = frame["region"].isin(["R02", "R05", "R09", "R10"]) & (frame["birth"] == "foreign")
    kept = ~few | (rng.random(len(frame)) < 0.12)
    frame = frame[kept].assign(
        district=lambda one: "D" + ((one["region"].str[1:].astype(int) - 1) // 4).astype(str)
    )
    return frame.reset_index(drop=True)


def produced(texts, folder, records, policy, tail, without=""):
    records.to_csv(folder / "persons.csv", index=False)
    text = texts.head.replace('groups = [["birth"]]\n', "").replace(
        'levels = { region = "region", nation = "" }', LEVELS.replace(without, "")
    )
    text = text.replace('"eurostat_silc"', policy) + tail
    file = parse_production(text, "table", folder)
    return run_production(
        file, surveys=[f"lfs={folder / 'persons.csv'}"], areas=folder / "areas.csv", out=folder / "out"
    )


def sums_of(frame, records):
    """Return every sum of rows, (parts, weights, total), by brute force: any two crossings that nest."""
    weight = np.zeros(len(frame))
    inside = []
    for k, row in enumerate(frame.itertuples()):
        mine = np.ones(len(records), dtype=bool)
        if row.level != "nation":
            mine &= records[row.level].eq(row.geo).to_numpy()
        for name in ("birth", "sex"):
            if getattr(row, name) != TOTAL:
                mine &= records[name].eq(getattr(row, name)).to_numpy()
        mine &= records["age"].between(20, 64).to_numpy()
        weight[k], own = records["w"][mine].sum(), frozenset(np.flatnonzero(mine))
        inside.append(own)
    kinds = frame["level"] + (frame["birth"] == TOTAL).astype(str) + (frame["sex"] == TOTAL).astype(str)
    found = []
    for fine, coarse in itertools.permutations(kinds.unique(), 2):
        parts = np.flatnonzero(kinds == fine)
        for total in np.flatnonzero(kinds == coarse):
            some = [k for k in parts if inside[k] and inside[k] <= inside[total]]
            if len(some) > 1 and frozenset().union(*(inside[k] for k in some)) == inside[total]:
                found.append((np.array(some), weight[some], total))
    return found


def holding(sums, parts, totals):
    return [
        (rows, w, total)
        for rows, w, total in sums
        if abs(np.average(parts[rows], weights=w) - totals[total]) < MET
    ]


def attacked(truth, equations, known, wanted):
    """Return the ends of figures between 0 and 1 that satisfy equations, given the known ones."""
    matrix = np.zeros((len(equations), len(truth)))
    for line, (rows, w, total) in enumerate(equations):
        matrix[line, rows] += w / 100.0
        matrix[line, total] -= w.sum() / 100.0
    free = np.setdiff1d(np.arange(len(truth)), known)
    matrix = matrix[:, free][np.abs(matrix[:, free]).sum(axis=1) > 0]
    right = matrix @ np.nan_to_num(truth[free])  # the published figures' part of it, but for rounding
    ends = {}
    for place in np.searchsorted(free, wanted):
        goal = (np.arange(len(free)) == place).astype(float)
        low, high = (linprog(sign * goal, A_eq=matrix, b_eq=right, bounds=(0, 1)) for sign in (1.0, -1.0))
        assert low.status == high.status == 0, low.message
        ends[int(free[place])] = low.x[place], high.x[place]
    return ends


def attack(working, shown, records, secret):
    """Attack estimates and direct estimates of the secret rows; return the ends of both."""
    n = len(working)
    sums = sums_of(working, records)
    estimate, direct = (working[name].to_numpy(dtype=float) for name in ("estimate", "direct"))
    equations = holding(sums, estimate, estimate)
    moved = [(rows, w, n + total) for rows, w, total in holding(sums, estimate, direct)]
    moved += [(n + rows, w, n + total) for rows, w, total in holding(sums, direct, direct)]
    same = np.flatnonzero(np.abs(estimate - direct) < 1e-12)
    equal = [(np.array([row]), np.ones(1), n + row) for row in same]
    known = np.flatnonzero(shown)
    wanted = [*np.flatnonzero(secret), *(n + np.flatnonzero(secret & ~np.isnan(direct)))]
    return attacked(np.concatenate([estimate, direct]), [*equations, *moved, *equal], known, wanted)


def too_close(working, ends):
    """Return the rows that are known within their protection interval."""
    n, close = len(working), []
    for place, (low, high) in ends.items():
        row = working.iloc[place % n]
        figure = row["estimate"] if place < n else row["direct"]
        factor = max(row["benchmark_factor"], 1.0) if pd.notna(row["benchmark_factor"]) else 1.0
        own = place < n and row["method"] != "direct" and pd.notna(row["gamma"])
        reach = 2.0 * row["gamma"] * factor if own else 1.0
        if low > max(figure - reach, 0.0) + CLOSE or high < min(figure + reach, 1.0) - CLOSE:
            close.append(place)
    return close


POLICIES = {
    "lfs": ('{ base = "eurostat_lfs", limits = [500, 1500] }', 4),
    "silc": ('"eurostat_silc"', 2),
    "own": (
        '{ name = "own", rules = [{ measure = "n", suppress_below = 5, purpose = "confidentiality" },'
        ' { measure = "cv", suppress_above = 0.3 }] }',
        5,
    ),
}


@pytest.mark.parametrize(("model", "policy"), [("direct", "own"), ("model", "lfs"), ("model", "silc")])
def test_no_hidden_figure_is_told_by_all_published_ones(texts, folder, records, policy, model):
    text, least = POLICIES[policy]
    outcome = produced(texts, folder, records, text, texts.arcsin + BENCHMARK if model == "model" else "")
    working = outcome.estimation.table.frame
    public = pd.read_csv(folder / "out" / "table.published.csv", keep_default_na=False)
    shown = (public["estimate"] != ":").to_numpy()
    n = working["n"].fillna(0).to_numpy(dtype=int)
    secret = (n >= 1) & (n < least) & working["estimate"].notna().to_numpy()
    assert secret.any() and not shown[secret].any()
    assert not too_close(working, attack(working, shown, records, secret))
    further = public["reason"].eq(PROTECTING).to_numpy()
    assert (public["flag"][further] == ":c").all() and not shown[further].any()
    before = shown | further
    if further.any():  # without it the attacker succeeds
        assert too_close(working, attack(working, before, records, secret))


def with_nobody(working, records):
    """Add the rows that no table has: of the records whose birth is not known, employed or not."""
    lines = []
    for row in working[working["birth"] == TOTAL].to_dict("records"):
        mine = records["birth"].eq("none") & records["age"].between(20, 64)
        for level in {row["level"]} - {"nation"}:
            mine &= records[level].eq(row["geo"])
        some = records[mine]
        if len(some):
            direct = np.average(some["status"] == 1, weights=some["w"])
            row |= {"birth": "none", "direct": direct, "estimate": np.nan, "n": len(some)}
            lines.append(row)
    return pd.concat([working, pd.DataFrame(lines)], ignore_index=True)


def test_records_of_no_group_leave_no_cell_of_their_total_all_but_known(texts, folder, records):
    """With one record of the total in no group, the hidden group is known to within that record's weight."""
    rng = np.random.default_rng(3)
    records = records.assign(birth=records["birth"].mask(rng.random(len(records)) < 0.02, None))
    outcome = produced(
        texts, folder, records, POLICIES["own"][0].replace("5", "9", 1), "", ', ["birth", "sex"]'
    )
    gone = int(records["birth"].isna().sum())
    assert any(
        f"by birth: {gone} records have no value and belong to no domain" in text for text in outcome.warnings
    )
    working = outcome.estimation.table.frame.drop(columns="sex", errors="ignore").assign(sex=TOTAL)
    whole = with_nobody(working, records.assign(birth=records["birth"].fillna("none")))
    public = pd.read_csv(folder / "out" / "table.published.csv", keep_default_na=False)
    shown = (public["estimate"] != ":").to_numpy()
    n = working["n"].fillna(0).to_numpy(dtype=int)
    secret = (n >= 1) & (n < 9)
    extra = np.zeros(len(whole) - len(working), dtype=bool)
    known = records.assign(birth=records["birth"].fillna("none"))
    further = public["reason"].eq(PROTECTING).to_numpy()
    assert secret.sum() > 1 and len(extra) > 5 and further.any()
    ends = attack(whole, np.append(shown, extra), known, np.append(secret, extra))
    assert not too_close(whole, ends)
    assert too_close(whole, attack(whole, np.append(shown | further, extra), known, np.append(secret, extra)))


@pytest.fixture(scope="module")
def two_runs(texts, tmp_path_factory, records):
    """The folders of a run that hides cells of fewer than five records, and of one that hides fewer."""
    folders = []
    for least in ("5", "2"):
        place = tmp_path_factory.mktemp("run")
        areas = pd.DataFrame({"region": sorted(records["region"].unique())})
        areas.assign(district="D" + ((areas.index) // 4).astype(str)).to_csv(place / "areas.csv", index=False)
        produced(texts, place, records, POLICIES["own"][0].replace("5", least, 1), "")
        folders.append(place)
    return folders


def exit_code(*words):
    with pytest.raises(SystemExit) as end:
        cli.app(list(words))
    return end.value.code


def test_sae_audit_judges_a_published_table_and_no_published_byte_is_of_a_hidden_figure(
    texts, folder, records, capsys
):
    outcome = produced(texts, folder, records, POLICIES["own"][0], "")
    path = folder / "out" / "table.published.csv"
    record = json.loads((folder / "out" / "manifest.json").read_text(encoding="utf-8"))["models"]["table"]
    endings = ["csv", "md", "parquet", "sdmx.csv", "tsv", "xlsx"]
    assert record["public"] == [f"table.published.{ending}" for ending in endings]
    public = int((pd.read_csv(path)["estimate"] != ":").sum())
    assert f"for the office: table.csv; to publish: table.published.csv, with {public} " in outcome.text
    assert exit_code("audit", str(path)) == 0
    assert ": 0 figures told too closely" in capsys.readouterr().out
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [k for k, line in enumerate(lines) if PROTECTING in line]
    for k in rows:  # as if they stood there
        lines[k] = lines[k].replace(":,:,:", "0.5,0.4,0.6")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert rows and exit_code("audit", str(path)) == 1
    assert "told too closely" in capsys.readouterr().out
    path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert exit_code("audit", str(path)) == 2
    table = outcome.estimation.table
    frame, before = table.frame, published(table).frame
    hidden = frame["flag"].str.startswith(":").to_numpy(dtype=bool)
    rng = np.random.default_rng(1)
    for name in ("direct", "direct_se", "estimate", "se", "ci_low", "ci_high", "gamma", "benchmark_factor"):
        frame.loc[hidden, name] = rng.random(hidden.sum())
    pd.testing.assert_frame_equal(published(EstimateTable(frame, table.groups)).frame, before)


@pytest.mark.parametrize("name", ["out", "out/table.published.csv", "out/table.published.xlsx"])
def test_sae_diff_of_productions_warns_of_a_cell_hidden_once_and_shown_later(two_runs, name):
    old, new = two_runs
    few = [pd.read_csv(run / "out" / "table.published.csv", keep_default_na=False) for run in two_runs]
    hidden = [frame["estimate"].eq(":") for frame in few]
    bared, gone = int((hidden[0] & ~hidden[1]).sum()), int((~hidden[0] & hidden[1]).sum())
    told = compare_results(old / name, new / name)
    warned = [text for text in told.warnings if "hidden in the old, not in the new" in text]
    assert bared > 3 and gone == 0 and len(warned) == 1 and f" {bared} cells, hidden in" in warned[0]
    assert ("model file:" in told.text) == (name == "out")
    assert not compare_results(old / name, old / name).warnings
