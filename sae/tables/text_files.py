"""One reader of delimited text for every door: its cells as text, blanks cut, accents composed."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables.guard import UNGUARD, unguarded
from sae.tables.text_cells import cell_bytes

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "cell_stream",
    "faults_named",
    "header_of",
    "known_encoding",
    "read_cells",
    "refuse_other_formats",
]


_UTF8 = {"utf-8", "utf-8-sig"}
_SEPARATORS = (",", ";", "\t", "|")
_SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_MAGIC = {
    b"PK\x03\x04": "a spreadsheet or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"PAR1": "a Parquet file",
}
_BLOCK = 2**22  # bytes read at once: chunks of columns long enough to be worth a call


def refuse_other_formats(path: Path, head: bytes) -> None:
    """Refuse by name a spreadsheet, and a file that is not what its ending says.

    Raises
    ------
    SaeInputError
        With the format that the first bytes of the file, `head`, or its ending tell.
    """
    name = path.name
    if path.suffix.lower() in _SHEETS:
        raise SaeInputError(
            f"{name} is a spreadsheet, which is not read here.",
            hint="Save the sheet as CSV (UTF-8), or write it as .parquet.",
        )
    compressed = head.startswith(b"\x1f\x8b")
    if path.suffix.lower() == ".gz" and not compressed:
        raise SaeInputError(f"The file {name} is not compressed, although its name ends in .gz.")
    if compressed and path.suffix.lower() != ".gz":
        raise SaeInputError(
            f"The file {name} is compressed by gzip, although its name does not end in .gz.",
            hint="Rename it, or unpack it.",
        )
    for magic, what in _MAGIC.items():
        if head.startswith(magic) and path.suffix.lower() not in (".parquet", ".pq"):
            raise SaeInputError(
                f"The file {name} is {what}, although its name ends in {path.suffix or 'nothing'}.",
                hint="Save it as CSV (UTF-8), or give it the ending of what it is.",
            )


def read_cells(
    source: Path | bytes, path: Path, *, encoding: str = "utf-8", separator: str | None = None
) -> tuple[pa.Table, str]:
    """Read a delimited text file: cells as text, blanks around them cut, accents composed, empty as missing.

    Parameters
    ----------
    source : Path or bytes
        The file, or its content; compressed by gzip where the ending of `path` is ``.gz``.
    path : Path
        Names the file in messages.
    encoding : str
        A byte-order mark is accepted.
    separator : str, optional
        One character; without it comma, semicolon, tab or bar, as the first two lines show.

    Returns
    -------
    cells : pyarrow.Table
    separator : str

    Raises
    ------
    SaeInputError
        If the file is damaged, in another encoding, malformed or without a record, or its columns lack names
        or share them.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    encoding = known_encoding(encoding)
    with faults_named(path, encoding, separator):
        header, lines, separator = header_of(source, path, encoding, separator)
    with faults_named(path, encoding, separator), _opened(source, path) as stream:
        table = arrow_csv.read_csv(stream, **_options(header, lines, encoding, separator))
    if table.num_rows == 0:
        raise SaeInputError(
            f"The file {path.name} has a header with {len(header)} columns, but no records: it has no rows.",
            hint="Check that it was written in full.",
        )
    return pa.table([_clean(column) for column in table.columns], names=header), separator


def cell_stream(path: Path, encoding: str, separator: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the cells of some columns of a text file part by part, as `read_cells` has them."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with faults_named(path, encoding, separator):
        header, lines, _ = header_of(path, path, encoding, separator)
        with _opened(path, path) as stream:
            options = _options(header, lines, encoding, separator, columns)
            for batch in arrow_csv.open_csv(stream, **options):
                cells = [_clean(pa.chunked_array([column])) for column in batch.columns]
                yield pa.table(cells, names=batch.schema.names)


def _options(
    header: list[str], lines: int, encoding: str, separator: str, columns: Sequence[str] | None = None
) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    return {
        "read_options": arrow_csv.ReadOptions(
            column_names=header,
            skip_rows=lines,
            encoding="utf8" if encoding in _UTF8 else encoding,
            block_size=_BLOCK,
        ),
        "parse_options": arrow_csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, ignore_empty_lines=len(header) > 1
        ),
        "convert_options": arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            include_columns=columns,
        ),
    }


@contextmanager
def faults_named(path: Path, encoding: str, separator: str | None) -> Iterator[None]:
    """Name the file in whatever goes wrong while it is read, and what to do."""
    import pyarrow as pa

    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise _damaged(path, problem) from None
    except (pa.ArrowException, UnicodeError, OSError) as problem:
        text = " ".join(str(problem).split())
        if isinstance(problem, UnicodeError) or "UTF8" in text or "codec" in text:
            raise SaeInputError(
                f"The file {path.name} is not in the encoding {encoding}, which was tried.",
                hint='Name its encoding, such as encoding="cp1252" (Windows, Western Europe) or "latin-1".',
            ) from None
        if "zlib" in text or "compressed" in text:
            raise _damaged(path, problem) from None
        raise SaeInputError(
            f"The file {path.name} cannot be read as a table separated by {separator!r}: {text}.",
            hint="Every row needs as many values as the header; quote values that hold the separator.",
        ) from None


