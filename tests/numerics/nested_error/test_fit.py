"""Nested error model by likelihood: dense algebra, limits, other orders and units, the bootstrap."""

import numpy as np
import pytest

from sae.numerics.nested_error.bootstrap import bootstrap_mse, simulate
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.mse import AreaMeans, predict, variance_information
from sae.numerics.nested_error.profile import AreaSums, Profile, area_sums

EXACT = 1e-9  # the same numbers by dense matrices of 25 to 60 units: rounding only
OPTIMUM = 1e-7  # a maximum is flat: the root of the score is known far better than the top of a grid
SIGMAS = 4.5  # Monte-Carlo errors that a mean over seeded replicates may be off


def sample(rng, sizes=(1, 2, 3, 3, 4, 5, 7), sigma_u=1.0, sigma_e=0.7, p=3):
    area = np.repeat(np.arange(len(sizes)), sizes)
    X = np.column_stack([np.ones(len(area)), rng.normal(size=(len(area), p - 1))])
    X[:, -1] = rng.normal(size=len(sizes))[area]  # the same in a whole area
    y = X @ np.arange(1.0, p + 1) + sigma_u * rng.normal(size=len(sizes))[area]
    return y + sigma_e * rng.normal(size=len(area)), X, area


def dense(y, X, area, u2, e2):
    """V^-1, Q, GLS coefficients, P and the (restricted, full) log-likelihood from n x n matrices."""
    V = u2 * (area[:, None] == area) + e2 * np.eye(len(y))
    W = np.linalg.inv(V)
    Q = np.linalg.inv(X.T @ W @ X)
    beta = Q @ X.T @ W @ y
    P = W - W @ X @ Q @ X.T @ W
    n, p = X.shape
    full = -0.5 * (n * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + y @ P @ y)
    return W, Q, beta, P, (full + 0.5 * (p * np.log(2 * np.pi) + np.linalg.slogdet(Q)[1]), full)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_fit_is_the_maximum_of_the_dense_likelihood(rng, method):
    for _ in range(6):
        y, X, area = sample(rng, sigma_u=rng.choice([0.2, 1.0, 5.0]))
        fits = fit_nested_error(area_sums(y, X, area, 7), method)
        u2, e2 = fits.sigma2_u[0], fits.sigma2_e[0]

        def height(u, e, y=y, X=X, area=area):
            return dense(y, X, area, u, e)[4][method == "ml"]

        _, Q, beta, _, _ = dense(y, X, area, u2, e2)
        np.testing.assert_allclose(fits.loglik[0], height(u2, e2), rtol=EXACT)
        np.testing.assert_allclose(fits.coefficients[0], beta, rtol=EXACT)
        np.testing.assert_allclose(fits.root[0] @ fits.root[0].T, Q, rtol=1e-8)
        others = [
            height(u, e) for u in [0.0, *np.geomspace(1e-3, 1e3, 40)] for e in e2 * np.geomspace(0.5, 2, 9)
        ]
        assert max(others) <= fits.loglik[0] + 1e-10
        step = 1e-4  # the score is 0 inside, not positive at the boundary
        if u2 > 0:
            slope = (height(u2 * (1 + step), e2) - height(u2 * (1 - step), e2)) / (2 * step)
            assert abs(slope) < OPTIMUM * 10
        slope = (height(u2, e2 * (1 + step)) - height(u2, e2 * (1 - step))) / (2 * step)
        assert abs(slope) < 1e-6


def test_no_area_effect_gives_the_boundary_exactly(rng):
    zero = 0
    for _ in range(40):
        y, X, area = sample(rng, sigma_u=0.0)
        fits = fit_nested_error(area_sums(y, X, area, 7))
        if fits.sigma2_u[0] == 0.0:
            zero += 1
            beta, rss, *_ = np.linalg.lstsq(X, y, rcond=None)
            np.testing.assert_allclose(fits.coefficients[0], beta, rtol=EXACT)
            np.testing.assert_allclose(fits.sigma2_e[0], rss[0] / (len(y) - 3), rtol=EXACT)
    assert zero > 10


