"""Sparse Cholesky (LDL') of many matrices that share one pattern.

Spatial and temporal models evaluate precision matrices Q(θ) with one pattern and many values of θ.
The pattern is analysed once (`analyse`); `factorise` then runs through any number of values. Columns of L
with the same rows below form one dense block (a supernode), so that an index is read once for a block and
the arithmetic runs along contiguous columns.

References
----------
Davis (2006), Direct Methods for Sparse Linear Systems, chapter 4 (elimination tree, supernodes); Duff and
Reid (1983), ACM Trans. Math. Softw. 9, 302-325 (multifrontal method); Erisman and Tinney (1975), Comm. ACM
18, 177-179 (the inverse on the pattern of L).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.errors import SaeConvergenceError
from sae.numerics.compile import compiled, inlined_sums
from sae.numerics.linalg.cholesky_pattern import Pattern, analyse

__all__ = ["Factor", "InverseOnPattern", "Pattern", "analyse", "factorise"]

_WHOLE, _FORWARD, _BACKWARD = range(3)  # parts of a solve


@inlined_sums
def _take_off(x, to, n, y, at, step, weights, first, count):
    """Subtract from x[to : to + n] the sum of weights[first + k] y[at + k step : at + k step + n]."""
    length, begin = np.uint64(n), np.uint64(to)
    k = 0
    while k + 4 <= count:
        w0, w1, w2, w3 = (
            weights[first + k],
            weights[first + k + 1],
            weights[first + k + 2],
            weights[first + k + 3],
        )
        y0, y1 = np.uint64(at + k * step), np.uint64(at + (k + 1) * step)
        y2, y3 = np.uint64(at + (k + 2) * step), np.uint64(at + (k + 3) * step)
        for i in range(length):
            x[begin + i] -= (w0 * y[y0 + i] + w1 * y[y1 + i]) + (w2 * y[y2 + i] + w3 * y[y3 + i])
        k += 4
    while k < count:
        w0, y0 = weights[first + k], np.uint64(at + k * step)
        for i in range(length):
            x[begin + i] -= w0 * y[y0 + i]
        k += 1


@inlined_sums
def _dot(x, at, y, by, n):
    total = 0.0
    a, b = np.uint64(at), np.uint64(by)
    for i in range(np.uint64(n)):
        total += x[a + i] * y[b + i]
    return total


# In the kernels below supernode J owns the columns first[J] .. first[J + 1], `width` of them; its block of m
# rows (the columns' own, then rows[r_start[J] : r_start[J + 1]]) stands by columns at `block[J]`. `place`
# says where its lower rows stand among the m rows of its parent.


@compiled
def _factor(first, r_start, block, place, child_start, child, u_start, values, diag, update, weights):
    """Turn blocks of A into blocks of unit L, matrix by matrix: dense elimination, remainder to the parent.

    `values` (count, size of all blocks), `diag` (count, n), `update` (two stacks of remainders).
    """
    for matrix in range(len(values)):
        L, d = values[matrix], diag[matrix]
        for J in range(len(first) - 1):
            f = first[J]
            width, below = first[J + 1] - f, r_start[J + 1] - r_start[J]
            m, at, u = width + below, block[J], u_start[J]
            update[u : u + below * below] = 0.0
            for c in range(child_start[J], child_start[J + 1]):
                C = child[c]
                r = r_start[C]
                many = r_start[C + 1] - r
                given = u_start[C]
                for j in range(many):
                    column = place[r + j]
                    if column < width:
                        to = at + column * m
                        for i in range(j, many):
                            L[np.uint64(to + place[r + i])] += update[np.uint64(given + j * many + i)]
                    else:
                        to = u + (column - width) * below - width
                        for i in range(j, many):
                            update[np.uint64(to + place[r + i])] += update[np.uint64(given + j * many + i)]
            for j in range(width):
                for k in range(j):
                    weights[k] = L[at + k * m + j] * d[f + k]
                here = at + j * m + j
                _take_off(L, here, m - j, L, at + j, m, weights, 0, j)
                d[f + j] = L[here]
                over = 1.0 / L[here]
                L[here] = 1.0
                for i in range(np.uint64(here + 1), np.uint64(here + m - j)):
                    L[i] *= over
            for j in range(below):
                for k in range(width):
                    weights[k] = L[at + k * m + width + j] * d[f + k]
                _take_off(update, u + j * below + j, below - j, L, at + width + j, m, weights, 0, width)


@compiled
def _solve(first, r_start, rows, block, values, diag, x, part, which):
    """Overwrite `x` (count, k, n) by A^-1 x, or by a part of it: D^-1/2 L^-1 x or L'^-1 D^-1/2 x."""
    last = len(first) - 1
    for matrix in range(len(values)):
        L, d = values[matrix], diag[matrix]
        for c in range(x.shape[1]):
            own = x[matrix, c]
            if which != _BACKWARD:
                for J in range(last):
                    f, r, at = first[J], r_start[J], block[J]
                    width, below = first[J + 1] - f, r_start[J + 1] - r
                    m = width + below
                    for k in range(width - 1):
                        _take_off(own, f + k + 1, width - k - 1, L, at + k * m + k + 1, m, own, f + k, 1)
                    for i in range(below):
                        part[i] = own[rows[r + i]]
                    _take_off(part, 0, below, L, at + width, m, own, f, width)
                    for i in range(below):
                        own[rows[r + i]] = part[i]
            for i in range(len(d)):
                own[i] /= np.sqrt(d[i]) if which != _WHOLE else d[i]
            for J in range(-1 if which == _FORWARD else last - 1, -1, -1):
                f, r, at = first[J], r_start[J], block[J]
                width, below = first[J + 1] - f, r_start[J + 1] - r
                m = width + below
                for i in range(below):
                    part[i] = own[rows[r + i]]
                for k in range(width - 1, -1, -1):
                    total = _dot(L, at + k * m + width, part, 0, below)
                    own[f + k] -= total + _dot(L, at + k * m + k + 1, own, f + k + 1, width - k - 1)


