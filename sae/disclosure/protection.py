"""Protect a table: which figures may be published, which may not, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.disclosure.hierarchy import Hierarchies
from sae.disclosure.linked import LinkedTable, linked_table
from sae.disclosure.rules import PrimaryRules, Sensitive, sensitive_cells
from sae.disclosure.suppression import Suppression, suppress
from sae.errors import SaeInputError, SaeSpecError, name_some

__all__ = ["STATUS", "protect", "refuse_answered", "truth_values", "with_status"]

STATUS = ("published", "primary", "secondary")
_ADDED = ("status", "reason", "needed", "width")


@answered
def protect(
    frame: pd.DataFrame,
    hierarchies: Hierarchies,
    *,
    value: str,
    rules: PrimaryRules,
    persons: str | None = None,
    households: str | None = None,
    largest: Sequence[str] = (),
    known: str | None = None,
    cost: str | None = None,
) -> pd.DataFrame:
    """Decide which cells of a table are published, so that no hidden one can be told from the others.

    Cells that a primary rule hides come first. Others are hidden with them until an attacker, who knows all
    published figures, the sums between them and that no figure is negative, can tell no hidden cell more
    closely than is required: by Gaussian elimination (Langsrud 2024), then by linear programmes where an
    interval is still too narrow. The same table gives the same answer, whatever the order of its rows.

    Parameters
    ----------
    frame : DataFrame
        One row per cell, with totals: a column for every dimension and one of figures.
    hierarchies : mapping of str to mapping
        Every dimension, and its sums: each total with the labels that make it up. A dimension whose labels
        make up nothing (years, indicators) has none: ``{}``. Where a total has several breakdowns
        (citizenship and birth), give pairs:
        ``[("total", ["native", "foreign"]), ("total", ["born here", "abroad"])]``.
        `nested` makes the hierarchy of codes that stand beside each other.
    value : str
        The figures: counts, or sums of amounts that are not negative, before they are rounded.
    rules : PrimaryRules
    persons, households : str, optional
        Columns with the numbers behind each figure. Without `persons` the figures are numbers of persons.
    largest : sequence of str
        Columns with the largest contributions, from the largest down, for ``dominance`` and ``p``.
    known : str, optional
        Column of truth values: figures that everybody knows, such as those of registers; they are never
        hidden.
    cost : str, optional
        Column of what is lost with each cell; the square root of its figure by default, with the cells that
        are part of no total far dearer. Dear cells are hidden last.

    Returns
    -------
    DataFrame
        The rows as they are, and ``status`` ("published", "primary", "secondary"), ``reason`` (in words; with
        figures, so not for publication), ``needed`` (the width that the attacker's interval must have) and
        ``width`` (that it has; infinite without bounds).

    Raises
    ------
    SaeSpecError
        If hierarchies or rules contradict themselves, or a rule lacks its column.
    SaeInputError
        If a cell, a total, a part or a figure is missing, occurs twice or is negative, parts do not make up
        their total, or a cell cannot be protected because of the known ones.

    Notes
    -----
    What is required of a hidden cell: in a table of counts an interval at least as wide as the least number
    of persons, or one that lies at it or above (then the cell is seen to be none of the small ones). In a
    table of amounts, of sensitive cells only: the amount of so many average contributors of the cell; by
    dominance and the p % rule, an interval that reaches beyond the figure by the Handbook's upper protection
    level, to both sides.

    A contributor who is alone in its cell, and so knows a hidden figure, is not thought of as an attacker.
    Cells of 0 that are not sensitive stay published wherever that is possible: that nobody is there, many
    may know, so that a hidden 0 protects little.

    Examples
    --------
    >>> table = pd.DataFrame(
    ...     {
    ...         "area": ["A", "A", "A", "B", "B", "B", "all", "all", "all"],
    ...         "sex": ["f", "m", "all"] * 3,
    ...         "n": [3, 40, 43, 50, 60, 110, 53, 100, 153],
    ...     }
    ... )
    >>> sums = {"area": {"all": ["A", "B"]}, "sex": {"all": ["f", "m"]}}
    >>> rules = sae.disclosure.PrimaryRules(persons=5)
    >>> done = sae.disclosure.protect(table, sums, value="n", rules=rules)
    >>> done[["area", "sex", "n", "status", "width"]].head(5)
      area  sex   n     status  width
    0    A    f   3    primary   43.0
    1    A    m  40  secondary   43.0
    2    A  all  43  published    0.0
    3    B    f  50  secondary   43.0
    4    B    m  60  secondary   43.0
    >>> done["reason"][0], done["reason"][1]
    ('3 persons, fewer than 5', 'protects A / f, which could be computed')
    """
    table = linked_table(frame, hierarchies, value)
    refuse_answered(table.frame)
    sensitive = sensitive_cells(table, rules, persons=persons, households=households, largest=largest)
    always = None if known is None else truth_values(table.frame, known)[table.rows]
    done = suppress(table, sensitive, cost=None if cost is None else _costs(table, cost), known=always)
    return with_status(table, sensitive, done)


def with_status(table: LinkedTable, sensitive: Sensitive, done: Suppression) -> pd.DataFrame:
    """Return the rows of a table with what was decided on each cell."""
    status = np.where(sensitive.cells, STATUS[1], np.where(done.hidden, STATUS[2], STATUS[0])).astype(object)
    added = {
        "status": status,
        "reason": np.array([_reason(table, sensitive, done, k) for k in range(len(status))], dtype=object),
        "needed": np.where(done.hidden, sensitive.required.width, 0.0),
        "width": np.where(done.hidden, np.round(done.high - done.low, 6), 0.0),
    }
    return table.frame.assign(**{name: table.in_rows(column) for name, column in added.items()})


def refuse_answered(frame: pd.DataFrame) -> None:
    """Refuse a table with columns of the names that the answer adds."""
    clash = [name for name in _ADDED if name in frame]
    if clash:
        raise SaeInputError(
            f"The table has the columns {name_some(clash)} already, which the answer adds.",
            hint="Rename or drop them.",
            column=clash[0],
        )


def _reason(table: LinkedTable, sensitive: Sensitive, done: Suppression, cell: int) -> str:
    if sensitive.reasons[cell] or not done.hidden[cell]:
        return sensitive.reasons[cell]
    how = "which would be known too closely" if done.repaired[cell] else "which could be computed"
    return f"protects {table.names[done.partner[cell]]}, {how}"


def truth_values(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column of truth values; refuse anything else, and missing ones."""
    if (
        column not in frame
        or not pd.api.types.is_bool_dtype(frame[column].dtype)
        or frame[column].isna().any()
    ):
        raise SaeInputError(
            f"{column} is no column of truth values.", hint="Give True or False in every row.", column=column
        )
    return frame[column].to_numpy(dtype=bool)


def _costs(table: LinkedTable, column: str) -> np.ndarray:
    cost = table.column(column)
    if not (np.isfinite(cost) & (cost > 0)).all():
        raise SaeSpecError(
            f"cost={column!r} holds costs that are missing, 0 or negative.", hint="Give each cell > 0."
        )
    return cost
