"""One model file on files: read the survey and the areas, estimate, write a folder of results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary import AreaFile, code_numbers, open_areas
from sae.batch.estimate import (
    Outcome,
    Step,
    estimate,
    estimator,
    named_files,
    refuse_without_areas,
    silent,
)
from sae.batch.hints import collected_warnings, reading, speaks_of_files
from sae.batch.outputs import run_id, versions, write_manifest
from sae.batch.spec import ModelFile
from sae.batch.staging import staged
from sae.errors import SaeSpecError
from sae.plots import compare, save
from sae.survey import Survey, read_survey
from sae.tables import require, write_table

__all__ = ["covariates_of", "produce", "read_areas", "read_records", "run"]


@speaks_of_files
def run(
    spec: ModelFile,
    *,
    survey: str | Path,
    areas: str | Path | None = None,
    out: str | Path,
    step: Step = silent,
) -> Outcome:
    """Run a model file from survey records to a folder of results.

    Writes ``{id}.csv``, ``.parquet`` and ``.xlsx`` (the estimate table), ``{id}.direct.csv``, ``{id}.png`` (a
    chart of direct against model), ``{id}.contrasts.csv`` (the gaps, of a multivariate model) and
    ``manifest.json`` (inputs, versions, seed, model file, warnings): all of them or none. The same inputs
    give the same bytes.

    Parameters
    ----------
    spec : ModelFile
        As `find_spec` or `read_spec` returns it.
    survey, areas : path
        The records, and one row of covariates per area.
    out : path
        Folder for the results; other files there stay.
    step : callable
        Called with what is being done.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the input or the model file cannot be used; nothing is written then.
    """
    out, survey, areas = Path(out), Path(survey), None if areas is None else Path(areas)
    with staged(out, spec.id, filter(None, (survey, areas))) as stage:
        outcome = produce(spec, survey, areas, stage, step)
        names = sorted(path.name for path in stage.iterdir())
    return replace(outcome, files=tuple(out / name for name in names))


def read_records(spec: ModelFile, path: Path) -> Survey:
    """Read the survey file by the layout of the model file."""
    section = spec.survey
    with reading("[survey]"):
        records = read_survey(
            path,
            layout=section.as_layout,
            lonely_psu=section.lonely_psu,
            nest=section.nest,
            encoding=section.encoding,
            separator=section.separator,
            decimal=section.decimal,
        )
    require(records.frame, spec.estimate.domains, "The survey has", "to group by", error=SaeSpecError)
    return records


def read_areas(spec: ModelFile, path: Path) -> AreaFile:
    """Read the file of the areas as the model file describes it."""
    with reading("[areas]"):
        return open_areas(path, **spec.areas.reading)


def covariates_of(spec: ModelFile, file: AreaFile, survey: Survey) -> pd.DataFrame:
    """Return the areas; the grouping columns among them become labels of the same kind as in the survey."""
    by = [name for name in spec.estimate.domains if name in file.cells]
    areas = file.table(file.keys(by))
    for name in by:
        if pd.api.types.is_numeric_dtype(survey.frame[name].dtype):
            areas[name] = code_numbers(areas[name], f"{name} holds numbers in the survey, but in {file.name}")
    return areas


def produce(spec: ModelFile, survey: Path, areas: Path | None, stage: Path, step: Step = silent) -> Outcome:
    """Run a model file and write its results into `stage`."""
    named = named_files(spec, estimator(spec))
    if areas is None:
        refuse_without_areas(spec)
    step(f"reading {survey.name}")
    with collected_warnings() as doubts:
        records = read_records(spec, survey)
        file = None if areas is None else read_areas(spec, areas)
        covariates = None if file is None else covariates_of(spec, file, records)
    origin = {
        "spec": spec.text,
        "inputs": {
            "survey": {"file": survey.name, "sha256": records.source["sha256"]},
            **({"areas": {"file": file.name, "sha256": file.sha256}} if file is not None else {}),
            **named,
        },
        "versions": versions(),
        "seed": spec.publish.seed,
    }
    outcome = estimate(spec, records, covariates, run=run_id(origin), step=step)
    outcome = replace(outcome, warnings=(*doubts, *outcome.warnings))
    step("writing the tables")
    for ending in (".csv", ".parquet", ".xlsx"):
        outcome.table.write(stage / f"{spec.id}{ending}")
    write_table(outcome.direct.frame, stage / f"{spec.id}.direct.csv")
    if outcome.contrasts is not None:
        outcome.contrasts.write(stage / f"{spec.id}.contrasts.csv")
    if outcome.table["estimate"].notna().any() and outcome.table["direct"].notna().any():
        save(compare(outcome.table, title=spec.title), stage / f"{spec.id}.png")
    write_manifest(stage, spec.id, {**origin, **_record(outcome)})
    return outcome


def _record(outcome: Outcome) -> dict[str, Any]:
    frame = outcome.table.frame
    return {
        "title": outcome.spec.title,
        "run": frame["run"].iloc[0],
        "rows": len(frame),
        "rows_with_estimate": int(frame["estimate"].notna().sum()),
        "rows_publishable": int(frame["publishable"].fillna(False).sum()),
        "failed": list(outcome.failed),
        "warnings": list(outcome.warnings),
        "design": outcome.design,
        "log": [f"design: {outcome.design}", *outcome.direct.log],
    }
