"""Multivariate Fay-Herriot models: R direct estimates per area with known sampling covariances.

    y_d = X_d beta + u_d + e_d,   u_d ~ N(0, V_u(theta)),   e_d ~ N(0, Psi_d),   d = 1 .. D

Areas are independent, so that everything is sums over R x R blocks; nothing of order D R x D R appears.

References
----------
Benavent and Morales (2016), CSDA 94, 372-390: the models, REML and MSE;
Rao and Molina (2015), Small Area Estimation, 2nd ed., section 4.4.1 and 8.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sae.errors import SaeConvergenceError

__all__ = ["STRUCTURES", "BlockFit", "BlockMse", "fit_blocks", "mse_blocks"]

Structure = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
_STEPS = 200


def diagonal(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent effects, one variance each: theta = (s_1 .. s_R)."""
    slopes = np.zeros((size, size, size))
    slopes[np.arange(size), np.arange(size), np.arange(size)] = 1.0
    return np.diag(theta), slopes


def common(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent effects of one variance: theta = (s,)."""
    return theta[0] * np.eye(size), np.eye(size)[None]


def ar1(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Stationary AR(1) along the components: theta = (s, rho), V_ij = s rho^|i-j| / (1 - rho^2)."""
    s, rho = theta
    lag = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    power = rho**lag
    bend = lag * rho ** np.maximum(lag - 1, 0) / (1 - rho**2) + 2 * rho * power / (1 - rho**2) ** 2
    return s * power / (1 - rho**2), np.stack([power / (1 - rho**2), s * bend])


def heteroscedastic_ar1(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """AR(1) along the components with a variance each: theta = (s_1 .. s_R, rho); u_0 has variance 1.

    u_r = rho u_{r-1} + a_r with Var a_r = s_r, so V_rr = rho^{2r} + sum_{i <= r} rho^{2(r-i)} s_i and
    V_rs = rho^{s-r} V_rr for r < s (Benavent and Morales 2016, model 3).
    """
    innovations, rho = np.concatenate([[1.0], theta[:-1]]), theta[-1]
    index = np.arange(size + 1)
    gap = index[:, None] - index[None, :]
    lower = np.where(gap >= 0, rho ** np.maximum(gap, 0), 0.0)
    bend = np.where(gap >= 1, gap * rho ** np.maximum(gap - 1, 0), 0.0)
    covariance = (lower * innovations) @ lower.T
    slopes = [np.outer(lower[1:, i], lower[1:, i]) for i in range(1, size + 1)]
    turn = (bend * innovations) @ lower.T
    slopes.append((turn + turn.T)[1:, 1:])
    return covariance[1:, 1:], np.stack(slopes)


def unstructured(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Any covariance: theta = lower triangle of its Cholesky factor by rows."""
    rows, cols = np.tril_indices(size)
    root = np.zeros((size, size))
    root[rows, cols] = theta
    slopes = np.zeros((len(theta), size, size))
    for k, (i, j) in enumerate(zip(rows, cols, strict=True)):
        slopes[k, i] += root[:, j]
        slopes[k, :, i] += root[:, j]
    return root @ root.T, slopes


STRUCTURES: dict[str, Structure] = {
    "diagonal": diagonal,
    "common": common,
    "ar1": ar1,
    "har1": heteroscedastic_ar1,
    "unstructured": unstructured,
}


def _starts(name: str, size: int, level: np.ndarray) -> list[np.ndarray]:
    """Return starting values around the variances `level`, shape (size,)."""
    if name == "diagonal":
        return [level * factor for factor in (0.1, 1.0, 5.0)]
    if name == "common":
        return [np.array([level.mean() * factor]) for factor in (0.1, 1.0, 5.0)]
    if name == "ar1":
        return [np.array([level.mean(), rho]) for rho in (-0.5, 0.0, 0.5)]
    if name == "har1":
        return [np.append(level, rho) for rho in (-0.5, 0.0, 0.5)]
    rows, cols = np.tril_indices(size)
    return [np.where(rows == cols, np.sqrt(level[rows] * factor), 0.0) for factor in (0.2, 1.0)]


def _bounds(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    n_theta = {
        "diagonal": size,
        "common": 1,
        "ar1": 2,
        "har1": size + 1,
        "unstructured": size * (size + 1) // 2,
    }
    low, high = np.full(n_theta[name], -np.inf), np.full(n_theta[name], np.inf)
    variances = {"diagonal": size, "common": 1, "ar1": 1, "har1": size, "unstructured": 0}[name]
    low[:variances] = 0.0
    if name == "ar1":
        low[-1], high[-1] = -0.999, 0.999
    return low, high


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


@dataclass(frozen=True, eq=False)
class _Data:
    y: np.ndarray
    X: np.ndarray
    psi: np.ndarray
    seen: np.ndarray

    @property
    def both(self) -> np.ndarray:
        return self.seen[:, :, None] & self.seen[:, None, :]


@dataclass(frozen=True, eq=False)
class _Point:
    value: float
    loglik: float
    score: np.ndarray
    information: np.ndarray
    beta: np.ndarray
    beta_cov: np.ndarray
    solved: np.ndarray  # B^-1 (y - X beta), (D, R)
    inverse: np.ndarray


def _evaluate(data: _Data, structure: Structure, theta: np.ndarray, reml: bool) -> _Point:
    size = data.y.shape[1]
    covariance, slopes = structure(theta, size)
    inverse = np.linalg.inv(data.psi + covariance * data.both)
    sign, logdets = np.linalg.slogdet(inverse)
    if not (sign > 0).all():
        return _Point(-np.inf, -np.inf, *([np.empty(0)] * 6))
    XtB = np.swapaxes(data.X, 1, 2) @ inverse  # (D, p, R)
    beta_cov = np.linalg.inv(np.einsum("dpr,drq->pq", XtB, data.X))
    beta = beta_cov @ np.einsum("dpr,dr->p", XtB, data.y)
    residual = np.where(data.seen, data.y - data.X @ beta, 0.0)
    solved = np.einsum("drs,ds->dr", inverse, residual)
    loglik = -0.5 * (data.seen.sum() * np.log(2 * np.pi) - logdets.sum() + (residual * solved).sum())
    value = loglik
    masked = slopes[:, None] * data.both  # (q, D, R, R)
    turned = inverse @ masked  # B^-1 V_a
    score = 0.5 * np.einsum("dr,adrs,ds->a", solved, masked, solved, optimize=True)
    score -= 0.5 * np.einsum("adrr->a", turned)
    information = 0.5 * np.einsum("adrs,bdsr->ab", turned, turned, optimize=True)
    if reml:
        value += 0.5 * (np.linalg.slogdet(beta_cov)[1] + len(beta) * np.log(2 * np.pi))
        once = np.einsum("dpr,adrs,dqs->apq", XtB, masked, XtB, optimize=True)
        score += 0.5 * np.einsum("pq,aqp->a", beta_cov, once)
        pulled = XtB @ masked  # X'B^-1 V_a
        twice = np.einsum("adpr,bdqr->abpq", pulled @ inverse, pulled, optimize=True)
        information -= np.einsum("pq,abqp->ab", beta_cov, twice)
        small = beta_cov @ once
        information += 0.5 * np.einsum("apq,bqp->ab", small, small)
    return _Point(float(value), float(loglik), score, information, beta, beta_cov, solved, inverse)


def _ascend(data: _Data, name: str, start: np.ndarray, reml: bool) -> tuple[np.ndarray, _Point]:
    """Fisher scoring with halved steps; a parameter at a bound that wants to leave the range stays there."""
    structure = STRUCTURES[name]
    low, high = _bounds(name, data.y.shape[1])
    theta = np.clip(start, low, high)
    point = _evaluate(data, structure, theta, reml)
    for _ in range(_STEPS):
        held = ((theta <= low) & (point.score <= 0)) | ((theta >= high) & (point.score >= 0))
        free = np.flatnonzero(~held)
        if len(free) == 0:
            break
        step = np.zeros_like(theta)
        step[free] = np.linalg.lstsq(point.information[np.ix_(free, free)], point.score[free], rcond=1e-12)[0]
        length, moved = 1.0, False
        while length > 1e-10:
            tried = np.clip(theta + length * step, low, high)
            ahead = _evaluate(data, structure, tried, reml)
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
    y: np.ndarray, X: np.ndarray, psi: np.ndarray, structure: str = "diagonal", *, method: str = "reml"
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
    seen = np.isfinite(y)
    both = seen[:, :, None] & seen[:, None, :]
    size = y.shape[1]
    data = _Data(
        np.where(seen, y, 0.0), np.where(seen[..., None], X, 0.0), np.where(both, psi, np.eye(size)), seen
    )
    level = np.array([np.median(psi[seen[:, r], r, r]) for r in range(size)])
    reml = method == "reml"
    runs = [_ascend(data, structure, start, reml) for start in _starts(structure, size, level)]
    theta, point = max(runs, key=lambda run: run[1].value)
    if not np.isfinite(point.value):
        raise SaeConvergenceError("The multivariate Fay–Herriot likelihood could not be evaluated.")
    covariance = STRUCTURES[structure](theta, size)[0]
    effect = point.solved @ covariance
    return BlockFit(
        theta, covariance, point.information, point.beta, point.beta_cov, effect, X @ point.beta + effect,
        point.loglik, point.score, method, structure,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class BlockMse:
    """MSE matrices of the EBLUPs, each of shape (D, R, R): g1, g2, g3, the ML bias, and their sum."""

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
    seen = np.isfinite(y)
    both = seen[:, :, None] & seen[:, None, :]
    size = y.shape[1]
    covariance, slopes = STRUCTURES[fit.structure](fit.theta, size)
    blocks = np.where(both, psi + covariance, np.eye(size))
    inverse = np.linalg.inv(blocks) * both
    weights = covariance @ inverse  # best linear weights, (D, R, R)
    rest = np.eye(size) - weights * seen[:, None, :]
    g1 = covariance - weights @ covariance
    loose = X - weights @ np.where(seen[..., None], X, 0.0)
    g2 = loose @ fit.beta_cov @ np.swapaxes(loose, 1, 2)
    cov = np.linalg.pinv(fit.information)
    bends = np.stack([(slope - weights @ slope) @ inverse for slope in slopes])
    g3 = np.einsum("ab,adrs,dst,bdut->dru", cov, bends, blocks * both, bends, optimize=True)
    bias = np.zeros_like(g1)
    if fit.method == "ml":
        X_seen = np.where(seen[..., None], X, 0.0)
        XtB = np.swapaxes(X_seen, 1, 2) @ inverse
        once = np.einsum("dpr,ars,dqs->apq", XtB, slopes, XtB, optimize=True)
        drift = -0.5 * cov @ np.einsum("pq,aqp->a", fit.beta_cov, once)
        turn = np.einsum("drs,ast,dut->adru", rest, slopes, rest, optimize=True)
        bias = np.einsum("a,adru->dru", drift, turn)
    return BlockMse(g1, g2, g3, bias, g1 + g2 + 2 * g3 - bias)
