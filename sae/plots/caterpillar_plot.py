"""Areas in order of their estimate, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.plots.figures import (
    DIRECT,
    GROUPS,
    MODEL,
    QUIET,
    UNSAMPLED,
    as_written,
    names_of,
    new_chart,
    note,
    rows_of,
    tidy,
    unit_words,
    value_axis,
    width_of,
)
from sae.tables import EstimateTable, require
from sae.tables import labels as codes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sae.plots.chart import Chart

__all__ = ["caterpillar"]

_NAMED = 60  # rows beyond which names can no longer be read
_ENDS = 5  # names shown at either end of a longer chart
_NAME_HEIGHT = 0.15  # inches of a line
_ROW = {1: 0.2, 2: 0.36}  # inches of a row, by the lines of the names
_LONGEST = 46  # characters of a line of a name, which has two at most
_HANDLE = 0.42  # inches of the sign before a name of the legend, and of the space after it
_FIRST = {"estimate": "the highest", "name": "the first by name", "width": "the narrowest intervals"}
_ORDERS = {"estimate": ("estimate", True), "name": ("_label", False), "width": ("_width", False)}


@as_written
@answered
def caterpillar(
    table: EstimateTable | pd.DataFrame,
    *,
    top: int | None = None,
    order: str | Sequence[str] = "estimate",
    groups: str | None = None,
    labels: str | Mapping[Any, str] | None = None,
    reference: float | None = None,
    reference_label: str = "whole",
    title: str = "",
    source: str = "",
) -> Chart:
    """Draw every area's estimate with its interval, from the highest to the lowest.

    Up to 60 areas bear their names; of more, the five at either end do. Direct estimates are points behind,
    rows that a policy withholds are hollow.

    Parameters
    ----------
    table : EstimateTable or DataFrame
        Rows of one indicator with ``domain``, ``estimate``, ``ci_low`` and ``ci_high``.
    top : int, optional
        How many areas are drawn, the first by `order`; all by default.
    order : {"estimate", "name", "width"} or sequence of str
        From the top: the highest, the first by name, the narrowest interval; or these domains and no others.
    groups : str, optional
        Column whose values, six at most, have colours of their own.
    labels : str or mapping, optional
        Column of names, or names by ``domain``; those not named keep their code.
    reference : float, optional
        Value of a vertical line, such as the national figure.
    reference_label, title, source : str
        Words at the line, above, in as many lines as they need, and below.

    Returns
    -------
    Chart
        A figure of matplotlib with `save`.

    Raises
    ------
    SaeInputError
        If a column is missing, the table holds several indicators or one area twice for the same period, or a
        domain of `order` is not in it.
    SaeSpecError
        If an option is none of these.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.4, 0.5], "ci_low": [0.3, 0.4],
    ...                       "ci_high": [0.5, 0.6]})
    >>> chart = sae.plots.caterpillar(frame, labels={"A": "Graz"})
    >>> [text.get_text() for text in chart.axes[0].get_yticklabels()]
    ['Graz', 'B']
    """
    frame = rows_of(table, "ci_low", "ci_high")
    frame["_code"] = codes_of(frame["domain"])
    frame["_label"] = _labels(frame, names_of(frame, frame["_code"], labels), groups)
    whole = len(frame)
    frame = _ordered(frame, order, top)
    named = len(frame) <= _NAMED
    lines = 2 if frame["_label"].str.contains("\n").any() else 1
    rows_high = _ROW[lines] * max(len(frame), 4) if named else 9.0
    title = title or f"{unit_words(frame)} by area, with intervals"
    figure = new_chart(9, 1.9 + rows_high, title)
    axes = figure.subplots()
    _draw(axes, frame, groups)
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
        _name_ends(axes, frame["_label"].tolist(), lines * _NAME_HEIGHT * len(frame) / rows_high)
    axes.set_xlabel(unit_words(frame))
    value_axis(axes, frame, "x")
    tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    widest = max(width_of(line, 8) for name in frame["_label"] for line in name.split("\n"))
    _legend(figure, axes, 9 - widest - 0.6)
    words = _FIRST[order] if isinstance(order, str) else "as chosen"
    note(figure, frame, source, f"{len(frame)} of {whole} areas, {words}." if len(frame) < whole else "")
    return figure


def _ordered(frame: pd.DataFrame, order: str | Sequence[str], top: int | None) -> pd.DataFrame:
    """Return the rows to draw, the last of the order first: rows are drawn from the bottom."""
    if top is not None and (isinstance(top, bool) or not isinstance(top, Integral) or top < 1):
        raise SaeSpecError(f"top={top!r} is no number of areas.", hint="Give a whole number, such as top=20.")
    if isinstance(order, str):
        if order not in _ORDERS:
            raise SaeSpecError(
                f"order={order!r}.",
                hint=f"Use one of {', '.join(_ORDERS)}, or a list of domains from the top.",
            )
        keys = frame.assign(_width=frame["ci_high"] - frame["ci_low"])
        column, rising = _ORDERS[order]
        by = [column] if column == "_label" else [column, "_label"]
        rows = keys.sort_values(by, ascending=rising, kind="stable", na_position="first").index
    else:
        wanted = codes_of(pd.Series(list(order), dtype=object)).tolist()
        lost = [code for code in dict.fromkeys(wanted) if code not in set(frame["_code"])]
        if lost or len(set(wanted)) < len(wanted):
            raise SaeInputError(
                f"order= names {name_some(lost)}, of which the table has no estimate."
                if lost
                else "order= names an area twice.",
                hint=f"The domains are {name_some(frame['_code'])}.",
                areas=lost,
            )
        places = frame["_code"].map({code: k for k, code in enumerate(wanted)}).dropna()
        rows = places.sort_values(ascending=False, kind="stable").index
    return frame.loc[rows[-top:] if top is not None else rows].reset_index(drop=True)


def _name_ends(axes: Axes, labels: list[str], step: float) -> None:
    """Name the areas at both ends; `step` is the height of a name in rows, more than one."""
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


def _legend(figure: Figure, axes: Axes, inches: float) -> None:
    """Put the legend above the axes, in as many columns as `inches` hold."""
    from matplotlib.transforms import ScaledTranslation

    handles, names = axes.get_legend_handles_labels()
    widths = [width_of(name, 8) + _HANDLE for name in names]

    def needed(columns: int) -> float:
        return sum(float(column.max()) for column in np.array_split(widths, columns))

    above = axes.transAxes + ScaledTranslation(
        0, 16 / 72, figure.dpi_scale_trans
    )  # clear of the reference's name
    axes.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        bbox_transform=above,
        ncols=next((k for k in range(len(names), 1, -1) if needed(k) <= inches), 1),
        frameon=False,
        fontsize=8,
        borderaxespad=0,
        handletextpad=0.3,
        columnspacing=1.2,
    )


def _labels(frame: pd.DataFrame, names: pd.Series, groups: str | None) -> list[str]:
    for column in ("time", groups):  # what tells rows of an area apart, where anything does
        if column in frame and names.duplicated().any() and (codes_of(frame[column]) != "").all():
            names = names + ", " + codes_of(frame[column])
    if names.duplicated().any():
        raise SaeInputError(
            f"{names[names.duplicated()].iloc[0]} stands more than once in the table.",
            hint="Draw one row per area, or name the column that tells its rows apart: groups=.",
        )
    short = names.map(_cut)
    same = short.duplicated(keep=False)
    return [*short.where(~same, (names + " (" + frame["_code"] + ")").map(_cut))]


def _cut(name: str) -> str:
    """Return a name in two lines at most, without its middle: the end of a name often tells the group."""
    lines, length = wrap(name, _LONGEST), _LONGEST
    while len(lines) > 2:
        lines = wrap(f"{name[:length].rstrip()}…{name[-length:].lstrip()}", _LONGEST)
        length -= 1
    return "\n".join(lines) or name


def _kinds(frame: pd.DataFrame, groups: str | None) -> list[tuple[np.ndarray, str, str, str]]:
    """Return rows, colour, marker and words of every kind of area."""
    sampled = np.isfinite(frame["direct"].to_numpy())
    if "in_sample" in frame:
        sampled |= frame["in_sample"].fillna(False).to_numpy(dtype=bool)
    elif not sampled.any():
        sampled[:] = True  # a table without direct estimates tells nothing of the sample
    if groups is None:
        return [
            (sampled, MODEL, "o", "model, with interval"),
            (~sampled, UNSAMPLED, "D", "area without a sample"),
        ]
    require(frame, [groups], "The table has", "(that groups= names)")
    of_row = codes_of(frame[groups])
    values = sorted(of_row.unique())
    if len(values) > len(GROUPS):
        raise SaeSpecError(
            f"{groups} has {len(values)} values ({name_some(values)}); a chart has {len(GROUPS)} colours.",
            hint="Draw some of them, or name another column.",
        )
    kinds = []
    for value, colour in zip(values, GROUPS, strict=False):
        rows = of_row.eq(value).to_numpy(dtype=bool)
        kinds += [(rows & sampled, colour, "o", value), (rows & ~sampled, colour, "D", f"{value}, no sample")]
    return kinds


def _draw(axes: Axes, frame: pd.DataFrame, groups: str | None) -> None:
    position = np.arange(len(frame))
    withheld = np.zeros(len(frame), dtype=bool)
    if "publishable" in frame:
        withheld = frame["publishable"].eq(False).fillna(False).to_numpy(dtype=bool)
    if np.isfinite(frame["direct"]).any():
        colour = DIRECT if groups is None else QUIET
        axes.scatter(frame["direct"], position, s=18, color=colour, linewidth=0, label="direct", zorder=3)
    for rows, colour, marker, label in _kinds(frame, groups):
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
