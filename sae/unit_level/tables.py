"""What the tables of all unit-level models share, and what all of them say of their covariates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sae.results import Message, collinearity, extrapolation
from sae.tables import cv_of
from sae.tables.texts import Texts

__all__ = ["area_table", "population_messages"]


def area_table(
    indicator: str | np.ndarray,
    unit: str,
    names: np.ndarray,
    direct: np.ndarray,
    direct_se: np.ndarray,
    *,
    n: np.ndarray | float,
    n_eff: np.ndarray | float = np.nan,
) -> dict[str, Any]:
    """Return the columns of the estimate table known before the fit, as `EstimateTable.from_mse` takes them.

    Parameters
    ----------
    indicator : str or ndarray of str, shape (M,)
    unit : str
        "share", or empty.
    names : ndarray of str, shape (M,)
    direct, direct_se : ndarray of float, shape (M,)
        Figures of the units alone, missing without a sample. Equal outcomes say that they are few, not that
        they are certain: their standard error of 0 is left out.
    n, n_eff : ndarray, shape (M,)
    """
    se = np.where(direct_se > 0.0, direct_se, np.nan)
    cv, domains = cv_of(se, direct), Texts.of(names)
    return {
        "indicator": indicator,
        "definition": "",
        "unit": unit,
        "geo": domains,
        "time": "",
        "domain": domains,
        "n": n,
        "n_eff": n_eff,
        "direct": direct,
        "direct_se": se,
        "direct_cv": cv,
    }


def population_messages(
    X: np.ndarray, outside: np.ndarray, columns: Sequence[str], names: np.ndarray
) -> list[Message]:
    """Return what a model of units says of its covariates: extrapolation, and near collinearity.

    Parameters
    ----------
    X : ndarray of float, shape (n, p)
        Of the units.
    outside : ndarray of bool, shape (D, p)
        Where the population of an area lies outside their range.
    columns : sequence of str
    names : ndarray of str, shape (D,)
    """
    return extrapolation(outside, columns, names, len(names), "areas") + collinearity(X, columns)
