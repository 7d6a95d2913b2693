"""The units whose welfare is predicted, and one fit or one draw of the model that predicts it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sae.numerics.ebp.clusters import ClusterEffects, Clusters, SampleClusters
from sae.numerics.ebp.empirical import NORMAL, UnitErrors
from sae.numerics.ebp.transforms import Scale
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import NestedErrorFits
from sae.numerics.nested_error.profile import AreaSums
from sae.numerics.nested_error.two_fold import TwoFoldFits, TwoFoldSums

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
    clusters : Clusters, optional
        In which the rows of an area lie, one cluster after the other. Without them units stand alone.
    """

    X: np.ndarray
    offsets: np.ndarray
    weight: np.ndarray | None = None
    group: np.ndarray | None = None
    groups: int = 0
    known: np.ndarray | None = None
    linked: np.ndarray | None = None
    count: np.ndarray | None = None
    clusters: Clusters | None = None

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

    @cached_property
    def persons(self) -> np.ndarray:
        """What the rows of each area count for, all of them and those of each group, (D, 1 + groups)."""
        mass = np.ones(len(self.X)) if self.mass is None else self.mass
        area = np.repeat(np.arange(self.areas), self.sizes)
        persons = np.zeros((self.areas, 1 + self.groups))
        np.add.at(persons[:, 0], area, mass)
        if self.group is not None:
            seen = self.group >= 0
            np.add.at(persons, (area[seen], 1 + self.group[seen]), mass[seen])
        return persons

    @property
    def areas(self) -> int:
        """Number of areas."""
        return len(self.offsets) - 1

    @cached_property
    def sizes(self) -> np.ndarray:
        """Rows per area, shape (D,)."""
        return np.diff(self.offsets)

    @cached_property
    def alike(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of an area with the same covariates: one of each kind, (M,), and the kind of each, (N,)."""
        mixed = self.X @ np.random.default_rng(0).normal(size=self.X.shape[1])  # what it mixes up stays apart
        area = np.repeat(np.arange(self.areas), self.sizes)
        order = np.lexsort((mixed, area))
        X = self.X[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (np.diff(area[order]) > 0) | (X[1:] != X[:-1]).any(axis=1)
        kind = np.empty(len(order), dtype=np.int64)
        kind[order] = np.cumsum(new) - 1
        return order[new], kind

    def knowing(self, y: np.ndarray) -> Population:
        """Return the population with welfare of the linked units taken from a sample, (n,)."""
        if self.linked is None:
            return self
        known = replace(self, known=np.where(self.linked >= 0, y[self.linked], np.nan))
        if "alike" in self.__dict__:  # what a replicate does not change
            known.__dict__["alike"] = self.alike
        return known

    def scores(self, parameters: Parameters) -> np.ndarray:
        """Return x'β + û of every unit, with clusters of the sample those's effects, shape (N,)."""
        score = self.X @ parameters.coefficients
        score += np.repeat(parameters.effect, self.sizes)
        if self.clusters is not None and parameters.clusters is not None:
            effect, _, _ = parameters.clusters.of(self.clusters)
            score += np.repeat(effect, self.clusters.sizes)
        return score

    def sds(self, parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
        """Return standard deviations of units about their scores, and how many rows each is of.

        Those of an area, or of a cluster, have one; as `Parameters.total_sd`.
        """
        if self.clusters is None or parameters.clusters is None:
            return parameters.total_sd, self.sizes
        _, pull, sd = parameters.clusters.of(self.clusters)
        shared = (1.0 - pull) * np.repeat(parameters.spread, np.diff(self.clusters.first))
        unit = parameters.errors.width**2 * parameters.sigma2_e
        return np.sqrt(shared**2 + sd**2 + unit), self.clusters.sizes


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
    clusters : ClusterEffects, optional
        Of the clusters of the sample, where the units of one share an effect.
    """

    scale: Scale
    coefficients: np.ndarray
    sigma2_u: float
    sigma2_e: float
    effect: np.ndarray
    spread: np.ndarray
    errors: UnitErrors = NORMAL
    clusters: ClusterEffects | None = None

    @classmethod
    def of_fit(cls, scale: Scale, fits: NestedErrorFits, sums: AreaSums, outcome: int = 0) -> Parameters:
        """Take one of R fits on the transformed scale.

        References
        ----------
        Molina and Rao (2010), Canadian J. Statist. 38, 369–385, equations 13 to 17.
        """
        u2, e2 = float(fits.sigma2_u[outcome]), float(fits.sigma2_e[outcome])
        beta, n = fits.coefficients[outcome], sums.precision
        gamma = n * u2 / (e2 + n * u2)
        effect = gamma * np.where(n > 0, sums.y_mean[outcome] - sums.x_mean @ beta, 0.0)
        return cls(scale, beta, u2, e2, effect, np.sqrt(u2 * (1.0 - gamma)))

    @classmethod
    def of_two_folds(cls, scale: Scale, fits: TwoFoldFits, two: TwoFoldSums, outcome: int = 0) -> Parameters:
        """Take one of R fits with clusters; its σv² is that of areas, its σu² that of clusters.

        With h = n / (σe² + n σ_c²) of a cluster and r̄ the mean of its y - x'β,

            Var(u | y) = σ_a² / (1 + σ_a² Σ_c h),  û = Var(u | y) Σ_c h r̄,

        and given u its effect is normal with mean σ_c² h (r̄ - u) and variance σ_c² (1 - σ_c² h).

        References
        ----------
        Stukel and Rao (1999), Journal of Statistical Planning and Inference 78, 131–147.
        """
        a2, c2, e2 = (float(one[outcome]) for one in (fits.sigma2_v, fits.sigma2_u, fits.sigma2_e))
        beta, n = fits.coefficients[outcome], two.sums.precision
        gap = two.sums.y_mean[outcome] - two.sums.x_mean @ beta
        h = n / (e2 + n * c2)
        spread2 = a2 / (1.0 + a2 * two.add(h))
        effect = spread2 * two.add(h * gap)
        pull = c2 * h
        clusters = ClusterEffects(c2, pull * (gap - effect[two.area]), pull, np.sqrt(c2 * (1.0 - pull)))
        return cls(scale, beta, a2, e2, effect, np.sqrt(spread2), clusters=clusters)

    @classmethod
    def of_draw(
        cls, scale: Scale, coefficients: np.ndarray, sigma2_u: float, sigma2_e: float, effect: np.ndarray
    ) -> Parameters:
        """Take a draw of all parameters and effects."""
        return cls(scale, coefficients, sigma2_u, sigma2_e, effect, np.zeros(len(effect)))

    def of_areas(self, areas: np.ndarray) -> Parameters:
        """Return what holds in some of the areas."""
        return replace(self, effect=self.effect[areas], spread=self.spread[areas])

    def residuals(
        self, z: np.ndarray, units: SampleUnits, clusters: SampleClusters | None = None
    ) -> np.ndarray:
        """Return z - x'β - û of the units of a sample, (n,), where they have clusters less v̂ too."""
        left = z - units.X @ self.coefficients - self.effect[units.area]
        if clusters is not None and self.clusters is not None:
            left -= self.clusters.effect[clusters.units.area]
        return np.asarray(left)

    @property
    def total_sd(self) -> np.ndarray:
        """Standard deviation of h(y) of a unit about its score, or score and point of its error, (D,).

        Of one that is in no cluster of the sample.
        """
        return np.sqrt(self.spread**2 + self.sigma2_v + self.errors.width**2 * self.sigma2_e)

    @property
    def sigma2_v(self) -> float:
        """Variance between the clusters of an area."""
        return 0.0 if self.clusters is None else self.clusters.variance
