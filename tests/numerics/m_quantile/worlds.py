"""Populations of areas with normal or contaminated units, and their samples, for the tests of M-quantiles."""

from dataclasses import dataclass

import numpy as np

from sae.numerics.linalg.basis import orthonormal_basis
from sae.numerics.m_quantile.areas import fit_areas


@dataclass(frozen=True)
class World:
    y: np.ndarray
    X: np.ndarray
    area: np.ndarray
    sample: np.ndarray
    size: np.ndarray
    Z: np.ndarray  # X in the coordinates of the sample

    @property
    def truth(self):
        return np.bincount(self.area, self.y) / self.size

    @property
    def x_mean(self):
        return np.column_stack([np.bincount(self.area, z) for z in self.Z.T]) / self.size[:, None]

    @property
    def rest(self):
        return np.setdiff1d(np.arange(len(self.y)), self.sample)

    def fit(self, k=1.345):
        s = self.sample
        return fit_areas(self.y[s], self.Z[s], self.area[s], len(self.size), k)


def world(seed, n, outside=100, outliers=False):
    """Areas with n[d] sampled units (0: none) and `outside` others; 3 % of the units may be outlying."""
    rng = np.random.default_rng(seed)
    n = np.asarray(n)
    size = n + outside
    area = np.repeat(np.arange(len(n)), size)
    x = rng.normal(5.0 + rng.normal(size=len(n))[area], 1.0)
    e = rng.normal(0.0, 2.0, len(area))
    if outliers:
        e = np.where(rng.random(len(area)) < 0.03, rng.normal(0.0, 12.0, len(area)), e)
    y = 1.0 + 2.0 * x + rng.normal(size=len(n))[area] + e
    sample = np.concatenate([np.flatnonzero(area == d)[:many] for d, many in enumerate(n)])
    X = np.column_stack([np.ones(len(x)), x])
    Z = orthonormal_basis(X[sample], y[sample]).of(X)
    return World(y, X, area, sample, size.astype(float), Z)
