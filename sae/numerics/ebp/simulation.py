"""Welfare of a population simulated from one fit or one draw, reduced to indicators as it is made.

The stream of an area is named by its key and the number of a block of draws, so that the numbers depend
neither on the other areas, nor on how many draws are held at a time, nor on threads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sae.numerics.compile import compiled
from sae.numerics.ebp.clusters import ClusterEffects, fill_clusters
from sae.numerics.ebp.empirical import UnitErrors, mix
from sae.numerics.ebp.indicators import Indicators, Parts
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.power import raise_all
from sae.numerics.ebp.threads import spread
from sae.numerics.ebp.transforms import Scale
from sae.numerics.random.normals import fill_normals, new_stream, normal

__all__ = ["DRAW_BLOCK", "back", "evaluate", "linear", "of_areas", "parts_of", "simulate", "welfare"]

DRAW_BLOCK = 8  # draws to a stream: part of what a seed means
_TILE = 1 << 19  # values held at a time: more calls cost more than memory that is further away
_SMALLEST = 1e-300  # of 1 + λ t: what Box–Cox does not reach becomes its end
_NEAR = 1e-3  # |λ| below which the powers are taken as `Scale` does, slowly


@compiled
def _fill(keys, bounds, block, centre, spread, sigma, points, width, sizes, floor, out, start, stop):
    """Fill the rows of draws start .. stop, area by area; start is the first of a block."""
    for area in range(len(keys)):
        low, high = bounds[area], bounds[area + 1]
        middle = centre[low:high]
        for first in range(start, stop, DRAW_BLOCK):
            state = new_stream(keys[area], block + first // DRAW_BLOCK)
            for draw in range(first, min(first + DRAW_BLOCK, stop)):
                row = out[draw - start, low:high]
                shared = spread[area] * normal(state)
                fill_normals(state, row)
                mix(state, row, points, width, sizes[low:high])
                for i in range(len(row)):
                    value = middle[i] + (shared + sigma * row[i])
                    row[i] = value if value > floor else floor


def linear(scale: Scale) -> tuple[float, float, float]:
    """Return a, b and a floor: what is drawn is max(a + b t, floor), from which `back` has less to do."""
    if scale.name == "box-cox" and abs(scale.parameter) >= _NEAR:
        top = (scale.top + scale.shift) ** scale.parameter if scale.topped else _SMALLEST
        return 1.0, scale.parameter, top
    if scale.name == "dual-power" and abs(scale.parameter) >= _NEAR:
        return 0.0, scale.parameter, -np.inf
    return 0.0, 1.0, -np.inf


def back(scale: Scale, Y: np.ndarray) -> np.ndarray:
    """Turn what `linear` says is drawn into welfare, in place where that is quick."""
    power = abs(scale.parameter) >= _NEAR
    if scale.name == "box-cox" and power:
        return raise_all(Y, 1.0 / scale.parameter, scale.shift)
    if scale.name == "dual-power" and power:
        size = np.abs(Y)
        np.copysign(np.log(np.sqrt(size * size + 1.0) + size), Y, out=Y)
    elif scale.name == "none":
        return Y
    elif scale.name in ("log", "log-shift"):
        np.exp(Y, out=Y)
        return np.subtract(Y, scale.parameter if scale.name == "log-shift" else scale.shift, out=Y)
    else:
        return scale.inverse(Y)
    Y *= 1.0 / scale.parameter
    np.exp(Y, out=Y)
    if scale.shift:
        Y -= scale.shift
    return Y


def welfare(
    population: Population,
    parameters: Parameters,
    score: np.ndarray,
    areas: np.ndarray,
    keys: np.ndarray,
    start: int,
    stop: int,
    block: int = 0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return welfare of the units of some areas in draws start .. stop.

    Parameters
    ----------
    population : Population
    parameters : Parameters
    score : ndarray, shape (N,)
        Of `Population.scores`.
    areas : ndarray of int, shape (A,)
    keys : ndarray of uint64, shape (D,)
        Of `streams.stream_keys`, by the names of the areas.
    start, stop : int
        `start` is a multiple of `DRAW_BLOCK`.
    block : int
        First block of the streams: replicates of one seed are apart in it.
    out : ndarray of float, optional
        Memory for the values, flat.

    Returns
    -------
    ndarray, shape (stop - start, n)
        Units in the order of `areas` and of the population.
    """
    scale = parameters.scale
    a, b, floor = linear(scale)
    bounds = _bounds(population.units[areas])
    shape = (stop - start, int(bounds[-1]))
    out = np.empty(shape) if out is None else out[: shape[0] * shape[1]].reshape(shape)
    centre = of_areas(population, score, areas)
    centre *= b
    centre += a
    spread, sigma = b * parameters.spread[areas], b * np.sqrt(parameters.sigma2_e)
    errors, effects = parameters.errors, parameters.clusters
    sizes = _error_sizes(population, errors, areas)
    shape_of = errors.points, errors.width, sizes
    normal_alone = population.clusters is None and not len(errors.points) and not len(sizes)
    if effects is None or normal_alone:
        sigma = b * np.sqrt(parameters.sigma2_v + parameters.sigma2_e)
        _fill(keys[areas], bounds, block, centre, spread, sigma, *shape_of, floor, out, start, stop)
    else:
        first, ends, pull, sd = _cluster_terms(population, effects, areas, bounds)
        own = spread, sigma, first, ends, pull, b * sd
        fill_clusters(keys[areas], bounds, block, DRAW_BLOCK, centre, *own, *shape_of, floor, out, start)
    with np.errstate(over="ignore"):
        out = back(scale, out)
    if population.known is not None:
        known = of_areas(population, population.known, areas)
        seen = ~np.isnan(known)
        out[:, seen] = known[seen]
    return out


