"""From the merged sums of blocks to estimates: the design of their units, and the tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sae.design_based.block_checks import notes_of, unanswered, whole_survey
from sae.design_based.block_keys import number_of
from sae.design_based.block_sums import BlockSums
from sae.design_based.block_task import Task
from sae.design_based.design import Design
from sae.design_based.direct_estimation import summed_periods
from sae.design_based.direct_table import covariance_table, direct_table
from sae.design_based.domains import Domains, cross_domains
from sae.design_based.estimates import DomainEstimates, assess_domains
from sae.design_based.linear import LinearSums, estimates_of_sums
from sae.errors import SaeSpecError, name_some
from sae.indicators import check_admitted, check_domains
from sae.literals import LonelyPolicy, Smoothing
from sae.numerics.design.keyed_sums import KeyedSums
from sae.numerics.design.units import Cells, Level, design_levels, domain_cells
from sae.survey import Survey
from sae.survey.build import HarmonisedRecords, knows_countries, quarters_in_a_year, refuse_shared
from sae.survey.checks import as_list
from sae.survey.design import Stage, make_stages
from sae.tables import DirectEstimates, label_text

__all__ = ["WholeFile"]


@dataclass(frozen=True, eq=False)
class WholeFile:
    """The merged sums of a file with what makes estimates of them.

    Attributes
    ----------
    task : Task
    sums : BlockSums
    first : HarmonisedRecords
        The first block.
    lonely_psu : str
    nest : bool
    """

    task: Task
    sums: BlockSums
    first: HarmonisedRecords
    lonely_psu: LonelyPolicy = "fail"
    nest: bool = False

    @cached_property
    def survey(self) -> Survey:
        """A small survey that holds every level which the whole file holds, and what is said of the file.

        Raises
        ------
        SaeInputError
            If the records represent nobody, repeat a person, or hold codes that mean nothing.
        """
        return whole_survey(self.task, self.sums.facts, self.first)

    def table(
        self,
        by: Sequence[str],
        *,
        indicators: Collection[str] | None = None,
        smoothing: Smoothing | None = None,
        covariance: bool = False,
        level: float = 0.95,
        accept: Collection[str] = (),
    ) -> DirectEstimates:
        """Estimate one of the crossings.

        Parameters
        ----------
        by : sequence of str
            Grouping columns; any of those that were summed.
        indicators : collection of str, optional
            Names of those that are wanted; all by default.
        smoothing, covariance, level
            As in `sae.direct`.
        accept : collection of str
            As `check_accept` returns it.
        """
        task, survey, accepted = self.task, self.survey, frozenset(accept)
        places = self._places(indicators)
        wanted = [task.indicators[j] for j in places]
        notes = [note for one in wanted for note in check_admitted(one, survey, accepted)]
        domains = self._domains(by)
        check_domains(domains.by, survey, accepted)
        lost = [
            f"by {name}: {count:,} records have no value and belong to no domain"
            for name, count in self.sums.facts.no_value.items()
            if count and name in domains.by
        ]
        domains = replace(domains, log=(*lost, *domains.log))
        rows = _rows(domains, task.by, self.sums.domains.names)
        design = self._design(domains, rows)
        estimates = [self._estimate(design, rows, j) for j in places]
        log = [
            *self.notes,
            *notes,
            *unanswered(task, places, self.sums.facts, survey),
            *summed_periods(survey, wanted, domains),
        ]
        names = [one.name for one in wanted]
        return direct_table(
            survey,
            wanted,
            estimates,
            domains,
            method="linearised",
            described="linearised",
            smoothing=smoothing,
            level=level,
            accept=accept,
            log=log,
            covariance=covariance_table(design, names, estimates, domains) if covariance else None,
        )

    def counted(self, by: Sequence[str]) -> pd.DataFrame:
        """Return the weighted denominator of each domain of a crossing (rows of its table) and indicator."""
        domains = self._domains(by)
        rows = _rows(domains, self.task.by, self.sums.domains.names)
        sums = self.sums.sums
        domain = np.append(rows, -1)[sums.keys[: sums.size, -1]]
        held = domain >= 0
        counts = {
            one.name: np.bincount(domain[held], sums.totals[: sums.size, j, 1][held], len(domains))
            for j, one in enumerate(self.task.indicators)
        }
        return pd.DataFrame(counts, index=pd.RangeIndex(len(domains)))

    def pairs(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return the different labels that records which count have in some grouping columns, as text."""
        places = [self.task.by.index(name) for name in columns]
        held = dict.fromkeys(tuple(one[k] for k in places) for one in self.sums.domains.names)
        texts = sorted(tuple(map(label_text, one)) for one in held if None not in one)
        return pd.DataFrame(texts, columns=list(columns), dtype=object)

    def _places(self, indicators: Collection[str] | None) -> list[int]:
        names = [one.name for one in self.task.indicators]
        unknown = [name for name in indicators or () if name not in names]
        if unknown:
            raise SaeSpecError(f"{name_some(unknown)} are not among the indicators that were summed.")
        return [j for j, name in enumerate(names) if indicators is None or name in indicators]

    def _domains(self, by: Sequence[str]) -> Domains:
        stray = [name for name in by if name not in self.task.by]
        if stray:
            raise SaeSpecError(f"The records were not summed by {name_some(stray)}.")
        return cross_domains(self.survey, by)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What is said of the file and of its design."""
        return tuple(notes_of(self.task, self.sums.facts, self.survey, self._design_notes[1]))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of the design, on the units × domains that records were summed by."""
        return self._design_notes[0]

    @cached_property
    def _levels(self) -> tuple[Level, ...]:
        return design_levels(self.stages)

    @cached_property
    def _design_notes(self) -> tuple[tuple[Stage, ...], list[str]]:
        """The stages, and what was said of the strata."""
        task, sums = self.task, self.sums.sums
        keys = sums.keys[: sums.size]
        roles = self.first.roles
        columns = {}
        for position, name in enumerate(task.design):
            known = self.sums.texts[position].names
            of_column = keys[:, position]
            if name in task.beside:
                columns[name] = pd.Series(np.array(known, dtype=object)[of_column])
            elif known:
                columns[name] = pd.Series(pd.Categorical.from_codes(of_column, pd.Index(known)))
            else:
                columns[name] = pd.Series(number_of(of_column, position in self.sums.facts.fractions))
        psu = as_list(roles.get("psu"), "psu")
        notes = []
        if not psu and roles.get("household") is not None:
            psu = [roles["household"]]
            notes.append(f"no psu given: the household ({psu[0]}) is the sampling unit")
        frame = pd.DataFrame(columns, index=pd.RangeIndex(sums.size))
        strata, fpc = as_list(roles.get("strata"), "strata"), as_list(roles.get("fpc"), "fpc")
        strata, psu = ([name for name in one if name in columns] for one in (strata, psu))
        if knows_countries(task.layout):
            refuse_shared(frame, roles, self.nest)
        stages, stage_notes = make_stages(
            frame,
            strata,
            psu,
            fpc,
            lonely_psu=self.lonely_psu,
            nest=self.nest,
        )
        notes += [*stage_notes, *quarters_in_a_year(frame, self.first.release, stages[0], task.time)]
        if roles.get("person") is not None and not task.person:
            notes.append(f"persons ({roles['person']}) are not checked for occurring twice")
        return stages, notes

    def _design(self, domains: Domains, rows: np.ndarray) -> Design:
        """Return the design of the cells for the domains, `rows` being those of each domain code."""
        levels, sums = self._levels, self.sums.sums
        codes = np.append(rows, -1)[sums.keys[: sums.size, -1]].astype(np.int32)
        cells = tuple(domain_cells(one, codes, len(domains)) for one in levels)
        average = self.lonely_psu == "average"
        return Design(np.empty(0), codes, len(domains), levels, cells, average, None, ())

    def _estimate(self, design: Design, rows: np.ndarray, j: int) -> DomainEstimates:
        task, sums, facts = self.task, self.sums.sums, self.sums.facts
        indicator, yes_or_no = task.indicators[j], task.yes_or_no[j] and j in facts.numbers_known
        total = indicator.kind == "total"
        share = yes_or_no and not total
        moments, unanswered = _moments(sums, design, rows, j)
        cells = tuple(_cell_sums(sums, one, j) for one in design.cells)
        unit = indicator.unit or ("share" if share else "")
        linear = LinearSums(
            cells, _with_totals(moments, cells[0], design, task.yes_or_no[j]), share, total, unit
        )
        return assess_domains(estimates_of_sums(design, linear), design, unanswered)


