"""Eurostat's three formats: what is read, what is written back, and what is refused by name.

SDMX-CSV is tested on files of Eurostat. The TSV and JSON-stat below are FIXTURES, written from the documented
structure (Eurostat's pages on its API, json-stat.org): no file of these formats lies here.
"""

import gzip
import io
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sae.auxiliary import EurostatTable, read_eurostat, write_eurostat
from sae.errors import SaeInputError, SaeSpecError

REAL = [
    "demo_r_d3dens.csv.gz",
    "demo_r_gind3.csv.gz",
    "demo_r_pjanaggr3.csv.gz",
    "demo_r_pjanind2.csv.gz",
    "edat_lfse_16.csv.gz",
    "ilc_li41.csv",
    "lfst_r_lfp2acedu.csv.gz",
    "lfst_r_lfp2actrt.csv.gz",
    "lfst_r_lfur2gac.csv.gz",
    "nama_10r_2gdp.csv.gz",
    "nama_10r_2hhinc.csv.gz",
    "trng_lfse_04.csv.gz",
]
CSV = (
    "DATAFLOW,LAST UPDATE,freq,unit,geo,TIME_PERIOD,OBS_VALUE,OBS_FLAG\r\n"
    "ESTAT:LFST_X(1.0),24/03/23 23:00:00,A,PC,AT11,2021,61.0,\r\n"
    "ESTAT:LFST_X(1.0),24/03/23 23:00:00,A,PC,AT11,2022,,u\r\n"
    "ESTAT:LFST_X(1.0),24/03/23 23:00:00,A,PC,BE10,2021,7,bu\r\n"
)
TSV = "freq,unit,geo\\TIME_PERIOD\t2021 \t2022 \nA,PC,AT11\t61.0 \t: u\nA,PC,BE10\t7 bu\t: \n"
JSON = {
    "version": "2.0",
    "class": "dataset",
    "label": "Employment rate",
    "source": "ESTAT",
    "updated": "2023-03-24T23:00:00+0100",
    "value": {"0": 61.0, "2": 7},
    "status": {"1": "u", "2": "bu"},
    "id": ["freq", "unit", "geo", "time"],
    "size": [1, 1, 2, 2],
    "dimension": {
        "freq": {"label": "Time frequency", "category": {"index": {"A": 0}, "label": {"A": "Annual"}}},
        "unit": {"label": "Unit", "category": {"index": {"PC": 0}, "label": {"PC": "Percentage"}}},
        "geo": {
            "label": "Geopolitical entity",
            "category": {
                "index": {"AT11": 0, "BE10": 1},
                "label": {"AT11": "Burgenland", "BE10": "Brussels"},
            },
        },
        "time": {"label": "Time", "category": {"index": {"2021": 0, "2022": 1}}},
    },
    "extension": {"lang": "EN", "id": "LFST_X", "agencyId": "ESTAT", "version": "1.0"},
}
FIGURES = [
    ["A", "PC", "AT11", "2021", 61.0, 1, ""],
    ["A", "PC", "AT11", "2022", None, None, "u"],
    ["A", "PC", "BE10", "2021", 7.0, 0, "bu"],
]


