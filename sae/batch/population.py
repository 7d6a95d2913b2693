"""The population of a model file's units: where it lies, its columns, its hash, its rows."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pandas as pd

from sae.auxiliary import code_numbers, open_areas
from sae.batch.hints import reading
from sae.batch.outputs import hash_file
from sae.batch.paths import beside
from sae.batch.sections import PopulationSection
from sae.batch.spec import ModelFile
from sae.errors import SaeInputError
from sae.specs import parse_terms, split_formula
from sae.survey import Survey
from sae.tables import require
from sae.tables.block_files import open_records

__all__ = ["check_population", "hash_population", "population_path", "read_population"]

_PARQUET = (".parquet", ".pq")
_COLUMNS = ("population_weights", "linked", "groups", "population", "area")  # options that name a column


def population_path(spec: ModelFile, population: str | Path | None, areas: str | Path | None) -> Path | None:
    """Return where the population lies: as given, else as the model file names it; None where there is none.

    Raises
    ------
    SaeInputError
        If it is given for a model of areas, or the file of the areas would come twice, or neither is there
        and the model needs one of them.
    """
    from sae.batch.kinds import UNIT_KINDS

    if spec.model is None or spec.model.kind not in UNIT_KINDS:
        if population is not None:
            what = "no model" if spec.model is None else f'[model] kind = "{spec.model.kind}", of areas'
            raise SaeInputError(
                f"{spec.id}.toml has {what}; it takes no --population.",
                hint="Covariates of the areas come with --areas.",
            )
        return None
    section = spec.population or PopulationSection()
    path = None if population is None else Path(population)
    if path is None and section.file is not None:
        path, where = spec.folder / section.file, f"{spec.id}.toml: [population] file"
        path = path if path.is_dir() else beside(section.file, spec.folder, where)
    if path is not None and areas is not None:
        raise SaeInputError(
            f"{spec.id}.toml takes a population or means of areas, not both, {path.name} and --areas.",
            hint="Leave one of them out; columns of areas may stand in the population too.",
        )
    if path is None and areas is not None and spec.model.kind == "ebp":
        raise SaeInputError(
            f'{spec.id}.toml: [model] kind = "ebp" needs persons or cells, not means of areas.',
            hint="Give them with --population.",
        )
    wanted = parse_terms(split_formula(spec.model.formula)[1]).variables
    if path is None and areas is None and (wanted or spec.model.kind == "ebp"):
        means = "" if spec.model.kind == "ebp" else ", or their means by area with --areas"
        raise SaeInputError(
            f"{spec.id}.toml is a model of units, and no population is given.",
            hint=f"Give persons or cells with --population{means}.",
        )
    if path is not None and not path.exists():
        raise SaeInputError(f"There is no population {path}.", hint="Check the path of --population.")
    return path


def wanted_columns(spec: ModelFile) -> tuple[list[str], list[str]]:
    """Return the columns that the population must have: the covariates of the formula, and the others."""
    assert spec.model is not None
    options = spec.model.options
    levels = options.get("levels", [])
    named = [options[name] for name in _COLUMNS if options.get(name)]
    others = [*spec.estimate.by, *([levels] if isinstance(levels, str) else levels), *named]
    return list(parse_terms(split_formula(spec.model.formula)[1]).variables), list(dict.fromkeys(others))


def check_population(spec: ModelFile, path: Path) -> None:
    """Refuse a population without a column that the model file names; of Parquet only the schema is read.

    Raises
    ------
    SaeInputError
    """
    with reading("[population]"):
        section = spec.population or PopulationSection()
        options = {} if _is_parquet(path) else section.reading
        _check_names(spec, open_records(path, **options).columns, path)


def _check_names(spec: ModelFile, names: Sequence[str], path: Path) -> None:
    covariates, others = wanted_columns(spec)
    head = pd.DataFrame(columns=list(names))
    require(head, others, f"The population {path.name} has")
    require(head, covariates, f"The population {path.name} has", "(a covariate of the formula)")


def hash_population(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder that of the names and hashes of its files, in order."""
    if path.is_file():
        return hash_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {hash_file(file)}\n" for file in files]
    return sha256("".join(lines).encode()).hexdigest()


def read_population(spec: ModelFile, path: Path, survey: Survey) -> pd.DataFrame | Path:
    """Return the path of Parquet, of which a model reads the columns that it uses; else the rows of the file.

    Codes of areas, levels and groups are text, or numbers where the survey holds numbers.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the file cannot be read or lacks a column.
    """
    check_population(spec, path)
    if _is_parquet(path):
        return path
    section = spec.population or PopulationSection()
    with reading("[population]"):
        file = open_areas(path, **section.reading)
    covariates, others = wanted_columns(spec)
    keys = [name for name in others if name not in file.numbers or not _is_number(survey, name)]
    keys += [name for name in covariates if name in survey.frame and not _is_number(survey, name)]
    sizes = {
        (spec.model.options if spec.model else {}).get(name) for name in ("population_weights", "population")
    }
    frame = file.rows([name for name in dict.fromkeys(keys) if name not in sizes])
    for name in spec.estimate.by:
        if _is_number(survey, name) and name not in file.numbers:
            frame[name] = code_numbers(frame[name], f"{name} holds numbers in the survey, but in {file.name}")
    return frame[list(dict.fromkeys([*others, *covariates]))]


def _is_number(survey: Survey, name: str) -> bool:
    return name in survey.frame and pd.api.types.is_numeric_dtype(survey.frame[name].dtype)


def _is_parquet(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in _PARQUET for file in path.rglob("*"))
    return path.suffix.lower() in _PARQUET
