"""Rare events, few areas, few degrees of freedom: a right table or an error that names the thing."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import binom, poisson

import sae
from sae.errors import SaeError, SaeInputError

POINTS = 0.02  # posterior deviations: 4096 weighted points


def brute(log_likelihood, n, inverse, scale, beta, coefficient_sd=np.inf):
    """Posterior means and deviations of h⁻¹(η) and of β by sums over boxes; intercept alone."""
    t, eta = np.linspace(-7.0, np.log(5.0 * scale), 36), np.linspace(-90.0, 60.0, 15_001)
    z = np.linspace(-8.0, 8.0, 129)
    normal = np.exp(-0.5 * z * z) / np.exp(-0.5 * z * z).sum()
    table = np.exp(log_likelihood(eta))  # (n, K)
    log_weight, first, second = np.empty((len(t), len(beta))), *np.empty((2, n, len(t), len(beta)))
    for k, sigma in enumerate(np.exp(t)):
        places = beta[:, None] + sigma * z
        value = np.array([np.interp(places, eta, row) for row in table])
        total = value @ normal
        first[:, k] = (value * inverse(places)) @ normal / total
        second[:, k] = (value * inverse(places) ** 2) @ normal / total
        log_weight[k] = np.log(total).sum(axis=0) - 0.5 * (sigma / scale) ** 2 + t[k]
    log_weight -= 0.5 * (beta / coefficient_sd) ** 2
    weight = np.exp(log_weight - logsumexp(log_weight))
    mean = (first * weight).sum(axis=(1, 2))
    centre = weight.sum(axis=0) @ beta
    spread = np.sqrt(weight.sum(axis=0) @ (beta - centre) ** 2)
    return mean, np.sqrt((second * weight).sum(axis=(1, 2)) - mean**2), centre, spread


def check(fit, mean, sd, centre, spread):
    table = fit.estimates.frame
    assert np.abs((table["estimate"] - mean) / sd).max() < POINTS
    assert np.abs(table["se"] / sd - 1).max() < POINTS
    assert abs(fit.coefficients["coef"].iloc[0] - centre) < POINTS * spread
    assert fit.coefficients["sd"].iloc[0] == pytest.approx(spread, rel=2 * POINTS)


def test_one_or_no_event_in_every_area():
    y, n = np.array([0, 0, 1, 0, 0, 2, 0, 1, 0, 0]), np.full(10, 20)
    data = pd.DataFrame({"area": list("abcdefghij"), "y": y, "n": n})
    options = {"domain": "area", "prior": "half-normal(1)"}
    box = np.linspace(-9.0, 1.0, 101)
    fit = sae.BinomialMixed("y ~ 1", **options).fit(data)
    eta = [y[:, None], n[:, None]]
    check(fit, *brute(lambda at: binom.logpmf(*eta, expit(at)), 10, expit, 1.0, box))
    fit = sae.PoissonMixed("y ~ 1", exposure="n", **options).fit(data)
    check(fit, *brute(lambda at: poisson.logpmf(y[:, None], n[:, None] * np.exp(at)), 10, np.exp, 1.0, box))


def test_estimates_of_zero_leave_a_plateau_that_is_held():
    """Zeros say that shares are small, not how small: half of the posterior of β is that of its prior."""
    y, n = np.array([0, 0, 1, 0, 0, 2, 0, 1]), 20
    share = (y + 0.5) / (n + 1)
    vardir = share * (1 - share) / n
    data = pd.DataFrame({"area": list("abcdefgh"), "p": y / n, "vardir": vardir})
    spec = sae.UnmatchedFayHerriot("p ~ 1", domain="area", link="logit", prior="half-normal(1)")
    fit = spec.fit(data)

    def log_likelihood(eta):
        return -0.5 * ((y / n)[:, None] - expit(eta)) ** 2 / vardir[:, None]

    check(fit, *brute(log_likelihood, 8, expit, 1.0, np.linspace(-45.0, 5.0, 201), 10.0))
    assert fit.diagnostics["k_hat"].iloc[0] < 0.5


def test_estimates_of_zero_have_no_coefficient_of_variation():
    data = pd.DataFrame({"area": list("abcdef"), "p": [0.0, 0.1, 0.05, 0.2, 0.1, 0.15], "vardir": 0.002})
    table = sae.UnmatchedFayHerriot("p ~ 1", domain="area", link="log").fit(data).estimates.frame
    assert np.isnan(table["direct_cv"].iloc[0])
    assert table["direct_cv"].iloc[1] == pytest.approx(np.sqrt(0.002) / 0.1)


def test_shares_that_are_all_alike_give_a_prior_with_a_scale():
    data = pd.DataFrame({"area": list("abcdef"), "p": 0.001, "n_eff": 30.0})
    table = sae.BetaFayHerriot("p ~ 1", domain="area").fit(data).estimates.frame
    assert table["prior"].str.startswith("half-normal(1)").all() and (table["se"] > 0).all()


def test_areas_with_one_person_each_are_fitted_under_a_proper_prior():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"area": np.arange(40).astype(str), "n": 1, "y": rng.binomial(1, 0.3, 40)})
    table = sae.BinomialMixed("y ~ 1", domain="area").fit(data).estimates.frame
    assert table["estimate"].mean() == pytest.approx(data["y"].mean(), abs=0.03)
    with pytest.raises(SaeInputError, match="improper"):
        sae.BinomialMixed("y ~ 1", domain="area", prior="flat-variance").fit(data)


def survey(seed):
    """A small survey of anything: 3 to 40 areas of 1 to 200 persons, rates of .001 to .999."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 41))
    n = rng.integers(1, rng.choice([12, 201]), size)
    rate = 10 ** rng.uniform(-3, np.log10(0.5))
    rate = rate if rng.random() < 0.7 else 1 - rate
    x = rng.normal(size=size)
    effects = rng.choice([0.0, 0.3, 1.0]) * rng.normal(size=size) + 0.5 * x
    y = rng.binomial(n, expit(np.log(rate / (1 - rate)) + effects))
    share = (y + 0.5) / (n + 1)
    df = rng.integers(1, rng.choice([3, 30]), size)
    sd = rng.choice([0.1, 0.5, 2.0])
    return pd.DataFrame(
        {
            "area": [f"a{k}" for k in range(size)],
            "x": x,
            "n": n,
            "y": y,
            "p": y / n,
            "vardir": share * (1 - share) / n,
            "inside": np.clip(y / n, 0.001, 0.999),
            "n_eff": n + 1.0,
            "z": 0.5 * x + np.hypot(0.5, sd) * rng.normal(size=size),
            "s2": sd**2 * rng.chisquare(df) / df,
            "df": df,
        }
    )


