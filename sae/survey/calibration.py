"""Calibration: totals by name to auxiliaries, and from there to weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.literals import CalibrationMethod
from sae.numerics.design.calibration import CalibrationSolution
from sae.numerics.design.calibration import calibrate as solve
from sae.specs import one_of
from sae.survey.checks import column_of, counted, rows_text
from sae.survey.codes import as_text, encode
from sae.survey.expressions import evaluate
from sae.survey.operands import Values, fetch
from sae.survey.replicates import Replicates

__all__ = [
    "Calibration",
    "calibrated_weights",
    "calibration_of",
    "poststratification_of",
    "recalibrate",
    "recalibrated",
]

_MAX_GIGABYTES = 4


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the weights were calibrated on: variances then use residuals on these auxiliaries.

    Attributes
    ----------
    names : tuple of str
        One name per auxiliary (or cell), q of them.
    method : {"linear", "raking", "logit", "poststratified"}
        Distance function.
    base_weights : ndarray, shape (n,)
        Weights before the calibration.
    totals : ndarray, shape (q,)
        Known totals of the auxiliaries (counts of the cells).
    matrix : ndarray or None, shape (n, q)
        Auxiliaries; None when post-stratified.
    cells : ndarray of int64 or None, shape (n,)
        Cell of each record when post-stratified (a matrix of 0 and 1 would not fit large files).
    bounds : tuple of float or None
        Lower and upper bound of the ratio of weights (logit).
    """

    names: tuple[str, ...]
    method: str
    base_weights: np.ndarray
    totals: np.ndarray
    matrix: np.ndarray | None = None
    cells: np.ndarray | None = None
    bounds: tuple[float, float] | None = None

    @property
    def X(self) -> np.ndarray:
        """Auxiliaries as a dense matrix, shape (n, q)."""
        if self.matrix is not None:
            return self.matrix
        assert self.cells is not None
        return (self.cells[:, None] == np.arange(len(self.names))).astype(np.float64)


def calibration_of(
    frame: pd.DataFrame,
    weights: np.ndarray,
    totals: Mapping[str, Any],
    *,
    method: CalibrationMethod,
    bounds: tuple[float, float] | None,
) -> Calibration:
    """Read known totals off the records; see `Survey.calibrate`."""
    one_of("method", method, CalibrationMethod)
    if (method == "logit") != (bounds is not None):
        raise SaeSpecError(
            "bounds= belong to method='logit', and it needs them.",
            hint="For example method='logit', bounds=(0.5, 2).",
        )
    if bounds is not None:
        low, high = _pair(bounds)
        if not low < 1 < high:
            raise SaeSpecError(f"The bounds {bounds} of the ratio of weights must lie on both sides of 1.")
        bounds = (low, high)
    names, matrix, target = _auxiliaries(frame, totals, weights != 0)
    return Calibration(names, method, weights, target, matrix=matrix, bounds=bounds)


def _pair(bounds: Any) -> tuple[float, float]:
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError):
        raise SaeSpecError(f"bounds={bounds!r} are not two numbers.", hint="For example (0.5, 2).") from None
    return low, high


def poststratification_of(
    frame: pd.DataFrame, weights: np.ndarray, columns: list[str], counts: Any
) -> Calibration:
    """Match the cells of the records with known counts; see `Survey.post_stratify`."""
    known = _counts(columns, counts)
    inside = weights != 0  # whoever has the weight 0 is outside the population that the counts are about
    coded = []
    for name in columns:
        codes, labels = encode(column_of(frame, name, "post-stratification"))
        _refuse_missing((codes < 0) & inside, name, len(frame))
        coded.append((codes[inside], as_text(labels)))
    shape = tuple(len(labels) for _, labels in coded)
    cell = np.ravel_multi_index([codes for codes, _ in coded], shape)
    cells = np.zeros(len(frame), dtype=np.int64)
    cells[inside], occurring = encode(cell)
    keys = [
        tuple(labels[code] for (_, labels), code in zip(coded, place, strict=True))
        for place in zip(*np.unravel_index(occurring, shape), strict=True)
    ]
    _match_cells(keys, known, columns)
    target = np.array([known[key] for key in keys])
    names = tuple(" / ".join(key) for key in keys)
    return Calibration(names, "poststratified", weights, target, cells=cells)


