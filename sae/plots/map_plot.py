"""Two maps side by side: the estimates, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.plots.figures import as_written, is_share, note, rows_of, unit_words
from sae.plots.geometry import read_rings, to_paths
from sae.tables import EstimateTable, labels, to_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["area_map"]

_LAND, _WITHHELD, _BORDER = "#E6E6E3", "#B4B4B4", "#FFFFFF"
_CLASSES = 6
_WORDS = {"cv": "Coefficient of variation", "se": "Standard error"}


@as_written
def area_map(
    table: EstimateTable | pd.DataFrame,
    geometry: str | Path | Mapping[str, Any] | Any,
    *,
    key: str,
    column: str = "geo",
    uncertainty: Literal["cv", "se"] = "cv",
    title: str = "",
    source: str = "",
) -> Figure:
    """Draw a map of the estimates beside one of their uncertainty.

    Both in classes with round limits. Areas that a policy withholds are grey, areas of the geometry without
    an estimate light grey. Areas without a geometry cannot be drawn and are named below, as are areas far
    from all others, such as overseas regions.

    Parameters
    ----------
    table : EstimateTable or DataFrame
        Rows of one indicator, one per area, with the code of the area in `column`.
    geometry : str, Path, mapping or GeoDataFrame
        GeoJSON FeatureCollection of polygons, a file of one (``.gz`` too) or an object with
        ``__geo_interface__``, in longitude and latitude or in any plane coordinates.
    key : str
        Property of the geometry with the code, such as "NUTS_ID".
    column : str
        Column of the table with the code.
    uncertainty : {"cv", "se"}
    title, source : str
        Words above and below; the holders of the borders want to be named.

    Returns
    -------
    matplotlib.figure.Figure

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
    """
    from matplotlib.figure import Figure

    if uncertainty not in _WORDS:
        raise SaeSpecError(f"uncertainty={uncertainty!r}.", hint=f"Use one of {', '.join(_WORDS)}.")
    frame = rows_of(table, column, uncertainty)
    areas = read_rings(geometry, key)
    without = _without_geometry(labels(frame[column]), areas, key)
    frame = frame[~labels(frame[column]).isin(without)].reset_index(drop=True)
    codes = labels(frame[column]).tolist()
    paths, corners, outside = to_paths(areas, codes)
    frame["_second"] = to_numbers(frame, uncertainty)
    withheld = np.zeros(len(frame), dtype=bool)
    if "publishable" in frame:
        withheld = frame["publishable"].eq(False).fillna(False).to_numpy(dtype=bool)

    width, height = corners[1] - corners[0]
    panel = min(max(5.2 * height / width, 2.5), 9.0)
    figure = Figure(figsize=(11, panel + 1.6), layout="constrained")
    share = is_share(frame)
    panels = (
        ("estimate", unit_words(frame), "viridis_r", share),
        ("_second", _WORDS[uncertainty], "YlOrRd", share or uncertainty == "cv"),
    )
    drawn = set(codes)
    background = [path for code, path in paths.items() if code not in drawn and _meets(path, corners)]
    shapes = [paths[code] for code in codes]
    for axes, (name, words, colours, percent) in zip(figure.subplots(1, 2), panels, strict=True):
        values = np.where(withheld, np.nan, frame[name].to_numpy())
        _panel(figure, axes, shapes, values, background, colours, percent=percent)
        axes.set_title(words, fontsize=10, loc="left")
        margin = 0.02 * (corners[1] - corners[0])
        axes.set_xlim(corners[0][0] - margin[0], corners[1][0] + margin[0])
        axes.set_ylim(corners[0][1] - margin[1], corners[1][1] + margin[1])
    _legend(figure, bool(withheld.any()), bool(background))
    figure.suptitle(title or f"{unit_words(frame)} and its uncertainty", fontsize=13, x=0.01, ha="left")
    remarks = [
        f"Without a geometry: {name_some(without, 12)}." if without else "",
        f"Outside the frame: {name_some(outside, 12)}." if outside else "",
    ]
    note(figure, frame, source, " ".join(filter(None, remarks)))
    return figure


def _meets(path: Any, corners: np.ndarray) -> bool:
    low, high = path.get_extents().get_points()
    return bool((low <= corners[1]).all() and (high >= corners[0]).all())


def _without_geometry(codes: pd.Series, areas: Mapping[str, Any], key: str) -> list[str]:
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
            hint=f"Check key={key!r} and the vintage of the codes; the geometry has {name_some(areas)}.",
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


def _legend(figure: Figure, withheld: bool, background: bool) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=_WITHHELD, label="not for publication")] if withheld else []
    if background:
        handles.append(Patch(facecolor=_LAND, edgecolor="#D5D5D0", label="no estimate"))
    if handles:
        figure.legend(handles=handles, loc="upper right", ncols=2, frameon=False, fontsize=8)
