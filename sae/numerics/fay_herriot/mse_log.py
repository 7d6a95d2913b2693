"""Mean squared error of a Fay–Herriot model of logarithms, on the scale of the estimates."""

from __future__ import annotations

import numpy as np

from sae.numerics.fay_herriot.mse import Predictions, variance_of_variance

__all__ = ["log_mse"]


def log_mse(
    part: Predictions,
    A: float,
    vardir: np.ndarray,
    X: np.ndarray,
    root: np.ndarray,
    sampled: np.ndarray,
    method: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Second-order mean squared error of exp(θ̂ + A (1 - γ) / 2).

    The truth exp θ has the variance G = exp(2x'β + 2A) (1 - exp(-A (1 - γ))) around its best predictor. The
    error of the parameters adds exp(2x'β + A (1 + γ)) times
    (1 - γ)² x'Qx + [D² / (A + D)³ + (2γ (1 - γ) + (1 - γ)² / 2)²] Var Â. What G at the estimates has too
    much, G' b + G'' Var Â / 2 + 2G x'Qx with the bias b of Â, is taken off.

    Parameters
    ----------
    part : Predictions
        On the scale of the logarithms.
    A, vardir, X, root, sampled, method
        As in `predict`.

    Returns
    -------
    mse : ndarray of float, shape (M,)
        Squared units of the estimates. Positive: where the correction would make it negative it is left out.
    corrected : ndarray of bool, shape (M,)

    References
    ----------
    Slud and Maiti (2006), J. R. Stat. Soc. B 68, 239–257.
    """
    spread, bias = variance_of_variance(A, vardir[sampled], X[:, sampled], root, method)
    D = np.where(sampled, vardir, 1.0)
    shrink = np.where(sampled, D / (A + D), 1.0)
    bend = np.where(sampled, D / (A + D) ** 2, 0.0)  # derivative of γ in A
    gamma, left = 1.0 - shrink, shrink * A
    half = root.T @ X
    design = (half * half).sum(axis=0)
    whole = np.exp(2.0 * (part.fitted + A))
    rest = whole * np.exp(-left)
    own = -whole * np.expm1(-left)
    slope = 2.0 * own + rest * shrink**2
    second = 2.0 * slope + rest * (shrink**2 * (2.0 - shrink**2) - 2.0 * shrink * bend)
    outer = shrink**2 * design + (shrink * bend + (2.0 * gamma * shrink + 0.5 * shrink**2) ** 2) * spread
    plain = own + rest * outer
    mse = plain - slope * bias - 0.5 * second * spread - 2.0 * own * design
    return np.where(mse > 0.0, mse, plain), mse > 0.0
