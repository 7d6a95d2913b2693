"""The sheets beside a table: what it is about, what its columns hold, what its flags mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from sae._version import __version__
from sae.errors import name_some
from sae.tables.labels import label_text
from sae.tables.sheet_formats import Sheet

__all__ = [
    "columns_sheet",
    "flag_meaning",
    "flags_sheet",
    "notes_sheet",
    "table_notes",
    "units_of",
    "values_of",
]

COLUMNS: Mapping[str, str] = {
    "indicator": "What is estimated.",
    "definition": "Definition of the indicator, with its version.",
    "unit": "Unit of the figures. Shares lie between 0 and 1; a spreadsheet shows them as percentages.",
    "geo": "Code of the area.",
    "geo_version": "Version of the codes of the areas.",
    "time": "Period.",
    "domain": "The area, or area and group, that the row is about.",
    "n": "Records of the sample in the domain.",
    "n_eff": "Size of a simple random sample with the same variance.",
    "df": "Degrees of freedom of the variance.",
    "direct": "Direct estimate: from the records of the domain alone.",
    "direct_se": "Standard error of the direct estimate.",
    "direct_cv": "Coefficient of variation of the direct estimate: its standard error over it.",
    "estimate": "The estimate.",
    "variance": "Design variance of the direct estimate, as estimated.",
    "vardir": "Design variance that a model uses: smoothed, where `smoothing` says so.",
    "variance_method": "How the design variance was estimated.",
    "smoothing": "How the design variance was smoothed.",
    "deff": "Design effect: the variance over that of a simple random sample of the same size.",
    "status": "ok, or why the row is less than that.",
    "mse": "Mean squared error of the estimate.",
    "se": "Standard error: the square root of the mean squared error.",
    "cv": "Coefficient of variation: the standard error over the estimate.",
    "ci_low": "Lower end of the interval.",
    "ci_high": "Upper end of the interval.",
    "interval": "How the interval was made, and its level.",
    "gamma": "Weight of the direct estimate in the model's estimate; the rest is the regression's.",
    "in_sample": "Whether the domain has a usable direct estimate.",
    "benchmark_factor": "What the benchmark multiplied the estimate by.",
    "reliability": "Class by the policy.",
    "flag": "Mark of the figure: see the sheet “flags”.",
    "publishable": "Whether the policy lets the row be published; empty where it could not judge.",
    "reason": "Why the row is marked or withheld.",
    "policy": "Publication policy that judged the row.",
    "method": "Estimator.",
    "mse_method": "How the mean squared error was estimated.",
    "prior": "Prior distributions, of a Bayesian fit.",
    "model": "The model, by its formula or its name.",
    "run": "Digest of version, model and data: the same in every run on the same input.",
}
_MARKS = {
    "e": "estimated with a model",
    "u": "low reliability: use with care",
    "b": "break in the series: not to be compared across it",
}
_WITHHELD = {
    ":c": "withheld: confidential",
    ":u": "withheld: not reliable enough",
    ":": "no figure",
}


def values_of(frame: pd.DataFrame, column: str, limit: int = 12) -> str:
    """Return the distinct texts of a column in a line, "" where there are none."""
    if column not in frame:
        return ""
    texts = [label_text(value) for value in frame[column].dropna().unique()]
    return name_some([text for text in texts if text], limit)


def units_of(frame: pd.DataFrame) -> str:
    """Return the units of the figures in a line, and of which indicators each is where they have several.

    Examples
    --------
    >>> from sae.tables.sheet_notes import units_of
    >>> units_of(pd.DataFrame({"indicator": ["mean", "gini"], "unit": ["", "share"]}))
    'as in the records (mean); share (gini)'
    """
    if not {"unit", "indicator"} <= {*frame}:
        return values_of(frame, "unit")
    units = frame["unit"].fillna("")
    if units.nunique() <= 1:
        return values_of(frame, "unit")
    parts = frame["indicator"].groupby(units, sort=False).unique()
    return "; ".join(f"{unit or 'as in the records'} ({name_some(names)})" for unit, names in parts.items())


def table_notes(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Return heading and text of what the columns of an estimate or direct table say of all its rows.

    Examples
    --------
    >>> from sae.tables.sheet_notes import table_notes
    >>> frame = pd.DataFrame({"domain": ["A", "B"], "indicator": "employment_rate", "time": "2024"})
    >>> table_notes(frame)[:3]
    [('Rows', '2'), ('Indicator', 'employment_rate'), ('Period', '2024')]
    """
    headings = {
        "indicator": "Indicator",
        "definition": "Definition",
        "unit": "Unit",
        "geo_version": "Codes of the areas",
        "time": "Period",
        "method": "Method",
        "model": "Model",
        "variance_method": "Design variance",
        "smoothing": "Smoothing of the variances",
        "mse_method": "Mean squared error",
        "interval": "Interval",
        "prior": "Prior",
        "policy": "Policy",
        "run": "Run",
    }
    rows = f"{len(frame):,}"
    if "in_sample" in frame:
        rows += f", {int(frame['in_sample'].fillna(False).sum()):,} of them with a direct estimate"
    texts = {name: units_of(frame) if name == "unit" else values_of(frame, name) for name in headings}
    notes = [("Rows", rows), *((text, texts[name]) for name, text in headings.items())]
    return [(heading, text) for heading, text in notes if text]


def notes_sheet(notes: Iterable[tuple[str, str]]) -> Sheet:
    """Return the sheet of what a reader must know, headings with texts; those without a text are left out."""
    rows = [(heading, text) for heading, text in notes if text]
    rows.append(("Made with", f"sae {__version__}"))
    return Sheet("notes", pd.DataFrame(rows, columns=["about", "text"], dtype="string"), wrapped=True)


def columns_sheet(
    frame: pd.DataFrame, groups: Sequence[str] = (), more: Mapping[str, str] | None = None
) -> Sheet:
    """Return the sheet that says what every column holds; `groups` make the domains, `more` goes before."""
    known = {**COLUMNS, **dict.fromkeys(groups, "Group that the rows are about."), **(more or {})}
    rows = [(name, known.get(name, "")) for name in map(str, frame.columns)]
    return Sheet("columns", pd.DataFrame(rows, columns=["column", "text"], dtype="string"), wrapped=True)


def flag_meaning(flag: str) -> str:
    """Return what a flag means in words.

    Examples
    --------
    >>> from sae.tables.sheet_notes import flag_meaning
    >>> flag_meaning("eu")
    'estimated with a model; low reliability: use with care'
    """
    for code, text in _WITHHELD.items():
        if flag.startswith(code):
            return "; ".join([text, *(_MARKS[letter] for letter in flag[len(code) :] if letter in _MARKS)])
    return "; ".join(_MARKS.get(letter, letter) for letter in flag) or "direct estimate"


def flags_sheet(frame: pd.DataFrame) -> Sheet:
    """Return the sheet of the flags that rows have, what they mean, and how many rows have them."""
    counts = frame["flag"].fillna("").astype("object").value_counts().sort_index()
    meanings = [flag_meaning(str(flag)) for flag in counts.index]
    table = pd.DataFrame({"flag": list(counts.index), "text": meanings, "rows": counts.to_numpy()})
    return Sheet("flags", table.astype({"flag": "string", "text": "string"}), wrapped=True)
