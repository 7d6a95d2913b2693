"""What every result shares: draws, summary, plots."""

import warnings

import numpy as np
import pandas as pd
import pytest

from sae.area_level import FayHerriot
from sae.errors import SaeSpecError

DRAWS = 20_000
SAMPLED = 0.06  # relative error of a variance from 20,000 draws is 0.01; the largest of 30 stays below this


def test_draws_of_many_areas_have_the_joint_moments(frame, rng):
    more = [frame, frame.assign(area="B" + frame["area"], y=frame["y"] + rng.normal(size=30))]
    fit = FayHerriot("y ~ x", domain="area").fit(pd.concat(more, ignore_index=True))
    draws = fit.draws(DRAWS, seed=1)
    assert draws.values.shape == (DRAWS, 60)
    assert "N(EBLUP, joint MSE matrix)" in repr(draws)
    np.testing.assert_allclose(draws.values.var(axis=0), fit.estimates["mse"], rtol=SAMPLED)
    np.testing.assert_allclose(draws.values.mean(axis=0), fit.estimates["estimate"], atol=0.03)
    np.testing.assert_allclose(np.cov(draws.values.T), fit.joint.covariance(), atol=0.05)
    assert draws.to_frame().columns.tolist() == fit.areas["area"].tolist()


def test_draws_of_few_areas_come_from_the_posterior_of_the_intervals(fit):
    draws = fit.draws(DRAWS, seed=1)
    assert "the posterior of the intervals (posterior, flat-variance prior)" in repr(draws)
    table = fit.estimates.frame
    apart = draws.values - table["estimate"].to_numpy()
    np.testing.assert_allclose((apart**2).mean(axis=0), fit.joint.mse(), rtol=SAMPLED)
    np.testing.assert_allclose(apart.T @ apart / DRAWS, fit.joint.covariance(), atol=0.05)
    ends = np.quantile(draws.values, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(ends, table[["ci_low", "ci_high"]].to_numpy().T, atol=0.12)


def test_draws_need_a_seed_and_repeat(fit):
    with pytest.raises(SaeSpecError, match="needs a seed"):
        fit.draws(10)
    assert np.array_equal(fit.draws(10, seed=3).values, fit.draws(10, seed=3).values)
    assert np.array_equal(fit.draws(10, seed=3).values[:4], fit.draws(4, seed=3).values)


# benchmark


@pytest.mark.parametrize("n", [0, -1, "abc", 2.5, None, True])
def test_a_number_of_draws_is_a_whole_number(fit, n):
    with pytest.raises(SaeSpecError, match="at least one draw is needed"):
        fit.draws(n, seed=1)


# flag, summary, plots


def several(rng, fits, areas=11):
    frame = pd.DataFrame(
        [{"area": f"A{d}", "time": f"{2020 + k}"} for k in range(fits) for d in range(areas)]
    ).assign(vardir=0.1)
    frame["x"] = rng.normal(size=len(frame))
    frame["y"] = 1.0 + frame["x"] + rng.normal(size=len(frame))
    return FayHerriot("y ~ x", domain="area", per="time").fit(frame)


def test_summary_of_a_few_fits_shows_the_coefficients_of_each(rng):
    fit = several(rng, 3)
    text = fit.summary()
    assert "11 areas × 3 periods: 33 sampled, 0 without sample" in text
    for (time, term), row in fit.coefficients.iterrows():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{time} / {term} ")]
        assert f"{row['coef']:.5g}" in line and f"{row['se']:.3g}" in line


def test_summary_of_many_fits_shows_the_range_of_each_coefficient(rng):
    fit = several(rng, 6)
    text, slopes = fit.summary(), fit.coefficients["coef"].xs("x", level="term")
    assert "2020 / x" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("x ")]
    assert line.split()[1:] == [f"{value:.5g}" for value in (slopes.min(), slopes.median(), slopes.max())]


def test_summary_of_many_areas_says_that_its_p_value_is_approximate_and_warns_of_nothing(rng):
    x, vardir = rng.normal(size=6000), rng.uniform(0.1, 1.0, 6000)
    y = x + 0.5 * rng.normal(size=6000) + np.sqrt(vardir) * rng.normal(size=6000)
    frame = pd.DataFrame({"domain": np.arange(6000), "x": x, "y": y, "vardir": vardir})
    fit = FayHerriot("y ~ x").fit(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = fit.summary()
    assert "(p about 0." in text and "(p about" not in FayHerriot("y ~ x").fit(frame[:200]).summary()


def test_summary_says_what_an_office_looks_for(fit):
    text = fit.summary()
    wanted = (
        "30 areas: 29 sampled, 1 without sample",
        "model variance",
        "Intercept",
        "median CV",
        "gain",
        "areas CV < 16.5%",
        "normality of residuals",
        "bias of model vs direct",
    )
    assert all(words in text for words in wanted)
    assert repr(fit) == text
    assert "<table" in fit._repr_html_()
    assert "adjustments" in fit.benchmark(10.0, weights="pop").summary()


def test_plots(fit):
    assert len(fit.plot.compare().axes) >= 1
    assert len(fit.plot.caterpillar().axes) >= 1
    assert len(fit.plot.residuals().axes) == 2
    assert len(fit.plot.qq().axes) >= 1
