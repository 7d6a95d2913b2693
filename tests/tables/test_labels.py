"""One text for a label, whatever value holds it."""

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError
from sae.tables import EstimateTable, joined_labels, label_text, labels, read_table, write_table

NINE = [9, 9.0, np.int8(9), np.uint64(9), np.float32(9), np.float64(9), Decimal("9"), Decimal("9.00"), "9"]


@pytest.mark.parametrize("value", NINE, ids=lambda value: type(value).__name__)
def test_a_whole_number_has_no_decimal_point(value):
    assert label_text(value) == "9"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("09", "09"),
        ("9.0", "9.0"),
        (np.str_(" x"), " x"),
        ("", ""),
        (2.5, "2.5"),
        (np.float32(0.1), "0.1"),
        (-0.0, "0"),
        (-3.0, "-3"),
        (1e16, "10000000000000000"),
        (float("inf"), "inf"),
        (2**63, "9223372036854775808"),
        (True, "True"),
        (np.bool_(False), "False"),
        (date(2024, 3, 1), "2024-03-01"),
        (datetime(2024, 3, 1), "2024-03-01"),
        (pd.Timestamp("2024-03-01"), "2024-03-01"),
        (np.datetime64("2024-03-01"), "2024-03-01"),
        (datetime(2024, 3, 1, 6, 30), "2024-03-01 06:30:00"),
        (("AT", 9.0), "AT / 9"),
        (pd.Period("2024Q1"), "2024Q1"),
        (pd.Interval(0, 10), "(0, 10]"),
    ],
)
def test_every_other_kind(value, text):
    assert label_text(value) == text


@pytest.mark.parametrize("value", [None, float("nan"), np.nan, pd.NA, pd.NaT, np.datetime64("NaT")])
def test_a_missing_label_has_no_text(value):
    with pytest.raises(SaeInputError, match="A label is missing"):
        label_text(value)


COLUMNS = {
    "int64": pd.Series([1, 9, 1]),
    "float64": pd.Series([1.0, 9.0, 1.0]),
    "float32": pd.Series([1, 9, 1], dtype="float32"),
    "Int64": pd.Series([1, 9, 1], dtype="Int64"),
    "Float64": pd.Series([1, 9, 1], dtype="Float64"),
    "category of int": pd.Series(pd.Categorical([1, 9, 1], categories=[9, 5, 1])),
    "category of float": pd.Series(pd.Categorical([1.0, 9.0, 1.0])),
    "category of text": pd.Series(pd.Categorical(["1", "9", "1"])),
    "object": pd.Series([1, 9.0, "1"], dtype="object"),
    "object text": pd.Series(["1", "9", "1"], dtype="object"),
    "string": pd.Series(["1", "9", "1"], dtype="string"),
    "index": pd.Index([1.0, 9.0, 1.0]),
    "array": np.array([1.0, 9.0, 1.0]),
    "list": [1, 9.0, "1"],
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_has_the_same_texts_whatever_its_dtype(kind):
    text = labels(COLUMNS[kind])
    assert text.tolist() == ["1", "9", "1"] and text.dtype == "string"


@pytest.mark.parametrize(
    "kind", [kind for kind in COLUMNS if kind not in ("int64", "index", "array", "list")]
)
def test_missing_labels_are_refused_by_row_or_kept(kind):
    column = COLUMNS[kind].where([True, False, True]).rename("city")
    with pytest.raises(SaeInputError, match="1 of 3 rows have no city: row 2") as error:
        labels(column)
    assert error.value.column == "city"
    kept = labels(column, keep_missing=True)
    assert kept.isna().tolist() == [False, True, False] and kept[[0, 2]].tolist() == ["1", "1"]


def test_index_and_dates_stay():
    days = pd.Series(pd.to_datetime(["2024-03-01", "2024-03-02"]), index=["a", "b"])
    assert labels(days).to_dict() == {"a": "2024-03-01", "b": "2024-03-02"}
    assert labels(pd.Series(pd.period_range("2024Q1", periods=2, freq="Q"))).tolist() == ["2024Q1", "2024Q2"]


def test_joined_labels():
    frame = pd.DataFrame({"city": [1.0, 2.0], "birth": pd.Categorical(["native", "foreign"])}, index=[5, 5])
    assert joined_labels(frame, ["city", "birth"]).tolist() == ["1 / native", "2 / foreign"]
    assert joined_labels(frame, ["city"]).tolist() == ["1", "2"]
    with pytest.raises(SaeInputError, match="No column"):
        joined_labels(frame, [])


def test_tables_spell_their_labels_by_the_rule(tmp_path):
    table = EstimateTable(pd.DataFrame({"domain": [1.0, 9.0], "geo": [1, 9], "time": [2024.0, 2024.0]}))
    assert table["domain"].tolist() == table["geo"].tolist() == ["1", "9"]
    assert table["time"].tolist() == ["2024", "2024"]


def test_codes_of_a_spreadsheet_are_read_by_the_rule(tmp_path):
    pytest.importorskip("openpyxl")
    file = write_table(pd.DataFrame({"domain": [1.0, 9.0]}), tmp_path / "codes.xlsx")
    assert read_table(file)["domain"].tolist() == ["1", "9"]


@pytest.mark.parametrize(
    "values",
    [
        np.array([3, -1, 2], np.int8),
        np.array([2**64 - 1, 0], np.uint64),
        np.array([2.0, -0.0, np.nan, 2.0**53, -7.0]),
        np.array([1.0, 2.5]),
        np.array([1.0, np.inf]),
        np.array([1e20, 3.0], np.float32),
        np.array([np.nan, np.nan]),
        np.array([True, False]),
        pd.array([1, None, 3], dtype="Int64"),
    ],
)
def test_a_column_of_numbers_is_spelt_as_each_of_its_numbers(values):
    spelt = labels(pd.Series(values), keep_missing=True)
    assert [None if pd.isna(text) else text for text in spelt] == [
        None if pd.isna(value) else label_text(value) for value in values
    ]
