"""A result as a workbook: its estimates, what the model learnt, and the notes that a reader needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from sae.quality.policy_text import policy_notes
from sae.results.record import FitTables
from sae.tables import EstimateTable, Origin
from sae.tables.sheet_formats import Sheet
from sae.tables.sheet_notes import columns_sheet, flags_sheet, notes_sheet, table_notes

if TYPE_CHECKING:
    from sae.quality import Benchmark

__all__ = ["fit_notes", "result_sheets"]


def result_sheets(
    title: str, table: EstimateTable, tables: FitTables, notes: Sequence[tuple[str, str]]
) -> list[Sheet]:
    """Return the sheets of a result, the estimates first.

    Parameters
    ----------
    title : str
    table : EstimateTable
    tables : FitTables
    notes : sequence of (str, str)
        Heading and text, beside what the table itself says.
    """
    policies = [name for name in table.frame["policy"].fillna("").unique() if name]
    known = [note for note in table_notes(table.frame) if note[0] != "Policy"]
    components = tables.variance_components
    if isinstance(components, pd.Series):
        components = components.rename("figure").rename_axis("component").to_frame()
    learnt = {
        "coefficients": tables.coefficients.reset_index(),
        "variance components": components.reset_index(),
        "diagnostics": _plain(tables.diagnostics),
        "residuals": tables.residuals.reset_index(drop=True),
    }
    return [
        Sheet("estimates", table.frame),
        *(Sheet(name, frame) for name, frame in learnt.items() if len(frame.columns)),
        notes_sheet([("Content", title), *known, *notes, *policy_notes(policies)]),
        columns_sheet(table.frame, table.groups),
        flags_sheet(table.frame),
    ]


def fit_notes(
    record: Mapping[str, Any], level: float, benchmarks: Sequence[Benchmark]
) -> list[tuple[str, str]]:
    """Return heading and text of how the model was specified and where its data come from.

    Parameters
    ----------
    record : mapping
        The provenance of a result.
    level : float
        Of its intervals.
    benchmarks : sequence of Benchmark
    """
    direct = record.get("direct", {})
    notes = [
        ("Specification", str(record["model"]).strip()),
        ("Level of the intervals", f"{100 * level:g} %"),
        ("Source", str(direct.get("file", ""))),
        ("Release", ", ".join(f"{name}: {value}" for name, value in direct.get("release", {}).items())),
        *(
            (f"Covariate {name}", Origin(**origin).text())
            for name, origin in record.get("covariates", {}).items()
        ),
        *(("Direct estimates", text) for text in direct.get("log", ())),
        ("Seed", "" if record["seed"] is None else str(record["seed"])),
        *(("Benchmark", f"{len(one.labels)} targets by {one.method}") for one in benchmarks),
    ]
    return [(heading, text) for heading, text in notes if text]


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index is a column where it holds labels."""
    return frame.reset_index(drop=frame.index.names == [None])
