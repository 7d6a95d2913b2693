"""Errors of the Fay–Herriot predictor in simulated surveys of planned sizes: a check on g1 + g2 + g3."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sae.numerics.fay_herriot.fit import fit_batch
from sae.numerics.random.streams import normals, stream_keys

__all__ = ["simulated_errors"]

_ELEMENTS = 4_000_000  # numbers held at a time: replicates are drawn in blocks
_LEAST = 1e-6  # of the model variance: a census is fitted with so small a sampling variance


def simulated_errors(
    variance: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    labels: Sequence[object],
    seed: int,
    reported: Callable[[np.ndarray, np.ndarray, slice], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean squared error of every area, shape (M,), and its Monte Carlo standard error.

    Replicate r draws area effects of variance A_r and direct estimates about them, fits by REML and compares
    prediction with truth. The predictor's error does not depend on the coefficients: they are 0.

    Parameters
    ----------
    variance : ndarray, shape (R,)
        A_r of each replicate.
    vardir : ndarray, shape (M,)
        Sampling variances on the model's scale; read only where `sampled`; may be 0.
    X : ndarray, shape (p, M)
    sampled : ndarray of bool, shape (M,)
    labels : sequence, length M
        Names of the areas: the name of their random streams.
    seed : int
    reported : callable
        From errors on the model's scale, what is left to know about the area (A B or A), both (R, M), and the
        slice of replicates to errors on the scale that counts.
    """
    effects, noise = (stream_keys(seed, name, labels) for name in ("area effect", "sampling error"))
    D, p = np.where(sampled, vardir, 0.0), len(X)
    fitted_with = np.ascontiguousarray(np.maximum(D, _LEAST * variance.min())[sampled])
    inside, X_sampled = np.array([0, int(sampled.sum())]), np.ascontiguousarray(X[:, sampled])
    total, square = np.zeros(len(D)), np.zeros(len(D))
    block = max(1, min(len(variance), _ELEMENTS // len(D)))
    for start in range(0, len(variance), block):
        here = slice(start, min(start + block, len(variance)))
        count = here.stop - start
        truth = np.sqrt(variance[here, None]) * normals(effects, start, count)
        y = (truth + np.sqrt(D) * normals(noise, start, count))[:, sampled]
        fits = fit_batch(y, fitted_with, X_sampled, inside, "reml", full=False)
        A = fits.variance.reshape(count, 1)
        predicted = fits.coefficients.reshape(count, p) @ X
        weight = np.where(sampled, A / np.maximum(A + D, np.finfo(float).tiny), 0.0)
        weight = np.where(sampled & (D == 0.0), 1.0, weight)  # a census is the truth
        residual = np.zeros_like(truth)
        residual[:, sampled] = y - predicted[:, sampled]
        error = predicted + weight * residual - truth
        gap2 = reported(error, A * (1.0 - weight), here) ** 2
        total += gap2.sum(axis=0)
        square += (gap2 * gap2).sum(axis=0)
    R = len(variance)
    mse = total / R
    return mse, np.sqrt(np.maximum(square / R - mse * mse, 0.0) / R)
