"""What the stages of a production hand on, as it is stored: tables, facts and arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from sae.batch.production.fits import IndicatorRows
from sae.batch.production.sketches import Sketch
from sae.batch.production.statistics import SurveyTables
from sae.batch.work import Output
from sae.survey import Release, Stage, Survey
from sae.survey.replicates import Replicates

__all__ = [
    "rows_from_output",
    "rows_output",
    "sketch_from_output",
    "sketch_output",
    "tables_from_output",
    "tables_output",
]

_BY_RECORD = ("strata", "psu", "fpc", "inflation")  # arrays of a stage
_PLAIN = ("lonely_psu", "time", "layout", "panel")  # of a survey


def sketch_output(sketch: Sketch, warnings: Sequence[str]) -> Output:
    """Return a sketch as it is stored."""
    survey, replicates = sketch.survey, sketch.survey.replicates
    arrays = {"weights": survey.weights}
    if survey.mask is not None:
        arrays["mask"] = survey.mask
    for k, stage in enumerate(survey.stages):
        held = {name: getattr(stage, name) for name in _BY_RECORD}
        arrays |= {f"{name} {k}": values for name, values in held.items() if values is not None}
    if replicates is not None:
        arrays |= {"replicates": replicates.weights, "rscales": replicates.rscales}
    facts = {
        **{name: getattr(survey, name) for name in _PLAIN},
        "records": sketch.records,
        "answers": {name: list(counts) for name, counts in sketch.answers.items()},
        "stages": [[one.n_strata, one.n_psu, dict(one.columns)] for one in survey.stages],
        "release": {**asdict(survey.release), "remembered": sorted(survey.release.remembered)},
        "missing": list(map(list, survey.missing.items())),
        "notes": list(survey.notes),
        "source": dict(survey.source),
        "replicates": None
        if replicates is None
        else [replicates.method, float(replicates.scale), replicates.centre],
        "warnings": list(warnings),
    }
    return Output({"records": survey.frame, "pairs": sketch.pairs}, facts, arrays)


def sketch_from_output(output: Output) -> Sketch:
    """Return the sketch that was stored."""
    facts, arrays = output.facts, output.arrays
    stages = tuple(_stage(k, one, arrays) for k, one in enumerate(facts["stages"]))
    replicates = None
    if facts["replicates"] is not None:
        method, scale, centre = facts["replicates"]
        replicates = Replicates(arrays["replicates"], method, scale, arrays["rscales"], centre)
    release = facts["release"]
    survey = Survey(
        frame=output.tables["records"],
        weights=arrays["weights"],
        stages=stages,
        replicates=replicates,
        mask=arrays.get("mask"),
        release=Release(
            **{
                **release,
                "years": tuple(release["years"]),
                "age_bands": tuple(release["age_bands"]),
                "remembered": frozenset(release["remembered"]),
            }
        ),
        missing=dict(facts["missing"]),
        notes=tuple(facts["notes"]),
        source=facts["source"],
        **{name: facts[name] for name in _PLAIN},
    )
    answers = {name: (inside, lacking) for name, (inside, lacking) in facts["answers"].items()}
    return Sketch(survey, facts["records"], answers, output.tables["pairs"])


def _stage(k: int, facts: Sequence[Any], arrays: Mapping[str, np.ndarray]) -> Stage:
    n_strata, n_psu, columns = facts
    held: dict[str, Any] = {name: arrays.get(f"{name} {k}") for name in _BY_RECORD}
    labels = [np.broadcast_to(np.int64(0), count) for count in (n_strata, n_psu)]
    return Stage(**held, strata_labels=labels[0], psu_labels=labels[1], columns=columns)


def tables_output(tables: SurveyTables, warnings: Sequence[str]) -> Output:
    """Return the direct estimates of some files as they are stored."""
    facts = {"files": tables.files, "facts": tables.facts, "warnings": list(warnings)}
    return Output(tables.tables, facts, tables.covariances)


def tables_from_output(output: Output) -> SurveyTables:
    """Return the direct estimates that were stored; a table is read when it is looked at."""
    return SurveyTables(output.facts["files"], output.tables, output.facts["facts"], output.arrays)


def rows_output(rows: IndicatorRows, warnings: Sequence[str]) -> Output:
    """Return the rows of an indicator as they are stored."""
    tables = {"rows": rows.rows, "direct": rows.direct, "ladder": rows.ladder}
    return Output(tables, {"breaks": dict(rows.breaks), "warnings": list(warnings)})


def rows_from_output(output: Output) -> IndicatorRows:
    """Return the rows that were stored."""
    tables = output.tables
    return IndicatorRows(tables["rows"], tables["direct"], tables["ladder"], output.facts["breaks"])
