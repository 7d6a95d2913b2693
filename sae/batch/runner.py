"""One model file on files: read the survey and the areas, estimate, write a folder of results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary import (
    AreaFile,
    area_codes,
    areas_from_eurostat,
    code_numbers,
    nuts_vintage,
    open_areas,
    read_eurostat,
)
from sae.auxiliary.eurostat_areas import area_dimension
from sae.batch.estimate import (
    Outcome,
    Step,
    estimate,
    estimator,
    named_files,
    refuse_without_areas,
    silent,
    wanted_covariates,
)
from sae.batch.hints import collected_warnings, reading, speaks_of_files
from sae.batch.outputs import hash_file, input_names, run_id, versions, write_manifest
from sae.batch.population import hash_population, population_path, read_population
from sae.batch.public_files import write_public
from sae.batch.published import is_exchange, read_pooled, read_published, source_of
from sae.batch.reporting import fit_or_table, national_figures, report_outcome
from sae.batch.sections import EurostatSection, LongSection, PoolSection, SurveySection
from sae.batch.spec import ModelFile
from sae.batch.staging import staged
from sae.batch.units import estimate_units, is_of_units, unit_estimator
from sae.batch.universe import inside_universe, universe_columns
from sae.design_based.domains import place_of
from sae.design_based.published_checks import chosen_rows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.plots import compare, save
from sae.publish import shown
from sae.survey import Overlap, Survey, pool_periods, read_survey
from sae.tables import Covariates, DirectEstimates, EstimateTable, require, write_table

__all__ = [
    "check_places",
    "covariates_of",
    "produce",
    "read_areas",
    "read_records",
    "read_section",
    "run",
]


@speaks_of_files
def run(
    spec: ModelFile,
    *,
    survey: str | Path | None = None,
    direct: str | Path | None = None,
    areas: str | Path | None = None,
    population: str | Path | None = None,
    out: str | Path,
    report: bool = False,
    step: Step = silent,
) -> Outcome:
    """Run a model file from survey records, or direct estimates, to a folder of results.

    Writes ``{id}.csv``, ``.parquet`` and ``.xlsx`` (the working table, all columns, for the office),
    ``{id}.published.csv``, ``.parquet``, ``.xlsx``, ``.sdmx.csv`` and ``.tsv`` (what may leave it; the last
    two where the labels allow it), ``{id}.published.md`` (its method note), ``{id}.direct.csv``, ``{id}.png``
    (a chart of direct against model, where there is one, of published rows), ``{id}.contrasts.csv`` (the
    gaps, of a multivariate model) and ``manifest.json`` (inputs, versions, seed, model file, warnings, what
    could not be written and why): all of them or none. The same inputs give the same bytes.

    Parameters
    ----------
    spec : ModelFile
        As `find_spec` or `read_spec` returns it.
    survey, direct : path, optional
        The records, or the table of direct estimates that the model file describes in ``[direct]``.
    areas : path, optional
        One row of covariates per area.
    population : path, optional
        Of a model of units: persons, households or cells, a text file, a Parquet file or a folder of them.
    out : path
        Folder for the results; other files there stay.
    report : bool
        Whether to write ``{id}.html`` too: see `sae.publish.report`.
    step : callable
        Called with what is being done.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the input or the model file cannot be used; nothing is written then.
    """
    out, areas = Path(out), None if areas is None else Path(areas)
    source, people = source_of(spec, survey, direct), population_path(spec, population, areas)
    with staged(out, spec.id, filter(None, (source, areas, people))) as stage:
        outcome = produce(spec, source, areas, stage, step, report=report, population=people)
        names = sorted(path.name for path in stage.iterdir())
    return replace(outcome, files=tuple(out / name for name in names))


def read_records(spec: ModelFile, path: Path) -> Survey:
    """Read the survey file by the layout of the model file."""
    records = read_section(spec.survey, path)
    require(records.frame, spec.estimate.domains, "The survey has", "to group by", error=SaeSpecError)
    check_places(records, spec.estimate.domains, spec.estimate.accept)
    return records


def read_section(section: SurveySection, path: Path) -> Survey:
    """Read a survey file as ``[survey]`` describes it."""
    with reading("[survey]"):
        records = read_survey(
            path,
            layout=section.as_layout,
            lonely_psu=section.lonely_psu,
            nest=section.nest,
            population=section.population,
            encoding=section.encoding,
            separator=section.separator,
            decimal=section.decimal,
        )
        if section.pool is not None:
            records = _pooled(records, section.pool)
    return records


def check_places(records: Survey, domains: Sequence[str], accept: Sequence[str]) -> None:
    """Refuse regions that are no codes of the NUTS vintage that the survey is said to have."""
    with reading("[survey.about]"):
        _check_places(records, domains, accept)


def _check_places(records: Survey, domains: Sequence[str], accept: Sequence[str]) -> None:
    kind, _, wanted = records.release.geo.partition(" ")
    place = place_of(records, domains)
    if kind != "NUTS" or place is None:
        return
    codes = records.frame[place].dropna().unique()
    vintage = nuts_vintage(codes, accept=accept)
    odd = vintage.unlike(wanted)
    if odd:
        raise SaeInputError(
            f"{place} holds {name_some(odd)}, which NUTS {wanted} does not have; the codes are of {vintage}.",
            hint=f'Write geo = "{vintage}" in [survey.about], or bring the codes to NUTS {wanted}.',
            areas=odd,
            column=place,
        )


def _pooled(survey: Survey, pool: PoolSection) -> Survey:
    stated = Overlap(pool.shares, pool.correlations) if pool.panel == "overlap" else None
    if stated is None and (pool.shares or pool.correlations):
        raise SaeSpecError(
            f'Shares and correlations belong to panel = "overlap", but the panel is {pool.panel!r}.',
            hint="Leave them out, or state the overlap.",
        )
    return pool_periods(
        survey, stated or pool.panel, partial=pool.partial, yearly_weights=pool.yearly_weights
    )


def read_areas(spec: ModelFile, path: Path) -> AreaFile:
    """Read the file of the areas as the model file describes it."""
    with reading("[areas]"):
        if spec.areas.eurostat is not None:
            return _read_eurostat(spec.areas.eurostat, spec.estimate.time, path)
        file = open_areas(path, **spec.areas.reading)
        return file if spec.areas.long is None else _widened(spec.areas.long, file)


def _widened(section: LongSection, file: AreaFile) -> AreaFile:
    """Return some figures of a long table as a file of areas: a column each, a row for each of its keys."""
    needed = [*section.by, section.names, section.values, *section.only]
    require(file.cells, needed, f"{file.name} has", error=SaeSpecError)
    if section.values not in file.numbers:
        raise SaeInputError(f"{section.values} of {file.name} holds text, no figures.", column=section.values)
    values = file.numbers[section.values]
    rows = chosen_rows(file.cells.assign(**{section.values: values}), section.only, file.name)
    parts = []
    for covariate, name in section.figures.items():
        part = chosen_rows(rows, {section.names: name}, file.name)
        twice = part.duplicated(section.by)
        if twice.any():
            raise SaeInputError(
                f"{file.name} has several figures of {name} for {int(twice.sum())} of "
                f"{' × '.join(section.by)}.",
                hint="Name the columns that tell them apart in by, or the rows that are meant in only.",
            )
        parts.append(part.set_index(section.by)[section.values].rename(covariate))
    wide = pd.concat(parts, axis=1, sort=True).reset_index()
    numbers = {name: wide[name] for name in section.figures}
    return AreaFile(file.name, wide, tuple(section.by), file.sha256, numbers)


def _read_eurostat(section: EurostatSection, time: str | None, path: Path) -> AreaFile:
    """Return figures of a table of Eurostat as a file of areas, by the names that the survey has."""
    time = section.period or time
    table = read_eurostat(path, dataflow=section.dataflow)
    place = area_dimension(table)
    codes = area_codes(table.frame[place])
    kept = codes["code"].str.startswith(tuple(section.within or [""]))
    if section.level is not None:
        kept &= codes["level"].eq(section.level).fillna(False) & ~codes["off_map"]
    if not kept.any():
        raise SaeInputError(
            f"None of the {len(codes)} areas of {path.name} is of the level and place that [areas.eurostat] "
            f"names: {name_some(codes['code'])}.",
            hint="level is that of NUTS, from 0 to 3; within holds the beginnings of codes.",
        )
    single = section.time[0] if len(section.time) == 1 else None
    covariates = areas_from_eurostat(
        table,
        section.figures,
        time=single or section.time or None,
        back=section.back,
        areas=codes["code"][kept],
    )
    if single is None and time is None:
        raise SaeSpecError(
            f"{path.name} gives figures of several periods, but [estimate] has no time.",
            hint='Name one, [areas.eurostat] time = "2021", or the column of periods, period = "year".',
        )
    names = {place: section.area, **({"time": time} if time is not None and single is None else {})}
    frame = covariates.frame.rename(columns=names)
    numbers = {name: frame[name] for name in section.figures}
    cells = frame[[*names.values(), *numbers]]
    digest = hash_file(path)
    return AreaFile(path.name, cells, tuple(names.values()), digest, numbers, covariates.origins)


def covariates_of(spec: ModelFile, file: AreaFile, survey: Survey | DirectEstimates) -> pd.DataFrame:
    """Return the areas; the grouping columns among them become labels of the same kind as in the survey."""
    by = [name for name in spec.estimate.domains if name in file.cells]
    areas = file.table(file.keys(by))
    require(areas, list(spec.areas.origins), f"{file.name} has", "(of [areas.origins])", error=SaeSpecError)
    for name in by:
        if pd.api.types.is_numeric_dtype(survey.frame[name].dtype):
            areas[name] = code_numbers(areas[name], f"{name} holds numbers in the survey, but in {file.name}")
    return areas


def produce(
    spec: ModelFile,
    source: Path,
    areas: Path | None,
    stage: Path,
    step: Step = silent,
    *,
    report: bool = False,
    population: Path | None = None,
) -> Outcome:
    """Run a model file on records, or on direct estimates, and write its results into `stage`."""
    of_units = is_of_units(spec)
    if of_units:
        unit_estimator(spec)
    named = named_files(spec, None if of_units else estimator(spec))
    exchanged = spec.direct is not None and is_exchange(source)  # with their covariates
    if areas is None and not exchanged and not of_units:
        refuse_without_areas(spec)
    step(f"reading {source.name}")
    with collected_warnings() as doubts:
        covariates = None
        records: Survey | DirectEstimates
        if exchanged and areas is None:
            pooled = read_pooled(spec, source, wanted_covariates(spec))
            records, covariates = pooled.direct, pooled.covariates
        else:
            records = read_records(spec, source) if spec.direct is None else read_published(spec, source)
        file = None if areas is None else read_areas(spec, areas)
        if file is not None:
            covariates = covariates_of(spec, file, records)
        people = None
        if population is not None and isinstance(records, Survey):
            step(f"reading {population.name}")
            people = read_population(spec, population, records, universe_columns(spec, records))
            people = inside_universe(spec, records, people)
    inputs = {
        **_read_from(source, records),
        **({"areas": {"file": file.name, "sha256": file.sha256}} if file is not None else {}),
        **_population_record(population),
        **named,
    }
    origin = {
        "spec": spec.text,
        "inputs": inputs,
        "versions": versions(),
        "seed": spec.publish.seed,
    }
    known = None
    if covariates is not None:
        origins = {} if file is None else file.origins
        known = Covariates(covariates, {**origins, **spec.areas.origin_of})
    run = run_id(origin)
    if of_units and isinstance(records, Survey):
        outcome = estimate_units(spec, records, known if people is None else people, run=run, step=step)
    else:
        outcome = estimate(spec, records, known, run=run, step=step)
    outcome = replace(outcome, warnings=(*doubts, *outcome.warnings))
    step("writing the tables")
    for ending in (".csv", ".parquet", ".xlsx"):
        outcome.table.write(stage / f"{spec.id}{ending}")
    lacking = write_public(
        fit_or_table(outcome), stage, spec.id, title=spec.title, source=input_names(inputs)
    )
    write_table(outcome.direct.frame, stage / f"{spec.id}.direct.csv")
    if outcome.contrasts is not None:
        outcome.contrasts.write(stage / f"{spec.id}.contrasts.csv")
    drawn = _charted(shown(outcome.table))
    if spec.model and drawn["direct"].notna().any():
        title = (
            f"{spec.title or spec.id} ({len(drawn)} of {len(_charted(outcome.table))} domains, as published)"
        )
        save(compare(drawn, title=title), stage / f"{spec.id}.png")
    if report:
        step("the report")
        report_outcome(outcome, stage / f"{spec.id}.html", source.name)
    write_manifest(stage, spec.id, {**origin, **_record(outcome), "not_written": lacking})
    return outcome


def _charted(table: EstimateTable) -> EstimateTable:
    """Return the rows of the first indicator and level: a chart is of one, and a model may have several."""
    frame = table.frame
    for name in ("indicator", "level"):
        if name in frame and len(frame):
            frame = frame[frame[name] == frame[name].iloc[0]]
    return replace(table, frame=frame)


def _population_record(path: Path | None) -> dict[str, dict[str, str]]:
    return {} if path is None else {"population": {"file": path.name, "sha256": hash_population(path)}}


def _read_from(source: Path, records: Survey | DirectEstimates) -> dict[str, dict[str, str]]:
    if isinstance(records, DirectEstimates):
        return {"direct": {"file": source.name, "sha256": records.provenance["sha256"]}}
    return {"survey": {"file": source.name, "sha256": records.source["sha256"]}}


def _record(outcome: Outcome) -> dict[str, Any]:
    frame = outcome.table.frame
    covariates = {} if outcome.fit is None else outcome.fit.provenance.get("covariates", {})
    return {
        "title": outcome.spec.title,
        "run": frame["run"].iloc[0],
        "rows": len(frame),
        "rows_with_estimate": int(frame["estimate"].notna().sum()),
        "rows_publishable": int(frame["publishable"].fillna(False).sum()),
        "failed": list(outcome.failed),
        "warnings": list(outcome.warnings),
        "design": outcome.design,
        "release": dict(outcome.direct.provenance.get("release", {})),
        **({"covariates": covariates} if covariates else {}),
        **({"national": national} if (national := national_figures(outcome)) else {}),
        "log": [
            f"design: {outcome.design}",
            *outcome.direct.log,
            *_origin_lines(outcome),
            *_note_lines(outcome),
        ],
    }


def _origin_lines(outcome: Outcome) -> list[str]:
    """Return where the covariates of the formula come from, as the summary of the fit says it."""
    if outcome.fit is None:
        return []
    names = outcome.fit.provenance.get("covariates", {})
    texts = [message.text for message in outcome.fit.messages]
    return [f"covariate {text}" for text in texts if text.partition(": ")[0] in names]


def _note_lines(outcome: Outcome) -> list[str]:
    """Return what a model of units says without a warning: a shift, areas left out, its residuals."""
    if outcome.fit is None or not is_of_units(outcome.spec):
        return []
    return [f"model: {message.text}" for message in outcome.fit.messages if message.category is None]
