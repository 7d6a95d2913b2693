"""Sums over areas as functions of the model variance A, at a cost that does not grow with the areas.

What depends on A enters as 1 / (A + D) and log(A + D). On the logarithm of D both are analytic up to a
distance of π from the real line, whatever A is, so that a polynomial through a few Chebyshev points agrees
with them to rounding. The areas are then as good as these few points: Σ f(D_d) z_d z_d' = Σ f(D_j) S_j, with
sums S_j that are formed once.

References
----------
Trefethen (2013), Approximation Theory and Approximation Practice, chapters 4 and 8.
"""

from __future__ import annotations

import math

from sae.numerics.compile import inlined_sums

__all__ = ["fill_sums", "most_points", "sums_at"]

_DIGITS = 37.5  # logarithm of the precision of the polynomials, on their ellipse


def most_points(most: int, spread: float) -> int:
    """Return how many points serve any of several problems.

    Parameters
    ----------
    most : int
        Areas of the largest problem.
    spread : float
        Largest logarithm of the ratio of two sampling variances within a problem.

    Examples
    --------
    >>> most_points(40, 2.3), most_points(10**6, 2.3)
    (40, 72)
    """
    return min(most, 3 * (8 * math.ceil((_DIGITS / math.asinh(2.0 * math.pi / max(spread, 1e-2)) + 2.0) / 8)))


@inlined_sums
def fill_sums(Z, n, smallest, largest, work, moments, sums):
    """Fill the sums of the products of all pairs of columns at some points, their areas, and their D.

    Where the areas are few, they are the points.

    Parameters
    ----------
    Z : ndarray, shape (blocks, q + 1, length)
        The columns; the last one is D, the sampling variances.
    n : int
        Number of areas.
    smallest, largest : float
    work : ndarray, shape (pairs + 5, length), with pairs = q (q + 1) / 2
        Work space.
    moments : ndarray, shape (pairs + 6, `most_points`)
        Work space.
    sums : ndarray, shape (pairs + 2, `most_points`)
        Receives the products, packed as a Gram matrix, the number of areas, and D.

    Returns
    -------
    int
        The number of points.
    """
    length, q = Z.shape[2], Z.shape[1] - 1
    pairs = q * (q + 1) // 2
    low, high = math.log(smallest), math.log(largest)
    size = 8 * math.ceil((_DIGITS / math.asinh(2.0 * math.pi / max(high - low, 1e-2)) + 2.0) / 8)
    size = n if n <= 3 * size else size
    centre, scale = 0.5 * (low + high), 2.0 / max(high - low, 1e-300)
    x, even, odd = work[pairs + 2], work[pairs + 3], work[pairs + 4]
    for row in range(pairs + 2):
        for k in range(size):
            moments[row, k] = 0.0
    for c in range((n + length - 1) // length):
        first = c * length
        m = min(length, n - first)
        row = 0
        for j in range(q):
            for k in range(j + 1):
                for i in range(m):
                    work[row, i] = Z[c, j, i] * Z[c, k, i]
                row += 1
        for i in range(m):
            work[pairs, i], work[pairs + 1, i] = 1.0, Z[c, q, i]
        if size == n:
            for row in range(pairs + 2):
                for i in range(m):
                    sums[row, first + i] = work[row, i]
            continue
        for i in range(m):
            x[i] = min(max((math.log(work[pairs + 1, i]) - centre) * scale, -1.0), 1.0)
            even[i], odd[i] = 1.0, x[i]
        for k in range(0, size, 2):
            for row in range(0, pairs + 1, 2):  # two rows share the polynomials, and two polynomials the rows
                u, v = work[row], work[row + 1]
                a, b, d, e = 0.0, 0.0, 0.0, 0.0
                for i in range(m):
                    a += even[i] * u[i]
                    b += even[i] * v[i]
                    d += odd[i] * u[i]
                    e += odd[i] * v[i]
                moments[row, k] += a
                moments[row + 1, k] += b
                moments[row, k + 1] += d
                moments[row + 1, k + 1] += e
            for i in range(m):
                even[i] = 2.0 * x[i] * odd[i] - even[i]
                odd[i] = 2.0 * x[i] * even[i] - odd[i]
    if size == n:
        return size
    now, other, cosine, sine = moments[pairs + 2], moments[pairs + 3], moments[pairs + 4], moments[pairs + 5]
    for j in range(size):
        angle = math.pi * (j + 0.5) / size
        cosine[j], sine[j] = math.cos(angle), math.sin(angle)
        now[j], other[j] = 1.0, 0.0
        sums[pairs + 1, j] = math.exp(centre + cosine[j] / scale)
    for k in range(size):
        factor = (1.0 if k == 0 else 2.0) / size
        for row in range(pairs + 1):
            moment = factor * moments[row, k]
            for j in range(size):
                sums[row, j] = moment * now[j] + (sums[row, j] if k else 0.0)
        for j in range(size):  # the cosine of k + 1 angles
            a, b = now[j], other[j]
            now[j], other[j] = a * cosine[j] - b * sine[j], b * cosine[j] + a * sine[j]
    return size


@inlined_sums
def sums_at(A, sums, size, weights, first):
    """Fill the packed Gram matrix of weights 1 / (A + D); return the sum of log(A + D) over the areas."""
    pairs = len(first)
    counts, D = sums[pairs], sums[pairs + 1]
    logs = 0.0
    for j in range(size):
        weights[j] = 1.0 / (A + D[j])
    for j in range(size):
        logs -= counts[j] * math.log(weights[j])
    for row in range(pairs):
        total, products = 0.0, sums[row]
        for j in range(size):
            total += weights[j] * products[j]
        first[row] = total
    return logs
