"""An attacker who knows the benchmark's figures and weights, and every published estimate in full."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

import sae
from sae.publish.benchmarked import protected_by_benchmarks
from sae.publish.rows import shown_rows
from sae.quality import benchmark_estimates
from sae.quality.appearance import PROTECTING, confidential_rows

CLOSE = 1e-5  # of an interval's ends, beyond the tolerance of both programmes


def judged(rng, size, groups):
    """Estimates of which the first of each group rests on two records."""
    group = np.arange(size) % groups
    few = np.arange(size) < groups
    frame = pd.DataFrame({"domain": [f"D{k}" for k in range(size)], "unit": "share"})
    frame = frame.assign(
        estimate=rng.uniform(0.3, 0.7, size),
        se=0.02,
        gamma=np.where(few, 0.1, 0.6),
        n=np.where(few, 2, 80),
        method="FH",
        policy="own",
        flag=np.where(few, ":c", "e"),
        publishable=~few,
        reason=np.where(few, "n 2 < 4", ""),
    )
    return frame, group


def ends(table, weights, group, row):
    """Return between which an attacker finds the estimate of a row."""
    shown, mine = shown_rows(table), group == group[row]
    free = np.flatnonzero(mine & ~shown)
    estimate = table["estimate"].to_numpy()
    right = [weights[free] @ estimate[free]]
    goal = (free == row).astype(float)
    found = [linprog(s * goal, A_eq=[weights[free]], b_eq=right, bounds=(0, 1)).fun * s for s in (1, -1)]
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_benchmark_tells_no_hidden_estimate(seed):
    rng = np.random.default_rng(seed)
    frame, group = judged(rng, 24, 3)
    weights = rng.uniform(1, 9, 24)
    done = benchmark_estimates(
        frame["estimate"], weights, group, {0: 0.45, 1: 0.5, 2: 0.55}, domains=frame["domain"], method="logit"
    )
    table = sae.EstimateTable(frame.assign(estimate=done.estimate))
    told = ends(table, weights, group, 0)
    assert told[1] - told[0] < CLOSE  # exactly, before
    after, lost = protected_by_benchmarks(table, [done])
    further = after["reason"].str.startswith(PROTECTING).to_numpy(bool)
    assert lost == () and 3 <= further.sum() <= 6
    assert (confidential_rows(after.frame) == confidential_rows(table.frame)).all()
    for row in range(3):
        low, high = ends(after, weights, group, row)
        assert low < table["estimate"][row] - 0.2 + CLOSE and high > table["estimate"][row] + 0.2 - CLOSE
    assert protected_by_benchmarks(after, [done])[0]["flag"].tolist() == after["flag"].tolist()


def test_what_no_hiding_helps_is_named_and_hides_nothing_else():
    frame, _ = judged(np.random.default_rng(1), 12, 2)
    group = np.array([0, 1] + [1] * 10)  # the first is alone
    done = benchmark_estimates(
        frame["estimate"], np.ones(12), group, {0: 0.5, 1: 0.5}, domains=frame["domain"], method="logit"
    )
    table = sae.EstimateTable(frame.assign(estimate=done.estimate))
    after, lost = protected_by_benchmarks(table, [done])
    assert lost == ("D0",)
    assert after["reason"].str.startswith(PROTECTING).sum() in (1, 2)


def test_nothing_is_hidden_where_nothing_needs_it():
    rng = np.random.default_rng(2)
    frame, _ = judged(rng, 24, 8)
    done = benchmark_estimates(
        frame["estimate"], np.ones(24), np.zeros(24), {0: 0.5}, domains=frame["domain"]
    )
    table = sae.EstimateTable(frame.assign(estimate=done.estimate))
    after, lost = protected_by_benchmarks(table, [done])  # eight hidden ones leave each other open
    assert lost == () and after["flag"].tolist() == table["flag"].tolist()
