"""Spatial, temporal and spatio-temporal Fay-Herriot models: oracles, dense brute force, limiting cases."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal

from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.spacetime.fit import PARAMETERS, ar1, fit_spacetime, loglik, spacetime_problem
from sae.numerics.spacetime.mse import _along, _curvatures, mse_spacetime

TIGHT = 1e-7  # the reference iterates to 1e-12 on its own parameters
EXACT = 1e-9  # same arithmetic, other order
SAR = ("sigma2_u", "rho_u")


@pytest.fixture(scope="module")
def grapes(shared_data):
    frame = pd.read_csv(shared_data / "sae_grapes.csv")
    W = pd.read_csv(shared_data / "sae_grapesprox.csv").to_numpy()
    X = frame[["area", "workdays"]].to_numpy(float)[:, None, :]
    return spacetime_problem(
        frame[["grapehect"]].to_numpy(float), X, frame[["var"]].to_numpy(float), sparse.csr_matrix(W)
    )


@pytest.fixture(scope="module")
def periods(shared_data):
    frame = pd.read_csv(shared_data / "sae_spacetime.csv")
    W = pd.read_csv(shared_data / "sae_spacetimeprox.csv").to_numpy()
    X = np.column_stack([np.ones(33), frame["X1"], frame["X2"]]).reshape(11, 3, 3)
    y, v = (frame[name].to_numpy(float).reshape(11, 3) for name in ("Y", "Var"))
    return spacetime_problem(y, X, v, sparse.csr_matrix(W))


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_spatial_model_against_sae(grapes, reference, method):
    truth = reference(f"sae_grapes_sfh_{method}")["outputs"]["tight_precision"]
    fit = fit_spacetime(grapes, SAR, method=method)
    np.testing.assert_allclose(fit.parameters[:2], [truth["refvar"], truth["spatialcorr"]], rtol=TIGHT)
    np.testing.assert_allclose(fit.beta, truth["coefficients"]["beta"], rtol=TIGHT)
    np.testing.assert_allclose(fit.eblup[:, 0], truth["eblup"], rtol=TIGHT)
    np.testing.assert_allclose(fit.loglik, truth["goodness"]["loglike"], rtol=TIGHT)
    np.testing.assert_allclose(np.sqrt(np.diag(fit.beta_cov)), truth["coefficients"]["std.error"], rtol=TIGHT)


@pytest.mark.parametrize(("case", "free"), [("st", PARAMETERS), ("s", PARAMETERS[:3])])
def test_spatio_temporal_models_against_sae(periods, reference, case, free):
    truth = reference(f"sae_spacetime_stfh_{case}")["outputs"]["tight_precision"]
    fit = fit_spacetime(periods, free)
    np.testing.assert_allclose(fit.parameters[: len(free)], truth["varcomp"]["estimate"], rtol=TIGHT)
    np.testing.assert_allclose(fit.eblup.ravel(), truth["eblup"], rtol=TIGHT)
    np.testing.assert_allclose(fit.loglik, truth["goodness"]["loglike"], rtol=TIGHT)


def simulated(rng, n_areas=7, n_times=4, missing=0.25):
    W = np.zeros((n_areas, n_areas))
    for i in range(n_areas - 2):  # a chain, and one island at the end
        W[i, i + 1] = W[i + 1, i] = 1.0
    W /= np.maximum(W.sum(axis=1, keepdims=True), 1.0)
    X = np.concatenate([np.ones((n_areas, n_times, 1)), rng.normal(size=(n_areas, n_times, 1))], axis=2)
    root = rng.normal(size=(n_areas, n_times, n_times))
    psi = root @ root.swapaxes(1, 2) / n_times + 0.3 * np.eye(n_times)
    y = X @ [1.0, 2.0] + rng.normal(size=(n_areas, n_times))
    y[rng.uniform(size=y.shape) < missing] = np.nan
    return y, X, psi, W


def dense(y, X, psi, W, theta):
    """Covariance of all D T effects and of the observed estimates, without any structure."""
    n_areas, n_times = y.shape
    s1, r1, s2, r2 = theta
    root = np.eye(n_areas) - r1 * W
    areas = s1 * np.linalg.inv(root.T @ root)
    effects = np.kron(areas, np.ones((n_times, n_times))) + np.kron(np.eye(n_areas), s2 * ar1(r2, n_times)[0])
    noise = np.zeros((n_areas * n_times,) * 2)
    for d in range(n_areas):
        block = slice(d * n_times, (d + 1) * n_times)
        noise[block, block] = psi[d]
    seen = np.isfinite(y.ravel())
    return effects, (effects + noise)[np.ix_(seen, seen)], seen


@pytest.mark.parametrize("theta", [(0.7, 0.4, 0.5, -0.3), (0.0, 0.0, 0.5, 0.6), (0.7, -0.6, 0.0, 0.0)])
def test_likelihood_against_dense_matrices(rng, theta):
    y, X, psi, W = simulated(rng)
    problem = spacetime_problem(y, X, psi, sparse.csr_matrix(W))
    _, V, seen = dense(y, X, psi, W, theta)
    flat_X, flat_y = X.reshape(-1, 2)[seen], y.ravel()[seen]
    inverse = np.linalg.inv(V)
    inner = flat_X.T @ inverse @ flat_X
    beta = np.linalg.solve(inner, flat_X.T @ inverse @ flat_y)
    ml = multivariate_normal.logpdf(flat_y, flat_X @ beta, V)
    restricted = ml + np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(inner)[1]
    at = np.array([theta])
    np.testing.assert_allclose(loglik(problem, at, reml=False)[0][0], ml, rtol=EXACT)
    np.testing.assert_allclose(loglik(problem, at, reml=True)[0][0], restricted, rtol=EXACT)


@pytest.mark.parametrize("reml", [True, False])
def test_gradient_against_differences(rng, reml):
    y, X, psi, W = simulated(rng)
    problem = spacetime_problem(y, X, psi, sparse.csr_matrix(W))
    theta, h = np.array([0.7, 0.4, 0.5, -0.3]), 1e-5
    shifts = np.concatenate([h * np.eye(4), -h * np.eye(4)])
    values, _ = loglik(problem, theta + shifts, reml)
    _, slopes = loglik(problem, theta[None], reml, gradient=True)
    np.testing.assert_allclose(
        slopes[0], (values[:4] - values[4:]) / (2 * h), rtol=1e-6
    )  # central differences


def test_prediction_of_every_area_and_period_is_the_blup(rng):
    y, X, psi, W = simulated(rng)
    problem = spacetime_problem(y, X, psi, sparse.csr_matrix(W))
    fit = fit_spacetime(problem)
    effects, V, seen = dense(y, X, psi, W, fit.parameters)
    residual = y.ravel()[seen] - X.reshape(-1, 2)[seen] @ fit.beta
    blup = X.reshape(-1, 2) @ fit.beta + effects[:, seen] @ np.linalg.solve(V, residual)
    np.testing.assert_allclose(fit.eblup.ravel(), blup, rtol=1e-8, atol=1e-10)


def test_no_random_point_is_higher(rng):
    y, X, psi, W = simulated(rng)
    problem = spacetime_problem(y, X, psi, sparse.csr_matrix(W))
    best = loglik(problem, fit_spacetime(problem).parameters[None], reml=True)[0][0]
    variances, correlations = rng.gamma(0.5, 1.0, (2, 400)), rng.uniform(-0.99, 0.99, (2, 400))
    tried = np.column_stack([variances[0], correlations[0], variances[1], correlations[1]])
    assert loglik(problem, tried, reml=True)[0].max() <= best + 1e-9


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_without_neighbours_and_with_one_period_it_is_the_plain_model(rng, method):
    X = np.column_stack([np.ones(40), rng.normal(size=40)])
    psi = rng.uniform(0.2, 1.0, 40)
    y = X @ [1.0, 2.0] + rng.normal(size=40) * np.sqrt(0.5 + psi)
    plain = fit_batch(y, psi, X.T, np.array([0, 40]), method)
    fit = fit_spacetime(spacetime_problem(y[:, None], X[:, None], psi[:, None]), ("sigma2_u",), method=method)
    np.testing.assert_allclose(fit.parameters[0], plain.variance[0, 0], rtol=1e-8)
    np.testing.assert_allclose(fit.loglik, plain.loglik[0, 0], rtol=EXACT)


def test_a_variance_without_evidence_is_exactly_zero(rng):
    X = np.ones((30, 4, 1))
    y = 5.0 + 1e-3 * rng.normal(size=(30, 4))  # far less spread than the sampling variances allow
    fit = fit_spacetime(spacetime_problem(y, X, np.ones((30, 4))), ("sigma2_u", "sigma2_v", "rho_v"))
    assert fit.parameters.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_the_unit_of_the_estimates_does_not_matter(periods):
    scale = 1e5
    rescaled = spacetime_problem(
        np.where(periods.seen, periods.Z[..., -1], np.nan) * scale,
        periods.X,
        periods.psi * scale**2,
        sparse.csr_matrix(np.zeros((11, 11))),
    )
    plain = spacetime_problem(np.where(periods.seen, periods.Z[..., -1], np.nan), periods.X, periods.psi)
    a = fit_spacetime(rescaled, ("sigma2_u", "sigma2_v", "rho_v"))
    b = fit_spacetime(plain, ("sigma2_u", "sigma2_v", "rho_v"))
    np.testing.assert_allclose(a.eblup / scale, b.eblup, rtol=1e-7)


def test_spatial_mse_against_sae(grapes, reference):
    truth = reference("sae_grapes_sfh_reml")["outputs"]["tight_precision"]
    parts = mse_spacetime(grapes, fit_spacetime(grapes, SAR), SAR)
    np.testing.assert_allclose(parts.mse[:, 0], truth["mse"], rtol=TIGHT)


def test_spatial_ml_bias_is_that_of_datta_and_lahiri(grapes, reference, rng):
    """sae's ML bias is some 10 % larger than I^-1 tr(Q X'V^-1 dV V^-1 X) / 2; the rest of its MSE is ours."""
    truth = np.array(reference("sae_grapes_sfh_ml")["outputs"]["tight_precision"]["mse"])
    fit = fit_spacetime(grapes, SAR, method="ml")
    parts = mse_spacetime(grapes, fit, SAR, method="ml")
    ratio = (truth - (parts.mse + parts.bias)[:, 0]) / -parts.bias[:, 0]
    assert 1.0 < np.median(ratio) < 1.2
    np.testing.assert_allclose(parts.mse[:, 0], truth, rtol=0.01)  # a small term of the whole
    # no neighbours: Datta and Lahiri's closed form, -tr(Q X'V^-2 X) / sum (A + D)^-2 times B^2
    X = np.column_stack([np.ones(30), rng.normal(size=30)])
    D = rng.uniform(0.2, 1.0, 30)
    y = X @ [1.0, 2.0] + rng.normal(size=30) * np.sqrt(0.8 + D)
    problem = spacetime_problem(y[:, None], X[:, None], D[:, None])
    plain = fit_spacetime(problem, ("sigma2_u",), method="ml")
    w = 1 / (plain.parameters[0] + D)
    drift = -np.trace(plain.beta_cov @ (X.T * w**2) @ X) / np.sum(w**2)
    bias = mse_spacetime(problem, plain, ("sigma2_u",), method="ml").bias[:, 0]
    np.testing.assert_allclose(bias, drift * (D * w) ** 2, rtol=1e-8)


def test_mse_parts_follow_from_g1_by_differences(rng):
    """g1's slope (the ML bias) and curvature (g4) against numerical derivatives of g1 itself."""
    y, X, psi, W = simulated(rng)
    problem = spacetime_problem(y, X, psi, sparse.csr_matrix(W))
    theta, h = np.array([0.7, 0.4, 0.5, -0.3]), 1e-5
    _, V, seen = dense(y, X, psi, W, theta)

    def g1(at):
        effects, V_at, _ = dense(y, X, psi, W, at)
        return np.diag(effects - effects[:, seen] @ np.linalg.solve(V_at, effects[seen]))

    _, first, second = _curvatures(problem, theta)
    effects, _, _ = dense(y, X, psi, W, theta)
    weights = effects[:, seen] @ np.linalg.inv(V)
    s = np.flatnonzero(seen)
    for k, name in enumerate(PARAMETERS):
        step = h * np.eye(4)[k]
        np.testing.assert_allclose(
            _along(first[name], weights, s),
            (g1(theta + step) - g1(theta - step)) / (2 * h),
            rtol=1e-5,
            atol=1e-8,
        )
    for (a, b), curvature in second.items():
        step = h * np.eye(4)[PARAMETERS.index(b)]
        ahead, behind = (_curvatures(problem, theta + sign * step)[1][a] for sign in (1, -1))
        np.testing.assert_allclose(curvature, (ahead - behind) / (2 * h), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_spatial_mse_is_the_error_of_repeated_samples(rng, method):
    n, repeats = 100, 400
    W = np.zeros((n, n))
    for i in range(n - 1):
        W[i, i + 1] = W[i + 1, i] = 1.0
    W /= W.sum(axis=1, keepdims=True)
    X = np.concatenate([np.ones((n, 1, 1)), rng.normal(size=(n, 1, 1))], axis=2)
    psi = rng.uniform(0.3, 1.0, (n, 1))
    effects, _, _ = dense(np.zeros((n, 1)), X, psi[..., None], W, (0.8, 0.6, 0.0, 0.0))
    root, error, claimed = np.linalg.cholesky(effects), 0.0, 0.0
    for _ in range(repeats):
        truth = X @ [1.0, 2.0] + (root @ rng.normal(size=n))[:, None]
        problem = spacetime_problem(
            truth + rng.normal(size=(n, 1)) * np.sqrt(psi), X, psi, sparse.csr_matrix(W)
        )
        fit = fit_spacetime(problem, SAR, method=method)
        error += ((fit.eblup - truth) ** 2).mean() / repeats
        claimed += mse_spacetime(problem, fit, SAR, method=method).mse.mean() / repeats
    assert abs(claimed / error - 1) < 0.03  # 40,000 squared errors, correlated along the chain: about 1 %


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_a_tiny_variance_over_time_is_a_known_value(rng, method):
    y, X = rng.normal(size=(10, 3)) + rng.normal(size=(10, 1)), np.stack([np.ones((10, 3))] * 2, axis=2)
    X[..., 1] = rng.normal(size=(10, 3))
    psi, found = rng.uniform(0.2, 0.6, (10, 3)), []
    for tiny in (1e-6, 1e-13, 1e-20 if method == "reml" else 1e-15):
        psi[0, 0] = tiny
        found.append(
            fit_spacetime(spacetime_problem(y, X, psi), ("sigma2_u", "sigma2_v", "rho_v"), method=method)
        )
    assert found[0].parameters.max() > 0.01
    for fit in found[1:]:
        np.testing.assert_allclose(fit.parameters, found[0].parameters, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(fit.eblup, found[0].eblup, rtol=1e-4, atol=1e-5)
        assert fit.eblup[0, 0] == pytest.approx(y[0, 0], rel=1e-9)
