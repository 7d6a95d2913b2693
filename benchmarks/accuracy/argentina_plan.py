"""A plan for a real labour force survey: the foreign-born of 32 Argentine cities, third quarter of 2014.

    python benchmarks/accuracy/argentina_plan.py            # writes results/argentina_plan.json

* Fit: employment rate (20-64) of the foreign-born by city, direct estimates of the microdata of the Encuesta
  Permanente de Hogares (INDEC), variances smoothed by one design effect. Covariates from the other seven
  quarters, as in argentina.py. Fay-Herriot, Bayesian, default prior.
* Strata: the cities. Population: the weighted persons of 20 to 64; density: the share of the foreign-born
  among them, both over all eight quarters. An interview costs 40, asking one person 2.
* Asked: the same CV everywhere, 90 % sure; without the model, with it, and today. A city without a
  foreign-born interview stays in, with the covariates alone.
* The public file has no strata and no PSU, so the design effect holds the weights and the dwellings only.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

import sae
from sae.planning import OversamplePlan, confirm, oversample

HERE = Path(__file__).resolve().parent
PERIOD = "2014Q3"
TARGETS = (0.05, 0.08, 0.10)
FORMULA = "employment_rate ~ native_rate + share_tertiary"
SEED = 20260101


def study() -> tuple[sae.Result, pd.DataFrame]:
    """Return the fit of the quarter and the frame of cities."""
    argentina = _load("argentina")
    survey = sae.read_survey(argentina.PERSONS, layout="argentina_eph")
    areas, _ = argentina.areas_of(survey)
    areas = areas.loc[areas["period"] == PERIOD].drop(columns="period").reset_index(drop=True)
    foreign = survey.subset(f"birth == 'foreign' and period == '{PERIOD}'")
    table = sae.direct(foreign, "employment_rate", by=["city"], smoothing="deff")
    fit = sae.FayHerriot(FORMULA, method="bayes").fit(table, areas=areas)
    return fit, cities(survey, [str(name) for name in fit.estimates.frame["domain"]])


def cities(survey: sae.Survey, names: list[str]) -> pd.DataFrame:
    """Return persons of 20 to 64 and the share of the foreign-born among them, by city."""
    people = survey.frame.assign(weight=survey.weights)
    people = people[people["age"].between(20, 64)]
    weight = people["weight"]
    city, born = people["city"].astype(str), people["birth"].astype(str) == "foreign"
    total, group = weight.groupby(city).sum(), weight[born].groupby(city[born]).sum()
    quarters = people["period"].nunique()
    return pd.DataFrame(
        {
            "domain": names,
            "population": (total / quarters).reindex(names).to_numpy(),
            "density": (group / total).reindex(names).to_numpy(),
            "cost": 40.0,
            "screening_cost": 2.0,
        }
    )


def line(plan: OversamplePlan) -> dict[str, float]:
    """Return what a plan takes with and without the model."""
    domains, asked = plan.domains, len(plan.domains)
    met = domains["met"]
    return {
        "cities": asked,
        "today_interviews": int(domains["n_now"].sum()),
        "today_met_direct": int((domains["direct_cv_now"] <= domains["required_cv"]).fillna(False).sum()),
        "today_met_model": int((domains["model_cv_now"] <= domains["required_cv"]).fillna(False).sum()),
        "direct_interviews": int(plan.direct.n.sum()),
        "direct_cost": round(float(plan.direct.n @ plan.cells.cost)),
        "direct_met": int(domains["met_direct_only"].sum()),
        "model_interviews": int(plan.with_model.n.sum()),
        "model_cost": round(plan.cost),
        "model_met": int(met.sum()),
        "least_probability_of_those_met": round(float(domains.loc[met, "probability"].min()), 3),
        "no_budget_suffices": int(domains["reason"].str.startswith("no budget").sum()),
        "no_own_sample": int(domains["reason"].str.startswith("no own sample").sum()),
    }


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Plan for each target, simulate the middle one."""
    fit, frame = study()
    plans = {cv: oversample(fit, frame, targets=cv) for cv in TARGETS}
    promised = confirm(plans[0.08], 500, seed=SEED)
    asked = plans[0.08].domains["met"].to_numpy()
    low, middle, high = np.sqrt(plans[0.08].model.quantiles([0.025, 0.5, 0.975]))
    summary = {
        "period": PERIOD,
        "sigma_u": {"low": round(low, 4), "median": round(middle, 4), "high": round(high, 4)},
        "plans": {f"CV {cv:.0%}": line(plan) for cv, plan in plans.items()},
        "simulated at CV 8%": {
            "cities_promised": int(asked.sum()),
            "kept": int((promised["kept"].to_numpy() & asked).sum()),
            "median_bootstrap_over_promised": round(
                float((promised["bootstrap_rmse"] / promised["promised_rmse"])[asked].median()), 3
            ),
        },
    }
    text = json.dumps(summary, indent=1)
    print(text)
    (HERE / "results" / "argentina_plan.json").write_text(text + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
