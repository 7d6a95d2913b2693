"""Posterior of R joined estimates per area over the covariance of their effects, by importance sampling.

    y_d = X_d β + u_d + e_d,   u_d ~ N(0, V),   e_d ~ N(0, Ψ_d),   β flat

Given V everything is normal: β is integrated out of the density of V, and areas are mixtures of normals over
weighted nodes of V. The nodes are a Sobol sequence under a Student's t that adapts to the posterior, so that
moments need no random numbers.

References
----------
Oh and Berger (1992), J. Statist. Comput. Simul. 41, 143-168 (a proposal that adapts); Vehtari, Simpson,
Gelman, Yao and Gabry (2024), J. Mach. Learn. Res. 25(72) (PSIS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import chdtri, logsumexp, ndtri

from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.lattice import find_mode
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.psis import effective_draws, psis
from sae.numerics.multivariate.areas import BlockAreas, BlockArrays
from sae.numerics.multivariate.combinations import combination_mixture, left_out_at, moments_at
from sae.numerics.multivariate.grams import coefficients_at, marginals_at, parts_near

__all__ = [
    "NODES",
    "BlockPosterior",
    "Conditionals",
    "CovarianceNodes",
    "condition_blocks",
    "marginal_blocks",
    "place_covariances",
]

_DF = 5.0  # heavier than any posterior of log standard deviations with a proper prior
_ROUNDS = 4  # the proposal moves to the moments of the round before
_WIDEN = 1.15
NODES = 2048
_LIGHT = 1e-9  # share of a node that is left out
_FEWEST = 64  # nodes of a joint posterior, however many rows there are
_JOINT = 20_000_000  # numbers of a joint posterior at all nodes


@dataclass(frozen=True, eq=False)
class CovarianceNodes:
    """Weighted values of the covariance of the effects.

    Attributes
    ----------
    phi : ndarray, shape (K, q)
        Working values of the hyperparameters.
    covariances : ndarray, shape (K, R, R)
    log_weights : ndarray, shape (K,)
        Pareto-smoothed; the weights sum to one.
    k_hat, ess : float
        Shape of the tail of the weights; 1 / Σ w².
    """

    phi: np.ndarray
    covariances: np.ndarray
    log_weights: np.ndarray
    k_hat: float
    ess: float

    @property
    def weights(self) -> np.ndarray:
        """Weights of the nodes, shape (K,)."""
        return np.exp(self.log_weights)


@dataclass(frozen=True, eq=False)
class Conditionals:
    """What is normal given each node.

    Attributes
    ----------
    beta : ndarray, shape (K, p)
    root : ndarray, shape (K, p, p)
        root root' is the covariance of β.
    means, sds : ndarray, shape (K, D, R)
        Of the true values.
    left_out : ndarray, shape (K, D, R)
        Log density of each observed figure given all the others; NaN where there is none, or where the others
        leave a coefficient undetermined.
    """

    beta: np.ndarray
    root: np.ndarray
    means: np.ndarray
    sds: np.ndarray
    left_out: np.ndarray


@dataclass(frozen=True, eq=False)
class BlockPosterior:
    """Posterior of areas over weighted covariances of their effects."""

    areas: BlockAreas
    nodes: CovarianceNodes

    def mixture(self, contrasts: np.ndarray) -> Mixture:
        """Return the posterior of linear combinations of an area's components.

        Parameters
        ----------
        contrasts : ndarray, shape (D, C, R)
            C combinations per area.

        Returns
        -------
        Mixture
            Of D C columns, area by area.
        """
        return combination_mixture(self.areas, self.nodes.covariances, self.nodes.weights, contrasts)

    def joint(self) -> JointMixture:
        """Return the joint posterior of all D R rows, area by area; of many rows over fewer nodes."""
        y, X, _, seen = self.areas.arrays
        which, weights = np.arange(len(self.nodes.phi)), self.nodes.weights
        count = max(_FEWEST, _JOINT // (y.size * (y.shape[1] + X.shape[2])))
        if count < len(which):
            places = (np.arange(count) + 0.5) / count * (1.0 - 1e-12)
            which, times = np.unique(np.searchsorted(np.cumsum(weights), places), return_counts=True)
            weights = times / count
        beta, root = coefficients_at(self.nodes.covariances[which], self.areas.centred.arrays)
        V = self.nodes.covariances[which, None]
        gain = V @ self.areas.inverse(self.nodes.covariances[which])
        fitted = np.moveaxis(X @ (beta + self.areas.fitted).T, -1, 0)
        means = fitted + np.einsum("kdrs,kds->kdr", gain, np.where(seen, y - fitted, 0.0))
        loose = (X - gain @ X) @ root[:, None]
        K, size = len(which), y.size
        return JointMixture(
            weights,
            means.reshape(K, size),
            self._root(V - gain @ V).reshape(K, size, -1),
            loose.reshape(K, size, -1),
        )

    def _root(self, inside: np.ndarray) -> np.ndarray:
        """Return roots of covariances of an area's components, shape (..., R, R)."""
        values, vectors = np.linalg.eigh(inside)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])


