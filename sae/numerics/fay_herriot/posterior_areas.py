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


@inlined
def _normal(z):
    """Return Φ(z) and its density φ(z)."""
    z = min(max(z, -_REACH), _REACH)
    k = int(z * _STEPS + (_REACH * _STEPS + 0.5))
    a = (k - _REACH * _STEPS) * (1.0 / _STEPS)
    d = z - a
    a2 = a * a
    h2, h3, h4 = a2 - 1.0, a * (a2 - 3.0), (a2 - 6.0) * a2 + 3.0  # Hermite polynomials
    pdf = _PDF[k]
    series = 1.0 + d * (-a / 2.0 + d * (h2 / 6.0 + d * (-h3 / 24.0 + d * (h4 / 120.0))))
    slope = 1.0 + d * (-a + d * (h2 / 2.0 + d * (-h3 / 6.0 + d * (h4 / 24.0))))
    return _CDF[k] + pdf * d * series, pdf * slope


@inlined_sums
def _conditional(A, coefficients, root, y, vardir, X, start, m, mean, sd, work):
    """Fill mean and standard deviation of m areas from `start` on, given the model variance."""
    p = X.shape[0]
    quad, part = work[0, :m], work[1, :m]
    direct, D = y[start : start + m], vardir[start : start + m]
    mean, sd = mean[:m], sd[:m]
    for i in range(m):
        mean[i] = 0.0
        quad[i] = 0.0
    for c in range(p):
        x, b = X[c, start : start + m], coefficients[c]
        for i in range(m):
            mean[i] += b * x[i]
    for c in range(p):  # the root is upper triangular
        j = 0
        x, r = X[0, start : start + m], root[0, c]
        if c % 2 == 1:
            x1, r1 = X[1, start : start + m], root[1, c]
            for i in range(m):
                part[i] = r * x[i] + r1 * x1[i]
            j = 2
        else:
            for i in range(m):
                part[i] = r * x[i]
            j = 1
        while j < c:
            x, r = X[j, start : start + m], root[j, c]
            x1, r1 = X[j + 1, start : start + m], root[j + 1, c]
            for i in range(m):
                part[i] += r * x[i] + r1 * x1[i]
            j += 2
        for i in range(m):
            quad[i] += part[i] * part[i]
    for i in range(m):
        w = 1.0 / (A + D[i])
        shrink = D[i] * w
        mean[i] += A * w * (direct[i] - mean[i])
        sd[i] = math.sqrt(shrink * (A + shrink * quad[i]))


@inlined_sums
def _mean_and_spread(weights, count, means, sds, m, mean, variance, third, fourth):
    """Fill mean, variance and the two next central moments of m mixtures."""
    for i in range(m):
        mean[i] = 0.0
        variance[i] = 0.0
        third[i] = 0.0
        fourth[i] = 0.0
    for k in range(count):
        w, row = weights[k], means[k, :m]
        for i in range(m):
            mean[i] += w * row[i]
    for k in range(count):
        w, row, spread = weights[k], means[k, :m], sds[k, :m]
        for i in range(m):
            d = row[i] - mean[i]
            d2, s2 = d * d, spread[i] * spread[i]
            variance[i] += w * (s2 + d2)
            third[i] += w * d * (d2 + 3.0 * s2)
            fourth[i] += w * (d2 * (d2 + 6.0 * s2) + 3.0 * s2 * s2)


@inlined_sums
def _mixture(weights, count, means, precisions, m, now, cdf, pdf, bend):
    """Fill distribution function, density and its slope of m mixtures at `now`."""
    for i in range(m):
        cdf[i] = 0.0
        pdf[i] = 0.0
        bend[i] = 0.0
    for k in range(count):
        w, row, inverse = weights[k], means[k, :m], precisions[k, :m]
        for i in range(m):
            z = (now[i] - row[i]) * inverse[i]
            c, d = _normal(z)
            d *= w * inverse[i]
            cdf[i] += w * c
            pdf[i] += d
            bend[i] -= d * z * inverse[i]


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
):
    """Fill posterior mean, standard deviation and quantiles of every area of every problem.

    `means` and `spreads`, shape (most nodes, AREA_BLOCK), `kept` (most nodes,), `moments` (4, AREA_BLOCK) and
    `work` (6, AREA_BLOCK) are work space.
    """
    now = work[5]
    for problem in range(len(offsets) - 1):
        for start in range(offsets[problem], offsets[problem + 1], AREA_BLOCK):
            m = min(AREA_BLOCK, offsets[problem + 1] - start)
            count = np.int64(0)  # typed: a bare 0 would have what it is passed to compiled twice
            for k in range(node_offsets[problem], node_offsets[problem + 1]):
                if weights[k] > _WEIGHTLESS:
                    kept[count] = weights[k]
                    _conditional(
                        sds[k] * sds[k],
                        coefficients[k],
                        roots[k],
                        y,
                        vardir,
                        X,
                        start,
                        m,
                        means[count],
                        spreads[count],
                        work,
                    )
                    count += 1
            _mean_and_spread(kept, count, means, spreads, m, moments[0], moments[1], moments[2], moments[3])
            for i in range(m):
                mean[start + i], sd[start + i] = moments[0, i], math.sqrt(moments[1, i])
            if len(probabilities):
                for k in range(count):
                    for i in range(m):
                        spreads[k, i] = 1.0 / spreads[k, i]
            for q in range(len(probabilities)):
                _quantile(
                    probabilities[q], normal_quantiles[q], kept, count, means, spreads, m, moments, work, now
                )
                for i in range(m):
                    quantiles[q, start + i] = now[i]


@compiled
def exceedance_kernel(
    node_offsets, sds, weights, coefficients, roots, y, vardir, X, offsets, threshold, work, out
):
    """Fill the posterior probability of every area that it lies above its threshold.

    `work` is work space, shape (4, AREA_BLOCK).
    """
    mean, spread = work[2], work[3]
    for problem in range(len(offsets) - 1):
        for start in range(offsets[problem], offsets[problem + 1], AREA_BLOCK):
            m = min(AREA_BLOCK, offsets[problem + 1] - start)
            for i in range(m):
                out[start + i] = 0.0
            for k in range(node_offsets[problem], node_offsets[problem + 1]):
                _conditional(
                    sds[k] * sds[k], coefficients[k], roots[k], y, vardir, X, start, m, mean, spread, work
                )
                for i in range(m):
                    out[start + i] += weights[k] * _normal((mean[i] - threshold[start + i]) / spread[i])[0]
