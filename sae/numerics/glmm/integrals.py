"""Kernels on the grids of `tables`: integrals over area effects, mixtures of their posteriors, draws.

Given (β, σ) the posterior of η_d on its grid is T_k N(η_k; x_d'β, σ²), with T the tabulated likelihood. On an
equally spaced grid the normal factor follows by w_(k+1) = w_k r q^(2k+1), r = exp(-hδ/σ²), q = exp(-h²/2σ²),
δ the distance of the centre from the mean: two exponentials per area, none per node.

References
----------
Trefethen and Weideman (2014), SIAM Review 56, 385-458 (equally spaced nodes).
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import compiled, inlined, inlined_sums
from sae.numerics.glmm.tables import GridTables
from sae.numerics.linalg.lanes import EIGHT, LANES, add_dot, add_multiples, fill_window

__all__ = [
    "area_marginals",
    "area_moments",
    "cumulated",
    "draw_effects",
    "expected",
    "holds",
    "inverse_of",
    "marginals",
    "mixture",
    "uniform_of",
]

_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _ONE = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11), np.uint64(1)
_NARROW = 1.01  # step over posterior deviation: the trapezoid rule is then right to 6e-9
_MARGIN = 0.3  # of half a window: how far a posterior may be from its centre
_WIDER = 1.3  # times the reference, which effects may have on its grids


@inlined
def _window(tables, d, mean, sigma):
    """Middle node of area d's window, and the coarsest exact stride; stride 0 if no window holds it."""
    T, reference, _, steps, _, curvature, strides, half, widest = tables
    step, variance = steps[d], sigma * sigma
    middle, share = T.shape[1] // 2, 1.0 / (curvature[d] * variance + 1.0)
    shift = share * (mean - reference[d])
    margin, room = _MARGIN * half * step, middle - half
    if abs(shift) > margin:
        if abs(shift) > margin + room * step:
            return middle, 0
        middle += min(max(math.floor(shift / step + 0.5), -room), room)
    if sigma > _WIDER * widest:
        return middle, 0
    stride, limit = strides[d], _NARROW * _NARROW * variance * share
    while stride > 0 and stride * stride * step * step > limit:
        stride //= 2
    return middle, stride


@inlined
def _factors(h, delta, sigma):
    half = 0.5 / (sigma * sigma)
    return math.exp(-2.0 * h * delta * half), math.exp(-h * h * half)


@inlined
def _dot(x, beta):
    total = 0.0
    for k in range(len(beta)):
        total += x[k] * beta[k]
    return total


@inlined_sums
def _total(T, middle, half, stride, ratio, q):
    """Sum T_k w_k over every `stride`-th node; ratio and q belong to that spacing."""
    up, down, square = ratio * q, q / ratio, q * q
    right, left, total = 1.0, 1.0, T[middle]
    for k in range(stride, half + 1, stride):
        right *= up
        left *= down
        up *= square
        down *= square
        total += T[middle + k] * right + T[middle - k] * left
    return total


@inlined
def _fill(T, middle, half, ratio, q, t):
    """T_k w_k at all nodes of a window into `t`; the sum left of its centre, and that of all."""
    up, down, square = ratio * q, q / ratio, q * q
    right, left = 1.0, 1.0
    ahead, back, to_right, to_left = T[middle:], T[: middle + 1][::-1], t[half:], t[: half + 1][::-1]
    high, low = ahead[0], 0.0
    to_right[0] = high
    for k in range(1, half + 1):
        right *= up
        left *= down
        up *= square
        down *= square
        a, b = ahead[k] * right, back[k] * left
        to_right[k] = a
        to_left[k] = b
        high += a
        low += b
    return low, low + high


