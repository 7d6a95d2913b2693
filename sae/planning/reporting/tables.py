"""What a report is made of: sections of text, tables with the kinds of their columns, and charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

__all__ = ["Chart", "Section", "Table", "percent", "shown"]

_WORD = 28  # characters of a name that stays on one line
_NARROW = "\u202f"  # space that does not break: between a figure and its sign


@dataclass(frozen=True, eq=False)
class Table:
    """A table with what its columns mean.

    Attributes
    ----------
    name : str
        Of the sheet, and of the anchor on the page.
    caption : str
        What one row is, as a sentence.
    frame : DataFrame
    columns : mapping of str to (heading, kind)
        Which columns are shown, in order. Kinds: "text", "count", "percent" (a share shown in percent),
        "number", "small", "money".
    """

    name: str
    caption: str
    frame: pd.DataFrame
    columns: Mapping[str, tuple[str, str]]

    def cells(self, rows: slice = slice(None)) -> list[list[str]]:
        """Return the cells as text."""
        part = self.frame.iloc[rows]
        return [
            list(row)
            for row in zip(
                *([shown(value, kind) for value in part[name]] for name, (_, kind) in self.columns.items()),
                strict=True,
            )
        ]

    @property
    def headings(self) -> list[tuple[str, str]]:
        """Heading of each column with "number", "word" (no line breaks) or "text" (longer)."""
        return [
            (heading, "number" if kind != "text" else "word" if self._longest(name) <= _WORD else "text")
            for name, (heading, kind) in self.columns.items()
        ]

    def _longest(self, name: str) -> int:
        return int(self.frame[name].astype(str).str.len().max()) if len(self.frame) else 0


@dataclass(frozen=True)
class Chart:
    """A picture as SVG, and what it shows, as a sentence."""

    svg: bytes
    caption: str


@dataclass(frozen=True, eq=False)
class Section:
    """One of the contents of a report.

    Attributes
    ----------
    title : str
    text : tuple of str
        Paragraphs; what the plan does not know is among them, beginning with "Not given:".
    tables : tuple of Table
    charts : tuple of Chart
    """

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[Table, ...] = field(default=())
    charts: tuple[Chart, ...] = field(default=())


def shown(value: object, kind: str) -> str:
    """Return a value as a reader sees it: thousands apart, shares in percent, a dash for what is not known.

    Examples
    --------
    >>> shown(12345.6, "count"), shown(float("nan"), "count"), shown(True, "text")
    ('12,346', '–', 'yes')
    """
    if value is None or value is pd.NA or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if kind == "text" or isinstance(value, str):
        return (
            str(value)
            .replace("<= ", f"≤{_NARROW}")
            .replace(">= ", f"≥{_NARROW}")
            .replace(" %", f"{_NARROW}%")
            or "–"
        )
    number = float(value)  # type: ignore[arg-type]
    if np.isinf(number):
        return "unlimited"
    if kind == "percent":
        return f"{100 * number:,.1f}{_NARROW}%".replace("-", "−")
    if kind == "small":
        return f"{number:.3g}"
    number = round(number, 2 if kind == "number" else 0) + 0.0  # no −0
    return (f"{number:,.2f}" if kind == "number" else f"{number:,.0f}").replace("-", "−")


def percent(share: float, digits: int = 1) -> str:
    """Return a share in percent, for a sentence."""
    return f"{100 * share:,.{digits}f}{_NARROW}%"
