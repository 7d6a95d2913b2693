"""What a budget buys: brute force over sets of domains, derivatives, a covariate known to be right."""

from itertools import combinations
from time import process_time

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError
from sae.numerics.allocation.with_model import total_and_gain
from sae.planning import best_covariates, best_interviews, frontier, interview_value, oversample

SLOPE = 1e-5  # difference quotients of one interview in a thousand
FRONTIER = 10.0  # CPU seconds for 50 budgets and 1,000 strata


def planned(m=40, seed=1, strata=None, known=True, sigma_u=0.04, **columns):
    rng = np.random.default_rng(seed)
    x, noise = rng.uniform(-1, 1, (2, m))
    truth = 0.5 + 0.1 * x + sigma_u * rng.normal(size=m)
    n = rng.integers(20, 120, m)
    vardir = 1.5 * truth * (1 - truth) / n
    table = pd.DataFrame(
        {
            "area": [f"A{d:03d}" for d in range(m)],
            "x": x,
            "noise": noise,
            "y": truth + np.sqrt(vardir) * rng.normal(size=m),
            "vardir": vardir,
            "n": n,
        }
    )
    fit = sae.FayHerriot("y ~ x" if known else "y ~ 1", domain="area", method="bayes").fit(table)
    frame = pd.DataFrame({"domain": table["area"], "population": 50_000.0, **columns})
    if strata is not None:
        frame = frame.assign(stratum=[f"S{d % strata}" for d in range(m)])
    return oversample(fit, frame, targets=0.06), table


def test_the_frontier_is_the_best_set_of_domains_for_every_budget():
    plan, _ = planned(m=8, cost=[1.0, 5.0, 2.0, 9.0, 3.0, 1.0, 7.0, 4.0])
    found = frontier(plan, 12)
    costs = {
        name: plan.unit / (needed + plan.unit / 50_000) * plan.cells.cost  # 0 without a demand
        for name, needed in (("direct", plan.bound), ("model", plan.with_model.needed))
    }
    for name, cost in costs.items():
        for budget, served in zip(found["budget"], found[f"publishable_{name}"], strict=True):
            best = max(
                size
                for size in range(9)
                for chosen in combinations(range(8), size)
                if cost[list(chosen)].sum() <= budget * (1 + 1e-9)
            )
            assert served == best


@pytest.mark.parametrize("strata", [None, 5], ids=["own strata", "shared strata"])
def test_more_money_never_buys_less_and_the_model_never_buys_less(strata):
    plan, _ = planned(strata=strata)
    found = frontier(plan, 30)
    for name in ("direct", "model"):
        assert (found[f"publishable_{name}"].diff().dropna() >= 0).all()
        assert (
            found[f"cost_{name}"].dropna() <= found["budget"][found[f"cost_{name}"].notna()] * (1 + 1e-9)
        ).all()
    assert (found["publishable_model"] >= found["publishable_direct"]).all()
    assert found["publishable_direct"].iloc[-1] == 40 == found["publishable_model"].iloc[-1]
    one = frontier(plan, [float(plan.direct.continuous @ plan.cells.cost) * (1 + 1e-9)])
    assert one["publishable_direct"].tolist() == [40]


def test_fifty_budgets_for_a_thousand_strata():
    rng = np.random.default_rng(2)
    plan, _ = planned(m=1000, cost=rng.uniform(1, 3, 1000))
    start = process_time()
    found = frontier(plan, 50)
    assert len(found) == 50 and process_time() - start < FRONTIER


def test_the_value_of_an_interview_is_a_derivative():
    plan, table = planned()
    found = interview_value(plan)
    now = table["n"].to_numpy(dtype=float)
    step = np.zeros(40)
    step[4] = 1e-3
    ones = np.ones(40)
    change = total_and_gain(plan.planned, now, ones)[0] - total_and_gain(plan.planned, now + step, ones)[0]
    assert found["gain"][4] == pytest.approx(change / 1e-3, rel=1e-3)
    assert found["mse_now"].sum() == pytest.approx(total_and_gain(plan.planned, now, ones)[0])


def test_the_best_500_interviews_beat_any_others():
    plan, table = planned()
    found = best_interviews(plan, 500)
    assert found["extra"].sum() == pytest.approx(500) and (found["extra"] >= 0).all()
    now, ones, best = table["n"].to_numpy(dtype=float), np.ones(40), found["mse_then"].sum()
    rng = np.random.default_rng(1)
    for shares in (ones / 40, *rng.dirichlet(ones, 30)):
        assert total_and_gain(plan.planned, now + 500 * shares, ones)[0] > best
    with pytest.raises(SaeInputError, match="members left to interview"):
        best_interviews(plan, 1e9)


def test_the_covariate_that_made_the_data_is_worth_most():
    plan, table = planned(known=False)
    candidates = table[["area", "x", "noise"]].rename(columns={"area": "domain"})
    found = best_covariates(plan, candidates)
    assert found["covariate"].tolist()[:2] == ["", "x"]
    by_name = found.set_index("covariate")
    assert by_name.loc["x", "change"] < -0.1 < by_name.loc["noise", "change"]
    assert by_name.loc["x", "sigma_u"] < by_name.loc["", "sigma_u"]
    with pytest.raises(SaeInputError, match="lack 1 domains: A005"):
        best_covariates(plan, candidates[candidates["domain"] != "A005"])
