"""Clusters of units inside areas, such as primary sampling units: those of one share an effect.

h(y) = x'β + u + v + e, u of the area, v of the cluster. Clusters of the population are those of the sample,
whose effects the sample tells, or others, whose effects are N(0, σv²).

References
----------
Stukel and Rao (1999), Journal of Statistical Planning and Inference 78, 131–147; Marhuenda, Molina, Morales
and Rao (2017), Journal of the Royal Statistical Society A 180, 1111–1136.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sae.numerics.compile import compiled
from sae.numerics.ebp.empirical import mix
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.two_fold import TwoFoldProfile, TwoFoldSums, fit_two_fold
from sae.numerics.random.normals import fill_normals, new_stream, normal

__all__ = ["ClusterEffects", "Clusters", "SampleClusters", "fill_clusters"]


@dataclass(frozen=True, eq=False)
class Clusters:
    """The K clusters of a population, those of an area together.

    Attributes
    ----------
    offsets : ndarray of int, shape (K + 1,)
        Cluster k has the rows offsets[k] .. offsets[k + 1].
    first : ndarray of int, shape (D + 1,)
        Area d has the clusters first[d] .. first[d + 1].
    sampled : ndarray of int, shape (K,)
        Its place among the clusters of the sample; -1 of one that is not among them.
    """

    offsets: np.ndarray
    first: np.ndarray
    sampled: np.ndarray

    @cached_property
    def sizes(self) -> np.ndarray:
        """Rows of each cluster, shape (K,)."""
        return np.diff(self.offsets)

    def of_areas(self, areas: np.ndarray) -> np.ndarray:
        """Return the clusters of some areas, one area after the other."""
        return np.concatenate([np.arange(self.first[d], self.first[d + 1]) for d in areas])


@dataclass(frozen=True, eq=False)
class ClusterEffects:
    """Effects of the C clusters of a sample: v = effect + sd z - pull (u - û), z ~ N(0, 1).

    Attributes
    ----------
    variance : float
        σv².
    effect, pull, sd : ndarray of float, shape (C,)
        In a draw the effects themselves, and zeros.
    """

    variance: float
    effect: np.ndarray
    pull: np.ndarray
    sd: np.ndarray

    def of(self, clusters: Clusters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return effect, pull and sd of the clusters of a population, shape (K,) each."""
        mine = clusters.sampled >= 0
        out = []
        for values, other in ((self.effect, 0.0), (self.pull, 0.0), (self.sd, np.sqrt(self.variance))):
            of_all = np.full(len(mine), other)
            of_all[mine] = values[clusters.sampled[mine]]
            out.append(of_all)
        return out[0], out[1], out[2]


@dataclass(frozen=True, eq=False)
class SampleClusters:
    """The C clusters of a sample.

    Attributes
    ----------
    units : SampleUnits
        Those of the sample, their areas being the clusters.
    area : ndarray of int, shape (C,)
        Area of each cluster, not falling.
    areas : int
        D.
    """

    units: SampleUnits
    area: np.ndarray
    areas: int

    def sized(self, sizes: np.ndarray) -> SampleClusters:
        """Return them with errors of given sizes, (n,)."""
        return replace(self, units=self.units.sized(sizes))

    def two(self, Z: np.ndarray) -> TwoFoldSums:
        """Return what R outcomes, (R, n) in the order of the units, leave."""
        return TwoFoldSums(self.units.sums(Z), self.area, self.areas)

    def loglik(self, Z: np.ndarray, method: str, ratios: np.ndarray | None = None) -> np.ndarray:
        """Return the log-likelihood of R outcomes, shape (R,), up to a constant where `ratios` are given.

        Parameters
        ----------
        Z : ndarray of float, shape (R, n)
        method : {"reml", "ml"}
        ratios : ndarray of float, shape (2,), optional
            Variances of areas and clusters over σe²; by default the best ones of each outcome.
        """
        if ratios is None:
            return fit_two_fold(self.two(Z), method).loglik
        return TwoFoldProfile.of(self.two(Z)).scan(ratios[None, :], method == "reml")[0]

    @property
    def first(self) -> np.ndarray:
        """Area d has the clusters first[d] .. first[d + 1], shape (D + 1,)."""
        return np.searchsorted(self.area, np.arange(self.areas + 1))


@compiled
def fill_clusters(
    keys,
    bounds,
    block,
    each,
    centre,
    spread,
    sigma,
    first,
    ends,
    pull,
    sd,
    points,
    width,
    sizes,
    floor,
    out,
    start,
):
    """Fill rows of draws from `start`, the first of a block of `each`, on, area by area.

    Area a has the clusters first[a] .. first[a + 1], cluster k ends before unit ends[k].
    """
    for area in range(len(keys)):
        low, high = bounds[area], bounds[area + 1]
        for draw in range(len(out)):
            if draw % each == 0:
                state = new_stream(keys[area], block + (start + draw) // each)
            row = out[draw, low:high]
            shared = spread[area] * normal(state)
            fill_normals(state, row)
            mix(state, row, points, width, sizes[low:high])
            i = 0
            for k in range(first[area], first[area + 1]):
                both = shared * (1.0 - pull[k]) + sd[k] * normal(state)
                while i < ends[k] - low:
                    value = centre[low + i] + (both + sigma * row[i])
                    row[i] = value if value > floor else floor
                    i += 1
