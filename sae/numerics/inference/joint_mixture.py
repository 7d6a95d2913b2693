"""Joint posteriors that are normal at each node of the hyperparameters: sums, second moments, draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.transforms import Transform, normal_mean
from sae.numerics.random.streams import generator, normals, stream_keys

__all__ = ["JointMixture"]

_LARGEST = 1e140  # its square and the sum of many are numbers
_LOST = 1e-12  # share of the shared second moment that is left out


@dataclass(frozen=True, eq=False)
class JointMixture:
    """Joint posterior of M rows: at node k, with standard normals z and c, means + own z + loadings c.

    Attributes
    ----------
    weights : ndarray, shape (K,)
        They sum to 1.
    means : ndarray, shape (K, M)
    own : ndarray, shape (K, M, R)
        Loadings on the R normals of the area that a row belongs to: R rows in turn are an area.
    loadings : ndarray, shape (K, M, p)
        On what all rows share: the coefficients.
    endless : ndarray of bool, shape (M,), optional
        Rows whose variance does not exist, though their quantiles do.

    Examples
    --------
    Two nodes that differ in the common level: sums of two rows vary more than their difference.

    >>> one = np.ones((2, 2, 1))
    >>> joint = JointMixture(np.array([0.5, 0.5]), np.array([[-1.0, -1.0], [1.0, 1.0]]), one, 0.5 * one)
    >>> joint.sums(sparse.csr_array([[1.0, 1.0], [1.0, -1.0]])).moments()[1].round(4).tolist()
    [2.6458, 1.4142]
    """

    weights: np.ndarray
    means: np.ndarray
    own: np.ndarray
    loadings: np.ndarray
    endless: np.ndarray | None = None

    @property
    def variances(self) -> np.ndarray:
        """Variances at the nodes, shape (K, M)."""
        return np.asarray((self.own**2).sum(axis=2) + (self.loadings**2).sum(axis=2))

    def sums(self, weights: sparse.csr_array) -> Mixture:
        """Return the posterior of weighted sums of rows, one column per row of `weights`, shape (S, M)."""
        K, M, p = self.loadings.shape
        means = (weights @ self.means.T).T
        common = (weights @ self.loadings.transpose(1, 0, 2).reshape(M, K * p)).reshape(-1, K, p)
        variance = (common**2).sum(axis=2).T
        R = self.own.shape[2]
        if R == 1:
            variance = variance + (weights.power(2) @ (self.own[:, :, 0] ** 2).T).T
        else:
            for row in range(weights.shape[0]):
                each = self.own * weights[[row]].toarray()[0][:, None]
                variance[:, row] += (each.reshape(K, M // R, R, R).sum(axis=2) ** 2).sum(axis=(1, 2))
        return Mixture(self.weights, means, np.sqrt(variance))

    def reported(self, transform: Transform) -> JointMixture:
        """Return the posterior of h^-1 of every row; between rows by the slope at each node's mean."""
        if transform.name == "identity":
            return self
        variance = self.variances
        mean = transform.mean(self.means, variance)
        square = normal_mean(lambda t: (transform.inverse(t) - mean) ** 2, self.means, variance)
        slope = transform.slope(self.means, variance)
        loadings = self.loadings * slope[:, :, None]
        own = np.sqrt(np.maximum(square - (loadings**2).sum(axis=2), 0.0))
        return JointMixture(self.weights, mean, own[:, :, None], loadings, self.endless)

    def moved(self, factor: np.ndarray, shift: np.ndarray) -> JointMixture:
        """Return the posterior of shift + factor · row, both of shape (M,)."""
        times = factor[:, None]
        return JointMixture(
            self.weights, shift + factor * self.means, self.own * times, self.loadings * times, self.endless
        )

    def widened(self, variance: np.ndarray) -> JointMixture:
        """Return the posterior with a further variance of every row alone, shape (M,): R is 1."""
        own = np.sqrt(self.own**2 + np.asarray(variance)[:, None])
        return JointMixture(self.weights, self.means, own, self.loadings, self.endless)

    def error(self, centre: np.ndarray) -> JointError:
        """Return the second moments of the rows about predictions, shape (M,).

        E (θ - centre)(θ - centre)' = posterior covariance + bias bias', bias being mean - centre: the mean
        squared error of the predictions over the posterior.
        """
        K, M, R = self.own.shape
        root = np.sqrt(self.weights)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [
                (root[:, None] * (self.means - centre)).T,
                (root[:, None, None] * self.loadings).transpose(1, 0, 2).reshape(M, -1),
            ]
        columns = np.concatenate(parts, axis=1)
        # exp of a wide posterior has no second moment that a number holds
        lost = ~(np.abs(columns).max(axis=1) < _LARGEST)
        shared = sparse.csr_array(_compressed(np.where(lost[:, None], 0.0, columns)))
        empty = sparse.csr_array((M, 0))
        if R == 1:
            scale = np.sqrt(self.weights @ self.own[:, :, 0] ** 2)
        else:
            blocks = self.own.reshape(K, M // R, R, R)
            inside = np.einsum("k,kdij,kdlj->dil", self.weights, blocks, blocks)
            values, vectors = np.linalg.eigh(inside)
            roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
            shared = sparse.csr_array(sparse.hstack([shared, sparse.block_diag(list(roots))]))
            scale = np.zeros(M)
        endless = lost if self.endless is None else lost | self.endless
        scale = np.where(endless, np.inf, scale)
        return JointError(scale, shared, empty, empty)

    def values(self, n: int, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Return n joint draws, shape (n, M), from the streams of the rows' names."""
        _, M, R = self.own.shape
        together = "\x1e".join(sorted(labels))  # the order of the rows is no information
        chance = generator(seed, "node of the variance", together).random(n)
        node = np.minimum(np.searchsorted(np.cumsum(self.weights), chance), len(self.weights) - 1)
        z = normals(stream_keys(seed, "area error", labels), 0, n)
        terms = [f"{together}\x1e{j}" for j in range(self.loadings.shape[2])]
        c = normals(stream_keys(seed, "coefficient error", terms), 0, n)
        out = np.empty(z.shape)
        for k in np.unique(node):
            mine = np.flatnonzero(node == k)
            area = np.repeat(z[mine].reshape(len(mine), M // R, 1, R), R, axis=2).reshape(len(mine), M, R)
            out[mine] = self.means[k] + (area * self.own[k]).sum(axis=2) + c[mine] @ self.loadings[k].T
        return out


def _compressed(columns: np.ndarray) -> np.ndarray:
    """Return fewer columns with the same products columns columns'."""
    if len(columns) <= columns.shape[1]:
        values, vectors = np.linalg.eigh(columns @ columns.T)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
    values, vectors = np.linalg.eigh(columns.T @ columns)
    kept = np.cumsum(np.maximum(values, 0.0)) > _LOST * max(values.sum(), 0.0)
    return np.asarray(columns @ vectors[:, kept])
