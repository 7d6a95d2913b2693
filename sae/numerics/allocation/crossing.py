"""Where a function of one variable per area passes its bound: bracketed, by inverse quadratic steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["crossing"]

_STEPS = 60
_CLOSE = 1e-13  # of a bracket, whose ends are logarithms


def crossing(excess: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the largest points found that do not exceed their bounds, shape (D,).

    Where `high` does not exceed its bound it is the answer; else `low` counts as a point that does not, and
    the answer lies within 1e-13 below a point that does.

    Parameters
    ----------
    excess : callable
        From points, shape (D,), to how far each exceeds its bound; 0 or less does not.
    low, high : ndarray, shape (D,)

    References
    ----------
    Chandrupatla (1997), Adv. Eng. Software 28, 145-149.

    Examples
    --------
    >>> crossing(lambda x: x**2 - np.array([2.0, 9.0]), np.zeros(2), np.full(2, 2.0)).round(12).tolist()
    [1.414213562373, 2.0]
    """
    x1, x2, x3 = low, high, high
    f1, f2 = np.minimum(excess(low), 0.0), excess(high)
    f3 = f2
    done = ~(f2 > 0.0)
    inside = np.where(done, high, low)
    step = np.full(len(low), 0.5)
    for _ in range(_STEPS):
        if done.all():
            break
        x = x1 + step * (x2 - x1)
        f = excess(x)
        over = f > 0.0
        inside = np.where(done | over, inside, np.maximum(inside, x))
        same = over == (f1 > 0.0)  # the new point and the last lie on one side
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = x, f
        width = np.abs(x2 - x1)
        done = done | (width <= _CLOSE)
        with np.errstate(divide="ignore", invalid="ignore"):
            least = np.minimum(0.5 * _CLOSE / width, 0.5)
            xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
            quadratic = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (
                f3 - f2
            )
            usable = (phi**2 < xi) & ((1.0 - phi) ** 2 < 1.0 - xi) & np.isfinite(quadratic)
        step = np.clip(np.where(usable, quadratic, 0.5), least, 1.0 - least)
    return inside
