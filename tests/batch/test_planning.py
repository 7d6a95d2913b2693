"""`sae plan` end to end: files in, a report out, whole or not at all; malformed planning files named."""

import json
import shutil
import sys

import numpy as np
import openpyxl
import pandas as pd
import pytest

from sae import cli
from sae.batch.models import find_plan, shipped_models, shipped_plans
from sae.batch.planning import plan
from sae.batch.planning_spec import parse_planning, read_planning
from sae.errors import SaeError, SaeInputError, SaeSpecError

REGIONS = [f"R{number:02d}" for number in range(1, 15)]
WITH_MODEL = """
title = "More interviews by region"

[survey.columns]
weights = "w"
strata = "region"
psu = "psu"
time = "year"

[survey.codes.labour_status]
column = "status"
employed = [1]
unemployed = [2]
inactive = [3, 4]

[estimate]
indicator = "employment_rate"
by = "region"
smoothing = "deff"

[model]
formula = "employment_rate ~ tertiary"

[[target]]
cv = 0.08

[[target]]
cv = 0.07
only = { domain = "R03" }

[costs]
currency = "EUR"
interview = 40
contact = 2

[words]
domain = "region"

[publish]
policy = "eurostat_silc"
"""
DIRECT_ONLY = """
[[target]]
indicator = "employed"
by = "region"
cv = 0.10

[[target]]
indicator = "employed"
regulation = "lfs_employment_national"
"""


def frame_of_regions():
    size = 20_000 + 1_000 * np.arange(len(REGIONS))
    return pd.DataFrame({"stratum": REGIONS, "region": REGIONS, "population": size, "density": 0.2})


@pytest.fixture
def folder(inputs):
    """The files of a plan that works: those of a run, plan.toml, and the strata."""
    (inputs / "plan.toml").write_text(WITH_MODEL, encoding="utf-8")
    frame_of_regions().to_csv(inputs / "strata.csv", index=False)
    return inputs


