"""The model file: one TOML with everything that a run needs besides the data."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from sae.batch.paths import placed_policy
from sae.batch.values import LONGEST, check_values, shown
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.literals import LonelyPolicy, Smoothing

if TYPE_CHECKING:
    from sae.tables import Origin

__all__ = [
    "FileSection",
    "ModelFile",
    "Section",
    "complaints",
    "model_complaints",
    "parse_spec",
    "read_spec",
    "read_text",
    "title_from",
    "title_of",
    "toml_tables",
    "unknown_key",
]


_WANTED = {
    "string_type": "it takes text, in quotes",
    "int_type": "it takes a whole number",
    "float_type": "it takes a number",
    "bool_type": "it takes true or false, without quotes",
    "list_type": "it takes a list",
    "tuple_type": "it takes a list",
    "dict_type": "it takes a table",
    "model_type": "it takes a table",
}


_MOST_BRACKETS = 200  # open at once


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


Names = Annotated[list[str], BeforeValidator(_as_list)]
Words = Annotated[list[str | int | float], BeforeValidator(_as_list)]


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
    breaks: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = ()
    years: Annotated[tuple[int, ...], BeforeValidator(_as_tuple)] = ()


class EstimateSection(Section):
    """``[estimate]``: what is estimated, for whom, and how its variance is smoothed.

    `universe` narrows the indicator's own: both must hold. `accept` names what runs by name only: a
    remembered definition or code, a level that the file never holds, a break.
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


class OriginSection(Section):
    """``[areas.origins.NAME]``: where a covariate comes from, and of which year it is."""

    source: str
    definition: str
    vintage: Annotated[
        Annotated[str, Tag("~value")] | Annotated[dict[str, str], Tag("~table")], Discriminator(_kind_of)
    ]
    rounding_error: float = 0.0


class FileSection(Section):
    """How a file of areas is read.

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


class EurostatSection(Section):
    """``[areas.eurostat]``: the file of the areas is a table of Eurostat, and these of its figures are meant.

    `figures` name the level of each dimension by covariate, `time` and `back` the period, as
    `sae.auxiliary.areas_from_eurostat` takes them; `area` is the column of the areas in the survey. `level`
    keeps NUTS regions of that level, `within` areas whose codes begin so: ["AT"]. `dataflow` names the data
    set of a TSV, which does not: "ESTAT:URB_CLMA(1.0)".
    """

    figures: dict[str, dict[str, str]]
    time: Names = Field(default_factory=list)
    back: int = 0
    area: str = "region"
    level: int | None = Field(default=None, ge=0, le=3)
    within: Names = Field(default_factory=list)
    dataflow: str = ""


class AreasSection(FileSection):
    """``[areas]``: how the file of the areas is read, and where its covariates come from."""

    origins: dict[str, OriginSection] = Field(default_factory=dict)
    eurostat: EurostatSection | None = None

    @property
    def origin_of(self) -> dict[str, Origin]:
        """The origin of each covariate that has one."""
        from sae.tables import Origin

        return {name: Origin(**section.model_dump()) for name, section in self.origins.items()}


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


class _Contents(Section):
    title: str = ""
    survey: SurveySection = Field(default_factory=SurveySection)
    areas: AreasSection = Field(default_factory=AreasSection)
    estimate: EstimateSection
    model: ModelSection | None = None
    benchmark: BenchmarkSection | None = None
    publish: PublishSection = Field(default_factory=PublishSection)


_TABLES: dict[tuple[str, ...], type[Section]] = {
    (): _Contents,
    ("survey",): SurveySection,
    ("areas",): AreasSection,
    ("areas", "eurostat"): EurostatSection,
    ("areas", "origins"): OriginSection,  # of each of its tables
    ("estimate",): EstimateSection,
    ("estimate", "indicator"): IndicatorSection,
    ("model",): ModelSection,
    ("benchmark",): BenchmarkSection,
    ("publish",): PublishSection,
}


@dataclass(frozen=True)
class ModelFile:
    """A model file that was read and checked, with its text kept for the record.

    Attributes
    ----------
    id : str
        Name of the file without its ending; the outputs bear it.
    title : str
        ``title`` of the file, else its first comment, else the id.
    text : str
        The TOML as it was written.
    survey, areas, estimate, model, benchmark, publish
        The tables of the file; a policy with its full path. Without a model the result is direct.
    folder : Path
        From which the paths of the file are taken: its own.
    """

    id: str
    title: str
    text: str
    survey: SurveySection
    areas: AreasSection
    estimate: EstimateSection
    model: ModelSection | None
    benchmark: BenchmarkSection | None
    publish: PublishSection
    folder: Path = Path()

    @property
    def sha256(self) -> str:
        """Hash of the text, line ends unified."""
        return sha256(self.text.encode()).hexdigest()


def read_text(path: Path, *, what: str = "model file") -> str:
    """Return the text of a small UTF-8 file with unified line ends, or say what is wrong with it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SaeInputError(f"The {what} {path} does not exist.") from None
    except IsADirectoryError:
        raise SaeInputError(f"{path} is a folder, not a {what}.") from None
    except UnicodeDecodeError as error:
        raise SaeInputError(
            f"The {what} {path.name} is not UTF-8 text: byte {error.start} cannot be read.",
            hint="Save it again with the encoding UTF-8.",
        ) from None
    return text.replace("\r\n", "\n")


