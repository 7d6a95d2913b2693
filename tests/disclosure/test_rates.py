"""Rates: every table of numerators that gives the published rates, one by one."""

import itertools

import numpy as np
import pandas as pd
import pytest

import sae
from sae.disclosure import PrimaryRules, audit_rates, protect_rates
from sae.errors import SaeInputError, SaeSpecError

SUMS = {"area": {"all": ["A", "B", "C"]}}
COLUMNS = {"numerator": "jobless", "denominator": "active"}


def rates(jobless, active):
    cells = pd.DataFrame({"area": ["A", "B", "C"], "jobless": jobless, "active": active})
    return sae.disclosure.with_totals(cells, SUMS, ["jobless", "active"])


def numerators(table):
    """All numerators that fit the published rates and the known denominators, shape (n_tables, 4)."""
    active = table["active"].to_numpy().astype(int)
    grid = np.array(list(itertools.product(*[range(a + 1) for a in active[:3]])))
    grid = np.column_stack([grid, grid.sum(axis=1)])
    shown = table["status"].eq("published").to_numpy()
    return grid[(grid[:, shown] == table["jobless"].to_numpy()[shown]).all(axis=1)]


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("zeros", [False, True])
def test_no_numerator_is_known_too_closely(seed, zeros):
    rng = np.random.default_rng(seed)
    active = rng.integers(8, 25, 3)
    table = rates(rng.binomial(active, rng.choice([0.05, 0.3, 0.9], 3)), active)
    rules = PrimaryRules(persons=4, zeros=zeros)
    done = protect_rates(table, SUMS, **COLUMNS, rules=rules)
    rest = table["active"] - table["jobless"]
    few = (table["jobless"].lt(4) & (table["jobless"].gt(0) | zeros)) | (rest.lt(4) & (rest.gt(0) | zeros))
    assert (done["status"].eq("primary") == few).all()
    fits = numerators(done)
    width = np.ptp(fits, axis=0)
    assert (width >= 4)[done["status"].ne("published")].all()
    assert (done["width"][done["status"].ne("published")] >= 4 - 1e-6).all()
    assert audit_rates(done, SUMS, **COLUMNS, status="status", rules=rules).passed


def test_a_small_known_population_hides_its_rate():
    """Three active persons, everybody knows: 0 to 3 jobless is all that can be left open."""
    table = rates([1, 12, 20], [3, 40, 50])
    done = protect_rates(table, SUMS, **COLUMNS, rules=PrimaryRules(persons=5))
    assert done["status"].tolist() == ["primary", "secondary", "published", "published"]
    assert done["needed"][0] == 3 and done["width"][0] == 3
    assert done["reason"][0].startswith("numerator: 1 persons, fewer than 5; rest: 2 persons, fewer than 5")
    nobody = protect_rates(rates([0, 12, 20], [3, 40, 50]), SUMS, **COLUMNS, rules=PrimaryRules(persons=5))
    assert (
        nobody["status"][0] == "primary"
    )  # 0 of 3: the rate is hidden although 0 is not sensitive by itself


def test_a_total_of_0_would_tell_that_a_small_part_has_0():
    table = rates([0, 0, 0], [3, 40, 50])
    done = protect_rates(table, SUMS, **COLUMNS, rules=PrimaryRules(persons=5))
    assert done["status"].tolist() == ["primary", "published", "published", "secondary"]
    assert np.ptp(numerators(done), axis=0).tolist() == [3, 0, 0, 3]


def test_a_0_is_hidden_where_nothing_else_is_wide_enough():
    """2 of 31 foreigners: with 0 of 21 published beside 10 others, 0 to 10 is left, and 20 are required."""
    table = pd.DataFrame({"area": ["eu", "non_eu"], "jobless": [2, 0], "active": [10, 21]})
    sums = {"area": {"foreign": ["eu", "non_eu"]}}
    table = sae.disclosure.with_totals(table, sums, ["jobless", "active"])
    rules = PrimaryRules(persons=20)
    done = protect_rates(table, sums, **COLUMNS, rules=rules)
    assert dict(zip(done["area"], done["status"], strict=True)) == {
        "eu": "primary",
        "foreign": "primary",
        "non_eu": "secondary",
    }
    assert audit_rates(done, sums, **COLUMNS, status="status", rules=rules).passed


def test_unknown_denominators_can_be_hidden_with_the_rate():
    table = rates([2, 12, 20], [30, 40, 50])
    done = protect_rates(table, SUMS, **COLUMNS, rules=PrimaryRules(persons=5), known=False)
    assert done["status"].tolist() == ["primary", "secondary", "published", "published"]


def test_weighted_rates_are_judged_by_their_records():
    table = rates([200, 1200, 2000], [3000, 4000, 5000])
    records = rates([2, 12, 20], [30, 40, 50])
    table = table.assign(n_jobless=records["jobless"], n_active=records["active"])
    done = protect_rates(
        table, SUMS, **COLUMNS, rules=PrimaryRules(persons=5), persons=("n_jobless", "n_active")
    )
    assert done["status"].tolist() == ["primary", "secondary", "published", "published"]
    assert done["needed"][0] == 500  # five records of a weight of 100


@pytest.mark.parametrize(
    ("table", "sums", "rules", "error", "words"),
    [
        (
            rates([5, 5, 5], [4, 9, 9]),
            SUMS,
            {"persons": 5},
            SaeInputError,
            "jobless is .* larger than active in 1 rows: row 1",
        ),
        (
            rates([5, 5, 5], [9, 9, 9]),
            SUMS,
            {"p": 0.1},
            SaeSpecError,
            "Rates are judged by numbers of persons",
        ),
        (rates([5, 5, 5], [9, 9, 9]), {"part": {}}, {"persons": 5}, SaeInputError, "no column 'part'"),
        (
            rates([5, 5, 5], [9, 9, 9]).assign(part="x"),
            {**SUMS, "part": {}},
            {"persons": 5},
            SaeSpecError,
            "A dimension is called part",
        ),
    ],
)
def test_faults_are_named(table, sums, rules, error, words):
    with pytest.raises(error, match=words):
        protect_rates(table, sums, **COLUMNS, rules=PrimaryRules(**rules))
