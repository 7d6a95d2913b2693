"""Populations larger than the memory: their rows come in blocks and are added up by area as they come.

Sums go on row by row, and so do the streams of the areas from which a replicate of the bootstrap draws the
errors of its population. So neither blocks nor threads change a draw, and with normal errors a replicate's
population is the one that a frame with the same rows has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled
from sae.numerics.ebp.closed_form import weighted
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.simulation import back, linear
from sae.numerics.ebp.threads import spread
from sae.numerics.random.normals import fill_normals, new_stream, normal, uniform
from sae.progress import counting

__all__ = ["Block", "StreamedPopulation", "means", "replicate_pairs", "replicates_at_once"]

_MEMORY = 2.5e8  # bytes of streams and sums that go through a pass


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that follow each other, sorted by area.

    Attributes
    ----------
    areas : ndarray of int, shape (A,)
        Those that have a row here, rising.
    population : Population
        Their rows, the areas in this order; rows of an area in the order in which they came.
    """

    areas: np.ndarray
    population: Population

    def cells(self) -> np.ndarray:
        """Return area and group of every row as one number, shape (n,)."""
        part = self.population
        area = np.repeat(self.areas, part.sizes)
        return area if part.group is None else area * part.groups + part.group


@dataclass(frozen=True, eq=False)
class StreamedPopulation:
    """Units of D areas that are read anew whenever they are wanted.

    Attributes
    ----------
    blocks : callable
        From a run of `runs` to an iterator of `Block`.
    runs : sequence of (int, int)
        Which rows may be read apart, in the order of the rows.
    units : ndarray of int, shape (D,)
        Rows of each area.
    persons : ndarray of float, shape (D, 1 + groups)
        What the rows of each area count for: all of them, and those of each group.
    groups : int
    """

    blocks: Callable[[tuple[int, int]], Iterator[Block]]
    runs: Sequence[tuple[int, int]]
    units: np.ndarray
    persons: np.ndarray
    groups: int

    @property
    def areas(self) -> int:
        """Number of areas."""
        return len(self.units)

    @property
    def unit_offsets(self) -> np.ndarray:
        """Rows of the areas before each, shape (D + 1,)."""
        return np.concatenate([[0], np.cumsum(self.units)])

    def figures(self, sums: np.ndarray, levels: Sequence[Level]) -> list[np.ndarray]:
        """Return means of the parts of levels and of their groups from sums of area and group.

        Parameters
        ----------
        sums : ndarray, shape (D * max(groups, 1), K)
        levels : sequence of Level

        Returns
        -------
        list of ndarray, shape (level.size, 1 + groups, K)
        """
        of_group = sums.reshape(self.areas, -1, sums.shape[1])
        whole = of_group.sum(axis=1, keepdims=True)
        totals = np.concatenate([whole, of_group], axis=1) if self.groups else whole
        out = []
        for level in levels:
            total = np.zeros((level.size, *totals.shape[1:]))
            persons = np.zeros(total.shape[:2])
            np.add.at(total, level.part, totals)
            np.add.at(persons, level.part, self.persons)
            with np.errstate(invalid="ignore", divide="ignore"):
                out.append(total / persons[:, :, None])
        return out


def means(
    population: StreamedPopulation,
    parameters: Parameters,
    indicators: Indicators,
    levels: Sequence[Level],
    threads: int = 1,
) -> list[np.ndarray]:
    """Return expected indicators of the parts of levels and of their groups, in one pass.

    Parameters
    ----------
    population : StreamedPopulation
    parameters : Parameters
    indicators : Indicators
        Of `ADDITIVE` alone.
    levels : sequence of Level
    threads : int
        They change no number.

    Returns
    -------
    list of ndarray, shape (level.size, 1 + groups, K)
        As of `closed_form.additive`, one for each level.
    """
    step = counting("Prediction", int(population.units.sum()), "rows")

    def run(rows: tuple[int, int]) -> np.ndarray:
        sums = _sums(population, len(indicators.names))
        for block in population.blocks(rows):
            _add_expected(block, parameters, indicators.names, indicators.threshold, sums)
            step(len(block.population.X))
        return sums

    parts = spread(run, population.runs, min(threads, len(population.runs)))
    return population.figures(np.add.accumulate(parts)[-1], levels)


