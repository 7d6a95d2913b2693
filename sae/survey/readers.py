"""Reading survey files: CSV (also compressed), Parquet, SAS, SPSS and Stata."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from sae.errors import SaeInputError
from sae.literals import LonelyPolicy
from sae.survey.layouts import resolve_layout
from sae.survey.survey import Survey
from sae.tables.parquet_files import read_parquet
from sae.tables.text_files import read_cells, refuse_other_formats, typed_cells

__all__ = ["read_frame", "read_survey"]

_STATISTICAL = {".sas7bdat": "sas7bdat", ".xpt": "xport", ".sav": "sav", ".zsav": "sav", ".dta": "dta"}
_UTF8 = {"utf-8", "utf8", "utf-8-sig", "utf_8", "utf_8_sig"}
_TEXT = (".csv", ".tsv", ".txt", ".tab")


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
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
) -> Survey:
    r"""Read a survey file and check its design.

    Parameters
    ----------
    path : str or Path
        ``.csv``, ``.csv.gz``, ``.tsv``, ``.txt``, ``.parquet``; with the extra ``sae[survey]`` also
        ``.sas7bdat``, ``.xpt``, ``.sav``, ``.dta``. In a text file a column is numbers if every cell is one,
        or one of the usual words for a missing value (``NA``, ``.``, ...), and none is spelt as codes are
        (``007``, ``1E1``). In a column of text only an empty cell is missing, for ``NA`` may be Naples; the
        layout's ``missing = [...]`` names further words, which are missing in every column.
    weights, strata, psu, household, person, fpc, replicates, time, layout, lonely_psu, nest
        As in `Survey.from_frame`.
    encoding : str
        Encoding of a text file; a byte-order mark is accepted.
    separator : str, optional
        Between the values of a text file; without it comma, semicolon, tab or bar, as its first lines show.
    decimal : {".", ","}
        Decimal sign of a text file.

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
    missing: Iterable[str] = () if layout is None else resolve_layout(layout).missing
    frame, notes = read_frame(file, encoding=encoding, separator=separator, decimal=decimal, missing=missing)
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


def read_frame(
    path: Path,
    *,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: str = ".",
    missing: Iterable[object] = (),
) -> tuple[pd.DataFrame, list[str]]:
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
    with path.open("rb") as stream:
        refuse_other_formats(path, stream.read(8))
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-1] if suffixes else ""
    if kind in (".parquet", ".pq"):
        return read_parquet(path, path.name, categories=True), []
    if kind in _STATISTICAL:
        return _read_statistical(path, _STATISTICAL[kind], encoding)
    if kind == ".gz":
        kind = suffixes[-2] if len(suffixes) > 1 else ""
    if kind in _TEXT:
        return _read_text(path, encoding, separator, decimal, missing)
    raise SaeInputError(
        f"The file {path.name} is of a kind that cannot be read.",
        hint="Use .csv, .csv.gz, .tsv, .parquet, .sas7bdat, .xpt, .sav or .dta.",
    )


def _read_text(
    path: Path, encoding: str, separator: str | None, decimal: str, missing: Iterable[object]
) -> tuple[pd.DataFrame, list[str]]:
    import pyarrow as pa

    cells, separator = read_cells(path, path, encoding=encoding, separator=separator)
    columns = {
        name: column.values if column.is_number else column.values.dictionary_encode()
        for name, column in typed_cells(cells, path.name, missing=missing, decimal=decimal)
    }
    notes = [] if separator == "," else [f"columns separated by {separator!r}"]
    table = pa.table(columns)
    return table.to_pandas(strings_to_categorical=True, split_blocks=True), notes


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
