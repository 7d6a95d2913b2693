"""What area-level models read: direct estimates with covariates, one row per area, matched by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import pandas as pd

from sae.errors import SaeError, SaeInputError, name_some
from sae.tables import (
    DirectEstimates,
    cv_of,
    join_by_name,
    joined_labels,
    label_text,
    labels,
    pandas_frame,
    require,
    to_numbers,
)
from sae.tables.labels import text_of
from sae.tables.texts import Texts, blank

__all__ = ["ONE_FIT", "AreaRows", "checked", "each_fit", "fit_kept", "plain", "read_rows", "taken"]

T = TypeVar("T")
RowsT = TypeVar("RowsT", bound="FitRows")


class FitRows(Protocol):
    """Rows that belong to one or several fits."""

    @property
    def fits(self) -> pd.DataFrame:
        """One row per fit with the values that name it."""

    def keep(self, fits: Collection[int]) -> Self:
        """Return the rows of some of the fits."""


_SIDES = ("the direct estimates", "the areas")
_TEXTS = ("indicator", "definition", "geo", "time", "domain")  # of the direct estimates
ONE_FIT = pd.DataFrame(index=range(1))  # of a model without `per`: one row without columns


@dataclass(frozen=True, eq=False)
class AreaRows:
    """One row per area, those without a sample included.

    Attributes
    ----------
    columns : mapping
        Columns of the estimate table known before the fit, in arrays, `Texts` or one value for all rows:
        indicator, definition, unit, geo, time, groups, domain, n, n_eff, direct, direct_se, direct_cv.
    covariates : DataFrame
        All columns of the data and of `areas`, on the same rows.
    direct, vardir, n_eff : ndarray of float, shape (n_rows,)
        Direct estimates, sampling variances on the natural scale, effective sample sizes; nan = missing.
    sampled : ndarray of bool, shape (n_rows,)
        Whether the row has a direct estimate.
    fit : ndarray of int, shape (n_rows,)
        Which fit the row belongs to, 0 to F - 1.
    fits : DataFrame
        One row per fit with the values of the `per` columns; one row without columns if there are none.
    names : Texts
        Names of the rows for messages: the domain, with the period where there are several.
    labels : Texts
        Names of the random streams: all that tells a row from every other row of any table.
    groups : tuple of str
        Group columns of the estimate table.
    from_direct : bool
        Whether the data are `DirectEstimates`; else they are a plain frame.
    covariance : DataFrame or None
        Of the direct estimates, by indicator, domain and time, where they have it.
    provenance : mapping
        Where the direct estimates come from, under "direct".
    """

    columns: Mapping[str, Any]
    covariates: pd.DataFrame
    direct: np.ndarray
    vardir: np.ndarray
    n_eff: np.ndarray
    sampled: np.ndarray
    fit: np.ndarray
    fits: pd.DataFrame
    names: Texts
    labels: Texts
    groups: tuple[str, ...]
    from_direct: bool = False
    covariance: pd.DataFrame | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The columns as a frame."""
        columns = {name: plain(values) for name, values in self.columns.items()}
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self.direct)))

    def keep(self, fits: Collection[int]) -> AreaRows:
        """Return the rows of some of the fits."""
        kept = np.flatnonzero(np.isin(self.fit, sorted(fits)))
        place = np.full(len(self.fits), -1)
        place[sorted(fits)] = np.arange(len(fits))
        return replace(
            self,
            columns={name: taken(values, kept) for name, values in self.columns.items()},
            covariates=self.covariates.iloc[kept].reset_index(drop=True),
            direct=self.direct[kept],
            vardir=self.vardir[kept],
            n_eff=self.n_eff[kept],
            sampled=self.sampled[kept],
            fit=place[self.fit[kept]],
            fits=self.fits.iloc[sorted(fits)].reset_index(drop=True),
            names=self.names[kept],
            labels=self.labels[kept],
        )

    def where(self, fit: int) -> str:
        """Name a fit for a message, such as " in 2024Q1"; empty where there is only one."""
        if not len(self.fits.columns):
            return ""
        values = [label_text(value) for value in self.fits.iloc[fit]]
        return f" in {' / '.join(values)}" if values else ""


def taken(values: Any, rows: np.ndarray | slice) -> Any:
    """Return some rows of a column, or the one value of all its rows."""
    return values if isinstance(values, str) else values[rows]


def plain(values: Any) -> Any:
    """Return a column as frames take it."""
    return values.column if isinstance(values, Texts) else values


