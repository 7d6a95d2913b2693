"""Cheapest allocation under precision constraints: Bethel's problem as the convex programme it is.

    min Σ_h c_h n_h   subject to   Σ_h a_hj / n_h <= 1 for every j,   l_h <= n_h <= u_h

In x = 1/n the constraints are linear and the cost is convex. A primal-dual interior-point method takes one
system of the order of the number of constraints per step; a few Newton steps on the dual with the active
constraints found then give the solution to rounding, with exact zeros and exact bounds.

References
----------
Bethel (1989), Survey Methodology 15, 47-57; Chromy (1987), Proc. ASA Section on Survey Research Methods,
194-199; Mehrotra (1992), SIAM J. Optimization 2, 575-601.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sae.errors import SaeConvergenceError
from sae.numerics.allocation.system import NormalSystem, normal_system

__all__ = ["ConvexAllocation", "allocate_convex", "unreachable"]

_GAP = 1e-11  # relative duality gap at which the interior-point method stops
_STEPS = 100
_TO_EDGE = 0.995  # share of the way to the boundary that a step may go
_START_STEPS = 3  # multiplicative updates (Chromy) before the interior-point method
_KKT = 1e-8  # a worse residual is no solution
_WORKING = 100  # constraints that a crowded problem starts with, and adds at a time
_CROWDED = 40  # entries per stratum from which all constraints at once are too dense
_CENTRE = 1.0  # floor of the centring, as a share of the residual of stationarity
_POLISH = 8
_EXACT = 1e-13  # residual at which the polish may end
_AT_MAXIMUM = 1e-13  # slack left at n = u below which only n = u is feasible


@dataclass(frozen=True, eq=False)
class ConvexAllocation:
    """The optimum and its certificate.

    Attributes
    ----------
    n : ndarray, shape (H,)
        Real-valued sizes within their bounds.
    price : ndarray, shape (J,)
        Dual price λ_j of each constraint: what the cost falls by, per unit, when its right side 1 rises.
    used : ndarray, shape (J,)
        Left side Σ_h a_hj / n_h of each constraint; 1 where it binds.
    cost : float
    gap : float
        (cost - dual value) / cost.
    kkt : float
        Largest of: violation of a constraint, λ_j (1 - used_j) / cost, and the relative residual of
        stationarity.
    steps : int
        Interior-point steps.
    """

    n: np.ndarray
    price: np.ndarray
    used: np.ndarray
    cost: float
    gap: float
    kkt: float
    steps: int


def unreachable(a: sparse.csr_matrix, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the constraints that fail even at n = u, and their left sides there.

    Every left side falls with every n: what fails at the upper bounds, no allocation can meet; and if none
    fails there, the problem has a solution.
    """
    at_best = a.T @ (1.0 / upper)
    worst = np.flatnonzero(at_best > 1.0 + _AT_MAXIMUM)
    return worst, at_best[worst]


