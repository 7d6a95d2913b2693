"""A posterior as a result: the same table as the frequentist fits, with posterior means, variances, draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

import sae
from sae.numerics.inference.joint_error import JointError
from sae.results.draws import PosteriorDraws
from sae.results.result import Result
from sae.samplers import Posterior
from sae.tables import EstimateTable

__all__ = ["compressed", "parameter_columns", "posterior_joint", "posterior_result", "weighted_summary"]

_LOST = 1e-10  # share of the shared variance that may be given to the areas alone


def posterior_result(
    spec: Any,
    posterior: Posterior,
    table: pd.DataFrame,
    *,
    groups: tuple[str, ...],
    in_sample: np.ndarray,
    prior: str | np.ndarray,
    joint: JointError,
    title: str,
    model: str,
    run: str,
    seed: int | None,
    coefficients: pd.DataFrame,
    variance_components: pd.Series | pd.DataFrame,
    diagnostics: pd.DataFrame,
    residuals: pd.DataFrame,
    areas: pd.DataFrame,
    gamma: np.ndarray | None = None,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    provenance: Mapping[str, Any] | None = None,
    method: str = "posterior mean",
) -> Result:
    """Wrap any posterior into the result that every family returns.

    Parameters
    ----------
    spec : Specification
        With a `level` for the intervals.
    posterior : Posterior
        Of the rows of `table`, in their order, on the reported scale.
    table : DataFrame
        Columns of the estimate table known before the fit: `AreaRows.table`, or the like.
    groups : tuple of str
        Group columns of the table.
    in_sample : ndarray of bool, shape (M,)
    prior : str or ndarray of str, shape (M,)
        Every prior with its scale, such as "half-normal(0.083)".
    joint : JointError
        Posterior covariance of the rows: see `posterior_joint`.
    title, model, run : str
        First line of the summary, the model in a few words, digest of the run.
    seed : int or None
        Of the fit, where it drew random numbers.
    coefficients, variance_components : DataFrame, Series or DataFrame
        With the columns of `parameter_columns`; index as in the frequentist fits.
    diagnostics, residuals, areas : DataFrame
        As in `Result`; what `posterior.diagnostics` holds is added to the first.
    gamma : ndarray of float, shape (M,), optional
        Posterior mean of the weight of the direct estimate.
    bounds : (float, float)
        Natural range of the figures; (0, 1) for shares.
    provenance : mapping, optional
        More of it, such as "warnings" and "direct".
    method : str
        For the table.

    Returns
    -------
    Result
    """
    tail = 0.5 * (1.0 - spec.level)
    estimate, sd = posterior.moments()
    low, high = posterior.quantiles(np.array([tail, 1.0 - tail]))
    magnitude = np.abs(estimate)
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.where(magnitude > 0, sd / magnitude, np.nan)
    frame = table.assign(
        estimate=estimate, mse=sd**2, se=sd, cv=cv, ci_low=low, ci_high=high, flag="e",
        interval="credible, equal-tailed", gamma=np.nan if gamma is None else gamma, in_sample=in_sample,
        method=method, mse_method="posterior variance", prior=prior, model=model, run=run,
    )  # fmt: skip
    told = {name: value for name, value in posterior.diagnostics.items() if name not in diagnostics}
    return Result(
        estimates=EstimateTable(frame, groups),
        coefficients=coefficients,
        variance_components=variance_components,
        diagnostics=diagnostics.assign(**told),
        residuals=residuals,
        provenance={
            "sae": sae.__version__, "model": spec.to_toml(), "seed": seed, "run": run, "warnings": [],
            "posterior": posterior.source, **(provenance or {}),
        },
        spec=spec,
        areas=areas,
        title=title,
        joint=joint,
        source=PosteriorDraws(posterior, bounds),
    )  # fmt: skip


def parameter_columns(
    name: str, mean: np.ndarray, sd: np.ndarray, low: np.ndarray, median: np.ndarray, high: np.ndarray
) -> dict[str, np.ndarray]:
    """Name the columns of a parameter's posterior: mean, sd, median, and the ends of its interval.

    Examples
    --------
    >>> one = np.ones(1)
    >>> list(parameter_columns("sigma_u", one, one, one, one, one))
    ['sigma_u', 'sigma_u_sd', 'sigma_u_low', 'sigma_u_median', 'sigma_u_high']
    """
    return {name: mean, f"{name}_sd": sd, f"{name}_low": low, f"{name}_median": median, f"{name}_high": high}


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
    return JointError.of_fits(variance, [compressed(shared).T])


def compressed(shared: np.ndarray) -> np.ndarray:
    """Return fewer columns with the same products shared shared', shape (M, C) to (M, c)."""
    values, vectors = np.linalg.eigh(shared.T @ shared)
    kept = np.cumsum(np.maximum(values, 0.0)) > _LOST * max(values.sum(), 0.0)
    return np.asarray(shared @ vectors[:, kept])
