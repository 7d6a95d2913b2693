"""Means over replicates: exact sums, errors as other seeds show them, and when enough are drawn."""

import numpy as np
import pytest

from sae.numerics.inference.tally import GOAL, STAGES, Tally

SIGMAS = 4.5  # of the largest of some hundred errors


def filled(rng, known, scale, replicates, block=70):
    tally, drawn = Tally(known, replicates), []
    for start, stop in tally.blocks(block):
        drawn.append(scale * rng.normal(size=(stop - start, len(known))) ** 2)
        tally.add(drawn[-1])
    return tally, np.concatenate(drawn)


def test_mean_and_error_are_those_of_all_replicates(rng):
    known = np.array([0.0, 1.0, 5.0])
    tally, drawn = filled(rng, known, 0.5, 500)
    assert tally.count == len(drawn) == 500
    np.testing.assert_allclose(tally.mean, known + drawn.mean(axis=0), rtol=1e-12)
    error = drawn.std(axis=0) / np.sqrt(499)
    np.testing.assert_allclose(tally.share, error / tally.mean, rtol=1e-9)
    assert tally.text == f"500 replicates, se to {0.5 * tally.share.max():.1%}"


@pytest.mark.parametrize(("scale", "count"), [(0.0, 200), (0.05, 200), (0.4, 800), (1e6, 6400)])
def test_replicates_are_drawn_until_the_error_is_small(rng, scale, count):
    # of scale s the relative error is sqrt(2 / B) s / (1 + s): 2 % at B = 11, 408 and 5,000 in the mean
    tally, _ = filled(rng, np.ones(100), scale, None)
    assert tally.count == count and count in STAGES
    assert tally.share.max() <= GOAL
    off = (tally.mean - 1.0 - scale) / (tally.share * tally.mean + 1e-300)
    assert scale == 0.0 or np.abs(off).max() < SIGMAS


def test_a_mean_of_nothing_is_certain():
    tally = Tally(np.zeros(2), None)
    for start, stop in tally.blocks(1000):
        tally.add(np.zeros((stop - start, 2)))
    assert tally.count == 200 and not tally.share.any()
