"""Joined direct estimates of areas: R figures each, some of them missing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from sae.numerics.linalg.basis import Basis, orthonormal_basis

__all__ = ["BlockAreas", "BlockArrays", "block_basis"]


class BlockArrays(NamedTuple):
    """Joined estimates of D areas, 0 where nothing was observed."""

    y: np.ndarray
    X: np.ndarray
    psi: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True, eq=False)
class BlockAreas:
    """Joined estimates of D areas.

    Attributes
    ----------
    y : ndarray, shape (D, R)
        NaN where a component has no direct estimate.
    X : ndarray, shape (D, R, p)
        Designs of all areas; row r of an area is the design of its component r.
    psi : ndarray, shape (D, R, R)
        Sampling covariances; read only where both components of a pair have a direct estimate.
    """

    y: np.ndarray
    X: np.ndarray
    psi: np.ndarray

    @cached_property
    def seen(self) -> np.ndarray:
        """Whether there is a direct estimate, shape (D, R)."""
        return np.isfinite(self.y)

    @cached_property
    def both(self) -> np.ndarray:
        """Whether both components of a pair have one, shape (D, R, R)."""
        return self.seen[:, :, None] & self.seen[:, None, :]

    @cached_property
    def arrays(self) -> BlockArrays:
        """As kernels take them: y, X, psi with 0 for what is missing, and `seen`."""
        return BlockArrays(
            np.where(self.seen, self.y, 0.0),
            np.ascontiguousarray(self.X),
            np.where(self.both, self.psi, 0.0),
            self.seen,
        )

    @cached_property
    def fitted(self) -> np.ndarray:
        """Coefficients by least squares, shape (p,); of least size where they are not determined."""
        X, y = self.X[self.seen], self.y[self.seen]
        size = np.abs(X).max(axis=0, initial=0.0)
        size[size == 0.0] = 1.0
        return np.asarray(np.linalg.lstsq(X / size, y, rcond=None)[0] / size)

    @cached_property
    def centred(self) -> BlockAreas:
        """The same areas with the fit by least squares taken out of y: nothing is left to cancel in sums."""
        return replace(self, y=self.y - self.X @ self.fitted)

    def inverse(self, covariance: np.ndarray) -> np.ndarray:
        """Return (V + Ψ_d)^-1 of the figures that are there, rows and columns of the others 0.

        Parameters
        ----------
        covariance : ndarray, shape (..., R, R)
            Of the effects.

        Returns
        -------
        ndarray, shape (..., D, R, R)
        """
        total = covariance[..., None, :, :] + self.arrays[2]
        return np.asarray(np.linalg.inv(np.where(self.both, total, np.eye(self.y.shape[1]))) * self.both)


def block_basis(y: np.ndarray, X: np.ndarray) -> Basis:
    """Return orthonormal coordinates of designs whose components have columns of their own.

    Parameters
    ----------
    y : ndarray, shape (D, R)
        NaN where a component has no direct estimate.
    X : ndarray, shape (D, R, p)
        Every column is 0 in all components but one, and each component's have full rank where it is sampled.

    Examples
    --------
    >>> X = np.zeros((3, 2, 3))
    >>> X[:, 0, 0], X[:, 1, 1], X[:, 1, 2] = 1.0, 1.0, 1e8 + np.arange(3.0)
    >>> Q = block_basis(np.ones((3, 2)), X).of(X).reshape(6, 3)
    >>> bool(np.allclose(Q.T @ Q, 3 * np.eye(3)))
    True
    """
    p = X.shape[2]
    first, second = np.zeros((p, p)), np.zeros((p, p))
    for r, on in enumerate(np.isfinite(y).T):
        own = np.flatnonzero(X[on, r].any(axis=0))
        turns = orthonormal_basis(X[on, r][:, own], y[on, r]).turns
        first[np.ix_(own, own)], second[np.ix_(own, own)] = turns
    return Basis((first, second), np.zeros(p))
