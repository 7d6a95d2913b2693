"""The files of a run that may leave the office."""

from __future__ import annotations

from pathlib import Path

from sae.auxiliary import write_eurostat
from sae.errors import SaeError
from sae.publish import method_note, published
from sae.results import Result
from sae.tables import EstimateTable

__all__ = ["write_public"]


def write_public(
    data: Result | EstimateTable, stage: Path, identifier: str, *, title: str, source: str
) -> dict[str, str]:
    """Write the published table in every format and its method note; return what could not be, and why.

    SDMX-CSV has the intervals, TSV the figures alone. A label with a comma, or a table without a period, has
    no place in them; that stops no run.
    """
    table = data.estimates if isinstance(data, Result) else data
    public = published(table, title=title, source=source)
    method_note(data, stage / f"{identifier}.published.md", title=title, source=source)
    for ending in (".csv", ".parquet", ".xlsx"):
        public.write(stage / f"{identifier}.published{ending}")
    lacking = {}
    for ending, intervals in ((".sdmx.csv", True), (".tsv", False)):
        path = stage / f"{identifier}.published{ending}"
        try:
            form = public.as_eurostat(intervals=intervals)
            write_eurostat(form, path, format="sdmx-csv" if intervals else "tsv")
        except SaeError as error:
            lacking[path.name] = error.what
    return lacking
