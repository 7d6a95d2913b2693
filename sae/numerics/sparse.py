"""Sparse Cholesky (LDL') of many matrices that share one pattern, in lock step.

Spatial and temporal models evaluate precision matrices Q(θ) with one pattern and many values of θ.
The pattern is analysed once (`analyse`); then `factorise` runs eight values of θ side by side, so that
each index is read once for eight numbers and the arithmetic runs in full-width registers.

References
----------
Davis (2006), Direct Methods for Sparse Linear Systems, chapters 4 and 7 (elimination tree, up-looking
factorisation); Erisman and Tinney (1975), Comm. ACM 18, 177-179 (the inverse on the pattern of L).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from sae.errors import SaeConvergenceError
from sae.numerics._jit import jit

__all__ = ["Factor", "InverseOnPattern", "Pattern", "analyse", "factorise"]

LANES = 8  # float64 numbers in one 512-bit register and one cache line


@dataclass(frozen=True, eq=False)
class Pattern:
    """The symbolic factorisation of P A P' = L D L', shared by every matrix of one pattern.

    Attributes
    ----------
    size : int
        Order n of the matrix.
    perm : ndarray of int, shape (n,)
        Row `perm[k]` of A is row k of the permuted matrix.
    a_start, a_row, a_value : ndarray of int
        Upper triangle of the permuted matrix by columns; `a_value` points into the caller's values.
    l_start, l_row : ndarray of int
        Columns of L below the diagonal, rows ascending; `l_start` has shape (n + 1,).
    r_start, r_col, r_place : ndarray of int
        Rows of L left of the diagonal, columns ascending, and the place of each entry in `l_row`.
    n_values : int
        Number of values that the caller gives per matrix.
    """

    size: int
    perm: np.ndarray
    a_start: np.ndarray
    a_row: np.ndarray
    a_value: np.ndarray
    l_start: np.ndarray
    l_row: np.ndarray
    r_start: np.ndarray
    r_col: np.ndarray
    r_place: np.ndarray
    n_values: int


def analyse(rows: np.ndarray, cols: np.ndarray, size: int) -> Pattern:
    """Order a symmetric pattern for low fill and find where L has entries.

    Parameters
    ----------
    rows, cols : ndarray of int, shape (n_values,)
        Position of each value in one triangle, diagonal included; each position once, every diagonal present.
    size : int
        Order of the matrix.
    """
    rows, cols = np.asarray(rows, np.int64), np.asarray(cols, np.int64)
    full = sparse.coo_matrix((np.ones(len(rows)), (rows, cols)), shape=(size, size)).tocsc()
    full = full + full.T
    full.data[:] = 1.0
    dominant = full + sparse.diags(np.asarray(full.sum(axis=0)).ravel() + 1.0)
    order = splu(
        dominant.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    ).perm_c
    perm = np.argsort(order)  # perm_c[j] is where column j goes
    place = np.empty(size, np.int64)
    place[perm] = np.arange(size)
    low, high = np.minimum(place[rows], place[cols]), np.maximum(place[rows], place[cols])
    by_column = np.lexsort((low, high))
    a_start = np.concatenate([[0], np.cumsum(np.bincount(high, minlength=size))]).astype(np.int64)
    a_row = low[by_column]
    r_start, r_col = _row_patterns(size, a_start, a_row)
    l_start = np.concatenate([[0], np.cumsum(np.bincount(r_col, minlength=size))]).astype(np.int64)
    l_row, r_place = _columns_of_rows(size, r_start, r_col, l_start)
    return Pattern(size, perm, a_start, a_row, by_column, l_start, l_row, r_start, r_col, r_place, len(rows))


@jit
def _row_patterns(size, a_start, a_row):
    """Columns of each row of L, ascending, by walking the elimination tree (Davis, section 4.1)."""
    parent = np.full(size, -1, np.int64)
    ancestor = np.full(size, -1, np.int64)
    for k in range(size):
        for p in range(a_start[k], a_start[k + 1]):
            i = a_row[p]
            while i != -1 and i < k:
                above = ancestor[i]
                ancestor[i] = k
                if above == -1:
                    parent[i] = k
                i = above
    mark = np.full(size, -1, np.int64)
    start = np.zeros(size + 1, np.int64)
    for fill in range(2):
        if fill == 1:
            col = np.empty(start[size], np.int64)
            mark[:] = -1
        for k in range(size):
            mark[k] = k
            count = start[k]
            for p in range(a_start[k], a_start[k + 1]):
                i = a_row[p]
                while mark[i] != k:
                    mark[i] = k
                    if fill == 1:
                        col[count] = i
                    count += 1
                    i = parent[i]
            if fill == 0:
                start[k + 1] = count
            else:
                col[start[k] : start[k + 1]].sort()
    return start, col


@jit
def _columns_of_rows(size, r_start, r_col, l_start):
    filled = l_start[:-1].copy()
    l_row = np.empty(l_start[size], np.int64)
    place = np.empty(l_start[size], np.int64)
    for k in range(size):
        for q in range(r_start[k], r_start[k + 1]):
            i = r_col[q]
            place[q] = filled[i]
            l_row[filled[i]] = k
            filled[i] += 1
    return l_row, place


@jit
def _lanes(x, at):
    """Eight numbers that stand together."""
    return x[at], x[at + 1], x[at + 2], x[at + 3], x[at + 4], x[at + 5], x[at + 6], x[at + 7]


@jit
def _put(x, at, y):
    for lane in range(LANES):
        x[at + lane] = y[lane]


@jit
def _minus(a, b, c):
    """Return a - b c lane by lane; all is read before anything is written, so it runs in one register."""
    return (
        a[0] - b[0] * c[0], a[1] - b[1] * c[1], a[2] - b[2] * c[2], a[3] - b[3] * c[3],
        a[4] - b[4] * c[4], a[5] - b[5] * c[5], a[6] - b[6] * c[6], a[7] - b[7] * c[7],
    )  # fmt: skip


@jit
def _over(a, b):
    return (
        a[0] / b[0], a[1] / b[1], a[2] / b[2], a[3] / b[3], a[4] / b[4], a[5] / b[5], a[6] / b[6], a[7] / b[7]
    )  # fmt: skip


# In the kernels below `values`, `lower`, `diag`, `x` are flat: entry e of lane l stands at 8 e + l. Indices
# are unsigned, which spares the test for a negative one.


@jit
def _factor_block(
    size, a_start, a_row, a_value, l_start, l_row, r_start, r_col, r_place, values, lower, diag
):
    """Up-looking LDL' of LANES matrices; `values` (8 n_values,), `lower` (8 nnz,), `diag` (8 n,)."""
    work = np.zeros(size * LANES)
    zero = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    width = np.uint64(LANES)
    for k in range(size):
        for p in range(a_start[k], a_start[k + 1]):
            _put(work, np.uint64(a_row[p]) * width, _lanes(values, np.uint64(a_value[p]) * width))
        at_k = np.uint64(k) * width
        d = _lanes(work, at_k)
        _put(work, at_k, zero)
        for q in range(r_start[k], r_start[k + 1]):
            i = np.uint64(r_col[q])
            here = np.uint64(r_place[q])
            y = _lanes(work, i * width)
            _put(work, i * width, zero)
            for p in range(np.uint64(l_start[i]), here):
                row = np.uint64(l_row[p]) * width
                _put(work, row, _minus(_lanes(work, row), _lanes(lower, p * width), y))
            entry = _over(y, _lanes(diag, i * width))
            d = _minus(d, entry, y)
            _put(lower, here * width, entry)
        _put(diag, at_k, d)


