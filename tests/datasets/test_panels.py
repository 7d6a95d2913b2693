"""The rotating panels: how much they overlap, that they are unbiased, that they carry changes."""

from itertools import pairwise

import numpy as np
import pytest

import sae
from sae.datasets import countries, country, lfs_panel, silc_panel
from sae.errors import SaeInputError
from sae.survey import pool_periods

Z = 4.0  # means over samples within 4 standard errors
SEEDS = range(25)
NEAR = (0.5, 2.0)  # a variance of 25 samples is off by 29 % (one standard error)


@pytest.fixture(scope="module")
def years():
    return countries(seed=2, first=2021, last=2024, regions=5)


def rate(frame, yes, among):
    weight = frame["weight"].to_numpy()
    return (weight * (yes & among)).sum() / (weight * among).sum()


def employment(frame):
    return rate(
        frame, frame["labour_status"].eq("employed").to_numpy(), frame["age"].between(20, 64).to_numpy()
    )


def overlap(frame, time, lag):
    units = [set(part["household"]) for _, part in frame.groupby(time, observed=True)]
    return [
        len(a & b) / len(a)
        for a, b in (pairwise(units) if lag == 1 else zip(units, units[lag:], strict=False))
    ]


def test_the_labour_force_survey_rotates_as_documented(years):
    frame = lfs_panel(years, seed=1).frame
    assert frame["quarter"].nunique() == 16
    assert not frame.duplicated(["person", "quarter"]).any()
    # of the dwellings 5/6 and 1/3; some have other people after the turn of a year
    assert (
        0.75 < min(overlap(frame, "quarter", 1)) <= max(overlap(frame, "quarter", 1)) == pytest.approx(5 / 6)
    )
    assert 0.25 < min(overlap(frame, "quarter", 4)) <= max(overlap(frame, "quarter", 4)) <= 1 / 3
    assert max(overlap(frame, "quarter", 6)) == 0.0
    homes = frame.drop_duplicates(["household", "quarter"])
    assert set(homes.groupby("quarter", observed=True)["wave"].value_counts()) == {homes["psu"].nunique()}
    homes = homes.sort_values("quarter")
    step = homes.groupby("household")["wave"].diff()
    assert (step.isna() | (step == 1) | (homes["wave"] == 1)).all()  # a small PSU begins again at its start
    assert (step == 1).mean() > 0.7


def test_silc_stays_four_years(years):
    frame = silc_panel(years, seed=1).frame
    assert 0.65 < min(overlap(frame, "year", 1)) <= max(overlap(frame, "year", 1)) <= 0.75
    assert "income" in frame and "contract" not in frame and frame["wave"].max() == 4
    whole = frame.groupby(["year", "household"], observed=True).size()
    size = years[3].population.groupby("household").size()
    assert (whole["2024"] == size.loc[whole["2024"].index]).all()


def test_quarters_move_and_have_their_truth(years):
    land = years[0]
    assert land.in_quarter(1) is land
    quarters = [land.in_quarter(number) for number in (1, 2, 3, 4)]
    status = [quarter.population["labour_status"].astype(str) for quarter in quarters]
    adult = (land.population["age"] >= 15).to_numpy()
    for before, after in [*pairwise(status), (status[3], years[1].population["labour_status"].astype(str))]:
        if len(before) == len(after):
            assert 0.95 < (before == after)[adult].mean() < 0.995
    for quarter in quarters[1:]:
        people, first = quarter.population, land.population
        moved = [name for name in people if not people[name].equals(first[name])]
        assert set(moved) == {
            *["labour_status", "recent_education", "unemployment_duration", "professional_status"],
            *["contract", "working_time", "occupation"],
        }
        assert (people["contract"].notna() <= people["labour_status"].eq("employed")).all()
        nation = employment(people.assign(weight=1.0))
        assert quarter.truth_of([]).loc[0, "employment_rate"] == pytest.approx(nation, rel=1e-12)
        total = quarter.truth.query("birth == 'total'")
        assert np.average(total["employment_rate"], weights=total["n_20_64"]) == pytest.approx(nation)
    last, first = quarters[3].population, years[1].population
    both = last[last["age"] >= 20].merge(first, on="person", suffixes=("", "_later"))
    same = both["labour_status"].astype(str) == both["labour_status_later"].astype(str)
    assert 0.95 < same.mean() < 0.995  # the turn of the year is a quarter like others
    with pytest.raises(SaeInputError, match="quarters 1 to 4, not 5"):
        land.in_quarter(5)
    assert country(2, regions=5).in_quarter(3).population.equals(land.population)  # the same all year


