"""The linear systems diag(w) + A'DA of the allocation programme: dense or sparse, one pattern for all D."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy import linalg, sparse

from sae.numerics.compile import compiled
from sae.numerics.linalg.cholesky import Factor, analyse, factorise

__all__ = ["NormalSystem", "normal_system"]

_FEW = 64  # up to so many constraints a dense matrix is as fast as a sparse one
_FILLED = 0.1  # share of non-zero entries of A'A above which a dense factorisation is faster


class NormalSystem(Protocol):
    """Solve (diag(w) + A'DA) x = b for changing w and D."""

    def factorise(self, d: np.ndarray, w: np.ndarray) -> None:
        """Take D = diag(d), shape (H,), and w > 0, shape (J,)."""

    def solve(self, b: np.ndarray) -> np.ndarray:
        """Return the solution, shape (J,), for the last matrix taken."""


def normal_system(a: sparse.csr_matrix) -> NormalSystem:
    """Choose the cheaper form for the constraint matrix `a`, shape (H strata, J constraints)."""
    columns = a.shape[1]
    per_row = np.diff(a.indptr).astype(float)
    if columns <= _FEW or float((per_row**2).sum()) > 50 * a.nnz + columns**2:
        return _Dense(a)
    touched = sparse.csr_matrix((np.ones(a.nnz), a.indices, a.indptr), shape=a.shape)
    pattern = (touched.T @ touched).tocsr()
    return _Dense(a) if pattern.nnz > _FILLED * columns**2 else _Sparse(a, pattern)


class _Dense:
    def __init__(self, a: sparse.csr_matrix) -> None:
        self._sparse = a if a.nnz < 0.3 * a.shape[0] * a.shape[1] else None
        self._a = None if self._sparse is not None else a.toarray()
        self._factor: tuple[np.ndarray, bool] = (np.empty((0, 0)), True)

    def factorise(self, d: np.ndarray, w: np.ndarray) -> None:
        if self._sparse is not None:
            half = self._sparse.multiply(np.sqrt(d)[:, None]).tocsr()
            gram = (half.T @ half).toarray()
        else:
            half = self._a * np.sqrt(d)[:, None]
            gram = half.T @ half
        gram[np.diag_indices(len(w))] += w
        self._factor = linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)

    def solve(self, b: np.ndarray) -> np.ndarray:
        return linalg.cho_solve(self._factor, b, check_finite=False)


class _Sparse:
    def __init__(self, a: sparse.csr_matrix, gram: sparse.csr_matrix) -> None:
        self._a = a
        low = sparse.tril(gram + sparse.identity(gram.shape[0]), format="csr")
        low.sort_indices()
        self._indptr, self._indices = low.indptr.astype(np.int64), low.indices.astype(np.int64)
        rows = np.repeat(np.arange(low.shape[0]), np.diff(low.indptr))
        self._pattern = analyse(rows, self._indices, low.shape[0])
        self._factor: Factor | None = None

    def factorise(self, d: np.ndarray, w: np.ndarray) -> None:
        a = self._a
        values = _gram(a.indptr, a.indices, a.data, d, self._indptr, self._indices)
        values[self._indptr[1:] - 1] += w  # the diagonal ends every row of the lower triangle
        self._factor = factorise(self._pattern, values)

    def solve(self, b: np.ndarray) -> np.ndarray:
        assert self._factor is not None
        return self._factor.solve(b[:, None])[0, :, 0]


@compiled
def _gram(indptr, indices, data, d, low_start, low_column):
    """Lower triangle of A'DA on its pattern; columns ascend within the rows of A and of the pattern."""
    out = np.zeros(len(low_column))
    for h in range(len(indptr) - 1):
        for one in range(indptr[h], indptr[h + 1]):
            j = indices[one]
            at = low_start[j]
            for two in range(indptr[h], one + 1):
                k = indices[two]
                # binary search of column k in row j of the triangle
                left, right = at, low_start[j + 1]
                while left < right:
                    middle = (left + right) // 2
                    if low_column[middle] < k:
                        left = middle + 1
                    else:
                        right = middle
                out[left] += data[one] * data[two] * d[h]
                at = left
    return out