@jit
def _solve_block(size, l_start, l_row, lower, diag, x, n_rhs, half):
    """Overwrite `x` (8 n_rhs n,) by A^-1 x, or by L'^-1 D^-1/2 x when `half`: a draw with precision A."""
    width = np.uint64(LANES)
    count = np.uint64(n_rhs)
    if not half:
        for i in range(np.uint64(size)):
            for p in range(np.uint64(l_start[i]), np.uint64(l_start[i + 1])):
                entry = _lanes(lower, p * width)
                row = np.uint64(l_row[p])
                for c in range(count):
                    to, of = (row * count + c) * width, (i * count + c) * width
                    _put(x, to, _minus(_lanes(x, to), entry, _lanes(x, of)))
    for back in range(np.uint64(size)):
        j = np.uint64(size) - np.uint64(1) - back
        scale = _lanes(diag, j * width)
        if half:
            scale = (
                np.sqrt(scale[0]), np.sqrt(scale[1]), np.sqrt(scale[2]), np.sqrt(scale[3]),
                np.sqrt(scale[4]), np.sqrt(scale[5]), np.sqrt(scale[6]), np.sqrt(scale[7]),
            )  # fmt: skip
        for c in range(count):
            to = (j * count + c) * width
            total = _over(_lanes(x, to), scale)
            for p in range(np.uint64(l_start[j]), np.uint64(l_start[j + 1])):
                of = (np.uint64(l_row[p]) * count + c) * width
                total = _minus(total, _lanes(lower, p * width), _lanes(x, of))
            _put(x, to, total)


