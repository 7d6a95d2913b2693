"""One indicator in one crossing: its direct estimates, its rows, and which of them are fitted together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.reading import read_rows
from sae.auxiliary import AreaFile
from sae.auxiliary.areas import code_texts
from sae.batch.direct_table import direct_rows
from sae.batch.production.design import Crossing, Design
from sae.batch.production.statistics import Direct
from sae.batch.runner import covariates_of
from sae.design_based.domains import cross_domains
from sae.errors import SaeError, SaeInputError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.tables import DirectEstimates, label_text, labels
from sae.tables.covariates import Covariates, frame_of

__all__ = ["Cells", "Part", "cells_of", "direct_part", "larger_areas", "lost_cells"]


@dataclass(frozen=True, eq=False)
class Part:
    """What one rung gave for the rows of one fit.

    Attributes
    ----------
    frame : DataFrame
        Columns of the estimate table, by row of the cells.
    joint : JointError
        Joint error, of which `places` are the rows.
    places : ndarray of int
    doubts : tuple of str
        Checks that the fit fails.
    """

    frame: pd.DataFrame
    joint: JointError
    places: np.ndarray
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of one indicator in one crossing.

    Attributes
    ----------
    crossing : Crossing
    indicator : str
    kind : str
        Of the indicator.
    direct : DirectEstimates
        Of the survey's own domains.
    frame : DataFrame
        Columns of the estimate table, without an estimate; the domains that only the areas have come last.
    covariates : DataFrame
        Of the areas, on these rows.
    areas : DataFrame or Covariates, optional
        The areas as a model takes them.
    fit : ndarray of int
        Which fit each row belongs to.
    keys : tuple of tuple
        The values of groups and periods that name each fit.
    per : tuple of str
        Their columns.
    counted : ndarray of float
        What the survey counts in the denominator; 0 where it has no record.
    rough : str
        Why the variances could not be smoothed, so that no model takes them; "" where they are as wanted.
    """

    crossing: Crossing
    indicator: str
    kind: str
    direct: DirectEstimates
    frame: pd.DataFrame
    covariates: pd.DataFrame
    areas: pd.DataFrame | Covariates | None
    fit: np.ndarray
    keys: tuple[tuple[Any, ...], ...]
    per: tuple[str, ...]
    counted: np.ndarray
    rough: str = ""

    @cached_property
    def direct_rows(self) -> pd.DataFrame:
        """The direct estimates in the columns of the estimate table."""
        return direct_rows(self.direct)

    def rows_of(self, fits: Sequence[int]) -> np.ndarray:
        """Return the positions of the rows of some fits."""
        return np.flatnonzero(np.isin(self.fit, list(fits)))

    def direct_of(self, fits: Sequence[int]) -> DirectEstimates:
        """Return the direct estimates of some fits."""
        if len(fits) == len(self.keys):
            return self.direct
        rows = self.rows_of(fits)
        rows = rows[rows < len(self.direct)]
        frame = self.direct.frame.iloc[rows].reset_index(drop=True)
        covariance = self.direct.covariance
        if covariance is not None:
            covariance = covariance.iloc[rows, rows]
        return replace(self.direct, frame=frame, covariance=covariance)

    def key_text(self, fit: int) -> str:
        """Return the values that name a fit, as text."""
        return " / ".join(map(label_text, self.keys[fit])) or "all"

    def texts(self, column: str) -> np.ndarray:
        """Return a grouping column of the rows as text; "" of the whole."""
        if not column:
            return np.full(len(self.frame), "", dtype=object)
        return labels(self.frame[column]).to_numpy(dtype=object)


