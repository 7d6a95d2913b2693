"""XLSX: a table with the formats of its figures, however many rows it has.

xlsxwriter makes the workbook: styles, widths, shared texts, everything but the rows of cells, which it writes
one by one (8 µs a cell: minutes for the table of a country). Every text and every format is given to it once,
as a specimen; the rows are made column by column, with the numbers that the specimens got, in their place.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.tables.sheet_cells import (
    BLOCK,
    FORMATS,
    SheetColumn,
    Writer,
    check_length,
    columns_of,
    rows_xml,
)

__all__ = ["SHEET", "xlsx_bytes"]

SHEET = "estimates"  # what does not fit goes on in "estimates 2", "estimates 3"

_MAX_ROWS = 1_000_000  # of a table on one sheet, which holds 1,048,576
_MAX_COLUMNS = 16_384
_CELLS = 1 << 20  # made at once
_LARGE = 1 << 31  # bytes of a sheet from which the zip needs wider numbers
_CELL = re.compile(r'<c r="([A-Z]+)(\d+)"(?: s="(\d+)")?(?: t="\w")?><v>([^<]*)</v></c>')


def xlsx_bytes(frame: pd.DataFrame, notes: Sequence[str]) -> bytes:
    """Return the workbook of a table, the same bytes every time.

    A table of more than a million rows goes on in further sheets, each with the names of the columns.

    Parameters
    ----------
    frame : DataFrame
    notes : sequence of str
        Lines of a last sheet.

    Raises
    ------
    SaeInputError
        If a text is too long for a cell, or there are too many columns.
    """
    import xlsxwriter

    if len(frame.columns) > _MAX_COLUMNS:
        raise SaeInputError(
            f"{len(frame.columns)} columns do not fit a spreadsheet, which holds {_MAX_COLUMNS}.",
            hint="Write .csv or .parquet.",
        )
    parts = [frame.iloc[k : k + _MAX_ROWS] for k in range(0, max(len(frame), 1), _MAX_ROWS)]
    sink = io.BytesIO()
    # in_memory fixes the times of the zip members; the workbook's own time is fixed just below
    with xlsxwriter.Workbook(sink, {"in_memory": True}) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})
        header = book.add_format(
            {"bold": True, "bottom": 1, "bg_color": "#DCE6F1", "text_wrap": True, "valign": "top"}
        )
        formats = {code: book.add_format({"num_format": code}) for code in FORMATS}
        seen: set[str] = set()
        sheets = []
        for number, part in enumerate(parts):
            sheets.append(_laid_out(part, number * _MAX_ROWS, seen))
            sheet = book.add_worksheet(f"{SHEET} {number + 1}" if number else SHEET)
            _write_specimens(sheet, sheets[-1], header, formats)
        if notes:
            sheet = book.add_worksheet("notes")
            sheet.set_column(0, 0, 110, book.add_format({"text_wrap": True, "valign": "top"}))
            for row, note in enumerate(notes):
                check_length(note, row)
                sheet.write_string(row, 0, note)
    return _with_rows(sink.getvalue(), sheets, len(notes))


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A sheet as xlsxwriter has it: the names, below them the specimens of its formats and of new texts.

    Attributes
    ----------
    columns : list of SheetColumn
    rows : int
        Of the table.
    places : dict of (int, str) to int
        By column and format the row of its specimen.
    texts : list of list of str
        By column the texts that no column before it has; the first stands below the specimens of formats.
    """

    columns: list[SheetColumn]
    rows: int
    places: dict[tuple[int, str], int]
    texts: list[list[str]]


def _laid_out(part: pd.DataFrame, start: int, seen: set[str]) -> _Sheet:
    columns = columns_of(part, start)
    # formats in the order of the cells that have them, row by row
    first = [(row, k, code) for k, column in enumerate(columns) for row, code in column.specimens()]
    places = {(k, code): row for row, (_, k, code) in enumerate(sorted(first), 1)}
    texts = []
    for column in columns:
        seen.add(column.name)
        texts.append([text for text in column.texts if text not in seen])
        seen.update(texts[-1])
    return _Sheet(columns, len(part), places, texts)


