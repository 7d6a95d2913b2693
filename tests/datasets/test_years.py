"""The years of the country: who goes on, who comes, what lasts; the first year is the country itself."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from sae.datasets import countries, country
from sae.errors import SaeInputError

STEADY = 0.03  # a rate of 12,000 persons moves by less over four years in which nothing happens
REGIONS = 4


@pytest.fixture(scope="module")
def years():
    return countries(seed=2, first=2021, last=2025, regions=REGIONS)


def pairs(years):
    """Persons who are there in two consecutive years."""
    for before, after in pairwise(years):
        yield before.population.merge(after.population, on="person", suffixes=("", "_later"))


def test_the_first_year_is_the_country_bit_for_bit(years):
    land = country(seed=2, regions=REGIONS)
    pd.testing.assert_frame_equal(years[0].population, land.population, check_exact=True)
    for name in ("truth", "areas", "neighbours", "frame"):
        pd.testing.assert_frame_equal(getattr(years[0], name), getattr(land, name), check_exact=True)
    assert [len(land.quarters) for land in years] == [3] * 5
    assert [land.year for land in years] == [2021, 2022, 2023, 2024, 2025] and land.year == 2025
    assert years[0].lfs(1).frame["quarter"].unique().tolist() == ["2021Q1"]


def test_who_stays_gets_a_year_older_and_keeps_what_is_for_good(years):
    for both in pairs(years):
        assert (both["age_later"] == both["age"] + 1).all()
        for name in ("sex", "birth", "birth_group", "psu", "degurba"):
            assert (both[name].astype(str) == both[f"{name}_later"].astype(str)).all(), name
        level = {name: both[name].cat.codes for name in ("education", "education_later")}
        assert (level["education_later"] >= level["education"]).all()
        assert ((both["age_later"] >= 15) == both["education_later"].notna()).all()
        became = both["citizenship"].ne(both["citizenship_later"].astype(str))
        assert (became == (both["naturalised"] == "yes")).all() and 0 < became.sum() < 100
        arrived = {"under_5_years": 0, "5_years_or_more": 1}
        stay = both[["residence", "residence_later"]].astype(str).replace(arrived)
        abroad = both["birth"] == "foreign"
        assert (stay.loc[abroad, "residence_later"] >= stay.loc[abroad, "residence"]).all()


def test_dwellings_stay_and_no_number_comes_twice(years):
    homes = [land.population.groupby("psu", observed=True)["household"].nunique() for land in years]
    assert all(one.equals(homes[0]) for one in homes)
    for key in ("person", "household"):
        seen, before = set(), set()
        for land in years:
            now = set(land.population[key])
            assert not (now - before) & seen, key
            seen, before = seen | now, now
    for land in years:
        people = land.population
        assert people["person"].is_unique and people["age"].between(0, 99).all()
        assert (people.groupby("household")["psu"].nunique() == 1).all()
        assert (people["household"].diff().ne(0).sum()) == people["household"].nunique()
        assert (people["age"] == 0).sum() > 20


def test_most_stay_and_their_status_and_income_go_on_with_a_correlation(years):
    for both, land in zip(pairs(years), years, strict=False):
        assert 0.94 < len(both) / len(land.population) < 0.98
        working = both[both["labour_status"].eq("employed") & both["age"].between(25, 55)]
        assert 0.88 < working["labour_status_later"].eq("employed").mean() < 0.98
        jobless = both[both["labour_status"].eq("unemployed")]
        assert 0.4 < jobless["labour_status_later"].eq("unemployed").mean() < 0.9
        assert 0.7 < np.corrcoef(np.log(both["income"]), np.log(both["income_later"]))[0, 1] < 0.95
        assert 0.7 < (both["tenure"].astype(str) == both["tenure_later"].astype(str)).mean() < 1.0


def test_persistent_poverty_is_that_of_the_years(years):
    poor = pd.concat(
        [p["income"] < 0.6 * p["income"].median() for p in (y.population.set_index("person") for y in years)],
        axis=1,
        join="inner",
    ).to_numpy()
    there = years[0].population["person"]
    for land in years[1:]:
        there = there[there.isin(land.population["person"])]
    for last in (3, 4):
        people = years[last].population.set_index("person").loc[there.sort_values()]
        expected = poor[:, last] & (poor[:, last - 3 : last].sum(axis=1) >= 2)
        assert (people["persistent_poverty"].eq("yes").to_numpy() == expected).all()
    assert 0.05 < expected.mean() < poor[:, 4].mean()


def test_nothing_drifts_far(years):
    names = ("arpr_50", "part_time_share", "neet_rate", "good_health_share", "smsd_rate")
    rates = pd.concat([land.truth_of([], *names) for land in years]).drop(columns=["n_persons", "n_20_64"])
    assert ((rates.max() - rates.min()) < STEADY).all(), rates
    persons = [len(land.population) for land in years]
    assert max(persons) / min(persons) < 1.06


def test_a_larger_country_keeps_the_years_of_a_region(years):
    code = "XA1002"
    larger = countries(seed=2, first=2021, last=2022, regions=REGIONS + 2)[1].population
    mine, theirs = (
        frame[frame["region"] == code]
        .drop(columns="persistent_poverty")
        .astype({"region": str, "nuts1": str, "psu": str})
        .reset_index(drop=True)
        for frame in (years[1].population, larger)
    )
    pd.testing.assert_frame_equal(mine, theirs)


def test_years_out_of_order_are_refused():
    with pytest.raises(SaeInputError, match="last year 2020 comes before"):
        countries(seed=1, first=2021, last=2020, regions=2)
