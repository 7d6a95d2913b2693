"""Covariate tables: one row per area (and group, and period), codes as text, covariates as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sae.errors import SaeInputError, name_some

__all__ = ["holds_text", "read_areas", "read_text_table"]

_MISSING = {"", "NA", "NaN", "nan", ":"}  # in a column of numbers; in a code only the empty cell is missing
_CSV = (".csv", ".csv.gz")


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
    ...     read_areas(file).to_dict("list")
    {'city': ['02', '13'], 'share': [0.25, 0.5]}
    """
    path = Path(path)
    raw = read_text_table(path, encoding=encoding)
    absent = [name for name in codes if name not in raw]
    if absent:
        raise SaeInputError(
            f"{path.name} has no column {name_some(absent)}.",
            hint=f"Its columns are {', '.join(map(str, raw))}.",
            column=absent[0],
        )
    keys = list(codes) or [str(name) for i, name in enumerate(raw) if i == 0 or holds_text(raw[name])]
    labels = raw[keys[0]].fillna("(empty)").astype(str)
    frame = pd.DataFrame(
        {name: _texts(raw[name]) if name in keys else _numbers(raw[name], labels, path.name) for name in raw}
    )
    _check_keys(frame[keys], path.name)
    return frame


def read_text_table(path: Path, *, encoding: str = "utf-8") -> pd.DataFrame:
    """Read a CSV or Parquet file with every cell as text (numbers of a Parquet file stay numbers).

    Raises
    ------
    SaeInputError
        If the file is absent, empty, of another format or encoding, or repeats a column name.
    """
    if not path.is_file():
        raise SaeInputError(
            f"There is no file {path}.", hint="Check the path; it is read from the current folder."
        )
    if path.name.lower().endswith(_CSV):
        frame = _read_csv(path, encoding)
    elif path.suffix.lower() == ".parquet":
        frame = pd.read_parquet(path)
    else:
        raise SaeInputError(
            f"{path.name} is of no format that is read here.", hint="Save it as .csv, .csv.gz or .parquet."
        )
    if frame.empty:
        raise SaeInputError(f"{path.name} has no rows.", hint="Expected a header and one row per area.")
    return frame


def _read_csv(path: Path, encoding: str) -> pd.DataFrame:
    wide = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    try:
        cells = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding=wide)
    except pd.errors.EmptyDataError:
        raise SaeInputError(
            f"{path.name} is empty.", hint="Expected a header and one row per area."
        ) from None
    except UnicodeDecodeError as error:
        raise SaeInputError(
            f"{path.name} is not {encoding} text (byte {error.start}).",
            hint='Name its encoding, for example encoding="latin-1" or encoding="cp1252".',
        ) from None
    except pd.errors.ParserError as error:
        raise SaeInputError(
            f"{path.name} is no proper CSV: {error}.", hint="Separate by commas, quote texts."
        ) from None
    header = cells.iloc[0].str.strip()
    repeated = header[header.duplicated()]
    if len(repeated):
        raise SaeInputError(
            f"{path.name} repeats the columns {name_some(repeated)}.", hint="Rename one of each."
        )
    frame = cells.iloc[1:].set_axis(header.to_list(), axis=1).reset_index(drop=True)
    frame = frame.apply(lambda column: column.str.strip())
    return frame.where(frame != "")


def holds_text(column: pd.Series) -> bool:
    """Say whether a column holds names or codes: nothing that parses, or numbers with leading zeros."""
    if pd.api.types.is_numeric_dtype(column):
        return False
    values = column.dropna().astype(str)
    values = values[~values.isin(_MISSING)]
    zeros = values.str.match(r"0\d").any()
    return bool(len(values) and (zeros or pd.to_numeric(values, errors="coerce").isna().mean() > 0.5))


def _texts(column: pd.Series) -> pd.Series:
    """Return codes as text; whole numbers of a Parquet file without a decimal point."""
    if not pd.api.types.is_numeric_dtype(column):
        return column
    whole = column.astype("Int64") if (column.dropna() % 1 == 0).all() else column
    return whole.astype("string").astype(object).where(column.notna())


def _numbers(column: pd.Series, labels: pd.Series, file: str) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column):
        return column
    text = column.where(~column.isin(_MISSING))
    numbers = pd.to_numeric(text, errors="coerce")
    wrong = text.notna() & numbers.isna()
    if wrong.any():
        offenders = [f"{text[i]!r} ({labels[i]})" for i in text.index[wrong]]
        raise SaeInputError(
            f"Column {column.name!r} of {file} is no number {len(offenders)} times: {name_some(offenders)}.",
            hint="Use a decimal point, leave a missing value empty, or name the column in codes=.",
            areas=labels[wrong],
            column=str(column.name),
        )
    return numbers


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
        names = keys[repeated].astype(str).agg(" / ".join, axis=1).unique()
        raise SaeInputError(
            f"{file} has more than one row for {len(names)} areas: {name_some(names)}.",
            hint=f"One row for each {' × '.join(map(str, keys.columns))}; name other code columns in codes=.",
            areas=names,
            column=str(keys.columns[0]),
        )
