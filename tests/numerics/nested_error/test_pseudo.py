"""The pseudo-EBLUP: dense algebra, equal weights, its sum, the covariance of all errors, simulation."""

import numpy as np
import pytest

from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.mse import AreaMeans, predict, variance_information
from sae.numerics.nested_error.profile import area_sums
from sae.numerics.nested_error.pseudo import WeightedUnits, predict_pseudo

EXACT = 1e-8  # the same numbers by dense matrices of 40 units: rounding only
SIGMAS = 4.5  # Monte-Carlo errors that a mean over seeded replicates may be off
SIZES = (1, 2, 3, 4, 5, 6, 9, 10)
AREAS = len(SIZES)


@pytest.fixture
def drawn(rng):
    area = np.repeat(np.arange(AREAS), SIZES)
    X = np.column_stack([np.ones(len(area)), rng.normal(40, 1, len(area))])
    w, k = rng.uniform(1, 9, len(area)), rng.uniform(0.5, 2.0, len(area))
    y = X.sum(axis=1) + rng.normal(size=AREAS)[area] + 0.8 * k * rng.normal(size=len(area))
    x_mean = np.column_stack([np.ones(AREAS + 1), rng.normal(40, 1, AREAS + 1)])
    return WeightedUnits(y, w, k, X, area), x_mean


def errors(units, x_mean, gamma):
    """Return H and T, so that predictions less means are H (u + e) - T u, and the coefficients are C y."""
    X, w, area = units.X, units.weight, units.area
    share = w / np.bincount(area, w)[area]
    M = np.where(area == np.arange(len(x_mean))[:, None], share, 0.0)  # weighted means
    Z = w[:, None] * (X - (gamma[:, None] * (M @ X))[area])
    C = np.linalg.solve(Z.T @ X, Z.T)
    return gamma[:, None] * M + (x_mean - gamma[:, None] * (M @ X)) @ C, M, C


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_estimates_and_errors_are_the_dense_ones(drawn, method):
    units, x_mean = drawn
    sums = area_sums(units.y, units.X, units.area, AREAS + 1, units.k)
    fits = fit_nested_error(sums, method)
    u2, e2 = fits.sigma2_u[0], fits.sigma2_e[0]
    ours = predict_pseudo(fits, sums, units, x_mean, method)
    share = units.weight / np.bincount(units.area, units.weight)[units.area]
    delta2 = np.append(np.bincount(units.area, (share * units.k) ** 2), np.inf)
    gamma = u2 / (u2 + e2 * delta2)
    np.testing.assert_allclose(ours.gamma, gamma, rtol=EXACT)
    H, M, C = errors(units, x_mean, gamma)
    np.testing.assert_allclose(ours.estimate, H @ units.y, rtol=EXACT)
    np.testing.assert_allclose(ours.coefficients, C @ units.y, rtol=EXACT)
    here = (units.area[:, None] == np.arange(AREAS + 1)).astype(float)
    R = e2 * np.diag(units.k**2)
    effects = H @ here - np.eye(AREAS + 1)
    covariance = u2 * effects @ effects.T + H @ R @ H.T
    np.testing.assert_allclose(ours.g1 + ours.g2 + ours.cross, np.diag(covariance), rtol=EXACT)
    V = u2 * here @ here.T + R
    np.testing.assert_allclose(ours.covariance, C @ V @ C.T, rtol=EXACT)
    rest = (M - M @ units.X @ C)[:AREAS]
    np.testing.assert_allclose(ours.residual_variance[:AREAS], np.diag(rest @ V @ rest.T), rtol=EXACT)
    np.testing.assert_allclose(ours.residual[:AREAS], rest @ units.y, atol=1e-9)
    np.testing.assert_allclose(ours.fitted[:AREAS], (M @ units.X @ C @ units.y)[:AREAS], rtol=EXACT)
    # all errors together, but for what the variances add to each alone
    joint = ours.joint.covariance()
    np.testing.assert_allclose(np.diag(joint), ours.mse, rtol=EXACT)
    apart = ~np.eye(AREAS + 1, dtype=bool)
    np.testing.assert_allclose(joint[apart], covariance[apart], atol=1e-9)
    # g3 by differences of γ_w
    spread, h, t = variance_information(sums.n, sums.precision, u2, e2), 1e-5, delta2[:AREAS]
    slopes = np.array(
        [
            ((u2 + h) / (u2 + h + e2 * t) - (u2 - h) / (u2 - h + e2 * t)) / (2 * h),
            (u2 / (u2 + (e2 + h) * t) - u2 / (u2 + (e2 - h) * t)) / (2 * h),
        ]
    )
    g3 = np.einsum("ad,ab,bd->d", slopes, spread, slopes) * (u2 + e2 * t)
    np.testing.assert_allclose(ours.g3[:AREAS], g3, rtol=1e-6)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_equal_weights_are_no_weights(drawn, method):
    units, x_mean = drawn
    for k in (np.ones(len(units.y)), 2.0 * np.ones(len(units.y))):
        equal = WeightedUnits(units.y, np.full(len(units.y), 7.0), k, units.X, units.area)
        sums = area_sums(units.y, units.X, units.area, AREAS + 1, k)
        fits = fit_nested_error(sums, method)
        ours = predict_pseudo(fits, sums, equal, x_mean, method)
        eblup = predict(fits, sums, AreaMeans(x_mean, np.full(AREAS + 1, np.inf)), method)
        for name in ("estimate", "gamma", "mse", "g1", "g2", "g3"):
            np.testing.assert_allclose(getattr(ours, name), getattr(eblup, name), rtol=EXACT, err_msg=name)
        np.testing.assert_allclose(ours.cross, 0.0, atol=1e-12)
        np.testing.assert_allclose(ours.covariance, fits.root[0] @ fits.root[0].T, rtol=EXACT)


