"""Density of an area's effect under the logit model by cells, at many hyperparameters side by side.

Given (β, σ) the log density of the effect u of an area is, up to a constant, T u - u² / 2σ² - Σ n_c log(1 +
e_c e^u), with T successes and e_c = exp(x_c'β) for its cells c. It is smooth and log-concave: the trapezoid
rule on equally spaced nodes around its mode is exact to rounding once the step is below the narrowest
deviation. The nodes follow the density as far as it reaches, and the step is halved until the sums over even
and odd nodes agree. Where p_c are the shares at some u near the mode, a cell adds n_c log(1 + p_c (e^x - 1))
at u + x: one product per node, and logarithms are taken of products.

Points of the hyperparameters lie side by side, `_WIDE` at a time: every loop runs on the vector units. What
numba compiles of it is one kernel, which all others take their nodes from.

References
----------
Trefethen and Weideman (2014), SIAM Review 56, 385-458 (the trapezoid rule).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.glmm.exponentials import exponentials
from sae.numerics.glmm.unit_scalar import marginals

__all__ = ["AreaDensities", "densities", "log_integrals"]

_WIDE = 64  # points of the hyperparameters side by side
_MIDDLE = 512  # place of the middle node; wider densities are for `unit_scalar`
_STEP = 0.64  # of the nodes, in posterior deviations at the mode
_HALF = 10  # nodes on each side, to begin with
_MORE = 4  # nodes that are added at an end, at least
_EDGE = 1e-9  # weight of the last node, as a share of all
_EVEN = 3e-5  # difference of even and odd nodes; the error of all is at most about its square
_NEAR = 0.3  # deviations from the mode within which Newton steps end: nodes lie around where the next leads
_LARGE = 300.0  # linear predictors are cut here, and go on as straight lines
_FEW = 8  # trials up to which a cell is as many rows of one
_FAR = 400.0  # of effects: beyond, shares are 0 or 1
_FULL = 600.0  # of the logarithm of a product: numbers end at exp(709)
_KEPT = 1_000_000  # weights of nodes at a time
_POINTS = 512  # at a time, in the order of σ
# rows of the points' room
_SUM, _PEAK, _PRECISION, _U, _B, _SLOPE, _BEND, _TOP, _PRODUCT, _LEFT, _RIGHT, _SCRATCH = range(12)
_SHIFT, _SPACE, _TILT, _EVENS, _ODDS, _ROWS = range(12, 18)


@inlined
def _odds(X, y, n, columns, begin, low, high, odds, points):
    """exp(x'β) of the cells, the sum of y x'β less what the cut at _LARGE leaves out, and the largest x'β."""
    base, peak = points[_SUM], points[_PEAK]
    for s in range(len(base)):
        base[s], peak[s] = 0.0, -_LARGE
    for c in range(low, high):
        row = odds[c - low]
        for s in range(len(row)):
            row[s] = 0.0
        for j in range(len(columns)):
            x = X[c, j]
            for s in range(len(row)):
                row[s] += x * columns[j, begin + s]
        for s in range(len(row)):
            base[s] += y[c] * row[s] - n[c] * max(row[s] - _LARGE, 0.0)
        for s in range(len(row)):
            row[s] = min(max(row[s], -_LARGE), _LARGE)
            peak[s] = max(peak[s], row[s])
        exponentials(row, points[_SCRATCH])


@inlined
def _slopes(odds, n, low, size, total, shares, points):
    """At the effects u: shares of the cells, slope, curvature and value of the log density."""
    u, b, slope, bend, top = points[_U], points[_B], points[_SLOPE], points[_BEND], points[_TOP]
    precision, product, most = points[_PRECISION], points[_PRODUCT], 0.0
    for s in range(len(u)):
        b[s] = min(max(u[s], -_FAR), _FAR)
        most = max(most, b[s] + points[_PEAK, s])
        slope[s], bend[s] = total - u[s] * precision[s], precision[s]
        top[s], product[s] = (total - 0.5 * u[s] * precision[s]) * u[s], 1.0
    exponentials(b, points[_SCRATCH])
    many, taken = _FULL / (most + 0.7), 0.0  # log(1 + e^x) <= max(x, 0) + log 2
    for c in range(size):
        times, row, share = n[low + c], odds[c], shares[c]
        for s in range(len(u)):
            e = row[s] * b[s]
            share[s] = e / (1.0 + e)
        for s in range(len(u)):
            slope[s] -= times * share[s]
            bend[s] += times * share[s] * (1.0 - share[s])
        if times > min(many, _FEW) or times != math.floor(times):
            for s in range(len(u)):
                top[s] -= times * math.log(1.0 + row[s] * b[s])
            continue
        if taken + times > many:
            for s in range(len(u)):
                top[s] -= math.log(product[s])
                product[s] = 1.0
            taken = 0.0
        taken += times
        for _ in range(int(times)):
            for s in range(len(u)):
                product[s] *= 1.0 + row[s] * b[s]
    for s in range(len(u)):
        top[s] -= math.log(product[s])


@inlined
def _near_modes(odds, n, low, size, total, shares, points):
    """Newton steps to within a deviation of every mode; what `_slopes` gives there."""
    u, slope, bend, left, right = points[_U], points[_SLOPE], points[_BEND], points[_LEFT], points[_RIGHT]
    for s in range(len(u)):
        left[s], right[s] = -math.inf, math.inf
    for _ in range(300):
        _slopes(odds, n, low, size, total, shares, points)
        settled = True
        for s in range(len(u)):
            step = slope[s] / bend[s]
            if abs(step) * math.sqrt(bend[s]) < _NEAR:
                continue
            settled = False
            if slope[s] > 0.0:
                left[s] = u[s]
            else:
                right[s] = u[s]
            u[s] += min(max(step, -5.0), 5.0)
            if u[s] <= left[s] or u[s] >= right[s]:  # both are finite: it went over the other
                u[s] = 0.5 * (left[s] + right[s])
        if settled:
            break


@inlined
def _flush(product, logs, first, last):
    for k in range(first, last):
        row, log = product[k], logs[k]
        for s in range(len(row)):
            log[s] -= math.log(row[s])
            row[s] = 1.0


@inlined
def _raise(product, ratio, share, times, first, last, power):
    """Multiply by (1 + share ratio) to a whole number of times, by squaring."""
    for k in range(first, last):
        row, t, left = product[k], ratio[k], times
        for s in range(len(row)):
            power[s] = 1.0 + share[s] * t[s]
        while left:
            odd, left = left % 2, left // 2
            for s in range(len(row)):
                row[s] *= power[s] if odd else 1.0
                power[s] *= power[s]


@inlined
def _fill(shares, n, low, size, first, last, points, nodes, rows):
    """Density at the nodes first to last over that at u."""
    weights, ratio, product, logs = nodes[0], nodes[1], nodes[2], nodes[3]
    shift, step, tilt, precision = points[_SHIFT], points[_SPACE], points[_TILT], points[_PRECISION]
    scratch, farthest, count, taken, trials = points[_SCRATCH], 1e-6, 0, 0, 0.0
    for c in range(size):
        trials += n[low + c]
    for k in range(first, last):
        log, t, row = logs[k], ratio[k], product[k]
        for s in range(len(row)):
            x = shift[s] + (k - _MIDDLE) * step[s]
            farthest = max(farthest, abs(x))
            log[s] = (tilt[s] - 0.5 * x * precision[s]) * x - trials * max(x - _FULL, 0.0)
            t[s], row[s] = min(max(x, -_FULL), _FULL), 1.0
        exponentials(t, scratch)
        for s in range(len(row)):
            t[s] -= 1.0
    many = int(_FULL / farthest)  # a factor lies between 1 and e^x
    for c in range(size):
        times, share = n[low + c], shares[c]
        if many < 4 or times != math.floor(times):
            for k in range(first, last):
                for s in range(len(share)):
                    logs[k, s] -= times * math.log(1.0 + share[s] * ratio[k, s])
        elif times <= _FEW:
            for _ in range(int(times)):
                rows[count] = c
                count += 1
        else:
            left = int(times)
            while left > 0:
                if taken == many:
                    _flush(product, logs, first, last)
                    taken = 0
                now = min(left, many - taken)
                _raise(product, ratio, share, now, first, last, scratch)
                left -= now
                taken += now
    while count % 4:  # rows are taken by fours: the last of them may be factors of 1
        rows[count] = size
        count += 1
    for r in range(0, count, 4):
        if taken + 4 > many:
            _flush(product, logs, first, last)
            taken = 0
        taken += 4
        a, b, c, d = shares[rows[r]], shares[rows[r + 1]], shares[rows[r + 2]], shares[rows[r + 3]]
        for k in range(first, last):
            row, t = product[k], ratio[k]
            for s in range(len(row)):
                x = t[s]
                row[s] *= (1.0 + a[s] * x) * (1.0 + b[s] * x) * ((1.0 + c[s] * x) * (1.0 + d[s] * x))
    for k in range(first, last):
        weight, log, row = weights[k], logs[k], product[k]
        for s in range(len(row)):
            weight[s] = min(max(log[s], -_FULL - 100.0), _FULL + 100.0)
        exponentials(weight, scratch)
        for s in range(len(row)):
            weight[s] /= row[s]


@inlined
def _beyond(values, totals, share):
    """Whether any value is more than a share of its total; NaN are left alone."""
    beyond = False
    for s in range(len(totals)):
        beyond |= abs(values[s]) > share * totals[s]
    return beyond


@inlined
def _nodes(shares, n, low, size, finer, points, nodes, rows):
    """Fill the nodes that the densities need; the first, and that behind the last."""
    step, total, odd, half = points[_SPACE], points[_EVENS], points[_ODDS], finer * _HALF
    first, last = _MIDDLE - half, _MIDDLE + half + 1
    begin, end = first, last
    while True:
        _fill(shares, n, low, size, begin, end, points, nodes, rows)
        for s in range(len(step)):
            total[s], odd[s] = 0.0, 0.0
        for k in range(first, last):
            row, sign = nodes[0, k], 1.0 - 2.0 * (k % 2)
            for s in range(len(step)):
                total[s] += row[s]
                odd[s] += sign * row[s]
        more = max(_MORE, (last - first) // 4)  # in proportion: an end far off is reached in few steps
        if first > 0 and _beyond(nodes[0, first], total, _EDGE):
            begin, end = max(first - more, 0), first
            first = begin
        elif last < 2 * _MIDDLE and _beyond(nodes[0, last - 1], total, _EDGE):
            begin, end = last, min(last + more, 2 * _MIDDLE)
            last = end
        elif 2 * half < _MIDDLE and _beyond(odd, total, _EVEN):
            half *= 2
            for s in range(len(step)):
                step[s] *= 0.5
            first, last = _MIDDLE - half, _MIDDLE + half + 1
            begin, end = first, last
        else:
            return first, last


@compiled
def _densities(X, y, n, starts, columns, sigma, finer, kept):
    """Log integrals, middle nodes and steps, and nodes needed; weights of nodes into `kept`, (D, K, S)."""
    D, size, most, room = len(starts) - 1, len(sigma), 1, kept.shape[1] // 2
    for d in range(D):
        most = max(most, starts[d + 1] - starts[d])
    wide, needed = min(_WIDE, size), 0
    value, place, space = np.zeros((D, size)), np.zeros((D, size)), np.zeros((D, size))
    odds, shares, rows = (
        np.empty((most, wide)),
        np.empty((most + 1, wide)),
        np.empty(_FEW * most + 3, np.int64),
    )
    points, nodes = np.empty((_ROWS, wide)), np.empty((4, 2 * _MIDDLE, wide))
    u, bend, step = points[_U], points[_BEND], points[_SPACE]
    for d in range(D):
        low, high, total = starts[d], starts[d + 1], 0.0
        if low == high and not kept.shape[1]:
            continue
        for c in range(low, high):
            total += y[c]
        for s in range(wide):
            u[s] = 0.0
            shares[high - low, s] = 0.0
        for strip in range(0, size, wide):
            begin = min(strip, size - wide)  # the last strip takes some points of the one before again
            for s in range(wide):
                points[_PRECISION, s] = 1.0 / (sigma[begin + s] * sigma[begin + s])
            _odds(X, y, n, columns, begin, low, high, odds, points)
            _near_modes(odds, n, low, high - low, total, shares, points)
            for s in range(wide):
                points[_SHIFT, s] = points[_SLOPE, s] / bend[s]
                points[_TILT, s] = total - u[s] * points[_PRECISION, s]
                step[s] = _STEP / (finer * math.sqrt(bend[s]))
            first, last = _nodes(shares, n, low, high - low, finer, points, nodes, rows)
            needed = max(needed, _MIDDLE - first, last - _MIDDLE)
            for s in range(wide):
                weight = points[_EVENS, s]
                ends = max(nodes[0, first, s], nodes[0, last - 1, s])
                if not (ends <= _EDGE * weight and abs(points[_ODDS, s]) <= _EVEN * weight < math.inf):
                    step[s] = math.nan
                log = math.log(weight * step[s] / sigma[begin + s])
                value[d, begin + s] = points[_SUM, s] + points[_TOP, s] + log - 0.5 * math.log(2.0 * math.pi)
                place[d, begin + s] = u[s] + points[_SHIFT, s]
                space[d, begin + s] = step[s]
            for k in range(max(first, _MIDDLE - room), min(last, _MIDDLE - room + kept.shape[1])):
                for s in range(wide):
                    kept[d, k - _MIDDLE + room, begin + s] = nodes[0, k, s] / points[_EVENS, s]
    return value, place, space, needed


def log_integrals(
    X: np.ndarray, y: np.ndarray, n: np.ndarray, starts: np.ndarray, beta: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """Return log-likelihoods of areas at (β, σ), the effect integrated out: (D, S); NaN where that fails.

    Parameters
    ----------
    X, y, n, starts : ndarray
        As of `Cells`.
    beta, sigma : ndarray, shapes (S, p) and (S,)
    """
    order = np.argsort(sigma, kind="stable")  # points side by side need about the same nodes
    nothing, out = np.empty((0, 0, len(sigma))), np.empty((len(starts) - 1, len(sigma)))
    out[:, order] = _densities(
        X, y, n, starts, np.ascontiguousarray(beta[order].T), sigma[order], 1, nothing
    )[0]
    wide = np.isnan(out).any(axis=0)
    if wide.any():
        out[:, wide] = marginals(X, y, n, starts, beta[wide], sigma[wide], True).T
    return out


@dataclass(frozen=True, eq=False)
class AreaDensities:
    """Densities of the effects of some areas on nodes of their own.

    Attributes
    ----------
    areas : slice
    points : ndarray of int, shape (S,)
        Which of the hyperparameters.
    value, middle, step : ndarray, shape (D, S)
        Log-likelihood with the effect integrated out, NaN where it failed; the middle node; their distance.
    weights : ndarray, shape (D, K, S)
        Of the nodes middle + (k - K // 2) step: their sum is 1.
    """

    areas: slice
    points: np.ndarray
    value: np.ndarray
    middle: np.ndarray
    step: np.ndarray
    weights: np.ndarray


def densities(
    X: np.ndarray,
    y: np.ndarray,
    n: np.ndarray,
    starts: np.ndarray,
    beta: np.ndarray,
    sigma: np.ndarray,
    finer: int = 1,
) -> Iterator[AreaDensities]:
    """Give the densities of areas and points, as many at a time as the memory allows; see `log_integrals`.

    Parameters
    ----------
    finer : int
        How many times more nodes than the integral needs.
    """
    order, D = np.argsort(sigma, kind="stable"), len(starts) - 1
    for begin in range(0, len(sigma), _POINTS):
        points = order[begin : begin + _POINTS]
        columns, room, first = np.ascontiguousarray(beta[points].T), (_HALF + _MORE + 1) * finer, 0
        while first < D:
            count = max(_KEPT // ((2 * room + 1) * len(points)), 1)
            areas = slice(first, min(first + count, D))
            kept = np.zeros((areas.stop - first, 2 * room + 1, len(points)))
            own = starts[first : areas.stop + 1]
            value, middle, step, needed = _densities(X, y, n, own, columns, sigma[points], finer, kept)
            if needed > room:
                room = needed
                continue
            yield AreaDensities(areas, points, value, middle, step, kept)
            first = areas.stop
