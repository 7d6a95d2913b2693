"""Rows sorted together are as sorted one by one, whatever their distribution."""

import numpy as np
import pytest

from sae.numerics.ebp.sorting import sort_rows


@pytest.mark.parametrize("m", [1, 2, 63, 64, 65, 999, 2000])
@pytest.mark.parametrize(
    "kind", ["lognormal", "heavy", "ties", "constant", "two points", "drifting", "infinite"]
)
def test_as_any_sort(rng, kind, m):
    rows = 12
    Y = {
        "lognormal": rng.lognormal(size=(rows, m)),
        "heavy": rng.standard_cauchy(size=(rows, m)),
        "ties": np.floor(3.0 * rng.exponential(size=(rows, m))),
        "constant": np.full((rows, m), 7.0),
        "two points": rng.integers(2, size=(rows, m)).astype(float),
        "drifting": rng.normal(size=(rows, m))
        + 50.0 * np.arange(rows)[:, None],  # nothing like the first row
        "infinite": np.where(rng.random((rows, m)) < 0.1, np.inf, rng.normal(size=(rows, m))),
    }[kind]
    wanted = np.sort(Y, axis=1)
    sort_rows(Y)
    np.testing.assert_array_equal(Y, wanted)


def test_parts_are_sorted_by_themselves(rng):
    bounds = np.array([0, 70, 71, 400, 463, 20_000, 40_000])
    Y = rng.lognormal(np.arange(10)[:, None] / 10.0, size=(10, bounds[-1]))
    Y[3, :70] = 1.0  # crowded in one part alone
    wanted = np.concatenate([np.sort(part, axis=1) for part in np.split(Y, bounds[1:-1], axis=1)], axis=1)
    sort_rows(Y, bounds)
    np.testing.assert_array_equal(Y, wanted)
