"""What a production file and its data come to: which survey tells what, for which rows, and why not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod

import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.estimate import estimator, indicator_of, refuse_unanswered
from sae.batch.production.published import PublishedTable
from sae.batch.production.registers import register_rows
from sae.batch.production.sketches import Sketch
from sae.batch.production.spec import ProductionFile
from sae.batch.production.surveys import with_levels
from sae.batch.runner import check_places
from sae.design_based.domains import cross_domains
from sae.errors import SaeError, SaeSpecError, name_some
from sae.indicators import REGISTRY, Indicator, arrays, check_accept, check_domains
from sae.indicators.definition import UNSAMPLED
from sae.survey import Survey
from sae.tables import DirectEstimates

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
    sketches : mapping of str to Sketch
        Of all files of each survey.
    surveys : mapping of str to Survey
        The few records of the sketches, with the columns of levels that only the areas have.
    known : mapping of str to Indicator
        Each indicator as its survey carries it.
    served : mapping of str to str
        Survey of each indicator.
    crossings : tuple of Crossing
        The smallest areas first, the total before its groups.
    untold : mapping of str to str
        What cannot be told, and why.
    registered : tuple of DataFrame
        The rows of indicators that registers tell.
    published : mapping of str to PublishedTable
        The tables of direct estimates made elsewhere, by name.
    """

    file: ProductionFile
    sketches: Mapping[str, Sketch]
    surveys: Mapping[str, Survey]
    known: Mapping[str, Indicator]
    served: Mapping[str, str]
    crossings: tuple[Crossing, ...]
    untold: Mapping[str, str] = field(default_factory=dict)
    registered: tuple[pd.DataFrame, ...] = ()
    published: Mapping[str, PublishedTable] = field(default_factory=dict)

    def indicators(self, crossing: Crossing) -> list[str]:
        """Return the indicators of a crossing, in the order of the file."""
        return [name for name, survey in self.served.items() if survey == crossing.survey]

    def crossings_of(self, indicator: str) -> list[Crossing]:
        """Return the crossings of an indicator, the larger units first, the total before its groups."""
        levels = list(self.file.production.levels)
        own = [one for one in self.crossings if one.survey == self.served[indicator]]
        return sorted(own, key=lambda one: (-levels.index(one.level), len(one.groups)))

    def together(self, indicators: Iterable[str]) -> list[tuple[str, ...]]:
        """Return the indicators, those that add to 1 together."""
        home = {name: one.shares[0] for one in self.file.benchmarks for name in one.shares}
        sets: dict[str, list[str]] = {}
        for name in indicators:
            sets.setdefault(home.get(name, name), []).append(name)
        return [tuple(names) for names in sets.values()]

    def tied(self, indicator: str, crossing: Crossing) -> bool:
        """Whether the ladder of an indicator has a model that uses the covariances of direct estimates."""
        ladder = self.file.ladder(indicator, crossing.level)
        for rung in ladder.rung if ladder else ():
            if rung.formula is not None:
                model = estimator(self.file.model_file(indicator, crossing.by, rung))
                if model is not None and model.wants_covariance:
                    return True
        return False

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
            yield f"survey {name}: {self.sketches[name].records:,} records; {survey.design}"
            yield f"  tells {', '.join(self._told_by(name)) or 'nothing'}"
        for name, table in self.published.items():
            yield f"table {name}: {table.source['file']}; {table.design}"
            yield f"  tells {', '.join(self._told_by(name)) or 'nothing'}"
        for crossing in self.crossings:
            count = len(self.indicators(crossing))
            rows = f"{crossing.rows:,} domains × {count} indicators"
            yield f"{crossing.survey}: {crossing.name}: {rows}"
        for k, ladder in enumerate(self.file.ladders, 1):
            steps = " → ".join(rung.name for rung in ladder.rung)
            levels = ", ".join(ladder.levels or [self.file.lowest])
            yield f"models {k}, for {', '.join(ladder.indicators)} at {levels}: {steps}"
        for figures in self.registered:
            first = figures.iloc[0]
            yield f"registers: {first['level']}: {len(figures):,} figures of {first['indicator']}"
        yield f"{self.cells:,} cells of the surveys, {self.fits:,} fits on the first rungs"
        for what, reason in self.untold.items():
            yield f"not told: {what}: {reason}"

    def _told_by(self, survey: str) -> list[str]:
        return [name for name, of in self.served.items() if of == survey]


