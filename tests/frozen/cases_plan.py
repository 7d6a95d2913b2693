"""Frozen cases: plans, and runs from files to files."""

import contextlib
import io
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from registry import case, country

import sae
from sae.planning import CV, RMSE, Target

STRATA = pd.DataFrame(
    {
        "stratum": [f"{region}-{birth}" for region in "ABCD" for birth in ("native", "foreign")],
        "region": np.repeat(list("ABCD"), 2),
        "birth": ["native", "foreign"] * 4,
        "population": [90_000, 10_000, 70_000, 2_000, 50_000, 800, 30_000, 4_000],
        "share_rate": [0.7, 0.6, 0.68, 0.5, 0.72, 0.55, 0.66, 0.58],
        "deff": 1.4,
        "cost": [1.0, 2.5] * 4,
        "response": [0.8, 0.5] * 4,
        "n_now": [400, 30, 300, 10, 200, 5, 150, 20],
    }
)
TARGETS = [Target("rate", CV(0.06), by=("region", "birth")), Target("rate", CV(0.01))]


@case()
def allocate_cheapest():
    return {
        "cheapest": sae.planning.allocate(STRATA, TARGETS),
        "total": sae.planning.allocate(STRATA, TARGETS, total=1500),
        "budget": sae.planning.allocate(STRATA, TARGETS, budget=3000.0),
    }


@case()
def allocate_rules():
    p = sae.planning
    rules = {
        "equal": p.Equal(),
        "proportional": p.Proportional(),
        "neyman": p.Neyman("rate"),
        "cost": p.CostOptimal("rate"),
        "power": p.Power("rate", 0.5),
        "costa": p.Costa(0.4),
        "longford": p.Longford("rate", 1.0, 2.0),
    }
    return {name: p.allocate(STRATA, TARGETS, method=rule, total=1200) for name, rule in rules.items()}


@case()
def allocate_two_stage():
    rng = np.random.default_rng(4)
    units = pd.DataFrame(
        {
            "stratum": np.repeat(STRATA["stratum"], 40).to_numpy(),
            "size": rng.integers(20, 400, 320).astype(float),
        }
    )
    design = sae.planning.TwoStage(units, take=8)
    return sae.planning.allocate(STRATA.assign(rho_rate=0.05), TARGETS[1:], design=design)


def planned(targets=0.06, bayes=True, assurance=0.9, transform=None, **columns):
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, 30)
    truth, n = 0.5 + 0.1 * x + 0.05 * rng.normal(size=30), rng.integers(20, 120, 30).astype(float)
    vardir = 1.5 * truth * (1 - truth) / n
    table = pd.DataFrame(
        {
            "area": [f"A{d:02d}" for d in range(30)],
            "x": x,
            "noise": rng.normal(size=30),
            "y": truth + np.sqrt(vardir) * rng.normal(size=30),
            "vardir": vardir,
            "n": n,
            "n_eff": n / 1.5,
        }
    )
    table.loc[[7, 21], ["y", "vardir", "n", "n_eff"]] = np.nan
    options = {"method": "bayes"} if bayes else {"replicates": 20}
    fit = sae.FayHerriot("y ~ x", domain="area", transform=transform, **options).fit(table, seed=1)
    frame = pd.DataFrame({"domain": table["area"], "population": 50_000.0, **columns})
    return sae.planning.oversample(fit, frame, targets=targets, assurance=assurance), table


@case()
def oversample():
    plan, _ = planned()
    rng = np.random.default_rng(3)
    shared = {"cost": rng.uniform(1, 5, 30), "stratum": [f"S{d % 6}" for d in range(30)]}
    return {
        "bayes": plan,
        "allocation": plan.allocation,
        "direct": plan.direct_allocation,
        "price": plan.price_for_national_estimates,
        "assumptions": plan.assumptions,
        "shared": planned(**shared)[0],
        "reml": planned({"A03": CV(0.05), "A09": RMSE(0.03)}, bayes=False, assurance=None)[0],
        "arcsin": planned(bayes=False, transform="arcsin")[0],
    }


@case()
def tradeoffs():
    rng = np.random.default_rng(3)
    plan, table = planned(cost=rng.uniform(1, 5, 30))
    p = sae.planning
    candidates = table[["area", "x", "noise"]].rename(columns={"area": "domain"})
    return {
        "frontier": p.frontier(plan, 12),
        "value": p.interview_value(plan),
        "best": p.best_interviews(plan, 300),
        "covariates": p.best_covariates(plan, candidates),
        "confirmed": p.confirm(plan, 20, seed=1),
        "national": p.national_check(plan, CV(0.01), mean=0.5, size=2e6),
    }


# as recorded, and as the attribute is called now
REPORT_PARTS = {
    **{name: name for name in ("title", "subtitle", "lead", "strata", "domains")},
    "facts": "headline",
    "quotes": "quotations",
}


@case()
def reported():
    """What the report on a plan says; its page is made of the same parts."""
    plan, _ = planned()
    found = {"oversample": plan, "allocation": sae.planning.allocate(STRATA, TARGETS)}
    return {
        name: {recorded: getattr(made, part) for recorded, part in REPORT_PARTS.items()}
        for name, made in ((name, sae.planning.report(one)) for name, one in found.items())
    }


