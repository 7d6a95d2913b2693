"""Columns that must be there, and must hold numbers: what is wrong is named."""

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError, SaeSpecError
from sae.tables import require, to_numbers

FRAME = pd.DataFrame({"y": [0.1, 0.2], "Vardir": [1.0, 2.0], "city": ["A", "B"]})


def test_columns_that_are_there_pass():
    require(FRAME, ["y", "city"])
    require(FRAME, [])


def test_what_is_absent_is_named_with_what_is_near_and_there():
    with pytest.raises(SaeInputError) as error:
        require(
            FRAME, ["y", "vardir", "pop"], "The units have", "(of the model)", hint="Name it with vardir=."
        )
    assert str(error.value) == (
        "The units have no column 'vardir', 'pop' (of the model).\n"
        "Did you mean Vardir? Name it with vardir=. The columns are y, Vardir, city."
    )
    assert error.value.column == "vardir"
    with pytest.raises(SaeSpecError, match=r"^The survey has no column 'x'\.\nThe columns are"):
        require(FRAME, ["x"], "The survey has", error=SaeSpecError)


@pytest.mark.parametrize(
    "values",
    [
        [1.5, None, 3.0],
        pd.array([1.5, None, 3.0], dtype="Float64"),
        pd.Series([1.5, None, 3.0], dtype="object"),
        pd.Series([1.5, pd.NA, 3], dtype="object"),
        pd.Series(["1.5", None, "3"], dtype="string"),
        pd.Series(["1.5", None, "3"], dtype="object"),
        pd.Categorical([1.5, None, 3.0]),
        pd.Categorical(["1.5", None, "3"]),
    ],
    ids=lambda values: str(getattr(values, "dtype", "list")),
)
def test_numbers_of_every_dtype(values):
    numbers = to_numbers(pd.DataFrame({"x": values}), "x")
    np.testing.assert_array_equal(numbers, [1.5, np.nan, 3.0])
    assert numbers.dtype == np.float64


def test_truth_values_count():
    assert to_numbers(pd.DataFrame({"x": [True, False]}), "x").tolist() == [1.0, 0.0]
    boolean = pd.DataFrame({"x": pd.array([True, None], dtype="boolean")})
    np.testing.assert_array_equal(to_numbers(boolean, "x"), [1.0, np.nan])


def test_what_is_no_number_is_named_with_its_row():
    frame = pd.DataFrame({"x": ["1", "few", None, "0,5"]})
    with pytest.raises(
        SaeInputError, match=r"x holds text where numbers .* in 2 of 4 rows: 'few' \(row 2\), '0,5' \(row 4\)"
    ) as error:
        to_numbers(frame, "x")
    assert error.value.column == "x" and "not a comma" in error.value.hint
    with pytest.raises(SaeInputError, match=r"'few' \(B\)") as error:
        to_numbers(frame, "x", names=list("ABCD"))
    assert error.value.areas == ("B", "D")
    days = pd.DataFrame({"x": pd.to_datetime(["2024-01-01"])})
    with pytest.raises(SaeInputError, match="holds dates or other values"):
        to_numbers(days, "x")


def test_an_absent_column_of_numbers():
    with pytest.raises(SaeInputError, match="The areas have no column 'x'"):
        to_numbers(FRAME, "x", what="The areas have")


def test_a_column_that_is_the_index_is_found_there():
    frame = pd.DataFrame({"region": ["01", "02"], "x": [1.0, 2.0]}).set_index("region")
    with pytest.raises(SaeInputError, match=r"It is the index of the frame: give frame\.reset_index\(\)\."):
        require(frame, ["region"])
