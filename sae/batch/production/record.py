"""What a production gave, and the record of where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sae.auxiliary import AreaFile
from sae.batch.direct_table import NOT_PUBLISHED
from sae.batch.estimate import estimator, named_files
from sae.batch.outputs import hash_file, versions
from sae.batch.production.design import Design
from sae.batch.production.estimation import Estimation
from sae.batch.production.spec import ProductionFile
from sae.publish.rows import shown_rows

__all__ = ["ProductionOutcome", "map_files", "origin_of", "record_of"]


@dataclass(frozen=True, eq=False)
class ProductionOutcome:
    """What a production run gave.

    Attributes
    ----------
    design : Design
    estimation : Estimation
    warnings : tuple of str
    origin : mapping
        Inputs with their hashes, versions, seed: what the results come from.
    files : tuple of Path
        What was written, in alphabetical order.
    """

    design: Design
    estimation: Estimation
    warnings: tuple[str, ...]
    origin: Mapping[str, Any]
    files: tuple[Path, ...] = ()

    @property
    def lost(self) -> int:
        """Number of cells without an estimate that have records, or that nothing tells."""
        frame = self.estimation.table.frame
        withheld = frame["reason"].str.startswith(NOT_PUBLISHED).fillna(False)  # in the table it comes from
        return int((frame["estimate"].isna() & (frame["n"].fillna(1) > 0) & ~withheld).sum())

    @property
    def text(self) -> str:
        """The run in a few lines."""
        frame, ladder = self.estimation.table.frame, self.estimation.ladder
        estimated, open_ = frame["estimate"].notna(), frame["publishable"].fillna(False)
        lines = [f"{self.design.file.id}: {len(frame):,} cells, {int(estimated.sum()):,} with an estimate"]
        lines += [f"  publishable by {frame['policy'].iloc[0]}: {int(open_.sum()):,}"]
        taken = ladder[ladder["verdict"] == "accepted"].groupby("rung", sort=False).size()
        lines += [f"  {count:,} fits by {rung}" for rung, count in taken.items()]
        lines += [f"  not told: {what}: {reason}" for what, reason in self.design.untold.items()]
        if self.files:
            name = self.design.file.id
            public = int(shown_rows(self.estimation.table).sum())
            lines.append(
                f"for the office: {name}.csv; to publish: {name}.published.csv, with {public:,} figures"
            )
            lines.append(f"wrote to {self.files[0].parent}: {', '.join(path.name for path in self.files)}")
        return "\n".join(lines)


def origin_of(
    file: ProductionFile,
    design: Design,
    areas: AreaFile | None,
    registers: Mapping[str, Sequence[Path]],
) -> dict[str, Any]:
    """Return what the results come from: inputs with their hashes, versions, seed."""
    named = named_files(file.model_file(next(iter(file.production.indicators))), None)
    return {
        "spec": file.text,
        "inputs": {
            **{f"survey {name}": dict(survey.source) for name, survey in design.surveys.items()},
            **{f"direct {name}": dict(table.source) for name, table in design.published.items()},
            **({"areas": {"file": areas.name, "sha256": areas.sha256}} if areas is not None else {}),
            **{
                f"register {name}": {"files": [p.name for p in of], "sha256": [hash_file(p) for p in of]}
                for name, of in registers.items()
                if of
            },
            **named,
            **map_files(file),
        },
        "versions": versions(),
        "seed": file.production.seed,
    }


def map_files(file: ProductionFile) -> dict[str, dict[str, str]]:
    """Return name and hash of each map that a rung names."""
    maps = {}
    for k, ladder in enumerate(file.ladders, 1):
        for j, rung in enumerate(ladder.rung, 1):
            if rung.formula is None:
                continue
            model = estimator(file.model_file("indicator", rung=rung))
            path = getattr(getattr(model, "spatial", None), "map", None)
            if isinstance(path, Path):
                maps[f"map {k}.{j}"] = {"file": path.name, "sha256": hash_file(path)}
    return maps


def record_of(outcome: ProductionOutcome) -> dict[str, Any]:
    """Return what the manifest says of the results."""
    frame: pd.DataFrame = outcome.estimation.table.frame
    design = outcome.design
    return {
        "title": design.file.title,
        "run": frame["run"].iloc[0],
        "rows": len(frame),
        "rows_with_estimate": int(frame["estimate"].notna().sum()),
        "rows_publishable": int(frame["publishable"].fillna(False).sum()),
        "indicators": dict(design.served),
        "not_told": dict(design.untold),
        "design": {
            **{name: survey.design for name, survey in design.surveys.items()},
            **{name: table.design for name, table in design.published.items()},
        },
        "release": {name: dict(survey.release.facts) for name, survey in design.surveys.items()},
        "warnings": list(outcome.warnings),
        "log": [f"{name}: {note}" for name, survey in design.surveys.items() for note in survey.notes],
    }
