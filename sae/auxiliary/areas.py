"""Covariate tables: one row per area (and group, and period), codes as text, covariates as numbers."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables import joined_labels, labels, require, to_numbers

__all__ = ["AreaFile", "open_areas", "read_areas"]

_MISSING = {"", "NA", "NaN", "nan", ":"}  # in a column of numbers; in a code only the empty cell is missing


@dataclass(frozen=True, eq=False)
class AreaFile:
    """A file of covariates, read once: its cells, which columns hold text, and the hash of its bytes.

    Attributes
    ----------
    name : str
        Of the file, without its folder.
    cells : DataFrame
        Every cell as text, missing where empty; numbers of a Parquet file stay numbers.
    text_columns : tuple of str
        Columns that hold names or codes: nothing that parses, or numbers with leading zeros.
    sha256 : str
        Of the file's bytes, in hexadecimal.
    """

    name: str
    cells: pd.DataFrame
    text_columns: tuple[str, ...]
    sha256: str

    def table(self, codes: Sequence[str] = ()) -> pd.DataFrame:
        """Return the codes as text and everything else as numbers; see `read_areas`."""
        require(self.cells, codes, f"{self.name} has", hint="codes= names it.")
        keys = list(codes) or list(dict.fromkeys([str(self.cells.columns[0]), *self.text_columns]))
        names = labels(self.cells[keys[0]], keep_missing=True).fillna("(empty)")
        columns = {
            name: _texts(column) if name in keys else _numbers(column, names, self.name)
            for name, column in self.cells.items()
        }
        frame = pd.DataFrame(columns)
        _check_keys(frame[keys], self.name)
        return frame


def read_areas(path: str | Path, *, codes: Sequence[str] = (), encoding: str = "utf-8") -> pd.DataFrame:
    r"""Read a table of covariates, one row per area, from CSV, CSV.gz or Parquet.

    Parameters
    ----------
    path : str or Path
        The file; the ending says what it is.
    codes : sequence of str
        Columns that name the areas, groups and periods: read as text whatever they look like, so that
        ``"01"`` stays ``"01"``; together they must tell the rows apart. Without it: the first column, and
        every column that holds text or numbers with leading zeros.
    encoding : str
        Of a CSV file.

    Returns
    -------
    DataFrame
        Codes as text, everything else as numbers; an empty cell of a covariate is missing.

    Raises
    ------
    SaeInputError
        If the file is absent, empty, of another format or encoding, lacks a code column, has rows with an
        empty code or rows that bear the same codes, or a column that is numbers except in some rows.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "areas.csv"
    ...     _ = file.write_text("city,share\n02,0.25\n13,0.5\n", encoding="utf-8")
    ...     sae.auxiliary.read_areas(file).to_dict("list")
    {'city': ['02', '13'], 'share': [0.25, 0.5]}
    """
    return open_areas(path, encoding=encoding).table(codes)


def open_areas(path: str | Path, *, encoding: str = "utf-8") -> AreaFile:
    """Read a CSV, CSV.gz or Parquet file in one pass.

    Raises
    ------
    SaeInputError
        If the file is absent, empty, of another format or encoding, or repeats a column name.
    """
    path = Path(path)
    if not path.is_file():
        raise SaeInputError(
            f"There is no file {path}.", hint="Check the path; it is read from the current folder."
        )
    name, content = path.name, path.read_bytes()
    if name.lower().endswith((".csv", ".csv.gz")):
        plain = gzip.decompress(content) if name.lower().endswith(".gz") else content
        cells = _parse_csv(plain, name, encoding)
    elif path.suffix.lower() == ".parquet":
        cells = pd.read_parquet(io.BytesIO(content))
    else:
        raise SaeInputError(
            f"{name} is of no format that is read here.", hint="Save it as .csv, .csv.gz or .parquet."
        )
    if cells.empty:
        raise SaeInputError(f"{name} has no rows.", hint="Expected a header and one row per area.")
    texts = tuple(str(column) for column in cells if _holds_text(cells[column]))
    return AreaFile(name, cells, texts, sha256(content).hexdigest())


def _parse_csv(content: bytes, name: str, encoding: str) -> pd.DataFrame:
    wide = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    try:
        cells = pd.read_csv(io.BytesIO(content), header=None, dtype=str, keep_default_na=False, encoding=wide)
    except pd.errors.EmptyDataError:
        raise SaeInputError(f"{name} is empty.", hint="Expected a header and one row per area.") from None
    except UnicodeDecodeError as error:
        raise SaeInputError(
            f"{name} is not {encoding} text (byte {error.start}).",
            hint='Name its encoding, for example encoding="latin-1" or encoding="cp1252".',
        ) from None
    except pd.errors.ParserError as error:
        raise SaeInputError(
            f"{name} is no proper CSV: {error}.", hint="Separate by commas, quote texts."
        ) from None
    header = cells.iloc[0].str.strip()
    repeated = header[header.duplicated()]
    if len(repeated):
        raise SaeInputError(f"{name} repeats the columns {name_some(repeated)}.", hint="Rename one of each.")
    frame = cells.iloc[1:].set_axis(header.to_list(), axis=1).reset_index(drop=True)
    frame = frame.apply(lambda column: column.str.strip())
    return frame.where(frame != "")


def _holds_text(column: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(column):
        return False
    values = column.dropna().astype(str)
    values = values[~values.isin(_MISSING)]
    zeros = values.str.match(r"0\d").any()
    return bool(len(values) and (zeros or pd.to_numeric(values, errors="coerce").isna().mean() > 0.5))


def _texts(column: pd.Series) -> pd.Series:
    return labels(column, keep_missing=True).astype("object").where(column.notna())


def _numbers(column: pd.Series, names: pd.Series, file: str) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column):
        return column
    text = column.where(~column.isin(_MISSING))
    advice = "use a decimal point, leave a missing value empty, or name the column in codes=."
    to_numbers(text.to_frame(), str(column.name), names=names, hint=f"In {file}, {advice}")
    return pd.to_numeric(text)  # whole numbers stay whole


def _check_keys(keys: pd.DataFrame, file: str) -> None:
    empty = keys.isna().any(axis=1)
    if empty.any():
        column = keys.columns[keys.isna().any()][0]
        rows = [i + 2 for i in keys.index[empty]]
        raise SaeInputError(
            f"Column {column!r} of {file} is empty in {len(rows)} rows (lines {name_some(rows)}).",
            hint="Every row needs its code.",
            column=str(column),
        )
    repeated = keys.duplicated()
    if repeated.any():
        names = joined_labels(keys[repeated], [str(name) for name in keys]).unique()
        raise SaeInputError(
            f"{file} has more than one row for {len(names)} areas: {name_some(names)}.",
            hint=f"One row for each {' × '.join(map(str, keys.columns))}; name other code columns in codes=.",
            areas=names,
            column=str(keys.columns[0]),
        )