FAMILIES = {
    "binomial": (sae.BinomialMixed, "y", {}),
    "poisson": (sae.PoissonMixed, "y", {"exposure": "n"}),
    "beta": (sae.BetaFayHerriot, "inside", {}),
    "logit": (sae.UnmatchedFayHerriot, "p", {"link": "logit"}),
    "log": (sae.UnmatchedFayHerriot, "p", {"link": "log"}),
    "variance": (sae.YouChapman, "z", {"vardir": "s2"}),
    "beta-binomial": (sae.BetaBinomialMixed, "y", {}),
}


def outcome(family, seed):
    """Fit a random survey: True for a table without gaps, False for an error that names something."""
    make, name, options = FAMILIES[family]
    data = survey(seed)
    formula = f"{name} ~ {'x' if seed % 2 else '1'}"
    try:
        table = make(formula, domain="area", **options).fit(data).estimates.frame
    except SaeError as error:
        assert error.hint and len(error.what) > 20, (family, seed, error)
        return False
    numbers = table[["estimate", "se", "ci_low", "ci_high"]].to_numpy(float)
    assert np.isfinite(numbers).all() and (table["se"] > 0).all(), (family, seed)
    assert (table["ci_low"] <= table["ci_high"]).all(), (family, seed)
    return True


@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_random_surveys_give_a_table_or_a_named_error(family):
    count = {"beta-binomial": 2, "logit": 3, "log": 3}.get(family, 4)
    assert sum(outcome(family, seed) for seed in range(count)) >= count // 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_ten_thousand_random_surveys_give_a_table_or_a_named_error(family):
    count = 400 if family == "beta-binomial" else 1600
    assert sum(outcome(family, seed) for seed in range(count)) >= 0.9 * count


@pytest.mark.parametrize("seed", range(2))
def test_eight_areas_of_ten_persons_are_fitted(seed):
    rng = np.random.default_rng(seed)
    y = rng.permutation([1, 2, 3, 4, 5, 6, 7, 1])
    share = (y + 0.5) / 11
    data = pd.DataFrame({"area": list("abcdefgh"), "n": 10, "y": y, "x": rng.normal(size=8), "p": y / 10})
    data["vardir"], data["df"] = share * (1 - share) / 10, 9
    for spec in (
        sae.BinomialMixed("y ~ x", domain="area"),
        sae.PoissonMixed("y ~ x", domain="area", exposure="n"),
        sae.UnmatchedFayHerriot("p ~ x", domain="area", link="logit"),
        sae.YouChapman("p ~ x", domain="area"),
    ):
        table = spec.fit(data).estimates.frame
        assert np.isfinite(table[["estimate", "se", "ci_low", "ci_high"]].to_numpy(float)).all()
        assert np.abs(table["estimate"] - data["p"]).max() < 0.4
