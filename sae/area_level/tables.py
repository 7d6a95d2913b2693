"""What a Fay–Herriot fit taught, as tables: coefficients, variances, criteria, residuals, warnings."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy.special import ndtr

from sae.area_level.arrays import AreaProblem
from sae.errors import BoundaryVarianceWarning, ExtrapolationWarning, SmallSampleWarning, name_some
from sae.numerics.fay_herriot.fit import FayHerriotFits
from sae.numerics.fay_herriot.mse import Predictions, variance_of_variance

__all__ = [
    "coefficient_index",
    "coefficient_table",
    "extrapolation",
    "fit_diagnostics",
    "residual_table",
    "variance_table",
    "warn",
]


def coefficient_table(problem: AreaProblem, fits: FayHerriotFits) -> pd.DataFrame:
    """Coefficients with standard errors and two-sided normal tests, by fit and term."""
    beta = fits.coefficients[0]
    se = np.sqrt((fits.root[0] ** 2).sum(axis=2))
    z = beta / se
    columns = {"coef": beta, "se": se, "z": z, "p": 2.0 * ndtr(-np.abs(z))}
    return pd.DataFrame(
        {name: values.ravel() for name, values in columns.items()}, index=coefficient_index(problem)
    )


def coefficient_index(problem: AreaProblem) -> pd.Index:
    """Label the coefficients of all fits, by their `per` values and term."""
    terms, per = list(problem.design.columns), problem.rows.fits
    if not len(per.columns):
        return pd.Index(terms, name="term")
    repeated = per.loc[per.index.repeat(len(terms))]
    return pd.MultiIndex.from_frame(repeated.assign(term=terms * len(per)))


def variance_table(problem: AreaProblem, fits: FayHerriotFits, method: str) -> pd.Series | pd.DataFrame:
    """Model variances with asymptotic standard errors: a Series of one fit, a row per fit of several."""
    spreads = [
        variance_of_variance(
            float(fits.variance[0, k]), problem.D[areas], problem.X[:, areas], fits.root[0, k], method
        )[0]
        for k, areas in enumerate(problem.inside)
    ]
    columns = {"sigma2_u": fits.variance[0], "sigma2_u_se": np.sqrt(spreads)}
    frame = pd.DataFrame(columns, index=problem.index)
    return frame if problem.index is not None else frame.iloc[0].rename(None)


def fit_diagnostics(problem: AreaProblem, fits: FayHerriotFits, parts: list[Predictions]) -> pd.DataFrame:
    """One row per fit: sizes, likelihood and criteria, share of the variance explained, median gamma."""
    p, lines = len(problem.design.columns), []
    for k, areas in enumerate(problem.inside):
        here = areas - problem.offsets[k]
        A, loglik = float(fits.variance[0, k]), float(fits.loglik[0, k])
        explained = float(np.var(parts[k].fitted[here], ddof=1))
        whole = explained + A
        lines.append({
            "areas": len(parts[k].estimate), "sampled": len(areas), "coefficients": p, "loglik": loglik,
            "aic": 2.0 * (p + 1) - 2.0 * loglik,
            "bic": np.log(len(areas)) * (p + 1) - 2.0 * loglik,
            "r2_marginal": explained / whole if whole > 0 else np.nan,
            "gamma_median": float(np.median(parts[k].gamma[here])), "maxima": int(fits.maxima[0, k]),
        })  # fmt: skip
    return pd.DataFrame(lines, index=problem.index)


def residual_table(problem: AreaProblem, fits: FayHerriotFits, parts: list[Predictions]) -> pd.DataFrame:
    """Areas with a sample, by row of the table: regression residuals on the model's scale.

    ``standardised`` divides by √(A + D - x'Qx), the standard deviation of the residual.
    """
    frames = []
    for k, areas in enumerate(problem.inside):
        fitted = parts[k].fitted[areas - problem.offsets[k]]
        half = fits.root[0, k].T @ problem.X[:, areas]
        total = fits.variance[0, k] + problem.D[areas]
        left = np.maximum(total - (half * half).sum(axis=0), 1e-12 * total)
        residual = problem.y[areas] - fitted
        frames.append(pd.DataFrame({
            "row": problem.order[areas], "domain": problem.names[areas], "fitted": fitted,
            "residual": residual, "standardised": residual / np.sqrt(left), "leverage": 1.0 - left / total,
        }))  # fmt: skip
    return pd.concat(frames).set_index("row").sort_index()


def warn(problem: AreaProblem, fits: FayHerriotFits, interval: np.ndarray) -> list[str]:
    """Warn of what the user should know about a fit, and return the same sentences for the record."""
    rows = problem.rows
    found: list[tuple[type[Warning], str]] = []
    zero = [rows.where(int(k)).removeprefix(" in ") for k in np.flatnonzero(fits.variance[0] == 0.0)]
    if zero:
        several = f" in {len(zero)} of {len(rows.fits)} fits ({name_some(zero)})" if zero[0] else ""
        text = (
            f"The model variance is estimated exactly 0{several}: the predictions rest on the covariates "
            "alone. Intervals come from the posterior, which knows that the variance may be larger."
        )
        found.append((BoundaryVarianceWarning, text))
    found += extrapolation(problem)
    without = np.char.startswith(interval.astype(str), "none")
    if without.any():
        text = (
            f"No interval in {int(without.sum())} of {len(without)} rows: with only one area more than "
            f"coefficients nothing is known about the model variance ({name_some(problem.names[without])})."
        )
        found.append((SmallSampleWarning, text))
    for kind, text in found:
        warnings.warn(text, kind, stacklevel=4)
    return [text for _, text in found]


def extrapolation(problem: AreaProblem) -> list[tuple[type[Warning], str]]:
    """Say which areas without a sample have covariates outside the range of their fit."""
    outside, columns = problem.extrapolated()
    if not outside.any():
        return []
    text = (
        f"Covariates lie outside the range of the fit ({name_some(columns)}) in {int(outside.sum())} of "
        f"{int((~problem.sampled).sum())} areas without a sample: {name_some(problem.names[outside])}."
    )
    return [(ExtrapolationWarning, text)]
