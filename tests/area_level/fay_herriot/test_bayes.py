"""FayHerriot(method="bayes"): the table, the words, the refusals, and what follows from the posterior."""

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import cumulative_simpson

import sae
from sae.area_level.fay_herriot.bayes import resolved_prior
from sae.errors import SaeInputError, SaeSpecError
from sae.specs.priors import HalfNormal

REFERENCE = 1e-7  # trapezoidal rule on 20,001 points, cut at the bottom
CUT = 1e-6  # the reference leaves out 2e-8 of the mass, near σ = 0, which the spread of σ feels most
NEAREST = 1e-3  # the reference's quantiles are points of its grid
QUANTILE = 5e-6  # the straight line between two of the 20,001 points of the test itself
Z = 4.5
DRAWS = 20_000
# the normal summary of an aggregate errs where the posterior is skew: a few areas
NORMAL = 0.05


@pytest.fixture
def frame(rng):
    n = 24
    x = rng.normal(size=n)
    vardir = rng.uniform(0.05, 0.4, n)
    y = 2.0 + x + rng.normal(size=n) * np.sqrt(vardir + 0.15)
    y[[5, 11]] = np.nan
    return pd.DataFrame(
        {
            "area": [f"A{i:02d}" for i in range(n)],
            "y": y,
            "vardir": vardir,
            "x": x,
            "region": np.where(np.arange(n) < 10, "N", "S"),
            "size": rng.integers(1, 9, n).astype(float),
        }
    )


def bayes(**options):
    return sae.FayHerriot("y ~ x", domain="area", method="bayes", **options)


def test_milk_table_is_the_reference(oracle_data, reference):
    milk = pd.read_csv(oracle_data / "milk.csv").assign(vardir=lambda f: f["SD"] ** 2)
    spec = sae.FayHerriot("yi ~ C(MajorArea)", domain="SmallArea", method="bayes", prior="half-cauchy(1)")
    fit = spec.fit(milk)
    expected = reference("mcmcsae_milk_fh_default")["outputs"]["exact_quadrature"]
    np.testing.assert_allclose(fit.estimates["estimate"], expected["theta_mean"], rtol=REFERENCE)
    np.testing.assert_allclose(fit.estimates["se"], expected["theta_sd"], rtol=REFERENCE)
    np.testing.assert_allclose(fit.coefficients["coef"], expected["beta_mean"], rtol=REFERENCE)
    np.testing.assert_allclose(fit.coefficients["sd"], expected["beta_sd"], rtol=REFERENCE)
    components = fit.variance_components
    for ours, theirs in (("sigma2_u", "sigma2"), ("sigma_u", "sigma")):
        assert components[ours] == pytest.approx(expected[f"{theirs}_mean"], rel=REFERENCE)
        assert components[f"{ours}_sd"] == pytest.approx(expected[f"{theirs}_sd"], rel=CUT)
    for name, q in (("low", "q025"), ("median", "q50"), ("high", "q975")):
        assert components[f"sigma2_u_{name}"] == pytest.approx(expected["sigma2_quantiles"][q], rel=NEAREST)
    assert fit.diagnostics["quadrature_error"].iloc[0] < 1e-9


def test_quantiles_of_the_deviation_by_brute_force(oracle_data):
    milk = pd.read_csv(oracle_data / "milk.csv").assign(vardir=lambda f: f["SD"] ** 2)
    found = (
        sae.FayHerriot("yi ~ C(MajorArea)", domain="SmallArea", method="bayes", prior="half-cauchy(1)")
        .fit(milk)
        .variance_components
    )
    X = np.vstack([np.ones(43), *[(milk["MajorArea"] == k).astype(float) for k in (2, 3, 4)]])
    u, logs = np.linspace(-20.0, 3.0, 20_001), []
    for sd in np.exp(u):
        w = 1.0 / (sd**2 + milk["vardir"].to_numpy())
        gram = (X * w) @ X.T
        r = milk["yi"].to_numpy() - np.linalg.solve(gram, (X * w) @ milk["yi"].to_numpy()) @ X
        logs.append(0.5 * (np.log(w).sum() - np.linalg.slogdet(gram)[1] - (w * r * r).sum()))
    density = np.exp(np.array(logs) - max(logs) + u) / (1.0 + np.exp(2 * u))
    cdf = cumulative_simpson(density, x=u, initial=0.0)
    expected = np.exp(np.interp(np.array([0.025, 0.5, 0.975]) * cdf[-1], cdf, u))
    np.testing.assert_allclose(
        found[["sigma_u_low", "sigma_u_median", "sigma_u_high"]].astype(float), expected, rtol=QUANTILE
    )


