"""Areas that several sources estimate, read, checked and fitted: the biases of all sources but one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from sae.area_level.arrays import AreaArrays, joined, model_scale, refuse_unit
from sae.area_level.reading import complete_rows
from sae.area_level.rows import AreaRows, checked, each_fit, plain, taken
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.fay_herriot.fit import FayHerriotFits
from sae.numerics.fay_herriot.mse import Predictions
from sae.numerics.fay_herriot.sources import (
    SourceProblem,
    fit_sources,
    predict_sources,
    reduce_sources,
    source_posterior,
)
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, SPARE
from sae.numerics.inference.transforms import TRANSFORMS
from sae.results import FEW_AREAS, Interval, IntervalKind, Message, t_interval
from sae.tables import DirectEstimates, cv_of, label_text, pandas_frame, require
from sae.tables.labels import text_of
from sae.tables.texts import Texts

__all__ = ["SourceRows", "Sources", "check_column", "check_sources", "read_sources"]

_FLAT = (("flat-variance", FLAT_VARIANCE), ("flat-sd", FLAT_SD))  # as of `area_intervals`


def check_column(data: Any, source: str) -> None:
    """Refuse data without the column of the sources, or direct estimates that have one row for all."""
    if not isinstance(data, DirectEstimates):
        require(pandas_frame(data, "The data"), [source], role="(of source=)")
    elif source not in data.by:
        raise SaeInputError(
            f"The direct estimates have no rows by {source!r} (of source=).",
            hint=f"Their rows are by {name_some(data.by)}; sae.combine makes one table of several surveys.",
            column=source,
        )


def check_sources(source: str, reference: str, refused: dict[str, bool]) -> None:
    """Refuse options that have no meaning with several sources, or without them."""
    if not source:
        if reference:
            raise SaeSpecError(
                f'reference="{reference}" names a source, but source= names no column of them.',
                hint='Write source="survey", the column that holds it.',
            )
        return
    for option, bad in refused.items():
        if bad:
            raise SaeSpecError(
                f'{option} has no meaning with source="{source}".',
                hint='Several sources are fitted by method="reml" or "ml" on the scale of the data, with the '
                "analytical MSE and independent area effects.",
            )


@dataclass(frozen=True, eq=False)
class SourceRows:
    """Direct estimates of several sources, and the areas that they are about.

    Attributes
    ----------
    areas : AreaRows
        One row per area, those without a sample included; direct estimates are precision-weighted means over
        the sources, their biases still in them.
    rows : AreaRows
        One row per area and source.
    vardir : ndarray of float, shape (n_rows,)
        Sampling variances of the rows; read only where they are sampled.
    area, code : ndarray of int, shape (n_rows,)
        Place of each row among the areas, and of its source among `labels`.
    column : str
        Name of the column of the sources.
    labels : tuple of str
        The sources, first the reference, which has no bias.
    """

    areas: AreaRows
    rows: AreaRows
    vardir: np.ndarray
    area: np.ndarray
    code: np.ndarray
    column: str
    labels: tuple[str, ...]

    @property
    def fits(self) -> pd.DataFrame:
        """One row per fit with the values that name it."""
        return self.areas.fits

    def keep(self, fits: Collection[int]) -> SourceRows:
        """Return the rows of some of the fits."""
        chosen = np.isin(self.areas.fit, sorted(fits))
        place, kept = np.cumsum(chosen) - 1, np.flatnonzero(chosen[self.area])
        rows = self.rows
        part = replace(
            rows,
            columns={name: taken(values, kept) for name, values in rows.columns.items()},
            covariates=rows.covariates.iloc[kept].reset_index(drop=True),
            names=rows.names[kept],
            labels=rows.labels[kept],
            **{name: getattr(rows, name)[kept] for name in ("direct", "vardir", "n_eff", "sampled", "fit")},
        )
        return replace(
            self,
            areas=self.areas.keep(fits),
            rows=part,
            vardir=self.vardir[kept],
            area=place[self.area[kept]],
            code=self.code[kept],
        )


def read_sources(rows: AreaRows, per: Sequence[str], source: str, reference: str) -> SourceRows:
    """Take the rows of every area together.

    Parameters
    ----------
    rows : AreaRows
        Read with the columns `per` and `source` as those of the fits.
    per : sequence of str
    source : str
        Column whose labels are the sources.
    reference : str
        The source without a bias; the one with most records where it is "".

    Raises
    ------
    SaeInputError
        If a sampling variance is not positive, the reference is not among the sources, or the records are not
        known that would tell it.
    """
    _, vardir = model_scale(rows, TRANSFORMS["identity"])
    texts = np.array([label_text(value) for value in rows.fits[source]], dtype=object)[rows.fit]
    labels = _ordered(rows, texts, source, reference)
    code = np.array([labels.index(text) for text in texts])
    groups = [name for name in rows.groups if name != source]
    columns = {name: values for name, values in rows.columns.items() if name != source}
    if rows.from_direct:
        parts = [text_of(pd.Series(plain(columns[name])), keep_missing=True) for name in groups]
        named = [part for part in parts if part != columns["time"]]
        columns["domain"] = Texts.rows(named, " / ") if named else Texts.same("all", len(texts))
        if list(columns["geo"]) == list(texts):  # the first of the columns was that of the sources
            columns["geo"] = named[0] if named else Texts.same("", len(texts))
    columns["time"] = _shared_period(columns["time"], code, rows.sampled)
    grouped = [text_of(pd.Series(plain(columns[name])), keep_missing=True) for name in groups]
    key = Texts.rows([columns["domain"], columns["time"], *grouped], "\x1f")
    area, _ = pd.factorize(key.strings)
    _, first = np.unique(area, return_index=True)
    columns = {name: taken(values, first) for name, values in columns.items()}
    on = np.flatnonzero(rows.sampled)
    weight = np.bincount(area[on], 1.0 / vardir[on], len(first))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(area[on], rows.direct[on] / vardir[on], len(first)) / weight
        within = 1.0 / weight
    for name in ("n", "n_eff"):
        together = np.bincount(area[on], rows.columns[name][on], len(first))
        columns[name] = np.where(weight > 0, together, columns[name])
    names = [name for name in columns if name not in ("unit", "direct", "direct_se", "direct_cv")]
    areas = complete_rows(
        {name: columns[name] for name in names},
        rows.fits[list(per)].iloc[rows.fit[first]].reset_index(drop=True),
        rows.covariates.iloc[first].drop(columns=source),
        mean,
        np.where(weight > 0, within, np.nan),
        np.sqrt(np.where(weight > 0, within, np.nan)),
        unit=rows.columns["unit"],
        groups=tuple(groups),
        provenance=rows.provenance.get("direct", {}),
        from_direct=rows.from_direct,
    )
    return SourceRows(areas, rows, vardir, area, code, source, labels)


def _shared_period(time: Texts | str, code: np.ndarray, sampled: np.ndarray) -> Texts | str:
    """Return the period of the areas: where every source has one period, a quarter and a year, say, both."""
    if isinstance(time, str):
        return time
    periods = pd.Series(plain(time))
    known = periods[sampled]
    if known.nunique() < 2 or known.groupby(code[sampled]).nunique().max() > 1:
        return time
    return Texts.same(" / ".join(sorted(known.unique())), len(periods))


def _ordered(rows: AreaRows, texts: np.ndarray, source: str, reference: str) -> tuple[str, ...]:
    """Return the sources with a direct estimate, the reference first."""
    on = rows.sampled
    labels = list(dict.fromkeys(texts[on]))
    if reference and reference not in labels:
        raise SaeInputError(
            f"No direct estimate is of the source {reference!r}.",
            hint=f"The sources of {source} are {name_some(labels)}.",
            column=source,
        )
    if len(labels) > 1 and not reference:
        sizes = {label: float(rows.columns["n"][on & (texts == label)].sum()) for label in labels}
        first = [label for label, size in sizes.items() if size == max(sizes.values())]
        if len(first) > 1 or not np.isfinite(list(sizes.values())).all():
            shown = [
                f"{label} ({size:g})" if size > 0 else f"{label} (unknown)" for label, size in sizes.items()
            ]
            raise SaeInputError(
                f"It is not known which source of {source} has most records: {name_some(shown)}.",
                hint='Name the one without a bias with reference=, or give the records in the column "n".',
                column=source,
            )
        reference = first[0]
    unseen = [label for label in dict.fromkeys(texts) if label not in labels]  # of areas without a sample
    return tuple(sorted(labels, key=lambda label: label != reference)) + tuple(unseen)


@dataclass(frozen=True, eq=False)
class Sources:
    """The fits of `SourceRows`.

    Attributes
    ----------
    rows : SourceRows
    areas : AreaArrays
        One row per area with its covariates.
    arrays : AreaArrays
        The same with the share of each source but the reference in the weighted mean.
    problems : tuple of SourceProblem
        One per fit.
    both : tuple of int
        In each fit, the areas with more than one source.
    fits : FayHerriotFits
    method : {"reml", "ml"}
    """

    rows: SourceRows
    areas: AreaArrays
    arrays: AreaArrays
    problems: tuple[SourceProblem, ...]
    both: tuple[int, ...]
    fits: FayHerriotFits
    method: str

    @classmethod
    def build(cls, rows: SourceRows, covariates: str, method: str) -> Sources:
        """Build the design, check that the biases can be told, and fit.

        Raises
        ------
        SaeInputError
            If covariates differ between the sources of an area, no area has the sources whose biases are to
            be estimated (they are counted), or a fit has no more areas than coefficients.
        """
        areas = AreaArrays.build(rows.areas, TRANSFORMS["identity"], covariates)
        refuse_unit(areas)
        place = areas.in_order[rows.area]
        checked(rows, lambda some: _check_covariates(some, covariates))
        known = [label for k, label in enumerate(rows.labels) if (rows.code[rows.rows.sampled] == k).any()]
        biased = np.eye(len(rows.labels))[rows.code][:, 1 : len(known)]
        shares = np.zeros((len(areas.y), len(known) - 1))
        problems, both = dict[int, SourceProblem](), dict[int, int]()

        def reduce(k: int) -> None:
            here = np.flatnonzero(rows.rows.sampled & (rows.areas.fit[rows.area] == k))
            inside, compact = np.unique(place[here], return_inverse=True)
            both[k] = _check_linked(compact, rows.code[here], known, rows.areas.where(k))
            problems[k] = reduce_sources(
                rows.rows.direct[here], rows.vardir[here], areas.X[place[here]], biased[here], compact
            )
            shares[inside] = problems[k].X[areas.X.shape[1] :].T

        each_fit(len(rows.fits), reduce)
        biases = [f"{rows.column}[{label}]" for label in known[1:]]
        design = replace(areas.design, columns=(*areas.design.columns, *biases))
        arrays = replace(areas, X=np.column_stack([areas.X, shares]), design=design)
        p = arrays.X.shape[1]

        def enough(k: int) -> None:
            if len(areas.inside[k]) <= p:
                raise SaeInputError(
                    f"{p} coefficients, biases of the sources included, need {p + 1} areas with a direct "
                    f"estimate; there are {len(areas.inside[k])}{rows.areas.where(k)}.",
                    hint="Use fewer covariates.",
                )

        each_fit(len(rows.fits), enough)
        chosen = tuple(problems[k] for k in range(len(rows.fits)))
        parts = [fit_sources(problem, method) for problem in chosen]
        names = ("variance", "coefficients", "root", "loglik", "maxima")
        fits = FayHerriotFits(
            *(np.concatenate([getattr(part, name) for part in parts], axis=1) for name in names)
        )
        return cls(rows, areas, arrays, chosen, tuple(both[k] for k in range(len(chosen))), fits, method)

    @property
    def biased(self) -> slice:
        """Places of the biases among the coefficients."""
        return slice(self.areas.X.shape[1], None)

    def _designs(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Designs of the means and of the areas of a fit, transposed."""
        X = self.arrays.columns(self.arrays.blocks[k])
        target = X.copy()
        target[self.biased] = 0.0
        return X, target

    def predict(self, k: int) -> Predictions:
        """Predict the areas of a fit."""
        areas = self.arrays.blocks[k]
        return predict_sources(
            float(self.fits.variance[0, k]),
            self.fits.coefficients[0, k],
            self.fits.root[0, k],
            self.arrays.y[areas],
            self.arrays.D[areas],
            *self._designs(k),
            self.arrays.sampled[areas],
            self.method,
        )

    def interval(self, k: int, part: Predictions, level: float) -> Interval:
        """Intervals of the areas of a fit: on the MSE or from the exact posterior, as `area_intervals`."""
        areas, m, p = self.arrays.blocks[k], len(self.areas.inside[k]), self.arrays.X.shape[1]
        if m >= FEW_AREAS and self.fits.variance[0, k] > 0.0:
            return t_interval(part.estimate, part.mse, m - p, level)
        spare = m - self.areas.X.shape[1]
        for prior, code in _FLAT:
            if spare < SPARE[code]:
                continue
            posterior = partial(
                source_posterior,
                self.problems[k],
                code,
                spare,
                self.arrays.y[areas],
                self.arrays.D[areas],
                *self._designs(k),
                self.arrays.sampled[areas],
            )
            joint = posterior()
            mixture = Mixture(joint.weights, joint.means, np.sqrt(joint.variances))
            low, high = (mixture.quantile(0.5 + side * 0.5 * level) for side in (-1, 1))
            return Interval(low, high, IntervalKind.POSTERIOR, prior, posterior=posterior)
        missing = np.full(len(part.estimate), np.nan)
        return Interval(missing, missing, IntervalKind.NONE)

    @property
    def unbiased(self) -> AreaArrays:
        """The areas with the biases taken out of their weighted means."""
        parts = zip(self.arrays.blocks, self.fits.coefficients[0], strict=True)
        biases = [self.arrays.X[areas, self.biased] @ beta[self.biased] for areas, beta in parts]
        return replace(self.arrays, y=self.arrays.y - joined(biases))

    @property
    def shown(self) -> AreaRows:
        """The areas as the table shows them, direct estimates without the biases of the sources."""
        rows, arrays = self.rows.areas, self.unbiased
        parts = zip(arrays.blocks, self.fits.root[0], strict=True)
        halves = [arrays.X[areas, self.biased] @ root[self.biased] for areas, root in parts]
        spread = (joined(halves) ** 2).sum(axis=1)
        direct = np.where(rows.sampled, arrays.unplaced(arrays.y), np.nan)
        se = np.where(rows.sampled, np.sqrt(arrays.unplaced(arrays.D + spread)), np.nan)
        columns = {"direct": direct, "direct_se": se, "direct_cv": cv_of(se, direct)}
        return replace(rows, columns={**rows.columns, **columns})

    def messages(self) -> list[Message]:
        """Say what tells the biases."""
        column, labels = self.rows.column, self.rows.labels
        if self.arrays.X.shape[1] == self.areas.X.shape[1]:
            return [Message(f"All direct estimates are of one source of {column}: there is no bias to tell.")]
        least = min(self.both)
        several = "at least " if max(self.both) > least else ""
        text = (
            f"Estimates are on the level of {labels[0]}; the biases of the other sources of {column} are "
            f"told by {several}{least} areas that have several."
        )
        return [Message(text)]


