"""The records of a file as a frame: CSV (also compressed), Parquet, SAS, SPSS and Stata."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from sae.errors import SaeInputError
from sae.tables.parquet_files import read_parquet
from sae.tables.text_cells import typed_cells
from sae.tables.text_files import read_cells, refuse_other_formats

__all__ = ["read_frame"]

_STATISTICAL = {".sas7bdat": "sas7bdat", ".xpt": "xport", ".sav": "sav", ".zsav": "sav", ".dta": "dta"}
_UTF8 = {"utf-8", "utf8", "utf-8-sig", "utf_8", "utf_8_sig"}
_TEXT = (".csv", ".tsv", ".txt", ".tab")


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
    if path.is_dir():
        raise SaeInputError(f"{path} is a folder, not a file of records.", hint="Name the file in it.")
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
    typed = typed_cells(cells, path.name, missing=missing, decimal=decimal)
    del cells  # the texts of a column go when it is typed, its values when pandas has them
    columns = {
        name: column.values if column.is_number else column.values.dictionary_encode()
        for name, column in typed
    }
    notes = [] if separator == "," else [f"columns separated by {separator!r}"]
    table = pa.table(columns)
    del columns
    return table.to_pandas(strings_to_categorical=True, split_blocks=True, self_destruct=True), notes


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
