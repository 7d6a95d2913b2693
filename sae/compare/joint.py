"""Figures with their joint error, from a fit or from a table: what every comparison starts from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy

from sae.compare.segregation_table import Segregation
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.inference.joint_error import JointError
from sae.numerics.random.streams import normals, stream_keys
from sae.results import Result
from sae.results.draws import IntervalDraws, PosteriorDraws, SumEnds
from sae.tables import DirectEstimates, EstimateTable, labels, to_numbers

__all__ = ["Figures", "figures_of"]

_TOTAL = "total"  # of a group column, in a row over all of its groups


@dataclass(frozen=True, eq=False)
class Figures:
    """Estimates of rows with their joint error.

    Attributes
    ----------
    rows : DataFrame
        What tells the rows apart, and `publishable` where it is known.
    estimate : ndarray of float, shape (m,)
    joint : JointError
    truths : callable
        Number of draws and seed to joint draws of the true values, shape (n, m).
    frame : DataFrame
        The rows with all that their table says of them.
    parts : tuple of str
        Columns of it that together name a row: the groups or the domain, indicator and period.
    freedom : callable
        Weights of sums, shape (S, m), to the degrees of freedom of their errors, shape (S,).
    ends : callable
        Weights, mean squared errors and level to the intervals of sums, as `Result.sums` has them.
    below : callable or None
        Weights and bounds to the probability that the true sums lie below, where the intervals are quantiles
        of a posterior (`IntervalDraws.below`); else they are Student's t or normal.
    level : float
        That of the intervals of the table.
    provenance : mapping
        Of direct estimates, where there are any.
    notes : tuple of str
    apart : tuple of str
        Columns of `rows` whose values are never put together: indicator, period, and those whose rows count
        the same persons again.
    """

    rows: pd.DataFrame
    estimate: np.ndarray
    joint: JointError
    truths: Callable[[int, int], np.ndarray]
    frame: pd.DataFrame
    parts: tuple[str, ...]
    freedom: Callable[[scipy.sparse.csr_array], np.ndarray]
    ends: Callable[[scipy.sparse.csr_array, np.ndarray, float], SumEnds]
    below: Callable[[scipy.sparse.csr_array, np.ndarray], np.ndarray] | None = None
    level: float = 0.95
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    apart: tuple[str, ...] = ("indicator", "time")

    @property
    def names(self) -> list[str]:
        """The rows in words, one name each."""
        parts = [labels(self.rows[name]).tolist() for name in self.rows if name != "publishable"]
        return [" / ".join(part) for part in zip(*parts, strict=True)]

    def errors(self, n: int, seed: int) -> np.ndarray:
        """Return draws of normal errors with the joint covariance, shape (n, m)."""
        z = normals(stream_keys(seed, "comparison, area", self.names), 0, n)
        shared = [str(column) for column in range(self.joint.shared.shape[1])]
        return self.joint.draw(z, normals(stream_keys(seed, "comparison, shared", shared), 0, n))

    def factors(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the variances of some rows, and two factors of the covariances between them."""
        joint = self.joint
        shared = joint.shared[rows]
        shared = shared[:, np.unique(shared.indices)].toarray()
        if not joint.left.shape[1]:
            return joint.mse()[rows], shared, shared
        tied = np.unique(np.concatenate([joint.left[rows].indices, joint.right[rows].indices]))
        gram = (joint.right[:, tied].T @ joint.right[:, tied]).toarray()
        left = joint.left[rows][:, tied].toarray()
        own = joint.right[rows][:, tied].toarray() * joint.scale[rows, None]
        return (
            joint.mse()[rows],
            np.hstack([own, left, left @ gram, shared]),
            np.hstack([left, own, left, shared]),
        )


