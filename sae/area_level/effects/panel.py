"""The rows of a structured area-level model as a panel, area by period, matched by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sae.area_level.arrays import AreaProblem, model_scale
from sae.area_level.effects.options import AR1, SAR
from sae.area_level.rows import AreaRows
from sae.errors import SaeInputError, name_some
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.spacetime.fit import SpaceTimeProblem, spacetime_problem
from sae.specs import Design
from sae.specs.design import check_rank
from sae.tables import DirectEstimates

__all__ = ["Panel", "build_panel"]


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows of one structured model and their places on the grid of areas and periods.

    Attributes
    ----------
    rows : AreaRows
        With the period in ``time`` where the model has one.
    problem : SpaceTimeProblem
    arrays : AreaProblem
        The same rows as one fit, for what all area-level models do with them.
    area, period : ndarray of int, shape (M,)
        Place of each row on the grid.
    areas : list of str
    islands : list of str
        Areas without a neighbour; empty without a map.
    """

    rows: AreaRows
    problem: SpaceTimeProblem
    arrays: AreaProblem
    area: np.ndarray
    period: np.ndarray
    areas: list[str]
    islands: list[str]

    def of_rows(self, grid: np.ndarray) -> np.ndarray:
        """Values of the rows from a grid, shape (..., D, T)."""
        return grid[..., self.area, self.period]

    @property
    def cells(self) -> list[str]:
        """Names of the random streams of the grid, area by area; empty cells have names of their own."""
        n_times = self.problem.seen.shape[1]
        names = [f"{area}\x1f{period}\x1fempty" for area in self.areas for period in range(n_times)]
        for row, place in enumerate(self.area * n_times + self.period):
            names[place] = self.rows.labels[row]
        return names


def build_panel(
    rows: AreaRows, data: Any, covariates: str, spatial: SAR | None, temporal: AR1 | None
) -> Panel:
    """Check the rows, lay them on the grid and build the design.

    Parameters
    ----------
    rows : AreaRows
        Read with the column of the periods as `per`, if there is one.
    data : DirectEstimates or DataFrame
        What the rows were read from; its covariances are used.

    Raises
    ------
    SaeInputError
        If a variance or covariate is not usable, an area stands twice in a period, there is one period only,
        sampling covariances are not positive definite, or the map and the areas do not match.
    """
    y, D = model_scale(rows, TRANSFORMS["identity"])
    design, _ = Design.learn(covariates, rows.covariates[rows.sampled], list(rows.names[rows.sampled]))
    X = design.rebuild(rows.covariates, list(rows.names))
    check_rank(X[rows.sampled], design.columns, "")
    names = rows.table["domain"].astype("object").map(str).to_numpy(dtype=object)
    areas = list(dict.fromkeys(names))
    place = {area: k for k, area in enumerate(areas)}
    area = np.array([place[name] for name in names], dtype=np.int64)
    period = np.zeros(len(names), dtype=np.int64)
    if temporal is not None:
        labels = rows.fits.iloc[:, 0]
        period = _positions(labels, temporal.column)[rows.fit]
        rows = replace(rows, table=rows.table.assign(time=labels.map(str).to_numpy(dtype=object)[rows.fit]))
    _refuse_twice(area, period, areas, temporal)
    n_areas, n_times = len(areas), int(period.max()) + 1
    grid_y, grid_X = np.full((n_areas, n_times), np.nan), np.zeros((n_areas, n_times, X.shape[1]))
    grid_y[area, period], grid_X[area, period] = np.where(rows.sampled, y, np.nan), X
    psi = np.zeros((n_areas, n_times, n_times))
    psi[area, period, period] = D
    if temporal is not None:
        _covary(psi, rows, data, temporal, area, period)
        _refuse_indefinite(psi, np.isfinite(grid_y), areas)
    W = None if spatial is None else spatial.weights(areas)
    islands = [] if W is None else [areas[k] for k in np.flatnonzero(np.diff(W.indptr) == 0)]
    rows = replace(rows, fit=np.zeros(len(names), dtype=np.int64), fits=pd.DataFrame(index=range(1)))
    arrays = AreaProblem(
        rows,
        np.arange(len(names)),
        y,
        D,
        np.ascontiguousarray(X.T),
        rows.sampled,
        np.array([0, len(names)]),
        design,
    )
    return Panel(rows, spacetime_problem(grid_y, grid_X, psi, W), arrays, area, period, areas, islands)


