"""Robust Fay-Herriot: saeRobust and emdi, direct residuals of the equations, limiting cases,
contamination.
"""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq, minimize

from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.robust.bootstrap import bootstrap_robust
from sae.numerics.robust.fit import (
    HUBER_K,
    fit_robust,
    huber_variance,
    reblup,
    robust_batch,
    variance_of_variance,
)
from sae.numerics.robust.mse import pseudo_joint, synthetic_share

# saeRobust and emdi at tol 1e-9: they stop when the relative step is small, 1.3e-7 off in A at worst
OWN = 1e-7
A_OWN = 2e-7
# emdi at its default tolerance 1e-4 of a step: 2e-4 off in A, 6e-4 in one area effect; not so when tight
DEFAULT = 1e-3
EXACT = 1e-10  # same equations, solved another way


@pytest.fixture(scope="module")
def milk(oracle_data):
    frame = pd.read_csv(oracle_data / "milk.csv")
    X = np.column_stack([np.ones(43), *((frame["MajorArea"] == g).to_numpy(float) for g in (2, 3, 4))])
    return frame["yi"].to_numpy(float), frame["SD"].to_numpy(float) ** 2, X


@pytest.fixture(scope="module")
def grapes(shared_data):
    frame = pd.read_csv(shared_data / "sae_grapes.csv")
    return tuple(frame[names].to_numpy(float) for names in ("grapehect", "var", ["area", "workdays"]))


@pytest.fixture(scope="module")
def districts(shared_data):
    return pd.read_csv(shared_data / "emdi_eusilcA_popAgg.csv").merge(
        pd.read_csv(shared_data / "emdi_eusilcA_smpAgg.csv"), on="Domain"
    )


def income_of(districts):
    X = np.column_stack([np.ones(len(districts)), districts["cash"], districts["self_empl"]])
    return districts["Mean"].to_numpy(float), districts["Var_Mean"].to_numpy(float), X


@pytest.fixture(scope="module")
def income(districts):
    return income_of(districts)


def pseudo_mse(fit, y, D, X, c=1.0, out=0):
    """Both predictors of the sampled areas, and x'beta of the first `out` taken as areas without a sample."""
    on, rows = np.arange(len(y) + out) < len(y), np.append(np.arange(len(y)), np.arange(out))
    found = []
    for share in synthetic_share(fit, y, D, X, c):
        joint = pseudo_joint(fit, np.append(share, np.ones(out)), D[rows], X[rows], on)
        found.append(joint.mse())
    return found[0][on], found[1][on], found[0][~on]


def test_expected_square_of_psi_by_integration():
    z = np.linspace(-12, 12, 400_001)
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    assert abs(huber_variance(1.345) - np.trapezoid(np.clip(z, -1.345, 1.345) ** 2 * density, z)) < 1e-9
    assert huber_variance(1e6) == 1.0


@pytest.mark.parametrize("name", ["milk", "grapes"])
@pytest.mark.parametrize("k", [1.345, 1e6])
def test_against_saerobust(request, reference, name, k):
    y, D, X = request.getfixturevalue(name)
    truth = reference(f"saeRobust_{name}" + ("_nonrobust" if k > 2 else ""))["outputs"]
    fit = fit_robust(y, D, X, k)
    np.testing.assert_allclose(fit.variance, truth["variance"]["variance"], rtol=A_OWN)
    np.testing.assert_allclose(fit.beta, list(truth["coefficients"].values()), rtol=OWN)
    plain, corrected = reblup(y, D, X @ fit.beta, fit.variance, k)
    np.testing.assert_allclose(plain, truth["reblup"], rtol=OWN)
    np.testing.assert_allclose(corrected, truth["predict"]["reblupbc"], rtol=OWN)
    np.testing.assert_allclose(pseudo_mse(fit, y, D, X)[0], truth["mse_pseudo"]["pseudo"], rtol=OWN)
    assert fit.residual < 1e-11 and fit.status == "interior"


def test_published_milk_figures(milk):
    """The table of methods.md prints six to eight digits of a looser run (tol 1e-6): A 6e-5 off."""
    y, D, X = milk
    fit = fit_robust(y, D, X)
    np.testing.assert_allclose(fit.variance, 0.00796442, rtol=2e-4)
    np.testing.assert_allclose(fit.beta, [1.0051934, 0.1761094, 0.1871364, -0.2777661], rtol=3e-5)


