"""Covariate tables: what is read, and what is refused by name."""

import gzip
import hashlib

import pandas as pd
import pytest

from sae.auxiliary import code_numbers, open_areas, read_areas
from sae.errors import SaeInputError, SaeWarning


def write(folder, text, name="areas.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_codes_are_text_and_covariates_numbers(tmp_path):
    text = "region,prov,period,share,constant,name\nES63,01,2014Q1,0.25,1,Ceuta\nES64,50,2014Q1,,1,Melilla\n"
    frame = read_areas(write(tmp_path, text))
    assert frame["region"].tolist() == ["ES63", "ES64"]
    assert frame["prov"].tolist() == ["01", "50"]
    assert frame["period"].tolist() == ["2014Q1", "2014Q1"]
    assert frame["name"].tolist() == ["Ceuta", "Melilla"]
    assert frame["share"].tolist()[0] == 0.25 and frame["share"].isna().tolist() == [False, True]
    assert frame["constant"].tolist() == [1, 1]


def test_first_column_is_a_code_even_when_it_looks_like_a_number(tmp_path):
    assert read_areas(write(tmp_path, "city,x\n2,5\n13,6\n"))["city"].tolist() == ["2", "13"]


def test_named_codes_stay_text_and_make_the_key(tmp_path):
    path = write(tmp_path, "city,year,x\n2,2013,5\n2,2014,6\n")
    assert read_areas(path, codes=["city", "year"])["year"].tolist() == ["2013", "2014"]
    with pytest.raises(SaeInputError, match="more than one row for 1 areas: 2"):
        read_areas(path)


@pytest.mark.parametrize("ending", ["csv.gz", "parquet"])
def test_other_formats_give_the_same_table(tmp_path, ending):
    path = tmp_path / f"areas.{ending}"
    if ending == "parquet":
        pd.DataFrame({"city": [2, 13], "x": [0.5, 1.5]}).to_parquet(path)
    else:
        path.write_bytes(gzip.compress(b"city,x\n2,0.5\n13,1.5\n"))
    frame = read_areas(path)
    assert frame["city"].tolist() == ["2", "13"] and frame["x"].tolist() == [0.5, 1.5]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_one_pass_gives_cells_text_columns_and_hash(tmp_path, monkeypatch, ending):
    path = tmp_path / f"areas.{ending}"
    frame = pd.DataFrame({"city": [2, 13], "region": ["01", "NA"], "x": [0.5, 1.5]})
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    content = path.read_bytes()
    file = open_areas(path)
    path.unlink()
    assert file.text_columns == ("region",) and file.sha256 == hashlib.sha256(content).hexdigest()
    with pytest.warns(SaeWarning, match=r"kept: region 'NA' \(1\)"):
        table = file.table()
    assert table[["city", "region"]].to_dict("list") == {"city": ["2", "13"], "region": ["01", "NA"]}
    with pytest.warns(SaeWarning, match="region 'NA'"):
        assert file.table(["region"])["city"].tolist() == [2, 13]


@pytest.mark.parametrize("kind", ["int64", "float64", "Int64", "category", "string", "object"])
def test_codes_of_parquet_are_spelt_alike(tmp_path, kind):
    path = tmp_path / "areas.parquet"
    pd.DataFrame({"city": pd.Series([2, 13]).astype(kind), "x": [0.5, 1.5]}).to_parquet(path)
    assert read_areas(path)["city"].tolist() == ["2", "13"]


def test_a_byte_order_mark_does_not_enter_the_first_name(tmp_path):
    assert list(read_areas(write(tmp_path, "\ufeffcity,x\nA,1\n"))) == ["city", "x"]


def test_namibia_is_a_code_and_not_a_missing_value(tmp_path):
    with pytest.warns(SaeWarning, match=r"areas\.csv: texts that look like missing .* country 'NA' \(1\)"):
        frame = read_areas(write(tmp_path, "country,x\nNA,1\nZA,NA\n"))
    assert frame["country"].tolist() == ["NA", "ZA"] and frame["x"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("region,x\n", "no rows"),
        ("region,x\nA,1\nB,2\nA,3\n", "more than one row for 1 areas: A"),
        ("region,x\nA,1\n,2\n", r"empty in 1 rows \(lines 3\)"),
        ("region,x\nA,1\nB,few\nC,3\n", r"'few' \(B\)"),
        ('region,x\nA,1\nB,"2,5"\nC,3\n', r"'2,5' \(B\)"),
        ("region,x,x\nA,1,2\n", "occurs more than once: x"),
        ("region,x\nA,1\nB,2,3\n", "Expected 2 columns, got 3"),
    ],
)
def test_malformed_tables_are_refused_by_name(tmp_path, text, message):
    with pytest.raises(SaeInputError, match=message):
        read_areas(write(tmp_path, text))


