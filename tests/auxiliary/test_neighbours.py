"""Maps of edge lists, matrices and polygons: directions, islands, names."""

import sys

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sae.auxiliary import neighbours, read_neighbours
from sae.errors import SaeInputError, SaeSpecError


def edges(*pairs):
    return pd.DataFrame([tuple(pair) for pair in pairs], columns=["a", "b"])


def test_each_pair_once_or_every_pair_twice_is_the_same_map():
    once = neighbours(edges("AB", "BC"), areas="ABCD")
    twice = neighbours(edges("AB", "BA", "CB", "BC"), areas="ABCD")
    assert once.pairs.tolist() == twice.pairs.tolist() == [[0, 1], [1, 2]]
    assert once.islands == ("D",) and once.counts.tolist() == [1, 2, 1, 0]


@pytest.mark.parametrize(
    ("table", "areas", "message"),
    [
        (edges("AB", "BA", "BC"), "ABC", "one direction only, others in both: B–C"),
        (edges("AB", "AB"), "AB", "repeats 1 pairs: A–B"),
        (edges("AA"), "AB", "their own neighbour: A"),
        (edges("AB", "AX"), "AB", "not among the areas: X"),
        (pd.DataFrame({"a": ["A", None], "b": ["B", "C"]}), "ABC", "missing in 1 rows: 2"),
        (pd.DataFrame({"a": ["A"]}), "A", "fewer than two columns"),
        (edges("AB"), "ABB", "repeats B"),
    ],
)
def test_wrong_lists_are_refused_by_name(table, areas, message):
    with pytest.raises(SaeInputError, match=message):
        neighbours(table, areas)


def test_spanish_map_has_its_islands(shared_data):
    provinces = [f"{code:02d}" for code in range(1, 53)]
    spain = read_neighbours(
        shared_data / "real" / "es_province_adjacency.csv", provinces, between=("prov_a", "prov_b")
    )
    assert spain.islands == ("07", "35", "38", "51", "52")


@pytest.mark.parametrize("kind", ["int64", "float64", "Int64", "category", "string", "object"])
def test_codes_of_every_kind_name_the_same_areas(kind):
    edges = pd.DataFrame({"a": pd.Series([8, 9]).astype(kind), "b": pd.Series([9, 10]).astype(kind)})
    areas = pd.Series([10.0, 9.0, 8.0, 7.0])
    assert neighbours(edges, areas).areas == ("10", "9", "8", "7")
    assert neighbours(edges, areas).islands == ("7",)
    assert neighbours(edges).areas == ("10", "8", "9")


def test_codes_of_edges_are_read_as_those_of_areas(tmp_path):
    file = tmp_path / "edges.csv"
    file.write_text("a;b;remark\n1.0;2.0;\n2.0;6.0;\n", encoding="utf-8")
    assert read_neighbours(file).areas == ("1", "2", "6")
    file.write_text("a,b\nMI,NA\nNA,RM\n", encoding="utf-8")
    assert read_neighbours(file).areas == ("MI", "NA", "RM")
    file.write_text("a\tb\n1E1\t010\n010\t10E0\n", encoding="utf-8")
    assert read_neighbours(file).areas == ("010", "10E0", "1E1")
    file.write_text("a,b\nIle,x\nI\u0302le,\u00a0Île2\n", encoding="utf-8")
    assert read_neighbours(file).areas == ("Ile", "x", "Île", "Île2")


def test_a_frame_of_another_kind_is_refused():
    with pytest.raises(SaeInputError, match="The edges are a list, not a pandas DataFrame"):
        neighbours([("a", "b")])


LINE = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    "matrix",
    [
        np.array(LINE),
        np.array(LINE, dtype=bool),
        sparse.csr_matrix(LINE),
        sparse.coo_array(LINE),
        pd.DataFrame(LINE),
    ],
)
def test_a_matrix_without_labels_is_named_in_its_order_or_refused(matrix):
    assert neighbours(matrix, areas=["b", "a", "c"]).pairs.tolist() == [[0, 1], [1, 2]]
    with pytest.raises(SaeSpecError, match="3 rows of the matrix have no names"):
        neighbours(matrix)
    with pytest.raises(SaeInputError, match="names 2 areas, but the matrix has 3 rows"):
        neighbours(matrix, areas=["b", "a"])


def test_a_labelled_matrix_is_matched_by_name_and_cut_to_the_areas():
    table = pd.DataFrame(LINE, index=["x", "y", "z"], columns=["x", "y", "z"]).loc[["z", "x", "y"]]
    whole = neighbours(table)
    assert whole.areas == ("z", "x", "y") and whole.pairs.tolist() == [[0, 2], [1, 2]]
    cut = neighbours(table, areas=["y", "x"])
    assert cut.areas == ("y", "x") and cut.pairs.tolist() == [[0, 1]] and cut.left_out == ("z",)
    with pytest.raises(SaeInputError, match="The map lacks 1 of 2 areas: w"):
        neighbours(table, areas=["y", "w"])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0, 1, 1], [1, 0, 0], [0, 0, 0]], "1 pairs are neighbours in one direction only: a–c"),
        ([[1, 1, 0], [1, 0, 0], [0, 0, 0]], "1 areas are their own neighbour: a"),
        (
            [[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]],
            "2 areas have weights other than 0 and 1 in the matrix: a, b",
        ),
        ([[0, np.nan, 0], [1, 0, 0], [0, 0, 0]], "1 areas have weights other than 0 and 1"),
        ([[0, 1, 0], [1, 0, 0]], r"shape \(2, 3\); it is not square"),
        ([["x"]], "something other than numbers"),
    ],
)
def test_wrong_matrices_are_refused_by_name(matrix, message):
    with pytest.raises(SaeInputError, match=message):
        neighbours(np.array(matrix), areas="abc"[: len(matrix)])


