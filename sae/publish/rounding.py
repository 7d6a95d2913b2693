"""Round a figure to what its error leaves of it, and its interval outwards."""

from __future__ import annotations

import numpy as np

__all__ = ["decimals_of", "rounded", "rounded_outwards"]

_SHARE = 3  # decimals: one of a percentage
_DIGITS = 3  # of amounts and counts, by their size
_EXACT = 6  # decimals of a step in which two routes to the same number agree


def decimals_of(estimate: np.ndarray, se: np.ndarray, *, share: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return the decimals to which each figure is rounded; negative ones are tens, hundreds.

    A share has one decimal of its percentage, any other figure three digits; one less where the standard
    error is more than ten units of the last digit (of a share: above one percentage point), or is not known.

    Parameters
    ----------
    estimate, se : ndarray of float, shape (M,)
    share, whole : ndarray of bool, shape (M,)
        Figures that are shares; that are counts, without any decimal.

    Returns
    -------
    ndarray of int, shape (M,)

    Examples
    --------
    >>> from sae.publish.rounding import decimals_of
    >>> estimate, se = np.array([0.6234, 0.6234, 18_234.0, 18_234.0]), np.array([0.004, 0.03, 400.0, 2_000.0])
    >>> decimals_of(estimate, se, share=estimate < 1, whole=estimate > 1).tolist()
    [3, 2, -2, -3]
    """
    size = np.abs(np.nan_to_num(estimate))
    digits = _DIGITS - 1 - np.floor(np.log10(np.where(size > 0, size, 1.0)))
    digits = np.where(share, _SHARE, np.where(whole, np.minimum(digits, 0), digits))
    loose = ~(se <= 10.0 * 10.0**-digits)  # an error that is not known too
    return (digits - loose).astype(int)


def rounded(values: np.ndarray, decimals: np.ndarray) -> np.ndarray:
    """Return every figure at its own number of decimals.

    Examples
    --------
    >>> from sae.publish.rounding import rounded
    >>> rounded(np.array([0.6234, 18_234.0]), np.array([2, -3])).tolist()
    [0.62, 18000.0]
    """
    return _in_steps(values, decimals, np.rint)


def rounded_outwards(
    low: np.ndarray, high: np.ndarray, decimals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of intervals, the lower rounded down and the upper up.

    Examples
    --------
    >>> from sae.publish.rounding import rounded_outwards
    >>> low, high = rounded_outwards(np.array([0.5391, 0.29]), np.array([0.7012, 0.31]), np.array([2, 2]))
    >>> low.tolist(), high.tolist()
    ([0.53, 0.29], [0.71, 0.31])
    """
    return _in_steps(low, decimals, np.floor), _in_steps(high, decimals, np.ceil)


def _in_steps(values: np.ndarray, decimals: np.ndarray, whole: np.ufunc) -> np.ndarray:
    out = np.full(len(values), np.nan)
    for digits in np.unique(decimals).tolist():
        rows = decimals == digits
        steps = whole(np.round(values[rows] * 10.0**digits, _EXACT)) + 0.0  # no -0
        out[rows] = np.round(steps / 10.0**digits, max(digits, 0))
    return out