def _damaged(path: Path, problem: Exception) -> SaeInputError:
    return SaeInputError(
        f"The compressed file {path.name} is damaged or cut off: {' '.join(str(problem).split())}.",
        hint="Copy it again.",
    )


def known_encoding(encoding: str) -> str:
    """Return the name of an encoding of text, or refuse it."""
    try:
        info = codecs.lookup(encoding)
    except (LookupError, TypeError, ValueError):
        info = None
    if info is None or not getattr(info, "_is_text_encoding", True):
        raise SaeInputError(f"{encoding!r} is not an encoding.", hint="For example utf-8, cp1252, latin-1.")
    return info.name


def _opened(source: Path | bytes, path: Path) -> Any:
    import pyarrow as pa

    raw = pa.BufferReader(source) if isinstance(source, bytes) else pa.OSFile(str(source))
    return pa.CompressedInputStream(raw, "gzip") if path.suffix.lower() == ".gz" else raw


def header_of(
    source: Path | bytes, path: Path, encoding: str, separator: str | None
) -> tuple[list[str], int, str]:
    """Return the names of the columns, how many lines they take, and the separator."""
    if separator is not None and (not isinstance(separator, str) or len(separator) != 1):
        raise SaeSpecError(f"separator={separator!r} is not one character.", hint="For example ';' or '\\t'.")
    raw: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with raw, gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw as binary:
        wide = "utf-8-sig" if encoding in _UTF8 else encoding
        stream: Any = io.TextIOWrapper(binary, encoding=wide, newline="")
        line = stream.readline().removeprefix("\ufeff")
        lines = 1
        while line.count('"') % 2 and lines < 100 and (more := stream.readline()):  # a name of several lines
            line, lines = line + more, lines + 1
        below = stream.readline()
    if not line.strip():
        raise SaeInputError(
            f"The first line of {path.name} is blank.", hint="The first line holds the column names."
        )
    if separator is None:
        # the separator that gives the most names, and as many values below
        separator = max(_SEPARATORS, key=lambda one: _fit(_split(line, one), _split(below, one)))
    names = [unguarded(_clean_text(name)) for name in _split(line, separator)]
    blank = [position + 1 for position, name in enumerate(names) if not name]
    if blank == [1] and len(names) > 1:  # the row names of an R export
        names[0] = "row"
    elif blank:
        columns = "column" if len(blank) == 1 else "columns"
        raise SaeInputError(
            f"{len(blank)} {columns} of {path.name} {'has' if len(blank) == 1 else 'have'} no name: "
            f"{name_some(blank)}.",
            hint="The first line holds the column names.",
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        one = len(repeated) == 1
        raise SaeInputError(
            f"{len(repeated)} column {'name' if one else 'names'} of {path.name} "
            f"{'occurs' if one else 'occur'} more than once: {name_some(repeated)}.",
            hint="Rename the columns so that every name is unique.",
            column=repeated[0],
        )
    return names, lines, separator


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(line.rstrip("\r\n"), newline=""), delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def _fit(names: list[str], values: list[str]) -> tuple[bool, int]:
    return len(names) > 1 and (not values or len(names) == len(values)), len(names)


def _clean_text(text: str) -> str:
    return unicodedata.normalize(
        "NFC", re.sub("[\u00a0\u2007\u202f]", " ", text).strip("\ufeff\u200b")
    ).strip()


def _clean(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cut blanks of every kind, write no-break blanks as blanks, compose accents; nothing left is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _may_be_unclean(column):
        return column
    coded = column.dictionary_encode().unify_dictionaries()
    levels = coded.chunk(0).dictionary
    if not pc.all(pc.string_is_ascii(levels)).as_py():
        levels = pc.replace_substring_regex(levels, "[\u00a0\u2007\u202f]", " ")
        levels = pc.utf8_normalize(pc.utf8_trim(levels, "\ufeff\u200b"), form="NFC")
    levels = pc.utf8_trim_whitespace(levels)
    if pc.any(pc.starts_with(levels, "'")).as_py():
        levels = pc.replace_substring_regex(levels, UNGUARD, r"\1")
    levels = pc.if_else(pc.equal(levels, ""), pa.scalar(None, pa.string()), levels)
    return pa.chunked_array([levels.take(chunk.indices) for chunk in coded.chunks], pa.string())


def _may_be_unclean(column: pa.ChunkedArray) -> bool:
    """Whether a cell may begin or end with a blank, hold an apostrophe or a sign beyond ASCII."""
    for data, begins in cell_bytes(column):
        if data.size == 0:
            continue
        if data.max() > 127 or (data == ord("'")).any():
            return True
        if data.min() <= 32:
            filled = np.flatnonzero(begins[1:] > begins[:-1])
            ends = np.concatenate([begins[filled], begins[filled + 1] - 1])
            if data[ends].min() <= 32:
                return True
    return False
