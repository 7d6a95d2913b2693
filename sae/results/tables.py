"""The tables of a fit that all families fill in the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.numerics.inference.tails import two_sided
from sae.tables.texts import Texts

__all__ = ["coefficient_index", "coefficient_table", "credible_table", "explained_share", "residual_table"]


def coefficient_index(columns: Sequence[str], fits: pd.DataFrame | None = None) -> pd.Index:
    """Label the coefficients by term, and before it by the values that name their fit.

    Parameters
    ----------
    columns : sequence of str
        Terms of a design.
    fits : DataFrame, optional
        One row per fit; without columns, or None, there is one fit without a name.
    """
    terms = list(columns)
    if fits is None or not len(fits.columns):
        return pd.Index(terms, name="term")
    repeated = fits.loc[fits.index.repeat(len(terms))]
    return pd.MultiIndex.from_frame(repeated.assign(term=terms * len(fits)))


def coefficient_table(beta: np.ndarray, se: np.ndarray, index: pd.Index) -> pd.DataFrame:
    """Coefficients with standard errors and two-sided normal tests.

    Parameters
    ----------
    beta, se : ndarray of float, shape (p,), or (F, p) of F fits
    index : Index
        See `coefficient_index`.

    Examples
    --------
    >>> from sae.results.tables import coefficient_index, coefficient_table
    >>> coefficient_table(np.array([2.0]), np.array([1.0]), coefficient_index(["x"])).round(3).values.tolist()
    [[2.0, 1.0, 2.0, 0.046]]
    """
    z = beta / se
    columns = {"coef": beta, "se": se, "z": z, "p": two_sided(z)}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)


def credible_table(mean: np.ndarray, sd: np.ndarray, quantiles: np.ndarray, index: pd.Index) -> pd.DataFrame:
    """Coefficients with posterior deviation, median and interval.

    Parameters
    ----------
    mean, sd : ndarray of float, shape (p,), or (F, p) of F fits
    quantiles : ndarray of float, shape (3, p) or (3, F, p)
        Low end, median and high end.
    index : Index
    """
    low, median, high = quantiles
    columns = {"coef": mean, "sd": sd, "low": low, "median": median, "high": high}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)


def residual_table(
    rows: np.ndarray,
    names: Texts | np.ndarray,
    fitted: np.ndarray,
    residual: np.ndarray,
    standardised: np.ndarray,
    leverage: np.ndarray | float,
) -> pd.DataFrame:
    """Regression residuals of the rows with a sample, by row of the estimate table.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
    names : Texts or ndarray of str, shape (m,)
    fitted, residual, standardised, leverage : ndarray of float, shape (m,)
        On the scale of the model.
    """
    columns = {
        "domain": names.plain_column if isinstance(names, Texts) else names,
        "fitted": fitted,
        "residual": residual,
        "standardised": standardised,
        "leverage": leverage,
    }
    table = pd.DataFrame(columns, index=pd.Index(rows, name="row"))
    return table if (np.diff(rows) > 0).all() else table.sort_index()


def explained_share(explained: float, variance: float) -> float:
    """Return the marginal R²: what the covariates explain of it and the model variance; nan of nothing."""
    whole = explained + variance
    return explained / whole if whole > 0 else np.nan
