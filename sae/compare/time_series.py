"""Figures over time with the verdict of each step: what the table holds and says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from sae.compare.comparison import SAME
from sae.errors import SaeInputError, name_some
from sae.tables import label_text, labels
from sae.tables.base import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ACROSS", "MODELLED", "NO_FIGURE", "TimeSeries"]

ACROSS = "across a break"
NO_FIGURE = "no figure"
MODELLED = "modelled without data"


@dataclass(frozen=True, eq=False, repr=False)
class TimeSeries(Table):
    """Series of figures, a row for every period, with what is known of each step.

    Attributes
    ----------
    frame : DataFrame
        One row per series and period, gap years included: what tells series apart; `time`; `estimate`, `se`,
        `ci_low`, `ci_high`; `kind`: "figure", "modelled without data" (the model's, of a period in which the
        area had no sample) or "no figure"; `against`, the period of the figure before; `change` from it,
        with `change_se`, `change_low`, `change_high` and `p_above`; `verdict`: "rose", "fell", "cannot be
        told apart", "across a break", or "" where there is nothing before; `breaks` between the two;
        `missing`, the periods in between; `segment`, a number that goes up at each gap and at each break that
        is not accepted; `n` and `publishable`.
    keys : tuple of str
        The columns that tell series apart.
    level : float
    unit : str
        Of all figures; "" where unknown.
    notes : tuple of str
    """

    frame: pd.DataFrame
    keys: tuple[str, ...]
    level: float
    unit: str
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Return what the series say, in a few lines."""
        frame = self.frame
        series = frame[list(self.keys)].drop_duplicates()
        periods = labels(frame["time"])
        lines = [
            f"{len(series)} series of {periods.nunique()} periods, {periods.iloc[0]} to {periods.iloc[-1]}; "
            f"intervals of {self.level:.0%}"
        ]
        steps = frame["verdict"][frame["verdict"] != ""]
        counts = steps.value_counts(sort=False)
        lines.append(
            f"{len(steps)} steps: " + "; ".join(f"{verdict}: {count}" for verdict, count in counts.items())
        )
        across = frame["breaks"] != ""
        if across.any():
            lines.append(
                f"{int(across.sum())} lie across a break and say nothing of the world alone: "
                f"{name_some(frame['breaks'][across].unique())}"
            )
        for kind in (NO_FIGURE, MODELLED):
            some = frame["kind"].eq(kind)
            if some.any():
                lines.append(f"{kind}: {int(some.sum())} rows, of {name_some(periods[some].unique())}")
        if (steps == SAME).all():
            lines.append("no step can be told from none")
        return "\n".join([*lines, *self.notes])

    def _heading(self) -> str:
        return self.summary()

    def _shown(self) -> pd.DataFrame:
        figures = ["estimate", "ci_low", "ci_high", "kind", "change", "p_above", "verdict", "breaks"]
        return self.frame[[*self.keys, "time", *figures]]

    def plot(self, areas: str | Sequence[str] | None = None, *, title: str = "", source: str = "") -> Figure:
        """Draw the series, of some areas or of all: see `sae.plots.series`."""
        from sae.plots import series

        frame = self.frame
        if areas is not None:
            wanted = [label_text(name) for name in ([areas] if isinstance(areas, str) else areas)]
            names = labels(frame["domain"])
            lost = [name for name in wanted if name not in set(names)]
            if lost:
                raise SaeInputError(
                    f"There is no area {name_some(map(repr, lost))}.",
                    hint=f"There are {name_some(names.unique(), 15)}.",
                )
            frame = frame[names.isin(wanted)]
        return series(
            frame, self.keys, level=self.level, share=self.unit == "share", title=title, source=source
        )