def test_wrong_encoding_absent_file_unknown_format_and_unknown_code(tmp_path):
    path = write(tmp_path, "region,x\nAragón,1\n", encoding="latin-1")
    with pytest.raises(SaeInputError, match="latin-1"):
        read_areas(path)
    assert read_areas(path, encoding="latin-1")["region"].tolist() == ["Aragón"]
    with pytest.raises(SaeInputError, match="no file"):
        read_areas(tmp_path / "absent.csv")
    with pytest.raises(SaeInputError, match="no format"):
        read_areas(write(tmp_path, "a", name="areas.json"))
    with pytest.raises(SaeInputError, match=r"areas\.ods is a spreadsheet"):
        read_areas(write(tmp_path, "a", name="areas.ods"))
    with pytest.raises(SaeInputError, match="no column 'city'"):
        read_areas(write(tmp_path, "region,x\nA,1\n"), codes=["city"])


def test_flags_and_remarks_of_sdmx_csv_may_be_empty(tmp_path):
    text = (
        "DATAFLOW,geo,TIME_PERIOD,OBS_VALUE,OBS_FLAG,CONF_STATUS\n"
        "X:Y(1.0),NA,2024-Q1,0.5,,\nX:Y(1.0),ES,2024-Q1,:,u,\nX:Y(1.0),IT,2024-Q1,0.7,,\n"
    )
    with pytest.warns(SaeWarning, match=r"geo 'NA' \(1\)"):
        frame = read_areas(write(tmp_path, text))
    assert frame["geo"].tolist() == ["NA", "ES", "IT"]
    assert frame["OBS_VALUE"].isna().tolist() == [False, True, False]
    assert frame["OBS_FLAG"].tolist()[1] == "u" and frame["OBS_FLAG"].isna().tolist() == [True, False, True]
    assert frame["CONF_STATUS"].isna().all()


@pytest.mark.parametrize("cells", [["1.0", "2.0", "6.0"], ["1", "2.0", "6"], ["1", "2", "6"]])
def test_codes_that_a_gap_made_floats_lose_their_point(tmp_path, cells):
    text = "city,x\n" + "".join(f"{cell},{k}\n" for k, cell in enumerate(cells))
    assert read_areas(write(tmp_path, text))["city"].tolist() == ["1", "2", "6"]


def test_codes_with_points_of_their_own_stay(tmp_path):
    assert read_areas(write(tmp_path, "nace,x\n1.0,1\n1.1,2\n1.10,3\n"))["nace"].tolist() == [
        *["1.0", "1.1"],
        "1.10",
    ]
    assert read_areas(write(tmp_path, "ward,x\n1E1,1\n10E0,2\n"))["ward"].tolist() == ["1E1", "10E0"]


def test_options_of_text_files(tmp_path):
    text = "ort;anteil;leute\n Köln\u00a0;0,25;1000\nI\u0302le;0,5;k.A.\n"
    frame = read_areas(write(tmp_path, text), decimal=",", missing=["k.A."])
    assert frame["ort"].tolist() == ["Köln", "Île"] and frame["anteil"].tolist() == [0.25, 0.5]
    assert frame["leute"].isna().tolist() == [False, True]
    with (
        pytest.warns(SaeWarning, match="percent signs"),
        pytest.raises(SaeInputError, match=r"areas\.csv has more than one row for 1 areas: A"),
    ):
        read_areas(write(tmp_path, "a\tb\nA\t25 %\nA\t3 %\n"))
    assert read_areas(write(tmp_path, "a\tb\nA\t1\n", name="t.tsv"))["b"].tolist() == [1]
    with pytest.raises(SaeInputError, match=r'decimal=","'):
        read_areas(write(tmp_path, 'a,x\nA,1\nB,"2,5"\nC,3\n'))


