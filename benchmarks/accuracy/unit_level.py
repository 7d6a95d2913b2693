"""Unit-level models beside the area-level forms of the same samples: poverty and mean incomes, known truth.

    python benchmarks/accuracy/unit_level.py              # all worlds, 100 samples (two models 25), writes
    python benchmarks/accuracy/unit_level.py --samples 20 --world eusilc --world ny_nj
    python benchmarks/accuracy/unit_level.py --quick      # 2 samples, prints only

The design of the study:

* Worlds: persons of a finite population, each once, with households. "eusilc": simFrame_eusilcP, region ×
  citizenship (27 areas), equivalised income, 60 % of its median. "ny_nj": the foreign-born of New York and
  New Jersey in 218 PUMAs, income in per cent of the poverty line (0 to 501), line 100. "big_city": 119 strata
  of co_bigcity_population, income a head, 60 % of its median.
* Samples: "eusilc" and "ny_nj" households at random, 5 and 10 %; "big_city" in every stratum every third PSU
  (2 at least) at random and a third of their households. Weights are inverse probabilities; clusters are
  households or PSUs. The stream of sample r is (SEED, world, r).
* Persons of a household with one income in one area are one unit with their number: a clustered error has no
  second row. Unit-level models are fitted to these, the census being all units with their numbers of persons.
* The truth is that of persons. Direct: sae.direct with the design, variances smoothed for the area-level
  models (smoothing="deff"); Fay-Herriot with means of the census as covariates, natural and arcsine scale.
* "linked": the study knows which units of the census the sample has, and they keep their welfare.
  "benchmarked": to the direct head count of all areas, with its variance. "as it stands": mse="bootstrap",
  the error without what the units show the fit to miss. "clusters": an effect of each PSU, in "big_city"
  alone. "h.": errors="heteroscedastic". "share of persons": beside the posterior of the
  expected proportion the variance of the N persons there, a household as one.
* Figures by band of the number of units in the sample: RMSE, bias, coverage of the 95 % intervals with its
  standard error (areas are the clusters), mean length. "sampled" are the areas with a unit.

A model is a line of MODELS: a name, the indicators it gives, and a function of the sample and the world that
returns estimate, ci_low and ci_high by area.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, ndtri
from scipy.special import logit as logit_of

import sae
from sae.errors import SaeError, SaeWarning
from sae.numerics.random.streams import generator

SEED = 20261129
BANDS = ((0, 0), (1, 4), (5, 9), (10, 19), (20, 49), (50, 10**9))
REPLICATES = 50  # of the bootstraps inside a sample
SHARE_OF_SLOW = 4  # models that are there for comparison see a fourth of the samples
SHARED = Path(os.environ.get("SAE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
RESULTS = Path(__file__).resolve().parent / "results"


# ---------------------------------------------------------------- populations


@dataclass(frozen=True)
class World:
    """A finite population of units, and how it is sampled and modelled.

    `units` has area, y, persons (how many the unit stands for), unit (its name), household, stratum, psu and
    the covariates.
    """

    name: str
    units: pd.DataFrame
    threshold: float
    formula: str  # right-hand side of the unit-level models
    area_formula: str  # of the area-level models: names of columns of `areas`
    areas: pd.DataFrame  # one row per area
    draw: Callable[[World, np.random.Generator], pd.DataFrame]
    clusters: str | None = None  # column of units that are alike: of a two-stage sample

    @property
    def truth(self) -> pd.DataFrame:
        """Truth by area: head count and mean of persons."""
        units = self.units
        poor = (units["y"] < self.threshold) * units["persons"]
        sums = pd.DataFrame(
            {"head_count": poor, "mean": units["y"] * units["persons"], "persons": units["persons"]}
        )
        sums = sums.groupby(units["area"]).sum()
        return sums[["head_count", "mean"]].div(sums["persons"], axis=0)


def collapse(persons: pd.DataFrame, covariates: list[str]) -> pd.DataFrame:
    """Make one unit of the persons of a household with one income in one area; the first one's covariates."""
    keys = ["household", "area", "y"]
    grouped = persons.groupby(keys, sort=False, observed=True)
    units = grouped[[*covariates, "stratum", "psu"]].first()
    units = units.assign(persons=grouped.size()).reset_index()
    return units.assign(unit=units.index)


