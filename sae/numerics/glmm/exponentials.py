"""Exponentials on the vector units: numba calls the one of the mathematics library number by number.

e^x = 2^k e^r with k whole and |r| <= log(2) / 2; e^r is its Taylor polynomial of degree 12, to 3e-16.
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import inlined

__all__ = ["exponentials"]

_TO_BINARY = 1.0 / math.log(2.0)
_HIGH, _LOW = 0.693147180369123816490, 1.90821492927058770002e-10  # of log(2): k _HIGH is exact
_MAGIC = 1.5 * 2.0**52  # numbers added to it are rounded to whole ones, which are then its last bits
_C2, _C3, _C4, _C5, _C6, _C7 = (1.0 / math.factorial(k) for k in range(2, 8))
_C8, _C9, _C10, _C11, _C12 = (1.0 / math.factorial(k) for k in range(8, 13))
_BIAS, _PLACES = np.int64(1023), np.int64(52)


@inlined
def exponentials(x, scratch):
    """Put exp(x) into x, -708 <= x <= 709; `scratch` is a row at least as long."""
    powers = scratch[: len(x)]
    for s in range(len(x)):
        powers[s] = x[s] * _TO_BINARY + _MAGIC
        k = powers[s] - _MAGIC
        r = (x[s] - k * _HIGH) - k * _LOW
        square = r * r
        quad = square * square
        low = (1.0 + r) + square * (_C2 + r * _C3)
        middle = (_C4 + r * _C5) + square * (_C6 + r * _C7)
        high = (_C8 + r * _C9) + square * (_C10 + r * _C11) + quad * _C12
        x[s] = low + quad * (middle + quad * high)
    bits = powers.view(np.int64)
    for s in range(len(x)):
        bits[s] = (bits[s] + _BIAS) << _PLACES
    for s in range(len(x)):
        x[s] *= powers[s]
