"""Jackknife of the Fay–Herriot predictor: every area left out once, all refits in one kernel call."""

from __future__ import annotations

import numpy as np

from sae.numerics.fay_herriot.fit import fit_batch

__all__ = ["jackknife_mse"]

_ELEMENTS = 4_000_000  # numbers held at a time: areas are left out in blocks


def jackknife_mse(
    A: float,
    beta: np.ndarray,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    *,
    method: str,
    weighted: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error of the predictor of every area of one fit, with and without a sample.

    g1 - Σ w_j [g1(-j) - g1] + Σ w_j [θ̂(-j) - θ̂]² over the m areas with a sample; w_j = (m - 1) / m, or
    1 - leverage of area j where `weighted`.

    Parameters
    ----------
    A, beta
        The fit to all areas.
    y, vardir, X, sampled
        As in `predict`.
    method : str
        As in `fit_batch`.
    weighted : bool

    Returns
    -------
    mse : ndarray of float, shape (M,)
        Squared units. Positive: where the correction of g1 would make it negative it is left out.
    corrected : ndarray of bool, shape (M,)

    Raises
    ------
    ValueError
        If the model cannot be fitted without some area; ``args[1]`` is its position among the areas with a
        sample, ``args[2]`` the column that the others then explain, or -1 for too few areas.

    References
    ----------
    Jiang, Lahiri and Wan (2002), Ann. Stat. 30, 1782–1810; Chen and Lahiri (2002), Proc. Survey Research
    Methods Section of the ASA, 473–478 (weights).
    """
    inside = np.flatnonzero(sampled)
    m = len(inside)
    D, target = np.where(sampled, vardir, np.inf), np.where(sampled, y, 0.0)

    def predicted(A: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return g1 and the predictions, shape (K, M), at K parameters."""
        A = A[:, None]
        gamma = A / (A + D)
        fitted = beta @ X
        return np.where(sampled, A * (1.0 - gamma), A), fitted + gamma * (target - fitted)

    weights = np.full(m, (m - 1) / m)
    if weighted:
        base, _ = np.linalg.qr(X[:, inside].T)
        weights = 1.0 - (base * base).sum(axis=1)
    g1, estimate = predicted(np.array([A]), beta[None])
    bias, spread = np.zeros(len(y)), np.zeros(len(y))
    block = max(1, _ELEMENTS // (len(y) * len(X)))
    for start in range(0, m, block):
        left_out = np.arange(start, min(start + block, m))
        kept = np.concatenate([np.delete(inside, j) for j in left_out])
        offsets = np.arange(len(left_out) + 1) * (m - 1)
        try:
            fits = fit_batch(y[kept], vardir[kept], X[:, kept], offsets, method, full=False)
        except ValueError as error:
            raise ValueError(error.args[0], start + error.args[1], error.args[2]) from None
        g1_without, without = predicted(fits.variance[0], fits.coefficients[0])
        bias += weights[left_out] @ (g1_without - g1)
        spread += weights[left_out] @ (without - estimate) ** 2
    mse = g1[0] - bias + spread
    return np.where(mse > 0.0, mse, g1[0] + spread), mse > 0.0
