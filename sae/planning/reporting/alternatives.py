"""What else could be done: other budgets, other rules for as many interviews, the next interviews."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.numerics.allocation.closed_form import (
    costa_weights,
    fill,
    longford_weights,
    power_weights,
    round_to_total,
)
from sae.numerics.allocation.rare_groups import oversampling_deff
from sae.planning.reporting.charts import frontier_chart
from sae.planning.reporting.columns import pick
from sae.planning.reporting.details import ReportDetails
from sae.planning.reporting.tables import Chart, Section, Table
from sae.planning.with_model.plan import OversamplePlan
from sae.planning.with_model.tradeoffs import best_interviews, frontier

__all__ = ["alternatives_section", "other_rules"]

_BUDGETS = 101  # of the chart; the table shows every tenth
_NEXT = 500  # interviews whose best use is told


def alternatives_section(plan: OversamplePlan, about: ReportDetails) -> Section:
    """Return the frontier, the rules of thumb at the plan's number of interviews, and the best next ones."""
    least = float(plan.cells.cost @ plan.cells.lower)
    most = float(frontier(plan, 2)["budget"].iloc[-1])
    line = frontier(plan, np.linspace(least, most, _BUDGETS).tolist())
    some = line.iloc[:: (_BUDGETS - 1) // 10].reset_index(drop=True)
    rules = other_rules(plan)
    chart = Chart(
        frontier_chart(line, plan.cost, about.currency or "cost units", about.plural.capitalize()),
        f"{about.plural.capitalize()} that meet their target, by budget: direct estimates only, and with the "
        "model.",
    )
    kept = plan.cells.now_given and bool((plan.cells.lower >= plan.now).all() and plan.now.sum() > 0)
    half = some.iloc[len(some) // 2]
    text = [
        f"A budget of {about.money(half['budget'])} makes {half['publishable_direct']:,.0f} {about.plural} "
        "precise enough "
        f"by direct estimates only, and {half['publishable_model']:,.0f} with the model. Budgets run from "
        "what the least "
        f"interviews cost ({about.money(least)}{', those of today included' if kept else ''}) to the cost of "
        "all targets, "
        f"the cheapest {about.plural} first; interviews are not yet rounded to whole numbers. Today's sample "
        "counts "
        "here as if it had been drawn by the strata of the frame.",
        f"The second table spreads the {int(plan.with_model.n.sum()):,} interviews of this plan by other "
        "rules: power "
        "allocation (q = 0 aims at equal CVs), Costa–Satorra–Ventura (k = 1 proportional, k = 0 equal) and "
        "Longford "
        "(q: weight of size, G: weight of the nation).",
    ]
    budget_columns = pick(
        "budget",
        "publishable_direct",
        "share_direct",
        "interviews_direct",
        "publishable_model",
        "share_model",
        "interviews_model",
    )
    rule_columns = pick(
        "rule", "interviews", "cost", "met_direct", "met_model", "total_deff", rule=("Rule", "text")
    )
    tables = [
        Table("frontier", "One row per budget.", some, budget_columns),
        Table(
            "other_rules",
            "One row per rule; all but the second with the number of interviews of this plan.",
            rules,
            rule_columns,
        ),
    ]
    following = _next(plan)
    kind = "percent" if plan.model.share else "small"
    if following is not None:
        extra = round(float(following["extra"].sum()))
        text.append(
            f"If only {extra:,} interviews can be added to today's, the last table shows where they cut the "
            "total mean "
            "squared error most: by "
            f"{100 * (1 - following['mse_then'].sum() / following['mse_now'].sum()):.0f} %."
        )
        order = following.sort_values(["extra", "domain"], ascending=[False, True], kind="stable")
        tables.append(
            Table(
                "next_interviews",
                f"One row per {about.domain} that gets some of them.",
                order[order["extra"] >= 0.5],
                pick(
                    "domain",
                    "n_now",
                    "extra",
                    "rmse_now",
                    "rmse_then",
                    domain=(about.heading, "text"),
                    rmse_now=("RMSE today", kind),
                    rmse_then=("RMSE then", kind),
                ),
            )
        )
    else:
        text.append(
            f"Not given: the best use of {_NEXT:,} more interviews; there are not so many members left."
        )
    return Section("What other budgets and rules would give", tuple(text), tuple(tables), (chart,))


def other_rules(plan: OversamplePlan) -> pd.DataFrame:
    """Return what rules of thumb reach with the interviews of the plan, within its bounds.

    Returns
    -------
    DataFrame
        rule, interviews, cost, met_direct, met_model (domains with a target that meet it), total_deff; the
        plan and its counterpart without the model first.
    """
    cells, total = plan.cells, int(plan.with_model.n.sum())
    members = cells.group
    share = cells.members.multiply(1.0 / members[:, None]).tocsr()
    sd = np.sqrt(np.asarray(share @ plan.unit))
    cv = sd / np.abs(np.asarray(share @ plan.model.estimate[plan.rows]))
    rules = {
        **{f"power q = {q:g}": power_weights(members, cv, q) for q in (0.0, 0.25, 0.5, 0.75, 1.0)},
        **{f"Costa–Satorra–Ventura k = {k:g}": costa_weights(members, k) for k in (0.0, 0.5, 1.0)},
        **{
            f"Longford q = {q:g}, G = {G:g}": longford_weights(members, sd, q, G)
            for q in (0.0, 0.5, 1.0)
            for G in (0.0, 1.0)
        },
    }
    lines = [
        _line(plan, "this plan", plan.with_model.n),
        _line(plan, "cheapest without the model", plan.direct.n),
    ]
    for rule, weights in rules.items():
        n = round_to_total(fill(weights, total, cells.lower, cells.upper), total, cells.lower, cells.upper)
        lines.append(_line(plan, rule, n))
    return pd.DataFrame(lines)


def _line(plan: OversamplePlan, rule: str, n: np.ndarray) -> dict[str, object]:
    asked = np.isfinite(plan.bound)
    rate = n * plan.cells.contacts / plan.cells.persons
    used = rate > 0
    return {
        "rule": rule,
        "interviews": int(n.sum()),
        "cost": float(n @ plan.cells.cost),
        "met_direct": int((plan.publishable(n, with_model=False) & asked).sum()),
        "met_model": int((plan.publishable(n, with_model=True) & asked).sum()),
        "total_deff": oversampling_deff(plan.cells.persons[used], rate[used]) if used.any() else np.nan,
    }


def _next(plan: OversamplePlan) -> pd.DataFrame | None:
    try:
        best = best_interviews(plan, float(_NEXT))
    except SaeInputError:
        return None
    if not np.isfinite(best[["mse_now", "mse_then"]].to_numpy()).all():
        return None
    return best.assign(rmse_now=np.sqrt(best["mse_now"]), rmse_then=np.sqrt(best["mse_then"]))
