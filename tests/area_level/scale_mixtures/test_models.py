"""Student-t effects and the horseshoe: limits, what they are for, refusals."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.area_level.scale_mixtures.horseshoe import HorseshoeFayHerriot
from sae.area_level.scale_mixtures.student import StudentFayHerriot
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.fay_herriot.gibbs import run_chain
from sae.numerics.inference.priors import HALF_NORMAL
from sae.samplers.scale_mixtures import sample_mixture

MONTE_CARLO = 0.06  # four standard errors of 4,000 draws, in posterior standard deviations
ROUNDING = 1e-5  # of a posterior standard deviation: a column of mean 1e8 stores eight digits of its spread


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    M = 40
    data = pd.DataFrame(rng.normal(size=(M, 5)), columns=[f"x{j}" for j in range(5)]) + 2.0
    data = data.assign(domain=[f"a{k:02d}" for k in range(M)], vardir=rng.uniform(0.1, 0.4, M))
    data["y"] = 1 + data["x0"] + 0.6 * rng.normal(size=M) + np.sqrt(data["vardir"]) * rng.normal(size=M)
    data.loc[5, "y"] = np.nan
    return data


def assert_same(fit, exact):
    one, two = exact.estimates.frame, fit.estimates.frame
    assert ((one["estimate"] - two["estimate"]).abs() / one["se"]).max() < MONTE_CARLO
    assert (two["se"] / one["se"] - 1).abs().max() < MONTE_CARLO
    for column in ("ci_low", "ci_high"):
        assert ((one[column] - two[column]).abs() / one["se"]).max() < 2 * MONTE_CARLO


def test_many_degrees_of_freedom_are_normal_effects(frame):
    exact = sae.FayHerriot("y ~ x0", method="bayes").fit(frame)
    fit = StudentFayHerriot("y ~ x0", df=1e7).fit(frame, seed=1)
    assert_same(fit, exact)
    elpd, k = fit.source.posterior.loo()
    assert np.abs(elpd - exact.source.posterior.loo()[0]).max() < 0.15
    assert (np.sort(k)[:-1] < 0.7).all() and k.max() < 1.0  # of area a13 .50 to .83 over twelve chains


def test_a_huge_fixed_scale_is_flat_coefficients(frame):
    """log(1 + 2 (τ / β)²) is the density of β: flat to 1 % where τ / β is 10^60."""
    seen = frame["y"].notna().to_numpy()
    X = np.column_stack([np.ones(len(frame)), frame[["x0", "x1"]] - 2.0])
    exact = sae.FayHerriot("y ~ x0 + x1", method="bayes", prior="half-normal(1)").fit(frame)
    found = sample_mixture(
        frame["y"].fillna(0).to_numpy(),
        frame["vardir"].to_numpy(),
        X,
        seen,
        list(frame["domain"]),
        (HALF_NORMAL, 1.0),
        seed=1,
        shrunk=np.array([False, True, True]),
        tau=1e60,
    )
    mean, sd = found.moments()
    one = exact.estimates.frame
    assert (np.abs(mean - one["estimate"]) / one["se"]).max() < MONTE_CARLO
    assert np.abs(sd / one["se"] - 1).max() < MONTE_CARLO


def test_fixed_degrees_of_freedom_agree_with_quadrature():
    """Without covariates known 0: two dimensions, (σ, λ of each area), by brute force."""
    y, D = np.array([0.2, -0.4, 3.0, 0.1, -0.3, 0.5]), np.full(6, 0.3)
    sd, effects = np.linspace(0.005, 5.0, 400), np.linspace(-4, 7, 1101)
    from scipy.stats import norm, t

    like = norm.pdf(y[:, None], effects, np.sqrt(D[0]))
    log_p, mean = np.empty(len(sd)), np.empty((len(sd), len(y)))
    for k, scale in enumerate(sd):
        mass = like * t.pdf(effects / scale, 4.0) / scale
        log_p[k] = np.log(mass.sum(axis=1)).sum() - 0.5 * scale**2
        mean[k] = (mass @ effects) / mass.sum(axis=1)
    weights = np.exp(log_p - log_p.max())
    expected = weights @ mean / weights.sum()
    chain = run_chain(
        y,
        D,
        np.ones((6, 1)),
        (HALF_NORMAL, 1.0),
        np.uint64(5),
        df=4.0,
        precision=np.array([1e12]),
        draws=20_000,
        tune=500,
        thin=2,
    )
    effect = chain.sd[:, None] ** 2 * chain.factor
    assert np.abs((effect / (effect + D) * y).mean(axis=0) - expected).max() < 0.02


def test_an_outlying_area_keeps_its_estimate(frame):
    data = frame.copy()
    data.loc[0, "y"] += 6.0
    fit = StudentFayHerriot("y ~ x0").fit(data, seed=1)
    normal = sae.FayHerriot("y ~ x0", method="bayes").fit(data)
    direct = data.loc[0, "y"]
    assert abs(fit.estimates["estimate"][0] - direct) < abs(normal.estimates["estimate"][0] - direct)
    assert "df 2 + gamma(2, 0.1)" in fit.estimates["prior"][0] and "Student-t" in fit.title
    assert fit.variance_components["df"] > 2
    again = StudentFayHerriot("y ~ x0").fit(data, seed=1)
    pd.testing.assert_frame_equal(fit.to_frame(), again.to_frame())
    assert np.array_equal(fit.draws(20, seed=4).values, fit.draws(50, seed=4).values[:20])
    np.testing.assert_allclose(fit.joint.mse(), fit.estimates["mse"], rtol=1e-8)


def test_the_horseshoe_shrinks_what_does_not_matter(frame):
    formula = "y ~ x0 + x1 + x2 + x3 + x4"
    fit = HorseshoeFayHerriot(formula).fit(frame, seed=1)
    flat = sae.FayHerriot(formula, method="bayes").fit(frame)
    noise = ["x1", "x2", "x3", "x4"]
    assert (fit.coefficients.loc[noise, "sd"] < flat.coefficients.loc[noise, "sd"]).all()
    assert fit.coefficients.loc["x0", "low"] > 0.5
    fitted = fit.coefficients["coef"] @ np.column_stack([np.ones(len(frame)), frame[["x0", *noise]]]).T
    np.testing.assert_allclose(fit.residuals["fitted"], fitted[fit.residuals.index])


def test_the_horseshoe_takes_more_covariates_than_flat_priors_allow(frame):
    few = frame.iloc[[0, 1, 2, 3, 4, 6, 7, 8]]
    assert HorseshoeFayHerriot("y ~ x0 + x1 + x2 + x3 + x4", prior="flat-variance").fit(
        few, seed=1
    ).diagnostics["sampled"].tolist() == [8]
    with pytest.raises(SaeInputError, match="improper"):
        StudentFayHerriot("y ~ x0 + x1 + x2 + x3 + x4", prior="flat-variance").fit(few, seed=1)


def test_what_cannot_be_is_refused(frame):
    with pytest.raises(SaeSpecError, match="no seed"):
        StudentFayHerriot("y ~ x0").fit(frame)
    with pytest.raises(SaeSpecError, match="more than 2"):
        StudentFayHerriot("y ~ x0", df=1.5)
    with pytest.raises(SaeSpecError, match="scale"):
        HorseshoeFayHerriot("y ~ x0", scale=0.0)


@pytest.mark.parametrize("model", [StudentFayHerriot, HorseshoeFayHerriot])
def test_means_and_scales_of_covariates_and_outcome_cost_no_digits(frame, model):
    spec = model("y ~ x0 + x1", draws=1000)
    fit = spec.fit(frame, seed=1)
    base, unit = fit.estimates.frame, fit.estimates["se"].mean()
    for moved, shift, slope in (
        (frame.assign(x0=frame["x0"] + 1e8), 0.0, 1.0),
        (frame.assign(x0=frame["x0"] * 1e-8), 0.0, 1e8),
        (frame.assign(y=frame["y"] + 1e6), 1e6, 1.0),
    ):
        result = spec.fit(moved, seed=1)  # the chain takes the same steps
        got = result.estimates.frame
        for name, off in (("estimate", shift), ("se", 0.0), ("ci_low", shift), ("ci_high", shift)):
            np.testing.assert_allclose(got[name] - off, base[name], rtol=0, atol=ROUNDING * unit)
        one, two = (np.asarray(one.coefficients.loc["x0"], dtype=float) for one in (result, fit))
        np.testing.assert_allclose(one, slope * two, rtol=ROUNDING)
        for column in ("residual", "standardised"):
            one, two = (one.residuals[column] for one in (result, fit))
            np.testing.assert_allclose(one, two, rtol=0, atol=ROUNDING)
        one, two = (one.source.posterior for one in (result, fit))
        np.testing.assert_allclose(one.loo()[0], two.loo()[0], atol=ROUNDING)
        np.testing.assert_allclose(
            one.draw(9, 1).replicated - shift, two.draw(9, 1).replicated, atol=ROUNDING
        )
        np.testing.assert_allclose(one.draw(9, 1).log_likelihood, two.draw(9, 1).log_likelihood, atol=1e-4)
        np.testing.assert_allclose(one.fresh(9, 1) - shift, two.fresh(9, 1), atol=ROUNDING)


def test_other_coordinates_of_the_covariates_are_the_same_model(frame):
    spec = StudentFayHerriot("y ~ x0 + x1", prior="half-normal(1)")
    turned = frame.assign(x0=frame["x0"] + 3 * frame["x1"] + 7, x1=frame["x1"] - 2 * frame["x0"])
    turned = turned.assign(y=frame["y"] + 100 * frame["x1"])
    one, two = spec.fit(frame, seed=1), spec.fit(turned, seed=1)
    # x0 = (x0' - 3 x1' - 7) / 7 and x1 = (2 x0' + x1' - 14) / 7, and 100 x1 more
    slope0, slope1 = one.coefficients.iloc[1:, 0]
    right = [(slope0 + 2 * (slope1 + 100)) / 7, (-3 * slope0 + slope1 + 100) / 7]
    np.testing.assert_allclose(two.coefficients.iloc[1:, 0], right, atol=0.01)
    gap = two.estimates["estimate"] - 100 * frame["x1"] - one.estimates["estimate"]
    assert (gap.abs() / one.estimates["se"]).max() < MONTE_CARLO