def test_prediction_is_the_dense_blup_and_its_error(rng):
    y, X, area = sample(rng)
    sums = area_sums(y, X, area, 9)  # two areas without a unit
    N = np.array([5, 9, np.inf, 3, 40, 50, 60, 70, np.inf])
    means = AreaMeans(np.column_stack([np.ones(9), rng.normal(size=(9, 2))]), N)
    means.x_mean[3] = sums.x_mean[3]  # a census: the sample is the population
    fits = fit_nested_error(sums)
    u2, e2 = fits.sigma2_u[0], fits.sigma2_e[0]
    W, Q, beta, _, _ = dense(y, X, area, u2, e2)
    part = predict(fits, sums, means)
    for d in range(9):
        n, here = sums.n[d], area == d
        outside = N[d] - n
        f = n / N[d]
        x_out = means.x_mean[d]
        if np.isfinite(N[d]) and outside:
            x_out = (N[d] * means.x_mean[d] - X[here].sum(axis=0)) / outside
        # BLUP of the mean of the units outside, v = cov(y, u_d)
        v = u2 * here
        a = x_out - X.T @ W @ v
        value = x_out @ beta + v @ W @ (y - X @ beta)
        error = u2 - v @ W @ v + a @ Q @ a
        if f == 1.0:
            value, error = 0.0, 0.0
        elif np.isfinite(N[d]):
            error = (1 - f) ** 2 * (error + e2 / outside)
        observed = y[here].mean() if n else 0.0
        np.testing.assert_allclose(part.estimate[d], f * observed + (1 - f) * value, rtol=EXACT)
        np.testing.assert_allclose(part.g1[d] + part.g2[d], error, rtol=EXACT, atol=1e-12)
    assert part.estimate[3] == pytest.approx(y[area == 3].mean())
    assert part.mse[3] == pytest.approx(0.0, abs=1e-15)


def test_information_is_the_dense_one(rng):
    y, X, area = sample(rng)
    W = dense(y, X, area, 1.3, 0.6)[0]
    parts = [(area[:, None] == area).astype(float), np.eye(len(y))]
    information = [[0.5 * np.trace(W @ a @ W @ b) for b in parts] for a in parts]
    sums = area_sums(y, X, area, 7)
    ours = variance_information(sums.n, sums.precision, 1.3, 0.6)
    np.testing.assert_allclose(ours, np.linalg.inv(information), rtol=EXACT)


def test_g3_is_the_variance_that_the_shrinkage_adds(rng):
    """g3 = tr[(∂b)' V (∂b) Cov]: derivatives of b = V^-1 v by differences, dense."""
    y, X, area = sample(rng)
    sums = area_sums(y, X, area, 7)
    fits = fit_nested_error(sums)
    u2, e2 = fits.sigma2_u[0], fits.sigma2_e[0]
    part = predict(fits, sums, AreaMeans(sums.x_mean, np.full(7, np.inf)))
    cov = variance_information(sums.n, sums.precision, u2, e2)
    V = u2 * (area[:, None] == area) + e2 * np.eye(len(y))

    def weights(u, e, d):
        return np.linalg.solve(u * (area[:, None] == area) + e * np.eye(len(y)), u * (area == d))

    h = 1e-5
    for d in range(7):
        du = (weights(u2 + h, e2, d) - weights(u2 - h, e2, d)) / (2 * h)
        de = (weights(u2, e2 + h, d) - weights(u2, e2 - h, d)) / (2 * h)
        gradient = np.column_stack([du, de])
        np.testing.assert_allclose(part.g3[d], np.trace(gradient.T @ V @ gradient @ cov), rtol=1e-6)