def test_two_edges_in_a_plain_table_are_edges():
    assert neighbours(pd.DataFrame([(1, 2), (2, 3)])).areas == ("1", "2", "3")


def test_parts_of_the_map_are_kept_and_reported():
    graph = neighbours(edges("AB", "CD", "DE"), areas="ABCDEF")
    assert graph.parts == (("A", "B"), ("C", "D", "E"), ("F",)) and graph.islands == ("F",)
    assert "1 islands: F; 2 parts without a link" in repr(graph)
    cut = graph.within("ECB")
    assert cut.parts == (("E",), ("C",), ("B",)) and cut.left_out == ("A", "D", "F")


def test_polygons_give_the_neighbours_of_the_regions_of_europe(shared_data):
    """Oracle: pairs with a common border of a length, found apart from here with another program."""
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    europe = neighbours(shared_data / "real" / "nuts2_2021_03m.geojson.gz", key="NUTS_ID")
    oracle = pd.read_csv(shared_data / "real" / "nuts2_2021_adjacency.csv", keep_default_na=False)
    pairs = {tuple(sorted((europe.areas[i], europe.areas[j]))) for i, j in europe.pairs}
    assert pairs == set(zip(oracle["nuts_a"], oracle["nuts_b"], strict=True)) and len(pairs) == 727
    regions = pd.read_csv(shared_data / "real" / "nuts2_2021_regions.csv", keep_default_na=False)
    assert set(europe.islands) == set(regions.loc[regions["n_neighbours"].eq(0), "nuts_id"])
    assert len(europe.islands) == 23
    # regions that meet in a point only
    assert not {("CH05", "DE27"), ("AT34", "DE14"), ("NO06", "SE33")} & pairs
    spain = neighbours(
        shared_data / "real" / "nuts2_2021_03m.geojson.gz",
        [code for code in europe.areas if code.startswith("ES")],
    )
    assert set(spain.islands) == {"ES53", "ES63", "ES64", "ES70"} and len(spain.left_out) == 334 - 19


def squares(**corners):
    """A map of rectangles (fixture): west, south, east, north of each."""
    features = []
    for code, (w, s, e, n) in corners.items():
        ring = [[w, s], [e, s], [e, n], [w, n], [w, s]]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"id": code}, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def test_borders_count_where_they_have_a_length_even_without_common_corners():
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    # D meets A and B along its whole side and C in a corner; E is far away
    shapes = squares(A=(0, 0, 1, 1), B=(1, 0, 2, 1), D=(0, 1, 2, 2), C=(2, 2, 3, 3), E=(9, 9, 10, 10))
    graph = neighbours(shapes, areas=["E", "D", "C", "B", "A"], key="id")
    assert {(graph.areas[i], graph.areas[j]) for i, j in graph.pairs} == {("D", "A"), ("D", "B"), ("B", "A")}
    assert graph.islands == ("E", "C")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            squares(A=(0, 0, 1, 1), B=(0.5, 0.2, 2, 0.8)),
            "1 pairs of areas overlap without a common border: A–B",
        ),
        (squares(A=(0, 0, 1, 1), B=(1.001, 0, 2, 1)), "None of the 2 areas has a border with another"),
        (squares(A=(0, 0, 0, 1)), "The borders of 1 areas cross themselves: A"),
    ],
)
def test_polygons_that_do_not_fit_together_are_refused(shapes, message):
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    with pytest.raises(SaeInputError, match=message):
        neighbours(shapes, key="id")


def test_polygons_without_shapely_or_key_are_a_named_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "shapely", None)
    with pytest.raises(SaeSpecError, match=r'shapely, which is not installed.\nInstall "sae\[geo\]"'):
        neighbours(squares(A=(0, 0, 1, 1)), key="id")
    monkeypatch.undo()
    pytest.importorskip("shapely", reason="the extra geo is not installed")
    with pytest.raises(SaeSpecError, match="property with the codes of the polygons is not named"):
        neighbours(squares(A=(0, 0, 1, 1)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"id": ["A", "B"], "A": [0, 1], "B": [1, 0]},
            "square table of 2 areas .* column 'id'",
        ),
        ({"row": [1, 2], "a": ["A", "B"], "b": ["B", "C"]}, "'row', numbers its rows"),
        ({"a": ["A", "A"], "b": ["B", "C"], "touch": [1, 0]}, "touch is 0 in 1 of 2 rows"),
        ({"a": ["A", "A"], "b": ["B", "C"], "touch": [True, False]}, "touch is False in 1 of 2 rows"),
    ],
)
def test_tables_that_are_no_edges_in_their_first_two_columns(tmp_path, table, message):
    """Row numbers, cells of a matrix and pairs that are none became neighbours."""
    frame = pd.DataFrame(table)
    frame.to_csv(tmp_path / "edges.csv", index=False)
    for read in (lambda: neighbours(frame), lambda: read_neighbours(tmp_path / "edges.csv")):
        with pytest.raises(SaeInputError, match=message):
            read()


def test_further_columns_of_an_edge_list_are_let_alone():
    table = edges("AB", "BC").assign(border=[0.0, 12.5], name=["x", "y"])
    assert len(neighbours(table).pairs) == 2
