"""Simulated populations: what their numbers depend on, and what adds up."""

import numpy as np
import pytest

from sae.numerics.ebp import simulation
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Population
from sae.numerics.ebp.simulation import evaluate, simulate, welfare
from sae.numerics.ebp.transforms import Scale
from sae.numerics.random.streams import stream_keys
from tests.numerics.ebp.populations import THRESHOLD, parameters, population

ROUNDING = 1e-12

SCALE = Scale("box-cox", 0.4)
WANTED = Indicators(("gini", "quintile_share", "mean", "median"), THRESHOLD)
KEYS = stream_keys(9, "welfare", "ABCD")


def run(people, draws=37, keys=KEYS, **options):
    return simulate(
        people, parameters(SCALE, people.areas), WANTED, Level.of_areas(people.areas), keys, draws, **options
    )


def test_neither_threads_nor_memory_change_a_number(monkeypatch):
    wanted = run(population())
    np.testing.assert_array_equal(run(population(), threads=3), wanted)
    monkeypatch.setattr(simulation, "_TILE", 100)
    np.testing.assert_array_equal(run(population()), wanted)


def test_one_figure_does_not_depend_on_what_stands_beside():
    people, at, wanted = population((90, 70, 7), groups=0), parameters(SCALE, 3), Indicators(("gini",))
    mean, error = simulate(people, at, wanted, Level.of_areas(3), KEYS[:3], 37)
    for d in range(3):
        one = simulate(people, at, wanted, Level(np.where(np.arange(3) == d, 0, 1), 2), KEYS[:3], 37)
        np.testing.assert_array_equal((one[0][0], one[1][0]), (mean[d], error[d]))


def test_an_area_does_not_depend_on_the_others():
    people = population()
    alone = Population(people.X[130:], np.array([0, 7]), people.weight[130:], people.group[130:], 2)
    at = parameters(SCALE, 4)
    one = type(at)(SCALE, at.coefficients, at.sigma2_u, at.sigma2_e, at.effect[3:], at.spread[3:])
    mean, _ = simulate(alone, one, WANTED, Level.of_areas(1), KEYS[3:], 37)
    np.testing.assert_array_equal(mean[0], run(people)[0][3])


def test_more_draws_keep_the_first_ones():
    people, at = population(), parameters(SCALE, 4)
    score, areas = people.scores(at), np.array([0, 2])
    few, many = (welfare(people, at, score, areas, KEYS, 0, draws) for draws in (5, 20))
    np.testing.assert_array_equal(few, many[:5])
    np.testing.assert_array_equal(welfare(people, at, score, areas, KEYS, 16, 20), many[16:])
    assert not np.array_equal(welfare(people, at, score, areas, KEYS, 0, 5, 1), few)


@pytest.mark.parametrize(
    "scale", [SCALE, Scale("dual-power", 0.3, 50.0), Scale("dual-power", 1e-5), Scale("none")]
)
def test_welfare_is_what_the_scale_makes_of_normals(scale):
    people = population(groups=0, weighted=False)
    at = parameters(scale, 4)
    y = welfare(people, at, people.scores(at), np.arange(4), KEYS, 0, 4000)
    t = scale.forward(y) - people.scores(at)
    sd = at.total_sd[0]
    assert t.std() == pytest.approx(sd, rel=0.02)
    assert np.abs(t.mean(axis=0)).max() < 5.0 * sd / np.sqrt(4000)
    inside = np.corrcoef(t[:, 0], t[:, 1])[0, 1]  # one area: they share its effect
    assert inside == pytest.approx((at.spread[0] / sd) ** 2, abs=0.06)
    assert abs(np.corrcoef(t[:, 0], t[:, 50])[0, 1]) < 0.06


def test_groups_and_levels_add_up():
    people, at = population(), parameters(SCALE, 4)
    names = Indicators(("mean", "gap", "median"), THRESHOLD)
    areas, _ = simulate(people, at, names, Level.of_areas(4), KEYS, 20)
    nation, _ = simulate(people, at, names, Level(np.zeros(4, dtype=int), 1), KEYS, 20)
    area = np.repeat(np.arange(4), people.sizes)
    size = np.bincount(2 * area + people.group, people.weight, 8).reshape(4, 2)
    seen = [0, 2, 3]
    total = (size[seen, :, None] * np.nan_to_num(areas[seen, 1:, :2])).sum(axis=(0, 1)) / size.sum()
    np.testing.assert_allclose(nation[0, 0, :2], total, rtol=ROUNDING)
    parts = (size[seen, :, None] * np.nan_to_num(areas[seen, 1:, :2])).sum(axis=1) / size[seen].sum(axis=1)[
        :, None
    ]
    np.testing.assert_allclose(areas[seen, 0, :2], parts, rtol=ROUNDING)


def test_evaluate_is_simulate_of_one():
    people, at = population(), parameters(SCALE, 4)
    y = welfare(people, at, people.scores(at), np.arange(4), KEYS, 0, 1)[0]
    np.testing.assert_allclose(
        evaluate(people, y, WANTED, Level.of_areas(4)), run(people, draws=1)[0], rtol=ROUNDING
    )
