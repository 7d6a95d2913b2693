"""The report of a folder of results: its table, read again, and what its manifest says of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary import open_areas
from sae.batch.estimate import Outcome
from sae.batch.outputs import input_names, read_record
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.publish import report
from sae.publish.report_catalogue import catalogue
from sae.publish.report_compared import met_means
from sae.publish.report_page import Looks, check_ending, write_report
from sae.publish.report_rows import report_rows
from sae.publish.rows import shown_rows
from sae.results import Result
from sae.tables import EstimateTable, labels

__all__ = ["fit_or_table", "national_figures", "report_outcome", "report_results"]


def fit_or_table(outcome: Outcome) -> Result | EstimateTable:
    """Return the fit of a run that was just made, if it has the rows of the table; else the table."""
    table, fit = outcome.table, outcome.fit
    if isinstance(fit, Result) and fit.estimates["domain"].tolist() == table["domain"].tolist():
        return replace(fit, estimates=table)
    return table


def report_outcome(outcome: Outcome, path: Path, source: str) -> Path:
    """Write the report of a run that was just made."""
    spec = outcome.spec
    return report(fit_or_table(outcome), path, title=spec.title, source=source, seed=spec.publish.seed)


def report_results(
    folder: Path,
    out: Path,
    *,
    model: str | None = None,
    indicators: Sequence[str] = (),
    periods: Sequence[str] = (),
    level: str | None = None,
    seed: int | None = None,
    names: Path | None = None,
    **options: Any,
) -> Path:
    """Write the report of a folder of results.

    Parameters
    ----------
    folder : Path
        Results of `sae run`, of a model file or a production file.
    out : Path
        The file, ending in ``.html``.
    model : str, optional
        Which run, where the folder has several.
    indicators, periods : sequence of str
        By default all.
    level : str, optional
        Of a production; by default all, and the reader chooses.
    seed : int, optional
        Of the ranks; by default that of the run.
    names : Path, optional
        CSV whose first two columns are the codes of the areas and their names.
    **options
        As of `sae.publish.report`.

    Raises
    ------
    SaeInputError, SaeSpecError
        If the folder has no results, they were changed since, or a choice is not in them.
    """
    identifier, record = read_record(folder, model, (".parquet",))
    table = EstimateTable.read(folder / f"{identifier}.parquet")
    for column, chosen in (("indicator", indicators), ("time", periods), ("level", [level] if level else [])):
        table = _chosen(table, column, chosen)
    words = catalogue(str(options.get("language") or "en"))
    source = input_names(record.get("inputs", {}), areas=words.text("where_areas"))
    known = {"title": str(record.get("title", "")), "source": source}
    given = {name: value for name, value in options.items() if value not in (None, "")}
    seed = record.get("seed") if seed is None else seed
    called = None if names is None else _names(names)
    check_ending(out)
    cut = {name: given.pop(name, None) for name in ("area", "national")}
    rows = report_rows(table, names=called, seed=seed, met=_met(record.get("national", ())), **cut)
    return write_report(table, rows, out, Looks(**{**known, **given}))


def national_figures(outcome: Outcome) -> list[dict[str, Any]]:
    """Return the known means that the run was benchmarked to and that give no hidden row away.

    Each with the number of its rows and what they have in common, by which a report finds them again.
    """
    fit, table = outcome.fit, outcome.table
    if fit is None or not fit.benchmarks:
        return []
    size = len(fit.estimates)
    frame = table.frame.iloc[:size].reset_index(drop=True)
    fit, shown = replace(fit, estimates=replace(table, frame=frame)), shown_rows(table)[:size]
    out = []
    for rows, figure in met_means(fit, shown).items():
        own = frame.iloc[list(rows)]
        names = [name for name in dict.fromkeys(("indicator", "time", *table.groups)) if name in own]
        common = {name: labels(own[name]).iloc[0] for name in names if own[name].nunique() == 1}
        out.append({"figure": figure, "rows": len(rows), "common": common})
    return out


def _met(figures: Sequence[Mapping[str, Any]]) -> Callable[[pd.DataFrame], float | None]:
    """Return what finds the known figure of the rows of a selection."""

    def met(rows: pd.DataFrame) -> float | None:
        for one in figures:
            same = all(
                name in rows and labels(rows[name]).eq(value).all() for name, value in one["common"].items()
            )
            if same and one["rows"] == len(rows):
                return float(one["figure"])
        return None

    return met


def _names(path: Path) -> dict[str, str]:
    frame = open_areas(path).cells
    if frame.shape[1] < 2:
        raise SaeInputError(f"{path.name} has one column.", hint="Two are needed: codes and names.")
    codes, called = (labels(frame.iloc[:, k]).tolist() for k in (0, 1))
    return dict(zip(codes, called, strict=True))


def _chosen(table: EstimateTable, column: str, wanted: Sequence[str]) -> EstimateTable:
    if not wanted:
        return table
    if column not in table.frame:
        raise SaeSpecError(f"The results have no {column} to choose.", hint=f"Leave --{column} out.")
    values = table.frame[column].astype(str)
    lost = [value for value in wanted if value not in set(values)]
    if lost:
        raise SaeSpecError(
            f"The results have no {column} {name_some(lost)}.",
            hint=f"They have {name_some(values.unique(), 20)}.",
        )
    return replace(table, frame=table.frame[values.isin(list(wanted))])
