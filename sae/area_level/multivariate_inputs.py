"""What multivariate models read: several direct estimates per area with their covariances, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.inputs import AreaRows, read_rows
from sae.area_level.problem import model_scale
from sae.errors import SaeInputError, SaeSpecError, name_some
from sae.numerics.transforms import TRANSFORMS
from sae.tables import DirectEstimates

__all__ = ["ComponentRows", "read_components"]

# Published figures of seven digits leave eigenvalues of some 1e-7 in a correlation matrix that is singular.
_SINGULAR = 1e-5


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
    names: np.ndarray
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sampled(self) -> np.ndarray:
        """Which components have a direct estimate, shape (D, R)."""
        return np.isfinite(self.direct)


def read_components(
    data: DirectEstimates | pd.DataFrame,
    areas: pd.DataFrame | None,
    *,
    outcomes: Sequence[str],
    split: str,
    domain: str,
    vardir: Sequence[tuple[Any, ...]],
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
        parts = [
            read_rows(data, areas, outcome=name, domain="", vardir="", n_eff="", per=()) for name in outcomes
        ]
        rows = _split(parts[0], split, data.by) if split else _stack(parts, outcomes, data.by)
        return _with_covariance(rows, _from_matrix(rows, data))
    if split:
        raise SaeSpecError(
            f'components="{split}" needs the direct estimates of sae.direct(..., covariance=True).',
            hint='In a plain frame give one row per area and a formula per column: ["y1 ~ x", "y2 ~ x"].',
        )
    pairs = _columns(outcomes, vardir)
    parts = [
        read_rows(data, areas, outcome=name, domain=domain, vardir=str(pairs[name,]), n_eff="", per=())
        for name in outcomes
    ]
    rows = _stack(parts, outcomes, ())
    return _with_covariance(rows, _from_columns(rows, parts[0].covariates, data, domain, pairs))


def _columns(outcomes: Sequence[str], vardir: Sequence[tuple[Any, ...]]) -> dict[tuple[str, ...], Any]:
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
    names = np.concatenate([part.names for part in parts])
    if not split:
        named = np.repeat(components, [len(part.table) for part in parts])
        names = np.array(
            [f"{name} ({component})" for name, component in zip(names, named, strict=True)], dtype=object
        )
    return ComponentRows(
        components, split, table, covariates.reset_index(drop=True), areas, direct, psi, names[order],
        tuple(labels[row] for row in order), parts[0].groups, parts[0].provenance,
    )  # fmt: skip


def _is_time(table: pd.DataFrame, name: str) -> bool:
    return bool((table[name].astype("string") == table["time"]).all())


def _from_matrix(rows: ComponentRows, data: DirectEstimates) -> np.ndarray:
    """Correlations of the sampling errors from the labelled matrix of the direct estimates."""
    matrix = data.covariance
    if matrix is None:
        raise SaeInputError(
            "The direct estimates bring no covariances between their rows.",
            hint="Ask for them: sae.direct(..., covariance=True).",
        )
    wanted = pd.MultiIndex.from_frame(rows.table[["indicator", "domain", "time"]].astype("object"))
    index, columns = (
        pd.MultiIndex.from_tuples([tuple(str(part) for part in label) for label in axis.tolist()])
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
        areas = rows.names.reshape(lost.shape)[lost]
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


def _from_columns(
    rows: ComponentRows,
    covariates: pd.DataFrame,
    data: pd.DataFrame,
    domain: str,
    pairs: Mapping[tuple[str, ...], Any],
) -> np.ndarray:
    """Read covariances from named columns of a plain frame."""
    psi = np.zeros_like(rows.psi)
    for i, j in combinations(range(len(rows.components)), 2):
        column = pairs[tuple(sorted((rows.components[i], rows.components[j])))]
        if not isinstance(column, str):
            continue
        if column not in data:
            raise SaeInputError(
                f"The data have no column {column!r} with sampling covariances.",
                hint=f"The columns are {name_some(data, 15)}.",
                column=column,
            )
        try:
            known = pd.to_numeric(data[column]).astype("Float64").to_numpy(dtype=float, na_value=np.nan)
        except (ValueError, TypeError):
            raise SaeInputError(f"{column} holds text where numbers are expected.", column=column) from None
        found = dict(zip(data[domain].astype("string"), known, strict=True))
        psi[:, i, j] = psi[:, j, i] = [found.get(area, np.nan) for area in rows.areas["domain"]]
    return psi


def _with_covariance(rows: ComponentRows, found: np.ndarray) -> ComponentRows:
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
