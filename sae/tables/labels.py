"""One rule for the text of a label: whatever names a domain, a level or a period is spelt alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any
from unicodedata import normalize

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sae.errors import SaeInputError, name_some
from sae.tables.texts import Texts, text_column

__all__ = ["joined_labels", "label_text", "labels", "text_of"]

_EXACT = 2.0**53  # beyond it a float no longer tells neighbouring whole numbers apart
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
    series, values = _checked(column, keep_missing)
    return pd.Series(text_column(values), index=series.index, name=series.name)


def text_of(column: pd.Series, *, keep_missing: bool = False) -> Texts:
    """Return a column of labels as `labels` spells them, in one block; a missing one that is kept is "".

    Examples
    --------
    >>> from sae.tables.labels import text_of
    >>> list(text_of(pd.Series(["01", None]), keep_missing=True))
    ['01', '']
    """
    _, values = _checked(column, keep_missing)
    return Texts(values.fill_null("") if values.null_count else values)


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
    text = Texts.rows([text_of(frame[name]) for name in columns], separator)
    return pd.Series(text_column(text.values), index=frame.index)


def _checked(column: Any, keep_missing: bool) -> tuple[pd.Series, Any]:
    """Return a column as a Series and its labels as arrow's texts; refuse missing ones, if not kept."""
    if isinstance(column, pd.DataFrame):
        name = column.columns[0]
        raise SaeInputError(
            f"{column.shape[1]} columns bear the name {name!r}.", hint="Rename them.", column=str(name)
        )
    series = column if isinstance(column, pd.Series) else pd.Series(column)
    values = _spelt(series)
    if values.null_count and not keep_missing:
        empty = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
        name = "label" if series.name is None else str(series.name)
        raise SaeInputError(
            f"{len(empty)} of {len(values)} rows have no {name}: row {name_some(empty + 1)}.",
            hint="Give every row its label, or take these rows out.",
            column=name,
        )
    return series, values


def _spelt(series: pd.Series) -> Any:
    """Return the labels of a column as arrow's texts; a missing one stays missing."""
    if isinstance(series.dtype, pd.StringDtype):
        values = Texts.of(series).values
        if pc.all(pc.string_is_ascii(values)).as_py() is not False:
            return values  # nothing to compose
    if isinstance(series.dtype, pd.CategoricalDtype):
        return _levels(series.cat.categories, series.cat.codes.to_numpy())
    if not pd.api.types.is_object_dtype(series.dtype):
        codes, levels = pd.factorize(series)
        return _levels(levels, codes)
    cells = series.to_numpy()
    if set(map(type, cells)) == {str}:
        values = Texts.of(cells).values
        if pc.all(pc.string_is_ascii(values)).as_py():
            return values
    try:
        texts = [
            None if not isinstance(value, (str, *_NO_LABELS)) and _is_missing(value) else label_text(value)
            for value in cells
        ]
    except SaeInputError as error:
        place = f"Column {series.name!r}: " if series.name is not None else ""
        raise SaeInputError(f"{place}{error.what}", hint=error.hint, column=str(series.name)) from None
    return Texts.of(texts).values


def _levels(levels: pd.Index | np.ndarray, codes: np.ndarray) -> Any:
    """Return the texts of levels by their codes, of which -1 is a missing one."""
    texts = _whole_numbers(np.asarray(levels))
    if texts is None:
        texts = Texts.of([label_text(level) for level in levels]).values
    return texts.take(pa.array(codes, mask=codes < 0, from_pandas=False))


def _whole_numbers(levels: np.ndarray) -> Any:
    """Return the texts of levels that are whole numbers, as `label_text` spells each; None for others."""
    if levels.dtype.kind == "f" and levels.size and np.abs(levels).max() < _EXACT:
        whole = levels.astype(np.int64)
        levels = whole if np.array_equal(whole, levels) else levels
    return pc.cast(pa.array(levels), pa.large_string()) if levels.dtype.kind in "iu" else None


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or bool(value != value)  # not a number, not a time
