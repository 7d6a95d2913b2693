"""Domains: every combination of the observed levels of the grouping columns, as codes along the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from warnings import warn

import numpy as np
import pandas as pd

from sae.errors import SaeSpecError, SaeWarning, name_some
from sae.survey import VARIABLES, Survey
from sae.survey.variables import PLACES
from sae.tables import label_text, labels, require
from sae.tables.covariates import year_of
from sae.tables.joins import spelt_twice

__all__ = ["MOST", "Domains", "cross_domains", "place_among", "place_of"]

MOST = 2_000_000  # rows of a crossing: more is a mistaken `by`, not a table


@dataclass(frozen=True, eq=False)
class Domains:
    """The rows of a table of direct estimates.

    Attributes
    ----------
    by : tuple of str
        Grouping columns.
    codes : ndarray of int32, shape (n,)
        Domain of each record; -1 outside the subset or where a grouping column is missing.
    labels : DataFrame
        One row per domain: geo, time, the grouping columns with their own dtypes, domain.
    log : tuple of str
        Records left out for a missing grouping column; levels that a subset has no record of.
    place : str or None
        The grouping column that says where: the first one that is not the period, or, where that is a
        variable of persons such as birth, the first that bears the name of a place; None where none does.
    """

    by: tuple[str, ...]
    codes: np.ndarray
    labels: pd.DataFrame
    log: tuple[str, ...]
    place: str | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def peers(self) -> np.ndarray:
        """Code of each domain's group and period, whatever its place: shape (n_domains,)."""
        shared = [name for name in self.by if name != self.place]
        if self.place is None or not shared:
            return np.zeros(len(self), dtype=np.int64)
        return self.labels.groupby(shared, sort=False, observed=True).ngroup().to_numpy(dtype=np.int64)


def cross_domains(survey: Survey, by: str | Sequence[str]) -> Domains:
    """Cross the observed levels of `by`, in sorted order, empty combinations included.

    Parameters
    ----------
    survey : Survey
    by : str or sequence of str
        Columns of the survey; empty for one domain of all records.

    Raises
    ------
    SaeSpecError
        If a column is unknown or named twice, or the crossing has more than 2 million rows.
    """
    by = (by,) if isinstance(by, str) or not isinstance(by, Sequence) else tuple(by)
    frame = survey.frame
    _check(by, frame)
    used = survey.mask
    parts = [_levels(frame[name], used) for name in by]
    for name, (_, of_column) in zip(by, parts, strict=True):
        pairs = spelt_twice(map(label_text, of_column))
        if pairs:
            shown = name_some(f"{one!r} and {other!r}" for one, other in pairs)
            warn(
                f"{name}: {shown} differ only by zeros in front, spaces or capitals; each is a domain of its "
                "own. If they are one place, spell the codes alike in the records.",
                SaeWarning,
                stacklevel=4,
            )
    unmet = _unmet(survey, by, parts)
    sizes = [len(levels) for _, levels in parts]
    if np.prod(sizes, dtype=float) > MOST:
        counts = ", ".join(f"{name} ({size:,})" for name, size in zip(by, sizes, strict=True))
        raise SaeSpecError(
            f"Crossing {counts} gives more than {MOST:,} domains.",
            hint="Group by columns with fewer levels.",
        )
    codes, log = _crossed(by, parts, len(frame), used)
    log = (*log, *unmet)
    index = np.indices(sizes).reshape(len(sizes), -1) if by else np.zeros((0, 1), int)
    levels = [each for _, each in parts]
    return Domains(by, codes, _labels(survey, by, levels, index, used), log, place_of(survey, by))


def place_of(survey: Survey, by: Sequence[str]) -> str | None:
    """Return the grouping column that says where: see `Domains`.

    Examples
    --------
    >>> frame = pd.DataFrame({"w": 1.0, "sex": ["male", "female"], "region": ["N", "S"]})
    >>> survey = sae.Survey.from_frame(frame, weights="w")
    >>> place_of(survey, ["sex", "region"]), place_of(survey, ["sex"])
    ('region', None)
    """
    return place_among(by, survey.time)


def place_among(by: Sequence[str], time: str | None) -> str | None:
    """Return the grouping column that says where, `time` being that of the periods: see `Domains`."""
    parts = [name for name in by if name != time]
    if parts and parts[0] in VARIABLES:
        return next((name for name in parts if name in PLACES), None)
    return parts[0] if parts else None


def _check(by: tuple[str, ...], frame: pd.DataFrame) -> None:
    odd = [name for name in by if not isinstance(name, str)]
    if odd:
        raise SaeSpecError(f"by names columns of the survey, not {name_some(map(repr, odd))}.")
    require(frame, by, "The survey has", "to group by", error=SaeSpecError)
    if len(set(by)) < len(by):
        raise SaeSpecError(f"A grouping column is named twice: {name_some(by)}.")


