"""`sae new`, `sae check`, `sae schema`, `sae plan`: the files that a user writes, before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sae.cli.ending import DONE, PARTLY, REFUSED
from sae.cli.options import Areas, Debug, Direct, Population, Surveys
from sae.cli.printing import complain, progress
from sae.errors import SaeError

__all__ = ["check", "new", "plan", "schema"]


def new(
    survey: Annotated[Path, typer.Option(help="Records: CSV, CSV.gz, Parquet, SAS, SPSS or Stata.")],
    layout: Annotated[str | None, typer.Option(help="A known layout; by default the one that fits.")] = None,
    indicator: Annotated[str | None, typer.Option(help="Of `sae indicators`, or a column.")] = None,
    by: Annotated[str, typer.Option(help="Grouping columns, with commas between them.")] = "",
    areas: Areas = None,
    population: Population = None,
    kind: Annotated[
        str | None, typer.Option(help="Of a model of units, with --population: ebp, nested_error, ...")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The model file; it must not exist.")] = None,
    debug: Debug = False,
) -> int:
    """Write a commented model file for a survey file, from the file's own columns."""
    from sae.batch.new import new

    groups = [name.strip() for name in by.split(",") if name.strip()]
    with progress() as step:
        step(f"reading {survey.name}")
        written = new(
            survey,
            layout=layout,
            indicator=indicator,
            by=groups,
            areas=areas,
            population=population,
            kind=kind,
            out=out,
        )
    print(written.text)
    return PARTLY if written.complaint else DONE


def check(
    specs: Annotated[list[str], typer.Argument(help="Model or planning files, folders, or shipped names.")],
    survey: Surveys = None,
    direct: Direct = None,
    areas: Annotated[Path | None, typer.Option("--areas", help="Check this table's columns too.")] = None,
    population: Population = None,
    debug: Debug = False,
) -> int:
    """Check model, production and planning files, without data or against the columns of the data."""
    from sae.batch.checks import check_file
    from sae.batch.hints import collected_warnings
    from sae.batch.models import locate

    code = DONE
    for name in specs:
        found = locate(name, plans=True)
        for path in found:
            shown = name if len(found) == 1 else path.name
            try:
                with collected_warnings() as doubts:
                    design = check_file(
                        path, survey=survey or (), direct=direct, areas=areas, population=population
                    )
            except SaeError as error:
                if debug:
                    raise
                complain(str(error) if str(error).startswith(f"{shown}:") else f"{shown}: {error}")
                code = REFUSED
            else:
                for doubt in doubts:
                    complain(f"{shown}: warning: {doubt}")
                print(f"{shown}: ok")
                if design:
                    print(design)
    return code


def schema(
    plan: Annotated[bool, typer.Option("--plan", help="Of a planning file instead of a model file.")] = False,
    production: Annotated[bool, typer.Option("--production", help="Of a production file.")] = False,
    debug: Debug = False,
) -> int:
    """Print the JSON schema of a model file, by which editors complete and check its keys."""
    if production:
        from sae.batch.production.schema import production_schema_text

        print(production_schema_text(), end="")
        return DONE
    from sae.batch.schema import schema_text

    print(schema_text(plan=plan), end="")
    return DONE


def plan(
    spec: Annotated[str, typer.Argument(help="A planning file (TOML), or the name of a shipped one.")],
    frame: Annotated[Path, typer.Option(help="Strata, one row each: CSV or Parquet.")],
    out: Annotated[Path, typer.Option(help="Folder for the report; files of the same names are replaced.")],
    survey: Annotated[Path | None, typer.Option("--survey", help="Records to fit the model to.")] = None,
    direct: Annotated[
        Path | None, typer.Option(help="Direct estimates instead of records: CSV or Parquet.")
    ] = None,
    areas: Areas = None,
    debug: Debug = False,
) -> int:
    """Plan a sample: how many interviews in which strata, what they reach, and what a model saves."""
    from sae.batch.models import find_plan

    with progress() as step:
        step("reading the planning file")
        asked = find_plan(spec)
        from sae.batch.planning import plan

        done = plan(asked, frame=frame, survey=survey, direct=direct, areas=areas, out=out, step=step)
    for warning in done.warnings:
        complain(f"Warning: {warning}")
    print(done.text)
    return DONE
