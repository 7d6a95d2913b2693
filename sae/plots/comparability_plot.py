"""How many figures of each country have which grade of comparability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.plots.figures import DIRECT, MODEL, QUIET, as_written, note, tidy
from sae.tables import labels

if TYPE_CHECKING:
    from sae.plots.chart import Chart

__all__ = ["comparability"]

_NAMED = 60  # rows beyond which names can no longer be read
_LONGEST = 46  # characters of a name
_KINDS = {
    "A": (MODEL, "A same definition and source"),
    "B": ("#7FB8DA", "B with a break"),
    "C": (DIRECT, "C national definition or source"),
    "X": ("#333333", "X not to be compared"),
    "": ("#E4E4E4", "not known"),
}


@as_written
@answered
def comparability(frame: pd.DataFrame, by: str = "domain", *, title: str = "", source: str = "") -> Chart:
    """Draw a bar for each country or area, parted by the grades of its figures.

    Parameters
    ----------
    frame : DataFrame
        Of `sae.compare.comparability`.
    by : str
        Column with the countries or areas.
    title, source : str

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["AT", "DE"], "indicator": "own", "definition": ["v1", "v1"],
    ...                       "flag": ["", "b"]})
    >>> figure = sae.compare.comparability(frame).plot()
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['DE', 'AT']
    """
    from matplotlib.ticker import MaxNLocator

    from sae.plots.chart import Chart

    counts = pd.crosstab(labels(frame[by]), frame["grade"]).reindex(columns=list(_KINDS), fill_value=0)
    worst = counts.to_numpy()[:, ::-1]
    order = np.lexsort(
        (counts.index.to_numpy(dtype=str), *(worst / worst.sum(axis=1, keepdims=True)).T[::-1])
    )
    counts = counts.iloc[order[::-1]]
    named = len(counts) <= _NAMED
    figure = Chart(figsize=(9, 2.1 + (0.22 * max(len(counts), 4) if named else 9.0)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    place, left = np.arange(len(counts)), np.zeros(len(counts))
    for letter, (colour, text) in _KINDS.items():
        width = counts[letter].to_numpy()
        if width.any():
            axes.barh(place, width, left=left, color=colour, height=0.75 if named else 1.0, label=text)
        left = left + width
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1].rstrip()}…" for name in counts.index]
    axes.set_yticks(place if named else [], names if named else [], fontsize=8)
    axes.set_ylim(-0.8, len(counts) - 0.2)
    axes.set_xlabel("figures")
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0, color=QUIET)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title or "How far the figures compare", fontsize=13, x=0.01, ha="left", wrap=True)
    note(figure, frame, source, "" if named else f"{len(counts)} areas, too many to be named.")
    return figure
