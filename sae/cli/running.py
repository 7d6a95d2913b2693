"""`sae run` and `sae merge`: a model file, a production, a folder of them, to flagged tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sae.cli.ending import DONE, PARTLY, REFUSED, sentence
from sae.cli.options import Areas, Data, Debug, Direct, Executor, Log, Memory, Population, Surveys, Workers
from sae.cli.printing import Show, complain, progress
from sae.errors import SaeInputError

__all__ = ["merge", "run"]


def run(
    spec: Annotated[
        str, typer.Argument(help="A model or production file (TOML), a folder of them, or a shipped name.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; files of the same names are replaced.")
    ] = None,
    survey: Surveys = None,
    direct: Direct = None,
    areas: Areas = None,
    population: Population = None,
    data: Data = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what a production would do.")] = False,
    workers: Workers = None,
    executor: Executor = None,
    memory: Memory = None,
    log: Log = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="1/4: do the first of four parts, for sae merge.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Write a report too, one HTML file.")] = False,
    debug: Debug = False,
) -> int:
    """Run a model file or a production file from records, or direct estimates, to a flagged table.

    A production that was interrupted or killed goes on from there when it is run again.

    Of a folder every file is run, each into a folder of its own name in --out; one that fails stops no other.
    Its exit code is 0 if all are done, 2 if none could be used, 1 otherwise.
    """
    from sae.batch.models import folder_of, locate

    if data is not None and not data.is_dir():
        raise SaeInputError(f"--data {data} is no folder.")
    how = _How(workers, executor, memory, log, shard, dry_run)
    if folder_of(spec) is None:
        return _run_one(spec, out, survey or [], direct, areas, population, data, how, report)
    if survey or direct or areas or population:
        raise SaeInputError(
            f"{spec} is a folder: its files name their own data.",
            hint="Leave --survey, --direct, --areas and --population out; --data says where the data lie.",
        )
    results = None if dry_run else _folder(out)

    def one(path: Path) -> int:
        return _run_one(str(path), results and results / path.stem, [], None, None, None, data, how, report)

    return _run_each(locate(spec), one, debug)


def merge(
    spec: Annotated[str, typer.Argument(help="A production file (TOML), or a shipped one's name.")],
    out: Annotated[Path | None, typer.Option(help="Folder into which the shards were run.")] = None,
    survey: Surveys = None,
    areas: Areas = None,
    data: Data = None,
    memory: Memory = None,
    log: Log = None,
    debug: Debug = False,
) -> int:
    """Join the parts of a production that sae run --shard made, all of them finished; with the same files."""
    from sae.batch.models import find_production

    production = find_production(spec)
    if production is None:
        raise SaeInputError(f"{spec} is no production file.")
    how = _How(memory=memory, log=log)
    return _run_production(production, survey or [], areas, out, data, how, merge=True)


@dataclass(frozen=True)
class _How:
    """How a production is to be performed."""

    workers: int | None = None
    executor: str | None = None
    memory: str | None = None
    log: Path | None = None
    shard: str | None = None
    dry_run: bool = False

    def engine(self, watch: Any = None) -> Any:
        """Return what performs it."""
        from sae.batch.production.engine import Engine

        shown = {} if watch is None else {"watch": watch}
        return Engine.parse(self.executor, self.memory, workers=self.workers, log=self.log, **shown)

    def refuse(self, spec: str) -> None:
        """Refuse what a model file does not take."""
        given = [f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value]
        if given:
            raise SaeInputError(f"{given[0]} is for production files; {spec} is a model file.")


def _run_one(
    spec: str,
    out: Path | None,
    survey: list[str],
    direct: Path | None,
    areas: Path | None,
    population: Path | None,
    data: Path | None,
    how: _How,
    report: bool,
) -> int:
    from sae.batch.models import find_production, find_spec

    production = find_production(spec)
    if production is not None:
        if direct is not None:
            raise SaeInputError(f"{spec} is a production file: it takes no --direct.")
        if population is not None:
            raise SaeInputError(f"{spec} is a production file: it takes no --population.")
        code = _run_production(production, survey, areas, out, data, how)
        if report and code != REFUSED and not how.dry_run and not how.shard:
            from sae.batch.reporting import report_results

            results = _folder(out)
            name = production.stem
            print(f"wrote {report_results(results, results / f'{name}.html', model=name)}")
        return code
    how.refuse(spec)
    if data is not None:
        raise SaeInputError(f"--data is for production files; {spec} is a model file.")
    model = find_spec(spec)  # a misspelt name is answered before the libraries load
    from sae.batch.runner import run

    with progress() as step:
        one = _one_survey(survey)
        outcome = run(
            model,
            survey=one,
            direct=direct,
            areas=areas,
            population=population,
            out=_folder(out),
            report=report,
            step=step,
        )
    for warning in outcome.warnings:
        complain(f"Warning: {warning}")
    for reason in outcome.failed:
        complain(f"Failed: {reason}")
    print(outcome.text)
    return PARTLY if outcome.failed else DONE


def _one_survey(survey: list[str]) -> Path | None:
    if len(survey) > 1:
        raise SaeInputError(f"A model file takes one file of records; {len(survey)} are given.")
    return Path(survey[0]) if survey else None


def _folder(out: Path | None) -> Path:
    if out is None:
        raise SaeInputError("No folder for the results is named.", hint="Write --out FOLDER.")
    return out


def _run_each(files: list[Path], one: Callable[[Path], int], debug: bool) -> int:
    """Run every specification of a folder; one that fails is reported and stops no other."""
    ends: dict[str, int] = {}
    for path in files:
        try:
            ends[path.stem] = one(path)
        except BrokenPipeError:
            raise
        except Exception as error:
            if debug:
                raise
            complain(f"{path.stem}: {sentence(error)}")
            ends[path.stem] = REFUSED
    names = {DONE: "done", PARTLY: "done in part", REFUSED: "refused"}
    for code, name in names.items():
        some = [stem for stem, end in ends.items() if end == code]
        if some:
            print(f"{len(some)} of {len(ends)} {name}: {', '.join(some)}")
    return ends.popitem()[1] if len(set(ends.values())) == 1 else PARTLY


def _run_production(
    path: Path,
    surveys: list[str],
    areas: Path | None,
    out: Path | None,
    data: Path | None,
    how: _How,
    merge: bool = False,
) -> int:
    from sae.batch.production import runner
    from sae.batch.production.engine import Shard
    from sae.batch.production.spec import read_production

    file = read_production(path, data)
    if how.dry_run:
        print(runner.check_production(file, surveys=surveys, areas=areas, engine=how.engine()))
        return DONE
    with progress() as step:
        engine, folder = how.engine(_watching(step)), _folder(out)
        if how.shard:
            shard = Shard.parse(how.shard)
            print(runner.run_shard(file, shard, surveys=surveys, areas=areas, out=folder, engine=engine))
            return DONE
        work = runner.merge_production if merge else runner.run_production
        outcome = work(file, surveys=surveys, areas=areas, out=folder, step=step, engine=engine)
    for warning in outcome.warnings:
        complain(f"Warning: {warning}")
    print(outcome.text)
    return PARTLY if outcome.lost else DONE


def _watching(step: Show) -> Callable[[Any], None]:
    """Return what shows a person how far a production is, the time left and the item at work."""

    def watch(progress: Any) -> None:
        left = f"{progress.left:,.0f} s left: " if progress.left == progress.left else ""
        step(f"{left}{', '.join(progress.running)}", progress.done / progress.total)

    return watch
