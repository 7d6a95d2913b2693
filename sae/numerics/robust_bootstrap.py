"""Parametric bootstrap of the robust Fay-Herriot predictors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sae.numerics.robust import RobustFit, reblup, robust_batch
from sae.numerics.robust_spacetime import RobustSpaceTimeFit, fit_robust_spacetime
from sae.numerics.spacetime_likelihood import SpaceTimeProblem, ar1
from sae.numerics.sparse import factorise
from sae.numerics.streams import normals, stream_keys

__all__ = ["robust_bootstrap_mse", "robust_spacetime_bootstrap_mse"]

_ELEMENTS = 4_000_000  # numbers held at a time: replicates are drawn in blocks


def robust_bootstrap_mse(
    fit: RobustFit,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    labels: Sequence[object],
    *,
    replicates: int,
    seed: int,
    c: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error of both robust predictors under the normal model with the robust estimates.

    Each replicate draws true values X beta + u*, direct estimates with errors e*, solves the robust equations
    anew and compares prediction with truth.

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
    plain, corrected : ndarray, shape (m,)
        Equal in areas without a sample. The relative Monte Carlo error is about sqrt(2 / replicates).

    References
    ----------
    Sinha and Rao (2009), Canadian Journal of Statistics 37, 381-399, section 4.
    """
    effects = stream_keys(seed, "area effect", labels)
    errors = stream_keys(seed, "sampling error", labels)[sampled]
    D, X_sampled = vardir[sampled], X[sampled]
    fitted = X @ fit.beta
    totals = np.zeros((2, len(X)))
    block = max(1, min(replicates, _ELEMENTS // len(X)))
    for start in range(0, replicates, block):
        count = min(block, replicates - start)
        truth = fitted + np.sqrt(fit.variance) * normals(effects, start, count)
        y = truth[:, sampled] + np.sqrt(D) * normals(errors, start, count)
        variance, beta, _ = robust_batch(y, D, X_sampled, fit.k)
        synthetic = beta @ X.T
        for total, predicted in zip(
            totals, reblup(y, D, synthetic[:, sampled], variance[:, None], fit.k, c), strict=True
        ):
            gap = synthetic - truth
            gap[:, sampled] = predicted - truth[:, sampled]
            total += (gap * gap).sum(axis=0)
    return totals[0] / replicates, totals[1] / replicates


def robust_spacetime_bootstrap_mse(
    problem: SpaceTimeProblem,
    fit: RobustSpaceTimeFit,
    free: tuple[str, ...],
    labels: Sequence[object],
    *,
    replicates: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean squared error of both robust predictors of a spatial or temporal model.

    As `robust_bootstrap_mse`. Each refit starts from the solution on the data, and from everywhere if that
    does not lead to one.

    Parameters
    ----------
    problem : SpaceTimeProblem
    fit : RobustSpaceTimeFit
        From `fit_robust_spacetime` with the same `free`.
    labels : sequence, length D
        Names of the areas: the names of their random streams.

    Returns
    -------
    plain, corrected : ndarray, shape (D, T)
    unfinished : int
        Replicates whose equations could not be solved; they are counted in with the best point found.
    """
    n_areas, n_times = problem.seen.shape
    s1, r1, s2, r2 = fit.parameters
    area, cell, error = (
        stream_keys(seed, what, labels) for what in ("area effect", "period effect", "sampling error")
    )
    precision = factorise(problem.pattern, problem.omega(np.array([r1])))
    root = np.linalg.cholesky(ar1(r2, n_times)[0])
    noise = np.sqrt(np.einsum("dtt->dt", problem.psi))
    smallest = noise[problem.seen].min() ** 2
    start = np.where([True, False, True, False], np.maximum(fit.parameters, 0.01 * smallest), fit.parameters)
    totals, unfinished = np.zeros((2, n_areas, n_times)), 0
    for replicate in range(replicates):
        first = replicate * n_times
        u = precision.colour(normals(area, replicate, 1).T)[0]
        v = normals(cell, first, n_times).T @ root.T
        truth = problem.X @ fit.beta + np.sqrt(s1) * u + np.sqrt(s2) * v
        Z = problem.Z.copy()
        Z[..., -1] = (truth + noise * normals(error, first, n_times).T) * problem.seen
        drawn = replace(problem, Z=Z)
        refit = fit_robust_spacetime(drawn, free, k=fit.k, c=fit.c, start=start)
        if refit.status == "not converged":
            refit = fit_robust_spacetime(drawn, free, k=fit.k, c=fit.c)
            unfinished += refit.status == "not converged"
        totals[0] += (refit.reblup - truth) ** 2
        totals[1] += (refit.reblupbc - truth) ** 2
    return totals[0] / replicates, totals[1] / replicates, unfinished
