"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Areas",
    "Data",
    "Debug",
    "Direct",
    "Executor",
    "Log",
    "Memory",
    "Population",
    "Surveys",
    "Workers",
]

Debug = Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")]
Surveys = Annotated[
    list[str] | None,
    typer.Option(
        "--survey",
        help="Records: CSV, Parquet, SAS, SPSS or Stata; NAME=FILE for each survey of a production.",
    ),
]
Direct = Annotated[
    Path | None,
    typer.Option(
        "--direct", help="Direct estimates instead of records, for a model file with a table \\[direct]."
    ),
]
Areas = Annotated[Path | None, typer.Option("--areas", help="Covariates, one row per area: CSV or Parquet.")]
Population = Annotated[
    Path | None,
    typer.Option(
        "--population",
        help="Of a model of units: persons or cells, CSV or Parquet, or a folder of Parquet files.",
    ),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes of a production; by default the cores.")
]
Executor = Annotated[
    str | None, typer.Option("--executor", help="Of a production: processes, or dask://HOST:PORT.")
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", help="Of one worker of a production: 4GB; larger surveys are read in blocks."),
]
Log = Annotated[Path | None, typer.Option("--log", help="File for the events of a production, JSON lines.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the files that the specification itself names.")
]
