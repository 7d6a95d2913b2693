"""Direct and model estimates against a known truth: the foreign-born of New York and New Jersey.

    python benchmarks/accuracy/ny_nj.py                       # 100 samples, writes results/ny_nj.json
    python benchmarks/accuracy/ny_nj.py --quick               # 10 samples, prints only
    python benchmarks/accuracy/ny_nj.py --write FOLDER        # one sample and the areas file, for `sae run`

The design of the study:

* Population: the 304,533 persons in 135,809 households of ``us_pums2024_ny_nj_persons``, taken as a
  finite population, each person once. Truth: the unweighted rates of ``us_pums2024_ny_nj_puma_truth``,
  group foreign_born, 218 PUMAs: employment rate 20-64 (N of 23 to 884 persons) and poverty rate.
* Sample r: 10 % of the households by simple random sampling without replacement over both states, all
  their persons; weight N/n; households are the clusters, fpc = N. Its stream is (SEED, "ny_nj", r).
* Direct: sae.direct on the foreign-born subset; its interval is the table's own (Korn-Graubard).
* Sampling variances are smoothed by one pooled design effect and one pooled p(1 - p) (smoothing="deff").
  Given the n of a PUMA they are (1 - n/N) s²/n: the design's overall factor 1 - f gives way to the PUMA's.
* Models: FH on the natural scale; "FH fitted variance", FH again with p(1 - p) of the sampling variance at
  the first fit's regression line, on which the PUMA's own sample has little hold; FH on the arcsine scale;
  bivariate, native and foreign-born with correlated effects, the native-born rate being estimated there
  and no covariate. All REML, fitted to both states at once.
* The plain predictor is the model's rate behind the population with its interval. The finite-population
  predictor (``population="N"``) is f·direct + (1 - f)·model with its variance: see
  sae.area_level.finite_population. In this model the variance of a PUMA's truth about the regression is
  A + s²/N, not the same everywhere.
* A PUMA without a sampled person of the group has no direct estimate: the models predict it from its
  covariates, f = 0, and it is the band n = 0. The direct figures leave it out; "sampled" compares the
  same PUMAs.
* Covariates are census-like, free of error, computed from all persons of the PUMA, and none is the
  target: the outcomes enter for the native-born only, the foreign-born with their education, English, age,
  sex, citizenship and living quarters. SETS are fixed below; "nine" is the yardstick's.
* Figures over samples × PUMAs: root mean squared error, bias, coverage of the 95 %
  intervals and their mean length, by the group's sample size in the PUMA; over all sizes also area_rmse,
  the mean over PUMAs of each PUMA's own root mean squared error over the samples.

The rule by which the form is chosen, with the errors in the PUMAs of New York alone (`choose`):

1. Covariates: each of SETS with FH on the natural scale; then models: each of MODELS with these covariates.
2. A form is admissible where its finite-population predictor covers between 0.93 and 0.97 in every band, or
   misses that by no more than two standard errors (PUMAs are the clusters). A band with fewer than 500
   cells, such as n = 0, tells too little and does not count.
3. Of the admissible forms the one with the smallest RMSE over all PUMAs of New York, except that a form
   listed earlier wins where it is within 0.0005. Without an admissible form, the same among all.

The yardstick's nine enter the second step too, but for the bivariate model, to be compared and not chosen.
New York was looked at freely while SETS was put together; New Jersey confirms and has no part in it. SETS is
in order of the number of columns, MODELS in order of what they need.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

import sae
from sae.errors import SaeWarning
from sae.numerics.random.streams import generator

SEED = 20260101
FRACTION = 0.10
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
MORE_COVARIATES = (
    "native_household_employment",  # as native_employment, of those in private households
    "foreign_quarters",  # in group quarters, of the foreign-born aged 20-64
    "foreign_institutions",  # in institutions (nobody there is employed), of the same
    "foreign_other_quarters",  # in other group quarters (students, workers), of the same
    "native_quarters",  # in group quarters, of the native-born aged 20-64
    "foreign_expected",  # foreign-born employed, had they the native rates by age, sex, schooling, quarters
)
SETS = {
    "two": ("foreign_quarters", "native_household_employment"),
    "three": ("foreign_institutions", "foreign_other_quarters", "native_household_employment"),
    "expected": ("foreign_expected", "native_household_employment", "foreign_limited_english"),
    "nine": COVARIATES,
    "eleven": (*COVARIATES, "foreign_institutions", "foreign_other_quarters"),
}
NATIVE_OUTCOMES = ("native_employment", "native_household_employment")
INDICATORS = {
    "employment_rate": ("employment_rate_20_64", "n_20_64"),
    "poverty_rate": ("poverty_rate", "n_poverty_universe"),
}
ADMISSIBLE, TOLERANCE, FEWEST = (0.93, 0.97), 0.0005, 500  # of the rule
STATES = {"NY": "36-", "NJ": "34-"}
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
    areas: pd.DataFrame  # geo, COVARIATES and MORE_COVARIATES, foreign_20_64 and native_20_64: how many


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
    """Return one row per PUMA with the covariates, over all persons of the file, and numbers of persons."""
    number = {
        name: pd.to_numeric(persons[name]).to_numpy(float)
        for name in ("CIT", "SCHL", "ENG", "TEN", "SEX", "TYPEHUGQ")
    }
    age, employed = persons["age"].to_numpy(float), (persons["labour_status"] == "employed").to_numpy()
    foreign = (persons["birth"] == "foreign").to_numpy()
    poor = pd.to_numeric(persons["poor"]).to_numpy(float)
    working = (age >= 20) & (age <= 64)
    quarters = number["TYPEHUGQ"]
    everybody = np.ones(len(age), dtype=bool)
    ages, schooling = np.digitize(age, [25, 30, 35, 45, 55, 60]), np.digitize(number["SCHL"], [16, 18, 21])
    cell = ((ages * 4 + schooling) * 2 + number["SEX"] - 1) * 3 + quarters - 1
    native = working & ~foreign
    expected = employed[native].astype(float)
    expected = pd.Series(expected).groupby(cell[native]).mean().reindex(cell).fillna(expected.mean())
    shares = {
        "native_employment": (employed, native),
        "native_poverty": (poor == 1, ~np.isnan(poor) & ~foreign),
        "foreign_share": (foreign, everybody),
        "noncitizen_share": (number["CIT"] == 5, foreign),
        "foreign_tertiary": (number["SCHL"] >= 21, foreign & (age >= 25) & (age <= 64)),
        "foreign_limited_english": (number["ENG"] >= 3, foreign & (age >= 5)),
        "foreign_women": (number["SEX"] == 2, foreign & working),
        "foreign_55_64": (age >= 55, foreign & working),
        "renters": (number["TEN"] == 3, everybody),
        "native_household_employment": (employed, native & (quarters == 1)),
        "foreign_quarters": (quarters != 1, foreign & working),
        "foreign_institutions": (quarters == 2, foreign & working),
        "foreign_other_quarters": (quarters == 3, foreign & working),
        "native_quarters": (quarters != 1, native),
        "foreign_expected": (expected.to_numpy(), foreign & working),
    }
    codes, geo = pd.factorize(persons["geo"].astype(str), sort=True)

    def counted(whole: np.ndarray) -> np.ndarray:
        return np.bincount(codes[whole], minlength=len(geo))

    table = {
        name: np.bincount(codes[whole], part[whole], minlength=len(geo)) / counted(whole)
        for name, (part, whole) in shares.items()
    }
    table = {name: table[name] for name in (*COVARIATES, *MORE_COVARIATES)}
    sizes = {"foreign_20_64": counted(foreign & working), "native_20_64": counted(native)}
    return pd.DataFrame({"geo": geo, **table, **sizes})


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


@dataclass(frozen=True)
class Sample:
    """One sample of one indicator: the foreign-born by PUMA, and both groups for the bivariate model.

    `frame` has one row per PUMA: geo, the indicator, n, N, vardir and n_eff of the design given n, and all
    covariates; `deff` is the pooled design effect without the design's factor 1 - f.
    """

    indicator: str
    survey: sae.Survey
    direct: pd.DataFrame
    frame: pd.DataFrame
    deff: float


def take(population: Population, replication: int) -> dict[str, Sample]:
    """Draw a sample and make the direct estimates of its foreign-born."""
    persons = draw(population, replication)
    survey = sae.Survey.from_frame(persons, weights="weight", psu="household", fpc="households")
    foreign = survey.subset("birth == 'foreign'")
    samples = {}
    for indicator, (_, count) in INDICATORS.items():
        table = sae.direct(foreign, indicator, by=["geo"], smoothing="deff").to_frame().set_index("geo")
        table = table.reindex(population.truth.index)  # a PUMA without any foreign-born person has no row
        direct = table[["n", "estimate", "ci_low", "ci_high", "vardir", "n_eff"]].astype(float)
        direct = direct.fillna({"n": 0.0})
        N = population.truth[count].astype(float)
        own = (1.0 - direct["n"] / N) / (1.0 - FRACTION)
        frame = population.areas.set_index("geo").assign(
            **{indicator: direct["estimate"]},
            n=direct["n"],
            N=N,
            vardir=direct["vardir"] * own,
            n_eff=direct["n_eff"] / own,
        )
        deff = float((direct["n"] / direct["n_eff"]).median()) / (1.0 - FRACTION)
        samples[indicator] = Sample(indicator, survey, direct, frame.reset_index(), deff)
    return samples


Estimator = Callable[[Sample, tuple[str, ...], bool, int], pd.DataFrame]


def fay_herriot(transform: str | None = None, fitted_variance: bool = False) -> Estimator:
    """Return the estimator of a Fay-Herriot model, plain or of the finite population."""

    def estimate(sample: Sample, covariates: tuple[str, ...], finite: bool, seed: int) -> pd.DataFrame:
        frame = sample.frame
        left = 1.0 - frame["n"] / frame["N"]
        formula = f"{sample.indicator} ~ {' + '.join(covariates)}"
        spec = sae.FayHerriot(formula, domain="geo", transform=transform, population="N" if finite else "")
        if fitted_variance:
            about = frame.assign(vardir=frame["vardir"] / left)
            coef = sae.FayHerriot(formula, domain="geo").fit(about).coefficients["coef"]
            rate = (coef["Intercept"] + frame[list(covariates)] @ coef[list(covariates)]).clip(0.02, 0.98)
            vardir = left * sample.deff * rate * (1.0 - rate) / frame["n"]
            frame = frame.assign(vardir=vardir.where(frame["n"] > 0))
        if not finite:  # the rate behind the population: a sampling variance without 1 - f
            frame = frame.assign(vardir=frame["vardir"] / left, n_eff=frame["n_eff"] * left)
        return _ends(spec.fit(frame, seed=seed).estimates.frame)

    return estimate


def bivariate(sample: Sample, covariates: tuple[str, ...], finite: bool, seed: int) -> pd.DataFrame:
    """Native and foreign-born together: the native rate is a component, and no covariate."""
    direct = sae.direct(
        sample.survey, sample.indicator, by=["geo", "birth"], smoothing="deff", covariance=True
    )
    kept = [name for name in covariates if name not in NATIVE_OUTCOMES and name != "foreign_quarters"]
    parts = [
        sample.frame[["geo", *kept]].assign(
            birth=birth,
            quarters=sample.frame[f"{birth}_quarters"],
            N=sample.frame[f"{birth}_20_64"].astype(float),
        )
        for birth in ("foreign", "native")
    ]
    areas = pd.concat(parts, ignore_index=True)
    terms = [*(["quarters"] if "foreign_quarters" in covariates else []), *kept]
    sizes = direct.frame[["geo", "birth"]].astype(str).merge(areas[["geo", "birth", "N"]], how="left")["N"]
    left = 1.0 - direct.frame["n"].astype(float).to_numpy() / sizes.to_numpy()
    own = (left if finite else 1.0) / (1.0 - FRACTION)
    direct = replace(direct, frame=direct.frame.assign(vardir=direct.frame["vardir"] * own))
    fit = sae.MultivariateFayHerriot(
        f"{sample.indicator} ~ {' + '.join(terms)}", components="birth", population="N" if finite else ""
    ).fit(direct, areas=areas)
    table = fit.estimates.frame
    return _ends(table[table["birth"].astype(str) == "foreign"].assign(domain=lambda rows: rows["geo"]))


def _ends(table: pd.DataFrame) -> pd.DataFrame:
    kept = table.set_index(table["domain"].astype(str))[["estimate", "ci_low", "ci_high"]].astype(float)
    return kept.assign(ci_low=kept["ci_low"].clip(lower=0.0), ci_high=kept["ci_high"].clip(upper=1.0))


MODELS: dict[str, Estimator] = {
    "FH": fay_herriot(),
    "FH fitted variance": fay_herriot(fitted_variance=True),
    "FH arcsine": fay_herriot("arcsin"),
    "bivariate": bivariate,
}


def replicate(population: Population, replication: int, forms: list[tuple[str, str, str]]) -> pd.DataFrame:
    """Return one row per form (indicator, covariates, model), predictor and PUMA: n, error, covered, length.

    The direct estimates of the first form's indicator come with covariates "".
    """
    samples = take(population, replication)
    rows = []

    def judged(form: tuple[str, str, str], predictor: str, table: pd.DataFrame) -> pd.DataFrame:
        sample = samples[form[0]]
        table, true = table.reindex(population.truth.index), population.truth[INDICATORS[form[0]][0]]
        return pd.DataFrame(
            {
                **dict(zip(("indicator", "covariates", "model"), form, strict=True)),
                "predictor": predictor,
                "replication": replication,
                "n": sample.direct["n"].astype(int),
                "error": table["estimate"] - true,
                "covered": (table["ci_low"] <= true) & (true <= table["ci_high"]),
                "length": table["ci_high"] - table["ci_low"],
            }
        )

    for indicator in dict.fromkeys(form[0] for form in forms):
        rows.append(judged((indicator, "", "direct"), "", samples[indicator].direct))
    for form in forms:
        for predictor in ("plain", "finite"):
            seed = SEED + 1000 * list(MODELS).index(form[2]) + replication
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SaeWarning)
                table = MODELS[form[2]](samples[form[0]], SETS[form[1]], predictor == "finite", seed)
            rows.append(judged(form, predictor, table))
    return pd.concat(rows)


# ---------------------------------------------------------------- figures

FORM = ["indicator", "covariates", "model", "predictor"]


def by_area(error: pd.Series) -> float:
    """Return the mean over PUMAs of each PUMA's root mean squared error over the samples."""
    return float(np.sqrt((error**2).groupby(level="geo").mean()).mean())


