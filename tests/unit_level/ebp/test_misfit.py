"""What areas differ from the fit beyond chance is in the MSE of "auto"; where the model is true, nothing.

Tolerances: variances of simulations to 4 standard errors; levels to what a binomial count exceeds once in a
thousand; the rest is arithmetic.
"""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

import sae
from sae.errors import SaeWarning
from sae.unit_level.ebp import misfit
from sae.unit_level.ebp.people import PeopleColumns
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.ebp.scale import fit_scale

DIFFER = "Areas differ from the model beyond chance"
LINE = float(np.exp(9.6))


def people(seed, D=24, each=60, spread=0.0, wide=0.0):
    """Logarithmic incomes, whose errors have a size by area (`spread`), or of which a share is `wide`."""
    rng = np.random.default_rng([5, seed])
    area = np.repeat(np.arange(D), each)
    frame = pd.DataFrame({"area": [f"{d:02d}" for d in area], "age": rng.normal(size=D * each)})
    size = 0.5 * np.exp(spread * rng.normal(size=D))[area]
    e = rng.normal(size=D * each) * np.where(rng.uniform(size=D * each) < wide, 3.0, 1.0)
    frame["y"] = np.exp(10.0 + 0.3 * frame["age"] + 0.2 * rng.normal(size=D)[area] + size * e)
    frame["side"] = np.where(area < D // 2, "left", "right")
    frame["sex"] = rng.choice(["f", "m"], D * each)
    frame["unit"] = np.arange(D * each)
    return frame


def fitted(frame, sampled=20, **options):
    spec = sae.EBP(
        "y ~ age",
        domain="area",
        transform="log",
        threshold=LINE,
        **{"indicators": ["head_count"], "replicates": 40, **options},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaeWarning)
        return spec.fit(frame.groupby("area").head(sampled), areas=frame.drop(columns="y"), seed=1)


def differ(fit):
    return [message.text for message in fit.messages if DIFFER in message.text]


def test_variances_are_those_of_the_model():
    """Samples drawn with the parameters known: head counts less what they are foretold, area by area."""
    frame = people(0, D=6, each=8)
    frame = frame[frame.groupby("area").cumcount() < frame["area"].astype(int) + 2]
    arrays = EbpArrays.build(
        frame, frame, outcome="y", covariates="age", columns=PeopleColumns("area"), weights=None
    )
    fit = fit_scale(arrays, outcome="y", transform="log", shift=None, method="reml")
    at = replace(fit.parameters, sigma2_u=0.1, sigma2_e=0.3)
    n, area, R = arrays.units.n, arrays.units.area, 20_000
    gamma = n * at.sigma2_u / (at.sigma2_e + n * at.sigma2_u)
    at = replace(at, spread=np.sqrt(at.sigma2_u * (1.0 - gamma)))
    rng, top = np.random.default_rng(1), np.log(LINE)
    u = np.sqrt(at.sigma2_u) * rng.normal(size=(R, len(n)))
    fixed = arrays.units.X @ at.coefficients
    z = fixed + u[:, area] + np.sqrt(at.sigma2_e) * rng.normal(size=(R, len(area)))
    to_area = (area[:, None] == np.arange(len(n))) / n
    effect = gamma * ((z - fixed) @ to_area)
    foretold = ndtr((top - fixed - effect[:, area]) / at.total_sd[area])
    r = ((z < top) - foretold) @ to_area
    share = 1.0 / n[area]
    model, v, fourth = misfit._under_the_model(
        arrays, replace(fit, parameters=at), ("head_count",), LINE, share
    )[:, 0]
    assert np.abs(r.mean(axis=0)).max() < 4.0 * np.sqrt(v.max() / R)
    np.testing.assert_allclose(model, (foretold @ to_area).mean(axis=0), atol=3e-3)
    kurtosis = (r**4).mean(axis=0) / v**2
    # to first order in the effect: up to 4 % here, where areas have two to seven units
    np.testing.assert_allclose(v, (r**2).mean(axis=0), rtol=0.04 + 4.0 * np.sqrt(kurtosis.max() / R))
    # of the weights alone
    np.testing.assert_allclose(np.maximum(2.0 + fourth / v**2, 1.0), kurtosis - 1.0, atol=0.35)


def test_level_and_power_of_the_variance_between():
    """Normal differences: 1 % speak at chance, nearly all where τ is as large as the median error."""
    rng, m = np.random.default_rng(2), 40
    v, s = 0.01 / rng.uniform(0.3, 3.0, m), rng.uniform(0.1, 0.25, m)
    null, apart, taus = 0, 0, []
    for _ in range(1000):
        error = np.sqrt(v) * rng.normal(size=m) + 0.3 * s
        null += misfit.variance_between(error, v, s, 0.0 * v)[1] < 0.01
        tau2, chance = misfit.variance_between(error + 0.6 * s * rng.normal(size=m), v, s, 0.0 * v)
        apart += chance < 0.01
        taus.append(tau2)
    assert null <= 21  # P(more | 1 %) = 0.0007
    assert apart > 800
    assert np.mean(taus) == pytest.approx(0.36, rel=0.05)


def test_silent_where_the_model_is_true():
    fits = [fitted(people(seed), mse="none") for seed in range(40)]
    assert sum(bool(differ(fit)) for fit in fits) <= 3  # P(more | 1 %) = 0.0007
    fit = fitted(people(3))
    assert not differ(fit) and fit.provenance["misfit"]["head_count"]["chance"] > 0.01
    as_it_stands = fitted(people(3), mse="bootstrap")
    tables = (one.to_frame().drop(columns="run") for one in (fit, as_it_stands))
    pd.testing.assert_frame_equal(*tables)


def test_in_the_error_where_areas_differ():
    frame = people(1, spread=0.7)
    fit, plain = fitted(frame), fitted(frame, mse="bootstrap")
    (text,) = differ(fit)
    record = fit.provenance["misfit"]["head_count"]
    assert text.startswith(f"{DIFFER}: head_count by {100 * record['between']:.2g} points")
    assert "which is in the MSE" in text and "errors do not hold" in differ(plain)[0]
    one, other = fit.to_frame(), plain.to_frame()
    p = one["estimate"].to_numpy(dtype=float)
    np.testing.assert_array_equal(p, other["estimate"])
    added = np.sqrt(one["mse"].astype(float) - other["mse"].astype(float)) / (p * (1 - p))
    np.testing.assert_allclose(added, added[0], rtol=1e-9)
    assert added[0] > 0.2
    assert (one["ci_low"] < other["ci_low"]).all() and (one["ci_high"] > other["ci_high"]).all()
    assert "and what the units show it to miss" in one["mse_method"].iloc[0]
    np.testing.assert_allclose(fit.draws(4000, seed=1).values.std(axis=0) ** 2, one["mse"], rtol=0.12)


def test_a_benchmark_takes_out_what_all_areas_share():
    frame = people(0, wide=0.15)
    fit, plain = fitted(frame), fitted(frame, mse="bootstrap")
    assert fit.provenance["misfit"]["head_count"]["common"] > 0.0
    assert [m for m in fit.messages if "about as much, which is in the MSE of head_count." in m.text]
    more, less = (one.to_frame()["mse"].astype(float) for one in (fit, plain))
    assert (more > 1.2 * less).all()
    target = float((frame["y"] < LINE).mean())
    after = [
        one.benchmark(target, weights="population", method="logit", target_variance=1e-5).to_frame()
        for one in (fit, plain)
    ]
    # to first order nothing is left of it; no areas differ here
    assert fit.provenance["misfit"]["head_count"]["chance"] > 0.01
    np.testing.assert_allclose(after[0]["mse"].astype(float), after[1]["mse"].astype(float), rtol=1e-6)


def test_levels_groups_and_known_units():
    frame = people(1, spread=0.7)
    fit, plain = (fitted(frame, levels=["side"], groups="sex", mse=mse) for mse in ("auto", "bootstrap"))
    table, other = fit.to_frame(), plain.to_frame()
    p = table["estimate"].astype(float)
    added = table["mse"].astype(float) - other["mse"].astype(float)
    own = (table["level"] == "area") & (table["sex"] == "total")
    both = (added / (p * (1 - p)) ** 2)[own].iloc[0]
    record = fit.provenance["misfit"]["head_count"]
    tau2 = both / (1.0 + (record["common"] / record["between"]) ** 2)
    left = (table["level"] == "side") & (table["sex"] == "total") & (table["geo"] == "left")
    # 12 areas of 60 people each: what they share, and misfits of their own
    size = (p * (1 - p))[own & (table["geo"] < "12")]
    by_hand = (both - tau2) * size.mean() ** 2 + tau2 * (size**2).sum() / 144
    assert added[left].iloc[0] == pytest.approx(by_hand, rel=1e-9)
    women = (table["level"] == "area") & (table["sex"] == "f")
    np.testing.assert_allclose(added[women], both * (p * (1 - p))[women] ** 2, rtol=1e-9)
    linked, alone = (fitted(frame, linked="unit", mse=mse).to_frame() for mse in ("auto", "bootstrap"))
    q = linked["estimate"].astype(float)
    more = linked["mse"].astype(float) - alone["mse"].astype(float)
    np.testing.assert_allclose(more, both * (q * (1 - q) * 40 / 60) ** 2, rtol=1e-9)


def test_persons_of_units_count():
    """Units stand for several persons: they are compared as the figures of these."""
    frame = people(4).assign(persons=lambda f: np.where(f["age"] > 0, 4, 1))
    fit = fitted(frame, population_weights="persons", mse="none")
    sample = frame.groupby("area").head(20)
    poor = np.average(sample["y"] < LINE, weights=sample["persons"])
    assert fit.provenance["overall"]["head_count"]["units"] == pytest.approx(poor)


def test_other_figures_and_the_posterior():
    frame = people(1, spread=0.7)
    fit = fitted(frame, indicators=["mean", "head_count", "gap", "severity", "gini"], mse="none", draws=2)
    assert set(fit.provenance["misfit"]) == {"mean", "head_count", "gap", "severity"}
    assert "gap by" in differ(fit)[0] and not [m for m in fit.messages if "is in the MSE of" in m.text]
    with pytest.warns(SaeWarning, match="errors do not hold"):
        spec = sae.EBP(
            "y ~ age",
            domain="area",
            transform="log",
            threshold=LINE,
            indicators="gap",
            method="bayes",
            draws=100,
        )
        spec.fit(frame.groupby("area").head(20), areas=frame, seed=1)
