"""Layouts for people: a table of the known ones, and a page of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sae.survey.layouts import ROLES, known_layout, layout_names, resolve_layout
from sae.survey.levels import CODING_KEYS
from sae.survey.release import Release

__all__ = ["layout_page", "layouts"]


def layouts() -> pd.DataFrame:
    """Return the known layouts as a table, one row each.

    Returns
    -------
    DataFrame
        Columns name, title, survey, release, years, eu, variables (those that it maps), state: "verified",
        or which variables rest on remembered codes.

    Examples
    --------
    >>> sae.survey.layouts().set_index("name").loc["eu_lfs", ["survey", "release"]].tolist()
    ['EU-LFS', '2021']
    """
    rows = []
    for name in layout_names():
        layout = resolve_layout(name)
        release = layout.release
        names = [*layout.columns, *layout.codes, *layout.derive]
        rows.append(
            {
                "name": name,
                "title": known_layout(name).get("title", ""),
                "survey": release.survey,
                "release": release.name,
                "years": _years(release),
                "eu": release.eu,
                "variables": ", ".join(dict.fromkeys(one for one in names if one not in ROLES)),
                "state": f"remembered: {', '.join(sorted(release.remembered))}"
                if release.remembered
                else "verified",
            }
        )
    return pd.DataFrame(rows)


def layout_page(name: str) -> str:
    """Return what a known layout maps, in words: release, roles, variables with their codes.

    Raises
    ------
    SaeSpecError
        If the layout is not known; near names are given.

    Examples
    --------
    >>> print(sae.survey.layout_page("us_pums").splitlines()[0])
    us_pums: American Community Survey, Public Use Microdata Sample, persons
    """
    parts, layout = known_layout(name), resolve_layout(name)
    release = layout.release
    lines = [f"{name}: {parts.get('title', '')}"]
    facts = [" ".join(filter(None, (release.survey, release.name))), _years(release), release.eu, release.geo]
    lines.append(f"  release: {', '.join(filter(None, facts)) or 'not stated'}")
    if release.age_bands:
        lines.append(f"  age in bands that begin at {', '.join(map(str, release.age_bands))}")
    if parts.get("note"):
        lines.append(f"  {' '.join(parts['note'].split())}")
    lines.append("  roles")
    lines += [f"    {role:<28}{_column(layout.columns[role])}" for role in ROLES if role in layout.columns]
    lines.append("  variables")
    lines += [
        f"    {variable:<28}{_column(column)}"
        for variable, column in layout.columns.items()
        if variable not in ROLES
    ]
    for variable, coding in layout.codes.items():
        levels = (f"{level} {_codes(codes)}" for level, codes in coding.items() if level not in CODING_KEYS)
        lines.append(f"    {variable:<28}{_column(coding['column'])}: {'; '.join(levels)}{_state(coding)}")
    lines += [
        f"    {variable:<28}{_derived(how)}{_state(how)}"
        for variable, how in layout.derive.items()
        if variable not in layout.columns
    ]
    return "\n".join(lines)


def _years(release: Release) -> str:
    first, last = release.years
    if first is None and last is None:
        return ""
    return f"{first or ''}–{last or ''}" if first != last else str(first)


def _column(wanted: Any) -> str:
    if isinstance(wanted, Mapping):
        if "of_weights" in wanted:
            return "; ".join(f"{_column(one)} with {name}" for name, one in wanted["of_weights"].items())
        names = wanted.get("first") or [wanted.get("columns", "")]
        return " | ".join(map(str, names))
    return " × ".join(map(str, wanted)) if isinstance(wanted, list | tuple) else str(wanted)


def _codes(codes: Any) -> str:
    values = codes if isinstance(codes, list | tuple) else [codes]
    shown = [str(value) for value in values]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:5], f"… ({len(shown)})"])


def _derived(how: Mapping[str, Any]) -> str:
    if "join" in how:
        return f"joined: {how.get('separator', '').join(_column(part) for part in how['join'])}"
    if "bands" in how:
        return f"{_column(how['column'])} in bands from {', '.join(map(str, how['bands']))}"
    if "levels" in how:
        return "; ".join(f"{level}: {condition}" for level, condition in how["levels"].items())
    for kind, prefix in (("nuts", "NUTS code of "), ("ages", "age from "), ("country", "")):
        if kind in how:
            parts = how[kind] if isinstance(how[kind], list | tuple) else [how[kind]]
            return prefix + ", ".join(map(_column, parts))
    return f"derived: {how['expression']}"


def _state(how: Mapping[str, Any]) -> str:
    return " (remembered)" if how.get("state") == "remembered" else ""