def _positions(labels: pd.Series, column: str) -> np.ndarray:
    """Place of each sorted period on a regular time axis."""
    if len(labels) < 2:
        raise SaeInputError(f"{column} has one period only ({labels.iloc[0]}).", column=column)
    values = pd.to_numeric(labels, errors="coerce").to_numpy(dtype=float)
    if np.isfinite(values).all() and (values == np.round(values)).all():
        gaps = np.diff(values).astype(np.int64)
        return np.concatenate([[0], np.cumsum(gaps // np.gcd.reduce(gaps))])
    return np.arange(len(labels))


def _refuse_twice(area: np.ndarray, period: np.ndarray, areas: list[str], temporal: AR1 | None) -> None:
    key = area * (int(period.max()) + 1) + period
    count = np.bincount(key)
    twice = np.unique(area[count[key] > 1])
    if len(twice):
        offenders = [areas[k] for k in twice]
        raise SaeInputError(
            f"Areas with more than one row{' in a period' if temporal else ''}: {name_some(offenders)}.",
            hint='Tell the periods apart with temporal=sae.AR1("time"), or give one row per area.',
            areas=offenders,
        )


def _covary(
    psi: np.ndarray,
    rows: AreaRows,
    data: Any,
    temporal: AR1,
    area: np.ndarray,
    period: np.ndarray,
) -> None:
    """Fill in sampling covariances between periods of an area."""
    if isinstance(data, DirectEstimates):
        if data.covariance is None:
            return
        labels = (
            rows.table[["indicator", "domain", "time"]].astype("string").fillna("").to_numpy(dtype=object)
        )
        index = pd.MultiIndex.from_tuples([tuple(map(str, label)) for label in data.covariance.index])
        at = index.get_indexer(pd.MultiIndex.from_tuples([tuple(label) for label in labels]))
        covariance = data.covariance.to_numpy(dtype=float)
        known = np.flatnonzero((at >= 0) & rows.sampled)
        for k in np.unique(area[known]):
            mine = known[area[known] == k]
            block = covariance[np.ix_(at[mine], at[mine])]
            sd = np.sqrt(np.diag(block))
            with np.errstate(divide="ignore", invalid="ignore"):
                correlation = np.nan_to_num(block / np.outer(sd, sd))
            np.fill_diagonal(correlation, 1.0)
            scale = np.sqrt(psi[k, period[mine], period[mine]])  # of the smoothed variances
            psi[np.ix_([k], period[mine], period[mine])] = (correlation * np.outer(scale, scale))[None]
        return
    if temporal.covariance is None:
        return
    if temporal.covariance not in rows.covariates:
        raise SaeInputError(
            f"The data have no column {temporal.covariance!r} (the covariance of AR1).",
            column=temporal.covariance,
        )
    values = pd.to_numeric(rows.covariates[temporal.covariance]).to_numpy(dtype=float, na_value=np.nan)
    place = {(a, t): row for row, (a, t) in enumerate(zip(area, period, strict=True)) if rows.sampled[row]}
    for (a, t), row in place.items():
        if (a, t - 1) in place and np.isfinite(values[row]):
            psi[a, t, t - 1] = psi[a, t - 1, t] = values[row]


def _refuse_indefinite(psi: np.ndarray, seen: np.ndarray, areas: list[str]) -> None:
    both = seen[:, :, None] & seen[:, None, :]
    smallest = np.linalg.eigvalsh(np.where(both, psi, np.eye(psi.shape[1])))[:, 0]
    bad = [areas[k] for k in np.flatnonzero(~(smallest > 0))]
    if bad:
        raise SaeInputError(
            f"The sampling covariances between periods are not positive definite in {name_some(bad)}.",
            hint="A covariance is at most the geometric mean of the two variances; smooth both alike.",
            areas=bad,
        )
