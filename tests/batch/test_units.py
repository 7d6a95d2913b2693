"""Models of units from files to files: the country's truth, every kind, the same bytes, errors by name."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import sae
from sae import unit_level
from sae.batch.checks import check
from sae.batch.kinds import UNIT_KINDS, options, unit_class
from sae.batch.models import find_spec
from sae.batch.planning_spec import parse_planning
from sae.batch.population import hash_population
from sae.batch.runner import read_records, run
from sae.batch.spec import parse_spec, read_spec
from sae.cli import app
from sae.datasets import country, households
from sae.errors import SaeConvergenceError, SaeInputError, SaeSpecError
from sae.results import UnitModel
from sae.tables import write_table

MODEL = "poverty_by_region"
SLOW = pytest.mark.slow  # the same corridor for every kind
HELD = 0.87  # 120 intervals of 95 %, whose common threshold of the sample has an error that none of them has
GAIN = 0.4  # of the direct error; seed 1 gives 0.71 for head counts, 0.49 for means
ROUND = 1e-9  # the same arithmetic in the same order, but for files between

SPEC = """
[survey.columns]
weights = "w"
psu = "psu"
time = "year"
[estimate]
indicator = "pay"
by = "region"
[model]
kind = "nested_error"
formula = "pay ~ skill"
[publish]
seed = 1
"""
CHOICES = {
    "nested_error": "",
    "robust_nested_error": "replicates = 10",
    "two_fold_nested_error": 'area = "half"',
    "m_quantile": "",
    "logit_mixed": "",
    "ebp": 'indicators = ["mean", "quantile_20"]\ntransform = "none"\nreplicates = 5\ndraws = 10',
}


@pytest.fixture(scope="module")
def poverty(tmp_path_factory):
    """The shipped model on the households of the synthetic country: outcome, register, folder."""
    folder, land = tmp_path_factory.mktemp("poverty"), country(1)
    write_table(households(land.silc(1).frame), folder / "households.csv")
    register = households(land.population)
    write_table(register.drop(columns=["psu", "income"]), folder / "register.parquet")
    spec = find_spec(MODEL)
    outcome = run(
        spec,
        survey=folder / "households.csv",
        population=folder / "register.parquet",
        out=folder / "out",
    )
    return outcome, register, folder


@pytest.fixture
def files(tmp_path):
    """Eight regions, of which 08 has no record: units.csv, people.csv and people.parquet, means.csv."""
    rng = np.random.default_rng(3)
    codes = [f"{k:02d}" for k in range(1, 9)]
    people = pd.DataFrame({"region": np.repeat(codes, 150), "skill": rng.integers(0, 4, 1200)})
    people["half"] = np.where(people["region"] < "05", "west", "east")
    effect = np.repeat(rng.normal(0, 1.5, 8), 150)
    pay = 20 + 3 * people["skill"] + effect + rng.normal(0, 2, 1200)
    units = people.assign(pay=pay, rich=(pay > 26).astype(int), w=5.0, year=2024)
    units = units[units["region"] < "08"].groupby("region").head(12).reset_index(drop=True)
    units = units.assign(psu=units.index // 2, half=units["half"])
    write_table(units, tmp_path / "units.csv")
    write_table(people, tmp_path / "people.csv")
    write_table(people, tmp_path / "people.parquet")
    means = people.groupby(["region", "half"], as_index=False).agg(skill=("skill", "mean"))
    write_table(means, tmp_path / "means.csv")
    return tmp_path


def spec_of(text=SPEC):
    return parse_spec(text, "units")


def run_in(files, text=SPEC, out="out", **given):
    given = {"population": files / "people.csv", **given}
    return run(spec_of(text), survey=files / "units.csv", out=files / out, **given)


def test_the_shipped_model_is_near_the_country_s_truth(poverty):
    outcome, register, _ = poverty
    persons = np.repeat(register["income"].to_numpy(), register["size"])
    line = 0.6 * np.median(persons)
    poor = np.maximum(1.0 - register["income"] / line, 0.0)
    known = {"mean": register["income"], "head_count": (poor > 0).astype(float), "gap": poor}
    table = outcome.table.frame
    assert len(table) == 360 and not outcome.failed
    for name, value in known.items():
        rows = table[table["indicator"] == name].set_index("domain")
        sums = (register.assign(v=value * register["size"])).groupby("region")[["v", "size"]].sum()
        truth = (sums["v"] / sums["size"])[rows.index]
        assert np.mean((rows["ci_low"] <= truth) & (truth <= rows["ci_high"])) > HELD, name
        sampled = rows["direct"].notna()
        errors = [np.sqrt(np.mean((rows[which] - truth)[sampled] ** 2)) for which in ("estimate", "direct")]
        assert errors[0] < (1 - GAIN) * errors[1]


def test_the_direct_estimates_are_those_of_the_design(poverty):
    outcome, _, folder = poverty
    survey = read_records(find_spec(MODEL), folder / "households.csv")
    rows = outcome.table.frame.set_index(["indicator", "domain"])
    arpr = sae.Indicator(numerator="income", kind="arpr", threshold_share=0.6)
    for name, indicator in (("mean", "income"), ("head_count", arpr)):
        direct = sae.direct(survey, indicator, by="region").frame.set_index("domain")
        ours = rows.loc[name].loc[direct.index]
        np.testing.assert_allclose(ours["direct"], direct["estimate"], rtol=ROUND)
        np.testing.assert_allclose(ours["direct_se"], direct["se"], rtol=ROUND)
    gap = rows.loc["gap"]["definition"].iloc[0]
    line = float(gap.partition("< ")[2].partition(")")[0])
    frame = survey.frame.assign(gap=np.maximum(1 - survey.frame["income"] / line, 0.0))
    by_hand = frame.groupby("region", observed=True).apply(
        lambda f: np.average(f["gap"], weights=f["weight"])
    )
    ours = rows.loc["gap"]["direct"].dropna()
    np.testing.assert_allclose(ours, by_hand[ours.index], rtol=1e-5)  # the threshold is printed to six digits
    published = pd.read_csv(folder / "out" / f"{MODEL}.published.csv")
    assert len(published) == 360 and published["flag"].str.contains("e").all()


def test_the_record_names_the_population_and_a_rerun_gives_the_same_bytes(poverty):
    outcome, _, folder = poverty
    record = json.loads((folder / "out" / "manifest.json").read_text(encoding="utf-8"))["models"][MODEL]
    digest = hash_population(folder / "register.parquet")
    assert record["inputs"]["population"] == {"file": "register.parquet", "sha256": digest}
    assert f"{MODEL}.png" in record["outputs"] and record["rows"] == 360
    again = run(
        find_spec(MODEL),
        survey=folder / "households.csv",
        population=folder / "register.parquet",
        out=folder / "again",
    )
    for one, other in zip(outcome.files, again.files, strict=True):
        assert one.name == other.name and one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.parametrize(
    "kind",
    [kind if kind in ("ebp", "nested_error") else pytest.param(kind, marks=SLOW) for kind in UNIT_KINDS],
)
def test_every_kind_runs_as_its_class_does(files, kind):
    outcome = "rich" if kind == "logit_mixed" else "pay"
    text = SPEC.replace("nested_error", kind).replace("pay", outcome)
    text = text.replace("[publish]", f"{CHOICES[kind]}\n[publish]")
    done = run_in(files, text)
    spec = spec_of(text)
    model = unit_class(kind).from_dict({**spec.model.options, "domain": "region"})
    units, people = (pd.read_csv(files / name, dtype={"region": str}) for name in ("units.csv", "people.csv"))
    fit = model.fit(units, areas=people, seed=1)
    np.testing.assert_allclose(done.table["estimate"], fit.estimates["estimate"], rtol=ROUND)
    np.testing.assert_allclose(done.table["mse"], fit.estimates["mse"], rtol=ROUND)
    rows = done.table.frame
    assert rows.loc[rows["domain"] == "08", "direct"].isna().all()
    own = rows["indicator"].isin([outcome, "mean"]) & rows["in_sample"]
    means = units.groupby("region")[outcome].mean()
    np.testing.assert_allclose(rows["direct"][own], means[rows["domain"][own]], rtol=ROUND)
    assert rows.loc[rows["indicator"] == "quantile_20", "direct"].isna().all()
    assert set(rows["time"]) == {"2024"} and not done.failed


def test_csv_parquet_a_folder_of_it_and_means_are_one_population(files):
    (files / "parts").mkdir()
    people = pd.read_parquet(files / "people.parquet")
    for k, (_, part) in enumerate(people.groupby("half")):
        part.to_parquet(files / "parts" / f"{k}.parquet")
    text = SPEC.replace("[publish]", 'mse = "analytical"\n[publish]')
    one = run_in(files, text).table["estimate"]
    for where in ("people.parquet", "parts"):
        other = run_in(files, text, population=files / where).table.frame.set_index("domain")["estimate"]
        np.testing.assert_allclose(other.sort_index(), one, rtol=ROUND)
    means = run_in(files, text, population=None, areas=files / "means.csv").table
    infinite = sae.NestedError("pay ~ skill", domain="region").fit(
        pd.read_csv(files / "units.csv", dtype={"region": str}),
        areas=pd.read_csv(files / "means.csv", dtype={"region": str}),
    )
    np.testing.assert_allclose(means["estimate"], infinite.estimates["estimate"], rtol=ROUND)
    assert hash_population(files / "parts") != hash_population(files / "people.parquet")


def test_an_area_without_a_population_and_a_label_that_looks_missing_are_named(files):
    people = pd.read_parquet(files / "people.parquet")
    people["region"] = people["region"].replace({"08": "NA"})
    people[people["region"] != "02"].to_parquet(files / "people.parquet")
    more = 'indicators = "mean"\ntransform = "none"\nmse = "none"'
    text = SPEC.replace("nested_error", "ebp").replace("[publish]", f"{more}\n[publish]")
    done = run_in(files, text, population=files / "people.parquet")
    told = "\n".join(done.warnings)
    assert "no row in the population have no estimate: 1 of 7 (02)" in told
    assert "look like missing values are kept as values of region: NA" in told
    record = json.loads((files / "out" / "manifest.json").read_text(encoding="utf-8"))["models"]["units"]
    assert any("Residuals: units skewness" in line for line in record["log"])
    with pytest.raises(SaeInputError, match=r"is of text files, and people\.parquet is"):
        run_in(files, text + "[population]\nmissing = [-9]\n", population=files / "people.parquet")


def test_levels_are_those_of_the_population_and_other_columns_may_hold_anything(files):
    people = pd.read_csv(files / "people.csv", dtype={"region": str})
    people["note"] = np.where(people.index % 3 == 0, "moved", people.index.astype(str))
    people.to_csv(files / "people.csv", index=False)
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    moved = units.assign(half=units["half"].where(units["region"] != "02", "east"))
    moved.to_csv(files / "units.csv", index=False)
    more = 'indicators = "mean"\ntransform = "none"\nmse = "none"\nlevels = "half"'
    done = run_in(files, SPEC.replace("nested_error", "ebp").replace("[publish]", f"{more}\n[publish]"))
    west = done.table.frame.query("domain == 'west'").iloc[0]
    assert west["direct"] == pytest.approx(units.loc[units["half"] == "west", "pay"].mean())
    assert west["n"] == 48 and "half of 1 area differs between survey and population" in done.warnings[0]


def test_the_file_may_name_its_population_and_numbers_match_numbers(files):
    for name in ("units.csv", "people.csv"):
        frame = pd.read_csv(files / name, dtype={"region": int})
        frame.to_csv(files / name, index=False)
    (files / "mine.toml").write_text(SPEC + '[population]\nfile = "people.csv"\n', encoding="utf-8")
    spec = read_spec(files / "mine.toml")
    assert "sampling units" in check(spec, survey=files / "units.csv")
    done = run(spec, survey=files / "units.csv", out=files / "out")
    assert done.table["domain"].tolist() == [str(k) for k in range(1, 9)]


def test_a_universe_narrows_the_records_and_what_is_missing_is_counted(files):
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    units.loc[3, "pay"] = np.nan
    units.to_csv(files / "units.csv", index=False)
    done = run_in(files, SPEC.replace("[model]", 'universe = "skill >= 1"\n[model]'))
    inside = units[(units["skill"] >= 1) & units["pay"].notna()]
    assert done.table["n"].sum() == len(inside)
    assert done.table["definition"].str.contains("skill >= 1").all()


@pytest.mark.parametrize("name", ["people.csv", "people.parquet"])
def test_a_universe_narrows_the_population_too(files, name):
    text = SPEC.replace("[publish]", 'mse = "analytical"\n[publish]')
    where = "[model]", "universe = \"skill >= 1 and half == 'west' and year == 2024\"\n[model]"
    people, units = (
        pd.read_parquet(files / "people.parquet"),
        pd.read_csv(files / "units.csv", dtype={"region": str}),
    )
    done = run_in(files, text.replace(*where), population=files / name)
    inside = people.query("skill >= 1 and half == 'west'")
    fit = sae.NestedError("pay ~ skill", domain="region").fit(
        units.query("skill >= 1 and half == 'west'"), areas=inside
    )
    np.testing.assert_allclose(done.table["estimate"], fit.estimates["estimate"], rtol=ROUND)
    assert "has no column year: all of its rows are taken to be in the universe" in done.warnings[0]
    people.assign(half="west", skill=0).to_parquet(files / "nobody.parquet")
    with pytest.raises(SaeInputError, match=r"0 of 1,200 rows of the population are in the universe"):
        run_in(files, text.replace(*where), population=files / "nobody.parquet")


def test_the_mean_can_be_benchmarked_to_the_survey(files):
    done = run_in(files, SPEC + '[benchmark]\nmethod = "difference"\n')
    units = pd.read_csv(files / "units.csv")
    rows = done.table.frame[done.table["in_sample"]]
    # every region has the same weight here; the one without a record weighs a billionth
    assert rows["estimate"].mean() == pytest.approx(units["pay"].mean(), rel=1e-8)


def test_a_benchmark_does_not_tell_a_confidential_area(files):
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    units.drop(index=units[units["region"] == "02"].index[2:]).to_csv(files / "units.csv", index=False)
    rule = '{ measure = "n", applies_to = "direct", purpose = "confidentiality", suppress_below = 4 }'
    text = SPEC + f'[publish.policy]\nname = "few"\nrules = [{rule}]\n'
    rows = run_in(files, text + "[benchmark]\n").table.frame
    hidden = rows[rows["flag"] == ":c"]
    assert len(hidden) and "02" not in set(hidden["domain"])  # 02 itself is known by its direct one alone
    assert not run_in(files, text).table.frame["flag"].eq(":c").any()


def test_a_benchmark_over_groups_counts_the_records_of_each_group(files):
    people = pd.read_parquet(files / "people.parquet")
    people["sex"] = np.where(np.arange(len(people)) % 3 == 0, "f", "m")
    people.to_csv(files / "people.csv", index=False)
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    units["sex"] = np.where(np.arange(len(units)) % 4 == 0, "f", "m")
    units.to_csv(files / "units.csv", index=False)
    text = SPEC.replace('"nested_error"', '"two_fold_nested_error"').replace(
        "[publish]", 'groups = "sex"\n[publish]'
    )
    rows = run_in(files, text + "[benchmark]\n").table.frame.set_index(["domain", "sex"])["estimate"]
    counts = units.groupby(["region", "sex"]).size()
    assert np.average(rows[counts.index], weights=counts) == pytest.approx(units["pay"].mean(), rel=1e-8)


@pytest.mark.parametrize(("kind", "name"), [("ebp", "people.csv"), ("nested_error", "people.parquet")])
def test_a_benchmark_takes_columns_of_areas_from_the_population(files, kind, name):
    more = 'indicators = "mean"\ntransform = "none"\nmse = "none"' if kind == "ebp" else ""
    text = SPEC.replace("nested_error", kind).replace("[publish]", f"{more}\n[publish]")
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    rows = run_in(files, text + '[benchmark]\nwithin = "half"\n', population=files / name).table.frame
    west = rows.loc[rows["domain"] < "05", "estimate"].mean()
    assert west == pytest.approx(units.loc[units["half"] == "west", "pay"].mean(), rel=1e-8)
    steps = []
    with pytest.raises(SaeInputError, match="names skill, which differs within 8 areas"):
        run_in(files, text + '[benchmark]\nwithin = "skill"\n', population=files / name, step=steps.append)
    assert "direct estimates" not in steps


def test_a_quantile_alone_has_a_definition_and_no_direct_estimate(files):
    more = 'indicators = "quantile_20"\ntransform = "none"\nmse = "none"\ndraws = 5'
    own = '{ id = "pay", numerator = "pay", unit = "EUR" }'
    text = SPEC.replace("nested_error", "ebp").replace("[publish]", f"{more}\n[publish]")
    rows = run_in(files, text.replace('indicator = "pay"', f"indicator = {own}")).table.frame
    assert set(rows["definition"]) == {"quantile 20 of pay"} and set(rows["unit"]) == {"EUR"}
    assert rows["direct"].isna().all() and rows["estimate"].notna().all()


def test_every_figure_below_a_line_has_its_direct_estimate(files):
    more = 'indicators = ["gap", "severity"]\ntransform = "none"\nmse = "none"\nthreshold = 23'
    text = SPEC.replace("nested_error", "ebp").replace("[publish]", f"{more}\n[publish]")
    rows = run_in(files, text).table.frame.set_index(["indicator", "domain"])["direct"]
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    gap = (1 - units["pay"] / 23).clip(lower=0)
    for power, name in enumerate(("gap", "severity"), 1):
        known = (gap**power).groupby(units["region"]).mean()
        np.testing.assert_allclose(rows[name][known.index], known, rtol=ROUND)


def test_figures_of_groups_have_their_direct_estimates(files):
    people = pd.read_parquet(files / "people.parquet")
    people["sex"] = np.where(np.arange(len(people)) % 3 == 0, "f", "m")
    people.rename(columns={"region": "domain"}).to_parquet(files / "people.parquet")
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    units["sex"] = np.where(np.arange(len(units)) % 2 == 0, "f", "m")
    units.rename(columns={"region": "domain"}).to_csv(files / "units.csv", index=False)
    more = 'groups = "sex"\nlevels = "half"\nindicators = "mean"\ntransform = "none"\nreplicates = 5'
    text = (
        SPEC.replace("nested_error", "ebp")
        .replace('"region"', '"domain"')
        .replace("[publish]", f"{more}\n[publish]")
    )
    rows = run_in(files, text, population=files / "people.parquet").table.frame.set_index(["domain", "sex"])
    expected = units.groupby("sex")["pay"].mean()
    own = units[units["half"] == "west"].groupby("sex")["pay"].mean()
    assert rows.loc[("west", "f"), "direct"] == pytest.approx(own["f"]) and expected["f"] != own["f"]
    assert rows.loc[("01", "total"), "direct"] == pytest.approx(units[units["region"] == "01"]["pay"].mean())
    assert rows.loc[("01", "m"), "direct"] == pytest.approx(
        units[(units["region"] == "01") & (units["sex"] == "m")]["pay"].mean()
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "nested_error"', 'kind = "nested_eror"', 'did you mean "nested_error"?'),
        ('by = "region"', 'by = ["region", "half"]', "by names region, half"),
        ('by = "region"', "", "by names nothing"),
        ('by = "region"', 'by = "region"\ntime = "year"', "[estimate] time has no meaning"),
        ('by = "region"', 'by = "region"\nsmoothing = "gvf"', "[estimate] smoothing has no meaning"),
        ('formula = "pay ~ skill"', 'formula = "wage ~ skill"', 'models "wage"'),
        ('formula = "pay ~ skill"', 'formula = "pay ~ skill"\ntrials = "n"', "an unknown key trials"),
        ('formula = "pay ~ skill"', 'formula = "pay ~ skill"\nthreshold = true', "an unknown key threshold"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(old, new, words):
    text = SPEC.replace(old, new)
    with pytest.raises(SaeSpecError) as caught:
        spec_of(text)
    assert words in str(caught.value)


def test_population_and_several_figures_are_refused_where_they_have_no_meaning():
    population = '[population]\nfile = "p.csv"\n'
    with pytest.raises(SaeSpecError, match=r"\[population\] is for models of units"):
        spec_of(SPEC.replace("nested_error", "fay_herriot") + population)
    ebp = SPEC.replace("nested_error", "ebp").replace("[publish]", "threshold = 9\n[publish]")
    with pytest.raises(SaeSpecError, match=r"several figures, and \[benchmark\] adjusts one"):
        spec_of(ebp + "[benchmark]\n")
    with pytest.raises(SaeSpecError, match="threshold = true cannot be used: it takes a number"):
        spec_of(ebp.replace("threshold = 9", "threshold = true"))
    with pytest.raises(SaeSpecError, match=r"draws random numbers, but \[publish\] gives no seed"):
        check(spec_of(ebp.replace("seed = 1", "")))
    again = ebp.replace("threshold = 9", 'indicators = "mean"\ngroups = "sex"')
    with pytest.raises(SaeSpecError, match="count the same persons again"):
        spec_of(again + "[benchmark]\n")
    plan = SPEC + "[[target]]\ncv = 0.1\n"
    with pytest.raises(SaeSpecError, match="a plan is of a model of areas"):
        parse_planning(plan, "plan")


@pytest.mark.parametrize(
    ("given", "text", "words"),
    [
        ({"population": None}, SPEC, "no population is given"),
        ({"areas": "means.csv"}, SPEC, "not both"),
        ({"population": None, "areas": "means.csv"}, SPEC.replace("nested_error", "ebp"), "needs persons"),
        ({"population": "absent.csv"}, SPEC, "There is no population"),
        ({}, SPEC.replace("nested_error", "fay_herriot"), "takes no --population"),
        ({}, SPEC.replace("~ skill", "~ half").replace("half", "sex"), "has no column 'sex'"),
        ({}, SPEC.replace('"region"', '"land"'), "land"),
        ({"population": "means.csv"}, SPEC.replace("~ skill", "~ skill + psu"), "a covariate of the formula"),
        ({}, SPEC.replace('indicator = "pay"', 'indicator = "arpr"').replace("pay ~", "arpr ~"), "arpr"),
    ],
)
def test_what_cannot_run_is_said_before_work_starts(files, given, text, words):
    if "ebp" in text:
        text = text.replace("[publish]", "threshold = 9\n[publish]")
    given = {name: None if value is None else files / value for name, value in given.items()}
    steps = []
    with pytest.raises((SaeInputError, SaeSpecError)) as caught:
        run_in(files, text, step=steps.append, **given)
    assert words in str(caught.value) and "model" not in steps
    assert not (files / "out").exists() or not list((files / "out").iterdir())


def test_several_periods_and_distributions_are_no_outcome_of_units(files):
    units = pd.read_csv(files / "units.csv", dtype={"region": str})
    units.assign(year=2023 + units.index % 2).to_csv(files / "units.csv", index=False)
    with pytest.raises(SaeInputError, match="2 periods, 2023, 2024"):
        run_in(files)
    assert run_in(files, SPEC.replace("[model]", 'universe = "year == 2024"\n[model]')).table["n"].sum() < 50
    people = pd.read_parquet(files / "people.parquet")
    pd.concat([people.assign(year=k) for k in (2023, 2024)]).to_parquet(files / "years.parquet")
    only = SPEC.replace("[model]", 'universe = "year >= 2024"\n[model]')
    done = run_in(files, only, population=files / "years.parquet").table["estimate"]
    np.testing.assert_allclose(done, run_in(files, only).table["estimate"], rtol=ROUND)
    with pytest.raises(SaeInputError, match="population is of 2 periods, 2023, 2024"):
        run_in(files, only.replace(">= 2024", "> 2022 and skill >= 0"), population=files / "years.parquet")
    twice = SPEC.replace('"pay"', '{ id = "skill", numerator = "pay" }').replace("pay ~", "skill ~")
    with pytest.raises(SaeSpecError, match="name of a column that the model uses too: skill"):
        run_in(files, twice.replace("[model]", 'universe = "year == 2024"\n[model]'))
    own = '{ id = "pay", numerator = "pay", kind = "total" }'
    with pytest.raises(SaeSpecError, match="kind 'total'"):
        run_in(files, SPEC.replace('indicator = "pay"', f"indicator = {own}"))


def test_the_command_checks_and_runs_it(files):
    (files / "mine.toml").write_text(SPEC, encoding="utf-8")
    words = ["--survey", str(files / "units.csv"), "--population", str(files / "people.csv")]
    done = CliRunner().invoke(app, ["check", str(files / "mine.toml"), *words])
    assert done.exit_code == 0 and "ok" in done.output
    done = CliRunner().invoke(app, ["run", str(files / "mine.toml"), *words, "--out", str(files / "o")])
    assert done.exit_code == 0 and (files / "o" / "mine.published.csv").is_file()
    lost = pd.read_csv(files / "people.csv").drop(columns="skill")
    lost.to_csv(files / "people.csv", index=False)
    done = CliRunner().invoke(app, ["check", str(files / "mine.toml"), *words])
    assert done.exit_code == 2 and "people.csv has no column" in done.output


def test_the_table_of_kinds_holds_every_specification_of_units():
    public = [getattr(unit_level, name) for name in unit_level.__all__]
    models = [model for model in public if isinstance(model, type) and issubclass(model, UnitModel)]
    # the shares of several statuses have no one outcome per record
    known = {model.kind: model for model in models if model.kind != "multinomial_mixed"}
    assert known == {kind: unit_class(kind) for kind in UNIT_KINDS}
    assert "domain" not in options("ebp") and "population_weights" in options("ebp")


def test_clusters_of_a_model_file(files):
    """Units of a psu share an effect, which the sample tells of those that the population names."""
    model = 'kind = "ebp"\nindicators = "mean"\ntransform = "none"\nmse = "none"\nclusters = "psu"'
    text = SPEC.replace('kind = "nested_error"', model)
    people = pd.read_csv(files / "people.csv", dtype={"region": str})
    write_table(people.assign(psu=people.groupby("region").cumcount() // 20), files / "named.csv")
    names = ("people", "named")
    outcomes = [run_in(files, text, out=name, population=files / f"{name}.csv") for name in names]
    notes = [" ".join(message.text for message in outcome.fit.messages) for outcome in outcomes]
    assert "The population has no column 'psu'" in notes[0]
    assert "values of psu in the sample are in the population" in notes[1]
    assert (outcomes[0].table["estimate"] != outcomes[1].table["estimate"]).any()


@pytest.mark.parametrize("population", ["people.csv", "people.parquet"])
def test_a_fit_without_an_answer_leaves_the_direct_estimates(files, monkeypatch, population):
    def lost(*_, **__):
        raise SaeConvergenceError("The posterior was not found.", hint='Use prior="half-normal".')

    monkeypatch.setattr(unit_level.EBP, "fit", lost)
    text = SPEC.replace("nested_error", "ebp").replace(
        'formula = "pay ~ skill"',
        'formula = "pay ~ skill"\nindicators = ["mean", "head_count"]\nthreshold = 20',
    )
    outcome = run_in(files, text, population=files / population, report=True)
    table = outcome.table.frame
    whole = population.endswith("csv")  # of a Parquet file no row is read for it
    assert len(table) == (16 if whole else 14) and table["estimate"].isna().all()
    assert table["direct"].notna().sum() == 14 and not table["publishable"].fillna(False).any()
    assert table["flag"].notna().all() and table["reason"].str.contains("posterior was not found").all()
    assert len(outcome.failed) == 1 and "without an estimate" in outcome.failed[0]
    written = json.loads((files / "out" / "manifest.json").read_text(encoding="utf-8"))["models"]["units"]
    assert written["failed"] == list(outcome.failed) and written["rows_with_estimate"] == 0
    assert (files / "out" / "units.html").stat().st_size > 1000