def _crossed(
    by: tuple[str, ...],
    parts: list[tuple[np.ndarray, pd.Index]],
    n: int,
    used: np.ndarray | None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Code of every record, -1 outside or where a column has no value, and how many have none."""
    codes = parts[0][0] if parts else np.zeros(n, dtype=np.int32)
    for part, levels in parts[1:]:
        codes = codes * np.int32(len(levels)) + part
    outside = None if used is None else ~used
    log = []
    for name, (part, _) in zip(by, parts, strict=True):
        if not len(part) or part.min() >= 0:
            continue
        missing = part < 0
        count = int(np.sum(missing if used is None else missing & used))
        if count:
            log.append(f"by {name}: {count:,} records have no value and belong to no domain")
        outside = missing if outside is None else outside | missing
    if outside is not None:
        codes = np.where(outside, np.int32(-1), codes)
    return codes, tuple(log)


def _levels(column: pd.Series, used: np.ndarray | None) -> tuple[np.ndarray, pd.Index]:
    """Codes of one column (int32, -1 missing) and its levels observed among the used records, sorted.

    `used` is None where all records are.
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, levels = column.cat.codes.to_numpy(), column.cat.categories
        if not column.cat.ordered and not levels.is_monotonic_increasing:
            order = np.argsort(levels)
            codes, levels = _recode(codes, np.argsort(order)), levels[order]
    else:
        codes, levels = pd.factorize(column, sort=True)
        levels = pd.Index(levels)
    inner = codes if used is None else codes[used]
    seen = np.bincount(inner + np.int64(1), minlength=len(levels) + 1)[1:] > 0  # the first: missing
    if seen.all():
        return codes.astype(np.int32), levels
    return _recode(codes, np.where(seen, np.cumsum(seen) - 1, -1)), levels[seen]


def _unmet(survey: Survey, by: tuple[str, ...], parts: list[tuple[np.ndarray, pd.Index]]) -> tuple[str, ...]:
    """Name the levels of the whole file that a subset has no record of: they are no rows of its table."""
    if survey.mask is None:
        return ()
    lines = []
    for name, (_, levels) in zip(by, parts, strict=True):
        if name == survey.time:
            continue
        _, whole = _levels(survey.frame[name], None)
        gone = [label_text(level) for level in whole.difference(levels)]
        if gone:
            where = "in the subset" if survey.is_subset else "of a weight above 0"
            what = f"{len(gone)} of {len(whole)} levels have no record {where}"
            lines.append(f"by {name}: {what}: {name_some(gone)}")
    return tuple(lines)


def _recode(codes: np.ndarray, new: np.ndarray) -> np.ndarray:
    return np.append(new, -1).astype(np.int32)[codes]  # -1 picks the last entry


def _labels(
    survey: Survey, by: tuple[str, ...], levels: list[pd.Index], index: np.ndarray, used: np.ndarray | None
) -> pd.DataFrame:
    """Return the labels of every domain; `index` holds the place of its level in each column."""
    size = index.shape[1]
    texts = {
        name: labels(of_column).to_numpy(dtype=object)[row]
        for name, of_column, row in zip(by, levels, index, strict=True)
    }
    parts = [name for name in by if name != survey.time]
    place = place_of(survey, by)
    table: dict[str, Any] = {
        "geo": np.full(size, "", dtype=object) if place is None else texts[place],
        "time": texts[survey.time] if survey.time in texts else _periods(survey, texts, size, used),
    }
    for name, of_column, row in zip(by, levels, index, strict=True):
        table.setdefault(name, of_column[row])
    table["domain"] = texts[parts[0]] if parts else np.full(size, "all", dtype=object)
    for name in parts[1:]:
        table["domain"] = table["domain"] + " / " + texts[name]
    return pd.DataFrame(table)


def _periods(survey: Survey, texts: dict[str, np.ndarray], size: int, used: np.ndarray | None) -> np.ndarray:
    """Return the period of the file, or first/last of the pooled ones: of its year, where a row has one."""
    if survey.time is None:
        return np.full(size, "", dtype=object)
    _, levels = _levels(survey.frame[survey.time], used)
    periods = [label_text(level) for level in levels]
    by_year: dict[str, list[str]] = {}
    for period in periods:
        by_year.setdefault(str(year_of(period)), []).append(period)
    for column in texts.values():
        if len(by_year) > 1 and set(column) <= set(by_year):  # a column of the years of the periods
            return np.array([_span(by_year[year]) for year in column], dtype=object)
    return np.full(size, _span(periods), dtype=object)


def _span(periods: list[str]) -> str:
    return "/".join(dict.fromkeys([periods[0], periods[-1]])) if periods else ""
