"""Eurostat's delimited texts: SDMX-CSV with one figure a line, TSV with one series a line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from sae.auxiliary.eurostat import EurostatTable, check_figures, decimals_of, refuse_attributes, spelt
from sae.errors import SaeInputError, name_some

__all__ = ["iso_time", "read_sdmx_csv", "read_tsv", "sdmx_csv_text", "table_of", "tsv_text"]

_NUMBER = re.compile(r"-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?")
_CELL = re.compile(r"\s*(:|-?[0-9]+(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*@?([A-Za-z]*)\s*")
_MISSING = ("", ":", "NaN")
_LEADING = ("DATAFLOW", "LAST UPDATE", "STRUCTURE", "STRUCTURE_ID", "ACTION")
_FIGURE = ("TIME_PERIOD", "OBS_VALUE", "OBS_FLAG", "CONF_STATUS")
_PRINTED_TIME = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{2}) ([0-9:]{8})")

Places = Callable[[np.ndarray], Sequence[str]]


def read_sdmx_csv(text: str, file: str) -> EurostatTable:
    """Read SDMX-CSV: dimensions stand before the time or the value, attributes after the value."""
    header, rows, places = _rows(text, file, ",")
    lacking = [name for name in ("TIME_PERIOD", "OBS_VALUE", "OBS_FLAG") if name not in header]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if lacking or repeated or "" in header:
        wrong = f"lacks {name_some(lacking)}" if lacking else f"repeats {name_some(map(repr, repeated))}"
        raise SaeInputError(
            f"The header of {file} {wrong if lacking or repeated else 'has an empty name'}.",
            hint="Expected DATAFLOW,LAST UPDATE,<dimensions>,TIME_PERIOD,OBS_VALUE,OBS_FLAG.",
        )
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    value_at = header.index("OBS_VALUE")
    own = [name for name in header if name not in (*_LEADING, *_FIGURE)]
    dimensions = tuple(name for name in own if header.index(name) < value_at)
    none = ("",) * len(rows)
    flags = [
        small + capital
        for small, capital in zip(columns["OBS_FLAG"], columns.get("CONF_STATUS", none), strict=True)
    ]
    fixed = {name: _one(columns[name], name, file) for name in _LEADING if name in header}
    return table_of(
        {name: columns[name] for name in dimensions},
        columns["TIME_PERIOD"],
        columns["OBS_VALUE"],
        flags,
        file=file,
        places=places,
        attributes={name: columns[name] for name in own if name not in dimensions},
        dataflow=fixed.get("DATAFLOW") or fixed.get("STRUCTURE_ID", ""),
        updated=iso_time(fixed.get("LAST UPDATE", "")),
        header=tuple(header),
    )


def read_tsv(text: str, file: str) -> EurostatTable:
    """Read TSV: the first cell of a line holds the codes of its series, each other one value and flags."""
    header, rows, places = _rows(text, file, "\t")
    names, _, time_name = header[0].partition("\\")
    dimensions = tuple(names.split(","))
    periods = [period.strip() for period in header[1:]]
    if time_name.strip().upper() not in ("TIME_PERIOD", "TIME") or "" in (*dimensions, *periods):
        raise SaeInputError(
            f"The header of {file} is {header[0]!r} and {len(periods)} periods"
            f"{', of which some are empty' if '' in periods else ''}.",
            hint=r"Expected freq,unit,geo\TIME_PERIOD and the periods, separated by tabs.",
        )
    series = [row[0].split(",") for row in rows]
    odd = np.flatnonzero([len(codes) != len(dimensions) for codes in series])
    if len(odd):
        raise SaeInputError(
            f"{len(odd)} lines of {file} do not have {len(dimensions)} codes, one for each of {names}: "
            f"{name_some(places(odd))}.",
            hint="The first cell holds the codes of a series, separated by commas.",
        )
    cells = [_CELL.fullmatch(cell) for row in rows for cell in row[1:]]
    bad = np.flatnonzero([cell is None for cell in cells])
    wide = len(periods)
    if len(bad):
        raise _no_numbers(
            [rows[k // wide][1 + k % wide].strip() for k in bad], bad, _spread(places, periods), file
        )
    pairs = [cell.groups() for cell in cells if cell]
    return table_of(
        {name: [codes[k] for codes in series for _ in periods] for k, name in enumerate(dimensions)},
        periods * len(rows),
        [value for value, _ in pairs],
        [flag for _, flag in pairs],
        file=file,
        places=_spread(places, periods),
    )


def table_of(
    dimensions: dict[str, Any],
    times: Sequence[str],
    values: Sequence[str],
    flags: Sequence[str],
    *,
    file: str,
    places: Places,
    attributes: dict[str, Any] | None = None,
    **known: Any,
) -> EurostatTable:
    """Make a table of cells that are text; refuse what is no number, and what `check_figures` refuses.

    Raises
    ------
    SaeInputError
        Naming the places of the cells at fault.
    """
    values = ["" if value in _MISSING else value for value in values]
    bad = np.flatnonzero([value != "" and not _NUMBER.fullmatch(value) for value in values])
    if len(bad):
        raise _no_numbers([values[k] for k in bad], bad, places, file)
    texts = {**dimensions, "time": times}
    frame = pd.DataFrame(
        {
            **{name: pd.array(list(column), dtype="string") for name, column in texts.items()},
            "value": [float(value) if value else np.nan for value in values],
            "decimals": pd.array(decimals_of(values), dtype="Int64"),
            "flag": pd.array(list(flags), dtype="string"),
            **{name: pd.array(list(column), dtype="string") for name, column in (attributes or {}).items()},
        }
    )
    table = EurostatTable(frame, tuple(dimensions), attributes=tuple(attributes or ()), **known)
    check_figures(table, file, places)
    return table


def sdmx_csv_text(table: EurostatTable, file: str) -> str:
    """Return a table as SDMX-CSV, with the columns that it was read with."""
    flags = table.frame["flag"]
    confidential = flags.str.contains("[A-Z]").any()
    header = list(table.header) if _fits(table) else _header(table)
    if confidential and "CONF_STATUS" not in header:
        header.insert(header.index("OBS_FLAG") + 1, "CONF_STATUS")
    fixed = {
        "DATAFLOW": table.dataflow,
        "LAST UPDATE": _printed_time(table.updated),
        "STRUCTURE": "dataflow",
        "STRUCTURE_ID": table.dataflow,
        "ACTION": "I",
    }
    columns: dict[str, Iterable[str]] = {
        **{name: [text] * len(table) for name, text in fixed.items()},
        **{name: table.frame[name].tolist() for name in (*table.dimensions, *table.attributes)},
        "TIME_PERIOD": table.frame["time"].tolist(),
        "OBS_VALUE": spelt(table),
        "OBS_FLAG": flags.str.replace("[A-Z]", "", regex=True).tolist(),
        "CONF_STATUS": flags.str.replace("[a-z]", "", regex=True).tolist(),
    }
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(zip(*(columns[name] for name in header), strict=True))
    return sink.getvalue()


def tsv_text(table: EurostatTable, file: str) -> str:
    """Return a table as TSV: series sorted by their codes, periods ascending."""
    refuse_attributes(table, file)
    codes = [code for name in (*table.dimensions, "time") for code in table.frame[name].unique()]
    odd = [text for text in (*table.dimensions, *codes) if re.search(r"[,\t\r\n\\]|^\s|\s$", text)]
    if odd:
        raise SaeInputError(
            f"{len(odd)} codes hold a comma, a tab, a backslash or blanks at an end, which {file} cannot: "
            f"{name_some(map(repr, odd))}.",
            hint='Write it with format="sdmx-csv".',
        )
    frame = table.observed().frame
    if frame.empty:
        raise SaeInputError(f"No figure for {file} has a value or a flag; TSV leaves such series out.")
    cells = [
        f"{value or ':'} {flag}"
        for value, flag in zip(spelt(replace(table, frame=frame)), frame["flag"], strict=True)
    ]
    wide = pd.Series(cells, index=pd.MultiIndex.from_frame(frame[[*table.dimensions, "time"]].astype(object)))
    rows = wide.unstack("time", fill_value=": ").sort_index()
    rows = rows[sorted(rows.columns)]
    lines = [
        "\t".join([",".join(key if isinstance(key, tuple) else (key,)), *row])
        for key, row in zip(rows.index, rows.to_numpy().tolist(), strict=True)
    ]
    head = "\t".join(
        [",".join(table.dimensions) + "\\TIME_PERIOD", *(f"{period} " for period in rows.columns)]
    )
    return "\n".join([head, *lines, ""])


def iso_time(text: str) -> str:
    """Return a time as ISO 8601 that SDMX-CSV prints as day/month/year; any other text as it is.

    Examples
    --------
    >>> from sae.auxiliary.eurostat_text import iso_time
    >>> iso_time("24/03/23 23:00:00")
    '2023-03-24T23:00:00'
    """
    match = _PRINTED_TIME.fullmatch(text)
    return f"20{match[3]}-{match[2]}-{match[1]}T{match[4]}" if match else text


def _printed_time(text: str) -> str:
    match = re.fullmatch("20([0-9]{2})-([0-9]{2})-([0-9]{2})T([0-9:]{8})([+-][0-9:]{4,5}|Z)?", text)
    return f"{match[3]}/{match[2]}/{match[1]} {match[4]}" if match else text


def _rows(text: str, file: str, separator: str) -> tuple[list[str], list[list[str]], Places]:
    """Return the header, the cells of each line below it, and what the lines of some are called."""
    if separator == "\t" or '"' not in text:
        rows = [line.removesuffix("\r").split(separator) for line in text.rstrip("\r\n").split("\n")]
        lines: Any = np.arange(1, len(rows) + 1)
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows, ends = [], [0]
        try:
            for row in reader:
                rows.append(row)
                ends.append(reader.line_num)
        except csv.Error as problem:
            raise SaeInputError(
                f"{file}, line {reader.line_num}: {problem}.",
                hint="A quoted text is not closed: take the file anew.",
            ) from None
        lines = np.array(ends[:-1]) + 1
    header = [name.strip() for name in rows[0]]
    widths = np.array([len(row) for row in rows])
    odd = np.flatnonzero(widths != len(header))
    if len(odd):
        shown = [f"line {lines[k]} ({widths[k]})" for k in odd]
        raise SaeInputError(
            f"{len(odd)} of {len(rows) - 1} lines of {file} do not have the {len(header)} cells of its "
            f"header: {name_some(shown)}.",
            hint="The file is cut off or was edited; take it as it was downloaded.",
        )
    if len(rows) == 1:
        raise SaeInputError(
            f"{file} has a header, but no figures.", hint="Check the filters of the download."
        )
    return header, rows[1:], lambda which: [f"line {lines[k + 1]}" for k in which]


def _spread(places: Places, periods: Sequence[str]) -> Places:
    wide = len(periods)
    return lambda cells: [
        f"{line}, {periods[k % wide]}" for line, k in zip(places(cells // wide), cells, strict=True)
    ]


def _no_numbers(texts: Sequence[str], rows: np.ndarray, places: Places, file: str) -> SaeInputError:
    shown = [f"{text!r} ({place})" for text, place in zip(texts[:5], places(rows[:5]), strict=True)]
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return SaeInputError(
        f"{len(rows)} values of {file} are no numbers: {', '.join(shown)}{more}.",
        hint="Expected a number with a decimal point, or ':', and flags after it.",
        column="value",
    )


def _one(column: Sequence[str], name: str, file: str) -> str:
    held = sorted(set(column))
    if len(held) > 1:
        raise SaeInputError(
            f"{file} has {len(held)} values of {name}: {name_some(map(repr, held))}.",
            hint="Read the file of one data set and one download at a time.",
            column=name,
        )
    return held[0]


def _header(table: EurostatTable) -> list[str]:
    leading = ["DATAFLOW", "LAST UPDATE"]
    return [*leading, *table.dimensions, "TIME_PERIOD", "OBS_VALUE", "OBS_FLAG", *table.attributes]


def _fits(table: EurostatTable) -> bool:
    """Whether the header that was read still names the columns that the table has."""
    own = [name for name in table.header if name not in (*_LEADING, *_FIGURE)]
    return sorted(own) == sorted((*table.dimensions, *table.attributes)) and {"OBS_FLAG"} <= set(table.header)
