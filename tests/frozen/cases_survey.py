"""Frozen cases: direct and indirect estimates, calibration, replicates, quality."""

from functools import lru_cache, partial

import numpy as np
import pandas as pd
from registry import add, areas, case, country

import sae


@lru_cache
def labour():
    return country().lfs(1)


@lru_cache
def income():
    return country().silc(1)


def spelled(call, first, *others):
    """Call with the spelling that this version knows: `smoothing="arcsine"` is about to be renamed."""
    for name in (first, *others):
        try:
            return call(name)
        except sae.errors.SaeSpecError as error:
            last = error
    raise last


RATE = "employment_rate"

for name, options in (
    ("plain", {}),
    ("deff", {"smoothing": "deff"}),
    ("gvf", {"smoothing": "gvf"}),
    ("covariance", {"covariance": True, "smoothing": "deff"}),
    ("bootstrap", {"variance": "bootstrap", "seed": 1, "replicates": 20}),
):
    add(
        f"direct_{name}",
        lambda options=options: sae.direct(labour(), RATE, by=["region", "birth"], **options),
    )


@case()
def direct_poisson():
    sizes = dict.fromkeys(sae.direct(labour(), RATE, by="nuts1")["domain"], 9000.0)
    return sae.direct(labour(), RATE, by="nuts1", variance="poisson", domain_sizes=sizes)


@case()
def direct_arcsine():
    return spelled(lambda name: sae.direct(labour(), RATE, by="region", smoothing=name), "arcsine", "arcsin")


@case()
def direct_several():
    return sae.direct(labour(), [RATE, "unemployment_rate"], by=["nuts1", "quarter"], level=0.9)


@case()
def direct_income():
    """Poverty, quantile and inequality figures, and an indicator of one's own."""
    own = sae.Indicator("income", kind="mean", label="income", unit="EUR")
    return {
        "poverty": sae.direct(income(), "arpr", by="nuts1"),
        "own": sae.direct(income(), own, by=["nuts1", "birth"]),
    }


@case()
def direct_replicates():
    found = labour().with_replicates("jkn")
    return sae.direct(found, RATE, by="nuts1", variance="replicate")


@case()
def direct_into_models():
    """Direct estimates as the input of models, with covariates by name and a second grouping."""
    direct = sae.direct(labour(), RATE, by=["region", "birth"], smoothing="deff", covariance=True)
    land = country().areas
    formula = f"{RATE} ~ share_tertiary"
    arcsin = sae.FayHerriot(formula, transform="arcsin", per="birth", replicates=30)
    both = sae.MultivariateFayHerriot(formula, components="birth")
    fit = arcsin.fit(direct, areas=land, seed=1)
    return {
        "arcsin": fit,
        "multivariate": both.fit(direct, areas=land),
        "flagged": fit.flag("eurostat_silc"),
        "nuts1": fit.aggregate(["nuts1", "birth"], "population"),
    }


def sample(n=300):
    rng = np.random.default_rng(9)
    frame = pd.DataFrame(
        {
            "area": rng.choice(list("abcde"), n, p=[0.4, 0.3, 0.2, 0.07, 0.03]),
            "sex": rng.choice(["f", "m"], n),
            "age": rng.choice([1, 2, 3], n),
            "stratum": rng.integers(0, 6, n),
            "w": rng.uniform(5, 50, n),
        }
    )
    frame["psu"] = frame["stratum"] * 100 + rng.integers(0, 5, n)
    frame["works"] = rng.random(n) < 0.2 + 0.1 * frame["age"]
    frame["income"] = rng.lognormal(1 + 0.2 * frame["age"], 0.5)
    frame["status"] = np.where(frame["works"], "employed", rng.choice(["unemployed", "inactive"], n))
    return frame


def clustered(**options):
    return sae.Survey.from_frame(sample(), weights="w", strata="stratum", psu="psu", **options)


def known(*columns):
    rng = np.random.default_rng(10)
    levels = {"area": list("abcdef"), "sex": ["f", "m"], "status": ["employed", "inactive", "unemployed"]}
    cells = pd.MultiIndex.from_product([levels[name] for name in columns], names=columns)
    return pd.DataFrame({"population": rng.integers(50, 500, len(cells))}, index=cells).reset_index()


