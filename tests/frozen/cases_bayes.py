"""Frozen cases: area-level posteriors and unit-level models."""

from functools import partial

import numpy as np
import pandas as pd
from registry import add, areas, case, frame_and_map, panel

import sae


def bayes(formula="y ~ x", size=40, **options):
    return sae.FayHerriot(formula, domain="area", method="bayes", **options).fit(areas(size))


for name, options in (
    ("default", {}),
    ("flat_variance", {"prior": "flat-variance"}),
    ("flat_sd", {"prior": "flat-sd"}),
    ("half_cauchy", {"prior": "half-cauchy(0.5)"}),
    ("pc", {"prior": sae.priors.PC(1.0, 0.05)}),
    ("few", {"size": 9, "prior": "half-normal(0.5)"}),
    ("arcsin", {"formula": "rate ~ x", "transform": "arcsin"}),
    ("log", {"formula": "money ~ x", "transform": "log", "vardir": "money_var"}),
    ("logit", {"formula": "rate ~ x", "transform": "logit", "vardir": "rate_var"}),
):
    add(f"bayes_{name}", partial(bayes, **options))


@case()
def bayes_per():
    data = pd.concat([areas(20, 1).assign(year=2020), areas(30, 2).assign(year=2021)], ignore_index=True)
    return sae.FayHerriot("y ~ x", domain="area", method="bayes", per="year").fit(data)


@case()
def bayes_benchmarked():
    fit = bayes("rate ~ x", transform="arcsin")
    done = fit.benchmark({"north": 0.28, "south": 0.33}, within="group", weights="population")
    return {"done": done, "groups": fit.aggregate("group", "population"), "flagged": fit.flag("statcan")}


def spatial(component, size=32, **options):
    frame, edges = frame_and_map(size)
    made = component(edges, **options)
    return sae.FayHerriot("y ~ x", domain="area", method="bayes", spatial=made).fit(frame)


for component in ("BYM2", "Leroux", "CAR", "SAR"):
    add(f"bayes_{component.lower()}", lambda name=component: spatial(getattr(sae, name)), points=True)
add("bayes_icar", lambda: spatial(sae.CAR, rho=1.0), points=True)


def temporal(component, mapped=False, **options):
    frame, edges = panel(12, 3) if mapped else panel(12)
    spec = sae.FayHerriot(
        "y ~ x",
        domain="area",
        method="bayes",
        temporal=component("year", **options),
        spatial=sae.BYM2(edges) if mapped else None,
    )
    return spec.fit(frame)


for component in ("AR1", "RW1", "RW2"):
    add(f"bayes_{component.lower()}", lambda name=component: temporal(getattr(sae, name)), points=True)
add("bayes_ar1_rho_0", lambda: temporal(sae.AR1, rho=0.0), points=True)
add("bayes_bym2_rw1", lambda: temporal(sae.RW1, mapped=True), points=True)


def counts(make, formula, **options):
    return getattr(sae, make)(formula, domain="area", **options).fit(areas(30))


for name, make, formula, options in (
    ("binomial", "BinomialMixed", "count ~ x", {}),
    ("binomial_prior", "BinomialMixed", "count ~ x + z", {"prior": "half-cauchy(0.5)", "level": 0.9}),
    ("beta_binomial", "BetaBinomialMixed", "count ~ x", {}),
    ("poisson", "PoissonMixed", "count ~ x", {"exposure": "n"}),
    ("beta", "BetaFayHerriot", "rate ~ x", {}),
    ("unmatched_log", "UnmatchedFayHerriot", "money ~ x", {"link": "log", "vardir": "money_var"}),
    ("unmatched_logit", "UnmatchedFayHerriot", "rate ~ x", {"link": "logit", "vardir": "rate_var"}),
    ("you_chapman", "YouChapman", "y ~ x", {"vardir": "s2"}),
):
    add(name, partial(counts, make, formula, **options), points=True)


@case(points=True)
def binomial_benchmarked():
    fit = counts("BinomialMixed", "count ~ x")
    done = fit.benchmark({"north": 0.27, "south": 0.31}, within="group", weights="population", method="logit")
    return {"done": done, "groups": fit.aggregate("group", "population")}


def multivariate(**options):
    frame = areas(24)
    rng = np.random.default_rng(4)
    frame["w"] = 2 - frame["x"] + 0.5 * frame["y"].fillna(5.0) + 0.5 * rng.normal(size=24)
    frame["w_var"], frame["y_w"] = 0.8 * frame["vardir"], 0.3 * frame["vardir"]
    vardir = {"y": "vardir", "w": "w_var", ("y", "w"): "y_w"}
    spec = sae.MultivariateFayHerriot(
        ["y ~ x", "w ~ x"], domain="area", vardir=vardir, method="bayes", **options
    )
    fit = spec.fit(frame)
    return {"fit": fit, "difference": fit.contrast({"y": 1, "w": -1}, name="gap")}


