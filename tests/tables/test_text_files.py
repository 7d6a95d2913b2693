"""One reader of text: what is a number, what is missing, and which files are refused by name."""

import gzip
import warnings
from pathlib import Path

import pyarrow as pa
import pytest

from sae.errors import SaeInputError, SaeSpecError, SaeWarning
from sae.tables.text_cells import look_missing, looks_missing, missing_words, typed_cells
from sae.tables.text_files import read_cells


def read(content, name="p.csv", *, encoding="utf-8", separator=None, **how):
    content = content.encode() if isinstance(content, str) else content
    cells, _ = read_cells(content, Path(name), encoding=encoding, separator=separator)
    return {key: column.values.to_pylist() for key, column in typed_cells(cells, name, **how)}


def column(*cells, **how):
    lines = "\n".join(f'k,"{cell}"' for cell in cells)
    return read(f"key,x\n{lines}\n", **how)["x"]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "2", ""], [1, 2, None]),
        (["1", "NA", "3"], [1.0, None, 3.0]),
        (["1.5", ".", ":", "N/A", "NULL", "nan", "#N/A", ".."], [1.5, *[None] * 7]),
        (["MI", "NA", "RM", ""], ["MI", "NA", "RM", None]),
        (["NA", "NA"], ["NA", "NA"]),  # words only: as far as one can know, the level of a text
        (["", ""], [None, None]),
        (["007", "010"], ["007", "010"]),
        (["1E1", "1E2", "10E0"], ["1E1", "1E2", "10E0"]),
        (["1e+05", "1e-05", "2.5e3"], [1e5, 1e-5, 2500.0]),  # as R, Python and spreadsheets write numbers
        (["0x10", "16"], ["0x10", "16"]),
        (["1.0", "2.0", ""], [1.0, 2.0, None]),
        (["1", "2.0"], [1.0, 2.0]),
        (["0", "0.5", "-0.25"], [0.0, 0.5, -0.25]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),
        (["9007199254740993", ""], ["9007199254740993", None]),
        (["Inf", "2", "-inf"], [float("inf"), 2.0, float("-inf")]),
        (["nan", "inf"], ["nan", "inf"]),  # no number among them
        ([" 12\u00a0", "\u202f7", "3"], [12, 7, 3]),
        (["\u00a0Baden\u00a0Baden ", "x"], ["Baden Baden", "x"]),
        (["I\u0302le", "Île"], ["Île", "Île"]),
        (["1 234", "5"], ["1 234", "5"]),
        (["٣", "4"], ["٣", "4"]),
        (["1_000", "4"], ["1_000", "4"]),
        (["2024Q1", "2024Q2"], ["2024Q1", "2024Q2"]),
        (["a\nb", "c"], ["a\nb", "c"]),
        (["'s-Gravenhage", "'=1+1", "''-x"], ["'s-Gravenhage", "=1+1", "'-x"]),
    ],
)
def test_a_column_is_numbers_only_if_every_cell_is(cells, values):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert column(*cells) == values


@pytest.mark.parametrize(
    ("cells", "values", "message"),
    [
        (["25 %", "NA", "7.5%"], [0.25, None, 0.075], r"p\.csv: x holds percent signs .*'25 %' is 0\.25"),
        (["0,25", "1,5"], ["0,25", "1,5"], r"x holds numbers with commas .*decimal=','"),
        (["1.1", "1.10"], ["1.1", "1.10"], r"one number in two ways \('1\.1' and '1\.10'\)"),
        (["1.1", "NA", "1.10"], ["1.1", "NA", "1.10"], "one number in two ways"),
    ],
)
def test_what_is_doubtful_is_said(cells, values, message):
    with pytest.warns(SaeWarning, match=message):
        assert column(*cells) == values