@pytest.fixture(scope="module")
def made(tmp_path_factory, persons, areas):
    """Return a folder with inputs and the plan made from them, for tests that only read."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "plan.toml").write_text(WITH_MODEL, encoding="utf-8")
    persons.to_csv(folder / "persons.csv", index=False)
    areas.to_csv(folder / "areas.csv", index=False)
    frame_of_regions().to_csv(folder / "strata.csv", index=False)
    return folder, make(folder)


def make(folder, out="out", **options):
    given = {"frame": folder / "strata.csv", "survey": folder / "persons.csv", "areas": folder / "areas.csv"}
    return plan(read_planning(folder / "plan.toml"), **{**given, **options}, out=folder / out)


def test_writes_a_report_whose_parts_agree(made):
    folder, done = made
    assert [path.name for path in done.files] == sorted(
        [
            "manifest.json",
            "plan.csv",
            "plan.domains.csv",
            "plan.domains.parquet",
            "plan.html",
            "plan.parquet",
            "plan.xlsx",
        ]
    )
    strata = pd.read_csv(folder / "out" / "plan.csv")
    domains = pd.read_csv(folder / "out" / "plan.domains.csv")
    assert strata["n"].sum() == pytest.approx(domains["n_model"].sum())  # one stratum per region
    assert f"{strata['n'].sum():,} interviews" in done.text
    # a screening contact per fifth person: 40 + 2 / 0.2
    assert (strata["cost_per_interview"] == 50).all()
    assert domains.set_index("domain")["required_cv"].round(9).to_dict() == {
        **dict.fromkeys(REGIONS, 0.08),
        "R03": 0.07,
    }
    met = domains[domains["met"]]
    assert len(met) and (met["probability"] >= 0.9 - 1e-9).all()
    assert domains.loc[~domains["met"], "reason"].notna().all()
    page = (folder / "out" / "plan.html").read_text(encoding="utf-8")
    assert "More interviews by region" in page and "EUR" in page
    book = openpyxl.load_workbook(folder / "out" / "plan.xlsx")
    assert {"read first", "targets", "domains", "strata", "frontier", "sentences"} <= set(book.sheetnames)


def test_the_same_inputs_give_the_same_bytes(made, folder):
    for a, b in zip(made[1].files, make(folder).files, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name


def test_the_manifest_holds_hashes_and_no_clock(made):
    folder, _ = made
    entry = json.loads((folder / "out" / "manifest.json").read_text(encoding="utf-8"))["models"]["plan"]
    assert set(entry["inputs"]) == {"frame", "survey", "areas"}
    assert set(entry["outputs"]) == {
        f"plan.{ending}" for ending in ("csv", "domains.csv", "domains.parquet", "html", "parquet", "xlsx")
    }
    assert not any("time" in key or "date" in key for key in entry)


def test_a_plan_says_the_design_and_records_the_policies_that_it_names(
    made, folder, monkeypatch, tmp_path_factory
):
    def entry(limit):
        rule = f'[[rules]]\nmeasure = "cv"\nflag_above = {limit}\n'
        (folder / "office.toml").write_text(rule, encoding="utf-8")
        done = make(folder)
        text = (folder / "out" / "manifest.json").read_text(encoding="utf-8")
        assert str(folder) not in text and str(folder) not in done.files[4].read_text(encoding="utf-8")
        return done, json.loads(text)["models"]["plan"]

    toml = WITH_MODEL.replace("cv = 0.07", 'policy = "office.toml"').replace(
        '"eurostat_silc"', '"office.toml"'
    )
    (folder / "plan.toml").write_text(toml, encoding="utf-8")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    (done, first), (_, second) = entry(0.08), entry(0.09)
    assert done.files[4].name == "plan.html"
    assert {"policy", "target policy"} < set(first["inputs"]) and first["run"] != second["run"]
    assert first["design"] in done.text and first["design"].startswith("13 strata (region)")


def test_direct_estimates_stand_in_for_records(made, folder):
    from sae.batch.estimate import evaluated
    from sae.batch.runner import read_records
    from sae.design_based import direct
    from sae.tables import write_table

    model = read_planning(folder / "plan.toml").model
    records = read_records(model, folder / "persons.csv")
    table = direct(records, evaluated(model, records).indicator, ["region"], smoothing="deff")
    write_table(table.frame, folder / "direct.csv")
    make(folder, survey=None, direct=folder / "direct.csv")
    one, two = (pd.read_csv(place / "out" / "plan.csv") for place in (made[0], folder))
    pd.testing.assert_frame_equal(one, two, rtol=1e-9)


def test_interviews_of_today_are_kept_unless_told_otherwise(folder):
    frame_of_regions().assign(n_now=400, share_employed=0.6).to_csv(folder / "strata.csv", index=False)
    totals = []
    for said in ("", "\n[plan]\nkeep_today = false\n"):
        (folder / "plan.toml").write_text(DIRECT_ONLY + said, encoding="utf-8")
        make(folder, survey=None, areas=None)
        totals.append(pd.read_csv(folder / "out" / "plan.csv")["n"])
    assert (totals[0] >= 400).all() and totals[1].sum() < totals[0].sum()


def test_columns_may_bear_other_names_codes_keep_zeros_and_todays_interviews_stay(folder):
    frame = (
        frame_of_regions().assign(n_now=90).rename(columns={"population": "Personen", "stratum": "Schicht"})
    )
    frame["Schicht"] = [f"{i:02d}" for i in range(len(frame))]
    frame.to_csv(folder / "strata.csv", index=False)
    columns = '\n[frame]\ncolumns = { population = "Personen", stratum = "Schicht" }\n'
    (folder / "plan.toml").write_text(WITH_MODEL + columns, encoding="utf-8")
    make(folder)
    plan_made = pd.read_csv(folder / "out" / "plan.csv", dtype={"stratum": str})
    assert plan_made["stratum"].tolist()[0] == "00" and (plan_made["n"] >= 90).all()


def test_a_plan_without_a_model_needs_a_frame_only(folder):
    (folder / "plan.toml").write_text(DIRECT_ONLY, encoding="utf-8")
    frame_of_regions().assign(share_employed=0.6).to_parquet(folder / "strata.parquet")
    done = make(folder, frame=folder / "strata.parquet", survey=None, areas=None)
    targets = pd.read_csv(folder / "out" / "plan.domains.csv")
    assert len(targets) == len(REGIONS) + 1 and targets["met"].all() and not done.unreachable
    page = (folder / "out" / "plan.html").read_text(encoding="utf-8")
    assert "Not given: a fitted model" in page


def run_cli(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["sae", "plan", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_the_command_prints_the_plan_and_exits_0(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    code = run_cli(
        monkeypatch,
        "plan.toml",
        "--frame",
        "strata.csv",
        "--survey",
        "persons.csv",
        "--areas",
        "areas.csv",
        "--out",
        "out",
    )
    printed = capsys.readouterr().out
    assert code == 0
    assert (
        "regions meet their target" in printed and "Over regions like" in printed and "plan.html" in printed
    )


MISTAKES = {
    "unknown key": ("cv = 0.08", "half_with = 0.08", "unknown key half_with; did you mean half_width?"),
    "unknown table": ("[costs]", "[cost]", "did you mean costs?"),
    "key of another table": ("[words]", '[words]\ncurrency = "EUR"', "it belongs in [costs]"),
    "two rules": ("cv = 0.08", "cv = 0.08\nn_eff = 50", "[[target]] number 1 gives cv and n_eff"),
    "no rule": ("cv = 0.07\n", "", "[[target]] number 2 gives no rule"),
    "percent for a share": ("cv = 0.08", "cv = 8", "Give a fraction"),
    "rule out of range": ("interview = 40", "interview = -1", "interview = -1 cannot be used"),
    "column for a domain": ('domain = "R03"', 'region = "R03"', "a fitted model is about its domains"),
    "no target": ("[[target]]", "[[aims]]", "lacks"),
    "several fits": ('tertiary"', 'tertiary"\nper = "region"', "a plan is made from one"),
    "other indicator": ('"employment_rate"', '"unemployment_rate"', 'models "employment_rate"'),
    "confirm without seed": ("[words]", "[plan]\nconfirm = 20\n[words]", "gives no seed"),
    "budget with a model": ("[words]", "[plan]\nbudget = 20.0\n[words]", "plans without a model"),
    "model option": ('tertiary"', 'tertiary"\ntransfrom = "log"', "did you mean transform?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_malformed_planning_file_is_refused_by_name(mistake):
    old, new, said = MISTAKES[mistake]
    assert old in WITH_MODEL
    with pytest.raises(SaeSpecError) as refused:
        parse_planning(WITH_MODEL.replace(old, new), "plan")
    if mistake != "no target":
        assert said in str(refused.value)
    assert "plan.toml" in str(refused.value)


def check_cli(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["sae", "check", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, capsys.readouterr()


def test_check_reads_planning_files(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    data = ("--survey", "persons.csv", "--areas", "areas.csv")
    for words in (("plan.toml",), ("plan.toml", *data), ("plan_foreign_employment",)):
        code, told = check_cli(monkeypatch, capsys, *words)
        assert code == 0 and f"{words[0]}: ok" in told.out
    (folder / "plan.toml").write_text(WITH_MODEL.replace("tertiary", "tertiar"), encoding="utf-8")
    code, told = check_cli(monkeypatch, capsys, "plan.toml", *data)
    assert code == 2 and "Did you mean tertiary?" in told.err
    (folder / "plan.toml").write_text(DIRECT_ONLY, encoding="utf-8")
    assert check_cli(monkeypatch, capsys, "plan.toml")[0] == 0
    code, told = check_cli(monkeypatch, capsys, "plan.toml", *data)
    assert code == 2 and "no use for --survey" in told.err
    for old, new, said in (MISTAKES["two rules"], MISTAKES["several fits"]):
        (folder / "plan.toml").write_text(WITH_MODEL.replace(old, new), encoding="utf-8")
        with pytest.raises(SaeSpecError) as refused:
            read_planning(folder / "plan.toml")
        code, told = check_cli(monkeypatch, capsys, "plan.toml")
        assert code == 2 and str(refused.value) in told.err and said in told.err


def test_a_regulation_is_read_with_its_near_names():
    with pytest.raises(SaeSpecError, match="did you mean 'lfs_employment_national'"):
        parse_planning(DIRECT_ONLY.replace("lfs_employment_national", "lfs_employment_nationl"), "plan")
    with pytest.raises(SaeSpecError, match="number 1 names no indicator"):
        parse_planning('[[target]]\nby = "region"\ncv = 0.1', "plan")


def without(column):
    return lambda frame: frame.drop(columns=column)


def test_bad_inputs_are_named_and_leave_nothing_behind(folder):
    cases = [
        (without("population"), "population"),
        (without("region"), "no column domain"),
        (lambda frame: frame.assign(region=frame["region"].replace("R04", "R99")), "R99"),
        (lambda frame: frame.assign(population=[*frame["population"][:-1], -5]), "population"),
        (lambda frame: frame.assign(density=0.0), "density"),
        (lambda frame: pd.concat([frame, frame.head(1)]), "R01"),
        (lambda frame: frame[frame["region"] != "R03"], "R03"),
        (lambda frame: frame[:9], "5 of 14 domains of the fit have no strata in the frame: R10, R11"),
        (lambda frame: frame.rename(columns={"density": "densty"}), "Did you mean density (for densty)"),
        (lambda frame: frame.assign(n_now=1.5), "n_now is not a whole number"),
        (lambda frame: frame.assign(n_nwo=5), "Did you mean n_now (for n_nwo)"),
    ]
    before = sorted(path.name for path in folder.iterdir())
    for edit, named in cases:
        edit(frame_of_regions()).to_csv(folder / "strata.csv", index=False)
        with pytest.raises(SaeError) as refused:
            make(folder)
        assert named in str(refused.value)
        assert sorted(path.name for path in folder.iterdir()) == before
    frame_of_regions().to_csv(folder / "strata.csv", index=False)
    for options in ({"survey": None}, {"direct": folder / "direct.csv"}, {"frame": folder / "none.csv"}):
        with pytest.raises(SaeError):
            make(folder, **options)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_error_leaves_the_earlier_report_as_it_was(made, folder):
    shutil.copytree(made[0] / "out", folder / "out")
    before = {path.name: path.read_bytes() for path in made[1].files}
    frame_of_regions().assign(population=-1).to_csv(folder / "strata.csv", index=False)
    with pytest.raises(SaeInputError):
        make(folder)
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before


def test_files_without_use_are_refused(folder):
    (folder / "plan.toml").write_text(DIRECT_ONLY, encoding="utf-8")
    with pytest.raises(SaeSpecError, match="no use for --survey"):
        make(folder)


def test_shipped_planning_files_are_valid_and_are_no_models(tmp_path):
    assert shipped_plans() and not set(shipped_plans()) & set(shipped_models())
    for name in shipped_plans():
        assert find_plan(name).id == name
    with pytest.raises(SaeInputError, match="Did you mean plan_foreign_employment"):
        find_plan("plan_foreign_employmnt")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Survey, areas and strata of the synthetic country, as `sae demo` writes them."""
    from sae.batch.demo import AREAS, STRATA, SURVEY, country_areas, country_strata
    from sae.datasets import country
    from sae.tables import write_table

    folder, land = tmp_path_factory.mktemp("demo"), country(1, regions=40)
    survey = land.lfs(1)
    write_table(survey.frame, folder / SURVEY)
    write_table(country_areas(land), folder / AREAS)
    write_table(country_strata(land, survey), folder / STRATA)
    return folder, land, survey


