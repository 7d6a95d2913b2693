"""Many outcomes of one set of units: what they leave to a nested error model, at the cost of one product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.nested_error.profile import AreaSums, area_sums

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
    """

    X: np.ndarray
    area: np.ndarray
    areas: int
    order: np.ndarray
    deviations: np.ndarray
    starts: np.ndarray
    design: AreaSums

    @classmethod
    def of(cls, X: np.ndarray, area: np.ndarray, areas: int) -> SampleUnits:
        """Sort the units.

        Examples
        --------
        >>> units = SampleUnits.of(np.ones((3, 1)), np.array([1, 0, 1]), 2)
        >>> units.order.tolist(), units.starts.tolist()
        ([1, 0, 2], [0, 1])
        """
        order = np.argsort(area, kind="stable")
        X, area = np.ascontiguousarray(X[order]), area[order]
        design = area_sums(np.zeros(len(area)), X, area, areas)
        starts = np.flatnonzero(np.diff(area, prepend=-1))
        return cls(X, area, areas, order, X - design.x_mean[area], starts, design)

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
        mean[:, seen] = np.add.reduceat(Z, self.starts, axis=1) / base.n[seen]
        within = Z - mean[:, self.area]
        xy = np.zeros((len(Z), self.areas, self.X.shape[1]))
        xy[:, seen[0]] = within @ self.deviations
        yy = np.zeros((len(Z), self.areas))
        yy[:, seen[0]] = np.einsum("rn,rn->r", within, within)
        return AreaSums(base.n, base.x_mean, mean, base.xx, xy, yy)
