"""Checks on the columns of a survey file; every fault is named with its rows and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.survey.codes import as_text, combine, encode

__all__ = [
    "check_columns",
    "check_persons",
    "check_population",
    "column_of",
    "numbers",
    "read_weights",
    "rows_text",
]


def rows_text(positions: np.ndarray) -> str:
    """Positions as record numbers, the first record being 1."""
    more = f" and {len(positions) - 5:,} more" if len(positions) > 5 else ""
    return name_some(positions[:5] + 1) + more


def check_columns(frame: pd.DataFrame) -> None:
    """Refuse an empty frame."""
    if len(frame) == 0 or frame.shape[1] == 0:
        raise SaeInputError(
            f"The survey holds no records ({frame.shape[1]} columns, {len(frame)} rows).",
            hint="Check that the file is the one with the records, and that reading did not filter them "
            "all out.",
        )


def unknown_column(name: object, known: Iterable[object], role: str, hint: str = "") -> SaeInputError:
    """Error for a column that is not there, with near matches whatever their case."""
    names = [str(column) for column in known]
    lower = {column.lower(): column for column in names}
    near = [lower[match] for match in get_close_matches(str(name).lower(), list(lower), n=3)]
    hint += f"Did you mean {name_some(near)}? " if near else ""
    return SaeInputError(
        f"The {role} column {name!r} is not in the survey.",
        hint=f"{hint}Columns: {name_some(names, limit=12)}.",
        column=str(name),
    )


def column_of(frame: pd.DataFrame, name: str, role: str) -> pd.Series:
    """Return a column, or say which near names exist."""
    if name not in frame:
        raise unknown_column(name, frame.columns, role)
    return frame[name]


def numbers(column: pd.Series, role: str) -> np.ndarray:
    """Column as float with nan where missing; text that is no number is refused with rows and values."""
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        codes, labels = encode(column)
        values = pd.to_numeric(pd.Series(np.asarray(labels, dtype=object)), errors="coerce").to_numpy(
            np.float64
        )
        texts = as_text(labels)
        bad_labels = np.isnan(values)
        bad = np.flatnonzero(bad_labels[codes] & (codes >= 0)) if bad_labels.any() else np.zeros(0, dtype=int)
        if bad.size:
            shown = ", ".join(f"row {row + 1}: {texts[codes[row]]!r}" for row in bad[:5])
            comma = any("," in texts[codes[row]] for row in bad[:5])
            raise SaeInputError(
                f"The {role} column {column.name!r} holds text in {bad.size:,} of {len(column):,} records "
                f"({shown}).",
                hint="Numbers need a decimal point, not a comma."
                if comma
                else "Correct these values or leave them empty.",
                areas=bad[:5] + 1,
                column=str(column.name),
            )
        return np.append(values, np.nan)[codes]
    return column.to_numpy(np.float64, na_value=np.nan)


def read_weights(frame: pd.DataFrame, weights: str | Sequence[float] | None) -> np.ndarray:
    """Weights as float, all finite and none negative; a weight of 0 is a record outside the population.

    Raises
    ------
    SaeInputError
        If no weights are given, all are 0, or some are text, missing, infinite or negative (counts and
        rows), or their number or index is not that of the records.
    """
    if weights is None:
        raise SaeInputError(
            "No weights are given.",
            hint="Name the weight column: weights='...'. Use a column of ones only for a census or an "
            "equal-probability sample.",
        )
    if isinstance(weights, str):
        values, name = numbers(column_of(frame, weights, "weights"), "weights"), f"column {weights!r}"
    else:
        if isinstance(weights, pd.Series) and not weights.index.equals(frame.index):
            raise SaeInputError(
                "The weights are a Series whose index is not that of the records.",
                hint="Put the weights into a column of the frame and name it.",
            )
        try:
            values, name = np.array(weights, dtype=np.float64), "values"
        except (TypeError, ValueError):
            raise SaeInputError(
                "The weights given as values are not all numbers.", hint="Give one number per record."
            ) from None
        if values.ndim == 0:
            raise SaeInputError(
                f"weights={weights!r} is one number, not a weight for each record.",
                hint="Name the weight column: weights='...'. In a census it is a column of ones.",
            )
        if values.shape != (len(frame),):
            raise SaeInputError(
                f"The weights have {len(values):,} values, but there are {len(frame):,} records.",
                hint="Put the weights into a column of the frame and name it.",
            )
    column = weights if isinstance(weights, str) else None
    faults = []
    positions = []
    for word, bad in (("missing or infinite", ~np.isfinite(values)), ("negative", values < 0)):
        rows = np.flatnonzero(bad)
        if rows.size:
            faults.append(f"{rows.size:,} {word} (rows {rows_text(rows)})")
            positions += rows[:5].tolist()
    if faults:
        raise SaeInputError(
            f"The weights ({name}) are not all 0 or more: of {len(values):,}, {'; '.join(faults)}.",
            hint="Correct them, or give a record that represents nobody the weight 0.",
            areas=[row + 1 for row in positions],
            column=column,
        )
    if not values.any():
        raise SaeInputError(
            f"All {len(values):,} weights ({name}) are 0: the records represent nobody.",
            hint="Name the column of the analysis weights.",
            column=column,
        )
    return values


def check_population(
    weights: np.ndarray, periods: pd.Series | None, population: float | Mapping[str, float]
) -> None:
    """Refuse weights that do not sum to the population that is stated, within 0.1 %, in every period.

    Raises
    ------
    SaeSpecError
        If the population is no positive number, or states periods that the survey does not hold.
    SaeInputError
        If a sum differs; the ratio tells of thousands, and of years read as quarters.
    """
    if periods is None:
        sums = {"": float(weights.sum())}
    else:
        codes, labels = encode(periods)
        totals = np.bincount(codes[codes >= 0], weights[codes >= 0], len(labels))
        sums = dict(zip(as_text(labels), totals.tolist(), strict=True))
    if isinstance(population, Mapping):
        stated = {str(period): value for period, value in population.items()}
    else:
        stated = dict.fromkeys(sums, population)
    if stated.keys() != sums.keys():
        other = sorted(stated.keys() ^ sums.keys())
        raise SaeSpecError(
            f"The population is stated for {len(stated)} periods, but the survey holds {len(sums)}: not in "
            f"both are {name_some(other)}.",
            hint="State one number for every period, or one for all.",
        )
    bad = [value for value in stated.values() if not isinstance(value, int | float) or not value > 0]
    if bad:
        raise SaeSpecError(f"The population is a number of persons, not {bad[0]!r}.")
    off = {one: total / stated[one] for one, total in sums.items() if abs(total / stated[one] - 1) > 0.001}
    if off:
        first = next(iter(off))
        where = f" of {first}" if first else ""
        known = f"the population is stated as {stated[first]:,.0f} (ratio {off[first]:.4g})"
        raise SaeInputError(
            f"The weights{where} sum to {sums[first]:,.0f}, but {known}"
            + (f"; {len(off)} of {len(sums)} periods differ." if where else "."),
            hint=_likely(off[first]),
            areas=off,
        )


def _likely(ratio: float) -> str:
    for factor, words in (
        (0.001, "They count thousands of persons: multiply them."),
        (0.25, "They are the weights of a year, read by quarter: name the year as the period."),
        (4.0, "They are the weights of quarters: name the quarter as the period, or pool them afterwards."),
    ):
        if abs(ratio / factor - 1) < 0.05:
            return words
    return "Name the weights of this population, or calibrate the survey to it."


def check_persons(frame: pd.DataFrame, person: str, household: str | None, time: str | None) -> None:
    """Refuse a person that occurs twice in a household and period."""
    keys = [name for name in (time, household, person) if name is not None]
    joint: np.ndarray | None = None
    size = 1
    for name in keys:
        role = {time: "time", household: "household"}.get(name, "person")
        codes, labels = encode(column_of(frame, name, role))
        missing = np.flatnonzero(codes < 0)
        if missing.size:
            raise SaeInputError(
                f"The {role} column {name!r} is missing in "
                f"{counted(missing.size, 'record', 'records')} (rows "
                f"{rows_text(missing)}).",
                hint="Complete it, or read the survey without this role.",
                column=name,
            )
        if joint is None:
            joint, size = codes, len(labels)
        else:
            joint, firsts, _ = combine(joint, codes, len(labels))
            size = len(firsts)
    assert joint is not None
    if size == len(frame):
        return
    twice = np.flatnonzero(np.bincount(joint, minlength=size)[joint] > 1)
    order = twice[np.argsort(joint[twice], kind="stable")]
    shown = name_some(
        (" / ".join(as_text(frame[name].iloc[[row]].to_numpy())[0] for name in keys) for row in order[::2]),
        limit=3,
    )
    raise SaeInputError(
        f"{counted(len(frame) - size, 'record repeats', 'records repeat')} a person: {len(twice):,} "
        f"records share {', '.join(keys)} "
        f"with another "
        f"({shown}; rows {rows_text(order)}).",
        hint="Remove the duplicates, or name the missing part of the key (time=, household=).",
        areas=order[:5] + 1,
        column=person,
    )


def as_list(value: str | Sequence[str] | None, role: str) -> list[str]:
    """Column names of a role, one per stage."""
    if value is None:
        return []
    names = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(name, str) for name in names):
        raise SaeSpecError(f"{role} takes the name of a column or a list of names, not {value!r}.")
    return names
