"""Edge lists: directions, islands, names."""

import pandas as pd
import pytest

from sae.auxiliary import neighbours, read_neighbours
from sae.errors import SaeInputError


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
