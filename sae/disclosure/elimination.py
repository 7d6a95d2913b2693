"""Secondary suppression by Gaussian elimination, so that no hidden cell follows from the published ones.

Cells are linear forms of the smallest cells. Published ones are eliminated in an order of preference; a cell
whose elimination would leave nothing of a sensitive cell is hidden instead (Langsrud 2024, "Secondary Cell
Suppression by Gaussian Elimination: An Algorithm Suitable for Handling Issues with Zeros and Singletons",
Privacy in Statistical Databases, doi:10.1007/978-3-031-69651-0_6). The arithmetic is that of the whole
numbers modulo a prime: exact, without a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

__all__ = ["Elimination", "eliminate", "smallest_cells"]

_PRIME = 2**31 - 1  # products of two remainders fit into 64 bits


@dataclass(frozen=True, eq=False)
class Elimination:
    """What the elimination decided.

    Attributes
    ----------
    hidden : dict of int to int
        Each cell hidden with the sensitive ones, and the first of these that would follow from it.
    open : tuple of int
        Sensitive cells that follow from cells that cannot be hidden.
    """

    hidden: dict[int, int]
    open: tuple[int, ...]


def smallest_cells(sums: sparse.csr_array, height: np.ndarray) -> tuple[np.ndarray, sparse.csr_array]:
    """Write every cell as a sum of the cells that are no total.

    Parameters
    ----------
    sums : sparse array, shape (n_sums, n_cells)
        1 at a total, -1 at its parts.
    height : ndarray of int, shape (n_cells,)
        Larger for a total than for each of its parts.

    Returns
    -------
    leaves : ndarray of int, shape (n_leaves,)
        The cells that are no total.
    forms : sparse array, shape (n_cells, n_leaves)
        How often each leaf counts in each cell; a cell with several breakdowns follows its first.
    """
    n_cells = sums.shape[1]
    links = sums.tocoo()
    totals, first = np.unique(links.col[links.data > 0], return_index=True)
    equation_of = links.row[links.data > 0][first]
    leaves = np.setdiff1d(np.arange(n_cells), totals)
    forms = sparse.csr_array(
        (np.ones(len(leaves), np.int64), (leaves, np.arange(len(leaves)))), shape=(n_cells, len(leaves))
    )
    parts = -sums[equation_of]
    parts = (
        parts - sparse.csr_array((-np.ones(len(totals)), (np.arange(len(totals)), totals)), parts.shape)
    ).astype(np.int64)
    for level in np.unique(height[totals]):
        here = height[totals] == level
        place = sparse.csr_array(
            (np.ones(here.sum(), np.int64), (totals[here], np.arange(here.sum()))),
            shape=(n_cells, here.sum()),
        )
        forms = forms + place @ (parts[here] @ forms)
    return leaves, sparse.csr_array(forms)


def eliminate(
    sums: sparse.csr_array,
    height: np.ndarray,
    sensitive: np.ndarray,
    candidates: np.ndarray,
    known: np.ndarray,
) -> Elimination:
    """Choose which candidates to hide with the sensitive cells so that none of these can be computed.

    Parameters
    ----------
    sums, height
        As in `smallest_cells`.
    sensitive : ndarray of int
        Cells that are hidden and must not follow from the published ones.
    candidates : ndarray of int
        Cells that may be hidden, the last first; sensitive ones are not among them.
    known : ndarray of int
        Cells that stay published whatever follows.
    """
    _, forms = smallest_cells(sums, height)
    links = sparse.csr_array(sums.astype(np.int64) @ forms)  # not zero where a total has several breakdowns
    links = links[np.unique(links.nonzero()[0])]
    reduced = _Reduced(forms[sensitive].toarray().T.astype(np.int64) % _PRIME)
    for matrix in (links, forms[known]):
        for row in range(matrix.shape[0]):
            form = reduced.remainder(_dense(matrix, row))
            if form.any():
                reduced.publish(form)
    opened = np.flatnonzero(~reduced.sensitive.any(axis=0))
    hidden = {}
    for cell in candidates:
        form = reduced.remainder(_dense(forms, cell))
        if not form.any():
            continue  # it follows from what is published already
        follows = reduced.same_as(form)
        if follows is None:
            reduced.publish(form)
        else:
            hidden[int(cell)] = int(sensitive[follows])
    return Elimination(hidden, tuple(int(sensitive[k]) for k in opened))


def _dense(matrix: sparse.csr_array, row: int) -> np.ndarray:
    form = np.zeros(matrix.shape[1], np.int64)
    entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
    form[matrix.indices[entries]] = matrix.data[entries]
    return form % _PRIME


class _Reduced:
    """Published forms in echelon, and what they leave of the sensitive ones."""

    def __init__(self, sensitive: np.ndarray):
        self.sensitive = sensitive
        self._pivots: list[tuple[np.ndarray, np.ndarray]] = []  # places and coefficients
        self._rows = np.zeros(len(sensitive), np.int64)
        self._keys: dict[bytes, list[int]] = {}
        self._key_of: list[bytes] = [b""] * sensitive.shape[1]
        self._spell(range(sensitive.shape[1]))

    def remainder(self, form: np.ndarray) -> np.ndarray:
        """Take from a form the multiples of published ones that leave 0 at their pivots; it is changed."""
        rows = self._rows[: len(self._pivots)]
        start = 0
        while True:
            hits = np.flatnonzero(form[rows[start:]])
            if not len(hits):
                return form
            k = start + hits[0]
            place, coefficients = self._pivots[k]
            form[place] = (form[place] - form[rows[k]] * coefficients) % _PRIME
            start = k + 1

    def same_as(self, form: np.ndarray) -> int | None:
        """Return the first sensitive cell that is a multiple of a form."""
        same = self._keys.get(_direction(form).tobytes())
        return min(same) if same else None

    def publish(self, form: np.ndarray) -> None:
        form = _direction(form)
        rest = np.flatnonzero(form)
        row = int(rest[0])
        self._rows[len(self._pivots)] = row
        self._pivots.append((rest, form[rest]))
        touched = np.flatnonzero(self.sensitive[row])
        if len(touched):
            block = np.ix_(rest, touched)
            step = form[rest, None] * self.sensitive[row, touched][None] % _PRIME
            self.sensitive[block] = (self.sensitive[block] - step) % _PRIME
            self._spell(touched)

    def _spell(self, columns: np.ndarray | range) -> None:
        for k in map(int, columns):
            old = self._keys.get(self._key_of[k])
            if old and k in old:
                old.remove(k)
            form = self.sensitive[:, k]
            self._key_of[k] = key = _direction(form).tobytes() if form.any() else b""
            if key:
                self._keys.setdefault(key, []).append(k)


def _direction(form: np.ndarray) -> np.ndarray:
    """Return a form as a multiple whose first coefficient is 1."""
    first = form[np.flatnonzero(form)[0]]
    return form if first == 1 else form * pow(int(first), -1, _PRIME) % _PRIME
