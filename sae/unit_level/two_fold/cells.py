"""Units in sub-areas, or in the groups of areas, and the area of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.numerics.nested_error.two_fold import TwoFoldSums
from sae.survey import Survey
from sae.tables import labels, require
from sae.tables.texts import Texts
from sae.unit_level.nested_error.arrays import UnitArrays
from sae.unit_level.rows import UnitRows, read_areas, read_units, refuse_missing

__all__ = ["TwoFoldArrays"]


@dataclass(frozen=True, eq=False)
class TwoFoldArrays:
    """Units of a sample, the sub-areas to be predicted and their areas.

    Attributes
    ----------
    units : UnitArrays
        Its areas are the M sub-areas.
    area : ndarray of int, shape (M,)
        Area of each sub-area.
    names : ndarray of str, shape (D,)
        Of the areas.
    column : str
        What the areas are called.
    groups : str or None
        Column of the groups, whose labels are `labels`.
    labels : ndarray of str, shape (M,)
        Of the groups; empty without them.
    """

    units: UnitArrays
    area: np.ndarray
    names: np.ndarray
    column: str
    groups: str | None
    labels: np.ndarray

    @classmethod
    def build(
        cls,
        data: pd.DataFrame | Survey,
        areas: pd.DataFrame | str | Path | None,
        *,
        outcome: str,
        covariates: str,
        domain: str,
        area: str | None,
        groups: str | None,
        population: str | None,
    ) -> TwoFoldArrays:
        """Check units and population and bring them together.

        Raises
        ------
        SaeInputError
            If a column, a level, a sub-area or the area of one is unknown; names are given.
        """
        units = read_units(data)
        further = area or groups or ""
        frame = read_areas(areas, f"{covariates} + {further}", domain, population)
        own = domain
        if groups is not None:
            own, units = _crossed(units, domain, groups, "The units have")
            if frame is not None:
                _, frame = _crossed(frame, domain, groups, "The areas have")
        built = UnitArrays.build(
            units,
            frame,
            outcome=outcome,
            covariates=covariates,
            domain=own,
            population=population,
        )
        if frame is None:
            kept = units.drop_duplicates(own)[list(dict.fromkeys([own, domain, further]))].reset_index(
                drop=True
            )
            built = replace(built, population=replace(built.population, frame=kept))
        column = domain if groups is not None else further
        codes, names = _areas_of(built.population.frame, own, column)
        if groups is None and column in units:
            _refuse_moved(units, own, column, labels(built.population.frame[own]), names[codes])
        of_groups = built.population.frame[groups] if groups is not None else pd.Series([], dtype=object)
        return cls(
            built,
            codes,
            names,
            column,
            groups,
            labels(of_groups).to_numpy(dtype=object) if groups else names[:0],
        )

    @cached_property
    def two(self) -> TwoFoldSums:
        """What the units leave, sub-area by sub-area."""
        return TwoFoldSums(self.units.sums, self.area, len(self.names))

    def rows(self, outcome: str) -> UnitRows:
        """Return what the table says of the sub-areas before the fit."""
        rows = self.units.rows(outcome)
        if self.groups is None:
            return rows
        domain = Texts.of(self.names[self.area])
        columns = {**rows.columns, "geo": domain, "domain": domain, self.groups: self.labels}
        return replace(rows, columns=columns, groups=(self.groups,))


def _crossed(frame: pd.DataFrame, domain: str, groups: str, what: str) -> tuple[str, pd.DataFrame]:
    """Return the name of the column "domain / group", and the frame with it."""
    require(frame, [domain, groups], what, hint="domain= and groups= name them.")
    name = f"{domain} / {groups}"
    for column in (domain, groups):
        refuse_missing(frame, column, "units" if what == "The units have" else "rows of the areas")
    crossed = labels(frame[domain]).astype("object") + " / " + labels(frame[groups]).astype("object")
    return name, frame.assign(**{name: crossed})


def _refuse_moved(units: pd.DataFrame, domain: str, column: str, names: pd.Series, areas: np.ndarray) -> None:
    """Refuse units that lie in another area than the population says of their sub-area."""
    known = pd.Series(areas, index=names.to_numpy(dtype=object))
    mine, where = labels(units[domain]), labels(units[column], keep_missing=True)
    moved = (where.notna() & (where.astype(object) != mine.astype(object).map(known))).to_numpy()
    if moved.any():
        several = mine[moved].unique()
        raise SaeInputError(
            f"{int(moved.sum())} of {len(units)} units lie in another {column} than their {domain}: "
            f"{name_some(several)}.",
            hint=f"A {domain} lies in one {column}, the same in the units and in the population; names that "
            f"several {column} use need the {column} in them.",
            areas=several,
            column=column,
        )


def _areas_of(frame: pd.DataFrame, domain: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the area of each sub-area, and the names of the areas in order of appearance.

    Raises
    ------
    SaeInputError
        If the column is not there, or a sub-area has none or several.
    """
    if column not in frame:
        raise SaeInputError(
            f"The population has no column {column!r} with one area for each {domain}.",
            hint=f"area= names it; a {domain} lies in one area, in all its rows.",
            column=column,
        )
    empty = frame[column].isna().to_numpy()
    if empty.any():
        lost = frame[domain][empty]
        raise SaeInputError(f"{column} is missing in {name_some(lost)}.", areas=lost, column=column)
    codes, names = pd.factorize(labels(frame[column]).to_numpy(dtype=object))
    return codes.astype(np.int64), np.asarray(names, dtype=object)
