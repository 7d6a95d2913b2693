"""NestedError: population means by name, refusals, the same result object as every family."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import BoundaryVarianceWarning, ExtrapolationWarning, SaeInputError, SaeSpecError
from sae.unit_level import FlatRatio, NestedError

SAME = 1e-10  # two ways to the same numbers: rounding only


@pytest.fixture
def units(rng):
    area = np.repeat(list("ABCDEFGH"), [1, 2, 3, 3, 4, 5, 6, 8])
    frame = pd.DataFrame(
        {"area": area, "x": rng.normal(5, 2, len(area)), "sex": rng.choice(["f", "m"], len(area))}
    )
    effect = dict(zip("ABCDEFGH", rng.normal(size=8), strict=True))
    noise = rng.normal(scale=0.8, size=len(area))
    return frame.assign(y=1 + 2 * frame["x"] + (frame["sex"] == "m") + frame["area"].map(effect) + noise)


@pytest.fixture
def census(units, rng):
    rows = [units[["area", "x", "sex"]]]
    for label in "ABCDEFGHI":
        rows.append(
            pd.DataFrame(
                {
                    "area": label,
                    "x": rng.normal(5, 2, 30),
                    "sex": rng.choice(["m", "f"], 30),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


@pytest.fixture
def means(census):
    table = (
        census.assign(m=census["sex"] == "m")
        .groupby("area")
        .agg(x=("x", "mean"), m=("m", "mean"), N=("x", "size"))
    )
    return table.reset_index().rename(columns={"m": "sex[T.m]"})


SPEC = NestedError("y ~ x + sex", domain="area", population="N")


def test_means_shares_and_a_census_say_the_same(units, means, census):
    by_means = SPEC.fit(units, areas=means)
    others = [
        SPEC.fit(units, areas=means.rename(columns={"sex[T.m]": "sex[m]"})),
        NestedError("y ~ x + sex", domain="area").fit(units, areas=census),
        SPEC.fit(units, areas=census.groupby(["area", "x", "sex"]).size().rename("N").reset_index()),
        SPEC.fit(units, areas=means.sample(frac=1, random_state=1)),
        SPEC.fit(units.sample(frac=1, random_state=2), areas=means),
        SPEC.fit(units.astype({"area": "category", "sex": "category"}), areas=means),
    ]
    for other in others:
        table = other.estimates.frame.set_index("domain").loc[list("ABCDEFGHI")]
        np.testing.assert_allclose(table["estimate"], by_means.estimates["estimate"], rtol=SAME)
        np.testing.assert_allclose(table["mse"], by_means.estimates["mse"], rtol=SAME)


def test_table_has_what_every_family_gives(units, means):
    fit = SPEC.fit(units, areas=means)
    table = fit.estimates.frame
    assert table["domain"].tolist() == list("ABCDEFGHI")
    assert table["n"].tolist() == [1, 2, 3, 3, 4, 5, 6, 8, 0]
    assert table["in_sample"].tolist() == [True] * 8 + [False]
    here = units.loc[units["area"] == "H", "y"]
    row = table.iloc[7]
    assert row["direct"] == pytest.approx(here.mean())
    assert row["direct_se"] == pytest.approx(here.std() / np.sqrt(8))
    assert np.isnan(table["direct"].iloc[8]) and np.isnan(table["gamma"].iloc[8])
    assert np.isnan(table["direct_se"].iloc[0])  # one unit says nothing of its error
    assert (table["ci_low"] < table["estimate"]).all() and (table["estimate"] < table["ci_high"]).all()
    assert set(table["interval"]) == {"posterior, flat-variance prior"}  # eight areas
    for text in ("Nested error (REML)", "9 areas: 8 sampled", "sigma2_e"):
        assert text in fit.summary()
    assert fit.residuals["domain"].tolist() == list("ABCDEFGH")


def test_verbs_of_the_result(units, means):
    means = means.assign(country="all")
    for options in ({}, {"method": "bayes"}):
        fit = NestedError("y ~ x + sex", domain="area", population="N", **options).fit(units, areas=means)
        weighted = fit.benchmark(12.0, weights="N")
        share = means["N"] / means["N"].sum()
        assert weighted.estimates["estimate"] @ share == pytest.approx(12.0)
        np.testing.assert_allclose(weighted.draws(5, seed=1).values @ share, 12.0)
        draws = fit.draws(6000, seed=2).values
        apart = draws - fit.estimates["estimate"].to_numpy()
        np.testing.assert_allclose((apart**2).mean(axis=0), fit.joint.mse(), rtol=0.12)
        areas = fit.aggregate(by="country", weights="N").frame
        np.testing.assert_allclose(((apart @ share) ** 2).mean(), areas["mse"].iloc[0], rtol=0.12)
        assert fit.plot.caterpillar() is not None


def test_bayes_names_its_prior_and_meets_the_likelihood(units, means):
    spec = NestedError("y ~ x + sex", domain="area", population="N", method="bayes")
    fit = spec.fit(units, areas=means)
    unit = float(f"{units['y'].std():.3g}")
    assert set(fit.estimates["prior"]) == {f"half-normal({unit:g})"}
    same = NestedError(
        "y ~ x + sex", domain="area", population="N", method="bayes", prior=f"half-normal({unit:g})"
    )
    np.testing.assert_array_equal(
        same.fit(units, areas=means).estimates["estimate"], fit.estimates["estimate"]
    )
    gap = fit.estimates["estimate"] - SPEC.fit(units, areas=means).estimates["estimate"]
    assert (gap.abs() < fit.estimates["se"]).all()
    assert list(fit.coefficients.columns) == ["coef", "sd", "low", "median", "high"]
    assert {"sigma2_u", "sigma_e", "sigma_u_low"} <= set(fit.variance_components.index)
    assert fit.diagnostics["quadrature_error"].iloc[0] < 1e-9


def test_sensitivity_to_the_prior(units, means):
    """A prior ten times as wide moves an area's mean by a small part of its posterior standard deviation."""
    fits = [
        NestedError("y ~ x + sex", domain="area", method="bayes", prior=f"half-normal({scale})").fit(
            units, areas=means
        )
        for scale in (5, 50)
    ]
    gap = (fits[0].estimates["estimate"] - fits[1].estimates["estimate"]) / fits[0].estimates["se"]
    assert gap.abs().max() < 0.05


