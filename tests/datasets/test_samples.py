"""The samples: probabilities, unbiasedness of the weights, design columns, gaps on purpose."""

import numpy as np
import pytest

import sae
from sae.datasets import country, lfs_like, lfs_like_areas
from sae.datasets.samples import Design, systematic_pps, two_stage
from sae.errors import SaeInputError

Z = 4.0  # Monte-Carlo means within 4 standard errors: a correct sampler fails once in 16,000 runs
REPEATS, MANY = 60, 1000
EXACT = 1e-12  # the same sum in another order


@pytest.fixture(scope="module")
def land():
    return country(seed=1)


def test_systematic_pps_meets_its_probabilities(rng):
    size = np.array([3.0, 1.0, 2.0, 5.0, 4.0, 1.5])
    hits = np.zeros(len(size))
    repeats = 20_000
    for _ in range(repeats):
        drawn, probability = systematic_pps(rng, size, 2)
        assert len(np.unique(drawn)) == 2
        hits[drawn] += 1
    expected = 2 * size / size.sum()
    np.testing.assert_allclose(probability, expected[drawn], rtol=EXACT)
    assert (np.abs(hits / repeats - expected) < Z * np.sqrt(expected * (1 - expected) / repeats)).all()


def test_systematic_pps_refuses_a_unit_that_is_too_large(rng):
    with pytest.raises(SaeInputError, match="too large"):
        systematic_pps(rng, np.array([8.0, 1.0, 1.0]), 2)


def test_two_stage_weights_estimate_the_number_of_households_without_bias(rng):
    households = np.array([20, 33, 15, 28, 24, 19, 40])
    size = households * rng.uniform(0.8, 1.2, len(households))
    totals, value = [], rng.random(households.sum())
    for _ in range(4000):
        drawn, weight = two_stage(rng, Design(psus_per_root=0.2, households=5), size, households)
        assert len(np.unique(drawn)) == len(drawn) == 15
        totals.append((weight.sum(), weight @ value[drawn]))
    mean, se = np.mean(totals, axis=0), np.std(totals, axis=0) / np.sqrt(len(totals))
    assert (np.abs(mean - [households.sum(), value.sum()]) < Z * se).all()


def horvitz_thompson(land, seeds):
    """Mean and standard error, over samples, of estimated totals where covered; and the true totals."""
    covered = land.frame.loc[land.frame["covered"], "region"].unique()

    def totals(frame, weights):
        foreign = frame["birth"] == "foreign"
        working = frame["age"].between(20, 64)
        employed = frame["labour_status"] == "employed"
        return [float(weights @ part) for part in (foreign, foreign & working & employed, working, employed)]

    people = land.population[land.population["region"].isin(covered)]
    true = np.array(totals(people, np.ones(len(people))))
    estimates = np.array([totals(s.frame, s.weights) for s in map(land.lfs, seeds)])
    return estimates.mean(axis=0), estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates)), true


def test_lfs_is_unbiased_over_repeated_samples():
    mean, se, true = horvitz_thompson(country(seed=2, regions=13), range(REPEATS))
    assert (np.abs(mean - true) < Z * se).all(), (mean - true) / se


@pytest.mark.slow
def test_lfs_is_unbiased_over_many_samples():
    mean, se, true = horvitz_thompson(country(seed=2, regions=13), range(MANY))
    assert (np.abs(mean - true) < Z * se).all(), (mean - true) / se


def test_lfs_has_its_design_and_its_gaps(land):
    survey = land.lfs(seed=1)
    frame = survey.frame
    assert 7_000 < len(frame) < 15_000
    assert "income" not in frame and survey.time == "quarter"
    covered = land.frame.loc[land.frame["covered"]]
    assert set(frame["region"]) == set(covered["region"])
    assert len(land.areas) - frame["region"].nunique() == 6
    assert (frame.groupby("region", observed=True)["psu"].nunique() >= 2).all()
    # whole households
    size = land.population.groupby("household").size()
    taken = frame.groupby("household").size()
    assert (taken == size.loc[taken.index]).all()
    # the weights add up to the covered population within the noise of household sizes (about 1 %)
    inside = land.population["region"].isin(covered["region"]).sum()
    assert survey.weights.sum() == pytest.approx(inside, rel=0.04)
    foreign = (
        frame[(frame["birth"] == "foreign") & frame["age"].between(20, 64)]
        .groupby("region", observed=True)
        .size()
    )
    assert (foreign <= 20).mean() > 0.8


def test_silc_has_income_and_another_sample(land):
    silc, lfs = land.silc(seed=1), land.lfs(seed=1)
    assert silc.frame["income"].notna().all() and silc.time == "year"
    common = set(silc.frame["household"]) & set(lfs.frame["household"])
    assert len(common) < 0.2 * silc.frame["household"].nunique()


def test_a_seed_names_one_sample(land):
    assert land.lfs(seed=4).frame.equals(land.lfs(seed=4).frame)
    assert not land.lfs(seed=4).frame.equals(land.lfs(seed=5).frame)
    with pytest.raises(TypeError, match="seed"):
        land.lfs()


def test_convenience_functions_go_together(land):
    assert lfs_like(seed=1).frame.equals(land.lfs(1).frame)
    assert lfs_like_areas(seed=1).equals(land.areas)


def test_direct_on_the_census_is_the_truth():
    land = country(seed=3, regions=4)
    census = sae.Survey.from_frame(land.population.assign(one=1.0), weights="one", strata="region", psu="psu")
    for indicator in ("employment_rate", "unemployment_rate", "activity_rate", "arpr"):
        direct = sae.direct(census, indicator, by=["region", "birth"]).frame
        truth = land.truth.rename(columns={indicator: "true"})[["region", "birth", "true"]]
        joined = direct.astype({"region": str, "birth": str}).merge(truth, on=["region", "birth"])
        assert len(joined) == len(direct) == 8
        np.testing.assert_allclose(joined["estimate"].astype(float), joined["true"], rtol=EXACT)
