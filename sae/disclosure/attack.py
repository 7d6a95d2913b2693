"""The attacker: what published cells and their sums tell of the hidden ones.

Hidden cells are 0 or more and solve the sums with the published cells put in; the smallest and the largest
value that a cell has in any solution are two linear programmes. Every solution bounds all cells from inside,
and every sum from outside; only where the two do not meet is a programme solved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sae.errors import SaeConvergenceError, SaeInputError

__all__ = ["HiddenCells", "components", "hidden_cells"]

_CLOSE = 1e-6  # beyond the feasibility tolerance of HiGHS, 1e-7
_LARGE = 1e6  # figures above it are scaled down: the tolerances of HiGHS are absolute
_FLOATS = 1e-12  # of the figures in a sum: what adding them in another order may change
_ROUNDS = 20  # of bounds through the sums; more seldom narrows anything


@dataclass(frozen=True, eq=False)
class HiddenCells:
    """Hidden cells that are linked with each other, and what is known of them.

    Attributes
    ----------
    cells : ndarray of int, shape (k,)
        Their places in the table.
    sums : sparse array, shape (m, k)
    right : ndarray of float, shape (m,)
        sums @ x = right for the true x, which is 0 or more.
    slack : ndarray of float, shape (m,)
        By how much the right side may be off, as sums of floats are; 0 for whole numbers.
    """

    cells: np.ndarray
    sums: sparse.csr_array
    right: np.ndarray
    slack: np.ndarray

    def extreme(self, weights: np.ndarray, *, whole: bool = False) -> np.ndarray | None:
        """Return a solution that minimises a weighted sum of the cells; None if it has no bound."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        size = 1.0 if whole else max(1.0, float(np.abs(self.right).max(initial=0.0)) / _LARGE)
        ends = ((self.right - self.slack) / size, (self.right + self.slack) / size)
        done = milp(
            weights,
            constraints=LinearConstraint(self.sums, *ends),
            bounds=Bounds(0.0, np.inf),
            integrality=np.full(len(weights), int(whole)),
        )
        if done.status == 0:
            return np.maximum(np.asarray(done.x), 0.0) * size
        if done.status == 2:
            raise SaeInputError(
                "No figures of 0 or more for the hidden cells fit the published ones.",
                hint="The published cells contradict each other; give them before they are rounded.",
            )
        if done.status in (3, 4):  # HiGHS may not tell an unbounded programme from an infeasible one
            return None
        raise SaeConvergenceError(f"The linear programme ended without an answer: {done.message}")

    def intervals(
        self,
        wanted: np.ndarray | None = None,
        *,
        values: np.ndarray | None = None,
        whole: bool = False,
        narrow: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the smallest and the largest possible value of each cell.

        Parameters
        ----------
        wanted : ndarray of bool, optional
            Cells whose ends are needed exactly; the others are bounded from inside. All by default.
        values : ndarray of float, optional
            A solution, such as the true figures.
        whole : bool
            Whether the attacker knows that figures are whole numbers.
        narrow : callable, optional
            Tells of intervals from inside which are too narrow still; the ends of others are not looked for.
        """
        k = len(self.cells)
        if not len(self.right):
            return np.zeros(k), np.full(k, np.inf)
        wanted = np.ones(k, bool) if wanted is None else wanted
        low, high = self._outer()
        first = self.extreme(np.ones(k), whole=whole) if values is None else values
        if first is None:
            raise SaeConvergenceError("The linear programme found no figures for the hidden cells.")
        inner = [first.copy(), first.copy()]

        def widen(solution: np.ndarray | None) -> None:
            if solution is not None:
                np.minimum(inner[0], solution, out=inner[0])
                np.maximum(inner[1], solution, out=inner[1])

        close = _CLOSE * max(1.0, 1e-3 * float(np.abs(self.right).max(initial=0.0)))
        for sign in (1.0, -1.0):
            widen(self.extreme(np.full(k, sign), whole=whole))
        for cell in np.flatnonzero(wanted):
            if narrow is not None and not narrow(*inner)[cell]:
                continue
            for side, (sign, outer) in enumerate(((1.0, low), (-1.0, high))):
                if abs(inner[side][cell] - outer[cell]) <= close:
                    continue
                solution = self.extreme(np.where(np.arange(k) == cell, sign, 0.0), whole=whole)
                if solution is None:
                    inner[side][cell] = -sign * np.inf
                widen(solution)
        return inner[0], inner[1]

    def _outer(self) -> tuple[np.ndarray, np.ndarray]:
        """Bound each cell by single sums, again and again: the attack by hand."""
        low, high = np.zeros(len(self.cells)), np.full(len(self.cells), np.inf)
        matrix = self.sums.tocoo()
        row, col, a = matrix.row, matrix.col, matrix.data
        for _ in range(_ROUNDS):
            up = np.where(a > 0, a * high[col], a * low[col])
            down = np.where(a > 0, a * low[col], a * high[col])
            new_low, new_high = low.copy(), high.copy()
            for ends, at_least in ((down, False), (up, True)):
                endless = np.isinf(ends)
                count = np.bincount(row, endless, len(self.right))
                total = np.bincount(row, np.where(endless, 0.0, ends), len(self.right))
                others = np.where(count[row] - endless > 0, np.nan, total[row] - np.where(endless, 0.0, ends))
                bound = (self.right[row] - others) / a
                known = ~np.isnan(bound)
                from_above = known & ((a > 0) != at_least)
                np.minimum.at(new_high, col[from_above], bound[from_above])
                from_below = known & ((a > 0) == at_least)
                np.maximum.at(new_low, col[from_below], bound[from_below])
            if np.array_equal(new_low, low) and np.array_equal(new_high, high):
                break
            low, high = new_low, new_high
        return low, high


def components(links: sparse.csr_array) -> np.ndarray:
    """Return a number for each column, the same for those that rows link, directly or around."""
    from scipy.sparse.csgraph import connected_components

    touching = sparse.csr_array((np.ones(len(links.data)), links.indices, links.indptr), links.shape)
    graph = sparse.block_array([[None, touching.T], [touching, None]], format="csr")
    return connected_components(graph, directed=False)[1][: links.shape[1]]


def hidden_cells(sums: sparse.csr_array, values: np.ndarray, hidden: np.ndarray) -> list[HiddenCells]:
    """Split the hidden cells of a table into parts that no sum links.

    Parameters
    ----------
    sums : sparse array, shape (n_sums, n_cells)
    values : ndarray of float, shape (n_cells,)
        Those of hidden cells are not looked at.
    hidden : ndarray of bool, shape (n_cells,)
    """
    cells = np.flatnonzero(hidden)
    if not len(cells):
        return []
    inside = sparse.csr_array(sums[:, cells])
    shown = np.where(hidden, 0.0, values)
    right = -(sums @ shown) if np.isnan(values[cells]).any() else inside @ values[cells]
    slack = np.zeros(len(right)) if (shown % 1 == 0).all() else _FLOATS * (abs(sums) @ shown)
    used = np.flatnonzero(np.diff(inside.indptr))
    inside, right, slack = inside[used], right[used], slack[used]
    part = components(inside)
    of_row = part[inside.indices[inside.indptr[:-1]]]
    parts = []
    for number in range(part.max() + 1):
        mine = np.flatnonzero(part == number)
        rows = np.flatnonzero(of_row == number)
        parts.append(
            HiddenCells(cells[mine], sparse.csr_array(inside[rows][:, mine]), right[rows], slack[rows])
        )
    return parts
