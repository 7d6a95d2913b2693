"""Posteriors of linear predictors, mixed over hyperparameters: moments, distribution functions, quantiles.

The posterior of an area with a sample is a density on grids (one for each bin of σ) and normals where effects
are narrow; that of an area without one is a mixture of normals, one for each point of the hyperparameters.
Nothing is drawn: functions of η are summed over nodes, and distribution functions interpolated between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from sae.numerics.glmm.integrals import expected, mixture
from sae.numerics.glmm.posterior import GridFit, groups_of
from sae.numerics.glmm.small_effects import narrow_posterior

__all__ = ["GridPart", "Mixed", "NormalPart", "conditional_means", "sampled_mixture", "unsampled_mixture"]

Function = Callable[[np.ndarray], np.ndarray]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_NOTHING = 1e-18  # weight of columns of nodes that are dropped
_FAR = 40  # deviations from the mean within which quantiles are sought


@dataclass(frozen=True, eq=False)
class GridPart:
    """Weights of equally spaced nodes, in the units of probability.

    Attributes
    ----------
    eta, weights : ndarray, shape (n, K)
    """

    eta: np.ndarray
    weights: np.ndarray

    def sums(self, function: Function) -> np.ndarray:
        """Return Σ weight f(η), shape (n,)."""
        return (self.weights * function(self.eta)).sum(axis=1)

    def cumulated(self) -> np.ndarray:
        """Return the distribution function at the nodes, shape (n, K): Euler–Maclaurin sums."""
        t = np.pad(self.weights, ((0, 0), (2, 2)))
        first = (t[:, :-4] - 8.0 * t[:, 1:-3] + 8.0 * t[:, 3:-1] - t[:, 4:]) / 12.0
        third = 0.5 * (t[:, 4:] - 2.0 * t[:, 3:-1] + 2.0 * t[:, 1:-3] - t[:, :-4])
        return self.weights.cumsum(axis=1) - 0.5 * self.weights - first / 12.0 + third / 720.0

    def distribution(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function from x, shape (n,), to the probability of η <= x, shape (n,)."""
        table, rows, last = self.cumulated(), np.arange(len(self.eta)), self.eta.shape[1] - 1
        start, step = self.eta[:, 0], self.eta[:, 1] - self.eta[:, 0]

        def cdf(x: np.ndarray) -> np.ndarray:
            place = np.clip((x - start) / step, 0.0, last)
            k = np.minimum(place.astype(int), last - 1)
            z = place - k
            a, b = table[rows, k], table[rows, k + 1]
            left, right, rise = self.weights[rows, k], self.weights[rows, k + 1], b - a
            cube, square = left + right - 2.0 * rise, 3.0 * rise - 2.0 * left - right
            return ((cube * z + square) * z + left) * z + a

        return cdf


@dataclass(frozen=True, eq=False)
class NormalPart:
    """Weighted normals.

    Attributes
    ----------
    weights : ndarray, shape (S,)
    means : ndarray, shape (S, n)
    sds : ndarray, shape (S, n) or (S, 1)
    """

    weights: np.ndarray
    means: np.ndarray
    sds: np.ndarray

    def sums(self, function: Function) -> np.ndarray:
        """Return Σ weight E f(η), shape (n,)."""
        total = np.zeros(self.means.shape[1])
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            total += weight * (self.weights @ function(self.means + node * self.sds))
        return total

    def distribution(self) -> Callable[[np.ndarray], np.ndarray]:
        """As of `GridPart`."""
        return lambda x: self.weights @ ndtr((x - self.means) / self.sds)


@dataclass(frozen=True, eq=False)
class Mixed:
    """A mixture of parts whose weights sum to one for each of n areas."""

    parts: tuple[GridPart | NormalPart, ...]

    def moments(self, function: Function) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations of f(η), each of shape (n,)."""
        mean = self._sums(function)
        total = np.zeros_like(mean)
        for part in self.parts:
            middle = mean[:, None] if isinstance(part, GridPart) else mean
            total += part.sums(_square(function, middle))
        return mean, np.sqrt(total)

    def distribution(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function from x, shape (n,), to the probability of η <= x, shape (n,)."""
        each = [part.distribution() for part in self.parts]
        return lambda x: np.sum([cdf(x) for cdf in each], axis=0)

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return quantiles of η, shape (len(probabilities), n): bisection, to the last digits."""
        mean, sd = self.moments(lambda eta: eta)
        cdf, found = self.distribution(), []
        for probability in probabilities:
            low, high = mean - _FAR * sd, mean + _FAR * sd
            for _ in range(50):
                middle = 0.5 * (low + high)
                below = cdf(middle) < probability
                low, high = np.where(below, middle, low), np.where(below, high, middle)
            found.append(0.5 * (low + high))
        return np.array(found)

    def _sums(self, function: Function) -> np.ndarray:
        return np.sum([part.sums(function) for part in self.parts], axis=0)


def _square(function: Function, middle: np.ndarray) -> Function:
    return lambda eta: (function(eta) - middle) ** 2


def sampled_mixture(fit: GridFit) -> Mixed:
    """Return the posterior of the linear predictors of the areas with a sample."""
    problem, weights, sigma = fit.problem, fit.weights, np.exp(fit.log_sigma)
    parts: list[GridPart | NormalPart] = []
    for members, grid in groups_of(problem, fit.ridge, fit.beta, fit.log_sigma, fit.tables):
        beta, sds, share = fit.beta[members], sigma[members], weights[members]
        if grid is None:
            _, means, narrow = narrow_posterior(problem.log_likelihood, problem.X, beta, sds)
            parts.append(NormalPart(share, means, narrow))
            continue
        nodes = mixture(grid, problem.X, beta, sds, share)
        some = np.flatnonzero(nodes.max(axis=0) > _NOTHING)
        kept = slice(some[0], some[-1] + 1)
        parts.append(GridPart(grid.eta[:, kept], nodes[:, kept]))
    return Mixed(tuple(parts))


def unsampled_mixture(fit: GridFit, X: np.ndarray) -> Mixed:
    """Return the posterior of the linear predictors of areas without a sample, designs of shape (m, p)."""
    return Mixed((NormalPart(fit.weights, fit.beta @ X.T, np.exp(fit.log_sigma)[:, None]),))


def conditional_means(
    fit: GridFit, X: np.ndarray, sampled: np.ndarray, function: Function, points: int
) -> np.ndarray:
    """Return E[f(η_d) | hyperparameters] at equally weighted points of these, shape (points, M).

    Parameters
    ----------
    X : ndarray, shape (M, p)
        Designs of all areas.
    sampled : ndarray of bool, shape (M,)
    """
    index = fit.spread(points)
    beta, log_sigma = fit.beta[index], fit.log_sigma[index]
    sigma, problem = np.exp(log_sigma), fit.problem
    found = np.zeros((points, len(X)))
    if not sampled.all():
        means = beta @ X[~sampled].T
        for node, weight in zip(_NODES, _WEIGHTS, strict=True):
            found[:, ~sampled] += weight * function(means + node * sigma[:, None])
    for members, grid in groups_of(problem, fit.ridge, beta, log_sigma, fit.tables):
        place = np.ix_(members, sampled)
        if grid is None:
            _, means, sds = narrow_posterior(problem.log_likelihood, problem.X, beta[members], sigma[members])
            found[place] = sum(w * function(means + z * sds) for z, w in zip(_NODES, _WEIGHTS, strict=True))
        else:
            values = function(grid.eta)
            found[place] = expected(grid, problem.X, beta[members], sigma[members], values)
    return found
