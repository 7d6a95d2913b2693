"""Files in, surveys out: every format, codes kept, and malformed files named."""

import gzip
import hashlib
import sys
from datetime import date

import numpy as np
import pandas as pd
import pytest

import sae
from sae.errors import SaeInputError, SaeSpecError, SaeWarning
from sae.survey.files import read_frame

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
        ("p.xlsx", "w\n1\n", r"p\.xlsx is a spreadsheet"),
        ("p.XLS", "w\n1\n", r"p\.XLS is a spreadsheet"),
        ("p.csv", "PK\x03\x04...", r"p\.csv is a spreadsheet or another zip archive, although its name ends"),
        ("p.txt", "PAR1...", r"p\.txt is a Parquet file"),
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


def test_naples_is_no_missing_value(write):
    """MI, NA, RM: the province codes of Milan, Naples and Rome."""
    text = "w,prov,income\n1,MI,10\n2,NA,NA\n3,RM,30\n4,NA,40\n5,,50\n"
    with pytest.warns(SaeWarning, match=r"kept as levels: prov 'NA' \(2\)") as caught:
        survey = sae.read_survey(write("p.csv", text), weights="w")
    assert len(caught) == 1 and any("prov 'NA' (2)" in note for note in survey.notes)
    assert survey.frame["prov"].astype(object).where(survey.frame["prov"].notna(), "").tolist() == [
        *["MI", "NA", "RM", "NA"],
        "",
    ]
    np.testing.assert_array_equal(survey.frame["income"], [10, np.nan, 30, 40, 50])
    assert survey.missing == {"prov": 1, "income": 1}


def test_a_layout_says_what_is_missing(write):
    text = "w,prov,income,job\n1,MI,10,x\n2,NA,-9,NA\n3,RM,-9.0,refused\n4,NA,40,y\n"
    survey = sae.read_survey(write("p.csv", text), weights="w", layout={"missing": ["NA", -9, "refused"]})
    assert survey.missing == {"prov": 2, "income": 2, "job": 2}
    assert survey.frame["job"].cat.categories.tolist() == ["x", "y"]
    with pytest.raises(SaeSpecError, match="missing = 'NA' is not a list"):
        sae.read_survey(write("p.csv", text), weights="w", layout={"missing": "NA"})


@pytest.mark.parametrize("kind", ["parquet", "frame"])
def test_missing_words_of_typed_data(tmp_path, kind):
    frame = pd.DataFrame({"w": [1.0, 2.0, 3.0], "prov": ["MI", "NA", "RM"], "n": [1, -9, 3]})
    frame.to_parquet(tmp_path / "p.parquet")

    def read(layout):
        if kind == "frame":
            return sae.Survey.from_frame(frame, weights="w", layout=layout)
        return sae.read_survey(tmp_path / "p.parquet", weights="w", layout=layout)

    with pytest.warns(SaeWarning, match=r"prov 'NA' \(1\)"):
        assert read(None).frame["prov"].tolist() == ["MI", "NA", "RM"]
    assert read({"missing": ["NA", -9]}).missing == {"prov": 1, "n": 1}


def test_codes_that_look_like_numbers_stay_apart(write):
    survey = sae.read_survey(write("p.csv", "w,ward,y\n1,1E1,0\n2,1E2,1\n3,10E0,1\n"), weights="w")
    assert survey.frame["ward"].tolist() == ["1E1", "1E2", "10E0"]
    assert sae.direct(survey, "y", by="ward")["domain"].tolist() == ["10E0", "1E1", "1E2"]


