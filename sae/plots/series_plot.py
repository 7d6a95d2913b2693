"""Series over time: a panel for each, or the verdicts of many at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, name_some
from sae.plots.figures import DIRECT, MODEL, QUIET, UNSAMPLED, as_written, note, tidy
from sae.tables import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sae.plots.chart import Chart

__all__ = ["series"]

_PANELS = 60  # series beyond which panels can no longer be read
_LONGEST = 26  # characters of a line of a name above a panel
_COLOURS = {"rose": MODEL, "fell": DIRECT}
_LIGHT = "#D9D9D9"
_ACROSS = "across a break"
_SAME = "no change that can be told"
_HOLLOW = "hollow: not for publication"
_LEGEND = ("figure", "model, no data", "rose", "fell", _SAME, "break", _HOLLOW)


@as_written
@answered
def series(
    frame: pd.DataFrame,
    keys: Sequence[str] = ("domain",),
    *,
    level: float = 0.95,
    share: bool = False,
    title: str = "",
    source: str = "",
) -> Chart:
    """Draw each series in a panel of its own; of more than 60 the verdicts of all steps.

    A line joins figures of neighbouring periods: none crosses a gap, or a break that is not accepted. Steps
    that are real changes are blue or orange, with a triangle at the later figure. Diamonds are the model's
    for periods without data; hollow marks are not for publication; dotted lines are breaks.

    Parameters
    ----------
    frame : DataFrame
        Of `sae.compare.series`: a row for every series and period.
    keys : sequence of str
        The columns that tell series apart.
    level : float
    share : bool
        Whether the figures are shares, drawn as percentages.
    title, source : str

    Raises
    ------
    SaeInputError
        If no series has a figure.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": "a", "time": ["2018", "2019", "2021"], "estimate": [0.5, 0.6, 0.5],
    ...                       "se": 0.02})
    >>> figure = sae.compare.series(frame).plot()
    >>> [line.get_xdata().tolist() for line in figure.axes[0].lines][0]  # none from 2019 to 2021
    [0, 1]
    """
    if not np.isfinite(frame["estimate"]).any():
        raise SaeInputError("No series has a figure to draw.")
    names = _names(frame, keys)
    codes, unique = pd.factorize(names)
    if len(unique) > _PANELS:
        return _verdicts(frame, codes, len(unique), title, source)
    return _panels(frame, codes, list(unique), level, share, title, source)


def _names(frame: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    made = labels(frame["domain"])
    for name in keys:
        if name != "domain" and frame[name].nunique() > 1:
            made = made + ", " + labels(frame[name])
    return made


def _wrapped(name: str, longest: int) -> str:
    return "\n".join(wrap(name, longest, max_lines=2, placeholder=" …"))


def _panels(
    frame: pd.DataFrame,
    codes: np.ndarray,
    names: Sequence[str],
    level: float,
    share: bool,
    title: str,
    source: str,
) -> Chart:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    from sae.plots.chart import Chart

    count = len(names)
    columns = min(count, 2 if count <= 4 else 3 if count <= 9 else 5)
    lines = -(-count // columns)
    figure = Chart(figsize=(max(6.5, 2.3 * columns), 1.6 + (1.5 if lines > 2 else 2.4) * lines))
    figure.set_layout_engine("constrained")
    ratios = [0.3 if lines > 2 else 0.16, *[1.0] * lines]  # the legend in a row of its own
    grid = figure.add_gridspec(lines + 1, columns, height_ratios=ratios)
    panels = [figure.add_subplot(grid[1, 0])]
    for place in range(1, lines * columns):
        cell = grid[1 + place // columns, place % columns]
        panels.append(figure.add_subplot(cell, sharex=panels[0], sharey=panels[0]))
    periods = labels(frame["time"])[codes == 0].tolist()
    seen: dict[str, Any] = {}
    for code, axes in enumerate(panels):
        if code >= count:
            axes.set_axis_off()
            continue
        _panel(axes, frame[codes == code].reset_index(drop=True), seen)
        axes.set_title(_wrapped(names[code], 60 if columns == 1 else _LONGEST), fontsize=8, loc="left")
        tidy(axes, grid="y")
        step = -(-len(periods) // (8 if columns < 3 else 4))
        axes.set_xticks(range(0, len(periods), step), periods[::step], fontsize=8)
        axes.tick_params(axis="y", labelsize=8)
        axes.set_xlim(-0.5, len(periods) - 0.5)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        below = code + columns >= count  # the last panel of its column, where the row below is not full
        axes.tick_params(axis="x", labelbottom=below)
        axes.tick_params(axis="y", labelleft=code % columns == 0)
    if share:
        low, high = panels[0].get_ylim()
        panels[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > 0.07 else 1))
    figure.add_subplot(grid[0, :]).set_axis_off()
    figure.axes[-1].legend(
        [seen[name] for name in _LEGEND if name in seen],
        [name for name in _LEGEND if name in seen],
        loc="lower left",
        bbox_to_anchor=(0, 0),
        ncols=4,
        frameon=False,
        fontsize=8,
        borderaxespad=0,
    )
    figure.suptitle(title or _title(frame, level), fontsize=13, x=0.01, ha="left", wrap=True)
    note(figure, frame, source, _breaks_in(frame))
    return figure


def _title(frame: pd.DataFrame, level: float) -> str:
    names = labels(frame["indicator"]).unique() if "indicator" in frame else ["series"]
    what = name_some([name.replace("_", " ") for name in names], 3)
    return f"{what[:1].upper()}{what[1:]} over time, intervals of {level:.0%}"


def _breaks_in(frame: pd.DataFrame) -> str:
    names = dict.fromkeys(name for text in frame["breaks"].unique() for name in text.split(", ") if name)
    return f"Breaks: {', '.join(names)}." if names else ""


def _panel(axes: Axes, rows: pd.DataFrame, seen: dict[str, Any]) -> None:
    from matplotlib.lines import Line2D

    values, verdict = rows["estimate"].to_numpy(dtype=float), rows["verdict"].to_numpy(dtype=object)
    known = np.flatnonzero(np.isfinite(values))
    low, high = (rows[name].to_numpy(dtype=float) for name in ("ci_low", "ci_high"))
    for before, now in pairwise(known):
        broken = rows["breaks"][now] != ""
        if broken:
            axes.axvline((before + now) / 2, color=QUIET, linewidth=1, linestyle=":", zorder=1)
            seen["break"] = Line2D([], [], color=QUIET, linewidth=1, linestyle=":")
        colour = _COLOURS.get(verdict[now], QUIET)
        if verdict[now] in _COLOURS:
            marker = "^" if verdict[now] == "rose" else "v"
            axes.scatter([now], [high[now]], marker=marker, color=colour, s=14, zorder=3)
            seen[verdict[now]] = Line2D([], [], color=colour, linewidth=2.2, marker=marker, markersize=4)
        if now - before > 1 or verdict[now] == _ACROSS:
            continue
        width, style = 2.2 if colour != QUIET else 1.1, "--" if broken else "-"
        axes.plot(
            [before, now], values[[before, now]], color=colour, linewidth=width, linestyle=style, zorder=2
        )
        if colour == QUIET:
            seen[_SAME] = Line2D([], [], color=colour, linewidth=width)
    bare = rows["kind"].eq("modelled without data").to_numpy()
    withheld = rows["publishable"].eq(False).fillna(False).to_numpy(dtype=bool)
    kinds = (
        (known[~bare[known]], MODEL, "o", "figure"),
        (known[bare[known]], UNSAMPLED, "D", "model, no data"),
    )
    for at, colour, marker, text in kinds:
        if not len(at):
            continue
        axes.vlines(at, low[at], high[at], color=colour, linewidth=1.2, alpha=0.6, zorder=2)
        fill = np.where(withheld[at], "white", colour)
        axes.scatter(at, values[at], s=18, marker=marker, c=fill, edgecolor=colour, linewidth=1.1, zorder=3)
        seen[text] = Line2D([], [], color=colour, marker=marker, markersize=4.5, linestyle="")
    if withheld[known].any():
        hollow = {"marker": "o", "markersize": 4.5, "markerfacecolor": "white", "linestyle": ""}
        seen[_HOLLOW] = Line2D([], [], color=QUIET, **hollow)  # type: ignore[arg-type]


def _verdicts(frame: pd.DataFrame, codes: np.ndarray, count: int, title: str, source: str) -> Chart:
    """Draw the verdict of each step of many series, the highest last figure first."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    from sae.plots.chart import Chart

    periods = labels(frame["time"])[codes == 0].tolist()
    kinds = {"": 0, "cannot be told apart": 1, "rose": 2, "fell": 3, _ACROSS: 4}
    colours = ["white", _LIGHT, MODEL, DIRECT, UNSAMPLED]
    cells = frame["verdict"].map(kinds).fillna(0).to_numpy(dtype=int).reshape(count, len(periods))
    last = frame.assign(_code=codes).groupby("_code")["estimate"].last().to_numpy()
    cells = cells[np.argsort(-last, kind="stable")]
    figure = Chart(figsize=(9, 11))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    edges = [np.arange(size + 1) - 0.5 for size in (len(periods), count)]
    axes.pcolormesh(*edges, cells, cmap=ListedColormap(colours), vmin=-0.5, vmax=4.5, rasterized=True)
    axes.set_ylim(count - 0.5, -0.5)
    step = -(-len(periods) // 12)
    axes.set_xticks(range(0, len(periods), step), periods[::step], fontsize=8)
    axes.set_yticks([])
    axes.set_ylabel(f"{count} series, the highest last figure first")
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    words = ["first or no figure", "cannot be told from the one before", "rose", "fell", _ACROSS]
    handles = [
        Patch(facecolor=colour, edgecolor="#BBBBBB", label=text)
        for colour, text, kind in zip(colours, words, range(5), strict=True)
        if (cells == kind).any()
    ]
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8)
    figure.suptitle(
        title or "What changed from one period to the next", fontsize=13, x=0.01, ha="left", wrap=True
    )
    remark = f"{_breaks_in(frame)} Lines can be read of up to {_PANELS} series: name areas."
    note(figure, frame, source, remark.strip())
    return figure
