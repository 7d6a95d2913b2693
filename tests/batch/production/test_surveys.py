"""The files of a survey: which they are, and several of them as one."""

import pandas as pd
import pytest

import sae
from sae.auxiliary import open_areas
from sae.batch.production.spec import parse_production
from sae.batch.production.surveys import aligned, joined, larger_areas_of, survey_files, with_levels
from sae.errors import SaeInputError, SaeSpecError

TWO = """
[production]
indicators = ["arpr"]
levels = { region = "region", nuts1 = "nuts1" }
[[survey]]
name = "lfs"
files = ["a.csv", "b.csv"]
[[survey]]
name = "silc"
"""


def survey(year, **columns):
    frame = pd.DataFrame(
        {"w": [1.0, 2, 3, 4], "year": year, "psu": [1, 1, 2, 2], "region": list("aabb"), **columns}
    )
    return sae.Survey.from_frame(frame, weights="w", psu="psu", time="year")


def test_the_command_line_goes_before_the_file(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("w\n1\n", encoding="utf-8")
    file = parse_production(TWO, "x", tmp_path)
    paths = survey_files(file, ["silc=c", "silc=d=e"])
    assert [path.name for path in paths["silc"]] == ["c", "d=e"]
    assert paths["lfs"] == [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert [str(path) for path in survey_files(file, ["silc=c", "lfs=z"])["lfs"]] == ["z"]
    for given, error, match in (
        ([], SaeInputError, "No file is given for the survey silc"),
        (["c.csv"], SaeInputError, "names no survey"),
        (["slic=c"], SaeSpecError, "no survey 'slic'"),
        (["silc=c", "silc=c"], SaeInputError, "same file twice"),
    ):
        with pytest.raises(error, match=match):
            survey_files(file, given)


def test_files_of_two_years_keep_their_own_design():
    parts = [survey(2024), survey(2025)]
    whole = joined(parts, "lfs")
    assert whole.stages[0].n_psu == 4 and whole.stages[0].n_strata == 2 * parts[0].stages[0].n_strata
    table = sae.direct(whole, sae.Indicator(numerator="w"), by=["region", "year"]).frame
    for part, year in zip(parts, ("2024", "2025"), strict=True):
        own = sae.direct(part, sae.Indicator(numerator="w"), by=["region", "year"]).frame
        mine = table[table["time"] == year].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, own, check_exact=True)


@pytest.mark.parametrize(
    "parts, match",
    [
        (lambda: [survey(2025), survey(2025)], "hold the period 2025"),
        (
            lambda: [survey(2024), sae.Survey.from_frame(survey(2025).frame, weights="w")],
            "several columns of the period",
        ),
        (
            lambda: [sae.Survey.from_frame(survey(year).frame, weights="w") for year in (2024, 2025)],
            "no period tells them apart",
        ),
        (lambda: [survey(2024, code="01"), survey(2025, code=1)], "code is text in some"),
        (lambda: [survey(2023), survey(2024, code="01"), survey(2025, code=1)], "code is text in some"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(parts, match):
    with pytest.raises(SaeInputError, match=match):
        joined(parts(), "lfs")


def test_a_level_that_only_the_areas_know_is_found_by_the_smallest_areas(tmp_path):
    file = parse_production(TWO, "x")
    path = tmp_path / "areas.csv"
    path.write_text("region,nuts1\na,N\nb,S\n", encoding="utf-8")
    found = with_levels(survey(2025), file, open_areas(path))
    assert found.frame["nuts1"].tolist() == list("NNSS")
    path.write_text("region,nuts1\na,N\n", encoding="utf-8")
    with pytest.raises(SaeInputError, match="no nuts1 for 1 values of region in the survey: b"):
        with_levels(survey(2025), file, open_areas(path))
    path.write_text("region,nuts1\na,N\na,S\nb,S\n", encoding="utf-8")
    with pytest.raises(SaeInputError, match=r"areas.csv: a lie in several values of nuts1"):
        larger_areas_of(open_areas(path), "region", "nuts1")


def test_a_file_in_line_with_a_sketch_loses_no_value():
    whole = survey(2025, work=["w1", "w2", "w3", "w4"])
    some = whole.frame.iloc[:2].assign(work=lambda frame: frame["work"].cat.remove_unused_categories())
    sketch = sae.Survey.from_frame(some, weights="w", time="year")
    assert aligned(whole, sketch).frame["work"].tolist() == ["w1", "w2", "w3", "w4"]