@compiled
def _invert(first, r_start, block, place, parent, z_start, values, diag, inverse, fronts):
    """Entries of A^-1 where L has entries, from the last supernode to the first (Erisman and Tinney).

    Each supernode needs the inverse on its lower rows, which is a part of its parent's.
    """
    for matrix in range(len(values)):
        L, d, Z = values[matrix], diag[matrix], inverse[matrix]
        for J in range(len(first) - 2, -1, -1):
            f, r, at = first[J], r_start[J], block[J]
            width, below = first[J + 1] - f, r_start[J + 1] - r
            m, here = width + below, z_start[J]
            if below > 0:
                up = parent[J]
                above, size = z_start[up], first[up + 1] - first[up] + r_start[up + 1] - r_start[up]
                for j in range(below):
                    of, to = above + place[r + j] * size, here + (width + j) * m + width
                    for i in range(below):
                        fronts[np.uint64(to + i)] = fronts[np.uint64(of + place[r + i])]
            for k in range(width - 1, -1, -1):
                column, after = here + k * m + k + 1, m - k - 1
                own = at + k * m + k + 1
                fronts[column : column + after] = 0.0
                _take_off(fronts, column, after, fronts, column + m, m, L, own, after)
                fronts[column - 1] = 1.0 / d[f + k] - _dot(fronts, column, L, own, after)
                for i in range(after):
                    fronts[np.uint64(column - 1 + (i + 1) * m)] = fronts[np.uint64(column + i)]
                Z[own - 1 : own + after] = fronts[column - 1 : column + after]


