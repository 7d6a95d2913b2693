"""A posterior whose own estimate of its error is too large to be trusted is refused."""

from dataclasses import replace

import numpy as np
import pytest

from sae.errors import SaeConvergenceError
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.posterior import HyperPrior, nested_error_posterior
from sae.numerics.nested_error.profile import area_sums
from sae.numerics.spacetime.area_field import area_field
from sae.numerics.spacetime.precision import independent
from sae.samplers import gaussian_field as fields
from sae.samplers import nested_error
from sae.samplers.nested_error import ExactNestedError


def field(rng):
    D = 12
    X, psi = np.column_stack([np.ones(D), rng.normal(size=D)]), rng.uniform(0.2, 1.0, D)
    args = (X[:, 1] + rng.normal(size=D), X, psi[:, None, None], np.arange(D), np.zeros(D, int))
    return area_field(independent(D), *args, priors=((HALF_NORMAL, 1.0),))


def test_nodes_of_a_field(rng, monkeypatch):
    model = field(rng)
    assert fields.gaussian_field(model).diagnostics["quadrature_error"] < fields.LARGEST_ERROR
    monkeypatch.setattr(fields, "_difference", lambda *_, **__: 0.2)
    with pytest.raises(SaeConvergenceError, match=r"differ by 0\.20"):
        fields.gaussian_field(model)


def test_the_stored_error_of_a_field_is_that_of_finer_nodes(rng, monkeypatch):
    model = field(rng)
    coarse = fields.gaussian_field(model, tolerance=1.0)
    monkeypatch.setattr(fields, "_LEVELS", {1: ((0.1, 45.0),)})
    fine = fields.gaussian_field(model)
    (mean, sd), (exact, exact_sd) = coarse.moments(), fine.moments()
    apart = np.maximum(np.abs(mean - exact), np.abs(sd - exact_sd)) / exact_sd
    assert apart.max() <= coarse.diagnostics["quadrature_error"] + 1e-9


@pytest.mark.parametrize("error", [0.2, np.nan, np.inf])
def test_nodes_of_a_variance_ratio(error, rng, monkeypatch):
    area = np.repeat(np.arange(8), 5)
    X = np.ones((40, 1))
    sums = area_sums(rng.normal(size=40) + rng.normal(size=8)[area], X, area, 8)
    means, prior = AreaMeans(np.ones((8, 1)), np.full(8, np.inf)), HyperPrior(HALF_NORMAL, 1.0)
    found = ExactNestedError.of(sums, means, prior, range(8))
    assert found.diagnostics["quadrature_error"] < 0.01
    poor = replace(nested_error_posterior(sums, prior), error=error)
    monkeypatch.setattr(nested_error, "nested_error_posterior", lambda *_, **__: poor)
    with pytest.raises(SaeConvergenceError, match="was not found"):
        ExactNestedError.of(sums, means, prior, range(8))
