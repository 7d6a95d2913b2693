"""What a report is made of: sections of text, tables with the kinds of their columns, and charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

__all__ = ["About", "Chart", "Section", "Table", "percent", "reproduction", "shown", "sources"]

_WORD = 28  # characters of a name that stays on one line
_NARROW = "\u202f"  # space that does not break: between a figure and its sign


@dataclass(frozen=True)
class About:
    """What a plan cannot know by itself: where its figures come from. Empty: the report says "Not given".

    Attributes
    ----------
    title : str
    indicator, group : str
        What is estimated, and for whom, in words.
    domain : str
        What one domain is called: "region", "city".
    currency : str
        Of the costs, such as "EUR".
    frame, density, costs, response : str
        Sources with their year.
    calibration : str
        Totals to which the weights are calibrated afterwards.
    regulation : str
        Requirement on national estimates to check, a name of `Regulation`.
    policy : str
        Publication policy of today's flags.
    seed : int or None
    inputs, versions : mapping of str to str
        SHA-256 of every input; versions of the libraries.
    """

    title: str = ""
    indicator: str = ""
    group: str = ""
    domain: str = "domain"
    currency: str = ""
    frame: str = ""
    density: str = ""
    costs: str = ""
    response: str = ""
    calibration: str = ""
    regulation: str = ""
    policy: str = ""
    seed: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def money(self, amount: float) -> str:
        """Return an amount with its currency."""
        return f"{self.currency} {amount:,.0f}" if self.currency else f"{amount:,.0f} cost units"

    @property
    def plural(self) -> str:
        """Several domains: "regions", "cities"."""
        return f"{self.domain[:-1]}ies" if self.domain.endswith("y") else f"{self.domain}s"

    @property
    def heading(self) -> str:
        """The word for a domain at the head of a column."""
        return self.domain[:1].upper() + self.domain[1:]

    def many(self, count: int) -> str:
        """Return a count with the word for domains: "1 region", "3 cities"."""
        return f"{count:,} {self.domain if count == 1 else self.plural}"


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
    """A picture as SVG, and what it says in words."""

    svg: bytes
    words: str


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
    return (f"{number:,.2f}" if kind == "number" else f"{number:,.0f}").replace("-", "−")


def percent(share: float, digits: int = 1) -> str:
    """Return a share in percent, for a sentence."""
    return f"{100 * share:,.{digits}f}{_NARROW}%"


def sources(about: About) -> list[str]:
    """Return a paragraph per source, those that are not given named as such."""
    wanted = {
        "frame": "source and year of the frame", "density": "source and year of the group's density",
        "costs": "source of the costs", "response": "source of the response rates",
    }  # fmt: skip
    given = [f"{name.capitalize()}: {getattr(about, name)}." for name in wanted if getattr(about, name)]
    missing = [words for name, words in wanted.items() if not getattr(about, name)]
    return [*given, *([f"Not given: {', '.join(missing)}."] if missing else [])]


def reproduction(about: About, provenance: Mapping[str, object]) -> Section:
    """Return what makes the plan again: versions, hashes, options."""
    lines = [("input", name, digest) for name, digest in about.inputs.items()]
    lines += [("version", name, number) for name, number in about.versions.items()]
    for name, value in provenance.items():
        items = value if isinstance(value, (list, tuple)) else [value]
        lines += [("plan", name, str(item)) for item in items if item not in ("", None)]
    text = [
        f"Seed {about.seed}."
        if about.seed is not None
        else "No random step was needed, so there is no seed.",
        "The same inputs, versions and seed give this report again, byte for byte.",
    ]
    if not about.inputs:
        text.append("Not given: hashes of the input files; the plan was made from tables in memory.")
    columns = {"kind": ("Kind", "text"), "name": ("Name", "text"), "value": ("Value", "text")}
    table = pd.DataFrame(lines, columns=["kind", "name", "value"])
    return Section(
        "How to make it again",
        tuple(text),
        (Table("origin", "One row per input, version and option.", table, columns),),
    )
