"""Noise tables against their definition and a general optimiser; cells of the country keep their noise."""

import numpy as np
import pandas as pd
import pytest

import sae
from sae.disclosure import noise_table, perturb, record_keys
from sae.errors import SaeInputError, SaeSpecError

MOMENT = 1e-8  # what Newton's method leaves of the two moments
ENTROPY = 1e-5  # what an interior-point solver leaves of the largest entropy


@pytest.mark.parametrize(("variance", "largest", "barred"), [(0.5, 1, 0), (2, 4, 0), (3, 5, 2), (4, 8, 1)])
def test_every_row_is_noise_as_asked(variance, largest, barred):
    table = noise_table(variance, largest, barred)
    noise = np.arange(-largest, largest + 1)
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(table[1:] @ noise, 0, atol=MOMENT * largest)
    np.testing.assert_allclose(table[1:] @ noise**2, variance, rtol=MOMENT * largest)
    np.testing.assert_allclose(table[-1], table[-1, ::-1], atol=1e-9)  # far from 0 it is symmetric
    after = np.arange(len(table))[:, None] + noise
    assert not table[(after < 0) | ((after > 0) & (after <= barred))].any()


def test_by_hand():
    """Variance 1/2 on -1, 0, 1: a quarter, a half, a quarter."""
    np.testing.assert_allclose(noise_table(0.5, 1)[1], [0.25, 0.5, 0.25], atol=1e-9)


def test_no_noise_of_these_moments_has_more_entropy():
    import cvxpy

    noise = np.arange(-2, 5)
    p = cvxpy.Variable(len(noise))
    moments = [cvxpy.sum(p) == 1, noise @ p == 0, noise**2 @ p == 2]
    best = cvxpy.Problem(cvxpy.Maximize(cvxpy.sum(cvxpy.entr(p))), moments).solve()
    ours = noise_table(2, 4)[2, 2:]
    assert -(ours * np.log(ours)).sum() == pytest.approx(best, abs=ENTROPY)


def test_a_cell_has_the_same_noise_in_every_table():
    """Women of one region, in a table by sex and in one by region: the same persons, the same figure."""
    people = sae.datasets.country(1, regions=4).population
    people = people.assign(n=1, key=record_keys(people["person"], seed=7))
    noise = {"value": "n", "key": "key", "variance": 3, "largest": 6, "barred": 2}
    fine = people.groupby(["region", "sex", "citizenship_group"], observed=True)[["n", "key"]].sum()
    coarse = fine.groupby(["region", "sex"], observed=True)[["n", "key"]].sum()
    direct = (
        people.sample(frac=1, random_state=1).groupby(["region", "sex"], observed=True)[["n", "key"]].sum()
    )
    one, two = perturb(coarse, **noise), perturb(direct.loc[coarse.index], **noise)
    pd.testing.assert_frame_equal(one, two)
    assert (one["perturbed"] - one["n"]).abs().max() <= 6


def test_the_noise_of_many_cells_is_the_noise_of_the_table():
    """96,000 cells of 1 to 12 persons: mean and variance at every count, within five standard errors."""
    cells = pd.DataFrame({"n": np.tile(np.arange(1, 13), 8_000)})
    cells = cells.assign(key=record_keys(range(len(cells)), seed=3))
    done = perturb(cells, value="n", key="key", variance=2, largest=4, barred=2)
    assert not done["perturbed"].isin([1, 2]).any() and done["perturbed"].min() == 0
    noise = (done["perturbed"] - done["n"]).groupby(done["n"])
    assert noise.mean().abs().max() < 5 * np.sqrt(2 / 8_000)
    assert (noise.var() - 2).abs().max() < 5 * np.sqrt(10 * 2**2 / 8_000)  # kurtosis below 11 in every row


def test_nobody_stays_nobody():
    cells = pd.DataFrame({"n": [0] * 50, "key": np.arange(50) * 20_000})
    assert not perturb(cells, value="n", key="key", variance=2, largest=4)["perturbed"].any()


@pytest.mark.parametrize(
    ("cells", "options", "error", "words"),
    [
        ({"n": [1.5], "key": [1]}, {}, SaeInputError, "n is missing, negative or not whole in 1 rows"),
        ({"n": [1], "key": [None]}, {}, SaeInputError, "key is missing"),
        ({"n": [1], "key": [1], "perturbed": [1]}, {}, SaeInputError, "has a column perturbed already"),
        ({"n": [1], "key": [1]}, {"variance": 30}, SaeSpecError, "At a count of 1 no noise within -1 to 4"),
        ({"n": [1], "key": [1]}, {"variance": 1, "barred": 2}, SaeSpecError, "has mean 0 and variance 1"),
        ({"n": [1], "key": [1]}, {"largest": 0}, SaeSpecError, "largest=0"),
    ],
)
def test_faults_are_named(cells, options, error, words):
    with pytest.raises(error, match=words):
        perturb(pd.DataFrame(cells), value="n", key="key", **{"variance": 2, "largest": 4, **options})


def test_records_of_one_label_are_refused():
    with pytest.raises(SaeInputError, match="1 labels belong to several records: 7"):
        record_keys([7, 7, 8], seed=1)
