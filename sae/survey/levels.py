"""Codes of a file to the levels of a variable: what a table ``[codes.x]`` of a layout means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.survey.codes import as_text, encode

__all__ = [
    "CODING_KEYS",
    "CodedColumn",
    "Unlisted",
    "check_coding",
    "coded_column",
    "known_share",
    "level_ranks",
    "refuse_unknown",
    "strays_text",
    "to_levels",
]

CODING_KEYS = ("column", "state", "missing")  # of a table of codes; its other keys are levels


@dataclass(frozen=True)
class _Codes:
    """Codes of one level: closed intervals of numbers, texts, and patterns of text with a star."""

    intervals: tuple[tuple[float, float], ...]
    texts: frozenset[str]
    patterns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CodedColumn:
    """A column of the file as codes of its labels, with the number of records of each.

    Attributes
    ----------
    codes : ndarray of int64, shape (n,)
        Rank of the label of each record, -1 where empty.
    texts : list of str
        The labels.
    counts : ndarray of int64
        Records by label.
    """

    codes: np.ndarray
    texts: list[str]
    counts: np.ndarray


@dataclass(frozen=True)
class Unlisted:
    """Records of a variable without a level: codes that no level lists, with their counts, and empty cells.

    Attributes
    ----------
    variable, source : str
        Harmonised variable and column of the file.
    counts : dict of str to int
    empty, records : int
    """

    variable: str
    source: str
    counts: dict[str, int]
    empty: int
    records: int

    @property
    def note(self) -> str:
        """Name the codes with their counts."""
        shown = name_some((f"{code!r} {count:,}" for code, count in self.counts.items()), limit=8)
        parts = [part for part in (shown, f"empty {self.empty:,}" if self.empty else "") if part]
        missing = sum(self.counts.values()) + self.empty
        return (
            f"{self.variable} (from {self.source}): {missing:,} of {self.records:,} records missing: "
            f"{', '.join(parts)}"
        )

    def with_later(self, other: Unlisted) -> Unlisted:
        """Return what both blocks of a file lack, codes that are numbers in their order."""
        codes = [*self.counts, *(code for code in other.counts if code not in self.counts)]
        numbers = pd.to_numeric(pd.Series(codes, dtype=object), errors="coerce")
        codes = sorted(codes) if numbers.isna().any() else [codes[k] for k in np.argsort(numbers)]
        counts = {code: self.counts.get(code, 0) + other.counts.get(code, 0) for code in codes}
        records = self.records + other.records
        return Unlisted(self.variable, self.source, counts, self.empty + other.empty, records)


def coded_column(values: pd.Series) -> CodedColumn:
    """Code a column of the file.

    Examples
    --------
    >>> coded_column(pd.Series([2.0, 1.0, 2.0])).texts
    ['1', '2']
    """
    codes, labels = encode(values)
    return CodedColumn(codes, as_text(labels), np.bincount(codes[codes >= 0], minlength=len(labels)))


def check_coding(variable: str, coding: Mapping[str, Any]) -> None:
    """Refuse codes that are neither numbers, ranges nor text, and codes that two levels claim."""
    levels = {
        level: _codes_of(variable, level, spec)
        for level, spec in coding.items()
        if level not in CODING_KEYS or level == "missing"
    }
    if not levels.keys() - {"missing"}:
        raise SaeSpecError(f"codes.{variable} defines no level.")
    _check_overlap(variable, levels)


def level_ranks(texts: list[str], variable: str, coding: Mapping[str, Any]) -> np.ndarray:
    """Rank of the level of each label, -1 where no level lists it; exact codes win over patterns.

    Examples
    --------
    >>> coding = {"column": "c", "eu": ["*-EU28"], "non_eu": ["*-OTHER AFRICA"]}
    >>> level_ranks(["005-EU28", "NO ANSWER"], "birth_group", coding).tolist()
    [0, -1]
    """
    parsed = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    exact = np.full(len(texts), -1, dtype=np.int64)
    by_pattern = exact.copy()
    levels = [level for level in coding if level not in CODING_KEYS]
    for rank, level in enumerate(levels):
        wanted = _codes_of(variable, level, coding[level])
        exact[_hit(wanted, texts, parsed)] = rank
        alike = [any(fnmatchcase(text, one) for one in wanted.patterns) for text in texts]
        by_pattern[np.array(alike, dtype=bool)] = rank
    return np.where(exact >= 0, exact, by_pattern)


def known_share(column: CodedColumn, variable: str, coding: Mapping[str, Any]) -> float:
    """Share of the answers whose code is a level; nan where there is none (empty, or declared missing).

    Examples
    --------
    >>> answers = coded_column(pd.Series([1, 5, 9, 9]))
    >>> known_share(answers, "professional_status", {"column": "STAPRO", "missing": [9], "employee": [5]})
    0.5
    """
    parsed = pd.to_numeric(pd.Series(column.texts, dtype=object), errors="coerce").to_numpy(np.float64)
    silent = _hit(_codes_of(variable, "missing", coding.get("missing", [])), column.texts, parsed)
    answers = column.counts[~silent].sum()
    known = column.counts[(level_ranks(column.texts, variable, coding) >= 0) & ~silent].sum()
    return float(known / answers) if answers else np.nan


def strays_text(unlisted: Iterable[Unlisted], layout: str | Mapping[str, Any] | None) -> str:
    """Name the codes that the tables of a user's own layout list nowhere; empty where there are none.

    A layout that is known leaves codes out on purpose, which the notes count.

    Examples
    --------
    >>> lost = Unlisted("status", "c", {"9": 4, "k.A.": 2}, 0, 50)
    >>> strays_text([lost], {"codes": {"status": {"column": "c", "employed": [1], "missing": [9]}}})[:85]
    "Codes that the layout does not list became missing: status (from c) 'k.A.' 2 of 50 re"
    """
    own = (layout.get("codes") or {}) if isinstance(layout, Mapping) else {}
    seen = []
    for one in unlisted:
        texts, coding = list(one.counts), own.get(one.variable, {})
        declared = level_ranks(texts, one.variable, {"declared": coding.get("missing", [])})
        strays = [f"{texts[k]!r} {one.counts[texts[k]]:,}" for k in np.flatnonzero(declared < 0)]
        if strays and coding:
            seen.append(f"{one.variable} (from {one.source}) {name_some(strays)} of {one.records:,} records")
    if not seen:
        return ""
    hint = "Give each a level; or list it there as missing = [...]."
    return f"Codes that the layout does not list became missing: {'; '.join(seen)}. {hint}"


def _hit(wanted: _Codes, texts: list[str], parsed: np.ndarray) -> np.ndarray:
    """Whether each label is one of the codes, patterns apart."""
    hit = np.array([text in wanted.texts for text in texts], dtype=bool)
    for low, high in wanted.intervals:
        hit |= (parsed >= low) & (parsed <= high)
    return hit


def refuse_unknown(column: CodedColumn, variable: str, source: str, coding: Mapping[str, Any]) -> None:
    """Refuse a column that holds answers of which none is a code of the variable."""
    if known_share(column, variable, coding) == 0:
        raise SaeInputError(
            f"No value of the column {source!r} is a code of {variable!r}: it holds "
            f"{name_some(map(repr, column.texts))}.",
            hint=f"Check codes.{variable} in the layout against the file.",
            column=source,
        )


def to_levels(
    column: CodedColumn, variable: str, source: str, coding: Mapping[str, Any], *, whole: bool = True
) -> tuple[pd.Series, Unlisted | None]:
    """Map the codes of a column to levels; values that no level lists become missing, counted by value.

    Raises
    ------
    SaeInputError
        If the column is that of the whole file, holds answers, and none of them is a code of the variable.
    """
    levels = [level for level in coding if level not in CODING_KEYS]
    of_label = level_ranks(column.texts, variable, coding)
    mapped = np.append(of_label, -1)[column.codes]
    n_missing = int(np.count_nonzero(mapped < 0))
    if whole and n_missing == len(mapped):
        refuse_unknown(column, variable, source, coding)
    unlisted = None
    if n_missing:
        lost = np.flatnonzero(of_label < 0)
        counts = {column.texts[code]: int(column.counts[code]) for code in lost}
        empty = int(np.count_nonzero(column.codes < 0))
        unlisted = Unlisted(variable, source, counts, empty, len(mapped))
    return pd.Series(pd.Categorical.from_codes(mapped, categories=pd.Index(levels))), unlisted


def _codes_of(variable: str, level: str, values: Any) -> _Codes:
    if not isinstance(values, list | tuple):
        values = [values]
    intervals, texts, patterns = [], set(), []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise SaeSpecError(f"codes.{variable}.{level} holds {value!r}, neither a number nor text.")
        if isinstance(value, int | float):
            intervals.append((float(value), float(value)))
        elif ".." in value:
            intervals.append(_range(variable, level, value))
        elif "*" in value:
            patterns.append(value)
        else:
            texts.add(value)
    return _Codes(tuple(intervals), frozenset(texts), tuple(patterns))


def _range(variable: str, level: str, value: str) -> tuple[float, float]:
    low, _, high = value.partition("..")
    try:
        pair = float(low), float(high)
    except ValueError:
        raise SaeSpecError(
            f"codes.{variable}.{level} holds {value!r}, which is not a range.", hint="Write it as '10..28'."
        ) from None
    if pair[0] > pair[1]:
        raise SaeSpecError(f"codes.{variable}.{level} holds {value!r}, whose ends are the wrong way round.")
    return pair


def _check_overlap(variable: str, levels: Mapping[str, _Codes]) -> None:
    spans = sorted((low, high, level) for level, codes in levels.items() for low, high in codes.intervals)
    reach: tuple[float, str] | None = None
    for low, high, level in spans:
        if reach is not None and low <= reach[0] and level != reach[1]:
            raise _claimed_twice(variable, reach[1], level, f"{low:g}")
        if reach is None or high > reach[0]:
            reach = (high, level)
    owner: dict[str, str] = {}
    for level, codes in levels.items():
        for text in (*codes.texts, *codes.patterns):
            if text in owner:
                raise _claimed_twice(variable, owner[text], level, repr(text))
            owner[text] = level


def _claimed_twice(variable: str, first: str, second: str, code: str) -> SaeSpecError:
    return SaeSpecError(
        f"codes.{variable}: the levels {first!r} and {second!r} both claim the code {code}.",
        hint="A code belongs to one level.",
    )
