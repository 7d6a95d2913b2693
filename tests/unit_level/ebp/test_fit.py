"""Intervals of what has no bounded error, and figures that are no numbers."""

import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeConvergenceError, SaeInputError


@pytest.fixture(scope="module")
def country():
    rng = np.random.default_rng(4)
    of = np.repeat(np.arange(6), 30)
    frame = pd.DataFrame({"area": [f"{d:02d}" for d in of], "x": rng.normal(size=len(of))})
    effect = 0.3 * rng.normal(size=6)[of]
    frame["y"] = np.exp(9.0 + 0.3 * frame["x"] + effect + 0.6 * rng.normal(size=len(of)))
    return frame, frame.groupby("area").head(8)


def fitted(country, **options):
    frame, sample = country
    given = {"transform": "log", "draws": 100, **options}
    if given.get("method") != "bayes":
        given["replicates"] = 20
    return sae.EBP("y ~ x", domain="area", **given).fit(sample, areas=frame[["area", "x"]], seed=1)


def test_a_quintile_share_whose_error_is_above_itself_has_no_interval(country):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = fitted(country, transform="none", indicators=["mean", "quintile_share"])
    table = fit.estimates.frame
    none = table["interval"] == "none: error above the figure"
    assert none.any()
    assert (table["indicator"][none] == "quintile_share").all()
    assert table.loc[none, ["ci_low", "ci_high"]].isna().all(axis=None)
    assert np.isfinite(table["mse"]).all()
    rest = table[~none]
    assert (rest["ci_high"] / rest["estimate"] < 21.0).all()  # e³
    text = [str(w.message) for w in caught if "no interval" in str(w.message)]
    assert len(text) == 1
    assert "quintile_share of " in text[0]
    quiet = fitted(country, indicators=["quintile_share"]).estimates.frame
    assert (quiet["interval"] == "t on the replicates, log scale").all()


@pytest.mark.parametrize("method", ["reml", "bayes"])
@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (
            lambda y, w: 1 / 0,
            SaeInputError,
            "The function rich of indicators ended in ZeroDivisionError: div",
        ),
        (
            lambda y, w: "many",
            SaeInputError,
            "The function rich of indicators ended in ValueError: could not",
        ),
        (
            lambda y, w: np.nan if len(y) > 8 else 0.5,
            SaeConvergenceError,
            r"rich is no finite number in .*00, 01",
        ),
    ],
    ids=["raises", "text", "nan"],
)
def test_a_function_that_returns_no_number_is_named(country, method, function, error, text):
    with pytest.raises(error, match=text):
        fitted(country, indicators={"rich": function}, method=method)


def test_a_replicate_without_a_figure_is_named(country):
    def rich(y, w):
        return np.nan if len(y) == 30 and y.max() > 1.2e5 else (y > 2e4).mean()

    with pytest.raises(SaeConvergenceError, match=r"rich is no finite number in .*0\d"):
        fitted(country, indicators={"rich": rich}, draws=2)


def test_shapes_of_residuals_of_a_posterior(country):
    """Those of the likelihood nearly: effects shrink a little less or more, and residuals with them."""
    bayes, reml = (
        fitted(country, indicators=["mean"], method=m).diagnostics.iloc[0] for m in ("bayes", "reml")
    )
    for name in ("skewness_u", "kurtosis_u", "skewness_e", "kurtosis_e"):
        assert bayes[name] == pytest.approx(reml[name], abs=0.1), name
