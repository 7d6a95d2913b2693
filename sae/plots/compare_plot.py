"""Direct against model estimates: what the model changes, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError
from sae.plots.figures import (
    DIRECT,
    MODEL,
    QUIET,
    UNSAMPLED,
    as_written,
    note,
    rows_of,
    tidy,
    unit_words,
    value_axis,
)
from sae.tables import EstimateTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sae.plots.chart import Chart

__all__ = ["compare"]


@as_written
@answered
def compare(table: EstimateTable | pd.DataFrame, *, title: str = "", source: str = "") -> Chart:
    """Draw direct against model estimates: a scatter with the line y = x, and both by sample size.

    Parameters
    ----------
    table : EstimateTable or DataFrame
        Rows of one indicator with ``domain``, ``direct``, ``estimate`` and ``n``. Areas without a direct
        estimate stand at the left of the second panel.
    title, source : str
        Words above and below.

    Returns
    -------
    sae.plots.chart.Chart
        Not known to pyplot, so nothing has to be closed; save it with `sae.plots.save`.

    Raises
    ------
    SaeInputError
        If a column is missing, the table holds several indicators, or no direct estimate.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B"], "n": [9, 40],
    ...                       "direct": [0.3, 0.5], "estimate": [0.4, 0.5]})
    >>> len(sae.plots.compare(frame).axes)
    2
    """
    from sae.plots.chart import Chart

    frame = rows_of(table, "direct", "n")
    if not np.isfinite(frame["direct"]).any():
        raise SaeInputError("The table holds no direct estimate to compare with.", column="direct")
    figure = Chart(figsize=(11, 5), layout="constrained")
    scatter, lines = figure.subplots(1, 2, width_ratios=(1, 1.35))
    _scatter(scatter, frame)
    _by_sample_size(lines, frame)
    shown = title or f"{unit_words(frame)}: direct and model estimates"
    figure.suptitle(shown, fontsize=13, x=0.01, ha="left", wrap=True)
    note(figure, frame, source)
    return figure


def _scatter(axes: Axes, frame: pd.DataFrame) -> None:
    sampled = frame[np.isfinite(frame["direct"])]
    both = sampled[["direct", "estimate"]].to_numpy()
    low, high = both.min(), both.max()
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes.plot(
        [low - margin, high + margin], [low - margin, high + margin], color=QUIET, linewidth=1, zorder=1
    )
    axes.text(
        0.03,
        0.97,
        "above the line: raised by the model\nbelow: lowered",
        transform=axes.transAxes,
        va="top",
        fontsize=8,
        color=QUIET,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )
    n = sampled["n"].fillna(sampled["n"].min()).to_numpy()
    largest = np.nanmax(n) if np.isfinite(n).any() and np.nanmax(n) > 0 else 1.0
    sizes = 14 + 180 * np.nan_to_num(n) / largest
    axes.scatter(
        sampled["direct"],
        sampled["estimate"],
        s=sizes,
        color=MODEL,
        alpha=0.55,
        edgecolor="white",
        linewidth=0.6,
    )
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_aspect("equal")
    axes.set_xlabel("Direct estimate")
    axes.set_ylabel("Model estimate")
    axes.set_title(
        f"{len(sampled)} areas; the larger the point, the larger n",
        fontsize=9,
        loc="left",
    )
    for which in "xy":
        value_axis(axes, frame, which)
    tidy(axes)


def _by_sample_size(axes: Axes, frame: pd.DataFrame) -> None:
    ordered = frame.assign(_n=frame["n"].fillna(0)).sort_values(["_n", "domain"], kind="stable")
    position = np.arange(len(ordered))
    direct, model = ordered["direct"].to_numpy(), ordered["estimate"].to_numpy()
    sampled = np.isfinite(direct)
    area = 26 if len(frame) <= 60 else 14
    axes.vlines(position[sampled], direct[sampled], model[sampled], color="#BBBBBB", linewidth=1.1, zorder=1)
    axes.scatter(
        position[sampled], direct[sampled], s=area, color=DIRECT, linewidth=0, label="direct", zorder=2
    )
    axes.scatter(
        position[sampled],
        model[sampled],
        s=area,
        color=MODEL,
        marker="s",
        linewidth=0,
        label="model",
        zorder=3,
    )
    if not sampled.all():
        axes.scatter(
            position[~sampled],
            model[~sampled],
            s=area,
            marker="D",
            facecolor="white",
            edgecolor=UNSAMPLED,
            linewidth=1.4,
            label=f"model, no direct estimate ({(~sampled).sum()})",
            zorder=3,
        )
    ticks = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), 9)).round().astype(int))
    axes.set_xticks(ticks, [f"{ordered['_n'].iloc[tick]:,.0f}" for tick in ticks])
    axes.set_xlabel("Areas by number of records (n), from few to many")
    axes.margins(x=0.02)
    value_axis(axes, frame, "y")
    tidy(axes, grid="y")
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        frameon=False,
        fontsize=9,
        borderaxespad=0.3,
        handletextpad=0.3,
        columnspacing=1.2,
    )
