"""Quantiles and tails of the normal and of Student's t, in elementary functions.

`scipy.special` has them too; importing it takes longer than a fit of a hundred areas with all that it loads.
"""

from __future__ import annotations

from math import atan, cos, erfc, exp, lgamma, log, nan, pi, sin, sqrt, tan
from statistics import NormalDist

import numpy as np

__all__ = ["normal_quantile", "student_quantile", "two_sided"]

_MANY = 1000  # degrees of freedom from which the expansion of the quantile is exact to rounding
_STEPS = 100
_quantile = NormalDist().inv_cdf  # Wichura (1988), Applied Statistics 37, AS 241


def normal_quantile(p: np.ndarray) -> np.ndarray:
    """Return Φ⁻¹(p), element by element, for p inside (0, 1).

    Examples
    --------
    >>> normal_quantile(np.array([0.5, 0.975])).round(4).tolist()
    [0.0, 1.96]
    """
    return np.array([_quantile(value) for value in p.tolist()])


def two_sided(z: np.ndarray) -> np.ndarray:
    """Return 2 Φ(-|z|), element by element; missing where z is."""
    return np.array([erfc(abs(value) / sqrt(2.0)) for value in z.ravel().tolist()]).reshape(z.shape)


def student_quantile(p: float, freedom: int) -> float:
    """Return the quantile of Student's t for p inside (1/2, 1); missing without a degree of freedom.

    References
    ----------
    Abramowitz and Stegun (1972), Handbook of Mathematical Functions, 26.7.3 and 26.7.4 for the distribution,
    26.7.5 for the expansion.

    Examples
    --------
    >>> [round(student_quantile(0.975, freedom), 3) for freedom in (1, 10, 10**6)]
    [12.706, 2.228, 1.96]
    """
    if freedom < 1:
        return nan
    x = _quantile(p)
    if freedom > _MANY:
        return _expanded(x, freedom)
    # t = √ν tan θ; P(|T| ≤ t) is concave in θ, so that Newton's steps from below never pass it
    inside, angle = 2.0 * p - 1.0, atan(x / sqrt(freedom))
    log_top = log(2.0) + lgamma(0.5 * (freedom + 1)) - lgamma(0.5 * freedom) - 0.5 * log(pi)
    for _ in range(_STEPS):
        slope = exp(log_top + (freedom - 1) * log(cos(angle)))
        step = (inside - _within(angle, freedom)) / slope
        angle += step
        if abs(step) <= 1e-15 * angle:
            break
    return sqrt(freedom) * tan(angle)


def _within(angle: float, freedom: int) -> float:
    """Return P(|T| ≤ √ν tan θ): a finite series in cos²θ."""
    odd, square = freedom % 2, cos(angle) ** 2
    k = 2.0 * np.arange(1, (freedom - odd) // 2)
    terms = square * (k / (k + 1.0) if odd else (k - 1.0) / k)
    series = 1.0 + float(np.cumprod(terms).sum())
    if not odd:
        return sin(angle) * series
    return 2.0 / pi * (angle + (sin(angle) * cos(angle) * series if freedom > 1 else 0.0))


def _expanded(x: float, freedom: int) -> float:
    terms = (
        (x**3 + x) / 4.0,
        (5.0 * x**5 + 16.0 * x**3 + 3.0 * x) / 96.0,
        (3.0 * x**7 + 19.0 * x**5 + 17.0 * x**3 - 15.0 * x) / 384.0,
        (79.0 * x**9 + 776.0 * x**7 + 1482.0 * x**5 - 1920.0 * x**3 - 945.0 * x) / 92160.0,
    )
    return x + sum(term / freedom**power for power, term in enumerate(terms, 1))
