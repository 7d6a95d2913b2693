"""Rank sets against the published ones, against plain enumeration, and by their coverage.

Tolerances: an end of a published set may differ by one, as its random stream is R's. Coverage over 400
samples: three standard errors of a share of .95 are .033.
"""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sae.numerics.ranking import (
    credible_ranks,
    mean_bar,
    rank_draws,
    rank_sets,
    row_rank_sets,
    triple_goal,
)


def independent(p):
    return np.zeros((p, 0))


def plain_sets(estimate, covariance, errors, level):
    """The steps of the sets from matrices of all ordered pairs."""
    p = len(estimate)
    spread = np.sqrt(np.add.outer(np.diag(covariance), np.diag(covariance)) - 2 * covariance)
    pairs = [(j, k) for j, k in itertools.permutations(range(p), 2)]
    kept, gaps = set(pairs), {}
    drawn = {(j, k): (errors[j] - errors[k]) / spread[j, k] for j, k in pairs}
    gaps = {(j, k): (estimate[j] - estimate[k]) / spread[j, k] for j, k in pairs}
    while True:
        largest = np.max([drawn[pair] for pair in kept], axis=0)
        critical = np.quantile(largest, level, method="higher")
        rejected = {pair for pair in kept if gaps[pair] > critical}
        if not rejected:
            break
        kept -= rejected
    above = [sum((k, j) not in kept for k in range(p) if k != j) for j in range(p)]
    below = [sum((j, k) not in kept for k in range(p) if k != j) for j in range(p)]
    return 1 + np.array(above), p - np.array(below)


@pytest.fixture(scope="module")
def pisa(shared_data):
    return pd.read_csv(shared_data / "real" / "oecd_pisa2018_scores.csv")


@pytest.mark.parametrize("seed", range(3))
def test_the_published_sets_of_pisa(pisa, seed):
    se = pisa["math_se"].to_numpy()
    errors = np.random.default_rng(seed).normal(size=(len(se), 1000)) * se[:, None]
    none = independent(len(se))
    low, high, _ = rank_sets(pisa["math_score"].to_numpy(), se**2, none, none, errors, 0.95)
    sets = dict(zip(pisa["jurisdiction"], zip(low, high, strict=True), strict=True))
    for name, (first, last) in {
        "Japan": (1, 6),
        "Korea": (1, 7),
        "Estonia": (1, 6),
        "Netherlands": (1, 11),
    }.items():
        assert abs(sets[name][0] - first) <= 1
        assert abs(sets[name][1] - last) <= 1


@pytest.mark.parametrize("seed", range(8))
def test_the_sets_equal_those_from_matrices_of_all_pairs(seed):
    rng = np.random.default_rng(seed)
    p = 9
    factor, alone = rng.normal(size=(p, 2)), rng.uniform(0.2, 1.0, p)
    covariance = factor @ factor.T + np.diag(alone)
    estimate = rng.normal(size=p) * 4
    errors = (np.linalg.cholesky(covariance) @ rng.normal(size=(p, 600))).astype(np.float32).astype(float)
    low, high, _ = rank_sets(estimate, np.diag(covariance), factor, factor, errors, 0.9)
    expected = plain_sets(estimate, covariance, errors, 0.9)
    assert low.tolist() == expected[0].tolist()
    assert high.tolist() == expected[1].tolist()


def test_the_sets_of_single_areas_are_inside_those_of_all_together():
    rng = np.random.default_rng(2)
    p = 40
    none = independent(p)
    estimate, variance = rng.normal(size=p), np.full(p, 0.05)
    errors = rng.normal(size=(p, 2000)) * np.sqrt(0.05)
    low, high, _ = rank_sets(estimate, variance, none, none, errors, 0.95)
    own_low, own_high = row_rank_sets(estimate, variance, none, none, errors, 0.95)
    assert (own_low >= low).all()
    assert (own_high <= high).all()
    assert (own_high - own_low).mean() < (high - low).mean() - 1