@jit
def _inverse_block(size, l_start, l_row, lower, diag, inner, inverse):
    """Entries of A^-1 on the pattern of L: `inner` (8 nnz,) below, `inverse` (8 n,) on the diagonal."""
    width = np.uint64(LANES)
    zero = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    one = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    place = np.full(size, -1, np.int64)
    column = np.zeros(size * LANES)
    for back in range(np.uint64(size)):
        j = np.uint64(size) - np.uint64(1) - back
        first, last = np.uint64(l_start[j]), np.uint64(l_start[j + 1])
        for p in range(first, last):
            place[l_row[p]] = p
            _put(column, np.uint64(l_row[p]) * width, zero)
        for p in range(first, last):  # Z_ij = -sum_k Z_ik L_kj, i and k in the pattern of column j
            k = np.uint64(l_row[p])
            entry = _lanes(lower, p * width)
            own = _minus(_lanes(column, k * width), _lanes(inverse, k * width), entry)
            for q in range(np.uint64(l_start[k]), np.uint64(l_start[k + np.uint64(1)])):
                i = np.uint64(l_row[q])
                if place[i] >= 0:
                    between = _lanes(inner, q * width)
                    _put(column, i * width, _minus(_lanes(column, i * width), between, entry))
                    own = _minus(own, between, _lanes(lower, np.uint64(place[i]) * width))
            _put(column, k * width, own)
        total = _over(one, _lanes(diag, j * width))
        for p in range(first, last):
            k = np.uint64(l_row[p])
            place[k] = -1
            entry = _lanes(column, k * width)
            _put(inner, p * width, entry)
            total = _minus(total, _lanes(lower, p * width), entry)
        _put(inverse, j * width, total)


@dataclass(frozen=True, eq=False)
class Factor:
    """L and D of several matrices of one pattern, eight side by side.

    Attributes
    ----------
    pattern : Pattern
    lower : ndarray, shape (n_blocks, nnz(L), 8)
    diag : ndarray, shape (n_blocks, n, 8)
    count : int
        Number of matrices; the last block may carry copies of the last one.
    """

    pattern: Pattern
    lower: np.ndarray
    diag: np.ndarray
    count: int

    def _by_matrix(self, blocks: np.ndarray) -> np.ndarray:
        moved = np.moveaxis(blocks, 2, 1)
        return moved.reshape(len(blocks) * LANES, blocks.shape[1])[: self.count]

    def logdet(self) -> np.ndarray:
        """Logarithm of each determinant, shape (count,)."""
        return self._by_matrix(np.log(self.diag)).sum(axis=1)

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
        return self._apply(rhs, half=False)

    def colour(self, normals: np.ndarray) -> np.ndarray:
        """Turn standard normals, shape (n, k) or (count, n, k), into draws with precision A_m."""
        return self._apply(normals, half=True)

    def _apply(self, rhs: np.ndarray, half: bool) -> np.ndarray:
        pattern = self.pattern
        each = np.broadcast_to(rhs, (self.count, *rhs.shape[-2:]))
        out = np.empty(each.shape)
        for block in range(len(self.diag)):
            members = np.minimum(np.arange(LANES) + block * LANES, self.count - 1)
            kept = members[: min(LANES, self.count - block * LANES)]
            given = each[members] if half else each[members][:, pattern.perm]
            x = np.ascontiguousarray(np.moveaxis(given, 0, 2))
            _solve_block(
                pattern.size, pattern.l_start, pattern.l_row,
                self.lower[block].ravel(), self.diag[block].ravel(), x.ravel(), x.shape[1], half,
            )  # fmt: skip
            out[kept[:, None], pattern.perm] = np.moveaxis(x, 2, 0)[: len(kept)]
        return out

    def inverse(self) -> InverseOnPattern:
        """Entries of each A_m^-1 on the pattern of L, without forming the rest."""
        pattern = self.pattern
        inner, inverse = np.empty_like(self.lower), np.empty_like(self.diag)
        for block in range(len(self.diag)):
            _inverse_block(
                pattern.size, pattern.l_start, pattern.l_row,
                self.lower[block].ravel(), self.diag[block].ravel(),
                inner[block].ravel(), inverse[block].ravel(),
            )  # fmt: skip
        return InverseOnPattern(pattern, self._by_matrix(inverse), self._by_matrix(inner))


