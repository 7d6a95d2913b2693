"""What a budget buys: publishable domains, the best next interviews, and what a covariate is worth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import CollinearityWarning, SaeInputError, SaeSpecError, name_some
from sae.numerics.allocation.with_model import best_sizes, total_and_gain
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE
from sae.planning.with_model.cells import cheapest
from sae.planning.with_model.plan import OversamplePlan
from sae.tables import labels, pandas_frame, require, to_numbers

__all__ = ["best_covariates", "best_interviews", "frontier", "interview_value"]


@answered
def frontier(plan: OversamplePlan, budgets: int | Sequence[float] = 50) -> pd.DataFrame:
    """Return how many domains a budget makes publishable, direct only and with the model.

    Domains enter in the order of what they need alone; where every stratum is in one domain that buys the
    most domains for every budget, where strata are shared it is a good order and not more. Needs are those of
    the plan, with g2 and g3 at the recommended sample.

    Parameters
    ----------
    plan : OversamplePlan
    budgets : int or sequence of float
        Budgets, or how many of them from nothing to the cost of all reachable domains.

    Returns
    -------
    DataFrame
        budget, and for ``direct`` and ``model`` each the domains that meet their target, ``publishable_*``,
        their share of those with a target, and the cost and interviews that this takes, ``cost_*``,
        ``interviews_*``.

    Examples
    --------
    ``frontier(plan, [50_000, 100_000])`` has two rows; plot ``publishable_direct`` and ``publishable_model``
    over ``budget``.
    """
    paths = {"direct": _path(plan, model=False), "model": _path(plan, model=True)}
    if isinstance(budgets, int):
        if budgets < 2:
            raise SaeSpecError(f"A frontier of {budgets} budgets is no line.", hint="Ask for at least 2.")
        top = max(path["cost"].iloc[-1] for path in paths.values())
        chosen = np.linspace(0.0, top, budgets)
    else:
        chosen = np.sort(np.asarray(budgets, dtype=float))
        if not len(chosen) or not (np.isfinite(chosen) & (chosen >= 0)).all():
            raise SaeSpecError(
                "Budgets are finite and not negative.", hint="Such as frontier(plan, [50_000, 100_000])."
            )
    asked = max(int(np.isfinite(plan.bound).sum()), 1)
    table = pd.DataFrame({"budget": chosen})
    for name, path in paths.items():
        at = np.searchsorted(path["cost"].to_numpy(), chosen * (1.0 + 1e-12), side="right") - 1
        affordable = at >= 0
        line = path.iloc[np.maximum(at, 0)].reset_index(drop=True)
        table[f"publishable_{name}"] = np.where(affordable, line["domains"], 0)
        table[f"share_{name}"] = table[f"publishable_{name}"] / asked
        table[f"cost_{name}"] = np.where(affordable, line["cost"], np.nan)
        table[f"interviews_{name}"] = np.where(affordable, line["interviews"], np.nan)
    return table


def _path(plan: OversamplePlan, *, model: bool) -> pd.DataFrame:
    """Cost and interviews of serving the domains one after another, in the order of what each needs alone."""
    cells, sizes = plan.cells, plan.with_model if model else plan.direct
    a, right = plan.a, sizes.needed + plan.fixed
    counted = np.isfinite(plan.bound) & ~sizes.hopeless
    demand = counted & np.isfinite(sizes.needed)
    served = np.flatnonzero(demand)
    scaled = a[:, served].multiply(1.0 / right[served]).tocsc()
    shared = (scaled != 0).sum(axis=1).max() > 1 if len(served) else False
    free = int((counted & ~demand).sum())  # no own sample needed
    base = float(cells.cost @ cells.lower)
    if not shared:
        alone, _ = cheapest(a, right, cells.cost, cells.lower, cells.upper)
        stratum, domain = scaled.nonzero()
        own = np.zeros(len(served)), np.zeros(len(served))
        extra = alone - cells.lower
        np.add.at(own[0], domain, (cells.cost * extra)[stratum])
        np.add.at(own[1], domain, extra[stratum])
        order = np.argsort(own[0], kind="stable")
        cost = base + np.concatenate([[0.0], np.cumsum(own[0][order])])
        interviews = float(cells.lower.sum()) + np.concatenate([[0.0], np.cumsum(own[1][order])])
        return pd.DataFrame({"domains": free + np.arange(len(cost)), "cost": cost, "interviews": interviews})
    return _shared_path(plan, right, served, free, base)


def _shared_path(
    plan: OversamplePlan, right: np.ndarray, served: np.ndarray, free: int, base: float
) -> pd.DataFrame:
    """As `_path` with strata that several domains share: what is met by the way counts."""
    cells, a = plan.cells, plan.a
    single = np.array(
        [float(np.sqrt(a[:, [d]].toarray().ravel() * cells.cost).sum() ** 2 / right[d]) for d in served]
    )
    order = served[np.argsort(single, kind="stable")]
    lines = [(free, base, float(cells.lower.sum()))]
    for count in np.unique(np.linspace(1, len(order), min(len(order), 50)).round().astype(int)):
        bound = np.full(len(right), np.inf)
        bound[order[:count]] = right[order[:count]]
        n, _ = cheapest(a, bound, cells.cost, cells.lower, cells.upper)
        met = int(((plan.psi(n) + plan.fixed)[served] <= right[served] * (1.0 + 1e-9)).sum())
        lines.append((free + met, float(n @ cells.cost), float(n.sum())))
    path = pd.DataFrame(lines, columns=["domains", "cost", "interviews"]).sort_values("cost", kind="stable")
    return path.loc[path["domains"].cummax() == path["domains"]].reset_index(drop=True)


@answered
def interview_value(plan: OversamplePlan) -> pd.DataFrame:
    """Return what one more interview in each domain takes off the total mean squared error of today's design.

    Columns ``domain, n_now, mse_now`` (mean over the posterior of σu, reported scale), ``gain`` (its fall per
    interview, over all domains) and ``gain_per_cost``.
    """
    now, cost = _today(plan)
    model, importance = plan.planned, plan.slope2
    _, gain = total_and_gain(model, now, importance)
    mse = model.expected(model.psi(now)) * importance
    return pd.DataFrame(
        {
            "domain": plan.cells.domains,
            "n_now": now,
            "mse_now": mse,
            "gain": gain,
            "gain_per_cost": gain / cost,
        }
    )


@answered
def best_interviews(plan: OversamplePlan, extra: float = 500.0) -> pd.DataFrame:
    """Return which `extra` interviews, added to today's, cut the total mean squared error most.

    Parameters
    ----------
    plan : OversamplePlan
    extra : float
        Interviews of the group to add over all domains.

    Returns
    -------
    DataFrame
        ``domain, n_now, extra, mse_now, mse_then``; errors are averaged over the posterior of σu.

    Raises
    ------
    SaeInputError
        If the domains do not have so many members within reach.
    """
    now, _ = _today(plan)
    upper = np.maximum(
        np.asarray(
            (plan.cells.members.multiply((plan.cells.upper / plan.cells.group)[:, None])).sum(axis=0)
        ).ravel(),
        now,
    )
    if not (isinstance(extra, (int, float, np.number)) and np.isfinite(extra) and extra >= 0):
        raise SaeSpecError(f"extra = {extra!r} is no number of interviews to add.", hint="Such as extra=500.")
    if extra > float((upper - now).sum()):
        raise SaeInputError(
            f"There are {float((upper - now).sum()):.0f} members left to interview, not {extra:g}."
        )
    model, importance = plan.planned, plan.slope2
    then = best_sizes(model, importance, np.ones(len(now)), float(now.sum()) + extra, now, upper)
    before, after = (model.expected(model.psi(n)) * importance for n in (now, then))
    return pd.DataFrame(
        {
            "domain": plan.cells.domains,
            "n_now": now,
            "extra": then - now,
            "mse_now": before,
            "mse_then": after,
        }
    )


@answered
def best_covariates(plan: OversamplePlan, candidates: pd.DataFrame) -> pd.DataFrame:
    """Return what each covariate, added to the model, would take off the total mean squared error of today.

    The posterior of σu is integrated anew with the covariate, from the direct estimates of the fit, flat
    prior of σu². A covariate that happens to fit these estimates looks better than it is: judge it beside the
    gain of `extra` interviews, and by its sense.

    Parameters
    ----------
    plan : OversamplePlan
    candidates : DataFrame
        Column ``domain`` and one column of numbers per covariate, a row for every domain of the plan.

    Returns
    -------
    DataFrame
        ``covariate, sigma_u`` (posterior median), ``total_mse``, ``change`` (relative), best first; the first
        line's covariate "" is the model as it stands.
    """
    candidates = pandas_frame(candidates, "The candidates")
    require(candidates, ["domain"], "The candidates have")
    table = candidates.assign(domain=labels(candidates["domain"])).set_index("domain")
    twice = table.index[table.index.duplicated()].unique()
    if len(twice):
        raise SaeInputError(
            f"The candidates have several rows for {len(twice)} domains: {name_some(twice)}.", areas=twice
        )
    lacking = [name for name in plan.cells.domains if name not in table.index]
    if lacking:
        raise SaeInputError(
            f"The candidates lack {len(lacking)} domains: {name_some(lacking)}.", areas=lacking
        )
    now, _ = _today(plan)
    rows, importance = plan.rows, plan.slope2
    X, idle = plan.model.X[:, rows], []
    lines = [_with_column(plan, "", X, now, importance)]
    for name in table.columns:
        column = to_numbers(table.loc[list(plan.cells.domains)], name, names=plan.cells.domains)
        if not np.isfinite(column).all():
            missing = plan.cells.domains[~np.isfinite(column)]
            raise SaeInputError(
                f"{name} is missing in {name_some(missing)}.", areas=missing, column=str(name)
            )
        more = np.vstack([X, (column - column.mean()) / max(float(column.std()), 1e-300)])
        sampled = np.isfinite(plan.model.y[rows])
        if np.linalg.matrix_rank(more[:, sampled]) == len(more):
            lines.append(_with_column(plan, str(name), more, now, importance))
        else:
            idle.append(str(name))
    if idle:
        warnings.warn(
            f"{len(idle)} candidates add nothing to the covariates of the model in the sampled domains, and "
            f"are left out: {name_some(idle)}.",
            CollinearityWarning,
            stacklevel=3,
        )
    gains = pd.DataFrame(lines, columns=["covariate", "sigma_u", "total_mse"])
    gains = gains.assign(change=gains["total_mse"] / gains["total_mse"].iloc[0] - 1.0)
    return pd.concat(
        [gains.iloc[:1], gains.iloc[1:].sort_values("total_mse", kind="stable")], ignore_index=True
    )


def _with_column(
    plan: OversamplePlan, name: str, X: np.ndarray, now: np.ndarray, importance: np.ndarray
) -> tuple[str, float, float]:
    rows = plan.rows
    y, vardir = plan.model.y[rows], plan.model.vardir[rows]
    sampled = np.isfinite(y)
    areas = Areas.of(y[sampled], vardir[sampled], X[:, sampled])
    spare = int(sampled.sum()) - len(X)
    nodes = place_nodes(areas, [(FLAT_VARIANCE if spare > 2 else FLAT_SD, 1.0)])
    model = replace(plan.planned, variance=nodes.sd**2, weights=nodes.weights, X=X)
    middle = float(np.interp(0.5, np.cumsum(nodes.weights) - 0.5 * nodes.weights, nodes.sd))
    return name, middle, total_and_gain(model, now, importance)[0]


def _today(plan: OversamplePlan) -> tuple[np.ndarray, np.ndarray]:
    """Interviews of today by domain, and what one costs there on average."""
    cells = plan.cells
    share = cells.members.multiply(1.0 / cells.of_domain).tocsc()
    return plan.now_of_domain, np.asarray(share.T @ cells.cost).ravel()
