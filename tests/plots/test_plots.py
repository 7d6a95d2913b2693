"""Charts: what they draw, by the numbers in their artists; their files, byte by byte."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from sae.errors import SaeInputError
from sae.plots import area_map, caterpillar, compare, save
from sae.tables import EstimateTable


def table(m=12, unsampled=2, **columns):
    rng = np.random.default_rng(4)
    n = rng.integers(5, 300, m)
    n[:unsampled] = 0
    estimate = rng.uniform(0.3, 0.8, m)
    frame = {
        "indicator": "employment_rate",
        "unit": "share",
        "domain": [f"Region {row:03d}" for row in range(m)],
        "n": n,
        "direct": np.where(n > 0, estimate + rng.normal(0, 0.05, m), np.nan),
        "estimate": estimate,
        "ci_low": estimate - 0.1,
        "ci_high": estimate + 0.1,
        "in_sample": n > 0,
        "method": "FH reml",
    }
    return EstimateTable(pd.DataFrame({**frame, **columns}))


def points(axes, count):
    """Offsets of the scatter with `count` points."""
    return [np.asarray(c.get_offsets()) for c in axes.collections if len(c.get_offsets()) == count]


def drawn(figure):
    figure.draw_without_rendering()
    return figure


def test_compare_draws_each_area_once_in_the_right_place():
    frame = table().frame
    scatter, by_size = drawn(compare(table())).axes
    sampled = frame[frame["n"] > 0]
    assert np.allclose(points(scatter, 10)[0], sampled[["direct", "estimate"]].to_numpy(float))
    # second panel: by n, the two without a sample first
    order = frame.sort_values(["n", "domain"], kind="stable")
    direct, model = points(by_size, 10)
    assert np.allclose(direct[:, 1], order["direct"][2:]) and np.allclose(model[:, 1], order["estimate"][2:])
    assert np.allclose(points(by_size, 2)[0][:, 1], order["estimate"][:2])
    labels = [text.get_text() for text in by_size.get_legend().get_texts()]
    assert labels == ["direct", "model", "model, no direct estimate (2)"]


def test_compare_has_equal_axes_with_percentages():
    scatter = drawn(compare(table())).axes[0]
    assert scatter.get_xlim() == scatter.get_ylim()
    assert all(text.get_text().endswith("%") for text in scatter.get_yticklabels())
    euros = drawn(compare(table(unit="EUR", estimate=np.linspace(9000.0, 30000, 12), direct=20000.0))).axes[0]
    assert "20,000" in [text.get_text() for text in euros.get_yticklabels()]


@pytest.mark.parametrize("width", [0.008, 0.05, 0.1, 0.125, 0.6])
def test_percentages_on_the_axis_are_the_values_of_their_ticks(width):
    estimate = np.linspace(0.5, 0.5 + width, 12)
    for axes in drawn(compare(table(estimate=estimate, direct=estimate))).axes:
        labels = [float(text.get_text().rstrip("%")) / 100 for text in axes.get_yticklabels()]
        assert len(labels) >= 3 and np.allclose(labels, axes.get_yticks(), rtol=0, atol=1e-9)


def test_caterpillar_is_in_order_and_names_every_area():
    frame = table().frame.sort_values("estimate")
    axes = drawn(caterpillar(table(), reference=0.55, reference_label="Country")).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == frame["domain"].tolist()
    inside = frame["in_sample"].to_numpy(bool)
    assert np.allclose(points(axes, 10)[0], np.column_stack([frame["estimate"], np.arange(12)])[inside])
    assert "Country" in [text.get_text() for text in axes.texts]


def test_caterpillar_shows_withheld_rows_hollow():
    withheld = np.arange(12) == 5
    axes = caterpillar(table(unsampled=0, publishable=~withheld)).axes[0]
    (markers,) = [c for c in axes.collections if len(c.get_offsets()) == 12 and len(c.get_facecolors()) == 12]
    frame = table(unsampled=0, publishable=~withheld).frame.sort_values("estimate")
    hollow = [tuple(colour) == to_rgba("white") for colour in markers.get_facecolors()]
    assert hollow == (~frame["publishable"]).tolist()
    assert "hollow: not for publication" in [text.get_text() for text in axes.get_legend().get_texts()]


def overlaps(figure, texts):
    renderer = figure.canvas.get_renderer()
    boxes = [Text.get_window_extent(text, renderer) for text in texts]  # the words without their leader lines
    return [(a, b) for k, a in enumerate(boxes) for b in boxes[k + 1 :] if a.overlaps(b)]


@pytest.mark.parametrize("m", [2, 40, 60, 61, 300])
def test_names_never_overlap_and_stay_inside_the_figure(m):
    long = [f"Provincia autonoma di Bolzano / Südtirol {row:03d} / foreign-born" for row in range(m)]
    figure = caterpillar(table(m, 1, domain=long), reference=0.5)
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    texts = axes.get_yticklabels() if m <= 60 else [t for t in axes.texts if "Provincia" in t.get_text()]
    assert len(texts) == (m if m <= 60 else 10)
    assert not overlaps(figure, texts)
    renderer = figure.canvas.get_renderer()
    assert min(text.get_window_extent(renderer).x0 for text in texts) >= 0
    assert axes.get_position().width > 0.4


def test_long_names_keep_their_ends_apart():
    names = [
        f"Région de Bruxelles-Capitale / Brussels Hoofdstedelijk Gewest / {group}"
        for group in ("native", "foreign")
    ]
    axes = caterpillar(table(2, 0, domain=names)).axes[0]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert len(set(labels)) == 2 and all(len(line) <= 46 for label in labels for line in label.split("\n"))
    assert labels[0].replace("\n", " ") in names  # whole, in two lines


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_files_are_the_same_byte_by_byte_in_another_process(tmp_path, ending):
    code = (
        "import sys, pandas as pd\n"
        "from sae.plots import compare, save\n"
        "frame = pd.DataFrame({'domain': ['ä', 'b'], 'n': [1, 2], 'direct': [0.1, 0.3], 'estimate': 0.2})\n"
        "save(compare(frame), sys.argv[1], dpi=60)\n"
    )
    contents = set()
    for run in "12":
        path = tmp_path / f"{run}{ending}"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=120)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_a_notebook_shows_a_chart_that_pyplot_does_not_know():
    assert caterpillar(table())._repr_png_().startswith(b"\x89PNG")


def test_charts_leave_pyplot_alone():
    code = (
        "import sys, pandas as pd, sae.plots\n"
        "assert 'matplotlib' not in sys.modules, 'loaded with the package'\n"
        "frame = pd.DataFrame({'domain': ['a', 'b'], 'n': [1, 2], 'direct': [0.1, 0.3], 'estimate': 0.2,"
        " 'ci_low': 0.1, 'ci_high': 0.4})\n"
        "sae.plots.compare(frame), sae.plots.caterpillar(frame)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("draw", "change", "match"),
    [
        (compare, {"indicator": ["a", "b"] * 6}, r"several indicators \(a, b\)"),
        (compare, {"direct": np.nan}, "no direct estimate"),
        (caterpillar, {"estimate": np.nan}, "no estimate to draw"),
        (caterpillar, {"domain": "A"}, "A stands more than once|A, .* more than once"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, change, match):
    with pytest.raises(SaeInputError, match=match):
        draw(table(**change))


def test_missing_columns_and_unknown_endings_are_named(tmp_path):
    with pytest.raises(SaeInputError, match="no column 'direct', 'n'"):
        compare(pd.DataFrame({"domain": ["A"], "estimate": [0.5]}))
    with pytest.raises(SaeInputError, match=r"no known picture format"):
        save(compare(table()), tmp_path / "chart.gif")


def test_periods_tell_rows_of_one_area_apart():
    frame = table(2, 0, domain="Vienna", time=["2023", "2024"])
    labels = [text.get_text() for text in caterpillar(frame).axes[0].get_yticklabels()]
    assert sorted(labels) == ["Vienna, 2023", "Vienna, 2024"]


def test_dollars_are_no_mathematics():
    names = [f"US$ {row}0 to US$ {row}9" for row in range(12)]
    for figure in (
        caterpillar(table(domain=names), title="a $x$ b", source="$ and $"),
        compare(table(), title="a $x$ b", source="$ and $"),
    ):
        texts = [text for text in drawn(figure).findobj(Text) if "$" in text.get_text()]
        assert len(texts) >= 2
        assert not any(text.get_parse_math() for text in texts)
    labels = {text.get_text() for text in texts}
    assert "a $x$ b" in labels


class Shapes:
    """What a GeoDataFrame offers: itself as GeoJSON."""

    def __init__(self, coordinates):
        geometry = {"type": "Polygon", "coordinates": coordinates}
        features = [{"type": "Feature", "properties": {"id": "A"}, "geometry": geometry}]
        self.__geo_interface__ = {"type": "FeatureCollection", "features": tuple(features)}


def test_maps_take_any_object_that_is_geojson_by_its_interface():
    frame = pd.DataFrame({"domain": ["A"], "geo": ["A"], "estimate": [0.5], "cv": [0.1]})
    shape = (((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 0.0)),)
    assert len(drawn(area_map(frame, Shapes(shape), key="id")).axes) >= 2
    for wrong in ((), (((0.0,), (1.0,)),), ((("a", "b"),) * 4,), (((0.0, np.nan),) * 4,), 7, None):
        with pytest.raises(SaeInputError, match="coordinates of the area A are no polygon"):
            area_map(frame, Shapes(wrong), key="id")
    for wrong in (None, 3, []):
        with pytest.raises(SaeInputError, match="cannot be drawn"):
            area_map(frame, wrong, key="id")
    with pytest.raises(SaeInputError, match="The 1 polygons of a list do not say whose they are"):
        area_map(frame, [1], key="id")