@pytest.mark.parametrize("kind", ["reblup", "reblupbc"])
@pytest.mark.parametrize("suffix", ["_pseudo_tight", "_pseudo"])
def test_against_emdi(districts, reference, kind, suffix):
    truth = reference(f"emdi_fh_{kind}{suffix}")["outputs"]
    y, D, X = income_of(districts.set_index("Domain").loc[truth["domain"]])
    fit = fit_robust(y, D, X)
    own, own_A = (OWN, A_OWN) if "tight" in suffix else (DEFAULT, DEFAULT)
    np.testing.assert_allclose(fit.variance, truth["variance"], rtol=own_A)
    np.testing.assert_allclose(fit.beta, truth["coefficients"]["coefficients"], rtol=own)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.beta_cov)), truth["coefficients"]["std.error"], rtol=own)
    predicted = reblup(y, D, X @ fit.beta, fit.variance, fit.k)
    np.testing.assert_allclose(predicted[kind == "reblupbc"], truth["FH"], rtol=own)
    mse, want = pseudo_mse(fit, y, D, X), np.array(truth["mse"]["FH"])
    same = predicted[0] == predicted[1] if kind == "reblupbc" else np.ones(len(y), bool)
    np.testing.assert_allclose(mse[kind == "reblupbc"][same], want[same], rtol=own)


def test_pseudo_mse_of_the_corrected_form_of_saerobust_depends_on_the_origin(milk, reference):
    """Exception to the oracle, in the areas that the bias correction moves.

    saeRobust writes y +- c sd as (1 +- c sd / y) y: the error of that weight is (w - 1)^2 A + w^2 D plus
    the square of (w - 1) x'beta, which reproduces its figure to all digits, and changes when a constant is
    added to y (Kelvin or Celsius). Ours does not change.
    """
    y, D, X = milk
    truth = reference("saeRobust_milk")["outputs"]
    A, want = truth["variance"]["variance"], np.array(truth["mse_pseudo"]["pseudobc"])
    moved = np.array(truth["reblup"]) != np.array(truth["predict"]["reblupbc"])
    moved &= abs(np.array(truth["reblup"]) - truth["predict"]["reblupbc"]) > 1e-6
    w = np.array(truth["predict"]["reblupbc"]) / y
    theirs = (w - 1) ** 2 * A + w**2 * D + ((w - 1) * np.array(truth["predict"]["linear"])) ** 2
    assert moved.any()
    np.testing.assert_allclose(theirs[moved], want[moved], rtol=1e-9)
    fit, shifted = fit_robust(y, D, X), fit_robust(y + 10.0, D, X)
    ours = pseudo_mse(fit, y, D, X)[1]
    np.testing.assert_allclose(pseudo_mse(shifted, y + 10.0, D, X)[1], ours, rtol=1e-8)
    np.testing.assert_allclose(ours[~moved], want[~moved], rtol=OWN)
    w = (y + 10.0 + (np.array(truth["predict"]["reblupbc"]) - y)) / (y + 10.0)
    linear = np.array(truth["predict"]["linear"]) + 10.0
    assert (abs(((w - 1) ** 2 * A + w**2 * D + ((w - 1) * linear) ** 2) / theirs - 1)[moved] > 1e-3).all()


def dense_mse(fit, y, D, X, c=None):
    """Weights as a full matrix: W y is the predictor, then the variance of W (u + e) - u."""
    A, k = fit.variance, fit.k
    e = y - X @ fit.beta
    predicted = reblup(y, D, X @ fit.beta, A, k)
    u = predicted[0] - X @ fit.beta
    w2 = np.minimum(1, k / np.maximum(abs(e - u) / np.sqrt(D), 1e-300)) / D
    w3 = np.minimum(1, k / np.maximum(abs(u) / np.sqrt(A), 1e-300)) / A
    eye = np.eye(len(y))
    H = X @ fit.projection
    W = H + np.diag(w2 / (w2 + w3)) @ (eye - H)
    if c is not None:
        t = np.minimum(1, c * np.sqrt(D) / abs(y - W @ y))
        W = np.diag(t) @ W + np.diag(1 - t)
    np.testing.assert_allclose(W @ y, predicted[c is not None], rtol=1e-9)
    np.testing.assert_allclose(W @ X, X, rtol=1e-9, atol=1e-9)
    return ((W - eye) ** 2).sum(axis=1) * A + W**2 @ D


