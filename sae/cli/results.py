"""`sae report`, `sae exchange`, `sae diff`, `sae audit`: what is done with the results of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sae.cli.ending import DIFFERENT, DONE, PARTLY
from sae.cli.options import Areas, Debug
from sae.cli.printing import complain
from sae.errors import SaeInputError

__all__ = ["audit", "diff", "exchange", "report"]


def report(
    results: Annotated[Path, typer.Argument(help="Folder of results of sae run.")],
    out: Annotated[Path, typer.Option(help="The report: one file, ending in .html.")],
    model: Annotated[str | None, typer.Option(help="Which run, where the folder has several.")] = None,
    indicator: Annotated[
        list[str] | None, typer.Option(help="Which indicators; again for each. By default all.")
    ] = None,
    period: Annotated[list[str] | None, typer.Option(help="Which periods; again for each.")] = None,
    level: Annotated[str | None, typer.Option(help="Of a production; by default all.")] = None,
    area: Annotated[str | None, typer.Option(help="Column that names the areas.")] = None,
    names: Annotated[Path | None, typer.Option(help="CSV of their codes and names.")] = None,
    title: Annotated[str, typer.Option(help="By default that of the model file.")] = "",
    source: Annotated[str, typer.Option(help="Where the records come from, in words.")] = "",
    national: Annotated[float | None, typer.Option(help="The national figure to compare with.")] = None,
    cost: Annotated[float | None, typer.Option(help="Price of an interview, for what is missing.")] = None,
    currency: Annotated[str, typer.Option(help="Of the price, such as EUR.")] = "",
    geometry: Annotated[Path | None, typer.Option(help="Borders of the areas: GeoJSON.")] = None,
    key: Annotated[str, typer.Option(help="Property of the borders that holds the code.")] = "",
    seed: Annotated[int | None, typer.Option(help="Of the ranks; by default that of the run.")] = None,
    language: Annotated[str, typer.Option(help="en, or a draft: de, fr, es, pt.")] = "en",
    debug: Debug = False,
) -> int:
    """Write a report for everybody: published rows only, one HTML file that needs no network."""
    from sae.batch.reporting import report_results

    written = report_results(
        results,
        out,
        model=model,
        indicators=indicator or (),
        periods=period or (),
        level=level,
        seed=seed,
        area=area,
        names=names,
        title=title,
        source=source,
        national=national,
        cost=cost,
        currency=currency,
        geometry=geometry,
        key=key,
        language=language,
    )
    print(f"wrote {written}")
    return DONE


def exchange(
    results: Annotated[Path, typer.Argument(help="Folder of results of sae run.")],
    out: Annotated[Path, typer.Option(help="The exchange file: a ZIP of plain texts, ending in .zip.")],
    country: Annotated[str, typer.Option(help="Code of the sender, such as AT.")],
    areas: Areas = None,
    model: Annotated[str | None, typer.Option(help="Which run, where the folder has several.")] = None,
    indicator: Annotated[
        list[str] | None, typer.Option(help="Which indicators; again for each. By default all.")
    ] = None,
    level: Annotated[str | None, typer.Option(help="Of a production; by default the smallest areas.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="Whose rule of confidentiality on n counts; by default the run's.")
    ] = None,
    persons: Annotated[int | None, typer.Option(help="The least number of persons instead.")] = None,
    debug: Debug = False,
) -> int:
    r"""Write what may cross a border: direct estimates of domains that pass the primary rule.

    A model file with a table \[direct] reads such files, or a folder of those of many countries:
    sae run MODEL --direct FOLDER.
    """
    from sae.batch.exchange import exchange_results

    done = exchange_results(
        results,
        out,
        country=country,
        areas=areas,
        model=model,
        indicators=indicator or (),
        level=level,
        policy=policy,
        persons=persons,
    )
    print(done)
    return DONE


def diff(
    old: Annotated[Path, typer.Argument(help="Folder of results of sae run, or a table that it wrote.")],
    new: Annotated[Path, typer.Argument(help="Another, to be compared with it.")],
    out: Annotated[
        Path | None, typer.Option(help="All differences as .csv, .parquet, .xlsx; hidden figures too.")
    ] = None,
    debug: Debug = False,
) -> int:
    """Say which figures, verdicts and suppressions changed between two results, and why.

    Exit codes: 0 nothing differs; 1 something does; 2 a result cannot be used.
    """
    from sae.batch.comparison import compare_results

    done = compare_results(old, new, out=out)
    for warning in done.warnings:
        complain(f"Warning: {warning}")
    print(done.text)
    return DONE if done.frame.empty else DIFFERENT


def audit(
    table: Annotated[Path, typer.Argument(help="A table with totals and hidden cells: CSV, Parquet, XLSX.")],
    sums: Annotated[
        Path | None,
        typer.Option(
            help='TOML: dimensions with totals and parts, or {} ("year = {}"). Without it TABLE is the '
            "published table of a production, beside the files of its run."
        ),
    ] = None,
    value: Annotated[str, typer.Option(help="Column of the figures; a hidden one is empty or a colon.")] = "",
    status: Annotated[
        str | None, typer.Option(help="Column that says which are hidden, where the figures are there.")
    ] = None,
    persons: Annotated[int | None, typer.Option(help="The least number of persons behind a figure.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of a sample, where too many cells are linked.")] = None,
    debug: Debug = False,
) -> int:
    """Attack a table: what can be told of its hidden cells from the sums between the published ones.

    Exit codes: 0 nothing beyond what is allowed; 1 some hidden cells can be told, or sensitive ones are open.
    """
    from sae.batch.auditing import audit_file, audit_production

    if sums is None:
        attack = audit_production(table)
        print(attack)
        return DONE if attack.passed else PARTLY
    if not value:
        raise SaeInputError("--sums needs the column of the figures.", hint="Name it with --value.")
    found = audit_file(table, sums, value=value, status=status, persons=persons, seed=seed)
    print(found)
    return DONE if found.passed else PARTLY
