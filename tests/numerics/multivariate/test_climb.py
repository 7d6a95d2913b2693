"""Lanes of a climb: what each would find alone, scores as differences, sums as dense algebra."""

import numpy as np
import pytest

from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.climb import Designs, ascend, evaluate
from sae.numerics.multivariate.covariances import STRUCTURES, starts

ALONE = 1e-7  # lanes stop at an expected gain of 1e-18: parameters to some 1e-9
SLOPE = 1e-5  # central differences with steps of 1e-5


@pytest.fixture
def case(rng):
    D, R = 25, 3
    X = np.zeros((D, R, 5))
    X[:, [0, 1, 2], [0, 2, 4]] = 1.0
    X[:, 0, 1], X[:, 1, 3] = rng.normal(size=(2, D))
    noise = 0.4 * rng.normal(size=(D, R, R))
    psi = noise @ np.swapaxes(noise, 1, 2) + 0.2 * np.eye(R)
    y = rng.normal(size=(D, R)) + rng.normal(size=(D, 1))
    y[0, 1] = y[4, 0] = np.nan
    y[7] = np.nan
    return BlockAreas(y, X, psi)


@pytest.mark.parametrize("name", list(STRUCTURES))
@pytest.mark.parametrize("reml", [True, False])
def test_score_is_the_slope_of_the_value(case, name, reml):
    outcome, designs = case.arrays.y.T[:, :, None], Designs(case)
    theta = np.array(starts(name, 3, np.array([0.4, 0.6, 0.8]))[-1:]) + 0.05
    point = evaluate(designs, outcome, name, theta, reml)
    for k in range(theta.shape[1]):
        step = 1e-5 * np.eye(theta.shape[1])[k]
        values = evaluate(designs, outcome, name, np.concatenate([theta + step, theta - step]), reml).value
        assert point.score[0, k] == pytest.approx((values[0] - values[1]) / 2e-5, abs=SLOPE)


def test_lanes_with_outcomes_of_their_own_climb_as_they_would_alone(case, rng):
    designs, seen = Designs(case), case.seen.T[:, :, None]
    outcomes = (case.arrays.y.T[:, :, None] + 0.3 * rng.normal(size=(3, 25, 6))) * seen
    start = np.array(starts("unstructured", 3, np.array([0.4, 0.6, 0.8]))[:1])
    theta, point = ascend(designs, outcomes, "unstructured", np.repeat(start, 6, axis=0), True, 1e-18)
    for k in range(6):
        own, alone = ascend(designs, outcomes[..., k : k + 1], "unstructured", start, True, 1e-18)
        assert point.value[k] == pytest.approx(alone.value[0], abs=1e-10)
        both = [STRUCTURES["unstructured"](at, 3)[0] for at in (theta[k], own[0])]
        np.testing.assert_allclose(both[0], both[1], atol=ALONE)


def test_a_covariance_that_is_not_positive_definite_has_no_likelihood(case):
    theta = np.array([[0.5, 0.5, 0.5], [-3.0, 0.5, 0.5]])
    point = evaluate(Designs(case), case.arrays.y.T[:, :, None], "diagonal", theta, True)
    assert np.isfinite(point.value[0]) and point.value[1] == -np.inf
