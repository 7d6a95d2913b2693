"""The structural measurement-error model: without error it is Fay–Herriot; slopes are not flattened."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.area_level.arrays import AreaArrays
from sae.area_level.measurement_error.bayes import MeasuredModel, _joined
from sae.area_level.measurement_error.errors import read_errors
from sae.errors import SaeSpecError
from sae.numerics.inference.priors import HALF_NORMAL

NODES_ERROR = 0.01  # of 2,048 quasi-random nodes, in posterior standard deviations
MONTE_CARLO = 0.07  # four standard errors of 4,000 draws


def simulated(seed, areas=80, error=0.5):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=areas)
    x = 0.5 * z + rng.normal(size=areas)
    frame = pd.DataFrame(
        {"domain": [f"a{k:03d}" for k in range(areas)], "z": z, "vardir": 0.2, "x_var": error}
    )
    frame["x"] = x + np.sqrt(error) * rng.normal(size=areas)
    truth = 1 + 2 * x - z + 0.5 * rng.normal(size=areas)
    frame["y"] = truth + np.sqrt(0.2) * rng.normal(size=areas)
    frame.loc[[3, 8], "y"] = np.nan
    return frame, truth


def spec(**options):
    return sae.MeasurementErrorFayHerriot("y ~ x + z", errors={"x": "x_var"}, method="bayes", **options)


def test_without_error_it_is_fay_herriot(monkeypatch):
    frame, _ = simulated(1, error=0.0)
    monkeypatch.setattr("sae.area_level.measurement_error.bayes._WIDE", 1e6)
    monkeypatch.setattr(MeasuredModel.__init__, "__defaults__", (1e6,))
    fit = spec().fit(frame)
    exact = sae.FayHerriot("y ~ x + z", method="bayes").fit(frame)
    one, two = exact.estimates.frame, fit.estimates.frame
    for column in ("estimate", "ci_low", "ci_high"):
        assert ((one[column] - two[column]).abs() / one["se"]).max() < NODES_ERROR
    difference = (fit.coefficients["coef"] - exact.coefficients["coef"]).abs()
    assert (difference / exact.coefficients["sd"]).max() < NODES_ERROR


def test_slopes_are_those_of_the_true_covariate_where_naive_ones_are_flat():
    """Slope 2; the naive one tends to 2 · 1 / (1 + 0.5) = 1.33. The interval holds the one, not the other."""
    slopes, naive = [], []
    for seed in range(4):
        frame, _ = simulated(seed, areas=150)
        fit = spec().fit(frame)
        slopes.append(fit.coefficients.loc["x", "coef"])
        naive.append(sae.FayHerriot("y ~ x + z").fit(frame).coefficients.loc["x", "coef"])
        assert fit.coefficients.loc["x", "low"] < 2.0 < fit.coefficients.loc["x", "high"]
    assert abs(np.mean(slopes) - 2.0) < 0.25  # four standard errors of the mean of four
    assert np.mean(naive) < 1.5


def test_a_flat_prior_on_every_true_covariate_would_flatten_the_slope():
    """Why the model is structural: y ~ N(x'b, b'Cb + σ² + D) has its top at the naive slope."""
    frame, _ = simulated(2, areas=400)
    seen = frame.dropna()
    y, X = seen["y"].to_numpy(), np.column_stack([np.ones(len(seen)), seen["x"], seen["z"]])
    slopes, tops = np.linspace(0.5, 3.0, 26), []
    for slope in slopes:
        own = [-np.inf]
        for variance in np.linspace(0.0, 4.0, 41):
            total = slope**2 * 0.5 + variance + 0.2
            rest = y - slope * X[:, 1]
            rest = rest - X[:, [0, 2]] @ np.linalg.lstsq(X[:, [0, 2]], rest, rcond=None)[0]
            own.append(-0.5 * (len(y) * np.log(total) + (rest**2).sum() / total))
        tops.append(max(own))
    assert slopes[int(np.argmax(tops))] < 1.6


def test_draws_covariance_and_intervals_agree():
    frame, truth = simulated(4)
    fit = spec().fit(frame)
    table, values = fit.estimates.frame, fit.draws(4000, seed=2).values
    assert (np.abs(values.mean(axis=0) - table["estimate"]) / table["se"]).max() < MONTE_CARLO
    assert np.abs(values.std(axis=0) / table["se"] - 1).max() < MONTE_CARLO
    np.testing.assert_allclose(fit.joint.mse(), table["mse"], rtol=1e-8)
    inside = ((table["ci_low"] < truth) & (truth < table["ci_high"])).mean()
    assert inside > 0.87  # 95 % of 80, less three standard errors
    for name in ("sigma_u half-normal(", "sigma_x[x] half-normal(", "slope[x] normal(0, "):
        assert name in table["prior"].iloc[0]


def test_two_covariates_correlated_with_the_outcome_error():
    frame, _ = simulated(6)
    frame["w"] = np.random.default_rng(1).normal(size=len(frame))
    frame = frame.assign(w_var=0.2, xw=0.05, yx=0.1)
    errors = {"x": "x_var", "w": "w_var", ("x", "w"): "xw", ("y", "x"): "yx"}
    fit = sae.MeasurementErrorFayHerriot("y ~ x + w + z", errors=errors, method="bayes").fit(frame)
    assert fit.diagnostics["k_hat"].iloc[0] < 0.7
    assert fit.coefficients.loc["w", "low"] < 0.0 < fit.coefficients.loc["w", "high"]


def test_a_mean_of_the_covariate_is_there_without_an_intercept():
    frame, _ = simulated(3, areas=20)
    model = sae.MeasurementErrorFayHerriot("y ~ 0 + x", errors={"x": "x_var"})
    from sae.area_level.reading import read_rows
    from sae.numerics.inference.transforms import TRANSFORMS

    rows = read_rows(frame, None, outcome="y", domain="domain", vardir="vardir", n_eff="n_eff", per=())
    problem = AreaArrays.build(rows, TRANSFORMS["identity"], "0 + x")
    joined = _joined(problem, read_errors(tuple(model.errors), "y", problem), [0], [])
    assert joined.X.shape == (20, 2, 1) and (joined.X[:, 1, 0] == 1).all() and (joined.X[:, 0] == 0).all()


def test_a_prior_needs_bayes():
    with pytest.raises(SaeSpecError, match="no meaning"):
        sae.MeasurementErrorFayHerriot("y ~ x", errors={"x": "v"}, prior="half-normal")
    assert HALF_NORMAL == 2
