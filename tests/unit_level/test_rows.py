"""Units and areas matched by their labels, whatever holds them; blanks and constant columns."""

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError
from sae.unit_level.rows import RowNames, constant_columns, match_areas, refuse_missing

KINDS = {
    "text": (["b", "a", "b"], ["a", "b", "c"]),
    "categories": (pd.Categorical(["b", "a", "b"]), ["a", "b", "c"]),
    "numbers": ([2, 1, 2], [1.0, 2.0, 3.0]),
    "composed": (["e\u0301", "a", "\u00e9"], ["a", "\u00e9", "c"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_matched_as_they_are_spelt(kind):
    units, areas = map(pd.Series, KINDS[kind])
    names, unit, row = match_areas(units, areas, "area")
    assert unit.tolist() == [1, 0, 1] and row.tolist() == [0, 1, 2]
    assert len(names) == 3 and all(isinstance(name, str) for name in names)


def test_rows_of_one_area_have_its_number():
    names, unit, row = match_areas(pd.Series(["b"]), pd.Series(["a", "a", "b", "a"]), "area")
    assert names.tolist() == ["a", "b"] and unit.tolist() == [1] and row.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("units", "areas", "match"),
    [
        (["a", "x"], ["a", "b"], "1 only in the units"),
        (["1", "2"], [1, 2], "text in the units .* numbers in the areas"),
        (["01"], ["1", "2"], "differ only by zeros"),
        (["a", None], ["a", "b"], "have no area: row 2"),
        (["a"], ["\u00e9", "e\u0301", "a"], "stand more than once"),
        (["a", 1], ["a", "1"], "mixes text and numbers"),
    ],
)
def test_labels_that_do_not_match_are_named(units, areas, match):
    with pytest.raises(SaeInputError, match=match):
        match_areas(pd.Series(units), pd.Series(areas), "area")


def test_constant_columns_are_those_of_groupby(rng):
    row = np.sort(rng.integers(5, size=40))
    _, row = np.unique(row, return_inverse=True)
    frame = pd.DataFrame(
        {"same": row * 1.5, "gaps": np.where(row == 2, np.nan, row), "other": rng.integers(2, size=40)}
    )
    frame["half"] = frame["same"].where(np.arange(40) > 0)
    same = (frame.groupby(row).nunique(dropna=False) == 1).all()
    assert list(constant_columns(frame, row)) == list(frame.columns[same]) == ["same", "gaps"]


@pytest.mark.parametrize("dtype", ["object", "str", "category", "string"])
def test_blanks_are_missing(dtype):
    frame = pd.DataFrame({"area": pd.Series(["a", " ", None, "b"], dtype=dtype)})
    with pytest.raises(SaeInputError, match="missing in 2 of 4 units: row 2, 3"):
        refuse_missing(frame, "area")
    refuse_missing(frame.iloc[[0, 3]], "area")


def test_names_of_rows():
    names = RowNames(3)
    assert list(names) == ["row 1", "row 2", "row 3"] == names[:] and len(names) == 3
    assert np.asarray(names)[2] == "row 3"


def test_cells_that_are_no_labels_are_named():
    with pytest.raises(SaeInputError, match="A label is a list"):
        refuse_missing(pd.DataFrame({"area": [["a"], ["b"]]}), "area")