def test_no_covariates_need_no_areas(units):
    fit = NestedError("y ~ 1", domain="area").fit(units)
    assert fit.estimates["domain"].tolist() == list("ABCDEFGH")
    with pytest.raises(SaeInputError, match="No population sizes"):
        NestedError("y ~ 1", domain="area", population="N").fit(units)


def test_a_survey_gives_its_records(units, means):
    survey = sae.Survey.from_frame(units.assign(w=10.0), weights="w")
    np.testing.assert_allclose(
        SPEC.fit(survey, areas=means).estimates["estimate"],
        SPEC.fit(units, areas=means).estimates["estimate"],
    )
    inside = survey.subset("x >= 4")
    assert SPEC.fit(inside, areas=means).provenance["units"] == (units["x"] >= 4).sum()


def test_functions_and_products_need_their_own_means(units, means, census):
    squared = NestedError("y ~ x + I(x**2)", domain="area")
    with pytest.raises(SaeInputError, match=r"no population means of I\(x \*\* 2\)|I\(x\*\*2\)"):
        squared.fit(units, areas=means)
    fit = squared.fit(units, areas=census)
    column = next(name for name in fit.coefficients.index if "**" in name)
    squares = census.assign(q=census["x"] ** 2).groupby("area")["q"].mean().to_numpy()
    again = squared.fit(units, areas=means.assign(**{column: squares}))
    N = means["N"].to_numpy()
    f = np.r_[1, 2, 3, 3, 4, 5, 6, 8, 0] / N
    assert np.isfinite(again.estimates["estimate"]).all() and (f < 1).all()
    with pytest.raises(SaeInputError, match="x:sex"):
        NestedError("y ~ x * sex", domain="area").fit(units, areas=means)
    # a level that holds for the whole area multiplies what the area has
    north = units.assign(north=np.where(units["area"] < "D", "n", "s"))
    table = means.assign(north=np.where(means["area"] < "D", "n", "s"))
    product = NestedError("y ~ x * north", domain="area").fit(north, areas=table)
    assert len(product.coefficients) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda u, m: (u, m[m["area"] != "C"]), "only in the units (C)"),
        (lambda u, m: (u, m.drop(columns="x")), "no population means of x"),
        (lambda u, m: (u, m.drop(columns="sex[T.m]")), "no population means of sex[T.m]"),
        (lambda u, m: (u, m.drop(columns="N")), "no column 'N' with population sizes"),
        (lambda u, m: (u, m.assign(N=1)), "more units in the sample than in the population"),
        (lambda u, m: (u, m.assign(N=0)), "is not positive"),
        (lambda u, m: (u, m.assign(**{"sex[T.m]": 40.0})), "outside [0, 1]"),
        (lambda u, m: (u, m.assign(x=m["x"].where(m["area"] != "D"))), "missing in 1 of 9 rows"),
        (lambda u, m: (u, m.drop(columns="sex[T.m]").assign(sex="x")), "levels that the sample never saw: x"),
        (lambda u, m: (u, None), "No population means of x, sex[T.m]"),
        (lambda u, m: (u.assign(y=u["y"].where(u.index != 3)), m), "y is missing or infinite in 1 of 32"),
        (lambda u, m: (u.assign(x=u["x"].where(u.index != 3)), m), "x is missing in 1 of 32 units: row 4"),
        (lambda u, m: (u.assign(area=u["area"].where(u.index != 3)), m), "area is missing in 1 of 32 units"),
        (lambda u, m: (u.drop(columns="y"), m), "no column 'y'"),
        (lambda u, m: (u.assign(y="a"), m), "y holds text"),
        (lambda u, m: (u.assign(y=u["area"].map(ord)), m), "does not vary within areas"),
        (lambda u, m: (u.drop_duplicates("area"), m), "no degree of freedom within areas"),
        (lambda u, m: (u.head(3), m), "3 coefficients cannot be estimated from 3 units"),
        (lambda u, m: (u.assign(x=7.0), m), "x is constant"),
        (lambda u, m: (u.iloc[:0], m), "no rows"),
        (lambda u, m: (u, m.assign(area=m["area"].str.lower())), "differ only by zeros in front"),
    ],
)
def test_refusals_name_what_is_wrong(units, means, change, words):
    units, means = change(units, means)
    with pytest.raises(SaeInputError) as error:
        SPEC.fit(units, areas=means)
    assert words in str(error.value)


