"""City statistics of Eurostat (Urban Audit): covariates of cities, with the year of each figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sae.auxiliary.codes import area_codes
from sae.auxiliary.eurostat import EurostatTable
from sae.auxiliary.eurostat_areas import chosen_periods, covariates_of, figure_columns, one_series
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import Covariates, Origin

__all__ = ["CITY_VARIABLES", "city_covariates"]

# Of urb_cpop1, urb_cpopcb and urb_clma; their meaning stands in programs that deliver or read these tables
CITY_VARIABLES: Mapping[str, str] = {
    "population": "DE1001V",
    "nationals": "DE2001V",
    "eu_foreigners": "DE2002V",
    "non_eu_foreigners": "DE2003V",
    "native_born": "DE2008V",
    "foreign_born": "DE2009V",
    "eu_born": "DE2010V",
    "non_eu_born": "DE2011V",
    "foreigners": "DE2012V",
    "activity_rate": "EC1001I",
    "unemployment_rate": "EC1020I",
}
_KINDS = ("city", "greater city", "functional urban area", "country")
_SHARES = {
    "eu_foreign_share": ("eu_foreigners",),
    "non_eu_foreign_share": ("non_eu_foreigners",),
    "foreign_share": ("eu_foreigners", "non_eu_foreigners"),
    "eu_born_share": ("eu_born",),
    "non_eu_born_share": ("non_eu_born",),
}


def city_covariates(
    *tables: EurostatTable,
    time: str | Sequence[str] | None = None,
    back: int = 0,
    kind: str = "city",
    names: Sequence[str] | None = None,
) -> Covariates:
    """Make covariates of cities from tables of City statistics such as urb_cpop1, urb_cpopcb and urb_clma.

    Supply to City statistics is voluntary and not annual: a figure is that of its own year, or an older one
    within `back` years; which, stands beside it.

    Parameters
    ----------
    *tables : EurostatTable
        With the dimensions ``cities`` and ``indic_ur``.
    time : str or sequence of str, optional
        A year or several; all of the tables by default.
    back : int
        How many years before a year an older figure may stand in.
    kind : {"city", "functional urban area", "greater city", "country"}
        Which areas: AT001C, AT001F (before 2018 AT001L1), UK001K2, AT; see `area_codes`.
    names : sequence of str, optional
        Of `CITY_VARIABLES`; those whose codes the tables hold by default.

    Returns
    -------
    Covariates
        As of `areas_from_eurostat`, for all areas of that kind, and the shares of the population that its
        figures allow: ``eu_foreign_share``, ``non_eu_foreign_share``, ``foreign_share``,
        ``eu_born_share``, ``non_eu_born_share``, with ``*_time`` and ``*_flag`` (of all figures in it);
        missing where the figures are not of one year.

    Raises
    ------
    SaeSpecError
        If a name is unknown or its code in no table.
    SaeInputError
        If two tables hold the same variable, no area is of that kind, or a share lies outside 0 and 1.

    Examples
    --------
    >>> frame = pd.DataFrame({"indic_ur": ["DE1001V", "DE2002V"], "cities": "AT001C", "time": "2020"})
    >>> table = sae.auxiliary.EurostatTable(frame.assign(value=[2000.0, 250.0]), ("indic_ur", "cities"))
    >>> sae.auxiliary.city_covariates(table, time="2020")[["cities", "eu_foreign_share"]].values.tolist()
    [['AT001C', 0.125]]
    """
    homes = _homes(tables, names)
    if kind not in _KINDS:
        raise SaeSpecError(f"kind={kind!r} is no kind of area here.", hint=f"Use one of {', '.join(_KINDS)}.")
    codes = area_codes(pd.concat([table.frame["cities"] for table in tables]))
    same = codes["kind"].eq(kind) if kind != "country" else codes["level"].eq(0).fillna(False)
    cities = codes["code"][same].tolist()
    if not cities:
        raise SaeInputError(f"None of {len(codes)} areas is a {kind}: {name_some(codes['code'])}.")
    periods = chosen_periods(tables, time, back)
    rows = pd.MultiIndex.from_product([cities, periods], names=["cities", "time"])
    figures = []
    for name, table in homes.items():
        part = one_series(table, name, {"indic_ur": CITY_VARIABLES[name]}, "cities")
        figures.append(figure_columns(part, name, rows, back))
    return _with_shares(covariates_of(rows, figures, single=isinstance(time, str)))


def _homes(tables: Sequence[EurostatTable], names: Sequence[str] | None) -> dict[str, EurostatTable]:
    """Return the table that holds each variable."""
    unknown = [name for name in names or () if name not in CITY_VARIABLES]
    if unknown or not tables:
        raise SaeSpecError(
            f"City statistics have no variable {name_some(map(repr, unknown))} here."
            if unknown
            else "No table is given.",
            hint=f"Names are {', '.join(CITY_VARIABLES)}; areas_from_eurostat takes any other code.",
        )
    for table in tables:
        lacking = [name for name in ("cities", "indic_ur") if name not in table.dimensions]
        if lacking:
            raise SaeSpecError(
                f"{table.name} is no table of City statistics: it has no {name_some(lacking)}."
            )
    codes = [set(table.frame["indic_ur"].unique()) for table in tables]
    homes: dict[str, EurostatTable] = {}
    for name in names or CITY_VARIABLES:
        held = [table for table, own in zip(tables, codes, strict=True) if CITY_VARIABLES[name] in own]
        if len(held) > 1:
            raise SaeInputError(
                f"{name} ({CITY_VARIABLES[name]}) stands in {', '.join(table.name for table in held)}.",
                hint="Give one of them, or select() the variables of each.",
            )
        if held:
            homes[name] = held[0]
        elif names:
            raise SaeSpecError(f"{name} ({CITY_VARIABLES[name]}) is in none of the tables.")
    if not homes:
        raise SaeSpecError(
            "The tables hold none of the variables.",
            hint=f"Their codes are {', '.join(CITY_VARIABLES.values())}.",
        )
    return homes


def _with_shares(table: Covariates) -> Covariates:
    """Add shares of the population whose figures all are of one year."""
    frame, origins = table.to_frame(), dict(table.origins)
    for share, parts in _SHARES.items():
        if not {"population", *parts} <= set(frame):
            continue
        figures = ("population", *parts)
        year = frame["population_time"]
        same = np.logical_and.reduce([frame[f"{name}_time"].eq(year).fillna(False) for name in figures])
        count = frame[list(parts)].sum(axis=1, skipna=False).where(same)
        value = count / frame["population"]
        bad = frame["cities"][(value > 1) | (value < 0) | np.isinf(value)]
        if len(bad):
            raise SaeInputError(
                f"{share} lies outside 0 and 1 in {len(bad)} rows: {name_some(bad)}.",
                hint="Check the population and the counts of these cities.",
                areas=bad,
                column=share,
            )
        flags = [frame[f"{name}_flag"].fillna("") for name in figures]
        letters = ["".join(dict.fromkeys("".join(row))) for row in zip(*flags, strict=True)]
        frame[share] = value
        frame[f"{share}_time"] = year.where(value.notna())
        frame[f"{share}_flag"] = pd.array(letters, dtype="string")
        source = " and ".join(dict.fromkeys(origins[name].source for name in figures))
        definition = f"{' plus '.join(parts)} over population".replace("_", " ")
        origins[share] = Origin(source, definition, origins["population"].vintage)
    return Covariates(frame, origins)
