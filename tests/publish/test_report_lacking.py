"""Interviews lacking: a hand case, the planner's model, and that only steps are given."""

import numpy as np
import pandas as pd

import sae
from sae.publish.report_lacking import interviews_lacking
from sae.quality.appearance import PROTECTING
from tests.publish.report_tables import table

REFIT = 1.1  # the planner averages over the posterior of the model variance, a fit takes its mode


def test_a_direct_estimate_by_hand():
    data = table(times=("2025",))
    shown = data.frame["publishable"].fillna(False).to_numpy(dtype=bool)
    lacking = interviews_lacking(data, shown)
    # 83 * (0.31 / (0.333 * (1 - 0.5123)))**2 - 83 = 219.4, up to the next step
    assert lacking[2] == 500
    assert np.isnan(np.delete(lacking, 2)).all()  # shown, or confidential
    protecting = data.assign(flag=np.where(np.arange(12) == 2, ":c", data["flag"]), reason=PROTECTING)
    assert np.isnan(interviews_lacking(protecting, shown)).all()


def test_a_fit_is_asked_by_the_planner():
    draw = np.random.default_rng(3)
    n, x = np.r_[draw.integers(50, 90, 39), 12], draw.uniform(0, 1, 40)
    p = 0.02 + 0.03 * x
    frame = pd.DataFrame({"area": [f"a{k}" for k in range(40)], "x": x, "n": n, "vardir": p * (1 - p) / n})
    frame["y"] = p + draw.normal(0, np.sqrt(frame["vardir"] + 0.0004))
    frame.loc[39, "y"] = 0.03
    fit = sae.FayHerriot("y ~ x", domain="area").fit(frame).flag("statcan")
    table = fit.estimates.frame
    shown = table["publishable"].fillna(False).to_numpy(dtype=bool)
    lacking = interviews_lacking(fit, shown)
    assert np.isfinite(lacking).sum() >= 5 and np.isnan(lacking[shown]).all()
    # with so many more interviews in one area, and nothing else changed, a new fit meets the policy there
    for row in np.flatnonzero(lacking >= 50)[:4]:
        more = frame.copy()
        more.loc[row, "vardir"] *= n[row] / (n[row] + lacking[row])
        again = sae.FayHerriot("y ~ x", domain="area").fit(more).estimates.frame
        assert again["se"][row] < REFIT * 0.333 * table["estimate"][row] < table["se"][row] * REFIT
