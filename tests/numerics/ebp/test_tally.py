"""Counts by levels: brute force, whatever the blocks and the order in which levels come up."""

import numpy as np
import pytest

from sae.numerics.ebp import tally
from sae.numerics.ebp.tally import Tally, TooManyCells

SHAPE = (50, 3, 4)


def counted(rows, blocks, columns=SHAPE):
    """Count rows in blocks; codes of a block are its own."""
    levels = [{} for _ in columns]
    table = Tally(len(columns))
    for part in np.array_split(rows, blocks):
        codes, lookups = [], []
        for known, column in zip(levels, part.T, strict=True):
            own, code = np.unique(column, return_inverse=True)
            lookups.append(np.array([known.setdefault(int(one), len(known)) for one in own]))
            codes.append(code.astype(np.int32))
        table.add(codes, lookups, [len(known) for known in levels])
    return table, levels


def dense(table, levels):
    out = np.zeros(SHAPE, dtype=int)
    places = [np.array(list(known)) for known in levels]
    out[np.ix_(*places)] = table.counts[tuple(slice(len(place)) for place in places)]
    return out


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(2)
    return np.column_stack(
        [np.sort(rng.integers(0, 50, 40_000)), rng.integers(0, 3, 40_000), rng.integers(0, 4, 40_000)]
    )


@pytest.mark.parametrize("blocks", [1, 7, 300])
def test_counts_are_those_of_brute_force(rows, blocks):
    wanted = np.zeros(SHAPE, dtype=int)
    np.add.at(wanted, tuple(rows.T), 1)
    np.testing.assert_array_equal(dense(*counted(rows, blocks)), wanted)


def test_parts_are_put_together(rows):
    one, mine = counted(rows[:17_000], 5)
    two, theirs = counted(rows[17_000:], 5)
    lookups = [
        np.array([known.setdefault(value, len(known)) for value in other])
        for known, other in zip(mine, theirs, strict=True)
    ]
    one.merge(two, lookups, [len(known) for known in mine])
    np.testing.assert_array_equal(dense(one, mine), dense(*counted(rows, 3)))


def test_too_many_combinations_stop_the_count(rows, monkeypatch):
    monkeypatch.setattr(tally, "MOST", 500)
    with pytest.raises(TooManyCells, match="600 combinations"):
        counted(rows, 1)
