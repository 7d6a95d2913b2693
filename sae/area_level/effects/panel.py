"""The rows of a structured area-level model as a panel, area by period, matched by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import sparse

from sae.area_level.arrays import AreaArrays, design_of, model_scale
from sae.area_level.effects.spatial import SpatialEffect, map_cut, row_standardised
from sae.area_level.effects.temporal import TemporalEffect
from sae.area_level.rows import ONE_FIT, AreaRows
from sae.errors import SaeInputError, name_some
from sae.numerics.inference.transforms import TRANSFORMS
from sae.numerics.linalg.basis import Basis, orthonormal_basis
from sae.numerics.spacetime.fit import SpaceTimeProblem, spacetime_problem
from sae.results import Message, boundary_all, residual_table
from sae.specs.design import check_rank
from sae.tables import label_text, require, to_numbers
from sae.tables.labels import text_of

__all__ = ["Panel", "build_panel"]


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows of one structured model and their places on the grid of areas and periods.

    Attributes
    ----------
    rows : AreaRows
        With the period in ``time`` where the model has one.
    problem : SpaceTimeProblem
        In the coordinates of `basis`.
    arrays : AreaArrays
        The same rows as one fit, for what all area-level models do with them.
    basis : Basis
    X : ndarray of float, shape (M, p)
        Covariates in the coordinates of `basis`.
    level : ndarray of float, shape (M,)
        What is taken out of the direct estimates.
    area, period : ndarray of int, shape (M,)
        Place of each row on the grid.
    areas : list of str
    adjacency : sparse array, shape (D, D), or None
        Of the map.
    islands : list of str
        Areas without a neighbour; empty without a map.
    gaps : list of Message
        Periods that no row has, and areas of the map that the data lack.
    """

    rows: AreaRows
    problem: SpaceTimeProblem
    arrays: AreaArrays
    basis: Basis
    X: np.ndarray
    level: np.ndarray
    area: np.ndarray
    period: np.ndarray
    areas: list[str]
    adjacency: sparse.csr_matrix | None
    islands: list[str]
    gaps: list[Message]

    def of_rows(self, grid: np.ndarray) -> np.ndarray:
        """Values of the rows from a grid, shape (..., D, T)."""
        return grid[..., self.area, self.period]

    def estimates(self, grid: np.ndarray) -> np.ndarray:
        """Values of the rows from a grid of predictions, on the scale of the direct estimates."""
        return self.of_rows(grid) + self.level

    def fitted(self, beta: np.ndarray) -> np.ndarray:
        """Regression part of the rows from coefficients in the coordinates of `basis`, shape (M,)."""
        return np.asarray(self.level + self.X @ beta)

    def messages(self, at_zero: bool = False) -> list[Message]:
        """Return what is to be said of variances all estimated 0, of the covariates and of the map."""
        messages = [boundary_all()] if at_zero else []
        messages += [*self.gaps, *self._without_direct(), *self.arrays.messages()]
        if self.islands:
            text = f"{len(self.islands)} areas have no neighbour: {name_some(self.islands)}."
            messages.append(Message(text))
        return messages

    def _without_direct(self) -> list[Message]:
        """Name the periods in which no area has a direct estimate."""
        sampled = np.bincount(self.period, weights=self.rows.sampled)
        rows = np.bincount(self.period)
        time = self.rows.columns["time"]
        gaps = [
            str(time[int(np.argmax(self.period == k))]) for k in np.flatnonzero((rows > 0) & (sampled == 0))
        ]
        if not gaps:
            return []
        text = f"No area has a direct estimate in {name_some(gaps, 10)}: these estimates come from the "
        return [Message(f"{text}covariates and the periods around them, with wider intervals.")]

    def residuals(self, fitted: np.ndarray, effects: np.ndarray, beta_cov: np.ndarray) -> pd.DataFrame:
        """Return the regression residuals of the sampled rows, each over its standard deviation.

        Parameters
        ----------
        fitted : ndarray of float, shape (M,)
        effects : ndarray of float, shape (M,)
            Variances of the area effects.
        beta_cov : ndarray of float, shape (p, p)
            In the coordinates of `basis`.
        """
        on, arrays = np.flatnonzero(self.rows.sampled), self.arrays
        total = effects + np.where(self.rows.sampled, arrays.D, 0.0)
        taken = np.einsum("mp,pq,mq->m", self.X, beta_cov, self.X)
        residual = arrays.y - fitted
        standardised = residual / np.sqrt(np.maximum(total - taken, 1e-12 * total))
        columns = (fitted, residual, standardised, taken / total)
        return residual_table(on, self.rows.names[on], *(values[on] for values in columns))

    @property
    def cells(self) -> list[str]:
        """Names of the random streams of the grid, area by area; empty cells have names of their own."""
        n_times = self.problem.seen.shape[1]
        names = [f"{area}\x1f{period}\x1fempty" for area in self.areas for period in range(n_times)]
        for row, place in enumerate(self.area * n_times + self.period):
            names[place] = self.rows.labels[row]
        return names


