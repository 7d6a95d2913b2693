"""Indicators that divide the same persons: 1 in every cell, their own figures met, the errors that follow."""

import numpy as np
import pandas as pd
import pytest

from sae.batch.models import shipped_productions
from sae.batch.production import fits
from sae.batch.production.runner import run_production
from sae.batch.production.spec import parse_production, read_production
from sae.errors import SaeSpecError

MET = 1e-10  # benchmarks hold by construction
SAME = 1e-9  # dense algebra against the sparse: conditions of some 1e5, of weights and variances
NAMES = ["employed_share", "unemployed_share", "inactive_share"]
DEFINITIONS = "".join(
    f'[[indicator]]\nid = "{status}_share"\nnumerator = "labour_status == \'{status}\'"\n'
    'universe = "20 <= age <= 64"\nunit = "share"\n'
    for status in ("employed", "unemployed", "inactive")
)
BENCHMARK = f"""
[[benchmark]]
shares = {NAMES}
to = "nation"
groups = true
method = "logit"
factor_range = [0.1, 10.0]
"""
ALONE = f"\n[[benchmark]]\nshares = {NAMES}\nmethod = 'METHOD'\n"


def text_of(texts, benchmark, groups='[[], ["birth"]]'):
    head = texts.head.replace('indicators = ["employment_rate"]', f"indicators = {NAMES}")
    head = head.replace('[["birth"]]', groups)
    return head + DEFINITIONS + texts.arcsin + benchmark


def produced(texts, folder, benchmark, out="out", **options):
    file = parse_production(text_of(texts, benchmark, **options), "table", folder)
    paths = {"surveys": [f"lfs={folder / 'persons.csv'}"], "areas": folder / "areas.csv"}
    return run_production(file, **paths, out=folder / out).estimation


def wide(estimation, level, values="estimate"):
    frame = estimation.table.frame
    frame = frame[frame["level"] == level]
    return frame.pivot(index=["birth", "geo"], columns="indicator", values=values)[NAMES]


def test_every_cell_adds_to_1_and_meets_its_nation_and_its_total(texts, folder):
    estimation = produced(texts, folder, BENCHMARK)
    frame = estimation.table.frame
    assert not frame["reason"].str.contains("not benchmarked").any()
    regions, nation = wide(estimation, "region"), wide(estimation, "nation")
    assert len(regions) == 3 * 16 and "R16" in regions.index.get_level_values("geo")
    for cells in (regions, nation):
        np.testing.assert_allclose(cells.sum(axis=1), 1.0, atol=MET)
    weights = estimation.links.assign(
        **{name: frame[name] for name in ("level", "geo", "birth", "indicator")}
    )
    weights = weights[(weights["level"] == "region") & (weights["indicator"] == NAMES[0])]
    weights = weights.set_index(["birth", "geo"])["counted"]
    for birth in ("total", "foreign", "native"):
        mean = np.average(
            regions.loc[birth], axis=0, weights=weights.loc[birth].loc[regions.loc[birth].index]
        )
        np.testing.assert_allclose(mean, nation.loc[birth, ""], atol=MET)
    for region in regions.loc["total"].index.drop("R16"):
        parts = [("foreign", region), ("native", region)]
        mean = np.average(
            [regions.loc[key] for key in parts], axis=0, weights=[weights[key] for key in parts]
        )
        np.testing.assert_allclose(mean, regions.loc["total", region], atol=MET)
    assert (wide(estimation, "region", "se") > 0).all(axis=None)


def test_shares_alone_are_divided_by_their_sum(texts, folder):
    before = wide(produced(texts, folder, ""), "region")
    assert np.abs(before.sum(axis=1) - 1.0).max() > 0.001
    after = wide(produced(texts, folder, ALONE.replace("METHOD", "ratio"), out="alone"), "region")
    np.testing.assert_allclose(after, before.div(before.sum(axis=1), axis=0), atol=MET)


