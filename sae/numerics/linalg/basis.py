"""Orthonormal coordinates of a design: Gram matrices lose no digits to means and scales of columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Basis", "orthonormal_basis"]


@dataclass(frozen=True, eq=False)
class Basis:
    """Coordinates of rows of one design.

    Attributes
    ----------
    turns : tuple of ndarray, shape (p, p)
        X times these, one after the other, has columns that are orthonormal over the rows of the fit, times
        the root of their number.
    fitted : ndarray, shape (p,)
        Coefficients of the columns as they are that are taken out of the outcome.
    """

    turns: tuple[np.ndarray, np.ndarray]
    fitted: np.ndarray

    def of(self, X: np.ndarray) -> np.ndarray:
        """Return rows of the same design in these coordinates, shape (n, p)."""
        return np.asarray(X @ self.turns[0] @ self.turns[1])

    def natural(self, beta: np.ndarray) -> np.ndarray:
        """Return coefficients of the columns as they are and of the whole outcome, shape (..., p)."""
        return np.asarray(beta @ self.turns[1].T @ self.turns[0].T + self.fitted)

    def natural_root(self, root: np.ndarray) -> np.ndarray:
        """Return a root of the covariance of the natural coefficients from one here, shape (..., p, c)."""
        return np.asarray(self.turns[0] @ (self.turns[1] @ root))

    def root(self, natural: np.ndarray) -> np.ndarray:
        """Return a root of the covariance of the coefficients here from a natural one, shape (..., p, c)."""
        return np.asarray(np.linalg.solve(self.turns[1], np.linalg.solve(self.turns[0], natural)))

    def natural_covariance(self, covariance: np.ndarray) -> np.ndarray:
        """Return the covariance of the natural coefficients from the one here, shape (p, p)."""
        return np.asarray(self.natural_root(self.natural_root(covariance).T))


def orthonormal_basis(X: np.ndarray, y: np.ndarray) -> Basis:
    """Learn the coordinates from the rows of a fit, and take the fit of their outcome by least squares out.

    A column of mean 1e8 and deviation 1 loses half of its digits in X'X, and y'y - y'X (X'X)^-1 X'y those
    that y shares with the columns. Here nothing is left to cancel.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Of full column rank.
    y : ndarray, shape (n,)

    Examples
    --------
    >>> X = np.column_stack([np.ones(4), 1e8 + np.arange(4.0)])
    >>> basis = orthonormal_basis(X, np.array([1.0, 3.0, 5.0, 8.0]))
    >>> bool(np.allclose(basis.of(X).T @ basis.of(X), 4 * np.eye(2)))
    True
    >>> round(float(basis.natural(np.zeros(2))[1]), 6)
    2.3
    """
    size = np.abs(X).max(axis=0)
    first = _turn(X / size) / size[:, None]
    second = _turn(X @ first)  # what rounding has left of the correlations
    Q = X @ first @ second
    here = Q.T @ y / len(X)
    here += Q.T @ (y - Q @ here) / len(X)
    return Basis((first, second), first @ (second @ here))


def _turn(X: np.ndarray) -> np.ndarray:
    """Return R^-1 √n of X = QR."""
    R = np.linalg.qr(X, mode="r")
    return np.asarray(np.linalg.inv(R) * np.sqrt(len(X)))
