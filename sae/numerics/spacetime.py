"""Fay-Herriot models with spatial area effects and area-by-time effects, by sparse and block algebra.

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

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sae.numerics._jit import jit
from sae.numerics.sparse import LANES, Pattern, analyse, factorise

__all__ = ["PARAMETERS", "SpaceTimeFit", "SpaceTimeProblem", "fit_spacetime", "spacetime_problem"]

PARAMETERS = ("sigma2_u", "rho_u", "sigma2_v", "rho_v")  # s1, r1, s2, r2
RHO_LIMIT = 0.999  # |rho| beyond this makes Omega or R singular to working precision
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
    """

    X: np.ndarray
    Z: np.ndarray
    seen: np.ndarray
    psi: np.ndarray
    pattern: Pattern
    rows: np.ndarray
    cols: np.ndarray
    diagonal: np.ndarray
    identity: np.ndarray
    cross: np.ndarray
    square: np.ndarray

    def omega(self, rho: np.ndarray) -> np.ndarray:
        """Values of Omega on the pattern for each rho, shape (k, n_values)."""
        return self.identity - rho[:, None] * self.cross + rho[:, None] ** 2 * self.square

    def omega_slope(self, rho: np.ndarray) -> np.ndarray:
        """Values of d Omega / d rho on the pattern for each rho, shape (k, n_values)."""
        return 2.0 * rho[:, None] * self.square - self.cross

    def as_matrix(self, values: np.ndarray) -> sparse.csr_matrix:
        """Symmetric sparse matrix from values on the pattern."""
        off = self.rows != self.cols
        rows = np.concatenate([self.rows, self.cols[off]])
        cols = np.concatenate([self.cols, self.rows[off]])
        size = (self.pattern.size, self.pattern.size)
        return sparse.coo_matrix((np.concatenate([values, values[off]]), (rows, cols)), shape=size).tocsr()


@dataclass(frozen=True, eq=False)
class SpaceTimeFit:
    """Estimates of a spatial, temporal or spatio-temporal Fay-Herriot model.

    Attributes
    ----------
    parameters : ndarray, shape (4,)
        In the order of `PARAMETERS`; a correlation is 0 where its variance is 0 (it has no meaning there).
    beta : ndarray, shape (p,)
    beta_cov : ndarray, shape (p, p)
        (X'V^-1X)^-1.
    area_effect : ndarray, shape (D,)
    time_effect : ndarray, shape (D, T)
    eblup : ndarray, shape (D, T)
        For all areas and periods, sampled or not.
    loglik : float
        Full log-likelihood at the estimates, also for REML.
    gradient : ndarray, shape (4,)
        Slope of the maximised criterion in the free parameters, 0 elsewhere: how well it converged.
    """

    parameters: np.ndarray
    beta: np.ndarray
    beta_cov: np.ndarray
    area_effect: np.ndarray
    time_effect: np.ndarray
    eblup: np.ndarray
    loglik: float
    gradient: np.ndarray


def spacetime_problem(
    y: np.ndarray, X: np.ndarray, vardir: np.ndarray, W: sparse.spmatrix | None = None
) -> SpaceTimeProblem:
    """Gather the data of one model and analyse its sparse pattern once.

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
        X, Z, seen, psi, analyse(rows, cols, n_areas), rows, cols, diagonal,
        on.astype(float), np.asarray(cross[rows, cols]).ravel(), np.asarray(square[rows, cols]).ravel(),
    )  # fmt: skip


def ar1(rho: float, n_times: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the AR(1) covariance rho^|i-j| / (1 - rho^2) and its slope in rho, both of shape (T, T)."""
    lag = np.abs(np.subtract.outer(np.arange(n_times), np.arange(n_times)))
    power = rho**lag
    slope = lag * rho ** np.maximum(lag - 1, 0)
    return power / (1 - rho**2), slope / (1 - rho**2) + 2 * rho * power / (1 - rho**2) ** 2


