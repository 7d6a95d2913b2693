"""The fixed columns of the tables that cross rooms, and what every room asks of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeError, SaeInputError, name_some
from sae.tables.frames import pandas_frame
from sae.tables.labels import label_text, text_of
from sae.tables.texts import Texts, constant_texts, text_column

__all__ = [
    "DIRECT_COLUMNS",
    "DTYPES",
    "ESTIMATE_COLUMNS",
    "arrange",
    "check_groups",
    "cv_of",
    "require",
    "to_numbers",
    "typed",
]

# The group columns (the `by` columns) stand just before "domain".
DIRECT_COLUMNS: Mapping[str, str] = {
    "indicator": "str",
    "definition": "str",
    "geo": "str",
    "time": "str",
    "domain": "str",
    "n": "int",
    "n_eff": "float",
    "df": "float",
    "estimate": "float",
    "variance": "float",
    "se": "float",
    "cv": "float",
    "ci_low": "float",
    "ci_high": "float",
    "interval": "str",
    "deff": "float",
    "vardir": "float",
    "variance_method": "str",
    "smoothing": "str",
    "status": "str",
}
ESTIMATE_COLUMNS: Mapping[str, str] = {
    "indicator": "str",
    "definition": "str",
    "unit": "str",
    "geo": "str",
    "geo_version": "str",
    "time": "str",
    "domain": "str",
    "n": "int",
    "n_eff": "float",
    "direct": "float",
    "direct_se": "float",
    "direct_cv": "float",
    "estimate": "float",
    "mse": "float",
    "se": "float",
    "cv": "float",
    "ci_low": "float",
    "ci_high": "float",
    "interval": "str",
    "gamma": "float",
    "in_sample": "bool",
    "benchmark_factor": "float",
    "reliability": "str",
    "flag": "str",
    "publishable": "bool",
    "reason": "str",
    "policy": "str",
    "method": "str",
    "mse_method": "str",
    "prior": "str",
    "model": "str",
    "run": "str",
}
DTYPES: Mapping[str, Any] = {"str": "string", "int": "Int64", "float": "float64", "bool": "boolean"}


def require(
    frame: pd.DataFrame,
    columns: Sequence[str],
    what: str = "The data have",
    role: str = "",
    *,
    hint: str = "",
    error: type[SaeError] = SaeInputError,
) -> None:
    """Refuse a table that lacks columns, with the names that come near and those that are there.

    Parameters
    ----------
    frame : DataFrame
    columns : sequence of str
        The names that must be there.
    what : str
        The table and its verb, as a sentence begins: "The units have".
    role : str
        What the columns are for, as the sentence ends: "(the outcome)", "with population sizes".
    hint : str
        How the column is named, where an option does: "Name it with vardir=."
    error : type
        `SaeSpecError` where a specification names what does not exist.

    Raises
    ------
    SaeInputError, SaeSpecError

    Examples
    --------
    >>> sae.tables.require(pd.DataFrame({"vardir": [1.0]}), ["vardri"])
    Traceback (most recent call last):
    ...
    sae.errors.SaeInputError: The data have no column 'vardri'.
    Did you mean vardir? The columns are vardir.
    """
    absent = [name for name in columns if name not in frame]
    if not absent:
        if frame.columns.is_unique:
            return
        names = list(frame.columns)
        twice = [name for name in columns if names.count(name) > 1]
        if twice:
            raise error(
                f"{what} several columns named {name_some(map(repr, map(str, twice)))}.",
                hint="Rename them so that every name is unique.",
                column=str(twice[0]),
            )
        return
    lower = {str(name).lower(): str(name) for name in reversed(list(frame))}
    close = [match for name in absent for match in get_close_matches(str(name).lower(), list(lower), 3)]
    near = [lower[match] for match in dict.fromkeys(close)][:3]
    advice = [
        f"Did you mean {' or '.join(near)}?" if near else "",
        "It is the index of the frame: give frame.reset_index()." if {*absent} & {*frame.index.names} else "",
        hint,
        f"The columns are {name_some(frame, 15)}.",
    ]
    named = name_some(repr(str(name)) for name in absent)
    raise error(
        f"{what} no column {named}{f' {role}' if role else ''}.",
        hint=" ".join(filter(None, advice)),
        column=str(absent[0]),
    )


def to_numbers(
    frame: pd.DataFrame,
    column: str,
    *,
    names: Sequence[object] | np.ndarray | pd.Series | None = None,
    what: str = "The data have",
    hint: str = "",
) -> np.ndarray:
    """Return a column as floats, missing values as nan, or name the rows that hold something else.

    Parameters
    ----------
    frame : DataFrame
    column : str
        Numbers, truth values (1 and 0), or text that spells numbers with a decimal point.
    names : sequence, optional
        Names of the rows for messages; their numbers by default.
    what : str
        The table and its verb, for `require`.
    hint : str
        What to do instead, in place of the usual advice.

    Returns
    -------
    ndarray of float, shape (n_rows,)

    Raises
    ------
    SaeInputError
        If the column is absent, or holds text, dates or anything else that is no number.

    Examples
    --------
    >>> sae.tables.to_numbers(pd.DataFrame({"n": ["3", None, "4.5"]}), "n").tolist()
    [3.0, nan, 4.5]
    >>> sae.tables.to_numbers(pd.DataFrame({"n": ["3", "few"]}), "n", names=["Wien", "Graz"])
    Traceback (most recent call last):
    ...
    sae.errors.SaeInputError: n holds text where numbers are expected in 1 of 2 rows: 'few' (Graz).
    Correct these values or leave them empty.
    """
    require(frame, [column], what)
    values = frame[column]
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_complex_dtype(values.dtype):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)  # truth values too
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype):
        numbers = np.full(len(values), np.nan)
    else:
        plain = values.astype("object")
        plain = plain.mask(plain.map(_has_no_float))
        numbers = pd.to_numeric(plain, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(np.isnan(numbers) & values.notna().to_numpy())
    if len(bad):
        rows = [f"row {k + 1}" for k in bad] if names is None else [str(np.asarray(names)[k]) for k in bad]
        held = [values.iloc[k] for k in bad]
        kind = "text" if any(isinstance(value, str) for value in held) else "dates or other values"
        shown = [f"{str(value)!r} ({row})" for value, row in zip(held, rows, strict=True)]
        comma = any("," in str(value) for value in held[:5])
        advice = (
            "Write a decimal point, not a comma." if comma else "Correct these values or leave them empty."
        )
        raise SaeInputError(
            f"{column} holds {kind} where numbers are expected in {len(bad)} of {len(values)} rows: "
            f"{name_some(shown)}.",
            hint=hint or advice,
            areas=rows,
            column=str(column),
        )
    return numbers


def _has_no_float(value: object) -> bool:
    whole = isinstance(value, int) and abs(value) >= 2**1023
    return whole or isinstance(value, (complex, np.complexfloating))


def cv_of(se: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """Return coefficients of variation se / |estimate|; an estimate of 0 has none.

    Examples
    --------
    >>> sae.tables.cv_of(np.array([0.1, 0.1]), np.array([-0.5, 0.0])).tolist()
    [0.2, nan]
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        cv = se / np.abs(estimate)
    return np.where(np.isfinite(cv), cv, np.nan)


