"""What a fit has learnt: tables of its variances, diagnostics and residuals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.numerics.ebp.population import Parameters
from sae.numerics.nested_error.mse import variance_information
from sae.numerics.nested_error.two_fold import TwoFoldSums
from sae.numerics.nested_error.two_fold_mse import two_fold_information
from sae.results import (
    Message,
    explained_share,
    residual_table,
)
from sae.unit_level.ebp.rows import FigureRows
from sae.unit_level.ebp.sample import EbpArrays
from sae.unit_level.ebp.scale import EbpFit, standard_residuals

__all__ = [
    "area_residuals",
    "coefficient_se",
    "diagnostics_of",
    "error_sizes",
    "gammas",
    "shape_note",
    "shapes",
    "transformation",
    "variances",
]


def coefficient_se(fit: EbpFit) -> np.ndarray:
    """Return the standard errors of the coefficients, with survey weights those of the weighted equations."""
    if fit.pseudo is not None:
        return np.sqrt(np.diagonal(fit.pseudo.covariance))
    return np.asarray(np.sqrt((fit.fits.root[0] ** 2).sum(axis=1)))


def gammas(arrays: EbpArrays, fit: EbpFit) -> np.ndarray:
    """Return the weight of the units of each area in its effect, nan without any, shape (D,)."""
    at, n = fit.parameters, fit.sums.precision
    if fit.pseudo is not None:
        return np.where(n > 0, fit.pseudo.gamma, np.nan)
    if fit.two is not None:
        spread = np.divide(at.spread**2, at.sigma2_u, out=np.ones(len(n)), where=at.sigma2_u > 0.0)
        return np.where(n > 0, 1.0 - spread, np.nan)
    gamma = n * at.sigma2_u / (n * at.sigma2_u + at.sigma2_e)
    return np.where(n > 0, gamma, np.nan)


def variances(arrays: EbpArrays, fit: EbpFit) -> pd.Series:
    """Return the variances with their standard errors, and the transformation's parameter."""
    at, sums = fit.parameters, fit.sums
    if fit.two is not None:
        return pd.Series(_three_variances(at, fit.two) | _parameter(fit))
    se = np.sqrt(np.diagonal(variance_information(sums.n, sums.precision, at.sigma2_u, at.sigma2_e)))
    values = {
        "sigma2_u": at.sigma2_u,
        "sigma2_u_se": se[0] if at.sigma2_u > 0.0 else np.nan,
        "sigma2_e": at.sigma2_e,
        "sigma2_e_se": se[1],
    }
    return pd.Series(values | _parameter(fit))


def _parameter(fit: EbpFit) -> dict[str, float]:
    """Return the parameter of the transformation with its standard error, nothing where it has none."""
    if fit.profile is None:
        return {}
    name = "shift" if fit.scale.name == "log-shift" else "lambda"
    return {name: fit.scale.parameter, f"{name}_se": fit.profile.se}


def _three_variances(at: Parameters, two: TwoFoldSums) -> dict[str, float]:
    """Return the variances of areas, clusters and units with their standard errors."""
    values = {"sigma2_u": at.sigma2_u, "sigma2_v": at.sigma2_v, "sigma2_e": at.sigma2_e}
    se = np.sqrt(np.diagonal(np.linalg.inv(two_fold_information(two, *values.values()))))
    out: dict[str, float] = {}
    for (name, value), error in zip(values.items(), se, strict=True):
        out |= {name: value, f"{name}_se": float(error) if value > 0.0 else np.nan}
    return out


def diagnostics_of(arrays: EbpArrays, fit: EbpFit, method: str) -> pd.DataFrame:
    """Return sizes, likelihoods, R² and the shape of the residuals of both levels, one row."""
    at, units = fit.parameters, arrays.units
    p, n = units.X.shape[1], len(arrays.y)
    explained = float(np.var(units.X @ at.coefficients, ddof=1))
    seen = units.n > 0
    loglik = float(fit.fits.loglik[0])
    effects, residuals = at.effect[seen], standard_residuals(arrays, fit)
    return pd.DataFrame(
        [
            {
                "areas": arrays.people.present,
                "sampled": int(seen.sum()),
                "units": n,
                "population": int(arrays.people.population.unit_offsets[-1]),
                "coefficients": p,
                "likelihood": "full" if method == "ml" else "restricted",
                "loglik": loglik,
                "loglik_scaled": fit.profile.loglik if fit.profile else np.nan,
                "r2_marginal": explained_share(explained, at.sigma2_u + at.sigma2_v + at.sigma2_e),
                "r2_conditional": explained_share(explained + at.sigma2_u + at.sigma2_v, at.sigma2_e),
                "icc": (at.sigma2_u + at.sigma2_v) / (at.sigma2_u + at.sigma2_v + at.sigma2_e),
                **({"icc_area": at.sigma2_u / (at.sigma2_u + at.sigma2_v + at.sigma2_e)} if fit.two else {}),
                "gamma_median": float(np.median(gammas(arrays, fit)[seen])),
                **shapes(effects, residuals),
                "maxima": int(fit.fits.maxima[0]),
            }
        ]
    )


