"""Which published figures to hide with others, where equations link them: benchmarks, totals, shares of one.

Figures are numbers between known limits that satisfy linear equations with known coefficients, populations
say. A hidden figure is safe as long as it could be as small and as large as is needed while everything
published is what it is. Where it could not, the cheapest other solution in which it is tells which published
figures must be hidden as well (the incremental attacker problems of Fischetti and Salazar 2000, "Models and
Algorithms for Optimizing Cell Suppression in Tabular Data with Linear Constraints", Journal of the American
Statistical Association 95, 916-928).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from sae.disclosure.attack import components
from sae.errors import SaeConvergenceError, SaeInputError

__all__ = ["LinkedFigures", "hidden_too", "told_ends"]

_CLOSE = 1e-6  # beyond the feasibility tolerance of HiGHS, 1e-7
_HALVES = 8  # rounds in which many figures move at once
_NEAR = 150  # figures that may move at first; all where that is not enough
_OPTIONS = {"presolve": False}  # the true figures are a solution to start from
_MOVED = 1e-5  # what a published figure must move to be hidden, of the hidden one: beyond that tolerance


@dataclass(frozen=True, eq=False)
class LinkedFigures:
    """Figures and the equations that everybody knows; arrays of shape (n,) but for the matrix.

    Attributes
    ----------
    matrix : sparse array, shape (m, n)
        matrix @ values is known to everybody.
    values : ndarray of float
        The true figures.
    lower, upper : ndarray of float
        What everybody knows of each: 0 and 1 of a share; the upper may be infinite.
    hidden : ndarray of bool
    least, most : ndarray of float
        Of a sensitive figure: it must be possible that it is as small as `least`, and as large as `most`;
        the figure itself where nothing is needed.
    cost : ndarray of float
        What is lost with each published figure; infinite where it is no choice.
    """

    matrix: sparse.csr_array
    values: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    hidden: np.ndarray
    least: np.ndarray
    most: np.ndarray
    cost: np.ndarray

    @cached_property
    def across(self) -> sparse.csr_array:
        """The equations of each figure."""
        return sparse.csr_array(self.matrix.T)

    def of(self, some: np.ndarray) -> LinkedFigures:
        """Return some of the figures, by their places, and the equations that hold some of them."""
        matrix = sparse.csr_array(self.matrix[:, some])
        matrix = sparse.csr_array(matrix[np.flatnonzero(np.diff(matrix.indptr))])
        parts = (self.values, self.lower, self.upper, self.hidden, self.least, self.most, self.cost)
        return LinkedFigures(matrix, *(part[some] for part in parts))


def hidden_too(figures: LinkedFigures) -> np.ndarray:
    """Return which published figures to hide so that every sensitive one is as open as is needed.

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    SaeInputError
        If a sensitive figure stays known too closely whatever is hidden.

    Examples
    --------
    Three equal areas make the rate of their nation, 0.5; the first is hidden, and anything of it must be
    possible.

    >>> from scipy import sparse
    >>> from sae.disclosure.equations import LinkedFigures, hidden_too
    >>> figures = LinkedFigures(
    ...     sparse.csr_array(np.array([[1.0, 1.0, 1.0, -3.0]])),
    ...     values=np.array([0.2, 0.6, 0.7, 0.5]),
    ...     lower=np.zeros(4),
    ...     upper=np.ones(4),
    ...     hidden=np.array([True, False, False, False]),
    ...     least=np.array([0.0, 0.6, 0.7, 0.5]),
    ...     most=np.array([0.8, 0.6, 0.7, 0.5]),
    ...     cost=np.array([1.0, 1.0, 2.0, 9.0]),
    ... )
    >>> hidden_too(figures).tolist()
    [False, True, False, False]
    """
    hidden = figures.hidden.copy()
    seen = _Reach(figures)
    everywhere = np.arange(len(hidden))
    for most in (False, True):
        _widen_together(figures, seen, hidden)
        for cell in np.flatnonzero(seen.open).tolist():
            if seen.met(cell, most):
                continue  # by what was hidden for another
            moved = _cheapest_move(figures, hidden, cell, most)
            hidden |= moved != 0
            seen.widen(everywhere, figures.values + moved)
            seen.widen(everywhere, _opposite(figures, moved))
    return hidden & ~figures.hidden


def told_ends(figures: LinkedFigures) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of the sensitive figures, and how small and how large each can be: the attack.

    Examples
    --------
    >>> from scipy import sparse
    >>> from sae.disclosure.equations import LinkedFigures, told_ends
    >>> figures = LinkedFigures(
    ...     sparse.csr_array(np.array([[1.0, 1.0, -2.0]])),
    ...     values=np.array([0.25, 0.75, 0.5]),
    ...     lower=np.zeros(3),
    ...     upper=np.ones(3),
    ...     hidden=np.array([True, False, False]),
    ...     least=np.array([0.0, 0.75, 0.5]),
    ...     most=np.array([1.0, 0.75, 0.5]),
    ...     cost=np.ones(3),
    ... )
    >>> [end.round(6).tolist() for end in told_ends(figures)]
    [[0], [0.25], [0.25]]
    """
    open_ = _Reach(figures).open
    places = np.flatnonzero(figures.hidden)
    part = components(figures.of(places).matrix)
    low, high = figures.lower.copy(), figures.upper.copy()
    for number in np.unique(part[open_[places]]):
        cells = places[part == number]
        some = figures.of(cells)
        if not some.matrix.shape[0]:
            continue
        for place in np.flatnonzero(open_[cells]):
            for ends, sign in ((low, 1.0), (high, -1.0)):
                goal = np.where(np.arange(len(cells)) == place, sign, 0.0)
                ends[cells[place]] = _solution(some, goal, some.lower, some.upper)[place]
    wanted = np.flatnonzero(open_)
    return wanted, low[wanted], high[wanted]