def test_estimates_and_errors_are_those_of_a_dense_projection(texts, folder, monkeypatch):
    seen = {}

    def spy(fitted, section, upper, coarser):
        after = met(fitted, section, upper, coarser)
        cells = next(iter(fitted.values()))[0]
        if cells.crossing.level == "region":
            seen.update(fitted=fitted, after=after, upper={k: [m() for m in v] for k, v in upper.items()})
        return after

    met = fits.shares_met
    monkeypatch.setattr(fits, "shares_met", spy)
    text = BENCHMARK.replace('"logit"', '"difference"').replace("groups = true\n", "")
    produced(texts, folder, text, groups="[[]]")
    before = np.concatenate([frame["estimate"] for _, frame, _ in seen["fitted"].values()])
    counted = np.concatenate([cells.counted for cells, _, _ in seen["fitted"].values()])
    weights = np.where(counted > 0, counted, 1e-9 * counted[counted > 0].mean())
    n = len(before) // 3
    block, sums, goals = np.zeros((3 * n, 3 * n)), [], []
    for k, (cells, _, parts) in enumerate(seen["fitted"].values()):
        rows = slice(k * n, (k + 1) * n)
        place = parts[0].places[np.argsort(parts[0].frame.index)]
        block[rows, rows] = parts[0].joint.reordered(place).covariance()
        line = np.zeros(3 * n)
        line[rows] = weights[rows] / weights[rows].sum()
        sums.append(line)
        goals.append(seen["upper"][NAMES[k]][0].values[0])
        assert len(cells.frame) == n
    sums += [np.tile(np.eye(n)[cell], 3) for cell in range(n)]
    matrix, target = np.array(sums), np.array([*goals, *np.ones(n)])
    spread = (matrix / weights).T
    gain = spread @ np.linalg.pinv(matrix @ spread, rcond=1e-13)
    estimate = before + gain @ (target - matrix @ before)
    keep = np.eye(3 * n) - gain @ matrix
    mse = np.diag(keep @ block @ keep.T)
    after = [one.frame for one in seen["after"].values()]
    sampled = np.tile(counted[:n] > 0, 3)
    np.testing.assert_allclose(np.concatenate([one["estimate"] for one in after]), estimate, atol=SAME)
    mine = np.concatenate([one["mse"] for one in after])
    np.testing.assert_allclose(mine[sampled], mse[sampled], rtol=1e-6)


def test_rows_that_cannot_add_to_1_say_so(texts, folder):
    records = pd.read_csv(folder / "persons.csv")
    records["status"] = records["status"].where(records["status"] != 2, 3)  # nobody is unemployed
    records.to_csv(folder / "persons.csv", index=False)
    estimation = produced(texts, folder, BENCHMARK)
    frame = estimation.table.frame
    regions = frame[(frame["level"] == "region") & frame["estimate"].notna()]
    assert set(regions["indicator"]) == {"employed_share", "inactive_share"}
    assert regions["reason"].str.contains("not all of employed_share, unemployed_share").all()


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (f'{NAMES}\nfor = "*"', "shares or for"),
        (str(NAMES[:1]), "two or more"),
        (str([*NAMES[:2], NAMES[0]]), "two or more"),
        (str([*NAMES[:2], "arpr"]), "names arpr"),
    ],
)
def test_a_set_that_is_none_is_refused(texts, folder, shares, words):
    benchmark = BENCHMARK.replace(str(NAMES), shares)
    with pytest.raises(SaeSpecError, match=words):
        parse_production(text_of(texts, benchmark), "table", folder)


def test_shares_of_other_persons_are_refused_by_name(texts, folder):
    text = text_of(texts, BENCHMARK).replace('universe = "20 <= age <= 64"', 'universe = "age >= 20"', 1)
    file = parse_production(text, "table", folder)
    with pytest.raises(SaeSpecError, match="not of the same persons: employed_share of lfs / ratio / age"):
        run_production(
            file, surveys=[f"lfs={folder / 'persons.csv'}"], areas=folder / "areas.csv", out=folder / "o"
        )
    assert not (folder / "o").exists()


def test_the_shipped_file_divides_one_population():
    file = read_production(shipped_productions()["labour_status_shares"])
    (section,) = file.benchmarks
    assert section.shares == file.production.indicators and len(section.shares) == 3
