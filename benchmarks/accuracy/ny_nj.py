"""Direct and model estimates against a known truth: the foreign-born of New York and New Jersey.

    python benchmarks/accuracy/ny_nj.py                       # 100 samples, writes results/ny_nj.json
    python benchmarks/accuracy/ny_nj.py --quick               # 10 samples, prints only
    python benchmarks/accuracy/ny_nj.py --write FOLDER        # one sample and the areas file, for `sae run`

The rules, fixed before any result was seen:

* Population: the 304,533 persons in 135,809 households of ``us_pums2024_ny_nj_persons``, taken as a
  finite population, each person once. Truth: the unweighted rates of ``us_pums2024_ny_nj_puma_truth``,
  group foreign_born, 218 PUMAs: employment rate 20-64 (23 to 884 persons) and poverty rate.
* Sample r: 10 % of the households by simple random sampling without replacement over both states, all
  their persons; weight N/n; households are the clusters, fpc = N. Its stream is (SEED, "ny_nj", r).
* Direct: sae.direct on the foreign-born subset; its interval is the table's own (Korn-Graubard).
* Models: Fay-Herriot by REML on the identity scale and on the arcsine scale, with the nine COVARIATES
  below and intercept, sampling variances smoothed by one pooled design effect (smoothing="deff"). The
  models describe the rate behind the finite population, so their sampling variance is the design's
  without its factor 1 - f.
* The plain predictor of a PUMA is the model's estimate with the model's interval. The finite-population
  predictor is f·direct + (1 - f)·model, f = n/N of the PUMA's own group (N known). Its variance is (1 -
  f)² MSE + (1 - f)² V/(N - n), V = deff·m(1 - m) at the model's estimate m: the second term is the
  chance of the N - n persons not asked. Interval: ±1.96 standard errors, cut to [0, 1].
* A PUMA without a sampled person of the group has no direct estimate: the model predicts it from its
  covariates, f = 0, and it is the band n = 0. The direct figures leave it out; "all with a sample"
  compares the same PUMAs.
* Covariates are census-like, free of error, computed from all persons of the PUMA, and none is the
  target: the two outcomes enter for the native-born only, the foreign-born with their education,
  English, age, sex, citizenship.
* Figures over samples × PUMAs: mean absolute error, root mean squared error, bias, coverage of the 95 %
  intervals and their mean length, by the group's sample size in the PUMA; over all sizes also area_rmse,
  the mean over PUMAs of each PUMA's own root mean squared error over the samples.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import sae
from sae.errors import BoundaryVarianceWarning, SaeWarning
from sae.numerics.streams import generator

SEED = 20260101
FRACTION = 0.10
Z95 = 1.959963984540054
BANDS = ((0, 0), (1, 4), (5, 9), (10, 19), (20, 39), (40, 10**9))
COVARIATES = (
    "native_employment",  # employed, of the native-born aged 20-64
    "native_poverty",  # poor, of the native-born
    "foreign_share",  # foreign-born, of everybody
    "noncitizen_share",  # not a citizen, of the foreign-born
    "foreign_tertiary",  # bachelor or more, of the foreign-born aged 25-64
    "foreign_limited_english",  # English not well or not at all, of the foreign-born aged 5 and over
    "foreign_women",  # women, of the foreign-born aged 20-64
    "foreign_55_64",  # aged 55-64, of the foreign-born aged 20-64
    "renters",  # living in rented housing, of everybody
)
INDICATORS = {
    "employment_rate": ("employment_rate_20_64", "n_20_64"),
    "poverty_rate": ("poverty_rate", "n_poverty_universe"),
}
SHARED = Path(os.environ.get("SAE_SHARED", Path(__file__).resolve().parents[3] / "shared"))
RESULTS = Path(__file__).resolve().parent / "results"


# ---------------------------------------------------------------- population


@dataclass(frozen=True)
class Population:
    """The finite population: persons sorted by household, the truth and the covariates by PUMA."""

    persons: pd.DataFrame
    first: np.ndarray  # first record of each household
    size: np.ndarray  # persons of each household
    truth: pd.DataFrame  # index geo; columns of INDICATORS' truths and counts
    areas: pd.DataFrame  # geo and COVARIATES


def read_population(folder: Path) -> Population:
    """Read the persons through the known layout, and the truth; compute the covariates."""
    survey = sae.read_survey(folder / "us_pums2024_ny_nj_persons.csv.gz", layout="us_pums")
    persons = survey.frame.sort_values(["HHID", "SPORDER"], kind="stable", ignore_index=True)
    household = persons["HHID"].astype(str).to_numpy()
    first = np.flatnonzero(np.append(True, household[1:] != household[:-1]))
    truth = pd.read_csv(folder / "us_pums2024_ny_nj_puma_truth.csv", dtype={"STATE": str, "PUMA": str})
    truth = truth[truth["group"] == "foreign_born"]
    truth = truth.assign(geo=truth["STATE"] + "-" + truth["PUMA"]).set_index("geo").sort_index()
    areas = covariates(persons)
    if areas["geo"].tolist() != truth.index.tolist():
        raise SystemExit("The PUMAs of the persons and of the truth differ.")
    kept = persons[["geo", "age", "labour_status", "birth", "poor"]].assign(
        household=pd.factorize(household)[0]
    )
    return Population(kept, first, np.diff(np.append(first, len(persons))), truth, areas)


def covariates(persons: pd.DataFrame) -> pd.DataFrame:
    """Return one row per PUMA with the nine COVARIATES, over all persons of the file."""
    number = {
        name: pd.to_numeric(persons[name]).to_numpy(float) for name in ("CIT", "SCHL", "ENG", "TEN", "SEX")
    }
    age, status = persons["age"].to_numpy(float), persons["labour_status"]
    foreign = (persons["birth"] == "foreign").to_numpy()
    poor = pd.to_numeric(persons["poor"]).to_numpy(float)
    working = (age >= 20) & (age <= 64)
    shares = {
        "native_employment": ((status == "employed").to_numpy(), working & ~foreign),
        "native_poverty": (poor == 1, ~np.isnan(poor) & ~foreign),
        "foreign_share": (foreign, np.ones(len(age), dtype=bool)),
        "noncitizen_share": (number["CIT"] == 5, foreign),
        "foreign_tertiary": (number["SCHL"] >= 21, foreign & (age >= 25) & (age <= 64)),
        "foreign_limited_english": (number["ENG"] >= 3, foreign & (age >= 5)),
        "foreign_women": (number["SEX"] == 2, foreign & working),
        "foreign_55_64": (age >= 55, foreign & working),
        "renters": (number["TEN"] == 3, np.ones(len(age), dtype=bool)),
    }
    codes, geo = pd.factorize(persons["geo"].astype(str), sort=True)
    table = {
        name: np.bincount(codes[part & whole], minlength=len(geo))
        / np.bincount(codes[whole], minlength=len(geo))
        for name, (part, whole) in shares.items()
    }
    return pd.DataFrame({"geo": geo, **{name: table[name] for name in COVARIATES}})


def draw(population: Population, replication: int) -> pd.DataFrame:
    """Return the persons of a 10 % household sample, with weight, household and the number of households."""
    rng = generator(SEED, "ny_nj", replication)
    households = len(population.first)
    taken = round(FRACTION * households)
    chosen = np.sort(rng.choice(households, taken, replace=False))
    size = population.size[chosen]
    rows = np.repeat(population.first[chosen] - (np.cumsum(size) - size), size) + np.arange(size.sum())
    sample = population.persons.iloc[rows].reset_index(drop=True)
    return sample.assign(weight=households / taken, households=float(households))


# ---------------------------------------------------------------- estimators


def direct_estimates(sample: pd.DataFrame, indicator: str) -> sae.DirectEstimates:
    """Direct estimates of the foreign-born by PUMA, variances smoothed by a pooled design effect."""
    survey = sae.Survey.from_frame(sample, weights="weight", psu="household", fpc="households")
    return sae.direct(survey.subset("birth == 'foreign'"), indicator, by=["geo"], smoothing="deff")


def fay_herriot(transform: str | None) -> Callable[[pd.DataFrame, str, int], pd.DataFrame]:
    """Return the estimator of one Fay-Herriot model: (areas with direct, indicator, seed) to a table."""

    def estimate(frame: pd.DataFrame, indicator: str, seed: int) -> pd.DataFrame:
        formula = f"{indicator} ~ {' + '.join(COVARIATES)}"
        fit = sae.FayHerriot(formula, domain="geo", transform=transform).fit(frame, seed=seed)
        columns = ["domain", "estimate", "mse", "ci_low", "ci_high"]
        return fit.estimates[columns].set_index("domain").astype(float)

    return estimate


MODELS: dict[str, Callable[[pd.DataFrame, str, int], pd.DataFrame]] = {
    "FH identity": fay_herriot(None),
    "FH arcsine": fay_herriot("arcsin"),
}


def finite(model: pd.DataFrame, direct: pd.DataFrame, count: pd.Series, deff: float) -> pd.DataFrame:
    """Return f·direct + (1 - f)·model for rates over `count` persons, with its variance (see the top)."""
    f = direct["n"] / count
    estimate = f * direct["estimate"].fillna(0.0) + (1.0 - f) * model["estimate"]
    inside = model["estimate"].clip(0.01, 0.99)
    chance = deff * inside * (1.0 - inside) / (count - direct["n"]).clip(lower=1)
    se = (1.0 - f) * np.sqrt(model["mse"] + chance)
    return pd.DataFrame(
        {
            "estimate": estimate,
            "mse": se**2,
            "ci_low": (estimate - Z95 * se).clip(lower=0.0),
            "ci_high": (estimate + Z95 * se).clip(upper=1.0),
        }
    )


def replicate(population: Population, replication: int) -> pd.DataFrame:
    """Return one row per indicator, method and PUMA: n, error, covered, length, boundary."""
    sample = draw(population, replication)
    rows = []
    for indicator, (truth, count) in INDICATORS.items():
        table = direct_estimates(sample, indicator).to_frame().set_index("geo")
        table = table.reindex(population.truth.index)  # a PUMA without any foreign-born person has no row
        direct = (
            table[["n", "estimate", "ci_low", "ci_high", "vardir", "n_eff"]].astype(float).fillna({"n": 0.0})
        )
        known = population.truth[count]
        deff = float((direct["n"] / direct["n_eff"]).median()) / (1.0 - FRACTION)
        frame = population.areas.assign(
            **{indicator: direct["estimate"].to_numpy()},
            vardir=direct["vardir"].to_numpy() / (1.0 - FRACTION),
            n_eff=direct["n_eff"].to_numpy() * (1.0 - FRACTION),
        )
        estimates, boundary = {"direct": direct}, {}
        for number, (name, model) in enumerate(MODELS.items()):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", SaeWarning)
                fitted = model(frame, indicator, SEED + 1000 * number + replication).reindex(direct.index)
            boundary[name] = any(issubclass(one.category, BoundaryVarianceWarning) for one in caught)
            estimates[name] = fitted
            estimates[f"{name}, finite"] = finite(fitted, direct, known, deff)
        true = population.truth[truth]
        for name, one in estimates.items():
            rows.append(
                pd.DataFrame(
                    {
                        "indicator": indicator,
                        "method": name,
                        "replication": replication,
                        "n": direct["n"].astype(int),
                        "error": one["estimate"] - true,
                        "covered": (one["ci_low"] <= true) & (true <= one["ci_high"]),
                        "length": one["ci_high"] - one["ci_low"],
                        "boundary": boundary.get(name, False),
                    }
                )
            )
    return pd.concat(rows)


# ---------------------------------------------------------------- figures


def by_area(error: pd.Series) -> float:
    """Return the mean over PUMAs of each PUMA's root mean squared error over the samples."""
    return float(np.sqrt((error**2).groupby(level="geo").mean()).mean())


