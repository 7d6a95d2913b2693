"""Simulation-based calibration of zero/one-inflated beta shares: slow."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from sae.area_level.glmm.inflated_beta_fit import read_shares
from sae.numerics.glmm.inflated_beta import beta_parts
from sae.numerics.inference.priors import HALF_NORMAL
from sae.samplers.inflated_beta import sample_inflated


@pytest.mark.slow
def test_inflated_beta_is_calibrated(assert_uniform):
    """200 replicates of independent areas, by the house's own chains."""
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
            replace(panel, y=y), (HALF_NORMAL, 1.0), seed=seed, wide=1.0, draws=400, chains=4
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
