"""The two-fold model against dense matrices, the space-time kernel and limiting cases."""

import numpy as np
import pytest

from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.fay_herriot.two_fold import (
    TwoFoldProblem,
    bootstrap_twofold,
    fit_twofold,
    loglik,
    mse_twofold,
)
from sae.numerics.spacetime.fit import fit_spacetime, spacetime_problem
from sae.numerics.spacetime.mse import mse_spacetime

EXACT = 1e-8  # same maximum, other route
BOTH = ("sigma2_u", "sigma2_v")  # of the space-time kernel: between areas, and between periods of one


def simulated(rng, n_areas=25, most=6, unseen=0.2):
    area = np.repeat(np.arange(n_areas), rng.integers(1, most + 1, n_areas))
    M = len(area)
    X = np.column_stack([np.ones(M), rng.normal(size=M)])
    psi = rng.uniform(0.2, 1.0, M)
    v = rng.normal(size=n_areas)
    y = X @ [1.0, 2.0] + v[area] + 0.7 * rng.normal(size=M) + rng.normal(size=M) * np.sqrt(psi)
    return TwoFoldProblem(y, psi, X, area, rng.uniform(size=M) > unseen)


def on_a_grid(problem):
    """The same model as areas by periods without correlation over time, padded."""
    place = np.concatenate([np.arange(n) for n in np.bincount(problem.area)])
    shape = (problem.n_areas, place.max() + 1)
    y, psi = np.full(shape, np.nan), np.ones(shape)
    X = np.zeros((*shape, problem.X.shape[1]))
    y[problem.area, place] = np.where(problem.seen, problem.y, np.nan)
    psi[problem.area, place], X[problem.area, place] = problem.psi, problem.X
    return spacetime_problem(y, X, psi), place


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_against_the_space_time_kernel(rng, method):
    problem = simulated(rng)
    fit = fit_twofold(problem, method=method)
    grid, place = on_a_grid(problem)
    other = fit_spacetime(grid, BOTH, method=method)
    assert fit.sigma2_v == pytest.approx(other.parameters[0], rel=EXACT)
    assert fit.sigma2_u == pytest.approx(other.parameters[2], rel=EXACT)
    np.testing.assert_allclose(fit.eblup, other.eblup[problem.area, place], rtol=1e-7)
    assert fit.loglik == pytest.approx(other.loglik, rel=EXACT)
    ours, dense = mse_twofold(problem, fit, method=method), mse_spacetime(grid, other, BOTH, method=method)
    np.testing.assert_allclose(ours.mse, dense.mse[problem.area, place], rtol=1e-6)
    np.testing.assert_allclose(ours.information, dense.information, rtol=1e-6)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("at", [(0.8, 0.5), (0.0, 0.5), (0.8, 0.0)])
def test_likelihood_and_slopes_against_dense_matrices(rng, reml, at):
    problem = simulated(rng)
    y, X = problem.y[problem.seen], problem.X[problem.seen]

    def dense(s_v, s_u):
        area = problem.area[problem.seen]
        V = s_v * (area[:, None] == area) + np.diag(s_u + problem.psi[problem.seen])
        inverse = np.linalg.inv(V)
        inner = X.T @ inverse @ X
        residual = y - X @ np.linalg.solve(inner, X.T @ inverse @ y)
        value = len(y) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + residual @ inverse @ residual
        if reml:
            value += np.linalg.slogdet(inner)[1] - X.shape[1] * np.log(2 * np.pi)
        return -0.5 * value

    value, slopes = loglik(problem, *at, y, reml)
    assert value == pytest.approx(dense(*at), rel=1e-10)
    h = 1e-6
    numeric = [
        (dense(at[0] + h, at[1]) - dense(at[0] - h, at[1])) / (2 * h),
        (dense(at[0], at[1] + h) - dense(at[0], at[1] - h)) / (2 * h),
    ]
    np.testing.assert_allclose(slopes, numeric, rtol=1e-5, atol=1e-6)


def test_one_sub_area_per_area_is_the_plain_model(rng):
    """The two variances cannot be told apart; their sum and the predictions are those of Fay and Herriot."""
    M = 60
    X = np.column_stack([np.ones(M), rng.normal(size=M)])
    psi = rng.uniform(0.2, 1.0, M)
    y = X @ [1.0, 2.0] + rng.normal(size=M) * np.sqrt(0.8 + psi)
    fit = fit_twofold(TwoFoldProblem(y, psi, X, np.arange(M), np.ones(M, bool)))
    plain = fit_batch(y, psi, X.T, np.array([0, M]), "reml")
    assert fit.sigma2_v + fit.sigma2_u == pytest.approx(plain.variance[0, 0], rel=1e-6)


def test_predictions_follow_the_direct_estimates_or_the_covariates(rng):
    problem = simulated(rng, unseen=0.0)
    sure = TwoFoldProblem(problem.y, problem.psi * 1e-9, problem.X, problem.area, problem.seen)
    np.testing.assert_allclose(fit_twofold(sure).eblup, problem.y, rtol=1e-6)
    vague = TwoFoldProblem(problem.y, problem.psi * 1e6, problem.X, problem.area, problem.seen)
    fit = fit_twofold(vague)
    assert (fit.sigma2_v, fit.sigma2_u) == (0.0, 0.0)
    np.testing.assert_allclose(fit.eblup, problem.X @ fit.beta)


def test_gamma_is_the_weight_of_the_own_estimate(rng):
    """Moving one direct estimate moves its prediction by gamma, the coefficients and variances held."""
    problem = simulated(rng)
    fit, k = fit_twofold(problem), int(np.flatnonzero(problem.seen)[5])
    area = problem.area[problem.seen]
    V = fit.sigma2_v * (area[:, None] == area) + np.diag(fit.sigma2_u + problem.psi[problem.seen])
    G = V - np.diag(problem.psi[problem.seen])
    expected = np.diag(G @ np.linalg.inv(V))[np.flatnonzero(np.flatnonzero(problem.seen) == k)[0]]
    assert fit.gamma[k] == pytest.approx(expected, rel=1e-9)


def test_bootstrap_mse_is_the_analytical_one(rng):
    problem = simulated(rng, n_areas=80)
    fit = fit_twofold(problem)
    names = [str(k) for k in range(len(problem.y))]
    tally, errors = bootstrap_twofold(
        problem, fit, areas=names[: problem.n_areas], subareas=names, replicates=60, seed=1
    )
    assert abs((errors**2).mean() / tally.mean.mean() - 1) < 0.08  # some 17,000 squares in clusters, 3 sd
    # the bootstrap has the third-order term once, the formula twice
    assert 0.97 < tally.mean.mean() / mse_twofold(problem, fit).mse.mean() < 1.0
