"""Joint posteriors over nodes: sums, second moments and draws against dense matrices at every node."""

import numpy as np
import pytest
from scipy import sparse

from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.transforms import TRANSFORMS

EXACT = 1e-10  # sums of a few dozen numbers
SAMPLED = 0.06  # 5 standard errors of a second moment from 20,000 draws


@pytest.fixture(params=[1, 2])
def joint(request, rng):
    K, M, p, R = 4, 6, 2, request.param
    weights = rng.dirichlet(np.ones(K))
    return JointMixture(
        weights, rng.normal(size=(K, M)), rng.normal(size=(K, M, R)), rng.normal(size=(K, M, p))
    )


def dense(joint):
    """Covariance at every node, shape (K, M, M)."""
    _, M, R = joint.own.shape
    found = np.einsum("kip,kjp->kij", joint.loadings, joint.loadings)
    for first in range(0, M, R):
        block = joint.own[:, first : first + R]
        found[:, first : first + R, first : first + R] += np.einsum("kir,kjr->kij", block, block)
    return found


def test_sums_have_the_dense_moments_at_every_node(joint, rng):
    W = rng.normal(size=(3, 6)) * (rng.random((3, 6)) < 0.7)
    sums = joint.sums(sparse.csr_array(W))
    np.testing.assert_allclose(sums.means, joint.means @ W.T, rtol=EXACT, atol=EXACT)
    expected = np.einsum("si,kij,sj->ks", W, dense(joint), W)
    np.testing.assert_allclose(sums.sds**2, expected, rtol=EXACT, atol=EXACT)


def test_second_moments_are_about_the_predictions(joint, rng):
    centre = rng.normal(size=6)
    apart = joint.means - centre
    expected = np.einsum("k,kij->ij", joint.weights, dense(joint) + apart[:, :, None] * apart[:, None, :])
    error = joint.error(centre)
    np.testing.assert_allclose(error.covariance(), expected, rtol=1e-8, atol=1e-8)
    W = sparse.csr_array(rng.normal(size=(2, 6)))
    np.testing.assert_allclose(error.mse_of(W), np.diag(W @ expected @ W.T.toarray()), rtol=1e-8)


def test_draws_have_these_moments_and_repeat(joint):
    labels = [f"row {k}" for k in range(6)]
    draws = joint.values(20_000, 1, labels)
    expected = joint.error(np.zeros(6)).covariance()
    size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert np.abs(draws.T @ draws / 20_000 / size - expected / size).max() < SAMPLED
    np.testing.assert_array_equal(draws[:5], joint.values(5, 1, labels))


def test_the_reported_scale_keeps_moments_of_rows_and_slopes_between_them(rng):
    """Of a log both are known in closed form; between rows the slope at the mean, for small variances."""
    own, loadings = 0.05 * np.ones((1, 2, 1)), 0.08 * np.ones((1, 2, 1))
    joint = JointMixture(np.ones(1), np.array([[1.0, 2.0]]), own, loadings).reported(TRANSFORMS["log"])
    variance, shared = 0.05**2 + 0.08**2, 0.08**2
    mean = np.exp(np.array([1.0, 2.0]) + 0.5 * variance)
    covariance = np.outer(mean, mean) * np.expm1(np.array([[variance, shared], [shared, variance]]))
    np.testing.assert_allclose(joint.means[0], mean, rtol=1e-12)
    np.testing.assert_allclose(np.diag(dense(joint)[0]), np.diag(covariance), rtol=1e-8)
    assert dense(joint)[0, 0, 1] == pytest.approx(covariance[0, 1], rel=0.5 * shared * 1.01)


def test_moving_and_widening(joint, rng):
    factor, shift = rng.uniform(0.5, 1, 6), rng.normal(size=6)
    moved = joint.moved(factor, shift)
    np.testing.assert_allclose(moved.means, shift + factor * joint.means)
    np.testing.assert_allclose(dense(moved), dense(joint) * np.outer(factor, factor))
    if joint.own.shape[2] == 1:
        more = dense(joint.widened(np.full(6, 0.3))) - dense(joint)
        np.testing.assert_allclose(more, np.broadcast_to(0.3 * np.eye(6), more.shape), atol=EXACT)


def test_a_row_without_a_variance_says_so(joint):
    endless = np.arange(6) == 2
    error = JointMixture(joint.weights, joint.means, joint.own, joint.loadings, endless).error(np.zeros(6))
    assert np.isinf(error.mse()).tolist() == endless.tolist()
    sums = error.mse_of(sparse.csr_array([[1.0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]]))
    assert np.isfinite(sums[0]) and np.isinf(sums[1])


def test_second_moments_that_no_number_holds_are_infinite_and_leave_the_others_alone(rng):
    weights, means = np.array([0.5, 0.5]), rng.normal(size=(2, 4))
    own, loadings = np.ones((2, 4, 1)), rng.normal(size=(2, 4, 1))
    right = JointMixture(weights, means, own, loadings).error(np.zeros(4))
    means[1, 2] = np.inf
    error = JointMixture(weights, means, own, loadings).error(np.zeros(4))
    assert error.scale.tolist() == [1.0, 1.0, np.inf, 1.0]
    others = np.array([0, 1, 3])
    products = ((e.shared @ e.shared.T).toarray()[np.ix_(others, others)] for e in (error, right))
    np.testing.assert_allclose(*products, atol=1e-12)
