"""The tables that both ways of fitting a nested error model fill."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.results import explained_share, residual_table
from sae.unit_level.nested_error.arrays import UnitArrays

__all__ = ["area_residuals", "shares"]


def area_residuals(
    arrays: UnitArrays,
    coefficients: np.ndarray,
    root: np.ndarray,
    sigma2_u: float,
    sigma2_e: float,
    effect: np.ndarray,
) -> pd.DataFrame:
    """Areas with a sample, by row: their mean less x̄'β.

    ``standardised`` is it over √(σu² + σe²/n - x̄'Qx̄), n = Σ k^-2, ``effect`` the predicted area effect.

    Parameters
    ----------
    arrays : UnitArrays
    coefficients : ndarray, shape (p,)
    root : ndarray, shape (p, p)
        Root of the covariance Q of the coefficients.
    sigma2_u, sigma2_e : float
    effect : ndarray, shape (D,)
    """
    sums, rows = arrays.sums, np.flatnonzero(arrays.sampled)
    x, n = sums.x_mean[rows], sums.precision[rows]
    fitted = x @ coefficients
    total = sigma2_u + sigma2_e / n
    left = np.maximum(total - ((x @ root) ** 2).sum(axis=1), 1e-12 * total)
    residual = sums.y_mean[0, rows] - fitted
    table = residual_table(
        rows, arrays.names[rows], fitted, residual, residual / np.sqrt(left), 1.0 - left / total
    )
    return table.assign(effect=effect[rows])


def shares(
    arrays: UnitArrays, coefficients: np.ndarray, sigma2_u: float, sigma2_e: float
) -> dict[str, float]:
    """Return the marginal and the conditional R², of the covariates and with the areas, and the ICC."""
    explained = float(np.var(arrays.X @ coefficients, ddof=1))
    return {
        "r2_marginal": explained_share(explained, sigma2_u + sigma2_e),
        "r2_conditional": explained_share(explained + sigma2_u, sigma2_e),
        "icc": sigma2_u / (sigma2_u + sigma2_e),
    }
