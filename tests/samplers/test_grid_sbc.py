"""Simulation-based calibration of models with area effects on grids."""

import numpy as np
import pytest
from scipy.special import expit

from sae.numerics.glmm.likelihoods import Beta, Binomial, Poisson, StudentVariance, Unmatched
from sae.numerics.glmm.posterior import GridProblem, draw_all_effects, fit_grid
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.random.streams import stream_keys

AREAS = 8
DRAWS = 39
SCALE = 0.7  # of the half-normal prior of σ
BETA_SD = 1.0


def observe(kind, eta, rng):
    n = rng.integers(2, 30, AREAS).astype(float)
    if kind == "binomial":
        return Binomial(rng.binomial(n.astype(int), expit(eta)).astype(float), n)
    if kind == "poisson":
        return Poisson(rng.poisson(n * np.exp(eta)).astype(float), n)
    if kind == "beta":
        phi, P = n + 2.0, expit(eta)
        return Beta(np.clip(rng.beta(P * phi, (1 - P) * phi), 1e-12, 1 - 1e-12), phi)
    if kind == "unmatched":
        D = 1.0 / n
        return Unmatched(rng.normal(np.exp(eta), np.sqrt(D)), D, TRANSFORMS["log"])
    df, shape, rate = np.full(AREAS, 6.0), 3.0, 0.8
    variance = rate / rng.gamma(shape, size=AREAS)
    s2 = variance * rng.chisquare(df) / df
    return StudentVariance(rng.normal(eta, np.sqrt(variance)), s2, df, shape, rate)


def ranks_of(kind, replicates, seed):
    X = np.column_stack([np.ones(AREAS), np.linspace(-1.5, 1.5, AREAS)])
    keys, found = stream_keys(seed, "effects", range(AREAS)), []
    for replicate in range(replicates):
        rng = np.random.default_rng([seed, replicate])
        sigma, beta = abs(SCALE * rng.normal()), BETA_SD * rng.normal(size=2)
        eta = X @ beta + sigma * rng.normal(size=AREAS)
        likelihood = observe(kind, eta, rng)
        problem = GridProblem(likelihood.log_likelihood, X, (HALF_NORMAL, SCALE), BETA_SD)
        fit = fit_grid(problem, (np.zeros(2), 0.5), 512)
        betas, sigmas = fit.resample(DRAWS, rng)
        # draws take other numbers in every replicate
        draws = draw_all_effects(fit, betas, sigmas, keys + np.uint64(replicate))
        below = [
            sigmas < sigma,
            betas[:, 0] < beta[0],
            betas[:, 1] < beta[1],
            draws[:, 0] < eta[0],
            draws[:, 5] < eta[5],
            draws.mean(axis=1) < eta.mean(),
        ]
        found.append([column.sum() for column in below])
    return np.array(found)


def test_binomial_ranks_are_uniform(assert_uniform):
    assert_uniform(ranks_of("binomial", 100, 1), DRAWS)


@pytest.mark.parametrize("kind", ["poisson", "beta", "unmatched", "student"])
def test_ranks_are_uniform(kind, assert_uniform):
    assert_uniform(ranks_of(kind, 20, 2), DRAWS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["binomial", "poisson", "beta", "unmatched", "student"])
def test_ranks_of_many_replicates_are_uniform(kind, assert_uniform):
    assert_uniform(ranks_of(kind, 1000, 3), DRAWS)