def test_order_units_and_scale_do_not_matter(rng):
    y, X, area = sample(rng)
    fits = fit_nested_error(area_sums(y, X, area, 7))
    shuffled = rng.permutation(len(y))
    again = fit_nested_error(area_sums(y[shuffled], X[shuffled], area[shuffled], 7))
    np.testing.assert_allclose(again.sigma2_u, fits.sigma2_u, rtol=1e-10)
    np.testing.assert_allclose(again.coefficients, fits.coefficients, rtol=1e-10)
    for factor in (1e-9, 1e9):
        scaled = fit_nested_error(area_sums(factor * y, X * [1, factor, 1 / factor], area, 7))
        np.testing.assert_allclose(scaled.sigma2_u / factor**2, fits.sigma2_u, rtol=1e-9)
        np.testing.assert_allclose(
            scaled.coefficients[0] * [1, factor, 1 / factor], factor * fits.coefficients[0], rtol=1e-9
        )
    moved = fit_nested_error(area_sums(y + 1e6, X, area, 7))  # eps x 1e6 is left of y
    np.testing.assert_allclose(moved.sigma2_u, fits.sigma2_u, rtol=1e-7)


def test_many_outcomes_are_fitted_as_one_by_one(rng):
    y, X, area = sample(rng)
    outcomes = [y, rng.normal(size=len(y)), y + 3 * X[:, 1], rng.normal(size=7)[area] + 0.1 * y]
    single = [area_sums(values, X, area, 7) for values in outcomes]
    joined = AreaSums(
        single[0].n,
        single[0].x_mean,
        *(
            np.concatenate([getattr(one, name) for one in single]) if name != "xx" else single[0].xx
            for name in ("y_mean", "xx", "xy", "yy")
        ),
    )
    for method in ("reml", "ml"):
        together = fit_nested_error(joined, method)
        for k, one in enumerate(single):
            alone = fit_nested_error(one, method)
            np.testing.assert_allclose(together.sigma2_u[k], alone.sigma2_u[0], rtol=1e-10)
            np.testing.assert_allclose(together.sigma2_e[k], alone.sigma2_e[0], rtol=1e-12)
            np.testing.assert_allclose(together.coefficients[k], alone.coefficients[0], rtol=1e-10)


def test_one_pass_sums(rng):
    y, X, area = sample(rng)
    sums = area_sums(y, X, area, 8)
    assert sums.n.tolist() == [1, 2, 3, 3, 4, 5, 7, 0]
    for d in range(7):
        here = area == d
        Z = np.column_stack([X[here], y[here]])
        deviation = Z - Z.mean(axis=0)
        np.testing.assert_allclose(sums.x_mean[d], X[here].mean(axis=0), rtol=1e-13)
        np.testing.assert_allclose(sums.xx[d], deviation[:, :3].T @ deviation[:, :3], atol=1e-13)
        np.testing.assert_allclose(sums.yy[0, d], deviation[:, 3] @ deviation[:, 3], atol=1e-13)


def test_what_cannot_be_told_is_refused(rng):
    y, X, area = sample(rng)
    with pytest.raises(ValueError, match="rank deficient") as error:
        fit_nested_error(area_sums(y, np.column_stack([X, X[:, 1] - X[:, 2]]), area, 7))
    assert error.value.args[1] == 3
    one_each = np.arange(7)
    with pytest.raises(ValueError, match="within areas") as error:
        fit_nested_error(area_sums(y[:7], X[:7, :2], one_each, 7))
    assert error.value.args[1] == -1
    with pytest.raises(ValueError, match="does not vary") as error:
        fit_nested_error(area_sums(rng.normal(size=7)[area], X[:, :1], area, 7))
    assert error.value.args[1] == -2
    two = area < 2  # two areas tell neither an intercept and a slope between them nor an effect
    with pytest.raises(ValueError) as error:
        fit_nested_error(
            area_sums(np.r_[y[two], y[:3]], np.r_[X[two], X[two]][:, [0, 2]], np.r_[area[two], area[two]], 2)
        )
    assert error.value.args[1] == -3


