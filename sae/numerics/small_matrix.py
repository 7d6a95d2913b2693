"""Algebra of narrow designs inside kernels: orthonormal columns, packed Gram sums, Cholesky.

The columns of one problem of n rows lie in blocks, shape (at least n / length, columns, length): block c
holds the rows c × length and on of every column, so that what is combined stays in the first cache.

A symmetric q × q matrix is packed by rows of its lower triangle: entry (j, k), k <= j, stands at
j (j + 1) / 2 + k.
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics._fast import jit_inner, jit_inner_sums

__all__ = ["BLOCK", "cholesky_inverse", "gram_sums", "project_out", "scale_column"]

BLOCK = 512


@jit_inner_sums
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


@jit_inner_sums
def scale_column(Z, n, column, scale):
    """Multiply a column by `scale`; return the sum of its squares, each times the last column.

    The last column itself is left alone, and its sum returned.
    """
    length = Z.shape[2]
    last = Z.shape[1] - 1
    total = 0.0
    for c in range((n + length - 1) // length):
        if column == last:
            for i in range(min(length, n - c * length)):
                total += Z[c, last, i]
        else:
            for i in range(min(length, n - c * length)):
                Z[c, column, i] *= scale
                total += Z[c, last, i] * Z[c, column, i] * Z[c, column, i]
    return total


@jit_inner_sums
def gram_sums(A, Z, n, scratch, first, second):
    """Fill the packed Gram matrices Z W Z' and Z W² Z' with W = diag(1 / (A + D)).

    Parameters
    ----------
    A : float
        Model variance, >= 0.
    Z : ndarray, shape (blocks, q + 1, length)
        The columns; the last one is D, the sampling variances.
    n : int
        Number of rows.
    scratch : ndarray, shape (4, length)
        Work space.
    first, second : ndarray, shape (q (q + 1) / 2,)
        Receive the sums.

    Returns
    -------
    tuple of float
        Sum of the weights and of their squares.
    """
    length = Z.shape[2]
    blocks = (n + length - 1) // length
    q = Z.shape[1] - 1
    for row in range(q * (q + 1) // 2):
        first[row] = 0.0
        second[row] = 0.0
    s1, s2 = 0.0, 0.0
    for c in range(blocks):
        m = min(length, n - c * length)
        for i in range(m):
            w = 1.0 / (A + Z[c, q, i])
            scratch[0, i] = w
            scratch[1, i] = w * w
            s1 += w
            s2 += w * w
        row = 0
        for j in range(q):
            for i in range(m):
                scratch[2, i] = scratch[0, i] * Z[c, j, i]
                scratch[3, i] = scratch[1, i] * Z[c, j, i]
            for k in range(0, j, 2):  # two columns at a time share the loads
                a0, a1, b0, b1 = 0.0, 0.0, 0.0, 0.0
                for i in range(m):
                    a0 += scratch[2, i] * Z[c, k, i]
                    a1 += scratch[2, i] * Z[c, k + 1, i]
                    b0 += scratch[3, i] * Z[c, k, i]
                    b1 += scratch[3, i] * Z[c, k + 1, i]
                first[row] += a0
                second[row] += b0
                first[row + 1] += a1
                second[row + 1] += b1
                row += 2
            if j % 2 == 0:
                a0, b0 = 0.0, 0.0
                for i in range(m):
                    a0 += scratch[2, i] * Z[c, j, i]
                    b0 += scratch[3, i] * Z[c, j, i]
                first[row] += a0
                second[row] += b0
                row += 1
    return s1, s2


@jit_inner
def cholesky_inverse(packed, inverse):
    """Fill the inverse of the lower Cholesky factor of a packed positive definite p × p matrix.

    `inverse`, shape (2, p, p), receives it in its first part and the factor itself in its second; a matrix
    that is not positive definite gives nan.
    """
    p = inverse.shape[1]
    base = 0
    for j in range(p):
        for k in range(j):
            total = packed[base + k]
            for s in range(k):
                total -= inverse[1, j, s] * inverse[1, k, s]
            inverse[1, j, k] = total * inverse[0, k, k]
        total = packed[base + j]
        for s in range(j):
            total -= inverse[1, j, s] * inverse[1, j, s]
        inverse[1, j, j] = math.sqrt(total) if total > 0.0 else np.nan
        inverse[0, j, j] = 1.0 / inverse[1, j, j]
        base += j + 1
    for j in range(p):
        for k in range(j):
            total = 0.0
            for s in range(k, j):
                total -= inverse[1, j, s] * inverse[0, s, k]
            inverse[0, j, k] = total * inverse[0, j, j]
