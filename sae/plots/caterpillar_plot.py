"""Areas in order of their estimate, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

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
from sae.tables import EstimateTable, labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["caterpillar"]

_NAMED = 60  # rows beyond which names can no longer be read
_ENDS = 5  # names shown at either end of a longer chart
_NAME_HEIGHT = 0.15  # inches
_LONGEST = 46  # characters of a name


@as_written
def caterpillar(
    table: EstimateTable | pd.DataFrame,
    *,
    reference: float | None = None,
    reference_label: str = "whole",
    title: str = "",
    source: str = "",
) -> Figure:
    """Draw every area's estimate with its interval, from the highest to the lowest.

    Up to 60 areas bear their names; of more, the five at either end do. Direct estimates are points behind,
    rows that a policy withholds are hollow.

    Parameters
    ----------
    table : EstimateTable or DataFrame
        Rows of one indicator with ``domain``, ``estimate``, ``ci_low`` and ``ci_high``.
    reference : float, optional
        Value of a vertical line, such as the national figure.
    reference_label, title, source : str
        Words at the line, above and below.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    SaeInputError
        If a column is missing, the table holds several indicators, or one area twice for the same period.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.4, 0.5], "ci_low": [0.3, 0.4],
    ...                       "ci_high": [0.5, 0.6]})
    >>> [text.get_text() for text in sae.plots.caterpillar(frame).axes[0].get_yticklabels()]
    ['A', 'B']
    """
    from matplotlib.figure import Figure

    frame = rows_of(table, "ci_low", "ci_high")
    frame["_label"] = _labels(frame)
    frame = frame.sort_values(["estimate", "_label"], kind="stable").reset_index(drop=True)
    named = len(frame) <= _NAMED
    rows_high = 0.2 * max(len(frame), 4) if named else 9.0
    figure = Figure(figsize=(9, 1.9 + rows_high), layout="constrained")
    axes = figure.subplots()
    _draw(axes, frame)
    if reference is not None:
        axes.axvline(reference, color="#333333", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            reference_label,
            (reference, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
            color="#333333",
        )
    axes.set_ylim(-0.8, len(frame) - 0.2)
    if named:
        axes.set_yticks(range(len(frame)), frame["_label"], fontsize=8)
    else:
        _name_ends(axes, frame["_label"].tolist(), rows_high / len(frame))
    axes.set_xlabel(unit_words(frame))
    value_axis(axes, frame, "x")
    tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    _legend(figure, axes)
    figure.suptitle(title or f"{unit_words(frame)} by area, with intervals", fontsize=13, x=0.01, ha="left")
    note(figure, frame, source)
    return figure


def _name_ends(axes: Axes, labels: list[str], pitch: float) -> None:
    """Name the areas at both ends; `pitch` is the height of a row in inches, less than that of a name."""
    step = _NAME_HEIGHT / pitch
    axes.set_yticks([])
    for k in range(_ENDS):
        for row, at in ((k, k * step), (len(labels) - 1 - k, len(labels) - 1 - k * step)):
            axes.annotate(
                labels[row],
                (0, row),
                xytext=(-0.03, at),
                xycoords=axes.get_yaxis_transform(),
                textcoords=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=8,
                arrowprops={
                    "arrowstyle": "-",
                    "color": "#BBBBBB",
                    "linewidth": 0.7,
                    "relpos": (1, 0.5),
                    "shrinkA": 1,
                    "shrinkB": 0,
                },
            )


def _legend(figure: Figure, axes: Axes) -> None:
    from matplotlib.transforms import ScaledTranslation

    above = axes.transAxes + ScaledTranslation(
        0, 16 / 72, figure.dpi_scale_trans
    )  # clear of the reference's name
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=above,
        ncols=4,
        frameon=False,
        fontsize=8,
        borderaxespad=0,
        handletextpad=0.3,
        columnspacing=1.2,
    )


def _labels(frame: pd.DataFrame) -> list[str]:
    names = labels(frame["domain"])
    if names.duplicated().any() and "time" in frame:
        names = names + ", " + labels(frame["time"])
    if names.duplicated().any():
        raise SaeInputError(
            f"{names[names.duplicated()].iloc[0]} stands more than once in the table.",
            hint="Draw one row per area.",
        )
    half = _LONGEST // 2  # the end of a name often tells the group
    return [
        name if len(name) <= _LONGEST else f"{name[:half].rstrip()}…{name[1 - half :].lstrip()}"
        for name in names
    ]


def _draw(axes: Axes, frame: pd.DataFrame) -> None:
    position = np.arange(len(frame))
    sampled = np.isfinite(frame["direct"].to_numpy())
    if "in_sample" in frame:
        sampled |= frame["in_sample"].fillna(False).to_numpy(dtype=bool)
    elif not sampled.any():
        sampled[:] = True  # a table without direct estimates tells nothing of the sample
    withheld = np.zeros(len(frame), dtype=bool)
    if "publishable" in frame:
        withheld = frame["publishable"].eq(False).fillna(False).to_numpy(dtype=bool)
    if np.isfinite(frame["direct"]).any():
        axes.scatter(frame["direct"], position, s=18, color=DIRECT, linewidth=0, label="direct", zorder=3)
    kinds = (
        (sampled, MODEL, "o", "model, with interval"),
        (~sampled, UNSAMPLED, "D", "area without a sample"),
    )
    for rows, colour, marker, label in kinds:
        if not rows.any():
            continue
        low, high = frame["ci_low"][rows], frame["ci_high"][rows]
        axes.hlines(position[rows], low, high, color=colour, linewidth=1.4, alpha=0.6, zorder=2)
        fill = np.where(withheld[rows], "white", colour)
        axes.scatter(
            frame["estimate"][rows],
            position[rows],
            s=22,
            marker=marker,
            c=fill,
            edgecolor=colour,
            linewidth=1.2,
            zorder=4,
        )
        axes.plot([], [], color=colour, marker=marker, markersize=4.5, label=label)
    if withheld.any():
        axes.scatter(
            [],
            [],
            s=22,
            facecolor="white",
            edgecolor=QUIET,
            linewidth=1.2,
            label="hollow: not for publication",
        )
