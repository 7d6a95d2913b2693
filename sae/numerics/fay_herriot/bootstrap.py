"""Parametric bootstrap of the Fay–Herriot predictor, on the scale on which it is reported."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.numerics.fay_herriot.fit import FayHerriotFits, fit_batch
from sae.numerics.inference.transforms import Transform
from sae.numerics.random.streams import normals, stream_keys

__all__ = ["bootstrap_mse"]

_ELEMENTS = 4_000_000  # numbers held at a time: replicates are drawn in blocks


def bootstrap_mse(
    fits: FayHerriotFits,
    vardir: np.ndarray,
    X: np.ndarray,
    offsets: np.ndarray,
    sampled: np.ndarray,
    labels: Sequence[object],
    *,
    method: str,
    transform: Transform,
    replicates: int,
    seed: int,
    slope: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error of the back-transformed predictor of every area.

    Each replicate draws new true values θ* = Xβ + v*, new direct estimates y* = θ* + e*, refits through the
    same kernel and compares prediction with truth after the back-transform.

    Parameters
    ----------
    fits : FayHerriotFits
        The fits of P problems to the data (one replicate).
    vardir : ndarray of float, shape (M,)
        Sampling variances on the model's scale; read only where `sampled`.
    X : ndarray of float, shape (p, M)
        Designs of all areas, concatenated by problem, transposed.
    offsets : ndarray of int64, shape (P + 1,)
        Bounds of the problems among the M areas.
    sampled : ndarray of bool, shape (M,)
    labels : sequence, length M
        Names of the areas: the name of their random streams.
    method : str
        As in `fit_batch`.
    transform : Transform
    replicates : int
    seed : int
    slope : ndarray of float, shape (M,), optional
        Of the back-transform at the predictions. Given, the bias that the replicates show in the leading term
        g1, the variance of the truth given direct estimate and parameters, is carried to the reported scale
        by it and taken off.

    Returns
    -------
    mse : ndarray of float, shape (M,)
        Squared units of the reported scale. Its relative Monte Carlo error is about sqrt(2 / replicates).
    corrected : ndarray of bool, shape (M,)
        Where the bias was taken off: not where the result would be negative.

    References
    ----------
    González-Manteiga, Lombardía, Molina, Morales and Santamaría (2008), J. Stat. Comput. Simul. 78, 443–462;
    Butar and Lahiri (2003), J. Stat. Plan. Inference 112, 63–76 (correction).
    """
    effects, errors = (
        stream_keys(seed, "area effect", labels),
        stream_keys(seed, "sampling error", labels)[sampled],
    )
    problem = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    A = fits.variance[0][problem]
    fitted = np.einsum("mp,pm->m", fits.coefficients[0][problem], X)
    inside = np.concatenate([[0], np.cumsum(sampled)])[offsets]
    D, X_sampled = np.ascontiguousarray(vardir[sampled]), np.ascontiguousarray(X[:, sampled])
    total, leading = np.zeros(len(sampled)), np.zeros(len(sampled))
    block = max(1, min(replicates, _ELEMENTS // len(sampled)))
    for start in range(0, replicates, block):
        count = min(block, replicates - start)
        truth = fitted + np.sqrt(A) * normals(effects, start, count)
        y = truth[:, sampled] + np.sqrt(D) * normals(errors, start, count)
        refit = fit_batch(y, D, X_sampled, inside, method, full=False)
        variance = refit.variance[:, problem]
        predicted = np.empty_like(truth)
        for k in range(len(offsets) - 1):
            areas = slice(offsets[k], offsets[k + 1])
            predicted[:, areas] = refit.coefficients[:, k] @ X[:, areas]
        gamma = variance[:, sampled] / (variance[:, sampled] + D)
        predicted[:, sampled] += gamma * (y - predicted[:, sampled])
        variance[:, sampled] *= 1.0 - gamma  # what is left to know about the area: A B
        gap = transform.mean(predicted, variance) - transform.inverse(truth)
        total += (gap * gap).sum(axis=0)
        leading += variance.sum(axis=0)
    mse = total / replicates
    if slope is None:
        return mse, np.zeros(len(sampled), dtype=bool)
    gamma = np.where(sampled, A / (A + np.where(sampled, vardir, 1.0)), 0.0)
    better = mse - (leading / replicates - A * (1.0 - gamma)) * slope**2
    return np.where(better > 0.0, better, mse), better > 0.0
