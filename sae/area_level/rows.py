"""Rows of area-level models: one per area, in one or several fits that are checked and fitted apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import pandas as pd

from sae.errors import SaeError
from sae.tables import label_text
from sae.tables.texts import Texts

__all__ = ["ONE_FIT", "AreaRows", "checked", "each_fit", "fit_kept", "plain", "taken"]

T = TypeVar("T")
RowsT = TypeVar("RowsT", bound="FitRows")


class FitRows(Protocol):
    """Rows that belong to one or several fits."""

    @property
    def fits(self) -> pd.DataFrame:
        """One row per fit with the values that name it."""

    def keep(self, fits: Collection[int]) -> Self:
        """Return the rows of some of the fits."""


ONE_FIT = pd.DataFrame(index=range(1))  # of a model without `per`: one row without columns


@dataclass(frozen=True, eq=False)
class AreaRows:
    """One row per area, those without a sample included.

    Attributes
    ----------
    columns : mapping
        Columns of the estimate table known before the fit, in arrays, `Texts` or one value for all rows:
        indicator, definition, unit, geo, time, groups, domain, n, n_eff, direct, direct_se, direct_cv.
    covariates : DataFrame
        All columns of the data and of `areas`, on the same rows.
    direct, vardir, n_eff : ndarray of float, shape (n_rows,)
        Direct estimates, sampling variances on the natural scale, effective sample sizes; nan = missing.
    sampled : ndarray of bool, shape (n_rows,)
        Whether the row has a direct estimate.
    fit : ndarray of int, shape (n_rows,)
        Which fit the row belongs to, 0 to F - 1.
    fits : DataFrame
        One row per fit with the values of the `per` columns; one row without columns if there are none.
    names : Texts
        Names of the rows for messages: the domain, with the period where there are several.
    labels : Texts
        Names of the random streams: all that tells a row from every other row of any table.
    groups : tuple of str
        Group columns of the estimate table.
    from_direct : bool
        Whether the data are `DirectEstimates`; else they are a plain frame.
    covariance : DataFrame or None
        Of the direct estimates, by indicator, domain and time, where they have it.
    provenance : mapping
        Where the direct estimates come from, under "direct".
    """

    columns: Mapping[str, Any]
    covariates: pd.DataFrame
    direct: np.ndarray
    vardir: np.ndarray
    n_eff: np.ndarray
    sampled: np.ndarray
    fit: np.ndarray
    fits: pd.DataFrame
    names: Texts
    labels: Texts
    groups: tuple[str, ...]
    from_direct: bool = False
    covariance: pd.DataFrame | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The columns as a frame."""
        columns = {name: plain(values) for name, values in self.columns.items()}
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self.direct)))

    def keep(self, fits: Collection[int]) -> AreaRows:
        """Return the rows of some of the fits."""
        kept = np.flatnonzero(np.isin(self.fit, sorted(fits)))
        place = np.full(len(self.fits), -1)
        place[sorted(fits)] = np.arange(len(fits))
        return replace(
            self,
            columns={name: taken(values, kept) for name, values in self.columns.items()},
            covariates=self.covariates.iloc[kept].reset_index(drop=True),
            direct=self.direct[kept],
            vardir=self.vardir[kept],
            n_eff=self.n_eff[kept],
            sampled=self.sampled[kept],
            fit=place[self.fit[kept]],
            fits=self.fits.iloc[sorted(fits)].reset_index(drop=True),
            names=self.names[kept],
            labels=self.labels[kept],
        )

    @property
    def index(self) -> pd.Index | None:
        """Labels of the fits; None where there is only one."""
        if not len(self.fits.columns):
            return None
        one = len(self.fits.columns) == 1
        return pd.Index(self.fits.iloc[:, 0]) if one else pd.MultiIndex.from_frame(self.fits)

    def where(self, fit: int) -> str:
        """Name a fit for a message, such as " in 2024Q1"; empty where there is only one."""
        if not len(self.fits.columns):
            return ""
        values = [label_text(value) for value in self.fits.iloc[fit]]
        return f" in {' / '.join(values)}" if values else ""


def taken(values: Any, rows: np.ndarray | slice) -> Any:
    """Return some rows of a column, or the one value of all its rows."""
    return values if isinstance(values, str) else values[rows]


def plain(values: Any) -> Any:
    """Return a column as frames take it."""
    return values.column if isinstance(values, Texts) else values


def each_fit(count: int, check: Callable[[int], object], overall: SaeError | None = None) -> None:
    """Check every fit, and raise the first error with the errors of all fits in its ``fits``.

    Parameters
    ----------
    count : int
        Number of fits.
    check : callable
        Called with the place of a fit; raises what is wrong with it.
    overall : SaeError, optional
        What is wrong with all rows together, to be raised in place of the first error.

    Raises
    ------
    SaeError
        If there is an error.
    """
    errors: dict[int, SaeError] = {}
    for k in range(count):
        try:
            check(k)
        except SaeError as error:
            errors[k] = error
    if overall is None and not errors:
        return
    raised = overall or next(iter(errors.values()))
    raised.fits = errors
    raise raised


def checked(rows: RowsT, check: Callable[[RowsT], T]) -> T:
    """Return ``check(rows)``; what it refuses is looked for in each of several fits alone.

    Raises
    ------
    SaeError
        With the errors of the fits in its ``fits``.
    """
    try:
        return check(rows)
    except SaeError as error:
        several = len(rows.fits) if len(rows.fits) > 1 else 0
        each_fit(several, lambda k: check(rows.keep([k])), error)
        raise


def fit_kept(rows: RowsT, fit: Callable[[RowsT], T]) -> tuple[T, dict[tuple[Any, ...], SaeError]]:
    """Fit all of several fits that can be had; return the result and why the others cannot, by their labels.

    Raises
    ------
    SaeError
        If no fit can be had, or what is wrong is not that of single fits.
    """
    refused: dict[tuple[Any, ...], SaeError] = {}
    while True:
        try:
            return fit(rows), refused
        except SaeError as error:
            keys = list(rows.fits.itertuples(index=False, name=None))
            if not error.fits or len(error.fits) == len(keys):
                raise
            refused |= {keys[k]: reason for k, reason in error.fits.items()}
            rows = rows.keep(set(range(len(keys))) - set(error.fits))
