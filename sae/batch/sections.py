"""The tables of a model file: what each holds, of which kind, with which defaults."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from sae.batch.paths import placed_policy
from sae.literals import LonelyPolicy, Smoothing

if TYPE_CHECKING:
    from sae.tables import Origin

__all__ = [
    "AreasSection",
    "BenchmarkSection",
    "Contents",
    "DirectSection",
    "EstimateSection",
    "EurostatSection",
    "FiguresSection",
    "FileSection",
    "IndicatorSection",
    "LongSection",
    "ModelSection",
    "Names",
    "Numbered",
    "OriginSection",
    "PoolSection",
    "PopulationSection",
    "PublishSection",
    "Section",
    "SurveySection",
    "Words",
]


class Section(BaseModel):
    """A table of a model or planning file: strict about types, deaf to no key."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_tuple(value: Any) -> Any:
    listed = _as_list(value)
    return tuple(listed) if isinstance(listed, list) else listed


def _kind_of(value: Any) -> str:
    return "~table" if isinstance(value, dict | BaseModel) else "~value"


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_ONE_OR_MORE_WORDS = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "number"]}}]
}
Names = Annotated[list[str], BeforeValidator(_as_list), WithJsonSchema(_ONE_OR_MORE)]
Words = Annotated[list[str | int | float], BeforeValidator(_as_list), WithJsonSchema(_ONE_OR_MORE_WORDS)]


class Numbered(dict[tuple[str, ...], type[Section]]):
    """Tables by path, in which one of an array of tables is found under the array's own name."""

    def __missing__(self, path: tuple[str, ...]) -> type[Section]:
        return dict.__getitem__(self, tuple(part for part in path if not part.isdigit()))

    def get(self, path: tuple[str, ...], default: Any = None) -> Any:
        """Return the tables of a path, as `[]` does, or `default`."""
        return self[path] if tuple(part for part in path if not part.isdigit()) in self else default


class PoolSection(Section):
    """``[survey.pool]``: quarters or months pooled to the column ``year``, as `sae.survey.pool_periods` does.

    Of an "overlap", `shares` and `correlations` say one number per lag inside the year.
    """

    panel: Literal["linked", "independent", "overlap"]
    shares: list[int | float] = Field(default_factory=list)
    correlations: list[int | float] = Field(default_factory=list)
    partial: bool = False
    yearly_weights: bool = False


class SurveySection(Section):
    """``[survey]``: a known layout, or columns, codes and derived columns inline, or both: inline wins.

    `missing` lists words that mean a missing value, besides the empty cell; `population` is what the weights
    sum to in every period.
    """

    layout: str | None = None
    about: dict[str, Any] = Field(default_factory=dict)
    columns: dict[str, Any] = Field(default_factory=dict)
    codes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    derive: dict[str, dict[str, Any]] = Field(default_factory=dict)
    missing: Words = Field(default_factory=list)
    lonely_psu: LonelyPolicy = "fail"
    nest: bool = False
    population: int | float | dict[str, float] | None = None
    pool: PoolSection | None = None
    encoding: str = "utf-8"
    separator: str | None = None
    decimal: Literal[".", ","] = "."

    @property
    def as_layout(self) -> dict[str, Any] | None:
        """The mapping that `sae.read_survey` takes as its layout; None where the file says nothing."""
        names = ("layout", "about", "columns", "codes", "derive", "missing")
        return {name: getattr(self, name) for name in names if getattr(self, name)} or None


class IndicatorSection(Section):
    """``[estimate.indicator]``: a definition of the user's own, with the fields of `sae.Indicator`."""

    id: str
    numerator: str
    denominator: str | None = None
    universe: str | None = None
    kind: str = "ratio"
    version: str = ""
    label: str = ""
    unit: str = ""
    source: str = ""
    threshold_share: float = 0.6
    union: str | None = None
    state: str = "verified"
    breaks: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), WithJsonSchema(_ONE_OR_MORE)] = ()
    years: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = ()