def test_identifiers_and_binary_text_of_parquet(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table(
        {
            "w": [1.0, 2.0, 3.0],
            "id": pa.array([9007199254740993, 9007199254740992, None], pa.int64()),
            "place": pa.array([b"Z\xc3\xbcrich", b"Bern", None], pa.binary()),
            "money": pa.array(["1.50", None, "2.25"]).cast(pa.decimal128(5, 2)),
        }
    )
    parquet.write_table(table, tmp_path / "p.parquet")
    frame = sae.read_survey(tmp_path / "p.parquet", weights="w").frame
    assert frame["id"].tolist()[:2] == ["9007199254740993", "9007199254740992"]
    assert frame["place"].tolist()[:2] == ["Zürich", "Bern"]
    np.testing.assert_array_equal(frame["money"], [1.5, np.nan, 2.25])
    parquet.write_table(table.append_column("w", pa.array([1, 2, 3])), tmp_path / "q.parquet")
    with pytest.raises(SaeInputError, match=r"q\.parquet repeats the columns w"):
        sae.read_survey(tmp_path / "q.parquet", weights="w")
    latin = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"Z\xfcrich"]).buffers()[1:]])
    parquet.write_table(pa.table({"w": [1.0], "place": latin}), tmp_path / "r.parquet")
    with pytest.raises(SaeInputError, match=r"r\.parquet is not a readable Parquet"):
        sae.read_survey(tmp_path / "r.parquet", weights="w")
    content = (tmp_path / "p.parquet").read_bytes()
    (tmp_path / "p.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(SaeInputError, match=r"p\.parquet is not a readable Parquet"):
        sae.read_survey(tmp_path / "p.parquet", weights="w")


def test_semicolons_and_decimal_commas(write):
    text = "w;ort;einkommen\n1,5;Köln ;1000,25\n2,0;\u00a0Köln;NA\n"
    survey = sae.read_survey(write("p.csv", text), weights="w", decimal=",")
    assert survey.weights.tolist() == [1.5, 2.0] and survey.frame["ort"].tolist() == ["Köln", "Köln"]
    assert survey.frame["einkommen"].tolist()[0] == 1000.25
    with (
        pytest.warns(SaeWarning, match=r"p\.csv: w holds numbers with commas"),
        pytest.raises(SaeInputError, match="decimal point, not a comma"),
    ):
        sae.read_survey(write("p.csv", text), weights="w")
    given = sae.read_survey(write("p.csv", text), weights="w", decimal=",", separator=";")
    assert given.weights.tolist() == [1.5, 2.0]


def test_frames_of_other_kinds_are_refused_by_name():
    polars = type("DataFrame", (), {"__module__": "polars.dataframe.frame", "to_pandas": lambda self: None})
    with pytest.raises(SaeInputError, match="polars DataFrame, not a pandas DataFrame"):
        sae.Survey.from_frame(polars(), weights="w")
    with pytest.raises(SaeInputError, match="are a dict, not"):
        sae.Survey.from_frame({"w": [1.0]}, weights="w")


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}, {1}, np.array([1, 2]), b"x"], ids=str)
def test_cells_that_hold_several_values_are_refused_by_column(cell):
    frame = pd.DataFrame({"w": [1.0, 1.0], "odd": pd.Series([cell, None], dtype=object)})
    with pytest.raises(SaeInputError, match="Column 'odd': A label is a") as caught:
        sae.Survey.from_frame(frame, weights="w")
    assert caught.value.column == "odd"


def test_names_that_are_one_as_text_are_refused():
    frame = pd.DataFrame([[1.0, 2.0, 3.0]], columns=["w", 1, "1"])
    with pytest.raises(SaeInputError, match="The records repeat the columns 1"):
        sae.Survey.from_frame(frame, weights="w")


def test_mixed_columns_have_one_text_for_a_label():
    """1 … 5 and "6.0": whatever mix of numbers and texts a spreadsheet gave."""
    columns = {
        "mixed": pd.Series([1, 2.0, "3", None], dtype=object),
        "float": [1.0, 2.0, 3.0, np.nan],
        "object": pd.Series([1, 2.0, 3, None], dtype=object),
        "days": pd.Series(
            [pd.Timestamp("2024-01-01"), date(2024, 1, 1), date(2024, 1, 2), None], dtype=object
        ),
        "accents": ["Île", "I\u0302le", "x", None],
        "levels": pd.Categorical(["Île", "I\u0302le", "x", None], categories=["x", "I\u0302le", "Île"]),
    }
    survey = sae.Survey.from_frame(pd.DataFrame({"w": 1.0, "y": [0, 1, 1, 0], **columns}), weights="w")
    for name in ("mixed", "float", "object"):
        assert sae.direct(survey, "y", by=name)["domain"].tolist() == ["1", "2", "3"]
    assert sae.direct(survey, "y", by="days")["domain"].tolist() == ["2024-01-01", "2024-01-02"]
    for name in ("accents", "levels"):
        table = sae.direct(survey, "y", by=name).frame
        assert table.set_index("domain")["n"].to_dict() == {"x": 1, "Île": 2}


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