def _rows(domains: Domains, by: tuple[str, ...], names: Sequence[Any]) -> np.ndarray:
    """Row in the table of domains of each tuple of levels of `by`; -1 where a column has none."""
    parts = [[label_text(level) for level in domains.labels[name]] for name in domains.by]
    row: dict[tuple[str, ...], int] = (
        {key: k for k, key in enumerate(zip(*parts, strict=True))} if parts else {(): 0}
    )
    places = [by.index(name) for name in domains.by]
    known: dict[tuple[Any, ...], int] = {}
    out = np.empty(len(names), np.int64)
    for code, levels in enumerate(names):
        key = tuple(levels[k] for k in places)
        if key not in known:
            known[key] = -1 if None in key else row[tuple(map(label_text, key))]
        out[code] = known[key]
    return out


def _moments(sums: KeyedSums, design: Design, rows: np.ndarray, j: int) -> tuple[np.ndarray, np.ndarray]:
    """n, Σw, Σw², 0, 0, Σwyy, Σwxy, Σwxx by domain, and the records without an answer."""
    own = np.zeros((design.n_domains, sums.moments.shape[2]))
    places = rows[: len(sums.moments)]
    np.add.at(own, places[places >= 0], sums.moments[places >= 0, j])
    n, w, ww, wyy, wxy, wxx, unanswered = own.T
    nothing = np.zeros(design.n_domains)
    return np.column_stack([n, w, ww, nothing, nothing, wyy, wxy, wxx]), unanswered.astype(np.int64)


def _cell_sums(sums: KeyedSums, cells: Cells, j: int) -> np.ndarray:
    """Σwy, Σwx and whether there are records, of each unit × domain cell of one stage."""
    held = cells.record >= 0
    parts = (sums.totals[: sums.size, j, 0], sums.totals[: sums.size, j, 1], sums.present[: sums.size, j])
    size = cells.domain.size
    return np.column_stack([np.bincount(cells.record[held], part[held], size) for part in parts])


def _with_totals(moments: np.ndarray, cells: np.ndarray, design: Design, yes_or_no: bool) -> np.ndarray:
    domain = design.cells[0].domain
    wy, wx = (np.bincount(domain, cells[:, k], design.n_domains) for k in (0, 1))
    moments[:, 3], moments[:, 4] = wy, wx
    if yes_or_no:  # y and x are 0 or 1, and y within x
        moments[:, 1], moments[:, 5], moments[:, 6], moments[:, 7] = wx, wy, wy, wx
    return moments