class EstimateSection(Section):
    """``[estimate]``: what is estimated, for whom, and how its variance is smoothed.

    `universe` narrows the indicator's own: both must hold, of the population of a model of units too, as far
    as it has the columns. `accept` names what runs by name only: a remembered definition or code, a level
    that the file never holds, a break.
    """

    indicator: Annotated[
        Annotated[str, Tag("~value")] | Annotated[IndicatorSection, Tag("~table")], Discriminator(_kind_of)
    ]
    by: Names = Field(default_factory=list)
    time: str | None = None
    universe: str | None = None
    variance: Literal["linearised", "replicate", "bootstrap"] | None = None
    smoothing: Smoothing | None = None
    accept: Names = Field(default_factory=list)

    @property
    def indicator_id(self) -> str:
        """Name of the indicator, whether it comes from the registry or is defined in the file."""
        return self.indicator if isinstance(self.indicator, str) else self.indicator.id

    @property
    def domains(self) -> list[str]:
        """The columns that make the rows: `by`, then the period where it is asked for."""
        return [*self.by, *([self.time] if self.time and self.time not in self.by else [])]


class ModelSection(Section):
    """``[model]``: the kind of the model and the options of its specification.

    What is named here is what a run itself looks at; the other keys are those of the kind's own class.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    kind: str = "fay_herriot"
    formula: str
    transform: str | None = None
    mse: str = "auto"
    per: Names = Field(default_factory=list)
    level: float = Field(default=0.95, gt=0, lt=1)
    components: str | None = None
    area: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What the file says, for the specification of its kind."""
        return self.model_dump(exclude_unset=True)


class FileSection(Section):
    """How a file of areas, or of direct estimates, is read.

    `missing` lists words that mean a missing value, besides the empty cell.
    """

    encoding: str = "utf-8"
    separator: str | None = None
    decimal: Literal[".", ","] = "."
    missing: Words = Field(default_factory=list)

    @property
    def reading(self) -> dict[str, Any]:
        """What `sae.auxiliary.open_areas` takes of it."""
        return {name: getattr(self, name) for name in ("encoding", "separator", "decimal", "missing")}


class FiguresSection(Section):
    """Which figures of a table are direct estimates, with the keys of `sae.design_based.read_direct`."""

    estimate: str = "estimate"
    vardir: str | None = None
    se: str | None = None
    cv: str | None = None
    margin: str | None = None
    margin_level: float | None = Field(default=None, gt=0, lt=1)
    error: Literal["unknown"] | None = None
    step: float = Field(default=0.0, ge=0)
    n: Names = Field(default_factory=list)
    psu: str | None = None
    only: dict[str, Words] = Field(default_factory=dict)
    unit: str = "share"
    definition: str = ""


class DirectSection(FileSection, FiguresSection):
    """``[direct]``: a table of direct estimates that someone else made, instead of ``[survey]``.

    Its keys are those of `sae.design_based.read_direct`; `file` is taken from the folder of the model file
    and may be given with ``--direct`` instead.
    """

    file: str | None = None


class OriginSection(Section):
    """``[areas.origins.NAME]``: where a covariate comes from, and of which year it is."""

    source: str
    definition: str
    vintage: Annotated[
        Annotated[str, Tag("~value")] | Annotated[dict[str, str], Tag("~table")], Discriminator(_kind_of)
    ]
    rounding_error: float = 0.0


class EurostatSection(Section):
    """``[areas.eurostat]``: the file of the areas is a table of Eurostat, and these of its figures are meant.

    `figures` name the level of each dimension by covariate, `time` and `back` the period, as
    `sae.auxiliary.areas_from_eurostat` takes them; `area` is the column of the areas in the survey, and
    `period` that of the periods, by default the time of ``[estimate]``, where there are several. `level`
    keeps NUTS regions of that level, `within` areas whose codes begin so: ["AT"]. `dataflow` names the data
    set of a TSV, which does not: "ESTAT:URB_CLMA(1.0)".
    """

    figures: dict[str, dict[str, str]]
    time: Names = Field(default_factory=list)
    back: int = 0
    area: str = "region"
    period: str | None = None
    level: int | None = Field(default=None, ge=0, le=3)
    within: Names = Field(default_factory=list)
    dataflow: str = ""


