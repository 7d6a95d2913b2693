"""The distribution function of errors about points, one normal about each, for units of different widths.

Relative to its size an error beside the area's effect is a mixture of normals about the same points, and only
their width ω differs by unit. So P(error < t) is one function of t and log ω: cubic pieces in t, a Chebyshev
series in log ω. Gaps are integrals of it,

    E (1 - Y/z)_+ = ∫ P(Y < y) dy / z,   E (1 - Y/z)_+² = 2 ∫ (1 - y/z) P(Y < y) dy / z,  both up to z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from sae.numerics.compile import compiled
from sae.numerics.ebp.transforms import Scale

__all__ = ["MixtureTable"]

_FAR = 8.5  # standard deviations beyond which nothing is left
_TERMS = 16  # of the series in log ω
_STEP = 0.1  # of a piece, in the least width: an error of 1e-7
_NODES = 40  # of an integral


@dataclass(frozen=True, eq=False)
class MixtureTable:
    """P(error < t) at widths exp(middle - half) to exp(middle + half).

    Attributes
    ----------
    low, step : float
        The pieces begin at low, low + step, ...
    middle, half : float
    series : ndarray, shape (pieces + 1, 2, terms)
        Of the function, and of its derivative times `step`, at the ends of the pieces.
    lowest : float
        The least point.
    """

    low: float
    step: float
    middle: float
    half: float
    series: np.ndarray
    lowest: float

    @classmethod
    def of(cls, points: np.ndarray, widths: np.ndarray) -> MixtureTable:
        """Make the table for the widths of some units."""
        ends = np.log(widths.min()), np.log(widths.max())
        middle, half = 0.5 * (ends[0] + ends[1]), max(0.5 * (ends[1] - ends[0]), 1e-9)
        nodes = np.cos(np.pi * (np.arange(_TERMS) + 0.5) / _TERMS)
        width = np.exp(middle + half * nodes)
        step, low = _STEP * float(widths.min()), float(points.min()) - _FAR * float(width.max())
        t = np.arange(low, float(points.max()) + _FAR * float(width.max()) + step, step)
        values = np.zeros((len(t), 2, _TERMS))
        for point in points:
            a = (t[:, None] - point) / width
            values[:, 0] += ndtr(a)
            values[:, 1] += np.exp(-0.5 * a * a) * (step / np.sqrt(2.0 * np.pi) / width)
        to_series = np.cos(np.outer(np.arccos(nodes), np.arange(_TERMS))) * (2.0 / _TERMS)
        to_series[:, 0] *= 0.5
        return cls(low, step, middle, half, values @ to_series / len(points), float(points.min()))

    def below(self, t: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Return P(error < t), shape (N,), of units with widths of their own."""
        out = np.empty(len(t))
        _below(t, np.log(width), self.low, self.step, self.middle, self.half, self.series, out)
        return out

    def short(
        self,
        scale: Scale,
        score: np.ndarray,
        size: np.ndarray,
        width: np.ndarray,
        power: int,
        threshold: float,
    ) -> np.ndarray:
        """Return E (1 - Y/z)_+ to a power of 1 or 2, shape (N,).

        Parameters
        ----------
        scale : Scale
        score, size, width : ndarray of float, shape (N,)
            h(y) is score + size × error.
        power : {1, 2}
        threshold : float
            z.
        """
        top = float(scale.forward(np.array(threshold)))
        least = np.maximum(score + size * (self.lowest - _FAR * width), scale.ends[0])
        long = np.maximum(top - least, 0.0)
        nodes, weights = np.polynomial.legendre.leggauss(_NODES)
        total = np.zeros(len(score))
        for node, weight in zip(0.5 * (nodes + 1.0), 0.5 * weights, strict=True):
            at = top - long * (1.0 - node)
            y = scale.inverse(at)
            part = self.below((at - score) / size, width) * np.exp(-scale.log_slope(y))
            total += weight * (part if power == 1 else part * 2.0 * (1.0 - y / threshold))
        return np.asarray(total * long / threshold)


@compiled
def _below(t, log_width, low, step, middle, half, series, out):
    """Add up series of both ends of the piece of every unit, and join them by a cubic."""
    terms, last = series.shape[2], len(series) - 1
    for i in range(len(t)):
        place = (t[i] - low) / step
        if not place > 0.0:
            out[i] = 0.0
            continue
        if place >= last:
            out[i] = 1.0
            continue
        j = np.int64(place)
        s = place - j
        x = (log_width[i] - middle) / half
        r = 1.0 - s
        a, b = (1.0 + 2.0 * s) * r * r, s * s * (3.0 - 2.0 * s)
        c, d = s * r * r, -s * s * r
        one, two = 0.0, 0.0
        for k in range(terms - 1, 0, -1):
            term = (
                a * series[j, 0, k] + b * series[j + 1, 0, k] + c * series[j, 1, k] + d * series[j + 1, 1, k]
            )
            one, two = term + 2.0 * x * one - two, one
        term = a * series[j, 0, 0] + b * series[j + 1, 0, 0] + c * series[j, 1, 0] + d * series[j + 1, 1, 0]
        out[i] = term + x * one - two
