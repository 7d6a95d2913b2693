"""The symbolic half of sparse Cholesky: ordering, elimination tree, supernodes and where entries stand.

References
----------
Davis (2006), Direct Methods for Sparse Linear Systems, chapter 4; Ashcraft and Grimes (1989), ACM Trans.
Math. Softw. 15, 291-309 (supernodes with some zeros in them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from sae.numerics.compile import compiled

__all__ = ["Pattern", "analyse"]

_ZEROS = 0.15  # share of zeros that a supernode may hold: they cost less than more, narrower blocks


@dataclass(frozen=True, eq=False)
class Pattern:
    """The symbolic factorisation of P A P' = L D L', shared by every matrix of one pattern.

    Supernode J owns the columns first[J] .. first[J + 1] of L. Its block has their rows and then the rows
    below, m in all; it stands by columns from block[J] on.

    Attributes
    ----------
    size, n_entries : int
        Order n of the matrix; numbers in all blocks.
    perm : ndarray of int, shape (n,)
        Row `perm[k]` of A is row k of the permuted matrix.
    first, r_start, block : ndarray of int, shape (supernodes + 1,)
        First column; first of its lower rows in `rows`; first entry.
    rows, place : ndarray of int
        Lower rows of the supernodes, ascending, and where each stands among the rows of the parent.
    parent, child_start, child : ndarray of int
        The tree of supernodes; -1 for a root.
    u_start, z_start : ndarray of int, shape (supernodes,)
        Work space: where the remainder of a supernode stands until its parent takes it, and where the
        inverse on its rows stands until its children have used it; `u_size` and `z_size` numbers in all.
    tallest : int
        Most rows of a block.
    a_place, times : ndarray, shape (n_values,)
        Entry of each value that the caller gives, and how often a symmetric sum counts it (1 or 2).
    d_place : ndarray of int, shape (n,)
        Entry of each diagonal element, in the caller's order.
    """

    size: int
    n_entries: int
    perm: np.ndarray
    first: np.ndarray
    r_start: np.ndarray
    block: np.ndarray
    rows: np.ndarray
    place: np.ndarray
    parent: np.ndarray
    child_start: np.ndarray
    child: np.ndarray
    u_start: np.ndarray
    u_size: int
    z_start: np.ndarray
    z_size: int
    tallest: int
    a_place: np.ndarray
    times: np.ndarray
    d_place: np.ndarray


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
    perm = _low_fill(rows, cols, size)
    start, row, _, _ = _upper(rows, cols, perm)
    perm = perm[_postorder(_elimination_tree(start, row))]
    start, row, low, high = _upper(rows, cols, perm)
    l_start, l_row = _columns(start, row, _elimination_tree(start, row))
    first = _supernodes(l_start, l_row, _ZEROS)
    last = first[1:] - 1
    below, width = l_start[last + 1] - l_start[last], np.diff(first)
    count, height = len(width), width + below
    lower = np.concatenate([l_row[l_start[k] : l_start[k + 1]] for k in last]).astype(np.int64)
    r_start, block = _starts(below), _starts(height * width)
    node = np.repeat(np.arange(count), width)
    key = np.repeat(np.arange(count), below) * size + lower

    def stand(row: np.ndarray, of: np.ndarray) -> np.ndarray:
        under = width[of] + np.searchsorted(key, of * size + row) - r_start[of]
        return np.where(row < first[of + 1], row - first[of], under)

    parent = np.full(count, -1, np.int64)
    parent[below > 0] = node[lower[r_start[:-1][below > 0]]]
    place = stand(lower, np.repeat(parent, below))
    owner = node[low]
    a_place = block[owner] + (low - first[owner]) * height[owner] + stand(high, owner)
    d_place = np.empty(size, np.int64)
    d_place[rows[low == high]] = a_place[low == high]
    roots = int((parent < 0).sum())
    child = np.argsort(parent, kind="stable")[roots:]
    child_start = _starts(np.bincount(parent[child], minlength=count))
    u_start, u_size, z_start, z_size = _work_space(parent, below, height)
    return Pattern(
        size,
        int(block[-1]),
        perm,
        first,
        r_start,
        block,
        lower,
        place,
        parent,
        child_start,
        child,
        u_start,
        u_size,
        z_start,
        z_size,
        int(height.max()),
        a_place,
        np.where(low == high, 1.0, 2.0),
        d_place,
    )


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _low_fill(rows: np.ndarray, cols: np.ndarray, size: int) -> np.ndarray:
    """Permutation by minimum degree, from SuperLU."""
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
    return np.argsort(order)  # perm_c[j] is where column j goes


def _upper(
    rows: np.ndarray, cols: np.ndarray, perm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Upper triangle of the permuted pattern by columns; its rows and columns in the caller's order."""
    place = np.argsort(perm)
    low, high = np.minimum(place[rows], place[cols]), np.maximum(place[rows], place[cols])
    start = _starts(np.bincount(high, minlength=len(perm)))
    return start, low[np.argsort(high, kind="stable")], low, high


