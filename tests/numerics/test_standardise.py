"""Standardised covariates: moments, the same fit in both scales, columns that are not centred."""

import numpy as np
import pytest

from sae.numerics.inference.priors import data_unit
from sae.numerics.inference.standardise import standardise

ROUNDING = 1e-12


@pytest.fixture
def X():
    rng = np.random.default_rng(8)
    return np.column_stack([rng.normal(40.0, 3.0, 30), np.full(30, 2.0), rng.gamma(2.0, 0.01, 30)])


@pytest.mark.parametrize(("ddof", "by_size"), [(1, False), (0, True)])
def test_columns_have_mean_0_and_deviation_1_beside_a_constant(X, ddof, by_size):
    Z = standardise(X, ddof=ddof, by_size=by_size).of(X)
    assert Z[:, [0, 2]].mean(axis=0) == pytest.approx(0.0, abs=ROUNDING)
    assert Z[:, [0, 2]].std(axis=0, ddof=ddof) == pytest.approx(1.0, rel=ROUNDING)
    assert (Z[:, 1] == (1.0 if by_size else 2.0)).all()


@pytest.mark.parametrize("by_size", [False, True])
@pytest.mark.parametrize("columns", [[0, 1, 2], [1, 2], [0, 2]])
def test_turned_back_coefficients_give_the_same_fit(X, columns, by_size):
    X = X[:, columns]
    standard = standardise(X, by_size=by_size)
    beta = np.random.default_rng(1).normal(size=(4, len(columns)))
    assert standard.natural(beta) @ X.T == pytest.approx(beta @ standard.of(X).T, rel=1e-10)
    assert X @ standard.basis == pytest.approx(standard.of(X), rel=1e-10)
    assert standard.natural(beta) == pytest.approx(beta @ standard.basis.T, rel=ROUNDING)
    several = np.stack([beta, 2.0 * beta], axis=2)  # two outcomes
    assert standard.natural(several)[..., 1] == pytest.approx(2.0 * standard.natural(beta), rel=ROUNDING)


def test_without_a_constant_nothing_is_centred(X):
    X = X[:, [0, 2]]
    for by_size, width in ((False, X.std(axis=0, ddof=1)), (True, np.sqrt((X**2).mean(axis=0)))):
        standard = standardise(X, by_size=by_size)
        assert (standard.centre == 0.0).all()
        assert standard.width == pytest.approx(width, rel=ROUNDING)


def test_a_column_that_is_constant_but_for_rounding_is_constant():
    X = np.column_stack([np.where(np.arange(10) % 2, 0.3, 0.1 + 0.2), np.arange(10.0)])
    assert standardise(X).constant.tolist() == [True, False]


def test_the_data_unit_has_three_digits():
    assert data_unit(np.array([1.0, 2.0, 4.0])) == 1.53
    assert data_unit(np.array([5.0])) == 1.0
