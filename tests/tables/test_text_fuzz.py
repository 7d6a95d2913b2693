"""Whatever bytes a file holds: a right table, or an error of ours that names the file or its column."""

import gzip
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest

import sae
from sae.auxiliary import open_areas, read_areas, read_neighbours
from sae.errors import SaeError, SaeWarning
from sae.tables import read_table, write_table
from sae.tables.guard import unguarded
from tests.fuzz import ENCODINGS, SEPARATORS, mutate_bytes, mutate_rows, seeds, write_rows

PERSONS = [["w", "prov", "stratum", "psu", "age", "employed"]] + [
    [
        f"{10 + k / 4}",
        ["MI", "NA", "RM"][k % 3],
        f"0{k % 2}",
        str(k % 4 + 10 * (k % 2)),
        str(20 + k),
        str(k % 2),
    ]
    for k in range(12)
]
AREAS = [["city", "name", "share", "population", "flag"]] + [
    [f"{k:02d}", f"Città {k}", f"{k / 8}", str(1000 * k), "e" if k % 2 else ""] for k in range(1, 9)
]
STRATA = [["stratum", "domain", "size", "cost", "remark"]] + [
    [f"{k:02d}", f"D{k % 3}", str(100 * k), f"{k / 4}", "" if k % 3 else "old"] for k in range(1, 9)
]
EDGES = [["a", "b", "remark"]] + [[f"{k:02d}", f"{k + 1:02d}", ""] for k in range(1, 8)]


def survey_of(file, **how):
    return sae.read_survey(file, weights="w", strata="stratum", psu="psu", **how).frame


def map_of(file, decimal=".", **how):
    return read_neighbours(file, **how)


def strata_of(file, **how):
    """As the planner reads its frame."""
    strata = open_areas(file, **how)
    return strata.table(strata.keys([name for name in ("stratum", "domain") if name in strata.cells]))


DOORS = {
    "survey": (PERSONS, survey_of),
    "areas": (AREAS, read_areas),
    "strata": (STRATA, strata_of),
    "neighbours": (EDGES, map_of),
}


def outcome(door, file, **how):
    """The table, or None where it is refused by name; any other exception or warning is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SaeWarning)
        try:
            return door(file, **how)
        except SaeError as error:
            assert len(error.what) > 10 and "\n\n" not in str(error)
            return None


def spelt(cell):
    text = unicodedata.normalize("NFC", cell.replace("\u00a0", " ").strip("\ufeff\u200b")).strip()
    return unguarded(text)


def check_cells(frame, rows):
    """Each cell that was read is the one that was written: the same text, or the number that it spells."""
    rows = [row for row in rows if row]  # a blank line is no row
    assert len(frame) == len(rows) - 1
    for name, cells in zip((spelt(name) for name in rows[0]), zip(*rows[1:], strict=True), strict=True):
        if name not in frame:
            continue
        column = frame[name].astype(object)
        for value, cell in zip(column.where(column.notna(), None), map(spelt, cells), strict=True):
            if value is None:
                assert cell.lower() in ("", "na", "nan", "n/a", "null", ".", ":"), (name, cell)
            elif isinstance(value, str):
                assert value == cell or f"{value}.0" == cell, (name, value, cell)
            else:
                number = float(cell.removesuffix("%")) / (100 if cell.endswith("%") else 1)
                assert float(value) == number, (name, value, cell)


def run_files(tmp_path, count, start=0):
    made = dict.fromkeys(DOORS, 0)
    for seed, rng in seeds(count, start):
        name = list(DOORS)[seed % 4]
        rows, door = DOORS[name]
        for _ in range(rng.integers(1, 3)):
            if len(rows) > 2 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1:
                rows = mutate_rows(rng, rows)
        separator = str(rng.choice(SEPARATORS)) if rng.random() < 0.3 else ","
        encoding = str(rng.choice(ENCODINGS)) if rng.random() < 0.3 else "utf-8"
        known = encoding in ("utf-8", "utf-8-sig", "utf-16")  # the others lose letters, or do not exist
        content = write_rows(rows, separator, encoding if encoding not in ("utf-99", "rot13") else "utf-8")
        ending = ".csv.gz" if rng.random() < 0.2 else ".csv"
        content = gzip.compress(content, mtime=0) if ending == ".csv.gz" else content
        bytewise = rng.random() < 0.4
        file = tmp_path / f"f{seed}{ending}"
        file.write_bytes(mutate_bytes(rng, content) if bytewise else content)
        how = {"encoding": encoding} if rng.random() < 0.9 else {"separator": separator, "decimal": ","}
        try:
            table = outcome(door, file, **how)
            if table is None:
                continue
            made[name] += 1
            plain = known and separator in ",;\t|" and not bytewise
            if plain and isinstance(table, pd.DataFrame) and "decimal" not in how:
                check_cells(table, rows)
        except BaseException as problem:
            problem.add_note(f"seed {seed}, {name}, {how}")
            raise
        finally:
            file.unlink()
    return made


def test_mutated_text_files(tmp_path):
    made = run_files(tmp_path, 200)
    assert all(n > 5 for n in made.values())  # the doors are not shut


@pytest.mark.slow
def test_mutated_text_files_long(tmp_path):
    run_files(tmp_path, 10_000, start=1000)


def run_formats(tmp_path, count, start=0):
    frame = pd.DataFrame(
        {
            "city": [f"{k:02d}" for k in range(20)],
            "w": np.linspace(1, 2, 20),
            "n": pd.array([None, *range(19)], dtype="Int64"),
        }
    )
    contents = {}
    for ending in (".parquet", ".xlsx", ".csv"):
        contents[ending] = write_table(frame, tmp_path / f"good{ending}").read_bytes()
    contents[".csv.gz"] = gzip.compress(contents[".csv"], mtime=0)
    doors = [read_table, read_areas, lambda file: sae.read_survey(file, weights="w").frame]
    for seed, rng in seeds(count, start):
        ending = list(contents)[seed % 4]
        file = tmp_path / f"f{seed}{ending}"
        file.write_bytes(mutate_bytes(rng, contents[ending]))
        for door in doors:
            try:
                outcome(door, file)
            except BaseException as problem:
                problem.add_note(f"seed {seed}, {ending}")
                raise
        file.unlink()


def test_damaged_files_of_every_format(tmp_path):
    pytest.importorskip("openpyxl")
    run_formats(tmp_path, 60)


@pytest.mark.slow
def test_damaged_files_of_every_format_long(tmp_path):
    run_formats(tmp_path, 10_000, start=1000)
