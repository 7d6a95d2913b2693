"""Weighted least squares inside kernels with weights of any spread: sums of residuals, none by subtraction.

With weights that differ by ten orders y'Wy and b'X'Wy agree in ten digits, and so do a weight and its
weight times its leverage. Here the p heaviest rows that determine the coefficients are solved exactly, the
pivots; the other rows are left as contrasts of small weights, and the pivots give way to them by corrections
that are computed themselves, not as differences. Every sum is then one of like and positive parts.
"""

from __future__ import annotations

import math

from numba import carray

from sae.numerics.compile import address_of, inlined
from sae.numerics.linalg.gram import cholesky_inverse

__all__ = ["SPREAD", "contrast_address", "contrast_sums", "contrast_width"]

# Ratio of the weights from which on differences of Gram sums lose more digits than a root can spare.
SPREAD = 1e4


def contrast_width(most: int, p: int) -> int:
    """Return how long the rows of the work space are, for up to `most` areas and p coefficients.

    Examples
    --------
    >>> contrast_width(10, 2)
    12
    """
    return max(most + p, 4 * p)


@inlined
def _interpolate(n, wide, inverse):
    """Turn the columns into ones that are 1 in a pivot of their own and 0 in the others, by Gauss–Jordan.

    The pivot is the entry of the largest weighted square. `wide` is that of `contrast_sums`; the sign of the
    weight of a pivot is turned. The diagonal of `inverse[1]` receives the sizes of the pivots.
    """
    p = inverse.shape[1]
    for j in range(p):
        largest, row, column = -1.0, 0, j
        for c in range(j, p):
            for i in range(n):
                size = wide[p + 1, i] * wide[c, i] * wide[c, i]
                if size > largest:
                    largest, row, column = size, i, c
        if column != j:
            for i in range(n + p):
                wide[j, i], wide[column, i] = wide[column, i], wide[j, i]
        pivot = wide[j, row]
        inverse[1, j, j] = abs(pivot)
        for i in range(n + p):
            wide[j, i] /= pivot
        for c in range(p + 1):
            factor = wide[c, row]
            if c != j and factor != 0.0:
                for i in range(n + p):
                    wide[c, i] -= factor * wide[j, i]
                wide[c, row] = 0.0
        wide[p + 1, row] = -wide[p + 1, row]
        wide[p + 2, j] = row


@inlined
def _triangle(root, inverse):
    """Rotate the rows of a p × p matrix so that it becomes lower triangular, into `inverse[0]`."""
    p = inverse.shape[1]
    for j in range(p - 1, -1, -1):
        for k in range(j):
            size = math.hypot(root[k, j], root[j, j])
            if size > 0.0:
                cos, sin = root[j, j] / size, root[k, j] / size
                for c in range(j + 1):
                    upper, lower = root[k, c], root[j, c]
                    root[k, c] = cos * upper - sin * lower
                    root[j, c] = sin * upper + cos * lower
        sign = -1.0 if root[j, j] < 0.0 else 1.0
        for c in range(j + 1):
            inverse[0, j, c] = sign * root[j, c]


