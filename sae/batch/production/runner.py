"""A production file on files: its stages as items that outlast a kill, then a folder of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from sae.batch.estimate import Step, silent
from sae.batch.hints import collected_warnings, speaks_of_files
from sae.batch.outputs import input_names, run_id, write_manifest
from sae.batch.production.area_checks import check_areas, check_covariates
from sae.batch.production.design import Design, understood
from sae.batch.production.engine import Engine, Shard
from sae.batch.production.estimation import estimated
from sae.batch.production.items import (
    Inputs,
    estimation_items,
    other_numbers,
    row_item,
    sketch_items,
    sketches_of,
)
from sae.batch.production.planning import production_plan
from sae.batch.production.published import read_published_tables
from sae.batch.production.record import ProductionOutcome, map_files, origin_of, record_of
from sae.batch.production.registers import read_registers
from sae.batch.production.sketches import Sketch
from sae.batch.production.spec import ProductionFile
from sae.batch.production.stored import rows_from_output
from sae.batch.production.workplace import Workplace, workplace
from sae.batch.public_files import write_public
from sae.batch.staging import staged
from sae.batch.work import Item, Output
from sae.errors import SaeError, SaeInputError, name_some
from sae.quality import load_policy
from sae.survey import Survey
from sae.survey.silc_files import silc_kind
from sae.tables import write_table

__all__ = ["check_production", "merge_production", "run_production", "run_shard"]


@dataclass(frozen=True, eq=False)
class _Plan:
    """What a production will do: its design, and its items by shard."""

    inputs: Inputs
    design: Design
    shares: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]

    def items(self, share: int | None = None) -> list[Item]:
        """Return the items of a shard, or all."""
        some = self.shares if share is None else self.shares[share : share + 1]
        return estimation_items(self.inputs, self.design, some, map_files(self.design.file))


@speaks_of_files
def check_production(
    file: ProductionFile,
    *,
    surveys: Sequence[str] = (),
    areas: str | Path | None = None,
    engine: Engine | None = None,
) -> str:
    """Check that a production file can run, all that costs no estimation; return the design it comes to.

    Without a file for any survey only the production file itself is checked, and the text is empty.
    """
    load_policy(file.publish.policy)
    if not surveys and not any(entry.files for entry in file.sources.values()):
        return ""
    inputs = Inputs.of(file, surveys, areas, (engine or Engine()).memory)
    outputs = _alone(sketch_items(inputs))
    while other_numbers(inputs, outputs):
        outputs = _alone(sketch_items(inputs))
    plan = _planned(inputs, sketches_of(inputs, outputs), 1)
    seconds = sum(item.cost for item in [*sketch_items(inputs), *plan.items()])
    return f"{plan.design.text}\nabout {_time(seconds)} with one worker"


def _alone(items: Sequence[Item]) -> dict[str, Output]:
    """Do items of which nothing is kept."""
    outputs: dict[str, Output] = {}
    for item in items:
        outputs[item.name] = item.job(outputs)
    return outputs


@speaks_of_files
def run_production(
    file: ProductionFile,
    *,
    surveys: Sequence[str] = (),
    areas: str | Path | None = None,
    out: str | Path,
    step: Step = silent,
    engine: Engine | None = None,
) -> ProductionOutcome:
    """Run a production file from survey files to a folder of results.

    Writes ``{id}.csv``, ``.parquet`` and ``.xlsx`` (the estimate table of every cell), the same as
    ``{id}.published`` (what may leave the office; also ``.sdmx.csv`` and ``.tsv``), ``{id}.direct.csv``,
    ``{id}.ladder.csv`` (what became of each rung in each fit), ``{id}.links.parquet`` (weights and larger
    units, for `sae audit`) and ``manifest.json``: all of them or none. The same inputs give the same bytes. A
    cell that cannot be had stays, with its reason. What is finished is kept in the folder until the results
    are written: killed at any moment, the next run goes on from there.

    Parameters
    ----------
    file : ProductionFile
    surveys : sequence of str
        NAME=PATH; a survey may have several, of different periods.
    areas : path, optional
    out : path
    step : callable
        Called with what is being done.
    engine : Engine, optional
        Who performs it; no figure depends on it.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the input or the production file cannot be used; nothing is written then.
    """
    engine = engine or Engine()
    return _run(Inputs.of(file, surveys, areas, engine.memory), Path(out), step, engine, merge=False)


@speaks_of_files
def merge_production(
    file: ProductionFile,
    *,
    surveys: Sequence[str] = (),
    areas: str | Path | None = None,
    out: str | Path,
    step: Step = silent,
    engine: Engine | None = None,
) -> ProductionOutcome:
    """Write the results of a production of which every shard is finished: see `run_shard`.

    Raises
    ------
    SaeInputError
        If some shards are not finished: they are named. Else as `run_production`.
    """
    engine = engine or Engine()
    return _run(Inputs.of(file, surveys, areas, engine.memory), Path(out), step, engine, merge=True)


@speaks_of_files
def run_shard(
    file: ProductionFile,
    shard: Shard,
    *,
    surveys: Sequence[str] = (),
    areas: str | Path | None = None,
    out: str | Path,
    engine: Engine | None = None,
) -> str:
    """Do the share of a shard in the indicators, and keep it in the folder of results for the merge.

    Shards wait for nobody: each reads the files for itself.

    Returns
    -------
    str
        What was done, in a line.
    """
    inputs = Inputs.of(file, surveys, areas, (engine or Engine()).memory)
    load_policy(file.publish.policy)
    _refuse_inside(inputs, Path(out))
    with workplace(Path(out), file.id, engine or Engine(), shard) as place:
        plan = _looked(inputs, place)
        place.executed(plan.items(shard.number - 1))
    done = plan.shares[shard.number - 1]
    return f"{file.id}: shard {shard} is finished: {name_some(done, 12) or 'no indicator is left for it'}"


def _run(inputs: Inputs, out: Path, step: Step, engine: Engine, *, merge: bool) -> ProductionOutcome:
    file = inputs.file
    load_policy(file.publish.policy)
    _refuse_inside(inputs, out)
    with workplace(out, file.id, engine, merge=merge) as place:
        with staged(out, file.id, inputs.all) as stage:
            step("looking at the files")
            plan = _looked(inputs, place)
            if merge:
                _refuse_unfinished(plan, place)
            outcome = _produced(plan, place, step)
            step("writing the tables")
            _write(outcome, stage)
            names = sorted(path.name for path in stage.iterdir())
        place.store.remove()
    return replace(outcome, files=tuple(out / name for name in names))


def _refuse_inside(inputs: Inputs, out: Path) -> None:
    """Refuse results in a folder of which every file is one of records."""
    for name in inputs.file.surveys:
        for path in inputs.paths[name]:
            if path.is_dir() and not silc_kind(path) and out.resolve().is_relative_to(path.resolve()):
                raise SaeInputError(
                    f"The folder of results {out} lies in {path}, the folder of the survey {name}.",
                    hint="Name another output folder.",
                )


def _looked(inputs: Inputs, place: Workplace) -> _Plan:
    """Look at the files and plan the rest; of a production that cannot run nothing is kept.

    What was finished before stays, and what other shards have: the files may have been given wrongly.
    """
    fresh = place.shares == 1 and not any(place.store.ledger())
    try:
        outputs = place.executed(sketch_items(inputs))
        while other_numbers(inputs, outputs):
            outputs = place.executed(sketch_items(inputs))
        told = [text for output in outputs.values() for text in output.facts["warnings"]]
        plan = _planned(inputs, sketches_of(inputs, outputs), place.shares)
    except SaeError:
        if fresh:
            place.store.remove()
        raise
    return replace(plan, warnings=(*told, *plan.warnings))


def _planned(inputs: Inputs, sketches: Mapping[str, Sketch], shares: int) -> _Plan:
    file = inputs.file
    with collected_warnings() as doubts:
        opened = inputs.opened
        check_covariates(file, opened)
        published = read_published_tables(file, {name: inputs.paths[name] for name in file.tables})
        told = [(_counted(one.survey), one.survey.time) for one in sketches.values()]
        told += [(table.frame, one.time) for one in published.values() for table in one.tables.values()]
        check_areas(file, opened, [frame for frame, _ in told], [time for _, time in told if time])
        design = understood(file, sketches, opened, read_registers(file, inputs.registers), published)
    sets = design.together(design.served)
    parts = tuple(tuple(name for some in sets[k::shares] for name in some) for k in range(shares))
    return _Plan(inputs, design, parts, tuple(doubts))


def _counted(survey: Survey) -> pd.DataFrame:
    """Return the records of a survey that count."""
    return survey.frame if survey.mask is None else survey.frame[survey.mask]


def _refuse_unfinished(plan: _Plan, place: Workplace) -> None:
    open_ = [k + 1 for k in range(place.shares) if place.lacking(plan.items(k))]
    if open_:
        raise SaeInputError(
            f"{len(open_)} of {place.shares} shards of {plan.design.file.id} are not finished: "
            f"{name_some(f'{k}/{place.shares}' for k in open_)}.",
            hint="Run them with --shard, the same files and --memory; or sae run, which does the rest.",
        )


def _produced(plan: _Plan, place: Workplace, step: Step) -> ProductionOutcome:
    design, file = plan.design, plan.design.file
    step("estimates")
    outputs = place.executed(plan.items())
    step("flags")
    told = [text for output in outputs.values() for text in output.facts["warnings"]]
    with collected_warnings() as doubts:
        rows = [rows_from_output(outputs[row_item(some)]) for some in design.together(design.served)]
        origin = origin_of(file, design, plan.inputs.opened, plan.inputs.registers)
        estimation = estimated(design, rows, run=run_id(origin))
    warnings = dict.fromkeys([*plan.warnings, *told, *doubts])
    return ProductionOutcome(design, estimation, tuple(warnings), origin)


def _write(outcome: ProductionOutcome, stage: Path) -> None:
    name, estimation = outcome.design.file.id, outcome.estimation
    for ending in (".csv", ".parquet", ".xlsx"):
        estimation.table.write(stage / f"{name}{ending}")
    write_table(estimation.links, stage / f"{name}.links.parquet")
    lacking = write_public(
        estimation.table,
        stage,
        name,
        title=outcome.design.file.title,
        source=input_names(outcome.origin["inputs"]),
    )
    write_table(estimation.direct, stage / f"{name}.direct.csv")
    write_table(estimation.ladder, stage / f"{name}.ladder.csv")
    plan = production_plan(
        outcome.design.file,
        estimation.table,
        estimation.direct,
        estimation.ladder,
        outcome.design.served,
    )
    if plan is not None:
        plan.write(stage, name)
    write_manifest(stage, name, {**outcome.origin, **record_of(outcome), "not_written": lacking})


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
