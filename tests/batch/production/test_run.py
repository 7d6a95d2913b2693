"""Productions from files to files: the numbers of a model file, hierarchy, failures, a country's truth."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from sae import cli
from sae.batch.models import find_spec, shipped_productions
from sae.batch.production.runner import check_production, run_production
from sae.batch.production.spec import parse_production, read_production
from sae.batch.runner import run
from sae.datasets import country, write_lfs, write_silc
from sae.errors import SaeError, SaeInputError, SaeSpecError
from sae.tables import EstimateTable

SAME = 1e-12  # the same arithmetic; only the sums of a benchmark stand in another order
MET = 1e-10  # benchmarks hold by construction
NOMINAL, ALLOWED = 0.95, 0.05  # of intervals over 1,000 dependent cells of one sample; truths of few persons

NUMBERS = ["n", "n_eff", "direct", "direct_se", "estimate", "mse", "se", "cv", "ci_low", "ci_high", "gamma"]
MODEL_FILE = """
[survey]
nest = true
[survey.columns]
weights = "w"
strata = "region"
psu = "psu"
time = "year"
[survey.codes.labour_status]
column = "status"
employed = [1]
unemployed = [2]
inactive = [3]
[estimate]
indicator = "employment_rate"
by = ["region", "birth"]
smoothing = "gvf"
[model]
formula = "employment_rate ~ tertiary"
transform = "arcsin"
per = ["birth"]
[benchmark]
within = "birth"
weights = "population"
[publish]
policy = "eurostat_silc"
seed = 7
"""
TO_NATION = '\n[[benchmark]]\nto = "nation"\nweights = "population"\n'


def produced(folder, text, out="out", surveys=None, areas="areas.csv"):
    (folder / "table.toml").write_text(text, encoding="utf-8")
    return run_production(
        read_production(folder / "table.toml"),
        surveys=surveys or [f"lfs={folder / 'persons.csv'}"],
        areas=areas and folder / areas,
        out=folder / out,
    )


def at(outcome, level, **groups):
    frame = outcome.estimation.table.frame
    rows = frame["level"] == level
    for name, value in groups.items():
        rows &= frame[name] == value
    return frame[rows]


@pytest.mark.parametrize("benchmark", [False, True])
def test_one_indicator_has_the_numbers_of_its_model_file(texts, folder, benchmark):
    head, tail = MODEL_FILE.split("[benchmark]\n")
    publish = "[publish]" + tail.split("[publish]")[1]
    (folder / "one.toml").write_text(MODEL_FILE if benchmark else head + publish, encoding="utf-8")
    theirs = run(
        find_spec(folder / "one.toml"),
        survey=folder / "persons.csv",
        areas=folder / "areas.csv",
        out=folder / "one",
    ).table.frame.set_index(["geo", "birth"])
    mine = at(produced(folder, texts.head + texts.arcsin + (TO_NATION if benchmark else "")), "region")
    mine = mine.set_index(["geo", "birth"]).reindex(theirs.index)
    assert len(theirs) == 32
    for name in [*NUMBERS, "benchmark_factor"]:
        np.testing.assert_allclose(
            mine[name].astype(float), theirs[name].astype(float), rtol=SAME, err_msg=name
        )
    for name in ("flag", "publishable", "method", "interval", "mse_method", "in_sample", "domain"):
        assert mine[name].tolist() == theirs[name].tolist(), name


def test_a_second_run_has_the_same_bytes_and_the_record_names_them(texts, folder):
    produced(folder, texts.head + texts.arcsin + TO_NATION, "one")
    words = ["run", "table.toml", "--survey", "persons.csv", "--areas", "areas.csv", "--out", "two"]
    done = subprocess.run(
        [sys.executable, "-m", "sae.cli", *words],
        cwd=folder,
        env={**os.environ, "PYTHONHASHSEED": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = sorted(os.listdir(folder / "one"))
    ends = [
        "csv",
        "direct.csv",
        "ladder.csv",
        "links.parquet",
        "parquet",
        "published.csv",
        "published.md",
        "published.parquet",
    ]
    ends += ["published.sdmx.csv", "published.tsv", "published.xlsx", "xlsx"]
    assert names == ["manifest.json", *(f"table.{end}" for end in ends)]
    for name in names:
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes(), name
    record = json.loads((folder / "one" / "manifest.json").read_text(encoding="utf-8"))["models"]["table"]
    assert record["indicators"] == {"employment_rate": "lfs"} and record["seed"] == 7
    table = EstimateTable.read(folder / "one" / "table.csv")
    assert set(table["model"]) == {"table"} and set(table["run"]) == {record["run"]}


def test_the_levels_and_groups_of_a_hierarchy_agree(texts, folder):
    text = texts.head.replace('groups = [["birth"]]', 'groups = [[], ["birth"], ["birth", "sex"]]')
    text += texts.arcsin + '\n[[benchmark]]\nto = "nation"\ngroups = true\nfactor_range = [0.2, 5.0]\n'
    outcome = produced(folder, text)
    frame = outcome.estimation.table.frame
    assert not frame["reason"].str.contains("not benchmarked").any()
    records = pd.read_csv(folder / "persons.csv").query("20 <= age <= 64")
    for groups in ([], ["birth"], ["birth", "sex"]):
        others = {name: "total" for name in ("birth", "sex") if name not in groups}
        own = at(outcome, "region", **others)
        for name in groups:
            own = own[own[name] != "total"]
        whole = at(outcome, "nation", **others)
        for name in groups:
            whole = whole[whole[name] != "total"]
        counted = records.groupby(["region", *groups])["w"].sum().rename("counted").reset_index()
        own = own.astype({"geo": str, "birth": str, "sex": str})
        own = own.merge(counted.rename(columns={"region": "geo"}), on=["geo", *groups])
        own["sum"] = own["estimate"] * own["counted"]
        sums = (
            own.groupby(groups)[["sum", "counted"]].sum()
            if groups
            else own[["sum", "counted"]].sum().to_frame().T
        )
        met = (sums["sum"] / sums["counted"]).to_numpy()
        np.testing.assert_allclose(met, whole.sort_values(groups or "geo")["estimate"], atol=MET)
        if groups:  # the groups of an area meet its coarser groups
            coarser = groups[:-1]
            parts = own.groupby(["geo", *coarser])[["sum", "counted"]].sum()
            parts = (parts["sum"] / parts["counted"]).rename("mean").reset_index()
            theirs = at(
                outcome, "region", **{name: "total" for name in ("birth", "sex") if name not in coarser}
            )
            theirs = theirs.astype({"geo": str, "birth": str})
            for name in coarser:
                theirs = theirs[theirs[name] != "total"]
            both = parts.merge(theirs, on=["geo", *coarser])
            assert len(both) >= 15
            np.testing.assert_allclose(both["mean"], both["estimate"], atol=MET)
            assert (own["se"] > 0).all()


def test_a_cell_that_fails_leaves_all_others_as_they_were(texts, folder):
    text = (
        texts.head.replace('["employment_rate"]', '["employment_rate", "activity_rate"]')
        + texts.arcsin
        + TO_NATION
    )
    areas = pd.read_csv(folder / "areas.csv").merge(
        pd.DataFrame({"birth": ["foreign", "native"]}), how="cross"
    )
    areas.to_csv(folder / "areas.csv", index=False)
    before = produced(folder, text, "before").estimation.table.frame
    areas.loc[(areas["birth"] == "foreign") & (areas["region"] == "R03"), "tertiary"] = np.nan
    areas.to_csv(folder / "areas.csv", index=False)
    outcome = produced(folder, text, "after")
    after = outcome.estimation.table.frame
    lost = after[(after["level"] == "region") & (after["birth"] == "foreign")]
    assert len(lost) == 32 and lost["estimate"].isna().all()
    assert lost["reason"].str.contains("no rung was accepted: fay_herriot/arcsin: .*tertiary").all()
    steps = outcome.estimation.ladder.query("level == 'region'").set_index(["indicator", "fit"])["verdict"]
    assert steps.to_dict() == {
        (name, birth): verdict
        for name in ("activity_rate", "employment_rate")
        for birth, verdict in (("foreign", "refused"), ("native", "accepted"))
    }
    kept = ["indicator", "geo", "domain", "direct", "estimate", "mse", "ci_low", "ci_high", "flag", "reason"]
    mine, theirs = (
        frame[(frame["level"] == "region") & (frame["birth"] == "native")][kept].reset_index(drop=True)
        for frame in (after, before)
    )
    pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def test_what_no_survey_tells_is_a_row_with_its_reason(texts, folder):
    text = texts.head.replace('["employment_rate"]', '["employment_rate", "arpr", "naturalisation_rate"]')
    outcome = produced(folder, text)
    frame = outcome.estimation.table.frame.set_index("indicator")
    assert "from registers" in frame.loc["naturalisation_rate", "reason"]
    assert frame.loc["arpr", "reason"].startswith("not told: ") and pd.isna(frame.loc["arpr", "estimate"])
    assert "not told: arpr" in outcome.text


@pytest.mark.parametrize(
    "old, new, error, match",
    [
        ('["birth"]]', '["brith"]]', SaeSpecError, "groups names brith, which no survey has.*birth"),
        ('region = "region"', 'region = "regoin"', SaeSpecError, "levels.*regoin.*region"),
        ('["employment_rate"]', '["employment_rte"]', SaeSpecError, "employment_rte.*employment_rate"),
        (
            "~ tertiary",
            "~ tertiery",
            SaeInputError,
            "rung 1: the formula uses tertiery, which the areas lack",
        ),
        ('weights = "w"', 'weights = "ww"', SaeError, "ww"),
        ('weights = "population"', 'weights = "pop"', SaeSpecError, "weights names pop"),
        ("eurostat_silc", "eurostat_slic", SaeError, "eurostat_slic"),
    ],
)
def test_what_is_malformed_is_named_and_nothing_is_written(texts, folder, old, new, error, match):
    text = texts.head + texts.arcsin + TO_NATION
    assert old in text
    with pytest.raises(error, match=f"(?s){match}"):
        produced(folder, text.replace(old, new, 1))
    assert not (folder / "out").exists()


def test_files_of_two_years_are_one_survey(texts, folder):
    texts.draw(np.random.default_rng(8), 2026).to_csv(folder / "later.csv", index=False)
    surveys = [f"lfs={folder / name}" for name in ("persons.csv", "later.csv")]
    head = texts.head.replace("time = false", "time = true")
    text = head.replace('smoothing = "gvf"', "") + texts.arcsin  # smoothing pools the years
    both = produced(folder, text, surveys=surveys)
    for k, year in enumerate(("2025", "2026")):
        one = produced(folder, text, year, surveys[k : k + 1])
        mine, theirs = (
            at(each, "region", time=year).sort_values(["geo", "birth"]).reset_index(drop=True)
            for each in (both, one)
        )
        assert len(mine) == 32
        for column in NUMBERS:
            np.testing.assert_allclose(mine[column].astype(float), theirs[column].astype(float), rtol=SAME)
    (folder / "same.csv").write_bytes((folder / "persons.csv").read_bytes())
    with pytest.raises(SaeInputError, match="hold the period 2025"):
        produced(folder, head, "x", [surveys[0], f"lfs={folder / 'same.csv'}"])


def test_rows_after_an_accepted_break_are_marked(texts, folder):
    records = pd.concat(
        [texts.draw(np.random.default_rng(seed), year) for seed, year in ((5, 2020), (8, 2021))]
    )
    records.to_csv(folder / "persons.csv", index=False)
    head = texts.head.replace("time = false", 'time = true\naccept = ["lfs_2021"]').replace(
        ', nation = ""', ""
    )
    frame = produced(folder, head + texts.arcsin).estimation.table.frame
    later = frame["time"] == "2021"
    assert len(frame) == 64 and later.sum() == 32
    assert (
        frame.loc[later, "flag"].str.endswith("b").all()
        and not frame.loc[~later, "flag"].str.contains("b").any()
    )
    assert frame.loc[later, "reason"].str.contains("lfs_2021").all()
    with pytest.raises(SaeSpecError, match="lfs_2021"):
        produced(folder, head.replace('accept = ["lfs_2021"]', ""), "x")


def test_the_command_line_checks_runs_and_tells_what_it_would_do(texts, folder, capsys):
    (folder / "table.toml").write_text(texts.head + texts.arcsin, encoding="utf-8")
    data = ["--survey", f"lfs={folder / 'persons.csv'}", "--areas", str(folder / "areas.csv")]
    table = str(folder / "table.toml")

    def said(*words):
        with pytest.raises(SystemExit) as end:
            cli.app(list(words))
        return end.value.code, capsys.readouterr()

    code, out = said("check", table)
    assert code == 0 and out.out == f"{table}: ok\n"
    for words in (("check", table, *data), ("run", table, *data, "--dry-run")):
        code, out = said(*words)
        assert code == 0 and "lfs: region × birth: 30 domains × 1 indicators" in out.out
        assert "models 1, for * at region: fay_herriot/arcsin" in out.out
        assert "32 cells of the surveys, 2 fits on the first rungs" in out.out
    assert not (folder / "out").exists()
    code, out = said("run", table, *data, "--out", str(folder / "out"))
    assert (
        code == 0 and "34 cells, 34 with an estimate" in out.out and "2 fits by fay_herriot/arcsin" in out.out
    )
    code, out = said("run", table, *data)
    assert code == 2 and "No folder for the results" in out.err
    code, out = said("run", table, "--survey", "slc=x.csv", "--out", str(folder / "no"))
    assert code == 2 and "no survey 'slc'" in out.err and not (folder / "no").exists()
    code, out = said("run", "austria_poverty_by_citizenship", "--survey", "a", "--dry-run")
    assert code == 2 and "is a model file" in out.err


# ---------------------------------------------------------------- the country


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    folder = tmp_path_factory.mktemp("land")
    made = country(seed=3, regions=40)
    write_lfs(made.lfs(1), folder / "XA2025Q1.csv")
    (folder / "silc").mkdir()
    write_silc(made.silc(1), folder / "silc")
    made.areas.to_csv(folder / "areas.csv", index=False)
    made.registers.to_csv(folder / "registers.csv", index=False)
    return made, folder


def surveys_of(folder):
    return [f"lfs={folder / 'XA2025Q1.csv'}", f"silc={folder / 'silc'}"]


def test_the_core_set_understands_the_files_of_the_country(land):
    _, folder = land
    file = read_production(shipped_productions()["core_set"])
    text = check_production(file, surveys=surveys_of(folder), areas=folder / "areas.csv")
    assert "tells employment_rate, unemployment_rate, activity_rate, over_qualification_rate" in text
    assert "tells arope, arpr, median_income_ratio" in text
    assert "not told: naturalisation_rate: no survey tells it" in text
    assert "fay_herriot/arcsin → binomial_mixed → synthetic → direct" in text
    assert check_production(file) == ""


def test_a_register_tells_its_rate_at_every_level_and_group(land):
    made, folder = land
    text = shipped_productions()["core_set"].read_text(encoding="utf-8")
    text = text.replace('"core_set"   ', '["self_employment_share", "naturalisation_rate"]').split(
        "[[model]]"
    )[0]
    file = parse_production(text, "rates")
    given = [*surveys_of(folder), f"registers={folder / 'registers.csv'}"]
    outcome = run_production(file, surveys=given, areas=folder / "areas.csv", out=folder / "rates")
    frame = outcome.estimation.table.frame
    frame = frame[frame["indicator"] == "naturalisation_rate"].astype({"geo": str, "citizenship_group": str})
    persons = made.population[made.population["citizenship_group"] != "native"]
    for level, column in (("region", "region"), ("nuts1", "nuts1"), ("nation", "")):
        for groups in ([], ["citizenship_group"]):
            keys = [*([column] if column else []), *groups]
            rows = frame[
                (frame["level"] == level) & ((frame["citizenship_group"] != "total") == bool(groups))
            ]
            own = persons.assign(yes=persons["naturalised"] == "yes").astype(dict.fromkeys(keys, str))
            truth = own.groupby(keys)["yes"].mean() if keys else [own["yes"].mean()]
            shown = rows.sort_values(["geo", "citizenship_group"])["estimate"]
            np.testing.assert_allclose(shown, np.asarray(truth, dtype=float), rtol=SAME)
    assert set(frame["method"]) == {"register"}
    persons = frame["reason"].str.contains("fewer than 4 persons")
    assert persons.any() and not frame["publishable"][persons].any()
    assert frame["flag"][persons].eq(":c").all() and frame["publishable"].any()
    assert "figure of a register" in frame["reason"].iloc[0] and frame["se"].isna().all()
    assert "the register tells citizenship_group only" in outcome.text


def test_the_core_set_covers_the_truth_of_the_country(land):
    """Three of its indicators: the whole set takes a minute."""
    made, folder = land
    text = shipped_productions()["core_set"].read_text(encoding="utf-8")
    names = ["employment_rate", "arpr", "median_income_ratio"]
    text = text.replace('indicators = "core_set"', f"indicators = {names}".replace("'", '"'))
    text = text.replace(', ["citizenship_group", "sex"]', "")
    file = parse_production(text, "core_set")
    outcome = run_production(file, surveys=surveys_of(folder), areas=folder / "areas.csv", out=folder / "out")
    frame = outcome.estimation.table.frame.astype({"geo": str, "citizenship_group": str})
    held = []
    for groups in ([], ["citizenship_group"]):
        truth = made.truth_of(["region", *groups], *names).melt(
            ["region", *groups], names, "indicator", "truth"
        )
        rows = frame[(frame["level"] == "region") & ((frame["citizenship_group"] != "total") == bool(groups))]
        truth = truth.rename(columns={"region": "geo"}).astype({"geo": str, **dict.fromkeys(groups, str)})
        both = rows.merge(truth, on=["indicator", "geo", *groups])
        both = both[both["ci_low"].notna() & both["truth"].notna()]
        both["held"] = both["truth"].between(both["ci_low"], both["ci_high"])
        held.append(both)
    both = pd.concat(held)
    assert len(both) > 400
    assert abs(both["held"].mean() - NOMINAL) < ALLOWED
    shown = both[both["publishable"].fillna(False)]
    assert len(shown) > 100 and abs(shown["held"].mean() - NOMINAL) < ALLOWED
    sampled = both[both["direct"].notna() & (both["direct_se"] > 0)]
    errors = [(sampled[name] - sampled["truth"]).pow(2).mean() for name in ("estimate", "direct")]
    assert errors[0] < 0.7 * errors[1]  # the models gain
    assert set(outcome.estimation.ladder.query("verdict == 'accepted'")["rung"]) >= {
        "fay_herriot/arcsin",
        "direct",
    }


@pytest.mark.slow
def test_the_whole_core_set_gives_the_same_bytes_twice(land):
    _, folder = land
    given = [*surveys_of(folder), f"registers={folder / 'registers.csv'}"]
    file = read_production(shipped_productions()["core_set"])
    for out in ("one", "two"):
        outcome = run_production(file, surveys=given, areas=folder / "areas.csv", out=folder / out)
    names = sorted(path.name for path in (folder / "one").iterdir())
    assert len(names) == 6
    for name in names:
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes(), name
    frame = outcome.estimation.table.frame
    assert set(frame["indicator"]) == set(file.production.indicators)
    keys = ["indicator", "level", "geo", "citizenship_group", "sex", "time"]
    assert not frame.duplicated(keys).any() and (frame["reason"] != "")[frame["estimate"].isna()].all()
