"""Units that are alike beyond their area, which a model with one effect of the area takes for independent.

Two signs of it: exactly equal outcomes, as persons of a household have who share an income; and residuals
that agree within the sampling units of a survey.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import fdtrc, ndtri

from sae.errors import SaeWarning
from sae.results import Message
from sae.survey import Survey

__all__ = ["alike_messages", "intra_cluster", "shared_values"]

_RARE = 8  # units that have a value, up to which it may be that of a household
_VALUES = 1_000  # looked at
_SHARE = 0.05  # of the units that have one of their own area's values from which on it is told
_Z = 3.0  # of a correlation that is told,
_RATIO = 1.1  # if it makes the variance of a mean of a cluster larger by that factor


def shared_values(y: np.ndarray, area: np.ndarray) -> int:
    """Return how many units share their outcome with another one of their area, beyond rounding; 0 if few.

    Values that few units have are looked at: if they are equal by rounding, units with one value are spread
    over the areas as others near it are, in the ranks' normal scores. If they are persons of a household, all
    lie in one area.

    Parameters
    ----------
    y : ndarray of float, shape (n,)
    area : ndarray of int, shape (n,)
        0 to D - 1.

    Examples
    --------
    >>> y = np.random.default_rng(1).lognormal(10.0, 0.6, 300).round(-2)
    >>> area = np.repeat(np.arange(10), 60)
    >>> shared_values(np.repeat(y, 2), area), shared_values(np.concatenate([y, y]), area)
    (600, 0)
    """
    place, count, score = _normal_scores(y)
    rare = np.flatnonzero((count > 1) & (count <= _RARE))
    if not len(rare):
        return 0
    n = np.bincount(area).astype(float)
    seen = n > 0
    mean = np.divide(np.bincount(area, score[place]), n, out=np.zeros(len(n)), where=seen)
    within = float(((score[place] - mean[area]) ** 2).mean())
    some = rare[:: -(-len(rare) // _VALUES)]
    chosen = np.isin(place, some)
    if not within > 0.0:
        return 0
    logs = -0.5 * (score[some][:, None] - mean[seen]) ** 2 / within
    odds = n[seen] * np.exp(logs - logs.max(axis=1, keepdims=True))
    together = ((odds / odds.sum(axis=1, keepdims=True)) ** 2).sum(axis=1)
    pairs = 0.5 * count[some] * (count[some] - 1.0)
    expected = float(pairs @ together)
    _, cell = np.unique(place[chosen] * len(n) + area[chosen], return_counts=True)
    same = float((0.5 * cell * (cell - 1.0)).sum())
    twins = cell[cell > 1].sum() * len(rare) / len(some)
    beyond = same > 1.5 * expected + 4.0 * np.sqrt(expected) + 2.0
    return round(twins) if beyond and twins * (1.0 - expected / same) > _SHARE * len(y) else 0


def _normal_scores(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of n values which of the distinct ones each is, and of these the counts and normal scores."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return place, count, np.asarray(ndtri((np.cumsum(count) - 0.5 * count) / len(values)))


def intra_cluster(residual: np.ndarray, area: np.ndarray, cluster: np.ndarray) -> tuple[float, float, float]:
    """Return the correlation of residuals of a cluster within areas, its z, and the ratio of mean squares.

    By the analysis of variance of clusters within areas, a cluster of several areas being one in each, on the
    normal scores of their ranks, which tails do not upset; z is the normal deviate of its F. NaN where
    nothing tells them.

    Parameters
    ----------
    residual : ndarray of float, shape (n,)
        Less what covariates explain.
    area, cluster : ndarray of int, shape (n,)

    References
    ----------
    Searle, Casella and McCulloch (1992), Variance Components, section 3.6; Conover and Iman (1981), American
    Statistician 35, 124–129 (ranks).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> area, cluster = np.repeat(np.arange(10), 40), np.repeat(np.arange(50), 8)
    >>> alone, shared = rng.normal(size=400), np.repeat(rng.normal(size=50), 8)
    >>> [round(intra_cluster(alone + k * shared, area, cluster)[0], 2) for k in (0.0, 0.7)]
    [-0.04, 0.25]
    """
    _, first, cell = np.unique(
        area * (int(cluster.max()) + 1) + cluster, return_index=True, return_inverse=True
    )
    n, whole = np.bincount(cell), np.bincount(area)
    size_of = np.maximum(whole, 1)
    place, _, score = _normal_scores(residual - (np.bincount(area, residual) / size_of)[area])
    value = score[place]
    mean, of_area = np.bincount(cell, value) / n, np.bincount(area, value) / size_of
    between, within = len(n) - int((whole > 0).sum()), len(value) - len(n)
    if between < 1 or within < 1:
        return np.nan, np.nan, np.nan
    upper = float(n @ (mean - of_area[area[first]]) ** 2) / between
    lower = float(((value - mean[cell]) ** 2).sum()) / within
    size = (len(value) - float((n**2 / whole[area[first]]).sum())) / between
    ratio = upper / lower if lower > 0.0 else np.inf
    correlation = (upper - lower) / (upper + (size - 1.0) * lower) if upper + lower > 0.0 else np.nan
    return correlation, -float(ndtri(fdtrc(between, within, ratio))) if ratio < np.inf else np.inf, ratio


def alike_messages(
    data: pd.DataFrame | Survey,
    y: np.ndarray,
    residual: np.ndarray,
    area: np.ndarray,
    order: np.ndarray | None = None,
    *,
    outcome: str,
    remedy: str,
    shared: str = "",
) -> list[Message]:
    """Say that units are alike beyond their area.

    Parameters
    ----------
    data : DataFrame or Survey
        The units as they were given.
    y, residual : ndarray of float, shape (n,)
        Outcome, and what covariates leave of it on the scale of the model.
    area : ndarray of int, shape (n,)
    order : ndarray of int, shape (n,), optional
        Place of each of these in the data.
    outcome : str
    remedy : str
        What is to be done about sampling units, with their column in the place of {}; "" where they have
        their effect.
    shared : str
        What is to be done about persons of one household, beside taking households as units.
    """
    twins = shared_values(y, area)
    if twins:
        return [
            Message(
                f"{twins} of {len(y)} units have exactly the {outcome} of another unit of their area, more "
                "than rounding explains: are they persons of one household? They count as independent, and "
                f"errors are too small. Take households as units{shared}.",
                SaeWarning,
            )
        ]
    if not isinstance(data, Survey) or not remedy:
        return []
    messages = []
    for stage in data.stages:
        cluster = stage.psu if data.mask is None else stage.psu[np.asarray(data.mask)]
        cluster = cluster if order is None else cluster[order]
        correlation, z, ratio = intra_cluster(residual, area, cluster)
        if z > _Z and ratio > _RATIO:
            column = stage.columns.get("psu", "sampling unit")
            text = (
                f"Units of one {column} are alike: correlation {correlation:.2f} of what covariates leave of "
                f"{outcome}, within areas (z = {z:.1f}). They count as independent, and errors are too "
                f"small. {remedy.format(column)}."
            )
            messages.append(Message(text, SaeWarning))
    return messages