def simulate(
    population: Population,
    parameters: Parameters,
    indicators: Indicators,
    level: Level,
    keys: np.ndarray,
    draws: int,
    *,
    block: int = 0,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of indicators over simulated populations, and their Monte Carlo standard errors.

    Parameters
    ----------
    population : Population
    parameters : Parameters
    indicators : Indicators
    level : Level
        Whose parts are wanted, and within them the groups of the population.
    keys : ndarray of uint64, shape (D,)
    draws : int
    block : int
        As of `welfare`.
    threads : int
        They change no number.

    Returns
    -------
    mean, error : ndarray, shape (level.size, 1 + groups, K)
        First all units of a part, then its groups; nan where there is no unit.
    """
    score = population.scores(parameters)
    shape = (level.size, 1 + population.groups, len(indicators.names))
    mean, error = np.full(shape, np.nan), np.full(shape, np.nan)
    order = np.argsort(level.part, kind="stable")
    bounds = np.searchsorted(level.part[order], np.arange(level.size + 1))

    sizes = np.bincount(level.part, population.units, level.size).astype(np.int64)

    def run(parts: np.ndarray) -> None:
        memory = np.empty((2, 0))
        for batch in _batches(parts, sizes, _TILE // draws):
            areas = np.concatenate([order[bounds[part] : bounds[part + 1]] for part in batch])
            m = int(sizes[batch].sum())
            wanted = parts_of(population, areas, sizes[batch])
            step = draws if draws * m <= _TILE else min(max(_TILE // m // DRAW_BLOCK, 1) * DRAW_BLOCK, draws)
            if memory.shape[1] < step * m:
                memory = np.empty((2, step * m))
            values = np.empty((draws, len(batch), *shape[1:]))
            for start in range(0, draws, step):
                stop = min(start + step, draws)
                Y = welfare(population, parameters, score, areas, keys, start, stop, block, memory[0])
                values[start:stop] = indicators.of_parts(Y, wanted, memory[1])
            average = _sum(values) / draws
            mean[batch] = average
            if draws > 1:
                values -= average
                values *= values
                error[batch] = np.sqrt(_sum(values) / (draws * (draws - 1.0)))

    spread(run, np.array_split(np.arange(level.size), 4 * threads if threads > 1 else 1), threads)
    return mean, error


def evaluate(population: Population, y: np.ndarray, indicators: Indicators, level: Level) -> np.ndarray:
    """Return the indicators of one population whose welfare, (N,), is known.

    Returns
    -------
    ndarray, shape (level.size, 1 + groups, K)
        As of `simulate`.
    """
    out = np.full((level.size, 1 + population.groups, len(indicators.names)), np.nan)
    order = np.argsort(level.part, kind="stable")
    bounds = np.searchsorted(level.part[order], np.arange(level.size + 1))
    sizes = np.bincount(level.part, population.units, level.size).astype(np.int64)
    for batch in _batches(np.arange(level.size), sizes, _TILE):
        areas = np.concatenate([order[bounds[part] : bounds[part + 1]] for part in batch])
        Y = _of_units(population.unit_offsets, y, areas)[None, :]
        out[batch] = indicators.of_parts(Y, parts_of(population, areas, sizes[batch]))[0]
    return out


def _batches(parts: np.ndarray, sizes: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Put parts that follow each other together up to `most` units; those without units are left out."""
    parts = parts[sizes[parts] > 0]
    start, held = 0, 0
    for stop, size in enumerate(sizes[parts].tolist()):
        if held + size > most and stop > start:
            yield parts[start:stop]
            start, held = stop, 0
        held += size
    if start < len(parts):
        yield parts[start:]


def parts_of(population: Population, areas: np.ndarray, sizes: np.ndarray) -> Parts:
    """Return the parts that some areas make.

    Parameters
    ----------
    areas : ndarray of int
        Those of one part after those of the other.
    sizes : ndarray of int, shape (P,)
        Units of the parts.
    """
    weight = None if population.weight is None else of_areas(population, population.weight, areas)
    group = None if population.group is None else of_areas(population, population.group, areas)
    return Parts(_bounds(sizes), weight, group, population.groups)


def _bounds(sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)])


