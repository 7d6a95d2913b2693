"""The factored joint error against full matrices."""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse

from sae.numerics.inference.joint_error import JointError
from sae.numerics.random.streams import normals, stream_keys

EXACT = 1e-12


@pytest.fixture
def joint(rng):
    factors = [rng.normal(size=(2, 4)), rng.normal(size=(2, 3))]
    mse = 1.0 + np.concatenate([(factor**2).sum(axis=0) for factor in factors])
    return JointError.of_fits(mse, factors), mse, factors


def test_diagonal_and_blocks(joint):
    error, mse, factors = joint
    matrix = error.covariance()
    np.testing.assert_allclose(error.mse(), mse, rtol=EXACT)
    np.testing.assert_allclose(np.diag(matrix), mse, rtol=EXACT)
    np.testing.assert_allclose(matrix[0, 1], factors[0][:, 0] @ factors[0][:, 1], rtol=EXACT)
    assert matrix[0, 5] == 0.0  # fits are independent


def test_constraints_compose_as_matrices(joint, rng):
    """Two targets with overlapping areas and errors of their own, then another one."""
    error, _, _ = joint
    matrix = error.covariance()
    for targets in (2, 1):
        S, gain = rng.uniform(size=(7, targets)), rng.normal(size=(7, targets))
        scale, variance = rng.uniform(0.5, 2.0, size=7), rng.uniform(size=targets)
        T = (np.eye(7) - gain @ S.T) * scale
        matrix = T @ matrix @ T.T + gain * variance @ gain.T
        error = error.constrained(scale, sparse.csr_array(gain), sparse.csr_array(S), variance)
        np.testing.assert_allclose(error.covariance(), matrix, atol=1e-12)
        np.testing.assert_allclose(error.mse(), np.diag(matrix), atol=1e-12)
    sums = rng.normal(size=(2, 7))
    expected = np.diag(sums @ matrix @ sums.T)
    np.testing.assert_allclose(error.mse_of(sparse.csr_array(sums)), expected, rtol=1e-10)


def test_order_and_scale(joint, rng):
    error, mse, _ = joint
    order = rng.permutation(7)
    matrix = error.covariance()
    np.testing.assert_allclose(error.reordered(order).covariance(), matrix[np.ix_(order, order)], rtol=EXACT)
    factor = rng.uniform(0.5, 1.0, 7)
    scaled = error.scaled(factor, mse)
    np.testing.assert_allclose(scaled.mse(), mse, rtol=EXACT)
    np.testing.assert_allclose(scaled.covariance()[0, 1], factor[0] * factor[1] * matrix[0, 1], rtol=EXACT)


def test_draws_have_the_joint_covariance(joint):
    error, _, _ = joint
    gain, S = sparse.csr_array(np.full((7, 1), 1 / 7)), sparse.csr_array(np.ones((7, 1)))
    constrained = error.constrained(np.ones(7), gain, S, np.zeros(1))
    z, c = (
        normals(stream_keys(1, "z", range(7)), 0, 200_000),
        normals(stream_keys(1, "c", range(4)), 0, 200_000),
    )
    draws = constrained.draw(z, c)
    np.testing.assert_allclose(
        np.cov(draws.T), constrained.covariance(), atol=0.05
    )  # 200,000 draws: se < 0.01


def test_an_error_made_later_is_the_error_and_made_once(rng):
    made = []

    def make():
        made.append(JointError.of_fits(np.array([1.0, 2.0]), [rng.normal(size=(2, 2)) / 4.0]))
        return made[-1]

    later = JointError.later(make)
    assert not made
    scaled = JointError.later(lambda: later.scaled(np.array([2.0, 3.0]), np.array([5.0, 19.0])))
    assert not made and scaled.mse() == pytest.approx([5.0, 19.0])
    assert len(made) == 1 and later.shared is made[0].shared
    assert (later.covariance() == made[0].covariance()).all()
    assert not hasattr(later, "nothing")


def test_an_error_made_later_travels_made(joint):
    made = []
    later = JointError.later(lambda: made.append(1) or joint[0])
    for other in (pickle.loads(pickle.dumps(later)), copy.deepcopy(later), copy.copy(later)):
        np.testing.assert_array_equal(other.mse(), joint[0].mse())
    assert len(made) == 1
