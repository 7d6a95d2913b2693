"""A population larger than the memory, read once: how many rows each combination of its levels has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numba import config

from sae.errors import SaeInputError, name_some
from sae.numerics.ebp.tally import Tally, TooManyCells
from sae.numerics.ebp.threads import spread
from sae.specs import parse_terms
from sae.tables import labels, require
from sae.tables.block_files import open_records
from sae.tables.blocks import span
from sae.tables.parquet_blocks import ParquetRecords

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Cells", "read_cells"]

_SPANS = 2  # read apart and put together, however many threads there are
_MANY = 4_000_000  # cells beyond which a design of them is no longer small
_PAYS = 0.5  # of the rows: more cells are no reduction
_MEMORY = 2e9  # bytes that rows may take where cells do not help


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows that are alike in all that is used of them.

    Attributes
    ----------
    frame : DataFrame
        One row per cell, the areas in the order in which the file names them.
    count : ndarray of int, shape (len(frame),)
        Rows of the file in each.
    """

    frame: pd.DataFrame
    count: np.ndarray


def read_cells(
    path: str | Path, covariates: str, domain: str, others: Sequence[str], levels: Sequence[str]
) -> Cells | None:
    """Count the rows of a Parquet file, or of a folder of them, in one pass.

    Parameters
    ----------
    path : str or Path
    covariates : str
        The formula's right-hand side.
    domain : str
        Column of the areas.
    others : sequence of str
        Further columns that divide the rows: groups and weights.
    levels : sequence of str
        Columns that put whole areas together.

    Returns
    -------
    Cells or None
        None where cells are no reduction and the rows fit into the memory.

    Raises
    ------
    SaeInputError
        If the file cannot be read, lacks a column, or a value is missing; or if it has more rows than the
        memory holds and cells do not help.
    """
    records = open_records(path)
    if not isinstance(records, ParquetRecords):
        return None
    variables = parse_terms(covariates).variables
    names = list(dict.fromkeys([domain, *others, *variables]))
    head = pd.DataFrame(columns=list(records.columns))
    require(head, [domain, *others, *levels], "The population has")
    require(head, list(variables), "The population has", "(a covariate of the formula)")
    runs = [run for run in _spans(records) if run[1] > run[0]]
    try:
        threads = min(int(config.NUMBA_NUM_THREADS), len(runs))
        parts = spread(lambda run: _Counts(names, domain, levels).read(records, *run), runs, threads)
        for other in parts[1:]:
            parts[0].merge(other)
        cells = parts[0].cells(records.n_records)
    except TooManyCells as many:
        _refuse_rows(records, names, str(many))
        return None
    if len(cells.frame) <= _PAYS * records.n_records:
        return cells
    _refuse_rows(records, names, f"{len(cells.frame):,} combinations")
    return None


def _spans(records: ParquetRecords) -> Iterator[tuple[int, int]]:
    """Cut the records between row groups."""
    ends = np.cumsum([0, *(rows for file in records.groups for rows in file)])
    goal = np.linspace(0, ends[-1], _SPANS + 1)
    cuts = [int(ends[np.abs(ends - at).argmin()]) for at in goal]
    yield from pairwise(cuts)


def _refuse_rows(records: ParquetRecords, names: Sequence[str], what: str) -> None:
    size = 16.0 * len(names) * records.n_records
    if size > _MEMORY:
        raise SaeInputError(
            f"{records.name} has {records.n_records:,} rows and too many combinations of {name_some(names)} "
            f"({what}) to be counted: as rows they take about {size / 1e9:,.1f} GB.",
            hint="Put numbers into classes, such as ages of five years, in the sample too; or read the file "
            "and give the frame, where there is memory for it.",
        )


