"""Kernels of the logit model by cells for very wide effects, point by point; see `unit_density`.

Given (β, σ) the log density of the effect u of an area is, up to a constant, T u - u² / 2σ² - Σ n_c log(1 +
e_c e^u), with T successes and e_c = exp(x_c'β) for its cells c. It is smooth and log-concave: the trapezoid
rule on equally spaced nodes around its mode is exact to rounding once the step is below the narrowest
deviation. The nodes follow the density as far as it reaches, and the step is halved until the sums over even
and odd nodes agree. A cell costs one exponential, and one product per node: logarithms are taken of products.

References
----------
Trefethen and Weideman (2014), SIAM Review 56, 385-458 (the trapezoid rule); Louis (1982), J. R. Stat. Soc. B
44, 226-233 (derivatives of an integrated likelihood).
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.glmm.integrals import inverse_of

__all__ = [
    "KERNELS_MOST",
    "derivatives",
    "draws",
    "expected",
    "marginals",
]

_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)
_STEP = 0.64  # of the nodes, in posterior deviations at the mode
_HALF = 12  # nodes on each side, to begin with
_FINER = 3  # times more nodes for draws
_FAR = -24.0  # log density, from its top, beyond which no nodes are needed: 4e-11
_EVEN = 3e-5  # difference of even and odd nodes; the error of all is about its square
KERNELS_MOST = 8192  # nodes of an area: a density that needs more gives NaN
_LARGE = 300.0  # linear predictors are cut here, and go on as straight lines
_FEW = 16.0  # trials up to which a power costs less than a logarithm
_FULL = 1e290  # products above are turned into logarithms


@inlined
def _odds(X, n, beta, low, high, odds):
    """exp(x'β) of the cells; returns what the cut at _LARGE leaves out of Σ n log(1 + e)."""
    over = 0.0
    for c in range(low, high):
        eta = 0.0
        for j in range(len(beta)):
            eta += X[c, j] * beta[j]
        if eta > _LARGE:
            over += n[c] * (eta - _LARGE)
            eta = _LARGE
        odds[c] = math.exp(max(eta, -_LARGE))
    return over


@inlined
def _mode(odds, n, low, high, total, precision, u):
    """Mode of the effect to a third of its deviation, and the curvature near it."""
    left, right, step, bend = -math.inf, math.inf, 0.0, precision
    for _ in range(300):
        b, slope, bend = math.exp(u), total - u * precision, precision
        for c in range(low, high):
            e = odds[c] * b
            q = 1.0 / (1.0 + e)
            p = e * q
            slope -= n[c] * p
            bend += n[c] * p * q
        step = slope / bend
        if abs(step) * math.sqrt(bend) < 0.3:
            break
        if slope > 0.0:
            left = u
        else:
            right = u
        u += min(max(step, -5.0), 5.0)
        if u <= left or u >= right:  # both are finite: it went over the one it did not come from
            u = 0.5 * (left + right)
    return u + step, bend


@inlined
def _flush(product, g):
    for k in range(len(g)):
        g[k] -= math.log(product[k])
        product[k] = 1.0


@inlined
def _fill(odds, n, low, high, total, precision, start, step, first, last, all_b, all_product, all_g):
    """Log density at the nodes start + k step, first <= k < last."""
    b, product, g = all_b[first:last], all_product[first:last], all_g[first:last]
    for k in range(len(b)):
        u = start + (first + k) * step
        b[k], product[k], g[k] = math.exp(u), 1.0, (total - 0.5 * u * precision) * u
    bound, largest = 1.0, b[-1]  # of all products
    for c in range(low, high):
        e, times = odds[c], n[c]
        growth = (1.0 + e * largest) ** times if times <= _FEW else math.inf
        if growth < _FULL and times == math.floor(times):
            if bound * growth > _FULL:
                _flush(product, g)
                bound = 1.0
            bound *= growth
            for _ in range(int(times)):
                for k in range(len(b)):
                    product[k] *= 1.0 + e * b[k]
        else:
            for k in range(len(b)):
                g[k] -= times * math.log(1.0 + e * b[k])
    _flush(product, g)


@inlined
def _density(odds, n, low, high, total, sigma, guess, finer, b, product, g):
    """Density of the effect at nodes, into `product`, relative to its top.

    Returns the mode; node 0 and the step; the range of nodes; the log of the top; the sum. The step is 0
    where KERNELS_MOST nodes are too few.
    """
    precision = 1.0 / (sigma * sigma)
    centre, bend = _mode(odds, n, low, high, total, precision, guess)
    step, middle = _STEP / (finer * math.sqrt(bend)), KERNELS_MOST // 2
    while True:
        start = centre - middle * step
        first, last = middle - finer * _HALF, middle + finer * _HALF
        _fill(odds, n, low, high, total, precision, start, step, first, last, b, product, g)
        top = g[first]
        for k in range(first, last):
            top = max(top, g[k])
        while g[first] > top + _FAR and first >= 8:
            first -= 8
            _fill(odds, n, low, high, total, precision, start, step, first, first + 8, b, product, g)
            for k in range(first, first + 8):
                top = max(top, g[k])
        while g[last - 1] > top + _FAR and last <= KERNELS_MOST - 8:
            last += 8
            _fill(odds, n, low, high, total, precision, start, step, last - 8, last, b, product, g)
            for k in range(last - 8, last):
                top = max(top, g[k])
        even, odd = 0.0, 0.0
        for k in range(first, last):
            product[k] = math.exp(g[k] - top)
            if k % 2 == 0:
                even += product[k]
            else:
                odd += product[k]
        if not math.isfinite(top) or first < 8 or last > KERNELS_MOST - 8:
            return centre, start, 0.0, first, last, top, even + odd
        if abs(even - odd) <= _EVEN * (even + odd):
            return centre, start, step, first, last, top, even + odd
        step *= 0.5


@compiled
def marginals(X, y, n, starts, beta, sigma, by_area):
    """Log-likelihood of each (β, σ): shape (S, 1), or by area (S, D). NaN where an integral fails."""
    D, size = len(starts) - 1, len(sigma)
    out = np.zeros((size, D if by_area else 1))
    odds = np.empty(len(X))
    b, product, g = np.empty(KERNELS_MOST), np.empty(KERNELS_MOST), np.empty(KERNELS_MOST)
    moment = np.empty(X.shape[1])
    for d in range(D):
        low, high = starts[d], starts[d + 1]
        if low == high:
            continue
        total, guess = 0.0, 0.0
        moment[:] = 0.0
        for c in range(low, high):
            total += y[c]
            for j in range(len(moment)):
                moment[j] += y[c] * X[c, j]
        for s in range(size):
            base = -_odds(X, n, beta[s], low, high, odds)
            for j in range(len(moment)):
                base += moment[j] * beta[s, j]
            guess, _, step, _, _, top, weight = _density(
                odds, n, low, high, total, sigma[s], guess, 1, b, product, g
            )
            value = base + top + math.log(weight * step / sigma[s]) - _LOG_ROOT_2PI if step > 0.0 else np.nan
            out[s, d if by_area else 0] += value
    return out


@compiled
def derivatives(X, y, n, starts, beta, sigma):
    """Log-likelihood of one (β, log σ), its gradient and minus its second derivatives, by Louis' identity."""
    D, p = len(starts) - 1, X.shape[1]
    value, gradient, information = 0.0, np.zeros(p + 1), np.zeros((p + 1, p + 1))
    odds = np.empty(len(X))
    b, product, g = np.empty(KERNELS_MOST), np.empty(KERNELS_MOST), np.empty(KERNELS_MOST)
    scores, mean = np.empty((KERNELS_MOST, p + 1)), np.empty(p + 1)
    for d in range(D):
        low, high = starts[d], starts[d + 1]
        if low == high:
            continue
        total = 0.0
        for c in range(low, high):
            total += y[c]
        base = -_odds(X, n, beta, low, high, odds)
        _, start, step, first, last, top, weight = _density(
            odds, n, low, high, total, sigma, 0.0, 1, b, product, g
        )
        if not step > 0.0:
            return np.nan, gradient, information
        square = 0.0
        for k in range(first, last):
            u = (start + k * step) / sigma
            product[k] /= weight
            square += product[k] * u * u
            scores[k, :p] = 0.0
            scores[k, p] = u * u - 1.0
        information[p, p] += 2.0 * square
        for c in range(low, high):
            bend = 0.0
            for k in range(first, last):
                e = odds[c] * b[k]
                q = 1.0 / (1.0 + e)
                bend += product[k] * e * q * q
                left = y[c] - n[c] * e * q
                for j in range(p):
                    scores[k, j] += left * X[c, j]
            for i in range(p):
                base += y[c] * X[c, i] * beta[i]
                for j in range(p):
                    information[i, j] += n[c] * bend * X[c, i] * X[c, j]
        mean[:] = 0.0
        for k in range(first, last):
            for j in range(p + 1):
                mean[j] += product[k] * scores[k, j]
        for k in range(first, last):
            for i in range(p + 1):
                for j in range(p + 1):
                    information[i, j] -= product[k] * (scores[k, i] - mean[i]) * (scores[k, j] - mean[j])
        gradient += mean
        value += base + top + math.log(weight * step / sigma) - _LOG_ROOT_2PI
    return value, gradient, information


@compiled
def draws(X, y, n, starts, beta, sigma, uniform):
    """Effects of all areas, shape (S, D), at the probabilities `uniform` of their distributions."""
    D, size = len(starts) - 1, len(sigma)
    out, odds = np.empty((size, D)), np.empty(len(X))
    b, product, g = np.empty(KERNELS_MOST), np.empty(KERNELS_MOST), np.empty(KERNELS_MOST)
    for d in range(D):
        low, high = starts[d], starts[d + 1]
        total, guess = 0.0, 0.0
        for c in range(low, high):
            total += y[c]
        for s in range(size):
            _odds(X, n, beta[s], low, high, odds)
            guess, start, step, first, last, _, weight = _density(
                odds, n, low, high, total, sigma[s], guess, _FINER, b, product, g
            )
            if not step > 0.0:
                out[s, d] = np.nan
                continue
            summed = 0.0
            for k in range(first, last):
                summed += product[k]
                b[k] = summed
            place = inverse_of(product[first:last], b[first:last], uniform[s, d] * weight)
            out[s, d] = start + step * (first + place)
    return out


@compiled
def expected(X, y, n, starts, others, size, others_starts, beta, sigma):
    """Conditional mean and mean square of each area's share, given (β, σ): shape (2, S, D).

    `others` and `size` are the designs and sizes of the population's cells.
    """
    D, S = len(starts) - 1, len(sigma)
    out, odds, own = np.empty((2, S, D)), np.empty(len(X)), np.empty(len(others))
    b, product, g = np.empty(KERNELS_MOST), np.empty(KERNELS_MOST), np.empty(KERNELS_MOST)
    for d in range(D):
        low, high, first_cell, last_cell = starts[d], starts[d + 1], others_starts[d], others_starts[d + 1]
        total, guess, people = 0.0, 0.0, 0.0
        for c in range(low, high):
            total += y[c]
        for c in range(first_cell, last_cell):
            people += size[c]
        for s in range(S):
            _odds(X, n, beta[s], low, high, odds)
            guess, _, step, first, last, _, weight = _density(
                odds, n, low, high, total, sigma[s], guess, 1, b, product, g
            )
            _odds(others, size, beta[s], first_cell, last_cell, own)
            inside, values = b[first:last], g[first:last]
            values[:] = 0.0
            for c in range(first_cell, last_cell):
                e, share = own[c], size[c] / people
                for k in range(len(inside)):
                    values[k] += share - share / (1.0 + e * inside[k])
            mean, square = 0.0, 0.0
            for k in range(first, last):
                mean += product[k] * g[k]
                square += product[k] * g[k] * g[k]
            out[0, s, d] = mean / weight if step > 0.0 else np.nan
            out[1, s, d] = square / weight
    return out
