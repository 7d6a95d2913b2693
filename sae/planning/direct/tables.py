"""The allocation as the table that leaves the planner."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from sae.planning.direct.constraints import Constraints
from sae.planning.direct.solve import Plan
from sae.planning.direct.strata import INTERVIEWS, PREFIXES, StrataFrame
from sae.tables import Allocation

__all__ = ["table_of"]


def table_of(
    strata: StrataFrame,
    plan: Plan,
    low: np.ndarray,
    high: np.ndarray,
    method: str,
    certificate: dict[str, Any],
    options: dict[str, Any],
) -> Allocation:
    """Wrap a plan as the table that leaves the planner."""
    n, limits = plan.n, plan.limits
    asked = ~limits.of_size
    labels = limits.labels[asked].reset_index(drop=True)
    now = strata.column("n_now", INTERVIEWS) if strata.has("n_now") else None
    own = {"stratum", "population", "cost", "response", "n_now", "deff", "minimum", "maximum"}
    free = {
        name: strata.frame[name].array
        for name in strata.frame.columns
        if name not in own and not str(name).startswith(PREFIXES)
    }
    scale = limits.fixed + plan.loosened**2 * limits.allowed
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = (limits.scaled(plan.loosened) @ plan.exact.price) / plan.exact.n**2
    unknown = pd.arrays.IntegerArray(np.ones(len(n), dtype=np.int64), np.ones(len(n), dtype=bool))
    columns: dict[Any, Any] = {
        "stratum": strata.labels,
        **free,
        "population": strata.population,
        "n_now": unknown if now is None else pd.array(now, "Int64"),
        "n": n,
        "extra": unknown if now is None else pd.array(n - now, "Int64"),
        "issued": np.ceil(n / strata.response - 1e-9),
        "rate": n / strata.population,
        "n_continuous": plan.exact.n,
        "minimum": low,
        "maximum": high,
        "cost": strata.cost,
        "response": strata.response,
        "shadow_price": worth if len(limits) else np.nan,
    }
    for name in dict.fromkeys(labels["indicator"]):
        columns[f"sd_{name}"] = strata.moments(name).sd
        columns[f"cv_{name}"] = _own_cv(strata, name, n)
    frame = pd.DataFrame(columns)
    finite = np.isfinite(scale)
    price = 0.02 * plan.exact.price * np.where(finite, 1.0 - limits.fixed / np.where(finite, scale, 1.0), 0.0)
    table = _targets(limits, labels, asked, n, now, price)
    measures = tuple(limits.measures[j] for j in np.flatnonzero(asked))
    return Allocation(frame, table, method, certificate, options, measures)


def _own_cv(strata: StrataFrame, indicator: str, n: np.ndarray) -> np.ndarray:
    moments = strata.moments(indicator)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = moments.deff * moments.sd**2 * np.maximum(1.0 / n - 1.0 / strata.population, 0.0)
        return np.where(moments.mean != 0, np.sqrt(variance) / np.abs(moments.mean), np.nan)


def _targets(
    limits: Constraints,
    labels: pd.DataFrame,
    asked: np.ndarray,
    n: np.ndarray,
    now: np.ndarray | None,
    price: np.ndarray,
) -> pd.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.sqrt(limits.variance(n))[asked]
        se_now = np.full(len(se), np.nan) if now is None else np.sqrt(limits.variance(now))[asked]
        required = np.sqrt(limits.allowed[asked])
        mean = labels["mean"].to_numpy(float)
        size = np.where(mean != 0, np.abs(mean), np.nan)
        members = limits.members[:, asked].T
        interviews = np.asarray(members @ n, float)
        least = limits.labels["least_n"].to_numpy(int)
        least = _least_sizes(limits, least)[asked]
        return pd.DataFrame(
            {
                **{name: labels[name].array for name in labels if name != "unit_variance"},
                "least_n": least,
                "n_now": np.nan if now is None else np.asarray(members @ now, float),
                "n": interviews,
                "required_se": np.where(np.isfinite(required), required, np.nan),
                "se_now": se_now,
                "se": se,
                "required_cv": np.where(np.isfinite(required), required / size, np.nan),
                "cv_now": se_now / size,
                "cv": se / size,
                "model_se": np.nan,
                "model_cv": np.nan,
                "met": (se <= required * (1.0 + 1e-9)) & (interviews >= least - 1e-9),
                "price": price[asked],
            }
        )


def _least_sizes(limits: Constraints, least: np.ndarray) -> np.ndarray:
    """Least sizes by constraint; where they stand as constraints of their own, read them from there."""
    extra = np.flatnonzero(limits.of_size)
    if not len(extra):
        return least
    keys = ["indicator", "by", "domain", "group"]
    sizes = limits.labels.iloc[extra][keys].assign(size=np.rint(1.0 / limits.allowed[extra]))
    joined = limits.labels[keys].merge(sizes.drop_duplicates(keys), on=keys, how="left")
    return joined["size"].fillna(0).to_numpy(int)