class _Counts:
    """Levels of the columns, and the tables of their counts."""

    def __init__(self, names: Sequence[str], domain: str, levels: Sequence[str]) -> None:
        self.codes: dict[str, dict[Any, int]] = {name: {} for name in dict.fromkeys([*names, *levels])}
        self.tables = {tuple(names): Tally(len(names))}
        self.tables |= {(domain, name): Tally(2) for name in levels}
        self._last: dict[str, tuple[Any, np.ndarray]] = {}

    def read(self, records: ParquetRecords, first: int, last: int) -> _Counts:
        """Count records `first` to `last`."""
        for table in records.tables(list(self.codes), *span(first, last, records.n_records)):
            coded = {name: self._encoded(name, table.column(name)) for name in self.codes}
            for names, tally in self.tables.items():
                sizes = [len(self.codes[name]) for name in names]
                tally.add([coded[name][0] for name in names], [coded[name][1] for name in names], sizes)
        return self

    def merge(self, other: _Counts) -> None:
        """Add what was counted apart."""
        lookups = {name: self._codes(name, list(levels)) for name, levels in other.codes.items()}
        for names, tally in self.tables.items():
            sizes = [len(self.codes[name]) for name in names]
            tally.merge(other.tables[names], [lookups[name] for name in names], sizes)

    def cells(self, total: int) -> Cells:
        """Return the cells that somebody is in.

        Raises
        ------
        SaeInputError
            If a value is missing, or an area lies in several parts of a level.
        """
        names, tally = next(iter(self.tables.items()))
        where = np.nonzero(tally.counts)
        if len(where[0]) > _MANY:
            raise TooManyCells(f"{len(where[0]):,} combinations")
        count = tally.counts[where].astype(np.int64)
        domain = names[0]
        area = where[0]
        values = {name: list(levels) for name, levels in self.codes.items()}
        for name, code in zip(names, where, strict=True):
            self._refuse_missing(name, code, count, area, total)
        frame = pd.DataFrame(
            {name: pd.Series(values[name]).take(code).array for name, code in zip(names, where, strict=True)}
        )
        for (_, name), table in list(self.tables.items())[1:]:
            row, part = np.nonzero(table.counts)
            self._refuse_missing(name, part, table.counts[row, part].astype(np.int64), row, total)
            twice = np.unique(row[1:][row[1:] == row[:-1]])
            if len(twice):
                split = labels(pd.Series([values[domain][d] for d in twice], name=domain))
                raise SaeInputError(
                    f"{len(split)} areas lie in several parts of {name}: {name_some(split)}.",
                    hint="A level puts whole areas together; a column that differs within areas goes to "
                    "groups=.",
                    areas=split,
                    column=name,
                )
            frame[name] = pd.Series(values[name]).take(part[np.searchsorted(row, area)]).array
        return Cells(frame, count)

    def _refuse_missing(
        self, name: str, code: np.ndarray, count: np.ndarray, area: np.ndarray, total: int
    ) -> None:
        place = self.codes[name].get(None)
        empty = code == place
        if place is None or not empty.any():
            return
        domain = next(iter(self.codes))
        areas = [list(self.codes[domain])[d] for d in dict.fromkeys(area[empty].tolist())]
        places = "" if name == domain else f", in {name_some([str(one) for one in areas])}"
        raise SaeInputError(
            f"{name} is missing in {int(count[empty].sum()):,} of {total:,} rows of the population{places}.",
            hint="Take these rows of the population out, or fill the values in.",
            column=name,
        )

    def _encoded(self, name: str, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes of this block and the level of each of them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        chunk = column.combine_chunks()
        if isinstance(chunk, pa.ChunkedArray):
            chunk = chunk.chunk(0)
        if pa.types.is_decimal(chunk.type):
            chunk = chunk.cast(pa.float64())
        if pa.types.is_floating(chunk.type):
            chunk = pc.if_else(pc.is_nan(chunk), None, chunk)
        coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        last = self._last.get(name)
        if last is None or not coded.dictionary.equals(last[0]):
            last = coded.dictionary, self._codes(name, coded.dictionary.to_pylist())
            self._last[name] = last
        indices, lookup = coded.indices, last[1]
        if indices.null_count:
            indices = indices.fill_null(len(lookup))
            lookup = np.append(lookup, self._codes(name, [None]))
        return indices.to_numpy(zero_copy_only=False), lookup

    def _codes(self, name: str, values: Sequence[Any]) -> np.ndarray:
        levels = self.codes[name]
        return np.array([levels.setdefault(value, len(levels)) for value in values], dtype=np.int64)