def figures_of(
    data: Result | EstimateTable | DirectEstimates | Segregation | pd.DataFrame,
    *,
    estimate: str = "estimate",
    se: str = "se",
    domain: str = "domain",
    also: Sequence[str] = (),
) -> Figures:
    """Return the figures of a fit, of a table, or of a frame of one's own.

    A fit has its one source of joint uncertainty; direct estimates have their covariance where it was asked
    for. The errors of other tables count as independent, and the notes say so. A direct estimate without a
    variance, or with one of 0, counts as no figure.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates, Segregation or DataFrame
    estimate, se, domain : str
        Columns of a frame of one's own.
    also : sequence of str
        Columns of such a frame that tell its rows apart, beside the domain, indicator and period.

    Raises
    ------
    SaeSpecError
        If a column is missing.
    SaeInputError
        If a row stands twice, or an estimate has no standard error.
    """
    if isinstance(data, Result):
        return _of_fit(data)
    if isinstance(data, DirectEstimates):
        return _of_direct(data)
    if isinstance(data, EstimateTable):
        made = _of_table(data.frame, data.groups)
        return replace(made, apart=("indicator", "time", *_overlapping(data)))
    if isinstance(data, Segregation):
        return _of_segregation(data)
    if not isinstance(data, pd.DataFrame):
        raise SaeSpecError(
            f"A comparison takes a fit, a table of estimates or a frame, not {type(data).__name__}.",
            hint="Give what fit(...) or sae.direct(...) returns.",
        )
    lost = [name for name in (domain, estimate, se, *also) if name not in data]
    if lost:
        raise SaeSpecError(
            f"The frame has no column {name_some(lost)}.",
            hint=f"It has {name_some(data, 20)}; name them by domain=, estimate= and se=.",
        )
    names = {"domain": domain, "estimate": estimate, "se": se}
    frame = data.assign(**{name: data[column] for name, column in names.items()})
    more = [name for name in ("indicator", "time") if name in frame]
    return _of_table(frame, ("domain", *also) if also else (), more)


def _overlapping(table: EstimateTable) -> list[str]:
    """Return the group columns whose rows count the same persons again: levels, and groups with a total."""
    again = {name: name == "level" or _TOTAL in set(labels(table[name])) for name in table.groups}
    return [name for name, one in again.items() if one and table[name].nunique() > 1]


def _of_fit(fit: Result) -> Figures:
    frame = fit.estimates.frame
    names = [str(name) for name in fit.row_names()]
    summary, freedom = fit.diagnostics, np.inf
    if {"sampled", "coefficients"} <= set(summary) and not isinstance(fit.source, PosteriorDraws):
        least = float((summary["sampled"] - summary["coefficients"]).min())
        freedom = least if least >= 1 else np.inf
    rows = _rows(frame, names)
    return Figures(
        rows,
        frame["estimate"].to_numpy(dtype=float),
        fit.joint,
        lambda n, seed: fit.draws(n, seed=seed).values,
        frame.reset_index(drop=True),
        _parts(rows),
        lambda weights: np.full(weights.shape[0], freedom),
        lambda weights, _, level: fit.sums(weights, freedom, level)[2],
        fit.source.below if isinstance(fit.source, IntervalDraws) and not fit.benchmarks else None,
        level=fit.spec.level,
        provenance=fit.provenance.get("direct", {}),
        notes=(f"joint error: {fit.source.joint}",),
        apart=("indicator", "time", *fit.spec.overlapping),
    )


def _of_direct(data: DirectEstimates) -> Figures:
    frame = data.frame
    values, error = to_numbers(frame, "estimate"), to_numbers(frame, "se")
    bare = np.isfinite(values) & ~(error > 0)
    frame = frame.assign(
        estimate=np.where(bare, np.nan, values),
        unit=labels(frame["indicator"]).map(dict(data.units)).fillna("").to_numpy(),
    )
    covariance = data.covariance
    root = None if covariance is None else _root(covariance.to_numpy(dtype=float))
    made = _of_table(frame, data.by, root=root)
    notes = made.notes if root is None else ("joint error: covariances of the direct estimates",)
    if bare.any():
        names = name_some(labels(frame["domain"][bare]))
        notes += (f"{int(bare.sum())} estimates without a variance above 0 count as no figure: {names}",)
    level = float(data.provenance.get("level", 0.95))
    return replace(made, level=level, provenance=data.provenance, notes=notes)


def _of_segregation(data: Segregation) -> Figures:
    away = data.replicates - data.replicates.mean(axis=0)
    root = np.nan_to_num(away / np.sqrt(len(away) - 1.0)).T
    made = _of_table(
        data.frame,
        ("domain", "group"),
        [name for name in ("indicator", "time") if name in data.frame],
        root=scipy.sparse.csr_array(root),
        joint="covariance of the replicates",
    )
    return replace(made, level=data.level)


