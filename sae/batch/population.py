"""The population of a model file's units: where it lies, its columns, its hash, its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary import code_numbers, open_areas
from sae.batch.hints import reading
from sae.batch.outputs import hash_file
from sae.batch.paths import beside
from sae.batch.register import RegisterRecords, recoded, renamed, source_columns
from sae.batch.sections import PopulationSection
from sae.batch.spec import ModelFile
from sae.errors import SaeInputError, SaeSpecError, counted, name_some
from sae.specs import parse_terms, split_formula
from sae.survey import Survey, read_survey
from sae.survey.levels import check_coding
from sae.tables import labels, require
from sae.tables.block_files import open_records
from sae.tables.parquet_blocks import ParquetRecords

__all__ = [
    "area_columns",
    "benchmark_columns",
    "check_population",
    "hash_population",
    "population_path",
    "read_population",
]

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


def benchmark_columns(spec: ModelFile) -> list[str]:
    """Return the columns of areas that ``[benchmark]`` names, but for what every fit has of its own."""
    section = spec.benchmark
    names = () if section is None else (section.within, section.weights, section.targets)
    groups = spec.model.options.get("groups") if spec.model else None
    own = (*spec.estimate.by, groups, "population")
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name not in own))


def area_columns(
    spec: ModelFile, population: pd.DataFrame | Path | ParquetRecords | Survey | None
) -> pd.DataFrame | None:
    """Return the columns that ``[benchmark]`` names, by the label of the area; None where it names none.

    Raises
    ------
    SaeInputError
        If one is not the same in all rows of an area.
    """
    names = benchmark_columns(spec)
    if population is None or not names:
        return None
    by = spec.estimate.by[0]
    if isinstance(population, Survey):
        population = population.frame
    records = population if isinstance(population, ParquetRecords) else open_records(population)
    blocks = records.blocks([by, *names])
    rows = pd.concat([block.drop_duplicates() for block in blocks]).drop_duplicates(ignore_index=True)
    for name in names:
        pairs = rows.drop_duplicates([by, name])[by]
        split = labels(pairs[pairs.duplicated()]).unique()
        if len(split):
            raise SaeInputError(
                f"[benchmark] names {name}, which differs within {counted(len(split), 'area', 'areas')}: "
                f"{name_some(split)}.",
                hint="It must be the same in all rows of an area.",
                areas=split,
                column=name,
            )
    return rows.set_index(labels(rows[by]))[names]


def check_population(spec: ModelFile, path: Path) -> None:
    """Refuse a population without a column that the model file names; of Parquet only the schema is read.

    Raises
    ------
    SaeInputError
    """
    with reading("[population]"):
        section = spec.population or PopulationSection()
        if path.is_dir() and not _is_parquet(path):
            raise SaeInputError(
                f"{path.name} is a folder without a Parquet file.",
                hint="A population is a CSV file, a Parquet file or a folder of Parquet files.",
            )
        if section.missing and _is_parquet(path):
            raise SaeInputError(
                f"missing = {section.missing} is of text files, and {path.name} is Parquet.",
                hint="Leave it out: what is missing in Parquet is null.",
            )
        options = {} if _is_parquet(path) else section.reading
        names = open_records(path, **options).columns
        for name, coding in section.codes.items():
            check_coding(name, coding)
        sources = source_columns(section)
        head = pd.DataFrame(columns=list(names))
        require(head, list(sources.values()), f"The population {path.name} has", "(that [population] names)")
        _check_names(spec, list(dict.fromkeys([*names, *sources])), path)


def _check_names(spec: ModelFile, names: Sequence[str], path: Path) -> None:
    covariates, others = wanted_columns(spec)
    head = pd.DataFrame(columns=list(names))
    require(head, others, f"The population {path.name} has")
    require(head, covariates, f"The population {path.name} has", "(a covariate of the formula)")
    require(head, benchmark_columns(spec), f"The population {path.name} has", "(that [benchmark] names)")


def hash_population(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder that of the names and hashes of its files, in order."""
    if path.is_file():
        return hash_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {hash_file(file)}\n" for file in files]
    return sha256("".join(lines).encode()).hexdigest()


