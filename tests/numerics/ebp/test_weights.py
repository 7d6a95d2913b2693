"""Pseudo-EB: the weighted equations by brute force, and its limits."""

import numpy as np
import pytest

from sae.numerics.ebp.population import Parameters
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.ebp.weights import pseudo_parameters
from sae.numerics.nested_error.fit import fit_nested_error

ROUNDING = 1e-9  # normal equations in another order


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(1)
    area = np.repeat([0, 1, 2, 4, 5, 6, 7], [3, 8, 5, 1, 9, 4, 6])  # nobody of area 3
    X = np.column_stack([np.ones(len(area)), rng.normal(size=len(area))])
    units = SampleUnits.of(X, area, 8)
    Z = X @ [2.0, 0.5] + rng.normal(size=8)[area] + rng.normal(size=(3, len(area)))
    return units, Z, rng.uniform(1.0, 20.0, size=len(area))


def taken(units, Z, w, outcome, method="reml"):
    sums = units.sums(Z)
    fits = fit_nested_error(sums, method)
    scale = Scale("log")
    plain = Parameters.of_fit(scale, fits, sums, outcome)
    found, _ = pseudo_parameters(scale, fits, sums, units, Z[outcome], w, method=method, outcome=outcome)
    return plain, found


@pytest.mark.parametrize("outcome", [0, 2])
def test_the_weighted_equations_hold(sample, outcome):
    units, Z, w = sample
    plain, found = taken(units, Z, w, outcome)
    assert (found.sigma2_u, found.sigma2_e) == (plain.sigma2_u, plain.sigma2_e)
    score, z = np.zeros(2), Z[outcome]
    for d in range(8):
        mine = units.area == d
        if not mine.any():
            assert found.effect[d] == 0.0
            assert found.spread[d] == pytest.approx(np.sqrt(found.sigma2_u))
            continue
        share = w[mine] / w[mine].sum()
        gamma = found.sigma2_u / (found.sigma2_u + found.sigma2_e * (share**2).sum())
        residual = z[mine] - units.X[mine] @ found.coefficients
        effect = gamma * (share @ residual)
        assert found.effect[d] == pytest.approx(effect, rel=ROUNDING, abs=ROUNDING)
        assert found.spread[d] == pytest.approx(np.sqrt(found.sigma2_u * (1.0 - gamma)))
        score += (w[mine] * (residual - effect)) @ units.X[mine]
    np.testing.assert_allclose(score, 0.0, atol=ROUNDING * w.sum())


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_equal_weights_are_none(sample, method):
    units, Z, w = sample
    plain, found = taken(units, Z, np.full(len(w), 3.0), 1, method)
    for name in ("coefficients", "effect", "spread"):
        np.testing.assert_allclose(getattr(found, name), getattr(plain, name), rtol=1e-12, atol=1e-13)
