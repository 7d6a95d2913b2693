"""A population larger than the memory, read once: how many rows each combination of its levels has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from sae.progress import counting
from sae.specs import parse_terms
from sae.tables import labels, require
from sae.tables.block_files import open_records
from sae.tables.parquet_blocks import ParquetRecords
from sae.unit_level.ebp.people import refuse_divided

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Cells", "Codes", "Counts", "read_cells"]

_SPANS = 2  # read apart and put together, however many threads there are
_MANY = 4_000_000  # cells beyond which a design of them is no longer small
_PAYS = 0.5  # of the rows: more cells are no reduction
_MEMORY = 2e9  # bytes that rows may take where they are needed and cells do not help
_READ = 2e8  # bytes that rows may take where they may be read one after the other as well


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
    path: str | Path | ParquetRecords,
    covariates: str,
    domain: str,
    others: Sequence[str],
    levels: Sequence[str],
    held: tuple[str, str] | None = None,
    clusters: str | None = None,
) -> Cells | ParquetRecords | None:
    """Count the rows of a Parquet file, or of a folder of them, in one pass.

    Parameters
    ----------
    path : str, Path or ParquetRecords
    covariates : str
        The formula's right-hand side.
    domain : str
        Column of the areas.
    others : sequence of str
        Further columns that divide the rows: groups and weights.
    levels : sequence of str
        Columns that put whole areas together.
    held : (str, str), optional
        What is asked for that needs rows in memory where there are no cells, and what to do beyond it.
    clusters : str, optional
        A column that divides the rows too, where the file has it.

    Returns
    -------
    Cells, ParquetRecords or None
        Where cells are no reduction: None if the rows fit into the memory, else the records.

    Raises
    ------
    SaeInputError
        If the file cannot be read, lacks a column, or a value is missing; or if it has more rows than the
        memory holds, cells do not help, and the rows are needed.
    """
    records = path if isinstance(path, ParquetRecords) else open_records(path)
    if not isinstance(records, ParquetRecords):
        return None
    variables = parse_terms(covariates).variables
    optional = [] if clusters not in records.columns else [clusters]
    names = list(dict.fromkeys([domain, *others, *optional, *variables]))
    head = pd.DataFrame(columns=list(records.columns))
    require(head, [domain, *others, *levels], "The population has")
    require(head, list(variables), "The population has", "(a covariate of the formula)")
    try:
        cells = Counts.of(records, names, domain, levels).cells(records.n_records)
    except TooManyCells as many:
        what = str(many)
    else:
        if len(cells.frame) <= _PAYS * records.n_records:
            return cells
        what = f"{len(cells.frame):,} combinations"
    size = 16.0 * len(names) * records.n_records
    if size <= (_MEMORY if held else _READ):
        return None
    if held:
        raise SaeInputError(
            f"{records.name} has {records.n_records:,} rows and too many combinations of {name_some(names)} "
            f"({what}) to be counted. {held[0]} needs its rows in memory, about {size / 1e9:,.1f} GB.",
            hint="Means, head counts, gaps and severities below a fixed threshold, and their MSE by "
            f'"bootstrap", are added up row by row, with no limit. For what is asked here {held[1]}; or put '
            "numbers into classes, such as ages of five years, in the sample too.",
        )
    return records


def _spans(records: ParquetRecords) -> Iterator[tuple[int, int]]:
    """Cut the records between row groups."""
    ends = np.cumsum([0, *(rows for file in records.groups for rows in file)])
    goal = np.linspace(0, ends[-1], _SPANS + 1)
    cuts = [int(ends[np.abs(ends - at).argmin()]) for at in goal]
    yield from (run for run in pairwise(cuts) if run[1] > run[0])


class Codes:
    """Numbers of the values of columns, in the order in which they come up."""

    def __init__(self, codes: Mapping[str, dict[Any, int]]) -> None:
        self.codes = dict(codes)
        self._last: dict[str, tuple[Any, np.ndarray]] = {}

    def encoded(self, name: str, column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes of a block's own and the number of each of them."""
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
            last = coded.dictionary, self.numbers(name, coded.dictionary.to_pylist())
            self._last[name] = last
        indices, lookup = coded.indices, last[1]
        if indices.null_count:
            indices = indices.fill_null(len(lookup))
            lookup = np.append(lookup, self.numbers(name, [None]))
        return indices.to_numpy(zero_copy_only=False), lookup

    def numbers(self, name: str, values: Sequence[Any]) -> np.ndarray:
        """Return the numbers of values of a column."""
        levels = self.codes[name]
        return np.array([levels.setdefault(value, len(levels)) for value in values], dtype=np.int64)


