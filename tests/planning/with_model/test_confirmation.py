"""What `confirm` simulates is what the plan promises: a right plan is kept, a wrong one is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeSpecError
from sae.planning import CV, confirm, national_check, oversample

KEPT = 0.93  # of the domains of a right plan; .98 at the requirement, less the spread of 5 × 100 domains


def plan_of(seed, assurance, m=100, **options):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, m)
    truth = 0.5 + 0.1 * x + 0.05 * rng.normal(size=m)
    n = rng.integers(20, 120, m)
    vardir = 1.5 * truth * (1 - truth) / n
    y = truth + np.sqrt(vardir) * rng.normal(size=m)
    names = [f"A{d:03d}" for d in range(m)]
    table = pd.DataFrame({"area": names, "x": x, "y": y, "vardir": vardir, "n": n, "n_eff": n / 1.5})
    fit = sae.FayHerriot("y ~ x", domain="area", **options).fit(table, seed=1)
    frame = pd.DataFrame({"domain": names, "population": 50_000.0})
    return oversample(fit, frame, targets=0.06, assurance=assurance)


@pytest.mark.parametrize("assurance", [None, 0.9])
@pytest.mark.parametrize(
    "options", [{"method": "bayes"}, {"transform": "arcsin", "replicates": 20}], ids=["identity", "arcsin"]
)
def test_a_right_plan_is_kept(assurance, options):
    made = [
        (plan, confirm(plan, 400, seed=seed))
        for seed in range(3)
        for plan in [plan_of(seed, assurance, **options)]
    ]
    share = np.mean([found["kept"][plan.domains["n_model"] > 1].mean() for plan, found in made])
    assert share >= KEPT
    ratio = np.mean([(found["bootstrap_rmse"] / found["promised_rmse"]).mean() for _, found in made])
    assert ratio == pytest.approx(1.0, abs=0.03)  # g1 + g2 + g3 are of second order


def test_a_plan_of_half_the_interviews_is_not():
    plan = plan_of(1, None, method="bayes")
    halved = replace(plan, with_model=replace(plan.with_model, n=plan.with_model.n // 2))
    assert confirm(halved, 400, seed=1)["kept"].mean() < 0.2


def test_a_few_interviews_promise_what_they_give_with_arcsine():
    """0 of 8 persons: the level is not 0, and neither is the error that is promised."""
    rng = np.random.default_rng(3)
    p = np.clip(0.25 + 0.12 * rng.normal(size=60), 0.02, 0.98)
    n = np.r_[np.full(5, 8), rng.integers(100, 300, 55)]
    y = rng.binomial(n, p) / n
    y[:3] = [0, 1 / 8, 6 / 8]
    names = [f"A{d:02d}" for d in range(60)]
    table = pd.DataFrame({"area": names, "y": y, "n": n, "n_eff": n.astype(float), "vardir": 0.1 / n})
    fit = sae.FayHerriot("y ~ 1", domain="area", transform="arcsin", replicates=20).fit(table, seed=1)
    frame = pd.DataFrame({"domain": names, "population": 50_000.0, "minimum": 8, "maximum": 8})
    plan = oversample(fit, frame, targets=0.5, assurance=None)
    found = confirm(plan, 2000, seed=1)
    ratio = (found["bootstrap_rmse"] / found["promised_rmse"])[:5]
    np.testing.assert_allclose(ratio, 1.0, atol=0.07)
    # exact by simulation of binomial samples of 8 from the posterior of p: .087, .083, .138 at one A
    assert found["promised_rmse"][0] > 0.076 and found["promised_rmse"][0] < found["promised_rmse"][2]
    direct = np.sqrt(plan.psi(plan.with_model.n))[0]
    assert direct > np.sqrt(0.0977 * 0.9023 / 8)  # p (1 - p) at the domain's own estimate


@pytest.mark.parametrize("replicates", [0, 1, 2.5, -3, True, "many"])
def test_replicates_are_whole_numbers(replicates):
    plan = plan_of(1, None, m=30, method="bayes")
    with pytest.raises(SaeSpecError, match="replicates"):
        confirm(plan, replicates, seed=1)
    for options, name in (
        ({"mean": 0.0}, "mean"),
        ({"mean": 1.5}, "mean"),
        ({"size": np.inf}, "size"),
        ({"other": -5.0}, "other"),
        ({"other": np.nan}, "other"),
    ):
        with pytest.raises(SaeSpecError, match=name):
            national_check(plan, CV(0.02), **{"mean": 0.5, "size": 1e6, "other": 0.0} | options)
