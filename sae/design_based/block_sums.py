"""Statistics of blocks of records, and their merge: all that direct linear estimates need of a large file.

Records that agree in their design columns and their domain are one row of totals (`KeyedSums`). Sixteen
blocks in their order make a run; runs are merged pairwise, by their numbers, in a binary tree. So the sums
depend on the records and their order, but not on row groups, on files, or on who reads which run when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from sae.design_based.block_facts import Facts, Labels
from sae.design_based.block_keys import domain_codes, held_levels, label_key, number_of, unit_key
from sae.design_based.block_task import Task, with_joined, with_named_levels
from sae.errors import SaeError, SaeInputError
from sae.indicators import REGISTRY, BlockReading, IndicatorArrays, block_arrays, resolve
from sae.numerics.design.keyed_sums import KeyedSums
from sae.progress import counting
from sae.survey import Survey
from sae.survey.build import harmonised_records
from sae.survey.checks import column_of, read_weights
from sae.survey.expressions import evaluate
from sae.tables import label_text
from sae.tables.blocks import BLOCK

__all__ = [
    "RUN",
    "BlockSums",
    "OtherNumbersError",
    "merged",
    "runs_of",
    "spans",
    "statistics",
    "subtree",
]

_Gaps = dict[str, np.ndarray | None]  # marks of the missing values of a variable, None where it has none
RUN = 16  # blocks


class OtherNumbersError(Exception):
    """Indicators that were taken for yes or no hold other numbers: their places."""

    def __init__(self, places: tuple[int, ...]):
        super().__init__(places)
        self.places = places


@dataclass(eq=False)
class BlockSums:
    """Sums and facts of a run of blocks.

    Attributes
    ----------
    sums : KeyedSums
        Keys are the columns of the design, as numbers or as codes of `texts`, and the domain.
    domains : Labels
        Tuples of levels of the grouping columns of all tables, None where a record has none.
    texts : tuple of Labels
        Labels of each column of the design, and then of those that name a person, that does not hold numbers;
        empty for one that does.
    facts : Facts
    persons : KeyedSums
        The persons met, without sums.
    """

    sums: KeyedSums
    domains: Labels
    texts: tuple[Labels, ...]
    facts: Facts
    persons: KeyedSums

    def merge(self, other: BlockSums) -> None:
        """Add the sums of later records."""
        keys, persons = (one.keys[: one.size].copy() for one in (other.sums, other.persons))
        n_design = len(self.texts) - self.persons.n_columns
        for position, labels in enumerate(other.texts):
            if labels.names:
                table, column = (keys, position) if position < n_design else (persons, position - n_design)
                table[:, column] = self.texts[position].codes(labels.names)[table[:, column]]
        codes = self.domains.codes(other.domains.names)
        keys[:, -1] = np.append(codes, -1)[keys[:, -1]]
        moments = np.zeros((len(self.domains.names), *other.sums.moments.shape[1:]))
        moments[codes[: len(other.sums.moments)]] = other.sums.moments
        other.sums.keys, other.sums.moments = keys, moments
        self.sums.merge(other.sums)
        self.facts.merge(other.facts)
        self.meet(persons)

    def meet(self, persons: np.ndarray) -> None:
        """Add persons by their keys, and count those that were met before."""
        before = self.persons.size
        cell = self.persons.cells_of(persons)
        repeats = len(cell) - (self.persons.size - before)
        if not repeats:
            return
        self.facts.repeats += repeats
        if not self.facts.repeated:
            first = np.full(self.persons.size, len(cell))
            np.minimum.at(first, cell, np.arange(len(cell)))
            again = (cell < before) | (first[cell] != np.arange(len(cell)))
            self.facts.repeated = self._person(persons[np.flatnonzero(again)[0]])

    def _person(self, key: np.ndarray) -> tuple[str, ...]:
        n_design = len(self.texts) - self.persons.n_columns
        parts = []
        for position, (value, labels) in enumerate(zip(key, self.texts[n_design:], strict=True), n_design):
            number = number_of(np.array([value]), position in self.facts.fractions)[0]
            parts.append(label_text(labels.names[value] if labels.names else number))
        return tuple(parts)


# ---------------------------------------------------------------- the tree


def subtree(task: Task, first: int, last: int) -> BlockSums:
    """Sum the runs `first` up to, but not with, `last`, which are those of one node of the tree."""
    blocks = _counted(task, first * RUN, last * RUN)
    return merged((statistics(task, run, islice(blocks, RUN)) for run in range(first, last)), task.memory)


def _counted(task: Task, first: int, last: int) -> Iterator[pd.DataFrame]:
    """Yield blocks, showing how many of their records were read."""
    step = counting("Survey", min(last * BLOCK, task.records.n_records) - first * BLOCK, "records")
    for block in task.records.blocks(task.columns, first, last):
        yield block
        step(len(block))


def merged(parts: Iterable[BlockSums], memory: float) -> BlockSums:
    """Merge the nodes of one height in their order.

    Two neighbours of 2^k runs become one of 2^(k+1); what is left at the end is merged from the right. So the
    height at which the tree is cut, and by whom its parts are summed, does not show.
    """
    stack: list[tuple[int, BlockSums]] = []
    for part in parts:
        height, node = 0, part
        while stack and stack[-1][0] == height:
            _, left = stack.pop()
            left.merge(node)
            height, node = height + 1, left
        node.sums.trim()
        node.persons.trim()
        stack.append((height, node))
        check_memory((one for _, one in stack), memory)
    node = stack.pop()[1]
    while stack:
        left = stack.pop()[1]
        left.merge(node)
        node = left
    return node


def check_memory(held: Iterable[BlockSums], memory: float) -> None:
    """Refuse sums that take more than they may."""
    several = list(held)
    size = sum(one.sums.nbytes + one.persons.nbytes for one in several)
    if size > memory:
        cells = max(one.sums.size for one in several)
        persons = max(one.persons.size for one in several)
        met = f" and {persons:,} persons" if persons else ""
        raise SaeInputError(
            f"The sums of {several[0].sums.n_indicators} indicators by sampling unit and domain take "
            f"{size / 1e9:.2f} GB, more than the {memory / 1e9:.2f} GB allowed: {cells:,} units × "
            f"domains{met}.",
            hint="Allow more (memory=), ask for fewer indicators or coarser domains at once, "
            + ("leave out person=, " if persons else "")
            + "or name the sampling units (psu=) if every record or household is one.",
        )


# ---------------------------------------------------------------- one run


def statistics(task: Task, run: int, blocks: Iterable[pd.DataFrame]) -> BlockSums:
    """Sum the blocks of one run."""
    out = BlockSums(
        KeyedSums(len(task.design) + task.every_record + 1, len(task.indicators)),
        Labels(),
        tuple(Labels() for _ in (*task.design, *task.person)),
        Facts(),
        KeyedSums(len(task.person), 0),
    )
    start = run * RUN * BLOCK
    for frame in blocks:
        try:
            _add_block(task, out, frame, start)
        except SaeError as error:
            raise type(error)(
                f"Among the records {start + 1:,} to {start + len(frame):,} of {task.records.name} (row 1 is "
                f"the first of them): {error.what}",
                hint=error.hint,
                areas=error.areas,
                column=error.column,
            ) from None
        start += len(frame)
        check_memory([out], task.memory)
    return out


def _add_block(task: Task, out: BlockSums, frame: pd.DataFrame, start: int) -> None:
    facts = out.facts
    made = harmonised_records(frame, task.roles, task.layout, whole=False)
    records = with_joined(with_named_levels(task.named_levels, made.records, frame), task.joined)
    weights = _weights(records, task.weights)
    used = weights != 0
    facts.outside += len(used) - int(used.sum())
    if task.subset is not None:
        used = _subset(task.subset, records, used, facts)
    mask = None if used.all() else used
    survey = Survey(records, weights, (), mask=mask, time=task.time, layout=made.layout, release=made.release)
    facts.records += len(records)
    facts.blocks += 1
    facts.inside += int(used.sum())
    facts.releases[made.release] = None
    listed = {one.note for one in made.unlisted}
    for note in made.notes:
        if note not in listed:
            facts.notes[note] = facts.notes.get(note, 0) + 1
    for one in made.unlisted:
        facts.lose(one)
    coded = _watch(task, records, mask, facts)
    domain = domain_codes(task.by, coded, mask, len(records), out.domains, facts)
    keys = np.empty((len(records), out.sums.n_columns), np.int64)
    if task.every_record:
        keys[:, -2] = np.arange(start, start + len(records))
    for position, name in enumerate(task.design):
        column = column_of(records, name, "design")
        if name in task.beside:
            keys[:, position] = label_key(column, out.texts[position])
        else:
            keys[:, position] = unit_key(column, out.texts[position], position, facts)
    keys[:, -1] = domain
    if task.person:
        columns = enumerate(task.person, len(task.design))
        out.meet(
            np.column_stack(
                [unit_key(column_of(records, name, "person"), out.texts[k], k, facts) for k, name in columns]
            )
        )
    flags, values, place = _indicators(task, survey, facts)
    out.sums.add(keys, domain, weights, flags, values, place)


def _weights(records: pd.DataFrame, name: str) -> np.ndarray:
    column = column_of(records, name, "weights")
    if pd.api.types.is_numeric_dtype(column.dtype) and (column == 0).all():
        return np.zeros(len(records))  # a block outside the population is no fault
    return np.ascontiguousarray(read_weights(records, name), dtype=float)


def _subset(expression: str, records: pd.DataFrame, used: np.ndarray, facts: Facts) -> np.ndarray:
    result = evaluate(expression, records)
    facts.unknown += int(np.sum(result.missing & used))
    return used & result.values.astype(bool) & ~result.missing


def _watch(
    task: Task, records: pd.DataFrame, mask: np.ndarray | None, facts: Facts
) -> dict[str, tuple[np.ndarray, list[Any]]]:
    """Note the levels of categories, groups and periods; return the codes of the groups."""
    named = [*task.by, *([] if task.time is None else [task.time])]
    texts = [name for one in task.indicators for name in one.variables(records)]
    coded = {}
    for name in dict.fromkeys((*named, *texts)):
        column = records[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, levels = column.cat.codes.to_numpy(), column.cat.categories.tolist()
        elif name in named:
            codes, uniques = pd.factorize(column)
            levels = pd.Index(uniques).tolist()
        else:
            continue
        held = held_levels(codes, len(levels))
        counted = held if mask is None else held_levels(codes[mask], len(levels))
        facts.see(name, {level: bool(counted[k]) for k, level in enumerate(levels) if held[k]})
        if name in task.by:
            coded[name] = codes, levels
    return coded


def _indicators(task: Task, survey: Survey, facts: Facts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flags, numbers and their rows of all indicators, as `KeyedSums.add` takes them."""
    n = len(survey)
    flags = np.zeros((len(task.indicators), n), np.uint8)
    numbers = np.flatnonzero(~np.array(task.yes_or_no))
    place = np.full(len(task.indicators), -1)
    place[numbers] = np.arange(numbers.size)
    values = np.zeros((numbers.size, 2, n))
    others: list[int] = []
    reading, gaps = BlockReading(), _Gaps()
    for j, (indicator, yes_or_no) in enumerate(zip(task.indicators, task.yes_or_no, strict=True)):
        if REGISTRY.get(indicator.name) is indicator:
            resolve(indicator.name, survey)  # its columns hold the levels that it knows
        data, any_known = block_arrays(indicator, survey, yes_or_no, reading)
        if any_known:
            facts.numbers_known.add(j)
        if data is None:
            others.append(j)
            continue
        flags[j] = data.inside.view(np.uint8) | (data.item_missing.view(np.uint8) << 2)
        if yes_or_no:
            flags[j] |= data.numerator.view(np.uint8) << 1
        else:
            values[place[j], 0], values[place[j], 1] = data.numerator, data.denominator
        _count_missing(j, data, survey.frame, reading, gaps, facts)
    if others:
        raise OtherNumbersError(tuple(others))
    return flags, values, place


def _count_missing(
    j: int, data: IndicatorArrays, frame: pd.DataFrame, reading: BlockReading, gaps: _Gaps, facts: Facts
) -> None:
    """Count the records of the universe without a value, by variable; `gaps` are those looked for before."""
    for name in data.indicator.variables(frame):
        if name not in gaps:
            operand = reading.operands.get(name)
            mark = frame[name].isna().to_numpy() if operand is None else operand.missing
            gaps[name] = mark if mark is not None and mark.any() else None
        mark = gaps[name]
        if mark is not None:
            count = int(np.sum(data.candidates & mark))
            facts.missing[j, name] = facts.missing.get((j, name), 0) + count


def runs_of(n_records: int) -> int:
    """Return how many runs the records make."""
    return -(-n_records // (RUN * BLOCK))


def spans(runs: int, workers: int) -> Iterator[tuple[int, int]]:
    """Cut the runs into subtrees of one height, several for each worker."""
    height = 1
    while runs > 8 * workers * height:
        height *= 2
    return ((first, min(first + height, runs)) for first in range(0, runs, height))
