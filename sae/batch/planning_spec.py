"""The planning file: one TOML with the targets, costs and sources of a sampling plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from sae.batch.spec import (
    AreasSection,
    EstimateSection,
    IndicatorSection,
    ModelFile,
    ModelSection,
    Names,
    PublishSection,
    Section,
    SurveySection,
    complaints,
    model_complaints,
    read_text,
    title_from,
    toml_tables,
)
from sae.errors import SaeSpecError
from sae.planning import CV, RMSE, EffectiveSize, HalfWidth, Published, Regulation, Target
from sae.planning.precision import PrecisionRule

__all__ = ["PlanningFile", "TargetSection", "parse_planning", "read_planning"]

_RULES = ("cv", "rmse", "half_width", "n_eff", "policy", "regulation")


def _as_lists(value: Any) -> Any:
    return (
        {key: [item] if isinstance(item, str) else item for key, item in value.items()}
        if isinstance(value, dict)
        else value
    )


class TargetSection(Section):
    """``[[target]]``: one precision rule and the domains that it is for; exactly one of the rules.

    With a fitted model a target is about the domains of the model, and a later one replaces an earlier where
    both apply; without, it names its indicator, the columns that make its domains, and a rare group.
    """

    cv: float | None = None
    smaller_side: bool = False
    rmse: float | None = None
    half_width: float | None = None
    level: float = 0.95
    n_eff: float | None = None
    policy: str | None = None
    grade: str = "reliable"
    regulation: str | None = None
    table: str | None = None
    indicator: str | None = None
    by: Names = Field(default_factory=list)
    group: str = ""
    only: Annotated[dict[str, list[str]], BeforeValidator(_as_lists)] = Field(default_factory=dict)

    @property
    def given(self) -> list[str]:
        """The rules that the file names."""
        return [name for name in _RULES if getattr(self, name) is not None]

    @property
    def rule(self) -> PrecisionRule:
        """The rule as an object."""
        if self.cv is not None:
            return CV(self.cv, self.smaller_side)
        if self.rmse is not None:
            return RMSE(self.rmse)
        if self.half_width is not None:
            return HalfWidth(self.half_width, self.level)
        if self.n_eff is not None:
            return EffectiveSize(self.n_eff)
        if self.policy is not None:
            return Published(self.policy, self.grade)
        return Regulation(str(self.regulation), self.table)

    def target(self) -> Target:
        """Return the target for `sae.planning.allocate`."""
        return Target(str(self.indicator), self.rule, tuple(self.by), self.group, self.only or None)


class PlanSection(Section):
    """``[plan]``: how the plan is made.

    Attributes
    ----------
    keep_today : bool
        No stratum gets fewer interviews than today (column ``n_now`` of the frame).
    assurance : float
        Probability with which the model's error is to stay within the target; 0 asks it on average.
    confirm : int
        Replicates of a simulation of the planned survey.
    total, budget : number
        Interviews in all, or what they may cost; for plans without a model.
    minimum : int
        Fewest interviews of a stratum; for plans without a model.
    """

    keep_today: bool = True
    assurance: float = Field(default=0.9, ge=0, lt=1)
    confirm: int = Field(default=0, ge=0)
    total: int | None = None
    budget: float | None = None
    minimum: int = Field(default=2, ge=0)


class FrameSection(Section):
    """``[frame]``: how the file of the strata is read; `columns` gives names to columns that bear others."""

    encoding: str = "utf-8"
    columns: dict[str, str] = Field(default_factory=dict)


class PlanAreasSection(AreasSection):
    """``[areas]``: how the file of the areas is read, and which of its rows (and of --direct) are meant."""

    only: Annotated[dict[str, list[str]], BeforeValidator(_as_lists)] = Field(default_factory=dict)


class CostsSection(Section):
    """``[costs]``: what the frame does not say by stratum."""

    currency: str = ""
    interview: float | None = Field(default=None, gt=0)
    contact: float | None = Field(default=None, ge=0)
    response: float | None = Field(default=None, gt=0, le=1)
    screening_response: float | None = Field(default=None, gt=0, le=1)

    @property
    def columns(self) -> dict[str, float]:
        """Columns of the frame that they stand in for."""
        names = {
            "cost": self.interview, "screening_cost": self.contact, "response": self.response,
            "screening_response": self.screening_response,
        }  # fmt: skip
        return {name: value for name, value in names.items() if value is not None}


class WordsSection(Section):
    """``[words]``: what the report calls things."""

    indicator: str = ""
    group: str = ""
    domain: str = "domain"


class SourcesSection(Section):
    """``[sources]``: where the figures come from, each with its year."""

    frame: str = ""
    density: str = ""
    costs: str = ""
    response: str = ""
    calibration: str = ""


class NationalSection(TargetSection):
    """``[national]``: a requirement on the national figure, its level, its N, interviews outside the plan."""

    mean: float
    size: float
    other: float = 0.0


class _Contents(Section):
    title: str = ""
    survey: SurveySection = Field(default_factory=SurveySection)
    areas: PlanAreasSection = Field(default_factory=PlanAreasSection)
    estimate: EstimateSection | None = None
    model: ModelSection | None = None
    frame: FrameSection = Field(default_factory=FrameSection)
    target: list[TargetSection] = Field(min_length=1)
    plan: PlanSection = Field(default_factory=PlanSection)
    costs: CostsSection = Field(default_factory=CostsSection)
    words: WordsSection = Field(default_factory=WordsSection)
    sources: SourcesSection = Field(default_factory=SourcesSection)
    national: NationalSection | None = None
    publish: PublishSection = Field(default_factory=PublishSection)


_TABLES: dict[tuple[str, ...], type[Section]] = {
    (): _Contents,
    ("survey",): SurveySection,
    ("areas",): PlanAreasSection,
    ("estimate",): EstimateSection,
    ("estimate", "indicator"): IndicatorSection,
    ("model",): ModelSection,
    ("frame",): FrameSection,
    ("target",): TargetSection,
    ("plan",): PlanSection,
    ("costs",): CostsSection,
    ("words",): WordsSection,
    ("sources",): SourcesSection,
    ("national",): NationalSection,
    ("publish",): PublishSection,
}


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
    return parse_planning(read_text(path, what="planning file"), path.stem)


def parse_planning(text: str, identifier: str) -> PlanningFile:
    """Check the text of a planning file; `identifier` is the name that its outputs will bear.

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
    found = [] if "model" not in tables else list(model_complaints(tables["model"], _TABLES))
    try:
        contents = _Contents.model_validate(tables)
    except ValidationError as error:
        found += [_numbered(line) for line in complaints(error, _Numbered(_TABLES))]
    if found:
        raise SaeSpecError("\n".join(f"{file}: {line}" for line in found))
    _check_together(contents, file)
    title = title_from(tables, text, identifier)
    model = None
    if contents.model is not None and contents.estimate is not None:
        areas = AreasSection(encoding=contents.areas.encoding)
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
        )
    return PlanningFile(
        identifier, title, text, model, contents.areas.only, contents.frame, tuple(contents.target),
        contents.plan, contents.costs, contents.words, contents.sources, contents.national, contents.publish,
    )  # fmt: skip


