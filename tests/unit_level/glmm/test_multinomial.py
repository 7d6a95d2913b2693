"""Multinomial mixed model: its density by brute force, what it reads, a sampled fit, calibration."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax
from scipy.stats import norm

from sae.errors import SaeInputError, SaeSpecError
from sae.numerics.inference.priors import HALF_NORMAL
from sae.samplers import pymc as adapter
from sae.unit_level.glmm import multinomial_fit, multinomial_nuts
from sae.unit_level.glmm.multinomial import MultinomialMixed
from sae.unit_level.glmm.multinomial_counts import Counts
from sae.unit_level.glmm.multinomial_fit import _sample
from sae.unit_level.glmm.multinomial_nuts import sample_by_nuts

EXACT = 1e-8
CATEGORIES = ("employed", "unemployed", "inactive")


def simulated(seed=0, areas=24):
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=areas), rng.normal(size=(areas, 2)) @ np.array([[0.3, 0.1], [0.0, 0.25]])
    eta = np.column_stack([1 + 0.5 * x + u[:, 0], -1.5 - 0.3 * x + u[:, 1], np.zeros(areas)])
    p = np.exp(log_softmax(eta, axis=1))
    counts = np.array([rng.multinomial(n, q) for n, q in zip(rng.integers(30, 200, areas), p, strict=True)])
    frame = pd.DataFrame(counts.astype(float), columns=list(CATEGORIES)).assign(x=x)
    frame["city"] = [f"c{k:02d}" for k in range(areas)]
    frame.loc[3, list(CATEGORIES)] = np.nan
    return frame, p


def read_counts(data, areas=None):
    return Counts.build(data, areas, categories=CATEGORIES, covariates="x", domain="city")


def spec(**options):
    return MultinomialMixed("employed + unemployed + inactive ~ x", domain="city", **options)


def test_the_density_is_that_of_normal_effects_and_a_multinomial(monkeypatch, rng):
    """Differences between points with the same covariance of the effects, by hand."""
    caught = {}

    def catch(build, key, data, **_):
        caught.update(model=adapter._model(build, data), data=data)
        raise StopIteration

    monkeypatch.setattr(multinomial_nuts, "sample_chains", catch)
    counts, X = rng.integers(0, 9, (5, 3)).astype(float), np.column_stack([np.ones(5), rng.normal(size=5)])
    with pytest.raises(StopIteration):
        sample_by_nuts(counts, X, HALF_NORMAL, np.array([0.5, 2.0]), seed=1, wide=3.0)
    model = caught["model"]
    point = model.initial_point()
    density = model.compile_fn(model.logp(), mode="FAST_COMPILE")
    effect_of = model.compile_fn(
        model.replace_rvs_by_values([model["effect"]])[0], mode="FAST_COMPILE", on_unused_input="ignore"
    )

    def effect(point):
        return effect_of({name: point[name] for name in point if name != "beta"})

    def value(point):
        eta = np.column_stack([X @ point["beta"] + effect(point), np.zeros(5)])
        return (
            (counts * log_softmax(eta, axis=1)).sum()
            + norm.logpdf(point["beta"], scale=3.0).sum()
            + norm.logpdf(point["z"]).sum()
        )

    other = {**point, "beta": rng.normal(size=(2, 2)), "z": rng.normal(size=(5, 2))}
    assert density(other) - density(point) == pytest.approx(value(other) - value(point), abs=EXACT)
    # effects: rows z times the root, in units of the prior
    root = effect({**point, "z": np.vstack([np.eye(2), np.zeros((3, 2))])})
    np.testing.assert_allclose(effect(other), other["z"] @ root[:2], atol=EXACT)


def test_shares_of_a_draw_and_their_likelihood(rng):
    frame, _ = simulated()
    data = read_counts(frame)
    X = data.standard.of(data.X)
    hyper = {
        "beta": rng.normal(size=(3, 2, 2)),
        "effect": 0.1 * rng.normal(size=(3, len(X), 2)),
        "sigma": np.ones((3, 2)),
        "correlation": np.zeros((3, 1)),
    }
    sample = _sample(data, X, hyper, 1)
    p = sample.values.reshape(3, -1, 3)
    np.testing.assert_allclose(p.sum(axis=2), 1.0, rtol=1e-12)
    on, counts = data.sampled, data.counts[data.sampled]
    from scipy.stats import multinomial

    joint = np.array([multinomial.logpmf(counts, counts.sum(axis=1), q) for q in p[:, on]])
    coefficients = multinomial.logpmf(counts, counts.sum(axis=1), np.full(3, 1 / 3)) - counts.sum(
        axis=1
    ) * np.log(1 / 3)
    got = sample.log_likelihood.reshape(3, -1, 3).sum(axis=2)
    np.testing.assert_allclose(got, joint - coefficients, rtol=1e-9)
    assert sample.replicated.shape == sample.log_likelihood.shape


def test_what_is_read_is_checked():
    frame, _ = simulated()
    areas = frame[["city", "x"]].assign(x=frame["x"] * 1.0)
    extra = pd.concat([areas, pd.DataFrame({"city": ["new"], "x": [0.3]})], ignore_index=True)
    found = read_counts(frame.drop(columns="x"), extra)
    assert isinstance(found, Counts) and found.names[-1] == "new" and not found.sampled[-1]
    for change, words in (
        ({"employed": -1.0}, "negative"),
        ({"employed": np.nan}, "missing in part"),
        ({"city": "c01"}, "twice or more"),
    ):
        bad = frame.copy()
        bad.loc[0, list(change)] = list(change.values())
        with pytest.raises(SaeInputError, match=words):
            read_counts(bad)
    with pytest.raises(SaeInputError, match="Nobody is in unemployed"):
        read_counts(frame.assign(unemployed=0.0 * frame["employed"]))
    with pytest.raises(SaeInputError, match="no column"):
        read_counts(frame.drop(columns="inactive"))


def persons(frame):
    rows = [
        {"city": city, **dict.fromkeys(CATEGORIES, 0), category: 1, "x": x}
        for city, x, *counts in frame[["city", "x", *CATEGORIES]].dropna().itertuples(index=False)
        for category, count in zip(CATEGORIES, counts, strict=True)
        for _ in range(int(count))
    ]
    return pd.DataFrame(rows)


def test_persons_are_counted_by_area():
    frame, _ = simulated()
    people = persons(frame)
    areas = frame[["city", "x"]]
    counted = read_counts(people, areas)
    assert set(counted.names) == set(frame["city"]) and not counted.sampled[-1]
    by_area = read_counts(frame)
    order = pd.Index(counted.names).get_indexer(by_area.names)
    np.testing.assert_array_equal(counted.counts[order], by_area.counts)
    np.testing.assert_array_equal(counted.X[order], by_area.X)
    own = people.assign(x=np.arange(len(people)))  # of persons: the areas' own value is taken
    np.testing.assert_array_equal(read_counts(own, areas).X, counted.X)
    with pytest.raises(SaeInputError, match="x differs between the persons"):
        read_counts(own)
    with pytest.raises(SaeInputError, match="twice or more"):
        read_counts(people.assign(employed=1))


def test_specifications_that_cannot_be_are_refused():
    with pytest.raises(SaeSpecError, match="three categories"):
        MultinomialMixed("a + b ~ 1")
    with pytest.raises(SaeSpecError, match="improper"):
        spec(prior="flat-sd")
    with pytest.raises(SaeSpecError, match="no seed"):
        spec().fit(simulated()[0])
    assert MultinomialMixed.from_toml(spec(prior="half-normal(0.4)").to_toml()) == spec(
        prior="half-normal(0.4)"
    )


@pytest.mark.slow
def test_a_sampled_fit_covers_the_truth_and_repeats():
    frame, p = simulated(areas=40)
    fit = spec().fit(frame, seed=1)
    table = fit.estimates.frame
    np.testing.assert_allclose(table["estimate"].to_numpy().reshape(-1, 3).sum(axis=1), 1.0, rtol=1e-10)
    inside = ((table["ci_low"] < p.ravel()) & (p.ravel() < table["ci_high"])).mean()
    assert inside > 0.87
    assert fit.diagnostics["r_hat"].iloc[0] < 1.05 and fit.diagnostics["divergences"].iloc[0] < 10
    assert fit.coefficients.loc[("employed", "x"), "low"] > 0.2
    pd.testing.assert_frame_equal(fit.to_frame(), spec().fit(frame, seed=1).to_frame())
    elpd, _ = fit.posterior.loo()
    assert len(elpd) == 3 * 39 and np.isfinite(elpd).all()
    assert "half-normal" in table["prior"].iloc[0] and "R-hat" in fit.summary()


def test_the_chains_do_not_see_the_order_of_the_areas(monkeypatch):
    seen = []

    def catch(*arguments, **options):
        seen.append(arguments)
        raise StopIteration

    monkeypatch.setattr(multinomial_fit, "sample_multinomial", catch)
    frame, _ = simulated()
    for rows in (frame, frame.sample(frac=1.0, random_state=2)):
        with pytest.raises(StopIteration):
            spec().fit(rows, seed=3)
    for first, second in zip(*seen, strict=True):
        np.testing.assert_array_equal(first, second)
