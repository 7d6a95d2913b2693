"""`allocate`: the cheapest plan that meets the targets, or a total spread by a named method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.allocation.convex import ConvexAllocation
from sae.planning.direct.constraints import Constraints, constraints
from sae.planning.direct.methods import Method
from sae.planning.direct.solve import Plan, solve_targets, with_least_sizes
from sae.planning.direct.strata import Strata, strata_of
from sae.planning.direct.two_stage import TwoStage
from sae.planning.precision import Target
from sae.tables import Allocation

__all__ = ["allocate", "bounds_of", "table_of"]

_ROUNDS = 40  # design effects and sizes that depend on each other


def allocate(
    frame: pd.DataFrame,
    targets: Target | Sequence[Target] = (),
    *,
    method: str | Method = "cheapest",
    total: int | None = None,
    budget: float | None = None,
    minimum: int | str = 2,
    maximum: int | str | None = None,
    design: TwoStage | None = None,
) -> Allocation:
    """Plan how many interviews each stratum gets.

    Parameters
    ----------
    frame : DataFrame
        One row per stratum: ``stratum``, ``population``; for each indicator ``share_<indicator>``, or
        ``mean_<indicator>`` and ``sd_<indicator>``. Optional: ``cost`` of an interview (1), ``response`` (1),
        ``deff`` or ``deff_<indicator>`` (1), ``n_now``, ``density_<group>`` with
        ``share_<indicator>_<group>``, and the columns of the domains.
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
    minimum, maximum : int or str
        Bounds per stratum, or the column that holds them. No stratum gets more than population × response.
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
    >>> import pandas as pd
    >>> from sae.planning import CV, Target
    >>> frame = pd.DataFrame({"stratum": ["north", "south"], "population": [60_000, 40_000],
    ...                       "share_employed": [0.6, 0.5]})
    >>> plan = allocate(frame, Target("employed", CV(0.05), by="stratum"))
    >>> plan[["stratum", "n"]].to_dict("list"), bool(plan.targets["met"].all())
    ({'stratum': ['north', 'south'], 'n': [266, 397]}, True)
    """
    strata = strata_of(frame)
    low, high = bounds_of(strata, minimum, maximum)
    listed = [targets] if isinstance(targets, Target) else list(targets)
    if total is not None and budget is not None:
        raise SaeSpecError("Both total= and budget= are given.", hint="Give one of the two.")
    unit = strata.cost if budget is not None else np.ones(len(strata))
    money = budget if budget is not None else total
    _check_money(money, unit, low, high, "budget" if budget is not None else "total")
    options: dict[str, Any] = {
        "method": method if isinstance(method, str) else method.text, "total": total, "budget": budget,
        "minimum": minimum, "maximum": maximum, "targets": [f"{t.indicator}: {t.rule.text}" for t in listed],
    }  # fmt: skip
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
    words = "cheapest plan that meets every target (convex programme)"
    if money is not None:
        verb = "looser" if plan.loosened > 1 else "tighter"
        words = f"best common precision for the {'budget' if budget is not None else 'total'}"
        words += f": standard errors {abs(plan.loosened - 1):.1%} {verb} than asked"
    certificate = {
        "kkt": plan.exact.kkt, "gap": plan.exact.gap, "lower_bound": plan.exact.cost,
        "loosened": plan.loosened, "steps": plan.exact.steps,
    }  # fmt: skip
    return table_of(used, plan, low, high, words, certificate, options)


def plan_method(method: Method, money: float | None) -> None:
    """Refuse a method of a given total without one."""
    if money is None:
        raise SaeSpecError(
            f"The method ({method.text}) spreads a given number of interviews.",
            hint="Give total= or budget=.",
        )


def bounds_of(strata: Strata, minimum: int | str, maximum: int | str | None) -> tuple[np.ndarray, np.ndarray]:
    """Whole-number bounds per stratum: the minimum gives way to population × response, the maximum not."""
    reach = np.maximum(np.floor(strata.population * strata.response + 1e-9), 1.0)
    low = (
        strata.column(minimum, least=0.0)
        if isinstance(minimum, str)
        else np.full(len(strata), float(minimum))
    )
    high = reach
    if maximum is not None:
        given = strata.column(maximum, least=0.0) if isinstance(maximum, str) else float(maximum)
        high = np.minimum(reach, np.floor(given))
    low = np.minimum(np.ceil(low), reach)
    crossed = [label for label, bad in zip(strata.labels, low > high, strict=True) if bad]
    if crossed or low.min() < 0:
        raise SaeInputError(
            f"minimum is above maximum in {len(crossed)} strata: {name_some(crossed)}."
            if crossed else f"minimum = {minimum} is negative.",
            areas=crossed,
        )  # fmt: skip
    return low, high


def _cheapest(
    strata: Strata, targets: list[Target], cost: np.ndarray, low: np.ndarray, high: np.ndarray,
    money: float | None, design: TwoStage | None,
) -> tuple[Plan, Strata]:  # fmt: skip
    if design is None:
        return solve_targets(constraints(strata, targets), cost, low, high, money), strata
    names = list(dict.fromkeys(target.indicator for target in targets))
    at, best = high, None
    seen: list[np.ndarray] = []
    for _ in range(_ROUNDS):
        now = _clustered(strata, design, at, names)
        plan = solve_targets(constraints(now, targets), cost, low, high, money)
        own = _clustered(strata, design, plan.n.astype(float), names)
        limits = constraints(own, targets)
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


def _clustered(strata: Strata, design: TwoStage, n: np.ndarray, names: list[str]) -> Strata:
    cluster = design.effects(strata, n, names)
    return replace(strata, deff={name: strata.moments(name).deff * cluster[name] for name in names})


def _by_method(
    strata: Strata, targets: list[Target], method: Method, money: float, unit: np.ndarray, low: np.ndarray,
    high: np.ndarray, design: TwoStage | None, options: dict[str, Any],
) -> Allocation:  # fmt: skip
    n = method.sizes(strata, money, unit, low, high)
    whole = method.whole(strata, n, money, unit, low, high)
    if design is not None:
        names = list(dict.fromkeys(target.indicator for target in targets))
        strata = _clustered(strata, design, np.maximum(whole, 1).astype(float), names)
    limits = constraints(strata, targets)
    nothing = np.full(len(limits), np.nan)
    exact = ConvexAllocation(n, nothing, nothing, float(strata.cost @ n), np.nan, np.nan, 0)
    return table_of(strata, Plan(whole, exact, limits), low, high, method.text, {}, options)


def table_of(
    strata: Strata, plan: Plan, low: np.ndarray, high: np.ndarray, method: str,
    certificate: dict[str, Any], options: dict[str, Any],
) -> Allocation:  # fmt: skip
    """Wrap a plan as the table that leaves the planner."""
    n, limits = plan.n, plan.limits
    asked = ~(limits.labels["rule"] == "least size").to_numpy() if len(limits) else np.zeros(0, bool)
    labels = limits.labels[asked].reset_index(drop=True)
    now = strata.column("n_now", least=0.0) if strata.has("n_now") else None
    frame = pd.DataFrame({"stratum": strata.labels})
    own = {"stratum", "population", "cost", "response", "n_now", "deff", "minimum", "maximum"}
    prefixes = ("share_", "mean_", "sd_", "deff_", "density_", "rho_")
    for name in strata.frame.columns:
        if name not in own and not str(name).startswith(prefixes):
            frame[name] = strata.frame[name]
    scale = limits.fixed + plan.loosened**2 * limits.allowed
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = (limits.scaled(plan.loosened) @ plan.exact.price) / plan.exact.n**2
    frame = frame.assign(
        population=strata.population, n_now=pd.array(np.full(len(n), pd.NA) if now is None else now, "Int64"),
        n=n, extra=pd.array(np.full(len(n), pd.NA) if now is None else n - now, "Int64"),
        issued=np.ceil(n / strata.response - 1e-9), rate=n / strata.population, n_continuous=plan.exact.n,
        minimum=low, maximum=high, cost=strata.cost, response=strata.response,
        shadow_price=worth if len(limits) else np.nan,
    )  # fmt: skip
    for name in dict.fromkeys(labels["indicator"]):
        frame[f"sd_{name}"] = strata.moments(name).sd
        frame[f"cv_{name}"] = _own_cv(strata, name, n)
    finite = np.isfinite(scale)
    price = 0.02 * plan.exact.price * np.where(finite, 1.0 - limits.fixed / np.where(finite, scale, 1.0), 0.0)
    table = _targets(limits, labels, asked, n, now, price)
    return Allocation(frame, table, method, certificate, options)


def _own_cv(strata: Strata, indicator: str, n: np.ndarray) -> np.ndarray:
    moments = strata.moments(indicator)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = moments.deff * moments.sd**2 * np.maximum(1.0 / n - 1.0 / strata.population, 0.0)
        return np.where(moments.mean != 0, np.sqrt(variance) / np.abs(moments.mean), np.nan)


def _targets(
    limits: Constraints, labels: pd.DataFrame, asked: np.ndarray, n: np.ndarray, now: np.ndarray | None,
    price: np.ndarray,
) -> pd.DataFrame:  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(limits.variance(n))[asked]
        se_now = np.full(len(se), np.nan) if now is None else np.sqrt(limits.variance(now))[asked]
        required = np.sqrt(limits.allowed[asked])
        mean = labels["mean"].to_numpy(float)
        level = np.where(mean != 0, np.abs(mean), np.nan)
        members = limits.members[:, asked].T
        interviews = np.asarray(members @ n, float)
        least = limits.labels["least_n"].to_numpy(int)
        least = _least_sizes(limits, least)[asked]
        return labels.drop(columns="unit_variance").assign(
            least_n=least, n_now=np.nan if now is None else np.asarray(members @ now, float), n=interviews,
            required_se=np.where(np.isfinite(required), required, np.nan), se_now=se_now, se=se,
            required_cv=np.where(np.isfinite(required), required / level, np.nan), cv_now=se_now / level,
            cv=se / level, model_se=np.nan, model_cv=np.nan,
            met=(se <= required * (1.0 + 1e-9)) & (interviews >= least - 1e-9), price=price[asked],
        )  # fmt: skip


def _least_sizes(limits: Constraints, least: np.ndarray) -> np.ndarray:
    """Least sizes by constraint; where they stand as constraints of their own, read them from there."""
    extra = np.flatnonzero((limits.labels["rule"] == "least size").to_numpy())
    if not len(extra):
        return least
    keys = ["indicator", "by", "domain", "group"]
    sizes = limits.labels.iloc[extra][keys].assign(size=np.rint(1.0 / limits.allowed[extra]))
    joined = limits.labels[keys].merge(sizes.drop_duplicates(keys), on=keys, how="left")
    return joined["size"].fillna(0).to_numpy(int)


def _check_money(money: float | None, unit: np.ndarray, low: np.ndarray, high: np.ndarray, name: str) -> None:
    if money is None:
        return
    least, most = float(unit @ low), float(unit @ high)
    if not least <= money <= most:
        raise SaeInputError(
            f"{name} = {money:g} lies outside what the bounds of the strata allow: {least:g} to {most:g}.",
            hint="Change it, or minimum= and maximum=.",
        )
