"""Joins of tables by label: what does not match is named on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables.columns import require
from sae.tables.labels import joined_labels

__all__ = ["check_spelling", "join_by_name", "unmatched"]

_SEPARATOR = "\x1f"  # between the labels of a key: no label holds it


def join_by_name(
    left: pd.DataFrame,
    right: pd.DataFrame,
    on: str | Sequence[str],
    *,
    how: str = "left",
    names: tuple[str, str] = ("the left table", "the right table"),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join two tables on labels, many rows of `left` to one of `right`; what is left over comes beside.

    Labels are compared as `label_text` spells them, so that 9.0, 9 and a category 9 are one label; text and
    numbers are not mixed, for "01" and 1 may be two areas.

    Parameters
    ----------
    left, right : DataFrame
        `right` has at most one row per label.
    on : str or sequence of str
        The columns that hold the labels, in both tables.
    how : {"left", "exact", "outer"}
        Whose labels may stand alone: "left", every label of `left` must be in `right`, which may hold more;
        "exact", none; "outer", both.
    names : (str, str)
        What the tables are called in messages.

    Returns
    -------
    joined : DataFrame
        Rows in the order of `left`; columns of `left`, then those of `right`, missing where a label of `left`
        stands alone.
    left_over : DataFrame
        Rows of `right` whose labels `left` lacks, in their order.

    Raises
    ------
    SaeInputError
        If labels are missing, twice in `right`, of different kinds ("01" and 1), without any match, or
        unmatched where `how` forbids it. Labels that would match but for leading zeros, spaces or capitals
        are refused whatever `how` says.

    Examples
    --------
    >>> rates = pd.DataFrame({"region": ["BE10", "AT13"], "rate": [0.6, 0.7]})
    >>> register = pd.DataFrame({"region": ["AT13", "BE10", "ES63"], "population": [9, 11, 1]})
    >>> joined, left_over = sae.tables.join_by_name(rates, register, "region")
    >>> joined["population"].tolist(), left_over["region"].tolist()
    ([11, 9], ['ES63'])
    """
    on = [on] if isinstance(on, str) else list(on)
    if how not in ("left", "exact", "outer"):
        raise SaeSpecError(f"how={how!r} is no way to join.", hint='Use "left", "exact" or "outer".')
    for frame, name in zip((left, right), names, strict=True):
        require(frame, on, f"{name[:1].upper()}{name[1:]} {'have' if name.endswith('s') else 'has'}")
        _check_labels(frame, on, name)
    _check_kinds(left, right, on, names)
    clash = [name for name in right if name in left and name not in on]
    if clash:
        raise SaeInputError(
            f"The columns {name_some(clash)} stand in both {names[0]} and {names[1]}.",
            hint="Rename them in one of the two.",
            column=str(clash[0]),
        )
    ours, theirs = _keys(left, on), _keys(right, on)
    twice = _words(theirs[theirs.duplicated()].unique())
    if twice:
        raise SaeInputError(
            f"{len(twice)} labels of {' × '.join(on)} stand more than once in {names[1]}: "
            f"{name_some(twice)}.",
            hint="Keep one row per label.",
            areas=twice,
            column=on[0],
        )
    _check_matches(ours, theirs, on, how, names)
    rows = theirs.get_indexer(ours)
    beside = right.drop(columns=on).reset_index(drop=True)
    if (rows >= 0).all():
        taken = beside.take(rows).reset_index(drop=True)
    else:
        taken = beside.reindex(rows).reset_index(drop=True)  # -1 is in no index
    joined = pd.concat([left.reset_index(drop=True), taken], axis=1)
    return joined, right[~theirs.isin(ours)].reset_index(drop=True)


def check_spelling(
    left: pd.DataFrame, right: pd.DataFrame, on: Sequence[str], names: tuple[str, str]
) -> None:
    """Refuse tables that spell the same labels in different ways, column by column; none needs to match.

    Parameters
    ----------
    left, right : DataFrame
    on : sequence of str
        The columns that hold the labels, in both tables.
    names : (str, str)
        What the tables are called in messages.

    Raises
    ------
    SaeInputError
        If labels are missing, text in one table and numbers in the other, or differ only by zeros in front,
        spaces or capitals.

    Examples
    --------
    >>> one, other = pd.DataFrame({"a": ["AT13"]}), pd.DataFrame({"a": ["at13"]})
    >>> sae.tables.check_spelling(one, other, ["a"], ("lfs", "silc"))
    Traceback (most recent call last):
    ...
    sae.errors.SaeInputError: Labels of a: 1 only in lfs (AT13), 1 only in silc (at13). 'AT13' and 'at13' \
differ only by zeros in front, spaces or capitals.
    Write the codes alike in both tables; read them as text.
    """
    for frame, name in zip((left, right), names, strict=True):
        _check_labels(frame, on, name)
    _check_kinds(left, right, on, names)
    for column in on:
        _refuse_near(*_alone(_keys(left, [column]), _keys(right, [column])), [column], names)


