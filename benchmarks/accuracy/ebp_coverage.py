"""Coverage of the EBP's intervals where the model holds: bootstraps and posterior, few areas and many.

    python benchmarks/accuracy/ebp_coverage.py                # all designs, 200 populations, writes results
    python benchmarks/accuracy/ebp_coverage.py --populations 50 --areas 8 --print-only

The design of the study:

* Populations: 100 persons in each of 8, 12 or 40 areas, ln income = 9 + 0.3 x1 - 0.3 x2 + u + e with x1
  normal and x2 true of a third, σe = 0.5, σu 0.25 (ICC .2) or 0.08 (ICC .025). Each is drawn anew.
* Samples: of each area 3, 8 or 20 persons at random, in turn, and none of every sixth area.
* Models: "parametric", "wild", errors="empirical" and "heteroscedastic" (both on a parametric bootstrap),
  weights= (unequal, and uninformative), and the posterior; on the logarithm, which is true, and "box-cox",
  Box–Cox with λ estimated. 100 replicates, 50 draws; 500 draws of the posterior.
* Figures: mean, head count below 60 % of the median income, gap, and with --figures gini the Gini of the
  finite population. By number of units in the sample: coverage of the 95 % intervals, its standard error with
  populations for clusters, and mean estimated MSE over mean squared error.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import sae
from sae.errors import SaeError, SaeWarning
from sae.numerics.random.streams import generator

SEED = 20261130
PERSONS = 100
SAMPLED = (3, 8, 20, 3, 8, 0)
THRESHOLD = 0.6 * float(np.exp(8.9))
RESULTS = Path(__file__).resolve().parent / "results"
MODELS: dict[str, dict[str, object]] = {
    "parametric": {},
    "wild": {"mse": "wild"},
    "empirical": {"errors": "empirical"},
    "heteroscedastic": {"errors": "heteroscedastic"},
    "weights": {"weights": "w"},
    "posterior": {"method": "bayes", "draws": 500},
    "box-cox": {"transform": "box-cox"},
    "box-cox posterior": {"transform": "box-cox", "method": "bayes", "draws": 500},
}


def country(areas: int, sigma_u: float, population: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all persons of one population, and a sample."""
    rng = generator(SEED, f"{areas} areas, {sigma_u}", population)
    of = np.repeat(np.arange(areas), PERSONS)
    frame = pd.DataFrame({"area": [f"{d:02d}" for d in of]})
    frame["x1"] = rng.normal(size=len(of))
    frame["x2"] = (rng.random(len(of)) < 1 / 3).astype(int)
    u, e = sigma_u * rng.normal(size=areas), 0.5 * rng.normal(size=len(of))
    frame["y"] = np.exp(9.0 + 0.3 * frame["x1"] - 0.3 * frame["x2"] + u[of] + e)
    place = np.arange(len(of)) % PERSONS
    sample = frame[place < np.array(SAMPLED)[of % len(SAMPLED)]]  # persons are exchangeable
    return frame, sample.assign(w=rng.gamma(4.0, 0.25, size=len(sample)) + 0.5)


