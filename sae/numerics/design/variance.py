"""Design variances on arrays: the spread of the totals of sampling units inside strata, stage by stage.

Units without the domain count as zeros: the full design is kept.

References
----------
Särndal, Swensson and Wretman (1992), Model Assisted Survey Sampling, ch. 4 (stages) and 10 (domains);
Binder (1983), International Statistical Review 51, 279-292.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from sae.numerics.compile import compiled
from sae.numerics.design.units import Cells, Level

__all__ = ["cell_variance", "covariance_of_units", "unit_totals", "units_variance", "variance_of_totals"]


def cell_variance(
    level: Level, cells: Cells, totals: np.ndarray, counts: np.ndarray, n_domains: int, average: bool
):
    """Variance of the sum of `totals` by domain, at one level.

    V_d = Σ_h factor_h Σ_c (t_hcd - t̄_hd)², over all units c of stratum h; units without the domain are 0.

    Parameters
    ----------
    level : Level
    cells : Cells
        The cells of this level.
    totals : ndarray of float, shape (n_cells,)
        Σ w z of each cell.
    counts : ndarray of float, shape (n_cells,)
        Records of each cell that belong to the universe.
    n_domains : int
    average : bool
        A lonely stratum that holds the domain adds the average of the others (else it adds 0).

    Returns
    -------
    variance : ndarray of float, shape (n_domains,)
        Missing where every stratum of the domain is lonely and `average` is asked for.
    units, strata : ndarray of int64, shape (n_domains,)
        Number of units and of strata where the domain has records.
    """
    sums, numbers = tuple(np.zeros((5, n_domains))), tuple(np.zeros((5, n_domains), np.int64))
    _cell_variance(
        level.starts, level.factor, level.lonely, cells.starts, cells.domain, totals, counts, sums, numbers
    )
    variance, known, unknown = sums[:3]
    if average:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(known > 0, variance * (known + unknown) / known, np.nan)
        variance = np.where(unknown > 0, share, variance)
    return variance, numbers[0], numbers[1]


@compiled
def _cell_variance(starts, factor, lonely, cell_starts, domain, totals, counts, sums, numbers):
    """Fill rows of one entry a domain: variance, known and lonely strata; numbers of units and of strata."""
    variance, known, unknown, mean, spread = sums
    units, strata, filled, present, touched = numbers
    for h in range(starts.size - 1):
        n_touched = 0
        for c in range(cell_starts[starts[h]], cell_starts[starts[h + 1]]):
            d = domain[c]
            if filled[d] == 0:
                touched[n_touched] = d
                n_touched += 1
            # running mean and spread: exact 0 where all totals are equal
            filled[d] += 1
            step = totals[c] - mean[d]
            mean[d] += step / filled[d]
            spread[d] += step * (totals[c] - mean[d])
            if counts[c] > 0:
                present[d] += 1
        size = starts[h + 1] - starts[h]
        for k in range(n_touched):
            d = touched[k]
            zeros = size - filled[d]  # units of the stratum without the domain
            variance[d] += factor[h] * (spread[d] + mean[d] * mean[d] * filled[d] * zeros / size)
            if present[d] > 0:
                strata[d] += 1
                units[d] += present[d]
                unknown[d] += lonely[h]
                known[d] += factor[h] > 0.0
            mean[d] = 0.0
            spread[d] = 0.0
            filled[d] = 0
            present[d] = 0


def unit_totals(level: Level, weights: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Total of w z in each unit.

    Parameters
    ----------
    level : Level
    weights : ndarray of float, shape (n,)
    Z : ndarray of float, shape (n, k)

    Returns
    -------
    ndarray of float, shape (n_units, k)
    """
    return _unit_totals(level.unit, level.n_units, weights, np.ascontiguousarray(Z, dtype=float))


@compiled
def _unit_totals(unit, n_units, weights, Z):
    totals = np.zeros((n_units, Z.shape[1]))
    for i in range(unit.size):
        row = totals[unit[i]]
        for j in range(Z.shape[1]):
            row[j] += weights[i] * Z[i, j]
    return totals


