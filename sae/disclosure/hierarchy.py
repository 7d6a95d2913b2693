"""Hierarchies of the dimensions of a table: which labels are sums of which others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import label_text, labels, require

__all__ = ["Dimension", "Hierarchies", "Hierarchy", "dimensions_of", "nested", "totals_of"]

Hierarchy = Mapping[str, Sequence[str]] | Sequence[tuple[str, Sequence[str]]]
Hierarchies = Mapping[str, Hierarchy]


@dataclass(frozen=True)
class Dimension:
    """A dimension of a table.

    Attributes
    ----------
    name : str
        Its column.
    labels : tuple of str
        All that occur, in the order of the alphabet.
    sums : tuple of (int, tuple of int)
        A label and the parts that make it up, by their places in `labels`.
    height : tuple of int
        0 for a label without parts, else one more than the highest of its parts.
    """

    name: str
    labels: tuple[str, ...]
    sums: tuple[tuple[int, tuple[int, ...]], ...]
    height: tuple[int, ...]


def nested(frame: pd.DataFrame, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return the hierarchy of codes that stand beside each other, such as nation, region and city.

    Parameters
    ----------
    frame : DataFrame
        One row per smallest unit, or more.
    columns : sequence of str
        From the largest to the smallest.

    Returns
    -------
    dict of str to list of str
        Each code above the smallest, and its parts.

    Raises
    ------
    SaeInputError
        If a column is absent, a code is missing, or a part lies in two units.

    Examples
    --------
    >>> areas = pd.DataFrame({"nation": "XA", "region": ["XA1", "XA1", "XA2"], "city": ["11", "12", "21"]})
    >>> sae.disclosure.nested(areas, ["nation", "region", "city"])
    {'XA': ['XA1', 'XA2'], 'XA1': ['11', '12'], 'XA2': ['21']}
    """
    require(frame, columns, "The areas have")
    codes = pd.DataFrame({name: labels(frame[name]) for name in columns})
    parts: dict[str, list[str]] = {}
    for upper, lower in pairwise(columns):
        pairs = codes[[upper, lower]].drop_duplicates().sort_values([upper, lower])
        twice = pairs.loc[pairs[lower].duplicated(), lower].unique()
        if len(twice):
            raise SaeInputError(
                f"{len(twice)} codes of {lower} lie in more than one {upper}: {name_some(twice)}.",
                hint="Every part belongs to one whole.",
                areas=twice,
                column=lower,
            )
        for whole, rows in pairs.groupby(upper, sort=True):
            parts.setdefault(str(whole), []).extend(map(str, rows[lower]))
    return parts


def dimensions_of(table: pd.DataFrame, hierarchies: Hierarchies) -> list[Dimension]:
    """Check hierarchies against the labels of a table, whose cells are text."""
    if not isinstance(hierarchies, Mapping) or not hierarchies:
        raise SaeSpecError(
            "The table has no dimensions.",
            hint='Give each column and its sums: {"sex": {"total": ["female", "male"]}, "year": {}}.',
        )
    return [_dimension(table[name], str(name), hierarchy) for name, hierarchy in hierarchies.items()]


def totals_of(name: str, hierarchy: Hierarchy) -> list[tuple[str, Sequence[str]]]:
    """Return the totals of a dimension and their parts, as they are given; refuse what is no such list."""
    pairs = list(hierarchy.items()) if isinstance(hierarchy, Mapping) else hierarchy
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(p, list | tuple) and len(p) == 2 for p in pairs
    ):
        raise SaeSpecError(
            f"The hierarchy of {name} is {hierarchy!r}.",
            hint='Give each total and its parts, {"total": ["female", "male"]}, or {} where there are none.',
        )
    return [(whole, parts) for whole, parts in pairs]


def _dimension(column: pd.Series, name: str, hierarchy: Hierarchy) -> Dimension:
    known = sorted(map(str, column.unique()))
    place = {label: k for k, label in enumerate(known)}
    sums = []
    for whole, parts in totals_of(name, hierarchy):
        total = label_text(whole)
        named = [label_text(part) for part in parts] if not isinstance(parts, str) else []
        if not named or len({total, *named}) <= len(named):
            raise SaeSpecError(
                f"The parts of {whole!r} in {name} are {parts!r}.",
                hint="Expected a list of different labels, without the whole itself.",
            )
        absent = [label for label in (total, *named) if label not in place]
        if absent:
            raise SaeInputError(
                f"{len(absent)} labels of the hierarchy of {name} are not in the table: {name_some(absent)}.",
                hint=f"It has {name_some(known)}. Write labels alike, or add the rows.",
                areas=absent,
                column=name,
            )
        sums.append((place[total], tuple(place[part] for part in named)))
    return Dimension(name, tuple(known), tuple(sums), _heights(name, known, sums))


def _heights(name: str, known: list[str], sums: list[tuple[int, tuple[int, ...]]]) -> tuple[int, ...]:
    """Return how many levels lie below each label; refuse labels that are part of themselves."""
    height = [0] * len(known)
    for _ in range(len(known) + 1):
        higher = [(whole, 1 + max(height[part] for part in parts)) for whole, parts in sums]
        moved = [(whole, level) for whole, level in higher if level > height[whole]]
        for whole, level in moved:
            height[whole] = max(height[whole], level)
        if not moved:
            return tuple(height)
    ring = [known[whole] for whole, _ in moved]
    raise SaeSpecError(
        f"The hierarchy of {name} goes in a circle: {name_some(dict.fromkeys(ring))}.",
        hint="A label cannot be a part of its own parts.",
    )