def _sum(values: np.ndarray) -> np.ndarray:
    """Add up draws one after the other: `sum` does so or not by the shape of what stands beside."""
    return np.add.accumulate(values)[-1]


def of_areas(population: Population, values: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Return for each unit of some areas what `values` says of its row, a copy."""
    of_rows = _of_units(population.offsets, values, areas)
    if population.count is None:
        return of_rows
    return np.repeat(of_rows, _of_units(population.offsets, population.count, areas), axis=0)


def _of_units(offsets: np.ndarray, values: np.ndarray, areas: np.ndarray) -> np.ndarray:
    return np.concatenate([values[offsets[d] : offsets[d + 1]] for d in areas])


def _cluster_terms(
    population: Population, effects: ClusterEffects, areas: np.ndarray, bounds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return of the clusters of some areas where those of each begin, their last units, pulls and sds."""
    clusters = population.clusters
    if clusters is None:  # of one unit each
        alone = np.arange(1, bounds[-1] + 1)
        return bounds, alone, np.zeros(len(alone)), np.full(len(alone), np.sqrt(effects.variance))
    chosen = clusters.of_areas(areas)
    units = clusters.sizes
    if population.count is not None:
        units = np.add.reduceat(population.count, clusters.offsets[:-1])
    _, pull, sd = effects.of(clusters)
    first = _bounds(np.diff(clusters.first)[areas])
    return first, np.cumsum(units[chosen]), pull[chosen], sd[chosen]


def _error_sizes(population: Population, errors: UnitErrors, areas: np.ndarray) -> np.ndarray:
    """Return the sizes of the errors of the units of some areas; empty where all are 1."""
    if errors.alpha is None:
        return np.zeros(0)
    return errors.sizes(of_areas(population, population.X, areas))
