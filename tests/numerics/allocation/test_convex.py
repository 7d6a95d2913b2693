"""The cheapest allocation under precision constraints: references, another solver, its certificate."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sae.numerics.allocation import convex as allocation_convex
from sae.numerics.allocation.budget import allocate_within
from sae.numerics.allocation.convex import allocate_convex, unreachable
from sae.numerics.allocation.integer import round_feasible

KKT = 1e-8  # the promise of the issue
REFERENCE_COST = 1e-11  # the references are certified by their dual value to about 5e-14
REFERENCE_N = 1e-10  # relative; the reference stops at a relative gap of 1e-12 or better
SOLVER = 1e-6  # relative cost: the default precision of the solver behind cvxpy
BETTER = 1e-9  # relative cost by which a feasible neighbour may not undercut the optimum


def bethel_matrix(frame, by, limits, variables):
    """a_hj of every domain × variable, scaled to right side 1, written out from the formula."""
    N = frame["N"].to_numpy(float)
    columns = []
    for domain, cvs in zip(by, limits, strict=True):
        for level in frame[domain].unique():
            inside = (frame[domain] == level).to_numpy()
            for v in range(variables):
                S, M = frame[f"S{v + 1}"].to_numpy(), frame[f"M{v + 1}"].to_numpy()
                right = (cvs[v] * (N * M)[inside].sum()) ** 2 + (N * S**2)[inside].sum()
                columns.append(inside * N**2 * S**2 / right)
    return sparse.csr_matrix(np.column_stack(columns))


CASES = {
    "R2BEAT_base": ("R2BEAT_strata.csv", ["DOM1", "DOM2"], None, 2),
    "R2BEAT_relaxed": ("R2BEAT_strata.csv", ["DOM1", "DOM2"], None, 2),
    "R2BEAT_tight": ("R2BEAT_strata.csv", ["DOM1", "DOM2"], None, 2),
    "SamplingStrata_strata": ("SamplingStrata_strata.csv", ["DOM1"], [[0.04, 0.06]], 2),
    "SamplingStrata_swissstrata_tightcv": ("SamplingStrata_swissstrata.csv", ["DOM1"], [[0.003] * 4], 4),
}
PEERS = {
    "R2BEAT_base": "R2BEAT_beat1st_base",
    "R2BEAT_relaxed": "R2BEAT_beat1st_relaxed",
    "R2BEAT_tight": "R2BEAT_beat1st_tight",
    "SamplingStrata_strata": "SamplingStrata_bethel_strata_integer",
    "SamplingStrata_swissstrata_tightcv": "SamplingStrata_bethel_swissstrata_tightcv_integer",
}


@pytest.mark.parametrize("case", CASES)
def test_reference(case, shared_data, reference):
    file, by, limits, variables = CASES[case]
    exact = reference("own_exact_allocation")["outputs"][case]
    limits = limits or [exact["cv_DOM1"], exact["cv_DOM2"]]
    frame = pd.read_csv(shared_data / file).rename(columns=str).rename(columns={"cost": "COST"})
    a = bethel_matrix(frame, by, limits, variables)
    N, cost = frame["N"].to_numpy(float), frame["COST"].to_numpy(float)
    lower = np.minimum(2.0, N)
    best = allocate_convex(a, cost, lower, N)
    assert best.cost == pytest.approx(exact["cost"], rel=REFERENCE_COST)
    np.testing.assert_allclose(best.n, exact["n"], rtol=REFERENCE_N)
    assert best.kkt < KKT
    prices = [value if value > 1e-9 else 0.0 for value in exact["multipliers"].values()]
    np.testing.assert_allclose(best.price, prices, rtol=1e-6, atol=1e-7)  # their multipliers carry ~8 digits
    whole = round_feasible(a, cost, lower, N, best.n, best.price)
    assert (a.T @ (1.0 / whole)).max() <= 1.0 + 1e-11
    assert cost @ whole <= cost @ np.ceil(best.n - 1e-9)
    assert cost @ whole <= reference(PEERS[case])["outputs"]["total"]
    if case.startswith("SamplingStrata"):  # real numbers too, the least size imposed only afterwards
        real = reference(PEERS[case].replace("_integer", "_real"))["outputs"]["total"]
        assert best.cost <= real * (1 + REFERENCE_COST)


def test_where_no_constraint_binds_every_stratum_gets_its_least_size(shared_data, reference):
    frame = pd.read_csv(shared_data / "SamplingStrata_swissstrata.csv")
    limits = pd.read_csv(shared_data / "SamplingStrata_swisserrors.csv").filter(like="CV").iloc[0].to_list()
    N = frame["N"].to_numpy(float)
    a = bethel_matrix(frame, ["DOM1"], [limits], 4)
    best = allocate_convex(a, frame["cost"].to_numpy(float), np.minimum(2.0, N), N)
    for kind in ("real", "integer"):
        peer = reference(f"SamplingStrata_bethel_swissstrata_{kind}")["outputs"]["n"]
        np.testing.assert_array_equal(best.n, peer)


def random_problem(seed, spread=1.0, most=25):
    """Strata, constraints with overlapping domains, bounds; some strata fixed, some right sides hard."""
    rng = np.random.default_rng(seed)
    H, J = rng.integers(1, most), rng.integers(1, most)
    a = rng.uniform(0, 1, (H, J)) ** rng.integers(1, 6) * np.exp(spread * rng.normal(size=(H, 1)))
    a *= rng.random((H, J)) < rng.uniform(0.2, 1)
    lower = rng.choice([1.0, 2.0, 5.0], H)
    upper = lower * np.round(np.exp(rng.uniform(0, 9, H) * (rng.random(H) < 0.9)))
    least, most_ = a.T @ (1 / upper), a.T @ (1 / lower)
    right = least + rng.choice([1e-3, 0.05, 0.3, 0.9, 1.5], J) * (most_ - least)
    a = a / np.where(right > 0, right, 1.0)
    if rng.random() < 0.3:
        a = np.column_stack([a, a[:, 0]])  # the same target twice
    return sparse.csr_matrix(a), np.exp(rng.normal(size=H)), lower, upper


@pytest.mark.parametrize("seed", range(150))
def test_certificate(seed):
    a, cost, lower, upper = random_problem(seed, spread=2.0)
    best = allocate_convex(a, cost, lower, upper)
    assert best.kkt < KKT and abs(best.gap) < KKT
    assert (best.n >= lower).all() and (best.n <= upper).all()
    assert (a.T @ (1 / best.n)).max(initial=0) <= 1 + KKT
    # the dual value is a bound whatever the solver did: recompute it from the prices alone
    pull = a @ best.price
    n = np.clip(np.sqrt(pull / cost), lower, upper)
    assert best.cost <= (cost @ n + pull @ (1 / n) - best.price.sum()) * (1 + KKT)


@pytest.mark.parametrize("seed", range(3))
def test_cvxpy_agrees(seed):
    cvxpy = pytest.importorskip("cvxpy")
    a, cost, lower, upper = random_problem(100 + seed, spread=0.5)
    best = allocate_convex(a, cost, lower, upper)
    y = cvxpy.Variable(a.shape[0])  # x = y / n: that solver needs variables of one order
    held = [a.multiply(1 / best.n[:, None]).T @ y <= 1, y <= best.n / lower, y >= best.n / upper]
    problem = cvxpy.Problem(cvxpy.Minimize((cost * best.n / best.cost) @ cvxpy.inv_pos(y)), held)
    problem.solve(solver="CLARABEL")
    assert best.cost == pytest.approx(problem.value * best.cost, rel=SOLVER)
    np.testing.assert_allclose(
        best.price / best.cost, held[0].dual_value, rtol=1e-2, atol=1e-3
    )  # prices near a kink


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(1e-6, 0.5))
def test_no_feasible_neighbour_is_cheaper(seed, length):
    a, cost, lower, upper = random_problem(seed)
    best = allocate_convex(a, cost, lower, upper)
    rng = np.random.default_rng(seed)
    n = np.clip(best.n * np.exp(length * rng.normal(size=len(cost))), lower, upper)
    # scale the neighbour up until it is feasible
    for _ in range(200):
        if (a.T @ (1 / n)).max(initial=0) <= 1:
            break
        n = np.minimum(n * 1.02, upper)
    else:
        n = upper
    assert cost @ n >= best.cost * (1 - BETTER)


def test_hard_edges():
    two = np.array([2.0, 2.0])
    a = sparse.csr_matrix([[10.0, 0.0], [10.0, 4.0]])
    wide = np.array([20.0, 20.0])
    only = allocate_convex(a, np.ones(2), two, wide)  # 10/20 + 10/20 = 1: nothing but the upper bounds
    assert only.n.tolist() == [20.0, 20.0] and only.kkt < KKT
    slack = allocate_convex(sparse.csr_matrix([[0.1], [0.1]]), np.ones(2), two, wide)
    assert slack.n.tolist() == [2.0, 2.0] and slack.price.tolist() == [0.0] and slack.gap == 0
    none = allocate_convex(sparse.csr_matrix((2, 0)), np.ones(2), two, wide)
    assert none.cost == 4.0
    failed, left = unreachable(sparse.csr_matrix([[10.0, 1.0], [11.0, 1.0]]), wide)
    assert failed.tolist() == [0] and left == pytest.approx([1.05])
    with pytest.raises(ValueError, match="constraint 0 fails even at the upper bounds"):
        allocate_convex(sparse.csr_matrix([[10.0, 1.0], [11.0, 1.0]]), np.ones(2), two, wide)


def test_price_is_the_slope_of_the_cost():
    a, cost, lower, upper = random_problem(7)
    best = allocate_convex(a, cost, lower, upper)
    step = 1e-7  # small against the least room, 1e-3
    for j in np.flatnonzero(best.price > 1e-3 * best.cost):
        scale = np.ones(a.shape[1])
        sides = []
        for change in (step, -step):
            scale[j] = 1 / (1 + change)
            sides.append(allocate_convex(a.multiply(scale).tocsr(), cost, lower, upper).cost)
        assert -(sides[0] - sides[1]) / (2 * step) == pytest.approx(best.price[j], rel=1e-3)


def test_crowded_problem_by_working_set(monkeypatch, rng):
    a = sparse.csr_matrix(rng.uniform(0, 1, (60, 150)) ** 3 * rng.uniform(0.5, 2, 150))
    ones = np.ones(60)
    by_set = allocate_convex(a, ones, 2 * ones, 1e5 * ones)
    monkeypatch.setattr(allocation_convex, "_WORKING", 1000)
    at_once = allocate_convex(a, ones, 2 * ones, 1e5 * ones)
    np.testing.assert_allclose(by_set.n, at_once.n, rtol=1e-9)
    np.testing.assert_allclose(by_set.price, at_once.price, rtol=1e-6, atol=1e-9 * at_once.cost)


def test_sparse_system_agrees_with_dense(rng):
    """Many small domains take the sparse factorisation; two halves solved apart must give the same."""
    H, J = 400, 100
    a = np.zeros((H, J))
    a[np.arange(H), np.arange(H) % J] = rng.uniform(1, 30, H)
    ones = np.ones(H)
    together = allocate_convex(sparse.csr_matrix(a), ones, ones, 1e4 * ones)
    for j in range(0, J, 9):
        own = np.flatnonzero(a[:, j])
        apart = allocate_convex(sparse.csr_matrix(a[own][:, [j]]), ones[own], ones[own], 1e4 * ones[own])
        np.testing.assert_allclose(together.n[own], apart.n, rtol=1e-10)


@pytest.mark.parametrize("seed", range(40))
def test_whole_numbers_against_enumeration(seed):
    rng = np.random.default_rng(seed)
    H, J = rng.integers(2, 5), rng.integers(1, 4)
    a = rng.uniform(0, 1, (H, J))
    a = a / (a.sum(axis=0) / rng.uniform(2, 7, J))
    cost = rng.choice([1.0, 1.0, 2.0, 3.0], H)
    lower, upper = np.ones(H), np.full(H, 12.0)
    best = allocate_convex(sparse.csr_matrix(a), cost, lower, upper)
    n = round_feasible(sparse.csr_matrix(a), cost, lower, upper, best.n, best.price)
    assert (a.T @ (1 / n)).max() <= 1 + 1e-11
    assert cost @ n <= cost @ np.ceil(best.n - 1e-9)
    every = np.array(list(itertools.product(range(1, 13), repeat=H)), float)
    feasible = (1 / every @ a <= 1 + 1e-12).all(axis=1)
    optimum = (every[feasible] @ cost).min()
    assert optimum - 1e-9 <= cost @ n <= optimum + 1.0  # one unit at most; see the next test for how often
    assert best.cost <= optimum + 1e-9


def test_whole_numbers_are_nearly_always_optimal():
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        a = sparse.csr_matrix(rng.uniform(0.5, 3, (3, 2)))
        ones, upper = np.ones(3), np.full(3, 15.0)
        best = allocate_convex(a, ones, ones, upper)
        n = round_feasible(a, ones, ones, upper, best.n, best.price)
        every = np.array(list(itertools.product(range(1, 16), repeat=3)), float)
        hits += n.sum() == every[(1 / every @ a.toarray() <= 1).all(axis=1)].sum(axis=1).min()
    assert hits >= 55


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_budget_buys_the_best_common_factor(share):
    a, cost, lower, upper = random_problem(3, spread=0.5)
    fixed = a.T @ (1 / upper) * 0.9
    allowed = np.maximum(1 - fixed, 0.1)
    least = allocate_convex(a.multiply(1e-9).tocsr(), cost, lower, upper).cost
    budget = least + share * (cost @ upper - least)
    r, best = allocate_within(a, fixed, allowed, cost, lower, upper, budget)
    assert best.cost <= budget and best.cost > budget * (1 - 1e-6)
    assert (a.T @ (1 / best.n) - fixed <= r**2 * allowed * (1 + 1e-8)).all()
    tighter = fixed + (r * (1 - 1e-4)) ** 2 * allowed
    part = a.multiply(1 / tighter).tocsr()
    assert len(unreachable(part, upper)[0]) or allocate_convex(part, cost, lower, upper).cost > budget
