"""Areas by rank, with the ranks that they may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError
from sae.plots.figures import MODEL, QUIET, as_written, note, tidy
from sae.tables import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sae.plots.chart import Chart

__all__ = ["ranks"]

_NAMED = 60  # rows beyond which names can no longer be read


@as_written
@answered
def ranks(
    frame: pd.DataFrame,
    *,
    best: str = "highest",
    level: float = 0.95,
    title: str = "",
    source: str = "",
) -> Chart:
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
    from sae.plots.chart import Chart

    frame = frame[frame["rank"].notna()].sort_values(["rank", "low", "high"], kind="stable")
    names = labels(frame["domain"]).tolist()
    if len(set(names)) < len(names):
        raise SaeInputError(
            "An area stands more than once among the ranks.",
            hint="Draw one period or group: sae.plots.ranks(r.frame[r.frame['time'] == '2024']).",
        )
    place = np.arange(len(frame))
    figure = Chart(figsize=(9, 1.9 + (0.2 * max(len(frame), 4) if len(frame) <= _NAMED else 9.0)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    columns = {
        name: frame[name].to_numpy(dtype=float) for name in ("rank", "low", "high", "own_low", "own_high")
    }
    _draw(axes, place, columns, named=len(frame) <= _NAMED)
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
    shown = title or "Ranks, with the ranks that the areas may have"
    figure.suptitle(shown, fontsize=13, x=0.01, ha="left", wrap=True)
    note(figure, frame, source, "" if len(frame) <= _NAMED else f"{len(frame)} areas, too many to be named.")
    return figure


def _draw(axes: Axes, place: np.ndarray, columns: dict[str, np.ndarray], *, named: bool) -> None:
    low, high, own_low, own_high, rank = (
        columns[name] for name in ("low", "high", "own_low", "own_high", "rank")
    )
    if named:
        axes.hlines(place, low, high, color=QUIET, linewidth=1.2, label="all areas together")
        axes.hlines(place, own_low, own_high, color=MODEL, linewidth=3, label="this area alone")
        axes.scatter(rank, place, s=22, color=MODEL, zorder=3, label="rank")
        return
    edges = np.append(place, len(place)) - 0.5  # bands: lines of so many areas would run into each other
    bands = ((low, high, "#DDDDDD", "all areas together"), (own_low, own_high, "#9CC7E3", "this area alone"))
    for first, last, colour, text in bands:
        left, right = (np.append(side, side[-1]) for side in (first, last))
        axes.fill_betweenx(edges, left, right, step="post", color=colour, linewidth=0, label=text)
    axes.plot(rank, place, color=MODEL, linewidth=1.5, label="rank")
