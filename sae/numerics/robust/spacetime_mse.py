"""Pseudo-linear error of robust spatial and temporal predictors, and the weight of each direct estimate.

With the robustness weights held fixed each predictor is W y with W X = X, and its error W (effects + errors)
- effects; that parameters are estimated is not in it. See `robust_error`.

References
----------
Chambers, Chandra and Tzavidis (2011), Survey Methodology 37, 153-170; Warnholz (2016), thesis, FU Berlin.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from sae.errors import SaeSpecError
from sae.numerics.robust.effects import clip_weight, effect_system, seen_rows
from sae.numerics.robust.spacetime import RobustSpaceTimeFit
from sae.numerics.spacetime.likelihood import SpaceTimeProblem

__all__ = ["DENSE_LIMIT", "own_weight", "pseudo_root"]

DENSE_LIMIT = 4000  # effects: the pseudo-linear error needs their covariance and the weights as full matrices
_BLOCK = 512  # columns of an inverse held at a time


def _kept(problem, fit, corrected):
    """Share of the plain predictor in the chosen one, shape (D T,)."""
    if not corrected:
        return np.ones(problem.seen.size)
    gap = np.abs(problem.Z[..., -1] - fit.reblup)
    reach = fit.c * np.sqrt(np.einsum("dtt->dt", problem.psi))
    kept = np.minimum(1.0, reach / np.maximum(gap, np.finfo(float).tiny))
    return np.where(problem.seen, kept, 1.0).ravel()


def _smoother(problem, fit, parts):
    """Incidence on the seen cells, weights of their residuals, and the factorised equations."""
    J, precision, sd = parts
    J_seen, D, e = seen_rows(problem, J, fit.beta)
    areas, cells = fit.parameters[0] > 0, fit.parameters[2] > 0
    u = np.concatenate([fit.area_effect] * bool(areas) + [fit.time_effect.ravel()] * bool(cells))
    inner = clip_weight((e - J_seen @ u) / np.sqrt(D), fit.k) / D
    outer = sparse.diags(clip_weight(u / sd, fit.k))
    system = J_seen.T @ sparse.diags(inner) @ J_seen + precision @ outer
    return J_seen, inner, splu(system.tocsc())


def own_weight(problem: SpaceTimeProblem, fit: RobustSpaceTimeFit, *, corrected: bool = False) -> np.ndarray:
    """Weight of each direct estimate in its own prediction at given coefficients; 0 without one.

    Returns
    -------
    ndarray, shape (D, T)
    """
    parts = effect_system(problem, fit.parameters)
    seen, kept = problem.seen.ravel(), _kept(problem, fit, corrected)
    own = np.zeros(problem.seen.size)
    if len(parts[2]):
        J_seen, inner, solver = _smoother(problem, fit, parts)
        places = np.flatnonzero(seen)
        for start in range(0, len(places), _BLOCK):
            rows = J_seen[start : start + _BLOCK].toarray()
            own[places[start : start + _BLOCK]] = (
                np.einsum("ij,ji->i", rows, solver.solve(rows.T)) * inner[start : start + _BLOCK]
            )
    return np.where(seen, kept * own + 1.0 - kept, 0.0).reshape(problem.seen.shape)


def pseudo_root(problem: SpaceTimeProblem, fit: RobustSpaceTimeFit, *, corrected: bool = False) -> np.ndarray:
    """Root R of the joint pseudo-linear error R R' of all areas and periods; squares of a row sum to its MSE.

    Columns: the effects of areas and of cells (those of positive variance), then the sampling errors.

    Returns
    -------
    ndarray, shape (D T, effects + direct estimates)

    Raises
    ------
    SaeSpecError
        If the model has more than `DENSE_LIMIT` effects: the weights are full matrices.
    """
    parts = effect_system(problem, fit.parameters)
    J, precision, sd = parts
    if len(sd) > DENSE_LIMIT:
        raise SaeSpecError(
            f"The pseudo-linear error needs full matrices: at most {DENSE_LIMIT} effects, got {len(sd)}.",
            hint='Use mse="bootstrap".',
        )
    seen, some = problem.seen.ravel(), len(sd) > 0
    J_seen, D, e = seen_rows(problem, J, fit.beta)
    X_all, X = problem.X.reshape(-1, problem.X.shape[2]), problem.Z[problem.seen][:, :-1]
    half = np.linalg.inv(np.linalg.cholesky(precision.toarray())).T if some else np.zeros((0, 0))
    effects = J_seen @ half
    V = effects @ effects.T + np.diag(D)
    H = np.linalg.solve(V, X)
    weighted = H * clip_weight(e / np.sqrt(np.diag(V)), fit.k)[:, None]
    P = np.linalg.solve(weighted.T @ X, weighted.T)
    W = X_all @ P
    if some:
        _, inner, solver = _smoother(problem, fit, parts)
        smoother = J @ solver.solve((J_seen.T @ sparse.diags(inner)).toarray())
        W += smoother - (smoother @ X) @ P
    kept = _kept(problem, fit, corrected)
    W *= kept[:, None]
    W[np.flatnonzero(seen), np.arange(len(D))] += 1.0 - kept[seen]
    return np.hstack([W @ effects - J @ half, W * np.sqrt(D)])
