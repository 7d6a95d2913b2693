"""The surveys of a production file: each is read once, from one file or from several of its periods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sae.auxiliary import AreaFile
from sae.auxiliary.areas import code_texts
from sae.batch.hints import reading
from sae.batch.production.sections import SurveyEntry
from sae.batch.production.spec import ProductionFile
from sae.batch.runner import read_section
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.survey import Stage, Survey
from sae.tables import labels

__all__ = ["aligned", "file_groups", "joined", "larger_areas_of", "read_files", "survey_files", "with_levels"]


def survey_files(file: ProductionFile, given: Sequence[str]) -> dict[str, list[Path]]:
    r"""Return the files of every survey and register: as given, NAME=PATH, else as the file names them.

    Raises
    ------
    SaeInputError
        If something given is no NAME=PATH, or a survey has no file.
    SaeSpecError
        If a name is none of the file's surveys.

    Examples
    --------
    >>> from sae.batch.production.spec import parse_production
    >>> text = '[production]\nindicators = ["arpr"]\nlevels = {nation = ""}\n[[survey]]\nname = "silc"'
    >>> [path.name for path in survey_files(parse_production(text, "income"), ["silc=2024.csv"])["silc"]]
    ['2024.csv']
    """
    entries = file.sources
    paths: dict[str, list[Path]] = {name: [] for name in entries}
    for text in given:
        name, sign, path = text.partition("=")
        if not sign and len(file.surveys or entries) == 1:
            name, path = next(iter(paths)), text
        elif not sign or not path:
            raise SaeInputError(
                f"--survey {text} names no survey of {file.id}.toml.",
                hint=f"Write --survey {next(iter(paths))}={text}; its surveys are {name_some(paths)}.",
            )
        if name not in paths:
            raise SaeSpecError(
                f"--survey {text}: {file.id}.toml has no survey {name!r}.",
                hint=f"It has {name_some(paths)}.",
            )
        paths[name].append(Path(path))
    for name, entry in entries.items():
        where = f"[[{file.kind_of(name)}]] {name}"
        paths[name] = paths[name] or [file.named(one, where) for one in entry.files]
    needed = {**file.surveys, **file.tables} or entries  # beside them a register may be absent
    lost = [name for name in needed if not paths[name]]
    if lost:
        kind = file.kind_of(lost[0])
        key = 'file = "..."' if kind == "direct" else "files = [...]"
        raise SaeInputError(
            f"No file is given for the {kind.replace('direct', 'table')} {name_some(lost)}.",
            hint=f"Write --survey {lost[0]}=PATH, or {key} under its [[{kind}]].",
        )
    twice = [str(path) for of in paths.values() for path, count in Counter(of).items() if count > 1]
    if twice:
        raise SaeInputError(f"A survey is given the same file twice: {name_some(twice)}.")
    return paths


def file_groups(entry: SurveyEntry, paths: Sequence[Path], apart: bool) -> list[tuple[Path, ...]]:
    """Return which files of a survey are read together: each alone where the periods make rows.

    Raises
    ------
    SaeSpecError
        If periods are to be pooled that stand in several files.
    """
    if len(paths) > 1 and entry.pool is not None:
        raise SaeSpecError(
            f"[[survey]] {entry.name} pools periods, but has {len(paths)} files.",
            hint="Put the periods to be pooled into one file.",
        )
    return [(path,) for path in paths] if apart else [tuple(paths)]


def read_files(entry: SurveyEntry, paths: Sequence[Path], needed: Sequence[str] = ()) -> Survey:
    """Read files of a survey that are taken together.

    Raises
    ------
    SaeInputError
        If some of the files lack a column that is needed and others have.
    """
    parts = [read_section(entry, path) for path in paths]
    for column in needed:
        lack = [path.name for path, part in zip(paths, parts, strict=True) if column not in part.frame]
        if 0 < len(lack) < len(parts):
            raise SaeInputError(
                f"The files of the survey {entry.name} make one table, but {name_some(lack)} of them "
                f"{'has' if len(lack) == 1 else 'have'} no {column}.",
                hint="Give all of them the column, or leave these files out.",
                column=column,
            )
    with reading("[survey]"):
        return parts[0] if len(parts) == 1 else joined(parts, entry.name)


def aligned(survey: Survey, whole: Survey) -> Survey:
    """Return a file's survey with the columns and categories of the whole survey; what it lacks is missing.

    Parameters
    ----------
    survey : Survey
    whole : Survey
        Of all files, or its sketch.
    """
    frame = survey.frame
    changed: dict[str, pd.Series] = {}
    for name in map(str, whole.frame):
        kind = whole.frame[name].dtype
        if name not in frame:
            number = pd.api.types.is_numeric_dtype(kind)
            changed[name] = pd.Series(np.nan, frame.index, dtype=float if number else kind)
        elif (
            isinstance(kind, pd.CategoricalDtype)
            and frame[name].dtype != kind
            and frame[name].dropna().isin(kind.categories).all()  # else nothing is made of the column
        ):
            changed[name] = frame[name].astype(kind)
    return replace(survey, frame=frame.assign(**changed)) if changed else survey


def joined(parts: Sequence[Survey], name: str) -> Survey:
    """Join the files of several periods of one survey; their samples count as independent.

    Raises
    ------
    SaeInputError
        If they are not of one release, do not tell their period, hold the same one, or differ in what makes
        their design.

    Examples
    --------
    >>> frames = [pd.DataFrame({"w": 1.0, "works": [0, 1], "year": year}) for year in (2024, 2025)]
    >>> parts = [sae.Survey.from_frame(frame, weights="w", time="year") for frame in frames]
    >>> whole = joined(parts, "lfs")
    >>> len(whole), whole.stages[0].n_psu, sorted(set(whole.frame["year"]))
    (4, 4, [2024, 2025])
    """
    _check_alike(parts, name)
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    for column in frame:  # categories of several files
        if frame[column].dtype == object or isinstance(frame[column].dtype, pd.StringDtype):
            frame[column] = frame[column].astype("category")
    holds = Counter(str(column) for part in parts for column in part.frame)
    some = sorted(column for column, count in holds.items() if count < len(parts))
    notes = [
        f"{part.source.get('file', k)}: {note}" for k, part in enumerate(parts, 1) for note in part.notes
    ]
    if some:
        notes.append(f"columns that not all files have, missing in the others: {name_some(some, 12)}")
    counts = {str(column): int(count) for column, count in frame.isna().sum().items() if count}
    weights = np.concatenate([part.weights for part in parts])
    weights.setflags(write=False)
    masks = [np.ones(len(part), bool) if part.mask is None else part.mask for part in parts]
    first = parts[0]
    return replace(
        first,
        frame=frame,
        weights=weights,
        stages=tuple(_stage([part.stages[k] for part in parts]) for k in range(len(first.stages))),
        mask=None if all(part.mask is None for part in parts) else np.concatenate(masks),
        release=replace(first.release, years=_years(parts)),
        missing=counts,
        notes=tuple(notes),
        source={
            "files": [str(part.source.get("file", "")) for part in parts],
            "sha256": [str(part.source.get("sha256", "")) for part in parts],
        },
    )


def _check_alike(parts: Sequence[Survey], name: str) -> None:
    first = parts[0]
    alike: dict[str, list[Any]] = {
        "layouts": [part.layout for part in parts],
        "releases": [
            (part.release.survey, part.release.name, part.release.eu, part.release.geo) for part in parts
        ],
        "columns of the period": [part.time for part in parts],
        "numbers of stages": [len(part.stages) for part in parts],
        "panels": [part.panel for part in parts],
    }
    for what, values in alike.items():
        if len(set(values)) > 1:
            shown = [str(value) for value in dict.fromkeys(values)]
            raise SaeInputError(f"The files of the survey {name} have several {what}: {name_some(shown)}.")
    if first.time is None:
        raise SaeInputError(
            f"The survey {name} has {len(parts)} files, but no period tells them apart.",
            hint="Name its column: columns = {time = ...}.",
        )
    if any(part.replicates is not None or part.calibration is not None for part in parts):
        raise SaeInputError(
            f"The survey {name} has {len(parts)} files with replicate weights.",
            hint="Put them into one file.",
        )
    if any(
        (one.fpc is None) != (whole.fpc is None)
        for part in parts
        for one, whole in zip(part.stages, first.stages, strict=True)
    ):
        raise SaeInputError(f"Of the files of the survey {name} some have population counts (fpc), some not.")
    mixed = [
        column
        for column in dict.fromkeys(str(name) for part in parts for name in part.frame)
        if len(
            {
                pd.api.types.is_numeric_dtype(part.frame[column].dtype)
                for part in parts
                if _holds(part, column)
            }
        )
        > 1
    ]
    if mixed:
        raise SaeInputError(
            f"Of the files of the survey {name} {name_some(mixed)} is text in some and numbers in others.",
            hint="Spell the codes of all files alike.",
            column=mixed[0],
        )
    held = Counter(period for part in parts for period in set(labels(part.frame[first.time].dropna())))
    twice = sorted(period for period, count in held.items() if count > 1)
    if twice:
        raise SaeInputError(
            f"Several files of the survey {name} hold the period {name_some(twice)}.",
            hint="Give each period once.",
            column=first.time,
        )


def _holds(part: Survey, column: str) -> bool:
    return column in part.frame and bool(part.frame[column].notna().any())


def _years(parts: Sequence[Survey]) -> tuple[int | None, int | None]:
    firsts, lasts = zip(*(part.release.years for part in parts), strict=True)
    first = None if None in firsts else min(firsts)
    return first, None if None in lasts else max(lasts)


def _stage(parts: Sequence[Stage]) -> Stage:
    """Return one stage with the strata and units of all files, those of each apart."""

    def codes(name: str) -> np.ndarray:
        sizes = [len(getattr(part, f"{name}_labels")) for part in parts]
        starts = np.cumsum([0, *sizes[:-1]])
        return np.concatenate(
            [getattr(part, name) + start for part, start in zip(parts, starts, strict=True)]
        )

    def every(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return replace(
        parts[0],
        strata=codes("strata"),
        psu=codes("psu"),
        fpc=every("fpc"),
        strata_labels=every("strata_labels"),
        psu_labels=every("psu_labels"),
        inflation=every("inflation"),
    )


def larger_areas_of(areas: AreaFile, own: str, column: str) -> dict[str, str]:
    """Return in which larger area each area lies, by the file of the areas.

    Raises
    ------
    SaeInputError
        If an area lies in several larger ones.
    """
    pairs = areas.cells[[own, column]].apply(code_texts).drop_duplicates().dropna()
    twice = pairs.loc[pairs[own].duplicated(), own].unique()
    if len(twice):
        what = f"{areas.name}: {name_some(twice)} lie in several values of {column}."
        raise SaeInputError(what, areas=twice)
    return dict(zip(pairs[own], pairs[column], strict=True))


def with_levels(survey: Survey, file: ProductionFile, areas: AreaFile | None) -> Survey:
    """Return the survey with the columns of levels that only the areas have, by its smallest areas.

    Raises
    ------
    SaeInputError
        If an area of the survey is not among the areas, or lies in several larger ones.
    """
    own = file.production.levels[file.lowest]
    frame = survey.frame
    if areas is None or own not in frame or own not in areas.cells:
        return survey
    for column in filter(None, file.production.levels.values()):
        if column in frame or column not in areas.cells:
            continue
        homes = larger_areas_of(areas, own, column)
        texts = labels(frame[own], keep_missing=True)
        absent = sorted(set(texts.dropna()) - set(homes))
        if absent:
            raise SaeInputError(
                f"{areas.name} has no {column} for {len(absent)} values of {own} in the survey: "
                f"{name_some(absent)}.",
                areas=absent,
                column=column,
            )
        larger = texts.astype(object).map(homes)
        frame = frame.assign(**{column: larger.astype("category")})
    return replace(survey, frame=frame)