@pytest.mark.parametrize("name", ["milk", "income"])
def test_pseudo_mse_is_that_of_the_weights(request, name):
    y, D, X = request.getfixturevalue(name)
    fit = fit_robust(y, D, X)
    plain, corrected, out = pseudo_mse(fit, y, D, X, out=3)
    np.testing.assert_allclose(plain, dense_mse(fit, y, D, X), rtol=1e-9)
    np.testing.assert_allclose(corrected, dense_mse(fit, y, D, X, c=1.0), rtol=1e-9)
    H = X[:3] @ fit.projection
    np.testing.assert_allclose(out, fit.variance + H**2 @ (fit.variance + D), rtol=EXACT)


def test_joint_pseudo_error_is_that_of_the_weights(milk):
    """The covariance of all pairs against the full matrix of weights, areas without a sample included."""
    y, D, X = milk
    on = np.arange(len(y)) > 4
    fit = fit_robust(y[on], D[on], X[on])
    A, e = fit.variance, y[on] - X[on] @ fit.beta
    plain, _ = synthetic_share(fit, y[on], D[on], X[on])
    share = np.ones(len(y))
    share[on] = plain
    assert (abs(plain - D[on] / (A + D[on])) > 1e-3).any()  # some are clipped
    W = np.zeros((len(y), on.sum()))
    W[on] = np.diag(1 - plain)
    W += share[:, None] * (X @ fit.projection)
    np.testing.assert_allclose((W @ y[on])[on], reblup(y[on], D[on], y[on] - e, A, fit.k)[0], rtol=1e-9)
    gap = W - np.eye(len(y))[:, on]
    full = A * (gap @ gap.T) + (W * D[on]) @ W.T + A * np.diag(~on)
    np.testing.assert_allclose(
        pseudo_joint(fit, share, D, X, on).covariance(), full, rtol=1e-9, atol=1e-12 * full.max()
    )


def test_asymptotic_variance_of_the_variance_by_simulation():
    """400 fits of 1,000 areas: relative standard error of a variance sqrt(2 / 400) = 0.07."""
    rng = np.random.default_rng(12)
    D, X = rng.uniform(0.3, 1.0, 1000), np.ones((1000, 1))
    y = rng.normal(size=(400, 1000)) * np.sqrt(1.0 + D)
    variance, _, _ = robust_batch(y, D, X)
    assert abs(variance.var() / variance_of_variance(1.0, D, HUBER_K) - 1) < 4 * 0.07
    np.testing.assert_allclose(variance_of_variance(1.0, D, 1e6), 2 / (1 / (1 + D) ** 2).sum(), rtol=EXACT)


def hard(rng, n=60, df=2.0):
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    D = rng.uniform(0.2, 2.0, n)
    return X @ [1.0, 2.0] + rng.standard_t(df, n) + np.sqrt(D) * rng.normal(size=n), D, X


def test_large_k_is_maximum_likelihood_and_its_global_maximum():
    """Two maxima of the likelihood: the integrated equation picks the higher, as `fit_batch` does."""
    rng = np.random.default_rng(0)
    y, D, X = hard(rng)
    draws, many = [y], 0
    kinds = np.where(np.arange(60) < 6, 1e-4, 4.0)
    for _ in range(60):
        draws.append(np.where(kinds < 1, 0.02, 2.6) * rng.normal(size=60))
    for draw, sampling in [(y, D)] + [(d, kinds) for d in draws[1:]]:
        ml = fit_batch(draw, sampling, np.ascontiguousarray(X.T), np.array([0, 60]), "ml")
        fit = fit_robust(draw, sampling, X, 1e8)
        many += fit.solutions > 1
        np.testing.assert_allclose(fit.variance, ml.variance[0, 0], rtol=1e-7, atol=1e-14)
        np.testing.assert_allclose(fit.beta, ml.coefficients[0, 0], rtol=1e-6, atol=1e-9)
    assert many > 3


def test_equations_and_effects_by_brute_force():
    """Coefficients by a general minimiser, variance by a general root finder, effects by bisection."""
    y, D, X = hard(np.random.default_rng(5), n=30)
    k, K = HUBER_K, huber_variance(HUBER_K)

    def regression(A):
        def loss(b):
            r = abs(y - X @ b) / np.sqrt(A + D)
            return np.where(r <= k, r * r / 2, k * r - k * k / 2).sum()

        return minimize(loss, [1.0, 2.0], method="Nelder-Mead", options={"xatol": 1e-11, "fatol": 1e-14}).x

    def profile(A):
        r = (y - X @ regression(A)) / np.sqrt(A + D)
        return ((np.clip(r, -k, k) ** 2 - K) / (A + D)).sum()

    fit = fit_robust(y, D, X)
    np.testing.assert_allclose(
        brentq(profile, 0.5 * fit.variance, 2 * fit.variance, xtol=1e-10), fit.variance, rtol=1e-6
    )
    e, A = y - X @ fit.beta, fit.variance
    plain, _ = reblup(y, D, X @ fit.beta, A, k)
    for d in range(30):

        def balance(u, d=d):
            left = np.clip((e[d] - u) / np.sqrt(D[d]), -k, k) / np.sqrt(D[d])
            return left - np.clip(u / np.sqrt(A), -k, k) / np.sqrt(A)

        np.testing.assert_allclose(
            plain[d] - X[d] @ fit.beta, brentq(balance, -20, 20, xtol=1e-13), rtol=1e-9
        )


