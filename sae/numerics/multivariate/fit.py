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
from sae.numerics.multivariate.covariances import STRUCTURES, Structure, bend, bounds, in_units, starts, units

__all__ = ["BlockFit", "BlockMse", "fit_blocks", "mse_blocks", "root_of", "solve_gls"]

_STEPS = 200
_GAIN = 1e-18  # expected gain in log-likelihood, squared steps in standard errors, that ends the climb
_NO_INFORMATION = 1e-306  # about a parameter at a bound; its inverse would not be finite
_ROUGH_GAIN = 1e-8  # for replicates: a ten-thousandth of a standard error


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


@dataclass(frozen=True, eq=False)
class Gls:
    """Generalised least squares at one covariance of the effects.

    ``value`` is the restricted log-likelihood or, for ML, ``loglik``; both are -inf where a block is not
    positive definite. ``inverse`` is B^-1, with 0 where a figure is missing; ``solved`` B^-1 (y - X beta),
    shape (D, R); ``pulled`` X'B^-1, shape (D, p, R).
    """

    value: float
    loglik: float
    beta: np.ndarray
    beta_cov: np.ndarray
    inverse: np.ndarray
    pulled: np.ndarray
    solved: np.ndarray


def solve_gls(areas: BlockAreas, covariance: np.ndarray, reml: bool) -> Gls:
    """Return coefficients and likelihood at the covariance of the effects, shape (R, R)."""
    y, X, psi, seen = areas.arrays
    inverse = np.linalg.inv(np.where(areas.both, psi + covariance, np.eye(len(covariance))))
    sign, logdets = np.linalg.slogdet(inverse)
    if not (sign > 0).all():
        return Gls(-np.inf, -np.inf, *([np.empty(0)] * 5))
    inverse *= areas.both
    pulled = np.swapaxes(X, 1, 2) @ inverse
    p = X.shape[2]
    flat = np.swapaxes(pulled, 0, 1).reshape(p, -1)
    beta_cov = np.linalg.inv(flat @ X.reshape(-1, p))
    beta = beta_cov @ (flat @ y.ravel())
    residual = np.where(seen, y - X @ beta, 0.0)
    solved = np.einsum("drs,ds->dr", inverse, residual)
    loglik = -0.5 * (seen.sum() * np.log(2 * np.pi) - logdets.sum() + (residual * solved).sum())
    value = loglik
    if reml:
        value += 0.5 * (np.linalg.slogdet(beta_cov)[1] + len(beta) * np.log(2 * np.pi))
    return Gls(float(value), float(loglik), beta, beta_cov, inverse, pulled, solved)


@dataclass(frozen=True, eq=False)
class _Point:
    gls: Gls
    score: np.ndarray
    information: np.ndarray
    gradient: np.ndarray  # of the criterion by the covariance of the effects, (R, R)

    @property
    def value(self) -> float:
        return self.gls.value


def _evaluate(areas: BlockAreas, structure: Structure, theta: np.ndarray, reml: bool) -> _Point:
    covariance, slopes = structure(theta, areas.y.shape[1])
    gls = solve_gls(areas, covariance, reml)
    if not np.isfinite(gls.value):
        return _Point(gls, *([np.empty(0)] * 3))
    masked = slopes[:, None] * areas.both  # (q, D, R, R)
    q, p, reverse = len(theta), len(gls.beta), np.swapaxes
    turned = gls.inverse @ masked  # B^-1 V_a
    gradient = gls.solved.T @ gls.solved - gls.inverse.sum(axis=0)
    information = 0.5 * turned.reshape(q, -1) @ reverse(turned, 2, 3).reshape(q, -1).T
    if reml:
        pulled = gls.pulled @ masked  # X'B^-1 V_a, (q, D, p, R)
        flat = reverse(gls.pulled, 0, 1).reshape(p, -1)
        once = reverse(pulled, 1, 2).reshape(q, p, -1) @ flat.T
        shrunk = gls.beta_cov @ gls.pulled
        gradient += reverse(gls.pulled, 0, 1).reshape(-1, gls.pulled.shape[2]).T @ (
            reverse(shrunk, 0, 1).reshape(-1, gls.pulled.shape[2])
        )
        small = gls.beta_cov @ once
        twice = gls.beta_cov @ pulled @ gls.inverse
        information -= twice.reshape(q, -1) @ pulled.reshape(q, -1).T
        information += 0.5 * small.reshape(q, -1) @ reverse(small, 1, 2).reshape(q, -1).T
    gradient *= 0.5
    return _Point(gls, np.einsum("rs,ars->a", gradient, slopes), information, gradient)


