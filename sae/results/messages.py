"""What every family says of its covariates and of a variance at the boundary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy

from sae.errors import (
    BoundaryVarianceWarning,
    CollinearityWarning,
    ConvergenceWarning,
    ExtrapolationWarning,
    SaeWarning,
    SmallSampleWarning,
    name_some,
)
from sae.results.data import FittedData
from sae.results.record import Message
from sae.specs.design import outside_range
from sae.tables import Origin
from sae.tables.texts import Texts

__all__ = [
    "boundary",
    "boundary_all",
    "chains_apart",
    "collinearity",
    "covariate_messages",
    "extrapolation",
    "few_cases",
    "no_interval",
    "origin_messages",
    "variance_messages",
]

_TOO_GOOD = 1e-3  # chance of residuals so small, over all fits, if the sampling variances were right
_FAR_TOO_GOOD = 0.25  # of what the sampling variances alone lead to expect
_FEW_CASES = 2.0  # expected in the median area, below which the arcsine's estimates come out too small
_NOTHING = 1e-3  # of the variance between areas: the model leaves such direct estimates as they are
_INFLATION = 100.0  # a coefficient's variance this many times that with uncorrelated covariates


def extrapolation(
    outside: np.ndarray, columns: Sequence[str], names: Texts | np.ndarray, others: int, what: str
) -> list[Message]:
    """Name the rows whose covariates lie outside the range of their fit.

    Parameters
    ----------
    outside : ndarray of bool, shape (M, p)
        See `outside_range`.
    columns : sequence of str
        Names of the p columns.
    names : Texts or ndarray of str, shape (M,)
    others : int
        Number of rows of which this could have been so.
    what : str
        What these rows are: "areas without a sample".
    """
    rows = outside.any(axis=1)
    if not rows.any():
        return []
    guilty = [columns[int(j)] for j in np.flatnonzero(outside.any(axis=0))]
    text = (
        f"Covariates lie outside the range of the fit ({name_some(guilty)}) in {int(rows.sum())} of {others} "
        f"{what}: {name_some(names[np.asarray(rows)])}."
    )
    return [Message(text, ExtrapolationWarning)]


def collinearity(X: np.ndarray, columns: Sequence[str], where: str = "") -> list[Message]:
    """Name a covariate that the others nearly explain: a variance inflation factor above 100.

    Parameters
    ----------
    X : ndarray of float, shape (m, p)
        The design of the rows that were fitted.
    columns : sequence of str
    where : str
        Which fit it is, for the message.

    References
    ----------
    Belsley, Kuh and Welsch (1980), Regression Diagnostics, section 3.1.
    """
    XT = np.ascontiguousarray(X.T)
    low, high = XT.min(axis=1, initial=np.inf), XT.max(axis=1, initial=-np.inf)
    if len(XT) < 2 + (constant := bool((high == low).any())):
        return []
    centred = XT - XT.mean(axis=1)[:, None] if constant else XT
    width = np.sqrt((centred**2).sum(axis=1))
    varying = np.flatnonzero(width > 1e-12 * np.maximum(np.abs(low), np.abs(high)) * np.sqrt(len(X)))
    if len(varying) < 2:
        return []
    scaled = centred[varying] / width[varying, None]
    inflation = np.diag(np.linalg.pinv(scaled @ scaled.T, hermitian=True))
    bad = [columns[j] for j in varying[inflation > _INFLATION]]
    if not bad:
        return []
    text = (
        f"The covariates {name_some(bad)} nearly explain each other{where} (variance inflation "
        f"{float(inflation.max()):.0f}): their coefficients are uncertain, the predictions less so."
    )
    return [Message(text, CollinearityWarning)]


def covariate_messages(
    X: np.ndarray,
    columns: Sequence[str],
    sampled: np.ndarray,
    names: Texts | np.ndarray,
    fit: np.ndarray | None = None,
) -> list[Message]:
    """Return what an area-level model says of its covariates: extrapolation, and near collinearity.

    Parameters
    ----------
    X : ndarray of float, shape (M, p)
    columns : sequence of str
    sampled : ndarray of bool, shape (M,)
    names : Texts or ndarray of str, shape (M,)
    fit : ndarray of int, shape (M,), optional
        Which fit each row belongs to; one fit by default.
    """
    outside = np.zeros(X.shape, dtype=bool)
    alike: list[Message] = []
    for rows in [slice(None)] if fit is None or not fit.any() else _members(fit):
        there, on = X[rows], sampled[rows]
        if on.all():
            alike = alike or collinearity(there, columns)
        elif on.any():
            outside[rows] = outside_range(there[on], there)
            alike = alike or collinearity(there[on], columns)
    return extrapolation(outside, columns, names, int((~sampled).sum()), "areas without a sample") + alike


def _members(fit: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each fit."""
    return np.split(np.argsort(fit, kind="stable"), np.cumsum(np.bincount(fit))[:-1])