def figures(errors: pd.DataFrame) -> pd.DataFrame:
    """Return MAE, RMSE, bias, coverage and length by indicator, band and method."""
    sampled = errors[errors["n"] > 0]
    parts = {f"n {low}" if low == high else f"n {low}-{high}" if high < 10**9 else f"n {low}+":
             errors[errors["n"].between(low, high)] for low, high in BANDS}  # fmt: skip
    rows = []
    for band, part in {**parts, "all with a sample": sampled, "all": errors}.items():
        for (indicator, method), cell in part.groupby(["indicator", "method"], sort=False):
            error = cell["error"].dropna()
            if len(error) < len(cell):  # direct where there is no sample
                continue
            rows.append(
                {
                    "indicator": indicator,
                    "band": band,
                    "method": method,
                    "cells": len(cell),
                    "mae": error.abs().mean(),
                    "rmse": float(np.sqrt((error**2).mean())),
                    "area_rmse": by_area(error) if band.startswith("all") else np.nan,
                    "bias": error.mean(),
                    "coverage": cell["covered"].mean(),
                    "length": cell["length"].mean(),
                }
            )
    return pd.DataFrame(rows)


def show(table: pd.DataFrame) -> str:
    """Return the figures as text, one block per indicator."""
    blocks = []
    for indicator, part in table.groupby("indicator", sort=False):
        text = part.drop(columns="indicator").to_string(index=False, float_format="{:.4f}".format)
        blocks.append(f"{indicator}, foreign-born, 218 PUMAs\n{text}")
    return "\n\n".join(blocks)


