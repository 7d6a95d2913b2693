"""Unit errors that are not normal, or not of one size: the residuals of a fit in the place of N(0, σe²).

The distribution of an error is a mixture of K normals of one small width about quantiles of the residuals, a
smoothed empirical distribution scaled to the variance σe². Where sizes differ, the error of a unit is
k(x) = exp(x'α / 2) times such a one, with α from the squared residuals. Area effects stay normal, and their
prediction is that of the normal model with one size: a semi-parametric predictor, no longer the best one
under a model.

References
----------
Chambers and Dunstan (1986), Biometrika 73, 597–604, and Duan (1983), JASA 78, 605–610 (residuals in the place
of a distribution); Elbers, Lanjouw and Lanjouw (2003), Econometrica 71, 355–364 (draws from them, and a model
of their sizes, logistic there and loglinear here); Davidian and Carroll (1987), JASA 82, 1079–1091 (its fit);
Silverman and Young (1987), Biometrika 74, 469–479 (smoothed and scaled to the variance). The composition of
the three in an EBP is a choice of this package.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import inlined
from sae.numerics.random.normals import uniform

__all__ = ["NORMAL", "UnitErrors", "mix"]

_POINTS = 100  # bound on the cost of a closed form
_STEPS = 100


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
    def of_residuals(cls, residuals: np.ndarray, X: np.ndarray | None = None) -> UnitErrors:
        """Take the means of 100 equal parts of the sorted residuals, smoothed by Silverman's rule.

        Parameters
        ----------
        residuals : ndarray of float, shape (n,)
        X : ndarray of float, shape (n, p), optional
            Covariates that tell the sizes of errors.

        Examples
        --------
        >>> errors = UnitErrors.of_residuals(np.random.default_rng(1).exponential(size=2000))
        >>> len(errors.points), round(float(errors.points.var() + errors.width**2), 9)
        (100, 1.0)
        """
        alpha, level, ends = None, 0.0, (0.0, 0.0)
        if X is not None:
            alpha = _log_variance(residuals, X)
            log_size = 0.5 * X @ alpha
            level = -0.5 * float(np.log(np.mean(np.exp(2.0 * log_size))))
            log_size += level
            ends = float(log_size.min()), float(log_size.max())
            residuals = residuals / np.exp(log_size)
        r = np.sort((residuals - residuals.mean()) / residuals.std())
        quarter = np.quantile(r, [0.25, 0.75])
        width = 0.9 * len(r) ** -0.2 * min(1.0, float(quarter[1] - quarter[0]) / 1.349)
        points = np.array([part.mean() for part in np.array_split(r, min(len(r), _POINTS))])
        points -= points.mean()
        return cls(points * (np.sqrt(1.0 - width**2) / points.std()), width, alpha, level, ends)

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


def _log_variance(residuals: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return α of E r² = exp(x'α) by the scoring steps of a gamma regression, (p,)."""
    square = (residuals - residuals.mean()) ** 2
    inverse = np.linalg.pinv(X)
    alpha = inverse @ np.full(len(square), np.log(square.mean()))
    for _ in range(_STEPS):
        step = inverse @ (square / np.exp(X @ alpha) - 1.0)
        alpha = alpha + step * min(1.0, 1.0 / max(float(np.abs(X @ step).max()), 1e-300))
        if np.abs(X @ step).max() < 1e-8:
            break
    return alpha