@dataclass(frozen=True, eq=False)
class Factor:
    """L and D of several matrices of one pattern.

    Attributes
    ----------
    pattern : Pattern
    lower : ndarray, shape (count, n_entries)
        Blocks of L as `pattern` lays them out.
    diag : ndarray, shape (count, n)
        D in the permuted order.
    """

    pattern: Pattern
    lower: np.ndarray
    diag: np.ndarray

    @property
    def count(self) -> int:
        """Number of matrices."""
        return len(self.diag)

    def logdet(self) -> np.ndarray:
        """Logarithm of each determinant, shape (count,)."""
        return np.log(self.diag).sum(axis=1)

    def solve(self, rhs: np.ndarray) -> np.ndarray:
        """Solve A_m x = rhs for every matrix m.

        Parameters
        ----------
        rhs : ndarray, shape (n, k) or (count, n, k)
            Right-hand sides, shared by all matrices or one set each.

        Returns
        -------
        ndarray, shape (count, n, k)
        """
        return self._unpermuted(self._apply(rhs, _WHOLE))

    def whiten(self, rhs: np.ndarray) -> np.ndarray:
        """Right-hand sides, as in `solve`, in coordinates in which x'y is x'A_m^-1 y; (count, n, k)."""
        return np.swapaxes(self._apply(rhs, _FORWARD), 1, 2)

    def colour(self, normals: np.ndarray) -> np.ndarray:
        """Turn standard normals, shape (n, k) or (count, n, k), into draws with precision A_m."""
        return self._unpermuted(self._apply(normals, _BACKWARD))

    def take(self, members: np.ndarray) -> Factor:
        """Factors of some of the matrices, or of one several times."""
        return Factor(self.pattern, self.lower[members], self.diag[members])

    def _apply(self, rhs: np.ndarray, part: int) -> np.ndarray:
        pattern = self.pattern
        given = np.swapaxes(np.broadcast_to(rhs, (self.count, *rhs.shape[-2:])), 1, 2)
        x = np.array(given if part == _BACKWARD else given[:, :, pattern.perm], dtype=float, order="C")
        _solve(
            pattern.first,
            pattern.r_start,
            pattern.rows,
            pattern.block,
            self.lower,
            self.diag,
            x,
            np.empty(pattern.tallest),
            part,
        )
        return x

    def _unpermuted(self, x: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), x.shape[2], x.shape[1]))
        out[:, self.pattern.perm] = np.swapaxes(x, 1, 2)
        return out

    def inverse(self) -> InverseOnPattern:
        """Entries of each A_m^-1 on the pattern of L, without forming the rest."""
        pattern = self.pattern
        entries = np.zeros_like(self.lower)
        _invert(
            pattern.first,
            pattern.r_start,
            pattern.block,
            pattern.place,
            pattern.parent,
            pattern.z_start,
            self.lower,
            self.diag,
            entries,
            np.empty(pattern.z_size),
        )
        return InverseOnPattern(pattern, entries)


@dataclass(frozen=True, eq=False)
class InverseOnPattern:
    """Entries of several inverses where their Cholesky factors have entries.

    Attributes
    ----------
    pattern : Pattern
    entries : ndarray, shape (count, n_entries)
        On and below the diagonal, as `pattern` lays them out.
    """

    pattern: Pattern
    entries: np.ndarray

    def diagonal(self) -> np.ndarray:
        """Diagonal of each A_m^-1 in the caller's order, shape (count, n)."""
        return self.entries[:, self.pattern.d_place]

    def trace(self, values: np.ndarray) -> np.ndarray:
        """Trace of A_m^-1 B_m for symmetric B_m on the pattern of A, shape (count,).

        Parameters
        ----------
        values : ndarray, shape (n_values,) or (count, n_values)
            One triangle of B in the order given to `analyse`.
        """
        pattern = self.pattern
        return np.einsum("mv,mv,v->m", self.entries[:, pattern.a_place], np.atleast_2d(values), pattern.times)


def factorise(pattern: Pattern, values: np.ndarray) -> Factor:
    """Factorise one or many symmetric positive definite matrices of one pattern.

    Parameters
    ----------
    pattern : Pattern
        From `analyse`.
    values : ndarray, shape (n_values,) or (count, n_values)
        Values of each matrix in the order of the positions given to `analyse`.

    Raises
    ------
    SaeConvergenceError
        If a matrix is not positive definite; names the first by its index.

    Examples
    --------
    >>> pattern = analyse(np.array([0, 1, 1]), np.array([0, 0, 1]), size=2)
    >>> factorise(pattern, np.array([2.0, -1.0, 2.0])).solve(np.ones((2, 1)))[0, :, 0]
    array([1., 1.])
    """
    values = np.atleast_2d(np.asarray(values, float))
    count = len(values)
    lower, diag = np.zeros((count, pattern.n_entries)), np.empty((count, pattern.size))
    lower[:, pattern.a_place] = values
    _factor(
        pattern.first,
        pattern.r_start,
        pattern.block,
        pattern.place,
        pattern.child_start,
        pattern.child,
        pattern.u_start,
        lower,
        diag,
        np.empty(pattern.u_size),
        np.empty(pattern.tallest),
    )
    smallest = diag.min(axis=1)
    if not (smallest > 0).all():
        bad = int(np.flatnonzero(~(smallest > 0))[0])
        raise SaeConvergenceError(
            f"Matrix {bad} of {count} is not positive definite (smallest pivot {smallest[bad]:.3g})."
        )
    return Factor(pattern, lower, diag)
