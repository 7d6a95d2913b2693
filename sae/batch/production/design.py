"""What a production file and its data come to: which survey tells what, for which rows, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod

import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.estimate import evaluated
from sae.batch.production.registers import register_rows
from sae.batch.production.spec import ProductionFile
from sae.batch.production.surveys import with_levels
from sae.batch.runner import check_places
from sae.design_based.domains import cross_domains
from sae.errors import SaeError, SaeSpecError, name_some
from sae.indicators import REGISTRY, IndicatorArrays, check_accept, check_domains
from sae.indicators.definition import UNSAMPLED
from sae.survey import Survey

__all__ = ["Crossing", "Design", "understood"]


@dataclass(frozen=True)
class Crossing:
    """A table of one survey: the areas of a level crossed with groups and periods.

    Attributes
    ----------
    survey, level : str
    column : str
        Of the level; "" for the whole.
    groups : tuple of str
    time : str
        Column of the period; "" where there is none.
    rows : int
        Domains of the survey.
    fits : int
        Combinations of groups and periods.
    """

    survey: str
    level: str
    column: str
    groups: tuple[str, ...]
    time: str
    rows: int = 0
    fits: int = 1

    @property
    def by(self) -> list[str]:
        """The columns that make the rows."""
        return [name for name in (self.column, *self.groups, self.time) if name]

    @property
    def name(self) -> str:
        """Level and groups, for people."""
        return f"{self.level} × {' × '.join(self.groups)}" if self.groups else self.level


@dataclass(frozen=True, eq=False)
class Design:
    """What a run will do.

    Attributes
    ----------
    file : ProductionFile
    surveys : mapping of str to Survey
        By name.
    evaluated : mapping of str to IndicatorArrays
        Each indicator on the records of its survey.
    served : mapping of str to str
        Survey of each indicator.
    crossings : tuple of Crossing
        The smallest areas first, the total before its groups.
    untold : mapping of str to str
        What cannot be told, and why.
    registered : tuple of DataFrame
        The rows of indicators that registers tell.
    """

    file: ProductionFile
    surveys: Mapping[str, Survey]
    evaluated: Mapping[str, IndicatorArrays]
    served: Mapping[str, str]
    crossings: tuple[Crossing, ...]
    untold: Mapping[str, str] = field(default_factory=dict)
    registered: tuple[pd.DataFrame, ...] = ()

    def indicators(self, crossing: Crossing) -> list[str]:
        """Return the indicators of a crossing, in the order of the file."""
        return [name for name, survey in self.served.items() if survey == crossing.survey]

    @property
    def cells(self) -> int:
        """Number of indicators × domains that the surveys make."""
        return sum(crossing.rows * len(self.indicators(crossing)) for crossing in self.crossings)

    @property
    def fits(self) -> int:
        """Number of fits on the first rung of every ladder."""
        return sum(
            crossing.fits
            for crossing in self.crossings
            for name in self.indicators(crossing)
            if self.file.ladder(name, crossing.level) is not None
        )

    @property
    def text(self) -> str:
        """The design as it was understood."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for name, survey in self.surveys.items():
            yield f"survey {name}: {len(survey):,} records; {survey.design}"
            yield f"  tells {', '.join(self._told_by(name)) or 'nothing'}"
        for crossing in self.crossings:
            count = len(self.indicators(crossing))
            rows = f"{crossing.rows:,} domains × {count} indicators"
            yield f"{crossing.survey}: {crossing.name}: {rows}"
        for k, ladder in enumerate(self.file.ladders, 1):
            steps = " → ".join(rung.name for rung in ladder.rung)
            levels = ", ".join(ladder.levels or [self.file.lowest])
            yield f"models {k}, for {', '.join(ladder.indicators)} at {levels}: {steps}"
        for table in self.registered:
            first = table.iloc[0]
            yield f"registers: {first['level']}: {len(table):,} figures of {first['indicator']}"
        yield f"{self.cells:,} cells of the surveys, {self.fits:,} fits on the first rungs"
        for what, reason in self.untold.items():
            yield f"not told: {what}: {reason}"

    def _told_by(self, survey: str) -> list[str]:
        return [name for name, of in self.served.items() if of == survey]


