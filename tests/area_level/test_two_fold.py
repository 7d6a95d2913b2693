"""The two-fold model as users call it: areas from sub-areas, unsampled ones included."""

import numpy as np
import pandas as pd
import pytest

from sae.area_level import TwoFoldFayHerriot
from sae.errors import SaeInputError, SaeSpecError

EXACT = 1e-9


def sub_areas(rng, cities=60, districts=5):
    city = np.repeat([f"C{k:02d}" for k in range(cities)], districts)
    frame = pd.DataFrame({"domain": [f"{c}-{k}" for k, c in enumerate(city)], "city": city})
    frame["x"], frame["population"] = rng.normal(size=len(frame)), rng.uniform(1, 3, len(frame))
    frame["vardir"] = rng.uniform(0.3, 0.8, len(frame))
    truth = 1 + frame["x"] + np.repeat(rng.normal(size=cities), districts) + 0.6 * rng.normal(size=len(frame))
    frame["truth"] = truth
    frame["y"] = truth + rng.normal(size=len(frame)) * np.sqrt(frame["vardir"])
    frame.loc[frame.index % 6 == 0, "y"] = np.nan
    frame.loc[frame["city"] == "C59", "y"] = np.nan  # a city without any sample
    return frame


def test_areas_are_their_sub_areas_put_together(rng):
    frame = sub_areas(rng)
    fit = TwoFoldFayHerriot("y ~ x", area="city").fit(frame)
    cities = fit.aggregate(by="city", weights="population")
    assert len(cities) == 60
    assert not cities.frame.set_index("domain").loc["C59", "in_sample"]
    here = (frame["city"] == "C03").to_numpy()
    w = frame.loc[here, "population"] / frame.loc[here, "population"].sum()
    assert cities["estimate"].iloc[3] == pytest.approx(w @ fit.to_frame().loc[here, "estimate"], rel=EXACT)
    block = fit.joint.covariance()[np.ix_(here, here)]
    assert cities["mse"].iloc[3] == pytest.approx(w @ block @ w, rel=EXACT)
    assert "sigma2_v" in fit.variance_components


def test_sub_areas_learn_from_their_city(rng):
    frame = sub_areas(rng)
    fit = TwoFoldFayHerriot("y ~ x", area="city").fit(frame)
    table = fit.to_frame()
    empty = frame["y"].isna().to_numpy()
    alone, helped = empty & (frame["city"] == "C59"), empty & (frame["city"] != "C59")
    assert table.loc[helped, "mse"].mean() < table.loc[alone, "mse"].mean()
    error = (table["estimate"] - frame["truth"])[helped]
    assert error.var() < (frame["truth"] - frame["x"] - 1)[helped].var()
    assert "γ" in fit.summary()


def test_order_of_rows_does_not_matter(rng):
    frame = sub_areas(rng)
    model = TwoFoldFayHerriot("y ~ x", area="city", mse="bootstrap", replicates=10)
    one, other = model.fit(frame, seed=1), model.fit(frame.sample(frac=1, random_state=1), seed=1)
    merged = one.to_frame().merge(other.to_frame(), on="domain")
    np.testing.assert_allclose(merged["estimate_x"], merged["estimate_y"], rtol=1e-7)
    np.testing.assert_allclose(merged["mse_x"], merged["mse_y"], rtol=1e-6)


def test_areas_come_from_the_covariate_table(rng):
    frame = sub_areas(rng)
    direct = frame.dropna()[["domain", "y", "vardir"]]
    fit = TwoFoldFayHerriot("y ~ x", area="city").fit(direct, areas=frame[["domain", "city", "x"]])
    whole = TwoFoldFayHerriot("y ~ x", area="city").fit(frame)
    merged = fit.to_frame().merge(whole.to_frame(), on="domain")
    np.testing.assert_allclose(merged["estimate_x"], merged["estimate_y"], rtol=1e-7)


