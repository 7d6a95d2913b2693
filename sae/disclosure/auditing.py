"""Audit a table with hidden cells: what an attacker can tell of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sae.calls import answered
from sae.disclosure.attack import HiddenCells, hidden_cells
from sae.disclosure.hierarchy import Hierarchies
from sae.disclosure.linked import LinkedTable, linked_table
from sae.disclosure.protection import STATUS, truth_values
from sae.disclosure.rules import PrimaryRules, Requirement, sensitive_cells
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.random.streams import generator, seed_of
from sae.tables import labels, pandas_frame, require, to_numbers

__all__ = ["Audit", "attack_table", "audit", "hidden_rows"]

_EXACT = 1e-6  # an interval narrower than this is a figure
_ADDED = ("low", "high", "width", "needed", "fails", "computed")
_MOST = 5000  # linked hidden cells of which each is attacked


@dataclass(frozen=True, eq=False)
class Audit:
    """What an attacker learns of a table.

    Attributes
    ----------
    intervals : DataFrame
        One row per hidden cell that was attacked: its dimensions, ``low``, ``high``, ``width``, ``needed``,
        ``fails`` and ``computed`` (whether the interval is a single figure).
    open : DataFrame
        Rows of the table that the primary rules would hide and that are published.
    scope : str
        Whether all hidden cells were attacked or a sample, in words.
    n_cells, n_hidden : int
        Cells of the table, and hidden ones.
    """

    intervals: pd.DataFrame
    open: pd.DataFrame
    scope: str
    n_cells: int
    n_hidden: int

    @property
    def failing(self) -> pd.DataFrame:
        """The hidden cells whose interval is too narrow."""
        return self.intervals[self.intervals["fails"]]

    @property
    def passed(self) -> bool:
        """Whether no interval is too narrow and no sensitive cell is published."""
        return not len(self.failing) and not len(self.open)

    def __str__(self) -> str:
        computed = int((self.intervals["fails"] & self.intervals["computed"]).sum())
        lines = [
            f"{self.n_hidden:,} of {self.n_cells:,} cells are hidden. {self.scope}",
            f"{len(self.failing):,} of {len(self.intervals):,} can be told more closely than is allowed, "
            f"{computed:,} of them exactly; {len(self.open):,} sensitive cells are published.",
        ]
        named = [" / ".join(map(str, row)) for row in self.failing.iloc[:, : -len(_ADDED)].head(6).to_numpy()]
        if named:
            lines.append(f"The first: {name_some(named)}.")
        return "\n".join(lines)


@answered
def audit(
    table: pd.DataFrame,
    hierarchies: Hierarchies,
    *,
    value: str,
    status: str | None = None,
    rules: PrimaryRules | None = None,
    persons: str | None = None,
    households: str | None = None,
    largest: Sequence[str] = (),
    known: str | None = None,
    whole: bool = False,
    limit: int = _MOST,
    seed: int | np.random.Generator | None = None,
) -> Audit:
    """Attack a table: the smallest and the largest figure that each hidden cell can have.

    The attacker knows the published figures and the sums, and that no figure is negative. Hidden cells that
    no sum links fall into parts that are attacked one by one.

    Parameters
    ----------
    table : DataFrame
        One row per cell, hidden ones too; the figure of a hidden cell may be missing.
    hierarchies, value, persons, households, largest
        As in `sae.disclosure.protect`.
    status : str, optional
        Column that says which cells are hidden: "published", "primary" or "secondary", or truth values (True:
        hidden). Without it the hidden cells are those whose figure is missing.
    rules : PrimaryRules, optional
        What is required of hidden cells. Where the table holds all figures the rules are applied to it; else
        every hidden cell is judged as a count. Without rules a cell fails that can be computed.
    known : str, optional
        Column of truth values: figures that the attacker knows although the table hides them.
    whole : bool
        Whether the attacker uses that figures are whole numbers: integer programmes, slower.
    limit : int
        In a part with more hidden cells than this, a sample of so many is attacked.
    seed : int or Generator, optional
        Of that sample.

    Returns
    -------
    Audit

    Raises
    ------
    SaeSpecError
        If a rule lacks its column, or a sample is needed and there is no seed.
    SaeInputError
        If the table is not as `sae.disclosure.protect` takes it, or its figures contradict each other.

    Examples
    --------
    >>> table = pd.DataFrame({"area": ["A", "B", "C", "all"], "n": [None, 50, 60, 113]})
    >>> found = sae.disclosure.audit(
    ...     table,
    ...     {"area": {"all": ["A", "B", "C"]}},
    ...     value="n",
    ...     rules=sae.disclosure.PrimaryRules(persons=5),
    ... )
    >>> print(found)
    1 of 4 cells are hidden. All were attacked, in 1 part of at most 1 cells.
    1 of 1 can be told more closely than is allowed, 1 of them exactly; 0 sensitive cells are published.
    The first: A.
    """
    frame = pandas_frame(table, "The cells")
    require(frame, [*hierarchies, value], "The table has")
    gone = hidden_rows(frame, value, status)
    linked = linked_table(frame, hierarchies, value, gone)
    hidden = gone[linked.rows]
    required, sensitive = _required(linked, rules, persons, households, largest)
    if known is not None:
        hidden = _less_known(linked, hidden, truth_values(frame, known)[linked.rows])
    return attack_table(
        linked, [*hierarchies], hidden, required, sensitive, whole=whole, limit=limit, seed=seed
    )


def attack_table(
    table: LinkedTable,
    dimensions: Sequence[str],
    hidden: np.ndarray,
    required: Requirement,
    sensitive: np.ndarray,
    *,
    whole: bool = False,
    limit: int = _MOST,
    seed: int | np.random.Generator | None = None,
) -> Audit:
    """Attack the hidden cells of a linked table, and compare what is told of them with what is required."""
    clash = [name for name in dimensions if name in _ADDED]
    if clash:
        raise SaeInputError(
            f"A dimension bears the name of a column of the answer: {name_some(clash)}.",
            hint="Rename it.",
            column=clash[0],
        )
    parts = hidden_cells(table.sums, table.values, hidden)
    low, high = table.values.copy(), table.values.copy()
    attacked = np.zeros(len(hidden), bool)
    for part, wanted in zip(parts, _wanted(parts, table, limit, seed), strict=True):
        low[part.cells], high[part.cells] = part.intervals(wanted, whole=whole)
        attacked[part.cells[wanted]] = True
    cells = np.flatnonzero(attacked)
    cells = cells[np.argsort(table.rows[cells])]
    width = np.round(high - low, 6)[cells]
    intervals = (
        table.frame[[*dimensions]]
        .iloc[table.rows[cells]]
        .assign(
            low=np.round(low[cells], 6),
            high=np.round(high[cells], 6),
            width=width,
            needed=required.width[cells],
            fails=required.fails(low, high, table.values)[cells],
            computed=width <= _EXACT,
        )
    )
    left = np.sort(table.rows[np.flatnonzero(sensitive & ~hidden)])
    return Audit(
        intervals, table.frame.iloc[left], _scope(parts, attacked, limit), len(hidden), int(hidden.sum())
    )


def hidden_rows(frame: pd.DataFrame, value: str, status: str | None) -> np.ndarray:
    """Return which rows of a table are hidden, by their status or, without one, a missing figure."""
    if status is None:
        return np.isnan(to_numbers(frame, value))
    require(frame, [status], "The table has")
    if pd.api.types.is_bool_dtype(frame[status].dtype):
        return truth_values(frame, status)
    text = labels(frame[status])
    odd = text[~text.isin(STATUS)].unique()
    if len(odd):
        raise SaeInputError(
            f"{status} holds {name_some(map(repr, odd))}.",
            hint=f"Expected {', '.join(STATUS)}, or True for hidden cells and False for others.",
            column=status,
        )
    return text.ne(STATUS[0]).to_numpy(dtype=bool)


def _required(
    table: LinkedTable,
    rules: PrimaryRules | None,
    persons: str | None,
    households: str | None,
    largest: Sequence[str],
) -> tuple[Requirement, np.ndarray]:
    """Return what is required of hidden cells, and the cells that the rules find sensitive."""
    n = len(table.values)
    nothing = np.zeros(n)
    if rules is not None and np.isfinite(table.values).all():
        found = sensitive_cells(table, rules, persons=persons, households=households, largest=largest)
        return found.required, found.cells
    least = 0 if rules is None else rules.persons
    if least is None or persons is not None:
        raise SaeSpecError(
            "The rules need the figures of the hidden cells, which the table does not hold.",
            hint="Give the working table with its status, or PrimaryRules(persons=10) for a table of counts.",
        )
    if rules is None:
        return Requirement(np.full(n, 2 * _EXACT), np.full(n, np.inf), nothing), np.zeros(n, bool)
    small = (table.values < least) & (rules.zeros | (table.values > 0))
    return Requirement(np.full(n, float(least)), np.full(n, float(least)), nothing), small


def _less_known(table: LinkedTable, hidden: np.ndarray, known: np.ndarray) -> np.ndarray:
    gone = known & ~np.isfinite(table.values)
    if gone.any():
        names = [table.names[k] for k in np.flatnonzero(gone)]
        raise SaeInputError(f"{len(names)} known cells have no figure: {name_some(names)}.", areas=names)
    return hidden & ~known


def _wanted(
    parts: list[HiddenCells], table: LinkedTable, limit: int, seed: int | np.random.Generator | None
) -> list[np.ndarray]:
    """Return which cells of each part are attacked: all, or a sample of the large ones."""
    large = [part for part in parts if len(part.cells) > limit]
    if large and seed is None:
        raise SaeSpecError(
            f"{len(large)} parts have more than {limit:,} hidden cells, of which a sample is attacked.",
            hint="Give seed=1, or any number; or raise limit.",
        )
    start = 0 if seed is None else seed_of(seed)
    wanted = []
    for part in parts:
        order = np.arange(len(part.cells))
        if len(order) > limit:
            order = generator(start, "audit", table.names[part.cells[0]]).permutation(order)[:limit]
        wanted.append(np.isin(np.arange(len(part.cells)), order))
    return wanted


def _scope(parts: list[HiddenCells], attacked: np.ndarray, limit: int) -> str:
    if not parts:
        return "None was attacked."
    sizes = [len(part.cells) for part in parts]
    where = f"in {len(parts):,} part{'s' if len(parts) > 1 else ''} of at most {max(sizes):,} cells"
    if max(sizes) <= limit:
        return f"All were attacked, {where}."
    large = sum(size > limit for size in sizes)
    return (
        f"{int(attacked.sum()):,} were attacked, {where}: all in parts of up to {limit:,} cells, a sample of "
        f"{limit:,} in each of the {large} larger ones."
    )