def area_means(units: pd.DataFrame, columns: dict[str, pd.Series]) -> pd.DataFrame:
    """Return means over persons by area."""
    weight = units["persons"]
    table = pd.DataFrame({name: values.astype(float) * weight for name, values in columns.items()})
    sums = table.assign(N=weight).groupby(units["area"]).sum()
    means = sums[list(columns)].div(sums["N"], axis=0)
    return means.assign(N=sums["N"]).reset_index().rename(columns={"area": "domain"})


def simple(fraction: float) -> Callable[[World, np.random.Generator], pd.DataFrame]:
    """Return the design that takes households at random."""

    def draw(world: World, rng: np.random.Generator) -> pd.DataFrame:
        households = world.units["household"].unique()
        taken = round(fraction * len(households))
        chosen = rng.choice(households, taken, replace=False)
        sample = world.units[world.units["household"].isin(chosen)]
        return sample.assign(weight=len(households) / taken, stratum="all", psu=sample["household"])

    return draw


def two_stage(world: World, rng: np.random.Generator) -> pd.DataFrame:
    """Take a third of the PSUs of every stratum, two at least, and of each a third of its households."""
    households = world.units[["stratum", "psu", "household"]].drop_duplicates()
    parts = []
    for _, stratum in households.groupby("stratum", sort=True):
        codes = stratum["psu"].unique()
        some = min(len(codes), max(2, round(len(codes) / 3)))
        for psu in rng.choice(codes, some, replace=False):
            inside = stratum.loc[stratum["psu"] == psu, "household"].to_numpy()
            taken = max(1, round(len(inside) / 3))
            weight = len(codes) / some * len(inside) / taken
            chosen = rng.choice(inside, taken, replace=False)
            parts.append(pd.DataFrame({"household": chosen, "weight": weight}))
    return world.units.merge(pd.concat(parts), on="household", validate="many_to_one")


def eusilc() -> World:
    """Read the synthetic Austrian population, by region × citizenship."""
    persons = pd.read_csv(SHARED / "data" / "simFrame_eusilcP.csv.gz", dtype={"hid": str})
    persons["citizen"] = persons["citizenship"].fillna("AT")  # not asked of children
    persons["area"] = persons["region"] + " / " + persons["citizen"]
    main = persons[persons["main"]].drop_duplicates("hid").set_index("hid")
    head = persons["hid"].map(main["ecoStat"].fillna(0).astype(int).astype(str))
    persons["work"] = head.map({"1": "full", "2": "part", "3": "none", "5": "retired"}).fillna("other")
    age = persons["hid"].map(main["age"])
    persons["age_class"] = pd.cut(age, [-9, 29, 44, 59, 200], labels=["29", "44", "59", "60"]).astype(str)
    persons["woman"] = (persons["hid"].map(main["gender"]) == "female").astype(int)
    persons["size"] = persons["hsize"].clip(upper=5).astype(str)
    persons["foreign"] = persons["citizen"].map({"AT": "no", "EU": "EU", "Other": "other"})
    persons = persons.rename(columns={"hid": "household", "eqIncome": "y", "region": "stratum"})
    persons["psu"] = persons["household"]
    units = collapse(persons, ["work", "age_class", "woman", "size", "foreign"])
    means = area_means(
        units,
        {
            "no_work": units["work"].isin(["none", "other"]),
            "other_citizen": units["foreign"] == "other",
            "large": units["size"].isin(["4", "5"]),
        },
    )
    line = 0.6 * float(persons["y"].median())
    formula = "work + age_class + woman + size + foreign"
    return World("eusilc", units, line, formula, "no_work + other_citizen + large", means, simple(0.05))


