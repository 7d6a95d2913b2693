"""Files of Eurostat: which format a file is in its content tells; written whole or not at all."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

from sae.auxiliary.eurostat import EurostatTable, check_figures
from sae.auxiliary.eurostat_json import json_stat_text, read_json_stat
from sae.auxiliary.eurostat_text import read_sdmx_csv, read_tsv, sdmx_csv_text, tsv_text
from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import file_path, whole_file

__all__ = ["read_eurostat", "write_eurostat"]

_TEXTS = {"sdmx-csv": sdmx_csv_text, "tsv": tsv_text, "json-stat": json_stat_text}


@answered
def read_eurostat(path: str | Path, *, dataflow: str = "") -> EurostatTable:
    r"""Read a table of Eurostat: SDMX-CSV, TSV or JSON-stat 2.0, compressed by gzip or not.

    Parameters
    ----------
    path : str or Path
        The content tells the format, whatever the name is. SDMX-CSV is read as Eurostat writes it (columns
        DATAFLOW and LAST UPDATE, or STRUCTURE and STRUCTURE_ID; OBS_FLAG; CONF_STATUS or not).
    dataflow : str
        Names the data set, such as ``ESTAT:URB_CLMA(1.0)``, where the file does not: a TSV.

    Returns
    -------
    EurostatTable
        In the order of the file. A cell printed as ``:`` is kept as a missing value with its flags.

    Raises
    ------
    SaeInputError
        If the file is absent, empty, cut off, in another encoding or of another format, if lines differ in
        their number of cells, keys stand twice, flags are unknown, or values are no numbers: with lines and
        counts. If it names another data set than `dataflow`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "rates"
    ...     _ = file.write_text("unit,geo\\TIME_PERIOD\t2021 \t2022 \nPC,AT11\t61.0 \t: c\n")
    ...     sae.auxiliary.read_eurostat(file)[["geo", "time", "value", "flag"]].values.tolist()
    [['AT11', '2021', 61.0, ''], ['AT11', '2022', nan, 'c']]
    """
    path = file_path(path)
    if not path.is_file():
        raise SaeInputError(
            f"There is no file {path}.", hint="Check the path; it is read from the current folder."
        )
    text = _text(_unpacked(path.read_bytes(), path.name), path.name)
    first = text[: text.find("\n") + 1 or None]
    if text.lstrip()[:1] in ("{", "["):
        table = read_json_stat(text, path.name)
    elif "\t" in first and "\\" in first.partition("\t")[0]:
        table = read_tsv(text, path.name)
    elif "OBS_VALUE" in first and "," in first:
        table = read_sdmx_csv(text, path.name)
    else:
        what = "SDMX-ML or another XML" if text.lstrip()[:1] == "<" else f"a line {first.strip()[:60]!r}"
        raise SaeInputError(
            f"{path.name} is no table of Eurostat in a format that is read here: it begins with {what}.",
            hint="Download it as SDMX-CSV (with the column OBS_VALUE), TSV (geo\\TIME_PERIOD) or JSON-stat.",
        )
    if dataflow and table.dataflow not in ("", dataflow):
        raise SaeInputError(
            f"{path.name} holds {table.dataflow}, not {dataflow}.",
            hint="Name the right file, or leave dataflow out.",
        )
    return replace(table, dataflow=dataflow or table.dataflow)


@answered
def write_eurostat(
    table: EurostatTable,
    path: str | Path,
    *,
    format: Literal["sdmx-csv", "tsv", "json-stat"] = "sdmx-csv",
) -> Path:
    r"""Write a table in one of Eurostat's formats; the same bytes every time, whole or not at all.

    Parameters
    ----------
    table : EurostatTable
    path : str or Path
        An ending ``.gz`` compresses it.
    format : {"sdmx-csv", "tsv", "json-stat"}
        "sdmx-csv", one line per figure in the order of the table, lines ended by CR LF, with the columns that
        it was read with; "tsv", one line per series, sorted, periods in columns, ``:`` where there is none;
        "json-stat", version 2.0, sparse. Only SDMX-CSV holds attributes. TSV holds neither the name of the
        data set nor a series without any value or flag.

    Returns
    -------
    Path
        Where the file lies.

    Raises
    ------
    SaeInputError
        If a flag is unknown, a key stands twice, the format has no place for a code or attribute, or the
        folder is absent.

    Examples
    --------
    >>> import tempfile
    >>> frame = pd.DataFrame({"geo": ["AT11"], "time": "2022", "value": 61.0, "decimals": 1, "flag": "b"})
    >>> table = sae.auxiliary.EurostatTable(frame, ("geo",))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = sae.auxiliary.write_eurostat(table, f"{folder}/rates.tsv", format="tsv")
    ...     file.read_text(encoding="utf-8")
    'geo\\TIME_PERIOD\t2022 \nAT11\t61.0 b\n'
    """
    path = file_path(path)
    if format not in _TEXTS:
        raise SaeSpecError(f"format={format!r} is not written here.", hint=f"Use one of {', '.join(_TEXTS)}.")
    if not len(table):
        raise SaeInputError(f"The table for {path.name} has no figures.")
    check_figures(table, path.name)
    content = _TEXTS[format](table, path.name).encode("utf-8")
    with whole_file(path) as part:
        part.write_bytes(gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content)
    return path


def _unpacked(content: bytes, file: str) -> bytes:
    if not content:
        raise SaeInputError(f"{file} is empty (0 bytes).", hint="Download it again.")
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as problem:
        raise SaeInputError(
            f"The compressed file {file} is damaged or cut off: {' '.join(str(problem).split())}.",
            hint="Download it again.",
        ) from None


def _text(content: bytes, file: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        bad = [i + 1 for i, line in enumerate(content.split(b"\n")) if not _is_utf8(line)]
        raise SaeInputError(
            f"{len(bad)} lines of {file} are not UTF-8: {name_some(bad)}.",
            hint="Eurostat's files are UTF-8 throughout; take the file as it was downloaded.",
        ) from None
    if "\x00" in text:
        raise SaeInputError(f"{file} holds null bytes: it is no text.", hint="Download it again.")
    return text


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
