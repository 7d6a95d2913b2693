"""The command line: parse, call, print."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

import sae
from sae.errors import SaeError, SaeInputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

DONE, PARTLY, REFUSED, CLOSED = 0, 1, 2, 141
DIFFERENT = 1  # of two results
# they end a command as Ctrl-C does, with the old results as they were; SIGBREAK is Ctrl-Break on Windows
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]

app = typer.Typer(
    name="sae",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error.")]
Surveys = Annotated[
    list[str] | None,
    typer.Option(
        "--survey",
        help="Records: CSV, Parquet, SAS, SPSS or Stata; NAME=FILE for each survey of a production.",
    ),
]
Direct = Annotated[
    Path | None, typer.Option("--direct", help="Direct estimates instead of records: see [direct].")
]
Areas = Annotated[Path | None, typer.Option("--areas", help="Covariates, one row per area: CSV or Parquet.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Processes of a production; by default the cores.")
]
Executor = Annotated[
    str | None, typer.Option("--executor", help="Of a production: processes, or dask://HOST:PORT.")
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", help="Of one worker of a production: 4GB; larger surveys are read in blocks."),
]
Log = Annotated[Path | None, typer.Option("--log", help="File for the events of a production, JSON lines.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the files that the specification itself names.")
]


class _Show(Protocol):
    """What shows a step to a person, and the share of the work that is done, where it is known."""

    def __call__(self, step: str, share: float | None = None) -> None: ...


class _Ended(KeyboardInterrupt):
    """A signal asked for the end; `number` says which."""

    number: int = signal.SIGINT

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def _end(number: int, frame: FrameType | None) -> None:
    raise _Ended(number)


def _guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Turn errors into one readable message and the exit code that the help promises."""

    @wraps(command)
    def guarded(*args: Any, debug: bool = False, **options: Any) -> None:
        try:
            code = command(*args, debug=debug, **options)
        except KeyboardInterrupt as end:
            _complain(f"Interrupted: {'; '.join(getattr(end, '__notes__', ())) or 'nothing was written'}.")
            code = 128 + (end.number if isinstance(end, _Ended) else signal.SIGINT)
        except BrokenPipeError:  # who read the output, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = CLOSED
        except Exception as error:
            if debug:
                raise
            _complain(_sentence(error))
            code = REFUSED
        raise typer.Exit(code)

    return guarded


def _sentence(error: Exception) -> str:
    if isinstance(error, SaeError):
        return f"Error: {error}"
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"Error: {place}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "Error: the data do not fit into the memory of this machine."
    return (
        f"Unexpected {type(error).__name__}: {error}\n"
        "A fault of sae itself: please report it, with what --debug shows."
    )


def _complain(message: str) -> None:
    print(message, file=sys.stderr)


@contextmanager
def _progress() -> Iterator[_Show]:
    """Give a function that shows what is being done, and the share that is, to a person on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bar = BarColumn(bar_width=20)
    columns = (SpinnerColumn("line"), TimeElapsedColumn(), bar, TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None)

        def show(step: str, share: float | None = None) -> None:
            total = None if share is None else 1.0
            progress.update(task, description=step, total=total, completed=share or 0.0)

        yield show


def _show_version(asked: bool) -> None:
    if asked:
        print(f"sae {sae.__version__}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Small area estimation: from survey files to flagged, benchmarked, publishable tables.

    Exit codes: 0 done; 1 some domains or models failed, the table is written with their reason (of diff:
    something differs); 2 the input or the model file cannot be used, nothing is written; 130 interrupted,
    143 terminated.
    """


@app.command()
@_guarded
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo-results"),
    seed: Annotated[int, typer.Option(help="Seed of the synthetic country.")] = 1,
    debug: Debug = False,
) -> int:
    """Make a synthetic country, survey it, estimate, and compare with the known truth."""
    from sae.batch.compiling import compiled_beside

    with _progress() as step, compiled_beside() as wait:
        from sae.batch.demo import run_demo  # the compiler runs while the libraries load

        def told(what: str) -> None:
            step(what)
            if what == "model":
                wait()

        report = run_demo(out, seed=seed, step=told)
    print(report.text)
    return PARTLY if report.outcome.failed else DONE


