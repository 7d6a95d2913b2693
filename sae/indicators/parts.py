"""Parts of an indicator read off records: the values of an expression, and where they are missing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.survey.expressions import evaluate
from sae.survey.operands import Operand

__all__ = ["BlockReading", "Part", "block_part", "is_text", "part"]

Part = tuple[np.ndarray, np.ndarray]  # values of an expression, and where they are missing
_LARGEST = 1e100  # of a value: variances sum weighted squares


@dataclass(eq=False)
class BlockReading:
    """What the expressions of several indicators read of one block of records, each once.

    Attributes
    ----------
    operands : dict
        Columns by name.
    parts : dict
        Values and missing marks by expression, and whether any value is known.
    """

    operands: dict[str, Operand] = field(default_factory=dict)
    parts: dict[str, tuple[Part, bool]] = field(default_factory=dict)


def part(expression: str, frame: pd.DataFrame, role: str, fetched: dict[str, Operand] | None = None) -> Part:
    """Evaluate a column or an expression to bool or float values, with the mask of the missing ones."""
    if expression in frame and not expression.isidentifier():  # a column name that no expression can hold
        frame, expression, fetched = pd.DataFrame({"column": frame[expression]}), "column", None
    elif expression in frame and is_text(frame[expression]):
        raise SaeSpecError(
            f"The {role} {expression!r} is a text column; it must be a number or a yes/no condition.",
            hint=f"Compare it with a level, for example \"{expression} == 'level'\".",
            column=expression,
        )
    result = evaluate(expression, frame, fetched)
    if result.values.dtype == bool:
        return result.values, result.missing
    huge = np.flatnonzero(np.abs(result.values) > _LARGEST)  # a missing value is nan, and not among them
    if huge.size:
        raise SaeInputError(
            f"The {role} {expression!r} is beyond {_LARGEST:.0e} in {huge.size:,} of {len(frame):,} records "
            f"(rows {name_some(huge + 1)}): their squares cannot be summed.",
            hint="Choose a larger unit, or leave a value empty that is not known.",
            areas=huge[:5] + 1,
            column=expression if expression in frame else None,
        )
    flags = _as_flags(result.values, result.missing)
    return result.values if flags is None else flags, result.missing


def block_part(expression: str, frame: pd.DataFrame, role: str, reading: BlockReading) -> tuple[Part, bool]:
    """Evaluate as `part`; where no value is known the block does not tell whether they are yes or no."""
    if expression not in reading.parts:
        values, missing = part(expression, frame, role, reading.operands)
        any_known = not missing.all()
        values = values if any_known else np.zeros(missing.size, dtype=bool)
        reading.parts[expression] = (values, missing), any_known
    return reading.parts[expression]


def is_text(series: pd.Series) -> bool:
    """Whether a column holds text, and neither numbers nor yes and no."""
    held = series.cat.categories if isinstance(series.dtype, pd.CategoricalDtype) else series
    if pd.api.types.is_numeric_dtype(held.dtype):
        return False
    return pd.api.types.infer_dtype(held, skipna=True) not in ("boolean", "integer", "floating", "empty")


def _as_flags(values: np.ndarray, missing: np.ndarray) -> np.ndarray | None:
    """Return numbers that are only 0 and 1 as yes/no, else None."""
    yes = values == 1
    return yes if np.all(yes | (values == 0) | missing) and not missing.all() else None
