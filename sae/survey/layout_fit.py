"""Whether a file is of the release that a layout describes, and which layout fits it better."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.survey.checks import unknown_column
from sae.survey.derive import names_used, reference_names
from sae.survey.eu_codes import in_bands
from sae.survey.file_columns import FileColumns
from sae.survey.layouts import layout_names, resolve_layout
from sae.survey.levels import known_share

__all__ = ["MODULE_YEARS", "check_release", "fitting_layouts", "years_of"]

MODULE_YEARS = (2008, 2014, 2021)  # of the module on migrants of the EU-LFS, the years of COEFFMOD
_BETTER = 0.05  # share of the answers by which another layout must know more of a variable's codes


@dataclass(frozen=True)
class _Fit:
    """How a layout fits a file: weights, years, the share of its columns and of each variable's codes."""

    weights: bool
    outside: tuple[int, ...]
    columns: float
    known: Mapping[str, float]

    @property
    def score(self) -> float:
        codes = float(np.mean(list(self.known.values()))) if self.known else 0.0
        return self.columns * codes if self.weights and not self.outside else 0.0


def check_release(file: FileColumns, given: Mapping[str, Any]) -> None:
    """Refuse a file that another known layout describes: columns, years or codes of another release.

    What the user defines anew (``about = {years = [...]}``, codes) is taken as meant. A mapping of one's own
    that builds on no known layout is not checked.

    Raises
    ------
    SaeInputError
        If the layout's weights are not in the file, its years are others, none of a variable's codes occurs,
        or another layout of the same survey knows codes that this one does not; names the layout that fits.
    """
    layout = file.layout
    if not layout.name:
        return
    fit = _fit(file, given)
    if "weights" not in given and not fit.weights:
        shown = next(reference_names(_weights_column(file)))
        raise unknown_column(shown, file.known, "weights", _advice(file))
    if fit.outside:
        first, last = layout.release.years
        raise SaeInputError(
            f"The layout {layout.name} describes the years {first or '...'} to {last or '...'}, but the file "
            f"holds {name_some(fit.outside)}.",
            hint=f"{_advice(file)}If its codes are known to be the same, say so in a layout of your own: "
            f'{{"layout": "{layout.name}", "about": {{"years": [...]}}}}.',
        )
    nothing = [name for name, share in fit.known.items() if share == 0 and name not in layout.required]
    if nothing and (advice := _advice(file)):
        raise SaeInputError(
            f"No value of {name_some(nothing)} is a code that the layout {layout.name} knows.", hint=advice
        )
    _check_module_weight(file, given)
    _check_multiplied(file, given)
    for name in layout_names():
        other = resolve_layout(name)
        if name == layout.name or not other.release.survey or other.release.survey != layout.release.survey:
            continue
        rival = _fit(file.seen_by(other), {})
        if rival.score == 0:
            continue
        gains = {one: rival.known[one] - fit.known[one] for one in fit.known.keys() & rival.known.keys()}
        better = sorted(one for one, gain in gains.items() if gain > _BETTER and one not in layout.required)
        if better and min(gains.values()) >= -_BETTER:
            raise SaeInputError(
                f"The file holds codes of {name_some(better)} that the layout {layout.name} does not know, "
                f"and {name} does.",
                hint=f'The file fits the layout "{name}".',
            )


def fitting_layouts(file: FileColumns) -> list[str]:
    """Names of the known layouts that fit a file best: one, several alike, or none."""
    scores = {name: _fit(file.seen_by(resolve_layout(name)), {}).score for name in layout_names()}
    best = max(scores.values())
    return [name for name, score in scores.items() if score == best] if best >= 0.5 else []


def years_of(texts: list[str]) -> list[int]:
    """Years that the labels of periods begin with (2021, 2021Q1), rising.

    Examples
    --------
    >>> years_of(["2021Q1", "2021Q2", "2020", "wave 3"])
    [2020, 2021]
    """
    matches = (re.match(r"(?:19|20)\d\d(?!\d)", text) for text in texts)
    return sorted({int(match.group()) for match in matches if match})


