"""Areas with several sources against dense algebra, derivatives by differences, and the plain model."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.fay_herriot.mixture import area_mixture
from sae.numerics.fay_herriot.mse import predict
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.fay_herriot.sources import (
    fit_sources,
    predict_sources,
    reduce_sources,
    source_posterior,
)
from sae.numerics.inference.mixture import Mixture
from sae.numerics.spacetime.fit import fit_spacetime, spacetime_problem
from sae.numerics.spacetime.mse import mse_spacetime

SAME = 1e-12  # the same sums in another order
DENSE = 1e-9  # n × n inverses of well-conditioned matrices
DIFFERENCE = 1e-5  # central differences of step 1e-5
QUADRATURE = 1e-6  # the nodes' own tolerance, in posterior deviations
METHODS = ["reml", "ml"]


def at(fits):
    return fits.variance[0, 0], fits.coefficients[0, 0], fits.root[0, 0]


class Case:
    """Rows of m areas and S sources; each area has some of them."""

    def __init__(self, rng, m=25, sources=2, q=2, A=0.5, bias=0.7):
        self.m, self.q, self.S = m, q, sources
        cover = rng.random((m, sources)) < 0.7
        cover[: m // 3] = True
        cover[~cover.any(axis=1), 0] = True
        self.area, self.code = np.nonzero(cover)
        self.covariates = np.column_stack([np.ones(m), rng.normal(size=(m, q - 1))])
        self.X = self.covariates[self.area]
        self.source = np.eye(sources)[self.code][:, 1:]
        self.D = np.exp(rng.normal(size=len(self.area)))
        self.u = rng.normal(size=m) * np.sqrt(A)
        self.theta = self.covariates.sum(axis=1) + self.u
        error = rng.normal(size=len(self.area)) * np.sqrt(self.D)
        self.y = self.theta[self.area] + bias * self.code + error
        self.Z = np.eye(m)[self.area]
        self.full = np.column_stack([self.X, self.source])
        self.problem = reduce_sources(self.y, self.D, self.X, self.source, self.area)
        self.target = np.vstack([self.covariates.T, np.zeros((sources - 1, m))])
        self.all = np.ones(m, dtype=bool)

    def V(self, A):
        return np.diag(self.D) + A * self.Z @ self.Z.T

    def gls(self, A):
        V = np.linalg.inv(self.V(A))
        Q = np.linalg.inv(self.full.T @ V @ self.full)
        return Q @ self.full.T @ V @ self.y, Q, V

    def loglik(self, A, restricted=False):
        beta, Q, V = self.gls(A)
        left = self.y - self.full @ beta
        value = -0.5 * (np.linalg.slogdet(self.V(A))[1] + left @ V @ left)
        if restricted:
            return value + 0.5 * np.linalg.slogdet(Q)[1]
        return value - 0.5 * len(left) * np.log(2.0 * np.pi)

    def blup(self, A, y=None):
        beta, _, V = self.gls(A)
        return self.target.T @ beta + A * self.Z.T @ V @ (self.y - self.full @ beta)

    def predicted(self, method):
        fits = fit_sources(self.problem, method)
        problem = self.problem
        return fits, predict_sources(
            *at(fits), problem.y, problem.vardir, problem.X, self.target, self.all, method
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sources", [2, 3])
def test_highest_point_of_the_dense_likelihood(rng, method, sources):
    for A in (0.0, 0.3, 4.0):
        case = Case(rng, sources=sources, A=A)
        fits = fit_sources(case.problem, method)
        found = fits.variance[0, 0]
        best = minimize_scalar(
            lambda a, case=case: -case.loglik(a, method == "reml"),
            bounds=(0.0, 60.0),
            method="bounded",
            options={"xatol": 1e-10},
        )
        top = max(-best.fun, case.loglik(0.0, method == "reml"))
        assert case.loglik(found, method == "reml") >= top - DENSE
        beta, Q, _ = case.gls(found)
        np.testing.assert_allclose(fits.coefficients[0, 0], beta, rtol=DENSE)
        np.testing.assert_allclose(fits.root[0, 0] @ fits.root[0, 0].T, Q, rtol=DENSE, atol=DENSE)
        assert fits.loglik[0, 0] == pytest.approx(case.loglik(found), rel=DENSE)


@pytest.mark.parametrize("method", METHODS)
def test_predictions_and_errors_are_those_of_dense_algebra(rng, method):
    """g1 + g2 as the variance of BLUP - θ; g3 and the bias of ML by differences of dense quantities."""
    case = Case(rng, A=1.0)
    fits, found = case.predicted(method)
    A = fits.variance[0, 0]
    _, Q, V = case.gls(A)
    np.testing.assert_allclose(found.estimate, case.blup(A), rtol=DENSE)
    weights = A * case.Z.T @ V
    part = case.target.T - weights @ case.full
    linear = weights + part @ Q @ case.full.T @ V  # BLUP = linear @ y
    G = A * np.eye(case.m)
    error = linear @ case.V(A) @ linear.T - 2.0 * linear @ (A * case.Z) + G
    np.testing.assert_allclose(found.g1 + found.g2, np.diag(error), rtol=DENSE)
    np.testing.assert_allclose(found.factor.T @ found.factor, part @ Q @ part.T, rtol=DENSE, atol=DENSE)
    step = 1e-5 * A
    slope = (
        (A + step) * case.Z.T @ case.gls(A + step)[2] - (A - step) * case.Z.T @ case.gls(A - step)[2]
    ) / (2.0 * step)
    VZ = V @ case.Z
    information = 0.5 * np.trace(VZ.T @ case.Z @ VZ.T @ case.Z)
    np.testing.assert_allclose(found.g3, np.diag(slope @ case.V(A) @ slope.T) / information, rtol=DIFFERENCE)
    bias = 0.0
    if method == "ml":  # tr(Q dQ^-1/dA) / (2 I), Datta and Lahiri (2000)
        more, less = (np.linalg.inv(case.gls(A + sign * step)[1]) for sign in (1, -1))
        bias = np.trace(Q @ (more - less) / (2.0 * step)) / (2.0 * information)
    D = case.problem.vardir
    np.testing.assert_allclose(
        found.mse, found.g1 + found.g2 + 2.0 * found.g3 - bias * (D / (A + D)) ** 2, rtol=DIFFERENCE
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("A", [0.0, 0.5])
def test_one_source_is_the_plain_model(rng, method, A):
    case = Case(rng, sources=1, A=A)
    plain = fit_batch(case.y, case.D, case.X.T, np.array([0, case.m]), method)
    fits, found = case.predicted(method)
    for name in ("variance", "coefficients", "loglik", "maxima"):
        np.testing.assert_allclose(getattr(fits, name), getattr(plain, name), rtol=SAME, atol=SAME)
    want = predict(*at(plain), case.y, case.D, case.X.T, case.all, method)
    for name in ("estimate", "mse", "g1", "g2", "g3", "gamma"):
        np.testing.assert_allclose(getattr(found, name), getattr(want, name), rtol=SAME, atol=SAME)


@pytest.mark.parametrize("method", METHODS)
def test_a_second_source_that_tells_nothing_leaves_the_plain_model(rng, method):
    m = 30
    X = np.column_stack([np.ones(m), rng.normal(size=m)])
    D = np.exp(rng.normal(size=m))
    y = X.sum(axis=1) + rng.normal(size=m) * np.sqrt(0.5 + D)
    plain = fit_batch(y, D, X.T, np.array([0, m]), method)
    twice = np.tile(np.arange(m), 2)
    source = np.repeat([0.0, 1.0], m)[:, None]
    noise = np.concatenate([y, rng.normal(size=m)])
    problem = reduce_sources(noise, np.concatenate([D, np.full(m, 1e13)]), X[twice], source, twice)
    fits = fit_sources(problem, method)
    assert fits.variance[0, 0] == pytest.approx(plain.variance[0, 0], rel=1e-7)
    np.testing.assert_allclose(fits.coefficients[0, 0, :2], plain.coefficients[0, 0], rtol=1e-7)


def test_a_second_source_without_error_and_bias_is_the_truth(rng):
    case = Case(rng, A=1.0)
    D = np.where(case.code == 1, 1e-10, case.D)
    y = np.where(case.code == 1, case.theta[case.area] + 0.7, case.y)
    problem = reduce_sources(y, D, case.X, case.source, case.area)
    fits = fit_sources(problem, "reml")
    found = predict_sources(*at(fits), problem.y, problem.vardir, problem.X, case.target, case.all, "reml")
    both = np.bincount(case.area, case.code == 1) > 0
    away = (found.estimate - case.theta)[both]
    np.testing.assert_allclose(away, away[0], atol=1e-4)  # what is wrong is the bias, one number for all
    assert abs(away[0]) == pytest.approx(abs(fits.coefficients[0, 0, -1] - 0.7), abs=1e-4)


def test_rows_in_another_order_and_unit_change_nothing(rng):
    case = Case(rng)
    fits = fit_sources(case.problem, "reml")
    order = rng.permutation(len(case.y))
    moved = reduce_sources(
        1e3 * case.y[order], 1e6 * case.D[order], case.X[order], case.source[order], case.area[order]
    )
    again = fit_sources(moved, "reml")
    np.testing.assert_allclose(again.variance, 1e6 * fits.variance, rtol=1e-9)
    np.testing.assert_allclose(again.coefficients, 1e3 * fits.coefficients, rtol=1e-9)


def test_posterior_by_quadrature(rng):
    case = Case(rng, m=12, A=0.4)
    problem = case.problem
    joint = source_posterior(problem, 0, 10, problem.y, problem.vardir, problem.X, case.target, case.all)

    def integral(value):
        def density(t):
            A = np.exp(t)
            return np.exp(case.loglik(A, True) - top) * A * value(A)  # flat in A

        return quad(density, -14.0, 12.0, epsabs=0.0, epsrel=1e-9, limit=400)[0]

    top = max(case.loglik(A, True) for A in np.exp(np.arange(-6.0, 3.0, 0.2)))
    mass = integral(lambda A: 1.0)
    for d in (0, 5):
        mean = integral(lambda A, d=d: case.blup(A)[d]) / mass
        assert joint.weights @ joint.means[:, d] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("prior", [0, 1])
def test_posterior_of_one_source_is_the_plain_one(rng, prior):
    case = Case(rng, sources=1, m=7, A=0.3)
    problem = case.problem
    joint = source_posterior(problem, prior, 5, problem.y, problem.vardir, problem.X, case.target, case.all)
    areas = Areas.of(case.y, case.D, case.X.T)
    plain = area_mixture(place_nodes(areas, [(prior, 1.0)]), areas)
    found = Mixture(joint.weights, joint.means, np.sqrt(joint.variances))
    for p in (0.025, 0.5, 0.975):
        np.testing.assert_allclose(found.quantile(p), plain.quantile(p), atol=QUADRATURE)


def simulate(repetitions, seed, m):
    """Errors of the bias over its standard error, squared errors of the areas and their MSE."""
    rng = np.random.default_rng(seed)
    score, square, mse = [], [], []
    case = Case(rng, m=m, A=0.6)
    for _ in range(repetitions):
        theta = case.covariates.sum(axis=1) + rng.normal(size=m) * np.sqrt(0.6)
        y = theta[case.area] + 0.7 * case.code + rng.normal(size=len(case.area)) * np.sqrt(case.D)
        problem = reduce_sources(y, case.D, case.X, case.source, case.area)
        fits = fit_sources(problem, "reml")
        found = predict_sources(
            *at(fits), problem.y, problem.vardir, problem.X, case.target, case.all, "reml"
        )
        se = np.sqrt((fits.root[0, 0][-1] ** 2).sum())
        score.append((fits.coefficients[0, 0, -1] - 0.7) / se)
        square.append((found.estimate - theta) ** 2)
        mse.append(found.mse)
    return np.array(score), np.array(square), np.array(mse)


@pytest.mark.parametrize("repetitions", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_bias_is_unbiased_and_errors_are_as_large_as_promised(repetitions):
    """Over samples: the bias and its standard error; over areas and samples: squared error over MSE."""
    score, square, mse = simulate(repetitions, seed=7, m=40)
    assert abs(score.mean()) < 3.0 * score.std() / np.sqrt(repetitions)
    assert score.std() == pytest.approx(1.0, abs=3.0 / np.sqrt(2.0 * repetitions) + 0.03)
    ratio = square.mean(axis=1) / mse.mean(axis=1).mean()
    assert ratio.mean() == pytest.approx(1.0, abs=3.0 * ratio.std() / np.sqrt(repetitions) + 0.02)


@pytest.mark.parametrize("method", METHODS)
def test_the_engine_of_effects_over_time_gives_the_same(rng, method):
    """Sources on the axis of the periods, an area effect that does not change: another derivation."""
    case = Case(rng, m=40, sources=3, A=0.8)
    y = np.full((case.m, case.S), np.nan)
    X, psi = np.zeros((case.m, case.S, 4)), np.zeros((case.m, case.S, case.S))
    y[case.area, case.code], psi[case.area, case.code, case.code] = case.y, case.D
    X[:, :, :2] = case.covariates[:, None]
    X[:, :, 2:] = np.eye(case.S)[None, :, 1:]
    problem = spacetime_problem(y, X, psi, None)
    other = fit_spacetime(problem, ("sigma2_u",), method=method)
    parts = mse_spacetime(problem, other, ("sigma2_u",), method=method)
    fits, found = case.predicted(method)
    assert fits.variance[0, 0] == pytest.approx(other.parameters[0], rel=1e-6)  # its search ends there
    np.testing.assert_allclose(found.estimate, other.eblup[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found.g1 + found.g2, (parts.g1 + parts.g2)[:, 0], rtol=1e-5)
    ratio = found.g3 / parts.g3[:, 0]  # of the informations: Σ w² against tr (PZZ')², alike to first order
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert ratio[0] == pytest.approx(1.0, abs=0.15)