def shapes(effects: np.ndarray, residuals: np.ndarray) -> dict[str, float]:
    """Return skewness and kurtosis of predicted area effects and of residuals of units."""
    return {
        "skewness_u": _skewness(effects),
        "kurtosis_u": _kurtosis(effects),
        "skewness_e": _skewness(residuals),
        "kurtosis_e": _kurtosis(residuals),
    }


def shape_note(diagnostics: pd.Series) -> Message:
    """Say how far from normal the residuals of both levels are."""
    levels = [
        f"{what} skewness {diagnostics[f'skewness_{one}']:.2f}, kurtosis {diagnostics[f'kurtosis_{one}']:.2f}"
        for what, one in (("units", "e"), ("areas", "u"))
    ]
    return Message(f"Residuals: {'; '.join(levels)} (a normal has 0 and 3).")


def _skewness(z: np.ndarray) -> float:
    sd = float(z.std())
    return float((((z - z.mean()) / sd) ** 3).mean()) if sd > 0.0 else np.nan


def _kurtosis(z: np.ndarray) -> float:
    """Return the fourth moment of standardised values, 3 of a normal."""
    sd = float(z.std())
    return float((((z - z.mean()) / sd) ** 4).mean()) if sd > 0.0 else np.nan


def area_residuals(arrays: EbpArrays, fit: EbpFit, rows: FigureRows) -> pd.DataFrame:
    """Areas with a sample, by row: their mean less x̄'β on the model's scale, over its standard deviation.

    With clusters it is the best mean of those of the clusters.
    """
    at, n = fit.parameters, fit.sums.precision
    mine = np.flatnonzero((n > 0) & (rows.first_of_area >= 0))
    if fit.pseudo is not None:
        fitted, residual = fit.pseudo.fitted[mine], fit.pseudo.residual[mine]
        left, total = fit.pseudo.residual_variance[mine], fit.pseudo.total[mine]
        return _residual_rows(rows, mine, fitted, residual, left, total, at.effect[mine])
    x, y, total = fit.sums.x_mean[mine], fit.sums.y_mean[0, mine], at.sigma2_u + at.sigma2_e / n[mine]
    if fit.two is not None:
        of = fit.two.sums
        h = of.precision / (at.sigma2_e + of.precision * at.sigma2_v)
        whole = fit.two.add(h)[mine]
        x, y = (
            fit.two.add(h * of.x_mean.T)[:, mine].T / whole[:, None],
            fit.two.add(h * of.y_mean[0])[mine] / whole,
        )
        total = at.sigma2_u + 1.0 / whole
    left = np.maximum(total - ((x @ fit.fits.root[0]) ** 2).sum(axis=1), 1e-12 * total)
    fitted = x @ at.coefficients
    residual = y - fitted
    return _residual_rows(rows, mine, fitted, residual, left, total, at.effect[mine])


def _residual_rows(
    rows: FigureRows,
    areas: np.ndarray,
    fitted: np.ndarray,
    residual: np.ndarray,
    left: np.ndarray,
    total: np.ndarray,
    effect: np.ndarray,
) -> pd.DataFrame:
    place, standard = rows.first_of_area[areas], residual / np.sqrt(left)
    table = residual_table(place, rows.domain[place], fitted, residual, standard, 1.0 - left / total)
    return table.assign(effect=pd.Series(effect, index=place))


def error_sizes(arrays: EbpArrays, fit: EbpFit) -> Mapping[str, Any]:
    """Return α by column for the record, with the least and the largest size; empty where all are 1."""
    errors = fit.parameters.errors
    if errors.alpha is None:
        return {}
    alpha = dict(zip(arrays.design.columns, errors.alpha.tolist(), strict=True))
    return {"sizes": {"alpha": alpha, "range": np.exp(errors.ends).tolist()}}


def transformation(fit: EbpFit) -> Mapping[str, Any]:
    """Return the scale for the record, with the profile of its parameter."""
    record: dict[str, Any] = {"name": fit.scale.name, "shift": fit.scale.shift}
    if fit.scale.topped:
        record["top"] = fit.scale.top
    if fit.profile is not None:
        record |= {
            "parameter": fit.scale.parameter,
            "grid": fit.profile.grid.tolist(),
            "profile": fit.profile.profile.tolist(),
        }
    return record