@inlined
def contrast_sums(A, Z, n, wide, grams, inverse, delta):
    """Evaluate weighted least squares with the weights 1 / (A + D).

    Parameters
    ----------
    A : float
        Model variance, >= 0.
    Z : ndarray, shape (blocks, p + 2, length)
        The orthonormal design, the outcome and D, as in `gram.gram_sums`.
    n : int
        Number of rows.
    wide : ndarray, shape (p + 3, contrast_width(n, p) or more)
        Work space: the columns at full length, the transformation below them, weights, pivots.
    grams : ndarray, shape (2, (p + 1) (p + 2) / 2)
        Work space.
    inverse : ndarray, shape (2, p, p)
        The first part receives a lower triangular N with N'N = (X'WX)^-1, the diagonal of the second the
        sizes whose product is the root of the determinant of X'WX.
    delta : ndarray, shape (p,)
        Receives the coefficients.

    Returns
    -------
    tuple of float
        tr P, y'P²y, y'Py, sum of the weights and of their squares.

    References
    ----------
    Demmel (1989), LAPACK Working Note 14: the Cholesky factor of a graded matrix is exact in every entry.
    """
    p, length = len(delta), Z.shape[2]
    s1, s2 = 0.0, 0.0
    for i in range(n):
        c, place = i // length, i % length
        for j in range(p + 1):
            wide[j, i] = Z[c, j, place]
        w = 1.0 / (A + Z[c, p + 1, place])
        wide[p + 1, i] = w
        s1 += w
        s2 += w * w
    for j in range(p + 1):
        for k in range(p):
            wide[j, n + k] = 1.0 if j == k else 0.0
    _interpolate(n, wide, inverse)
    first, second = grams[0], grams[1]  # contrasts by weight and by squared weight
    trace, row = 0.0, 0
    for j in range(p + 1):
        for k in range(j + 1):
            a, b = 0.0, 0.0
            for i in range(n):
                w = max(wide[p + 1, i], 0.0)
                product = w * wide[j, i] * wide[k, i]
                a += product
                b += w * product
            first[row], second[row] = a, b
            row += 1
    for i in range(n):
        trace += max(wide[p + 1, i], 0.0)
    sizes, row = wide[p + 2], 0
    for j in range(p):
        sizes[p + j] = inverse[1, j, j]
        row += j + 1
        trace += first[row - 1]
        sizes[2 * p + j] = first[row - 1]
        first[row - 1] -= wide[p + 1, int(sizes[j])]  # a pivot's weight stands with a minus
    cholesky_inverse(first, inverse)
    last = p * (p + 1) // 2
    for j in range(p):  # tr P loses what the coefficients take
        for k in range(p):
            q, taken = 0.0, 0.0
            for s in range(max(j, k), p):
                q += inverse[0, s, j] * inverse[0, s, k]
            for s in range(j + 1):
                high, low = max(s, k), min(s, k)
                entry = sizes[2 * p + k] if s == k else first[high * (high + 1) // 2 + low]
                taken += inverse[0, j, s] * entry
            high, low = max(j, k), min(j, k)
            trace -= q * second[high * (high + 1) // 2 + low] + taken * taken
    for j in range(p):
        total = 0.0
        for k in range(j + 1):
            total += inverse[0, j, k] * first[last + k]
        sizes[3 * p + j] = total
    quadratic, squared = 0.0, 0.0
    for j in range(p):
        total = 0.0
        for k in range(j, p):
            total += inverse[0, k, j] * sizes[3 * p + k]
        first[last + j] = total
        w = -wide[p + 1, int(sizes[j])]
        quadratic += w * total * total
        squared += w * total * (w * total)
    for i in range(n):
        w = max(wide[p + 1, i], 0.0)
        rest = wide[p, i]
        for j in range(p):
            rest -= first[last + j] * wide[j, i]
        quadratic += w * rest * rest
        squared += w * rest * (w * rest)
    root = wide[:p, :p]  # the columns have served: N of the pivots, turned to the columns of Z
    for k in range(p):
        delta[k] = -wide[p, n + k]
        for j in range(p):
            delta[k] += first[last + j] * wide[j, n + k]
    for j in range(p):
        for k in range(p):
            total = 0.0
            for s in range(j + 1):
                total += inverse[0, j, s] * wide[s, n + k]
            root[j, k] = total
    for j in range(p):
        inverse[1, j, j] *= sizes[p + j]
    _triangle(root, inverse)
    return trace, squared, quadratic, s1, s2


@address_of(
    "void(float64, int64, CPointer(float64), int64, int64, int64, CPointer(float64), int64, int64, "
    "CPointer(float64), int64, int64, CPointer(float64), int64, int64, int64, "
    "CPointer(float64), int64, CPointer(float64), int64)"
)
def contrast_address(
    A, n, Z, c, q, length, wide, rows, width, grams, _, pairs, inverse, two, p, __, delta, ___, sums, ____
):
    """Keep `contrast_sums` apart, which is long and rarely needed.

    To be called with (A, n, Z, wide, grams, inverse, delta, sums); the last receives the five sums.
    """
    sums[0], sums[1], sums[2], sums[3], sums[4] = contrast_sums(
        A,
        carray(Z, (c, q, length)),
        n,
        carray(wide, (rows, width)),
        carray(grams, (2, pairs)),
        carray(inverse, (two, p, p)),
        carray(delta, (p,)),
    )
