"""What figures must agree on before they meet: definition, unit, release, the EU's composition, places."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.tables.labels import labels

__all__ = [
    "Facts",
    "check_mixing",
    "check_rows",
    "crossed",
    "joined_marks",
    "marked",
    "marks_in",
    "with_marks",
    "years_of",
]

_EU = ("EU15", "EU25", "EU27", "EU27_2007", "EU28", "EU27_2020")  # in the order of time
_NUTS = ("NUTS 2003", "NUTS 2006", "NUTS 2010", "NUTS 2013", "NUTS 2016", "NUTS 2021", "NUTS 2024")
_EU_LEVELS = {"eu", "non_eu"}
_MARK = "; break "  # before the ids of the accepted breaks in a status or a definition
_ONE_PER_INDICATOR = ("definition", "geo_version", "eu")


@dataclass(frozen=True)
class Facts:
    """What a table of figures says of its origin; "" where it says nothing.

    Attributes
    ----------
    name : str
        What the table is called in messages.
    definitions : mapping of str to str
        By indicator.
    survey, release : str
        Names of the survey and of its release.
    eu : str
        Composition that groups of EU origin rest on, where the rows are by such groups.
    geo_version : str
        Version of the codes of places, where the rows have places.
    years : tuple of int
        First and last; () where no period is a year.
    breaks : mapping
        Years of the breaks of each indicator's definition by their ids: from that year on figures no longer
        mean the same.
    """

    name: str
    definitions: Mapping[str, str] = field(default_factory=dict)
    survey: str = ""
    release: str = ""
    eu: str = ""
    geo_version: str = ""
    years: tuple[int, ...] = ()
    breaks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, frame: pd.DataFrame, by: Sequence[str], provenance: Mapping[str, Any]) -> Facts:
        """Read the facts of a table of direct estimates.

        Parameters
        ----------
        name : str
        frame : DataFrame
        by : sequence of str
            Columns that make its rows.
        provenance : mapping
            With ``release`` (survey, release, eu, geo_version) and ``known_breaks``, where they are known.
        """
        release = dict(provenance.get("release", {}))
        levels = {level for column in by for level in labels(frame[column], keep_missing=True).dropna()}
        if not levels & _EU_LEVELS:
            release.pop("eu", None)
        if not (frame["geo"] != "").any():
            release.pop("geo_version", None)
        known = {
            key: str(release[key]) for key in ("survey", "release", "eu", "geo_version") if key in release
        }
        definitions = dict(zip(frame["indicator"], frame["definition"], strict=True))
        return cls(
            name,
            definitions,
            **known,
            years=years_of(frame["time"]),
            breaks=provenance.get("known_breaks", {}),
        )


def years_of(times: pd.Series) -> tuple[int, ...]:
    """Return first and last year of periods such as "2024", "2024Q1" or "2019/2021".

    Examples
    --------
    >>> from sae.tables.mixing import years_of
    >>> years_of(pd.Series(["2024Q1", "2023Q4", ""]))
    (2023, 2024)
    """
    texts = times.drop_duplicates().str.split("/").explode().str[:4]
    years = [int(text) for text in texts if text.isdecimal() and len(text) == 4]
    return (min(years), max(years)) if years else ()


def crossed(facts: Sequence[Facts]) -> dict[str, str]:
    """Return the breaks that lie between tables, by their ids, with what says so.

    Examples
    --------
    >>> from sae.tables.mixing import Facts, crossed
    >>> crossed([Facts("a", eu="EU27_2020"), Facts("b", eu="EU28")])
    {'eu28_to_eu27_2020': 'EU28 in b, EU27_2020 in a'}
    """
    breaks: dict[str, str] = {}
    for survey in dict.fromkeys(one.survey for one in facts):
        releases = {one.name: one.release for one in facts if one.survey == survey and one.release}
        ordered = sorted(set(releases.values()))
        short = survey.removeprefix("EU-").lower().replace(" ", "_") or "release"
        breaks |= {f"{short}_{later}": _where(releases, ordered) for later in ordered[1:]}
    for key, order in (("eu", _EU), ("geo_version", _NUTS)):
        values = {one.name: getattr(one, key) for one in facts if getattr(one, key)}
        steps = _steps(set(values.values()), order)
        breaks |= {
            f"{old}_to_{new}": _where(values, sorted(set(values.values()), key=_rank(order)))
            for old, new in steps
        }
    for indicator in dict.fromkeys(indicator for one in facts for indicator in one.breaks):
        known = {name: year for one in facts for name, year in one.breaks.get(indicator, {}).items()}
        for name, year in known.items():
            years = [each for one in facts if name in one.breaks.get(indicator, {}) for each in one.years]
            if years and min(years) < year <= max(years):
                breaks.setdefault(name, f"{indicator} from {min(years)} to {max(years)}")
    return breaks


def _rank(order: tuple[str, ...]) -> Any:
    return lambda value: (order.index(value) if value in order else len(order), value)


def _steps(values: Collection[str], order: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the changes from the first to the last value as the ids write them, vintage by vintage."""
    ordered = sorted(values, key=_rank(order))
    if order is _NUTS and len(ordered) > 1 and all(value in order for value in ordered):
        ordered = list(order[order.index(ordered[0]) : order.index(ordered[-1]) + 1])
    slugs = [value.lower().replace(" ", "_") for value in ordered]
    return [
        (old, new.removeprefix("nuts_") if old.startswith("nuts_") else new) for old, new in pairwise(slugs)
    ]