def understood(
    file: ProductionFile,
    surveys: Mapping[str, Survey],
    areas: AreaFile | None,
    registers: Mapping[str, pd.DataFrame] | None = None,
) -> Design:
    """Return what the file and its surveys come to, everything that costs no estimation.

    Raises
    ------
    SaeSpecError, SaeInputError
        If a column or an indicator is known to no survey, or nothing can be told.
    """
    surveys = {name: with_levels(survey, file, areas) for name, survey in surveys.items()}
    check_accept(file.production.accept)
    _check_columns(file, surveys, areas)
    untold: dict[str, str] = {}
    served: dict[str, str] = {}
    known: dict[str, IndicatorArrays] = {}
    registered: list[pd.DataFrame] = []
    for name in file.production.indicators:
        try:
            if name in REGISTRY and REGISTRY[name].kind == "register_rate" and registers:
                rows, lost = _registered(file, name, registers, areas)
                registered, untold = [*registered, *rows], {**untold, **lost}
                continue
            served[name], known[name] = _teller(name, file, surveys)
        except SaeError as error:
            untold[name] = error.what
    crossings = []
    for survey in surveys:
        if survey in served.values():
            crossings += list(_crossings(file, survey, surveys[survey], untold))
    if not crossings and not registered:
        shown = name_some([f"{what}: {reason}" for what, reason in untold.items()], 4)
        raise SaeSpecError(f"{file.id}.toml: nothing can be told: {shown}")
    return Design(file, surveys, known, served, tuple(crossings), untold, tuple(registered))


def _registered(
    file: ProductionFile, name: str, registers: Mapping[str, pd.DataFrame], areas: AreaFile | None
) -> tuple[list[pd.DataFrame], dict[str, str]]:
    """Return the rows of an indicator from the first register that has its figures.

    Raises
    ------
    SaeError
        Why none has.
    """
    reason: SaeError | None = None
    for one, table in registers.items():
        try:
            return register_rows(file, table, name, file.registers[one].group, areas)
        except SaeError as error:
            reason = reason or error
    assert reason is not None
    raise reason


def _check_columns(file: ProductionFile, surveys: Mapping[str, Survey], areas: AreaFile | None) -> None:
    """Refuse names that nothing bears: a column without a survey, an indicator without a definition."""
    columns = {str(name) for survey in surveys.values() for name in survey.frame}
    wanted = {name: "[production.levels]" for name in file.production.levels.values() if name}
    wanted |= {name: "[production] groups" for groups in file.production.groups for name in groups}
    for name, where in wanted.items():
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            raise SaeSpecError(
                f"{file.id}.toml: {where} names {name}, which no survey has.",
                hint=f"Did you mean {near[0]}?" if near else f"They have {name_some(sorted(columns), 20)}.",
                column=name,
            )
    known = {*REGISTRY, *columns}
    for name in file.production.indicators:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise SaeSpecError(
                f"{file.id}.toml: [production] indicators names {name}, which is no indicator and no column.",
                hint=f"Did you mean {near[0]}?" if near else "sae indicators lists them.",
            )
    held = set() if areas is None else set(areas.cells)
    lost = [one.weights for one in file.benchmarks if one.weights and one.weights not in held]
    if lost:
        raise SaeSpecError(
            f"{file.id}.toml: [[benchmark]] weights names {name_some(lost)}, no column of the areas.",
            hint="Give them with --areas, or leave weights out: the survey then counts."
            if areas is None
            else f"{areas.name} has {name_some(held, 20)}.",
        )


def _teller(name: str, file: ProductionFile, surveys: Mapping[str, Survey]) -> tuple[str, IndicatorArrays]:
    """Return the survey that tells an indicator, and the indicator on its records.

    Raises
    ------
    SaeError
        Why no survey does.
    """
    kind = REGISTRY[name].kind if name in REGISTRY else ""
    if kind in UNSAMPLED:
        raise SaeSpecError(f"no survey tells it; sae.indicators.{UNSAMPLED[kind]} does, from registers")
    home = REGISTRY[name].survey if name in REGISTRY else ""
    named = [one for one, entry in file.surveys.items() if name in entry.indicators]
    free = [one for one, entry in file.surveys.items() if not entry.indicators]
    fit = [one for one in free if surveys[one].release.survey in ("", home) or not home]
    candidates = named or fit
    if not candidates:
        raise SaeSpecError(f"it is of the {home}, and no survey of the file is")
    reason: SaeError | None = None
    for one in candidates:
        try:
            return one, evaluated(file.model_file(name), surveys[one])
        except SaeError as error:
            reason = reason or error
    assert reason is not None
    raise reason


def _crossings(file: ProductionFile, name: str, survey: Survey, untold: dict[str, str]) -> Iterator[Crossing]:
    production, frame = file.production, survey.frame
    accept = frozenset(production.accept)
    time = survey.time if production.time and survey.time else ""
    for level, column in production.levels.items():
        for groups in sorted(production.groups, key=len):
            lost = [one for one in (*filter(None, [column]), *groups) if one not in frame]
            crossing = Crossing(name, level, column, tuple(groups), time)
            try:
                if lost:
                    raise SaeSpecError(f"the survey has no {name_some(lost)}")
                check_domains(crossing.by, survey, accept)
                check_places(survey, crossing.by, production.accept)
                domains = cross_domains(survey, crossing.by)
            except SaeError as error:
                untold[f"{name}, {crossing.name}"] = error.what
                continue
            sizes = [domains.labels[one].nunique() for one in (*groups, *filter(None, [time]))]
            yield Crossing(name, level, column, tuple(groups), time, len(domains), prod(sizes))
