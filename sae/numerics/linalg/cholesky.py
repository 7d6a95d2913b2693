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
from typing import Any

import numpy as np

from sae.errors import SaeConvergenceError
from sae.numerics.compile import compiled, inlined
from sae.numerics.linalg.cholesky_pattern import Pattern, analyse
from sae.numerics.linalg.lanes import (
    EIGHT,
    ONE,
    add,
    copy,
    product,
    take_off,
    take_off_dot,
    take_off_multiples,
)

__all__ = ["Factor", "InverseOnPattern", "Pattern", "analyse", "factorise", "one_by_one", "side_by_side"]

# In the kernels below supernode J owns the columns first[J] .. first[J + 1], `width` of them; its block of m
# rows (the columns' own, then rows[r_start[J] : r_start[J + 1]]) stands by columns at `block[J]`. `place`
# says where its lower rows stand among the m rows of its parent. Every number is one of each of w matrices,
# side by side, w the length of `lanes`: see `linalg.lanes`.


@compiled
def _factor(
    lanes,
    first,
    r_start,
    block,
    place,
    child_start,
    child,
    u_start,
    a_place,
    values,
    lower,
    diag,
    update,
    weights,
):
    """Fill in blocks of unit L, group by group: dense elimination, remainder to the parent.

    `values` (groups, lanes values), `lower` (groups, lanes entries), `diag` (groups, lanes n), `update` (two
    stacks of remainders).
    """
    w = len(lanes)
    for group in range(len(values)):
        L, d = lower[group], diag[group]
        for i in range(len(L)):
            L[i] = 0.0
        for v in range(len(a_place)):
            copy(lanes, L, a_place[v], values[group], v)
        for J in range(len(first) - 1):
            f = first[J]
            width, below = first[J + 1] - f, r_start[J + 1] - r_start[J]
            m, at, u = width + below, block[J], u_start[J]
            for j in range(below):
                for i in range((u + j * (below + 1)) * w, (u + (j + 1) * below) * w):
                    update[i] = 0.0
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
                            add(lanes, L, to + place[r + i], update, given + j * many + i)
                    else:
                        to = u + (column - width) * below - width
                        for i in range(j, many):
                            add(lanes, update, to + place[r + i], update, given + j * many + i)
            for j in range(m):
                above = min(j, width)
                for k in range(above):
                    product(lanes, weights, k, L, at + k * m + j, d, f + k)
                if j >= width:
                    to = u + (j - width) * (below + 1)
                    take_off(lanes, update, to, m - j, L, at + j, m, weights, 0, above)
                    continue
                here = at + j * m + j
                take_off(lanes, L, here, m - j, L, at + j, m, weights, 0, above)
                for i in range(w):
                    pivot = L[here * w + i]
                    d[(f + j) * w + i] = pivot
                    weights[i] = 1.0 / pivot
                    L[here * w + i] = 1.0
                for i in range(here + 1, here + m - j):
                    product(lanes, L, i, L, i, weights, 0)


