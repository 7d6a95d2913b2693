"""Formats of figures: decimals in measure of the error, percentages of shares."""

import numpy as np
import pandas as pd
import pytest

from sae.tables import DirectEstimates, EstimateTable
from sae.tables.sheet_formats import Sheet, cell_formats


def codes(frame, column, **options):
    of = dict(zip(frame, cell_formats(Sheet("t", frame, **options)), strict=True))[column]
    return [of.codes[k] for k in of.of_cell]


def figures(estimate, se, unit="share", **more):
    return pd.DataFrame({"unit": unit, "estimate": estimate, "se": se, **more})


@pytest.mark.parametrize(
    ("unit", "se", "code", "error_code"),
    [
        ("share", 0.2, "0%", "0.0%"),
        ("share", 0.02, "0.0%", "0.00%"),
        ("share", 0.002, "0.00%", "0.000%"),
        ("share", 1e-9, "0.0000%", "0.0000%"),
        ("EUR", 2000.0, "#,##0", "#,##0.0"),
        ("EUR", 3.0, "#,##0.0", "#,##0.00"),
        ("index", 0.03, "#,##0.000", "#,##0.0000"),
        ("index", 3e-8, "0.000E+00", "0.000E+00"),
    ],
)
def test_decimals_in_measure_of_the_error(unit, se, code, error_code):
    frame = figures([np.pi / 7, np.e / 7], se, unit)
    assert codes(frame, "estimate") == [code] * 2 and codes(frame, "se") == [error_code] * 2


def test_the_indicators_of_a_table_have_their_own_decimals():
    frame = figures(
        [np.pi, np.e, 12345.678], [0.01, 0.03, 250.0], ["share", "share", "EUR"], indicator=["a", "b", "c"]
    )
    assert codes(frame, "estimate") == ["0.0%", "0.0%", "#,##0"]
    one = figures([np.pi, np.e, np.sqrt(2)], [0.1, 10.0, 10.0], "EUR")
    assert codes(one, "estimate") == ["#,##0"] * 3  # one unit, one format: that of the median error


def test_a_rounded_row_shows_no_decimal_that_it_does_not_have():
    frame = pd.DataFrame(
        {
            "unit": ["share"] * 3 + ["EUR"] * 3,
            "estimate": [0.62, 0.623, 0.6, 18_200.0, 1.93, 0.0123],
            "ci_low": [0.53, 0.6, 0.5, 17_400.0, 1.2, 0.01],
            "ci_high": [0.71, 0.7, np.nan, 19_000.0, 2.5, 0.02],
        }
    )
    assert codes(frame, "estimate") == ["0%", "0.0%", "0%", "#,##0", "#,##0.00", "#,##0.0000"]
    assert codes(frame.assign(ci_low=":"), "estimate")[0] == "0%"  # a colon is no figure


def test_counts_are_whole_and_ratios_have_their_formats():
    frame = figures([0.1234567], [0.01], n=[1200], cv=[0.08], gamma=[0.5], mse=[1e-4], domain=["A"])
    shown = {name: codes(frame, name)[0] for name in frame}
    assert shown["n"] == "#,##0" and shown["cv"] == "0.0%" and shown["mse"] == "0.00E+00"
    assert shown["domain"] == "" and shown["gamma"] == "0.000"


def test_no_format_where_there_is_no_figure():
    assert codes(pd.DataFrame({"estimate": [np.nan, np.inf], "se": [0.0, np.nan]}), "estimate")
    assert codes(pd.DataFrame({"estimate": []}), "estimate") == []
    assert codes(pd.DataFrame({"se": [0.25]}), "se") == ["#,##0.000"]


def test_the_workbook_of_direct_estimates_shows_shares_by_their_units(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    frame = pd.DataFrame(
        {"indicator": ["rate", "income"], "domain": "A", "estimate": [0.41234, 21_432.1], "se": [0.02, 300.0]}
    )
    direct = DirectEstimates(frame, (), units={"rate": "share", "income": "EUR"}, log=("=a note",))
    book = openpyxl.load_workbook(direct.write(tmp_path / "t.xlsx"))
    assert book.sheetnames == ["estimates", "notes", "columns"]
    sheet = book["estimates"]
    at = [cell.value for cell in sheet[1]].index("estimate") + 1
    assert [sheet.cell(row, at).number_format for row in (2, 3)] == ["0.0%", "#,##0"]
    notes = list(book["notes"].values)
    assert ("Unit", "rate: share, income: EUR") in notes and ("Note", "=a note") in notes


def test_the_workbook_of_estimates_says_what_it_is_about(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    frame = pd.DataFrame(
        {
            "indicator": "employment_rate",
            "definition": "employment_rate 2",
            "unit": "share",
            "time": "2024",
            "birth": ["foreign", "native"],
            "domain": ["A / foreign", "A / native"],
            "direct": [0.51, np.nan],
            "estimate": [0.5123, 0.7012],
            "in_sample": [True, False],
            "flag": ["e", ":c"],
            "policy": "eurostat_lfs",
            "model": "rate ~ x",
        }
    )
    table = EstimateTable(frame, ("birth",))
    book = openpyxl.load_workbook(table.write(tmp_path / "t.xlsx"))
    assert book.sheetnames == ["estimates", "notes", "columns", "flags"]
    assert all(sheet.freeze_panes == "A2" for sheet in book.worksheets)
    notes = dict(list(book["notes"].values)[1:])
    assert notes["Definition"] == "employment_rate 2" and notes["Policy"] == "eurostat_lfs"
    assert notes["Rows"] == "2, 1 of them with a direct estimate" and notes["Model"] == "rate ~ x"
    columns = dict(list(book["columns"].values)[1:])
    assert list(columns) == list(table) and all(columns.values())
    assert list(book["flags"].values)[1:] == [
        (":c", "withheld: confidential", 1),
        ("e", "estimated with a model", 1),
    ]
