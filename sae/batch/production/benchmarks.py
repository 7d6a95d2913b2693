"""Hierarchical benchmarks: areas meet the direct estimates of a level above, groups meet their total."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy

from sae.batch.production.cells import Cells, Part
from sae.batch.production.sections import LevelBenchmark
from sae.errors import SaeError, SaeInputError
from sae.numerics.inference.joint_error import JointError
from sae.quality import Benchmark, benchmark_estimates
from sae.results.benchmarking import benchmarked_table
from sae.tables import EstimateTable, to_numbers

__all__ = ["SHARES", "Benchmarked", "Figures", "benchmark_weights", "benchmarked", "stacked"]

AVERAGED = ("ratio", "mean", "arpr", "total")  # kinds whose areas average, or add up, to the larger unit
SHARES = "shares"  # the figures of indicators that add to 1
_MOVED = ("estimate", "mse", "se", "cv", "ci_low", "ci_high", "benchmark_factor", "interval", "mse_method")
_TINY = 1e-9  # weight of an area without a record, as in `sae.batch.targets`, of the mean weight
_LESS = 1e-14  # where margins cross: they agree to 1e-12
_ROUNDS = 20  # of leaving out figures that cannot be met


@dataclass(frozen=True, eq=False)
class Figures:
    """What the rows are to meet in one respect.

    Attributes
    ----------
    name : str
        Of the level above, or of the coarser groups.
    labels : ndarray of str
        The figure that each row belongs to.
    values, variance : ndarray of float
        That figure and the variance of its error, 0 where it counts as known.
    """

    name: str
    labels: np.ndarray
    values: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True, eq=False)
class Benchmarked:
    """The cells after their benchmark.

    Attributes
    ----------
    frame : DataFrame
    notes : dict of int to str
        By row, which figures it does not meet, and why.
    """

    frame: pd.DataFrame
    notes: dict[int, str]


def stacked(parts: Sequence[tuple[JointError, np.ndarray]]) -> JointError:
    """Return the joint error of rows of several fits, which are independent of each other.

    Examples
    --------
    >>> one = JointError.of_fits(np.array([0.2, 0.3]), [np.array([[0.1, 0.1]])])
    >>> both = stacked([(one, np.array([1])), (one, np.array([0, 1]))])
    >>> both.mse().round(12).tolist()
    [0.3, 0.2, 0.3]
    """
    taken = [joint.reordered(places) for joint, places in parts]

    def blocks(name: str) -> scipy.sparse.csr_array:
        return scipy.sparse.csr_array(scipy.sparse.block_diag([getattr(one, name) for one in taken], "csr"))

    scale = np.concatenate([one.scale for one in taken])
    return JointError(scale, blocks("shared"), blocks("left"), blocks("right"))


def benchmarked(
    cells: Cells,
    frame: pd.DataFrame,
    parts: Mapping[int, Part],
    section: LevelBenchmark,
    upper: Sequence[Callable[[], Figures]],
    coarser: Sequence[Callable[[], Figures]],
) -> Benchmarked:
    """Return the cells adjusted to their figures, set by set: what fails in one set leaves the others.

    A total of an area that its groups cannot meet is left out, and its cells say so; without all of them the
    figures of the level above, and the 1 of shares, are still met.

    Parameters
    ----------
    cells : Cells
    frame : DataFrame
        Columns of the estimate table, `why` and `doubts`, one row per cell.
    parts : mapping of int to Part
        The accepted parts.
    section : LevelBenchmark
    upper, coarser : sequence of callable
        The figures of the level above, and those of coarser groups of the same area.
    """
    done, rows = frame.copy(), np.flatnonzero(frame["estimate"].notna().to_numpy())
    if cells.kind not in AVERAGED:
        return Benchmarked(
            done, dict.fromkeys(rows.tolist(), f"no {cells.kind} of a larger unit is their mean")
        )
    try:
        weights = benchmark_weights(cells, section)
        above, groups = [made() for made in upper], [made() for made in coarser]
    except SaeError as error:
        return Benchmarked(done, dict.fromkeys(rows.tolist(), error.what))
    notes: dict[int, str] = {}
    for some in _sets(cells, rows, above, groups):
        adjustment = _Adjustment(cells, done, parts, section, some, weights)
        reasons = adjustment.met(above, groups)
        if reasons is None:  # what the level above says can still be met
            reasons = dict.fromkeys(some.tolist(), adjustment.reason)
            whole = [one for one in groups if one.name == SHARES]
            fewer = len(groups) > len(whole) and bool(above or whole)
            for part in _sets(cells, some, above, whole) if fewer else ():
                alone = _Adjustment(cells, done, parts, section, part, weights)
                if alone.met(above, whole) is None:
                    reasons |= dict.fromkeys(part.tolist(), alone.reason)
        notes |= reasons
    return Benchmarked(done, notes)


def benchmark_weights(cells: Cells, section: LevelBenchmark) -> np.ndarray:
    """Return the weight of each row in what it is to meet."""
    if section.weights is None:
        counted = cells.counted
        empty = ~(counted > 0)
        if empty.all():
            raise SaeInputError("the survey counts nobody")
        return np.where(empty, (_LESS if section.groups else _TINY) * counted[~empty].mean(), counted)
    if section.weights not in cells.covariates:
        raise SaeInputError(f"the areas have no {section.weights}")
    return to_numbers(cells.covariates, section.weights, names=cells.frame["domain"])


def _sets(
    cells: Cells, rows: np.ndarray, above: Sequence[Figures], groups: Sequence[Figures]
) -> Iterator[np.ndarray]:
    """Yield the rows that some figure ties together: those of one figure, or of a whole period."""
    if len(above) + len(groups) > 1 or any(one.name == SHARES for one in groups):
        names = cells.frame["time"].to_numpy(dtype=object)
    else:
        names = (above or groups)[0].labels
    for name in dict.fromkeys(names[rows]):
        yield rows[names[rows] == name]


class _Adjustment:
    """One set of rows on its way to its figures; `reason` says what stood in the way."""

    def __init__(
        self,
        cells: Cells,
        done: pd.DataFrame,
        parts: Mapping[int, Part],
        section: LevelBenchmark,
        rows: np.ndarray,
        weights: np.ndarray,
    ):
        order = [(fit, rows[cells.fit[rows] == fit]) for fit in dict.fromkeys(cells.fit[rows].tolist())]
        self.rows = np.concatenate([mine for _, mine in order])
        self.joint = stacked([(parts[fit].joint, _places(parts[fit], mine)) for fit, mine in order])
        frame = done.drop(columns=["why", "doubts"]).iloc[self.rows].reset_index(drop=True)
        self.table = EstimateTable(frame, tuple(cells.direct.by))
        self.share = bool((frame["unit"] == "share").any())
        self.weights = np.ones(len(self.rows)) if cells.kind == "total" else weights[self.rows]
        self.total, self.done, self.section, self.reason = cells.kind == "total", done, section, ""

    def met(self, above: Sequence[Figures], groups: Sequence[Figures]) -> dict[int, str] | None:
        """Adjust the rows in place; return what single rows do not meet, or None where nothing can be met."""
        left: dict[str, dict[str, str]] = {}
        for _ in range(_ROUNDS):
            try:
                self._adjust(self._made([*above, *groups], left))
            except SaeError as error:
                self.reason = error.what
                if not self._left_out(groups, error, left):
                    return None
                continue
            return {
                int(row): f"{one.name}: {left[one.name][label]}"
                for one in groups
                for row, label in zip(self.rows, one.labels[self.rows], strict=True)
                if label in left.get(one.name, {})
            }
        return None

    def _left_out(self, groups: Sequence[Figures], error: SaeError, left: dict[str, dict[str, str]]) -> bool:
        """Leave out the totals that the error names, or whose rows it names; return whether there are any."""
        named, some = set(map(str, error.areas)), False
        domains = self.table.frame["domain"].to_numpy(dtype=object)
        for one in groups:
            labels, known = one.labels[self.rows], left.setdefault(one.name, {})
            of_rows = set(labels[np.isin(domains, list(named))])
            for label in dict.fromkeys(labels):
                full = f"{one.name} {label}"
                if label not in known and (full in named or label in named or label in of_rows):
                    known[label], some = error.what.partition(":")[0], True
        return some

    def _made(self, figures: Sequence[Figures], left: Mapping[str, Mapping[str, str]]) -> Benchmark:
        groups, targets, errors = {}, {}, {}
        for one in figures:
            labels, values = one.labels[self.rows], one.values[self.rows]
            out = left.get(one.name, {})
            goals = {
                label: float(value)
                for label, value in zip(labels, values, strict=True)
                if np.isfinite(value) and label not in out
            }
            if goals:
                groups[one.name], targets[one.name] = labels, goals
                known = dict(zip(labels, np.nan_to_num(one.variance[self.rows]), strict=True))
                errors[one.name] = {label: float(known[label]) for label in goals}
        if not targets:
            raise SaeInputError("what they are to meet has no estimate")
        single = next(iter(targets)) if len(targets) == 1 else ""
        section = self.section
        return benchmark_estimates(
            self.table.frame["estimate"].to_numpy(),
            self.weights,
            groups[single] if single else groups,
            targets[single] if single else targets,
            domains=self.table.frame["domain"],
            method=section.method,
            mean=not self.total,
            bounds=(0.0, 1.0) if self.share else None,
            mse=self.joint.mse() if section.method == "mse" else None,
            target_variance=errors[single] if single else errors,
            factor_range=(section.factor_range[0], section.factor_range[1]),
        )

    def _adjust(self, made: Benchmark) -> None:
        met = made.constraints
        after = self.joint.constrained(made.scale, made.gain, met.weights, met.variance)
        shares = np.full(len(self.table), self.share)
        frame = benchmarked_table(self.table, made, self.joint.mse(), after.mse(), shares).frame
        for name in _MOVED:
            values = self.done[name].to_numpy(copy=True)
            values[self.rows] = frame[name].to_numpy()
            self.done[name] = pd.Series(values, self.done.index, self.done[name].dtype)


def _places(part: Part, rows: np.ndarray) -> np.ndarray:
    """Return where the rows of a part stand in its joint error."""
    return part.places[part.frame.index.get_indexer(pd.Index(rows))]
