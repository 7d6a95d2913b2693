"""A population that no cells hold: the rows of a file, checked once and read anew for each use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pandas as pd
from numba import config

from sae.errors import SaeInputError, name_some
from sae.numerics.ebp.population import Population
from sae.numerics.ebp.streamed import Block, StreamedPopulation
from sae.numerics.ebp.threads import spread
from sae.progress import counting
from sae.specs import Design
from sae.tables import labels, to_numbers
from sae.tables.blocks import BLOCK, rechunked
from sae.tables.parquet_blocks import ParquetRecords
from sae.tables.parquet_files import plain_kinds
from sae.unit_level.ebp.cells import Codes, Counts
from sae.unit_level.ebp.people import (
    People,
    PeopleColumns,
    area_levels,
    group_codes,
    match_people,
    refuse_nobody,
    refuse_weights,
)

__all__ = ["stream_people"]

_RUNS = 2  # read apart and put together, however many threads there are


def stream_people(
    records: ParquetRecords, units: pd.DataFrame, design: Design, columns: PeopleColumns
) -> tuple[People, np.ndarray]:
    """Match the rows of a file to the sample and check them, in two passes.

    Returns
    -------
    People
    ndarray of int, shape (n,)
        Area of each unit of the sample.

    Raises
    ------
    SaeInputError
        If labels are spelt in two ways, no sampled area is in the file, or a covariate, level, weight or
        group cannot be used; with the number of rows.
    """
    domain = columns.domain
    names = [domain, *([] if columns.groups is None else [columns.groups])]
    texts = [name for name in design.levels if name not in names]
    counts = Counts.of(records, names, domain, columns.levels, texts)
    cells = counts.cells(records.n_records)
    row, areas, present, area = match_people(cells.frame, units, domain)
    for name in design.levels:
        _refuse_new_levels(counts, name, design.levels[name])
    _, groups = group_codes(cells.frame, columns.groups)
    coded = {domain: _places(counts, domain, areas)}
    if columns.groups is not None:
        coded[columns.groups] = _places(counts, columns.groups, np.array(groups, dtype=object))
    rows = _Rows(records, design, columns, coded, areas, len(groups))
    size = np.bincount(row, cells.count, len(areas)).astype(np.int64)
    facts = _facts(rows)
    if columns.weight is not None:
        refuse_nobody(columns.weight, areas[:present][facts.persons[:present, 0] == 0.0])
    population = StreamedPopulation(rows.blocks, rows.runs, size, facts.persons, len(groups))
    table = pd.DataFrame({domain: areas[:present], "population": size[:present]})
    levels = area_levels(cells.frame, columns, row, areas)
    return People(
        areas, present, population, levels, groups, table, facts.outside[:present], facts.digest
    ), area


def _places(counts: Counts, name: str, spelt: np.ndarray) -> dict[object, int]:
    """Return the place of every value of a column among labels."""
    values = list(counts.codes[name])
    place = pd.Index(spelt).get_indexer(pd.Index(labels(pd.Series(values, name=name)).to_numpy(dtype=object)))
    return dict(zip(values, place.tolist(), strict=True))


def _refuse_new_levels(counts: Counts, name: str, known: tuple[str, ...]) -> None:
    """Refuse levels of a covariate that the sample has not, with their rows."""
    spelt = labels(pd.Series(list(counts.codes[name]), name=name)).to_numpy(dtype=object)
    strange = ~np.isin(spelt, known)
    if not strange.any():
        return
    whole = next(names for names in counts.tables if name in names)
    table = counts.tables[whole].counts
    axes = tuple(k for k, one in enumerate(whole) if one != name)
    rows = int(table.sum(axis=axes, dtype=np.int64)[: len(spelt)][strange].sum())
    raise SaeInputError(
        f"{name} has levels that the fit never saw: {name_some(spelt[strange])} (in {rows:,} rows of the "
        "population).",
        hint=f"The fit knows {name_some(known, 10)}. Join levels, or leave {name} out.",
        column=name,
    )


@dataclass(frozen=True, eq=False)
class _Facts:
    """What a pass over the rows learns of them.

    Attributes
    ----------
    persons : ndarray of float, shape (D, 1 + groups)
    outside : ndarray of int, shape (D, p)
        Rows beyond the range of a column in the sample.
    bad : mapping of str to ndarray of int, shape (D,)
        Rows without a number, by column.
    digest : ndarray of uint8
    """

    persons: np.ndarray
    outside: np.ndarray
    bad: dict[str, np.ndarray]
    digest: np.ndarray


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a file as blocks of a population.

    Attributes
    ----------
    coded : mapping of str to dict
        Places of the values of the areas and of the groups.
    areas : ndarray of str, shape (D,)
    groups : int
    """

    records: ParquetRecords
    design: Design
    columns: PeopleColumns
    coded: dict[str, dict[object, int]]
    areas: np.ndarray
    groups: int

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Records in parts of whole blocks, whatever the files."""
        n = self.records.n_records
        cuts = [min(k * -(-n // (BLOCK * _RUNS)) * BLOCK, n) for k in range(_RUNS + 1)]
        return [(start, stop) for start, stop in pairwise(cuts) if stop > start]

    @property
    def numbers(self) -> list[str]:
        """Columns of which every row needs a number."""
        weight = [] if self.columns.weight is None else [self.columns.weight]
        return [*(name for name in self.design.variables if name not in self.design.levels), *weight]

    def read(
        self, run: tuple[int, int]
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None, pd.DataFrame, np.ndarray | None]]:
        """Yield area, group, covariates and weight of rows in the order of the file."""
        codes, weight = Codes(self.coded), self.columns.weight
        wanted = [*self.design.variables, *([] if weight is None else [weight])]
        names = list(dict.fromkeys([*self.coded, *wanted]))
        for table in rechunked(self.records.tables(names, *run)):
            placed = [codes.encoded(name, table.column(name)) for name in self.coded]
            area, *group = (lookup[code] for code, lookup in placed)
            frame = plain_kinds(table.select(list(dict.fromkeys(wanted)))).to_pandas(
                strings_to_categorical=True, split_blocks=True
            )
            yield (
                area,
                group[0] if group else None,
                frame,
                None if weight is None else to_numbers(frame, weight),
            )

    def blocks(self, run: tuple[int, int]) -> Iterator[Block]:
        """Yield the rows of a run sorted by area."""
        for area, group, frame, weight in self.read(run):
            yield self.block(area, group, self.design.rebuild(frame, self.areas[area]), weight)

    def block(
        self, area: np.ndarray, group: np.ndarray | None, X: np.ndarray, weight: np.ndarray | None
    ) -> Block:
        """Sort rows by area."""
        short = area.astype(np.min_scalar_type(len(self.areas)))  # up to 16 bits are sorted by digits
        order = np.argsort(short, kind="stable")
        starts = np.flatnonzero(np.diff(area[order], prepend=-1))
        population = Population(
            X[order],
            np.append(starts, len(area)),
            None if weight is None else weight[order],
            None if group is None else group[order],
            self.groups,
        )
        return Block(area[order][starts], population)

    def facts(self, run: tuple[int, int], step: Callable[[int], None]) -> _Facts:
        """Return what a run shows, and tell `step` how many rows were read."""
        D, p = len(self.areas), len(self.design.columns)
        persons, outside = np.zeros((D, 1 + self.groups)), np.zeros((D, p), dtype=np.int64)
        bad = {name: np.zeros(D, dtype=np.int64) for name in self.numbers}
        digest, usable = blake2b(), True
        for area, group, frame, weight in self.read(run):
            step(len(area))
            for name in self.numbers:
                values = to_numbers(frame, name)
                use = np.isfinite(values) & ((values >= 0.0) | (name != self.columns.weight))
                if not use.all():
                    bad[name] += np.bincount(area[~use], minlength=D)
                    usable = False
            if not usable:
                continue
            X = self.design.rebuild(frame, self.areas[area])
            for part in (area, X, group, weight):
                if part is not None:
                    digest.update(np.ascontiguousarray(part).data)
            block = self.block(area, group, X, weight)
            persons[block.areas] += block.population.persons
            starts = block.population.offsets[:-1]
            beyond = self.design.outside(block.population.X)
            outside[block.areas] += np.add.reduceat(beyond, starts, axis=0, dtype=np.int64)
        return _Facts(persons, outside, bad, np.frombuffer(digest.digest(), dtype=np.uint8))


def _facts(rows: _Rows) -> _Facts:
    """Read the file once.

    Raises
    ------
    SaeInputError
        If a number is missing or infinite, or a weight negative.
    """
    total = rows.records.n_records
    step = counting("Checks of the population", total, "rows")
    threads = min(int(config.NUMBA_NUM_THREADS), len(rows.runs))
    parts = spread(lambda run: rows.facts(run, step), rows.runs, threads)
    for name in rows.numbers:
        bad = sum(part.bad[name] for part in parts)
        many = int(np.sum(bad))
        if not many:
            continue
        where = f"in {name_some(rows.areas[np.flatnonzero(bad)])}"
        if name == rows.columns.weight:
            refuse_weights(name, many, total, where)
        raise SaeInputError(
            f"{name} is missing or infinite in {many:,} of {total:,} rows of the population, {where}.",
            hint="Take these rows of the population out, or fill the values in.",
            column=name,
        )
    persons = np.add.accumulate([part.persons for part in parts])[-1]
    outside = np.add.accumulate([part.outside for part in parts])[-1]
    return _Facts(persons, outside, {}, np.concatenate([part.digest for part in parts]))
