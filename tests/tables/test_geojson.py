"""Polygons by code: what is read, and what is refused by name. The collections are fixtures."""

import gzip
import json

import pytest

from sae.errors import SaeInputError
from sae.tables.geojson import read_polygons

PACKED = gzip.compress(b"{}", mtime=0)  # the same bytes, and so the same name of the test, in every worker
SHAPE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}


def collection(*areas):
    features = [{"type": "Feature", "properties": {"id": code}, "geometry": shape} for code, shape in areas]
    return {"type": "FeatureCollection", "features": features}


def test_codes_are_text_and_areas_without_geometry_stay_known(tmp_path):
    read = read_polygons(collection((7, SHAPE), ("01", None)), "id")
    assert read == {"7": SHAPE, "01": {}}
    packed = tmp_path / "map.geojson.gz"
    packed.write_bytes(gzip.compress(json.dumps(collection((7, SHAPE), ("01", None))).encode()))
    assert read_polygons(packed, "id") == read


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08broken", PACKED[:-9], gzip.compress(b"{", mtime=0)])
def test_damaged_files_are_named(tmp_path, content):
    packed = tmp_path / "map.geojson.gz"
    packed.write_bytes(content)
    with pytest.raises(SaeInputError, match=r"map\.geojson\.gz is not GeoJSON in UTF-8"):
        read_polygons(packed, "id")


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (collection(("A", SHAPE), ("A", SHAPE)), "The area A comes twice"),
        (collection(("A", {"type": "Point", "coordinates": [0, 0]})), "The area A is a Point, not a polygon"),
        (
            {"type": "FeatureCollection", "features": [{"properties": {"no": 1}}]},
            "no property 'id'.\nName .*: no",
        ),
        ({"features": []}, "holds no features"),
        (3, "A geometry of type int cannot be drawn or measured"),
    ],
)
def test_what_is_no_map_is_refused(geometry, message):
    with pytest.raises(SaeInputError, match=message):
        read_polygons(geometry, "id")


def of_properties(*rows):
    features = [{"type": "Feature", "properties": row, "geometry": SHAPE} for row in rows]
    return {"type": "FeatureCollection", "features": features}


def test_the_property_is_told_by_the_areas_that_it_holds():
    named = of_properties({"FID": "A", "no": 1, "NUTS_ID": "A"}, {"FID": "B", "no": 2, "NUTS_ID": "B"})
    assert list(read_polygons(named, None, codes=["B"])) == ["A", "B"]
    assert list(read_polygons(named, None, codes=["2", "1"])) == ["1", "2"]
    with pytest.raises(SaeInputError, match=r"No property .* holds all 2 areas; FID holds 1 and lacks C"):
        read_polygons(named, None, codes=["A", "C"])
    unclear = of_properties({"from": "A", "to": "B"}, {"from": "B", "to": "A"})
    with pytest.raises(SaeInputError, match="The properties from, to of the geometry all hold the areas"):
        read_polygons(unclear, None, codes=["A"])
