"""Predictive checks: figures observed beside those of other areas that the model would have observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

__all__ = ["PredictiveCheck", "predictive_check"]

_CLOSE = 1e-12  # relative differences that are rounding
_ONE_SIDED = ("outlying", "tails", "neighbours")  # of which only large values speak against a model
# shares of the level: a few areas apart are what a user fears most, a map is given to look at neighbours
_WEIGHT = {"outlying": 5.0, "neighbours": 10.0}
_APART, _SHARE = (
    2.5,
    0.1,
)  # standard deviations, share of the areas: what "outlying" is the likelihood ratio of


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """What the model would have observed beside what was.

    Attributes
    ----------
    observed, low, median, high : dict of str to float
        Each statistic of the data, and its predictive median and 95 % interval.
    p_value : dict of str to float
        Of "spread" and "noise" two-sided; small where the model does not make such data.
    overall : float
        P-value of all statistics together: how often the smallest of theirs is as small under the model.
    outside : float
        Share of the figures outside their own predictive 95 % interval.
    areas_outside : ndarray of int
        Positions of these figures.
    """

    observed: dict[str, float]
    low: dict[str, float]
    median: dict[str, float]
    high: dict[str, float]
    p_value: dict[str, float]
    overall: float
    outside: float
    areas_outside: np.ndarray


def predictive_check(
    fresh: np.ndarray,
    observed: np.ndarray,
    noise: np.ndarray | None = None,
    neighbours: scipy.sparse.sparray | None = None,
) -> PredictiveCheck:
    """Compare observed figures with those that the model makes for other areas like them.

    Scores are the distances of the figures from the means of their own replicates, in their standard
    deviations. Their spread, whether some lie apart to one side, their tails, their size beside the sampling
    variance, and their likeness among neighbours are compared with the same of whole sets of replicates.
    These have area effects of their own: effects that follow the data fit any data.

    Parameters
    ----------
    fresh : ndarray, shape (S, n)
        See `Posterior.fresh`.
    observed : ndarray, shape (n,)
        On the scale of `fresh`.
    noise : ndarray, shape (n,), optional
        Sampling variance of each figure, or what has its order. Where variances are wrong, scores are larger
        in areas with much sampling error, or with little.
    neighbours : sparse array, shape (n, n), optional
        Weights: 0 on the diagonal.

    References
    ----------
    Marshall and Spiegelhalter (2007), Bayesian Analysis 2, 409-444 (mixed replicates).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> check = predictive_check(rng.normal(size=(500, 40)), 3.0 * rng.normal(size=40))
    >>> check.p_value["spread"] < 0.01, check.overall < 0.05, check.outside > 0.2
    (True, True, True)
    """
    y, new = np.asarray(observed, dtype=float), np.asarray(fresh, dtype=float)
    if new.ndim != 2 or new.shape[1:] != y.shape:
        raise ValueError(f"{len(y)} figures were observed, replicates have shape {new.shape}")
    sd = new.std(axis=0)
    width = np.where(sd > 0.0, sd, 1.0)
    scores = (np.vstack([y, new]) - new.mean(axis=0)) / width
    values = _statistics(scores, width, noise, neighbours)
    tails = np.array([_p_values(found, name in _ONE_SIDED) for name, found in values.items()])
    smallest = (tails / [[_WEIGHT.get(name, 1.0)] for name in values]).min(axis=0)
    overall = float((smallest <= smallest[0] * (1.0 + _CLOSE)).mean())
    least, most = np.quantile(new, (0.025, 0.975), axis=0)
    out = (y < least) | (y > most)
    ends = {name: np.quantile(found[1:], (0.025, 0.5, 0.975)) for name, found in values.items()}
    low, median, high = ({name: float(three[k]) for name, three in ends.items()} for k in range(3))
    return PredictiveCheck(
        {name: float(found[0]) for name, found in values.items()},
        low,
        median,
        high,
        {name: float(found[0]) for name, found in zip(values, tails, strict=True)},
        overall,
        float(out.mean()),
        np.flatnonzero(out),
    )


def _statistics(
    z: np.ndarray, width: np.ndarray, noise: np.ndarray | None, neighbours: scipy.sparse.sparray | None
) -> dict[str, np.ndarray]:
    """Return statistics of sets of scores, each of shape (S + 1,)."""
    apart = z - z.mean(axis=1, keepdims=True)
    sd = apart.std(axis=1)
    unit = apart / np.where(sd > _CLOSE, sd, 1.0)[:, None]
    found = {"spread": sd, "outlying": _outlying(unit), "tails": (unit**4).mean(axis=1)}
    if noise is not None and np.ptp(noise) > _CLOSE * np.abs(noise).max():
        found["noise"] = _correlation(np.abs(unit), scipy.stats.rankdata(noise))
    if neighbours is not None:
        # the score of the correlation of neighbours: residuals over their variances
        force = unit / width
        force -= force.mean(axis=1, keepdims=True)
        square = np.maximum((force**2).sum(axis=1), _CLOSE**2)
        found["neighbours"] = len(width) * np.einsum("sn,sn->s", force @ neighbours, force)
        found["neighbours"] /= max(float(neighbours.sum()), _CLOSE) * square
    return found


def _outlying(unit: np.ndarray) -> np.ndarray:
    """Return the log likelihood ratio per area of some areas 2.5 deviations off to one side against none."""
    both = [
        np.log1p(_SHARE * np.expm1(np.minimum(side * _APART * unit - 0.5 * _APART**2, 50.0))).mean(axis=1)
        for side in (1.0, -1.0)
    ]
    return np.asarray(np.maximum(*both))


def _correlation(values: np.ndarray, with_: np.ndarray) -> np.ndarray:
    """Return the correlation of every set, (S, n), with one of shape (n,); 0 where all are equal."""
    a, b = values - values.mean(axis=1, keepdims=True), with_ - with_.mean()
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum())
    return np.asarray((a @ b) / np.where(size > 0.0, size, 1.0))


def _p_values(values: np.ndarray, one_sided: bool) -> np.ndarray:
    """Return the p-value of every set among all, shape (S + 1,)."""
    size = len(values)
    above = (size + 1.0 - scipy.stats.rankdata(values, method="min")) / size
    if one_sided:
        return above
    below = scipy.stats.rankdata(values, method="max") / size
    return np.minimum(1.0, 2.0 * np.minimum(above, below))
