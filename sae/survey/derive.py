"""Columns that a layout derives: the tables ``[derive.x]``, their kinds and keys.

Of columns of the file: ``join``, ``nuts``, ``country``, ``ages``. Of harmonised columns too, in the order
of the layout: ``expression``, ``levels`` and ``bands``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError, name_some
from sae.survey.checks import numbers
from sae.survey.expressions import evaluate, names_in
from sae.survey.variables import VARIABLES, YES_NO

__all__ = [
    "banded",
    "check_derived",
    "conditions",
    "derived",
    "is_late",
    "is_reference",
    "names_used",
    "reference_names",
]

_KINDS = {
    "join": ("separator",),
    "nuts": (),
    "country": (),
    "ages": ("lower_limits",),
    "expression": (),
    "levels": (),
    "bands": ("column",),
}
_LATE = ("expression", "levels", "bands")  # they may use harmonised columns


def is_reference(wanted: Any) -> bool:
    """Whether it is the name of a column, or a choice of names."""
    if isinstance(wanted, Mapping):
        names = wanted.get("first")
        return (
            set(wanted) == {"first"}
            and isinstance(names, list | tuple)
            and bool(names)
            and all(isinstance(name, str) and name for name in names)
        )
    return isinstance(wanted, str) and bool(wanted)


def check_derived(derived: str, how: Any) -> None:
    """Refuse a derived column of no kind or of two, an unknown key, or a value of the wrong sort."""
    kinds = sorted(set(_KINDS) & set(how)) if isinstance(how, Mapping) else []
    if len(kinds) != 1:
        raise SaeSpecError(
            f"derive.{derived} needs 'join' (a list of columns), 'expression' or 'bands'.",
            hint=f"It has one of {', '.join(_KINDS)}.",
        )
    kind = kinds[0]
    known = (kind, *_KINDS[kind], "state")
    for key in how:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            raise SaeSpecError(
                f"derive.{derived} has an unknown key {key!r}.",
                hint=f"Did you mean {near[0]}?" if near else f"It knows {' and '.join(known)}.",
            )
    value = how[kind]
    if kind in ("join", "nuts", "ages"):
        listed = isinstance(value, list | tuple) and value and all(map(is_reference, value))
        if not listed or (kind == "nuts" and len(value) != 2):
            wanted = "the columns of country and region" if kind == "nuts" else "a list of columns"
            raise SaeSpecError(f"derive.{derived}: {kind} is {wanted}, not {value!r}.")
    elif kind == "country" and not is_reference(value):
        raise SaeSpecError(f"derive.{derived}: country is the name of a column, not {value!r}.")
    elif kind == "levels" and not (
        isinstance(value, Mapping) and value and all(isinstance(text, str) for text in value.values())
    ):
        raise SaeSpecError(f"derive.{derived}: levels is a table of level = condition, not {value!r}.")
    if kind == "bands":
        _check_bands(derived, how)
    limits = how.get("lower_limits", [])
    if not isinstance(limits, list | tuple) or not all(isinstance(one, int) for one in limits):
        raise SaeSpecError(f"derive.{derived}: lower_limits is a list of ages, not {limits!r}.")
    for key in ("separator", "expression"):
        if not isinstance(how.get(key, ""), str):
            raise SaeSpecError(f"derive.{derived}: {key} is text, not {how[key]!r}.")


def _check_bands(derived: str, how: Mapping[str, Any]) -> None:
    limits = how["bands"]
    numbers_only = isinstance(limits, list | tuple) and all(
        isinstance(limit, int | float) and not isinstance(limit, bool) for limit in limits
    )
    if not numbers_only or not limits or list(limits) != sorted(set(limits)):
        raise SaeSpecError(
            f"derive.{derived}: bands is a list of rising lower limits, not {limits!r}.",
            hint="[20, 25, 65] makes 20-24, 25-64 and 65+.",
        )
    if not is_reference(how.get("column")):
        raise SaeSpecError(f"derive.{derived} needs 'column', the numbers that are cut into bands.")


def is_late(how: Mapping[str, Any]) -> bool:
    """Whether a derived column may use harmonised ones, and so is made after them."""
    return any(kind in how for kind in _LATE)


def conditions(how: Mapping[str, Any]) -> list[str]:
    """Return the expression, or the conditions of levels."""
    return list(how["levels"].values()) if "levels" in how else [how["expression"]]


def names_used(how: Mapping[str, Any]) -> list[str]:
    """Columns that an expression or the conditions of levels use, each once."""
    return list(dict.fromkeys(name for text in conditions(how) for name in names_in(text)))


def reference_names(wanted: Any) -> Iterator[str]:
    """Yield the names inside a reference to columns, whatever its form.

    Examples
    --------
    >>> list(reference_names([{"first": ["AGE", "AGE_GRP"]}, "SEX"]))
    ['AGE', 'AGE_GRP', 'SEX']
    """
    if isinstance(wanted, str):
        yield wanted
    elif isinstance(wanted, Mapping):
        yield from reference_names(wanted.get("first") or list(wanted.get("of_weights", {}).values()))
    else:
        for one in wanted:
            yield from reference_names(one)


def derived(columns: Mapping[str, pd.Series], name: str, how: Mapping[str, Any]) -> pd.Series:
    """Evaluate an expression, or the conditions of levels, of which the first that is true decides.

    A record is missing where a condition before the first true one is missing.
    """
    frame = pd.DataFrame({used: columns[used] for used in names_used(how)}, copy=False)
    if "levels" in how:
        return _first_true(frame, how["levels"])
    result = evaluate(how["expression"], frame)
    if name in VARIABLES and VARIABLES[name].yes_no:
        answers = np.where(result.missing, -1, np.where(result.values, 0, 1))
        return pd.Series(pd.Categorical.from_codes(answers, categories=pd.Index(YES_NO)))
    return pd.Series(np.where(result.missing, np.nan, result.values.astype(np.float64)))


def banded(values: pd.Series, name: str, limits: Sequence[float], carried: Sequence[int]) -> pd.Series:
    """Cut numbers at lower limits; refuse limits that cut a band in which the file gives the age.

    Examples
    --------
    >>> banded(pd.Series([19, 20, 70]), "age_group", [20, 65], ()).tolist()
    [nan, '20-64', '65+']
    """
    lost = [f"{limit:g}" for limit in limits if carried and limit not in carried]
    if lost:
        raise SaeSpecError(
            f"derive.{name}: the file gives the age in bands, which the limits {name_some(lost)} would cut.",
            hint=f"Its bands begin at {', '.join(map(str, carried))}.",
        )
    number = numbers(values, str(values.name or name))
    rank = np.searchsorted(np.asarray(limits, dtype=float), number, side="right") - 1
    ends = [f"-{high - 1:g}" if float(high).is_integer() else f" to under {high:g}" for high in limits[1:]]
    labels = [f"{low:g}{end}" for low, end in zip(limits, [*ends, "+"], strict=True)]
    rank = np.where(np.isnan(number), -1, rank)
    return pd.Series(pd.Categorical.from_codes(rank, categories=pd.Index(labels), ordered=True))


def _first_true(frame: pd.DataFrame, levels: Mapping[str, str]) -> pd.Series:
    codes = np.full(len(frame), -1, dtype=np.int64)
    waiting = np.ones(len(frame), dtype=bool)
    for rank, condition in enumerate(levels.values()):
        result = evaluate(condition, frame)
        codes[waiting & result.values.astype(bool) & ~result.missing] = rank
        waiting &= ~result.values.astype(bool) & ~result.missing
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(list(levels))))
