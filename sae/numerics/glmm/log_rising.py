"""Logarithms of products of rising factorials: the beta-binomial likelihood without a log-gamma per node."""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import compiled

__all__ = ["log_rising_pairs"]

_LOG_LARGEST = 600.0  # of a product before its logarithm is taken: numbers end at exp(709)
_TINY = 1e-100


@compiled
def _pairs(eta, first, second, size, out):
    product, a, b = np.empty(eta.shape[1]), np.empty(eta.shape[1]), np.empty(eta.shape[1])
    for d in range(len(eta)):
        for k in range(eta.shape[1]):
            e = math.exp(-abs(eta[d, k]))
            large = size[k] / (1.0 + e)
            small = max(e * large, _TINY)
            a[k], b[k] = (large, small) if eta[d, k] >= 0.0 else (small, large)
        most = max(int(_LOG_LARGEST / math.log(size.max() + first[d] + second[d] + 1.0)), 1)
        taken = 0
        product[:] = 1.0
        out[d] = 0.0
        for base, count in ((a, first[d]), (b, second[d])):
            for j in range(count):
                for k in range(len(product)):
                    product[k] *= base[k] + j
                taken += 1
                if taken == most:
                    out[d] += np.log(product)
                    product[:] = 1.0
                    taken = 0
        out[d] += np.log(product)
    return out


def log_rising_pairs(
    eta: np.ndarray, first: np.ndarray, second: np.ndarray, size: np.ndarray | float
) -> np.ndarray:
    """Return log of a (a + 1) ... (a + first - 1) b (b + 1) ... (b + second - 1), shape (n, K).

    a = M P and b = M (1 - P), logit P = η. Products are taken and few logarithms; a factor costs a product of
    the vector units.

    Parameters
    ----------
    eta : ndarray, shape (n, K)
    first, second : ndarray of int, shape (n,)
    size : float or ndarray, shape (K,)
        M.
    """
    sizes = np.broadcast_to(np.asarray(size, dtype=float), eta.shape[1:]).copy()
    return _pairs(np.ascontiguousarray(eta), first, second, sizes, np.empty(eta.shape))
