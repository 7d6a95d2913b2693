"""A folder of specifications in one command: each by itself, every outcome told, the exit code of all."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from sae import cli
from sae.batch.models import folder_of, locate, shipped_folders, shipped_productions
from sae.batch.production.spec import read_production

TABLE = "area,year,rate,se,n\n" + "".join(
    f"A{k},{year},0.{20 + k},0.05,80\n" for k in range(10, 30) for year in (2023, 2024)
)
PRODUCTION = """
[production]
title = "Rates"
indicators = ["rate"]
levels = { area = "area" }
[[direct]]
name = "t"
file = "table.csv"
time = "year"
estimate = "rate"
se = "se"
n = "n"
[[direct.indicator]]
id = "rate"
[publish]
policy = "statcan"
"""
COUNTRIES = {
    "argentina": "ar_eph2013_2014_persons.csv.gz",
    "austria": "at_eusilc13puf.csv.gz",
    "chile": "cl_casen2017_comuna_direct.csv",
    "france": "fr_eulfs_puf_sample50k.csv.gz",
    "spain": "es_epa2021q1_persons.csv.gz",
    "united_kingdom": "uk_aps_lad_north_2004_2023.csv.gz",
    "united_states": "us_acs1_state_nativity_2010_2018.csv.gz",
}


@pytest.fixture
def folder(tmp_path):
    """A folder of three specifications of which one cannot run, and one of data, beside each other."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "specs").mkdir()
    texts = {"first": PRODUCTION, "lost": PRODUCTION.replace("table.csv", "tabel.csv"), "second": PRODUCTION}
    for name, text in texts.items():
        (tmp_path / "specs" / f"{name}.toml").write_text(text, encoding="utf-8")
    return tmp_path


def end_of(monkeypatch, folder, *words):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["sae", "run", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_one_that_fails_stops_no_other_and_every_outcome_is_told(folder, monkeypatch, capsys):
    code = end_of(monkeypatch, folder, "specs", "--data", "data", "--out", "out")
    printed = capsys.readouterr()
    assert code == 1
    assert "2 of 3 done: first, second" in printed.out and "1 of 3 refused: lost" in printed.out
    assert "lost: Error: lost.toml: [[direct]] t names the file tabel.csv" in printed.err
    assert "first: 40 cells, 40 with an estimate" in printed.out and "Traceback" not in printed.err
    names = {name.split("/")[0] for name in map(str, written(folder / "out"))}
    assert names == {"first", "second"}
    assert all((folder / "out" / name / "manifest.json").is_file() for name in names)
    alone = end_of(monkeypatch, folder, "specs/first.toml", "--data", "data", "--out", "alone")
    assert alone == 0
    for path in (folder / "alone").iterdir():
        assert path.read_bytes() == (folder / "out" / "first" / path.name).read_bytes(), path.name


def test_the_exit_code_is_that_of_all(folder, monkeypatch, capsys):
    (folder / "specs" / "lost.toml").unlink()
    assert end_of(monkeypatch, folder, "specs", "--data", "data", "--out", "out") == 0
    assert "2 of 2 done" in capsys.readouterr().out
    assert end_of(monkeypatch, folder, "specs", "--out", "none") == 2  # beside the specifications lie no data
    assert "2 of 2 refused" in capsys.readouterr().out and not (folder / "none").exists()
    assert end_of(monkeypatch, folder, "specs", "--data", "data", "--dry-run") == 0
    assert "table t: table.csv; rate: standard errors in se" in capsys.readouterr().out


def test_a_fault_of_sae_itself_is_told_like_any_other(folder, monkeypatch, capsys):
    from sae.batch.production import runner

    def broken(file, **options):
        raise ZeroDivisionError(file.id)

    monkeypatch.setattr(runner, "run_production", broken)
    assert end_of(monkeypatch, folder, "specs", "--data", "data", "--out", "out") == 2
    assert "Unexpected ZeroDivisionError: first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["specs", "--survey", "s.csv", "--out", "out"], "is a folder: its files name their own data"),
        (["specs", "--data", "nowhere", "--out", "out"], "--data nowhere is no folder"),
        (["specs", "--data", "data"], "--out FOLDER"),
        (["data", "--out", "out"], "holds no model file"),
    ],
)
def test_what_cannot_run_is_named_and_nothing_is_written(folder, monkeypatch, capsys, words, said):
    before = written(folder)
    assert end_of(monkeypatch, folder, *words) == 2
    assert said in capsys.readouterr().err and written(folder) == before


def test_the_shipped_countries_are_one_folder():
    assert folder_of("countries") == shipped_folders()["countries"] and folder_of("core_set") is None
    assert [path.stem for path in locate("countries")] == sorted(COUNTRIES)
    for name, data in COUNTRIES.items():
        file = read_production(shipped_productions()[name])
        assert data in [one for source in file.sources.values() for one in source.files]


def test_the_shipped_countries_understand_their_data(shared_data, monkeypatch, capsys, tmp_path):
    for name in COUNTRIES.values():
        data = Path(shared_data / f"real/{name}").parent
    assert end_of(monkeypatch, tmp_path, "countries", "--data", str(data), "--dry-run") == 0
    printed = capsys.readouterr().out
    assert f"{len(COUNTRIES)} of {len(COUNTRIES)} done" in printed
    assert "not told" not in printed and "eph: city × birth × sex: 1,024 domains × 4 indicators" in printed


def test_spain_has_the_published_unemployment(shared_data, monkeypatch, tmp_path):
    """Of the microdata: 15.98 % (README of the data), as INE published it."""
    data = Path(shared_data / "real/es_epa2021q1_persons.csv.gz").parent
    assert end_of(monkeypatch, tmp_path, "spain", "--data", str(data), "--out", "out") == 0
    frame = pd.read_parquet(tmp_path / "out" / "spain.parquet")
    rows = frame[(frame["indicator"] == "unemployment_rate_16") & (frame["level"] == "nation")]
    whole = rows[(rows["sex"] == "total") & (rows["age_group"] == "total")]["estimate"].item()
    assert round(whole, 4) == 0.1598 and len(frame) == 1431
    assert set(frame["definition"][frame["indicator"] == "unemployment_rate_16"]) == {"16+ v1"}


def test_austria_says_why_a_figure_cannot_be_had(shared_data, monkeypatch, tmp_path):
    """The rates are those that numpy gives of the file by hand: .2822, .2174, .3226, .3604."""
    data = Path(shared_data / "real/at_eusilc13puf.csv.gz").parent
    assert end_of(monkeypatch, tmp_path, "austria", "--data", str(data), "--out", "out") == 1
    frame = pd.read_parquet(tmp_path / "out" / "austria.parquet")
    lost = frame[frame["estimate"].isna()]
    assert len(lost) == 12 and lost["reason"].str.startswith("denominator zero").all()
    nation = frame[(frame["indicator"] == "arpr") & (frame["level"] == "nation") & (frame["sex"] == "total")]
    rates = dict(zip(nation["citizenship_group"].astype(str), nation["estimate"], strict=True))
    expected = {"total": 0.28, "native": 0.22, "eu": 0.32, "non_eu": 0.36}
    assert {name: round(rate, 2) for name, rate in rates.items()} == expected
