"""What changed between two tables of estimates: figures, verdicts and suppressions, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.errors import SaeInputError, name_some
from sae.publish.table import UNJUDGED
from sae.tables import ESTIMATE_COLUMNS, EstimateTable, check_spelling, joined_labels
from sae.tables.columns import typed

__all__ = ["COLUMNS", "FIGURES", "MEANINGS", "METHODS", "VERDICTS", "differences"]

_KEYS = ("indicator", "geo", "time", "domain")
_ORIGIN = ("model", "run")  # they name the result and are no part of it: the manifests tell of its origin
_COMPARED = [name for name in ESTIMATE_COLUMNS if name not in (*_KEYS, *_ORIGIN)]
FIGURES = [name for name in _COMPARED if ESTIMATE_COLUMNS[name] in ("int", "float")]
VERDICTS = ["reliability", "flag", "publishable", "reason", "policy"]
MEANINGS = ["definition", "unit", "geo_version"]
METHODS = [name for name in _COMPARED if name not in (*FIGURES, *VERDICTS, *MEANINGS)]
_ERRORS = {"direct": "direct_se", "estimate": "se", "ci_low": "se", "ci_high": "se"}
_TEXTS = ["what", "old_text", "new_text", "old_status", "new_status"]
_NUMBERS = ["old", "new", "relative", "in_se"]
COLUMNS = ["what", "old", "new", "relative", "in_se", "old_text", "new_text", "old_status", "new_status"]


def differences(
    old: EstimateTable,
    new: EstimateTable,
    *,
    names: tuple[str, str] = ("the old table", "the new table"),
) -> pd.DataFrame:
    """Return what differs between two tables of estimates, one row per cell and column.

    Cells are matched by indicator, geo, time, group columns and domain, as text. Every column is compared but
    ``model`` and ``run``, which only name the result; figures are equal when they are the same number.

    Parameters
    ----------
    old, new : EstimateTable
    names : (str, str)
        What the tables are called in messages.

    Returns
    -------
    DataFrame
        In the order of the old table, cells that appeared last: the columns of the key; ``what``, which is
        "appeared", "disappeared" or the name of the column that changed; ``old`` and ``new`` where it holds
        numbers (of a cell in one table: its estimate), ``old_text`` and ``new_text`` where it holds words (of
        such a cell: its reliability); ``relative``, the change over the old figure; ``in_se``, the change in
        old standard errors; ``old_status`` and ``new_status`` of the cell: "shown", "hidden", "no estimate",
        "not assessed", or empty where there is no such cell. The figures of hidden cells are in it.

    Raises
    ------
    SaeInputError
        If the group columns differ, a cell stands twice in a table, or both spell a label in different ways.

    Examples
    --------
    >>> old = sae.EstimateTable(pd.DataFrame({"domain": ["A", "B"], "estimate": [0.5, 0.4], "se": 0.1}))
    >>> new = old.assign(estimate=[0.5, 0.6])
    >>> sae.batch.differences.differences(old, new)[["domain", "what", "old", "new", "in_se"]].round(9).values
    array([['B', 'estimate', 0.4, 0.6, 2.0]], dtype=object)
    """
    keys = _keys(old, new, names)
    left, right = (_labelled(table, keys) for table in (old, new))
    check_spelling(left, right, keys, names)
    ours, theirs = (_cells(*side, keys) for side in zip((left, right), names, strict=True))
    places = theirs.get_indexer(ours)
    before, after = left[places >= 0], right.iloc[places[places >= 0]]
    right.index = right.index + len(left)  # in the order of the rows: those of the old table first
    gone, come = left[places < 0], right[~theirs.isin(ours)]
    status = _status(before), _status(after)
    parts = [
        _alone(gone, keys, "disappeared", "old"),
        *(_changed(before, after, keys, name, status) for name in _COMPARED),
        _alone(come, keys, "appeared", "new"),
    ]
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)


def _keys(old: EstimateTable, new: EstimateTable, names: tuple[str, str]) -> list[str]:
    """Return the columns that name a cell, the same in both tables."""
    groups = [[name for name in table.groups if name not in ESTIMATE_COLUMNS] for table in (old, new)]
    if groups[0] != groups[1]:
        sides = [
            f"{name_some(own) if own else 'no group columns'} in {name}"
            for own, name in zip(groups, names, strict=True)
        ]
        raise SaeInputError(
            f"The cells are made by {sides[0]}, but by {sides[1]}.",
            hint="Compare tables of the same group columns in the same order.",
        )
    clash = [name for name in groups[0] if name in COLUMNS]
    if clash:
        raise SaeInputError(
            f"The group columns {name_some(clash)} bear names that the table of differences needs.",
            hint="Rename them in both tables.",
            column=clash[0],
        )
    return [*_KEYS[:-1], *groups[0], _KEYS[-1]]


def _labelled(table: EstimateTable, keys: Sequence[str]) -> pd.DataFrame:
    return table.frame.assign(**{name: typed(table.frame[name], "str") for name in keys})


def _cells(frame: pd.DataFrame, table: str, keys: Sequence[str]) -> pd.Index:
    """Return the names of the cells; refuse one that stands twice."""
    cells = pd.Index(joined_labels(frame, keys, separator="\x1f").to_numpy(dtype=object))
    twice = [" / ".join(filter(None, cell.split("\x1f"))) for cell in cells[cells.duplicated()].unique()]
    if twice:
        raise SaeInputError(
            f"Several rows of {table} are of the same cell ({' × '.join(keys)}): {name_some(twice)}.",
            hint="Keep one row per cell; compare the tables of several models one by one.",
            areas=twice,
        )
    return cells


def _status(frame: pd.DataFrame) -> pd.Series:
    """Return whether each cell is shown; a figure that is masked already is hidden, not absent."""
    masked = frame["flag"].str.startswith((":c", ":u")).fillna(False).to_numpy(bool)
    masked |= frame["reason"].eq(UNJUDGED).fillna(False).to_numpy(bool)  # of a published table
    absent = frame["estimate"].isna().to_numpy()
    passed, failed = (
        frame["publishable"].eq(answer).fillna(False).to_numpy(bool) for answer in (True, False)
    )
    status = np.select(
        [masked | (failed & ~absent), absent, passed],
        ["hidden", "no estimate", "shown"],
        default="not assessed",
    )
    return pd.Series(status, index=frame.index)


def _rows(cells: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row for each of `cells`, which are the columns of the key, with what differs there."""
    empty: dict[str, Any] = {**dict.fromkeys(_NUMBERS, np.nan), **dict.fromkeys(_TEXTS, "")}
    rows = cells.assign(**{**empty, **values})[[*cells, *COLUMNS]]
    return rows.astype(dict.fromkeys([*cells, *_TEXTS], "string") | dict.fromkeys(_NUMBERS, "float64"))


