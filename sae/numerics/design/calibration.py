"""Calibration of weights to known totals: Deville and Särndal's distances, solved by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["CalibrationSolution", "calibrate", "weighted_gram"]

_EXACT = 1e-14  # relative gap below which a further Newton step cannot help
_ACCEPT = 1e-9  # relative gap of a solution that rounding keeps from going lower
_RANK = (
    1e-11  # eigenvalues of the scaled Gram matrix below this share of the largest are redundant auxiliaries
)
_BLOCK = 65_536  # records per block: bounds the memory of X' diag(w) X
_MAX_STEPS = 100
_MAX_HALVINGS = 30


@dataclass(frozen=True)
class CalibrationSolution:
    """Result of `calibrate`.

    Attributes
    ----------
    g : ndarray, shape (n,)
        Ratio of new to old weights.
    gap : ndarray, shape (q,)
        Totals minus calibrated sums, in units of the totals.
    converged : bool
        Whether every gap is negligible relative to the sum of absolute values it is made of.
    redundant : int
        Number of auxiliaries that the others determine.
    """

    g: np.ndarray
    gap: np.ndarray
    converged: bool
    redundant: int


def calibrate(
    X: np.ndarray,
    d: np.ndarray,
    totals: np.ndarray,
    *,
    method: str = "linear",
    bounds: tuple[float, float] | None = None,
) -> CalibrationSolution:
    """Find g = F(X lambda) such that sum_i d_i g_i x_i equals the totals.

    Parameters
    ----------
    X : ndarray of float, shape (n, q)
        Auxiliaries; redundant columns are allowed if their totals agree.
    d : ndarray of float, shape (n,)
        Weights before calibration, >= 0 (a replicate leaves records out).
    totals : ndarray of float, shape (q,)
        Known totals.
    method : {"linear", "raking", "logit"}
        F(u) = 1 + u, exp(u), or the logit function inside `bounds`.
    bounds : (low, high)
        Bounds of g for "logit", low < 1 < high.

    Returns
    -------
    CalibrationSolution
        `converged` is False where the totals contradict each other or cannot be reached within the bounds.

    References
    ----------
    Deville and Särndal (1992), JASA 87, 376-382: calibration equations (2.4), cases 1, 2 and 6 of section 2.

    Examples
    --------
    >>> X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    >>> solution = calibrate(X, np.full(3, 10.0), np.array([34.0, 18.0]))
    >>> (solution.g * 10).round(9).tolist()
    [16.0, 9.0, 9.0]
    """
    scale = np.maximum(np.abs(totals), d @ np.abs(X))
    scale[scale == 0] = 1.0
    multipliers = np.zeros(X.shape[1])
    g, slope = _distance(np.zeros(len(d)), method, bounds)
    gap = totals - X.T @ (d * g)
    worst = float(np.max(np.abs(gap) / scale))
    redundant = 0
    for _ in range(_MAX_STEPS):
        step, redundant = _newton_step(weighted_gram(X, d * slope), gap)
        size = 1.0
        for _ in range(_MAX_HALVINGS):
            trial = multipliers + size * step
            with np.errstate(over="ignore", invalid="ignore"):
                new_g, new_slope = _distance(X @ trial, method, bounds)
                new_gap = totals - X.T @ (d * new_g)
                new_worst = float(np.max(np.abs(new_gap) / scale))
            if new_worst < worst:
                break
            size /= 2
        else:
            break  # no direction improves: rounding level, or out of reach
        progress = new_worst < 0.5 * worst
        multipliers, g, slope, gap, worst = trial, new_g, new_slope, new_gap, new_worst
        if worst < _EXACT or (worst < _ACCEPT and not progress):
            break
    return CalibrationSolution(g, gap, worst < _ACCEPT, redundant)


def weighted_gram(X: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return X' diag(w) X, shape (q, q), in blocks of records.

    Examples
    --------
    >>> weighted_gram(np.array([[1.0], [2.0]]), np.array([3.0, 4.0])).tolist()
    [[19.0]]
    """
    gram = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, len(w), _BLOCK):
        part = X[start : start + _BLOCK]
        gram += part.T @ (part * w[start : start + _BLOCK, None])
    return gram


def _newton_step(gram: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, int]:
    """Minimum-norm solution of gram @ step = gap after scaling to unit diagonal."""
    unit = np.sqrt(np.diag(gram))
    unit[~(unit > 0)] = 1.0
    values, vectors = np.linalg.eigh(gram / np.outer(unit, unit))
    keep = values > _RANK * max(values[-1], 1e-300)
    along = vectors[:, keep]
    return (along @ ((along.T @ (gap / unit)) / values[keep])) / unit, int(np.count_nonzero(~keep))


def _distance(
    u: np.ndarray, method: str, bounds: tuple[float, float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """F(u) and F'(u)."""
    if method == "linear":
        return 1 + u, np.ones_like(u)
    if method == "raking":
        g = np.exp(u)
        return g, g
    if method != "logit" or bounds is None:
        raise ValueError(f"no distance function {method!r} with bounds {bounds!r}")
    low, high = bounds
    steepness = (high - low) / ((1 - low) * (high - 1))
    start = np.log((1 - low) / (high - 1))
    # logistic function through tanh: no overflow far from the centre
    share = 0.5 * (1 + np.tanh(0.5 * (steepness * u + start)))
    return low + (high - low) * share, steepness * (high - low) * share * (1 - share)