@dataclass(frozen=True, eq=False)
class InverseOnPattern:
    """Entries of several inverses where their Cholesky factors have entries.

    Attributes
    ----------
    pattern : Pattern
    permuted_diagonal : ndarray, shape (count, n)
    below : ndarray, shape (count, nnz(L))
    """

    pattern: Pattern
    permuted_diagonal: np.ndarray
    below: np.ndarray

    def diagonal(self) -> np.ndarray:
        """Diagonal of each A_m^-1 in the caller's order, shape (count, n)."""
        return self.permuted_diagonal[:, np.argsort(self.pattern.perm)]

    def trace(self, values: np.ndarray) -> np.ndarray:
        """Trace of A_m^-1 B_m for symmetric B_m on the pattern of A, shape (count,).

        Parameters
        ----------
        values : ndarray, shape (n_values,) or (count, n_values)
            One triangle of B in the order given to `analyse`.
        """
        pattern = self.pattern
        given = np.asarray(values)[..., pattern.a_value]
        column = np.repeat(np.arange(pattern.size), np.diff(pattern.a_start))
        diagonal = pattern.a_row == column
        l_column = np.repeat(np.arange(pattern.size), np.diff(pattern.l_start))
        key = pattern.l_row + pattern.size * l_column
        place = np.searchsorted(key, column[~diagonal] + pattern.size * pattern.a_row[~diagonal])
        on = (self.permuted_diagonal[:, pattern.a_row[diagonal]] * given[..., diagonal]).sum(axis=1)
        off = (self.below[:, place] * given[..., ~diagonal]).sum(axis=1)
        return on + 2.0 * off


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
    >>> import numpy as np
    >>> pattern = analyse(np.array([0, 1, 1]), np.array([0, 0, 1]), size=2)
    >>> factorise(pattern, np.array([2.0, -1.0, 2.0])).solve(np.ones((2, 1)))[0, :, 0]
    array([1., 1.])
    """
    values = np.atleast_2d(np.asarray(values, float))
    count = len(values)
    n_blocks = -(-count // LANES)
    lower = np.empty((n_blocks, len(pattern.l_row), LANES))
    diag = np.empty((n_blocks, pattern.size, LANES))
    for block in range(n_blocks):
        members = np.minimum(np.arange(LANES) + block * LANES, count - 1)
        _factor_block(
            pattern.size, pattern.a_start, pattern.a_row, pattern.a_value, pattern.l_start, pattern.l_row,
            pattern.r_start, pattern.r_col, pattern.r_place,
            np.ascontiguousarray(values[members].T).ravel(), lower[block].ravel(), diag[block].ravel(),
        )  # fmt: skip
    factor = Factor(pattern, lower, diag, count)
    smallest = factor._by_matrix(diag).min(axis=1)
    if not (smallest > 0).all():
        bad = int(np.flatnonzero(~(smallest > 0))[0])
        raise SaeConvergenceError(
            f"Matrix {bad} of {count} is not positive definite (smallest pivot {smallest[bad]:.3g})."
        )
    return factor
