"""Two-fold nested error model: dense algebra of units, limits, the bootstrap, simulation."""

import numpy as np
import pytest

from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.mse import AreaMeans, predict
from sae.numerics.nested_error.profile import area_sums
from sae.numerics.nested_error.two_fold import TwoFoldProfile, TwoFoldSums, fit_two_fold
from sae.numerics.nested_error.two_fold_mse import (
    bootstrap_two_fold,
    predict_two_fold,
    two_fold_information,
)

EXACT = 1e-8  # the same numbers by dense matrices of 70 units: rounding only
SIGMAS = 4.5  # Monte-Carlo errors that a mean over seeded replicates may be off
AREA = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4, 5, 5])  # of 14 sub-areas; area 5 has no sample
SIZES = np.array([4, 3, 0, 2, 6, 1, 5, 8, 3, 7, 9, 4, 0, 0])


def sample(rng, v=1.0, u=0.6, e=0.8, p=3):
    sub = np.repeat(np.arange(14), SIZES)
    X = np.column_stack([np.ones(len(sub)), rng.normal(size=(len(sub), p - 1))])
    k = rng.uniform(0.5, 2.0, len(sub))
    y = X.sum(axis=1) + v * rng.normal(size=6)[AREA][sub] + u * rng.normal(size=14)[sub]
    return y + e * k * rng.normal(size=len(sub)), X, sub, k


def covariances(sub, k):
    return [(AREA[sub][:, None] == AREA[sub]) * 1.0, (sub[:, None] == sub) * 1.0, np.diag(k**2)]


def heights(y, X, V):
    """GLS coefficients, their covariance, the restricted and the full log-likelihood."""
    W = np.linalg.inv(V)
    Q = np.linalg.inv(X.T @ W @ X)
    beta = Q @ X.T @ W @ y
    rest = y - X @ beta
    full = -0.5 * (len(y) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + rest @ W @ rest)
    return beta, Q, full + 0.5 * (X.shape[1] * np.log(2 * np.pi) + np.linalg.slogdet(Q)[1]), full


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_fit_is_the_maximum_of_the_dense_likelihood(rng, method):
    for _ in range(5):
        v, u = rng.choice([0.0, 0.5, 2.0], 2)
        y, X, sub, k = sample(rng, v=v, u=u)
        fits = fit_two_fold(TwoFoldSums(area_sums(y, X, sub, 14, k), AREA, 6), method)
        parts = covariances(sub, k)
        at = np.array([fits.sigma2_v[0], fits.sigma2_u[0], fits.sigma2_e[0]])

        def height(values, y=y, X=X, parts=parts):
            return heights(y, X, sum(a * b for a, b in zip(values, parts, strict=True)))[2 + (method == "ml")]

        beta, Q, *_ = heights(y, X, sum(a * b for a, b in zip(at, parts, strict=True)))
        np.testing.assert_allclose(fits.coefficients[0], beta, rtol=EXACT)
        np.testing.assert_allclose(fits.root[0] @ fits.root[0].T, Q, rtol=EXACT, atol=1e-12)
        np.testing.assert_allclose(fits.loglik[0], height(at), rtol=EXACT)
        for place in range(3):
            for factor in (0.97, 1.03):
                moved = at.copy()
                moved[place] = moved[place] * factor + (1e-3 if at[place] == 0.0 else 0.0)
                assert height(moved) < fits.loglik[0]
        grid = [[a, b, at[2]] for a in np.geomspace(1e-3, 10, 8) for b in np.geomspace(1e-3, 10, 8)]
        assert max(height(np.array(each)) for each in grid) <= fits.loglik[0] + 1e-9


def test_slopes_are_those_of_the_profile(rng):
    y, X, sub, k = sample(rng)
    profile = TwoFoldProfile.of(TwoFoldSums(area_sums(y, X, sub, 14, k), AREA, 6))
    at, h, rows = np.array([[0.7, 0.3]]), 1e-6, np.zeros(1, dtype=int)
    for restricted in (True, False):
        slopes = profile.at(at, rows, restricted).slopes[0]
        for place in range(2):
            ends = [at + sign * h * np.eye(2)[place] for sign in (1, -1)]
            high, low = (profile.loglik(profile.at(end, rows, restricted), restricted)[0] for end in ends)
            np.testing.assert_allclose(slopes[place], (high - low) / (2 * h), rtol=1e-6)
        values = profile.loglik(profile.at(at, rows, restricted), restricted)
        np.testing.assert_allclose(profile.scan(at, restricted)[0], values, rtol=EXACT)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("finite", [True, False])
