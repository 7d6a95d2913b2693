"""The cells of a table and the sums that link them, as a sparse linear system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from sae.disclosure.hierarchy import Dimension, Hierarchies, dimensions_of
from sae.errors import SaeInputError, name_some
from sae.tables import joined_labels, labels, pandas_frame, require, to_numbers

__all__ = ["LinkedTable", "linked_table"]

_ROUNDING = 1e-9  # by how much parts may miss their total, as a share of it: sums of floats


@dataclass(frozen=True, eq=False)
class LinkedTable:
    """Cells in the order of their labels, whatever the order of the rows.

    Attributes
    ----------
    frame : DataFrame
        The rows as they were given.
    rows : ndarray of int, shape (n_cells,)
        The row of each cell in `frame`.
    names : tuple of str
        The labels of each cell, joined by " / ".
    values : ndarray of float, shape (n_cells,)
        Not a number where the table holds none.
    sums : sparse array, shape (n_sums, n_cells)
        One row per sum: 1 at the total and -1 at its parts.
    height : ndarray of int, shape (n_cells,)
        How many levels lie below a cell, over all dimensions.
    """

    frame: pd.DataFrame
    rows: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    sums: sparse.csr_array
    height: np.ndarray

    def in_rows(self, cells: np.ndarray) -> np.ndarray:
        """Return what is known of each cell in the order of the rows."""
        out = np.empty_like(cells)
        out[self.rows] = cells
        return out

    def column(self, name: str) -> np.ndarray:
        """Return a column of numbers in the order of the cells."""
        return to_numbers(self.frame, name, what="The table has")[self.rows]


def linked_table(
    data: object, hierarchies: Hierarchies, value: str, hidden: np.ndarray | None = None
) -> LinkedTable:
    """Link the cells of a long table by the sums that its hierarchies imply.

    Parameters
    ----------
    data : DataFrame
        One row per cell.
    hierarchies : mapping of str to mapping
        Each dimension and its sums; see `sae.disclosure.protect`.
    value : str
        The figures: counts or sums of amounts that are not negative.
    hidden : ndarray of bool, optional
        Rows of cells whose figure may be missing, and whose sums are then not checked.

    Raises
    ------
    SaeInputError
        If a column, a label, a cell of a sum or a figure is missing, a cell occurs twice, a figure is
        negative, or parts do not make up their total.
    """
    frame = pandas_frame(data, "The cells")
    require(frame, [*hierarchies, value], "The table has")
    if not len(frame):
        raise SaeInputError("The table has no cells.", hint="Expected one row per cell.")
    text = pd.DataFrame({name: labels(frame[name]) for name in hierarchies})
    dimensions = dimensions_of(text, hierarchies)
    codes = [pd.Categorical(text[d.name], categories=d.labels).codes.astype(np.int64) for d in dimensions]
    sizes = [len(d.labels) for d in dimensions]
    strides = [int(np.prod(sizes[k + 1 :], dtype=np.int64)) for k in range(len(sizes))]
    key = sum(
        (code * stride for code, stride in zip(codes, strides, strict=True)), np.zeros(len(frame), np.int64)
    )
    rows = np.argsort(key, kind="stable")
    keys = key[rows]
    names = tuple(joined_labels(text, [*hierarchies]).iloc[rows])
    _refuse_twice(keys, names)
    free = np.zeros(len(frame), bool) if hidden is None else hidden[rows]
    values = _values(frame, value, rows, names, free)
    sums = _sums(dimensions, strides, keys, names)
    if np.isfinite(values).all():
        _check_totals(sums, values, names, value)
    height = sum(
        (np.asarray(d.height)[code[rows]] for d, code in zip(dimensions, codes, strict=True)),
        np.zeros(len(frame), int),
    )
    return LinkedTable(frame, rows, names, values, sums, height)


def _refuse_twice(keys: np.ndarray, names: tuple[str, ...]) -> None:
    twice = list(dict.fromkeys(names[k] for k in np.flatnonzero(keys[1:] == keys[:-1])))
    if twice:
        raise SaeInputError(
            f"{len(twice)} cells occur more than once: {name_some(twice)}.",
            hint="Expected one row per cell; name every dimension in hierarchies, also those without sums.",
            areas=twice,
        )


def _values(
    frame: pd.DataFrame, value: str, rows: np.ndarray, names: tuple[str, ...], free: np.ndarray
) -> np.ndarray:
    values = to_numbers(frame, value)[rows]
    missing = ~np.isfinite(values) & ~free
    if missing.any():
        cells = [names[k] for k in np.flatnonzero(missing)]
        raise SaeInputError(
            f"{value} is missing in {len(cells)} of {len(values)} cells: {name_some(cells)}.",
            hint="Give every cell its figure, 0 where there is nobody.",
            areas=cells,
            column=value,
        )
    if (values < 0).any():
        cells = [f"{names[k]} ({values[k]:g})" for k in np.flatnonzero(values < 0)]
        raise SaeInputError(
            f"{value} is negative in {len(cells)} cells: {name_some(cells)}.",
            hint="Cells are counts, or sums of amounts of 0 or more.",
            areas=cells,
            column=value,
        )
    return values


def _sums(
    dimensions: list[Dimension], strides: list[int], keys: np.ndarray, names: tuple[str, ...]
) -> sparse.csr_array:
    """Return one row per total that the table holds: the total less its parts."""
    cells, signs, equations, count = [], [], [], 0
    for dimension, stride in zip(dimensions, strides, strict=True):
        code = keys // stride % len(dimension.labels)
        for whole, parts in dimension.sums:
            members = (whole, *parts)
            base = [keys[code == member] - member * stride for member in members]
            wanted = np.unique(np.concatenate(base))
            for member, there in zip(members, base, strict=True):
                absent = np.setdiff1d(wanted, there)
                if len(absent):
                    _refuse_gap(dimension, member, whole, absent, members, stride, keys, names)
            found = [np.searchsorted(keys, wanted + member * stride) for member in members]
            cells.append(np.concatenate(found))
            signs.append(np.repeat([1.0, *[-1.0] * len(parts)], len(wanted)))
            equations.append(np.tile(np.arange(count, count + len(wanted)), len(members)))
            count += len(wanted)
    if not count:
        return sparse.csr_array((0, len(keys)))
    place = (np.concatenate(equations), np.concatenate(cells))
    return sparse.csr_array((np.concatenate(signs), place), shape=(count, len(keys)))


def _refuse_gap(
    dimension: Dimension,
    member: int,
    whole: int,
    absent: np.ndarray,
    members: tuple[int, ...],
    stride: int,
    keys: np.ndarray,
    names: tuple[str, ...],
) -> None:
    near = []
    for base in absent[:5]:
        there = next(m for m in members if base + m * stride in keys)
        near.append(names[int(np.searchsorted(keys, base + there * stride))])
    what = "its total" if member == whole else f"a part of {dimension.labels[whole]!r}"
    raise SaeInputError(
        f"{len(absent)} sums over {dimension.name} lack the cell {dimension.labels[member]!r}, {what}: "
        f"beside {name_some(near)}.",
        hint="Add these rows, with 0 where there is nobody; `with_totals` makes them of the smallest cells.",
        areas=near,
        column=dimension.name,
    )


def _check_totals(sums: sparse.csr_array, values: np.ndarray, names: tuple[str, ...], value: str) -> None:
    gap = sums @ values
    size = np.maximum(1.0, abs(sums) @ values / 2)
    bad = np.flatnonzero(np.abs(gap) > 1e-6 + _ROUNDING * size)
    if not len(bad):
        return
    shown = []
    for row in bad[:3]:
        entries = slice(sums.indptr[row], sums.indptr[row + 1])
        total = sums.indices[entries][sums.data[entries] > 0][0]
        shown.append(f"{names[total]} is {values[total]:g}, its parts make {values[total] - gap[row]:g}")
    raise SaeInputError(
        f"In {len(bad)} of {len(gap)} sums the parts of {value} do not make up the total: {'; '.join(shown)}"
        f"{' ...' if len(bad) > 3 else '.'}",
        hint="Give the figures before they are rounded; a total without its parts belongs in no hierarchy.",
        column=value,
    )
