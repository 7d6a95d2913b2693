"""Units and population means of a nested error model as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, counted, name_some
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.profile import AreaSums, area_sums, weighted_means
from sae.numerics.nested_error.pseudo import WeightedUnits
from sae.results import FittedData, Message, run_id
from sae.specs import Design, Specification
from sae.specs.design import check_rank
from sae.survey import Survey
from sae.tables import require, to_numbers
from sae.unit_level.nested_error.population import (
    PopulationTable,
    population_table,
    refuse_without_population,
)
from sae.unit_level.rows import (
    RowNames,
    UnitRows,
    match_areas,
    read_areas,
    read_units,
    refuse_missing,
    refuse_missing_covariates,
)
from sae.unit_level.tables import area_table, population_messages

__all__ = ["UnitArrays", "refuse_dominant"]

_DOMINANT = 1e6  # times the median weight: of the squares of weights four digits are left


@dataclass(frozen=True, eq=False)
class UnitArrays:
    """Units of a sample and the areas to be predicted.

    Attributes
    ----------
    y : ndarray of float, shape (n,)
    X : ndarray of float, shape (n, p)
    area : ndarray of int, shape (n,)
        Row of the unit's area in `population`.
    design : Design
    population : PopulationTable
        The areas, those without a sample included; sizes are infinite with weights or scales.
    weight, scale : ndarray of float, shape (n,), or None
        Survey weights; known factors k of the errors' standard deviations.
    """

    y: np.ndarray
    X: np.ndarray
    area: np.ndarray
    design: Design
    population: PopulationTable
    weight: np.ndarray | None = None
    scale: np.ndarray | None = None

    @classmethod
    def build(
        cls,
        data: pd.DataFrame | Survey,
        areas: pd.DataFrame | str | Path | None,
        *,
        outcome: str,
        covariates: str,
        domain: str,
        population: str | None,
        weights: str | None = None,
        error_scale: str | None = None,
    ) -> UnitArrays:
        """Check units and areas and bring them together.

        Raises
        ------
        SaeInputError
            If a column, a level or an area is unknown, a value or a mean missing; names are given.
        """
        units = read_units(data)
        require(units, [outcome, domain], "The units have")
        y = _outcome(units, outcome, domain)
        weight, scale = _positive(units, weights, "weights"), _positive(units, error_scale, "error_scale")
        refuse_missing(units, domain)
        refuse_missing_covariates(units, covariates)
        design, X = Design.learn(covariates, units, RowNames(len(units)))
        frame = read_areas(areas, covariates, domain, population)
        if frame is None:
            refuse_without_population(design, population)
            frame = units[[domain]].drop_duplicates(ignore_index=True)
        names, area, row = match_areas(units[domain], frame[domain], domain)
        table = population_table(design, frame, names, row, domain=domain, size=population)
        if weights or error_scale:  # means of infinite populations, of a census too
            table = replace(table, size=np.full(len(names), np.inf))
        arrays = cls(y, X, area, design, table, weight, scale)
        _refuse_too_many(arrays)
        return arrays

    @cached_property
    def sums(self) -> AreaSums:
        """What the units leave, area by area."""
        return area_sums(self.y, self.X, self.area, len(self.names), self.scale)

    @property
    def weighted(self) -> WeightedUnits:
        """The units with their weights."""
        one = np.ones(len(self.y))
        weight, scale = (one if given is None else given for given in (self.weight, self.scale))
        return WeightedUnits(self.y, weight, scale, self.X, self.area)

    @property
    def means(self) -> AreaMeans:
        """What is to be predicted."""
        return AreaMeans(self.population.x_mean, self.population.size)

    @property
    def names(self) -> np.ndarray:
        """Names of the areas."""
        return self.population.names

    @property
    def sampled(self) -> np.ndarray:
        """Which areas have units, shape (D,)."""
        return np.asarray(self.sums.n > 0)

    @property
    def data(self) -> FittedData:
        """What is fitted, unit by unit."""
        return FittedData(
            self.y,
            np.full(len(self.y), np.nan),
            self.X,
            self.design.columns,
            self.sampled,
            self.names,
            self.area,
            np.zeros(len(self.names), dtype=np.int64),
            means=self.means,
        )

    def fitted(self, components: pd.Series | pd.DataFrame) -> FittedData:
        """Return what was fitted, with the variances σe² k² of errors that have known factors."""
        if self.scale is None:
            return self.data
        return replace(self.data, vardir=float(np.asarray(components["sigma2_e"])) * self.scale**2)

    def rows(self, outcome: str) -> UnitRows:
        """Return what the table says of the areas before the fit."""
        direct, se, n_eff = self._direct()
        table = area_table(outcome, "", self.names, direct, se, n=self.sums.n, n_eff=n_eff)
        return UnitRows(table, self.population.frame, {"units": len(self.y)})

    def _direct(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return means of the units alone, their standard errors, and (Σ w)² / Σ w² where there are weights.

        With weights the error is that of a ratio under sampling with replacement.
        """
        areas, y, n = len(self.names), self.y, self.sums.n.astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.weight is None:
                plain = self.sums
                if self.scale is not None:
                    plain = area_sums(y, np.ones((len(y), 0)), self.area, areas)
                mean, variance = plain.y_mean[0], np.maximum(plain.yy[0], 0.0) / (n - 1.0) / n
                n_eff = np.full(areas, np.nan)
            else:
                total, means = weighted_means(y[:, None], self.area, areas, self.weight)
                mean, share = means[:, 0], self.weight / total[self.area]
                squares = np.bincount(self.area, (share * (y - mean[self.area])) ** 2, areas)
                variance = squares * n / (n - 1.0)
                n_eff = np.where(n > 0, 1.0 / np.bincount(self.area, share**2, areas), np.nan)
            return np.where(n > 0, mean, np.nan), np.where(n > 1, np.sqrt(variance), np.nan), n_eff

    def messages(self) -> list[Message]:
        """Return what is to be said of the covariates."""
        outside = self.design.outside(self.population.x_mean)
        return population_messages(self.X, outside, self.design.columns, self.names)

    def run_id(self, spec: Specification, seed: int | None, *more: np.ndarray) -> str:
        """Return the digest of a run on these units and means, and on more that a model has read."""
        population = (self.population.x_mean, self.population.size)
        texts = (*self.design.columns, *self.names)
        further = [each for each in (self.weight, self.scale) if each is not None]
        return run_id(spec, seed, texts, (self.y, self.X, self.area, *population, *further, *more))

    def refuse(self, error: ValueError, prior: str = "") -> NoReturn:
        """Say by name why the units cannot tell the model, as a kernel found.

        Raises
        ------
        SaeInputError
        """
        code = error.args[1] if len(error.args) > 1 else 0
        n, p = self.X.shape
        sampled = int(self.sampled.sum())
        if n <= p:
            raise SaeInputError(
                f"{p} coefficients cannot be estimated from {n} units.",
                hint="Use fewer covariates (a text covariate costs one coefficient per level), or more "
                "units.",
            ) from None
        if code >= 0:
            check_rank(self.X, self.design.columns)
            column = self.design.columns[code]
            raise SaeInputError(
                f"{column} is nearly a linear combination of the columns before it, so the coefficients "
                "cannot be told apart.",
                hint=f"Leave {column} out of the formula.",
                column=column,
            ) from None
        if code == -1:
            raise SaeInputError(
                f"{n} units in {sampled} areas leave no degree of freedom within areas: σu² and σe² cannot "
                "be told apart.",
                hint="Areas with two units or more are needed; with direct estimates and their variances use "
                "sae.FayHerriot.",
            ) from None
        if code == -2:
            raise SaeInputError(
                "The outcome does not vary within areas beyond what the covariates explain: σe² would be 0.",
                hint="A model of units needs an outcome of units; figures of whole areas go to "
                "sae.FayHerriot.",
            ) from None
        if code == -3 and prior:
            raise SaeInputError(
                f"The posterior is improper: the prior {prior} needs more than {sampled} areas with a sample "
                f"for {p} coefficients.",
                hint='Use a proper prior, such as prior="half-normal", or fewer covariates.',
            ) from None
        raise SaeInputError(
            f"{sampled} areas with a sample and {n} units are too few for {p} coefficients and an area "
            "effect.",
            hint="Use fewer covariates that are the same in a whole area.",
        ) from None