@app.command()
@_guarded
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
        return _run_one(spec, out, survey or [], direct, areas, data, how, report)
    if survey or direct or areas:
        raise SaeInputError(
            f"{spec} is a folder: its files name their own data.",
            hint="Leave --survey, --direct and --areas out; --data says where the data lie.",
        )
    results = None if dry_run else _folder(out)

    def one(path: Path) -> int:
        return _run_one(str(path), results and results / path.stem, [], None, None, data, how, report)

    return _run_each(locate(spec), one, debug)


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
    data: Path | None,
    how: _How,
    report: bool,
) -> int:
    from sae.batch.models import find_production, find_spec

    production = find_production(spec)
    if production is not None:
        if direct is not None:
            raise SaeInputError(f"{spec} is a production file: it takes no --direct.")
        code = _run_production(production, survey, areas, out, data, how)
        if report and code != REFUSED and not how.dry_run and not how.shard:
            from sae.batch.reporting import report_results

            results = _folder(out)
            name = production.stem
            print(report_results(results, results / f"{name}.html", model=name))
        return code
    how.refuse(spec)
    if data is not None:
        raise SaeInputError(f"--data is for production files; {spec} is a model file.")
    model = find_spec(spec)  # a misspelt name is answered before the libraries load
    from sae.batch.runner import run

    with _progress() as step:
        one = _one_survey(survey)
        outcome = run(
            model, survey=one, direct=direct, areas=areas, out=_folder(out), report=report, step=step
        )
    for warning in outcome.warnings:
        _complain(f"Warning: {warning}")
    for reason in outcome.failed:
        _complain(f"Failed: {reason}")
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
            _complain(f"{path.stem}: {_sentence(error)}")
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
    with _progress() as step:
        engine, folder = how.engine(_watching(step)), _folder(out)
        if how.shard:
            shard = Shard.parse(how.shard)
            print(runner.run_shard(file, shard, surveys=surveys, areas=areas, out=folder, engine=engine))
            return DONE
        work = runner.merge_production if merge else runner.run_production
        outcome = work(file, surveys=surveys, areas=areas, out=folder, step=step, engine=engine)
    for warning in outcome.warnings:
        _complain(f"Warning: {warning}")
    print(outcome.text)
    return PARTLY if outcome.lost else DONE


def _watching(step: _Show) -> Callable[[Any], None]:
    """Return what shows a person how far a production is, the time left and the item at work."""

    def watch(progress: Any) -> None:
        left = f"{progress.left:,.0f} s left: " if progress.left == progress.left else ""
        step(f"{left}{', '.join(progress.running)}", progress.done / progress.total)

    return watch


@app.command()
@_guarded
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
    """Write the results of a production whose shards (sae run --shard) are all finished; same files given."""
    from sae.batch.models import find_production

    production = find_production(spec)
    if production is None:
        raise SaeInputError(f"{spec} is no production file.")
    how = _How(memory=memory, log=log)
    return _run_production(production, survey or [], areas, out, data, how, merge=True)


@app.command()
@_guarded
def plan(
    spec: Annotated[str, typer.Argument(help="A planning file (TOML), or the name of a shipped one.")],
    frame: Annotated[Path, typer.Option(help="Strata, one row each: CSV or Parquet.")],
    out: Annotated[Path, typer.Option(help="Folder for the report; files of the same names are replaced.")],
    survey: Annotated[Path | None, typer.Option("--survey", help="Records to fit the model to.")] = None,
    direct: Annotated[
        Path | None, typer.Option(help="Direct estimates instead of records: CSV or Parquet.")
    ] = None,
    areas: Areas = None,
    debug: Debug = False,
) -> int:
    """Plan a sample: how many interviews in which strata, what they reach, and what a model saves."""
    from sae.batch.models import find_plan

    with _progress() as step:
        step("reading the planning file")
        asked = find_plan(spec)
        from sae.batch.planning import plan

        done = plan(asked, frame=frame, survey=survey, direct=direct, areas=areas, out=out, step=step)
    for warning in done.warnings:
        _complain(f"Warning: {warning}")
    print(done.text)
    return DONE


