"""Every kind of column that our tables have comes back as it was, and others are refused by name."""

import string

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sae.batch.work.columns import frame_from_parquet, frame_to_parquet

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
NUMBERS = [
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float32",
    "float64",
    ">f8",
]
NULLABLE = ["Int8", "Int64", "UInt32", "Float32", "Float64", "int64[pyarrow]"]
DATES = ["datetime64[s]", "datetime64[ns]", "timedelta64[us]", "datetime64[ns, Europe/Paris]"]
OBJECTS = [TEXTS, st.none(), st.booleans(), st.integers(), st.floats(), st.just(pd.NA), st.just(pd.NaT)]
CATEGORIES = [TEXTS, st.integers(-5, 5), st.floats(allow_nan=False), st.booleans()]
STORED = [pd.StringDtype(storage, na) for storage in ("python", "pyarrow") for na in (pd.NA, np.nan)]


@st.composite
def columns(draw, rows):
    """A column of any kind, with something missing where that can be."""

    def values(one):
        return draw(st.lists(one, min_size=rows, max_size=rows))

    def number(dtype):  # any bits
        return pd.Series(np.frombuffer(draw(st.binary(min_size=rows * 8, max_size=rows * 8)), dtype)[:rows])

    def dates(dtype):
        return pd.Series(values(st.none() | st.integers(0, 10**6)), dtype="Int64").astype(dtype)

    def categories(of):
        known = draw(st.lists(of, unique=True, max_size=4))
        codes = values(st.integers(-1, len(known) - 1))
        return pd.Series(pd.Categorical.from_codes(codes, known, ordered=draw(st.booleans())))

    kinds = [
        lambda: number(draw(st.sampled_from(NUMBERS))),
        lambda: pd.Series(values(st.booleans()), dtype=bool),
        lambda: pd.Series(values(st.none() | st.booleans()), dtype="boolean"),
        lambda: pd.Series(values(st.none() | st.integers(0, 9)), dtype=draw(st.sampled_from(NULLABLE))),
        lambda: pd.Series(values(st.none() | TEXTS), dtype=draw(st.sampled_from(STORED))),
        lambda: pd.Series(values(TEXTS)),
        lambda: pd.Series(
            values(st.one_of(draw(st.lists(st.sampled_from(OBJECTS), min_size=1, max_size=3)))), dtype=object
        ),
        lambda: categories(draw(st.sampled_from(CATEGORIES))),
        lambda: pd.Series(
            [
                pd.NaT if day is None else pd.Timestamp(day, unit="s")
                for day in values(st.none() | st.integers(0, 10**6))
            ],
            dtype="datetime64[ns]",
        ),
    ]
    return draw(st.sampled_from(kinds))()


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 6))
    names = draw(st.lists(st.text(string.printable, max_size=5), unique=True, max_size=4))
    return pd.DataFrame({name: draw(columns(rows)) for name in names}, index=pd.RangeIndex(rows))


def back(frame):
    return frame_from_parquet(*frame_to_parquet(frame))


def assert_same(one, other):
    """The same columns of the same kinds with the same values, to the bit; objects each of its kind."""
    assert list(one) == list(other) and len(one) == len(other)
    for name in one:
        left, right = one[name], other[name]
        assert left.dtype == right.dtype, name
        if isinstance(left.dtype, np.dtype) and left.dtype.kind in "biufmM":
            assert left.to_numpy().tobytes() == right.to_numpy().tobytes()
        elif left.dtype == object:
            assert [(type(x), repr(x)) for x in left] == [(type(x), repr(x)) for x in right]
        else:
            pd.testing.assert_series_equal(left, right, check_index=False)


@given(tables())
@settings(max_examples=100, deadline=None)
def test_a_table_comes_back_as_it_was(frame):
    assert_same(frame, back(frame))


@pytest.mark.parametrize("dtype", DATES)
def test_dates_come_back_in_their_units(dtype):
    days = pd.Series(["2024-03-31 01:30", None]).astype("datetime64[ns]")
    if dtype.startswith("timedelta"):
        days = days - pd.Timestamp("2020-01-01")
    column = days.dt.tz_localize("UTC").astype(dtype) if "," in dtype else days.astype(dtype)
    assert_same(pd.DataFrame({"d": column}), back(pd.DataFrame({"d": column})))


def test_the_index_goes_and_what_comes_back_can_be_changed():
    frame = pd.DataFrame({"x": [1.0, 2.0], "t": ["a", "b"]}, index=["r", "s"])
    made = back(frame)
    assert list(made.index) == [0, 1]
    made.loc[0, "x"] = 5.0
    assert made["x"].tolist() == [5.0, 2.0]


def test_a_nan_keeps_its_bits_and_a_zero_its_sign():
    raw = np.array([0x7FF8000000000123, 0xFFF8000000000000, 0x8000000000000000], dtype=np.uint64).view(float)
    assert back(pd.DataFrame({"x": raw}))["x"].to_numpy().tobytes() == raw.tobytes()


def test_unused_categories_and_their_order_stay():
    column = pd.Categorical(["b", None], categories=["c", "b", "a"], ordered=True)
    made = back(pd.DataFrame({"g": column}))["g"]
    assert (
        made.cat.categories.tolist() == ["c", "b", "a"]
        and made.cat.ordered
        and made.isna().tolist() == [False, True]
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"names of columns must be texts, each once.*'a', 'a'"),
        (pd.DataFrame([[1, 2]]), r"names of columns must be texts.*0, 1"),
        (pd.DataFrame({"a": [(1, 2)]}), r"column 'a' cannot be stored: an object of the kind tuple"),
        (pd.DataFrame({"a": [1j]}), r"column 'a' cannot be stored: columns of complex128"),
        (
            pd.DataFrame({"a": pd.period_range("2024", periods=1, freq="M")}),
            r"'a' cannot be stored: columns of period",
        ),
        (pd.DataFrame({"a": pd.cut([1, 2], 2)}), r"'a' cannot be stored: categories of interval"),
        (pd.DataFrame({"a": pd.Series(["\udc80"], dtype=object)}), r"'a' cannot be stored: .*surrogates"),
    ],
)
def test_what_would_not_come_back_is_refused(frame, message):
    with pytest.raises(TypeError, match=message):
        frame_to_parquet(frame)