def _advice(file: FileColumns) -> str:
    best = fitting_layouts(file)
    return f"The file fits the layout {' or '.join(best)}. " if best and best != [file.layout.name] else ""


def _fit(file: FileColumns, given: Mapping[str, Any]) -> _Fit:
    layout = file.layout
    wanted = set(_sources(file))
    columns = len([one for one in wanted if any(file.locate(name) for name in one)])
    known = {}
    for variable, coding in layout.codes.items():
        column = file.locate(coding["column"])
        if column is not None:
            share = known_share(file.coded(column), variable, coding)
            if not np.isnan(share):
                known[variable] = share
    age = file.locate(layout.columns["age"]) if "age" in layout.columns else None
    if age is not None and layout.release.age_bands:
        coded = file.coded(age)
        values = pd.to_numeric(pd.Series(coded.texts, dtype=object), errors="coerce").to_numpy(float)
        good = ~np.isnan(values)
        good[good] = in_bands(values[good], layout.release.age_bands)
        known["age"] = float(coded.counts[good].sum()) / max(int(coded.counts.sum()), 1)
    first, last = layout.release.years
    years = _years(file, given)
    outside = tuple(one for one in years if (first and one < first) or (last and one > last))
    return _Fit(file.locate(_weights_column(file)) is not None, outside, columns / max(len(wanted), 1), known)


def _years(file: FileColumns, given: Mapping[str, Any]) -> list[int]:
    time = given.get("time")
    names = [time] if isinstance(time, str) else list(reference_names(file.layout.columns.get("time", [])))
    for name in names:
        how = file.layout.derive.get(name, {})
        column = file.locate(how["join"][0] if "join" in how else name)
        if column is not None:
            return years_of(file.coded(column).texts)
    return []


def _weights_column(file: FileColumns) -> Any:
    """Return the column of the weights: that of the file where the layout multiplies it."""
    wanted = file.layout.columns.get("weights", "")

    def of_file(name: str) -> str:
        how = file.layout.derive.get(name, {})
        return names_used(how)[0] if "expression" in how else name

    if isinstance(wanted, str):
        return of_file(wanted)
    return {"first": [of_file(name) for name in wanted["first"]]} if "first" in wanted else wanted


def _sources(file: FileColumns) -> Iterator[tuple[str, ...]]:
    """Yield the choices of names of every column of the file that the layout reads."""
    layout = file.layout
    wanted = [coding["column"] for coding in layout.codes.values()]
    wanted += [one for role, one in layout.columns.items() if role not in ("replicates", "time")]
    for how in layout.derive.values():
        if "bands" in how or "country" in how:
            wanted.append(how.get("column") or how["country"])
        else:
            wanted += how.get("join") or how.get("nuts") or how.get("ages") or names_used(how)
    made = {*layout.derive, *layout.codes, *layout.columns}
    for one in wanted:
        names = tuple(name for name in reference_names(one) if name not in made)
        if names:
            yield names


def _check_multiplied(file: FileColumns, given: Mapping[str, Any]) -> None:
    """Refuse a weight as it stands that the layout multiplies: it counts thousands."""
    weights, made = given.get("weights"), file.layout.columns.get("weights")
    how = file.layout.derive.get(made, {}) if isinstance(made, str) else {}
    parts = [name.lower() for name in names_used(how)] if "expression" in how else []
    if isinstance(weights, str) and weights.lower() in parts:
        raise SaeSpecError(
            f"The layout {file.layout.name} does not weigh with {weights}, but with {how['expression']}.",
            hint="Leave weights out, or give the column another name.",
            column=weights,
        )


def _check_module_weight(file: FileColumns, given: Mapping[str, Any]) -> None:
    weights = str(given.get("weights"))
    if file.layout.release.survey != "EU-LFS" or weights.upper() != "COEFFMOD":
        return
    years = _years(file, given)
    others = [year for year in years if year not in MODULE_YEARS]
    if others or not years:
        raise SaeInputError(
            f"COEFFMOD weights the module on migrants, asked in {name_some(MODULE_YEARS)}; the file holds "
            f"{name_some(others) if others else 'no year'}.",
            hint="Use it with the variables of the module in these years only; else COEFFY or COEFFQ.",
            column=weights,
        )