@jit
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
class _Pieces:
    """What likelihood, gradient and prediction share, for k parameter values side by side."""

    inverse: np.ndarray  # B^-1, (k, D, T, T)
    gram: np.ndarray  # Z'V^-1Z, (k, p + 1, p + 1)
    pull: np.ndarray  # S as a vector, (k, D)
    U: np.ndarray  # K^-1 Z'B^-1 (X, y), (k, D, p + 1)
    scaled: np.ndarray  # B^-1 (X, y), (k, D, T, p + 1)
    logdet: np.ndarray  # log det V, (k,)
    factors: tuple  # of K and of Omega


def _pieces(problem: SpaceTimeProblem, theta: np.ndarray) -> _Pieces:
    n_areas, n_times, _ = problem.X.shape
    both = problem.seen[:, :, None] & problem.seen[:, None, :]
    inverse = np.empty((len(theta), n_areas, n_times, n_times))
    logdet = np.empty(len(theta))
    for k, (_, _, s2, r2) in enumerate(theta):
        blocks = problem.psi + (s2 * ar1(r2, n_times)[0]) * both
        logdet[k] = _invert_blocks(blocks, inverse[k])
    seen = problem.seen.astype(float)
    pull = np.einsum("dt,kdts,ds->kd", seen, inverse, seen, optimize=True)
    scaled = inverse @ problem.Z
    edge = np.einsum("dt,kdtq->kdq", seen, scaled)
    omega = problem.omega(theta[:, _R1])
    k_values = omega.copy()
    k_values[:, problem.diagonal] += theta[:, _S1, None] * pull
    k_factor, omega_factor = factorise(problem.pattern, k_values), factorise(problem.pattern, omega)
    U = k_factor.solve(edge)
    flat = scaled.reshape(len(theta), -1, scaled.shape[-1])
    gram = problem.Z.reshape(-1, scaled.shape[-1]).T @ flat
    gram -= theta[:, _S1, None, None] * (np.swapaxes(edge, 1, 2) @ U)
    logdet += k_factor.logdet() - omega_factor.logdet()
    return _Pieces(inverse, gram, pull, U, scaled, logdet, (k_factor, omega_factor))


