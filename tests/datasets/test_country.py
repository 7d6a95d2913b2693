"""The synthetic country: its truth, its covariates, its map, its reproducibility."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from sae.datasets import country
from sae.datasets.geography import geography
from sae.errors import SaeInputError

# Registers follow the truth without being it: the correlation over 120 regions lies between these.
REALISTIC = (0.5, 0.99)


@pytest.fixture(scope="module")
def land():
    return country(seed=1)


@pytest.fixture(scope="module")
def small():
    return country(seed=3, regions=13)


def test_size_and_structure(land):
    people = land.population
    assert 250_000 < len(people) < 450_000
    assert len(land.areas) == 120 and land.areas["nuts1"].nunique() == 8 and people["nation"].nunique() == 1
    assert people["person"].is_unique
    assert (people.groupby("household")["psu"].nunique() == 1).all()
    assert (people.groupby("psu", observed=True)["region"].nunique() == 1).all()
    assert (people.groupby("region", observed=True)["nuts1"].nunique() == 1).all()
    assert (people.groupby("household")["income"].nunique() == 1).all()
    children = people["age"] < 15
    assert people.loc[children, ["education", "labour_status"]].isna().all(axis=None)
    assert people.loc[~children, list(land.persons)].notna().all(axis=None)
    assert people["age"].between(0, 99).all()
    assert land.areas["population"].sum() == len(people)
    assert land.frame["households"].sum() == people["household"].nunique()


def test_truth_is_the_mean_over_the_persons(small):
    people = small.population
    line = 0.6 * people["income"].median()
    row = small.truth.query("region == 'XA1003' and birth == 'foreign'").iloc[0]
    mine = people[(people["region"] == "XA1003") & (people["birth"] == "foreign")]
    working = mine[mine["age"].between(20, 64)]
    active = mine[mine["age"].between(15, 74) & mine["labour_status"].isin(["employed", "unemployed"])]
    assert row["n_persons"] == len(mine) and row["n_20_64"] == len(working)
    assert row["employment_rate"] == (working["labour_status"] == "employed").mean()
    assert row["unemployment_rate"] == (active["labour_status"] == "unemployed").mean()
    assert row["activity_rate"] == (working["labour_status"] != "inactive").mean()
    assert row["arpr"] == pytest.approx((mine["income"] < line).mean(), rel=1e-12)


def test_truth_of_any_domain_adds_up(small):
    by = small.truth_of(["nuts1", "citizenship_group"])
    nation = small.truth_of([])
    assert by["n_persons"].sum() == nation.loc[0, "n_persons"] == len(small.population)
    mixed = np.average(by["employment_rate"], weights=by["n_20_64"])
    assert mixed == pytest.approx(nation.loc[0, "employment_rate"], rel=1e-12)
    adults = small.population["age"].ge(15)
    assert small.truth_of(["education"])["n_persons"].sum() == adults.sum()
    with pytest.raises(SaeInputError, match="no column county"):
        small.truth_of(["county"])


def test_the_rates_are_those_of_a_plausible_country(land):
    rates = land.truth_of(["birth"]).set_index("birth")
    assert 0.70 < rates.loc["native", "employment_rate"] < 0.85
    assert rates.loc["foreign", "employment_rate"] < rates.loc["native", "employment_rate"] - 0.03
    assert rates.loc["foreign", "unemployment_rate"] > 1.5 * rates.loc["native", "unemployment_rate"]
    assert 0.12 < land.truth_of([]).loc[0, "arpr"] < 0.25
    foreign = land.truth.query("birth == 'foreign'")
    assert 0.05 < foreign["employment_rate"].std() < 0.12
    assert foreign["n_20_64"].min() >= 20


@pytest.mark.parametrize(
    ("covariate", "rate", "birth", "sign"),
    [
        ("share_tertiary", "employment_rate", "native", 1),
        ("share_tertiary", "employment_rate", "foreign", 1),
        ("register_unemployment", "unemployment_rate", "total", 1),
        ("register_unemployment", "employment_rate", "foreign", -1),
        ("register_employment", "employment_rate", "native", 1),
        ("share_tertiary", "arpr", "total", -1),
    ],
)
def test_registers_follow_the_truth_without_being_it(land, covariate, rate, birth, sign):
    joined = land.areas.merge(land.truth[land.truth["birth"] == birth], on="region", validate="one_to_one")
    low, high = REALISTIC
    assert low < sign * joined[covariate].corr(joined[rate]) < high


def test_census_share_is_near_the_true_share(land):
    true = (
        land.truth.query("birth == 'foreign'").set_index("region")["n_persons"]
        / land.areas.set_index("region")["population"]
    )
    register = land.areas.set_index("region")["share_foreign"]
    assert (register / true - 1).abs().max() < 0.25
    assert not np.allclose(register, true, rtol=1e-3)


def test_the_map_has_two_islands_and_is_connected_otherwise(land):
    codes = land.areas["region"].tolist()
    touched = set(land.neighbours["region_a"]) | set(land.neighbours["region_b"])
    assert sorted(set(codes) - touched) == ["XA4012", "XA5109"]
    assert not (land.neighbours["region_a"] == land.neighbours["region_b"]).any()
    reached, waiting = set(), [codes[0]]
    pairs = [
        *land.neighbours.itertuples(index=False),
        *land.neighbours[["region_b", "region_a"]].itertuples(index=False),
    ]
    links = pd.DataFrame(pairs, columns=["a", "b"]).groupby("a")["b"].apply(list)
    while waiting:
        code = waiting.pop()
        if code not in reached:
            reached.add(code)
            waiting.extend(links[code])
    assert reached == touched


def test_a_larger_country_keeps_the_regions_of_a_smaller_one(small):
    larger = country(seed=3, regions=20)
    code = "XA1002"
    mine, theirs = (
        c.population[c.population["region"] == code]
        .drop(columns="persistent_poverty")  # whose line is the nation's
        .astype({"region": str, "nuts1": str, "psu": str})
        for c in (small, larger)
    )
    pd.testing.assert_frame_equal(mine.reset_index(drop=True), theirs.reset_index(drop=True))
    columns = ["region", "psu", "size", "covered"]
    pd.testing.assert_frame_equal(
        small.frame[small.frame["region"] == code][columns].astype({"region": str, "psu": str}),
        larger.frame[larger.frame["region"] == code][columns].astype({"region": str, "psu": str}),
    )
    pd.testing.assert_frame_equal(small.areas, larger.areas.head(13))
    assert geography(13).codes == geography(999).codes[:13]


def test_another_seed_is_another_country(small):
    other = country(seed=4, regions=13)
    assert len(other.population) != len(small.population)


def test_two_processes_give_the_same_country_and_sample():
    program = (
        "import hashlib, pandas as pd; from sae.datasets import country; c = country(5, regions=6);"
        "s = c.lfs(2).frame;"
        "h = lambda f: hashlib.sha256(f.to_csv(index=False).encode()).hexdigest();"
        "print(h(c.population), h(c.areas), h(c.truth), h(s))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] and len(runs[0].split()) == 4


@pytest.mark.parametrize(("seed", "regions"), [(-1, 5), (1.5, 5), (None, 5), (1, 1), (1, 1000)])
def test_seed_and_size_out_of_range_are_refused(seed, regions):
    with pytest.raises(SaeInputError, match=r"seed|regions"):
        country(seed=seed, regions=regions)