def understood(
    file: ProductionFile,
    sketches: Mapping[str, Sketch],
    areas: AreaFile | None,
    registers: Mapping[str, pd.DataFrame] | None = None,
    published: Mapping[str, PublishedTable] | None = None,
) -> Design:
    """Return what the file and its surveys come to, everything that costs no estimation.

    Raises
    ------
    SaeSpecError, SaeInputError
        If a column or an indicator is known to no survey, or nothing can be told.
    """
    surveys = {name: with_levels(one.survey, file, areas) for name, one in sketches.items()}
    published = published or {}
    check_accept(file.production.accept)
    _check_columns(file, surveys, areas, published)
    untold: dict[str, str] = {what: why for one in published.values() for what, why in one.untold.items()}
    served: dict[str, str] = {}
    known: dict[str, Indicator] = {}
    tellers = {name: one for one, table in published.items() for name in table.indicators}
    registered: list[pd.DataFrame] = []
    for name in file.production.indicators:
        if name in tellers:
            served[name], known[name] = tellers[name], published[tellers[name]].indicators[name]
            continue
        try:
            if name in REGISTRY and REGISTRY[name].kind == "register_rate" and registers:
                rows, lost = _registered(file, name, registers, areas)
                registered, untold = [*registered, *rows], {**untold, **lost}
                continue
            served[name], known[name] = _teller(name, file, surveys, sketches)
        except SaeError as error:
            untold[name] = error.what
    _check_shares(file, known, served, untold)
    crossings = []
    for survey in surveys:
        if survey in served.values():
            own = list(_crossings(file, survey, surveys[survey], untold))
            some = [name for name, of in served.items() if of == survey]
            untold |= _lacking_files(survey, sketches[survey].parts, own, some)
            crossings += own
    for source, table in published.items():
        crossings += list(_published_crossings(file, source, table))
    if not crossings and not registered:
        shown = name_some([f"{what}: {reason}" for what, reason in untold.items()], 4)
        raise SaeSpecError(f"{file.id}.toml: nothing can be told: {shown}")
    return Design(
        file, sketches, surveys, known, served, tuple(crossings), untold, tuple(registered), published
    )


def _check_shares(
    file: ProductionFile,
    known: Mapping[str, Indicator],
    served: Mapping[str, str],
    untold: Mapping[str, str],
) -> None:
    """Refuse shares that add to 1 of which one is not told, or that are not of the same persons."""
    for section in file.benchmarks:
        lost = [f"{name}: {untold[name]}" for name in section.shares if name in untold]
        if lost:
            raise SaeSpecError(f"{file.id}.toml: [[benchmark]] shares: not told is {name_some(lost)}.")
        wholes = {}
        for name in section.shares:
            if name not in served:
                raise SaeSpecError(f"{file.id}.toml: [[benchmark]] shares: {name} is of no survey.")
            one = known[name]
            persons = one.universe or "all", one.denominator or "all of them"
            wholes[name] = (served[name], one.kind, *persons)
        if len(set(wholes.values())) > 1:
            named = [f"{name} of {' / '.join(whole)}" for name, whole in wholes.items()]
            raise SaeSpecError(
                f"{file.id}.toml: [[benchmark]] shares are not of the same persons: {name_some(named)}.",
                hint="Define them with [[indicator]], all with one universe and one denominator.",
            )


def _lacking_files(
    name: str, parts: Sequence[Sketch], crossings: Sequence[Crossing], indicators: Sequence[str]
) -> dict[str, str]:
    """Return what single files of a survey do not tell of what others do: their rows are empty."""
    untold = {}
    for part in parts:
        file = part.survey.source.get("file", "a file")
        for crossing in crossings:
            lost = [column for column in crossing.by if column not in part.survey.frame]
            if lost:
                untold[f"{name}, {crossing.name}, {file}"] = f"the file has no {name_some(lost)}"
        for one in indicators:
            if not part.answered(one)[0]:
                untold[f"{one}, {file}"] = "no record of the file has a value"
    return untold


def _published_crossings(file: ProductionFile, source: str, table: PublishedTable) -> Iterator[Crossing]:
    told: dict[tuple[str, tuple[str, ...]], list[DirectEstimates]] = {}
    for (_, level, groups), direct in table.tables.items():
        told.setdefault((level, groups), []).append(direct)
    for (level, groups), some in told.items():
        column = file.production.levels[level]
        first = max(some, key=len)
        keys = [*groups, *filter(None, [table.time])]
        fits = prod(first.frame[name].nunique() for name in keys)
        yield Crossing(source, level, column, groups, table.time, len(first), fits)


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


def _check_columns(
    file: ProductionFile,
    surveys: Mapping[str, Survey],
    areas: AreaFile | None,
    published: Mapping[str, PublishedTable],
) -> None:
    """Refuse names that nothing bears: a column without a survey, an indicator without a definition."""
    columns = {str(name) for survey in surveys.values() for name in survey.frame}
    columns |= {name for table in published.values() for name in table.columns}
    holder = "no source has" if published else "no survey has"
    if not surveys and not published:
        holder = "neither a register nor the areas have"
        columns = {file.production.levels[file.lowest], *(areas.cells if areas is not None else ())}
        columns |= {register.group for register in file.registers.values()}
    wanted = {name: "[production.levels]" for name in file.production.levels.values() if name}
    wanted |= {name: "[production] groups" for groups in file.production.groups for name in groups}
    for name, where in wanted.items():
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            raise SaeSpecError(
                f"{file.id}.toml: {where} names {name}, which {holder}.",
                hint=f"Did you mean {near[0]}?" if near else f"They have {name_some(sorted(columns), 20)}.",
                column=name,
            )
    known = {*REGISTRY, *columns, *file.definitions}
    known |= {name for table in published.values() for name in table.indicators}
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


def _teller(
    name: str, file: ProductionFile, surveys: Mapping[str, Survey], sketches: Mapping[str, Sketch]
) -> tuple[str, Indicator]:
    """Return the survey that tells an indicator, and the indicator as it carries it.

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
            indicator = indicator_of(file.model_file(name), surveys[one])
            arrays(indicator, surveys[one], check_accept(file.production.accept, [indicator]))
            refuse_unanswered(indicator, *sketches[one].answered(name), sketches[one].records)
            return one, indicator
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