@app.command()
@_guarded
def check(
    specs: Annotated[list[str], typer.Argument(help="Model or planning files, folders, or shipped names.")],
    survey: Surveys = None,
    direct: Direct = None,
    areas: Annotated[Path | None, typer.Option("--areas", help="Check this table's columns too.")] = None,
    debug: Debug = False,
) -> int:
    """Check model, production and planning files, without data or against the columns of the data."""
    from sae.batch.checks import check_file
    from sae.batch.hints import collected_warnings
    from sae.batch.models import locate

    code = DONE
    for name in specs:
        found = locate(name, plans=True)
        for path in found:
            shown = name if len(found) == 1 else path.name
            try:
                with collected_warnings() as doubts:
                    design = check_file(path, survey=survey or (), direct=direct, areas=areas)
            except SaeError as error:
                if debug:
                    raise
                _complain(f"{shown}: {error}")
                code = REFUSED
            else:
                for doubt in doubts:
                    _complain(f"{shown}: warning: {doubt}")
                print(f"{shown}: ok")
                if design:
                    print(design)
    return code


@app.command()
@_guarded
def diff(
    old: Annotated[Path, typer.Argument(help="Folder of results of sae run, or a table that it wrote.")],
    new: Annotated[Path, typer.Argument(help="Another, to be compared with it.")],
    out: Annotated[
        Path | None, typer.Option(help="All differences as .csv, .parquet, .xlsx; hidden figures too.")
    ] = None,
    debug: Debug = False,
) -> int:
    """Say which figures, verdicts and suppressions changed between two results, and why.

    Exit codes: 0 nothing differs; 1 something does; 2 a result cannot be used.
    """
    from sae.batch.comparison import compare_results

    done = compare_results(old, new, out=out)
    for warning in done.warnings:
        _complain(f"Warning: {warning}")
    print(done.text)
    return DONE if done.frame.empty else DIFFERENT


@app.command()
@_guarded
def new(
    survey: Annotated[Path, typer.Option(help="Records: CSV, CSV.gz, Parquet, SAS, SPSS or Stata.")],
    layout: Annotated[str | None, typer.Option(help="A known layout; by default the one that fits.")] = None,
    indicator: Annotated[str | None, typer.Option(help="Of `sae indicators`, or a column.")] = None,
    by: Annotated[str, typer.Option(help="Grouping columns, with commas between them.")] = "",
    areas: Areas = None,
    out: Annotated[Path | None, typer.Option(help="The model file; it must not exist.")] = None,
    debug: Debug = False,
) -> int:
    """Write a commented model file for a survey file, from the file's own columns."""
    from sae.batch.new import new

    groups = [name.strip() for name in by.split(",") if name.strip()]
    with _progress() as step:
        step(f"reading {survey.name}")
        written = new(survey, layout=layout, indicator=indicator, by=groups, areas=areas, out=out)
    print(written.text)
    return PARTLY if written.complaint else DONE


