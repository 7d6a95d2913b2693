"""The bootstrap of the predictor: against the analytical error of a mean, and its own repeatability."""

from dataclasses import replace

import numpy as np
import pytest

from sae.numerics.ebp.bootstrap import Bootstrap
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Parameters, Population
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.mse import AreaMeans, predict

AVERAGE = 0.06  # of the mean squared errors of 30 areas with 400 replicates: relative error 0.013, and o(1/m)

AREAS, N = 30, 40
PLAIN = Scale("none")


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(4)
    n = np.where(np.arange(AREAS) < 27, 6, 0)
    area = np.repeat(np.arange(AREAS), n)
    X = np.column_stack([np.ones(len(area)), rng.normal(size=len(area))])
    units = SampleUnits.of(X, area, AREAS)
    y = 20.0 + X[:, 1] + 0.7 * rng.normal(size=AREAS)[area] + rng.normal(size=len(area))
    census = np.column_stack([np.ones(AREAS * N), rng.normal(size=AREAS * N)])
    people = Population(census, np.arange(AREAS + 1) * N)
    return units, people, y


def bootstrap(case, scale=PLAIN, names=("mean",), **options):
    units, people, y = case
    sums = units.sums(scale.forward(y)[None])
    at = Parameters.of_fit(scale, fit_nested_error(sums), sums)
    labels = [f"A{k}" for k in range(AREAS)]
    levels = [Level.of_areas(AREAS)]
    return Bootstrap(units, people, at, Indicators(names, 19.0), levels, labels, 8, **options)


def test_mean_as_prasad_and_rao(case):
    units, people, y = case
    errors = bootstrap(case).errors(400, 1)
    sums = units.sums(y[None])
    means = AreaMeans(people.X.reshape(AREAS, N, 2).mean(axis=1), np.full(AREAS, np.inf))
    fits = fit_nested_error(sums)
    wanted = predict(fits, sums, means).mse + fits.sigma2_e[0] / N  # the truth is the mean of N units
    ratio = (errors**2).mean(axis=0) / wanted
    assert ratio.mean() == pytest.approx(1.0, abs=AVERAGE)
    assert np.abs(errors.mean(axis=0) / errors.std(axis=0)).max() < 4.5 / np.sqrt(400)


@pytest.mark.parametrize("scale", [Scale("box-cox", 0.6), Scale("log-shift", 4.0), Scale("dual-power", 0.4)])
def test_every_transformation_is_refitted(case, scale):
    one = bootstrap(case, scale, ("head_count", "gini"))
    errors = one.errors(12, 1)
    assert np.isfinite(errors).all()
    fixed = replace(one, parameters=replace(one.parameters, scale=Scale("none")))
    assert not np.array_equal(errors, fixed.errors(12, 1))


def test_replicates_are_named_not_counted(case):
    one = bootstrap(case, names=("head_count", "gini"))
    few, many = one.errors(4, 1), one.errors(9, 1)
    np.testing.assert_allclose(few, many[:4], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(one.errors(9, 1, threads=2), many)
    assert not np.array_equal(one.errors(4, 2), few)


def test_wild_keeps_the_sizes_of_the_residuals(case):
    units, _, y = case
    plain = bootstrap(case)
    at = plain.parameters
    residuals = y - units.X @ at.coefficients - at.effect[units.area]
    normal, wild = ((bootstrap(case, residuals=r).errors(300, 1) ** 2).mean() for r in (None, residuals))
    assert wild == pytest.approx(normal, rel=0.25)  # normal errors: the two agree but for shrunken residuals


def test_linked_units_know_their_welfare(case):
    units, people, y = case
    linked = np.full(len(people.X), -1)
    for d in range(27):
        mine = np.flatnonzero(units.area == d)
        linked[d * N : d * N + len(mine)] = mine
    X = people.X.copy()
    X[linked >= 0] = units.X[linked[linked >= 0]]
    known = replace(people, X=X, linked=linked).knowing(y)
    apart = (bootstrap((units, replace(people, X=X), y)).errors(300, 1) ** 2).mean(axis=0)[:27]
    joined = (bootstrap((units, known, y)).errors(300, 1) ** 2).mean(axis=0)[:27]
    assert joined.mean() < 0.95 * apart.mean()
