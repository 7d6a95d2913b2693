"""Transformations of welfare: round trips, slopes, and what lies outside their range."""

import numpy as np
import pytest

from sae.numerics.ebp.transforms import NAMES, Scale, forward, inverse, log_slope

ROUND_TRIP = 1e-9  # exp and ln of welfare up to 1e6, λ up to 2
SLOPE = 1e-6  # central differences

Y = np.array([3.0, 40.0, 900.0, 20_000.0, 3e5])
SCALES = [
    ("none", 0.0),
    ("log", 0.0),
    ("log-shift", 250.0),
    *(("box-cox", power) for power in (-0.3, 0.0, 1e-5, 0.3, 1.0, 2.0)),
    *(("dual-power", power) for power in (0.0, 1e-5, 0.3, 1.5)),
]


@pytest.mark.parametrize(("name", "parameter"), SCALES)
def test_there_and_back(name, parameter):
    np.testing.assert_allclose(inverse(name, forward(name, Y, parameter), parameter), Y, rtol=ROUND_TRIP)


@pytest.mark.parametrize(("name", "parameter"), SCALES)
def test_log_slope_is_that_of_differences(name, parameter):
    step = 1e-4 * Y
    rise = (forward(name, Y + step, parameter) - forward(name, Y - step, parameter)) / (2 * step)
    np.testing.assert_allclose(np.exp(log_slope(name, Y, parameter)), rise, rtol=SLOPE)


def test_powers_are_logarithms_near_zero():
    for name in ("box-cox", "dual-power"):
        np.testing.assert_allclose(forward(name, Y, 1e-9), np.log(Y), rtol=1e-7)


def test_parameters_broadcast_over_replicates():
    both = forward("box-cox", Y, np.array([[0.2], [1.0]]))
    np.testing.assert_allclose(both[1], Y - 1.0)
    np.testing.assert_allclose(both[0], forward("box-cox", Y, 0.2))


def test_a_fixed_shift_is_added_before():
    scale = Scale("box-cox", 0.4, 100.0)
    np.testing.assert_allclose(scale.forward(Y), forward("box-cox", Y + 100.0, 0.4))
    assert scale.forward(np.array([-100.0]))[0] == -np.inf
    np.testing.assert_allclose(scale.inverse(scale.forward(Y)), Y, rtol=ROUND_TRIP)


def test_what_box_cox_does_not_reach():
    assert Scale("box-cox", 0.5).ends == (-2.0, np.inf)
    assert Scale("box-cox", -0.5).ends == (-np.inf, 2.0)
    assert Scale("box-cox", 0.5).inverse(np.array([-5.0]))[0] == 0.0
    assert Scale("box-cox", -0.5).inverse(np.array([5.0]))[0] == np.inf
    assert all(Scale(name).ends == (-np.inf, np.inf) for name in NAMES)
