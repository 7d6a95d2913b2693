"""TwoFoldNestedError: sub-areas and groups by name, one fold as a limit, areas put together, simulation."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError

SAME = 1e-9  # two ways to the same numbers: rounding only


def population(rng, cities=20, districts=4):
    city = np.repeat([f"C{k:02}" for k in range(cities)], districts)
    frame = pd.DataFrame({"district": [f"D{k:03}" for k in range(len(city))], "city": city, "N": 400})
    effect = np.repeat(0.8 * rng.normal(size=cities), districts) + 0.5 * rng.normal(size=len(city))
    return frame.assign(x=rng.normal(size=len(city)), effect=effect)


def sample(place, rng, sizes=(0, 3, 5, 8)):
    units = place.loc[np.repeat(place.index, np.resize(sizes, len(place)))].reset_index(drop=True)
    x = units["x"] + rng.normal(size=len(units))
    y = 2 + x + units["effect"] + rng.normal(size=len(units))
    return units.drop(columns=["N", "effect"]).assign(x=x, y=y)


@pytest.fixture
def place(rng):
    return population(rng)


@pytest.fixture
def units(place, rng):
    return sample(place, rng)


SPEC = sae.TwoFoldNestedError("y ~ x", domain="district", area="city", population="N")


def test_sub_areas_without_a_sample_borrow_from_their_area(units, place):
    fit = SPEC.fit(units, areas=place)
    table = fit.estimates.frame
    assert table["domain"].tolist() == place["district"].tolist()
    assert (~table["in_sample"]).sum() == 20
    components = fit.variance_components
    assert {"sigma2_v", "sigma2_u", "sigma2_e", "sigma2_v_se"} <= set(components.index)
    out = ~table["in_sample"].to_numpy()
    regression = fit.coefficients["coef"].to_numpy() @ [np.ones(80), place["x"]]
    effects = fit.random_effects["effect"].to_numpy()
    np.testing.assert_allclose(effects[out], 0.0)  # of their own nothing is known
    assert np.abs((table["estimate"] - regression)[out]).min() > 1e-4
    assert ((table["ci_low"] < table["estimate"]) & (table["estimate"] < table["ci_high"])).all()
    assert set(table["interval"]) == {"posterior, flat-variance prior"}
    for text in ("Two-fold nested error (REML)", "sigma2_v", "ICC", "80 areas: 60 sampled"):
        assert text in fit.summary()
    cities = fit.aggregate(by="city", weights="N").frame
    assert len(cities) == 20 and (cities["mse"] < table["mse"].median()).all()
    first = (place["city"] == "C00").to_numpy() / 4
    assert cities["estimate"].iloc[0] == pytest.approx(first @ table["estimate"])


def test_no_variance_between_areas_is_the_nested_error_model(rng):
    place = population(rng)
    place["effect"] = 0.8 * rng.normal(size=80)
    seen = 0
    for _ in range(4):
        units = sample(place, rng)
        fit = SPEC.fit(units, areas=place)
        if fit.variance_components["sigma2_v"] > 0.0:
            continue
        seen += 1
        one = sae.NestedError("y ~ x", domain="district", population="N").fit(units, areas=place)
        np.testing.assert_allclose(fit.estimates["estimate"], one.estimates["estimate"], rtol=1e-6)
        np.testing.assert_allclose(fit.diagnostics["loglik"], one.diagnostics["loglik"], rtol=1e-9)
        np.testing.assert_allclose(fit.diagnostics["icc"], one.diagnostics["icc"], rtol=1e-5)
    assert seen


def test_groups_of_areas_are_sub_areas(units, place):
    """Two names for the same cells: area × group, and a sub-area for each."""
    sexes = np.resize(["f", "m"], 80)
    cells = place.assign(sex=sexes, city=np.repeat([f"C{k:02}" for k in range(40)], 2))
    key = dict(zip(place["district"], zip(cells["city"], sexes, strict=True), strict=True))
    people = units.assign(
        city=[key[name][0] for name in units["district"]], sex=[key[name][1] for name in units["district"]]
    )
    ours = sae.TwoFoldNestedError("y ~ x + sex", domain="city", groups="sex", population="N").fit(
        people, areas=cells.drop(columns="district")
    )
    theirs = sae.TwoFoldNestedError("y ~ x + sex", domain="district", area="city", population="N").fit(
        people, areas=cells
    )
    for column in ("estimate", "mse", "ci_low"):
        np.testing.assert_allclose(ours.estimates[column], theirs.estimates[column], rtol=SAME)
    table = ours.estimates.frame
    assert table["domain"].tolist() == cells["city"].tolist() and table["sex"].tolist() == sexes.tolist()
    assert ours.random_effects.columns.tolist() == ["domain", "sex", "effect"]
    assert len(ours.aggregate(by="city", weights="N")) == 40
    shuffled = cells.sample(frac=1, random_state=1)
    again = sae.TwoFoldNestedError("y ~ x + sex", domain="city", groups="sex", population="N").fit(
        people, areas=shuffled
    )
    pd.testing.assert_series_equal(
        again.estimates.frame.set_index(["domain", "sex"])["estimate"].sort_index(),
        table.set_index(["domain", "sex"])["estimate"].sort_index(),
    )


def test_a_census_and_no_population(units, place, rng):
    census = place.loc[np.repeat(place.index, 10)].reset_index(drop=True)
    census["x"] = census["x"] + rng.normal(size=len(census))
    means = census.groupby(["district", "city"], as_index=False)["x"].mean().assign(N=10.0)
    spec = sae.TwoFoldNestedError("y ~ x", domain="district", area="city")
    np.testing.assert_allclose(
        spec.fit(units, areas=census).estimates["estimate"],
        SPEC.fit(units, areas=means).estimates["estimate"],
        rtol=SAME,
    )
    alone = sae.TwoFoldNestedError("y ~ 1", domain="district", area="city").fit(units)
    assert len(alone.estimates) == 60 and len(alone.areas["city"].unique()) == 20


def test_bootstrap_and_many_areas(rng):
    place = population(rng, cities=60, districts=3)
    units = sample(place, rng, sizes=(2, 4, 7))
    boot = sae.TwoFoldNestedError(
        "y ~ x", domain="district", area="city", population="N", mse="bootstrap", replicates=60
    )
    one, two = (boot.fit(units, areas=place, seed=2) for _ in range(2))
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())
    plain = SPEC.fit(units, areas=place)
    ratio = one.estimates["mse"] / plain.estimates["mse"]
    assert abs(ratio.mean() - 1) < 0.05 and set(plain.estimates["interval"]) == {"t on the MSE"}
    draws = plain.draws(4000, seed=1).values - plain.estimates["estimate"].to_numpy()
    np.testing.assert_allclose((draws**2).mean(axis=0), plain.estimates["mse"], rtol=0.15)
    np.testing.assert_allclose(draws.T @ draws / 4000, plain.joint.covariance(), atol=0.06)
    with pytest.raises(SaeSpecError, match="no seed"):
        boot.fit(units, areas=place)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda u, p: (u, p.drop(columns="city")), "no column 'city' with one area for each district"),
        (lambda u, p: (u, p.assign(city=p["city"].where(p.index != 3))), "city is missing in D003"),
        (
            lambda u, p: (u.drop(columns="city"), p.assign(city=p["district"])),
            "No value of city has two sub-areas",
        ),
        (lambda u, p: (u, p[p["district"] != "D002"]), "only in the units (D002)"),
        (lambda u, p: (u[u["city"] < "C01"], p), "1 values of city with a sample are too few"),
        (lambda u, p: (u.drop_duplicates("district"), p), "no degree of freedom"),
        (lambda u, p: (u, p.drop(columns="N")), "no column 'N' with population sizes"),
    ],
)
def test_refusals_name_what_is_wrong(units, place, change, words):
    units, place = change(units, place)
    with pytest.raises(SaeInputError) as error:
        SPEC.fit(units, areas=place)
    assert words in str(error.value)


def test_options():
    for options in ({}, {"area": "a", "groups": "g"}, {"area": "domain"}, {"area": "a", "replicates": 1}):
        with pytest.raises(SaeSpecError):
            sae.TwoFoldNestedError("y ~ x", **options)
    assert sae.TwoFoldNestedError.from_toml(SPEC.to_toml()) == SPEC
    assert "city and one of district" in repr(SPEC)
    with pytest.raises(SaeInputError, match="sex is missing in 1 of 2 units"):
        frame = pd.DataFrame({"area": ["a", "b"], "sex": ["f", None], "y": [1.0, 2.0]})
        sae.TwoFoldNestedError("y ~ 1", domain="area", groups="sex").fit(frame)


def test_two_folds_beat_one_where_areas_differ():
    """Sub-areas without a sample: the effect of their area is worth having; intervals hold."""
    rng = np.random.default_rng(6)
    gain, inside = [], []
    for _ in range(5):
        place = population(rng)
        units = sample(place, rng)
        truth = 2 + place["x"] + place["effect"]
        two = sae.TwoFoldNestedError("y ~ x", domain="district", area="city").fit(units, areas=place)
        one = sae.NestedError("y ~ x", domain="district").fit(units, areas=place)
        table, out = two.estimates.frame, ~two.estimates["in_sample"].to_numpy()
        errors = [((fit.estimates["estimate"] - truth)[out] ** 2).mean() for fit in (two, one)]
        gain.append(errors[0] / errors[1])
        inside.append((table["ci_low"] < truth) & (truth < table["ci_high"]))
    assert np.mean(gain) < 0.75
    assert 0.91 < np.mean(inside) < 0.985


@pytest.mark.slow
@pytest.mark.parametrize(("cities", "replicates"), [(60, 20), (12, 40)])
def test_intervals_of_sub_areas_and_of_areas_hold(cities, replicates):
    """Student's t and the posterior; sampled, unsampled, and put together: 95 % within two points."""
    rng = np.random.default_rng(1)
    inside = {"sampled": [], "unsampled": [], "areas": []}
    for _ in range(replicates):
        place = population(rng, cities)
        fit = sae.TwoFoldNestedError("y ~ x", domain="district", area="city").fit(
            sample(place, rng), areas=place
        )
        truth, table = 2 + place["x"] + place["effect"], fit.estimates.frame
        held = ((table["ci_low"] < truth) & (truth < table["ci_high"])).to_numpy(dtype=bool)
        sampled = table["in_sample"].to_numpy(dtype=bool)
        inside["sampled"].append(held[sampled].mean())
        inside["unsampled"].append(held[~sampled].mean())
        areas = fit.aggregate(by="city", weights="N").frame.set_index("city")
        mean = truth.groupby(place["city"]).mean().reindex(areas.index)
        inside["areas"].append(((areas["ci_low"] < mean) & (mean < areas["ci_high"])).mean())
    for name, shares in inside.items():
        assert np.mean(shares) == pytest.approx(0.95, abs=0.02), name


def test_units_of_a_sub_area_lie_in_its_area(units, place):
    for other in (units.assign(city=units["city"].where(units.index != 5, "C07")), units):
        known = place if other is not units else place.assign(city=np.roll(place["city"], 2))
        with pytest.raises(SaeInputError, match="units lie in another city than their district: D0"):
            SPEC.fit(other, areas=known)