class LongSection(Section):
    """``[areas.long]``: the file of the areas has a row for each figure, and these of its figures are meant.

    `by` are its columns of areas, groups and periods; `names` is the column that says what a figure is,
    `values` that of the figures. `figures` names them by covariate, `only` the rows that are meant.
    """

    by: Names
    names: str
    values: str
    figures: dict[str, str] = Field(min_length=1)
    only: dict[str, Words] = Field(default_factory=dict)


class AreasSection(FileSection):
    """``[areas]``: how the file of the areas is read, and where its covariates come from."""

    origins: dict[str, OriginSection] = Field(default_factory=dict)
    eurostat: EurostatSection | None = None
    long: LongSection | None = None

    @property
    def origin_of(self) -> dict[str, Origin]:
        """The origin of each covariate that has one."""
        from sae.tables import Origin

        return {name: Origin(**section.model_dump()) for name, section in self.origins.items()}


class PopulationSection(FileSection):
    """``[population]``: the persons, households or cells whose figures a model of units predicts.

    `file` is taken from the folder of the model file and may be given with ``--population`` instead: a text
    file, a Parquet file, or a folder of Parquet files, larger than the memory if need be. Its columns bear
    the names, and their values the spelling, of the survey's, unless `columns` and `codes` say otherwise, as
    those of ``[survey]`` do: ``columns = {sex = "GENDER"}``, ``codes.sex = {column = "GENDER", female = [2,
    3]}``. Where `columns` names its weights (and strata, psu, ...), the file is a large survey in the place
    of the population: off-census EB. How a text file is read says nothing of Parquet.
    """

    file: str | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    codes: dict[str, dict[str, Any]] = Field(default_factory=dict)


class BenchmarkSection(Section):
    """``[benchmark]``: the known figures that the estimates must meet.

    Without `targets` they are the survey's own direct estimates for each value of `within`; without
    `weights`, a domain weighs what the survey says its universe counts. A group that would move by a factor
    outside `factor_range` stops the run: its target is of another scale or of another group.
    """

    within: str | None = None
    method: Literal["ratio", "difference"] = "ratio"
    targets: (
        Annotated[
            Annotated[float | str, Tag("~value")] | Annotated[dict[str, float], Tag("~table")],
            Discriminator(_kind_of),
        ]
        | None
    ) = None
    weights: str | None = None
    factor_range: list[float] = Field(default=[0.5, 2.0], min_length=2, max_length=2)

    @property
    def plausible(self) -> tuple[float, float]:
        """The factors by which a group may move."""
        low, high = self.factor_range
        return low, high


class PublishSection(Section):
    """``[publish]``: the rule that flags each row, and the seed of every random step."""

    policy: Annotated[
        Annotated[str, Tag("~value")] | Annotated[dict[str, Any], Tag("~table")], Discriminator(_kind_of)
    ] = "eurostat_lfs"
    seed: int | None = Field(default=None, ge=0)

    def placed(self, folder: Path, where: str) -> PublishSection:
        """Return the section with the full path of a policy file."""
        return self.model_copy(update={"policy": placed_policy(self.policy, folder, where)})


class Contents(Section):
    """A model file of sae: what is estimated, from which data, with which model, and how it is published."""

    title: str = ""
    survey: SurveySection = Field(default_factory=SurveySection)
    direct: DirectSection | None = None
    areas: AreasSection = Field(default_factory=AreasSection)
    population: PopulationSection | None = None
    estimate: EstimateSection
    model: ModelSection | None = None
    benchmark: BenchmarkSection | None = None
    publish: PublishSection = Field(default_factory=PublishSection)
