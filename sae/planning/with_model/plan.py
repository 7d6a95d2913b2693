"""The plan that `oversample` makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from sae.planning.with_model.arrays import PlanArrays
from sae.planning.with_model.sentences import summary_text, worth_sentence
from sae.planning.with_model.tables import (
    allocation_table,
    assumption_table,
    domain_table,
    national_table,
    strata_table,
    worth_table,
)
from sae.tables import Allocation

__all__ = ["OversamplePlan"]

_ROWS = 10  # domains that a printed plan shows


@dataclass(frozen=True, eq=False, repr=False)
class OversamplePlan(PlanArrays):
    """A plan with and without the model; all tables of the report are made from it.

    Attributes
    ----------
    provenance : mapping
        Version, indicator, run of the fit, digest of the frame, model, notes.
    """

    provenance: Mapping[str, Any]

    @cached_property
    def worth(self) -> pd.DataFrame:
        """What the model is worth by domain, in interviews: V/A less to ask on average, with its interval.

        Columns n_direct (of the plan without the model), worth, worth_low, worth_high,
        n_model = n_direct - worth, and n_assured, what the assured quantile of A leaves. The interval is that
        of the posterior of A; worth_high is infinite where the model may be so good that no interview is
        needed. Where no sample within the bounds suffices without the model, n_direct is what the formula
        V/(M + V/N) asks.
        """
        return worth_table(self)

    @cached_property
    def domains(self) -> pd.DataFrame:
        """One row per domain: today, the target, the recommendation, what it attains, and why."""
        return domain_table(self, self.worth)

    @cached_property
    def strata(self) -> pd.DataFrame:
        """One row per stratum: the frame, the recommendation and what one more interview is worth."""
        return strata_table(self)

    @cached_property
    def price_for_national_estimates(self) -> pd.DataFrame:
        """Design effects of the unequal rates: of the group, and of everybody, for national estimates."""
        return national_table(self)

    @cached_property
    def assumptions(self) -> pd.DataFrame:
        """What the plan takes for granted, with where it comes from."""
        return assumption_table(self, self.provenance["notes"])

    @cached_property
    def allocation(self) -> Allocation:
        """The recommendation as the table that all plans share."""
        return allocation_table(
            self,
            self.with_model,
            "cheapest with the model",
            strata=self.strata,
            domains=self.domains,
            provenance=self.provenance,
        )

    @cached_property
    def direct_allocation(self) -> Allocation:
        """What the same targets take without the model."""
        return allocation_table(
            self,
            self.direct,
            "cheapest, direct estimates only",
            strata=self.strata,
            domains=self.domains,
            provenance=self.provenance,
        )

    @property
    def cost(self) -> float:
        """Cost of the recommendation."""
        return float(self.with_model.n @ self.cells.cost)

    def sentences(self, areas_called: str = "domains") -> tuple[str, ...]:
        """Return one sentence per domain with a target, which an official can quote.

        Parameters
        ----------
        areas_called : str
            The word for several domains, such as "cities".
        """
        planned = np.where(self.domains["met"] & bool(self.assurance), self.domains["n_model"], np.nan)
        lines = zip(
            self.worth.to_dict("records"), self.targets, planned, np.isfinite(self.n_direct), strict=True
        )
        return tuple(
            worth_sentence(line, rule, self.assurance, n, reachable, areas_called)
            for line, rule, n, reachable in lines
            if rule is not None and rule.measures
        )

    @property
    def told(self) -> NoReturn:
        """The old name of `sentences`."""
        raise AttributeError("told() has a new name: use plan.sentences(areas_called).")

    def summary(self) -> str:
        """Return what is asked, what it takes and what it costs, in a few lines."""
        return summary_text(self, self.domains, self.provenance["indicator"])

    def __repr__(self) -> str:
        names = ["domain", "n_now", "n_model", "n_direct", "required_cv", "model_cv", "probability", "met"]
        counts = ["n_now", "n_model", "n_direct"]
        table = self.domains[names].round(dict.fromkeys(counts, 0)).astype(dict.fromkeys(counts, "Int64"))
        rows = table.head(_ROWS).to_string(index=False, float_format="{:.3g}".format)
        more = f"\n… {len(table) - _ROWS} more domains" if len(table) > _ROWS else ""
        return f"{self.summary()}\n{rows}{more}"
