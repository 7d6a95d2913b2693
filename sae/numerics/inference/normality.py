"""The Shapiro–Wilk test of normality, by Royston's approximations."""

from __future__ import annotations

from math import erfc, sqrt

import numpy as np

from sae.numerics.inference.tails import normal_quantile

__all__ = ["LARGEST", "shapiro_wilk"]

LARGEST = 5000  # values up to which the approximation of the p-value was fitted

# Polynomials of Royston (1992), lowest power first: two extreme weights in 1/√n, then the distribution of W.
_FIRST = (0.0, 0.221157, -0.147981, -2.071190, 4.434685, -2.706056)
_SECOND = (0.0, 0.042981, -0.293762, -1.752461, 5.682633, -3.582633)
_SMALL_SHIFT = (-2.273, 0.459)
_SMALL_MEAN, _SMALL_LOG_SD = (
    (0.5440, -0.39978, 0.025054, -0.0006714),
    (1.3822, -0.77857, 0.062767, -0.0020322),
)
_MEAN, _LOG_SD = (-1.5861, -0.31082, -0.083751, 0.0038915), (-0.4803, -0.082676, 0.0030302)


def shapiro_wilk(values: np.ndarray) -> tuple[float, float]:
    """Return W and its p-value.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        At least three, not all equal.

    References
    ----------
    Shapiro and Wilk (1965), Biometrika 52, 591–611; Royston (1992), Stat. Comput. 2, 117–119.
    """
    x = np.sort(values)
    n = len(x)
    # the median of the range taken away, and its length: sums of squares then lose no digits
    x = (x - x[n // 2]) / (x[-1] - x[0])
    weights = _weights(n)
    deviations = x - x.mean()
    w = min(
        float((weights @ x[::-1][: n // 2] - weights @ x[: n // 2]) ** 2 / (deviations @ deviations)), 1.0
    )
    return w, _p_value(w, n)


def _weights(n: int) -> np.ndarray:
    """Weights of the differences x_(n+1-i) - x_(i), largest first, shape (n // 2,)."""
    if n == 3:
        return np.array([np.sqrt(0.5)])
    scores = -normal_quantile((np.arange(1, n // 2 + 1) - 0.375) / (n + 0.25))
    squares = 2.0 * float(scores @ scores)
    extremes = 2 if n > 5 else 1
    tips = [
        _polynomial(powers, 1.0 / np.sqrt(n)) + score / np.sqrt(squares)
        for powers, score in zip((_FIRST, _SECOND), scores[:extremes].tolist(), strict=False)
    ]
    tail = float(scores[:extremes] @ scores[:extremes])
    rest = np.sqrt((squares - 2.0 * tail) / (1.0 - 2.0 * sum(tip**2 for tip in tips)))
    return np.concatenate([tips, scores[extremes:] / rest])


def _p_value(w: float, n: int) -> float:
    if n == 3:
        return max(float(6.0 / np.pi * (np.arcsin(np.sqrt(w)) - np.arcsin(np.sqrt(0.75)))), 0.0)
    if w == 1.0:
        return 1.0
    y = np.log1p(-w)
    if n <= 11:
        bound = _polynomial(_SMALL_SHIFT, n)
        if y >= bound:
            return 0.0
        y = -np.log(bound - y)
        mean, sd = _polynomial(_SMALL_MEAN, n), np.exp(_polynomial(_SMALL_LOG_SD, n))
    else:
        mean, sd = _polynomial(_MEAN, np.log(n)), np.exp(_polynomial(_LOG_SD, np.log(n)))
    return 0.5 * erfc((y - mean) / (sd * sqrt(2.0)))


def _polynomial(powers: tuple[float, ...], x: float) -> float:
    return float(np.polyval(powers[::-1], x))