def replicates_at_once(population: StreamedPopulation, indicators: Indicators) -> int:
    """Return how many replicates go through a pass together."""
    cells = population.areas * max(population.groups, 1)
    size = 32 * population.areas + 8 * cells * (len(ADDITIVE) + len(indicators.names))
    return max(1, int(_MEMORY // size))


def replicate_pairs(
    population: StreamedPopulation,
    truths: Sequence[Parameters],
    fits: Sequence[Parameters],
    indicators: Indicators,
    levels: Sequence[Level],
    keys: np.ndarray,
    first: int,
    threads: int = 1,
    step: Callable[[int], None] = lambda rows: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return predictor and truth of replicates in one pass: each draws its population as it reads it.

    Parameters
    ----------
    population : StreamedPopulation
    truths : sequence of Parameters, length R
        With the effects of the replicates.
    fits : sequence of Parameters, length R
        Of their samples.
    indicators : Indicators
        Of `ADDITIVE` alone.
    levels : sequence of Level
    keys : ndarray of uint64, shape (D,)
        Of the areas' streams.
    first : int
        Number of the first replicate: the block of its streams.
    threads : int
        They change no number.
    step : callable
        Is told how many rows were read.

    Returns
    -------
    predicted, true : ndarray, shape (R, M)
        The figures of all levels, each raveled as of `predict`.
    """
    R, names, line = len(fits), indicators.names, indicators.threshold
    states = np.empty((R, population.areas, 4), np.uint64)
    _start(keys, first, states)
    true = [_sums(population, len(ADDITIVE)) for _ in range(R)]
    made = [_sums(population, len(names)) for _ in range(R)]

    def run(task: tuple[int, Block]) -> None:
        r, block = task
        _add_expected(block, fits[r], names, line, made[r])
        _add_drawn(block, truths[r], line, states[r], true[r])

    for rows in population.runs:
        for block in population.blocks(rows):
            spread(run, ((r, block) for r in range(R)), threads)
            step(len(block.population.X))
    columns = [ADDITIVE.index(name) for name in names]

    def flat(sums: np.ndarray) -> np.ndarray:
        return np.concatenate([part.ravel() for part in population.figures(sums, levels)])

    return np.stack([flat(sums) for sums in made]), np.stack([flat(sums[:, columns]) for sums in true])


def _sums(population: StreamedPopulation, columns: int) -> np.ndarray:
    return np.zeros((population.areas * max(population.groups, 1), columns))


def _add_expected(
    block: Block, parameters: Parameters, names: tuple[str, ...], threshold: float, sums: np.ndarray
) -> None:
    values = weighted(block.population, parameters.of_areas(block.areas), names, threshold)
    _add(block.cells(), values, sums)


def _add_drawn(
    block: Block, truth: Parameters, threshold: float, states: np.ndarray, sums: np.ndarray
) -> None:
    """Draw the welfare of a block and add its mean, head count, gap and severity up."""
    part, own = block.population, truth.of_areas(block.areas)
    a, b, floor = linear(own.scale)
    centre = part.scores(own)
    centre *= b
    centre += a
    sigma, errors = b * np.sqrt(own.sigma2_v + own.sigma2_e), own.errors
    shape = errors.points, errors.width, errors.sizes(part.X)
    _draw(states, block.areas, part.offsets, centre, sigma, *shape, floor)
    with np.errstate(over="ignore"):
        y = back(own.scale, centre)
    weight = np.ones(0) if part.weight is None else part.weight
    _add_welfare(block.cells(), y, weight, threshold, sums)


@compiled
def _start(keys, first, states):
    """Begin the stream of every replicate and area behind the draw that a frame has for its effect."""
    for r in range(states.shape[0]):
        for d in range(states.shape[1]):
            state = new_stream(keys[d], first + r)
            normal(state)
            states[r, d] = state


@compiled
def _draw(states, areas, offsets, centre, sigma, points, width, sizes, floor):
    """Add errors to the centres of rows, area by area, each from where its stream stands."""
    for k in range(len(areas)):
        state, row = states[areas[k]], centre[offsets[k] : offsets[k + 1]]
        error = np.empty(len(row))
        if len(points):  # row by row, so that blocks do not matter
            for i in range(len(row)):
                error[i] = width * normal(state)
                error[i] += points[np.int64(uniform(state) * len(points))]
        else:
            fill_normals(state, error)
        for i in range(len(row)):
            size = sizes[offsets[k] + i] if len(sizes) else 1.0
            value = row[i] + sigma * (size * error[i])
            row[i] = value if value > floor else floor


@compiled
def _add(cells, values, sums):
    for k in range(len(values)):
        for i in range(len(cells)):
            sums[cells[i], k] += values[k, i]


@compiled
def _add_welfare(cells, y, weight, threshold, sums):
    """Add welfare, whether it is below the threshold, and what lacks of it, to the sums of their cells."""
    for i in range(len(cells)):
        w = weight[i] if len(weight) else 1.0
        short = max(1.0 - y[i] / threshold, 0.0)  # 0 of infinite welfare too
        row = sums[cells[i]]
        row[0] += w * y[i]
        row[1] += w if y[i] < threshold else 0.0
        row[2] += w * short
        row[3] += w * short * short
