"""What the two sides of a comparison must agree on: unit, indicator, definition, places, breaks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy
from pandas.api.types import is_numeric_dtype

from sae.compare.joint import Figures
from sae.errors import SaeInputError, name_some
from sae.tables import labels
from sae.tables.mixing import Facts, crossed, marks_in, years_of

__all__ = [
    "agreed_breaks",
    "agreed_set",
    "breaks_between",
    "composition",
    "known_breaks",
    "period_order",
    "periods_between",
    "without_composition",
]

_MARK = "; break "
_QUARTER = re.compile(r"\d{4}Q[1-4]")
# EU28_FOR, NEU27_2020_FOR, EUR_NEU28_NEFTA, "EU-28"; EU15 alone is a group of the LFS of any year
_COMPOSITION = re.compile(r"(?<![A-Z0-9])(N?EU)[- ]?(27_2007|27_2020|25|27|28|15(?=_FOR))(?![0-9])")


def agreed_breaks(
    figures: Figures,
    one: np.ndarray,
    others: scipy.sparse.csr_array,
    cell: np.ndarray,
    accept: Collection[str],
    *,
    apart: Collection[str] = (),
) -> np.ndarray:
    """Return the accepted breaks between the sides of each comparison, as text; refuse what does not compare.

    Parameters
    ----------
    figures, one, others, cell, accept, apart
        As for `breaks_between`.

    Raises
    ------
    SaeInputError
        As there, or if a break lies between the sides that is not accepted.
    """
    breaks, why = breaks_between(figures, one, others, cell, accept, apart=apart)
    refused = {name: text for name, text in why.items() if name not in accept}
    if refused:
        shown = "; ".join(f"{name} ({text})" for name, text in refused.items())
        raise SaeInputError(
            f"The two sides lie across breaks: {shown}. Their figures do not compare.",
            hint=f"Compare within one side, or accept it by name: accept={list(refused)}; the rows then "
            "carry a mark.",
        )
    return breaks


def agreed_set(figures: Figures, rows: np.ndarray, accept: Collection[str]) -> None:
    """Refuse rows that are set beside each other and do not compare, as `agreed_breaks` does."""
    places = (np.zeros(len(rows), dtype=int), rows)
    whole = scipy.sparse.csr_array((np.ones(len(rows)), places), shape=(1, len(figures.estimate)))
    agreed_breaks(figures, rows[:1], whole, places[0][:1], accept)


def breaks_between(
    figures: Figures,
    one: np.ndarray,
    others: scipy.sparse.csr_array,
    cell: np.ndarray,
    accept: Collection[str],
    *,
    apart: Collection[str] = (),
) -> tuple[np.ndarray, dict[str, str]]:
    """Return the breaks between the sides of each comparison, as text, and what says so of each.

    Parameters
    ----------
    figures : Figures
    one : ndarray of int, shape (S,)
        Row of one side of each comparison.
    others : sparse array, shape (K, m)
        Weights of the rows that make up the other sides.
    cell : ndarray of int, shape (S,)
        Which of them; -1 where the other side is a known number.
    accept : collection of str
        Definitions that may differ from that of the other side, beside ids of breaks.
    apart : collection of str
        Columns in which the sides may differ: they are what is compared.

    Raises
    ------
    SaeInputError
        If the sides differ in unit or indicator, or in a definition that is not accepted.
    """
    facts, codes = _facts(figures)
    present = scipy.sparse.csr_array(others != 0) @ _one_hot(codes, len(facts))
    kinds, mine = np.unique(_as_text(present), return_inverse=True)
    first = np.array([np.flatnonzero(mine == kind)[0] for kind in range(len(kinds))], dtype=int)
    breaks = np.full(len(one), "", dtype=object)
    used = cell >= 0
    pairs = np.stack([codes[one[used]], mine[cell[used]]], axis=1)
    unique, place = np.unique(pairs, axis=0, return_inverse=True)
    known = known_breaks(figures.frame, figures.provenance)
    texts, why = [], dict[str, str]()
    for code, kind in unique:
        sides = facts.iloc[[code, *present[[first[kind]]].indices]]
        made = _between(sides, known, accept, apart)
        texts.append(", ".join(made))
        why |= made
    if len(unique):
        breaks[used] = np.array(texts, dtype=object)[place.ravel()]
    return breaks, why


def _facts(figures: Figures) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the different sets of facts that rows have, and which one each row has."""
    frame = figures.frame
    texts = pd.DataFrame(
        {
            name: labels(frame[name], keep_missing=True).fillna("").to_numpy(dtype=object)
            if name in frame
            else np.full(len(frame), "", dtype=object)
            for name in ("indicator", "definition", "unit", "geo_version", "time", "status")
        }
    )
    marks = texts["definition"].where(texts["definition"].str.contains(_MARK, regex=False), texts["status"])
    texts["marks"] = marks.str.partition(_MARK)[2]
    texts["definition"] = texts["definition"].str.partition(_MARK)[0]
    own = frame["eu"] if "eu" in frame and not is_numeric_dtype(frame["eu"].dtype) else None  # no covariate
    texts = texts.drop(columns="status").assign(
        eu="" if own is None else labels(own, keep_missing=True).fillna("").to_numpy(dtype=object)
    )
    for name in ("domain", *figures.parts):
        if name not in ("indicator", "time"):
            values = labels(frame[name])
            named = values.map({text: composition(text) for text in values.unique()}).to_numpy()
            texts["eu"] = texts["eu"].where(texts["eu"] != "", named)
    codes = texts.groupby(list(texts), sort=False).ngroup().to_numpy()
    return texts.drop_duplicates(ignore_index=True), codes


