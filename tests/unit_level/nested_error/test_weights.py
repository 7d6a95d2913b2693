"""Survey weights and known spreads of the errors, as users ask for them."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError

SAME = 1e-9  # two ways to the same numbers: rounding only
AREAS = [f"A{k:02}" for k in range(30)]


@pytest.fixture
def units(rng):
    area = np.repeat(AREAS[:-1], rng.integers(2, 12, 29))
    frame = pd.DataFrame({"area": area, "x": rng.normal(size=len(area)), "w": rng.uniform(1, 9, len(area))})
    frame["k"] = rng.uniform(0.5, 2.0, len(area))
    effect = frame["area"].map(dict(zip(AREAS, rng.normal(size=30), strict=True)))
    return frame.assign(y=3 + frame["x"] + effect + frame["k"] * rng.normal(size=len(area)))


@pytest.fixture
def means(rng):
    return pd.DataFrame({"area": AREAS, "x": rng.normal(size=30), "country": "all"})


def fitted(units, means, **options):
    return sae.NestedError("y ~ x", domain="area", **options).fit(units, areas=means)


def test_equal_weights_and_scales_are_none(units, means):
    one = units.assign(w=5.0, k=2.0)
    plain = fitted(one, means)
    for options in ({"weights": "w"}, {"error_scale": "k"}, {"weights": "w", "error_scale": "k"}):
        fit = fitted(one, means, **options)
        for column in ("estimate", "mse", "ci_low", "ci_high", "direct", "direct_se"):
            np.testing.assert_allclose(fit.estimates[column], plain.estimates[column], rtol=1e-7)
        np.testing.assert_allclose(fit.coefficients["se"], plain.coefficients["se"], rtol=SAME)
        np.testing.assert_allclose(fit.random_effects["effect"], plain.random_effects["effect"], atol=SAME)
        np.testing.assert_allclose(fit.residuals["standardised"], plain.residuals["standardised"], atol=SAME)


def test_predictions_add_up_to_the_survey_regression_estimator(units, means):
    fit = fitted(units, means, weights="w", method="ml")
    N = units.groupby("area")["w"].sum().reindex(AREAS, fill_value=0.0).to_numpy()
    beta = fit.coefficients["coef"].to_numpy()
    X = np.column_stack([np.ones(30), means["x"]])
    within = units["w"] @ np.column_stack([np.ones(len(units)), units["x"]])
    total = units["w"] @ units["y"] + (N @ X - within) @ beta
    assert N @ fit.estimates["estimate"] == pytest.approx(total, rel=1e-10)
    aggregate = fit.aggregate(by="country", weights=dict(zip(AREAS, N, strict=True))).frame
    assert aggregate["estimate"].iloc[0] == pytest.approx(total / N.sum(), rel=1e-10)
    share = N / N.sum()
    assert aggregate["mse"].iloc[0] == pytest.approx(share @ fit.joint.covariance() @ share, rel=1e-9)
    errors = fit.draws(4000, seed=1).values - fit.estimates["estimate"].to_numpy()
    np.testing.assert_allclose((errors**2).mean(axis=0), fit.estimates["mse"], rtol=0.12)
    first = units[units["area"] == "A00"]
    row = fit.estimates.frame.iloc[0]
    assert row["direct"] == pytest.approx(np.average(first["y"], weights=first["w"]))
    assert row["n_eff"] == pytest.approx(first["w"].sum() ** 2 / (first["w"] ** 2).sum())
    assert "pseudo-EBLUP" in fit.summary() and "ICC" in fit.summary()
    assert set(fit.estimates["mse_method"]) == {"analytical, Torabi–Rao, ML"}


def test_every_method_takes_known_scales(units, means):
    for options in ({}, {"method": "ml"}, {"method": "bayes"}, {"mse": "bootstrap", "replicates": 40}):
        spec = sae.NestedError("y ~ x", domain="area", error_scale="k", **options)
        fit = spec.fit(units, areas=means, seed=1)
        assert (fit.estimates["mse"] > 0).all()
        np.testing.assert_allclose(
            fit.data.vardir, fit.variance_components["sigma2_e"] * units["k"] ** 2, rtol=SAME
        )
        assert fit.variance_components["sigma2_e"] == pytest.approx(1.0, rel=0.35)
        plain = units.groupby("area")["y"].mean().reindex(AREAS)
        np.testing.assert_allclose(fit.estimates["direct"], plain)
        if fit.posterior is not None:
            assert fit.loo()["elpd"].notna().sum() == 29
    fit = fitted(units, means, error_scale="k")
    np.testing.assert_allclose(np.sqrt(np.diag(fit.cov_params())), fit.coefficients["se"])


def test_a_census_gives_means_alone(units, rng):
    census = pd.DataFrame({"area": np.repeat(AREAS, 20), "x": rng.normal(size=600)})
    means = census.groupby("area", as_index=False)["x"].mean()
    for options in ({"weights": "w"}, {"error_scale": "k"}):
        one, two = fitted(units, census, **options), fitted(units, means, **options)
        np.testing.assert_allclose(one.estimates["estimate"], two.estimates["estimate"], rtol=SAME)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": "w", "method": "bayes"},
        {"weights": "w", "mse": "bootstrap"},
        {"weights": "w", "population": "N"},
        {"error_scale": "k", "population": "N"},
    ],
)
def test_senseless_options(options):
    with pytest.raises(SaeSpecError, match="has no meaning with"):
        sae.NestedError("y ~ x", **options)


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, np.nan])
def test_bad_weights_are_refused_by_row(units, means, value):
    for name in ("w", "k"):
        bad = units.assign(**{name: units[name].where(units.index != 3, value)})
        with pytest.raises(SaeInputError, match="row 4") as error:
            fitted(bad, means, **{"weights" if name == "w" else "error_scale": name})
        assert error.value.column == name
    with pytest.raises(SaeInputError, match="no column 'v'"):
        fitted(units, means, weights="v")


def test_a_weight_beside_which_the_others_vanish_is_named(units, means):
    """Its errors were nan, or a fault of the package."""
    units = units.assign(w=1.0)
    units.loc[5, "w"] = 1e6
    assert np.isfinite(fitted(units, means, weights="w").estimates["se"]).all()
    units.loc[5, "w"] = 1e12
    with pytest.raises(
        SaeInputError, match=r"more than a million times its median 1 in 1 of \d+ units: row 6"
    ):
        fitted(units, means, weights="w")


def test_toml_reads_back():
    spec = sae.NestedError("y ~ x", weights="w", error_scale="k")
    assert sae.NestedError.from_toml(spec.to_toml()) == spec
    assert "weights w" in repr(spec)


def test_weights_matter_under_an_informative_design():
    """Units with a large error are taken more often: the EBLUP is biased, the pseudo-EBLUP hardly."""
    rng = np.random.default_rng(4)
    plain, pseudo, inside = [], [], []
    names = np.array([f"A{k}" for k in range(40)])
    for _ in range(6):
        area, x, e = np.repeat(names, 300), rng.normal(size=12_000), rng.normal(size=12_000)
        y = 2 + x + np.repeat(0.5 * rng.normal(size=40), 300) + e
        chance = np.exp(0.6 * e)
        chance *= 12 / np.repeat(chance.reshape(40, 300).sum(axis=1), 300)
        taken = rng.random(12_000) < chance
        frame = pd.DataFrame({"area": area, "x": x, "y": y, "w": 1 / chance})
        truth = frame.groupby("area", sort=False)["y"].mean().to_numpy()
        means = frame.groupby("area", as_index=False, sort=False)["x"].mean()
        for options, errors in (({}, plain), ({"weights": "w"}, pseudo)):
            fit = sae.NestedError("y ~ x", domain="area", **options).fit(frame[taken], areas=means)
            errors.append(fit.estimates["estimate"].to_numpy() - truth)
        table = fit.estimates.frame
        inside.append((table["ci_low"] < truth) & (truth < table["ci_high"]))
    plain, pseudo = np.concatenate(plain), np.concatenate(pseudo)
    # a ratio of some 12 weighted units has a bias of its own
    assert plain.mean() > 0.5 and abs(pseudo.mean()) < 0.2 * plain.mean()
    assert np.sqrt((pseudo**2).mean()) < 0.55 * np.sqrt((plain**2).mean())
    assert 0.90 < np.mean(inside) < 0.985


@pytest.mark.slow
@pytest.mark.parametrize(("areas", "sigma_u", "replicates"), [(60, 0.7, 25), (12, 0.7, 60), (12, 0.2, 40)])
def test_intervals_of_areas_and_of_their_mean_hold(areas, sigma_u, replicates):
    """Student's t, and the moved ends of the posterior: with few areas at least the level but for noise."""
    rng = np.random.default_rng(1)
    names = np.array([f"A{k}" for k in range(areas)])
    inside, whole = [], []
    for _ in range(replicates):
        area = np.repeat(np.arange(areas), np.resize([2, 4, 7], areas))
        u, x = sigma_u * rng.normal(size=areas), rng.normal(size=len(area))
        frame = pd.DataFrame({"area": names[area], "x": x, "w": rng.uniform(1, 9, len(area))})
        frame["y"] = 2 + x + u[area] + rng.normal(size=len(area))
        means = pd.DataFrame({"area": names, "x": rng.normal(size=areas), "country": "all"})
        fit = sae.NestedError("y ~ x", domain="area", weights="w").fit(frame, areas=means)
        truth, table = 2 + means["x"] + u, fit.estimates.frame
        inside.append(((table["ci_low"] < truth) & (truth < table["ci_high"])).mean())
        total = fit.aggregate(by="country", weights=dict.fromkeys(names, 1.0)).frame.iloc[0]
        whole.append(total["ci_low"] < truth.mean() < total["ci_high"])
    assert 0.92 < np.mean(inside) < 0.99 and np.mean(whole) > 0.88
