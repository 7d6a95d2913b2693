"""From a table of Eurostat to covariates: one row per area, or area and period, with their origin."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from sae.auxiliary.codes import area_codes
from sae.auxiliary.eurostat import FLAGS, EurostatTable, check_figures
from sae.errors import SaeInputError, SaeSpecError, SaeWarning, name_some
from sae.tables import Covariates, Origin

__all__ = [
    "area_dimension",
    "areas_from_eurostat",
    "chosen_periods",
    "covariates_of",
    "figure_columns",
    "one_series",
]

_AREAS = ("geo", "cities", "metroreg")


def areas_from_eurostat(
    table: EurostatTable,
    figures: Mapping[str, Mapping[str, str]],
    *,
    time: str | Sequence[str] | None = None,
    back: int = 0,
    area: str | None = None,
    areas: Iterable[str] | None = None,
) -> Covariates:
    """Take figures out of a table of Eurostat as covariates of areas.

    Parameters
    ----------
    table : EurostatTable
    figures : mapping of str to mapping of str to str
        By the name of each covariate, the level of every dimension besides the area and the time; a
        dimension with a single level need not be named.
    time : str or sequence of str, optional
        One period: one row per area. Several, or all of the table by default: one row per area and period.
    back : int
        How many years before a period an older figure may stand in where there is none; its year is told.
    area : str, optional
        The dimension of the areas; ``geo`` or ``cities``, which the table has, by default.
    areas : iterable of str, optional
        The areas wanted, in this order; all of the table by default, whatever their level.

    Returns
    -------
    Covariates
        The area, the ``time`` where there are several, and for each covariate its value, missing where
        Eurostat has none, ``*_time`` (period of the figure) and ``*_flag``. The origin of each tells the data
        set with the day of its last update, the levels, how many figures bear which flags, and the vintage;
        given to ``fit(areas=...)`` it stands in the provenance of the result.

    Raises
    ------
    SaeSpecError
        If a dimension or a level does not exist, or a dimension with several levels is not named.
    SaeInputError
        If a key stands twice, or an area of `areas` is not in the table.

    Warns
    -----
    SaeWarning
        If figures of several periods bear the flag of a break, or some areas lie within others.

    Examples
    --------
    >>> frame = pd.DataFrame({"geo": ["AT11", "AT12"], "unit": "PC", "time": "2022", "value": [6.1, 5.0]})
    >>> table = sae.auxiliary.EurostatTable(frame, ("unit", "geo"), "ESTAT:TRNG_LFSE_04(1.0)")
    >>> x = sae.auxiliary.areas_from_eurostat(table, {"learning": {"unit": "PC"}}, time="2022")
    >>> x[["geo", "learning", "learning_time"]].values.tolist(), x.origins["learning"].text(["2024"])
    ([['AT11', 6.1, '2022'], ['AT12', 5.0, '2022']], \
'Eurostat trng_lfse_04, 2022 (unit PC), 2 years before the data')
    """
    area = area_dimension(table, area)
    _check_names(figures, area)
    periods = chosen_periods([table], time, back)
    wanted = list(dict.fromkeys(areas if areas is not None else table.frame[area]))
    absent = sorted(set(wanted) - set(table.frame[area].unique()))
    if absent:
        raise SaeInputError(
            f"{len(absent)} of {len(wanted)} areas are not in {table.name}: {name_some(absent)}.",
            hint="Check that both use the same codes and vintage.",
            areas=absent,
            column=area,
        )
    _warn_of_levels(wanted, table.name)
    rows = pd.MultiIndex.from_product([wanted, periods], names=[area, "time"])
    parts = [
        figure_columns(one_series(table, name, levels, area), name, rows, back)
        for name, levels in figures.items()
    ]
    return covariates_of(rows, parts, single=isinstance(time, str))


def _warn_of_levels(areas: Sequence[str], table: str) -> None:
    """Warn of regions within other areas, and of codes that are no place: a model would estimate each."""
    try:
        codes = area_codes(areas)
    except SaeInputError:
        return  # codes of the table's own
    held = set(codes["code"])
    within = [code for code in codes["code"] if any(code[:k] in held for k in range(2, len(code)))]
    urban = codes["code"][codes["kind"].isin(["city", "greater city", "functional urban area"])]
    within += urban[urban.str[:5].duplicated()].tolist()  # a city and its surroundings bear one number
    others = codes["code"][codes["off_map"] | codes["kind"].eq("aggregate")].tolist()
    if within or (others and len(others) < len(codes)):
        shown = [f"{len(within)} within others of them ({name_some(within, 3)})" if within else ""]
        shown.append(f"{name_some(others)}, which are no regions" if others else "")
        warnings.warn(
            f"Among the {len(codes)} areas of {table} are {' and '.join(filter(None, shown))}. Each becomes "
            "an area of its own, which a model estimates and sums count: name those of one level.",
            SaeWarning,
            stacklevel=3,
        )


def covariates_of(rows: pd.MultiIndex, parts: Sequence[Covariates], *, single: bool) -> Covariates:
    """Return columns side by side, with the areas, and the time unless all rows are of a single one."""
    frame = pd.concat([rows.to_frame(index=False).astype("string"), *(part.frame for part in parts)], axis=1)
    origins = {name: origin for part in parts for name, origin in part.origins.items()}
    return Covariates(frame.drop(columns="time") if single else frame, origins)


def figure_columns(part: EurostatTable, name: str, rows: pd.MultiIndex, back: int) -> Covariates:
    """Return the value of each row of areas and periods, its own or the latest before it, and its origin.

    Parameters
    ----------
    part : EurostatTable
        With one figure for each area and period.
    name : str
        Of the covariate.
    rows : MultiIndex
        Of the dimension of the areas and ``time``.
    back : int
        How many years before it a figure may lie.

    Returns
    -------
    Covariates
        Columns `name`, ``*_time``, ``*_flag``.
    """
    frame = part.frame
    held = pd.MultiIndex.from_arrays([frame[rows.names[0]].astype(object), frame["time"].astype(object)])
    values = np.array([*frame["value"], np.nan], dtype=float)  # the last one of each: where there is none
    flags = np.array([*frame["flag"], ""], dtype=object)
    times = np.array([*frame["time"], None], dtype=object)
    names, periods = (rows.get_level_values(k).to_numpy(dtype=object) for k in (0, 1))
    at = held.get_indexer(rows)
    for lag in range(1, back + 1):
        gaps = np.flatnonzero(np.isnan(values[at]))
        older = [(names[k], str(int(periods[k]) - lag)) for k in gaps]
        earlier = held.get_indexer(pd.MultiIndex.from_tuples(older)) if older else gaps
        known = ~np.isnan(values[earlier])
        at[gaps[known]] = earlier[known]
    known = ~np.isnan(values[at])
    out = pd.DataFrame(
        {
            name: values[at],
            f"{name}_time": pd.Series(times[at], dtype="string").where(known),
            f"{name}_flag": pd.array(flags[at], dtype="string"),
        }
    )
    broken = known & out[f"{name}_flag"].str.contains("b").to_numpy(dtype=bool)
    if broken.any() and (back or len(set(periods)) > 1):
        shown = dict.fromkeys(f"{names[k]} {times[at[k]]}" for k in np.flatnonzero(broken))
        warnings.warn(
            f"{name}: {len(shown)} figures bear the flag b ({FLAGS['b']}): {name_some(shown)}. "
            "Earlier figures of these areas are not comparable.",
            SaeWarning,
            stacklevel=3,
        )
    vintage = {
        period: _span(times[at[known & (periods == period)]]) or period for period in dict.fromkeys(periods)
    }
    return Covariates(out, {name: _origin(part, str(rows.names[0]), out.loc[known, f"{name}_flag"], vintage)})


def _span(periods: np.ndarray) -> str:
    held = sorted(set(periods))
    return " to ".join(dict.fromkeys((held[0], held[-1]))) if held else ""


def _origin(part: EurostatTable, area: str, flags: pd.Series, vintage: Mapping[str, str]) -> Origin:
    """Return where figures come from: data set, levels, flags that they bear, their periods."""
    fixed = {d: part.frame[d].iloc[0] for d in part.dimensions if d != area}
    levels = [f"{name} {part.labels.get(name, {}).get(code, code)}" for name, code in fixed.items()]
    letters = Counter("".join(flags))
    flagged = [f"{count} {FLAGS[letter]}" for letter, count in sorted(letters.items())]
    definition = "; ".join(
        filter(None, [", ".join(levels) or part.title, "flagged " * bool(flagged) + ", ".join(flagged)])
    )
    source = " ".join(["Eurostat", part.code]) + (f" updated {part.updated[:10]}" if part.updated else "")
    return Origin(
        source.strip(),
        definition or "all figures",
        next(iter(vintage.values())) if len(vintage) == 1 else vintage,
    )


def area_dimension(table: EurostatTable, area: str | None = None) -> str:
    """Return the dimension that holds the areas.

    Raises
    ------
    SaeSpecError
        If the table has none of that name, or none of the usual ones.
    """
    held = [name for name in ((area,) if area else _AREAS) if name in table.dimensions]
    if not held:
        raise SaeSpecError(
            f"{table.name} has no dimension {area or ' or '.join(_AREAS)} for the areas.",
            hint=f"area= names it; the dimensions are {name_some(table.dimensions, 12)}.",
        )
    return held[0]


def _check_names(figures: Mapping[str, Mapping[str, str]], area: str) -> None:
    if not figures:
        raise SaeSpecError(
            "figures names no covariate.", hint='For example {"density": {"unit": "PER_KM2"}}.'
        )
    names = [f"{name}{end}" for name in figures for end in ("", "_time", "_flag")]
    twice = [name for name in names if names.count(name) > 1 or name in (area, "time")]
    if twice:
        raise SaeSpecError(
            f"The covariates would give the column {twice[0]!r} twice.", hint="Rename one of them."
        )


def chosen_periods(tables: Sequence[EurostatTable], time: str | Sequence[str] | None, back: int) -> list[str]:
    """Return the periods wanted, by default all that some table has.

    Raises
    ------
    SaeSpecError
        If no table has a period and no older figure may stand in, or `back` does not count years.
    """
    held = sorted({period for table in tables for period in table.frame["time"].unique()})
    periods = held if time is None else list(dict.fromkeys([time] if isinstance(time, str) else time))
    absent = [period for period in periods if period not in held]
    if absent and not back:
        raise SaeSpecError(
            f"{name_some(table.name for table in tables)}: no figure is of {name_some(absent)}.",
            hint=f"The periods are {name_some(held, 12)}; back= takes older figures.",
        )
    if back and (back < 0 or not all(period.isdigit() and len(period) == 4 for period in periods)):
        raise SaeSpecError(
            f"back={back} counts years back from {name_some(periods, 3)}.",
            hint="It is for years such as 2022 only.",
        )
    return periods


def one_series(table: EurostatTable, name: str, levels: Mapping[str, str], area: str) -> EurostatTable:
    """Return the figures of one covariate, of which each area has one at a time.

    Raises
    ------
    SaeSpecError
        If the levels are not those of the table, or leave a choice.
    SaeInputError
        If a key stands twice.
    """
    if {area, "time"} & levels.keys():
        raise SaeSpecError(f"{name} names a level of {area} or time.", hint="areas= and time= name these.")
    part = table.select(**levels)
    open_ = {d: part.frame[d].unique() for d in part.dimensions if d != area}
    several = [f"{d} ({name_some(held)})" for d, held in open_.items() if len(held) > 1]
    if several:
        raise SaeSpecError(
            f"{name} does not say which of several levels of {', '.join(several)} is meant.",
            hint=f"Name one level of each dimension of {table.name}.",
        )
    check_figures(part, table.name)
    return part
