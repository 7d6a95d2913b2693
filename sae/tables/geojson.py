"""Polygons of areas by their code, from GeoJSON or whatever gives itself as such."""

from __future__ import annotations

import gzip
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sae.errors import SaeInputError, name_some
from sae.tables.labels import label_text

__all__ = ["geojson_of", "read_polygons"]


def read_polygons(
    geometry: Any, key: str | None, *, codes: Collection[str] = ()
) -> dict[str, Mapping[str, Any]]:
    """Return the polygons of every area by its code, as GeoJSON has them; {} where there are none.

    Parameters
    ----------
    geometry : str, Path, mapping, list or GeoDataFrame
        A GeoJSON FeatureCollection of polygons and multipolygons, a file of one (``.gz`` too), a list of
        GeoJSON features, any object that gives itself as a collection by ``__geo_interface__``; or polygons
        by the code of their area, each as GeoJSON, as such an object or as its corners, shape (n, 2).
    key : str or None
        The property that holds the code of the area; without it the one that holds all `codes`. Polygons by
        code have none.
    codes : collection of str
        Areas that the geometry must hold, where there is no `key`.

    Raises
    ------
    SaeInputError
        If the file is missing or no such collection, the property is not there or cannot be told from others,
        a code comes twice, or a geometry is no polygon.
    """
    if isinstance(geometry, Mapping) and not {"type", "features"} & set(geometry):
        geometry, key = _collection(geometry), "code"
    geometry = geojson_of(geometry)
    features: Any = geometry.get("features") if isinstance(geometry, Mapping) else None
    if not features or not isinstance(features, (list, tuple)):
        raise SaeInputError("The geometry holds no features.", hint="Give a GeoJSON FeatureCollection.")
    if not all(isinstance(feature, Mapping) for feature in features):
        raise SaeInputError("A feature of the geometry is no GeoJSON object.")
    key = key or _key_of([_properties(feature) for feature in features], set(codes))
    areas: dict[str, Mapping[str, Any]] = {}
    for feature in features:
        properties = _properties(feature)
        if key not in properties:
            raise SaeInputError(
                f"The areas of the geometry have no property {key!r}.",
                hint=f"Name the one with their codes: {name_some(properties, 12)}.",
            )
        code, shape = label_text(properties[key]), dict(feature.get("geometry") or {})
        kind = shape.get("type")
        if shape and kind not in ("Polygon", "MultiPolygon"):
            raise SaeInputError(f"The area {code} is a {kind}, not a polygon.", areas=[code])
        if code in areas:
            raise SaeInputError(f"The area {code} comes twice in the geometry.", areas=[code])
        areas[code] = shape
    return areas


def geojson_of(geometry: Any) -> Any:
    """Return GeoJSON of what a geometry is given as, read from its file where that is a path.

    Raises
    ------
    SaeInputError
        If it is none of the kinds that `read_polygons` takes, or the file is missing or no GeoJSON.
    """
    geometry = getattr(geometry, "__geo_interface__", geometry)
    if isinstance(geometry, (list, tuple)) and geometry:
        features = [getattr(one, "__geo_interface__", one) for one in geometry]
        if not all(isinstance(one, Mapping) and one.get("type") == "Feature" for one in features):
            raise SaeInputError(
                f"The {len(features)} polygons of a list do not say whose they are.",
                hint="Name them: dict(zip(codes, polygons)), or give GeoJSON features with their properties.",
            )
        return {"type": "FeatureCollection", "features": features}
    if not isinstance(geometry, (str, Path, Mapping)):
        raise SaeInputError(
            f"A geometry of type {type(geometry).__name__} cannot be drawn or measured.",
            hint="Give a GeoJSON FeatureCollection, its path, a GeoDataFrame, or polygons by code.",
        )
    return geometry if isinstance(geometry, Mapping) else _read(Path(geometry))


def _properties(feature: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a feature; of one without any its id, as a GeoSeries gives its index."""
    return feature.get("properties") or ({"id": feature["id"]} if "id" in feature else {})


def _collection(polygons: Mapping[Any, Any]) -> dict[str, Any]:
    """Return polygons by the code of their area as GeoJSON."""
    features = []
    for code, polygon in polygons.items():
        shape = getattr(polygon, "__geo_interface__", polygon)
        if not isinstance(shape, Mapping):
            try:
                corners = [[float(x), float(y)] for x, y in shape]
            except (TypeError, ValueError):
                raise SaeInputError(
                    f"The polygon of the area {code} is a {type(polygon).__name__} of no corners.",
                    hint="Give its corners as pairs of coordinates, GeoJSON, or a polygon of shapely.",
                    areas=[str(code)],
                ) from None
            shape = {"type": "Polygon", "coordinates": [corners]}
        features.append({"type": "Feature", "properties": {"code": code}, "geometry": shape})
    return {"type": "FeatureCollection", "features": features}


def _key_of(properties: list[dict[str, Any]], codes: set[str]) -> str:
    """Return the property that holds all codes."""
    shared = [name for name in properties[0] if all(name in some for some in properties)]
    columns = {
        name: [label_text(some[name]) for some in properties]
        for name in shared
        if all(isinstance(some[name], str | int) for some in properties)
    }
    counts = {name: len(codes & set(column)) for name, column in columns.items()}
    full = [name for name, n in counts.items() if n == len(codes)]
    if not full:
        best = max(counts, key=counts.__getitem__, default="")
        lacking = sorted(codes - set(columns.get(best, [])))
        raise SaeInputError(
            f"No property of the geometry holds all {len(codes)} areas; {best or 'none'} holds "
            f"{counts.get(best, 0)} and lacks {name_some(lacking)}.",
            hint="Check the vintage of the codes, or take a map that holds all areas.",
            areas=lacking,
        )
    if any(columns[name] != columns[full[0]] for name in full):
        raise SaeInputError(
            f"The properties {name_some(full)} of the geometry all hold the areas.", hint="Name one: key=..."
        )
    return full[0]


def _read(file: Path) -> Any:
    if not file.is_file():
        raise SaeInputError(f"There is no file {file}.", hint="Check the path of the geometry.")
    try:
        content = file.read_bytes()
        return json.loads((gzip.decompress(content) if file.suffix == ".gz" else content).decode("utf-8"))
    except (OSError, EOFError, ValueError) as error:
        raise SaeInputError(f"{file.name} is not GeoJSON in UTF-8: {error}.") from error
