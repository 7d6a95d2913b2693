"""Means over a simulated population that is too large to be held: made and added up area by area."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.simulation import parts_of, welfare

__all__ = ["simulated_means"]


def simulated_means(
    population: Population,
    parameters: Parameters,
    indicators: Indicators,
    levels: Sequence[Level],
    keys: np.ndarray,
    replicate: int,
) -> list[np.ndarray]:
    """Return additive indicators of one simulated population, the same as `evaluate` has of all its welfare.

    Parameters
    ----------
    population : Population
    parameters : Parameters
        With the effects of the replicate.
    indicators : Indicators
        Of `ADDITIVE` alone.
    levels : sequence of Level
    keys : ndarray of uint64, shape (D,)
    replicate : int
        Block of the streams.

    Returns
    -------
    list of ndarray, shape (level.size, 1 + groups, K)
        One for each level; nan where there is no unit.
    """
    score = population.scores(parameters)
    size = population.persons
    total = np.zeros((*size.shape, len(indicators.names)))
    for area in np.flatnonzero(population.units).tolist():
        one = np.array([area])
        Y = welfare(population, parameters, score, one, keys, 0, 1, replicate)
        figures = indicators.of_parts(Y, parts_of(population, one, population.units[one]))[0, 0]
        some = size[area] > 0.0
        total[area, some] = size[area, some, None] * figures[some]
    out = []
    for level in levels:
        sums, sizes = np.zeros((level.size, *total.shape[1:])), np.zeros((level.size, size.shape[1]))
        np.add.at(sums, level.part, total)
        np.add.at(sizes, level.part, size)
        with np.errstate(invalid="ignore", divide="ignore"):
            out.append(sums / sizes[:, :, None])
    return out
