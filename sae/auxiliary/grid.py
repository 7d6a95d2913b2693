"""Cells of the European grid: their codes, those of a raster, and which areas they lie in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

from sae.auxiliary.polygons import area_of_points, read_shapes
from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import labels
from sae.tables.geojson import geojson_of

__all__ = ["cell_shares", "grid_cells", "raster_cells"]

_LONG = r"CRS3035RES(?P<size>\d+)mN(?P<north>\d+)E(?P<east>\d+)"
_SHORT = r"(?P<size>10*)(?P<unit>k?m)(?:N(?P<north>\d+)E(?P<east>\d+)|E(?P<east2>\d+)N(?P<north2>\d+))"
_COVERED = 1e-6  # of a cell, by which areas may overlap


@answered
def grid_cells(codes: pd.Series | Iterable[object]) -> pd.DataFrame:
    """Read the codes of cells of the European grid (ETRS89-LAEA, EPSG:3035).

    Parameters
    ----------
    codes : Series or iterable
        ``CRS3035RES1000mN2689000E4337000``, in metres, or ``1kmN2689E4337`` and ``100mN26890E43370``, in
        units of the cell (also with E before N).

    Returns
    -------
    DataFrame
        One row per code, in their order: code, size (metres), east and north (metres, the corner in the
        south-west).

    Raises
    ------
    SaeInputError
        If codes are of no such form, repeated, or of cells of several sizes; they are named.

    Examples
    --------
    >>> sae.auxiliary.grid_cells(["1kmN2689E4337", "CRS3035RES1000mN2690000E4337000"])
                                  code  size     east    north
    0                    1kmN2689E4337  1000  4337000  2689000
    1  CRS3035RES1000mN2690000E4337000  1000  4337000  2690000
    """
    texts = labels(codes if isinstance(codes, pd.Series) else pd.Series(list(codes), dtype="object"))
    texts = texts.reset_index(drop=True).astype("object")
    long, short = texts.str.extract(f"^{_LONG}$"), texts.str.extract(f"^{_SHORT}$")
    known = long["size"].notna() | short["size"].notna()
    odd = texts[~known].unique()
    if len(odd):
        raise SaeInputError(
            f"{len(odd)} of {len(texts)} codes are of no grid cell: {name_some(odd)}.",
            hint="Expected 1kmN2689E4337 or CRS3035RES1000mN2689000E4337000.",
            areas=odd,
        )
    size = pd.to_numeric(short["size"]) * short["unit"].map({"m": 1, "km": 1000})
    frame = pd.DataFrame({"code": texts, "size": pd.to_numeric(long["size"]).fillna(size).astype(np.int64)})
    for side in ("east", "north"):
        units = pd.to_numeric(short[side].fillna(short[f"{side}2"])) * size
        frame[side] = pd.to_numeric(long[side]).fillna(units).astype(np.int64)
    return _one_grid(frame)


def _one_grid(frame: pd.DataFrame) -> pd.DataFrame:
    sizes = frame.groupby("size", sort=True)["code"].first()
    if len(sizes) > 1:
        shown = [f"{code} ({size} m)" for size, code in sizes.items()]
        raise SaeInputError(
            f"The cells are of {len(sizes)} sizes: {name_some(shown)}.", hint="Read one at a time."
        )
    off = frame.loc[(frame["east"] % frame["size"] != 0) | (frame["north"] % frame["size"] != 0), "code"]
    if len(off):
        raise SaeInputError(f"{len(off)} cells do not lie on their grid: {name_some(off)}.", areas=off)
    twice = frame.loc[frame.duplicated(["east", "north"]), "code"]
    if len(twice):
        raise SaeInputError(f"{len(twice)} cells stand more than once: {name_some(twice)}.", areas=twice)
    return frame


@answered
def raster_cells(values: np.ndarray, *, west: int, north: int, size: int) -> pd.DataFrame:
    """Return the cells of a raster with their values, as a table for `cell_shares` and `crosswalk`.

    Parameters
    ----------
    values : ndarray, shape (rows, columns)
        Counts in EPSG:3035, the first row in the north. Missing values (nan, or masked) and 0 give no cell.
    west, north : int
        Metres: the corner of the raster in the north-west.
    size : int
        Metres: of a cell.

    Returns
    -------
    DataFrame
        cell, value.

    Raises
    ------
    SaeInputError
        If the array is no raster of the European grid, or holds negative values, such as a code for no data.

    Examples
    --------
    >>> sae.auxiliary.raster_cells(np.array([[5, 0], [0, 7]]), west=4337000, north=2691000, size=1000)
                                  cell  value
    0  CRS3035RES1000mN2690000E4337000      5
    1  CRS3035RES1000mN2689000E4338000      7
    """
    values = np.ma.filled(np.ma.asarray(values), 0)
    if values.ndim != 2 or size <= 0 or west % size or north % size:
        raise SaeInputError(
            f"An array of shape {values.shape} from {west} east and {north} north in cells of {size} m is no "
            "raster of the European grid.",
            hint="Give a table of rows and columns whose corner is a multiple of the size.",
        )
    negative = values[(values < 0) | np.isinf(values)]
    if negative.size:
        raise SaeInputError(
            f"{negative.size} cells of the raster hold no count, such as {negative.flat[0]:g}.",
            hint="Make what stands for no data missing (nan or masked).",
        )
    row, column = np.nonzero(np.nan_to_num(values) > 0)
    south, east = north - (row + 1) * size, west + column * size
    codes = [f"CRS3035RES{size}mN{n}E{e}" for n, e in zip(south, east, strict=True)]
    return pd.DataFrame({"cell": codes, "value": values[row, column]})


@answered
def cell_shares(
    cells: pd.Series | Iterable[object],
    geometry: Any,
    *,
    key: str,
    method: Literal["centroid", "area"] = "centroid",
) -> pd.DataFrame:
    """Return which areas the cells of a grid lie in, as a table of shares for `crosswalk`.

    Parameters
    ----------
    cells : Series or iterable
        Codes of cells, each once: see `grid_cells`.
    geometry : str, Path, mapping or GeoDataFrame
        GeoJSON of the areas in the coordinates of the grid (EPSG:3035, as GISCO's files with 3035 in their
        names), a file of it or a GeoDataFrame. Needs shapely, of the extra `geo`.
    key : str
        Property of the geometry with the code of the area.
    method : {"centroid", "area"}
        A cell belongs to the area that its centre lies in, or to all that it touches, by the parts of its
        surface (of what lies in any: a cell on the coast is all on land). "area" needs exactextract, of the
        extra `geo`.

    Returns
    -------
    DataFrame
        cell, the code under the name of `key`, share. A cell in no area has an empty code: `crosswalk` names
        these cells, or takes them together in a row of their own (``rest=``).

    Raises
    ------
    SaeInputError
        If codes or polygons cannot be read, polygons are in other coordinates or overlap, or no cell lies in
        any of them.
    """
    if method not in ("centroid", "area"):
        raise SaeSpecError(f"method={method!r}.", hint='Use "centroid" or "area".')
    grid = grid_cells(cells)
    coordinates = getattr(geometry, "crs", None)
    geometry = geojson_of(geometry)
    codes, shapes = read_shapes(geometry, key)
    _check_projection(_stated(geometry) if coordinates is None else coordinates.to_epsg(), shapes)
    links = (_by_centre if method == "centroid" else _by_surface)(grid, codes, shapes)
    if links["area"].eq("").all():
        raise SaeInputError(
            f"None of the {len(grid)} cells lies in one of the {len(codes)} areas.",
            hint="Check that the polygons are in EPSG:3035 and of the same country.",
        )
    return links.rename(columns={"area": key})


def _stated(geometry: Any) -> int | None:
    """Return the EPSG code that GeoJSON states in its member "crs", as the files of GISCO do."""
    crs = geometry.get("crs") if isinstance(geometry, Mapping) else None
    name = crs.get("properties", {}).get("name") if isinstance(crs, Mapping) else None
    code = re.search(r"EPSG:.*?(\d+)$", str(name))
    return int(code[1]) if code else None


def _check_projection(code: int | None, shapes: np.ndarray) -> None:
    degrees = all(max(map(abs, shape.bounds)) <= 361 for shape in shapes)
    if degrees or code not in (None, 3035):
        what = "degrees" if degrees else f"EPSG:{code}"
        raise SaeInputError(
            f"The polygons are in {what}, the cells of the grid in EPSG:3035.",
            hint="Take the file for 3035, or GeoDataFrame.to_crs(3035).",
        )


def _by_centre(grid: pd.DataFrame, codes: tuple[str, ...], shapes: np.ndarray) -> pd.DataFrame:
    centres = grid[["east", "north"]].to_numpy(dtype=float) + grid[["size"]].to_numpy() / 2
    place = area_of_points(codes, shapes, centres)
    area = np.array([*codes, ""], dtype=object)[place]
    return pd.DataFrame({"cell": grid["code"], "area": area, "share": 1.0})


def _by_surface(grid: pd.DataFrame, codes: tuple[str, ...], shapes: np.ndarray) -> pd.DataFrame:
    try:
        from exactextract import exact_extract
        from exactextract.raster import NumPyRasterSource
    except ImportError:
        raise SaeSpecError(
            "Surfaces of cells need the library exactextract, which is not installed.",
            hint='Install "sae[geo]".',
        ) from None
    size = int(grid["size"].iloc[0])
    west, south = int(grid["east"].min()), int(grid["north"].min())
    columns = (int(grid["east"].max()) - west) // size + 1
    rows = (int(grid["north"].max()) - south) // size + 1
    frame = NumPyRasterSource(  # no memory: every cell is the same 0
        np.broadcast_to(np.zeros(1), (rows, columns)),
        xmin=west,
        ymin=south,
        xmax=west + columns * size,
        ymax=south + rows * size,
    )
    number = (rows - 1 - (grid["north"] - south) // size) * columns + (grid["east"] - west) // size
    place = pd.Series(np.arange(len(grid)), index=number.to_numpy())
    parts = []
    for code, shape in zip(codes, shapes, strict=True):
        feature = {"type": "Feature", "id": code, "properties": {}, "geometry": shape.__geo_interface__}
        covered_cells = exact_extract(frame, [feature], ["cell_id", "coverage"])[0]["properties"]
        cell = place.reindex(covered_cells["cell_id"]).to_numpy()
        part = pd.DataFrame({"cell": cell, "area": code, "share": covered_cells["coverage"]})
        parts.append(part[part["cell"].notna() & (part["share"] > 0)])
    links = pd.concat(parts, ignore_index=True).astype({"cell": np.int64})
    covered = np.bincount(links["cell"], links["share"], minlength=len(grid))
    over = np.flatnonzero(covered > 1 + _COVERED)
    if len(over):
        areas = links.loc[links["cell"].isin(over), "area"].unique()
        raise SaeInputError(
            f"Areas overlap in {len(over)} cells: {name_some(areas)}.",
            hint="A cell would count twice: take a map whose areas fit together.",
            areas=areas,
        )
    links["share"] /= covered[links["cell"]]
    outside = pd.DataFrame({"cell": np.flatnonzero(covered == 0), "area": "", "share": 1.0})
    links = pd.concat([links, outside], ignore_index=True)
    order = np.argsort(links["cell"].to_numpy(), kind="stable")
    links["cell"] = grid["code"].to_numpy()[links["cell"]]
    return links.iloc[order].reset_index(drop=True)
