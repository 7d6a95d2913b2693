"""RobustNestedError: the corn of Battese, Harter and Fuller, the limit of a large k, options, coverage."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError

SAME = 1e-7  # the same maximum by another way


@pytest.fixture
def counties(oracle_data):
    areas = pd.read_csv(oracle_data / "cornsoybeanmeans.csv").rename(
        columns={
            "CountyIndex": "County",
            "MeanCornPixPerSeg": "CornPix",
            "MeanSoyBeansPixPerSeg": "SoyBeansPix",
        }
    )
    return pd.read_csv(oracle_data / "cornsoybean.csv"), areas


FORMULA = "CornHec ~ CornPix + SoyBeansPix"


def test_a_large_k_is_the_eblup_of_maximum_likelihood(counties):
    units, areas = counties
    options = {"domain": "County", "population": "PopnSegments"}
    robust = sae.RobustNestedError(FORMULA, k=1e6, replicates=200, **options).fit(units, areas=areas, seed=1)
    plain = sae.NestedError(FORMULA, method="ml", mse="bootstrap", replicates=400, **options)
    plain = plain.fit(units, areas=areas, seed=2)
    np.testing.assert_allclose(robust.estimates["estimate"], plain.estimates["estimate"], rtol=SAME)
    np.testing.assert_allclose(robust.coefficients["se"], plain.coefficients["se"], rtol=SAME)
    np.testing.assert_allclose(robust.random_effects["effect"], plain.random_effects["effect"], atol=1e-5)
    for name in ("sigma2_u", "sigma2_e"):
        assert robust.variance_components[name] == pytest.approx(plain.variance_components[name], rel=SAME)
    ratio = robust.estimates["mse"] / plain.estimates["mse"]
    assert abs(np.log(ratio).mean()) < 0.1


def test_the_outlier_in_the_corn_data_does_little(counties):
    """Segment 33, which the authors left out: the robust fit with it is near the plain one without it."""
    units, areas = counties
    spec = sae.RobustNestedError(FORMULA, domain="County", replicates=20)
    robust, plain = spec.fit(units, areas=areas, seed=1), sae.NestedError(FORMULA, domain="County")
    left_out = plain.fit(units.drop(index=32), areas=areas)
    spoilt = plain.fit(units, areas=areas)
    gaps = [
        np.sqrt(((fit.estimates["estimate"] - left_out.estimates["estimate"]) ** 2).mean())
        for fit in (robust, spoilt)
    ]
    assert gaps[0] < 0.7 * gaps[1]
    assert robust.variance_components["sigma2_e"] < 0.9 * spoilt.variance_components["sigma2_e"]
    named = [message.text for message in robust.messages if "sd off the regression" in message.text]
    assert named == ["1 of 37 units more than 3 sd off the regression, in 12."]
    table = robust.estimates.frame
    assert ((table["ci_low"] < table["estimate"]) & (table["estimate"] < table["ci_high"])).all()
    assert set(table["interval"]) == {"posterior, flat-variance prior, residuals within 3 sd"}
    assert "Robust nested error (REBLUP)" in robust.summary()


def test_same_seed_same_table_and_the_corrected_form(counties):
    units, areas = counties
    spec = sae.RobustNestedError(FORMULA, domain="County", predictor="reblupbc", c=2.0, replicates=20)
    one, two = (spec.fit(units, areas=areas, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())
    plain = sae.RobustNestedError(FORMULA, domain="County", replicates=20).fit(units, areas=areas, seed=3)
    assert (one.estimates["estimate"] - plain.estimates["estimate"]).abs().max() > 0.5
    draws = plain.draws(2000, seed=1).values
    gap = draws.mean(axis=0) - plain.estimates["estimate"]  # of the posterior behind the intervals
    assert (gap.abs() < draws.std(axis=0)).all()
    with pytest.raises(SaeSpecError, match="no seed"):
        spec.fit(units, areas=areas)


def test_options_and_refusals(counties):
    units, areas = counties
    for options in ({"k": 0.0}, {"c": -1.0}, {"predictor": "blup"}, {"replicates": 1}):
        with pytest.raises(SaeSpecError):
            sae.RobustNestedError("y ~ x", **options)
    spec = sae.RobustNestedError(FORMULA, domain="County", k=2.0)
    assert sae.RobustNestedError.from_toml(spec.to_toml()) == spec and "Huber's ψ with k = 2" in repr(spec)
    with pytest.raises(SaeInputError, match="no degree of freedom within areas"):
        spec.fit(units.drop_duplicates("County"), areas=areas, seed=1)


def test_intervals_hold_with_and_without_outliers():
    rng = np.random.default_rng(9)
    for share in (0.0, 0.05):
        inside = []
        for _ in range(10):
            area = np.repeat([f"A{k:02}" for k in range(25)], np.resize([3, 5, 8], 25))
            u = dict(zip([f"A{k:02}" for k in range(25)], 0.8 * rng.normal(size=25), strict=True))
            frame = pd.DataFrame({"area": area})
            error = rng.normal(size=len(frame)) * np.where(rng.random(len(frame)) < share, 10.0, 1.0)
            frame["y"] = 3.0 + frame["area"].map(u) + error
            fit = sae.RobustNestedError("y ~ 1", domain="area", replicates=2).fit(frame, seed=1)
            table = fit.estimates.frame
            truth = 3.0 + table["domain"].map(u)
            inside.append((table["ci_low"] < truth) & (truth < table["ci_high"]))
        assert 0.88 < np.mean(inside) < 0.995  # 250 areas, alike within a sample: 94 % in 40 other samples
