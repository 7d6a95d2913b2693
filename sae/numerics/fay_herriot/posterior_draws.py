"""Kernels of exact, independent joint draws from the Fay–Herriot posterior: σ, then β | σ, then θ | β, σ.

The density of σ is interpolated between its nodes by polynomials of degree 7 in its logarithm, and drawn from
piecewise exponentials that lie above it, with rejection; coefficients and their root are interpolated alike.

Every area tile and every block of draws has a stream of its own, so that more draws, more problems or another
number of threads change no number.
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import compiled, inlined, inlined_sums
from sae.numerics.random.normals import fill_normals, new_stream, uniform

__all__ = ["DRAW_BLOCK", "TILE", "areas_kernel", "hyper_kernel"]

TILE = 1024  # areas whose data and draw stay in the second cache
DRAW_BLOCK = 64
_POINTS = 8
_SIGNED = np.array([1.0, -7.0, 21.0, -35.0, 35.0, -21.0, 7.0, -1.0])  # barycentric, equidistant points
_GUIDE = 256


@inlined
def _lagrange(place, count, weights):
    """Fill the weights of interpolation at `place`, in spacings; return the first node they belong to."""
    first = min(max(int(place) - 3, 0), count - _POINTS)
    total = 0.0
    for k in range(_POINTS):
        apart = place - first - k
        if abs(apart) < 1e-13:
            for j in range(_POINTS):
                weights[j] = 1.0 if j == k else 0.0
            return first
        weights[k] = _SIGNED[k] / apart
        total += weights[k]
    for k in range(_POINTS):
        weights[k] /= total
    return first


@inlined
def _interpolated(place, heights, weights):
    first = _lagrange(place, len(heights), weights)
    total = 0.0
    for k in range(_POINTS):
        total += weights[k] * heights[first + k]
    return total


@inlined
def _envelope(heights, weights, cells, cumulative, guide):
    """Fill bounds of the density in every cell between two nodes, and the mass below the upper one.

    `cells`, shape (count - 1, 3): slope of the chord of the logarithm, how far the density rises above it,
    and by how much less anywhere in the cell.
    """
    count = len(heights)
    total = 0.0
    for j in range(count - 1):
        slope = heights[j + 1] - heights[j]
        above, below = 0.0, 0.0
        for part in (0.25, 0.5, 0.75):
            gap = _interpolated(j + part, heights, weights) - heights[j] - part * slope
            above, below = max(above, gap), min(below, gap)
        above, below = 1.2 * above + 1e-9, 1.2 * below - 1e-9
        cells[j, 0], cells[j, 1], cells[j, 2] = slope, above, math.exp(below - above)
        width = math.expm1(slope) / slope if abs(slope) > 1e-9 else 1.0
        total += math.exp(heights[j] + above) * width
        cumulative[j] = total
    cell = 0
    for g in range(_GUIDE):
        cumulative_target = total * g / _GUIDE
        while cell < count - 2 and cumulative[cell] <= cumulative_target:
            cell += 1
        guide[g] = cell
    return total


@inlined
def _place(state, total, heights, cells, cumulative, guide, weights):
    """Draw from the interpolated density: a place in units of the spacing."""
    while True:
        u = uniform(state)
        cell = guide[int(u * _GUIDE)]
        mass = u * total
        while cell < len(heights) - 2 and cumulative[cell] <= mass:
            cell += 1
        before = cumulative[cell - 1] if cell > 0 else 0.0
        share = (mass - before) / (cumulative[cell] - before)
        slope = cells[cell, 0]
        inside = math.log1p(share * math.expm1(slope)) / slope if abs(slope) > 1e-9 else share
        accept = uniform(state)
        if accept <= cells[cell, 2]:
            return cell + inside
        exact = _interpolated(cell + inside, heights, weights)
        if math.log(accept) <= exact - heights[cell] - slope * inside - cells[cell, 1]:
            return cell + inside


@inlined
def _hyper(
    key,
    start,
    stop,
    begin,
    spacing,
    unit,
    heights,
    coefficients,
    roots,
    total,
    cells,
    cumulative,
    guide,
    weights,
    z,
    sd,
    beta,
):
    """Fill standard deviations and coefficients of the draws start .. stop, a multiple of a block from 0."""
    p = coefficients.shape[1]
    for block in range(start // DRAW_BLOCK, (stop + DRAW_BLOCK - 1) // DRAW_BLOCK):
        state = new_stream(key, block)
        for s in range(block * DRAW_BLOCK, min((block + 1) * DRAW_BLOCK, stop)):
            place = _place(state, total, heights, cells, cumulative, guide, weights)
            t = begin + spacing * place
            sd[s - start] = unit * math.exp(t - math.exp(-t))
            first = _lagrange(place, len(heights), weights)
            fill_normals(state, z)
            for j in range(p):
                value = 0.0
                for k in range(_POINTS):
                    inner = coefficients[first + k, j]
                    for c in range(j, p):
                        inner += roots[first + k, j, c] * z[c]
                    value += weights[k] * inner
                beta[s - start, j] = value


@inlined_sums
def _areas(A, beta, y, vardir, X, start, m, fitted, out):
    """Turn m standard normals in `out` into true values of the areas from `start` on."""
    p = X.shape[0]
    direct, D, fitted, out = y[start : start + m], vardir[start : start + m], fitted[:m], out[:m]
    j = p % 3
    if j == 0:
        for i in range(m):
            fitted[i] = 0.0
    elif j == 1:
        x, b = X[0, start : start + m], beta[0]
        for i in range(m):
            fitted[i] = b * x[i]
    else:
        x, b, x1, b1 = X[0, start : start + m], beta[0], X[1, start : start + m], beta[1]
        for i in range(m):
            fitted[i] = b * x[i] + b1 * x1[i]
    while j < p:
        x, x1, x2 = X[j, start : start + m], X[j + 1, start : start + m], X[j + 2, start : start + m]
        b, b1, b2 = beta[j], beta[j + 1], beta[j + 2]
        for i in range(m):
            fitted[i] += b * x[i] + b1 * x1[i] + b2 * x2[i]
        j += 3
    for i in range(m):
        w = 1.0 / (A + D[i])
        out[i] = fitted[i] + A * w * (direct[i] - fitted[i]) + math.sqrt(A * (w * D[i])) * out[i]


@compiled
def hyper_kernel(keys, node_offsets, begins, spacings, units, heights, coefficients, roots, n, sd, beta):
    """Fill the first n draws of standard deviation and coefficients of every problem: (P, n), (P, n, p)."""
    most = 0
    for problem in range(len(keys)):
        most = max(most, node_offsets[problem + 1] - node_offsets[problem])
    cells, cumulative, guide = np.empty((most, 3)), np.empty(most), np.empty(_GUIDE, np.int64)
    weights, z = np.empty(_POINTS), np.empty(coefficients.shape[1])
    for problem in range(len(keys)):
        nodes = slice(node_offsets[problem], node_offsets[problem + 1])
        total = _envelope(heights[nodes], weights, cells, cumulative, guide)
        _hyper(
            keys[problem],
            0,
            n,
            begins[problem],
            spacings[problem],
            units[problem],
            heights[nodes],
            coefficients[nodes],
            roots[nodes],
            total,
            cells,
            cumulative,
            guide,
            weights,
            z,
            sd[problem],
            beta[problem],
        )


@compiled
def areas_kernel(keys, sd, beta, y, vardir, X, first, last, tiles, out):
    """Fill n draws of the areas first .. last of one problem, shape (n, M); tiles from ... to by number."""
    n = len(sd)
    fitted = np.empty(TILE)
    for tile in range(tiles[0], tiles[1]):
        start = first + tile * TILE
        m = min(TILE, last - start)
        for block in range((n + DRAW_BLOCK - 1) // DRAW_BLOCK):
            state = new_stream(keys[tile], block)
            for s in range(block * DRAW_BLOCK, min((block + 1) * DRAW_BLOCK, n)):
                row = out[s, start - first : start - first + m]
                fill_normals(state, row)
                _areas(sd[s] * sd[s], beta[s], y, vardir, X, start, m, fitted, row)
