"""What multivariate models read: direct estimates of several components, brought together by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.arrays import model_scale
from sae.area_level.multivariate.covariances import (
    as_columns,
    from_columns,
    from_matrix,
    named_columns,
    with_covariance,
)
from sae.area_level.multivariate.rows import ComponentRows
from sae.area_level.rows import AreaRows, read_rows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.inference.transforms import TRANSFORMS
from sae.tables import DirectEstimates, joined_labels, label_text, labels

__all__ = ["read_components"]


def read_components(
    data: DirectEstimates | pd.DataFrame,
    areas: pd.DataFrame | None,
    *,
    outcomes: Sequence[str],
    split: str,
    domain: str,
    vardir: Sequence[tuple[Any, ...]],
    per: Sequence[str] = (),
    covariance: Mapping[Any, pd.DataFrame] | None = None,
) -> ComponentRows:
    """Bring the components of every area together with their covariances and covariates.

    Parameters
    ----------
    data : DirectEstimates or DataFrame
        Direct estimates with ``covariance``, or one row per area with columns of estimates.
    areas : DataFrame, optional
        Covariates, joined by name.
    outcomes : sequence of str
        Indicators or columns; one only where `split` is given.
    split : str
        Column of `DirectEstimates` whose levels are the components; "" where the outcomes are.
    domain : str
        Column of a plain frame with the labels of the areas.
    vardir : sequence of tuples
        Of a plain frame: (component, column), and (component, component, column or 0) for covariances.
    per : sequence of str
        Columns whose values get a fit each.
    covariance : mapping, optional
        Of a plain frame, instead of `vardir`: sampling covariances by area (and values of `per`), each a
        table with the components on both axes.

    Raises
    ------
    SaeInputError
        If an estimate, a variance or a covariance is absent or impossible; areas and components are named.
    SaeSpecError
        If the options do not belong to the kind of data.
    """
    if isinstance(data, DirectEstimates):
        if vardir:
            raise SaeSpecError(
                "vardir= names columns of a plain frame; direct estimates bring their own variances.",
                hint="Leave vardir out.",
            )
        if covariance is not None:
            raise SaeSpecError(
                "covariance= belongs to a plain frame; direct estimates bring their own covariances.",
                hint="Leave covariance out, and ask for sae.direct(..., covariance=True).",
            )
        parts = [
            read_rows(data, areas, outcome=name, domain="", vardir="", n_eff="", per=per) for name in outcomes
        ]
        rows = _split(parts[0], split, data.by) if split else _stack(parts, outcomes, data.by)
        return with_covariance(rows, from_matrix(rows, data))
    if split:
        raise SaeSpecError(
            f'components="{split}" needs the direct estimates of sae.direct(..., covariance=True).',
            hint='In a plain frame give one row per area and a formula per column: ["y1 ~ x", "y2 ~ x"].',
        )
    if covariance is not None:
        if vardir:
            raise SaeSpecError(
                "vardir= and covariance= both give the sampling covariances.", hint="Leave one of them out."
            )
        data, vardir = as_columns(data, covariance, outcomes, [domain, *per])
    pairs = named_columns(outcomes, vardir)
    parts = [
        read_rows(data, areas, outcome=name, domain=domain, vardir=str(pairs[name,]), n_eff="", per=per)
        for name in outcomes
    ]
    rows = _stack(parts, outcomes, ("domain", *per))
    return with_covariance(rows, from_columns(rows, data, [domain, *per], pairs))


def _stack(parts: list[AreaRows], outcomes: Sequence[str], by: Sequence[str]) -> ComponentRows:
    """Put the rows of several indicators side by side, the areas matched by name."""
    keys = [_keys(part.table, by) for part in parts]
    place = [{key: row for row, key in enumerate(column)} for column in keys]
    areas = list(dict.fromkeys(key for column in keys for key in column))
    absent = [
        f"{' / '.join(map(label_text, area))} ({name})"
        for area in areas
        for name, found in zip(outcomes, place, strict=True)
        if area not in found
    ]
    _refuse_holes(absent)
    starts = np.concatenate([[0], np.cumsum([len(part.table) for part in parts])])
    order = np.array([starts[r] + found[area] for area in areas for r, found in enumerate(place)])
    return _ordered(parts, order, tuple(outcomes), "", tuple(by))


def _split(part: AreaRows, split: str, by: Sequence[str]) -> ComponentRows:
    """Take the levels of one grouping column apart."""
    if split not in by:
        raise SaeSpecError(
            f'components="{split}" is not one of the columns that make the domains.',
            hint=f"They are {name_some(by)}.",
        )
    rest = [name for name in by if name != split]
    levels = labels(part.table[split]).to_numpy(dtype=object)
    if isinstance(part.table[split].dtype, pd.CategoricalDtype):
        components = [level for level in map(label_text, part.table[split].cat.categories) if level in levels]
    else:
        components = list(dict.fromkeys(levels))
    keys = _keys(part.table, rest)
    place = {(key, level): row for row, (key, level) in enumerate(zip(keys, levels, strict=True))}
    areas = list(dict.fromkeys(keys))
    _refuse_holes(
        [
            f"{' / '.join(map(label_text, area))} ({level})"
            for area in areas
            for level in components
            if (area, level) not in place
        ]
    )
    order = np.array([place[area, level] for area in areas for level in components])
    return _ordered([part], order, tuple(components), split, tuple(by))


def _keys(table: pd.DataFrame, by: Sequence[str]) -> list[tuple[object, ...]]:
    if not len(by):
        by = ["domain"]
    columns = [table[name].astype("object") for name in dict.fromkeys([*by, "time"])]
    return list(zip(*columns, strict=True))


def _refuse_holes(absent: list[str]) -> None:
    if absent:
        raise SaeInputError(
            f"{len(absent)} components of areas have no row: {name_some(absent)}.",
            hint="Give every area a row per component; a missing direct estimate says that it has no sample.",
            areas=absent,
        )


def _ordered(
    parts: list[AreaRows], order: np.ndarray, components: tuple[str, ...], split: str, by: tuple[str, ...]
) -> ComponentRows:
    size = len(components)
    if size < 1 or len(set(components)) < size:
        raise SaeSpecError(f"The components {name_some(components)} are not all different.")
    for part in parts:  # refuses variances that are not positive, by name
        model_scale(part, TRANSFORMS["identity"])
    table = pd.concat([part.table for part in parts], ignore_index=True).iloc[order].reset_index(drop=True)
    covariates = pd.concat([part.covariates for part in parts], ignore_index=True).iloc[order]
    direct, vardir = (
        np.concatenate([getattr(part, name) for part in parts])[order].reshape(-1, size)
        for name in ("direct", "vardir")
    )
    kept = list(dict.fromkeys(["geo", "time", *(name for name in by if name != split)]))
    areas = table.loc[::size, kept].reset_index(drop=True)
    areas["domain"] = table.loc[::size, "domain"].to_numpy()
    if split:
        parted = [name for name in by if name not in (split, "time") and not _is_time(table, name)]
        areas["domain"] = joined_labels(table.loc[::size], parted).to_numpy() if parted else "all"
    psi = np.full((*direct.shape, size), np.nan)
    psi[:, np.arange(size), np.arange(size)] = np.where(np.isfinite(direct), vardir, np.nan)
    streams = [label for part in parts for label in part.labels]
    fit = np.concatenate([part.fit for part in parts])[order].reshape(-1, size)[:, 0]
    names = np.concatenate([part.names for part in parts])
    if not split:
        named = np.repeat(components, [len(part.table) for part in parts])
        names = np.array(
            [f"{name} ({component})" for name, component in zip(names, named, strict=True)], dtype=object
        )
    return ComponentRows(
        components,
        split,
        table,
        covariates.reset_index(drop=True),
        areas,
        direct,
        psi,
        fit,
        parts[0].fits,
        names[order],
        tuple(streams[row] for row in order),
        parts[0].groups,
        parts[0].provenance,
    )


def _is_time(table: pd.DataFrame, name: str) -> bool:
    return bool((labels(table[name]) == table["time"]).all())
