"""Elimination modulo a prime against null spaces of dense matrices in floating point."""

import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from sae.disclosure.elimination import eliminate, smallest_cells
from sae.disclosure.linked import linked_table

ZERO = 1e-9  # entries of an orthonormal null space of matrices of 0 and 1 with fewer than 200 columns


def computable(sums, hidden):
    """Which hidden cells follow from all others: those that no vector of the null space moves."""
    null = linalg.null_space(sums.toarray()[:, hidden])
    return np.abs(null).max(axis=1, initial=0.0) < ZERO


def pattern(table, sums, least, known=()):
    linked = linked_table(table, sums, "n")
    sensitive = np.flatnonzero((linked.values > 0) & (linked.values < least))
    fixed = np.flatnonzero(linked.values == 0)
    free = np.setdiff1d(np.arange(len(linked.values)), np.concatenate([sensitive, fixed]))
    order = free[np.lexsort((free, -linked.height[free], -linked.values[free]))]
    return linked, sensitive, order, eliminate(linked.sums, linked.height, sensitive, order, fixed)


@pytest.mark.parametrize("seed", range(60))
def test_no_sensitive_cell_follows_from_the_published_ones(random_table, seed):
    table, sums = random_table(seed)
    linked, sensitive, _, done = pattern(table, sums, 4)
    assert done.open == ()
    hidden = np.array(sorted([*sensitive, *done.hidden]), dtype=int)
    if len(sensitive):
        assert not computable(linked.sums, hidden)[np.isin(hidden, sensitive)].any()


@pytest.mark.parametrize("seed", range(30))
def test_each_hidden_cell_is_hidden_for_a_reason(random_table, seed):
    """With all dearer cells published, publishing it would let the cell that it protects be computed."""
    table, sums = random_table(seed)
    linked, sensitive, order, done = pattern(table, sums, 4)
    later = {int(cell): set(map(int, order[k:])) for k, cell in enumerate(order)}
    for cell, protected in done.hidden.items():
        earlier = [other for other in done.hidden if other not in later[cell]]
        still = np.array(sorted({*sensitive, *earlier, *later[cell]} - {cell}), dtype=int)
        assert computable(linked.sums, still)[still == protected].all()
        assert not computable(linked.sums, np.append(still, cell))[:-1][still == protected].any()


def test_forms_write_every_cell_by_the_smallest(random_table):
    for seed in range(8):
        table, sums = random_table(seed)
        linked = linked_table(table, sums, "n")
        leaves, forms = smallest_cells(linked.sums, linked.height)
        assert not np.isin(leaves, linked.sums.nonzero()[1][linked.sums.data > 0]).any()
        np.testing.assert_array_equal(forms @ linked.values[leaves].astype(int), linked.values)


def test_a_sensitive_cell_beside_known_ones_is_open():
    table = pd.DataFrame({"area": ["A", "B", "all"], "n": [2, 30, 32]})
    linked = linked_table(table, {"area": {"all": ["A", "B"]}}, "n")
    done = eliminate(linked.sums, linked.height, np.array([0]), np.array([2]), np.array([1]))
    assert done.hidden == {2: 0} and done.open == ()
    done = eliminate(linked.sums, linked.height, np.array([0]), np.array([], int), np.array([1, 2]))
    assert done.open == (0,)
