"""Weighted quantiles, densities and Gini of many domains: laeken, exact arithmetic, double loops."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde

from sae.numerics.design.quantiles import (
    bandwidths,
    densities,
    gini,
    income_densities,
    quantiles,
    sort_segments,
    weighted_quantile,
)

EXACT = 1e-9  # laeken's printed doubles, same definition
ROUNDING = 1e-12  # the same sums in another order


def exact_quantile(x, weights, share):
    """The Eurostat definition in rational arithmetic."""
    order = np.argsort(x, kind="stable")
    pairs = [(x[i], weights[i]) for i in order if weights[i] > 0]
    goal = sum(weight for _, weight in pairs) * share
    running = Fraction(0)
    for j, (value, weight) in enumerate(pairs):
        running += weight
        if running == goal:
            return (value + pairs[j + 1][0]) / 2
        if running > goal:
            return value
    raise AssertionError("a share below 1 is always met")


def test_laeken(shared_data, reference):
    frame = pd.read_csv(shared_data / "laeken_eusilc.csv.gz", usecols=["eqIncome", "rb050"])
    got = weighted_quantile(
        frame.eqIncome.to_numpy(), frame.rb050.to_numpy(), [0.1, 0.2, 0.25, 0.5, 0.75, 0.8, 0.9]
    )
    expected = reference("laeken_weighted_quantiles")["outputs"]["quantiles"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=EXACT)


@pytest.mark.parametrize("share", [Fraction(1, 10), Fraction(1, 5), Fraction(1, 2), Fraction(4, 5)])
def test_exact_arithmetic_with_ties_and_zero_weights(share, rng):
    for _ in range(50):
        n = int(rng.integers(1, 40))
        x = rng.integers(0, 12, n).astype(float)
        weights = [Fraction(int(k), 10) for k in rng.integers(0, 4, n)]
        if not sum(weights):
            continue
        got = weighted_quantile(x, np.array([float(weight) for weight in weights]), [float(share)])
        assert got[0] == exact_quantile(x, weights, share)


def test_emdi_quantiles_but_for_exact_ties(shared_data, reference):
    """emdi compares rounded shares with p; where a share is exactly p the definition averages two values."""
    frame = pd.read_csv(shared_data / "emdi_eusilcA_smp.csv", usecols=["eqIncome", "weight", "district"])
    expected = reference("emdi_direct_district_defaultthreshold")["outputs"]["point"]
    off = 0
    for name, part in frame.groupby("district"):
        x, w = part.eqIncome.to_numpy(), part.weight.to_numpy()
        weights = [Fraction(float(one)) for one in w]
        for share, column in ((1, "Quantile_10"), (9, "Quantile_90")):
            emdi = expected[column][expected["Domain"].index(name)]
            ours = weighted_quantile(x, w, [share / 10])[0]
            assert ours == pytest.approx(exact_quantile(x, weights, Fraction(share, 10)), abs=EXACT)
            off += abs(ours - emdi) > EXACT
    assert off <= 4


def test_segments_equal_one_sample_each_and_scale_is_no_matter(rng):
    n, n_domains = 500, 7
    x, w = rng.normal(size=n).round(1), rng.gamma(2, 1, n)
    codes, keep = rng.integers(-1, n_domains, n), rng.random(n) < 0.9
    codes[codes == 3] = -1  # an empty domain
    found = sort_segments(x, codes, n_domains, keep)
    got = quantiles(found.values, w[found.order], found.offsets, np.full(n_domains, 0.3))
    scaled = quantiles(found.values, w[found.order] / 7, found.offsets, np.full(n_domains, 0.3))
    np.testing.assert_array_equal(got, scaled)
    for d in range(n_domains):
        mine = keep & (codes == d)
        expected = weighted_quantile(x[mine], w[mine], [0.3])[0] if mine.any() else np.nan
        np.testing.assert_equal(got[d], expected)
    assert sorted(found.order) == list(np.flatnonzero(keep & (codes >= 0)))


@pytest.mark.parametrize("kind", ["drawn", "ties", "sorted", "two points", "infinite"])
@pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.99])
def test_many_values_have_the_quantile_of_them_all(rng, kind, share):
    n = 12_000
    x, w = rng.lognormal(size=n), rng.integers(0, 6, size=n).astype(float)
    x = {
        "drawn": x,
        "ties": np.ceil(3.0 * x),
        "sorted": np.sort(x),
        "two points": np.arange(n) % 2.0,
        "infinite": np.where(rng.random(n) < 0.6, np.inf, x),
    }[kind]
    order = np.argsort(x, kind="stable")
    wanted = quantiles(x[order], w[order], np.array([0, n]), np.array([share]))
    np.testing.assert_array_equal(weighted_quantile(x, w, [share]), wanted)


def test_density_is_scipys_at_the_same_bandwidth(rng):
    x, w = np.sort(rng.normal(size=200)), rng.gamma(2, 1, 200)
    kernel = gaussian_kde(x, weights=w)
    kernel.set_bandwidth(0.3)
    width = float(np.sqrt(kernel.covariance[0, 0]))
    got = densities(x, w, np.array([0, 200]), np.array([0.4]), np.array([width]))
    assert got[0] == pytest.approx(kernel(0.4)[0], rel=ROUNDING)


def test_bandwidth_counts_an_income_of_a_household_once(rng):
    x, w = np.sort(rng.lognormal(0, 0.5, 100)), np.ones(100)
    alone = bandwidths(x, w, np.array([0, 100]))
    shared = bandwidths(np.repeat(x, 3), np.ones(300), np.array([0, 300]))
    np.testing.assert_allclose(
        alone, shared, rtol=1e-3
    )  # quartiles of 100 and of 300 records may be a step apart
    # Silverman's rule in plain numpy
    q = np.diff(weighted_quantile(x, w, [0.25, 0.75]))[0] / 1.349
    assert alone[0] == pytest.approx(0.9 * min(x.std(), q) * 100**-0.2)


def test_a_single_value_has_no_bandwidth_and_infinite_density():
    offsets = np.array([0, 2, 2])
    width = bandwidths(np.array([5.0, 5.0]), np.ones(2), offsets)
    np.testing.assert_array_equal(width, [0.0, 0.0])
    got = densities(np.array([5.0, 5.0]), np.ones(2), offsets, np.array([5.0, 5.0]), width)
    np.testing.assert_array_equal(got, [np.inf, np.nan])


def test_density_of_incomes_is_scipys_on_their_logarithms(rng):
    x, w = np.sort(rng.lognormal(1, 0.6, 200)), rng.gamma(2, 1, 200)
    offsets, at = np.array([0, 200]), np.array([2.5])
    kernel = gaussian_kde(np.log(x), weights=w)
    kernel.set_bandwidth(
        bandwidths(np.log(x), w, offsets)[0] / np.sqrt(kernel.covariance[0, 0]) * kernel.factor
    )
    expected = kernel(np.log(2.5))[0] / 2.5
    assert income_densities(x, w, offsets, at)[0] == pytest.approx(expected, rel=ROUNDING)
    # debts and zeros have no logarithm: they count in the size only
    with_debts = np.concatenate([[-3.0, 0.0], x]), np.concatenate([[1.0, 2.0], w])
    thinner = income_densities(*with_debts, np.array([0, 202]), at)[0]
    assert thinner == pytest.approx(expected * w.sum() / (w.sum() + 3), rel=ROUNDING)
    # the densities of two parts add up to that of the whole
    part = np.where(np.arange(200) % 3 == 0, w, 0.0)
    halves = [income_densities(x, w, offsets, at, one)[0] for one in (part, w - part)]
    assert sum(halves) == pytest.approx(expected, rel=ROUNDING)


def test_density_of_incomes_at_zero_or_below_is_on_the_incomes(rng):
    x, w = np.sort(rng.normal(size=100)), np.ones(100)
    offsets, at = np.array([0, 100, 100]), np.array([-0.2, 1.0])
    plain = densities(x, w, offsets, at, bandwidths(x, w, offsets))
    np.testing.assert_allclose(income_densities(x, w, offsets, at), [plain[0], np.nan], rtol=ROUNDING)
    alike = income_densities(np.array([5.0, 5.0]), np.ones(2), np.array([0, 2]), np.array([5.0]))
    assert alike[0] == np.inf


def test_gini_by_double_loop_and_its_derivative(rng):
    x, w = np.sort(rng.lognormal(0, 1, 40)).round(1), rng.gamma(2, 1, 40)

    def brute(weights):
        mean_difference = np.sum(np.outer(weights, weights) * np.abs(x[:, None] - x)) / weights.sum() ** 2
        return mean_difference / (2 * np.average(x, weights=weights))

    offsets = np.array([0, 40])
    coefficient, influence = gini(x, w, offsets)
    assert coefficient[0] == pytest.approx(brute(w), rel=ROUNDING)
    step = 1e-5  # central difference: error of order step², far below the tolerance
    for k in (0, 7, 39):
        up, down = w.copy(), w.copy()
        up[k] += step
        down[k] -= step
        assert influence[k] == pytest.approx((brute(up) - brute(down)) / (2 * step), rel=1e-6, abs=1e-9)
