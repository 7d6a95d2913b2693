"""Simulation-based calibration: are ranks of the truth among posterior draws uniform?"""

from functools import lru_cache

import numpy as np
import pytest

LEVEL = 0.9999  # of the simultaneous band: one false alarm in ten thousand checks
SIMULATIONS = 20_000


@lru_cache
def ecdf_band(replicates, places):
    """Simultaneous band of the ECDF of uniform ranks (Säilynoja, Bürkner and Vehtari 2022), by simulation."""
    rng = np.random.default_rng(20261122)
    counts = rng.multinomial(replicates, np.full(places, 1.0 / places), size=SIMULATIONS).cumsum(axis=1)[
        :, :-1
    ]
    mean = replicates * np.arange(1, places) / places
    sd = np.sqrt(mean * (1 - np.arange(1, places) / places))
    return mean, sd, np.quantile(np.abs((counts - mean) / sd).max(axis=1), LEVEL)


@pytest.fixture
def assert_uniform():
    """Assert that ranks of the truth among `draws` draws (0 .. draws) are uniform, by column."""

    def check(ranks, draws):
        ranks = np.atleast_2d(np.asarray(ranks).T).T
        mean, sd, limit = ecdf_band(len(ranks), draws + 1)
        for column in ranks.T:
            cumulated = np.bincount(column, minlength=draws + 1).cumsum()[:-1]
            worst = np.abs((cumulated - mean) / sd).max()
            assert worst < limit, f"ranks are not uniform: {worst:.1f} standard errors, band {limit:.1f}"

    return check