def test_the_sets_cover_all_true_ranks_together_and_each_alone():
    rng = np.random.default_rng(3)
    p, samples = 12, 400
    truth = np.sort(rng.normal(size=p))[::-1]
    factor, alone = np.full((p, 1), 0.3), rng.uniform(0.02, 0.2, p)
    variance = alone + 0.09
    errors = 0.3 * rng.normal(size=(1, 800)) + np.sqrt(alone)[:, None] * rng.normal(size=(p, 800))
    place = np.arange(1, p + 1)
    together = alone_hits = 0
    for _ in range(samples):
        estimate = truth + 0.3 * rng.normal() + np.sqrt(alone) * rng.normal(size=p)
        low, high, _ = rank_sets(estimate, variance, factor, factor, errors, 0.95)
        together += bool(((low <= place) & (place <= high)).all())
        low, high = row_rank_sets(estimate, variance, factor, factor, errors, 0.95)
        alone_hits += np.mean((low <= place) & (place <= high))
    assert together / samples > 0.95 - 0.033
    assert alone_hits / samples > 0.95 - 0.033


def test_a_shared_error_does_not_widen_the_sets():
    rng = np.random.default_rng(4)
    p = 15
    estimate, alone = np.linspace(0, 3, p), np.full(p, 0.04)
    own = 0.2 * rng.normal(size=(p, 1000))
    shared = np.full((p, 1), 2.0)
    with_shared = rank_sets(estimate, alone + 4.0, shared, shared, own + 2.0 * rng.normal(size=1000), 0.95)
    none = independent(p)
    without = rank_sets(estimate, alone, none, none, own, 0.95)
    # float32 holds the shared error to 1e-7 of it, less than any gap here
    assert with_shared[0].tolist() == without[0].tolist()
    assert with_shared[1].tolist() == without[1].tolist()


def test_figures_without_an_error_have_their_rank_and_ties_have_both():
    estimate, variance = np.array([3.0, 2.0, 2.0, 1.0]), np.zeros(4)
    none, errors = independent(4), np.zeros((4, 200))
    low, high, _ = rank_sets(estimate, variance, none, none, errors, 0.95)
    assert low.tolist() == [1, 2, 2, 4]
    assert high.tolist() == [1, 3, 3, 4]


def test_credible_sets_hold_their_share_of_the_draws():
    rng = np.random.default_rng(5)
    ranks = rank_draws(rng.normal(size=(500, 20)) + np.linspace(3, 0, 20))
    low, high = credible_ranks(ranks, 0.9)
    inside = ((ranks >= low) & (ranks <= high)).all(axis=1).mean()
    assert inside >= 0.9
    ordered = np.sort(ranks, axis=0)
    k = int(np.flatnonzero(ordered[:, 0] == low[0])[-1]) + 1  # one more step inwards holds fewer
    assert ((ranks >= ordered[k]) & (ranks <= ordered[-1 - k])).all(axis=1).mean() < 0.9


def test_triple_goal_spreads_like_the_truths_and_keeps_the_order():
    rng = np.random.default_rng(6)
    truth = rng.normal(size=300)
    observed = truth + rng.normal(size=300)
    draws = 0.5 * observed + np.sqrt(0.5) * rng.normal(size=(800, 300))
    goal = triple_goal(draws, rank_draws(draws))
    assert 0.85 < goal.std() < 1.15  # the posterior means: 0.71
    assert stats.spearmanr(goal, observed).statistic > 0.98


def test_bars_of_equal_errors_are_those_of_one_pair():
    none = independent(30)
    assert mean_bar(np.full(30, 0.3), none, none, 0.95) == pytest.approx(1.959964 / np.sqrt(2), abs=1e-5)
    rng = np.random.default_rng(7)
    variance = rng.uniform(0.1, 2.0, 30)
    z = mean_bar(variance, none[:30], none[:30], 0.9)
    errors = np.sqrt(variance)
    apart = [
        2 * stats.norm.sf(z * (errors[j] + errors[k]) / np.hypot(errors[j], errors[k]))
        for j, k in itertools.combinations(range(30), 2)
    ]
    assert np.mean(apart) == pytest.approx(0.1, abs=1e-5)


def test_areas_equal_in_a_draw_share_their_ranks_whatever_their_order():
    places = rank_draws(np.tile([0.5, 0.5, 0.5, 0.2], (4_000, 1)))
    assert (places[:, 3] == 4).all()
    # a third each: 4,000 draws, standard error 0.0075
    np.testing.assert_allclose((places[:, :3] == 1).mean(axis=0), 1 / 3, atol=0.03)
    np.testing.assert_array_equal(np.sort(places, axis=1), np.tile([1, 2, 3, 4], (4_000, 1)))
