"""Covariate tables: one row per area (and group, and period), codes as text, covariates as numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pandas as pd

from sae.errors import SaeInputError, SaeWarning, name_some
from sae.tables import Origin, file_path, joined_labels, labels, require, to_numbers
from sae.tables.parquet_files import read_parquet
from sae.tables.text_cells import CODE, looks_missing, missing_words, typed_cells
from sae.tables.text_files import read_cells, refuse_other_formats

__all__ = ["AreaFile", "code_numbers", "code_texts", "open_areas", "read_areas"]

_TEXT = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")


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
        Columns that hold names or codes: nothing that parses, or numbers spelt as codes are (007, 1E1).
    sha256 : str
        Of the file's bytes, in hexadecimal.
    numbers : mapping of str to Series
        The columns that hold numbers and words for missing values only.
    origins : mapping of str to Origin
        Of the columns whose origin the file itself tells.
    """

    name: str
    cells: pd.DataFrame
    text_columns: tuple[str, ...]
    sha256: str
    numbers: Mapping[str, pd.Series] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def table(self, codes: Sequence[str] = ()) -> pd.DataFrame:
        """Return the codes and other text as text and everything else as numbers; see `read_areas`."""
        require(self.cells, codes, f"{self.name} has", hint="codes= names it.")
        keys = list(codes) or self.keys([str(self.cells.columns[0])])
        names = code_texts(self.cells[keys[0]]).fillna("(empty)")
        frame = pd.DataFrame({name: self._column(name, keys, names) for name in map(str, self.cells)})
        _check_keys(frame[keys], self.name)
        _announce(frame, self.name)
        return frame

    def rows(self, codes: Sequence[str]) -> pd.DataFrame:
        """Return a table as `table` does, of a file with several rows per area: persons or cells."""
        names = pd.Series([f"row {k + 1}" for k in range(len(self.cells))])
        return pd.DataFrame({name: self._column(name, codes, names) for name in map(str, self.cells)})

    def keys(self, codes: Sequence[str]) -> list[str]:
        """Return `codes` and every column of text without a gap; flags and remarks have gaps."""
        texts = [name for name in self.text_columns if self.cells[name].notna().all()]
        return list(dict.fromkeys([*codes, *texts]))

    def _column(self, name: str, keys: Sequence[str], names: pd.Series) -> pd.Series:
        cells = self.cells[name]
        if name in keys or (name in self.text_columns and name not in self.numbers):
            return code_texts(cells).astype("object").where(cells.notna())
        if name in self.numbers:
            return self.numbers[name]
        advice = "name the column in codes= if it holds codes; leave a missing value empty"
        mend = 'decimal="," reads decimal commas' if cells.astype(str).str.contains(",").any() else ""
        to_numbers(
            cells.to_frame().astype("object"),
            name,
            names=names,
            hint=f"In {self.name}: {'; '.join(filter(None, [mend, advice]))}.",
        )
        return pd.to_numeric(cells)


def code_texts(column: pd.Series) -> pd.Series:
    """Return codes as text by the rule for labels; whole numbers that a gap made floats lose their point."""
    text = labels(column, keep_missing=True)
    known = text.dropna()
    if known.str.fullmatch(r"-?(0|[1-9][0-9]*)([.]0+)?").all():
        return text.str.replace(r"[.]0+$", "", regex=True)
    return text


def code_numbers(codes: pd.Series, what: str) -> pd.Series:
    """Return codes as the numbers that they are in another table; refuse those spelt as no number is.

    Raises
    ------
    SaeInputError
        Beginning with `what`, for codes such as 010, 1E1 or A.

    Examples
    --------
    >>> sae.auxiliary.code_numbers(pd.Series(["2", "11"]), "city is a number, but in areas.csv").tolist()
    [2, 11]
    """
    numbers = pd.to_numeric(codes, errors="coerce")
    odd = codes[numbers.isna() | codes.str.match(CODE)]
    if len(odd):
        raise SaeInputError(
            f"{what} it does not: {name_some(map(repr, odd.unique()))}.",
            hint="Write the codes alike in both files, as text with the same zeros in front.",
            areas=odd,
            column=str(codes.name),
        )
    return numbers


