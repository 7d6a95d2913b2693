"""A production file on files: read the surveys and the areas once, estimate, write a folder of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.estimate import Step, estimator, named_files, silent
from sae.batch.hints import collected_warnings, speaks_of_files
from sae.batch.outputs import hash_file, run_id, versions, write_manifest
from sae.batch.production.design import Design, understood
from sae.batch.production.estimation import Estimation, estimated
from sae.batch.production.registers import read_registers
from sae.batch.production.spec import ProductionFile
from sae.batch.production.surveys import read_surveys, survey_files
from sae.batch.runner import read_areas
from sae.batch.staging import staged
from sae.errors import SaeInputError
from sae.quality import load_policy
from sae.specs import parse_terms, split_formula
from sae.tables import write_table
from sae.tables.columns import DIRECT_COLUMNS

__all__ = ["ProductionOutcome", "check_production", "run_production"]


@dataclass(frozen=True, eq=False)
class ProductionOutcome:
    """What a production run gave.

    Attributes
    ----------
    design : Design
    estimation : Estimation
    warnings : tuple of str
    files : tuple of Path
        What was written, in alphabetical order.
    """

    design: Design
    estimation: Estimation
    warnings: tuple[str, ...]
    files: tuple[Path, ...] = ()

    @property
    def lost(self) -> int:
        """Number of cells without an estimate that have records, or that nothing tells."""
        frame = self.estimation.table.frame
        return int((frame["estimate"].isna() & (frame["n"].fillna(1) > 0)).sum())

    @property
    def text(self) -> str:
        """The run in a few lines."""
        frame, ladder = self.estimation.table.frame, self.estimation.ladder
        estimated, open_ = frame["estimate"].notna(), frame["publishable"].fillna(False)
        lines = [f"{self.design.file.id}: {len(frame):,} cells, {int(estimated.sum()):,} with an estimate"]
        lines += [f"  publishable by {frame['policy'].iloc[0]}: {int(open_.sum()):,}"]
        taken = ladder[ladder["verdict"] == "accepted"].groupby("rung", sort=False).size()
        lines += [f"  {count:,} fits by {rung}" for rung, count in taken.items()]
        lines += [f"  not told: {what}: {reason}" for what, reason in self.design.untold.items()]
        if self.files:
            lines.append(f"wrote to {self.files[0].parent}: {', '.join(path.name for path in self.files)}")
        return "\n".join(lines)


@speaks_of_files
def check_production(
    file: ProductionFile, *, surveys: Sequence[str] = (), areas: str | Path | None = None
) -> str:
    """Check that a production file can run, all that costs no estimation; return the design it comes to.

    Without a file for any survey only the production file itself is checked, and the text is empty.
    """
    load_policy(file.publish.policy)
    if not surveys and not any(entry.files for entry in file.surveys.values()):
        return ""
    return _read(file, survey_files(file, surveys), areas)[0].text


@speaks_of_files
def run_production(
    file: ProductionFile,
    *,
    surveys: Sequence[str] = (),
    areas: str | Path | None = None,
    out: str | Path,
    step: Step = silent,
) -> ProductionOutcome:
    """Run a production file from survey files to a folder of results.

    Writes ``{id}.csv``, ``.parquet`` and ``.xlsx`` (the estimate table of every cell), ``{id}.direct.csv``,
    ``{id}.ladder.csv`` (what became of each rung in each fit) and ``manifest.json``: all of them or none. The
    same inputs give the same bytes. A cell that cannot be had stays, with its reason.

    Parameters
    ----------
    file : ProductionFile
    surveys : sequence of str
        NAME=PATH; a survey may have several, of different periods.
    areas : path, optional
    out : path
    step : callable
        Called with what is being done.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the input or the production file cannot be used; nothing is written then.
    """
    out = Path(out)
    paths = survey_files(file, surveys)
    inputs = [path for of in paths.values() for path in of] + ([Path(areas)] if areas is not None else [])
    with staged(out, file.id, inputs) as stage:
        load_policy(file.publish.policy)
        step("reading the surveys")
        with collected_warnings() as doubts:
            design, opened = _read(file, paths, areas)
            origin = _origin(file, design, opened, {name: paths[name] for name in file.registers})
            estimation = estimated(design, opened, run=run_id(origin), step=step)
        step("writing the tables")
        for ending in (".csv", ".parquet", ".xlsx"):
            estimation.table.write(stage / f"{file.id}{ending}")
        write_table(estimation.direct, stage / f"{file.id}.direct.csv")
        write_table(estimation.ladder, stage / f"{file.id}.ladder.csv")
        outcome = ProductionOutcome(design, estimation, tuple(doubts))
        write_manifest(stage, file.id, {**origin, **_record(outcome)})
        names = sorted(path.name for path in stage.iterdir())
    return ProductionOutcome(design, estimation, tuple(doubts), tuple(out / name for name in names))


def _read(
    file: ProductionFile, paths: Mapping[str, Sequence[Path]], areas: str | Path | None
) -> tuple[Design, AreaFile | None]:
    surveys = read_surveys(file, paths)
    opened = None
    if areas is not None:
        opened = read_areas(file.model_file(file.production.indicators[0]), Path(areas))
    _check_covariates(file, opened)
    registers = read_registers(file, {name: paths[name] for name in file.registers if paths[name]})
    return understood(file, surveys, opened, registers), opened


def _check_covariates(file: ProductionFile, areas: AreaFile | None) -> None:
    """Refuse covariates that the areas lack; what the direct estimates bring is known."""
    known = {*DIRECT_COLUMNS, *(name for groups in file.production.groups for name in groups)}
    known |= {*file.production.levels.values(), *([] if areas is None else areas.cells)}
    for k, ladder in enumerate(file.ladders, 1):
        for j, rung in enumerate(ladder.rung, 1):
            if rung.formula is None:
                continue
            names = parse_terms(split_formula(f"y {rung.formula}")[1]).variables
            lost = [name for name in names if name not in known]
            if lost:
                lacking = "the areas lack" if areas is not None else "no file of areas gives"
                raise SaeInputError(
                    f"{file.id}.toml: [[model]] number {k}, rung {j}: the formula uses {', '.join(lost)}, "
                    f"which {lacking}.",
                    hint="Give the areas with --areas." if areas is None else "",
                    column=lost[0],
                )


def _origin(
    file: ProductionFile,
    design: Design,
    areas: AreaFile | None,
    registers: Mapping[str, Sequence[Path]],
) -> dict[str, Any]:
    named = named_files(file.model_file(next(iter(file.production.indicators))), None)
    return {
        "spec": file.text,
        "inputs": {
            **{f"survey {name}": dict(survey.source) for name, survey in design.surveys.items()},
            **({"areas": {"file": areas.name, "sha256": areas.sha256}} if areas is not None else {}),
            **{
                f"register {name}": {"files": [p.name for p in of], "sha256": [hash_file(p) for p in of]}
                for name, of in registers.items()
                if of
            },
            **named,
            **_maps(file),
        },
        "versions": versions(),
        "seed": file.production.seed,
    }


def _maps(file: ProductionFile) -> dict[str, dict[str, str]]:
    """Return name and hash of each map that a rung names."""
    maps = {}
    for k, ladder in enumerate(file.ladders, 1):
        for j, rung in enumerate(ladder.rung, 1):
            if rung.formula is None:
                continue
            model = estimator(file.model_file("indicator", rung=rung))
            path = getattr(getattr(model, "spatial", None), "map", None)
            if isinstance(path, Path):
                maps[f"map {k}.{j}"] = {"file": path.name, "sha256": hash_file(path)}
    return maps


def _record(outcome: ProductionOutcome) -> dict[str, Any]:
    frame: pd.DataFrame = outcome.estimation.table.frame
    design = outcome.design
    return {
        "title": design.file.title,
        "run": frame["run"].iloc[0],
        "rows": len(frame),
        "rows_with_estimate": int(frame["estimate"].notna().sum()),
        "rows_publishable": int(frame["publishable"].fillna(False).sum()),
        "indicators": dict(design.served),
        "not_told": dict(design.untold),
        "design": {name: survey.design for name, survey in design.surveys.items()},
        "warnings": list(outcome.warnings),
        "log": [f"{name}: {note}" for name, survey in design.surveys.items() for note in survey.notes],
    }
