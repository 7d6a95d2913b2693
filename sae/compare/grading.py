"""How far the figures of tables compare: a grade for every row, with the reasons in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from sae.calls import answered
from sae.compare.grades import GRADES, Standing, grade
from sae.compare.sides import composition, known_breaks
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.results import Result
from sae.tables import DirectEstimates, EstimateTable, label_text, labels
from sae.tables.base import Table
from sae.tables.mixing import marks_in, years_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparability", "comparability"]

_MARK = "; break "
_EU_LEVELS = {"eu", "non_eu"}
_NAMES = tuple(one.name for one in fields(Standing))
One = Result | EstimateTable | DirectEstimates | pd.DataFrame


@dataclass(frozen=True, eq=False, repr=False)
class Comparability(Table):
    """The comparability of the rows of tables.

    Attributes
    ----------
    frame : DataFrame
        One row per row of the tables: what tells it apart; `grade`, A, B, C, X, or "" where it is not known;
        `reasons` in words; what they rest on: `definition`, `source`, `release`, `eu`, `geo_version`, `flag`.
    keys : tuple of str
        The columns that tell rows apart.
    references : mapping of str to Standing
        What the rows of each indicator were set against.
    notes : tuple of str
    """

    frame: pd.DataFrame
    keys: tuple[str, ...]
    references: Mapping[str, Standing]
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Return how many rows have which grade, and the reasons met."""
        lines = [f"Comparability of {len(self.frame)} figures"]
        counts = self.frame["grade"].value_counts()
        for letter, words in GRADES.items():
            if letter not in counts:
                continue
            reasons = Counter(
                self.frame["reasons"][self.frame["grade"].eq(letter) & self.frame["reasons"].ne("")]
            )
            shown = name_some([f"{text} ({number})" for text, number in reasons.most_common()], 4)
            lines.append(f"{letter or 'none'}, {words}: {counts[letter]}" + (f": {shown}" if shown else ""))
        return "\n".join([*lines, *self.notes])

    def _heading(self) -> str:
        return self.summary()

    def _shown(self) -> pd.DataFrame:
        return self.frame[[*self.keys, "grade", "reasons"]]

    def plot(self, *, title: str = "", source: str = "") -> Figure:
        """Draw how many figures of each country or area have which grade: see `sae.plots.comparability`."""
        from sae.plots import comparability

        by = "country" if "country" in self.frame else "domain"
        return comparability(self.frame, by, title=title, source=source)


