"""The report on a plan: all that an office takes to its budget meeting, as a workbook, tables and a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pandas as pd

from sae.calls import answered
from sae.errors import SaeSpecError
from sae.planning.reporting.allocation import headline_of_allocation, sections_of_allocation
from sae.planning.reporting.details import ReportDetails
from sae.planning.reporting.oversample import (
    headline_of_oversample,
    quotations_of_oversample,
    sections_of_oversample,
)
from sae.planning.reporting.page import render_page
from sae.planning.reporting.tables import Section
from sae.planning.reporting.workbook import workbook_bytes
from sae.planning.with_model.plan import OversamplePlan
from sae.tables import Allocation, whole_file, write_table

__all__ = ["Report", "report"]


@dataclass(frozen=True, eq=False)
class Report:
    """A plan in words, tables and charts.

    Attributes
    ----------
    title, subtitle : str
    headline : tuple of (figure, meaning)
        What stands at the top.
    quotations : tuple of str
        Sentences to quote, of three domains; all are in the table "sentences".
    sections : tuple of Section
        The ten contents, in order.
    strata, domains : DataFrame
        The plan as tables: one row per stratum, and one per domain (or target).
    """

    title: str
    subtitle: str
    headline: tuple[tuple[str, str], ...]
    quotations: tuple[str, ...]
    sections: tuple[Section, ...]
    strata: pd.DataFrame
    domains: pd.DataFrame

    @property
    def lead(self) -> tuple[str, ...]:
        """The figures at the top as sentences."""
        return tuple(
            f"{figure}{' ' if meaning[:1].islower() else ', '}{meaning}." for figure, meaning in self.headline
        )

    @property
    def facts(self) -> NoReturn:
        """The old name of `headline`."""
        raise AttributeError("facts has a new name: use report.headline.")

    @property
    def quotes(self) -> NoReturn:
        """The old name of `quotations`."""
        raise AttributeError("quotes has a new name: use report.quotations.")

    def page(self) -> str:
        """Return the page: one HTML file that needs neither network nor scripts."""
        return render_page(self.title, self.subtitle, self.headline, self.quotations, self.sections)

    def write(self, folder: str | Path, name: str = "plan") -> tuple[Path, ...]:
        """Write ``{name}.html``, ``.xlsx``, and strata and domains as ``.csv`` and ``.parquet``.

        The same plan gives the same bytes. Files of these names are replaced.

        Raises
        ------
        SaeInputError
            If the folder does not exist.
        """
        folder = Path(folder)
        lead = [self.subtitle, *self.lead, *self.quotations]
        contents = {
            f"{name}.html": self.page().encode("utf-8"),
            f"{name}.xlsx": workbook_bytes(self.title, lead, self.sections),
        }
        for file, content in contents.items():
            with whole_file(folder / file) as part:
                part.write_bytes(content)
        tables = {"": self.strata, ".domains": self.domains}
        written = [
            write_table(table, folder / f"{name}{kind}{ending}")
            for kind, table in tables.items()
            for ending in (".csv", ".parquet")
        ]
        return tuple(sorted([*(folder / file for file in contents), *written]))


@answered
def report(
    plan: OversamplePlan | Allocation,
    about: ReportDetails | None = None,
    *,
    national: pd.DataFrame | None = None,
    confirmed: pd.DataFrame | None = None,
) -> Report:
    """Put a plan into words, tables and charts.

    Parameters
    ----------
    plan : OversamplePlan or Allocation
        From `oversample` or `allocate`.
    about : ReportDetails
        Title, words and sources that the plan cannot know. What is missing, the report says so.
    national : DataFrame, optional
        From `national_check`: the requirement on national estimates.
    confirmed : DataFrame, optional
        From `confirm`: the simulated error of the planned survey.

    Raises
    ------
    SaeSpecError
        If `plan` is no plan, or has no place for `national` or `confirmed`.
    """
    about = about or ReportDetails()
    title = about.title or f"A sampling plan for {about.indicator or 'the targets of an office'}"
    if isinstance(plan, OversamplePlan):
        who = " ".join(filter(None, (about.indicator, f"of {about.group}" if about.group else "")))
        subtitle = (
            f"{who[:1].upper()}{who[1:]}: {about.many(len(plan.domains))}, {len(plan.strata):,} strata."
        )
        return Report(
            title,
            subtitle.removeprefix(": "),
            tuple(headline_of_oversample(plan, about)),
            tuple(quotations_of_oversample(plan, about)),
            sections_of_oversample(plan, about, national=national, confirmed=confirmed),
            plan.strata,
            plan.domains,
        )
    if not isinstance(plan, Allocation):
        raise SaeSpecError(
            f"A report is made of a plan, not of {type(plan).__name__}.",
            hint="Give what sae.planning.oversample or sae.planning.allocate returned.",
        )
    if national is not None or confirmed is not None:
        raise SaeSpecError(
            "national= and confirmed= belong to a plan from a fitted model; this one is made without.",
            hint="Give the national requirement as one of the targets.",
        )
    subtitle = f"{len(plan.targets):,} targets, {len(plan):,} strata, direct estimates."
    return Report(
        title,
        subtitle,
        tuple(headline_of_allocation(plan, about)),
        (),
        sections_of_allocation(plan, about),
        plan.frame,
        plan.targets,
    )
