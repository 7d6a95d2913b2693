"""The production file: one TOML with surveys, indicators, groups, levels and models of a country's table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from sae.batch.estimate import estimator
from sae.batch.kinds import options
from sae.batch.paths import beside
from sae.batch.production.file_checks import contradictions, rung_faults
from sae.batch.production.plan_needs import Rules
from sae.batch.production.sections import (
    EVERY,
    NO_MODELS,
    TABLES,
    Contents,
    LadderSection,
    LevelBenchmark,
    PlanTable,
    ProductionAreas,
    ProductionSection,
    RegisterSection,
    RungSection,
    SurveyEntry,
    TableSection,
)
from sae.batch.sections import EstimateSection, IndicatorSection, ModelSection, PublishSection, SurveySection
from sae.batch.spec import ModelFile, complaints, read_text, title_from, toml_tables
from sae.errors import SaeError, SaeInputError, SaeSpecError
from sae.literals import Smoothing

__all__ = ["ProductionFile", "parse_production", "read_production"]


@dataclass(frozen=True)
class ProductionFile:
    """A production file that was read and checked, with its text kept for the record.

    Attributes
    ----------
    id, title, text : str
        Name without ending, which the outputs bear; title; the TOML as it was written.
    production, surveys, registers, tables, areas, ladders, benchmarks, publish, plan
        The tables of the file; surveys, registers and tables of direct estimates by name.
    definitions : mapping of str to IndicatorSection
        The file's own indicators by id.
    folder : Path
        From which the paths of the file are taken: its own.
    data : Path, optional
        Where the files of data lie that the file names, if not in `folder`.
    """

    id: str
    title: str
    text: str
    production: ProductionSection
    surveys: Mapping[str, SurveyEntry]
    registers: Mapping[str, RegisterSection]
    tables: Mapping[str, TableSection]
    areas: ProductionAreas
    ladders: tuple[LadderSection, ...]
    benchmarks: tuple[LevelBenchmark, ...]
    publish: PublishSection
    definitions: Mapping[str, IndicatorSection]
    folder: Path = Path()
    data: Path | None = None
    plan: PlanTable | None = None

    @property
    def sha256(self) -> str:
        """Hash of the text, line ends unified."""
        return sha256(self.text.encode()).hexdigest()

    def ladder(self, indicator: str, level: str) -> LadderSection | None:
        """Return the ladder of an indicator at a level: one that names it, else one for every indicator."""
        return _chosen(self.ladders, indicator, level, self.lowest)

    def smoothing(self, indicator: str, level: str) -> Smoothing | None:
        """Return how the direct variances of an indicator are smoothed at a level that has a ladder."""
        ladder = self.ladder(indicator, level)
        if ladder is None or ladder.smoothing == "none":
            return None
        return ladder.smoothing or self.production.smoothing

    def benchmark(self, indicator: str, level: str) -> LevelBenchmark | None:
        """Return what the estimates of an indicator at a level meet."""
        levels = [one for one in self.benchmarks if (one.level or self.lowest) == level]
        return next((one for one in levels if indicator in one.indicators), None) or next(
            (one for one in levels if EVERY in one.indicators), None
        )

    @property
    def sources(self) -> dict[str, SurveyEntry | RegisterSection | TableSection]:
        """Where figures come from, by name: surveys, tables of direct estimates, registers."""
        return {**self.surveys, **self.tables, **self.registers}

    def kind_of(self, source: str) -> str:
        """Return the table of the file in which a source stands."""
        kinds = {"survey": self.surveys, "direct": self.tables, "register": self.registers}
        return next(kind for kind, names in kinds.items() if source in names)

    def named(self, name: str, where: str) -> Path:
        """Return the path of a file of data that the file names, in `where` of it."""
        return beside(name, self.data or self.folder, f"{self.id}.toml: {where}")

    def areas_file(self, given: str | Path | None) -> Path | None:
        """Return the file of the areas: as given, else as the file names it."""
        if given is not None or self.areas.file is None:
            return None if given is None else Path(given)
        return self.named(self.areas.file, "[areas] file")

    @property
    def lowest(self) -> str:
        """The level of the smallest areas."""
        return next(iter(self.production.levels))

    def model_file(
        self, indicator: str, by: Sequence[str] = (), rung: RungSection | None = None, per: Sequence[str] = ()
    ) -> ModelFile:
        """Return what a model file for one indicator, one table and one rung would say."""
        production, model = self.production, None
        if rung is not None:
            given = {**rung.options, "formula": f"{indicator} {rung.formula}"}
            if per and "per" in options(rung.kind):
                given["per"] = list(per)
            model = ModelSection(**given)
        estimate = EstimateSection(
            indicator=self.definitions.get(indicator, indicator),
            by=list(by),
            universe=production.universe,
            variance=production.variance,
            smoothing=production.smoothing,
            accept=production.accept,
        )
        return ModelFile(
            self.id,
            self.title,
            self.text,
            SurveySection(),
            self.areas,
            estimate,
            model,
            None,
            self.publish,
            self.folder,
        )


def _chosen(
    ladders: Iterable[LadderSection], indicator: str, level: str, lowest: str
) -> LadderSection | None:
    here = [one for one in ladders if level in (one.levels or [lowest])]
    named = [one for one in here if indicator in one.indicators]
    return next(iter(named or [one for one in here if EVERY in one.indicators]), None)


def read_production(path: str | Path, data: str | Path | None = None) -> ProductionFile:
    """Read and check a production file; `data` is where the files lie that it names, else beside it.

    Raises
    ------
    SaeInputError
        If the file is missing or is not UTF-8 text.
    SaeSpecError
        If a key is unknown, missing, or contradicts another; file, table and key are named.
    """
    path = Path(path)
    file = parse_production(read_text(path, what="production file"), path.stem, path.parent)
    return file if data is None else replace(file, data=Path(data))


def parse_production(text: str, identifier: str, folder: Path = Path()) -> ProductionFile:
    """Check the text of a production file; `identifier` is the name that its outputs will bear.

    Examples
    --------
    >>> from sae.batch.production.spec import parse_production
    >>> file = parse_production('''
    ... [production]
    ... indicators = ["employment_rate"]
    ... levels = {region = "region", nation = ""}
    ... [[survey]]
    ... name = "lfs"
    ... layout = "eu_lfs"
    ... ''', "labour")
    >>> file.lowest, list(file.surveys), file.ladder("employment_rate", "region")
    ('region', ['lfs'], None)
    """
    file = f"{identifier}.toml"
    tables = toml_tables(text, file, "[production]")
    faults = [*rung_faults(tables.get("model"))]
    try:
        contents = Contents.model_validate(tables)
    except ValidationError as error:
        faults += [_numbered(line) for line in complaints(error, TABLES)]
    if faults:
        raise SaeSpecError("\n".join(f"{file}: {line}" for line in dict.fromkeys(faults)))
    for fault in contradictions(contents):
        raise SaeSpecError(f"{file}: {fault}")
    production = contents.production
    title = title_from(tables, text, identifier)
    publish = PublishSection(policy=contents.publish.policy, seed=production.seed)
    parsed = ProductionFile(
        identifier,
        title,
        text,
        production,
        {one.name: one for one in contents.survey},
        {one.name: one for one in contents.registers},
        {one.name: one for one in contents.tables},
        contents.areas,
        tuple(contents.model),
        tuple(contents.benchmark),
        publish.placed(folder, f"{file}: [publish] policy"),
        {one.id: one for one in contents.definitions},
        folder,
        plan=contents.plan,
    )
    _check_models(parsed, file)
    return parsed


def _numbered(line: str) -> str:
    """Say "[[model]] number 1, rung 2" for the place that lists give: "[model.0.rung.1]"."""
    line = re.sub(
        r"\[(\w+)\.(\d+)\.(rung|indicator)\.(\d+)",
        lambda m: f"[[{m[1]}]] number {int(m[2]) + 1}, {m[3]} {int(m[4]) + 1} [",
        line,
    )
    line = re.sub(r"\[(\w+)\.(\d+)", lambda m: f"[[{m[1]}]] number {int(m[2]) + 1} [", line)
    return line.replace(" []", "").replace("[.", "[")


def _check_models(file: ProductionFile, name: str) -> None:
    """Refuse options that contradict each other before any data are read."""
    try:
        _ = file.areas.origin_of
        if file.plan is not None:
            Rules.of(file.publish.policy, file.plan)
        for ladder in file.ladders:
            for rung in ladder.rung:
                if rung.kind not in NO_MODELS:
                    estimator(file.model_file("indicator", rung=rung))
    except SaeInputError as error:
        raise SaeSpecError(f"{name}: {error.what}", hint=error.hint) from None
    except SaeError as error:
        raise type(error)(f"{name}: {error.what}", hint=error.hint) from None
