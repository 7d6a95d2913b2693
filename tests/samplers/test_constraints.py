"""Draws that meet figures exactly, against dense conditioning over a grid of σ."""

import numpy as np
import pytest

from sae.numerics.fay_herriot.posterior import Areas
from sae.numerics.inference.priors import HALF_NORMAL, log_prior
from sae.numerics.inference.transforms import TRANSFORMS
from sae.samplers import Sample
from sae.samplers.constraints import area_conditionals, constrain, krige
from sae.samplers.fay_herriot import FayHerriotPosterior

DRAWS = 20_000
MONTE_CARLO = 0.06  # four standard errors of 20,000 draws of which about a third are effective, in sds


@pytest.fixture
def case(rng):
    M = 12
    X, D = np.column_stack([np.ones(M), rng.normal(size=M)]), rng.uniform(0.2, 0.8, M)
    y = X @ [1.0, 0.5] + 0.7 * rng.normal(size=M) + np.sqrt(D) * rng.normal(size=M)
    sampled = np.ones(M, dtype=bool)
    sampled[3] = False
    sums = np.zeros((M, 2))
    sums[:6, 0], sums[6:, 1] = 1 / 6, 1 / 6
    return y, D, X, sampled, sums


def dense(y, D, X, sampled, sd):
    """Mean and covariance of all areas given σ."""
    total = np.diag(sd**2 + D[sampled])
    inverse, own = np.linalg.inv(total), X[sampled]
    Q = np.linalg.inv(own.T @ inverse @ own)
    beta = Q @ own.T @ inverse @ y[sampled]
    between = sd**2 * np.eye(len(y))[:, sampled]
    loose = X - between @ inverse @ own
    mean = X @ beta + between @ inverse @ (y[sampled] - own @ beta)
    return mean, sd**2 * np.eye(len(y)) - between @ inverse @ between.T + loose @ Q @ loose.T


def restricted(y, D, X, sampled, sd):
    total, own = sd**2 + D[sampled], X[sampled]
    gram = own.T @ (own / total[:, None])
    rest = y[sampled] - own @ np.linalg.solve(gram, own.T @ (y[sampled] / total))
    return -0.5 * (np.log(total).sum() + np.linalg.slogdet(gram)[1] + (rest**2 / total).sum())


def test_conditionals_are_dense_algebra(case):
    y, D, X, sampled, _ = case
    sds = np.array([0.1, 0.8, 2.0])
    means, alone, shared = area_conditionals(y, D, X, sampled, sds)
    for k, sd in enumerate(sds):
        mean, covariance = dense(y, D, X, sampled, sd)
        np.testing.assert_allclose(means[k], mean, atol=1e-10)
        np.testing.assert_allclose(np.diag(alone[k]) + shared[k] @ shared[k].T, covariance, atol=1e-10)


def test_constrained_draws_are_the_posterior_given_the_figures(case):
    y, D, X, sampled, sums = case
    targets = np.array([1.3, 0.9])
    grid = np.linspace(0.005, 4.0, 800)
    log_p, means, squares = [], [], []
    for sd in grid:
        mean, covariance = dense(y, D, X, sampled, sd)
        inside = sums.T @ covariance @ sums
        gap = targets - sums.T @ mean
        gain = covariance @ sums @ np.linalg.inv(inside)
        log_p.append(
            restricted(y, D, X, sampled, sd) + log_prior((HALF_NORMAL, 1.0), sd)
            - 0.5 * (np.linalg.slogdet(inside)[1] + gap @ np.linalg.solve(inside, gap))
        )  # fmt: skip
        means.append(mean + gain @ gap)
        squares.append(np.diag(covariance - gain @ sums.T @ covariance) + means[-1] ** 2)
    weights = np.exp(np.array(log_p) - max(log_p))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    deviation = np.sqrt(weights @ np.array(squares) - mean**2)

    areas = Areas.of(y, D, np.ascontiguousarray(X.T), sampled, np.array([0, len(y)]))
    posterior = FayHerriotPosterior(
        areas,
        [(HALF_NORMAL, 1.0)],
        TRANSFORMS["identity"],
        [f"a{k}" for k in range(len(y))],
        [""],
        np.arange(len(y)),
    )
    drawn = posterior.draw(DRAWS, 1)
    parts = area_conditionals(y, D, X, sampled, drawn.parameters["sigma_u"])
    found, k_hat = constrain(drawn, *parts, sums, targets, seed=1)
    assert k_hat < 0.5
    np.testing.assert_allclose(found.values @ sums, np.broadcast_to(targets, (DRAWS, 2)), atol=1e-12)
    assert (np.abs(found.values.mean(axis=0) - mean) / deviation).max() < MONTE_CARLO
    assert np.abs(found.values.std(axis=0) / deviation - 1).max() < MONTE_CARLO
    assert found.parameters["sigma_u"].mean() == pytest.approx(weights @ grid, rel=MONTE_CARLO)


def test_figures_far_from_the_model_and_sums_that_repeat_are_refused(case, rng):
    *_, sums = case
    n, M = 500, len(sums)
    scale = rng.uniform(0.8, 1.2, size=(n, 1))
    wide = Sample(scale * rng.normal(size=(n, M)))
    zero, none = np.zeros((n, M)), np.zeros((n, M, 0))
    with pytest.raises(ValueError, match="contradict the model"):
        constrain(wide, zero, scale**2 + zero, none, sums, np.array([40.0, -40.0]), seed=1)
    with pytest.raises(ValueError, match="depend on each other"):
        krige(wide.values, zero, zero + 1, none, np.column_stack([sums, sums[:, 0]]), np.zeros(3))