def test_a_level_of_the_census_that_the_sample_lacks(units, census):
    with pytest.raises(SaeInputError, match="never saw: x"):
        NestedError("y ~ x + sex", domain="area").fit(units, areas=census.assign(sex="x"))


def test_improper_posteriors_and_senseless_options(units, means):
    few = units[units["area"].isin(list("GH"))]
    for prior in ("flat-variance", "flat-sd", "flat-ratio"):
        with pytest.raises(SaeInputError, match=f"improper: the prior {prior}"):
            NestedError("y ~ 1", domain="area", method="bayes", prior=prior).fit(few)
    assert NestedError("y ~ 1", domain="area", method="bayes").fit(few).estimates["se"].notna().all()
    for options in (
        {"method": "bayes", "mse": "bootstrap"},
        {"prior": "flat-sd"},
        {"method": "fh"},
        {"mse": "jackknife"},
        {"level": 95},
        {"method": "bayes", "prior": "flat"},
    ):
        with pytest.raises(SaeSpecError):
            NestedError("y ~ x", **options)
    with pytest.raises(SaeSpecError, match="no seed"):
        NestedError("y ~ x + sex", domain="area", mse="bootstrap").fit(units, areas=means)


def test_toml_reads_back():
    for spec in (
        SPEC,
        NestedError("y ~ 1", method="bayes", prior="flat-ratio"),
        NestedError("y ~ 1", method="bayes", prior=sae.priors.HalfCauchy(2.0)),
    ):
        assert NestedError.from_toml(spec.to_toml()) == spec
    assert NestedError("y ~ 1", method="bayes", prior="flat-ratio").prior == FlatRatio()
    assert "analytical" in repr(SPEC)


def test_boundary_and_extrapolation_are_told(units, means):
    flat = units.assign(y=units["x"] + np.resize([0.3, -0.2, -0.1], len(units)))
    with pytest.warns(BoundaryVarianceWarning, match="exactly 0"):
        fit = NestedError("y ~ x", domain="area").fit(flat, areas=means)
    assert fit.variance_components["sigma2_u"] == 0.0
    assert np.isnan(fit.variance_components["sigma2_u_se"])
    synthetic = fit.coefficients["coef"]["Intercept"] + fit.coefficients["coef"]["x"] * means["x"]
    np.testing.assert_allclose(fit.estimates["estimate"], synthetic, rtol=SAME)
    assert (fit.estimates["ci_high"] > fit.estimates["ci_low"]).all()
    with pytest.warns(ExtrapolationWarning, match="in 9 of 9 areas"):
        SPEC.fit(units, areas=means.assign(x=100.0))