class _Reach:
    """How small and how large each figure was seen to be in solutions that fit what is published."""

    def __init__(self, figures: LinkedFigures):
        self.figures = figures
        self.low, self.high = figures.values.copy(), figures.values.copy()
        self.open = figures.hidden & (
            (figures.least < figures.values - _CLOSE) | (figures.most > figures.values + _CLOSE)
        )

    def widen(self, cells: np.ndarray, solution: np.ndarray) -> None:
        self.low[cells] = np.minimum(self.low[cells], solution)
        self.high[cells] = np.maximum(self.high[cells], solution)

    def met(self, cell: int, most: bool) -> bool:
        if most:
            return bool(self.high[cell] >= self.figures.most[cell] - _slack(self.figures, cell))
        return bool(self.low[cell] <= self.figures.least[cell] + _slack(self.figures, cell))


def _slack(figures: LinkedFigures, cell: int) -> float:
    return _CLOSE * max(1.0, abs(float(figures.values[cell])))


def _widen_together(figures: LinkedFigures, seen: _Reach, hidden: np.ndarray) -> None:
    """Widen what was seen of hidden figures by solutions in which many linked ones move at once.

    First all down, then all up. Where their sums are published they cannot: some go down while others go up,
    in every round other ones, until a round meets nobody's need.
    """
    places = np.flatnonzero(hidden)
    part = components(figures.of(places).matrix)
    for number in np.unique(part[seen.open[places]]):
        cells = places[part == number]
        some = figures.of(cells)
        open_ = np.flatnonzero(seen.open[cells])
        before = -1
        for half in range(_HALVES):
            met = np.array(
                [[seen.met(cell, most) for most in (False, True)] for cell in cells[open_].tolist()]
            )
            left = open_[~met.all(axis=1)]
            if not len(left) or met.sum() == before:
                break
            before = int(met.sum()) if half else -1
            ups = np.arange(len(left)) >> (half - 1) & 1 == 1 if half else np.zeros(len(left), dtype=bool)
            for goal in (ups, ~ups):
                ends = some.values.copy()
                ends[left] = np.where(goal, some.most[left], some.least[left])
                seen.widen(cells, _extreme(some, ends))


def _extreme(figures: LinkedFigures, ends: np.ndarray) -> np.ndarray:
    """Return a solution in which linked hidden figures come close to their ends.

    Each goes no further than it needs to, so that one solution shows it of many.
    """
    gap = ends - figures.values
    far = np.abs(gap) > _CLOSE * np.maximum(1.0, np.abs(figures.values))
    if not far.any() or not figures.matrix.shape[0]:
        return np.where(far, ends, figures.values)
    lower = np.where(far & (gap < 0), np.maximum(figures.lower, ends), figures.lower)
    upper = np.where(far & (gap > 0), np.minimum(figures.upper, ends), figures.upper)
    weights = np.where(far, -1.0 / np.where(far, gap, 1.0), 0.0)
    return _solution(figures, weights, lower, upper)


def _opposite(figures: LinkedFigures, moved: np.ndarray) -> np.ndarray:
    """Return the solution on the other side of the figures, as far as their limits allow."""
    back = np.where(moved > 0, figures.values - figures.lower, figures.upper - figures.values)
    room = np.where(moved != 0, back, np.inf) / np.where(moved != 0, np.abs(moved), 1.0)
    return figures.values - min(1.0, max(float(room.min()), 0.0)) * moved


