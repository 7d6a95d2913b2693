"""Maps: of which kinds of geometry, with names of areas, and what the map or the table lacks is named.

The polygons are fixtures.
"""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sae.errors import SaeInputError
from sae.plots import area_map

CODES = ["01", "02", "03", "04"]


def corners(k):
    return [(k, 0.0), (k + 1, 0.0), (k + 1, 1.0), (k, 1.0)]


def frame(codes=CODES):
    rng = np.random.default_rng(1)
    rows = {"domain": codes, "geo": codes, "estimate": rng.random(len(codes)), "cv": rng.random(len(codes))}
    return pd.DataFrame({**rows, "name": [f"Area {code}" for code in codes]})


def features(codes=CODES):
    return [
        {
            "type": "Feature",
            "properties": {"NUTS_ID": code, "number": k},
            "geometry": {"type": "Polygon", "coordinates": [[*corners(k), corners(k)[0]]]},
        }
        for k, code in enumerate(codes)
    ]


def shapes(chart):
    """Boxes of the drawn areas by their value."""
    (drawn,) = [c for c in chart.axes[0].collections if c.get_array() is not None]
    boxes = [path.get_extents().get_points().ravel().round(3) for path in drawn.get_paths()]
    return {round(float(value), 9): tuple(box) for value, box in zip(drawn.get_array(), boxes, strict=True)}


def geometries(folder):
    geo, shapely = pytest.importorskip("geopandas"), pytest.importorskip("shapely")
    collection = {"type": "FeatureCollection", "features": features()}
    path = folder / "map.geojson"
    path.write_text(json.dumps(collection), encoding="utf-8")
    polygons = [shapely.Polygon(corners(k)) for k in range(4)]
    return [
        *(collection, features(), path, str(path)),
        {code: corners(k) for k, code in enumerate(CODES)},
        {code: np.array(corners(k)) for k, code in enumerate(CODES)},
        dict(zip(CODES, polygons, strict=True)),
        {code: one["geometry"] for code, one in zip(CODES, features(), strict=True)},
        geo.GeoDataFrame({"NUTS_ID": CODES}, geometry=polygons),
        geo.GeoSeries(polygons, index=CODES),
    ]


def test_every_kind_of_geometry_gives_the_same_map_without_naming_the_property(tmp_path):
    first, *others = [shapes(area_map(frame(), one)) for one in geometries(tmp_path)]
    assert len(first) == 4 and all(other == first for other in others)
    lefts = [first[round(value, 9)][0] for value in frame()["estimate"]]
    assert np.all(np.diff(lefts) > 0)  # each area where it lies, not where it stands
    shuffled = dict(reversed(list(geometries(tmp_path)[4].items())))
    assert shapes(area_map(frame(), shuffled)) == first


def test_the_side_that_lacks_an_area_is_named_below():
    chart = area_map(
        frame(["01", "04", "99"]), dict(enumerate_corners()), labels={"99": "Atlantis", "01": "One"}
    )
    below = chart.get_supxlabel()
    assert "Without a geometry: Atlantis." in below and "Without an estimate: 02, 03." in below
    wide = {**dict(enumerate_corners()), **{f"X{k}": corners(k / 9) for k in range(20)}}
    assert (
        "Without an estimate" not in area_map(frame(), wide).get_supxlabel()
    )  # a map of more than the table


def enumerate_corners():
    return ((code, corners(k)) for k, code in enumerate(CODES))


def test_names_are_written_where_there_is_room():
    long = {"01": "One", "02": "Two words", "03": "A name that goes on over many words " * 9}
    chart = area_map(frame(), dict(enumerate_corners()), labels=long)
    FigureCanvasAgg(chart).draw()
    renderer = chart.canvas.get_renderer()
    for axes in chart.axes[:2]:
        assert [" ".join(text.get_text().split()) for text in axes.texts] == ["One", "Two words", "04"]
        for k, text in zip((0, 1, 3), axes.texts, strict=True):
            (left, _), (right, _) = axes.transData.transform([text.get_position()] * 2)
            assert left == right
            extent = text.get_window_extent(renderer)
            assert extent.width < axes.bbox.width / 4, k
    assert not area_map(frame(), dict(enumerate_corners())).axes[0].texts
    assert len(area_map(frame(), features(), labels="name").axes[0].texts) == 4


def test_title_and_legend_do_not_meet():
    table = frame().assign(publishable=[True, False, True, True])
    more = {**dict(enumerate_corners()), "05": corners(2.5)}
    chart = area_map(table, more, title="A long title of a map " * 14)
    FigureCanvasAgg(chart).draw()
    renderer = chart.canvas.get_renderer()
    headline = chart._suptitle.get_window_extent(renderer)
    legend = chart.axes[1].get_legend().get_window_extent(renderer)
    assert not headline.overlaps(legend) and headline.x1 <= chart.bbox.width and legend.x1 <= chart.bbox.width
    assert chart.axes[1].get_legend().get_texts()[0].get_text() == "not for publication"


@pytest.mark.parametrize(
    ("geometry", "match"),
    [
        ([corners(0), corners(1)], "The 2 polygons of a list do not say whose they are"),
        ({"01": 3}, "The polygon of the area 01 is a int of no corners"),
        ({"01": [(0, 0), (1, 1)]}, "The coordinates of the area 01 are no polygon"),
        ({"A": corners(0)}, "None of the 4 areas has a geometry: 01, 02, 03, 04.\n.*the geometry has A"),
        (features(["A", "B"]), "No property of the geometry holds all 4 areas.*lacks 01, 02, 03, 04"),
    ],
)
def test_geometries_that_tell_nothing_of_the_areas_are_refused_by_name(geometry, match):
    with pytest.raises(SaeInputError, match=match):
        area_map(frame(), geometry)