@case()
def evaluated():
    land = country()
    sizes = {code: 8 + 3 * d for d, code in enumerate(land.areas["region"].astype(str))}
    model = sae.FayHerriot("employment_rate ~ register_employment")
    found = sae.evaluation.evaluate(
        land,
        sizes,
        model,
        "employment_rate",
        domain="region",
        areas=land.areas,
        group="20 <= age <= 64",
        repetitions=3,
        seed=1,
    )
    return {"cells": found.cells, "bands": found.bands, "promise": found.promise, "failed": found.failed}


# ---------------------------------------------------------------- files to files

REGIONS = [f"R{number:02d}" for number in range(1, 15)]
COLUMNS = """
[survey.columns]
weights = "w"
strata = "region"
psu = "psu"
time = "year"

[survey.codes.labour_status]
column = "status"
employed = [1]
unemployed = [2]
inactive = [3]
"""
MODEL = (
    'title = "Employment rate by region"\n'
    + COLUMNS
    + """
[estimate]
indicator = "employment_rate"
by = ["region"]
smoothing = "gvf"

[model]
kind = "fay_herriot"
formula = "employment_rate ~ tertiary"
transform = "arcsin"

[benchmark]
method = "ratio"
weights = "population"

[publish]
policy = "eurostat_silc"
seed = 7
"""
)
PLAN = (
    'title = "More interviews by region"\n'
    + COLUMNS
    + """
[estimate]
indicator = "employment_rate"
by = "region"
smoothing = "deff"

[model]
formula = "employment_rate ~ tertiary"

[[target]]
cv = 0.08

[[target]]
cv = 0.07
only = { domain = "R03" }

[costs]
currency = "EUR"
interview = 40
contact = 2

[words]
domain = "region"

[publish]
policy = "eurostat_silc"
"""
)


def persons():
    rng = np.random.default_rng(5)
    rows = []
    for position, region in enumerate(REGIONS[:-1]):
        for cluster in range(4):
            size = int(rng.integers(6, 12) + 2 * position)
            rate = 0.45 + 0.02 * position + rng.normal(0, 0.05)
            rows.append(
                pd.DataFrame(
                    {
                        "region": region,
                        "psu": f"{region}-{cluster}",
                        "year": 2025,
                        "status": np.where(rng.random(size) < rate, 1, rng.integers(2, 4, size)),
                        "w": rng.uniform(50, 150, size).round(2),
                        "age": rng.integers(20, 65, size),
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def command(folder, *words):
    """Run `sae` in this process, in a folder; its exit status."""
    from sae.cli import main

    quiet = io.StringIO()
    with (
        contextlib.chdir(folder),
        mock.patch.object(sys, "argv", ["sae", *words]),
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        try:
            main()
        except SystemExit as stop:
            if stop.code:
                raise RuntimeError(f"sae {words[0]} ended with {stop.code}: {quiet.getvalue()}") from None
    return quiet.getvalue()


def tables(folder):
    """The tables that a command wrote, without the run's name."""
    return {
        path.name.replace(".", "_"): pd.read_csv(path, dtype=object, keep_default_na=False)
        .drop(columns="run", errors="ignore")
        .apply(numbers)
        for path in sorted(Path(folder).glob("*.csv"))
    }


def numbers(column):
    """Floats where all that stands in a column reads as a number, as written; else its text."""
    try:
        return pd.to_numeric(column.where(column != "", None)).astype(float)
    except (ValueError, TypeError):
        return column


@case()
def command_run_and_plan():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng, position = np.random.default_rng(6), np.arange(14)
        persons().to_csv(folder / "persons.csv", index=False)
        share = (0.2 + 0.015 * position + rng.normal(0, 0.01, 14)).round(4)
        size = 1000 + 100 * position
        pd.DataFrame({"region": REGIONS, "tertiary": share, "population": size}).to_csv(
            folder / "areas.csv", index=False
        )
        pd.DataFrame({"region": REGIONS, "population": size}).to_csv(folder / "strata.csv", index=False)
        (folder / "spec.toml").write_text(MODEL, encoding="utf-8")
        (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
        given = ["--survey", "persons.csv", "--areas", "areas.csv"]
        command(folder, "run", "spec.toml", *given, "--out", "results")
        command(folder, "plan", "plan.toml", "--frame", "strata.csv", *given, "--out", "plan")
        written = sorted(
            f"{part}/{path.name}" for part in ("results", "plan") for path in (folder / part).iterdir()
        )
        return {
            "files": written,
            "run": tables(folder / "results"),
            "plan": tables(folder / "plan"),
        }


@case()
def command_demo():
    with tempfile.TemporaryDirectory() as name:
        text = command(name, "demo", "--out", "demo")
        found = tables(Path(name) / "demo")
        main = found["employment_rate_by_birth_csv"]
        return {"text": text, "table": main.iloc[::5].reset_index(drop=True), "files": sorted(found)}
