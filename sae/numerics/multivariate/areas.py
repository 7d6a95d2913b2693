"""Joined direct estimates of areas: R figures each, some of them missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

__all__ = ["BlockAreas", "BlockArrays"]


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
