"""The studies of benchmarks/accuracy: their population, their sample, their finite-population predictor."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "accuracy"
ROUNDED = 5.1e-7  # the truth file keeps six decimals


def load(name):
    spec = importlib.util.spec_from_file_location(f"accuracy_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ny_nj():
    return load("ny_nj")


@pytest.fixture(scope="module")
def population(ny_nj, shared_data):
    return ny_nj.read_population(shared_data / "real")


def test_the_layout_and_the_registry_reproduce_the_published_truth(population):
    people = population.persons.assign(geo=population.persons["geo"].astype(str))
    foreign = people[people["birth"] == "foreign"]
    working = foreign[foreign["age"].between(20, 64)]
    employed = (working["labour_status"] == "employed").groupby(working["geo"])
    answered = foreign[foreign["poor"].notna()]
    poor = answered["poor"].astype(float).groupby(answered["geo"])
    truth = population.truth
    assert len(truth) == 218 and len(people) == 304_533 and len(population.first) == 135_809
    np.testing.assert_allclose(employed.mean(), truth["employment_rate_20_64"], atol=ROUNDED)
    np.testing.assert_allclose(poor.mean(), truth["poverty_rate"], atol=ROUNDED)
    assert (employed.size() == truth["n_20_64"]).all() and (poor.size() == truth["n_poverty_universe"]).all()


def test_covariates_are_shares_and_none_is_a_target(ny_nj, population):
    table = population.areas[list(ny_nj.COVARIATES)]
    assert len(ny_nj.COVARIATES) == 9 and table.notna().all(axis=None)
    assert table.ge(0).all(axis=None) and table.le(1).all(axis=None)
    for truth, _ in ny_nj.INDICATORS.values():
        assert table.corrwith(pd.Series(population.truth[truth].to_numpy())).abs().max() < 0.9


def test_a_sample_has_whole_households_and_one_weight(ny_nj, population):
    sample = ny_nj.draw(population, 0)
    households = sample["household"].drop_duplicates()
    assert len(households) == 13_581
    assert sample["household"].value_counts().sort_index().tolist() == population.size[households].tolist()
    assert sample["weight"].iloc[0] == pytest.approx(135_809 / 13_581, rel=1e-12)
    assert sample.equals(ny_nj.draw(population, 0)) and not sample.equals(ny_nj.draw(population, 1))


def test_finite_predictor_is_direct_in_a_census_and_the_model_without_a_sample(ny_nj):
    names = ["census", "none", "half"]
    direct = pd.DataFrame({"n": [50.0, 0.0, 25.0], "estimate": [0.5, np.nan, 0.4]}, index=names)
    model = pd.DataFrame({"estimate": [0.7, 0.7, 0.6], "mse": [0.01, 0.01, 0.01]}, index=names)
    finite = ny_nj.finite(model, direct, pd.Series(50.0, index=names), deff=1.5)
    assert finite["estimate"].tolist() == pytest.approx([0.5, 0.7, 0.5], rel=1e-12)
    expected = [0.0, 0.01 + 1.5 * 0.21 / 50, 0.25 * (0.01 + 1.5 * 0.24 / 25)]
    assert finite["mse"].tolist() == pytest.approx(expected, rel=1e-12)


def test_finite_predictor_has_the_variance_it_says(ny_nj, rng):
    """A world as the model has it: rates around a known mean, people drawn from them, some of them asked."""
    areas, people, asked, mean, spread = 40_000, 60, 12, 0.6, 0.05
    rate = np.clip(rng.normal(mean, spread, areas), 0.01, 0.99)
    yes_asked, yes_rest = rng.binomial(asked, rate), rng.binomial(people - asked, rate)
    D = mean * (1 - mean) / asked
    gamma = spread**2 / (spread**2 + D)
    y = yes_asked / asked
    model = pd.DataFrame({"estimate": gamma * y + (1 - gamma) * mean, "mse": gamma * D})
    direct = pd.DataFrame({"n": float(asked), "estimate": y})
    finite = ny_nj.finite(model, direct, pd.Series(float(people), index=direct.index), deff=1.0)
    error = finite["estimate"] - (yes_asked + yes_rest) / people
    # 40,000 squared errors average to within 0.7 % (one se); p(1 - p) at the estimate adds some bias
    assert (error**2).mean() == pytest.approx(finite["mse"].mean(), rel=0.04)


def test_official_errors_are_read_off_their_curve(shared_data):
    argentina = load("argentina")
    table = pd.read_csv(argentina.OFFICIAL, dtype={"codigo": str, "periodo": str})
    assert argentina.official_cv2(table, "33", "2013Q1", 100_000) == pytest.approx(0.15355**2, rel=1e-12)
    assert argentina.official_cv2(table, "33", "2014Q3", 100_000) == pytest.approx(0.13524**2, rel=1e-12)
    between = argentina.official_cv2(table, "33", "2013Q1", 110_000)
    assert 0.140**2 < between < 0.1536**2
    assert np.isnan(argentina.official_cv2(table, "33", "2013Q1", 1_000))
