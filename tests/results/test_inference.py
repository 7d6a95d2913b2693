"""Verbs that fits of other packages have: against hand-made least squares and refits with the same areas."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning

CLOSE = 1e-9  # the same formula with the same variances, summed in another order
NEW = ["G1", "G2"]


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    x, D = rng.uniform(0.0, 1.0, 30), rng.uniform(0.001, 0.003, 30)
    y = 0.3 + 0.2 * x + rng.normal(0.0, 0.04, 30) + rng.normal(0.0, np.sqrt(D))
    y[3] = np.nan
    return pd.DataFrame(
        {"area": [f"0{k}" for k in range(30)], "y": y, "x": x, "vardir": D, "n_eff": 900.0, "year": "2024"}
    )


@pytest.fixture(scope="module")
def new():
    return pd.DataFrame({"area": NEW, "x": [0.2, 0.7], "y": [0.9, 0.9]})  # its own y is no sample


@pytest.fixture(scope="module")
def fit(frame):
    return sae.FayHerriot("y ~ x", domain="area").fit(frame)


def test_cov_params_is_that_of_generalised_least_squares(fit, frame):
    seen = frame.dropna()
    X = np.column_stack([np.ones(29), seen["x"]])
    V = np.diag(seen["vardir"] + fit.variance_components["sigma2_u"])
    by_hand = np.linalg.inv(X.T @ np.linalg.inv(V) @ X)
    np.testing.assert_allclose(fit.cov_params().to_numpy(), by_hand, rtol=CLOSE)
    assert fit.cov_params().loc["x", "Intercept"] < 0


def test_cov_params_of_several_fits_stands_in_blocks(frame):
    two = pd.concat([frame, frame.assign(year="2025", y=frame["y"] + 0.1 * frame["x"])])
    both = sae.FayHerriot("y ~ x", domain="area", per=("year",)).fit(two).cov_params()
    one = sae.FayHerriot("y ~ x", domain="area").fit(frame).cov_params()
    np.testing.assert_allclose(both.to_numpy()[:2, :2], one.to_numpy(), rtol=CLOSE)
    assert (both.to_numpy()[:2, 2:] == 0).all()


def test_cov_params_of_units_is_that_of_their_blocks():
    rng = np.random.default_rng(2)
    area, x = np.repeat(list("ABCDEFGH"), 6), rng.normal(size=48)
    y = 1.0 + x + np.repeat(rng.normal(size=8), 6) + rng.normal(size=48)
    means = pd.DataFrame({"area": list("ABCDEFGH"), "x": 0.0})
    fit = sae.NestedError("y ~ x", domain="area").fit(
        pd.DataFrame({"area": area, "x": x, "y": y}), areas=means
    )
    u2, e2 = fit.variance_components["sigma2_u"], fit.variance_components["sigma2_e"]
    X = np.column_stack([np.ones(48), x])
    V = e2 * np.eye(48) + u2 * (area[:, None] == area[None, :])
    np.testing.assert_allclose(
        fit.cov_params().to_numpy(), np.linalg.inv(X.T @ np.linalg.inv(V) @ X), rtol=1e-6
    )
    with pytest.raises(SaeInputError, match="8 of 8 areas are in the fit already"):
        fit.predict(means)
    effects = (
        u2
        * (np.array(list("ABCDEFGH"))[:, None] == area)
        @ np.linalg.solve(V, y - X @ fit.coefficients["coef"])
    )
    np.testing.assert_allclose(fit.random_effects["effect"], effects, atol=1e-9)


def test_units_of_a_generalised_model_have_neither():
    frame = pd.DataFrame({"area": list("AABBCCDD") * 3, "y": [0, 1, 1, 0, 1, 1, 0, 0] * 3})
    fit = sae.LogitMixed("y ~ 1", domain="area").fit(frame, seed=1)
    with pytest.raises(SaeSpecError, match="all areas at the fit here, not new ones afterwards"):
        fit.predict(pd.DataFrame({"area": ["Z"]}))
    with pytest.raises(SaeSpecError, match="linear models with additive area effects"):
        fit.random_effects  # noqa: B018


def test_conf_int_and_tidy(fit):
    table = fit.coefficients
    np.testing.assert_allclose(fit.conf_int()["ci_high"] - table["coef"], 1.959963984540054 * table["se"])
    assert (fit.conf_int(0.5)["ci_low"] > fit.conf_int()["ci_low"]).all()
    assert fit.tidy()["term"].tolist() == ["Intercept", "x"]
    assert fit.tidy()["coef"].tolist() == table["coef"].tolist()
    with pytest.raises(SaeSpecError, match="no level of intervals"):
        fit.conf_int(95)
    with pytest.raises(SaeSpecError, match=r"alpha=0\.05 is level=0\.95 here"):
        fit.conf_int(alpha=0.05)


def test_glance_has_a_row_per_fit(fit, frame):
    assert fit.glance()["sigma2_u"].tolist() == [fit.variance_components["sigma2_u"]]
    two = pd.concat([frame, frame.assign(year="2025")])
    assert len(sae.FayHerriot("y ~ x", domain="area", per=("year",)).fit(two).glance()) == 2


def test_a_posterior_gives_its_own_intervals(frame):
    fit = sae.FayHerriot("y ~ x", domain="area", method="bayes", level=0.9).fit(frame)
    assert fit.conf_int()["ci_low"].tolist() == fit.coefficients["low"].tolist()
    assert {"coef", "sd", "ci_low", "ci_high"} <= set(fit.tidy())
    with pytest.raises(SaeSpecError, match=r"Fit with level=0\.5"):
        fit.conf_int(0.5)
    with pytest.raises(SaeSpecError, match="generalised least squares"):
        fit.cov_params()
    assert np.isfinite(fit.random_effects["effect"]).all()


def test_random_effects_are_shrunken_residuals(fit):
    effects = fit.random_effects.set_index("domain")["effect"]
    gamma = fit.estimates.set_index("domain")["gamma"]
    residual = fit.residuals.set_index("domain")["residual"]
    np.testing.assert_allclose(
        effects[residual.index], gamma[residual.index] * residual, rtol=1e-7, atol=1e-12
    )
    assert abs(effects["03"]) < 1e-12  # without a sample


def test_random_effects_of_a_transformed_share(frame):
    fit = sae.FayHerriot("y ~ x", domain="area", transform="arcsin", replicates=20).fit(frame, seed=1)
    z = np.arcsin(np.sqrt(frame["y"])) - fit.data.X @ fit.coefficients["coef"].to_numpy()
    expected = (fit.estimates["gamma"] * z).fillna(0.0)
    np.testing.assert_allclose(fit.random_effects["effect"], expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "ml"},
        {"transform": "log"},
        {"transform": "arcsin", "replicates": 20},
        {"method": "bayes"},
    ],
    ids=str,
)
def test_predict_is_what_the_fit_gives_areas_without_a_sample(options, frame, new):
    spec = sae.FayHerriot("y ~ x", domain="area", **options)
    predicted = spec.fit(frame, seed=1).predict(new)
    together = spec.fit(pd.concat([frame, new.drop(columns="y")], ignore_index=True), seed=1)
    expected = together.estimates.frame.iloc[30:].reset_index(drop=True)
    columns = ["domain", "estimate", "mse", "ci_low", "ci_high", "in_sample"]
    pd.testing.assert_frame_equal(predicted[columns], expected[columns])
    assert predicted["domain"].tolist() == NEW and not predicted["in_sample"].any()


def test_the_mse_of_a_prediction_is_the_model_variance_and_that_of_the_regression(fit, new):
    x = np.column_stack([np.ones(2), new["x"]])
    expected = fit.variance_components["sigma2_u"] + (x @ fit.cov_params().to_numpy() * x).sum(axis=1)
    np.testing.assert_allclose(fit.predict(new)["mse"], expected, rtol=1e-7)


def test_predict_from_direct_estimates_of_a_survey():
    survey = sae.datasets.lfs_like(seed=1)
    direct = sae.direct(survey, "employment_rate", by="nuts1")
    regions = direct.frame["nuts1"].astype(str).tolist()
    areas = pd.DataFrame({"nuts1": [*regions, "Z9"], "x": np.linspace(0.0, 1.0, len(regions) + 1)})
    spec = sae.FayHerriot("employment_rate ~ x")
    predicted = spec.fit(direct, areas=areas.iloc[:-1]).predict(areas.iloc[[-1]])
    expected = spec.fit(direct, areas=areas).estimates.frame.iloc[[-1]].reset_index(drop=True)
    pd.testing.assert_frame_equal(predicted.frame.drop(columns="run"), expected.drop(columns="run"))


def test_what_cannot_be_predicted_is_said(fit, frame, new):
    with pytest.raises(SaeInputError, match=r"1 of 3 areas are in the fit already: 00\."):
        fit.predict(pd.concat([new, frame.iloc[[0]]]))
    with pytest.raises(SaeInputError, match="'area'"):
        fit.predict(new.drop(columns="area"))
    with pytest.raises(SaeInputError, match="x"):
        fit.predict(new.drop(columns="x"))
    with pytest.raises(SaeSpecError, match="predict\\(\\) needs areas"):
        fit.predict()
    with pytest.raises(SaeSpecError, match="was benchmarked"):
        fit.benchmark(12.0, total=True).predict(new)


def test_a_prediction_outside_the_range_is_warned_of_where_it_is_called(fit, new):
    with pytest.warns(SaeWarning, match="G1") as caught:
        fit.predict(new.assign(x=[9.0, 0.5]))
    assert {each.filename for each in caught} == {__file__}


@pytest.mark.parametrize("options", [{}, {"method": "bayes"}, {"transform": "log", "back": "naive"}], ids=str)
def test_a_result_is_pickled_by_the_same_version_only(options, frame, monkeypatch):
    fit = sae.FayHerriot("y ~ x", domain="area", **options).fit(frame, seed=1)
    stored = pickle.dumps(fit)
    again = pickle.loads(stored)
    pd.testing.assert_frame_equal(again.estimates.frame, fit.estimates.frame)
    assert (again.draws(5, seed=1).values == fit.draws(5, seed=1).values).all()
    assert repr(copy.deepcopy(fit)) == repr(fit)
    monkeypatch.setattr("sae.results.result.__version__", "99.0")
    with pytest.raises(SaeInputError, match=r"pickled by sae .*, and this is sae 99\.0"):
        pickle.loads(stored)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("params", 'fit.coefficients["coef"]'),
        ("aic", "fit.glance()"),
        ("ranef", "fit.random_effects"),
        ("to_csv", "fit.estimates.write(path)"),
        ("sumary", "did you mean summary"),
    ],
)
def test_what_other_fits_call_it_is_answered(name, ours, fit):
    with pytest.raises(AttributeError) as caught:
        getattr(fit, name)
    assert ours in str(caught.value)


def test_quality_functions_take_a_result_and_a_table(fit):
    pd.testing.assert_frame_equal(
        sae.quality.assess(fit, "eurostat_silc"),
        fit.flag("eurostat_silc").estimates[["reliability", "flag", "publishable", "reason", "policy"]],
    )
    assert len(sae.quality.assess(fit.estimates, "eurostat_silc")) == 30
    with pytest.raises(SaeInputError, match="needs columns of numbers, not Result"):
        sae.quality.residual_normality(fit)
    with pytest.raises(SaeSpecError, match="needs model"):
        sae.quality.bias_test(fit)


def test_plots_and_draws_print(fit):
    assert repr(fit.plot).startswith("plot.compare()")
    with pytest.raises(SaeSpecError, match="several charts"):
        fit.plot()
    html = fit.draws(50, seed=1)._repr_html_()
    assert "50 joint draws" in html and "97.5 %" in html and "10 more domains" in html


def test_a_survey_is_no_frame_and_says_what_is():
    survey = sae.datasets.lfs_like(seed=1)
    with pytest.raises(AttributeError, match=r"survey\.frame\.head"):
        survey.head()
    with pytest.raises(SaeInputError, match=r"sae\.direct\(survey, indicator"):
        sae.FayHerriot("y ~ x").fit(survey)


UNITS = pd.DataFrame(
    {
        "area": list("AAABBBCCCC"),
        "x": [1, 2, 3, 2, 3, 4, 1, 3, 5, 4],
        "sex": list("fmfmfmfmfm"),
        "y": [2.1, 4.2, 6.9, 5.0, 7.1, 8.8, 1.2, 3.9, 8.1, 7.2],
    }
)
MEANS = pd.DataFrame(
    {
        "area": list("ABCDE"),
        "x": [2.5, 3, 2, 4, 3.5],
        "sex[T.m]": [0.5, 0.4, 0.6, 0.5, 0.4],
        "N": [90, 80, 70, 60, 50],
    }
)


@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
@pytest.mark.parametrize("options", [{}, {"method": "ml"}, {"population": "N"}, {"method": "bayes"}])
def test_new_areas_of_a_nested_error_model_get_what_the_fit_gives_areas_without_a_unit(options):
    spec = sae.NestedError("y ~ x + sex", domain="area", **options)
    predicted = spec.fit(UNITS, areas=MEANS.iloc[:3], seed=2).predict(MEANS.iloc[3:])
    expected = spec.fit(UNITS, areas=MEANS, seed=2).estimates.frame.iloc[3:].reset_index(drop=True)
    pd.testing.assert_frame_equal(predicted.frame.drop(columns="run"), expected.drop(columns="run"))
    with pytest.raises(SaeInputError, match=r"no column 'sex\[T\.m\]' of the population"):
        spec.fit(UNITS, areas=MEANS, seed=2).predict(
            MEANS.assign(area=list("VWXYZ")).drop(columns="sex[T.m]")
        )


@pytest.mark.filterwarnings("ignore::sae.errors.ExtrapolationWarning")
def test_new_areas_of_a_multivariate_model_get_what_the_fit_gives_areas_without_a_sample():
    frame = pd.DataFrame({"area": list("ABCDEFGH"), "x": range(8), "v": 0.2, "w": 0.3})
    frame["native"] = [3.1, 6.2, 3.0, 7.3, 4.1, 9.0, 6.8, 10]
    frame["foreign"] = [2.2, 5.9, 1.5, 6.8, 5.3, 3.6, 8.1, None]
    new = pd.DataFrame({"area": ["Z", "Y"], "x": [2.5, 3.0]})
    spec = sae.MultivariateFayHerriot(
        ["native ~ x", "foreign ~ x"],
        domain="area",
        vardir={"native": "v", "foreign": "w", ("native", "foreign"): 0},
        structure="diagonal",
    )
    fit = spec.fit(frame)
    assert (np.diag(fit.effect_covariance) > 0).all()
    predicted = fit.predict(new)
    expected = spec.fit(pd.concat([frame, new], ignore_index=True)).estimates.frame.iloc[16:]
    pd.testing.assert_frame_equal(
        predicted.frame.drop(columns="run"), expected.reset_index(drop=True).drop(columns="run")
    )
    assert predicted["domain"].tolist() == ["Z", "Z", "Y", "Y"]


@pytest.mark.filterwarnings("ignore::sae.errors.SaeWarning")
def test_effects_of_a_nested_error_model_are_the_best_predictions_by_dense_matrices():
    fit = sae.NestedError("y ~ x", domain="area").fit(UNITS, areas=MEANS[["area", "x"]])
    area = (UNITS["area"].to_numpy()[:, None] == np.array(list("ABC"))).astype(float)
    between, within = (float(fit.variance_components[name]) for name in ("sigma2_u", "sigma2_e"))
    V = between * area @ area.T + within * np.eye(10)
    X = np.column_stack([np.ones(10), UNITS["x"]])
    beta = np.linalg.solve(X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, UNITS["y"]))
    effect = between * area.T @ np.linalg.solve(V, UNITS["y"] - X @ beta)
    np.testing.assert_allclose(fit.random_effects["effect"], [*effect, 0.0, 0.0], atol=1e-6)
    assert between > 0
