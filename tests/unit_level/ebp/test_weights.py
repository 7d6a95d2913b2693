"""Survey weights in the fit, and a threshold that comes from the sample, with its error."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import sae
from sae.errors import SaeInputError, SaeSpecError

ROUNDING = 1e-9  # normal equations solved in another order
Z = 2.6  # standard errors of a simulation: 1 test in 100 fails

D, SIZE = 20, 300


def country(seed, effect=0.25):
    """Persons of 20 areas whose welfare depends on more than the model's covariate."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"area": np.repeat([f"{k:02d}" for k in range(D)], SIZE)})
    frame["age"] = rng.uniform(-1.0, 1.0, size=len(frame))
    noise = 0.5 * rng.normal(size=len(frame))
    level = np.repeat(effect * rng.normal(size=D), SIZE)
    frame["income"] = np.exp(9.0 + 0.3 * frame["age"] + level + noise)
    frame["noise"] = noise
    return frame


def informative(frame, n, rng):
    """Draw n units of every area with a chance that falls with the error of their welfare."""
    chosen, weights = [], []
    for _, part in frame.groupby("area"):
        size = np.exp(-1.2 * part["noise"].to_numpy())
        share = n * size / size.sum()
        keep = rng.random(len(part)) < share
        chosen.append(part[keep])
        weights.append(1.0 / share[keep])
    return pd.concat(chosen).assign(w=np.concatenate(weights)).reset_index(drop=True)


def fitted(sample, people, seed=1, **options):
    given = {
        "domain": "area",
        "threshold": 7_500.0,
        "transform": "log",
        "mse": "none",
        "draws": 16,
        **options,
    }
    return sae.EBP("income ~ age", **given).fit(sample, areas=people, seed=seed)


@pytest.fixture(scope="module")
def people():
    return country(1)


@pytest.fixture(scope="module")
def sample(people):
    part = people[people["area"] != "19"].groupby("area").sample(12, random_state=1)
    return part.reset_index(drop=True)


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_equal_weights_are_none(sample, people, method):
    options = {"indicators": ["mean", "head_count", "gini"], "method": method}
    options |= {"mse": "bootstrap", "replicates": 5, "transform": "box-cox"}
    one = fitted(sample.assign(w=7.0), people, weights="w", **options).estimates.frame
    two = fitted(sample, people, **options).estimates.frame
    for column in ("estimate", "direct", "direct_se", "mse", "gamma"):
        np.testing.assert_allclose(one[column], two[column], rtol=ROUNDING)


def test_the_mean_is_the_pseudo_eblup(sample, people):
    rng = np.random.default_rng(2)
    weighted = sample.assign(w=rng.uniform(1.0, 9.0, size=len(sample)))
    ebp = fitted(weighted, people, weights="w", transform="none", indicators=["mean"])
    means = people.groupby("area", as_index=False)["age"].mean()
    eblup = sae.NestedError("income ~ age", domain="area", weights="w").fit(weighted, areas=means)
    for column in ("estimate", "gamma", "direct", "direct_se"):
        np.testing.assert_allclose(ebp.estimates[column], eblup.estimates[column], rtol=ROUNDING)
    np.testing.assert_allclose(ebp.coefficients["coef"], eblup.coefficients["coef"], rtol=ROUNDING)
    np.testing.assert_allclose(ebp.coefficients["se"], eblup.coefficients["se"], rtol=ROUNDING)


def test_head_count_is_that_of_the_weighted_mean(sample, people):
    rng = np.random.default_rng(3)
    weighted = sample.assign(w=rng.uniform(1.0, 9.0, size=len(sample)))
    fit = fitted(weighted, people, weights="w")
    found = fit.estimates.frame.set_index(["domain", "indicator"])["estimate"][:, "head_count"]
    beta, variance = fit.coefficients["coef"], fit.variance_components
    for name, part in weighted.groupby("area"):
        share = part["w"] / part["w"].sum()
        gamma = variance["sigma2_u"] / (variance["sigma2_u"] + variance["sigma2_e"] * (share**2).sum())
        gap = (share * (np.log(part["income"]) - beta.iloc[0] - beta.iloc[1] * part["age"])).sum()
        sd = np.sqrt(variance["sigma2_u"] * (1.0 - gamma) + variance["sigma2_e"])
        score = beta.iloc[0] + beta.iloc[1] * people.loc[people["area"] == name, "age"] + gamma * gap
        wanted = ndtr((np.log(7_500.0) - score) / sd).mean()
        np.testing.assert_allclose(found[name], wanted, rtol=ROUNDING)


