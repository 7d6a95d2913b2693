"""Precision matrices of maps against dense algebra."""

import numpy as np
import pytest
from scipy import sparse

from sae.numerics.linalg.cholesky import factorise
from sae.numerics.spacetime.precision import (
    generalised_variance,
    independent,
    map_root,
    map_structure,
    walk_covariance,
)

EXACT = 1e-10  # sparse against dense algebra of a map of nine areas
PARTS = ([0, 1, 2, 3], [4, 5, 6])  # connected parts of the map; 7 and 8 are islands


@pytest.fixture
def A():
    matrix = np.zeros((9, 9))
    for a, b in [(0, 1), (1, 2), (2, 3), (3, 0), (1, 3), (4, 5), (5, 6)]:
        matrix[a, b] = matrix[b, a] = 1.0
    return matrix


def dense(kind, A, r):
    degree = A.sum(axis=1)
    alone, identity = np.diag((degree == 0).astype(float)), np.eye(len(A))
    R = np.diag(degree) - A
    if kind == "sar":
        B = identity - r * A / np.where(degree > 0, degree, 1.0)[:, None]
        return B.T @ B
    return {"car": np.diag(degree) + alone - r * A, "leroux": (1 - r) * (identity - alone) + r * R + alone}[
        kind
    ]


@pytest.mark.parametrize("kind", ["car", "leroux", "sar"])
def test_proper_precision_matrices_and_their_determinants(A, kind):
    structure = map_structure(kind, sparse.csr_matrix(A))
    r = np.array([0.0, 0.3, 0.95])
    inverse = factorise(structure.pattern, structure.values(r)).solve(np.eye(9))
    for k, value in enumerate(r):
        Q = dense(kind, A, value)
        assert np.abs(inverse[k] - np.linalg.inv(Q)).max() < EXACT
        assert structure.logdet(r)[k] == pytest.approx(np.linalg.slogdet(Q)[1], abs=EXACT)
    assert structure.n_constraints == 0


def test_generalised_variance_is_that_of_the_dense_inverse(A):
    R = np.diag(A.sum(axis=1)) - A
    component = np.array([0, 0, 0, 0, 1, 1, 1, -1, -1])
    found = generalised_variance(sparse.csr_matrix(R), component)
    assert np.abs(found - np.diag(np.linalg.pinv(R, rcond=1e-10))).max() < EXACT


def test_every_part_of_a_map_is_scaled_and_islands_have_variance_one(A):
    structure = map_structure("bym2", sparse.csr_matrix(A))
    assert structure.component.tolist() == [0, 0, 0, 0, 1, 1, 1, -1, -1]
    R = sparse.csr_matrix(np.diag(A.sum(axis=1)) - A)
    values = structure.values(np.ones(1))[0]
    # tie the sums down hard: what is left of the covariance is the generalised inverse
    tied = values.copy()
    tied[structure.diagonal] += 1e-8
    covariance = factorise(structure.pattern, tied).solve(np.eye(9))[0]
    for part in PARTS:
        inside = covariance[np.ix_(part, part)]
        centre = np.eye(len(part)) - 1.0 / len(part)
        variance = np.diag(centre @ inside @ centre)
        assert np.log(variance).mean() == pytest.approx(0.0, abs=1e-6)  # 1e-8 of the tie, and its rounding
    assert covariance[7, 7] == pytest.approx(1.0, abs=1e-7)
    assert R.shape == (9, 9)


def test_the_root_of_a_map_is_that_of_the_scaled_dense_inverse(A):
    root = map_root(sparse.csr_matrix(A))
    assert root.shape == (9, 7)
    R = np.diag(A.sum(axis=1)) - A
    whole = np.zeros((9, 9))
    for part in PARTS:
        inverse = np.linalg.pinv(R[np.ix_(part, part)], hermitian=True)
        whole[np.ix_(part, part)] = inverse / np.exp(np.log(np.diag(inverse)).mean())
    whole[[7, 8], [7, 8]] = 1.0
    assert np.abs(root @ root.T - whole).max() < EXACT


def test_a_map_of_islands_is_independent_and_one_area_is_a_map():
    for size in (1, 3):
        structure = map_structure("bym2", sparse.csr_matrix((size, size)))
        assert structure.n_constraints == 0
        assert structure.values(np.ones(1)).tolist() == independent(size).values(np.ones(1)).tolist()


def test_sums_go_to_their_part_of_the_map(A, rng):
    structure = map_structure("icar", sparse.csr_matrix(A))
    x = rng.normal(size=(2, 9, 3))
    sums = structure.sums(x)
    assert np.allclose(sums[:, 1], x[:, 4:7].sum(axis=1), atol=EXACT)
    assert np.allclose(structure.spread(sums)[:, 5], sums[:, 1], atol=EXACT)
    assert (structure.spread(sums)[:, 7:] == 0).all()


@pytest.mark.parametrize("order", [1, 2])
def test_random_walks_have_no_variance_along_what_is_left_to_covariates(order):
    T = 7
    covariance = walk_covariance(order, T)
    free = np.vander(np.arange(T), order, increasing=True)
    assert np.abs(covariance @ free).max() < EXACT
    assert np.log(np.diag(covariance)).mean() == pytest.approx(0.0, abs=EXACT)
    delta = np.diff(np.eye(T), n=order, axis=0)
    changes = delta @ covariance @ delta.T  # independent, all of one variance
    assert np.abs(changes - changes[0, 0] * np.eye(T - order)).max() < EXACT


def test_a_walk_needs_more_periods_than_its_order():
    with pytest.raises(ValueError, match="order 2 needs more than 2 periods"):
        walk_covariance(2, 2)
