"""What every chart shares: colours, the title, the axis of shares, the notes below."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import EstimateTable, label_text, labels, pandas_frame, require, to_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sae.plots.chart import Chart

# Okabe and Ito's colours, which colour-blind readers can tell apart; they differ in lightness too
MODEL = "#0072B2"
DIRECT = "#E69F00"
UNSAMPLED = "#CC79A7"
GROUPS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
QUIET = "#777777"
GRID = "#E4E4E4"
_TITLE = 13  # points
_LINE = 0.24  # inches of a further line of the title
_MARGIN = 0.4

Options = ParamSpec("Options")
Drawn = TypeVar("Drawn")


def as_written(draw: Callable[Options, Drawn]) -> Callable[Options, Drawn]:
    """Show the texts of a chart as they are written: "US$ 10 to US$ 20" is no mathematics."""

    @wraps(draw)
    def drawn(*arguments: Options.args, **options: Options.kwargs) -> Drawn:
        import matplotlib

        with matplotlib.rc_context({"text.parse_math": False}):
            return draw(*arguments, **options)

    return drawn


def new_chart(width: float, height: float, title: str) -> Chart:
    """Return a figure of so many inches under its title, which is never cut: it goes on in further lines."""
    from sae.plots.chart import Chart

    lines = wrapped(title, width - _MARGIN, _TITLE)
    figure = Chart(figsize=(width, height + _LINE * (len(lines) - 1)), layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=_TITLE, x=0.01, ha="left")
    return figure


def wrapped(text: str, inches: float, size: float) -> list[str]:
    """Return the lines of a text of so many points that are no wider than `inches`.

    Examples
    --------
    >>> from sae.plots.figures import wrapped
    >>> wrapped("one two three", 0.8, 13)
    ['one two', 'three']
    """

    def fits(line: str) -> bool:
        return width_of(line, size) <= inches

    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            if line and not fits(f"{line} {word}"):
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else word
            while len(line) > 1 and not fits(line):  # a word wider than the figure
                end = next(k for k in range(len(line) - 1, 0, -1) if k == 1 or fits(line[:k]))
                lines.append(line[:end])
                line = line[end:]
        lines.append(line)
    return lines


def width_of(line: str, size: float) -> float:
    """Return how many inches a line of so many points is wide."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size)
    return float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0]) / 72


def names_of(frame: pd.DataFrame, codes: pd.Series, names: str | Mapping[Any, str] | None) -> pd.Series:
    """Return the names of areas: of a column of the table, or by their codes; the others keep their code.

    Raises
    ------
    SaeInputError
        If the column is not there, or none of the areas has a name.
    """
    if names is None:
        return codes
    if isinstance(names, str):
        require(frame, [names], "The table has", "(that labels= names)")
        return labels(frame[names]).set_axis(codes.index)
    if not isinstance(names, Mapping):
        raise SaeSpecError(
            f"labels= is a {type(names).__name__}, neither a column nor names by code.",
            hint='Write labels="city", or labels={"AT13": "Wien"}.',
        )
    known = {label_text(code): str(name) for code, name in names.items()}
    if not codes.isin(list(known)).any():
        raise SaeInputError(
            f"None of the {len(codes)} areas has a name in labels=: {name_some(codes)}.",
            hint=f"Its codes are {name_some(known)}.",
            areas=list(codes),
        )
    return codes.map(lambda code: known.get(code, code))


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
