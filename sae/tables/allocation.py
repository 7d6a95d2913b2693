"""The allocation table: how many interviews in each stratum, and which targets they reach at what price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables.base import Table
from sae.tables.columns import require, typed

__all__ = ["ALLOCATION_COLUMNS", "TARGET_COLUMNS", "Allocation"]

# Domain columns stand after "stratum", cv_<indicator> and sd_<indicator> at the end.
ALLOCATION_COLUMNS: Mapping[str, str] = {
    "stratum": "str",
    "population": "float",
    "n_now": "Int64",
    "n": "Int64",
    "extra": "Int64",
    "issued": "Int64",
    "rate": "float",
    "n_continuous": "float",
    "minimum": "Int64",
    "maximum": "Int64",
    "cost": "float",
    "response": "float",
    "shadow_price": "float",
}
TARGET_COLUMNS: Mapping[str, str] = {
    "indicator": "str",
    "by": "str",
    "domain": "str",
    "group": "str",
    "rule": "str",
    "population": "float",
    "mean": "float",
    "least_n": "Int64",
    "n_now": "float",
    "n": "float",
    "required_se": "float",
    "se_now": "float",
    "se": "float",
    "required_cv": "float",
    "cv_now": "float",
    "cv": "float",
    "model_se": "float",
    "model_cv": "float",
    "met": "bool",
    "price": "float",
}


@dataclass(frozen=True, eq=False, repr=False)
class Allocation(Table):
    """A sampling plan with what it reaches.

    Attributes
    ----------
    frame : DataFrame
        One row per stratum. ``n`` completed interviews; ``extra`` over today's ``n_now``; ``issued``
        addresses at the response expected; ``n_continuous`` the real-valued solution; ``minimum`` and
        ``maximum`` its bounds; ``shadow_price`` what one more interview here would save elsewhere at the
        same precision, to be held against ``cost``. Domain columns stand after ``stratum``;
        ``sd_<indicator>`` and ``cv_<indicator>`` (of the stratum's own direct estimate) at the end.
    targets : DataFrame
        One row per target and domain (`TARGET_COLUMNS`): expected interviews, standard error and CV required,
        today, and attained by the direct estimate (``model_se``, ``model_cv`` where a model was given),
        whether it is met, and ``price``: what the plan would cost less if the standard error required were
        1 % larger.
    method : str
        How the sizes were found, in words.
    certificate : mapping
        What proves the solution: ``kkt``, ``gap``, ``lower_bound`` (the cost that no allocation undercuts),
        ``loosened`` (the factor on all standard errors that a budget forced). Empty for rules of thumb.
    provenance : mapping
        Options of the call: what a rerun needs. Holds no clock.
    measures : tuple of frozenset of str
        What the rule of each row of `targets` limits: see `sae.planning.precision.Measure`.
    """

    frame: pd.DataFrame
    targets: pd.DataFrame
    method: str = ""
    certificate: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measures: tuple[frozenset[str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", _typed(self.frame, ALLOCATION_COLUMNS, "allocation", extra=True))
        object.__setattr__(self, "targets", _typed(self.targets, TARGET_COLUMNS, "table of targets"))

    @property
    def total(self) -> int:
        """Completed interviews in all."""
        return int(self.frame["n"].sum())

    @property
    def cost(self) -> float:
        """Cost of all completed interviews."""
        return float((self.frame["n"] * self.frame["cost"]).sum())

    @property
    def share_met(self) -> float:
        """Share of the targets that are met; NaN without targets."""
        return float(self.targets["met"].mean()) if len(self.targets) else float("nan")

    def assign_targets(self, **columns: Any) -> Allocation:
        """Return the same plan with columns of `targets` replaced, such as ``model_cv``."""
        return replace(self, targets=self.targets.assign(**columns))

    def _heading(self) -> str:
        met = int(self.targets["met"].sum())
        targets = f", {met} of {len(self.targets)} targets met" if len(self.targets) else ""
        return (
            f"Allocation: {self.total} interviews in {len(self)} strata, cost {self.cost:,.10g}{targets}\n"
            f"{self.method}"
        )

    def _shown(self) -> pd.DataFrame:
        cvs = [name for name in self.frame if str(name).startswith("cv_")]
        now = ["n_now"] if self.frame["n_now"].notna().any() else []
        return self.frame[["stratum", "population", *now, "n", "cost", "shadow_price", *cvs]]


def _typed(frame: pd.DataFrame, columns: Mapping[str, str], what: str, extra: bool = False) -> pd.DataFrame:
    """Return `frame` with its fixed columns in their dtypes; free columns keep their place and dtype."""
    require(frame, list(columns), f"The {what} has")
    unknown = [] if extra else [str(name) for name in frame if name not in columns]
    if unknown:
        raise SaeInputError(f"The {what} has no place for {name_some(unknown)}.", column=unknown[0])
    arranged = {
        name: typed(frame[name], columns[name]).array if name in columns else frame[name].array
        for name in (frame.columns if extra else columns)
    }
    return pd.DataFrame(arranged, index=pd.RangeIndex(len(frame)))
