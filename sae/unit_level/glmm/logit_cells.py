"""What the logit model of units reads: 0/1 outcomes or counts, and the cells of the population by area."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

import sae
from sae.errors import SaeConvergenceError, SaeInputError, name_some
from sae.numerics.glmm.separation import separating
from sae.numerics.glmm.unit_logit import Cells, logistic
from sae.samplers.cells import Population
from sae.specs import Design
from sae.specs.design import check_rank
from sae.specs.priors import Prior
from sae.survey import Survey
from sae.tables.joins import join_by_name
from sae.unit_level.rows import read_units, refuse_absent, refuse_missing, refuse_missing_covariates

__all__ = ["LogitProblem"]

_NEVER_SEPARATED = 1e-5  # all fitted shares this far from 0 and 1: the maximum is finite


@dataclass(frozen=True, eq=False)
class LogitProblem:
    """Cells of the sample and of the population, by area.

    Attributes
    ----------
    labels : list
        Areas to be predicted, those of the population.
    cells : Cells
        The sample.
    population : Population
    design : Design
    frame : DataFrame
        One row per area with what is known of it.
    units : int
        Rows of the data.
    """

    labels: list[object]
    cells: Cells
    population: Population
    design: Design
    frame: pd.DataFrame
    units: int

    @classmethod
    def build(
        cls,
        data: pd.DataFrame | Survey,
        areas: pd.DataFrame | None,
        *,
        outcome: str,
        covariates: str,
        domain: str,
        trials: str | None,
        population: str | None,
    ) -> LogitProblem:
        """Check units and population cells and bring them together.

        Raises
        ------
        SaeInputError
            If a column, an area, a level or a covariate is missing or unknown, outcomes are no successes, or
            the covariates separate them; names are given.
        """
        units = read_units(data)
        counts = [] if trials is None else [trials]
        refuse_absent(units, [outcome, domain, *counts])
        for column in (domain, outcome, *counts):
            refuse_missing(units, column)
        refuse_missing_covariates(units, covariates)
        y, n = _outcomes(units, outcome, trials, domain)
        units, y, n = units[n > 0].reset_index(drop=True), y[n > 0], n[n > 0]
        if not len(units):
            raise SaeInputError("No unit has any trials.", column=trials)
        design, X = Design.learn(covariates, units, [f"row {k}" for k in range(1, len(units) + 1)])
        check_rank(X, design.columns)
        sampled = pd.Index(units[domain].astype("object"))
        labels, people, frame = _population(design, areas, sampled, domain, population)
        cells = Cells.of(X, y, n, pd.Index(labels, dtype="object").get_indexer(sampled), len(labels))
        _refuse_separated(cells, design)
        return cls(labels, cells, people, design, frame, len(units))

    @property
    def names(self) -> np.ndarray:
        """Names of the areas."""
        return np.array([str(label) for label in self.labels], dtype=object)

    @property
    def guess(self) -> np.ndarray:
        """Empirical logits of the sampled areas: half a success and half a failure added."""
        y, n = self.cells.totals
        return np.asarray(np.log((y + 0.5) / (n - y + 0.5))[n > 0])

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

    def run_id(self, options: str) -> str:
        """Twelve hexadecimal digits that change with version, options, data or labels."""
        digest = hashlib.sha256()
        for text in (sae.__version__, options, *self.design.columns, *self.names):
            digest.update(text.encode() + b"\0")
        people = (self.population.X, self.population.size, self.population.starts)
        for array in (*self.cells.arrays, *people):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:12]


def _outcomes(
    units: pd.DataFrame, outcome: str, trials: str | None, domain: str
) -> tuple[np.ndarray, np.ndarray]:
    """Successes and trials of each unit."""
    y = _numbers(units, outcome)
    n = np.ones(len(units)) if trials is None else _numbers(units, trials)
    if trials is None:
        bad = (y != 0.0) & (y != 1.0)
        what = f"{outcome} is not 0 or 1"
        hint = "Code it as 0 and 1; counts of successes need trials=, the column of their trials."
    else:
        bad = ~((y >= 0.0) & (y <= n) & np.isfinite(n))
        what = f"{outcome} is not between 0 and the number of trials {trials}"
        hint = "The outcome counts successes."
    if bad.any():
        words = [f"row {k + 1} ({y[k]:g})" for k in np.flatnonzero(bad)]
        raise SaeInputError(
            f"{what} in {int(bad.sum())} of {len(y)} units: {name_some(words)}.",
            hint=hint, areas=units[domain][bad].unique(), column=outcome,
        )  # fmt: skip
    return y, n


def _numbers(frame: pd.DataFrame, column: str) -> np.ndarray:
    try:
        return pd.to_numeric(frame[column]).astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    except (ValueError, TypeError):
        raise SaeInputError(f"{column} holds text where numbers are expected.", column=column) from None


def _population(
    design: Design, areas: pd.DataFrame | None, sampled: pd.Index, domain: str, size: str | None
) -> tuple[list[object], Population, pd.DataFrame]:
    """Areas, their population cells, and one row of what is known of each."""
    seen = pd.DataFrame({domain: pd.Series(sampled.unique(), dtype="object")})
    if areas is None:
        needed = [name for name in design.columns if name != "Intercept"]
        if needed or size is not None:
            raise SaeInputError(
                "No population cells: an area's proportion is predicted from the covariates of its people "
                f"({name_some(needed or [str(size)])}).",
                hint="Call fit(..., areas=...) with a row per area and cell and the column of its size that "
                "population= names, or with a row per person.",
                column=(needed or [str(size)])[0],
            )
        areas = seen
    if not isinstance(areas, pd.DataFrame):
        raise SaeInputError(f"areas of type {type(areas).__name__} is no DataFrame.")
    absent = [name for name in (domain, size) if name is not None and name not in areas]
    if absent:
        raise SaeInputError(
            f"The population cells have no column {name_some(absent)}.",
            hint=f"The columns are {name_some(areas, 15)}.", column=absent[0],
        )  # fmt: skip
    frame = areas.reset_index(drop=True)
    if frame[domain].isna().any():
        rows = np.flatnonzero(frame[domain].isna()) + 1
        raise SaeInputError(f"Population cells lack their area: row {name_some(rows)}.", column=domain)
    labels = frame[domain].drop_duplicates()
    join_by_name(seen, labels.to_frame(), domain, names=("the units", "the population cells"))
    people = np.ones(len(frame)) if size is None else _numbers(frame, size)
    code = pd.Index(labels, dtype="object").get_indexer(pd.Index(frame[domain], dtype="object"))
    bad = ~((people >= 0.0) & np.isfinite(people))
    empty = np.bincount(code, np.where(bad, 1.0, people), len(labels)) == 0.0
    if bad.any() or empty.any():
        names = [str(name) for name in (frame[domain][bad].unique() if bad.any() else labels[empty])]
        raise SaeInputError(
            f"{size}, the size of the population cells, is negative or missing, or 0 in a whole area: "
            f"{name_some(names)}.",
            hint="Every area to be predicted needs people.", areas=names, column=size,
        )  # fmt: skip
    X = design.rebuild(frame, list(frame[domain].astype(str)))
    kept = people > 0.0
    cells = Cells.of(X[kept], people[kept], people[kept], code[kept], len(labels))
    known = _constant(frame, code, domain)
    if "population" not in known:
        known["population"] = np.bincount(code, people, len(labels))
    return list(labels.astype("object")), Population(cells.X, cells.n, cells.starts), known


def _constant(frame: pd.DataFrame, code: np.ndarray, domain: str) -> pd.DataFrame:
    """Columns that are the same in all cells of every area, one row per area."""
    first = frame[~frame[domain].duplicated()].reset_index(drop=True)
    if len(first) == len(frame):
        return first
    same = (frame.groupby(code).nunique(dropna=False) == 1).all()
    return first.loc[:, same.to_numpy()]


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
    found = separating(cells.X, ends)
    if found is None:
        return
    guilty = [name for name, weight in zip(design.columns, found, strict=True) if abs(weight) > 1e-6]
    raise SaeInputError(
        f"The posterior is improper: along {name_some(guilty)} the data are separated, all units with one "
        "outcome lying on one side.",
        hint="Leave these columns out, join levels, or check an outcome that is 0 or 1 everywhere.",
        column=guilty[0],
    )
