"""A file read with the layout of another release is refused, and the layout that fits is named."""

import pytest

from sae.errors import SaeInputError
from sae.survey import Survey
from sae.survey.file_columns import FileColumns
from sae.survey.layout_fit import fitting_layouts
from sae.survey.layouts import resolve_layout
from tests.survey.lfs_fixtures import eu_lfs, eu_lfs_2020, eu_lfs_recoded

FILES = {"eu_lfs_2020": eu_lfs_2020, "eu_lfs_recoded": eu_lfs_recoded, "eu_lfs": eu_lfs}


@pytest.mark.parametrize("right", FILES)
@pytest.mark.parametrize("wrong", [*FILES, "eu_lfs_puf", "eu_silc", "us_pums"])
def test_every_wrong_layout_names_the_right_one(right, wrong):
    file = FILES[right]()
    if wrong == right:
        assert Survey.from_frame(file, layout=right).layout == right
        return
    with pytest.raises(SaeInputError, match=f"The file fits the layout .?{right}"):
        Survey.from_frame(file, layout=wrong)


@pytest.mark.parametrize("right", FILES)
def test_the_best_layout_is_found_among_all(right):
    columns = {name: column for name, column in FILES[right]().items()}
    assert fitting_layouts(FileColumns(columns, resolve_layout("eu_silc"))) == [right]
    assert fitting_layouts(FileColumns({"x": columns["SEX"]}, resolve_layout("eu_silc"))) == []


def test_a_year_outside_is_refused_unless_the_user_states_the_years():
    file = eu_lfs(2020)
    with pytest.raises(SaeInputError, match=r"years 2021 to \.\.\., but .* 2020(.|\n)*eu_lfs_recoded"):
        Survey.from_frame(file, layout="eu_lfs")
    own = {"layout": "eu_lfs", "about": {"years": [2020]}}
    assert Survey.from_frame(file, layout=own).release.years == (2020, None)


def test_codes_of_ones_own_are_taken_as_meant():
    file = eu_lfs_2020().drop(columns=["DURUNE", "COUNTRYB", "ISCO3D"])
    puf = file.assign(REFYEAR=2010, STAPRO=[0, 5, 5, 9, 9, 9], AGE=[20, 20, 47, 65, 75, 7])
    with pytest.raises(SaeInputError, match=r"age, professional_status(.|\n)*eu_lfs_puf"):
        Survey.from_frame(puf, layout="eu_lfs_2020")
    codes = {"professional_status": {"column": "STAPRO", "self_employed": [0], "employee": [5]}}
    own = {"layout": "eu_lfs_2020", "codes": codes, "columns": {"age": "AGE"}}
    assert Survey.from_frame(puf, layout=own).frame["professional_status"].notna().sum() == 3
