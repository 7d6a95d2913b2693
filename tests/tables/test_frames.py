"""Frames of other libraries arrive as pandas has them, or are refused by name."""

import datetime as dt

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sae.errors import SaeInputError
from sae.tables import label_text, labels, pandas_frame, to_numbers

BIG = 2**53 + 1  # the first whole number that is no float
COLUMNS = {
    "code": ["01", None, "10", "É"],
    "count": [1, None, 3, 4],
    "full": [1, 2, 3, 4],
    "share": [0.5, None, float("nan"), 1.0],
    "yes": [True, None, False, True],
    "day": [dt.date(2024, 1, 1), None, dt.date(2023, 12, 31), dt.date(1600, 1, 1)],
    "empty": [None, None, None, None],
}


class Stream:
    """A frame of a library that only Arrow's protocol knows."""

    def __init__(self, columns):
        self.table = pa.table(columns)

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


OTHERS = {
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "narwhals": lambda columns: nw.from_native(pl.DataFrame(columns)),
    "stream": Stream,
}


@pytest.mark.parametrize("library", OTHERS)
def test_cells_arrive_as_pandas_has_them(library):
    frame = pandas_frame(OTHERS[library](COLUMNS), "The data")
    ours = pd.DataFrame(COLUMNS)
    assert type(frame) is pd.DataFrame and list(frame) == list(COLUMNS)
    for name in COLUMNS:
        np.testing.assert_array_equal(frame[name].isna(), ours[name].isna(), err_msg=name)
        assert labels(frame[name], keep_missing=True).dropna().tolist() == [
            label_text(value) for value in ours[name].dropna()
        ]
    for name in ("count", "full", "share", "yes", "empty"):
        np.testing.assert_array_equal(to_numbers(frame, name), to_numbers(ours, name), err_msg=name)
    assert frame["full"].dtype == "int64" and frame["count"].dtype == "float64"


def test_categories_do_not_hang_on_what_was_read_before():
    pl.Series(["z", "b", "a"], dtype=pl.Categorical)  # polars numbers categories as it meets them
    frame = pl.DataFrame({"c": ["b", "a", None], "e": ["low", "high", None]})
    frame = frame.with_columns(pl.col("c").cast(pl.Categorical), pl.col("e").cast(pl.Enum(["low", "high"])))
    frame = pandas_frame(frame, "The data")
    assert frame["c"].isna().tolist() == [False, False, True]
    assert pd.api.types.is_string_dtype(frame["c"].dropna())
    assert frame["e"].cat.categories.tolist() == ["low", "high"]
    given = pd.DataFrame({"c": pd.Categorical(["b", "a"], categories=["b", "a"])})
    arrived = pandas_frame(pa.Table.from_pandas(given), "The data")
    assert arrived["c"].cat.categories.tolist() == ["b", "a"]


@pytest.mark.parametrize("library", OTHERS)
def test_a_code_too_long_for_a_float_keeps_its_digits_beside_a_missing_one(library):
    frame = pandas_frame(OTHERS[library]({"id": [BIG, None, -1], "m": [None, -BIG, 1]}), "The data")
    assert labels(frame["id"], keep_missing=True)[0] == str(BIG)
    assert labels(frame["m"], keep_missing=True)[1] == str(-BIG)


def test_pandas_comes_back_as_it_is():
    frame = pd.DataFrame({"a": [1]}, index=["x"])
    assert pandas_frame(frame, "The data") is frame


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ([1, 2], "The data are a list, not a pandas DataFrame"),
        (np.ones((2, 2)), "The data are a numpy ndarray, not"),
        (None, "The data are a NoneType"),
        (pd.Series([1]), "The data are a pandas Series"),
        (pl.Series([1]), "The data are a polars Series"),
        (pa.chunked_array([[1]]), "The data are a pyarrow ChunkedArray"),
        (pl.LazyFrame({"a": [1]}), r"are a polars LazyFrame, not a pandas DataFrame\.\nCompute its rows"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), "The data repeat the columns a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_frame_is_named(data, match):
    with pytest.raises(SaeInputError, match=match):
        pandas_frame(data, "The data")
