"""Estimates in the form of Eurostat's tables: as a table of their own, or in the gaps of an existing one."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd

from sae.auxiliary.eurostat import EurostatTable, check_figures
from sae.auxiliary.eurostat_areas import area_dimension
from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.tables import EstimateTable, joined_labels, labels, pandas_frame, require, to_numbers

__all__ = ["estimates_as_eurostat", "fill_eurostat"]

_WITHHELD = set("cCNPmz")  # confidential, or a value that cannot exist: no gap that an estimate may fill
_FREQUENCIES = {"A": "[0-9]{4}", "S": "[0-9]{4}-S[12]", "Q": "[0-9]{4}-?Q[1-4]", "M": "[0-9]{4}-[0-9]{2}"}


def estimates_as_eurostat(
    table: EstimateTable,
    *,
    dataflow: str = "",
    time: str = "",
    decimals: int | None = None,
    errors: bool = True,
) -> EurostatTable:
    """Return an estimate table in the form of a table of Eurostat, for `write_eurostat`.

    Parameters
    ----------
    table : EstimateTable
    dataflow : str
        Names the data set, such as ``AT1:CITY_EMPLOYMENT(1.0)``.
    time : str
        The period, where the estimates have none of their own.
    decimals : int, optional
        To which values, standard errors and limits are rounded; in full by default.
    errors : bool
        Whether the attributes SE, CI_LOW and CI_HIGH go with them; only SDMX-CSV has a place for these.

    Returns
    -------
    EurostatTable
        Dimensions: ``freq``, those of ``indicator``, ``definition``, ``unit`` that the table has, its groups,
        and the area (``geo``) or ``domain`` last. Flags: ``e`` model-based, ``u`` low reliability. A row that
        its flag (``:c``, ``:u``) or ``publishable`` suppresses has neither value nor attributes.

    Raises
    ------
    SaeSpecError
        If there is no period, or two.

    Examples
    --------
    >>> frame = pd.DataFrame({"geo": ["AT11", "AT12"], "domain": ["AT11", "AT12"], "time": "2022"})
    >>> table = sae.EstimateTable(frame.assign(estimate=[0.25, 0.5], se=0.1, flag=["e", ":u"]))
    >>> sae.auxiliary.estimates_as_eurostat(table)[["geo", "value", "flag", "SE"]].values.tolist()
    [['AT11', 0.25, 'e', '0.1'], ['AT12', nan, 'u', '']]
    """
    frame = table.frame
    periods = frame["time"].mask(frame["time"].eq(""), time)
    if periods.eq("").any() or (time and frame["time"].ne("").any()):
        raise SaeSpecError(
            f"The estimates have {'two periods' if time else 'no period'}.",
            hint='time= names it where the table has none, such as time="2022".',
        )
    place = "geo" if frame["geo"].ne("").all() else "domain"
    groups = [
        name
        for name in table.groups
        if name not in ("geo", "time", "domain") and not _same(frame, name, place)
    ]
    constant = [name for name in ("indicator", "definition", "unit") if frame[name].ne("").any()]
    dimensions = [*constant, *groups, place]
    out = pd.DataFrame({name: labels(frame[name]) for name in dimensions})
    frequency = [letter for letter, pattern in _FREQUENCIES.items() if periods.str.fullmatch(pattern).all()]
    if frequency:
        out.insert(0, "freq", frequency[0])
    hidden = frame["flag"].str.startswith(":") | ~frame["publishable"].fillna(True).astype(bool)
    out["time"] = periods
    out["value"] = _rounded(frame["estimate"], decimals).mask(hidden)
    out["decimals"] = pd.array([decimals] * len(out), dtype="Int64")
    out["flag"] = frame["flag"].where(~hidden, frame["flag"].str.replace("[:e]", "", regex=True))
    columns = {"SE": "se", "CI_LOW": "ci_low", "CI_HIGH": "ci_high"} if errors else {}
    for name, column in columns.items():
        texts = _rounded(frame[column], decimals).mask(hidden).map(_text, na_action="ignore")
        out[name] = texts.astype("string").fillna("")
    names = [*(["freq"] if frequency else []), *dimensions]
    return EurostatTable(out, tuple(names), dataflow=dataflow, attributes=tuple(columns))


def fill_eurostat(
    table: EurostatTable,
    estimates: EstimateTable | pd.DataFrame,
    *,
    levels: dict[str, str],
    factor: float = 1.0,
    decimals: int = 1,
    area: str | None = None,
) -> EurostatTable:
    """Fill the missing cells of a table of Eurostat with estimates, flagged ``e``; all else stays as it is.

    A cell is missing if it has no value and is not withheld: what is confidential or cannot exist stays
    empty. Rows of the estimates that are suppressed fill nothing.

    Parameters
    ----------
    table : EurostatTable
    estimates : EstimateTable or DataFrame
        With the area (under the name of the dimension, or ``geo``), ``time`` and ``estimate``; ``flag`` and
        ``publishable`` count where they are there.
    levels : dict of str to str
        The level of each other dimension that the estimates are of, such as ``{"indic_ur": "EC1020I"}``.
    factor : float
        From the unit of the estimates to that of the table: 100 from shares to percent.
    decimals : int
        To which the estimates are rounded.
    area : str, optional
        The dimension of the areas, as for `areas_from_eurostat`.

    Returns
    -------
    EurostatTable
        Cells that the table lacked altogether are added.

    Raises
    ------
    SaeInputError
        If an estimate is missing or stands twice, an area is not in the table, or the estimates look like
        shares beside a table of percent.
    SaeSpecError
        If `levels` does not name one level of each other dimension.

    Warns
    -----
    SaeWarning
        If there are estimates for withheld cells.

    Examples
    --------
    >>> frame = pd.DataFrame({"cities": ["AT001C", "AT002C"], "time": "2020", "value": [8.5, None]})
    >>> table = sae.auxiliary.EurostatTable(frame, ("cities",))
    >>> model = pd.DataFrame({"cities": ["AT001C", "AT002C"], "time": "2020", "estimate": [0.09, 0.0712]})
    >>> full = sae.auxiliary.fill_eurostat(table, model, levels={}, factor=100)
    >>> full[["value", "flag"]].values.tolist()
    [[8.5, ''], [7.1, 'e']]
    """
    area = area_dimension(table, area)
    check_figures(table, table.name)
    others = [name for name in table.dimensions if name != area]
    part = table.select(**levels)
    unnamed = [name for name in others if name not in levels and part.frame[name].nunique() > 1]
    if unnamed or {area, "time"} & levels.keys():
        raise SaeSpecError(
            f"levels does not say which {name_some(unnamed)} the estimates are of."
            if unnamed
            else "levels names areas or times, which the estimates hold.",
            hint=f"Name one level of each of {name_some(others, 12)}.",
        )
    rows = _estimates(estimates, area, table)
    _check_scale(rows["estimate"] * factor, part.frame["value"], factor)
    fixed = {name: part.frame[name].iloc[0] for name in others}
    rows = rows.assign(**fixed, value=np.round(rows["estimate"] * factor, decimals), decimals=decimals)
    keys = [*table.dimensions, "time"]
    frame = table.to_frame()
    index = pd.MultiIndex.from_frame(frame[keys].astype(object))
    at = index.get_indexer(pd.MultiIndex.from_frame(rows[keys].astype(object)))
    old = frame.iloc[at[at >= 0]]
    withheld = old["flag"].map(lambda flag: bool(_WITHHELD & set(flag))).to_numpy(dtype=bool)
    gap = old["value"].isna().to_numpy()
    if (withheld & gap).any():
        names = joined_labels(old[withheld & gap], [area, "time"])
        warnings.warn(
            f"{len(names)} cells stay empty, for the table withholds them: {name_some(names)}.",
            SaeWarning,
            stacklevel=2,
        )
    places, taken = at[at >= 0][gap & ~withheld], np.flatnonzero(at >= 0)[gap & ~withheld]
    for name in ("value", "decimals", "flag"):
        frame.loc[places, name] = rows[name].to_numpy()[taken]
    added = rows[at < 0]
    whole = pd.concat([frame, added[[name for name in frame if name in added]]], ignore_index=True)
    if len(added) and frame[keys].equals(frame[keys].sort_values(keys, ignore_index=True)):
        whole = whole.sort_values(keys, ignore_index=True)
    filled = replace(table, frame=whole.fillna(dict.fromkeys(table.attributes, "")))
    check_figures(filled, f"{table.name}, filled,")
    return filled


def _estimates(estimates: EstimateTable | pd.DataFrame, area: str, table: EurostatTable) -> pd.DataFrame:
    """Return area, time, estimate and flag of the estimates that may be published."""
    frame = (
        estimates.frame if isinstance(estimates, EstimateTable) else pandas_frame(estimates, "The estimates")
    )
    place = area if area in frame else "geo"
    require(frame, [place, "time", "estimate"], "The estimates have")
    flag = (
        labels(frame["flag"], keep_missing=True).fillna("")
        if "flag" in frame
        else pd.Series("e", frame.index)
    )
    out = pd.DataFrame(
        {
            area: labels(frame[place]),
            "time": labels(frame["time"]),
            "estimate": to_numbers(frame, "estimate"),
            "flag": flag.where(flag.str.contains("e"), "e" + flag),
        }
    )
    public = ~flag.str.startswith(":").to_numpy(dtype=bool)
    if "publishable" in frame:
        public &= frame["publishable"].fillna(True).to_numpy(dtype=bool)
    out = out[public].reset_index(drop=True)
    names = joined_labels(out, [area, "time"])
    for wrong, what in (
        (~np.isfinite(out["estimate"]), "have no finite value"),
        (out.duplicated([area, "time"]), "stand twice"),
        (~out[area].isin(table.frame[area].unique()), f"are of areas that {table.name} lacks"),
    ):
        if wrong.any():
            raise SaeInputError(
                f"{int(wrong.sum())} of {len(out)} estimates {what}: {name_some(names[wrong])}.",
                hint="Give one estimate for each area and time, under the codes of the table.",
                areas=names[wrong],
            )
    return out


def _check_scale(values: pd.Series, known: pd.Series, factor: float) -> None:
    """Refuse estimates all below 1 beside figures all above it: shares beside percent or counts."""
    known = known.dropna().abs()
    if len(values) and len(known) and values.abs().max() <= 1 and known.min() > 1:
        raise SaeInputError(
            f"The estimates times {factor:g} lie between {values.min():g} and {values.max():g}, the figures "
            f"of the table between {known.min():g} and {known.max():g}.",
            hint="factor=100 makes percent of shares.",
        )


def _same(frame: pd.DataFrame, name: str, place: str) -> bool:
    return bool(labels(frame[name]).eq(frame[place]).all())


def _rounded(column: pd.Series, decimals: int | None) -> pd.Series:
    return column if decimals is None else column.round(decimals)


def _text(value: float) -> str:
    return np.format_float_positional(value, trim="-")
