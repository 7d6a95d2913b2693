"""One rule for the text of a label: whatever names a domain, a level or a period is spelt alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from decimal import Decimal
from unicodedata import normalize

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some

__all__ = ["joined_labels", "label_text", "labels"]

_NO_LABELS = (list, dict, set, np.ndarray, bytes, pd.Series, pd.DataFrame)


def label_text(value: object) -> str:
    """Return a label as text, whatever kind of value holds it.

    Whole numbers have no decimal point (a column with one empty cell turns the code 9 into 9.0), a time at
    midnight is a date, text stays as it is but for its accents, which are composed (one sign, not two).

    Parameters
    ----------
    value : object
        Text, a number, a truth value, a date, a period, an interval; of Python, NumPy or pandas. A tuple is a
        label of several columns, its parts joined by " / ".

    Raises
    ------
    SaeInputError
        If the label is missing, or a list, a mapping, an array or bytes.

    Examples
    --------
    >>> [sae.tables.label_text(value) for value in ("09", 9.0, np.int64(9), 2.5, True)]
    ['09', '9', '9', '2.5', 'True']
    >>> sae.tables.label_text(pd.Timestamp("2024-03-01")), sae.tables.label_text(pd.Period("2024Q1"))
    ('2024-03-01', '2024Q1')
    """
    if isinstance(value, str):
        return str(value) if value.isascii() else normalize("NFC", value)
    if isinstance(value, tuple):
        return " / ".join(map(label_text, value))
    if isinstance(value, _NO_LABELS):
        raise SaeInputError(
            f"A label is a {type(value).__name__}: {str(value)[:40]}.",
            hint="Expected one text, number, date or period in each cell.",
        )
    if _is_missing(value):
        raise SaeInputError("A label is missing.", hint="Give every row its label, or take it out.")
    if isinstance(value, (float, np.floating, Decimal)):
        return str(int(value)) if np.isfinite(float(value)) and value == int(value) else str(value)
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, datetime) and value.time() == time.min and value.tzinfo is None:
        return str(value.date())
    return str(value)


def labels(
    column: pd.Series | pd.Index | np.ndarray | Sequence[object], *, keep_missing: bool = False
) -> pd.Series:
    """Return a column of labels as text, each by `label_text`; categories are spelt by their values.

    Parameters
    ----------
    column : Series, Index, ndarray or sequence
    keep_missing : bool
        Whether a missing label stays missing; else it is refused.

    Returns
    -------
    Series
        Of dtype "string", with the index of `column`.

    Raises
    ------
    SaeInputError
        If labels are missing and `keep_missing` is false; their rows are named. If cells hold lists.

    Examples
    --------
    >>> sae.tables.labels(pd.Series([1.0, 2.0, 9.0])).tolist()
    ['1', '2', '9']
    >>> sae.tables.labels(pd.Series(["01", None]), keep_missing=True).isna().tolist()
    [False, True]
    """
    if isinstance(column, pd.DataFrame):
        name = column.columns[0]
        raise SaeInputError(
            f"{column.shape[1]} columns bear the name {name!r}.", hint="Rename them.", column=str(name)
        )
    series = column if isinstance(column, pd.Series) else pd.Series(column)
    if isinstance(series.dtype, pd.StringDtype) and _is_ascii(series):
        text = series.astype("string")  # nothing to compose
    elif isinstance(series.dtype, pd.CategoricalDtype):
        text = _spelt(series.cat.categories, series.cat.codes.to_numpy(), series)
    elif pd.api.types.is_object_dtype(series.dtype):
        try:
            values = [
                pd.NA
                if not isinstance(value, (str, *_NO_LABELS)) and _is_missing(value)
                else label_text(value)
                for value in series.array
            ]
        except SaeInputError as error:
            place = f"Column {series.name!r}: " if series.name is not None else ""
            raise SaeInputError(f"{place}{error.what}", hint=error.hint, column=str(series.name)) from None
        text = pd.Series(values, index=series.index, name=series.name, dtype="string")
    else:
        codes, levels = pd.factorize(series)
        text = _spelt(levels, codes, series)
    if not keep_missing:
        empty = np.flatnonzero(text.isna().to_numpy())
        if len(empty):
            name = "label" if series.name is None else series.name
            raise SaeInputError(
                f"{len(empty)} of {len(text)} rows have no {name}: row {name_some(empty + 1)}.",
                hint="Give every row its label, or take these rows out.",
                column=str(name),
            )
    return text


def joined_labels(frame: pd.DataFrame, columns: Sequence[str], *, separator: str = " / ") -> pd.Series:
    """Return the labels of several columns as one text for each row, such as "Tyrol / 2024".

    Raises
    ------
    SaeInputError
        If there is no column, or labels are missing.

    Examples
    --------
    >>> frame = pd.DataFrame({"region": ["AT33", "AT34"], "year": [2024.0, 2025.0]})
    >>> sae.tables.joined_labels(frame, ["region", "year"]).tolist()
    ['AT33 / 2024', 'AT34 / 2025']
    """
    if not len(columns):
        raise SaeInputError("No column names the rows.")
    text = labels(frame[columns[0]])
    for name in columns[1:]:
        text = text + separator + labels(frame[name])
    return text.rename(None)


def _is_ascii(series: pd.Series) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(
        pc.all(pc.string_is_ascii(pa.array(series.array, type=pa.large_string()))).as_py() is not False
    )


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or bool(value != value)  # not a number, not a time


def _spelt(levels: pd.Index | np.ndarray, codes: np.ndarray, series: pd.Series) -> pd.Series:
    words = pd.array([*(label_text(level) for level in levels), pd.NA], dtype="string")
    return pd.Series(words.take(codes), index=series.index, name=series.name)  # the code -1 takes the last
