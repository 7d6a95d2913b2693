"""Sums over areas as functions of the model variance, against the sums themselves."""

import numpy as np
import pytest

from sae.numerics.compile import compiled
from sae.numerics.fay_herriot.variance_sums import fill_sums, most_points, sums_at

ROUNDING = 2e-13  # of the largest weight's share: some thousand terms, and polynomials of alternating sign
LENGTH = 512


@compiled
def filled(Z, n, smallest, largest, work, moments, sums):
    return fill_sums(Z, n, smallest, largest, work, moments, sums)


@compiled
def evaluated(A, sums, size, weights, first):
    return sums_at(A, sums, size, weights, first)


@pytest.mark.parametrize("columns", [2, 3])
@pytest.mark.parametrize(("n", "spread"), [(30, 1.0), (1300, 0.0), (1300, 0.1), (1300, 2.3), (1300, 9.0)])
def test_gram_and_logarithms(rng, columns, n, spread):
    D = np.exp(rng.uniform(0.0, spread, n)) * 1e-3
    values = rng.normal(size=(columns, n))
    Z = np.zeros((-(-n // LENGTH), columns + 1, LENGTH))
    for c in range(len(Z)):
        part = slice(c * LENGTH, min((c + 1) * LENGTH, n))
        Z[c, :columns, : part.stop - part.start] = values[:, part]
        Z[c, columns, : part.stop - part.start] = D[part]
    pairs, room = columns * (columns + 1) // 2, most_points(n, float(np.log(D.max() / D.min())))
    sums, first = np.empty((pairs + 2, room)), np.empty(pairs)
    size = filled(Z, n, D.min(), D.max(), np.empty((pairs + 5, LENGTH)), np.empty((pairs + 6, room)), sums)
    assert size == n if n == 30 else 3 * size <= n
    for A in (0.0, 1e-9, 1e-3, 0.02, 1.0, 1e6):
        logs = evaluated(A, sums, size, np.empty(size), first)
        w = 1.0 / (A + D)
        gram = (values * w) @ values.T
        expected = [gram[j, k] for j in range(columns) for k in range(j + 1)]
        np.testing.assert_allclose(first, expected, rtol=0.0, atol=ROUNDING * n * w.max())
        assert logs == pytest.approx(np.log(A + D).sum(), abs=ROUNDING * n * np.abs(np.log(w)).max())


def test_room_grows_with_the_spread_and_holds_few_areas():
    rooms = [most_points(10**9, spread) for spread in (0.0, 2.3, 9.2, 27.6)]
    assert rooms == sorted(set(rooms)) and rooms[-1] < 600
    assert most_points(50, 27.6) == 50
