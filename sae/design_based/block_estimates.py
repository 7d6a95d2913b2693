"""From the merged sums of blocks to estimates: the checks that need the whole file, the design, the table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any
from warnings import warn

import numpy as np
import pandas as pd

from sae.design_based.block_facts import Facts
from sae.design_based.block_sums import BlockSums, number_of
from sae.design_based.block_task import Task
from sae.design_based.design import Design
from sae.design_based.direct_estimation import summed_periods
from sae.design_based.direct_table import covariance_table, direct_table
from sae.design_based.domains import Domains, cross_domains
from sae.design_based.estimates import DomainEstimates, assess_domains
from sae.design_based.linear import LinearSums, estimates_of_sums
from sae.errors import SaeInputError, SaeWarning, name_some
from sae.indicators import check_admitted, check_domains
from sae.literals import LonelyPolicy, Smoothing
from sae.numerics.design.keyed_sums import KeyedSums
from sae.numerics.design.units import Cells, design_levels, domain_cells
from sae.survey import Release, Survey
from sae.survey.build import HarmonisedRecords, knows_countries, quarters_in_a_year, refuse_shared
from sae.survey.checks import as_list, counted
from sae.survey.design import make_stages
from sae.survey.expressions import evaluate
from sae.survey.layouts import resolve_layout
from sae.survey.levels import CodedColumn, refuse_unknown
from sae.tables import DirectEstimates, label_text
from sae.tables.text_cells import looks_missing

__all__ = ["WholeFile"]


def _refuse_nobody(task: Task, facts: Facts) -> None:
    if facts.outside == facts.records:
        raise SaeInputError(
            f"All {facts.records:,} weights (column {task.weights!r}) are 0: the records represent nobody.",
            hint="Name the column of the analysis weights.",
            column=task.weights,
        )
    if facts.inside == 0:
        raise SaeInputError(
            f"No record of {facts.records - facts.outside:,} fulfils {task.subset!r}.",
            hint="Check the condition.",
        )


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
    lonely_psu: LonelyPolicy
    nest: bool

    def table(
        self, smoothing: Smoothing | None, covariance: bool, level: float, accept: Collection[str]
    ) -> DirectEstimates:
        """Check what only the whole file tells, and estimate."""
        task, facts = self.task, self.sums.facts
        _refuse_nobody(task, facts)
        _refuse_twice(task, facts)
        _refuse_unknown(task, facts)
        survey = _witness(task, facts, self.first)
        _evaluate_once(task, survey)
        notes = [note for one in task.indicators for note in check_admitted(one, survey, frozenset(accept))]
        domains = cross_domains(survey, task.by)
        check_domains(domains.by, survey, frozenset(accept))
        lost = [
            f"by {name}: {count:,} records have no value and belong to no domain"
            for name, count in facts.no_value.items()
            if count
        ]
        domains = replace(domains, log=(*lost, *domains.log))
        design, rows, stage_notes = self._design(domains)
        estimates = [self._estimate(design, rows, j) for j in range(len(task.indicators))]
        names = [one.name for one in task.indicators]
        log = [
            *_notes(task, facts, survey, stage_notes),
            *notes,
            *_unanswered(task, facts, survey),
            *summed_periods(survey, task.indicators, domains),
        ]
        return direct_table(
            survey,
            task.indicators,
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

    def _design(self, domains: Domains) -> tuple[Design, np.ndarray, list[str]]:
        """Return the design of the cells, the row of each domain code, and what was said of the strata."""
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
        rows = _rows(domains, self.sums.domains.names)
        codes = np.append(rows, -1)[keys[:, -1]].astype(np.int32)
        levels = design_levels(stages)
        cells = tuple(domain_cells(one, codes, len(domains)) for one in levels)
        nothing = np.empty(0)
        average = self.lonely_psu == "average"
        design = Design(nothing, codes, len(domains), levels, cells, average, None, ())
        notes += [*stage_notes, *quarters_in_a_year(frame, self.first.release, stages[0], task.time)]
        if roles.get("person") is not None and not task.person:
            notes.append(f"persons ({roles['person']}) are not checked for occurring twice")
        return design, rows, notes

    def _estimate(self, design: Design, rows: np.ndarray, j: int) -> DomainEstimates:
        task, sums, facts = self.task, self.sums.sums, self.sums.facts
        indicator, yes_or_no = task.indicators[j], task.yes_or_no[j] and j in facts.numbers_known
        total = indicator.kind == "total"
        share = yes_or_no and not total
        moments, unanswered = _moments(sums, design, rows, j, task.yes_or_no[j])
        cells = tuple(_cell_sums(sums, one, j) for one in design.cells)
        unit = indicator.unit or ("share" if share else "")
        linear = LinearSums(
            cells, _with_totals(moments, cells[0], design, task.yes_or_no[j]), share, total, unit
        )
        return assess_domains(estimates_of_sums(design, linear), design, unanswered)


def _refuse_twice(task: Task, facts: Facts) -> None:
    if facts.repeats:
        raise SaeInputError(
            f"{counted(facts.repeats, 'record repeats', 'records repeat')} a person: they share "
            f"{', '.join(task.person)} with another (the first: {' / '.join(facts.repeated)}).",
            hint="Remove the duplicates, or name the missing part of the key (time=, household=).",
            column=task.person[-1],
        )


def _refuse_unknown(task: Task, facts: Facts) -> None:
    """Refuse columns that hold answers in the whole file, but no code that the layout knows."""
    for one in facts.unlisted.values():
        if task.layout is not None and sum(one.counts.values()) + one.empty == facts.records:
            answers = CodedColumn(
                np.empty(0, np.int64), list(one.counts), np.array(list(one.counts.values()))
            )
            coding = resolve_layout(task.layout).codes[one.variable]
            refuse_unknown(answers, one.variable, one.source, coding)


def _rows(domains: Domains, names: Sequence[Any]) -> np.ndarray:
    """Row of each tuple of levels in the table of domains."""
    parts = [[label_text(level) for level in domains.labels[name]] for name in domains.by]
    row: dict[tuple[str, ...], int] = (
        {key: k for k, key in enumerate(zip(*parts, strict=True))} if parts else {(): 0}
    )
    return np.array([row[tuple(map(label_text, one))] for one in names], dtype=np.int64)


def _moments(
    sums: KeyedSums, design: Design, rows: np.ndarray, j: int, yes_or_no: bool
) -> tuple[np.ndarray, np.ndarray]:
    """n, Σw, Σw², 0, 0, Σwyy, Σwxy, Σwxx by domain, and the records without an answer."""
    own = np.zeros((design.n_domains, sums.moments.shape[2]))
    own[rows[: len(sums.moments)]] = sums.moments[:, j]
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


def _witness(task: Task, facts: Facts, first: HarmonisedRecords) -> Survey:
    """Make a small survey that holds every level which the whole file holds, for the checks of the whole."""
    counting = [[level for level, counts in one.items() if counts] for one in facts.levels.values()]
    others = [[level for level, counts in one.items() if not counts] for one in facts.levels.values()]
    size = max(map(len, counting), default=0) or 1
    rest = max(map(len, others), default=0)
    head = first.records.iloc[np.zeros(size + rest, dtype=int)].reset_index(drop=True)
    made = {}
    for name, used, unused in zip(facts.levels, counting, others, strict=True):
        values = [*(used[k % len(used)] if used else None for k in range(size)), *unused]
        values += [values[0]] * (size + rest - len(values))
        column = head[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            known = column.cat.categories.tolist()
            known += [level for level in (*used, *unused) if level not in set(known)]
            made[name] = pd.Series(pd.Categorical(values, known, ordered=bool(column.cat.ordered)))
        else:
            made[name] = pd.Series(values)
    inside = np.arange(size + rest) < size
    everybody = facts.inside == facts.records
    weights = np.where(inside | (task.subset is not None), 1.0, 0.0)
    return Survey(
        head.assign(**made),
        weights,
        (),
        mask=None if everybody else inside,
        time=task.time,
        layout=first.layout,
        release=_release(task, facts, first.release),
        source={"file": task.records.name, "records": facts.records},
    )


def _evaluate_once(task: Task, survey: Survey) -> None:
    """Refuse levels that no record of the file holds, and an order that not all of them have."""
    parts = [part for one in task.indicators for part in one.parts if part not in survey.frame]
    for part in (*parts, *(() if task.subset is None else (task.subset,))):
        evaluate(part, survey.frame)


def _release(task: Task, facts: Facts, first: Release) -> Release:
    """Return the release of the whole file from those that its blocks suggest.

    A block of which no label tells the composition of the EU, or the bands of age, suggests nothing.
    """
    releases = list(facts.releases)
    eu = sorted({one.eu for one in releases if one.eu})
    if len(eu) > 1:
        raise SaeInputError(
            f"The records are of several compositions of the EU: {name_some(map(repr, eu))}.",
            hint="Read the files of one composition at a time, or say in a layout of your own which is "
            "meant: about = {eu = 'EU28'}.",
        )
    limits = [set(one.age_bands) for one in releases if one.age_bands]
    bands = sorted(set.intersection(*limits)) if limits else []
    if len(limits) < len(releases) and _bands_known(task):  # single years are in some block
        bands = []
    return replace(first, eu=eu[0] if eu else "", age_bands=tuple(bands))


def _bands_known(task: Task) -> bool:
    """Whether the layout itself says that age is in bands."""
    if task.layout is None:
        return False
    layout = resolve_layout(task.layout)
    return bool(layout.release.age_bands) or any(how.get("lower_limits") for how in layout.derive.values())


def _notes(task: Task, facts: Facts, survey: Survey, stage_notes: Sequence[str]) -> list[str]:
    notes = [f"read {facts.records:,} records in {facts.blocks:,} blocks from {task.records.name}"]
    notes += [note for note, count in facts.notes.items() if count == facts.blocks]
    partly = [note for note, count in facts.notes.items() if count < facts.blocks]
    if partly:
        notes.append(f"of single blocks: {name_some(partly, 3)}")
    notes += [replace(one, records=facts.records).note for one in facts.unlisted.values()]
    notes += [*_words_kept(facts), *stage_notes]
    if facts.outside:
        outside = counted(facts.outside, "record of weight 0 is", "records of weight 0 are")
        notes.append(f"{outside} outside the population: in the design, and counted nowhere")
    if task.subset is not None:
        note = f"subset {task.subset!r}: {facts.inside:,} of {facts.records - facts.outside:,} records"
        if facts.unknown:
            lost = counted(facts.unknown, "record", "records")
            note += f"; {lost} for which it is missing {'is' if facts.unknown == 1 else 'are'} outside"
        notes.append(note)
    return notes


def _words_kept(facts: Facts) -> list[str]:
    """Warn of levels that look like words for a missing value, in the columns that are used."""
    seen = [
        f"{name} {level!r}"
        for name, levels in facts.levels.items()
        for level in levels
        if isinstance(level, str) and looks_missing(level)
    ]
    if not seen:
        return []
    note = f"texts that look like missing values are kept as levels: {name_some(seen)}"
    warn(
        f'The records: {note}. If they mean that nothing is known, say so in the layout: missing = ["NA"].',
        SaeWarning,
        stacklevel=4,
    )
    return [note]


def _unanswered(task: Task, facts: Facts, survey: Survey) -> list[str]:
    lines = []
    for j, indicator in enumerate(task.indicators):
        named = {name: facts.missing.get((j, name), 0) for name in indicator.variables(survey.frame)}
        counts = [f"{name} {count:,}" for name, count in named.items() if count]
        if counts:
            universe = f" with {indicator.universe}" if indicator.universe else ""
            lines.append(f"{indicator.name}: item non-response (records{universe}): {', '.join(counts)}")
    return lines
