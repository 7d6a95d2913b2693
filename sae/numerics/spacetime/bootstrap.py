"""Parametric and non-parametric bootstrap of the predictors of `spacetime`.

References
----------
Molina, Salvati and Pratesi (2009), Computational Statistics 24, 441-458 (spatial; bias-corrected forms);
Marhuenda, Molina and Morales (2013), CSDA 58, 308-325 (spatio-temporal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.special import ndtr

from sae.numerics.inference.tally import SLOW, STAGES, Tally
from sae.numerics.random.streams import normals, stream_keys
from sae.numerics.spacetime.fit import SpaceTimeFit, SpaceTimeProblem, predict_spacetime, refit_spacetime
from sae.numerics.spacetime.likelihood import ar1

__all__ = ["SpaceTimeBootstrap", "bootstrap_spacetime"]

_AT_ONCE = 8  # replicates whose predictions stand in memory together


@dataclass(frozen=True, eq=False)
class SpaceTimeBootstrap:
    """Bootstrap errors of the predictions of every area and period.

    Attributes
    ----------
    errors : ndarray, shape (B, D, T)
        Prediction minus truth in each replicate, or in the first 200 where their number is not given.
    tally : Tally
        Mean squared errors, of shape (D, T).
    corrected : ndarray, shape (D, T)
        2 (g1 + g2) at the estimates, less the mean of g1 + g2 at the replicates' estimates, plus the mean
        square of what estimating the parameters changes: without the first-order bias. May be negative.
    parameters : ndarray, shape (B, 4)
        Estimates of all replicates.
    """

    errors: np.ndarray
    tally: Tally
    corrected: np.ndarray
    parameters: np.ndarray


def bootstrap_spacetime(
    problem: SpaceTimeProblem,
    fit: SpaceTimeFit,
    free: tuple[str, ...],
    *,
    areas: Sequence[object],
    cells: Sequence[object],
    replicates: int | None,
    seed: int,
    method: str = "reml",
    kind: str = "parametric",
) -> SpaceTimeBootstrap:
    """Draw new truths and new direct estimates, refit, and compare prediction with truth.

    The error of the best linear predictor at the parameters drawn from is g1 + g2, and under normality
    independent of what estimating them changes (Kackar and Harville 1984): the mean square of that change is
    all that the parametric bootstrap simulates. Otherwise it is the difference of both squared errors.

    Parameters
    ----------
    problem, fit, free, method
        As given to and returned by `fit_spacetime`.
    areas, cells : sequence, length D and D T
        Names of the random streams of the areas, and of each period of each area (area by area).
    replicates : int or None
        None takes as many as bring the error of every area and period to `GOAL`.
    kind : {"parametric", "nonparametric"}
        Normal effects and errors, or the standardised predicted effects and residuals drawn with replacement
        (T = 1 only).
    """
    draw = _parametric if kind == "parametric" else _nonparametric
    at = predict_spacetime(problem, fit.parameters[None])
    known = at.g1[0] + at.g2[0]
    tally, errors, parameters = Tally(known, replicates, SLOW), [], []
    spread, moved = np.zeros(known.shape), np.zeros(known.shape)
    for first, last in tally.blocks(STAGES[0]):
        effects, noise = draw(problem, fit, (first, last - first), seed, areas, cells)
        truth = problem.X @ fit.beta + effects
        y = np.where(problem.seen, truth + noise, 0.0)
        parameters.append(refit_spacetime(problem, y, free, method=method))
        for start in range(0, len(y), _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, len(y)))
            best = predict_spacetime(problem, parameters[-1][part], y[part])
            given = np.repeat(fit.parameters[None], part.stop - start, axis=0)
            blup = predict_spacetime(problem, given, y[part]).eblup
            change = (best.eblup - blup) ** 2
            error = best.eblup - truth[part]
            tally.add(change if kind == "parametric" else error**2 - (blup - truth[part]) ** 2)
            spread += (best.g1 + best.g2).sum(axis=0)
            moved += change.sum(axis=0)
            if replicates is not None or first == 0:
                errors.append(error)
    corrected = 2.0 * known - spread / tally.count + moved / tally.count
    return SpaceTimeBootstrap(np.concatenate(errors), tally, corrected, np.concatenate(parameters))


def _spread_over_map(problem: SpaceTimeProblem, rho: float, independent: np.ndarray) -> np.ndarray:
    """(I - rho W)^-1 of the columns of `independent`, shape (D, B)."""
    root = sparse.identity(problem.pattern.size, format="csc") - rho * problem.weights.tocsc()
    return splu(root).solve(independent)


def _parametric(
    problem: SpaceTimeProblem,
    fit: SpaceTimeFit,
    block: tuple[int, int],
    seed: int,
    areas: Sequence[object],
    cells: Sequence[object],
) -> tuple[np.ndarray, np.ndarray]:
    """Effects and sampling errors of a block (first replicate, number), both of shape (B, D, T)."""
    s1, r1, s2, r2 = fit.parameters
    shape = (block[1], *problem.seen.shape)
    z = normals(stream_keys(seed, "area effect", areas), *block)
    effects = (np.sqrt(s1) * _spread_over_map(problem, r1, z.T)).T[..., None] + np.zeros(shape)
    if s2 > 0:
        root = np.linalg.cholesky(s2 * ar1(r2, shape[2])[0])
        effects += normals(stream_keys(seed, "time effect", cells), *block).reshape(shape) @ root.T
    e = normals(stream_keys(seed, "sampling error", cells), *block).reshape(shape)
    return effects, (np.linalg.cholesky(problem.psi) @ e[..., None])[..., 0]


def _nonparametric(
    problem: SpaceTimeProblem,
    fit: SpaceTimeFit,
    block: tuple[int, int],
    seed: int,
    areas: Sequence[object],
    cells: Sequence[object],
) -> tuple[np.ndarray, np.ndarray]:
    s1, r1 = fit.parameters[:2]
    size, s = problem.pattern.size, np.flatnonzero(problem.seen[:, 0])
    D, X = problem.psi[s, 0, 0], problem.X[s, 0]
    root = np.eye(size) - r1 * problem.weights.toarray()
    G = s1 * np.linalg.inv(root.T @ root)
    V_inv = np.linalg.inv(G[np.ix_(s, s)] + np.diag(D))
    P = V_inv - V_inv @ X @ fit.beta_cov @ X.T @ V_inv
    Py = P @ problem.Z[s, 0, -1]
    pull = root @ G[:, s]  # of (I - rho W) times the predicted effects, which are independent
    pools = (
        _standardised(pull @ Py, pull @ P @ pull.T, len(s) - X.shape[1]) if s1 > 0 else np.zeros(size),
        _standardised(D * Py, D[:, None] * P * D, len(s) - X.shape[1]),
    )
    chosen = [
        pool[(ndtr(normals(stream_keys(seed, what, labels), *block)) * len(pool)).astype(int)]
        for pool, what, labels in zip(pools, ("area effect", "sampling error"), (areas, cells), strict=True)
    ]
    effects = _spread_over_map(problem, r1, np.sqrt(s1) * chosen[0].T).T
    return effects[..., None], (np.sqrt(problem.psi[:, 0, 0]) * chosen[1])[..., None]


def _standardised(values: np.ndarray, covariance: np.ndarray, rank: int) -> np.ndarray:
    """Make values uncorrelated by the root of the pseudo-inverse, then of mean 0 and variance 1."""
    eigen, vectors = np.linalg.eigh(covariance)
    eigen, vectors = eigen[-rank:], vectors[:, -rank:]  # the others are 0: the coefficients took them
    plain = vectors @ ((vectors.T @ values) / np.sqrt(eigen))
    plain = plain - plain.mean()
    return plain / np.sqrt(np.mean(plain**2))