def boundary(where: Sequence[str] = (), fits: int = 1, rest: str = "") -> Message:
    """Say that a model variance was estimated exactly 0.

    Parameters
    ----------
    where : sequence of str
        Names of the fits where it was, of several.
    fits : int
        Number of fits.
    rest : str
        What the intervals then are; by default those of the posterior.
    """
    several = f" in {len(where)} of {fits} fits ({name_some(where)})" if where else ""
    rest = rest or "Intervals come from the posterior, which knows that the variance may be larger."
    text = (
        f"The model variance is estimated exactly 0{several}: the predictions rest on the covariates alone. "
        f"{rest}"
    )
    return Message(text, BoundaryVarianceWarning)


def boundary_all() -> Message:
    """Say that all variances of a model with several were estimated exactly 0."""
    text = (
        "All model variances are estimated exactly 0: the predictions rest on the covariates alone. "
        "Intervals come from a posterior, which knows that they may be larger."
    )
    return Message(text, BoundaryVarianceWarning)


def no_interval(
    missing: np.ndarray, names: Texts | np.ndarray, few: str = "only one area more than coefficients"
) -> list[Message]:
    """Name the rows that have no interval, shape (M,) bool, because their fit has too few areas: `few`."""
    if not missing.any():
        return []
    text = (
        f"No interval in {int(missing.sum())} of {len(missing)} rows: with {few} nothing is known about the "
        f"model variance ({name_some(names[missing])})."
    )
    return [Message(text, SmallSampleWarning)]


def chains_apart(doubt: str) -> list[Message]:
    """Say that chains hardly agree, where there is such a doubt: see `sae.samplers.pymc.Chains`."""
    return [Message(doubt, ConvergenceWarning)] if doubt else []