def _outcome(units: pd.DataFrame, outcome: str, domain: str) -> np.ndarray:
    y = to_numbers(units, outcome, hint="A nested error model is one of a number per unit.")
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


def _positive(units: pd.DataFrame, column: str | None, option: str) -> np.ndarray | None:
    """Read a column of positive numbers that an option names."""
    if column is None:
        return None
    require(units, [column], "The units have", hint=f"{option}= names it.")
    refuse_missing(units, column)
    values = to_numbers(units, column)
    bad = np.flatnonzero(~((values > 0) & np.isfinite(values)))
    if len(bad):
        raise SaeInputError(
            f"{column} is not positive in {len(bad)} of {len(units)} units: row {name_some(bad + 1)}.",
            hint=f"{option}= takes positive numbers; take units with a weight of 0 out."
            if option == "weights"
            else f"{option}= takes positive factors of the errors' standard deviation.",
            column=column,
        )
    if option == "weights":
        refuse_dominant(values, column)
    return values


def refuse_dominant(weights: np.ndarray, column: str) -> None:
    """Refuse weights beside which all others vanish: a fit on them is one of a few units.

    Raises
    ------
    SaeInputError
        If some are more than a million times the median; rows are named.
    """
    middle = float(np.median(weights))
    bad = np.flatnonzero(weights > _DOMINANT * middle)
    if len(bad):
        raise SaeInputError(
            f"The weight {column} is more than a million times its median {middle:.4g} in {len(bad)} of "
            f"{len(weights)} units: row {name_some(bad + 1)} (largest {float(weights.max()):.4g}).",
            hint="The weighted fit would rest on these units alone: look for a code of missing values or "
            "another unit among the weights.",
            column=column,
        )


def _refuse_too_many(arrays: UnitArrays) -> None:
    n, N = arrays.sums.n, arrays.population.size
    over = np.flatnonzero(n > N)
    if len(over):
        shown = [f"{arrays.names[d]} ({n[d]} > {N[d]:g})" for d in over]
        raise SaeInputError(
            f"{counted(len(over), 'area has', 'areas have')} more units in the sample than in the "
            f"population: {name_some(shown)}.",
            hint="The population size counts all units, sampled ones too.",
            areas=arrays.names[over],
        )
