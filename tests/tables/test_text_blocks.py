"""Text in blocks against the reader of whole files: kinds of columns, missing words, codes."""

import gzip

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError
from sae.survey.files import read_frame
from sae.tables import blocks, text_blocks, text_files
from sae.tables.block_files import open_records


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks of 100 records, and text read 2 kB at a time."""
    monkeypatch.setattr(blocks, "BLOCK", 100)
    monkeypatch.setattr(text_files, "_BLOCK", 2048)


def frame(n=1000):
    rng = np.random.default_rng(2)
    late = np.arange(n) > 800
    return pd.DataFrame(
        {
            "whole": rng.integers(0, 50, n).astype(str),
            "real": np.round(rng.normal(size=n), 3).astype(str),
            "word": np.where(rng.random(n) < 0.1, "NA", rng.integers(0, 9, n).astype(str)),
            "code": np.where(late, "007", rng.integers(10, 99, n).astype(str)),  # a code in a late block
            "text": np.where(late, "few", rng.integers(0, 9, n).astype(str)),  # text in a late block
            "fraction": np.where(late, "1.5", "2"),  # numbers, whole in the first blocks
            "twice": np.where(late, "1.10", "1.1"),  # one number in two spellings
            "percent": np.where(late, "5", "5%"),
            "silent": np.where(late, "3", "."),  # only words for missing values in the first blocks
            "nothing": np.where(late, "3", ""),
            "place": np.where(rng.random(n) < 0.5, " Wien", "Graz "),
        }
    )


def joined(records):
    records = records.prepared(records.columns)
    records = records.with_levels([name for name in records.columns if name in records.cells])
    parts = list(records.blocks(records.columns))
    for name in records.columns:
        if not records.numbers[name]:
            assert all(part[name].cat.categories.equals(parts[0][name].cat.categories) for part in parts)
        else:
            assert {str(part[name].dtype) for part in parts} <= {"int64", "float64"}
    return pd.concat([part.astype(object) for part in parts], ignore_index=True)


def same(ours, theirs):
    assert list(ours) == list(theirs)
    for name in theirs:
        a, b = ours[name].astype(object), theirs[name].astype(object)
        assert a.where(a.notna(), None).tolist() == b.where(b.notna(), None).tolist(), name


@pytest.mark.filterwarnings("ignore:a.csv")
@pytest.mark.parametrize("missing", [(), ("few", 9)])
def test_equals_the_whole_file(tmp_path, missing):
    path = tmp_path / "a.csv"
    frame().to_csv(path, index=False)
    whole, _ = read_frame(path, missing=missing)
    same(joined(open_records(path, missing=missing)), whole)


@pytest.mark.filterwarnings("ignore:a.csv")
def test_equals_the_whole_file_with_decimal_commas_and_another_encoding(tmp_path):
    path = tmp_path / "a.csv"
    data = frame().map(lambda text: text.replace(".", ",")).replace("Graz ", "Köln")
    data.to_csv(path, index=False, sep=";", encoding="cp1252")
    whole, _ = read_frame(path, encoding="cp1252", decimal=",")
    same(joined(open_records(path, encoding="cp1252", decimal=",")), whole)


@pytest.mark.filterwarnings("ignore:a.csv")
def test_many_distinct_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks, "_MOST", 20)
    path = tmp_path / "a.csv"
    frame()[["whole", "real", "word", "fraction"]].to_csv(path, index=False)
    whole, _ = read_frame(path)
    same(joined(open_records(path)), whole)
    codes = pd.DataFrame({"x": [str(k) for k in range(500)] + ["007"], "y": 1})
    codes.to_csv(path, index=False)
    records = open_records(path).prepared(["x"])
    assert records.numbers == {"x": False}  # a code among the numbers, though far behind the kept ones
    assert records.n_records == 501
    with pytest.raises(SaeInputError, match=r"x of a\.csv hold more than 20 different texts"):
        records.with_levels(["x"])


@pytest.mark.filterwarnings("ignore:several")
def test_files_of_a_folder_are_one(tmp_path):
    folder = tmp_path / "several"
    folder.mkdir()
    data = frame()
    data.iloc[:330].to_csv(folder / "1.csv", index=False)
    data.iloc[330:].to_csv(folder / "2.csv.gz", index=False)
    data.to_csv(tmp_path / "a.csv", index=False)
    with pytest.warns(match=r"a\.csv"):
        whole, _ = read_frame(tmp_path / "a.csv")
    same(joined(open_records(folder)), whole)
    data.drop(columns="code").to_csv(folder / "3.csv", index=False)
    with pytest.raises(SaeInputError, match=r"columns of 3.csv are not those of 1.csv: code"):
        open_records(folder)


def test_only_the_columns_asked_for_are_read(tmp_path):
    path = tmp_path / "a.csv"
    frame()[["whole", "twice"]].to_csv(path, index=False)
    records = open_records(path).prepared(["whole"])  # no warning of the other column
    assert list(next(records.blocks(["whole"]))) == ["whole"]


def test_what_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "a.csv.gz"
    rng = np.random.default_rng(1)
    pd.DataFrame({"x": rng.normal(size=3000)}).to_csv(path, index=False)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SaeInputError, match=r"compressed file a.csv.gz is damaged or cut off"):
        open_records(path).prepared(["x"])
    path = tmp_path / "b.csv"
    path.write_text("x,y\n" + "1,2\n" * 2000 + "1\n", encoding="utf-8")
    with pytest.raises(SaeInputError, match=r"b.csv cannot be read as a table"):
        open_records(path).prepared(["x"])
    path.write_text("x,y\n", encoding="utf-8")
    with pytest.raises(SaeInputError, match=r"b.csv has a header with 2 columns, but no records"):
        open_records(path).prepared(["x"])
    path.write_bytes(b"x\n" + "ä\n".encode("cp1252"))
    with pytest.raises(SaeInputError, match="not in the encoding utf-8"):
        open_records(path).prepared(["x"])
    path.write_bytes(gzip.compress(b"x\n1\n"))
    with pytest.raises(SaeInputError, match="compressed by gzip, although"):
        open_records(path)


def test_a_file_that_changes_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    frame()[["whole"]].to_csv(path, index=False)
    records = open_records(path).prepared(["whole"])
    with path.open("a", encoding="utf-8") as stream:
        stream.write("1\n")
    with pytest.raises(SaeInputError, match=r"a.csv changed while it was read"):
        list(records.blocks(["whole"]))