def _where(values: Mapping[str, str], ordered: Iterable[str]) -> str:
    return ", ".join(
        f"{value} in {name_some([name for name, held in values.items() if held == value])}"
        for value in ordered
    )


def check_mixing(facts: Sequence[Facts], accept: Collection[str]) -> list[str]:
    """Refuse tables that do not agree, but for what is accepted by name; return the accepted breaks.

    Parameters
    ----------
    facts : sequence of Facts
    accept : collection of str
        Ids of breaks, and definitions that may stand beside that of the first table.

    Raises
    ------
    SaeInputError
        If indicators differ, or definitions or breaks that are not accepted; they are named.
    """
    first = facts[0]
    for other in facts[1:]:
        apart = set(first.definitions) ^ set(other.definitions)
        if apart:
            raise SaeInputError(
                f"{first.name} and {other.name} hold different indicators: {name_some(sorted(apart))}.",
                hint="Combine tables of the same indicators.",
                column="indicator",
            )
        for indicator, definition in other.definitions.items():
            mine = first.definitions[indicator]
            if definition != mine and definition not in accept:
                raise SaeInputError(
                    f"{indicator} is defined differently: {mine!r} in {first.name}, {definition!r} in "
                    f"{other.name}.",
                    hint=f"Estimate one definition in both, or accept it by name: accept=[{definition!r}].",
                    column="definition",
                )
    breaks = crossed(facts)
    refused = {name: why for name, why in breaks.items() if name not in accept}
    if refused:
        shown = "; ".join(f"{name} ({why})" for name, why in refused.items())
        raise SaeInputError(
            f"{name_some([one.name for one in facts])} lie across breaks: {shown}. Figures on the two sides "
            "do not compare.",
            hint=f"Take those of one side, or accept it by name: accept={list(refused)}; the rows then carry "
            "a mark.",
        )
    return list(breaks)


def marked(texts: pd.Series, breaks: Sequence[str]) -> pd.Series:
    """Return statuses or definitions with the mark of accepted breaks, each once.

    Examples
    --------
    >>> from sae.tables.mixing import marked
    >>> marked(pd.Series(["ok; break lfs_2021", "no sample"]), ["nuts_2016_to_2021"]).tolist()
    ['ok; break lfs_2021, nuts_2016_to_2021', 'no sample; break nuts_2016_to_2021']
    """
    if not breaks:
        return texts
    spelt = {}
    for text in texts.unique():
        head, _, tail = text.partition(_MARK)
        names = dict.fromkeys([*filter(None, tail.split(", ")), *breaks])
        spelt[text] = f"{head}{_MARK}{', '.join(names)}"
    return texts.map(spelt)


