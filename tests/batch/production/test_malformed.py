"""The malformed inputs of model files through production files: named, exit 2, nothing written half.

What is wrong with some areas only stops their cells, not the run: they stay in the table with the reason.
"""

import random
import sys
import tomllib
import warnings

import pandas as pd
import pytest

from sae import cli
from sae.batch.models import shipped_productions
from sae.batch.production.runner import check_production, run_production
from sae.batch.production.spec import parse_production
from sae.datasets import country, write_lfs
from sae.errors import SaeError, SaeWarning
from tests.batch.test_european_files import damaged
from tests.batch.test_malformed import CASES, contents
from tests.batch.test_mutated_specifications import LONGEST, mutated

SPEC = """
[production]
title = "Employment rate by region"
seed = 7
indicators = ["employment_rate"]
levels = { region = "region" }
time = false
smoothing = "gvf"

[[survey]]
name = "lfs"

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

[[model]]
[[model.rung]]
kind = "fay_herriot"
formula = "~ tertiary"
transform = "arcsin"

[publish]
policy = "eurostat_silc"
"""
STOPS_CELLS = {
    "missing cell of a covariate": "R03",
    "a level that the fit never saw": "sea",
    "a single area": "2 coefficients",
    "too few areas to smooth": "at least 5 domains",
    "p >= areas": "2 coefficients",
}
WORDS = {"missing seed": ["[production]", "seed"], "missing seed of the variance": ["variance", "bootstrap"]}
OF_MODEL_FILES = {  # their keys are others in a production file
    "missing grouping column",
    "missing weights of the benchmark",
    "unknown indicator",
    "unknown layout",
}
CHANGES = {
    "missing grouping column": ('region = "region"', 'region = "regoin"', ["regoin", "mean region?"]),
    "missing weights of the benchmark": (
        "[publish]",
        '[[benchmark]]\nto = "nation"\nweights = "persons"\n[publish]',
        ["weights names persons"],
    ),
    "unknown indicator": (
        '"employment_rate"',
        '"employment_rat"',
        ["employment_rat,", "mean employment_rate?"],
    ),
    "unknown layout": ('name = "lfs"', 'name = "lfs"\nlayout = "eu_lsf"', ["eu_lsf", "eu_lfs"]),
    "unknown survey": ('name = "lfs"', 'name = "sil"', ["has no survey 'lfs'", "sil"]),
    "an indicator of nobody's": ('"employment_rate"', '"arpr"', ["nothing can be told", "income"]),
    "a definition that is sae's own": (
        "[[model]]",
        '[[indicator]]\nid = "employment_rate"\nnumerator = "age > 3"\n[[model]]',
        ["employment_rate has another definition in sae"],
    ),
    "a definition that is not estimated": (
        "[[model]]",
        '[[indicator]]\nid = "own"\nnumerator = "age > 3"\n[[model]]',
        ["names own, which [production] indicators does not have"],
    ),
}


@pytest.fixture
def folder(inputs):
    text = SPEC.replace('levels = { region = "region" }', 'levels = { region = "region", nation = "" }')
    (inputs / "spec.toml").write_text(text, encoding="utf-8")
    return inputs


def end_of(folder, monkeypatch):
    monkeypatch.chdir(folder)
    command = "sae run spec.toml --survey lfs=persons.csv --areas areas.csv --out results"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.mark.parametrize("case", [name for name in CASES if name not in {*STOPS_CELLS, *OF_MODEL_FILES}])
def test_bad_input_is_named_and_nothing_is_written(folder, case, monkeypatch, capsys):
    spoil, words = CASES[case]
    spoil(folder)
    refused(folder, monkeypatch, capsys, WORDS.get(case, words))


@pytest.mark.parametrize("case", CHANGES)
def test_a_bad_production_file_is_named_and_nothing_is_written(folder, case, monkeypatch, capsys):
    old, new, words = CHANGES[case]
    text = (folder / "spec.toml").read_text(encoding="utf-8")
    assert old in text
    (folder / "spec.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    refused(folder, monkeypatch, capsys, words)


def refused(folder, monkeypatch, capsys, words):
    before = contents(folder)
    assert end_of(folder, monkeypatch) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "Traceback" not in printed.err
    for word in words:
        assert word in printed.err
    assert contents(folder) == before


@pytest.mark.parametrize("case", STOPS_CELLS)
def test_what_is_wrong_with_some_areas_stops_their_cells(folder, case, monkeypatch, capsys):
    CASES[case][0](folder)
    assert end_of(folder, monkeypatch) == 1
    table = pd.read_csv(folder / "results" / "spec.csv", keep_default_na=False)
    lost = table[table["estimate"] == ""]
    assert len(lost) and lost["reason"].str.contains(STOPS_CELLS[case], regex=False).all()
    assert set(lost["level"]) == {"region"} and (table["estimate"][table["level"] == "nation"] != "").all()


@pytest.mark.parametrize("seed", range(4))
def test_mutated_production_files_end_in_an_error_that_is_ours(folder, seed):
    """150 files: of the shipped ones parsed, of the one of these tests checked against its data."""
    draw = random.Random(seed)
    texts = [path.read_text(encoding="utf-8") for path in shipped_productions().values()]
    texts += [(folder / "spec.toml").read_text(encoding="utf-8")] * 4
    files = list(map(tomllib.loads, texts))
    survived = 0
    for _ in range(150):
        tables = draw.choice(files)
        text = mutated(tables, draw)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SaeWarning)
                file = parse_production(text, "spec", folder)
                survived += 1
                if [one.name for one in file.surveys.values()] == ["lfs"] and not file.surveys["lfs"].layout:
                    check_production(file, surveys=["lfs=" + str(folder / "persons.csv")])
        except SaeError as error:
            assert error.what and len(str(error)) < LONGEST, text
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}\n{text}") from error
    assert 10 < survived < 140
    assert not (folder / "results").exists()


def test_damaged_european_files_end_in_a_named_error_and_write_nothing(tmp_path):
    file = write_lfs(country(seed=3, regions=6).lfs(seed=1, persons=3_000), tmp_path / "XA2025Q1.csv")
    head = """
[production]
title = "Unemployment by region and citizenship"
indicators = ["unemployment_rate"]
groups = [["citizenship_group"]]
levels = { region = "region" }
[[survey]]
name = "lfs"
"""
    count = 0
    for what, path, text, words in damaged(file, tmp_path):
        survey = text.split("[survey]")[1].split("[estimate]")[0]
        made = parse_production(f'{head}{survey}[publish]\npolicy = "eurostat_silc"\n', "rates")
        with pytest.raises(SaeError) as error:
            run_production(made, surveys=[f"lfs={path}"], out=tmp_path / "out")
        message = str(error.value).lower()
        assert all(word.lower() in message for word in words), (what, message)
        assert not (tmp_path / "out").exists()
        count += 1
    assert count == 8
