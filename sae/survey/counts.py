"""Known counts of cells: read from mappings and tables, compared, matched with the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.survey.checks import column_of, rows_text
from sae.survey.codes import as_text, encode
from sae.tables import Covariates, pandas_frame
from sae.tables.covariates import frame_of

__all__ = [
    "CellCounts",
    "Collapse",
    "cell_text",
    "count_cells",
    "has_counts",
    "known_total",
    "origin_notes",
    "refuse_contradictions",
    "refuse_missing",
]

Cell = tuple[str, ...]
Collapse = str | Mapping[Any, Any] | None

_AGREE = 1e-9  # relative: what the solver of a calibration reaches


@dataclass(frozen=True, eq=False)
class CellCounts:
    """The records by cell, and the known counts of the cells.

    Attributes
    ----------
    columns : tuple of str
        Whose crossing makes the cells.
    names : tuple of str
        Of the cells that hold records.
    codes : ndarray of int64, shape (n,)
        Cell of each record; -1 outside the population.
    totals : ndarray of float
        Count of each cell.
    known : mapping
        Every count by its labels, as it was given.
    notes : tuple of str
        Cells that were joined.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    codes: np.ndarray
    totals: np.ndarray
    known: Mapping[Cell, float]
    notes: tuple[str, ...] = ()


def count_cells(
    frame: pd.DataFrame, columns: Sequence[str], counts: Any, inside: np.ndarray, collapse: Collapse = None
) -> CellCounts:
    """Match the cells of the records with known counts; see `Survey.post_stratify`.

    Parameters
    ----------
    frame : DataFrame
        The records.
    columns : sequence of str
        Whose crossing makes the cells.
    counts : mapping, Series, DataFrame or Covariates
    inside : ndarray of bool, shape (n,)
        Records of the population that the counts are about.
    collapse : str or mapping, optional
        How a cell without records is joined with others.

    Raises
    ------
    SaeInputError
        If a cell has records and no count, or a count and no record, or a record has no cell.
    """
    columns = tuple(columns)
    known = _known(columns, counts)
    coded = []
    for name in columns:
        codes, labels = encode(column_of(frame, name, "calibration"))
        refuse_missing((codes < 0) & inside, name, len(frame))
        coded.append((codes[inside], as_text(labels)))
    shape = tuple(len(labels) for _, labels in coded)
    place, occurring = encode(np.ravel_multi_index([codes for codes, _ in coded], shape))
    sampled: list[Cell] = [
        tuple(labels[code] for (_, labels), code in zip(coded, cell, strict=True))
        for cell in zip(*np.unravel_index(occurring, shape), strict=True)
    ]
    joint = _joined(known, sampled, columns, collapse)
    _match(sampled, known, joint, columns)
    unions = [joint.get(cell, (cell,)) for cell in sampled]
    place_of = {union: k for k, union in enumerate(dict.fromkeys(unions))}
    names = tuple(" + ".join(map(cell_text, union)) for union in place_of)
    totals = np.array([sum(known.get(cell, 0.0) for cell in union) for union in place_of])
    codes = np.full(len(frame), -1, dtype=np.int64)
    codes[inside] = np.array([place_of[union] for union in unions])[place]
    groups = list(dict.fromkeys(joint.values()))
    notes = [
        f"cells of {' x '.join(columns)} joined: {' + '.join(map(cell_text, group))}" for group in groups
    ]
    return CellCounts(columns, names, codes, totals, known, tuple(notes))


def refuse_contradictions(terms: Sequence[CellCounts], method: str, total: float | None = None) -> None:
    """Refuse counts of one population that do not agree: in all, or by the columns that two tables share.

    Raises
    ------
    SaeInputError
        Naming the sums.
    """
    everybody = CellCounts((), (), np.zeros(0), np.zeros(0), {(): total or 0.0})
    tables = [*terms, *([] if total is None else [everybody])]
    for one, other in combinations(tables, 2):
        shared = [name for name in one.columns if name in other.columns]
        sums = [_margin(table, shared) for table in (one, other)]
        names = [" x ".join(table.columns) or "1" for table in (one, other)]
        wrong = [
            f"{cell_text(cell)}{': ' if cell else ''}{sums[0].get(cell, 0):,.10g} by {names[0]}, "
            f"{sums[1].get(cell, 0):,.10g} by {names[1]}"
            for cell in dict.fromkeys([*sums[0], *sums[1]])
            if not np.isclose(sums[0].get(cell, 0), sums[1].get(cell, 0), rtol=_AGREE, atol=0)
        ]
        if wrong:
            raise SaeInputError(
                f"The weights cannot be calibrated ({method}): the counts contradict each other"
                f"{' by ' + ' x '.join(shared) if shared else ''}: {name_some(wrong, 3)}.",
                hint="Totals must agree with each other: the levels of two variables add up to one "
                "population. Scale them to it first.",
                column=shared[0] if shared else None,
            )