@compiled
def _elimination_tree(start, row):
    """Parent of each column of L, -1 for a root (Davis, section 4.1)."""
    size = len(start) - 1
    parent = np.full(size, -1, np.int64)
    ancestor = np.full(size, -1, np.int64)
    for k in range(size):
        for p in range(start[k], start[k + 1]):
            i = row[p]
            while i != -1 and i < k:
                above = ancestor[i]
                ancestor[i] = k
                if above == -1:
                    parent[i] = k
                i = above
    return parent


@compiled
def _postorder(parent):
    """Columns with every subtree in one piece, children before their parent."""
    size = len(parent)
    head, after = np.full(size + 1, -1, np.int64), np.empty(size, np.int64)
    for k in range(size - 1, -1, -1):
        after[k] = head[parent[k]]  # -1: the last place holds the roots
        head[parent[k]] = k
    order, stack = np.empty(size, np.int64), np.empty(size + 1, np.int64)
    done, depth = 0, 0
    stack[0] = size
    while depth >= 0:
        below = head[stack[depth]]
        if below != -1:
            head[stack[depth]] = after[below]
            depth += 1
            stack[depth] = below
        else:
            if depth > 0:
                order[done] = stack[depth]
                done += 1
            depth -= 1
    return order


@compiled
def _columns(start, row, parent):
    """Columns of L below the diagonal, rows ascending: each row's columns are a part of the tree."""
    size = len(parent)
    count = np.zeros(size + 1, np.int64)
    mark = np.full(size, -1, np.int64)
    for k in range(size):
        mark[k] = k
        for p in range(start[k], start[k + 1]):
            i = row[p]
            while mark[i] != k:
                mark[i] = k
                count[i + 1] += 1
                i = parent[i]
    l_start = np.cumsum(count)
    filled = l_start[:-1].copy()
    l_row = np.empty(l_start[size], np.int64)
    mark[:] = -1
    for k in range(size):
        mark[k] = k
        for p in range(start[k], start[k + 1]):
            i = row[p]
            while mark[i] != k:
                mark[i] = k
                l_row[filled[i]] = k
                filled[i] += 1
                i = parent[i]
    return l_start, l_row


@compiled
def _supernodes(l_start, l_row, share):
    """First columns of the supernodes: a column takes its last children in while few zeros come with them."""
    size = len(l_start) - 1
    first, zeros = np.empty(size + 1, np.int64), np.zeros(size + 1, np.int64)
    count = 0
    for k in range(size):
        first[count], zeros[count] = k, 0
        below = l_start[k + 1] - l_start[k]
        count += 1
        while count > 1:
            begin, child = first[count - 1], first[count - 2]
            end = l_start[begin]
            under = end - l_start[begin - 1]
            if under == 0 or l_row[end - under] > k:
                break
            wide, all_wide = begin - child, k + 1 - child
            lost = zeros[count - 2] + zeros[count - 1] + wide * (k + 1 - begin + below - under)
            if lost > share * (all_wide * (all_wide + 1) // 2 + all_wide * below):
                break
            count -= 1
            zeros[count - 1] = lost
    first[count] = size
    return first[: count + 1].copy()


def _work_space(
    parent: np.ndarray, below: np.ndarray, height: np.ndarray
) -> tuple[np.ndarray, int, np.ndarray, int]:
    """Places of remainders (two stacks, by the parity of the depth) and of inverses (along a path)."""
    count = len(parent)
    depth, z_start = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for J in range(count - 1, -1, -1):
        if parent[J] >= 0:
            depth[J] = depth[parent[J]] + 1
            z_start[J] = z_start[parent[J]] + height[parent[J]] ** 2
    freed = np.zeros(count, np.int64)  # by the children, when the supernode takes their remainders
    top, most, u_start = [0, 0], [0, 0], np.zeros(count, np.int64)
    for J in range(count):
        side = depth[J] % 2
        top[1 - side] -= freed[J]
        u_start[J] = top[side]
        top[side] += below[J] ** 2
        most[side] = max(most[side], top[side])
        if parent[J] >= 0:
            freed[parent[J]] += below[J] ** 2
    u_start[depth % 2 == 1] += most[0]
    return u_start, int(sum(most)), z_start, int((z_start + height**2).max())
