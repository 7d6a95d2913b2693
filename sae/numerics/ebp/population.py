"""The units whose welfare is predicted, and one fit or one draw of the model that predicts it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sae.numerics.ebp.empirical import NORMAL, UnitErrors
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import NestedErrorFits
from sae.numerics.nested_error.profile import AreaSums

__all__ = ["Level", "Parameters", "Population"]


@dataclass(frozen=True, eq=False)
class Population:
    """Units of D areas, one area after the other: a whole population, or whole areas of one.

    A row is a unit, or with `count` a cell of several.

    Attributes
    ----------
    X : ndarray of float, shape (N, p)
        Columns of the design.
    offsets : ndarray of int, shape (D + 1,)
        Area d has the units offsets[d] .. offsets[d + 1].
    weight : ndarray of float, shape (N,), optional
        What each unit counts for: persons of a household, persons of a cell.
    group : ndarray of int, shape (N,), optional
        Group of each unit, 0 to groups - 1.
    groups : int
    known : ndarray of float, shape (N,), optional
        Observed welfare of units that are in the sample too; nan elsewhere.
    linked : ndarray of int, shape (N,), optional
        Place of each of these in the sample; -1 elsewhere.
    count : ndarray of int, shape (N,), optional
        Units that each row stands for, all alike (a cell); by default one.
    """

    X: np.ndarray
    offsets: np.ndarray
    weight: np.ndarray | None = None
    group: np.ndarray | None = None
    groups: int = 0
    known: np.ndarray | None = None
    linked: np.ndarray | None = None
    count: np.ndarray | None = None

    @cached_property
    def unit_offsets(self) -> np.ndarray:
        """Area d has the units unit_offsets[d] .. unit_offsets[d + 1], shape (D + 1,)."""
        if self.count is None:
            return self.offsets
        return np.concatenate([[0], np.cumsum(self.count)])[self.offsets]

    @property
    def units(self) -> np.ndarray:
        """Units per area, shape (D,)."""
        return np.diff(self.unit_offsets)

    @property
    def mass(self) -> np.ndarray | None:
        """What each row counts for, all its units together, shape (N,); None where each counts one."""
        if self.count is None:
            return self.weight
        return np.asarray(self.count if self.weight is None else self.count * self.weight, dtype=float)

    @property
    def areas(self) -> int:
        """Number of areas."""
        return len(self.offsets) - 1

    @cached_property
    def sizes(self) -> np.ndarray:
        """Rows per area, shape (D,)."""
        return np.diff(self.offsets)

    def knowing(self, y: np.ndarray) -> Population:
        """Return the population with welfare of the linked units taken from a sample, (n,)."""
        if self.linked is None:
            return self
        return replace(self, known=np.where(self.linked >= 0, y[self.linked], np.nan))

    def scores(self, parameters: Parameters) -> np.ndarray:
        """Return x'β + û of every unit, shape (N,)."""
        score = self.X @ parameters.coefficients
        score += np.repeat(parameters.effect, self.sizes)
        return score


@dataclass(frozen=True, eq=False)
class Level:
    """Areas put together: each to itself, by region, or all in one.

    Attributes
    ----------
    part : ndarray of int, shape (D,)
        Part of each area.
    size : int
        Number of parts.
    """

    part: np.ndarray
    size: int

    @classmethod
    def of_areas(cls, areas: int) -> Level:
        """Return the level at which each area is a part."""
        return cls(np.arange(areas), areas)


@dataclass(frozen=True, eq=False)
class Parameters:
    """What welfare is made from, of one fit or of one draw: h(y) = x'β + û + v + e.

    Attributes
    ----------
    scale : Scale
        h with its parameter.
    coefficients : ndarray, shape (p,)
        β.
    sigma2_u, sigma2_e : float
    effect : ndarray, shape (D,)
        û, the predicted area effects; of a draw the effects themselves.
    spread : ndarray, shape (D,)
        Standard deviation of v, what is not known of the effects: √(σu² (1 - γ)); 0 in a draw.
    errors : UnitErrors
        Distribution of e / σe.
    """

    scale: Scale
    coefficients: np.ndarray
    sigma2_u: float
    sigma2_e: float
    effect: np.ndarray
    spread: np.ndarray
    errors: UnitErrors = NORMAL

    @classmethod
    def of_fit(cls, scale: Scale, fits: NestedErrorFits, sums: AreaSums, outcome: int = 0) -> Parameters:
        """Take one of R fits on the transformed scale.

        References
        ----------
        Molina and Rao (2010), Canadian J. Statist. 38, 369–385, equations 13 to 17.
        """
        u2, e2 = float(fits.sigma2_u[outcome]), float(fits.sigma2_e[outcome])
        beta, n = fits.coefficients[outcome], sums.n
        gamma = n * u2 / (e2 + n * u2)
        effect = gamma * np.where(n > 0, sums.y_mean[outcome] - sums.x_mean @ beta, 0.0)
        return cls(scale, beta, u2, e2, effect, np.sqrt(u2 * (1.0 - gamma)))

    @classmethod
    def of_draw(
        cls, scale: Scale, coefficients: np.ndarray, sigma2_u: float, sigma2_e: float, effect: np.ndarray
    ) -> Parameters:
        """Take a draw of all parameters and effects."""
        return cls(scale, coefficients, sigma2_u, sigma2_e, effect, np.zeros(len(effect)))

    def residuals(self, z: np.ndarray, units: SampleUnits) -> np.ndarray:
        """Return z - x'β - û of the units of a sample, (n,)."""
        return np.asarray(z - units.X @ self.coefficients - self.effect[units.area])

    @property
    def total_sd(self) -> np.ndarray:
        """Standard deviation of h(y) of a unit about its score, or score and point of its error, (D,)."""
        return np.sqrt(self.spread**2 + self.errors.width**2 * self.sigma2_e)
