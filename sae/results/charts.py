"""The charts of a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from sae.errors import SaeSpecError
from sae.tables import EstimateTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Plots"]


@dataclass(frozen=True, repr=False)
class Plots:
    """The charts of a result: `sae.plots` called with its tables."""

    table: EstimateTable
    fit_residuals: pd.DataFrame
    transformation: Mapping[str, Any]

    def compare(self, **options: Any) -> Figure:
        """Direct against model estimates: see `sae.plots.compare`."""
        from sae.plots import compare

        return compare(self.table, **options)

    def caterpillar(self, **options: Any) -> Figure:
        """Estimates in order with their intervals: see `sae.plots.caterpillar`."""
        from sae.plots import caterpillar

        return caterpillar(self.table, **options)

    def map(self, geometry: Any, **options: Any) -> Figure:
        """Estimates and their uncertainty on a map: see `sae.plots.area_map`."""
        from sae.plots import area_map

        return area_map(self.table, geometry, **options)

    def residuals(self, **options: Any) -> Figure:
        """Residuals against fitted values and leverage: see `sae.plots.residuals`."""
        from sae.plots import residuals

        return residuals(self.fit_residuals, **options)

    def qq(self, **options: Any) -> Figure:
        """Residuals against normal quantiles: see `sae.plots.qq`."""
        from sae.plots import qq

        return qq(self.fit_residuals, **options)

    def profile(self, **options: Any) -> Figure:
        """Likelihood of an EBP over the parameter of its transformation: see `sae.plots.profile`."""
        from sae.plots import profile

        return profile(self.transformation, **options)

    def __call__(self, *args: Any, **options: Any) -> Figure:
        """Say which charts there are: a result has several."""
        raise SaeSpecError(f"A result has several charts: {self!r}.", hint="Name one: fit.plot.compare().")

    def __repr__(self) -> str:
        own = ", profile()" if "profile" in self.transformation else ""
        return f"plot.compare(), caterpillar(), map(geometry), residuals(), qq(){own}"
