"""Functions of a score from a table of cells, against the functions themselves."""

import numpy as np
import pytest

from sae.numerics.ebp.cell_table import CellTable
from sae.numerics.ebp.closed_form import expected
from tests.numerics.ebp.populations import SCALES, THRESHOLD, parameters

SERIES = 2e-11  # of the largest value: what a series of degree 11 leaves on a standard deviation


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("name", ["mean", "head_count", "gap", "severity"])
def test_as_the_function(rng, scale, name):
    sizes = np.array([3000, 0, 5000, 1])
    at = parameters(scale, 1)
    unit = np.sqrt(at.sigma2_e)
    by_area = unit * np.array([1.0, 9.0, 1.2, 1.0])
    score = at.coefficients[0] + unit * rng.normal(scale=0.8, size=sizes.sum())
    sd, out = np.repeat(by_area, sizes), np.empty(sizes.sum())
    table = CellTable.of(score, sd, by_area, sizes)
    table.fill(lambda s, d: expected(scale, s, d, name, THRESHOLD), out)
    wanted = expected(scale, score, sd, name, THRESHOLD)
    np.testing.assert_allclose(out, wanted, rtol=0, atol=SERIES * np.abs(wanted).max())


def test_few_units_need_none(rng):
    sd = np.ones(30)
    assert CellTable.of(rng.normal(size=30), sd, np.ones(1), np.array([30])) is None
    far = np.where(np.arange(5000) == 7, 1e9, rng.normal(size=5000))
    assert CellTable.of(far, np.ones(5000), np.ones(1), np.array([5000])) is None
    assert CellTable.of(far, np.zeros(5000), np.zeros(1), np.array([5000])) is None