def with_marks(definitions: pd.Series, status: pd.Series) -> pd.Series:
    """Return definitions with the mark of the breaks that the status of the same row names.

    Examples
    --------
    >>> from sae.tables.mixing import with_marks
    >>> with_marks(pd.Series(["v1", "v1"]), pd.Series(["ok", "ok; break lfs_2021"])).tolist()
    ['v1', 'v1; break lfs_2021']
    """
    if not marks_in(status):
        return definitions
    tails = status.fillna("").str.split(_MARK, n=1).str[1].fillna("")
    return definitions.where(tails == "", definitions + _MARK + tails)


def marks_in(texts: pd.Series) -> list[str]:
    """Return the breaks that the marks in a column of statuses or definitions name, each once.

    Examples
    --------
    >>> from sae.tables.mixing import marks_in
    >>> marks_in(pd.Series(["ok", "ok; break lfs_2021"]))
    ['lfs_2021']
    """
    tails = [str(text).partition(_MARK)[2] for text in texts.dropna().unique()]
    return list(dict.fromkeys(name for tail in tails for name in tail.split(", ") if name))


def joined_marks(definitions: pd.Series, units: np.ndarray) -> pd.Series:
    """Return the definition of larger units, 0 to U - 1: each has the marks of any of its rows.

    Examples
    --------
    >>> from sae.tables.mixing import joined_marks
    >>> joined_marks(pd.Series(["v1", "v1; break lfs_2021", "v1"]), np.array([0, 0, 1])).tolist()
    ['v1; break lfs_2021', 'v1']
    """
    texts = definitions.astype("string").fillna("").reset_index(drop=True)
    head = texts.groupby(units, sort=True).first().map(lambda text: text.partition(_MARK)[0])
    marks = texts.groupby(units, sort=True).agg(lambda some: ", ".join(marks_in(some)))
    return head + marks.where(marks == "", _MARK + marks)


def check_rows(frame: pd.DataFrame) -> None:
    """Refuse rows of a plain frame that do not agree on what its own columns say.

    Looked at are the columns definition, geo_version and eu, where they are there, within each value of a
    column ``indicator``. Numbers in definition or eu are a covariate of that name.

    Raises
    ------
    SaeInputError
        With the values and their numbers of rows.
    """
    columns = [name for name in _ONE_PER_INDICATOR if name in frame and _is_fact(frame, name)]
    parts = frame.groupby("indicator", dropna=False) if "indicator" in frame else [("the data", frame)]
    for indicator, rows in parts if columns else ():
        for name in columns:
            counts = labels(rows[name], keep_missing=True).value_counts(sort=False)
            counts = counts.groupby([text.partition(_MARK)[0] for text in counts.index], sort=False).sum()
            counts = counts.drop("", errors="ignore")
            if len(counts) < 2:
                continue
            shown = name_some(f"{value} ({count} rows)" for value, count in counts.items())
            ids: list[str] = []
            if name != "definition":
                ids = list(crossed([Facts(str(k), **{name: value}) for k, value in enumerate(counts.index)]))
            across = f", across {name_some(ids)}" if ids else ""
            raise SaeInputError(
                f"Rows of {indicator} hold several values of {name}: {shown}{across}. Their figures do not "
                "compare.",
                hint="Keep the rows of one, or join the tables of direct estimates with sae.combine(..., "
                f"accept={ids or ['...']}), which marks the rows.",
                column=name,
            )


def _is_fact(frame: pd.DataFrame, name: str) -> bool:
    """Whether a column says something of the table: a number in it, but for a year of the codes, does not."""
    return name == "geo_version" or not pd.api.types.is_numeric_dtype(frame[name].dtype)