def units_variance(level: Level, totals: np.ndarray, average: bool) -> np.ndarray:
    """Variance of each column of unit totals at one level, centred within strata.

    Parameters
    ----------
    level : Level
    totals : ndarray of float, shape (n_units, k)
    average : bool
        As in `cell_variance`; a stratum counts for a column where it has a total other than 0.

    Returns
    -------
    ndarray of float, shape (k,)
    """
    return _units_variance(level.starts, level.factor, level.lonely, totals, average)


@compiled
def _units_variance(starts, factor, lonely, totals, average):
    k = totals.shape[1]
    variance = np.zeros(k)
    known = np.zeros(k)
    unknown = np.zeros(k)
    for h in range(starts.size - 1):
        size = starts[h + 1] - starts[h]  # never 0: `design_levels` numbers the strata that occur
        for j in range(k):
            total = 0.0
            any_here = False
            for u in range(starts[h], starts[h + 1]):
                total += totals[u, j]
                any_here = any_here or totals[u, j] != 0.0
            mean = total / size
            spread = 0.0
            for u in range(starts[h], starts[h + 1]):
                spread += (totals[u, j] - mean) ** 2
            variance[j] += factor[h] * spread
            if any_here:
                unknown[j] += lonely[h]
                known[j] += factor[h] > 0.0
    if average:
        for j in range(k):
            if unknown[j] > 0:
                variance[j] = variance[j] * (known[j] + unknown[j]) / known[j] if known[j] > 0 else np.nan
    return variance


def covariance_of_units(level: Level, totals: sparse.spmatrix | np.ndarray) -> np.ndarray:
    """Covariance matrix of the column sums of unit totals at one level; lonely strata add 0.

    Parameters
    ----------
    level : Level
    totals : sparse matrix or ndarray, shape (n_units, k)

    Returns
    -------
    ndarray of float, shape (k, k)
    """
    size = np.diff(level.starts)
    n_units = level.n_units
    of_stratum = sparse.csr_matrix(
        (np.ones(n_units), np.arange(n_units), level.starts), shape=(size.size, n_units)
    )
    columns = sparse.csr_matrix(totals)
    sums = of_stratum @ columns
    squares = columns.T @ sparse.diags(np.repeat(level.factor, size)) @ columns
    return np.asarray((squares - sums.T @ sparse.diags(level.factor / size) @ sums).todense())


def variance_of_totals(levels: Sequence[Level], weights: np.ndarray, Z: np.ndarray) -> np.ndarray:
    """Design covariance matrix of the weighted totals Σ w z of k linearised variables.

    Parameters
    ----------
    levels : sequence of Level
        From `design_levels`; lonely strata add 0.
    weights : ndarray of float, shape (n,)
    Z : ndarray of float, shape (n, k)
        Linearised variables over the full file, 0 outside their domain.

    Returns
    -------
    ndarray of float, shape (k, k)

    Examples
    --------
    Four records drawn with replacement: V = n/(n-1) Σ (wz - mean)².

    >>> from types import SimpleNamespace
    >>> from sae.numerics.design.units import design_levels
    >>> stage = SimpleNamespace(strata=np.zeros(4, int), psu=np.arange(4), fpc=None)
    >>> variance_of_totals(design_levels([stage]), np.ones(4), np.array([[1.0], [2.0], [3.0], [4.0]]))
    array([[6.66666667]])
    """
    total = np.zeros((Z.shape[1], Z.shape[1]))
    for level in levels:
        dense = unit_totals(level, weights, Z)
        size = np.diff(level.starts)
        means = np.add.reduceat(dense, level.starts[:-1], axis=0) / size[:, None]
        centred = dense - np.repeat(means, size, axis=0)
        total += centred.T @ (np.repeat(level.factor, size)[:, None] * centred)
    return total
