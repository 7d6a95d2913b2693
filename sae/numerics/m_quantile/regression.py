"""M-quantile regression for many orders at once, and the order of every unit.

The coefficients of order q solve

    Σ_i a_i ψ(r_i / s) x_i = 0,   r_i = y_i - x_i'β,   a_i = q where r_i > 0, else 1 - q,

with Huber's ψ(u) = min(k, max(-k, u)) and s = median |r_i| / 0.6745 of the same residuals. Iteratively
reweighted least squares has this fixed point. Here Newton's method finds it, s being moved along by the
secant of its own equation; where that fails the reweighting goes on by itself.

Designs come in coordinates with X'X = n I (`sae.numerics.linalg.basis`), so that a step is as long as it
moves the fitted values in root mean square.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled, inlined, inlined_sums
from sae.numerics.linalg.small import factor_small, solve_small

__all__ = ["GRID", "MQuantileFits", "fit_at", "fit_grid", "ordered", "unit_orders"]

GRID = np.concatenate([[0.005], np.arange(1, 100) / 100.0, [0.995]])
_NORMAL_MAD = 0.6744897501960817  # median |Z| of a standard normal
_TOLERANCE = 1e-10  # of the scale
_NOTHING = 1e-10  # of the outcome: a scale below is 0 but for rounding
_NEWTON_STEPS = 25
_MAX_STEPS = 2000
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class MQuantileFits:
    """M-quantile regressions of Q orders.

    Attributes
    ----------
    order : ndarray, shape (Q,)
    beta : ndarray, shape (Q, p)
    scale : ndarray, shape (Q,)
    steps : ndarray of int, shape (Q,)
        Passes over the data; -1 where they did not converge, -2 where the scale is 0.
    k : float
    """

    order: np.ndarray
    beta: np.ndarray
    scale: np.ndarray
    steps: np.ndarray
    k: float


def fit_grid(y: np.ndarray, X: np.ndarray, k: float, order: np.ndarray = GRID) -> MQuantileFits:
    """Fit increasing orders, each from where those before it lead.

    Parameters
    ----------
    y : ndarray, shape (n,)
    X : ndarray, shape (n, p)
        X'X = n I.
    k : float
        Tuning constant of ψ, in scales.
    order : ndarray, shape (Q,)
        Increasing, inside (0, 1).

    References
    ----------
    Breckling and Chambers (1988), Biometrika 75, 761-771; Chambers and Tzavidis (2006), Biometrika 93,
    255-268, section 2.

    Examples
    --------
    >>> y = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
    >>> fits = fit_grid(y, np.ones((5, 1)), 1e9, np.array([0.5, 0.9]))
    >>> fits.beta[:, 0].round(3).tolist()  # least squares, and the expectile
    [4.0, 7.692]
    """
    XT = np.ascontiguousarray(X.T)
    count, middle = len(order), int(np.argmin(np.abs(order - 0.5)))
    beta, scale = np.zeros((count, X.shape[1])), np.zeros(count)
    steps = np.full(count, -2)
    start = XT @ y / len(y)  # least squares, as X'X = n I
    sizes = np.abs(y - X @ start)
    scale[middle] = np.median(sizes) / _NORMAL_MAD
    if not scale[middle] > 0.0:
        return MQuantileFits(order, beta, scale, steps, k)
    for side, places in ((1, range(middle, count)), (-1, range(middle - 1, -1, -1))):
        for m in places:
            last, previous = m - side, m - 2 * side
            if m != middle:
                start, scale[m] = beta[last], scale[last]
                if last != middle and steps[last] > 0:
                    ahead = (order[m] - order[last]) / (order[last] - order[previous])
                    start = start + ahead * (beta[last] - beta[previous])
            one = slice(m, m + 1)
            beta[one], scale[one], steps[one] = _each(y, XT, order[one], k, start[None], scale[one])
    return MQuantileFits(order, beta, scale, steps, k)


def fit_at(y: np.ndarray, X: np.ndarray, order: np.ndarray, grid: MQuantileFits) -> MQuantileFits:
    """Fit any orders, starting between those of a grid."""
    inside = np.clip(order, grid.order[0], grid.order[-1])
    start = np.column_stack([np.interp(inside, grid.order, column) for column in grid.beta.T])
    scale = np.interp(inside, grid.order, grid.scale)
    beta, scale, steps = _each(y, np.ascontiguousarray(X.T), order, grid.k, start, scale)
    return MQuantileFits(order, beta, scale, steps, grid.k)


def unit_orders(y: np.ndarray, X: np.ndarray, grid: MQuantileFits) -> tuple[np.ndarray, int]:
    """Find the order at which the M-quantile of every unit is its outcome, between those of the grid.

    Where the regressions of two orders cross at a unit, its M-quantiles are sorted.

    Returns
    -------
    ndarray, shape (n,)
        Between the first and the last order of the grid, which units beyond them get.
    int
        Number of units at which regressions cross.

    References
    ----------
    Chambers and Tzavidis (2006), Biometrika 93, 255-268, section 3; Chernozhukov, Fernández-Val and Galichon
    (2010), Econometrica 78, 1093-1125, on sorting.
    """
    order, crossed = _orders(y, np.ascontiguousarray(X.T), grid.order, grid.beta)
    return order, int(crossed)


@inlined
def ordered(values, place):
    """Put the entry number `place` of the sorted values there, smaller ones before it (Hoare's selection)."""
    low, high = 0, len(values) - 1
    while low < high:
        pivot = values[place]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < place:
            low = i
        if place < i:
            high = j
    return values[place]


@inlined
def _scale(sizes):
    """Median / 0.6745 of absolute residuals, which are reordered."""
    n = len(sizes)
    middle = ordered(sizes, n // 2)
    if n % 2 == 0:
        below = sizes[0]
        for i in range(1, n // 2):
            below = max(below, sizes[i])
        middle = 0.5 * (middle + below)
    return middle / _NORMAL_MAD


@inlined_sums
def _sums(y, XT, beta, q, k, cut, newton, sizes, work, H, g, h):
    """Fill the sums of one pass: Σ w x x', Σ a ψ x and its slope in the scale; |r| is left in `sizes`.

    w is the slope of a ψ, or with `newton` False the weight a ψ(r) / r of least squares.
    """
    p, n = XT.shape
    H[:], g[:], h[:] = 0.0, 0.0, 0.0
    for start in range(0, n, _BLOCK):
        length = min(_BLOCK, n - start)
        r, w, c, o = work[0, :length], work[1, :length], work[2, :length], work[3, :length]
        outcome = y[start : start + length]
        for i in range(length):
            r[i] = outcome[i]
        for j in range(p):
            x = XT[j, start : start + length]
            for i in range(length):
                r[i] -= beta[j] * x[i]
        size = sizes[start : start + length]
        for i in range(length):
            a = q if r[i] > 0.0 else 1.0 - q
            size[i] = abs(r[i])
            inside = size[i] <= cut
            bound = cut if r[i] > 0.0 else -cut
            c[i] = a * (r[i] if inside else bound)
            o[i] = 0.0 if inside else a * (k if r[i] > 0.0 else -k)
            if newton:
                w[i] = a if inside else 0.0
            else:
                w[i] = a if inside else a * cut / size[i]
        for j in range(p):
            x = XT[j, start : start + length]
            first, second = 0.0, 0.0
            for i in range(length):
                first += c[i] * x[i]
                second += o[i] * x[i]
            g[j] += first
            h[j] += second
            for i in range(length):
                r[i] = w[i] * x[i]
            for m in range(j + 1):
                other = XT[m, start : start + length]
                total = 0.0
                for i in range(length):
                    total += r[i] * other[i]
                H[j, m] += total


@inlined
def _fit(y, XT, q, k, beta, s, least, sizes, work, H, g, h):
    """Move `beta` to the solution of order q; return its scale and the number of passes, or -1 or -2.

    A scale of `least` is 0.
    """
    p = len(beta)
    newton = True
    before, measured_before = 0.0, 0.0
    for step in range(_MAX_STEPS):
        newton = newton and step < _NEWTON_STEPS
        _sums(y, XT, beta, q, k, k * s, newton, sizes, work, H, g, h)
        measured = _scale(sizes)
        if not measured > least:
            return 0.0, -2
        if not factor_small(H):
            if not newton:
                return s, -1
            newton = False
            continue
        solve_small(H, g)
        length = 0.0
        for j in range(p):
            length += g[j] * g[j]
        if math.sqrt(length) <= _TOLERANCE * s and abs(measured - s) <= _TOLERANCE * s:
            for j in range(p):
                beta[j] += g[j]
            return measured, step + 1
        change = measured - s
        if newton:
            if step > 0 and s != before:
                slope = (measured - measured_before) / (s - before)
                change /= 1.0 - min(max(slope, -2.0), 0.9)
            solve_small(H, h)
        change = min(max(change, -0.5 * s), s)
        before, measured_before = s, measured
        s += change
        for j in range(p):
            beta[j] += g[j] + (h[j] * change if newton else 0.0)
    return s, -1


@compiled
def _each(y, XT, order, k, start, scale):
    p, n = XT.shape
    beta, s = start.copy(), scale.copy()
    steps = np.empty(len(order), np.int64)
    sizes, work = np.empty(n), np.empty((4, _BLOCK))
    H, g, h = np.empty((p, p)), np.empty(p), np.empty(p)
    least = _NOTHING * np.sqrt(np.mean(y * y))
    for m in range(len(order)):
        s[m], steps[m] = _fit(y, XT, order[m], k, beta[m], s[m], least, sizes, work, H, g, h)
    return beta, s, steps


@compiled
def _orders(y, XT, order, beta):
    p, n = XT.shape
    count = len(order)
    found, crossed = np.empty(n), 0
    fitted = np.empty(count)
    for i in range(n):
        rising = True
        for m in range(count):
            value = 0.0
            for j in range(p):
                value += beta[m, j] * XT[j, i]
            fitted[m] = value
            rising = rising and (m == 0 or fitted[m] >= fitted[m - 1])
        if not rising:
            crossed += 1
            fitted.sort()
        above = np.searchsorted(fitted, y[i])
        if above == 0:
            found[i] = order[0]
        elif above == count:
            found[i] = order[-1]
        else:
            share = (y[i] - fitted[above - 1]) / (fitted[above] - fitted[above - 1])
            found[i] = order[above - 1] + share * (order[above] - order[above - 1])
    return found, crossed
