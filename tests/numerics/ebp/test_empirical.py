"""Errors that are residuals: closed forms against brute force and simulated populations."""

from dataclasses import replace

import numpy as np
import pytest

from sae.numerics.ebp.bootstrap import Bootstrap
from sae.numerics.ebp.closed_form import additive, expected_about
from sae.numerics.ebp.empirical import NORMAL, UnitErrors
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level
from sae.numerics.ebp.simulation import simulate
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.random.streams import stream_keys
from tests.numerics.ebp.populations import SCALES, THRESHOLD, parameters, population

NAMES = ("mean", "head_count", "gap", "severity")
REACHED = [scale for scale in SCALES if not (scale.name == "box-cox" and scale.parameter < 0)]
EXACT = 1e-7  # relative: the trapezoid where Box–Cox ends
SIGMAS = 4.5  # of about 100 figures


def skewed(sized=False, n=2000):
    rng = np.random.default_rng(3)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    shape = UnitErrors.of_sizes(X, np.array([0.0, 0.3, 0.0])) if sized else NORMAL
    return shape.of_residuals(rng.gamma(4.0, size=n) - 4.0)


def test_points_are_the_residuals_standardised():
    errors = skewed()
    assert errors.points.mean() == pytest.approx(0.0, abs=1e-12)
    assert errors.points.var() + errors.width**2 == pytest.approx(1.0)
    skewness = (errors.points**3).mean()
    assert 0.7 < skewness < 1.05  # 1 of this gamma, a little less once smoothed
    few = NORMAL.of_residuals(np.array([-1.0, 0.5, 3.0]))
    assert len(few.points) == 3


def test_sizes_stay_within_their_range_in_the_sample():
    errors = skewed(sized=True)
    X = np.array([[1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 50.0, 0.0]])
    size = errors.sizes(X)
    assert np.log(size[1] / size[0]) == pytest.approx(0.3)
    assert size[2] == pytest.approx(np.exp(errors.ends[1]))  # nothing beyond the sample
    assert len(skewed().sizes(X)) == 0


@pytest.mark.parametrize("scale", REACHED, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_as_integrals(scale, name):
    """The mixture by 20,001 points of each of its normals."""
    at = replace(parameters(scale, 1), errors=skewed())
    sigma = np.sqrt(at.sigma2_e)
    score = at.coefficients[0] + sigma * np.linspace(-1.0, 1.5, 4)
    sd, size = sigma * np.array([0.25, 0.3, 0.5, 0.8]), np.array([0.8, 1.0, 1.2, 1.0])
    got = expected_about(at, score, sd, size, name, THRESHOLD)
    x = np.linspace(-9.0, 9.0, 20_001)
    density = np.exp(-0.5 * x * x) / np.exp(-0.5 * x * x).sum()
    for i in range(4):
        t = score[i] + sigma * size[i] * at.errors.points[:, None] + sd[i] * x
        y = scale.inverse(t)
        below = np.where(y < THRESHOLD, 1.0 - y / THRESHOLD, 0.0)
        k = {"mean": y, "head_count": (y < THRESHOLD) * 1.0, "gap": below, "severity": below**2}[name]
        grid = 0.0 if name == "mean" else 1e-4  # what a jump between its points costs the sum
        assert got[i] == pytest.approx(float((k @ density).mean()), rel=EXACT, abs=grid)


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("scale", [Scale("log", shift=50.0), Scale("box-cox", 0.4)], ids=str)
def test_as_simulated(scale, sized):
    people, areas = population((400, 0, 900, 70)), 4
    at = replace(parameters(scale, areas), errors=skewed(sized))
    level, keys = Level.of_areas(areas), stream_keys(1, "welfare", list("abcd"))
    mean, error = simulate(people, at, Indicators(NAMES, THRESHOLD), level, keys, 400)
    exact = additive(people, at, NAMES, THRESHOLD, level)
    there = np.isfinite(exact)
    assert (np.abs(mean - exact)[there] < SIGMAS * error[there]).all()
    normal = additive(people, parameters(scale, areas), NAMES, THRESHOLD, level)
    assert np.abs(normal - exact)[there].max() > 0.004  # it matters


def test_many_units_take_the_table():
    scale = Scale("box-cox", 0.4)
    people = population((30_000, 30_000), weighted=False, groups=0)
    at = replace(parameters(scale, 2), errors=skewed())
    level, names = Level.of_areas(2), ("mean", "head_count")
    whole = additive(people, at, names, THRESHOLD, level)
    score = people.scores(at)
    sd = np.repeat(at.total_sd, people.sizes)
    for k, name in enumerate(names):
        one = expected_about(at, score[:4000], sd[:4000], np.ones(4000), name, THRESHOLD)
        part = replace(people, X=people.X[:4000], offsets=np.array([0, 4000, 4000]))
        assert additive(part, at, names, THRESHOLD, level)[0, 0, k] == pytest.approx(one.mean(), rel=1e-9)
    assert np.isfinite(whole).all()


@pytest.mark.parametrize("sized", [False, True])
def test_bootstrap_refits_the_errors(sized):
    rng = np.random.default_rng(1)
    scale, area = Scale("log"), np.repeat(np.arange(4), 30)
    X = np.column_stack([np.ones(120), rng.normal(size=(120, 2))])
    units = SampleUnits.of(X, area, 4)
    at = replace(parameters(scale, 4), errors=skewed(sized))
    indicators, level = Indicators(("head_count",), THRESHOLD), Level.of_areas(4)
    people = population((200, 200, 200, 200), groups=0)
    boot = Bootstrap(units, people, at, indicators, [level], list("abcd"), 2)
    effects, _, Y = boot._samples(stream_keys(1, "replicate's sample", list("abcd")), 0, 400)
    e = np.log(Y) - X @ at.coefficients - effects[:, area]
    assert e.var() == pytest.approx(
        at.sigma2_e * np.mean(at.errors.sizes(X) ** 2 if sized else 1.0), rel=0.03
    )
    assert (e**3).mean() / e.std() ** 3 > 0.5
    fits = boot._fits(Y[:3], None)
    assert all(len(fit.errors.points) == 100 and (fit.errors.alpha is not None) == sized for fit in fits)
    errors = boot.errors(40, 1)
    assert errors.shape == (40, 4) and 0.0 < np.sqrt((errors**2).mean()) < 0.15
