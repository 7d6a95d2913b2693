"""Fit a model whose covariates carry errors, measure its own error, and wrap it all up."""

from __future__ import annotations

import hashlib
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import stdtrit

import sae
from sae.area_level.arrays import AreaProblem
from sae.area_level.fay_herriot.structured import coefficients_of, joint_of_root, warn_structured, with_errors
from sae.area_level.intervals import FEW_AREAS, Interval
from sae.area_level.measurement_error.errors import ErrorArrays
from sae.errors import BoundaryVarianceWarning, SaeConvergenceError, SaeInputError
from sae.numerics.fay_herriot.measurement_error import (
    MeasurementErrorFit,
    fit_measurement_error,
    jackknife_measurement_error,
    leading_terms,
)
from sae.numerics.fay_herriot.mixture import Mixture
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, SPARE
from sae.numerics.inference.transforms import TRANSFORMS
from sae.results import NormalDraws, Result

if TYPE_CHECKING:
    from sae.area_level.measurement_error.model import MeasurementErrorFayHerriot

__all__ = ["fit_measured"]

_ZERO = (
    "The model variance is estimated exactly 0: direct estimates weigh only what the errors of the "
    "covariates leave to them. Intervals come from the posterior, which knows that the variance may be "
    "larger."
)


def fit_measured(spec: MeasurementErrorFayHerriot, problem: AreaProblem, errors: ErrorArrays) -> Result:
    """Fit the model and predict every area."""
    on, p, X = problem.sampled, len(problem.X), np.ascontiguousarray(problem.X.T)
    if on.sum() < p + 2:
        raise SaeInputError(
            f"The jackknife needs {p + 2} areas with a direct estimate for {p} coefficients; there are "
            f"{int(on.sum())}.",
            hint="Use fewer covariates.",
        )
    given = (problem.y[on], problem.D[on], X[on], errors.C[on])
    try:
        fit = fit_measurement_error(*given, errors.c[on])
    except np.linalg.LinAlgError as error:
        raise _refused(error.args[0]) from None
    try:
        parts = jackknife_measurement_error(fit, *given, X[~on], errors.C[~on], errors.c[on])
    except np.linalg.LinAlgError as error:
        name = problem.names[on][error.args[1]]
        raise _refused(f"Without {name}, which the jackknife leaves out: {error.args[0]}", name) from None
    if fit.status == "not converged" or parts.unfinished:
        what = (
            "The equations do" if fit.status == "not converged" else f"{parts.unfinished} jackknife fits do"
        )
        raise SaeConvergenceError(
            f"{what} not settle: variance and slopes keep moving.",
            hint="Drop the covariate with the largest error, or join areas.",
        )
    leading, mse = np.empty(len(on)), np.empty(len(on))
    words = np.full(len(on), "jackknife", dtype=object)
    estimate, gamma = X @ fit.beta, np.zeros(len(on))
    estimate[on], gamma[on] = fit.prediction, fit.gamma
    for rows, part in ((on, slice(None, int(on.sum()))), (~on, slice(int(on.sum()), None))):
        found, kept = parts.mse[part], parts.mse[part] > 0
        mse[rows] = np.where(kept, found, (parts.leading + parts.spread)[part])
        leading[rows] = parts.leading[part]
        words[rows] = np.where(kept, "jackknife", "jackknife, bias term left out")
    return _result(spec, problem, errors, fit, estimate, gamma, mse, words)


def _refused(text: str, *areas: object) -> SaeInputError:
    return SaeInputError(
        text,
        hint="Drop the covariate, pool its sample over more periods, or take it from a register.",
        areas=areas,
    )


def _intervals(
    problem: AreaProblem, errors: ErrorArrays, fit: MeasurementErrorFit, estimate: np.ndarray,
    mse: np.ndarray, level: float,
) -> Interval:  # fmt: skip
    """Student's t on the MSE where many areas carry it, else over the posterior of the variance.

    Given the slopes b the residuals are normal with variances A + D + b'C b - 2 b'c, and each area's truth is
    normal at each A: a mixture over its nodes. The residuals are widened for the p slopes fitted to them.
    """
    on, p, tail = problem.sampled, len(fit.beta), 0.5 * (1.0 - level)
    m = int(on.sum())
    if m >= FEW_AREAS and fit.variance > 0.0:
        half = float(stdtrit(m - p, 1.0 - tail)) * np.sqrt(mse)
        return Interval(estimate - half, estimate + half, "t on the MSE", "")
    linear = fit.beta @ problem.X
    error = np.einsum("i,dij,j->d", fit.beta, errors.C, fit.beta)
    shared = errors.c @ fit.beta
    extra = np.maximum(problem.D + error - 2.0 * shared, 1e-12 * problem.D)[on]
    wider = np.sqrt(m / (m - p))
    prior, code = ("flat-variance", FLAT_VARIANCE) if m >= p + SPARE[FLAT_VARIANCE] else ("flat-sd", FLAT_SD)
    residuals = Areas.of(wider * (problem.y - linear)[on], extra, np.empty((0, m)), np.ones(m, dtype=bool))
    nodes = place_nodes(residuals, [(code, 1.0)])
    D = np.where(on, problem.D, np.inf)
    gamma, variance = leading_terms(nodes.sd[:, None] ** 2, D, error, shared)
    slopes = wider**2 * np.einsum("pm,pq,qm->m", problem.X, fit.beta_cov, problem.X)
    means = linear + gamma * np.where(on, problem.y - linear, 0.0)
    mixture = Mixture(nodes.weights, means, np.sqrt(variance + (1.0 - gamma) ** 2 * slopes))
    words = f"posterior of the variance, {prior} prior"
    return Interval(mixture.quantile(tail), mixture.quantile(1.0 - tail), words, prior)


