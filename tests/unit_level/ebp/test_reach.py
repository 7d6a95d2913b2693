"""Box–Cox with a negative λ: what rests on welfare at its top, by likelihood and posterior."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeWarning
from sae.numerics.ebp.indicators import Indicators
from sae.numerics.ebp.transforms import Scale
from sae.unit_level.ebp.reach import reach_messages

LARGE = 6.0  # times the standard errors by the logarithm, which is true: they were hundreds of times as large
NEAR = 1.2  # of these standard errors between the two estimates


def country(seed, areas=12):
    """Log-normal incomes of 12 areas, six persons of each in the sample."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(areas), 60)
    frame = pd.DataFrame({"area": [f"{d:02d}" for d in of], "x": rng.normal(size=len(of))})
    score = 9.0 + 0.3 * frame["x"] + 0.25 * rng.normal(size=areas)[of]
    frame["y"] = np.exp(score + 0.5 * rng.normal(size=len(of)))
    return frame, frame.groupby("area").head(6)


def fitted(frame, sample, **options):
    given = {"indicators": ["mean", "gini", "quintile_share"], "draws": 100, **options}
    if given.get("method") != "bayes":
        given["replicates"] = 60
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sae.EBP("y ~ x", domain="area", **given).fit(sample, areas=frame[["area", "x"]], seed=1)


@pytest.mark.parametrize("method", ["reml", "bayes"])
def test_figures_and_errors_are_those_of_the_true_scale_nearly(method):
    """λ is below 0, and replicates and draws reach far lower: without a top their means are 1e4 times y."""
    frame, sample = country(2)
    made = fitted(frame, sample, method=method)
    lowest = made.variance_components["lambda" if method == "reml" else "lambda_low"]
    assert lowest < -0.1
    table = made.estimates.frame
    true = fitted(frame, sample, method=method, transform="log").estimates.frame
    apart = (table["estimate"] - true["estimate"]) / true["se"]
    assert np.abs(apart[table["indicator"] == "mean"]).max() < NEAR
    assert (table["se"] / true["se"]).max() < LARGE
    text = [m for m in made.messages if "Box–Cox" in m.text]
    assert len(text) == 1
    assert "five times the largest of the sample" in text[0].text


def test_what_rests_on_the_top():
    scale, y = Scale("box-cox", -0.3, 0.0, 50_000.0), np.array([1_000.0, 5_000.0, 3_000.0])
    means = Indicators(("mean", "head_count"), 2_000.0)
    assert reach_messages(means, scale, y, 0.0) == []
    assert reach_messages(means, scale, y, 1e-6) == []
    (one,) = reach_messages(means, scale, y, 1e-4)
    assert "0.01 % of the persons" in one.text
    assert "0.17 % of the mean" in one.text  # 1e-4 times 50,000 / 3,000
    assert one.category is None
    assert reach_messages(means, scale, y, 2e-3)[0].category is SaeWarning
    assert reach_messages(Indicators(("head_count", "median"), 2_000.0), scale, y, 0.2) == []
    with pytest.raises(SaeInputError, match=r"mean: Box–Cox with λ = -0.3 .* 17 % of the mean"):
        reach_messages(means, scale, y, 0.01)


def test_a_scale_without_a_mean_is_refused():
    frame, sample = country(1)
    sample = sample.assign(y=1.0 / sample["y"].rank() ** 1.5)
    for method in ("reml", "bayes"):
        with pytest.raises(SaeInputError, match="which a mean cannot rest on"):
            fitted(frame, sample, method=method, indicators=["mean"])
    poor = fitted(frame, sample, indicators=["head_count"], threshold=0.01)
    assert np.isfinite(poor.estimates.frame["se"]).all()
