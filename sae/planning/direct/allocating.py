"""`allocate`: the cheapest plan that meets the targets, or a total spread by a named method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.allocation.convex import ConvexAllocation
from sae.planning.direct.constraints import constraints_of
from sae.planning.direct.methods import Method
from sae.planning.direct.solve import Plan, solve_targets, with_least_sizes
from sae.planning.direct.strata import (
    INTERVIEWS,
    LIMIT,
    PREFIXES,
    Range,
    StrataFrame,
    announce_unread,
)
from sae.planning.direct.tables import table_of
from sae.planning.direct.two_stage import TwoStage
from sae.planning.precision import Target
from sae.tables import Allocation

__all__ = ["allocate"]

_FEWEST = 2  # interviews of a stratum: one leaves no variance
_ROUNDS = 40  # design effects and sizes that depend on each other


@answered
def allocate(
    frame: pd.DataFrame,
    targets: Target | Sequence[Target] = (),
    *,
    method: Literal["cheapest"] | Method = "cheapest",
    total: int | None = None,
    budget: float | None = None,
    minimum: int | str | None = None,
    maximum: int | str | None = None,
    design: TwoStage | None = None,
) -> Allocation:
    """Plan how many interviews each stratum gets.

    Parameters
    ----------
    frame : DataFrame
        One row per stratum: ``stratum``, ``population``; for each indicator ``share_<indicator>``, or
        ``mean_<indicator>`` and ``sd_<indicator>``. Optional: ``cost`` of an interview (1), ``response``
        (1), ``deff_<indicator>`` or ``deff`` (1), ``n_now``, ``minimum``, ``maximum``, ``density_<group>``
        or ``density`` with ``share_<indicator>_<group>``, and the columns of the domains.
    targets : Target or sequence of Target
        What is asked for; for a method of a given total, what is reported.
    method : "cheapest" or Method
        "cheapest": the smallest cost that meets every target (Bethel's problem, solved as a convex
        programme). With ``total`` or ``budget`` the largest precision in the proportions that the targets
        set: all standard errors required times the smallest common factor that can be paid for.
        Else an object of `sae.planning`: ``Proportional()``, ``Equal()``, ``Neyman("rate")``,
        ``CostOptimal("rate")``, ``Power("rate", q=0.5)``, ``Costa(k=0.5)``, ``Longford("rate")``,
        ``MolefeClark(rho=0.05)``, ``Density("foreign", cost_ratio=6)``.
    total, budget : int, float, optional
        Interviews in all, or what they may cost; one of the two.
    minimum, maximum : int or str, optional
        Bounds per stratum, or the column that holds them; by default the columns ``minimum`` (else 2) and
        ``maximum`` (else none). No stratum gets more than population × response.
    design : TwoStage, optional
        Primary units; the design effect of clustering then follows the allocation.

    Returns
    -------
    Allocation
        Whole numbers that meet every constraint; never dearer than the real-valued optimum rounded up.

    Raises
    ------
    SaeInputError
        If a column, a domain or a bound is at fault, or targets cannot be met: it names them, and the CV
        that a census of the domain at the expected response would reach.
    SaeSpecError
        If the options contradict each other.

    References
    ----------
    Bethel (1989), Survey Methodology 15, 47-57; Falorsi and Righi (2015), Survey Methodology 41, 215-236.

    Examples
    --------
    >>> frame = pd.DataFrame({"stratum": ["north", "south"], "population": [60_000, 40_000],
    ...                       "share_employed": [0.6, 0.5]})
    >>> target = sae.planning.Target("employed", sae.planning.CV(0.05), by="stratum")
    >>> plan = sae.planning.allocate(frame, target)
    >>> plan[["stratum", "n"]].to_dict("list"), bool(plan.targets["met"].all())
    ({'stratum': ['north', 'south'], 'n': [266, 397]}, True)
    """
    strata = StrataFrame.of_strata(frame)
    if minimum is None:
        minimum = "minimum" if strata.has("minimum") else _FEWEST
    if maximum is None and strata.has("maximum"):
        maximum = "maximum"
    listed = [targets] if isinstance(targets, Target) else list(targets)
    announce_unread(_unread(strata, listed, method, (minimum, maximum), design))
    low, high = _bounds(strata, minimum, maximum)
    if design is not None and not isinstance(design, TwoStage):
        raise SaeSpecError(f"design = {design!r} is no design.", hint="Give TwoStage(units), or nothing.")
    if total is not None and budget is not None:
        raise SaeSpecError("Both total= and budget= are given.", hint="Give one of the two.")
    unit = strata.cost if budget is not None else np.ones(len(strata))
    money = budget if budget is not None else total
    _check_money(money, unit, low, high, "budget" if budget is not None else "total")
    options: dict[str, Any] = {
        "method": method if isinstance(method, str) else method.text,
        "total": total,
        "budget": budget,
        "minimum": minimum,
        "maximum": maximum,
        "targets": [f"{t.indicator}: {t.rule.text}" for t in listed],
    }
    if isinstance(method, Method):
        plan_method(method, money)
        return _by_method(strata, listed, method, float(money or 0), unit, low, high, design, options)
    if method != "cheapest":
        raise SaeSpecError(
            f"method={method!r} is no method.",
            hint='Use "cheapest" or an object such as Power("rate", q=0.5).',
        )
    if not listed:
        raise SaeSpecError(
            "The cheapest plan needs targets.", hint='Such as Target("rate", CV(0.1), by="region").'
        )
    if low.min() < 1:
        raise SaeSpecError("minimum must be at least 1: a stratum without sample has no variance.")
    plan, used = _cheapest(
        strata, listed, unit if money is not None else strata.cost, low, high, money, design
    )
    description = "cheapest plan that meets every target (convex programme)"
    if money is not None:
        change = "looser" if plan.loosened > 1 else "tighter"
        description = (
            f"best common precision for the {'budget' if budget is not None else 'total'}: "
            f"standard errors {abs(plan.loosened - 1):.1%} {change} than asked"
        )
    certificate = {
        "kkt": plan.exact.kkt,
        "gap": plan.exact.gap,
        "lower_bound": plan.exact.cost,
        "loosened": plan.loosened,
        "steps": plan.exact.steps,
    }
    return table_of(used, plan, low, high, description, certificate, options)


def plan_method(method: Method, money: float | None) -> None:
    """Refuse a method of a given total without one."""
    if money is None:
        raise SaeSpecError(
            f"The method ({method.text}) spreads a given number of interviews.",
            hint="Give total= or budget=.",
        )


def _bounds(
    strata: StrataFrame, minimum: int | str, maximum: int | str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Whole-number bounds per stratum: the minimum gives way to population × response, the maximum not."""
    reach = np.maximum(np.floor(strata.population * strata.response + 1e-9), 1.0)
    low = _bound(strata, "minimum", minimum, INTERVIEWS)
    high = reach if maximum is None else np.minimum(reach, _bound(strata, "maximum", maximum, LIMIT))
    low = np.minimum(low, reach)
    crossed = [label for label, bad in zip(strata.labels, low > high, strict=True) if bad]
    if crossed:
        raise SaeInputError(
            f"minimum is above maximum in {len(crossed)} strata: {name_some(crossed)}.", areas=crossed
        )
    return low, high


