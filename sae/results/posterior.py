"""A posterior as a result: the same table as the frequentist fits, with posterior means, variances, draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sae.numerics.inference.joint_error import JointError
from sae.results.data import FittedData
from sae.results.draws import PosteriorDraws
from sae.results.intervals import IntervalKind, holding
from sae.results.record import FitTables, Message, ResultRows, RunRecord, provenance_of
from sae.results.result import Result
from sae.samplers import Posterior
from sae.samplers.mixtures import weighted_quantiles
from sae.specs import Specification
from sae.tables import EstimateTable

__all__ = [
    "PosteriorFit",
    "compressed",
    "parameter_columns",
    "parameter_row",
    "posterior_joint",
    "posterior_result",
    "weighted_summary",
]

_LOST = 1e-10  # share of the shared variance that may be given to the areas alone


@dataclass(frozen=True, slots=True, eq=False)
class PosteriorFit:
    """A posterior of the M rows of a table on the reported scale, in their order.

    Attributes
    ----------
    posterior : Posterior
    joint : JointError
        Posterior covariance of the rows: see `posterior_joint`.
    prior : str or ndarray of str, shape (M,)
        Every prior with its scale, such as "half-normal(0.083)".
    gamma : ndarray of float, shape (M,), optional
        Posterior mean of the weight of the direct estimate.
    bounds : (float, float)
        Natural range of the figures; (0, 1) for shares.
    tables : FitTables
        Coefficients and variance components with the columns of `parameter_columns`; what the posterior says
        of its own trustworthiness is added to the diagnostics.
    messages : tuple of Message
        Warnings and notes, in the order in which they are read.
    more : mapping
        Further entries of the provenance.
    """

    posterior: Posterior
    joint: JointError
    prior: str | np.ndarray
    tables: FitTables
    gamma: np.ndarray | None = None
    bounds: tuple[float, float] = (-np.inf, np.inf)
    messages: tuple[Message, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


def posterior_result(
    spec: Specification,
    rows: ResultRows,
    data: FittedData,
    fit: PosteriorFit,
    record: RunRecord,
) -> Result:
    """Wrap any posterior into the result that every family returns.

    Parameters
    ----------
    spec : Specification
        With the `level` of the intervals.
    rows : ResultRows
        What the model has read.
    data : FittedData
        What it fitted.
    fit : PosteriorFit
    record : RunRecord
    """
    posterior, tables, tail = fit.posterior, fit.tables, 0.5 * (1.0 - spec.level)
    estimate, sd = posterior.moments()
    low, high = posterior.quantiles(np.array([tail, 1.0 - tail]))
    low, high, interval = holding(estimate, low, high, IntervalKind.CREDIBLE.value)
    columns = {
        **rows.columns,
        "estimate": estimate,
        "mse": sd**2,
        "ci_low": low,
        "ci_high": high,
        "interval": interval,
        "prior": fit.prior,
        "gamma": np.nan if fit.gamma is None else fit.gamma,
        "in_sample": data.sampled,
        "mse_method": "posterior variance",
        "method": record.method,
        "model": record.label or spec.label,
        "run": record.run,
    }
    trust = {name: value for name, value in posterior.diagnostics.items() if name not in tables.diagnostics}
    return Result(
        estimates=EstimateTable.from_mse(columns, rows.groups, se=sd),
        coefficients=tables.coefficients,
        variance_components=tables.variance_components,
        diagnostics=pd.DataFrame({**tables.diagnostics, **trust}, index=tables.diagnostics.index),
        residuals=tables.residuals,
        provenance=provenance_of(
            spec, record, fit.messages, {"posterior": posterior.source}, fit.more, rows.provenance
        ),
        spec=spec,
        data=data,
        areas=rows.covariates,
        title=record.title,
        joint=fit.joint,
        source=PosteriorDraws(posterior, fit.bounds),
        messages=fit.messages,
    )


def parameter_columns(name: str, mean: Any, sd: Any, low: Any, median: Any, high: Any) -> dict[str, Any]:
    """Name the columns of a parameter's posterior: mean, sd, median, and the ends of its interval.

    Examples
    --------
    >>> one = np.ones(1)
    >>> list(parameter_columns("sigma_u", one, one, one, one, one))
    ['sigma_u', 'sigma_u_sd', 'sigma_u_low', 'sigma_u_median', 'sigma_u_high']
    """
    return {name: mean, f"{name}_sd": sd, f"{name}_low": low, f"{name}_median": median, f"{name}_high": high}


def parameter_row(values: Mapping[str, np.ndarray], weights: np.ndarray, level: float) -> dict[str, float]:
    """Return the columns of parameters at weighted nodes; of standard deviations also of their squares.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (K,)
        By name; that of a standard deviation begins with "sigma_".
    weights : ndarray of float, shape (K,)
        They sum to 1.
    level : float
        Of the intervals.
    """
    columns: dict[str, float] = {}
    squares = {f"sigma2{name[5:]}": value**2 for name, value in values.items() if name.startswith("sigma_")}
    for name, value in (squares | dict(values)).items():
        mean = float(weights @ value)
        sd = float(np.sqrt(weights @ (value - mean) ** 2))
        ends = weighted_quantiles(value, weights, (0.5 * (1 - level), 0.5, 0.5 * (1 + level)))
        columns |= parameter_columns(name, mean, sd, *ends)
    return columns


def weighted_summary(
    values: np.ndarray, weights: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means, standard deviations and quantiles of weighted points.

    Parameters
    ----------
    values : ndarray, shape (S, p)
    weights : ndarray, shape (S,)
        They sum to 1.
    probabilities : ndarray, shape (Q,)

    Returns
    -------
    mean, sd, quantiles : ndarray, shapes (p,), (p,), (Q, p)
    """
    mean = weights @ values
    sd = np.sqrt(weights @ (values - mean) ** 2)
    found = []
    for column in values.T:
        order = np.argsort(column, kind="stable")
        places = np.cumsum(weights[order]) - 0.5 * weights[order]
        found.append(np.interp(probabilities, places, column[order]))
    return mean, sd, np.array(found).T


def posterior_joint(variance: np.ndarray, shared: np.ndarray) -> JointError:
    """Return the posterior covariance of M rows, diagonal + shared shared'.

    Parameters
    ----------
    variance : ndarray of float, shape (M,)
        The posterior variances: what they hold beyond `shared` belongs to the row alone.
    shared : ndarray of float, shape (M, C)
        Columns that the rows share. From S draws: (values - mean).T / √(S - 1).

    Notes
    -----
    Where there are fewer directions than columns, the rest is compressed away.

    Examples
    --------
    >>> joint = posterior_joint(np.array([1.0, 2.0]), np.array([[0.5, 0.5], [1.0, 1.0]]))
    >>> joint.shared.shape, joint.covariance().round(3).tolist()
    ((2, 1), [[1.0, 1.0], [1.0, 2.0]])
    """
    return JointError.later(lambda: JointError.of_fits(variance, [compressed(shared).T]))


def compressed(shared: np.ndarray) -> np.ndarray:
    """Return fewer columns with the same products shared shared', shape (M, C) to (M, c)."""
    wide = shared.shape[0] < shared.shape[1]
    values, vectors = np.linalg.eigh(shared @ shared.T if wide else shared.T @ shared)
    values = np.maximum(values, 0.0)
    kept = np.cumsum(values) > _LOST * values.sum()
    if wide:
        return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))
    return np.asarray(shared @ vectors[:, kept])
