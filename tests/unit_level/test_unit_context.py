"""Unit-context covariates: told apart from those of units, refused unless asked for; the bias that is why."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import sae
from sae.errors import SaeSpecError
from sae.unit_level.unit_context import refuse_unit_context, varies_within

AREA = np.array([0, 0, 1, 1, 2])


def test_columns_that_vary_are_told_by_the_units_alone():
    X = np.column_stack([np.ones(5), [7.0, 7, 3, 3, 3], [1.0, 1, 1, 2, 1], [0.1, 0.1 + 1e-13, 1, 1, 1]])
    assert varies_within(X, AREA).tolist() == [False, False, True, False]
    order = np.array([4, 2, 0, 3, 1])
    assert varies_within(X[order], AREA[order]).tolist() == [False, False, True, False]


def test_refused_unless_asked_for_or_beside_covariates_of_units():
    X = np.column_stack([np.ones(5), [7.0, 7, 3, 3, 3], [1.0, 1, 1, 2, 1]])
    names = ["Intercept", "rate", "age"]
    refuse_unit_context(X, AREA, names)
    refuse_unit_context(X[:, :1], AREA, names[:1])  # no covariates at all
    with pytest.raises(SaeSpecError, match=r"All covariates \(rate\) are the same"):
        refuse_unit_context(X[:, :2], AREA, names[:2])
    refuse_unit_context(X[:, :2], AREA, names[:2], unit_context=True)


def test_means_are_right_and_head_counts_are_not():
    """One skew covariate of persons, replaced by its area mean: EBLUPs hold, shares below a line do not."""
    rng = np.random.default_rng(5)
    mean_bias, head_bias, unit_bias = [], [], []
    for _ in range(4):
        area = np.repeat(np.arange(40), 100)
        x = rng.exponential(0.5 + rng.random(40)[area])
        y = 10 + 2 * x + 0.5 * rng.normal(size=40)[area] + 0.7 * rng.normal(size=len(area))
        frame = pd.DataFrame({"area": [f"A{d:02}" for d in area], "x": x, "y": y})
        frame["context"] = frame.groupby("area")["x"].transform("mean")
        means = frame.groupby("area", as_index=False)[["x", "context", "y"]].mean()
        sample = frame.groupby("area").sample(20, random_state=int(rng.integers(1e6)))
        line = 11.0
        poor = (frame["y"] < line).groupby(frame["area"]).mean().to_numpy()
        for column, biases in (("context", head_bias), ("x", unit_bias)):
            fit = sae.NestedError(f"y ~ {column}", domain="area").fit(sample, areas=means)
            if column == "context":
                mean_bias.append((fit.estimates["estimate"] - means["y"]).mean())
            u = fit.random_effects["effect"].to_numpy()[area]
            spread = np.sqrt(fit.variance_components["sigma2_e"])
            centre = fit.coefficients["coef"].to_numpy() @ [np.ones(len(x)), frame[column]] + u
            share = pd.Series(ndtr((line - centre) / spread)).groupby(frame["area"]).mean()
            biases.append((share.to_numpy() - poor).mean())
    assert abs(np.mean(mean_bias)) < 0.08 and abs(np.mean(unit_bias)) < 0.01
    assert abs(np.mean(head_bias)) > 5 * abs(np.mean(unit_bias)) and abs(np.mean(head_bias)) > 0.02