def recalibrate(calibration: Calibration, weights: np.ndarray) -> np.ndarray:
    """Calibrate other weights (those of a replicate) to the totals of a calibration.

    Parameters
    ----------
    calibration : Calibration
        Auxiliaries, totals and method.
    weights : ndarray, shape (n,)
        Weights before calibration, >= 0.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    SaeInputError
        If the totals cannot be reached with these weights.
    """
    if calibration.cells is not None:
        sums = np.bincount(calibration.cells, weights=weights, minlength=len(calibration.names))
        empty = np.flatnonzero(sums <= 0)
        if empty.size:
            raise SaeInputError(
                f"{counted(empty.size, 'cell has', 'cells have')} no weight left: "
                f"{name_some(calibration.names[k] for k in empty)}.",
                hint="Join small cells before post-stratifying.",
                areas=[calibration.names[k] for k in empty],
            )
        return weights * (calibration.totals / sums)[calibration.cells]
    assert calibration.matrix is not None
    solution = solve(
        calibration.matrix, weights, calibration.totals, method=calibration.method, bounds=calibration.bounds
    )
    if not solution.converged:
        raise _unreachable(calibration, solution)
    return weights * solution.g


def calibrated_weights(calibration: Calibration) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the calibrated weights of the records, and what there is to note about them."""
    base = calibration.base_weights
    weights = recalibrate(calibration, base)
    inside = base != 0
    ratio = weights[inside] / base[inside]
    notes = [
        f"weights calibrated ({calibration.method}) to {len(calibration.names)} totals; "
        f"ratio of weights {ratio.min():.3g} to {ratio.max():.3g}"
    ]
    if (ratio <= 0).any():
        notes.append(
            f"{int((ratio <= 0).sum()):,} calibrated weights are not positive: consider raking or logit"
        )
    weights.setflags(write=False)
    return weights, tuple(notes)


def recalibrated(replicates: Replicates, calibration: Calibration) -> Replicates:
    """Calibrate every replicate to the totals that the weights meet."""
    weights = np.empty_like(replicates.weights)
    for r in range(weights.shape[1]):
        weights[:, r] = recalibrate(calibration, replicates.weights[:, r])
    weights.setflags(write=False)
    return replace(replicates, weights=weights)


def _auxiliaries(
    frame: pd.DataFrame, totals: Mapping[str, Any], inside: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    if not isinstance(totals, Mapping) or not totals:
        raise SaeSpecError(
            f"totals={totals!r} is not a mapping of names to totals.",
            hint="For example {'sex': {'f': 510, 'm': 490}, 'income': 1e6, '1': 1000}.",
        )
    n = len(frame)
    names: list[str] = []
    target: list[float] = []
    columns: list[np.ndarray] = []
    for term, total in totals.items():
        if isinstance(total, Mapping | pd.Series):
            codes, labels = encode(column_of(frame, term, "calibration"))
            _refuse_missing((codes < 0) & inside, term, n)
            known = _counts([term], total)
            sampled = np.unique(codes[inside])
            keys: list[tuple[str, ...]] = [(label,) for label in as_text(labels[sampled])]
            _match_cells(keys, known, [term])
            for code, key in zip(sampled, keys, strict=True):
                names.append(f"{term}[{key[0]}]")
                target.append(known[key])
                columns.append((codes == code).astype(np.float64))
        else:
            values, missing = _term(frame, str(term))
            _refuse_missing(missing & inside, str(term), n)
            names.append(str(term))
            target.append(_number(str(term), total))
            columns.append(np.where(inside, values, 0.0))
        if n * len(columns) * 8 > _MAX_GIGABYTES * 1e9:
            raise SaeSpecError(
                f"{len(columns)} or more auxiliaries for {n:,} records take over {_MAX_GIGABYTES} GB.",
                hint="Use post_stratify for crossed cells, or fewer totals.",
            )
    return tuple(names), np.column_stack(columns), np.array(target)


def _term(frame: pd.DataFrame, term: str) -> tuple[np.ndarray, np.ndarray]:
    if term in frame and pd.api.types.is_numeric_dtype(frame[term].dtype):
        column = fetch(frame[term], term)
        assert isinstance(column, Values)
        values = np.asarray(column.values, dtype=np.float64)
        return values, np.isnan(values)
    if term in frame:
        raise SaeSpecError(
            f"{term!r} is text, so its totals are counts per level.",
            hint=f"Write {{{term!r}: {{level: count, ...}}}}.",
            column=term,
        )
    result = evaluate(term, frame)
    return np.asarray(result.values, dtype=np.float64), result.missing


def _counts(columns: list[str], counts: Any) -> dict[tuple[str, ...], float]:
    """Return the counts by tuple of level texts."""
    if isinstance(counts, pd.Series) and isinstance(counts.index, pd.MultiIndex):
        names = list(counts.index.names)
        if sorted(map(str, names)) == sorted(columns):
            counts = counts.reorder_levels([names.index(name) for name in columns])
    if not isinstance(counts, Mapping | pd.Series) or not len(counts):
        raise SaeSpecError(f"The counts of {', '.join(columns)} are a mapping or a Series, not {counts!r}.")
    known: dict[tuple[str, ...], float] = {}
    for key, value in counts.items():  # of a Series one by one: a dict would keep the last of two like labels
        parts = key if isinstance(key, tuple) else (key,)
        if len(parts) != len(columns):
            raise SaeSpecError(
                f"The count for {key!r} has {counted(len(parts), 'level', 'levels')}, but the cells cross "
                f"{len(columns)} columns "
                f"({', '.join(columns)})."
            )
        cell = tuple(as_text(np.array([part]))[0] for part in parts)
        if cell in known:
            raise SaeInputError(f"The cell {' / '.join(cell)} of {', '.join(columns)} has two counts.")
        known[cell] = _number(" / ".join(cell), value)
        if known[cell] < 0:
            raise SaeInputError(f"The count of {' / '.join(cell)} is negative ({value}).")
    return known


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SaeSpecError(f"The total of {name!r} is {value!r}, not a number.") from None
    if not np.isfinite(number):
        raise SaeInputError(
            f"The total of {name!r} is {value}.", hint="Every total must be known and finite."
        )
    return number


def _match_cells(
    keys: list[tuple[str, ...]], known: Mapping[tuple[str, ...], float], columns: list[str]
) -> None:
    of = " x ".join(columns)
    uncounted = [" / ".join(key) for key in keys if key not in known]
    if uncounted:
        raise SaeInputError(
            f"{counted(len(uncounted), 'level', 'levels')} of {of} in the sample "
            f"{'has' if len(uncounted) == 1 else 'have'} no count: {name_some(uncounted)}.",
            hint=f"Counts were given for {name_some(' / '.join(key) for key in known)}.",
            areas=uncounted,
            column=columns[0],
        )
    unsampled = [" / ".join(key) for key, count in known.items() if key not in set(keys) and count > 0]
    if unsampled:
        raise SaeInputError(
            f"{counted(len(unsampled), 'count', 'counts')} of {of} "
            f"{'has' if len(unsampled) == 1 else 'have'} no record in the sample: {name_some(unsampled)}.",
            hint="Join these cells with others, in the counts and in the records.",
            areas=unsampled,
            column=columns[0],
        )


def _refuse_missing(missing: np.ndarray, name: str, n: int) -> None:
    rows = np.flatnonzero(missing)
    if rows.size:
        raise SaeInputError(
            f"{name!r} is missing in {rows.size:,} of {n:,} records (rows {rows_text(rows)}), so its "
            f"total cannot be "
            "calibrated to.",
            hint="Impute it, give the missing records a level of their own, or leave it out of the totals.",
            column=name,
        )


def _unreachable(calibration: Calibration, solution: CalibrationSolution) -> SaeInputError:
    scale = np.maximum(np.abs(calibration.totals), 1e-300)
    worst = np.argsort(-np.abs(solution.gap) / scale, kind="stable")
    reached = calibration.totals - solution.gap
    named = [
        f"{calibration.names[k]} ({calibration.totals[k]:g}, reached {reached[k]:g})"
        for k in worst
        if abs(solution.gap[k]) > 1e-9 * scale[k]
    ]
    hint = "Totals must agree with each other: the levels of two variables add up to one population."
    if calibration.bounds is not None:
        hint += f" Or widen the bounds {calibration.bounds}."
    return SaeInputError(
        f"The weights cannot be calibrated ({calibration.method}) to the totals: {name_some(named)}.",
        hint=hint,
        areas=[calibration.names[k] for k in worst[:5]],
    )
