"""Maps and data: matched by name; a larger map is cut and said so, a smaller one refused."""

import json

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import neighbours
from sae.errors import SaeInputError, SaeSpecError

CHAIN = pd.DataFrame({"a": list("ABCDE"), "b": list("BCDEF")})
LABELS = list("ABCDEF")
SQUARE = pd.DataFrame(np.eye(6, k=1) + np.eye(6, k=-1), index=LABELS, columns=LABELS)


def maps(tmp_path):
    file = tmp_path / "edges.csv"
    CHAIN.to_csv(file, index=False)
    return [CHAIN, SQUARE, neighbours(CHAIN), file]


@pytest.mark.parametrize("which", range(4))
def test_a_map_larger_than_the_data_is_cut_and_named(tmp_path, which):
    areas = ["D", "B", "A"]  # C is between: B and D are no neighbours without it
    matrix, left_out = sae.SAR(maps(tmp_path)[which]).on(areas)
    assert sorted(left_out) == ["C", "E", "F"]
    assert matrix.toarray().tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("which", range(4))
def test_a_map_that_lacks_areas_of_the_data_is_refused_on_both_sides(tmp_path, which):
    with pytest.raises(
        SaeInputError, match=r"2 domains not on the map \(X, Y\), 4 areas of the map not in the data"
    ):
        sae.BYM2(maps(tmp_path)[which]).on(["A", "X", "B", "Y"])


def test_what_an_edge_list_lacks_is_an_island_as_long_as_it_holds_nothing_else():
    matrix, left_out = sae.SAR(CHAIN).on([*LABELS, "I"])
    assert left_out == () and matrix.sum(axis=1).A1.tolist() == [1, 2, 2, 2, 2, 1, 0]
    with pytest.raises(
        SaeInputError, match=r"1 domains not on the map \(I\), 1 areas of the map not in the data"
    ):
        sae.SAR(CHAIN).on([*LABELS[:-1], "I"])


def test_an_array_or_polygons_are_no_map_but_the_way_is_named():
    with pytest.raises(
        SaeSpecError, match=r"A ndarray is no map\.\n.*sae\.auxiliary\.neighbours reads arrays"
    ):
        sae.SAR(SQUARE.to_numpy()).on(LABELS)


@pytest.mark.parametrize("model", ["plain", "robust"])
def test_a_cut_map_stands_in_the_notes_and_changes_nothing_else(rng, model):
    names = [f"A{k:02d}" for k in range(30)]
    chain = pd.DataFrame({"a": names, "b": [*names[1:], "A30"]})
    frame = pd.DataFrame({"domain": names, "x": rng.normal(size=30), "vardir": 0.2})
    frame["y"] = 1 + frame["x"] + np.cumsum(rng.normal(size=30)) * 0.5 + rng.normal(size=30) * 0.45
    kind = sae.FayHerriot if model == "plain" else sae.RobustFayHerriot
    larger = kind("y ~ x", spatial=sae.SAR(chain)).fit(frame)
    fitting = kind("y ~ x", spatial=sae.SAR(chain.iloc[:-1])).fit(frame)
    assert (larger.to_frame()["estimate"] == fitting.to_frame()["estimate"]).all()
    note = "1 areas of the map are not in the data and were left out: A30."
    assert note in larger.summary() and note not in fitting.summary()


def test_a_file_of_polygons_is_a_map_by_the_property_that_holds_the_areas(tmp_path):
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    features = []  # a row of squares, with numbers besides their names
    for k, name in enumerate(LABELS):
        ring = [[k, 0], [k + 1, 0], [k + 1, 1], [k, 1], [k, 0]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"no": k, "name": name}, "geometry": geometry})
    file = tmp_path / "regions.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    areas = ["D", "C", "A"]
    matrix, left_out = sae.BYM2.of_text(f"bym2: {file}").on(areas)
    assert matrix.toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]] and sorted(left_out) == [
        "B",
        "E",
        "F",
    ]
    with pytest.raises(SaeInputError, match="name holds 1 and lacks X"):
        sae.BYM2(file).on(["A", "X"])