def build_panel(
    rows: AreaRows, covariates: str, spatial: SpatialEffect | None, temporal: TemporalEffect | None
) -> Panel:
    """Check the rows, lay them on the grid and build the design.

    Parameters
    ----------
    rows : AreaRows
        Read with the column of the periods as `per`, if there is one.
        Covariances of the direct estimates are used.
    covariates : str
        Right-hand side of the formula.
    spatial, temporal : component or None

    Raises
    ------
    SaeInputError
        If a variance or covariate is not usable, an area stands twice in a period, there is one period only,
        sampling covariances are not positive definite, or the map and the areas do not match.
    """
    y, D = model_scale(rows, TRANSFORMS["identity"])
    design, X = design_of(rows, covariates)
    check_rank(X[rows.sampled], design.columns, "")
    names = rows.columns["domain"]
    areas = list(dict.fromkeys(names))
    place = {area: k for k, area in enumerate(areas)}
    area = np.array([place[name] for name in names], dtype=np.int64)
    period, gaps = np.zeros(len(names), dtype=np.int64), list[Message]()
    if temporal is not None:
        periods = rows.fits.iloc[:, 0]
        axis = temporal.axis(periods)
        period, gaps = axis.place[rows.fit], axis.messages
        rows = replace(rows, columns={**rows.columns, "time": text_of(periods)[rows.fit]})
    _refuse_twice(area, period, areas, temporal)
    n_areas, n_times = len(areas), int(period.max()) + 1
    basis = orthonormal_basis(X[rows.sampled], y[rows.sampled])
    level, Q = X @ basis.fitted, basis.of(X)
    grid_y, grid_X = np.full((n_areas, n_times), np.nan), np.zeros((n_areas, n_times, X.shape[1]))
    grid_y[area, period], grid_X[area, period] = np.where(rows.sampled, y - level, np.nan), Q
    psi = np.zeros((n_areas, n_times, n_times))
    psi[area, period, period] = D
    if temporal is not None:
        _covary(psi, rows, temporal, area, period)
        _refuse_indefinite(psi, np.isfinite(grid_y), areas)
    adjacency, left_out = (None, ()) if spatial is None else spatial.on(areas)
    gaps = [*gaps, *map_cut(left_out)]
    W = None if adjacency is None else row_standardised(adjacency)
    islands = [] if W is None else [areas[k] for k in np.flatnonzero(np.diff(W.indptr) == 0)]
    rows = replace(rows, fit=np.zeros(len(names), dtype=np.int64), fits=ONE_FIT)
    arrays = AreaArrays(
        rows,
        np.arange(len(names)),
        y,
        D,
        X,
        rows.sampled,
        np.array([0, len(names)]),
        design,
        "identity",
    )
    problem = spacetime_problem(grid_y, grid_X, psi, W)
    return Panel(rows, problem, arrays, basis, Q, level, area, period, areas, adjacency, islands, gaps)


def _refuse_twice(area: np.ndarray, period: np.ndarray, areas: list[str], temporal: object) -> None:
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
    temporal: TemporalEffect,
    area: np.ndarray,
    period: np.ndarray,
) -> None:
    """Fill in sampling covariances between periods of an area."""
    if rows.from_direct:
        if rows.covariance is None:
            return
        index = pd.MultiIndex.from_tuples([tuple(map(label_text, key)) for key in rows.covariance.index])
        rows_of = rows.table[["indicator", "domain", "time"]].astype("object")
        at = index.get_indexer(pd.MultiIndex.from_frame(rows_of))
        covariance = rows.covariance.to_numpy(dtype=float)
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
    require(rows.covariates, [temporal.covariance], role="(the covariance of AR1)")
    values = to_numbers(rows.covariates, temporal.covariance, names=rows.names)
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
