"""The tightest common factor on all required standard errors that a budget pays for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from sae.errors import SaeConvergenceError
from sae.numerics.allocation.convex import ConvexAllocation, allocate_convex

__all__ = ["allocate_within"]

_TOLERANCE = 1e-7  # of the cost
_STEPS = 60


def allocate_within(
    a: sparse.csr_matrix,
    fixed: np.ndarray,
    allowed: np.ndarray,
    cost: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    budget: float,
    start: float = 1.0,
) -> tuple[float, ConvexAllocation]:
    """Find the smallest r with Σ_h a_hj / n_h - fixed_j <= r² allowed_j for all j at a cost within `budget`.

    r < 1: the budget pays for more than was asked. The cost falls with r; the dual prices hold its slope,
    and Newton's method on log cost against log r² needs a handful of solutions.

    Parameters
    ----------
    a : sparse matrix, shape (H, J)
    fixed, allowed : ndarray, shape (J,)
        Finite; allowed is positive.
    cost, lower, upper : ndarray, shape (H,)
    budget : float
    start : float
        Where to begin, such as the factor for a neighbouring budget.

    Raises
    ------
    ValueError
        If the budget does not pay for the lower bounds.
    """
    if budget < float(cost @ lower) * (1.0 - 1e-12):
        raise ValueError(f"the lower bounds alone cost {cost @ lower:g}, more than {budget:g}")
    # at r² = floor only n = u is feasible; at the top n = l is
    floor = float(np.max((a.T @ (1.0 / upper) - fixed) / allowed, initial=0.0))
    top = float(np.max((a.T @ (1.0 / lower) - fixed) / allowed, initial=0.0))

    def solve(square: float) -> ConvexAllocation:
        return allocate_convex(_scaled(a, fixed + square * allowed), cost, lower, upper)

    if budget >= float(cost @ upper) or top <= floor * (1.0 + 1e-12):
        square = floor * (1.0 + 1e-9) + 1e-300
        return float(np.sqrt(square)), solve(square)
    return _search(solve, fixed, allowed, budget, max(floor, 1e-12 * top), top, start**2)


def _scaled(a: sparse.csr_matrix, right: np.ndarray) -> sparse.csr_matrix:
    return a.multiply(1.0 / right).tocsr()


def _search(
    solve: Callable[[float], ConvexAllocation],
    fixed: np.ndarray,
    allowed: np.ndarray,
    budget: float,
    low: float,
    high: float,
    square: float,
) -> tuple[float, ConvexAllocation]:
    if not low < square < high:
        square = float(np.sqrt(low * high))
    best: tuple[float, ConvexAllocation] | None = None
    for _ in range(_STEPS):
        found = solve(square)
        if found.cost <= budget:
            high, best = square, (float(np.sqrt(square)), found)
            if found.cost >= budget * (1.0 - _TOLERANCE) or high <= low * (1.0 + 1e-12):
                return best
        else:
            low = square
        slope = -square * float(found.price @ (allowed / (fixed + square * allowed))) / found.cost
        # aim a little below the budget, so that the answer is within it
        aim = np.log(budget * (1.0 - 0.5 * _TOLERANCE) / found.cost)
        step = aim / slope if slope < 0 else 0.0
        square = float(square * np.exp(np.clip(step, -20.0, 20.0)))
        if not low < square < high:
            square = float(np.sqrt(low * high))
    if best is None:
        raise SaeConvergenceError(f"No allocation within a budget of {budget:g} was found in {_STEPS} steps.")
    return best
