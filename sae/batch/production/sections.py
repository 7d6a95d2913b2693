"""The tables of a production file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from sae.batch.sections import (
    AreasSection,
    DirectSection,
    EurostatSection,
    FiguresSection,
    FileSection,
    IndicatorSection,
    LongSection,
    Names,
    Numbered,
    OriginSection,
    PoolSection,
    Section,
    SurveySection,
)
from sae.literals import Smoothing
from sae.planning.precision import Grade

__all__ = [
    "CORE_SET",
    "EVERY",
    "NO_MODELS",
    "OWN_KEYS",
    "TABLES",
    "Contents",
    "LadderSection",
    "LevelBenchmark",
    "Limits",
    "PlanTable",
    "ProductionAreas",
    "ProductionSection",
    "RegisterSection",
    "RungSection",
    "SurveyEntry",
    "TableIndicator",
    "TableSection",
]

EVERY = "*"
CORE_SET = (
    "employment_rate",
    "unemployment_rate",
    "activity_rate",
    "over_qualification_rate",
    "self_employment_share",
    "tertiary_share",
    "early_leaver_rate",
    "neet_rate",
    "arope",
    "arpr",
    "median_income_ratio",
    "overcrowding_rate",
    "housing_cost_overburden_rate",
    "naturalisation_rate",
)
NO_MODELS = ("direct", "synthetic")
OWN_KEYS = ("accept_if", "of")  # keys of a rung that are no options of its model


def _core(value: Any) -> Any:
    if value == "core_set":
        return list(CORE_SET)
    return [value] if isinstance(value, str) else value


class ProductionSection(Section):
    """``[production]``: what the table holds.

    `groups` are lists of grouping columns, ``[]`` being the total; `levels` name the column of each level,
    the smallest areas first, ``""`` for the whole. With `time` every period of a survey has rows of its own.
    """

    title: str = ""
    seed: int | None = Field(default=None, ge=0)
    indicators: Annotated[list[str], BeforeValidator(_core)] = Field(min_length=1)
    groups: list[Names] = Field(default=[[]], min_length=1)
    levels: dict[str, str] = Field(min_length=1)
    time: bool = True
    universe: str | None = None
    variance: Literal["linearised", "replicate"] | None = None
    smoothing: Smoothing | None = None
    accept: Names = Field(default_factory=list)

    @property
    def grouping(self) -> list[str]:
        """All grouping columns, each once."""
        return list(dict.fromkeys(name for groups in self.groups for name in groups))


class SurveyEntry(SurveySection):
    """``[[survey]]``: a name, its files where the command line gives none, and how they are read.

    `indicators` are those that it serves; by default the registry and its columns decide.
    """

    name: str
    files: Names = Field(default_factory=list)
    indicators: Names = Field(default_factory=list)


class RegisterSection(FileSection):
    """``[[register]]``: a long table of administrative counts, as `sae.indicators.register_rate` takes it.

    Its columns are area (the smallest ones), year, `group`, indicator, value, source and definition.
    """

    name: str
    files: Names = Field(default_factory=list)
    group: str = "citizenship_group"


class TableIndicator(FiguresSection):
    """``[[direct.indicator]]``: an indicator of the table; what it says of its figures wins."""

    id: str


class TableSection(DirectSection):
    """``[[direct]]``: a table of direct estimates made elsewhere, as a source of rows beside surveys.

    Its areas are those of `level`, by default the lowest. `columns` name the table's columns of areas and
    groups where they bear other names; `time` is its column of periods. `total` names the label of a group's
    rows over all groups, or of the areas' rows over all areas.
    """

    name: str
    level: str | None = None
    time: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    total: dict[str, str] = Field(default_factory=dict)
    indicators: list[TableIndicator] = Field(alias="indicator", min_length=1)

    @property
    def files(self) -> list[str]:
        """The file, where it is named."""
        return [self.file] if self.file else []

    def reading_of(self, indicator: TableIndicator) -> dict[str, Any]:
        """Return what `sae.design_based.read_direct` takes for an indicator."""
        figures = set(FiguresSection.model_fields)
        whole = self.model_dump(exclude_unset=True, include=figures)
        own = indicator.model_dump(exclude_unset=True, include=figures)
        return {**self.reading, **whole, **own, "only": {**self.only, **indicator.only}}


class Limits(Section):
    """``accept_if``: what a rung must fulfil in a fit to be taken.

    `median_cv` is the largest median CV of the estimates, `areas` the smallest number of sampled areas,
    `cases` the smallest median of n_eff × p over the areas, p being the smaller of the mean share and its
    complement, and with `diagnostics` no check of the residuals may be doubtful.
    """

    median_cv: float | int | None = Field(default=None, gt=0)
    areas: int | None = Field(default=None, ge=1)
    cases: float | int | None = Field(default=None, gt=0)
    diagnostics: bool = False


class RungSection(Section):
    """``[[model.rung]]``: a kind of model with its options, or "direct" or "synthetic", and its limits."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    kind: str
    formula: str | None = None
    of: str | None = None
    accept_if: Limits = Field(default_factory=Limits)

    @property
    def options(self) -> dict[str, Any]:
        """What the file says, for the specification of its kind."""
        return self.model_dump(exclude_unset=True, exclude=set(OWN_KEYS))

    @property
    def name(self) -> str:
        """The rung in a few words."""
        return "/".join(filter(None, (self.kind, (self.model_extra or {}).get("transform"))))


