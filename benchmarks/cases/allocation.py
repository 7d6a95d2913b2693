"""The cheapest allocation under precision constraints: three sizes and a frontier of budgets."""

from dataclasses import dataclass
from typing import Any

from harness import Case


@dataclass(frozen=True)
class Data:
    """a_hj with right sides 1, costs and bounds; what a budget needs beside them."""

    a: Any
    cost: Any
    lower: Any
    upper: Any
    np: Any


def country(strata, regions, indicators, factor=1.0):
    """Nest strata in regions; CV 10 % for each indicator × region, 1 % for the nation, times `factor`."""
    import numpy as np
    from scipy import sparse

    rng = np.random.default_rng(20261122)
    region = np.arange(strata) * regions // strata
    N = np.round(np.exp(rng.normal(8, 1.2, strata))) + 2
    share = rng.beta(2, 8, (strata, indicators))
    blocks = []
    for v in range(indicators):
        p = share[:, v]
        for code, count, cv in ((region, regions, 0.1), (np.zeros(strata, int), 1, 0.01)):
            right = (factor * cv * np.bincount(code, N * p, count)) ** 2
            right += np.bincount(code, N * p * (1 - p), count)
            values = N**2 * p * (1 - p) / right[code]
            blocks.append(sparse.csr_matrix((values, (np.arange(strata), code)), shape=(strata, count)))
    a = sparse.hstack(blocks, format="csr")
    return Data(a, rng.uniform(0.5, 3, strata), np.minimum(2.0, N), N, np)


def own(data):
    from sae.numerics.allocation.convex import allocate_convex

    return allocate_convex(data.a, data.cost, data.lower, data.upper).cost


def clarabel(data):
    """Solve the same programme as cones, scaled by a guess g: x_h = y_h / g_h, t_h y_h >= 1."""
    import clarabel
    from scipy import sparse

    np, a = data.np, data.a
    H, J = a.shape
    g = np.sqrt(data.cost**-1 * (a @ np.ones(J)))  # the sizes of one round of Chromy's iteration
    g *= np.max(a.T @ (1 / g))
    g = np.clip(g, data.lower, data.upper)
    eye, none = sparse.identity(H, format="csc"), sparse.csc_matrix((H, H))
    rows = np.arange(3 * H).reshape(H, 3)
    # (t + y, t - y, 2) in the second-order cone: t y >= 1
    cone = sparse.csc_matrix(
        (
            -np.concatenate([np.ones(3 * H), -np.ones(H)]),
            (
                np.concatenate([rows[:, 0], rows[:, 0], rows[:, 1], rows[:, 1]]),
                np.concatenate([np.arange(H), H + np.arange(H), np.arange(H), H + np.arange(H)]),
            ),
        ),
        shape=(3 * H, 2 * H),
    )
    side = sparse.hstack([sparse.csc_matrix((J, H)), a.multiply(1 / g[:, None]).T.tocsc()])
    box = sparse.vstack([sparse.hstack([none, eye]), sparse.hstack([none, -eye])])
    A = sparse.vstack([side, box, cone]).tocsc()
    shift = np.zeros(3 * H)
    shift[rows[:, 2]] = 2.0
    b = np.concatenate([np.ones(J), g / data.lower, -g / data.upper, shift])
    scale = float(data.cost @ g)
    q = np.concatenate([data.cost * g / scale, np.zeros(H)])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cones = [clarabel.NonnegativeConeT(J + 2 * H)] + [clarabel.SecondOrderConeT(3)] * H
    solver = clarabel.DefaultSolver(sparse.csc_matrix((2 * H, 2 * H)), q, A, b, cones, settings)
    return solver.solve().obj_val * scale


def same_cost(data, ours, theirs):
    if not ours <= theirs * (1 + 1e-5):
        raise AssertionError(f"our cost {ours} is above theirs, {theirs}")


def memory(data):
    return float(data.a.data.sum())


def frontier(data):
    from sae.numerics.allocation.budget import allocate_within

    np = data.np
    fixed = data.a.T @ (1 / data.upper) * 0.999
    budgets = np.geomspace(data.cost @ data.lower * 1.05, data.cost @ data.upper * 0.5, 50)
    r, costs = 1.0, []
    for budget in budgets:
        r, best = allocate_within(data.a, fixed, 1 - fixed, data.cost, data.lower, data.upper, budget, r)
        costs.append(best.cost)
    return costs


CASES = [
    Case(
        name="allocation_3000x1200",
        setup=lambda: country(3000, 299, 4),
        run=own,
        peer=clarabel,
        peer_name="Clarabel on the same programme, scaled",
        check=same_cost,
        unit="plan",
        target="under 1 s",
    ),
    Case(
        name="allocation_100000x20",
        setup=lambda: country(100_000, 1, 10, 0.02),
        run=own,
        peer=memory,
        peer_name="one pass over the constraint matrix",
        unit="plan",
        repeat=3,
        target="under 10 s",
    ),
    Case(
        name="allocation_frontier_50x1000",
        setup=lambda: country(1000, 50, 3),
        run=frontier,
        peer=own,
        peer_name="one plan for fixed targets",
        unit="plan",
        units=50,
        repeat=3,
        target="50 budgets under 10 s",
    ),
]
