"""The design on arrays: stages of selection as levels of units, and the unit × domain cells of the records.

An estimator enters as its linearised variable z: the estimator behaves like the total of w z. Only the
totals of w z per sampling unit matter, so records are reduced to unit × domain cells (sparse: a unit
touches few domains), once per set of domains; each indicator is then one pass over the records.

References
----------
Särndal, Swensson and Wretman (1992), Model Assisted Survey Sampling, ch. 4 (stages) and 10 (domains).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sae.numerics.compile import compiled

__all__ = ["Cells", "Level", "SampledStage", "design_levels", "domain_cells", "domain_moments"]


class SampledStage(Protocol):
    """What the variance needs of one stage of selection; the arrays run along the records."""

    @property
    def strata(self) -> np.ndarray: ...  # noqa: D102
    @property
    def psu(self) -> np.ndarray: ...  # noqa: D102
    @property
    def fpc(self) -> np.ndarray | None: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Level:
    """One stage of selection, its units renumbered so that those of a stratum are neighbours.

    Attributes
    ----------
    unit : ndarray of int32, shape (n,)
        Unit of each record.
    starts : ndarray of int64, shape (n_strata + 1,)
        First unit of each stratum; the number of units of stratum h is ``starts[h + 1] - starts[h]``.
    factor : ndarray of float, shape (n_strata,)
        Product of the sampling fractions of the stages above × (1 - f_h) n_h / (n_h - 1), × the stage's
        ``inflation`` where it has one; 0 where lonely.
    lonely : ndarray of bool, shape (n_strata,)
        True where one unit stands for a population of more: its contribution cannot be estimated.
    record : ndarray of int64, shape (n_strata,)
        One record of each stratum, so that the caller can name it.
    """

    unit: np.ndarray
    starts: np.ndarray
    factor: np.ndarray
    lonely: np.ndarray
    record: np.ndarray

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.starts[-1])

    @property
    def lonely_records(self) -> np.ndarray:
        """One record of each lonely stratum."""
        return self.record[self.lonely]


@dataclass(frozen=True, eq=False)
class Cells:
    """Unit × domain cells that hold at least one record, in the order of the units.

    Attributes
    ----------
    record : ndarray of int32, shape (n,)
        Cell of each record, -1 for a record in no domain.
    starts : ndarray of int64, shape (n_units + 1,)
        First cell of each unit.
    domain : ndarray of int32, shape (n_cells,)
        Domain of each cell.
    """

    record: np.ndarray
    starts: np.ndarray
    domain: np.ndarray


# ---------------------------------------------------------------- the design


def design_levels(stages: Sequence[SampledStage]) -> tuple[Level, ...]:
    """Reduce the stages of a design to the levels that contribute to the variance.

    A stage drawn with replacement (no fpc) is the last one that contributes: its units carry the
    variance of everything below (ultimate clusters). With an fpc the next stage adds f × its own.

    Parameters
    ----------
    stages : sequence of objects with ``strata``, ``psu``, ``fpc``
        First stage first; codes from 0, `psu` unique over the file, `fpc` the population number of
        units in the record's stratum. Strata of later stages are taken within the unit above.

    Returns
    -------
    tuple of Level
    """
    levels: list[Level] = []
    above: np.ndarray | None = None  # fraction by which the stages above scale this one, by record
    parent: np.ndarray | None = None
    for stage in stages:
        psu = np.asarray(stage.psu)
        strata = np.asarray(stage.strata)
        n_units = int(psu.max()) + 1
        first = _first_record(psu, n_units)
        if parent is None:
            stratum = strata[first].astype(np.int64)
        else:
            key = parent[first].astype(np.int64) * (int(strata.max()) + 1) + strata[first]
            stratum = np.unique(key, return_inverse=True)[1].reshape(-1)
        if np.bincount(stratum).min() == 0:  # codes with gaps
            stratum = np.unique(stratum, return_inverse=True)[1].reshape(-1)
        order = np.argsort(stratum, kind="stable")
        rank = np.empty(n_units, dtype=np.int32)
        rank[order] = np.arange(n_units, dtype=np.int32)
        size = np.bincount(stratum)
        starts = np.concatenate(([0], np.cumsum(size)))
        record = first[order][starts[:-1]]
        population = np.full(size.size, np.inf) if stage.fpc is None else np.asarray(stage.fpc, float)[record]
        fraction = np.minimum(size / population, 1.0)
        scale = np.ones(size.size) if above is None else above[record]
        spread = np.where(size > 1, size / np.maximum(size - 1, 1), 0.0)
        factor = scale * (1.0 - fraction) * spread
        inflation = getattr(stage, "inflation", None)
        if inflation is not None:
            factor = factor * inflation[record]
        lonely = (size == 1) & (fraction < 1.0) & (scale > 0.0)
        unit = rank[psu]
        levels.append(Level(unit, starts, factor, lonely, record))
        if stage.fpc is None:
            break
        of_unit = np.repeat(scale * fraction, size)
        above = of_unit[unit]
        parent = unit
    return tuple(levels)


def _first_record(psu: np.ndarray, n_units: int) -> np.ndarray:
    first = np.full(n_units, -1)
    first[psu[::-1]] = np.arange(len(psu))[::-1]  # the last that is written stays
    return first


# ---------------------------------------------------------------- cells and moments


def domain_cells(level: Level, domain: np.ndarray, n_domains: int) -> Cells:
    """Group the records into unit × domain cells, in the order of the units.

    Parameters
    ----------
    level : Level
    domain : ndarray of int32, shape (n,)
        Domain of each record, -1 for none.
    n_domains : int
    """
    n, units = len(level.unit), level.n_units
    end, starts = np.zeros(units + 1, np.int64), np.zeros(units + 1, np.int64)
    order, record, cell_domain = np.empty(n, np.int32), np.full(n, -1, np.int32), np.empty(n, np.int32)
    seen = np.full(n_domains, -1)
    n_cells = _cells(level.unit, domain, end, order, record, cell_domain, starts, seen)
    return Cells(record, starts, cell_domain[:n_cells].copy())


@compiled
def _cells(unit, domain, end, order, record, cell_domain, starts, seen):
    """Fill the cells; return their number. `seen` holds the last cell of each domain, -1 to begin with."""
    n_units = len(end) - 1
    for i in range(len(unit)):
        if domain[i] >= 0:
            end[unit[i] + 1] += 1
    for u in range(n_units):
        end[u + 1] += end[u]
    for i in range(len(unit)):  # `end` of a unit is where its next record goes, and so moves to its end
        if domain[i] >= 0:
            order[end[unit[i]]] = i
            end[unit[i]] += 1
    begin = n_cells = 0
    for u in range(n_units):
        first = n_cells
        for k in range(begin, end[u]):
            i = order[k]
            d = domain[i]
            if seen[d] < first:
                seen[d] = n_cells
                cell_domain[n_cells] = d
                n_cells += 1
            record[i] = seen[d]
        begin = end[u]
        starts[u + 1] = n_cells
    return n_cells


def domain_moments(
    cell: np.ndarray,
    cell_domain: np.ndarray,
    n_domains: int,
    weights: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    inside: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Sum what an indicator needs, in one pass over the records.

    Parameters
    ----------
    cell : ndarray of int32, shape (n,)
        Cell of each record, -1 for none.
    cell_domain : ndarray of int32, shape (n_cells,)
    n_domains : int
    weights, y, x : ndarray of float, shape (n,)
        Weight, numerator and denominator of each record.
    inside : ndarray of bool, shape (n,)
        Whether the record belongs to the universe with nothing missing.

    Returns
    -------
    cell_sums : ndarray, shape (n_cells, 3)
        Σwy, Σwx and the number of records of each cell.
    moments : ndarray, shape (n_domains, 8)
        n, Σw, Σw², Σwy, Σwx, Σwyy, Σwxy, Σwxx of each domain.
    """
    cell_sums, moments = np.zeros((len(cell_domain), 3)), np.zeros((n_domains, 8))
    _add_moments(cell, cell_domain, weights, y, x, inside, cell_sums, moments)
    return cell_sums, moments


@compiled
def _add_moments(cell, cell_domain, weights, y, x, inside, cell_sums, moments):
    for i in range(len(cell)):
        c = cell[i]
        if c < 0 or not inside[i]:
            continue
        w = weights[i]
        wy = w * y[i]
        wx = w * x[i]
        sums = cell_sums[c]
        sums[0] += wy
        sums[1] += wx
        sums[2] += 1.0
        m = moments[cell_domain[c]]
        m[0] += 1.0
        m[1] += w
        m[2] += w * w
        m[5] += wy * y[i]
        m[6] += wy * x[i]
        m[7] += wx * x[i]
    # the totals are summed over cells: fewer and larger terms, so less rounding
    for c in range(len(cell_domain)):
        m = moments[cell_domain[c]]
        m[3] += cell_sums[c, 0]
        m[4] += cell_sums[c, 1]