def loglik(
    problem: SpaceTimeProblem, theta: np.ndarray, reml: bool, gradient: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Profile (restricted) log-likelihood at k parameter values, and its gradient.

    Parameters
    ----------
    theta : ndarray, shape (k, 4)
        Values in the order of `PARAMETERS`.

    Returns
    -------
    value : ndarray, shape (k,)
    slopes : ndarray, shape (k, 4), or (k, 0) without `gradient`
    """
    parts = _pieces(problem, theta)
    p = problem.X.shape[2]
    inner, edge = parts.gram[:, :p, :p], parts.gram[:, :p, p]
    beta = np.linalg.solve(inner, edge[..., None])[..., 0]
    rss = parts.gram[:, p, p] - np.einsum("ki,ki->k", edge, beta)
    value = -0.5 * (problem.seen.sum() * np.log(2 * np.pi) + parts.logdet + rss)
    if reml:
        value += 0.5 * p * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(inner)[1]
    if not gradient:
        return value, np.empty((len(theta), 0))
    contrast = np.concatenate([-beta, np.ones((len(theta), 1))], axis=1)
    traces, d_grams = _slopes(problem, theta, parts)
    slopes = -0.5 * (traces + np.einsum("ki,kjil,kl->kj", contrast, d_grams, contrast))
    if reml:
        cov = np.linalg.inv(inner)
        slopes -= 0.5 * np.einsum("kil,kjli->kj", cov, d_grams[:, :, :p, :p])
    return value, slopes


def _slopes(problem: SpaceTimeProblem, theta: np.ndarray, parts: _Pieces) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of log det V, shape (k, 4), and of Z'V^-1Z, shape (k, 4, p + 1, p + 1)."""
    n_times = problem.X.shape[1]
    k_factor, omega_factor = parts.factors
    k_inverse = k_factor.inverse()
    k_diagonal = k_inverse.diagonal()
    turn = problem.omega_slope(theta[:, _R1])
    traces = np.empty((len(theta), 4))
    traces[:, _S1] = np.einsum("kd,kd->k", k_diagonal, parts.pull)
    traces[:, _R1] = k_inverse.trace(turn) - omega_factor.inverse().trace(turn)
    U, s1 = parts.U, theta[:, _S1]
    grams = np.empty((len(theta), 4, U.shape[2], U.shape[2]))
    # V^-1 Z = B^-1 (Z - s1 1 U)
    seen = problem.seen.astype(float)
    weight = np.einsum("kdts,ds->kdt", parts.inverse, seen)  # B^-1 1
    solved = parts.scaled - s1[:, None, None, None] * weight[..., None] * U[:, :, None, :]
    area = np.einsum("dt,kdtq->kdq", seen, solved)  # Z'V^-1(X, y)
    both = seen[:, :, None] * seen[:, None, :]
    for k in range(len(theta)):
        grams[k, _R1] = s1[k] * U[k].T @ (problem.as_matrix(turn[k]) @ U[k])
        # dV/ds1 = Z Omega^-1 Z'; Omega^-1 Z'V^-1 (X, y) = U
        grams[k, _S1] = -0.5 * (area[k].T @ U[k] + U[k].T @ area[k])
        covariance, bend = ar1(theta[k, _R2], n_times)
        for j, slope in ((_S2, covariance), (_R2, theta[k, _S2] * bend)):
            d_block = slope * both
            d_pull = -np.einsum("dt,dts,ds->d", weight[k], d_block, weight[k], optimize=True)
            traces[k, j] = np.einsum("dts,dts->", parts.inverse[k], d_block) + s1[k] * k_diagonal[k] @ d_pull
            grams[k, j] = -np.einsum("dtq,ts,dsr->qr", solved[k], slope, solved[k], optimize=True)
    return traces, grams


def fit_spacetime(
    problem: SpaceTimeProblem, free: tuple[str, ...] = PARAMETERS, *, method: str = "reml"
) -> SpaceTimeFit:
    """Estimate the free parameters by (restricted) maximum likelihood; the others are 0.

    The criterion is scanned on a grid, its best points are polished by Newton steps on the exact gradient,
    and the result is compared with every model in which a free variance is exactly 0.

    Parameters
    ----------
    problem : SpaceTimeProblem
    free : tuple of str
        Names from `PARAMETERS`: ("sigma2_u", "rho_u") for the spatial model, ("sigma2_u", "sigma2_v",
        "rho_v") for Rao and Yu's, all four for the spatio-temporal one.
    method : {"reml", "ml"}
    """
    reml = method == "reml"
    best, best_value = np.zeros(4), -np.inf
    for chosen in _submodels(tuple(PARAMETERS.index(name) for name in free)):
        theta, value = _maximise(problem, chosen, reml)
        if value > best_value + 1e-10:
            best, best_value = theta, value
    return _estimates(problem, best, reml)


def _submodels(free: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Free sets with some variances (and then their correlations) at 0, smallest first."""
    kept: list[tuple[int, ...]] = [()]
    for variance, correlation in ((_S1, _R1), (_S2, _R2)):
        if variance in free:
            group = tuple(index for index in (variance, correlation) if index in free)
            kept += [(*rest, *group) for rest in kept]
    return kept


def _maximise(problem: SpaceTimeProblem, free: tuple[int, ...], reml: bool) -> tuple[np.ndarray, float]:
    if not free:
        return np.zeros(4), float(loglik(problem, np.zeros((1, 4)), reml)[0][0])
    on = np.eye(problem.psi.shape[1], dtype=bool) & problem.seen[:, :, None]
    unit = float(np.median(problem.psi[on]))
    many = len(free) > 2
    variances = unit * np.geomspace(1e-2, 1e2, 5 if many else 13)
    rhos = (
        np.array([-0.5, 0.0, 0.5, 0.85]) if many else np.array([-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.8, 0.95])
    )
    axes = [variances if index in (_S1, _S2) else rhos for index in free]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    theta = np.zeros((grid[0].size, 4))
    theta[:, list(free)] = grid.reshape(len(free), -1).T
    scanned = np.concatenate(
        [loglik(problem, part, reml)[0] for part in np.array_split(theta, -(-len(theta) // LANES))]
    )
    table = scanned.reshape(grid.shape[1:])
    padded = np.pad(table, 1, constant_values=-np.inf)
    higher = np.zeros(table.shape, bool)
    for shift in np.ndindex(*(3,) * table.ndim):
        window = tuple(slice(s, s + table.shape[axis]) for axis, s in enumerate(shift))
        higher |= padded[window] > table
    peaks = np.flatnonzero(~higher.ravel())
    best, best_value = theta[peaks[0]], -np.inf
    for peak in peaks[np.argsort(-scanned[peaks])][:3]:
        point, value = _polish(problem, theta[peak], free, reml)
        if value > best_value:
            best, best_value = point, value
    return best, best_value


def _natural(points: np.ndarray, free: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Parameters from their unbounded scale (log variances, atanh correlations), and their slopes."""
    theta, slopes = np.zeros((len(points), 4)), np.zeros((len(points), 4))
    for column, index in enumerate(free):
        u = points[:, column]
        if index in (_S1, _S2):
            theta[:, index] = slopes[:, index] = np.exp(u)
        else:
            limit = np.arctanh(RHO_LIMIT)
            theta[:, index] = np.tanh(np.clip(u, -limit, limit))
            slopes[:, index] = 1.0 - theta[:, index] ** 2
    return theta, slopes


def _polish(
    problem: SpaceTimeProblem, start: np.ndarray, free: tuple[int, ...], reml: bool
) -> tuple[np.ndarray, float]:
    """Newton's method on the unbounded scale, the Hessian from differences of the exact gradient."""
    columns = list(free)
    is_variance = np.isin(columns, (_S1, _S2))
    chosen = start[columns]
    point = np.where(
        is_variance,
        np.log(np.where(is_variance, chosen, 1.0)),
        np.arctanh(np.where(is_variance, 0.0, chosen)),
    )
    h, q = 1e-4, len(columns)
    shifts = np.concatenate([np.zeros((1, q)), h * np.eye(q), -h * np.eye(q)])
    value = -np.inf
    for _ in range(60):
        theta, scale = _natural(point + shifts, free)
        values, slopes = loglik(problem, theta, reml, gradient=True)
        slopes = (slopes * scale)[:, columns]
        value = float(values[0])
        hessian = (slopes[1 : q + 1] - slopes[q + 1 :]) / (2 * h)
        eigen, vectors = np.linalg.eigh(0.5 * (hessian + hessian.T))
        step = vectors @ ((vectors.T @ slopes[0]) / np.maximum(np.abs(eigen), 1e-6))
        longest = np.abs(step).max()
        if longest < 1e-11:
            break
        step *= min(1.0, 2.0 / longest)
        tried = point + 0.5 ** np.arange(LANES)[:, None] * step
        ahead, _ = loglik(problem, _natural(tried, free)[0], reml)
        good = np.flatnonzero(ahead >= value - 1e-12 * max(1.0, abs(value)))
        if len(good) == 0:
            break
        point = tried[good[0]]
        if longest < 1e-9:
            break
    theta, _ = _natural(point[None], free)
    return theta[0], float(loglik(problem, theta, reml)[0][0])


def _estimates(problem: SpaceTimeProblem, theta: np.ndarray, reml: bool) -> SpaceTimeFit:
    parts = _pieces(problem, theta[None])
    p, n_times = problem.X.shape[2], problem.X.shape[1]
    cov = np.linalg.inv(parts.gram[0, :p, :p])
    beta = cov @ parts.gram[0, :p, p]
    contrast = np.append(-beta, 1.0)
    area_effect = theta[_S1] * parts.U[0] @ contrast
    residual = problem.Z @ contrast - problem.seen * area_effect[:, None]
    solved = np.einsum("dts,ds->dt", parts.inverse[0], residual)
    time_effect = theta[_S2] * solved @ ar1(theta[_R2], n_times)[0]
    eblup = problem.X @ beta + area_effect[:, None] + time_effect
    value, _ = loglik(problem, theta[None], reml=False)
    _, gradient = loglik(problem, theta[None], reml, gradient=True)
    return SpaceTimeFit(theta, beta, cov, area_effect, time_effect, eblup, float(value[0]), gradient[0])
