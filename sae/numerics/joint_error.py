"""The joint mean squared error of many predictions, without a matrix of all pairs.

The errors are e = S z + U V'z + L c with independent standard normals z (one per area) and c (one per
coefficient): S diagonal, U and V one column per constraint of a benchmark, L one column per coefficient.
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

    def mse(self) -> np.ndarray:
        """Return the diagonal, shape (M,)."""
        gram = self.right.T @ self.right
        tied = (self.left @ gram).multiply(self.left).sum(axis=1)
        crossed = self.left.multiply(self.right).sum(axis=1) * self.scale
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

    def scaled(self, factor: np.ndarray, mse: np.ndarray) -> JointError:
        """Return the error after multiplying each area by `factor`, its own part filled up to `mse`."""
        shared = sparse.csr_array(self.shared.multiply(factor[:, None]))
        alone = mse - shared.multiply(shared).sum(axis=1)
        return replace(self, scale=np.sqrt(np.maximum(alone, 0.0)), shared=shared)

    def constrained(
        self, scale: np.ndarray, direction: np.ndarray, weights: np.ndarray, codes: np.ndarray
    ) -> JointError:
        """Return the error of scale · (θ - direction · Σ w θ), the sum being that of the area's group.

        Parameters
        ----------
        scale, direction, weights : ndarray, shape (M,)
            The linear map of a benchmark.
        codes : ndarray of int, shape (M,)
            Group of each area, 0 to G - 1.
        """
        size, groups = len(codes), int(codes.max()) + 1
        rows = np.arange(size)
        ones = sparse.csr_array((weights, (rows, codes)), shape=(size, groups))
        spread = sparse.csr_array((scale * direction, (rows, codes)), shape=(size, groups))

        def applied(columns: sparse.csr_array) -> sparse.csr_array:
            return sparse.csr_array(columns.multiply(scale[:, None]) - spread @ (ones.T @ columns))

        left = sparse.csr_array(sparse.hstack([applied(self.left), -spread]))
        right = sparse.csr_array(sparse.hstack([self.right, ones.multiply(self.scale[:, None])]))
        return JointError(scale * self.scale, applied(self.shared), left, right)

    def draw(self, z: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Return errors, shape (n, M), from normals z, shape (n, M), and c, shape (n, C)."""
        errors = z * self.scale + (self.shared @ c.T).T
        if self.left.shape[1]:
            errors += (self.left @ (self.right.T @ z.T)).T
        return errors
