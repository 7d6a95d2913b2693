"""Sampling covariances of several estimates per area: matched by label, refused where impossible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.multivariate.rows import ComponentRows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.tables import DirectEstimates, label_text, require, to_numbers
from sae.tables.labels import text_of
from sae.tables.texts import Texts

__all__ = ["as_columns", "from_columns", "from_matrix", "named_columns", "with_covariance"]

# Published figures of seven digits leave eigenvalues of some 1e-7 in a correlation matrix that is singular.
_SINGULAR = 1e-5
_ROUNDING = 1e-9  # of two numbers that should be the same


def as_columns(
    data: pd.DataFrame, covariance: Mapping[Any, pd.DataFrame], outcomes: Sequence[str], keys: Sequence[str]
) -> tuple[pd.DataFrame, tuple[tuple[Any, ...], ...]]:
    """Write the labelled matrices of the areas into columns of the frame; return it with their names."""
    require(data, keys)
    given = {_label(key if isinstance(key, tuple) else (key,)): table for key, table in covariance.items()}
    labels = [_label(key) for key in data[list(keys)].astype("object").itertuples(index=False, name=None)]
    strange = [" / ".join(key) for key in given if key not in set(labels)]
    if strange:
        raise SaeInputError(
            f"covariance= has {len(strange)} labels that no row of the data bears: {name_some(strange)}.",
            hint=f"Its keys are the values of {' and '.join(keys)}.",
            areas=strange,
        )
    wanted = list(outcomes)
    wrong = [" / ".join(key) for key, table in given.items() if not _bears(table, wanted)]
    if wrong:
        raise SaeInputError(
            f"The covariances of {len(wrong)} areas are no tables with {name_some(wanted)} on both axes: "
            f"{name_some(wrong)}.",
            hint="Label rows and columns: pd.DataFrame(matrix, index=components, columns=components).",
            areas=wrong,
        )
    size = len(wanted)
    blocks = np.full((len(labels), size, size), np.nan)
    for row, key in enumerate(labels):
        if key in given:
            table = given[key].rename(index=str, columns=str)
            blocks[row] = table.loc[wanted, wanted].to_numpy(dtype=float, na_value=np.nan)
    gap = np.abs(blocks - blocks.swapaxes(1, 2)) > _ROUNDING * np.abs(blocks)
    uneven = [" / ".join(labels[row]) for row in np.flatnonzero(gap.any(axis=(1, 2)))]
    if uneven:
        raise SaeInputError(
            f"The covariances of {len(uneven)} areas are not symmetric: {name_some(uneven)}.", areas=uneven
        )
    entries, columns = [], {}
    for i, j in zip(*np.triu_indices(size), strict=True):
        entry = (wanted[i],) if i == j else (wanted[i], wanted[j])
        column = f"variance of {wanted[i]}" if i == j else f"covariance of {wanted[i]} and {wanted[j]}"
        columns[column] = blocks[:, i, j]
        entries.append((*entry, column))
    return data.assign(**columns), tuple(entries)


def _bears(table: object, labels: list[str]) -> bool:
    """Whether both axes of a table bear each label once."""
    return isinstance(table, pd.DataFrame) and all(
        sorted(map(str, axis)) == sorted(labels) for axis in (table.index, table.columns)
    )


def _label(key: Sequence[object]) -> tuple[str, ...]:
    return tuple(map(label_text, key))


def named_columns(outcomes: Sequence[str], vardir: Sequence[tuple[Any, ...]]) -> dict[tuple[str, ...], Any]:
    """Return {(component,): column, (component, component): column or 0}, complete, or refuse by name."""
    pairs = {tuple(sorted(entry[:-1], key=str)): entry[-1] for entry in vardir}
    known = set(outcomes)
    strange = [name for key in pairs for name in key if name not in known]
    if strange:
        raise SaeSpecError(
            f"vardir names {name_some(dict.fromkeys(strange))}, which no formula has on its left-hand side.",
            hint=f"The components are {name_some(outcomes)}.",
        )
    wanted = [(name,) for name in outcomes] + [tuple(sorted(pair)) for pair in combinations(outcomes, 2)]
    absent = [" × ".join(key) for key in wanted if key not in pairs]
    if absent:
        a, b = (*outcomes, outcomes[0])[:2]
        raise SaeSpecError(
            f"vardir names no column for {name_some(absent)}.",
            hint=f'Write vardir={{"{a}": "variance of {a}", ("{a}", "{b}"): "covariance"}}; a covariance '
            "may be 0 where the samples are independent.",
        )
    for key, column in pairs.items():
        if not isinstance(column, str) and not (len(key) == 2 and column == 0):
            raise SaeSpecError(f"vardir for {' × '.join(key)} is {column!r}; it takes the name of a column.")
    return pairs


def from_matrix(rows: ComponentRows, data: DirectEstimates) -> np.ndarray:
    """Correlations of the sampling errors from the labelled matrix of the direct estimates."""
    matrix = data.covariance
    if matrix is None:
        raise SaeInputError(
            "The direct estimates bring no covariances between their rows.",
            hint="Ask for them: sae.direct(..., covariance=True).",
        )
    size = rows.direct.size
    keys = [rows.columns[name] for name in ("indicator", "domain", "time")]
    wanted = pd.MultiIndex.from_arrays([[key] * size if isinstance(key, str) else list(key) for key in keys])
    index, columns = (
        pd.MultiIndex.from_tuples([_label(key) for key in axis.tolist()])
        for axis in (matrix.index, matrix.columns)
    )
    if not (index.is_unique and index.equals(columns)):
        raise SaeInputError(
            "The covariance matrix does not bear each label once, alike on rows and columns.",
            hint="Keep the matrix that sae.direct(..., covariance=True) made.",
        )
    place = index.get_indexer(wanted).reshape(rows.direct.shape)
    lost = rows.sampled & (place < 0)
    if lost.any():
        areas = rows.names[lost.ravel()]
        raise SaeInputError(
            f"The covariance matrix has no row for {len(areas)} direct estimates: {name_some(areas)}.",
            areas=areas,
        )
    blocks = matrix.to_numpy(dtype=float)[place[:, :, None], place[:, None, :]]
    design = np.sqrt(np.einsum("drr->dr", blocks))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = blocks / (design[:, :, None] * design[:, None, :])
    # records that are all alike, or one alone, tell nothing of a covariance beside a smoothed variance
    silent = ~(design > 0)
    zero = silent[:, :, None] | silent[:, None, :]
    width = np.sqrt(np.einsum("drr->dr", rows.psi))
    return np.where(zero, 0.0, correlation) * width[:, :, None] * width[:, None, :]


def from_columns(
    rows: ComponentRows, data: pd.DataFrame, keys: Sequence[str], pairs: Mapping[tuple[str, ...], Any]
) -> np.ndarray:
    """Read covariances from named columns of a plain frame."""
    psi = np.zeros_like(rows.psi)
    labels = Texts.rows([text_of(data[key]) for key in keys], "\x1f")
    wanted = Texts.rows([text_of(rows.areas[key]) for key in ("domain", *keys[1:])], "\x1f")
    for i, j in combinations(range(len(rows.components)), 2):
        column = pairs[tuple(sorted((rows.components[i], rows.components[j])))]
        if not isinstance(column, str):
            continue
        require(data, [column], role="with sampling covariances")
        known = to_numbers(data, column)
        found = dict(zip(labels, known, strict=True))
        psi[:, i, j] = psi[:, j, i] = [found.get(area, np.nan) for area in wanted]
    return psi


def with_covariance(rows: ComponentRows, found: np.ndarray) -> ComponentRows:
    """Put covariances beside the variances and refuse matrices that are not positive definite, by name."""
    size, sampled = len(rows.components), rows.sampled
    own = np.eye(size, dtype=bool)
    psi = np.where(own, rows.psi, found)
    both = sampled[:, :, None] & sampled[:, None, :]
    names = rows.areas["domain"].to_numpy(dtype=object)
    lost = (both & ~np.isfinite(psi)).any(axis=(1, 2))
    if lost.any():
        raise SaeInputError(
            f"{int(lost.sum())} of {len(names)} areas have direct estimates but no covariance between them: "
            f"{name_some(names[lost])}.",
            hint="Give the covariance, 0 where the samples are independent.",
            areas=names[lost],
        )
    psi = np.where(both, psi, np.nan)
    filled = np.where(both, psi, np.eye(size))
    width = np.sqrt(np.einsum("drr->dr", filled))
    least = np.linalg.eigvalsh(filled / (width[:, :, None] * width[:, None, :]))[:, 0]
    bad = least < _SINGULAR
    if bad.any():
        _refuse_singular(rows, filled, least, bad, names)
    return replace(rows, psi=psi)


def _refuse_singular(
    rows: ComponentRows, psi: np.ndarray, least: np.ndarray, bad: np.ndarray, names: np.ndarray
) -> None:
    """Say why sampling covariances are not positive definite: components that add up, or numbers mixed up."""
    whole = bad & rows.sampled.all(axis=1)
    sums = rows.direct.sum(axis=1)
    level = np.einsum("drr->d", psi)
    adds_up = whole & (np.abs(psi.sum(axis=(1, 2))) < 1e-4 * level)
    words = " + ".join(rows.components)
    rest = ", ".join(f"{name!r}: -1" for name in rows.components[:-1])
    if (least[bad] > -_SINGULAR).all() and adds_up.sum() == bad.sum():
        total = float(sums[adds_up][0])
        same = np.ptp(sums[adds_up]) < 1e-5 * max(abs(total), 1e-300)
        value = f" = {total:.6g}" if same else " without sampling error"
        raise SaeInputError(
            f"The sampling covariances of {int(bad.sum())} of {len(names)} areas are singular, because the "
            f"components add up: {words}{value} ({name_some(names[bad])}).",
            hint=f"Leave one component out, such as {rows.components[-1]}; it follows from the others "
            f"with its MSE by fit.contrast({{{rest}}}, "
            f"constant={f'{total:.6g}' if same else '...'}).",
            areas=names[bad],
        )
    raise SaeInputError(
        f"The sampling covariances of {int(bad.sum())} of {len(names)} areas are not positive definite: "
        f"{name_some(names[bad])}.",
        hint="No estimates have such covariances. Check that vardir names the right column for every pair "
        f"of {name_some(rows.components)}.",
        areas=names[bad],
    )
