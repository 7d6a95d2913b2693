"""Whole numbers from the convex optimum: every constraint still met, never dearer than rounding up."""

from __future__ import annotations

import heapq

import numpy as np
from scipy import sparse

from sae.numerics.compile import compiled, inlined

__all__ = ["round_feasible"]

_ROUNDING = 1e-12  # a left side up to 1 + this meets its constraint


def round_feasible(
    a: sparse.csr_matrix,
    cost: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    n: np.ndarray,
    price: np.ndarray,
) -> np.ndarray:
    """Round a feasible allocation to whole numbers that meet every constraint.

    Two ways, the cheaper counts: round up, then take units away where there is room; round down, then add
    the units that mend most per cost, then take away. At the end no single unit can be taken away.

    Parameters
    ----------
    a : sparse matrix, shape (H, J)
        Non-negative a_hj with Σ_h a_hj / n_h <= 1.
    cost : ndarray, shape (H,)
    lower, upper : ndarray, shape (H,)
        Bounds, whole numbers.
    n : ndarray, shape (H,)
        Feasible real-valued sizes, such as `ConvexAllocation.n`.
    price : ndarray, shape (J,)
        Dual prices: which constraints are worth their room.

    Returns
    -------
    ndarray of int64, shape (H,)

    Raises
    ------
    ValueError
        If a bound is no whole number, or rounding `n` up does not meet the constraints.

    Examples
    --------
    >>> from scipy import sparse
    >>> a = sparse.csr_matrix([[4.0], [16.0]])
    >>> round_feasible(a, np.ones(2), np.ones(2), np.full(2, 99), np.array([12.0, 24.0]), np.ones(1)).tolist()
    [12, 24]
    """
    a = sparse.csr_matrix(a, dtype=float)
    lower, upper = (np.asarray(bound, float) for bound in (lower, upper))
    if (lower != np.floor(lower)).any() or (upper != np.floor(upper)).any():
        raise ValueError("the bounds of an integer allocation must be whole numbers")
    near = np.rint(n)
    n = np.where(np.abs(n - near) < 1e-9 * near, near, n)
    up = np.clip(np.ceil(n), lower, upper)
    if (_used(a, up) > 1.0 + 1e-8).any():
        raise ValueError("the sizes given do not meet the constraints")
    while (late := _used(a, up) > 1.0 + _ROUNDING).any():  # rounding error of n, or nothing
        more = (a[:, late].getnnz(axis=1) > 0) & (up < upper)
        if not more.any():
            break
        up[more] += 1.0
    cost = np.asarray(cost, float)
    weight = price + 1e-9 * float(cost @ up) / len(price) if len(price) else price
    csr = a.indptr.astype(np.int64), a.indices.astype(np.int64), a.data
    limit = np.maximum(1.0, _used(a, up)) + _ROUNDING
    best = _take_away(*csr, cost, lower, up, _used(a, up), weight, limit)
    down = np.clip(np.floor(n), lower, upper)
    mended = _add(*csr, cost, upper, down, _used(a, down), weight, limit)
    other = _take_away(*csr, cost, lower, mended, _used(a, mended), weight, limit)
    feasible = bool((_used(a, other) <= limit + _ROUNDING).all())
    if feasible and cost @ other < cost @ best:
        best = other
    return best.astype(np.int64)


def _used(a: sparse.csr_matrix, n: np.ndarray) -> np.ndarray:
    return a.T @ (1.0 / n)


@inlined
def _worth(h, step, n, indptr, data, indices, weight):
    """Price of what the left sides gain or lose when n_h becomes n_h + step."""
    change = abs(1.0 / n[h] - 1.0 / (n[h] + step))
    total = 0.0
    for k in range(indptr[h], indptr[h + 1]):
        total += weight[indices[k]] * data[k]
    return total * change


@compiled
def _take_away(indptr, indices, data, cost, lower, start, used, weight, limit):
    """Take single units away, those least worth their cost first, while every constraint still holds."""
    n, used = start.copy(), used.copy()
    heap = [(0.0, np.int64(0)) for _ in range(0)]
    for stratum in range(len(n)):
        h = np.int64(stratum)
        if n[h] > lower[h]:
            heap.append((_worth(h, -1.0, n, indptr, data, indices, weight) / cost[h], h))
    heapq.heapify(heap)
    while len(heap):
        h = heapq.heappop(heap)[1]
        change = 1.0 / (n[h] - 1.0) - 1.0 / n[h]
        holds = True
        for k in range(indptr[h], indptr[h + 1]):
            if used[indices[k]] + data[k] * change > limit[indices[k]]:
                holds = False
                break
        if not holds:  # and never will again: the room only shrinks
            continue
        for k in range(indptr[h], indptr[h + 1]):
            used[indices[k]] += data[k] * change
        n[h] -= 1.0
        if n[h] > lower[h]:
            heapq.heappush(heap, (_worth(h, -1.0, n, indptr, data, indices, weight) / cost[h], h))
    return n


@inlined
def _mends(h, n, indptr, indices, data, used, weight, limit, cost):
    """Price per cost of the violations that one more unit in stratum h takes away."""
    change = 1.0 / n[h] - 1.0 / (n[h] + 1.0)
    total = 0.0
    for k in range(indptr[h], indptr[h + 1]):
        j = indices[k]
        short = used[j] - limit[j]
        if short > 0.0:
            total += weight[j] * min(short, data[k] * change)
    return total / cost[h]


@compiled
def _add(indptr, indices, data, cost, upper, start, used, weight, limit):
    """Add single units, those that mend most per cost first, until every constraint holds."""
    n, used = start.copy(), used.copy()
    heap = [(0.0, np.int64(0)) for _ in range(0)]
    for stratum in range(len(n)):
        h = np.int64(stratum)
        if n[h] < upper[h]:
            gain = _mends(h, n, indptr, indices, data, used, weight, limit, cost)
            if gain > 0.0:
                heap.append((-gain, h))
    heapq.heapify(heap)
    while len(heap):
        h = heapq.heappop(heap)[1]
        gain = _mends(h, n, indptr, indices, data, used, weight, limit, cost)
        if gain <= 0.0:
            continue
        if len(heap) and -gain > heap[0][0]:  # gains only fall: look again where it stands now
            heapq.heappush(heap, (-gain, h))
            continue
        change = 1.0 / n[h] - 1.0 / (n[h] + 1.0)
        for k in range(indptr[h], indptr[h + 1]):
            used[indices[k]] -= data[k] * change
        n[h] += 1.0
        if n[h] < upper[h]:
            again = _mends(h, n, indptr, indices, data, used, weight, limit, cost)
            if again > 0.0:
                heapq.heappush(heap, (-again, h))
    return n