def _bound(strata: StrataFrame, name: str, given: int | str, allowed: Range) -> np.ndarray:
    if isinstance(given, str):
        return strata.column(given, allowed)
    if not (isinstance(given, (int, float, np.number)) and allowed.holds(np.array([float(given)]))[0]):
        raise SaeSpecError(f"{name} = {given!r} is not {allowed.text}.")
    return np.full(len(strata), float(given))


def _unread(
    strata: StrataFrame,
    targets: list[Target],
    method: object,
    bounds: tuple[int | str | None, ...],
    design: TwoStage | None,
) -> list[str]:
    """Refuse misspelt columns; return those of indicators and groups that the plan is not about."""
    if strata.has("n_now"):
        strata.column("n_now", INTERVIEWS)
    targets = [target for target in targets if isinstance(target, Target)]
    indicators = {target.indicator for target in targets} | {getattr(method, "indicator", "")}
    groups = {target.group for target in targets} | {getattr(method, "group", "")}
    own = [(i, g) for i in indicators - {""} for g in groups]
    names = {"stratum", "population", "cost", "response", "n_now", "minimum", "maximum", "deff", "sd"}
    for indicator, group in own:
        levels = [f"share_{indicator}", f"mean_{indicator}"]
        if group:
            levels += [f"{name}_{group}" for name in levels]
            names |= {f"sd_{indicator}_{group}"}
        told = [name for name in levels if strata.has(name)]
        names |= {*(told or levels), f"sd_{indicator}", f"deff_{indicator}"}
        names |= {f"rho_{indicator}"} if design is not None else set()
    for group in groups - {""}:
        names |= {"density"} if strata.has("density") else {f"density_{group}"}
        names |= {f"density_{group}"}
    used = {name for target in targets for name in (*target.by, *(target.only or {}), target.rule.size)}
    used |= {getattr(method, "size", ""), *(name for name in bounds if isinstance(name, str))}
    unread = strata.refuse_misspelt(names, used)
    return [name for name in unread if name.startswith(PREFIXES) or name in ("density",)]


