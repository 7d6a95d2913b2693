"""Keys of the records of a block: its columns of the design as whole numbers, its domains as codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sae.design_based.block_facts import Facts, Labels
from sae.errors import SaeInputError
from sae.numerics.design.keyed_sums import KeyedSums

__all__ = ["domain_codes", "held_levels", "label_key", "number_of", "unit_key"]

_MOST = 1 << 20  # combinations of levels that are counted in an array; of more only those that occur
_WHOLE = 2.0**53  # above it the bits of a float stand for a key that is no whole number


def domain_codes(
    by: tuple[str, ...],
    coded: Mapping[str, tuple[np.ndarray, list[Any]]],
    mask: np.ndarray | None,
    n: int,
    domains: Labels,
    facts: Facts,
) -> np.ndarray:
    """Domain of each record in the crossing of all columns, -1 outside."""
    sizes = [len(coded[name][1]) + 1 for name in by]  # the last place is that of no level
    columns = []
    for name, size in zip(by, sizes, strict=True):
        codes = coded[name][0] if mask is None else coded[name][0][mask]
        if codes.min(initial=0) < 0:
            missing = codes < 0
            facts.no_value[name] = facts.no_value.get(name, 0) + int(missing.sum())
            codes = np.where(missing, np.int32(size - 1), codes)
        columns.append(codes)
    inside = n if mask is None else int(mask.sum())
    if np.prod(sizes, dtype=float) <= _MOST:
        ranks = np.zeros(inside, np.int32)
        for codes, size in zip(columns, sizes, strict=True):
            ranks = ranks * np.int32(size) + codes
        cells = int(np.prod(sizes, dtype=int))
        seen = np.flatnonzero(np.bincount(ranks, minlength=cells))
        index = np.unravel_index(seen, sizes) if by else ()
    else:
        table = KeyedSums(len(by), 0)
        ranks = table.cells_of(np.column_stack(columns).astype(np.int64))
        index, cells, seen = tuple(table.keys[: table.size].T), table.size, np.arange(table.size)
    known = ([*coded[name][1], None] for name in by)
    levels = [[of_column[k] for k in rows] for of_column, rows in zip(known, index, strict=True)]
    names = list(zip(*levels, strict=True)) if by else [()] * int(inside > 0)
    code = np.zeros(cells, np.int64)
    code[seen] = domains.codes(names)
    domain = code[ranks]
    if mask is None:
        return domain
    out = np.full(n, -1, np.int64)
    out[mask] = domain
    return out


def held_levels(codes: np.ndarray, n_levels: int) -> np.ndarray:
    """Whether each level has a record."""
    if codes.dtype == np.int8:  # -1 is 255 then
        return np.bincount(codes.view(np.uint8), minlength=256)[:n_levels] > 0
    return np.bincount(codes + np.int64(1), minlength=n_levels + 1)[1:] > 0


def unit_key(column: pd.Series, labels: Labels, position: int, facts: Facts) -> np.ndarray:
    """Return a column of the design as whole numbers; the codes of its labels where it holds text."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "iub":
        return column.to_numpy().astype(np.int64)
    if isinstance(dtype, np.dtype) and dtype.kind == "f":
        values = column.to_numpy(float) + 0.0
        _refuse_missing(np.isnan(values), column)
        whole = (values == np.floor(values)) & (np.abs(values) < _WHOLE)
        if whole.all():
            return values.astype(np.int64)
        facts.fractions.add(position)
        return np.where(whole, np.where(whole, values, 0.0).astype(np.int64), values.view(np.int64))
    if isinstance(dtype, pd.CategoricalDtype):
        codes, levels = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, uniques = pd.factorize(column)
        levels = pd.Index(uniques)
    _refuse_missing(codes < 0, column)
    held = np.flatnonzero(np.bincount(codes, minlength=len(levels)))
    ranks = np.empty(len(levels), np.int64)
    ranks[held] = labels.codes(levels[held].tolist())
    return ranks[codes]


def label_key(column: pd.Series, labels: Labels) -> np.ndarray:
    """Return the codes of a column's labels, of which one may be None."""
    codes, uniques = pd.factorize(column)
    names = pd.Index(uniques).tolist()
    if (codes < 0).any():
        names.append(None)  # -1 picks the last entry
    return labels.codes(names)[codes]


def _refuse_missing(missing: np.ndarray, column: pd.Series) -> None:
    rows = np.flatnonzero(missing)
    if rows.size:
        raise SaeInputError(
            f"The column {column.name!r}, which places or names the records, is missing in "
            f"{rows.size:,} of {len(column):,} "
            f"records (row {rows[0] + 1} is the first).",
            hint="Every record needs its place in the design: complete the column, or leave the records out "
            "beforehand.",
            column=str(column.name),
        )


def number_of(keys: np.ndarray, fractions: bool) -> np.ndarray:
    """Return the numbers of a column of the design from its keys."""
    if not fractions:
        return keys
    return np.where(np.abs(keys.astype(float)) < _WHOLE, keys.astype(float), keys.view(float))
