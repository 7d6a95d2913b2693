"""What only the whole file tells: whether it may be used, a survey of its levels, what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from warnings import warn

import numpy as np
import pandas as pd

from sae.design_based.block_facts import Facts
from sae.design_based.block_task import Task
from sae.errors import SaeInputError, SaeWarning, counted, name_some
from sae.survey import Release, Survey
from sae.survey.build import HarmonisedRecords
from sae.survey.expressions import evaluate
from sae.survey.layouts import resolve_layout
from sae.survey.levels import CodedColumn, refuse_unknown, strays_text
from sae.tables.text_cells import looks_missing

__all__ = ["notes_of", "unanswered", "whole_survey"]


def whole_survey(task: Task, facts: Facts, first: HarmonisedRecords) -> Survey:
    """Return a small survey that holds every level which the whole file holds; `first` is its first block.

    Raises
    ------
    SaeInputError
        If the records represent nobody, repeat a person, or hold codes that mean nothing.
    """
    _refuse_nobody(task, facts)
    _refuse_twice(task, facts)
    _refuse_unknown(task, facts)
    survey = _witness(task, facts, first)
    _evaluate_once(task, survey)
    return survey


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


def notes_of(task: Task, facts: Facts, survey: Survey, stage_notes: Sequence[str]) -> list[str]:
    """Say what the file is, what became of its codes, who is outside; `stage_notes` are of its design."""
    notes = [f"read {facts.records:,} records in {facts.blocks:,} blocks from {task.records.name}"]
    notes += [note for note, count in facts.notes.items() if count == facts.blocks]
    partly = [note for note, count in facts.notes.items() if count < facts.blocks]
    if partly:
        notes.append(f"of single blocks: {name_some(partly, 3)}")
    unlisted = [replace(one, records=facts.records) for one in facts.unlisted.values()]
    notes += [one.note for one in unlisted]
    strays = strays_text(unlisted, task.layout)
    if strays:
        warn(strays, SaeWarning, stacklevel=3)
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


def unanswered(task: Task, places: Sequence[int], facts: Facts, survey: Survey) -> list[str]:
    """Count the records without an answer, for the indicators at these places."""
    lines = []
    for j in places:
        indicator = task.indicators[j]
        named = {name: facts.missing.get((j, name), 0) for name in indicator.variables(survey.frame)}
        counts = [f"{name} {count:,}" for name, count in named.items() if count]
        if counts:
            universe = f" with {indicator.universe}" if indicator.universe else ""
            lines.append(f"{indicator.name}: item non-response (records{universe}): {', '.join(counts)}")
    return lines