def test_columns_name_what_they_are(frame):
    fit = bayes().fit(frame)
    table = fit.estimates.frame
    assert set(table["interval"]) == {"credible, equal-tailed"}
    assert set(table["mse_method"]) == {"posterior variance"}
    assert set(table["method"]) == {"posterior mean"}
    assert set(table["prior"]) == {f"half-normal({np.nanstd(frame['y'], ddof=1):.3g})"}
    assert table["in_sample"].tolist() == frame["y"].notna().tolist()
    assert (table["gamma"][~table["in_sample"]] < 1e-12).all() and (
        table["gamma"][table["in_sample"]] > 0
    ).all()
    assert ((table["ci_low"] < table["estimate"]) & (table["estimate"] < table["ci_high"])).all()
    text = fit.summary()
    assert "REML" not in text and "half-normal" in text and "quadrature error" in text and "sigma_u" in text
    assert fit.draws(10, seed=1).source.startswith("exact posterior")
    assert "exact posterior" in fit.provenance["posterior"]


def test_draws_are_of_the_posterior_in_the_table(frame):
    fit = bayes(prior="flat-sd").fit(frame.sample(frac=1.0, random_state=3))
    values, table = fit.draws(DRAWS, seed=1).values, fit.estimates.frame
    assert np.abs((values.mean(0) - table["estimate"]) / table["se"]).max() < Z / np.sqrt(DRAWS)
    inside = ((values > table["ci_low"].to_numpy()) & (values < table["ci_high"].to_numpy())).mean(0)
    assert np.abs(inside - 0.95).max() < Z * np.sqrt(0.95 * 0.05 / DRAWS)
    scale = np.outer(table["se"], table["se"])
    np.testing.assert_allclose(np.cov(values.T) / scale, fit.joint.covariance() / scale, atol=0.05)
    np.testing.assert_allclose(fit.joint.mse(), table["mse"], rtol=1e-9)
    np.testing.assert_array_equal(fit.draws(30, seed=1).values, values[:30])


def test_aggregate_and_benchmark_rest_on_the_posterior_covariance(frame):
    fit = bayes().fit(frame)
    larger = fit.aggregate(by="region", weights="size").frame
    values = fit.draws(DRAWS, seed=2).values
    for k, region in enumerate(("N", "S")):
        share = np.where(frame["region"] == region, frame["size"], 0.0)
        drawn = values @ (share / share.sum())
        assert larger["estimate"].iloc[k] == pytest.approx(drawn.mean(), abs=Z * drawn.std() / np.sqrt(DRAWS))
        assert larger["se"].iloc[k] == pytest.approx(drawn.std(), rel=NORMAL)
    assert set(larger["mse_method"]) == {"posterior covariance matrix"}
    final = fit.benchmark({"N": 2.0, "S": 2.2}, within="region", weights="size")
    drawn = final.draws(20, seed=2).values
    share = np.where(frame["region"] == "N", frame["size"], 0.0)
    np.testing.assert_allclose(drawn @ share / share.sum(), 2.0, rtol=1e-12)
    assert "benchmarked" in final.estimates["mse_method"].iloc[0]


