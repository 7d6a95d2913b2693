"""Tables on disk: the same bytes every time, nothing lost on the way back, whole or not at all."""

import hashlib
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sae.errors import SaeInputError
from sae.tables import EstimateTable, read_columns, read_table, whole_file, write_table
from sae.tables import files as files_module
from sae.tables.files import write_workbook
from sae.tables.sheet_formats import Sheet

ENDINGS = [".csv", ".parquet", ".xlsx", ".ods"]


def estimate_table():
    """Three rows with every dtype, missing values, hard names and hard numbers."""
    frame = pd.DataFrame(
        {
            "indicator": "employment_rate",
            "unit": ["share", "share", "EUR"],
            "geo": ["01", "NA", "Ñuble / 東京"],
            "time": ["2024Q1", "2024Q1", "2024"],
            "birth": ["foreign", 'native, "both"', "line\nbreak"],
            "domain": ["01 / foreign", "=SUM(A1:A9)", "@x +y -z"],
            "n": [12, 0, None],
            "direct": [0.1 + 0.2, np.nan, 1 / 3],
            "estimate": [0.30000000000000004, 5e-324, 1.2345678901234567e308],
            "se": [np.pi / 100, 1e-17, 123456789.123456789],
            "in_sample": [True, False, None],
            "publishable": [True, None, False],
            "reason": ["", None, "CV 34.1 % > 33.3 %"],
        }
    )
    return EstimateTable(frame, ("birth",))


