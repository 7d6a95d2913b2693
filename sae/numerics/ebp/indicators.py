"""Indicators of a distribution of welfare, of many simulated populations at once.

Poor is who lies strictly below the threshold. Quantiles, the quintile share and Gini are those of
`sae.numerics.design.quantiles`: a value of weight w counts as w equal ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from sae.errors import SaeInputError
from sae.numerics.compile import compiled, inlined, inlined_sums
from sae.numerics.ebp.sorting import sort_rows

__all__ = ["ADDITIVE", "RANKED", "Indicators", "quantile_share"]

ADDITIVE = ("mean", "head_count", "gap", "severity")  # means over units
RANKED = ("quintile_share", "gini")
_QUANTILE = re.compile(r"quantile_([1-9][0-9]?)")
_TIE = 1e-12  # share of the units within which a cumulated share is the one that is asked for

Function = Callable[[np.ndarray, np.ndarray], float]


def quantile_share(name: str) -> float | None:
    """Return the share below a quantile, None where the name is of no quantile.

    Examples
    --------
    >>> quantile_share("quantile_10"), quantile_share("median"), quantile_share("gini")
    (0.1, 0.5, None)
    """
    match = _QUANTILE.fullmatch(name)
    return 0.5 if name == "median" else float(match[1]) / 100.0 if match else None


@dataclass(frozen=True)
class Indicators:
    """Which figures are wanted, in the order of the table.

    Attributes
    ----------
    names : tuple of str
        "mean", "head_count", "gap", "severity", "quintile_share", "gini", "median", "quantile_1" to
        "quantile_99", or the name of a function.
    threshold : float
        Poverty line; nan where no figure needs one.
    functions : mapping of str to callable
        The user's own: (values, weights) to a number.
    """

    names: tuple[str, ...]
    threshold: float = float("nan")
    functions: Mapping[str, Function] = field(default_factory=dict)

    @cached_property
    def _shares(self) -> np.ndarray:
        shares = [quantile_share(name) for name in self.names]
        return np.array([share for share in shares if share is not None])

    @cached_property
    def _ranked(self) -> bool:
        return bool(len(self._shares)) or any(name in RANKED for name in self.names)

    @cached_property
    def _columns(self) -> list[int]:
        """Column of each name in what the kernels and then the functions give."""
        quantiles = [name for name in self.names if quantile_share(name) is not None]
        known = [*ADDITIVE, *((*RANKED, *quantiles) if self._ranked else ()), *self.functions]
        return [known.index(name) for name in self.names]

    def values(self, Y: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """Return the figures of L populations of m units.

        Parameters
        ----------
        Y : ndarray of float, shape (L, m)
            Welfare; its rows may be left sorted.
        weight : ndarray of float, shape (m,), optional

        Returns
        -------
        ndarray, shape (L, K)

        Examples
        --------
        >>> wanted = Indicators(("median", "head_count"), threshold=2.0)
        >>> wanted.values(np.array([[3.0, 1.0, 5.0]]), None).round(3).tolist()
        [[3.0, 0.333]]
        """
        return self.of_parts(Y, weight, np.array([0, Y.shape[1]]))[:, 0]

    def of_parts(self, Y: np.ndarray, weight: np.ndarray | None, bounds: np.ndarray) -> np.ndarray:
        """Return the figures of parts of L populations, as `values` of each.

        Parameters
        ----------
        Y : ndarray of float, shape (L, m)
            Welfare; its rows may be left sorted within parts.
        weight : ndarray of float, shape (m,), optional
        bounds : ndarray of int, shape (P + 1,)
            Part k has the columns bounds[k] .. bounds[k + 1], one at least.

        Returns
        -------
        ndarray, shape (L, P, K)

        Examples
        --------
        >>> wanted, Y = Indicators(("median",)), np.array([[3.0, 1.0, 5.0, 2.0]])
        >>> wanted.of_parts(Y, None, np.array([0, 3, 4])).tolist()
        [[[3.0], [2.0]]]
        """
        own = [self._own(Y, weight, bounds)] if self.functions else []  # before the rows are sorted
        shape = (len(Y), len(bounds) - 1)
        if self._ranked:
            out = np.empty((*shape, 6 + len(self._shares)))
            if weight is None:
                sort_rows(Y, bounds)
                _ranked(Y, bounds, self.threshold, self._shares, out)
            else:
                order = np.empty(Y.shape, dtype=np.intp)
                for start, stop in pairwise(bounds.tolist()):
                    np.add(np.argsort(Y[:, start:stop], axis=1), start, out=order[:, start:stop])
                Y = np.take_along_axis(Y, order, axis=1)
                _weighted_ranked(Y, weight[order], bounds, self.threshold, self._shares, out)
        else:
            out = np.empty((*shape, 4))
            if weight is None:
                _plain(Y, bounds, self.threshold, out)
            else:
                _weighted(Y, weight, bounds, self.threshold, out)
        return (np.concatenate([out, *own], axis=2) if own else out)[:, :, self._columns]

    def _own(self, Y: np.ndarray, weight: np.ndarray | None, bounds: np.ndarray) -> np.ndarray:
        weight = np.ones(Y.shape[1]) if weight is None else weight
        parts = [slice(start, stop) for start, stop in pairwise(bounds.tolist())]
        return np.array(
            [[[self._number(name, row[p], weight[p]) for name in self.functions] for p in parts] for row in Y]
        )

    def _number(self, name: str, values: np.ndarray, weights: np.ndarray) -> float:
        try:
            return float(self.functions[name](values, weights))
        except Exception as error:
            raise SaeInputError(
                f"The function {name} of indicators ended in {type(error).__name__}: {error}.",
                hint="It takes (values, weights), two arrays of one area's population, and returns a number.",
            ) from error


@inlined_sums
def _means(y, threshold, out):
    """Mean, head count, gap and severity of one population."""
    total, poor, gap, square = 0.0, 0.0, 0.0, 0.0
    for i in range(len(y)):
        total += y[i]
        below = 1.0 if y[i] < threshold else 0.0
        short = max(threshold - y[i], 0.0)  # 0 of infinite welfare too
        poor += below
        gap += short
        square += short * short
    m = len(y)
    out[0], out[1] = total / m, poor / m
    out[2], out[3] = gap / m / threshold, square / m / threshold**2


@inlined_sums
def _weighted_means(y, w, threshold, out):
    size, total, poor, gap, square = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(len(y)):
        size += w[i]
        total += w[i] * y[i]
        short = max(threshold - y[i], 0.0)
        poor += w[i] if y[i] < threshold else 0.0
        gap += w[i] * short
        square += w[i] * short * short
    out[0], out[1] = total / size, poor / size
    out[2], out[3] = gap / size / threshold, square / size / threshold**2


@compiled
def _plain(Y, bounds, threshold, out):
    for row in range(len(Y)):
        for part in range(len(bounds) - 1):
            _means(Y[row, bounds[part] : bounds[part + 1]], threshold, out[row, part])


@compiled
def _weighted(Y, w, bounds, threshold, out):
    for row in range(len(Y)):
        for part in range(len(bounds) - 1):
            start, stop = bounds[part], bounds[part + 1]
            _weighted_means(Y[row, start:stop], w[start:stop], threshold, out[row, part])


@inlined_sums
def _sum(y, start, stop):
    total = 0.0
    for i in range(start, stop):
        total += y[i]
    return total


@inlined_sums
def _rank_sum(y):
    total = 0.0
    for i in range(len(y)):
        total += y[i] * (2.0 * i + 1.0)
    return total


@inlined
def _quantile(y, share):
    """Eurostat's quantile of sorted values: the mean of two where the share falls between them."""
    m = len(y)
    goal = share * m
    whole = np.int64(np.rint(goal))
    if abs(goal - whole) <= _TIE * m and 0 < whole < m:
        return 0.5 * (y[whole - 1] + y[whole])
    return y[min(np.int64(np.floor(goal)), m - 1)]


