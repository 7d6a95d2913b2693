"""Covariances of the effects of an area's components: parameters, slopes, ranges and starting values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = [
    "STRUCTURES",
    "Structure",
    "bend",
    "bounds",
    "effect_covariances",
    "in_units",
    "lkj_log_density",
    "partial_correlations",
    "starts",
    "units",
]

# parameters, shape (..., q), and R to covariances, shape (..., R, R), and their slopes, shape (..., q, R, R)
Structure = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def diagonal(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent effects, one variance each: theta = (s_1 .. s_R)."""
    slopes = np.zeros((size, size, size))
    slopes[np.arange(size), np.arange(size), np.arange(size)] = 1.0
    return theta[..., None] * np.eye(size), np.broadcast_to(slopes, (*theta.shape[:-1], *slopes.shape))


def common(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Independent effects of one variance: theta = (s,)."""
    eye = np.eye(size)
    return theta[..., None] * eye, np.broadcast_to(eye, (*theta.shape, size, size))


def ar1(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Stationary AR(1) along the components: theta = (s, rho), V_ij = s rho^|i-j| / (1 - rho^2)."""
    s, rho = theta[..., 0, None, None], theta[..., 1, None, None]
    lag = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    power = rho**lag
    bend = lag * rho ** np.maximum(lag - 1, 0) / (1 - rho**2) + 2 * rho * power / (1 - rho**2) ** 2
    return s * power / (1 - rho**2), np.stack([power / (1 - rho**2), s * bend], axis=-3)


def heteroscedastic_ar1(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """AR(1) along the components with a variance each: theta = (s_1 .. s_R, rho); u_0 has variance 1.

    u_r = rho u_{r-1} + a_r with Var a_r = s_r, so V_rr = rho^{2r} + sum_{i <= r} rho^{2(r-i)} s_i and
    V_rs = rho^{s-r} V_rr for r < s (Benavent and Morales 2016, model 3).
    """
    rho = theta[..., -1, None, None]
    innovations = np.concatenate([np.ones((*theta.shape[:-1], 1)), theta[..., :-1]], axis=-1)[..., None, :]
    index = np.arange(size + 1)
    gap = index[:, None] - index[None, :]
    lower = np.where(gap >= 0, rho ** np.maximum(gap, 0), 0.0)
    bend = np.where(gap >= 1, gap * rho ** np.maximum(gap - 1, 0), 0.0)
    turned = lower.swapaxes(-1, -2)
    covariance = (lower * innovations) @ turned
    columns = turned[..., 1:, 1:]  # of innovation 1 .. R
    slopes = columns[..., :, None] * columns[..., None, :]
    turn = (bend * innovations) @ turned
    last = (turn + turn.swapaxes(-1, -2))[..., None, 1:, 1:]
    return covariance[..., 1:, 1:], np.concatenate([slopes, last], axis=-3)


def unstructured(theta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Any covariance: theta = lower triangle of its Cholesky factor by rows."""
    rows, cols = np.tril_indices(size)
    root = np.zeros((*theta.shape[:-1], size, size))
    root[..., rows, cols] = theta
    slopes = np.zeros((*theta.shape, size, size))
    for k, (i, j) in enumerate(zip(rows, cols, strict=True)):
        slopes[..., k, i, :] += root[..., :, j]
        slopes[..., k, :, i] += root[..., :, j]
    return root @ root.swapaxes(-1, -2), slopes


STRUCTURES: dict[str, Structure] = {
    "diagonal": diagonal,
    "common": common,
    "ar1": ar1,
    "har1": heteroscedastic_ar1,
    "unstructured": unstructured,
}


def starts(name: str, size: int, level: np.ndarray) -> list[np.ndarray]:
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


def bounds(name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the range of each parameter."""
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


def bend(name: str, gradient: np.ndarray) -> np.ndarray | float:
    """Return the curvature that a Cholesky factor adds to the information near a singular covariance.

    There the information about the factor vanishes, and steps on it alone would be far too long; d2V / dL_ij
    dL_kj = e_i e_k' + e_k e_i'. It is 0 at a maximum inside. `gradient` has shape (..., R, R).
    """
    if name != "unstructured":
        return 0.0
    values, vectors = np.linalg.eigh(-gradient)
    downhill = (vectors * np.maximum(values, 0.0)[..., None, :]) @ vectors.swapaxes(-1, -2)
    rows, cols = np.tril_indices(gradient.shape[-1])
    return np.asarray(2.0 * downhill[..., rows[:, None], rows] * (cols[:, None] == cols))


def units(name: str, level: np.ndarray) -> np.ndarray:
    """Return the units for the climb, one per component where the structure lets them differ."""
    if name in ("diagonal", "unstructured"):
        return np.sqrt(level)
    # har1 starts from an effect of variance 1 in the unit of the data, which therefore has to stay
    return np.full(len(level), 1.0 if name == "har1" else np.sqrt(level.mean()))


def in_units(name: str, theta: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Return parameters of estimates multiplied by `unit`."""
    if name == "unstructured":
        return theta * unit[np.tril_indices(len(unit))[0]]
    factor = np.ones(len(theta))
    if name in ("diagonal", "common", "ar1"):
        count = len(unit) if name == "diagonal" else 1
        factor[:count] = unit[:count] ** 2
    return theta * factor


def effect_covariances(log_sd: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return covariances of effects, shape (K, R, R), from unbounded numbers.

    Parameters
    ----------
    log_sd : ndarray, shape (K, R)
        Logarithms of the standard deviations.
    z : ndarray, shape (K, R (R - 1) / 2)
        Of `partial_correlations`; without columns for effects that are not correlated.
    """
    size = log_sd.shape[1]
    root = np.exp(log_sd)[:, :, None] * (partial_correlations(z, size) if z.shape[1] else np.eye(size))
    return np.asarray(root @ np.swapaxes(root, 1, 2))


def partial_correlations(z: np.ndarray, size: int) -> np.ndarray:
    """Return roots of correlation matrices from partial correlations tanh z.

    Parameters
    ----------
    z : ndarray, shape (K, R (R - 1) / 2)
        Row by row below the diagonal: of i and j, given those before j.

    Returns
    -------
    ndarray, shape (K, R, R)
        Lower triangular; rows of length 1.
    """
    root, left, column = np.zeros((len(z), size, size)), np.ones((len(z), size)), 0
    partial = np.tanh(z)
    for i in range(size):
        for j in range(i):
            root[:, i, j] = partial[:, column] * np.sqrt(left[:, i])
            left[:, i] *= 1.0 / np.cosh(z[:, column]) ** 2
            column += 1
        root[:, i, i] = np.sqrt(left[:, i])
    return root


def lkj_log_density(z: np.ndarray, size: int, eta: float = 1.0) -> np.ndarray:
    """Return the log density of atanh of partial correlations under LKJ(eta), up to a constant.

    References
    ----------
    Lewandowski, Kurowicka and Joe (2009), J. Multivariate Anal. 100, 1989-2001, section 2.
    """
    power = np.array([eta + 0.5 * (size - 2 - j) for i in range(size) for j in range(i)])
    return (
        np.asarray(-2.0 * np.log(np.cosh(np.clip(z, -300.0, 300.0))) @ power)
        if size > 1
        else np.zeros(len(z))
    )
