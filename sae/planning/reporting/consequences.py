"""What a plan from a fitted model entails: for the nation, the field, the weights, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.planning.reporting.columns import pick
from sae.planning.reporting.details import ReportDetails
from sae.planning.reporting.tables import Section, Table, percent, shown
from sae.planning.with_model.arrays import Reach
from sae.planning.with_model.plan import OversamplePlan

__all__ = ["feasibility", "national_price", "out_of_reach", "weights_after"]


def national_price(plan: OversamplePlan, national: pd.DataFrame | None) -> Section:
    """Return what unequal rates do to national figures, and the requirement on them."""
    table = plan.price_for_national_estimates
    last = table.iloc[-1]
    text = [
        "Sampling some strata at a higher rate than others widens the errors of national figures: the design "
        "effect "
        "is the factor on their variance, compared with the same number of people at one rate everywhere.",
        f"With this plan it is {last['group_deff']:.2f} for national figures of the group and "
        f"{last['total_deff']:.2f} "
        "for everybody, if everybody contacted were counted.",
    ]
    left = 1.0 - float(last["group_covered"])
    if left > 1e-9:
        text.append(
            f"{percent(left)} of the group live in strata without any interview in this plan: national "
            "figures need "
            "the main survey there."
        )
    columns = pick(
        "allocation",
        "interviews",
        "contacts",
        "cost",
        "group_deff",
        "total_deff",
        "n_eff_group",
        "n_eff_total",
        "group_covered",
        "population_covered",
        interviews=("Interviews of the group", "count"),
    )
    tables = [Table("national", "One row per allocation.", table, columns)]
    if national is None:
        text.append(
            "Not given: the requirement on national estimates, such as that of the European regulation."
        )
    else:
        for line in national.to_dict("records"):
            text.append(f"{str(line['allocation']).capitalize()}: {_verdict(line)}")
        checked = pick(
            "allocation", "total_deff", "n_eff", "se", "required_se", "population_covered", "verdict"
        )
        national = national.assign(verdict=[_verdict(line) for line in national.to_dict("records")])
        tables.append(Table("requirement", "One row per allocation.", national, checked))
    return Section("The price for national estimates", tuple(text), tuple(tables))


def _verdict(line: Mapping[Any, Any]) -> str:
    rule = shown(line["rule"], "text")
    if not np.isfinite(line["required_se"]):
        return f"{rule} asks nothing of a population of this size."
    within = line["se"] <= line["required_se"]
    errors = f"standard error {percent(line['se'], 2)}, allowed {percent(line['required_se'], 2)}"
    if within and not line["met"]:
        left = percent(1.0 - line["population_covered"])
        return (
            f"{rule} is met by the strata of this plan ({errors}), but {left} of the people live in others."
        )
    return f"{rule} is {'met' if within else 'not met'} ({errors})."


def feasibility(plan: OversamplePlan) -> Section:
    """Return how near the plan comes to all members of the group, and how many are contacted."""
    strata = plan.strata.assign(reach=plan.strata["n"] / plan.strata["maximum"])
    full = int((strata["n"] >= strata["maximum"]).sum())
    strata = strata.sort_values(["contact_rate", "stratum"], ascending=[False, True], kind="stable")
    contacts, persons = strata["contacts"].sum(), strata["population"].sum()
    reached = f"{full:,} of {len(strata):,} strata reach" if full else "None reaches"
    text = [
        "No stratum gets more interviews than members of the group × response, or than the frame allows. "
        f"{reached} that limit.",
        f"{contacts:,.0f} persons are contacted, {percent(contacts / persons)} of all in the frame; in the "
        "stratum "
        f"with the heaviest burden {percent(strata['contact_rate'].iloc[0])} ({strata['stratum'].iloc[0]}).",
    ]
    columns = pick("stratum", "members", "maximum", "n", "reach", "contacts", "contact_rate")
    table = Table("feasibility", "One row per stratum, the heaviest burden first.", strata, columns)
    return Section("Feasibility and burden", tuple(text), (table,))


def weights_after(plan: OversamplePlan, about: ReportDetails) -> Section:
    """Return what an interview counts for, and what is to be calibrated."""
    strata = plan.strata
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = np.where(strata["n"] > 0, strata["members"] / strata["n"].where(strata["n"] > 0), np.nan)
    used = weight[np.isfinite(weight)]
    strata = strata.assign(weight=weight)
    text = [
        "Each interview counts for the members of its stratum divided by its interviews: the design weight, "
        "1 / contact rate, times the correction for non-response. Unweighted figures would be wrong.",
    ]
    if len(used):
        text.append(
            f"These weights run from {used.min():,.1f} to {used.max():,.1f} members per interview. Where the "
            "plan comes on "
            "top of the main survey, the two samples are put together with the rates of both before "
            "calibration."
        )
    text.append(
        f"Afterwards the weights are calibrated to: {about.calibration}."
        if about.calibration
        else "Not given: the totals for calibration. Population by stratum and group is the least that keeps "
        "an "
        "oversampled group at its size."
    )
    columns = pick(
        "stratum",
        "members",
        "n",
        "contact_rate",
        "weight",
        n=("Interviews", "count"),
        contact_rate=("Contact rate", "percent"),
    )
    return Section(
        "Weights and calibration afterwards",
        tuple(text),
        (Table("weights", "One row per stratum.", strata, columns),),
    )


def out_of_reach(plan: OversamplePlan, domains: pd.DataFrame, about: ReportDetails) -> Section:
    """Return the domains that no budget helps, that only the model helps, and that need nothing."""
    lost, saved, free = (
        domains[[one is reach for one in plan.reach]]
        for reach in (Reach.NEVER, Reach.MODEL_ONLY, Reach.WITHOUT_SAMPLE)
    )

    def paragraphs() -> Iterator[str]:
        if len(lost):
            yield (
                f"{about.many(len(lost))} cannot reach the target: not with every member of the group who "
                "would answer. "
                "A wider target, several years together, or a larger area would."
            )
        else:
            yield f"None: every {about.domain} with a target reaches it within its bounds."
        if len(saved):
            yield f"{about.many(len(saved))} can reach it only with the model: {', '.join(saved['domain'])}."
        if len(free):
            yield f"No sample of their own is needed in {about.many(len(free))}: {', '.join(free['domain'])}."

    columns = pick(
        "domain", "members", "required_cv", "reason", domain=(about.heading, "text"), reason=("Why", "text")
    )
    table = (Table("no_budget_suffices", f"One row per {about.domain}.", lost, columns),) if len(lost) else ()
    return Section(
        f"{about.plural.capitalize()} that no budget makes precise enough", tuple(paragraphs()), table
    )