def ny_nj() -> World:
    """Read the foreign-born of New York and New Jersey, by PUMA."""
    columns = [
        "HHID",
        "STATE",
        "PUMA",
        "NATIVITY",
        "AGEP",
        "SEX",
        "CIT",
        "ENG",
        "SCHL",
        "TEN",
        "ESR",
        "POVPIP",
    ]
    path = SHARED / "data" / "real" / "us_pums2024_ny_nj_persons.csv.gz"
    persons = pd.read_csv(path, usecols=columns, dtype={"HHID": str, "STATE": str, "PUMA": str})
    persons = persons[(persons["NATIVITY"] == 2) & persons["POVPIP"].notna()]
    persons["area"] = persons["STATE"] + "-" + persons["PUMA"]
    persons["age_class"] = pd.cut(
        persons["AGEP"], [-1, 17, 34, 64, 120], labels=["17", "34", "64", "99"]
    ).astype(str)
    school = pd.cut(persons["SCHL"].fillna(0), [-1, 15, 20, 30], labels=["low", "middle", "high"])
    persons["school"] = school.astype(str)
    persons["work"] = (persons["ESR"].isin([1, 2, 4, 5])).astype(int)
    persons["citizen"] = (persons["CIT"] != 5).astype(int)
    persons["english"] = (persons["ENG"].fillna(0) >= 3).astype(int)
    persons["renter"] = (persons["TEN"] == 3).astype(int)
    persons = persons.rename(columns={"HHID": "household", "POVPIP": "y", "STATE": "stratum"})
    persons["psu"] = persons["household"]
    # the household's covariates are those of its member with the best schooling
    persons = persons.sort_values(["household", "SCHL"], ascending=[True, False], kind="stable")
    units = collapse(persons, ["age_class", "school", "work", "citizen", "english", "renter"])
    units["size"] = units["persons"].clip(upper=3).astype(str)  # foreign-born of the household
    means = area_means(
        units,
        {
            "alone": units["size"] == "1",
            "pairs": units["size"] == "2",
            "no_work": units["work"] == 0,
            "low_school": units["school"] == "low",
            "no_english": units["english"] == 1,
            "renters": units["renter"] == 1,
            "no_citizen": units["citizen"] == 0,
        },
    )
    formula = "age_class + school + work + citizen + english + renter + size"
    right = "no_work + low_school + no_english + renters + no_citizen + alone + pairs"
    return World("ny_nj", units, 100.0, formula, right, means, simple(0.10))


def big_city() -> World:
    """Read a city, by stratum, sampled in two stages."""
    persons = pd.read_csv(SHARED / "data" / "real" / "co_bigcity_population.csv.gz", dtype=str)
    persons["y"] = persons["Income"].astype(float)
    persons["area"] = persons["stratum"] = persons["Stratum"]
    persons["size"] = persons.groupby("HHID")["HHID"].transform("size").clip(upper=6).astype(str)
    employed = (persons["Employment"] == "Employed").groupby(persons["HHID"]).transform("mean")
    persons["employed"] = employed.round(3)
    age = persons["Age"].astype(float).groupby(persons["HHID"]).transform("max")
    persons["age_class"] = pd.cut(age, [-1, 34, 54, 200], labels=["34", "54", "99"]).astype(str)
    persons["zone"] = persons["Zone"]
    persons = persons.rename(columns={"HHID": "household", "PSU": "psu"})
    units = collapse(persons, ["size", "employed", "age_class", "zone"])
    means = area_means(
        units,
        {
            "rural": units["zone"] == "Rural",
            "work": units["employed"],
            "large": units["size"].isin(["5", "6"]),
            "old": units["age_class"] == "99",
        },
    )
    line = 0.6 * float(persons["y"].median())
    formula = "zone + size + employed + age_class"
    return World("big_city", units, line, formula, "rural + work + large + old", means, two_stage, "psu")


WORLDS = {"eusilc": eusilc, "ny_nj": ny_nj, "big_city": big_city}