def each_fit(count: int, check: Callable[[int], object], overall: SaeError | None = None) -> None:
    """Check every fit, and raise the first error with the errors of all fits in its ``fits``.

    Parameters
    ----------
    count : int
        Number of fits.
    check : callable
        Called with the place of a fit; raises what is wrong with it.
    overall : SaeError, optional
        What is wrong with all rows together, to be raised in place of the first error.

    Raises
    ------
    SaeError
        If there is an error.
    """
    errors: dict[int, SaeError] = {}
    for k in range(count):
        try:
            check(k)
        except SaeError as error:
            errors[k] = error
    if overall is None and not errors:
        return
    raised = overall or next(iter(errors.values()))
    raised.fits = errors
    raise raised


def checked(rows: RowsT, check: Callable[[RowsT], T]) -> T:
    """Return ``check(rows)``; what it refuses is looked for in each of several fits alone.

    Raises
    ------
    SaeError
        With the errors of the fits in its ``fits``.
    """
    try:
        return check(rows)
    except SaeError as error:
        several = len(rows.fits) if len(rows.fits) > 1 else 0
        each_fit(several, lambda k: check(rows.keep([k])), error)
        raise


def fit_kept(rows: RowsT, fit: Callable[[RowsT], T]) -> tuple[T, dict[tuple[Any, ...], SaeError]]:
    """Fit all of several fits that can be had; return the result and why the others cannot, by their labels.

    Raises
    ------
    SaeError
        If no fit can be had, or what is wrong is not that of single fits.
    """
    refused: dict[tuple[Any, ...], SaeError] = {}
    while True:
        try:
            return fit(rows), refused
        except SaeError as error:
            keys = list(rows.fits.itertuples(index=False, name=None))
            if not error.fits or len(error.fits) == len(keys):
                raise
            refused |= {keys[k]: reason for k, reason in error.fits.items()}
            rows = rows.keep(set(range(len(keys))) - set(error.fits))


def read_rows(
    data: DirectEstimates | pd.DataFrame,
    areas: pd.DataFrame | None,
    *,
    outcome: str,
    domain: str,
    vardir: str,
    n_eff: str,
    per: Sequence[str],
) -> AreaRows:
    """Bring direct estimates and covariates together by name.

    Parameters
    ----------
    data : DirectEstimates or DataFrame
        Direct estimates; a plain frame has one row per area (and value of `per`).
    areas : DataFrame, optional
        Covariates, joined on every grouping column they have (on `domain` for a plain frame). Areas without
        direct estimates become rows without a sample.
    outcome : str
        Indicator of the table, or column of the plain frame.
    domain, vardir, n_eff : str
        Columns of a plain frame; `n_eff` may be absent.
    per : sequence of str
        Columns whose values get a fit each.

    Raises
    ------
    SaeInputError
        If a column, an indicator or an area's covariates are missing, or an area appears twice.
    """
    if areas is not None:
        areas = pandas_frame(areas, "The areas")
    if isinstance(data, DirectEstimates):
        return _from_direct(data, areas, outcome, per)
    return _from_frame(pandas_frame(data, "The data"), areas, outcome, domain, vardir, n_eff, per)


def _from_direct(
    data: DirectEstimates, areas: pd.DataFrame | None, outcome: str, per: Sequence[str]
) -> AreaRows:
    known = list(dict.fromkeys(data.frame["indicator"]))
    if outcome not in known:
        raise SaeInputError(
            f"The direct estimates have no indicator {outcome!r}.",
            hint=f"The left-hand side of the formula is one of {name_some(known)}.",
            column="indicator",
        )
    by = list(data.by)
    rows = data.frame[data.frame["indicator"] == outcome].reset_index(drop=True)
    _refuse_twice(rows, [*by, "time"], rows["domain"])
    require(rows, per, role="(of per=)")
    covariates = rows
    if areas is not None:
        on = [name for name in by if name in areas]
        if not on:
            raise SaeInputError(
                f"The areas have none of the columns {name_some(by)} that make the domains.",
                hint="Name the column of their labels as it is named in the survey.",
            )
        extra = areas.drop(columns=[name for name in areas if name in by and name not in on])
        covariates, absent = join_by_name(rows[on], extra, on, names=_SIDES)
        if len(absent):
            new = _crossed(absent, rows, by)
            rows = _append_unsampled(rows, new[by], by)
            covariates = pd.concat([covariates, new[list(extra)]], ignore_index=True)
        covariates[on] = rows[on].astype("object")
        others = [name for name in rows if name not in covariates]
        covariates = pd.concat([covariates, rows[others]], axis=1)
    columns = {
        **{name: text_of(rows[name], keep_missing=True) for name in _TEXTS},
        **{name: to_numbers(rows, name) for name in ("n", "n_eff")},
        **{name: rows[name].array for name in by if name not in _TEXTS},
    }
    return _rows(
        columns,
        rows[list(per)],
        covariates,
        to_numbers(rows, "estimate"),
        to_numbers(rows, "vardir"),
        to_numbers(rows, "se"),
        unit=data.units.get(outcome, ""),
        groups=tuple(by),
        provenance={**data.provenance, "log": list(data.log)},
        from_direct=True,
        covariance=data.covariance,
    )


