"""Density of direct shares that may be exactly 0 or 1: atoms as of a share of n persons, beta between.

Given θ and the effective size n, the share is 0 with probability (1 - θ)^n and 1 with θ^n; in between it is
beta with the mean and the variance that leave E y = θ and var y = θ (1 - θ) / n.

References
----------
Ospina and Ferrari (2010), Statistical Papers 51, 111-126.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

__all__ = ["FEWEST", "Slopes", "beta_parts", "log_density"]

FEWEST = 2.0  # effective persons at which shares strictly between 0 and 1 have no variance left
_NARROW = 1e-9  # smallest variance between 0 and 1, as a share of the largest possible
_WIDE, _NODES = 14.0, 512  # standard errors of a share each side of it that are tabulated, and nodes
_STEEPEST = 30.0  # slope, per standard error, at which tables are cut


def beta_parts(eta: Any, n: Any, xp: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Return log P(0), log P(1), P(between) and the parameters of the beta between, from logit θ and n.

    Parameters
    ----------
    eta, n : array
    xp : module
        `numpy`, or `pytensor.tensor` with its arrays.

    Examples
    --------
    >>> log_zero, log_one, *_ = beta_parts(np.array(0.0), 4.0, np)
    >>> round(float(np.exp(log_zero)), 4)  # (1 - 0.5)^4
    0.0625
    """
    theta = 1.0 / (1.0 + xp.exp(-eta))
    log_one = -n * xp.log1p(xp.exp(-eta))
    log_zero = -n * xp.log1p(xp.exp(eta))
    one = xp.exp(log_one)
    between = xp.maximum(-xp.expm1(log_zero) - one, 1e-300)
    mean = (theta - one) / between
    second = (theta * theta + theta * (1.0 - theta) / n - one) / between
    largest = mean * (1.0 - mean)
    variance = xp.maximum(second - mean * mean, _NARROW * largest)
    precision = largest / variance - 1.0
    return log_zero, log_one, between, mean * precision, (1.0 - mean) * precision


def log_density(eta: Any, y: Any, n: Any, xp: Any, log_gamma: Any) -> Any:
    """Return log densities of direct shares y; see `beta_parts`.

    0.5 stands in for 0 and 1 where the beta is not wanted, so that its gradient is finite there too.
    """
    log_zero, log_one, between, a, b = beta_parts(eta, n, xp)
    inside = xp.where((y > 0) & (y < 1), y, 0.5)
    beta = (
        xp.log(between)
        + log_gamma(a + b)
        - log_gamma(a)
        - log_gamma(b)
        + (a - 1.0) * xp.log(inside)
        + (b - 1.0) * xp.log1p(-inside)
    )
    return xp.where(y <= 0, log_zero, xp.where(y >= 1, log_one, beta))


@dataclass(frozen=True, eq=False)
class Slopes:
    """Slopes of the log densities of m shares in η, linear between nodes: about what they are.

    Attributes
    ----------
    first, step : ndarray, shape (m,)
        First node, and distance of the nodes.
    values, change : ndarray, shape (m · (nodes - 1),)
        Slope at each node but the last, share after share, and its change until the next.
    """

    first: np.ndarray
    step: np.ndarray
    values: np.ndarray
    change: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray, n: np.ndarray) -> Slopes:
        """Tabulate around the share itself, as far as `_WIDE` of its standard errors."""
        middle = np.clip(y, 0.5 / n, 1.0 - 0.5 / n)
        size = 1.0 / np.sqrt(n * middle * (1.0 - middle))
        step = 2.0 * _WIDE / _NODES * size
        first = np.log(middle / (1.0 - middle)) - _WIDE * size
        eta = first[:, None] + step[:, None] * (np.arange(_NODES + 2) - 0.5)
        with np.errstate(all="ignore"):
            density = log_density(eta, y[:, None], n[:, None], np, scipy.special.gammaln)
            slope = np.diff(density, axis=1) / step[:, None]
        most = (_STEEPEST / size)[:, None]
        slope = np.clip(np.nan_to_num(slope, nan=0.0), -most, most)
        # far out the density is an edge and its logarithm rounding: slopes never turn back there
        left, right = slope[:, : _NODES // 2], slope[:, _NODES // 2 :]
        left[:] = np.maximum.accumulate(left[:, ::-1], axis=1)[:, ::-1]
        right[:] = np.minimum.accumulate(right, axis=1)
        return cls(first, step, slope[:, :-1].ravel(), np.diff(slope, axis=1).ravel())

    def at(self, eta: np.ndarray) -> np.ndarray:
        """Return slopes at points of shape (C, m)."""
        place, part = self._places(eta)
        return self.values[place] + part * self.change[place]

    def information(self, eta: np.ndarray) -> np.ndarray:
        """Return the mean over points, (C, m), of minus the change of the slopes; not below 0."""
        place, _ = self._places(eta)
        return np.maximum(-self.change[place].mean(axis=0) / self.step, 0.0)

    def _places(self, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.clip((eta - self.first) / self.step, 0.0, _NODES - 1e-6)
        place = at.astype(np.int64)
        part = at - place
        place += _NODES * np.arange(len(self.first))
        return place, part
