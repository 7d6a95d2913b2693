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
from sae.area_level.reading import read_rows
from sae.area_level.rows import AreaRows, plain, taken
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.inference.transforms import TRANSFORMS
from sae.tables import DirectEstimates, joined_labels, label_text, labels, pandas_frame
from sae.tables.texts import Texts

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
    data = pandas_frame(data, "The data")
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
    keys = [_keys(part, by) for part in parts]
    place = [{key: row for row, key in enumerate(column)} for column in keys]
    areas = list(dict.fromkeys(key for column in keys for key in column))
    absent = [
        f"{' / '.join(map(label_text, area))} ({name})"
        for area in areas
        for name, found in zip(outcomes, place, strict=True)
        if area not in found
    ]
    _refuse_holes(absent)
    starts = np.concatenate([[0], np.cumsum([len(part.direct) for part in parts])])
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
    column = pd.Series(plain(part.columns[split]), name=split)
    levels = labels(column).to_numpy(dtype=object)
    if isinstance(column.dtype, pd.CategoricalDtype):
        components = [level for level in map(label_text, column.cat.categories) if level in levels]
    else:
        components = list(dict.fromkeys(levels))
    keys = _keys(part, rest)
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


def _keys(part: AreaRows, by: Sequence[str]) -> list[tuple[object, ...]]:
    columns = [_cells(part, name) for name in dict.fromkeys([*(by or ["domain"]), "time"])]
    return list(zip(*columns, strict=True))


def _cells(part: AreaRows, name: str) -> np.ndarray:
    """Return a column of the table as Python's objects."""
    values = part.columns[name]
    cells = np.asarray(values, dtype=object)
    return cells if cells.ndim else np.full(len(part.direct), values, dtype=object)


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
    columns = {name: _stacked(parts, name, order) for name in parts[0].columns}
    covariates = pd.concat([part.covariates for part in parts], ignore_index=True).iloc[order]
    direct, vardir = (
        np.concatenate([getattr(part, name) for part in parts])[order].reshape(-1, size)
        for name in ("direct", "vardir")
    )
    kept = list(dict.fromkeys(["geo", "time", *(name for name in by if name != split)]))
    first = {name: taken(values, slice(None, None, size)) for name, values in columns.items()}
    areas = pd.DataFrame({name: plain(first[name]) for name in [*kept, "domain"]}, index=range(len(direct)))
    if split:
        parted = [name for name in by if name not in (split, "time") and not _is_time(columns, name)]
        areas["domain"] = joined_labels(areas, parted).to_numpy() if parted else "all"
    psi = np.full((*direct.shape, size), np.nan)
    psi[:, np.arange(size), np.arange(size)] = np.where(np.isfinite(direct), vardir, np.nan)
    fit = np.concatenate([part.fit for part in parts])[order].reshape(-1, size)[:, 0]
    names = Texts.stacked([part.names for part in parts])
    if not split:
        named = np.repeat(np.array(components, dtype=object), [len(part.direct) for part in parts])
        names = Texts.rows([names, Texts.of(named)], " (").joined(")", "")
    return ComponentRows(
        components,
        split,
        columns,
        covariates.reset_index(drop=True),
        areas,
        direct,
        psi,
        fit,
        parts[0].fits,
        names[order],
        Texts.stacked([part.labels for part in parts])[order],
        parts[0].groups,
        parts[0].provenance,
    )


def _stacked(parts: Sequence[AreaRows], name: str, order: np.ndarray) -> Any:
    """Return a column of all parts in an order."""
    values = [part.columns[name] for part in parts]
    if all(isinstance(one, str) and one == values[0] for one in values):
        return values[0]
    if isinstance(values[0], Texts | str):
        sizes = [len(part.direct) for part in parts]
        texts = [
            Texts.same(one, size) if isinstance(one, str) else one
            for one, size in zip(values, sizes, strict=True)
        ]
        return Texts.stacked(texts)[order]
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)[order]
    return pd.concat([pd.Series(one) for one in values], ignore_index=True).array[order]


def _is_time(columns: Mapping[str, Any], name: str) -> bool:
    return bool((labels(pd.Series(plain(columns[name]))) == plain(columns["time"])).all())
