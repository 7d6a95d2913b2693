"""What multivariate models read: several direct estimates per area with their covariances, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from sae.area_level.rows import AreaRows, read_rows
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.inference.transforms import TRANSFORMS
from sae.tables import DirectEstimates

__all__ = ["ComponentRows", "read_components"]


@dataclass(frozen=True, eq=False)
class ComponentRows:
    """D areas with R components each; all tables have D R rows, area by area.

    Attributes
    ----------
    components : tuple of str
        Names of the components: indicators, or levels of the column `split`.
    split : str
        The grouping column whose levels are the components; empty where they are indicators.
    table, covariates : DataFrame
        As in `AreaRows`.
    areas : DataFrame, one row per area
        geo, time, domain and the grouping columns of each area, without the component.
    direct : ndarray, shape (D, R)
        NaN = no sample.
    psi : ndarray, shape (D, R, R)
        Sampling covariances; NaN where a component of the pair has no sample.
    fit : ndarray of int, shape (D,)
        Which fit the area belongs to, 0 to F - 1.
    fits : DataFrame
        One row per fit with the values of the `per` columns; one row without columns if there are none.
    names, labels : of the D R rows
        For messages, and of the random streams.
    groups : tuple of str
        Group columns of the estimate table.
    provenance : mapping
    """

    components: tuple[str, ...]
    split: str
    table: pd.DataFrame
    covariates: pd.DataFrame
    areas: pd.DataFrame
    direct: np.ndarray
    psi: np.ndarray
    fit: np.ndarray
    fits: pd.DataFrame
    names: np.ndarray
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sampled(self) -> np.ndarray:
        """Which components have a direct estimate, shape (D, R)."""
        return np.isfinite(self.direct)

    def where(self, fit: int) -> str:
        """Name a fit for a message, such as " in 2024Q1"; empty where there is only one."""
        values = [str(value) for value in self.fits.iloc[fit]]
        return f" in {' / '.join(values)}" if values else ""

    def of_fit(self, fit: int) -> tuple[np.ndarray, ComponentRows]:
        """Return the areas of one fit and their rows alone."""
        areas = np.flatnonzero(self.fit == fit)
        if len(areas) == len(self.fit):
            return areas, self
        size = len(self.components)
        flat = (areas[:, None] * size + np.arange(size)).ravel()
        return areas, replace(
            self, table=self.table.iloc[flat], covariates=self.covariates.iloc[flat],
            areas=self.areas.iloc[areas], direct=self.direct[areas], psi=self.psi[areas],
            fit=self.fit[areas], names=self.names[flat], labels=tuple(self.labels[row] for row in flat),
        )  # fmt: skip


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
        f"{' / '.join(map(str, area))} ({name})"
        for area in areas for name, found in zip(outcomes, place, strict=True) if area not in found
    ]  # fmt: skip
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
    levels = part.table[split].astype("string").to_numpy(dtype=object)
    if isinstance(part.table[split].dtype, pd.CategoricalDtype):
        components = [str(level) for level in part.table[split].cat.categories if str(level) in set(levels)]
    else:
        components = list(dict.fromkeys(levels))
    keys = _keys(part.table, rest)
    place = {(key, level): row for row, (key, level) in enumerate(zip(keys, levels, strict=True))}
    areas = list(dict.fromkeys(keys))
    _refuse_holes([
        f"{' / '.join(map(str, area))} ({level})"
        for area in areas for level in components if (area, level) not in place
    ])  # fmt: skip
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
        words = table.loc[::size, parted].astype("string").agg(" / ".join, axis=1) if parted else "all"
        areas["domain"] = words if isinstance(words, str) else words.to_numpy()
    psi = np.full((*direct.shape, size), np.nan)
    psi[:, np.arange(size), np.arange(size)] = np.where(np.isfinite(direct), vardir, np.nan)
    labels = [label for part in parts for label in part.labels]
    fit = np.concatenate([part.fit for part in parts])[order].reshape(-1, size)[:, 0]
    names = np.concatenate([part.names for part in parts])
    if not split:
        named = np.repeat(components, [len(part.table) for part in parts])
        names = np.array(
            [f"{name} ({component})" for name, component in zip(names, named, strict=True)], dtype=object
        )
    return ComponentRows(
        components, split, table, covariates.reset_index(drop=True), areas, direct, psi, fit,
        parts[0].fits, names[order], tuple(labels[row] for row in order), parts[0].groups,
        parts[0].provenance,
    )  # fmt: skip


def _is_time(table: pd.DataFrame, name: str) -> bool:
    return bool((table[name].astype("string") == table["time"]).all())
