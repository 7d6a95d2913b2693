"""Mutations of good input for the fuzzers of the doors: files, cells, names."""

from __future__ import annotations

import csv
import io

import numpy as np

ODD_CELLS = [
    "",
    "NA",
    "nan",
    "N/A",
    ".",
    ":",
    "NULL",
    "-9",
    "1E1",
    "10E0",
    "1e5",
    "1e+05",
    "007",
    "0x10",
    "+5",
    "1.10",
    "1.1",
    "6.0",
    "0,25",
    "25 %",
    "1 234",
    "1.234,5",
    "inf",
    "-inf",
    "1e999",
    "12345678901234567890",
    "=1+1",
    "'=1+1",
    "'s-Gravenhage",
    "-5",
    "@x",
    "\u00a0Wien ",
    "I\u0302le",
    "Île",
    "日本",
    "\u200b",
    "\ufeffx",
    "a;b",
    "a,b",
    'a"b',
    "a\tb",
    "a\nb",
    "a\rb",
    "true",
    "None",
    "٣",
    "½",
    "\x00",
    "x" * 5000,
]
ENCODINGS = ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "cp037", "utf-99", "rot13"]
SEPARATORS = [",", ";", "\t", "|", " ", "::"]


def write_rows(rows, separator=",", encoding="utf-8"):
    """Rows of text as the bytes of a delimited file, quoted where needed."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator[0], lineterminator="\n")
    writer.writerows(rows)
    return out.getvalue().encode(encoding, "replace")


def mutate_rows(rng, rows):
    """One mutation of a table of text: cells, columns, rows or names."""
    rows = [list(row) for row in rows]
    kind = rng.integers(8)
    column, row = int(rng.integers(len(rows[0]))), int(rng.integers(1, len(rows)))
    if kind <= 2:  # odd cells, one or a column of them
        places = range(1, len(rows)) if kind == 0 else [row]
        for place in places:
            rows[place][column] = ODD_CELLS[rng.integers(len(ODD_CELLS))]
    elif kind == 3:
        new = [rows[0][column].upper(), f" {rows[0][column]}\u00a0", "", rows[0][column - 1], "=x", "1", "é"]
        rows[0][column] = new[rng.integers(len(new))]
    elif kind == 4:
        rows = [[*line[:column], *line[column + 1 :]] for line in rows]
    elif kind == 5:
        rows = [[*line, line[column]] for line in rows]
    elif kind == 6:
        rows.insert(row, [[], rows[row], rows[row][:-1], [*rows[row], "x"]][rng.integers(4)])
    else:
        del rows[int(rng.integers(len(rows)))]
    return rows


def mutate_bytes(rng, content):
    """One mutation of bytes: changed, cut, doubled, or strange ones put in."""
    content = bytearray(content)
    start = int(rng.integers(len(content)))
    length = int(rng.integers(1, 30))
    kind = rng.integers(5)
    if kind == 0:
        for place in rng.integers(len(content), size=length):
            content[place] = int(rng.integers(256))
    elif kind == 1:
        del content[start : start + length]
    elif kind == 2:
        del content[start:]
    elif kind == 3:
        content[start:start] = content[start : start + length]
    else:
        strange = [b"\x00", b"\xff\xfe", b'"', b"\r", b"\n\n", b"PK\x03\x04", b"\xc3", b",,,", b"\x1f\x8b"]
        content[start:start] = strange[rng.integers(len(strange))]
    return bytes(content)


def seeds(count, start=0):
    """Independent generators, numbered so that a failure can be had again."""
    return ((seed, np.random.default_rng(seed)) for seed in range(start, start + count))
