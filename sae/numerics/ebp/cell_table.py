"""Smooth functions of a score at many units from few: Chebyshev series in cells one standard deviation wide.

What a unit is expected to be is its welfare seen through a normal, an analytic function of its score that
bends on the scale of the standard deviation. On a cell of that width a series of degree 11 gives it to 1e-11,
in powers as well as in Chebyshev's polynomials, since its coefficients fall fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled, inlined_sums

__all__ = ["CellTable"]

_TERMS = 12
_GAIN = 2  # units to a node from which on a table is worth while
_MOST = 1 << 20  # cells, with units or not: scores far from all others make more
_NODES = np.cos(np.pi * (np.arange(_TERMS) + 0.5) / _TERMS)
_SERIES = np.cos(np.outer(np.arccos(_NODES), np.arange(_TERMS))) * (2.0 / _TERMS)
_SERIES[:, 0] *= 0.5
_POWERS = np.array([np.polynomial.chebyshev.cheb2poly(row) for row in _SERIES])  # from values to coefficients


@dataclass(frozen=True, eq=False)
class CellTable:
    """Cells of scores that share a standard deviation, and the cell of every unit.

    Attributes
    ----------
    cell : ndarray of int, shape (N,)
    x : ndarray of float, shape (N,)
        Place in the cell, -1 to 1.
    score, sd : ndarray of float, shape (cells, terms), (cells, 1)
        Nodes.
    """

    cell: np.ndarray
    x: np.ndarray
    score: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(
        cls, score: np.ndarray, sd: np.ndarray, of_area: np.ndarray, sizes: np.ndarray
    ) -> CellTable | None:
        """Return the table, None where units are too few for it.

        Parameters
        ----------
        score, sd : ndarray of float, shape (N,)
        of_area : ndarray of float, shape (D,)
            Standard deviations by area.
        sizes : ndarray of int, shape (D,)
            Units of each area.
        """
        kinds, kind = np.unique(of_area[sizes > 0], return_inverse=True)
        if not len(kinds) or not kinds[0] > 0.0:
            return None
        at = score / sd
        place = np.floor(at)
        starts = (np.cumsum(sizes) - sizes)[sizes > 0]
        low, high = np.full(len(kinds), np.inf), np.full(len(kinds), -np.inf)
        np.minimum.at(low, kind, np.minimum.reduceat(place, starts))
        np.maximum.at(high, kind, np.maximum.reduceat(place, starts))
        wide = high - low + 1.0
        if not wide.sum() < _MOST:
            return None
        first = np.cumsum(wide) - wide
        cell = (place + np.repeat((first - low)[kind], sizes[sizes > 0])).astype(np.int64)
        used = np.bincount(cell, minlength=int(wide.sum())) > 0
        if used.sum() * _TERMS * _GAIN > len(score):
            return None
        owner = np.repeat(np.arange(len(kinds)), wide.astype(np.int64))[used]
        corner = np.flatnonzero(used) - (first - low)[owner]
        nodes = kinds[owner][:, None] * (corner[:, None] + 0.5 + 0.5 * _NODES)
        at -= place
        at *= 2.0
        at -= 1.0
        return cls((np.cumsum(used) - 1)[cell], at, nodes, kinds[owner][:, None])

    def fill(self, function: Callable[[np.ndarray, np.ndarray], np.ndarray], out: np.ndarray) -> None:
        """Fill `out`, (N,), with a function of score and standard deviation, evaluated at the nodes alone."""
        nodes, sd = self.score.ravel(), np.repeat(self.sd, _TERMS)
        step = 1 << 12
        parts = [function(nodes[a : a + step], sd[a : a + step]) for a in range(0, len(nodes), step)]
        _series(self.cell, self.x, np.concatenate(parts).reshape(self.score.shape) @ _POWERS, out)


@inlined_sums
def _polynomial(c, x):
    total = c[_TERMS - 1]
    for k in range(_TERMS - 2, -1, -1):
        total = c[k] + x * total
    return total


@compiled
def _series(cell, x, coefficients, out):
    for i in range(len(cell)):
        out[i] = _polynomial(coefficients[cell[i]], x[i])
