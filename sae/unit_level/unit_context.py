"""Covariates of areas alone in a model of units: right for means, wrong for a distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sae.errors import SaeSpecError, name_some

__all__ = ["refuse_unit_context", "varies_within"]

_CONSTANT = 1e-10  # of a column's spread: what varies less within areas is rounding


def varies_within(X: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Return which columns differ between the units of at least one area, shape (p,).

    Parameters
    ----------
    X : ndarray of float, shape (n, p)
    area : ndarray of int, shape (n,)
        0 to D - 1.

    Examples
    --------
    >>> varies_within(np.array([[1.0, 3.0], [1.0, 4.0], [2.0, 4.0]]), np.array([0, 0, 1])).tolist()
    [False, True]
    """
    _, first, place = np.unique(area, return_index=True, return_inverse=True)
    apart = np.abs(X - X[first][place]).max(axis=0)
    return np.asarray(apart > _CONSTANT * np.abs(X).max(axis=0))


def refuse_unit_context(
    X: np.ndarray, area: np.ndarray, columns: Sequence[str], *, unit_context: bool = False
) -> None:
    """Refuse a predictor of poverty, or of any function of a distribution, from covariates of areas alone.

    Such a unit-context model gives all units of an area the same expectation, so that what persons differ by
    goes into the error, whose normal distribution must then be that of all incomes of an area. Its EBP is
    biased, by as much as the covariates of persons would have told, and its MSE does not say so. The EBLUP of
    an area's mean needs no such assumption: area means of covariates are welcome in `NestedError`, and beside
    covariates of units everywhere.

    Parameters
    ----------
    X : ndarray of float, shape (n, p)
        Design of the units.
    area : ndarray of int, shape (n,)
    columns : sequence of str
        Names of the p columns.
    unit_context : bool
        Whether the user asks for it by name.

    Raises
    ------
    SaeSpecError
        If there are covariates and none of them differs between units of an area.

    References
    ----------
    Corral, Himelein, McGee and Molina (2021), Mathematics 9, 2970, "A map of the poor or a poor map?".

    Examples
    --------
    >>> X, area = np.column_stack([np.ones(4), [2.0, 2.0, 5.0, 5.0]]), np.array([0, 0, 1, 1])
    >>> try:
    ...     refuse_unit_context(X, area, ["Intercept", "rate"])
    ... except sae.errors.SaeSpecError as error:
    ...     print(str(error)[:66])
    All covariates (rate) are the same for all units of an area: the d
    >>> refuse_unit_context(X, area, ["Intercept", "rate"], unit_context=True)
    """
    covariates = np.array([name != "Intercept" for name in columns])
    if unit_context or not covariates.any() or varies_within(X, area)[covariates].any():
        return
    named = [name for name, one in zip(columns, covariates, strict=True) if one]
    raise SaeSpecError(
        f"All covariates ({name_some(named)}) are the same for all units of an area: the distribution of the "
        "outcome within areas would be that of the error alone, and its functions biased.",
        hint="Add covariates of units, use sae.NestedError or sae.FayHerriot for means and rates, or ask for "
        "it with unit_context=True.",
    )
