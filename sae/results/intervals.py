"""Intervals of predictions: on the MSE where many areas carry it, else from errors or a posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from scipy.special import stdtrit

from sae.numerics.fay_herriot.mixture import area_mixture
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, SPARE

__all__ = [
    "FEW_AREAS",
    "Interval",
    "IntervalKind",
    "area_intervals",
    "interval_name",
    "pooled_interval",
    "t_interval",
]

FEW_AREAS = 50  # with fewer, the error of the variance and of the MSE itself is no longer small


class IntervalKind(Enum):
    """What the ends of an interval rest on; the value is how a table names it."""

    T = "t on the MSE"
    BOOTSTRAP = "bootstrap errors pooled"
    POSTERIOR = "posterior"
    VARIANCE_POSTERIOR = "posterior of the variance"
    CREDIBLE = "credible, equal-tailed"
    NONE = "none: too few areas"


@dataclass(frozen=True, eq=False)
class Interval:
    """Ends of intervals, shape (M,), and what they rest on.

    Attributes
    ----------
    low, high : ndarray of float, shape (M,)
        Missing where `kind` is ``IntervalKind.NONE``.
    kind : IntervalKind
    prior : str
        Of a posterior.
    replicates : int
        Of a bootstrap.
    details : tuple of str
        What else a table says of them, such as the scale of their ends.
    """

    low: np.ndarray
    high: np.ndarray
    kind: IntervalKind
    prior: str = ""
    replicates: int = 0
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """How a table names the interval.

        Examples
        --------
        >>> from sae.results.intervals import Interval, IntervalKind
        >>> zero = np.zeros(1)
        >>> Interval(zero, zero, IntervalKind.POSTERIOR, "flat-sd", details=("log scale",)).text
        'posterior, flat-sd prior, log scale'
        """
        return interval_name(self.kind, self.prior, self.replicates, self.details)

    def detailed(self, *details: str) -> Interval:
        """Return the same ends with more said of them."""
        return replace(self, details=(*self.details, *details))


def interval_name(
    kind: IntervalKind, prior: str = "", replicates: int = 0, details: Sequence[str] = ()
) -> str:
    """Return how a table names an interval; see `Interval`."""
    parts = [kind.value]
    if prior:
        parts.append(f"{prior} prior")
    if replicates:
        parts.append(f"{replicates} replicates")
    return ", ".join([*parts, *details])


def t_interval(estimate: np.ndarray, mse: np.ndarray, freedom: int, level: float) -> Interval:
    """Student's t on the MSE.

    Parameters
    ----------
    estimate, mse : ndarray of float, shape (M,)
    freedom : int
        Areas with a sample less coefficients.
    level : float
    """
    half = float(stdtrit(freedom, 1.0 - 0.5 * (1.0 - level))) * np.sqrt(mse)
    return Interval(estimate - half, estimate + half, IntervalKind.T)


def pooled_interval(estimate: np.ndarray, mse: np.ndarray, errors: np.ndarray, level: float) -> Interval:
    """Quantiles of bootstrap errors in units of their root mean square, pooled over rows, times √MSE.

    Parameters
    ----------
    estimate, mse : ndarray of float, shape (M,)
    errors : ndarray of float, shape (B, M)
        Prediction minus truth in each replicate.
    level : float
    """
    scaled = -errors / np.sqrt((errors**2).mean(axis=0))
    low, high = np.quantile(scaled, [0.5 * (1.0 - level), 0.5 * (1.0 + level)])
    se = np.sqrt(mse)
    return Interval(
        estimate + float(low) * se,
        estimate + float(high) * se,
        IntervalKind.BOOTSTRAP,
        replicates=len(errors),
    )


def area_intervals(
    A: float,
    estimate: np.ndarray,
    mse: np.ndarray,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    level: float,
    rest_variance: np.ndarray | float = 0.0,
) -> Interval:
    """Intervals of all areas of one Fay–Herriot fit.

    With 50 areas or more and a positive variance: Student's t with m - p degrees of freedom on the MSE.
    Else quantiles of the exact posterior with a flat prior on the variance, which knows that the variance is
    not known, and gives no zero width at the boundary; with p + 2 areas, where that prior is improper, a flat
    prior on its square root; with p + 1 areas none at all, and the ends are missing.

    Parameters
    ----------
    A : float
        Estimated model variance.
    estimate, mse, y, vardir : ndarray of float, shape (M,)
        On the model's scale.
    X : ndarray of float, shape (p, M)
    sampled : ndarray of bool, shape (M,)
    level : float
        Such as 0.95.
    rest_variance : ndarray of float, shape (M,)
        Variance of what the truth has beyond the area's rate: of the mean of those not asked.
    """
    p, m = X.shape[0], int(sampled.sum())
    if m >= FEW_AREAS and A > 0.0:
        return t_interval(estimate, mse + rest_variance, m - p, level)
    tail = 0.5 * (1.0 - level)
    for prior, code in (("flat-variance", FLAT_VARIANCE), ("flat-sd", FLAT_SD)):
        if m < p + SPARE[code]:
            continue
        areas = Areas.of(y, vardir, X, sampled)
        mixture = area_mixture(place_nodes(areas, [(code, 1.0)]), areas)
        mixture = replace(mixture, sds=np.sqrt(mixture.sds**2 + rest_variance))
        ends = mixture.quantile(tail), mixture.quantile(1.0 - tail)
        return Interval(*ends, IntervalKind.POSTERIOR, prior)
    missing = np.full(len(estimate), np.nan)
    return Interval(missing, missing, IntervalKind.NONE)
