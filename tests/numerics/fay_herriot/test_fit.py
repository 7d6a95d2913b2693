"""The Fay–Herriot kernel against dense likelihoods, a plain numpy twin and limiting cases."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar

from sae.numerics.fay_herriot.fit import METHODS, fit_batch

EXACT = 1e-9  # closed forms and equations that the kernel solves to its own tolerance
TWIN = 1e-7  # scipy's bounded search stops near the square root of the machine precision
ADJUSTED = METHODS[4:]
LIKELIHOOD = 1e-9  # no point of a dense grid may be higher than the reported maximum by more than rounding


def dense_loglik(A, y, D, X, restricted):
    """(Restricted) log-likelihood by D × D matrices, as the textbook writes it."""
    V = np.diag(A + D)
    inverse = np.linalg.inv(V)
    XVX = X @ inverse @ X.T
    P = inverse - inverse @ X.T @ np.linalg.solve(XVX, X @ inverse)
    value = -0.5 * (np.linalg.slogdet(V)[1] + y @ P @ y)
    return value - 0.5 * np.linalg.slogdet(XVX)[1] if restricted else value


def grid_loglik(A, y, D, X, restricted):
    """The same for many A at once, with p × p algebra: the twin."""
    W = 1.0 / (A[:, None] + D)
    XWX = np.einsum("ka,ia,ja->kij", W, X, X)
    beta = np.linalg.solve(XWX, np.einsum("ka,ia,a->ki", W, X, y)[..., None])[..., 0]
    residual = y - beta @ X
    value = -0.5 * (-np.log(W).sum(axis=1) + (W * residual**2).sum(axis=1))
    return value - 0.5 * np.linalg.slogdet(XWX)[1] if restricted else value


def problem(rng, n, p, spread=1.0, A=0.5):
    X = np.vstack([np.ones(n), rng.normal(size=(p - 1, n))])
    D = np.exp(spread * rng.normal(size=n))
    y = X.sum(axis=0) + rng.normal(size=n) * np.sqrt(A + D)
    return y, D, X


def one(y, D, X, method="reml", **options):
    return fit_batch(y, D, X, np.array([0, len(D)]), method, **options)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_highest_point_of_the_dense_likelihood(rng, method):
    restricted = method == "reml"
    for n, p, A in [(8, 1, 0.0), (12, 3, 0.3), (30, 4, 2.0), (60, 2, 0.1)]:
        y, D, X = problem(rng, n, p, A=A)
        found = one(y, D, X, method).variance[0, 0]
        best = minimize_scalar(
            lambda a, y=y, D=D, X=X: -dense_loglik(a, y, D, X, restricted),
            bounds=(0.0, 50.0),
            method="bounded",
            options={"xatol": 1e-12},
        )
        assert dense_loglik(found, y, D, X, restricted) >= -best.fun - LIKELIHOOD
        if found > 1e-3:
            assert found == pytest.approx(best.x, rel=1e-5)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_profile_score_is_zero_at_the_estimate(rng, method):
    for _ in range(20):
        y, D, X = problem(rng, 40, 3)
        A = one(y, D, X, method).variance[0, 0]
        if A == 0.0:
            continue
        w = np.diag(1.0 / (A + D))
        P = w - w @ X.T @ np.linalg.solve(X @ w @ X.T, X @ w)
        trace = np.trace(P if method == "reml" else w)
        assert y @ P @ P @ y == pytest.approx(trace, rel=EXACT)


def test_coefficients_covariance_and_loglik_by_dense_algebra(rng):
    y, D, X = problem(rng, 35, 4)
    fits = one(y, D, X)
    V = np.diag(fits.variance[0, 0] + D)
    Q = np.linalg.inv(X @ np.linalg.inv(V) @ X.T)
    beta = Q @ X @ np.linalg.inv(V) @ y
    residual = y - beta @ X
    loglik = -0.5 * (
        35 * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + residual @ np.linalg.inv(V) @ residual
    )
    np.testing.assert_allclose(fits.coefficients[0, 0], beta, rtol=EXACT)
    np.testing.assert_allclose(fits.root[0, 0] @ fits.root[0, 0].T, Q, rtol=EXACT, atol=1e-12)
    assert fits.loglik[0, 0] == pytest.approx(loglik, rel=EXACT)


def two_groups(rng, problems, n):
    """Precise areas that agree and vague ones that do not: the profile often has two maxima."""
    D = np.exp(rng.normal(scale=rng.uniform(0.5, 2.0, size=(problems, 1)), size=(problems, n)))
    D[:, : n // 2] *= 1e-3
    misfit = rng.choice([0.1, 1.0, 5.0], size=(problems, 1))
    y = rng.normal(size=(problems, n)) * np.sqrt(misfit * D + rng.choice([0.0, 0.01], size=(problems, 1)))
    return y, D


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_highest_of_several_maxima_found_by_search(rng, method):
    y, D = two_groups(rng, 3000, 12)
    fits = fit_batch(y.ravel(), D.ravel(), np.ones((1, y.size)), np.arange(0, y.size + 1, 12), method)
    several = np.flatnonzero(fits.maxima[0] > 1)
    assert len(several) > 100  # the search did meet the hard case
    inside = several[fits.variance[0, several] > 0]
    boundary = several[fits.variance[0, several] == 0]
    assert len(inside) > 20
    assert len(boundary) > 2
    grid = np.concatenate([[0.0], np.geomspace(1e-8, 1e3, 1500)])
    X = np.ones((1, 12))
    for k in [*several[:150], *rng.choice(3000, 150)]:
        values = grid_loglik(grid, y[k], D[k], X, method == "reml")
        found = grid_loglik(fits.variance[:, k], y[k], D[k], X, method == "reml")[0]
        assert found >= values.max() - LIKELIHOOD


def test_lower_of_two_maxima_is_where_a_local_search_would_stop():
    # found by the search above: REML has one maximum at 0.0130 and a lower one near 0.3
    D = np.array(
        [
            4.58241615e-04,
            2.56991528e-03,
            2.64622641e-04,
            1.51688884e-03,
            7.44174346e-04,
            6.37536288e-03,
            7.23923749e-04,
            6.47464664e-01,
            6.98625507e-01,
            2.39604121e00,
            1.98488924e-02,
            5.91900283e-01,
        ]
    )
    y = np.array(
        [
            -0.06589773,
            0.04473575,
            -0.05486172,
            0.11617992,
            -0.07827776,
            -0.26987529,
            0.1008586,
            -0.6547209,
            0.27482442,
            0.69115915,
            -0.11131208,
            4.43256391,
        ]
    )
    X = np.ones((1, 12))
    fits = one(y, D, X)
    assert fits.maxima[0, 0] == 2
    assert fits.variance[0, 0] == pytest.approx(0.013032250443925864, rel=TWIN)
    values = grid_loglik(np.geomspace(1e-4, 10, 4000), y, D, X, True)
    peaks = np.flatnonzero((values[1:-1] > values[:-2]) & (values[1:-1] > values[2:]))
    assert len(peaks) == 2


def test_boundary_is_exactly_zero_and_true(rng):
    zeros = 0
    for _ in range(50):
        y, D, X = problem(rng, 12, 2, spread=0.5, A=0.0)
        A = one(y, D, X).variance[0, 0]
        values = grid_loglik(np.concatenate([[0.0], np.geomspace(1e-8, 100, 500)]), y, D, X, True)
        assert (A == 0.0) == (values.argmax() == 0)
        zeros += A == 0.0
    assert 5 < zeros < 45


def adjusted_loglik(A, y, D, X, method):
    """The adjusted log-likelihood for many A, in logs."""
    value = grid_loglik(A, y, D, X, method.endswith("reml"))
    if method.startswith("ll"):
        return value + np.log(A)
    return value + np.log(np.arctan((A[:, None] / (A[:, None] + D)).sum(axis=1))) / len(D)


@pytest.mark.parametrize("method", ADJUSTED)
def test_highest_of_several_maxima_of_adjusted_likelihoods(rng, method):
    y, D = two_groups(rng, 1000, 12)
    y[:20] *= 1e-3  # where the plain likelihood is highest at 0, far below every sampling variance
    fits = fit_batch(y.ravel(), D.ravel(), np.ones((1, y.size)), np.arange(0, y.size + 1, 12), method)
    assert (fits.variance > 0).all()
    several = np.flatnonzero(fits.maxima[0] > 1)
    assert len(several) > 20
    grid, X = np.geomspace(1e-10, 1e3, 1500), np.ones((1, 12))
    for k in [*range(20), *several[:60], *rng.choice(1000, 60)]:
        found = adjusted_loglik(fits.variance[:, k], y[k], D[k], X, method)[0]
        assert found >= adjusted_loglik(grid, y[k], D[k], X, method).max() - LIKELIHOOD


@pytest.mark.parametrize("method", ADJUSTED)
def test_adjusted_profile_score_is_zero_at_the_estimate(rng, method):
    for n, p in [(6, 2), (40, 3)]:
        for _ in range(10):
            y, D, X = problem(rng, n, p, A=rng.choice([0.0, 0.5]))
            A = one(y, D, X, method).variance[0, 0]
            w = np.diag(1.0 / (A + D))
            P = w - w @ X.T @ np.linalg.solve(X @ w @ X.T, X @ w)
            trace = np.trace(P if method.endswith("reml") else w)
            share = (A / (A + D)).sum()
            slope = 1 / A
            if method.startswith("yl"):
                slope = (D / (A + D) ** 2).sum() / ((1 + share**2) * np.arctan(share) * n)
            assert y @ P @ P @ y + 2 * slope == pytest.approx(trace, rel=1e-8)


def test_adjusted_estimates_with_a_perfect_fit_have_a_closed_form():
    # S = 0: with equal variances 2 / A = (n - p) / (A + D), so that A = 2 D / (n - p - 2), and n for n - p
    x = np.arange(8.0)
    y, D, X = 2.0 + 3.0 * x, np.full(8, 0.1), np.vstack([np.ones(8), x])
    assert one(y, D, X, "ll-reml").variance[0, 0] == pytest.approx(0.2 / 4, rel=EXACT)
    assert one(y, D, X, "ll-ml").variance[0, 0] == pytest.approx(0.2 / 6, rel=EXACT)


@pytest.mark.parametrize(("method", "few"), [("ll-reml", 5), ("ll-ml", 3), ("yl-reml", 3)])
def test_adjusted_likelihoods_without_a_maximum_are_refused(rng, method, few):
    # A^(1 + (p - n) / 2) does not fall, so that no A is best
    p = 2 if method == "ll-reml" else 1
    y, D, X = problem(rng, few - 1, p)
    if few - 1 > p:
        with pytest.raises(ValueError, match="too few areas"):
            one(y, D, X, method)
    y, D, X = problem(rng, few, p)
    assert one(y, D, X, method).variance[0, 0] > 0


def test_perfect_fit_gives_zero():
    x = np.arange(6.0)
    for method in METHODS[:4]:
        fits = one(2.0 + 3.0 * x, np.full(6, 0.1), np.vstack([np.ones(6), x]), method)
        assert fits.variance[0, 0] == 0.0
        np.testing.assert_allclose(fits.coefficients[0, 0], [2.0, 3.0], rtol=EXACT)


def test_equal_variances_have_a_closed_form(rng):
    y, _, X = problem(rng, 25, 3, A=4.0)
    rss = ((y - np.linalg.lstsq(X.T, y, rcond=None)[0] @ X) ** 2).sum()
    expected = {"reml": rss / 22 - 0.7, "ml": rss / 25 - 0.7, "fh": rss / 22 - 0.7, "pr": rss / 22 - 0.7}
    for method, value in expected.items():
        assert one(y, np.full(25, 0.7), X, method).variance[0, 0] == pytest.approx(value, rel=EXACT)


def test_moment_equations(rng):
    for _ in range(20):
        y, D, X = problem(rng, 30, 3)
        A = one(y, D, X, "fh").variance[0, 0]

        def excess(a, y=y, D=D, X=X):
            w = np.diag(1.0 / (a + D))
            P = w - w @ X.T @ np.linalg.solve(X @ w @ X.T, X @ w)
            return y @ P @ y - 27

        assert (
            0.0 if excess(0.0) <= 0 else pytest.approx(brentq(excess, 0, 1e4, xtol=1e-14), rel=EXACT)
        ) == A
        H = X.T @ np.linalg.solve(X @ X.T, X)
        moment = (y @ (np.eye(30) - H) @ y - (D * (1 - np.diag(H))).sum()) / 27
        assert one(y, D, X, "pr").variance[0, 0] == pytest.approx(max(moment, 0.0), rel=EXACT)


@pytest.mark.parametrize("method", METHODS)
def test_batch_equals_singles_bit_for_bit(rng, method):
    sizes = [10, 37, 100, 520, 1100, 16]
    parts = [problem(rng, n, 3) for n in sizes]
    y, D, X = (np.concatenate([part[k] for part in parts], axis=-1) for k in range(3))
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    batch = fit_batch(y, D, X, offsets, method)
    stacked = fit_batch(np.vstack([y[::-1], y]), D, X, offsets, method)
    for k, part in enumerate(parts):
        single = one(*part, method)
        for name in ("variance", "coefficients", "root", "loglik"):
            assert np.array_equal(getattr(batch, name)[0, k], getattr(single, name)[0, 0])
            assert np.array_equal(getattr(stacked, name)[1, k], getattr(single, name)[0, 0])


@pytest.mark.parametrize("method", METHODS)
def test_order_of_the_areas_does_not_matter(rng, method):
    y, D, X = problem(rng, 50, 3)
    order = rng.permutation(50)
    a, b = one(y, D, X, method), one(y[order], D[order], X[:, order], method)
    assert a.variance[0, 0] == pytest.approx(b.variance[0, 0], rel=EXACT)
    np.testing.assert_allclose(a.coefficients, b.coefficients, rtol=EXACT)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-4, 1e5, 1e-30, 1e30])
def test_rescaling_changes_nothing_but_the_scale(rng, method, scale):
    # estimates of 1e-4 with variances of 1e-8, or of 1e5 with 1e10: the same shrinkage
    for A in (0.0, 0.5):
        y, D, X = problem(rng, 40, 3, A=A)
        a, b = one(y, D, X, method), one(scale * y, scale**2 * D, X, method)
        np.testing.assert_allclose(b.variance, scale**2 * a.variance, rtol=1e-8)
        np.testing.assert_allclose(b.coefficients, scale * a.coefficients, rtol=1e-8)


def test_covariates_of_any_size_and_offset(rng):
    y, D, X = problem(rng, 40, 3)
    a = one(y, D, X)
    moved = np.vstack([X[0], 1e6 + 1e2 * X[1], 1e-5 * X[2]])
    b = one(y, D, moved)
    assert b.variance[0, 0] == pytest.approx(a.variance[0, 0], rel=1e-8)
    np.testing.assert_allclose(b.coefficients[0, 0] @ moved, a.coefficients[0, 0] @ X, rtol=1e-7)


def test_variances_from_tiny_to_huge(rng):
    y, D, X = problem(rng, 30, 2)
    tiny = one(y, 1e-14 * D, X)
    limit = one(y, np.full(30, 1e-60), X)  # no sampling error: ordinary least squares
    assert tiny.variance[0, 0] == pytest.approx(limit.variance[0, 0], rel=1e-10)
    assert one(y, 1e12 * D, X).variance[0, 0] == 0.0
    wide = np.concatenate([D[:15] * 1e-12, D[15:] * 1e12])
    assert np.isfinite(one(y, wide, X).variance[0, 0])


def test_too_few_areas_and_deficient_designs_are_refused_with_their_index(rng):
    y, D, X = problem(rng, 20, 3)
    with pytest.raises(ValueError, match="too few areas") as short:
        fit_batch(y, D, X, np.array([0, 17, 20]))
    assert short.value.args[1] == 1
    X[2, 10:] = 2.0 * X[1, 10:] - 1.0
    with pytest.raises(ValueError, match="rank deficient") as deficient:
        fit_batch(y, D, X, np.array([0, 10, 20]))
    assert deficient.value.args[1:] == (1, 2)


def test_without_the_rest_only_the_estimates_are_filled(rng):
    y, D, X = problem(rng, 20, 3)
    lean = one(y, D, X, full=False)
    assert np.array_equal(lean.variance, one(y, D, X).variance)
    assert lean.loglik.size == lean.root.size == 0


def rational_profile(A, y, D, X):
    """y'P²y, tr P, tr V^-1, y'Py, coefficients and their covariance without rounding, in fractions."""
    n, p = len(y), len(X)
    A, y, D = Fraction(float(A)), [Fraction(v) for v in y.tolist()], [Fraction(v) for v in D.tolist()]
    X = [[Fraction(v) for v in row] for row in X.tolist()]
    w = [1 / (A + d) for d in D]
    gram = [[sum(w[i] * a[i] * b[i] for i in range(n)) for b in X] for a in X]
    rows = [[*line, *(Fraction(int(j == k)) for k in range(p))] for j, line in enumerate(gram)]
    for j in range(p):
        rows[j] = [value / rows[j][j] for value in rows[j]]
        for k in range(p):
            if k != j:
                rows[k] = [a - rows[k][j] * b for a, b in zip(rows[k], rows[j], strict=True)]
    Q = [line[p:] for line in rows]
    total = [sum(w[i] * x[i] * y[i] for i in range(n)) for x in X]
    beta = [sum(q * t for q, t in zip(line, total, strict=True)) for line in Q]
    rest = [y[i] - sum(b * x[i] for b, x in zip(beta, X, strict=True)) for i in range(n)]
    leverage = [sum(X[j][i] * Q[j][k] * X[k][i] for j in range(p) for k in range(p)) for i in range(n)]
    return (
        sum((w[i] * rest[i]) ** 2 for i in range(n)),
        sum(w[i] - w[i] ** 2 * leverage[i] for i in range(n)),
        sum(w),
        sum(w[i] * rest[i] ** 2 for i in range(n)),
        np.array(beta, dtype=float),
        np.array(Q, dtype=float),
    )


def rational_excess(A, method, y, D, X):
    """What the estimate makes 0, over its positive part: the score of a likelihood, the moment equation."""
    squared, trace, whole, quadratic, _, _ = rational_profile(A, y, D, X)
    if method == "fh":
        return float(quadratic / (len(y) - len(X)) - 1)
    against = trace if method.endswith("reml") else whole
    more = 2 / Fraction(float(A)) if method.startswith("ll") else 0
    return float((squared + more) / against - 1)


SHARES = np.array([0.50, 0.61, 0.42, 0.55, 0.70, 0.38, 0.66, 0.47, 0.58, 0.35])


@pytest.mark.parametrize(
    ("method", "right"),
    [("reml", 0.0118), ("ml", 0.0104), ("fh", 0.0120), ("pr", 0.0122), ("yl-reml", 0.0118)],
)
@pytest.mark.parametrize("tiny", [1e-13, 1e-18, 1e-24])
def test_one_tiny_variance_does_not_hide_the_others(method, right, tiny):
    # y'Wy and b'X'Wy agree in all digits: what is left of their difference is noise
    D = np.array([tiny, *[0.002] * 9])
    fits = one(SHARES, D, np.ones((1, 10)), method)
    A = fits.variance[0, 0]
    if method == "ml" and tiny < 1e-18:
        right = 0.0  # the full likelihood of one exact area grows without bound as the variances go to 0
    assert pytest.approx(right, abs=5e-5) == A
    _, _, _, quadratic, beta, _ = rational_profile(A, SHARES, D, np.ones((1, 10)))
    loglik = -0.5 * (10 * np.log(2 * np.pi) + np.log(A + D).sum() + float(quadratic))
    assert fits.loglik[0, 0] == pytest.approx(loglik, rel=EXACT)
    np.testing.assert_allclose(fits.coefficients[0, 0], beta, rtol=EXACT)


@pytest.mark.parametrize("method", ["reml", "ml", "fh", "ll-reml"])
@pytest.mark.parametrize("orders", [3, 10, 24])
def test_variances_of_many_orders_without_rounding(rng, method, orders):
    for case in range(4):
        n, p = 9, 1 + case % 3
        X = np.vstack([np.ones(n), rng.normal(size=(p - 1, n))])[:p]
        D = 10.0 ** rng.uniform(-orders, 1, size=n)
        D[:2] = D.min()  # two that no coefficient can join
        y = X.sum(axis=0) + rng.normal(size=n) * np.sqrt(rng.choice([0.0, 1e-6, 0.1]) + D)
        fits = one(y, D, X, method)
        A = fits.variance[0, 0]
        if A == 0.0:
            assert rational_excess(0.0, method, y, D, X) <= EXACT
        else:  # the sign turns there, to what a rounding of y weighs beside the effects
            near = 1e-5 + 1e-14 / np.sqrt(A)
            assert rational_excess(A * (1 - near), method, y, D, X) > 0
            assert rational_excess(A * (1 + near), method, y, D, X) < 0
        *_, beta, Q = rational_profile(A, y, D, X)
        np.testing.assert_allclose(fits.coefficients[0, 0], beta, rtol=EXACT, atol=1e-12)
        np.testing.assert_allclose(
            fits.root[0, 0] @ fits.root[0, 0].T, Q, rtol=1e-8, atol=1e-10 * abs(Q).max()
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e80, 1e-80])
def test_units_of_any_size(rng, method, scale):
    # fourth powers of such figures overflow: powers of two bring the problem to ordinary size
    y, D, X = problem(rng, 20, 2)
    a, b = one(y, D, X, method), one(scale * y, scale**2 * D, X, method)
    np.testing.assert_allclose(b.variance / scale**2, a.variance, rtol=1e-8)
    np.testing.assert_allclose(b.coefficients / scale, a.coefficients, rtol=1e-8)
    np.testing.assert_allclose(b.root / scale, a.root, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(b.loglik + 20 * np.log(scale), a.loglik, rtol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_regressing_out_and_other_bases_change_nothing_else(rng, method):
    # y -> a y + b x, X -> X A, with variances of ten orders
    y, D, X = problem(rng, 25, 3)
    D[:3] *= 1e-10
    basis = np.array([[1.0, 0.3, 0.0], [0.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
    a = one(y, D, X, method)
    b = one(7.0 * y + np.array([3.0, -2.0, 5.0]) @ X, 49.0 * D, basis @ X, method)
    np.testing.assert_allclose(b.variance, 49.0 * a.variance, rtol=1e-8)
    fitted = 7.0 * a.coefficients[0, 0] @ X + np.array([3.0, -2.0, 5.0]) @ X
    np.testing.assert_allclose(b.coefficients[0, 0] @ basis @ X, fitted, rtol=1e-8)
    quad, other = (((fits.root[0, 0].T @ rows) ** 2).sum(axis=0) for fits, rows in ((a, X), (b, basis @ X)))
    np.testing.assert_allclose(other, 49.0 * quad, rtol=1e-7)
