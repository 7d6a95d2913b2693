"""EU-SILC over four years: on fixtures of the documented structure (silc_fixtures), worked by hand."""

import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError
from sae.survey import read_silc, read_silc_longitudinal
from tests.survey.silc_fixtures import YEARS, files_longitudinal, write_silc


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "panel"


def read(folder, frames, **options):
    return read_silc_longitudinal(write_silc(folder, frames, kind="l"), **options)


def answers(survey):
    values = survey.frame["persistent_poverty"].astype(object)
    return dict(zip(survey.frame["RB030"], values.where(values.notna(), None), strict=True))


def test_poor_now_and_in_two_of_the_three_years_before(folder):
    """1 and 2: 1011, yes; 3: 1110, not now; 4: 0011, once before; 5 came late, 8 was away: not known."""
    survey = read(folder, files_longitudinal())
    assert answers(survey) == {1: "yes", 2: "yes", 3: "no", 4: "no", 5: None, 8: None}
    assert survey.frame["years_observed"].tolist() == [4, 4, 4, 4, 3, 3]
    assert survey.frame["years_poor"].tolist() == [3, 3, 3, 2, 3, 3]
    assert survey.weights.tolist() == [10, 10, 20, 30, 0, 5]
    assert survey.layout == "eu_silc" and survey.release.years == (2022, 2022)
    with pytest.raises(SaeSpecError, match=r"accept=.'eu_silc.persistent_poverty'."):  # RB064 is remembered
        sae.direct(survey, "persistent_arpr")
    rate = sae.direct(survey, "persistent_arpr", accept=["eu_silc.persistent_poverty"]).frame
    assert rate["estimate"].item() == pytest.approx(20 / 70) and rate["n"].item() == 4


def test_a_flag_that_is_none_is_not_known(folder):
    frames = files_longitudinal()
    assert answers(read(folder, frames))[3] == "no"
    home = frames["R"].loc[frames["R"]["RB030"] == 3, "RB040"].iloc[0]
    of_3 = (frames["H"]["HB030"] == home) & (frames["H"]["HB010"] == 2022)
    frames["H"].loc[of_3, "HX080"] = -1
    assert answers(read(folder, frames))[3] is None


def test_who_came_left_and_was_away_is_counted(folder):
    notes = "\n".join(read(folder, files_longitudinal()).notes)
    assert "1 of 26 records of R are of former members (RB110 > 4)" in notes
    assert "1 record of D left out: no interview with the household that year" in notes
    # 1-8: four always; 5 entered; 6 and 7 left; 8 was away in 2020
    assert "2019-2022: 8 persons, 4 in all 4 years; 1 entered later, 2 left before 2022, 1 were away" in notes


def test_poverty_by_thresholds_of_the_cross_sections(folder):
    frames = files_longitudinal()
    frames["H"] = frames["H"].drop(columns="HX080")
    with pytest.raises(
        SaeSpecError, match=r"poor in 2019 cannot be told .*neither HX080 is there nor its threshold"
    ):
        read(folder, frames)
    thresholds = dict.fromkeys(YEARS, 9000.0)
    assert answers(read(folder, frames, thresholds=thresholds))[1] == "yes"
    assert answers(read(folder, frames, thresholds={**thresholds, 2022: 5000.0}))[1] == "no"  # strictly below
    with pytest.raises(SaeSpecError, match="poor in 2021 cannot be told"):
        read(folder, frames, thresholds={2019: 9000.0, 2020: 9000.0, 2022: 9000.0})


def test_fewer_than_four_years(folder):
    frames = {part: frame[frame.iloc[:, 0] != 2020] for part, frame in files_longitudinal().items()}
    with pytest.raises(SaeInputError, match="looks at 2019-2022, but the files of AT 2019-2022 lack 2020"):
        read(folder, frames)


def test_the_two_components_are_not_mixed_up(folder):
    write_silc(folder, files_longitudinal(), kind="l")
    with pytest.raises(SaeInputError, match="no cross-sectional EU-SILC files"):
        read_silc(folder)
    parts = {part: folder / f"UDB_lAT22{part}.csv" for part in "DHRP"}
    with pytest.raises(SaeInputError, match=r"UDB_lAT22D\.csv: it is longitudinal"):
        read_silc(parts)


def test_a_person_twice_in_a_year(folder):
    frames = files_longitudinal()
    frames["R"] = pd.concat([frames["R"], frames["R"].iloc[[3]]])
    with pytest.raises(
        SaeInputError, match=r"1 key is more than once in the R file of AT 2019-2022 .RB030: 1."
    ):
        read(folder, frames)
