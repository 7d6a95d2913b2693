"""The rows of the population of an EBP: of a frame, of a file, or a file that is too large to be one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sae.errors import SaeInputError
from sae.tables import pandas_frame, read_columns, require
from sae.tables.parquet_blocks import ParquetRecords
from sae.unit_level.ebp.people import PeopleColumns
from sae.unit_level.rows import formula_words, refuse_missing

__all__ = ["read_people"]


def read_people(
    areas: pd.DataFrame | str | Path | ParquetRecords | None,
    covariates: str,
    columns: PeopleColumns,
    held: tuple[str, str] | None = None,
) -> tuple[pd.DataFrame, np.ndarray | None] | ParquetRecords:
    """Return the rows of the population, of a Parquet file only the columns that are used.

    Rows of a file that are alike in these columns become one, a cell, and are counted.

    Parameters
    ----------
    areas : DataFrame, str, Path, ParquetRecords or None
    covariates : str
        The formula's right-hand side.
    columns : PeopleColumns
    held : (str, str), optional
        As of `cells.read_cells`.

    Returns
    -------
    (frame, count) or ParquetRecords
        Rows; and how many each stands for, shape (len(frame),), where they are cells. Or, of rows that are
        more than the memory holds, the file.

    Raises
    ------
    SaeInputError
        If there is none, or it lacks a column.
    """
    if areas is None:
        raise SaeInputError(
            "No population: the distribution of an area is that of its persons.",
            hint="Call fit(..., areas=...) with one row per person or household of the population, with the "
            "covariates of the formula.",
        )

    def check(names: Sequence[str]) -> None:
        require(pd.DataFrame(columns=list(names)), columns.names, "The population has")

    def chosen(names: Sequence[str]) -> list[str]:
        check(names)
        wanted = formula_words(covariates)
        used = [*columns.names, columns.clusters]
        return [name for name in names if name in used or wanted & formula_words(name)]

    count = None
    if isinstance(areas, (str, Path, ParquetRecords)):
        from sae.unit_level.ebp.cells import Cells, read_cells

        counted = None
        if columns.linked is None:
            others = [name for name in (columns.groups, columns.weight) if name is not None]
            counted = read_cells(
                areas, covariates, columns.domain, others, columns.levels, held, columns.clusters
            )
        if isinstance(counted, Cells):
            areas, count = counted.frame, counted.count
        elif counted is not None:
            return counted
        elif isinstance(areas, ParquetRecords):
            areas = areas.frame(chosen(areas.columns))
        else:
            areas = read_columns(areas, chosen)
    frame = pandas_frame(areas, "The population")
    check(list(map(str, frame)))
    if not len(frame):
        raise SaeInputError("The population has no rows.")
    for name in (columns.domain, *columns.levels, columns.groups, columns.linked):
        if name is not None:
            refuse_missing(frame, name, "rows of the population")
    return frame.reset_index(drop=True), count
