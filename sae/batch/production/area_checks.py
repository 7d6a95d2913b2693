"""What is wrong with the file of the areas, before anything is estimated."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from sae.auxiliary import AreaFile
from sae.auxiliary.areas import code_texts
from sae.batch.hints import reading
from sae.batch.production.spec import ProductionFile
from sae.errors import SaeInputError, name_some
from sae.specs import parse_terms, split_formula
from sae.tables import labels
from sae.tables.columns import DIRECT_COLUMNS

__all__ = ["check_areas", "check_covariates"]


def check_covariates(file: ProductionFile, areas: AreaFile | None) -> None:
    """Refuse covariates that the areas lack; what the direct estimates bring is known."""
    known = {*DIRECT_COLUMNS, *(name for groups in file.production.groups for name in groups)}
    known |= {*file.production.levels.values(), *([] if areas is None else areas.cells)}
    for k, ladder in enumerate(file.ladders, 1):
        for j, rung in enumerate(ladder.rung, 1):
            if rung.formula is None:
                continue
            names = parse_terms(split_formula(f"y {rung.formula}")[1]).variables
            lost = [name for name in names if name not in known]
            if lost:
                lacking = "the areas lack" if areas is not None else "no file of areas gives"
                raise SaeInputError(
                    f"{file.id}.toml: [[model]] number {k}, rung {j}: the formula uses {', '.join(lost)}, "
                    f"which {lacking}.",
                    hint="Give the areas with --areas." if areas is None else "",
                    column=lost[0],
                )


def check_areas(
    file: ProductionFile, areas: AreaFile | None, frames: Iterable[pd.DataFrame], times: Iterable[str]
) -> None:
    """Refuse areas that are there twice or hold text among numbers, and areas of the sources that they lack.

    Parameters
    ----------
    file : ProductionFile
    areas : AreaFile, optional
    frames : iterable of DataFrame
        With the areas of each source, where it has the smallest ones.
    times : iterable of str
        Columns of periods, which may tell rows of the areas apart.
    """
    own = file.production.levels[file.lowest]
    if areas is None or own not in areas.cells:
        return
    keys = [name for name in dict.fromkeys([own, *file.production.grouping, *times]) if name in areas.cells]
    with reading("[areas]"):
        areas.table(areas.keys(keys))
    known = set(code_texts(areas.cells[own]).dropna())
    for frame in frames:
        absent = sorted(set(labels(frame[own], keep_missing=True).dropna()) - known) if own in frame else []
        if absent:
            raise SaeInputError(
                f"{areas.name} lacks {len(absent)} values of {own} that the data have: {name_some(absent)}.",
                hint="Give every area a row, with the spelling of the data.",
                areas=absent,
                column=own,
            )
