import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError

CELLS = pd.DataFrame({"area": ["A1", "A2", "B"], "n": [3, 4, 5]})


def test_totals_of_totals():
    table = sae.disclosure.with_totals(CELLS, {"area": {"all": ["A", "B"], "A": ["A1", "A2"]}}, ["n"])
    assert dict(zip(table["area"], table["n"], strict=True)) == {"A": 7, "A1": 3, "A2": 4, "B": 5, "all": 12}


def test_cells_of_nobody_count_0():
    cells = pd.DataFrame({"area": ["A", "B"], "sex": ["f", "m"], "n": [1, 2]})
    table = sae.disclosure.with_totals(cells, {"area": {}, "sex": {"all": ["f", "m"]}}, ["n"])
    assert table["n"].tolist() == [1, 1, 0, 2, 0, 2]


@pytest.mark.parametrize(
    ("hierarchy", "error", "words"),
    [
        ({"A1": ["A2", "B"]}, SaeInputError, "holds 1 totals of area already: A1"),
        ({"all": ["A1", "C"]}, SaeInputError, "1 parts of area are not in the table: C"),
        ({"x": ["y"], "y": ["x"]}, SaeSpecError, "goes in a circle"),
    ],
)
def test_what_cannot_be_summed_is_refused(hierarchy, error, words):
    with pytest.raises(error, match=words):
        sae.disclosure.with_totals(CELLS, {"area": hierarchy}, ["n"])


def test_a_cell_twice_is_refused():
    with pytest.raises(SaeInputError, match="1 cells occur more than once"):
        sae.disclosure.with_totals(pd.concat([CELLS, CELLS.head(1)]), {"area": {}}, ["n"])
