"""The table of errors about points: as the sum over the points."""

from dataclasses import replace

import numpy as np
import pytest

from sae.numerics.ebp.closed_form import expected_about, unit_values
from sae.numerics.ebp.empirical import NORMAL, UnitErrors
from sae.numerics.ebp.mixture_table import MixtureTable
from tests.numerics.ebp.populations import SCALES, THRESHOLD, parameters, population

CUBIC = 2e-7  # pieces a tenth of the least width long
INTEGRAL = 2e-5  # of a gap, by 40 nodes through the tails of the points


def errors():
    rng = np.random.default_rng(3)
    return NORMAL.of_residuals(rng.standard_t(4, size=1500))


def units(at, n=800):
    rng, sigma = np.random.default_rng(1), np.sqrt(at.sigma2_e)
    size = np.exp(rng.uniform(-1.0, 0.7, n))
    score = at.coefficients[0] + sigma * rng.uniform(-3.0, 2.0, n)
    spread = 0.3 * sigma * rng.uniform(0.0, 1.0, n)
    sd = np.sqrt(spread**2 + (at.errors.width * sigma * size) ** 2)
    return score, size, sd


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_as_the_sum_over_points(scale):
    at = replace(parameters(scale, 1), errors=errors())
    score, size, sd = units(at)
    step = np.sqrt(at.sigma2_e) * size
    table = MixtureTable.of(at.errors.points, sd / step)
    top = float(scale.forward(np.array(THRESHOLD)))
    below = table.below((top - score) / step, sd / step)
    np.testing.assert_allclose(
        below, expected_about(at, score, sd, size, "head_count", THRESHOLD), atol=CUBIC
    )
    for power, name in ((1, "gap"), (2, "severity")):
        got = table.short(scale, score, step, sd / step, power, THRESHOLD)
        exact = expected_about(at, score, sd, size, name, THRESHOLD)
        np.testing.assert_allclose(got, exact, atol=INTEGRAL * max(1.0, float(exact.max())))


def test_one_width_for_all():
    at = errors()
    table = MixtureTable.of(at.points, np.full(3, 0.4))
    assert table.below(np.array([-50.0, 0.0, 50.0]), np.full(3, 0.4))[[0, 2]].tolist() == [0.0, 1.0]


def test_units_alike_are_one():
    people = population((50, 0, 80), groups=0)
    twice = replace(
        people,
        X=np.concatenate([people.X[:50], people.X[:50], people.X[50:], people.X[50:]]),
        offsets=np.array([0, 100, 100, 260]),
        weight=np.ones(260),
        linked=np.full(260, -1),
    )
    rows, kind = twice.alike
    assert len(rows) == 130 and twice.knowing(np.ones(3)).alike is twice.alike
    np.testing.assert_array_equal(twice.X[rows][kind], twice.X)
    np.testing.assert_array_equal(rows[kind] < 100, np.arange(260) < 100)  # none of another area
    at = replace(parameters(SCALES[3], 3), errors=UnitErrors.of_sizes(people.X, np.array([0.0, 0.3, 0.1])))
    at = replace(at, errors=at.errors.of_residuals(np.random.default_rng(1).normal(size=300)))
    one, two = (unit_values(p, at, ("mean", "gap"), THRESHOLD) for p in (replace(people, weight=None), twice))
    np.testing.assert_allclose(two[:, :50], one[:, :50], rtol=1e-12)
    np.testing.assert_allclose(two[:, 50:100], one[:, :50], rtol=1e-12)