def indirect(method, variable="works", **options):
    function = getattr(sae.design_based, method)
    return function(clustered(), variable, "area", known("area", "sex"), within="sex", **options)


for name, method, options in (
    ("synthetic", "synthetic", {}),
    ("synthetic_income", "synthetic", {"variable": "income", "mse": "average"}),
    ("synthetic_poisson", "synthetic", {"variance": "poisson"}),
    ("composite", "composite", {}),
    ("composite_deff", "composite", {"smoothing": "deff"}),
    ("composite_area", "composite", {"variable": "income", "mse": "area"}),
    ("ssd", "ssd", {"delta": 2.0}),
):
    add(f"indirect_{name}", partial(indirect, method, **options))


def structure(method, **options):
    function = getattr(sae.design_based, method)
    return function(
        clustered(),
        "status",
        "area",
        known("area", "sex", "status"),
        known("area", "sex"),
        within="sex",
        **options,
    )


for name, method, options in (
    ("spree", "spree", {}),
    ("spree_average", "spree", {"mse": "average"}),
    ("gspree", "gspree", {}),
    ("gspree_beta", "gspree", {"beta": 0.7}),
):
    add(f"indirect_{name}", partial(structure, method, **options))


@case()
def weights():
    """Calibrated, post-stratified and replicate weights, and what is estimated with them."""
    survey = clustered()
    totals = {"sex": {"f": 4000, "m": 4300}}
    by_method = {
        method: survey.calibrate(totals, method=method, bounds=(0.3, 3.0) if method == "logit" else None)
        for method in ("linear", "raking", "logit")
    }
    found = {name: made.weights for name, made in by_method.items()}
    found["post_stratified"] = survey.post_stratify("sex", totals["sex"]).weights
    found["direct"] = sae.direct(by_method["raking"], "works", by="area")
    for method, options in (("jkn", {}), ("bootstrap", {"replicates": 12, "seed": 1})):
        replicated = by_method["linear"].with_replicates(method, **options)
        found[method] = replicated.replicates.weights
        found[f"{method}_direct"] = sae.direct(replicated, "income", by="area", variance="replicate")
    return found


@case()
def quality_measures():
    """The tests and measures of `sae.quality` on arrays."""
    frame = areas().dropna()
    fit = sae.FayHerriot("y ~ x", domain="area").fit(frame)
    y, vardir = frame["y"].to_numpy(), frame["vardir"].to_numpy()
    X, model = np.column_stack([np.ones(len(y)), frame["x"]]), fit.estimates["estimate"].to_numpy()
    mse, sigma2 = fit.estimates["mse"].to_numpy(), float(fit.variance_components["sigma2_u"])
    ring = np.roll(np.eye(len(y)), 1, axis=1) + np.roll(np.eye(len(y)), -1, axis=1)
    q = sae.quality
    return {
        "bias": q.bias_test(y, model, vardir),
        "caic": q.conditional_aic(y, X, vardir, sigma2),
        "coverage": q.coverage(y, model, vardir, mse),
        "r2": q.fay_herriot_r2(y, X, vardir),
        "gain": q.gain(y, model, vardir, mse),
        "fit": q.goodness_of_fit(y, model, vardir, mse),
        "influence": q.influence(y, X, vardir, sigma2),
        "normality": q.residual_normality(y - model),
        "moran": q.morans_i(y, ring, permutations=99, seed=1),
        "geary": q.gearys_c(y, ring),
        "calibration": q.calibration(model, frame["n"].to_numpy(float), 4.9, 0.1),
    }


@case()
def quality_flags():
    fit = sae.FayHerriot("rate ~ x", domain="area", transform="arcsin", replicates=30).fit(areas(), seed=1)
    return {name: fit.flag(name).estimates for name in sae.quality.policy_names()}


@case()
def synthetic_country():
    land = country()
    return {
        "truth": land.truth,
        "areas": land.areas,
        "neighbours": land.neighbours,
        "population": land.population.iloc[::997].reset_index(drop=True),
        "labour": labour().frame.iloc[::97].reset_index(drop=True),
        "weights": labour().weights,
    }
