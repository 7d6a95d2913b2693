"""What the tables that cross rooms share: columns by name, a fresh frame, a file, and how they print."""

from __future__ import annotations

from pathlib import Path
from typing import overload

import pandas as pd

from sae.tables.files import write_table

__all__ = ["Table"]

_ROWS = 10  # rows that a printed table shows
_HTML_ROWS = 20


class Table:
    """A frame with fixed columns; a subclass is a frozen dataclass that says what of it is printed."""

    frame: pd.DataFrame

    @overload
    def __getitem__(self, columns: str) -> pd.Series: ...
    @overload
    def __getitem__(self, columns: list[str]) -> pd.DataFrame: ...
    def __getitem__(self, columns: str | list[str]) -> pd.Series | pd.DataFrame:
        return self.frame[columns]

    def __len__(self) -> int:
        return len(self.frame)

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a fresh DataFrame."""
        return self.frame.copy()

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV, Parquet or XLSX by the ending of `path`; the same bytes every time.

        Raises
        ------
        SaeInputError
            If the ending is none of ``.csv``, ``.parquet``, ``.xlsx``.
        """
        return write_table(self.frame, path)

    def _heading(self) -> str:
        """First lines of the printed table."""
        raise NotImplementedError

    def _shown(self) -> pd.DataFrame:
        """Columns that are printed."""
        raise NotImplementedError

    def __repr__(self) -> str:
        rows = self._shown().head(_ROWS).to_string(index=False, float_format="{:.4g}".format)
        more = f"\n… {len(self) - _ROWS} more rows" if len(self) > _ROWS else ""
        return f"{self._heading()}\n{rows}{more}"

    def _repr_html_(self) -> str:
        return self._shown().to_html(index=False, float_format="{:.4g}".format, max_rows=_HTML_ROWS)
