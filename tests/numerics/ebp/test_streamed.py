"""Sums of rows that come in blocks: what is drawn has the distribution that the parameters say."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from sae.numerics.ebp.closed_form import additive
from sae.numerics.ebp.empirical import UnitErrors
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.streamed import Block, StreamedPopulation, means, replicate_pairs
from sae.numerics.ebp.transforms import Scale
from sae.numerics.random.streams import stream_keys

ROUNDING = 1e-12
D, N, REPLICATES = 3, 90, 200
MOST = 4.5  # standard errors: 18 comparisons of a fixed seed

INDICATORS = Indicators(("mean", "head_count", "severity"), 1.1)


def rows(seed=1):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(N), rng.normal(size=N)])
    return np.sort(rng.integers(0, D, N)), X, rng.uniform(0.5, 2.0, N)


def streamed(area, X, weight, cuts=(0, 30, 41, N)):
    def blocks(run):
        for start, stop in pairwise(cuts):
            here = area[start:stop]
            starts = np.flatnonzero(np.diff(here, prepend=-1))
            part = Population(X[start:stop], np.append(starts, stop - start), weight[start:stop])
            yield Block(here[starts], part)

    persons = np.bincount(area, weight, D)[:, None]
    return StreamedPopulation(blocks, [(0, N)], np.bincount(area, minlength=D), persons, 0)


def parameters(errors=None):
    beta, effect = np.array([0.2, 0.3]), np.array([-0.1, 0.0, 0.2])
    made = Parameters.of_draw(Scale("log"), beta, 0.1, 0.25, effect)
    return made if errors is None else replace(made, errors=errors)


def test_means_are_those_of_the_population():
    area, X, weight = rows()
    whole = Population(X, np.searchsorted(area, np.arange(D + 1)), weight)
    for level in (Level.of_areas(D), Level(np.array([0, 1, 0]), 2)):
        made = means(streamed(area, X, weight), parameters(), INDICATORS, [level])[0]
        expected = additive(whole, parameters(), INDICATORS.names, INDICATORS.threshold, level)
        np.testing.assert_allclose(made, expected, rtol=ROUNDING)


def test_draws_have_the_distribution_of_the_errors():
    """Predictor less truth has mean 0 and the variance of a weighted mean of independent units."""
    area, X, weight = rows()
    skew = UnitErrors(0.6 * np.array([-1.0, -1.0, 2.0]) / np.sqrt(2.0), 0.8)
    for errors in (None, skew):
        at = parameters(errors)
        keys = stream_keys(1, "test", ["a", "b", "c"])
        levels = [Level.of_areas(D)]
        predicted, true = replicate_pairs(
            streamed(area, X, weight), [at] * REPLICATES, [at] * REPLICATES, INDICATORS, levels, keys, 0
        )
        made = (predicted - true).reshape(REPLICATES, D, 3)
        shape = at.errors
        points = shape.points if len(shape.points) else np.zeros(1)
        rng = np.random.default_rng(3)
        draw = rng.choice(points, (5_000, 1)) + shape.width * rng.normal(size=(5_000, 1))
        for d in range(D):
            score = X[area == d] @ at.coefficients + at.effect[d]
            y = np.exp(score + 0.5 * draw)
            short = np.maximum(1.0 - y / 1.1, 0.0)
            w = weight[area == d] / weight[area == d].sum()
            for k, value in enumerate((y, (y < 1.1) * 1.0, short**2)):
                sd = np.sqrt((w**2 * value.var(axis=0)).sum())
                assert abs(made[:, d, k].mean()) < MOST * sd / np.sqrt(REPLICATES)
                assert abs(made[:, d, k].std() / sd - 1.0) < MOST * np.sqrt(0.5 / REPLICATES) + 0.02


def test_blocks_change_no_draw():
    area, X, weight = rows()
    at = parameters(UnitErrors(np.array([-0.6, 0.6]), 0.8))
    keys = stream_keys(1, "test", ["a", "b", "c"])
    one, two = (
        replicate_pairs(
            streamed(area, X, weight, cuts), [at] * 2, [at] * 2, INDICATORS, [Level.of_areas(D)], keys, 5
        )[1]
        for cuts in ((0, N), (0, 1, 17, 60, N))
    )
    np.testing.assert_allclose(one, two, rtol=1e-9)
    assert not np.allclose(one[0], one[1])
