"""What is known of a file by its blocks, besides sums: labels, levels, counts, and what was said of them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sae.survey import Release
from sae.survey.levels import Unlisted

__all__ = ["Facts", "Labels"]


class Labels:
    """Codes of labels in the order of their first appearance, `names` being known from the start.

    Examples
    --------
    >>> labels = Labels()
    >>> labels.codes(["b", "a", "b"]).tolist(), labels.names
    ([0, 1, 0], ['b', 'a'])
    """

    def __init__(self, names: Iterable[Hashable] = ()) -> None:
        self.names: list[Any] = list(names)
        self._code: dict[Hashable, int] = {name: code for code, name in enumerate(self.names)}

    def codes(self, names: Iterable[Hashable]) -> np.ndarray:
        """Return the codes of labels, giving a new one to each that is not known yet."""
        out = []
        for name in names:
            code = self._code.get(name)
            if code is None:
                code = self._code[name] = len(self.names)
                self.names.append(name)
            out.append(code)
        return np.array(out, dtype=np.int64)


@dataclass(eq=False)
class Facts:
    """What the whole file is told by, gathered block by block.

    Attributes
    ----------
    records, blocks : int
    outside, inside, unknown : int
        Records of weight 0; in the subset; of which it is not known.
    levels : dict
        Column → level → whether a record that counts holds it.
    missing : dict
        (indicator, variable) → records of its universe without a value.
    no_value : dict
        Grouping column → records that count and have none.
    numbers_known : set of int
        Indicators of which some value is known.
    releases : dict
        Releases as the blocks have them; a dict for its order.
    notes : dict
        What harmonising said, with the number of blocks that said it.
    unlisted : dict
        Codes that became missing, by variable.
    repeats : int
        Records that repeat a person.
    repeated : tuple of str
        The first of these persons.
    fractions : set of int
        Columns of the design that hold numbers with fractions.
    """

    records: int = 0
    blocks: int = 0
    outside: int = 0
    inside: int = 0
    unknown: int = 0
    levels: dict[str, dict[Any, bool]] = field(default_factory=dict)
    missing: dict[tuple[int, str], int] = field(default_factory=dict)
    no_value: dict[str, int] = field(default_factory=dict)
    numbers_known: set[int] = field(default_factory=set)
    releases: dict[Release, None] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    unlisted: dict[str, Unlisted] = field(default_factory=dict)
    repeats: int = 0
    repeated: tuple[str, ...] = ()
    fractions: set[int] = field(default_factory=set)

    def merge(self, other: Facts) -> None:
        """Add the facts of later blocks."""
        for name in ("records", "blocks", "outside", "inside", "unknown", "repeats"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for column, levels in other.levels.items():
            self.see(column, levels)
        for name in ("missing", "no_value", "notes"):
            counts = getattr(self, name)
            for key, count in getattr(other, name).items():
                counts[key] = counts.get(key, 0) + count
        for one in other.unlisted.values():
            self.lose(one)
        self.releases |= other.releases
        self.repeated = self.repeated or other.repeated
        self.numbers_known |= other.numbers_known
        self.fractions |= other.fractions

    def lose(self, unlisted: Unlisted) -> None:
        """Note the codes of a variable that became missing."""
        known = self.unlisted.get(unlisted.variable)
        self.unlisted[unlisted.variable] = unlisted if known is None else known.with_later(unlisted)

    def see(self, column: str, levels: Mapping[Any, bool]) -> None:
        """Note the levels of a column, and whether a record that counts holds them."""
        known = self.levels.setdefault(column, {})
        for level, counts in levels.items():
            known[level] = known.get(level, False) or counts