class _Numbered(dict[tuple[str, ...], type[Section]]):
    """Tables by path, in which one of an array of tables is found under the array's own name."""

    def __missing__(self, path: tuple[str, ...]) -> type[Section]:
        return dict.__getitem__(self, tuple(part for part in path if not part.isdigit()))


def _numbered(line: str) -> str:
    """Say "target 2" for the place that a list gives: "[target.1]"."""
    head, dot, rest = line.partition("[target.")
    digits = rest.partition("]")[0]
    if not dot or not digits.isdigit():
        return line
    return f"{head}[[target]] number {int(digits) + 1}{rest[len(digits) + 1 :]}"


def _check_together(contents: _Contents, file: str) -> None:
    places = [(f"[[target]] number {i}", target) for i, target in enumerate(contents.target, 1)]
    if contents.national is not None:
        places.append(("[national]", contents.national))
    for where, target in places:
        if len(target.given) != 1:
            said = f"gives {' and '.join(target.given)}" if target.given else "gives no rule"
            raise SaeSpecError(f"{file}: {where} {said}.", hint=f"Give exactly one of {', '.join(_RULES)}.")
        try:
            target.rule  # noqa: B018 - a rule checks itself
        except SaeSpecError as error:
            raise SaeSpecError(f"{file}: {where}: {error.what}", hint=error.hint) from None
    if (contents.model is None) != (contents.estimate is None):
        has, lacks = ("model", "estimate") if contents.estimate is None else ("estimate", "model")
        raise SaeSpecError(
            f"{file} has [{has}] but no [{lacks}].",
            hint="A plan from a fitted model needs both; a plan without a model neither.",
        )
    (_check_with_model if contents.model is not None else _check_without_model)(contents, file)


