"""Calibration: totals by name to auxiliaries, and from there to weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.literals import CalibrationMethod
from sae.numerics.design.calibration import CalibrationSolution
from sae.numerics.design.calibration import calibrate as solve
from sae.specs import one_of
from sae.survey.counts import (
    CellCounts,
    Collapse,
    count_cells,
    has_counts,
    known_total,
    refuse_contradictions,
    refuse_missing,
)
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
    totals: Mapping[Any, Any],
    *,
    method: CalibrationMethod,
    bounds: tuple[float, float] | None,
    collapse: Collapse = None,
) -> tuple[Calibration, tuple[str, ...]]:
    """Read known totals off the records, and note the cells that were joined; see `Survey.calibrate`."""
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
    names, matrix, target, notes = _auxiliaries(frame, totals, weights != 0, method, collapse)
    return Calibration(names, method, weights, target, matrix=matrix, bounds=bounds), notes


def _pair(bounds: Any) -> tuple[float, float]:
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError):
        raise SaeSpecError(f"bounds={bounds!r} are not two numbers.", hint="For example (0.5, 2).") from None
    return low, high


def poststratification_of(
    frame: pd.DataFrame, weights: np.ndarray, columns: list[str], counts: Any, collapse: Collapse = None
) -> tuple[Calibration, tuple[str, ...]]:
    """Match the cells of the records with known counts; see `Survey.post_stratify`.

    Whoever has the weight 0 is outside the population that the counts are about.

    Returns
    -------
    calibration : Calibration
    notes : tuple of str
        Cells that were joined.
    """
    _check_collapse(collapse, [columns])
    cells = count_cells(frame, columns, counts, weights != 0, collapse)
    codes = np.maximum(cells.codes, 0)
    return Calibration(cells.names, "poststratified", weights, cells.totals, cells=codes), cells.notes


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
    frame: pd.DataFrame, totals: Mapping[Any, Any], inside: np.ndarray, method: str, collapse: Collapse
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, tuple[str, ...]]:
    if not isinstance(totals, Mapping) or not totals:
        raise SaeSpecError(
            f"totals={totals!r} is not a mapping of names to totals.",
            hint="For example {'sex': {'f': 510, 'm': 490}, 'income': 1e6, '1': 1000}.",
        )
    _check_collapse(collapse, [term for term in totals if isinstance(term, tuple)])
    n = len(frame)
    counts: list[CellCounts] = []
    names: list[str] = []
    target: list[float] = []
    columns: list[np.ndarray] = []
    for term, total in totals.items():
        if has_counts(total):
            crossed = [term] if isinstance(term, str) else list(term)
            cells = count_cells(frame, crossed, total, inside, collapse if len(crossed) > 1 else None)
            counts.append(cells)
            names += [f"{' x '.join(crossed)}[{name}]" for name in cells.names]
            target += cells.totals.tolist()
            columns += [(cells.codes == code).astype(np.float64) for code in range(len(cells.names))]
        elif isinstance(term, tuple):
            raise SaeSpecError(
                f"The total of {' x '.join(map(str, term))} is {total!r}, not counts by these columns.",
                hint="Give a table, a Series or a mapping of their levels to counts.",
            )
        else:
            values, missing = _term(frame, str(term))
            refuse_missing(missing & inside, str(term), n)
            names.append(str(term))
            target.append(known_total(str(term), total))
            columns.append(np.where(inside, values, 0.0))
        if n * len(columns) * 8 > _MAX_GIGABYTES * 1e9:
            raise SaeSpecError(
                f"{len(columns)} or more auxiliaries for {n:,} records take over {_MAX_GIGABYTES} GB.",
                hint="Use post_stratify for crossed cells, or fewer totals.",
            )
    everybody = totals.get("1")
    refuse_contradictions(counts, method, None if everybody is None else known_total("1", everybody))
    notes = tuple(note for cells in counts for note in cells.notes)
    return tuple(names), np.column_stack(columns), np.array(target), notes


def _check_collapse(collapse: Collapse, crossings: Sequence[Sequence[str]]) -> None:
    """Refuse a rule that no crossing of columns can follow."""
    if isinstance(collapse, str) and not any(len(one) > 1 and collapse in one for one in crossings):
        shown = name_some(" x ".join(one) for one in crossings) or "none"
        raise SaeSpecError(
            f"collapse={collapse!r} is no column of crossed cells; they are {shown}.",
            hint="It names a column in which cells differ that are joined where one of them is empty.",
        )
    if isinstance(collapse, Mapping) and len(crossings) != 1:
        raise SaeSpecError(
            "A mapping of cells in collapse= needs one table of crossed cells.",
            hint='Name the column instead: collapse="birth".',
        )


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