def test_panels_are_unbiased_and_know_change_better_than_two_samples(years):
    quarters = [years[0].in_quarter(number) for number in (1, 2, 3, 4)]
    true = [employment(land.population.assign(weight=1.0)) for land in (*quarters, years[1])]
    estimates = []
    for seed in SEEDS:
        frame = lfs_panel(years[:2], seed).frame
        by_quarter = dict(list(frame.groupby("quarter", observed=True)))
        names = ("2021Q1", "2021Q2", "2021Q3", "2021Q4", "2022Q1")
        pooled = employment(frame[frame["quarter"].isin(names[:4])])
        estimates.append([*(employment(by_quarter[name]) for name in names), pooled])
    estimates = np.array(estimates)
    se = estimates.std(axis=0, ddof=1) / np.sqrt(len(SEEDS))
    assert len(set(true)) == 5
    assert (np.abs(estimates.mean(axis=0) - [*true, np.mean(true[:4])]) < Z * se).all()
    correlation = np.corrcoef(estimates.T)
    assert correlation[0, 1] > 0.6  # five sixths of the dwellings
    assert correlation[0, 4] > 0.2  # the same PSUs, a third of the dwellings


def test_the_variance_of_a_pooled_year_is_that_of_repeated_panels(years):
    reported, estimates = {"linked": [], "independent": []}, []
    for seed in SEEDS:
        quarters = lfs_panel(years[:1], seed, persons=800)
        for panel, variances in reported.items():
            year = pool_periods(quarters, panel)
            row = sae.direct(year, "employment_rate", by=["year"]).frame.iloc[0]
            variances.append(row["variance"])
        estimates.append(row["estimate"])
        assert row["estimate"] == pytest.approx(employment(quarters.frame), rel=1e-12)
    true = np.var(estimates, ddof=1)
    mean = {panel: np.mean(variances) for panel, variances in reported.items()}
    assert NEAR[0] < mean["linked"] / true < NEAR[1]
    assert mean["independent"] < 0.6 * mean["linked"]  # five sixths of a quarter are in the next one


def test_the_four_year_panel_carries_persistent_poverty(years):
    last, everybody = [], []
    for seed in SEEDS:
        frame = silc_panel(years, seed).frame
        first = set(frame.loc[frame["year"] == "2021", "person"])
        now = frame[frame["year"] == "2024"]
        part = now[now["wave"] == 4]
        assert part["person"].isin(first).mean() > 0.8
        last.append(4.0 * part["weight"] @ part["persistent_poverty"].eq("yes"))
        everybody.append(now["weight"] @ now["persistent_poverty"].eq("yes"))
    true = years[3].population["persistent_poverty"].eq("yes").sum()
    for totals in (last, everybody):
        assert abs(np.mean(totals) - true) < Z * np.std(totals, ddof=1) / np.sqrt(len(SEEDS))


@pytest.mark.parametrize("persons", [400, 2_000, 5_500])
def test_a_sample_has_about_as_many_persons_as_wanted(years, persons):
    land = years[0]
    assert len(land.silc(1, persons=persons).frame) == pytest.approx(persons, rel=0.25)
    large = land.lfs(1, persons=persons)
    assert len(large.frame) == pytest.approx(persons, rel=0.25)
    assert large.weights.sum() == pytest.approx(len(land.population), rel=0.15)


def test_more_persons_than_the_country_can_give_are_refused(years):
    with pytest.raises(SaeInputError, match=r"persons = 50,000, but a sample of this country has 1 to"):
        years[0].lfs(1, persons=50_000)
    with pytest.raises(SaeInputError, match="persons = 0"):
        lfs_panel(years, 1, persons=0)


def test_years_that_do_not_follow_are_refused(years):
    for wrong in ([years[0], years[2]], [], [years[0], country(3, regions=5, year=2022)]):
        with pytest.raises(SaeInputError, match="consecutive years of one country"):
            lfs_panel(wrong, seed=1)


@pytest.mark.slow
def test_a_year_of_one_and_a_half_million_interviews():
    land = country(1, regions=999)
    survey = lfs_panel([land], seed=1, persons=375_000)
    assert len(survey.frame) == pytest.approx(1_500_000, rel=0.02)
    assert survey.frame.memory_usage(deep=True).sum() < 150e6
    covered = land.frame.loc[land.frame["covered"], "region"].unique()
    inside = land.population["region"].isin(covered).sum()
    assert survey.weights.sum() / 4 == pytest.approx(inside, rel=0.01)
