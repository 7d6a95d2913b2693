"""Robust nested error model: dense equations, the limit of maximum likelihood, outliers."""

import numpy as np
import pytest

from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.mse import AreaMeans, predict
from sae.numerics.nested_error.profile import area_sums
from sae.numerics.robust.fit import huber_variance
from sae.numerics.robust.units import fit_units

EXACT = 1e-9  # equations left, relative to the sizes of their terms
AREAS = 25


def drawn(rng, sigma_u=0.8, areas=AREAS):
    area = np.repeat(np.arange(areas), np.resize([2, 4, 6, 9, 1], areas))
    X = np.column_stack([np.ones(len(area)), rng.normal(50, 2, len(area))])
    y = X.sum(axis=1) + sigma_u * rng.normal(size=areas)[area] + rng.normal(size=len(area))
    N = np.append(np.full(areas, 60.0), np.inf)
    return y, X, area, AreaMeans(np.column_stack([np.ones(areas + 1), rng.normal(50, 2, areas + 1)]), N)


def test_the_equations_hold_in_dense_algebra(rng):
    y, X, area, means = drawn(rng)
    y[[3, 40, 77]] += [25.0, -40.0, 12.0]
    for k in (1.345, 2.0):
        fit = fit_units(y, X, area, means, k=k)
        u2, e2 = fit.sigma2_u, fit.sigma2_e
        assert u2 > 0.0
        Z = area[:, None] == np.arange(AREAS)
        V, W = u2 * Z @ Z.T + e2 * np.eye(len(y)), None
        W = np.linalg.inv(V)
        scale = np.sqrt(u2 + e2)
        t = scale * np.clip((y - X @ fit.coefficients) / scale, -k, k)
        terms = X.T @ W @ t
        assert np.abs(terms).max() < EXACT * (np.abs(X.T @ W) @ np.abs(t)).max()
        for part in (Z @ Z.T * 1.0, np.eye(len(y))):
            left, right = t @ W @ part @ W @ t, huber_variance(k) * np.trace(W @ part)
            assert left == pytest.approx(right, rel=1e-8)
        np.testing.assert_allclose(fit.root @ fit.root.T, np.linalg.inv(X.T @ W @ X), rtol=1e-8)
        rest = y - X @ fit.coefficients
        for d in range(AREAS):
            u, mine = fit.effect[d], rest[area == d]
            pull = np.clip((mine - u) / np.sqrt(e2), -k, k).sum() / np.sqrt(e2)
            assert pull == pytest.approx(np.clip(u / np.sqrt(u2), -k, k) / np.sqrt(u2), abs=1e-9)
            beyond = np.clip(mine - u, -3 * np.sqrt(e2), 3 * np.sqrt(e2)).mean()
            assert fit.correction[d] == pytest.approx(beyond, abs=1e-12)
        assert fit.effect[AREAS] == 0.0 and fit.residual < 1e-10


def test_a_large_k_is_maximum_likelihood(rng):
    zero = 0
    for sigma_u in (0.8, 0.0, 0.0, 0.0, 0.0):
        y, X, area, means = drawn(rng, sigma_u)
        fit = fit_units(y, X, area, means, k=1e6)
        sums = area_sums(y, X, area, AREAS + 1)
        ml = fit_nested_error(sums, "ml")
        np.testing.assert_allclose(fit.sigma2_u, ml.sigma2_u[0], rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(fit.sigma2_e, ml.sigma2_e[0], rtol=1e-9)
        np.testing.assert_allclose(fit.coefficients, ml.coefficients[0], rtol=1e-8)
        np.testing.assert_allclose(fit.estimate, predict(ml, sums, means, "ml").estimate, rtol=1e-9)
        zero += fit.sigma2_u == 0.0
    assert zero


def test_scale_and_order_do_not_matter(rng):
    y, X, area, means = drawn(rng)
    y[5] += 30
    fit, order = fit_units(y, X, area, means), rng.permutation(len(y))
    again = fit_units(1e6 * y[order], X[order], area[order], means)
    np.testing.assert_allclose(again.estimate, 1e6 * fit.estimate, rtol=1e-9)
    np.testing.assert_allclose(again.sigma2_u, 1e12 * fit.sigma2_u, rtol=1e-8)


def test_outliers_spoil_the_eblup_and_not_the_reblup():
    """Six per cent of the units have errors ten times as large: twelve samples."""
    rng = np.random.default_rng(2)
    plain, robust, corrected, variances = [], [], [], []
    for _ in range(12):
        y, X, area, means = drawn(rng, 0.0, 30)
        u = 0.8 * rng.normal(size=30)
        y = y + u[area] + 10 * rng.normal(size=len(y)) * (rng.random(len(y)) < 0.06)
        truth = means.x_mean[:30].sum(axis=1) + u
        infinite = AreaMeans(means.x_mean, np.full(31, np.inf))
        sums = area_sums(y, X, area, 31)
        plain.append(predict(fit_nested_error(sums), sums, infinite).estimate[:30] - truth)
        fit = fit_units(y, X, area, infinite)
        robust.append(fit.estimate[:30] - truth)
        corrected.append(fit_units(y, X, area, infinite, corrected=True).estimate[:30] - truth)
        variances.append([fit.sigma2_u, fit.sigma2_e])
    rmse = [np.sqrt(np.mean(np.square(errors))) for errors in (plain, robust, corrected)]
    assert rmse[1] < 0.75 * rmse[0]
    assert np.mean(variances, axis=0) == pytest.approx([0.64, 1.3], rel=0.35)
    # outliers to one side: the bias correction takes part of the bias away
    bias = [np.mean(errors) for errors in (robust, corrected)]
    assert np.abs(bias).max() < 0.2


def test_the_bias_correction_is_for_outliers_to_one_side():
    rng = np.random.default_rng(3)
    bias = {False: [], True: []}
    for _ in range(10):
        y, X, area, means = drawn(rng, 0.7, 30)
        y = y + 6.0 * (rng.random(len(y)) < 0.1)  # the truth holds these units too
        infinite = AreaMeans(means.x_mean, np.full(31, np.inf))
        truth = means.x_mean[:30].sum(axis=1) + 0.6
        for corrected, errors in bias.items():
            fit = fit_units(y, X, area, infinite, corrected=corrected)
            errors.append((fit.estimate[:30] - truth).mean())
    assert abs(np.mean(bias[True])) < 0.6 * abs(np.mean(bias[False]))


def test_what_cannot_be_told_is_refused(rng):
    y, X, area, means = drawn(rng)
    one = np.unique(area, return_index=True)[1]
    for change, code in (
        ((y, np.column_stack([X, X[:, 1]]), area), 2),
        ((y[one], X[one], area[one]), -1),
        ((rng.normal(size=AREAS)[area], X[:, :1], area), -2),
    ):
        with pytest.raises(ValueError) as error:
            fit_units(*change, means)
        assert error.value.args[1] == code
