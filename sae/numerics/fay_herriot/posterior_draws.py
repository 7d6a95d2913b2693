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
_NEAR = 2048  # normals that wait in the first cache for the pass that turns them into areas
_POINTS = 8
# of interpolation at the places 0 .. 7: 1 / Π (k - j) over the other places j
_FACTORS = np.array([(-1.0) ** (7 - k) / (math.factorial(k) * math.factorial(7 - k)) for k in range(_POINTS)])
_GUIDE = 1024
_LANES = 32  # what a loop takes at once on the widest vector units
_LAST, _MORE = 5, 3  # columns of the design in the pass over the areas that draws, and in each one before it


@inlined
def _lagrange(place, count, weights):
    """Fill the weights of interpolation at `place`, in spacings; return the first node they belong to."""
    first = min(max(int(place) - 3, 0), count - _POINTS)
    x = place - first
    below, above = 1.0, 1.0
    for k in range(_POINTS):
        weights[k] = _FACTORS[k] * below
        below *= x - k
    for k in range(_POINTS - 1, -1, -1):
        weights[k] *= above
        above *= x - k
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

    `cells`, shape (count - 1, 4): slope of the chord of the logarithm, its exponential less 1, how far the
    density rises above it, and by how much less anywhere in the cell.
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
        cells[j, 0], cells[j, 1], cells[j, 2], cells[j, 3] = (
            slope,
            math.expm1(slope),
            above,
            math.exp(below - above),
        )
        width = cells[j, 1] / slope if abs(slope) > 1e-9 else 1.0
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
        inside = math.log1p(share * cells[cell, 1]) / slope if abs(slope) > 1e-9 else share
        accept = uniform(state)
        if accept <= cells[cell, 3]:
            return cell + inside
        exact = _interpolated(cell + inside, heights, weights)
        if math.log(accept) <= exact - heights[cell] - slope * inside - cells[cell, 2]:
            return cell + inside


@inlined
def _fill_table(coefficients, roots, table):
    """Fill one row per node: the coefficients, then the upper triangle of their root, by rows."""
    p = coefficients.shape[1]
    for k in range(len(coefficients)):
        column = p
        for j in range(p):
            table[k, j] = coefficients[k, j]
            for c in range(j, p):
                table[k, column] = roots[k, j, c]
                column += 1


@inlined_sums
def _between(weights, first, table, row):
    """Fill the interpolated row of the table."""
    for half in range(first, first + _POINTS, 4):
        a, b, c, d = table[half], table[half + 1], table[half + 2], table[half + 3]
        place = half - first
        w0, w1, w2, w3 = weights[place], weights[place + 1], weights[place + 2], weights[place + 3]
        for i in range(len(row)):
            row[i] = w0 * a[i] + w1 * b[i] + w2 * c[i] + w3 * d[i] + (row[i] if place else 0.0)


