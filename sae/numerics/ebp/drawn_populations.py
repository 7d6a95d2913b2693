"""Populations simulated from draws of the posterior, reduced to indicators as they are made.

Each draw makes one whole population, which has indicators of its own: their distribution is the posterior
predictive one of the indicators of a finite population. A stream is named by its area and the number of the
draw, so that neither other areas, nor levels, nor threads, nor more draws change a number.

Where only who is poor counts, and by how much, only the poor are taken back from the transformed scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Population
from sae.numerics.ebp.posterior import ParameterDraws
from sae.numerics.ebp.simulation import back, linear, of_areas, unit_sets
from sae.numerics.ebp.threads import spread
from sae.numerics.random.normals import fill_normals, new_stream

__all__ = ["simulate_draws"]

_TILE = 1 << 16  # values held at a time
_POOR = ("head_count", "gap", "severity")


@inlined
def _scores(beta, columns, row):
    """Fill a row with x'β, always in the same order of the columns: four at a time."""
    p, n = columns.shape
    row[:] = 0.0
    for j in range(0, p - 3, 4):
        b0, b1, b2, b3 = beta[j], beta[j + 1], beta[j + 2], beta[j + 3]
        x0, x1, x2, x3 = columns[j], columns[j + 1], columns[j + 2], columns[j + 3]
        for i in range(n):
            row[i] += (b0 * x0[i] + b1 * x1[i]) + (b2 * x2[i] + b3 * x3[i])
    for j in range(p - p % 4, p):
        b0, x0 = beta[j], columns[j]
        for i in range(n):
            row[i] += b0 * x0[i]


@compiled
def _fill(key, numbers, beta, columns, shift, sigma, floor, place, z, out):
    """Fill columns `place` on of `out` with what draws make of the units of one area, a stream per draw."""
    n = len(z)
    for r in range(len(numbers)):
        row = out[r, place : place + n]
        _scores(beta[r], columns, row)
        fill_normals(new_stream(key, numbers[r]), z)
        for i in range(n):
            value = row[i] + (shift[r] + sigma[r] * z[i])
            row[i] = value if value > floor else floor


@compiled
def _poor(key, numbers, beta, columns, shift, sigma, top, room, values, units, ends):
    """Keep what lies below `top` in every draw and which unit it is of, and where each draw ends.

    It writes first and then decides whether to keep it: a branch would go either way.
    """
    row, z = room[0], room[1]
    n, place = len(z), 0
    for r in range(len(numbers)):
        _scores(beta[r], columns, row)
        fill_normals(new_stream(key, numbers[r]), z)
        for i in range(n):
            value = row[i] + (shift[r] + sigma[r] * z[i])
            values[place], units[place] = value, i
            place += 1 if value < top else 0
        ends[r] = place


@compiled
def _poor_sums(y, units, ends, weight, group, threshold, out):
    """Add up heads, gaps and squares of gaps of the poor of one area by draw: of all, and of each group."""
    place, unit = 0, 1.0 / threshold
    for r in range(len(ends)):
        while place < ends[r]:
            i = units[place]
            short = max(1.0 - unit * y[place], 0.0)
            w, g = weight[i], 1 + group[i]
            out[r, 0, 0] += w
            out[r, 0, 1] += w * short
            out[r, 0, 2] += w * short * short
            if g > 0:
                out[r, g, 0] += w
                out[r, g, 1] += w * short
                out[r, g, 2] += w * short * short
            place += 1