def _solution(
    figures: LinkedFigures, weights: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Return figures that satisfy the equations with the smallest weighted sum."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    matrix, size = _persons(figures, np.flatnonzero(weights))
    ends = Bounds(
        np.minimum(lower - figures.values, 0.0) * size, np.maximum(upper - figures.values, 0.0) * size
    )
    done = milp(weights / size, constraints=LinearConstraint(matrix, 0.0, 0.0), bounds=ends, options=_OPTIONS)
    if done.x is None:
        raise SaeConvergenceError(f"The linear programme ended without an answer: {done.message}")
    return np.clip(figures.values + done.x / size, lower, upper)


def _cheapest_move(figures: LinkedFigures, hidden: np.ndarray, cell: int, most: bool) -> np.ndarray:
    """Return the changes to a cheap solution in which a figure is as small, or large, as is needed.

    The figures near it are tried first, all others being what they are: mostly one more is enough, or none.
    Then those that can be hidden, then all.
    """
    everywhere = np.arange(len(hidden))
    choices = np.flatnonzero(np.isfinite(figures.cost) | (everywhere == cell))
    near = _near(figures, hidden, cell)
    for some in (near, choices, everywhere):
        few = _cheapest(figures.of(some), hidden[some], int(np.searchsorted(some, cell)), most)
        if few is not None and (some is not near or np.count_nonzero(few[~hidden[some]]) <= 1):
            moved = np.zeros(len(hidden))
            moved[some] = few
            return moved
    raise SaeInputError(
        "A hidden figure stays known too closely, whatever is hidden with it.",
        hint="Join groups or areas, so that more than one is hidden.",
    )


def _near(figures: LinkedFigures, hidden: np.ndarray, cell: int) -> np.ndarray:
    """Return the figures that the fewest equations lead to, hidden and cheap ones first, sorted."""
    matrix, across = figures.matrix, figures.across
    near = front = np.array([cell])
    price = np.where(hidden, 0.0, figures.cost)
    while len(front) and len(near) < _NEAR:
        rows = np.unique(_entries(across, front))
        more = np.setdiff1d(_entries(matrix, rows), near)
        kept = []
        for kind in (more[hidden[more]], more[~hidden[more] & np.isfinite(figures.cost[more])]):
            kept.append(kind[np.argsort(price[kind], kind="stable")][: (_NEAR - len(near) + 1) // 2])
        front = np.concatenate(kept)
        near = np.union1d(near, front)
    return near


def _entries(matrix: sparse.csr_array, rows: np.ndarray) -> np.ndarray:
    return np.unique(matrix[rows].indices)


def _cheapest(figures: LinkedFigures, hidden: np.ndarray, cell: int, most: bool) -> np.ndarray | None:
    """Return the cheapest changes by which a figure comes as far as is needed; None if there are none."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    n = len(hidden)
    change = float((figures.most if most else figures.least)[cell] - figures.values[cell])
    fixed = ~hidden & np.isinf(figures.cost)
    up = np.where(fixed, 0.0, np.maximum(figures.upper - figures.values, 0.0))
    down = np.where(fixed, 0.0, np.maximum(figures.values - figures.lower, 0.0))
    price = np.where(hidden | fixed, 0.0, figures.cost)
    matrix, size = _persons(figures, np.array([cell]))
    price = price / size
    price = price / max(price.max(), _CLOSE)
    paid = np.flatnonzero(price)  # their changes up and down are told apart: both cost
    up, down, change = up * size, down * size, change * size[cell]
    below = np.where(price > 0, 0.0, -down)
    below[cell] = up[cell] = change
    done = milp(
        np.concatenate([price, price[paid]]),
        constraints=LinearConstraint(sparse.hstack([matrix, -matrix[:, paid]], format="csr"), 0.0, 0.0),
        bounds=Bounds(np.concatenate([below, np.zeros(len(paid))]), np.concatenate([up, down[paid]])),
        options=_OPTIONS,
    )
    if done.status == 2:
        return None
    if done.x is None:
        raise SaeConvergenceError(f"The linear programme ended without an answer: {done.message}")
    moved = done.x[:n].copy()
    moved[paid] -= done.x[n:]
    return np.where(np.abs(moved) > _MOVED * max(1.0, abs(change)), moved / size, 0.0)


def _persons(figures: LinkedFigures, some: np.ndarray) -> tuple[sparse.csr_array, np.ndarray]:
    """Return the equations in units of some figures, and how many of these make 1 of each figure.

    A rate of the nation and that of a village are far apart in persons, and the tolerances of HiGHS are
    absolute.
    """
    size = abs(figures.matrix).max(axis=0).toarray().ravel()
    size = np.where(size > 0, size, 1.0)
    size = size / np.median(size[some])
    return sparse.csr_array(figures.matrix @ sparse.diags_array(1.0 / size)), size
