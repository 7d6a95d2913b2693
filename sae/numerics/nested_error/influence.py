"""How much single areas pull at a nested error model: all units of an area left out, variances held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.nested_error.profile import AreaSums, Profile

__all__ = ["AreaInfluence", "area_influence"]


@dataclass(frozen=True, eq=False)
class AreaInfluence:
    """Influence of the m areas with a sample.

    Attributes
    ----------
    move : ndarray, shape (m, p)
        Coefficients less those without the area; NaN where the others do not tell them all.
    cook : ndarray, shape (m,)
        Cook's distance: move' Q^-1 move / p, with Q the covariance of the coefficients.
    deleted, spread : ndarray, shape (m,)
        Mean of the area less what the others foretell of it, ȳ - x̄'β without the area, and its standard
        deviation.
    """

    move: np.ndarray
    cook: np.ndarray
    deleted: np.ndarray
    spread: np.ndarray


def area_influence(
    sums: AreaSums, sigma2_u: float, sigma2_e: float, coefficients: np.ndarray
) -> AreaInfluence:
    """Leave out each area by a downdate of the normal equations.

    With B_d = X_d'V_d^-1 X_d and s_d = X_d'V_d^-1 (y_d - X_d β) the move is (Q^-1 - B_d)^-1 s_d.

    Parameters
    ----------
    sums : AreaSums
        Of one outcome.
    sigma2_u, sigma2_e : float
    coefficients : ndarray, shape (p,)
        Of generalised least squares at these variances.

    References
    ----------
    Cook (1977), Technometrics 19, 15-18; Christensen, Pearson and Johnson (1992), Technometrics 34, 38-45.

    Examples
    --------
    >>> from sae.numerics.nested_error.profile import area_sums
    >>> y = np.array([1.0, 2.0, 6.0, 7.0, 2.0, 3.0])
    >>> sums = area_sums(y, np.ones((6, 1)), np.repeat([0, 1, 2], 2), 3)
    >>> area_influence(sums, 0.0, 1.0, np.array([3.5])).move[:, 0].round(9).tolist()
    [-1.0, 1.5, -0.5]
    """
    profile, seen = Profile.of(sums), np.flatnonzero(sums.n > 0)
    n = sums.precision[seen]
    g = n / (sigma2_e + n * sigma2_u)
    x = sums.x_mean[seen] @ profile.root
    precision = profile.xx / sigma2_e + (g[:, None] * x).T @ x
    root = profile.root @ np.linalg.inv(np.linalg.cholesky(precision)).T
    x = sums.x_mean[seen] @ root
    gap = sums.y_mean[0, seen] - sums.x_mean[seen] @ coefficients
    score = (sums.xy[0, seen] - sums.xx[seen] @ coefficients) @ root / sigma2_e + (g * gap)[:, None] * x
    own = root.T @ sums.xx[seen] @ root / sigma2_e + g[:, None, None] * x[:, :, None] * x[:, None, :]
    left = np.eye(len(root)) - own
    values, vectors = np.linalg.eigh(left)
    values = np.where(values.min(axis=1, keepdims=True) > 1e-9, values, np.nan)
    turned = np.einsum("dab,da->db", vectors, score) / values
    move = np.einsum("dab,db->da", vectors, turned)
    along = np.einsum("dab,da->db", vectors, x)
    return AreaInfluence(
        move @ root.T,
        (move * move).sum(axis=1) / len(root),
        gap + (x * move).sum(axis=1),
        np.sqrt(1.0 / g + (along**2 / values).sum(axis=1)),
    )
