"""Codes and words of text files from the survey to the table: the same at every door."""

import json

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import open_areas
from sae.batch.checks import check
from sae.batch.runner import covariates_of, read_records, run
from sae.batch.spec import parse_spec
from sae.errors import SaeInputError, SaeSpecError, SaeWarning
from sae.tables import CSV_GUARD, EstimateTable

SPEC = """
[survey]
columns = {{weights = "w"}}

[estimate]
indicator = {{id = "rate", numerator = "y"}}
by = ["{by}"]

[model]
formula = "rate ~ x"

[publish]
seed = 1
"""


def files(folder, codes, *, areas=None, name="area", survey_name=None):
    """A survey of all areas but the last, and covariates of all; `areas` spells the codes of the latter."""
    rng = np.random.default_rng(3)
    sampled = np.repeat(codes[:-1], 30)
    rate = np.repeat(np.linspace(0.3, 0.7, len(codes) - 1), 30)
    lines = [
        f"{code},{int(hit)},10\n" for code, hit in zip(sampled, rng.random(len(rate)) < rate, strict=True)
    ]
    (folder / "persons.csv").write_text(f"{survey_name or name},y,w\n{''.join(lines)}", encoding="utf-8")
    x = np.linspace(0.3, 0.7, len(codes)).round(3)
    lines = [f"{code},{value}\n" for code, value in zip(areas or codes, x, strict=True)]
    (folder / "areas.csv").write_text(f"{name},x\n{''.join(lines)}", encoding="utf-8")
    return {"survey": folder / "persons.csv", "areas": folder / "areas.csv"}


def table_of(folder, paths, by="area"):
    """The table of a run, written and read again."""
    spec = parse_spec(SPEC.format(by=by), "m")
    records = read_records(spec, paths["survey"])
    areas = covariates_of(spec, open_areas(paths["areas"]), records)
    direct = sae.direct(records, "y", by=by)
    fit = sae.FayHerriot("y ~ x").fit(direct, areas=areas, seed=1)
    return EstimateTable.read(fit.estimates.write(folder / "m.csv")).frame.set_index("domain")


CODES = {
    "provinces": ["MI", "NA", "RM", "TO", "VE", "BA", "GE"],
    "wards": ["1E1", "1E2", "10E0", "2E1", "20E0", "3E1", "5E2"],
    "zeros": ["01", "02", "010", "10", "2", "03", "7"],
    "accents": ["Île", "Zürich", "x", "y", "z", "ø", "ß"],
    "numbers": ["1", "2", "3", "4", "10", "11", "12"],
    "formulas": ["=1+1", "-1", "@a", "'s-Gravenhage", "'x", "a", "b"],
}


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
def test_every_area_keeps_its_name_and_its_sample(tmp_path, kind):
    """Naples ("NA") and wards 1E1, 10E0 came back without a sample, or as one."""
    codes = CODES[kind]
    table = table_of(tmp_path, files(tmp_path, codes))
    assert sorted(table.index) == sorted(codes)
    assert table["in_sample"][codes].tolist() == [True] * 6 + [False]
    assert table["n"][codes[:-1]].eq(30).all()


@pytest.mark.parametrize(
    ("survey", "areas"),
    [
        (["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"], ["1", "2", "3", "4", "5", "6"]),
        (["1", "2", "3", "4", "5", "6"], ["1.0", "2.0", "3.0", "4.0", "5.0", "6.0"]),
        (["1", "2", "", "3", "4", "5", "6"], ["1", "2", "", "3", "4", "5", "6.0"]),
    ],
)
@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
def test_float_codes_have_one_spelling_in_a_table(tmp_path, survey, areas):
    areas = [code for code in areas if code]
    paths = files(tmp_path, survey, areas=areas if len(areas) == len(survey) else None)
    if "" in survey:
        text = paths["areas"].read_text(encoding="utf-8").replace("\n,", "\n99,").replace("\n6,", "\n6.0,")
        paths["areas"].write_text(text.replace("99,", "7,"), encoding="utf-8")
    table = table_of(tmp_path, paths)
    assert (
        set(table.index) >= {"1", "2", "3", "4", "5", "6"}
        and not table.index.str.contains(".", regex=False).any()
    )


@pytest.mark.parametrize("odd", ["01", "1e1", "A"])
def test_codes_that_only_one_file_spells_as_numbers_are_refused(tmp_path, odd):
    paths = files(tmp_path, ["1", "2", "3", "4", "5", "6"], areas=[odd, "2", "3", "4", "5", "6"])
    with pytest.raises(
        SaeInputError, match=rf"area holds numbers in the survey, but in areas\.csv .*'{odd}'"
    ):
        run(parse_spec(SPEC.format(by="area"), "m"), **paths, out=tmp_path / "out")


def test_a_misspelt_grouping_column_of_the_survey_is_named(tmp_path):
    paths = files(tmp_path, CODES["accents"], name="birth", survey_name="Birth")
    spec = parse_spec(SPEC.format(by="birth"), "m")
    for use in (lambda: check(spec, **paths), lambda: run(spec, **paths, out=tmp_path / "out")):
        with pytest.raises(
            SaeSpecError, match=r"The survey has no column 'birth' to group by\.\nDid you mean Birth\?"
        ):
            use()
    assert not (tmp_path / "out").exists()


def test_naples_is_announced_once_with_its_count(tmp_path):
    paths = files(tmp_path, CODES["provinces"])
    with pytest.warns(SaeWarning) as caught:
        table_of(tmp_path, paths)
    said = [str(warning.message) for warning in caught if "look like missing" in str(warning.message)]
    assert (
        len(said) == 2
        and "area 'NA' (30)" in said[0]
        and "areas.csv" in said[1]
        and "area 'NA' (1)" in said[1]
    )


@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
def test_no_cell_of_a_run_is_a_formula_and_the_manifest_says_so(tmp_path):
    codes = CODES["formulas"]
    run(parse_spec(SPEC.format(by="area"), "m"), **files(tmp_path, codes), out=tmp_path / "out")
    for name in ("m.csv", "m.direct.csv"):
        cells = pd.read_csv(tmp_path / "out" / name, dtype=str, keep_default_na=False)
        assert "'=1+1" in cells["area"].tolist() and "'s-Gravenhage" in cells["area"].tolist()
        texts = cells.map(lambda cell: cell.startswith(("=", "+", "@")))
        assert not texts.to_numpy().any()
    assert sorted(EstimateTable.read(tmp_path / "out" / "m.csv").frame["area"]) == sorted(codes)
    record = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["models"]["m"]
    assert record["csv"] == CSV_GUARD and "apostrophe" in CSV_GUARD


def test_labels_of_several_frames_meet_whatever_their_accents():
    composed, apart = ["Île", "Zürich", "x"], ["I\u0302le", "Zu\u0308rich", "x"]
    left, right = pd.DataFrame({"a": composed}), pd.DataFrame({"a": apart, "v": [1, 2, 3]})
    joined, alone = sae.tables.join_by_name(left, right, "a")
    assert joined["v"].tolist() == [1, 2, 3] and not len(alone)
    assert sae.tables.labels(pd.Series(apart)).tolist() == composed
    assert sae.tables.labels(pd.Series(apart, dtype="category")).tolist() == composed
    assert sae.tables.label_text(apart[0]) == composed[0]
