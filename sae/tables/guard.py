"""The guard of text in CSV: no cell that a spreadsheet would take for a formula and execute."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

__all__ = ["CSV_GUARD", "UNGUARD", "guarded", "guarded_column", "unguarded"]

CSV_GUARD = (
    "In CSV files a text that a spreadsheet would execute, which begins with = + - @, a tab or a line end "
    "and is no signed number, stands after an apostrophe; so does a text that begins with apostrophes "
    "before one of these. sae takes one apostrophe off again when it reads such a text."
)

_FORMULA = "\\s*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"  # the last four are the wide signs of East Asia
_WRITTEN = re.compile(f"'*{_FORMULA}")
_READ = re.compile(f"'+{_FORMULA}")
UNGUARD = f"^'('*{_FORMULA})"  # of which the group stays: for columns of text
_NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?\s*%?")


def guarded(text: str) -> str:
    """Return a text as it is written into a CSV file.

    Examples
    --------
    >>> from sae.tables.guard import guarded
    >>> [guarded(text) for text in ("=1+1", "-0.5", "'s-Hertogenbosch", "'=1+1")]
    ["'=1+1", '-0.5', "'s-Hertogenbosch", "''=1+1"]
    """
    return f"'{text}" if _WRITTEN.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """Return a text as it was before `guarded`.

    Examples
    --------
    >>> from sae.tables.guard import unguarded
    >>> [unguarded(text) for text in ("'=1+1", "-0.5", "'s-Hertogenbosch", "''=1+1")]
    ['=1+1', '-0.5', "'s-Hertogenbosch", "'=1+1"]
    """
    return text[1:] if _READ.match(text) else text


def guarded_column(column: pd.Series) -> pd.Series:
    """Return a column with its texts guarded; numbers and dates as they are."""
    if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return column
    codes, distinct = pd.factorize(column)
    levels = np.asarray(distinct, dtype=object).tolist()
    new = [guarded(level) if isinstance(level, str) else level for level in levels]
    if new == levels:
        return column
    texts = pd.Series([*new, None], dtype="object").to_numpy()  # the code -1 takes the last
    return pd.Series(texts[codes], index=column.index, dtype="object")