def test_same_run_same_table(units, means):
    spec = NestedError("y ~ x + sex", domain="area", mse="bootstrap", replicates=50)
    one, two = (spec.fit(units, areas=means, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())
    assert one.estimates["run"].iloc[0] != spec.fit(units, areas=means, seed=4).estimates["run"].iloc[0]


def test_the_posterior_speaks_of_areas(units, means):
    fit = NestedError("y ~ x + sex", domain="area", method="bayes", population="N").fit(units, areas=means)
    posterior = fit.source.posterior
    sample = posterior.draw(500, 1)
    assert sample.values.shape == (500, 9) and sample.log_likelihood.shape == (500, 8)
    value, k = posterior.loo()
    assert value.shape == (8,) and np.isnan(k).all() and np.isfinite(value).all()
    np.testing.assert_array_equal(sample.values, posterior.values(500, 1))
    # log-likelihood of a draw from the units themselves
    u = units.groupby("area")
    s = 7
    beta, sigma = sample.parameters["beta"][s], sample.parameters["sigma_e"][s]
    drawn = posterior._joint(500, 1, effects=True)
    for d, (label, rows) in enumerate(u):
        X = np.column_stack([np.ones(len(rows)), rows["x"], rows["sex"] == "m"])
        rest = rows["y"] - X @ beta - drawn.effects[s, d]
        expected = -0.5 * (len(rows) * np.log(2 * np.pi * sigma**2) + (rest**2).sum() / sigma**2)
        assert sample.log_likelihood[s, d] == pytest.approx(expected, rel=1e-9), label
    above = posterior.exceedance(posterior.moments()[0])
    np.testing.assert_allclose(above, 0.5, atol=0.05)


@pytest.mark.parametrize("method", ["reml", "ml", "bayes", "bootstrap"])
def test_means_and_scales_of_covariates_and_outcome_cost_no_digits(rng, method):
    units = pd.DataFrame({"domain": np.repeat([f"A{k:02}" for k in range(20)], 12)})
    units["x"] = rng.normal(size=240)
    units["y"] = 1 + 0.5 * units["x"] + np.repeat(rng.normal(0, 0.7, 20), 12) + rng.normal(size=240)
    means = pd.DataFrame({"domain": [f"A{k:02}" for k in range(22)], "x": rng.normal(size=22), "N": 500})
    options = {"mse": "bootstrap", "replicates": 10} if method == "bootstrap" else {"method": method}
    spec = sae.NestedError("y ~ x", domain="domain", population="N", **options)
    fit = spec.fit(units, areas=means, seed=1)
    base, unit = fit.to_frame(), fit.to_frame()["se"].mean()

    def moved(more, times):
        return [frame.assign(x=(frame["x"] + more) * times) for frame in (units, means)]

    # a column of mean 1e8 stores eight digits of its spread, an outcome of 1e6 ten
    for (sample, population), shift, slope in (
        (moved(1e8, 1.0), 0.0, 1.0),
        (moved(0.0, 1e-8), 0.0, 1e8),
        ((units.assign(y=units["y"] + 1e6), means), 1e6, 1.0),
    ):
        result = spec.fit(sample, areas=population, seed=1)
        got = result.to_frame()
        for name, off in (("estimate", shift), ("se", 0.0), ("ci_low", shift), ("ci_high", shift)):
            np.testing.assert_allclose(got[name] - off, base[name], rtol=0, atol=1e-5 * unit)
        one, two = (np.asarray(one.coefficients.loc["x"], dtype=float)[:2] for one in (result, fit))
        np.testing.assert_allclose(one, slope * two, rtol=1e-5)
        one, two = (one.residuals["standardised"] for one in (result, fit))
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
        if method == "reml" and slope == 1.0:
            assert result.diagnostics["aic"][0] == pytest.approx(fit.diagnostics["aic"][0], abs=1e-5)


def test_a_column_that_others_explain_is_refused(rng):
    units = pd.DataFrame({"domain": np.repeat(list("ABCDEF"), 5), "x": 1e8 + rng.normal(size=30)})
    units = units.assign(y=rng.normal(size=30), z=3.0 * units["x"] - 7.0)
    means = units.groupby("domain")[["x", "z"]].mean().reset_index()
    with pytest.raises(SaeInputError, match="z"):
        sae.NestedError("y ~ x + z", domain="domain").fit(units, areas=means)
