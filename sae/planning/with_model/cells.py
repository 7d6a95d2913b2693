"""The frame of an oversample: cells of stratum × domain with members of the group, costs and response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from sae.numerics.allocation.convex import allocate_convex
from sae.planning.direct.strata import COUNT, INTERVIEWS, LIMIT, RATE, TODAY, StrataFrame

__all__ = ["Cells", "cheapest", "sampling_variances"]

_BELOW = 0.5  # share of such an n that is no bound, so that the demand and not the bound binds
_MEMBERS = "Leave a cell without members of the group out."


@dataclass(frozen=True, eq=False)
class Cells:
    """H strata, D domains of the group; an interview of the group is completed at the cost of its stratum.

    Attributes
    ----------
    strata, domains : ndarray of str, shapes (H,) and (D,)
    members : sparse matrix, shape (H, D)
        Members of the group in each cell.
    persons : ndarray, shape (H,)
        Population of each stratum, whoever they are.
    cost : ndarray, shape (H,)
        Of one completed interview with the persons screened to find it.
    contacts : ndarray, shape (H,)
        Persons contacted per completed interview: 1 / (density × response × screening response).
    lower, upper : ndarray, shape (H,)
        Fewest and most interviews, whole numbers; no more than members × response, but at least 1.
    now : sparse matrix, shape (H, D)
        Interviews of today in each cell.
    now_given : bool
        Whether the frame tells all of them; else those of the domain are spread as its members are.
    screened : bool
        Whether members must be found among the others.
    """

    strata: np.ndarray
    domains: np.ndarray
    members: sparse.csr_matrix
    persons: np.ndarray
    cost: np.ndarray
    contacts: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    now: sparse.csr_matrix
    now_given: bool
    screened: bool

    @classmethod
    def of(cls, strata: StrataFrame, known: Sequence[str], interviews: np.ndarray) -> Cells:
        """Sum the frame up by stratum.

        Parameters
        ----------
        strata : StrataFrame
            One row per stratum and domain: ``domain``, ``stratum``, ``population`` (persons), ``density``
            (share of the group among them, default 1), ``cost`` of an interview, ``screening_cost`` of a
            person contacted (default 0), ``response`` and ``screening_response`` (default 1), ``minimum`` and
            ``maximum`` (interviews), ``n_now``.
        known : sequence of str
            Domains of the fit, in whose order those of the frame stand.
        interviews : ndarray
            Interviews of today in each of them, for cells whose ``n_now`` the frame does not tell.

        Raises
        ------
        SaeInputError
            If a figure is out of range; cells are named.
        """
        names, row = np.unique(strata.frame["stratum"].to_numpy(dtype=str), return_inverse=True)
        present = set(strata.frame["domain"])
        domains = np.array([name for name in known if name in present])
        column = pd.Index(domains).get_indexer(strata.frame["domain"])
        size = len(names)

        def summed(values: np.ndarray) -> np.ndarray:
            return np.bincount(row, values, size)

        today = strata.column("n_now", TODAY, default=np.nan)  # first: a minimum may be made of it
        density = strata.column("density", RATE, default=1.0, hint=_MEMBERS)
        screening_cost = strata.column("screening_cost", COUNT, default=0.0)
        persons, member = strata.population, strata.population * density
        rate = strata.response * strata.column("screening_response", RATE, default=1.0)
        answering = summed(member * rate)  # members who would be found and answer
        contacts = summed(persons) / answering
        paid = summed(member * rate * strata.cost) / answering
        screened = summed(persons * screening_cost) / answering
        most = summed(strata.column("maximum", LIMIT, default=np.inf))
        upper = np.maximum(np.floor(np.minimum(most, answering)), 1.0)
        lower = np.minimum(summed(strata.column("minimum", INTERVIEWS, default=0.0)), upper)
        of_domain = np.bincount(column, member, len(domains))
        fitted = interviews[pd.Index(known).get_indexer(pd.Index(domains))]
        now = np.where(np.isfinite(today), today, fitted[column] * (member / of_domain[column]))
        return cls(
            names,
            domains,
            sparse.csr_matrix((member, (row, column)), shape=(size, len(domains))),
            summed(persons),
            paid + screened,
            contacts,
            lower,
            upper,
            sparse.csr_matrix((now, (row, column)), shape=(size, len(domains))),
            bool(np.isfinite(today).all()),
            bool((screening_cost > 0).any()),
        )

    @property
    def group(self) -> np.ndarray:
        """Members of the group by stratum, shape (H,)."""
        return np.asarray(self.members.sum(axis=1)).ravel()

    @property
    def of_domain(self) -> np.ndarray:
        """Members of the group by domain, shape (D,)."""
        return np.asarray(self.members.sum(axis=0)).ravel()

    def variances(self, unit: np.ndarray) -> sparse.csr_matrix:
        """Return a, shape (H, D), with which the direct estimates have variances Σ_h a_hd (1/n_h - 1/M_h).

        n_h interviews spread over the domains of a stratum as its members do: M_hd n_h / M_h of them in d,
        out of M_hd. All members asked leave no variance.
        """
        members = self.members.tocoo()
        values = members.data * self.group[members.row] / self.of_domain[members.col] ** 2 * unit[members.col]
        return sparse.csr_matrix((values, (members.row, members.col)), shape=members.shape)

    def interviews(self, n: np.ndarray) -> np.ndarray:
        """Return the expected interviews in each domain, shape (D,)."""
        return np.asarray(self.members.T @ (n / self.group)).ravel()

    def changes(self, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the interviews added and those taken away in each domain, cell by cell, shape (D,)."""
        change = (self.members.multiply((n / self.group)[:, None]) - self.now).tocsr()
        added, removed = (np.asarray(part.maximum(0.0).sum(axis=0)).ravel() for part in (change, -change))
        return added, removed


