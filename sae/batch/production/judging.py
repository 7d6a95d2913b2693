"""The rows of a production as a table that its policy has judged."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sae.batch.estimate import with_breaks
from sae.batch.production.registers import WITHOUT_SAMPLE
from sae.batch.production.spec import ProductionFile
from sae.quality import assess
from sae.tables import EstimateTable
from sae.tables.columns import ESTIMATE_COLUMNS

__all__ = ["judged", "marked"]


def judged(frame: pd.DataFrame, file: ProductionFile) -> EstimateTable:
    """Return the table of rows, every one judged by the policy, its own reasons added."""
    why = frame["why"].fillna("").to_numpy(dtype=object)
    doubts = (
        frame["doubts"].fillna("").to_numpy(dtype=object) if "doubts" in frame else np.full(len(frame), "")
    )
    groups = ("level", *file.production.grouping)
    kept = [name for name in frame if name in ESTIMATE_COLUMNS or name in groups]
    table = EstimateTable(frame[kept], groups)
    verdicts = []
    for doubt in dict.fromkeys(doubts):
        rows = np.flatnonzero(doubts == doubt)
        verdicts.append(
            assess(
                table.frame.iloc[rows],
                file.publish.policy,
                doubts=[doubt] if doubt else [],
            )
        )
    verdict = pd.concat(verdicts).sort_index()
    outside = why == WITHOUT_SAMPLE
    verdict.loc[outside, ["flag", "reliability", "reason"]] = ""
    verdict["publishable"] = verdict["publishable"].where(~outside)
    reason = verdict["reason"].fillna("").to_numpy(dtype=object)
    verdict["reason"] = ["; ".join(filter(None, pair)) for pair in zip(why, reason, strict=True)]
    return table.assign(**{str(name): verdict[name] for name in verdict})


def marked(table: EstimateTable, breaks: Mapping[str, Mapping[str, int]]) -> EstimateTable:
    """Mark the rows of indicators that were accepted across a break."""
    frame = table.frame
    for name, years in breaks.items():
        rows = (frame["indicator"] == name).to_numpy()
        own = with_breaks(EstimateTable(frame[rows].reset_index(drop=True), table.groups), years)
        for column in ("flag", "reason"):
            frame.loc[rows, column] = own[column].to_numpy()
    return EstimateTable(frame, table.groups)
