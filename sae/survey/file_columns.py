"""The columns of a file as a layout names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sae.survey.checks import unknown_column
from sae.survey.layouts import Layout
from sae.survey.levels import CodedColumn, coded_column

__all__ = ["FileColumns"]


class FileColumns:
    """The columns of a file as a layout sees them; collects what is absent."""

    def __init__(self, columns: Mapping[str, pd.Series], layout: Layout):
        self.columns = dict(columns)
        self.layout = layout
        self.known = dict(columns)
        self.by_lower = {str(name).lower(): name for name in reversed(list(columns))}
        self.absent: list[str] = []
        self._coded: dict[str, CodedColumn] = {}

    def seen_by(self, layout: Layout) -> FileColumns:
        """Return the same columns under another layout; what is coded already is not coded again."""
        other = FileColumns(self.columns, layout)
        other._coded = {name: coded for name, coded in self._coded.items() if name in self.columns}
        return other

    def add(self, name: str, values: pd.Series) -> None:
        """Let later parts of the layout use a derived column."""
        self.known[name] = values
        self.by_lower[name.lower()] = name
        self._coded.pop(name, None)

    def coded(self, column: str) -> CodedColumn:
        """Return the codes of a column, made once."""
        if column not in self._coded:
            self._coded[column] = coded_column(self.known[column])
        return self._coded[column]

    def locate(self, wanted: Any) -> str | None:
        """Name of the column that is meant, whatever its case in a known layout; None if it is absent."""
        candidates = wanted["first"] if isinstance(wanted, Mapping) else [wanted]
        for candidate in candidates:
            if candidate in self.known:
                return str(candidate)
        for candidate in candidates if self.layout.name else ():
            if candidate.lower() in self.by_lower:
                return str(self.by_lower[candidate.lower()])
        return None

    def find(self, wanted: Any, name: str) -> str | None:
        """File column of a harmonised name; None, and noted, where the layout's column is absent."""
        column = self.locate(wanted)
        if column is None:
            shown = "|".join(wanted["first"]) if isinstance(wanted, Mapping) else wanted
            if name in self.layout.required or not self.layout.name:
                raise unknown_column(shown, self.known, name)
            if (
                shown not in self.layout.derive and name not in self.columns
            ):  # said already, or there under its own name
                self.absent.append(f"{name} ({shown})")
        return column

    def same(self, name: str) -> bool:
        """Whether a harmonised name is made from the file column of the same name."""
        wanted = self.layout.columns.get(name) or self.layout.codes.get(name, {}).get("column")
        return self.locate(wanted) == name
