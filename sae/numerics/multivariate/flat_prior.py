"""Posterior of the covariance of the effects under a flat prior: what intervals of small fits rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.covariances import STRUCTURES, bounds, effect_covariances, lkj_log_density
from sae.numerics.multivariate.fit import BlockFit
from sae.numerics.multivariate.importance import NODES, BlockPosterior, place_covariances

__all__ = ["flat_posterior"]

_FLOOR = 0.1  # of the sampling variance: where the climb starts if an effect is estimated as 0
_FACTORS = (0.5, 1.0, 2.0)  # of the standard deviations, of starts around the estimates


@dataclass(frozen=True, eq=False)
class _Working:
    """Unbounded values φ in place of the parameters of a structure.

    Attributes
    ----------
    build : callable
        φ, shape (K, q), to covariances of the effects, shape (K, R, R).
    log_prior : callable
        φ to the log density of φ, shape (K,), where the prior is flat on the parameters.
    starts : ndarray, shape (k, q)
    """

    build: Callable[[np.ndarray], np.ndarray]
    log_prior: Callable[[np.ndarray], np.ndarray]
    starts: np.ndarray


def flat_posterior(fit: BlockFit, areas: BlockAreas, *, nodes: int = NODES) -> BlockPosterior:
    """Integrate the covariance of the effects, its parameters having a flat prior.

    For the unstructured model the prior is flat on the elements of the covariance. The posterior is proper
    where every component has more than p + 2 R areas (p + 2 for independent effects), p its coefficients.

    Parameters
    ----------
    fit : BlockFit
        Gives the structure, and where to begin.
    areas : BlockAreas
    nodes : int
        Of the covariance; a power of two.

    References
    ----------
    Datta, Ghosh, Nangia and Natarajan (1996), in Bayesian Analysis in Statistics and Econometrics, 129-140.
    """
    working = _free(fit, areas) if fit.structure in ("unstructured", "diagonal") else _structured(fit, areas)
    placed = place_covariances(areas, working.build, working.log_prior, working.starts, nodes=nodes)
    return BlockPosterior(areas, placed)


def _levels(areas: BlockAreas) -> np.ndarray:
    """Typical sampling variance of each component, shape (R,)."""
    return np.array([np.median(areas.psi[on, r, r]) for r, on in enumerate(areas.seen.T)])


def _free(fit: BlockFit, areas: BlockAreas) -> _Working:
    """Each effect with a variance of its own: φ = (log standard deviations, z of `partial_correlations`).

    Of the elements of V with correlations C, dV = Π s_r^(R-1) dC ds², and ds_r² = 2 s_r² d log s_r; LKJ(1) is
    flat on C.
    """
    size = areas.y.shape[1]
    pairs = size * (size - 1) // 2 if fit.structure == "unstructured" else 0
    power = size + 1.0 if pairs else 2.0

    def build(phi: np.ndarray) -> np.ndarray:
        return effect_covariances(phi[:, :size], phi[:, size:])

    def log_prior(phi: np.ndarray) -> np.ndarray:
        spread = power * phi[:, :size].sum(axis=1)
        return np.asarray(spread + lkj_log_density(phi[:, size:], size) if pairs else spread)

    log_sd = 0.5 * np.log(np.diag(fit.covariance) + _FLOOR * _levels(areas))
    starts = [
        np.append(log_sd + np.log(factor), np.full(pairs, z))
        for factor, z in product(_FACTORS, (-0.5, 0.0, 0.5) if pairs else (0.0,))
    ]
    return _Working(build, log_prior, np.array(starts))


def _structured(fit: BlockFit, areas: BlockAreas) -> _Working:
    """One variance for all, or autoregression: φ = (log variances, ρ without its bounds).

    ρ = 0.999 tanh φ where it is bounded, sinh φ where it is not.
    """
    size, structure = areas.y.shape[1], STRUCTURES[fit.structure]
    high = bounds(fit.structure, size)[1]
    count = len(high) - (fit.structure in ("ar1", "har1"))
    most = high[-1] if count < len(high) else np.inf

    def rho(phi: np.ndarray) -> np.ndarray:
        return most * np.tanh(phi) if np.isfinite(most) else np.sinh(phi)

    def build(phi: np.ndarray) -> np.ndarray:
        theta = np.column_stack([np.exp(phi[:, :count]), rho(phi[:, count:])])
        return np.array([structure(own, size)[0] for own in theta])

    def log_prior(phi: np.ndarray) -> np.ndarray:
        slope = (-2.0 if np.isfinite(most) else 1.0) * np.log(np.cosh(phi[:, count:]))
        return np.asarray(phi[:, :count].sum(axis=1) + slope.sum(axis=1))

    log_variance = np.log(fit.theta[:count] + _FLOOR * np.resize(_levels(areas), count))
    tails = [np.empty(0)]
    if count < len(high):
        at = np.arctanh(0.9 * fit.theta[-1] / most) if np.isfinite(most) else np.arcsinh(fit.theta[-1])
        tails = [np.array([value]) for value in (at, 0.0, -at)]
    starts = [
        np.concatenate([log_variance + 2.0 * np.log(factor), tail])
        for factor, tail in product(_FACTORS, tails)
    ]
    return _Working(build, log_prior, np.array(starts))
