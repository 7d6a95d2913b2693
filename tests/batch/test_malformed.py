"""Malformed input, through Python and through the command line: named, and nothing is written half."""

import sys

import pandas as pd
import pytest

from sae import cli
from sae.batch.models import find_spec
from sae.batch.runner import run
from sae.errors import SaeError


def change(name, edit):
    """Return a function that edits one CSV file of a run as a frame of text."""

    def apply(folder):
        frame = pd.read_csv(folder / name, dtype=str)
        edit(frame).to_csv(folder / name, index=False)

    return apply


def spec(old, new):
    def apply(folder):
        text = (folder / "spec.toml").read_text(encoding="utf-8")
        assert old in text
        (folder / "spec.toml").write_text(text.replace(old, new, 1), encoding="utf-8")

    return apply


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def set_cell(column, row, value):
    def edit(frame):
        frame.loc[row, column] = value
        return frame

    return edit


def only(*regions):
    return lambda folder: [
        change(name, lambda frame: frame[frame["region"].isin(regions)])(folder)
        for name in ("persons.csv", "areas.csv")
    ]


def all_of(*steps):
    return lambda folder: [step(folder) for step in steps]


def persons(edit):
    return change("persons.csv", edit)


def areas(edit):
    return change("areas.csv", edit)


def without(column):
    return lambda frame: frame.drop(columns=column)


LATIN = "latin-1"
CODES = "employed = [1]\nunemployed = [2]\ninactive = [3]"
UNSMOOTHED = spec('smoothing = "gvf"', "")
BOOTSTRAP = spec("smoothing", 'variance = "bootstrap"\nsmoothing')
TOWNS = ["town", "land"] * 6 + ["town", "sea"]  # the sea only in R14, which has no sample

# what is wrong: how to make it so, and the words of the message
CASES = {
    "empty survey": (write("persons.csv", b""), ["persons.csv", "empty"]),
    "survey with a header alone": (persons(lambda frame: frame.head(0)), ["persons.csv", "no records"]),
    "empty areas": (write("areas.csv", b""), ["areas.csv", "empty"]),
    "wrong encoding of the survey": (
        write("persons.csv", "región,w,status,age,psu,year\nX,1,1,30,a,1\n".encode(LATIN)),
        ["persons.csv", "utf-8"],
    ),
    "wrong encoding of the areas": (
        write("areas.csv", "region,tertiary\nÁvila,0.2\n".encode(LATIN)),
        ["areas.csv", "utf-8"],
    ),
    "wrong encoding of the model file": (write("spec.toml", "# Á".encode(LATIN)), ["spec.toml", "UTF-8"]),
    "empty model file": (write("spec.toml", b""), ["spec.toml", "empty"]),
    "missing weight column": (persons(without("w")), ["'w'"]),
    "missing coded column": (persons(without("status")), ["labour_status", "'status'"]),
    "missing grouping column": (spec('by = ["region"]', 'by = ["regoin"]'), ["regoin", "mean region?"]),
    "missing covariate": (areas(without("tertiary")), ["tertiary"]),
    "missing weights of the benchmark": (areas(without("population")), ["population"]),
    "missing area": (areas(lambda frame: frame[frame["region"] != "R03"]), ["R03"]),
    "area given twice": (areas(lambda frame: pd.concat([frame, frame.iloc[[4]]])), ["R05"]),
    "text in a weight": (persons(set_cell("w", 3, "n/a?")), ["'w'", "n/a?", "row 4"]),
    "missing weight": (persons(set_cell("w", 3, None)), ["'w'", "1 missing", "4"]),
    "negative weight": (persons(set_cell("w", 3, "-2")), ["'w'", "1 negative", "4"]),
    "text in a covariate": (areas(set_cell("tertiary", 2, "high")), ["tertiary", "high", "R03"]),
    "missing cell of a covariate": (areas(set_cell("tertiary", 2, None)), ["tertiary", "R03"]),
    "a level that the fit never saw": (
        all_of(areas(lambda frame: frame.assign(kind=TOWNS)), spec("~ tertiary", "~ tertiary + kind")),
        ["kind", "sea", "R14"],
    ),
    "nobody has a listed code": (spec(CODES, "employed = [9]"), ["labour_status", "'status'"]),
    "a single area": (all_of(only("R05"), UNSMOOTHED), ["2 coefficients", "1 area"]),
    "too few areas to smooth": (only("R05"), ["at least 5 domains"]),
    "p >= areas": (all_of(only("R01", "R02"), UNSMOOTHED), ["2 coefficients", "2 areas"]),
    "unknown key": (spec("smoothing", "smothing"), ["smothing", "mean smoothing?"]),
    "unknown policy": (spec('"eurostat_silc"', '"eurostat_slic"'), ["eurostat_slic", "eurostat_silc"]),
    "unknown layout": (spec("[survey.c", 'survey.layout = "eu_lsf"\n[survey.c'), ["eu_lsf", "eu_lfs"]),
    "unknown transform": (spec('"arcsin"', '"arcsine root"'), ["arcsine root", "arcsin"]),
    "unknown indicator": (
        all_of(spec('"employment_rate"', '"employment_rat"'), spec("rate ~", "rat ~")),
        ["employment_rat", "employment_rate"],
    ),
    "missing seed": (spec("seed = 7", ""), ["seed", "[model] transform"]),
    "missing seed of the variance": (all_of(spec("seed = 7", ""), BOOTSTRAP), ["seed", "[estimate] var"]),
    "an unfinished universe": (spec("smoothing", 'universe = "20 <= age <"\nsmoothing'), ["20 <= age <"]),
    "a universe of nobody": (spec("smoothing", 'universe = "age > 200"\nsmoothing'), ["age > 200"]),
}


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named_and_nothing_is_written(inputs, case, monkeypatch, capsys):
    spoil, words = CASES[case]
    spoil(inputs)
    before = contents(inputs)
    monkeypatch.chdir(inputs)

    with pytest.raises(SaeError) as caught:
        run(find_spec("spec.toml"), survey="persons.csv", areas="areas.csv", out="results")
    command = "sae run spec.toml --survey persons.csv --areas areas.csv --out results"
    monkeypatch.setattr(sys, "argv", command.split())
    with pytest.raises(SystemExit) as end:
        cli.main()

    said = capsys.readouterr()
    assert end.value.code == 2 and said.out == ""
    assert str(caught.value) in said.err and "Traceback" not in said.err
    for word in words:
        assert word in str(caught.value)
    assert contents(inputs) == before