def test_the_strata_of_the_demo_add_up_to_country_and_survey(demo):
    folder, land, survey = demo
    strata = pd.read_csv(folder / "strata.csv")
    adults = land.population["age"].between(20, 64)
    foreign = adults & (land.population["birth"] == "foreign")
    held = (strata["population"] * strata["density"]).groupby(strata["region"]).sum()
    np.testing.assert_allclose(
        held, land.population[foreign].groupby("region", observed=True).size()[held.index]
    )
    sampled = survey.frame["age"].between(20, 64) & (survey.frame["birth"] == "foreign")
    assert strata["n_now"].sum() == sampled.sum()


def test_the_shipped_plan_runs_on_the_files_of_the_demo(demo, tmp_path):
    folder, _, _ = demo
    done = plan(
        find_plan("plan_foreign_employment"),
        frame=folder / "strata.csv",
        survey=folder / "persons.csv",
        areas=folder / "areas.csv",
        out=tmp_path / "plan",
    )
    told = [text for section in done.report.sections for text in section.text]
    assert not any(text.startswith("Not given:") for text in told)
    domains = pd.read_csv(tmp_path / "plan" / "plan_foreign_employment.domains.csv")
    assert len(domains) == 40 and domains["met"].mean() > 0.8
    assert domains["n_now"].sum() == pd.read_csv(folder / "strata.csv")["n_now"].sum()