def test_weights_matter_under_an_informative_design():
    rng = np.random.default_rng(11)
    errors = {"weighted": [], "plain": []}
    for run in range(30):
        people = country(100 + run)
        drawn = informative(people, 15, rng)
        truth = (people["income"] < 7_500.0).groupby(people["area"]).mean()
        for name, weights in (("weighted", "w"), ("plain", None)):
            fit = fitted(drawn, people[["area", "age"]], weights=weights, indicators=["head_count"])
            found = fit.estimates.frame.set_index("domain")["estimate"]
            errors[name].append((found - truth).to_numpy())
    bias = {name: np.mean(one) for name, one in errors.items()}
    rmse = {name: np.sqrt(np.mean(np.square(one))) for name, one in errors.items()}
    assert bias["plain"] > 0.1
    assert abs(bias["weighted"]) < 0.25 * bias["plain"]
    assert rmse["weighted"] < 0.7 * rmse["plain"]


def noisy(frame, sd=1.5, seed=3):
    """Return a survey whose weights say nothing, but make its median a noisy one."""
    weights = np.exp(sd * np.random.default_rng(seed).normal(size=len(frame)))
    return sae.Survey.from_frame(frame.assign(w=weights), weights="w")


def test_a_threshold_of_the_sample_has_an_error(sample, people):
    options = {"indicators": ["head_count"], "mse": "bootstrap", "replicates": 60}
    survey = noisy(sample)
    moving = fitted(survey, people, threshold="80% of the median", **options)
    fixed = fitted(survey, people, threshold=moving.provenance["threshold"], **options)
    np.testing.assert_allclose(moving.estimates["estimate"], fixed.estimates["estimate"], rtol=ROUNDING)
    assert moving.estimates["mse"].sum() > 1.3 * fixed.estimates["mse"].sum()
    assert "threshold of each replicate" in moving.estimates["mse_method"].iloc[0]


def test_a_share_of_the_median_is_a_function_of_the_units(sample, people):
    options = {"indicators": ["head_count"], "mse": "bootstrap", "replicates": 10}
    one = fitted(sample, people, threshold="60% of the median", **options)
    two = fitted(sample, people, threshold=lambda y, w: 0.6 * np.median(y), **options)
    np.testing.assert_allclose(one.estimates["mse"], two.estimates["mse"], rtol=ROUNDING)


def test_what_moves_welfare_moves_its_median(sample, people):
    """A poor share below a share of the median does not change with the level, whose error it is spared."""
    options = {"indicators": ["head_count"], "mse": "bootstrap", "replicates": 60}
    few = sample.groupby("area").head(3)
    moving = fitted(few, people, threshold="80% of the median", **options)
    fixed = fitted(few, people, threshold=0.8 * few["income"].median(), **options)
    assert moving.estimates["mse"].sum() < fixed.estimates["mse"].sum()


def test_means_are_the_same_whatever_the_threshold(sample, people):
    options = {"indicators": ["mean"], "mse": "bootstrap", "replicates": 5}
    one = fitted(sample, people, threshold="60% of the median", **options)
    two = fitted(sample, people, threshold=5.0, **options)
    np.testing.assert_array_equal(one.estimates["mse"], two.estimates["mse"])


def test_intervals_cover_the_head_count_below_the_national_threshold():
    inside = {"moving": [], "fixed": []}
    for run in range(20):
        people = country(200 + run)
        survey = noisy(people.groupby("area").sample(10, random_state=run), seed=run)
        line = 0.8 * people["income"].median()
        truth = (people["income"] < line).groupby(people["area"]).mean().to_numpy()
        own = "80% of the median"
        for name in inside:
            fit = fitted(
                survey, people, threshold=own, indicators=["head_count"], mse="bootstrap", replicates=60
            )
            own = fit.provenance["threshold"]
            low, high = fit.estimates["ci_low"], fit.estimates["ci_high"]
            inside[name].append(((low <= truth) & (truth <= high)).mean())
    cover = {name: np.mean(one) for name, one in inside.items()}
    se = np.std(inside["moving"], ddof=1) / np.sqrt(20)  # runs are independent, their areas share a threshold
    assert abs(cover["moving"] - 0.95) < Z * se + 0.01
    assert cover["fixed"] < cover["moving"] - 0.03


@pytest.mark.parametrize("method", ["bayes", "ell"])
def test_methods_that_know_no_weights_refuse_them(method):
    with pytest.raises(SaeSpecError, match="weights='w' has no meaning with method="):
        sae.EBP("y ~ x", domain="area", indicators=["mean"], weights="w", method=method)


def test_a_weight_beside_which_the_others_vanish_is_named(sample, people):
    heavy = sample.assign(w=np.where(sample.index == 3, 1e12, 1.0))
    with pytest.raises(SaeInputError, match="w is more than a million times its median 1 in 1 of"):
        fitted(heavy, people, weights="w", indicators=["mean"])
