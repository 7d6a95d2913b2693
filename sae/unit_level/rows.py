"""What unit-level models read: units of a sample, and population means of their areas, matched by name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

import sae
from sae.errors import SaeInputError, name_some
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.profile import AreaSums, area_sums
from sae.specs import Design
from sae.survey import Survey
from sae.unit_level.nested_error.population import PopulationTable, population_table

__all__ = ["UnitProblem"]

_NAMES = ("the units", "the areas")


@dataclass(frozen=True, eq=False)
class UnitProblem:
    """Units of a sample and the areas to be predicted.

    Attributes
    ----------
    y : ndarray of float, shape (n,)
    X : ndarray of float, shape (n, p)
    area : ndarray of int, shape (n,)
        Row of the unit's area in `population`.
    design : Design
    population : PopulationTable
        The areas, those without a sample included.
    """

    y: np.ndarray
    X: np.ndarray
    area: np.ndarray
    design: Design
    population: PopulationTable

    @classmethod
    def build(
        cls,
        data: pd.DataFrame | Survey,
        areas: pd.DataFrame | None,
        *,
        outcome: str,
        covariates: str,
        domain: str,
        population: str | None,
    ) -> UnitProblem:
        """Check units and areas and bring them together.

        Raises
        ------
        SaeInputError
            If a column, a level or an area is unknown, a value or a mean missing; names are given.
        """
        units = read_units(data)
        refuse_absent(units, [outcome, domain])
        y = _outcome(units, outcome, domain)
        refuse_missing(units, domain)
        refuse_missing_covariates(units, covariates)
        names = [f"row {k}" for k in range(1, len(units) + 1)]
        design, X = Design.learn(covariates, units, names)
        labels = list(dict.fromkeys(units[domain].astype("object")))
        table = population_table(design, areas, labels, domain=domain, size=population)
        area = pd.Index(table.labels, dtype="object").get_indexer(pd.Index(units[domain], dtype="object"))
        problem = cls(y, X, area, design, table)
        _refuse_too_many(problem)
        return problem

    @cached_property
    def sums(self) -> AreaSums:
        """What the units leave, area by area."""
        return area_sums(self.y, self.X, self.area, len(self.population.labels))

    @property
    def means(self) -> AreaMeans:
        """What is to be predicted."""
        return AreaMeans(self.population.x_mean, self.population.units)

    @property
    def names(self) -> np.ndarray:
        """Names of the areas."""
        return np.array([str(label) for label in self.population.labels], dtype=object)

    def extrapolated(self) -> tuple[np.ndarray, list[str]]:
        """Return which areas have means outside the range of the units, and in which columns."""
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        slack = 1e-9 * np.maximum(np.abs(low), np.abs(high))
        outside = (self.population.x_mean < low - slack) | (self.population.x_mean > high + slack)
        columns = [self.design.columns[j] for j in np.flatnonzero(outside.any(axis=0))]
        return np.asarray(outside.any(axis=1)), columns

    def run_id(self, options: str, seed: int | None) -> str:
        """Twelve hexadecimal digits that change with version, options, data, labels or seed."""
        digest = hashlib.sha256()
        for text in (sae.__version__, options, str(seed), *self.design.columns, *self.names):
            digest.update(text.encode() + b"\0")
        for array in (self.y, self.X, self.area, self.population.x_mean, self.population.units):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:12]


def read_units(data: pd.DataFrame | Survey) -> pd.DataFrame:
    """Return the records of a frame, or of a survey inside its subset."""
    if isinstance(data, Survey):
        data = data.frame if data.mask is None else data.frame[data.mask]
    if not isinstance(data, pd.DataFrame):
        raise SaeInputError(
            f"Data of type {type(data).__name__} cannot be fitted.",
            hint="Give a DataFrame with one row per unit, or a survey.",
        )
    if not len(data):
        raise SaeInputError("The data have no rows.")
    return data.reset_index(drop=True)


def refuse_absent(units: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse columns that the units lack."""
    absent = [name for name in columns if name not in units]
    if absent:
        raise SaeInputError(
            f"The units have no column {name_some(absent)}.",
            hint=f"The columns are {name_some(units, 15)}.",
            column=absent[0],
        )


def refuse_missing(units: pd.DataFrame, column: str) -> None:
    """Refuse missing values of a column, counting them."""
    rows = np.flatnonzero(units[column].isna().to_numpy())
    if len(rows):
        raise SaeInputError(
            f"{column} is missing in {len(rows)} of {len(units)} units: row {name_some(rows + 1)}.",
            hint="Take these units out, or fill the values in.",
            column=column,
        )


def refuse_missing_covariates(units: pd.DataFrame, covariates: str) -> None:
    """Refuse missing values of the columns that a formula names; what is no formula is left to the design."""
    words = set(re.findall(r"\w+", covariates))
    for name in units:
        if str(name) in words or f"`{name}`" in covariates:
            refuse_missing(units, str(name))


def _outcome(units: pd.DataFrame, outcome: str, domain: str) -> np.ndarray:
    try:
        y = pd.to_numeric(units[outcome]).astype("Float64").to_numpy(dtype=float, na_value=np.nan)
    except (ValueError, TypeError):
        raise SaeInputError(
            f"{outcome} holds text where numbers are expected.",
            hint="A nested error model is one of a number per unit.",
            column=outcome,
        ) from None
    bad = np.flatnonzero(~np.isfinite(y))
    if len(bad):
        raise SaeInputError(
            f"{outcome} is missing or infinite in {len(bad)} of {len(units)} units: "
            f"row {name_some(bad + 1)}.",
            hint="Take the units out that did not answer, or impute them; areas without any unit are "
            "predicted from their population means.",
            areas=units[domain].iloc[bad].unique(),
            column=outcome,
        )
    return y


def _refuse_too_many(problem: UnitProblem) -> None:
    n, N = problem.sums.n, problem.population.units
    over = np.flatnonzero(n > N)
    if len(over):
        words = [f"{problem.names[d]} ({n[d]} > {N[d]:g})" for d in over]
        raise SaeInputError(
            f"{len(over)} areas have more units in the sample than in the population: {name_some(words)}.",
            hint="The population size counts all units, sampled ones too.",
            areas=problem.names[over],
        )
