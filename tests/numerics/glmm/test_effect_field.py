"""Effects from standard normals: slopes by differences, moves that keep η and the prior, exact trajectories.

Calibration: points drawn from the prior, each with data of its own, stay draws from the prior when chains run
on these data. Kolmogorov–Smirnov p-values over all marginals must not be below 1e-4.
"""

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import halfnorm, kstest, norm

from sae.numerics.glmm.effect_field import EffectField
from sae.numerics.glmm.effect_moves import interwoven
from sae.numerics.glmm.inflated_beta import Slopes, beta_parts, log_density
from sae.numerics.glmm.lockstep import Lockstep, Metric
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL, PC

CLOSE = 1e-6  # of differences with a step of 1e-6
SMALLEST = 1e-4
STRUCTURES = [(True, 3, "ar1"), (False, 3, "rw1"), (False, 0, None), (False, 0, "ar1"), (True, 3, None)]
NAMES = ["bym2-ar1", "icar-rw1", "independent", "ar1", "bym2"]


def field(mixed, rank, temporal, code=HALF_NORMAL):
    rng = np.random.default_rng(3)
    areas, periods = 5, 3 if temporal else 1
    root = np.zeros((areas, rank))
    if rank:
        root[:4, : rank - 1] = rng.normal(size=(4, rank - 1))
        root[4, -1] = 1.0  # an island
    return EffectField(
        np.column_stack([np.ones(areas * periods - 1), rng.normal(size=areas * periods - 1)]),
        rng.permutation(areas * periods)[:-1],
        root,
        np.array([1.0, 1.0, 1.0, 1.0, 0.0 if rank else 1.0]),
        mixed,
        temporal,
        rng.normal(size=(periods, periods)),
        (code, 0.7),
        0.8,
    )


def prior_draws(at, size, rng):
    q = rng.normal(size=(size, at.size))
    for name in ("sigma_u", "sigma_v"):
        q[:, at.places[name]] = np.abs(q[:, at.places[name]])
    return q


def p_values(at, q):
    """Of every normal by itself, and of the size of each block of effects."""
    out = {}
    for name, where in at.places.items():
        law = halfnorm if name.startswith("sigma") else norm
        for k in range(where.start, min(where.stop, where.start + 4)):
            out[name, k] = kstest(q[:, k], law.cdf).pvalue
    return out


@pytest.mark.parametrize("structure", STRUCTURES, ids=NAMES)
@pytest.mark.parametrize("code", [HALF_NORMAL, HALF_CAUCHY, PC])
def test_slopes_are_those_of_the_predictor(structure, code, rng):
    at = field(*structure, code)
    q, g = rng.normal(size=(3, at.size)), rng.normal(size=(3, len(at.cell)))
    eta, pull = at.predict(q)
    steps = 1e-6 * np.eye(at.size)
    brute = np.array(
        [((at.predict(q + s)[0] - at.predict(q - s)[0]) * g).sum(axis=1) / 2e-6 for s in steps]
    ).T
    np.testing.assert_allclose(pull(g), brute, atol=CLOSE)
    np.testing.assert_allclose(at.jacobian(q[0]) @ g[0], brute[0], atol=CLOSE)
    assert eta.shape == g.shape


@pytest.mark.parametrize("structure", STRUCTURES, ids=NAMES)
def test_moves_keep_the_predictor_and_the_prior(structure):
    at, rng = field(*structure), np.random.default_rng(1)
    start = prior_draws(at, 2000, rng)
    q = start
    for _ in range(4):
        q = interwoven(at, q, rng)
    np.testing.assert_allclose(at.predict(q)[0], at.predict(start)[0], atol=1e-9)
    assert np.corrcoef(q[:, at.curved[0]], start[:, at.curved[0]])[0, 1] < 0.99
    assert min(p_values(at, q).values()) > SMALLEST


@pytest.mark.parametrize("structure", STRUCTURES, ids=NAMES)
def test_chains_keep_the_joint_distribution_of_parameters_and_data(structure):
    """Geweke (2004), J. Am. Stat. Assoc. 99, 799-804; every chain has shares of its own."""
    at, rng = field(*structure), np.random.default_rng(2)
    start = prior_draws(at, 500, rng)
    n = rng.integers(8, 30, len(at.cell)).astype(float)
    eta = at.predict(start)[0]
    log_zero, log_one, _, a, b = beta_parts(eta, n, np)
    chance = rng.random(eta.shape)
    inside = np.clip(rng.beta(np.maximum(a, 1e-12), np.maximum(b, 1e-12)), 1e-12, 1 - 1e-12)
    y = np.where(chance < np.exp(log_zero), 0.0, np.where(chance > -np.expm1(log_one), 1.0, inside))
    every = Slopes.of(y.ravel(), np.broadcast_to(n, y.shape).ravel())

    def log_likelihood(q):
        return log_density(at.predict(q)[0], y, n, np, gammaln).sum(axis=1)

    def slopes(q):
        eta, pull = at.predict(q)
        return pull(every.at(eta.reshape(1, -1)).reshape(eta.shape))

    run = Lockstep(log_likelihood, slopes, start, rng)
    run.step = 0.12
    metric = Metric.of(np.eye(at.size))
    for _ in range(5):
        run.sweep(metric)
        run.replace(interwoven(at, run.points, rng))
    moved = np.corrcoef(run.points[:, -1], start[:, -1])[0, 1]
    assert moved < 0.7 and run.acceptance > 0.2
    assert min(p_values(at, run.points).values()) > SMALLEST, p_values(at, run.points)


def test_tables_of_slopes_are_close_where_the_likelihood_is():
    y, n = np.array([0.0, 0.12, 0.5, 1.0]), np.array([20.0, 40.0, 3000.0, 9.0])
    middle = np.clip(y, 0.5 / n, 1 - 0.5 / n)
    size = 1 / np.sqrt(n * middle * (1 - middle))
    eta = np.log(middle / (1 - middle)) + size * np.linspace(-2, 2, 9)[:, None]
    step = 1e-4 * size
    brute = (log_density(eta + step, y, n, np, gammaln) - log_density(eta - step, y, n, np, gammaln)) / (
        2 * step
    )
    np.testing.assert_allclose(Slopes.of(y, n).at(eta) * size, brute * size, atol=0.02)