add("multivariate_bayes", multivariate, points=True)
add(
    "multivariate_bayes_diagonal",
    partial(multivariate, structure="diagonal", prior="half-cauchy(0.5)"),
    points=True,
)


@case(chain=True)
def student():
    return sae.StudentFayHerriot("y ~ x", domain="area", draws=400).fit(areas(24), seed=1)


@case(chain=True)
def student_df_4():
    return sae.StudentFayHerriot("y ~ x", domain="area", df=4.0, draws=400).fit(areas(24), seed=2)


@case(chain=True)
def horseshoe():
    return sae.HorseshoeFayHerriot("y ~ x + z + group", domain="area", draws=400).fit(areas(30), seed=1)


@case(chain=True, slow=True)
def inflated_beta():
    frame, _ = panel(8, 3)
    rng = np.random.default_rng(2)
    rate = 1 / (1 + np.exp(2.3 - 0.5 * frame["x"]))
    frame = frame.assign(n_eff=25.0, poor=rng.binomial(25, rate) / 25)
    frame["poor"] = frame["poor"].where(frame["y"].notna())
    spec = sae.InflatedBetaFayHerriot("poor ~ x", domain="area", temporal=sae.AR1("year"), draws=1200)
    return spec.fit(frame, seed=1)


@case(chain=True, slow=True)
def multinomial():
    rng = np.random.default_rng(3)
    x = rng.normal(size=16)
    eta = np.column_stack([1 + 0.5 * x, -1 - 0.3 * x, np.zeros(16)]) + 0.2 * rng.normal(size=(16, 3))
    p = np.exp(eta) / np.exp(eta).sum(axis=1, keepdims=True)
    found = np.array([rng.multinomial(n, q) for n, q in zip(rng.integers(30, 200, 16), p, strict=True)])
    frame = pd.DataFrame(found.astype(float), columns=["employed", "unemployed", "inactive"])
    frame = frame.assign(x=x, city=[f"c{k:02d}" for k in range(16)])
    frame.loc[3, ["employed", "unemployed", "inactive"]] = np.nan
    spec = sae.MultinomialMixed("employed + unemployed + inactive ~ x", domain="city", draws=1600)
    return spec.fit(frame, seed=1)


# ---------------------------------------------------------------- units


def units(size=24):
    rng = np.random.default_rng(12)
    names = [f"A{k:02d}" for k in range(size)]
    area = np.repeat(names, rng.integers(1, 12, size))
    frame = pd.DataFrame(
        {
            "area": area,
            "x": rng.integers(0, 4, len(area)),
            "sex": rng.choice(["f", "m"], len(area)),
        }
    )
    effect = frame["area"].map(dict(zip(names, rng.normal(size=size), strict=True)))
    frame["y"] = 1 + 2 * frame["x"] + (frame["sex"] == "m") + effect + 0.8 * rng.normal(size=len(frame))
    odds = -0.4 + 0.3 * frame["x"] - 0.5 * (frame["sex"] == "m") + 0.6 * effect
    frame["works"] = rng.binomial(1, 1 / (1 + np.exp(-odds)))
    cells = pd.DataFrame(
        [(a, s, k) for a in [*names, "new"] for s in ("f", "m") for k in range(4)],
        columns=["area", "sex", "x"],
    )
    return frame, cells.assign(N=rng.integers(10, 90, len(cells)))


def nested(formula="y ~ x + sex", means=False, sizes=True, **options):
    data, cells = units()
    if means:
        weighted = cells.assign(wx=cells["x"] * cells["N"], m=(cells["sex"] == "m") * cells["N"])
        cells = weighted.groupby("area", as_index=False)[["wx", "m", "N"]].sum()
        cells = cells.assign(**{"x": cells["wx"] / cells["N"], "sex[T.m]": cells["m"] / cells["N"]})
        cells = cells.drop(columns=["wx", "m"])
    population = "N" if sizes else None
    spec = sae.NestedError(formula, domain="area", population=population, replicates=30, **options)
    return spec.fit(data, areas=cells, seed=1 if options.get("mse") == "bootstrap" else None)


for name, options in (
    ("reml", {}),
    ("ml", {"method": "ml"}),
    ("means", {"means": True}),
    ("bootstrap", {"mse": "bootstrap"}),
    ("infinite", {"means": True, "sizes": False}),
    ("bayes", {"method": "bayes"}),
    ("bayes_flat_ratio", {"method": "bayes", "prior": "flat-ratio"}),
    ("bayes_means", {"method": "bayes", "prior": "half-cauchy(1)", "means": True, "sizes": False}),
):
    add(f"nested_{name}", partial(nested, **options))


