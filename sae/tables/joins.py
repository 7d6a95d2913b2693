"""Joins of tables by label: what does not match is named on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, SaeSpecError, name_some

__all__ = ["join_by_name", "unmatched"]


def join_by_name(
    left: pd.DataFrame,
    right: pd.DataFrame,
    on: str | Sequence[str],
    *,
    how: str = "left",
    names: tuple[str, str] = ("the left table", "the right table"),
) -> pd.DataFrame:
    """Join two tables on labels, many rows of `left` to one of `right`.

    Parameters
    ----------
    left, right : DataFrame
        `right` has at most one row per label.
    on : str or sequence of str
        The columns that hold the labels, in both tables.
    how : {"left", "exact", "outer"}
        Whose labels may stand alone: "left", every label of `left` must be in `right`, which may hold more
        (those rows are left out); "exact", none; "outer", both (rows of `right` alone follow at the end).
    names : (str, str)
        What the tables are called in messages.

    Returns
    -------
    DataFrame
        Rows in the order of `left`; columns of `left`, then those of `right`.

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
    >>> join_by_name(rates, register, "region")["population"].tolist()
    [11, 9]
    """
    on = [on] if isinstance(on, str) else list(on)
    if how not in ("left", "exact", "outer"):
        raise SaeSpecError(f"how={how!r} is no way to join.", hint='Use "left", "exact" or "outer".')
    for frame, name in zip((left, right), names, strict=True):
        _check_labels(frame, on, name)
    _check_kinds(left, right, on, names)
    clash = [name for name in right if name in left and name not in on]
    if clash:
        raise SaeInputError(
            f"The columns {name_some(clash)} stand in both {names[0]} and {names[1]}.",
            hint="Rename them in one of the two.",
            column=str(clash[0]),
        )
    twice = right.loc[right.duplicated(on), on].drop_duplicates()
    if len(twice):
        raise SaeInputError(
            f"{len(twice)} labels of {' × '.join(on)} stand more than once in {names[1]}: "
            f"{name_some(_words(twice))}.",
            hint="Keep one row per label.",
            areas=_words(twice),
            column=on[0],
        )
    left_only, right_only = unmatched(left, right, on)
    _check_matches(left, on, left_only, right_only, how, names)
    # merge keys of one kind: categories and text dtypes differ by table
    keys = [f"\0{position}" for position in range(len(on))]
    coded = left.reset_index(drop=True).assign(
        **{key: _plain(left[name]) for key, name in zip(keys, on, strict=True)}
    )
    other = right.drop(columns=on).assign(
        **{key: _plain(right[name]) for key, name in zip(keys, on, strict=True)}
    )
    joined = coded.merge(other, on=keys, how="left").drop(columns=keys)
    if how != "outer" or not right_only:
        return joined
    alone = right[[label in set(right_only) for label in _labels(right, on)]]
    alone = alone.astype(
        {name: left[name].dtype for name in on if not isinstance(left[name].dtype, pd.CategoricalDtype)}
    )
    return pd.concat([joined, alone], ignore_index=True)[list(joined.columns)]


def unmatched(
    left: pd.DataFrame, right: pd.DataFrame, on: str | Sequence[str]
) -> tuple[list[object], list[object]]:
    """Return the labels of `left` that `right` lacks, and the labels of `right` that `left` lacks.

    Labels come in order of appearance, each once; over several columns a label is a tuple.

    Examples
    --------
    >>> unmatched(pd.DataFrame({"a": ["x", "y"]}), pd.DataFrame({"a": ["y", "z"]}), "a")
    (['x'], ['z'])
    """
    on = [on] if isinstance(on, str) else list(on)
    ours, theirs = dict.fromkeys(_labels(left, on)), dict.fromkeys(_labels(right, on))
    return [label for label in ours if label not in theirs], [label for label in theirs if label not in ours]


def _plain(column: pd.Series) -> np.ndarray:
    return column.astype("object").to_numpy()


def _labels(frame: pd.DataFrame, on: Sequence[str]) -> list[object]:
    columns = [_plain(frame[name]) for name in on]
    return columns[0].tolist() if len(columns) == 1 else list(zip(*columns, strict=True))


def _words(frame: pd.DataFrame) -> list[str]:
    return [_word(label) for label in _labels(frame, [str(name) for name in frame])]


def _word(label: object) -> str:
    return " / ".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _check_labels(frame: pd.DataFrame, on: Sequence[str], name: str) -> None:
    for column in on:
        if column not in frame:
            raise SaeInputError(
                f"{name[:1].upper()}{name[1:]} has no column {column!r}; it has {name_some(frame, 12)}.",
                column=column,
            )
        empty = np.flatnonzero(frame[column].isna().to_numpy())
        if len(empty):
            raise SaeInputError(
                f"{len(empty)} rows of {name} have no {column}: row {name_some(empty + 1)}.",
                hint="Give every row its label, or take these rows out.",
                column=column,
            )


def _check_kinds(left: pd.DataFrame, right: pd.DataFrame, on: Sequence[str], names: tuple[str, str]) -> None:
    for column in on:
        kinds = [{isinstance(value, str) for value in _plain(frame[column])} for frame in (left, right)]
        mixed = [name for kind, name in zip(kinds, names, strict=True) if len(kind) > 1]
        examples = [repr(_plain(frame[column])[0]) if len(frame) else "" for frame in (left, right)]
        if mixed:
            raise SaeInputError(
                f"{column} mixes text and numbers in {mixed[0]}.", hint="Make all of it text.", column=column
            )
        if kinds[0] and kinds[1] and kinds[0] != kinds[1]:
            words = ["text" if True in kind else "numbers" for kind in kinds]
            raise SaeInputError(
                f"{column} is {words[0]} in {names[0]} (such as {examples[0]}) but {words[1]} in {names[1]} "
                f"(such as {examples[1]}).",
                hint="Read codes as text in both, so that leading zeros stay.",
                column=column,
            )


def _loose(label: object) -> str:
    parts = label if isinstance(label, tuple) else (label,)
    return "\0".join(str(part).strip().casefold().lstrip("0") for part in parts)


def _check_matches(
    left: pd.DataFrame,
    on: Sequence[str],
    left_only: list[object],
    right_only: list[object],
    how: str,
    names: tuple[str, str],
) -> None:
    sides = [
        f"{len(labels)} only in {name}" + (f" ({name_some(map(_word, labels))})" if labels else "")
        for labels, name in zip((left_only, right_only), names, strict=True)
    ]
    both = f"Labels of {' × '.join(on)}: {sides[0]}, {sides[1]}."
    areas = [_word(label) for label in left_only]
    near = {_loose(label): label for label in right_only}
    pairs = [(label, near[_loose(label)]) for label in left_only if _loose(label) in near]
    if pairs:
        raise SaeInputError(
            f"{both} {_word(pairs[0][0])!r} and {_word(pairs[0][1])!r} differ only by zeros in front, "
            "spaces or capitals.",
            hint="Write the codes alike in both tables; read them as text.",
            areas=areas,
            column=on[0],
        )
    if len(left_only) == len(set(_labels(left, on))) and right_only:
        raise SaeInputError(
            f"No label matches. {both}", hint="Check that both use the same codes.", areas=areas, column=on[0]
        )
    if (left_only and how != "outer") or (right_only and how == "exact"):
        raise SaeInputError(
            both,
            hint=f"Add the missing labels to {names[1] if left_only else names[0]}.",
            areas=areas,
            column=on[0],
        )
