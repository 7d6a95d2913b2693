"""A real labour force survey through the command line: employment by birth, 32 cities x 8 quarters.

    python benchmarks/accuracy/argentina.py --out FOLDER

Writes the areas file, runs ``sae run models/argentina_employment_by_birth.toml`` on the microdata of
the Encuesta Permanente de Hogares (INDEC, 2013-2014), and sets the smoothed sampling errors against
INDEC's own.

* The survey has weights only; dwellings are the clusters. Dwellings stay for two quarters, leave for
  two and return for two, so quarters are not independent; every quarter is its own fit.
* Covariates by city and quarter: the employment rate (20-64) and the share with a completed university
  degree (25-64) of the NATIVE-born, estimated by sae.direct from the other seven quarters, so that no
  row explains itself. They are survey estimates and carry sampling error (median CV printed below);
  part of their dwellings is the same as in the quarter that they explain.
* INDEC publishes, by city, the standard deviation of an estimated total as a function of its size. For
  a rate cv²(rate) ≈ cv²(numerator) - cv²(denominator). Inside the published sizes log sd is
  interpolated in log size; a cell whose numerator or denominator lies outside them is counted and not
  compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import sae

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SAE_SHARED", ROOT.parent / "shared"))
SPEC = ROOT / "models" / "argentina_employment_by_birth.toml"
PERSONS = SHARED / "data" / "real" / "ar_eph2013_2014_persons.csv.gz"
OFFICIAL = SHARED / "data" / "real" / "ar_eph_sampling_errors.csv"
TERTIARY = sae.Indicator(
    id="share_tertiary",
    numerator="education == 'tertiary'",
    universe="25 <= age <= 64",
    label="University degree",
)
EMPLOYED = sae.Indicator(
    id="employed", numerator="labour_status == 'employed'", universe="20 <= age <= 64", kind="total"
)
# everybody of that age who answered: the denominator of the rate
ANSWERED = sae.Indicator(
    id="answered",
    numerator="labour_status in ['employed', 'unemployed', 'inactive']",
    universe="20 <= age <= 64",
    kind="total",
)
TINY = 5  # records


def areas_of(survey: sae.Survey) -> tuple[pd.DataFrame, pd.Series]:
    """Return the covariates by city and quarter, and the median CV of each."""
    periods = sorted(survey.frame["period"].astype(str).unique())
    parts, errors = [], []
    for period in periods:
        others = survey.subset(f"birth == 'native' and period != '{period}'")
        table = sae.direct(others, ["employment_rate", TERTIARY], by=["city"]).to_frame()
        wide = table.pivot(index="city", columns="indicator", values="estimate").astype(float)
        wide = wide.rename(columns={"employment_rate": "native_rate"}).rename_axis(columns=None)
        parts.append(wide.reset_index().assign(period=period))
        errors.append(table.groupby("indicator")["cv"].median())
    areas = pd.concat(parts)[["city", "period", "native_rate", "share_tertiary"]]
    areas = areas.astype({"city": str}).sort_values(["city", "period"], ignore_index=True)
    return areas, pd.concat(errors, axis=1).median(axis=1)


def official_cv2(table: pd.DataFrame, city: str, period: str, total: float) -> float:
    """Return INDEC's squared CV of an estimated total; missing outside the published sizes."""
    valid = "2014.03" if period >= "2014Q3" else "2003.03_2014.02"
    curve = table[(table["codigo"] == city) & (table["periodo"] == valid)].sort_values("x")
    if curve.empty or not curve["x"].iloc[0] <= total <= curve["x"].iloc[-1]:
        return np.nan
    sd = np.exp(np.interp(np.log(total), np.log(curve["x"]), np.log(curve["ds"])))
    return float((sd / total) ** 2)


def against_official(survey: sae.Survey, direct: pd.DataFrame) -> pd.DataFrame:
    """Return the cells with their smoothed, direct and official CV of the employment rate."""
    keys = ["city", "birth", "period"]
    totals = sae.direct(survey, [EMPLOYED, ANSWERED], by=keys).to_frame().astype(dict.fromkeys(keys, str))
    totals = totals.pivot(index=keys, columns="indicator", values="estimate").reset_index()
    cells = direct.astype(dict.fromkeys(keys, str)).merge(totals, on=keys, validate="one_to_one")
    table = pd.read_csv(OFFICIAL, dtype={"codigo": str, "periodo": str})
    both = [
        [official_cv2(table, row.city, row.period, total) for total in (row.employed, row.answered)]
        for row in cells.itertuples()
    ]
    numerator, denominator = np.array(both).T
    rate = cells["estimate"].astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return cells.assign(
            official=np.sqrt(numerator - denominator),
            smoothed=np.sqrt(cells["vardir"].astype(float)) / rate,
            direct=cells["se"].astype(float) / rate,
        )


def ratio_line(cells: pd.DataFrame, name: str) -> dict[str, float]:
    """Return quartiles of the ratio of our CV to the official one."""
    usable = (cells["official"] > 0) & (cells[name] > 0)
    ratio = cells.loc[usable, name] / cells.loc[usable, "official"]
    low, median, high = (round(float(ratio.quantile(share)), 3) for share in (0.25, 0.5, 0.75))
    return {"cells": len(ratio), "q25": low, "median": median, "q75": high}


def main() -> None:
    """Build the areas file, run the model file, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the areas file and the results")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    survey = sae.read_survey(PERSONS, layout="argentina_eph")
    areas, errors = areas_of(survey)
    areas_file = out / "argentina_areas.csv"
    areas.to_csv(areas_file, index=False, encoding="utf-8", lineterminator="\n")
    files = ["--survey", PERSONS, "--areas", areas_file, "--out", out]
    command = [sys.executable, "-m", "sae.cli", "run", SPEC, *files]
    done = subprocess.run([str(word) for word in command], check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    codes = dict.fromkeys(("city", "birth", "period", "time"), str)
    estimates = pd.read_csv(out / f"{SPEC.stem}.csv", dtype=codes)
    direct = pd.read_csv(out / f"{SPEC.stem}.direct.csv", dtype=codes)
    cells = against_official(survey, direct)
    summary = {
        "rows": len(estimates),
        "covariate_cv": errors.round(4).to_dict(),
        "cells": {
            birth: {
                "rows": len(part),
                "empty": int((part["n"] == 0).sum()),
                f"under_{TINY}": int(part["n"].between(1, TINY - 1).sum()),
                "zero_variance": int(((part["n"] > 0) & ~(part["variance"] > 0)).sum()),
                "median_n": float(part["n"].median()),
                "median_cv_direct": float((part["se"] / part["estimate"])[part["variance"] > 0].median()),
                "median_cv_model": float(estimates.loc[estimates["birth"] == birth, "cv"].median()),
                "publishable": int(estimates.loc[estimates["birth"] == birth, "publishable"].sum()),
            }
            for birth, part in direct.groupby("birth")
        },
        "ratio_to_official_cv": {
            f"{name}, {birth}": ratio_line(part, name)
            for birth, part in cells.groupby("birth")
            for name in ("smoothed", "direct")
        },
        "outside_published_sizes": {
            birth: int((part["official"].isna() & (part["n"] > 0)).sum())
            for birth, part in cells.groupby("birth")
        },
    }
    text = json.dumps(summary, indent=1)
    print(text)
    results = Path(__file__).resolve().parent / "results"
    results.mkdir(exist_ok=True)
    (results / "argentina.json").write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