def of_units(kind, by=(), **options):
    """A linear model of units with weights and known spreads, and the means of its areas or their parts."""
    data, people = units()
    data = data.assign(w=1.0 + data.index % 5, k=1.0 + 0.5 * (data.index % 3))
    means = people.groupby(["area", *by], as_index=False)[["x", "N"]].mean()
    seed = 1 if "replicates" in options else None
    return getattr(sae, kind)("y ~ x", domain="area", **options).fit(data, areas=means, seed=seed)


for name, kind, options in (
    ("nested_weights", "NestedError", {"weights": "w"}),
    ("nested_weights_ml", "NestedError", {"weights": "w", "method": "ml"}),
    ("nested_error_scale", "NestedError", {"error_scale": "k"}),
    ("nested_robust", "RobustNestedError", {"replicates": 10}),
    ("nested_two_fold", "TwoFoldNestedError", {"by": ("sex",), "groups": "sex"}),
    ("nested_two_fold_ml", "TwoFoldNestedError", {"by": ("sex",), "groups": "sex", "method": "ml"}),
):
    add(name, partial(of_units, kind, **options))


def welfare_of_units():
    data, people = units()
    people = people.loc[people.index.repeat(people["N"] // 5)].drop(columns="N").reset_index(drop=True)
    data = data.assign(income=np.exp(7.0 + 0.2 * data["y"]), w=1.0 + data.index % 5)
    data, people = (part.assign(street=(part.index % 4).astype(str)) for part in (data, people))
    return data, people.assign(
        half=np.where(people["area"] < "A12", "north", "south"), p=1 + people.index % 4
    )


def welfare(**options):
    data, people = welfare_of_units()
    indicators = ["mean", "head_count", "gap", "gini", "quintile_share", "median"]
    options = {"threshold": 2_000.0, "indicators": indicators, "draws": 20, **options}
    if options.get("method") not in ("bayes", "ell") and "mse" not in options:
        options["replicates"] = 5
    return sae.EBP("income ~ x + sex", domain="area", **options).fit(data, areas=people, seed=1)


for name, options in (
    ("box_cox", {"transform": "box-cox"}),
    ("log_levels", {"transform": "log", "levels": "half", "groups": "sex", "population_weights": "p"}),
    ("log_shift_wild", {"transform": "log-shift", "mse": "wild"}),
    ("dual_power_ml", {"transform": "dual-power", "method": "ml"}),
    ("weights", {"transform": "log", "weights": "w", "threshold": "60% of the median"}),
    ("empirical", {"transform": "box-cox", "errors": "empirical"}),
    ("heteroscedastic", {"transform": "log", "errors": "heteroscedastic"}),
    ("clusters", {"transform": "box-cox", "clusters": "street"}),
    ("bayes", {"transform": "box-cox", "method": "bayes", "draws": 100}),
    ("ell", {"transform": "log", "method": "ell"}),
):
    add(f"ebp_{name}", partial(welfare, **options))


@case()
def m_quantile():
    data, people = welfare_of_units()
    data = data.assign(income=np.log(data["income"]))
    spec = sae.MQuantile(
        "income ~ x", domain="area", indicators=("mean", "head_count", "median"), threshold=7.5, replicates=10
    )
    return {
        "figures": spec.fit(data, areas=people, seed=1),
        "means": sae.MQuantile("income ~ x", domain="area").fit(data, areas=people),
    }


@case()
def nested_verbs():
    """Groups from the table of means, weights by label."""
    data, cells = units()
    means = cells.groupby("area", as_index=False)["N"].sum().assign(x=1.5)
    means = means.assign(half=np.where(means.index % 2, "north", "south"))
    fit = sae.NestedError("y ~ x", domain="area", population="N").fit(data, areas=means)
    size = dict.fromkeys(fit.estimates["domain"], 1.0) | {"A03": 4.0}
    done = fit.benchmark({"north": 4.3, "south": 4.6}, within="half", weights="N", method="difference")
    return {"done": done, "total": fit.benchmark(4.3, weights=size), "halves": fit.aggregate("half", size)}


@case(points=True, close=0.01)  # its means of areas are those of resampled points
def logit():
    data, cells = units()
    return sae.LogitMixed("works ~ x + sex", domain="area", population="N").fit(data, areas=cells)


@case(points=True, close=0.01)
def logit_prior():
    data, _ = units()
    return sae.LogitMixed("works ~ 1", domain="area", prior="half-normal(0.5)", level=0.9).fit(data)
