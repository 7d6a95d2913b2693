"""Constraints to whole numbers: the convex programme solved, least sizes settled, what fails named."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from sae.errors import SaeInputError
from sae.numerics.allocation.budget import allocate_within
from sae.numerics.allocation.convex import ConvexAllocation, allocate_convex, unreachable
from sae.numerics.allocation.integer import round_feasible
from sae.planning.direct.constraints import Constraints

__all__ = ["Plan", "solve_targets", "with_least_sizes"]

_ROUNDS = 40  # sizes that depend on each other
_SETTLED = 1e-6  # relative change of every size at which those rounds end
_LEAST_SIZE = "least size"  # what the refusals call a rule of this kind
_LOOSER = 1e-4  # step by which a budget loosens the targets until whole numbers fit it


@dataclass(frozen=True, eq=False)
class Plan:
    """Sizes that meet constraints, as arrays.

    Attributes
    ----------
    n : ndarray of int64, shape (H,)
    exact : ConvexAllocation
        The real-valued optimum behind `n`, with its dual prices.
    limits : Constraints
        The constraints as they were at the solution.
    loosened : float
        Factor on every standard error required; 1 unless a budget forced or allowed another.
    """

    n: np.ndarray
    exact: ConvexAllocation
    limits: Constraints
    loosened: float = 1.0


def solve_targets(
    limits: Constraints, cost: np.ndarray, low: np.ndarray, high: np.ndarray, money: float | None = None
) -> Plan:
    """Solve the convex programme of `limits` and round it; with `money`, for the best common factor.

    Raises
    ------
    SaeInputError
        If targets cannot be met, by name; if `money` does not pay for the minimum.
    """
    limits = with_least_sizes(limits)
    if money is None:
        _refuse_unreachable(limits, high)
        exact, limits = _settle_sizes(limits, cost, low, high)
        n = round_feasible(limits.scaled(), cost, low, high, exact.n, exact.price)
        return Plan(_trim_sizes(limits, cost, low, n), exact, limits)
    asked = np.flatnonzero(np.isfinite(limits.allowed) & (limits.allowed > 0))
    part = limits.a[:, asked].tocsr()
    budget = float(money)
    for attempt in range(_ROUNDS):
        r, exact = allocate_within(part, limits.fixed[asked], limits.allowed[asked], cost, low, high, budget)
        # whole numbers cost a little more: aim lower until they fit
        a = limits.scaled(r)
        price = np.zeros(len(limits))
        price[asked] = exact.price
        used = np.zeros(len(limits))
        used[asked] = exact.used
        n = round_feasible(a, cost, low, high, exact.n, price)
        if cost @ n <= money * (1.0 + 1e-12):
            n = _spend(n, a @ price, cost, high, float(money))
            return Plan(n, replace(exact, price=price, used=used), limits, r)
        over = float(cost @ n) - money
        budget = max(float(cost @ low), min(budget - over, money * (1.0 - _LOOSER * (attempt + 1))))
    raise SaeInputError(
        "No whole numbers near the optimum fit the budget.", hint="Raise it, or lower minimum=."
    )


def with_least_sizes(limits: Constraints) -> Constraints:
    """Add a constraint for each domain with a least number of interviews, if it has none yet."""
    wanted = np.flatnonzero(limits.labels["least_n"].to_numpy(int) > 0)
    if not len(wanted) or limits.of_size.any():
        return limits
    labels = limits.labels.iloc[wanted].assign(rule=_LEAST_SIZE)
    members = limits.members[:, wanted]
    # the first shape: in proportion to nothing but membership; `_settle_sizes` moves it to the optimum
    weight = members.multiply(1.0 / np.maximum(np.asarray(members.sum(axis=0)).ravel(), 1e-300)).tocsr()
    return Constraints(
        sparse.hstack([limits.a, _size_rows(members, weight)], format="csr"),
        np.concatenate([limits.fixed, np.zeros(len(wanted))]),
        np.concatenate([limits.allowed, 1.0 / labels["least_n"].to_numpy(float)]),
        pd.concat([limits.labels.assign(least_n=0), labels], ignore_index=True),
        sparse.hstack([limits.members, members], format="csr"),
        np.concatenate([limits.of_size, np.ones(len(wanted), bool)]),
        limits.measures + (frozenset(),) * len(wanted),
    )


def _size_rows(members: sparse.csr_matrix, weight: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return a = w² / P: by Cauchy's inequality Σ w² / (P n) <= 1 / m with Σ w = 1 implies Σ P n >= m."""
    inverse = members.copy()
    inverse.data = np.where(inverse.data > 0, 1.0 / np.where(inverse.data > 0, inverse.data, 1.0), 0.0)
    return weight.multiply(weight).multiply(inverse).tocsr()


