"""Posteriors of linear predictors, mixed over hyperparameters: moments, distribution functions, quantiles.

The posterior of an area with a sample is a density on grids (one for each bin of σ) and normals where effects
are narrow; that of an area without one is a mixture of normals, one for each point of the hyperparameters.
Nothing is drawn: functions of η are summed over nodes, and distribution functions interpolated between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import ndtri

from sae.numerics.glmm.integrals import expected, mixture
from sae.numerics.glmm.posterior import GridFit, groups_of
from sae.numerics.glmm.small_effects import narrow_posterior
from sae.numerics.glmm.sobol import WeightedPoints
from sae.numerics.inference.mixture import Function, Mixture, normal_expectation

__all__ = ["Distribution", "GridPart", "Mixed", "conditional_means", "sampled_mixture", "unsampled_mixture"]

_NOTHING = 1e-18  # weight of columns of nodes that are dropped
_NUMBERS = 6_000_000  # of function values that are kept: 48 MB
_SECANTS, _CLOSE = 8, 1e-8
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

    def values(self, function: Function) -> Iterator[np.ndarray]:
        """Yield f at the nodes, shape (n, K)."""
        yield function(self.eta)

    def sums(self, values: Iterable[np.ndarray]) -> np.ndarray:
        """Return Σ weight f(η), shape (n,), of f at the nodes."""
        return np.sum([(self.weights * value).sum(axis=1) for value in values], axis=0)

    @cached_property
    def cumulated(self) -> np.ndarray:
        """The distribution function at the nodes, shape (n, K): Euler–Maclaurin sums."""
        t = np.pad(self.weights, ((0, 0), (2, 2)))
        first = (t[:, :-4] - 8.0 * t[:, 1:-3] + 8.0 * t[:, 3:-1] - t[:, 4:]) / 12.0
        third = 0.5 * (t[:, 4:] - 2.0 * t[:, 3:-1] + 2.0 * t[:, 1:-3] - t[:, :-4])
        return self.weights.cumsum(axis=1) - 0.5 * self.weights - first / 12.0 + third / 720.0

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of η <= x, shape (n,), by cubics between the nodes."""
        table, rows, last = self.cumulated, np.arange(len(self.eta)), self.eta.shape[1] - 1
        start, step = self.eta[:, 0], self.eta[:, 1] - self.eta[:, 0]
        place = np.clip((x - start) / step, 0.0, last)
        k = np.minimum(place.astype(int), last - 1)
        z = place - k
        a, b = table[rows, k], table[rows, k + 1]
        left, right, rise = self.weights[rows, k], self.weights[rows, k + 1], b - a
        cube, square = left + right - 2.0 * rise, 3.0 * rise - 2.0 * left - right
        return ((cube * z + square) * z + left) * z + a


class Distribution(Protocol):
    """Distributions of the linear predictors of n areas."""

    def moments(self, function: Function) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations of f(η), each of shape (n,)."""

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of η <= x, shape (n,)."""

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return quantiles of η, shape (len(probabilities), n)."""


@dataclass(frozen=True, eq=False)
class Mixed:
    """A mixture of parts whose weights sum to one for each of n areas."""

    parts: tuple[GridPart | Mixture, ...]

    def moments(self, function: Function) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations of f(η), each of shape (n,)."""
        values = [_Values(part, function) for part in self.parts]
        mean = np.sum([part.sums(own) for part, own in zip(self.parts, values, strict=True)], axis=0)
        total = np.zeros_like(mean)
        for part, own in zip(self.parts, values, strict=True):
            middle = mean[:, None] if isinstance(part, GridPart) else mean
            total += part.sums((value - middle) ** 2 for value in own)
        return mean, np.sqrt(total)

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of η <= x, shape (n,)."""
        return np.sum([part.cdf(x) for part in self.parts], axis=0)

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return quantiles of η, shape (len(probabilities), n), to the last digits."""
        mean, sd = self.moments(lambda eta: eta)
        return np.array([_quantile(self._scores_less(p), mean, sd, ndtri(p)) for p in probabilities])

    def _scores_less(self, probability: float) -> Function:
        """Return η to the normal score of P(<= η) less that of a probability: nearly a line."""
        own = ndtri(probability)
        return lambda x: ndtri(np.clip(self.cdf(x), 1e-300, 1.0 - 1e-16)) - own


