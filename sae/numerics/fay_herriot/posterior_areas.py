"""Kernels of the Fay–Herriot posterior of every area: a mixture of normals over the nodes, without draws.

An area without a sample has an infinite sampling variance, `UNSAMPLED`: that alone tells it from others.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from sae.numerics.compile import compiled, inlined, inlined_sums

__all__ = ["AREA_BLOCK", "UNSAMPLED", "exceedance_kernel", "moments_kernel"]

UNSAMPLED = 1e300
AREA_BLOCK = 256
_REACH, _STEPS = 9.0, 64.0  # Φ is tabled on [-9, 9] in steps of 1 / 64: with a Taylor series exact to 1e-15
_GRID = np.arange(-_REACH * _STEPS, _REACH * _STEPS + 1.0) / _STEPS
_CDF, _PDF = ndtr(_GRID), np.exp(-0.5 * _GRID**2) / math.sqrt(2.0 * math.pi)
_TOLERANCE = 1e-4  # of a third-order step, relative to how the density bends: the error left is its cube
_WEIGHTLESS = 1e-17


@inlined_sums
def _fill_block(y, vardir, X, start, m, block):
    """Fill estimates, sampling variances and designs of m areas: one row each, as each column of X."""
    for i in range(m):
        block[0, i], block[1, i] = y[start + i], vardir[start + i]
    for j in range(len(X)):
        for i in range(m):
            block[2 + j, i] = X[j, start + i]


@inlined_sums
def _conditional(A, coefficients, roots, k, block, m, row, mean, sd, work):
    """Fill mean and standard deviation of m areas given the model variance of node k, into a row of each."""
    p = coefficients.shape[1]
    for i in range(m):
        work[0, i] = 0.0
        work[1, i] = 0.0
    for c in range(p):  # the root is upper triangular: column c ends at row c
        b, r = coefficients[k, c], roots[k, c, c]
        for i in range(m):
            work[0, i] += b * block[2 + c, i]
            work[2, i] = r * block[2 + c, i]
        for j in range(c % 2, c, 2):
            r, r1 = roots[k, j, c], roots[k, j + 1, c]
            for i in range(m):
                work[2, i] += r * block[2 + j, i] + r1 * block[3 + j, i]
        if c % 2 == 1:
            r = roots[k, 0, c]
            for i in range(m):
                work[2, i] += r * block[2, i]
        for i in range(m):
            work[1, i] += work[2, i] * work[2, i]
    for i in range(m):
        w = 1.0 / (A + block[1, i])
        shrink = block[1, i] * w
        mean[row, i] = work[0, i] + A * w * (block[0, i] - work[0, i])
        sd[row, i] = math.sqrt(shrink * (A + shrink * work[1, i]))


@inlined_sums
def _moments(weights, count, means, sds, m, moments):
    """Fill mean and variance of m mixtures."""
    for i in range(m):
        moments[0, i], moments[1, i] = 0.0, 0.0
    for k in range(count):
        w = weights[k]
        for i in range(m):
            moments[0, i] += w * means[k, i]
    for k in range(count):
        w = weights[k]
        for i in range(m):
            d = means[k, i] - moments[0, i]
            moments[1, i] += w * (sds[k, i] * sds[k, i] + d * d)


@inlined_sums
def _higher_moments(weights, count, means, sds, m, moments):
    """Fill the two next central moments, and turn the standard deviations into their inverses."""
    for i in range(m):
        moments[2, i], moments[3, i] = 0.0, 0.0
    for k in range(count):
        w = weights[k]
        for i in range(m):
            d = means[k, i] - moments[0, i]
            d2, s2 = d * d, sds[k, i] * sds[k, i]
            moments[2, i] += w * d * (d2 + 3.0 * s2)
            moments[3, i] += w * (d2 * (d2 + 6.0 * s2) + 3.0 * s2 * s2)
            sds[k, i] = 1.0 / sds[k, i]


@inlined_sums
def _mixture(weights, count, means, precisions, m, now, cdf, pdf, bend):
    """Fill distribution function, density and its slope of m mixtures at `now`.

    Φ and φ come from their tables by a Taylor series, with Hermite polynomials h.
    """
    for i in range(m):
        cdf[i] = 0.0
        pdf[i] = 0.0
        bend[i] = 0.0
    for k in range(count):
        w, row, inverse = weights[k], means[k, :m], precisions[k, :m]
        for i in range(m):
            z = min(max((now[i] - row[i]) * inverse[i], -_REACH), _REACH)
            cell = int(z * _STEPS + (_REACH * _STEPS + 0.5))
            a = (cell - _REACH * _STEPS) * (1.0 / _STEPS)
            d, a2, height = z - a, a * a, _PDF[cell]
            h2, h3, h4 = a2 - 1.0, a * (a2 - 3.0), (a2 - 6.0) * a2 + 3.0
            series = 1.0 + d * (-a / 2.0 + d * (h2 / 6.0 + d * (-h3 / 24.0 + d * (h4 / 120.0))))
            slope = 1.0 + d * (-a + d * (h2 / 2.0 + d * (-h3 / 6.0 + d * (h4 / 24.0))))
            density = w * inverse[i] * height * slope
            cdf[i] += w * (_CDF[cell] + height * d * series)
            pdf[i] += density
            bend[i] -= density * z * inverse[i]


@inlined
def _quantile(probability, z, weights, count, means, precisions, m, moments, work, now):
    """Fill the quantile of m mixtures: third-order steps from the Cornish–Fisher start, inside a bracket."""
    mean, variance, third, fourth = moments[0], moments[1], moments[2], moments[3]
    low, high, cdf, pdf, bend = work[0], work[1], work[2], work[3], work[4]
    for i in range(m):
        low[i], high[i] = np.inf, -np.inf
    for k in range(count):
        for i in range(m):
            q = means[k, i] + z / precisions[k, i]
            low[i], high[i] = min(low[i], q), max(high[i], q)
    for i in range(m):
        sd = math.sqrt(variance[i])
        skew, excess = third[i] / (variance[i] * sd), fourth[i] / (variance[i] * variance[i]) - 3.0
        x = z + (z * z - 1.0) * skew / 6.0 + z * (z * z - 3.0) * excess / 24.0
        x -= z * (2.0 * z * z - 5.0) * skew * skew / 36.0
        now[i] = min(max(mean[i] + sd * x, low[i]), high[i])
    for _ in range(100):
        _mixture(weights, count, means, precisions, m, now, cdf, pdf, bend)
        worst = 0.0
        for i in range(m):
            excess = cdf[i] - probability
            if excess < 0.0:
                low[i] = now[i]
            else:
                high[i] = now[i]
            newton = excess / pdf[i]
            following = now[i] - newton / (1.0 - 0.5 * newton * bend[i] / pdf[i])
            if not (low[i] <= following <= high[i]):
                following = 0.5 * (low[i] + high[i])
            # how far the density is straight; a closed bracket is as good as a small step
            length = min(math.sqrt(variance[i]), abs(pdf[i] / bend[i]))
            open_ = high[i] - low[i] > 1e-13 * (abs(low[i]) + abs(high[i]))
            if abs(following - now[i]) > _TOLERANCE * length and open_:
                worst = 1.0
            now[i] = following
        if worst == 0.0:
            break


@compiled
def moments_kernel(
    node_offsets,
    sds,
    weights,
    coefficients,
    roots,
    y,
    vardir,
    X,
    offsets,
    probabilities,
    normal_quantiles,
    mean,
    sd,
    quantiles,
    means,
    spreads,
    kept,
    moments,
    work,
    block,
):
    """Fill posterior mean, standard deviation and quantiles of every area of every problem.

    `means` and `spreads`, shape (most nodes, AREA_BLOCK), `kept` (most nodes,), `moments` (4, AREA_BLOCK),
    `work` (6, AREA_BLOCK) and `block` (p + 2, AREA_BLOCK) are work space.
    """
    now = work[5]
    for problem in range(len(offsets) - 1):
        for start in range(offsets[problem], offsets[problem + 1], AREA_BLOCK):
            m = min(AREA_BLOCK, offsets[problem + 1] - start)
            _fill_block(y, vardir, X, start, m, block)
            count = np.int64(0)  # typed: a bare 0 would have what it is passed to compiled twice
            for k in range(node_offsets[problem], node_offsets[problem + 1]):
                if weights[k] > _WEIGHTLESS:
                    kept[count] = weights[k]
                    _conditional(
                        sds[k] * sds[k], coefficients, roots, k, block, m, count, means, spreads, work
                    )
                    count += 1
            _moments(kept, count, means, spreads, m, moments)
            for i in range(m):
                mean[start + i], sd[start + i] = moments[0, i], math.sqrt(moments[1, i])
            if len(probabilities):
                _higher_moments(kept, count, means, spreads, m, moments)
            for q in range(len(probabilities)):
                _quantile(
                    probabilities[q], normal_quantiles[q], kept, count, means, spreads, m, moments, work, now
                )
                for i in range(m):
                    quantiles[q, start + i] = now[i]


@compiled
def exceedance_kernel(
    node_offsets, sds, weights, coefficients, roots, y, vardir, X, offsets, threshold, work, block, out
):
    """Fill the posterior probability of every area that it lies above its threshold.

    `work`, shape (9, AREA_BLOCK), and `block` (p + 2, AREA_BLOCK) are work space.
    """
    means, precisions, limits, share = work[3:4], work[4:5], work[5:6], np.ones(1)
    for problem in range(len(offsets) - 1):
        for start in range(offsets[problem], offsets[problem + 1], AREA_BLOCK):
            m = min(AREA_BLOCK, offsets[problem + 1] - start)
            _fill_block(y, vardir, X, start, m, block)
            for i in range(m):
                out[start + i], limits[0, i] = 0.0, threshold[start + i]
            for k in range(node_offsets[problem], node_offsets[problem + 1]):
                _conditional(sds[k] * sds[k], coefficients, roots, k, block, m, 0, means, precisions, work)
                for i in range(m):
                    precisions[0, i] = 1.0 / precisions[0, i]
                _mixture(share, 1, limits, precisions, m, means[0], work[6], work[7], work[8])
                for i in range(m):
                    out[start + i] += weights[k] * work[6, i]