def _one_hot(codes: np.ndarray, size: int) -> scipy.sparse.csr_array:
    rows = np.arange(len(codes))
    return scipy.sparse.csr_array((np.ones(len(codes)), (rows, codes)), shape=(len(codes), size))


def _as_text(present: scipy.sparse.csr_array) -> np.ndarray:
    present.sort_indices()
    ends = zip(present.indptr[:-1], present.indptr[1:], strict=True)
    return np.array([" ".join(map(str, present.indices[a:b])) for a, b in ends], dtype=object).astype(str)


def known_breaks(frame: pd.DataFrame, provenance: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    """Return the years of the breaks of each indicator: those of its survey, else of its definition here."""
    if "known_breaks" in provenance or "indicator" not in frame:
        return dict(provenance.get("known_breaks", {}))
    from sae.indicators import BREAKS, REGISTRY  # only where a table says nothing of its own

    names = [name for name in labels(frame["indicator"]).unique() if name in REGISTRY]
    return {name: {one: BREAKS[one].year for one in REGISTRY[name].breaks} for name in names}


def _between(
    sides: pd.DataFrame,
    known: Mapping[str, Mapping[str, int]],
    accept: Collection[str],
    apart: Collection[str],
) -> dict[str, str]:
    """Return the breaks between rows of facts with what says so; refuse other indicators and units."""
    for name in ("unit", "indicator", "definition"):
        values = sides[name].unique()
        skip = name in apart or (name == "definition" and "indicator" in apart)
        if len(values) < 2 or (name == "definition" and set(values[1:]) <= set(accept)) or skip:
            continue
        accepted = f", or accept it by name: accept={list(values[1:])}" if name == "definition" else ""
        raise SaeInputError(
            f"The two sides differ in {name}: {name_some(map(repr, values))}. Their figures do not compare.",
            hint=f"Compare figures of one {name}{accepted}.",
            column=name,
        )
    indicator = sides["indicator"].iloc[0]
    several = sides["time"].nunique() > 1  # within one pooled period, "2019/2021", all are alike
    columns = zip(*(sides[name].astype(str) for name in ("time", "geo_version", "eu")), strict=True)
    facts = [
        Facts(
            f"side {place}",
            eu=eu,
            geo_version=version,
            years=years_of(pd.Series([time])) if several else (),
            breaks={indicator: known.get(indicator, {})},
        )
        for place, (time, version, eu) in enumerate(columns, 1)
    ]
    made = crossed(facts) if len(facts) > 1 else {}
    marks = [set(marks_in(pd.Series([_MARK + text]))) for text in sides["marks"]]
    for name in sorted(set[str]().union(*marks) - marks[0].intersection(*marks)):
        made.setdefault(name, "marked on one side")
    return made


def composition(label: str) -> str:
    """Return the composition of the EU that a label of a group or an area names, or "".

    Examples
    --------
    >>> from sae.compare.sides import composition
    >>> [composition(label) for label in ("NEU28_FOR", "EU27_2020_FOR", "NAT", "EU15")]
    ['EU28', 'EU27_2020', '', '']
    """
    match = _COMPOSITION.search(label)
    return f"EU{match[2]}" if match else ""


def without_composition(label: str) -> str:
    """Return a label with the EU of any composition: what is the same group in another year.

    Examples
    --------
    >>> from sae.compare.sides import without_composition
    >>> without_composition("NEU28_FOR"), without_composition("NEU27_2020_FOR")
    ('NEU_FOR', 'NEU_FOR')
    """
    return _COMPOSITION.sub(r"\1", label)


def period_order(times: Iterable[str]) -> list[str]:
    """Return periods in the order of time: numbers by their size, others by their text."""
    unique = list(dict.fromkeys(times))
    return sorted(unique, key=lambda text: (float(text) if text.isdecimal() else np.inf, text))


def periods_between(first: str, last: str, periods: Sequence[str]) -> str:
    """Return what lies between two periods: all years or quarters between such, else those of the table.

    Examples
    --------
    >>> from sae.compare.sides import periods_between
    >>> periods_between("2018", "2021", ["2018", "2021"]), periods_between("2019Q3", "2020Q2", [])
    ('2019, 2020', '2019Q4, 2020Q1')
    """
    if all(len(text) == 4 and text.isdecimal() for text in (first, last)):
        return ", ".join(str(year) for year in range(int(first) + 1, int(last)))
    if all(_QUARTER.fullmatch(text) for text in (first, last)):
        start, stop = (4 * int(text[:4]) + int(text[5:]) for text in (first, last))
        return ", ".join(f"{(at - 1) // 4}Q{(at - 1) % 4 + 1}" for at in range(start + 1, stop))
    return ", ".join(periods[periods.index(first) + 1 : periods.index(last)])