def _alone(frame: pd.DataFrame, keys: Sequence[str], what: str, side: str) -> pd.DataFrame:
    """Return the rows of cells that only one of the tables has."""
    values = {side: frame["estimate"], f"{side}_text": frame["reliability"], f"{side}_status": _status(frame)}
    return _rows(frame[keys], {**values, "what": what})


def _changed(
    before: pd.DataFrame,
    after: pd.DataFrame,
    keys: Sequence[str],
    name: str,
    status: tuple[pd.Series, pd.Series],
) -> pd.DataFrame:
    """Return the cells in which a column differs; both frames hold the same cells in one order."""
    values: dict[str, Any]
    if name in FIGURES:
        old, new = (_numbers(frame, name) for frame in (before, after))
        differs = (old != new) & ~(np.isnan(old) & np.isnan(new))
        with np.errstate(divide="ignore", invalid="ignore"):
            error = _numbers(before, _ERRORS[name]) if name in _ERRORS else np.full(len(before), np.nan)
            shift = {"relative": (new - old) / np.abs(old), "in_se": (new - old) / error}
        finite = {key: np.where(np.isfinite(value), value, np.nan)[differs] for key, value in shift.items()}
        values = {"old": old[differs], "new": new[differs], **finite}
    else:
        texts = [typed(frame[name], "str").to_numpy(dtype=object) for frame in (before, after)]
        differs = texts[0] != texts[1]
        values = {"old_text": texts[0][differs], "new_text": texts[1][differs]}
    old_status, new_status = (column.to_numpy()[differs] for column in status)
    values |= {"what": name, "old_status": old_status, "new_status": new_status}
    return _rows(before.loc[differs, keys], values)


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    return frame[name].to_numpy(dtype=float, na_value=np.nan)