def place_covariances(
    areas: BlockAreas,
    build: Callable[[np.ndarray], np.ndarray],
    log_prior: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    *,
    nodes: int = NODES,
) -> CovarianceNodes:
    """Find nodes that carry the posterior of the hyperparameters φ.

    Parameters
    ----------
    areas : BlockAreas
    build : callable
        φ, shape (K, q), to covariances of the effects, shape (K, R, R).
    log_prior : callable
        φ to the log prior density of φ, shape (K,).
    starts : ndarray, shape (k, q)
        Where the climb to the mode may begin.
    nodes : int
        A power of two.
    """
    arrays = areas.centred.arrays

    def density(phi: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            value = marginal_blocks(build(phi), arrays) + log_prior(phi)
        return np.where(np.isfinite(value), value, -np.inf)

    centre, root = find_mode(density, starts)
    for round_ in range(_ROUNDS):
        phi, log_proposal = _proposals(centre, root, nodes if round_ == _ROUNDS - 1 else nodes // 4)
        raw = density(phi) - log_proposal
        log_weights, k_hat = psis(raw)
        weights = np.exp(log_weights)
        if round_ < _ROUNDS - 1:
            centre = weights @ phi
            apart = phi - centre
            spread = (weights[:, None] * apart).T @ apart + 1e-10 * np.eye(len(centre))
            root = _WIDEN * np.linalg.cholesky(spread)
    heavy = weights > _LIGHT
    kept = log_weights[heavy]
    return CovarianceNodes(
        phi[heavy], build(phi[heavy]), kept - logsumexp(kept), k_hat, effective_draws(kept)
    )


def condition_blocks(areas: BlockAreas, covariances: np.ndarray) -> Conditionals:
    """Return the posterior of coefficients and areas given each covariance, shape (K, R, R)."""
    (D, R, p), K = areas.X.shape, len(covariances)
    conditionals = Conditionals(
        np.empty((K, p)),
        np.empty((K, p, p)),
        np.empty((K, D, R)),
        np.empty((K, D, R)),
        np.empty((K, D, R)),
    )
    centred = areas.centred
    for part in parts_near(K, D * R, p):
        at = coefficients_at(covariances[part], centred.arrays)
        means, variances = moments_at(centred, covariances[part], at, np.broadcast_to(np.eye(R), (D, R, R)))
        conditionals.beta[part], conditionals.root[part] = at
        conditionals.means[part] = means.T.reshape(-1, D, R)
        conditionals.sds[part] = np.sqrt(np.maximum(variances, 1e-300)).T.reshape(-1, D, R)
        conditionals.left_out[part] = left_out_at(centred, covariances[part], at).T
    conditionals.beta[:] += areas.fitted
    conditionals.means[:] += areas.X @ areas.fitted
    return conditionals


def marginal_blocks(covariances: np.ndarray, areas: BlockArrays) -> np.ndarray:
    """Return the log density of the data given each covariance, β integrated out, shape (K,).

    A covariance that is not positive definite gives NaN.
    """
    return marginals_at(covariances, areas)


def _proposals(centre: np.ndarray, root: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes of a multivariate t and its log density, up to a constant."""
    q = len(centre)
    z = _student_points(q, nodes)
    return centre + z @ root.T, -0.5 * (_DF + q) * np.log1p((z * z).sum(axis=1) / _DF)


@lru_cache(maxsize=8)
def _student_points(q: int, nodes: int) -> np.ndarray:
    """Even points of a standard t in q dimensions."""
    from scipy.stats import qmc

    uniforms = qmc.Sobol(q + 1, scramble=False).random(nodes) + 0.5 / nodes
    return np.asarray(ndtri(uniforms[:, :q]) * np.sqrt(_DF / chdtri(_DF, uniforms[:, q]))[:, None])
