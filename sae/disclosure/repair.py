"""Further cells to hide where hidden ones are known too closely, by linear programmes.

A cell is known less closely when the table can be another one in which it is larger (or smaller) and all
published cells are what they are. The programme looks for the other table that moves the least in published
cells, weighed by their cost; those that it moves are hidden (the incremental attacker problems of Fischetti
and Salazar 2000, "Models and Algorithms for Optimizing Cell Suppression in Tabular Data with Linear
Constraints", Journal of the American Statistical Association 95, 916-928).
"""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
from scipy import sparse

from sae.errors import SaeConvergenceError

__all__ = ["cheapest_move"]

_NEAR = 1500  # cells that may move at first; the whole table where that is not enough
_LARGE = 1e6  # changes above it are scaled down: the tolerances of HiGHS are absolute
_MOVED = 1e-6  # what a published cell must move to be hidden: beyond the tolerance of HiGHS, 1e-7


def cheapest_move(
    sums: sparse.csr_array,
    values: np.ndarray,
    cost: np.ndarray,
    fixed: np.ndarray,
    cell: int,
    change: float,
) -> np.ndarray | None:
    """Return the cheapest other table in which a cell differs from its figure by `change`.

    Parameters
    ----------
    sums : sparse array, shape (n_sums, n_cells)
    values : ndarray of float, shape (n_cells,)
    cost : ndarray of float, shape (n_cells,)
        Of moving a cell by 1; 0 for hidden ones.
    fixed : ndarray of bool, shape (n_cells,)
        Cells that must stay.
    cell : int
    change : float

    Returns
    -------
    ndarray of float or None
        The changes of all cells, exactly 0 where there is none; None if there is no such table.
    """
    if len(values) > _NEAR:
        near = _nearest(sums, cost, fixed, cell)
        inside = sparse.csr_array(sums[:, near])
        inside = sparse.csr_array(inside[np.flatnonzero(np.diff(inside.indptr))])
        start = int(np.flatnonzero(near == cell)[0])
        few = _cheapest(inside, values[near], cost[near], fixed[near], start, change)
        if few is not None and not few[np.isin(near, sums.indices[sums.data < 0], invert=True)].any():
            moved = np.zeros(len(values))
            moved[near] = few
            return moved
    return _cheapest(sums, values, cost, fixed, cell, change)


def _nearest(sums: sparse.csr_array, cost: np.ndarray, fixed: np.ndarray, cell: int) -> np.ndarray:
    """Return cells that sums link to a cell through cheap ones, in the order of the table."""
    of_cell = sums.tocsc()
    heap, seen = [(0.0, cell)], {cell}
    near: list[int] = []
    while heap and len(near) < _NEAR:
        _, here = heappop(heap)
        near.append(here)
        for row in of_cell.indices[of_cell.indptr[here] : of_cell.indptr[here + 1]]:
            for other in sums.indices[sums.indptr[row] : sums.indptr[row + 1]].tolist():
                if other not in seen and not fixed[other]:
                    seen.add(other)
                    heappush(heap, (float(cost[other]), other))
    return np.sort(near)


def _cheapest(
    sums: sparse.csr_array,
    values: np.ndarray,
    cost: np.ndarray,
    fixed: np.ndarray,
    cell: int,
    change: float,
) -> np.ndarray | None:
    from scipy.optimize import Bounds, LinearConstraint, milp

    n, size = len(values), max(1.0, abs(change) / _LARGE)
    values, change = values / size, change / size
    up = np.where(fixed, 0.0, np.inf)
    down = np.where(fixed, 0.0, values)
    low_up, low_down = np.zeros(n), np.zeros(n)
    ahead, back = (up, down) if change > 0 else (down, up)
    (low_up if change > 0 else low_down)[cell] = ahead[cell] = abs(change)
    back[cell] = 0.0
    done = milp(
        np.concatenate([cost, cost]),
        constraints=LinearConstraint(sparse.hstack([sums, -sums], format="csr"), 0.0, 0.0),
        bounds=Bounds(np.concatenate([low_up, low_down]), np.concatenate([up, down])),
    )
    if done.status == 2:
        return None
    if done.status != 0:
        raise SaeConvergenceError(f"The linear programme ended without an answer: {done.message}")
    moved = done.x[:n] - done.x[n:]
    return np.where(np.abs(moved) > _MOVED, moved * size, 0.0)
