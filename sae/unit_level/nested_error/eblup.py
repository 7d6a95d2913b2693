"""The EBLUP of a nested error model: fit by likelihood, errors of the area means, intervals."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.nested_error.bootstrap import bootstrap_mse
from sae.numerics.nested_error.fit import NestedErrorFits, fit_nested_error
from sae.numerics.nested_error.mse import predict, variance_information
from sae.numerics.nested_error.posterior import HyperPrior, nested_error_posterior
from sae.numerics.nested_error.posterior_means import area_mixture, joint_mixture
from sae.results import (
    FEW_AREAS,
    Eblup,
    FitTables,
    Interval,
    IntervalKind,
    Message,
    NormalDraws,
    boundary,
    coefficient_index,
    coefficient_table,
    no_interval,
    same_source,
    t_interval,
)
from sae.unit_level.nested_error.arrays import UnitArrays
from sae.unit_level.nested_error.tables import area_residuals, shares

__all__ = ["area_interval", "diagnostics", "fit_eblup", "messages", "posterior_interval", "variances"]


def fit_eblup(
    arrays: UnitArrays, *, method: str, mse: str, level: float, replicates: int | None, seed: int | None
) -> Eblup:
    """Fit, predict and measure the error.

    Parameters
    ----------
    arrays : UnitArrays
    method : {"reml", "ml"}
    mse : {"auto", "analytical", "bootstrap"}
    level : float
        Of the intervals.
    replicates : int
        Of the bootstrap.
    seed : int or None
        Of the bootstrap.

    Raises
    ------
    SaeInputError
        If the units cannot tell the model.
    """
    sums, means = arrays.sums, arrays.means
    try:
        if arrays.y.min() == arrays.y.max():  # with errors of unequal spread rounding alone would be left
            raise ValueError("the outcome does not vary within areas", -2)
        fits = fit_nested_error(sums, method)
    except ValueError as reason:
        arrays.refuse(reason)
    part = predict(fits, sums, means, method)
    error, mse_method = part.mse, np.full(len(part.mse), f"analytical, Prasad–Rao, {method.upper()}", object)
    mse_method[~part.corrected] = f"{mse_method[0]}, bias term left out"
    if mse == "bootstrap" and seed is not None:
        boot = bootstrap_mse(
            fits, sums, means, list(arrays.names), method=method, replicates=replicates, seed=seed
        )
        error, mse_method[:] = boot.mean, f"parametric bootstrap, {boot.text}"
    ends = area_interval(arrays, fits, part.estimate, error, level)
    streams = tuple(arrays.names)
    joint = JointError.of_fits(error, [part.factor])
    normal = NormalDraws(part.estimate, joint, TRANSFORMS["identity"], streams, arrays.design.columns)
    joint, source = same_source([ends], [np.arange(len(error))], part.estimate, joint, normal)
    return Eblup.of(
        part.estimate,
        error,
        ends,
        np.where(arrays.sampled, part.gamma, np.nan),
        mse_method,
        joint,
        source,
        FitTables(
            coefficient_table(
                fits.coefficients[0],
                np.sqrt((fits.root[0] ** 2).sum(axis=1)),
                coefficient_index(arrays.design.columns),
            ),
            variances(arrays, fits),
            diagnostics(arrays, fits, fits.coefficients[0], part.gamma, method),
            area_residuals(
                arrays,
                fits.coefficients[0],
                fits.root[0],
                float(fits.sigma2_u[0]),
                float(fits.sigma2_e[0]),
                part.effect,
            ),
        ),
        messages(arrays, fits, ends),
    )


def area_interval(
    arrays: UnitArrays, fits: NestedErrorFits, estimate: np.ndarray, mse: np.ndarray, level: float
) -> Interval:
    """Student's t on the MSE with many areas and a positive variance, else quantiles of the posterior."""
    m, p = int(arrays.sampled.sum()), len(arrays.design.columns)
    if m >= FEW_AREAS and m > p and fits.sigma2_u[0] > 0.0:
        return t_interval(estimate, mse, m - p, level)
    return posterior_interval(arrays, level)


def posterior_interval(arrays: UnitArrays, level: float) -> Interval:
    """Quantiles of the exact posterior; its flat prior of σu², or of σu where that is improper, is told."""
    tail = 0.5 * (1.0 - level)
    for code, prior in ((FLAT_VARIANCE, "flat-variance"), (FLAT_SD, "flat-sd")):
        try:
            posterior = nested_error_posterior(arrays.sums, HyperPrior(code))
        except ValueError:  # improper with so few areas
            continue
        mixture = area_mixture(posterior, arrays.sums, arrays.means)
        low, high = mixture.quantiles(np.array([tail, 1.0 - tail]))
        joint = partial(joint_mixture, mixture, arrays.sums, arrays.means)
        return Interval(low, high, IntervalKind.POSTERIOR, prior, posterior=joint)
    missing = np.full(len(arrays.names), np.nan)
    return Interval(missing, missing, IntervalKind.NONE)


def messages(arrays: UnitArrays, fits: NestedErrorFits, ends: Interval) -> list[Message]:
    """Return what is to be said of a fit."""
    none = ends.kind is IntervalKind.NONE
    rest = "There are too few areas for intervals." if none else ""
    at_zero = [boundary(rest=rest)] if fits.sigma2_u[0] == 0.0 else []
    missing = np.full(len(arrays.names), none)
    return [*at_zero, *arrays.messages(), *no_interval(missing, arrays.names, "so few areas")]


def variances(arrays: UnitArrays, fits: NestedErrorFits) -> pd.Series:
    """Return both variances with their asymptotic standard errors."""
    u2, e2 = float(fits.sigma2_u[0]), float(fits.sigma2_e[0])
    se = np.sqrt(np.diagonal(variance_information(arrays.sums.n, arrays.sums.precision, u2, e2)))
    return pd.Series(
        {
            "sigma2_u": u2,
            "sigma2_u_se": se[0] if u2 > 0.0 else np.nan,
            "sigma2_e": e2,
            "sigma2_e_se": se[1],
        }
    )


def diagnostics(
    arrays: UnitArrays, fits: NestedErrorFits, coefficients: np.ndarray, gamma: np.ndarray, method: str
) -> pd.DataFrame:
    """Return sizes, likelihood, and what shares of the variance the covariates and the areas explain."""
    p, n, sampled = len(arrays.design.columns), len(arrays.y), arrays.sampled
    loglik = float(fits.loglik[0])
    return pd.DataFrame(
        [
            {
                "areas": len(sampled),
                "sampled": int(sampled.sum()),
                "units": n,
                "coefficients": p,
                "likelihood": "restricted" if method == "reml" else "full",
                "loglik": loglik,
                "aic": 2.0 * (p + 2) - 2.0 * loglik,
                "bic": np.log(n) * (p + 2) - 2.0 * loglik,
                **shares(arrays, coefficients, float(fits.sigma2_u[0]), float(fits.sigma2_e[0])),
                "gamma_median": float(np.median(gamma[sampled])),
                "maxima": int(fits.maxima[0]),
            }
        ]
    )