def read_spec(path: str | Path) -> ModelFile:
    """Read and check a model file.

    Raises
    ------
    SaeInputError
        If the file is missing or is not UTF-8 text.
    SaeSpecError
        If it is not TOML, lacks a key, has an unknown key or a value of the wrong type; the text names
        the file, the table and the key, and the nearest known key.
    """
    path = Path(path)
    return parse_spec(read_text(path), path.stem, path.parent)


def parse_spec(text: str, identifier: str, folder: Path = Path()) -> ModelFile:
    """Check the text of a model file; `identifier` is the name that its outputs will bear.

    The paths that it names are taken from `folder`.

    Examples
    --------
    >>> spec = parse_spec('''
    ... [estimate]
    ... indicator = "employment_rate"
    ... by = "region"
    ... [model]
    ... formula = "employment_rate ~ share_tertiary"
    ... ''', "employment")
    >>> spec.estimate.domains, spec.model.kind
    (['region'], 'fay_herriot')
    """
    file = f"{identifier}.toml"
    tables = toml_tables(text, file)
    found = list(model_complaints(tables.get("model"), _TABLES))
    try:
        contents = _Contents.model_validate(tables)
    except ValidationError as error:
        found += complaints(error, _TABLES)
    if found:
        raise SaeSpecError("\n".join(f"{file}: {line}" for line in dict.fromkeys(found)))
    _check_together(contents, file)
    return ModelFile(
        identifier,
        title_from(tables, text, identifier),
        text,
        contents.survey,
        contents.areas,
        contents.estimate,
        contents.model,
        contents.benchmark,
        contents.publish.placed(folder, f"{file}: [publish] policy"),
        folder,
    )


def title_of(path: Path) -> str:
    """Return the title of a model file without loading the libraries that its models need."""
    text = read_text(path)
    return title_from(toml_tables(text, path.name), text, path.stem)


def title_from(tables: dict[str, Any], text: str, identifier: str) -> str:
    """Return the title of a file: as it says, else its first comment, else its name."""
    return str(tables.get("title") or _first_comment(text) or identifier)


def toml_tables(text: str, file: str, needs: str = "[estimate]") -> dict[str, Any]:
    """Return the tables of a TOML file that is not empty and holds texts, numbers, lists and tables only.

    Raises
    ------
    SaeSpecError
        If it is no TOML, or an entry is a date, is not finite, or is larger or deeper than any use of it.
    """
    if _brackets(text) > _MOST_BRACKETS:  # the parser's own limit is Python's, which packages move
        raise SaeSpecError(f"{file} has lists or tables in each other, hundreds deep.")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SaeSpecError(f"{file} is not valid TOML: {error}.") from None
    except ValueError as error:  # of Python itself: a whole number of thousands of digits
        raise SaeSpecError(f"{file} holds a number that cannot be read: {error}.") from None
    if not tables:
        raise SaeSpecError(f"{file} is empty.", hint=f"It needs at least {needs}.")
    check_values(tables, file)
    return tables


def _brackets(text: str) -> int:
    """Return the most brackets that are open at once, those in texts counted too."""
    steps = (1 if sign in "[{" else -1 for sign in text if sign in "[]{}")
    return max(accumulate(steps), default=0)


def model_complaints(model: object, tables: Mapping[tuple[str, ...], type[Section]]) -> Iterator[str]:
    """Yield what is wrong with the keys of ``[model]`` for its kind."""
    from sae.batch.kinds import option_complaints, options

    if isinstance(model, dict):
        for key, complaint in option_complaints(model):
            kind = model.get("kind", "fay_herriot")
            yield complaint if key is None else unknown_key(("model",), key, tables, options(kind))


