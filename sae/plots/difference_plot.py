"""Differences, ratios, gaps or changes in order of their size, with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, name_some
from sae.plots.figures import DIRECT, MODEL, QUIET, as_written, note, tidy
from sae.tables import labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sae.plots.chart import Chart

__all__ = ["differences"]

_NAMED = 60  # rows beyond which names can no longer be read
_LONGEST = 46  # characters of a name
_COLUMNS = ("value", "other", "estimate")


@as_written
@answered
def differences(
    frame: pd.DataFrame,
    *,
    kind: str = "difference",
    level: float = 0.95,
    share: bool = False,
    title: str = "",
    source: str = "",
) -> Chart:
    """Draw each comparison with its interval, from the highest to the lowest, and the line of equality.

    Intervals that hold 0 (a ratio of 1) are quiet: their sides cannot be told apart. Comparisons across a
    break are squares; those that are not for publication are hollow.

    Parameters
    ----------
    frame : DataFrame
        Of `sae.compare.differences`, `ratios`, `gaps` or `changes`.
    kind : str
        Which of them, for axis and title: "difference", "ratio", "gap" or "change".
    level : float
    share : bool
        Whether differences are of shares, and so in percentage points.
    title, source : str

    Raises
    ------
    SaeInputError
        If no comparison has a figure.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": list("abc"), "estimate": [0.9, 0.5, 0.45], "se": 0.05})
    >>> figure = sae.compare.differences(frame, "b").plot()
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['c', 'a']
    """
    from sae.plots.chart import Chart

    frame = frame[np.isfinite(frame["estimate"]) & np.isfinite(frame["ci_low"])]
    if frame.empty:
        raise SaeInputError("No comparison has a figure to draw.")
    names, sides = _names(frame)
    order = np.lexsort((np.array(names), frame["estimate"].to_numpy()))
    frame, names = frame.iloc[order].reset_index(drop=True), [names[row] for row in order]
    named = len(frame) <= _NAMED
    figure = Chart(figsize=(9, 2.1 + (0.2 * max(len(frame), 4) if named else 9.0)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    _draw(axes, frame)
    axes.axvline(1.0 if kind == "ratio" else 0.0, color="#333333", linewidth=1, zorder=1)
    axes.set_ylim(-0.8, len(frame) - 0.2)
    axes.set_yticks(range(len(frame)) if named else [], names if named else [], fontsize=8)
    _axis(axes, kind, share)
    tidy(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize=8)
    groups = labels(frame["group"]).unique().tolist() if "group" in frame else list[str]()
    of = f" of {groups[0]}" if len(groups) == 1 else ""
    words = f"{kind[:1].upper()}{kind[1:]}s{of} against {sides}, intervals of {level:.0%}"
    figure.suptitle(title or words, fontsize=13, x=0.01, ha="left", wrap=True)
    note(figure, frame, source)
    return figure


def _names(frame: pd.DataFrame) -> tuple[list[str], str]:
    """Return a name of each row, and the other side where it is the same of all."""
    keys = [name for name in list(frame)[: list(frame).index("value")] if name not in ("domain", "against")]
    made = labels(frame["domain"]).to_numpy(dtype=object)
    for name in keys:
        text = labels(frame[name]).to_numpy(dtype=object)
        known = all(part in whole.split(" / ") for part, whole in zip(text, made, strict=True))
        if frame[name].nunique() > 1 and not known:
            made = made + ", " + text
    several = frame["against"].nunique() > 1
    if several:
        made = made + " against " + labels(frame["against"]).to_numpy(dtype=object)
    half = _LONGEST // 2
    names = [
        name if len(name) <= _LONGEST else f"{name[:half].rstrip()}…{name[1 - half :].lstrip()}"
        for name in made
    ]
    sides = name_some(frame["against"].unique(), 2)
    return names, "the period before" if several and "time" in frame else sides


def _draw(axes: Axes, frame: pd.DataFrame) -> None:
    place = np.arange(len(frame))
    low, high = frame["ci_low"].to_numpy(), frame["ci_high"].to_numpy()
    apart = ~frame["verdict"].eq("cannot be told apart").to_numpy()
    up = frame["verdict"].isin(["higher", "rose"]).to_numpy()
    across = frame["breaks"].ne("").to_numpy() if "breaks" in frame else np.zeros(len(frame), dtype=bool)
    withheld = np.zeros(len(frame), dtype=bool)
    if "publishable" in frame:
        withheld = frame["publishable"].eq(False).fillna(False).to_numpy(dtype=bool)
    kinds = ((up, MODEL), (apart & ~up, DIRECT), (~apart, QUIET))
    for rows, colour in kinds:
        if not rows.any():
            continue
        axes.hlines(place[rows], low[rows], high[rows], color=colour, linewidth=1.6, alpha=0.7, zorder=2)
        for marker, some in (("o", rows & ~across), ("s", rows & across)):
            axes.scatter(
                frame["estimate"][some],
                place[some],
                s=24,
                marker=marker,
                c=np.where(withheld[some], "white", colour),
                edgecolor=colour,
                linewidth=1.2,
                zorder=3,
            )
        axes.plot([], [], color=colour, marker="o", markersize=4.5, label=frame["verdict"][rows].iloc[0])
    empty: dict[str, Any] = {"s": 24, "edgecolor": QUIET, "linewidth": 1.2}
    if across.any():
        axes.scatter([], [], marker="s", facecolor=QUIET, label="square: across a break", **empty)
    if withheld.any():
        axes.scatter([], [], facecolor="white", label="hollow: not for publication", **empty)


def _axis(axes: Axes, kind: str, share: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    if kind == "ratio":
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        steps = [t for t in (0.1, 0.2, 0.25, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 5, 10, 20)]
        ticks = [t for t in steps if low <= t <= high]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("ratio, logarithmic scale")
        return
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    low, high = axes.get_xlim()
    if share:
        digits = 0 if high - low > 0.07 else 1
        axes.xaxis.set_major_formatter(
            FuncFormatter(
                lambda value, _: f"{round(100 * value, digits) + 0.0:+.{digits}f}".replace("+0", "0")
            )
        )
        axes.set_xlabel(f"{kind}, percentage points")
    else:
        axes.set_xlabel(kind)