def _write_specimens(sheet: Any, layout: _Sheet, header: Any, formats: dict[str, Any]) -> None:
    for (position, code), row in layout.places.items():
        sheet.write_number(row, position, 0, formats[code])
    for position, (column, texts) in enumerate(zip(layout.columns, layout.texts, strict=True)):
        sheet.write_string(0, position, column.name, header)
        for row, text in enumerate(texts, len(layout.places) + 1):
            sheet.write_string(row, position, text)  # never a formula, whatever sign it starts with
        sheet.set_column(position, position, min(max(column.width, 6), 40) + 2)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, max(layout.rows, 1), len(layout.columns) - 1)


def _with_rows(book: bytes, sheets: Sequence[_Sheet], notes: int) -> bytes:
    """Return the workbook with the rows of its tables in the place of the specimens."""
    texts = sum(int((column.kind == "s").sum()) + 1 for sheet in sheets for column in sheet.columns)
    numbers: dict[str, str] = {}  # of the texts
    sink = io.BytesIO()
    with ZipFile(io.BytesIO(book)) as made, ZipFile(sink, "w", ZIP_DEFLATED) as whole:
        for entry in made.infolist():
            content = made.read(entry)
            member = ZipInfo(entry.filename, entry.date_time)
            member.compress_type = ZIP_DEFLATED
            number = re.fullmatch(r"xl/worksheets/sheet(\d+)\.xml", entry.filename)
            if entry.filename == "xl/sharedStrings.xml":
                content = re.sub(rb' count="\d+"', f' count="{texts + notes}"'.encode(), content, count=1)
            if number is None or int(number[1]) > len(sheets):
                whole.writestr(member, content)
                continue
            sheet = sheets[int(number[1]) - 1]
            large = sheet.rows * len(sheet.columns) * 60 > _LARGE
            with whole.open(member, "w", force_zip64=large) as file:
                for piece in _pieces(content.decode("utf-8"), sheet, numbers):
                    file.write(piece)
    return sink.getvalue()


def _pieces(xml: str, sheet: _Sheet, numbers: dict[str, str]) -> Iterator[bytes | memoryview]:
    """Yield the parts of a sheet, those around the rows as xlsxwriter made them; note the texts' numbers."""
    before, _, rest = xml.partition("<sheetData>")
    specimens, _, after = rest.partition("</sheetData>")
    head = specimens[: specimens.index("</row>") + len("</row>")]
    columns, names = sheet.columns, list(_CELL.finditer(head))
    letters = [cell[1] for cell in names]
    styles, top = {}, len(sheet.places) + 2  # rows are numbered from 1, the first of which are the names
    fresh = dict(zip(letters, sheet.texts, strict=True))
    for cell in _CELL.finditer(specimens, len(head)):
        if int(cell[2]) < top:
            styles[cell[1], int(cell[2]) - 1] = f' s="{cell[3]}"'
        else:
            numbers[fresh[cell[1]][int(cell[2]) - top]] = cell[4]
    numbers |= {column.name: cell[4] for column, cell in zip(columns, names, strict=True)}
    writers = [
        Writer(
            column,
            letter,
            [styles.get((letter, sheet.places.get((k, code), 0)), "") for code in column.formats],
            [numbers[text] for text in column.texts],
        )
        for k, (column, letter) in enumerate(zip(columns, letters, strict=True))
    ]
    filled = [np.flatnonzero(column.kind != "") for column in columns]
    corner = f"{letters[-1]}{max((int(rows[-1]) + 2 for rows in filled if len(rows)), default=1)}"
    area = "A1" if corner == "A1" else f"A1:{corner}"
    yield re.sub('<dimension ref="[^"]*"/>', f'<dimension ref="{area}"/>', before).encode()
    yield f"<sheetData>{head}".encode()
    step = max(_CELLS // len(columns) // BLOCK, 1) * BLOCK
    for start in range(0, sheet.rows + 1, step):  # rows of the sheet, of which the first are the names
        yield rows_xml(writers, range(max(start - 1, 0), min(start + step - 1, sheet.rows)))
    yield f"</sheetData>{after}".encode()
