"""Spreadsheets: xlsxwriter makes the same bytes of every cell; a long table goes on in further sheets.

xlsxwriter keeps 16 digits of a number, these sheets the fewest that read back to it: those compared here are
the same in both.
"""

import io
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import xlsxwriter

from sae.errors import SaeInputError
from sae.tables import read_table, sheets, write_table
from sae.tables.files import write_workbook
from sae.tables.sheet_formats import WRAPPED, Sheet, cell_formats
from sae.tables.sheets import xlsx_bytes

ANYTHING = [
    *(None, np.nan, pd.NA, True, np.bool_(False)),
    *(1, 2.5, -0.0, 1e300, 1e-9, np.float32(0.5), np.float64(0.1), np.int8(3), 10**14, np.inf),
    *("x", "=1+1", " lead", "a&b<c>\"'", "_x0041_", "\x01b", "line\nend", "", "ü€😀", ":", "0.5"),
    pd.Timestamp("2020-01-01"),
]
NAMES = [
    "unit",
    "n",
    "cv",
    "estimate",
    "ci_low",
    "ci_high",
    "se",
    "gamma",
    "mse",
    "domain",
    "x",
    "publishable",
]


def cell_by_cell(written):
    """Write sheets as the documentation of xlsxwriter shows it."""
    sink = io.BytesIO()
    with xlsxwriter.Workbook(sink, {"in_memory": True}) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})
        header = book.add_format(
            {"bold": True, "bottom": 1, "bg_color": "#DCE6F1", "text_wrap": True, "valign": "top"}
        )
        codes = dict.fromkeys(code for one in written for of in cell_formats(one) for code in of.codes)
        formats = {code: book.add_format({"num_format": code}) for code in codes if code not in ("", WRAPPED)}
        formats |= {"": None, WRAPPED: book.add_format({"text_wrap": True, "valign": "top"})}
        for one in written:
            _one_sheet(book, one, header, formats)
    return sink.getvalue()


def _one_sheet(book, one, header, formats):
    frame, sheet = one.frame, book.add_worksheet(one.name)
    for position, (name, of) in enumerate(zip(frame, cell_formats(one), strict=True)):
        sheet.write_string(0, position, name, header)
        width = len(name)
        for row, value in enumerate(frame[name].astype("object").tolist()):
            if pd.isna(value):
                continue
            code = of.codes[of.of_cell[row]]
            if isinstance(value, bool | np.bool_):
                sheet.write_boolean(row + 1, position, bool(value), formats[code])
                width = max(width, 5)
            elif isinstance(value, int | float | np.number) and np.isfinite(value):
                sheet.write_number(row + 1, position, value, formats[code])
                width = max(width, 8)
            else:
                sheet.write_string(row + 1, position, str(value), formats[code])
                width = max(width, len(str(value)))
        sheet.set_column(position, position, min(max(width, 6), 100 if one.wrapped else 40) + 2)
    sheet.freeze_panes(1, 0)
    if not one.wrapped:
        sheet.autofilter(0, 0, max(len(frame), 1), len(frame.columns) - 1)


def some_column(rng, name, rows):
    if name == "unit":
        return pd.array(rng.choice(["share", "EUR"], rows), dtype="string")
    gap = rng.random(rows) < 0.3
    made = [
        lambda: np.where(gap, np.nan, rng.integers(0, 1 << 12, rows) / (1 << 12)),
        lambda: rng.integers(0, 5, rows) / 4,
        lambda: rng.integers(-5, 10 ** int(rng.integers(1, 15)), rows),
        lambda: pd.array(rng.integers(0, 9, rows), dtype="Int64"),
        lambda: pd.array(rng.random(rows) < 0.5, dtype="boolean"),
        lambda: pd.array(rng.choice(["a", "b", "n", ""], rows), dtype="string"),
        lambda: pd.Categorical(rng.choice(["a", "b"], rows)),
        lambda: pd.Series([ANYTHING[k] for k in rng.integers(len(ANYTHING), size=rows)], dtype=object),
    ]
    kind = int(rng.integers(len(made)))
    column = made[kind]()
    if kind in (3, 4, 5):
        column[gap] = pd.NA
    return column


@pytest.mark.parametrize("at_once", [16, 1 << 20])
def test_same_bytes_as_xlsxwriter_cell_by_cell(at_once, monkeypatch):
    monkeypatch.setattr(sheets, "_CELLS", at_once)
    rng = np.random.default_rng(1)
    for case in range(60):
        rows, names = int(rng.integers(70)), rng.permutation(NAMES)[: rng.integers(1, len(NAMES))]
        frame = pd.DataFrame({name: some_column(rng, name, rows) for name in names.tolist()})
        notes = pd.DataFrame({"about": ["a", f"=note {case}"], "text": ["b", "long " * 40]})
        book = [Sheet("estimates", frame), *([Sheet("notes", notes, wrapped=True)] if case % 3 == 0 else [])]
        assert xlsx_bytes(book) == cell_by_cell(book), frame.dtypes.to_dict()


def test_rows_without_a_cell_are_left_out_as_xlsxwriter_does():
    frame = pd.DataFrame({"a": [None] * 40 + ["x"] + [None] * 50, "b": [np.nan] * 70 + [1.0] + [np.nan] * 20})
    assert xlsx_bytes([Sheet("x", frame)]) == cell_by_cell([Sheet("x", frame)])


def test_a_table_longer_than_a_sheet_goes_on_in_the_next(tmp_path, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    monkeypatch.setattr(sheets, "_MAX_ROWS", 7)
    frame = pd.DataFrame({"domain": [f"{k % 9:02d}" for k in range(20)], "estimate": np.arange(20) / 64})
    notes = Sheet("notes", pd.DataFrame({"about": ["Source"], "text": ["survey"]}), wrapped=True)
    table = Sheet("estimates", frame.assign(unit=["share"] * 10 + ["EUR"] * 10))
    for ending in (".xlsx", ".ods"):
        back = read_table(write_workbook([table, notes], tmp_path / f"t{ending}"))
        assert back["domain"].tolist() == frame["domain"].tolist()
        assert back["estimate"].tolist() == frame["estimate"].tolist()
    book = openpyxl.load_workbook(tmp_path / "t.xlsx")
    assert book.sheetnames == ["estimates", "estimates 2", "estimates 3", "notes"]
    assert [len(list(book[name].values)) for name in book.sheetnames] == [8, 8, 7, 2]
    assert book["estimates 2"]["B2"].number_format == "0.0%"
    assert book["estimates 3"]["B2"].number_format.startswith("#,##0.0")


def test_texts_come_back_as_they_were(tmp_path):
    pytest.importorskip("openpyxl")
    texts = [
        "two\r\nlines\n",
        "bell\x07",
        "_x0041_",
        "\ttab ",
        " lead",
        "=1+1",
        "\ufffe",
        "é😀",
        "1e5",
        "TRUE",
    ]
    path = write_table(pd.DataFrame({"domain": texts}), tmp_path / "t.xlsx")
    assert read_table(path)["domain"].tolist() == texts


def test_what_a_sheet_cannot_hold_is_refused(tmp_path):
    with pytest.raises(SaeInputError, match=r"A text of 40000 characters \(row 2\)"):
        write_workbook([Sheet("a", pd.DataFrame({"a": ["x", "😀" * 20_000]}))], tmp_path / "t.xlsx")
    with pytest.raises(SaeInputError, match="16385 columns do not fit a spreadsheet, which holds 16384"):
        xlsx_bytes([Sheet("a", pd.DataFrame(np.zeros((1, 16_385))))])
