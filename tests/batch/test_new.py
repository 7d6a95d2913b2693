"""``sae new``: from a file of which nothing is known to a model file that runs, with nothing made up."""

import re

import numpy as np
import pandas as pd
import pytest

from sae import cli
from sae.batch.demo import country_areas
from sae.batch.kinds import UNIT_KINDS
from sae.batch.new import new
from sae.batch.runner import run
from sae.batch.spec import read_spec
from sae.datasets import country
from sae.errors import SaeInputError, SaeSpecError
from sae.tables.files import read_table


def sae_command(*words):
    with pytest.raises(SystemExit) as end:
        cli.app([str(word) for word in words])
    return end.value.code


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The files that the demo writes, of a small country."""
    folder = tmp_path_factory.mktemp("demo")
    land = country(seed=2, regions=30)
    land.lfs(2).frame.to_csv(folder / "persons.csv", index=False)
    country_areas(land).to_csv(folder / "areas.csv", index=False)
    return folder


@pytest.fixture
def stranger(tmp_path):
    """Odd names, semicolons, decimal commas, the code page of Windows; areas under another name."""
    rng, n = np.random.default_rng(4), 1500
    places = rng.choice([f"{k:02d}" for k in range(1, 13)], n)
    frame = pd.DataFrame(
        {
            "Gebiet": places,
            "Klumpen-Nr.": [f"{place}-{rng.integers(1, 5)}" for place in places],
            "Gew.": rng.uniform(20, 90, n).round(3),
            "Geschlecht (m/w)": rng.choice(["männlich", "weiblich"], n),
            "Alter": rng.integers(15, 80, n),
            "Erwerb": rng.choice([1, 2, 3], n, p=[0.6, 0.05, 0.35]),
        }
    )
    frame.to_csv(tmp_path / "fremd.csv", sep=";", decimal=",", index=False, encoding="cp1252")
    areas = {"ags": [f"{k:02d}" for k in range(1, 14)], "anteil": rng.uniform(0.1, 0.4, 13).round(3)}
    pd.DataFrame(areas).to_csv(tmp_path / "gebiete.csv", sep=";", decimal=",", index=False)
    return tmp_path


def test_two_commands_from_the_files_of_the_demo_to_a_flagged_table(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = ["--survey", demo / "persons.csv", "--areas", demo / "areas.csv"]
    assert sae_command("new", *data, "--out", "my.toml") == 0
    assert "sae check: ok" in capsys.readouterr().out
    assert sae_command("run", "my.toml", *data, "--out", "results") == 0
    table = read_table(tmp_path / "results" / "my.csv")
    assert {"region", "birth", "flag", "reason"} <= set(table) and table["publishable"].any()
    spec = read_spec(tmp_path / "my.toml")
    assert spec.estimate.by == ["region", "birth"] and spec.model.per == ["birth"]
    assert spec.survey.columns["weights"] == "weight" and "share_tertiary" in spec.model.formula


def test_three_commands_from_a_strangers_file(stranger, monkeypatch, capsys):
    monkeypatch.chdir(stranger)
    data = ["--survey", "fremd.csv", "--areas", "gebiete.csv"]
    assert sae_command("new", *data, "--by", "ags,sex", "--out", "my.toml") == 0
    text = (stranger / "my.toml").read_text(encoding="utf-8")
    lines = text.splitlines()
    asked = [k for k, line in enumerate(lines, 1) if "TO COMPLETE" in line]
    assert f"complete the lines marked TO COMPLETE: {asked[0]}" in capsys.readouterr().out
    assert "# Erwerb: 1 (" in text and 'ags = "Gebiet"' in text and 'male = ["männlich"]' in text
    for level, code in (("employed", 1), ("unemployed", 2), ("inactive", 3)):
        text = text.replace(f"# {level} = []", f"{level} = [{code}]")
    text = text.replace("# [survey.codes.labour_status]", "[survey.codes.labour_status]")
    text = text.replace('# column = "Erwerb"', 'column = "Erwerb"')
    (stranger / "my.toml").write_text(text, encoding="utf-8")
    assert sae_command("check", "my.toml", *data) == 0
    assert "48 sampling units (Klumpen-Nr.)" in capsys.readouterr().out
    assert sae_command("run", "my.toml", *data, "--out", "results") == 0
    table = read_table(stranger / "results" / "my.csv")
    assert len(table) == 26 and (~table["in_sample"]).sum() == 2 and table["estimate"].notna().all()


def test_a_column_of_the_file_is_an_indicator_too(stranger, monkeypatch):
    frame = pd.read_csv(
        stranger / "fremd.csv", sep=";", decimal=",", encoding="cp1252", dtype={"Gebiet": str}
    )
    frame.assign(arm=(frame["Alter"] % 3 == 0).astype(int)).to_csv(stranger / "plain.csv", index=False)
    monkeypatch.chdir(stranger)
    done = new("plain.csv", indicator="arm", by=["Gebiet"])
    assert done.path.name == "plain.toml" and not done.open_lines and not done.complaint
    assert sae_command("run", done.path, "--survey", "plain.csv", "--out", "results") == 0


def test_nothing_is_overwritten_and_nothing_half_written(stranger, monkeypatch):
    monkeypatch.chdir(stranger)
    (stranger / "my.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(SaeInputError, match="exists already"):
        new("fremd.csv", out="my.toml")
    assert (stranger / "my.toml").read_text(encoding="utf-8") == "mine"
    before = sorted(path.name for path in stranger.iterdir())
    for options, error, text in [
        ({"indicator": "employment_rat"}, SaeSpecError, "Did you mean employment_rate"),
        ({"by": ["Gebeit"]}, SaeSpecError, "no column 'Gebeit'"),
        ({"layout": "eu_lsf"}, SaeSpecError, "not a known layout"),
        ({"layout": "eu_lfs"}, SaeInputError, "COEFF"),
        ({"areas": "none.csv"}, SaeInputError, "no file none.csv"),
        ({"out": "my.txt"}, SaeSpecError, r"end in \.toml"),
        ({"out": "none/my.toml"}, SaeInputError, "does not exist"),
    ]:
        with pytest.raises(error, match=text):
            new("fremd.csv", **options)
    assert sorted(path.name for path in stranger.iterdir()) == before


def test_files_that_cannot_be_read_are_named(stranger, monkeypatch):
    monkeypatch.chdir(stranger)
    (stranger / "empty.csv").write_text("", encoding="utf-8")
    (stranger / "book.csv").write_bytes(b"PK\x03\x04 a workbook by another name")
    (stranger / "UDB_cAT22D.csv").write_text("DB010,DB020\n2022,AT\n", encoding="utf-8")
    for name, text in (
        ("empty.csv", "empty"),
        ("book.csv", "book.csv"),
        ("none.csv", "no file"),
        (".", "folder"),
    ):
        with pytest.raises(SaeInputError, match=text):
            new(name, out="x.toml")
    with pytest.raises(SaeInputError, match="EU-SILC, which has several"):
        new("UDB_cAT22D.csv")
    assert not list(stranger.glob("*.toml"))


def test_what_is_not_known_is_asked_and_never_made_up(stranger, monkeypatch):
    frame = pd.read_csv(
        stranger / "fremd.csv", sep=";", decimal=",", encoding="cp1252", dtype={"Gebiet": str}
    )
    bare = frame.rename(columns={"Gew.": "g", "Klumpen-Nr.": "k", "Alter": "a", "Erwerb": "e"})
    bare = bare.assign(a=(bare["a"] // 20).astype(int))
    bare.to_csv(stranger / "bare.csv", index=False)
    monkeypatch.chdir(stranger)
    done = new("bare.csv", indicator="employment_rate", areas="gebiete.csv", by=["sex"])
    text = done.path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(done.open_lines) == 3  # weights, age, labour_status
    assert all(lines[k - 1].startswith("#") and "TO COMPLETE" in lines[k - 1] for k in done.open_lines)
    spec = read_spec(done.path)
    assert spec.survey.columns == {} and spec.model is None and "No [model]" in text


def test_a_comma_of_thousands_is_not_taken_for_decimals(tmp_path, monkeypatch):
    rows = {"weight": ["1,234", "2,345"] * 10, "y": [0, 1] * 10, "odd": ["a\nb = 1", "c"] * 10}
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.chdir(tmp_path)
    done = new("t.csv", indicator="y", by=["sex"])
    text = done.path.read_text(encoding="utf-8")
    assert "numbers such as 1,234" in text and "weights" not in read_spec(done.path).survey.columns
    assert "\nb = 1" not in text  # what a cell holds stays inside its comment
    pd.DataFrame({**rows, "weight": ["1,234", "2,3"] * 10}).to_csv(tmp_path / "u.csv", index=False, sep=";")
    assert read_spec(new("u.csv", indicator="y").path).survey.decimal == ","


def test_a_stratum_of_one_unit_and_repeated_codes_are_seen(tmp_path, monkeypatch):
    frame = pd.DataFrame(
        {
            "weight": 1.5,
            "stratum": ["a"] * 4 + ["b"] * 4 + ["c"] * 2,
            "psu": [1, 1, 2, 2, 1, 1, 2, 2, 1, 1],
            "y": [0, 1] * 5,
        }
    )
    frame.to_csv(tmp_path / "small.csv", index=False)
    monkeypatch.chdir(tmp_path)
    done = new("small.csv", indicator="y")
    assert not done.complaint and "5 sampling units" in done.design
    spec = read_spec(done.path)
    assert spec.survey.nest and spec.survey.lonely_psu == "average"


def first_rows(shared_data, folder, name, rows=8_000):
    """Write the first rows of a shared file as they stand: its columns and codes, in less time."""
    frame = pd.read_csv(shared_data / f"real/{name}", dtype=str, nrows=rows, keep_default_na=False)
    frame.to_csv(folder / "real.csv", index=False)
    return folder / "real.csv"


@pytest.mark.parametrize(
    ("name", "layout", "options"),
    [
        ("ar_eph2013_2014_persons.csv.gz", "argentina_eph", {"by": ["city", "birth"]}),
        ("fr_eulfs_puf_sample50k.csv.gz", "eu_lfs_puf", {"by": ["birth"]}),
        ("es_epa2021q1_persons.csv.gz", "spanish_epa", {}),
        ("us_pums2024_ny_nj_persons.csv.gz", "us_pums", {}),
        ("cl_casen2020_persons.csv.gz", "chile_casen", {}),
    ],
)
def test_layouts_of_real_files_are_recognised(shared_data, tmp_path, monkeypatch, name, layout, options):
    file = first_rows(shared_data, tmp_path, name)
    done = new(file, out=tmp_path / "my.toml", **options)
    spec = read_spec(done.path)
    assert spec.survey.layout == layout and not done.open_lines and not done.complaint
    assert done.design and re.search(r"sampling unit", done.design)
    assert spec.estimate.by == options.get("by", spec.estimate.by) and spec.estimate.by


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Persons of a survey and of a register, both with semicolons and decimal commas."""
    folder, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(6)
    register = pd.DataFrame({"gebiet": np.repeat([f"{k:02d}" for k in range(1, 13)], 60)})
    register["bezirk"] = np.where(register["gebiet"] < "07", "Nord", "Sued")
    register["size"] = rng.integers(1, 5, 720)
    register["skill"] = rng.uniform(0, 1, 720).round(3)
    register["sex"] = rng.choice(["Mann", "Frau"], 720)
    register["status"] = rng.choice(["a", "b", "c"], 720)
    survey = register[register.groupby("gebiet").cumcount() < 12].assign(
        weight=lambda frame: rng.uniform(5, 9, len(frame)).round(2), number=range(144)
    )
    survey["income"] = np.exp(9 + survey["skill"] + 0.3 * rng.normal(size=144)).round(2)
    survey["poor"] = (survey["income"] < 11_000).astype(int)
    survey.loc[survey["status"] == "c", "status"] = "a"  # a level that the register has alone
    survey.to_csv(folder / "survey.csv", sep=";", decimal=",", index=False)
    register.assign(number=range(720)).to_csv(folder / "register.csv", sep=";", decimal=",", index=False)
    return folder


