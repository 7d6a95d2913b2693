"""Fit a model whose covariates carry errors by moments, and measure its own error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.arrays import AreaArrays
from sae.area_level.measurement_error.errors import ErrorArrays
from sae.errors import BoundaryVarianceWarning, SaeConvergenceError, SaeInputError
from sae.numerics.fay_herriot.measurement_error import (
    MeasurementErrorFit,
    fit_measurement_error,
    jackknife_measurement_error,
    leading_terms,
)
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.joint_error import JointError
from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, SPARE
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.linalg.basis import Basis, orthonormal_basis
from sae.results import (
    FEW_AREAS,
    Eblup,
    FitTables,
    Interval,
    IntervalKind,
    Message,
    NormalDraws,
    coefficient_index,
    coefficient_table,
    explained_share,
    residual_table,
    same_source,
    t_interval,
)

__all__ = ["fit_measured"]

_ZERO = Message(
    "The model variance is estimated exactly 0: direct estimates weigh only what the errors of the "
    "covariates leave to them. Intervals come from the posterior, which knows that the variance may be "
    "larger.",
    BoundaryVarianceWarning,
)


def fit_measured(arrays: AreaArrays, errors: ErrorArrays, *, level: float) -> Eblup:
    """Fit the model and predict every area.

    Parameters
    ----------
    arrays : AreaArrays
        With the measured covariates.
    errors : ErrorArrays
    level : float
        Of the intervals.

    Raises
    ------
    SaeInputError
        If there are too few areas for the jackknife, or the covariates are mostly error.
    SaeConvergenceError
        If the equations do not settle.
    """
    on, p = arrays.sampled, arrays.X.shape[1]
    if on.sum() < p + 2:
        raise SaeInputError(
            f"The jackknife needs {p + 2} areas with a direct estimate for {p} coefficients; there are "
            f"{int(on.sum())}.",
            hint="Use fewer covariates.",
        )
    # no fit is taken out of y: the errors of its covariates would go with it
    basis = replace(orthonormal_basis(arrays.X[on], arrays.y[on]), fitted=np.zeros(p))
    messages = arrays.messages()
    X, errors = basis.of(arrays.X), errors.turned(basis.turns)
    arrays = replace(arrays, X=X)
    given = (arrays.y[on], arrays.D[on], X[on], errors.C[on])
    try:
        fit = fit_measurement_error(*given, errors.c[on])
    except np.linalg.LinAlgError as error:
        raise _refused(error.args[0]) from None
    try:
        parts = jackknife_measurement_error(fit, *given, X[~on], errors.C[~on], errors.c[on])
    except np.linalg.LinAlgError as error:
        name = arrays.names[on][error.args[1]]
        raise _refused(f"Without {name}, which the jackknife leaves out: {error.args[0]}", name) from None
    if fit.status == "not converged" or parts.unfinished:
        what = (
            "The equations do" if fit.status == "not converged" else f"{parts.unfinished} jackknife fits do"
        )
        raise SaeConvergenceError(
            f"{what} not settle: variance and slopes keep moving.",
            hint="Drop the covariate with the largest error, or join areas.",
        )
    mse, name = np.empty(len(on)), np.full(len(on), "jackknife", dtype=object)
    estimate, gamma = X @ fit.beta, np.zeros(len(on))
    estimate[on], gamma[on] = fit.prediction, fit.gamma
    for rows, part in ((on, slice(None, int(on.sum()))), (~on, slice(int(on.sum()), None))):
        kept = parts.mse[part] > 0
        mse[rows] = np.where(kept, parts.mse[part], (parts.leading + parts.spread)[part])
        name[rows] = np.where(kept, "jackknife", "jackknife, bias term left out")
    loose = (1.0 - gamma)[:, None] * (X @ np.linalg.cholesky(fit.beta_cov))
    joint = JointError.of_root(sparse.csr_array(loose), mse)
    source = NormalDraws(
        estimate,
        joint,
        TRANSFORMS["identity"],
        arrays.rows.labels,
        arrays.coefficient_labels,
        "Ybarra–Lohr prediction",
    )
    ends = _interval(arrays, errors, fit, estimate, mse, level)
    joint, draws = same_source([ends], [np.arange(len(mse))], estimate, joint, source)
    return Eblup.of(
        estimate,
        mse,
        ends,
        gamma,
        name,
        joint,
        draws,
        _tables(arrays, errors, fit, basis),
        [*([] if fit.variance > 0.0 else [_ZERO]), *messages],
    )


def _refused(text: str, *areas: object) -> SaeInputError:
    return SaeInputError(
        text,
        hint="Drop the covariate, pool its sample over more periods, or take it from a register.",
        areas=areas,
    )


def _interval(
    arrays: AreaArrays,
    errors: ErrorArrays,
    fit: MeasurementErrorFit,
    estimate: np.ndarray,
    mse: np.ndarray,
    level: float,
) -> Interval:
    """Student's t on the MSE where many areas carry it, else over the posterior of the variance.

    Given the slopes b the residuals are normal with variances A + D + b'C b - 2 b'c, and each area's truth is
    normal at each A: a mixture over its nodes. The residuals are widened for the p slopes fitted to them.
    """
    on, p, tail = arrays.sampled, len(fit.beta), 0.5 * (1.0 - level)
    m = int(on.sum())
    if m >= FEW_AREAS and fit.variance > 0.0:
        return t_interval(estimate, mse, m - p, level)
    linear = arrays.X @ fit.beta
    error = np.einsum("i,dij,j->d", fit.beta, errors.C, fit.beta)
    shared = errors.c @ fit.beta
    extra = np.maximum(arrays.D + error - 2.0 * shared, 1e-12 * arrays.D)[on]
    wider = np.sqrt(m / (m - p))
    prior, code = ("flat-variance", FLAT_VARIANCE) if m >= p + SPARE[FLAT_VARIANCE] else ("flat-sd", FLAT_SD)
    residuals = Areas.of(wider * (arrays.y - linear)[on], extra, np.empty((0, m)), np.ones(m, dtype=bool))
    nodes = place_nodes(residuals, [(code, 1.0)])
    D = np.where(on, arrays.D, np.inf)
    gamma, variance = leading_terms(nodes.sd[:, None] ** 2, D, error, shared)
    slopes = wider**2 * np.einsum("mp,pq,mq->m", arrays.X, fit.beta_cov, arrays.X)
    means = linear + gamma * np.where(on, arrays.y - linear, 0.0)
    mixture = Mixture(nodes.weights, means, np.sqrt(variance + (1.0 - gamma) ** 2 * slopes))
    ends = mixture.quantile(tail), mixture.quantile(1.0 - tail)
    loose = wider * (arrays.X @ np.linalg.cholesky(fit.beta_cov))
    joint = JointMixture(
        nodes.weights,
        means,
        np.sqrt(np.broadcast_to(variance, means.shape))[:, :, None],
        (1.0 - gamma)[:, :, None] * loose,
    )
    return Interval(*ends, IntervalKind.VARIANCE_POSTERIOR, prior, posterior=lambda: joint)


def _tables(arrays: AreaArrays, errors: ErrorArrays, fit: MeasurementErrorFit, basis: Basis) -> FitTables:
    residuals, noise = _residuals(arrays, errors, fit), fit.error_variance
    # of the true covariates: what varies in the measured ones less their errors
    explained = max(0.0, float(np.var(residuals["fitted"], ddof=1) - noise.mean()))
    diagnostics = {
        "areas": len(arrays.y),
        "sampled": int(arrays.sampled.sum()),
        "coefficients": len(fit.beta),
        "r2_marginal": explained_share(explained, fit.variance),
        "gamma_median": float(np.median(fit.gamma)),
        "error_share": float(np.median(noise / (fit.variance + noise))) if noise.any() else 0.0,
    }
    beta, covariance = basis.natural(fit.beta), basis.natural_covariance(fit.beta_cov)
    index = coefficient_index(arrays.design.columns)
    return FitTables(
        coefficient_table(beta, np.sqrt(np.diag(covariance)), index),
        pd.Series({"sigma2_u": fit.variance}),
        pd.DataFrame([diagnostics]),
        residuals,
    )


def _residuals(arrays: AreaArrays, errors: ErrorArrays, fit: MeasurementErrorFit) -> pd.DataFrame:
    """Y - X'b of the sampled areas, each over its standard deviation, the errors of X included."""
    on = arrays.sampled
    X = arrays.X[on]
    fitted = X @ fit.beta
    residual = arrays.y[on] - fitted
    total = fit.variance + arrays.D[on] + fit.error_variance - 2.0 * fit.error_covariance
    taken = np.einsum("mp,pq,mq->m", X, fit.beta_cov, X)
    standardised = residual / np.sqrt(total)
    return residual_table(arrays.order[on], arrays.names[on], fitted, residual, standardised, taken / total)