def typed(column: pd.Series, kind: str) -> pd.Series:
    """Return a column in the dtype of a fixed one: text by the rule for labels, a missing one being ""."""
    values = _typed(column, kind, str(column.name), len(column))
    return pd.Series(values, index=column.index, name=column.name)


def _typed(values: Any, kind: str, name: str, size: int) -> Any:
    """Return the values of a column, or the one value of all its rows, in the dtype of a fixed column."""
    if isinstance(values, Texts):
        return text_column(values.values)
    if isinstance(values, str):
        return constant_texts(label_text(values), size)
    if kind == "float" and getattr(values, "dtype", None) == np.float64:
        return np.asarray(values)
    if not isinstance(values, pd.Series):
        values = values if getattr(values, "ndim", 0) else np.full(size, values)
        if kind == "bool" and values.dtype == np.bool_:
            return pd.arrays.BooleanArray(values, np.zeros(size, dtype=bool))
        if kind == "int" and values.dtype == np.float64:
            return _counts(values, name)
        values = pd.Series(values, name=name, copy=False)
    if kind == "str":
        return text_column(text_of(values, keep_missing=True).values)
    if kind == "int" and not pd.api.types.is_integer_dtype(values.dtype):
        numbers = to_numbers(values.to_frame(), str(values.name))
        counts = _counts(numbers, str(values.name))
        if pd.api.types.is_float_dtype(values.dtype):
            return counts
    return (pd.to_numeric(values) if kind == "float" else values).astype(DTYPES.get(kind, kind)).array