def _check_covariates(rows: SourceRows, covariates: str) -> None:
    """Refuse covariates that differ between the sources of an area."""
    arrays = AreaArrays.build(rows.areas, TRANSFORMS["identity"], covariates)
    X = arrays.design.rebuild(rows.rows.covariates, rows.rows.names)
    off = arrays.X[arrays.in_order[rows.area]] != X
    if off.any():
        columns = [name for name, wrong in zip(arrays.design.columns, off.any(axis=0), strict=True) if wrong]
        names = list(dict.fromkeys(rows.areas.names[rows.area[off.any(axis=1)]]))
        raise SaeInputError(
            f"{name_some(columns)} differs between the sources of {len(names)} areas: {name_some(names)}.",
            hint="Covariates belong to the area. Give them in areas=, one row per area.",
            areas=names,
            column=columns[0],
        )


def _check_linked(area: np.ndarray, code: np.ndarray, labels: Sequence[str], where: str) -> int:
    """Return how many areas have several sources; refuse sources that no area links to the reference."""
    if len(labels) == 1:
        return 0
    shape = int(area.max()) + 1, len(labels)
    has = csr_array((np.ones(len(area)), (area, code)), shape=shape)
    counts = has.sum(axis=0).astype(int)
    _, part = connected_components(has.T @ has, directed=False)
    apart = [f"{labels[k]} ({counts[k]} areas)" for k in np.flatnonzero(part != part[0]).tolist()]
    if apart:
        raise SaeInputError(
            f"No area{where} has both {labels[0]} ({counts[0]} areas) and {name_some(apart)}: what tells the "
            "bias of a source is not there.",
            hint="The bias of a source comes from areas, in the same period, that both sources estimate.",
        )
    return int((has.sum(axis=1) > 1).sum())
