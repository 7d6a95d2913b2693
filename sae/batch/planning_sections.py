"""The tables of a planning file."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field

from sae.batch.paths import placed_policy
from sae.batch.sections import (
    EstimateSection,
    FileSection,
    IndicatorSection,
    ModelSection,
    Names,
    PublishSection,
    Section,
    SurveySection,
)
from sae.planning import CV, RMSE, EffectiveSize, HalfWidth, Published, Regulation, Target
from sae.planning.precision import Grade, PrecisionRule

__all__ = [
    "RULES",
    "TABLES",
    "Contents",
    "CostsSection",
    "FrameSection",
    "NationalSection",
    "PlanSection",
    "SourcesSection",
    "TargetSection",
    "WordsSection",
]

RULES = ("cv", "rmse", "half_width", "n_eff", "policy", "regulation")


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
    grade: Grade = "reliable"
    regulation: str | None = None
    table: str | None = None
    indicator: str | None = None
    by: Names = Field(default_factory=list)
    group: str = ""
    only: dict[str, Names] = Field(default_factory=dict)

    @property
    def given(self) -> list[str]:
        """The rules that the file names."""
        return [name for name in RULES if getattr(self, name) is not None]

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

    def placed(self, folder: Path, where: str) -> Self:
        """Return the section with the full path of a policy file."""
        return self.model_copy(update={"policy": placed_policy(self.policy, folder, where)})

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


class FrameSection(FileSection):
    """``[frame]``: how the file of the strata is read; `columns` gives names to columns that bear others."""

    columns: dict[str, str] = Field(default_factory=dict)


class PlanAreasSection(FileSection):
    """``[areas]``: how the file of the areas is read, and which of its rows (and of --direct) are meant."""

    only: dict[str, Names] = Field(default_factory=dict)


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
            "cost": self.interview,
            "screening_cost": self.contact,
            "response": self.response,
            "screening_response": self.screening_response,
        }
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


class Contents(Section):
    """The whole file."""

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


TABLES: dict[tuple[str, ...], type[Section]] = {
    (): Contents,
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
