"""The tables that both ways of fitting a nested error model fill."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.results import residual_table
from sae.unit_level.nested_error.arrays import UnitArrays

__all__ = ["area_residuals"]


def area_residuals(
    arrays: UnitArrays, coefficients: np.ndarray, root: np.ndarray, sigma2_u: float, sigma2_e: float
) -> pd.DataFrame:
    """Areas with a sample, by row: their mean less x̄'β; ``standardised`` by √(σu² + σe²/n - x̄'Qx̄).

    Parameters
    ----------
    arrays : UnitArrays
    coefficients : ndarray, shape (p,)
    root : ndarray, shape (p, p)
        Root of the covariance Q of the coefficients.
    sigma2_u, sigma2_e : float
    """
    sums, rows = arrays.sums, np.flatnonzero(arrays.sampled)
    x, n = sums.x_mean[rows], sums.n[rows]
    fitted = x @ coefficients
    total = sigma2_u + sigma2_e / n
    left = np.maximum(total - ((x @ root) ** 2).sum(axis=1), 1e-12 * total)
    residual = sums.y_mean[0, rows] - fitted
    return residual_table(
        rows, arrays.names[rows], fitted, residual, residual / np.sqrt(left), 1.0 - left / total
    )
