"""What direct estimates from blocks need of the records: columns to read, keys of the units, indicators."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.design_based.direct_estimation import named_indicators
from sae.design_based.domains import cross_domains
from sae.errors import SaeError, SaeInputError, SaeSpecError, name_some
from sae.indicators import (
    REGISTRY,
    BlockReading,
    Indicator,
    block_arrays,
    check_accept,
    check_admitted,
)
from sae.survey import Survey
from sae.survey.build import HarmonisedRecords, check_layout, harmonised_records, knows_countries
from sae.survey.checks import as_list
from sae.survey.expressions import comparisons_in, names_in
from sae.survey.layouts import Layout
from sae.tables import labels
from sae.tables.blocks import BLOCK, Records

__all__ = ["ROLES", "Joined", "Task", "read_task", "with_joined", "with_named_levels"]

ROLES = ("weights", "strata", "psu", "household", "person", "fpc", "time")


@dataclass(frozen=True)
class Joined:
    """A grouping column that the records lack and another column tells, such as the larger area of an area.

    Attributes
    ----------
    column, source : str
        The new column, and the column that tells it.
    values : mapping of str to str
        The label of the one by that of the other.
    origin : str
        Where the values are from, in messages.
    """

    column: str
    source: str
    values: Mapping[str, str]
    origin: str


@dataclass(frozen=True, eq=False)
class Task:
    """What is summed over the records.

    Attributes
    ----------
    records : Records
    columns : tuple of str
        The file's columns that are read.
    roles : mapping
        As given by the user.
    layout : str, mapping or None
    design : tuple of str
        Columns of the design, harmonised ones too: the key of a unit.
    beside : frozenset of str
        Those of them that place no unit, but are wanted about it: a period, a country. They may be missing.
    every_record : bool
        Whether every record is a unit of its own.
    person : tuple of str
        Columns of which no two records may share all values: period, household, person; empty: unchecked.
    weights : str
    time : str or None
    subset : str or None
    indicators : tuple of Indicator
        Linear ones, resolved.
    yes_or_no : tuple of bool
        Which of them are taken for shares (or counts) until a block shows other numbers.
    crossings : tuple of tuple of str
        Grouping columns of each table that is wanted.
    joined : tuple of Joined
    named_levels : mapping of str to tuple of str
        The levels of each column that indicators and the subset name.
    memory : float
        Bytes that the sums may take.
    """

    records: Records
    columns: tuple[str, ...]
    roles: Mapping[str, Any]
    layout: str | Mapping[str, Any] | None
    design: tuple[str, ...]
    beside: frozenset[str]
    every_record: bool
    person: tuple[str, ...]
    weights: str
    time: str | None
    subset: str | None
    indicators: tuple[Indicator, ...]
    yes_or_no: tuple[bool, ...]
    crossings: tuple[tuple[str, ...], ...]
    joined: tuple[Joined, ...]
    named_levels: Mapping[str, tuple[str, ...]]
    memory: float

    @property
    def by(self) -> tuple[str, ...]:
        """The grouping columns of all tables, each once."""
        return tuple(dict.fromkeys(name for one in self.crossings for name in one))

    def with_numbers(self, places: Collection[int]) -> Task:
        """Return the task with the indicators at these places not taken for yes or no."""
        shares = [yes and j not in places for j, yes in enumerate(self.yes_or_no)]
        return replace(self, yes_or_no=tuple(shares))


def read_task(
    records: Records,
    roles: Mapping[str, Any],
    layout: str | Mapping[str, Any] | None,
    spec: Layout | None,
    indicator: str | Indicator | Sequence[str | Indicator],
    crossings: Sequence[Sequence[str]],
    subset: str | None,
    accept: str | Sequence[str],
    memory: float,
    joined: Sequence[Joined] = (),
) -> tuple[Task, HarmonisedRecords]:
    """Resolve what is wanted on the first block, and say what has to be read.

    Parameters
    ----------
    records : Records
        As they are opened.
    roles, layout, spec
        Columns of the design by role, None where not given; the layout as given, and resolved.
    indicator
        As in `sae.direct`.
    crossings : sequence of sequences of str
        Grouping columns of each table.
    subset, accept
        As in `sae.design_based.direct_from_blocks`.
    memory : float
        Bytes that the sums may take.
    joined : sequence of Joined
        What is joined where the records do not have it.

    Returns
    -------
    task : Task
    first : HarmonisedRecords
        The first block.
    """
    tables = tuple(tuple(one) for one in crossings)
    wanted = [indicator] if isinstance(indicator, str | Indicator) else list(indicator)
    for role, value in roles.items():
        if value is not None and not all(isinstance(one, str) for one in as_list(value, role)):
            raise SaeSpecError(f"{role} names columns of the records, not {value!r}.")
    by = {name for one in tables for name in one}
    named = _named(records, wanted, by | {one.source for one in joined}, subset)
    design = [name for role in roles.values() if role is not None for name in as_list(role, "design")]
    of_layout = set() if spec is None else _columns_of(spec, records)
    columns = tuple(one for one in records.columns if one in {*named, *design} | of_layout)
    if not columns:
        raise SaeInputError(
            f"{records.name} has none of the columns asked for: {name_some((*design, *named))}.",
            hint=f"It has {name_some(records.columns, 12)}.",
        )
    records = records.prepared(columns)
    head = next(records.blocks(columns, 0, 1))
    made = harmonised_records(head, roles, layout, whole=False)
    given = made.roles
    if "replicates" in given or (spec is not None and _has_replicates(spec, records)):
        raise SaeSpecError(
            f"The layout {made.layout!r} has replicate weights, which are not summed over blocks.",
            hint="Use sae.read_survey and sae.direct.",
        )
    psu = as_list(given.get("psu"), "psu") or as_list(given.get("household"), "household")
    strata, fpc = as_list(given.get("strata"), "strata"), as_list(given.get("fpc"), "fpc")
    if len(strata) <= len(psu):  # below a stage drawn with replacement nothing adds to the variance
        strata, psu = strata[: len(fpc) + 1], psu[: len(fpc) + 1]
    placing = keys = (*strata, *psu, *fpc)
    if (
        made.release.survey == "EU-LFS"
        and "period" in made.records
        and given.get("time") not in (None, "period")
    ):
        keys = (*keys, "period", given["time"])  # whether units link the quarters of a year
    if knows_countries(layout) and "country" in made.records:
        keys = (*keys, "country")  # whether units of two countries bear one label
    person: tuple[str, ...] = ()
    if roles["person"] is not None:
        several = (given.get("time"), given.get("household"), roles["person"])
        person = tuple(name for name in several if name is not None)
    # the text levels of the units are many, and no condition names them
    texts = [
        one
        for one in columns
        if one in named or one not in {*keys, given.get("household"), given.get("person")}
    ]
    records = records.with_levels(texts)
    if layout is not None:
        check_layout(_spread(records, columns), roles, layout)
    head = next(records.blocks(columns, 0, 1))
    made = harmonised_records(head, roles, layout, whole=False)
    joined = tuple(one for one in joined if one.column in by and one.column not in made.records)
    made = replace(made, records=with_joined(made.records, joined))
    sample = Survey(
        made.records,
        np.ones(len(head)),
        (),
        layout=made.layout,
        release=made.release,
        notes=tuple(made.notes),
    )
    wanted = [_column_indicator(one, made.records) for one in wanted]
    indicators = [
        _plain(one, name) for one, name in zip(named_indicators(sample, wanted), wanted, strict=True)
    ]
    curved = [one.name for one in indicators if one.distributional]
    if curved:
        raise SaeSpecError(
            f"{name_some(curved)} need the quantiles of all incomes, which blocks do not give.",
            hint="Use sae.read_survey and sae.direct, or ask here for shares, ratios, means and totals only.",
        )
    for table in tables:
        cross_domains(sample, table)  # its columns exist, each once
    accepted = check_accept(accept, indicators)
    for each in indicators:
        if each.state == "remembered" and each.name not in accepted:
            check_admitted(each, sample, accepted)
    if given.get("weights") is None or given["weights"] not in made.records:
        raise SaeInputError(
            "No weights are given."
            if given.get("weights") is None
            else f"There is no column {given['weights']!r}.",
            hint="Name the weight column: weights='...'.",
        )
    named_levels = _named_levels(indicators, subset, made.records)
    task = Task(
        records,
        columns,
        roles,
        layout,
        tuple(dict.fromkeys(keys)),
        frozenset(keys) - frozenset(placing),
        not psu,
        person,
        given["weights"],
        given.get("time"),
        subset,
        tuple(indicators),
        tuple(_yes_or_no(each, named_levels, sample, head) for each in indicators),
        tables,
        joined,
        named_levels,
        memory,
    )
    return task, made


def _yes_or_no(
    indicator: Indicator, named: Mapping[str, Sequence[str]], sample: Survey, head: pd.DataFrame
) -> bool:
    """Whether the first block lets an indicator be taken for shares."""
    survey = replace(sample, frame=with_named_levels(named, sample.frame, head))
    try:
        return block_arrays(indicator, survey, True, BlockReading())[0] is not None
    except SaeError:  # its sums will tell, and name the records
        return True


def with_named_levels(
    named: Mapping[str, Sequence[str]], records: pd.DataFrame, file: pd.DataFrame
) -> pd.DataFrame:
    """Let columns that the layout derives know the levels that are asked for, which a block may lack.

    Whether the whole file holds them is asked at the end. Of the file's own columns all levels are known.
    """
    made = {}
    for name, levels in named.items():
        if name in file or name not in records or not isinstance(records[name].dtype, pd.CategoricalDtype):
            continue
        lacking = [one for one in levels if one not in records[name].cat.categories]
        if lacking:
            made[name] = records[name].cat.add_categories(lacking)
    return records.assign(**made) if made else records


def with_joined(records: pd.DataFrame, joined: Sequence[Joined]) -> pd.DataFrame:
    """Add the columns that are joined; what has no value in the source has none."""
    made = {}
    for one in joined:
        if one.source not in records:
            continue
        texts = labels(records[one.source], keep_missing=True)
        absent = sorted(set(texts.dropna()) - set(one.values))
        if absent:
            raise SaeInputError(
                f"{one.origin} has no {one.column} for {len(absent)} values of {one.source}: "
                f"{name_some(absent)}.",
                areas=absent,
                column=one.column,
            )
        values = texts.astype(object).map(dict(one.values))
        made[one.column] = values.astype(pd.CategoricalDtype(sorted(set(one.values.values()))))
    return records.assign(**made) if made else records


def _spread(records: Records, columns: Sequence[str]) -> pd.DataFrame:
    """Return blocks from all over the file, whose codes tell its layout; of a stream the first one."""
    last = -(-records.n_records // BLOCK) - 1
    picked = sorted({0, last // 4, last // 2, 3 * last // 4, last}) if records.seekable else [0]
    return pd.concat([next(records.blocks(columns, k, k + 1)) for k in picked], ignore_index=True)


def _column_indicator(name: str | Indicator, records: pd.DataFrame) -> str | Indicator:
    """Return the indicator of a column of which the first block knows no value."""
    if isinstance(name, str) and name not in REGISTRY and name in records and records[name].isna().all():
        return Indicator(numerator=name, id=name, label=name)
    return name


def _plain(indicator: Indicator, wanted: str | Indicator) -> Indicator:
    """Return a column that is wanted for by its name without the unit that its first block suggests."""
    if isinstance(wanted, str) and REGISTRY.get(wanted) is not indicator:
        return replace(indicator, unit="")
    return indicator


def _named(records: Records, wanted: Sequence[str | Indicator], by: set[str], subset: str | None) -> set[str]:
    """Columns that indicators, groups and the subset name."""
    names = {*by, *(() if subset is None else names_in(subset))}
    for one in wanted:
        if isinstance(one, str) and one in REGISTRY:
            names |= set(REGISTRY[one].variables(records.columns))
        if isinstance(one, str):
            names.add(one)
        elif isinstance(one, Indicator):
            names |= set(one.variables(records.columns))
    return names


def _named_levels(
    indicators: Sequence[Indicator], subset: str | None, records: pd.DataFrame
) -> dict[str, tuple[str, ...]]:
    parts = [part for one in indicators for part in one.parts if part not in records]
    named: dict[str, tuple[str, ...]] = {}
    for part in (*parts, *(() if subset is None else (subset,))):
        for name, _, value in comparisons_in(part):
            levels = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
            named[name] = (*named.get(name, ()), *levels)
    return {name: tuple(dict.fromkeys(levels)) for name, levels in named.items() if levels}


def _columns_of(layout: Layout, records: Records) -> set[str]:
    """Columns of the file that a layout may read."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
            yield from re.findall(r"\w+", value)
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                yield str(key)
                yield from texts(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from texts(inner)

    codes = [coding["column"] for coding in layout.codes.values()]
    wanted = {*texts([*layout.columns.values(), *layout.derive.values(), *codes])}
    lower = {one.lower() for one in wanted}
    return {one for one in records.columns if one in wanted or (layout.name and one.lower() in lower)}


def _has_replicates(layout: Layout, records: Records) -> bool:
    wanted = layout.columns.get("replicates")
    named = wanted.get("columns") if isinstance(wanted, Mapping) else wanted
    if isinstance(named, str):
        return any(name.startswith(f"{named}1") for name in records.columns)
    return any(name in records.columns for name in named or ())
