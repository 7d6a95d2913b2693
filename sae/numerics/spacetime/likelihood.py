"""Likelihood of Fay-Herriot models with spatial and area-by-time effects, by sparse and block algebra.

    y_dt = x_dt'beta + u_d + v_dt + e_dt
    u ~ N(0, s1 Omega(r1)^-1), Omega(r) = (I - r W)'(I - r W)
    v_d ~ N(0, s2 R(r2)), R an AR(1) correlation over 1 - r2^2;   e_d ~ N(0, Psi_d)

With B_d = s2 R(r2) + Psi_d (T x T), Z the incidence of the areas, S = diag(1'B_d^-1 1) and K = Omega + s1 S,

    log det V = sum log det B_d + log det K - log det Omega,    V^-1 = B^-1 - s1 B^-1 Z K^-1 Z'B^-1,

so a likelihood costs two sparse factorisations and D small ones, is exact where a variance is 0, and areas
and periods without a sample are predicted by the same solve. T = 1 with s2 = 0 is the spatial Fay-Herriot
model; W = 0 is Rao and Yu's.

References
----------
Marhuenda, Molina and Morales (2013), CSDA 58, 308-325; Rao and Yu (1994), Canadian J. Stat. 22, 511-528;
Petrucci and Salvati (2006), J. Agric. Biol. Environ. Stat. 11, 169-182.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from sae.numerics.compile import compiled
from sae.numerics.linalg.cholesky import Factor, Pattern, analyse, factorise
from sae.numerics.linalg.contrasts import SPREAD

__all__ = [
    "PARAMETERS",
    "Pieces",
    "SpaceTimeProblem",
    "ar1",
    "gram_slopes",
    "least_squares",
    "loglik",
    "pieces",
    "profile",
    "profile_at",
    "slopes_at",
    "solve_rows",
    "spacetime_problem",
]

PARAMETERS = ("sigma2_u", "rho_u", "sigma2_v", "rho_v")  # s1, r1, s2, r2
_S1, _R1, _S2, _R2 = range(4)


@dataclass(frozen=True, eq=False)
class SpaceTimeProblem:
    """Data of one model with the sparse pieces all evaluations share; D areas, T periods, p coefficients.

    Attributes
    ----------
    X : ndarray, shape (D, T, p)
        Covariates of all areas and periods.
    Z : ndarray, shape (D, T, p + 1)
        X and y, 0 where there is no direct estimate.
    seen : ndarray of bool, shape (D, T)
    psi : ndarray, shape (D, T, T)
        Sampling covariances, identity where there is no direct estimate.
    identity, cross, square : ndarray, shape (n_values,)
        Values of I, W + W' and W'W on the sparse pattern.
    weights : sparse matrix, shape (D, D)
        W.
    """

    X: np.ndarray
    Z: np.ndarray
    seen: np.ndarray
    psi: np.ndarray
    rows: np.ndarray
    cols: np.ndarray
    diagonal: np.ndarray
    identity: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    weights: sparse.csr_matrix

    @cached_property
    def pattern(self) -> Pattern:
        """Of K and of Omega."""
        return analyse(self.rows, self.cols, len(self.seen))

    @property
    def unit(self) -> float:
        """Median sampling variance: the scale on which variances are searched."""
        on = np.eye(self.psi.shape[1], dtype=bool) & self.seen[:, :, None]
        return float(np.median(self.psi[on]))

    def omega(self, rho: np.ndarray) -> np.ndarray:
        """Values of Omega on the pattern for each rho, shape (k, n_values)."""
        return self.identity - rho[:, None] * self.cross + rho[:, None] ** 2 * self.square

    def omega_slope(self, rho: np.ndarray) -> np.ndarray:
        """Values of d Omega / d rho on the pattern for each rho, shape (k, n_values)."""
        return 2.0 * rho[:, None] * self.square - self.cross

    def without_map(self) -> SpaceTimeProblem:
        """Return the same data with W = 0, for models without an area effect: nothing to factorise."""
        each = np.arange(len(self.seen))
        none = np.zeros(len(each))
        return replace(
            self,
            rows=each,
            cols=each,
            diagonal=each,
            identity=none + 1.0,
            cross=none,
            square=none,
            weights=sparse.csr_matrix(self.weights.shape),
        )

    def as_matrix(self, values: np.ndarray) -> sparse.csr_matrix:
        """Symmetric sparse matrix from values on the pattern."""
        off = self.rows != self.cols
        rows = np.concatenate([self.rows, self.cols[off]])
        cols = np.concatenate([self.cols, self.rows[off]])
        size = (len(self.seen), len(self.seen))
        return sparse.coo_matrix((np.concatenate([values, values[off]]), (rows, cols)), shape=size).tocsr()


def spacetime_problem(
    y: np.ndarray, X: np.ndarray, vardir: np.ndarray, W: sparse.spmatrix | None = None
) -> SpaceTimeProblem:
    """Gather the data of one model; its sparse pattern is analysed once, when it is first asked for.

    Parameters
    ----------
    y : ndarray, shape (D, T)
        Direct estimates, NaN where there is none.
    X : ndarray, shape (D, T, p)
        Covariates of all areas and periods.
    vardir : ndarray, shape (D, T) or (D, T, T)
        Sampling variances, or covariances between periods of an area (a panel's overlap).
    W : sparse matrix, shape (D, D), optional
        Spatial weights with zero diagonal, an island's row all zero. Without it areas are independent.
    """
    n_areas, n_times = y.shape
    seen = np.isfinite(y)
    full = vardir if vardir.ndim == 3 else vardir[..., None] * np.eye(n_times)
    both = seen[:, :, None] & seen[:, None, :]
    psi = np.where(both, full, np.eye(n_times))
    weights = sparse.csr_matrix((n_areas, n_areas)) if W is None else sparse.csr_matrix(W)
    cross, square = (weights + weights.T).tocsr(), (weights.T @ weights).tocsr()
    structure = sparse.tril(abs(cross) + abs(square) + sparse.identity(n_areas)).tocoo()
    rows, cols = structure.row.astype(np.int64), structure.col.astype(np.int64)
    on = rows == cols
    diagonal = np.empty(n_areas, np.int64)
    diagonal[rows[on]] = np.flatnonzero(on)
    Z = np.concatenate([X, np.where(seen, y, 0.0)[..., None]], axis=2) * seen[..., None]
    return SpaceTimeProblem(
        X,
        Z,
        seen,
        psi,
        rows,
        cols,
        diagonal,
        on.astype(float),
        np.asarray(cross[rows, cols]).ravel(),
        np.asarray(square[rows, cols]).ravel(),
        weights,
    )


def ar1(rho: float, n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the AR(1) covariance rho^|i-j| / (1 - rho^2) and its slope in rho, both of shape (T, T)."""
    lag = np.abs(np.subtract.outer(np.arange(n_times), np.arange(n_times)))
    power = rho**lag
    slope = lag * rho ** np.maximum(lag - 1, 0)
    return power / (1 - rho**2), slope / (1 - rho**2) + 2 * rho * power / (1 - rho**2) ** 2


@compiled
def _invert_blocks(blocks, inverse):
    """Invert D symmetric positive definite matrices by Cholesky; return the sum of log determinants."""
    n, size = blocks.shape[0], blocks.shape[1]
    L = np.zeros((size, size))
    total = 0.0
    for d in range(n):
        for i in range(size):
            for j in range(i + 1):
                value = blocks[d, i, j]
                for k in range(j):
                    value -= L[i, k] * L[j, k]
                if i == j:
                    if value <= 0.0:
                        return np.nan
                    L[i, i] = np.sqrt(value)
                    total += np.log(value)
                else:
                    L[i, j] = value / L[j, j]
        for c in range(size):  # columns of L^-1 in the lower part of `inverse`
            for i in range(c, size):
                value = 1.0 if i == c else 0.0
                for k in range(c, i):
                    value -= L[i, k] * inverse[d, k, c]
                inverse[d, i, c] = value / L[i, i]
        for i in range(size):
            for j in range(i + 1):
                value = 0.0
                for k in range(i, size):
                    value += inverse[d, k, i] * inverse[d, k, j]
                inverse[d, i, j] = value  # row i, columns up to i are read no more
        for i in range(size):
            for j in range(i):
                inverse[d, j, i] = inverse[d, i, j]
    return total


@dataclass(frozen=True, eq=False)
class Pieces:
    """What likelihood, gradient and prediction share, for k parameter values side by side."""

    inverse: np.ndarray  # B^-1, (k, D, T, T)
    gram: np.ndarray  # Z'V^-1Z, (k, p + 1, p + 1)
    pull: np.ndarray  # S as a vector, (k, D)
    U: np.ndarray  # K^-1 Z'B^-1 (X, y), (k, D, p + 1)
    area: np.ndarray  # 1'V^-1 (X, y) by area, (k, D, p + 1)
    solved: np.ndarray  # V^-1 (X, y), (k, D, T, p + 1)
    logdet: np.ndarray  # log det V, (k,)
    k_factor: Factor
    omega_factor: Factor  # at the distinct values of r1
    omega_at: np.ndarray  # which of them, (k,)

    @property
    def factors(self) -> tuple[Factor, Factor]:
        """Factors of K and of Omega at each of the k values."""
        return self.k_factor, self.omega_factor.take(self.omega_at)


def pieces(problem: SpaceTimeProblem, theta: np.ndarray, Z: np.ndarray | None = None) -> Pieces:
    """Evaluate what k parameter values share, for the data of the problem or Z, shape ([k,] D, T, q)."""
    data = problem.Z if Z is None else Z
    inverse, scaled, pull, block_logdet = _by_area(problem, theta, data)
    distinct, at = np.unique(theta[:, _R1], return_inverse=True)
    omega_factor = factorise(problem.pattern, problem.omega(distinct))
    k_factor = factorise(problem.pattern, _k_values(problem, theta, pull))
    edge = _edge(problem, scaled)
    U = k_factor.solve(edge)
    if _stiff(theta, pull):
        area, solved, gram = solve_rows(problem, theta, data, inverse, pull, edge, U)
    else:
        shared = theta[:, _S1, None, None] * U
        area = edge - pull[..., None] * shared
        weight = inverse @ problem.seen[..., None].astype(float)
        solved = scaled - weight * shared[:, :, None, :]
        gram = _gram(data, scaled) - np.swapaxes(edge, 1, 2) @ shared
    logdet = block_logdet + k_factor.logdet() - omega_factor.logdet()[at]
    return Pieces(inverse, gram, pull, U, area, solved, logdet, k_factor, omega_factor, at)


def _stiff(theta: np.ndarray, pull: np.ndarray) -> bool:
    """Whether V^-1 as the difference from B^-1 loses more digits than can be spared."""
    return bool((theta[:, _S1] * pull.max(axis=1)).max() > SPREAD)


def solve_rows(
    problem: SpaceTimeProblem,
    theta: np.ndarray,
    Z: np.ndarray,
    inverse: np.ndarray,
    pull: np.ndarray,
    edge: np.ndarray,
    U: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 1'V^-1 Z by area, V^-1 Z and Z'V^-1 Z, none as the difference of two large numbers.

    With z the means of an area's rows weighted by B^-1 and K U = 1'B^-1 Z, 1'V^-1 Z = Omega U,
    V^-1 Z = B^-1 (Z - 1 z) + B^-1 1 S^-1 Omega U, and Z'V^-1 Z = (Z - 1 z)'B^-1 (Z - 1 z) + z'Omega U.
    """
    seen = problem.seen.astype(float)
    q = U.shape[2]
    turned = U - theta[:, _R1, None, None] * _along(problem.weights, U)
    area = turned - theta[:, _R1, None, None] * _along(problem.weights.T.tocsr(), turned)
    area *= (pull > 0)[..., None]
    over = np.where(pull > 0, pull, 1.0)[..., None]
    mean = edge / over
    several = seen * (problem.seen.sum(axis=1, keepdims=True) > 1)  # one row is its own mean
    apart = (Z - seen[..., None] * mean[:, :, None, :]) * several[..., None]
    inner = inverse @ apart
    weight = (inverse @ seen[..., None]) * seen[..., None]
    solved = inner + weight * (area / over)[:, :, None, :]
    flat = apart.reshape(len(theta), -1, q)
    gram = np.swapaxes(flat, 1, 2) @ inner.reshape(len(theta), -1, q) + np.swapaxes(mean, 1, 2) @ area
    return area, solved, 0.5 * (gram + np.swapaxes(gram, 1, 2))


def _along(weights: sparse.csr_matrix, U: np.ndarray) -> np.ndarray:
    """W U for k right-hand sides, shape (k, D, q)."""
    count, n_areas, q = U.shape
    turned = weights @ np.moveaxis(U, 0, 1).reshape(n_areas, -1)
    return np.moveaxis(turned.reshape(n_areas, count, q), 1, 0)


def profile_at(
    problem: SpaceTimeProblem, theta: np.ndarray, Z: np.ndarray, omega_logdet: np.ndarray, reml: bool
) -> np.ndarray:
    """Profile (restricted) log-likelihoods alone, at half the cost of what slopes or predictions need.

    Parameters
    ----------
    theta : ndarray, shape (k, 4)
    Z : ndarray, shape (D, T, p + m)
        Covariates and m outcomes, 0 where not seen.
    omega_logdet : ndarray, shape (k,)
        Log determinants of Omega, which a scan meets many times.

    Returns
    -------
    ndarray, shape (k, m)
    """
    inverse, scaled, pull, block_logdet = _by_area(problem, theta, Z)
    k_factor = factorise(problem.pattern, _k_values(problem, theta, pull))
    edge = _edge(problem, scaled)
    if _stiff(theta, pull):
        gram = solve_rows(problem, theta, Z, inverse, pull, edge, k_factor.solve(edge))[2]
    else:  # the same by a difference
        half = k_factor.whiten(edge)
        gram = _gram(Z, scaled) - theta[:, _S1, None, None] * (np.swapaxes(half, 1, 2) @ half)
    return profile(problem, gram, block_logdet + k_factor.logdet() - omega_logdet, reml)[0]


def _by_area(
    problem: SpaceTimeProblem, theta: np.ndarray, Z: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """B^-1 (k, D, T, T), B^-1 Z (k, D, T, q), S as a vector (k, D), and log det B (k,)."""
    n_areas, n_times = problem.seen.shape
    both = problem.seen[:, :, None] & problem.seen[:, None, :]
    seen = problem.seen.astype(float)
    kinds, which = np.unique(theta[:, _S2:], axis=0, return_inverse=True)  # a scan repeats them
    which = which.ravel()
    inverse, logdet = np.empty((len(kinds), n_areas, n_times, n_times)), np.empty(len(kinds))
    for k, (s2, r2) in enumerate(kinds):
        logdet[k] = _invert_blocks(problem.psi + (s2 * ar1(r2, n_times)[0]) * both, inverse[k])
    pull = ((seen[:, None, :] @ inverse)[:, :, 0] * seen).sum(axis=-1)[which]
    if len(kinds) == 1 and Z.ndim == 3:
        scaled = np.broadcast_to(inverse[0] @ Z, (len(theta), *Z.shape))
    else:
        scaled = inverse[which] @ Z
    inverse = (
        np.broadcast_to(inverse, (len(theta), *inverse.shape[1:])) if len(kinds) == 1 else inverse[which]
    )
    return inverse, scaled, pull, logdet[which]


def _k_values(problem: SpaceTimeProblem, theta: np.ndarray, pull: np.ndarray) -> np.ndarray:
    values = problem.omega(theta[:, _R1])
    values[:, problem.diagonal] += theta[:, _S1, None] * pull
    return values


def _edge(problem: SpaceTimeProblem, scaled: np.ndarray) -> np.ndarray:
    return (problem.seen.astype(float)[:, None, :] @ scaled)[..., 0, :]


def _gram(Z: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    q = Z.shape[-1]
    return np.swapaxes(Z.reshape(*Z.shape[:-3], -1, q), -1, -2) @ scaled.reshape(len(scaled), -1, q)


def profile(
    problem: SpaceTimeProblem, gram: np.ndarray, logdet: np.ndarray, reml: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Profile (restricted) log-likelihoods and coefficients of every outcome.

    Parameters
    ----------
    gram : ndarray, shape (k, p + m, p + m)
        Z'V^-1Z of covariates and outcomes.
    logdet : ndarray, shape (k,)
        log det V.

    Returns
    -------
    value : ndarray, shape (k, m)
        For the m columns of Z after the covariates.
    beta : ndarray, shape (k, p, m)
    """
    p = problem.X.shape[2]
    inner, edge = gram[:, :p, :p], gram[:, :p, p:]
    beta = np.linalg.solve(inner, edge)
    rss = np.diagonal(gram, axis1=1, axis2=2)[:, p:] - (edge * beta).sum(axis=1)
    value = -0.5 * (problem.seen.sum() * np.log(2 * np.pi) + logdet[:, None] + rss)
    if reml:
        value += 0.5 * p * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(inner)[1][:, None]
    return value, beta


def least_squares(
    problem: SpaceTimeProblem, Z: np.ndarray, reml: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Profile (restricted) log-likelihoods where all variances of the effects are 0, by one QR.

    Rows of the largest weights come first, so that no other loses its digits to them.

    Parameters
    ----------
    Z : ndarray, shape (D, T, p + m)
        Covariates and m outcomes, 0 where not seen.

    Returns
    -------
    value : ndarray, shape (m,)
    beta : ndarray, shape (p, m)
    root : ndarray, shape (p, p)
        root root' = (X'V^-1 X)^-1.

    References
    ----------
    Powell and Reid (1969), Information Processing 68, 122-126.
    """
    p = problem.X.shape[2]
    L = np.linalg.cholesky(problem.psi)
    rows = np.linalg.solve(L, Z).reshape(-1, Z.shape[-1])
    order = np.argsort(-np.abs(rows[:, :p]).max(axis=1), kind="stable")
    R = np.asarray(np.linalg.qr(rows[order], mode="r"))
    inner = R[:p, :p]
    root = np.linalg.inv(inner)
    logdet = 2.0 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum()
    value = -0.5 * (problem.seen.sum() * np.log(2 * np.pi) + logdet + (R[p:, p:] ** 2).sum(axis=0))
    if reml:
        value += 0.5 * p * np.log(2 * np.pi) - np.log(np.abs(np.diag(inner))).sum()
    return value, root @ R[:p, p:], root


def loglik(
    problem: SpaceTimeProblem,
    theta: np.ndarray,
    reml: bool,
    gradient: bool = False,
    Z: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Profile (restricted) log-likelihood at k parameter values, and its gradient.

    Parameters
    ----------
    theta : ndarray, shape (k, 4)
        Values in the order of `PARAMETERS`.
    Z : ndarray, shape (k, D, T, p + 1), optional
        Data of each value instead of the problem's own: covariates and outcome, 0 where not seen.

    Returns
    -------
    value : ndarray, shape (k,)
    slopes : ndarray, shape (k, 4), or (k, 0) without `gradient`
    """
    parts = pieces(problem, theta, Z)
    value, beta = profile(problem, parts.gram, parts.logdet, reml)
    if not gradient:
        return value[:, 0], np.empty((len(theta), 0))
    p = problem.X.shape[2]
    cov = np.linalg.inv(parts.gram[:, :p, :p]) if reml else None
    return value[:, 0], slopes_at(problem, theta, parts, beta[..., 0], cov)


def slopes_at(
    problem: SpaceTimeProblem, theta: np.ndarray, parts: Pieces, beta: np.ndarray, cov: np.ndarray | None
) -> np.ndarray:
    """Gradient of the profile log-likelihood in the four parameters, shape (k, 4).

    It is that of the restricted one where the covariance of the coefficients is given.
    """
    p = problem.X.shape[2]
    contrast = np.concatenate([-beta, np.ones((len(theta), 1))], axis=1)
    traces, d_grams = gram_slopes(problem, theta, parts)
    slopes = -0.5 * (traces + np.einsum("ki,kjil,kl->kj", contrast, d_grams, contrast))
    if cov is not None:
        slopes -= 0.5 * np.einsum("kil,kjli->kj", cov, d_grams[:, :, :p, :p])
    return slopes


def gram_slopes(problem: SpaceTimeProblem, theta: np.ndarray, parts: Pieces) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of log det V, shape (k, 4), and of Z'V^-1Z, shape (k, 4, p + 1, p + 1)."""
    count, n_times = len(theta), problem.seen.shape[1]
    k_inverse = parts.k_factor.inverse()
    k_diagonal = k_inverse.diagonal()
    turn = problem.omega_slope(theta[:, _R1])
    traces = np.empty((count, 4))
    traces[:, _S1] = (k_diagonal * parts.pull).sum(axis=1)
    distinct = np.empty((parts.omega_factor.count, turn.shape[1]))
    distinct[parts.omega_at] = turn
    traces[:, _R1] = k_inverse.trace(turn) - parts.omega_factor.inverse().trace(distinct)[parts.omega_at]
    U, s1, q = parts.U, theta[:, _S1], parts.U.shape[2]
    grams = np.empty((count, 4, q, q))
    along = _along(problem.weights, U)
    once, twice = np.swapaxes(U, 1, 2) @ along, np.swapaxes(along, 1, 2) @ along
    grams[:, _R1] = 2.0 * theta[:, _R1, None, None] * twice - once - np.swapaxes(once, 1, 2)
    grams[:, _R1] *= s1[:, None, None]
    seen = problem.seen.astype(float)
    weight = (parts.inverse @ seen[..., None])[..., 0]  # B^-1 1
    solved = parts.solved
    # dV/ds1 = Z Omega^-1 Z'; Omega^-1 Z'V^-1 (X, y) = U
    half = np.swapaxes(parts.area, 1, 2) @ U
    grams[:, _S1] = -0.5 * (half + np.swapaxes(half, 1, 2))
    both = seen[:, :, None] * seen[:, None, :]
    summed = np.einsum("kdts,dts->kts", parts.inverse, both)
    turned = [ar1(r2, n_times) for r2 in theta[:, _R2]]
    covariance = np.stack([matrix for matrix, _ in turned])
    bend = theta[:, _S2, None, None] * np.stack([slope for _, slope in turned])
    flat = solved.reshape(count, -1, q)
    for j, slope in ((_S2, covariance), (_R2, bend)):
        d_pull = -((weight @ slope) * weight).sum(axis=2)
        traces[:, j] = (summed * slope).sum(axis=(1, 2)) + s1 * (k_diagonal * d_pull).sum(axis=1)
        grams[:, j] = -np.swapaxes(flat, 1, 2) @ (slope[:, None] @ solved).reshape(count, -1, q)
    return traces, grams
