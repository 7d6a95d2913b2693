"""The posterior of areas whose sampling variances are estimated: normal given these, and summed over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sae.numerics.glmm.laplace import trace
from sae.numerics.glmm.likelihoods import StudentVariance
from sae.numerics.glmm.normal_scales import NormalScales, ScalesWalk
from sae.numerics.glmm.predictors import Mixed, unsampled_mixture
from sae.numerics.glmm.sobol import WeightedPoints, weigh_points
from sae.numerics.inference.mixture import Function
from sae.numerics.inference.psis import psis_loo
from sae.numerics.random.streams import normals
from sae.samplers.grid import JOINT, GridPosterior

__all__ = ["VariancePosterior"]

_POINTS = 4096  # of the hyperparameters
_SOME = 512  # equally weighted ones behind distribution functions
_CHECKED = 64  # points at which sums over nodes are repeated with twice as many
_OTHERS = 2**40  # where the normals of a stream begin whose first numbers choose variances


@dataclass(frozen=True, eq=False)
class VariancePosterior(GridPosterior):
    """Posterior of θ_d = x_d'β + u_d where y_d ~ N(θ_d, v_d) and v_d is estimated: a `Posterior`.

    The link is the identity, the coefficients are flat.

    Attributes
    ----------
    likelihood : StudentVariance
    """

    likelihood: StudentVariance

    @cached_property
    def scales(self) -> NormalScales:
        """The observations with the nodes of their variances."""
        return self._scales(1.0)

    @cached_property
    def weighted(self) -> WeightedPoints:
        """Weighted points of the hyperparameters."""
        beta, sigma = self.start
        walk = ScalesWalk(self.scales, self.prior, beta)
        return weigh_points(trace(walk, float(np.log(sigma))), _POINTS, walk.log_posterior)[0]

    @property
    def source(self) -> str:
        """How the posterior is computed, in words."""
        count = len(self.weighted.log_weights)
        return f"exact posterior given the variances, {count} weighted points of the hyperparameters"

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """As of `GridPosterior`: the quadrature error is that of the nodes of the variances."""
        beta, sigma = self.equal_points(_CHECKED)
        change = self._scales(2.0).marginals(beta, sigma) - self.scales.marginals(beta, sigma)
        error = float(np.abs(change - change.mean()).max())
        return {"k_hat": self.weighted.k_hat, "ess": self.weighted.ess, "quadrature_error": error}

    @cached_property
    def mixtures(self) -> tuple[_Areas, Mixed | None]:
        """Posteriors of θ of the rows with and without a sample."""
        inside = _Areas(self.scales, self.weighted)
        if self.sampled.all():
            return inside, None
        return inside, unsampled_mixture(self.weighted, self.design[~self.sampled])

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others) and its Pareto k of every observed figure, each of shape (n,)."""
        found = self.scales.marginals(self.weighted.beta, np.exp(self.weighted.log_sigma), by_area=True)
        return psis_loo(found, self.weighted.log_weights)

    def _scales(self, finer: float) -> NormalScales:
        of = self.likelihood
        return NormalScales.of(of.y, of.degrees, of.scale, self.design[self.sampled], finer)

    def _conditional(self) -> np.ndarray:
        beta, sigma = self.equal_points(JOINT)
        means = beta @ self.design.T
        means[:, self.sampled] = self.scales.moments(beta, sigma)[0]
        return means

    def _observed(self, beta: np.ndarray, sigma: np.ndarray, keys: np.ndarray) -> np.ndarray:
        return self.scales.draw(beta, sigma, keys, normals(keys, _OTHERS, len(sigma)))


@dataclass(frozen=True, eq=False)
class _Areas:
    """Posteriors of θ of the areas with a sample."""

    scales: NormalScales
    points: WeightedPoints

    def moments(self, function: Function) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations, each of shape (n,); the function is the identity."""
        return self._moments

    @cached_property
    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        means, variances = self.scales.moments(self.points.beta, np.exp(self.points.log_sigma))
        mean = self.points.weights @ means
        return mean, np.sqrt(self.points.weights @ (variances + (means - mean) ** 2))

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """Return the probability of θ <= x, shape (n,)."""
        return self.scales.below(*self._some, x)

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return quantiles, shape (len(probabilities), n)."""
        return self.scales.quantiles(*self._some, np.asarray(probabilities, dtype=float), *self._moments)

    @property
    def _some(self) -> tuple[np.ndarray, np.ndarray]:
        index = self.points.spread(_SOME)
        return self.points.beta[index], np.exp(self.points.log_sigma[index])
