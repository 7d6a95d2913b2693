"""The tables of a plan: domains, strata, the nation, what the model is worth, what is taken for granted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.numerics.allocation.rare_groups import oversampling_deff
from sae.numerics.allocation.with_model import direct_size, model_size
from sae.planning.with_model.arrays import PlanArrays, Reach, Sizes
from sae.planning.with_model.sentences import range_text
from sae.tables import Allocation

__all__ = [
    "CONTACTS",
    "COST",
    "allocation_table",
    "assumption_table",
    "domain_table",
    "national_table",
    "reasons",
    "strata_table",
    "worth_table",
]

COST, CONTACTS = "cost per interview", "contacts per interview"  # names of two assumptions
_LEVEL = 0.95  # of the interval of what the model is worth
_PERCENT = 0.02  # a standard error that may be 1 % larger is a variance that may be 2 % larger


def worth_table(plan: PlanArrays) -> pd.DataFrame:
    """Return what the model is worth by domain, in interviews: V/A less to ask on average, with its interval.

    Columns n_direct (of the plan without the model; V/(M + V/N) where none within the bounds suffices),
    worth, worth_low, worth_high, n_model = n_direct - worth, and n_assured, what the assured quantile of A
    leaves. The interval is that of the posterior of A; worth_high is infinite where the model may be so good
    that no interview is needed.
    """
    tail = 0.5 * (1.0 - _LEVEL)
    low, middle, high = plan.model.quantiles([tail, 0.5, 1.0 - tail])
    model, bound = plan.planned, plan.bound / plan.slope2
    alone = direct_size(bound, model.unit, model.fixed)
    direct = np.where(np.isfinite(plan.n_direct) & plan.has_target, plan.n_direct, alone)

    def worth(variance: float) -> np.ndarray:
        fewer = alone - model_size(bound, model.unit, variance, model.fixed)
        return np.where(variance > bound, np.minimum(fewer, direct), direct)

    most = worth(low)
    return pd.DataFrame(
        {
            "domain": plan.cells.domains,
            "n_direct": direct,
            "worth": worth(middle),
            "worth_low": worth(high),
            "worth_high": np.where(most < direct, most, np.inf),
            "n_model": direct - worth(middle),
            "n_assured": direct - worth(plan.held_at),
        }
    )


def domain_table(plan: PlanArrays, worth: pd.DataFrame) -> pd.DataFrame:
    """Return one row per domain: today, the target, the recommendation, what it attains, and why."""
    now = plan.model.now.iloc[plan.rows].reset_index(drop=True)
    size = np.abs(plan.estimate)
    n, alone = plan.with_model.n, plan.direct.n
    low, high = plan.mse_quantiles(n, [0.025, 0.975])
    added, removed = plan.cells.changes(n)

    def cv(variance: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt(variance) / size)

    table = pd.DataFrame(
        {
            "domain": plan.cells.domains,
            "estimate": plan.estimate,
            "rule": plan.rules,
            "required_rmse": np.sqrt(plan.bound),
            "required_cv": cv(plan.bound),
            "n_now": plan.now_of_domain,
            "n_eff_now": now["n_eff"],
            "direct_cv_now": now["direct_cv"],
            "model_cv_now": now["cv"],
            "gamma_now": now["gamma"],
            "flag_now": now["flag"],
            "publishable_now": now["publishable"],
            "members": plan.cells.of_domain,
            "deff": plan.model.deff[plan.rows],
            "unit_sd": np.sqrt(plan.unit),
            "n_direct": plan.n_direct,
            "n_model": plan.cells.interviews(n),
            "added": added,
            "removed": removed,
            "extra": added - removed,
            "direct_cv": cv(plan.psi(n)),
            "model_cv": cv(plan.planned.weights @ plan.mse(n)),
            "model_cv_low": cv(low),
            "model_cv_high": cv(high),
            "direct_only_cv": cv(plan.psi(alone)),
            "probability": plan.equally_likely.probability(
                plan.psi(n) / plan.slope2, plan.bound / plan.slope2
            ),
            "met": plan.publishable(n, with_model=True),
            "met_direct_only": plan.publishable(alone, with_model=False),
            "price": _PERCENT * plan.with_model.price,
            "price_direct_only": _PERCENT * plan.direct.price,
        }
    )
    worth = worth.drop(columns=["domain", "n_direct", "n_model"])
    return pd.concat([table, worth], axis=1).assign(reason=reasons(plan))


def reasons(plan: PlanArrays) -> list[str]:
    """Return why each domain gets what it gets, in words; "" where its target is met and nothing is odd."""
    best, most = plan.mse(plan.cells.upper), plan.cells.interviews(plan.cells.upper)
    held = best.T @ plan.planned.weights
    if plan.assurance is not None:
        held = plan.mse_quantiles(plan.cells.upper, [plan.assurance])[0]
    remarks = [reach.value for reach in plan.reach]
    for d in np.flatnonzero([reach is Reach.NEVER for reach in plan.reach]):
        if np.isfinite(best[:, d]).all():
            cv = np.sqrt(held[d]) / abs(plan.estimate[d])
            remarks[d] += (
                f": the {most[d]:.0f} interviews that its {plan.cells.of_domain[d]:.0f} members can give "
                f"leave a CV of {100 * cv:.3g} %"
            )
    return remarks


def strata_table(plan: PlanArrays) -> pd.DataFrame:
    """Return one row per stratum: the frame, the recommendation and what one more interview is worth."""
    cells, n, alone, now = plan.cells, plan.with_model.n, plan.direct.n, plan.now
    rate = n * cells.contacts / cells.persons
    return pd.DataFrame(
        {
            "stratum": cells.strata,
            "population": cells.persons,
            "members": cells.group,
            "density": cells.group / cells.persons,
            "cost_per_interview": cells.cost,
            "minimum": cells.lower,
            "maximum": cells.upper,
            "n_now": now,
            "n_direct": alone,
            "n": n,
            "n_continuous": plan.with_model.continuous,
            "added": np.maximum(n - now, 0.0),
            "removed": np.maximum(now - n, 0.0),
            "extra": n - now,
            "contacts": n * cells.contacts,
            "contact_rate": rate,
            "cost": n * cells.cost,
            "cost_direct_only": alone * cells.cost,
            "price": plan.price_of_interview(plan.with_model),
            "price_direct_only": plan.price_of_interview(plan.direct),
        }
    )


def national_table(plan: PlanArrays) -> pd.DataFrame:
    """Return the design effects of the unequal rates: of the group, and of everybody, for the nation."""
    cells, lines = plan.cells, []
    for name, sizes in (("direct only", plan.direct), ("with the model", plan.with_model)):
        contacted = sizes.n * cells.contacts
        rate = contacted / cells.persons
        used = rate > 0
        lines.append(
            {
                "allocation": name,
                "interviews": int(sizes.n.sum()),
                "contacts": float(contacted.sum()),
                "cost": float(sizes.n @ cells.cost),
                "group_deff": oversampling_deff(cells.group[used], rate[used]) if used.any() else np.nan,
                "total_deff": oversampling_deff(cells.persons[used], rate[used]) if used.any() else np.nan,
                "group_covered": float(cells.group[used].sum() / cells.group.sum()),
                "population_covered": float(cells.persons[used].sum() / cells.persons.sum()),
            }
        )
    frame = pd.DataFrame(lines)
    people = frame["contacts"] if cells.screened else frame["interviews"]
    return frame.assign(
        n_eff_group=frame["interviews"] / frame["group_deff"], n_eff_total=people / frame["total_deff"]
    )


def allocation_table(
    plan: PlanArrays,
    sizes: Sizes,
    method: str,
    *,
    strata: pd.DataFrame,
    domains: pd.DataFrame,
    provenance: Mapping[str, Any],
) -> Allocation:
    """Return one of the two answers as the table that all plans share."""
    cells, n = plan.cells, sizes.n
    frame = pd.DataFrame(
        {
            "stratum": cells.strata,
            "population": cells.persons,
            "n_now": strata["n_now"].round(),
            "n": n,
            "extra": n - strata["n_now"].round(),
            "issued": np.ceil(n * cells.contacts),
            "rate": n * cells.contacts / cells.persons,
            "n_continuous": sizes.continuous,
            "minimum": cells.lower,
            "maximum": cells.upper,
            "cost": cells.cost,
            "response": 1.0 / cells.contacts,
            "shadow_price": plan.price_of_interview(sizes),
        }
    )
    se = np.sqrt(plan.psi(n))
    model = np.sqrt(plan.planned.weights @ plan.mse(n))
    size = np.abs(plan.estimate)
    targets = pd.DataFrame(
        {
            "indicator": provenance["indicator"],
            "by": "domain",
            "domain": cells.domains,
            "group": "",
            "rule": plan.rules,
            "population": cells.of_domain,
            "mean": plan.estimate,
            "n_now": domains["n_now"],
            "least_n": 0,
            "n": cells.interviews(n),
            "required_se": np.sqrt(plan.bound),
            "se_now": domains["direct_cv_now"] * size,
            "se": se,
            "required_cv": np.sqrt(plan.bound) / size,
            "cv_now": domains["direct_cv_now"],
            "cv": se / size,
            "model_se": model,
            "model_cv": model / size,
            "met": plan.publishable(n, with_model=sizes is plan.with_model),
            "price": _PERCENT * sizes.price,
        }
    )
    return Allocation(
        frame,
        targets[plan.has_target].reset_index(drop=True),
        method,
        provenance=provenance,
        measures=tuple(
            rule.measures
            for rule, has_target in zip(plan.targets, plan.has_target, strict=True)
            if rule is not None and has_target
        ),
    )


def assumption_table(plan: PlanArrays, notes: Sequence[str]) -> pd.DataFrame:
    """Return what the plan takes for granted, with where it comes from; `notes` are all of the plan's."""
    low, middle, high = np.sqrt(plan.model.quantiles([0.025, 0.5, 0.975]))
    scale = "" if plan.model.scale == "identity" else f", {plan.model.scale} scale"
    cells = plan.cells
    lines = [
        (
            "σu",
            f"median {middle:.3g}, 95 % interval {low:.3g} to {high:.3g}{scale}",
            f"posterior, {plan.model.prior} prior",
        ),
        (
            "S √deff of an interview",
            f"median {np.median(np.sqrt(plan.unit)):.3g}",
            "sampling variances of the fit × n",
        ),
        ("finite population", "variances V (1/n - 1/N): all members asked leave none", "frame"),
        ("areas, covariates", "the same in the next round", "the fit"),
        (COST, range_text(cells.cost), "frame"),
        (CONTACTS, range_text(cells.contacts), "frame"),
    ]
    if np.isfinite(plan.model.deff).any():
        lines.insert(
            2, ("design effect", f"median {np.nanmedian(plan.model.deff[plan.rows]):.3g}", "the fit")
        )
    lines += [("note", note, "the fit") for note in plan.model.notes]
    others = [note for note in notes if note not in plan.model.notes]
    lines += [("note", note, "fit and frame") for note in others]
    return pd.DataFrame(lines, columns=["assumption", "value", "source"])
