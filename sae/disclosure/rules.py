"""Primary rules: which cells may not be published by themselves, and how far off an attacker must stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sae.disclosure.linked import LinkedTable
from sae.errors import SaeInputError, SaeSpecError, name_some

__all__ = ["PrimaryRules", "Requirement", "Sensitive", "rules_of", "sensitive_cells"]

_EQUAL = 1e-9  # rounding in sums of contributions


class _Policy(Protocol):
    @property
    def rules(self) -> Iterable[Any]: ...

    @property
    def name(self) -> str: ...


@dataclass(frozen=True)
class PrimaryRules:
    """Rules by which a cell is sensitive; it is hidden as soon as one of them applies.

    Parameters
    ----------
    persons : int, optional
        The least number of persons (records, contributors) behind a published cell.
    households : int, optional
        The least number of households.
    dominance : (int, float), optional
        (n, k): the n largest contributions may not exceed the share k of the total, such as (1, 0.75).
    p : float, optional
        The p % rule as a share, such as 0.1: the second largest contributor, who knows its own contribution,
        may not be able to tell the largest to within p of it.
    zeros : bool
        Whether cells of nobody are sensitive too: where a total is known, a 0 tells something of everybody.

    Raises
    ------
    SaeSpecError
        If no rule is given, or a limit is out of its range.

    Notes
    -----
    Hundepool et al. (2024), Handbook on Statistical Disclosure Control, 2nd edition, chapters 4 and 5.

    Examples
    --------
    >>> sae.disclosure.PrimaryRules(persons=10, households=5).persons
    10
    """

    persons: int | None = None
    households: int | None = None
    dominance: tuple[int, float] | None = None
    p: float | None = None
    zeros: bool = False

    def __post_init__(self) -> None:
        if all(rule is None for rule in (self.persons, self.households, self.dominance, self.p)):
            raise SaeSpecError(
                "No primary rule is given.",
                hint="Give persons=10, households=5, dominance=(1, 0.75) or p=0.1, or several.",
            )
        for name in ("persons", "households"):
            least = getattr(self, name)
            if least is not None and not (isinstance(least, (int, np.integer)) and least >= 2):
                raise SaeSpecError(
                    f"{name}={least!r} is no least number.", hint="Give a whole number of 2 or more."
                )
        if self.dominance is not None and not _is_dominance(self.dominance):
            raise SaeSpecError(
                f"dominance={self.dominance!r}.", hint="Give (n, k) with a share k: (1, 0.75) for 75 %."
            )
        if self.p is not None and not 0 < self.p < 1:
            raise SaeSpecError(f"p={self.p!r}.", hint="Give a share: 0.1 for 10 %.")
        if self.zeros and self.persons is None:
            raise SaeSpecError("zeros=True needs persons=, the width at which a 0 is safe.")

    @property
    def contributions(self) -> int:
        """How many of the largest contributions the rules look at."""
        return max(self.dominance[0] if self.dominance else 0, 2 if self.p else 0)


def _is_dominance(rule: Any) -> bool:
    pair = isinstance(rule, (tuple, list)) and len(rule) == 2
    return bool(pair and isinstance(rule[0], (int, np.integer)) and rule[0] >= 1 and 0 < rule[1] < 1)


@dataclass(frozen=True, eq=False)
class Requirement:
    """What the attacker's interval [low, high] of a hidden cell must keep to; arrays of shape (n_cells,).

    Attributes
    ----------
    width : ndarray of float
        high - low is at least this ...
    safe : ndarray of float
        ... unless low is at least this: a cell seen to be no small one.
    margin : ndarray of float
        The interval reaches this far to both sides of the true figure (down to 0 at most).
    """

    width: np.ndarray
    safe: np.ndarray
    margin: np.ndarray

    def of(self, cells: np.ndarray) -> Requirement:
        """Return what is required of some cells, by their places."""
        return Requirement(self.width[cells], self.safe[cells], self.margin[cells])

    def fails(self, low: np.ndarray, high: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the cells whose interval is too narrow; a margin needs the true figure."""
        close = 1e-6 * np.maximum(1.0, self.width)
        narrow = (high - low < self.width - close) & (low < self.safe - close)
        known = np.isfinite(values)
        true = np.where(known, values, 0.0)
        above = high < true + self.margin - close
        below = low > np.maximum(true - self.margin, 0.0) + close
        return narrow | (known & (self.margin > 0) & (above | below))


@dataclass(frozen=True, eq=False)
class Sensitive:
    """The cells that a primary rule hides, why, and what hidden cells require.

    Attributes
    ----------
    cells : ndarray of bool, shape (n_cells,)
    reasons : tuple of str
        "" where no rule applies.
    required : Requirement
        Of every cell, should it be hidden.
    """

    cells: np.ndarray
    reasons: tuple[str, ...]
    required: Requirement


def rules_of(policy: _Policy, **further: Any) -> PrimaryRules:
    """Return the primary rules of a publication policy: its least n for reasons of confidentiality.

    Parameters
    ----------
    policy : Policy
        Of `sae.quality.load_policy`.
    **further
        Rules that a policy does not hold: households, dominance, p, zeros.

    Raises
    ------
    SaeSpecError
        If the policy has no such rule, and no further one is given.

    Examples
    --------
    >>> sae.disclosure.rules_of(sae.quality.load_policy("eurostat_lfs"), households=2)
    PrimaryRules(persons=4, households=2, dominance=None, p=None, zeros=False)
    """
    least = [
        rule.suppress_below
        for rule in policy.rules
        if rule.measure == "n" and rule.purpose == "confidentiality" and rule.suppress_below
    ]
    if not least and not further:
        raise SaeSpecError(
            f"The policy {policy.name} has no rule of confidentiality on n.",
            hint='Give it one: {measure = "n", suppress_below = 10, purpose = "confidentiality"}.',
        )
    return PrimaryRules(**{"persons": int(np.ceil(max(least))) if least else None, **further})