def spelt_twice(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Return the labels of one column that differ only by zeros in front, spaces or capitals, in pairs.

    Examples
    --------
    >>> sae.tables.joins.spelt_twice(["01", "10", "1"])
    [('01', '1')]
    """
    seen: dict[str, str] = {}
    pairs = []
    for key in keys:
        first = seen.setdefault(_loose(key) or key, key)
        if first != key:
            pairs.append((first, key))
    return pairs


def unmatched(
    left: pd.DataFrame, right: pd.DataFrame, on: str | Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the labels of `left` that `right` lacks, and the labels of `right` that `left` lacks.

    Labels come as text in order of appearance, each once; those of several columns joined by " / ".

    Examples
    --------
    >>> sae.tables.unmatched(pd.DataFrame({"a": ["x", "y"]}), pd.DataFrame({"a": ["y", "z"]}), "a")
    (['x'], ['z'])
    """
    on = [on] if isinstance(on, str) else list(on)
    ours, theirs = _alone(_keys(left, on), _keys(right, on))
    return _words(ours), _words(theirs)


def _keys(frame: pd.DataFrame, on: Sequence[str]) -> pd.Index:
    return pd.Index(joined_labels(frame, on, separator=_SEPARATOR).to_numpy(dtype=object), dtype="object")


def _alone(ours: pd.Index, theirs: pd.Index) -> tuple[pd.Index, pd.Index]:
    first, second = ours.unique(), theirs.unique()
    return first[~first.isin(second)], second[~second.isin(first)]


def _words(keys: Iterable[str]) -> list[str]:
    return [key.replace(_SEPARATOR, " / ") for key in keys]


def _check_labels(frame: pd.DataFrame, on: Sequence[str], name: str) -> None:
    for column in on:
        empty = np.flatnonzero(frame[column].isna().to_numpy())
        if len(empty):
            raise SaeInputError(
                f"{len(empty)} rows of {name} have no {column}: row {name_some(empty + 1)}.",
                hint="Give every row its label, or take these rows out.",
                column=column,
            )


def _check_kinds(left: pd.DataFrame, right: pd.DataFrame, on: Sequence[str], names: tuple[str, str]) -> None:
    for column in on:
        values = [frame[column].astype("object").tolist() for frame in (left, right)]
        kinds = [{isinstance(value, str) for value in side} for side in values]
        mixed = [name for kind, name in zip(kinds, names, strict=True) if len(kind) > 1]
        if mixed:
            raise SaeInputError(
                f"{column} mixes text and numbers in {mixed[0]}.", hint="Make all of it text.", column=column
            )
        if kinds[0] and kinds[1] and kinds[0] != kinds[1]:
            sides = [
                f"{'text' if True in kind else 'numbers'} in {name} (such as {side[0]!r})"
                for kind, name, side in zip(kinds, names, values, strict=True)
            ]
            raise SaeInputError(
                f"{column} is {sides[0]} but {sides[1]}.",
                hint="Read codes as text in both, so that leading zeros stay.",
                column=column,
            )


def _loose(key: str) -> str:
    return _SEPARATOR.join(part.strip().casefold().lstrip("0") for part in key.split(_SEPARATOR))


def _both(left_only: pd.Index, right_only: pd.Index, on: Sequence[str], names: tuple[str, str]) -> str:
    """Say which labels each table has alone."""
    sides = [
        f"{len(alone)} only in {name}" + (f" ({name_some(_words(alone))})" if len(alone) else "")
        for alone, name in zip((left_only, right_only), names, strict=True)
    ]
    return f"Labels of {' × '.join(on)}: {sides[0]}, {sides[1]}."


def _refuse_near(
    left_only: pd.Index, right_only: pd.Index, on: Sequence[str], names: tuple[str, str]
) -> None:
    near = {_loose(key): key for key in right_only}
    pairs = [_words([key, near[_loose(key)]]) for key in left_only if _loose(key) in near]
    if pairs:
        raise SaeInputError(
            f"{_both(left_only, right_only, on, names)} {pairs[0][0]!r} and {pairs[0][1]!r} differ only by "
            "zeros in front, spaces or capitals.",
            hint="Write the codes alike in both tables; read them as text.",
            areas=_words(left_only),
            column=on[0],
        )


def _check_matches(
    ours: pd.Index, theirs: pd.Index, on: Sequence[str], how: str, names: tuple[str, str]
) -> None:
    left_only, right_only = _alone(ours, theirs)
    _refuse_near(left_only, right_only, on, names)
    areas, both = _words(left_only), _both(left_only, right_only, on, names)
    if len(areas) == ours.nunique() and len(right_only):
        raise SaeInputError(
            f"No label matches. {both}",
            hint="Check that both use the same codes.",
            areas=areas,
            column=on[0],
        )
    if (areas and how != "outer") or (len(right_only) and how == "exact"):
        raise SaeInputError(
            both,
            hint=f"Add the missing labels to {names[1] if areas else names[0]}.",
            areas=areas,
            column=on[0],
        )
