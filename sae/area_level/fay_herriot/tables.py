"""The tables of a Fay–Herriot fit: coefficients, variances, criteria, residuals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaArrays, joined
from sae.numerics.fay_herriot.fit import FayHerriotFits
from sae.numerics.fay_herriot.mse import Predictions, variance_error
from sae.results import FitTables, coefficient_index, coefficient_table, explained_share, residual_table

__all__ = ["eblup_tables", "one_or_many"]


def eblup_tables(
    arrays: AreaArrays, fits: FayHerriotFits, parts: list[Predictions], method: str
) -> FitTables:
    """Return the tables of all fits; one row or block per fit where there are several."""
    return FitTables(
        coefficient_table(
            fits.coefficients[0],
            np.sqrt((fits.root[0] ** 2).sum(axis=2)),
            coefficient_index(arrays.design.columns, arrays.rows.fits),
        ),
        _variances(arrays, fits, method),
        _diagnostics(arrays, fits, parts),
        _residuals(arrays, fits, parts),
    )


def one_or_many(arrays: AreaArrays, columns: dict[str, np.ndarray]) -> pd.Series | pd.DataFrame:
    """Return a Series of one fit, a row per fit of several."""
    if arrays.rows.index is None:
        return pd.Series({name: values[0] for name, values in columns.items()})
    return pd.DataFrame(columns, index=arrays.rows.index)


def _variances(arrays: AreaArrays, fits: FayHerriotFits, method: str) -> pd.Series | pd.DataFrame:
    """Model variances with asymptotic standard errors."""
    errors = [
        variance_error(
            float(fits.variance[0, k]),
            arrays.D[areas],
            arrays.columns(areas),
            fits.root[0, k],
            method,
        )
        for k, areas in enumerate(arrays.sampled_areas)
    ]
    return one_or_many(arrays, {"sigma2_u": fits.variance[0], "sigma2_u_se": np.array(errors)})


def _diagnostics(arrays: AreaArrays, fits: FayHerriotFits, parts: list[Predictions]) -> pd.DataFrame:
    """One row per fit: sizes, likelihood and criteria, share of the variance explained, median gamma."""
    p, lines = len(arrays.design.columns), []
    for k, areas in enumerate(arrays.inside):
        here = areas - arrays.offsets[k]
        loglik = float(fits.loglik[0, k])
        lines.append(
            {
                "areas": len(parts[k].estimate),
                "sampled": len(areas),
                "coefficients": p,
                "loglik": loglik,
                "aic": 2.0 * (p + 1) - 2.0 * loglik,
                "bic": np.log(len(areas)) * (p + 1) - 2.0 * loglik,
                "r2_marginal": explained_share(
                    float(np.var(parts[k].fitted[here], ddof=1)), float(fits.variance[0, k])
                ),
                "gamma_median": float(np.median(parts[k].gamma[here])),
                "maxima": int(fits.maxima[0, k]),
            }
        )
    return pd.DataFrame(lines, index=arrays.rows.index)


def _residuals(arrays: AreaArrays, fits: FayHerriotFits, parts: list[Predictions]) -> pd.DataFrame:
    """Residuals divided by √(A + D - x'Qx), the standard deviation of the residual."""
    fitted = joined([part.fitted for part in parts])
    left, total = np.empty(len(fitted)), np.ones(len(fitted))
    for k, areas in enumerate(arrays.sampled_areas):
        half = fits.root[0, k].T @ arrays.columns(areas)
        total[areas] = fits.variance[0, k] + arrays.D[areas]
        left[areas] = np.maximum(total[areas] - (half * half).sum(axis=0), 1e-12 * total[areas])
    on = slice(None) if arrays.all_sampled else joined(arrays.inside)
    residual = arrays.y[on] - fitted[on]
    return residual_table(
        arrays.order[on],
        arrays.names if arrays.all_sampled else arrays.names[on],
        fitted[on],
        residual,
        residual / np.sqrt(left[on]),
        1.0 - left[on] / total[on],
    )
