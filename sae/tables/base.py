"""What the tables that cross rooms share: columns by name, a fresh frame, a file, and how they print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pandas as pd

from sae.errors import SaeInputError
from sae.tables.columns import require
from sae.tables.files import is_workbook, write_table, write_workbook
from sae.tables.sheet_formats import Sheet
from sae.tables.sheet_notes import notes_sheet

__all__ = ["Table"]

_ROWS = 10  # rows that a printed table shows
_HTML_ROWS = 20
# what only reads: it is answered by a fresh frame, so that nothing done to the answer reaches the table
_READS = (
    *(
        "columns",
        "describe",
        "dtypes",
        "groupby",
        "head",
        "iloc",
        "index",
        "itertuples",
        "iterrows",
        "loc",
        "merge",
    ),
    *(
        "nlargest",
        "nsmallest",
        "query",
        "sample",
        "set_index",
        "shape",
        "size",
        "sort_values",
        "tail",
        "values",
    ),
)


class Table:
    """A frame with fixed columns; a subclass is a frozen dataclass that says what of it is printed.

    What a frame is read by (`head`, `loc`, `columns`, `sort_values`, `merge`, iteration over the names of the
    columns, ...) is answered by a fresh frame; `to_csv`, `to_parquet` and `to_excel` are `write`.

    Examples
    --------
    >>> table = sae.EstimateTable(pd.DataFrame({"domain": ["A", "B"], "estimate": [0.5, 0.2]}))
    >>> table.sort_values("estimate").head(1)[["domain", "estimate"]].values.tolist()
    [['B', 0.2]]
    >>> "estimate" in table, table.shape[0]
    (True, 2)
    """

    frame: pd.DataFrame

    @overload
    def __getitem__(self, columns: str) -> pd.Series: ...
    @overload
    def __getitem__(self, columns: list[str]) -> pd.DataFrame: ...
    def __getitem__(self, columns: str | list[str]) -> pd.Series | pd.DataFrame:
        if isinstance(columns, str | list):
            names = [columns] if isinstance(columns, str) else columns
            require(self.frame, [name for name in names if isinstance(name, str)], "The table has")
        return self.frame[columns]

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[str]:
        return iter(map(str, self.frame))

    def __contains__(self, column: object) -> bool:
        return column in self.frame

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # what a frame is read by
    else:

        def __getattr__(self, name):
            if name in _READS:
                return getattr(self.to_frame(), name)
            if name in ("to_csv", "to_parquet", "to_excel"):
                return self._write_as_frames_do
            hint = ""
            if not name.startswith("_") and "frame" in self.__dict__:
                hint = f"; it is a column: table[{name!r}]" if name in self.frame else hint
                hint = f"; a frame has: table.to_frame().{name}" if hasattr(pd.DataFrame, name) else hint
            raise AttributeError(f"{type(self).__name__} has no {name!r}{hint}.")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_READS})

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a fresh DataFrame."""
        return self.frame.copy()

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV, Parquet, XLSX or ODS by the ending of `path`; the same bytes every time.

        A workbook (XLSX, ODS) of estimates has sheets of notes beside them: what they are about, what the
        columns hold, what the flags mean. `sae.tables.read_table` reads the table back, exactly.

        Raises
        ------
        SaeInputError
            If the ending is none of ``.csv``, ``.parquet``, ``.xlsx``, ``.ods``.
        """
        return write_workbook(self._sheets(), path) if is_workbook(path) else write_table(self.frame, path)

    def _sheets(self) -> list[Sheet]:
        """Sheets of a workbook, the table first."""
        notes = [("Note", text) for text in getattr(self, "notes", ())]
        return [Sheet("estimates", self.frame), *([notes_sheet(notes)] if notes else [])]

    def _write_as_frames_do(self, path: str | Path, **options: Any) -> Path:
        if options and options != {"index": False}:
            raise SaeInputError(
                f"A table is written without an index and as it stands; it takes no {', '.join(options)}.",
                hint="Write it with table.write(path), or take table.to_frame() and write that.",
            )
        return self.write(path)

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
