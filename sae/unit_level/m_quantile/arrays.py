"""What an M-quantile model reads: units, means of the population, and its cells where figures need them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, counted, name_some
from sae.numerics.glmm.unit_logit import Cells
from sae.numerics.linalg.basis import Basis, orthonormal_basis
from sae.numerics.m_quantile.distribution import FGT, Rest, Target
from sae.results import FittedData, Message, run_id
from sae.specs import Specification
from sae.specs.design import check_rank
from sae.survey import Survey
from sae.tables import to_numbers
from sae.unit_level.m_quantile.indicators import direct_figures
from sae.unit_level.nested_error.arrays import UnitArrays
from sae.unit_level.rows import UnitRows, match_areas, read_areas
from sae.unit_level.tables import area_table

__all__ = ["MQuantileArrays"]


@dataclass(frozen=True, eq=False)
class MQuantileArrays:
    """Units of a sample and the areas to be predicted.

    Attributes
    ----------
    units : UnitArrays
    basis : Basis
        Coordinates in which X'X = n I.
    rest : Rest
        The units outside the sample: cells of a census, or one cell per area at the mean of its covariates.
    census : bool
        Whether they are those of a census.
    """

    units: UnitArrays
    basis: Basis
    rest: Rest
    census: bool

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
        indicators: tuple[str, ...],
    ) -> MQuantileArrays:
        """Check units and areas and bring them together.

        Raises
        ------
        SaeInputError
            If a column, a level or an area is unknown, a value or a mean missing, or figures of a
            distribution are to be made of means; names are given.
        """
        frame = read_areas(areas, covariates, domain, population)
        units = UnitArrays.build(
            data, frame, outcome=outcome, covariates=covariates, domain=domain, population=population
        )
        n, p = units.X.shape
        if n <= p:
            units.refuse(ValueError("too few units", 0))
        check_rank(units.X, units.design.columns)
        basis = orthonormal_basis(units.X, units.y)
        if frame is not None and len(frame) > len(units.names):
            return cls(units, basis, _census(units, basis, frame, domain, population), True)
        others = [name for name in indicators if name != "mean"]
        if others and not _same_within(units):
            raise SaeInputError(
                f"{name_some(others)} of an area needs the covariates of its units; the areas have one row "
                "each, of means.",
                hint="Call fit(..., areas=...) with a census: a row per unit, or per cell with the column of "
                "its size that population= names.",
            )
        return cls(units, basis, _means(units, basis), bool(others))

    @property
    def Z(self) -> np.ndarray:
        """Covariates of the units in the coordinates of the fit, shape (n, p)."""
        return self.basis.of(self.units.X)

    @property
    def size(self) -> np.ndarray:
        """Population sizes, infinite where the sample is no part of the census, shape (D,)."""
        if self.census and not self.rest.linked:
            return np.full(len(self.units.names), np.inf)
        return self.units.population.size

    def rows(self, outcome: str, names: tuple[str, ...], targets: list[Target]) -> UnitRows:
        """Return what the table says of the areas and indicators before the fit."""
        units, T = self.units, len(targets)
        base = units.rows(outcome)
        if names == ("mean",):
            return base
        order = np.argsort(units.area, kind="stable")
        own = np.split(units.y[order], np.cumsum(units.sums.n)[:-1])
        direct = np.array([[direct_figures(y, target) for target in targets] for y in own]).reshape(-1, 2)
        D = len(own)
        table = area_table(
            np.tile(np.array(names, dtype=object), D),
            "",
            np.repeat(units.names, T),
            direct[:, 0],
            direct[:, 1],
            n=np.repeat(units.sums.n, T),
        )
        table["unit"] = np.tile(["share" if one.code == FGT else "" for one in targets], D)
        known = base.covariates.loc[np.repeat(base.covariates.index, T)].reset_index(drop=True)
        return UnitRows(table, known, base.provenance)

    def data(self, T: int) -> FittedData:
        """Return what is fitted, unit by unit, for a table of T indicators of every area."""
        units = self.units
        return FittedData(
            units.y,
            np.full(len(units.y), np.nan),
            units.X,
            units.design.columns,
            np.repeat(units.sampled, T),
            np.repeat(units.names, T),
            units.area * T,
            np.zeros(T * len(units.names), dtype=np.int64),
        )

    def messages(self) -> list[Message]:
        """Return what is to be said of units and population."""
        units, made = self.units, self.units.messages()
        if self.census and not self.rest.linked:
            text = (
                "The sample is no part of the census (units of it are not there, by area and covariates): "
                "all units of the census are predicted, and none is known."
            )
            made.append(Message(text))
        if not units.sampled.all():
            names = units.names[~units.sampled]
            text = (
                f"{counted(len(names), 'area without a sample takes', 'areas without a sample take')} the "
                f"regression of order 0.5: {name_some(names)}."
            )
            made.append(Message(text))
        return made

    def run_id(self, spec: Specification, seed: int | None) -> str:
        """Return the digest of a run on these units and cells."""
        units, rest = self.units, self.rest
        arrays = (units.y, units.X, units.area, self.size, rest.X, rest.weight, rest.starts)
        return run_id(spec, seed, (*units.design.columns, *units.names), arrays)


def _census(
    units: UnitArrays, basis: Basis, frame: pd.DataFrame, domain: str, population: str | None
) -> Rest:
    """Sum a census to cells, and take the sample out of them."""
    names, _, row = match_areas(frame[domain], frame[domain], domain)  # as the units were
    X = units.design.rebuild(frame, list(names[row]))
    people = np.ones(len(frame)) if population is None else to_numbers(frame, population)
    D = len(names)
    cells = Cells.of(
        np.vstack([X, units.X]),
        np.concatenate([np.zeros(len(X)), np.ones(len(units.X))]),
        np.concatenate([people, np.zeros(len(units.X))]),
        np.concatenate([row, units.area]),
        D,
    )
    linked = bool((cells.y <= cells.n).all())
    weight = cells.n - cells.y if linked else cells.n
    kept = weight > 0.0
    starts = np.searchsorted(cells.area[kept], np.arange(D + 1))
    return Rest(basis.of(cells.X[kept]), weight[kept], starts, linked)


def _means(units: UnitArrays, basis: Basis) -> Rest:
    """Take the mean of the units outside the sample as one cell per area."""
    size, n = units.population.size, units.sums.n
    finite = bool(np.isfinite(size).all())
    share = (n / size)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        outside = (units.population.x_mean - share * units.sums.x_mean) / (1.0 - share)
    X = np.where(n[:, None] < size[:, None], outside, units.population.x_mean)
    weight = size - n if finite else np.full(len(n), np.inf)
    return Rest(basis.of(X), weight, np.arange(len(n) + 1), finite)


def _same_within(units: UnitArrays) -> bool:
    """Whether no covariate varies within an area: its mean is then all there is to know."""
    within = np.abs(units.X - units.sums.x_mean[units.area])
    return bool((within <= 1e-9 * np.abs(units.X).max(axis=0)).all())
