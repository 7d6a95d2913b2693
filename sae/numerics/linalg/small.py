"""Small positive definite systems inside kernels, in place."""

from __future__ import annotations

import math

from sae.numerics.compile import inlined

__all__ = ["factor_small", "solve_small"]


@inlined
def factor_small(H):
    """Put the Cholesky factor into the lower triangle; False where H is not safely positive definite."""
    for i in range(len(H)):
        for j in range(i + 1):
            value = H[i, j]
            for m in range(j):
                value -= H[i, m] * H[j, m]
            if i == j:
                if not value > 1e-12 * H[i, i]:
                    return False
                H[i, i] = math.sqrt(value)
            else:
                H[i, j] = value / H[j, j]
    return True


@inlined
def solve_small(L, g):
    """Solve LL'x = g, x in g."""
    p = len(g)
    for i in range(p):
        for m in range(i):
            g[i] -= L[i, m] * g[m]
        g[i] /= L[i, i]
    for i in range(p - 1, -1, -1):
        for m in range(i + 1, p):
            g[i] -= L[m, i] * g[m]
        g[i] /= L[i, i]