@pytest.mark.parametrize(
    ("odd", "values"),
    [
        ("7", [1.0, 22.0, None, 0.0, 7.0]),
        ("-7.50", [1.0, 22.0, None, 0.0, -7.5]),
        ("NA", [1.0, 22.0, None, 0.0, None]),
        *(
            (code, ["1", "22", None, "0", code])
            for code in ("007", "-01", "+0x1F", "0X1", "1E1", "2e05", "07.5")
        ),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_one_odd_spelling_in_the_last_of_several_chunks(odd, values, whole):
    """Chunks that are slices of longer ones, an empty one, and a zero before the end of a cell."""
    chunks = [["9", "1", "22"], [None], ["0", odd]] if whole else [["9", "1"], ["22", None, "0", odd]]
    cells = pa.chunked_array(
        [pa.array(chunk, pa.string()).slice(first == 0) for first, chunk in enumerate(chunks)]
    )
    ((_, typed),) = typed_cells(pa.table({"x": cells}), "p.csv")
    assert typed.is_number == isinstance(values[0], float)
    assert typed.values.to_pylist() == values


def test_cells_are_cleaned_wherever_they_stand():
    clean = [f"a{k}" for k in range(3)]
    for odd, spelt in [
        (" b", "b"),
        ("b\t", "b"),
        ("b c", "b c"),
        ("'=1", "=1"),
        ("'b", "'b"),
        ("e\u0301", "é"),
    ]:
        assert column(*clean, odd) == [*clean, spelt]
        assert column(odd, *clean, odd) == [spelt, *clean, spelt]
    assert column("\u200b", "\u00a0", " ", "b") == [None, None, None, "b"]


def test_decimal_commas_are_an_option():
    assert column("0,25", "NA", "3", decimal=",") == [0.25, None, 3.0]
    assert column("-1,5", "1e-05", decimal=",") == [-1.5, 1e-5]
    with pytest.raises(SaeSpecError, match=r"decimal=';'"):
        column("1", decimal=";")


def test_points_beside_decimal_commas_stand_between_thousands():
    """As text they were taken for weights of 1.234 later."""
    with pytest.warns(SaeWarning, match=r"between thousands \('1\.234' is 1234\)"):
        assert column("2", "1.234", ":", "-12.345.678,5", decimal=",") == [2.0, 1234.0, None, -12345678.5]
    with pytest.warns(SaeWarning, match="numbers with points"):
        assert column("1.5", "1.234", decimal=",") == ["1.5", "1.234"]
    assert column("0.234", "01.234", decimal=",") == ["0.234", "01.234"]


def test_words_that_are_declared_missing():
    assert column("refused", "2", missing=["refused"]) == [None, 2]
    assert column("-9", "-9.0", "2.5", missing=[-9]) == [None, None, 2.5]
    assert column("NA", "MI", missing=["NA"]) == [None, "MI"]
    assert column("na", "MI", missing=["NA"]) == ["na", "MI"]
    assert column("00", "01", missing=[0]) == ["00", "01"]  # words are compared as they are spelt
    for wrong in ("NA", {"a": 1}, [True], [None], 5):
        with pytest.raises(SaeSpecError, match="missing"):
            missing_words(wrong)


def test_usual_words():
    assert all(
        map(looks_missing, ["", "NA", "na", "N/A", "n/a", "NaN", "NULL", ".", "..", ":", "<NA>", "#N/A"])
    )
    assert not any(map(looks_missing, ["None", "none", "-", "0", "Nauru", "NAP"]))
    texts = [" na", "N/A\t", "\u00a0.", "nUll", "\x1f:", "", "NAP", "-", "Nauru", "\u200bNA"]
    assert look_missing(pa.array([*texts, None])).tolist() == [*map(looks_missing, texts), False]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_seen(separator):
    text = "key,x,y\na,1,2\nb,3,4\n".replace(",", separator)
    assert read(text) == {"key": ["a", "b"], "x": [1, 3], "y": [2, 4]}


def test_separators_in_names_and_values_do_not_deceive():
    assert list(read('"a, b, c";x\nk;1\n')) == ["a, b, c", "x"]
    assert list(read("a, b and c;x\nk;1\n")) == ["a, b and c", "x"]  # as many values as names below
    assert read("city;share\nA;0,5\n", decimal=",") == {"city": ["A"], "share": [0.5]}
    assert read("a~b\n1~2\n", separator="~") == {"a": [1], "b": [2]}
    with pytest.raises(SaeSpecError, match="separator='::' is not one character"):
        read("a::b\n1::2\n", separator="::")


def test_names_are_trimmed_and_composed():
    assert list(read(' a\u00a0,gro\u0308ße,"two\nlines"\n1,2,3\n')) == ["a", "größe", "two\nlines"]
    assert list(read("\ufeffa,b\n1,2\n")) == ["a", "b"]
    with pytest.raises(SaeInputError, match="occurs more than once: a"):
        read("a, a\n1,2\n")


def test_encodings():
    assert read("ort\nZürich\nBâle\n".encode("cp1252"), encoding="cp1252")["ort"] == ["Zürich", "Bâle"]
    assert read("ort,x\nZürich,1\n".encode("utf-16"), encoding="utf-16") == {"ort": ["Zürich"], "x": [1]}
    assert read("ort,x\nZürich,1\n".encode("utf-8-sig"), encoding="UTF8") == {"ort": ["Zürich"], "x": [1]}
    with pytest.raises(SaeInputError, match=r"p\.csv is not in the encoding utf-8"):
        read("ort\nZürich\n".encode("cp1252"))
    for name in ("utf-99", "rot13", "base64", "", None, "x\0"):
        with pytest.raises(SaeInputError, match="is not an encoding"):
            read("a,b\n1,2\n", encoding=name)


def test_damaged_compressed_files():
    whole = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (k, k * k) for k in range(500)), mtime=0)
    assert len(read(whole, "p.csv.gz")["a"]) == 500
    for content in (whole[: len(whole) // 2], whole[:-4], whole[:40] + b"\0\1\2" + whole[43:], whole[:12]):
        with pytest.raises(SaeInputError, match=r"p\.csv\.gz"):
            read(content, "p.csv.gz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a,b\n1,2\n1,2,3\n",
            r"p\.csv cannot be read as a table separated by ','.*Expected 2 columns, got 3",
        ),
        ("a,b\n", "but no records"),
        ("\na,b\n1,2\n", r"first line of p\.csv is blank"),
        ("a,,b\n1,2,3\n", r"1 column of p\.csv has no name: 2"),
        ("a,b,a,b\n1,2,3,4\n", r"2 column names of p\.csv occur more than once: a, b"),
    ],
)
def test_malformed_text(text, message):
    with pytest.raises(SaeInputError, match=message):
        read(text)


def test_an_empty_line_is_a_missing_value_where_there_is_one_column():
    assert read("a\n1\n\n3\n") == {"a": [1, None, 3]}
    assert read("a,b\n1,2\n\n3,4\n") == {"a": [1, 3], "b": [2, 4]}
