"""The global maximum of a likelihood with two variances, boundaries included, for many outcomes at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sae.numerics.inference.newton import Evaluate, climb, peaks

__all__ = ["two_variances"]

_PLACES = [0, 2]  # of the two variances among the parameters of `climb`, where odd ones are correlations
_SETS: tuple[tuple[int, ...], ...] = ((), (0,), (2,), (0, 2))
_POINTS = 9  # of the grid along each variance
_INSIDE = 1e-3  # of the scale, from which on a variance is none of a boundary
_BETTER = 1e-10  # of the log-likelihood by which a larger model must exceed a smaller one


def two_variances(
    evaluate: Evaluate,
    scan: Callable[[np.ndarray], np.ndarray],
    outcomes: int,
    unit: float,
    near: np.ndarray | None = None,
) -> np.ndarray:
    """Return the two variances of each outcome at its maximum, shape (R, 2).

    With both variances, either, and none, the likelihood is scanned on a grid, and climbed from its two
    highest peaks.

    Parameters
    ----------
    evaluate : callable
        (variances, shape (k, 2); outcome, shape (k,)) -> log-likelihoods (k,) and slopes (k, 2).
    scan : callable
        Variances, shape (G, 2) -> log-likelihoods of all outcomes, shape (G, R).
    outcomes : int
        R.
    unit : float
        Scale of the variances; the grid reaches from a hundredth of it to a hundred times.
    near : ndarray, shape (2,), optional
        Positive variances that the outcomes were drawn with: a maximum that a climb from there meets inside
        is taken for the highest.
    """

    def widened(owner: np.ndarray, theta: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slopes = np.zeros((len(theta), 4))
        values, slopes[:, _PLACES] = evaluate(theta[:, _PLACES], owner[member])
        return values, slopes

    axis = unit * np.geomspace(1e-2, 1e2, _POINTS)
    best, best_value = np.zeros((outcomes, 2)), np.full(outcomes, -np.inf)
    rest = np.arange(outcomes)
    if near is not None:
        first = np.zeros((outcomes, 4))
        first[:, _PLACES] = near
        met, value = climb(partial(widened, rest), first, (0, 2), unit)
        inside = (met[:, _PLACES] > _INSIDE * unit).all(axis=1)
        best[inside], best_value[inside] = met[inside][:, _PLACES], value[inside]
        rest = rest[~inside]
    for free in _SETS:
        grid = np.zeros((_POINTS ** len(free), 4))
        for column, values in zip(free, np.meshgrid(*[axis] * len(free), indexing="ij"), strict=True):
            grid[:, column] = values.ravel()
        starts, owners = [], []
        if not len(rest):
            break
        scanned = scan(grid[:, _PLACES])
        for b in rest:
            found = peaks(scanned[:, b].reshape((_POINTS,) * len(free)))[:2] if free else np.zeros(1, int)
            starts.append(grid[found])
            owners.append(np.full(len(found), b))
        theta, owner = np.concatenate(starts), np.concatenate(owners)
        if free:
            theta, value = climb(partial(widened, owner), theta, free, unit)
        else:
            value = widened(owner, theta, np.arange(len(owner)))[0]
        for k in np.argsort(value, kind="stable"):
            if value[k] > best_value[owner[k]] + _BETTER:
                best[owner[k]], best_value[owner[k]] = theta[k][_PLACES], value[k]
    return best
