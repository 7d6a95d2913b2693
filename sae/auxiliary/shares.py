"""Figures of registers as tables of areas: shares as covariates with their origin, counts as populations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.auxiliary.population import refuse_incomplete
from sae.auxiliary.registers import PROVENANCE, Register
from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import (
    Covariates,
    Origin,
    join_by_name,
    joined_labels,
    label_text,
)

__all__ = ["counts", "shares"]


@answered
def shares(
    register: Register,
    name: str,
    *,
    numerator: Mapping[str, str],
    denominator: Mapping[str, str],
    year: object | Mapping[Any, object],
    among: Register | None = None,
    by: Sequence[str] = (),
    area: str = "area",
    time: str = "year",
) -> Covariates:
    """Return a share of register figures as a covariate, one row per area (and group, and period).

    Parameters
    ----------
    register : Register
    name : str
        Of the covariate.
    numerator, denominator : mapping of str to str
        The label of every column that has several: ``{"citizenship": "foreign", "sex": "all"}``; `regroup`
        adds labels up.
    year : label or mapping of labels
        Year of the figures, "2020"; or for each period of the data the year of the figures that stand
        beside it, ``{"2019": "2011", "2020": "2011", "2021": "2021"}``, such as those of the last census.
    among : Register, optional
        Holds the denominator; the same register by default. If it lacks a year and has one only, that one is
        taken, and the definition says so.
    by : sequence of str
        Group columns of the table, each label a row of its own.
    area, time : str
        What the columns of areas and periods are called in the table, as in the survey.

    Returns
    -------
    Covariates
        Columns `area`, with several periods `time`, those of `by`, and `name`; missing where a figure is not
        published. Its origin reaches the provenance and the summary of a fit.

    Raises
    ------
    SaeInputError
        If a column has several labels and none is chosen, a figure several definitions, an area figures on
        one side only, a denominator is 0, a share exceeds 1, or the definition changes between the periods.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": ["A", "A", "B", "B"], "year": "2020-01-01", "value": [5, 50, 6, 30]})
    >>> frame["group"] = ["foreign", "total"] * 2
    >>> texts = {"indicator": "residents", "source": "Population register", "definition": "residents"}
    >>> register = sae.auxiliary.read_register(frame, groups=["group"], **texts)
    >>> foreign, total = {"group": "foreign"}, {"group": "total"}
    >>> table = sae.auxiliary.shares(
    ...     register, "share", numerator=foreign, denominator=total, year="2020-01-01", area="region"
    ... )
    >>> table.frame.to_dict("list")
    {'region': ['A', 'B'], 'share': [0.1, 0.2]}
    >>> table.origins["share"].text(["2025"])
    'Population register, 1 January 2020 (residents: foreign over total), 5 years before the data'
    """
    by = [by] if isinstance(by, str) else by

    def of_year(vintage: str) -> tuple[pd.DataFrame, Origin]:
        above, _ = _chosen(register, numerator, vintage, by, "The numerator")
        below, of = _chosen(among or register, denominator, vintage, by, "The denominator", among is not None)
        table, error = _divided(above.frame, below.frame, ["area", *by], name, vintage)
        source, definition = (_one(above.frame, column, name) for column in PROVENANCE)
        other, whole = (_one(below.frame, column, name) for column in PROVENANCE)
        parts = [", ".join(labels.values()) for labels in (numerator, denominator)]
        parts[1] += "" if of == vintage else f" of {of}"
        if whole == definition:
            shown = f"{definition}: {parts[0]} over {parts[1]}"
        else:
            texts = zip((definition, whole), parts, strict=True)
            shown = " over ".join(": ".join(filter(None, text)) for text in texts)
        both = source if source == other else f"{source} over {other}"
        return table, Origin(both, shown, vintage, error)

    return _of_years(of_year, name, year, area, time, by)


@answered
def counts(
    register: Register,
    name: str,
    *,
    year: object | Mapping[Any, object],
    labels: Mapping[str, str] | None = None,
    by: Sequence[str] = (),
    area: str = "area",
    time: str = "year",
) -> Covariates:
    """Return register counts by area and group, complete: population weights, and totals for a calibration.

    Parameters
    ----------
    register : Register
    name : str
        Of the counts, such as "population_20_64".
    year : label or mapping of labels
        As of `shares`.
    labels : mapping of str to str, optional
        The label of every column that has several and is not in `by`.
    by : sequence of str
        Group columns of the table.
    area, time : str
        What the columns of areas and periods are called in the table, as in the survey.

    Raises
    ------
    SaeInputError
        As `shares`; and if a count is missing or negative, or a combination of the labels has none.

    Examples
    --------
    >>> frame = pd.DataFrame({"area": ["A", "B"], "year": "2020", "value": [50, 30]})
    >>> texts = {"indicator": "residents", "source": "Population register", "definition": "aged 20-64"}
    >>> register = sae.auxiliary.read_register(frame, **texts)
    >>> sae.auxiliary.counts(register, "population_20_64", year="2020", area="city").frame.to_dict("list")
    {'city': ['A', 'B'], 'population_20_64': [50.0, 30.0]}
    """
    by = [by] if isinstance(by, str) else by

    def of_year(vintage: str) -> tuple[pd.DataFrame, Origin]:
        chosen, _ = _chosen(register, labels or {}, vintage, by, f"The counts {name}")
        table = chosen.frame[["area", *by, "value"]].rename(columns={"value": name})
        source, definition = (_one(chosen.frame, column, name) for column in PROVENANCE)
        shown = ": ".join(filter(None, [definition, ", ".join((labels or {}).values())]))
        return table, Origin(source, shown, vintage, float(chosen.frame["rounding_error"].max()))

    table = _of_years(of_year, name, year, area, time, by)
    refuse_incomplete(
        table.frame, [column for column in map(str, table.frame) if column != name], name, "The register"
    )
    return table


def _of_years(
    of_year: Callable[[str], tuple[pd.DataFrame, Origin]],
    name: str,
    year: object | Mapping[Any, object],
    area: str,
    time: str,
    by: Sequence[str],
) -> Covariates:
    """Put the tables of the years below each other; refuse definitions that change between them."""
    if not isinstance(year, Mapping):
        table, origin = of_year(label_text(year))
        return Covariates(table[["area", *by, name]].rename(columns={"area": area}), {name: origin})
    if not year:
        raise SaeSpecError("year= names no year.", hint='For example year="2020".')
    vintages = {period: label_text(vintage) for period, vintage in year.items()}
    known = {vintage: of_year(vintage) for vintage in dict.fromkeys(vintages.values())}
    first = next(iter(known.values()))[1]
    for vintage, (_, origin) in known.items():
        for column in PROVENANCE:
            before, after = getattr(first, column), getattr(origin, column)
            if before != after:
                raise SaeInputError(
                    f"The {column} of {name} changes in {vintage}, from {before!r} to {after!r}.",
                    hint="A covariate across a break means two things: take the years of one definition, or "
                    "state one text for both when you read the register.",
                    column=name,
                )
    tables = [known[vintage][0].assign(**{time: period}) for period, vintage in vintages.items()]
    frame = pd.concat(tables, ignore_index=True)
    error = max(origin.rounding_error for _, origin in known.values())
    beside = {label_text(period): vintage for period, vintage in vintages.items()}
    origin = Origin(first.source, first.definition, beside, error)
    return Covariates(frame[["area", time, *by, name]].rename(columns={"area": area}), {name: origin})


def _chosen(
    register: Register,
    labels: Mapping[str, str],
    year: str,
    by: Sequence[str],
    what: str,
    any_year: bool = False,
) -> tuple[Register, str]:
    """Return the figures of one year and their year: one label per column that is not in `by`."""
    unknown = [column for column in [*labels, *by] if column not in (*register.groups, "indicator")]
    if unknown:
        raise SaeSpecError(
            f"{what}: the register has no group column {name_some(map(repr, unknown))}.",
            hint=f"It has {name_some([*register.groups, 'indicator'])}.",
            column=unknown[0],
        )
    years = register.levels("year")
    if year not in years:
        if not any_year or len(years) > 1:
            raise SaeInputError(
                f"{what}: the register has no figures of {year!r}.",
                hint=f"It has those of {name_some(sorted(years), 12)}.",
                column="year",
            )
        year = years[0]
    chosen = register.select(year=year, **labels)
    open_columns = [name for name in (*register.groups, "indicator") if name not in (*labels, *by)]
    several = [name for name in open_columns if len(chosen.levels(name)) > 1]
    if several:
        column = several[0]
        raise SaeInputError(
            f"{what}: {column} has several labels, {name_some(chosen.levels(column))}.",
            hint=f"Choose one of {column}, name the column in by=, or add its labels up with regroup.",
            column=column,
        )
    return chosen.single(what), year


def _divided(
    above: pd.DataFrame, below: pd.DataFrame, keys: list[str], name: str, year: str
) -> tuple[pd.DataFrame, float]:
    """Return a share by `keys`, and the most by which rounding may have moved it."""
    columns = [*keys, "value", "rounding_error"]
    whole = {"value": "whole", "rounding_error": "whole_error"}
    joined, _ = join_by_name(
        above[columns],
        below[columns].rename(columns=whole),
        keys,
        how="exact",
        names=("the numerator", "the denominator"),
    )
    rows = joined_labels(joined, keys)
    empty = joined["whole"] <= 0
    if empty.any():
        raise SaeInputError(
            f"The denominator of {name} is 0 in {int(empty.sum())} of {len(joined)} rows of {year}: "
            f"{name_some(rows[empty])}.",
            hint="There is no share of nobody: take these areas out with register.select(area=...).",
            areas=joined.loc[empty, "area"].unique(),
            column=name,
        )
    share = joined["value"] / joined["whole"]
    error = (joined["rounding_error"] + share * joined["whole_error"]) / joined["whole"]
    beyond = (share > 1 + error) | (share < 0)
    if beyond.any():
        shown = [f"{row} ({value:.4g})" for row, value in zip(rows[beyond], share[beyond], strict=True)]
        raise SaeInputError(
            f"{name} is no share in {int(beyond.sum())} of {len(joined)} rows of {year}: {name_some(shown)}.",
            hint="The numerator must count people whom the denominator counts too.",
            areas=joined.loc[beyond, "area"].unique(),
            column=name,
        )
    return joined[keys].assign(**{name: share}), float(np.nan_to_num(error.max()))


def _one(frame: pd.DataFrame, column: str, name: str) -> str:
    """Return the one text that all figures bear; refuse a table of several."""
    texts = frame[column].unique()
    if len(texts) > 1:
        areas = [
            f"{text!r} ({name_some(frame.loc[frame[column] == text, 'area'].unique(), 3)})" for text in texts
        ]
        raise SaeInputError(
            f"{name} would mix several of {column}: {name_some(areas)}.",
            hint=f"Choose one: register.select({column}=...); or state one text when you read the register.",
            areas=frame["area"].unique(),
            column=column,
        )
    return str(texts[0])