def _of_table(
    frame: pd.DataFrame,
    groups: Sequence[str],
    several: Sequence[str] | None = None,
    root: scipy.sparse.csr_array | None = None,
    joint: str = "design covariance",
) -> Figures:
    if several is None:
        several = [name for name in ("indicator", "time") if frame[name].nunique() > 1]
    keys = ["domain", *(name for name in groups if name not in ("domain", *several)), *several]
    rows = _rows(frame, keys)
    values, error = to_numbers(frame, "estimate"), to_numbers(frame, "se")
    bad = np.isfinite(values) & ~(error >= 0)
    if bad.any():
        names = labels(frame.loc[bad, "domain"])
        raise SaeInputError(
            f"{int(bad.sum())} of {len(frame)} estimates have no standard error: {name_some(names)}.",
            hint="Leave these rows out, or give their standard error.",
            areas=list(names),
        )
    error = np.where(np.isfinite(values), error, 0.0)
    if root is None:
        together, name = JointError.of_fits(error**2, [np.zeros((1, len(error)))]), "independent errors"
        notes = ("the errors of the estimates count as independent of each other",)
    else:
        together, name = JointError.of_root(root, error**2), joint
        notes = (f"joint error: {joint}",)
    free = to_numbers(frame, "df") if "df" in frame else np.full(len(frame), np.inf)

    def freedom(weights: scipy.sparse.csr_array) -> np.ndarray:
        return _satterthwaite(weights, error**2, free)

    def ends(weights: scipy.sparse.csr_array, mse: np.ndarray, level: float) -> SumEnds:
        df = freedom(weights)
        half = scipy.special.stdtrit(df, 0.5 + 0.5 * level) * np.sqrt(mse)
        kind = "t" if np.isfinite(df).any() else "normal"
        texts = (np.full(len(mse), text, dtype=object) for text in (f"{kind} on the {name}", name))
        return SumEnds(weights @ values - half, weights @ values + half, *texts)

    made = Figures(
        rows,
        values,
        together,
        lambda n, seed: values + made.errors(n, seed),
        frame.reset_index(drop=True),
        _parts(rows),
        freedom,
        ends,
        notes=notes,
    )
    return made


def _parts(rows: pd.DataFrame) -> tuple[str, ...]:
    """Return what names a row: groups in the place of the domain where that is made of them."""
    texts = pd.DataFrame({str(name): labels(rows[name]).to_numpy() for name in rows if name != "publishable"})
    several = [name for name in ("indicator", "time") if name in texts]
    groups = [
        str(name)
        for name in texts
        if name not in ("domain", *several) and not any(texts[name].equals(texts[one]) for one in several)
    ]
    if not groups:
        return ("domain", *several)
    sizes = {len(texts[names].drop_duplicates()) for names in (groups, ["domain"], ["domain", *groups])}
    return (*groups, *several) if len(sizes) == 1 else ("domain", *groups, *several)


def _satterthwaite(weights: scipy.sparse.csr_array, variance: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of sums from those of their parts (Satterthwaite 1946)."""
    part = scipy.sparse.csr_array(weights.multiply(weights).multiply(variance[None, :]))
    known = np.divide(1.0, freedom, out=np.zeros(len(freedom)), where=freedom > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        made = np.asarray(part.sum(axis=1)).ravel() ** 2 / (part.multiply(part).tocsr() @ known)
    return np.where(np.isnan(made), np.inf, made)


def _root(covariance: np.ndarray) -> scipy.sparse.csr_array:
    """Return a root of a covariance matrix, rows without one being 0."""
    known = np.where(np.isfinite(covariance), covariance, 0.0)
    values, vectors = np.linalg.eigh(known)
    return scipy.sparse.csr_array(vectors * np.sqrt(np.maximum(values, 0.0)))


def _rows(frame: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    rows = frame[list(keys)].reset_index(drop=True)
    twice = rows[rows.duplicated()]
    if len(twice):
        raise SaeInputError(
            f"{name_some(labels(twice[keys[0]]))} stand more than once in the table.",
            hint="Give one row per area, or the column that tells the rows apart.",
        )
    if "publishable" in frame:
        rows = rows.assign(publishable=frame["publishable"].to_numpy())
    return rows