@inlined
def _ranked_means(y, threshold, shares, out):
    """Fill means, quintile share, Gini and quantiles of sorted values."""
    m = len(y)
    _means(y, threshold, out)
    low, high = _quantile(y, 0.2), _quantile(y, 0.8)
    first, last = np.int64(0.2 * m), np.int64(0.8 * m)
    while first < m and y[first] <= low:
        first += 1
    while first > 0 and y[first - 1] > low:
        first -= 1
    while last < m and y[last] <= high:
        last += 1
    while last > 0 and y[last - 1] > high:
        last -= 1
    total = out[0] * m
    out[4] = _sum(y, last, m) / _sum(y, 0, first)
    out[5] = _rank_sum(y) / (m * total) - 1.0
    for k in range(len(shares)):
        out[6 + k] = _quantile(y, shares[k])


@compiled
def _ranked(Y, bounds, threshold, shares, out):
    for row in range(len(Y)):
        for part in range(len(bounds) - 1):
            _ranked_means(Y[row, bounds[part] : bounds[part + 1]], threshold, shares, out[row, part])


@inlined
def _weighted_quantile(y, w, size, share):
    goal, slack, running = share * size, _TIE * size, 0.0
    lower, met = 0.0, False
    for i in range(len(y)):
        if w[i] == 0.0:
            continue
        if met:
            return 0.5 * (lower + y[i])
        running += w[i]
        lower = y[i]
        if running > goal + slack:
            return lower
        met = running >= goal - slack
    return lower


@inlined
def _weighted_ranked_means(y, w, threshold, shares, out):
    _weighted_means(y, w, threshold, out)
    size, cross, total = 0.0, 0.0, 0.0
    for i in range(len(y)):
        size += w[i]
        total += w[i] * y[i]
        cross += w[i] * y[i] * (2.0 * size - w[i])
    low, high = _weighted_quantile(y, w, size, 0.2), _weighted_quantile(y, w, size, 0.8)
    bottom, top = 0.0, 0.0
    for i in range(len(y)):
        if y[i] <= low:
            bottom += w[i] * y[i]
        if y[i] > high:
            top += w[i] * y[i]
    out[4] = top / bottom
    out[5] = cross / (size * total) - 1.0
    for k in range(len(shares)):
        out[6 + k] = _weighted_quantile(y, w, size, shares[k])


@compiled
def _weighted_ranked(Y, W, bounds, threshold, shares, out):
    for row in range(len(Y)):
        for part in range(len(bounds) - 1):
            start, stop = bounds[part], bounds[part + 1]
            _weighted_ranked_means(Y[row, start:stop], W[row, start:stop], threshold, shares, out[row, part])
