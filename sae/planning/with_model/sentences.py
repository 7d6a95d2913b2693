"""The sentences of a plan: what the model is worth, and the plan in a few lines."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import name_some
from sae.planning.precision import PrecisionRule
from sae.planning.with_model.arrays import PlanArrays

__all__ = ["range_text", "summary_text", "worth_sentence"]


def summary_text(plan: PlanArrays, domains: pd.DataFrame, indicator: str) -> str:
    """Return what is asked, what it takes and what it costs, in a few lines."""
    asked = plan.has_target
    n, alone = int(plan.with_model.n.sum()), int(plan.direct.n.sum())
    rules = [rule for rule in dict.fromkeys(plan.rules) if rule]
    cost, direct_cost = (
        amount_text(float(sizes.n @ plan.cells.cost)) for sizes in (plan.with_model, plan.direct)
    )
    sure = f", {100 * plan.assurance:.0f} % sure" if plan.assurance else ", on average"
    met, met_alone = (int(domains[name][asked].sum()) for name in ("met", "met_direct_only"))
    lines = [
        f"Oversample plan for {indicator}: {len(domains)} domains, {len(plan.cells.strata)} strata",
        f"asked: {'; '.join(rules[:3] + ['…'] * (len(rules) > 3))} in {int(asked.sum())} domains{sure}",
        f"with the model: {n:,} interviews, cost {cost}, {met} of {int(asked.sum())} met",
        f"direct only: {alone:,} interviews, cost {direct_cost}, {met_alone} of {int(asked.sum())} met",
        f"today: {plan.change.now:,} interviews; {plan.change.added:,} added, {plan.change.removed:,} taken "
        f"away, {plan.change.net:+,} net",
    ]
    missed = domains[asked & ~domains["met"]]
    if len(missed):
        names = name_some(f"{line.domain} ({line.reason})" for line in missed.itertuples())
        lines.append(f"not met: {names}")
    return "\n".join(lines)


def worth_sentence(
    line: Mapping[Hashable, Any],
    rule: PrecisionRule,
    assurance: float | None,
    planned: float,
    reachable: bool,
    areas_called: str,
) -> str:
    """Return what the model is worth over domains like this one.

    Parameters
    ----------
    line : mapping
        A row of `worth_table`.
    rule : PrecisionRule
        The target of the domain.
    assurance : float or None
        Probability with which the plan meets it.
    planned : float
        Interviews that the plan takes; NaN where it is not to be told.
    reachable : bool
        Whether a sample within the bounds of the frame suffices without the model.
    areas_called : str
        Several domains: "cities".
    """
    direct, low = line["n_direct"], line["worth_low"]
    never = f"{rule.phrase}, which no sample within the bounds of the frame reaches without it"
    if line["worth_low"] >= direct:
        alone = f"Over {areas_called} like {line['domain']} the model alone is precise enough"
        if not reachable:
            return f"{alone} for {never}."
        return f"{alone}: it is worth all the {direct:,.0f} interviews that {rule.phrase} takes without it."
    start = f"Over {areas_called} like {line['domain']} the model is worth "
    sure = ""
    if assurance and np.isfinite(planned):
        sure = f"; to be {100 * assurance:.0f} % sure, the plan takes {planned:,.0f}"
    some = f"some {line['n_model']:,.0f}" if line["n_model"] >= 0.5 else "no own sample"
    end = f"{some} instead of {direct:,.0f} for {rule.phrase}{sure}."
    if not reachable:
        end = f"{some} for {never}{sure}."
    if not np.isfinite(line["worth_high"]):
        return (
            f"{start}about {_count(line['worth'])} interviews, at least {_count(low)}, and as far as the "
            f"data tell it may be worth all {direct:,.0f}: {end}"
        )
    interval = f"95 % interval {_count(low)} to {_count(line['worth_high'])}"
    return f"{start}about {_count(line['worth'])} interviews, {interval}: {end}"


def amount_text(cost: float) -> str:
    """Write a cost to the unit, small ones with three digits."""
    return f"{cost:,.0f}" if abs(cost) >= 100 else f"{cost:.3g}"


def range_text(values: np.ndarray) -> str:
    """Write the least and the largest of some costs."""
    low, high = amount_text(float(values.min())), amount_text(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _count(n: float) -> str:
    """Write a number of interviews with two digits: 61, 140, 1,200."""
    if n < 100:
        return f"{n:.0f}"
    return f"{float(f'{n:.2g}'):,.0f}"
