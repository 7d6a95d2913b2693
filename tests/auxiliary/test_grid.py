"""Cells of the European grid: codes, and areas by centre and by surface. All cells and areas are fixtures."""

import json
import sys

import numpy as np
import pandas as pd
import pytest

from sae.auxiliary import cell_shares, crosswalk, grid_cells, raster_cells
from sae.errors import SaeInputError, SaeSpecError

SURFACE = 1e-6  # of a cell: exactextract stores parts of cells in single precision


def polygon(*points):
    ring = [list(point) for point in (*points, points[0])]
    return {"type": "Polygon", "coordinates": [ring]}


def collection(**areas):
    features = [
        {"type": "Feature", "properties": {"id": code}, "geometry": shape} for code, shape in areas.items()
    ]
    return {"type": "FeatureCollection", "features": features}


# two areas in the 4 × 3 cells of 1 km from (4000000, 2000000): a slanted border, and a strip that is in none
AREAS = collection(
    W=polygon((4000000, 2000000), (4001250, 2000000), (4002250, 2003000), (4000000, 2003000)),
    E=polygon((4001250, 2000000), (4003500, 2000000), (4003500, 2003000), (4002250, 2003000)),
)
CELLS = [f"1kmN{2000 + n}E{4000 + e}" for n in range(3) for e in range(4)]


@pytest.mark.parametrize(
    ("code", "size", "east", "north"),
    [
        ("1kmN2689E4337", 1000, 4337000, 2689000),
        ("1kmE4337N2689", 1000, 4337000, 2689000),
        ("100mN26890E43370", 100, 4337000, 2689000),
        ("10kmN268E433", 10000, 4330000, 2680000),
        ("CRS3035RES1000mN2689000E4337000", 1000, 4337000, 2689000),
        ("CRS3035RES200mN2689200E4337400", 200, 4337400, 2689200),
    ],
)
def test_codes_give_size_and_corner(code, size, east, north):
    assert grid_cells([code]).iloc[0].tolist() == [code, size, east, north]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (
            ["1kmN2689E4337", "N2689E4337", "CRS4326RES1000mN1E1"],
            "2 of 3 codes are of no grid cell: N2689E4337, CRS4",
        ),
        (["1kmN2689E4337", "100mN26890E43370"], "cells are of 2 sizes: 100mN26890E43370 \\(100 m\\), 1km"),
        (["CRS3035RES1000mN2689500E4337000"], "1 cells do not lie on their grid"),
        (["1kmN2689E4337", "1kmE4337N2689"], "1 cells stand more than once: 1kmE4337N2689"),
        (["250mN1E1"], "of no grid cell"),  # in which unit is not agreed on
    ],
)
def test_codes_that_are_no_grid_are_refused_by_name(codes, message):
    with pytest.raises(SaeInputError, match=message):
        grid_cells(codes)


def test_a_cell_belongs_to_the_area_of_its_centre():
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    shares = cell_shares(CELLS, AREAS, key="id")
    # centres: the border lies at 1.417, 1.75 and 2.083 km in the middle of the three rows; E ends at 3.5 km
    assert shares["id"].tolist() == [*"WEEE", *"WWEE", *"WWEE"]
    assert (shares["share"] == 1).all()
    inside = collection(W=AREAS["features"][0]["geometry"])
    shares = cell_shares(CELLS, inside, key="id")
    assert shares["id"].tolist() == ["W", *[""] * 3, *["W", "W", "", ""] * 2]
    table = pd.DataFrame({"cell": CELLS, "persons": range(12)})
    with pytest.raises(SaeInputError, match="7 areas go to no new area: 1kmN2000E4001"):
        crosswalk(table, by="cell", shares=shares, counts=["persons"])
    out = crosswalk(table, by="cell", shares=shares, counts=["persons"], rest="none")
    assert out.to_dict("list") == {"id": ["W", "none"], "persons": [0 + 4 + 5 + 8 + 9, 66 - 26]}
    assert out["persons"].dtype == np.int64


def test_a_cell_is_shared_by_its_surface_against_shapely():
    shapely = pytest.importorskip("shapely", reason="the extra geo is not installed")
    pytest.importorskip("exactextract", reason="the extra geo is not installed")
    shares = cell_shares(CELLS, AREAS, key="id", method="area")
    for cell, part in shares.groupby("cell"):
        corner = grid_cells([cell]).iloc[0]
        box = shapely.box(corner["east"], corner["north"], corner["east"] + 1000, corner["north"] + 1000)
        surface = {
            feature["properties"]["id"]: box.intersection(shapely.geometry.shape(feature["geometry"])).area
            for feature in AREAS["features"]
        }
        expected = {code: size / sum(surface.values()) for code, size in surface.items() if size > 0}
        assert dict(zip(part["id"], part["share"], strict=True)) == pytest.approx(expected, abs=SURFACE)
    table = pd.DataFrame({"cell": CELLS, "persons": [7, 0, 3, 11, 20, 5, 8, 2, 9, 1, 4, 6]})
    out = crosswalk(table, by="cell", shares=shares, counts=["persons"])
    assert out["persons"].sum() == pytest.approx(76, rel=1e-12)
    whole = crosswalk(table, by="cell", shares=shares, counts=["persons"], whole=True)
    assert whole["persons"].sum() == 76 and whole["persons"].dtype == np.int64


