"""ODS: what is written is read back exactly, by us and by odfpy; no cell is a formula."""

import re
import zipfile
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from sae.errors import SaeInputError
from sae.tables import EstimateTable, read_table, write_table
from sae.tables.ods import ods_rows

TEXTS = ["01", " two  spaces ", "=1+1", "line\nbreak\n", "\ttab", "a&b<c>\"'", "ü€😀", "NA", "x"]


def table():
    frame = pd.DataFrame(
        {"domain": TEXTS, "unit": "share", "estimate": np.arange(9) / 7 + 0.0123, "se": 0.02}
    )
    frame["n"] = pd.array([1200, None, *range(7)], dtype="Int64")
    frame["in_sample"] = pd.array([True, False, None] * 3, dtype="boolean")
    return EstimateTable(frame.assign(policy="own", flag="e"))


def part(path, name="content.xml"):
    with zipfile.ZipFile(path) as book:
        return book.read(name).decode("utf-8")


def test_the_table_comes_back_exactly_and_its_notes_stand_beside_it(tmp_path):
    path = table().write(tmp_path / "t.ods")
    pd.testing.assert_frame_equal(EstimateTable.read(path).frame, table().frame, rtol=0, atol=0)
    names = [name for name, _ in ods_rows(path)]
    assert names == ["estimates", "notes", "columns", "flags"]
    assert ("Policy", "own") in ods_rows(path)[1][1]


def test_odfpy_reads_the_same(tmp_path):
    pytest.importorskip("odf", reason="odfpy is not installed")
    path = table().write(tmp_path / "t.ods")
    sheets = pd.read_excel(path, engine="odf", sheet_name=None, keep_default_na=False)
    assert list(sheets) == ["estimates", "notes", "columns", "flags"]
    assert sheets["estimates"]["estimate"].tolist() == table()["estimate"].tolist()
    assert sheets["estimates"]["domain"].astype(str).tolist()[1:3] == TEXTS[1:3]


def test_no_formula_no_clock_and_the_kind_of_the_file_comes_first(tmp_path):
    path = table().write(tmp_path / "t.ods")
    with zipfile.ZipFile(path) as book:
        first, *others = book.infolist()
        assert {entry.date_time for entry in book.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert first.filename == "mimetype" and first.compress_type == zipfile.ZIP_STORED
        assert book.read(first) == b"application/vnd.oasis.opendocument.spreadsheet"
        listed = set(re.findall(r'full-path="([^"]+)"', part(path, "META-INF/manifest.xml")))
        assert {entry.filename for entry in others} - {"META-INF/manifest.xml"} == listed - {"/"}
        for entry in others:
            ElementTree.fromstring(book.read(entry))
    assert (
        "table:formula" not in part(path)
        and path.read_bytes() == table().write(tmp_path / "u.ods").read_bytes()
    )


def test_figures_have_their_formats_and_the_names_stay_in_sight(tmp_path):
    text = part(table().write(tmp_path / "t.ods"))
    assert "<text:p>1.2%</text:p>" in text and "<text:p>1,200</text:p>" in text
    shares = re.search(
        r'<number:percentage-style style:name="N(ce\d+)"><number:number number:min-integer-digits="1" '
        r'number:decimal-places="1"/>',
        text,
    )
    assert f'table:style-name="{shares[1]}" office:value-type="percentage" office:value="0.0123"' in text
    used, made = (
        set(re.findall(r'table:style-name="(\w+)"', text)),
        set(re.findall(r'style:name="(\w+)"', text)),
    )
    assert used <= made
    assert 'VerticalSplitPosition" config:type="int">1<' in part(tmp_path / "t.ods", "settings.xml")
    assert "'estimates'.A1:'estimates'.AF10" in text.replace("&apos;", "'")


def test_cells_that_a_program_has_run_together_are_read_apart(tmp_path):
    """As LibreOffice writes them: repeated cells and rows, empty ones up to the end of the sheet.

    A fixture made from the documented structure, not a file of LibreOffice.
    """
    path = write_table(pd.DataFrame({"a": ["x"], "b": ["y"], "c": [2.0]}), tmp_path / "t.ods")
    text = part(path)
    cell = (
        '<table:table-cell office:value-type="float" office:value="3"{}><text:p>3</text:p></table:table-cell>'
    )
    row = (
        "<table:table-row>{}</table:table-row>".format(cell.format(' table:number-columns-repeated="2"'))
        + '<table:table-row table:number-rows-repeated="2"><table:table-cell/></table:table-row>'
        + '<table:table-row table:number-rows-repeated="2">'
        + '<table:table-cell table:number-columns-repeated="2"/>'
        + cell.format("")
        + '<table:table-cell table:number-columns-repeated="16381"/></table:table-row>'
        + '<table:table-row table:number-rows-repeated="1048570"><table:table-cell/></table:table-row>'
    )
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("content.xml", text.replace("</table:table>", row + "</table:table>"))
    assert ods_rows(path)[0][1][2:] == [(3, 3), (), (), (None, None, 3), (None, None, 3)]
    assert read_table(path)["c"].isna().tolist() == [False, True, True, True, False, False]


@pytest.mark.parametrize("text", ["bell\x07", "two\r\nlines"])
def test_a_text_that_xml_cannot_hold_is_refused(tmp_path, text):
    with pytest.raises(SaeInputError, match=r"row 2\) holds the control character"):
        write_table(pd.DataFrame({"a": ["x", text]}), tmp_path / "t.ods")
    assert not list(tmp_path.iterdir())
