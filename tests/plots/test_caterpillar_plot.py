"""The options of the caterpillar: which areas, in which order, by group, under which names."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from sae.errors import SaeInputError, SaeSpecError
from sae.plots import caterpillar
from sae.plots.figures import GROUPS


def rows(m=12):
    estimate = np.random.default_rng(3).permutation(np.linspace(0.3, 0.8, m))
    half = np.random.default_rng(4).permutation(np.linspace(0.01, 0.1, m))
    return pd.DataFrame(
        {
            "domain": [f"{k:02d}" for k in range(m)],
            "city": [f"Town {chr(75 - k % 11)}{k}" for k in range(m)],
            "birth": np.where(np.arange(m) % 2, "native", "foreign"),
            "unit": "share",
            "estimate": estimate,
            "ci_low": estimate - half,
            "ci_high": estimate + half,
            "method": "EBLUP",
        }
    )


def names(chart):
    return [text.get_text() for text in chart.axes[0].get_yticklabels()][::-1]  # from the top


def test_the_order_from_the_top():
    frame = rows()
    assert names(caterpillar(frame)) == frame.sort_values("estimate", ascending=False)["domain"].tolist()
    assert names(caterpillar(frame, order="name")) == sorted(frame["domain"])
    by_town = caterpillar(frame, order="name", labels="city")
    assert names(by_town) == sorted(frame["city"])
    width = (frame["ci_high"] - frame["ci_low"]).set_axis(frame["domain"])
    assert names(caterpillar(frame, order="width")) == width.sort_values().index.tolist()
    assert names(caterpillar(frame, order=["07", "01", "10"])) == ["07", "01", "10"]
    assert names(caterpillar(frame.assign(domain=range(12)), order=[7, 1])) == ["7", "1"]


def test_the_first_of_many_and_what_was_left_out_is_said():
    frame = rows(200)
    chart = caterpillar(frame, top=3)
    assert names(chart) == frame.sort_values("estimate", ascending=False)["domain"].head(3).tolist()
    assert "3 of 200 areas, the highest." in chart.get_supxlabel()
    assert names(caterpillar(frame, top=2, order="name")) == ["00", "01"]
    assert "areas" not in caterpillar(rows(), top=99).get_supxlabel()


def test_groups_have_colours_and_their_rows():
    frame = rows().assign(direct=0.5, in_sample=True)
    frame.loc[0, ["direct", "in_sample"]] = np.nan, False
    axes = caterpillar(frame, groups="birth", order=frame["domain"].tolist()).axes[0]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["direct", "foreign", "foreign, no sample", "native"]
    places = {}
    for collection in axes.collections:
        offsets = np.asarray(collection.get_offsets())
        if len(offsets) and len(collection.get_facecolors()) == len(offsets):
            places.setdefault(to_hex(collection.get_facecolors()[0]).upper(), []).extend(offsets.tolist())
    for colour, birth in zip(GROUPS, ("foreign", "native"), strict=False):
        wanted = frame["estimate"][frame["birth"] == birth]
        assert np.allclose(sorted(x for x, _ in places[colour]), sorted(wanted))


def test_names_come_from_a_column_or_by_code():
    frame = rows(3)
    assert names(caterpillar(frame, order="name", labels={"01": "Graz", "99": "Nowhere"})) == [
        "00",
        "02",
        "Graz",
    ]
    assert names(caterpillar(frame.assign(domain=[0, 1, 2]), order="name", labels={1: "A"})) == [
        "0",
        "2",
        "A",
    ]
    same = caterpillar(frame, order=["00", "01"], labels={"00": f"A{'a b ' * 40}z", "01": f"A{'a b ' * 41}z"})
    assert all(
        code in name for code, name in zip(("(00)", "(01)"), names(same), strict=True)
    )  # cut to the same
    assert all(len(name.split("\n")) == 2 for name in names(same))


@pytest.mark.parametrize("m", [5, 50, 500])
@pytest.mark.parametrize("size", [1, 12])
def test_no_title_is_cut_and_no_word_of_the_legend(m, size):
    title = "Employment rate of the foreign-born by province, estimated with a model " * size
    long = {
        f"{k:02d}": f"Provincia autonoma di Bolzano / Südtirol, Bezirk {k} mit langem Namen" for k in range(m)
    }
    frame = rows(m).assign(publishable=np.arange(m) % 3 > 0, direct=0.5)
    chart = caterpillar(frame, title=title, labels=long, groups="birth")
    FigureCanvasAgg(chart).draw()
    renderer, box = chart.canvas.get_renderer(), chart.bbox
    headline = chart._suptitle
    assert " ".join(headline.get_text().split()) == title.strip()
    for artist in (headline, chart.axes[0].get_legend()):
        extent = artist.get_window_extent(renderer)
        assert extent.x0 >= 0 and extent.x1 <= box.width and extent.y1 <= box.height
    legend = chart.axes[0].get_legend().get_window_extent(renderer)
    assert not legend.overlaps(headline.get_window_extent(renderer))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"order": ["00", "XX", "YY"]}, SaeInputError, "names XX, YY, of which the table has no estimate"),
        ({"order": ["00", "00"]}, SaeInputError, "names an area twice"),
        ({"order": "n"}, SaeSpecError, "Use one of estimate, name, width, or a list"),
        ({"top": 0}, SaeSpecError, "top=0 is no number of areas"),
        ({"top": 2.5}, SaeSpecError, "top=2.5 is no number"),
        ({"groups": "sex"}, SaeInputError, "no column 'sex'"),
        ({"groups": "domain"}, SaeSpecError, "domain has 12 values .* 6 colours"),
        ({"labels": "town"}, SaeInputError, "no column 'town'"),
        ({"labels": {"A": "x"}}, SaeInputError, "None of the 12 areas has a name .*00"),
        ({"labels": ["x"] * 12}, SaeSpecError, "neither a column nor names by code"),
        ({"labels": "birth"}, SaeInputError, "foreign stands more than once"),
    ],
)
def test_options_that_fit_nothing_are_refused_by_name(options, error, match):
    with pytest.raises(error, match=match):
        caterpillar(rows(), **options)


def test_groups_tell_the_rows_of_an_area_apart():
    frame = pd.DataFrame({"domain": ["A", "A", "B"], "time": "", "sex": ["f", "m", "f"]})
    frame = frame.assign(estimate=[1.0, 2, 3], ci_low=[0.5, 1.5, 2.5], ci_high=[1.5, 2.5, 3.5])
    chart = caterpillar(frame, groups="sex")
    assert [label.get_text() for label in chart.axes[0].get_yticklabels()] == ["A, f", "A, m", "B, f"]
    with pytest.raises(SaeInputError, match=r"A stands more than once .*\n.*groups="):
        caterpillar(frame)