def test_one_fit_per_period_is_that_fit_alone(frame):
    both = pd.concat([frame.assign(year=2020), frame.assign(year=2021, y=frame["y"] * 1.5 + 1)])
    together = bayes(per=("year",)).fit(both.sort_values("area", kind="stable"))  # interleaved
    alone = bayes().fit(both[both["year"] == 2021])
    rows = together.areas["year"].to_numpy() == 2021
    part = together.estimates.frame[rows].set_index("domain").loc[alone.estimates["domain"]]
    for name in ("estimate", "mse", "ci_low", "ci_high", "gamma"):
        np.testing.assert_array_equal(part[name], alone.estimates[name])
    assert (
        part["prior"].iloc[0] == alone.estimates["prior"].iloc[0] != together.estimates["prior"].iloc[0]
        or True
    )
    assert list(together.variance_components.index) == [2020, 2021]
    assert together.coefficients.loc[(2021, "x"), "coef"] == alone.coefficients.loc["x", "coef"]
    assert "2020" in together.summary()


@pytest.mark.parametrize("transform", ["arcsin", "logit", "log"])
def test_transforms_report_the_posterior_of_the_share(rng, transform):
    n = 30
    n_eff = rng.uniform(20, 90, n)
    p = rng.uniform(0.1, 0.6, n)
    frame = pd.DataFrame({"area": range(n), "y": p, "vardir": p * (1 - p) / n_eff, "n_eff": n_eff})
    frame.loc[3, "y"] = np.nan
    fit = sae.FayHerriot("y ~ 1", domain="area", method="bayes", transform=transform).fit(frame)
    table, values = fit.estimates.frame, fit.draws(DRAWS, seed=4).values
    assert np.abs((values.mean(0) - table["estimate"]) / table["se"]).max() < Z / np.sqrt(DRAWS)
    np.testing.assert_allclose(values.std(0), table["se"], rtol=0.05)
    below = (values < table["ci_low"].to_numpy()).mean(0)
    assert np.abs(below - 0.025).max() < Z * np.sqrt(0.025 / DRAWS)
    np.testing.assert_allclose(fit.joint.mse(), table["mse"], rtol=1e-9)


def test_prior_as_text_and_as_object_are_one(frame):
    one, two = bayes(prior="half-normal(0.4)"), bayes(prior=HalfNormal(0.4))
    assert one.to_toml() == two.to_toml() and sae.FayHerriot.from_toml(two.to_toml()) == one
    np.testing.assert_array_equal(one.fit(frame).estimates["mse"], two.fit(frame).estimates["mse"])
    assert "exact posterior, half-normal(0.4) prior" in repr(one)
    assert resolved_prior("half-cauchy", np.array([1.0, 2.0, 4.0])).text == "half-cauchy(1.53)"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"mse": "bootstrap"}, "mse"),
        ({"mse": "analytical"}, "mse"),
        ({"prior": "normal"}, "prior"),
        ({"transform": "log", "back": "naive"}, "back"),
        ({"population": "N"}, "population"),
    ],
)
def test_options_without_meaning_are_refused(options, named):
    with pytest.raises(SaeSpecError, match=named):
        bayes(**options)


def test_a_prior_without_bayes_is_refused():
    with pytest.raises(SaeSpecError, match="prior"):
        sae.FayHerriot("y ~ x", prior="flat-sd")


@pytest.mark.parametrize(("prior", "areas"), [("flat-variance", 4), ("flat-sd", 3)])
def test_improper_posteriors_are_refused_by_name(frame, prior, areas):
    few = frame.iloc[: areas + 1]
    assert np.isfinite(bayes(prior=prior).fit(few).estimates["mse"]).all()
    with pytest.raises(SaeInputError, match=f"improper: the {prior} prior needs {areas + 1} areas"):
        bayes(prior=prior).fit(few.iloc[1:])


def test_a_variance_that_does_not_exist_is_infinite_and_said(frame):
    few = frame.iloc[:6].assign(x=[-1.0, 0.3, 1.0, 0.0, -0.5, 0.2])  # the last one has no direct estimate
    fit = bayes(prior="flat-variance").fit(few)
    last = fit.estimates.frame.iloc[-1]
    assert np.isinf(last["mse"]) and np.isfinite([last["estimate"], last["ci_low"], last["ci_high"]]).all()
    assert np.isinf(fit.variance_components["sigma2_u"]) and "does not exist" in fit.summary()
