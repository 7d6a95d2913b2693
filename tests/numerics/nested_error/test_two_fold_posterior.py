"""The posterior of the two-fold model with flat priors: a dense grid, refusals, coverage."""

import numpy as np
import pytest
from scipy import sparse

from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.profile import area_sums
from sae.numerics.nested_error.two_fold import TwoFoldSums
from sae.numerics.nested_error.two_fold_posterior import two_fold_posterior

GRID = 0.02  # of a posterior deviation: 1,920 dense nodes, and σe put at its mean given the others
AREA = np.repeat(np.arange(7), [3, 2, 4, 3, 2, 3, 1])
SIZES = np.array([4, 3, 0, 5, 6, 4, 5, 8, 3, 7, 9, 4, 6, 5, 4, 6, 3, 0])


def drawn(rng, areas=AREA, sizes=SIZES, v=1.0, u=0.7):
    sub = np.repeat(np.arange(len(areas)), sizes)
    X = np.column_stack([np.ones(len(sub)), rng.normal(size=len(sub))])
    effect = v * rng.normal(size=areas.max() + 1)[areas] + u * rng.normal(size=len(areas))
    return X.sum(axis=1) + effect[sub] + 0.9 * rng.normal(size=len(sub)), X, sub, effect


@pytest.mark.parametrize("code", [FLAT_VARIANCE, FLAT_SD])
def test_moments_are_those_of_a_dense_grid(rng, code):
    y, X, sub, _ = drawn(rng)
    two = TwoFoldSums(area_sums(y, X, sub, 18), AREA, 7)
    x_mean = np.column_stack([np.ones(18), rng.normal(size=18)])
    posterior = two_fold_posterior(two, AreaMeans(x_mean, np.full(18, np.inf)), code)
    mean, sd = posterior.mixture().moments()
    shapes = [(AREA[:, None] == AREA[sub]) * 1.0, (np.arange(18)[:, None] == sub) * 1.0]
    logs, values, squares = [], [], []
    even = np.linspace(0.05, 6.0, 24)
    for s_v in even:
        for s_u in np.linspace(0.05, 2.5, 16):
            for s_e in np.exp(np.linspace(np.log(0.7), np.log(1.2), 5)):
                V = s_v**2 * shapes[0][sub] + s_u**2 * shapes[1][sub] + s_e**2 * np.eye(len(y))
                W = np.linalg.inv(V)
                Q = np.linalg.inv(X.T @ W @ X)
                beta = Q @ X.T @ W @ y
                rest = y - X @ beta
                C = s_v**2 * shapes[0] + s_u**2 * shapes[1]
                log_det = np.linalg.slogdet(V)[1] - np.linalg.slogdet(Q)[1]
                prior = np.log(s_v * s_u) if code == FLAT_VARIANCE else 0.0
                logs.append(-0.5 * (log_det + rest @ W @ rest) + prior)
                loose = x_mean - C @ W @ X
                values.append(x_mean @ beta + C @ W @ rest)
                inside = s_v**2 + s_u**2 - ((C @ W) * C).sum(axis=1)
                squares.append(inside + ((loose @ Q) * loose).sum(axis=1))
    weight = np.exp(np.array(logs) - max(logs))
    weight /= weight.sum()
    dense = weight @ np.array(values)
    spread = np.sqrt(weight @ (np.array(squares) + (np.array(values) - dense) ** 2))
    assert (np.abs(mean - dense) < GRID * spread).all()
    np.testing.assert_allclose(sd[:-1], spread[:-1], rtol=GRID)  # of the last area the tail is longer
    joint = posterior.joint()
    sums = joint.sums(sparse.csr_array(np.eye(18))).moments()
    np.testing.assert_allclose(sums[0], mean, rtol=1e-10)
    np.testing.assert_allclose(sums[1], sd, rtol=1e-10)


def test_too_few_areas_are_refused(rng):
    y, X, sub, _ = drawn(rng)
    kept = AREA[sub] < 3
    few = TwoFoldSums(area_sums(y[kept], X[kept], sub[kept], 9), AREA[:9], 3)
    with pytest.raises(ValueError, match="improper"):
        two_fold_posterior(few, AreaMeans(X[:9], np.full(9, np.inf)), FLAT_VARIANCE)
    two_fold_posterior(few, AreaMeans(X[:9], np.full(9, np.inf)), FLAT_SD)


def test_intervals_cover_with_few_areas():
    rng = np.random.default_rng(11)
    areas, sizes = np.repeat(np.arange(12), 3), np.tile([2, 4, 6], 12)
    inside = []
    for _ in range(20):
        y, X, sub, effect = drawn(rng, areas, sizes, v=0.4, u=0.3)
        two = TwoFoldSums(area_sums(y, X, sub, 36), areas, 12)
        x_mean = np.column_stack([np.ones(36), rng.normal(size=36)])
        mixture = two_fold_posterior(two, AreaMeans(x_mean, np.full(36, np.inf)), FLAT_VARIANCE).mixture()
        truth = x_mean.sum(axis=1) + effect
        inside.append((mixture.quantile(0.025) < truth) & (truth < mixture.quantile(0.975)))
    assert 0.93 < np.mean(inside) < 0.985
