"""Allocations of a given total: golden numbers, exact greedy, recursive Neyman, numerical optimisers."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse

from sae.numerics.allocation.closed_form import (
    choudhry_rao_hidiroglou,
    costa_weights,
    fill,
    longford_weights,
    molefe_clark,
    neyman_integer,
    power_weights,
    round_to_total,
)
from sae.numerics.allocation.convex import allocate_convex
from sae.numerics.allocation.rare_groups import kalton_anderson, oversampling_deff
from sae.numerics.allocation.two_stage import self_representing, two_stage_deff

PRINTED = 0.0051  # the golden numbers have two decimals
EXACT = 1e-9  # the same formula in another order of operations
OPTIMISER = 2e-3  # relative sizes: a general optimiser near a flat minimum

N = np.array([1e6, 4e5, 1e5, 5e4])
S = np.array([0.5, 0.48, 0.45, 0.4])
Y = np.array([0.5, 0.4, 0.3, 0.2])
NONE = np.zeros(4)


@pytest.mark.parametrize(
    ("weights", "golden"),
    [
        (power_weights(N, S / Y, 0.0), [175.44, 210.53, 263.16, 350.88]),
        (power_weights(N, S / Y, 0.5), [373.06, 283.14, 176.96, 166.84]),
        (power_weights(N, S / Y, 1.0), [578.03, 277.46, 86.71, 57.80]),
        (costa_weights(N, 0.5), [447.58, 254.03, 157.26, 141.13]),
        (longford_weights(N, S, 1.0, 1.0), [525.88, 279.21, 120.39, 74.52]),
    ],
)
def test_golden(weights, golden):
    np.testing.assert_allclose(fill(weights, 1000, NONE, N), golden, atol=PRINTED)


def test_golden_composite_and_national():
    golden = [476.33, 294.27, 137.64, 91.76]
    np.testing.assert_allclose(molefe_clark(N, 1000, 0.05, NONE, N), golden, atol=PRINTED)
    n = choudhry_rao_hidiroglou(N, S, S / Y, np.full(4, 0.1), np.inf, np.ones(4), NONE + 1e-9, N)
    np.testing.assert_allclose(n, [99.99, 143.95, 224.49, 396.83], atol=PRINTED)
    share = N / N.sum()
    assert np.sqrt((share**2 * S**2 * (1 / n - 1 / N)).sum()) / (share @ Y) == pytest.approx(0.0751, abs=5e-5)


def test_golden_rare_group():
    P, M = np.array([0.30, 0.08, 0.02]), np.array([1e5, 3e5, 6e5])
    rate = kalton_anderson(P, 6.0)
    np.testing.assert_allclose(rate / rate[-1], [2.569, 1.773, 1], atol=5e-4)
    n = fill(M * rate, 10_000, NONE[:3], M)
    members = n @ P
    assert members == pytest.approx(947.8, abs=0.05)
    assert 10_000 * M / M.sum() @ P == pytest.approx(660)
    assert oversampling_deff(M * P, rate) == pytest.approx(1.1245, abs=5e-5)
    assert oversampling_deff(M, rate) == pytest.approx(1.1223, abs=5e-5)
    assert 10_000 + 5 * members == pytest.approx(14_739, abs=0.5)
    # two strata of equal cost: the published √(p1 / p2)
    assert np.divide(*kalton_anderson(np.array([0.4, 0.1]), 1.0)) == pytest.approx(2.0)


def test_kalton_anderson_is_the_optimum():
    P, M, c = np.array([0.30, 0.08, 0.02]), np.array([1e5, 3e5, 6e5]), 6.0
    members = M * P

    def variance(log_n):  # of the group's mean, for a budget of 10,000 screenings
        n = np.exp(log_n)
        n *= 10_000 / (n @ (1 + P * (c - 1)))
        return ((members / members.sum()) ** 2 / (n * P)).sum()

    best = optimize.minimize(variance, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 0})
    ratio = np.exp(best.x) / M
    rate = kalton_anderson(P, c)
    np.testing.assert_allclose(ratio / ratio[-1], rate / rate[-1], rtol=OPTIMISER)


def greedy(spread, total, lower, upper):
    n = lower.copy()
    heap = [(-(spread[h] ** 2) / (n[h] * (n[h] + 1)), h) for h in range(len(n)) if n[h] < upper[h]]
    heapq.heapify(heap)
    while n.sum() < total:
        _, h = heapq.heappop(heap)
        n[h] += 1
        if n[h] < upper[h]:
            heapq.heappush(heap, (-(spread[h] ** 2) / (n[h] * (n[h] + 1)), h))
    return n


def box(seed):
    rng = np.random.default_rng(seed)
    H = rng.integers(1, 12)
    lower = rng.integers(1, 4, H)
    upper = lower + rng.integers(0, 15, H)
    return rng, H, lower, upper, int(rng.integers(lower.sum(), upper.sum() + 1))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_integer_neyman_is_the_greedy_optimum(seed):
    rng, H, lower, upper, total = box(seed)
    spread = rng.choice([0, 1, 2, 5, rng.random()], H)
    n = neyman_integer(spread, total, lower, upper)
    assert n.sum() == total and (n >= lower).all() and (n <= upper).all()
    other = greedy(spread, total, lower, upper)
    assert (spread**2 / n).sum() == pytest.approx((spread**2 / other).sum(), rel=1e-12)


def recursive_neyman(d, total, lower, upper):
    """Take the strata that leave their bounds to them, on the side that dominates, and solve again."""
    n, open_ = np.zeros(len(d)), np.ones(len(d), bool)
    while open_.any():
        left = total - n[~open_].sum()
        free = left * d / d[open_].sum()
        over, under = open_ & (free >= upper), open_ & (free <= lower)
        if not (over | under).any():
            n[open_] = free[open_]
            break
        excess = (free - upper)[over].sum() - (lower - free)[under].sum()
        above = over.any() and excess >= 0
        take = over if above else under
        n[take] = (upper if above else lower)[take]
        open_ &= ~take
    return n


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_fill_is_recursive_neyman(seed):
    rng, H, lower, upper, total = box(seed)
    d = np.exp(rng.normal(size=H))
    n = fill(d, total, lower.astype(float), upper.astype(float))
    assert n.sum() == pytest.approx(total, rel=EXACT)
    np.testing.assert_allclose(n, recursive_neyman(d, total, lower, upper), rtol=1e-9, atol=1e-9)
    whole = round_to_total(n, total, lower, upper)
    assert whole.sum() == total and np.abs(whole - n).max() < 1 + 1e-9


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_fill_with_costs_is_optimal(seed):
    rng, H, lower, upper, _ = box(seed)
    cost, d = np.exp(rng.normal(size=H)), np.exp(rng.normal(size=H))
    budget = cost @ lower + rng.random() * (cost @ (upper - lower))
    n = fill(d / np.sqrt(cost), budget, lower.astype(float), upper.astype(float), cost)
    assert cost @ n == pytest.approx(budget, rel=EXACT)
    # at the optimum d² / (c n²) is one number for the strata off their bounds, less at l, more at u
    worth = d**2 / (cost * n**2)
    inside = (n > lower * (1 + 1e-9)) & (n < upper * (1 - 1e-9))
    if inside.any():
        price = worth[inside].mean()
        np.testing.assert_allclose(worth[inside], price, rtol=1e-8)
        assert (worth[n <= lower * (1 + 1e-9)] <= price * (1 + 1e-8)).all() or (upper == lower).any()
        assert (worth[n >= upper * (1 - 1e-9)] >= price * (1 - 1e-8)).all() or (upper == lower).any()


def test_fill_edges():
    zero, ten = np.zeros(2), np.full(2, 10.0)
    assert fill(np.array([0.0, 1.0]), 15, zero, ten).tolist() == [5.0, 10.0]
    assert fill(np.zeros(2), 10, zero, ten).tolist() == [5.0, 5.0]
    with pytest.raises(ValueError, match="no allocation of 21 lies within bounds"):
        fill(np.ones(2), 21, zero, ten)
    with pytest.raises(ValueError, match="no allocation of 5"):
        neyman_integer(np.ones(2), 5, np.full(2, 3), np.full(2, 9))


def test_molefe_clark_against_an_optimiser(rng):
    importance, rho, total = rng.uniform(0.01, 1, 6), 0.08, 60.0

    def loss(z):
        n = total * np.exp(z) / np.exp(z).sum()
        return (importance / (1 + (n - 1) * rho)).sum()

    best = optimize.minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-10})
    n = molefe_clark(importance, total, rho, np.zeros(6), np.full(6, 1e9))
    assert n.sum() == pytest.approx(total)
    assert (importance / (1 + (n - 1) * rho)).sum() <= best.fun * (1 + 1e-9)


def test_choudhry_rao_hidiroglou_is_the_convex_optimum():
    share, cost = N / N.sum(), np.array([1.0, 1.2, 2.0, 3.0])
    allowed = (0.05 * (share @ Y)) ** 2
    two = np.full(4, 2.0)
    n = choudhry_rao_hidiroglou(N, S, S / Y, np.full(4, 0.1), allowed, cost, two, N)
    domain = np.diag(S**2 / ((0.1 * Y) ** 2 + S**2 / N))
    nation = share**2 * S**2 / (allowed + (share**2 * S**2 / N).sum())
    best = allocate_convex(sparse.csr_matrix(np.column_stack([domain, nation])), cost, two, N)
    np.testing.assert_allclose(n, best.n, rtol=1e-9)
    with pytest.raises(ValueError, match="domain 3 needs"):
        choudhry_rao_hidiroglou(N, S, S / Y, np.full(4, 0.1), allowed, cost, two, np.full(4, 300.0))


def test_two_stage_share_and_effect():
    size = np.array([500.0, 90, 80, 70, 60, 40, 30])
    one = np.ones(1)
    threshold = 100.0  # 10 interviews of 1,000 people at n = 100
    # 500 alone; 90 + 80 (70 more would pass 200); 70 + 60 + 40 + 30 = 200 together: 2 of 4 are drawn
    share = self_representing(10 * 1000 / threshold * one, 1000 * one, 10 * one, np.array([0, 7]), size)
    assert share[0] == pytest.approx(670 / 870)
    deff = two_stage_deff(share, 10 * one, np.array([[0.05]]))
    assert deff[0, 0] == pytest.approx(share[0] + (1 - share[0]) * 1.45)
