"""The model file: one TOML with everything that a run needs besides the data."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

from pydantic import (
    ValidationError,
)

from sae.batch.sections import (
    AreasSection,
    BenchmarkSection,
    Contents,
    DirectSection,
    EstimateSection,
    EurostatSection,
    IndicatorSection,
    LongSection,
    ModelSection,
    OriginSection,
    PopulationSection,
    PublishSection,
    Section,
    SurveySection,
)
from sae.batch.unit_sections import check_units
from sae.batch.values import LONGEST, check_values, shown
from sae.errors import SaeInputError, SaeSpecError, name_some

__all__ = [
    "ModelFile",
    "complaints",
    "is_production",
    "model_complaints",
    "parse_spec",
    "read_spec",
    "read_text",
    "title_from",
    "title_of",
    "toml_tables",
    "unknown_key",
]


_DATA = (".csv", ".parquet", ".sas7bdat", ".xpt", ".sav", ".dta", ".xlsx", ".zip", ".gz")
_MEANT = {  # keys that other software has, or that a key is taken for
    **dict.fromkeys(("domain", "domains", "area", "areas", "group", "groups", "group_by", "groupby"), "by"),
    **dict.fromkeys(("variable", "outcome", "numerator", "y"), "indicator"),
    **dict.fromkeys(("covariates", "predictors", "equation", "fixed"), "formula"),
    "year": "time",
}
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

_TABLES: dict[tuple[str, ...], type[Section]] = {
    (): Contents,
    ("survey",): SurveySection,
    ("direct",): DirectSection,
    ("areas",): AreasSection,
    ("areas", "eurostat"): EurostatSection,
    ("areas", "long"): LongSection,
    ("areas", "origins"): OriginSection,  # of each of its tables
    ("population",): PopulationSection,
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
    direct : DirectSection or None
        Of a file that starts from direct estimates instead of a survey.
    population : PopulationSection or None
        Of a file whose model is one of units.
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
    direct: DirectSection | None = None
    population: PopulationSection | None = None

    @property
    def sha256(self) -> str:
        """Hash of the text, line ends unified."""
        return sha256(self.text.encode()).hexdigest()


def read_text(path: Path, *, what: str = "model file") -> str:
    """Return the text of a small UTF-8 file with unified line ends, or say what is wrong with it."""
    if path.suffix.lower() in _DATA and path.is_file():
        raise SaeInputError(
            f"{path.name} holds data; it is no {what}.",
            hint=f"Records come with --survey; sae new --survey {path.name} writes a model file for them.",
        )
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


def is_production(path: Path) -> bool:
    """Whether a file is a production file: a TOML with the table ``[production]`` or ``[[survey]]``."""
    tables = toml_tables(read_text(path), path.name)
    return "production" in tables or isinstance(tables.get("survey"), list)


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
        contents = Contents.model_validate(tables)
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
        contents.direct,
        contents.population,
    )


def title_of(path: Path) -> str:
    """Return the title of a model file without loading the libraries that its models need."""
    text = read_text(path)
    return title_from(toml_tables(text, path.name), text, path.stem)


def title_from(tables: dict[str, Any], text: str, identifier: str) -> str:
    """Return the title of a file: as it says, else its first comment, else its name."""
    own = tables.get("title") or (tables.get("production") or {}).get("title")
    return str(own or _first_comment(text) or identifier)


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
    text = text.lstrip()
    if text.startswith("#:"):  # for editors
        text = text.partition("\n")[2].lstrip()
    first = text.partition("\n")[0]
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


def _check_together(contents: Contents, file: str) -> None:
    estimate, model, benchmark = contents.estimate, contents.model, contents.benchmark
    try:
        _ = contents.areas.origin_of
    except SaeInputError as error:
        raise SaeSpecError(f"{file}: [areas.origins] {error.what}", hint=error.hint) from None
    if contents.direct is not None:
        _check_direct(contents, contents.direct, file)
    ignored = sorted(contents.areas.model_fields_set - {"eurostat", "origins"})
    if contents.areas.eurostat is not None and ignored:
        raise SaeSpecError(
            f"{file}: [areas] {name_some(ignored)} has no meaning for a table of Eurostat.",
            hint="Its formats are told by their content.",
        )
    check_units(contents, file)
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


def _check_direct(contents: Contents, direct: DirectSection, file: str) -> None:
    """Refuse what needs the records that a table of direct estimates does not have."""
    estimate, benchmark = contents.estimate, contents.benchmark
    of_records = {
        "[survey]": "survey" in contents.model_fields_set,
        "[estimate] universe": estimate.universe,
        "[estimate] variance": estimate.variance,
        "[estimate] accept": estimate.accept,
        "[estimate.indicator]": not isinstance(estimate.indicator, str),
        "[benchmark] without targets": benchmark is not None and benchmark.targets is None,
        "[benchmark] without weights": benchmark is not None
        and benchmark.weights is None
        and direct.unit in ("share", "percent"),
    }
    given = [name for name, value in of_records.items() if value]
    if given:
        raise SaeSpecError(
            f"{file}: [direct] starts from estimates, not from records; {name_some(given)} needs records.",
            hint="Leave it out, or start from records with [survey].",
        )
    if direct.error == "unknown" and contents.model is not None:
        raise SaeSpecError(
            f'{file}: [direct] error = "unknown", and no model accepts estimates without an error.',
            hint="Leave [model] out: the rows are then published as what they are.",
        )


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


def _is_role(key: str) -> bool:
    from sae.survey.layouts import ROLES  # loads the libraries, which only this sentence needs

    return bool({key, f"{key}s"} & {*ROLES})


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
    near = [_MEANT[key]] if _MEANT.get(key) in known else get_close_matches(key, known, n=1)
    homes = [path for path, model in tables.items() if key in model.model_fields and path != table]
    if table == ("model",) and _MEANT.get(key) == "by":
        advice = "the areas are those of by in [estimate]."
    elif table == ("survey",) and _is_role(key):
        advice = "it belongs in [survey.columns]."
    elif near:
        advice = f"did you mean {near[0]}?"
    elif homes:
        advice = (
            f"it belongs in [{'.'.join(homes[0])}]." if homes[0] else "it belongs at the top of the file."
        )
    else:
        advice = f"it knows {', '.join(known)}."
    return f"{where} has an unknown key {key}; {advice}"
