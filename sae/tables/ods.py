"""ODS, the open format of spreadsheets (ISO/IEC 26300, OpenDocument 1.3): written whole, and read again."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import pandas as pd

from sae.errors import SaeInputError
from sae.tables.sheet_cells import SheetColumn, columns_of, number_text
from sae.tables.sheet_formats import WRAPPED, Sheet, cell_formats
from sae.tables.sheets import WIDEST, parted

__all__ = ["ods_bytes", "ods_rows"]

_KIND = "application/vnd.oasis.opendocument.spreadsheet"
_NAMES = {
    name: f"urn:oasis:names:tc:opendocument:xmlns:{path}:1.0"
    for name, path in (
        ("config", "config"),
        ("fo", "xsl-fo-compatible"),
        ("manifest", "manifest"),
        ("meta", "meta"),
        ("number", "datastyle"),
        ("office", "office"),
        ("style", "style"),
        ("table", "table"),
        ("text", "text"),
    )
}
_TABLE, _TEXT, _OFFICE = (f"{{{_NAMES[name]}}}" for name in ("table", "text", "office"))
_BLOCK = 20_000  # rows made at once
_CENTIMETRES = 0.2  # of a character
_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]")  # what XML or a paragraph cannot hold
_RUN = re.compile(" {2,}|^ | $|\t")


def ods_bytes(sheets: Sequence[Sheet]) -> bytes:
    """Return a workbook, the same bytes every time: each text a text, no cell a formula.

    Raises
    ------
    SaeInputError
        If a text is too long for a cell or holds a control character, or there are too many columns.
    """
    formats = [cell_formats(sheet) for sheet in sheets]
    parts = [
        (name, part, columns_of(part, of, start), sheet.wrapped)
        for sheet, of in zip(sheets, formats, strict=True)
        for name, part, start in parted(sheet)
    ]
    codes = list(dict.fromkeys(code for of in formats for one in of for code in one.codes))
    styles = {code: f"ce{number}" for number, code in enumerate(codes)}
    widths = [
        [min(max(column.width, 6), WIDEST[wrapped]) + 2 for column in columns]
        for _, _, columns, wrapped in parts
    ]
    sink = io.BytesIO()
    with ZipFile(sink, "w", ZIP_DEFLATED) as book:
        book.writestr(_member("mimetype", ZIP_STORED), _KIND)
        with book.open(_member("content.xml"), "w", force_zip64=True) as file:
            file.write(_content_head(styles, widths).encode())
            for (name, part, columns, _), wide in zip(parts, widths, strict=True):
                for piece in _table(name, len(part), columns, styles, wide):
                    file.write(piece.encode())
            file.write(_filters([(name, part) for name, part, _, wrapped in parts if not wrapped]).encode())
            file.write(b"</office:spreadsheet></office:body></office:document-content>")
        book.writestr(_member("styles.xml"), _document("styles", "<office:styles/>"))
        book.writestr(_member("meta.xml"), _document("meta", _META))
        book.writestr(_member("settings.xml"), _document("settings", _settings([part[0] for part in parts])))
        book.writestr(_member("META-INF/manifest.xml"), _MANIFEST)
    return sink.getvalue()


def _member(name: str, compression: int = ZIP_DEFLATED) -> ZipInfo:
    member = ZipInfo(name)  # of 1980: no clock
    member.compress_type = compression
    return member


def _opening(part: str) -> str:
    names = " ".join(f'xmlns:{name}="{path}"' for name, path in _NAMES.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<office:document-{part} {names} office:version="1.3">'


def _document(part: str, content: str) -> str:
    return f"{_opening(part)}{content}</office:document-{part}>"


_META = (
    "<office:meta><meta:generator>sae</meta:generator>"
    "<meta:creation-date>2000-01-01T00:00:00</meta:creation-date></office:meta>"
)
_MANIFEST = (
    f'<?xml version="1.0" encoding="UTF-8"?>\n<manifest:manifest xmlns:manifest="{_NAMES["manifest"]}" '
    'manifest:version="1.3">'
    + "".join(
        f'<manifest:file-entry manifest:full-path="{name}" manifest:media-type="{kind}"/>'
        for name, kind in (
            ("/", _KIND),
            *((f"{name}.xml", "text/xml") for name in ("content", "styles", "meta", "settings")),
        )
    )
    + "</manifest:manifest>"
)


def _settings(names: Sequence[str]) -> str:
    """Return what keeps the names of the columns in sight."""
    items = "".join(
        f'<config:config-item config:name="{name}" config:type="{kind}">{value}</config:config-item>'
        for name, kind, value in (
            ("VerticalSplitMode", "short", 2),
            ("VerticalSplitPosition", "int", 1),
            ("ActiveSplitRange", "short", 2),
            ("PositionBottom", "int", 1),
        )
    )
    tables = "".join(
        f'<config:config-item-map-entry config:name="{escape(name)}">{items}</config:config-item-map-entry>'
        for name in names
    )
    return (
        '<office:settings><config:config-item-set config:name="ooo:view-settings">'
        '<config:config-item-map-indexed config:name="Views"><config:config-item-map-entry>'
        f'<config:config-item-map-named config:name="Tables">{tables}</config:config-item-map-named>'
        "</config:config-item-map-entry></config:config-item-map-indexed></config:config-item-set>"
        "</office:settings>"
    )


def _content_head(styles: dict[str, str], widths: Sequence[Sequence[int]]) -> str:
    known = dict.fromkeys(width for wide in widths for width in wide)
    columns = "".join(
        f'<style:style style:name="co{width}" style:family="table-column"><style:table-column-properties '
        f'style:column-width="{width * _CENTIMETRES:.2f}cm"/></style:style>'
        for width in known
    )
    head = (
        '<style:style style:name="head" style:family="table-cell"><style:table-cell-properties '
        'fo:background-color="#dce6f1" fo:border-bottom="0.5pt solid #000000" fo:wrap-option="wrap" '
        'style:vertical-align="top"/><style:text-properties fo:font-weight="bold"/></style:style>'
    )
    cells = "".join(_style(code, name) for code, name in styles.items())
    return (
        f"{_opening('content')}<office:automatic-styles>{columns}{head}{cells}</office:automatic-styles>"
        "<office:body><office:spreadsheet>"
    )


def _style(code: str, name: str) -> str:
    """Return the style of a cell for a format such as "0.0%", "#,##0" or "0.00E+00"."""
    if code in ("", WRAPPED):
        wrap = ' fo:wrap-option="wrap" style:vertical-align="top"' if code else ""
        return (
            f'<style:style style:name="{name}" style:family="table-cell">'
            f"<style:table-cell-properties{wrap}/></style:style>"
        )
    digits = f'number:min-integer-digits="1" number:decimal-places="{_decimals(code)}"'
    digits += ' number:grouping="true"' if "," in code else ""
    if "%" in code:
        made = f"percentage-style#<number:number {digits}/><number:text>%</number:text>"
    elif "E" in code:
        made = f'number-style#<number:scientific-number {digits} number:min-exponent-digits="2"/>'
    else:
        made = f"number-style#<number:number {digits}/>"
    kind, _, content = made.partition("#")
    return (
        f'<number:{kind} style:name="N{name}">{content}</number:{kind}><style:style style:name="{name}" '
        f'style:family="table-cell" style:data-style-name="N{name}"/>'
    )


def _decimals(code: str) -> int:
    return len(re.sub(r"^[^.]*\.?|[^0].*$", "", code.partition("E")[0].rstrip("%")))


def _table(
    name: str, rows: int, columns: Sequence[SheetColumn], styles: dict[str, str], widths: Sequence[int]
) -> Iterator[str]:
    wide = "".join(f'<table:table-column table:style-name="co{width}"/>' for width in widths)
    head = "".join(_text_cell(column.name, "head", 0) for column in columns)
    yield f'<table:table table:name="{escape(name)}">{wide}<table:table-header-rows><table:table-row>'
    yield f"{head}</table:table-row></table:table-header-rows>"
    for start in range(0, rows, _BLOCK):
        some = range(start, min(start + _BLOCK, rows))
        made = [_cells(column, some, [styles[code] for code in column.formats]) for column in columns]
        yield "".join(f"<table:table-row>{''.join(row)}</table:table-row>" for row in zip(*made, strict=True))
    yield "</table:table>"


def _cells(column: SheetColumn, rows: range, styles: Sequence[str]) -> list[str]:
    at = slice(rows.start, rows.stop)
    form = column.form[at].tolist()
    texts: dict[tuple[int, int], str] = {}
    out = []
    for row, kind, value, of in zip(
        rows, column.kind[at].tolist(), column.values[at].tolist(), form, strict=True
    ):
        if kind == "":
            out.append("<table:table-cell/>")
        elif kind == "n":
            out.append(_number_cell(value, column.formats[of], styles[of]))
        elif kind == "b":
            truth = "true" if value else "false"
            out.append(
                f'<table:table-cell office:value-type="boolean" office:boolean-value="{truth}">'
                f"<text:p>{truth.upper()}</text:p></table:table-cell>"
            )
        else:
            if (value, of) not in texts:
                texts[value, of] = _text_cell(column.texts[value], styles[of], row + 1)
            out.append(texts[value, of])
    return out


def _number_cell(value: Any, code: str, style: str) -> str:
    kind = "percentage" if "%" in code else "float"
    text = number_text(value)
    return (
        f'<table:table-cell table:style-name="{style}" office:value-type="{kind}" office:value="{text}">'
        f"<text:p>{_as_shown(value, code) or text}</text:p></table:table-cell>"
    )


def _as_shown(value: Any, code: str) -> str:
    if not code or code == WRAPPED:
        return ""
    end = "%" if "%" in code else "E" if "E" in code else "f"
    return f"{value:{',' if ',' in code else ''}.{_decimals(code)}{end}}"


def _text_cell(text: str, style: str, row: int) -> str:
    odd = _NO_TEXT.search(text)
    if odd:
        raise SaeInputError(
            f"The text {text[:40]!r} (row {row}) holds the control character {odd[0]!r}, which .ods cannot.",
            hint="Write .xlsx, .csv or .parquet.",
        )
    paragraphs = "".join(f"<text:p>{_spaced(line)}</text:p>" for line in text.split("\n"))
    return (
        f'<table:table-cell table:style-name="{style}" office:value-type="string">{paragraphs}'
        "</table:table-cell>"
    )


def _spaced(line: str) -> str:
    """Return a line of text in which no space is lost: OpenDocument takes several for one."""
    return _RUN.sub(
        lambda run: "<text:tab/>" if run[0] == "\t" else f'<text:s text:c="{len(run[0])}"/>', escape(line)
    )


def _filters(tables: Sequence[tuple[str, pd.DataFrame]]) -> str:
    ranges = "".join(
        f'<table:database-range table:name="filter_{number}" table:display-filter-buttons="true" '
        f'table:target-range-address="{_address(name, part)}"/>'
        for number, (name, part) in enumerate(tables, 1)
    )
    return f"<table:database-ranges>{ranges}</table:database-ranges>" if ranges else ""


def _address(name: str, part: pd.DataFrame) -> str:
    sheet = f"&apos;{escape(name)}&apos;"
    return f"{sheet}.A1:{sheet}.{_letters(len(part.columns))}{max(len(part), 1) + 1}"


def _letters(position: int) -> str:
    letters = ""
    while position:
        position, last = divmod(position - 1, 26)
        letters = chr(65 + last) + letters
    return letters


# --- reading


def ods_rows(path: Path) -> list[tuple[str, list[tuple[Any, ...]]]]:
    """Return the names of the sheets and their rows of cells; None where a cell is empty."""
    from xml.etree import ElementTree

    sheets: list[tuple[str, list[tuple[Any, ...]]]] = []
    gap = 0  # empty rows that are there only if one with cells follows
    with ZipFile(path) as book, book.open("content.xml") as file:
        for event, node in ElementTree.iterparse(file, ("start", "end")):
            if event == "start" and node.tag == f"{_TABLE}table":
                sheets.append((node.get(f"{_TABLE}name", ""), []))
                gap = 0
            elif event == "end" and node.tag == f"{_TABLE}table-row":
                cells, times = _row(node), int(node.get(f"{_TABLE}number-rows-repeated", 1))
                node.clear()
                if not cells:
                    gap += times
                    continue
                sheets[-1][1].extend([()] * gap + [cells] * times)
                gap = 0
    return sheets


def _row(node: Any) -> tuple[Any, ...]:
    cells: list[Any] = []
    gap = 0
    for cell in node:
        value, times = _value(cell), int(cell.get(f"{_TABLE}number-columns-repeated", 1))
        if value is None:
            gap += times
            continue
        cells += [None] * gap + [value] * times
        gap = 0
    return tuple(cells)


def _value(cell: Any) -> Any:
    kind = cell.get(f"{_OFFICE}value-type")
    if kind == "boolean":
        return cell.get(f"{_OFFICE}boolean-value") == "true"
    if kind in ("float", "percentage", "currency"):
        text = cell.get(f"{_OFFICE}value", "")
        return int(text) if re.fullmatch(r"-?[1-9]\d*|0", text) else float(text)
    if kind is None:
        return None
    return "\n".join(map(_text, cell.iterfind(f"{_TEXT}p")))


def _text(node: Any) -> str:
    parts = [node.text or ""]
    for child in node:
        if child.tag == f"{_TEXT}s":
            parts.append(" " * int(child.get(f"{_TEXT}c", 1)))
        elif child.tag == f"{_TEXT}tab":
            parts.append("\t")
        elif child.tag == f"{_TEXT}line-break":
            parts.append("\n")
        else:
            parts.append(_text(child))
        parts.append(child.tail or "")
    return "".join(parts)
