"""Residuals and influence of a Fay–Herriot fit against refits without each area, and dense algebra."""

import numpy as np
import pytest
import statsmodels.api as sm

from sae.errors import SaeInputError
from sae.numerics.fay_herriot.fit import fit_batch
from sae.quality import influence

ALGEBRA = 1e-9  # two routes through the same least squares


@pytest.fixture
def model(rng):
    n = 25
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    vardir = rng.uniform(0.2, 3, n)
    y = X @ [1, 2, -1] + rng.normal(0, 1, n) + rng.normal(0, np.sqrt(vardir))
    return y, X, vardir


def gls(y, X, total):
    Q = np.linalg.inv(X.T @ (X / total[:, None]))
    return Q @ (X.T @ (y / total)), Q


@pytest.mark.parametrize("sigma2", [0.0, 0.8])
def test_deleted_and_cook_are_refits_without_the_area(model, sigma2):
    y, X, vardir = model
    total = sigma2 + vardir
    ours = influence(y, X, vardir, sigma2)
    beta, Q = gls(y, X, total)
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        without, Q_without = gls(y[others], X[others], total[others])
        gap = y[i] - X[i] @ without
        assert np.isclose(ours.deleted[i], gap, rtol=ALGEBRA)
        sd = np.sqrt(total[i] + X[i] @ Q_without @ X[i])
        assert np.isclose(ours.deleted_standardised[i], gap / sd, rtol=ALGEBRA)
        move = beta - without
        assert np.isclose(ours.cook[i], move @ np.linalg.solve(Q, move) / 3, rtol=ALGEBRA)


def test_standardised_by_the_dense_covariance(model):
    y, X, vardir = model
    total = 0.8 + vardir
    ours = influence(y, X, vardir, 0.8)
    R = np.eye(25) - X @ gls(y, X, total)[1] @ (X / total[:, None]).T
    sd = np.sqrt(np.diag((R * total) @ R.T))
    assert np.allclose(ours.standardised, R @ y / sd, rtol=ALGEBRA)
    gamma = 0.8 / total
    assert np.allclose(ours.random_effect / (gamma * sd), ours.standardised, rtol=ALGEBRA)
    assert np.isclose(ours.leverage.sum(), 3, rtol=ALGEBRA)
    assert np.allclose(ours.fitted + ours.residual, y, rtol=ALGEBRA)


def test_equal_variances_are_the_regression_of_statsmodels(model):
    y, X, _ = model
    theirs = sm.OLS(y, X).fit().get_influence()
    s2 = theirs.results.mse_resid
    ours = influence(y, X, np.full(25, 0.5 * s2), 0.5 * s2)
    assert np.allclose(ours.standardised, theirs.resid_studentized_internal, rtol=ALGEBRA)
    assert np.allclose(ours.cook, theirs.cooks_distance[0], rtol=ALGEBRA)
    assert np.allclose(ours.leverage, theirs.hat_matrix_diag, rtol=ALGEBRA)


def test_refitted_variances_give_uniform_transforms(rng):
    """Calibration: Φ of the complete leave-one-out residuals is uniform when the model holds."""
    from scipy.stats import kstest, norm

    values = []
    for _ in range(40):
        n = 30
        X, vardir = np.column_stack([np.ones(n), rng.normal(size=n)]), rng.uniform(0.3, 2, n)
        y = X @ [1, 1] + rng.normal(0, 1, n) + rng.normal(0, np.sqrt(vardir))
        keep = [np.arange(n) != i for i in range(n)]
        without = fit_batch(
            np.concatenate([y[k] for k in keep]),
            np.concatenate([vardir[k] for k in keep]),
            np.concatenate([X[k] for k in keep]).T,
            np.arange(n + 1) * (n - 1),
        ).variance[0]
        fit = influence(y, X, vardir, 1.0, sigma2_u_without=without)
        values.append(fit.deleted_standardised[:5])  # within one data set they are nearly independent
        if len(values) == 1:
            i = 3
            beta, Q = gls(y[keep[i]], X[keep[i]], without[i] + vardir[keep[i]])
            sd = np.sqrt(without[i] + vardir[i] + X[i] @ Q @ X[i])
            assert np.isclose(fit.deleted_standardised[i], (y[i] - X[i] @ beta) / sd, rtol=ALGEBRA)
    assert kstest(norm.cdf(np.concatenate(values)), "uniform").pvalue > 1e-3


def test_an_area_that_alone_carries_a_coefficient_has_no_deleted_residual(model):
    y, X, vardir = model
    alone = np.column_stack([X, np.arange(25) == 4])
    fit = influence(y, alone, vardir, 0.5)
    assert np.isclose(fit.leverage[4], 1) and np.isnan(fit.deleted[4]) and np.isnan(fit.cook[4])
    assert np.isfinite(np.delete(fit.cook, 4)).all()


def test_too_little_is_refused(model):
    y, X, vardir = model
    with pytest.raises(SaeInputError, match="3 areas and 3 coefficients"):
        influence(y[:3], X[:3], vardir[:3], 1.0)
    with pytest.raises(SaeInputError, match="needs all figures"):
        influence(np.where(np.arange(25) == 2, np.nan, y), X, vardir, 1.0)
