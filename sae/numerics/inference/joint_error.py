"""The joint mean squared error of many predictions, without a matrix of all pairs.

The errors are e = S z + U V'z + L c with independent standard normals z (one per area) and c (one per
coefficient and per uncertain target): S diagonal, U and V one column per constraint of a benchmark, L one
column per coefficient and target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

__all__ = ["JointError"]


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
    shared: sparse.csr_array
    left: sparse.csr_array
    right: sparse.csr_array

    @classmethod
    def of_fits(cls, mse: np.ndarray, factors: list[np.ndarray]) -> JointError:
        """Build the joint error of independent fits from the MSE and each fit's factor, shape (p, n_k).

        What the MSE holds beyond the coefficients belongs to the area alone.
        """
        blocks = [sparse.csr_array(factor.T) for factor in factors]
        shared = sparse.csr_array(sparse.block_diag(blocks, format="csr"))
        alone = mse - shared.multiply(shared).sum(axis=1)
        empty = sparse.csr_array((len(mse), 0))
        return cls(np.sqrt(np.maximum(alone, 0.0)), shared, empty, empty)

    @classmethod
    def of_root(cls, root: sparse.csr_array, mse: np.ndarray) -> JointError:
        """Build the joint error with covariance root root', shape (M, C), each row's filled up to its MSE.

        A row whose part of root root' exceeds its MSE is shrunk to it.
        """
        have = np.asarray(root.multiply(root).sum(axis=1)).ravel()
        shrink = np.sqrt(np.minimum(1.0, mse / np.where(have > 0, have, 1.0)))
        shared = sparse.csr_array(root.multiply(shrink[:, None]))
        empty = sparse.csr_array((len(mse), 0))
        return cls(np.sqrt(np.maximum(mse - have * shrink**2, 0.0)), shared, empty, empty)

    def mse(self) -> np.ndarray:
        """Return the diagonal, shape (M,)."""
        gram = self.right.T @ self.right
        tied = (self.left @ gram).multiply(self.left).sum(axis=1)
        crossed = self.left.multiply(self.right).sum(axis=1)
        crossed = np.multiply(crossed, self.scale, out=np.zeros(len(crossed)), where=crossed != 0)
        return self.scale**2 + 2.0 * crossed + tied + self.shared.multiply(self.shared).sum(axis=1)

    def mse_of(self, weights: sparse.csr_array) -> np.ndarray:
        """Return the mean squared errors of weighted sums, one per row of `weights`, shape (K, M)."""
        own = weights.multiply(self.scale[None, :]).tocsr()
        tied = weights @ self.left @ self.right.T
        alone = sparse.csr_array(own + tied)
        common = sparse.csr_array(weights @ self.shared)
        return alone.multiply(alone).sum(axis=1) + common.multiply(common).sum(axis=1)

    def covariance(self) -> np.ndarray:
        """Return the full matrix, shape (M, M): for small M."""
        half = np.diag(self.scale) + (self.left @ self.right.T).toarray()
        return half @ half.T + (self.shared @ self.shared.T).toarray()

    def reordered(self, order: np.ndarray) -> JointError:
        """Return the same errors with the areas in another order."""
        return JointError(self.scale[order], self.shared[order], self.left[order], self.right[order])

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
                sparse.csr_array(
                    (shared.data, (rows[shared.row], shared.col)), shape=(len(kept), shared.shape[1])
                )
            )
        cut = kept[:, None]
        left, right = (sparse.csr_array(side.multiply(cut)) for side in (self.left, self.right))
        shared = sparse.csr_array(sparse.hstack([self.shared.multiply(cut), *columns]))
        return JointError(scale, shared, left, right)

    def scaled(self, factor: np.ndarray, mse: np.ndarray) -> JointError:
        """Return the error after multiplying each area by `factor`, its own part filled up to `mse`."""
        shared = sparse.csr_array(self.shared.multiply(factor[:, None]))
        alone = mse - shared.multiply(shared).sum(axis=1)
        return replace(self, scale=np.sqrt(np.maximum(alone, 0.0)), shared=shared)

    def constrained(
        self, scale: np.ndarray, gain: sparse.sparray, sums: sparse.sparray, variance: np.ndarray
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

        def applied(columns: sparse.csr_array) -> sparse.csr_array:
            scaled = sparse.csr_array(columns.multiply(scale[:, None]))
            return sparse.csr_array(scaled - gain @ (sums.T @ scaled))

        gain, sums = sparse.csr_array(gain), sparse.csr_array(sums)
        own = sums.multiply((scale * self.scale)[:, None])
        uncertain = np.flatnonzero(variance > 0)
        noise = gain[:, uncertain].multiply(np.sqrt(variance[uncertain])[None, :])
        left = sparse.csr_array(sparse.hstack([applied(self.left), -gain]))
        right = sparse.csr_array(sparse.hstack([self.right, own]))
        shared = sparse.csr_array(sparse.hstack([applied(self.shared), noise]))
        return JointError(scale * self.scale, shared, left, right)

    def draw(self, z: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Return errors, shape (n, M), from normals z, shape (n, M), and c, shape (n, C)."""
        errors = z * self.scale + (self.shared @ c.T).T
        if self.left.shape[1]:
            errors += (self.left @ (self.right.T @ z.T)).T
        return errors
