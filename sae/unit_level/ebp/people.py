"""The population of an EBP: persons or households of areas, matched to the sample by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.numerics.ebp.population import Level, Population
from sae.specs import Design
from sae.tables import check_spelling, labels, pandas_frame, read_columns, require, to_numbers, unmatched
from sae.unit_level.rows import RowNames, coded_labels, formula_words, refuse_missing

__all__ = ["People", "PeopleColumns", "build_people", "read_people"]


@dataclass(frozen=True)
class PeopleColumns:
    """Columns of the population beside the covariates."""

    domain: str
    weight: str | None = None
    levels: tuple[str, ...] = ()
    groups: str | None = None
    linked: str | None = None

    @property
    def names(self) -> list[str]:
        """All of them."""
        others = (self.weight, *self.levels, self.groups, self.linked)
        return [self.domain, *(name for name in others if name is not None)]


@dataclass(frozen=True, eq=False)
class People:
    """A population in arrays, and the areas of sample and population.

    Attributes
    ----------
    names : ndarray of str, shape (D,)
        Those of the population in the order in which it names them, then those of the sample alone.
    present : int
        How many areas the population has.
    population : Population
        Sorted by area; areas of the sample alone are empty.
    levels : mapping of str to (Level, ndarray of str)
        Areas by the column of `domain` itself and by each coarser one, and the names of the parts.
    groups : tuple of str
        Names of the groups.
    frame : DataFrame
        One row per area of the population with what is the same for all its persons.
    """

    names: np.ndarray
    present: int
    population: Population
    levels: dict[str, tuple[Level, np.ndarray]]
    groups: tuple[str, ...]
    frame: pd.DataFrame

    @property
    def persons(self) -> np.ndarray:
        """What the rows of each area of the population count for, shape (present,)."""
        mass = self.population.mass
        if mass is None:
            return self.population.units[: self.present].astype(float)
        return np.add.reduceat(mass, self.population.offsets[: self.present])


def read_people(
    areas: pd.DataFrame | str | Path | None, covariates: str, columns: PeopleColumns
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """Return the rows of the population, of a Parquet file only the columns that are used.

    Rows of a file that are alike in these columns become one, a cell, and are counted.

    Returns
    -------
    frame : DataFrame
    count : ndarray of int, shape (len(frame),), or None
        Of cells.

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
        return [name for name in names if name in columns.names or wanted & formula_words(name)]

    count = None
    if isinstance(areas, (str, Path)):
        cells = None
        if columns.linked is None:
            from sae.unit_level.ebp.cells import read_cells

            others = [name for name in (columns.groups, columns.weight) if name is not None]
            cells = read_cells(areas, covariates, columns.domain, others, columns.levels)
        areas, count = (cells.frame, cells.count) if cells else (read_columns(areas, chosen), None)
    frame = pandas_frame(areas, "The population")
    check(list(map(str, frame)))
    if not len(frame):
        raise SaeInputError("The population has no rows.")
    for name in (columns.domain, *columns.levels, columns.groups, columns.linked):
        if name is not None:
            refuse_missing(frame, name, "rows of the population")
    return frame.reset_index(drop=True), count


def build_people(
    frame: pd.DataFrame,
    units: pd.DataFrame,
    design: Design,
    columns: PeopleColumns,
    count: np.ndarray | None = None,
) -> tuple[People, np.ndarray]:
    """Sort the population by area and match it to the sample; areas may stand in one of them alone.

    Returns
    -------
    People
    ndarray of int, shape (n,)
        Area of each unit of the sample.

    Raises
    ------
    SaeInputError
        If labels are spelt in two ways, no sampled area is in the population, or a covariate, level, weight,
        group or link cannot be used.
    """
    domain = columns.domain
    both = [side[[domain]].drop_duplicates() for side in (units, frame)]
    check_spelling(both[0], both[1], [domain], ("the units", "the population"))
    row, ours, _ = coded_labels(frame[domain])
    unit, own, _ = coded_labels(units[domain])
    alone = own[pd.Index(ours).get_indexer(pd.Index(own)) < 0]
    if len(alone) == len(own):
        raise SaeInputError(
            f"No area of the units is in the population: the units have {name_some(alone)}, the population "
            f"has {name_some(ours)}.",
            hint=f"The column {domain} must name the same areas in both.",
            column=domain,
        )
    names = np.concatenate([ours, alone])
    order = np.argsort(row, kind="stable")
    offsets = np.searchsorted(row[order], np.arange(len(names) + 1))
    group, groups = _groups(frame, columns.groups)
    for name in design.variables:
        if name in frame:
            refuse_missing(frame, name, "rows of the population")
    population = Population(
        design.rebuild(frame, RowNames(len(frame)) if count is None else ours[row])[order],
        offsets,
        _weights(frame, columns, row, ours, count)[order] if columns.weight else None,
        None if group is None else group[order],
        len(groups),
        None,
        None if columns.linked is None else _linked(frame, units, columns)[order],
        None if count is None else count[order],
    )
    levels = {domain: (Level.of_areas(len(names)), names)}
    for name in columns.levels:
        levels[name] = _level(frame, name, row, ours, len(names))
    table = pd.DataFrame({domain: ours})
    sizes = population.units[: len(ours)]
    people = People(names, len(ours), population, levels, groups, table.assign(population=sizes))
    return people, pd.Index(names).get_indexer(pd.Index(own))[unit]