@compiled
def _marginals(tables, X, beta, sigma):
    centre, step, level, half = tables[2], tables[3], tables[4], tables[7]
    T = tables[0]
    out = np.full(len(sigma), np.nan)
    for s in range(len(sigma)):
        twice, value, product = 0.5 / (sigma[s] * sigma[s]), 0.0, 1.0
        for d in range(len(T)):
            mean = _dot(X[d], beta[s])
            middle, stride = _window(tables, d, mean, sigma[s])
            if stride == 0:
                value = np.nan
                break
            delta = centre[d] + (middle - T.shape[1] // 2) * step[d] - mean
            ratio, q = _factors(stride * step[d], delta, sigma[s])
            value += level[d] - delta * delta * twice
            total = stride * _total(T[d], middle, half, stride, ratio, q)
            if total < 1e-70 or total > 1e70:
                value += math.log(total) if total > 0.0 else -math.inf
                total = 1.0
            product *= total
            if d % 4 == 3:  # four totals cannot leave the range of a number: one logarithm for them
                value += math.log(product)
                product = 1.0
        out[s] = value + math.log(product) - len(T) * (_LOG_ROOT_2PI + math.log(sigma[s]))
    return out


@compiled
def _area_marginals(tables, X, beta, sigma):
    centre, step, level, half = tables[2], tables[3], tables[4], tables[7]
    T = tables[0]
    out = np.full((len(sigma), len(T)), np.nan)
    for s in range(len(sigma)):
        for d in range(len(T)):
            mean = _dot(X[d], beta[s])
            middle, stride = _window(tables, d, mean, sigma[s])
            if stride > 0:
                delta = centre[d] + (middle - T.shape[1] // 2) * step[d] - mean
                ratio, q = _factors(stride * step[d], delta, sigma[s])
                total = stride * _total(T[d], middle, half, stride, ratio, q)
                out[s, d] = (
                    level[d] - 0.5 * (delta / sigma[s]) ** 2 + math.log(total / sigma[s]) - _LOG_ROOT_2PI
                )
    return out


@compiled
def _area_moments(tables, X, beta, sigma):
    T, centre, step, half = tables[0], tables[2], tables[3], tables[7]
    out = np.full((2, len(T)), np.nan)
    t = np.empty(2 * half + 1)
    for d in range(len(T)):
        mean = _dot(X[d], beta)
        middle, stride = _window(tables, d, mean, sigma)
        if stride == 0:
            continue
        delta = centre[d] + (middle - T.shape[1] // 2) * step[d] - mean
        ratio, q = _factors(step[d], delta, sigma)
        _, total = _fill(T[d], middle, half, ratio, q, t)
        first, second = 0.0, 0.0
        for k in range(2 * half + 1):
            away = delta + (k - half) * step[d]
            first += t[k] * away
            second += t[k] * away * away
        out[0, d], out[1, d] = first / total, second / total
    return out


@inlined
def _side_by_side(values, first, flat):
    """Rows `first` to `first` + 7 of an array into `flat`, column by column; the last row stands for more."""
    for lane in range(LANES):
        row = values[min(first + lane, len(values) - 1)]
        for k in range(len(row)):
            flat[k * LANES + lane] = row[k]


@inlined
def _eight_windows(tables, X, beta, sigma, first, middles, factors):
    """Windows and factors of eight areas; whether all the windows have one middle."""
    T, centre, step = tables[0], tables[2], tables[3]
    same = True
    for lane in range(LANES):
        d = min(first + lane, len(T) - 1)
        mean = _dot(X[d], beta)
        middle, _ = _window(tables, d, mean, sigma)
        delta = centre[d] + (middle - T.shape[1] // 2) * step[d] - mean
        factors[lane], factors[LANES + lane] = _factors(step[d], delta, sigma)
        middles[lane] = middle
        same &= middle == middles[0]
    return same


@compiled
def _mixture(tables, X, beta, sigma, weights):
    T, half = tables[0], tables[7]
    n, size, width = len(T), T.shape[1], 2 * half + 1
    out, flat, mixed = np.empty(T.shape), np.empty(size * LANES), np.empty(size * LANES)
    t, alone, middles = np.empty(width * LANES), np.empty(width), np.empty(LANES, np.int64)
    factors, sums, share = np.empty(2 * LANES), np.empty(2 * LANES), np.empty(LANES)
    for first in range(0, n, LANES):
        _side_by_side(T, first, flat)
        mixed[:] = 0.0
        for s in range(len(sigma)):
            if _eight_windows(tables, X, beta[s], sigma[s], first, middles, factors):
                fill_window(EIGHT, t, flat, middles[0], half, factors, sums)
                for lane in range(LANES):
                    share[lane] = weights[s] / sums[LANES + lane]
                add_multiples(EIGHT, mixed, middles[0] - half, width, t, 0, share, 0)
                continue
            for lane in range(min(LANES, n - first)):
                middle = middles[lane]
                _, total = _fill(T[first + lane], middle, half, factors[lane], factors[LANES + lane], alone)
                part = weights[s] / total
                for k in range(width):
                    mixed[(middle - half + k) * LANES + lane] += part * alone[k]
        for lane in range(min(LANES, n - first)):
            for k in range(size):
                out[first + lane, k] = mixed[k * LANES + lane]
    return out


@compiled
def _expected(tables, X, beta, sigma, values):
    T, half = tables[0], tables[7]
    n, size, width = len(T), T.shape[1], 2 * half + 1
    out, flat, other = np.empty((len(sigma), n)), np.empty(size * LANES), np.empty(size * LANES)
    t, alone, middles = np.empty(width * LANES), np.empty(width), np.empty(LANES, np.int64)
    factors, sums, found = np.empty(2 * LANES), np.empty(2 * LANES), np.empty(LANES)
    for first in range(0, n, LANES):
        _side_by_side(T, first, flat)
        _side_by_side(values, first, other)
        for s in range(len(sigma)):
            if _eight_windows(tables, X, beta[s], sigma[s], first, middles, factors):
                fill_window(EIGHT, t, flat, middles[0], half, factors, sums)
                found[:] = 0.0
                add_dot(EIGHT, found, 0, width, t, 0, other, middles[0] - half)
                for lane in range(min(LANES, n - first)):
                    out[s, first + lane] = found[lane] / sums[LANES + lane]
                continue
            for lane in range(min(LANES, n - first)):
                d, middle = first + lane, middles[lane]
                _, total = _fill(T[d], middle, half, factors[lane], factors[LANES + lane], alone)
                sum_of = 0.0
                for k in range(width):
                    sum_of += alone[k] * values[d, middle - half + k]
                out[s, d] = sum_of / total
    return out


@inlined
def uniform_of(key, index):
    """Return number `index` of the stream `key`, uniform on (0, 1), inside a kernel."""
    value = key + (index + _ONE) * _GOLDEN
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    value = value ^ (value >> _S31)
    return (np.float64(value >> _S11) + 0.5) * 2.0**-53


@inlined
def cumulated(t, summed, k):
    """Distribution function at node k, over the step: the trapezoid sum with its Euler–Maclaurin terms.

    `summed` is the sum up to and with node k.
    """
    first = (t[k - 2] - 8.0 * t[k - 1] + 8.0 * t[k + 1] - t[k + 2]) / 12.0
    third = 0.5 * (t[k + 2] - 2.0 * t[k + 1] + 2.0 * t[k - 1] - t[k - 2])
    return summed - 0.5 * t[k] - first / 12.0 + third / 720.0


@inlined
def inverse_of(t, summed, goal):
    """Node coordinate at which the distribution function reaches `goal`: `summed` are sums of `t`."""
    middle = len(t) // 2
    return _inverse(t, summed[middle], goal)


@inlined
def _inverse(t, summed, goal):
    """Node coordinate at which the distribution function reaches `goal`, by cubic interpolation.

    The search starts at the middle node, up to and with which the sum is `summed`: most draws are a few nodes
    from there.
    """
    last = len(t) - 4
    low = len(t) // 2
    while low < last and summed + 0.5 * t[low + 1] < goal:
        low += 1
        summed += t[low]
    while low > 2 and summed - 0.5 * t[low] >= goal:
        summed -= t[low]
        low -= 1
    a, b = cumulated(t, summed, low), cumulated(t, summed + t[low + 1], low + 1)
    if goal < a and low > 2:
        summed -= t[low]
        low -= 1
        a, b = cumulated(t, summed, low), a
    elif goal > b and low < last:
        low += 1
        summed += t[low]
        a, b = b, cumulated(t, summed + t[low + 1], low + 1)
    left, right, rise = t[low], t[low + 1], b - a
    cube, square = left + right - 2.0 * rise, 3.0 * rise - 2.0 * left - right
    goal -= a
    x = min(max(goal / rise, 0.0), 1.0) if rise > 0.0 else 0.5
    for _ in range(2):  # from the chord: to 1e-7
        slope = (3.0 * cube * x + 2.0 * square) * x + left
        if slope > 0.0:
            x = min(max(x - (((cube * x + square) * x + left) * x - goal) / slope, 0.0), 1.0)
    return low + x


@compiled
def _holds(tables, X, beta, sigma):
    out = np.ones(len(sigma), dtype=np.bool_)
    for s in range(len(sigma)):
        for d in range(len(X)):
            if _window(tables, d, _dot(X[d], beta[s]), sigma[s])[1] == 0:
                out[s] = False
                break
    return out


@compiled
def _draw(tables, X, beta, sigma, index, keys):
    T, centre, step, half = tables[0], tables[2], tables[3], tables[7]
    out = np.full((len(sigma), len(T)), np.nan)
    t = np.empty(2 * half + 1)
    for s in range(len(sigma)):
        for d in range(len(T)):
            mean = _dot(X[d], beta[s])
            middle, stride = _window(tables, d, mean, sigma[s])
            if stride == 0:
                out[s, 0] = np.nan
                break
            start = centre[d] + (middle - T.shape[1] // 2) * step[d]
            ratio, q = _factors(step[d], start - mean, sigma[s])
            below, total = _fill(T[d], middle, half, ratio, q, t)
            place = _inverse(t, t[half], uniform_of(keys[d], index[s]) * total - below)
            out[s, d] = start + step[d] * (place - half)
    return out


def marginals(tables: GridTables, X: np.ndarray, beta: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Integrate the area effects out of the log-likelihood, at many hyperparameters.

    Parameters
    ----------
    tables : GridTables
    X : ndarray, shape (n, p)
    beta, sigma : ndarray, shapes (S, p) and (S,)

    Returns
    -------
    ndarray, shape (S,)
        Σ_d log ∫ exp ℓ_d(η) N(η; x_d'β, σ²) dη; NaN where the grids do not hold the posterior of every area,
        and have to be built at a nearer reference.
    """
    return _marginals(tables.arrays, X, beta, sigma)


def holds(tables: GridTables, X: np.ndarray, beta: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return whether the grids hold the posteriors of all areas, at hyperparameters as of `marginals`."""
    return _holds(tables.arrays, X, beta, sigma)


def area_marginals(tables: GridTables, X: np.ndarray, beta: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Return what `marginals` adds up, area by area: shape (S, n)."""
    return _area_marginals(tables.arrays, X, beta, sigma)


def area_moments(tables: GridTables, X: np.ndarray, beta: np.ndarray, sigma: float) -> np.ndarray:
    """Return the posterior means of u_d and of u_d² given β, shape (p,), and σ: shape (2, n)."""
    return _area_moments(tables.arrays, X, beta, sigma)


def mixture(
    tables: GridTables, X: np.ndarray, beta: np.ndarray, sigma: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the weight of every node in the posterior of every area, mixed over hyperparameters.

    Parameters
    ----------
    beta, sigma, weights : ndarray, shapes (S, p), (S,) and (S,)

    Returns
    -------
    ndarray, shape (n, K)
        Sums over nodes to the sum of `weights`: moments of any smooth function of η are weighted sums over
        nodes. All hyperparameters must be ones that the grids hold.
    """
    return _mixture(tables.arrays, X, beta, sigma, weights)


def expected(
    tables: GridTables, X: np.ndarray, beta: np.ndarray, sigma: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return posterior means of a function of η given hyperparameters that the grids hold, shape (S, n).

    Parameters
    ----------
    values : ndarray, shape (n, K)
        The function at the nodes.
    """
    return _expected(tables.arrays, X, beta, sigma, values)


def draw_effects(
    tables: GridTables,
    X: np.ndarray,
    beta: np.ndarray,
    sigma: np.ndarray,
    index: np.ndarray,
    keys: np.ndarray,
) -> np.ndarray:
    """Draw the linear predictor of every area, given hyperparameters: independent, one for each of them.

    The distribution function between the nodes is interpolated from its values and slopes, to an error of
    6e-6 in probability where the posterior is normal, 2e-5 where it is skewed.

    Parameters
    ----------
    beta, sigma : ndarray, shapes (S, p) and (S,)
    index : ndarray of uint64, shape (S,)
        Number of each draw: it names the random number together with the area.
    keys : ndarray of uint64, shape (n,)
        Streams of the areas.

    Returns
    -------
    ndarray, shape (S, n)
        NaN in column 0 where the grids do not hold the posterior of every area.
    """
    return _draw(tables.arrays, X, beta, sigma, index, keys)
