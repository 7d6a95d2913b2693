"""Simulation-based calibration of the families that PyMC samples: slow, 200 replicates each."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from sae.area_level.glmm.inflated_beta_nuts import read_shares
from sae.numerics.glmm.inflated_beta import beta_parts
from sae.numerics.inference.priors import HALF_NORMAL
from sae.samplers.inflated_beta import sample_inflated
from sae.unit_level.glmm.multinomial_nuts import sample_multinomial


@pytest.mark.slow
def test_multinomial_is_calibrated(assert_uniform):
    """200 replicates; the model is compiled once."""
    rng, areas, draws = np.random.default_rng(1), 8, 31
    X, ranks = np.column_stack([np.ones(areas), rng.normal(size=areas)]), []
    for seed in range(200):
        sd, rho, beta = np.abs(rng.normal(size=2)), rng.uniform(-1, 1), rng.normal(size=(2, 2))
        root = np.diag(sd) @ np.array([[1.0, 0.0], [rho, np.sqrt(1 - rho**2)]])
        u = rng.normal(size=(areas, 2)) @ root.T
        p = np.exp(log_softmax(np.column_stack([X @ beta + u, np.zeros(areas)]), axis=1))
        counts = np.array([rng.multinomial(15, q) for q in p]).astype(float)
        found = sample_multinomial(
            counts, X, HALF_NORMAL, np.ones(2), seed=seed, wide=1.0, draws=400, tune=500, chains=4
        ).joined()
        thin = np.linspace(0, 1599, draws).astype(int)
        ranks.append(
            [
                (found["sigma"][thin, 0] < sd[0]).sum(),
                (found["correlation"][thin, 0] < rho).sum(),
                (found["beta"][thin, 1, 0] < beta[1, 0]).sum(),
                (found["effect"][thin, 2, 1] < u[2, 1]).sum(),
            ]
        )
    assert_uniform(np.array(ranks), draws)


@pytest.mark.slow
def test_inflated_beta_is_calibrated(assert_uniform):
    """200 replicates of independent areas; the model is compiled once."""
    areas, draws, rng = 8, 31, np.random.default_rng(1)
    n = rng.integers(8, 30, areas).astype(float)
    frame = pd.DataFrame({"domain": [f"a{k}" for k in range(areas)], "poor": 0.5, "n_eff": n})
    panel, ranks = read_shares(frame, None, "poor ~ 1").panel, []
    for seed in range(200):
        sd, level = abs(rng.normal()), rng.normal()
        u = sd * rng.normal(size=areas)
        log_zero, log_one, _, a, b = beta_parts(level + u, n, np)
        chance, inside = rng.random(areas), np.clip(rng.beta(a, b), 1e-12, 1 - 1e-12)
        y = np.where(chance < np.exp(log_zero), 0.0, np.where(chance > -np.expm1(log_one), 1.0, inside))
        found = sample_inflated(
            replace(panel, y=y), (HALF_NORMAL, 1.0), seed=seed, wide=1.0, draws=400, tune=500
        ).joined()
        thin = np.linspace(0, 1599, draws).astype(int)
        ranks.append(
            [
                (found["sigma_u"][thin] < sd).sum(),
                (found["beta"][thin, 0] < level).sum(),
                (found["eta"][thin, 0] < level + u[0]).sum(),
            ]
        )
    assert_uniform(np.array(ranks), draws)
