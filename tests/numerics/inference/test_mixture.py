"""Mixtures over nodes: quantiles, leave-one-out densities, covariances between areas."""

import numpy as np
import pytest
from scipy.special import ndtr

from sae.numerics.fay_herriot.mixture import area_mixture, leave_one_out, shared_columns
from sae.numerics.fay_herriot.posterior import Areas, draw_areas, draw_hyper, place_nodes
from sae.numerics.inference.priors import FLAT_VARIANCE, HALF_NORMAL, log_prior

BRUTE = 1e-8  # the trapezoidal rule of the test, 1,201 points on log σ
MONTE_CARLO = 0.03  # of 40,000 draws: six standard errors of a correlation


def problem(rng, n=9):
    D = np.exp(rng.normal(size=n))
    X = np.vstack([np.ones(n), rng.normal(size=n)])
    return Areas.of(rng.normal(size=n) * np.sqrt(D + 0.5), D, X, np.arange(n) != 4)


def marginal(y, D, X, prior):
    """p(y) with flat coefficients and the prior up to a constant, by a dense rule on log σ."""
    u = np.linspace(-22.0, 9.0, 1201)
    logs = []
    for sd in np.exp(u):
        w = 1.0 / (sd**2 + D)
        gram = (X * w) @ X.T
        residual = y - np.linalg.solve(gram, (X * w) @ y) @ X
        value = 0.5 * (np.log(w).sum() - np.linalg.slogdet(gram)[1] - (w * residual**2).sum())
        logs.append(value - 0.5 * (len(y) - len(X)) * np.log(2 * np.pi))
    return np.exp(np.array(logs) + log_prior(prior, np.exp(u)) + u).sum() * (u[1] - u[0])


def test_quantiles_invert_the_mixture(rng):
    areas = problem(rng)
    mixture = area_mixture(place_nodes(areas, [(FLAT_VARIANCE, 1.0)]), areas)
    for probability in (1e-4, 0.025, 0.5, 0.975):
        q = mixture.quantile(probability)
        back = mixture.weights @ ndtr((q - mixture.means) / mixture.sds)
        np.testing.assert_allclose(back, probability, rtol=1e-8)


@pytest.mark.parametrize("prior", [(HALF_NORMAL, 0.8), (FLAT_VARIANCE, 1.0)])
def test_leave_one_out_is_the_ratio_of_marginals(rng, prior):
    areas = problem(rng)
    found = leave_one_out(place_nodes(areas, [prior]), areas)
    kept = np.flatnonzero(areas.sampled)
    for place, d in enumerate(kept):
        others = kept[kept != d]
        whole = marginal(areas.y[kept], areas.vardir[kept], areas.X[:, kept], prior)
        rest = marginal(areas.y[others], areas.vardir[others], areas.X[:, others], prior)
        assert found[place] == pytest.approx(np.log(whole / rest), abs=BRUTE)


def test_leave_one_out_of_an_area_that_alone_carries_a_coefficient(rng):
    areas = problem(rng)
    X = np.vstack([np.ones(9), np.eye(9)[2]])
    areas = Areas.of(areas.y, areas.vardir, X, areas.sampled)
    found = leave_one_out(place_nodes(areas, [(HALF_NORMAL, 0.8)]), areas)
    assert np.isnan(found).tolist() == [False, False, True, *[False] * 5]


def test_shared_columns_are_the_covariance_between_areas(rng):
    areas = problem(rng)
    nodes = place_nodes(areas, [(HALF_NORMAL, 1.0)], fine=True)
    hyper = draw_hyper(nodes, np.array([1], np.uint64), 40_000)
    values = draw_areas(hyper, areas, np.array([2], np.uint64))
    columns = shared_columns(nodes, areas)
    _, sd = area_mixture(nodes, areas).moments()
    off = ~np.eye(9, dtype=bool)
    expected = (columns @ columns.T / np.outer(sd, sd))[off]
    assert np.abs(np.corrcoef(values.T)[off] - expected).max() < MONTE_CARLO
    assert np.abs(expected).max() > 5 * MONTE_CARLO  # there is something to see