@answered
def comparability(
    data: One | Mapping[str, One],
    against: object = None,
    *,
    accept: str | Sequence[str] = (),
    domain: str = "domain",
) -> Comparability:
    """Grade how far the figures of one or several countries compare: A, B, C or X, with the reasons in words.

    The rule stands in one place, `sae.compare.grades.grade`.

    Parameters
    ----------
    data : Result, EstimateTable, DirectEstimates, DataFrame, or mapping of them
        A table over several countries (as `sae.publish.read_exchange` gives), or tables by country. Of a
        frame the columns indicator, definition, unit, source, eu, geo_version, time and flag are read, and
        country, citizen and c_birth tell its rows apart.
    against : optional
        What is compared with: a country, or another value of a column that makes the rows. Without it rows
        are set against what most rows of their indicator say, and against the definition of the registry
        where a row has it, at the newest period.
    accept : str or sequence of str
        Definitions that are accepted by name: C in place of X.
    domain : str
        Column of a frame with the names of the areas.

    Returns
    -------
    Comparability

    Raises
    ------
    SaeSpecError, SaeInputError
        If there is nothing to grade, or no row is of `against`.

    Examples
    --------
    >>> frame = pd.DataFrame({"domain": ["AT13", "DE30", "FR10"], "indicator": "employment", "estimate": 0.7,
    ...                       "definition": ["v1", "v1", "v2"], "time": "2023", "flag": ["", "b", ""]})
    >>> sae.compare.comparability(frame)[["domain", "grade", "reasons"]].values.tolist()
    ... # doctest: +NORMALIZE_WHITESPACE
    [['AT13', 'A', ''], ['DE30', 'B', 'flag b: break in time series'],
     ['FR10', 'X', "definition 'v2', not 'v1'"]]
    """
    tables = dict(data) if isinstance(data, Mapping) else {"": data}
    if not tables:
        raise SaeSpecError("There is no table to grade.")
    accepted = [accept] if isinstance(accept, str) else list(accept)
    read = [_rows(name, table, domain) for name, table in tables.items()]
    frame = pd.concat([part for part, _, _ in read], ignore_index=True)
    keys = list(dict.fromkeys(name for _, names, _ in read for name in names))
    breaks: dict[str, Mapping[str, int]] = {}
    for _, _, known in read:
        breaks |= known
    for name in keys:
        frame[name] = frame[name].fillna("")
    chosen = _chosen(frame, keys, against)
    standings = [
        Standing(**dict(zip(_NAMES, row, strict=True))) for row in frame[list(_NAMES)].itertuples(index=False)
    ]
    indicators = frame["indicator"].tolist()
    references, own = dict[str, Standing](), dict[str, str]()
    for name in dict.fromkeys(indicators):
        rows = np.flatnonzero(frame["indicator"].eq(name).to_numpy() & chosen)
        harmonised, own[name] = _registered(name)
        if len(rows):
            references[name] = _reference([standings[row] for row in rows], harmonised)
    cache: dict[tuple[str, Standing], tuple[str, list[str]]] = {}
    for name, standing in zip(indicators, standings, strict=True):
        if (name, standing) not in cache and name in references:
            cache[name, standing] = grade(
                standing, references[name], own=own[name], breaks=breaks.get(name, {}), accept=accepted
            )
    made = [
        cache.get(pair, ("", ["no row of its indicator to be set against"]))
        for pair in zip(indicators, standings, strict=True)
    ]
    shown = frame[keys].assign(grade=[one for one, _ in made], reasons=["; ".join(why) for _, why in made])
    for name in ("definition", "survey", "release", "eu", "geo_version", "flags"):
        shown[{"survey": "source", "flags": "flag"}.get(name, name)] = frame[name]
    notes = (
        ()
        if frame["survey"].ne("").any()
        else ("no figure names its source: A says that of the definition alone",)
    )
    return Comparability(shown, tuple(keys), references, notes)


def _rows(
    name: str, table: One, domain: str
) -> tuple[pd.DataFrame, list[str], Mapping[str, Mapping[str, int]]]:
    """Return the rows with what they say of their origin, the columns that name them, and known breaks."""
    frame, groups, provenance = _parts(table, domain)
    parts = ["domain", *(one for one in groups if one not in ("domain", "time", "indicator"))]
    out = pd.DataFrame({one: _text(frame, one) for one in parts})
    if name and "country" not in out:
        out.insert(0, "country", name)
    keys = [str(one) for one in out]
    facts = _facts(frame, out, provenance)
    for one in ("indicator", "time"):
        out[one] = _text(frame, one)
        if out[one].ne("").any():
            keys.append(one)
    return pd.concat([out, facts], axis=1), keys, known_breaks(out, provenance)


def _text(frame: pd.DataFrame, column: str) -> np.ndarray:
    if column not in frame:
        return np.full(len(frame), "", dtype=object)
    return labels(frame[column], keep_missing=True).fillna("").to_numpy(dtype=object)


def _facts(frame: pd.DataFrame, parts: pd.DataFrame, provenance: Mapping[str, Any]) -> pd.DataFrame:
    """Return what the rows of a table say, one column for each fact of a `Standing`."""
    countries = parts["country"] if "country" in parts else pd.Series("", index=parts.index)
    releases = {one: _release(provenance, one) for one in countries.unique()}

    def of_release(fact: str) -> np.ndarray:
        return countries.map({one: facts.get(fact, "") for one, facts in releases.items()}).to_numpy(object)

    definition, status, source = (_text(frame, one) for one in ("definition", "status", "source"))
    marked = np.array(
        [text if _MARK in text else more for text, more in zip(definition, status, strict=True)]
    )
    marks = {text: tuple(marks_in(pd.Series([text]))) for text in set(marked)}
    compositions = parts.apply(lambda column: column.map({text: composition(text) for text in set(column)}))
    named, levels = (
        compositions.agg("".join, axis=1).to_numpy(),
        parts.isin(_EU_LEVELS).any(axis=1).to_numpy(),
    )
    if "eu" in frame and not is_numeric_dtype(frame["eu"].dtype):  # a number is a covariate
        named = np.where(_text(frame, "eu") != "", _text(frame, "eu"), named)
    register, places = _text(frame, "method") == "register", _text(frame, "geo_version")
    unplaced = (places == "") & (_text(frame, "geo") != "")
    time = _text(frame, "time")
    years = {text: (years_of(pd.Series([text])) or (None,))[-1] for text in set(time)}
    return pd.DataFrame(
        {
            "definition": [text.partition(_MARK)[0] for text in definition],
            "unit": _text(frame, "unit"),
            "survey": np.where(register, "register", np.where(source != "", source, of_release("survey"))),
            "release": np.where(register, "", of_release("release")),
            "layout": np.where(register, "", of_release("layout")),
            "eu": np.where(named != "", named, np.where(levels, of_release("eu"), "")),
            "geo_version": np.where(unplaced, of_release("geo_version"), places),
            "flags": _text(frame, "flag"),
            "marks": [marks[text] for text in marked],
            "year": pd.Series([years[text] for text in time], dtype=object),
        }
    )


