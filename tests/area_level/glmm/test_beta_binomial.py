"""Beta-binomial model against brute force and limiting cases."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, ndtr
from scipy.stats import betabinom

import sae
from sae.errors import SaeSpecError
from sae.numerics.glmm.likelihoods import BetaBinomial
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.inference.transforms import TRANSFORMS
from sae.samplers.beta_binomial import BetaBinomialPosterior

RISING = 1e-9  # of a log-likelihood: sums of rounding in scipy's log-gammas of 1e3
POINTS = 0.02  # posterior deviations: 512 weighted points at each node of ρ, and the spacing of the nodes
BINOMIAL = 0.02  # the same, for ρ of 1e-5
MCSE = 4.5  # standard errors of means of draws


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    size, M = 12, 9.0
    x, n = rng.normal(size=size), rng.integers(8, 60, size)
    P = expit(-0.7 + 0.5 * x + 0.4 * rng.normal(size=size))
    y = rng.binomial(n, rng.beta(M * P, M * (1 - P))).astype(float)
    y[4] = np.nan
    return pd.DataFrame({"area": [f"A{k}" for k in range(size)], "x": x, "n": n, "y": y})


def test_the_likelihood_is_beta_binomial():
    n = np.array([1.0, 7.0, 60.0, 700.0])
    y = np.array([1.0, 0.0, 31.0, 90.0])
    eta = np.linspace(-30.0, 30.0, 41) * np.ones((4, 1))
    for rho in (1e-3, 0.2, 0.97):
        M = (1 - rho) / rho
        found = BetaBinomial(y, n, rho).log_likelihood(eta)
        a, b = M * expit(eta), M * expit(-eta)
        assert np.abs(found - betabinom.logpmf(y[:, None], n[:, None], a, b)).max() < RISING
    each = BetaBinomial(y, n, np.full(41, 0.97)).log_likelihood(eta)
    assert (each == found).all()
    # counts that are not whole go another way to the same values
    near = BetaBinomial(y * (1 - 1e-9), n * (1 - 1e-9), 0.2).log_likelihood(eta / 10)
    assert near == pytest.approx(BetaBinomial(y, n, 0.2).log_likelihood(eta / 10), abs=1e-5)


def brute(y, n, prior_sd, scale, shapes=(1.0, 1.0)):
    """Posterior means and deviations of ρ, σ, β and P by sums over a box of nodes."""
    z, t = np.linspace(-4.8, 3.0, 53), np.linspace(-6.0, 1.3, 45)
    beta = np.linspace(-4.0, 4.0, 61)
    eta = np.linspace(-9.0, 9.0, 601)
    sigma, centre = (part.ravel() for part in np.meshgrid(np.exp(t), beta, indexing="ij"))
    inner = np.linspace(-6.0, 6.0, 49)
    normal = np.exp(-0.5 * inner**2) / np.exp(-0.5 * inner**2).sum()
    places = centre[:, None] + sigma[:, None] * inner
    prior = -0.5 * (sigma / scale) ** 2 + np.log(sigma) - 0.5 * (centre / prior_sd) ** 2
    total, sums = 0.0, np.zeros((2, 3 + len(y)))
    for node in z:
        rho = ndtr(node)
        M = (1 - rho) / rho
        table = betabinom.pmf(y[:, None], n[:, None], M * expit(eta), M * expit(-eta))
        joint = np.exp(prior) * np.exp(-0.5 * node**2)
        joint *= rho ** (shapes[0] - 1) * (1 - rho) ** (shapes[1] - 1)
        value = np.array([np.interp(places, eta, row) for row in table]) * normal
        likelihood = value.sum(axis=2)
        joint = joint * likelihood.prod(axis=0)
        shares = (value * expit(places)).sum(axis=2) / likelihood
        squares = (value * expit(places) ** 2).sum(axis=2) / likelihood
        total += joint.sum()
        one = np.vstack([np.full(len(sigma), rho), sigma, centre, shares])
        two = np.vstack([np.full(len(sigma), rho**2), sigma**2, centre**2, squares])
        sums += np.array([one @ joint, two @ joint])
    mean, square = sums / total
    return mean, np.sqrt(square - mean**2)


def test_the_posterior_is_that_of_brute_force():
    y, n = np.array([3.0, 0.0, 9.0, 14.0]), np.array([10.0, 6.0, 40.0, 15.0])
    posterior = BetaBinomialPosterior(
        BetaBinomial(y, n, 0.5),
        np.ones((4, 1)),
        np.ones(4, dtype=bool),
        (HALF_NORMAL, 0.8),
        TRANSFORMS["logit"],
        list("abcd"),
        1.5,
    )
    mean, sd = brute(y, n, 1.5, 0.8)
    beta, sigma, weights = posterior.parameters()
    rho, rho_sd, quantiles = posterior.further(np.array([0.1, 0.5, 0.9]))["rho"]
    found = np.array([rho, weights @ sigma, weights @ beta[:, 0], *posterior.moments()[0]])
    assert np.abs((found - mean) / sd).max() < POINTS
    assert np.abs(posterior.moments()[1] / sd[3:] - 1).max() < POINTS
    assert rho_sd == pytest.approx(sd[0], rel=POINTS)
    assert (np.diff(quantiles) > 0).all()
    # draws are of the same posterior, also jointly: correlations of ρ and σ
    sample = posterior.draw(20_000, 1)
    drawn = np.column_stack([*(sample.parameters[k] for k in ("rho", "sigma_u")), sample.parameters["beta"]])
    apart = (np.column_stack([drawn, sample.values]).mean(axis=0) - mean) / sd
    assert np.abs(apart).max() < MCSE / np.sqrt(20_000) + POINTS
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] < -0.05  # they stand for each other
    elpd, k = posterior.loo()
    assert np.isfinite(elpd).all() and k.max() < 0.7


def test_no_correlation_is_the_binomial_model(frame):
    options = {"domain": "area", "prior": "half-normal(0.6)"}
    found = sae.BetaBinomialMixed("y ~ x", rho_prior="beta(1, 100000)", **options).fit(frame)
    exact = sae.BinomialMixed("y ~ x", **options).fit(frame)
    a, b = found.estimates.frame, exact.estimates.frame
    for name in ("estimate", "ci_low", "ci_high"):
        assert np.abs((a[name] - b[name]) / b["se"]).max() < BINOMIAL
    assert np.abs(a["se"] / b["se"] - 1).max() < BINOMIAL
    assert found.variance_components["rho_high"] < 1e-4


def test_a_whole_result_names_the_prior_and_shows_rho(frame):
    spec = sae.BetaBinomialMixed("y ~ x", domain="area")
    assert type(spec).from_toml(spec.to_toml()) == spec
    fit = spec.fit(frame)
    table = fit.estimates.frame
    assert table["prior"].str.contains("ρ uniform").all() and "rho" in fit.summary()
    assert (table["ci_low"] < table["estimate"]).all() and (table["estimate"] < table["ci_high"]).all()
    assert {"k_hat", "rho_error"} <= set(fit.diagnostics) and fit.diagnostics["rho_error"].iloc[0] < 0.1
    draws = fit.draws(4000, seed=1).values
    apart = (draws.mean(axis=0) - table["estimate"]) / table["se"]
    assert np.abs(apart).max() < MCSE / np.sqrt(4000) + POINTS
    assert np.diag(fit.joint.covariance()) == pytest.approx(table["se"] ** 2)
    # an area more without a sample changes no draw
    more = pd.concat([frame, pd.DataFrame({"area": ["B"], "x": [0.3], "n": [0]})], ignore_index=True)
    assert (spec.fit(more).draws(50, seed=1).values[:, :12] == fit.draws(50, seed=1).values).all()
    half = fit.source.posterior.quantiles(np.array([0.5]))[0]
    assert fit.source.posterior.exceedance(half) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("text", ["jeffreys", "beta(0, 1)", "beta(1)"])
def test_priors_of_rho_that_do_not_exist_are_refused(text):
    with pytest.raises(SaeSpecError, match="rho_prior"):
        sae.BetaBinomialMixed("y ~ x", rho_prior=text)
