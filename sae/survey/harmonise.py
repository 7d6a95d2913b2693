"""Adding the harmonised columns of a layout to the columns of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import name_some
from sae.survey.age_bands import check_age_limits
from sae.survey.checks import numbers
from sae.survey.codes import as_categorical, join_text
from sae.survey.derive import banded, conditions, derived, is_late, names_used, reference_names
from sae.survey.eu_codes import ages_of, countries_of, eu_composition, in_bands, nuts_of
from sae.survey.file_columns import FileColumns
from sae.survey.layouts import ROLES
from sae.survey.levels import Unlisted, to_levels
from sae.survey.release import Release
from sae.survey.variables import PLACES

__all__ = ["Harmonised", "harmonise"]

_NUMERIC = ("age", "income", "poor")  # harmonised names that are numbers even where the file pads them ("07")
_OLDEST = 130  # years; above it stand codes such as 999
_MOST = 0.5  # of the ages: where more stand beside the middle of a band, the file has single years
_GROUPS = ("birth_group", "citizenship_group")


@dataclass(frozen=True, eq=False)
class Harmonised:
    """Columns of a file with the harmonised ones of a layout.

    Attributes
    ----------
    columns : dict of str to Series
        The file's columns and the harmonised ones.
    roles : dict
        Column name of each role found.
    release : Release
        The layout's, with the bands of age and the composition of the EU that the file really has.
    notes : list of str
        What was mapped, what was absent, which codes became missing.
    unlisted : list of Unlisted
        The codes that became missing, which the notes tell too.
    """

    columns: dict[str, pd.Series]
    roles: dict[str, Any]
    release: Release
    notes: list[str] = field(default_factory=list)
    unlisted: list[Unlisted] = field(default_factory=list)


def harmonise(file: FileColumns, given: Mapping[str, Any], *, whole: bool = True) -> Harmonised:
    """Add the harmonised columns of a layout.

    Parameters
    ----------
    file : FileColumns
        Columns of the file, and the layout; names of file columns match whatever their case.
    given : mapping
        Roles named by the user, which win.
    whole : bool
        Whether these are all records: a block of them need not hold a code that is known.

    Raises
    ------
    SaeInputError
        If a column that the user named, or the weights, is not in the file.
    """
    layout = file.layout
    out = dict(file.columns)
    notes = [f"layout {layout.name}: {' '.join(layout.note.split())}"] if layout.note else []
    early, bands, notes_of_file = _of_the_file(file)
    out |= early
    notes += notes_of_file
    coded, unlisted = {}, list[Unlisted]()
    for name, coding in layout.codes.items():
        column = file.find(coding["column"], name)
        if column is not None:
            coded[name], lost = to_levels(file.coded(column), name, column, coding, whole=whole)
            unlisted += [] if lost is None else [lost]
    notes += [one.note for one in unlisted]
    renamed = {}
    for name, wanted in layout.columns.items():
        column = None if name in ROLES else file.find(wanted, name)
        if column is not None:
            renamed[name] = _harmonised_column(out[column], name)
    for name in (*coded, *renamed):
        if name in file.columns and not file.same(name):
            notes.append(f"the file's own column {name!r} is replaced by the layout's")
    out |= coded | renamed
    if "age" in out and "age" in (*layout.columns, *layout.derive):
        out["age"], age_notes = _ages(out["age"])
        notes += age_notes
    release, release_notes = _release(file, out, bands)
    notes += release_notes
    for name, how in layout.derive.items():
        if is_late(how) and (made := _late(file, out, name, how, release.age_bands)) is not None:
            out[name] = made
            file.add(name, made)
    roles = _roles(file, given)
    if file.absent:
        notes.append(f"not in the file, so not available: {name_some(file.absent, limit=20)}")
    return Harmonised(out, roles, release, notes, unlisted)


def _of_the_file(file: FileColumns) -> tuple[dict[str, pd.Series], tuple[int, ...], list[str]]:
    """Return the columns derived from columns of the file, the bands of age, and notes."""
    out: dict[str, pd.Series] = {}
    bands: tuple[int, ...] = file.layout.release.age_bands
    notes: list[str] = []
    for name, how in file.layout.derive.items():
        if is_late(how):
            continue
        if "ages" in how:
            present = [column for one in how["ages"] if (column := file.locate(one)) is not None]
            if not present:
                file.find(how["ages"][0], name)
                continue
            out[name], bands, more = ages_of(
                [file.known[column] for column in present], how.get("lower_limits", ())
            )
            notes += more
        else:
            wanted = [how["country"]] if "country" in how else how.get("join") or how["nuts"]
            columns = [column for one in wanted if (column := file.find(one, name)) is not None]
            if len(columns) < len(wanted):
                continue
            values = [file.known[column] for column in columns]
            if "join" in how:
                out[name] = join_text(values, how.get("separator", ""))
            elif "country" in how:
                out[name] = countries_of(values[0])
            else:
                out[name], more = nuts_of(values[0], values[1])
                notes += more
        file.add(name, out[name])
    return out, bands, notes


def _late(
    file: FileColumns,
    columns: Mapping[str, pd.Series],
    name: str,
    how: Mapping[str, Any],
    age_bands: tuple[int, ...],
) -> pd.Series | None:
    """Return a column derived from others of the file or harmonised; None where one of them is absent."""
    if "bands" in how:
        wanted = how["column"]
        column = wanted if isinstance(wanted, str) and wanted in columns else file.find(wanted, name)
        carried = age_bands if column == "age" else ()
        return None if column is None else banded(columns[column], name, how["bands"], carried)
    if any(file.find(used, name) is None for used in names_used(how) if used not in columns):
        return None
    if name != "age":
        check_age_limits(f"derive.{name}", conditions(how), age_bands)
    return derived(columns, name, how)


def _roles(file: FileColumns, given: Mapping[str, Any]) -> dict[str, Any]:
    roles: dict[str, Any] = {}
    for role, wanted in file.layout.columns.items():
        if role in ROLES and role not in given:
            if isinstance(wanted, Mapping) and "of_weights" in wanted:
                weights = given.get("weights", roles.get("weights"))
                wanted = _of_weights(wanted["of_weights"], weights)
            roles |= _role(file, role, wanted)
    return roles


def _of_weights(choices: Mapping[str, Any], weights: Any) -> Any:
    """Return the column that belongs to the weights; any of them where the weights are values or others."""
    for name, column in choices.items():
        if isinstance(weights, str) and weights.lower() == name.lower():
            return column
    return {"first": list(dict.fromkeys(reference_names(list(choices.values()))))}


def _role(file: FileColumns, role: str, wanted: Any) -> dict[str, Any]:
    if role == "replicates":
        prefix = wanted["columns"] if isinstance(wanted, Mapping) else wanted
        present = not isinstance(prefix, str) or any(name.startswith(f"{prefix}1") for name in file.known)
        if present or role in file.layout.required:
            return {role: wanted}
        file.absent.append(f"replicates ({prefix}1, ...)")
        return {}
    if isinstance(wanted, list):
        columns = [file.find(one, role) for one in wanted]
        return {role: columns} if None not in columns else {}
    column = file.find(wanted, role)
    return {} if column is None else {role: column}


def _harmonised_column(values: pd.Series, name: str) -> pd.Series:
    if name in PLACES:
        return values if isinstance(values.dtype, pd.CategoricalDtype) else as_categorical(values)
    if name in _NUMERIC and not pd.api.types.is_numeric_dtype(values.dtype):
        return pd.Series(numbers(values, name), name=name)
    return values


def _ages(values: pd.Series) -> tuple[pd.Series, list[str]]:
    """Return ages that a person can have; a code among them (-1, 999) is missing, and noted."""
    age = numbers(values, "age")
    odd = (age < 0) | (age > _OLDEST)
    if not odd.any():
        return values, []
    codes, counts = np.unique(age[odd], return_counts=True)
    shown = name_some((f"{code:g} {count:,}" for code, count in zip(codes, counts, strict=True)), limit=5)
    return pd.Series(np.where(odd, np.nan, age)), [f"age: no age of a person, so missing: {shown}"]


def _release(
    file: FileColumns, columns: Mapping[str, pd.Series], bands: tuple[int, ...]
) -> tuple[Release, list[str]]:
    """Return the layout's release with what only the file can tell: bands of age, composition of the EU."""
    layout, notes = file.layout, []
    release = replace(layout.release, age_bands=bands)
    if bands and "age" in layout.columns and "age" in columns:
        age = np.asarray(columns["age"], dtype=float)
        age = age[age < bands[-1]]  # the last band is open
        single = age[~in_bands(age, bands)]
        if single.size > _MOST * age.size:
            shown = name_some((f"{value:g}" for value in np.unique(single)), limit=3)
            notes.append(f"age: single years, not the bands of {layout.name or 'the layout'} ({shown})")
            release = replace(release, age_bands=())
        elif single.size:
            notes.append(f"age: {single.size:,} of {age.size:,} records do not stand at the middle of a band")
    if release.eu and "about.eu" not in layout.required:
        for name in _GROUPS:
            column = file.locate(layout.codes[name]["column"]) if name in layout.codes else None
            if column is not None:
                composition = eu_composition(file.coded(column).texts, column)
                release = replace(release, eu=composition or release.eu)
    return release, notes