@app.command()
@_guarded
def audit(
    table: Annotated[Path, typer.Argument(help="A table with totals and hidden cells: CSV, Parquet, XLSX.")],
    sums: Annotated[
        Path | None,
        typer.Option(
            help='TOML: dimensions with totals and parts, or {} ("year = {}"). Without it TABLE is the '
            "published table of a production, beside the files of its run."
        ),
    ] = None,
    value: Annotated[str, typer.Option(help="Column of the figures; a hidden one is empty or a colon.")] = "",
    status: Annotated[
        str | None, typer.Option(help="Column that says which are hidden, where the figures are there.")
    ] = None,
    persons: Annotated[int | None, typer.Option(help="The least number of persons behind a figure.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of a sample, where too many cells are linked.")] = None,
    debug: Debug = False,
) -> int:
    """Attack a table: what can be told of its hidden cells from the sums between the published ones.

    Exit codes: 0 nothing beyond what is allowed; 1 some hidden cells can be told, or sensitive ones are open.
    """
    from sae.batch.auditing import audit_file, audit_production

    if sums is None:
        attack = audit_production(table)
        print(attack)
        return DONE if attack.passed else PARTLY
    if not value:
        raise SaeInputError("--sums needs the column of the figures.", hint="Name it with --value.")
    found = audit_file(table, sums, value=value, status=status, persons=persons, seed=seed)
    print(found)
    return DONE if found.passed else PARTLY


@app.command()
@_guarded
def exchange(
    results: Annotated[Path, typer.Argument(help="Folder of results of sae run.")],
    out: Annotated[Path, typer.Option(help="The exchange file: a ZIP of plain texts, ending in .zip.")],
    country: Annotated[str, typer.Option(help="Code of the sender, such as AT.")],
    areas: Areas = None,
    model: Annotated[str | None, typer.Option(help="Which run, where the folder has several.")] = None,
    indicator: Annotated[
        list[str] | None, typer.Option(help="Which indicators; again for each. By default all.")
    ] = None,
    level: Annotated[str | None, typer.Option(help="Of a production; by default the smallest areas.")] = None,
    policy: Annotated[
        str | None, typer.Option(help="Whose rule of confidentiality on n counts; by default the run's.")
    ] = None,
    persons: Annotated[int | None, typer.Option(help="The least number of persons instead.")] = None,
    debug: Debug = False,
) -> int:
    """Write what may cross a border: direct estimates of domains that pass the primary rule.

    A model file with [direct] reads such files, or a folder of those of many countries: --direct FOLDER.
    """
    from sae.batch.exchange import exchange_results

    done = exchange_results(
        results,
        out,
        country=country,
        areas=areas,
        model=model,
        indicators=indicator or (),
        level=level,
        policy=policy,
        persons=persons,
    )
    print(done)
    return DONE


@app.command()
@_guarded
def report(
    results: Annotated[Path, typer.Argument(help="Folder of results of sae run.")],
    out: Annotated[Path, typer.Option(help="The report: one file, ending in .html.")],
    model: Annotated[str | None, typer.Option(help="Which run, where the folder has several.")] = None,
    indicator: Annotated[
        list[str] | None, typer.Option(help="Which indicators; again for each. By default all.")
    ] = None,
    period: Annotated[list[str] | None, typer.Option(help="Which periods; again for each.")] = None,
    level: Annotated[str | None, typer.Option(help="Of a production; by default all.")] = None,
    area: Annotated[str | None, typer.Option(help="Column that names the areas.")] = None,
    names: Annotated[Path | None, typer.Option(help="CSV of their codes and names.")] = None,
    title: Annotated[str, typer.Option(help="By default that of the model file.")] = "",
    source: Annotated[str, typer.Option(help="Where the records come from, in words.")] = "",
    national: Annotated[float | None, typer.Option(help="The national figure to compare with.")] = None,
    cost: Annotated[float | None, typer.Option(help="Price of an interview, for what is missing.")] = None,
    currency: Annotated[str, typer.Option(help="Of the price, such as EUR.")] = "",
    geometry: Annotated[Path | None, typer.Option(help="Borders of the areas: GeoJSON.")] = None,
    key: Annotated[str, typer.Option(help="Property of the borders that holds the code.")] = "",
    seed: Annotated[int | None, typer.Option(help="Of the ranks; by default that of the run.")] = None,
    debug: Debug = False,
) -> int:
    """Write a report for everybody: published rows only, one HTML file that needs no network."""
    from sae.batch.reporting import report_results

    written = report_results(
        results,
        out,
        model=model,
        indicators=indicator or (),
        periods=period or (),
        level=level,
        seed=seed,
        area=area,
        names=names,
        title=title,
        source=source,
        national=national,
        cost=cost,
        currency=currency,
        geometry=geometry,
        key=key,
    )
    print(written)
    return DONE


