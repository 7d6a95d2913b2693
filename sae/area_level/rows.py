"""What area-level models read: direct estimates with covariates, one row per area, matched by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables import DirectEstimates
from sae.tables.joins import join_by_name, unmatched

__all__ = ["AreaRows", "read_rows"]

# the columns of the estimate table that come from the direct estimates
_SIDES = ("the direct estimates", "the areas")
_KEPT = ("indicator", "definition", "geo", "time", "domain", "n", "n_eff")


@dataclass(frozen=True, eq=False)
class AreaRows:
    """One row per area, those without a sample included.

    Attributes
    ----------
    table : DataFrame
        Columns of the estimate table known before the fit: indicator, unit, geo, time, groups, domain, n,
        n_eff, direct, direct_se, direct_cv.
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
    names : ndarray of str
        Names of the rows for messages: the domain, with the period where there are several.
    labels : tuple of str
        Names of the random streams: all that tells a row from every other row of any table.
    groups : tuple of str
        Group columns of the estimate table.
    provenance : mapping
        Where the direct estimates come from.
    """

    table: pd.DataFrame
    covariates: pd.DataFrame
    direct: np.ndarray
    vardir: np.ndarray
    n_eff: np.ndarray
    sampled: np.ndarray
    fit: np.ndarray
    fits: pd.DataFrame
    names: np.ndarray
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def where(self, fit: int) -> str:
        """Name a fit for a message, such as " in 2024Q1"; empty where there is only one."""
        values = [str(value) for value in self.fits.iloc[fit]]
        return f" in {' / '.join(values)}" if values else ""


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
    if isinstance(data, DirectEstimates):
        return _from_direct(data, areas, outcome, per)
    if not isinstance(data, pd.DataFrame):
        raise SaeInputError(
            f"Data of type {type(data).__name__} cannot be fitted.",
            hint="Give the result of sae.direct(...), or a DataFrame with one row per area.",
        )
    return _from_frame(data, areas, outcome, domain, vardir, n_eff, per)


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
    _refuse_absent(rows, per, "per")
    if areas is not None:
        on = [name for name in by if name in areas]
        if not on:
            raise SaeInputError(
                f"The areas have none of the columns {name_some(by)} that make the domains.",
                hint="Name the column of their labels as it is named in the survey.",
            )
        keys = rows[on].astype("object")
        join_by_name(keys, areas[on], on, names=_SIDES)
        rows = _append_unsampled(rows, areas, by, on)
        extra = areas.drop(columns=[name for name in areas if name in by and name not in on])
        covariates = join_by_name(rows[on].astype("object"), extra, on, names=_SIDES)
        others = [name for name in rows if name not in covariates]
        covariates = pd.concat([covariates, rows[others]], axis=1)
    else:
        covariates = rows
    return _rows(
        rows, covariates, rows["estimate"], rows["vardir"], rows["se"],
        unit=data.units.get(outcome, ""), groups=tuple(by), per=per,
        provenance={**data.provenance, "log": list(data.log)},
    )  # fmt: skip


def _append_unsampled(rows: pd.DataFrame, areas: pd.DataFrame, by: list[str], on: list[str]) -> pd.DataFrame:
    """Add the areas that the direct estimates lack, crossed with the levels of the other grouping columns."""
    _, absent = unmatched(rows[on].astype("object"), areas[on], on)
    if not absent:
        return rows
    labels = [label if isinstance(label, tuple) else (label,) for label in absent]
    new = pd.DataFrame(labels, columns=on, dtype="object")
    others = [name for name in by if name not in on]
    if others:
        new = new.merge(rows[others].drop_duplicates(), how="cross")
    # the period is a grouping column of its own, or one and the same for all rows
    text = rows[by].astype("string")
    periods = [name for name in by if len(rows) and (text[name] == rows["time"]).all()]
    new["time"] = new[periods[0]].astype("string") if periods else rows["time"].iloc[0]
    new["geo"] = new[by[0]].astype("string")
    parts = [name for name in by if name not in periods]
    new["domain"] = new[parts].astype("string").agg(" / ".join, axis=1) if parts else "all"
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
    _refuse_absent(rows, [outcome], "outcome")
    _refuse_absent(rows, [domain], "domain")
    _refuse_absent(rows, per, "per")
    if not len(rows):
        raise SaeInputError("The data have no rows.")
    empty = rows[[domain, *per]].isna().any(axis=1).to_numpy()
    if empty.any():
        raise SaeInputError(
            f"{int(empty.sum())} of {len(rows)} rows have no label in {name_some([domain, *per])}: row "
            f"{name_some(np.flatnonzero(empty) + 1)}.",
            column=domain,
        )
    if vardir not in rows and n_eff not in rows:
        raise SaeInputError(
            f"The data have no column {vardir!r} with sampling variances.",
            hint=f"Name it with vardir=. The columns are {name_some(rows, 15)}.",
            column=vardir,
        )
    covariates = rows
    if areas is not None:
        on = [domain, *(name for name in per if name in areas)]
        clash = [name for name in areas if name in rows and name not in on]
        join_by_name(rows[on], areas.drop(columns=clash), on, names=("the data", "the areas"))
        _, absent = unmatched(rows[on], areas, on)
        new = pd.DataFrame([label if isinstance(label, tuple) else (label,) for label in absent], columns=on)
        others = [name for name in per if name not in on]
        if others and len(new):
            new = new.merge(rows[others].drop_duplicates(), how="cross")
        rows = pd.concat([rows, new], ignore_index=True) if len(new) else rows
        covariates = join_by_name(rows.drop(columns=clash), areas, on, names=("the data", "the areas"))
    _refuse_twice(rows, [domain, *per], rows[domain])
    vardirs = _numbers(rows, vardir) if vardir in rows else np.full(len(rows), np.nan)
    with np.errstate(invalid="ignore"):
        se = np.sqrt(np.where(vardirs > 0, vardirs, np.nan))
    direct = _numbers(rows, outcome)
    table = rows.assign(
        indicator=outcome,
        domain=rows[domain].astype("string"),
        geo=rows[domain].astype("string"),
        n_eff=_numbers(rows, n_eff) if n_eff in rows else np.nan,
        n=_numbers(rows, "n") if "n" in rows else np.nan,
        time=rows["time"].astype("string") if "time" in rows else "",
        definition="",
    )
    return _rows(table, covariates, direct, vardirs, se, unit="", groups=tuple(per), per=per, provenance={})


def _rows(
    rows: pd.DataFrame, covariates: pd.DataFrame, direct: Any, vardir: Any, se: Any,
    *, unit: str, groups: tuple[str, ...], per: Sequence[str], provenance: Mapping[str, Any],
) -> AreaRows:  # fmt: skip
    direct, vardir, se = (_float(values) for values in (direct, vardir, se))
    sampled = np.isfinite(direct)
    if not sampled.any():
        raise SaeInputError("No area has a direct estimate.", hint="Nothing can be fitted.", column="direct")
    infinite = np.isinf(direct)
    if infinite.any():
        areas = rows["domain"][infinite]
        raise SaeInputError(f"The direct estimate is infinite in {name_some(areas)}.", areas=areas)
    with np.errstate(invalid="ignore"):
        # a design variance of 0 says that the few records are alike, not that the figure is certain
        shown = np.where(se > 0, se, np.sqrt(np.where(vardir > 0, vardir, np.nan)))
    shown = np.where(sampled, shown, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = np.where(direct != 0, shown / np.abs(direct), np.nan)
    kept = {name: rows[name] for name in (*_KEPT, *groups)}
    table = pd.DataFrame({**kept, "unit": unit, "direct": direct, "direct_se": shown, "direct_cv": cv})
    fits = pd.DataFrame(index=range(1))
    fit = np.zeros(len(rows), dtype=np.int64)
    if per:
        fits = rows[list(per)].drop_duplicates().sort_values(list(per), kind="stable").reset_index(drop=True)
        place = {key: k for k, key in enumerate(fits.itertuples(index=False, name=None))}
        keys = rows[list(per)].itertuples(index=False, name=None)
        fit = np.array([place[key] for key in keys], dtype=np.int64)
    columns = [rows[name].astype("string") for name in per]
    extra = [column for column in columns if not _in_labels(rows["domain"], column)]
    if not extra and rows["time"].nunique() > 1:
        extra = [rows["time"].astype("string")]
    names = rows["domain"].astype("string")
    for column in extra:
        names = names + " / " + column
    told_apart = [rows[name] for name in ("indicator", "geo", "domain", "time", *groups)]
    texts = [
        ["" if value is pd.NA else str(value) for value in column.astype(object)] for column in told_apart
    ]
    labels = tuple(map("\x1f".join, zip(*texts, strict=True)))
    return AreaRows(
        table, covariates.reset_index(drop=True), direct, vardir, _float(rows["n_eff"]), sampled, fit, fits,
        names.to_numpy(dtype=object), labels, groups, provenance,
    )  # fmt: skip


def _float(values: Any) -> np.ndarray:
    return pd.Series(values).astype("Float64").to_numpy(dtype=float, na_value=np.nan)


def _numbers(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as float, or name the values that are no numbers."""
    try:
        values = pd.to_numeric(rows[column])
    except (ValueError, TypeError):
        numbers = pd.to_numeric(rows[column], errors="coerce")
        bad = rows[column][numbers.isna() & rows[column].notna()]
        raise SaeInputError(
            f"{column} holds text where numbers are expected: {name_some(bad)}.", column=column
        ) from None
    return _float(values)


def _refuse_absent(rows: pd.DataFrame, columns: Sequence[str], role: str) -> None:
    absent = [name for name in columns if name not in rows]
    if absent:
        raise SaeInputError(
            f"The data have no column {name_some(absent)} (the {role} of the specification).",
            hint=f"The columns are {name_some(rows, 15)}.",
            column=absent[0],
        )


def _in_labels(domains: pd.Series, column: pd.Series) -> bool:
    """Whether the labels of the domains hold the values of a column already, as those of a `by` column."""
    pairs = zip(domains.astype("string"), column, strict=True)
    return all(str(value) in str(label).split(" / ")[1:] for label, value in pairs)


def _refuse_twice(rows: pd.DataFrame, keys: list[str], names: pd.Series) -> None:
    twice = rows.duplicated(keys, keep="first").to_numpy()
    if twice.any():
        areas = list(dict.fromkeys(names[twice]))
        raise SaeInputError(
            f"Areas that appear more than once: {name_some(areas)}.",
            hint="Give one row per area, or one fit per period with per=.",
            areas=areas,
        )
