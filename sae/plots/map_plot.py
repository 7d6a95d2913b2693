"""Two maps side by side: the estimates, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.plots.figures import as_written, is_share, names_of, new_chart, note, rows_of, unit_words, wrapped
from sae.plots.geometry import middle, read_rings, to_paths
from sae.tables import EstimateTable, to_numbers
from sae.tables import labels as codes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sae.plots.chart import Chart

__all__ = ["area_map"]

_LAND, _WITHHELD, _BORDER = "#E6E6E3", "#B4B4B4", "#FFFFFF"
_CLASSES = 6
_FEW = 12  # areas named below
_PANEL = 5.2  # inches that a map is wide
_NAME = 6.5  # points of a name in an area
_WORDS = {"cv": "Coefficient of variation", "se": "Standard error"}


@as_written
@answered
def area_map(
    table: EstimateTable | pd.DataFrame,
    geometry: str | Path | Mapping[str, Any] | Any,
    *,
    key: str | None = None,
    column: str = "geo",
    uncertainty: Literal["cv", "se"] = "cv",
    labels: str | Mapping[Any, str] | None = None,
    title: str = "",
    source: str = "",
) -> Chart:
    """Draw a map of the estimates beside one of their uncertainty.

    Both in classes with round limits. Areas that a policy withholds are grey, areas of the geometry without
    an estimate light grey, and named below where they are few. Areas without a geometry cannot be drawn and
    are named below, as are areas far from all others, such as overseas regions.

    Parameters
    ----------
    table : EstimateTable or DataFrame
        Rows of one indicator, one per area, with the code of the area in `column`.
    geometry : str, Path, mapping, list or GeoDataFrame
        GeoJSON FeatureCollection of polygons, a file of one (``.gz`` too), a list of features, an object with
        ``__geo_interface__``, or polygons by the code of their area, ``{"AT13": polygon}``, each as GeoJSON,
        of shapely or as its corners; in longitude and latitude or in any plane coordinates.
    key : str, optional
        Property of the geometry with the code, such as "NUTS_ID"; by default the one that holds all codes of
        the table. Polygons by code need none.
    column : str
        Column of the table with the code.
    uncertainty : {"cv", "se"}
    labels : str or mapping, optional
        Column of names, or names by code: written into the areas with room for them, and used below.
    title, source : str
        Words above and below; the holders of the borders want to be named.

    Returns
    -------
    Chart
        A figure of matplotlib with `save`.

    Raises
    ------
    SaeInputError
        If a column is missing, an area stands twice in the table, no area has a geometry, or the geometry
        cannot be read; names the areas.

    Examples
    --------
    >>> square = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}
    >>> shapes = {"type": "FeatureCollection",
    ...           "features": [{"type": "Feature", "properties": {"id": "A"}, "geometry": square}]}
    >>> frame = pd.DataFrame({"domain": ["A"], "geo": ["A"], "estimate": [0.5], "cv": [0.1]})
    >>> sae.plots.area_map(frame, shapes, key="id").axes[0].get_title(loc="left")
    'Estimate'
    >>> corners = {"A": [(0, 0), (1, 0), (1, 1)]}
    >>> len(sae.plots.area_map(frame, corners).axes[0].collections)
    1
    """
    if uncertainty not in _WORDS:
        raise SaeSpecError(f"uncertainty={uncertainty!r}.", hint=f"Use one of {', '.join(_WORDS)}.")
    frame = rows_of(table, column, uncertainty)
    every = codes_of(frame[column])
    names = dict(zip(every, names_of(frame, every, labels), strict=True))
    areas = read_rings(geometry, key, codes=every.tolist())
    without = _without_geometry(every, areas, key)
    frame = frame[~every.isin(without)].reset_index(drop=True)
    codes = codes_of(frame[column]).tolist()
    paths, corners, outside = to_paths(areas, codes)
    frame["_second"] = to_numbers(frame, uncertainty)
    withheld = np.zeros(len(frame), dtype=bool)
    if "publishable" in frame:
        withheld = frame["publishable"].eq(False).fillna(False).to_numpy(dtype=bool)

    width, height = corners[1] - corners[0]
    panel = min(max(_PANEL * height / width, 2.5), 9.0)
    figure = new_chart(11, panel + 1.6, title or f"{unit_words(frame)} and its uncertainty")
    share = is_share(frame)
    panels = (
        ("estimate", unit_words(frame), "viridis_r", share),
        ("_second", _WORDS[uncertainty], "YlOrRd", share or uncertainty == "cv"),
    )
    drawn = set(codes)
    empty = [code for code, path in paths.items() if code not in drawn and _meets(path, corners)]
    background = [paths[code] for code in empty]
    shapes = [paths[code] for code in codes]
    both = figure.subplots(1, 2)
    for axes, (name, words, colours, percent) in zip(both, panels, strict=True):
        values = np.where(withheld, np.nan, frame[name].to_numpy())
        _panel(figure, axes, shapes, values, background, colours, percent=percent)
        axes.set_title(words, fontsize=10, loc="left")
        margin = 0.02 * (corners[1] - corners[0])
        axes.set_xlim(corners[0][0] - margin[0], corners[1][0] + margin[0])
        axes.set_ylim(corners[0][1] - margin[1], corners[1][1] + margin[1])
        if labels is not None:
            _write_names(axes, [(names[code], paths[code]) for code in codes], width / _PANEL)
    _legend(both[1], bool(withheld.any()), bool(background))
    few = empty if len(empty) <= _FEW else []  # more: a map of other countries too
    remarks = [
        f"{what}: {name_some([names.get(code, code) for code in some], _FEW)}."
        for what, some in (
            ("Without a geometry", without),
            ("Without an estimate", few),
            ("Outside the frame", outside),
        )
        if some
    ]
    note(figure, frame, source, " ".join(remarks))
    return figure


def _write_names(axes: Axes, named: Sequence[tuple[str, Any]], inch: float) -> None:
    """Write the names of the areas into those that are wide enough; `inch` is one in the units of the map."""
    from matplotlib.patheffects import withStroke

    for name, path in named:
        (across, up), size = middle(path)
        lines = wrapped(name, 0.9 * size[0] / inch, _NAME)
        if len(lines) * 1.2 * _NAME / 72 <= size[1] / inch and not any(
            f"{a}{b}" in name for a, b in pairwise(lines)
        ):
            axes.text(
                across,
                up,
                "\n".join(lines),
                ha="center",
                va="center",
                fontsize=_NAME,
                color="#222222",
                path_effects=[withStroke(linewidth=2, foreground="white")],
                zorder=5,
            )


def _meets(path: Any, corners: np.ndarray) -> bool:
    low, high = path.get_extents().get_points()
    return bool((low <= corners[1]).all() and (high >= corners[0]).all())


def _without_geometry(codes: pd.Series, areas: Mapping[str, Any], key: str | None) -> list[str]:
    """Return the areas that cannot be drawn; refuse areas that stand twice, and a geometry of no area."""
    twice = codes[codes.duplicated()].unique().tolist()
    if twice:
        raise SaeInputError(
            f"{name_some(twice)} stand more than once in the table.",
            hint="Draw one row per area.",
            areas=twice,
        )
    without = codes[~codes.isin(list(areas))].tolist()
    if len(without) == len(codes):
        raise SaeInputError(
            f"None of the {len(codes)} areas has a geometry: {name_some(without)}.",
            hint=f"Check {f'key={key!r}' if key else 'the codes'} and their vintage; the geometry has "
            f"{name_some(areas)}.",
            areas=without,
        )
    return without


def _panel(
    figure: Figure,
    axes: Axes,
    shapes: list[Any],
    values: np.ndarray,
    background: list[Any],
    colours: str,
    *,
    percent: bool,
) -> None:
    from matplotlib import colormaps
    from matplotlib.collections import PathCollection
    from matplotlib.colors import BoundaryNorm
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_aspect("equal")
    axes.axis("off")
    border: dict[str, Any] = {"edgecolor": _BORDER, "linewidth": 0.4}
    if background:
        axes.add_collection(PathCollection(background, facecolor=_LAND, edgecolor="#D5D5D0", linewidth=0.4))
    known = np.isfinite(values)
    grey = [shape for shape, ok in zip(shapes, known, strict=True) if not ok]
    if grey:
        axes.add_collection(PathCollection(grey, facecolor=_WITHHELD, **border))
    if not known.any():
        return
    # the few largest and smallest values share the last class, so that they do not wash out all others
    low, high = np.percentile(values[known], [2, 98])
    limits = np.asarray(MaxNLocator(_CLASSES, steps=[1, 2, 5, 10]).tick_values(low, high))
    if len(limits) < 2:
        limits = np.array([low - 0.5 * (abs(low) or 1), low + 0.5 * (abs(low) or 1)])
    below, above = bool(values[known].min() < limits[0]), bool(values[known].max() > limits[-1])
    extend: Any = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]
    norm = BoundaryNorm(limits, 256, extend=extend)
    drawn = PathCollection(
        [shape for shape, ok in zip(shapes, known, strict=True) if ok],
        cmap=colormaps[colours],
        norm=norm,
        **border,
    )
    drawn.set_array(values[known])
    axes.add_collection(drawn)
    bar = figure.colorbar(
        drawn,
        ax=axes,
        orientation="horizontal",
        shrink=0.75,
        aspect=32,
        pad=0.02,
        ticks=limits,
        spacing="uniform",
    )
    digits = max(0, int(np.ceil(-np.log10(np.diff(limits).min() * (100 if percent else 1)) - 1e-9)))
    factor, sign = (100, "%") if percent else (1, "")
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{factor * v:,.{digits}f}{sign}"))
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)


def _legend(axes: Axes, withheld: bool, background: bool) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=_WITHHELD, label="not for publication")] if withheld else []
    if background:
        handles.append(Patch(facecolor=_LAND, edgecolor="#D5D5D0", label="no estimate"))
    if handles:
        axes.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=2,
            frameon=False,
            fontsize=8,
            borderaxespad=0.2,
        )
