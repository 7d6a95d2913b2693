"""Logarithms of products of rising factorials: the beta-binomial likelihood without a log-gamma per node."""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.glmm.exponentials import exponentials

__all__ = ["log_rising_pairs"]

_LOG_LARGEST = 600.0  # of a product before its power of 2 is taken out: numbers end at exp(709)
_TINY = 1e-100
_LOG_2 = math.log(2.0)
_PLACES, _BIAS = np.int64(52), np.int64(1023)
_FRACTION, _ONE = np.int64(2**52 - 1), np.int64(1023 << 52)


@inlined
def _normalise(product, power):
    """Take the powers of 2 out of products, and add them up."""
    bits = product.view(np.int64)
    for k in range(len(bits)):
        power[k] += (bits[k] >> _PLACES) - _BIAS
        bits[k] = (bits[k] & _FRACTION) | _ONE


@inlined
def _bases(eta, size, a, b, scratch):
    """M P and M (1 - P)."""
    for k in range(len(eta)):
        a[k] = max(-abs(eta[k]), -_LOG_LARGEST)
    exponentials(a, scratch)
    for k in range(len(eta)):
        large = size[k] / (1.0 + a[k])
        small = max(a[k] * large, _TINY)
        a[k], b[k] = (large, small) if eta[k] >= 0.0 else (small, large)


@compiled
def _pairs(eta, first, second, size, out):
    K, largest = eta.shape[1], 0.0
    product, power, bases = np.empty(K), np.empty(K, dtype=np.int64), np.empty((2, K))
    for k in range(K):
        largest = max(largest, size[k])
    for d in range(len(eta)):
        _bases(eta[d], size, bases[0], bases[1], product)
        most = int(_LOG_LARGEST / math.log(largest + first[d] + second[d] + 2.0))
        taken = 0
        for k in range(K):
            product[k], power[k] = 1.0, 0
        for i in range(2):
            base, count = bases[i], second[d] if i else first[d]
            for j in range(0, count, 4):  # four factors cost little more than one
                if taken + 4 > most:
                    _normalise(product, power)
                    taken = 0
                taken += 4
                if j + 4 <= count:
                    for k in range(K):
                        x = base[k] + j
                        product[k] *= (x * (x + 1.0)) * ((x + 2.0) * (x + 3.0))
                else:
                    for rest in range(j, count):
                        for k in range(K):
                            product[k] *= base[k] + rest
        for k in range(K):
            out[d, k] = math.log(product[k]) + power[k] * _LOG_2
    return out


def log_rising_pairs(
    eta: np.ndarray, first: np.ndarray, second: np.ndarray, size: np.ndarray | float
) -> np.ndarray:
    """Return log of a (a + 1) ... (a + first - 1) b (b + 1) ... (b + second - 1), shape (n, K).

    a = M P and b = M (1 - P), logit P = η. Products are taken and one logarithm; a factor costs a product of
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