def truth(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the figures of every area, by area."""
    y = np.sort(frame["y"].to_numpy().reshape(-1, PERSONS), axis=1)
    short = np.maximum(1.0 - y / THRESHOLD, 0.0)
    rank = 2.0 * np.arange(1, PERSONS + 1) - 1.0
    made = {
        "mean": y.mean(axis=1),
        "head_count": (y < THRESHOLD).mean(axis=1),
        "gap": short.mean(axis=1),
        "gini": (y @ rank) / (PERSONS * y.sum(axis=1)) - 1.0,
    }
    return pd.DataFrame(made, index=frame["area"].unique())


def one(areas: int, sigma_u: float, population: int, models: list[str], figures: list[str]) -> pd.DataFrame:
    """Return one row per model, figure and area of one population."""
    frame, sample = country(areas, sigma_u, population)
    real, rows = truth(frame), []
    for model in models:
        options = {"transform": "log", "replicates": 100, "draws": 50, **MODELS[model]}
        if options.get("method") == "bayes":
            options.pop("replicates")
        spec = sae.EBP("y ~ x1 + x2", domain="area", indicators=figures, threshold=THRESHOLD, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaeWarning)
            try:
                fit = spec.fit(sample, areas=frame[["area", "x1", "x2"]], seed=population + 1)
            except SaeError as error:
                print(f"{areas} areas, σu {sigma_u}, population {population}, {model}: {error}", flush=True)
                continue
        table = fit.to_frame()
        true = real.stack().loc[list(zip(table["domain"], table["indicator"], strict=True))].to_numpy()
        rows.append(
            pd.DataFrame(
                {
                    "model": model,
                    "indicator": table["indicator"],
                    "population": population,
                    "n": table["n"],
                    "true": true,
                    "error": table["estimate"] - true,
                    "mse": table["se"] ** 2,
                    "low": table["ci_low"] > true,
                    "high": table["ci_high"] < true,
                    "length": table["ci_high"] - table["ci_low"],
                    "none": fit.variance_components.get("sigma2_u", 1.0) == 0.0,
                }
            )
        )
    return pd.concat(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return coverage, its standard error, misses below and above, and the ratio of the MSE, by band."""
    rows = rows.assign(inside=~(rows["low"] | rows["high"]), square=rows["error"] ** 2)
    keys = ["areas", "sigma_u", "model", "indicator"]
    bands = [rows.assign(n=rows["n"].astype(str)), rows.assign(n="all"), rows[rows["none"]].assign(n="σu² 0")]
    parts = []
    for part in bands:
        cells = part.groupby([*keys, "n"], sort=False)
        each = part.groupby([*keys, "n", "population"], sort=False)["inside"].mean()
        cluster = each.groupby([*keys, "n"], sort=False).agg(["std", "count"])
        made = cells.agg(
            coverage=("inside", "mean"),
            below=("high", "mean"),  # the interval lies below the truth
            above=("low", "mean"),
            length=("length", "mean"),
            mse=("mse", "mean"),
            square=("square", "mean"),
            figures=("inside", "size"),
        )
        made["ratio"] = made["mse"] / made["square"]
        made["se"] = cluster["std"] / np.sqrt(cluster["count"])
        parts.append(made.reset_index())
    columns = [*keys, "n", "coverage", "se", "below", "above", "ratio", "length", "figures"]
    return pd.concat(parts)[columns]


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--populations", type=int, default=200)
    parser.add_argument("--areas", type=int, nargs="*", default=[8, 12, 40])
    parser.add_argument("--sigma-u", type=float, nargs="*", default=[0.25, 0.08])
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--figures", nargs="*", default=["mean", "head_count", "gap"])
    parser.add_argument("--print-only", action="store_true")
    given = parser.parse_args()
    start = time.perf_counter()
    for areas in given.areas:
        for sigma_u in given.sigma_u:
            parts = [one(areas, sigma_u, k, given.models, given.figures) for k in range(given.populations)]
            table = summary(pd.concat(parts).assign(areas=areas, sigma_u=sigma_u))
            print(f"{areas} areas, σu {sigma_u}: {time.perf_counter() - start:.0f} s")
            with pd.option_context("display.max_rows", None, "display.width", 200, "display.precision", 3):
                print(table.to_string(index=False), flush=True)
            if not given.print_only:
                keep(table.assign(populations=given.populations))


def keep(table: pd.DataFrame) -> None:
    """Write rows, in the place of those of the same designs, models and figures."""
    path = RESULTS / "ebp_coverage.json"
    keys = ["areas", "sigma_u", "model", "indicator"]
    if path.exists():
        old = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))
        new = pd.MultiIndex.from_frame(table[keys])
        table = pd.concat([old[~pd.MultiIndex.from_frame(old[keys]).isin(new)], table])
    rows = table.round(4).sort_values(keys, kind="stable").to_dict("records")
    text = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
