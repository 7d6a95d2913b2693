"""Borders of areas from a GeoJSON file as matplotlib paths, in an equal-area projection."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sae.errors import SaeInputError
from sae.tables.geojson import read_polygons

if TYPE_CHECKING:
    from matplotlib.path import Path

__all__ = ["middle", "read_rings", "to_paths"]

Rings = list[tuple[np.ndarray, bool]]  # coordinates, shape (n, 2), and whether the ring is a hole


def read_rings(geometry: Any, key: str | None, codes: Collection[str] = ()) -> dict[str, Rings]:
    """Return the rings of every area that has some, by its code; see `read_polygons`."""
    polygons = read_polygons(geometry, key, codes=codes)
    return {code: _rings(shape, code) for code, shape in polygons.items() if shape}


def _rings(shape: Mapping[str, Any], code: str) -> Rings:
    coordinates = shape.get("coordinates", [])
    polygons = [coordinates] if shape["type"] == "Polygon" else coordinates
    try:
        rings = [
            (np.array([point[:2] for point in ring], dtype=float), hole > 0)
            for polygon in polygons
            for hole, ring in enumerate(polygon)
        ]
    except (TypeError, ValueError):
        rings = []
    if not rings or not all(
        ring.ndim == 2 and len(ring) > 2 and np.isfinite(ring).all() for ring, _ in rings
    ):
        raise SaeInputError(f"The coordinates of the area {code} are no polygon.", areas=[code])
    return [(_closed(ring), hole) for ring, hole in rings]


def _closed(ring: np.ndarray) -> np.ndarray:
    """Return a ring that ends where it begins: matplotlib draws no last point of a closed path."""
    return ring if (ring[0] == ring[-1]).all() else np.vstack([ring, ring[:1]])


def to_paths(areas: Mapping[str, Rings], wanted: list[str]) -> tuple[dict[str, Path], np.ndarray, list[str]]:
    """Project the areas and choose a frame around the wanted ones.

    Longitudes and latitudes are projected by Lambert's equal-area projection around the median of the wanted
    areas; other coordinates stay. Areas far from all others, such as overseas regions, are left outside.

    Parameters
    ----------
    areas : mapping of code to rings
    wanted : list of str

    Returns
    -------
    paths : dict of code to Path
    frame : ndarray, shape (2, 2)
        Lower left and upper right corner.
    outside : list of str
        Wanted areas outside the frame.
    """
    from matplotlib.path import Path

    centres = np.array([_centre(areas[code]) for code in wanted])
    degrees = all(np.abs(ring).max() <= 361 for rings in areas.values() for ring, _ in rings)
    origin = np.median(centres, axis=0)

    def project(points: np.ndarray) -> np.ndarray:
        return _lambert(points, origin) if degrees else points

    paths = {}
    for code, rings in areas.items():
        # outlines run one way and holes the other, so that holes stay empty
        parts = [ring if (_area(ring) > 0) != hole else ring[::-1] for ring, hole in rings]
        paths[code] = Path.make_compound_path(*(Path(project(part), closed=True) for part in parts))
    places = project(centres)
    quarters = np.percentile(places, [25, 75], axis=0)
    reach = 2.0 * max(np.max(quarters[1] - quarters[0]), 1e-9)
    inside = ((places >= quarters[0] - reach) & (places <= quarters[1] + reach)).all(axis=1)
    boxes = [
        paths[code].get_extents().get_points() for code, near in zip(wanted, inside, strict=True) if near
    ]
    frame = np.array([np.min(boxes, axis=0)[0], np.max(boxes, axis=0)[1]])
    return paths, frame, [code for code, near in zip(wanted, inside, strict=True) if not near]


def middle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return a point in the middle of the largest part of an area, and how wide and high that is there."""
    parts = [np.asarray(part, dtype=float) for part in path.to_polygons(closed_only=True)]
    ring = max(parts, key=lambda part: abs(_area(part)))
    centre = 0.5 * (ring.min(axis=0) + ring.max(axis=0))
    return centre, np.array([_span(ring, centre[1], 1), _span(ring, centre[0], 0)])


def _span(ring: np.ndarray, at: float, axis: int) -> float:
    """Return how long the piece of a line through the middle of a ring is that lies inside it."""
    along, across = ring[:, 1 - axis], ring[:, axis]
    after = np.roll(across, -1)
    crossed = np.flatnonzero((across <= at) != (after <= at))
    slope = (at - across[crossed]) / (after[crossed] - across[crossed])
    cuts = np.sort(along[crossed] + slope * (np.roll(along, -1)[crossed] - along[crossed]))
    middle_of = 0.5 * (along.min() + along.max())
    for low, high in zip(cuts[::2], cuts[1::2], strict=False):
        if low <= middle_of <= high:
            return float(2 * min(middle_of - low, high - middle_of))
    return 0.0


def _area(ring: np.ndarray) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _centre(rings: Rings) -> np.ndarray:
    """Middle of the box around the largest part."""
    ring = max((ring for ring, hole in rings if not hole), key=lambda ring: abs(_area(ring)))
    return 0.5 * (ring.min(axis=0) + ring.max(axis=0))


def _lambert(points: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Azimuthal equal-area projection of degrees on a sphere of radius 1; Snyder (1987), eq. 24-2 to 24-4."""
    away, height = np.radians(points[:, 0] - origin[0]), np.radians(points[:, 1])
    middle = np.radians(origin[1])
    cosine = np.sin(middle) * np.sin(height) + np.cos(middle) * np.cos(height) * np.cos(away)
    k = np.sqrt(2.0 / np.maximum(1.0 + cosine, 1e-9))
    x = k * np.cos(height) * np.sin(away)
    y = k * (np.cos(middle) * np.sin(height) - np.sin(middle) * np.cos(height) * np.cos(away))
    return np.column_stack([x, y])
