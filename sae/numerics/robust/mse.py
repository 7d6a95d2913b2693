"""Pseudo-linear error of the robust Fay-Herriot predictors: area by area, and jointly.

With the robustness weights held fixed each predictor is W y with W X = X. Row d is

    prediction - truth = a_d (x_d'b - u_d) + (1 - a_d) e_d,     b = P (u + e),

P from `robust.RobustFit.projection`, a_d the share of x'beta in the prediction, 1 without a sample. That A
was estimated is not in it: for large k the MSE is g1 + g2.

References
----------
Chambers, Chandra and Tzavidis (2011), Survey Methodology 37, 153-170; Warnholz (2016), thesis, FU Berlin.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from sae.numerics.inference.joint_error import JointError
from sae.numerics.robust.fit import RobustFit, robust_effect

__all__ = ["pseudo_joint", "synthetic_share"]


def synthetic_share(
    fit: RobustFit, y: np.ndarray, vardir: np.ndarray, X: np.ndarray, c: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Share of x'beta in both predictors of sampled areas; D / (A + D) where nothing is clipped.

    The bias-corrected predictor moves 1 - t of the way to y, t = min(1, c sqrt(D) / |y - reblup|).

    Returns
    -------
    plain, corrected : ndarray, shape (n,)
    """
    A = fit.variance
    residual = y - X @ fit.beta
    effect = robust_effect(residual, A, vardir, fit.k)
    quiet = np.abs(residual) <= np.finfo(float).tiny
    plain = 1.0 - np.where(quiet, A / (A + vardir), effect / np.where(quiet, 1.0, residual))
    gap = np.abs(residual - effect)
    return plain, plain * np.minimum(1.0, c * np.sqrt(vardir) / np.maximum(gap, np.finfo(float).tiny))


def pseudo_joint(
    fit: RobustFit, share: np.ndarray, vardir: np.ndarray, X: np.ndarray, sampled: np.ndarray
) -> JointError:
    """Joint pseudo-linear error of M areas, exactly, with 2 p columns for what they share.

    Parameters
    ----------
    fit : RobustFit
    share : ndarray, shape (M,)
        Of x'beta: `synthetic_share`, 1 without a sample.
    vardir : ndarray, shape (M,)
        Read only where `sampled`.
    X : ndarray, shape (M, p)
    sampled : ndarray of bool, shape (M,)
    """
    A, D = fit.variance, np.where(sampled, vardir, 0.0)
    own = np.sqrt(share**2 * A + (1.0 - share) ** 2 * D)  # sd of w = -a u + (1 - a) e
    # u + e of a sampled area is `slope` w and a remainder that is independent of w
    common = (1.0 - share) * D - share * A
    slope = np.divide(common, own, out=np.zeros_like(own), where=own > 0)
    P = np.zeros((X.shape[1], len(X)))
    P[:, sampled] = fit.projection
    rest = (P * np.maximum(A + D - slope**2, 0.0)) @ P.T
    eigen, vectors = np.linalg.eigh(rest)
    weighted = share[:, None] * X
    root = weighted @ (vectors * np.sqrt(np.maximum(eigen, 0.0)))
    return JointError(
        own, sparse.csr_array(root), sparse.csr_array(weighted), sparse.csr_array((P * slope).T)
    )
