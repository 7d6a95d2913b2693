"""Sizes of unit errors by covariates: dense likelihoods, limits, equivariance, unbiased estimates."""

from dataclasses import fields

import numpy as np
import pytest
from scipy.optimize import minimize

from sae.numerics.ebp.bootstrap import Bootstrap
from sae.numerics.ebp.empirical import NORMAL, UnitErrors
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.parameter import estimate_parameter
from sae.numerics.ebp.population import Level, Parameters
from sae.numerics.ebp.sizes import SizeLikelihood
from sae.numerics.ebp.transforms import Scale, forward, log_slope
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.ebp.weights import pseudo_parameters
from sae.numerics.nested_error.fit import fit_nested_error
from tests.numerics.ebp.populations import population

ALPHA, BETA, SU, SE = np.array([0.0, 0.6, -0.8]), np.array([10.0, 0.3, 0.2]), 0.2, 0.4
EXACT = 1e-6  # of a numerical maximum over all parameters, in θ and log variances
SAME = 1e-9  # the same equations added up otherwise
PARAMETER = 1e-5  # of the range: one is by differences, the other by interpolation
SETTLED = 0.1  # standard deviations of α and λ: what one step from the truth leaves


def design(seed=1, areas=12, low=3, high=21):
    rng = np.random.default_rng(seed)
    area = np.repeat(np.arange(areas), rng.integers(low, high, areas))
    n = len(area)
    X = np.column_stack([np.ones(n), rng.normal(size=n), rng.integers(3, size=n) == 1])
    return SampleUnits.of(X, area, areas)


def outcomes(units, count=1, seed=2, alpha=ALPHA):
    rng = np.random.default_rng(seed)
    u = SU * rng.normal(size=(count, units.areas))[:, units.area]
    e = SE * np.exp(0.5 * units.X @ alpha) * rng.normal(size=(count, len(units.X)))
    return units.X @ BETA + u + e


def minus_loglik(units, z, sigma2, alpha, method):
    V = np.diag(sigma2[1] * np.exp(units.X @ alpha)) + sigma2[0] * (units.area[:, None] == units.area)
    weighed = np.linalg.solve(V, units.X)
    M = units.X.T @ weighed
    r = z - units.X @ np.linalg.solve(M, weighed.T @ z)
    n, p = units.X.shape
    value = np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)
    value += (
        np.linalg.slogdet(M)[1] + (n - p) * np.log(2 * np.pi) if method == "reml" else n * np.log(2 * np.pi)
    )
    return 0.5 * float(value)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_maximum_of_the_dense_likelihood(method):
    units = design()
    z = outcomes(units)[0]
    found = SizeLikelihood.of(units, z[None], "none", method=method).fit(0.0)
    assert found.converged and found.alpha[0, 0] == 0.0
    best = minimize(
        lambda t: minus_loglik(units, z, np.exp(t[:2]), np.array([0.0, *t[2:]]), method),
        [-3.0, -2.0, 0.0, 0.0],
        options={"gtol": 1e-8},
    )
    np.testing.assert_allclose(found.alpha[0, 1:], best.x[2:], atol=EXACT)
    sized = units.sized(np.exp(0.5 * units.X @ found.alpha[0]))
    fits = fit_nested_error(sized.sums(z[None]), method)
    variances = np.log([fits.sigma2_u[0], fits.sigma2_e[0]])
    np.testing.assert_allclose(variances, best.x[:2], atol=5 * EXACT)
    assert fits.loglik[0] == pytest.approx(-best.fun, rel=1e-10)


def test_effects_are_the_best_linear_prediction():
    units = design()
    z = outcomes(units)[0]
    shape = UnitErrors.of_sizes(units.X, ALPHA)
    size = shape.sizes(units.X)
    assert np.mean(size**2) == pytest.approx(1.0)
    sums = units.sized(size).sums(z[None])
    fits = fit_nested_error(sums)
    at = Parameters.of_fit(Scale("none"), fits, sums)
    Z = (units.area[:, None] == np.arange(units.areas)).astype(float)
    V = np.diag(at.sigma2_e * size**2) + at.sigma2_u * Z @ Z.T
    r = z - units.X @ at.coefficients
    np.testing.assert_allclose(at.effect, at.sigma2_u * Z.T @ np.linalg.solve(V, r), atol=SAME)
    left = at.sigma2_u * np.eye(units.areas) - at.sigma2_u**2 * Z.T @ np.linalg.solve(V, Z)
    np.testing.assert_allclose(at.spread**2, np.diag(left), rtol=SAME)


