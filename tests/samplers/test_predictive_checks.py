"""Predictive checks: a model that fits is not called wrong, one that does not is."""

import numpy as np
import pytest
from scipy import sparse

from sae.samplers.chains import other_areas
from sae.samplers.checks import predictive_check

LEVEL = 0.05


def line(size):
    return sparse.csr_array(np.eye(size, k=1) + np.eye(size, k=-1))


def test_p_values_of_a_right_model_are_uniform_and_their_level_holds_together(rng):
    noise, near = rng.random(30), line(30)
    checks = [
        predictive_check(rng.normal(size=(200, 30)), rng.normal(size=30), noise, near) for _ in range(200)
    ]
    found = np.array([list(check.p_value.values()) for check in checks])
    assert found.shape[1] == 5
    assert np.abs(found.mean(axis=0) - 0.5).max() < 4 * np.sqrt(1 / 12 / 200)
    assert np.abs((found < 0.2).mean(axis=0) - 0.2).max() < 4 * np.sqrt(0.16 / 200)
    wrong = np.mean([check.overall < LEVEL for check in checks])
    assert wrong < LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / 200)


def test_the_scale_of_each_figure_is_its_own(rng):
    """Figures with other means and deviations, as other areas have them, change nothing but neighbours'."""
    new, y, noise = rng.normal(size=(300, 40)), rng.normal(size=40), rng.random(40)
    level, scale = 10.0 * rng.normal(size=40), np.exp(rng.normal(size=40))
    plain, moved = (
        predictive_check(new, y, noise),
        predictive_check(level + scale * new, level + scale * y, noise),
    )
    assert plain.observed == pytest.approx(moved.observed, rel=1e-9)
    assert plain.overall == pytest.approx(moved.overall)


def test_wrong_areas_are_named(rng):
    y = rng.normal(size=50)
    y[[4, 7]] = 9.0, -9.0
    check = predictive_check(rng.normal(size=(1000, 50)), y)
    assert check.p_value["tails"] < 0.01 and check.p_value["spread"] < 0.01 and check.overall < 0.01
    assert {4, 7} <= set(check.areas_outside) and check.outside < 0.3
    assert check.observed["tails"] > check.high["tails"] > check.median["tails"] > check.low["tails"]


def test_sizes_that_go_with_the_noise_and_likeness_of_neighbours_are_seen(rng):
    new, noise = rng.normal(size=(1000, 150)), np.exp(rng.uniform(-1.5, 1.5, 150))
    check = predictive_check(new, rng.normal(size=150) * np.sqrt(0.5 + noise), noise)
    assert check.p_value["noise"] < 0.01 and check.observed["noise"] > 0
    walk = np.convolve(rng.normal(size=160), np.ones(11) / np.sqrt(11), "valid")
    near = predictive_check(new, walk, None, line(150))
    assert "noise" not in near.p_value
    assert near.p_value["neighbours"] < 0.01 and near.overall < 0.01


def test_equal_values_are_no_error():
    check = predictive_check(np.zeros((10, 4)) + np.arange(4.0), np.arange(4.0))
    assert set(check.p_value.values()) == {1.0} and check.outside == 0.0 and check.overall == 1.0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="3 figures"):
        predictive_check(np.zeros((5, 2)), np.zeros(3))


def test_the_effect_of_another_area_is_never_the_own_one():
    other = other_areas(7, 500, 1)
    assert (np.sort(other, axis=1) == np.arange(7)).all()
    assert (other != np.arange(7)).all()
    assert np.abs(np.bincount(other[:, 0], minlength=7)[1:] / 500 - 1 / 6).max() < 0.07  # 4 sd