@pytest.mark.parametrize("unit", [1e-4, 1e5])
def test_units_do_not_matter(milk, unit):
    """Variances of order 1e-10 to 1e10: saeRobust has a floor of 1e-5 there."""
    y, D, X = milk
    fit, other = fit_robust(y, D, X), fit_robust(y * unit, D * unit**2, X * 1e3)
    np.testing.assert_allclose(other.variance, fit.variance * unit**2, rtol=EXACT)
    np.testing.assert_allclose(other.beta * 1e3, fit.beta * unit, rtol=EXACT)


def test_rows_may_be_permuted_and_a_plane_added(income, rng):
    y, D, X = income
    fit = fit_robust(y, D, X)
    order = rng.permutation(len(y))
    np.testing.assert_allclose(fit_robust(y[order], D[order], X[order]).variance, fit.variance, rtol=EXACT)
    shifted = fit_robust(y + X @ [100.0, 2.0, -1.0], D, X)
    np.testing.assert_allclose(shifted.variance, fit.variance, rtol=EXACT)
    np.testing.assert_allclose(shifted.beta - fit.beta, [100.0, 2.0, -1.0], rtol=1e-8)


def test_boundary_is_exact_and_the_predictor_synthetic(rng):
    D = np.linspace(1.0, 3.0, 40)
    X = np.ones((40, 1))
    y = 0.3 * rng.normal(size=40)
    fit = fit_robust(y, D, X)
    assert fit.variance == 0.0 and fit.status == "boundary" and fit.residual < 1e-11
    plain, _ = reblup(y, D, X @ fit.beta, fit.variance, fit.k)
    np.testing.assert_array_equal(plain, X @ fit.beta)
    np.testing.assert_allclose(pseudo_mse(fit, y, D, X)[0], (X @ fit.projection) ** 2 @ D, rtol=EXACT)


def test_outliers_move_the_robust_estimates_less():
    """Five gross errors among 200 areas: A inflates tenfold without robustness, the effect of an
    outlier is bounded.
    """
    rng = np.random.default_rng(8)
    X = np.column_stack([np.ones(200), rng.normal(size=200)])
    D = rng.uniform(0.3, 1.0, 200)
    clean = X @ [1.0, 2.0] + rng.normal(size=200) + np.sqrt(D) * rng.normal(size=200)
    dirty = clean + np.where(np.arange(200) < 5, 20.0, 0.0)
    robust, plain = ([fit_robust(y, D, X, k) for y in (clean, dirty)] for k in (HUBER_K, 1e8))
    assert robust[1].variance / robust[0].variance < 1.6 < 5 < plain[1].variance / plain[0].variance
    far = fit_robust(np.where(np.arange(200) < 5, 1e6, clean), D, X)
    np.testing.assert_allclose(far.variance, robust[1].variance, rtol=0.02)


def test_deficient_designs_and_bad_variances_are_refused(rng):
    y, D, X = hard(rng, 20)
    with pytest.raises(ValueError, match="full column rank"):
        fit_robust(y, D, np.column_stack([X, X[:, 1] * 3]))
    with pytest.raises(ValueError, match="must be positive"):
        fit_robust(y, D * 0, X)


def test_thousand_areas_take_well_under_a_second(rng):
    y, D, X = hard(rng, 1000)
    fit_robust(y, D, X)
    start = time.process_time()
    fit = fit_robust(y, D, X)
    assert time.process_time() - start < 0.5 and fit.status == "interior"