def write(folder, text, name="file", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def figures(table):
    frame = table.observed().frame
    return frame.astype("object").where(frame.notna(), None).values.tolist()


@pytest.mark.parametrize("text", [CSV, TSV, json.dumps(JSON), CSV.replace("\r\n", "\n"), "\ufeff" + CSV])
@pytest.mark.parametrize("compressed", [False, True])
def test_three_formats_are_known_by_their_content(tmp_path, text, compressed):
    content = text.encode()
    table = read_eurostat(write(tmp_path, gzip.compress(content) if compressed else content, "no.ending"))
    assert table.dimensions == ("freq", "unit", "geo") and figures(table) == FIGURES
    assert table.frame["geo"].dtype == "string" and table.frame["value"].dtype == np.float64


def test_what_is_known_of_the_source_is_kept(tmp_path):
    table = read_eurostat(write(tmp_path, CSV))
    assert (table.code, table.dataflow) == ("lfst_x", "ESTAT:LFST_X(1.0)")
    assert table.updated == "2023-03-24T23:00:00"
    cube = read_eurostat(write(tmp_path, json.dumps(JSON)))
    assert (cube.dataflow, cube.updated) == ("ESTAT:LFST_X(1.0)", "2023-03-24T23:00:00+0100")
    assert cube.title == "Employment rate" and cube.labels["geo"]["AT11"] == "Burgenland"
    assert cube.dimension_labels["geo"] == "Geopolitical entity" and "updated 2023" in repr(cube)
    assert read_eurostat(write(tmp_path, TSV), dataflow="ESTAT:LFST_X(1.0)").code == "lfst_x"
    with pytest.raises(SaeInputError, match=r"holds ESTAT:LFST_X\(1.0\), not ESTAT:OTHER\(1.0\)"):
        read_eurostat(write(tmp_path, CSV), dataflow="ESTAT:OTHER(1.0)")


def test_codes_stay_text_and_a_printed_gap_stays_a_row(tmp_path):
    text = "age,geo\\TIME_PERIOD\t2021 \t2022 \n01,007\t: \t0n\n02,NA\t-1.50 p\t: c\n"
    table = read_eurostat(write(tmp_path, text))
    assert table["age"].tolist() == ["01", "01", "02", "02"] and table["geo"].tolist()[2] == "NA"
    assert table["flag"].tolist() == ["", "n", "p", "c"]
    assert table["value"].isna().tolist() == [True, False, False, True]
    assert table["decimals"].tolist()[1:3] == [0, 2] and len(table.observed()) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"value": [61.0, None, 7, None]},
        {"value": [61.0, None, 7, None], "status": [None, ":u", "bu", None]},
        {"status": {"1": ": u", "2": "bu"}},
        {"dimension": {**JSON["dimension"], "geo": {"category": {"index": ["AT11", "BE10"]}}}},
        {"dimension": {**JSON["dimension"], "freq": {"category": {"label": {"A": "Annual"}}}}},
    ],
)
def test_json_stat_in_its_spellings(tmp_path, change):
    assert figures(read_eurostat(write(tmp_path, json.dumps({**JSON, **change})))) == FIGURES


def test_the_time_of_a_cube_is_what_its_role_says(tmp_path):
    cube = json.loads(json.dumps(JSON).replace('"time"', '"TIME_PERIOD"'))
    table = read_eurostat(write(tmp_path, json.dumps({**cube, "role": {"time": ["TIME_PERIOD"]}})))
    assert figures(table) == FIGURES


def test_marks_of_confidentiality_go_to_their_own_column(tmp_path):
    text = CSV.replace("OBS_FLAG\r", "OBS_FLAG,CONF_STATUS\r").replace(",\r\nEST", ",,\r\nEST")
    text = text.replace(",,u\r", ",,u,C\r").replace("bu\r", "bu,\r")
    table = read_eurostat(write(tmp_path, text))
    assert table["flag"].tolist() == ["", "uC", "bu"]
    assert write_eurostat(table, tmp_path / "out.csv").read_bytes() == text.encode()
    tsv = read_eurostat(write_eurostat(table, tmp_path / "out.tsv", format="tsv"))
    assert figures(tsv) == figures(table)
    assert figures(read_eurostat(write(tmp_path, TSV.replace(": u", ": @C"))))[1][-1] == "C"
    older = replace(read_eurostat(write(tmp_path, CSV)), frame=table.frame)  # a header without the column
    assert write_eurostat(older, tmp_path / "older.csv").read_bytes() == text.encode()


def test_a_header_of_version_2_is_read_and_kept(tmp_path):
    text = "STRUCTURE,STRUCTURE_ID,freq,geo,TIME_PERIOD,OBS_VALUE,OBS_FLAG,CONF_STATUS\r\n"
    text += "dataflow,ESTAT:PRC(1.0),M,EA20,2026-06,1.9,p,\r\n"
    table = read_eurostat(write(tmp_path, text))
    assert (table.dataflow, table.updated, table.dimensions) == ("ESTAT:PRC(1.0)", "", ("freq", "geo"))
    assert write_eurostat(table, tmp_path / "out.csv").read_bytes() == text.encode()


def test_attributes_and_quoted_texts_are_kept(tmp_path):
    text = CSV.replace("OBS_FLAG", "OBS_FLAG,SE,note").replace(",\r\nEST", ',,0.5,"a, ""b"""\r\nEST')
    text = text.replace(",u\r", ",u,,\r").replace("bu\r", "bu,1.25,\r")
    table = read_eurostat(write(tmp_path, text))
    assert table.attributes == ("SE", "note") and table["note"].tolist()[0] == 'a, "b"'
    assert write_eurostat(table, tmp_path / "out.csv").read_bytes() == text.encode()
    with pytest.raises(SaeInputError, match="no place for the attributes SE, note"):
        write_eurostat(table, tmp_path / "out.json", format="json-stat")