@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip_keeps_every_value_and_dtype(tmp_path, ending):
    table = estimate_table()
    back = EstimateTable.read(table.write(tmp_path / f"table{ending}"))
    assert back.groups == ("birth",)
    assert_frame_equal(
        back.frame.astype({"birth": "string"}), table.frame.astype({"birth": "string"}), rtol=0, atol=0
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_table_without_rows_comes_back(tmp_path, ending):
    table = EstimateTable(estimate_table().frame.iloc[:0], ("birth",))
    back = EstimateTable.read(table.write(tmp_path / f"table{ending}"))
    assert len(back) == 0
    assert back.frame.drop(columns="birth").dtypes.equals(table.frame.drop(columns="birth").dtypes)


def test_parquet_keeps_the_dtypes_of_other_columns(tmp_path):
    frame = pd.DataFrame(
        {
            "year": np.array([2023, 2024], dtype="int32"),
            "half": np.array([0.5, np.nan], dtype="float32"),
            "flag": [True, False],
            "level": pd.Categorical(["low", "high"], categories=["low", "high"], ordered=True),
            "day": pd.to_datetime(["2024-02-29", None]),
        }
    )
    assert_frame_equal(read_table(write_table(frame, tmp_path / "t.parquet")), frame)


def test_csv_text(tmp_path):
    frame = pd.DataFrame(
        {
            "geo": ["01", "é"],
            "n": pd.array([3, None], dtype="Int64"),
            "estimate": [0.1, np.nan],
            "in_sample": pd.array([True, None], dtype="boolean"),
            "plain": [False, True],
        }
    )
    content = write_table(frame, tmp_path / "t.csv").read_bytes()
    assert content == "geo,n,estimate,in_sample,plain\n01,3,0.1,true,false\né,,,,true\n".encode()


def test_csv_numbers_read_back_to_the_last_bit(tmp_path, rng):
    values = rng.integers(0, 2**63, 2000, dtype=np.uint64).view(np.float64)
    values = values[np.isfinite(values)]
    back = read_table(write_table(pd.DataFrame({"estimate": values}), tmp_path / "t.csv"))
    assert np.array_equal(back["estimate"].to_numpy(), values)


def test_csv_of_a_spreadsheet_program_is_read_despite_its_byte_order_mark(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbfdomain,n\r\nA,3\r\n")
    assert read_table(path)["domain"].tolist() == ["A"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_bytes_are_the_same_in_another_process(tmp_path, ending):
    code = (
        "import sys, pandas as pd\n"
        "from sae.tables import write_table\n"
        "frame = pd.DataFrame({'domain': ['ä', 'b'], 'unit': ['share', ''], 'estimate': [0.1, 2.5]})\n"
        "write_table(frame, sys.argv[1])\n"
    )
    hashes = set()
    for run, hash_seed in enumerate(("1", "2")):
        path = tmp_path / f"{run}{ending}"
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=_env(hash_seed), timeout=120)
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(hashes) == 1


def _env(hash_seed):
    import os

    # another time zone shifts any clock that had crept into the file
    return {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "TZ": "UTC" if hash_seed == "1" else "Pacific/Auckland",
    }


def test_xlsx_holds_no_clock_and_no_formula(tmp_path):
    path = estimate_table().write(tmp_path / "t.xlsx")
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        text = "".join(archive.read(name).decode("utf-8") for name in archive.namelist())
    assert "2000-01-01T00:00:00Z" in text
    assert "<f>" not in text
    assert "<hyperlink" not in text


def test_xlsx_looks(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    frame = pd.DataFrame(
        {
            "domain": ["A" * 60, "B"],
            "unit": ["share", "EUR"],
            "n": [1200, 3],
            "estimate": [0.583, 21000.0],
            "cv": [0.12, 0.2],
        }
    )
    notes = pd.DataFrame({"about": ["Source", "=1"], "text": ["survey", "=not a formula"]})
    sheets = [Sheet("estimates", frame), Sheet("notes", notes, wrapped=True)]
    book = openpyxl.load_workbook(write_workbook(sheets, tmp_path / "t.xlsx"))
    sheet = book["estimates"]
    assert sheet.freeze_panes == "A2"
    assert sheet["A1"].font.bold
    assert sheet["D2"].number_format == "0.0%" and sheet["D3"].number_format == "#,##0"
    assert sheet["E3"].number_format == "0.0%" and sheet["C2"].number_format == "#,##0"
    assert 30 < sheet.column_dimensions["A"].width < 50
    assert [*book["notes"].values] == [("about", "text"), ("Source", "survey"), ("=1", "=not a formula")]
    assert book["notes"]["A3"].data_type == "s" and book["notes"]["B3"].alignment.wrap_text
    assert book["notes"].freeze_panes == "A2"


@pytest.mark.parametrize("ending", ENDINGS)
def test_failing_write_leaves_the_old_file(tmp_path, ending, monkeypatch):
    path = tmp_path / f"t{ending}"
    write_table(pd.DataFrame({"domain": ["old"]}), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(files_module.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_table(pd.DataFrame({"domain": ["new"]}), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_whole_file_leaves_nothing_when_the_block_fails(tmp_path):
    with pytest.raises(RuntimeError), whole_file(tmp_path / "x.txt") as part:
        part.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frame", "name", "match"),
    [
        (pd.DataFrame({"a": [1]}), "t.xls", r"t.xls ends in '.xls'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "t.csv", "repeat the columns a"),
        (pd.DataFrame({"a": [1]}, index=["AT13"]), "t.csv", r"labels \(AT13\)"),
        (pd.DataFrame({"a": [1]}).rename_axis("region"), "t.parquet", "reset_index"),
        (pd.DataFrame({"a": [1, "x"]}), "t.parquet", "mixes kinds of values.*column a"),
        (pd.DataFrame({"a": ["x" * 40_000]}), "t.xlsx", "40000 characters"),
        (pd.DataFrame({"a": [1]}), "nowhere/t.csv", "folder .*nowhere does not exist"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(tmp_path, frame, name, match):
    with pytest.raises(SaeInputError, match=match):
        write_table(frame, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("t.csv", b"", "empty"),
        ("t.xlsx", b"", "empty"),
        ("t.txt", b"a", "no known table format"),
        ("t.csv", "domain\nMünchen\n".encode("latin-1"), "not UTF-8: byte 8"),
        ("t.csv", b"domain,n\nA,3\nB\n", "line 3: 1 fields under 2 names"),
        ("t.csv", b"domain,n\nA,3\nB,4,5\n", "line 3: 3 fields under 2 names"),
        ("t.csv", b'domain,n\n"A,3\n', "line 2: unexpected end of data"),
        ("t.csv", b"domain,n,n\nA,3,4\n", "n stand more than once"),
        ("t.csv", b"domain,n\nA,3\nB,many\n", "column n, row 2 .*'many' is not a whole number"),
        ("t.csv", b"domain,estimate\nA,0,5\n", "3 fields under 2 names"),
        ("t.csv", b"domain,estimate\nA,12%\n", "'12%' is not a number"),
        ("t.csv", b"domain,in_sample\nA,yes\n", "'yes' is not true or false"),
        ("t.parquet", b"domain,n\nA,3\n", "not a Parquet file"),
        ("t.xlsx", b"domain,n\nA,3\n", "not an XLSX file"),
        ("t.ods", b"domain,n\nA,3\n", "not an ODS file"),
    ],
)
def test_malformed_files_are_refused_by_name(tmp_path, name, content, match):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SaeInputError, match=match):
        read_table(path)


@pytest.mark.parametrize("ending", [".parquet", ".xlsx", ".ods"])
def test_a_file_that_is_cut_off_is_refused(tmp_path, ending):
    path = estimate_table().write(tmp_path / f"t{ending}")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SaeInputError, match="cut off"):
        read_table(path)


def test_absent_file_and_foreign_table_are_named(tmp_path):
    with pytest.raises(SaeInputError, match="There is no file"):
        read_table(tmp_path / "t.csv")
    path = write_table(pd.DataFrame({"domain": ["A"], "rate": [1.0]}), tmp_path / "t.csv")
    with pytest.raises(SaeInputError, match="not an estimate table: it lacks the columns indicator"):
        EstimateTable.read(path)


@pytest.mark.parametrize("path", [None, 3, [], estimate_table(), ""])
def test_what_is_no_path_is_refused_by_readers_and_writers(path):
    for use in (read_table, lambda path: write_table(pd.DataFrame({"a": [1]}), path)):
        with pytest.raises(SaeInputError, match="The path of a file is text or a Path, and "):
            use(path)


def test_what_folders_tell_is_text(tmp_path):
    for code in ("01", "02"):
        (tmp_path / f"region={code}").mkdir()
        pd.DataFrame({"x": [1.0]}).to_parquet(tmp_path / f"region={code}" / "a.parquet")
    table = read_columns(tmp_path, lambda names: ["region", "x"])
    assert table.to_dict("list") == {"region": ["01", "02"], "x": [1.0, 1.0]}
