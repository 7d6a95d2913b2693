"""Bayesian multivariate Fay–Herriot: nodes against a lattice, limits, contrasts, refusals."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.area_level.multivariate.bayes import effect_posterior
from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.inference.priors import HALF_NORMAL
from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.importance import condition_blocks, marginal_blocks

NODES_ERROR = 0.02  # of 2,048 quasi-random nodes in three dimensions, in posterior standard deviations
FLAT_ERROR = 0.02  # the same in two, where a standard deviation may be 0
MONTE_CARLO = 0.06  # four standard errors of 4,000 draws


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    D = 30
    x, u = rng.normal(size=D), rng.normal(size=(D, 2)) @ np.array([[0.6, 0.4], [0.0, 0.5]])
    data = pd.DataFrame(
        {"area": [f"a{k:02d}" for k in range(D)], "x": x, "v1": 0.2, "v2": 0.3, "c": 0.05, "o": 0.0}
    )
    noise = rng.multivariate_normal([0, 0], [[0.2, 0.05], [0.05, 0.3]], D)
    data["y1"], data["y2"] = 1 + x + u[:, 0] + noise[:, 0], 2 - x + u[:, 1] + noise[:, 1]
    data.loc[3, "y1"] = data.loc[5, "y2"] = np.nan
    data.loc[7, ["y1", "y2"]] = np.nan
    return data


def spec(**options):
    vardir = {"y1": "v1", "y2": "v2", ("y1", "y2"): options.pop("shared", "c")}
    return sae.MultivariateFayHerriot(
        ["y1 ~ x", "y2 ~ x"], domain="area", vardir=vardir, method="bayes", **options
    )


@pytest.fixture(scope="module")
def fit(frame):
    return spec().fit(frame)


def test_moments_agree_with_a_lattice_over_all_three_hyperparameters(rng):
    D = 10
    X = np.zeros((D, 2, 2))
    X[:, 0, 0] = X[:, 1, 1] = 1.0
    areas = BlockAreas(rng.normal(size=(D, 2)), X, np.array([[0.5, 0.2], [0.2, 0.4]]) * np.ones((D, 1, 1)))
    found = effect_posterior(areas, [(HALF_NORMAL, 1.0)] * 2, [f"{k}" for k in range(2 * D)], ["a", "b"])
    sd, rho = np.linspace(0.01, 3.6, 36), np.linspace(-0.99, 0.99, 34)
    a, b, r = (grid.ravel() for grid in np.meshgrid(sd, sd, rho))
    V = np.empty((len(a), 2, 2))
    V[:, 0, 0], V[:, 1, 1] = a * a, b * b
    V[:, 0, 1] = V[:, 1, 0] = r * a * b
    log_p = marginal_blocks(V, areas.arrays) - 0.5 * (a * a + b * b)
    heavy = log_p > log_p.max() - 10
    weights = np.exp(log_p[heavy] - log_p.max())
    weights /= weights.sum()
    at = condition_blocks(areas, V[heavy])
    mean = np.einsum("k,kdr->dr", weights, at.means)
    deviation = np.sqrt(np.einsum("k,kdr->dr", weights, at.sds**2 + (at.means - mean) ** 2))
    got, got_sd = found.moments()
    assert (np.abs(got - mean.ravel()) / deviation.ravel()).max() < NODES_ERROR
    assert np.abs(got_sd / deviation.ravel() - 1).max() < NODES_ERROR


def test_independent_components_are_two_univariate_models(frame):
    joint = spec(structure="diagonal", shared="o").fit(frame).estimates.frame
    for name, variance in (("y1", "v1"), ("y2", "v2")):
        alone = sae.FayHerriot(f"{name} ~ x", domain="area", vardir=variance, method="bayes").fit(frame)
        one, two = alone.estimates.frame, joint[joint["indicator"] == name].reset_index(drop=True)
        for column in ("estimate", "ci_low", "ci_high"):
            assert ((one[column] - two[column]).abs() / one["se"]).max() < FLAT_ERROR
        assert (one["se"] / two["se"] - 1).abs().max() < FLAT_ERROR


def test_draws_contrasts_and_joint_error_agree(fit):
    table, values = fit.estimates.frame, fit.draws(4000, seed=1).values
    assert (np.abs(values.mean(axis=0) - table["estimate"]) / table["se"]).max() < MONTE_CARLO
    gap = fit.contrast({"y2": 1, "y1": -1})
    drawn = values[:, 1::2] - values[:, ::2]
    assert (np.abs(drawn.mean(axis=0) - gap["estimate"]) / gap["se"]).max() < MONTE_CARLO
    assert np.abs(drawn.std(axis=0) / gap["se"] - 1).max() < 2 * MONTE_CARLO
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    assert (np.abs(low - gap["ci_low"]) / gap["se"]).max() < 4 * MONTE_CARLO
    assert (np.abs(high - gap["ci_high"]) / gap["se"]).max() < 4 * MONTE_CARLO
    np.testing.assert_allclose(fit.joint.mse(), table["mse"], rtol=1e-8)


def test_the_table_names_prior_and_posterior(fit):
    row = fit.estimates.frame.iloc[0]
    assert "sigma_u[y1] half-normal(" in row["prior"] and "LKJ(1)" in row["prior"]
    assert row["interval"] == "credible, equal-tailed"
    assert "exact posterior given" in fit.summary() and "y1, y2" in fit.summary()
    assert fit.diagnostics["k_hat"].max() < 0.5
    assert fit.correlations.loc["y1, y2", "low"] < 0.6 < fit.correlations.loc["y1, y2", "high"]


def test_leave_one_out_and_streams(frame, fit):
    elpd, k = fit.source.posterior.loo()
    assert np.isfinite(elpd).all() and (k < 0.7).all() and len(elpd) == int(fit.rows.sampled.sum())
    assert np.array_equal(fit.draws(20, seed=4).values, fit.draws(50, seed=4).values[:20])


def test_figures_of_both_components_are_benchmarked(fit):
    done = fit.benchmark({"y1": 30.0, "y2": 60.0}, within="indicator", method="difference", total=True)
    values = done.draws(20, seed=1).values
    np.testing.assert_allclose(values[:, ::2].sum(axis=1), 30.0, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mse": "bootstrap"}, "bootstrap"),
        ({"per": "area"}, "per="),
        ({"structure": "ar1"}, "ar1"),
        ({"population": "N"}, "population"),
        ({"prior": "half-normal(-1)"}, "do not fit"),
    ],
)
def test_options_without_meaning_are_refused(options, words):
    with pytest.raises(SaeSpecError, match=words):
        spec(**options)


def test_a_prior_needs_bayes_and_a_flat_one_enough_areas(frame):
    with pytest.raises(SaeSpecError, match="no meaning"):
        sae.MultivariateFayHerriot(["y1 ~ x", "y2 ~ x"], domain="area", prior="half-normal")
    with pytest.raises(SaeInputError, match="improper in y1"):
        spec(prior="flat-variance").fit(frame.iloc[8:12])


def test_a_specification_survives_toml():
    one = spec(prior="half-cauchy(0.3)")
    assert "half-cauchy(0.3)" in one.to_toml() and 'method = "bayes"' in one.to_toml()
