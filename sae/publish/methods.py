"""The method note of a table, as Markdown: what was estimated, how, by which rules, what it cannot say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sae._version import __version__
from sae.calls import answered
from sae.errors import SaeInputError
from sae.publish.notes import CONFIDENTIAL, NOT_TO_CONCLUDE, ROUNDING, indicator_labels
from sae.publish.rows import shown_rows
from sae.publish.showing import table_of
from sae.publish.table import published
from sae.quality.policy_text import policy_notes
from sae.results import Result
from sae.tables import EstimateTable, Origin, file_path, whole_file
from sae.tables.sheet_notes import flag_meaning, units_of, values_of

__all__ = ["method_note"]

_FEW = 5  # areas of which a sum would come near to telling the parts
_DIGITS = 3  # of a sum of records
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~])")
_ENDINGS = (".md", ".markdown")

Facts = list[tuple[str, str]]


@answered
def method_note(data: Result | EstimateTable, path: str | Path, *, title: str = "", source: str = "") -> Path:
    """Write the method note of a flagged fit or table: one Markdown file.

    It says what was estimated by which definition, the source, the model with its formula and reference, how
    errors and intervals were made, the benchmark, the policy with its legal base, the flags, what is
    withheld, what may not be concluded, and what makes the figures again. Of a row that may not appear it
    holds nothing; coefficients and checks of the fit, which rest on such rows too, stay in the office.

    Parameters
    ----------
    data : Result or EstimateTable
        Flagged. A table knows less of its model than the fit.
    path : str or Path
        The file, ending in ``.md``.
    title, source : str
        What it is about, and where the records come from.

    Returns
    -------
    Path

    Raises
    ------
    SaeInputError
        If rows were not judged by any policy, or the path ends in something else.
    SaeSpecError
        If `data` is neither a fit nor a table.

    Examples
    --------
    >>> rows = pd.DataFrame({"domain": ["A", "B"], "estimate": [0.61, 0.7], "se": 0.02, "unit": "share"})
    >>> table = sae.EstimateTable(rows.assign(policy="statcan", publishable=True, indicator="poverty"))
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = sae.publish.method_note(table, f"{folder}/note.md").read_text(encoding="utf-8")
    >>> text.splitlines()[:3]
    ['# How these figures were made', '', '## What was estimated']
    """
    path = file_path(path)
    if path.suffix.lower() not in _ENDINGS:
        raise SaeInputError(f"{path.name} does not end in .md.", hint="A method note is one Markdown file.")
    table = table_of(data)
    fit = data if isinstance(data, Result) else None
    shown = shown_rows(table)
    sections = {
        "What was estimated": _facts(_subject(table, shown)),
        "Where the figures come from": _facts(_origin(table, shown, fit, source)),
        "The model": _facts(_model(table, fit)) + _specification(fit),
        "How sure the figures are": _facts(_errors(table, fit)),
        "Benchmark": _facts(_benchmarks(table, fit)),
        "Which figures appear": _facts(_rules(table)) + _flags(table),
        "What may not be concluded": [f"- {text}" for text in NOT_TO_CONCLUDE],
        "To make them again": _facts(_again(table, fit)),
    }
    lines = [f"# {_plain(title) or 'How these figures were made'}"]
    for heading, content in sections.items():
        lines += ["", f"## {heading}", "", *(content or ["Not given."])]
    with whole_file(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    return path


def _plain(text: str) -> str:
    """Return a text in which nothing is a sign of Markdown or of HTML, on one line."""
    one_line = " ".join(str(text).split())
    return _SPECIAL.sub(r"\\\1", one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _facts(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- **{heading}**: {_plain(text)}" for heading, text in facts if text]


def _subject(table: EstimateTable, shown: np.ndarray) -> Facts:
    frame = table.frame
    return [
        ("Indicator", indicator_labels(table)),
        ("Definition", values_of(frame, "definition")),
        ("Unit", units_of(frame)),
        ("Period", values_of(frame, "time")),
        ("Areas", values_of(frame, "geo_version")),
        ("Groups", ", ".join(table.groups)),
        ("Rows", f"{len(frame):,}, of which {int(shown.sum()):,} have a figure"),
    ]


def _origin(table: EstimateTable, shown: np.ndarray, fit: Result | None, source: str) -> Facts:
    record: dict[str, Any] = {} if fit is None else dict(fit.provenance)
    direct = record.get("direct", {})
    release = ", ".join(f"{name}: {value}" for name, value in direct.get("release", {}).items())
    return [
        ("Source", source or str(direct.get("file", "")) or "not given"),
        ("Release", release),
        ("Sample", _sample(table, shown, () if fit is None else fit.spec.overlapping)),
        ("Variances of the direct estimates", str(direct.get("variance") or "")),
        ("Smoothing of the variances", str(direct.get("smoothing") or "")),
        *(
            (f"Covariate {_plain(name)}", Origin(**origin).text())
            for name, origin in record.get("covariates", {}).items()
        ),
    ]


def _sample(table: EstimateTable, shown: np.ndarray, again: Sequence[str]) -> str:
    """Return how many records the rows with a figure have together, too roughly to tell those of one.

    Rows of several indicators, and of columns that count the same persons `again`, have the same records:
    those of the set with most of them.
    """
    n = table.frame["n"][shown].dropna().astype(float)
    inside = n[n > 0]
    sets = inside.groupby([table.frame.loc[inside.index, name] for name in ("indicator", *again)], sort=False)
    sums = sets.sum()[sets.size() >= _FEW]
    if not len(sums):
        return ""
    total = sums.max()
    step = 10.0 ** max(np.floor(np.log10(total)) - _DIGITS + 1, 0)
    without = len(n) - len(inside)
    about = f"about {step * np.rint(total / step):,.0f} records"
    text = f"{about} in the {len(inside):,} rows with a figure and a sample"
    return text + (f"; {without:,} rows with a figure have no sample" if without else "")


def _model(table: EstimateTable, fit: Result | None) -> Facts:
    frame = table.frame
    facts = [
        ("Estimator", values_of(frame, "method")),
        ("Model", values_of(frame, "model")),
        ("Prior", values_of(frame, "prior")),
    ]
    if fit is not None:
        about = inspect.getdoc(type(fit.spec)) or ""
        transform = getattr(fit.spec, "transform", None)
        facts += [
            ("In a line", about.partition("\n")[0]),
            ("Transformation", str(transform) if transform else ""),
            ("Reference", _references(about)),
        ]
    return facts


def _references(text: str) -> str:
    """Return the references of a docstring."""
    part = re.search(r"^References\n-+\n(.*?)(?:\n\n\S|\Z)", text, re.DOTALL | re.MULTILINE)
    return part[1].strip() if part else ""


def _specification(fit: Result | None) -> list[str]:
    """Return the model file of a fit as a block of code."""
    if fit is None:
        return []
    text = str(fit.provenance["model"]).strip()
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return ["", f"{fence}toml", *text.splitlines(), fence]


def _errors(table: EstimateTable, fit: Result | None) -> Facts:
    return [
        ("Mean squared error", values_of(table.frame, "mse_method")),
        ("Intervals", values_of(table.frame, "interval")),
        ("Level", "" if fit is None else f"{100 * fit.spec.level:g} %"),
        ("Rounding", ROUNDING),
    ]


def _benchmarks(table: EstimateTable, fit: Result | None) -> Facts:
    if fit is None:
        factors = table.frame["benchmark_factor"].notna().any()
        return [("Benchmark", "The estimates were adjusted to known figures.")] if factors else []
    return [
        (
            f"Benchmark {number}",
            f"to {len(one.labels)} known figure{'s' * (len(one.labels) > 1)} by the method {one.method}; "
            "errors and intervals take it into account",
        )
        for number, one in enumerate(fit.benchmarks, 1)
    ] or [("Benchmark", "none")]


def _rules(table: EstimateTable) -> Facts:
    policies = [name for name in table.frame["policy"].unique() if name]
    return [*policy_notes(policies), ("Confidential", CONFIDENTIAL)]


def _flags(table: EstimateTable) -> list[str]:
    counts = published(table).frame["flag"].astype("object").value_counts().sort_index()
    rows: Sequence[str] = [
        f"| {_plain(str(flag)) or '(none)'} | {flag_meaning(str(flag))} | {count:,} |"
        for flag, count in counts.items()
    ]
    return ["", "| Flag | Meaning | Rows |", "|---|---|---:|", *rows]


def _again(table: EstimateTable, fit: Result | None) -> Facts:
    seed = None if fit is None else fit.provenance.get("seed")
    return [
        ("Software", f"sae {__version__}"),
        ("Run", values_of(table.frame, "run", 3)),
        ("Seed", "" if seed is None else str(seed)),
        ("Deterministic", "the same version, inputs and seed give the same figures, digit by digit"),
    ]
