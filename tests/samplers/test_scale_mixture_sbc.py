"""Simulation-based calibration of the Gibbs families: Student-t effects and the horseshoe."""

import numpy as np

from sae.numerics.fay_herriot.gibbs import DF_FLOOR, DF_RATE, DF_SHAPE, run_chain
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.random.streams import stream_keys

REPLICATES, DRAWS = 500, 31
AREAS = 12
THIN = 40  # iterations per kept draw, so that draws count as independent


def rank(truth, draws):
    return int((draws < truth).sum())


def true_values(rng, chain, y, D, X):
    """One draw of the true values per kept draw of the parameters."""
    fitted = chain.beta @ X.T
    effect = chain.sd[:, None] ** 2 * chain.factor
    gain = effect / (effect + D)
    return fitted + gain * (y - fitted) + np.sqrt(gain * D) * rng.normal(size=gain.shape)


def test_student_effects_are_calibrated(assert_uniform):
    rng = np.random.default_rng(1)
    X, D = np.column_stack([np.ones(AREAS), rng.normal(size=AREAS)]), rng.uniform(0.1, 1.0, AREAS)
    ranks = []
    for key in stream_keys(1, "calibration of t", range(REPLICATES)):
        sd, df, beta = abs(rng.normal()), DF_FLOOR + rng.gamma(DF_SHAPE, 1 / DF_RATE), rng.normal(size=2)
        theta = X @ beta + sd * rng.standard_t(df, size=AREAS)
        y = theta + np.sqrt(D) * rng.normal(size=AREAS)
        chain = run_chain(
            y,
            D,
            X,
            (HALF_NORMAL, 1.0),
            key,
            df=np.nan,
            precision=np.ones(2),
            draws=DRAWS,
            tune=200,
            thin=THIN,
        )
        drawn = true_values(rng, chain, y, D, X)
        ranks.append(
            [
                rank(sd, chain.sd),
                rank(df, chain.df),
                rank(beta[1], chain.beta[:, 1]),
                rank(theta[0], drawn[:, 0]),
                rank(theta.max(), drawn.max(axis=1)),
            ]
        )
    assert_uniform(np.array(ranks), DRAWS)


def test_horseshoe_is_calibrated(assert_uniform):
    rng = np.random.default_rng(2)
    X, D = np.column_stack([np.ones(AREAS), rng.normal(size=(AREAS, 3))]), rng.uniform(0.1, 1.0, AREAS)
    shrunk, precision = np.array([False, True, True, True]), np.array([1.0, 0.0, 0.0, 0.0])
    ranks = []
    for key in stream_keys(1, "calibration of the horseshoe", range(REPLICATES)):
        sd, tau = abs(rng.normal()), abs(rng.standard_cauchy())
        beta = np.append(rng.normal(), tau * rng.standard_cauchy(3) * rng.normal(size=3))
        theta = X @ beta + sd * rng.normal(size=AREAS)
        y = theta + np.sqrt(D) * rng.normal(size=AREAS)
        chain = run_chain(
            y,
            D,
            X,
            (HALF_NORMAL, 1.0),
            key,
            shrunk=shrunk,
            precision=precision,
            draws=DRAWS,
            tune=500,
            thin=THIN,
        )
        drawn = true_values(rng, chain, y, D, X)
        ranks.append(
            [
                rank(sd, chain.sd),
                rank(tau, chain.tau),
                rank(beta[1], chain.beta[:, 1]),
                rank(theta[0], drawn[:, 0]),
            ]
        )
    assert_uniform(np.array(ranks), DRAWS)
