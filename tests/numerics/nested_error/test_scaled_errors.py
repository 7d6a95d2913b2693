"""Errors of known unequal spread: dense algebra, the limit of equal factors, posterior and leave-one-out."""

import numpy as np
import pytest

from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.nested_error.bootstrap import bootstrap_mse
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.loo import leave_area_out
from sae.numerics.nested_error.mse import AreaMeans, predict, variance_information
from sae.numerics.nested_error.posterior import HyperPrior, nested_error_posterior
from sae.numerics.nested_error.posterior_means import area_mixture
from sae.numerics.nested_error.profile import area_sums

EXACT = 1e-9  # the same numbers by dense matrices of 40 units: rounding only
GRID = 2e-3  # a posterior added up on a grid of 60 x 60 variances
SIGMAS = 4.5  # Monte-Carlo errors that a mean over seeded replicates may be off
AREAS = 8


@pytest.fixture
def units(rng):
    area = np.repeat(np.arange(AREAS), [1, 2, 3, 4, 5, 6, 9, 10])
    X = np.column_stack([np.ones(len(area)), rng.normal(size=len(area))])
    k = rng.uniform(0.4, 3.0, len(area))
    y = X.sum(axis=1) + rng.normal(size=AREAS)[area] + 0.8 * k * rng.normal(size=len(area))
    return y, X, area, k


def covariance(area, k, u2, e2):
    return u2 * (area[:, None] == area) + e2 * np.diag(k**2)


def heights(y, X, V):
    """Return GLS coefficients and their covariance, and the restricted and the full log-likelihood."""
    W = np.linalg.inv(V)
    Q = np.linalg.inv(X.T @ W @ X)
    beta = Q @ X.T @ W @ y
    gap = y - X @ beta
    full = -0.5 * (len(y) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + gap @ W @ gap)
    return beta, Q, full + 0.5 * (X.shape[1] * np.log(2 * np.pi) + np.linalg.slogdet(Q)[1]), full


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_fit_and_prediction_are_the_dense_ones(units, method, rng):
    y, X, area, k = units
    sums = area_sums(y, X, area, AREAS + 1, k)
    fits = fit_nested_error(sums, method)
    u2, e2 = fits.sigma2_u[0], fits.sigma2_e[0]
    V = covariance(area, k, u2, e2)
    beta, Q, *value = heights(y, X, V)
    np.testing.assert_allclose(fits.coefficients[0], beta, rtol=EXACT)
    np.testing.assert_allclose(fits.root[0] @ fits.root[0].T, Q, rtol=EXACT)
    np.testing.assert_allclose(fits.loglik[0], value[method == "ml"], rtol=EXACT)
    for u, e in [(1.02, 1.0), (0.98, 1.0), (1.0, 1.02), (1.0, 0.98)]:
        assert heights(y, X, covariance(area, k, u * u2, e * e2))[2 + (method == "ml")] < fits.loglik[0]
    means = AreaMeans(np.column_stack([np.ones(AREAS + 1), rng.normal(size=AREAS + 1)]), np.full(9, np.inf))
    part = predict(fits, sums, means, method)
    W = np.linalg.inv(V)
    parts = [(area[:, None] == area).astype(float), np.diag(k**2)]
    information = [[0.5 * np.trace(W @ a @ W @ b) for b in parts] for a in parts]
    spread = np.linalg.inv(information)
    np.testing.assert_allclose(variance_information(sums.n, sums.precision, u2, e2), spread, rtol=EXACT)
    for d in range(AREAS + 1):
        v = u2 * (area == d)
        a = means.x_mean[d] - X.T @ W @ v
        np.testing.assert_allclose(part.estimate[d], means.x_mean[d] @ beta + v @ W @ (y - X @ beta))
        np.testing.assert_allclose(part.g1[d] + part.g2[d], u2 - v @ W @ v + a @ Q @ a, rtol=EXACT)
        slopes = [W @ (area == d) - W @ parts[0] @ W @ v, -W @ parts[1] @ W @ v]
        g3 = sum(spread[i, j] * slopes[i] @ V @ slopes[j] for i in range(2) for j in range(2))
        np.testing.assert_allclose(part.g3[d], g3, rtol=EXACT, atol=1e-15)


