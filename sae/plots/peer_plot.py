"""An area's peers: how far they lie from it in each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.plots.figures import MODEL, QUIET, as_written, note, tidy
from sae.tables import labels

if TYPE_CHECKING:
    from sae.plots.chart import Chart

__all__ = ["peers"]


@as_written
@answered
def peers(frame: pd.DataFrame, columns: Sequence[str], *, title: str = "", source: str = "") -> Chart:
    """Draw the peers from the nearest on, one panel a column, in standard deviations from the area.

    Parameters
    ----------
    frame : DataFrame
        Of `sae.compare.peers`: the area itself first.
    columns : sequence of str
        What they were found by.
    title, source : str

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": list("abc"), "young": [0.2, 0.21, 0.4]})
    >>> [axes.get_title() for axes in sae.compare.peers(frame, "a", ["young"]).plot().axes]
    ['young']
    """
    from matplotlib.ticker import MaxNLocator

    from sae.plots.chart import Chart

    names, own = labels(frame["domain"]).tolist()[1:], str(frame["domain"].iloc[0])
    place = np.arange(len(names))
    width = max(9.0, 2.2 + 1.8 * len(columns))
    figure = Chart(figsize=(width, 1.9 + 0.22 * max(len(names), 4)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, columns, strict=True):
        values = frame[name].to_numpy(dtype=float)[1:]
        axes.axvline(0.0, color=QUIET, linewidth=1)
        axes.hlines(place, 0.0, values, color=MODEL, linewidth=1.4, alpha=0.6)
        axes.scatter(values, place, s=22, color=MODEL, zorder=3)
        reach = max(1.0, 1.15 * float(np.abs(values).max(initial=0.0)))
        axes.set_xlim(-reach, reach)
        axes.set_title(name, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(5, prune="both"))
        tidy(axes, grid="x")
        axes.tick_params(axis="y", length=0)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    panels[0].set_yticks(place, names, fontsize=8)
    shown = title or f"Peers of {own}, the nearest first"
    figure.suptitle(shown, fontsize=13, x=0.01, ha="left", wrap=True)
    note(figure, frame, source, f"Standard deviations over all areas, from the value of {own}.")
    return figure
