"""Areas as polygons: which share a border, and which holds a point. Needs shapely, from the extra `geo`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables.geojson import read_polygons

__all__ = ["area_of_points", "bordering_pairs", "read_shapes"]


def _shapely() -> Any:
    try:
        import shapely
    except ImportError:
        raise SaeSpecError(
            "Polygons need the library shapely, which is not installed.", hint='Install "sae[geo]".'
        ) from None
    return shapely


def read_shapes(
    geometry: Any, key: str | None, areas: Collection[str] = ()
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the codes of areas and their shapes, as shapely has them, in the order of the geometry.

    Parameters
    ----------
    geometry : str, Path, mapping or GeoDataFrame
        See `sae.tables.geojson.read_polygons`.
    key : str or None
        The property that holds the code of the area; without it the one that holds all `areas`.
    areas : collection of str

    Raises
    ------
    SaeInputError
        If the geometry cannot be read or polygons are not valid; names the areas.
    SaeSpecError
        If shapely is not installed, or there are neither key nor areas.
    """
    shapely = _shapely()
    if key is None and not areas:
        raise SaeSpecError("The property with the codes of the polygons is not named.", hint='key="NUTS_ID".')
    polygons = read_polygons(geometry, key, codes=areas)
    empty = [code for code, polygon in polygons.items() if not polygon]
    if empty:
        raise SaeInputError(f"{len(empty)} areas have no geometry: {name_some(empty)}.", areas=empty)
    shapes = np.array([_shape(shapely, code, polygon) for code, polygon in polygons.items()], dtype=object)
    codes = tuple(polygons)
    crossed = [code for code, valid in zip(codes, shapely.is_valid(shapes), strict=True) if not valid]
    if crossed:
        raise SaeInputError(
            f"The borders of {len(crossed)} areas cross themselves: {name_some(crossed)}.",
            hint="Mend them with shapely.make_valid.",
            areas=crossed,
        )
    return codes, shapes


def _shape(shapely: Any, code: str, polygon: Mapping[str, Any]) -> Any:
    from shapely.geometry import shape

    try:
        return shapely.force_2d(shape(polygon))
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, shapely.errors.ShapelyError):
        raise SaeInputError(f"The coordinates of the area {code} are no polygon.", areas=[code]) from None


def bordering_pairs(codes: tuple[str, ...], shapes: np.ndarray) -> np.ndarray:
    """Return the pairs of areas whose common border has a length, shape (n_pairs, 2), each once, sorted.

    Areas that meet in a point are no pair.

    Raises
    ------
    SaeInputError
        If areas lie on each other without a common border, or no two of several have one: their borders were
        not drawn together, and neighbours would be missed; names the areas.
    """
    shapely = _shapely()
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    a, b = a[a < b], b[a < b]
    borders = shapely.boundary(shapes)
    length = shapely.length(shapely.intersection(borders[a], borders[b]))
    odd = np.flatnonzero(length == 0)
    odd = odd[~shapely.touches(shapes[a[odd]], shapes[b[odd]])]
    if len(odd):
        shown = [f"{codes[i]}–{codes[j]}" for i, j in zip(a[odd], b[odd], strict=True)]
        raise SaeInputError(
            f"{len(odd)} pairs of areas overlap without a common border: {name_some(shown)}.",
            hint="Borders must be drawn once for both sides: take a map whose areas fit together.",
            areas=dict.fromkeys(codes[i] for i in (*a[odd], *b[odd])),
        )
    common = length > 0
    if len(codes) > 1 and not common.any():
        raise SaeInputError(
            f"None of the {len(codes)} areas has a border with another.",
            hint="If they are no islands, take a map whose areas fit together, at a finer scale.",
        )
    pairs = np.column_stack([a[common], b[common]])
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def area_of_points(codes: tuple[str, ...], shapes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the position of the area that holds each point, -1 where none does.

    Parameters
    ----------
    codes, shapes
        See `read_shapes`.
    points : ndarray of float, shape (n, 2)
        In the coordinates of the shapes. A point on a border belongs to the first area that it touches.

    Raises
    ------
    SaeInputError
        If points lie inside several areas; these are named.
    """
    shapely = _shapely()
    tree, dots = shapely.STRtree(shapes), shapely.points(points)
    point, area = tree.query(dots, predicate="within")
    counts = np.bincount(point, minlength=len(points))
    if (counts > 1).any():
        names = [codes[k] for k in np.unique(area[counts[point] > 1])]
        raise SaeInputError(
            f"Areas overlap, and {int((counts > 1).sum())} points lie in several: {name_some(names)}.",
            hint="Take a map whose areas fit together.",
            areas=names,
        )
    place = np.full(len(points), -1)
    place[point] = area
    free = np.flatnonzero(place < 0)
    point, area = tree.query(dots[free], predicate="intersects")
    first = np.full(len(free), len(shapes))
    np.minimum.at(first, point, area)
    place[free] = np.where(first < len(shapes), first, -1)
    return place