@pytest.mark.parametrize("name", REAL)
def test_files_of_eurostat_are_written_back_to_the_byte_and_pass_through_all_formats(
    shared_data, tmp_path, name
):
    path = shared_data / f"real/eurostat_{name}"
    content = Path(path).read_bytes()
    content = gzip.decompress(content) if name.endswith("gz") else content
    table = read_eurostat(path)
    assert len(table) == content.count(b"\n") - 1 and table.code == name.partition(".")[0]
    assert write_eurostat(table, tmp_path / "back.csv").read_bytes() == content
    wide = read_eurostat(write_eurostat(table, tmp_path / "wide", format="tsv"), dataflow=table.dataflow)
    wide = replace(wide, updated=table.updated)  # a TSV does not hold it
    cube = read_eurostat(write_eurostat(wide, tmp_path / "cube", format="json-stat"))
    assert write_eurostat(cube.observed(), tmp_path / "cube.csv").read_bytes() == content


def test_the_same_table_gives_the_same_bytes_also_compressed(tmp_path):
    table = read_eurostat(write(tmp_path, CSV))
    for format in ("sdmx-csv", "tsv", "json-stat"):
        one, two = (write_eurostat(table, tmp_path / f"{k}.gz", format=format).read_bytes() for k in (1, 2))
        assert one == two and one[:2] == b"\x1f\x8b"
        assert figures(read_eurostat(tmp_path / "1.gz")) == FIGURES


def test_a_cube_is_written_as_it_was_read(tmp_path):
    first = read_eurostat(write(tmp_path, json.dumps(JSON)))
    cube = json.loads(write_eurostat(first, tmp_path / "cube.json", format="json-stat").read_text("utf-8"))
    for key in ("value", "status", "id", "size", "label", "updated", "source"):
        assert cube[key] == JSON[key]
    assert cube["dimension"]["geo"] == JSON["dimension"]["geo"]
    assert '"0":61.0,"2":7}' in (tmp_path / "cube.json").read_text("utf-8")
    again = read_eurostat(tmp_path / "cube.json")
    assert again.labels == first.labels and again.title == first.title


