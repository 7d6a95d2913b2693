"""The notes of a published table: what everybody may know of how its figures were made."""

from __future__ import annotations

import numpy as np

from sae.indicators import REGISTRY
from sae.quality.policy_text import policy_notes
from sae.tables import EstimateTable
from sae.tables.sheet_notes import table_notes, values_of

__all__ = [
    "COLUMN_TEXTS",
    "CONFIDENTIAL",
    "NOT_TO_CONCLUDE",
    "ROUNDING",
    "indicator_labels",
    "published_notes",
]

ROUNDING = (
    "Shares are rounded to one decimal of their percentage, other figures to three digits; to one less where "
    "the standard error is above ten units of the last, or is not known. Intervals are rounded outwards."
)
CONFIDENTIAL = (
    "A row whose own records are confidential has no figure, whatever the policy says of a model's."
)
NOT_TO_CONCLUDE = (
    "Where intervals overlap, the order of areas may be chance.",
    "An area without a figure is neither high nor low.",
    "A figure marked e leans on a model: an area unlike all others may be more unlike than shown.",
    "A difference is no cause, and no figure says anything about single persons.",
    "A change between periods needs a test of its own; across a break (b) periods are not compared.",
)
COLUMN_TEXTS = {
    "estimate": "The figure, rounded; “:” where it may not appear.",
    "ci_low": "Lower end of the interval, rounded down.",
    "ci_high": "Upper end of the interval, rounded up.",
    "reason": "Why there is no figure.",
}


def published_notes(
    table: EstimateTable, shown: np.ndarray, *, title: str = "", source: str = ""
) -> list[tuple[str, str]]:
    """Return heading and text of what a reader needs beside the published rows of a table.

    Nothing in them depends on a figure that is not shown.
    """
    frame = table.frame
    known = [note for note in table_notes(frame) if note[0] not in ("Rows", "Policy", "Indicator")]
    policies = [name for name in frame["policy"].fillna("").unique() if name]
    return [
        ("Title", title),
        ("Source", source),
        ("Indicator", indicator_labels(table)),
        ("Groups", ", ".join(table.groups)),
        ("Rows", f"{len(frame):,}, {int(shown.sum()):,} of them with a figure"),
        *known,
        *policy_notes(policies),
        ("Confidential", CONFIDENTIAL),
        ("Rounding", ROUNDING),
        *(("Do not conclude", text) for text in NOT_TO_CONCLUDE),
    ]


def indicator_labels(table: EstimateTable) -> str:
    """Return the indicators of a table, each with its label where it is one of the registry."""
    names = [name for name in table.frame["indicator"].fillna("").unique() if name]
    if len(names) > 12:
        return values_of(table.frame, "indicator")
    return "; ".join(f"{REGISTRY[name].label} ({name})" if name in REGISTRY else str(name) for name in names)
