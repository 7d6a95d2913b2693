"""What a unit-level fit taught, as tables; refusals and warnings that both ways of fitting share."""

from __future__ import annotations

import warnings
from typing import NoReturn

import numpy as np
import pandas as pd

from sae.errors import BoundaryVarianceWarning, ExtrapolationWarning, SaeInputError, name_some
from sae.specs.design import check_rank
from sae.unit_level.rows import UnitProblem

__all__ = ["area_table", "refuse", "residual_table", "warn"]


def area_table(problem: UnitProblem, outcome: str) -> pd.DataFrame:
    """Columns of the estimate table known before the fit, one row per area."""
    sums, names = problem.sums, problem.names
    n = sums.n.astype(float)
    direct = np.where(n > 0, sums.y_mean[0], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        se = np.where(n > 1, np.sqrt(np.maximum(sums.yy[0], 0.0) / (n - 1.0) / n), np.nan)
        se = np.where(se > 0.0, se, np.nan)  # equal values say that they are few, not that they are certain
        cv = np.where(direct != 0.0, se / np.abs(direct), np.nan)
    return pd.DataFrame({
        "indicator": outcome, "definition": "", "unit": "", "geo": names, "time": "", "domain": names,
        "n": sums.n, "direct": direct, "direct_se": se, "direct_cv": cv,
    })  # fmt: skip


def residual_table(
    problem: UnitProblem, coefficients: np.ndarray, covariance: np.ndarray, sigma2_u: float, sigma2_e: float
) -> pd.DataFrame:
    """Areas with a sample, by row: their mean less x̄'β; ``standardised`` by √(σu² + σe²/n - x̄'Qx̄)."""
    sums = problem.sums
    seen = np.flatnonzero(sums.n > 0)
    x, n = sums.x_mean[seen], sums.n[seen]
    fitted = x @ coefficients
    total = sigma2_u + sigma2_e / n
    left = np.maximum(total - np.einsum("da,ab,db->d", x, covariance, x), 1e-12 * total)
    residual = sums.y_mean[0, seen] - fitted
    return pd.DataFrame(
        {
            "domain": problem.names[seen],
            "fitted": fitted,
            "residual": residual,
            "standardised": residual / np.sqrt(left),
            "leverage": 1.0 - left / total,
        },
        index=pd.Index(seen, name="row"),
    )


def refuse(problem: UnitProblem, error: ValueError, prior: str = "") -> NoReturn:
    """Say by name why the units cannot tell the model."""
    code = error.args[1] if len(error.args) > 1 else 0
    n, p = problem.X.shape
    sampled = int((problem.sums.n > 0).sum())
    if n <= p:
        raise SaeInputError(
            f"{p} coefficients cannot be estimated from {n} units.",
            hint="Use fewer covariates (a text covariate costs one coefficient per level), or more units.",
        ) from None
    if code >= 0:
        check_rank(problem.X, problem.design.columns)
        column = problem.design.columns[code]
        raise SaeInputError(
            f"{column} is nearly a linear combination of the columns before it, so the coefficients cannot "
            "be told apart.",
            hint=f"Leave {column} out of the formula.",
            column=column,
        ) from None
    if code == -1:
        raise SaeInputError(
            f"{n} units in {sampled} areas leave no degree of freedom within areas: σu² and σe² cannot "
            "be told apart.",
            hint="Areas with two units or more are needed; with direct estimates and their variances use "
            "sae.FayHerriot.",
        ) from None
    if code == -2:
        raise SaeInputError(
            "The outcome does not vary within areas beyond what the covariates explain: σe² would be 0.",
            hint="A model of units needs an outcome of units; figures of whole areas go to sae.FayHerriot.",
        ) from None
    if code == -3 and prior:
        raise SaeInputError(
            f"The posterior is improper: the prior {prior} needs more than {sampled} areas with a sample for "
            f"{p} coefficients.",
            hint='Use a proper prior, such as prior="half-normal", or fewer covariates.',
        ) from None
    raise SaeInputError(
        f"{sampled} areas with a sample and {n} units are too few for {p} coefficients and an area effect.",
        hint="Use fewer covariates that are the same in a whole area.",
    ) from None


def warn(problem: UnitProblem, sigma2_u: float | None) -> list[str]:
    """Warn of what the user should know, and return the same sentences for the record."""
    found: list[tuple[type[Warning], str]] = []
    if sigma2_u == 0.0:
        text = (
            "The area variance is estimated exactly 0: the predictions rest on the covariates alone. "
            "Intervals come from the posterior, which knows that the variance may be larger."
        )
        found.append((BoundaryVarianceWarning, text))
    outside, columns = problem.extrapolated()
    if outside.any():
        text = (
            f"Population means lie outside the range of the units ({name_some(columns)}) in "
            f"{int(outside.sum())} of {len(outside)} areas: {name_some(problem.names[outside])}."
        )
        found.append((ExtrapolationWarning, text))
    for kind, text in found:
        warnings.warn(text, kind, stacklevel=4)
    return [text for _, text in found]