class Counts(Codes):
    """Levels of the columns, and the tables of their counts.

    Parameters
    ----------
    names : sequence of str
        Columns that divide the rows, first `domain`.
    domain : str
    levels : sequence of str
        Columns that put whole areas together.
    besides : sequence of str
        Columns of which it is counted which values each area has.
    """

    def __init__(
        self, names: Sequence[str], domain: str, levels: Sequence[str], besides: Sequence[str] = ()
    ) -> None:
        super().__init__({name: {} for name in dict.fromkeys([*names, *levels, *besides])})
        self.tables = {tuple(names): Tally(len(names))}
        self.tables |= {(domain, name): Tally(2) for name in (*levels, *besides)}
        self._levels = levels

    @classmethod
    def of(
        cls,
        records: ParquetRecords,
        names: Sequence[str],
        domain: str,
        levels: Sequence[str],
        besides: Sequence[str] = (),
    ) -> Counts:
        """Count in one pass."""
        runs = list(_spans(records))
        threads = min(int(config.NUMBA_NUM_THREADS), len(runs))
        step = counting("Population", records.n_records, "rows")

        def read(run: tuple[int, int]) -> Counts:
            return cls(names, domain, levels, besides).read(records, *run, step)

        parts = spread(read, runs, threads)
        for other in parts[1:]:
            parts[0].merge(other)
        return parts[0]

    def read(self, records: ParquetRecords, first: int, last: int, step: Callable[[int], None]) -> Counts:
        """Count records `first` to `last`, and tell `step` how many."""
        for table in records.tables(list(self.codes), first, last):
            coded = {name: self.encoded(name, table.column(name)) for name in self.codes}
            for names, tally in self.tables.items():
                sizes = [len(self.codes[name]) for name in names]
                tally.add([coded[name][0] for name in names], [coded[name][1] for name in names], sizes)
            step(len(table))
        return self

    def merge(self, other: Counts) -> None:
        """Add what was counted apart."""
        lookups = {name: self.numbers(name, list(levels)) for name, levels in other.codes.items()}
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
            if name not in self._levels:
                continue
            twice = np.unique(row[1:][row[1:] == row[:-1]])
            split = pd.Series([values[domain][d] for d in twice], dtype=object)
            refuse_divided(labels(split).tolist(), name)
            frame[name] = pd.Series(values[name]).take(part[np.searchsorted(row, area)]).array
        return Cells(frame, count)

    def _refuse_missing(
        self, name: str, code: np.ndarray, count: np.ndarray, area: np.ndarray, total: int
    ) -> None:
        blank = [
            place
            for value, place in self.codes[name].items()
            if value is None or (isinstance(value, str) and not value.strip())
        ]
        empty = np.isin(code, blank)
        if not empty.any():
            return
        domain = next(iter(self.codes))
        areas = [list(self.codes[domain])[d] for d in dict.fromkeys(area[empty].tolist())]
        places = "" if name == domain else f", in {name_some([str(one) for one in areas])}"
        raise SaeInputError(
            f"{name} is missing in {int(count[empty].sum()):,} of {total:,} rows of the population{places}.",
            hint="Take these rows of the population out, or fill the values in.",
            column=name,
        )
