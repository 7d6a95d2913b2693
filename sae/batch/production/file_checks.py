"""What is wrong with a production file in itself: options of rungs, names, and what contradicts what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sae.batch.kinds import KINDS, option_complaints, options
from sae.batch.production.sections import (
    EVERY,
    NO_MODELS,
    OWN_KEYS,
    Contents,
    LevelBenchmark,
    PlanTable,
    RungSection,
)
from sae.batch.spec import unknown_key
from sae.errors import name_some
from sae.indicators import REGISTRY

__all__ = ["contradictions", "rung_faults"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


def rung_faults(models: object) -> Iterator[str]:
    """Yield what is wrong with the keys of the rungs for their kinds."""
    for k, ladder in enumerate(models if isinstance(models, list) else [], 1):
        rungs = ladder.get("rung") if isinstance(ladder, dict) else None
        for j, rung in enumerate(rungs if isinstance(rungs, list) else [], 1):
            where = f"[[model]] number {k}, rung {j}"
            if isinstance(rung, dict) and isinstance(rung.get("kind"), str):
                yield from _one_rung(rung, where)


def _one_rung(rung: dict[str, Any], where: str) -> Iterator[str]:
    kind = rung["kind"]
    if kind in NO_MODELS:
        known = ["kind", "accept_if", *(["of"] if kind == "synthetic" else [])]
        for key in rung:
            if key not in known:
                yield f'{where} has the key {key}, but kind = "{kind}" takes {", ".join(known)}.'
        return
    if kind not in KINDS:
        kinds = ", ".join(f'"{name}"' for name in (*NO_MODELS, *KINDS))
        yield f'{where}: kind = "{kind}" is not known; it takes {kinds}.'
        return
    for key in ("per", "of"):
        if key in rung:
            home = "[[model]], for all rungs" if key == "per" else 'a rung of kind = "synthetic"'
            yield f"{where}: {key} belongs in {home}."
    formula = rung.get("formula")
    if not isinstance(formula, str) or not formula.strip().startswith("~"):
        yield f'{where}: the formula is "~ covariates", without an indicator before it, not {formula!r}.'
    given = {key: value for key, value in rung.items() if key not in (*OWN_KEYS, "per")}
    for stray, complaint in option_complaints(given):
        if stray is None:
            yield complaint.replace("[model]", f"{where}:")
        else:
            fault = unknown_key(("model",), stray, {("model",): RungSection}, options(kind))
            yield fault.replace("[model]", where)


def contradictions(contents: Contents) -> Iterator[str]:
    """Yield what of a file contradicts itself, the first first."""
    production, levels = contents.production, list(contents.production.levels)
    names = [*(one.name for one in contents.survey), *(one.name for one in contents.tables)]
    names += [one.name for one in contents.registers]
    if not names:
        yield "it has no source of figures: write a [[survey]], [[direct]] or [[register]]."
    lists: dict[str, Sequence[Any]] = {
        "[[survey]], [[direct]] and [[register]] name": names,
        "[production] indicators": production.indicators,
        "[[indicator]] id": [one.id for one in contents.definitions],
        "[production] groups": [tuple(sorted(one)) for one in production.groups],
        "[production] levels": list(production.levels.values()),
    }
    for what, values in lists.items():
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            yield f"{what} has {name_some(map(repr, twice))} twice."
    for name in (*names, *levels):
        if not _NAME.fullmatch(name):
            yield f"{name!r} is no name: it takes letters, digits, - and _, a letter first."
    own = [one.id for one in contents.definitions]
    yield from _strangers("[[indicator]]", own, production.indicators)
    known = [name for name in own if name in REGISTRY]
    if known:
        yield f"[[indicator]] {name_some(known)} has another definition in sae: give it an id of its own."
    columns = set(filter(None, production.levels.values()))
    for groups in production.groups:
        counts = Counter(groups)
        stray = [name for name, count in counts.items() if name in columns or not name or count > 1]
        if stray:
            yield f"[production] groups names {name_some(map(repr, stray))}, a level, empty or twice."
    if contents.model and production.seed is None:
        yield "[production] gives no seed, but models may draw random numbers. Write seed = 20260101."
    where = [
        (f"[[model]] number {k}", one.indicators, one.levels or levels[:1])
        for k, one in enumerate(contents.model, 1)
    ]
    yield from _overlaps(where, levels)
    for k, section in enumerate(contents.benchmark, 1):
        names = section.shares
        if names and (len(set(names)) != len(names) or len(names) < 2 or EVERY in names):
            yield f"[[benchmark]] number {k}: shares takes two or more indicators by name, each once."
    where = [
        (f"[[benchmark]] number {k}", one.indicators, [one.level or levels[0]])
        for k, one in enumerate(contents.benchmark, 1)
    ]
    yield from _overlaps(where, levels)
    for place, indicators, _ in where:
        yield from _strangers(place, indicators, production.indicators)
    for k, ladder in enumerate(contents.model, 1):
        yield from _strangers(f"[[model]] number {k}", ladder.indicators, production.indicators)
        for rung in ladder.rung:
            if rung.of is not None and rung.of not in levels:
                yield f'[[model]] number {k}: of = "{rung.of}" is no level; levels are {", ".join(levels)}.'
    if contents.plan is not None:
        yield from _plan_faults(contents.plan, [one.name for one in contents.survey])
    for survey in contents.survey:
        yield from _strangers(f"[[survey]] {survey.name}", survey.indicators, production.indicators)
    yield from _table_faults(contents, levels)
    ignored = sorted(contents.areas.model_fields_set - {"eurostat", "origins", "file"})
    if contents.areas.eurostat is not None and ignored:
        yield f"[areas] {name_some(ignored)} has no meaning for a table of Eurostat."
    for k, section in enumerate(contents.benchmark, 1):
        yield from _benchmark_faults(f"[[benchmark]] number {k}", section, levels, production.groups)


def _table_faults(contents: Contents, levels: Sequence[str]) -> Iterator[str]:
    """Yield what contradicts the rest of the file in its tables of direct estimates."""
    told = [(table, one.id) for table in contents.tables for one in table.indicators]
    twice = [name for name, count in Counter(name for _, name in told).items() if count > 1]
    if twice:
        yield f"[[direct.indicator]] id has {name_some(twice)} twice: one table tells an indicator."
    for table in contents.tables:
        where = f"[[direct]] {table.name}"
        yield from _strangers(where, [one.id for one in table.indicators], contents.production.indicators)
        level = table.level or levels[0]
        if level not in levels or not contents.production.levels[level]:
            yield f'{where}: level = "{level}" is no level with a column; levels are {", ".join(levels)}.'
            continue
        known = [contents.production.levels[level], *contents.production.grouping]
        for key in ("columns", "total"):
            stray = [name for name in getattr(table, key) if name not in known]
            if stray:
                yield f"{where}: {key} names {name_some(stray)}; it takes {', '.join(known)}."
    for k, one in enumerate(contents.benchmark, 1):
        here = [name for _, name in told if name in one.indicators or one.indicators == [EVERY]]
        if here and one.weights is None:
            yield (
                f"[[benchmark]] number {k} gives no weights, and the table that tells {name_some(here)} does "
                "not say whom it counts. Name a column of the areas: weights = ..., or the indicators that "
                "it is for."
            )


def _benchmark_faults(
    where: str, one: LevelBenchmark, levels: Sequence[str], groups: Sequence[Sequence[str]]
) -> Iterator[str]:
    level = one.level or levels[0]
    if one.to is None and not one.groups and not one.shares:
        yield f'{where} meets nothing: write to = "{levels[-1]}", groups = true, or both.'
    if one.to is not None and one.to not in levels:
        yield f'{where}: to = "{one.to}" is no level; levels are {", ".join(levels)}.'
    elif one.to is not None and level in levels and levels.index(one.to) <= levels.index(level):
        yield f'{where}: to = "{one.to}" is not above {level}; [production.levels] has the smallest first.'
    if one.groups and [] not in [list(names) for names in groups]:
        yield f"{where}: groups = true needs the total, [], among [production] groups."


def _overlaps(
    where: Sequence[tuple[str, Sequence[str], Sequence[str]]], levels: Sequence[str]
) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    for place, indicators, here in where:
        strange = [name for name in here if name not in levels]
        if strange:
            yield f"{place} names the levels {name_some(strange)}; [production] has {', '.join(levels)}."
        for key in ((one, level) for one in indicators for level in here):
            if key in seen:
                yield f'{seen[key]} and {place.partition(" ")[2]} are both for "{key[0]}" at {key[1]}.'
            seen[key] = place


def _strangers(where: str, names: Sequence[str], indicators: Sequence[str]) -> Iterator[str]:
    stray = [name for name in names if name != EVERY and name not in indicators]
    if stray:
        yield f"{where} names {name_some(stray)}, which [production] indicators does not have."


def _plan_faults(plan: PlanTable, surveys: Sequence[str]) -> Iterator[str]:
    if 0 < plan.assurance < 0.5:
        yield f"[plan] assurance = {plan.assurance:g} is less than even odds: give 0.5 to below 1, or 0."
    costs = plan.cost if isinstance(plan.cost, dict) else {}
    stray = [name for name in costs if name not in surveys]
    if stray:
        yield f"[plan] cost names {name_some(stray)}, no survey of the file: it has {name_some(surveys)}."
    prices = plan.prices(surveys)
    if any(not 0 < price < float("inf") for price in prices.values()):
        yield f"[plan] cost = {plan.cost} is no price of an interview."
