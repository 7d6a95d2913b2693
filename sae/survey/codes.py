"""Labels to consecutive integer codes, fast on millions of records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from sae.tables import label_text
from sae.tables import labels as text_labels
from sae.tables.texts import Texts

__all__ = ["as_categorical", "as_text", "combine", "encode", "join_text"]

_MAX_EXACT = 2.0**53  # beyond it a float no longer tells neighbouring integers apart


def encode(values: pd.Series | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Code the values of a column by the rank of their label.

    Parameters
    ----------
    values : Series or ndarray, shape (n,)
        Integers, floats, text, categories, dates.

    Returns
    -------
    codes : ndarray of int64, shape (n,)
        0 .. number of labels - 1 in sorted order of the labels; -1 where missing.
    labels : ndarray
        The distinct values that occur, sorted; floats that are all whole numbers become integers.

    Examples
    --------
    >>> codes, labels = encode(np.array([30, 10, 30]))
    >>> codes.tolist(), labels.tolist()
    ([1, 0, 1], [10, 30])
    """
    series = values if isinstance(values, pd.Series) else pd.Series(values)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return _encode_categorical(series)
    if pd.api.types.is_numeric_dtype(series.dtype):
        return _encode_numbers(series)
    codes, labels = pd.factorize(_one_kind(series), sort=True)
    return codes.astype(np.int64, copy=False), np.asarray(labels)


def combine(
    first: np.ndarray, second: np.ndarray, n_second: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Code the pairs of two code columns without missing values.

    Returns
    -------
    codes : ndarray of int64, shape (n,)
        Codes of the pairs that occur, in the order of (first, second).
    firsts, seconds : ndarray of int64
        The two codes of each pair.

    Examples
    --------
    >>> codes, firsts, seconds = combine(np.array([0, 1, 1]), np.array([1, 0, 1]), 2)
    >>> codes.tolist(), firsts.tolist(), seconds.tolist()
    ([0, 1, 2], [0, 1, 1], [1, 0, 1])
    """
    codes, keys = _encode_integers(first.astype(np.int64) * n_second + second)
    return codes, keys // n_second, keys % n_second


def as_text(labels: np.ndarray) -> list[str]:
    """Labels as text, each by `sae.tables.label_text`.

    Examples
    --------
    >>> as_text(np.array([2.0, 11.0])), as_text(np.array(["01"]))
    (['2', '11'], ['01'])
    """
    values = np.asarray(labels)
    if values.dtype.kind in "iu":
        return list(map(str, values.tolist()))
    return [label_text(label) for label in values]


def as_categorical(values: pd.Series) -> pd.Series:
    """Return the column as a `Categorical` of text, categories in sorted order of the original labels.

    Labels that are spelt alike (1 and 1.0, an accent composed or not) are one category.
    """
    codes, labels = encode(values)
    texts = as_text(labels)
    ranks = {text: rank for rank, text in enumerate(dict.fromkeys(texts))}
    if len(ranks) < len(texts):
        codes = np.array([*(ranks[text] for text in texts), -1], dtype=np.int64)[codes]
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(list(ranks), dtype="object")))


def join_text(columns: Sequence[pd.Series], separator: str) -> pd.Series:
    """Join columns into one text column such as ``2013Q1``; missing where any part is.

    A part that already begins with a separator made of letters does not get it twice (2013, "Q1" ->
    "2013Q1").
    """
    coded = [encode(column) for column in columns]
    missing = np.logical_or.reduce([codes < 0 for codes, _ in coded])
    known = ~missing if missing.any() else slice(None)
    keys = coded[0][0][known]
    texts = Texts.of(as_text(coded[0][1]))
    for codes, labels in coded[1:]:
        parts = as_text(labels)
        if separator.isalpha():
            parts = [part.removeprefix(separator) for part in parts]
        keys, firsts, seconds = combine(keys, codes[known], len(parts))
        texts = texts[firsts].joined(Texts.of(parts)[seconds], separator)
    spelt = texts.values.dictionary_encode()  # two pairs of parts may spell the same text
    order = pc.array_sort_indices(spelt.dictionary)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    joined = np.full(len(columns[0]), -1, dtype=np.int64)
    joined[known] = ranks[spelt.indices][keys]
    levels = Texts(spelt.dictionary.take(order)).strings
    return pd.Series(pd.Categorical.from_codes(joined, categories=pd.Index(levels)))


def _one_kind(series: pd.Series) -> pd.Series:
    """Text where text stands among other values, for these have no order in common."""
    if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True).startswith("mixed"):
        return text_labels(series, keep_missing=True)
    return series


def _encode_categorical(series: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    codes = series.cat.codes.to_numpy()
    levels = np.asarray(series.cat.categories)
    used = np.zeros(len(levels) + 1, dtype=bool)
    used[codes] = True
    occurring = np.flatnonzero(used[:-1])
    order = occurring[np.argsort(levels[occurring], kind="stable")]
    ranks = np.full(len(levels) + 1, -1, dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks[codes], levels[order]


def _encode_numbers(series: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    values = series.to_numpy()
    if values.dtype == object:  # nullable integers, floats and booleans
        values = series.to_numpy(np.float64, na_value=np.nan)
    if values.dtype.kind in "iub":
        return _encode_integers(values.astype(np.int64, copy=False))
    missing = np.isnan(values)
    known = values[~missing] if missing.any() else values
    whole = known.size == 0 or (np.abs(known).max() < _MAX_EXACT and bool(np.all(known == np.floor(known))))
    if whole:
        codes, labels = _encode_integers(known.astype(np.int64))
    else:
        codes, labels = _sorted_codes(known)
    if known.size == values.size:
        return codes, labels
    full = np.full(values.shape, -1, dtype=np.int64)
    full[~missing] = codes
    return full, labels


def _encode_integers(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if values.size == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    low, high = int(values.min()), int(values.max())
    span = high - low + 1
    if span > max(4 * values.size, 1_000_000):
        return _sorted_codes(values)
    # a table over the whole span beats hashing and sorting while it is not much longer than the column
    shifted = values - low
    seen = np.zeros(span, dtype=bool)
    seen[shifted] = True
    labels = np.flatnonzero(seen)
    ranks = np.empty(span, dtype=np.int64)
    ranks[labels] = np.arange(len(labels))
    return ranks[shifted], labels + low


def _sorted_codes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, labels = pd.factorize(values)  # hash first: sorts the labels, not the records
    order = np.argsort(labels, kind="stable")
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels))
    return ranks[codes], labels[order]