def _parts(table: One, domain: str) -> tuple[pd.DataFrame, tuple[str, ...], Mapping[str, Any]]:
    if isinstance(table, Result):
        rows = table.row_names()
        names = tuple(str(name) for name in rows)
        return table.estimates.frame, names, table.provenance.get("direct", {})
    if isinstance(table, DirectEstimates):
        units = labels(table.frame["indicator"]).map(dict(table.units)).fillna("")
        return table.frame.assign(unit=units.to_numpy()), table.by, table.provenance
    if isinstance(table, EstimateTable):
        return table.frame, table.groups, {}
    if not isinstance(table, pd.DataFrame):
        raise SaeSpecError(
            f"Tables of figures are graded, not {type(table).__name__}.",
            hint="Give fits, tables of estimates or frames; several as {'AT': table, 'DE': table}.",
        )
    if domain not in table:
        raise SaeSpecError(f"The frame has no column {domain!r}.", hint=f"It has {name_some(table, 20)}.")
    known = tuple(name for name in ("country", "citizen", "c_birth") if name in table)
    return table.reset_index(drop=True).assign(domain=table[domain].to_numpy()), known, {}


def _release(provenance: Mapping[str, Any], country: str) -> dict[str, str]:
    """Return survey, release, composition, places and layout of a table, or of a country in it."""
    exchanged = provenance.get("exchange", {}).get(country, {})
    made = {**provenance.get("release", {}), **exchanged.get("release", {})}
    if provenance.get("layout"):
        made["layout"] = provenance["layout"]
    return {name: str(value) for name, value in made.items()}


def _chosen(frame: pd.DataFrame, keys: Sequence[str], against: object) -> np.ndarray:
    if against is None:
        return np.ones(len(frame), dtype=bool)
    name = label_text(against)
    mask = np.zeros(len(frame), dtype=bool)
    for key in keys:
        mask |= frame[key].eq(name).to_numpy()
    if not mask.any():
        first = "country" if "country" in frame else "domain"
        raise SaeInputError(
            f"No row is of {name!r}.", hint=f"There are {name_some(frame[first].unique(), 15)}."
        )
    return mask


def _registered(indicator: str) -> tuple[str, str]:
    """Return the definition and the grade that the registry gives an indicator."""
    from sae.indicators import REGISTRY

    return (REGISTRY[indicator].definition, REGISTRY[indicator].grade) if indicator in REGISTRY else ("", "")


def _reference(rows: Sequence[Standing], harmonised: str) -> Standing:
    """Return what most rows say, fact by fact, at the newest year; the harmonised definition if there."""
    common = {
        name: Counter(value for row in rows if (value := getattr(row, name))).most_common(1)
        for name in ("definition", "unit", "survey", "release", "layout", "eu", "geo_version", "marks")
    }
    facts = {name: value[0][0] for name, value in common.items() if value}
    if any(row.definition == harmonised for row in rows if harmonised):
        facts["definition"] = harmonised
    if sum(1 for row in rows if row.marks == facts.get("marks", ())) * 2 <= len(rows):
        facts.pop("marks", None)
    years = [row.year for row in rows if row.year is not None]
    return Standing(**facts, year=max(years) if years else None)
