"""What every chart shares: colours, the axis of shares, the notes below, saving."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables import EstimateTable, pandas_frame, require, to_numbers, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart; they differ in lightness too
MODEL = "#0072B2"
DIRECT = "#E69F00"
UNSAMPLED = "#CC79A7"
QUIET = "#777777"
GRID = "#E4E4E4"

Options = ParamSpec("Options")
Chart = TypeVar("Chart")

# The same bytes every time: no clock, no version, fixed names of the parts of an SVG
_METADATA: Mapping[str, dict[str, Any]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}


def as_written(draw: Callable[Options, Chart]) -> Callable[Options, Chart]:
    """Show the texts of a chart as they are written: "US$ 10 to US$ 20" is no mathematics."""

    @wraps(draw)
    def drawn(*arguments: Options.args, **options: Options.kwargs) -> Chart:
        import matplotlib

        with matplotlib.rc_context({"text.parse_math": False}):
            return draw(*arguments, **options)

    return drawn


def save(figure: Figure, path: str | Path, *, dpi: int = 150) -> Path:
    """Write a figure as PNG, SVG or PDF by the ending of `path`; the same bytes every time.

    Raises
    ------
    SaeInputError
        If the ending is none of these, or the folder does not exist.
    """
    import matplotlib

    path = Path(path)
    ending = path.suffix.lower()
    if ending not in _METADATA:
        raise SaeInputError(
            f"{path.name} ends in {path.suffix!r}, which is no known picture format.",
            hint=f"Use one of {', '.join(_METADATA)}.",
        )
    with matplotlib.rc_context({"svg.hashsalt": "sae", "svg.fonttype": "path"}), whole_file(path) as part:
        figure.savefig(part, format=ending[1:], dpi=dpi, metadata=_METADATA[ending], facecolor="white")
    return path


def rows_of(table: EstimateTable | pd.DataFrame, *needed: str) -> pd.DataFrame:
    """Return the rows of a table as a frame with plain floats; refuse several indicators in one chart."""
    frame = table.to_frame() if isinstance(table, EstimateTable) else pandas_frame(table, "The rows").copy()
    require(frame, ["domain", "estimate", *needed], "The table has", "(that the chart needs)")
    for name in ("n", "direct", "direct_se", "estimate", "ci_low", "ci_high"):
        frame[name] = to_numbers(frame, name) if name in frame else np.nan
    if "indicator" in frame and frame["indicator"].nunique() > 1:
        raise SaeInputError(
            f"The table holds several indicators ({name_some(frame['indicator'].unique())}).",
            hint="Draw one at a time: table.frame[table.frame['indicator'] == ...].",
            column="indicator",
        )
    frame = frame[np.isfinite(frame["estimate"])].reset_index(drop=True)
    if frame.empty:
        raise SaeInputError("The table holds no estimate to draw.")
    return frame


def is_share(frame: pd.DataFrame) -> bool:
    """Whether the estimates are shares, drawn as percentages."""
    return "unit" in frame and bool(frame["unit"].eq("share").all())


def value_axis(axes: Axes, frame: pd.DataFrame, which: str) -> None:
    """Give the axis `which` ("x" or "y") percentages for shares and grouped thousands for other units."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    if is_share(frame):
        # steps of at least 1 % need no decimals, so that no tick is rounded
        axis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > 0.07 else 1))
    elif max(abs(low), abs(high)) >= 1000:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def tidy(axes: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Leave only the axes that carry numbers, with a quiet grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.grid(True, axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(color="#999999")


def unit_words(frame: pd.DataFrame) -> str:
    """Words for the value axis: the indicator and its unit."""
    name = str(frame["indicator"].iloc[0]).replace("_", " ") if "indicator" in frame else ""
    unit = str(frame["unit"].iloc[0]) if "unit" in frame and frame["unit"].nunique() == 1 else ""
    name = name[:1].upper() + name[1:] or "Estimate"
    return name if unit in ("", "share", "<NA>") else f"{name} ({unit})"


def note(figure: Figure, frame: pd.DataFrame, source: str, remark: str = "") -> None:
    """Write below the chart how the figures were made and where they come from."""
    parts = []
    for column, lead in (("method", "method"), ("interval", "interval"), ("policy", "policy")):
        if column in frame:
            values = [str(value) for value in frame[column].dropna().unique() if str(value)]
            if values:
                parts.append(f"{lead} {name_some(values, 2)}")
    made = "; ".join(parts)
    words = [f"{made[:1].upper()}{made[1:]}."] if made else []
    if remark:
        words.append(remark)
    if source:
        words.append(f"Source: {source}.")
    if words:
        figure.supxlabel(" ".join(words), fontsize=8, color=QUIET, x=0.01, ha="left", wrap=True)
