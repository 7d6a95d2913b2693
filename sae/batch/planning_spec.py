"""The planning file: one TOML with the targets, costs and sources of a sampling plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sae.batch.planning_checks import check_together
from sae.batch.planning_sections import (
    TABLES,
    Contents,
    CostsSection,
    FrameSection,
    NationalSection,
    PlanSection,
    SourcesSection,
    TargetSection,
    WordsSection,
)
from sae.batch.sections import AreasSection, Numbered, PublishSection
from sae.batch.spec import ModelFile, complaints, model_complaints, read_text, title_from, toml_tables
from sae.errors import SaeSpecError

__all__ = ["PlanningFile", "parse_planning", "read_planning"]


@dataclass(frozen=True)
class PlanningFile:
    """A planning file that was read and checked, with its text kept for the record.

    Attributes
    ----------
    id, title, text : str
        Name without ending, which the outputs bear; title; the TOML as it was written.
    model : ModelFile or None
        The part that is a model file: survey, areas, estimate, model, publish. None: a plan without a model.
    areas_only : mapping of str to list of str
        Rows of the areas that are meant.
    frame, targets, plan, costs, words, sources, national, publish
        The tables of the file.
    """

    id: str
    title: str
    text: str
    model: ModelFile | None
    areas_only: Mapping[str, list[str]]
    frame: FrameSection
    targets: tuple[TargetSection, ...]
    plan: PlanSection
    costs: CostsSection
    words: WordsSection
    sources: SourcesSection
    national: NationalSection | None
    publish: PublishSection


def read_planning(path: str | Path) -> PlanningFile:
    """Read and check a planning file.

    Raises
    ------
    SaeInputError
        If the file is missing or is not UTF-8 text.
    SaeSpecError
        If a key is unknown, missing, or contradicts another; the text names file, table, key, and the nearest
        known key.
    """
    path = Path(path)
    return parse_planning(read_text(path, what="planning file"), path.stem, path.parent)


def parse_planning(text: str, identifier: str, folder: Path = Path()) -> PlanningFile:
    """Check the text of a planning file; `identifier` is the name that its outputs will bear.

    The paths that it names are taken from `folder`.

    Examples
    --------
    >>> spec = parse_planning('''
    ... [[target]]
    ... indicator = "employed"
    ... by = "region"
    ... cv = 0.1
    ... ''', "employment")
    >>> spec.targets[0].rule.text
    'CV <= 10 %'
    """
    file = f"{identifier}.toml"
    tables = toml_tables(text, file, "[[target]]")
    faults = list(model_complaints(tables["model"], TABLES)) if "model" in tables else []
    try:
        contents = Contents.model_validate(tables)
    except ValidationError as error:
        faults += [_numbered(line) for line in complaints(error, Numbered(TABLES))]
    if faults:
        raise SaeSpecError("\n".join(f"{file}: {line}" for line in dict.fromkeys(faults)))
    contents = _placed(contents, folder, file)
    check_together(contents, file)
    title = title_from(tables, text, identifier)
    model = None
    if contents.model is not None and contents.estimate is not None:
        areas = AreasSection(**contents.areas.reading)
        model = ModelFile(
            identifier,
            title,
            text,
            contents.survey,
            areas,
            contents.estimate,
            contents.model,
            None,
            contents.publish,
            folder,
        )
    return PlanningFile(
        identifier,
        title,
        text,
        model,
        contents.areas.only,
        contents.frame,
        tuple(contents.target),
        contents.plan,
        contents.costs,
        contents.words,
        contents.sources,
        contents.national,
        contents.publish,
    )


def _placed(contents: Contents, folder: Path, file: str) -> Contents:
    """Return the tables with the full paths of their policies."""
    targets = [
        target.placed(folder, f"{file}: [[target]] number {k} policy")
        for k, target in enumerate(contents.target, 1)
    ]
    publish = contents.publish.placed(folder, f"{file}: [publish] policy")
    national = contents.national and contents.national.placed(folder, f"{file}: [national] policy")
    return contents.model_copy(update={"target": targets, "publish": publish, "national": national})


def _numbered(line: str) -> str:
    """Say "target 2" for the place that a list gives: "[target.1]"."""
    head, dot, rest = line.partition("[target.")
    digits = rest.partition("]")[0]
    if not dot or not digits.isdigit():
        return line
    return f"{head}[[target]] number {int(digits) + 1}{rest[len(digits) + 1 :]}"
