"""The population of an EBP: persons or households of areas, matched to the sample by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, counted, name_some
from sae.numerics.ebp.population import Level, Population
from sae.numerics.ebp.streamed import StreamedPopulation
from sae.specs import Design
from sae.tables import check_spelling, labels, require, to_numbers, unmatched
from sae.unit_level.rows import RowNames, coded_labels, refuse_missing

__all__ = [
    "People",
    "PeopleColumns",
    "area_levels",
    "build_people",
    "group_codes",
    "match_people",
    "refuse_divided",
    "refuse_nobody",
    "refuse_weights",
]


@dataclass(frozen=True)
class PeopleColumns:
    """Columns of the population beside the covariates."""

    domain: str
    weight: str | None = None
    levels: tuple[str, ...] = ()
    groups: str | None = None
    linked: str | None = None
    clusters: str | None = None  # which the population may lack

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
    population : Population or StreamedPopulation
        Sorted by area; areas of the sample alone are empty.
    levels : mapping of str to (Level, ndarray of str)
        Areas by the column of `domain` itself and by each coarser one, and the names of the parts.
    groups : tuple of str
        Names of the groups.
    frame : DataFrame
        One row per area of the population with what is the same for all its persons.
    outside : ndarray of int, shape (D, p)
        Rows of each area outside of the range that a column of the design has in the sample.
    digest : ndarray of uint8, optional
        Of the rows that are streamed.
    """

    names: np.ndarray
    present: int
    population: Population | StreamedPopulation
    levels: dict[str, tuple[Level, np.ndarray]]
    groups: tuple[str, ...]
    frame: pd.DataFrame
    outside: np.ndarray
    digest: np.ndarray | None = None

    @property
    def persons(self) -> np.ndarray:
        """What the rows of each area of the population count for, shape (present,)."""
        return np.asarray(self.population.persons[: self.present, 0])

    @property
    def rows(self) -> Population:
        """The population, where its rows are in memory."""
        assert isinstance(self.population, Population)
        return self.population


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
    row, names, present, area = match_people(frame, units, domain)
    order = np.argsort(row, kind="stable")
    offsets = np.searchsorted(row[order], np.arange(len(names) + 1))
    group, groups = group_codes(frame, columns.groups)
    for name in design.variables:
        if name in frame:
            refuse_missing(frame, name, "rows of the population")
    population = Population(
        design.rebuild(frame, RowNames(len(frame)) if count is None else names[row])[order],
        offsets,
        _weights(frame, columns, row, names[:present], count)[order] if columns.weight else None,
        None if group is None else group[order],
        len(groups),
        None,
        None if columns.linked is None else _linked(frame, units, columns)[order],
        None if count is None else count[order],
    )
    levels = area_levels(frame, columns, row, names)
    beyond = design.outside(population.X)
    if count is not None:
        beyond = beyond * count[order][:, None]
    outside = np.add.reduceat(beyond, offsets[:present], axis=0, dtype=np.int64)
    table = pd.DataFrame({domain: names[:present], "population": population.units[:present]})
    return People(names, present, population, levels, groups, table, outside), area


def match_people(
    frame: pd.DataFrame, units: pd.DataFrame, domain: str
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Match rows of the population and units by the label of their area.

    Returns
    -------
    row : ndarray of int, shape (len(frame),)
        Area of each row.
    names : ndarray of str, shape (D,)
        Those of the population in the order in which it names them, then those of the sample alone.
    present : int
        How many areas the population has.
    area : ndarray of int, shape (n,)
        Area of each unit.

    Raises
    ------
    SaeInputError
        If labels are spelt in two ways, or no sampled area is in the population.
    """
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
    return row, names, len(ours), pd.Index(names).get_indexer(pd.Index(own))[unit]


def area_levels(
    frame: pd.DataFrame, columns: PeopleColumns, row: np.ndarray, names: np.ndarray
) -> dict[str, tuple[Level, np.ndarray]]:
    """Return the level of the areas and the coarser ones, with the names of their parts."""
    levels = {columns.domain: (Level.of_areas(len(names)), names)}
    for name in columns.levels:
        levels[name] = _level(frame, name, row, names[: int(row.max()) + 1], len(names))
    return levels


def group_codes(frame: pd.DataFrame, column: str | None) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return the group of each row and the names of the groups, sorted."""
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
        refuse_weights(columns.weight, many, total, where)
    refuse_nobody(columns.weight, names[np.bincount(row, weights, len(names)) == 0.0])
    return weights


def refuse_weights(column: str, many: int, total: int, where: str) -> NoReturn:
    """Refuse weights of the population that are none.

    Raises
    ------
    SaeInputError
    """
    raise SaeInputError(
        f"The population weight {column} is missing, negative or infinite in {many:,} of {total:,} rows of "
        f"the population: {where}.",
        hint="It says how many persons a row stands for, such as the size of a household.",
        column=column,
    )


def refuse_nobody(column: str, areas: np.ndarray) -> None:
    """Refuse areas whose weights are all 0.

    Raises
    ------
    SaeInputError
    """
    if len(areas):
        what = counted(len(areas), "area of the population has", "areas of the population have")
        raise SaeInputError(
            f"{what} no person: {column} is 0 in all rows of {name_some(areas)}.",
            hint="Take these areas out: there is nobody whose welfare could be predicted.",
            areas=areas,
            column=column,
        )


def _level(
    frame: pd.DataFrame, column: str, row: np.ndarray, names: np.ndarray, areas: int
) -> tuple[Level, np.ndarray]:
    """Return the parts of a coarser level; areas of the sample alone are in a part of their own, the last."""
    code, parts, _ = coded_labels(frame[column])
    _, first = np.unique(row, return_index=True)
    split = names[np.unique(row[code != code[first][row]])]
    refuse_divided(split, column)
    part = np.full(areas, len(parts))
    part[: len(names)] = code[first]
    return Level(part, len(parts) + (areas > len(names))), parts


def refuse_divided(areas: Sequence[object], column: str) -> None:
    """Refuse areas that lie in several parts of a level.

    Raises
    ------
    SaeInputError
    """
    if len(areas):
        raise SaeInputError(
            f"{counted(len(areas), 'area lies', 'areas lie')} in several parts of {column}: "
            f"{name_some(areas)}.",
            hint="A level puts whole areas together; a column that differs within areas goes to groups=.",
            areas=areas,
            column=column,
        )


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
                f"{column} names {len(twice):,} of the {name} twice or more: {name_some(twice)}.",
                hint="linked= takes a column in which every unit has a name of its own.",
                column=column,
            )
    here = labels(units[columns.domain]).isin(labels(frame[columns.domain].drop_duplicates())).to_numpy()
    gone, _ = unmatched(units[here], frame, column)  # areas that nobody asks for may be missing
    if gone:
        raise SaeInputError(
            f"{len(gone)} of {len(units)} units of the sample {'is' if len(gone) == 1 else 'are'} not in the "
            f"population: {column} "
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
            f"{counted(len(moved), 'unit lies', 'units lie')} in another area in the sample than in the "
            f"population: {name_some(moved)}.",
            column=column,
        )
    return found
