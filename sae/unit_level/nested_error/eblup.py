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
from sae.numerics.nested_error.mse import Predictions, predict, variance_information
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
    explained_share,
    no_interval,
    same_source,
    t_interval,
)
from sae.unit_level.nested_error.arrays import UnitArrays
from sae.unit_level.nested_error.tables import area_residuals

__all__ = ["fit_eblup"]


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
    ends = _interval(arrays, fits, part.estimate, error, level)
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
            _variances(arrays, fits),
            _diagnostics(arrays, fits, part, method),
            area_residuals(
                arrays,
                fits.coefficients[0],
                fits.root[0],
                float(fits.sigma2_u[0]),
                float(fits.sigma2_e[0]),
            ),
        ),
        _messages(arrays, fits, ends),
    )


def _interval(
    arrays: UnitArrays, fits: NestedErrorFits, estimate: np.ndarray, mse: np.ndarray, level: float
) -> Interval:
    """Student's t on the MSE with many areas and a positive variance, else quantiles of a posterior.

    Its flat prior of σu², or of σu where that is improper, stands in the table.
    """
    m, p = int(arrays.sampled.sum()), len(arrays.design.columns)
    if m >= FEW_AREAS and m > p and fits.sigma2_u[0] > 0.0:
        return t_interval(estimate, mse, m - p, level)
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
    missing = np.full(len(mse), np.nan)
    return Interval(missing, missing, IntervalKind.NONE)


def _messages(arrays: UnitArrays, fits: NestedErrorFits, ends: Interval) -> list[Message]:
    none = ends.kind is IntervalKind.NONE
    rest = "There are too few areas for intervals." if none else ""
    at_zero = [boundary(rest=rest)] if fits.sigma2_u[0] == 0.0 else []
    missing = np.full(len(arrays.names), none)
    return [*at_zero, *arrays.messages(), *no_interval(missing, arrays.names, "so few areas")]


def _variances(arrays: UnitArrays, fits: NestedErrorFits) -> pd.Series:
    u2, e2, n = float(fits.sigma2_u[0]), float(fits.sigma2_e[0]), arrays.sums.n
    se = np.sqrt(np.diagonal(variance_information(n[n > 0].astype(float), u2, e2)))
    return pd.Series(
        {
            "sigma2_u": u2,
            "sigma2_u_se": se[0] if u2 > 0.0 else np.nan,
            "sigma2_e": e2,
            "sigma2_e_se": se[1],
        }
    )


def _diagnostics(arrays: UnitArrays, fits: NestedErrorFits, part: Predictions, method: str) -> pd.DataFrame:
    p, n, sampled = len(arrays.design.columns), len(arrays.y), arrays.sampled
    loglik = float(fits.loglik[0])
    explained = float(np.var(arrays.X @ fits.coefficients[0], ddof=1))
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
                "r2_marginal": explained_share(explained, float(fits.sigma2_u[0] + fits.sigma2_e[0])),
                "gamma_median": float(np.median(part.gamma[sampled])),
                "maxima": int(fits.maxima[0]),
            }
        ]
    )
