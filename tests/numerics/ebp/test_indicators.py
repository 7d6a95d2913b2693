"""Indicators of simulated welfare against those of the direct estimates, weighted and not."""

import numpy as np
import pytest

from sae.numerics.design.quantiles import gini, weighted_quantile
from sae.numerics.ebp.indicators import Indicators, Parts

ROUNDING = 1e-12  # sums of a few hundred terms in another order

NAMES = (
    "mean",
    "head_count",
    "gap",
    "severity",
    "quantile_10",
    "median",
    "quantile_75",
    "quintile_share",
    "gini",
)


def one_by_one(y, w, threshold):
    order = np.argsort(y)
    short = np.maximum(1.0 - y / threshold, 0.0)
    low, high = weighted_quantile(y, w, [0.2, 0.8])
    return [
        np.average(y, weights=w),
        np.average(y < threshold, weights=w),
        np.average(short, weights=w),
        np.average(short**2, weights=w),
        *weighted_quantile(y, w, [0.1, 0.5, 0.75]),
        (w * y)[y > high].sum() / (w * y)[y <= low].sum(),
        gini(y[order], w[order], np.array([0, len(y)]))[0][0],
    ]


@pytest.mark.parametrize("m", [7, 10, 100, 333])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_as_direct_estimates_define_them(rng, m, ties, weighted):
    Y = rng.lognormal(3.0, 0.6, size=(9, m))
    Y = np.ceil(Y / 5.0) * 5.0 if ties else Y
    w = rng.integers(1, 6, size=m).astype(float) if weighted else None
    wanted = [one_by_one(y, np.ones(m) if w is None else w, 20.0) for y in Y]
    np.testing.assert_allclose(Indicators(NAMES, 20.0).values(Y.copy(), w), wanted, rtol=ROUNDING)


def test_equal_weights_change_nothing(rng):
    Y, wanted = rng.lognormal(size=(5, 80)), Indicators(NAMES, 1.0)
    plain, weighted = wanted.values(Y.copy(), None), wanted.values(Y.copy(), np.full(80, 3.0))
    np.testing.assert_allclose(plain, weighted, rtol=ROUNDING)


def test_own_functions_see_values_beside_their_weights(rng):
    Y, w = rng.normal(size=(3, 20)), rng.uniform(1.0, 2.0, size=20)
    own = {"mine": lambda y, w: float(y @ w), "top": lambda y, w: y.max()}
    got = Indicators(("gini", "top", "mine"), functions=own).values(Y.copy(), w)
    np.testing.assert_allclose(got[:, 1:], np.column_stack([Y.max(axis=1), Y @ w]))


@pytest.mark.parametrize("weighted", [False, True])
def test_parts_are_as_each_alone(rng, weighted):
    bounds = np.array([0, 90, 91, 300])
    Y, w = rng.lognormal(size=(6, 300)), rng.uniform(1.0, 2.0, size=300) if weighted else None
    own = {"weighted sum": lambda y, w: float(y @ w)}
    for names in ((*NAMES, "weighted sum"), ("head_count", "weighted sum")):
        wanted = Indicators(names, 1.0, own)
        got = wanted.of_parts(Y.copy(), Parts(bounds, w))
        for k in range(3):
            part = slice(bounds[k], bounds[k + 1])
            alone = wanted.values(Y[:, part].copy(), None if w is None else w[part])
            np.testing.assert_array_equal(got[:, k, 0], alone)


@pytest.mark.parametrize("names", [(*NAMES, "spread"), ("mean", "gap")])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ties", [False, True])
def test_groups_are_as_each_alone(rng, names, weighted, ties):
    bounds, m = np.array([0, 200, 207, 900]), 900
    Y = rng.lognormal(3.0, 0.6, size=(7, m))
    Y = np.ceil(Y / 5.0) * 5.0 if ties else Y
    Y[2, 3], Y[3, 300], Y[4, 400] = np.inf, 0.0, -7.0
    w = rng.uniform(1.0, 2.0, size=m) if weighted else None
    group = rng.integers(-1, 3, size=m)  # -1: of none
    group[200:207] = 1
    own = {"spread": lambda y, w: float(w @ np.abs(y - np.median(y)))} if "spread" in names else {}
    wanted = Indicators(names, 20.0, own)
    got = wanted.of_parts(Y.copy(), Parts(bounds, w, group, 3))
    for k in range(3):
        part = np.arange(m)[bounds[k] : bounds[k + 1]]
        for g, units in enumerate([part, *(part[group[part] == g] for g in range(3))]):
            if len(units) == 0:
                assert np.isnan(got[:, k, g]).all()
                continue
            alone = wanted.values(Y[:, units].copy(), None if w is None else w[units])
            np.testing.assert_allclose(got[:, k, g], alone, rtol=ROUNDING)


def test_a_weight_is_as_many_rows(rng):
    bounds, m = np.array([0, 250, 600]), 600
    Y, size, group = rng.lognormal(3.0, 0.6, size=(6, m)), rng.integers(0, 6, size=m), rng.integers(2, size=m)
    wanted = Indicators(NAMES, 20.0)
    got = wanted.of_parts(Y.copy(), Parts(bounds, size.astype(float), group, 2))
    people = np.repeat(np.arange(m), size)
    rows = wanted.of_parts(Y[:, people], Parts(np.searchsorted(people, bounds), None, group[people], 2))
    np.testing.assert_allclose(got, rows, rtol=ROUNDING)


def test_what_only_the_last_digits_tell_apart_is_in_order(rng):
    Y = 1.0 + np.spacing(1.0) * rng.integers(50, size=(5, 400)).astype(float)
    w = rng.integers(1, 4, size=400).astype(float)
    names = tuple(f"quantile_{k}" for k in range(1, 100, 7))
    wanted = [weighted_quantile(y, w, [k / 100.0 for k in range(1, 100, 7)]) for y in Y]
    np.testing.assert_array_equal(Indicators(names).values(Y, w), wanted)