def _crossed(absent: pd.DataFrame, rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Repeat areas without a row for each combination of the columns that only the rows have."""
    others = [name for name in columns if name not in absent]
    return absent.merge(rows[others].drop_duplicates(), how="cross") if others else absent


def _append_unsampled(rows: pd.DataFrame, new: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Add the areas that the direct estimates lack."""
    new = new.astype("object")
    # the period is a grouping column of its own, or one and the same for all rows
    periods = [name for name in by if len(rows) and (labels(rows[name]) == rows["time"]).all()]
    new["time"] = labels(new[periods[0]]) if periods else rows["time"].iloc[0]
    new["geo"] = labels(new[by[0]])
    parts = [name for name in by if name not in periods]
    new["domain"] = joined_labels(new, parts) if parts else "all"
    for name in ("indicator", "definition"):
        new[name] = rows[name].iloc[0]
    new["n"] = 0
    new["status"] = "no sample"
    return pd.concat([rows, new.reindex(columns=rows.columns)], ignore_index=True).astype(
        {name: kind for name, kind in rows.dtypes.items() if not isinstance(kind, pd.CategoricalDtype)}
    )


def _from_frame(
    data: pd.DataFrame,
    areas: pd.DataFrame | None,
    outcome: str,
    domain: str,
    vardir: str,
    n_eff: str,
    per: Sequence[str],
) -> AreaRows:
    rows = data.reset_index(drop=True)
    require(rows, [outcome], role="(the outcome of the formula)")
    require(rows, [domain], role="with the labels of the areas", hint="Name it with domain=.")
    require(rows, per, role="(of per=)")
    if not len(rows):
        raise SaeInputError("The data have no rows.")
    _refuse_blank(rows, [domain, *per])
    if n_eff not in rows:
        require(rows, [vardir], role="with sampling variances", hint="Name it with vardir=.")
    covariates = rows
    if areas is not None:
        on = [domain, *(name for name in per if name in areas)]
        clash = [name for name in areas if name in rows and name not in on]
        covariates, absent = join_by_name(
            rows.drop(columns=clash), areas, on, names=("the data", "the areas")
        )
        if len(absent):
            new = _crossed(absent, rows, per)
            rows = pd.concat([rows, new[[domain, *per]]], ignore_index=True)
            covariates = pd.concat([covariates, new], ignore_index=True)
    names = text_of(rows[domain])
    keys = Texts.rows([names, *(text_of(rows[name]) for name in per)], "\x1f") if per else names
    if not keys.distinct():
        _refuse_twice(rows.assign(**{domain: names.strings}), [domain, *per], names)
    vardirs = to_numbers(rows, vardir, names=names) if vardir in rows else np.full(len(rows), np.nan)
    with np.errstate(invalid="ignore"):
        se = np.sqrt(np.where(vardirs > 0, vardirs, np.nan))
    direct = to_numbers(rows, outcome, names=names)
    missing = np.full(len(rows), np.nan)
    columns = {
        "indicator": outcome,
        "definition": "",
        "geo": names,
        "time": text_of(rows["time"], keep_missing=True) if "time" in rows else "",
        "domain": names,
        "n": _counts(rows, names) if "n" in rows else missing,
        "n_eff": to_numbers(rows, n_eff, names=names) if n_eff in rows else missing,
    }
    columns |= {name: rows[name].array for name in per if name not in columns}
    return _rows(
        columns,
        pd.DataFrame({name: plain(columns[name]) for name in per}),
        covariates,
        direct,
        vardirs,
        se,
        unit="",
        groups=tuple(per),
        provenance={},
        from_direct=False,
    )


def _refuse_blank(rows: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse rows without a label: missing, or nothing but spaces."""
    empty = np.zeros(len(rows), dtype=bool)
    for name in columns:
        column = rows[name]
        if isinstance(column.dtype, pd.StringDtype):
            empty |= blank(Texts.of(column).values)
            continue
        empty |= column.isna().to_numpy()
        if pd.api.types.is_object_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
            empty |= [isinstance(label, str) and not label.strip() for label in column]
    if empty.any():
        raise SaeInputError(
            f"{int(empty.sum())} of {len(rows)} rows have no label in {name_some(columns)}: row "
            f"{name_some(np.flatnonzero(empty) + 1)}.",
            column=columns[0],
        )


def _counts(rows: pd.DataFrame, names: Texts) -> np.ndarray:
    n = to_numbers(rows, "n", names=names)
    if (n < 0).any():
        raise SaeInputError(
            f"n, the number of records, is negative in {name_some(names[n < 0])}.",
            areas=names[n < 0],
            column="n",
        )
    return n


def _rows(
    columns: Mapping[str, Any],
    keys: pd.DataFrame,
    covariates: pd.DataFrame,
    direct: np.ndarray,
    vardir: np.ndarray,
    se: np.ndarray,
    *,
    unit: str,
    groups: tuple[str, ...],
    provenance: Mapping[str, Any],
    from_direct: bool,
    covariance: pd.DataFrame | None = None,
) -> AreaRows:
    """Complete the columns; `keys` hold the columns of `per`."""
    sampled = np.isfinite(direct)
    domain, time = columns["domain"], columns["time"]
    if not sampled.any():
        raise SaeInputError("No area has a direct estimate.", hint="Nothing can be fitted.", column="direct")
    infinite = np.isinf(direct)
    if infinite.any():
        areas = domain[infinite]
        raise SaeInputError(f"The direct estimate is infinite in {name_some(areas)}.", areas=areas)
    with np.errstate(invalid="ignore"):
        # a design variance of 0 says that the few records are alike, not that the figure is certain
        shown = np.where(se > 0, se, np.sqrt(np.where(vardir > 0, vardir, np.nan)))
    shown = np.where(sampled, shown, np.nan)
    fits, fit = ONE_FIT, np.zeros(len(direct), dtype=np.int64)
    extra: list[Texts] = []
    if len(keys.columns):
        fits = _fits(keys)
        place = {key: k for k, key in enumerate(fits.itertuples(index=False, name=None))}
        fit = np.array([place[key] for key in keys.itertuples(index=False, name=None)], dtype=np.int64)
        texts = [text_of(keys[name]) for name in keys]
        extra = [column for column in texts if not _in_labels(domain, column)]
    if not extra and isinstance(time, Texts) and len(time.values.unique()) > 1:
        extra = [time]
    names = Texts.rows([domain, *extra], " / ") if extra else domain
    grouped = [text_of(pd.Series(plain(columns[name])), keep_missing=True) for name in groups]
    streams = Texts.rows([columns["indicator"], columns["geo"], domain, time, *grouped], "\x1f")
    return AreaRows(
        {
            **columns,
            "unit": unit,
            "direct": direct,
            "direct_se": shown,
            "direct_cv": cv_of(shown, direct),
        },
        covariates.reset_index(drop=True),
        direct,
        vardir,
        columns["n_eff"],
        sampled,
        fit,
        fits,
        names,
        streams,
        groups,
        from_direct,
        covariance,
        {"direct": dict(provenance)},
    )


def _fits(keys: pd.DataFrame) -> pd.DataFrame:
    """Return the values of the columns that tell the fits apart, each combination once, in their order."""
    fits, per = keys.drop_duplicates(), list(map(str, keys))
    for name in per:
        values = fits[name].drop_duplicates()
        texts = labels(values)
        twice = texts[texts.duplicated(keep=False)]
        if len(twice):
            raise SaeInputError(
                f"{name} holds {name_some(list(twice.unique()))} as text and as numbers.",
                hint=f"Make the column {name} all text or all numbers.",
                column=name,
            )
        if {isinstance(value, str) for value in values} == {True, False}:
            fits[name] = labels(fits[name]).astype("object")
    return fits.sort_values(per, kind="stable").reset_index(drop=True)


def _in_labels(domains: Texts, column: Texts) -> bool:
    """Whether the labels of the domains hold the values of a column already, as those of a `by` column."""
    return all(value in label.split(" / ")[1:] for label, value in zip(domains, column, strict=True))


def _refuse_twice(rows: pd.DataFrame, keys: list[str], names: Texts | pd.Series) -> None:
    twice = rows.duplicated(keys, keep="first").to_numpy()
    if twice.any():
        areas = list(dict.fromkeys(names[twice]))
        raise SaeInputError(
            f"Areas that appear more than once: {name_some(areas)}.",
            hint="Give one row per area, or one fit per period with per=.",
            areas=areas,
        )