def sensitive_cells(
    table: LinkedTable,
    rules: PrimaryRules,
    *,
    persons: str | None = None,
    households: str | None = None,
    largest: Sequence[str] = (),
) -> Sensitive:
    """Apply primary rules to the cells of a table; see `sae.disclosure.protect`."""
    values, n_cells = table.values, len(table.values)
    width, margin = np.zeros(n_cells), np.zeros(n_cells)
    safe = np.full(n_cells, np.inf)
    reasons: list[list[str]] = [[] for _ in range(n_cells)]
    for kind, least, column in (
        ("persons", rules.persons, persons),
        ("households", rules.households, households),
    ):
        if least is None:
            continue
        if kind == "households" and column is None:
            raise SaeSpecError(
                "The rule on households needs their numbers.", hint='Name the column: households="hh".'
            )
        counts = _persons(values) if column is None else _counts(table, column)
        few = (counts > 0) & (counts < least)
        if kind == "persons" and rules.zeros:
            few |= counts == 0
        for k in np.flatnonzero(few):
            reasons[k].append(f"{counts[k]:g} {kind}, fewer than {least}")
        if column is None:  # a table of counts: whatever is hidden is hidden as a small cell would be
            width = np.where((counts > 0) | few, float(least), 0.0)  # a 0 that is not sensitive, all may know
            safe[:] = least
        else:
            width = np.maximum(width, np.where(few, least * _mean(values, counts), 0.0))
    if rules.contributions:
        tops = _contributions(table, rules.contributions, largest)
        for need, words in _concentration(values, tops, rules):
            above = need > _EQUAL * np.maximum(values, 1.0)
            margin = np.maximum(margin, np.where(above, need, 0.0))
            for k in np.flatnonzero(above):
                reasons[k].append(words)
    width = np.maximum(width, margin + np.minimum(margin, values))
    return Sensitive(
        np.array([bool(reason) for reason in reasons]),
        tuple("; ".join(reason) for reason in reasons),
        Requirement(width, safe, margin),
    )


def _persons(values: np.ndarray) -> np.ndarray:
    """Return figures that count persons themselves."""
    if (values % 1 != 0).any():
        raise SaeInputError(
            f"The rule on persons needs their numbers: {int((values % 1 != 0).sum())} figures are not whole.",
            hint='Name the column of the numbers behind amounts and weighted figures: persons="n".',
        )
    return values


def _counts(table: LinkedTable, column: str) -> np.ndarray:
    counts = table.column(column)
    bad = ~(counts >= 0) | ((counts == 0) & (table.values > 0))
    if bad.any():
        cells = [f"{table.names[k]} ({counts[k]:g})" for k in np.flatnonzero(bad)]
        raise SaeInputError(
            f"{column} is missing, negative, or 0 beside a figure in {len(cells)} cells: {name_some(cells)}.",
            hint="Give the number behind every cell.",
            areas=cells,
            column=column,
        )
    return counts


def _mean(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean amount behind each cell; that of the largest cell where a cell has none."""
    top = int(np.argmax(values))
    overall = values[top] / counts[top] if counts[top] else 1.0
    return np.where((values > 0) & (counts > 0), values / np.maximum(counts, 1.0), overall)


def _contributions(table: LinkedTable, count: int, columns: Sequence[str]) -> np.ndarray:
    """Return the largest contributions, shape (n_cells, count), from the largest down."""
    if isinstance(columns, str) or len(columns) < count:
        raise SaeSpecError(
            f"The rules look at the {count} largest contributions, but largest={columns!r}.",
            hint='Name the columns from the largest down: largest=["first", "second"].',
        )
    tops = np.column_stack([table.column(name) for name in columns])
    sizes = np.maximum(table.values, 1.0) * (1.0 + _EQUAL)
    bad = ~(tops >= 0).all(axis=1) | (np.diff(tops, axis=1) > 0).any(axis=1) | (tops.sum(axis=1) > sizes)
    if bad.any():
        cells = [table.names[k] for k in np.flatnonzero(bad)]
        raise SaeInputError(
            f"The largest contributions ({name_some(columns)}) are missing, negative, not in descending "
            f"order or exceed the figure in {len(cells)} cells: {name_some(cells)}.",
            hint="Give those of every cell, 0 where there are fewer contributors.",
            areas=cells,
            column=columns[0],
        )
    return tops


def _concentration(values: np.ndarray, tops: np.ndarray, rules: PrimaryRules) -> list[tuple[np.ndarray, str]]:
    """Return how far above the figure the attacker must stay by each rule, and its words.

    The upper protection levels of the Handbook: (x1 + ... + xn) / k - X, and p x1 - (X - x1 - x2).
    """
    needs = []
    if rules.dominance is not None:
        n, k = rules.dominance
        words = (
            f"the {n} largest make up more than {k:.4g} of it"
            if n > 1
            else f"one makes up more than {k:.4g} of it"
        )
        needs.append((tops[:, :n].sum(axis=1) / k - values, words))
    if rules.p is not None:
        rest = np.maximum(values - tops[:, 0] - tops[:, 1], 0.0)
        needs.append(
            (
                rules.p * tops[:, 0] - rest,
                f"the second largest could tell the largest to within {rules.p:.4g}",
            )
        )
    return needs