def simulate_draws(
    population: Population,
    drawn: ParameterDraws,
    indicators: Indicators,
    level: Level,
    keys: np.ndarray,
    *,
    threads: int = 1,
) -> np.ndarray:
    """Return the indicators of one population simulated from each draw.

    Parameters
    ----------
    population : Population
    drawn : ParameterDraws
    indicators : Indicators
    level : Level
        Whose parts are wanted, and within them the groups of the population.
    keys : ndarray of uint64, shape (D,)
        Of the areas' streams: the same populations at every level.
    threads : int
        They change no number.

    Returns
    -------
    ndarray, shape (S, level.size, 1 + groups, K)
        First all units of a part, then its groups; nan where there is no unit.
    """
    out = np.full((len(drawn.node), level.size, 1 + population.groups, len(indicators.names)), np.nan)
    order = np.argsort(level.part, kind="stable")
    bounds = np.searchsorted(level.part[order], np.arange(level.size + 1))
    alike = [np.flatnonzero(drawn.node == k) for k in np.unique(drawn.node)]  # draws that share a scale
    reduce = _poor_figures if _only_poor(population, indicators) else _figures

    def run(parts: np.ndarray) -> None:
        for part in parts.tolist():
            areas = order[bounds[part] : bounds[part + 1]]
            m = int(population.units[areas].sum())
            if m == 0:
                continue
            step = max(_TILE // m, 1)
            place = _Place.of(population, areas, step)
            for same in alike:
                for start in range(0, len(same), step):
                    rows = same[start : start + step]
                    out[rows, part] = reduce(place, population, drawn, indicators, keys, rows)

    spread(run, np.array_split(np.arange(level.size), 4 * threads if threads > 1 else 1), threads)
    return out


@dataclass(frozen=True, eq=False)
class _Place:
    """Some areas together, and room for the welfare of their units in a few draws.

    Attributes
    ----------
    areas : tuple of int
    columns : tuple of ndarray, (p, n) each
        Of the design of the units of each area.
    sets : list of (int, ndarray or None, ndarray or None)
        As of `unit_sets`.
    memory, units : ndarray of float and int, shape (step m,)
    """

    areas: tuple[int, ...]
    columns: tuple[np.ndarray, ...]
    sets: list[tuple[int, np.ndarray | None, np.ndarray | None]]
    memory: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, population: Population, areas: np.ndarray, step: int) -> _Place:
        """Copy the design of some areas, and make room for `step` draws."""
        columns = [np.ascontiguousarray(of_areas(population, population.X, d).T) for d in areas[:, None]]
        room = step * sum(own.shape[1] for own in columns)
        sets = unit_sets(population, areas)
        return cls(
            tuple(areas.tolist()), tuple(columns), sets, np.empty(room), np.empty(room, dtype=np.int32)
        )


def _only_poor(population: Population, indicators: Indicators) -> bool:
    return population.known is None and set(indicators.names) <= set(_POOR)


def _figures(
    place: _Place,
    population: Population,
    drawn: ParameterDraws,
    indicators: Indicators,
    keys: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Return the figures of draws that share a scale, shape (L, 1 + groups, K), from welfare of all units."""
    scale = drawn.scales[drawn.node[rows[0]]]
    a, b, floor = linear(scale)
    m = sum(columns.shape[1] for columns in place.columns)
    Y = place.memory[: len(rows) * m].reshape(len(rows), m)
    beta, sigma = b * drawn.coefficients[rows], b * drawn.sigma_e[rows]
    first = 0
    for d, columns in zip(place.areas, place.columns, strict=True):
        n = columns.shape[1]
        shift = a + b * drawn.effects[rows, d]
        _fill(keys[d], rows, beta, columns, shift, sigma, floor, first, np.empty(n), Y)
        first += n
    with np.errstate(over="ignore"):
        Y = back(scale, Y)
    if population.known is not None:
        known = of_areas(population, population.known, np.array(place.areas))
        seen = ~np.isnan(known)
        Y[:, seen] = known[seen]
    out = np.full((len(rows), 1 + population.groups, len(indicators.names)), np.nan)
    for g, chosen, weight in place.sets:
        out[:, g] = indicators.values(Y if chosen is None else Y[:, chosen], weight)
    return out


def _poor_figures(
    place: _Place,
    population: Population,
    drawn: ParameterDraws,
    indicators: Indicators,
    keys: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Return the same of head counts, gaps and severities, from welfare of the poor alone."""
    scale, line = drawn.scales[drawn.node[rows[0]]], indicators.threshold
    a, b, floor = linear(scale)
    sign = 1.0 if b > 0.0 else -1.0  # with λ < 0 the poor lie above
    top = sign * (a + b * float(scale.forward(np.array(line))))
    beta, sigma = sign * b * drawn.coefficients[rows], sign * b * drawn.sigma_e[rows]
    sums, size = np.zeros((len(rows), 1 + population.groups, 3)), np.zeros(1 + population.groups)
    ends = np.empty(len(rows), dtype=np.int64)
    for d, columns in zip(place.areas, place.columns, strict=True):
        n, one = columns.shape[1], np.array([d])
        weight = np.ones(n) if population.weight is None else of_areas(population, population.weight, one)
        group = np.full(n, -1) if population.group is None else of_areas(population, population.group, one)
        shift = sign * (a + b * drawn.effects[rows, d])
        room = np.empty((2, n))
        _poor(keys[d], rows, beta, columns, shift, sigma, top, room, place.memory, place.units, ends)
        y = place.memory[: ends[-1]]
        y *= sign
        y = back(scale, np.maximum(y, floor, out=y))
        _poor_sums(y, place.units, ends, weight, group, line, sums)
        size[0] += weight.sum()
        size[1:] += np.bincount(group[group >= 0], weight[group >= 0], population.groups)
    with np.errstate(invalid="ignore"):
        shares = sums / size[:, None]
    return np.asarray(shares[:, :, [_POOR.index(name) for name in indicators.names]])
