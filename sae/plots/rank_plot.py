"""Areas by rank, with the ranks that they may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.plots.figures import MODEL, QUIET, as_written, note, tidy
from sae.tables import labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ranks"]

_NAMED = 60  # rows beyond which names can no longer be read


@as_written
def ranks(
    frame: pd.DataFrame,
    *,
    best: str = "highest",
    level: float = 0.95,
    title: str = "",
    source: str = "",
) -> Figure:
    """Draw each area's rank with the ranks that hold for all areas together, and for it alone.

    Parameters
    ----------
    frame : DataFrame
        Of `sae.compare.ranks`, ranked in one set: domain, rank, low, high, own_low, own_high.
    best : str
        Which value has rank 1, for the axis.
    level : float
    title, source : str

    Raises
    ------
    SaeInputError
        If an area stands more than once: choose one period or group.
    """
    from matplotlib.figure import Figure

    frame = frame[frame["rank"].notna()].sort_values(["rank", "low", "high"], kind="stable")
    names = labels(frame["domain"]).tolist()
    if len(set(names)) < len(names):
        raise SaeInputError(
            "An area stands more than once among the ranks.",
            hint="Draw one period or group: sae.plots.ranks(r.frame[r.frame['time'] == '2024']).",
        )
    place = np.arange(len(frame))
    figure = Figure(figsize=(9, 1.9 + (0.2 * max(len(frame), 4) if len(frame) <= _NAMED else 9.0)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    columns = {
        name: frame[name].to_numpy(dtype=float) for name in ("rank", "low", "high", "own_low", "own_high")
    }
    axes.hlines(
        place, columns["low"], columns["high"], color=QUIET, linewidth=1.2, label="all areas together"
    )
    axes.hlines(
        place, columns["own_low"], columns["own_high"], color=MODEL, linewidth=3, label="this area alone"
    )
    axes.scatter(columns["rank"], place, s=22, color=MODEL, zorder=3, label="rank")
    axes.set_ylim(len(frame) - 0.2, -0.8)
    axes.set_xlim(0.2, len(frame) + 0.8)
    if len(frame) <= _NAMED:
        axes.set_yticks(place, names, fontsize=8)
    else:
        axes.set_yticks([])
    axes.set_xlabel(f"rank, 1 for the {best}; sets of ranks at {level:.0%}")
    tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title or "Ranks, with the ranks that the areas may have", fontsize=13, x=0.01, ha="left")
    note(figure, frame, source)
    return figure
