"""Elbers, Lanjouw and Lanjouw's draws against the moments that they have by construction."""

import numpy as np
import pytest
from scipy.stats import norm

from sae.numerics.ebp.ell import ell_draws
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.population import Level, Population
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.mse import variance_information

DRAWS = 3000
LABELS = ["A", "B", "C", "D"]


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(1)
    area = np.repeat(np.arange(30), 8)
    X = np.column_stack([np.ones(240), rng.normal(size=240)])
    z = X @ [9.0, 0.3] + 0.2 * rng.normal(size=30)[area] + 0.5 * rng.normal(size=240)
    units = SampleUnits.of(X, area, 30)
    fits = fit_nested_error(units.sums(z[None]), "reml")
    P = np.column_stack([np.ones(400), rng.normal(size=400)])
    return fits, units.n, Population(P, np.array([0, 100, 200, 300, 400]))


def drawn(world, scale, indicators, draws=DRAWS, **changes):
    fits, n, population = world
    level = changes.pop("levels", [Level.of_areas(4)])
    return ell_draws(scale, fits, n, population, indicators, level, LABELS, draws, 1)


def test_means_are_synthetic_and_their_variance_has_every_part(world):
    fits, n, population = world
    values = drawn(world, Scale("none"), Indicators(("mean",)))
    x = population.X.reshape(4, 100, 2).mean(axis=1)
    u2, e2 = fits.sigma2_u[0], fits.sigma2_e[0]
    expected = u2 + e2 / 100 + ((x @ fits.root[0]) ** 2).sum(axis=1)
    error = np.sqrt(expected / DRAWS)
    assert (np.abs(values.mean(axis=0) - x @ fits.coefficients[0]) < 4 * error).all()
    np.testing.assert_allclose(values.var(axis=0), expected, rtol=4 * np.sqrt(2 / DRAWS) + 0.02)
    between = variance_information(n, n, u2, e2)[0, 0]
    assert 0.0 < between < u2**2  # the gamma that is drawn from is no point


def test_head_counts_are_those_of_the_normal(world):
    fits, _, population = world
    line = 7000.0
    values = drawn(world, Scale("log"), Indicators(("head_count",), line))
    sd = np.sqrt(fits.sigma2_u[0] + fits.sigma2_e[0])
    share = norm.cdf((np.log(line) - population.X @ fits.coefficients[0]) / sd).reshape(4, 100).mean(axis=1)
    error = values.std(axis=0) / np.sqrt(DRAWS)
    assert (np.abs(values.mean(axis=0) - share) < 4 * error + 0.003).all()  # parameters are not known exactly


def test_the_sample_is_not_known(world):
    fits, n, population = world
    indicators = Indicators(("mean", "gini"))
    known = Population(
        population.X, population.offsets, known=np.full(400, 1e9), linked=np.zeros(400, dtype=int)
    )
    options = (indicators, [Level.of_areas(4)], LABELS, 5, 1)
    blind = ell_draws(Scale("log"), fits, n, known, *options)
    np.testing.assert_array_equal(blind, ell_draws(Scale("log"), fits, n, population, *options))


def test_levels_and_more_draws_leave_the_others(world):
    both = [Level.of_areas(4), Level(np.zeros(4, dtype=int), 1)]
    few = drawn(world, Scale("log"), Indicators(("mean",)), 4, levels=both)
    more = drawn(world, Scale("log"), Indicators(("mean",)), 9, levels=both)
    np.testing.assert_array_equal(more[:4], few)
    np.testing.assert_allclose(few[:, 4], few[:, :4].mean(axis=1), rtol=1e-12)  # areas of one size
