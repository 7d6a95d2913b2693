"""Predictors of the Fay–Herriot model and their second-order mean squared errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sae.numerics.fay_herriot.fit import units

__all__ = ["Predictions", "predict", "variance_error", "variance_of_variance"]


@dataclass(frozen=True)
class Predictions:
    """Predictions for M areas, with and without a sample, and the parts of their mean squared errors.

    Attributes
    ----------
    estimate, fitted, gamma : ndarray, shape (M,)
        EBLUP, regression part x'β and weight of the direct estimate; gamma is 0 without a sample.
    g1, g2, g3 : ndarray, shape (M,)
        Cost of the area effect, of the coefficients, of the model variance; squared units.
    mse : ndarray, shape (M,)
        g1 + g2 + 2 g3 - b B², squared units. Positive: where the bias correction would make it
        negative it is left out and `corrected` is False.
    corrected : ndarray of bool, shape (M,)
    factor : ndarray, shape (p, M)
        B x' root: the covariance of two areas' errors is the product of their columns.
    """

    estimate: np.ndarray
    fitted: np.ndarray
    gamma: np.ndarray
    g1: np.ndarray
    g2: np.ndarray
    g3: np.ndarray
    mse: np.ndarray
    corrected: np.ndarray
    factor: np.ndarray


def variance_of_variance(
    A: float, vardir: np.ndarray, X: np.ndarray, root: np.ndarray, method: str
) -> tuple[float, float]:
    """Return asymptotic variance and bias of the estimator of the model variance.

    Parameters
    ----------
    A : float
        Model variance.
    vardir : ndarray of float, shape (n,)
        Sampling variances of the areas in the sample.
    X : ndarray of float, shape (p, n)
        Their design, transposed.
    root : ndarray of float, shape (p, p)
        Root of the covariance of the coefficients.
    method : str
        As in `fit_batch`.

    References
    ----------
    Datta and Lahiri (2000), Statistica Sinica 10, 613–627 (REML, ML); Datta, Rao and Smith (2005),
    Biometrika 92, 183–196 (Fay–Herriot moment); Prasad and Rao (1990), JASA 85, 163–171; Li and Lahiri
    (2010), J. Multivariate Anal. 101, 882–892; Yoshimori and Lahiri (2014), J. Multivariate Anal. 124,
    281–294: the arctangent adds no bias of this order.

    Examples
    --------
    >>> variance_of_variance(1.0, np.ones(8), np.ones((1, 8)), np.array([[0.5]]), "reml")
    (1.0, 0.0)
    """
    total = A + vardir
    w = 1.0 / total
    s1, s2 = float(w.sum()), float((w * w).sum())
    n = len(vardir)
    if method == "fh":
        return 2.0 * n / s1**2, 2.0 * (n * s2 - s1**2) / s1**3
    if method == "pr":
        return 2.0 * float((total * total).sum()) / n**2, 0.0
    bias = 0.0 if method.endswith("reml") else -float(((root.T @ X * w) ** 2).sum()) / s2
    if method.startswith("ll"):
        bias += 2.0 / (A * s2)
    return 2.0 / s2, bias


def variance_error(A: float, vardir: np.ndarray, X: np.ndarray, root: np.ndarray, method: str) -> float:
    """Return the asymptotic standard error of the model variance: see `variance_of_variance`.

    Examples
    --------
    >>> variance_error(1.0, np.ones(8), np.ones((1, 8)), np.array([[0.5]]), "reml")
    1.0
    """
    unit = _unit(vardir)
    square = variance_of_variance(A / unit / unit, vardir / unit / unit, X, root / unit, method)[0]
    return math.sqrt(square) * unit * unit


def _unit(vardir: np.ndarray) -> float:
    """Return a power of 2 in which fourth powers are numbers; 1 for variances of ordinary size."""
    found = units(np.array([[vardir.min()], [vardir.max()]]))
    return 1.0 if found is None else float(found[0])


def predict(
    A: float,
    beta: np.ndarray,
    root: np.ndarray,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    method: str,
) -> Predictions:
    """Predict every area of one problem and give the mean squared errors.

    Parameters
    ----------
    A : float
        Model variance.
    beta, root : ndarray of float, shapes (p,) and (p, p)
        Coefficients and the root of their covariance.
    y, vardir : ndarray of float, shape (M,)
        Direct estimates and sampling variances; read only where `sampled`.
    X : ndarray of float, shape (p, M)
        Design of all areas, transposed.
    sampled : ndarray of bool, shape (M,)
    method : str
        How A was estimated, as in `fit_batch`.

    Returns
    -------
    Predictions
        Without a sample: x'β with A - b + x'Qx.

    References
    ----------
    As `variance_of_variance`; Rao and Molina (2015), Small Area Estimation, 2nd ed., section 6.2.1.
    """
    unit = _unit(vardir[sampled])
    A, vardir, root = A / unit / unit, vardir / unit / unit, root / unit
    spread, bias = variance_of_variance(A, vardir[sampled], X[:, sampled], root, method)
    D = np.where(sampled, vardir, np.inf)
    gamma = np.where(sampled, A / (A + D), 0.0)
    shrink = 1.0 - gamma  # B; exactly D / (A + D)
    shrink[sampled] = D[sampled] / (A + D[sampled])
    fitted = beta @ X
    estimate = fitted + gamma * np.where(sampled, y - fitted, 0.0)
    factor = (root.T @ X) * shrink
    g1 = np.where(sampled, shrink * A, A)
    g2 = (factor * factor).sum(axis=0)
    g3 = np.where(sampled, shrink * shrink * spread / (A + D), 0.0)
    plain = g1 + g2 + 2.0 * g3
    mse = plain - bias * shrink * shrink
    corrected = mse > 0.0
    g1, g2, g3, mse = (part * unit * unit for part in (g1, g2, g3, np.where(corrected, mse, plain)))
    return Predictions(estimate, fitted, gamma, g1, g2, g3, mse, corrected, factor * unit)