@inlined
def _hyper(
    key, n, begin, spacing, unit, heights, table, total, cells, cumulative, guide, weights, row, z, sd, beta
):
    """Fill standard deviations and coefficients of n draws."""
    p = len(z)
    for block in range((n + DRAW_BLOCK - 1) // DRAW_BLOCK):
        state = new_stream(key, block)
        for s in range(block * DRAW_BLOCK, min((block + 1) * DRAW_BLOCK, n)):
            place = _place(state, total, heights, cells, cumulative, guide, weights)
            t = begin + spacing * place
            sd[s] = unit * math.exp(t - math.exp(-t))
            _between(weights, _lagrange(place, len(heights), weights), table, row)
            fill_normals(state, z)
            column = p
            for j in range(p):
                value = row[j]
                for c in range(j, p):
                    value += row[column] * z[c]
                    column += 1
                beta[s, j] = value


@inlined_sums
def _fill_tile(y, vardir, X, start, m, tile):
    """Fill estimates, sampling variances and designs of m areas; the columns there are not stay 0."""
    for i in range(m):
        tile[0, i] = y[start + i]
        tile[1, i] = vardir[start + i]
    for j in range(X.shape[0]):
        for i in range(m):
            tile[2 + j, i] = X[j, start + i]


@inlined_sums
def _areas(sd, beta, tile, m, b, rest, out, first, last, width, begin):
    """Turn m standard normals in each of the rows first .. last of `out` into true values of a tile's areas.

    `b` and `rest`, both 0 at first, are work space. What does not change with the row stands before the loop
    over them, where the compiler would not put it.
    """
    y, D, left = tile[0, :m], tile[1, :m], rest[:m]
    u0, u1, u2, u3, u4 = tile[2, :m], tile[3, :m], tile[4, :m], tile[5, :m], tile[6, :m]
    for s in range(first, last):
        A, row = sd[s] * sd[s], out[s * width + begin : s * width + begin + m]
        for j in range(beta.shape[1]):
            b[j] = beta[s, j]
        for j in range(_LAST, len(b), _MORE):
            v0, v1, v2 = tile[2 + j, :m], tile[3 + j, :m], tile[4 + j, :m]
            b0, b1, b2, kept = b[j], b[j + 1], b[j + 2], 0.0 if j == _LAST else 1.0
            for i in range(m):
                left[i] = kept * left[i] + b0 * v0[i] + b1 * v1[i] + b2 * v2[i]
        b0, b1, b2, b3, b4 = b[0], b[1], b[2], b[3], b[4]
        for i in range(m):
            shrink = D[i] * (1.0 / (A + D[i]))
            residual = y[i] - left[i] - b0 * u0[i] - b1 * u1[i] - b2 * u2[i] - b3 * u3[i] - b4 * u4[i]
            row[i] = y[i] - shrink * residual + math.sqrt(A * shrink) * row[i]


@compiled
def hyper_kernel(keys, node_offsets, begins, spacings, units, heights, coefficients, roots, n, sd, beta):
    """Fill the first n draws of standard deviation and coefficients of every problem: (P, n), (P, n, p)."""
    most, p = 0, coefficients.shape[1]
    for problem in range(len(keys)):
        most = max(most, node_offsets[problem + 1] - node_offsets[problem])
    cells, cumulative, guide = np.empty((most, 4)), np.empty(most), np.empty(_GUIDE, np.int64)
    width = (p + p * (p + 1) // 2 + _LANES - 1) // _LANES * _LANES
    weights, z, row, table = np.empty(_POINTS), np.empty(p), np.empty(width), np.zeros((most, width))
    for problem in range(len(keys)):
        nodes = slice(node_offsets[problem], node_offsets[problem + 1])
        total = _envelope(heights[nodes], weights, cells, cumulative, guide)
        _fill_table(coefficients[nodes], roots[nodes], table)
        _hyper(
            keys[problem],
            n,
            begins[problem],
            spacings[problem],
            units[problem],
            heights[nodes],
            table,
            total,
            cells,
            cumulative,
            guide,
            weights,
            row,
            z,
            sd[problem],
            beta[problem],
        )


@compiled
def areas_kernel(keys, sd, beta, y, vardir, X, first, last, tiles, out, width, place):
    """Fill n draws of the areas first .. last, tiles from ... to by number.

    `out`, flat, has rows of that width; the first area stands at `place` of each.
    """
    n, p = len(sd), X.shape[0]
    columns = _LAST + (max(p - _LAST, 0) + _MORE - 1) // _MORE * _MORE
    tile, rest, b = np.zeros((columns + 2, TILE)), np.zeros(TILE), np.zeros(columns)
    for number in range(tiles[0], tiles[1]):
        start, begin = first + number * TILE, place + number * TILE
        m = min(TILE, last - start)
        _fill_tile(y, vardir, X, start, m, tile)
        group = max(_NEAR // m, 1)
        for block in range((n + DRAW_BLOCK - 1) // DRAW_BLOCK):
            state = new_stream(keys[number], block)
            stop = min((block + 1) * DRAW_BLOCK, n)
            for now in range(block * DRAW_BLOCK, stop, group):
                end = min(now + group, stop)
                step = end - now if m == width else 1  # rows without a gap are filled at once
                for s in range(now, end, step):
                    row = s * width + begin
                    fill_normals(state, out[row : row + (step - 1) * width + m])
                _areas(sd, beta, tile, m, b, rest, out, now, end, width, begin)
