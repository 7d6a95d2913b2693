"""The supernodal sparse Cholesky against dense linear algebra."""

import numpy as np
import pytest

from sae.errors import SaeConvergenceError
from sae.numerics.linalg.cholesky import analyse, factorise
from sae.numerics.linalg.lanes import EIGHT, ONE

TOL = 1e-11  # two factorisations of well-conditioned matrices of order 60 in double precision


def random_pattern(rng, size, extra):
    """Lower-triangle positions of a connected or disconnected random graph, diagonal included."""
    pairs = {(i, i) for i in range(size)}
    pairs |= {tuple(sorted(rng.choice(size, 2, replace=False))[::-1]) for _ in range(extra)}
    rows, cols = np.array(sorted(pairs)).T
    return rows, cols


def dense_of(rows, cols, values, size):
    matrix = np.zeros((size, size))
    matrix[rows, cols] = values
    matrix[cols, rows] = values
    return matrix


@pytest.fixture(params=[(1, 0), (7, 4), (60, 90), (60, 500)])
def problem(request, rng):
    size, extra = request.param
    rows, cols = random_pattern(rng, size, extra) if extra else (np.arange(size), np.arange(size))
    values = rng.normal(size=(11, len(rows)))
    for row in values:  # diagonally dominant, hence positive definite
        matrix = np.abs(dense_of(rows, cols, row, size))
        row[rows == cols] = (matrix.sum(axis=1) + rng.uniform(0.1, 1.0, size))[rows[rows == cols]]
    dense = np.array([dense_of(rows, cols, row, size) for row in values])
    return rows, cols, values, dense, factorise(analyse(rows, cols, size), values, EIGHT)


def test_logdet(problem):
    *_, dense, factor = problem
    np.testing.assert_allclose(factor.logdet(), np.linalg.slogdet(dense)[1], rtol=TOL, atol=TOL)


def test_solve_shared_and_own_right_hand_sides(problem, rng):
    *_, dense, factor = problem
    shared = rng.normal(size=(dense.shape[1], 3))
    np.testing.assert_allclose(
        factor.solve(shared),
        np.linalg.solve(dense, np.broadcast_to(shared, (11, *shared.shape))),
        rtol=1e-9,
        atol=TOL,
    )
    own = rng.normal(size=(11, dense.shape[1], 2))
    np.testing.assert_allclose(factor.solve(own), np.linalg.solve(dense, own), rtol=1e-9, atol=TOL)


def test_inverse_on_the_pattern(problem, rng):
    rows, cols, _, dense, factor = problem
    inverse = np.linalg.inv(dense)
    np.testing.assert_allclose(factor.inverse().diagonal(), np.diagonal(inverse, axis1=1, axis2=2), rtol=1e-9)
    other = rng.normal(size=len(rows))
    expected = np.trace(inverse @ dense_of(rows, cols, other, dense.shape[1]), axis1=1, axis2=2)
    np.testing.assert_allclose(factor.inverse().trace(other), expected, rtol=1e-9, atol=1e-10)


def test_colour_is_a_root_of_the_inverse(problem):
    *_, dense, factor = problem
    root = factor.colour(np.eye(dense.shape[1]))
    np.testing.assert_allclose(root @ np.swapaxes(root, 1, 2), np.linalg.inv(dense), rtol=1e-8, atol=TOL)


def test_whitened_right_hand_sides_have_the_inverse_as_their_inner_product(problem, rng):
    *_, dense, factor = problem
    rhs = rng.normal(size=(dense.shape[1], 3))
    half = factor.whiten(rhs)
    expected = rhs.T @ np.linalg.solve(dense, np.broadcast_to(rhs, (11, *rhs.shape)))
    np.testing.assert_allclose(np.swapaxes(half, 1, 2) @ half, expected, rtol=1e-9, atol=TOL)


def test_a_map_with_wide_supernodes(rng):
    side = 14
    at = np.arange(side**2).reshape(side, side)
    pairs = [(at[:, 1:], at[:, :-1]), (at[1:], at[:-1]), (at[2:], at[:-2]), (at[1:, 1:], at[:-1, :-1])]
    rows = np.concatenate([at.ravel(), *[one.ravel() for one, _ in pairs]])
    cols = np.concatenate([at.ravel(), *[two.ravel() for _, two in pairs]])
    values = np.where(rows == cols, 10.0, rng.uniform(-1, 1, (3, len(rows))))
    dense = np.array([dense_of(rows, cols, one, side**2) for one in values])
    pattern = analyse(rows, cols, side**2)
    assert np.diff(pattern.first).max() > 8
    factor, inverse = factorise(pattern, values), np.linalg.inv(dense)
    np.testing.assert_allclose(factor.logdet(), np.linalg.slogdet(dense)[1], rtol=TOL)
    np.testing.assert_allclose(factor.solve(np.eye(side**2)), inverse, atol=TOL)
    np.testing.assert_allclose(factor.inverse().diagonal(), np.diagonal(inverse, axis1=1, axis2=2), rtol=TOL)
    np.testing.assert_allclose(factor.inverse().trace(values), np.full(3, side**2), rtol=TOL)
    assert factor.take(np.array([2])).logdet()[0] == factor.logdet()[2]


def test_neighbours_in_the_block_do_not_matter(problem):
    rows, cols, values, dense, factor = problem
    alone = factorise(analyse(rows, cols, dense.shape[1]), values[4])
    assert alone.logdet()[0] == factor.logdet()[4]


def test_one_matrix_beside_itself_is_the_same(problem, rng):
    rows, cols, values, dense, _ = problem
    pattern, rhs = analyse(rows, cols, dense.shape[1]), rng.normal(size=(dense.shape[1], 2))
    alone, beside = (factorise(pattern, values[:2], lanes) for lanes in (ONE, EIGHT))
    for ask in ("solve", "whiten", "colour"):
        np.testing.assert_allclose(getattr(alone, ask)(rhs), getattr(beside, ask)(rhs), rtol=TOL, atol=TOL)
    np.testing.assert_allclose(alone.inverse().diagonal(), beside.inverse().diagonal(), rtol=TOL)
    members = np.array([1, 0, 1])
    assert (beside.take(members).logdet() == beside.logdet()[members]).all()


def test_not_positive_definite_is_refused_by_index():
    pattern = analyse(np.array([0, 1, 1]), np.array([0, 0, 1]), size=2)
    with pytest.raises(SaeConvergenceError, match="Matrix 1 of 2"):
        factorise(pattern, np.array([[2.0, -1.0, 2.0], [1.0, -1.0, 1.0]]))
