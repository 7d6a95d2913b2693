"""``sae new``: a commented model file for a survey file, written from the file's own columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

from sae.batch.checks import check
from sae.batch.draft import Draft, draft_file
from sae.batch.hints import collected_warnings
from sae.batch.spec import parse_spec
from sae.batch.unit_draft import draft_units, income_of
from sae.batch.unknown_files import SurveyFile, open_areas_file, open_population_file, open_survey_file
from sae.errors import SaeError, SaeInputError, SaeSpecError, name_some
from sae.indicators import REGISTRY, arrays, resolve
from sae.survey.layouts import known_layout

__all__ = ["NewFile", "new"]

_FIRST = ("employment_rate", "arpr", "poverty_rate", "unemployment_rate", "median_income")


@dataclass(frozen=True)
class NewFile:
    """A model file that was written, and what is left to do.

    Attributes
    ----------
    path : Path
    open_lines : tuple of int
        Numbers of the lines that are to be completed.
    design : str
        Of the survey, as the file describes it; empty where lines are open.
    complaint : str
        What ``sae check`` says of a file without open lines; empty where it passes.
    command : str
        What makes the table.
    """

    path: Path
    open_lines: tuple[int, ...]
    design: str
    complaint: str
    command: str

    @property
    def text(self) -> str:
        """What the command prints."""
        lines = [f"wrote {self.path}"]
        if self.open_lines:
            rows = ", ".join(map(str, self.open_lines))
            lines.append(f"complete the lines marked TO COMPLETE: {rows}")
            lines.append(f"then  sae check {quote(str(self.path))} {self.command}")
        elif self.complaint:
            lines.append(f"sae check says: {self.complaint}")
        else:
            lines.append("sae check: ok")
            lines.append(f"design of the survey: {self.design}")
        return "\n".join([*lines, f"then  sae run {quote(str(self.path))} {self.command} --out results"])


def new(
    survey: str | Path,
    *,
    layout: str | None = None,
    indicator: str | None = None,
    by: Sequence[str] = (),
    areas: str | Path | None = None,
    population: str | Path | None = None,
    kind: str | None = None,
    out: str | Path | None = None,
) -> NewFile:
    """Write a model file for a survey file; what cannot be known of it stands there as a line to complete.

    Roles are guessed from names and contents, with the reason; codes are never given a meaning, and no key
    is made up.

    Parameters
    ----------
    survey : path
        Records: a text file, Parquet, SAS, SPSS or Stata.
    layout : str, optional
        A known layout; without it the one that fits the file, if one does.
    indicator : str, optional
        Of the registry, or a column of the file; without it the first common one that the file can carry.
    by : sequence of str
        Grouping columns; without them the key of the areas, else a column of places.
    areas : path, optional
        Covariates, one row per area: the file then has a model.
    population : path, optional
        Persons, households or cells: the file then has a model of units, of the columns that both have.
    kind : str, optional
        Of that model, one of `UNIT_KINDS`; "ebp" without it.
    out : path, optional
        The file to write, which must not exist; ``NAME.toml`` of the survey file in the current folder
        without it.

    Raises
    ------
    SaeInputError, SaeSpecError
        If a file cannot be read, a name is not known, or `out` exists.
    """
    path = Path(f"{Path(survey).name.partition('.')[0]}.toml") if out is None else Path(out)
    if path.suffix != ".toml":
        raise SaeSpecError(f"{path.name} is no name of a model file.", hint="Let it end in .toml.")
    _refuse_existing(path)
    if layout is not None:
        known_layout(layout)
    _check_kind(kind, population, areas)
    with collected_warnings():  # the file that is written is checked, and its checks warn
        file = open_survey_file(Path(survey), layout)
        if population is not None:
            kind = kind or "ebp"
            income = indicator is None and kind != "logit_mixed"
            rates = [name for name in _FIRST if REGISTRY[name].kind == "ratio"]
            outcome = income_of(file) if income else _indicator(indicator, file, rates)
            draft = draft_units(file, kind, outcome, tuple(by), open_population_file(Path(population)))
        else:
            table = None if areas is None else open_areas_file(Path(areas))
            draft = draft_file(file, _indicator(indicator, file, _FIRST), tuple(by), table)
    design, complaint = _checked(draft, path, survey, areas, population)
    _write(path, draft.text)
    options = [
        f"--survey {quote(str(survey))}",
        *([f"--areas {quote(str(areas))}"] if areas is not None else []),
        *([f"--population {quote(str(population))}"] if population is not None else []),
    ]
    return NewFile(path, tuple(draft.open_lines), design, complaint, " ".join(options))


def _check_kind(kind: str | None, population: str | Path | None, areas: str | Path | None) -> None:
    from sae.batch.kinds import KINDS, UNIT_KINDS  # loads the libraries

    if kind is not None and kind not in UNIT_KINDS:
        near = get_close_matches(kind, UNIT_KINDS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"It takes {name_some(UNIT_KINDS, 9)}."
        if kind in KINDS:
            hint = "Give covariates of the areas with --areas: the file then has a model of areas."
        raise SaeSpecError(f"--kind {kind} is no kind of a model of units.", hint=hint)
    if kind is not None and population is None:
        raise SaeSpecError(
            f"--kind {kind} is a model of units, and no population is given.",
            hint="Give persons, households or cells with --population.",
        )
    if population is not None and areas is not None:
        raise SaeSpecError(
            "A new model file takes covariates of areas or a population, not both.",
            hint="Columns of areas may stand in the population too.",
        )


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise SaeInputError(
            f"{path} exists already, and is not overwritten.", hint="Name another file with --out."
        )
    if not path.parent.is_dir():
        raise SaeInputError(f"The folder {path.parent} does not exist.", hint="Create it first.")


def _write(path: Path, text: str) -> None:
    """Write a file that does not exist; leave nothing of it where it cannot be written whole."""
    try:
        stream = path.open("x", encoding="utf-8", newline="\n")
    except FileExistsError:  # since it was looked for
        _refuse_existing(path)
        raise
    try:
        with stream:
            stream.write(text)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _indicator(given: str | None, file: SurveyFile, common: Sequence[str]) -> str:
    """Return the indicator: as given, else the first common one whose variables the file has or may have."""
    if given is None:
        ready = [name for name in common if _carries(file, name)]
        mappable = [name for name in common if file.mappable(REGISTRY[name].variables(file.columns))]
        if not ready and not mappable:
            raise SaeInputError(
                f"No column of {file.name} looks like what a common indicator needs.",
                hint="Name one with --indicator: a column of the file, or one that sae indicators lists.",
            )
        return (ready or mappable)[0]
    if given in REGISTRY or given in file.columns:
        return given
    near = get_close_matches(given, [*REGISTRY, *file.columns], n=2)
    raise SaeSpecError(
        f"There is no indicator {given}, and {file.name} has no such column.",
        hint=f"Did you mean {name_some(near)}?" if near else "sae indicators lists those that are known.",
    )


def _carries(file: SurveyFile, name: str) -> bool:
    """Whether the file has all that an indicator needs as it is, its bands of age included."""
    if file.lacking(REGISTRY[name].variables(file.columns)):
        return False
    if file.survey is None:
        return True
    try:
        return bool(arrays(resolve(name, file.survey), file.survey).inside.any())
    except SaeError:
        return False


def _checked(
    draft: Draft,
    path: Path,
    survey: str | Path,
    areas: str | Path | None,
    population: str | Path | None,
) -> tuple[str, str]:
    """Return the design and what a check says against the file; what is left open is not checked."""
    spec = parse_spec(draft.text, path.stem, path.parent)
    if draft.open_lines:
        return "", ""
    try:
        with collected_warnings():
            return check(spec, survey=survey, areas=areas, population=population), ""
    except SaeError as error:
        return "", str(error)
