"""Quantiles of mixed posteriors: secants against the bracket that never fails."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from sae.numerics.glmm import predictors
from sae.numerics.glmm.predictors import Mixed
from sae.numerics.inference.mixture import Mixture

SAME = 1e-11  # deviations: what either method leaves, and the rounding of scores beyond 4 deviations


def mixed(rng, apart):
    weights = rng.dirichlet(np.ones(60))
    return Mixed((Mixture(weights, apart * rng.normal(size=(60, 9)), rng.uniform(0.3, 1.2, (60, 1))),))


@pytest.mark.parametrize("apart", [0.1, 1.0, 6.0])
def test_quantiles_are_where_the_distribution_function_crosses(apart):
    found = mixed(np.random.default_rng(1), apart)
    p = np.array([0.001, 0.025, 0.5, 0.975, 0.9999])
    for probability, x in zip(p, found.quantiles(p), strict=True):
        assert ndtri(found.cdf(x)) == pytest.approx(ndtri(probability), abs=1e-9)
        mean, sd = found.moments(lambda eta: eta)
        bracket = predictors._crossing(found._scores_less(probability), mean, sd)
        assert np.abs((x - bracket) / sd).max() < SAME


def test_a_distribution_that_is_no_line_is_bracketed(monkeypatch):
    calls = []
    bracket = predictors._crossing
    monkeypatch.setattr(predictors, "_crossing", lambda *given: calls.append(1) or bracket(*given))
    two = Mixed((Mixture(np.array([0.5, 0.5]), np.array([[-40.0], [40.0]]), np.array([[0.01], [0.01]])),))
    x = two.quantiles(np.array([0.25]))[0]
    assert calls and x == pytest.approx([-40.0], abs=1e-9)
    one = Mixed((Mixture(np.ones(1), np.array([[2.0]]), np.array([[3.0]])),))
    del calls[:]
    assert one.quantiles(np.array([ndtr(1.0)]))[0] == pytest.approx([5.0], abs=1e-9) and not calls
