"""The estimate table: what an office publishes, one row per indicator, domain and period."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from sae.errors import SaeConvergenceError, SaeInputError, name_some
from sae.tables.base import Table
from sae.tables.columns import ESTIMATE_COLUMNS, arrange, cv_of, typed
from sae.tables.files import read_table
from sae.tables.labels import label_text
from sae.tables.sheet_formats import Sheet
from sae.tables.sheet_notes import columns_sheet, flags_sheet, notes_sheet, table_notes
from sae.tables.texts import constant_texts

__all__ = ["EstimateTable"]


@dataclass(frozen=True, eq=False, repr=False)
class EstimateTable(Table):
    """Estimates with their uncertainty, reliability and origin; columns fixed by `ESTIMATE_COLUMNS`.

    Attributes
    ----------
    frame : DataFrame
        Exactly the fixed columns with the group columns before ``domain``. Shares lie in [0, 1],
        money in the unit of the input. A row that cannot be published stays, with its reason.
    groups : tuple of str
        Names of the columns that make the domains; empty when a plain frame named only a domain.

    Examples
    --------
    >>> table = sae.EstimateTable(pd.DataFrame({"domain": ["A"], "estimate": [0.5]}), ())
    >>> table[["domain", "estimate"]].to_dict("list")
    {'domain': ['A'], 'estimate': [0.5]}
    """

    frame: pd.DataFrame
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", arrange(self.frame, ESTIMATE_COLUMNS, self.groups))

    @classmethod
    def from_mse(
        cls,
        frame: pd.DataFrame | Mapping[str, Any],
        groups: tuple[str, ...] = (),
        *,
        se: np.ndarray | None = None,
    ) -> EstimateTable:
        """Make the table of rows with `estimate` and `mse`: adds se, cv and the flag of an estimate.

        Parameters
        ----------
        frame : DataFrame or mapping
            Columns by name, as `arrange` takes them.
        groups : tuple of str
        se : ndarray of float, shape (M,), optional
            Standard errors; √mse by default.

        Raises
        ------
        SaeConvergenceError
            If an estimate is no finite number, or its error is infinite and it has no interval; the domains
            are named.

        Examples
        --------
        >>> frame = pd.DataFrame({"domain": ["A"], "estimate": [0.5], "mse": [0.01]})
        >>> sae.EstimateTable.from_mse(frame)[["se", "cv"]].values.tolist()
        [[0.1, 0.2]]
        """
        estimate, mse = (np.asarray(frame[name], dtype=float) for name in ("estimate", "mse"))
        error = np.sqrt(mse) if se is None else se
        lost = ~np.isfinite(estimate) | np.isinf(mse) | np.isinf(error)
        if lost.any() and {"ci_low", "ci_high"} <= set(frame):
            # a posterior of very few areas has quantiles, but no variance: its fit says so
            low, high = (np.asarray(frame[name], dtype=float) for name in ("ci_low", "ci_high"))
            lost &= ~(np.isfinite(low) & np.isfinite(high) & np.isfinite(estimate))
        if lost.any():
            domains = frame["domain"][lost]
            raise SaeConvergenceError(
                f"The estimate or its error is no finite number in {len(domains)} of {len(lost)} domains: "
                f"{name_some(domains)}.",
                hint="Look for covariates of these areas far outside the others, and at their units.",
                areas=domains,
            )
        cv = cv_of(error, estimate)
        # the mapping becomes the frame as the table is made
        return cls(cast(pd.DataFrame, {**frame, "se": error, "cv": cv, "flag": "e"}), groups)

    def assign(self, **columns: Any) -> EstimateTable:
        """Return a table of the same rows with some fixed columns replaced.

        Raises
        ------
        SaeInputError
            If a column is none of the table's, or holds what it cannot.

        Examples
        --------
        >>> table = sae.EstimateTable(pd.DataFrame({"domain": ["A"], "estimate": [0.5]}))
        >>> table.assign(flag="u")["flag"].tolist()
        ['u']
        """
        same = {name: value for name, value in columns.items() if isinstance(value, str)}
        texts = {name: constant_texts(label_text(value), len(self)) for name, value in same.items()}
        frame = self.frame.assign(**{**columns, **texts})
        if not columns.keys() <= ESTIMATE_COLUMNS.keys():
            return replace(self, frame=frame)
        for name in columns:  # the others have their dtypes
            column, kind = frame[name], ESTIMATE_COLUMNS[name]
            if column.dtype != "float64" or kind != "float":
                frame[name] = typed(column, kind)
        table = copy(self)
        object.__setattr__(table, "frame", frame)
        return table

    @classmethod
    def read(cls, path: str | Path) -> EstimateTable:
        """Read a table that `write` wrote; columns that are not fixed are the group columns.

        Raises
        ------
        SaeInputError
            If the file is absent, not of its format, or lacks a fixed column.
        """
        frame = read_table(path)
        missing = [name for name in ESTIMATE_COLUMNS if name not in frame]
        if missing:
            raise SaeInputError(
                f"{Path(path).name} is not an estimate table: it lacks the columns {name_some(missing)}.",
                column=missing[0],
            )
        return cls(frame, tuple(str(name) for name in frame if name not in ESTIMATE_COLUMNS))

    def _sheets(self) -> list[Sheet]:
        return [
            Sheet("estimates", self.frame),
            notes_sheet(table_notes(self.frame)),
            columns_sheet(self.frame, self.groups),
            flags_sheet(self.frame),
        ]

    def _heading(self) -> str:
        return f"EstimateTable: {len(self)} rows, {int(self.frame['in_sample'].sum())} with a sample"

    def _shown(self) -> pd.DataFrame:
        columns = ["domain", "n", "direct", "estimate", "se", "cv", "ci_low", "ci_high", "gamma", "flag"]
        with_time = ["time"] if self.frame["time"].nunique() > 1 else []
        return self.frame[[*with_time, *columns]]
