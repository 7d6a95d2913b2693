"""Tables of direct estimates made elsewhere as a source of rows: what they tell, and by which of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary.areas import code_texts
from sae.batch.hints import reading
from sae.batch.production.sections import TableIndicator, TableSection
from sae.batch.production.spec import ProductionFile
from sae.design_based.published import read_direct
from sae.design_based.published_checks import chosen_rows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.indicators import Indicator
from sae.survey.files import read_frame
from sae.tables import DirectEstimates, require

__all__ = ["PublishedTable", "read_published_tables"]

_LABELS = ("geo", "time", "domain")  # columns of every table of direct estimates


@dataclass(frozen=True, eq=False)
class PublishedTable:
    """What a table of direct estimates tells.

    Attributes
    ----------
    indicators : mapping of str to Indicator
        By id.
    tables : mapping of (indicator, level, groups) to DirectEstimates
        The rows of each indicator in each crossing.
    rough : mapping of str to str
        By indicator, why the variances could not be smoothed as the file wants them.
    time : str
        Column of the period; "" where there is none.
    untold : mapping of str to str
        Crossings that the table does not tell, and why.
    source : mapping of str to str
        Name and hash of the file.
    """

    indicators: Mapping[str, Indicator]
    tables: Mapping[tuple[str, str, tuple[str, ...]], DirectEstimates]
    rough: Mapping[str, str]
    time: str
    untold: Mapping[str, str]
    source: Mapping[str, str]

    @property
    def columns(self) -> set[str]:
        """The columns by which its rows are made."""
        return {name for table in self.tables.values() for name in table.by}

    @property
    def design(self) -> str:
        """What was understood of it, in a line for each indicator."""
        told = {key[0]: str(table.provenance["variance"]) for key, table in self.tables.items()}
        return "; ".join(f"{name}: {text}" for name, text in told.items())


def read_published_tables(
    file: ProductionFile, paths: Mapping[str, Sequence[Path]]
) -> dict[str, PublishedTable]:
    """Read the tables of ``[[direct]]`` by name.

    Raises
    ------
    SaeInputError, SaeSpecError
        If a table, a column or a figure cannot be used, or a table tells no crossing of the file.
    """
    tables = {}
    for name, section in file.tables.items():
        if len(paths[name]) > 1:
            raise SaeSpecError(f"The table {name} has {len(paths[name])} files; it takes one.")
        with reading("[direct]"):
            tables[name] = _read(file, section, paths[name][0])
    return tables


def _read(file: ProductionFile, section: TableSection, path: Path) -> PublishedTable:
    level = section.level or file.lowest
    area = file.production.levels[level]
    frame, _ = read_frame(path, **section.reading)
    columns = {name: section.columns.get(name, name) for name in [area, *file.production.grouping]}
    named = [columns[area], *(section.columns[name] for name in section.columns)]
    times = [section.time] if section.time else []
    require(frame, [*dict.fromkeys([*named, *times])], f"{path.name} has", error=SaeSpecError)
    known = {name: column for name, column in columns.items() if column in frame}
    indicators = {one.id: _indicator(section, one, path.name) for one in section.indicators}
    tables, untold, rough = {}, {}, {}
    crossings = [(one, tuple(groups)) for one in file.production.levels for groups in file.production.groups]
    for one, groups in sorted(crossings, key=lambda pair: len(pair[1])):
        lacking = _lacking(file, section, known, one, groups)
        if lacking:
            untold[f"{section.name}, {' × '.join([one, *groups])}"] = lacking
            continue
        keys = [*([area] if one == level else []), *groups]
        for indicator in section.indicators:
            smoothing = file.smoothing(indicator.id, one)
            options = {**section.reading_of(indicator), "definition": indicators[indicator.id].definition}
            if smoothing and not options.get("n"):
                rough[indicator.id] = f'smoothing = "{smoothing}" needs n, which the table does not tell'
                smoothing = None
            options["only"] = _rows(frame, options["only"], known, section.total, keys, path.name)
            by = [known[name] for name in keys]
            made = read_direct(path, indicator.id, by, time=section.time, smoothing=smoothing, **options)
            tables[indicator.id, one, groups] = _renamed(made, dict(zip(by, keys, strict=True)), one == level)
    if not tables:
        shown = name_some([f"{what}: {reason}" for what, reason in untold.items()], 4)
        raise SaeSpecError(f"{file.id}.toml: [[direct]] {section.name} tells nothing: {shown}")
    first = next(iter(tables.values()))
    source = {name: str(first.provenance[name]) for name in ("file", "sha256")}
    return PublishedTable(indicators, tables, rough, section.time or "", untold, source)


def _lacking(
    file: ProductionFile, section: TableSection, known: Mapping[str, str], level: str, groups: Sequence[str]
) -> str:
    """Return why the table does not tell a crossing; empty where it does."""
    own = section.level or file.lowest
    area = file.production.levels[own]
    lost = [name for name in groups if name not in known]
    if lost:
        return f"the table has no {name_some(lost)}"
    if level != own and (file.production.levels[level] or area not in section.total):
        return f"the table tells {own} only"
    over = [name for name in known if name not in (area, *groups, *section.total)]
    return f"the table has no total over {name_some(over)} that [[direct]] total names" if over else ""


def _rows(
    frame: pd.DataFrame,
    only: Mapping[str, Any],
    known: Mapping[str, str],
    total: Mapping[str, str],
    keys: Sequence[str],
    file: str,
) -> dict[str, Any]:
    """Return which rows are those of a crossing: totals of what it does not tell apart, and no others."""
    require(frame, list(only), f"{file} has", error=SaeSpecError)
    _refuse_unlabelled(chosen_rows(frame, only, file), [known[name] for name in total], file)
    wanted = {**only, **{known[name]: [label] for name, label in total.items() if name not in keys}}
    rows = chosen_rows(frame, wanted, file)
    parts = [name for name in total if name in keys]
    for name in parts:
        rows = rows[code_texts(rows[known[name]]) != total[name]]
    for name in parts:  # not every area need have a row in every group
        wanted[known[name]] = code_texts(rows[known[name]]).unique().tolist()
    return wanted


def _refuse_unlabelled(rows: pd.DataFrame, columns: Sequence[str], file: str) -> None:
    """Refuse rows of which it is not known whether they are a total."""
    for column in columns:
        lacking = rows.index[code_texts(rows[column]).isna().to_numpy()]
        if len(lacking):
            raise SaeInputError(
                f"{len(lacking)} rows of {file} have no {column}: "
                f"{name_some(f'row {row + 1}' for row in lacking)}.",
                hint="Give every row its label, or leave these rows out with only.",
                column=column,
            )


def _renamed(made: DirectEstimates, names: Mapping[str, str], areas: bool) -> DirectEstimates:
    """Return direct estimates with the columns of the production file."""
    frame = made.frame.drop(columns=[name for name in names if name not in _LABELS])
    frame = frame.assign(**{new: made.frame[old] for old, new in names.items()})
    if not areas:
        frame["geo"] = ""
    return replace(made, frame=frame, by=tuple(names.get(name, name) for name in made.by))


def _indicator(section: TableSection, one: TableIndicator, file: str) -> Indicator:
    definition = one.definition or section.definition or f"as published in {file}"
    return Indicator(id=one.id, numerator=one.id, version=definition, source=file)