@pytest.mark.parametrize("kind", ["reblup", "reblupbc"])
def test_bootstrap_against_emdi(districts, reference, kind):
    """B = 50 there, relative standard error sqrt(2 / 50) = 0.2 an area, independent across 94 areas
    but for A and beta.
    """
    truth = reference(f"emdi_fh_{kind}_boot_mc")["outputs"]
    y, D, X = income_of(districts.set_index("Domain").loc[truth["domain"]])
    fit = fit_robust(y, D, X)
    replicates = 400
    tally, errors = bootstrap_robust(
        fit,
        D,
        X,
        np.ones(len(y), bool),
        truth["domain"],
        replicates=replicates,
        seed=1,
        corrected=kind == "reblupbc",
    )
    z = np.log(np.array(truth["mse"]["FH"]) / tally.mean) / np.sqrt(2 / 50)
    assert np.median(tally.share) < 0.03  # where drawn truths leave sqrt(2 / 400) = 0.07
    # the plain mean of squared errors is the same, less well known
    off = np.log((errors**2).mean(axis=0) / tally.mean) / np.sqrt(2 / replicates)
    assert abs(off.mean()) < 4 / np.sqrt(len(off)) and abs(off).max() < 4.5
    assert abs(z.mean()) < 4 / np.sqrt(len(z)) and abs(z).max() < 4.5 and 0.7 < z.std() < 1.3


def test_bootstrap_without_robustness_tends_to_the_analytical_value_and_repeats(grapes):
    """k large, one mean: the bootstrap is that of maximum likelihood, at least the leading term A D /
    (A + D).
    """
    y, D, X = grapes
    fit = fit_robust(y, D, X, 1e8)
    sampled = np.arange(len(y)) > 3
    names = list(range(len(y)))
    boot, errors = bootstrap_robust(fit, D, X, sampled, names, replicates=300, seed=2)
    np.testing.assert_array_equal(
        errors, bootstrap_robust(fit, D, X, sampled, names, replicates=300, seed=2)[1]
    )
    other, _ = bootstrap_robust(fit, D, X, sampled, names, replicates=300, seed=2, corrected=True)
    plain, corrected = boot.mean, other.mean
    g1 = np.where(sampled, fit.variance * D / (fit.variance + D), fit.variance)
    ratio = plain / g1
    assert abs(np.mean(ratio) - 1.03) < 0.03  # g2 and g3 add a little; Monte Carlo error of the mean is 0.005
    np.testing.assert_array_equal(plain[~sampled], corrected[~sampled])


def test_batch_equals_one_by_one(rng):
    y, D, X = hard(rng, 30)
    draws = y + 0.3 * rng.normal(size=(5, 30))
    variance, beta, record = robust_batch(draws, D, X)
    for i, draw in enumerate(draws):
        fit = fit_robust(draw, D, X)
        np.testing.assert_allclose([fit.variance, *fit.beta], [variance[i], *beta[i]], rtol=EXACT)
    assert (record[:, 3] == 1).all()


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("k", [HUBER_K, 1e8])
@pytest.mark.parametrize("spread", [1.0, 0.2])
def test_a_tiny_variance_is_a_known_value(columns, k, spread):
    """The variance tends to its value with that area known; 0 is taken only where the others say so."""
    y = spread * (np.array([0.50, 0.61, 0.42, 0.55, 0.70, 0.38, 0.66, 0.47, 0.58, 0.35]) - 0.5)
    X = np.column_stack([np.ones(10), np.arange(10) - 4.5])[:, :columns]
    found = []
    for tiny in (1e-7, 1e-9, 1e-13, 1e-20):
        D = np.full(10, 0.002)
        D[4] = tiny
        fit = fit_robust(y, D, X, k)
        V, residual = fit.variance + D, y - X @ fit.beta
        if fit.variance > 0.0:
            score = np.minimum(residual**2 / V, k * k) / V
            assert score.sum() == pytest.approx((huber_variance(k) / V).sum(), rel=1e-9)
        found.append([fit.variance, *fit.beta])
        assert fit.status == ("interior" if spread == 1.0 else "boundary")
    # nine others pull the known value by 9e-7 / .002 = 4.5e-4 at most
    np.testing.assert_allclose(found, [found[-1]] * len(found), rtol=1e-3)


def test_more_tiny_variances_than_coefficients_tell_of_the_variance():
    y = np.array([0.50, 0.61, 0.42, 0.55, 0.70, 0.38, 0.66, 0.47, 0.58, 0.35]) - 0.5
    D = np.full(10, 0.002)
    D[:3] = [1e-13, 1e-10, 1e-9]
    fit = fit_robust(y, D, np.ones((10, 1)))
    assert fit.status == "interior" and 0.005 < fit.variance < 0.03