def bands(errors: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the cells by the size of the sample."""
    return {
        f"n {low}" if low == high else f"n {low}-{high}" if high < 10**9 else f"n {low}+": errors[
            errors["n"].between(low, high)
        ]
        for low, high in BANDS
    }


def coverage_error(covered: pd.Series) -> float:
    """Return the standard error of a coverage, PUMAs being the clusters."""
    sums = (covered - covered.mean()).groupby(level="geo").sum()
    return float(np.sqrt((sums**2).sum()) / len(covered))


def figures(errors: pd.DataFrame) -> pd.DataFrame:
    """Return RMSE, bias, coverage and length by region, form and band."""
    rows = []
    geo = errors.index.get_level_values("geo")
    for region, start in {"both": "", **STATES}.items():
        inside = errors[geo.str.startswith(start)]
        parts = {**bands(inside), "sampled": inside[inside["n"] > 0], "all": inside}
        for band, part in parts.items():
            for form, cell in part.groupby(FORM, sort=False):
                error = cell["error"].dropna()
                if not len(cell) or len(error) < len(cell):  # direct where there is no sample
                    continue
                rows.append(
                    {
                        "region": region,
                        **dict(zip(FORM, form, strict=True)),
                        "band": band,
                        "cells": len(cell),
                        "rmse": float(np.sqrt((error**2).mean())),
                        "area_rmse": by_area(error) if band in ("sampled", "all") else np.nan,
                        "bias": error.mean(),
                        "coverage": cell["covered"].mean(),
                        "coverage_se": coverage_error(cell["covered"].astype(float)),
                        "length": cell["length"].mean(),
                    }
                )
    return pd.DataFrame(rows)


def choose(table: pd.DataFrame, forms: list[tuple[str, str, str]]) -> tuple[str, str, str]:
    """Choose the form by the rule at the top, from the figures of New York."""
    own = table[(table["region"] == "NY") & (table["predictor"] == "finite")].set_index(FORM[:3])
    low, high = ADMISSIBLE
    rmse, admissible = {}, []
    for form in forms:
        rows = own.loc[[form]]
        rmse[form] = float(rows.loc[rows["band"] == "all", "rmse"].iloc[0])
        told = rows[rows["band"].str.startswith("n ") & (rows["cells"] >= FEWEST)]
        slack = 2.0 * told["coverage_se"]
        if told["coverage"].between(low - slack, high + slack).all():
            admissible.append(form)
    entered = admissible or forms
    best = min(rmse[form] for form in entered)
    return next(form for form in forms if form in entered and rmse[form] <= best + TOLERANCE)


def show(table: pd.DataFrame, value: str, region: str) -> str:
    """Return one figure of all forms by band, as text."""
    part = table[table["region"] == region]
    wide = part.pivot_table(index=FORM, columns="band", values=value, sort=False)
    order = [name for name in part["band"].unique() if name in wide]
    return f"{value}, {region}\n{wide[order].to_string(float_format='{:.4f}'.format, na_rep='')}"


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

    def run(forms: list[tuple[str, str, str]]) -> pd.DataFrame:
        return pd.concat(replicate(population, r, forms) for r in range(samples))

    first = [("employment_rate", name, "FH") for name in SETS]
    errors = run([*first, ("poverty_rate", "nine", "FH"), ("poverty_rate", "nine", "FH arcsine")])
    _, chosen, _ = choose(figures(errors), first)
    second = [("employment_rate", chosen, model) for model in MODELS]
    second += [("employment_rate", "nine", model) for model in MODELS if model != "bivariate"]  # too slow
    second = list(dict.fromkeys(second))
    more = run([form for form in second if form not in first])
    errors = pd.concat([errors, more[more["model"] != "direct"]])
    table = figures(errors)
    form = choose(table, [form for form in second if form[1] == chosen])
    for region in ("NY", "NJ", "both"):
        for value in ("rmse", "coverage", "bias"):
            print(show(table, value, region), end="\n\n")
    whole = table[(table["band"] == "all") & (table["predictor"] != "")]
    print(whole[["region", *FORM, "rmse", "area_rmse", "coverage", "length"]].to_string(index=False))
    print(f"\nchosen on New York: {', '.join(form)}")
    print(f"\n{samples} samples, {time.perf_counter() - start:.0f} s")
    if not asked.quick:
        RESULTS.mkdir(exist_ok=True)
        head = {"seed": SEED, "samples": samples, "chosen_on_new_york": list(form)}
        rows = json.loads(table.round(4).to_json(orient="records"))
        lines = ",\n".join(json.dumps(list(row.values())) for row in rows)
        text = (
            f'{json.dumps(head)[:-1]},\n"columns": {json.dumps(list(rows[0]))},\n"figures": [\n{lines}\n]}}'
        )
        (RESULTS / "ny_nj.json").write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
