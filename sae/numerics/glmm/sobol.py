"""Points of a Sobol' sequence laid along a path and weighted by the exact posterior.

References
----------
Sobol' (1967), USSR Comput. Math. Math. Phys. 7, 86-112; Vehtari, Simpson, Gelman, Yao and Gabry (2024),
J. Mach. Learn. Res. 25(72) (smoothed weights and their check).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from sae.errors import SaeConvergenceError
from sae.numerics.glmm.laplace import LaplacePath
from sae.numerics.inference.psis import K_LIMIT, effective_draws, psis

__all__ = ["WeightedPoints", "weigh_points"]

_STRETCHES = (1.0, 1.5, 2.0)  # of the proposal of the coefficients, until the weights are good
_GOOD = 0.3  # Pareto k
_ORDER = 1  # names a fixed permutation


@dataclass(frozen=True, eq=False)
class WeightedPoints:
    """Weighted points of the coefficients and of log σ, and what shows that they can be trusted.

    Attributes
    ----------
    beta, log_sigma, log_weights : ndarray, shapes (S, p), (S,), (S,)
        Smoothed weights, normalised.
    k_hat, ess : float
        Shape of the weights' tail, and 1 / Σ w².
    log_evidence : float
        Log integral of the density that the points stand for.
    """

    beta: np.ndarray
    log_sigma: np.ndarray
    log_weights: np.ndarray
    k_hat: float
    ess: float
    log_evidence: float

    @property
    def weights(self) -> np.ndarray:
        """Weights of the points, shape (S,)."""
        return np.exp(self.log_weights)

    def spread(self, n: int) -> np.ndarray:
        """Return the places of n equally weighted points, the same every time."""
        places = (np.arange(n) + 0.5) / n
        return np.searchsorted(np.cumsum(self.weights), places * (1.0 - 1e-12))

    def resample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return n equally weighted draws (β, σ), in random order: systematic resampling."""
        places = (np.arange(n) + rng.uniform()) / n
        index = np.searchsorted(np.cumsum(self.weights), places * (1.0 - 1e-12))
        index = rng.permutation(index)
        return self.beta[index], np.exp(self.log_sigma[index])


def weigh_points(
    path: LaplacePath, points: int, log_posterior: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[WeightedPoints, np.ndarray]:
    """Weight points along a path by the density they stand for.

    Parameters
    ----------
    path : LaplacePath
    points : int
        A power of 2.
    log_posterior : callable
        β, shape (S, p), and log σ, shape (S,), to log densities up to a constant, shape (S,).

    Returns
    -------
    WeightedPoints
    ndarray, shape (S,)
        Their log densities.

    Raises
    ------
    SaeConvergenceError
        If the Pareto k of the weights is above 0.7.
    """
    from scipy.stats import qmc

    size = path.beta.shape[1] + 2
    uniforms = qmc.Sobol(size, scramble=False).random(points) + 0.5 / points
    # every so many points of the sequence lie in one corner: in any other order some of them stand for all
    uniforms = uniforms[np.random.default_rng(_ORDER).permutation(points)]
    k_hat = np.inf
    for stretch in _STRETCHES:
        beta_now, t_now, log_proposal = path.propose(uniforms, stretch)
        values_now = log_posterior(beta_now, t_now)
        raw = values_now - log_proposal
        smoothed_now, k_now = psis(raw)
        if k_now < k_hat:
            beta, log_sigma, values, smoothed, k_hat = beta_now, t_now, values_now, smoothed_now, k_now
            evidence = float(logsumexp(raw) - np.log(points))
        if k_hat < _GOOD:
            break
    if k_hat > K_LIMIT:
        raise SaeConvergenceError(
            f"The importance weights of the hyperparameters have Pareto k = {k_hat:.2f}, above {K_LIMIT}.",
            hint="The posterior is far from normal: use a tighter prior, fewer covariates, or more areas.",
        )
    return WeightedPoints(beta, log_sigma, smoothed, k_hat, effective_draws(smoothed), evidence), values
