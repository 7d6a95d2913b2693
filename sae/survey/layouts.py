"""Layouts: which column of a file plays which role, and which codes mean which level."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from sae.errors import SaeSpecError, name_some
from sae.survey.derive import check_derived, is_reference
from sae.survey.levels import check_coding
from sae.survey.release import STATES, Release, release_of
from sae.tables.text_cells import missing_words

__all__ = ["ROLES", "Layout", "known_layout", "layout_names", "resolve_layout"]

ROLES = ("weights", "strata", "psu", "household", "person", "time", "fpc", "replicates")
_STAGED = ("strata", "psu", "fpc")  # the roles that may name one column per stage
_PARTS = ("layout", "title", "note", "about", "columns", "derive", "codes", "missing")
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
        Role or harmonised name -> file column, list of columns (one per stage), or ``{"first": [columns]}``;
        the time also ``{"of_weights": {column of weights: column of the period}}``.
    derive : mapping
        Name -> ``{"join": [columns], "separator": text}``, ``{"nuts": [country, region]}``,
        ``{"country": column}``, ``{"ages": [columns]}``; ``{"expression": text}``: yes or no where the
        harmonised variable has these levels, else 1 or 0, or missing; ``{"levels": {level: condition}}``, of
        which the first that is true decides; or ``{"bands": [20, 25, 65], "column": name}``: 20-24, 25-64,
        65+, and missing below the first limit.
    codes : mapping
        Name -> ``{"column": file column, level: [values, "low..high" or "text with *"], ...}``; codes that
        mean no answer may be declared: ``"missing": [9]``.
    release : Release
        What the codes refer to: the part ``about``, and the variables with ``state = "remembered"``.
    required : frozenset of str
        Names that the user wrote ("about.eu" in the part about); their columns must exist. Of a known layout
        columns come and go by release.
    missing : frozenset of str
        Words that mean a missing value in every column, besides the empty cell.
    note : str
        What whoever uses the file must know, and what the file cannot tell.
    """

    name: str
    columns: Mapping[str, Any]
    derive: Mapping[str, Mapping[str, Any]]
    codes: Mapping[str, Mapping[str, Any]]
    required: frozenset[str]
    missing: frozenset[str] = frozenset()
    release: Release = field(default_factory=Release)
    note: str = ""


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
        parts, required = known_layout(layout), frozenset[str]()
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
            + "Its parts are about, columns, derive, codes, missing (and layout, a known one to build on).",
        )
    for part in ("columns", "derive", "codes"):
        if not isinstance(layout.get(part) or {}, Mapping):
            raise SaeSpecError(f"The part {part} of the layout is {layout[part]!r}, not a table of names.")
    own = {part: dict(layout.get(part) or {}) for part in ("columns", "derive", "codes")}
    about = layout.get("about") or {}
    required = frozenset(name for part in own.values() for name in part)
    required |= {f"about.{name}" for name in about} if isinstance(about, Mapping) else set()
    name = layout.get("layout") or ""
    base: Mapping[str, Any] = known_layout(name) if name else {}
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
    merged["note"] = layout.get("note") or base.get("note", "")
    merged["missing"] = layout.get("missing") or base.get("missing", ())
    merged["about"] = {**base.get("about", {}), **about} if isinstance(about, Mapping) else about
    return _checked(name, merged, required)


def known_layout(name: str) -> Mapping[str, Any]:
    """Read the parts of a known layout as its file has them.

    Raises
    ------
    SaeSpecError
        If the name is not known; near ones are given.
    """
    if not isinstance(name, str) or name not in layout_names():
        near = get_close_matches(str(name), layout_names(), n=2)
        hint = f"Did you mean {name_some(near)}? " if near else ""
        raise SaeSpecError(f"{name!r} is not a known layout.", hint=hint + _names_hint())
    return _parts_of(name)


@cache
def _parts_of(name: str) -> Mapping[str, Any]:
    text = resources.files("sae.survey").joinpath("layouts", f"{name}.toml").read_text(encoding="utf-8")
    return MappingProxyType(tomllib.loads(text))


def _names_hint() -> str:
    return f"Known layouts: {', '.join(layout_names())}; or pass a mapping with columns, derive and codes."


def _checked(name: str, parts: Mapping[str, Any], required: frozenset[str]) -> Layout:
    columns = parts.get("columns", {})
    _check_roles(columns)
    for entry, wanted in columns.items():
        _check_column(entry, wanted)
    for derived, how in parts.get("derive", {}).items():
        check_derived(derived, how)
    for variable, coding in parts.get("codes", {}).items():
        if not isinstance(coding, Mapping) or not is_reference(coding.get("column")):
            raise SaeSpecError(
                f"codes.{variable} needs 'column', the column of the file that holds the codes."
            )
        check_coding(variable, coding)
    return Layout(
        name,
        columns,
        parts.get("derive", {}),
        parts.get("codes", {}),
        required,
        missing_words(parts.get("missing", ())),
        release_of(parts.get("about", {}), _remembered(parts)),
        str(parts.get("note", "")),
    )


def _remembered(parts: Mapping[str, Any]) -> frozenset[str]:
    """Variables whose codes or derivation the layout declares remembered."""
    states = {
        (part, name): how["state"]
        for part in ("codes", "derive")
        for name, how in parts.get(part, {}).items()
        if "state" in how
    }
    for (part, name), state in states.items():
        if state not in STATES:
            raise SaeSpecError(f"{part}.{name}: state is {' or '.join(STATES)}, not {state!r}.")
    return frozenset(name for (_, name), state in states.items() if state == "remembered")


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
    by_weights = wanted.get("of_weights") if entry == "time" and isinstance(wanted, Mapping) else None
    if isinstance(by_weights, Mapping) and all(map(is_reference, by_weights.values())):
        return
    if isinstance(wanted, list | tuple) and entry in _STAGED:
        if wanted and all(map(is_reference, wanted)):
            return
    elif entry != "replicates" and is_reference(wanted):
        return
    raise SaeSpecError(
        f"columns.{entry} = {wanted!r} does not say which column of the file is meant.",
        hint="Write 'columns', a prefix or a list, and 'method'."
        if entry == "replicates"
        else "Write the name of a column, or {first = [names]}, of which the first that exists is taken; for "
        "strata, psu and fpc also a list, one column per stage.",
    )