def cheapest(
    a: sparse.csr_matrix, bound: np.ndarray, cost: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cheapest real-valued n with Σ_h a_hd / n_h <= bound_d, and the price of each bound.

    Parameters
    ----------
    a : sparse matrix, shape (H, D)
    bound : ndarray, shape (D,)
        Variances allowed; infinite: no demand.
    cost, lower, upper : ndarray, shape (H,)
        `lower` may be 0.

    Returns
    -------
    n : ndarray, shape (H,)
    price : ndarray, shape (D,)
        What the cost falls by per unit of relative relaxation of the bound.
    """
    n, price = lower.astype(float).copy(), np.zeros(len(bound))
    strata = np.asarray((a != 0).sum(axis=0)).ravel()
    alone = np.flatnonzero(np.isfinite(bound) & (strata == 1))  # one stratum: the demand is a lower bound
    single = sparse.csr_matrix(a[:, alone] @ sparse.diags(1.0 / bound[alone]))
    least = np.maximum(n, single.max(axis=1).toarray().ravel() if len(alone) else 0.0)
    n = np.minimum(least, upper)
    several = np.flatnonzero(np.isfinite(bound) & (strata > 1))
    if len(several):
        # a demand that a fraction of an interview meets would only spoil the scale
        root = np.asarray(a[:, several].sqrt().sum(axis=0)).ravel()
        scaled = sparse.csr_matrix(a[:, several] @ sparse.diags(1.0 / np.minimum(bound[several], root**2)))
        needed = scaled.max(axis=1).toarray().ravel()  # n_h below the largest of its a_hd fails by itself
        inside = np.flatnonzero(needed > 0.0)
        low = np.minimum(np.maximum(n[inside], _BELOW * needed[inside]), upper[inside])
        optimum = allocate_convex(scaled[inside], cost[inside], low, upper[inside])
        n[inside], price[several] = optimum.n, optimum.price
    entry = single.tocoo()
    stratum, place = entry.row, entry.col
    binding = (n[stratum] <= entry.data * (1.0 + 1e-12)) & (n[stratum] > lower[stratum])
    pull = a[:, several] @ (price[several] / bound[several])
    spare = np.maximum(cost - pull / np.maximum(n, 1e-9) ** 2, 0.0)[stratum]
    price[alone[place[binding]]] = (spare * n[stratum])[binding]
    return n, price


def sampling_variances(a: sparse.csr_matrix, fixed: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return a' (1/n) - fixed; infinite in a domain with a stratum that has no sample.

    `fixed` is what the finite population takes off: a' (1/M), so that a census leaves nothing.
    """
    with np.errstate(divide="ignore"):
        inverse = 1.0 / np.asarray(n, dtype=float)
    if np.isfinite(inverse).all():
        return np.asarray(np.maximum(a.T @ inverse - fixed, 0.0))
    empty = np.asarray((a != 0).T @ ~np.isfinite(inverse)) > 0
    rest = np.maximum(a.T @ np.where(np.isfinite(inverse), inverse, 0.0) - fixed, 0.0)
    return np.where(empty, np.inf, rest)