def origin_notes(counts: Iterable[Any], periods: Sequence[str]) -> list[str]:
    """Say where tables of counts come from and how far from the periods of the survey they lie."""
    tables = [table for table in counts if isinstance(table, Covariates)]
    return [f"{name}: {origin.text(periods)}" for table in tables for name, origin in table.origins.items()]


def has_counts(total: Any) -> bool:
    """Whether a total is counts of levels: a mapping, a Series, a frame of any library, `Covariates`."""
    return isinstance(total, Mapping | pd.Series | Covariates) or hasattr(total, "columns")


def cell_text(cell: Cell) -> str:
    """Return the labels of a cell as one text."""
    return " / ".join(cell)


def known_total(name: str, value: Any) -> float:
    """Return a total as a number, finite."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SaeSpecError(f"The total of {name!r} is {value!r}, not a number.") from None
    if not np.isfinite(number):
        raise SaeInputError(
            f"The total of {name!r} is {value}.", hint="Every total must be known and finite."
        )
    return number


def refuse_missing(missing: np.ndarray, name: str, n: int) -> None:
    """Refuse records of the population without a value."""
    rows = np.flatnonzero(missing)
    if rows.size:
        raise SaeInputError(
            f"{name!r} is missing in {rows.size:,} of {n:,} records (rows {rows_text(rows)}), so its "
            f"total cannot be "
            "calibrated to.",
            hint="Impute it, give the missing records a level of their own, or leave it out of the totals.",
            column=name,
        )


def _margin(table: CellCounts, shared: Sequence[str]) -> dict[Cell, float]:
    places = [table.columns.index(name) for name in shared]
    sums: dict[Cell, float] = {}
    for cell, count in table.known.items():
        key = tuple(cell[place] for place in places)
        sums[key] = sums.get(key, 0.0) + count
    return sums


def _known(columns: tuple[str, ...], counts: Any) -> dict[Cell, float]:
    """Return the counts by tuple of level texts."""
    counts = frame_of(counts)
    if has_counts(counts) and not isinstance(counts, Mapping | pd.Series):
        counts = _of_table(columns, pandas_frame(counts, "The counts"))
    if isinstance(counts, pd.Series) and isinstance(counts.index, pd.MultiIndex):
        names = list(counts.index.names)
        if sorted(map(str, names)) == sorted(columns):
            counts = counts.reorder_levels([names.index(name) for name in columns])
    if not isinstance(counts, Mapping | pd.Series) or not len(counts):
        raise SaeSpecError(
            f"The counts of {', '.join(columns)} are a mapping, a Series or a table, not {counts!r}."
        )
    known: dict[Cell, float] = {}
    for key, value in counts.items():  # of a Series one by one: a dict would keep the last of two like labels
        cell = _cell(key, columns)
        if cell in known:
            raise SaeInputError(f"The cell {cell_text(cell)} of {', '.join(columns)} has two counts.")
        known[cell] = known_total(cell_text(cell), value)
        if known[cell] < 0:
            raise SaeInputError(f"The count of {cell_text(cell)} is negative ({value}).")
    return known


def _cell(key: Any, columns: Sequence[str]) -> Cell:
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) != len(columns):
        raise SaeSpecError(
            f"The count for {key!r} has {counted(len(parts), 'level', 'levels')}, but the cells cross "
            f"{len(columns)} columns "
            f"({', '.join(columns)})."
        )
    return tuple(as_text(np.array([part]))[0] for part in parts)


def _of_table(columns: tuple[str, ...], frame: pd.DataFrame) -> pd.Series:
    """Return the counts of a long table, or of a wide one with the levels of the last column side by side."""
    frame = frame.rename(columns=str)
    wide = columns[-1] not in frame and len(columns) > 1
    keys = list(columns[:-1] if wide else columns)
    absent = [name for name in keys if name not in frame]
    others = [name for name in frame if name not in keys]
    if absent or not others or (len(others) > 1 and not wide):
        raise SaeSpecError(
            f"The table of counts by {', '.join(columns)} has the columns {name_some(frame, 12)}.",
            hint=f"Give {', '.join(columns)} and one column of counts"
            + (
                f", or {', '.join(columns[:-1])} and a column per level of {columns[-1]}."
                * (len(columns) > 1)
            ),
        )
    empty = frame[keys].isna().any(axis=1)
    if empty.any():
        raise SaeInputError(
            f"{int(empty.sum())} of {len(frame)} rows of the counts have no label of {', '.join(keys)}: row "
            f"{name_some(np.flatnonzero(empty) + 1)}.",
            column=keys[0],
        )
    if wide:
        frame = frame.melt(keys, var_name=columns[-1], value_name=" counts")
    return pd.Series(frame.set_index(list(columns)).iloc[:, 0])


def _joined(
    known: Mapping[Cell, float], sampled: Sequence[Cell], columns: tuple[str, ...], collapse: Collapse
) -> dict[Cell, tuple[Cell, ...]]:
    """Return the cells that are joined with others, each with all cells of its union."""
    if collapse is None:
        return {}
    cells = list(dict.fromkeys([*known, *sampled]))
    if isinstance(collapse, str):
        if collapse not in columns or len(columns) < 2:
            return {}
        place = columns.index(collapse)
        union = {cell: cell[:place] + cell[place + 1 :] for cell in cells}
        empty = {union[cell] for cell in set(known) - set(sampled) if known[cell] > 0}
        union = {cell: key for cell, key in union.items() if key in empty}
    else:
        union = {}
        for first, second in collapse.items():
            pair = [_cell(key, columns) for key in (first, second)]
            unknown = [cell_text(cell) for cell in pair if cell not in cells]
            if unknown:
                raise SaeSpecError(
                    f"collapse= names {name_some(unknown)}, which is no cell of {' x '.join(columns)}."
                )
            old = [union.get(cell, cell) for cell in pair]
            union |= {cell: old[1] for cell in pair}
            union |= {cell: old[1] for cell, key in union.items() if key == old[0]}
    unions = {key: tuple(cell for cell in cells if union.get(cell) == key) for key in union.values()}
    return {cell: unions[key] for cell, key in union.items() if len(unions[key]) > 1}


def _match(
    sampled: Sequence[Cell],
    known: Mapping[Cell, float],
    joint: Mapping[Cell, tuple[Cell, ...]],
    columns: Sequence[str],
) -> None:
    """Refuse cells of the sample without a count, and counts without a record."""
    of = " x ".join(columns)
    uncounted = [cell_text(cell) for cell in sampled if cell not in known]
    if uncounted:
        raise SaeInputError(
            f"{counted(len(uncounted), 'level', 'levels')} of {of} in the sample "
            f"{'has' if len(uncounted) == 1 else 'have'} no count: {name_some(uncounted)}.",
            hint=f"Counts were given for {name_some(map(cell_text, known))}.",
            areas=uncounted,
            column=columns[0],
        )
    held = {joint.get(cell, (cell,)) for cell in sampled}
    unsampled = [
        cell_text(cell) for cell, count in known.items() if count > 0 and joint.get(cell, (cell,)) not in held
    ]
    if unsampled:
        hint = "Join these cells with others, in the counts and in the records"
        more = f', or state how: collapse="{columns[-1]}" joins an empty cell with those that differ in it.'
        raise SaeInputError(
            f"{counted(len(unsampled), 'count', 'counts')} of {of} "
            f"{'has' if len(unsampled) == 1 else 'have'} no record in the sample: {name_some(unsampled)}.",
            hint=hint + (more if len(columns) > 1 else "."),
            areas=unsampled,
            column=columns[0],
        )
    nobody = [
        cell_text(cell)
        for cell in sampled
        if not sum(known[other] for other in joint.get(cell, (cell,)) if other in known)
    ]
    if nobody:
        raise SaeInputError(
            f"{counted(len(nobody), 'cell', 'cells')} of {of} with records "
            f"{'has' if len(nobody) == 1 else 'have'} the count 0: {name_some(nobody)}.",
            hint="Records of such cells would represent nobody: correct the counts, or join the cells.",
            areas=nobody,
            column=columns[0],
        )
