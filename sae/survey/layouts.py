"""Layouts: which column of a file plays which role, and which codes mean which level."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.survey.checks import numbers, unknown_column
from sae.survey.codes import as_categorical, as_text, encode, join_text
from sae.survey.expressions import evaluate, names_in
from sae.tables.text_files import missing_words

__all__ = ["Layout", "harmonise", "layout_names", "resolve_layout"]

ROLES = ("weights", "strata", "psu", "household", "person", "time", "fpc", "replicates")
_STAGED = ("strata", "psu", "fpc")  # the roles that may name one column per stage
_NUMERIC = ("age", "income", "poor")  # harmonised names that are numbers even where the file pads them ("07")
_PLACES = (
    "geo",
    "region",
    "city",
    "country",
    "area",
)  # codes of places are text even where the file has numbers
_PARTS = ("layout", "title", "note", "columns", "derive", "codes", "missing")
_OTHER_NAMES = {  # of roles, in other programs: a column of such a name is a design that would be lost
    "stratum": "strata",
    "cluster": "psu",
    "clusters": "psu",
    "ids": "psu",
    "primary_unit": "psu",
    "wgt": "weights",
    "pweight": "weights",
    "pweights": "weights",
    "hhid": "household",
    "household_id": "household",
    "pid": "person",
    "person_id": "person",
    "repweights": "replicates",
    "replicate_weights": "replicates",
}


@dataclass(frozen=True)
class Layout:
    """A checked layout.

    Attributes
    ----------
    name : str
        Name of a known layout, "" for a mapping of one's own.
    columns : mapping
        Role or harmonised name -> file column, list of columns (one per stage), or ``{"first": [columns]}``.
    derive : mapping
        Name -> ``{"join": [columns], "separator": text}`` or ``{"expression": text}`` (1, 0 or missing).
    codes : mapping
        Name -> ``{"column": file column, level: [values or "low..high"], ...}``.
    required : frozenset of str
        Names that the user wrote; their columns must exist. Of a known layout columns come and go by release.
    missing : frozenset of str
        Words that mean a missing value in every column, besides the empty cell.
    """

    name: str
    columns: Mapping[str, Any]
    derive: Mapping[str, Mapping[str, Any]]
    codes: Mapping[str, Mapping[str, Any]]
    required: frozenset[str]
    missing: frozenset[str] = frozenset()


def layout_names() -> list[str]:
    """Names of the known layouts.

    Examples
    --------
    >>> "eu_lfs" in layout_names()
    True
    """
    folder = resources.files("sae.survey").joinpath("layouts")
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def resolve_layout(layout: str | Mapping[str, Any]) -> Layout:
    """Read a known layout, or check a mapping; a mapping with a ``layout`` entry overrides the known one.

    Raises
    ------
    SaeSpecError
        If the name is not known, a part is misspelt, or two levels claim the same code.
    """
    if isinstance(layout, str):
        parts, required = _known(layout), frozenset[str]()
        return _checked(layout, parts, required)
    if not isinstance(layout, Mapping):
        raise SaeSpecError(f"layout is a name or a mapping, not {layout!r}.", hint=_names_hint())
    unknown = [part for part in layout if part not in _PARTS]
    if unknown:
        near = [match for part in unknown for match in get_close_matches(str(part).lower(), _PARTS, 1)]
        home = [f"{part} is a role: it belongs in columns. " for part in unknown if part in ROLES]
        raise SaeSpecError(
            f"The layout has no part {name_some(map(repr, unknown))}.",
            hint=(home[0] if home else f"Did you mean {name_some(near)}? " if near else "")
            + "Its parts are columns, derive, codes and missing (and layout, the name of one to build on).",
        )
    for part in ("columns", "derive", "codes"):
        if not isinstance(layout.get(part) or {}, Mapping):
            raise SaeSpecError(f"The part {part} of the layout is {layout[part]!r}, not a table of names.")
    own = {part: dict(layout.get(part) or {}) for part in ("columns", "derive", "codes")}
    required = frozenset(name for part in own.values() for name in part)
    name = layout.get("layout") or ""
    base = _known(name) if name else {}
    merged: dict[str, Any] = {part: {**base.get(part, {}), **own[part]} for part in own}
    for part, others in (
        ("columns", ("derive", "codes")),
        ("derive", ("codes", "columns")),
        ("codes", ("columns", "derive")),
    ):
        for other in others:  # what the user defines anew replaces the known definition, whatever its kind
            for entry in own[part]:
                if entry not in own[other] and entry not in ROLES:
                    merged[other].pop(entry, None)
    merged["missing"] = layout.get("missing") or base.get("missing", ())
    return _checked(name, merged, required)


def _known(name: str) -> dict[str, Any]:
    if not isinstance(name, str) or name not in layout_names():
        near = get_close_matches(str(name), layout_names(), n=2)
        hint = f"Did you mean {name_some(near)}? " if near else ""
        raise SaeSpecError(f"{name!r} is not a known layout.", hint=hint + _names_hint())
    text = resources.files("sae.survey").joinpath("layouts", f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _names_hint() -> str:
    return f"Known layouts: {', '.join(layout_names())}; or pass a mapping with columns, derive and codes."


def _checked(name: str, parts: Mapping[str, Any], required: frozenset[str]) -> Layout:
    columns = parts.get("columns", {})
    _check_roles(columns)
    for entry, wanted in columns.items():
        _check_column(entry, wanted)
    for derived, how in parts.get("derive", {}).items():
        _check_derived(derived, how)
    for variable, coding in parts.get("codes", {}).items():
        if not isinstance(coding, Mapping) or not _is_reference(coding.get("column")):
            raise SaeSpecError(
                f"codes.{variable} needs 'column', the column of the file that holds the codes."
            )
        levels = {
            level: _intervals(variable, level, spec) for level, spec in coding.items() if level != "column"
        }
        if not levels:
            raise SaeSpecError(f"codes.{variable} defines no level.")
        _check_overlap(variable, levels)
    return Layout(
        name,
        columns,
        parts.get("derive", {}),
        parts.get("codes", {}),
        required,
        missing_words(parts.get("missing", ())),
    )


def _check_roles(columns: Mapping[str, Any]) -> None:
    """Refuse a name that all but is a role: as a column of its own it would drop the design in silence."""
    for entry in columns:
        if entry in ROLES:
            continue
        lower = str(entry).lower()
        near = _OTHER_NAMES.get(lower) or next(iter(get_close_matches(lower, ROLES, 1, cutoff=0.85)), None)
        if near is not None and near not in columns:
            raise SaeSpecError(
                f"columns.{entry} is no role of the design: did you mean {near}?",
                hint=f"The roles are {', '.join(ROLES)}. Give a column of your own another name.",
                column=str(entry),
            )


def _check_column(entry: str, wanted: Any) -> None:
    if entry == "replicates" and isinstance(wanted, Mapping) and "columns" in wanted:
        return  # read, and checked, with the replicate weights
    if isinstance(wanted, list | tuple) and entry in _STAGED:
        if wanted and all(map(_is_reference, wanted)):
            return
    elif entry != "replicates" and _is_reference(wanted):
        return
    raise SaeSpecError(
        f"columns.{entry} = {wanted!r} does not say which column of the file is meant.",
        hint="Write 'columns', a prefix or a list, and 'method'."
        if entry == "replicates"
        else "Write the name of a column, or {first = [names]}, of which the first that exists is taken; for "
        "strata, psu and fpc also a list, one column per stage.",
    )


def _is_reference(wanted: Any) -> bool:
    """Whether it is the name of a column, or a choice of names."""
    if isinstance(wanted, Mapping):
        names = wanted.get("first")
        return (
            set(wanted) == {"first"}
            and isinstance(names, list | tuple)
            and bool(names)
            and all(isinstance(name, str) and name for name in names)
        )
    return isinstance(wanted, str) and bool(wanted)


def _check_derived(derived: str, how: Any) -> None:
    if not isinstance(how, Mapping) or len({"join", "expression"} & set(how)) != 1:
        raise SaeSpecError(f"derive.{derived} needs 'join' (a list of columns) or 'expression'.")
    known = ("join", "separator") if "join" in how else ("expression",)
    for key in how:
        if key not in known:
            near = get_close_matches(str(key), known, 1)
            raise SaeSpecError(
                f"derive.{derived} has an unknown key {key!r}.",
                hint=f"Did you mean {near[0]}?" if near else f"It knows {' and '.join(known)}.",
            )
    parts = how.get("join", ["x"])
    if not isinstance(parts, list | tuple) or not parts or not all(map(_is_reference, parts)):
        raise SaeSpecError(f"derive.{derived}: join is a list of columns, not {parts!r}.")
    for key in ("separator", "expression"):
        if not isinstance(how.get(key, ""), str):
            raise SaeSpecError(f"derive.{derived}: {key} is text, not {how[key]!r}.")


@dataclass(frozen=True)
class _Codes:
    """Codes of one level: closed intervals of numbers, and texts."""

    intervals: tuple[tuple[float, float], ...]
    texts: frozenset[str]


def _intervals(variable: str, level: str, values: Any) -> _Codes:
    if not isinstance(values, list | tuple):
        values = [values]
    intervals, texts = [], set()
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise SaeSpecError(f"codes.{variable}.{level} holds {value!r}, neither a number nor text.")
        if isinstance(value, int | float):
            intervals.append((float(value), float(value)))
        elif ".." in value:
            low, _, high = value.partition("..")
            try:
                pair = float(low), float(high)
            except ValueError:
                raise SaeSpecError(
                    f"codes.{variable}.{level} holds {value!r}, which is not a range.",
                    hint="Write it as '10..28'.",
                ) from None
            if pair[0] > pair[1]:
                raise SaeSpecError(
                    f"codes.{variable}.{level} holds {value!r}, whose ends are the wrong way round."
                )
            intervals.append(pair)
        else:
            texts.add(value)
    return _Codes(tuple(intervals), frozenset(texts))


def _check_overlap(variable: str, levels: Mapping[str, _Codes]) -> None:
    spans = sorted((low, high, level) for level, codes in levels.items() for low, high in codes.intervals)
    reach: tuple[float, str] | None = None
    for low, high, level in spans:
        if reach is not None and low <= reach[0] and level != reach[1]:
            raise SaeSpecError(
                f"codes.{variable}: the levels {reach[1]!r} and {level!r} both claim the code {low:g}.",
                hint="A code belongs to one level.",
            )
        if reach is None or high > reach[0]:
            reach = (high, level)
    owner: dict[str, str] = {}
    for level, codes in levels.items():
        for text in codes.texts:
            if text in owner:
                raise SaeSpecError(
                    f"codes.{variable}: the levels {owner[text]!r} and {level!r} both claim the code "
                    f"{text!r}.",
                    hint="A code belongs to one level.",
                )
            owner[text] = level


def harmonise(
    columns: dict[str, pd.Series], layout: Layout, given: Mapping[str, Any]
) -> tuple[dict[str, pd.Series], dict[str, Any], list[str]]:
    """Add the harmonised columns of a layout.

    Parameters
    ----------
    columns : dict of str to Series
        Columns of the file.
    layout : Layout
        The layout; names of file columns match whatever their case.
    given : mapping
        Roles named by the user, which win.

    Returns
    -------
    columns : dict of str to Series
        The file's columns and the harmonised ones.
    roles : dict
        Column name of each role found.
    notes : list of str
        What was mapped, what was absent, which codes became missing.

    Raises
    ------
    SaeInputError
        If a column that the user named, or the weights, is not in the file.
    """
    finder = _Finder(columns, layout)
    out = dict(columns)
    notes: list[str] = []
    for name, how in layout.derive.items():
        if "join" in how:
            parts = [finder.find(part, name) for part in how["join"]]
            if None not in parts:
                out[name] = join_text(
                    [out[part] for part in parts if part is not None], how.get("separator", "")
                )
                finder.add(name)
    coded = {}
    for name, coding in layout.codes.items():
        column = finder.find(coding["column"], name)
        if column is not None:
            coded[name], code_notes = _code(out[column], name, column, coding)
            notes += code_notes
    roles: dict[str, Any] = {}
    renamed = {}
    for name, wanted in layout.columns.items():
        if name in ROLES:
            if name not in given:
                roles |= finder.role(name, wanted)
            continue
        column = finder.find(wanted, name)
        if column is not None:
            renamed[name] = _harmonised_column(out[column], name)
    for name in (*coded, *renamed):
        if name in columns and not finder.same(layout, name):
            notes.append(f"the file's own column {name!r} is replaced by the layout's")
    out |= coded | renamed
    for name, how in layout.derive.items():
        if "expression" in how:
            condition = _derive(out, name, how["expression"], finder)
            if condition is not None:
                out[name] = condition
    if finder.absent:
        notes.append(f"not in the file, so not available: {name_some(finder.absent, limit=20)}")
    return out, roles, notes


class _Finder:
    """Finds the columns a layout names, and collects what is absent."""

    def __init__(self, columns: Mapping[str, pd.Series], layout: Layout):
        self.file = frozenset(columns)
        self.known = list(columns)
        self.layout = layout
        self.by_lower = {str(name).lower(): name for name in reversed(self.known)}
        self.absent: list[str] = []

    def add(self, name: str) -> None:
        self.known.append(name)
        self.by_lower[name.lower()] = name

    def locate(self, wanted: Any) -> str | None:
        candidates = wanted["first"] if isinstance(wanted, Mapping) else [wanted]
        for candidate in candidates:
            if candidate in self.known:
                return candidate
        for candidate in candidates if self.layout.name else ():
            if candidate.lower() in self.by_lower:
                return self.by_lower[candidate.lower()]
        return None

    def find(self, wanted: Any, name: str) -> str | None:
        """File column of a harmonised name; None, and noted, where the layout's column is absent."""
        column = self.locate(wanted)
        if column is None:
            shown = "|".join(wanted["first"]) if isinstance(wanted, Mapping) else wanted
            if name in self.layout.required or not self.layout.name:
                raise unknown_column(shown, self.known, name)
            if (
                shown not in self.layout.derive and name not in self.file
            ):  # said already, or there under its own name
                self.absent.append(f"{name} ({shown})")
        return column

    def role(self, role: str, wanted: Any) -> dict[str, Any]:
        if role == "replicates":
            prefix = wanted["columns"] if isinstance(wanted, Mapping) else wanted
            present = not isinstance(prefix, str) or any(name.startswith(f"{prefix}1") for name in self.known)
            if present or role in self.layout.required:
                return {role: wanted}
            self.absent.append(f"replicates ({prefix}1, ...)")
            return {}
        if isinstance(wanted, list):
            columns = [self.find(one, role) for one in wanted]
            return {role: columns} if None not in columns else {}
        column = self.locate(wanted)
        if column is None and role == "weights":
            shown = wanted["first"][0] if isinstance(wanted, Mapping) else wanted
            raise unknown_column(shown, self.known, "weights")
        column = self.find(wanted, role)
        return {} if column is None else {role: column}

    def same(self, layout: Layout, name: str) -> bool:
        """Whether a harmonised name is made from the file column of the same name."""
        wanted = layout.columns.get(name) or layout.codes.get(name, {}).get("column")
        return self.locate(wanted) == name