def test_a_new_value_is_written_in_full_whatever_the_decimals_of_the_old(tmp_path):
    table = read_eurostat(write(tmp_path, CSV))
    frame = table.to_frame()
    frame.loc[0, "value"], frame.loc[2, "value"] = 1e-7 / 3, 61.5
    again = read_eurostat(write_eurostat(replace(table, frame=frame), tmp_path / "out.csv"))
    assert again["value"].tolist()[0] == 1e-7 / 3 and again["value"].tolist()[2] == 61.5
    with pytest.raises(SaeInputError, match="infinite"):
        frame.loc[0, "value"] = np.inf
        write_eurostat(replace(table, frame=frame), tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


CUT = gzip.compress((CSV * 50).encode(), mtime=0)[:-30]
MALFORMED = {
    "empty": (b"", r"empty \(0 bytes\)"),
    "cut gzip": (CUT, "damaged or cut off"),
    "xml": ("<?xml version='1.0'?><m:Fault/>", "begins with SDMX-ML or another XML"),
    "other csv": ("a,b\n1,2\n", "begins with a line 'a,b'"),
    "null bytes": ("a\x00b", "null bytes"),
    "mixed encodings": (CSV.encode().replace(b"BE10", b"BE\xe9"), "1 lines of file are not UTF-8: 4"),
    "no rows": (CSV.partition("\r\n")[0], "no figures"),
    "cut line": (CSV[:-20], r"1 of 3 lines of file do not have the 8 cells of its header: line 4 \(3\)"),
    "wide line": (CSV.replace("61.0,", "61.0,,"), r"line 2 \(9\)"),
    "decimal comma": (CSV.replace("61.0", '"61,0"'), r"1 values of file are no numbers: '61,0' \(line 2\)"),
    "open quote": (CSV.replace("61.0", '"61.0'), "line"),
    "no number": (CSV.replace("61.0", "6l.0"), r"no numbers: '6l.0' \(line 2\)"),
    "flag": (CSV.replace(",bu", ",bq"), r"1 figures of file bear unknown flags: 'bq' \(line 4\)"),
    "twice": (CSV.replace("2022", "2021"), r"1 keys: A / PC / AT11 / 2021 \(line 2, line 3\)"),
    "empty code": (CSV.replace("BE10", ""), "geo is empty for 1 figures of file: line 4"),
    "two dataflows": (CSV.replace("LFST_X", "LFST_Y", 1), "2 values of DATAFLOW"),
    "no flag": (CSV.replace("OBS_FLAG", "OBS_FLA"), "lacks OBS_FLAG"),
    "no time": (CSV.replace("TIME_PERIOD", "year"), "lacks TIME_PERIOD"),
    "column twice": (CSV.replace("unit", "geo"), "repeats 'geo'"),
    "tsv cell": (TSV.replace("61.0", "61,0"), r"no numbers: '61,0' \(line 2, 2021\)"),
    "tsv flag": (TSV.replace("7 bu", "7 bx"), r"unknown flags: 'bx' \(line 3, 2021\)"),
    "tsv line": (TSV.replace("\t: u", ""), r"line 2 \(2\)"),
    "tsv codes": (TSV.replace("PC,AT11", "AT11"), "1 lines of file do not have 3 codes.*: line 2"),
    "tsv twice": (TSV.replace("BE10", "AT11"), "2 keys: A / PC / AT11 / 2021"),
    "tsv period": (TSV.replace("2022", "2021"), "keys"),
    "tsv header": (TSV.replace("TIME_PERIOD", "geo"), "Expected freq,unit,geo"),
    "json cut": (json.dumps(JSON)[:-40], r"no JSON, or it is cut off.*line 1, column"),
    "json other": ("{}", "no JSON-stat 2.0"),
    "json twice": (json.dumps(JSON).replace('"2": 7', '"0": 7'), "names '0' twice"),
    "json size": (json.dumps({**JSON, "size": [1, 1, 3, 2]}), "geo of file has 3 categories"),
    "json cell": (
        json.dumps({**JSON, "value": {"9": 1.0}}),
        "value of file does not fit its cube of 4 cells: 9",
    ),
    "json list": (json.dumps({**JSON, "value": [1.0]}), "1 in a list"),
    "json text": (json.dumps({**JSON, "value": {"0": "x"}}), r"no numbers: 'x' \(cell 0\)"),
    "json flag": (json.dumps({**JSON, "status": {"0": "q"}}), r"unknown flags: 'q' \(cell 0\)"),
    "json dimension": (json.dumps({**JSON, "dimension": {}}), "without dimension freq"),
    "json kind": (json.dumps({**JSON, "value": "x", "role": []}), "look at its value, role"),
    "json index": (
        json.dumps({**JSON, "dimension": {**JSON["dimension"], "geo": {"category": {"index": 3}}}}),
        "look at its dimension geo",
    ),
    "json place": (json.dumps(JSON).replace('"BE10": 1', '"BE10": 1.5'), "or not each place once"),
    "json endless": (json.dumps({**JSON, "size": [1, 1, float("inf"), 2]}), "no whole JSON-stat cube"),
    "json none": (json.dumps({**JSON, "value": {}, "status": {}}), "holds no figures"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_refused_with_lines_and_counts(tmp_path, case):
    content, message = MALFORMED[case]
    with pytest.raises(SaeInputError, match=message):
        read_eurostat(write(tmp_path, content))


def mutated(text, rng):
    """Return a text with characters changed, left out or repeated, or a cube with another member."""
    if text.startswith("{") and rng.random() < 0.5:
        cube = json.loads(text)
        inner = cube[rng.choice(list(cube))]
        target = inner if isinstance(inner, dict) and inner and rng.random() < 0.5 else cube
        target[rng.choice(list(target))] = rng.choice(
            [None, [], {}, "x", -1, 1.5, True, float("inf"), 10**30]
        )
        return json.dumps(cube)
    for _ in range(rng.choice([1, 1, 3])):
        at, end = sorted(rng.sample(range(len(text)), 2))
        new = rng.choice(['"', ",", "\t", "\n", "0", "u", "", text[at : at + 20] * 2])
        text = text[:at] + new + text[at + rng.choice([0, 1, min(end - at, 30)]) :]
    return text


@pytest.mark.parametrize("text", [CSV, TSV, json.dumps(JSON)], ids=["csv", "tsv", "json"])
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path, text):
    rng = random.Random(20)
    refused = 0
    for _ in range(150):
        try:
            read_eurostat(write(tmp_path, mutated(text, rng)))
        except SaeInputError:
            refused += 1
    assert 50 < refused < 150


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    table = read_eurostat(write(tmp_path, CSV))
    path = write(tmp_path, "older", "out")
    twice = pd.concat([table.frame, table.frame.iloc[[0]]])
    comma = table.frame.assign(geo=["A,B", "C", "D"])
    for frame, format, message in [
        (twice, "sdmx-csv", r"more than one figure for 1 keys: A / PC / AT11 / 2021 \(row 1, row 4\)"),
        (table.frame.assign(flag="y"), "tsv", "3 figures of out bear unknown flags: 'y'"),
        (comma, "tsv", "1 codes hold a comma, a tab.*'A,B'"),
        (table.frame.iloc[:0], "json-stat", "no figures"),
        (table.frame.assign(value=np.nan, flag=""), "tsv", "TSV leaves such series out"),
    ]:
        with pytest.raises(SaeInputError, match=message):
            write_eurostat(replace(table, frame=frame), path, format=format)
    assert path.read_text() == "older" and {p.name for p in tmp_path.iterdir()} == {"file", "out"}
    with pytest.raises(SaeSpecError, match="'xml' is not written here"):
        write_eurostat(table, path, format="xml")
    with pytest.raises(SaeInputError, match="There is no file"):
        read_eurostat(tmp_path / "absent.tsv")


def test_a_table_selects_levels_by_name(tmp_path):
    table = read_eurostat(write(tmp_path, CSV))
    assert table.select(geo=["BE10"], time="2021")["value"].tolist() == [7.0]
    with pytest.raises(SaeSpecError, match=r"lfst_x has no geo 'BE1'.\nIt has AT11, BE10"):
        table.select(geo="BE1")
    with pytest.raises(SaeSpecError, match="no dimension 'sex'"):
        table.select(sex="T")
    with pytest.raises(SaeSpecError, match="own columns"):
        EurostatTable(table.frame, ("value",))


def test_sdmx1_reads_what_is_written(shared_data, tmp_path):
    """sdmx1 reads SDMX-CSV 2.0.0: the leading columns are those of that version, all else is the same."""
    import sdmx
    from sdmx.model import v30
    from sdmx.reader.csv import Reader

    table = read_eurostat(shared_data / "real/eurostat_lfst_r_lfur2gac.csv.gz").select(time=["2021", "2022"])
    head = ("STRUCTURE", "STRUCTURE_ID", "ACTION", *table.dimensions, "TIME_PERIOD", "OBS_VALUE", "OBS_FLAG")
    path = write_eurostat(replace(table, header=head), tmp_path / "v2.csv")
    structure = v30.DataStructureDefinition(
        id="LFST_R_LFUR2GAC", maintainer=sdmx.model.common.Agency(id="ESTAT")
    )
    for name in (*table.dimensions, "TIME_PERIOD"):
        structure.dimensions.append(v30.Dimension(id=name))
    structure.measures.append(v30.Measure(id="OBS_VALUE"))
    structure.attributes.append(v30.DataAttribute(id="OBS_FLAG"))
    message = Reader().convert(io.BytesIO(path.read_bytes()), structure=structure)
    assert len(message.data) == 1
    names = (*table.dimensions, "TIME_PERIOD")
    read = {
        tuple(obs.dimension.values[name].value for name in names): (
            obs.value,
            str(obs.attached_attribute["OBS_FLAG"]),
        )
        for obs in message.data[0].obs
    }
    frame = table.frame
    ours = zip(*(frame[name] for name in (*table.dimensions, "time")), strict=True)
    spelled = [f"{v:.1f}" if v == v else "" for v in frame["value"]]
    assert read == dict(zip(ours, zip(spelled, frame["flag"], strict=True), strict=True)) and len(read) > 1000


def test_what_sdmx1_writes_is_read(tmp_path):
    """sdmx1 writes SDMX-CSV 1.0: columns DATAFLOW, dimensions, OBS_VALUE, attributes."""
    import sdmx
    from sdmx.model import v21

    agency = sdmx.model.common.Agency(id="ESTAT")
    structure = v21.DataStructureDefinition(id="X", maintainer=agency)
    for name in ("geo", "TIME_PERIOD"):
        structure.dimensions.append(v21.Dimension(id=name))
    flow = v21.DataflowDefinition(id="X", version="1.0", maintainer=agency, structure=structure)
    data = v21.DataSet(structured_by=structure, described_by=flow)
    flag = v21.DataAttribute(id="OBS_FLAG")
    for geo, value, letters in (("AT11", 61.5, "b"), ("BE10", 7.25, "")):
        key = structure.make_key(v21.Key, {"geo": geo, "TIME_PERIOD": "2022"})
        own = {"OBS_FLAG": v21.AttributeValue(value=letters, value_for=flag)}
        data.obs.append(v21.Observation(dimension=key, value=value, attached_attribute=own))
    sdmx.to_csv(data, path=tmp_path / "file.csv", attributes="o")
    table = read_eurostat(tmp_path / "file.csv")
    assert table[["geo", "time", "value", "flag"]].values.tolist() == [
        ["AT11", "2022", 61.5, "b"],
        ["BE10", "2022", 7.25, ""],
    ]
    assert table.dataflow == "ESTAT:X(1.0)"
