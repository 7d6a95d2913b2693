"""One model file on files: read the survey and the areas, estimate, write a folder of results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary import AreaFile, open_areas
from sae.batch.estimate import Outcome, Step, estimate, silent
from sae.batch.outputs import run_id, staged, versions, write_manifest
from sae.batch.spec import ModelFile
from sae.errors import SaeInputError
from sae.plots import compare, save
from sae.survey import Survey, read_survey
from sae.tables import write_table

__all__ = ["covariates_of", "produce", "read_records", "run"]


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
    out = Path(out)
    with staged(out) as stage:
        outcome = produce(spec, Path(survey), None if areas is None else Path(areas), stage, out, step)
        names = sorted(path.name for path in stage.iterdir())
    return replace(outcome, files=tuple(out / name for name in names))


def read_records(spec: ModelFile, path: Path) -> Survey:
    """Read the survey file by the layout of the model file."""
    told = spec.survey
    return read_survey(
        path, layout=told.as_layout, lonely_psu=told.lonely_psu, nest=told.nest, encoding=told.encoding
    )


def covariates_of(spec: ModelFile, file: AreaFile, survey: Survey) -> pd.DataFrame:
    """Return the areas; the grouping columns among them become labels of the same kind as in the survey."""
    by = [name for name in spec.estimate.domains if name in file.cells]
    areas = file.table([*by, *(name for name in file.text_columns if name not in by)])
    for name in by:
        if pd.api.types.is_numeric_dtype(survey.frame[name].dtype):
            try:
                areas[name] = pd.to_numeric(areas[name])
            except ValueError as error:
                raise SaeInputError(
                    f"{name} holds numbers in the survey, but in {file.name} it does not: {error}.",
                    column=name,
                ) from None
    return areas


def produce(
    spec: ModelFile, survey: Path, areas: Path | None, stage: Path, out: Path, step: Step = silent
) -> Outcome:
    """Run a model file and write its results into `stage`, whose content will move to `out`."""
    step(f"reading {survey.name}")
    records = read_records(spec, survey)
    file = None if areas is None else open_areas(areas, encoding=spec.areas.encoding)
    covariates = None if file is None else covariates_of(spec, file, records)
    origin = {
        "spec": spec.text,
        "inputs": {
            "survey": {"file": survey.name, "sha256": records.source["sha256"]},
            **({"areas": {"file": file.name, "sha256": file.sha256}} if file is not None else {}),
        },
        "versions": versions(),
        "seed": spec.publish.seed,
    }
    outcome = estimate(spec, records, covariates, run=run_id(origin), step=step)
    step("writing the tables")
    for ending in (".csv", ".parquet", ".xlsx"):
        outcome.table.write(stage / f"{spec.id}{ending}")
    write_table(outcome.direct.frame, stage / f"{spec.id}.direct.csv")
    if outcome.contrasts is not None:
        outcome.contrasts.write(stage / f"{spec.id}.contrasts.csv")
    if outcome.table["estimate"].notna().any() and outcome.table["direct"].notna().any():
        save(compare(outcome.table, title=spec.title), stage / f"{spec.id}.png")
    write_manifest(stage, out, spec.id, {**origin, **_record(outcome)})
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
        "log": list(outcome.direct.log),
    }
