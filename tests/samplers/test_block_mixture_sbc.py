"""Simulation-based calibration of the families that are importance nodes over a covariance of effects."""

import numpy as np
import pytest

from sae.area_level.measurement_error.bayes import MeasuredModel
from sae.area_level.multivariate.bayes import effect_posterior
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.multivariate.areas import BlockAreas

REPLICATES, DRAWS, NODES = 500, 31, 256
AREAS = 8


def rank(truth, draws):
    return int((draws < truth).sum())


def design(rng):
    """An intercept per component: its prior is flat, and ranks do not depend on the value that is true."""
    X = np.zeros((AREAS, 2, 2))
    X[:, 0, 0] = X[:, 1, 1] = 1.0
    psi = rng.uniform(0.3, 1.0, AREAS)[:, None, None] * np.array([[1.0, 0.3], [0.3, 1.5]])
    return X, psi


def observe(rng, theta, psi):
    return theta + np.einsum("drs,ds->dr", np.linalg.cholesky(psi), rng.normal(size=theta.shape))


def test_multivariate_posterior_is_calibrated(assert_uniform):
    rng = np.random.default_rng(1)
    X, psi = design(rng)
    ranks = []
    for replicate in range(REPLICATES):
        sd, rho = np.abs(rng.normal(size=2)), rng.uniform(-1, 1)  # LKJ(1) of two is uniform
        V = np.outer(sd, sd) * np.array([[1.0, rho], [rho, 1.0]])
        root = np.diag(sd) @ np.array([[1.0, 0.0], [rho, np.sqrt(1 - rho**2)]])
        theta = rng.normal(size=(AREAS, 2)) @ root.T
        assert np.allclose(root @ root.T, V)
        y = observe(rng, theta, psi)
        y[0, 0] = y[1] = np.nan
        posterior = effect_posterior(
            BlockAreas(y, X, psi),
            [(HALF_NORMAL, 1.0)] * 2,
            [f"{k}" for k in range(2 * AREAS)],
            ["a", "b"],
            nodes=NODES,
        )
        found = posterior.draw(DRAWS, replicate)
        ranks.append(
            [
                rank(sd[0], found.parameters["sigma_u[a]"]),
                rank(rho, found.parameters["rho[a, b]"]),
                *(rank(theta[d, r], found.values[:, 2 * d + r]) for d, r in ((0, 0), (1, 1), (2, 0), (3, 1))),
                rank(theta[4, 0] - theta[4, 1], found.values[:, 8] - found.values[:, 9]),
            ]
        )
    assert_uniform(np.array(ranks), DRAWS)


def test_measurement_error_posterior_is_calibrated(assert_uniform):
    rng = np.random.default_rng(2)
    X, psi = design(rng)
    model = MeasuredModel((HALF_NORMAL, 1.0), ((HALF_NORMAL, 1.0),), np.ones(1), wide=1.0)
    ranks = []
    for replicate in range(REPLICATES):
        sd, sd_x, beta = abs(rng.normal()), abs(rng.normal()), rng.normal()
        x = sd_x * rng.normal(size=AREAS)
        theta = np.column_stack([beta * x + sd * rng.normal(size=AREAS), x])
        y = observe(rng, theta, psi)
        y[0, 0] = np.nan
        posterior = model.posterior(
            BlockAreas(y, X, psi), [f"{k}" for k in range(2 * AREAS)], ["x"], nodes=NODES
        )
        found = posterior.draw(DRAWS, replicate)
        ranks.append(
            [
                rank(sd, found.parameters["sigma_u"]),
                rank(sd_x, found.parameters["sigma_x[x]"]),
                rank(beta, found.parameters["slope[x]"]),
                *(rank(theta[d, 0], found.values[:, d]) for d in (0, 1, 5)),
            ]
        )
    assert_uniform(np.array(ranks), DRAWS)


def test_a_wrong_correlation_is_noticed(assert_uniform):
    """The check can fail: effects that are correlated, under a model of independent ones."""
    rng = np.random.default_rng(3)
    X, psi = design(rng)
    ranks = []
    for replicate in range(100):
        sd = 3.0 * np.abs(rng.normal(size=2))
        theta = rng.normal(size=(AREAS, 1)) * sd
        posterior = effect_posterior(
            BlockAreas(observe(rng, theta, psi), X, psi),
            [(HALF_NORMAL, 1.0)] * 2,
            [f"{k}" for k in range(2 * AREAS)],
            ["a", "b"],
            nodes=64,
            correlated=False,
        )
        found = posterior.draw(DRAWS, replicate)
        ranks.append([rank(sd[0], found.parameters["sigma_u[a]"])])
    with pytest.raises(AssertionError, match="not uniform"):
        assert_uniform(np.array(ranks), DRAWS)
