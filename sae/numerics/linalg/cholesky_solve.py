"""Solves with one sparse factor and several right-hand sides, which stand side by side in memory.

Each entry of L is read once for all of them, and the arithmetic runs along them in full-width registers.
"""

from __future__ import annotations

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.linalg.cholesky import Factor

__all__ = ["colour_columns", "solve_columns"]


@inlined
def _back(first, r_start, rows, block, lower, x):
    """Overwrite x (n, k) by L'^-1 x."""
    k = np.uint64(x.shape[1])
    for J in range(len(first) - 2, -1, -1):
        f, r, at = first[J], r_start[J], block[J]
        width = first[J + 1] - f
        m = width + r_start[J + 1] - r
        for column in range(width - 1, -1, -1):
            own = x[f + column]
            for i in range(column + 1, m):
                entry = lower[at + column * m + i]
                other = x[f + i] if i < width else x[rows[r + i - width]]
                for c in range(k):
                    own[c] -= entry * other[c]


@compiled
def _solve(first, r_start, rows, block, lower, diag, x, half):
    """Overwrite x (count, n, k) by A^-1 x, or by L'^-1 D^-1/2 x when `half`."""
    k = np.uint64(x.shape[2])
    for matrix in range(len(diag)):
        L, own = lower[matrix], x[matrix]
        if not half:
            for J in range(len(first) - 1):
                f, r, at = first[J], r_start[J], block[J]
                width = first[J + 1] - f
                m = width + r_start[J + 1] - r
                for column in range(width):
                    of = own[f + column]
                    for i in range(column + 1, m):
                        entry = L[at + column * m + i]
                        to = own[f + i] if i < width else own[rows[r + i - width]]
                        for c in range(k):
                            to[c] -= entry * of[c]
        for i in range(len(diag[matrix])):
            over = 1.0 / (np.sqrt(diag[matrix, i]) if half else diag[matrix, i])
            for c in range(k):
                own[i, c] *= over
        _back(first, r_start, rows, block, L, own)


def solve_columns(factor: Factor, rhs: np.ndarray) -> np.ndarray:
    """Solve A_m x = rhs_m; right-hand sides and solutions of shape (count, n, k)."""
    return _apply(factor, rhs[:, factor.pattern.perm], False)


def colour_columns(factor: Factor, normals: np.ndarray) -> np.ndarray:
    """Turn standard normals, shape (count, n, k), into draws with precision A_m."""
    return _apply(factor, normals, True)


def _apply(factor: Factor, x: np.ndarray, half: bool) -> np.ndarray:
    pattern = factor.pattern
    x = np.array(x, order="C")
    _solve(pattern.first, pattern.r_start, pattern.rows, pattern.block, factor.lower, factor.diag, x, half)
    out = np.empty_like(x)
    out[:, pattern.perm] = x
    return out
