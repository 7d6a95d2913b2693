"""The frontier of a plan from a fitted model: 50 budgets, 1,000 strata, with and without the model."""

from functools import partial

from harness import Case

STRATA, BUDGETS = 1000, 50


def setup(shared):
    import numpy as np
    import pandas as pd

    import sae
    from sae.planning import oversample

    rng = np.random.default_rng(20261122)
    x = rng.uniform(-1, 1, STRATA)
    truth = 0.5 + 0.1 * x + 0.04 * rng.normal(size=STRATA)
    n = rng.integers(20, 120, STRATA)
    vardir = 1.5 * truth * (1 - truth) / n
    names = [f"A{d:04d}" for d in range(STRATA)]
    y = truth + np.sqrt(vardir) * rng.normal(size=STRATA)
    data = pd.DataFrame({"area": names, "x": x, "y": y, "vardir": vardir, "n": n})
    fit = sae.FayHerriot("y ~ x", domain="area", method="bayes").fit(data)
    frame = pd.DataFrame({"domain": names, "population": 50_000.0, "cost": rng.uniform(1, 3, STRATA)})
    if shared:  # two domains in every stratum
        frame = frame.assign(stratum=[f"S{d // 2}" for d in range(STRATA)])
        frame = pd.concat([frame, frame.assign(stratum=[f"T{d % 500}" for d in range(STRATA)])])
    return oversample(fit, frame, targets=0.06)


def run(plan):
    from sae.planning import frontier

    return frontier(plan, BUDGETS)


def one_plan(plan):
    """Solve the two programmes of the plan once: what a frontier without any thought would do per budget."""
    from sae.planning.with_model.cells import cheapest

    cells = plan.cells
    for sizes in (plan.direct, plan.with_model):
        cheapest(plan.a, sizes.needed, cells.cost, cells.lower, cells.upper)


CASES = [
    Case(
        name=f"planning_frontier_1000{name}",
        setup=partial(setup, shared),
        run=run,
        peer=one_plan,
        repeat=3,
        peer_name="one solution with and one without the model",
        unit="budget",
        units=BUDGETS,
        target="50 budgets under 10 s",
    )
    for name, shared in (("", False), ("_shared", True))
]
