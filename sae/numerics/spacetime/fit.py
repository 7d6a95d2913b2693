"""Fay-Herriot models with spatial area effects and area-by-time effects: estimation and prediction.

The model and its likelihood are those of `spacetime_likelihood`. T = 1 with s2 = 0 is the spatial Fay-Herriot
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

from sae.numerics.inference.newton import climb, natural, peaks
from sae.numerics.linalg.cholesky import factorise
from sae.numerics.spacetime.likelihood import (
    _R1,
    _R2,
    _S1,
    _S2,
    PARAMETERS,
    Pieces,
    SpaceTimeProblem,
    ar1,
    least_squares,
    loglik,
    pieces,
    profile,
    profile_at,
    slopes_at,
    spacetime_problem,
)

__all__ = [
    "PARAMETERS",
    "SpaceTimeFit",
    "SpaceTimePrediction",
    "SpaceTimeProblem",
    "error_root",
    "fit_spacetime",
    "observed_information",
    "predict_spacetime",
    "refit_spacetime",
    "spacetime_problem",
    "submodels",
]

_natural = natural
_PEAKS = 2  # of the scan, from which Newton starts
_AT_ONCE = 8  # parameter values evaluated in one call, or more while their areas and periods are few:
_CELLS = 16_000  # of all values together
_TOGETHER = 64  # replicates whose steps run side by side


@dataclass(frozen=True, eq=False)
class SpaceTimePrediction:
    """Predictions at k parameter values, each of the data of the problem or of its own.

    Attributes
    ----------
    beta : ndarray, shape (k, p)
    beta_cov : ndarray, shape (k, p, p)
        (X'V^-1X)^-1.
    area_effect : ndarray, shape (k, D)
    time_effect, eblup : ndarray, shape (k, D, T)
        For all areas and periods, sampled or not.
    blocks : ndarray, shape (k, D, T, T)
        Covariance of the effects of an area that the data leave, at known coefficients: g1 on the diagonal.
    loose : ndarray, shape (k, D, T, p)
        What the coefficients' error does to the predictions: g2 is the diagonal of loose beta_cov loose'.
    """

    beta: np.ndarray
    beta_cov: np.ndarray
    area_effect: np.ndarray
    time_effect: np.ndarray
    eblup: np.ndarray
    blocks: np.ndarray
    loose: np.ndarray

    @property
    def g1(self) -> np.ndarray:
        """Error of predicting the effects, shape (k, D, T)."""
        return np.diagonal(self.blocks, axis1=2, axis2=3)

    @property
    def g2(self) -> np.ndarray:
        """Error of estimating the coefficients, shape (k, D, T)."""
        return ((self.loose @ self.beta_cov[:, None]) * self.loose).sum(axis=-1)


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
    plain = problem.without_map()
    for chosen in submodels(tuple(PARAMETERS.index(name) for name in free)):
        reduced = problem if _S1 in chosen else plain
        theta, values = _scan(reduced, chosen, reml, problem.Z)
        value = values[..., 0]
        if chosen:
            theta, value = _polish(reduced, theta[peaks(value)[:_PEAKS]], chosen, reml)
        if value.max() > best_value + 1e-10:
            best, best_value = theta[np.argmax(value)], value.max()
    return _estimates(problem, best, reml)


def submodels(free: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Free sets with some variances (and then their correlations) at 0, smallest first."""
    kept: list[tuple[int, ...]] = [()]
    for variance, correlation in ((_S1, _R1), (_S2, _R2)):
        if variance in free:
            group = tuple(index for index in (variance, correlation) if index in free)
            kept += [(*rest, *group) for rest in kept]
    return kept


def _scan(
    problem: SpaceTimeProblem, free: tuple[int, ...], reml: bool, Z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid, shape (k, 4), and the criterion of the m outcomes of Z there, (n_1, ..., n_q, m)."""
    if not free:
        return np.zeros((1, 4)), least_squares(problem, Z, reml)[0][None]
    many = len(free) > 2
    variances = problem.unit * (np.array([0.03, 0.3, 3.0, 30.0]) if many else np.geomspace(0.03, 30.0, 6))
    rhos = np.array([-0.4, 0.3, 0.8] if many else [-0.75, -0.25, 0.25, 0.6, 0.88])
    axes = [variances if index in (_S1, _S2) else rhos for index in free]
    shape = tuple(len(axis) for axis in axes)
    theta = np.zeros((int(np.prod(shape)), 4))
    for column, values_there in zip(free, np.meshgrid(*axes, indexing="ij"), strict=True):
        theta[:, column] = values_there.ravel()
    order = np.lexsort((theta[:, _S1], theta[:, _R1], theta[:, _R2], theta[:, _S2]))  # equal blocks together
    distinct, at = np.unique(theta[:, _R1], return_inverse=True)
    omega = factorise(problem.pattern, problem.omega(distinct)).logdet()
    values = np.empty((len(theta), Z.shape[-1] - problem.X.shape[2]))
    together = _together(problem)
    for start in range(0, len(theta), together):
        part = order[start : start + together]
        values[part] = profile_at(problem, theta[part], Z, omega[at[part]], reml)
    return theta, values.reshape(*shape, -1)


def _together(problem: SpaceTimeProblem) -> int:
    return max(_AT_ONCE, _CELLS // problem.psi.size)


def _polish(
    problem: SpaceTimeProblem,
    starts: np.ndarray,
    free: tuple[int, ...],
    reml: bool,
    Z: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise from each start, with the data of the problem or with Z, shape (m, D, T, p + 1)."""
    together = _together(problem)

    def evaluate(theta: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = np.empty(len(theta)), np.empty((len(theta), 4))
        for start in range(0, len(theta), together):
            part = slice(start, start + together)
            own = None if Z is None else Z[member[part]]
            values[part], slopes[part] = loglik(problem, theta[part], reml, gradient=True, Z=own)
        return values, slopes

    return climb(evaluate, starts, free, problem.unit)


def refit_spacetime(
    problem: SpaceTimeProblem, y: np.ndarray, free: tuple[str, ...], *, method: str = "reml"
) -> np.ndarray:
    """Estimate the parameters of the same model for many outcomes.

    All outcomes share the scan, since no factorisation depends on them; the Newton steps run in lock step.

    Parameters
    ----------
    y : ndarray, shape (m, D, T)
        Outcomes; read only where the problem has a direct estimate.

    Returns
    -------
    ndarray, shape (m, 4)
    """
    reml, p = method == "reml", problem.X.shape[2]
    shared = np.concatenate([problem.Z[..., :p], np.moveaxis(y, 0, -1) * problem.seen[..., None]], axis=2)
    best, best_value = np.zeros((len(y), 4)), np.full(len(y), -np.inf)
    plain = problem.without_map()
    for chosen in submodels(tuple(PARAMETERS.index(name) for name in free)):
        reduced = problem if _S1 in chosen else plain
        grid, values = _scan(reduced, chosen, reml, shared)
        if not chosen:
            best_value = values[0]
            continue
        starts = grid[values.reshape(len(grid), -1).argmax(axis=0)]
        for first in range(0, len(y), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            theta, value = _polish(reduced, starts[part], chosen, reml, _own(problem, y[part]))
            better = value > best_value[part] + 1e-10
            best[part][better], best_value[part][better] = theta[better], value[better]
    return best


def _own(problem: SpaceTimeProblem, y: np.ndarray) -> np.ndarray:
    """Covariates and outcome of each replicate, shape (m, D, T, p + 1)."""
    covariates = np.broadcast_to(problem.Z[..., :-1], (len(y), *problem.X.shape))
    return np.concatenate([covariates, (y * problem.seen)[..., None]], axis=3)


def predict_spacetime(
    problem: SpaceTimeProblem, theta: np.ndarray, y: np.ndarray | None = None
) -> SpaceTimePrediction:
    """Predict every area and period at k parameter values.

    Parameters
    ----------
    theta : ndarray, shape (k, 4)
    y : ndarray, shape (k, D, T), optional
        An outcome for each value, instead of the problem's own.
    """
    Z = problem.Z if y is None else _own(problem, y)
    return _predictions(problem, theta, Z, pieces(problem, theta, Z))


def _predictions(
    problem: SpaceTimeProblem, theta: np.ndarray, Z: np.ndarray, parts: Pieces
) -> SpaceTimePrediction:
    n_times, p = problem.X.shape[1:]
    at_zero = np.asarray((theta[:, [_S1, _S2]] == 0.0).all(axis=1))
    gram = np.where(at_zero[:, None, None], np.eye(p + 1), parts.gram)
    cov = np.linalg.inv(gram[:, :p, :p])
    beta = (cov @ gram[:, :p, p:])[..., 0]
    for k in np.flatnonzero(at_zero):
        _, own, root = least_squares(problem, Z if Z.ndim == 3 else Z[k], reml=False)
        beta[k], cov[k] = own[:, 0], root @ root.T
    covariance = np.stack([s2 * ar1(r2, n_times)[0] for s2, r2 in theta[:, _S2:]])[:, None]
    seen = problem.seen.astype(float)
    area = theta[:, _S1, None, None] * parts.U  # what a linear predictor makes of X and y as outcomes
    within = covariance @ (parts.inverse @ (Z - seen[..., None] * area[:, :, None, :]))
    contrast = np.concatenate([-beta, np.ones((len(theta), 1))], axis=1)
    area_effect = (area @ contrast[..., None])[..., 0]
    time_effect = (within @ contrast[:, None, :, None])[..., 0]
    eblup = (problem.X @ beta[:, None, :, None])[..., 0] + area_effect[..., None] + time_effect
    both = seen[:, :, None] * seen[:, None, :]
    inverse = parts.inverse * both
    kept = 1.0 - (covariance @ (inverse @ seen[..., None]))[..., 0]
    spread = theta[:, _S1, None] * parts.k_factor.inverse().diagonal()
    blocks = covariance - covariance @ inverse @ covariance
    blocks = blocks + spread[..., None, None] * kept[..., :, None] * kept[..., None, :]
    loose = problem.X - area[:, :, None, :p] - within[..., :p]
    return SpaceTimePrediction(beta, cov, area_effect, time_effect, eblup, blocks, loose)


def error_root(
    problem: SpaceTimeProblem, theta: np.ndarray, prediction: SpaceTimePrediction
) -> sparse.csr_array:
    """Matrix R with g1 + g2 of all areas and periods, jointly, equal to R R'; shape (D T, D + D T + p)."""
    n_areas, n_times, p = problem.X.shape
    parts = pieces(problem, theta[None])
    covariance = theta[_S2] * ar1(theta[_R2], n_times)[0]
    seen = problem.seen.astype(float)
    inverse = parts.inverse[0] * (seen[:, :, None] * seen[:, None, :])
    kept = 1.0 - (covariance @ (inverse @ seen[..., None]))[..., 0]
    root = np.sqrt(theta[_S1]) * parts.k_factor.colour(np.eye(n_areas))[0]
    between = (kept[..., None] * root[:, None, :]).reshape(-1, n_areas)
    left = covariance - covariance @ inverse @ covariance
    eigen, vectors = np.linalg.eigh(left)
    within = vectors * np.sqrt(np.maximum(eigen, 0.0))[:, None, :]
    eigen, vectors = np.linalg.eigh(prediction.beta_cov[0])  # singular where an area has no sampling error
    shared = prediction.loose[0].reshape(-1, p) @ (vectors * np.sqrt(np.maximum(eigen, 0.0)))
    return sparse.csr_array(
        sparse.hstack(
            [
                sparse.csr_array(between),
                sparse.block_diag([sparse.csr_array(block) for block in within]),
                sparse.csr_array(shared),
            ]
        )
    )


def observed_information(
    problem: SpaceTimeProblem, theta: np.ndarray, free: tuple[str, ...], *, method: str = "reml"
) -> np.ndarray:
    """Minus the curvature of the criterion in the free parameters, by differences of its exact gradient."""
    columns = [PARAMETERS.index(name) for name in free]
    step = np.where(np.isin(columns, (_S1, _S2)), 1e-5 * theta[columns], 1e-6)
    shifts = np.zeros((2 * len(columns), 4))
    for row, column in enumerate(columns):
        shifts[row, column], shifts[row + len(columns), column] = step[row], -step[row]
    slopes = loglik(problem, theta + shifts, method == "reml", gradient=True)[1][:, columns]
    bend = (slopes[: len(columns)] - slopes[len(columns) :]) / (2.0 * step[:, None])
    return -0.5 * (bend + bend.T)


def _estimates(problem: SpaceTimeProblem, theta: np.ndarray, reml: bool) -> SpaceTimeFit:
    parts = pieces(problem, theta[None])
    at = _predictions(problem, theta[None], problem.Z, parts)
    if theta[[_S1, _S2]].any():
        value = profile(problem, parts.gram, parts.logdet, reml=False)[0][0]
    else:
        value = least_squares(problem, problem.Z, reml=False)[0]
    gradient = slopes_at(problem, theta[None], parts, at.beta, at.beta_cov if reml else None)
    return SpaceTimeFit(
        theta,
        at.beta[0],
        at.beta_cov[0],
        at.area_effect[0],
        at.time_effect[0],
        at.eblup[0],
        float(value[0]),
        gradient[0],
    )