def _result(
    spec: MeasurementErrorFayHerriot, problem: AreaProblem, errors: ErrorArrays, fit: MeasurementErrorFit,
    estimate: np.ndarray, gamma: np.ndarray, mse: np.ndarray, words: np.ndarray,
) -> Result:  # fmt: skip
    rows, X = problem.rows, problem.X.T
    ends = _intervals(problem, errors, fit, estimate, mse, spec.level)
    loose = (1.0 - gamma)[:, None] * (X @ np.linalg.cholesky(fit.beta_cov))
    joint = joint_of_root(sparse.csr_array(loose), mse)
    messages = _messages(spec, problem, fit)
    digest = hashlib.sha256(errors.C.tobytes() + errors.c.tobytes()).hexdigest()
    run = problem.run_id(spec.to_toml() + digest, None)
    title = "Measurement-error Fay–Herriot (Ybarra–Lohr)"
    table = rows.table.assign(
        estimate=estimate, mse=mse, ci_low=ends.low, ci_high=ends.high, interval=ends.words,
        prior=ends.prior, gamma=gamma, in_sample=rows.sampled, mse_method=words,
        method="Ybarra–Lohr, moments", model=f"{title}: {spec.formula}", run=run,
    )  # fmt: skip
    residuals, noise = _residuals(problem, errors, fit), fit.error_variance
    # of the true covariates: what varies in the measured ones less their errors
    explained = max(0.0, float(np.var(residuals["fitted"], ddof=1) - noise.mean()))
    whole = explained + fit.variance
    diagnostics = pd.DataFrame([{
        "areas": len(mse), "sampled": int(rows.sampled.sum()), "coefficients": len(fit.beta),
        "r2_marginal": explained / whole if whole > 0 else np.nan,
        "gamma_median": float(np.median(fit.gamma)),
        "error_share": float(np.median(noise / (fit.variance + noise))) if noise.any() else 0.0,
    }])  # fmt: skip
    return Result(
        estimates=with_errors(table, rows.groups),
        coefficients=coefficients_of(problem.design.columns, fit.beta, fit.beta_cov),
        variance_components=pd.Series({"sigma2_u": fit.variance}),
        diagnostics=diagnostics,
        residuals=residuals,
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": None, "run": run, "warnings": messages,
            "direct": dict(rows.provenance),
        },
        spec=spec,
        areas=rows.covariates,
        title=title,
        joint=joint,
        source=NormalDraws(
            estimate, joint, TRANSFORMS["identity"], rows.labels, problem.coefficient_labels,
            "Ybarra–Lohr prediction",
        ),
    )  # fmt: skip


def _messages(spec: MeasurementErrorFayHerriot, problem: AreaProblem, fit: MeasurementErrorFit) -> list[str]:
    """Warn of what the user should know, and return the sentences with what is assumed of the errors."""
    found = [] if fit.variance > 0.0 else [_ZERO]
    for text in found:
        warnings.warn(text, BoundaryVarianceWarning, stacklevel=5)
    return [*found, *warn_structured(problem, at_zero=False), f"{spec.assumption}."]


def _residuals(problem: AreaProblem, errors: ErrorArrays, fit: MeasurementErrorFit) -> pd.DataFrame:
    """Y - X'b of the sampled areas, each over its standard deviation, the errors of X included."""
    on = problem.sampled
    fitted = (fit.beta @ problem.X)[on]
    residual = problem.y[on] - fitted
    total = fit.variance + problem.D[on] + fit.error_variance - 2.0 * fit.error_covariance
    X = problem.X[:, on]
    taken = np.einsum("pm,pq,qm->m", X, fit.beta_cov, X)
    return pd.DataFrame({
        "domain": problem.names[on], "fitted": fitted, "residual": residual,
        "standardised": residual / np.sqrt(total), "leverage": taken / total,
    }, index=pd.Index(problem.order[on], name="row"))  # fmt: skip
