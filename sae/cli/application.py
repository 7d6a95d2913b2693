"""The command line: its commands, and where it starts."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from sae._version import __version__
from sae.cli.catalogue import indicators, layouts, models, show
from sae.cli.ending import REFUSED, guarded, signals_end
from sae.cli.files import check, new, plan, schema
from sae.cli.first_steps import demo, warmup
from sae.cli.printing import complain
from sae.cli.results import audit, diff, exchange, report
from sae.cli.running import merge, run

__all__ = ["app", "main"]

app = typer.Typer(
    name="sae",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"sae {__version__}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Small area estimation: from survey files to flagged, benchmarked, publishable tables.

    A first run: sae demo. With a survey file of your own: sae new, check, run, report.

    Exit codes:
    0 done
    1 some domains or models failed: the table is written, the reason is named
    2 the input or the model file cannot be used: nothing is written
    130 interrupted, 143 terminated
    (sae diff: 1 something differs; sae audit: 1 hidden figures can be told)
    """


for command in (
    *(demo, new, check, run, merge, report, plan, diff, audit, exchange),
    *(models, indicators, layouts, show, schema, warmup),
):
    app.command()(guarded(command))


def main() -> None:
    """Entry point of the ``sae`` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to stop
    try:
        os.getcwd()
    except OSError:
        complain("Error: the current folder does not exist any more. Change to one that does.")
        sys.exit(REFUSED)
    with signals_end():
        app()