def test_sizes_of_one_are_the_plain_model():
    units = design()
    z = outcomes(units)[0]
    plain, sized = units.sums(z[None]), units.sized(np.ones(len(z))).sums(z[None])
    for field in fields(plain):
        one, other = (getattr(sums, field.name) for sums in (plain, sized))
        if field.name in ("xx", "xy", "yy"):  # stand in the first area
            one, other = (
                one.sum(axis=0 if field.name == "xx" else 1),
                other.sum(axis=0 if field.name == "xx" else 1),
            )
        np.testing.assert_allclose(other, one, atol=SAME)
    ones = design(low=5, high=6)  # a constant covariate tells no sizes
    alone = SampleUnits.of(ones.X[:, :1], ones.area, ones.areas)
    assert SizeLikelihood.of(alone, outcomes(ones), "none").fit(0.0).alpha.tolist() == [[0.0]]


@pytest.mark.parametrize("name", ["box-cox", "dual-power", "log-shift"])
def test_parameter_and_sizes_are_a_joint_maximum(name):
    units = design(areas=40)
    y = np.exp(outcomes(units)[0])
    start = estimate_parameter(units, y, name).parameter
    likelihood = SizeLikelihood.of(units, y[None], name)
    found = likelihood.fit(start)
    given = estimate_parameter(units.sized(np.exp(0.5 * units.X @ found.alpha[0])), y, name)
    width = 10.0 * (given.parameter + y.min()) if name == "log-shift" else 3.0
    assert found.parameter[0] == pytest.approx(given.parameter, abs=PARAMETER * width)
    assert found.se > 0.0

    def height(alpha, parameter):
        z = forward(name, y, parameter)
        n, p = units.X.shape
        fits = fit_nested_error(units.sized(np.exp(0.5 * units.X @ alpha)).sums(z[None]))
        return fits.loglik[0] + (n - p) / n * log_slope(name, y, parameter).sum()

    top = height(found.alpha[0], found.parameter[0])
    rng = np.random.default_rng(1)
    for _ in range(20):
        near = found.alpha[0] + np.array([0.0, *(0.02 * rng.normal(size=2))])
        assert height(near, found.parameter[0] + 0.003 * width * rng.normal()) < top


def test_units_of_money_and_covariates_do_not_matter():
    units = design(areas=40)
    y = np.exp(outcomes(units)[0])
    found = SizeLikelihood.of(units, y[None], "box-cox").fit(0.1)
    turned = SampleUnits.of(
        units.X @ np.array([[1.0, 40.0, 3.0], [0.0, 100.0, 1.0], [0.0, 0.0, 2.0]]), units.area, 40
    )
    other = SizeLikelihood.of(turned, 1000.0 * y[None], "box-cox").fit(0.1)
    size, same = (
        UnitErrors.of_sizes(one.X, fit.alpha[0]).sizes(one.X)
        for one, fit in ((units, found), (turned, other))
    )
    np.testing.assert_allclose(same, size, rtol=1e-6)
    assert other.parameter[0] == pytest.approx(found.parameter[0], abs=PARAMETER)
    back = SampleUnits.of(units.X[:, [2, 0, 1]], 39 - units.area, 40)  # areas and columns the other way round
    third = SizeLikelihood.of(back, y[None, back.order], "box-cox").fit(0.1)
    np.testing.assert_allclose(third.alpha[0], found.alpha[0, [2, 0, 1]], atol=1e-6)


