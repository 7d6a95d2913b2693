"""Multivariate Fay-Herriot models: msae's figures, dense brute force, limiting cases."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.multivariate import covariances as block_structures
from sae.numerics.multivariate.covariances import STRUCTURES
from sae.numerics.multivariate.fit import fit_blocks, mse_blocks

FIVE_DIGITS = 6e-5  # msae rounds every figure to five significant digits
EXACT = 1e-9  # same arithmetic, other order


def msae_har1(theta, size):
    """What msae 0.1.5 has for its model 3: V_13 from V_22, V_23 from V_11, which is no AR(1)."""
    covariance, slopes = block_structures.heteroscedastic_ar1(theta, size)
    rho, last = theta[..., -1], theta.shape[-1] - 1
    for matrix, turn in [(covariance, 0), *((slopes[..., k, :, :], int(k == last)) for k in range(last + 1))]:
        matrix[..., 1, 2] = matrix[..., 2, 1] = rho * matrix[..., 0, 0] + turn * covariance[..., 0, 0]
        far = rho**2 * matrix[..., 1, 1] + turn * 2 * rho * covariance[..., 1, 1]
        matrix[..., 0, 2] = matrix[..., 2, 0] = far
    return covariance, slopes


@pytest.fixture(params=[1, 2, 3])
def case(request, shared_data):
    frame = pd.read_csv(shared_data / f"msae_datasae{request.param}.csv")
    n = len(frame)
    X = np.zeros((n, 3, 9))
    for r in range(3):
        X[:, r, 3 * r : 3 * r + 3] = np.column_stack([np.ones(n), frame["X1"], frame["X2"]])
    psi = np.empty((n, 3, 3))
    for i, j, name in [(0, 0, "v1"), (1, 1, "v2"), (2, 2, "v3"), (0, 1, "v12"), (0, 2, "v13"), (1, 2, "v23")]:
        psi[:, i, j] = psi[:, j, i] = frame[name]
    return request.param, frame[["Y1", "Y2", "Y3"]].to_numpy(), X, psi


def figures(reference, number, model):
    tight = reference(f"msae_datasae{number}_{model}")["outputs"]["tight"]
    return (np.column_stack([tight[part][f"Y{r}"] for r in (1, 2, 3)]) for part in ("eblup", "MSE"))


@pytest.mark.parametrize(
    ("model", "structure"),
    [("eblupMFH1", "diagonal"), ("eblupMFH1_samevar", "common"), ("eblupMFH2", "ar1")],
)
def test_against_msae(case, reference, model, structure):
    number, y, X, psi = case
    eblup, mse = figures(reference, number, model)
    fit = fit_blocks(y, X, psi, structure)
    np.testing.assert_allclose(fit.eblup, eblup, rtol=FIVE_DIGITS)
    np.testing.assert_allclose(np.einsum("drr->dr", mse_blocks(fit, y, X, psi).mse), mse, rtol=FIVE_DIGITS)


def test_model_3_of_msae_is_reproduced_only_with_its_swapped_covariances(case, reference, monkeypatch):
    """Its V_13 and V_23 stand on each other's variance; ours are those of the paper's AR(1)."""
    number, y, X, psi = case
    eblup, _ = figures(reference, number, "eblupMFH3")
    ours = fit_blocks(y, X, psi, "har1")
    assert np.abs(ours.eblup / eblup - 1).max() > 3e-4
    monkeypatch.setitem(STRUCTURES, "har1", msae_har1)
    theirs = fit_blocks(y, X, psi, "har1")
    np.testing.assert_allclose(theirs.eblup, eblup, rtol=FIVE_DIGITS)


def test_heteroscedastic_ar1_is_the_covariance_of_its_recursion(rng):
    s, rho, draws = np.array([0.5, 0.2, 0.9]), 0.7, 400_000
    u = rng.normal(size=draws)
    path = []
    for variance in s:
        u = rho * u + np.sqrt(variance) * rng.normal(size=draws)
        path.append(u)
    expected = block_structures.heteroscedastic_ar1(np.append(s, rho), 3)[0]
    np.testing.assert_allclose(np.cov(path), expected, atol=5 * 2 / np.sqrt(draws))  # five standard errors


@pytest.mark.parametrize("name", sorted(STRUCTURES))
def test_slopes_of_the_structures(name, rng):
    theta = block_structures.starts(name, 3, np.array([0.5, 0.8, 1.1]))[-1] + 0.05
    _, slopes = STRUCTURES[name](theta, 3)
    h = 1e-6
    for k in range(len(theta)):
        step = h * np.eye(len(theta))[k]
        difference = (STRUCTURES[name](theta + step, 3)[0] - STRUCTURES[name](theta - step, 3)[0]) / (2 * h)
        np.testing.assert_allclose(slopes[k], difference, atol=1e-8)  # central differences


def simulated(rng, n=25):
    X = np.zeros((n, 2, 4))
    for r in range(2):
        X[:, r, 2 * r : 2 * r + 2] = np.column_stack([np.ones(n), rng.normal(size=n)])
    root = rng.normal(size=(n, 2, 2))
    psi = 0.3 * root @ root.swapaxes(1, 2) + 0.2 * np.eye(2)
    effects = rng.multivariate_normal([0, 0], [[1.0, 0.6], [0.6, 0.8]], size=n)
    noise = np.einsum("drs,ds->dr", np.linalg.cholesky(psi), rng.normal(size=(n, 2)))
    y = X @ [1.0, 2.0, 0.0, -1.0] + effects + noise
    y[0, 1] = y[1, 0] = np.nan
    y[2] = np.nan
    return y, X, psi


def dense(y, X, psi, covariance):
    n, size = y.shape
    effects = np.kron(np.eye(n), covariance)
    noise = np.zeros_like(effects)
    for d in range(n):
        noise[d * size : (d + 1) * size, d * size : (d + 1) * size] = psi[d]
    seen = np.isfinite(y.ravel())
    return effects, (effects + noise)[np.ix_(seen, seen)], seen


@pytest.mark.parametrize("structure", ["diagonal", "ar1", "unstructured"])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_everything_against_dense_matrices(rng, structure, method):
    y, X, psi = simulated(rng)
    fit = fit_blocks(y, X, psi, structure, method=method)
    effects, V, seen = dense(y, X, psi, fit.covariance)
    flat_X, flat_y = X.reshape(-1, 4)[seen], y.ravel()[seen]
    inverse = np.linalg.inv(V)
    inner = flat_X.T @ inverse @ flat_X
    beta = np.linalg.solve(inner, flat_X.T @ inverse @ flat_y)
    np.testing.assert_allclose(fit.beta, beta, rtol=1e-8)
    np.testing.assert_allclose(fit.loglik, multivariate_normal.logpdf(flat_y, flat_X @ beta, V), rtol=EXACT)
    blup = X.reshape(-1, 4) @ beta + effects[:, seen] @ inverse @ (flat_y - flat_X @ beta)
    np.testing.assert_allclose(fit.eblup.ravel(), blup, rtol=1e-7, atol=1e-9)
    P = (
        inverse - inverse @ flat_X @ np.linalg.solve(inner, flat_X.T @ inverse)
        if method == "reml"
        else inverse
    )
    slopes = [dense(y, X, np.zeros_like(psi), s)[1] for s in STRUCTURES[structure](fit.theta, 2)[1]]
    information = [[0.5 * np.trace(P @ a @ P @ b) for b in slopes] for a in slopes]
    np.testing.assert_allclose(fit.information, information, rtol=1e-7, atol=1e-8)
    parts = mse_blocks(fit, y, X, psi)
    weights = effects[:, seen] @ inverse
    g1 = effects - weights @ effects[seen]
    loose = X.reshape(-1, 4) - weights @ flat_X
    g2 = loose @ np.linalg.solve(inner, loose.T)
    for d in range(len(y)):
        block = slice(2 * d, 2 * d + 2)
        np.testing.assert_allclose(parts.g1[d], g1[block, block], rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(parts.g2[d], g2[block, block], rtol=1e-6, atol=1e-10)


def test_one_component_is_the_plain_model(rng):
    X = np.column_stack([np.ones(40), rng.normal(size=40)])
    psi = rng.uniform(0.2, 1.0, 40)
    y = X @ [1.0, 2.0] + rng.normal(size=40) * np.sqrt(0.5 + psi)
    plain = fit_batch(y, psi, X.T, np.array([0, 40]))
    fit = fit_blocks(y[:, None], X[:, None], psi[:, None, None])
    np.testing.assert_allclose(fit.theta[0], plain.variance[0, 0], rtol=1e-8)


def test_a_variance_without_evidence_is_exactly_zero(rng):
    y = np.column_stack([5.0 + 1e-3 * rng.normal(size=40), 2.0 + 2.0 * rng.normal(size=40)])
    X = np.zeros((40, 2, 2))
    X[:, 0, 0] = X[:, 1, 1] = 1.0
    fit = fit_blocks(y, X, np.broadcast_to(np.eye(2), (40, 2, 2)))
    assert fit.theta[0] == 0.0
    assert fit.theta[1] > 1.0


def test_the_unit_of_the_estimates_does_not_matter(rng):
    y, X, psi = simulated(rng)
    a, b = fit_blocks(y, X, psi), fit_blocks(1e5 * y, X, 1e10 * psi)
    np.testing.assert_allclose(b.eblup / 1e5, a.eblup, rtol=1e-8)
