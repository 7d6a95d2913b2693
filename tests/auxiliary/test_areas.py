"""Covariate tables: what is read, and what is refused by name."""

import gzip
import hashlib

import pandas as pd
import pytest

from sae.auxiliary import open_areas, read_areas
from sae.errors import SaeInputError


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
    assert file.table()[["city", "region"]].to_dict("list") == {"city": ["2", "13"], "region": ["01", "NA"]}
    assert file.table(["region"])["city"].tolist() == [2, 13]


@pytest.mark.parametrize("kind", ["int64", "float64", "Int64", "category", "string", "object"])
def test_codes_of_parquet_are_spelt_alike(tmp_path, kind):
    path = tmp_path / "areas.parquet"
    pd.DataFrame({"city": pd.Series([2, 13]).astype(kind), "x": [0.5, 1.5]}).to_parquet(path)
    assert read_areas(path)["city"].tolist() == ["2", "13"]


def test_a_byte_order_mark_does_not_enter_the_first_name(tmp_path):
    assert list(read_areas(write(tmp_path, "\ufeffcity,x\nA,1\n"))) == ["city", "x"]


def test_namibia_is_a_code_and_not_a_missing_value(tmp_path):
    frame = read_areas(write(tmp_path, "country,x\nNA,1\nZA,NA\n"))
    assert frame["country"].tolist() == ["NA", "ZA"] and frame["x"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("region,x\n", "no rows"),
        ("region,x\nA,1\nB,2\nA,3\n", "more than one row for 1 areas: A"),
        ("region,x\nA,1\n,2\n", r"empty in 1 rows \(lines 3\)"),
        ("region,x\nA,1\nB,n/a\nC,3\n", r"'n/a' \(B\)"),
        ('region,x\nA,1\nB,"2,5"\nC,3\n', r"'2,5' \(B\)"),
        ("region,x,x\nA,1,2\n", "repeats the columns x"),
        ("region,x\nA,1\nB,2,3\n", "no proper CSV"),
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
        read_areas(write(tmp_path, "a", name="areas.ods"))
    with pytest.raises(SaeInputError, match="no column 'city'"):
        read_areas(write(tmp_path, "region,x\nA,1\n"), codes=["city"])


def test_spanish_province_codes_keep_their_zeros(shared_data):
    frame = read_areas(shared_data / "real" / "es_epa2021q1_popcounts.csv", codes=["Province", "Sex", "age4"])
    assert len(frame) > 0 and pd.api.types.is_numeric_dtype(frame["Conteo"])