@pytest.mark.slow
def test_estimates_are_unbiased():
    """REML of 600 samples of 40 areas: means of α, β, σu² and σe² within 3.5 standard errors of the truth."""
    units = design(areas=40)
    Z = outcomes(units, 600)
    made = []
    for z in Z:
        alpha = SizeLikelihood.of(units, z[None], "none").fit(0.0).alpha[0]
        fits = fit_nested_error(units.sized(np.exp(0.5 * units.X @ alpha)).sums(z[None]))
        made.append([*alpha[1:], *fits.coefficients[0], fits.sigma2_u[0], fits.sigma2_e[0]])
    truth = np.array([*ALPHA[1:], *BETA, SU**2, SE**2])
    error = (np.mean(made, axis=0) - truth) / (np.std(made, axis=0) / np.sqrt(len(Z)))
    assert np.abs(error).max() < 3.5


def test_replicates_come_to_their_maximum_in_one_step():
    units = design(areas=40)
    Y = np.exp(outcomes(units, 30))
    likelihood = SizeLikelihood.of(units, Y, "box-cox")
    one, many = (likelihood.refit(ALPHA, 0.0, steps) for steps in (1, 6))
    for short, full in ((one.alpha[:, 1:], many.alpha[:, 1:]), (one.parameter, many.parameter)):
        assert (np.sqrt(((short - full) ** 2).mean(axis=0)) < SETTLED * full.std(axis=0)).all()
    one = SizeLikelihood.of(units, Y[3:4], "box-cox").fit(0.0)
    np.testing.assert_allclose(many.alpha[3], one.alpha[0], atol=EXACT)
    assert many.parameter[3] == pytest.approx(one.parameter[0], abs=EXACT)


def test_weights_of_a_survey_and_sizes():
    units = design()
    z, size = outcomes(units)[0], UnitErrors.of_sizes(design().X, ALPHA).sizes(design().X)
    sized = units.sized(size)
    sums = sized.sums(z[None])
    w = np.random.default_rng(1).uniform(1.0, 3.0, len(z))
    at, pseudo = pseudo_parameters(Scale("none"), fit_nested_error(sums), sums, sized, z, w)
    for d in range(units.areas):
        own = units.area == d
        share = w[own] / size[own] ** 2 / (w[own] / size[own] ** 2).sum()
        delta2 = float(share**2 @ size[own] ** 2)
        assert pseudo.gamma[d] == pytest.approx(at.sigma2_u / (at.sigma2_u + at.sigma2_e * delta2))
    equal, _ = pseudo_parameters(Scale("none"), fit_nested_error(sums), sums, sized, z, np.full(len(z), 3.0))
    plain = Parameters.of_fit(Scale("none"), fit_nested_error(sums), sums)
    np.testing.assert_allclose(equal.effect, plain.effect, atol=SAME)
    np.testing.assert_allclose(equal.spread, plain.spread, rtol=SAME)


@pytest.mark.parametrize("residuals", [False, True])
def test_bootstrap_refits_sizes(residuals):
    units = design(areas=4, low=20, high=30)
    shape = NORMAL.of_residuals(np.random.default_rng(1).normal(size=500))
    sized = UnitErrors.of_sizes(units.X, ALPHA)
    sized = UnitErrors(shape.points, shape.width, sized.alpha, sized.level, sized.ends)
    effect = np.array([0.2, -0.1, 0.0, 0.1])
    at = Parameters(Scale("log"), BETA, SU**2, SE**2, effect, np.full(4, 0.1), sized)
    kept = outcomes(units)[0] - units.X @ BETA if residuals else None
    boot = Bootstrap(
        units,
        population((60, 60, 60, 60), groups=0),
        at,
        Indicators(("head_count",), 18_000.0),
        [Level.of_areas(4)],
        list("abcd"),
        2,
        residuals=kept,
    )
    fits = boot._fits(np.exp(outcomes(units, 3)), None)
    assert all(len(fit.errors.points) and fit.errors.alpha is not None for fit in fits)
    assert len({float(fit.errors.alpha[1]) for fit in fits}) == 3
    errors = boot.errors(20, 1)
    assert errors.shape == (20, 4) and np.isfinite(errors).all()


def test_heavy_tails_settle():
    """Steps by the expected information go to and fro here."""
    units, rng = design(areas=40), np.random.default_rng(4)
    z = outcomes(units)[0] + SE * rng.standard_t(3, size=len(units.X)) ** 3
    assert SizeLikelihood.of(units, z[None], "none").fit(0.0).converged
