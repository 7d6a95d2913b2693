"""Operands of expressions: numbers, truth values or coded text, and Kleene's connectives on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, counted
from sae.survey.checks import rows_text

__all__ = ["Operand", "Text", "Values", "any_of", "both", "either", "fetch", "known_truth", "sortable"]


@dataclass(frozen=True)
class Values:
    """Numbers or truth values; `values` may be a scalar, and is False or arbitrary where missing."""

    values: Any
    missing: np.ndarray | None
    kind: str  # "number" | "condition"
    label: str
    order: str = ""  # of categories that are numbers in another order than theirs: "3 < 2 < 1"


@dataclass(frozen=True)
class Text:
    """Codes into labels (-1: missing), or one constant text (`codes` None); `ordered` as the labels stand."""

    codes: np.ndarray | None
    labels: list[Any]
    label: str
    ordered: bool = False

    @property
    def missing(self) -> np.ndarray | None:
        """Marks of the missing records, or None where there are none."""
        if self.codes is None:
            return None
        missing = self.codes < 0
        return missing if missing.any() else None


Operand = Values | Text


def fetch(column: pd.Series, name: str) -> Operand:
    """Return a column as an operand, without copying where its numbers can be used as they are."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        ordered = bool(dtype.ordered)
        if pd.api.types.is_numeric_dtype(dtype.categories.dtype):
            return _numbers(dtype.categories.to_numpy(np.float64), column.cat.codes.to_numpy(), name, ordered)
        return Text(column.cat.codes.to_numpy(), dtype.categories.tolist(), name, ordered)
    if dtype == np.bool_:
        return Values(column.to_numpy(), None, "condition", name)
    if pd.api.types.is_bool_dtype(dtype):  # nullable booleans
        missing = column.isna().to_numpy()
        return Values(column.to_numpy(np.bool_, na_value=False), missing, "condition", name)
    if pd.api.types.is_numeric_dtype(dtype):
        return _fetch_numeric(column, name)
    if isinstance(dtype, pd.StringDtype) or pd.api.types.infer_dtype(column, skipna=True) in (
        "string",
        "empty",
    ):
        codes, labels = pd.factorize(column)
        return Text(codes, list(labels), name)
    if pd.api.types.infer_dtype(column, skipna=True) == "boolean":
        missing = column.isna().to_numpy()
        return Values((column == True).to_numpy(np.bool_), missing, "condition", name)  # noqa: E712
    raise SaeSpecError(
        f"The column {name!r} holds {dtype}, neither numbers nor text.",
        hint="Turn it into numbers or text before.",
        column=name,
    )


def _fetch_numeric(column: pd.Series, name: str) -> Values:
    values = column.to_numpy()
    if values.dtype == object:  # nullable integers and floats
        values = column.to_numpy(np.float64, na_value=np.nan)
    if values.dtype.kind != "f":
        return Values(values, None, "number", name)
    missing = np.isnan(values)
    _refuse_infinite(values, name)
    return Values(values, missing if missing.any() else None, "number", name)


def _refuse_infinite(values: np.ndarray, name: str) -> None:
    rows = np.flatnonzero(np.isinf(values))
    if rows.size:
        raise SaeInputError(
            f"The column {name!r} is infinite in {counted(rows.size, 'record', 'records')} (rows "
            f"{rows_text(rows)}).",
            hint="Correct these values, or leave them empty where they are not known.",
            areas=rows[:5] + 1,
            column=name,
        )


def _numbers(levels: np.ndarray, codes: np.ndarray, name: str, ordered: bool) -> Values:
    missing = codes < 0
    values = np.append(levels, np.nan)[codes]
    _refuse_infinite(values, name)
    order = " < ".join(f"{level:g}" for level in levels) if ordered and np.any(np.diff(levels) < 0) else ""
    return Values(values, missing if missing.any() else None, "number", name, order)


def sortable(texts: Sequence[object]) -> bool:
    """Whether texts sort as what they mean: digits in the same places and all else alike, as in 01 or 2020Q1.

    Examples
    --------
    >>> sortable(["2020Q1", "2019Q4"]), sortable(["9", "18"]), sortable(["low", "high"])
    (True, False, False)
    """
    shapes = {re.sub("[0-9]", "0", text) for text in texts if isinstance(text, str)}
    return len(shapes) == 1 and "0" in shapes.pop() and all(isinstance(text, str) for text in texts)


def either(left: np.ndarray | None, right: np.ndarray | None) -> np.ndarray | None:
    """Return where either side is missing."""
    if left is None or right is None:
        return right if left is None else left
    return left | right


def known_truth(values: Any, missing: np.ndarray | None) -> Any:
    """Truth values with False where missing: what the connectives below rely on."""
    return values if missing is None else values & ~missing


def both(left: Values, right: Values) -> Values:
    """Join two conditions by "and": false as soon as one is known to be false."""
    values = left.values & right.values
    missing = None
    if left.missing is not None:
        missing = left.missing & right.values
        if right.missing is not None:
            missing |= left.missing & right.missing
    if right.missing is not None:
        part = right.missing & left.values
        missing = part if missing is None else missing | part
    return Values(values, missing, "condition", f"{left.label} and {right.label}")


def any_of(left: Values, right: Values) -> Values:
    """Join two conditions by "or": true as soon as one is known to be true."""
    values = left.values | right.values
    missing = either(left.missing, right.missing)
    if missing is not None:
        missing = missing & ~values
    return Values(values, missing, "condition", f"{left.label} or {right.label}")
