"""Posterior of the covariance of the effects under a flat prior: what intervals of small fits rest on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from sae.errors import SaeConvergenceError
from sae.numerics.inference.lattice import find_mode, lattice, spread_of
from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.covariances import STRUCTURES, bounds, effect_covariances, lkj_log_density
from sae.numerics.multivariate.fit import BlockFit
from sae.numerics.multivariate.importance import (
    NODES,
    BlockPosterior,
    CovarianceNodes,
    marginal_blocks,
    place_covariances,
)

__all__ = ["flat_posterior"]

_FLOOR = 0.1  # of the sampling variance: where the climb starts if an effect is estimated as 0
_STEPS = {1: 0.25, 2: 0.5, 3: 0.9}  # of the lattice, in posterior deviations, by the number of parameters
_COARSE, _NEAR = 1.5, 5.0  # step and reach, in nats, of the lattice that gives these deviations
_DROP = 9.0  # nats from the top to where the density ends
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
    free = fit.structure in ("unstructured", "diagonal")
    if free and len(fit.theta) in _STEPS:
        try:
            return BlockPosterior(areas, _lattice(fit, areas))
        except (
            SaeConvergenceError
        ):  # it does not fall off within reach: the weights of points tell by how much
            pass
    working = _free(fit, areas) if free else _structured(fit, areas)
    placed = place_covariances(areas, working.build, working.log_prior, working.starts, nodes=nodes)
    return BlockPosterior(areas, placed)


def _lattice(fit: BlockFit, areas: BlockAreas) -> CovarianceNodes:
    """Place nodes on a lattice of φ = (standard deviations in units, angles ω), correlations being sin ω.

    dV is Π s_r^(R-1) cos ω ds² dω: near s = 0 and near perfect correlation, where a likelihood may have its
    maximum, the density of φ is smooth and falls to 0, as it does not in logarithms.
    """
    size, arrays, level = areas.y.shape[1], areas.centred.arrays, np.sqrt(_levels(areas))
    pairs = fit.structure == "unstructured" and size > 1
    power = float(size) if pairs else 1.0

    def build(phi: np.ndarray) -> np.ndarray:
        root = np.eye(size) * np.ones((len(phi), 1, 1))
        if pairs:
            root[:, 1, 0], root[:, 1, 1] = np.sin(phi[:, 2]), np.cos(phi[:, 2])
        root *= (level * phi[:, :size])[:, :, None]
        return np.asarray(root @ root.swapaxes(1, 2))

    def density(phi: np.ndarray) -> np.ndarray:
        inside = (phi[:, :size] > 0.0).all(axis=1) & (np.abs(phi[:, size:]) < 0.5 * np.pi).all(axis=1)
        out, own = np.full(len(phi), -np.inf), phi[inside]
        with np.errstate(over="ignore", invalid="ignore"):
            value = marginal_blocks(build(own), arrays) + power * np.log(own[:, :size]).sum(axis=1)
            value += np.log(np.cos(own[:, size:])).sum(axis=1)
        out[inside] = np.where(np.isfinite(value), value, -np.inf)
        return out

    sd = np.sqrt(np.diag(fit.covariance) + _FLOOR * level**2) / level
    angles = (-0.5, 0.0, 0.5) if pairs else (0.0,)
    starts = [np.append(factor * sd, [angle] * pairs) for factor, angle in product(_FACTORS, angles)]
    mode, root = find_mode(density, np.array(starts))
    centre, root = spread_of(lattice(density, mode, root, step=_COARSE, drop=_NEAR))
    found = lattice(density, centre, root, step=_STEPS[len(mode)], drop=_DROP)
    weights = found.weights
    return CovarianceNodes(
        found.points, build(found.points), np.log(weights), np.nan, float(1.0 / (weights @ weights))
    )


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
