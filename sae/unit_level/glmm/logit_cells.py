"""What the logit model of units reads: 0/1 outcomes or counts, and the cells of the population by area."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from sae.errors import SaeConvergenceError, SaeInputError, name_some
from sae.numerics.glmm.separation import separating
from sae.numerics.glmm.unit_logit import Cells, logistic
from sae.results import FittedData, Message, run_id
from sae.samplers.cells import Population
from sae.specs import Design, Specification
from sae.specs.design import check_rank
from sae.specs.priors import Prior
from sae.survey import Survey
from sae.tables import require, to_numbers
from sae.unit_level.rows import (
    RowNames,
    UnitRows,
    constant_columns,
    match_areas,
    read_areas,
    read_units,
    refuse_missing,
    refuse_missing_covariates,
)
from sae.unit_level.tables import area_table, population_messages

__all__ = ["LogitArrays"]

_NEVER_SEPARATED = 1e-5  # all fitted shares this far from 0 and 1: the maximum is finite


@dataclass(frozen=True, eq=False)
class LogitArrays:
    """Units and their cells, and the cells of the population, by area.

    Attributes
    ----------
    names : ndarray of str, shape (D,)
        Areas to be predicted, those of the population.
    y, trials : ndarray of float, shape (n,)
        Successes and trials of each unit.
    X : ndarray of float, shape (n, p)
    area : ndarray of int, shape (n,)
    cells : Cells
        The units summed.
    population : Population
    design : Design
    frame : DataFrame
        One row per area with what is known of it.
    """

    names: np.ndarray
    y: np.ndarray
    trials: np.ndarray
    X: np.ndarray
    area: np.ndarray
    cells: Cells
    population: Population
    design: Design
    frame: pd.DataFrame

    @classmethod
    def build(
        cls,
        data: pd.DataFrame | Survey,
        areas: pd.DataFrame | str | Path | None,
        *,
        outcome: str,
        covariates: str,
        domain: str,
        trials: str | None,
        population: str | None,
    ) -> LogitArrays:
        """Check units and population cells and bring them together.

        Raises
        ------
        SaeInputError
            If a column, an area, a level or a covariate is missing or unknown, outcomes are no successes, or
            the covariates separate them; names are given.
        """
        units = read_units(data)
        counts = [] if trials is None else [trials]
        require(units, [outcome, domain, *counts], "The units have")
        for column in (domain, outcome, *counts):
            refuse_missing(units, column)
        refuse_missing_covariates(units, covariates)
        y, n = _outcomes(units, outcome, trials, domain)
        units, y, n = units[n > 0].reset_index(drop=True), y[n > 0], n[n > 0]
        if not len(units):
            raise SaeInputError("No unit has any trials.", column=trials)
        design, X = Design.learn(covariates, units, RowNames(len(units)))
        check_rank(X, design.columns)
        frame = read_areas(areas, covariates, domain, population)
        if frame is None:
            _refuse_without_population(design, population)
            frame = units[[domain]].drop_duplicates(ignore_index=True)
        names, area, row = match_areas(units[domain], frame[domain], domain)
        people, known = _population(design, frame, names, row, population)
        cells = Cells.of(X, y, n, area, len(names))
        _refuse_separated(cells, design)
        return cls(names, y, n, X, area, cells, people, design, known)

    @property
    def sampled(self) -> np.ndarray:
        """Which areas have units, shape (D,)."""
        return np.asarray(self.cells.totals[1] > 0)

    @property
    def logits(self) -> np.ndarray:
        """Empirical logits of the sampled areas: half a success and half a failure added."""
        y, n = self.cells.totals
        return np.asarray(np.log((y + 0.5) / (n - y + 0.5))[n > 0])

    @property
    def data(self) -> FittedData:
        """What is fitted, unit by unit: shares of successes."""
        return FittedData(
            self.y / self.trials,
            np.full(len(self.y), np.nan),
            self.X,
            self.design.columns,
            self.sampled,
            self.names,
            self.area,
            np.zeros(len(self.names), dtype=np.int64),
        )

    def rows(self, outcome: str) -> UnitRows:
        """Return what the table says of the areas before the fit."""
        y, n = self.cells.totals
        with np.errstate(divide="ignore", invalid="ignore"):
            direct = np.where(n > 0, y / n, np.nan)
            se = np.sqrt(direct * (1.0 - direct) / n)
        table = area_table(outcome, "share", self.names, direct, se, n=n)
        return UnitRows(table, self.frame, {"units": len(self.y)})

    def messages(self) -> list[Message]:
        """Return what is to be said of the covariates."""
        outside = self.design.outside(self.population.X)
        somewhere = np.logical_or.reduceat(outside, self.population.starts[:-1], axis=0)
        return population_messages(self.X, somewhere, self.design.columns, self.names)

    def check_proper(self, prior: Prior) -> None:
        """Refuse a flat prior of σ with too few areas in which both outcomes were seen.

        Raises
        ------
        SaeInputError
        """
        if not prior.spare:
            return
        y, n = self.cells.totals
        mixed, X = int(((y > 0) & (y < n)).sum()), self.cells.X
        first = self.cells.starts[:-1][np.diff(self.cells.starts) > 0]
        position = np.searchsorted(first, np.arange(len(X)), side="right") - 1
        inside = np.linalg.matrix_rank((X - X[first][position]) / np.linalg.norm(X, axis=0))
        needed = X.shape[1] - int(inside) + prior.spare
        if mixed < needed:
            raise SaeInputError(
                f"The posterior is improper: the {prior.text} prior needs {needed} areas with both outcomes; "
                f"there are {mixed}.",
                hint='Use a proper prior, such as prior="half-normal".',
            )

    def run_id(self, spec: Specification) -> str:
        """Return the digest of a run on these cells."""
        people = (self.population.X, self.population.size, self.population.starts)
        texts = (*self.design.columns, *self.names)
        return run_id(spec, None, texts, (*self.cells.arrays, *people))


def _outcomes(
    units: pd.DataFrame, outcome: str, trials: str | None, domain: str
) -> tuple[np.ndarray, np.ndarray]:
    """Successes and trials of each unit."""
    y = to_numbers(units, outcome)
    n = np.ones(len(units)) if trials is None else to_numbers(units, trials)
    if trials is None:
        bad = (y != 0.0) & (y != 1.0)
        what = f"{outcome} is not 0 or 1"
        hint = "Code it as 0 and 1; counts of successes need trials=, the column of their trials."
    else:
        bad = ~((y >= 0.0) & (y <= n) & np.isfinite(n))
        what = f"{outcome} is not between 0 and the number of trials {trials}"
        hint = "The outcome counts successes."
    if bad.any():
        shown = [f"row {k + 1} ({y[k]:g})" for k in np.flatnonzero(bad)]
        raise SaeInputError(
            f"{what} in {int(bad.sum())} of {len(y)} units: {name_some(shown)}.",
            hint=hint,
            areas=units[domain][bad].unique(),
            column=outcome,
        )
    return y, n


def _refuse_without_population(design: Design, size: str | None) -> None:
    """Refuse to predict areas of whose people nothing is known, where the model needs their covariates."""
    needed = [name for name in design.columns if name != "Intercept"] or ([size] if size else [])
    if needed:
        raise SaeInputError(
            "No population cells: an area's proportion is predicted from the covariates of its people "
            f"({name_some(needed)}).",
            hint="Call fit(..., areas=...) with a row per area and cell and the column of its size that "
            "population= names, or with a row per person.",
            column=needed[0],
        )


def _population(
    design: Design, frame: pd.DataFrame, names: np.ndarray, row: np.ndarray, size: str | None
) -> tuple[Population, pd.DataFrame]:
    """Return the population cells of the areas, and one row of what is known of each."""
    people = np.ones(len(frame)) if size is None else to_numbers(frame, size, names=names[row])
    bad = ~((people >= 0.0) & np.isfinite(people))
    empty = np.bincount(row, np.where(bad, 1.0, people), len(names)) == 0.0
    if bad.any() or empty.any():
        guilty = np.unique(names[row[bad]]) if bad.any() else names[empty]
        raise SaeInputError(
            f"{size}, the size of the population cells, is negative or missing, or 0 in a whole area: "
            f"{name_some(guilty)}.",
            hint="Every area to be predicted needs people.",
            areas=guilty,
            column=size,
        )
    X = design.rebuild(frame, list(names[row]))
    kept = people > 0.0
    cells = Cells.of(X[kept], people[kept], people[kept], row[kept], len(names))
    known = constant_columns(frame, row)
    if "population" not in known:
        known["population"] = np.bincount(row, people, len(names))
    return Population(cells.X, cells.n, cells.starts), known


def _refuse_separated(cells: Cells, design: Design) -> None:
    """Refuse covariates along which the likelihood never falls: with flat coefficients nothing is proper."""
    try:
        scaled = Cells(cells.X / np.linalg.norm(cells.X, axis=0), cells.y, cells.n, cells.starts)
        share = expit(scaled.X @ logistic(scaled)[0])
        if np.minimum(share, 1.0 - share).min() > _NEVER_SEPARATED:
            return
    except SaeConvergenceError:
        pass
    ends = np.where(cells.y <= 0.0, -1, np.where(cells.y >= cells.n, 1, 0))
    direction = separating(cells.X, ends)
    if direction is None:
        return
    guilty = [name for name, weight in zip(design.columns, direction, strict=True) if abs(weight) > 1e-6]
    raise SaeInputError(
        f"The posterior is improper: along {name_some(guilty)} the data are separated, all units with one "
        "outcome lying on one side.",
        hint="Leave these columns out, join levels, or check an outcome that is 0 or 1 everywhere.",
        column=guilty[0],
    )
