"""Posterior of a multivariate Fay-Herriot model on weighted nodes, without a Markov chain or a seed.

Given the covariance of the effects, the true values of the areas are normal; so the posterior is a mixture
of normals over the few parameters of that covariance, here by importance sampling on a Sobol sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri, ndtri

from sae.numerics.fay_herriot.mixture import Mixture
from sae.numerics.multivariate.covariances import STRUCTURES
from sae.numerics.multivariate.fit import BlockData, BlockFit, root_of, solve_gls

__all__ = ["BlockPosterior", "block_posterior"]

_NODES = 512
_DF = 5.0  # tails of the proposal: heavier than those of the posterior with a few areas more than needed
_ROUNDS = 3  # the proposal moves to the moments of the round before
_WIDEN = 1.3


@dataclass(frozen=True, eq=False)
class BlockPosterior:
    """Weighted values of the covariance of the effects.

    Attributes
    ----------
    covariances : ndarray, shape (K, R, R)
    weights : ndarray, shape (K,)
        They sum to 1.
    y, X, psi : ndarray
        The data, as in `fit_blocks`.
    """

    covariances: np.ndarray
    weights: np.ndarray
    y: np.ndarray
    X: np.ndarray
    psi: np.ndarray

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
        data = BlockData.of(self.y, self.X, self.psi)
        means, sds = [], []
        for covariance in self.covariances:
            gls = solve_gls(data, covariance, True)
            weights = covariance @ (gls.inverse * data.both)
            centre = self.X @ gls.beta + gls.solved @ covariance
            loose = contrasts @ (self.X - weights @ data.X)
            inside = contrasts @ (covariance - weights @ covariance) @ np.swapaxes(contrasts, 1, 2)
            variance = np.einsum("dcc->dc", inside)
            variance = variance + np.einsum("dcp,pq,dcq->dc", loose, gls.beta_cov, loose, optimize=True)
            means.append(np.einsum("dcr,dr->dc", contrasts, centre).ravel())
            sds.append(np.sqrt(np.maximum(variance, 1e-300)).ravel())
        return Mixture(self.weights, np.array(means), np.array(sds))


def block_posterior(fit: BlockFit, y: np.ndarray, X: np.ndarray, psi: np.ndarray) -> BlockPosterior:
    """Integrate the covariance of the effects, its parameters having a flat prior.

    For the unstructured model the prior is flat on the elements of the covariance. The posterior is proper
    where every component has more than p + 2 R areas (p + 2 for independent effects), p its coefficients.

    References
    ----------
    Datta, Ghosh, Nangia and Natarajan (1996), in Bayesian Analysis in Statistics and Econometrics, 129-140.
    """
    data, size = BlockData.of(y, X, psi), y.shape[1]
    level = np.array([np.median(psi[data.seen[:, r], r, r]) for r in range(size)])
    build, centre, spread = _parameters(fit, level)

    def log_density(theta: np.ndarray) -> float:
        covariance = build(theta)
        return -np.inf if covariance is None else solve_gls(data, covariance, True).value

    for _ in range(_ROUNDS):
        thetas, log_proposal = _proposals(centre, spread)
        log_weights = np.array([log_density(theta) for theta in thetas]) - log_proposal
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        centre = weights @ thetas
        apart = thetas - centre
        spread = _WIDEN**2 * (weights[:, None] * apart).T @ apart
    used = weights > 1e-12
    covariances = np.array([build(theta) for theta in thetas[used]])
    return BlockPosterior(covariances, weights[used] / weights[used].sum(), y, X, psi)


def _parameters(
    fit: BlockFit, level: np.ndarray
) -> tuple[Callable[[np.ndarray], np.ndarray | None], np.ndarray, np.ndarray]:
    """Return parameters with a flat prior: how they make a covariance, centre and spread."""
    size = len(level)
    if fit.structure == "unstructured":
        rows, cols = np.tril_indices(size)

        def build(theta: np.ndarray) -> np.ndarray | None:
            covariance = np.zeros((size, size))
            covariance[rows, cols] = covariance[cols, rows] = theta
            diagonal = np.diag(covariance)
            if (diagonal <= 0).any():
                return None
            width = np.sqrt(diagonal)
            return covariance if np.linalg.eigvalsh(covariance / np.outer(width, width))[0] > 0 else None

        slopes = STRUCTURES["unstructured"](fit.theta, size)[1][:, rows, cols]
        spread = slopes.T @ fit.theta_cov @ slopes
        # a boundary estimate has no slope in some directions: the scale of the data spreads each a little
        scale = 0.3 * np.sqrt(np.diag(fit.covariance) + 0.1 * level)
        floor = (scale[rows] * scale[cols]) ** 2
        return build, fit.covariance[rows, cols], spread + np.diag(floor)

    variances = {"diagonal": size, "common": 1, "ar1": 1, "har1": size}[fit.structure]

    def build_structure(theta: np.ndarray) -> np.ndarray | None:
        if (theta[:variances] < 0).any() or (fit.structure == "ar1" and abs(theta[-1]) > 0.999):
            return None
        return STRUCTURES[fit.structure](theta, size)[0]

    return build_structure, fit.theta, fit.theta_cov


def _proposals(centre: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes of a multivariate t distribution and its log density, up to a constant."""
    from scipy.stats import qmc

    q = len(centre)
    uniforms = qmc.Sobol(q + 1, scramble=False).random(_NODES) + 0.5 / _NODES
    z = ndtri(uniforms[:, :q]) * np.sqrt(_DF / chdtri(_DF, uniforms[:, q]))[:, None]
    log_density = -0.5 * (_DF + q) * np.log1p((z * z).sum(axis=1) / _DF)
    return centre + z @ root_of(spread).T, log_density
