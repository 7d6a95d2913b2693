"""Simulation-based calibration of the beta-binomial model: all parameters have proper priors."""

import numpy as np
import pytest
from scipy.special import expit

from sae.numerics.glmm.likelihoods import BetaBinomial
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.inference.transforms import TRANSFORMS
from sae.samplers.beta_binomial import BetaBinomialPosterior

AREAS = 6
DRAWS = 39
SCALE = 0.7  # of the half-normal prior of σ
BETA_SD = 1.0
SHAPES = (1.0, 1.0)


def ranks_of(replicates, seed, points):
    design, found = np.ones((AREAS, 1)), []
    for replicate in range(replicates):
        rng = np.random.default_rng([seed, replicate])
        sigma, beta, rho = abs(SCALE * rng.normal()), BETA_SD * rng.normal(), rng.beta(*SHAPES)
        eta = beta + sigma * rng.normal(size=AREAS)
        n, size = rng.integers(2, 40, AREAS), (1 - rho) / rho
        shares = rng.beta(np.maximum(size * expit(eta), 1e-12), np.maximum(size * expit(-eta), 1e-12))
        counts = BetaBinomial(rng.binomial(n, shares).astype(float), n.astype(float), 0.5)
        posterior = BetaBinomialPosterior(
            counts,
            design,
            np.ones(AREAS, dtype=bool),
            (HALF_NORMAL, SCALE),
            TRANSFORMS["logit"],
            [str(d) for d in range(AREAS)],
            BETA_SD,
            SHAPES,
            points,
        )
        sample = posterior.draw(DRAWS, replicate)
        drawn, P = sample.parameters, expit(eta)
        below = [
            drawn["sigma_u"] < sigma,
            drawn["beta"][:, 0] < beta,
            drawn["rho"] < rho,
            sample.values[:, 0] < P[0],
            sample.values[:, 5] < P[5],
            sample.values.mean(axis=1) < P.mean(),
        ]
        found.append([column.sum() for column in below])
    return np.array(found)


def test_ranks_are_uniform(assert_uniform):
    assert_uniform(ranks_of(10, 1, 128), DRAWS)


@pytest.mark.slow
def test_ranks_of_many_replicates_are_uniform(assert_uniform):
    assert_uniform(ranks_of(300, 2, 128), DRAWS)
