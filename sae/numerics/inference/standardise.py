"""Covariates in units of their own spread, and coefficients turned back to the columns as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Standardised", "standardise"]

_CONSTANT = 1e-12  # share of its size below which the spread of a column is rounding


@dataclass(frozen=True, eq=False)
class Standardised:
    """How the columns of a design were centred and scaled.

    Attributes
    ----------
    centre, width : ndarray, shape (p,)
        A standardised column is (x - centre) / width.
    constant : ndarray of bool, shape (p,)
    level : float
        Value of the first constant column; 1 where there is none.
    """

    centre: np.ndarray
    width: np.ndarray
    constant: np.ndarray
    level: float

    def of(self, X: np.ndarray) -> np.ndarray:
        """Return the standardised columns of rows of the same design, shape (n, p)."""
        return np.asarray((X - self.centre) / self.width)

    def natural(self, beta: np.ndarray) -> np.ndarray:
        """Return coefficients of the columns as they are; what was centred goes into the constant one.

        Parameters
        ----------
        beta : ndarray, shape (S, p) or (S, p, K)
            Draws or nodes of the coefficients of standardised columns, of K outcomes.
        """
        over = (slice(None), *(None,) * (beta.ndim - 2))
        turned = beta / self.width[over]
        moved = (turned * self.centre[over]).sum(axis=1)
        if moved.any():
            turned[:, int(np.argmax(self.constant))] -= moved / self.level
        return turned

    @property
    def basis(self) -> np.ndarray:
        """The same as a matrix A, shape (p, p): ``X @ A`` is standardised and ``beta @ A.T`` is natural."""
        A = np.diag(1.0 / self.width)
        if self.constant.any():
            others = np.flatnonzero(~self.constant)
            A[int(np.argmax(self.constant)), others] = -self.centre[others] / self.width[others] / self.level
        return A


def standardise(X: np.ndarray, *, ddof: int = 1, by_size: bool = False) -> Standardised:
    """Learn means and deviations of the columns of a design; columns are centred only beside a constant one.

    Parameters
    ----------
    X : ndarray, shape (n, p)
    ddof : int
        The deviation divides by n - ddof.
    by_size : bool
        What is not centred is divided by its size: a constant column by its absolute value, and where no
        column is constant all by their root mean squares. Otherwise by 1 and by the deviation.

    Returns
    -------
    Standardised

    Examples
    --------
    >>> X = np.array([[1.0, 10.0], [1.0, 20.0], [1.0, 30.0]])
    >>> standard = standardise(X)
    >>> standard.of(X)[:, 1].tolist()
    [-1.0, 0.0, 1.0]
    >>> standard.natural(np.array([[5.0, 2.0]])).tolist()  # 5 + 2 (x - 20) / 10
    [[1.0, 0.2]]
    """
    deviation = X.std(axis=0, ddof=ddof)
    constant = deviation <= _CONSTANT * np.abs(X).max(axis=0)
    if not constant.any():
        width = np.sqrt((X**2).mean(axis=0)) if by_size else deviation
        return Standardised(np.zeros(X.shape[1]), width, constant, 1.0)
    return Standardised(
        np.where(constant, 0.0, X.mean(axis=0)),
        np.where(constant, np.abs(X[0]) if by_size else 1.0, deviation),
        constant,
        float(X[0, int(np.argmax(constant))]),
    )