def test_few_areas_get_intervals_sums_and_draws_from_one_posterior(rng):
    fit = TwoFoldFayHerriot("y ~ x", area="city").fit(sub_areas(rng, cities=20))
    assert set(fit.estimates["interval"]) == {"posterior, flat-variance prior"}
    cities = fit.aggregate(by="city", weights="population").frame
    assert set(cities["interval"]) == {"posterior, flat-variance prior"}
    draws, w = fit.draws(3000, seed=1).values[:, 15:20], fit.areas["population"].to_numpy()[15:20]
    low, high = np.quantile(draws @ w / w.sum(), [0.025, 0.975])
    width = cities["ci_high"][3] - cities["ci_low"][3]
    assert low == pytest.approx(cities["ci_low"][3], abs=0.06 * width)  # 5 sd of a quantile of 3000 draws
    assert high == pytest.approx(cities["ci_high"][3], abs=0.06 * width)
    with pytest.raises(SaeSpecError, match="seed"):
        TwoFoldFayHerriot("y ~ x", area="city", mse="bootstrap").fit(sub_areas(rng, cities=20))


def test_refusals(rng):
    frame = sub_areas(rng)
    with pytest.raises(SaeInputError, match="town"):
        TwoFoldFayHerriot("y ~ x", area="town").fit(frame)
    with pytest.raises(SaeInputError, match="told apart"):
        TwoFoldFayHerriot("y ~ x", area="domain").fit(frame)
    with pytest.raises(SaeSpecError, match="method"):
        TwoFoldFayHerriot("y ~ x", method="fh")
    spec = TwoFoldFayHerriot("y ~ x", area="city", level=0.9)
    assert TwoFoldFayHerriot.from_toml(spec.to_toml()) == spec


@pytest.mark.slow
def test_mse_and_intervals_hold_in_repeated_samples(rng):
    frame = sub_areas(rng)
    error, claimed, inside = 0.0, 0.0, 0.0
    for _ in range(100):
        truth = 1 + frame["x"] + np.repeat(rng.normal(size=60), 5) + 0.6 * rng.normal(size=300)
        y = (truth + rng.normal(size=300) * np.sqrt(frame["vardir"])).where(frame["y"].notna())
        fit = TwoFoldFayHerriot("y ~ x", area="city").fit(frame.assign(y=y)).to_frame()
        error += ((fit["estimate"] - truth) ** 2).mean() / 100
        claimed += fit["mse"].mean() / 100
        inside += ((truth > fit["ci_low"]) & (truth < fit["ci_high"])).mean() / 100
    assert abs(claimed / error - 1) < 0.05  # 30,000 errors in 6,000 cities
    assert 0.935 < inside < 0.965


def test_means_and_offsets_cost_no_digits_and_a_tiny_variance_is_a_known_value(rng):
    frame = pd.DataFrame(
        {"domain": [f"D{k:02d}" for k in range(30)], "area": np.repeat(list("ABCDEFGHIJ"), 3)}
    )
    frame = frame.assign(x=rng.normal(size=30), vardir=rng.uniform(0.1, 0.5, 30))
    effects = 0.7 * np.repeat(rng.normal(size=10), 3) + 0.4 * rng.normal(size=30)
    frame["y"] = 1.0 + frame["x"] + effects + rng.normal(size=30) * np.sqrt(frame["vardir"])
    spec = TwoFoldFayHerriot("y ~ x")
    base = spec.fit(frame).to_frame()
    moved = frame.assign(x=frame["x"] + 1e8, y=frame["y"] + 1e6)
    fit = spec.fit(moved).to_frame()
    np.testing.assert_allclose(fit["estimate"] - 1e6, base["estimate"], atol=1e-6)
    np.testing.assert_allclose(fit["se"], base["se"], rtol=1e-6)
    found = []
    for tiny in (1e-6, 1e-13, 1e-20):
        frame.loc[4, "vardir"] = tiny
        found.append(spec.fit(frame))
        assert found[-1].to_frame()["mse"][4] == pytest.approx(tiny, rel=1e-4)
    for fit in found[1:]:
        np.testing.assert_allclose(
            fit.variance_components, found[0].variance_components, rtol=1e-3, atol=1e-6
        )
        np.testing.assert_allclose(fit.to_frame()["estimate"], found[0].to_frame()["estimate"], rtol=1e-3)
    with pytest.raises(SaeInputError, match="30 sampling variances"):
        spec.fit(frame.assign(y=frame["y"] * 1e80, vardir=1e159))