def test_equal_factors_are_no_factors(units):
    y, X, area, _ = units
    plain = fit_nested_error(area_sums(y, X, area, AREAS))
    for factor in (1.0, 3.0):
        scaled = fit_nested_error(area_sums(y, X, area, AREAS, np.full(len(y), factor)))
        np.testing.assert_allclose(scaled.sigma2_u, plain.sigma2_u, rtol=EXACT)
        np.testing.assert_allclose(scaled.sigma2_e * factor**2, plain.sigma2_e, rtol=EXACT)
        np.testing.assert_allclose(scaled.coefficients, plain.coefficients, rtol=EXACT)
        np.testing.assert_allclose(scaled.loglik, plain.loglik, rtol=EXACT)


def test_the_posterior_is_the_dense_one_on_a_grid(units):
    y, X, area, k = units
    sums = area_sums(y, X, area, AREAS, k)
    posterior = nested_error_posterior(sums, HyperPrior(HALF_NORMAL, 2.0))
    means = AreaMeans(sums.x_mean, np.full(AREAS, np.inf))
    mean, sd = area_mixture(posterior, sums, means).moments()
    logs, values, squares = [], [], []
    for u in np.linspace(0.01, 4.5, 60):
        for e in np.exp(np.linspace(np.log(0.45), np.log(1.6), 60)):
            V = covariance(area, k, u * u, e * e)
            beta, Q, restricted, _ = heights(y, X, V)
            logs.append(restricted - u * u / 8.0)  # dσe / σe: even steps of log σe
            W = np.linalg.inv(V)
            v = u * u * (area[:, None] == np.arange(AREAS))
            a = means.x_mean.T - X.T @ W @ v
            values.append(means.x_mean @ beta + v.T @ W @ (y - X @ beta))
            squares.append(u * u - (v * (W @ v)).sum(axis=0) + (a * (Q @ a)).sum(axis=0))
    weight = np.exp(np.array(logs) - max(logs))
    weight /= weight.sum()
    dense = weight @ np.array(values)
    spread = weight @ (np.array(squares) + (np.array(values) - dense) ** 2)
    np.testing.assert_allclose(mean, dense, atol=GRID)
    np.testing.assert_allclose(sd, np.sqrt(spread), rtol=3 * GRID)


def test_leave_one_area_out_counts_the_factors(units):
    """With the same factor everywhere the densities are those of the plain model."""
    y, X, area, _ = units
    prior = HyperPrior(HALF_NORMAL, 2.0)
    plain, scaled = area_sums(y, X, area, AREAS), area_sums(y, X, area, AREAS, np.full(len(y), 0.3))
    ours, theirs = (leave_area_out(nested_error_posterior(sums, prior), sums) for sums in (scaled, plain))
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


def test_bootstrap_meets_the_analytical_error(rng):
    area = np.repeat(np.arange(60), [2, 3, 4, 6] * 15)
    X, k = np.ones((len(area), 1)), rng.uniform(0.5, 2.0, len(area))
    y = 1.0 + rng.normal(size=60)[area] + 0.7 * k * rng.normal(size=len(area))
    sums = area_sums(y, X, area, 60, k)
    means = AreaMeans(sums.x_mean, np.full(60, np.inf))
    fits = fit_nested_error(sums)
    bootstrap = bootstrap_mse(fits, sums, means, range(60), method="reml", replicates=800, seed=3)
    ratio = bootstrap.mean / predict(fits, sums, means).mse
    assert abs(ratio.mean() - 1) < 0.03
    assert (np.abs(ratio - 1) < SIGMAS * np.sqrt(2 / 800)).all()
