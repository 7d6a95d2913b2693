"""XLSX: tables with the formats of their figures, however many rows they have.

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
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.tables.sheet_cells import BLOCK, SheetColumn, Writer, columns_of, rows_xml
from sae.tables.sheet_formats import WRAPPED, Sheet, cell_formats

__all__ = ["WIDEST", "parted", "xlsx_bytes", "xlsx_rows"]

_MAX_ROWS = 1_000_000  # of a table on one sheet, which holds 1,048,576
_MAX_COLUMNS = 16_384
WIDEST = (40, 100)  # characters of a column; of one whose texts go over several lines
_CELLS = 1 << 20  # made at once
_LARGE = 1 << 31  # bytes of a sheet from which the zip needs wider numbers
_CONTROL = re.compile("_x(00[01][0-9A-F]|FFF[EF])_")
_CELL = re.compile(r'<c r="([A-Z]+)(\d+)"(?: s="(\d+)")?(?: t="\w")?><v>([^<]*)</v></c>')


def xlsx_bytes(sheets: Sequence[Sheet]) -> bytes:
    """Return a workbook, the same bytes every time.

    A table of more than a million rows goes on in further sheets, each with the names of the columns.

    Raises
    ------
    SaeInputError
        If a text is too long for a cell, or there are too many columns.
    """
    import xlsxwriter

    formats = [cell_formats(sheet) for sheet in sheets]
    sink = io.BytesIO()
    # in_memory fixes the times of the zip members; the workbook's own time is fixed just below
    with xlsxwriter.Workbook(sink, {"in_memory": True}) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})
        header = book.add_format(
            {"bold": True, "bottom": 1, "bg_color": "#DCE6F1", "text_wrap": True, "valign": "top"}
        )
        codes = dict.fromkeys(code for of in formats for one in of for code in one.codes)
        styles = {code: book.add_format({"num_format": code}) for code in codes if code not in ("", WRAPPED)}
        styles[WRAPPED] = book.add_format({"text_wrap": True, "valign": "top"})
        seen: set[str] = set()
        written = []
        for whole, of in zip(sheets, formats, strict=True):
            for name, part, start in parted(whole):
                written.append(_laid_out(columns_of(part, of, start), len(part), seen))
                sheet = book.add_worksheet(name)
                _write_specimens(sheet, written[-1], header, styles, wrapped=whole.wrapped)
    return _with_rows(sink.getvalue(), written)


def parted(sheet: Sheet) -> Iterator[tuple[str, pd.DataFrame, int]]:
    """Yield name, rows and first row of every part of a table that fits a sheet.

    Raises
    ------
    SaeInputError
        If there are too many columns.
    """
    frame = sheet.frame
    if len(frame.columns) > _MAX_COLUMNS:
        raise SaeInputError(
            f"{len(frame.columns)} columns do not fit a spreadsheet, which holds {_MAX_COLUMNS}.",
            hint="Write .csv or .parquet.",
        )
    for number, start in enumerate(range(0, max(len(frame), 1), _MAX_ROWS), 1):
        name = f"{sheet.name} {number}" if number > 1 else sheet.name
        yield name, frame.iloc[start : start + _MAX_ROWS], start


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


def _laid_out(columns: list[SheetColumn], rows: int, seen: set[str]) -> _Sheet:
    # formats in the order of the cells that have them, row by row
    first = [(row, k, code) for k, column in enumerate(columns) for row, code in column.specimens()]
    places = {(k, code): row for row, (_, k, code) in enumerate(sorted(first), 1)}
    texts = []
    for column in columns:
        seen.add(column.name)
        texts.append([text for text in column.texts if text not in seen])
        seen.update(texts[-1])
    return _Sheet(columns, rows, places, texts)


def _write_specimens(
    sheet: Any, layout: _Sheet, header: Any, formats: dict[str, Any], *, wrapped: bool
) -> None:
    for (position, code), row in layout.places.items():
        sheet.write_number(row, position, 0, formats[code])
    for position, (column, texts) in enumerate(zip(layout.columns, layout.texts, strict=True)):
        sheet.write_string(0, position, column.name, header)
        for row, text in enumerate(texts, len(layout.places) + 1):
            sheet.write_string(row, position, text)  # never a formula, whatever sign it starts with
        sheet.set_column(position, position, min(max(column.width, 6), WIDEST[wrapped]) + 2)
    sheet.freeze_panes(1, 0)
    if not wrapped:
        sheet.autofilter(0, 0, max(layout.rows, 1), len(layout.columns) - 1)


def _with_rows(book: bytes, sheets: Sequence[_Sheet]) -> bytes:
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
                content = re.sub(rb' count="\d+"', f' count="{texts}"'.encode(), content, count=1)
            if number is None:
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


def xlsx_rows(path: Path) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Return the names of the sheets of a file and their rows of cells; None where a cell is empty."""
    try:
        import openpyxl
    except ImportError as error:
        raise SaeInputError(
            f"{path.name} cannot be read: reading .xlsx needs openpyxl.",
            hint="pip install openpyxl, or read the .csv, .ods or .parquet file.",
        ) from error
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    sheets = [
        (sheet.title, [tuple(map(_unescaped, row)) for row in sheet.iter_rows(values_only=True)])
        for sheet in book.worksheets
    ]
    book.close()
    return sheets


def _unescaped(cell: Any) -> Any:
    """Return a text with its control characters, which a sheet holds as "_x000D_" and openpyxl leaves so."""
    if isinstance(cell, str) and "_x" in cell:
        return _CONTROL.sub(lambda code: chr(int(code[1], 16)), cell)
    return cell