def _settle_sizes(
    limits: Constraints, cost: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[ConvexAllocation, Constraints]:
    """Solve; least sizes are met by tangent constraints, moved to the last solution until it stays."""
    least = np.flatnonzero(limits.of_size)
    exact = allocate_convex(limits.scaled(), cost, low, high)
    if not len(least):
        return exact, limits
    members = limits.members[:, least]
    for _ in range(_ROUNDS):
        counts = sparse.csr_matrix(members.multiply(exact.n[:, None]))
        weight = counts.multiply(1.0 / np.asarray(counts.sum(axis=0)).ravel()).tocsr()
        a = limits.a.tolil()
        a[:, least] = _size_rows(members, weight)
        limits = replace(limits, a=a.tocsr())
        before, exact = exact.n, allocate_convex(limits.scaled(), cost, low, high)
        if np.abs(exact.n / before - 1.0).max() < _SETTLED:
            break
    return exact, limits


def _trim_sizes(limits: Constraints, cost: np.ndarray, low: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Take away what the tangent constraints of least sizes ask beyond the sizes themselves."""
    least = limits.of_size
    if not least.any():
        return n
    n = n.copy()
    members, a = limits.members[:, least].tocsr(), limits.a[:, ~least].tocsr()
    count = members.T @ n - 1.0 / limits.allowed[least]
    room = limits.allowed[~least] * (1.0 + 1e-12) + limits.fixed[~least] - a.T @ (1.0 / n)
    for h in np.argsort(-cost, kind="stable"):
        mine, ours = slice(*members.indptr[h : h + 2]), slice(*a.indptr[h : h + 2])
        while n[h] > low[h] and (count[members.indices[mine]] >= members.data[mine] - 1e-9).all():
            change = a.data[ours] * (1.0 / (n[h] - 1.0) - 1.0 / n[h])
            if (change > room[a.indices[ours]]).any():
                break
            room[a.indices[ours]] -= change
            count[members.indices[mine]] -= members.data[mine]
            n[h] -= 1
    return n


def _spend(n: np.ndarray, pull: np.ndarray, cost: np.ndarray, high: np.ndarray, money: float) -> np.ndarray:
    """Give what whole numbers left of the money to the units that the dual prices value most."""
    n = n.copy()
    left = money * (1.0 + 1e-12) - float(cost @ n)
    while True:
        worth = np.where((n < high) & (cost <= left), pull / (n * (n + 1.0) * cost), 0.0)
        h = int(np.argmax(worth))
        if worth[h] <= 0:
            return n
        n[h] += 1
        left -= cost[h]


def _refuse_unreachable(limits: Constraints, high: np.ndarray) -> None:
    least = limits.of_size
    most = np.asarray(limits.members.T @ high).ravel()
    needed = np.where(least, 1.0 / limits.allowed, 0.0)
    failed, _ = unreachable(limits.scaled()[:, ~least].tocsr(), high)
    failed = np.flatnonzero(~least)[failed]
    small = np.flatnonzero(needed > most)
    if not len(failed) and not len(small):
        return
    names, lines = limits.names, []
    se = np.sqrt(limits.variance(high))
    for j in failed:
        mean, required = abs(limits.labels["mean"].iloc[j]), np.sqrt(limits.allowed[j])
        if mean > 0:
            attained = f"the CV is {se[j] / mean:.1%}, asked {required / mean:.1%}"
        else:
            attained = f"the error is {se[j]:.3g}, asked {required:.3g}"
        lines.append(f"{names[j]}: at the upper bounds {attained}")
    lines += [f"{names[j]}: {needed[j]:.0f} interviews asked, {most[j]:.0f} possible" for j in small]
    more = f"\n  and {len(lines) - 8} more" if len(lines) > 8 else ""
    raise SaeInputError(
        f"{len(lines)} targets cannot be met within the bounds of the strata.\n  "
        + "\n  ".join(lines[:8])
        + more,
        hint="Raise maximum= or the response, loosen these targets, or plan for a model estimate there.",
        areas=[limits.labels["domain"].iloc[j] for j in [*failed, *small]],
    )
