"""The estimate table: what an office publishes, one row per indicator, domain and period."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables.columns import ESTIMATE_COLUMNS, arrange

__all__ = ["EstimateTable"]


@dataclass(frozen=True, eq=False)
class EstimateTable:
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
    >>> import pandas as pd
    >>> table = EstimateTable(pd.DataFrame({"domain": ["A"], "estimate": [0.5]}), ())
    >>> table[["domain", "estimate"]].to_dict("list")
    {'domain': ['A'], 'estimate': [0.5]}
    """

    frame: pd.DataFrame
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", arrange(self.frame, ESTIMATE_COLUMNS, self.groups))

    def __getitem__(self, columns: str | list[str]) -> Any:
        return self.frame[columns]

    def __len__(self) -> int:
        return len(self.frame)

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a fresh DataFrame."""
        return self.frame.copy()

    def assign(self, **columns: Any) -> EstimateTable:
        """Return a table of the same rows with some fixed columns replaced."""
        return replace(self, frame=self.frame.assign(**columns))

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV, Parquet or XLSX by the ending of `path`; the same bytes every time.

        Raises
        ------
        SaeInputError
            If the ending is none of ``.csv``, ``.parquet``, ``.xlsx``.
        """
        from sae.tables.files import write_table

        return write_table(self.frame, path)

    @classmethod
    def read(cls, path: str | Path) -> EstimateTable:
        """Read a table that `write` wrote; columns that are not fixed are the group columns.

        Raises
        ------
        SaeInputError
            If the file is absent, not of its format, or lacks a fixed column.
        """
        from sae.tables.files import read_table

        frame = read_table(path)
        missing = [name for name in ESTIMATE_COLUMNS if name not in frame]
        if missing:
            raise SaeInputError(
                f"{Path(path).name} is not an estimate table: it lacks the columns {name_some(missing)}.",
                column=missing[0],
            )
        return cls(frame, tuple(str(name) for name in frame if name not in ESTIMATE_COLUMNS))

    def _shown(self) -> pd.DataFrame:
        columns = ["domain", "n", "direct", "estimate", "se", "cv", "ci_low", "ci_high", "gamma", "flag"]
        with_time = ["time"] if self.frame["time"].nunique() > 1 else []
        return self.frame[[*with_time, *columns]]

    def __repr__(self) -> str:
        rows = self._shown().head(10).to_string(index=False, float_format="{:.4g}".format)
        more = f"\n… {len(self) - 10} more rows" if len(self) > 10 else ""
        sampled = int(self.frame["in_sample"].sum())
        return f"EstimateTable: {len(self)} rows, {sampled} with a sample\n{rows}{more}"

    def _repr_html_(self) -> str:
        return self._shown().to_html(index=False, float_format="{:.4g}".format, max_rows=20)
