import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeSpecError


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"domain": [f"A{k:02d}" for k in range(40)] * 2, "x": rng.normal(size=80), "vardir": 0.3}
    )
    frame["year"] = np.repeat(["2019", "2020"], 40)
    frame["y"] = 1 + frame["x"] + 0.7 * rng.normal(size=80) + np.sqrt(0.3) * rng.normal(size=80)
    frame.loc[3, "y"] = np.nan
    return frame


@pytest.fixture(scope="module")
def fit(frame):
    return sae.FayHerriot("y ~ x", method="bayes").fit(frame[frame["year"] == "2019"])


def test_arviz_holds_the_draws_under_their_names(fit):
    data = fit.to_arviz(400, seed=5)
    theta = data["posterior"]["theta"]
    draws = fit.draws(400, seed=5).to_frame()
    for name in ("A00", "A03", "A39"):
        np.testing.assert_array_equal(theta.sel(domain=name).values.ravel(), draws[name])
    assert "A03" not in data["observed_data"]["y"].coords["sampled_domain"].values
    assert list(data["posterior"]["beta"].coords["coefficient"].values) == ["Intercept", "x"]
    assert data["posterior"].attrs["prior"] == fit.estimates["prior"].iloc[0]
    assert "created_at" not in data["posterior"].attrs


def test_several_fits_are_told_apart(frame):
    fit = sae.FayHerriot("y ~ x", method="bayes", per="year").fit(frame)
    data = fit.to_arviz(16, seed=5)
    assert data["posterior"]["theta"].sizes["domain"] == 80
    assert len([name for name in data["posterior"].data_vars if str(name).startswith("sigma_u")]) == 2
    assert len(fit.loo().drop(columns=["elpd", "k"]).drop_duplicates()) == 79


def test_loo_is_that_of_refitting_without_the_area(fit, frame):
    """E of the normal predictive density of A05 over the posterior of the other areas."""
    rest = frame[(frame["year"] == "2019")].copy()
    y = rest.loc[5, "y"]
    rest.loc[5, "y"] = np.nan
    prior = sae.priors.HalfNormal(float(fit.estimates["prior"].iloc[0][12:-1]))
    fixed = sae.FayHerriot("y ~ x", method="bayes", prior=prior)
    theta = fixed.fit(rest).draws(200_000, seed=2).to_frame()["A05"].to_numpy()
    density = np.exp(-0.5 * (y - theta) ** 2 / 0.3) / np.sqrt(2 * np.pi * 0.3)
    error = density.std() / np.sqrt(len(density)) / density.mean()
    elpd = fit.loo().set_index("domain").loc["A05", "elpd"]
    assert abs(elpd - np.log(density.mean())) < 4 * error


def test_verbs_without_meaning_are_refused(fit, frame):
    eblup = sae.FayHerriot("y ~ x").fit(frame[frame["year"] == "2020"])
    with pytest.raises(SaeSpecError, match='method="bayes"'):
        eblup.to_arviz(400, seed=1)
    with pytest.raises(SaeSpecError, match='method="bayes"'):
        eblup.loo()
    with pytest.raises(SaeSpecError, match="seed"):
        fit.to_arviz(400)
    with pytest.raises(SaeSpecError, match="multiple of 4"):
        fit.to_arviz(401, seed=1)
    with pytest.raises(SaeSpecError, match="benchmarked"):
        fit.benchmark(50.0).to_arviz(400, seed=1)


def test_predictive_check_sees_data_that_the_model_cannot_make(fit, frame):
    good = fit.predictive_check(seed=3)
    assert good.loc["mean", "observed"] == pytest.approx(fit.estimates["direct"].mean())
    assert good["p_value"].dropna().between(0.01, 0.99).all() and good.loc["outside", "observed"] <= 0.1
    wild = frame[frame["year"] == "2020"].copy()
    wild.iloc[7, wild.columns.get_loc("y")] += 40.0
    wild = sae.FayHerriot("y ~ x", method="bayes", prior="half-normal(0.05)").fit(wild)
    bad = wild.predictive_check(seed=3)
    assert bad.loc["max", "p_value"] < 0.01 and bad.loc["max", "observed"] > bad.loc["max", "high"]
    with pytest.raises(SaeSpecError, match="seed"):
        fit.predictive_check()