def read_areas(
    path: str | Path,
    *,
    codes: Sequence[str] = (),
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
    missing: Sequence[str | float] = (),
) -> pd.DataFrame:
    r"""Read a table of covariates, one row per area, from a text file or Parquet.

    Parameters
    ----------
    path : str or Path
        ``.csv``, ``.tsv`` or ``.txt`` (also ``.gz``), or ``.parquet``; the ending says what it is.
    codes : sequence of str
        Columns that name the areas, groups and periods: read as text whatever they look like, so that
        ``"01"`` stays ``"01"``; together they must tell the rows apart. Without it: the first column, and
        every column of text (names, numbers spelt as codes are) that has no gap.
    encoding : str
        Of a text file.
    separator : str, optional
        Between the values of a text file; without it comma, semicolon, tab or bar, as its first lines show.
    decimal : {".", ","}
        Decimal sign of a text file.
    missing : sequence of str or number
        Words that mean a missing value in every column, besides the empty cell and, in a column of numbers,
        the usual words such as ``NA`` and ``:``.

    Returns
    -------
    DataFrame
        Codes, names and remarks as text, everything else as numbers; an empty cell of a covariate is missing.

    Raises
    ------
    SaeInputError
        If the file is absent, empty, damaged, of another format or encoding, lacks a code column, has rows
        with an empty code or rows that bear the same codes, or a column that is numbers except in some rows.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "areas.csv"
    ...     _ = file.write_text("city,share\n02,0.25\n13,0.5\n", encoding="utf-8")
    ...     sae.auxiliary.read_areas(file).to_dict("list")
    {'city': ['02', '13'], 'share': [0.25, 0.5]}
    """
    file = open_areas(path, encoding=encoding, separator=separator, decimal=decimal, missing=missing)
    return file.table(codes)


def open_areas(
    path: str | Path,
    *,
    encoding: str = "utf-8",
    separator: str | None = None,
    decimal: Literal[".", ","] = ".",
    missing: Sequence[str | float] = (),
) -> AreaFile:
    """Read a text file or Parquet in one pass; the arguments are those of `read_areas`.

    Raises
    ------
    SaeInputError
        If the file is absent, empty, damaged, of another format or encoding, or repeats a column name.
    """
    path = file_path(path)
    if not path.is_file():
        raise SaeInputError(
            f"There is no file {path}.", hint="Check the path; it is read from the current folder."
        )
    content = path.read_bytes()
    if not content:
        raise SaeInputError(f"{path.name} is empty.", hint="Expected a header and one row per area.")
    refuse_other_formats(path, content[:8])
    if path.name.lower().endswith(_TEXT):
        table, _ = read_cells(content, path, encoding=encoding, separator=separator)
        typed = typed_cells(table, path.name, missing=missing, decimal=decimal)
        numbers = {name: column.values.to_pandas() for name, column in typed if column.is_number}
        cells = table.to_pandas()
    elif path.suffix.lower() in (".parquet", ".pq"):
        cells = read_parquet(content, path.name)
        numbers = {
            str(name): cells[name] for name in cells if pd.api.types.is_numeric_dtype(cells[name].dtype)
        }
    else:
        raise SaeInputError(
            f"{path.name} is of no format that is read here.",
            hint="Save it as .csv, .csv.gz, .tsv, .txt or .parquet.",
        )
    words = missing_words(missing)
    if words:
        cells = cells.apply(lambda column: column.mask(code_texts(column).isin(words)))
        numbers = {name: column.mask(cells[name].isna()) for name, column in numbers.items()}
    if cells.empty:
        raise SaeInputError(f"{path.name} has no rows.", hint="Expected a header and one row per area.")
    texts = tuple(str(name) for name in cells if str(name) not in numbers and _holds_text(cells[name]))
    return AreaFile(path.name, cells, texts, sha256(content).hexdigest(), numbers)


def _announce(frame: pd.DataFrame, file: str) -> None:
    """Warn of texts that look like words for a missing value, with their counts."""
    counts = {
        name: column[column.map(looks_missing, na_action="ignore").eq(True)].value_counts()
        for name, column in frame.select_dtypes("object").items()
    }
    seen = [f"{name} {text!r} ({n:,})" for name, texts in counts.items() for text, n in texts.items()]
    if seen:
        warnings.warn(
            f"{file}: texts that look like missing values are kept: {name_some(seen)}. "
            'If they mean that nothing is known, say so: missing = ["NA"].',
            SaeWarning,
            stacklevel=3,
        )


def _holds_text(column: pd.Series) -> bool:
    """Whether a column that is no numbers is text: spelt as codes are, or hardly a number in it."""
    values = labels(column.dropna(), keep_missing=True)
    values = values[~values.map(looks_missing)]
    codes = values.str.match(CODE).any()
    return bool(not len(values) or codes or pd.to_numeric(values, errors="coerce").isna().mean() > 0.5)


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
