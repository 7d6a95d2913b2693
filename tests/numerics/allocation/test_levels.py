"""Posteriors of levels on a grid: against the closed normal form, and against exact binomial posteriors."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from sae.numerics.allocation.levels import normal_levels, share_levels

GRID = 1e-6  # of a grid of 801 points over 14 standard deviations, times the scale
EXACT = 2e-3  # midpoints of two grids


def test_normal_levels_are_the_closed_form():
    rng = np.random.default_rng(1)
    X = np.stack([np.ones(30), rng.normal(size=30)])
    D = rng.uniform(0.5, 2.0, 30)
    y = X.T @ [1.0, 0.5] + rng.normal(size=30) + np.sqrt(D) * rng.normal(size=30)
    y[4], D[4] = np.nan, np.nan
    A = 0.7
    seen = np.isfinite(y)
    V = np.diag(1.0 / (A + D[seen]))
    Q = np.linalg.inv(X[:, seen] @ V @ X[:, seen].T)
    fitted, leverage = X.T @ Q @ X[:, seen] @ V @ y[seen], np.einsum("pd,pq,qd->d", X, Q, X)
    gamma = np.where(seen, A / (A + np.where(seen, D, 1.0)), 0.0)
    mean = fitted + gamma * (np.where(seen, y, 0.0) - fitted)
    variance = A * (1 - gamma) + (1 - gamma) ** 2 * leverage
    levels = normal_levels(y, D, X, np.array([A]), np.ones(1))
    np.testing.assert_allclose(levels.mean(levels.grid), mean, atol=GRID)
    spread = levels.mean(levels.grid**2) - levels.mean(levels.grid) ** 2
    np.testing.assert_allclose(spread, variance, rtol=1e-3)  # of the grid's ends
    uniform = np.full((1, 30), 0.9)
    np.testing.assert_allclose(
        levels.quantiles(uniform)[0], norm.ppf(0.9, mean, np.sqrt(variance)), atol=0.01
    )


@pytest.mark.parametrize("hits", [0, 1, 6, 8])
def test_a_share_of_eight_persons_has_the_exact_posterior(hits):
    rng = np.random.default_rng(2)
    truth = np.clip(0.55 + 0.15 * rng.normal(size=2000), 0.0, 1.5)  # t, with p = sin² t
    y, D = np.r_[np.arcsin(np.sqrt(hits / 8)), truth], np.r_[1 / 32, np.full(2000, 1e-6)]
    levels = share_levels(y, D, np.ones((1, 2001)), np.array([0.15**2]), np.ones(1))
    p = np.sin(levels.grid[0]) ** 2
    grid = np.linspace(1e-4, 0.5 * np.pi - 1e-4, 4001)
    exact = norm.pdf(grid, truth.mean(), 0.15) * binom.pmf(hits, 8, np.sin(grid) ** 2)
    exact /= exact.sum()
    for function in (lambda p: p, lambda p: p * (1 - p)):
        expected = exact @ function(np.sin(grid) ** 2)
        assert levels.weight[0] @ function(p) == pytest.approx(expected, rel=EXACT)


def test_an_area_that_alone_tells_a_coefficient_keeps_its_own_estimate():
    X = np.stack([np.ones(6), np.r_[1.0, np.zeros(5)]])
    levels = share_levels(np.full(6, 0.6), np.full(6, 1 / 4000), X, np.array([0.01]), np.ones(1))
    assert levels.mean(levels.grid)[0] == pytest.approx(0.6, abs=0.005)
