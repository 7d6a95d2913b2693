"""Figures of areas with effects of their own, of every posterior: as the model of that family has them."""

import numpy as np
import pandas as pd
import pytest

import sae

pytestmark = pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
SIZE, DRAWS = 40, 2000
MEAN = 6.0 / np.sqrt(DRAWS)  # of standard deviations: 6 standard errors


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    x, u, n = rng.normal(size=SIZE), 0.7 * rng.normal(size=SIZE), rng.integers(20, 200, SIZE)
    frame = pd.DataFrame({"domain": [f"A{k:02d}" for k in range(SIZE)], "x": x, "n": n, "df": 20})
    frame["vardir"] = 0.5 * np.exp(rng.uniform(-1, 1, SIZE))
    frame["y"] = 1 + x + u + np.sqrt(frame["vardir"]) * rng.normal(size=SIZE)
    frame["k"] = rng.binomial(n, 1 / (1 + np.exp(0.5 - 0.5 * x - u)))
    frame["share"], frame["n_eff"] = frame["k"] / n, 1.0 * n
    return frame.assign(z=0.5 * frame["y"] + 0.6 * rng.normal(size=SIZE), w=0.3, c=0.05, e=0.02)


def edges():
    names = [f"A{k:02d}" for k in range(SIZE)]
    return pd.DataFrame({"a": names[:-1], "b": names[1:]})


def units(frame):
    rng = np.random.default_rng(5)
    part = pd.DataFrame({"domain": np.repeat(frame["domain"], 6).to_numpy()})
    part["x"] = rng.normal(size=len(part))
    part["y"] = 1 + part["x"] + np.repeat(rng.normal(size=SIZE), 6) + rng.normal(size=len(part))
    return part.assign(b=(part["y"] > 1).astype(int))


FAMILIES = {
    "Fay–Herriot": lambda f: sae.FayHerriot("y ~ x", method="bayes").fit(f),
    "arcsine": lambda f: sae.FayHerriot("share ~ x", transform="arcsin", method="bayes").fit(f),
    "map": lambda f: sae.FayHerriot("y ~ x", spatial=sae.BYM2(edges()), method="bayes").fit(f),
    "multivariate": lambda f: sae.MultivariateFayHerriot(
        ["y ~ x", "z ~ x"], vardir={"y": "vardir", "z": "w", ("y", "z"): "c"}, method="bayes"
    ).fit(f, seed=1),
    "measurement error": lambda f: sae.MeasurementErrorFayHerriot(
        "y ~ x", errors={"x": "e"}, method="bayes"
    ).fit(f, seed=1),
    "binomial": lambda f: sae.BinomialMixed("k ~ x").fit(f, seed=1),
    "beta": lambda f: sae.BetaFayHerriot("share ~ x").fit(f, seed=1),
    "You–Chapman": lambda f: sae.YouChapman("y ~ x", df="df").fit(f, seed=1),
    "Student": lambda f: sae.StudentFayHerriot("y ~ x").fit(f, seed=1),
    "nested error": lambda f: sae.NestedError("y ~ x", method="bayes").fit(
        units(f), areas=f[["domain"]].assign(x=0.1)
    ),
    "logit of units": lambda f: sae.LogitMixed("b ~ x", population="N").fit(
        units(f), areas=f[["domain"]].assign(x=0.1, N=50), seed=1
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_makes_figures_and_a_right_model_passes(family, frame):
    fit = FAMILIES[family](frame)
    new, rows = fit.posterior.fresh(DRAWS, 1), fit.estimates.frame
    assert new.shape == (DRAWS, int(rows["in_sample"].sum()))
    np.testing.assert_array_equal(new, fit.posterior.fresh(DRAWS, 1))
    replicated = fit.posterior.draw(200, 1).replicated
    assert new.std(axis=0).mean() > replicated.std(axis=0).mean()  # the area's own effect is not known
    check = fit.predictive_check(1000, seed=1)
    assert check.loc["overall", "p_value"] > 0.01
    assert check.loc["outside", "observed"] < 0.15


def test_they_have_the_moments_of_the_model(frame):
    fit = sae.FayHerriot("y ~ x", method="bayes").fit(frame)
    new = fit.posterior.fresh(DRAWS, 1)
    variance, weights = fit.posterior.variance_nodes()
    sd = np.sqrt(weights @ variance + frame["vardir"].to_numpy())
    X = fit.data.X @ fit.coefficients["coef"].to_numpy()
    assert (np.abs(new.mean(axis=0) - X) < MEAN * sd + 0.02).all()
    assert np.abs((new.std(axis=0) / sd).mean() - 1) < 0.06  # the coefficients' part comes on top


def test_over_a_map_each_figure_is_predicted_by_the_others(frame):
    """Its log density is that of `loo`."""
    fit = FAMILIES["map"](frame)
    at, weights = fit.posterior.at, fit.posterior.weights
    y = frame["y"].to_numpy()
    log_p = -0.5 * (np.log(2 * np.pi * at.left_out_sd**2) + ((y - at.left_out) / at.left_out_sd) ** 2)
    np.testing.assert_allclose(log_p, at.log_left_out, rtol=1e-9)
    share = weights[:, None] / np.exp(log_p)
    share /= share.sum(axis=0)
    mean = (share * at.left_out).sum(axis=0)
    new = fit.posterior.fresh(DRAWS, 1)
    assert (np.abs(new.mean(axis=0) - mean) < MEAN * new.std(axis=0)).all()
