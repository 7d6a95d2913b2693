"""Means of a simulated population, area by area: those of all its welfare."""

import numpy as np

from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.simulation import evaluate, welfare
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.truth import simulated_means
from sae.numerics.random.streams import stream_keys

ROUNDING = 1e-12  # sums in another order


def test_means_are_those_of_all_welfare():
    rng = np.random.default_rng(5)
    count = rng.integers(1, 40, size=30)
    population = Population(
        np.column_stack([np.ones(30), rng.normal(size=30)]),
        np.array([0, 12, 12, 30]),
        rng.integers(1, 4, size=30).astype(float),
        rng.integers(0, 2, size=30),
        2,
        count=count,
    )
    truth = Parameters.of_draw(Scale("log"), np.array([9.0, 0.3]), 0.04, 0.2, rng.normal(0.0, 0.2, size=3))
    indicators = Indicators(("mean", "gap"), threshold=8_000.0)
    levels = [Level.of_areas(3), Level(np.zeros(3, dtype=int), 1)]
    keys = stream_keys(1, "population", ["A", "B", "C"])
    y = welfare(population, truth, population.scores(truth), np.arange(3), keys, 0, 1, 4)[0]
    assert len(y) == count.sum() == population.units.sum()
    found = simulated_means(population, truth, indicators, levels, keys, 4)
    for level, figures in zip(levels, found, strict=True):
        np.testing.assert_allclose(figures, evaluate(population, y, indicators, level), rtol=ROUNDING)
