"""The ten contents of a report on a plan for direct estimates, made without a model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.numerics.allocation.rare_groups import oversampling_deff
from sae.planning.direct.changes import change_of
from sae.planning.precision import Measure
from sae.planning.reporting.columns import pick
from sae.planning.reporting.details import ReportDetails, reproduction, sources
from sae.planning.reporting.tables import Section, Table, percent
from sae.tables import Allocation

__all__ = ["headline_of_allocation", "sections_of_allocation"]

_NO_MODEL = "Not given: a fitted model. sae.planning.oversample(fit, ...) shows what one would save."


def headline_of_allocation(plan: Allocation, about: ReportDetails) -> list[tuple[str, str]]:
    """Return the figures at the top of the page, each with its meaning."""
    headline = [(f"{plan.total:,} interviews", _against_today(plan)), (about.money(plan.cost), plan.method)]
    if len(plan.targets):
        met = int(plan.targets["met"].sum())
        headline.insert(0, (f"{met:,} of {len(plan.targets):,}", "targets met"))
    return headline


def sections_of_allocation(plan: Allocation, about: ReportDetails) -> tuple[Section, ...]:
    """Return the ten contents in order."""
    return (
        _asked(plan),
        _today(plan),
        _assumed(plan, about),
        _recommended(plan, about),
        _alternatives(plan, about),
        _national(plan),
        _feasible(plan),
        _weights(plan, about),
        _hopeless(plan),
        reproduction(about, {"method": plan.method, **plan.certificate, **plan.provenance}),
    )


def _against_today(plan: Allocation) -> str:
    if plan.frame["n_now"].isna().any():
        return "today's number is not given"
    n, now = (plan.frame[name].to_numpy(float) for name in ("n", "n_now"))
    return change_of(n, now).text


def _asked(plan: Allocation) -> Section:
    keys = ["indicator", "group", "by", "rule"]
    counts = plan.targets.groupby(keys, sort=False, dropna=False).size().rename("count").reset_index()
    counts = counts.assign(
        group=counts["group"].replace("", "everybody"), by=counts["by"].replace("", "all strata together")
    )
    columns = pick("indicator", "group", "by", "rule", "count")
    text = ["Every domain of a line is to have a direct estimate as precise as its target says."]
    if not len(plan.targets):
        text = ["Not given: targets. The plan spreads a number of interviews by a rule."]
    return Section(
        "What is asked for", tuple(text), (Table("targets", "One row per target.", counts, columns),)
    )


def _today(plan: Allocation) -> Section:
    if plan.frame["n_now"].isna().any():
        return Section(
            "Where we stand today",
            ("Not given: today's interviews per stratum (column n_now of the frame).", _NO_MODEL),
        )
    columns = pick(
        "indicator",
        "group",
        "domain",
        "n_now",
        "cv_now",
        "required_cv",
        "met_now",
        n_now=("Interviews", "count"),
    )
    table = plan.targets.assign(met_now=plan.targets["se_now"] <= plan.targets["required_se"] * (1 + 1e-9))
    text = (f"{int(table['met_now'].sum()):,} of {len(table):,} targets are met today.", _NO_MODEL)
    return Section(
        "Where we stand today", text, (Table("today", "One row per target and domain.", table, columns),)
    )


def _assumed(plan: Allocation, about: ReportDetails) -> Section:
    sds = {name: (f"S of {name[3:]}", "small") for name in map(str, plan.frame) if name.startswith("sd_")}
    columns = pick("stratum", "population", "response", "cost", cost=("Cost of an interview", "number")) | sds
    text = [
        "S is the standard deviation between persons of a stratum; with a design effect (clustering, unequal "
        "weights) the "
        "sampling variance of n interviews is S² deff / n, less what the finite stratum takes off.",
        *sources(about),
    ]
    return Section(
        "What is assumed", tuple(text), (Table("assumptions", "One row per stratum.", plan.frame, columns),)
    )


def _recommended(plan: Allocation, about: ReportDetails) -> Section:
    text = [
        f"{plan.total:,} interviews for {about.money(plan.cost)}: {plan.method}. "
        f"{_against_today(plan).capitalize()}."
    ]
    if len(plan.targets):
        text.append(f"{percent(plan.share_met, 0)} of the targets are met by direct estimates.")
    text.append(_NO_MODEL)
    of_domain = pick(
        "indicator",
        "group",
        "domain",
        "rule",
        "mean",
        "n_now",
        "n",
        "required_cv",
        "cv",
        "met",
        "price",
        n=("Expected interviews", "count"),
        price=("A standard error 1 % larger saves", "number"),
    )
    of_stratum = pick(
        "stratum", "population", "n_now", "n", "added", "removed", "extra", "total_cost", "shadow_price"
    )
    strata = plan.frame.assign(
        total_cost=plan.frame["n"].astype(float) * plan.frame["cost"],
        added=plan.frame["extra"].clip(lower=0),
        removed=(-plan.frame["extra"]).clip(lower=0),
    )
    tables = [Table("strata", "One row per stratum.", strata, of_stratum)]
    if len(plan.targets):
        tables.insert(0, Table("domains", "One row per target and domain.", plan.targets, of_domain))
    return Section("What is recommended", tuple(text), tuple(tables))


def _alternatives(plan: Allocation, about: ReportDetails) -> Section:
    if not len(plan.targets):
        return Section(
            "What other budgets and rules would give", ("Not given: targets to hold other budgets against.",)
        )
    dear = plan.targets.sort_values("price", ascending=False, kind="stable").head(10)
    columns = pick(
        "indicator", "group", "domain", "rule", "price", price=("A standard error 1 % larger saves", "number")
    )
    text = (
        "The targets that cost most at the margin: what the plan would cost less "
        f"({about.currency or 'cost units'}) if "
        "the standard error required were 1 % larger.",
        "Not given: a frontier of budgets with and without a model; it needs a fitted model.",
    )
    return Section(
        "What other budgets and rules would give",
        text,
        (Table("dearest_targets", "One row per target and domain.", dear, columns),),
    )


def _national(plan: Allocation) -> Section:
    n, N = plan.frame["n"].to_numpy(dtype=float), plan.frame["population"].to_numpy(dtype=float)
    used = n > 0
    deff = oversampling_deff(N[used], (n / N)[used])
    text = [
        f"Unequal rates multiply the variance of national figures by {deff:.2f}, compared with the same "
        "interviews at one "
        "rate everywhere (before what stratification gains).",
    ]
    if not used.all():
        text.append(
            f"{percent(float(N[~used].sum() / N.sum()))} of the population live in strata without an "
            "interview."
        )
    required = np.array([Measure.EFFECTIVE_SIZE in measures for measures in plan.measures], dtype=bool)
    national = plan.targets[required & (plan.targets["by"] == "")]
    for line in national.to_dict("records"):
        text.append(f"{line['indicator']}: {line['rule']} is {'met' if line['met'] else 'not met'}.")
    if not len(national):
        text.append("Not given: a requirement on national estimates among the targets.")
    return Section("The price for national estimates", tuple(text))


def _feasible(plan: Allocation) -> Section:
    frame = plan.frame.assign(reach=plan.frame["n"].astype(float) / plan.frame["maximum"].astype(float))
    full = int((frame["n"] >= frame["maximum"]).sum())
    heavy = frame.sort_values("rate", ascending=False, kind="stable").iloc[0]
    text = (
        f"No stratum gets more interviews than population × response; {full:,} of {len(frame):,} reach their "
        "maximum.",
        f"{int(frame['issued'].sum()):,} addresses are issued; the heaviest burden is "
        f"{percent(float(heavy['rate']))} of "
        f"{heavy['stratum']}.",
    )
    columns = pick("stratum", "maximum", "n", "reach", "issued", "rate")
    return Section(
        "Feasibility and burden", text, (Table("feasibility", "One row per stratum.", frame, columns),)
    )


def _weights(plan: Allocation, about: ReportDetails) -> Section:
    n = plan.frame["n"].to_numpy(dtype=float)
    with np.errstate(divide="ignore"):
        weight = np.where(n > 0, plan.frame["population"] / n, np.nan)
    frame = pd.DataFrame({"stratum": plan.frame["stratum"], "rate": plan.frame["rate"], "weight": weight})
    text = (
        "Each interview counts for the population of its stratum divided by its interviews. Unweighted "
        "figures would be wrong.",
        f"Afterwards the weights are calibrated to: {about.calibration}."
        if about.calibration
        else "Not given: the totals for calibration. Population by stratum and group is the least that keeps "
        "an "
        "oversampled group at its size.",
    )
    columns = pick(
        "stratum",
        "rate",
        "weight",
        rate=("Sampling rate", "percent"),
        weight=("Persons per interview", "number"),
    )
    return Section(
        "Weights and calibration afterwards",
        text,
        (Table("weights", "One row per stratum.", frame, columns),),
    )


def _hopeless(plan: Allocation) -> Section:
    lost = plan.targets[~plan.targets["met"].astype(bool)]
    columns = pick("indicator", "group", "domain", "rule", "cv", "required_cv")
    if not len(lost):
        nothing = (
            "None: every target is met within the bounds of the frame."
            if len(plan.targets)
            else "Not given: targets."
        )
        return Section("Domains that no budget makes precise enough", (nothing,))
    text = (
        f"{len(lost):,} targets are not met by this number of interviews. The cheapest plan (no total given) "
        "says which "
        "of them no budget could meet.",
    )
    return Section(
        "Domains that no budget makes precise enough",
        text,
        (Table("not_met", "One row per target and domain.", lost, columns),),
    )