def _counts(numbers: np.ndarray, name: str) -> Any:
    """Return whole numbers as such, those that are missing too; refuse fractions."""
    missing = np.isnan(numbers)
    bad = np.flatnonzero((numbers != np.round(numbers)) & ~missing | (np.abs(numbers) >= 2.0**63))
    if len(bad):
        shown = [f"{numbers[k]:g} (row {k + 1})" for k in bad]
        raise SaeInputError(
            f"{name} holds numbers that are not whole: {name_some(shown)}.",
            hint="It counts records. A size that is no count is an effective one: n_eff.",
            column=name,
        )
    return pd.arrays.IntegerArray(np.where(missing, 1.0, numbers).astype(np.int64), missing)


def check_groups(groups: Sequence[str], columns: Mapping[str, str]) -> None:
    """Refuse grouping columns that bear the name of a column that every such table has."""
    clash = [name for name in groups if name in columns and name not in ("geo", "time", "domain")]
    if clash:
        raise SaeInputError(
            f"The grouping columns {name_some(clash)} bear names that the table keeps for its own columns.",
            hint=f"Rename them before the estimation; it keeps {name_some(columns, len(columns))}.",
            column=clash[0],
        )


def arrange(
    frame: pd.DataFrame | Mapping[str, Any], columns: Mapping[str, str], groups: Sequence[str]
) -> pd.DataFrame:
    """Return `frame` with exactly the fixed columns plus `groups`, in the fixed order and dtypes.

    Parameters
    ----------
    frame : DataFrame or mapping
        One row per domain; a missing fixed column is filled with "" (text) or a missing value. The values of
        a mapping are arrays, `Texts`, or one value for all rows; ``domain`` is none of these.
    columns : mapping of str to str
        `DIRECT_COLUMNS` or `ESTIMATE_COLUMNS`.
    groups : sequence of str
        Names of the `by` columns; they stand just before ``domain`` and keep their dtype.

    Raises
    ------
    SaeInputError
        If a column is neither fixed nor a group, or a group bears a fixed name, or is missing.
    """
    check_groups(groups, columns)
    extra_groups = [name for name in groups if name not in columns]
    if not isinstance(frame, Mapping):
        frame = pandas_frame(frame, "The rows of the table")
        require(frame, extra_groups, "The table has", "(by which its domains are made)")
    unknown = [name for name in frame if name not in columns and name not in extra_groups]
    if unknown:
        raise SaeInputError(
            f"The table has no place for the columns {name_some(unknown)}.", column=str(unknown[0])
        )
    size = len(frame) if isinstance(frame, pd.DataFrame) else len(frame["domain"])
    out: dict[str, Any] = {}
    empty = constant_texts("", size)
    for name, kind in columns.items():
        if name == "domain":
            out.update({group: _values(frame[group]) for group in extra_groups})
        if name in frame:
            out[name] = _typed(frame[name], kind, name, size)
        elif kind == "bool":
            out[name] = pd.arrays.BooleanArray(np.zeros(size, dtype=bool), np.ones(size, dtype=bool))
        else:
            out[name] = empty if kind == "str" else _typed(np.nan, kind, name, size)
    return pd.DataFrame(out, index=pd.RangeIndex(size))


def _values(column: Any) -> Any:
    return column.array if isinstance(column, pd.Series) else column