def test_prediction_and_errors_are_the_dense_ones(rng, method, finite):
    y, X, sub, k = sample(rng, v=2.0, u=1.5, e=0.5)
    if finite:
        k = np.ones(len(y))  # sizes of populations go with errors of one variance
    two = TwoFoldSums(area_sums(y, X, sub, 14, k), AREA, 6)
    N = SIZES + 20.0 if finite else np.full(14, np.inf)
    means = AreaMeans(np.column_stack([np.ones(14), rng.normal(size=(14, 2))]), N)
    fits = fit_two_fold(two, method)
    at = [fits.sigma2_v[0], fits.sigma2_u[0], fits.sigma2_e[0]]
    assert min(at) > 0.0
    parts = covariances(sub, k)
    V = sum(a * b for a, b in zip(at, parts, strict=True))
    W = np.linalg.inv(V)
    beta, Q, *_ = heights(y, X, V)
    information = np.array([[0.5 * np.trace(W @ a @ W @ b) for b in parts] for a in parts])
    np.testing.assert_allclose(two_fold_information(two, *at), information, rtol=EXACT)
    spread = np.linalg.inv(information)
    G = at[0] * (AREA[:, None] == AREA) + at[1] * np.eye(14)
    C = at[0] * (AREA[:, None] == AREA[sub]) + at[1] * (np.arange(14)[:, None] == sub)
    f = SIZES / N
    M = np.where(np.arange(14)[:, None] == sub, 1.0 / SIZES[sub], 0.0)  # means of the sample
    T = np.diag(1 - f)
    H = np.diag(f) @ M + T @ C @ W  # weights of the residuals
    loose = means.x_mean - H @ X
    ours = predict_two_fold(fits, two, means, method)
    np.testing.assert_allclose(ours.estimate, means.x_mean @ beta + H @ (y - X @ beta), rtol=EXACT)
    first = T @ (G - C @ W @ C.T) @ T + np.diag((1 - f) * at[2] / N)
    np.testing.assert_allclose(ours.g1, np.diag(first), rtol=EXACT)
    shapes = [
        (AREA[:, None] == AREA[sub]) * 1.0,
        (np.arange(14)[:, None] == sub) * 1.0,
        np.zeros((14, len(y))),
    ]
    slopes = [(shape - C @ W @ part) @ W for shape, part in zip(shapes, parts, strict=True)]
    g3 = sum(spread[i, j] * slopes[i] @ V @ slopes[j].T for i in range(3) for j in range(3))
    total = first + loose @ Q @ loose.T + 2.0 * T @ g3 @ T
    if method == "ml":
        drift = -0.5 * spread @ [np.trace(Q @ X.T @ W @ part @ W @ X) for part in parts]
        h = 1e-5
        for place in range(3):
            ends = []
            for sign in (1, -1):
                a = np.array(at)
                a[place] += sign * h
                Vh = sum(s * b for s, b in zip(a, parts, strict=True))
                Gh = a[0] * (AREA[:, None] == AREA) + a[1] * np.eye(14)
                Ch = a[0] * shapes[0] + a[1] * shapes[1]
                inner = T @ (Gh - Ch @ np.linalg.solve(Vh, Ch.T)) @ T
                ends.append(inner + np.diag((1 - f) * a[2] / N))
            total = total - drift[place] * (ends[0] - ends[1]) / (2 * h)
    assert ours.corrected.all()
    np.testing.assert_allclose(ours.mse, np.diag(total), rtol=1e-6)
    np.testing.assert_allclose(ours.joint.covariance(), total, rtol=1e-6, atol=1e-6)


def test_one_fold_is_two_fold_without_a_variance(rng):
    """No area effect: the nested error model of the sub-areas; no effect of sub-areas: that of the areas."""
    seen = {"v": 0, "u": 0}
    for _ in range(30):
        y, X, sub, _ = sample(rng, v=rng.choice([0.0, 1.0]), u=rng.choice([0.0, 1.0]))
        two = TwoFoldSums(area_sums(y, X, sub, 14), AREA, 6)
        fits = fit_two_fold(two)
        if (fits.sigma2_v[0] > 0.0) == (fits.sigma2_u[0] > 0.0):
            continue
        name = "v" if fits.sigma2_u[0] == 0.0 else "u"
        seen[name] += 1
        place, count = (AREA[sub], 6) if name == "v" else (sub, 14)
        one = fit_nested_error(area_sums(y, X, place, count))
        np.testing.assert_allclose(fits.sigma2_v + fits.sigma2_u, one.sigma2_u, rtol=1e-6)
        np.testing.assert_allclose(fits.coefficients, one.coefficients, rtol=1e-6)
        np.testing.assert_allclose(fits.loglik, one.loglik, rtol=1e-9)
        if name == "u":
            means = AreaMeans(rng.normal(size=(14, 3)), np.full(14, np.inf))
            alone = predict(one, two.sums, means)
            np.testing.assert_allclose(predict_two_fold(fits, two, means).estimate, alone.estimate, rtol=1e-6)
    assert min(seen.values()) > 1


