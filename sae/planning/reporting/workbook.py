"""The workbook of a plan: a sheet to read first, one sheet per table, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.planning.reporting.tables import Section, Table, shown

__all__ = ["workbook_bytes"]

_FORMATS = {"count": "#,##0", "percent": "0.0%", "number": "#,##0.00", "small": "0.000E+00", "money": "#,##0"}
_MOST = 1_048_570  # rows of a sheet, less its heading


def workbook_bytes(title: str, lead: Sequence[str], sections: Sequence[Section]) -> bytes:
    """Return the workbook: "read first" with the text of all sections, then a sheet for every table.

    Raises
    ------
    SaeInputError
        If a table does not fit a sheet.
    """
    import xlsxwriter

    sink = io.BytesIO()
    # in_memory fixes the times of the zip members; the workbook's own time is fixed just below
    with xlsxwriter.Workbook(sink, {"in_memory": True}) as book:
        book.set_properties({"title": title, "created": datetime(2000, 1, 1)})
        styles = {
            "title": book.add_format({"bold": True, "font_size": 15}),
            "head": book.add_format({"bold": True, "font_size": 12, "top": 1}),
            "text": book.add_format({"text_wrap": True, "valign": "top"}),
            "quiet": book.add_format({"text_wrap": True, "valign": "top", "font_color": "#5B6570"}),
            "column": book.add_format(
                {"bold": True, "bottom": 1, "bg_color": "#DCE6F1", "text_wrap": True, "valign": "top"}
            ),
            **{
                kind: book.add_format({"num_format": code, "valign": "top"})
                for kind, code in _FORMATS.items()
            },
        }
        _first_sheet(book.add_worksheet("read first"), title, lead, sections, styles)
        for section in sections:
            for table in section.tables:
                _sheet(book.add_worksheet(table.name), table, styles)
    return sink.getvalue()


def _first_sheet(
    sheet: Any, title: str, lead: Sequence[str], sections: Sequence[Section], styles: dict[str, Any]
) -> None:
    sheet.set_column(0, 0, 118)
    sheet.hide_gridlines(2)
    lines = [(title, "title"), *((line, "text") for line in lead)]
    for number, section in enumerate(sections, 1):
        lines += [("", "text"), (f"{number}. {section.title}", "head")]
        lines += [(text, "text") for text in section.text]
        lines += [(f"Sheet “{table.name}”: {table.caption}", "quiet") for table in section.tables]
    for row, (line, style) in enumerate(lines):
        sheet.write_string(row, 0, line, styles[style])
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)


def _sheet(sheet: Any, table: Table, styles: dict[str, Any]) -> None:
    if len(table.frame) > _MOST:
        raise SaeInputError(
            f"The {len(table.frame):,} rows of {table.name} do not fit a sheet, which holds {_MOST:,}.",
            hint="Read the Parquet or CSV file; plan fewer strata for a workbook.",
        )
    sheet.write_string(0, 0, table.caption)
    for position, (name, (heading, kind)) in enumerate(table.columns.items()):
        sheet.write_string(1, position, heading, styles["column"])
        width = max(len(word) for word in heading.split())
        for row, value in enumerate(table.frame[name].astype("object").tolist(), 2):
            width = max(width, _write(sheet, row, position, value, kind, styles))
        sheet.set_column(position, position, min(max(width + 2, 9), 60))
    sheet.freeze_panes(2, 1)
    sheet.autofilter(1, 0, 1 + max(len(table.frame), 1), len(table.columns) - 1)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(1)


def _write(sheet: Any, row: int, column: int, value: Any, kind: str, styles: dict[str, Any]) -> int:
    """Write one value and return the width that it needs, in characters."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return 1
    text = shown(value, kind)
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))
    if kind != "text" and number and np.isfinite(value):
        sheet.write_number(row, column, value, styles[kind])
    else:
        sheet.write_string(row, column, text, styles["text"])  # never a formula, whatever it starts with
    return len(text)
