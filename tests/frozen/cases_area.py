"""Frozen cases: area-level models by likelihood and moments."""

from functools import partial

import numpy as np
import pandas as pd
from registry import add, areas, case, frame_and_map, panel

import sae


def fay_herriot(formula="y ~ x + z", size=56, seed=None, **options):
    return sae.FayHerriot(formula, domain="area", **options).fit(areas(size), seed=seed)


for method in ("reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml"):
    add(f"fh_{method}", partial(fay_herriot, method=method))
for method in ("reml", "fh"):
    add(f"fh_{method}_few", partial(fay_herriot, method=method, size=18))
for name, formula, options in (
    ("arcsin", "rate ~ x", {"transform": "arcsin"}),
    ("arcsin_naive", "rate ~ x", {"transform": "arcsin", "back": "naive"}),
    ("arcsin_jackknife", "rate ~ x", {"transform": "arcsin", "mse": "jackknife"}),
    ("arcsin_weighted_jackknife", "rate ~ x", {"transform": "arcsin", "mse": "weighted-jackknife"}),
    ("log", "money ~ x", {"transform": "log", "vardir": "money_var", "n_eff": "none"}),
    ("log_crude", "money ~ x", {"transform": "log", "vardir": "money_var", "back": "crude"}),
    ("log_bootstrap", "money ~ x", {"transform": "log", "vardir": "money_var", "mse": "bootstrap"}),
    ("logit", "rate ~ x", {"transform": "logit", "vardir": "rate_var"}),
    ("bootstrap", "y ~ x", {"mse": "bootstrap"}),
    ("bootstrap_corrected", "y ~ x", {"mse": "bootstrap-corrected", "method": "ml"}),
    ("jackknife", "y ~ x", {"mse": "jackknife"}),
    ("weighted_jackknife", "y ~ x", {"mse": "weighted-jackknife", "method": "ml"}),
    ("level_90", "y ~ x * group", {"level": 0.9}),
    ("without_covariates", "y ~ 1", {}),
):
    add(f"fh_{name}", partial(fay_herriot, formula, seed=1, replicates=40, **options))


@case()
def fh_boundary():
    frame = areas()
    return sae.FayHerriot("y ~ x", domain="area").fit(frame.assign(y=1 + frame["x"] + 0.01 * frame["y"]))


@case()
def fh_per():
    """Many fits in one call, an area that the data lack, areas by name from a second table."""
    parts = [areas(size, seed).assign(year=2020 + seed) for size, seed in ((20, 1), (56, 2), (12, 3))]
    data = pd.concat(parts, ignore_index=True)
    table = data[["area", "year", "x"]].sample(frac=1.0, random_state=2)
    table = pd.concat([table, pd.DataFrame({"area": ["new"], "year": [2022], "x": [4.0]})], ignore_index=True)
    spec = sae.FayHerriot("y ~ x", domain="area", per="year")
    return spec.fit(data.drop(columns="x"), areas=table)


@case()
def fh_sources():
    """Two surveys of the same areas, the second biased and in half of them, one area in it alone."""
    first, rng = areas(), np.random.default_rng(5)
    second = first.iloc[::2].assign(survey="second", vardir=first["vardir"] * 2)
    second["y"] += 0.8 + np.sqrt(second["vardir"] / 2) * rng.normal(size=len(second))
    data = pd.concat([first.assign(survey="first").drop(index=4), second], ignore_index=True)
    return sae.FayHerriot("y ~ x", domain="area", source="survey").fit(data)


@case()
def fh_population():
    return fay_herriot("y ~ x", population="population")


@case()
def fh_population_arcsin():
    return fay_herriot("rate ~ x", population="population", transform="arcsin", seed=1, replicates=40)


@case()
def fh_new_areas():
    frame = areas()
    more = pd.concat([frame[["area", "x"]], pd.DataFrame({"area": ["B1", "B2"], "x": [0.1, 5.0]})])
    return sae.FayHerriot("y ~ x", domain="area").fit(frame.drop(columns=["x"]), areas=more)


for name, options in (
    ("sar_reml", {}),
    ("sar_ml", {"method": "ml"}),
    ("sar_bootstrap", {"mse": "bootstrap"}),
    ("sar_nonparametric", {"mse": "nonparametric"}),
):

    def sar(options=options):
        frame, edges = frame_and_map()
        spec = sae.FayHerriot("y ~ x", domain="area", spatial=sae.SAR(edges), replicates=20, **options)
        return spec.fit(frame, seed=1)

    add(f"fh_{name}", sar, close=1e-6)  # a likelihood that is flat in rho
