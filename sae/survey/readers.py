"""Reading survey files: CSV (also compressed), Parquet, SAS, SPSS and Stata."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.literals import LonelyPolicy
from sae.survey.checks import counted
from sae.survey.survey import Survey

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_frame", "read_survey"]

_MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "."]
_STATISTICAL = {".sas7bdat": "sas7bdat", ".xpt": "xport", ".sav": "sav", ".zsav": "sav", ".dta": "dta"}
_UTF8 = {"utf-8", "utf8", "utf-8-sig", "utf_8", "utf_8_sig"}


def read_survey(
    path: str | Path,
    *,
    weights: str | None = None,
    strata: str | Sequence[str] | None = None,
    psu: str | Sequence[str] | None = None,
    household: str | None = None,
    person: str | None = None,
    fpc: str | Sequence[str] | None = None,
    replicates: Mapping[str, Any] | None = None,
    time: str | None = None,
    layout: str | Mapping[str, Any] | None = None,
    lonely_psu: LonelyPolicy = "fail",
    nest: bool = False,
    encoding: str = "utf-8",
) -> Survey:
    r"""Read a survey file and check its design.

    Parameters
    ----------
    path : str or Path
        ``.csv``, ``.csv.gz``, ``.tsv``, ``.txt``, ``.parquet``; with the extra ``sae[survey]`` also
        ``.sas7bdat``, ``.xpt``, ``.sav``, ``.dta``. In a text file the separator (comma, semicolon, tab,
        bar) is seen from the header, a column with leading zeros stays text, and empty, ``NA``, ``.``
        are missing.
    weights, strata, psu, household, person, fpc, replicates, time, layout, lonely_psu, nest
        As in `Survey.from_frame`.
    encoding : str
        Encoding of a text file; a byte-order mark is accepted.

    Returns
    -------
    Survey
        With the file's name and sha256 in `source`.

    Raises
    ------
    SaeInputError
        If the file is absent, empty, in another encoding, malformed, or fails a check of the design.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "persons.csv"
    >>> _ = file.write_text("w,puma\n10,00101\n12,00102\n", encoding="utf-8")
    >>> sae.read_survey(file, weights="w").frame["puma"].tolist()
    ['00101', '00102']
    """
    file = Path(path)
    frame, notes = read_frame(file, encoding=encoding)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    survey = Survey.from_frame(
        frame,
        weights=weights,
        strata=strata,
        psu=psu,
        household=household,
        person=person,
        fpc=fpc,
        replicates=replicates,
        time=time,
        layout=layout,
        lonely_psu=lonely_psu,
        nest=nest,
    )
    size = f"read {len(frame):,} records and {frame.shape[1]} columns from {file.name}"
    return replace(survey, notes=(size, *notes, *survey.notes), source={"file": file.name, "sha256": digest})


def read_frame(path: Path, *, encoding: str = "utf-8") -> tuple[pd.DataFrame, list[str]]:
    """Read the records of a survey file, codes with leading zeros as text.

    Returns
    -------
    frame : DataFrame
    notes : list of str
        What was decided while reading.
    """
    if not path.is_file():
        raise SaeInputError(
            f"There is no file {path}.", hint="Check the path; it is taken from the current folder."
        )
    if path.stat().st_size == 0:
        raise SaeInputError(f"The file {path.name} is empty.", hint="Check that it was copied in full.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-1] if suffixes else ""
    if kind in (".parquet", ".pq"):
        return _read_parquet(path), []
    if kind in _STATISTICAL:
        return _read_statistical(path, _STATISTICAL[kind], encoding)
    if kind == ".gz":
        kind = suffixes[-2] if len(suffixes) > 1 else ""
    if kind in (".csv", ".tsv", ".txt", ".tab"):
        return _read_csv(path, encoding)
    raise SaeInputError(
        f"The file {path.name} is of a kind that cannot be read.",
        hint="Use .csv, .csv.gz, .tsv, .parquet, .sas7bdat, .xpt, .sav or .dta.",
    )


def _read_csv(path: Path, encoding: str) -> tuple[pd.DataFrame, list[str]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    header, separator = _header(path, encoding)
    try:
        table = arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(
                column_names=header,
                skip_rows=1,
                encoding="utf8" if encoding.lower() in _UTF8 else encoding,
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=separator),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                null_values=_MISSING,
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as problem:
        text = str(problem)
        if isinstance(problem, UnicodeDecodeError) or "UTF8" in text or "codec" in text:
            raise _wrong_encoding(path, encoding) from None
        raise SaeInputError(
            f"The file {path.name} cannot be read as a table separated by {separator!r}: {text}.",
            hint="Every row needs as many values as the header; quote values that hold the separator.",
        ) from None
    if table.num_rows == 0:
        raise SaeInputError(
            f"The file {path.name} has a header with {len(header)} columns, but no records.",
            hint="Check that it was written in full.",
        )
    notes = [] if separator == "," else [f"columns separated by {separator!r}"]
    return _to_frame(pa.table([_typed(table.column(name)) for name in header], names=header)), notes


def _header(path: Path, encoding: str) -> tuple[list[str], str]:
    """Column names and separator, from the first line."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as binary:
            stream = io.TextIOWrapper(
                binary,
                encoding="utf-8-sig" if encoding.lower() in _UTF8 else encoding,
                newline="",
            )
            line = stream.readline()
    except UnicodeDecodeError:
        raise _wrong_encoding(path, encoding) from None
    except LookupError:
        raise SaeInputError(
            f"{encoding!r} is not an encoding.", hint="For example utf-8, cp1252, latin-1."
        ) from None
    except gzip.BadGzipFile:
        raise SaeInputError(
            f"The file {path.name} is not compressed, although its name ends in .gz."
        ) from None
    if not line.strip():
        raise SaeInputError(
            f"The first line of {path.name} is blank.", hint="The first line holds the column names."
        )
    counts = {separator: line.count(separator) for separator in (",", ";", "\t", "|")}
    separator = max(counts, key=lambda key: counts[key])
    names = [name.strip() for name in next(csv.reader([line.rstrip("\r\n")], delimiter=separator))]
    blank = [position + 1 for position, name in enumerate(names) if not name]
    if blank == [1]:  # the row names of an R export
        names[0] = "row"
    elif blank:
        raise SaeInputError(
            f"{counted(len(blank), 'column', 'columns')} of {path.name} "
            f"{'has' if len(blank) == 1 else 'have'} no name: {name_some(blank)}.",
            hint="The first line holds the column names.",
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SaeInputError(
            f"{counted(len(repeated), 'column name', 'column names')} of {path.name} "
            f"{'occurs' if len(repeated) == 1 else 'occur'} more than once: {name_some(repeated)}.",
            hint="Rename the columns so that every name is unique.",
            column=repeated[0],
        )
    return names, separator


def _wrong_encoding(path: Path, encoding: str) -> SaeInputError:
    return SaeInputError(
        f"The file {path.name} is not in the encoding {encoding}, which was tried.",
        hint="Pass encoding=..., for example encoding='cp1252' (Windows, Western Europe) or 'latin-1'.",
    )


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Integers or floats where every value is one and no code loses its leading zero; else text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.any(pc.match_substring_regex(column, r"^\s*[+-]?0[0-9]")).as_py():
        return column.dictionary_encode()
    for attempt in (column, None):
        if attempt is None:
            attempt = pc.utf8_trim_whitespace(column)
            attempt = pc.if_else(pc.equal(attempt, ""), pa.scalar(None, pa.string()), attempt)
            if not pc.any(pc.not_equal(attempt, column)).as_py() and attempt.null_count == column.null_count:
                break
        try:
            whole = pc.cast(attempt, pa.int64())
        except pa.ArrowInvalid:
            pass
        else:
            too_large = whole.null_count and pc.any(pc.greater(pc.abs(whole), 2**53)).as_py()
            return attempt.dictionary_encode() if too_large else whole
        # more digits than a float holds: an identifier
        if pc.any(pc.match_substring_regex(attempt, r"^[+-]?[0-9]{16,}$")).as_py():
            break
        try:
            return pc.cast(attempt, pa.float64())
        except pa.ArrowInvalid:
            continue
    return column.dictionary_encode()


def _to_frame(table: pa.Table) -> pd.DataFrame:
    """Arrow to pandas, column by column without consolidation; text becomes categories."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # without the notes that pandas left in a Parquet file: nullable types then arrive as plain numbers
    table = table.replace_schema_metadata(None)
    unnamed = [name for name in table.column_names if name.startswith("__index_level_")]
    table = table.drop_columns(unnamed)
    for position, field in enumerate(table.schema):
        column = table.column(position)
        target = None
        if pa.types.is_boolean(field.type) and column.null_count:
            target = pa.int8()  # true, false and missing as 1, 0 and nan, not as objects
        elif pa.types.is_decimal(field.type):
            target = pa.float64()
        if target is not None:
            table = table.set_column(position, field.name, pc.cast(column, target))
    return table.to_pandas(strings_to_categorical=True, split_blocks=True, self_destruct=False)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as problem:
        raise SaeInputError(
            f"The file {path.name} is not a readable Parquet file: {problem}.",
            hint="Check that it was copied in full.",
        ) from None
    return _to_frame(table)


def _read_statistical(path: Path, kind: str, encoding: str) -> tuple[pd.DataFrame, list[str]]:
    try:
        import pyreadstat
    except ImportError:
        raise SaeInputError(
            f"Reading {path.name} needs pyreadstat, which is not installed.",
            hint="Install the extra: pip install 'sae[survey]'.",
        ) from None
    reader = getattr(pyreadstat, f"read_{kind}")
    options = {} if encoding.lower() in _UTF8 else {"encoding": encoding}
    try:
        frame, _ = reader(path, **options)
    except (pyreadstat.ReadstatError, UnicodeDecodeError) as problem:
        raise SaeInputError(
            f"The file {path.name} cannot be read: {problem}.",
            hint="If it is not damaged, its text may be in another encoding: pass encoding='cp1252' or "
            "another.",
        ) from None
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name].dtype)]
    for name in texts:
        frame[name] = frame[name].replace("", None)
    return frame, []