def test_bootstrap_draws_what_units_would_leave(rng):
    """Sums drawn as such against sums of drawn units: first and second moments of every one."""
    y, X, area = sample(rng)
    sums = area_sums(y, X, area, 7)
    fits = fit_nested_error(sums)
    means = AreaMeans(sums.x_mean, np.full(7, 30.0))
    count = 4000
    drawn, truth = simulate(fits, sums, means, list("abcdefg"), 0, count, 1)
    u, e, beta = np.sqrt(fits.sigma2_u[0]), np.sqrt(fits.sigma2_e[0]), fits.coefficients[0]
    effects = u * rng.normal(size=(count, 7))
    units = X @ beta + effects[:, area] + e * rng.normal(size=(count, len(y)))
    sizes = np.bincount(area)
    y_mean = np.stack([units[:, area == d].mean(axis=1) for d in range(7)], axis=1)
    deviation, centred = units - y_mean[:, area], X - sums.x_mean[area]
    pairs = [
        (drawn.y_mean, y_mean),
        (drawn.xy.sum(axis=1)[:, 1:2], (deviation @ centred)[:, 1:2]),
        (drawn.yy.sum(axis=1)[:, None], (deviation**2).sum(axis=1)[:, None]),
        (
            truth - drawn.y_mean,
            means.x_mean @ beta
            + effects
            + (sizes * (y_mean - X_part(sums, beta) - effects)) / 30
            + e * np.sqrt((1 - sizes / 30) / 30) * rng.normal(size=(count, 7))
            - y_mean,
        ),
    ]
    for ours, theirs in pairs:
        se = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / count)
        assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < SIGMAS * se).all()
        assert (np.abs(np.log(ours.var(axis=0) / theirs.var(axis=0))) < SIGMAS * 2 / np.sqrt(count)).all()


def X_part(sums, beta):
    return sums.x_mean @ beta


def test_bootstrap_meets_the_analytical_error_with_many_areas(rng):
    y, X, area = sample(rng, sizes=tuple([2, 3, 4, 6] * 15), p=2)
    sums = area_sums(y, X, area, 60)
    means = AreaMeans(sums.x_mean, np.full(60, 40.0))
    for method in ("reml", "ml"):
        fits = fit_nested_error(sums, method)
        analytical = predict(fits, sums, means, method).mse
        bootstrap = bootstrap_mse(fits, sums, means, range(60), method=method, replicates=1500, seed=3)
        ratio = bootstrap.mean / analytical
        assert abs(ratio.mean() - 1) < 0.03  # second order, and the bias terms of REML and ML on top
        assert (np.abs(ratio - 1) < SIGMAS * np.sqrt(2 / 1500)).all()


def test_replicates_are_named_by_content(rng):
    y, X, area = sample(rng)
    sums = area_sums(y, X, area, 7)
    fits = fit_nested_error(sums)
    means = AreaMeans(sums.x_mean, np.full(7, np.inf))
    few, _ = simulate(fits, sums, means, list("abcdefg"), 2, 3, 1)
    many, _ = simulate(fits, sums, means, list("abcdefg"), 0, 9, 1)
    np.testing.assert_array_equal(few.y_mean, many.y_mean[2:5])
    np.testing.assert_array_equal(few.yy, many.yy[2:5])


def test_limits(rng):
    y, X, area = sample(rng, sizes=(4000, 1, 3, 5000))
    sums = area_sums(y, X[:, :2], area, 4)
    means = AreaMeans(np.column_stack([np.ones(4), rng.normal(size=4)]), np.full(4, np.inf))
    fits = fit_nested_error(sums)
    part = predict(fits, sums, means)
    gap = (means.x_mean - sums.x_mean) @ fits.coefficients[0]
    # thousands of units: the mean of the sample, moved to the population's covariates
    np.testing.assert_allclose(part.estimate[[0, 3]], (sums.y_mean[0] + gap)[[0, 3]], atol=1e-3)
    assert (part.gamma[[0, 3]] > 0.999).all()


def test_the_profile_costs_the_same_for_any_number_of_areas():
    """Areas of the same size share their products: exact, and the reason for the speed."""
    rng = np.random.default_rng(5)
    y, X, area = sample(rng, sizes=tuple(rng.integers(1, 5, size=200)))
    profile = Profile.of(area_sums(y, X, area, 200))
    assert profile.n.tolist() == [1.0, 2.0, 3.0, 4.0]
    point = profile.at(np.array([0.3]))
    beta, P = dense(y, X, area, 0.3, 1.0)[2:4]
    np.testing.assert_allclose(point.rss[0], y @ P @ y, rtol=1e-9)
    np.testing.assert_allclose(profile.start[0] + profile.root @ point.delta[0], beta, rtol=1e-9)
