"""Posterior of area means, coefficients and variances under the nested error model, without random numbers.

Given the nodes of τ and σe every area mean and coefficient is normal.

References
----------
Datta and Ghosh (1991), Ann. Stat. 19, 1748-1770.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import ndtri

from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.mixture import Mixture, newton_quantile
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.posterior import NestedErrorPosterior
from sae.numerics.nested_error.profile import AreaSums

__all__ = ["AreaMixture", "area_mixture", "coefficient_mixture", "joint_mixture", "sd_quantiles"]

_ELEMENTS = 2_000_000  # numbers held at a time
_MANY_UNITS = 60  # degrees of freedom of σe from which on its mean given τ does for it: t is nearly normal


@dataclass(frozen=True, eq=False)
class AreaMixture:
    """Posterior of the area means: normal given τ and σe, with mean of τ and variance own + σe² share.

    Attributes
    ----------
    posterior : NestedErrorPosterior
    means : ndarray, shape (K, D)
        E(area mean | τ) at the nodes.
    shares : ndarray, shape (K, D)
        Variance given τ and σe, in units of σe².
    """

    posterior: NestedErrorPosterior
    means: np.ndarray
    shares: np.ndarray

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations, each of shape (D,)."""
        weights = self.posterior.weights
        mean = weights @ self.means
        variance = weights @ (self.posterior.sigma2_e[:, None] * self.shares + (self.means - mean) ** 2)
        return mean, np.sqrt(variance)

    @cached_property
    def _components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fewer nodes of σe, for probabilities: weights, node of τ, σe of each normal component."""
        posterior = self.posterior
        freedom = posterior.profile.units - len(posterior.profile.root)
        _, sigma, inner = posterior.given_tau(drop=26.0, count=25 if freedom > 12 else 129)
        weights = posterior.weights[:, None] * inner
        node, column = np.nonzero(weights > 1e-13)
        return weights[node, column], node, sigma[node, column]

    def probability(self, value: np.ndarray | float) -> np.ndarray:
        """Return P(area mean <= value), shape (D,)."""
        value = np.broadcast_to(np.asarray(value, dtype=float), self.means.shape[1:])
        out = np.empty(len(value))
        for part in self._parts():
            out[part] = self._normals(part).cdf(value[part])
        return out

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return quantiles, shape (P, D): Newton steps inside a closing bracket."""
        mean, sd = self.moments()
        out = np.empty((len(probabilities), len(mean)))
        for part in self._parts():
            normals, centre, unit = self._normals(part), mean[part], sd[part]
            for row, probability in enumerate(np.asarray(probabilities, dtype=float).tolist()):
                # by Chebyshev's inequality a quantile is never farther from the mean
                reach = unit / math.sqrt(min(probability, 1.0 - probability))
                out[row, part] = newton_quantile(
                    normals,
                    probability,
                    centre + unit * float(ndtri(probability)),
                    (centre - reach, centre + reach),
                    unit,
                )
        return out

    def _parts(self) -> list[slice]:
        size = max(1, _ELEMENTS // len(self._components[0]))
        return [slice(start, start + size) for start in range(0, self.means.shape[1], size)]

    def _normals(self, part: slice) -> Mixture:
        """Return the posterior of some area means as a mixture of normals."""
        weights, node, sigma = self._components
        return Mixture(
            weights, self.means[:, part][node], sigma[:, None] * np.sqrt(self.shares[:, part])[node]
        )


def area_mixture(posterior: NestedErrorPosterior, sums: AreaSums, means: AreaMeans) -> AreaMixture:
    """Return the posterior of the mean of every area, with or without a sample.

    Given τ the mean of area d is X̄'β + (f + (1 - f) γ)(ȳ - x̄'β) plus errors of variance
    σe² [(1 - f)² τ² / (1 + n τ²) + (1 - f) / N].

    Parameters
    ----------
    posterior : NestedErrorPosterior
    sums : AreaSums
        Of all D areas.
    means : AreaMeans
        Of the same areas.
    """
    profile, n = posterior.profile, sums.precision
    f = means.sampled(sums.n)
    ratio = posterior.tau[:, None] ** 2
    weight = f + (1.0 - f) * n * ratio / (1.0 + n * ratio)
    X, x = means.x_mean @ profile.root, sums.x_mean @ profile.root
    start = profile.start[0]
    gap = np.where(n > 0, sums.y_mean[0] - sums.x_mean @ start, 0.0)
    delta, inverse = posterior.point.delta, posterior.point.inverse
    centre = means.x_mean @ start + delta @ X.T + weight * (gap - delta @ x.T)
    shares = (1.0 - f) ** 2 * ratio / (1.0 + n * ratio) + (1.0 - f) / means.units
    for k in range(len(inverse)):
        half = inverse[k] @ (X - weight[k][:, None] * x).T
        shares[k] += (half * half).sum(axis=0)
    return AreaMixture(posterior, centre, shares)


def joint_mixture(mixture: AreaMixture, sums: AreaSums, means: AreaMeans) -> JointMixture:
    """Return the same posterior with what the areas share: given τ and σe, the coefficients."""
    posterior = mixture.posterior
    profile, n = posterior.profile, sums.precision
    if profile.units - len(profile.root) > _MANY_UNITS:
        weights, node, sigma = posterior.weights, np.arange(len(posterior.weights)), posterior.sigma2_e**0.5
    else:
        weights, node, sigma = mixture._components
        weights = weights / weights.sum()
    f = means.sampled(sums.n)
    X, x = means.x_mean @ profile.root, sums.x_mean @ profile.root
    ratio = posterior.tau**2
    loadings = np.empty((len(ratio), *X.shape))
    for k, inverse in enumerate(posterior.point.inverse):
        weight = f + (1.0 - f) * n * ratio[k] / (1.0 + n * ratio[k])
        loadings[k] = (X - weight[:, None] * x) @ inverse.T
    own = np.sqrt(np.maximum(mixture.shares - (loadings**2).sum(axis=2), 0.0))
    return JointMixture(
        weights,
        mixture.means[node],
        (sigma[:, None] * own[node])[:, :, None],
        sigma[:, None, None] * loadings[node],
    )


def coefficient_mixture(posterior: NestedErrorPosterior) -> AreaMixture:
    """Return the posterior of the coefficients, as that of area means."""
    root = posterior.profile.root
    half = posterior.point.inverse @ root.T
    means = posterior.profile.start[0] + posterior.point.delta @ root.T
    return AreaMixture(posterior, means, (half * half).sum(axis=1))


def sd_quantiles(posterior: NestedErrorPosterior, probabilities: np.ndarray, *, tau_power: int) -> np.ndarray:
    """Return quantiles of σu (`tau_power` 1) or σe (`tau_power` 0), shape (P,), by bisection on its log.

    P(σu <= x) is the mean over τ of P(σe <= x / τ | τ), read off the cumulated density of σe.
    """
    _, sigma, weights = posterior.given_tau(count=513)
    middle = np.cumsum(weights, axis=1) - 0.5 * weights
    logs = np.log(sigma)
    with np.errstate(divide="ignore"):  # σu is 0 at τ = 0
        shift = np.log(posterior.tau**tau_power)
    finite = np.isfinite(shift)
    low = np.full(len(probabilities), (logs[finite] + shift[finite, None]).min())
    high = np.full(len(probabilities), (logs[finite] + shift[finite, None]).max())
    for _ in range(60):
        x = 0.5 * (low + high)
        below = np.zeros(len(x))
        for k, weight in enumerate(posterior.weights):
            below += weight * np.interp(x - shift[k], logs[k], middle[k], left=0.0, right=1.0)
        low, high = np.where(below < probabilities, x, low), np.where(below < probabilities, high, x)
    return np.exp(0.5 * (low + high))