def _ascend(
    areas: BlockAreas, name: str, start: np.ndarray, reml: bool, gain: float = _GAIN
) -> tuple[np.ndarray, _Point]:
    """Fisher scoring with halved steps; a parameter at a bound that wants to leave the range stays there."""
    structure = STRUCTURES[name]
    low, high = bounds(name, areas.y.shape[1])
    theta = np.clip(start, low, high)
    point = _evaluate(areas, structure, theta, reml)
    for _ in range(_STEPS):
        held = ((theta <= low) & (point.score <= 0)) | ((theta >= high) & (point.score >= 0))
        free = np.flatnonzero(~held)
        if len(free) == 0:
            break
        step = np.zeros_like(theta)
        bowl = (point.information + bend(name, point.gradient))[np.ix_(free, free)]
        step[free] = np.linalg.lstsq(bowl, point.score[free], rcond=1e-12)[0]
        if step @ point.score < gain:
            break
        length, moved = 1.0, False
        while length > 1e-10:
            tried = np.clip(theta + length * step, low, high)
            ahead = _evaluate(areas, structure, tried, reml)
            if ahead.value >= point.value - 1e-12 * max(1.0, abs(point.value)):
                moved = True
                break
            length *= 0.5
        if not moved:
            break
        change = np.abs(tried - theta) / np.maximum(np.abs(theta), 1e-8 * np.abs(theta).max() + 1e-300)
        theta, point = tried, ahead
        if change.max() < 1e-12:
            break
    return theta, point


def fit_blocks(
    y: np.ndarray,
    X: np.ndarray,
    psi: np.ndarray,
    structure: str = "diagonal",
    *,
    method: str = "reml",
    start: np.ndarray | None = None,
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
    start : ndarray, shape (q,), optional
        The only starting value, in place of several around the sampling variances, for replicates: they end
        within a ten-thousandth of a standard error.

    Raises
    ------
    SaeConvergenceError
        If no starting value leads to a maximum.
    """
    areas, size = BlockAreas(y, X, psi), y.shape[1]
    fitted, areas = areas.fitted, areas.centred
    level = np.array([np.median(psi[areas.seen[:, r], r, r]) for r in range(size)])
    unit = units(structure, level)
    width = np.sqrt((np.where(areas.seen[..., None], X, 0.0) ** 2).sum(axis=(0, 1)))
    scaled = BlockAreas(areas.y / unit, X / unit[:, None] / width, psi / (unit[:, None] * unit))
    reml = method == "reml"
    begins, gain = starts(structure, size, level / unit**2), _GAIN
    if start is not None:
        begins, gain = [in_units(structure, start, 1.0 / unit)], _ROUGH_GAIN
    runs = [_ascend(scaled, structure, first, reml, gain) for first in begins]
    theta, point = max(runs, key=lambda run: run[1].value)
    if not np.isfinite(point.value):
        raise SaeConvergenceError("The multivariate Fay–Herriot likelihood could not be evaluated.")
    theta = in_units(structure, theta, unit)
    point = _evaluate(areas, STRUCTURES[structure], theta, reml)
    covariance = STRUCTURES[structure](theta, size)[0]
    effect = point.gls.solved @ covariance
    return BlockFit(
        theta,
        covariance,
        point.information,
        point.gls.beta + fitted,
        point.gls.beta_cov,
        effect,
        X @ fitted + (X @ point.gls.beta + effect),
        point.gls.loglik,
        point.score,
        method,
        structure,
    )


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
