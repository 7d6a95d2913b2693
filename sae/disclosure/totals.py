"""Complete a table of the smallest cells: 0 where there is nobody, and every total of its hierarchies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sae.calls import answered
from sae.disclosure.hierarchy import Hierarchies, Hierarchy, totals_of
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import label_text, labels, pandas_frame, require, to_numbers

__all__ = ["with_totals"]


@answered
def with_totals(frame: pd.DataFrame, hierarchies: Hierarchies, columns: Sequence[str]) -> pd.DataFrame:
    """Return all cells of a table from its smallest ones: crossed labels without a row count 0.

    Parameters
    ----------
    frame : DataFrame
        One row per smallest cell; labels that are no total.
    hierarchies : mapping of str to mapping
        As in `protect`.
    columns : sequence of str
        The figures, which add up: numbers of persons, amounts.

    Returns
    -------
    DataFrame
        The dimensions and `columns`, in the order of the labels.

    Raises
    ------
    SaeInputError
        If the table holds a total already, a cell twice, or a part is missing.

    Examples
    --------
    >>> cells = pd.DataFrame({"area": ["A", "A", "B"], "sex": ["f", "m", "f"], "n": [3, 4, 5]})
    >>> sums = {"area": {"all": ["A", "B"]}, "sex": {"both": ["f", "m"]}}
    >>> table = sae.disclosure.with_totals(cells, sums, ["n"])
    >>> table[table["area"] == "all"]
      area   sex     n
    6  all  both  12.0
    7  all     f   8.0
    8  all     m   4.0
    """
    frame = pandas_frame(frame, "The cells")
    require(frame, [*hierarchies, *columns], "The table has")
    names = [*hierarchies]
    table = pd.DataFrame(
        {
            **{name: labels(frame[name]).astype(object) for name in names},
            **{c: to_numbers(frame, c) for c in columns},
        }
    )
    twice = table.duplicated(names)
    if twice.any():
        raise SaeInputError(
            f"{int(twice.sum())} cells occur more than once.", hint="Expected one row per cell."
        )
    crossed = pd.MultiIndex.from_product([sorted(table[name].unique()) for name in names], names=names)
    table = crossed.to_frame(index=False).merge(table, how="left", on=names).fillna(0.0)
    for name, hierarchy in hierarchies.items():
        table = _summed(table, names, name, hierarchy)
    return table.sort_values(names, ignore_index=True)


def _summed(table: pd.DataFrame, names: list[str], name: str, hierarchy: Hierarchy) -> pd.DataFrame:
    """Add the totals of one dimension, those of totals last."""
    pairs = totals_of(name, hierarchy)
    waiting = {label_text(whole): [label_text(part) for part in parts] for whole, parts in reversed(pairs)}
    known = set(table[name])
    there = [whole for whole in waiting if whole in known]
    if there:
        raise SaeInputError(
            f"The table holds {len(there)} totals of {name} already: {name_some(there)}.",
            hint="Give the smallest cells only.",
            column=name,
        )
    while waiting:
        ready = [whole for whole, parts in waiting.items() if known.issuperset(parts)]
        if not ready:
            _refuse_parts(name, waiting, known)
        for whole in ready:
            mine = table[table[name].isin(waiting.pop(whole))].assign(**{name: whole})
            table = pd.concat([table, mine.groupby(names, as_index=False).sum()])
            known.add(whole)
    return table


def _refuse_parts(name: str, waiting: Mapping[str, Sequence[str]], known: set[str]) -> None:
    lacking = [part for parts in waiting.values() for part in parts if part not in {*known, *waiting}]
    if not lacking:
        raise SaeSpecError(f"The hierarchy of {name} goes in a circle: {name_some(waiting)}.")
    raise SaeInputError(
        f"{len(lacking)} parts of {name} are not in the table: {name_some(lacking)}.",
        hint="Write labels alike, or add a row with 0.",
        areas=lacking,
        column=name,
    )
