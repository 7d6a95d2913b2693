"""The attacker against enumeration, plain linear programmes, and printed examples."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

import sae
from sae.disclosure.attack import hidden_cells
from sae.disclosure.elimination import smallest_cells
from sae.disclosure.linked import linked_table
from sae.errors import SaeInputError

CLOSE = 1e-5  # two runs of HiGHS, each feasible to 1e-7, on figures of up to a few hundred


def attack(linked, hidden, **options):
    low, high = linked.values.copy(), linked.values.copy()
    for part in hidden_cells(linked.sums, linked.values, hidden):
        low[part.cells], high[part.cells] = part.intervals(**options)
    return low, high


def square(values, rows, columns):
    """Link a two-way table given with its margins."""
    pairs = list(itertools.product(rows, columns))
    table = pd.DataFrame(pairs, columns=["row", "column"]).assign(n=np.ravel(values))
    sums = {"row": {rows[-1]: rows[:-1]}, "column": {columns[-1]: columns[:-1]}}
    return linked_table(table, sums, "n", np.ones(len(table), bool))


def of(linked, *names):
    return [linked.names.index(" / ".join(name)) for name in names]


def test_example_3_of_the_handbook():
    """Hundepool et al. (2024), Handbook on SDC, 2nd edition, chapter 4, example 3 (Geurts 1992): 3 to 6."""
    none = np.nan
    linked = square([[none, none, 7], [none, none, 3], [3, 3, 6], [9, 7, 16]], list("123T"), list("12T"))
    low, high = attack(linked, np.isnan(linked.values))
    cells = of(linked, "11", "12", "21", "22")
    assert low[cells].tolist() == pytest.approx([3, 1, 0, 0]) and high[cells].tolist() == pytest.approx(
        [6, 4, 3, 3]
    )


def test_four_cells_in_a_square():
    """The worked table of the literature on cell suppression (Willenborg and de Waal 2001; as remembered).

    By hand: with x for the cell of 22, its neighbours are 30 - x, 34 - x and x - 5, all 0 or more.
    """
    values = np.array([[20, 50, 10, 80], [8, 19, 22, 49], [17, 32, 12, 61], [45, 101, 44, 190]], dtype=float)
    linked = square(values, ["1", "2", "3", "T"], ["A", "B", "C", "T"])
    hidden = np.zeros(16, bool)
    cells = of(linked, "2C", "2A", "3C", "3A")
    hidden[cells] = True
    low, high = attack(linked, hidden)
    assert low[cells].tolist() == pytest.approx([5, 0, 4, 0]) and high[cells].tolist() == pytest.approx(
        [30, 25, 29, 25]
    )


@pytest.mark.parametrize("seed", range(25))
def test_intervals_are_those_of_one_programme_per_end(random_table, seed):
    table, sums = random_table(seed)
    linked = linked_table(table, sums, "n")
    hidden = np.random.default_rng(seed).random(len(linked.values)) < 0.5
    if not hidden.any():
        return
    low, high = attack(linked, hidden)
    inside = linked.sums.toarray()[:, hidden]
    right = -linked.sums.toarray()[:, ~hidden] @ linked.values[~hidden]
    for k, cell in enumerate(np.flatnonzero(hidden)):
        unit = np.eye(inside.shape[1])[k]
        ends = []
        for sign in (1, -1):
            plain = linprog(sign * unit, A_eq=inside, b_eq=right, bounds=(0, None), method="highs")
            ends.append(sign * plain.fun if plain.status == 0 else sign * -np.inf)
        assert [low[cell], high[cell]] == pytest.approx(ends, abs=CLOSE)


@pytest.mark.parametrize("seed", range(12))
def test_whole_numbers_are_those_of_all_tables(seed):
    """Every 2 × 2 × 2 table with the published cells, one by one."""
    rng = np.random.default_rng(seed)
    cells = pd.DataFrame(itertools.product("ab", "cd", "ef"), columns=["x", "y", "z"])
    cells = cells.assign(n=rng.choice(3, 8, p=[0.5, 0.3, 0.2]))
    sums = {"x": {"T": ["a", "b"]}, "y": {"T": ["c", "d"]}, "z": {"T": ["e", "f"]}}
    linked = linked_table(sae.disclosure.with_totals(cells, sums, ["n"]), sums, "n")
    hidden = linked.height <= rng.integers(0, 2)
    low, high = attack(linked, hidden, whole=True)
    forms = smallest_cells(linked.sums, linked.height)[1]
    most = [
        min(linked.values[total] for total in forms[:, [k]].nonzero()[0] if not hidden[total])
        for k in range(8)
    ]
    figures = np.stack([grid.ravel() for grid in np.meshgrid(*[np.arange(m + 1) for m in most])])
    tables = forms.toarray() @ figures
    tables = tables[:, (tables[~hidden] == linked.values[~hidden, None]).all(axis=0)]
    np.testing.assert_allclose(low, tables.min(axis=1), atol=CLOSE)
    np.testing.assert_allclose(high, tables.max(axis=1), atol=CLOSE)


def test_a_cell_in_no_sum_may_be_anything():
    table = pd.DataFrame({"year": [2024, 2025], "n": [3, 4]})
    low, high = attack(linked_table(table, {"year": {}}, "n"), np.array([True, False]))
    assert low.tolist() == [0, 4] and high.tolist() == [np.inf, 4]


def test_all_hidden_has_no_upper_end():
    table = pd.DataFrame({"area": ["A", "B", "T"], "n": [3, 4, 7]})
    low, high = attack(linked_table(table, {"area": {"T": ["A", "B"]}}, "n"), np.ones(3, bool))
    assert low.tolist() == [0, 0, 0] and np.isinf(high).all()


def test_large_figures_beside_small_ones():
    """A total of 40 million: the ends of small cells keep their digits."""
    table = pd.DataFrame({"area": ["A", "B", "C", "T"], "n": [3, 7, 40_000_000, 40_000_010]})
    linked = linked_table(table, {"area": {"T": ["A", "B", "C"]}}, "n")
    low, high = attack(linked, np.array([True, True, False, False]))
    assert low[:2].tolist() == [0, 0] and high[:2].tolist() == pytest.approx([10, 10], abs=CLOSE)


def test_figures_that_contradict_each_other_are_refused():
    linked = square([[np.nan, 5, 4], [1, 1, 2], [3, 6, 9]], list("12T"), list("12T"))
    with pytest.raises(SaeInputError, match=r"No figures of 0 or more .* fit the published ones"):
        attack(linked, np.isnan(linked.values))


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e9])
def test_the_unit_of_the_figures_does_not_matter(random_table, size):
    """Amounts in thousands or in billions of a unit that no binary fraction meets."""
    table, sums = random_table(7, 3)
    linked = linked_table(table, sums, "n")
    other = linked_table(table.assign(n=table["n"] * size / 7), sums, "n")
    hidden = np.random.default_rng(7).random(len(linked.values)) < 0.5
    for blind in (False, True):
        seen = other if not blind else replace(other, values=np.where(hidden, np.nan, other.values))
        for one, two in zip(attack(linked, hidden), attack(seen, hidden), strict=True):
            np.testing.assert_allclose(two / size * 7, one, atol=1e-4)  # of a thousandth: tolerance 1e-7
