"""Who can be told apart from whom: areas by areas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.plots.figures import DIRECT, MODEL, as_written, tidy

if TYPE_CHECKING:
    from sae.plots.chart import Chart

__all__ = ["apart"]

_NAMED = 60  # areas beyond which names can no longer be read
_LONGEST = 36  # characters of a name
_QUIET = "#EDEDED"


@as_written
@answered
def apart(
    matrix: pd.DataFrame, values: pd.Series, *, fdr: float = 0.05, title: str = "", source: str = ""
) -> Chart:
    """Draw a matrix of areas by areas, the highest first: higher, lower, or not told apart.

    Parameters
    ----------
    matrix : DataFrame
        Of `sae.compare.Pairs.matrix`: 1, -1 or 0 for the area of the row against that of the column.
    values : Series
        The areas' figures by name, for their order.
    fdr : float
        False discovery rate, for the note.
    title, source : str

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": list("abc"), "estimate": [0.45, 0.5, 0.9], "se": 0.05})
    >>> [text.get_text() for text in sae.compare.pairs(frame).plot().axes[0].get_yticklabels()]
    ['c', 'b', 'a']
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    from sae.plots.chart import Chart

    names = sorted(matrix.index, key=lambda name: (-values[name], name))
    cells = matrix.loc[names, names].to_numpy()
    count = len(names)
    named = count <= _NAMED
    texts = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1].rstrip()}…" for name in names]
    size = max(6.5, 0.19 * max(count, 12) + 0.07 * max(map(len, texts)) + 1.0) if named else 10.0
    figure = Chart(figsize=(size, size + 0.5))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    shown = np.ma.masked_array(cells, mask=np.eye(count, dtype=bool))
    axes.pcolormesh(
        np.arange(count + 1) - 0.5,
        np.arange(count + 1) - 0.5,
        shown,
        cmap=ListedColormap([DIRECT, _QUIET, MODEL]),
        vmin=-1.5,
        vmax=1.5,
        edgecolors="white" if named else "none",
        linewidth=0.5 if named else 0.0,
        rasterized=not named,
    )
    axes.set_aspect("equal")
    axes.set_ylim(count - 0.5, -0.5)
    ticks = range(count) if named else []
    axes.set_yticks(ticks, texts if named else [], fontsize=8)
    axes.set_xticks(ticks, texts if named else [], fontsize=8, rotation=90)
    tidy(axes, grid="x")
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    handles = [
        Patch(color=MODEL, label="row higher"),
        Patch(color=DIRECT, label="row lower"),
        Patch(color=_QUIET, label="cannot be told apart"),
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title or "Who can be told apart", fontsize=13, x=0.01, ha="left", wrap=True)
    words = f"Areas in order of their estimate. Of the pairs told apart {fdr:.0%} may be wrong."
    figure.supxlabel(
        f"{words} Source: {source}." if source else words,
        fontsize=8,
        color="#777777",
        x=0.01,
        ha="left",
        wrap=True,
    )
    return figure
