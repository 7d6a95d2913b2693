"""What every family says of its covariates and of a variance at the boundary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.errors import (
    BoundaryVarianceWarning,
    CollinearityWarning,
    ConvergenceWarning,
    ExtrapolationWarning,
    SmallSampleWarning,
    name_some,
)
from sae.results.record import Message
from sae.specs.design import outside_range

__all__ = [
    "boundary",
    "boundary_all",
    "chains_apart",
    "collinearity",
    "covariate_messages",
    "extrapolation",
    "no_interval",
]

_INFLATION = 100.0  # a coefficient's variance this many times that with uncorrelated covariates


def extrapolation(
    outside: np.ndarray, columns: Sequence[str], names: np.ndarray, others: int, what: str
) -> list[Message]:
    """Name the rows whose covariates lie outside the range of their fit.

    Parameters
    ----------
    outside : ndarray of bool, shape (M, p)
        See `outside_range`.
    columns : sequence of str
        Names of the p columns.
    names : ndarray of str, shape (M,)
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
        f"{what}: {name_some(names[rows])}."
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
    centred = X - X.mean(axis=0) if np.ptp(X, axis=0).min(initial=np.inf) == 0.0 else X
    width = np.sqrt((centred**2).sum(axis=0))
    varying = np.flatnonzero(width > 1e-12 * np.abs(X).max(axis=0, initial=0.0) * np.sqrt(len(X)))
    if len(varying) < 2:
        return []
    scaled = centred[:, varying] / width[varying]
    inflation = np.diag(np.linalg.pinv(scaled.T @ scaled, hermitian=True))
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
    names: np.ndarray,
    fit: np.ndarray | None = None,
) -> list[Message]:
    """Return what an area-level model says of its covariates: extrapolation, and near collinearity.

    Parameters
    ----------
    X : ndarray of float, shape (M, p)
    columns : sequence of str
    sampled : ndarray of bool, shape (M,)
    names : ndarray of str, shape (M,)
    fit : ndarray of int, shape (M,), optional
        Which fit each row belongs to; one fit by default.
    """
    outside = np.zeros(X.shape, dtype=bool)
    alike: list[Message] = []
    for rows in [slice(None)] if fit is None or not fit.any() else _members(fit):
        there, on = X[rows], sampled[rows]
        if on.any():
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
        "Intervals come from the posterior with independent effects, which knows that they may be larger."
    )
    return Message(text, BoundaryVarianceWarning)


def no_interval(
    missing: np.ndarray, names: np.ndarray, few: str = "only one area more than coefficients"
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
