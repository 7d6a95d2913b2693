"""Intervals from replicates: what they are on each scale, and what they cover where the model holds."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit

import sae
from sae.numerics.ebp.indicators import Indicators
from sae.unit_level.ebp.intervals import replicate_intervals

ROUNDING = 1e-12
COVERAGE = (0.93, 0.985)  # of 60 populations: standard error 0.01; benchmarks/README.md has more of them


class Rows:
    """What intervals take from the rows of a table."""

    def __init__(self, *indicators):
        self.indicator = np.array(indicators, dtype=object)
        self.domain = np.array([f"A{k}" for k in range(len(indicators))], dtype=object)


def test_scales():
    rng = np.random.default_rng(1)
    names = ("head_count", "mean", "own", "quintile_share", "gini")
    share, mean, own = rng.uniform(0.0, 0.4, 50), rng.lognormal(size=50), rng.normal(size=50)
    ratio, gini = np.append(rng.uniform(3.0, 6.0, 49), -2.0), rng.uniform(0.2, 0.4, 50)
    true = np.column_stack([share, mean, own, ratio, gini])
    true[0, 0] = 0.0
    predicted = true * rng.uniform(0.8, 1.2, size=true.shape) + 0.01
    estimate, freedom = np.array([0.1, 1.0, 0.5, 4.0, 0.3]), np.array([3.0, 9.0, 5.0, 4.0, 50.0])
    mse = ((predicted - true) ** 2).mean(axis=0)
    indicators = Indicators(names, 1.0, {"own": len})
    low, high, text = replicate_intervals(
        indicators, Rows(*names), estimate, predicted, true, mse, freedom, 0.9
    )
    t = stdtrit(freedom, 0.95)
    angle = np.arcsin(np.sqrt(predicted[:, 0])) - np.arcsin(np.sqrt(true[:, 0]))
    middle, half = np.arcsin(np.sqrt(0.1)) - angle.mean(), t[0] * angle.std(ddof=1)
    np.testing.assert_allclose(high[0], np.sin(middle + half) ** 2, rtol=ROUNDING)
    np.testing.assert_allclose(low[0], np.sin(max(middle - half, 0.0)) ** 2, rtol=ROUNDING)
    apart = np.log(predicted[:, 1] / true[:, 1])
    np.testing.assert_allclose(high[1], np.exp(-apart.mean() + t[1] * apart.std(ddof=1)), rtol=ROUNDING)
    np.testing.assert_allclose([low[2], high[2]], 0.5 + t[2] * np.sqrt(mse[2]) * np.array([-1, 1]))
    assert np.isnan([low[3], high[3]]).all()  # a replicate below 0 has no logarithm
    assert [one.split(",")[0] for one in text] == [
        "t on the replicates",
        "t on the replicates",
        "t on the MSE",
        "none: error above the figure",
        "t on the replicates",
    ]
    wide = replicate_intervals(indicators, Rows(*names), estimate, predicted, true, 4.0 * mse, freedom, 0.9)
    np.testing.assert_allclose(np.log(wide[1] / wide[0])[1], 2.0 * np.log(high / low)[1], rtol=ROUNDING)


def coverage(populations, areas, sigma_u, seed):
    inside = []
    for k in range(populations):
        rng = np.random.default_rng([seed, k])
        of = np.repeat(np.arange(areas), 60)
        frame = pd.DataFrame({"area": [f"{d:02d}" for d in of], "x": rng.normal(size=len(of))})
        effect = sigma_u * rng.normal(size=areas)[of]
        frame["y"] = np.exp(9.0 + 0.3 * frame["x"] + effect + 0.5 * rng.normal(size=len(of)))
        sample = frame[np.arange(len(of)) % 60 < np.array([3, 8, 15, 0])[of % 4]]
        spec = sae.EBP(
            "y ~ x",
            domain="area",
            indicators=["mean", "head_count"],
            threshold=5_000.0,
            transform="log",
            replicates=80,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = spec.fit(sample, areas=frame[["area", "x"]], seed=k).estimates.frame
        y = frame["y"].to_numpy().reshape(areas, 60)
        true = np.stack([y.mean(axis=1), (y < 5_000.0).mean(axis=1)], axis=1).ravel()
        inside.append((table["ci_low"] <= true) & (true <= table["ci_high"]))
    return np.mean(inside)


@pytest.mark.slow
@pytest.mark.parametrize(("areas", "sigma_u"), [(12, 0.25), (40, 0.25), (40, 0.08)])
def test_coverage_under_the_model(areas, sigma_u):
    """Before, t with areas less coefficients held .97 with 12 areas, and .90 where σu² is estimated 0."""
    low, high = COVERAGE
    assert low < coverage(60, areas, sigma_u, 1) < high