def _check_with_model(contents: _Contents, file: str) -> None:
    assert contents.model is not None and contents.estimate is not None
    left = contents.model.formula.partition("~")[0].strip()
    if left != contents.estimate.indicator_id:
        raise SaeSpecError(
            f'{file}: [model] formula models "{left}", but [estimate] estimates '
            f'"{contents.estimate.indicator_id}".',
            hint="The left-hand side of the formula is the indicator.",
        )
    if contents.model.per:
        raise SaeSpecError(
            f"{file}: [model] per asks for several fits; a plan is made from one.",
            hint="Narrow [estimate] universe to the one group, and make a plan for each.",
        )
    for number, target in enumerate(contents.target, 1):
        wrong = [name for name in ("indicator", "by", "group") if getattr(target, name)]
        wrong += [f"only.{name}" for name in target.only if name != "domain"]
        if wrong:
            raise SaeSpecError(
                f"{file}: [[target]] number {number} has {', '.join(wrong)}, but a target of a fitted model "
                "is about its domains.",
                hint='Name domains with only = {domain = ["..."]}.',
            )
    for name in ("total", "budget"):
        if getattr(contents.plan, name) is not None:
            raise SaeSpecError(
                f"{file}: [plan] {name} is for plans without a model.",
                hint="The report's frontier shows what every budget buys with the model.",
            )
    needs_seed = contents.plan.confirm or (
        contents.model.transform is not None and contents.model.mse == "auto"
    )
    if needs_seed and contents.publish.seed is None:
        raise SaeSpecError(
            f"{file}: the model's bootstrap or [plan] confirm draws random numbers, but [publish] gives no "
            "seed.",
            hint="Write a seed under [publish], such as seed = 20260101.",
        )
    if 0 < contents.plan.assurance < 0.5:
        raise SaeSpecError(
            f"{file}: [plan] assurance = {contents.plan.assurance:g} is less than even odds.",
            hint="Give a probability from 0.5 to below 1, or 0 to hold the average error to the target.",
        )


def _check_without_model(contents: _Contents, file: str) -> None:
    for number, target in enumerate(contents.target, 1):
        if target.indicator is None:
            raise SaeSpecError(
                f"{file}: [[target]] number {number} names no indicator.",
                hint='Such as indicator = "employed" with the column share_employed in the frame; '
                "or give [estimate] and [model].",
            )
    if contents.national is not None:
        raise SaeSpecError(
            f"{file}: [national] belongs to a plan from a fitted model.",
            hint="Without a model, give it as a [[target]] without by.",
        )
    if contents.plan.confirm:
        raise SaeSpecError(
            f"{file}: [plan] confirm simulates a fitted model, and there is none.", hint="Leave it out."
        )
    if contents.plan.total is not None and contents.plan.budget is not None:
        raise SaeSpecError(f"{file}: [plan] has both total and budget.", hint="Give one of the two.")
