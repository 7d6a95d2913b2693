"""What a multivariate fit taught, as tables: coefficients, effects, criteria, residuals, warnings."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import ndtr

from sae.area_level.multivariate.rows import ComponentRows
from sae.errors import BoundaryVarianceWarning, ExtrapolationWarning, SmallSampleWarning, name_some
from sae.numerics.multivariate.covariances import STRUCTURES
from sae.numerics.multivariate.fit import BlockFit, BlockMse

__all__ = [
    "coefficient_table",
    "correlation_table",
    "degenerate",
    "fit_diagnostics",
    "residual_table",
    "variance_table",
    "warn",
]

_SINGULAR = 1e-6  # smallest eigenvalue of the correlations of the effects that counts as more than 0


def degenerate(fit: BlockFit) -> bool:
    """Whether an effect has variance 0, or effects determine each other."""
    width = np.sqrt(np.diag(fit.covariance))
    if (width == 0).any():
        return True
    return bool(np.linalg.eigvalsh(fit.covariance / np.outer(width, width))[0] < _SINGULAR)


def coefficient_table(fit: BlockFit, terms: list[tuple[str, str]]) -> pd.DataFrame:
    """Coefficients with standard errors and two-sided normal tests, by component and term."""
    se = np.sqrt(np.diag(fit.beta_cov))
    z = fit.beta / se
    index = pd.MultiIndex.from_tuples(terms, names=["component", "term"])
    return pd.DataFrame({"coef": fit.beta, "se": se, "z": z, "p": 2.0 * ndtr(-np.abs(z))}, index=index)


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
        seen = rows.sampled[:, r]
        explained = float(np.var(fitted[seen, r], ddof=1))
        whole = explained + float(fit.covariance[r, r])
        lines.append({
            "areas": len(seen), "sampled": int(seen.sum()),
            "coefficients": sum(name == component for name, _ in terms), "loglik": fit.loglik,
            "aic": 2.0 * count - 2.0 * fit.loglik,
            "bic": np.log(rows.sampled.any(axis=1).sum()) * count - 2.0 * fit.loglik,
            "r2_marginal": explained / whole if whole > 0 else np.nan,
            "gamma_median": float(np.median(parts.weights[seen, r, r])),
        })  # fmt: skip
    return pd.DataFrame(lines, index=index)


def residual_table(rows: ComponentRows, X: np.ndarray, fit: BlockFit) -> pd.DataFrame:
    """Return the regression residuals of sampled rows, standardised by √(V_rr + Ψ_rr - x'Qx)."""
    total = np.diag(fit.covariance) + np.einsum("drr->dr", rows.psi)
    left = total - np.einsum("drp,pq,drq->dr", X, fit.beta_cov, X, optimize=True)
    left = np.maximum(left, 1e-12 * total)
    fitted = X @ fit.beta
    seen = np.flatnonzero(rows.sampled.ravel())
    values = {
        "fitted": fitted, "residual": rows.direct - fitted,
        "standardised": (rows.direct - fitted) / np.sqrt(left), "leverage": 1.0 - left / total,
    }  # fmt: skip
    columns = {name: array.ravel()[seen] for name, array in values.items()}
    return pd.DataFrame({"domain": rows.names[seen], **columns}, index=pd.Index(seen, name="row"))


def warn(
    rows: ComponentRows,
    X: np.ndarray,
    terms: list[tuple[str, str]],
    fits: Sequence[BlockFit],
    intervals: np.ndarray,
) -> list[str]:
    """Warn of what the user should know about the fits, and return the same sentences for the record."""
    found: list[tuple[type[Warning], str]] = []
    zero, tied = [], []
    for k, fit in enumerate(fits):
        variances = zip(rows.components, np.diag(fit.covariance), strict=True)
        flat = [f"{name}{rows.where(k)}" for name, variance in variances if variance == 0.0]
        zero += flat
        if not flat and degenerate(fit):
            tied.append(rows.where(k).removeprefix(" in "))
    if zero:
        text = f"The variance of the effects is estimated exactly 0 for {name_some(zero)}"
        found.append(
            (BoundaryVarianceWarning, f"{text}: their predictions rest on the covariates and on the others.")
        )
    if tied:
        where = f" in {name_some(tied)}" if tied[0] else ""
        text = (
            f"The effects are estimated to be perfectly correlated{where}: one component tells the others' "
            "effects."
        )
        found.append((BoundaryVarianceWarning, text))
    beyond = np.zeros(X.shape, dtype=bool)
    for k in range(len(fits)):
        areas = rows.fit == k
        for r in range(len(rows.components)):
            known = X[areas & rows.sampled[:, r], r]
            low, high = known.min(axis=0), known.max(axis=0)
            slack = 1e-9 * np.maximum(np.abs(low), np.abs(high))
            beyond[areas, r] = (low - slack > X[areas, r]) | (high + slack < X[areas, r])
    if beyond.any():
        columns = [" ".join(terms[k]) for k in np.flatnonzero(beyond.any(axis=(0, 1)))]
        outside = rows.names[beyond.any(axis=2).ravel()]
        text = f"Covariates lie outside the range of the fit ({name_some(columns)}) in {len(outside)} rows"
        found.append((ExtrapolationWarning, f"{text} without a sample: {name_some(outside)}."))
    without = sorted({rows.where(k) for k in rows.fit[np.char.startswith(intervals.astype(str), "none")]})
    if without:
        where = f" in {name_some(name.removeprefix(' in ') for name in without)}" if without[0] else ""
        text = f"No intervals{where}: with so few areas nothing is known about the covariance of the effects."
        found.append((SmallSampleWarning, text))
    for kind, text in found:
        warnings.warn(text, kind, stacklevel=4)
    return [text for _, text in found]