for name, options in (("ar1", {}), ("ar1_rho_0", {"rho": 0.0})):

    def ar1(options=options):
        frame, _ = panel()
        spec = sae.FayHerriot("y ~ x", domain="area", temporal=sae.AR1("year", **options), replicates=20)
        return spec.fit(frame, seed=1)

    add(f"fh_{name}", ar1)


@case()
def fh_sar_maps():
    """The same map as a labelled table, and as `Neighbours`."""
    frame, edges = frame_and_map()
    names = frame["area"].tolist()
    table = pd.DataFrame(0.0, index=names, columns=names)
    for a, b in edges.itertuples(index=False):
        table.loc[a, b] = table.loc[b, a] = 1.0
    maps = {"table": table, "neighbours": sae.auxiliary.neighbours(edges, names)}
    return {
        name: sae.FayHerriot("y ~ x", domain="area", spatial=sae.SAR(one)).fit(frame).estimates
        for name, one in maps.items()
    }


def over_time(**options):
    frame, edges = panel()
    spec = sae.FayHerriot(
        "y ~ x", domain="area", temporal=sae.AR1("year"), replicates=10, spatial=sae.SAR(edges), **options
    )
    return spec.fit(frame, seed=1)


add("fh_sar_ar1", over_time, close=1e-6)  # as the maps alone: another numpy moved a variance by 1.5e-8


@case()
def area_change():
    frame, _ = panel(20)
    whole = frame.groupby("area")["year"].transform("count") == 4
    spec = sae.FayHerriot("y ~ x", domain="area", temporal=sae.AR1("year"), replicates=10)
    return sae.compare.changes(spec.fit(frame[whole], seed=1), 2020, 2023).frame


@case()
def select_bic():
    spec = sae.FayHerriot("y ~ x + z", domain="area", method="ml")
    return {
        "backward": sae.area_level.select(spec, areas()),
        "both": sae.area_level.select(spec, areas(), criterion="kic", direction="both"),
        "bootstrapped": sae.area_level.select(spec, areas(), criterion="kicb2", seed=1, replicates=20),
        "table": sae.area_level.criteria_table(spec, areas(), ["1", "x"], seed=1, replicates=20),
    }


def sub_areas(cities=60):
    rng = np.random.default_rng(8)
    city = np.repeat([f"C{k:02d}" for k in range(cities)], 3)
    frame = pd.DataFrame({"domain": [f"{c}-{k}" for k, c in enumerate(city)], "city": city})
    frame["x"], frame["population"] = rng.normal(size=len(frame)), rng.integers(100, 900, len(frame))
    frame["vardir"] = rng.uniform(0.3, 0.8, len(frame))
    frame["y"] = 1 + frame["x"] + np.repeat(rng.normal(size=cities), 3) + 0.6 * rng.normal(size=len(frame))
    frame["y"] += rng.normal(size=len(frame)) * np.sqrt(frame["vardir"])
    frame.loc[(frame.index % 6 == 0) | (frame["city"] == "C19"), "y"] = np.nan
    return frame


def two_fold(cities=60, **options):
    fit = sae.TwoFoldFayHerriot("y ~ x", area="city", replicates=15, **options).fit(sub_areas(cities), seed=1)
    return {"fit": fit, "cities": fit.aggregate("city", weights="population")}


for name, options in (
    ("reml", {}),
    ("ml", {"method": "ml"}),
    ("bootstrap", {"mse": "bootstrap"}),
    ("few", {"cities": 20}),
):
    add(f"two_fold_{name}", partial(two_fold, **options))

PAIR = {"y": "vardir", "w": "w_var", ("y", "w"): "y_w"}


def pairs(size=56):
    frame = areas(size)
    rng = np.random.default_rng(4)
    frame["w"] = 2 - frame["x"] + 0.5 * frame["y"].fillna(5.0) + 0.5 * rng.normal(size=size)
    frame["w_var"], frame["y_w"] = 0.8 * frame["vardir"], 0.3 * frame["vardir"]
    frame.loc[9, "w"] = np.nan
    return frame


def multivariate(size=56, seed=None, **options):
    spec = sae.MultivariateFayHerriot(["y ~ x", "w ~ x + z"], domain="area", vardir=PAIR, **options)
    return spec.fit(pairs(size), seed=seed)