# ---------------------------------------------------------------- models


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample: its units, and by indicator the direct estimates of persons with smoothed variances.

    `national` is the direct head count of all areas, with its variance.
    """

    world: World
    units: pd.DataFrame
    direct: dict[str, pd.DataFrame]  # domain, n, direct, vardir, n_eff, ci_low, ci_high
    seed: int
    national: tuple[float, float]

    @property
    def census(self) -> pd.DataFrame:
        """All units without their outcome."""
        return self.world.units.drop(columns=["y", "household", "stratum"])

    @property
    def persons(self) -> dict[str, int]:
        """Persons of each area."""
        return self.world.units.groupby("area")["persons"].sum().to_dict()


def take(world: World, replication: int) -> Sample:
    """Draw a sample and make its direct estimates."""
    units = world.draw(world, generator(SEED, world.name, replication)).reset_index(drop=True)
    persons = units.loc[units.index.repeat(units["persons"])].reset_index(drop=True)
    persons["poor"] = (persons["y"] < world.threshold).astype(float)
    columns = persons[["area", "poor", "y", "weight", "stratum", "psu"]]
    survey = sae.Survey.from_frame(columns, weights="weight", psu="psu", strata="stratum")
    direct = {}
    for indicator, column in (("head_count", "poor"), ("mean", "y")):
        plain = sae.direct(survey, column, by=["area"]).to_frame().set_index("area")
        table = plain[["n", "estimate", "ci_low", "ci_high", "vardir"]].astype(float)
        if indicator == "head_count":
            smooth = sae.direct(survey, column, by=["area"], smoothing="deff").to_frame().set_index("area")
            table[["vardir", "n_eff"]] = smooth[["vardir", "n_eff"]].astype(float)
        else:  # one coefficient of variation of a person, as areas of few have none of their own
            relative = table["vardir"] * table["n"] / table["estimate"] ** 2
            table["vardir"] = (
                relative[table["n"] >= 10].median() * table["estimate"].median() ** 2 / table["n"]
            )
            table["n_eff"] = table["n"]
        direct[indicator] = table
    whole = sae.direct(survey, "poor").to_frame().iloc[0]
    national = float(whole["estimate"]), float(whole["vardir"])
    return Sample(world, units, direct, SEED + replication, national)


Estimates = dict[str, pd.DataFrame]  # by indicator: estimate, ci_low, ci_high by area


def direct(sample: Sample) -> Estimates:
    """Return the direct estimates with the intervals of the table."""
    return {name: table[["estimate", "ci_low", "ci_high"]] for name, table in sample.direct.items()}


def fay_herriot(transform: str | None = None) -> Callable[[Sample], Estimates]:
    """Return the area-level form, on the natural or the arcsine scale (shares alone)."""

    def estimate(sample: Sample) -> Estimates:
        made = {}
        for name, table in sample.direct.items():
            if transform and name != "head_count":
                continue
            data = (
                table.rename(columns={"estimate": name})
                .rename_axis("domain")
                .reset_index()[["domain", name, "vardir", "n_eff", "n"]]
            )
            spec = sae.FayHerriot(f"{name} ~ {sample.world.area_formula}", transform=transform)
            made[name] = ends(
                spec.fit(data, areas=sample.world.areas, seed=sample.seed), share=name == "head_count"
            )
        return made

    return estimate


def nested_error(sample: Sample) -> Estimates:
    """Return the EBLUP of the mean."""
    spec = sae.NestedError(f"y ~ {sample.world.formula}", domain="area", population="persons")
    return {"mean": ends(spec.fit(sample.units, areas=sample.census))}


@lru_cache(maxsize=8)
def ebp_fit(
    sample: Sample, method: str, errors: str, mse: str, linked: bool, clusters: bool
) -> sae.results.Result:
    """Return the EBP on the Box-Cox scale."""
    spec = sae.EBP(
        f"y ~ {sample.world.formula}",
        domain="area",
        population_weights="persons",
        indicators=["head_count", "mean"],
        threshold=sample.world.threshold,
        method=method,
        errors=errors,
        mse=mse,
        linked="unit" if linked else None,
        clusters=sample.world.clusters if clusters else None,
        **({} if method == "bayes" else {"replicates": REPLICATES}),
    )
    return spec.fit(sample.units, areas=sample.census, seed=sample.seed)


def ebp(
    method: str = "reml",
    errors: str = "normal",
    *,
    mse: str = "auto",
    linked: bool = False,
    clusters: bool = False,
    national: bool = False,
) -> Callable[[Sample], Estimates]:
    """Return figures of the EBP; or head counts that meet the direct one of all areas."""

    def estimate(sample: Sample) -> Estimates:
        if clusters and sample.world.clusters is None:
            return {}
        fit = ebp_fit(sample, method, errors, mse, linked, clusters)
        if national:
            target, variance = sample.national
            fit = fit.benchmark(
                {"head_count": target},
                within="indicator",
                weights=sample.persons,
                method="logit",
                target_variance={"head_count": variance},
            )
        made = {name: columns(part) for name, part in fit.to_frame().groupby("indicator")}
        return {"head_count": made["head_count"]} if national else made

    return estimate


@lru_cache(maxsize=2)
def logit_table(sample: Sample) -> pd.DataFrame:
    """Return the table of the logit model of poor and not poor."""
    units = sample.units.assign(poor=(sample.units["y"] < sample.world.threshold).astype(int))
    spec = sae.LogitMixed(f"poor ~ {sample.world.formula}", domain="area", population="persons")
    return spec.fit(units, areas=sample.census).to_frame()


def logit(*, finite: bool) -> Callable[[Sample], Estimates]:
    """Return head counts by the logit model, as expected proportions or as those of the persons there."""

    def estimate(sample: Sample) -> Estimates:
        table = logit_table(sample)
        made = columns(table)
        if finite:
            size = sample.census.groupby("area")["persons"]
            alike = (size.agg(lambda n: (n**2).sum()) / size.sum() ** 2).reindex(made.index)
            share = made["estimate"]
            within = share * (1.0 - share)
            mse = table["mse"].astype(float).to_numpy() + alike * within
            half = ndtri(0.975) * np.sqrt(mse) / within
            made = made.assign(ci_low=expit(logit_of(share) - half), ci_high=expit(logit_of(share) + half))
        return {"head_count": made}

    return estimate


def ends(fit: sae.results.Result, *, share: bool = False) -> pd.DataFrame:
    """Return estimates and intervals of a fit by area, shares inside [0, 1]."""
    table = columns(fit.to_frame())
    return table.assign(**{name: table[name].clip(0.0, 1.0) for name in table}) if share else table


def columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return estimate and interval by area."""
    return table.set_index(table["domain"].astype(str))[["estimate", "ci_low", "ci_high"]].astype(float)


