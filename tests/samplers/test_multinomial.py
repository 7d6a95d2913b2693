"""Draws of the multinomial model: against weighted draws from the prior, NUTS, calibration, streams."""

from importlib.util import find_spec

import numpy as np
import pytest
from scipy.special import log_softmax

from sae.numerics.glmm.multinomial import root_of, split_root
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL, PC
from sae.numerics.inference.psis import ess
from sae.samplers.multinomial import sample_multinomial

ERRORS = 4.0  # Monte Carlo standard errors


def log_shares(X, beta, effect):
    """Log shares of draws, (S, D, K)."""
    eta = np.einsum("dp,...pk->...dk", X, beta) + effect
    return log_softmax(np.concatenate([eta, np.zeros((*eta.shape[:-1], 1))], axis=-1), axis=-1)


def simulated(rng, X, size, code=HALF_NORMAL, k=2):
    """Parameters from the prior with normal(0, 1) coefficients, and counts."""
    root = root_of(rng.normal(size=(1, k * (k + 1) // 2)), code, np.ones(k))[0]
    beta, effect = rng.normal(size=(X.shape[1], k)), rng.normal(size=(len(X), k)) @ root.T
    log_p = log_shares(X, beta, effect)
    counts = np.array([rng.multinomial(size, p) for p in np.exp(log_p)]).astype(float)
    return (*split_root(root), beta, effect, log_p), counts


def example(areas=30):
    rng = np.random.default_rng(7)
    X = np.column_stack([np.ones(areas), rng.normal(size=areas)])
    effect = rng.normal(size=(areas, 2)) @ np.array([[0.5, 0.1], [0.0, 0.4]])
    p = np.exp(log_shares(X, np.array([[0.5, -1.0], [0.3, -0.3]]), effect))
    return np.array([rng.multinomial(40, q) for q in p]).astype(float), X


@pytest.mark.parametrize("code", [PC, HALF_CAUCHY])
def test_the_posterior_is_that_of_weighted_draws_from_the_prior(code):
    counts, X = np.array([[5.0, 0.0, 2.0], [1.0, 3.0, 0.0], [0.0, 1.0, 3.0]]), np.ones((3, 1))
    rng, size = np.random.default_rng(3), 300_000
    root = root_of(rng.normal(size=(size, 3)), code, np.array([0.7, 1.5]))
    beta = rng.normal(size=(size, 1, 2))
    effect = np.einsum("sij,sdj->sdi", root, rng.normal(size=(size, 3, 2)))
    log_p = log_shares(X, beta, effect)
    weights = np.exp((counts * log_p).sum(axis=(1, 2)))
    weights /= weights.sum()
    found = sample_multinomial(counts, X, code, np.array([0.7, 1.5]), seed=5, wide=1.0, draws=400).draws
    sd, rho = split_root(root)
    share = np.exp(log_shares(X, found["beta"], found["effect"]))
    for exact, drawn in (
        (1.0 / (1.0 + sd[:, 0]), 1.0 / (1.0 + found["sigma"][..., 0])),
        (np.log(sd[:, 1]), np.log(found["sigma"][..., 1])),
        (rho[:, 0], found["correlation"][..., 0]),
        (beta[:, 0, 1], found["beta"][..., 0, 1]),
        (np.exp(log_p[:, 0, 1]), share[..., 0, 1]),
        (np.tanh(effect[:, 2, 0]), np.tanh(found["effect"][..., 2, 0])),
    ):
        mean = weights @ exact
        error = np.sqrt(weights**2 @ (exact - mean) ** 2 + drawn.var() / ess(drawn))
        assert abs(drawn.mean() - mean) < ERRORS * error


def ranks_of(code, replicates, *, k=2, areas=8, size=15, draws=40):
    """Ranks of the truth among 31 draws, of standard deviations, correlation, shares and likelihood."""
    rng, ranks, kept = np.random.default_rng(1), [], 31
    X = np.column_stack([np.ones(areas), rng.normal(size=areas)])
    for seed in range(replicates):
        (sd, rho, beta, effect, log_p), counts = simulated(rng, X, size, code, k)
        found = sample_multinomial(counts, X, code, np.ones(k), seed=seed, wide=1.0, draws=draws).joined()
        some = {name: v[np.linspace(0, len(v) - 1, kept).astype(int)] for name, v in found.items()}
        drawn = log_shares(X, some["beta"], some["effect"])
        ranks.append(
            [
                *(some["sigma"] < sd).sum(axis=0),
                *(some["correlation"] < rho).sum(axis=0),
                (some["beta"][:, 1, 0] < beta[1, 0]).sum(),
                (some["effect"][:, 2, 1] < effect[2, 1]).sum(),
                *(drawn[:, 0] < log_p[0]).sum(axis=0),
                ((counts * drawn).sum(axis=(1, 2)) < (counts * log_p).sum()).sum(),
            ]
        )
    return np.array(ranks), kept


def test_a_few_fits_are_calibrated(assert_uniform):
    assert_uniform(*ranks_of(HALF_NORMAL, 20, draws=16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "options"),
    [
        (HALF_NORMAL, {}),
        (PC, {"areas": 30, "size": 5}),
        (HALF_NORMAL, {"k": 3, "areas": 10, "size": 8}),
    ],
)
def test_the_posterior_is_calibrated(code, options, assert_uniform):
    assert_uniform(*ranks_of(code, 200, **options))


def test_chains_agree_and_repeat():
    counts, X = example()
    found = sample_multinomial(counts, X, HALF_NORMAL, np.ones(2), seed=1, draws=300)
    assert found.checked().r_hat < 1.03 and found.ess > 400 and found.divergences == 0
    again = sample_multinomial(counts, X, HALF_NORMAL, np.ones(2), seed=1, draws=300)
    for name, values in found.draws.items():
        np.testing.assert_array_equal(values, again.draws[name])


def test_an_area_without_a_sample_changes_no_other():
    """Its effects come from the covariance of every draw, by its own stream."""
    counts, X = example()
    names = [f"a{d:02d}" for d in range(len(X))]
    plain = sample_multinomial(counts, X, HALF_NORMAL, np.ones(2), seed=1, names=names, draws=150).draws
    first, last = np.zeros((1, 3)), np.zeros((2, 3))
    more = sample_multinomial(
        np.vstack([first, counts, last]),
        np.vstack([X[:1], X, X[:2]]),
        HALF_NORMAL,
        np.ones(2),
        seed=1,
        names=["A", *names, "b", "c"],
        draws=150,
    ).draws
    np.testing.assert_array_equal(more["effect"][:, :, 1:-2], plain["effect"])
    np.testing.assert_array_equal(more["sigma"], plain["sigma"])
    scaled = more["effect"][:, :, [0, -2, -1]] / plain["sigma"][:, :, None]
    assert abs(scaled.std() - 1.0) < ERRORS / np.sqrt(2 * 8 * 150 * 3)
    assert len(np.unique(scaled)) == scaled.size


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pymc") is None, reason="needs pymc")
def test_the_draws_are_those_of_nuts():
    from sae.unit_level.glmm.multinomial_nuts import sample_by_nuts

    counts, X = example()
    counts[4] = 0.0
    units = np.array([0.5, 1.0])
    ours = sample_multinomial(counts, X, HALF_NORMAL, units, seed=1, draws=2000).draws
    theirs = sample_by_nuts(counts, X, HALF_NORMAL, units, seed=1, draws=4000).draws
    for name in ours:
        a, b = (one[name].reshape(*one[name].shape[:2], -1) for one in (ours, theirs))
        for j in range(a.shape[2]):
            for what in (np.asarray, np.square):
                one, other = what(a[..., j]), what(b[..., j])
                error = np.sqrt(one.var() / ess(one) + other.var() / ess(other))
                assert abs(one.mean() - other.mean()) < (ERRORS + 0.5) * error, (name, j)  # 130 comparisons
