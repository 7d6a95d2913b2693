"""The report of a folder of results: its table, read again, and what its manifest says of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sae.auxiliary import open_areas
from sae.batch.estimate import Outcome
from sae.batch.outputs import read_record
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.publish import report
from sae.results import Result
from sae.tables import EstimateTable, labels

__all__ = ["report_outcome", "report_results"]


def report_outcome(outcome: Outcome, path: Path, source: str) -> Path:
    """Write the report of a run that was just made: of the fit, where there is one of these rows."""
    table, fit = outcome.table, outcome.fit
    data: Result | EstimateTable = table
    if isinstance(fit, Result) and fit.estimates["domain"].tolist() == table["domain"].tolist():
        data = replace(fit, estimates=table)
    spec = outcome.spec
    return report(data, path, title=spec.title, source=source, seed=spec.publish.seed)


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
    known = {"title": str(record.get("title", "")), "source": _sources(record.get("inputs", {}))}
    given = {name: value for name, value in options.items() if value not in (None, "")}
    seed = record.get("seed") if seed is None else seed
    called = None if names is None else _names(names)
    return report(table, out, seed=seed, names=called, **{**known, **given})


def _sources(inputs: Mapping[str, Any]) -> str:
    """Return the files of the run, those of the records first."""
    files = {str(of["file"]): name for name, of in inputs.items() if isinstance(of, Mapping) and "file" in of}
    records = [file for file, name in files.items() if name != "areas"]
    areas = [f"covariates of the areas {file}" for file, name in files.items() if name == "areas"]
    return ", ".join([*records, *areas])


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