def _groups(frame: pd.DataFrame, column: str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if column is None:
        return None, ()
    code, names, _ = coded_labels(frame[column])
    order = np.argsort(names)
    return np.argsort(order)[code], tuple(map(str, names[order]))


def _weights(
    frame: pd.DataFrame,
    columns: PeopleColumns,
    row: np.ndarray,
    names: np.ndarray,
    count: np.ndarray | None,
) -> np.ndarray:
    assert columns.weight is not None
    weights = to_numbers(frame, columns.weight)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0.0)))
    if len(bad):
        many, total, where = len(bad), len(frame), f"row {name_some(bad + 1)}"
        if count is not None:
            many, total = int(count[bad].sum()), int(count.sum())
            where = f"in {name_some(dict.fromkeys(names[row[bad]]))}"
        raise SaeInputError(
            f"The population weight {columns.weight} is missing, negative or infinite in {many} of "
            f"{total} rows of the population: {where}.",
            hint="It says how many persons a row stands for, such as the size of a household.",
            column=columns.weight,
        )
    empty = names[np.bincount(row, weights, len(names)) == 0.0]
    if len(empty):
        raise SaeInputError(
            f"{len(empty)} areas of the population have no person: {columns.weight} is 0 in all rows of "
            f"{name_some(empty)}.",
            hint="Take these areas out: there is nobody whose welfare could be predicted.",
            areas=empty,
            column=columns.weight,
        )
    return weights


def _level(
    frame: pd.DataFrame, column: str, row: np.ndarray, names: np.ndarray, areas: int
) -> tuple[Level, np.ndarray]:
    """Return the parts of a coarser level; areas of the sample alone are in a part of their own, the last."""
    code, parts, _ = coded_labels(frame[column])
    _, first = np.unique(row, return_index=True)
    split = names[np.unique(row[code != code[first][row]])]
    if len(split):
        raise SaeInputError(
            f"{len(split)} areas lie in several parts of {column}: {name_some(split)}.",
            hint="A level puts whole areas together; a column that differs within areas goes to groups=.",
            areas=split,
            column=column,
        )
    part = np.full(areas, len(parts))
    part[: len(names)] = code[first]
    return Level(part, len(parts) + (areas > len(names))), parts


def _linked(frame: pd.DataFrame, units: pd.DataFrame, columns: PeopleColumns) -> np.ndarray:
    """Return the row of the sample of each row of the population, -1 where it has none."""
    column = columns.linked
    assert column is not None
    require(units, [column], "The units have")
    refuse_missing(units, column)
    for side, name in ((units, "units"), (frame, "rows of the population")):
        twice = labels(side[column][side[column].duplicated()]).unique()
        if len(twice):
            raise SaeInputError(
                f"{column} names {len(twice)} of the {name} twice or more: {name_some(twice)}.",
                hint="linked= takes a column in which every unit has a name of its own.",
                column=column,
            )
    here = labels(units[columns.domain]).isin(labels(frame[columns.domain].drop_duplicates())).to_numpy()
    gone, _ = unmatched(units[here], frame, column)  # areas that nobody asks for may be missing
    if gone:
        raise SaeInputError(
            f"{len(gone)} of {len(units)} units of the sample are not in the population: {column} "
            f"{name_some(gone)}.",
            hint="Without linked= all units of the population are predicted and none has to be found in it.",
            column=column,
        )
    ours, theirs = (labels(side[column]).to_numpy(dtype=object) for side in (units, frame))
    found = pd.Index(ours).get_indexer(theirs)
    both = [labels(side[columns.domain]).to_numpy(dtype=object) for side in (units, frame)]
    moved = ours[found[(found >= 0) & (both[0][found] != both[1])]]
    if len(moved):
        raise SaeInputError(
            f"{len(moved)} units lie in another area in the sample than in the population: "
            f"{name_some(moved)}.",
            column=column,
        )
    return found
