"""Levels of areas behind a transformation: the posterior of each true value on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Levels", "normal_levels", "share_levels"]

_POINTS = 801
_WIDE = 7.0  # standard deviations that a grid reaches to either side
_KEPT = 1e-7  # nodes of less weight do not count


@dataclass(frozen=True, eq=False)
class Levels:
    """Posteriors of D true values on the model's scale.

    Attributes
    ----------
    grid, weight : ndarray, shape (D, G)
        Points in order and their probabilities, which sum to 1 in each area.
    """

    grid: np.ndarray
    weight: np.ndarray

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the posterior mean of a function from its values on the grid, shape (D,)."""
        return np.asarray((self.weight * values).sum(axis=1))

    def quantiles(self, uniform: np.ndarray) -> np.ndarray:
        """Return quantiles, shape (R, D), at probabilities of the same shape: draws, if these are random."""
        below = np.cumsum(self.weight, axis=1) - 0.5 * self.weight
        return np.column_stack(
            [np.interp(uniform[:, d], below[d], self.grid[d]) for d in range(len(self.grid))]
        )


def normal_levels(
    y: np.ndarray, vardir: np.ndarray, X: np.ndarray, variance: np.ndarray, weights: np.ndarray
) -> Levels:
    """Return the posteriors under normal sampling errors.

    Parameters
    ----------
    y, vardir : ndarray, shape (D,)
        Direct estimates and their variances on the model's scale; NaN without a sample.
    X : ndarray, shape (p, D)
    variance, weights : ndarray, shape (K,)
        Nodes of the model variance and their posterior probabilities.
    """
    mean, spread, weights = _from_the_others(y, vardir, X, variance, weights)
    seen = np.isfinite(y)
    gamma = np.where(seen, spread / (spread + np.where(seen, vardir, 1.0)), 0.0)
    mean = mean + gamma * (np.where(seen, y, 0.0) - mean)
    sd = np.sqrt(spread * (1.0 - gamma))
    low, high = (mean - _WIDE * sd).min(axis=0), (mean + _WIDE * sd).max(axis=0)
    grid = low[:, None] + (high - low)[:, None] * (np.arange(_POINTS) + 0.5) / _POINTS
    return _mixed(grid, np.zeros_like(grid), mean, sd, weights)


def share_levels(
    y: np.ndarray, vardir: np.ndarray, X: np.ndarray, variance: np.ndarray, weights: np.ndarray
) -> Levels:
    """Return the posteriors of shares on the arcsine scale, t with p = sin² t.

    The sampling errors are those of a binomial with the effective size 1 / (4 vardir): the normal law of the
    arcsine scale is far off where n p is about 1, and takes 0 of 8 persons for much. Parameters as in
    `normal_levels`.

    Examples
    --------
    Where p is about 30 % and varies, 0 of 8 persons leave 23 %.

    >>> y, vardir = np.r_[0.0, np.full(50, np.arcsin(0.3**0.5))], np.r_[1 / 32, np.full(50, 1 / 4000)]
    >>> levels = share_levels(y, vardir, np.ones((1, 51)), np.array([0.01]), np.ones(1))
    >>> levels.mean(np.sin(levels.grid) ** 2)[:2].round(2).tolist()
    [0.23, 0.3]
    """
    mean, spread, weights = _from_the_others(y, vardir, X, variance, weights)
    grid = np.broadcast_to(0.5 * np.pi * (np.arange(_POINTS) + 0.5) / _POINTS, (len(y), _POINTS))
    seen = np.isfinite(y)
    size = np.where(seen, 0.25 / np.where(seen, vardir, 1.0), 0.0)
    hits = size * np.sin(np.where(seen, y, 0.0)) ** 2
    told = 2.0 * (hits[:, None] * np.log(np.sin(grid)) + (size - hits)[:, None] * np.log(np.cos(grid)))
    step = 0.5 * np.pi / _POINTS
    return _mixed(grid, told, mean, np.maximum(np.sqrt(spread), 2.0 * step), weights)


def _from_the_others(
    y: np.ndarray, vardir: np.ndarray, X: np.ndarray, variance: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and variance of each true value given A and all other areas, (K, D), and the weights."""
    kept = weights > _KEPT
    A, weights = variance[kept][:, None], weights[kept] / weights[kept].sum()
    seen = np.isfinite(y)
    y = np.where(seen, y, 0.0)
    w = np.where(seen, 1.0 / (A + np.where(seen, vardir, 1.0)), 0.0)
    Q = np.linalg.inv((w[:, None, :] * X) @ X.T)
    fitted = np.einsum("kpq,kq->kp", Q, (w * y) @ X.T) @ X
    leverage = np.einsum("pd,kpd->kd", X, Q @ X)
    left = np.maximum(1.0 - w * leverage, 1e-9)
    return (fitted - w * leverage * y) / left, A + leverage / left, weights


def _mixed(
    grid: np.ndarray, told: np.ndarray, mean: np.ndarray, sd: np.ndarray, weights: np.ndarray
) -> Levels:
    """Multiply the normal laws of every node by the likelihood `told` (logs), and mix them."""
    total = np.zeros_like(grid)
    for k, weight in enumerate(weights):
        log = told - 0.5 * ((grid - mean[k][:, None]) / sd[k][:, None]) ** 2
        part = np.exp(log - log.max(axis=1, keepdims=True))
        total += weight * part / part.sum(axis=1, keepdims=True)
    return Levels(grid, total)