def variance_messages(residuals: pd.DataFrame, data: FittedData) -> list[Message]:
    """Say where known sampling variances cannot belong to the direct estimates, as standard errors do not.

    Too large: the sum of squares of the residuals over the variances is that of no chi-square, to which the
    model's own variance could only add. Too small: the median is a thousandth of the variance between areas,
    so that the weight of the direct estimates is 1. Or the median CV is above 100 %.

    Parameters
    ----------
    residuals : DataFrame
        Of the regression, by row of the table: see `residual_table`.
    data : FittedData
        Of an area-level model; without known variances nothing is said.
    """
    rows = residuals.index.to_numpy(dtype=np.intp)
    if data.of_units or not len(rows):
        return []
    vardir, y, residual = data.vardir[rows], data.outcome[rows], residuals["residual"].to_numpy(dtype=float)
    known = (vardir > 0) & np.isfinite(residual) & np.isfinite(y)
    vardir, y, residual, fit = vardir[known], y[known], residual[known], data.fit[rows][known]
    if not len(vardir):
        return []
    many = int(fit.max()) + 1
    spare = np.maximum(np.bincount(fit, minlength=many) - data.X.shape[1], 0)
    squares = np.bincount(fit, residual**2 / vardir, minlength=many)
    between = np.bincount(fit, residual**2, minlength=many) / np.maximum(spare, 1)
    ratio = squares / np.maximum(spare, 1)
    small = (ratio < _FAR_TOO_GOOD) & (spare > 0)
    if small.any():
        small &= scipy.special.chdtr(np.maximum(spare, 1), squares) < _TOO_GOOD / many
    share = float(np.median(vardir / np.where(between[fit] > 0, between[fit], np.inf)))
    texts = []
    if small.any():
        where = f" in {int(small.sum())} of {many} fits" if many > 1 else ""
        texts.append(
            f"the estimates vary{where} by {float(np.median(np.sqrt(ratio[small]))):.2g} times what sampling "
            "errors alone would make them vary by, so that the model sees no difference between areas"
        )
    elif 0 < share < _NOTHING:
        texts.append(
            f"in the median area it is {share:.1g} of the variance between areas, so that the model leaves "
            "the direct estimates as they are"
        )
    one_sign = (y > 0).all() or (y < 0).all()
    if data.scale == "identity" and one_sign:
        cv = float(np.median(np.sqrt(vardir) / np.abs(y)))
        if cv > 1.0:
            texts.append(f"by it the median CV of the direct estimates is {cv:.0%}")
    if not texts:
        return []
    text = (
        f"The sampling variance does not go with the direct estimates: {'; '.join(texts)}. It is a variance "
        "in squared units of the estimate: check that it is no standard error, and that both are shares or "
        "both percentages."
    )
    return [Message(text, SaeWarning)]


def few_cases(data: FittedData) -> list[Message]:
    """Say where the arcsine is used on so few cases that it is biased, and which family is not.

    With 40 areas of 40 persons and one case expected in each, its shares come out a sixth too small, and its
    95 % intervals cover three in four of the areas without a case; binomial counts with area effects hold.

    Parameters
    ----------
    data : FittedData
        Of an area-level model.
    """
    if data.scale != "arcsin":
        return []
    rows = np.flatnonzero(data.sampled)
    n_eff, share, fit = 0.25 / data.vardir[rows], np.sin(data.outcome[rows]) ** 2, data.fit[rows]
    size = np.bincount(fit, n_eff)
    mean = np.divide(np.bincount(fit, n_eff * share), size, out=np.full(len(size), 0.5), where=size > 0)
    cases = n_eff * np.minimum(mean, 1.0 - mean)[fit]
    few = [k for k in np.unique(fit) if np.median(cases[fit == k]) < _FEW_CASES]
    if not few:
        return []
    least = min(float(np.median(cases[fit == k])) for k in few)
    where = f" in {len(few)} of {len(np.unique(fit))} fits" if len(np.unique(fit)) > 1 else ""
    text = (
        f"The arcsine is no scale for so few cases{where}: in the median area n_eff × p is {least:.2g}, p "
        "being the smaller of share and complement. Below 2 its estimates of that side come out too small, "
        "and its intervals miss in areas without a case; BinomialMixed holds."
    )
    return [Message(text, SmallSampleWarning)]


def origin_messages(origins: Mapping[str, Origin], data: FittedData, time: pd.Series) -> list[Message]:
    """Say where the covariates of the formula come from; warn of figures later than the data.

    Parameters
    ----------
    origins : mapping of str to Origin
        By name of the covariate.
    data : FittedData
        Whose columns tell which of them the formula uses.
    time : Series of str
        Periods of the rows; empty where they are unknown.
    """
    terms = " ".join(data.columns)
    periods = [period for period in time.unique() if period]
    messages = []
    for name, origin in origins.items():
        if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", terms):
            continue
        later = any(min(lags) < 0 for lags in origin.lags(periods).values())
        messages.append(Message(f"{name}: {origin.text(periods)}", SaeWarning if later else None))
    return messages
