"""Sums of linear indicators over records in any order, by key: design columns × domain, block after block.

A linear estimate and its variance need the records only through the totals of each sampling unit × domain
cell and a few moments of each domain. A block of records is added to a table of cells whose rows are looked
up by key, so units need not be sorted; two tables are merged by key.

Every sum is taken in the order of the records within a table, and a merge adds one total to another: the
bytes depend on which records a table holds and which tables are merged, and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sae.numerics.compile import compiled, inlined

__all__ = ["INSIDE", "MOMENTS", "UNANSWERED", "YES", "KeyedSums"]

# bits of what a record is to an indicator
INSIDE, YES, UNANSWERED = np.uint8(1), np.uint8(2), np.uint8(4)
MOMENTS = ("n", "w", "ww", "wyy", "wxy", "wxx", "unanswered")
_FIRST = 1 << 12  # cells that a new table has room for


@dataclass(eq=False)
class KeyedSums:
    """Totals by cell and moments by domain of k indicators; grows as blocks are added.

    Parameters
    ----------
    n_columns : int
        Columns of a key.
    n_indicators : int

    Attributes
    ----------
    size : int
        Cells held; the arrays are longer.
    keys : ndarray of int64, shape (capacity, n_columns)
    totals : ndarray of float, shape (capacity, k, 2)
        Σwy and Σwx of each cell.
    present : ndarray of uint8, shape (capacity, k)
        1 where the cell has a record in the universe.
    moments : ndarray of float, shape (n_domains, k, 7)
        By domain: see `MOMENTS`. Of an indicator that is yes or no only n, ww and unanswered are filled, for
        the others follow from the totals.
    slots : ndarray of int32
        Hash table: the cell of each slot, -1 where free. Its length is a power of 2.

    Examples
    --------
    Three records in two cells, one yes/no indicator: Σwy and Σwx of each.

    >>> sums = KeyedSums(n_columns=1, n_indicators=1)
    >>> flags = np.array([[INSIDE | YES, INSIDE, INSIDE | YES]])
    >>> yes_or_no = np.array([-1])
    >>> keys, domain, numbers = np.array([[7], [9], [7]]), np.zeros(3, int), np.empty((0, 2, 3))
    >>> sums.add(keys, domain, np.ones(3), flags, numbers, yes_or_no)
    >>> sums.keys[: sums.size].ravel().tolist(), sums.totals[: sums.size, 0].tolist()
    ([7, 9], [[2.0, 2.0], [0.0, 1.0]])
    """

    n_columns: int
    n_indicators: int
    size: int = 0
    keys: np.ndarray = field(init=False)
    totals: np.ndarray = field(init=False)
    present: np.ndarray = field(init=False)
    moments: np.ndarray = field(init=False)
    slots: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.keys = np.empty((_FIRST, self.n_columns), np.int64)
        self.totals = np.zeros((_FIRST, self.n_indicators, 2))
        self.present = np.zeros((_FIRST, self.n_indicators), np.uint8)
        self.moments = np.zeros((0, self.n_indicators, len(MOMENTS)))
        self.slots = np.full(4 * _FIRST, -1, np.int32)

    @classmethod
    def of(cls, keys: np.ndarray, totals: np.ndarray, present: np.ndarray, moments: np.ndarray) -> KeyedSums:
        """Return the table of cells that are known, as many as there are keys."""
        table = cls(keys.shape[1], totals.shape[1])
        table.cells_of(np.ascontiguousarray(keys, np.int64))
        table.totals, table.present, table.moments = totals.copy(), present.copy(), moments.copy()
        return table

    @property
    def nbytes(self) -> int:
        """Bytes that the table takes."""
        return sum(one.nbytes for one in (self.keys, self.totals, self.present, self.moments, self.slots))

    def add(
        self,
        keys: np.ndarray,
        domain: np.ndarray,
        weights: np.ndarray,
        flags: np.ndarray,
        values: np.ndarray,
        place: np.ndarray,
    ) -> None:
        """Add records.

        Parameters
        ----------
        keys : ndarray of int64, shape (n, n_columns)
            Records with the same key are one cell; a cell lies in one domain.
        domain : ndarray of int64, shape (n,)
            Domain of each record, -1 for none.
        weights : ndarray of float, shape (n,)
        flags : ndarray of uint8, shape (k, n)
            `INSIDE`, `YES` and `UNANSWERED`, joined by "or".
        values : ndarray of float, shape (v, 2, n)
            Numerator and denominator of the indicators that are not yes or no; finite outside too.
        place : ndarray of int64, shape (k,)
            Row of each indicator in `values`, -1 of one that is yes or no.
        """
        cell = self.cells_of(np.ascontiguousarray(keys), int(domain.max(initial=-1)) + 1)
        _add_records(cell, domain, weights, flags, values, place, self.totals, self.present, self.moments)

    def merge(self, other: KeyedSums) -> None:
        """Add the cells and moments of another table, whose keys and domains mean the same."""
        cell = self.cells_of(other.keys[: other.size], len(other.moments))
        _add_cells(cell, other.totals, other.present, self.totals, self.present)
        self.moments[: len(other.moments)] += other.moments

    def trim(self) -> None:
        """Give back the room that no cell takes."""
        self.keys, self.totals = self.keys[: self.size].copy(), self.totals[: self.size].copy()
        self.present = self.present[: self.size].copy()

    def cells_of(self, keys: np.ndarray, n_domains: int = 0) -> np.ndarray:
        """Return the cell of each key, a new one where it is not known, and make room for the domains."""
        needed = self.size + len(keys)
        if needed > len(self.keys):
            self.keys = _longer(self.keys, max(needed, self.size + self.size // 2))
        if 2 * needed > len(self.slots):
            self.slots = np.full(1 << int(2 * needed).bit_length(), -1, np.int32)
            _fill_slots(self.keys, self.size, self.slots)
        cell = np.empty(len(keys), np.int32)
        self.size = _cells_of(keys, self.keys, self.slots, self.size, cell)
        if self.size > len(self.totals):
            room = max(self.size, len(self.totals) + len(self.totals) // 2)
            self.totals, self.present = _longer(self.totals, room), _longer(self.present, room)
        if n_domains > len(self.moments):
            self.moments = _longer(self.moments, n_domains)
        return cell


def _longer(values: np.ndarray, length: int) -> np.ndarray:
    longer = np.zeros((length, *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    return longer


@inlined
def _slot_of(row, mask):
    """Mix the columns of a key (the finaliser of splitmix64) to the slot where its search begins."""
    mixed = np.uint64(0x9E3779B97F4A7C15)
    for j in range(row.size):
        mixed = (mixed ^ np.uint64(row[j])) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0x94D049BB133111EB)
    return np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(mask))


@compiled
def _cells_of(keys, known, slots, size, cell):
    """Find the cell of each key, appending those not yet known; return the number of cells."""
    mask = slots.size - 1
    m = keys.shape[1]
    for i in range(keys.shape[0]):
        s = _slot_of(keys[i], mask)
        while True:
            c = slots[s]
            if c < 0:
                c = size
                for j in range(m):
                    known[c, j] = keys[i, j]
                slots[s] = c
                size += 1
                break
            same = True
            for j in range(m):
                same = same and known[c, j] == keys[i, j]
            if same:
                break
            s = (s + 1) & mask
        cell[i] = c
    return size


@compiled
def _fill_slots(known, size, slots):
    mask = slots.size - 1
    for c in range(size):
        s = _slot_of(known[c], mask)
        while slots[s] >= 0:
            s = (s + 1) & mask
        slots[s] = c


@compiled
def _add_records(cell, domain, weights, flags, values, place, totals, present, moments):
    # who is inside is hard to foresee, so adding 0 is cheaper than asking
    for i in range(cell.size):
        d = domain[i]
        if d < 0:
            continue
        c = cell[i]
        w = weights[i]
        for j in range(flags.shape[0]):
            flag = flags[j, i]
            inside = float(flag & 1)
            present[c, j] |= flag & 1
            moments[d, j, 0] += inside
            moments[d, j, 2] += w * w * inside
            moments[d, j, 6] += float(flag >> 2)
            p = place[j]
            if p < 0:
                totals[c, j, 0] += w * float((flag >> 1) & 1)
                totals[c, j, 1] += w * inside
            else:
                y = values[p, 0, i] * inside
                x = values[p, 1, i] * inside
                totals[c, j, 0] += w * y
                totals[c, j, 1] += w * x
                moments[d, j, 1] += w * inside
                moments[d, j, 3] += w * y * y
                moments[d, j, 4] += w * x * y
                moments[d, j, 5] += w * x * x


@compiled
def _add_cells(cell, more, more_present, totals, present):
    for i in range(cell.size):
        c = cell[i]
        for j in range(more.shape[1]):
            totals[c, j, 0] += more[i, j, 0]
            totals[c, j, 1] += more[i, j, 1]
            present[c, j] |= more_present[i, j]
