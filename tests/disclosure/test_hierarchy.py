import pandas as pd
import pytest

import sae
from sae.disclosure.hierarchy import dimensions_of
from sae.errors import SaeInputError, SaeSpecError

TABLE = pd.DataFrame({"area": ["all", "A", "B", "A1", "A2"]})


def test_heights_follow_the_levels():
    (area,) = dimensions_of(TABLE, {"area": {"all": ["A", "B"], "A": ["A1", "A2"]}})
    assert dict(zip(area.labels, area.height, strict=True)) == {"A": 1, "A1": 0, "A2": 0, "B": 0, "all": 2}
    assert area.sums == ((4, (0, 3)), (0, (1, 2)))


def test_a_total_may_have_several_breakdowns():
    (area,) = dimensions_of(TABLE, {"area": [("all", ["A", "B"]), ("all", ["A1", "A2"])]})
    assert [whole for whole, _ in area.sums] == [4, 4]


@pytest.mark.parametrize(
    ("hierarchy", "error", "words"),
    [
        ({"all": ["A", "C"]}, SaeInputError, "1 labels of the hierarchy of area are not in the table: C"),
        ({"everything": ["A", "B"]}, SaeInputError, "not in the table: everything"),
        (["all", "A"], SaeSpecError, r"The hierarchy of area is \['all', 'A'\]"),
        (None, SaeSpecError, "The hierarchy of area is None"),
        ({"all": []}, SaeSpecError, "The parts of 'all' in area are \\[\\]"),
        ({"all": "AB"}, SaeSpecError, "The parts of 'all' in area are 'AB'"),
        ({"all": ["A", "A"]}, SaeSpecError, "different labels"),
        ({"all": ["all", "A"]}, SaeSpecError, "without the whole itself"),
        ({"all": ["A"], "A": ["A1"], "A1": ["all"]}, SaeSpecError, "goes in a circle"),
    ],
)
def test_a_hierarchy_that_cannot_be_is_refused(hierarchy, error, words):
    with pytest.raises(error, match=words):
        dimensions_of(TABLE, {"area": hierarchy})


def test_no_dimension_is_refused():
    with pytest.raises(SaeSpecError, match="no dimensions"):
        dimensions_of(TABLE, {})


def test_codes_beside_each_other_make_a_hierarchy():
    areas = pd.DataFrame({"nation": "01", "region": ["1", "1", "2"], "city": ["001", "002", "003"]})
    assert sae.disclosure.nested(areas, ["nation", "region", "city"]) == {
        "01": ["1", "2"],
        "1": ["001", "002"],
        "2": ["003"],
    }


def test_a_part_of_two_wholes_is_refused():
    areas = pd.DataFrame({"region": ["1", "2"], "city": ["a", "a"]})
    with pytest.raises(SaeInputError, match="1 codes of city lie in more than one region: a"):
        sae.disclosure.nested(areas, ["region", "city"])