def cells_of(
    design: Design, crossing: Crossing, name: str, direct: Direct, areas: AreaFile | None
) -> Cells | str:
    """Bring the direct estimates of an indicator together with the areas; the reason where it cannot be.

    Parameters
    ----------
    design : Design
    crossing : Crossing
    name : str
        The indicator.
    direct : Direct
    areas : AreaFile, optional
    """
    file = design.file
    ladder = file.ladder(name, crossing.level)
    per = tuple(ladder.per if ladder and ladder.per is not None else [*crossing.groups, *_one(crossing.time)])
    known: pd.DataFrame | Covariates | None = None
    if areas is not None and _describes(areas, crossing):
        spec = file.model_file(name, crossing.by)
        known = Covariates(
            covariates_of(spec, areas, direct.table), {**areas.origins, **file.areas.origin_of}
        )
    try:
        stray = [column for column in per if column not in crossing.by]
        if stray:
            raise SaeInputError(f"per names {name_some(stray)}, by which these rows are not made.")
        rows = read_rows(
            direct.table,
            frame_of(known),
            outcome=name,
            domain="domain",
            vardir="vardir",
            n_eff="n_eff",
            per=per,
        )
    except SaeError as error:
        return error.what
    frame = rows.table.assign(in_sample=rows.sampled, estimate=np.nan, se=np.nan)
    return Cells(
        crossing,
        name,
        design.known[name].kind,
        direct.table,
        frame,
        rows.covariates,
        known,
        rows.fit,
        tuple(rows.fits.itertuples(index=False, name=None)),
        per,
        np.concatenate([direct.counted, np.zeros(len(frame) - len(direct.counted))]),
        direct.rough,
    )


def _describes(areas: AreaFile, crossing: Crossing) -> bool:
    """Whether the areas are those of the crossing: one row for each, or for each with its groups."""
    keys = [name for name in crossing.by if name in areas.cells]
    return crossing.column in keys and not areas.cells.duplicated(keys).any()


def _one(name: str) -> list[str]:
    return [name] if name else []


def lost_cells(design: Design, crossing: Crossing, name: str, reason: str) -> pd.DataFrame:
    """Return the rows of an indicator that cannot be estimated at all, with the reason."""
    indicator = design.known[name]
    if crossing.survey in design.published:
        table = design.published[crossing.survey].tables[name, crossing.level, crossing.groups]
        domains = table.frame[[*dict.fromkeys(["geo", "time", *crossing.by, "domain"])]]
    else:
        domains = cross_domains(design.surveys[crossing.survey], crossing.by).labels
    frame = domains.assign(
        indicator=name,
        definition=indicator.definition,
        in_sample=False,
        method="",
        estimate=np.nan,
        se=np.nan,
    )
    return frame.assign(why=f"no estimate: {reason}")


def direct_part(cells: Cells, fit: int) -> Part:
    """Return the direct estimates as the part of a fit; domains without a record have none."""
    rows = cells.rows_of([fit])
    own = cells.direct_rows
    sampled = own.iloc[rows[rows < len(own)]].set_axis(rows[rows < len(own)])
    others = cells.frame.iloc[rows[rows >= len(own)]].assign(method="direct")
    others = others.set_axis(rows[rows >= len(own)])
    frame = pd.concat([sampled, others]) if len(others) else sampled
    error = frame["se"].fillna(0.0).to_numpy(dtype=float)
    joint = JointError.of_fits(error**2, [np.zeros((1, len(rows)))])
    return Part(frame, joint, np.arange(len(rows)))


def larger_areas(design: Design, cells: Cells, level: str, areas: AreaFile | None) -> np.ndarray:
    """Return the label of the larger area that each row lies in, by the survey or the file of the areas.

    Raises
    ------
    SaeInputError
        If an area lies in several, or in none that is known.
    """
    own, column = cells.crossing.column, design.file.production.levels[level]
    if not column:
        return np.full(len(cells.frame), "", dtype=object)
    sketch = design.sketches.get(cells.crossing.survey)  # published tables have none
    pairs = []
    if sketch is not None and {own, column} <= set(sketch.pairs):
        pairs.append(sketch.pairs[[own, column]].drop_duplicates().dropna())
    if areas is not None and {own, column} <= set(areas.cells):
        pairs.append(areas.cells[[own, column]].drop_duplicates().dropna().apply(code_texts))
    known = pd.concat(pairs or [pd.DataFrame(columns=[own, column])]).drop_duplicates()
    twice = known.loc[known[own].duplicated(), own].unique()
    if len(twice):
        raise SaeInputError(f"{name_some(twice)} lie in several values of {column}.", areas=twice)
    home = pd.Series(cells.texts(own)).map(dict(known.astype(object).to_numpy().tolist()))
    if home.isna().any():
        absent = sorted(set(cells.texts(own)[home.isna().to_numpy()]))
        raise SaeInputError(
            f"It is not known in which {column} {name_some(absent)} lie.",
            hint=f"Give the areas a column {column}.",
            areas=absent,
        )
    return home.to_numpy(dtype=object)