class LadderSection(Section):
    """``[[model]]``: the models that are tried, in order, for some indicators, at some levels.

    Every combination of the values of `per` is a fit of its own and stops where it passes: by default all
    groups and the period. `smoothing` of the direct variances is that of ``[production]`` where it is not
    given.
    """

    indicators: Names = Field(alias="for", default_factory=lambda: [EVERY])
    levels: Names = Field(default_factory=list)
    per: Names | None = None
    smoothing: Smoothing | Literal["none"] | None = None
    rung: list[RungSection] = Field(min_length=1)


class LevelBenchmark(Section):
    """``[[benchmark]]``: the estimates of a level meet those of larger units.

    `to` is the level whose direct estimates the areas meet, group by group; with `groups` the groups of an
    area meet its own total, or the coarser groups that the file has. `weights` is a column of the areas; by
    default what the survey counts. `shares`, in the place of `for`, are indicators that divide the same
    persons among them: in every cell they add to 1.
    """

    indicators: Names = Field(alias="for", default_factory=lambda: [EVERY])
    level: str | None = None
    to: str | None = None
    groups: bool = False
    method: Literal["ratio", "difference", "mse", "logit"] = "ratio"
    weights: str | None = None
    factor_range: list[float] = Field(default=[0.5, 2.0], min_length=2, max_length=2)
    shares: Names = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _for_the_shares(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "shares" not in given:
            return given
        if "for" in given:
            raise ValueError("it takes shares or for, not both")
        return {**given, "for": given["shares"]}


class ProductionAreas(AreasSection):
    """``[areas]``: the file of the areas where ``--areas`` gives none, and how it is read."""

    file: str | None = None


class PlanTable(Section):
    """``[plan]``: the interviews that the cells lack which fail the gate.

    The gate is the policy, at `grade`, and a CV of at most `cv` where one is given (`smaller_side`: of the
    smaller of p and 1 - p). `assurance` is the probability at which the model variance is taken, 0 its
    estimate; `cost` that of an interview, one for all surveys or by survey.
    """

    cv: float | None = Field(default=None, gt=0, lt=1)
    smaller_side: bool = False
    grade: Grade = "publishable"
    assurance: float | int = Field(default=0.9, ge=0, lt=1)
    cost: float | int | dict[str, float | int] | None = None
    currency: str = ""

    def prices(self, surveys: Iterable[str]) -> dict[str, float]:
        """Return the cost of an interview of each survey that has one."""
        if self.cost is None:
            return {}
        if isinstance(self.cost, dict):
            return {name: float(self.cost[name]) for name in surveys if name in self.cost}
        return dict.fromkeys(surveys, float(self.cost))


class PublishTable(Section):
    """``[publish]``: the rule that flags each row."""

    policy: str | dict[str, Any] = "eurostat_lfs"


class Contents(Section):
    """The whole file."""

    production: ProductionSection
    survey: list[SurveyEntry] = Field(default_factory=list)
    definitions: list[IndicatorSection] = Field(alias="indicator", default_factory=list)
    registers: list[RegisterSection] = Field(alias="register", default_factory=list)
    tables: list[TableSection] = Field(alias="direct", default_factory=list)
    areas: ProductionAreas = Field(default_factory=ProductionAreas)
    model: list[LadderSection] = Field(default_factory=list)
    benchmark: list[LevelBenchmark] = Field(default_factory=list)
    plan: PlanTable | None = None
    publish: PublishTable = Field(default_factory=PublishTable)


TABLES: dict[tuple[str, ...], type[Section]] = Numbered(
    {
        (): Contents,
        ("production",): ProductionSection,
        ("survey",): SurveyEntry,
        ("survey", "pool"): PoolSection,
        ("register",): RegisterSection,
        ("direct",): TableSection,
        ("direct", "indicator"): TableIndicator,
        ("indicator",): IndicatorSection,
        ("areas",): ProductionAreas,
        ("areas", "eurostat"): EurostatSection,
        ("areas", "long"): LongSection,
        ("areas", "origins"): OriginSection,  # of each of its tables
        ("model",): LadderSection,
        ("model", "rung"): RungSection,
        ("model", "rung", "accept_if"): Limits,
        ("benchmark",): LevelBenchmark,
        ("plan",): PlanTable,
        ("publish",): PublishTable,
    }
)
