"""Blocks of records against the whole input: the same records, kinds and levels, wherever they lie."""

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from sae.errors import SaeInputError
from sae.tables.block_files import open_records
from sae.tables.blocks import BLOCK
from sae.tables.parquet_files import read_parquet

N = 2 * BLOCK + 1234


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "w": rng.uniform(1, 2, N),
            "region": pd.Series(np.array(["02", "01", None, "10"], dtype=object)[rng.integers(0, 4, N)]),
            "late": np.where(np.arange(N) < BLOCK, "a", "b"),  # a level that the first block lacks
            "age": rng.integers(0, 90, N),
            "income": np.where(rng.random(N) < 0.1, np.nan, rng.normal(size=N)),
            "unused": 1,
        }
    )


COLUMNS = ["region", "late", "age", "income"]


def whole(records, columns=COLUMNS, **span):
    return list(records.with_levels(["region", "late"]).blocks(columns, **span))


def same(blocks, expected):
    assert [len(block) for block in blocks[:-1]] == [BLOCK] * (len(blocks) - 1)
    levels = {name: blocks[0][name].cat.categories for name in ("region", "late")}
    for block in blocks:
        assert list(block) == COLUMNS
        for name, known in levels.items():
            assert block[name].cat.categories.equals(known)
    joined = pd.concat(blocks, ignore_index=True)
    for name in COLUMNS:
        ours, theirs = joined[name].astype(object), expected[name].astype(object)
        assert ours.where(ours.notna(), None).tolist() == theirs.where(theirs.notna(), None).tolist()


@pytest.mark.parametrize("row_group", [1000, 50_000, N])
def test_blocks_do_not_depend_on_row_groups(frame, tmp_path, row_group):
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=row_group)
    records = open_records(tmp_path / "a.parquet")
    assert records.n_records == N
    same(whole(records), frame)
    assert set(records.columns) == set(frame)


def test_blocks_go_on_over_the_files_of_a_folder_in_sorted_order(frame, tmp_path):
    cuts = [0, 7, 70_000, 70_000 + 65_536, N]
    for number, (low, high) in enumerate(itertools.pairwise(cuts)):
        frame.iloc[low:high].to_parquet(tmp_path / f"part-{number}.parquet", row_group_size=30_000)
    (tmp_path / "_SUCCESS").touch()
    same(whole(open_records(tmp_path)), frame)


def test_a_frame_gives_the_blocks_of_its_file(frame, tmp_path):
    same(whole(open_records(frame)), frame)
    frame.to_parquet(tmp_path / "a.parquet")
    both = zip(whole(open_records(frame)), whole(open_records(tmp_path / "a.parquet")), strict=True)
    for ours, theirs in both:
        pd.testing.assert_series_equal(ours["age"], theirs["age"])


def test_a_span_of_blocks_is_read_alone(frame, tmp_path):
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=10_000)
    records = open_records(tmp_path / "a.parquet").with_levels(["region"])
    (middle,) = records.blocks(["age"], 1, 2)
    assert middle["age"].tolist() == frame["age"].iloc[BLOCK : 2 * BLOCK].tolist()
    assert not list(records.blocks(["age"], 3, 9))


def test_kinds_are_those_of_a_whole_read(tmp_path):
    table = pa.table(
        {
            "flag": pa.array([True, None, False]),
            "price": pa.array(["1.5", "2.5", None]).cast(pa.decimal128(5, 2)),
            "name": pa.array([b"a", b"b", b"a"]),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    (block,) = open_records(tmp_path / "a.parquet").blocks(["flag", "price", "name"])
    pd.testing.assert_frame_equal(block, read_parquet(tmp_path / "a.parquet", "a", categories=True))


def test_what_cannot_be_read_is_named(frame, tmp_path):
    with pytest.raises(SaeInputError, match="There is no file"):
        open_records(tmp_path / "none.parquet")
    with pytest.raises(SaeInputError, match="holds no files"):
        open_records(tmp_path)
    cut = tmp_path / "cut.parquet"
    frame.to_parquet(cut)
    cut.write_bytes(cut.read_bytes()[:-5000])
    with pytest.raises(SaeInputError, match=r"cut.parquet is not a readable Parquet file"):
        open_records(cut)
    cut.unlink()
    frame.to_parquet(tmp_path / "a.parquet")
    frame.assign(age="x").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(SaeInputError, match=r"b.parquet are not those of a.parquet: age \(int64, here "):
        open_records(tmp_path)
    (tmp_path / "b.parquet").rename(tmp_path / "b.xlsx")
    with pytest.raises(SaeInputError, match=r"of another kind: b.xlsx"):
        open_records(tmp_path)


def test_a_damaged_page_is_named(frame, tmp_path):
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, row_group_size=20_000)
    content = bytearray(path.read_bytes())
    content[200_000:400_000] = bytes(200_000)
    path.write_bytes(content)
    with pytest.raises(SaeInputError, match=r"a.parquet is not a readable Parquet file"):
        list(open_records(path).blocks(["w", "income"]))


def test_a_file_that_changes_is_refused(frame, tmp_path):
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, row_group_size=20_000)
    blocks = open_records(path).blocks(["age"])
    next(blocks)
    frame.iloc[::-1].to_parquet(tmp_path / "b.parquet", row_group_size=20_000)
    (tmp_path / "b.parquet").replace(path)
    with pytest.raises(SaeInputError, match=r"a.parquet changed while it was read"):
        list(blocks)


def test_columns_in_folder_names_are_text(frame, tmp_path):
    kinds = frame.assign(year=np.array(["2023", "2024", None], dtype=object)[np.arange(N) % 3], at="a/b")
    for year, part in kinds.groupby("year", dropna=False):
        folder = tmp_path / f"year={'__HIVE_DEFAULT_PARTITION__' if pd.isna(year) else year}" / "at=a%2Fb"
        folder.mkdir(parents=True)
        part.drop(columns=["year", "at"]).to_parquet(folder / "a.parquet", index=False, row_group_size=30_000)
    records = open_records(tmp_path)
    assert set(records.columns) == set(kinds)
    read = pd.concat(records.with_levels(["year", "region"]).blocks(["age", "year", "region", "at"]))
    expected = kinds.sort_values("year", kind="stable", na_position="last")
    for name in ("age", "year", "region", "at"):
        ours, theirs = read[name].astype(object), expected[name].astype(object)
        assert ours.where(ours.notna(), None).tolist() == theirs.where(theirs.notna(), None).tolist()
    assert read["year"].cat.categories.tolist() == ["2023", "2024"]
    (only,) = records.with_levels(["year"]).blocks(["year"], 1, 2)
    assert only["year"].astype(object).tolist() == expected["year"].tolist()[BLOCK : 2 * BLOCK]


def test_columns_in_folder_names_that_cannot_be_are_named(frame, tmp_path):
    (tmp_path / "age=3").mkdir()
    frame.head().to_parquet(tmp_path / "age=3" / "a.parquet")
    with pytest.raises(SaeInputError, match=r"a.parquet repeats the columns age"):
        open_records(tmp_path)
    frame.head().to_parquet(tmp_path / "b.parquet")
    with pytest.raises(SaeInputError, match=r"files outside of the folders that tell age"):
        open_records(tmp_path)
    (tmp_path / "text" / "year=2024").mkdir(parents=True)
    frame.head().to_csv(tmp_path / "text" / "year=2024" / "a.csv", index=False)
    with pytest.raises(SaeInputError, match=r"columns in the names of its folders: year"):
        open_records(tmp_path / "text")
