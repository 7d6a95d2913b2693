"""Arithmetic on lanes against numpy, for one number side by side and for eight."""

import numpy as np
import pytest

from sae.numerics.compile import compiled
from sae.numerics.linalg.lanes import (
    EIGHT,
    ONE,
    add,
    copy,
    product,
    take_off,
    take_off_dot,
    take_off_multiples,
)

ROUNDING = 1e-13  # of some thirty sums and products of order one; some are rounded once, numpy's twice


@compiled
def every_operation(lanes, x, y, z):
    add(lanes, x, 0, y, 1)
    copy(lanes, x, 1, y, 2)
    product(lanes, x, 2, y, 3, z, 4)
    for count in range(3, 8):  # in fours, twos and ones
        take_off(lanes, x, 3, 2, y, 0, 1, z, 2, count)
    take_off_multiples(lanes, x, 9, y, 2, 3, z, 1)
    take_off_dot(lanes, x, 12, y, 3, z, 0, 4)


@pytest.mark.parametrize("lanes", [ONE, EIGHT])
def test_every_operation(rng, lanes):
    x, y, z = rng.normal(size=(3, 14, len(lanes)))
    expected = x.copy()
    expected[0] += y[1]
    expected[1] = y[2]
    expected[2] = y[3] * z[4]
    for count in range(3, 8):
        expected[3:5] -= sum(y[k : k + 2] * z[2 + k] for k in range(count))
    expected[9:12] -= y[2:5] * z[1]
    expected[12] -= (y[3:7] * z[:4]).sum(axis=0)
    every_operation(lanes, x.ravel(), y.ravel(), z.ravel())
    assert np.abs(x - expected).max() < ROUNDING
    assert (x[13] == expected[13]).all()  # nothing beyond is written
