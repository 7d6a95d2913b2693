"""Joined estimates given the covariance of their effects, against dense algebra."""

import numpy as np
import pytest
from scipy.linalg import block_diag, null_space
from scipy.stats import multivariate_normal

from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.importance import (
    CovarianceNodes,
    condition_blocks,
    marginal_blocks,
)
from sae.samplers.mixtures import BlockMixture

EXACT = 1e-9  # the same algebra in another order


@pytest.fixture
def case(rng):
    D, R = 9, 3
    X = np.zeros((D, R, 5))
    X[:, [0, 1, 2], [0, 2, 4]] = 1.0
    X[:, 0, 1], X[:, 1, 3] = rng.normal(size=(2, D))
    root, noise = np.tril(rng.normal(size=(R, R))), 0.4 * rng.normal(size=(D, R, R))
    psi = noise @ np.swapaxes(noise, 1, 2) + 0.2 * np.eye(R)
    y = rng.normal(size=(D, R))
    y[0, 1] = y[4, 0] = np.nan
    y[7] = np.nan
    return BlockAreas(y, X, psi), root @ root.T


def dense(areas, V):
    """All figures as one vector: covariance of the figures, of all rows, and between."""
    D, R = areas.y.shape
    seen = np.isfinite(areas.y).ravel()
    effects = np.kron(np.eye(D), V)
    psi = np.zeros((D * R, D * R))
    for d in range(D):
        psi[d * R : (d + 1) * R, d * R : (d + 1) * R] = areas.psi[d]
    X = areas.X.reshape(D * R, -1)
    total = (effects + psi)[np.ix_(seen, seen)]
    return areas.y.ravel()[seen], X[seen], total, X, effects, effects[:, seen], seen


def test_marginal_is_the_density_of_contrasts_without_coefficients(case):
    areas, V = case
    y, X, total, *_ = dense(areas, V)
    A = null_space(X.T)
    contrast = multivariate_normal(np.zeros(A.shape[1]), A.T @ total @ A).logpdf(A.T @ y)
    # integrating β over its whole space, not over X β, leaves |X'X|^-1/2
    expected = contrast - 0.5 * np.linalg.slogdet(X.T @ X)[1]
    assert marginal_blocks(V[None], areas.arrays)[0] == pytest.approx(expected, abs=EXACT)


def test_conditionals_are_those_of_a_dense_normal(case):
    areas, V = case
    y, X, total, X_all, effects, between, seen = dense(areas, V)
    inverse = np.linalg.inv(total)
    cov_beta = np.linalg.inv(X.T @ inverse @ X)
    beta = cov_beta @ X.T @ inverse @ y
    mean = X_all @ beta + between @ inverse @ (y - X @ beta)
    loose = X_all - between @ inverse @ X
    covariance = effects - between @ inverse @ between.T + loose @ cov_beta @ loose.T
    at = condition_blocks(areas, V[None])
    np.testing.assert_allclose(at.beta[0], beta, atol=EXACT)
    np.testing.assert_allclose(at.root[0] @ at.root[0].T, cov_beta, atol=EXACT)
    np.testing.assert_allclose(at.means[0].ravel(), mean, atol=EXACT)
    np.testing.assert_allclose(at.sds[0].ravel(), np.sqrt(np.diag(covariance)), atol=EXACT)
    left = at.left_out[0].ravel()
    assert np.isnan(left[~seen]).all()
    for row in np.flatnonzero(seen):
        fewer = areas.y.ravel().copy()
        fewer[row] = np.nan
        without = BlockAreas(fewer.reshape(areas.y.shape), areas.X, areas.psi)
        change = marginal_blocks(V[None], areas.arrays) - marginal_blocks(V[None], without.arrays)
        assert left[row] == pytest.approx(change[0], abs=1e-7)


def test_the_covariance_of_all_rows_is_that_of_its_nodes(case):
    areas, V = case
    covariances, weights = np.stack([V, 0.3 * V + 0.2 * np.eye(3), 2.0 * V]), np.array([0.5, 0.2, 0.3])
    nodes = CovarianceNodes(np.zeros((3, 1)), covariances, np.log(weights), 0.0, 3.0)
    means, within = [], 0.0
    for node, weight in zip(covariances, weights, strict=True):
        y, X, total, X_all, effects, between, _ = dense(areas, node)
        inverse = np.linalg.inv(total)
        cov_beta = np.linalg.inv(X.T @ inverse @ X)
        beta = cov_beta @ X.T @ inverse @ y
        means.append(X_all @ beta + between @ inverse @ (y - X @ beta))
        loose = X_all - between @ inverse @ X
        within = within + weight * (effects - between @ inverse @ between.T + loose @ cov_beta @ loose.T)
    off = np.array(means) - weights @ np.array(means)
    columns, alone = BlockMixture(areas, nodes, [], dict, "", range(3)).shared()
    found = columns @ columns.T + block_diag(*alone)
    np.testing.assert_allclose(found, within + off.T @ (weights[:, None] * off), atol=EXACT)