def _harmonised_column(values: pd.Series, name: str) -> pd.Series:
    if name in _PLACES:
        return values if isinstance(values.dtype, pd.CategoricalDtype) else as_categorical(values)
    if name in _NUMERIC and not pd.api.types.is_numeric_dtype(values.dtype):
        return pd.Series(numbers(values, name), name=name)
    return values


def _derive(
    columns: Mapping[str, pd.Series], name: str, expression: str, finder: _Finder
) -> pd.Series | None:
    if any(finder.find(used, name) is None for used in names_in(expression) if used not in columns):
        return None
    result = evaluate(
        expression, pd.DataFrame({used: columns[used] for used in names_in(expression)}, copy=False)
    )
    return pd.Series(np.where(result.missing, np.nan, result.values.astype(np.float64)))


def _code(
    values: pd.Series, name: str, column: str, coding: Mapping[str, Any]
) -> tuple[pd.Series, list[str]]:
    """Map the codes of a column to levels; values that no level lists become missing, counted by value."""
    codes, labels = encode(values)
    texts = as_text(labels)
    parsed = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    levels = [level for level in coding if level != "column"]
    level_of = np.full(len(labels) + 1, -1, dtype=np.int64)
    for rank, level in enumerate(levels):
        wanted = _intervals(name, level, coding[level])
        hit = np.array([text in wanted.texts for text in texts], dtype=bool)
        for low, high in wanted.intervals:
            hit |= (parsed >= low) & (parsed <= high)
        level_of[:-1][hit] = rank
    mapped = level_of[codes]
    notes = []
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    lost = np.flatnonzero(level_of[:-1] < 0)
    n_missing = int(np.count_nonzero(mapped < 0))
    if n_missing:
        shown = name_some((f"{texts[code]!r} {counts[code]:,}" for code in lost), limit=8)
        empty = int(np.count_nonzero(codes < 0))
        parts = [part for part in (shown, f"empty {empty:,}" if empty else "") if part]
        notes.append(
            f"{name} (from {column}): {n_missing:,} of {len(values):,} records missing: {', '.join(parts)}"
        )
    if n_missing == len(values) and len(labels):
        raise SaeInputError(
            f"No value of the column {column!r} is a code of {name!r}: it holds "
            f"{name_some(map(repr, texts))}.",
            hint=f"Check codes.{name} in the layout against the file.",
            column=column,
        )
    return pd.Series(pd.Categorical.from_codes(mapped, categories=pd.Index(levels))), notes
