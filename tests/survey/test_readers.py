"""Files in, surveys out: every format, codes kept, and malformed files named."""

import gzip
import hashlib
import sys

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError
from sae.survey.readers import read_frame

TEXT = "w,puma,status,income,empty\n10,00101,2.0,1.5,\n12.5,00102,1,NA,\n9,00101,,2,\n"


@pytest.fixture
def write(tmp_path):
    def to(name, text, encoding="utf-8"):
        file = tmp_path / name
        data = text.encode(encoding)
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return file

    return to


@pytest.mark.parametrize("name", ["persons.csv", "persons.csv.gz", "mit leerzeichen ä.csv"])
def test_csv_keeps_codes_and_types(write, name):
    file = write(name, TEXT)
    survey = sae.read_survey(file, weights="w")
    assert survey.frame["puma"].tolist() == ["00101", "00102", "00101"]
    assert survey.frame["status"].dtype == np.float64
    np.testing.assert_array_equal(survey.frame["income"], [1.5, np.nan, 2.0])
    np.testing.assert_array_equal(survey.weights, [10, 12.5, 9])
    assert survey.source == {"file": name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert survey.missing == {"status": 1, "income": 1, "empty": 3}


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separator_is_seen_from_the_header(write, separator):
    survey = sae.read_survey(write("p.txt", TEXT.replace(",", separator)), weights="w")
    assert survey.frame["puma"].tolist()[0] == "00101"
    assert any(f"separated by {separator!r}" in note for note in survey.notes)


def test_byte_order_mark_windows_lines_and_quotes(write):
    text = '\ufeffw,name\r\n1,"Müller, A"\r\n2,"x"\r\n'
    survey = sae.read_survey(write("p.csv", text), weights="w")
    assert survey.frame["name"].tolist() == ["Müller, A", "x"]


def test_other_encodings(write):
    file = write("p.csv", "w,ort\n1,Zürich\n2,Bâle\n", "cp1252")
    with pytest.raises(SaeInputError, match=r"encoding utf-8, which was tried(.|\n)*cp1252"):
        sae.read_survey(file, weights="w")
    survey = sae.read_survey(file, weights="w", encoding="cp1252")
    assert survey.frame["ort"].tolist() == ["Zürich", "Bâle"]
    header = write("q.csv", "w,größe\n1,2\n", "cp1252")
    with pytest.raises(SaeInputError, match="encoding utf-8, which was tried"):
        sae.read_survey(header, weights="w")
    with pytest.raises(SaeInputError, match="is not an encoding"):
        sae.read_survey(file, weights="w", encoding="utf-99")


def test_identifiers_with_more_digits_than_a_float_holds(write):
    text = "w,long,holed\n1,12345678901234567890,9007199254740993\n1,12345678901234567891,\n"
    frame, _ = read_frame(write("p.csv", text))
    assert frame["long"].tolist() == ["12345678901234567890", "12345678901234567891"]
    assert frame["holed"].tolist()[0] == "9007199254740993"


def test_numbers_that_look_like_codes_stay_numbers(write):
    frame, _ = read_frame(write("p.csv", "w,zero,share,padded\n1,0,0.5, 12\n1,10,-0.25,7 \n"))
    assert frame["zero"].tolist() == [0, 10] and frame["share"].tolist() == [0.5, -0.25]
    assert frame["padded"].tolist() == [12, 7]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.csv", "", "is empty"),
        ("p.csv", "w,a\n", "but no records"),
        ("p.csv", "\nw,a\n1,2\n", "first line of p.csv is blank"),
        ("p.csv", "w,a\n1,2\n1,2,3\n", "cannot be read as a table"),
        ("p.csv", "w,w\n1,2\n", "1 column name of p.csv occurs more than once: w"),
        ("p.csv", "w,,b\n1,2,3\n", "1 column of p.csv has no name: 2"),
        ("p.docx", "w\n1\n", "of a kind that cannot be read"),
        ("p.parquet", "w\n1\n", "not a readable Parquet"),
        ("p.csv", 'w,a\n10,1\nten,2\n"1,5",3\n', r"text in 2 of 3 records \(row 2: 'ten', row 3: '1,5'\)"),
        ("p.csv", "weight,a\n10,1\n", "The weights column 'w' is not in the survey"),
    ],
)
def test_malformed_files(write, name, text, said):
    with pytest.raises(SaeInputError, match=said):
        sae.read_survey(write(name, text), weights="w")


def test_unknown_column_gives_near_matches(write):
    with pytest.raises(SaeInputError, match="Did you mean PWGTP") as caught:
        sae.read_survey(write("p.csv", "PWGTP,a\n10,1\n"), weights="pwgt")
    assert caught.value.column == "pwgt"


def test_absent_file_and_false_gzip(tmp_path, write):
    with pytest.raises(SaeInputError, match="There is no file"):
        sae.read_survey(tmp_path / "none.csv", weights="w")
    (tmp_path / "p.csv.gz").write_text("w\n1\n", encoding="utf-8")
    with pytest.raises(SaeInputError, match="is not compressed"):
        sae.read_survey(tmp_path / "p.csv.gz", weights="w")


def test_parquet_round_trip(tmp_path):
    frame = pd.DataFrame(
        {
            "w": [1.0, 2.0, 3.0],
            "puma": ["00101", "00102", None],
            "n": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "level": pd.Categorical(["b", "a", "b"]),
        }
    )
    frame.to_parquet(tmp_path / "p.parquet")
    records = sae.read_survey(tmp_path / "p.parquet", weights="w").frame
    assert records["puma"].tolist()[:2] == ["00101", "00102"] and records["puma"].isna().tolist()[2]
    assert isinstance(records["puma"].dtype, pd.CategoricalDtype)
    np.testing.assert_array_equal(records["n"], [1, np.nan, 3])
    np.testing.assert_array_equal(records["flag"].astype(float), [1, np.nan, 0])
    assert records["level"].tolist() == ["b", "a", "b"]


@pytest.mark.parametrize("kind", ["sav", "dta", "xpt"])
def test_statistical_formats_round_trip(tmp_path, kind):
    pyreadstat = pytest.importorskip("pyreadstat")
    frame = pd.DataFrame({"w": [1.0, 2.0, 3.0], "puma": ["00101", "00102", ""], "n": [1.0, np.nan, 3.0]})
    file = tmp_path / f"p.{kind}"
    getattr(pyreadstat, f"write_{'xport' if kind == 'xpt' else kind}")(frame, str(file))
    survey = sae.read_survey(file, weights="w")
    assert survey.frame["puma"].tolist()[:2] == ["00101", "00102"]
    assert survey.missing == {"puma": 1, "n": 1}


def test_damaged_statistical_file(tmp_path):
    pytest.importorskip("pyreadstat")
    (tmp_path / "p.sas7bdat").write_bytes(b"not a SAS file at all")
    with pytest.raises(SaeInputError, match=r"p\.sas7bdat cannot be read"):
        sae.read_survey(tmp_path / "p.sas7bdat", weights="w")


def test_without_pyreadstat_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    (tmp_path / "p.sav").write_bytes(b"x")
    with pytest.raises(SaeInputError, match=r"pip install 'sae\[survey\]'"):
        sae.read_survey(tmp_path / "p.sav", weights="w")
