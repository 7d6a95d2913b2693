"""Counts of rows by the levels of several columns, a block at a time: sums that can be put together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.compile import compiled

__all__ = ["MOST", "Tally", "TooManyCells"]

MOST = 1 << 26  # cells of a table, the empty ones too: a quarter of a gigabyte
_ROWS = 1 << 14  # whose codes stay near


class TooManyCells(ValueError):
    """The columns have more combinations of levels than a table is made for."""


class Tally:
    """A table of counts, one axis for each column; levels may come up at any time.

    Attributes
    ----------
    counts : ndarray of uint32
        Counts by the codes of the columns; the first axis has room to spare.

    Examples
    --------
    >>> tally = Tally(2)
    >>> tally.add([np.array([0, 1, 1]), np.array([0, 0, 0])], [np.array([0, 1]), np.array([0])], [2, 1])
    >>> tally.add([np.array([0]), np.array([0])], [np.array([1]), np.array([1])], [2, 2])
    >>> tally.counts[:2].tolist()
    [[1, 0], [2, 1]]
    """

    def __init__(self, columns: int) -> None:
        self.counts = np.zeros((0,) * columns, dtype=np.uint32)

    def add(self, codes: Sequence[np.ndarray], lookups: Sequence[np.ndarray], sizes: Sequence[int]) -> None:
        """Add rows.

        Parameters
        ----------
        codes : sequence of ndarray of int32, shape (m,)
            Of each column, of its own in this block.
        lookups : sequence of ndarray of int
            Level of each of these codes.
        sizes : sequence of int
            Levels of each column so far.

        Raises
        ------
        TooManyCells
        """
        self._grow(sizes)
        strides = np.cumprod((1, *self.counts.shape[:0:-1]))[::-1]
        steps = [np.asarray(one) * stride for one, stride in zip(lookups, strides, strict=True)]
        flat, m = self.counts.reshape(-1), len(codes[0])
        cell = np.empty(min(m, _ROWS), dtype=np.int64)
        for start in range(0, m, _ROWS):
            stop = min(start + _ROWS, m)
            for k, (code, step) in enumerate(zip(codes, steps, strict=True)):
                _step(code[start:stop], step, k == 0, cell)
            _count(cell[: stop - start], flat)

    def merge(self, other: Tally, lookups: Sequence[np.ndarray], sizes: Sequence[int]) -> None:
        """Add the counts of another tally, whose levels are `lookups` here."""
        self._grow(sizes)
        part = other.counts[tuple(slice(len(one)) for one in lookups)]
        self.counts[np.ix_(*lookups)] += part

    def _grow(self, sizes: Sequence[int]) -> None:
        old = self.counts.shape
        if all(have >= need for have, need in zip(old, sizes, strict=True)):
            return
        first = old[0] if old[0] >= sizes[0] else max(2 * old[0], sizes[0])
        others = tuple(max(pair) for pair in zip(old[1:], sizes[1:], strict=True))
        shape = (first, *others)
        if np.prod(shape, dtype=float) > MOST:
            shape = (max(old[0], sizes[0]), *others)
        if np.prod(shape, dtype=float) > MOST:
            raise TooManyCells(f"{np.prod(sizes, dtype=float):.3g} combinations")
        counts = np.zeros(shape, dtype=np.uint32)
        counts[tuple(map(slice, old))] = self.counts
        self.counts = counts


@compiled
def _step(code, step, first, cell):
    """Put the place of a column's levels into `cell`, or add it."""
    if first:
        for i in range(len(code)):
            cell[i] = step[code[i]]
    else:
        for i in range(len(code)):
            cell[i] += step[code[i]]


@compiled
def _count(cell, counts):
    for i in range(len(cell)):
        counts[cell[i]] += np.uint32(1)
