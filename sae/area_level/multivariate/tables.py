"""What a multivariate fit taught, as tables: coefficients, effects, criteria, residuals, warnings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from sae.area_level.multivariate.rows import ComponentRows
from sae.errors import BoundaryVarianceWarning, ConvergenceWarning, SmallSampleWarning, name_some
from sae.numerics.inference.psis import K_LIMIT
from sae.numerics.multivariate.covariances import STRUCTURES
from sae.numerics.multivariate.fit import BlockFit, BlockMse
from sae.results import (
    Message,
    collinearity,
    explained_share,
    extrapolation,
    residual_table,
)
from sae.specs.design import outside_range

__all__ = [
    "component_index",
    "correlation_table",
    "degenerate",
    "fit_diagnostics",
    "messages_of",
    "residuals_of",
    "variance_table",
]

_SINGULAR = 1e-6  # smallest eigenvalue of the correlations of the effects that counts as more than 0


def degenerate(fit: BlockFit) -> bool:
    """Whether an effect has variance 0, or effects determine each other."""
    width = np.sqrt(np.diag(fit.covariance))
    if (width == 0).any():
        return True
    return bool(np.linalg.eigvalsh(fit.covariance / np.outer(width, width))[0] < _SINGULAR)


def component_index(terms: list[tuple[str, str]]) -> pd.Index:
    """Label the coefficients by component and term."""
    components, columns = map(list, zip(*terms, strict=True))
    return pd.MultiIndex.from_arrays([components, columns], names=["component", "term"])


def variance_table(fit: BlockFit, components: pd.Index) -> pd.DataFrame:
    """Variances of the effects, with standard errors by the delta method."""
    slopes = STRUCTURES[fit.structure](fit.theta, len(components))[1]
    own = np.einsum("arr->ra", slopes)
    se = np.sqrt(np.maximum(np.einsum("ra,ab,rb->r", own, fit.theta_cov, own), 0.0))
    return pd.DataFrame({"sigma2_u": np.diag(fit.covariance), "sigma2_u_se": se}, index=components)


def correlation_table(fit: BlockFit, components: Sequence[str]) -> pd.DataFrame:
    """Correlations of the effects, and rho of the AR structures, with standard errors by the delta method."""
    slopes = STRUCTURES[fit.structure](fit.theta, len(components))[1]
    V, names, values, errors = fit.covariance, [], [], []
    for i, j in combinations(range(len(components)), 2):
        width = np.sqrt(V[i, i] * V[j, j])
        value = V[i, j] / width if width > 0 else np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = slopes[:, i, j] / width - 0.5 * value * (
                slopes[:, i, i] / V[i, i] + slopes[:, j, j] / V[j, j]
            )
        names.append(f"{components[i]}, {components[j]}")
        values.append(value)
        errors.append(np.sqrt(max(float(slope @ fit.theta_cov @ slope), 0.0)) if width > 0 else np.nan)
    if fit.structure in ("ar1", "har1"):
        names.append("rho")
        values.append(float(fit.theta[-1]))
        errors.append(float(np.sqrt(fit.theta_cov[-1, -1])))
    return pd.DataFrame(
        {"correlation": values, "se": errors}, index=pd.Index(names, name="effects"), dtype=float
    )


def fit_diagnostics(
    rows: ComponentRows,
    X: np.ndarray,
    terms: list[tuple[str, str]],
    fit: BlockFit,
    parts: BlockMse,
    index: pd.Index,
) -> pd.DataFrame:
    """One row per component; likelihood and criteria are those of the whole model."""
    fitted, lines = X @ fit.beta, []
    count = len(fit.beta) + len(fit.theta)
    for r, component in enumerate(rows.components):
        sampled = rows.sampled[:, r]
        lines.append(
            {
                "areas": len(sampled),
                "sampled": int(sampled.sum()),
                "coefficients": sum(name == component for name, _ in terms),
                "loglik": fit.loglik,
                "aic": 2.0 * count - 2.0 * fit.loglik,
                "bic": np.log(rows.sampled.any(axis=1).sum()) * count - 2.0 * fit.loglik,
                "r2_marginal": explained_share(
                    float(np.var(fitted[sampled, r], ddof=1)), float(fit.covariance[r, r])
                ),
                "gamma_median": float(np.median(parts.weights[sampled, r, r])),
            }
        )
    return pd.DataFrame(lines, index=index)


def residuals_of(
    rows: ComponentRows, fitted: np.ndarray, left: np.ndarray, total: np.ndarray
) -> pd.DataFrame:
    """Return the regression residuals of sampled rows, standardised by the root of their variance.

    Parameters
    ----------
    rows : ComponentRows
    fitted, left, total : ndarray of float, shape (D, R)
        Fitted values, variances of the residuals, and of the direct estimates.
    """
    left = np.maximum(left, 1e-12 * total)
    on = np.flatnonzero(rows.sampled.ravel())
    residual = rows.direct - fitted
    columns = (fitted, residual, residual / np.sqrt(left), 1.0 - left / total)
    return residual_table(on, rows.names[on], *(values.ravel()[on] for values in columns))


def messages_of(
    rows: ComponentRows,
    X: np.ndarray,
    terms: list[tuple[str, str]],
    fits: Sequence[BlockFit] = (),
    missing: Sequence[int] = (),
    uncertain: Sequence[int] = (),
) -> list[Message]:
    """Return what is to be said of the fits.

    Parameters
    ----------
    rows : ComponentRows
    X : ndarray, shape (D, R, p)
    terms : list of (component, term)
    fits : sequence of BlockFit
        Of a likelihood.
    missing : sequence of int
        Fits that have no intervals.
    uncertain : sequence of int
        Fits whose intervals rest on importance weights with a heavy tail.
    """
    messages: list[Message] = []
    zero, tied = [], []
    for k, fit in enumerate(fits):
        variances = zip(rows.components, np.diag(fit.covariance), strict=True)
        flat = [f"{name}{rows.where(k)}" for name, variance in variances if variance == 0.0]
        zero += flat
        if not flat and degenerate(fit):
            tied.append(rows.where(k).removeprefix(" in "))
    if zero:
        text = (
            f"The variance of the effects is estimated exactly 0 for {name_some(zero)}: their predictions "
            "rest on the covariates and on the others."
        )
        messages.append(Message(text, BoundaryVarianceWarning))
    if tied:
        where = f" in {name_some(tied)}" if tied[0] else ""
        text = (
            f"The effects are estimated to be perfectly correlated{where}: one component tells the others' "
            "effects."
        )
        messages.append(Message(text, BoundaryVarianceWarning))
    messages += _covariates(rows, X, terms)
    if missing:
        where = _where(rows, missing)
        text = f"No intervals{where}: with so few areas nothing is known about the covariance of the effects."
        messages.append(Message(text, SmallSampleWarning))
    if uncertain:
        text = (
            f"The ends of the intervals{_where(rows, uncertain)} are not certain: the importance weights of "
            f"the covariance of the effects have a Pareto k-hat above {K_LIMIT}."
        )
        messages.append(Message(text, ConvergenceWarning))
    return messages


def _where(rows: ComponentRows, fits: Sequence[int]) -> str:
    """Name fits; empty where there is only one."""
    places = sorted({rows.where(k) for k in fits})
    return f" in {name_some(name.removeprefix(' in ') for name in places)}" if places[0] else ""


def _covariates(rows: ComponentRows, X: np.ndarray, terms: list[tuple[str, str]]) -> list[Message]:
    """Return extrapolation and near collinearity, each component with its own columns and sample."""
    outside = np.zeros(X.shape, dtype=bool)
    alike: list[Message] = []
    for k in range(len(rows.fits)):
        areas = rows.fit == k
        for r, component in enumerate(rows.components):
            sample = X[areas & rows.sampled[:, r], r]
            outside[areas, r] = outside_range(sample, X[areas, r])
            own = [j for j, (name, _) in enumerate(terms) if name == component]
            alike = alike or collinearity(sample[:, own], [" ".join(terms[j]) for j in own])
    names = [" ".join(term) for term in terms]
    others = int((~rows.sampled).sum())
    flat = outside.reshape(-1, X.shape[2])
    return extrapolation(flat, names, rows.names, others, "rows without a sample") + alike
