"""Figures of areas against their atoms written out one by one; the bootstrap against samples."""

import numpy as np
import pytest

from sae.numerics.m_quantile.areas import fit_areas
from sae.numerics.m_quantile.bootstrap import bootstrap_errors
from sae.numerics.m_quantile.distribution import FGT, MEAN, QUANTILE, Rest, Target, figures
from tests.numerics.m_quantile.worlds import world

EXACT = 1e-12  # the same sums in another order
SAMPLED = (6, 8, 5, 12, 3, 1, 0, 9)
LINE = 9.0
SHARES = (0.001, 0.1, 0.5, 0.8, 1.0)
TARGETS = [Target(MEAN), *(Target(FGT, LINE, k) for k in (0, 1, 2)), *(Target(QUANTILE, p) for p in SHARES)]


def rest_of(data, linked=True):
    units = data.rest if linked else np.arange(len(data.y))
    starts = np.searchsorted(data.area[units], np.arange(len(SAMPLED) + 1))
    return Rest(data.Z[units], np.ones(len(units)), starts, linked)


def brute(fits, rest, d, adjusted):
    """All figures of an area from the values and weights of its atoms."""
    cells = slice(rest.starts[d], rest.starts[d + 1])
    mine = fits.area == d
    e = (fits.y - fits.fitted)[mine] if mine.any() else fits.y - fits.X @ fits.median
    e = e if adjusted else np.zeros(1)
    values = ((rest.X[cells] @ fits.areas.beta[d])[:, None] + e).ravel()
    weight = np.repeat(rest.weight[cells] / len(e), len(e))
    if rest.linked:
        values = np.concatenate([fits.y[mine], values])
        weight = np.concatenate([np.ones(mine.sum()), weight])
    weight = weight / weight.sum()
    order = np.argsort(values)
    mass = np.cumsum(weight[order])
    gap = np.maximum(LINE - values, 0.0) / LINE
    quantiles = [values[order][np.searchsorted(mass, p - 1e-10)] for p in SHARES]
    return [weight @ values, weight @ (values < LINE), weight @ gap, weight @ gap**2, *quantiles]


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("adjusted", [True, False])
def test_figures_are_those_of_the_atoms(adjusted, linked):
    data = world(1, SAMPLED, outliers=True)
    fits, rest = data.fit(), rest_of(data, linked)
    made = figures(fits, rest, TARGETS, adjusted=adjusted)
    for d in range(len(SAMPLED)):
        np.testing.assert_allclose(made[d], brute(fits, rest, d, adjusted), rtol=EXACT, atol=EXACT)


def test_cells_are_their_units():
    data = world(2, SAMPLED)
    fits, rest = data.fit(), rest_of(data)
    twice = Rest(rest.X, 3.0 * rest.weight, rest.starts, False)
    each = Rest(np.repeat(rest.X, 3, axis=0), np.ones(3 * len(rest.X)), 3 * rest.starts, False)
    np.testing.assert_allclose(
        figures(fits, twice, TARGETS, adjusted=True), figures(fits, each, TARGETS, adjusted=True), rtol=EXACT
    )


def test_a_quantile_is_a_value_with_its_share_below():
    data = world(3, SAMPLED)
    fits, rest = data.fit(), rest_of(data)
    median = figures(fits, rest, [Target(QUANTILE, 0.5)], adjusted=True)[:, 0]
    for d, t in enumerate(median):
        below, upto = (
            figures(fits, rest, [Target(FGT, edge)], adjusted=True)[d, 0] for edge in (t - 1e-9, t + 1e-9)
        )
        assert below - EXACT <= 0.5 <= upto + EXACT and upto > below


def test_the_naive_distribution_is_too_narrow():
    data = world(4, (20,) * 6)
    fits = data.fit()
    rest = Rest(data.Z, np.ones(len(data.Z)), np.searchsorted(data.area, np.arange(7)), False)
    targets = [Target(QUANTILE, p) for p in (0.1, 0.9)]
    widths = [np.diff(figures(fits, rest, targets, adjusted=way)).mean() for way in (False, True)]
    truth = np.mean([np.diff(np.quantile(data.y[data.area == d], [0.1, 0.9])) for d in range(6)])
    assert widths[0] < 0.85 * truth
    assert abs(widths[1] / truth - 1.0) < 0.1


def test_a_bootstrap_repeats_itself_and_grows_by_replicates():
    data = world(5, SAMPLED, outside=30)
    fits, rest = data.fit(), rest_of(data)
    names = [f"A{d}" for d in range(len(SAMPLED))]
    options = dict(adjusted=True, seed=3, names=names)
    few = bootstrap_errors(fits, rest, TARGETS, replicates=4, **options)
    more = bootstrap_errors(fits, rest, TARGETS, replicates=6, **options)
    np.testing.assert_array_equal(more[:4], few)
    assert (few[0] != few[1]).all()


def test_bootstrap_errors_of_means_are_those_of_simple_means():
    """With one area and no covariate the prediction is the sample's mean: its error has a known variance."""
    rng = np.random.default_rng(6)
    y = rng.normal(10.0, 2.0, 40)
    fits = fit_areas(y, np.ones((40, 1)), np.zeros(40, int), 1, 1.345)
    rest = Rest(np.ones((1, 1)), np.array([60.0]), np.array([0, 1]), True)
    targets = [Target(MEAN), Target(FGT, 10.0)]
    errors = bootstrap_errors(fits, rest, targets, adjusted=True, replicates=1500, seed=1, names=["A"])
    share = np.mean(y - fits.fitted - np.mean(y - fits.fitted) + fits.fitted < 10.0)
    expected = np.array([y.var(), share * (1 - share)]) * (1 / 40 - 1 / 100)
    np.testing.assert_allclose((errors**2).mean(axis=0)[0], expected, rtol=0.12)  # 3 Monte Carlo errors
