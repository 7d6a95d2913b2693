"""Populations simulated from draws of the posterior, reduced to indicators as they are made.

Each draw makes one whole population, which has indicators of its own: their distribution is the posterior
predictive one of the indicators of a finite population. A stream is named by its area and the number of the
draw, so that neither other areas, nor levels, nor threads, nor more draws change a number.

A population is made once for all levels: means over units are added up from areas, and for other indicators
the areas that some level puts together are made together. Where only who is poor counts, and by how much,
only the poor are taken back from the transformed scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sae.numerics.compile import compiled, inlined
from sae.numerics.ebp.indicators import ADDITIVE, Indicators, Parts
from sae.numerics.ebp.population import Level, Population
from sae.numerics.ebp.posterior import ParameterDraws
from sae.numerics.ebp.simulation import back, linear, of_areas, parts_of
from sae.numerics.ebp.threads import spread
from sae.numerics.random.normals import fill_normals, new_stream
from sae.progress import counting

__all__ = ["simulate_draws"]

_TILE = 1 << 16  # values held at a time
_LEAST = 4  # draws held at a time: rows that are sorted with the help of each other
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
def _fill(keys, numbers, beta, columns, bounds, shift, sigma, floor, z, out):
    """Fill `out` with what draws make of the units of areas, a stream per area and draw."""
    p = beta.shape[1]
    for d in range(len(keys)):
        low, high = bounds[d], bounds[d + 1]
        own = columns[p * low : p * high].reshape((p, high - low))
        for r in range(len(numbers)):
            row = out[r, low:high]
            _scores(beta[r], own, row)
            fill_normals(new_stream(keys[d], numbers[r]), z[: high - low])
            for i in range(high - low):
                value = row[i] + (shift[r, d] + sigma[r] * z[i])
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
    levels: Sequence[Level],
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
    levels : sequence of Level
        Whose parts are wanted, and within them the groups of the population.
    keys : ndarray of uint64, shape (D,)
        Of the areas' streams.
    threads : int
        They change no number.

    Returns
    -------
    ndarray, shape (S, M)
        The figures of all levels, each raveled from (level.size, 1 + groups, K): first all units of a part,
        then its groups; nan where there is no unit.
    """
    summed = set(indicators.names) <= set(ADDITIVE)
    wanted = [Level.of_areas(population.areas)] if summed else list(levels)
    width, K = 1 + population.groups, len(indicators.names)
    out = np.full((len(drawn.node), sum(level.size for level in wanted) * width, K), np.nan)
    alike = [np.flatnonzero(drawn.node == k) for k in np.unique(drawn.node)]  # draws that share a scale
    reduce = _poor_figures if _only_poor(population, indicators) else _figures
    together = _together(population, wanted)
    shares = -(-4 * threads // max(len(together), 1)) if threads > 1 else 1
    step_on = counting("Simulated populations", len(drawn.node) * len(together), "draws of areas")

    def run(task: tuple[np.ndarray, int]) -> None:
        areas, share = task
        step = max(_TILE // int(population.units[areas].sum()), _LEAST)
        blocks = [same[start : start + step] for same in alike for start in range(0, len(same), step)]
        place = _Place.of(population, areas, wanted, step)
        for rows in blocks[share::shares]:
            reduce(place, population, drawn, indicators, keys, rows, out)
            step_on(len(rows))

    spread(run, [(areas, share) for areas in together for share in range(shares)], threads)
    if summed:
        return _of_levels(out.reshape(len(out), -1, width, K), population, levels)
    return out.reshape(len(out), -1)


def _together(population: Population, levels: Sequence[Level]) -> list[np.ndarray]:
    """Return areas with units in sets that no part of a level cuts, parts of the coarsest level in turn."""
    areas = np.flatnonzero(population.units)
    ends = np.cumsum([0] + [level.size for level in levels])
    part = np.stack([first + level.part[areas] for first, level in zip(ends[:-1], levels, strict=True)])
    row = np.tile(np.arange(len(areas)), len(part))
    shape = (len(areas) + int(ends[-1]),) * 2
    graph = sparse.csr_array((np.ones(row.size), (row, len(areas) + part.ravel())), shape=shape)
    label = sparse.csgraph.connected_components(graph, directed=False)[1][: len(areas)]
    coarse = sorted(range(len(part)), key=lambda k: -levels[k].size)
    order = np.lexsort([*(part[k] for k in coarse), label])
    return np.split(areas[order], np.flatnonzero(np.diff(label[order])) + 1) if len(areas) else []


def _of_levels(figures: np.ndarray, population: Population, levels: Sequence[Level]) -> np.ndarray:
    """Return means over units of parts, (S, M), from those of areas, (S, D, 1 + groups, K)."""
    S, D, width, K = figures.shape
    same = np.arange(D)
    if len(levels) == 1 and np.array_equal(levels[0].part, same):
        return figures.reshape(S, -1)
    size = population.persons
    out = np.empty((S, sum(level.size for level in levels), width, K))
    first = 0
    for level in levels:
        made = out[:, first : first + level.size]
        if np.array_equal(level.part, same):
            made[:] = figures
        else:
            total = np.zeros((level.size, width))
            np.add.at(total, level.part, size)
            for g in range(width):
                some = np.flatnonzero(size[:, g] > 0.0)  # where nobody is there is no figure
                part = level.part[some]
                share = sparse.csr_array(
                    (size[some, g] / total[part, g], (part, np.arange(len(some)))), (level.size, len(some))
                )
                mean = share @ figures[:, some, g].transpose(1, 0, 2).reshape(len(some), S * K)
                mean[total[:, g] == 0.0] = np.nan
                made[:, :, g] = mean.reshape(level.size, S, K).transpose(1, 0, 2)
        first += level.size
    return out.reshape(S, -1)


@dataclass(frozen=True, eq=False)
class _Place:
    """Some areas together, and room for the welfare of their units in a few draws.

    Attributes
    ----------
    areas : ndarray of int
    bounds : ndarray of int
        Area d of them has the units bounds[d] .. bounds[d + 1].
    columns : ndarray of float, flat
        Columns of the design of the units, area by area: (p, n) each.
    sets : list of (int array, int array or None, Parts)
        Rows of the figures, (P, 1 + groups), and columns and parts of what they are made of, of every level;
        the last may be left sorted.
    memory, units : ndarray of float and int, shape (step m,)
    """

    areas: np.ndarray
    bounds: np.ndarray
    columns: np.ndarray
    sets: list[tuple[np.ndarray, np.ndarray | None, Parts]]
    memory: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, population: Population, areas: np.ndarray, levels: Sequence[Level], step: int) -> _Place:
        """Copy the design of some areas, and make room for `step` draws."""
        columns = [of_areas(population, population.X, d).T.ravel() for d in areas[:, None]]
        bounds = np.concatenate([[0], np.cumsum(population.units[areas])])
        sets, first = [], 0
        for level in levels:
            sets.append(_level_parts(population, areas, level, first))
            first += level.size * (1 + population.groups)
        sets.sort(key=lambda one: one[1] is None)  # what takes all columns as they stand comes last
        room = step * int(bounds[-1])
        return cls(
            areas, bounds, np.concatenate(columns), sets, np.empty(room), np.empty(room, dtype=np.int32)
        )


def _level_parts(
    population: Population, areas: np.ndarray, level: Level, first: int
) -> tuple[np.ndarray, np.ndarray | None, Parts]:
    """Return what one level makes of some areas, whose figures have the rows `first` on."""
    order = np.argsort(level.part[areas], kind="stable")
    parts, starts = np.unique(level.part[areas][order], return_index=True)
    sizes = np.add.reduceat(population.units[areas[order]], starts)
    units = None
    if (np.diff(order) != 1).any():
        bounds = np.concatenate([[0], np.cumsum(population.units[areas])])
        units = np.concatenate([np.arange(bounds[d], bounds[d + 1]) for d in order])
    width = 1 + population.groups
    cells = first + parts[:, None] * width + np.arange(width)
    return cells, units, parts_of(population, areas[order], sizes)


def _only_poor(population: Population, indicators: Indicators) -> bool:
    return population.known is None and set(indicators.names) <= set(_POOR)


def _figures(
    place: _Place,
    population: Population,
    drawn: ParameterDraws,
    indicators: Indicators,
    keys: np.ndarray,
    rows: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill in the figures of draws that share a scale, from welfare of all units."""
    scale, areas, bounds = drawn.scales[drawn.node[rows[0]]], place.areas, place.bounds
    a, b, floor = linear(scale)
    Y = place.memory[: len(rows) * bounds[-1]].reshape(len(rows), bounds[-1])
    beta, sigma, shift = b * drawn.coefficients[rows], b * drawn.sigma_e[rows], drawn.effects[rows][:, areas]
    shift *= b
    shift += a
    room = np.empty(np.diff(bounds).max())
    _fill(keys[areas], rows, beta, place.columns, bounds, shift, sigma, floor, room, Y)
    with np.errstate(over="ignore"):
        Y = back(scale, Y)
    if population.known is not None:
        known = of_areas(population, population.known, areas)
        seen = ~np.isnan(known)
        Y[:, seen] = known[seen]
    for k, (cells, columns, parts) in enumerate(place.sets):
        last = k + 1 == len(place.sets)
        y = np.take(Y, columns, axis=1) if columns is not None else Y if last else Y.copy()
        out[rows[:, None, None], cells] = indicators.of_parts(y, parts)


def _poor_figures(
    place: _Place,
    population: Population,
    drawn: ParameterDraws,
    indicators: Indicators,
    keys: np.ndarray,
    rows: np.ndarray,
    out: np.ndarray,
) -> None:
    """Fill in the same of head counts, gaps and severities of one area, from welfare of the poor alone."""
    scale, line, d = drawn.scales[drawn.node[rows[0]]], indicators.threshold, place.areas[0]
    a, b, floor = linear(scale)
    sign = 1.0 if b > 0.0 else -1.0  # with λ < 0 the poor lie above
    top = sign * (a + b * float(scale.forward(np.array(line))))
    beta, sigma = sign * b * drawn.coefficients[rows], sign * b * drawn.sigma_e[rows]
    width, n, one = 1 + population.groups, int(place.bounds[-1]), place.areas
    sums, size = np.zeros((len(rows), width, 3)), np.zeros(width)
    ends = np.empty(len(rows), dtype=np.int64)
    weight = np.ones(n) if population.weight is None else of_areas(population, population.weight, one)
    group = np.full(n, -1) if population.group is None else of_areas(population, population.group, one)
    shift = sign * (a + b * drawn.effects[rows, d])
    columns = place.columns.reshape(-1, n)
    room = np.empty((2, n))
    _poor(keys[d], rows, beta, columns, shift, sigma, top, room, place.memory, place.units, ends)
    y = place.memory[: ends[-1]]
    y *= sign
    y = back(scale, np.maximum(y, floor, out=y))
    _poor_sums(y, place.units, ends, weight, group, line, sums)
    size[0] = weight.sum()
    size[1:] = np.bincount(group[group >= 0], weight[group >= 0], population.groups)
    with np.errstate(invalid="ignore"):
        shares = sums / size[:, None]
    out[rows, d * width : (d + 1) * width] = shares[:, :, [_POOR.index(name) for name in indicators.names]]
