"""Closed forms against brute-force integrals and simulated populations."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from sae.numerics.ebp.closed_form import additive, expected, share_at_top
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level
from sae.numerics.ebp.prediction import predict
from sae.numerics.ebp.simulation import simulate
from sae.numerics.ebp.transforms import Scale
from sae.numerics.random.streams import stream_keys
from tests.numerics.ebp.populations import SCALES, THRESHOLD, parameters, population

EXACT = 1e-10  # of the threshold or the mean: what the quadrature promises
SIGMAS = 4.5  # of about 100 figures

NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)
NAMES = ("mean", "head_count", "gap", "severity")


def integral(scale, score, sd, name):
    """200 Gauss–Legendre nodes on each standard deviation, which no kink divides."""
    ends = [(end - score) / sd for end in scale.ends]
    line = float((scale.forward(np.array(THRESHOLD)) - score) / sd)
    cuts = sorted({*np.arange(-9.0, 10.0), *np.clip([line, *ends], -9.0, 9.0)})
    total = 0.0
    for low, high in pairwise(cuts):
        x = low + (high - low) * 0.5 * (NODES + 1.0)
        y = scale.inverse(score + sd * x)
        k = (
            y
            if name == "mean"
            else np.where(x < line, 1.0 - y / THRESHOLD, 0.0) ** {"gap": 1, "severity": 2}[name]
        )
        total += 0.5 * (high - low) * (WEIGHTS * k * np.exp(-0.5 * x * x)).sum() / np.sqrt(2.0 * np.pi)
    return total


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("name", ["mean", "gap", "severity"])
def test_as_integrals(scale, name):
    at = parameters(scale, 1)
    unit = np.sqrt(at.sigma2_e)
    score = at.coefficients[0] + unit * np.linspace(-2.5, 2.5, 6)
    got = expected(scale, score, unit, name, THRESHOLD)
    wanted = [integral(scale, s, unit, name) for s in score]
    np.testing.assert_allclose(got, wanted, rtol=EXACT, atol=EXACT)


def test_box_cox_where_part_of_the_normal_is_not_reached():
    scale = Scale("box-cox", 0.5)  # from -2 up: welfare 0 is 2 standard deviations below the score
    got = expected(scale, np.array([18.0]), 10.0, "head_count", 400.0)
    assert got[0] == pytest.approx(0.9772498680518208)  # Φ(2): the threshold is 38 there
    rng = np.random.default_rng(1)
    y = scale.inverse(18.0 + 10.0 * rng.normal(size=10**6))
    for name, k in (("mean", y), ("gap", np.maximum(1.0 - y / 400.0, 0.0))):
        got = expected(scale, np.array([18.0]), 10.0, name, 400.0)[0]
        assert abs(got - k.mean()) < SIGMAS * k.std() / 1e3


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_as_simulated(scale, weighted):
    people = population(weighted=weighted)
    at, level = parameters(scale, people.areas), Level(np.array([0, 0, 0, 1]), 2)
    exact = additive(people, at, NAMES, THRESHOLD, level)
    keys = stream_keys(3, "welfare", "ABCD")
    mean, error = simulate(people, at, Indicators(NAMES, THRESHOLD), level, keys, 600)
    np.testing.assert_array_equal(np.isnan(mean), np.isnan(exact))  # a group that has nobody in a part
    z = ((mean - exact) / error)[~np.isnan(exact)]
    assert np.abs(z).max() < SIGMAS
    assert 0.5 < z.std() < 1.6


def test_known_welfare_is_not_predicted():
    people = population(groups=0)
    y = np.full(137, np.nan)
    y[:40], y[100] = 5_000.0, 30_000.0
    known = type(people)(people.X, people.offsets, people.weight, known=y)
    at = parameters(Scale("log"), 4)
    exact = additive(known, at, NAMES, THRESHOLD, Level.of_areas(4))
    short = 1.0 - 5_000.0 / THRESHOLD
    np.testing.assert_allclose(exact[0, 0], [5_000.0, 1.0, short, short**2])
    assert np.isnan(exact[1]).all()
    keys = stream_keys(3, "welfare", "ABCD")
    mean, error = simulate(known, at, Indicators(NAMES, THRESHOLD), Level.of_areas(4), keys, 400)
    assert np.abs((mean - exact)[2:] / error[2:]).max() < SIGMAS
    assert error[0].max() < 1e-9


def test_share_beyond_the_top():
    people, scale = population(), Scale("box-cox", -0.15, 0.0, 40_000.0)
    at = parameters(scale, 4)
    z = (scale.ends[1] - people.scores(at)) / np.repeat(at.total_sd, people.sizes)
    wanted = people.weight @ norm.sf(z) / people.weight.sum()
    assert 1e-3 < wanted < 0.1
    assert share_at_top(people, at) == pytest.approx(wanted, rel=EXACT)
    assert share_at_top(people, parameters(Scale("box-cox", -0.15), 4)) == 0.0
    assert share_at_top(people, parameters(Scale("box-cox", 0.4, 0.0, 40_000.0), 4)) == 0.0


@pytest.mark.parametrize("deviation", [0.5, 1.0, 2.0])
def test_the_mean_below_a_top(deviation):
    """Welfare beyond the end of the scale is the top, and the mean is finite."""
    scale = Scale("box-cox", -0.4, 5.0, 900.0)
    sd = float(scale.forward(np.array(60.0)) - scale.forward(np.array(30.0))) * deviation
    score = scale.forward(np.array([25.0, 40.0]))
    wanted = [integral(scale, s, sd, "mean") for s in score]
    np.testing.assert_allclose(expected(scale, score, sd, "mean", 1.0), wanted, rtol=EXACT)


def test_predict_keeps_the_order_of_the_names():
    people, at = population(), parameters(Scale("log"), 4)
    keys = stream_keys(3, "welfare", "ABCD")
    wanted = Indicators(("gini", "gap", "median", "mean"), THRESHOLD)
    both, error = predict(people, at, wanted, Level.of_areas(4), keys, 50)
    closed = additive(people, at, ("gap", "mean"), THRESHOLD, Level.of_areas(4))
    np.testing.assert_array_equal(both[:, :, [1, 3]], closed)
    assert (error[:, :, 1] == 0.0).all()
    assert 0.1 < both[0, 0, 0] < 0.5
    assert 10_000 < both[0, 0, 2] < 25_000
