"""Algebra of narrow designs inside kernels: orthonormal columns, packed Gram sums, Cholesky.

The columns of one problem of n rows lie in blocks, shape (at least n / length, columns, length): block c
holds the rows c × length and on of every column, so that what is combined stays in the first cache.

A symmetric q × q matrix is packed by rows of its lower triangle: entry (j, k), k <= j, stands at
j (j + 1) / 2 + k.
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import inlined, inlined_sums

__all__ = [
    "BLOCK",
    "back_solve",
    "cholesky_inverse",
    "fill_column",
    "fill_products",
    "gram_sums",
    "orthonormalise",
    "project_out",
    "scale_column",
]

BLOCK = 512


@inlined
def fill_column(values, start, n, Z, column):
    """Copy n values, from `start` on, into one column of the blocks."""
    length = Z.shape[2]
    for c in range((n + length - 1) // length):
        part = values[start + c * length : start + min((c + 1) * length, n)]
        for i in range(len(part)):  # no index that could be negative: the loop vectorises
            Z[c, column, i] = part[i]


@inlined_sums
def project_out(Z, n, column, known, coefficients):
    """Subtract from one column its projection on the first `known` columns, which are orthonormal.

    The coefficients of the projection are added to `coefficients`. Returns the sum of squares left.
    """
    length = Z.shape[2]
    blocks = (n + length - 1) // length
    rest = 0.0
    for k in range(known):
        dot = 0.0
        for c in range(blocks):
            for i in range(min(length, n - c * length)):
                dot += Z[c, k, i] * Z[c, column, i]
        coefficients[k] += dot
        for c in range(blocks):
            for i in range(min(length, n - c * length)):
                Z[c, column, i] -= dot * Z[c, k, i]
    for c in range(blocks):
        for i in range(min(length, n - c * length)):
            rest += Z[c, column, i] * Z[c, column, i]
    return rest


@inlined_sums
def scale_column(Z, n, column, scale):
    """Multiply a column by `scale`; return the sum of its squares, each times the last column."""
    length, last = Z.shape[2], Z.shape[1] - 1
    total = 0.0
    for c in range((n + length - 1) // length):
        for i in range(min(length, n - c * length)):
            Z[c, column, i] *= scale
            total += Z[c, last, i] * Z[c, column, i] * Z[c, column, i]
    return total


@inlined
def orthonormalise(X, start, n, Z, R, coefficients):
    """Factor a transposed design as X = Q R by repeated Gram–Schmidt; Q goes to the first columns of Z.

    Returns
    -------
    tuple
        -1, or the index of the first column that the ones before it explain; and the sum of D × leverage,
        D standing in the last column of Z.
    """
    taken = 0.0
    for j in range(X.shape[0]):
        fill_column(X[j], start, n, Z, j)
        for k in range(j):
            coefficients[k] = 0.0
        rest = project_out(Z, n, j, j, coefficients)
        whole = rest
        for k in range(j):
            whole += coefficients[k] * coefficients[k]
        if rest < 0.25 * whole:  # digits cancelled: once more
            rest = project_out(Z, n, j, j, coefficients)
        if not rest > 1e-22 * whole:
            return j, taken
        norm = math.sqrt(rest)
        for k in range(j):
            R[k, j] = coefficients[k]
        R[j, j] = norm
        taken += scale_column(Z, n, j, 1.0 / norm)
    return -1, taken


@inlined_sums
def fill_products(Z, n, start, stop, products):
    """Fill the rows of `products` that belong to the columns start .. stop of Z: each times those before it.

    `products`, shape (blocks, q (q + 1) / 2, length), is packed as a Gram matrix.
    """
    length = Z.shape[2]
    for c in range((n + length - 1) // length):
        m = min(length, n - c * length)
        row = start * (start + 1) // 2
        for j in range(start, stop):
            for k in range(j + 1):
                for i in range(m):
                    products[c, row, i] = Z[c, j, i] * Z[c, k, i]
                row += 1


@inlined_sums
def gram_sums(A, Z, products, n, scratch, first, second):
    """Fill the packed Gram matrices Z W Z' and Z W² Z' with W = diag(1 / (A + D)).

    Parameters
    ----------
    A : float
        Model variance, >= 0.
    Z : ndarray, shape (blocks, q + 1, length)
        The columns; the last one is D, the sampling variances.
    products : ndarray, shape (blocks, q (q + 1) / 2, length)
        From `fill_products`: a product is loaded once for both sums.
    n : int
        Number of rows.
    scratch : ndarray, shape (2, length)
        Work space.
    first, second : ndarray, shape (q (q + 1) / 2,)
        Receive the sums.

    Returns
    -------
    tuple of float
        Sum of the weights and of their squares.
    """
    length, last, rows = Z.shape[2], Z.shape[1] - 1, products.shape[1]
    first[:] = 0.0
    second[:] = 0.0
    s1, s2 = 0.0, 0.0
    for c in range((n + length - 1) // length):
        m = min(length, n - c * length)
        for i in range(m):
            w = 1.0 / (A + Z[c, last, i])
            scratch[0, i] = w
            scratch[1, i] = w * w
            s1 += w
            s2 += w * w
        for row in range(0, rows - 2, 3):  # three rows at a time share the weights
            a0, a1, a2, b0, b1, b2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for i in range(m):
                w, ww = scratch[0, i], scratch[1, i]
                x0, x1, x2 = products[c, row, i], products[c, row + 1, i], products[c, row + 2, i]
                a0 += w * x0
                b0 += ww * x0
                a1 += w * x1
                b1 += ww * x1
                a2 += w * x2
                b2 += ww * x2
            first[row] += a0
            first[row + 1] += a1
            first[row + 2] += a2
            second[row] += b0
            second[row + 1] += b1
            second[row + 2] += b2
        if rows % 3 == 1:  # q (q + 1) / 2 leaves 0 or 1
            a0, b0 = 0.0, 0.0
            for i in range(m):
                a0 += scratch[0, i] * products[c, rows - 1, i]
                b0 += scratch[1, i] * products[c, rows - 1, i]
            first[rows - 1] += a0
            second[rows - 1] += b0
    return s1, s2


@inlined
def cholesky_inverse(packed, inverse):
    """Fill the inverse of the lower Cholesky factor of a packed positive definite p × p matrix.

    `inverse`, shape (2, p, p), receives it in its first part and the factor itself in its second; a matrix
    that is not positive definite gives nan.
    """
    base = 0
    for j in range(inverse.shape[1]):
        for k in range(j + 1):
            total = packed[base + k]
            for s in range(k):
                total -= inverse[1, j, s] * inverse[1, k, s]
            if k < j:
                inverse[1, j, k] = total * inverse[0, k, k]
            else:
                size = math.sqrt(total) if total > 0.0 else np.nan
                inverse[1, j, j] = size
                inverse[0, j, j] = 1.0 / size
        for k in range(j):
            total = 0.0
            for s in range(k, j):
                total -= inverse[1, j, s] * inverse[0, s, k]
            inverse[0, j, k] = total * inverse[0, j, j]
        base += j + 1


@inlined
def back_solve(R, p, values):
    """Solve R x = values for an upper triangular R, in place."""
    for j in range(p - 1, -1, -1):
        total = values[j]
        for k in range(j + 1, p):
            total -= R[j, k] * values[k]
        values[j] = total / R[j, j]