class _Values:
    """What a function is at the nodes of a part: kept for the next time, unless they are very many."""

    def __init__(self, part: GridPart | Mixture, function: Function) -> None:
        self._make = lambda: part.values(function)
        size = part.weights.size if isinstance(part, GridPart) else 15 * part.means.size
        self._kept = list(self._make()) if size <= _NUMBERS else None

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._make() if self._kept is None else self._kept)


def _quantile(excess: Function, mean: np.ndarray, sd: np.ndarray, score: float) -> np.ndarray:
    """Where normal scores reach a score: secants from the normal's quantile, else `_crossing`.

    Secants of what is nearly a line gain digits by half from step to step: after one of `_CLOSE` deviations
    less than 1e-12 of one is left.
    """
    before, x = mean + score * sd, mean + score * sd
    old = excess(before)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = before - old * sd
        for _ in range(_SECANTS):
            new = excess(x)
            done = np.abs(x - before) <= _CLOSE * sd
            step = np.where(done, 0.0, new * (x - before) / (new - old))
            before, old, x = x, new, x - step
            if not (np.abs(x - mean) < _FAR * sd).all():
                break
            if (np.abs(step) <= _CLOSE * sd).all():
                return x
    return _crossing(excess, mean, sd)


def _crossing(excess: Function, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Where increasing functions of n numbers cross 0: chords that halve the weight of an old end.

    References
    ----------
    Dowell and Jarratt (1971), BIT 11, 168-174 (the Illinois method).
    """
    low, high = mean - _FAR * sd, mean + _FAR * sd
    below, above, x, side = excess(low), excess(high), mean.copy(), np.zeros(len(mean))
    for _ in range(100):
        value = excess(x)
        left = value < 0.0
        low, high = np.where(left, x, low), np.where(left, high, x)
        below = np.where(left, value, np.where(side > 0.0, 0.5 * below, below))
        above = np.where(left, np.where(side < 0.0, 0.5 * above, above), value)
        side = np.where(left, -1.0, 1.0)
        chord = low + (high - low) * below / np.minimum(below - above, -1e-300)
        inside = (chord > low) & (chord < high)
        following = np.where(value == 0.0, x, np.where(inside, chord, 0.5 * (low + high)))
        change, x = np.abs(following - x), following
        if np.all(change <= 1e-12 * sd):
            break
    return x


def sampled_mixture(fit: GridFit) -> Mixed:
    """Return the posterior of the linear predictors of the areas with a sample."""
    problem, weights, sigma = fit.problem, fit.weights, np.exp(fit.log_sigma)
    parts: list[GridPart | Mixture] = []
    for members, grid in groups_of(problem, fit.path, fit.beta, fit.log_sigma, dict(fit.tables)):
        beta, sds, share = fit.beta[members], sigma[members], weights[members]
        if grid is None:
            _, means, narrow = narrow_posterior(problem.log_likelihood, problem.X, beta, sds)
            parts.append(Mixture(share, means, narrow))
            continue
        nodes = mixture(grid, problem.X, beta, sds, share)
        some = np.flatnonzero(nodes.max(axis=0) > _NOTHING)
        if not some.size:  # points so far out that all of them together weigh nothing
            continue
        kept = slice(some[0], some[-1] + 1)
        parts.append(GridPart(grid.eta[:, kept], nodes[:, kept]))
    return Mixed(tuple(parts))


def unsampled_mixture(fit: WeightedPoints, X: np.ndarray) -> Mixed:
    """Return the posterior of the linear predictors of areas without a sample, designs of shape (m, p)."""
    return Mixed((Mixture(fit.weights, fit.beta @ X.T, np.exp(fit.log_sigma)[:, None]),))


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
    means = np.zeros((points, len(X)))
    if not sampled.all():
        means[:, ~sampled] = normal_expectation(function, beta @ X[~sampled].T, sigma[:, None])
    for members, grid in groups_of(problem, fit.path, beta, log_sigma, dict(fit.tables)):
        place = np.ix_(members, sampled)
        if grid is None:
            _, middle, sds = narrow_posterior(
                problem.log_likelihood, problem.X, beta[members], sigma[members]
            )
            means[place] = normal_expectation(function, middle, sds)
        else:
            values = function(grid.eta)
            means[place] = expected(grid, problem.X, beta[members], sigma[members], values)
    return means
