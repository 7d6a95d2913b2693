"""The ten contents of a report on a plan that a fitted model made."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.planning.reporting.alternatives import alternatives_section
from sae.planning.reporting.charts import precision_chart, sizes_chart
from sae.planning.reporting.columns import pick
from sae.planning.reporting.consequences import feasibility, national_price, out_of_reach, weights_after
from sae.planning.reporting.details import ReportDetails, reproduction, sources
from sae.planning.reporting.tables import Chart, Section, Table, percent
from sae.planning.with_model.plan import OversamplePlan
from sae.planning.with_model.tables import CONTACTS, COST

__all__ = ["headline_of_oversample", "quotations_of_oversample", "sections_of_oversample"]

_QUOTATIONS = 3  # sentences at the top of the page; all stand in the table "sentences"


def sections_of_oversample(
    plan: OversamplePlan,
    about: ReportDetails,
    *,
    national: pd.DataFrame | None = None,
    confirmed: pd.DataFrame | None = None,
) -> tuple[Section, ...]:
    """Return the ten contents in order."""
    domains = _with_gains(plan)
    return (
        _asked(plan, domains, about),
        _today(plan, domains, about),
        _assumed(plan, domains, about),
        _recommended(plan, domains, about, confirmed),
        alternatives_section(plan, about),
        national_price(plan, national),
        feasibility(plan),
        weights_after(plan, about),
        out_of_reach(plan, domains, about),
        reproduction(about, plan.provenance),
    )


def headline_of_oversample(plan: OversamplePlan, about: ReportDetails) -> list[tuple[str, str]]:
    """Return the figures that stand at the top of the page, each with its meaning."""
    domains = _with_gains(plan)
    asked = domains["rule"] != ""
    n, alone = plan.with_model.n.sum(), plan.direct.n.sum()
    direct_cost = float(plan.direct.n @ plan.cells.cost)
    held = int((domains["met_now_model"] & asked).sum())
    return [
        (
            f"{int((domains['met'] & asked).sum()):,} of {int(asked.sum()):,}",
            f"{about.plural} meet their target with this plan; today {held:,} with the model and "
            f"{int((domains['met_now_direct'] & asked).sum()):,} by the survey alone",
        ),
        (f"{n:,} interviews", plan.change.text),
        (about.money(plan.cost), f"{about.money(plan.cost / n)} per interview" if n else "no interviews"),
        (
            f"{alone:,} interviews",
            f"and {about.money(direct_cost)} without the model, for "
            f"{int((domains['met_direct_only'] & asked).sum()):,} of {int(asked.sum()):,} {about.plural}",
        ),
    ]


def quotations_of_oversample(plan: OversamplePlan, about: ReportDetails) -> list[str]:
    """Return sentences of domains with the least, the middle and the greatest need, each worded once."""
    sentences = _sentences(plan, about)
    if not len(sentences):
        return []
    order = sentences.sort_values(["n_direct", "domain"], kind="stable").index
    places = np.unique(np.linspace(0, len(order) - 1, _QUOTATIONS).round().astype(int))
    return [str(sentences.loc[order[place], "sentence"]) for place in places]


def _with_gains(plan: OversamplePlan) -> pd.DataFrame:
    """Add which targets are met today."""
    domains = plan.domains
    required = domains["required_cv"].where(np.isfinite(domains["required_cv"]))
    fine = required.astype("Float64") * (1.0 + 1e-9)
    return domains.assign(
        required_cv=required,
        met_now_direct=(domains["direct_cv_now"].astype("Float64") <= fine).fillna(False).astype(bool),
        met_now_model=(domains["model_cv_now"].astype("Float64") <= fine).fillna(False).astype(bool),
        publishable_now=domains["publishable_now"].astype("boolean"),
    )


def _sentences(plan: OversamplePlan, about: ReportDetails) -> pd.DataFrame:
    worth = plan.worth
    return (
        worth.loc[plan.has_target].assign(sentence=list(plan.sentences(about.plural))).reset_index(drop=True)
    )


def _asked(plan: OversamplePlan, domains: pd.DataFrame, about: ReportDetails) -> Section:
    rules = domains.assign(rule=domains["rule"].replace("", "no target"))
    counts = rules.groupby("rule", sort=False).size().rename("count").reset_index()
    counts.insert(
        0, "indicator", about.indicator or plan.provenance.get("indicator", "") or "the figure of the model"
    )
    counts.insert(1, "group", about.group or "everybody in the frame")
    sure = (
        "With the model, a target counts as met when the mean squared error stays within it with a "
        "probability of "
        f"{percent(plan.assurance, 0)}, given what the data tell of the model's variance."
        if plan.assurance
        else "With the model, a target counts as met when the mean squared error, averaged over what the "
        "data tell "
        "of the model's variance, stays within it."
    )
    text = [
        f"Each line is a demand on so many {about.plural}. Without the model, the variance of the direct "
        "estimate must "
        "stay within the target. " + sure,
    ]
    if about.policy:
        text.append(f"Today's figures are judged by the publication policy “{about.policy}”.")
    else:
        text.append("Not given: the publication policy that judges today's figures.")
    columns = pick("indicator", "group", "rule", "count", count=(f"Number of {about.plural}", "count"))
    return Section(
        "What is asked for", tuple(text), (Table("targets", "One row per target.", counts, columns),)
    )


def _today(plan: OversamplePlan, domains: pd.DataFrame, about: ReportDetails) -> Section:
    asked = domains["rule"] != ""
    text = [
        f"{about.many(len(domains))}, {int((domains['n_now'] > 0).sum()):,} of them with at least one "
        "interview of "
        f"the group, {plan.change.now:,} interviews in all (median "
        f"{domains['n_now'].median():,.0f}).",
        f"The survey alone meets the target in {int((domains['met_now_direct'] & asked).sum()):,} of "
        f"{int(asked.sum()):,}; with the model it is {int((domains['met_now_model'] & asked).sum()):,}.",
    ]
    if (
        domains["flag_now"].astype("string").fillna("").eq("").all()
        and domains["publishable_now"].isna().all()
    ):
        text.append("Not given: today's flags. Judge the fit by a policy with fit.flag(...) before planning.")
    columns = pick(
        "domain",
        "n_now",
        "n_eff_now",
        "estimate",
        "direct_cv_now",
        "model_cv_now",
        "required_cv",
        "gamma_now",
        "flag_now",
        "publishable_now",
        "met_now_direct",
        "met_now_model",
        domain=(about.heading, "text"),
        n_now=("Interviews", "count"),
        estimate=("Estimate", plan_kind(domains)),
    )
    chart = Chart(
        precision_chart(domains, about.plural),
        "Coefficient of variation today and with the plan; every target is on the black line.",
    )
    caption = (
        f"One row per {about.domain}: the sample of today and what it gives. Flags: e estimated by a model, "
        "u of low "
        "reliability, :u too unreliable to publish, :c confidential."
    )
    return Section(
        "Where we stand today", tuple(text), (Table("today", caption, domains, columns),), (chart,)
    )


def plan_kind(domains: pd.DataFrame) -> str:
    """Return how estimates are shown: as shares where there is a design effect of p (1 - p)."""
    return "percent" if domains["deff"].notna().any() else "number"


def _assumed(plan: OversamplePlan, domains: pd.DataFrame, about: ReportDetails) -> Section:
    cells, table = plan.cells, plan.assumptions
    ranges = {
        COST: f"{about.money(cells.cost.min())} to {cells.cost.max():,.0f} with screening",
        CONTACTS: f"{cells.contacts.min():,.1f} to {cells.contacts.max():,.1f} persons",
    }
    table = table.assign(value=table["assumption"].map(ranges).fillna(table["value"]))
    columns = {"assumption": ("Assumption", "text"), "value": ("Value", "text"), "source": ("Source", "text")}
    of_domain = pick(
        "domain",
        "members",
        "estimate",
        "unit_sd",
        "deff",
        domain=(about.heading, "text"),
        estimate=("Level taken", plan_kind(domains)),
    )
    text = [
        "The sampling variance of n interviews out of M members is S² deff (1/n - 1/M): asking all of them "
        "leaves no error. Clustering (the intra-class correlation ρ) is in the design effect: another number "
        "of interviews per sampling unit changes it.",
        f"What varies between {about.plural} beyond the covariates, σu, is not one number here: all that the "
        "data "
        "tell of it enters (first line of the table).",
    ]
    return Section(
        "What is assumed",
        (*text, *sources(about)),
        (
            Table("assumptions", "One row per assumption.", table, columns),
            Table("assumed_by_domain", f"One row per {about.domain}.", domains, of_domain),
        ),
    )


def _recommended(
    plan: OversamplePlan, domains: pd.DataFrame, about: ReportDetails, confirmed: pd.DataFrame | None
) -> Section:
    n = int(plan.with_model.n.sum())
    asked, simulated = domains["rule"] != "", []
    text = [
        f"{n:,} interviews of the group in {int((plan.with_model.n > 0).sum()):,} of {len(plan.strata):,} "
        "strata, "
        f"{plan.change.text}, for {about.money(plan.cost)}. They meet the target in "
        f"{int((domains['met'] & asked).sum()):,} of {int(asked.sum()):,} {about.plural} "
        f"({percent((domains['met'] & asked).sum() / max(asked.sum(), 1), 0)}).",
        "Attained CVs are expectations for the planned sample: direct, and with the model, averaged over "
        "what is known "
        "of σu, with the 95 % interval that this knowledge leaves (from, to). “Sure to” is the probability "
        "that the "
        "target is met.",
        "In the table of strata, the last column is what one more interview there would save in other strata "
        "with all "
        "targets held. It equals the cost of the interview, but where a stratum is at one of its bounds.",
    ]
    if confirmed is not None:
        promised = (domains["met"] & asked).to_numpy()
        kept = int((confirmed["kept"].to_numpy() & promised).sum())
        text.append(
            f"A simulation of the planned survey (parametric bootstrap) confirms the target in {kept:,} of "
            "the "
            f"{int(promised.sum()):,} {about.plural} that are to meet it, two simulation errors allowed. "
            f"What sets the {about.plural} apart is drawn anew from the model: the promise is one over "
            f"{about.plural} like each."
        )
        slope = np.abs(domains["estimate"].to_numpy(dtype=float))
        simulated.append("bootstrap_cv")
        domains = domains.assign(bootstrap_cv=confirmed["bootstrap_rmse"].to_numpy() / slope)
    else:
        text.append(
            "Not given: a confirmation by parametric bootstrap, sae.planning.confirm(plan, seed=...)."
        )
    columns = pick(
        "domain",
        "n_now",
        "n_model",
        "added",
        "removed",
        "extra",
        "n_direct",
        "required_cv",
        "direct_cv",
        "model_cv",
        "model_cv_low",
        "model_cv_high",
        "probability",
        *simulated,
        "met",
        "reason",
        domain=(about.heading, "text"),
        n_now=("Today", "count"),
    )
    of_stratum = pick(
        "stratum",
        "population",
        "members",
        "density",
        "n_now",
        "n",
        "added",
        "removed",
        "extra",
        "n_direct",
        "cost_per_interview",
        "cost",
        "cost_direct_only",
        "price",
        population=("Persons", "count"),
    )
    sentences = Table(
        "sentences",
        f"One sentence per {about.domain}, to quote.",
        _sentences(plan, about),
        pick("domain", "sentence", domain=(about.heading, "text")),
    )
    chart = Chart(
        sizes_chart(domains, about.plural),
        "Interviews of the group today, recommended, and without the model.",
    )
    return Section(
        "What is recommended",
        tuple(text),
        (
            Table("domains", f"One row per {about.domain}.", domains, columns),
            Table("strata", "One row per stratum.", plan.strata, of_stratum),
            sentences,
        ),
        (chart,),
    )
