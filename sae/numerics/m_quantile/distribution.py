"""Figures of the distribution of an area: its units as they are, and those outside the sample by prediction.

Chambers and Dunstan: every unit j outside the sample has the distribution x_j'β_d + ε with ε the residuals of
the area's units. Naive: x_j'β_d alone, which is a distribution without errors.

References
----------
Chambers and Dunstan (1986), Biometrika 73, 597-604; Tzavidis, Marchetti and Chambers (2010), Aust. N. Z. J.
Stat. 52, 167-186, section 3; Foster, Greer and Thorbecke (1984), Econometrica 52, 761-766.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.m_quantile.areas import AreaFits

__all__ = ["FGT", "MEAN", "QUANTILE", "Residuals", "Rest", "Target", "figures", "residuals"]

MEAN, FGT, QUANTILE = 0, 1, 2
_ROUNDING = 1e-12  # of a sum of weights that should be the share asked for


@dataclass(frozen=True)
class Target:
    """A figure of a distribution.

    Attributes
    ----------
    code : int
        MEAN, FGT or QUANTILE.
    value : float
        Poverty line, or the share below a quantile.
    power : int
        Of the gap: 0 the head count, 1 the poverty gap, 2 its severity.
    """

    code: int
    value: float = 0.0
    power: int = 0


@dataclass(frozen=True, eq=False)
class Rest:
    """The units of D areas outside the sample, in cells of equal covariates, area after area.

    Attributes
    ----------
    X : ndarray, shape (C, p)
        In the coordinates of the fit.
    weight : ndarray, shape (C,)
        Units of each cell; inf where one cell is the whole area and nobody knows how many it holds.
    starts : ndarray of int, shape (D + 1,)
    linked : bool
        Whether the sampled units are counted beside them, as they are.
    """

    X: np.ndarray
    weight: np.ndarray
    starts: np.ndarray
    linked: bool

    @property
    def area(self) -> np.ndarray:
        """Area of each cell, shape (C,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def predicted(self, beta: np.ndarray) -> np.ndarray:
        """Return x'β of each cell with the coefficients of its area, shape (C,)."""
        return np.asarray(np.einsum("cj,cj->c", self.X, beta[self.area]))


@dataclass(frozen=True, eq=False)
class Residuals:
    """What is added to the predictions of an area's units: values[first[d]:last[d]], sorted."""

    values: np.ndarray
    first: np.ndarray
    last: np.ndarray


def residuals(fits: AreaFits, *, adjusted: bool) -> Residuals:
    """Return the residuals of each area from its own regression; without units, of all from that of 0.5.

    Not adjusted there is the residual 0 alone.
    """
    D = len(fits.n)
    if not adjusted:
        return Residuals(np.zeros(1), np.zeros(D, np.int64), np.ones(D, np.int64))
    own = fits.y - fits.fitted
    common = np.sort(fits.y - fits.X @ fits.median)
    last = np.cumsum(fits.n)
    first, n = last - fits.n, len(own)
    seen = fits.n > 0
    return Residuals(
        np.concatenate([own[np.lexsort((own, fits.area))], common]),
        np.where(seen, first, n),
        np.where(seen, last, 2 * n),
    )


def figures(fits: AreaFits, rest: Rest, targets: Sequence[Target], *, adjusted: bool) -> np.ndarray:
    """Return figures of every area, shape (D, T).

    Parameters
    ----------
    fits : AreaFits
    rest : Rest
    targets : sequence of Target
    adjusted : bool
        Whether units outside the sample have residuals.
    """
    errors = residuals(fits, adjusted=adjusted)
    known, first, last = sampled(fits.y, fits.area, fits.n, linked=rest.linked)
    return np.asarray(
        _figures(
            rest.predicted(fits.areas.beta),
            np.where(np.isfinite(rest.weight), rest.weight, 1.0),
            rest.starts,
            known,
            first,
            last,
            errors.values,
            errors.first,
            errors.last,
            *coded(targets),
        )
    )


def sampled(
    y: np.ndarray, area: np.ndarray, n: np.ndarray, *, linked: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the outcomes of the sampled units area by area, and where each area's begin and end."""
    last = np.cumsum(n)
    first = last - n
    return y[np.argsort(area, kind="stable")], first, last if linked else first


def coded(targets: Sequence[Target]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return code, value and power of every target as kernels take them."""
    return (
        np.array([target.code for target in targets], np.int64),
        np.array([target.value for target in targets], np.float64),
        np.array([target.power for target in targets], np.int64),
    )


@inlined
def poverty(y, line, power):
    """Return ((z - y) / z)^power below the line z, else 0."""
    if y >= line:
        return 0.0
    return ((line - y) / line) ** power


@inlined
def _below(values, bound):
    """Count the sorted values below a bound."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _up_to(values, bound):
    """Count the sorted values up to a bound."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle] <= bound:
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def _mass(predicted, weight, known, errors, t):
    """Units with an outcome up to t."""
    total = 0.0
    for i in range(len(known)):
        if known[i] <= t:
            total += 1.0
    for c in range(len(predicted)):
        total += weight[c] * (_up_to(errors, t - predicted[c]) / len(errors))
    return total


@inlined
def _quantile(predicted, weight, known, errors, wanted):
    """Find the smallest outcome up to which there are `wanted` units: bisection, then the next value."""
    low, high = np.inf, -np.inf
    for i in range(len(known)):
        low, high = min(low, known[i]), max(high, known[i])
    for c in range(len(predicted)):
        if weight[c] > 0.0:
            low, high = min(low, predicted[c] + errors[0]), max(high, predicted[c] + errors[-1])
    if _mass(predicted, weight, known, errors, low) >= wanted:
        return low
    for _ in range(200):
        middle = 0.5 * (low + high)
        if high - low <= 1e-13 * max(abs(low), abs(high)) or middle <= low or middle >= high:
            break
        if _mass(predicted, weight, known, errors, middle) >= wanted:
            high = middle
        else:
            low = middle
    found = high
    for i in range(len(known)):
        if known[i] > low:
            found = min(found, known[i])
    for c in range(len(predicted)):
        place = _up_to(errors, low - predicted[c])
        if weight[c] > 0.0 and place < len(errors) and predicted[c] + errors[place] > low:
            found = min(found, predicted[c] + errors[place])
    return found


@inlined
def _poverty_sum(predicted, weight, known, errors, sums, squares, line, power):
    """Sum of ((z - y) / z)^power over the poor; `sums` and `squares` run over the sorted errors."""
    total = 0.0
    for i in range(len(known)):
        total += poverty(known[i], line, power)
    for c in range(len(predicted)):
        bound = line - predicted[c]
        count = _below(errors, bound)
        if power == 0:
            part = np.float64(count)
        elif power == 1:
            part = (count * bound - sums[count]) / line
        else:
            part = (count * bound * bound - 2.0 * bound * sums[count] + squares[count]) / line**2
        total += weight[c] * part / len(errors)
    return total


@compiled
def _figures(
    predicted, weight, starts, known, known_first, known_last, errors, first, last, code, value, power
):
    D, T = len(starts) - 1, len(code)
    out = np.empty((D, T))
    sums, squares = np.zeros(len(errors) + 1), np.zeros(len(errors) + 1)
    for d in range(D):
        x, w = predicted[starts[d] : starts[d + 1]], weight[starts[d] : starts[d + 1]]
        own, e = known[known_first[d] : known_last[d]], errors[first[d] : last[d]]
        for m in range(len(e)):
            sums[m + 1] = sums[m] + e[m]
            squares[m + 1] = squares[m] + e[m] * e[m]
        size = np.float64(len(own)) + w.sum()
        for t in range(T):
            if code[t] == MEAN:
                total = own.sum()
                for c in range(len(x)):
                    total += w[c] * (x[c] + sums[len(e)] / len(e))
                out[d, t] = total / size
            elif code[t] == FGT:
                out[d, t] = _poverty_sum(x, w, own, e, sums, squares, value[t], power[t]) / size
            else:
                out[d, t] = _quantile(x, w, own, e, value[t] * size * (1.0 - _ROUNDING))
    return out
