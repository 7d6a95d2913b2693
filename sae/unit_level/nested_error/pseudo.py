"""The pseudo-EBLUP: predictions of a nested error model with survey weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.nested_error.fit import NestedErrorFits, fit_nested_error
from sae.numerics.nested_error.mse import predict
from sae.numerics.nested_error.pseudo import PseudoPredictions, predict_pseudo
from sae.results import (
    Eblup,
    FitTables,
    Interval,
    IntervalKind,
    NormalDraws,
    coefficient_index,
    coefficient_table,
    residual_table,
)
from sae.unit_level.nested_error.arrays import UnitArrays
from sae.unit_level.nested_error.eblup import area_interval, diagnostics, messages, variances

__all__ = ["fit_pseudo"]


def fit_pseudo(arrays: UnitArrays, *, method: str, level: float) -> Eblup:
    """Fit the variances, predict with the weights and measure the error.

    Parameters
    ----------
    arrays : UnitArrays
        With weights.
    method : {"reml", "ml"}
    level : float
        Of the intervals.

    Raises
    ------
    SaeInputError
        If the units cannot tell the model.
    """
    sums = arrays.sums
    try:
        fits = fit_nested_error(sums, method)
    except ValueError as reason:
        arrays.refuse(reason)
    part = predict_pseudo(fits, sums, arrays.weighted, arrays.means.x_mean, method)
    name = f"analytical, Torabi–Rao, {method.upper()}"
    mse_method = np.where(part.corrected, name, f"{name}, bias term left out").astype(object)
    ends = _interval(arrays, fits, part, method, level)
    joint, columns, names = part.joint, arrays.design.columns, tuple(arrays.names)
    return Eblup.of(
        part.estimate,
        part.mse,
        ends,
        np.where(arrays.sampled, part.gamma, np.nan),
        mse_method,
        joint,
        NormalDraws(part.estimate, joint, TRANSFORMS["identity"], names, columns, "pseudo-EBLUP"),
        FitTables(
            coefficient_table(
                part.coefficients, np.sqrt(np.diagonal(part.covariance)), coefficient_index(columns)
            ),
            variances(arrays, fits),
            diagnostics(arrays, fits, part.coefficients, part.gamma, method),
            _residuals(arrays, part),
        ),
        messages(arrays, fits, ends),
    )


def _interval(
    arrays: UnitArrays, fits: NestedErrorFits, part: PseudoPredictions, method: str, level: float
) -> Interval:
    """Take the ends without weights to the pseudo-EBLUP, longer as its standard error is."""
    plain = predict(fits, arrays.sums, arrays.means, method)
    ends = area_interval(arrays, fits, plain.estimate, plain.mse, level)
    longer = np.sqrt(part.mse / plain.mse)
    low, high = (part.estimate + longer * (end - plain.estimate) for end in (ends.low, ends.high))
    moved = replace(ends, low=low, high=high, posterior=None)
    return moved if ends.kind is not IntervalKind.POSTERIOR else moved.detailed("moved to the pseudo-EBLUP")


def _residuals(arrays: UnitArrays, part: PseudoPredictions) -> pd.DataFrame:
    """Areas with a sample, by row: their weighted mean less x̄_w'β, over its standard deviation."""
    rows = np.flatnonzero(arrays.sampled)
    total, residual = part.total[rows], part.residual[rows]
    left = np.maximum(part.residual_variance[rows], 1e-12 * total)
    table = residual_table(
        rows, arrays.names[rows], part.fitted[rows], residual, residual / np.sqrt(left), 1.0 - left / total
    )
    return table.assign(effect=part.gamma[rows] * residual)