def write_inputs(population: Population, folder: Path) -> None:
    """Write sample 0 and the areas file, as the command line takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(population, 0).to_parquet(folder / "ny_nj_sample.parquet", index=False)
    population.areas.to_csv(folder / "ny_nj_areas.csv", index=False, lineterminator="\n", encoding="utf-8")


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="10 samples, nothing written")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument(
        "--write", type=Path, help="write one sample and the areas file to this folder, and stop"
    )
    asked = parser.parse_args()
    population = read_population(SHARED / "data" / "real")
    if asked.write:
        write_inputs(population, asked.write)
        return
    samples = 10 if asked.quick else asked.samples
    start = time.perf_counter()
    errors = pd.concat(replicate(population, r) for r in range(samples))
    table = figures(errors)
    fits = errors.groupby(["indicator", "method", "replication"], sort=False)["boundary"].first()
    zero = fits.groupby(["indicator", "method"], sort=False).sum()
    boundary = {f"{indicator}, {method}": int(count) for (indicator, method), count in zero.items() if count}
    print(show(table))
    print(f"\nfits with a model variance of exactly 0, of {samples}: {boundary or 'none'}")
    print(f"\n{samples} samples, {time.perf_counter() - start:.0f} s")
    if not asked.quick:
        RESULTS.mkdir(exist_ok=True)
        content = {
            "seed": SEED,
            "samples": samples,
            "variance_zero": boundary,
            "figures": json.loads(table.round(5).to_json(orient="records")),
        }
        text = json.dumps(content, indent=1)
        (RESULTS / "ny_nj.json").write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
