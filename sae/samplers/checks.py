"""Posterior predictive checks: figures observed anew beside those that were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sae.samplers.posterior import Sample

__all__ = ["PredictiveCheck", "predictive_check"]

_STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda y: y.mean(axis=-1),
    "sd": lambda y: y.std(axis=-1, ddof=1),
    "min": lambda y: y.min(axis=-1),
    "max": lambda y: y.max(axis=-1),
}


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """What the model would have observed beside what was.

    Attributes
    ----------
    observed, low, median, high : dict of str to float
        Each statistic of the data, and its predictive median and 95 % interval.
    p_value : dict of str to float
        P(statistic of new figures >= that of the data), equal values counted half: near 0 or 1 where the
        model cannot produce such data.
    outside : float
        Share of the figures outside their own predictive 95 % interval: near 0.05, a little less because each
        figure was used in the fit.
    areas_outside : ndarray of int
        Positions of these figures.
    """

    observed: dict[str, float]
    low: dict[str, float]
    median: dict[str, float]
    high: dict[str, float]
    p_value: dict[str, float]
    outside: float
    areas_outside: np.ndarray


def predictive_check(sample: Sample, observed: np.ndarray) -> PredictiveCheck:
    """Compare observed figures with those of the posterior predictive distribution.

    Parameters
    ----------
    sample : Sample
        With `replicated`, shape (S, n).
    observed : ndarray, shape (n,)
        On the scale of `replicated`.

    References
    ----------
    Gelman, Meng and Stern (1996), Statistica Sinica 6, 733-807.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> sample = Sample(np.zeros((500, 1)), replicated=rng.normal(size=(500, 40)))
    >>> check = predictive_check(sample, 3.0 * rng.normal(size=40))
    >>> check.p_value["sd"], check.outside > 0.2
    (0.0, True)
    """
    if sample.replicated is None:
        raise ValueError("the draws hold no replicated figures")
    y, new = np.asarray(observed, dtype=float), sample.replicated
    if new.shape[1:] != y.shape:
        raise ValueError(f"{len(y)} figures were observed, {new.shape[1]} replicated")
    drawn = {name: statistic(new) for name, statistic in _STATISTICS.items()}
    seen = {name: float(statistic(y)) for name, statistic in _STATISTICS.items()}
    ends = {name: np.quantile(values, (0.025, 0.5, 0.975)) for name, values in drawn.items()}
    low, high = np.quantile(new, (0.025, 0.975), axis=0)
    out = (y < low) | (y > high)
    p = {
        name: float((values > seen[name]).mean() + 0.5 * (values == seen[name]).mean())
        for name, values in drawn.items()
    }
    at = [{name: float(values[k]) for name, values in ends.items()} for k in range(3)]
    return PredictiveCheck(seen, at[0], at[1], at[2], p, float(out.mean()), np.flatnonzero(out))
