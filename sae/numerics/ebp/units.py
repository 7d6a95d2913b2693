"""Many outcomes of one set of units: what they leave to a nested error model, at the cost of one product."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sae.numerics.nested_error.profile import AreaSums, area_sums, weighted_means

__all__ = ["SampleUnits"]


@dataclass(frozen=True, eq=False)
class SampleUnits:
    """Units of a sample, sorted by area.

    Attributes
    ----------
    X : ndarray of float, shape (n, p)
    area : ndarray of int, shape (n,)
        Not falling.
    areas : int
        D; areas may have no unit.
    order : ndarray of int, shape (n,)
        Place of each unit in the data that were given.
    deviations : ndarray of float, shape (n, p)
        X less the means of the areas.
    starts : ndarray of int, shape (m,)
        First unit of each sampled area.
    design : AreaSums
        What the covariates leave, of an outcome of 0.
    weight : ndarray of float, shape (n,), optional
        k^-2, where the errors have sizes k: means and products are weighted by it.
    """

    X: np.ndarray
    area: np.ndarray
    areas: int
    order: np.ndarray
    deviations: np.ndarray
    starts: np.ndarray
    design: AreaSums
    weight: np.ndarray | None = None

    @classmethod
    def of(
        cls, X: np.ndarray, area: np.ndarray, areas: int, cluster: np.ndarray | None = None
    ) -> SampleUnits:
        """Sort the units by area, and inside by cluster where these are given.

        Examples
        --------
        >>> units = SampleUnits.of(np.ones((3, 1)), np.array([1, 0, 1]), 2)
        >>> units.order.tolist(), units.starts.tolist()
        ([1, 0, 2], [0, 1])
        """
        order = np.argsort(area, kind="stable") if cluster is None else np.lexsort((cluster, area))
        X, area = np.ascontiguousarray(X[order]), area[order]
        design = area_sums(np.zeros(len(area)), X, area, areas)
        starts = np.flatnonzero(np.diff(area, prepend=-1))
        return cls(X, area, areas, order, X - design.x_mean[area], starts, design)

    def sized(self, sizes: np.ndarray) -> SampleUnits:
        """Return the units with errors of given sizes, (n,); products stand in the first sampled area.

        Examples
        --------
        >>> units = SampleUnits.of(np.ones((3, 1)), np.array([0, 0, 1]), 2).sized(np.array([1.0, 0.5, 2.0]))
        >>> units.design.precision.tolist(), units.sums(np.array([[5.0, 0.0, 3.0]])).y_mean.tolist()
        ([5.0, 0.25], [[1.0, 3.0]])
        """
        weight = sizes**-2.0
        precision, x_mean = weighted_means(self.X, self.area, self.areas, weight)
        deviations = self.X - x_mean[self.area]
        xx = np.zeros_like(self.design.xx)
        xx[self.area[0]] = deviations.T @ (weight[:, None] * deviations)
        base = self.design
        log_scale = np.bincount(self.area, np.log(sizes), self.areas)
        design = AreaSums(base.n, x_mean, base.y_mean, xx, base.xy, base.yy, precision, log_scale)
        return replace(self, deviations=deviations, design=design, weight=weight)

    @property
    def n(self) -> np.ndarray:
        """Units per area, shape (D,)."""
        return self.design.n

    def sums(self, Z: np.ndarray) -> AreaSums:
        """Return what R outcomes, (R, n) in the order of the units, leave.

        Products within areas stand in the first sampled area: the profile adds them up anyway.
        """
        base = self.design
        seen = self.area[self.starts]
        mean = np.zeros((len(Z), self.areas))
        weighed = Z if self.weight is None else Z * self.weight
        mean[:, seen] = np.add.reduceat(weighed, self.starts, axis=1) / base.precision[seen]
        within = Z - mean[:, self.area]
        weighed = within if self.weight is None else within * self.weight
        xy = np.zeros((len(Z), self.areas, self.X.shape[1]))
        xy[:, seen[0]] = weighed @ self.deviations
        yy = np.zeros((len(Z), self.areas))
        yy[:, seen[0]] = np.einsum("rn,rn->r", within, weighed)
        return AreaSums(base.n, base.x_mean, mean, base.xx, xy, yy, base.precision, base.log_scale)