def test_missing_words_of_the_areas(tmp_path):
    file = write(tmp_path, "area,kind,x\nA,NA,-9\nB,town,2\nC,town,3\n")
    frame = read_areas(file, codes=["area"], missing=["NA", -9])
    assert frame["kind"].isna().tolist() == [True, False, False]
    assert frame["x"].isna().tolist() == [True, False, False]
    path = tmp_path / "areas.parquet"
    pd.DataFrame({"area": ["A", "B"], "kind": ["NA", "town"], "x": [-9, 2]}).to_parquet(path)
    frame = read_areas(path, codes=["area"], missing=["NA", -9])
    assert frame["kind"].isna().tolist() == frame["x"].isna().tolist() == [True, False]


def test_damaged_files_are_named(tmp_path):
    whole = gzip.compress(b"city,x\n" + b"".join(b"%d,%d\n" % (k, k) for k in range(99)))
    (tmp_path / "areas.csv.gz").write_bytes(whole[:60])
    with pytest.raises(SaeInputError, match=r"areas\.csv\.gz is damaged or cut off"):
        read_areas(tmp_path / "areas.csv.gz")
    (tmp_path / "b.csv.gz").write_bytes(b"city,x\n1,2\n")
    with pytest.raises(SaeInputError, match=r"b\.csv\.gz is not compressed"):
        read_areas(tmp_path / "b.csv.gz")
    (tmp_path / "c.csv").write_bytes(whole)
    with pytest.raises(SaeInputError, match=r"c\.csv is compressed by gzip"):
        read_areas(tmp_path / "c.csv")
    path = tmp_path / "areas.parquet"
    pd.DataFrame({"city": [2, 13], "x": [0.5, 1.5]}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SaeInputError, match=r"areas\.parquet is not a readable Parquet"):
        read_areas(path)
    with pytest.raises(SaeInputError, match="'utf-99' is not an encoding"):
        read_areas(write(tmp_path, "a,b\n1,2\n"), encoding="utf-99")


@pytest.mark.parametrize("kind", ["Int64", "float64", "object", "string"])
def test_keys_of_parquet_with_a_gap_are_named(tmp_path, kind):
    path = tmp_path / "areas.parquet"
    city = pd.Series([2, None, 13], dtype="Int64").astype(kind)
    pd.DataFrame({"city": city, "x": [0.5, 1.5, 2.5]}).to_parquet(path)
    with pytest.raises(
        SaeInputError, match=r"Column 'city' of areas\.parquet is empty in 1 rows \(lines 3\)"
    ):
        read_areas(path)


def test_lists_in_cells_of_parquet_are_named(tmp_path):
    path = tmp_path / "areas.parquet"
    pd.DataFrame({"city": ["a", "b"], "tags": [["x"], ["y", "z"]]}).to_parquet(path)
    with pytest.raises(SaeInputError, match="Column 'tags': A label is a ndarray"):
        read_areas(path)


def test_codes_as_numbers():
    assert code_numbers(pd.Series(["1", "2.5"]), "x").tolist() == [1, 2.5]
    for odd in ("010", "1E1", "A"):
        with pytest.raises(SaeInputError, match=f"in the file it does not: '{odd}'"):
            code_numbers(pd.Series(["1", odd]), "in the file")


def test_spanish_province_codes_keep_their_zeros(shared_data):
    frame = read_areas(shared_data / "real" / "es_epa2021q1_popcounts.csv", codes=["Province", "Sex", "age4"])
    assert len(frame) > 0 and pd.api.types.is_numeric_dtype(frame["Conteo"])


def test_flags_of_eurostat_have_gaps(shared_data):
    frame = read_areas(shared_data / "real" / "eurostat_ilc_li41.csv", codes=["geo", "TIME_PERIOD"])
    assert frame["OBS_FLAG"].notna().any() and frame["OBS_FLAG"].isna().any()
    assert pd.api.types.is_numeric_dtype(frame["OBS_VALUE"]) and frame["TIME_PERIOD"].iloc[0].isdigit()
