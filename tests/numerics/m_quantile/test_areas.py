"""Areas of an M-quantile model against the formulas written out, and their errors against simulation."""

import numpy as np
import pytest
from scipy.special import stdtrit

from sae.numerics.linalg.basis import orthonormal_basis
from sae.numerics.m_quantile.areas import FEW, area_means, coefficient_covariance, fit_areas, mean_errors
from tests.numerics.m_quantile.worlds import World, world

EXACT = 1e-8  # relative; regressions are known to 1e-10 of their scale
SAME = 1e-6  # of errors, in which a weight is 1 / |r| of a residual that may be small
SAMPLED = (6, 8, 5, 12, 3, 1, 0, 9)


def reweighting(fits, d):
    """Weights of least squares about the regression of area d."""
    r = fits.y - fits.X @ fits.areas.beta[d]
    q, cut = fits.areas.order[d], fits.grid.k * fits.areas.scale[d]
    return np.where(r > 0, q, 1 - q) * np.minimum(1.0, cut / np.abs(r))


def weights(fits, x_mean, size, d, adjusted):
    """Weights of the outcomes in the mean of area d, those of its regression being known."""
    W, mine, n = reweighting(fits, d), fits.area == d, fits.n[d]
    own = 1.0 / n if adjusted else 1.0 / size[d]
    vector = x_mean[d] - own * fits.X[mine].sum(axis=0)
    return own * mine + W * (fits.X @ np.linalg.solve(fits.X.T @ (W[:, None] * fits.X), vector))


def test_orders_of_areas_are_means_of_those_of_units():
    data = world(1, SAMPLED)
    fits = data.fit()
    for d, n in enumerate(SAMPLED):
        expected = fits.unit_order[fits.area == d].mean() if n else 0.5
        assert fits.areas.order[d] == pytest.approx(expected, abs=1e-15)
    np.testing.assert_allclose(fits.areas.beta[6], fits.median, rtol=EXACT)


def test_a_level_of_the_outcome_moves_nothing_but_the_level():
    data = world(2, SAMPLED)
    fits = data.fit()
    far = fit_areas(fits.y + 1e7, fits.X, fits.area, len(SAMPLED), 1.345)
    np.testing.assert_allclose(far.areas.order, fits.areas.order, atol=1e-6)
    np.testing.assert_allclose(
        area_means(far, data.x_mean, data.size, adjusted=True) - 1e7,
        area_means(fits, data.x_mean, data.size, adjusted=True),
        atol=1e-5,
    )


@pytest.mark.parametrize("adjusted", [False, True])
def test_means_are_sums_of_the_known_weights(adjusted):
    data = world(3, SAMPLED)
    fits = data.fit()
    estimate = area_means(fits, data.x_mean, data.size, adjusted=adjusted)
    for d, n in enumerate(SAMPLED):
        if n:
            assert weights(fits, data.x_mean, data.size, d, adjusted) @ fits.y == pytest.approx(
                estimate[d], rel=EXACT
            )


def test_naive_means_are_units_seen_and_predictions_of_the_others():
    data = world(4, SAMPLED)
    fits = data.fit()
    estimate = area_means(fits, data.x_mean, data.size, adjusted=False)
    for d in range(len(SAMPLED)):
        rest = data.rest[data.area[data.rest] == d]
        total = fits.y[fits.area == d].sum() + (data.Z[rest] @ fits.areas.beta[d]).sum()
        assert estimate[d] == pytest.approx(total / data.size[d], rel=EXACT)
    endless = area_means(fits, data.x_mean, np.full(len(SAMPLED), np.inf), adjusted=False)
    np.testing.assert_allclose(endless, np.einsum("dj,dj->d", data.x_mean, fits.areas.beta), rtol=EXACT)


def test_an_area_without_a_sample_has_the_mean_residual_of_all_units():
    data = world(5, SAMPLED)
    fits = data.fit()
    expected = data.x_mean[6] @ fits.median + np.mean(fits.y - fits.X @ fits.median)
    assert area_means(fits, data.x_mean, data.size, adjusted=True)[6] == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("finite", [False, True])
