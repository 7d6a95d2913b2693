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

from sae.numerics.linalg.cholesky import factorise
from sae.numerics.random.streams import normals, stream_keys
from sae.numerics.robust.fit import RobustFit, reblup, robust_batch
from sae.numerics.robust.spacetime import RobustSpaceTimeFit, fit_robust_spacetime
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
    replicates: int,
    seed: int,
    c: float = 1.0,
) -> np.ndarray:
    """Errors of both robust predictors, prediction minus truth.

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
    replicates, seed : int
    c : float
        Tuning constant of the bias correction.

    Returns
    -------
    ndarray, shape (2, replicates, m)
        Plain and bias-corrected; equal in areas without a sample. The relative Monte Carlo error of their
        mean square is about sqrt(2 / replicates).
    """
    effects = stream_keys(seed, "area effect", labels)
    noise = stream_keys(seed, "sampling error", labels)[sampled]
    D, X_sampled = vardir[sampled], X[sampled]
    fitted = X @ fit.beta
    errors = np.empty((2, replicates, len(X)))
    block = max(1, min(replicates, _ELEMENTS // len(X)))
    for start in range(0, replicates, block):
        count = min(block, replicates - start)
        truth = fitted + np.sqrt(fit.variance) * normals(effects, start, count)
        y = truth[:, sampled] + np.sqrt(D) * normals(noise, start, count)
        variance, beta, _ = robust_batch(y, D, X_sampled, fit.k)
        synthetic = beta @ X.T
        errors[:, start : start + count] = synthetic - truth
        for part, predicted in zip(
            errors, reblup(y, D, synthetic[:, sampled], variance[:, None], fit.k, c), strict=True
        ):
            part[start : start + count, sampled] = predicted - truth[:, sampled]
    return errors


def bootstrap_robust_spacetime(
    problem: SpaceTimeProblem,
    fit: RobustSpaceTimeFit,
    free: tuple[str, ...],
    *,
    areas: Sequence[object],
    cells: Sequence[object],
    replicates: int,
    seed: int,
) -> tuple[np.ndarray, int]:
    """Errors of both robust predictors of a spatial or temporal model, prediction minus truth.

    Each refit starts from the solution on the data, and from everywhere if that does not lead to one.

    Parameters
    ----------
    problem : SpaceTimeProblem
    fit : RobustSpaceTimeFit
        From `fit_robust_spacetime` with the same `free`.
    areas, cells : sequence, length D and D T
        Names of the random streams of the areas, and of each period of each area (area by area).

    Returns
    -------
    errors : ndarray, shape (2, replicates, D, T)
        Plain and bias-corrected.
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
    errors, unfinished = np.empty((2, replicates, *shape)), 0
    for replicate in range(replicates):
        u = precision.colour(normals(area, replicate, 1).T)[0]
        v = normals(period, replicate, 1).reshape(shape) @ root.T
        truth = problem.X @ fit.beta + np.sqrt(s1) * u + np.sqrt(s2) * v
        Z = problem.Z.copy()
        Z[..., -1] = (truth + sd * normals(noise, replicate, 1).reshape(shape)) * problem.seen
        drawn = replace(problem, Z=Z)
        refit = fit_robust_spacetime(drawn, free, k=fit.k, c=fit.c, start=start)
        if refit.status == "not converged":
            refit = fit_robust_spacetime(drawn, free, k=fit.k, c=fit.c)
            unfinished += refit.status == "not converged"
        errors[:, replicate] = refit.reblup - truth, refit.reblupbc - truth
    return errors, unfinished