def _cheapest(
    strata: StrataFrame,
    targets: list[Target],
    cost: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    money: float | None,
    design: TwoStage | None,
) -> tuple[Plan, StrataFrame]:
    if design is None:
        return solve_targets(constraints_of(strata, targets), cost, low, high, money), strata
    names = list(dict.fromkeys(target.indicator for target in targets))
    at, best = high, None
    seen: list[np.ndarray] = []
    for _ in range(_ROUNDS):
        now = _clustered(strata, design, at, names)
        plan = solve_targets(constraints_of(now, targets), cost, low, high, money)
        own = _clustered(strata, design, plan.n.astype(float), names)
        limits = constraints_of(own, targets)
        holds = bool((limits.variance(plan.n) <= plan.loosened**2 * limits.allowed * (1.0 + 1e-9)).all())
        if holds and (best is None or cost @ plan.n < cost @ best[0].n):
            best = replace(plan, limits=with_least_sizes(limits)), own
        before, at = at, plan.n.astype(float)
        if any((at == one).all() for one in seen):
            if best is not None:
                break
            at = np.maximum(at, before)  # the larger of two sizes that alternate makes more units certain
        seen.append(plan.n)
    if best is None:
        raise SaeInputError(
            "Sizes and design effects of the two-stage design do not settle.",
            hint="Give deff_<indicator> columns instead of design=, or another take.",
        )
    return best


def _clustered(strata: StrataFrame, design: TwoStage, n: np.ndarray, names: list[str]) -> StrataFrame:
    cluster = design.effects(strata, n, names)
    return replace(strata, deff={name: strata.moments(name).deff * cluster[name] for name in names})


def _by_method(
    strata: StrataFrame,
    targets: list[Target],
    method: Method,
    money: float,
    unit: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    design: TwoStage | None,
    options: dict[str, Any],
) -> Allocation:
    n = method.sizes(strata, money, unit, low, high)
    whole = method.whole(strata, n, money, unit, low, high)
    if design is not None:
        names = list(dict.fromkeys(target.indicator for target in targets))
        strata = _clustered(strata, design, np.maximum(whole, 1).astype(float), names)
    limits = constraints_of(strata, targets)
    nothing = np.full(len(limits), np.nan)
    exact = ConvexAllocation(n, nothing, nothing, float(strata.cost @ n), np.nan, np.nan, 0)
    return table_of(strata, Plan(whole, exact, limits), low, high, method.text, {}, options)


def _check_money(money: float | None, unit: np.ndarray, low: np.ndarray, high: np.ndarray, name: str) -> None:
    if money is None:
        return
    if isinstance(money, bool) or not isinstance(money, (int, float, np.number)) or not np.isfinite(money):
        raise SaeSpecError(f"{name} = {money!r} is no number.", hint=f"Give {name} as a finite number.")
    if name == "total" and money != np.floor(money):
        raise SaeSpecError(f"total = {money:g} is not a whole number of interviews.")
    least, most = float(unit @ low), float(unit @ high)
    if not least <= money <= most:
        raise SaeInputError(
            f"{name} = {money:g} lies outside what the bounds of the strata allow: {least:g} to {most:g}.",
            hint="Change it, or minimum= and maximum=.",
        )