@pytest.mark.parametrize("kind", [None, *UNIT_KINDS])
def test_a_survey_and_a_register_make_a_model_of_units(people, tmp_path, kind):
    files = {"survey": people / "survey.csv", "population": people / "register.csv"}
    indicator = "poor" if kind == "logit_mixed" else None
    written = new(**files, kind=kind, indicator=indicator, out=tmp_path / "my.toml")
    assert not written.open_lines and not written.complaint and "--population" in written.command
    spec, text = read_spec(tmp_path / "my.toml"), (tmp_path / "my.toml").read_text(encoding="utf-8")
    assert spec.model.kind == (kind or "ebp") and spec.estimate.by == ["gebiet"]
    size = "" if spec.model.kind == "ebp" else "size + "  # of an EBP the persons of a household
    assert spec.model.formula.split(" ~ ")[1] == f"{size}skill + sex"
    assert "# not proposed: status, the population has levels that the survey lacks: c" in text
    assert "# not proposed: bezirk, it is the same for all units of a gebiet" in text
    assert "# not proposed: number, it looks like a number of the record" in text
    if spec.model.kind == "two_fold_nested_error":
        assert spec.model.area == "bezirk"


def test_the_new_model_of_units_runs(people, tmp_path):
    files = {"survey": people / "survey.csv", "population": people / "register.csv"}
    new(**files, kind="nested_error", out=tmp_path / "my.toml")
    table = run(read_spec(tmp_path / "my.toml"), **files, out=tmp_path / "out").table.frame
    assert len(table) == 12 and table["estimate"].notna().all()


def test_a_new_model_of_units_without_what_it_needs_is_refused(people, tmp_path):
    survey, register, out = people / "survey.csv", people / "register.csv", tmp_path / "my.toml"
    with pytest.raises(SaeSpecError, match=r"no population is given.\nGive persons"):
        new(survey, kind="ebp", out=out)
    with pytest.raises(SaeSpecError, match=r"ebb is no kind of a model of units.\nDid you mean ebp"):
        new(survey, population=register, kind="ebb", out=out)
    with pytest.raises(SaeSpecError, match=r"fay_herriot is no kind.*\n.*--areas"):
        new(survey, population=register, kind="fay_herriot", out=out)
    with pytest.raises(SaeSpecError, match="or a population, not both"):
        new(survey, population=register, areas=register, out=out)
    with pytest.raises(SaeSpecError, match="one column of areas; --by names 2"):
        new(survey, population=register, by=["gebiet", "bezirk"], out=out)
    other = tmp_path / "other.csv"
    pd.read_csv(register, sep=";", dtype=str).assign(gebiet="X").to_csv(other, index=False)
    with pytest.raises(SaeInputError, match=r"No column of places is in both survey.csv and other.csv"):
        new(survey, population=other, out=out)
    assert not out.exists()
