"""Multivariate Fay-Herriot models: R direct estimates per area with known sampling covariances.

    y_d = X_d beta + u_d + e_d,   u_d ~ N(0, V_u(theta)),   e_d ~ N(0, Psi_d),   d = 1 .. D

Areas are independent, so that everything is sums over R x R blocks; nothing of order D R x D R appears.

References
----------
Benavent and Morales (2016), CSDA 94, 372-390: the models, REML and MSE;
Rao and Molina (2015), Small Area Estimation, 2nd ed., section 4.4.1 and 8.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.errors import SaeConvergenceError
from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.climb import Designs, ascend, evaluate
from sae.numerics.multivariate.covariances import STRUCTURES, in_units, starts, units

__all__ = ["BlockFit", "BlockMse", "fit_blocks", "in_own_units", "mse_blocks", "root_of"]

_GAIN = 1e-18  # expected gain in log-likelihood, squared steps in standard errors, that ends the climb
_NO_INFORMATION = 1e-306  # about a parameter at a bound; its inverse would not be finite


@dataclass(frozen=True, eq=False)
class BlockFit:
    """Estimates of a multivariate Fay-Herriot model.

    Attributes
    ----------
    theta : ndarray, shape (q,)
        Parameters of the structure.
    covariance : ndarray, shape (R, R)
        V_u at the estimates.
    information : ndarray, shape (q, q)
        Expected (restricted) Fisher information of theta.
    beta : ndarray, shape (p,)
    beta_cov : ndarray, shape (p, p)
    effect, eblup : ndarray, shape (D, R)
        For all areas and components, sampled or not.
    loglik : float
        Full log-likelihood at the estimates, also for REML.
    score : ndarray, shape (q,)
        Slope of the maximised criterion: 0 inside, not positive where a variance is 0.
    method, structure : str
    """

    theta: np.ndarray
    covariance: np.ndarray
    information: np.ndarray
    beta: np.ndarray
    beta_cov: np.ndarray
    effect: np.ndarray
    eblup: np.ndarray
    loglik: float
    score: np.ndarray
    method: str
    structure: str

    @property
    def theta_cov(self) -> np.ndarray:
        """Asymptotic covariance of theta, whatever the units of its parts; 0 where nothing is known."""
        own = np.diag(self.information)
        width = np.sqrt(np.where(own > _NO_INFORMATION, np.maximum(own, 1e-300), np.inf))
        units = np.outer(width, width)
        return np.linalg.pinv(self.information / units, rcond=1e-12, hermitian=True) / units


def fit_blocks(
    y: np.ndarray,
    X: np.ndarray,
    psi: np.ndarray,
    structure: str = "diagonal",
    *,
    method: str = "reml",
) -> BlockFit:
    """Fit a multivariate Fay-Herriot model by (restricted) maximum likelihood.

    Parameters
    ----------
    y : ndarray, shape (D, R)
        Direct estimates, NaN where there is none.
    X : ndarray, shape (D, R, p)
        Designs of all areas; row r of an area is the design of its component r.
    psi : ndarray, shape (D, R, R)
        Sampling covariances, positive definite on the components that are present.
    structure : {"diagonal", "common", "ar1", "har1", "unstructured"}
        Covariance of the effects of an area.
    method : {"reml", "ml"}

    Raises
    ------
    SaeConvergenceError
        If no starting value leads to a maximum.
    """
    areas, size, reml = BlockAreas(y, X, psi), y.shape[1], method == "reml"
    unit, scaled = in_own_units(areas.centred, structure)
    begins = np.array(starts(structure, size, _levels(scaled)))
    outcome = scaled.arrays.y.T[:, :, None]
    theta, point = ascend(Designs(scaled), outcome, structure, begins, reml, _GAIN)
    best = int(np.argmax(point.value))
    if not np.isfinite(point.value[best]):
        raise SaeConvergenceError("The multivariate Fay–Herriot likelihood could not be evaluated.")
    own = in_units(structure, theta[best], unit)
    outcome = areas.centred.arrays.y.T[:, :, None]
    at = evaluate(Designs(areas), outcome, structure, own[None], reml)
    effect, fitted = at.effect[..., 0].T, areas.fitted
    return BlockFit(
        own,
        STRUCTURES[structure](own, size)[0],
        at.information[0],
        at.beta[0] + fitted,
        at.beta_cov[0],
        effect,
        X @ fitted + (X @ at.beta[0] + effect),
        float(at.loglik[0]),
        at.score[0],
        method,
        structure,
    )


def in_own_units(areas: BlockAreas, structure: str) -> tuple[np.ndarray, BlockAreas]:
    """Return the units of a climb, shape (R,), and the areas in them, with columns of length 1."""
    unit = units(structure, _levels(areas))
    width = np.sqrt((np.where(areas.seen[..., None], areas.X, 0.0) ** 2).sum(axis=(0, 1)))
    X, psi = areas.X / unit[:, None] / width, areas.psi / (unit[:, None] * unit)
    return unit, BlockAreas(areas.y / unit, X, psi)


def _levels(areas: BlockAreas) -> np.ndarray:
    """Typical sampling variance of each component, shape (R,)."""
    return np.array([np.median(areas.psi[on, r, r]) for r, on in enumerate(areas.seen.T)])


def root_of(matrices: np.ndarray) -> np.ndarray:
    """Return G with M = G G' of positive semi-definite matrices M, shape (..., R, R).

    G is the symmetric root of the correlations times the standard deviations, so that the order of the
    components does not matter, as it would in a Cholesky factor.
    """
    diagonal = np.diagonal(matrices, axis1=-2, axis2=-1)
    size = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    values, vectors = np.linalg.eigh(matrices / (size[..., :, None] * size[..., None, :]))
    half = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return size[..., :, None] * (half @ np.swapaxes(vectors, -1, -2))


@dataclass(frozen=True, eq=False)
class BlockMse:
    """MSE matrices of the EBLUPs, each of shape (D, R, R): g1, g2, g3, the ML bias, and their sum.

    ``weights`` are the best linear weights of the direct estimates, shape (D, R, R); ``shared``, shape
    (D, R, p), is what the areas share through the coefficients: g2 = shared shared'.
    """

    weights: np.ndarray
    shared: np.ndarray
    g1: np.ndarray
    g2: np.ndarray
    g3: np.ndarray
    bias: np.ndarray
    mse: np.ndarray


def mse_blocks(fit: BlockFit, y: np.ndarray, X: np.ndarray, psi: np.ndarray) -> BlockMse:
    """Second-order MSE matrices G1 + G2 + 2 G3 of every area, less the bias of the ML estimates.

    References
    ----------
    Benavent and Morales (2016), section 4; Prasad and Rao (1990).
    """
    areas, size = BlockAreas(y, X, psi), y.shape[1]
    seen = areas.seen
    covariance, slopes = STRUCTURES[fit.structure](fit.theta, size)
    blocks = np.where(areas.both, psi + covariance, 0.0)
    inverse = areas.inverse(covariance)
    weights = covariance @ inverse  # best linear weights, (D, R, R)
    rest = np.eye(size) - weights * seen[:, None, :]
    g1 = covariance - weights @ covariance
    loose = X - weights @ np.where(seen[..., None], X, 0.0)
    shared = loose @ root_of(fit.beta_cov)
    g2 = shared @ np.swapaxes(shared, 1, 2)
    cov = fit.theta_cov
    bends = np.stack([(slope - weights @ slope) @ inverse for slope in slopes])
    g3 = np.einsum("ab,adrs,dst,bdut->dru", cov, bends, blocks, bends, optimize=True)
    bias = np.zeros_like(g1)
    if fit.method == "ml":
        X_seen = np.where(seen[..., None], X, 0.0)
        XtB = np.swapaxes(X_seen, 1, 2) @ inverse
        once = np.einsum("dpr,ars,dqs->apq", XtB, slopes, XtB, optimize=True)
        drift = -0.5 * cov @ np.einsum("pq,aqp->a", fit.beta_cov, once)
        turn = np.einsum("drs,ast,dut->adru", rest, slopes, rest, optimize=True)
        bias = np.einsum("a,adru->dru", drift, turn)
    return BlockMse(weights, shared, g1, g2, g3, bias, g1 + g2 + 2 * g3 - bias)
