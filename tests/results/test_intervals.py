"""Intervals of the table: every estimate lies inside its own, at every level, and none becomes shorter."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.results.intervals import holding


def test_ends_move_to_the_estimate_and_say_so():
    estimate = np.array([1.0, 2.0, 3.0, 4.0])
    low, high, name = holding(
        estimate, np.array([0.5, 2.5, 2.0, np.nan]), np.array([1.5, 3.0, 2.9, np.nan]), "posterior"
    )
    np.testing.assert_array_equal(low, [0.5, 2.0, 2.0, np.nan])
    np.testing.assert_array_equal(high, [1.5, 3.0, 3.0, np.nan])
    assert name.tolist() == ["posterior", *["posterior, widened to the estimate"] * 2, "posterior"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "ml"},
        {"method": "bayes"},
        {"transform": "arcsin", "replicates": 20},
        {"transform": "arcsin", "method": "bayes"},
        {"transform": "log"},
    ],
)
@pytest.mark.parametrize("level", [0.05, 0.5])
def test_no_estimate_lies_outside_its_interval(rng, options, level):
    frame = pd.DataFrame({"domain": [f"A{k}" for k in range(15)], "x": rng.normal(size=15), "n_eff": 30.0})
    frame["y"] = rng.beta(2, 30, size=15).clip(0.005, 1)
    frame["vardir"] = frame["y"] * (1 - frame["y"]) / 30
    frame.loc[14, "y"] = np.nan
    widened = 0
    for trial in range(3):
        frame["y"] = frame["y"].sample(frac=1.0, random_state=trial).to_numpy()
        if options.get("transform") == "log":
            frame = frame.dropna().assign(vardir=(0.2 * frame["y"]) ** 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = sae.FayHerriot("y ~ x", level=level, **options).fit(frame, seed=1).to_frame()
        assert (table["ci_low"] <= table["estimate"]).all()
        assert (table["estimate"] <= table["ci_high"]).all()
        widened += table["interval"].str.contains("widened").sum()
    assert widened or options.get("method") == "bayes" or level > 0.05  # the rule was needed
