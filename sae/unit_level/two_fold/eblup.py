"""The EBLUP of a two-fold nested error model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.nested_error.two_fold import TwoFoldFits, fit_two_fold
from sae.numerics.nested_error.two_fold_mse import (
    TwoFoldPredictions,
    bootstrap_two_fold,
    predict_two_fold,
    two_fold_information,
)
from sae.numerics.nested_error.two_fold_posterior import two_fold_posterior
from sae.results import (
    FEW_AREAS,
    Eblup,
    FitTables,
    Interval,
    IntervalKind,
    NormalDraws,
    boundary_all,
    coefficient_index,
    coefficient_table,
    explained_share,
    no_interval,
    residual_table,
    same_source,
    t_interval,
)
from sae.unit_level.two_fold.cells import TwoFoldArrays

__all__ = ["fit_two_fold_units"]


def fit_two_fold_units(
    arrays: TwoFoldArrays,
    *,
    method: str,
    bootstrap: bool,
    level: float,
    replicates: int | None,
    seed: int | None,
) -> Eblup:
    """Fit, predict every sub-area and measure the error.

    Parameters
    ----------
    arrays : TwoFoldArrays
    method : {"reml", "ml"}
    bootstrap : bool
        Whether the MSE is that of the parametric bootstrap; else it is analytical.
    level : float
        Of the intervals.
    replicates, seed
        Of the bootstrap.

    Raises
    ------
    SaeInputError
        If the units cannot tell the model.
    """
    units, two, names = arrays.units, arrays.two, arrays.units.names
    try:
        fits = fit_two_fold(two, method)
    except ValueError as error:
        _refuse(arrays, error)
    part = predict_two_fold(fits, two, units.means, method)
    mse, joint = part.mse, part.joint
    mse_method = np.full(len(mse), f"analytical, two-fold, {method.upper()}", dtype=object)
    mse_method[~part.corrected] = f"{mse_method[0]}, bias term left out"
    if bootstrap and seed is not None:
        tally = bootstrap_two_fold(
            fits,
            two,
            units.means,
            areas=list(arrays.names),
            subareas=list(names),
            method=method,
            replicates=replicates,
            seed=seed,
        )
        mse, joint = tally.mean, JointError.of_root(part.joint.shared, tally.mean)
        mse_method[:] = f"parametric bootstrap, {tally.text}"
    ends = _interval(arrays, fits, part.estimate, mse, level)
    columns = units.design.columns
    streams = (*(f"area\x1f{name}" for name in names), *columns)
    normal = NormalDraws(part.estimate, joint, TRANSFORMS["identity"], tuple(names), streams)
    joint, source = same_source([ends], [np.arange(len(mse))], part.estimate, joint, normal)
    missing = np.full(len(mse), ends.kind is IntervalKind.NONE)
    at_zero = fits.sigma2_v[0] == 0.0 and fits.sigma2_u[0] == 0.0
    return Eblup.of(
        part.estimate,
        mse,
        ends,
        np.where(units.sampled, part.gamma, np.nan),
        mse_method,
        joint,
        source,
        FitTables(
            coefficient_table(
                fits.coefficients[0], np.sqrt((fits.root[0] ** 2).sum(axis=1)), coefficient_index(columns)
            ),
            _variances(arrays, fits),
            _diagnostics(arrays, fits, part, method),
            _residuals(arrays, fits, part),
        ),
        [
            *([boundary_all()] if at_zero else []),
            *units.messages(),
            *no_interval(missing, names, "so few areas"),
        ],
    )


def _refuse(arrays: TwoFoldArrays, error: ValueError) -> None:
    code = error.args[1] if len(error.args) > 1 else 0
    sampled = len(np.unique(arrays.area[arrays.units.sampled]))
    if code == -4:
        raise SaeInputError(
            f"No value of {arrays.column} has two sub-areas with units: the variances between areas and "
            "between sub-areas cannot be told apart.",
            hint="Use NestedError.",
            column=arrays.column,
        ) from None
    if code == -5:
        raise SaeInputError(
            f"{sampled} values of {arrays.column} with a sample are too few for their effect beside the "
            "covariates that are the same in all units of each.",
            hint="Use fewer such covariates, or NestedError.",
            column=arrays.column,
        ) from None
    arrays.units.refuse(error)


def _interval(
    arrays: TwoFoldArrays, fits: TwoFoldFits, estimate: np.ndarray, mse: np.ndarray, level: float
) -> Interval:
    two, means = arrays.two, arrays.units.means
    m = len(np.unique(arrays.area[arrays.units.sampled]))
    p = len(arrays.units.design.columns)
    if m >= FEW_AREAS and m > p and fits.sigma2_v[0] > 0.0 and fits.sigma2_u[0] > 0.0:
        return t_interval(estimate, mse, m - p, level)
    tail = 0.5 * (1.0 - level)
    for code, prior in ((FLAT_VARIANCE, "flat-variance"), (FLAT_SD, "flat-sd")):
        try:
            posterior = two_fold_posterior(two, means, code)
        except ValueError:  # improper with so few areas
            continue
        mixture = posterior.mixture()
        low, high = mixture.quantile(tail), mixture.quantile(1.0 - tail)
        joint = posterior.joint if posterior.is_small else None
        return Interval(low, high, IntervalKind.POSTERIOR, prior, posterior=joint)
    missing = np.full(len(mse), np.nan)
    return Interval(missing, missing, IntervalKind.NONE)


def _variances(arrays: TwoFoldArrays, fits: TwoFoldFits) -> pd.Series:
    values = {name: float(getattr(fits, name)[0]) for name in ("sigma2_v", "sigma2_u", "sigma2_e")}
    se = np.sqrt(np.diagonal(np.linalg.inv(two_fold_information(arrays.two, *values.values()))))
    out: dict[str, float] = {}
    for (name, value), error in zip(values.items(), se, strict=True):
        out |= {name: value, f"{name}_se": float(error) if value > 0.0 else np.nan}
    return pd.Series(out)


def _diagnostics(
    arrays: TwoFoldArrays, fits: TwoFoldFits, part: TwoFoldPredictions, method: str
) -> pd.DataFrame:
    units, loglik = arrays.units, float(fits.loglik[0])
    n, k = len(units.y), fits.coefficients.shape[1] + 3
    v, u, e = (float(value[0]) for value in (fits.sigma2_v, fits.sigma2_u, fits.sigma2_e))
    explained = float(np.var(units.X @ fits.coefficients[0], ddof=1))
    values = {
        "areas": len(units.names),
        "sampled": int(units.sampled.sum()),
        "units": n,
        "coefficients": k - 3,
        "likelihood": "restricted" if method == "reml" else "full",
        "loglik": loglik,
        "aic": 2.0 * k - 2.0 * loglik,
        "bic": np.log(n) * k - 2.0 * loglik,
        "r2_marginal": explained_share(explained, v + u + e),
        "r2_conditional": explained_share(explained + v + u, e),
        "icc": (v + u) / (v + u + e),
        "icc_area": v / (v + u + e),
        "gamma_median": float(np.median(part.gamma[units.sampled])),
        "upper_areas": len(arrays.names),
    }
    return pd.DataFrame([values])


def _residuals(arrays: TwoFoldArrays, fits: TwoFoldFits, part: TwoFoldPredictions) -> pd.DataFrame:
    """Sub-areas with a sample, by row: their mean less x̄'β, over its standard deviation; effect is v + u."""
    sums, rows = arrays.two.sums, np.flatnonzero(arrays.units.sampled)
    x = sums.x_mean[rows]
    fitted = x @ fits.coefficients[0]
    total = fits.sigma2_v[0] + fits.sigma2_u[0] + fits.sigma2_e[0] / sums.precision[rows]
    left = np.maximum(total - ((x @ fits.root[0]) ** 2).sum(axis=1), 1e-12 * total)
    residual = sums.y_mean[0, rows] - fitted
    table = residual_table(
        rows, arrays.units.names[rows], fitted, residual, residual / np.sqrt(left), 1.0 - left / total
    )
    return table.assign(effect=part.effect[rows])
