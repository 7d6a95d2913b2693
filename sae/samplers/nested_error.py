"""The posterior of area means under the nested error model: moments by nodes, exact independent draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sae.errors import SaeConvergenceError
from sae.numerics.nested_error.loo import leave_area_out
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.posterior import HyperPrior, NestedErrorPosterior, nested_error_posterior
from sae.numerics.nested_error.posterior_draws import JointDraws, draw_nested_error
from sae.numerics.nested_error.posterior_means import AreaMixture, area_mixture
from sae.numerics.nested_error.profile import AreaSums
from sae.numerics.random.streams import normals, stream_keys
from sae.samplers.posterior import Sample

__all__ = ["ExactNestedError"]

_LARGEST_ERROR = 0.1  # of the moments of a share, with which a posterior is refused


@dataclass(frozen=True, eq=False)
class ExactNestedError:
    """Posterior of the means of D areas, given the units of those with a sample.

    One observed figure is an area: all its units together are left out by `loo` and have one log-likelihood;
    what is replicated is their mean.

    Attributes
    ----------
    posterior : NestedErrorPosterior
    sums : AreaSums
        What the units leave, n = 0 where there is no sample.
    means : AreaMeans
        What is to be predicted.
    labels : tuple of str
        Names of the areas' random streams.
    source : str
        How it is computed, in words.
    diagnostics : mapping of str to float
        "quadrature_error": the change of the moments when the number of nodes was last doubled.
    """

    posterior: NestedErrorPosterior
    sums: AreaSums
    means: AreaMeans
    labels: tuple[str, ...]
    source: str
    diagnostics: Mapping[str, float]

    @classmethod
    def of(
        cls, sums: AreaSums, means: AreaMeans, prior: HyperPrior, labels: Sequence[object]
    ) -> ExactNestedError:
        """Integrate the posterior; raises as `nested_error_posterior`, and where its nodes err."""
        posterior = nested_error_posterior(sums, prior)
        if not posterior.error <= _LARGEST_ERROR:
            raise SaeConvergenceError(
                f"The posterior of σu/σe was not found: moments from {len(posterior.tau)} nodes and from "
                f"half of them differ by {posterior.error:.2f}.",
                hint="Use a proper prior, or more areas.",
            )
        source = f"exact posterior, {len(posterior.tau)} nodes of σu/σe"
        error = {"quadrature_error": posterior.error}
        return cls(posterior, sums, means, tuple(map(str, labels)), source, error)

    def variance_nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes of σu² and their weights, each of shape (K,)."""
        joint = self.posterior
        variance = (joint.tau[:, None] * joint.sigma_e) ** 2
        weights = joint.weights[:, None] * joint.inner
        kept = (weights > 1e-10) & (variance > 0.0)
        return variance[kept], weights[kept] / weights[kept].sum()

    @cached_property
    def mixture(self) -> AreaMixture:
        """The area means at the nodes."""
        return area_mixture(self.posterior, self.sums, self.means)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations, each of shape (D,)."""
        return self.mixture.moments()

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), D)."""
        return self.mixture.quantiles(probabilities)

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(area mean > threshold | data), shape (D,)."""
        return 1.0 - self.mixture.probability(threshold)

    def _joint(self, n: int, seed: int, *, effects: bool) -> JointDraws:
        return draw_nested_error(self.posterior, self.sums, self.means, self.labels, n, seed, effects=effects)

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the area means alone, shape (n, D)."""
        return self._joint(n, seed, effects=False).values

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the same seed gives the same draws."""
        drawn = self._joint(n, seed, effects=True)
        seen = np.flatnonzero(self.sums.n > 0)
        fitted = drawn.coefficients @ self.sums.x_mean[seen].T + drawn.effects[:, seen]
        keys = stream_keys(seed, "replicated mean", [self.labels[d] for d in seen])
        noise = normals(keys, 0, n) * drawn.sigma_e[:, None] / np.sqrt(self.sums.precision[seen])
        return Sample(
            values=drawn.values,
            parameters={"sigma_u": drawn.sigma_u, "sigma_e": drawn.sigma_e, "beta": drawn.coefficients},
            log_likelihood=_log_likelihood(self.sums, seen, drawn, fitted),
            replicated=fitted + noise,
        )

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return means of areas like the observed ones with effects of their own: see `Posterior.fresh`."""
        drawn, seen = self._joint(n, seed, effects=False), np.flatnonzero(self.sums.n > 0)
        spread = drawn.sigma_u[:, None] ** 2 + drawn.sigma_e[:, None] ** 2 / self.sums.precision[seen]
        keys = stream_keys(seed, "fresh mean", [self.labels[d] for d in seen])
        return drawn.coefficients @ self.sums.x_mean[seen].T + np.sqrt(spread) * normals(keys, 0, n)

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(units of area d | the other areas) by quadrature; its Pareto k is NaN."""
        value = leave_area_out(self.posterior, self.sums)
        return value, np.full(len(value), np.nan)


def _log_likelihood(sums: AreaSums, seen: np.ndarray, drawn: JointDraws, fitted: np.ndarray) -> np.ndarray:
    """Log density of all units of each area given the draw, from their sums, shape (S, m)."""
    units, beta = sums.n[seen], drawn.coefficients
    p = beta.shape[1]
    squares = (beta[:, :, None] * beta[:, None, :]).reshape(-1, p * p) @ sums.xx[seen].reshape(-1, p * p).T
    rss = sums.yy[0, seen] - 2.0 * beta @ sums.xy[0, seen].T + squares
    rss = np.maximum(rss, 0.0) + sums.precision[seen] * (sums.y_mean[0, seen] - fitted) ** 2
    sigma = drawn.sigma_e[:, None]
    value = units * math.log(2.0 * math.pi) + 2.0 * units * np.log(sigma) + rss / sigma**2
    return -0.5 * value - sums.log_scale[seen]