def test_a_cell_that_touches_no_area_is_in_none():
    pytest.importorskip("exactextract", reason="the extra geo is not installed")
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    shares = cell_shares([*CELLS, "1kmN2000E4009"], AREAS, key="id", method="area")
    assert shares.loc[shares["id"].eq(""), "cell"].tolist() == ["1kmN2000E4009"]
    assert shares.groupby("cell")["share"].sum().tolist() == pytest.approx([1.0] * 13)


def test_wrong_polygons_are_refused():
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    degrees = collection(A=polygon((9, 50), (10, 50), (10, 51), (9, 51)))
    with pytest.raises(SaeInputError, match="polygons are in degrees, the cells of the grid in EPSG:3035"):
        cell_shares(CELLS, degrees, key="id")
    # a centre on a border belongs to the first area
    halves = collection(
        A=polygon((4000000, 2000000), (4000500, 2000000), (4000500, 2001000), (4000000, 2001000)),
        B=polygon((4000500, 2000000), (4001000, 2000000), (4001000, 2001000), (4000500, 2001000)),
    )
    assert cell_shares(CELLS[:1], halves, key="id")["id"].tolist() == ["A"]
    far = collection(A=polygon((5000000, 50), (5000010, 50), (5000010, 51)))
    with pytest.raises(SaeInputError, match="None of the 12 cells lies in one of the 1 areas"):
        cell_shares(CELLS, far, key="id")
    with pytest.raises(SaeSpecError, match='Use "centroid" or "area"'):
        cell_shares(CELLS, AREAS, key="id", method="nearest")


def test_overlapping_areas_are_refused():
    pytest.importorskip("exactextract", reason="the extra geo is not installed")
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    twice = collection(A=AREAS["features"][0]["geometry"], B=AREAS["features"][0]["geometry"])
    with pytest.raises(SaeInputError, match="Areas overlap in 5 cells: A, B"):
        cell_shares(CELLS, twice, key="id", method="area")
    with pytest.raises(SaeInputError, match="Areas overlap, and 5 points lie in several: A, B"):
        cell_shares(CELLS, twice, key="id")


def test_without_exactextract_surfaces_are_a_named_error(monkeypatch):
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    monkeypatch.setitem(sys.modules, "exactextract", None)
    with pytest.raises(SaeSpecError, match=r'exactextract, which is not installed.\nInstall "sae\[geo\]"'):
        cell_shares(CELLS, AREAS, key="id", method="area")


def test_a_raster_becomes_cells_with_the_same_total():
    values = np.array([[5.0, np.nan, 0.0], [0.5, 2.0, 3.0]])
    cells = raster_cells(values, west=4000000, north=2002000, size=1000)
    assert cells["value"].sum() == np.nansum(values)
    grid = grid_cells(cells["cell"])
    assert grid["east"].tolist() == [4000000, 4000000, 4001000, 4002000]
    assert grid["north"].tolist() == [2001000, 2000000, 2000000, 2000000]
    masked = np.ma.masked_equal([[5, -200], [1, 2]], -200)
    assert raster_cells(masked, west=0, north=200, size=100)["value"].tolist() == [5, 1, 2]
    with pytest.raises(SaeInputError, match="1 cells of the raster hold no count, such as -200"):
        raster_cells(masked.data, west=0, north=200, size=100)
    with pytest.raises(SaeInputError, match="no raster of the European grid"):
        raster_cells(values, west=4000000, north=2002500, size=1000)


def test_empty_cells_of_a_grid_may_be_said_to_count_nothing():
    shares = pd.DataFrame({"cell": CELLS, "id": [*"WEEE"] * 3})
    table = pd.DataFrame({"cell": CELLS[:2], "persons": [3, 4]})
    with pytest.raises(SaeInputError, match=r"2 new areas lack some of the areas"):
        crosswalk(table, by="cell", shares=shares, counts=["persons"])
    out = crosswalk(table, by="cell", shares=shares, counts=["persons"], absent="zero")
    assert out.to_dict("list") == {"id": ["W", "E"], "persons": [3, 4]}


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:EPSG::3034", "EPSG:3034"])
def test_coordinates_that_geojson_states_are_looked_at(tmp_path, name):
    """EPSG:3034 overlaps the grid, some hundred kilometres off."""
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    stated = {**AREAS, "crs": {"type": "name", "properties": {"name": name}}}
    file = tmp_path / "areas.geojson"
    file.write_text(json.dumps(stated), encoding="utf-8")
    for geometry in (stated, file):
        with pytest.raises(SaeInputError, match="polygons are in EPSG:3034"):
            cell_shares(CELLS, geometry, key="id")
    right = {**AREAS, "crs": {"type": "name", "properties": {"name": name.replace("3034", "3035")}}}
    assert cell_shares(CELLS, right, key="id").equals(cell_shares(CELLS, AREAS, key="id"))