def test_the_sum_is_the_survey_regression_estimator(drawn):
    units, x_mean = drawn
    sums = area_sums(units.y, units.X, units.area, AREAS, units.k)
    ours = predict_pseudo(fit_nested_error(sums), sums, units, x_mean[:AREAS])
    N = np.bincount(units.area, units.weight)
    total = N @ ours.estimate
    regression = units.weight @ units.y + (N @ x_mean[:AREAS] - units.weight @ units.X) @ ours.coefficients
    np.testing.assert_allclose(total, regression, rtol=1e-12)


@pytest.mark.slow
def test_error_by_simulation():
    """Mean squared errors over 4,000 samples of 40 areas against the mean of their estimates."""
    rng = np.random.default_rng(8)
    area = np.repeat(np.arange(40), [2, 3, 5, 8] * 10)
    X, w = np.column_stack([np.ones(len(area)), rng.normal(size=len(area))]), rng.uniform(1, 8, len(area))
    x_mean = np.column_stack([np.ones(40), rng.normal(size=40)])
    squares, estimated = [], []
    for _ in range(4000):
        u = 0.7 * rng.normal(size=40)
        y = X.sum(axis=1) + u[area] + rng.normal(size=len(area))
        sums = area_sums(y, X, area, 40)
        units = WeightedUnits(y, w, np.ones(len(y)), X, area)
        ours = predict_pseudo(fit_nested_error(sums), sums, units, x_mean)
        squares.append((ours.estimate - x_mean.sum(axis=1) - u) ** 2)
        estimated.append(ours.mse)
    truth, error = np.mean(squares, axis=0), np.std(squares, axis=0) / np.sqrt(4000)
    assert (np.abs(np.mean(estimated, axis=0) - truth) < SIGMAS * error + 0.02 * truth).all()
    assert np.mean(estimated) / truth.mean() == pytest.approx(1.0, abs=0.02)