for name, options in (
    ("reml", {}),
    ("ml", {"method": "ml"}),
    ("few", {"size": 18}),
    ("diagonal", {"structure": "diagonal"}),
    ("common", {"structure": "common"}),
    ("ar1", {"structure": "ar1"}),
    ("har1", {"structure": "har1"}),
    ("bootstrap", {"mse": "bootstrap", "replicates": 5, "seed": 1, "structure": "diagonal"}),
    ("population", {"population": "population"}),
):
    add(f"multivariate_{name}", partial(multivariate, **options))


@case()
def multivariate_contrast():
    fit = multivariate()
    return {
        "difference": fit.contrast({"y": 1, "w": -1}, name="gap"),
        "benchmarked": fit.benchmark(
            {"y": 250.0, "w": 260.0}, within="indicator", method="difference", total=True
        ),
    }


@case()
def multivariate_per():
    frame = pd.concat([pairs(56).assign(year=2024), pairs(20).assign(year=2025)], ignore_index=True)
    spec = sae.MultivariateFayHerriot(["y ~ x", "w ~ x"], domain="area", vardir=PAIR, per="year")
    fit = spec.fit(frame.sample(frac=1.0, random_state=1))
    return {"fit": fit, "difference": fit.contrast({"y": 1, "w": -1})}


def robust(size=56, **options):
    frame = areas(size)
    frame.loc[7, "y"] += 9.0
    return sae.RobustFayHerriot("y ~ x", domain="area", replicates=20, **options).fit(frame, seed=1)


for name, options in (
    ("reblup", {}),
    ("reblupbc", {"predictor": "reblupbc"}),
    ("bootstrap", {"mse": "bootstrap"}),
    ("few", {"size": 20, "k": 2.0}),
):
    add(f"robust_{name}", partial(robust, **options))


@case()
def robust_sar():
    frame, edges = frame_and_map()
    spec = sae.RobustFayHerriot("y ~ x", domain="area", spatial=sae.SAR(edges), replicates=5)
    return spec.fit(frame, seed=1)


@case()
def robust_ar1():
    frame = panel(20, seed=6)[0]
    spec = sae.RobustFayHerriot("y ~ x", domain="area", temporal=sae.AR1("year"), replicates=5)
    return spec.fit(frame, seed=1)


def measured(size=56, formula="y ~ x + z", errors=None, **options):
    frame = areas(size)
    rng = np.random.default_rng(6)
    frame["x_var"], frame["cov"] = 0.3, 0.1
    frame["x"] += np.sqrt(0.3) * rng.normal(size=size)
    errors = errors or {"x": "x_var"}
    return sae.MeasurementErrorFayHerriot(formula, domain="area", errors=errors, **options).fit(frame)


for name, options in (
    ("moments", {}),
    ("few", {"size": 20}),
    ("covariance", {"errors": {"x": "x_var", ("y", "x"): "cov"}}),
    ("bayes", {"method": "bayes"}),
    ("bayes_prior", {"method": "bayes", "prior": "half-cauchy(0.5)"}),
):
    add(f"measured_{name}", partial(measured, **options), points="method" in options)

# ---------------------------------------------------------------- benchmarks and aggregates of fits

NORTH = {"north": 5.1, "south": 4.6}


@case()
def benchmarked():
    """Every method, nested groups, uncertain targets; the draws of the benchmarked."""
    fit = fay_herriot("y ~ x")
    found = {
        method: fit.benchmark(NORTH, within="group", weights="population", method=method)
        for method in ("ratio", "difference", "mse", "optimal")
    }
    found["total"] = fit.benchmark(280.0, total=True)
    found["uncertain"] = fit.benchmark(
        NORTH,
        within="group",
        weights="population",
        method="optimal",
        target_variance={"north": 0.01, "south": 0.02},
    )
    found["twice"] = found["ratio"].benchmark(280.0, method="difference", total=True)
    return found


@case()
def benchmarked_shares():
    fit = fay_herriot("rate ~ x", transform="arcsin", seed=1, replicates=40)
    done = fit.benchmark({"north": 0.28, "south": 0.33}, within="group", weights="population", method="logit")
    return {
        "logit": done,
        "flagged": done.flag("eurostat_silc"),
        "groups": done.aggregate("group", "population"),
    }


@case()
def aggregated():
    fit = fay_herriot("y ~ x")
    return {
        "sums": fit.aggregate("group"),
        "means": fit.aggregate(["group"], weights="population"),
        "labelled": fit.aggregate(
            "group", weights=dict(zip(fit.estimates["domain"], range(1, 57), strict=True))
        ),
    }