def read_population(
    spec: ModelFile, path: Path, survey: Survey, further: Sequence[str] = ()
) -> pd.DataFrame | Path | ParquetRecords | Survey:
    """Return Parquet as it lies, of which a model reads the columns that it uses; else the rows of the file.

    A file whose weights are named is a survey in the place of the population. Codes of areas, levels and
    groups are text, or numbers where the survey holds numbers. Columns of `further` are read where the file
    has them.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the file cannot be read or lacks a column.
    """
    check_population(spec, path)
    section = spec.population or PopulationSection()
    covariates, others = wanted_columns(spec)
    wanted = list(dict.fromkeys([*others, *covariates, *benchmark_columns(spec)]))
    if "weights" in section.columns:
        return _large_survey(spec, path, section)
    if _is_parquet(path):
        return _parquet(spec, path, section, [*wanted, *further])
    with reading("[population]"):
        file = renamed(open_areas(path, **section.reading), section)
    clusters = spec.model.options.get("clusters") if spec.model else None
    lacking = [name for name in (*further, str(clusters)) if name in file.cells]  # which it may lack
    others, wanted = [*others, *lacking], list(dict.fromkeys([*wanted, *lacking]))
    keys = [name for name in others if name not in file.numbers or not _is_number(survey, name)]
    keys += [name for name in covariates if name in survey.frame and not _is_number(survey, name)]
    sizes = {
        (spec.model.options if spec.model else {}).get(name) for name in ("population_weights", "population")
    }
    keys += [name for name in section.codes if name in wanted]
    file = replace(file, cells=file.cells[wanted])  # whatever other columns hold
    frame = file.rows([name for name in dict.fromkeys(keys) if name not in sizes])
    for name in section.codes:
        frame[name] = recoded(frame[name], section.codes[name], file.name)
    for name in spec.estimate.by:
        if _is_number(survey, name) and name not in file.numbers:
            frame[name] = code_numbers(frame[name], f"{name} holds numbers in the survey, but in {file.name}")
    return frame[wanted]


def _large_survey(spec: ModelFile, path: Path, section: PopulationSection) -> Survey:
    assert spec.model is not None
    if spec.model.kind != "ebp":
        raise SaeSpecError(
            f"{spec.id}.toml: [population.columns] weights makes {path.name} a survey in the place of the "
            f'population, which only kind = "ebp" takes; this is {spec.model.kind!r}.',
            hint="Leave weights out where the file is a population.",
        )
    layout = {"columns": section.columns, "codes": section.codes, "missing": section.missing}
    how: dict[str, Any] = {"encoding": section.encoding, "separator": section.separator}
    with reading("[population]"):
        return read_survey(path, layout=layout, decimal=section.decimal, **how)


def _parquet(
    spec: ModelFile, path: Path, section: PopulationSection, wanted: Sequence[str]
) -> pd.DataFrame | Path | ParquetRecords:
    """Return Parquet under the names of the model file; only an EBP reads more than memory holds."""
    if not source_columns(section) and not section.codes:
        return path
    with reading("[population]"):
        records = open_records(path)
    assert spec.model is not None
    assert isinstance(records, ParquetRecords)
    register = RegisterRecords.of(records, section)
    columns = [name for name in dict.fromkeys(wanted) if name in register.columns]
    return register if spec.model.kind == "ebp" else register.frame(columns)


def _is_number(survey: Survey, name: str) -> bool:
    return name in survey.frame and pd.api.types.is_numeric_dtype(survey.frame[name].dtype)


def _is_parquet(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix.lower() in _PARQUET for file in path.rglob("*"))
    return path.suffix.lower() in _PARQUET