@app.command()
@_guarded
def schema(
    plan: Annotated[bool, typer.Option("--plan", help="Of a planning file instead of a model file.")] = False,
    production: Annotated[bool, typer.Option("--production", help="Of a production file.")] = False,
    debug: Debug = False,
) -> int:
    """Print the JSON schema of a model file, by which editors complete and check its keys."""
    if production:
        from sae.batch.production.schema import production_schema_text

        print(production_schema_text(), end="")
        return DONE
    from sae.batch.schema import schema_text

    print(schema_text(plan=plan), end="")
    return DONE


@app.command()
@_guarded
def warmup(debug: Debug = False) -> int:
    """Compile every kernel now, so that the first fit of a family need not; again costs seconds."""
    from sae.batch.warmup import FAMILIES, caches, warm_up
    from sae.numerics.compile import NOTICE

    if not caches():
        _complain("No folder for compiled kernels can be written: set NUMBA_CACHE_DIR to one that can.")
        return REFUSED
    NOTICE.silence()
    names = list(FAMILIES)
    warm_up(lambda family: print(f"{names.index(family) + 1}/{len(names)} {family}", flush=True))
    return DONE


@app.command()
@_guarded
def models(
    name: Annotated[str | None, typer.Argument(help="Print this one's file instead of the list.")] = None,
    debug: Debug = False,
) -> int:
    """List the shipped models and planning files, or print one of them."""
    from sae.batch.models import locate, shipped_models, shipped_plans, shipped_productions
    from sae.batch.spec import read_text, title_of

    if name is not None:
        print("\n".join(read_text(path) for path in locate(name, plans=True)))
        return DONE
    files = {**shipped_models(), **shipped_productions(), **shipped_plans()}
    _list(["name", "what it estimates"], [[name, title_of(path)] for name, path in files.items()])
    return DONE


@app.command()
@_guarded
def indicators(debug: Debug = False) -> int:
    """List the indicators; `sae show NAME` prints one. A remembered one runs where it is accepted by name."""
    from sae.indicators import REGISTRY

    mark = {"verified": "", "remembered": " (remembered)"}
    rows = [[one.id, one.survey, one.label + mark[one.state]] for one in REGISTRY.values()]
    _list(["name", "survey", "what it is"], rows)
    return DONE


@app.command()
@_guarded
def layouts(debug: Debug = False) -> int:
    """List the layouts of survey files that are known by name; `sae show NAME` says more."""
    from sae.survey import layouts

    _list(["name", "years", "of which file"], layouts()[["name", "years", "title"]].to_numpy(object).tolist())
    return DONE


@app.command()
@_guarded
def show(
    name: Annotated[str, typer.Argument(help="An indicator, a layout, a covariate or a shipped model.")],
    debug: Debug = False,
) -> int:
    """Print all that is known of one entry of the catalogue: its definition, codes, state."""
    from sae.batch.catalogue import page

    print(page(name))
    return DONE


def _list(heads: list[str], rows: list[list[str]]) -> None:
    """Print a table of which nothing is cut: the last column is folded."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=head != heads[-1], overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def main() -> None:
    """Entry point of the ``sae`` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to stop
    try:
        os.getcwd()
    except OSError:
        _complain("Error: the current folder does not exist any more. Change to one that does.")
        sys.exit(REFUSED)
    # a signal that is ignored, as nohup does it, stays so
    numbers = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _end)
    try:
        app()
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    main()