@inlined
def _rescale(lanes, x, d, k):
    w = len(lanes)
    over = np.empty(w)
    for row in range(len(d) // w):
        for i in range(w):
            over[i] = 1.0 / np.sqrt(d[row * w + i])
        for j in range(row * k, (row + 1) * k):
            product(lanes, x, j, x, j, over, 0)


@compiled
def _forward(lanes, first, r_start, rows, block, values, diag, x):
    """Overwrite `x` (groups, lanes n k) by D^-1/2 L^-1 x."""
    for group in range(len(values)):
        L, d, own = values[group], diag[group], x[group]
        k = len(own) // len(d)
        for J in range(len(first) - 1):
            f, r, at = first[J], r_start[J], block[J]
            width = first[J + 1] - f
            m = width + r_start[J + 1] - r
            for column in range(width):
                for i in range(column + 1, m):
                    to = f + i if i < width else rows[r + i - width]
                    take_off_multiples(lanes, own, to * k, own, (f + column) * k, k, L, at + column * m + i)
        _rescale(lanes, own, d, k)


@compiled
def _backward(lanes, first, r_start, rows, block, values, diag, x):
    """Overwrite `x` (groups, lanes n k) by L'^-1 D^-1/2 x."""
    for group in range(len(values)):
        L, d, own = values[group], diag[group], x[group]
        k = len(own) // len(d)
        _rescale(lanes, own, d, k)
        for J in range(len(first) - 2, -1, -1):
            f, r, at = first[J], r_start[J], block[J]
            width = first[J + 1] - f
            m = width + r_start[J + 1] - r
            for column in range(width - 1, -1, -1):
                for i in range(column + 1, m):
                    of = f + i if i < width else rows[r + i - width]
                    take_off_multiples(lanes, own, (f + column) * k, own, of * k, k, L, at + column * m + i)


@compiled
def _invert(lanes, first, r_start, block, place, parent, z_start, values, diag, inverse, fronts):
    """Entries of A^-1 where L has entries, from the last supernode to the first (Erisman and Tinney).

    Each supernode needs the inverse on its lower rows, which is a part of its parent's.
    """
    w = len(lanes)
    for group in range(len(values)):
        L, d, Z = values[group], diag[group], inverse[group]
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
                        copy(lanes, fronts, to + i, fronts, of + place[r + i])
            for k in range(width - 1, -1, -1):
                column, after = here + k * m + k + 1, m - k - 1
                own = at + k * m + k + 1
                for i in range(column * w, (column + after) * w):
                    fronts[i] = 0.0
                take_off(lanes, fronts, column, after, fronts, column + m, m, L, own, after)
                for i in range(w):
                    fronts[(column - 1) * w + i] = 1.0 / d[(f + k) * w + i]
                take_off_dot(lanes, fronts, column - 1, fronts, column, L, own, after)
                for i in range(after):
                    copy(lanes, fronts, column - 1 + (i + 1) * m, fronts, column + i)
                for i in range(after + 1):
                    copy(lanes, Z, own - 1 + i, fronts, column - 1 + i)


@dataclass(frozen=True, eq=False)
class Factor:
    """L and D of several matrices of one pattern, in groups whose members stand side by side in memory.

    Attributes
    ----------
    pattern : Pattern
    count : int
        Number of matrices; the last group may hold one several times.
    lower : ndarray, shape (groups, n_entries, lanes)
        Blocks of L as `pattern` lays them out.
    diag : ndarray, shape (groups, n, lanes)
        D in the permuted order.
    """

    pattern: Pattern
    count: int
    lower: np.ndarray
    diag: np.ndarray

    @property
    def lanes(self) -> tuple[tuple[()], ...]:
        """As many empty tuples as matrices stand side by side: see `linalg.lanes`."""
        return ONE if self.diag.shape[2] == 1 else EIGHT

    def logdet(self) -> np.ndarray:
        """Logarithm of each determinant, shape (count,)."""
        return np.log(one_by_one(self.diag, self.count)).sum(axis=1)

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
        return self.unpermuted(self.backward(self.forward(self.permuted(rhs))))

    def whiten(self, rhs: np.ndarray) -> np.ndarray:
        """Right-hand sides, as in `solve`, in coordinates in which x'y is x'A_m^-1 y; (count, n, k)."""
        return one_by_one(self.forward(self.permuted(rhs)), self.count)

    def colour(self, normals: np.ndarray) -> np.ndarray:
        """Turn standard normals, shape (n, k) or (count, n, k), into draws with precision A_m."""
        return self.unpermuted(self.backward(self._laid(normals)))

    def take(self, members: np.ndarray) -> Factor:
        """Factors of some of the matrices, or of one several times."""
        parts = (one_by_one(part, self.count) for part in (self.lower, self.diag))
        lower, diag = (side_by_side(part[members], self.lanes) for part in parts)
        return Factor(self.pattern, len(members), lower, diag)

    def permuted(self, rhs: np.ndarray) -> np.ndarray:
        """Right-hand sides, as in `solve`, as `forward` takes them: (groups, n, k, lanes)."""
        return self._laid(rhs[..., self.pattern.perm, :])

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Overwrite `x`, shape (groups, n, k, lanes) in the permuted order, by D^-1/2 L^-1 x."""
        return self._swept(_forward, x)

    def backward(self, x: np.ndarray) -> np.ndarray:
        """Overwrite `x`, shape (groups, n, k, lanes) in the permuted order, by L'^-1 D^-1/2 x."""
        return self._swept(_backward, x)

    def _swept(self, kernel: Any, x: np.ndarray) -> np.ndarray:
        pattern, groups = self.pattern, len(self.diag)
        kernel(
            self.lanes,
            pattern.first,
            pattern.r_start,
            pattern.rows,
            pattern.block,
            self.lower.reshape(groups, -1),
            self.diag.reshape(groups, -1),
            x.reshape(groups, -1),
        )
        return x

    def _laid(self, x: np.ndarray) -> np.ndarray:
        return side_by_side(np.broadcast_to(x, (self.count, *x.shape[-2:])), self.lanes)

    def unpermuted(self, x: np.ndarray) -> np.ndarray:
        """From (groups, n, k, lanes) in the permuted order to (count, n, k) in the caller's."""
        out = np.empty((self.count, *x.shape[1:3]))
        out[:, self.pattern.perm] = one_by_one(x, self.count)
        return out

    def inverse(self) -> InverseOnPattern:
        """Entries of each A_m^-1 on the pattern of L, without forming the rest."""
        pattern, groups = self.pattern, len(self.diag)
        entries = np.empty_like(self.lower)
        _invert(
            self.lanes,
            pattern.first,
            pattern.r_start,
            pattern.block,
            pattern.place,
            pattern.parent,
            pattern.z_start,
            self.lower.reshape(groups, -1),
            self.diag.reshape(groups, -1),
            entries.reshape(groups, -1),
            np.empty(pattern.z_size * len(self.lanes)),
        )
        return InverseOnPattern(pattern, self.count, entries)


@dataclass(frozen=True, eq=False)
class InverseOnPattern:
    """Entries of several inverses where their Cholesky factors have entries.

    Attributes
    ----------
    pattern : Pattern
    count : int
    entries : ndarray, shape (groups, n_entries, lanes)
        On and below the diagonal, as `pattern` lays them out.
    """

    pattern: Pattern
    count: int
    entries: np.ndarray

    def diagonal(self) -> np.ndarray:
        """Diagonal of each A_m^-1 in the caller's order, shape (count, n)."""
        return one_by_one(self.entries[:, self.pattern.d_place], self.count)

    def trace(self, values: np.ndarray) -> np.ndarray:
        """Trace of A_m^-1 B_m for symmetric B_m on the pattern of A, shape (count,).

        Parameters
        ----------
        values : ndarray, shape (n_values,) or (count, n_values)
            One triangle of B in the order given to `analyse`.
        """
        pattern = self.pattern
        entries = one_by_one(self.entries[:, pattern.a_place], self.count)
        return np.einsum("mv,mv,v->m", entries, np.atleast_2d(values), pattern.times)


def side_by_side(x: np.ndarray, lanes: tuple[tuple[()], ...] = EIGHT) -> np.ndarray:
    """Lay members, (count, ...), side by side: (groups, ..., w); the last is repeated to fill a group."""
    w = len(lanes)
    groups = -(-len(x) // w)
    padded = x[np.minimum(np.arange(groups * w), len(x) - 1)] if groups * w != len(x) else x
    return np.array(np.moveaxis(padded.reshape(groups, w, *x.shape[1:]), 1, -1), dtype=float, order="C")


def one_by_one(x: np.ndarray, count: int) -> np.ndarray:
    """Take groups, (groups, ..., w), apart: (count, ...)."""
    return np.moveaxis(x, -1, 1).reshape(len(x) * x.shape[-1], *x.shape[1:-1])[:count]


def factorise(pattern: Pattern, values: np.ndarray, lanes: tuple[tuple[()], ...] = ONE) -> Factor:
    """Factorise one or many symmetric positive definite matrices of one pattern.

    Parameters
    ----------
    pattern : Pattern
        From `analyse`.
    values : ndarray, shape (n_values,) or (count, n_values)
        Values of each matrix in the order of the positions given to `analyse`.
    lanes : {ONE, EIGHT}, optional
        How many matrices stand side by side: see `linalg.lanes`. Eight pay where there are dozens.

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
    w = len(lanes)
    values = side_by_side(values, lanes)
    groups = len(values)
    lower = np.empty((groups, pattern.n_entries, w))
    diag = np.empty((groups, pattern.size, w))
    _factor(
        lanes,
        pattern.first,
        pattern.r_start,
        pattern.block,
        pattern.place,
        pattern.child_start,
        pattern.child,
        pattern.u_start,
        pattern.a_place,
        values.reshape(groups, -1),
        lower.reshape(groups, -1),
        diag.reshape(groups, -1),
        np.empty(pattern.u_size * w),
        np.empty(pattern.tallest * w),
    )
    smallest = diag.min(axis=1).ravel()[:count]
    if not (smallest > 0).all():
        bad = int(np.flatnonzero(~(smallest > 0))[0])
        raise SaeConvergenceError(
            f"Matrix {bad} of {count} is not positive definite (smallest pivot {smallest[bad]:.3g})."
        )
    return Factor(pattern, count, lower, diag)
