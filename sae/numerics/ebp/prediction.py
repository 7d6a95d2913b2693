"""The empirical best predictor of indicators: closed forms where there are any, else simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sae.numerics.ebp.closed_form import additive
from sae.numerics.ebp.indicators import ADDITIVE, Indicators
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.simulation import simulate

__all__ = ["predict"]


def predict(
    population: Population,
    parameters: Parameters,
    indicators: Indicators,
    level: Level,
    keys: np.ndarray | None,
    draws: int,
    *,
    block: int = 0,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what indicators are expected to be given the sample.

    Parameters
    ----------
    population : Population
    parameters : Parameters
    indicators : Indicators
    level : Level
    keys : ndarray of uint64, shape (D,), or None
        Of the areas' streams; not needed where all indicators have closed forms.
    draws : int
        Simulated populations, for indicators without a closed form.
    block, threads : int
        As of `simulation.simulate`.

    Returns
    -------
    estimate, error : ndarray, shape (level.size, 1 + groups, K)
        Expected indicators of the parts and of their groups, nan where there is no unit, and their Monte
        Carlo standard errors, 0 of a closed form.

    References
    ----------
    Molina and Rao (2010), Canadian J. Statist. 38, 369–385.
    """
    shape = (level.size, 1 + population.groups, len(indicators.names))
    estimate, error = np.empty(shape), np.zeros(shape)
    closed = [k for k, name in enumerate(indicators.names) if name in ADDITIVE]
    if closed:
        names = tuple(indicators.names[k] for k in closed)
        estimate[:, :, closed] = additive(population, parameters, names, indicators.threshold, level)
    rest = [k for k in range(shape[2]) if k not in closed]
    if rest:
        assert keys is not None
        wanted = replace(indicators, names=tuple(indicators.names[k] for k in rest))
        estimate[:, :, rest], error[:, :, rest] = simulate(
            population, parameters, wanted, level, keys, draws, block=block, threads=threads
        )
    return estimate, error
