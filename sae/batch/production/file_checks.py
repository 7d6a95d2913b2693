"""What is wrong with a production file in itself: options of rungs, names, and what contradicts what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from sae.batch.kinds import KINDS, option_complaints, options
from sae.batch.production.sections import EVERY, NO_MODELS, OWN_KEYS, Contents, LevelBenchmark, RungSection
from sae.batch.spec import unknown_key
from sae.errors import name_some

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
    names = [*(one.name for one in contents.survey), *(one.name for one in contents.registers)]
    lists: dict[str, Sequence[Any]] = {
        "[[survey]] and [[register]] name": names,
        "[production] indicators": production.indicators,
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
    for survey in contents.survey:
        yield from _strangers(f"[[survey]] {survey.name}", survey.indicators, production.indicators)
    for k, section in enumerate(contents.benchmark, 1):
        yield from _benchmark_faults(f"[[benchmark]] number {k}", section, levels, production.groups)


def _benchmark_faults(
    where: str, one: LevelBenchmark, levels: Sequence[str], groups: Sequence[Sequence[str]]
) -> Iterator[str]:
    level = one.level or levels[0]
    if one.to is None and not one.groups:
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
