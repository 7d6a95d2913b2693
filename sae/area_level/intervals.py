"""Intervals of area-level predictions: on the MSE where many areas carry it, else from the posterior."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sae.numerics.fay_herriot.mixture import area_mixture
from sae.numerics.fay_herriot.posterior import Areas, place_nodes
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, SPARE

__all__ = ["Interval", "area_intervals"]

FEW_AREAS = 50  # with fewer, the error of the variance and of the MSE itself is no longer small


@dataclass(frozen=True)
class Interval:
    """Ends on the model's scale, what they rest on, and the prior where there is one."""

    low: np.ndarray
    high: np.ndarray
    words: str
    prior: str


def area_intervals(
    A: float,
    estimate: np.ndarray,
    mse: np.ndarray,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    level: float,
    chance: np.ndarray | float = 0.0,
) -> Interval:
    """Intervals of all areas of one fit.

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
    chance : ndarray of float, shape (M,)
        Variance of what the truth has beyond the area's rate, such as of the persons not asked.

    Returns
    -------
    Interval
    """
    p, m = X.shape[0], int(sampled.sum())
    tail = 0.5 * (1.0 - level)
    if m >= FEW_AREAS and A > 0.0:
        from scipy.special import stdtrit

        half = float(stdtrit(m - p, 1.0 - tail)) * np.sqrt(mse + chance)
        return Interval(estimate - half, estimate + half, "t on the MSE", "")
    for prior, code in (("flat-variance", FLAT_VARIANCE), ("flat-sd", FLAT_SD)):
        if m < p + SPARE[code]:
            continue
        areas = Areas.of(y, vardir, X, sampled)
        mixture = area_mixture(place_nodes(areas, [(code, 1.0)]), areas)
        mixture = replace(mixture, sds=np.sqrt(mixture.sds**2 + chance))
        return Interval(
            mixture.quantile(tail), mixture.quantile(1.0 - tail), f"posterior, {prior} prior", prior
        )
    missing = np.full(len(estimate), np.nan)
    return Interval(missing, missing, "none: too few areas", "")
