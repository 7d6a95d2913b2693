"""The joint mean squared error of many predictions, without a matrix of all pairs.

The errors are e = S z + U V'z + L c with independent standard normals z (one per area) and c (one per
coefficient and per uncertain target): S diagonal, U and V one column per constraint of a benchmark, L one
column per coefficient and target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

__all__ = ["JointError", "block_diagonal"]


@dataclass(frozen=True, eq=False)
class JointError:
    """Joint error of M predictions.

    Attributes
    ----------
    scale : ndarray, shape (M,)
        Standard deviation of what belongs to the area alone: the diagonal of S.
    shared : sparse array, shape (M, C)
        L: what the areas of one fit share through its coefficients.
    left, right : sparse array, shape (M, G)
        U and V: what benchmarking ties together.
    """

    scale: np.ndarray
    shared: scipy.sparse.csr_array
    left: scipy.sparse.csr_array
    right: scipy.sparse.csr_array

    @classmethod
    def of_fits(cls, mse: np.ndarray, factors: list[np.ndarray]) -> JointError:
        """Build the joint error of independent fits from the MSE and each fit's factor, shape (p, n_k).

        What the MSE holds beyond the coefficients belongs to the area alone.
        """
        shared = block_diagonal(factors)
        alone = mse - np.concatenate([(factor * factor).sum(axis=0) for factor in factors])
        empty = scipy.sparse.csr_array((len(mse), 0))
        return cls(np.sqrt(np.maximum(alone, 0.0)), shared, empty, empty)

    @staticmethod
    def later(make: Callable[[], JointError]) -> JointError:
        """Return the error that `make` gives, made when something of it is read: most tables need no sums."""
        error = object.__new__(JointError)
        object.__setattr__(error, "_make", make)
        return error

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name not in self.__dataclass_fields__ or "_make" not in self.__dict__:
                raise AttributeError(f"JointError has no attribute {name!r}.")
            made = self._make()
            for each in self.__dataclass_fields__:
                object.__setattr__(self, each, getattr(made, each))
            object.__delattr__(self, "_make")
            return getattr(self, name)

        def __getstate__(self):
            return {each: getattr(self, each) for each in self.__dataclass_fields__}

    @classmethod
    def of_root(cls, root: scipy.sparse.csr_array, mse: np.ndarray) -> JointError:
        """Build the joint error with covariance root root', shape (M, C), each row's filled up to its MSE.

        A row whose part of root root' exceeds its MSE is shrunk to it.
        """
        have = _row_squares(root)
        shrink = np.sqrt(np.minimum(1.0, mse / np.where(have > 0, have, 1.0)))
        shared = _rows_scaled(root, shrink)
        empty = scipy.sparse.csr_array((len(mse), 0))
        return cls(np.sqrt(np.maximum(mse - have * shrink**2, 0.0)), shared, empty, empty)

    def mse(self) -> np.ndarray:
        """Return the diagonal, shape (M,)."""
        own, common = self.scale**2, _row_squares(self.shared)
        if not self.left.shape[1]:
            return own + common
        gram = self.right.T @ self.right
        tied = (self.left @ gram).multiply(self.left).sum(axis=1)
        crossed = self.left.multiply(self.right).sum(axis=1)
        crossed = np.multiply(crossed, self.scale, out=np.zeros(len(crossed)), where=crossed != 0)
        return own + 2.0 * crossed + tied + common

    def mse_of(self, weights: scipy.sparse.csr_array) -> np.ndarray:
        """Return the mean squared errors of weighted sums, one per row of `weights`, shape (K, M)."""
        alone = _columns_scaled(weights, self.scale)
        if self.left.shape[1]:
            alone = scipy.sparse.csr_array(alone + weights @ self.left @ self.right.T)
        return _row_squares(alone) + _row_squares(scipy.sparse.csr_array(weights @ self.shared))

    def covariance(self) -> np.ndarray:
        """Return the full matrix, shape (M, M): for small M."""
        half = np.diag(self.scale) + (self.left @ self.right.T).toarray()
        return half @ half.T + (self.shared @ self.shared.T).toarray()

    def reordered(self, order: np.ndarray) -> JointError:
        """Return the same errors with the areas in another order."""
        left, right = (side[order] if side.shape[1] else side for side in (self.left, self.right))
        return JointError(self.scale[order], self.shared[order], left, right)

    def replaced(self, parts: list[tuple[np.ndarray, JointError]]) -> JointError:
        """Return the error with that of some rows, independent of all others, in the place of their own.

        Parameters
        ----------
        parts : list of (rows, JointError)
            The parts are independent of each other; without constraints.
        """
        kept = np.ones(len(self.scale))
        scale, columns = self.scale.copy(), []
        for rows, part in parts:
            kept[rows], scale[rows] = 0.0, part.scale
            shared = part.shared.tocoo()
            columns.append(
                scipy.sparse.csr_array(
                    (shared.data, (rows[shared.row], shared.col)), shape=(len(kept), shared.shape[1])
                )
            )
        left, right = (_rows_scaled(side, kept) for side in (self.left, self.right))
        shared = scipy.sparse.csr_array(scipy.sparse.hstack([_rows_scaled(self.shared, kept), *columns]))
        return JointError(scale, shared, left, right)

    def scaled(self, factor: np.ndarray, mse: np.ndarray) -> JointError:
        """Return the error after multiplying each area by `factor`, its own part filled up to `mse`."""
        shared = _rows_scaled(self.shared, factor)
        alone = mse - _row_squares(shared)
        return JointError(np.sqrt(np.maximum(alone, 0.0)), shared, self.left, self.right)

    def constrained(
        self, scale: np.ndarray, gain: scipy.sparse.sparray, sums: scipy.sparse.sparray, variance: np.ndarray
    ) -> JointError:
        """Return the error after a benchmark: scale · θ - gain (S'(scale · θ) - t).

        Parameters
        ----------
        scale : ndarray, shape (M,)
        gain, sums : array or sparse array, shape (M, K)
            How the gap of each target is spread over the areas, and S, the weights of its sum.
        variance : ndarray, shape (K,)
            Variances of the targets t, independent of the estimates.
        """

        def applied(columns: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
            scaled = _rows_scaled(columns, scale)
            return scipy.sparse.csr_array(scaled - gain @ (across @ scaled))

        gain, sums = scipy.sparse.csr_array(gain), scipy.sparse.csr_array(sums)
        across = sums.T.tocsr()
        left, right, shared = -gain, _rows_scaled(sums, scale * self.scale), applied(self.shared)
        if self.left.shape[1]:
            left = scipy.sparse.csr_array(scipy.sparse.hstack([applied(self.left), left]))
            right = scipy.sparse.csr_array(scipy.sparse.hstack([self.right, right]))
        uncertain = np.flatnonzero(variance > 0)
        if len(uncertain):
            noise = _columns_scaled(scipy.sparse.csr_array(gain[:, uncertain]), np.sqrt(variance[uncertain]))
            shared = scipy.sparse.csr_array(scipy.sparse.hstack([shared, noise]))
        return JointError(scale * self.scale, shared, left, right)

    def draw(self, z: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Return errors, shape (n, M), from normals z, shape (n, M), and c, shape (n, C)."""
        errors = z * self.scale + (self.shared @ c.T).T
        if self.left.shape[1]:
            errors += (self.left @ (self.right.T @ z.T)).T
        return errors


def _row_squares(matrix: scipy.sparse.csr_array) -> np.ndarray:
    """Return the sum of squares of every row."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.bincount(rows, matrix.data**2, matrix.shape[0])


def _rows_scaled(matrix: scipy.sparse.csr_array, factor: np.ndarray) -> scipy.sparse.csr_array:
    values = matrix.data * np.repeat(factor, np.diff(matrix.indptr))
    return scipy.sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _columns_scaled(matrix: scipy.sparse.csr_array, factor: np.ndarray) -> scipy.sparse.csr_array:
    values = matrix.data * factor[matrix.indices]
    return scipy.sparse.csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def block_diagonal(factors: list[np.ndarray]) -> scipy.sparse.csr_array:
    """Return the matrix with the transposed factors on its diagonal, each of shape (p_k, n_k)."""
    widths = np.array([len(factor) for factor in factors])
    sizes = np.array([factor.shape[1] for factor in factors])
    first = np.cumsum(widths) - widths
    columns = [
        np.tile(np.arange(start, start + width), size)
        for start, width, size in zip(first, widths, sizes, strict=True)
    ]
    ends = np.concatenate([[0], np.cumsum(np.repeat(widths, sizes))])
    data = np.concatenate([factor.T.ravel() for factor in factors])
    return scipy.sparse.csr_array(
        (data, np.concatenate(columns), ends), shape=(int(sizes.sum()), int(widths.sum()))
    )