MODELS: dict[str, Callable[[Sample], Estimates]] = {
    "direct": direct,
    "FH": fay_herriot(),
    "FH arcsine": fay_herriot("arcsin"),
    "nested error": nested_error,
    "EBP as it stands": ebp(mse="bootstrap"),
    "EBP": ebp(),
    "EBP benchmarked": ebp(national=True),
    "EBP linked": ebp(linked=True),
    "EBP linked benchmarked": ebp(linked=True, national=True),
    "EBP clusters": ebp(clusters=True),
    "EBP clusters linked": ebp(clusters=True, linked=True),
    "EBP clusters linked benchmarked": ebp(clusters=True, linked=True, national=True),
    "EBP h.": ebp(errors="heteroscedastic"),
    "EBP h. benchmarked": ebp(errors="heteroscedastic", national=True),
    "EBP h. linked": ebp(errors="heteroscedastic", linked=True),
    "EBP h. linked benchmarked": ebp(errors="heteroscedastic", linked=True, national=True),
    "EBP Bayes": ebp("bayes"),
    "logit": logit(finite=False),
    "logit, share of persons": logit(finite=True),
}


SLOW = ("EBP as it stands", "EBP Bayes")

# ---------------------------------------------------------------- figures


def replicate(world: World, replication: int, models: list[str]) -> pd.DataFrame:
    """Return one row per model, indicator and area of one sample; a model that refuses it has no rows."""
    sample, truth, rows = take(world, replication), world.truth, []
    n = sample.units.groupby("area").size().reindex(truth.index).fillna(0).astype(int)
    for model in models:
        start = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SaeWarning)
                made = MODELS[model](sample)
        except SaeError as error:
            print(f"{world.name}, sample {replication}, {model}: {error}")
            continue
        for indicator, table in made.items():
            found, true = table.reindex(truth.index), truth[indicator]
            rows.append(
                pd.DataFrame(
                    {
                        "indicator": indicator,
                        "model": model,
                        "replication": replication,
                        "n": n,
                        "error": found["estimate"] - true,
                        "covered": (found["ci_low"] <= true) & (true <= found["ci_high"]),
                        "length": found["ci_high"] - found["ci_low"],
                        "seconds": time.perf_counter() - start,
                    }
                )
            )
    return pd.concat(rows)