@pytest.mark.parametrize("adjusted", [False, True])
def test_errors_are_those_of_the_formula(adjusted, finite):
    data = world(6, SAMPLED)
    fits, x_mean = data.fit(), data.x_mean
    size = data.size if finite else np.full(len(SAMPLED), np.inf)
    n, units = fits.n, len(fits.y)
    left = np.empty(units)
    for j, d in enumerate(fits.area):
        W = reweighting(fits, d)
        phi = W * (fits.X @ np.linalg.solve(fits.X.T @ (W[:, None] * fits.X), fits.X[j]))
        left[j] = (1 - phi[j]) ** 2 + (np.delete(phi, j) ** 2).sum() - 1 / n[d]
    square = (fits.y - fits.fitted) ** 2 / np.maximum(left, 0.1)
    many = n[fits.area] >= FEW
    square[~many] = square[many].mean()
    errors = mean_errors(fits, x_mean, size, adjusted=adjusted)
    for d in np.flatnonzero(n > 0):
        w = weights(fits, x_mean, size, d, adjusted)
        a = w - (fits.area == d) / size[d]
        outside = (size[d] - n[d]) / units / size[d] ** 2 if finite else 0.0
        bias = w @ fits.fitted - x_mean[d] @ fits.areas.beta[d]
        assert errors.mse[d] == pytest.approx(((a**2 + outside) * square).sum() + bias**2, rel=SAME)


def test_errors_of_small_areas_take_the_mean_square_and_new_areas_vary_between():
    data = world(7, (*[8] * 30, 1, 1, 0))
    fits = data.fit()
    errors = mean_errors(fits, data.x_mean, data.size, adjusted=True)
    assert 2.0 < errors.mse[30] < 6.0 and 2.0 < errors.mse[31] < 6.0  # one unit of variance 4
    assert 0.3 < errors.between < 3.0  # truth 1
    assert errors.mse[32] > errors.between
    assert (errors.freedom[:30] > 3).all() and errors.freedom[30] > 200 and errors.freedom[32] == 31


@pytest.mark.parametrize(("outliers", "seed"), [(False, 0), (True, 1000)])
def test_the_errors_hold_in_simulation(outliers, seed):
    """Mean MSE over mean squared error: some 5 % too large, with a Monte Carlo error of 4 %."""
    errors, mse = [], []
    for r in range(120):
        data = world(seed + r, (10,) * 20, outside=200, outliers=outliers)
        fits = data.fit()
        errors.append(area_means(fits, data.x_mean, data.size, adjusted=True) - data.truth)
        mse.append(mean_errors(fits, data.x_mean, data.size, adjusted=True).mse)
    errors, mse = np.array(errors), np.array(mse)
    noise = np.sqrt((errors**2).mean() / errors.size)
    assert abs(errors.mean()) < 4 * noise
    assert 0.9 < mse.mean() / (errors**2).mean() < 1.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("errors", "low", "high"), [("normal", 0.94, 0.97), ("outliers", 0.94, 0.98), ("lognormal", 0.88, 0.93)]
)
def test_intervals_cover_as_the_page_of_the_model_says(errors, low, high):
    """40 areas of 2 to 30 units of 300, 150 populations: the Monte Carlo error is 0.3 %."""
    n, D, covered = np.tile([2, 3, 4, 5, 6, 8, 10, 15, 20, 30], 4), 40, []
    rng = np.random.default_rng(7)
    area = np.repeat(np.arange(D), 300)
    for _ in range(150):
        x = rng.normal(5.0 + rng.normal(size=D)[area], 1.0)
        u, e = rng.normal(size=D), rng.normal(0.0, 2.0, len(area))
        if errors == "outliers":
            e = np.where(rng.random(len(area)) < 0.03, rng.normal(0.0, 12.0, len(area)), e)
            u[-4:] += 6.0
        if errors == "lognormal":
            e = 1.5 * np.exp(rng.normal(size=len(area)))
        y = 1.0 + 2.0 * x + u[area] + e
        sample = np.concatenate([300 * d + rng.choice(300, n[d], replace=False) for d in range(D)])
        X = np.column_stack([np.ones(len(x)), x])
        data = World(y, X, area, sample, np.full(D, 300.0), orthonormal_basis(X[sample], y[sample]).of(X))
        fits = data.fit()
        errors_of = mean_errors(fits, data.x_mean, data.size, adjusted=True)
        half = stdtrit(errors_of.freedom, 0.975) * np.sqrt(errors_of.mse)
        estimate = area_means(fits, data.x_mean, data.size, adjusted=True)
        covered.append(np.abs(estimate - data.truth) <= half)
    assert low < np.mean(covered) < high


def test_the_covariance_of_the_coefficients_is_that_of_samples():
    rng = np.random.default_rng(8)
    X = np.column_stack([np.ones(200), rng.normal(size=200)])
    X = X @ np.linalg.inv(np.linalg.cholesky(X.T @ X / 200).T)
    beta, covariance = [], []
    for _ in range(300):
        fits = fit_areas(rng.standard_t(3, 200), X, np.zeros(200, int), 1, 1.345)
        beta.append(fits.median)
        covariance.append(np.diag(coefficient_covariance(fits)))
    ratio = np.mean(covariance, axis=0) / np.var(beta, axis=0)
    assert (np.abs(ratio - 1.0) < 0.25).all()  # three Monte Carlo errors of a variance of 300
