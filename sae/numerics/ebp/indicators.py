"""Indicators of a distribution of welfare, of many simulated populations at once.

Poor is who lies strictly below the threshold. Quantiles, the quintile share and Gini are those of
`sae.numerics.design.quantiles`: a value of weight w counts as w equal ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from sae.errors import SaeInputError
from sae.numerics.ebp.figures import of_order, of_sorted, of_units
from sae.numerics.ebp.sorting import pack_rows, sort_rows

__all__ = ["ADDITIVE", "RANKED", "Indicators", "Parts", "quantile_share"]

ADDITIVE = ("mean", "head_count", "gap", "severity")  # means over units
RANKED = ("quintile_share", "gini")
_QUANTILE = re.compile(r"quantile_([1-9][0-9]?)")

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


@dataclass(frozen=True, eq=False)
class Parts:
    """What the units of a population are part of.

    Attributes
    ----------
    bounds : ndarray of int, shape (P + 1,)
        Part k has the units bounds[k] .. bounds[k + 1], one at least.
    weight : ndarray of float, shape (m,), optional
    group : ndarray of int, shape (m,), optional
        Group of each unit, 0 to groups - 1; -1 of none.
    groups : int
    """

    bounds: np.ndarray
    weight: np.ndarray | None = None
    group: np.ndarray | None = None
    groups: int = 0

    @cached_property
    def _cell(self) -> np.ndarray:
        """Place of each unit among parts and, within them, no group and the groups."""
        assert self.group is not None
        first = np.arange(len(self.bounds) - 1) * (1 + self.groups)
        cell = np.repeat(first + 1, np.diff(self.bounds)) + self.group
        return cell.astype(np.min_scalar_type(len(first) * (1 + self.groups)))

    @cached_property
    def columns(self) -> np.ndarray:
        """Units part by part and group by group, those of no group first; empty without groups."""
        if self.group is None:
            return np.empty(0, dtype=int)
        return np.argsort(self._cell, kind="stable")  # up to 16 bits are sorted by digits

    @cached_property
    def starts(self) -> np.ndarray:
        """Where in `columns` no group, then each group starts and the last one stops, (P, groups + 2)."""
        if self.group is None:
            return np.column_stack([self.bounds[:-1], self.bounds[1:]])
        units = np.bincount(self._cell, minlength=(len(self.bounds) - 1) * (1 + self.groups))
        ends = np.cumsum(units.reshape(-1, 1 + self.groups), axis=1)
        return np.column_stack([np.zeros(len(ends), dtype=int), ends]) + self.bounds[:-1, None]

    def __iter__(self) -> Iterator[tuple[int, int, np.ndarray | slice]]:
        """Give the units of part k as (k, 0, units), those of its group g as (k, 1 + g, units)."""
        for k, (start, stop) in enumerate(pairwise(self.bounds.tolist())):
            yield k, 0, slice(start, stop)
        for k, starts in enumerate(self.starts.tolist()):
            for g, (start, stop) in enumerate(pairwise(starts[1:])):
                if start < stop:
                    yield k, 1 + g, self.columns[start:stop]


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
        return self.of_parts(Y, Parts(np.array([0, Y.shape[1]]), weight))[:, 0, 0]

    def of_parts(self, Y: np.ndarray, parts: Parts, room: np.ndarray | None = None) -> np.ndarray:
        """Return the figures of parts of L populations, and of their groups, as `values` of each.

        Parameters
        ----------
        Y : ndarray of float, shape (L, m)
            Welfare; its rows may be left sorted within parts.
        parts : Parts
        room : ndarray of float, flat, optional
            Memory to work in, as many numbers as Y has.

        Returns
        -------
        ndarray, shape (L, P, 1 + groups, K)
            First all units of a part, then its groups; nan where there is no unit.

        Examples
        --------
        >>> wanted, Y = Indicators(("median",)), np.array([[3.0, 1.0, 5.0, 2.0]])
        >>> halves = Parts(np.array([0, 3, 4]), group=np.array([0, 0, 1, 1]), groups=2)
        >>> wanted.of_parts(Y, halves)[0, :, :, 0].tolist()
        [[3.0, 2.0, 5.0], [2.0, nan, 2.0]]
        """
        own = [self._own(Y, parts)] if self.functions else []  # before the rows are sorted
        bounds, weight, starts = parts.bounds, parts.weight, parts.starts
        shape = (len(Y), len(bounds) - 1, 1 + parts.groups)
        shares, line = self._shares, self.threshold
        out = np.full((*shape, 6 + len(shares) if self._ranked else 4), np.nan)
        if not self._ranked:
            of_units(Y, weight, bounds, parts.columns, starts[:, 1:], line, out)
        elif weight is None and not parts.groups:
            sort_rows(Y, bounds)
            of_sorted(Y, bounds, line, shares, out)
        else:
            packed, low = pack_rows(Y, bounds, room)
            group = np.empty(0, dtype=int) if parts.group is None else parts.group
            of_order(Y, weight, bounds, packed, low, group, starts, line, shares, out)
        return (np.concatenate([out, *own], axis=3) if own else out)[..., self._columns]

    def _own(self, Y: np.ndarray, parts: Parts) -> np.ndarray:
        weight = np.ones(Y.shape[1]) if parts.weight is None else parts.weight
        out = np.full((len(Y), len(parts.bounds) - 1, 1 + parts.groups, len(self.functions)), np.nan)
        for part, group, units in parts:
            for row, y in enumerate(Y[:, units]):
                out[row, part, group] = [self._number(name, y, weight[units]) for name in self.functions]
        return out

    def _number(self, name: str, values: np.ndarray, weights: np.ndarray) -> float:
        try:
            return float(self.functions[name](values, weights))
        except Exception as error:
            raise SaeInputError(
                f"The function {name} of indicators ended in {type(error).__name__}: {error}.",
                hint="It takes (values, weights), two arrays of one area's population, and returns a number.",
            ) from error