def figures(errors: pd.DataFrame) -> pd.DataFrame:
    """Return RMSE, bias, coverage and length by indicator, band and model."""
    rows = []
    bands = {
        f"n {low}" if low == high else f"n {low}-{high}" if high < 10**9 else f"n {low}+": errors[
            "n"
        ].between(low, high)
        for low, high in BANDS
    }
    for band, inside in {**bands, "sampled": errors["n"] > 0, "all": errors["n"] >= 0}.items():
        for (indicator, model), cell in errors[inside].groupby(["indicator", "model"], sort=False):
            error, covered = cell["error"], cell["covered"].astype(float)
            if error.isna().any():  # direct where there is no sample
                continue
            sums = (covered - covered.mean()).groupby(level=0).sum()
            rows.append(
                {
                    "indicator": indicator,
                    "band": band,
                    "model": model,
                    "samples": cell["replication"].nunique(),
                    "cells": len(cell),
                    "rmse": float(np.sqrt((error**2).mean())),
                    "bias": float(error.mean()),
                    "coverage": float(covered.mean()),
                    "coverage_se": float(np.sqrt((sums**2).sum()) / len(cell)),
                    "length": float(cell["length"].mean()),
                }
            )
    return pd.DataFrame(rows).sort_values(["indicator", "band"], kind="stable")


def show(world: World, table: pd.DataFrame, errors: pd.DataFrame) -> None:
    """Print RMSE and coverage by band and model."""
    order = list(dict.fromkeys([name for name in MODELS if name in set(table["model"])]))
    for indicator, part in table.groupby("indicator"):
        for value in ("rmse", "coverage", "bias"):
            wide = part.pivot_table(index="band", columns="model", values=value, sort=False)
            shown = "{:.1f}" if indicator == "mean" and value != "coverage" else "{:.4f}"
            kept = [name for name in order if name in wide]
            text = wide[kept].to_string(float_format=shown.format, na_rep="")
            print(f"{world.name}, {indicator}, {value}\n{text}\n")
    seconds = errors.groupby("model")["seconds"].mean()
    print("seconds a sample:", ", ".join(f"{name} {seconds[name]:.2f}" for name in order), end="\n\n")


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2 samples, nothing written")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--world", action="append", choices=list(WORLDS))
    parser.add_argument("--model", action="append", choices=list(MODELS))
    asked = parser.parse_args()
    samples = 2 if asked.quick else asked.samples
    for name in asked.world or WORLDS:
        world = WORLDS[name]()
        models = asked.model or list(MODELS)
        few = -(-samples // SHARE_OF_SLOW)
        errors = pd.concat(
            replicate(world, r, [one for one in models if r < few or one not in SLOW]) for r in range(samples)
        )
        table = figures(errors)
        show(world, table, errors)
        if not asked.quick:
            write(world, table, samples)


def write(world: World, table: pd.DataFrame, samples: int) -> None:
    """Write the figures of a world."""
    RESULTS.mkdir(exist_ok=True)
    rows = json.loads(table.round(4).to_json(orient="records"))
    lines = ",\n".join(json.dumps(list(row.values())) for row in rows)
    head = {"seed": SEED, "samples": samples, "world": world.name, "replicates": REPLICATES}
    names = json.dumps(list(rows[0]))
    text = f'{json.dumps(head)[:-1]},\n"columns": {names},\n"figures": [\n{lines}\n]}}\n'
    (RESULTS / f"unit_level_{world.name}.json").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
