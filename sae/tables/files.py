"""Writing and reading tables: CSV, Parquet, XLSX, ODS; whole or not at all, the same bytes every time."""

from __future__ import annotations

import csv
import io
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeError, SaeInputError, name_some
from sae.tables.columns import DIRECT_COLUMNS, DTYPES, ESTIMATE_COLUMNS
from sae.tables.frames import pandas_frame
from sae.tables.guard import unguarded
from sae.tables.labels import label_text
from sae.tables.ods import ods_bytes, ods_rows
from sae.tables.sheet_formats import Sheet
from sae.tables.sheets import xlsx_bytes, xlsx_rows
from sae.tables.text_cells import looks_missing
from sae.tables.text_rows import csv_bytes

__all__ = [
    "file_path",
    "is_workbook",
    "read_columns",
    "read_table",
    "whole_file",
    "write_table",
    "write_workbook",
]

_NOTES = (AttributeError, LookupError, TypeError, ValueError)  # of pandas, in a damaged Parquet file
_KINDS = {**DIRECT_COLUMNS, **ESTIMATE_COLUMNS}


def file_path(path: object) -> Path:
    """Return a path, or refuse what is none, such as a frame or a result that was given in its place.

    Examples
    --------
    >>> sae.tables.file_path("rates.csv").name
    'rates.csv'
    """
    if not isinstance(path, str | os.PathLike) or not str(path):
        what = "an empty text" if isinstance(path, str) else f"a {type(path).__name__}"
        raise SaeInputError(
            f"The path of a file is text or a Path, and {what} was given.",
            hint='Write it as "folder/name.csv".',
        )
    return Path(path)


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; put it in the place of `path` when the block succeeds.

    A block that fails leaves an older file at `path` as it was, and nothing beside it.

    Raises
    ------
    SaeInputError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "note.txt") as part:
    ...         _ = part.write_text("all of it", encoding="utf-8")
    ...     (Path(folder) / "note.txt").read_text(encoding="utf-8")
    'all of it'
    """
    path = file_path(path)
    if not path.parent.is_dir():
        raise SaeInputError(
            f"{path.name} cannot be written: the folder {path.parent} does not exist.",
            hint="Create the folder first.",
        )
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_table(frame: pd.DataFrame, path: str | Path) -> Path:
    r"""Write `frame` as CSV, Parquet, XLSX or ODS by the ending of `path`.

    The file appears whole or not at all, and the same table gives the same bytes every time.

    Parameters
    ----------
    frame : DataFrame
        Any table with distinct column names. The index is not written, so it must not hold labels.
    path : str or Path
        Ends in ``.csv`` (UTF-8, ``\n``, shortest decimals that read back to the same number,
        missing = empty, ``true``/``false``; an apostrophe before a text that a spreadsheet would execute,
        which `read_table` takes off), ``.parquet``, ``.xlsx`` or ``.ods`` (after a million rows the table
        goes on in the sheet "estimates 2").

    Returns
    -------
    Path
        Where the file lies.

    Raises
    ------
    SaeInputError
        If the ending is unknown, a name stands twice, the index holds labels, or the table does not fit
        the format.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = write_table(pd.DataFrame({"domain": ["01"], "estimate": [0.1]}), f"{folder}/table.csv")
    ...     file.read_text(encoding="utf-8")
    'domain,estimate\n01,0.1\n'
    """
    path = file_path(path)
    if is_workbook(path):
        return write_workbook([Sheet("estimates", frame)], path)
    encode = _by_ending(path, {".csv": csv_bytes, ".parquet": _parquet_bytes, **_WORKBOOKS})
    content = encode(_writable(frame, path))
    with whole_file(path) as part:
        part.write_bytes(content)
    return path


def is_workbook(path: str | Path) -> bool:
    """Whether a file of this name has several sheets."""
    return file_path(path).suffix.lower() in _WORKBOOKS


def write_workbook(sheets: Sequence[Sheet], path: str | Path) -> Path:
    """Write tables as sheets of one XLSX or ODS file; `read_table` reads the first of them.

    Percentages, decimals and widths are those of the figures. No text is ever a formula.

    Parameters
    ----------
    sheets : sequence of Sheet
        With distinct names; the first is the table.
    path : str or Path
        Ends in ``.xlsx`` or ``.ods``.

    Raises
    ------
    SaeInputError
        As `write_table`.

    Examples
    --------
    >>> import tempfile
    >>> from sae.tables.sheet_formats import Sheet
    >>> frame = pd.DataFrame({"domain": ["01"], "estimate": [0.1]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     notes = Sheet("notes", pd.DataFrame({"what": ["Source"], "text": ["EU-LFS"]}), wrapped=True)
    ...     read_table(write_workbook([Sheet("estimates", frame), notes], f"{folder}/t.ods")).values.tolist()
    [['01', 0.1]]
    """
    path = file_path(path)
    encode = _by_ending(path, _WORKBOOKS)
    content = encode([replace(sheet, frame=_writable(sheet.frame, path)) for sheet in sheets])
    with whole_file(path) as part:
        part.write_bytes(content)
    return path


def _writable(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    frame = pandas_frame(frame, "The rows")
    _check_names(frame.columns, path.name)
    if (
        isinstance(frame.index, pd.MultiIndex)
        or frame.index.name
        or not pd.api.types.is_integer_dtype(frame.index)
    ):
        raise SaeInputError(
            f"The index of the table holds labels ({name_some(frame.index, 3)}) that {path.name} would lose.",
            hint="Make it a column with reset_index().",
        )
    return frame


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote.

    The fixed columns of the estimate table and of the direct table get their own dtypes back. Other columns
    keep their dtype in Parquet; in CSV, which holds no types, they are text, so that codes keep their zeros.

    Raises
    ------
    SaeInputError
        If the file is absent, empty, not of its format, or a value does not fit its column; names the line.

    Examples
    --------
    >>> import tempfile
    >>> frame = pd.DataFrame({"domain": ["01"], "n": [12], "in_sample": [True]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_table(write_table(frame, f"{folder}/table.csv")).dtypes.astype(str).to_dict()
    {'domain': 'string', 'n': 'Int64', 'in_sample': 'boolean'}
    """
    path = file_path(path)
    decode = _by_ending(
        path, {".csv": _read_csv, ".parquet": _read_parquet, ".xlsx": _read_workbook, ".ods": _read_workbook}
    )
    if not path.is_file():
        raise SaeInputError(f"There is no file {path}.", hint="Check the path.")
    if path.stat().st_size == 0:
        raise SaeInputError(f"{path.name} is empty (0 bytes).", hint="Write it again.")
    return decode(path)


def read_columns(path: str | Path, chosen: Callable[[Sequence[str]], list[str]]) -> pd.DataFrame:
    """Read some columns of a Parquet file, or of all Parquet files of a folder as one table.

    Parameters
    ----------
    path : str or Path
        In a folder, sub-folders named such as ``region=01`` are columns too, of text.
    chosen : callable
        From the names of all columns to those that are read.

    Raises
    ------
    SaeInputError
        If there is nothing at `path`, or something else than Parquet.

    Examples
    --------
    >>> import tempfile
    >>> frame = pd.DataFrame({"area": ["01"], "x": [1.5], "name": ["Wien"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_table(frame, f"{folder}/table.parquet")
    ...     read_columns(path, lambda names: [name for name in names if name != "name"]).to_dict("list")
    {'area': ['01'], 'x': [1.5]}
    """
    import pyarrow as pa
    from pyarrow import dataset

    path = file_path(path)
    if not path.exists():
        raise SaeInputError(f"There is no file {path}.", hint="Check the path.")
    try:
        source = dataset.dataset(path, format="parquet", partitioning="hive" if path.is_dir() else None)
        first = next(source.get_fragments(), None)
        folders = [] if first is None else [*{*source.schema.names} - {*first.physical_schema.names}]
        if folders:  # what they tell is text: "01" is no 1
            texts = pa.schema([(name, pa.string()) for name in folders])
            by_name = dataset.partitioning(texts, flavor="hive")
            source = dataset.dataset(path, format="parquet", partitioning=by_name)
        return source.to_table(columns=chosen(source.schema.names)).to_pandas()
    except SaeError:
        raise
    except (pa.ArrowException, OSError, *_NOTES) as error:
        raise SaeInputError(
            f"{path.name} is neither a Parquet file nor a folder of them.", hint="Write it as .parquet."
        ) from error


def _by_ending(path: Path, functions: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    if path.suffix.lower() not in functions:
        raise SaeInputError(
            f"{path.name} ends in {path.suffix!r}, which is no known table format.",
            hint=f"Use one of {', '.join(functions)}.",
        )
    return functions[path.suffix.lower()]


def _check_names(names: Iterable[object], file: str) -> None:
    listed = [str(name) for name in names]
    if not listed:
        raise SaeInputError(f"The table for {file} has no columns.")
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if twice:
        raise SaeInputError(
            f"{file}: the column names {name_some(twice)} stand more than once.", column=twice[0]
        )


# --- CSV


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [unguarded(name) for name in next(reader, [])]
            _check_names(header, path.name)
            rows = []
            for row in reader:
                if len(row) != len(header):
                    raise SaeInputError(
                        f"{path.name}, line {reader.line_num}: {len(row)} fields under {len(header)} names.",
                        hint="The file is cut off or a text with a comma stands without quotes.",
                    )
                rows.append([unguarded(cell) for cell in row])
    except UnicodeDecodeError as error:
        raise SaeInputError(
            f"{path.name} is not UTF-8: byte {error.start} cannot be read.", hint="Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise SaeInputError(
            f"{path.name}, line {reader.line_num}: {error}.", hint="Write it again."
        ) from error
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return pd.DataFrame(
        {name: _typed(values, name, path.name) for name, values in zip(header, columns, strict=True)},
        index=pd.RangeIndex(len(rows)),
    )


def _typed(values: Sequence[Any], column: str, file: str) -> pd.Series:
    """Return text or spreadsheet cells as the dtype of the fixed `column`; other columns as text."""
    kind = _KINDS.get(column)
    empty: Any = {"str": "", "float": np.nan}.get(str(kind), pd.NA)
    if kind is None or kind == "str":
        return pd.Series([empty if v is None or v == "" else label_text(v) for v in values], dtype="string")
    converters: dict[str, Callable[[Any], Any]] = {"int": _whole, "float": float, "bool": _truth}
    out: list[Any] = []
    for row, value in enumerate(values):
        try:
            blank = value is None or (isinstance(value, str) and looks_missing(value))
            out.append(empty if blank else converters[kind](value))
        except (KeyError, ValueError, TypeError):
            raise SaeInputError(
                f"{file}, column {column}, row {row + 1} below the header: {value!r} is not "
                f"{ {'int': 'a whole number', 'float': 'a number', 'bool': 'true or false'}[kind] }.",
                column=column,
            ) from None
    return pd.Series(out, dtype=DTYPES[kind])


def _whole(value: Any) -> int:
    number = int(value) if isinstance(value, str) else value
    if isinstance(number, bool) or number != int(number):
        raise ValueError(value)
    return int(number)


def _truth(value: Any) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


# --- Parquet


def _parquet_bytes(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pa.Table.from_pandas(
            frame.set_axis([str(name) for name in frame], axis=1), preserve_index=False
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SaeInputError(
            f"A column mixes kinds of values: {' '.join(map(str, error.args))}.",
            hint="Give every column one kind: text or numbers.",
        ) from error
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read().to_pandas()
    except (pa.ArrowException, OSError, *_NOTES) as error:
        raise SaeInputError(
            f"{path.name} is not a Parquet file, or it is cut off.", hint="Write it again."
        ) from error


# --- XLSX and ODS


def _read_workbook(path: Path) -> pd.DataFrame:
    kind = path.suffix[1:].upper()
    try:
        (title, rows), *others = (xlsx_rows if kind == "XLSX" else ods_rows)(path)
    except SaeError:
        raise
    except Exception as error:  # whatever the parsers of zip, XML and dates meet in a damaged file
        raise SaeInputError(
            f"{path.name} is not an {kind} file, or it is cut off.", hint="Write it again."
        ) from error
    for name, more in others:
        if re.fullmatch(rf"{re.escape(title)} \d+", name):  # the table goes on, below its names again
            rows += more[1:]
    header = ["" if name is None else str(name) for name in (rows[0] if rows else ())]
    _check_names(header, path.name)
    columns = list(zip_longest(*rows[1:])) if len(rows) > 1 else []
    columns += [(None,) * (len(rows) - 1)] * (len(header) - len(columns))  # empty ones at the end
    if len(columns) != len(header):
        raise SaeInputError(
            f"{path.name} has {len(columns)} columns of cells under {len(header)} names in its first row."
        )
    out = {}
    for name, values in zip(header, columns, strict=True):
        is_text = name in _KINDS or any(isinstance(value, str) for value in values)
        out[name] = _typed(values, name, path.name) if is_text else pd.Series(values).convert_dtypes()
    return pd.DataFrame(out, index=pd.RangeIndex(len(rows) - 1))


_WORKBOOKS: dict[str, Callable[..., Any]] = {".xlsx": xlsx_bytes, ".ods": ods_bytes}
