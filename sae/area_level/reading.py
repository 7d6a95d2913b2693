"""What area-level models read: direct estimates with covariates, one row per area, matched by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sae.area_level.rows import ONE_FIT, AreaRows, plain
from sae.errors import SaeInputError, name_some
from sae.tables import (
    DirectEstimates,
    cv_of,
    join_by_name,
    joined_labels,
    labels,
    pandas_frame,
    require,
    to_numbers,
)
from sae.tables.columns import ESTIMATE_COLUMNS, check_groups
from sae.tables.covariates import Covariates, frame_of
from sae.tables.labels import text_of
from sae.tables.mixing import check_rows, marks_in, with_marks, years_of
from sae.tables.texts import Texts, blank

if TYPE_CHECKING:
    from sae.auxiliary import NutsVintage

__all__ = ["complete_rows", "read_rows"]

_SIDES = ("the direct estimates", "the areas")
_TEXTS = ("indicator", "definition", "geo", "time", "domain")  # of the direct estimates


def read_rows(
    data: DirectEstimates | pd.DataFrame,
    areas: pd.DataFrame | Covariates | None,
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
    areas : DataFrame or Covariates, optional
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
        areas = pandas_frame(frame_of(areas), "The areas")
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
    check_rows(rows)
    _refuse_twice(rows, [*by, "time"], rows["domain"])
    require(rows, per, role="(of per=)")
    covariates = rows
    if areas is not None:
        on = [name for name in by if name in areas]
        if not on:
            raise SaeInputError(
                f"The areas have none of the columns {name_some(by)} that make the domains.",
                hint="It is the index of the areas: give areas.reset_index()."
                if {*by} & {*areas.index.names}
                else "Name the column of their labels as it is named in the survey.",
            )
        extra = areas.drop(columns=[name for name in areas if name in by and name not in on])
        covariates, absent = join_by_name(rows[on], extra, on, names=_SIDES)
        if len(absent):
            new = _crossed(absent, rows, by)
            rows = _append_unsampled(rows, new[by], by)
            _check_vintage(rows["geo"], data.provenance)
            covariates = pd.concat([covariates, new[list(extra)]], ignore_index=True)
        covariates[on] = rows[on].astype("object")
        others = [name for name in rows if name not in covariates]
        covariates = pd.concat([covariates, rows[others]], axis=1)
    columns = {
        **{name: text_of(rows[name], keep_missing=True) for name in _TEXTS},
        **{name: to_numbers(rows, name) for name in ("n", "n_eff")},
        **{name: rows[name].array for name in by if name not in _TEXTS},
    }
    columns["definition"] = text_of(with_marks(rows["definition"], rows["status"]), keep_missing=True)
    return complete_rows(
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


def _check_vintage(codes: pd.Series, provenance: Mapping[str, Any]) -> None:
    """Refuse areas without a sample that are regions of another NUTS than those of the survey."""
    each = codes.drop_duplicates()
    regions = each[each.str.fullmatch("[A-Z]{2}[0-9A-Z]{0,3}")]
    vintage = _vintage(tuple(regions), tuple(provenance.get("accept", ())))
    if vintage is None:
        return  # codes of another kind
    kind, _, version = str(provenance.get("release", {}).get("geo_version", "")).partition(" ")
    odd = vintage.unlike(version) if kind == "NUTS" else []
    if odd:
        raise SaeInputError(
            f"{len(odd)} areas are no codes of NUTS {version}, of which the survey is: {name_some(odd)}.",
            hint="Bring the covariates to the version of the survey with sae.auxiliary.crosswalk.",
            areas=odd,
            column="geo",
        )


@lru_cache(maxsize=32)  # every indicator of a survey has the same areas
def _vintage(regions: tuple[str, ...], accept: tuple[str, ...]) -> NutsVintage | None:
    """Return which NUTS regions are of; None where they are codes of another kind."""
    from sae.auxiliary import area_codes, nuts_vintage

    try:
        area_codes(regions)
    except SaeInputError:
        return None
    return nuts_vintage(regions, accept=accept)


def _times(rows: pd.DataFrame, new: pd.DataFrame, by: list[str]) -> pd.Series | str:
    """Return the period of new rows: the one of all rows, or that which a column such as the year tells."""
    if rows["time"].nunique() == 1:
        return str(rows["time"].iloc[0])
    for name in by:
        pairs = pd.DataFrame({"label": labels(rows[name]), "time": rows["time"]}).drop_duplicates()
        times = labels(new[name]).map(dict(zip(pairs["label"], pairs["time"], strict=True)))
        if pairs["label"].is_unique and times.notna().all():
            return times
    return ""


def _append_unsampled(rows: pd.DataFrame, new: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Add the areas that the direct estimates lack."""
    new = new.astype("object")
    # the period is a grouping column of its own, or one and the same for all rows
    texts = {name: labels(rows[name]) for name in by if len(rows)}
    periods = [name for name, own in texts.items() if (own == rows["time"]).all()]
    new["time"] = labels(new[periods[0]]) if periods else _times(rows, new, by)
    places = [name for name, own in texts.items() if (own == rows["geo"]).all()]
    new["geo"] = labels(new[places[0]]) if places else ""
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
    check_rows(rows)
    _check_periods(rows)
    if n_eff not in rows or vardir != "vardir":  # a name that was given must be there
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
        "definition": _definition(rows),
        "geo": names,
        "time": text_of(rows["time"], keep_missing=True) if "time" in rows else "",
        "domain": names,
        "n": _counts(rows, names) if "n" in rows else missing,
        "n_eff": to_numbers(rows, n_eff, names=names) if n_eff in rows else missing,
    }
    if "geo_version" in rows:
        columns["geo_version"] = text_of(rows["geo_version"], keep_missing=True)
    columns |= {name: rows[name].array for name in per if name not in columns}
    return complete_rows(
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


def _definition(rows: pd.DataFrame) -> str | Texts:
    """Return the definitions as a plain frame gives them, with the breaks that its statuses name."""
    if "definition" not in rows or pd.api.types.is_numeric_dtype(rows["definition"].dtype):
        return ""
    texts = labels(rows["definition"], keep_missing=True)
    if "status" in rows:
        texts = with_marks(texts, labels(rows["status"], keep_missing=True))
    return text_of(texts, keep_missing=True)


def _check_periods(rows: pd.DataFrame) -> None:
    """Refuse rows of one indicator on both sides of a break of its definition, if they bear no mark of it."""
    if not {"indicator", "definition", "time"} <= set(rows):
        return
    years = years_of(labels(rows["time"], keep_missing=True).fillna(""))
    if not years or years[0] == years[1]:
        return
    from sae.indicators import BREAKS, REGISTRY

    marks = marks_in(labels(rows["status"], keep_missing=True)) if "status" in rows else []
    for name in labels(rows["indicator"], keep_missing=True).dropna().unique():
        ids = REGISTRY[name].breaks if name in REGISTRY else ()
        crossed = [BREAKS[one] for one in ids if years[0] < BREAKS[one].year <= years[1] and one not in marks]
        if crossed:
            raise SaeInputError(
                f"Rows of {name} go from {years[0]} to {years[1]}, across {'; '.join(map(str, crossed))}.",
                hint="Take the years of one side, or join the tables of direct estimates with "
                f"sae.combine(..., accept={[one.id for one in crossed]}), which marks the rows.",
                column="time",
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


def complete_rows(
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
    check_groups(groups, ESTIMATE_COLUMNS)
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
    released = str(provenance.get("release", {}).get("geo_version", ""))
    fits, fit = ONE_FIT, np.zeros(len(direct), dtype=np.int64)
    extra: list[Texts] = []
    if len(keys.columns):
        fits, keys = _fits(keys)
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
            **_geo_version(covariates, columns.get("geo_version", released), domain),
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


def _geo_version(
    covariates: pd.DataFrame, own: Texts | str, domain: Texts | np.ndarray
) -> dict[str, Texts | str]:
    """Return the one version of the areas' codes, as the covariates tell it or the direct estimates (`own`).

    Raises
    ------
    SaeInputError
        If areas are of several versions; those of other ones than most are named.
    """
    if "geo_version" not in covariates:
        return {"geo_version": own}
    stated = labels(covariates["geo_version"], keep_missing=True).fillna("").to_numpy(dtype=object)
    given = np.full(len(stated), own, dtype=object) if isinstance(own, str) else own.strings
    spelt = pd.Series([*given, *stated])
    spelt = spelt[spelt != ""]
    versions = spelt.str.split().str[-1]  # "2021" is "NUTS 2021"
    if versions.nunique() <= 1:
        return {"geo_version": Texts.same(spelt.iloc[0] if len(spelt) else "", len(stated))}
    usual = versions.mode().iloc[0]
    odd = versions[versions != usual].index % len(stated)
    areas = domain[np.isin(np.arange(len(stated)), odd)]
    sides = [
        f"{name_some(dict.fromkeys(filter(None, texts)))} in {side}"
        for side, texts in zip(_SIDES, (given, stated), strict=True)
        if any(texts)
    ]
    raise SaeInputError(
        f"The codes are of several versions: {', '.join(sides)}; not of {usual} are {name_some(areas)}.",
        hint="Bring all to one version with sae.auxiliary.crosswalk.",
        areas=areas,
        column="geo_version",
    )


def _fits(keys: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the values that tell the fits apart, each combination once in order, and those of the rows.

    A column that mixes text and numbers becomes text in both.
    """
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
            keys = keys.assign(**{name: labels(keys[name]).astype("object")})
    return fits.sort_values(per, kind="stable").reset_index(drop=True), keys


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
