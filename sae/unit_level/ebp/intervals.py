"""Intervals of figures whose error is known from replicates.

What an indicator lacks to the truth is skew on its own scale, and larger where the indicator is: of a share
it is taken on the arcsine scale, of what is positive on the logarithm. With d the difference there of
predictor and truth of every replicate, the interval is that of g(estimate) - mean(d) ± t sd(d), taken back.
The degrees of freedom of t are those of the two variances from which the replicates are drawn
(`error_freedom`).

References
----------
Anscombe (1948), Biometrika 35, 246–254 (arcsine, whose variance does not depend on the share).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy

from sae.errors import SaeWarning, name_some
from sae.numerics.ebp.indicators import Indicators
from sae.results import Message
from sae.unit_level.ebp.reach import FINITE
from sae.unit_level.ebp.rows import FigureRows

__all__ = ["replicate_intervals", "without_interval"]

_WIDEST = 3.0  # of an interval on the logarithmic scale: a factor of 20 to both sides
_NONE = "none: error above the figure"


def replicate_intervals(
    indicators: Indicators,
    rows: FigureRows,
    estimate: np.ndarray,
    predicted: np.ndarray,
    true: np.ndarray,
    mse: np.ndarray,
    freedom: np.ndarray,
    level: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lower and upper ends and what they are, each of shape (M,).

    Parameters
    ----------
    indicators : Indicators
    rows : FigureRows
    estimate : ndarray, shape (M,)
    predicted, true : ndarray, shape (R, M)
        Of the replicates.
    mse : ndarray, shape (M,)
        In which there may be more than the replicates have: intervals are longer by as much.
    freedom : ndarray, shape (M,)
    level : float
    """
    t = scipy.special.stdtrit(freedom, 0.5 + 0.5 * level)
    low, high = estimate - t * np.sqrt(mse), estimate + t * np.sqrt(mse)
    text = np.full(len(estimate), "t on the MSE", dtype=object)
    least = np.minimum(np.minimum(predicted.min(axis=0), true.min(axis=0)), estimate)
    most = np.maximum(np.maximum(predicted.max(axis=0), true.max(axis=0)), estimate)
    with np.errstate(invalid="ignore", divide="ignore"):
        longer = np.nan_to_num(np.sqrt(mse / ((predicted - true) ** 2).mean(axis=0)), nan=1.0)
    share = np.isin(rows.indicator, [*FINITE, "gini"]) & (least >= 0.0) & (most <= 1.0)
    own = np.isin(rows.indicator, list(indicators.functions))
    ratio = rows.indicator == "quintile_share"
    positive = ~np.isin(rows.indicator, [*FINITE, "gini"]) & ~own & (least > 0.0)

    def ends(which: np.ndarray, g: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        apart = g(predicted[:, which]) - g(true[:, which])
        half = t[which] * apart.std(axis=0, ddof=1) * longer[which]
        return g(estimate[which]) - apart.mean(axis=0), half

    if share.any():
        middle, half = ends(share, _angle)
        low[share], high[share] = (
            np.sin(np.clip(middle + s * half, 0.0, 0.5 * np.pi)) ** 2 for s in (-1.0, 1.0)
        )
        text[share] = "t on the replicates, arcsine scale"
    if positive.any():
        middle, half = ends(positive, np.log)
        half = np.where(half <= _WIDEST, half, np.nan)
        low[positive], high[positive] = np.exp(middle - half), np.exp(middle + half)
        text[positive] = np.where(np.isnan(half), _NONE, "t on the replicates, log scale")
    senseless = ratio & ~positive
    low[senseless], high[senseless], text[senseless] = np.nan, np.nan, _NONE
    return low, high, text


def _angle(p: np.ndarray) -> np.ndarray:
    return np.arcsin(np.sqrt(p))


def without_interval(rows: FigureRows, text: np.ndarray) -> list[Message]:
    """Name the figures whose error says no more than that they are positive."""
    none = text == _NONE
    if not none.any():
        return []
    names, areas = list(dict.fromkeys(rows.indicator[none])), list(dict.fromkeys(rows.domain[none]))
    return [
        Message(
            f"{name_some(names)} of {name_some(areas)} has an error above the figure itself and no interval: "
            "in some replicates the poorest have next to nothing in all. A scale on which welfare is "
            "positive, such as log, has one.",
            SaeWarning,
        )
    ]
