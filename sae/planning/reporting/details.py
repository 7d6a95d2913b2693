"""What a report says of the sources of a plan, and of how to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from sae.planning.reporting.tables import Section, Table

__all__ = ["ReportDetails", "reproduction", "sources"]


@dataclass(frozen=True)
class ReportDetails:
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


def sources(about: ReportDetails) -> list[str]:
    """Return a paragraph per source, those that are not given named as such."""
    wanted = {
        "frame": "source and year of the frame",
        "density": "source and year of the group's density",
        "costs": "source of the costs",
        "response": "source of the response rates",
    }
    given = [f"{name.capitalize()}: {getattr(about, name)}." for name in wanted if getattr(about, name)]
    missing = [source for name, source in wanted.items() if not getattr(about, name)]
    return [*given, *([f"Not given: {', '.join(missing)}."] if missing else [])]


def reproduction(about: ReportDetails, provenance: Mapping[str, object]) -> Section:
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
