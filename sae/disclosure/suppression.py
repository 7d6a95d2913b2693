"""Which cells to hide with the sensitive ones: elimination, then repair until no interval is too narrow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
from scipy import sparse

from sae.disclosure.attack import components, hidden_cells
from sae.disclosure.elimination import eliminate
from sae.disclosure.linked import LinkedTable
from sae.disclosure.repair import cheapest_move
from sae.disclosure.rules import Requirement, Sensitive
from sae.errors import SaeConvergenceError, SaeInputError, name_some

__all__ = ["Suppression", "suppress"]

_ROUNDS = (
    20  # every round hides at least one more cell where one is known too closely; two or three are usual
)
_TOP = 1000.0  # how much dearer a cell is that no other total contains


@dataclass(frozen=True, eq=False)
class Suppression:
    """The pattern and what an attacker learns of it; arrays of shape (n_cells,).

    Attributes
    ----------
    hidden : ndarray of bool
    partner : ndarray of int
        The cell that a secondary one protects; -1 for others.
    repaired : ndarray of bool
        Whether a secondary cell was hidden to widen an interval, not against exact computation.
    low, high : ndarray of float
        The attacker's interval; the figure itself where it is published.
    """

    hidden: np.ndarray
    partner: np.ndarray
    repaired: np.ndarray
    low: np.ndarray
    high: np.ndarray


def suppress(
    table: LinkedTable,
    sensitive: Sensitive,
    *,
    cost: np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> Suppression:
    """Hide the sensitive cells of a table, and others until all hidden cells keep to what is required.

    Parameters
    ----------
    table : LinkedTable
    sensitive : Sensitive
    cost : ndarray of float, optional
        What is lost with each cell; the square root of its figure by default.
    known : ndarray of bool, optional
        Cells that everybody knows, whether they are published or not.

    Raises
    ------
    SaeInputError
        If sensitive cells are known, or cannot be protected while the known ones are.
    """
    n = len(table.values)
    known = np.zeros(n, bool) if known is None else known
    cost = _cost(table) if cost is None else cost
    _refuse_known(table, sensitive.cells & known)
    done = Suppression(
        np.zeros(n, bool), np.full(n, -1), np.zeros(n, bool), table.values.copy(), table.values.copy()
    )
    part = components(table.sums)
    for number in np.unique(part[sensitive.cells]):
        _suppress_part(table, sensitive, cost, known, np.flatnonzero(part == number), done)
    return done


def _suppress_part(
    table: LinkedTable,
    sensitive: Sensitive,
    cost: np.ndarray,
    known: np.ndarray,
    cells: np.ndarray,
    done: Suppression,
) -> None:
    """Fill in the pattern of cells that sums link with each other and with no other."""
    sums = sparse.csr_array(table.sums[:, cells])
    sums = sparse.csr_array(sums[np.flatnonzero(np.diff(sums.indptr))])
    values, height, primary, always = (
        table.values[cells],
        table.height[cells],
        sensitive.cells[cells],
        known[cells],
    )
    nobody = (values == 0) & ~always & ~_containing(sums, primary & (values == 0))  # hidden only at need
    free = np.flatnonzero(~primary & ~always)
    order = free[np.lexsort((free, -height[free], -values[free], -cost[cells][free], ~nobody[free]))]
    first = eliminate(sums, height, np.flatnonzero(primary), order, np.flatnonzero(always))
    if first.open:
        _refuse_open(table, cells[list(first.open)])
    pattern = _Pattern(primary.copy(), np.full(len(cells), -1), np.zeros(len(cells), bool))
    secondary = list(first.hidden)
    pattern.hidden[secondary], pattern.partner[secondary] = True, list(first.hidden.values())
    weight = cost[cells] * (
        1.0 + 1e-6 * np.arange(len(cells)) / len(cells)
    )  # ties of the programmes: by label
    need = sensitive.required.of(cells)
    for _ in range(_ROUNDS):
        ends = _intervals(sums, values, pattern.hidden, need)
        failing = np.flatnonzero(pattern.hidden & need.fails(*ends, values))
        if not len(failing):
            break
        left = _repair(sums, values, weight, always, nobody, need, failing, ends, pattern)
        if left is not None:
            _refuse_open(table, cells[[left]])
    else:
        raise SaeConvergenceError(
            f"{len(failing)} hidden cells are still known too closely after {_ROUNDS} rounds: "
            f"{name_some(table.names[cells[k]] for k in failing)}."
        )
    low, high = _intervals(sums, values, pattern.hidden)
    pattern.show(pattern.hidden & ~primary & (high - low <= 1e-6))  # computable all the same
    done.hidden[cells], done.repaired[cells] = pattern.hidden, pattern.repaired
    done.partner[cells] = np.where(pattern.partner < 0, -1, cells[pattern.partner])
    done.low[cells], done.high[cells] = low, high


@dataclass(frozen=True, eq=False)
class _Pattern:
    """Which cells are hidden, for which other, and whether by repair: arrays that are filled in."""

    hidden: np.ndarray
    partner: np.ndarray
    repaired: np.ndarray

    def hide(self, cells: np.ndarray, partner: int) -> None:
        more = cells & ~self.hidden
        self.hidden[more], self.partner[more], self.repaired[more] = True, partner, True

    def show(self, cells: np.ndarray) -> None:
        self.hidden[cells], self.partner[cells], self.repaired[cells] = False, -1, False


def _repair(
    sums: sparse.csr_array,
    values: np.ndarray,
    weight: np.ndarray,
    always: np.ndarray,
    nobody: np.ndarray,
    need: Requirement,
    failing: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    pattern: _Pattern,
) -> int | None:
    """Hide more until the failing cells are wide enough; return the first for which that is not possible."""
    low, high = ends
    for cell in map(int, failing):
        cost = np.where(pattern.hidden, 0.0, weight)
        told = (low[cell], high[cell])
        tables = _wider(sums, values, cost, always | (nobody & ~pattern.hidden), cell, told, need)
        if tables is None:
            tables = _wider(sums, values, cost, always, cell, told, need)
        if tables is None:
            return cell
        for moved in tables:
            low, high = np.minimum(low, values + moved), np.maximum(high, values + moved)
            pattern.hide(moved != 0, cell)
    return None


def _containing(sums: sparse.csr_array, cells: np.ndarray) -> np.ndarray:
    """Return cells and all totals, and totals of these, that they are part of."""
    links = sums.tocoo()
    rows, columns = links.row, links.col
    total = np.zeros(sums.shape[0], int)
    total[rows[links.data > 0]] = columns[links.data > 0]
    inside = cells.copy()
    while True:
        more = inside.copy()
        more[total[rows[inside[columns]]]] = True
        if np.array_equal(more, inside):
            return inside
        inside = more


def _wider(
    sums: sparse.csr_array,
    values: np.ndarray,
    cost: np.ndarray,
    fixed: np.ndarray,
    cell: int,
    told: tuple[float, float],
    need: Requirement,
) -> list[np.ndarray] | None:
    """Return changes to other tables, cheap ones, that leave of a cell no more told than is allowed."""
    true, margin = values[cell], need.margin[cell]
    up, down = max(margin, need.width[cell] - (true - told[0])), min(margin, true)
    tables = _moves(sums, values, cost, fixed, cell, told, (up, -down))
    if tables is not None:
        return tables
    reach = _intervals(sums, values, ~fixed)
    bottom, top = reach[0][cell], reach[1][cell]
    close = 1e-6 * max(1.0, need.width[cell])
    if top < true + margin - close or bottom > true - down + close or top - bottom < need.width[cell] - close:
        return None
    lowest = max(bottom, min(true - down, top - need.width[cell]))
    return _moves(sums, values, cost, fixed, cell, told, (top - true, lowest - true))


def _moves(
    sums: sparse.csr_array,
    values: np.ndarray,
    cost: np.ndarray,
    fixed: np.ndarray,
    cell: int,
    told: tuple[float, float],
    changes: tuple[float, float],
) -> list[np.ndarray] | None:
    """Return the cheapest table for each change of a cell that goes beyond what is told of it."""
    cost, tables = cost.copy(), []
    for change in changes:
        if change != 0 and not told[0] <= values[cell] + change <= told[1]:
            moved = cheapest_move(sums, values, cost, fixed, cell, change)
            if moved is None:
                return None
            cost[moved != 0] = 0.0
            tables.append(moved)
    return tables


def _intervals(
    sums: sparse.csr_array, values: np.ndarray, hidden: np.ndarray, need: Requirement | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what can be told of each cell; with `need` no wider than shows that this is met."""
    low, high = values.copy(), values.copy()
    for group in hidden_cells(sums, values, hidden):
        own = None if need is None else need.of(group.cells)
        true = values[group.cells]
        narrow = None if own is None else partial(own.fails, values=true)
        low[group.cells], high[group.cells] = group.intervals(values=true, narrow=narrow)
    return low, high


def _cost(table: LinkedTable) -> np.ndarray:
    """Small cells first; what no other total contains, last of all."""
    parts = np.zeros(len(table.values), bool)
    parts[table.sums.indices[table.sums.data < 0]] = True
    return np.sqrt(table.values + 1.0) * np.where(parts, 1.0, _TOP)


def _refuse_known(table: LinkedTable, cells: np.ndarray) -> None:
    if cells.any():
        names = [table.names[k] for k in np.flatnonzero(cells)]
        raise SaeInputError(
            f"{len(names)} cells are sensitive by the primary rules, and known: {name_some(names)}.",
            hint="What everybody knows cannot be hidden: correct the known cells, or join categories.",
            areas=names,
        )


def _refuse_open(table: LinkedTable, cells: np.ndarray) -> NoReturn:
    names = [table.names[k] for k in cells]
    raise SaeInputError(
        f"{len(names)} hidden cells cannot be protected while the known cells are known: {name_some(names)}.",
        hint="Join categories or areas, or drop the rule for them.",
        areas=names,
    )
