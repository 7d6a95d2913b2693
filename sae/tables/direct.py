"""Direct estimates: what the survey alone says, one row per indicator and domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sae.tables.base import Table
from sae.tables.columns import DIRECT_COLUMNS, arrange
from sae.tables.sheet_formats import Sheet
from sae.tables.sheet_notes import columns_sheet, notes_sheet, table_notes

__all__ = ["DirectEstimates"]


@dataclass(frozen=True, eq=False, repr=False)
class DirectEstimates(Table):
    """Direct estimates with their design variances, one row per indicator × domain.

    Attributes
    ----------
    frame : DataFrame
        Exactly the columns of `DIRECT_COLUMNS` with the `by` columns before ``domain``.
        ``vardir`` is the variance that a model uses, smoothed or not. ``status`` is "ok" or says
        in words why the row is less than that; a domain without a record is a row with n = 0.
    by : tuple of str
        Names of the columns that make the domains.
    covariance : DataFrame or None
        Design covariances of the estimates, where asked for; both axes labelled (indicator, domain, time).
    units : mapping of str to str
        Unit of each indicator: "share", "persons", "EUR", "" if unknown.
    log : tuple of str
        What was done on the way, in order: smoothing, collapsed strata, item non-response, warnings.
    provenance : mapping
        Input file, its SHA-256, layout, options: what a rerun needs. Holds no clock.
    """

    frame: pd.DataFrame
    by: tuple[str, ...]
    covariance: pd.DataFrame | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    log: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", arrange(self.frame, DIRECT_COLUMNS, self.by))

    def _sheets(self) -> list[Sheet]:
        units = self.frame["indicator"].map(dict(self.units))
        notes = table_notes(self.frame)
        notes += [("Unit", ", ".join(f"{name}: {unit}" for name, unit in self.units.items() if unit))]
        notes += [("Source", str(self.provenance.get("file", "")))]
        notes += [("Note", text) for text in self.log]
        return [
            Sheet("estimates", self.frame, share=units.eq("share").to_numpy(dtype=bool)),
            notes_sheet(notes),
            columns_sheet(self.frame, self.by),
        ]

    def _heading(self) -> str:
        indicators = ", ".join(dict.fromkeys(self.frame["indicator"]))
        n_sampled = int((self.frame["n"] > 0).sum())
        return f"DirectEstimates: {indicators}; {len(self)} rows, {n_sampled} with a sample"

    def _shown(self) -> pd.DataFrame:
        several = ["indicator"] if self.frame["indicator"].nunique() > 1 else []
        figures = ["n", "estimate", "se", "cv", "ci_low", "ci_high", "status"]
        return self.frame[[*several, *self.by, *figures]]
