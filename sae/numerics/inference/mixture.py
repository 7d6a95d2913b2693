"""Mixtures of normals: moments, distribution functions, quantiles and expected values.

They are what a posterior is that is normal given hyperparameters, once these are summed over nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

__all__ = ["Function", "Mixture", "newton_quantile", "normal_expectation"]

Function = Callable[[np.ndarray], np.ndarray]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_HALLEY = 8  # steps, where they stay inside their bracket
_CLOSE = 1e-5  # of the smallest deviation: a step whose cube is rounding


@dataclass(frozen=True, eq=False)
class Mixture:
    """Mixtures of normals, one for each of M areas, with the same weights.

    Attributes
    ----------
    weights : ndarray, shape (K,)
        Their sum is one, but for a part of a mixture.
    means : ndarray, shape (K, M)
    sds : ndarray, shape (K, M) or (K, 1)
        0 is allowed.

    Examples
    --------
    >>> mixture = Mixture(np.array([0.5, 0.5]), np.array([[-1.0], [1.0]]), np.array([[1.0], [1.0]]))
    >>> mean, sd = mixture.moments()
    >>> float(mean[0]), round(float(sd[0]) ** 2, 12)
    (0.0, 2.0)
    """

    weights: np.ndarray
    means: np.ndarray
    sds: np.ndarray

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations, each of shape (M,)."""
        mean = self.weights @ self.means
        variance = self.weights @ (self.sds**2 + (self.means - mean) ** 2)
        return mean, np.sqrt(variance)

    def values(self, function: Function) -> Iterator[np.ndarray]:
        """Yield f at the nodes of Gauss–Hermite quadrature, each of shape (K, M)."""
        return (function(self.means + node * self.sds) for node in _NODES)

    def sums(self, values: Iterable[np.ndarray]) -> np.ndarray:
        """Return Σ weight E f(x), shape (M,), of f at the nodes."""
        total = np.zeros(self.means.shape[1])
        for value, weight in zip(values, _WEIGHTS, strict=True):
            total += weight * (self.weights @ value)
        return total

    def cdf(self, x: np.ndarray | float) -> np.ndarray:
        """Return the probability of a value <= x, shape (M,)."""
        return self._below(self._standardised(x))

    def cdf_and_density(self, x: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Return both at x, of shape (M,); the density is NaN where x is the value of a normal with sd 0."""
        z = self._standardised(x)
        with np.errstate(divide="ignore", invalid="ignore"):
            density = self.weights @ (np.exp(-0.5 * z * z) / self.sds) / np.sqrt(2.0 * np.pi)
        return self._below(z), density

    def quantile(self, probability: float) -> np.ndarray:
        """Return the quantile of every area, shape (M,)."""
        guess = self.means + self.sds * ndtri(probability)
        low, high = guess.min(axis=0), guess.max(axis=0)
        now = np.clip(self._expanded(probability), low, high)
        close = _CLOSE * self.sds.min(axis=0)
        for _ in range(_HALLEY):
            z = self._standardised(now)
            with np.errstate(divide="ignore", invalid="ignore"):
                heights = np.exp(-0.5 * z * z) / self.sds
                density = self.weights @ heights / np.sqrt(2.0 * np.pi)
                bend = -(self.weights @ (heights * z / self.sds)) / np.sqrt(2.0 * np.pi)
                newton = (self.weights @ ndtr(z) - probability) / density
                step = newton / np.maximum(1.0 - 0.5 * newton * bend / density, 0.5)
            now = now - step
            inside = (now >= low) & (now <= high) & (close > 0.0)
            if not inside.all():
                break
            if (np.abs(step) <= close).all():  # cubed, what is left is rounding
                return now
        return newton_quantile(self, probability, self.weights @ guess, (low, high))

    def _expanded(self, probability: float) -> np.ndarray:
        """Return quantiles by the moments of every area up to the fourth (Cornish and Fisher 1938)."""
        mean, sd = self.moments()
        with np.errstate(divide="ignore", invalid="ignore"):
            apart, spread = (self.means - mean) / sd, (self.sds / sd) ** 2
            square = apart * apart
            third = self.weights @ (apart * (square + 3.0 * spread))
            fourth = self.weights @ (square * square + 6.0 * square * spread + 3.0 * spread * spread) - 3.0
        z = ndtri(probability)
        more = third * (z**2 - 1.0) / 6.0 + fourth * (z**3 - 3.0 * z) / 24.0
        return np.asarray(
            mean + sd * np.nan_to_num(z + more - third**2 * (2.0 * z**3 - 5.0 * z) / 36.0, nan=z)
        )

    def _standardised(self, x: np.ndarray | float) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((x - self.means) / self.sds)

    def _below(self, z: np.ndarray) -> np.ndarray:
        if np.isnan(z).any():  # at the value of a normal with sd 0
            z = np.nan_to_num(z, nan=np.inf)
        return np.asarray(self.weights @ ndtr(z))


def newton_quantile(
    mixture: Mixture,
    probability: float,
    start: np.ndarray,
    bracket: tuple[np.ndarray, np.ndarray],
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """Return the quantile of every area, shape (M,): Newton steps inside a closing bracket.

    Parameters
    ----------
    mixture : Mixture
    probability : float
    start : ndarray, shape (M,)
    bracket : tuple of ndarray, each of shape (M,)
        Values below and above the quantile.
    scale : ndarray, shape (M,), optional
        What an error of 1e-12 is measured by beside the quantile itself; the width of the bracket by default.
    """
    now, (low, high) = start, bracket
    for _ in range(200):
        below, density = mixture.cdf_and_density(now)
        excess = below - probability
        low, high = np.where(excess < 0, now, low), np.where(excess < 0, high, now)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = now - excess / density
        following = np.where((step > low) & (step < high), step, 0.5 * (low + high))
        done = np.abs(following - now) <= 1e-12 * (np.abs(now) + (high - low if scale is None else scale))
        now = following
        if done.all():
            break
    return now


def normal_expectation(function: Function, means: np.ndarray, sds: np.ndarray) -> np.ndarray:
    """Return E f(x) with x normal, in the shape of `means`, by Gauss–Hermite quadrature.

    Examples
    --------
    >>> round(float(normal_expectation(np.exp, np.zeros(1), np.ones(1))[0]), 8)  # exp(1/2)
    1.64872127
    """
    total = np.zeros(np.broadcast_shapes(np.shape(means), np.shape(sds)))
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        total += weight * function(means + node * sds)
    return total