def _first_comment(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


def _check_together(contents: _Contents, file: str) -> None:
    estimate, model, benchmark = contents.estimate, contents.model, contents.benchmark
    try:
        _ = contents.areas.origin_of
    except SaeInputError as error:
        raise SaeSpecError(f"{file}: [areas.origins] {error.what}", hint=error.hint) from None
    ignored = sorted(contents.areas.model_fields_set - {"eurostat", "origins"})
    if contents.areas.eurostat is not None and ignored:
        raise SaeSpecError(
            f"{file}: [areas] {name_some(ignored)} has no meaning for a table of Eurostat.",
            hint="Its formats are told by their content.",
        )
    if estimate.variance == "bootstrap" and contents.publish.seed is None:
        raise _without_seed(file, '[estimate] variance = "bootstrap"')
    if model is None:
        if benchmark is not None:
            raise SaeSpecError(f"{file}: [benchmark] adjusts a model, but the file has no [model].")
        return
    if not estimate.domains:
        raise SaeSpecError(f"{file}: [estimate] lacks by.", hint="A model has areas: name their column.")
    left = model.formula.partition("~")[0].strip()
    if left != estimate.indicator_id:
        raise SaeSpecError(
            f'{file}: [model] formula models "{left}", but [estimate] estimates "{estimate.indicator_id}".',
            hint="The left-hand side of the formula is the indicator.",
        )
    for option, names in {"per": model.per, "components": filter(None, [model.components])}.items():
        stray = [name for name in names if name not in estimate.domains]
        if stray:
            raise SaeSpecError(
                f"{file}: [model] {option} names {name_some(stray)}, which [estimate] does not estimate by.",
                hint=f"Choose among by and time: {', '.join(estimate.domains)}.",
            )
    if benchmark and benchmark.within is None and isinstance(benchmark.targets, dict):
        raise SaeSpecError(
            f"{file}: [benchmark] targets has one figure per group, but within does not name the groups.",
            hint="Name the column whose values the targets are for, or give one number.",
        )
    random = {
        f'[model] mse = "{model.mse}"': model.mse.startswith(("bootstrap", "nonparametric")),
        f'[model] transform = "{model.transform}"': model.mse == "auto" and model.transform is not None,
    }
    for option in (name for name, draws in random.items() if draws and contents.publish.seed is None):
        raise _without_seed(file, option)


def _without_seed(file: str, option: str) -> SaeSpecError:
    return SaeSpecError(
        f"{file}: {option} needs a bootstrap, which draws random numbers, but [publish] gives no seed.",
        hint="Write a seed under [publish], such as seed = 20260101.",
    )


def complaints(error: ValidationError, tables: Mapping[tuple[str, ...], type[Section]]) -> Iterator[str]:
    """Yield what a file says wrong, in words; `tables` are the sections that it may hold, by path."""
    for item in error.errors():
        parts = [part for part in item["loc"] if not str(part).startswith("~")]
        place = ""
        while len(parts) > 1 and isinstance(parts[-1], int):  # an entry of a list stands under its name
            place = f", entry {int(parts.pop()) + 1}{place}"
        table, key = tuple(map(str, parts[:-1])), str(parts[-1])
        where = f"[{'.'.join(table)}] " if table else ""
        if item["type"] == "extra_forbidden":
            yield unknown_key(table, key, tables)
        elif item["type"] == "missing":
            yield f"{where}lacks {key}." if table else f"the table [{key}] is missing."
        elif item["type"] == "literal_error":
            allowed = item["ctx"]["expected"].replace("'", '"')
            yield f"{where}{key}{place} = {shown(item['input'])} is not known; it takes {allowed}."
        else:
            message = item["msg"].replace("Input should be", "it is to be")
            message = next((text for kind, text in _WANTED.items() if item["type"] == kind), message)
            yield f"{where}{key}{place} = {shown(item['input'])} cannot be used: {message}."


def unknown_key(
    table: tuple[str, ...],
    key: str,
    tables: Mapping[tuple[str, ...], type[Section]],
    known: Sequence[str] = (),
) -> str:
    """Return the complaint on a key that its table does not know, with the nearest one that it does."""
    known = list(known) or list((tables.get(table) or tables[table[:-1]]).model_fields)
    where = f"[{'.'.join(table)}]" if table else "the file"
    key = key if key.isidentifier() and len(key) <= LONGEST else shown(key)
    near = get_close_matches(key, known, n=1)
    homes = [path for path, model in tables.items() if key in model.model_fields and path != table]
    if near:
        advice = f"did you mean {near[0]}?"
    elif homes:
        advice = (
            f"it belongs in [{'.'.join(homes[0])}]." if homes[0] else "it belongs at the top of the file."
        )
    else:
        advice = f"it knows {', '.join(known)}."
    return f"{where} has an unknown key {key}; {advice}"