def allocate_convex(
    a: sparse.csr_matrix, cost: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> ConvexAllocation:
    """Minimise the cost of an allocation that meets every constraint.

    Parameters
    ----------
    a : sparse matrix, shape (H, J)
        Non-negative a_hj, scaled so that the right sides are 1.
    cost : ndarray, shape (H,)
        Cost of one unit, positive.
    lower, upper : ndarray, shape (H,)
        0 < l <= u; u may be infinite.

    Raises
    ------
    ValueError
        If a constraint cannot be met; see `unreachable`.
    SaeConvergenceError
        If the residual of the optimality conditions stays above 1e-8.

    Examples
    --------
    Two strata, one constraint: n_h is proportional to sqrt(a_h / c_h).

    >>> from scipy import sparse
    >>> a = sparse.csr_matrix([[4.0], [16.0]])
    >>> best = allocate_convex(a, np.ones(2), np.full(2, 1.0), np.full(2, 1e6))
    >>> best.n.round(6).tolist(), round(best.cost, 6)
    ([12.0, 24.0], 36.0)
    """
    a = sparse.csr_matrix(a, dtype=float)
    a.sum_duplicates()
    cost, lower, upper = (np.asarray(v, float) for v in (cost, lower, upper))
    failed, _ = unreachable(a, upper)
    if len(failed):
        raise ValueError(f"constraint {failed[0]} fails even at the upper bounds ({len(failed)} do)")
    n, price = lower.copy(), np.zeros(a.shape[1])
    open_constraints = np.flatnonzero(a.T @ (1.0 / lower) > 1.0)
    steps = 0
    if len(open_constraints):
        n, price, steps = _solve_open(a, open_constraints, cost, lower, upper)
    found = _certify(a, cost, lower, upper, n, price, steps)
    if not found.kkt <= _KKT:
        raise SaeConvergenceError(
            f"The allocation stopped at a residual of {found.kkt:.3g} after {steps} steps."
        )
    return found


def _solve_open(
    a: sparse.csr_matrix, open_: np.ndarray, cost: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Solve what remains once constraints met at n = l and strata without freedom are taken out."""
    part = a[:, open_].tocsr()
    tight = 1.0 - part.T @ (1.0 / upper) <= _AT_MAXIMUM  # only n = u meets it
    at_maximum = part[:, tight].getnnz(axis=1) > 0
    n = np.where(at_maximum, upper, lower)
    free = (part.getnnz(axis=1) > 0) & (upper > lower) & ~at_maximum
    best = 1.0 / np.where(free, upper, n)
    most = part.T @ np.where(free, 1.0 / lower, best)
    keep = np.flatnonzero((most > 1.0) & (part[free].getnnz(axis=0) > 0))
    price, steps = np.zeros(a.shape[1]), 0
    if len(keep):
        core = part[free][:, keep].tocsr()
        inside = np.flatnonzero(free)[core.getnnz(axis=1) > 0]
        core = core[core.getnnz(axis=1) > 0]
        core.sort_indices()
        room = 1.0 - part[:, keep].T @ best
        held = 1.0 - part[:, keep].T @ np.where(np.isin(np.arange(len(n)), inside), 0.0, best)
        c, low, high = cost[inside], lower[inside], upper[inside]
        scaled = core.multiply(1.0 / room).tocsr()
        y, core_price, steps = _by_working_set(scaled, c, 1.0 / high, 1.0 / low - 1.0 / high)
        n[inside], found = _polish(core, held, c, low, high, 1.0 / (1.0 / high + y), core_price / room)
        price[open_[keep]] = found
    for j in open_[tight]:
        price[j] = _price_of_tight(a, cost, upper, price, j)
    return n, price, steps


def _by_working_set(
    a: sparse.csr_matrix, cost: np.ndarray, low: np.ndarray, span: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Solve with the constraints likely to bind, add those that the solution breaks, until none is broken."""
    rows, columns = a.shape
    if columns <= _WORKING or a.nnz < _CROWDED * rows:
        return _interior_point(a, cost, low, span, normal_system(a))
    a_t = a.T.tocsr()
    _, likely = _start(a, a_t, cost, low, span)
    working = np.sort(np.argsort(-likely, kind="stable")[:_WORKING])
    steps = 0
    while True:
        part = a[:, working].tocsr()
        touched = np.flatnonzero(np.diff(part.indptr))
        part = part[touched]
        y, price = span.copy(), np.zeros(columns)
        y[touched], price[working], more = _interior_point(
            part, cost[touched], low[touched], span[touched], normal_system(part)
        )
        steps += more
        used = a_t @ y
        used[working] = 0.0
        broken = np.flatnonzero(used > 1.0)
        if not len(broken):
            return y, price, steps
        worst = broken[np.argsort(-used[broken], kind="stable")[:_WORKING]]
        working = np.sort(np.concatenate([working, worst]))


def _interior_point(
    a: sparse.csr_matrix, cost: np.ndarray, low: np.ndarray, span: np.ndarray, system: NormalSystem
) -> tuple[np.ndarray, np.ndarray, int]:
    """Minimise Σ cost / (low + y) subject to A'y <= 1, 0 < y < span: Mehrotra's predictor-corrector."""
    a_t = a.T.tocsr()
    y, price = _start(a, a_t, cost, low, span)
    over, slack = span - y, 1.0 - a_t @ y
    pairs = len(slack) + 2 * len(y)
    mean = 0.1 * float((cost / (low + y)).sum()) / pairs
    price = np.maximum(price, mean / slack)
    below, above = mean / y, mean / over
    step = 0
    while step < _STEPS:
        step += 1
        x = low + y
        gradient = a @ price - cost / x**2 - below + above
        short = a_t @ y + slack - 1.0
        mean = float(price @ slack + below @ y + above @ over) / pairs
        total = float((cost / x).sum())
        wrong = float(np.abs(gradient * x).max()) / total
        if mean * pairs < _GAP * total and wrong < _GAP:
            break
        d = 1.0 / (2.0 * cost / x**3 + below / y + above / over)
        try:
            system.factorise(d, slack / price)
        except (SaeConvergenceError, np.linalg.LinAlgError):
            break  # as far as the arithmetic carries; the certificate judges what was reached

        def direction(
            r_price: np.ndarray,
            r_below: np.ndarray,
            r_above: np.ndarray,
            gradient=gradient,
            y=y,
            over=over,
            price=price,
            below=below,
            above=above,
            d=d,
            short=short,
        ) -> tuple[np.ndarray, ...]:
            pull = gradient - r_below / y + r_above / over
            d_price = system.solve(r_price / price + short - a_t @ (d * pull))
            dy = -d * (pull + a @ d_price)
            return dy, -short - a_t @ dy, d_price, (r_below - below * dy) / y, (r_above + above * dy) / over

        dy, ds, dp, db, da = direction(-price * slack, -below * y, -above * over)
        reach = _reach(((y, dy), (over, -dy), (slack, ds)))
        dual = _reach(((price, dp), (below, db), (above, da)))
        after = (
            (price + dual * dp) @ (slack + reach * ds)
            + (below + dual * db) @ (y + reach * dy)
            + (above + dual * da) @ (over - reach * dy)
        ) / pairs
        # complementarity may not run ahead of stationarity
        centre = max((after / mean) ** 3 * mean, min(mean, _CENTRE * wrong * total / pairs))
        dy, ds, dp, db, da = direction(
            centre - price * slack - dp * ds, centre - below * y - db * dy, centre - above * over + da * dy
        )
        # the cost is not linear: one step for both, primal and dual
        values = ((y, dy), (over, -dy), (slack, ds), (price, dp), (below, db), (above, da))
        reach = _TO_EDGE * _reach(values, 1.0 / _TO_EDGE)
        y, over, slack = y + reach * dy, over - reach * dy, slack + reach * ds
        price, below, above = price + reach * dp, below + reach * db, above + reach * da
    return y, price, step


def _reach(pairs: tuple[tuple[np.ndarray, np.ndarray], ...], most: float = 1.0) -> float:
    """Return the longest step, at most `most`, that keeps every value + step * change >= 0."""
    for value, change in pairs:
        down = change < 0
        if down.any():
            most = min(most, float((value[down] / -change[down]).min()))
    return most


def _start(
    a: sparse.csr_matrix, a_t: sparse.csr_matrix, cost: np.ndarray, low: np.ndarray, span: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return strictly feasible y and prices from a few multiplicative updates."""
    price = np.ones(a.shape[1])
    y = span
    for _ in range(_START_STEPS):
        with np.errstate(divide="ignore"):  # a stratum without variance matters to no constraint
            wanted = np.sqrt(cost / (a @ price))
        y = np.clip(wanted - low, 0.01 * span, 0.99 * span)
        price *= np.clip((a_t @ y) ** 2, 1e-6, 1e6)
    price *= float((cost / (low + y)).sum()) / float(price.sum())
    room = 1.0 / (a_t @ y)
    tightest = np.minimum.reduceat(room[a.indices], a.indptr[:-1])
    return np.minimum(1.0, 0.9 * tightest) * y, price


def _polish(
    a: sparse.csr_matrix,
    right: np.ndarray,
    cost: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    n: np.ndarray,
    price: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Newton steps on the dual with the binding constraints only: n is then exact given the prices."""
    first_n = np.clip(np.sqrt((a @ price) / cost), low, high)
    first = _residual(a, right, cost, low, high, first_n, price)
    active = np.flatnonzero(price * right > (right - a.T @ (1.0 / n)) / right * float(cost @ n))
    if not len(active):
        return first_n, price
    bound = a[:, active].tocsr()
    system, now = normal_system(bound), price[active]
    best_n, best_price, best = first_n, price, np.inf
    for _ in range(_POLISH):
        pull = bound @ now
        n = np.clip(np.sqrt(pull / cost), low, high)
        full = np.zeros(len(price))
        full[active] = now
        residual = _residual(a, right, cost, low, high, n, full)
        if residual < best:
            best_n, best_price, best = n, full, residual
        elif best < _EXACT:
            break
        inside = (n > low) & (n < high)
        d = np.where(inside, 0.5 / np.where(inside, pull * n, 1.0), 0.0)
        diagonal = bound.multiply(bound).T @ d
        try:
            system.factorise(d, 1e-13 * diagonal + 1e-300)
            now = now + system.solve(bound.T @ (1.0 / n) - right[active])
        except (SaeConvergenceError, np.linalg.LinAlgError):
            break
        if not (np.isfinite(now).all() and (now >= 0).all()):
            break
    return (best_n, best_price) if best <= max(first, _EXACT) else (first_n, price)


def _residual(
    a: sparse.csr_matrix,
    right: np.ndarray,
    cost: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    n: np.ndarray,
    price: np.ndarray,
) -> float:
    """Largest relative violation, complementarity or slope of the cost that the bounds do not bar."""
    used = a.T @ (1.0 / n)
    total = float(cost @ n)
    slope = cost - (a @ price) / n**2
    slope = np.where(n <= low, np.minimum(slope, 0.0), slope)
    slope = np.where(n >= high, np.maximum(slope, 0.0), slope)
    return max(
        float(np.max((used - right) / right, initial=0.0)),
        float(np.max(np.abs(price * (right - used)) / (total + price * right), initial=0.0)),
        float(np.max(np.abs(slope) * n)) / total,
    )


def _certify(
    a: sparse.csr_matrix,
    cost: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    n: np.ndarray,
    price: np.ndarray,
    steps: int,
) -> ConvexAllocation:
    total, pull = float(cost @ n), a @ price
    best = np.clip(np.sqrt(pull / cost), lower, upper)
    dual = float((cost * best + pull / best).sum() - price.sum())
    kkt = _residual(a, np.ones(len(price)), cost, lower, upper, n, price)
    return ConvexAllocation(n, price, a.T @ (1.0 / n), total, (total - dual) / total, kkt, steps)


def _price_of_tight(
    a: sparse.csr_matrix, cost: np.ndarray, upper: np.ndarray, price: np.ndarray, j: int
) -> float:
    """Return the smallest price of a constraint that only n = u meets which justifies n = u."""
    column = a[:, [j]].tocoo()
    missing = cost[column.row] * upper[column.row] ** 2 - (a @ price)[column.row]
    return max(0.0, float((missing / column.data).max()))
