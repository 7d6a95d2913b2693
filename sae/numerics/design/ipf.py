"""Iterative proportional fitting: a table of any number of ways scaled to known margins.

The fitted table has the margins asked for and every interaction of the seed that no margin fixes: it is the
table nearest to the seed in Kullback–Leibler divergence.

References
----------
Deming and Stephan (1940), Annals of Mathematical Statistics 11, 427-444; Bishop, Fienberg and Holland (1975),
Discrete Multivariate Analysis, section 3.5; Csiszár (1975), Annals of Probability 3, 146-158.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

__all__ = ["Conflict", "Fitted", "Margin", "conflicts", "ipf"]

# Axes that stay, in increasing order, and the sums wanted over all the others.
Margin = tuple[tuple[int, ...], np.ndarray]


@dataclass(frozen=True)
class Conflict:
    """Why margins cannot be met.

    Attributes
    ----------
    kind : {"empty", "disagree"}
        "empty": a sum above 0 is wanted over cells of the seed that are all 0. "disagree": two margins
        give different sums over the axes that both keep.
    margins : tuple of int
        Numbers of the margins at fault.
    axes : tuple of int
        Axes of `index`.
    index : tuple of int
        Where, along `axes`.
    wanted : tuple of float
        The sum (or the two sums) asked for.
    """

    kind: str
    margins: tuple[int, ...]
    axes: tuple[int, ...]
    index: tuple[int, ...]
    wanted: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted table.

    Attributes
    ----------
    table : ndarray of float
        Of the shape of the seed.
    iterations : int
        Passes over all margins.
    gap : float
        Greatest relative distance to a margin.
    converged : bool
    worst : tuple of (int, tuple of int)
        The margin farthest off, and where along its axes.
    """

    table: np.ndarray
    iterations: int
    gap: float
    converged: bool
    worst: tuple[int, tuple[int, ...]]


def conflicts(seed: np.ndarray, margins: Sequence[Margin], tolerance: float = 1e-9) -> list[Conflict]:
    """Find what makes margins impossible before any fitting; an empty list proves nothing.

    Parameters
    ----------
    seed : ndarray of float
        Table, >= 0.
    margins : sequence of (axes, ndarray)
    tolerance : float
        Relative difference up to which two margins agree.
    """
    found = []
    for number, (axes, wanted) in enumerate(margins):
        held = seed.sum(axis=_others(seed.ndim, axes))
        for index in zip(*np.nonzero((wanted > 0) & (held == 0)), strict=True):
            place = tuple(map(int, index))
            found.append(Conflict("empty", (number,), axes, place, (float(wanted[place]),)))
    for (i, (one, a)), (j, (two, b)) in combinations(enumerate(margins), 2):
        both = tuple(axis for axis in one if axis in two)
        left = a.sum(axis=tuple(k for k, axis in enumerate(one) if axis not in both))
        right = b.sum(axis=tuple(k for k, axis in enumerate(two) if axis not in both))
        apart = np.abs(left - right) > tolerance * np.maximum(np.abs(left), np.abs(right))
        for index in zip(*np.nonzero(np.atleast_1d(apart)), strict=True):
            place = tuple(map(int, index)) if both else ()
            found.append(Conflict("disagree", (i, j), both, place, (float(left[place]), float(right[place]))))
    return found


def ipf(
    seed: np.ndarray, margins: Sequence[Margin], *, tolerance: float = 1e-12, iterations: int = 10_000
) -> Fitted:
    """Scale a table until its sums are the margins.

    Parameters
    ----------
    seed : ndarray of float
        Table of any number of ways, >= 0; its zeros stay zeros.
    margins : sequence of (axes, ndarray)
        Sums wanted, each over the axes not named; the shape of the array is that of the seed along its axes.
    tolerance : float
        Greatest relative distance to any margin.
    iterations : int
        Most passes; zeros that barely leave a solution make convergence slow.

    Returns
    -------
    Fitted
        `converged` is False where the margins cannot be met with the zeros of the seed.

    Examples
    --------
    >>> rows, columns = np.array([3.0, 6.0]), np.array([5.0, 4.0])
    >>> fit = ipf(np.array([[2.0, 1.0], [1.0, 2.0]]), [((0,), rows), ((1,), columns)])
    >>> fit.converged, fit.table.sum(axis=0).round(9).tolist()
    (True, [5.0, 4.0])
    """
    table = np.array(seed, dtype=float)
    shapes = [
        tuple(size if axis in axes else 1 for axis, size in enumerate(table.shape)) for axes, _ in margins
    ]
    wanted = [
        np.asarray(sums, dtype=float).reshape(shape) for (_, sums), shape in zip(margins, shapes, strict=True)
    ]
    others = [_others(table.ndim, axes) for axes, _ in margins]
    gap = np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        for done in range(1, iterations + 1):  # noqa: B007
            for sums, rest in zip(wanted, others, strict=True):
                held = table.sum(axis=rest, keepdims=True)
                table *= np.where(held > 0, sums / held, 0.0)
            gaps = []
            for sums, rest in zip(wanted, others, strict=True):
                held = table.sum(axis=rest, keepdims=True)
                gaps.append(np.where(sums > 0, np.abs(held - sums) / sums, np.where(held > 0, np.inf, 0.0)))
            largest = [float(part.max(initial=0.0)) for part in gaps]
            number = int(np.argmax(largest))
            gap = largest[number]
            if gap <= tolerance:
                break
    place = np.unravel_index(int(np.argmax(gaps[number])), shapes[number])
    worst = (number, tuple(int(place[axis]) for axis in margins[number][0]))
    return Fitted(table, done, gap, gap <= tolerance, worst)


def _others(n_axes: int, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in range(n_axes) if axis not in axes)
