"""Indices of segregation with what is not known of them: what the table holds and says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.errors import name_some
from sae.tables.base import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MOSTLY_CHANCE", "Segregation"]

MOSTLY_CHANCE = 0.25  # share of the plain index from which on its correction no longer suffices


@dataclass(frozen=True, eq=False, repr=False)
class Segregation(Table):
    """Indices of the segregation of groups in areas, over the parts of each.

    `differences`, `ratios`, `changes`, `pairs` and `ranks` take it as they take a fit.

    Attributes
    ----------
    frame : DataFrame
        One row per area, period, group and index: `domain`; `time` where there are periods; `group` and
        `against`; `indicator`, the index, with its `definition` and `unit`; `estimate`, `se`, `ci_low`,
        `ci_high` and `interval`; `plain`, the formula on the figures as they came; `by_chance`, what it would
        be on average were the group spread evenly, from the same numbers or errors; `p_value`, the
        probability of as much under an even spread; `beyond_chance`, (plain - by_chance) / (1 - by_chance);
        `parts`; `members` and `others`, who counts in them. What rests on chance is missing for predictions,
        whose errors do not make parts look more different than they are.
    replicates : ndarray of float, shape (draws, rows)
        What errors, and those of comparisons, are made of.
    level : float
    notes : tuple of str
    """

    frame: pd.DataFrame
    replicates: np.ndarray
    level: float
    notes: tuple[str, ...]

    @property
    def keys(self) -> list[str]:
        """The columns that tell rows apart."""
        return [name for name in ("domain", "time", "group", "indicator") if name in self.frame]

    def summary(self) -> str:
        """Return what the indices say, in a few lines."""
        frame = self.frame
        areas, groups = frame["domain"].unique(), frame["group"].unique()
        lines = [
            f"Segregation of {name_some(groups, 3)} against {name_some(frame['against'].unique(), 2)} in "
            f"{len(areas)} areas, intervals of {self.level:.0%}"
        ]
        for name, rows in frame.groupby("indicator", sort=False):
            known = rows["estimate"].dropna()
            if not known.empty:
                lines.append(
                    f"{name}: {known.min():.3f} to {known.max():.3f}, half-width of the interval "
                    f"{((rows['ci_high'] - rows['ci_low']) / 2).median():.3f} at the median"
                )
        measured = frame[frame["indicator"].isin(("dissimilarity", "entropy", "gini", "atkinson"))]
        much = measured[measured["by_chance"] > MOSTLY_CHANCE * measured["plain"]]
        if len(much):
            lines.append(
                f"chance alone makes more than {MOSTLY_CHANCE:.0%} of {len(much)} of {len(measured)} plain "
                f"indices: {name_some(much['domain'].unique())}. What is left after the correction is still "
                "too high, and its interval too short: join small parts, or pool years."
            )
        even = frame["p_value"] > 0.05
        if even.any():
            lines.append(
                f"{int(even.sum())} of {len(frame)} cannot be told apart from an even spread: "
                f"{name_some(frame['domain'][even].unique())}"
            )
        return "\n".join([*lines, *self.notes])

    def _heading(self) -> str:
        return self.summary()

    def _shown(self) -> pd.DataFrame:
        figures = ["estimate", "se", "ci_low", "ci_high", "plain", "by_chance", "parts", "members"]
        keys = [name for name in ("domain", "time", "group", "against", "indicator") if name in self.frame]
        return self.frame[[*keys, *figures]]

    def plot(self, indicator: str | None = None, *, title: str = "", source: str = "") -> Figure:
        """Draw the areas by their index, with intervals: see `sae.plots.segregation`."""
        from sae.plots import segregation

        return segregation(self.frame, indicator, level=self.level, title=title, source=source)