def test_many_outcomes_are_fitted_as_one_by_one(rng):
    drawn = [sample(rng) for _ in range(3)]
    X, sub = drawn[0][1:3]
    single = [area_sums(each[0], X, sub, 14) for each in drawn]
    joined = type(single[0])(
        single[0].n,
        single[0].x_mean,
        np.concatenate([one.y_mean for one in single]),
        single[0].xx,
        np.concatenate([one.xy for one in single]),
        np.concatenate([one.yy for one in single]),
    )
    together = fit_two_fold(TwoFoldSums(joined, AREA, 6))
    for row, one in enumerate(single):
        alone = fit_two_fold(TwoFoldSums(one, AREA, 6))
        for name in ("sigma2_v", "sigma2_u", "sigma2_e", "coefficients"):
            np.testing.assert_allclose(getattr(together, name)[row], getattr(alone, name)[0], atol=1e-7)


def test_bootstrap_meets_the_analytical_error_with_many_areas(rng):
    area = np.repeat(np.arange(50), 4)
    sub = np.repeat(np.arange(200), np.tile([2, 3, 5, 6], 50))
    X = np.column_stack([np.ones(len(sub)), rng.normal(size=len(sub))])
    y = X.sum(axis=1) + rng.normal(size=50)[area][sub] + 0.7 * rng.normal(size=200)[sub]
    two = TwoFoldSums(area_sums(y + 0.8 * rng.normal(size=len(sub)), X, sub, 200), area, 50)
    means = AreaMeans(two.sums.x_mean, np.full(200, 40.0))
    for method in ("reml", "ml"):
        fits = fit_two_fold(two, method)
        analytical = predict_two_fold(fits, two, means, method).mse
        names = {"areas": range(50), "subareas": range(200), "method": method}
        bootstrap = bootstrap_two_fold(fits, two, means, **names, replicates=200, seed=3)
        ratio = bootstrap.mean / analytical
        assert abs(ratio.mean() - 1) < 0.03
        assert (np.abs(ratio - 1) < SIGMAS * np.sqrt(2 / 200)).all()


def test_what_cannot_be_told_is_refused(rng):
    y, X, sub, _ = sample(rng)

    def code(y, X, sub, area):
        with pytest.raises(ValueError) as error:
            fit_two_fold(TwoFoldSums(area_sums(y, X, sub, len(area)), area, int(area.max()) + 1))
        return error.value.args[1]

    assert code(y, X, sub, np.arange(14)) == -4
    assert code(y, np.column_stack([X, X[:, 1]]), sub, AREA) == 3
    constant = np.column_stack([X, (AREA[sub][:, None] == [1, 2, 3, 4])])
    assert code(y, constant, sub, AREA) == -5
    one = np.unique(sub, return_index=True)[1]
    assert code(y[one], X[one], sub[one], AREA) == -1
    assert code(rng.normal(size=14)[sub], X[:, :1], sub, AREA) == -2


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_statsmodels_finds_no_higher_maximum(method):
    """Its optimiser stops where the likelihood hardly moves: variances to about 1e-3."""
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    rng = np.random.default_rng(4)
    area, sub = np.repeat(np.arange(30), 12), np.repeat(np.arange(120), 3)
    X = np.column_stack([np.ones(360), rng.normal(size=360)])
    y = X.sum(axis=1) + rng.normal(size=30)[area] + 0.8 * rng.normal(size=120)[sub] + rng.normal(size=360)
    parts = [(sub[area == d][:, None] == np.unique(sub[area == d])) * 1.0 for d in range(30)]
    spec = VCSpec(["sub"], [[["a", "b", "c", "d"]] * 30], [parts])
    theirs = MixedLM(y, X, groups=area, exog_re=np.ones((360, 1)), exog_vc=spec).fit(reml=method == "reml")
    two = TwoFoldSums(area_sums(y, X, sub, 120), np.repeat(np.arange(30), 4), 30)
    ours = fit_two_fold(two, method)
    np.testing.assert_allclose(ours.coefficients[0], theirs.fe_params, rtol=1e-4)
    variances = [ours.sigma2_v[0], ours.sigma2_u[0], ours.sigma2_e[0]]
    reference = [theirs.cov_re[0, 0], theirs.vcomp[0], theirs.scale]
    np.testing.assert_allclose(variances, reference, rtol=2e-3)
    if method == "ml":
        assert ours.loglik[0] >= theirs.llf - 1e-9
        np.testing.assert_allclose(ours.loglik[0], theirs.llf, atol=1e-4)
