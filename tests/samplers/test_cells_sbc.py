"""Simulation-based calibration of the logit model by cells: hyperparameters, effects and area proportions."""

import numpy as np
import pytest
from scipy.special import expit

from sae.numerics.glmm.unit_kernels import draws, shares, uniforms
from sae.numerics.glmm.unit_logit import Cells, weighted_points
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.random.streams import stream_keys
from sae.samplers.cells import CellsPosterior, Population

AREAS, SAMPLED = 8, 7
DRAWS = 39
SCALE, BETA_SD = 0.8, 1.0
INVERSE = 1e-3  # in probability: curves through 65 levels, one for each direction


def ranks_of(replicates, seed, points):
    keys, found = stream_keys(seed, "effects", range(SAMPLED)), []
    people = np.column_stack([np.ones(3 * AREAS), np.tile([-1.0, 0.0, 1.5], AREAS)])
    size, people_starts = np.tile([3.0, 2.0, 4.0], AREAS), np.arange(0, 3 * AREAS + 1, 3)
    for replicate in range(replicates):
        rng = np.random.default_rng([seed, replicate])
        sigma, beta = abs(SCALE * rng.normal()), BETA_SD * rng.normal(size=2)
        u = sigma * rng.normal(size=AREAS)
        area = np.repeat(np.arange(SAMPLED), rng.integers(1, 25, SAMPLED))
        X = np.column_stack([np.ones(len(area)), rng.choice([-1.0, 0.0, 1.5], len(area))])
        y = rng.binomial(1, expit(X @ beta + u[area])).astype(float)
        cells = Cells.of(X, y, np.ones(len(y)), area, SAMPLED)
        fit = weighted_points(cells, (HALF_NORMAL, SCALE), BETA_SD, points)
        betas, sigmas = fit.resample(DRAWS, rng)
        places = uniforms(keys + np.uint64(replicate), DRAWS)
        drawn = draws(*cells.arrays, betas, sigmas, places)
        drawn = np.column_stack([drawn, sigmas * rng.normal(size=DRAWS)])  # the area without a sample
        truth = shares(people, size, people_starts, beta[None], u[None])[0]
        proportions = shares(people, size, people_starts, betas, drawn)
        below = [
            sigmas < sigma,
            betas[:, 0] < beta[0],
            betas[:, 1] < beta[1],
            drawn[:, 0] < u[0],
            proportions[:, 1] < truth[1],
            proportions[:, -1] < truth[-1],
            proportions.mean(axis=1) < truth.mean(),
        ]
        found.append([column.sum() for column in below])
    return np.array(found)


def test_ranks_are_uniform(assert_uniform):
    assert_uniform(ranks_of(80, 1, 256), DRAWS)


@pytest.mark.slow
def test_ranks_of_many_replicates_are_uniform(assert_uniform):
    assert_uniform(ranks_of(1000, 2, 512), DRAWS)


@pytest.fixture(scope="module")
def posterior():
    rng = np.random.default_rng(5)
    area = np.repeat(np.arange(SAMPLED), rng.integers(3, 25, SAMPLED))
    X = np.column_stack([np.ones(len(area)), rng.integers(0, 4, len(area))])
    y = rng.binomial(1, expit(X @ [-0.5, 0.3] + 0.6 * rng.normal(size=SAMPLED)[area])).astype(float)
    cells = Cells.of(X, y, np.ones(len(y)), area, AREAS)
    people = np.column_stack([np.ones(4 * AREAS), np.tile(np.arange(4.0), AREAS)])
    population = Population(people, rng.uniform(1, 9, 4 * AREAS), np.arange(0, 4 * AREAS + 1, 4))
    return CellsPosterior(cells, population, (HALF_NORMAL, 1.0), [f"a{d}" for d in range(AREAS)])


def test_moments_quantiles_and_draws_agree(posterior):
    mean, sd = posterior.moments()
    sample = posterior.draw(4000, 1)
    assert np.abs((sample.values.mean(axis=0) - mean) / sd).max() < 4 / np.sqrt(4000)
    np.testing.assert_allclose(sample.values.std(axis=0), sd, rtol=4 / np.sqrt(8000))
    for p in (0.025, 0.3, 0.95):
        below = (sample.values < posterior.quantiles(p)[0]).mean(axis=0)
        assert np.abs(below - p).max() < 4 * np.sqrt(p * (1 - p) / 4000)
        np.testing.assert_allclose(posterior.exceedance(posterior.quantiles(p)[0]), 1 - p, atol=INVERSE)
    median = posterior.quantiles(0.5)[0]
    assert np.abs(posterior.exceedance(median) - 0.5).max() < 1e-3
    assert sample.log_likelihood.shape == sample.replicated.shape == (4000, SAMPLED)
    shared = posterior.shared()
    want = np.cov(sample.values.T)
    off = ~np.eye(AREAS, dtype=bool)
    scale = np.outer(sd, sd)
    assert np.abs((shared @ shared.T - want) / scale)[off].max() < 5 / np.sqrt(4000)


def test_draws_are_named_by_the_seed(posterior):
    """Effects are named by area and number, hyperparameters by the seed."""
    np.testing.assert_array_equal(posterior.values(50, 3), posterior.draw(50, 3).values)
    assert (posterior.values(50, 3) != posterior.values(50, 4)).all()


def test_leaving_an_area_out_is_fitting_without_it(posterior):
    """elpd and the marginal likelihood of the area under the posterior of all others."""
    elpd, k = posterior.loo()
    assert k.max() < 0.7
    own = posterior.own
    on, d = np.arange(SAMPLED), 2
    first, last = own.starts[d], own.starts[d + 1]
    kept = np.r_[0:first, last : len(own.y)]
    starts = own.starts.copy()
    starts[d + 1 :] -= last - first
    rest = Cells(own.X[kept], own.y[kept], own.n[kept], starts)
    fit = weighted_points(rest, posterior.prior)
    found = own.log_likelihood(fit.beta, np.exp(fit.log_sigma), by_area=True)[:, d]
    top = found.max()
    want = top + np.log(fit.weights @ np.exp(found - top))
    assert len(elpd) == len(on)
    np.testing.assert_allclose(elpd[d], want, atol=0.02)  # weights of 4096 points
