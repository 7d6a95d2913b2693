"""`sae models`, `sae indicators`, `sae layouts`, `sae show`: what is known by name."""

from __future__ import annotations

from typing import Annotated

import typer

from sae.cli.ending import DONE
from sae.cli.options import Debug
from sae.cli.printing import print_table

__all__ = ["indicators", "layouts", "models", "show"]


def models(
    name: Annotated[str | None, typer.Argument(help="Print this one's file instead of the list.")] = None,
    debug: Debug = False,
) -> int:
    """List the shipped models and planning files, or print one of them."""
    from sae.batch.models import locate, shipped_models, shipped_plans, shipped_productions
    from sae.batch.spec import read_text, title_of

    if name is not None:
        print("\n".join(read_text(path) for path in locate(name, plans=True)))
        return DONE
    files = {**shipped_models(), **shipped_productions(), **shipped_plans()}
    print_table(["name", "what it estimates"], [[name, title_of(path)] for name, path in files.items()])
    return DONE


def indicators(debug: Debug = False) -> int:
    """List the indicators; sae show NAME prints one.

    Codes of a remembered one were written from memory, and nobody could verify them: a model file accepts it
    by name.
    """
    from sae.indicators import REGISTRY

    mark = {"verified": "", "remembered": " (remembered)"}
    rows = [[one.id, one.survey, one.label + mark[one.state]] for one in REGISTRY.values()]
    print_table(["name", "survey", "what it is"], rows)
    return DONE


def layouts(debug: Debug = False) -> int:
    """List the layouts of survey files that are known by name; sae show NAME says more."""
    from sae.survey import layouts

    print_table(
        ["name", "years", "of which file"], layouts()[["name", "years", "title"]].to_numpy(object).tolist()
    )
    return DONE


def show(
    name: Annotated[str, typer.Argument(help="An indicator, a layout, a covariate or a shipped model.")],
    debug: Debug = False,
) -> int:
    """Print all that is known of one entry of the catalogue: its definition, codes, state."""
    from sae.batch.catalogue import page

    print(page(name))
    return DONE
