"""Residual, Q–Q and map charts: what they draw, by the numbers in their artists."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy.stats import beta, norm

from sae.errors import SaeInputError, SaeSpecError
from sae.plots import area_map, influence, profile, qq, residuals, save
from sae.plots.geometry import read_rings, to_paths


def frame(n=40, **columns):
    rng = np.random.default_rng(3)
    leverage = rng.uniform(0.02, 0.1, n)
    leverage[0] = 0.6
    values = {
        "domain": [f"Area {row}" for row in range(n)],
        "fitted": rng.uniform(1, 2, n),
        "standardised": rng.normal(size=n),
        "leverage": leverage,
        "random_effect": rng.normal(3, 2, n),
    }
    return pd.DataFrame({**values, **columns})


def points(axes, count):
    return [np.asarray(c.get_offsets()) for c in axes.collections if len(c.get_offsets()) == count]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_residuals_against_fitted_and_leverage():
    data = frame()
    data.loc[7, "standardised"] = 4.0
    left, right = residuals(data).axes
    assert np.allclose(points(left, 40)[0], data[["fitted", "standardised"]])
    assert np.allclose(points(right, 40)[0], data[["leverage", "standardised"]])
    assert "Area 7" in texts(left) and "Area 7" in texts(right)


def test_lines_of_cook_are_where_it_has_their_value():
    data = frame(standardised=np.linspace(-3, 3, 40))
    right = residuals(data).axes[1]
    lines = {line.get_label(): line for line in right.lines if "Cook" in str(line.get_label())}
    p = data["leverage"].sum()
    for level in (0.5, 1.0):
        x, y = lines[f"Cook's distance {level:g}"].get_data()
        assert np.allclose(y**2 * x / ((1 - x) * p), level)


def test_areas_without_figures_are_left_out_of_residuals():
    data = frame()
    data.loc[3, "standardised"] = np.nan
    assert len(points(residuals(data).axes[0], 39)) == 1


def test_qq_band_is_that_of_order_statistics():
    data = frame(50, fitted=1.0)
    data.loc[:, "standardised"] = norm.ppf((np.arange(50) + 0.5) / 50)[::-1]
    left, right = qq(data).axes
    drawn = points(left, 50)[0]
    assert np.allclose(drawn[:, 1], np.sort(data["standardised"]))
    assert np.allclose(drawn[:, 0], norm.ppf(beta.median(np.arange(1, 51), np.arange(50, 0, -1))))
    band = left.collections[0].get_paths()[0].vertices
    for rank in (1, 25, 50):
        x = drawn[rank - 1, 0]
        ends = band[np.isclose(band[:, 0], x), 1]
        assert np.isclose(ends.min(), norm.ppf(beta.ppf(0.025, rank, 51 - rank)))
        assert np.isclose(ends.max(), norm.ppf(beta.ppf(0.975, rank, 51 - rank)))
    assert texts(left) == []
    effects = points(right, 50)[0][:, 1]
    assert np.isclose(effects.mean(), 0, atol=1e-12) and np.isclose(effects.std(ddof=1), 1)


def test_qq_names_what_lies_outside_the_band():
    data = frame().drop(columns="random_effect")
    data.loc[:, "standardised"] = norm.ppf((np.arange(40) + 0.5) / 40)
    data.loc[11, "standardised"] = 6.0
    (axes,) = qq(data).axes
    assert texts(axes) == ["Area 11"]


def square(x, y, size=1.0, hole=False):
    ring = [[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]]
    if not hole:
        return [ring]
    inner = [[a * 0.5 + (x + size / 2) * 0.5, b * 0.5 + (y + size / 2) * 0.5] for a, b in ring]
    return [ring, inner]  # both the same way round, which GeoJSON forbids and files do


def collection(**polygons):
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {"id": code, "name": code.lower()},
                "geometry": {"type": "Polygon", "coordinates": rings},
            }
            for code, rings in polygons.items()
        ],
    }


GRID = collection(**{f"A{x}{y}": square(x, y) for x in range(4) for y in range(3)})


def table(**columns):
    codes = [f"A{x}{y}" for x in range(4) for y in range(3)]
    values = {
        "domain": codes,
        "geo": codes,
        "indicator": "rate",
        "unit": "share",
        "estimate": np.linspace(0.2, 0.8, 12),
        "se": np.linspace(0.01, 0.1, 12),
        "cv": np.linspace(0.05, 0.3, 12),
    }
    return pd.DataFrame({**values, **columns})


def filled(axes):
    """The collection with values, as {middle of the area: value}."""
    (shapes,) = [c for c in axes.collections if c.get_array() is not None]
    middles = [tuple(path.get_extents().get_points().mean(axis=0).round(6)) for path in shapes.get_paths()]
    return dict(zip(middles, np.asarray(shapes.get_array()), strict=True))


def test_map_draws_every_value_at_its_place_whatever_the_order():
    data = table()
    drawn = [filled(axes) for axes in area_map(data, GRID, key="id").axes[:2]]
    shuffled = [
        filled(axes) for axes in area_map(data.sample(frac=1, random_state=1), GRID, key="id").axes[:2]
    ]
    assert drawn == shuffled
    # east is right and north is up
    places = sorted(drawn[0], key=lambda place: (round(place[0], 2), place[1]))
    assert [drawn[0][place] for place in places] == data["estimate"].tolist()
    assert [drawn[1][place] for place in places] == data["cv"].tolist()


def test_withheld_areas_are_grey_in_both_maps_and_those_without_estimate_light_grey():
    data = table(publishable=np.arange(12) != 5).iloc[:9]
    figure = area_map(data, GRID, key="id", uncertainty="se")
    for axes in figure.axes[:2]:
        assert len(filled(axes)) == 8
        colours = {
            tuple(c.get_facecolor()[0]): len(c.get_paths()) for c in axes.collections if c.get_array() is None
        }
        assert colours[to_rgba("#B4B4B4")] == 1
        assert sum(colours.values()) - 1 <= 3
    words = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert words == ["not for publication", "no estimate"]


def test_estimates_without_a_geometry_are_named_and_the_others_drawn():
    gaps = {
        **GRID,
        "features": [*GRID["features"], {"type": "Feature", "properties": {"id": "N0"}, "geometry": None}],
    }
    data = table().replace({"A00": "B00", "A21": "N0"})
    figure = area_map(data, gaps, key="id")
    assert "Without a geometry: B00, N0." in figure.get_supxlabel()
    for axes in figure.axes[:2]:
        assert len(filled(axes)) == 10
        assert {tuple(c.get_facecolor()[0]) for c in axes.collections if c.get_array() is None} == {
            to_rgba("#E6E6E3")
        }
    words = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert words == ["no estimate"]


def test_labels_of_classes_are_their_limits():
    figure = area_map(table(cv=np.linspace(0.021, 0.183, 12)), GRID, key="id")
    FigureCanvasAgg(figure).draw()
    for bar in figure.axes[2:]:
        labels = [float(text.get_text().rstrip("%")) / 100 for text in bar.get_xticklabels()]
        assert len(labels) >= 3 and np.allclose(labels, bar.get_xticks(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.4])
def test_equal_values_can_be_drawn(value):
    FigureCanvasAgg(area_map(table(estimate=value, cv=0.1), GRID, key="id")).draw()


def test_holes_stay_empty():
    paths, _, _ = to_paths(read_rings(collection(A=square(0, 0, hole=True)), "id"), ["A"])
    winding = [np.sign(_signed(part)) for part in paths["A"].to_polygons()]
    assert sorted(winding) == [-1, 1]
    figure = Figure(figsize=(1, 1), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.add_collection(PathCollection([paths["A"]], facecolor="black"))
    axes.set(xlim=(-0.009, 0.009), ylim=(-0.009, 0.009))
    axes.axis("off")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:, :, 0]
    assert pixels[50, 50] == 255 and pixels[50, 12] == 0  # the hole, and the land beside it


def _signed(ring):
    x, y = ring.T
    return np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)


def test_projection_keeps_areas():
    """A degree square near the pole is as large, in proportion, as on the sphere."""
    rings = read_rings(collection(A=square(10, 0), B=square(12, 30), C=square(14, 60)), "id")
    paths, _, _ = to_paths(rings, ["A", "B", "C"])
    sizes = [abs(_signed(paths[code].to_polygons()[0])) / 2 for code in "ABC"]
    bands = [np.sin(np.radians(low + 1)) - np.sin(np.radians(low)) for low in (0, 30, 60)]
    # sides are straight between corners, which on one degree costs 1e-4
    assert np.allclose(np.array(sizes) / sizes[0], np.array(bands) / bands[0], rtol=1e-3)


def test_overseas_areas_are_left_outside_and_named():
    far = collection(**{f"A{x}{y}": square(x, y) for x in range(4) for y in range(3)}, FAR=square(-60, 5))
    data = pd.concat([table(), table().iloc[:1].assign(geo="FAR", domain="FAR")])
    figure = area_map(data, far, key="id")
    assert "Outside the frame: FAR." in figure.get_supxlabel()
    width = np.ptp(figure.axes[0].get_xlim())
    assert np.isclose(width, 1.04 * np.radians(4), rtol=0.01)


def test_real_borders(shared_data, tmp_path):
    path = shared_data / "real" / "nuts2_2021_03m.geojson.gz"
    rings = read_rings(path, "NUTS_ID")
    assert len(rings) == 334
    spain = sorted(code for code in rings if code.startswith("ES"))
    data = pd.DataFrame(
        {"domain": spain, "geo": spain, "estimate": 0.5, "cv": np.linspace(0.1, 0.2, len(spain))}
    )
    contents = {
        save(area_map(data, path, key="NUTS_ID"), tmp_path / f"{run}.png", dpi=40).read_bytes()
        for run in "12"
    }
    assert len(contents) == 1
    plain = tmp_path / "plain.geojson"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    assert read_rings(plain, "NUTS_ID").keys() == rings.keys()


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda: residuals(frame().drop(columns="leverage")), SaeInputError, "no column 'leverage'"),
        (lambda: residuals(frame(standardised=np.nan)), SaeInputError, "No area has all"),
        (lambda: qq(frame(2)), SaeInputError, "of 2 areas says nothing"),
        (lambda: area_map(table(), GRID, key="code"), SaeInputError, "no property 'code'"),
        (lambda: area_map(table(geo="A00"), GRID, key="id"), SaeInputError, "A00 stand more than once"),
        (
            lambda: area_map(table(geo=[f"B{k}" for k in range(12)]), GRID, key="id"),
            SaeInputError,
            "None of the 12 areas has a geometry: B0, B1",
        ),
        (lambda: area_map(table(), {"features": []}, key="id"), SaeInputError, "no features"),
        (lambda: area_map(table(), "nowhere.geojson", key="id"), SaeInputError, "no file nowhere.geojson"),
        (lambda: area_map(table(), GRID, key="id", uncertainty="mse"), SaeSpecError, "uncertainty='mse'"),
        (
            lambda: read_rings(
                {"features": [{"properties": {"id": "P"}, "geometry": {"type": "Point"}}]}, "id"
            ),
            SaeInputError,
            "P is a Point",
        ),
        (lambda: read_rings({"features": GRID["features"][:1] * 2}, "id"), SaeInputError, "A00 comes twice"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, kind, match):
    with pytest.raises(kind, match=match):
        call()


def test_broken_geometry_is_named(tmp_path):
    path = tmp_path / "map.geojson"
    path.write_text(json.dumps(GRID)[:-5], encoding="utf-8")
    with pytest.raises(SaeInputError, match=r"map\.geojson is not GeoJSON"):
        read_rings(path, "id")


def test_the_units_of_a_model_have_a_panel_beside_their_areas():
    units = pd.DataFrame({"domain": "A", "standardised": np.random.default_rng(1).normal(size=150)})
    chart = qq(frame().drop(columns="random_effect"), units=units)
    areas, own = chart.axes
    assert np.allclose(points(own, 150)[0][:, 1], np.sort(units["standardised"]))
    assert "of areas" in areas.get_ylabel() and "of units" in own.get_ylabel()


def test_influence_names_the_areas_that_move_most():
    rng = np.random.default_rng(2)
    columns = {name: rng.uniform(0, 0.1, 40) for name in ("cook", "largest_move")}
    data = frame(**columns, deleted_standardised=rng.normal(size=40))
    data.loc[9, "cook"], data.loc[5, "largest_move"] = 0.9, 0.8
    left, right = influence(data).axes
    assert np.allclose(points(left, 40)[0], data[["deleted_standardised", "cook"]])
    assert np.allclose(points(right, 40)[0], data[["deleted_standardised", "largest_move"]])
    assert "Area 9" in texts(left) and "Area 5" in texts(right)


def test_a_profile_is_drawn_from_its_top_and_needs_a_parameter():
    record = {"name": "box-cox", "parameter": 0.25, "grid": [0.0, 0.2, 0.4], "profile": [-9.0, -7.0, -8.5]}
    (axes,) = profile(record).axes
    curve, mark = axes.lines
    assert np.allclose(curve.get_ydata(), [-2.0, 0.0, -1.5]) and np.allclose(mark.get_xdata(), 0.25)
    with pytest.raises(SaeInputError, match="no parameter that was estimated"):
        profile({"name": "log", "shift": 0.0})
