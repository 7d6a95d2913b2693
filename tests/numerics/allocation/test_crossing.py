"""Crossings against bisection, and at the ends of the bracket."""

import numpy as np

from sae.numerics.allocation.crossing import crossing

CLOSE = 1e-12  # ten times the width that the bracket ends with


def bisected(excess, low, high):
    for _ in range(200):
        middle = 0.5 * (low + high)
        over = excess(middle) > 0.0
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return low


def test_crossings_are_those_of_bisection(rng):
    # steep, flat, with a kink: min(e^x, a + b / (1 + e^-x)) less something in between
    size = 200
    a, b = rng.uniform(0, 2, size), rng.uniform(0, 3, size)
    level = rng.uniform(1e-6, 1, size) * (a + b)

    def excess(x):
        return np.minimum(np.exp(x), a + b / (1.0 + np.exp(-x))) - level

    low, high = np.log(level), np.full(size, 25.0)
    calls = []

    def counted(x):
        calls.append(x)
        return excess(x)

    ours = crossing(counted, low, high)
    np.testing.assert_allclose(ours, bisected(excess, low, high), atol=CLOSE)
    inner = ours > low
    assert inner.any() and (excess(ours)[inner] <= 0.0).all()
    assert len(calls) < 35  # bisection needs 48 for such a bracket


def test_ends_of_the_bracket_are_kept():
    low, high = np.zeros(3), np.ones(3)
    never, always, at_once = crossing(lambda x: np.array([-1.0, 1.0, x[2]]), low, high)
    assert (never, always, at_once) == (1.0, 0.0, 0.0) or abs(at_once) < CLOSE
    assert (never, always) == (1.0, 0.0)
