"""The production file: one TOML with surveys, indicators, groups, levels and models of a country's table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from sae.batch.estimate import estimator
from sae.batch.kinds import options
from sae.batch.production.file_checks import contradictions, rung_faults
from sae.batch.production.sections import (
    EVERY,
    NO_MODELS,
    TABLES,
    Contents,
    LadderSection,
    LevelBenchmark,
    ProductionSection,
    RegisterSection,
    RungSection,
    SurveyEntry,
)
from sae.batch.sections import AreasSection, EstimateSection, ModelSection, PublishSection, SurveySection
from sae.batch.spec import ModelFile, complaints, read_text, title_from, toml_tables
from sae.errors import SaeError, SaeInputError, SaeSpecError

__all__ = ["ProductionFile", "parse_production", "read_production"]


@dataclass(frozen=True)
class ProductionFile:
    """A production file that was read and checked, with its text kept for the record.

    Attributes
    ----------
    id, title, text : str
        Name without ending, which the outputs bear; title; the TOML as it was written.
    production, surveys, registers, areas, ladders, benchmarks, publish
        The tables of the file; surveys and registers by name.
    folder : Path
        From which the paths of the file are taken: its own.
    """

    id: str
    title: str
    text: str
    production: ProductionSection
    surveys: Mapping[str, SurveyEntry]
    registers: Mapping[str, RegisterSection]
    areas: AreasSection
    ladders: tuple[LadderSection, ...]
    benchmarks: tuple[LevelBenchmark, ...]
    publish: PublishSection
    folder: Path = Path()

    @property
    def sha256(self) -> str:
        """Hash of the text, line ends unified."""
        return sha256(self.text.encode()).hexdigest()

    def ladder(self, indicator: str, level: str) -> LadderSection | None:
        """Return the ladder of an indicator at a level: one that names it, else one for every indicator."""
        return _chosen(self.ladders, indicator, level, self.lowest)

    def benchmark(self, indicator: str, level: str) -> LevelBenchmark | None:
        """Return what the estimates of an indicator at a level meet."""
        levels = [one for one in self.benchmarks if (one.level or self.lowest) == level]
        return next((one for one in levels if indicator in one.indicators), None) or next(
            (one for one in levels if EVERY in one.indicators), None
        )

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
            indicator=indicator,
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


def read_production(path: str | Path) -> ProductionFile:
    """Read and check a production file.

    Raises
    ------
    SaeInputError
        If the file is missing or is not UTF-8 text.
    SaeSpecError
        If a key is unknown, missing, or contradicts another; file, table and key are named.
    """
    path = Path(path)
    return parse_production(read_text(path, what="production file"), path.stem, path.parent)


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
        contents.areas,
        tuple(contents.model),
        tuple(contents.benchmark),
        publish.placed(folder, f"{file}: [publish] policy"),
        folder,
    )
    _check_models(parsed, file)
    return parsed


def _numbered(line: str) -> str:
    """Say "[[model]] number 1, rung 2" for the place that lists give: "[model.0.rung.1]"."""
    line = re.sub(
        r"\[(\w+)\.(\d+)\.rung\.(\d+)",
        lambda m: f"[[{m[1]}]] number {int(m[2]) + 1}, rung {int(m[3]) + 1} [",
        line,
    )
    line = re.sub(r"\[(\w+)\.(\d+)", lambda m: f"[[{m[1]}]] number {int(m[2]) + 1} [", line)
    return line.replace(" []", "").replace("[.", "[")


def _check_models(file: ProductionFile, name: str) -> None:
    """Refuse options that contradict each other before any data are read."""
    try:
        _ = file.areas.origin_of
        for ladder in file.ladders:
            for rung in ladder.rung:
                if rung.kind not in NO_MODELS:
                    estimator(file.model_file("indicator", rung=rung))
    except SaeInputError as error:
        raise SaeSpecError(f"{name}: {error.what}", hint=error.hint) from None
    except SaeError as error:
        raise type(error)(f"{name}: {error.what}", hint=error.hint) from None
