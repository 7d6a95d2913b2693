"""The figures that estimates must meet, as linear constraints S'θ = t; those that collide are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import labels, pandas_frame

__all__ = ["Constraints", "constraints_of", "figure", "figures_by_label", "independent", "unreachable"]

# Figures that follow from others must agree with them as well as the estimates will meet them.
AGREEMENT = 1e-12
_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Constraints:
    """K known figures of weighted sums over n areas.

    Attributes
    ----------
    weights : sparse array of float, shape (n_areas, K)
        S: one column per figure, with weights that sum to 1 where it is a mean or rate.
    target : ndarray of float, shape (K,)
        t.
    variance : ndarray of float, shape (K,)
        Variances of the figures' own errors, 0 where they are known.
    labels : tuple of str
    left : mapping of str to int
        The groups without a figure, and how many areas each has; they have no column in S.
    """

    weights: sparse.csr_array
    target: np.ndarray
    variance: np.ndarray
    labels: tuple[str, ...]
    left: Mapping[str, int] = field(default_factory=dict)

    @property
    def touched(self) -> np.ndarray:
        """Whether an area belongs to a group with a figure, shape (n_areas,)."""
        return np.asarray(np.diff(self.weights.indptr) > 0)

    def take(self, kept: np.ndarray) -> Constraints:
        """Return the constraints at the positions `kept`."""
        names = tuple(self.labels[k] for k in kept)
        columns = sparse.csr_array(self.weights[:, kept])
        return replace(
            self, weights=columns, target=self.target[kept], variance=self.variance[kept], labels=names
        )


def constraints_of(
    weights: np.ndarray,
    groups: Mapping[str, Any] | Sequence[object] | np.ndarray | pd.Series | pd.DataFrame,
    targets: Mapping[Any, Any] | pd.Series,
    target_variance: Mapping[Any, Any] | pd.Series | None,
    names: np.ndarray,
    *,
    mean: bool,
) -> Constraints:
    """Match areas, groups and figures by label; arguments as in `benchmark_estimates`."""
    if hasattr(groups, "columns") and not isinstance(groups, Mapping):
        groups = pandas_frame(groups, "The groups")
    if not isinstance(groups, Mapping | pd.DataFrame):
        return _of_column(weights, groups, targets, target_variance, names, mean, "")
    members = {str(name): column for name, column in groups.items()}
    columns = list(members)
    given = {str(name): values for name, values in dict(targets).items()}
    if sorted(columns) != sorted(given):
        raise SaeInputError(
            f"The groups are columns {name_some(columns)}, the targets are for {name_some(given)}.",
            hint="Give the targets of every column of groups: {column: {label: figure}}.",
            areas=sorted(set(columns) ^ set(given)),
        )
    errors = {str(name): values for name, values in dict(target_variance).items()} if target_variance else {}
    unknown = [name for name in errors if name not in columns]
    if unknown:
        raise SaeInputError(f"target_variance names {name_some(unknown)}, which is no column of groups.")
    parts = [
        _of_column(weights, members[name], given[name], errors.get(name), names, mean, f"{name} ")
        for name in columns
    ]
    return Constraints(
        sparse.csr_array(sparse.hstack([part.weights for part in parts])),
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.variance for part in parts]),
        tuple(label for part in parts for label in part.labels),
        {label: size for part in parts for label, size in part.left.items()},
    )


def _of_column(
    weights: np.ndarray,
    groups: Iterable[object],
    targets: Mapping[Any, float] | pd.Series,
    variance: Mapping[Any, float] | pd.Series | None,
    names: np.ndarray,
    mean: bool,
    lead: str,
) -> Constraints:
    given = groups if isinstance(groups, pd.Series) else pd.Series(list(groups), dtype="object")
    codes, levels = pd.factorize(labels(given, keep_missing=True).to_numpy(dtype=object))
    if len(codes) != len(names):
        raise SaeInputError(f"There are {len(names)} areas, but {len(codes)} labels of their groups.")
    outside = codes < 0
    if outside.any():
        raise SaeInputError(
            f"{int(outside.sum())} of {len(names)} areas belong to no group: {name_some(names[outside])}.",
            hint=f"Give every area the label of its group{f' in {lead.strip()}' if lead else ''}.",
            areas=names[outside],
        )
    figures = figures_by_label(targets, "target")
    known = [level for level in levels if level in figures]
    target = _figures(known, list(levels), figures, "target")
    error = (
        np.zeros(len(known))
        if variance is None
        else _figures(known, known, figures_by_label(variance, "target variance"), "target variance")
    )
    if (error < 0).any():
        raise SaeInputError(
            f"The target variance of {name_some(np.array(known, object)[error < 0])} is negative."
        )
    sizes = np.bincount(codes, minlength=len(levels))
    left = {f"{lead}{level}": int(n) for level, n in zip(levels, sizes, strict=True) if level not in figures}
    order = {level: k for k, level in enumerate(known)}
    place = np.array([order.get(level, -1) for level in levels], dtype=np.intp)
    codes = place[codes]
    rows = np.flatnonzero(codes >= 0)
    used, codes = weights[rows], codes[rows]
    if mean:
        with np.errstate(divide="ignore", invalid="ignore"):  # weights of 0 are named by whoever asked
            used = used / np.bincount(codes, used, minlength=len(known))[codes]
    matrix = sparse.csr_array((used, (rows, codes)), shape=(len(names), len(known)))
    return Constraints(matrix, target, error, tuple(f"{lead}{label}" for label in known), left)


def figures_by_label(figures: Any, what: str) -> dict[str, Any]:
    """Return figures by the text of their label.

    Raises
    ------
    SaeSpecError
        If they are no mapping, or there are none.
    SaeInputError
        If a label stands twice, as 1 and "1" do.
    """
    if not isinstance(figures, Mapping | pd.Series) or not len(figures):
        raise SaeSpecError(
            f"The {what}s are {str(figures)[:60]!r}, not figures by label.",
            hint="Give a mapping of label to figure.",
        )
    if isinstance(figures, Mapping) and all(isinstance(key, str) and key.isascii() for key in figures):
        return {str(key): value for key, value in figures.items()}
    column = labels(pd.Series(list(figures.keys()), dtype="object"), keep_missing=True)
    if column.isna().any():
        raise SaeInputError(
            f"A label of the {what}s is missing.", hint=f"Give every {what} the label of its group or domain."
        )
    twice = list(column[column.duplicated()])
    if twice:
        raise SaeInputError(
            f"A {what} is given twice for {name_some(dict.fromkeys(twice))}.",
            hint="Give one figure for each label.",
            areas=twice,
        )
    values = figures.values() if isinstance(figures, Mapping) else figures.array
    return dict(zip(column, values, strict=True))


def _figures(groups: list[str], levels: list[str], figures: Mapping[str, Any], what: str) -> np.ndarray:
    """Return the figures of `groups`, of the `levels` that there are."""
    known = set(levels)
    unused = [label for label in figures if label not in known]
    without = [group for group in groups if group not in figures]
    if without or unused:
        parts = [f"no {what} is given for {name_some(without)}"] if without else []
        parts += [f"no area belongs to {name_some(unused)}"] if unused else []
        raise SaeInputError(
            f"{what.capitalize()}s and groups do not match: {'; '.join(parts)}.",
            hint=f"The groups are {name_some(levels, 15)}: give a {what} by these labels.",
            areas=without or unused,
        )
    return np.array([figure(figures[group], f"The {what} of {group}") for group in groups], dtype=float)


def figure(value: Any, what: str) -> float:
    """Return a finite number, or name what it should be: "The target of AT"."""
    if value is None or value is pd.NA or (isinstance(value, Real) and value != value):
        raise SaeInputError(f"{what} is missing.", hint="Give its figure.")
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else np.nan
    except OverflowError:
        number = np.nan
    if not np.isfinite(number):
        raise SaeInputError(
            f"{what} is {str(value)[:40]!r}, which is no finite number.", hint="Give a number, such as 0.583."
        )
    return number


def independent(constraints: Constraints, *, soft: bool = False) -> Constraints:
    """Return the constraints less those that follow from others, such as a nation from all its regions.

    The smaller groups are taken first, so that what is left out is the larger whole. Of `soft` constraints
    only those whose figure is exact can follow from others.

    Raises
    ------
    SaeInputError
        If a figure that follows from others differs from what they say; names it, them, and the difference.
    """
    S = sparse.csc_array(constraints.weights)
    if (np.diff(constraints.weights.indptr) <= 1).all():
        return constraints  # no area in two groups: nothing follows from anything
    sizes = np.sqrt(np.asarray(S.multiply(S).sum(axis=0)))
    gram = (S.T @ S).toarray() / np.outer(sizes, sizes)
    weighed = (constraints.variance > 0) & soft
    order = np.argsort(np.diff(S.indptr), kind="stable")
    order = order[~weighed[order]]
    kept: list[int] = []
    factor = np.zeros((len(order), len(order)))  # Cholesky factor of the Gram matrix of those kept
    for k in order:
        m = len(kept)
        row = _solve(factor[:m, :m], gram[kept, k])
        rest = gram[k, k] - row @ row
        if rest > 1e-10:
            factor[m, :m], factor[m, m] = row, np.sqrt(rest)
            kept.append(int(k))
            continue
        share = _solve(factor[:m, :m], row, transposed=True) * sizes[k] / sizes[kept]
        _check_agreement(constraints, int(k), kept, share)
    return constraints.take(np.sort([*kept, *np.flatnonzero(weighed)]))


def _solve(factor: np.ndarray, right: np.ndarray, *, transposed: bool = False) -> np.ndarray:
    from scipy.linalg import solve_triangular

    return solve_triangular(factor, right, lower=True, trans=int(transposed)) if len(right) else right


def _check_agreement(constraints: Constraints, k: int, kept: list[int], share: np.ndarray) -> None:
    target = constraints.target
    implied = float(share @ target[kept])
    size = abs(target[k]) + float(np.abs(share) @ np.abs(target[kept]))
    if abs(target[k] - implied) <= AGREEMENT * size:
        return
    parts = [constraints.labels[j] for j, s in zip(kept, share, strict=True) if abs(s) > 1e-9]
    whole = constraints.labels[k]
    raise SaeInputError(
        f"The target of {whole} is {target[k]:.10g}, but those of {name_some(parts, _SHOWN)} "
        f"make it {implied:.10g}: {target[k] - implied:+.3g} too "
        f"{'much' if target[k] > implied else 'little'}.",
        hint=f"Make the figures agree, or leave out {whole}: it follows from the others.",
        areas=(whole, *parts),
    )


def unreachable(
    constraints: Constraints, low: np.ndarray, high: np.ndarray, range_text: str
) -> SaeInputError | None:
    """Return the error that names the constraints which no estimates between `low` and `high` can meet.

    Parameters
    ----------
    constraints : Constraints
    low, high : ndarray of float, shape (n_areas,)
        Range of every area; both ends are excluded where they differ.
    range_text : str
        The range as text, such as "between 0 and 1".

    Returns
    -------
    SaeInputError or None
        None where the constraints can be met.
    """
    from scipy.optimize import linprog

    S, t = constraints.weights, constraints.target
    parts = S.T @ np.where(np.isfinite(high), high, 0.0)
    limits = S.T @ low, np.where(S.T @ np.where(np.isfinite(high), 0.0, 1.0) > 0, np.inf, parts)
    alone = ~((t > limits[0]) & (t < limits[1]))
    if alone.any():
        k = int(np.flatnonzero(alone)[0])
        names = [constraints.labels[j] for j in np.flatnonzero(alone)]
        return SaeInputError(
            f"The target of {name_some(names)} cannot be met by areas {range_text}: it is {t[k]:.6g}, "
            f"where only figures between {limits[0][k]:.6g} and {limits[1][k]:.6g} can be reached.",
            hint="Check that targets, weights and estimates are on the same scale.",
            areas=names,
        )
    # min Σ (over + under) subject to S'y + under - over = t: the prices say which figures collide
    scale = np.maximum(np.abs(t), 1e-300)
    K, n = len(t), len(low)
    eye = sparse.identity(K, format="csr")
    matrix = sparse.hstack([sparse.diags_array(1 / scale) @ S.T, eye, -eye], format="csr")
    cost = np.r_[np.zeros(n), np.ones(2 * K)]
    ends = np.column_stack([np.r_[low, np.zeros(2 * K)], np.r_[high, np.full(2 * K, np.inf)]])
    answer = linprog(cost, A_eq=matrix, b_eq=t / scale, bounds=ends, method="highs")
    if answer.status == 0 and answer.fun > 1e-12:
        miss = (answer.x[n : n + K] - answer.x[n + K :]) * scale
        names = [constraints.labels[k] for k in np.flatnonzero(np.abs(answer.eqlin.marginals) > 1e-9)]
        worst = int(np.argmax(np.abs(miss) / scale))
        return SaeInputError(
            f"The targets of {name_some(names, _SHOWN)} cannot all be met by areas {range_text}: whoever "
            f"meets the others misses {constraints.labels[worst]} by {abs(miss[worst]):.3g}.",
            hint="Check these figures, or leave one of them out.",
            areas=names,
        )
    return None
