"""Unit errors that are not normal, or not of one size: the residuals of a fit in the place of N(0, σe²).

The distribution of an error is a mixture of K normals of one small width about quantiles of the residuals, a
smoothed empirical distribution scaled to the variance σe². Where sizes differ, the error of a unit is
k(x) = exp(x'α / 2) times such a one, with α of `sizes.SizeLikelihood`. Area effects stay normal, and their
prediction is that of normal errors of these sizes: a semi-parametric predictor, the best linear one.

References
----------
Chambers and Dunstan (1986), Biometrika 73, 597–604, and Duan (1983), JASA 78, 605–610 (residuals in the place
of a distribution); Elbers, Lanjouw and Lanjouw (2003), Econometrica 71, 355–364 (draws from them, and a model
of their sizes, logistic there and loglinear here); Silverman and Young (1987), Biometrika 74, 469–479
(smoothed and scaled to the variance). The composition of the three in an EBP is a choice of this package.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sae.numerics.compile import inlined
from sae.numerics.random.normals import uniform

__all__ = ["NORMAL", "UnitErrors", "mix"]

_POINTS = 100  # bound on the cost of a closed form


@dataclass(frozen=True, eq=False)
class UnitErrors:
    """A standardised distribution: normals of standard deviation `width` about `points` of equal chance.

    Attributes
    ----------
    points : ndarray of float, shape (K,)
        Mean 0, variance 1 - width²; none of the standard normal, whose width is 1.
    width : float
    alpha : ndarray of float, shape (p,), or None
        Of the covariates, for the logarithm of the variance; None where all errors have one size.
    ends : (float, float)
        What log k is held between: its range in the sample.
    level : float
        Added to x'α / 2.
    """

    points: np.ndarray
    width: float
    alpha: np.ndarray | None = None
    level: float = 0.0
    ends: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of_sizes(cls, X: np.ndarray, alpha: np.ndarray) -> UnitErrors:
        """Return normal errors whose sizes have a mean square of 1 over the rows of a sample, (n, p)."""
        log_size = 0.5 * X @ alpha
        level = -0.5 * float(np.log(np.mean(np.exp(2.0 * (log_size - log_size.max()))))) - log_size.max()
        log_size += level
        ends = float(log_size.min()), float(log_size.max())
        return cls(np.zeros(0), 1.0, alpha, float(level), ends)

    def of_residuals(self, residuals: np.ndarray) -> UnitErrors:
        """Take the means of 100 equal parts of the sorted residuals, smoothed by Silverman's rule.

        Parameters
        ----------
        residuals : ndarray of float, shape (n,)
            Over the sizes, where errors have any.

        Examples
        --------
        >>> errors = NORMAL.of_residuals(np.random.default_rng(1).exponential(size=2000))
        >>> len(errors.points), round(float(errors.points.var() + errors.width**2), 9)
        (100, 1.0)
        """
        r = np.sort((residuals - residuals.mean()) / residuals.std())
        quarter = np.quantile(r, [0.25, 0.75])
        width = 0.9 * len(r) ** -0.2 * min(1.0, float(quarter[1] - quarter[0]) / 1.349)
        counts = np.array([len(part) for part in np.array_split(r, min(len(r), _POINTS))])
        points = np.add.reduceat(r, np.cumsum(counts) - counts) / counts
        points -= points.mean()
        return replace(self, points=points * (np.sqrt(1.0 - width**2) / points.std()), width=width)

    def sizes(self, X: np.ndarray) -> np.ndarray:
        """Return k(x) of rows of covariates, mean square 1 over the sample; empty where all are 1."""
        if self.alpha is None:
            return np.zeros(0)
        return np.asarray(np.exp(np.clip(0.5 * X @ self.alpha + self.level, *self.ends)))


NORMAL = UnitErrors(np.zeros(0), 1.0)


@inlined
def mix(state, row, points, width, sizes):
    """Turn standard normals into errors about points drawn at random, times sizes; without any they stay."""
    if len(points):
        for i in range(len(row)):
            row[i] = points[np.int64(uniform(state) * len(points))] + width * row[i]
    if len(sizes):
        for i in range(len(row)):
            row[i] *= sizes[i]
