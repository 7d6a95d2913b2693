"""Posterior of coefficients and the effects' standard deviation, area effects integrated out on grids.

Points of a Sobol' sequence, laid along the Laplace approximation of `laplace`, are weighted by the exact
posterior; the weights are smoothed and checked (PSIS). No random number enters: the fit of the same data is
the same fit. The coefficients are flat unless they are given a normal prior; the standard deviation has any
prior of `priors`.

References
----------
Vehtari, Simpson, Gelman, Yao and Gabry (2024), J. Mach. Learn. Res. 25(72) (PSIS).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sae.numerics.glmm.integrals import area_marginals, draw_effects, holds, marginals
from sae.numerics.glmm.laplace import GridProblem, LaplacePath, laplace_path
from sae.numerics.glmm.small_effects import narrow_posterior
from sae.numerics.glmm.sobol import WeightedPoints, weigh_points
from sae.numerics.glmm.tables import GridTables, build_tables
from sae.numerics.random.streams import normals

__all__ = [
    "GridFit",
    "GridProblem",
    "draw_all_effects",
    "fit_along",
    "fit_grid",
    "groups_of",
    "log_marginals",
]

_BIN = np.log(1.4)  # points whose σ lie within a factor of 1.4 share tables
_REACH = 6.0  # deviations of x'β that tables hold
_CHECKED = 64  # points at which the integrals are repeated with every node


@dataclass(frozen=True, eq=False)
class GridFit(WeightedPoints):
    """Weighted points of the hyperparameters of a problem on grids.

    Attributes
    ----------
    problem : GridProblem
    path : LaplacePath
    error : float
        Largest change of a log weight when the integrals take every node.
    tables : dict of int to GridTables
        Tables by bin of σ.
    """

    problem: GridProblem
    path: LaplacePath
    error: float
    tables: dict[int, GridTables]


def fit_grid(problem: GridProblem, start: tuple[np.ndarray, float], points: int = 4096) -> GridFit:
    """Fit by weighted points.

    Parameters
    ----------
    problem : GridProblem
    start : (ndarray of shape (p,), float)
        First guess of β and σ.
    points : int
        A power of 2.

    Raises
    ------
    SaeConvergenceError
        If no mode is found, or the Pareto k of the weights is above 0.7.
    """
    return fit_along(problem, laplace_path(problem, start), points)


def fit_along(problem: GridProblem, path: LaplacePath, points: int) -> GridFit:
    """Fit by weighted points along a path that is known already; see `fit_grid`."""
    tables: dict[int, GridTables] = {}

    def log_posterior(beta: np.ndarray, log_sigma: np.ndarray) -> np.ndarray:
        found = log_marginals(problem, path, beta, log_sigma, tables)
        return found + problem.log_prior(beta, log_sigma)

    found, values = weigh_points(path, points, log_posterior)
    values = values - problem.log_prior(found.beta, found.log_sigma)
    return _checked(
        GridFit(**found.__dict__, problem=problem, path=path, error=np.nan, tables=tables), values
    )


def _checked(fit: GridFit, values: np.ndarray) -> GridFit:
    """Return the same fit with the error of its integrals, at points spread over the posterior."""
    index = np.unique(fit.spread(_CHECKED))
    every = {number: grid.every_node() for number, grid in fit.tables.items()}
    again = log_marginals(fit.problem, fit.path, fit.beta[index], fit.log_sigma[index], every)
    change = again - values[index]
    error = float(np.abs(change - change.mean()).max())
    return GridFit(**{**fit.__dict__, "error": error})


def log_marginals(
    problem: GridProblem,
    path: LaplacePath,
    beta: np.ndarray,
    log_sigma: np.ndarray,
    tables: dict[int, GridTables],
    by_area: bool = False,
) -> np.ndarray:
    """Return the log-likelihood of (β, log σ), effects integrated out: shape (S,), or (S, n) by area.

    Parameters
    ----------
    path : LaplacePath
        Where the tables of each bin of σ are centred.
    tables : dict
        Tables by bin, filled on the way.
    by_area : bool
    """
    kernel = area_marginals if by_area else marginals
    sigma = np.exp(log_sigma)
    values = np.empty((len(sigma), len(problem.X)) if by_area else len(sigma))
    for members, grid in groups_of(problem, path, beta, log_sigma, tables):
        if grid is None:
            parts = narrow_posterior(problem.log_likelihood, problem.X, beta[members], sigma[members])[0]
            values[members] = parts if by_area else parts.sum(axis=1)
        else:
            values[members] = kernel(grid, problem.X, beta[members], sigma[members])
    # an effect so many σ from its mean that its normal density overflows on a grid has none
    values[np.isnan(values)] = -np.inf
    return values


def draw_all_effects(
    fit: GridFit, beta: np.ndarray, sigma: np.ndarray, keys: np.ndarray, index: np.ndarray | None = None
) -> np.ndarray:
    """Draw the linear predictors of the sampled areas, one for each row of (β, σ): shape (S, n).

    Parameters
    ----------
    index : ndarray of int, shape (S,), optional
        Numbers of the draws, which name their random numbers: 0, 1, ... by default.
    """
    problem = fit.problem
    index = np.arange(len(sigma), dtype=np.uint64) if index is None else index.astype(np.uint64)
    out = np.empty((len(sigma), len(problem.X)))
    for members, grid in groups_of(problem, fit.path, beta, np.log(sigma), dict(fit.tables)):
        if grid is None:
            _, mean, sd = narrow_posterior(problem.log_likelihood, problem.X, beta[members], sigma[members])
            out[members] = mean + sd * normals(keys, 0, int(index.max()) + 1)[index[members]]
        else:
            out[members] = draw_effects(grid, problem.X, beta[members], sigma[members], index[members], keys)
    return out


def groups_of(
    problem: GridProblem,
    path: LaplacePath,
    beta: np.ndarray,
    log_sigma: np.ndarray,
    tables: dict[int, GridTables],
) -> Iterator[tuple[np.ndarray, GridTables | None]]:
    """Give all points in groups, each with tables that hold them: those of its bin of σ, or its own.

    None are the points whose σ is narrow: see `small_effects`.
    """
    peak = path.t[path.log_density.argmax()]
    narrow = log_sigma < path.narrow
    if narrow.any():
        yield np.flatnonzero(narrow), None
    number = np.rint((log_sigma - peak) / _BIN).astype(int)
    present = np.unique(number[~narrow])
    for k in present[np.argsort(np.abs(present), kind="stable")]:
        members = np.flatnonzero((number == k) & ~narrow)
        if k not in tables:
            t = np.array([peak + k * _BIN])
            centre, root = path.at(t)
            reach = _REACH * np.sqrt(((problem.X @ root[0]) ** 2).sum(axis=1))
            near = tables[min(tables, key=lambda other: abs(other - k))] if tables else None
            tables[int(k)] = build_tables(
                problem.log_likelihood, problem.X @ centre[0], float(np.exp(t[0])), reach, near
            )
        grid = tables[k]
        held = holds(grid, problem.X, beta[members], np.exp(log_sigma[members]))
        if held.any():
            yield members[held], grid
        rest = members[~held]
        while len(rest):
            first = rest[0]
            mean, sigma = problem.X @ beta[first], float(np.exp(log_sigma[first]))
            own = build_tables(problem.log_likelihood, mean, sigma, near=grid)
            held = holds(own, problem.X, beta[rest], np.exp(log_sigma[rest]))
            held[0] = True
            yield rest[held], own
            rest = rest[~held]
