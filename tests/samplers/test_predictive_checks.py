"""Predictive checks: a model that fits is not called wrong, one that does not is."""

import numpy as np
import pytest

from sae.samplers import Sample
from sae.samplers.checks import predictive_check


def sample(replicated):
    return Sample(np.zeros((len(replicated), 1)), replicated=replicated)


def test_p_values_of_a_right_model_are_uniform(rng):
    found = np.array(
        [
            list(predictive_check(sample(rng.normal(size=(200, 30))), rng.normal(size=30)).p_value.values())
            for _ in range(300)
        ]
    )
    assert np.abs(found.mean(axis=0) - 0.5).max() < 4 * np.sqrt(1 / 12 / 300)
    assert np.abs((found < 0.2).mean(axis=0) - 0.2).max() < 4 * np.sqrt(0.16 / 300)


def test_wrong_tails_and_areas_are_named(rng):
    y = rng.normal(size=50)
    y[[4, 7]] = 9.0, -9.0
    check = predictive_check(sample(rng.normal(size=(1000, 50))), y)
    assert check.p_value["max"] == 0.0 and check.p_value["min"] == 1.0
    assert {4, 7} <= set(check.areas_outside) and check.outside < 0.3
    assert check.observed["max"] == 9.0 and check.high["max"] < 6.0


def test_equal_values_count_half():
    check = predictive_check(sample(np.zeros((10, 4)) + np.arange(4.0)), np.arange(4.0))
    assert set(check.p_value.values()) == {0.5} and check.outside == 0.0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="no replicated"):
        predictive_check(Sample(np.zeros((3, 1))), np.zeros(2))
    with pytest.raises(ValueError, match="3 figures"):
        predictive_check(sample(np.zeros((5, 2))), np.zeros(3))
