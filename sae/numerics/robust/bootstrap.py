"""Parametric bootstrap of the robust Fay-Herriot predictors, under the normal model without outliers.

Each replicate draws true values and direct estimates with the robust estimates, solves the robust equations
anew and compares prediction with truth.

References
----------
Sinha and Rao (2009), Canadian Journal of Statistics 37, 381-399, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sae.numerics.inference.tally import STAGES, Tally
from sae.numerics.linalg.cholesky import factorise
from sae.numerics.random.streams import normals, stream_keys
from sae.numerics.robust.fit import RobustFit, reblup, robust_batch
from sae.numerics.robust.spacetime import RobustSpaceTimeFit, fit_robust_spacetime
from sae.numerics.spacetime.fit import predict_spacetime
from sae.numerics.spacetime.likelihood import SpaceTimeProblem, ar1

__all__ = ["bootstrap_robust", "bootstrap_robust_spacetime"]

_ELEMENTS = 4_000_000  # numbers held at a time: replicates are drawn in blocks


def bootstrap_robust(
    fit: RobustFit,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    labels: Sequence[object],
    *,
    replicates: int | None,
    seed: int,
    c: float = 1.0,
    corrected: bool = False,
) -> tuple[Tally, np.ndarray]:
    """Parametric bootstrap of a robust predictor P.

    Given the direct estimates the truth θ of a replicate is normal: E (P - θ)² = Var θ + E (P - E θ)², of
    which only the last term is simulated.

    Parameters
    ----------
    fit : RobustFit
    vardir : ndarray, shape (m,)
        Sampling variances; read only where `sampled`.
    X : ndarray, shape (m, p)
        All areas.
    sampled : ndarray of bool, shape (m,)
    labels : sequence, length m
        Names of the areas: the name of their random streams.
    replicates : int or None
        None takes as many as bring the error of every area to `GOAL`.
    seed : int
    c : float
        Tuning constant of the bias correction.
    corrected : bool
        Whether P is the bias-corrected predictor; in areas without a sample they are equal.

    Returns
    -------
    tally : Tally
        Mean squared errors.
    errors : ndarray, shape (B, m)
        Prediction minus truth in each replicate, or in the first 200 where their number is not given.
    """
    effects = stream_keys(seed, "area effect", labels)
    noise = stream_keys(seed, "sampling error", labels)[sampled]
    D, X_sampled = vardir[sampled], X[sampled]
    fitted = X @ fit.beta
    own = np.zeros(len(X))
    own[sampled] = fit.variance / (fit.variance + D)
    tally, kept = Tally(fit.variance * (1.0 - own), replicates), []
    for start, stop in tally.blocks(min(STAGES[0], _ELEMENTS // len(X))):
        truth = fitted + np.sqrt(fit.variance) * normals(effects, start, stop - start)
        y = truth[:, sampled] + np.sqrt(D) * normals(noise, start, stop - start)
        variance, beta, _ = robust_batch(y, D, X_sampled, fit.k)
        predicted = beta @ X.T
        predicted[:, sampled] = reblup(y, D, predicted[:, sampled], variance[:, None], fit.k, c)[corrected]
        best = np.broadcast_to(fitted, truth.shape).copy()
        best[:, sampled] += own[sampled] * (y - fitted[sampled])
        tally.add((predicted - best) ** 2)
        if replicates is not None or start < STAGES[0]:
            kept.append(predicted - truth)
    return tally, np.concatenate(kept)


def bootstrap_robust_spacetime(
    problem: SpaceTimeProblem,
    fit: RobustSpaceTimeFit,
    free: tuple[str, ...],
    *,
    areas: Sequence[object],
    cells: Sequence[object],
    replicates: int | None,
    seed: int,
    corrected: bool = False,
) -> tuple[Tally, np.ndarray, int]:
    """Parametric bootstrap of a robust predictor P of a spatial or temporal model.

    P moves with y as the regression does, so that P less the best linear predictor depends on contrasts of y
    alone, of which the error of the latter is independent: E (P - θ)² = g1 + g2 + E (P - BLUP)², and only the
    last term is simulated. Each refit starts from the solution on the data, and from everywhere if that does
    not lead to one.

    Parameters
    ----------
    problem : SpaceTimeProblem
    fit : RobustSpaceTimeFit
        From `fit_robust_spacetime` with the same `free`.
    areas, cells : sequence, length D and D T
        Names of the random streams of the areas, and of each period of each area (area by area).
    replicates : int or None
        None is 200: each is a fit of its own.
    corrected : bool
        Whether P is the bias-corrected predictor.

    Returns
    -------
    tally : Tally
        Mean squared errors, of shape (D, T).
    errors : ndarray, shape (replicates, D, T)
        Prediction minus truth.
    unfinished : int
        Replicates whose equations could not be solved; they are counted in with the best point found.
    """
    shape = problem.seen.shape
    s1, r1, s2, r2 = fit.parameters
    area = stream_keys(seed, "area effect", areas)
    period, noise = (stream_keys(seed, what, cells) for what in ("time effect", "sampling error"))
    precision = factorise(problem.pattern, problem.omega(np.array([r1])))
    root = np.linalg.cholesky(ar1(r2, shape[1])[0])
    sd = np.sqrt(np.einsum("dtt->dt", problem.psi))
    smallest = sd[problem.seen].min() ** 2
    start = np.where([True, False, True, False], np.maximum(fit.parameters, 0.01 * smallest), fit.parameters)
    at = predict_spacetime(problem, fit.parameters[None])
    tally, kept, unfinished = Tally(at.g1[0] + at.g2[0], replicates or STAGES[0]), [], 0
    for replicate, _ in tally.blocks(1):
        u = precision.colour(normals(area, replicate, 1).T)[0]
        v = normals(period, replicate, 1).reshape(shape) @ root.T
        truth = problem.X @ fit.beta + np.sqrt(s1) * u + np.sqrt(s2) * v
        y = (truth + sd * normals(noise, replicate, 1).reshape(shape)) * problem.seen
        Z = problem.Z.copy()
        Z[..., -1] = y
        drawn = replace(problem, Z=Z)
        refit = fit_robust_spacetime(drawn, free, k=fit.k, c=fit.c, start=start)
        if refit.status == "not converged":
            refit = fit_robust_spacetime(drawn, free, k=fit.k, c=fit.c)
            unfinished += refit.status == "not converged"
        predicted = refit.reblupbc if corrected else refit.reblup
        best = predict_spacetime(problem, fit.parameters[None], y[None]).eblup
        tally.add((predicted - best) ** 2)
        kept.append(predicted - truth)
    return tally, np.array(kept), unfinished
