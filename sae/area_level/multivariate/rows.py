"""The rows of a multivariate model: several direct estimates per area with their covariances."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.rows import taken
from sae.results import FittedData
from sae.tables import label_text
from sae.tables.texts import Texts

__all__ = ["ComponentRows"]


@dataclass(frozen=True, eq=False)
class ComponentRows:
    """D areas with R components each; all tables have D R rows, area by area.

    Attributes
    ----------
    components : tuple of str
        Names of the components: indicators, or levels of the column `split`.
    split : str
        The grouping column whose levels are the components; empty where they are indicators.
    columns, covariates
        As in `AreaRows`.
    areas : DataFrame, one row per area
        geo, time, domain and the grouping columns of each area, without the component.
    direct : ndarray, shape (D, R)
        NaN = no sample.
    psi : ndarray, shape (D, R, R)
        Sampling covariances; NaN where a component of the pair has no sample.
    fit : ndarray of int, shape (D,)
        Which fit the area belongs to, 0 to F - 1.
    fits : DataFrame
        One row per fit with the values of the `per` columns; one row without columns if there are none.
    names, labels : of the D R rows
        For messages, and of the random streams.
    groups : tuple of str
        Group columns of the estimate table.
    provenance : mapping
    """

    components: tuple[str, ...]
    split: str
    columns: Mapping[str, Any]
    covariates: pd.DataFrame
    areas: pd.DataFrame
    direct: np.ndarray
    psi: np.ndarray
    fit: np.ndarray
    fits: pd.DataFrame
    names: Texts
    labels: Texts
    groups: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sampled(self) -> np.ndarray:
        """Which components have a direct estimate, shape (D, R)."""
        return np.isfinite(self.direct)

    def where(self, fit: int) -> str:
        """Name a fit for a message, such as " in 2024Q1"; empty where there is only one."""
        if not len(self.fits.columns):
            return ""
        values = [label_text(value) for value in self.fits.iloc[fit]]
        return f" in {' / '.join(values)}" if values else ""

    def data(self, X: np.ndarray, columns: tuple[str, ...]) -> FittedData:
        """Return what is fitted, row by row of the table; X has shape (D, R, p)."""
        size = len(self.components)
        return FittedData.of_areas(
            self.direct.ravel(),
            np.einsum("drr->dr", self.psi).ravel(),
            X.reshape(-1, X.shape[2]),
            columns,
            self.sampled.ravel(),
            self.names,
            fit=np.repeat(self.fit, size),
        )

    def keep(self, fits: Collection[int]) -> ComponentRows:
        """Return the rows of some of the fits."""
        kept, size = np.flatnonzero(np.isin(self.fit, sorted(fits))), len(self.components)
        flat = (kept[:, None] * size + np.arange(size)).ravel()
        place = np.full(len(self.fits), -1)
        place[sorted(fits)] = np.arange(len(fits))
        return replace(
            self,
            columns={name: taken(values, flat) for name, values in self.columns.items()},
            covariates=self.covariates.iloc[flat].reset_index(drop=True),
            areas=self.areas.iloc[kept].reset_index(drop=True),
            direct=self.direct[kept],
            psi=self.psi[kept],
            fit=place[self.fit[kept]],
            fits=self.fits.iloc[sorted(fits)].reset_index(drop=True),
            names=self.names[flat],
            labels=self.labels[flat],
        )

    def of_fit(self, fit: int) -> tuple[np.ndarray, ComponentRows]:
        """Return the areas of one fit and their rows alone."""
        areas = np.flatnonzero(self.fit == fit)
        if len(areas) == len(self.fit):
            return areas, self
        size = len(self.components)
        flat = (areas[:, None] * size + np.arange(size)).ravel()
        return areas, replace(
            self,
            columns={name: taken(values, flat) for name, values in self.columns.items()},
            covariates=self.covariates.iloc[flat],
            areas=self.areas.iloc[areas],
            direct=self.direct[areas],
            psi=self.psi[areas],
            fit=self.fit[areas],
            names=self.names[flat],
            labels=self.labels[flat],
        )
