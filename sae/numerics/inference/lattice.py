"""Nodes for a posterior density of a few hyperparameters: mode, lattice in its own coordinates, proposals.

The trapezoidal rule on a lattice converges exponentially for smooth densities that fall off on all sides (its
error for a normal density at a step of one standard deviation is 5e-9), so that two lattices, one shifted by
half a cell, show their own error by their difference.

References
----------
Trefethen and Weideman (2014), SIAM Review 56, 385-458; Rue, Martino and Chopin (2009), J. R. Stat. Soc. B 71,
section 6.5 (the lattice in the coordinates of the Hessian).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import gammaln

from sae.errors import SaeConvergenceError

__all__ = ["Lattice", "LogDensity", "Proposal", "find_mode", "lattice", "spread_of"]

LogDensity = Callable[[np.ndarray], np.ndarray]
_STEP = 0.05  # of finite differences, in working units, before the scale is known
_MOST = 20_000  # nodes of one lattice


@dataclass(frozen=True, eq=False)
class Lattice:
    """Points of a lattice where the density counts.

    Attributes
    ----------
    points : ndarray, shape (K, d)
    log_density : ndarray, shape (K,)
    log_cell : float
        Log volume of one cell.
    """

    points: np.ndarray
    log_density: np.ndarray
    log_cell: float

    @property
    def log_mass(self) -> float:
        """Logarithm of the integral of the density."""
        top = self.log_density.max()
        return float(top + np.log(np.exp(self.log_density - top).sum()) + self.log_cell)

    @property
    def weights(self) -> np.ndarray:
        """Share of each point in the integral, shape (K,)."""
        values = np.exp(self.log_density - self.log_density.max())
        return values / values.sum()

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean, shape (d,), and covariance, shape (d, d), of the density."""
        mean = self.weights @ self.points
        centred = self.points - mean
        return mean, centred.T @ (self.weights[:, None] * centred)


@dataclass(frozen=True, eq=False)
class Proposal:
    """Student's t with 5 degrees of freedom: wider than a posterior that falls off exponentially.

    Attributes
    ----------
    centre : ndarray, shape (d,)
    root : ndarray, shape (d, d)
        root root' is the scale matrix.
    """

    centre: np.ndarray
    root: np.ndarray
    freedom = 5.0

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return n points, shape (n, d), and their log density, shape (n,)."""
        d, nu = len(self.centre), self.freedom
        z = rng.standard_normal((n, d))
        t = z / np.sqrt(rng.chisquare(nu, (n, 1)) / nu)
        constant = (
            gammaln(0.5 * (nu + d))
            - gammaln(0.5 * nu)
            - 0.5 * d * np.log(np.pi * nu)
            - np.linalg.slogdet(self.root)[1]
        )
        return self.centre + t @ self.root.T, constant - 0.5 * (nu + d) * np.log1p((t * t).sum(axis=1) / nu)


def find_mode(log_density: LogDensity, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Climb from the best of `starts`, shape (k, d), by Newton steps on finite differences.

    Returns
    -------
    mode : ndarray, shape (d,)
    spread : ndarray, shape (d, d)
        Root of the inverse of minus the Hessian, each of its axes between 1e-4 and 3 working units.

    Raises
    ------
    SaeConvergenceError
        If the density is nowhere finite.
    """
    values = log_density(starts)
    if not np.isfinite(values).any():
        raise SaeConvergenceError("The posterior density of the hyperparameters is nowhere finite.")
    at, best = starts[np.nanargmax(values)], float(np.nanmax(values))
    axes = np.eye(len(at)) * _STEP
    for _ in range(40):
        gradient, hessian = _differences(log_density, at, best, axes)
        size, turn = np.linalg.eigh(-hessian)
        # where it is flat or bends upwards, go uphill by no more than three units
        axes = turn / np.sqrt(np.clip(size, 1.0 / 9.0, 1e8))
        step = axes @ (axes.T @ gradient)
        step *= min(1.0, 3.0 / np.abs(step).max()) if np.abs(step).max() > 0 else 1.0
        tried = at + step * 0.5 ** np.arange(8.0)[:, None]
        found = log_density(tried)
        which = int(np.nanargmax(found))
        gain = float(found[which]) - best
        if gain > 0:
            at, best = tried[which], float(found[which])
        if gain < 1e-3:
            break
        axes = 0.3 * axes
    return at, _differences_root(log_density, at, best, axes)


def _differences_root(log_density: LogDensity, at: np.ndarray, top: float, axes: np.ndarray) -> np.ndarray:
    _, hessian = _differences(log_density, at, top, 0.3 * axes)
    size, turn = np.linalg.eigh(-hessian)
    return turn / np.sqrt(np.clip(size, 1.0 / 9.0, 1e8))


def _differences(
    log_density: LogDensity, at: np.ndarray, here: float, axes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian by central differences along the columns of `axes`, in one call."""
    d = len(at)
    ahead = axes.T
    pairs = [(i, j) for i in range(d) for j in range(i)]
    offsets = [
        *ahead,
        *(-ahead),
        *(ahead[i] + ahead[j] for i, j in pairs),
        *(-ahead[i] - ahead[j] for i, j in pairs),
    ]
    values = np.nan_to_num(log_density(at + np.array(offsets)), nan=-1e300, neginf=-1e300) - here
    values = np.maximum(values, -1e6)
    plus, minus = values[:d], values[d : 2 * d]
    both, neither = values[2 * d : 2 * d + len(pairs)], values[2 * d + len(pairs) :]
    gradient, hessian = 0.5 * (plus - minus), np.diag(plus + minus)
    for k, (i, j) in enumerate(pairs):
        mixed = 0.5 * (both[k] + neither[k] - plus[i] - minus[i] - plus[j] - minus[j])
        hessian[i, j] = hessian[j, i] = mixed
    back = np.linalg.inv(axes)
    return back.T @ gradient, back.T @ hessian @ back


def lattice(
    log_density: LogDensity,
    centre: np.ndarray,
    root: np.ndarray,
    *,
    step: float,
    drop: float,
    shift: float = 0.0,
) -> Lattice:
    """Spread a lattice from `centre` to wherever the density is within `drop` nats of its top.

    Parameters
    ----------
    centre : ndarray, shape (d,)
    root : ndarray, shape (d, d)
        Its columns, times `step`, are the edges of a cell.
    shift : float
        Of the whole lattice along every axis, in cells.

    Raises
    ------
    SaeConvergenceError
        If the density does not fall off within 20,000 nodes.
    """
    d = len(centre)
    known: dict[tuple[int, ...], float] = {}
    frontier = list(product((-1, 0) if shift else (0,), repeat=d))
    top = -np.inf
    while frontier:
        points = centre + step * (np.array(frontier, dtype=float) + shift) @ root.T
        values = log_density(points)
        known.update(zip(frontier, np.where(np.isnan(values), -np.inf, values), strict=True))
        top = max(top, float(np.nanmax(values)))
        if len(known) > _MOST:
            raise SaeConvergenceError(f"The posterior density does not fall off within {_MOST} nodes.")
        beside = {
            (*cell[:k], cell[k] + way, *cell[k + 1 :])
            for cell in frontier
            if known[cell] > top - drop
            for k in range(d)
            for way in (-1, 1)
        }
        frontier = sorted(beside - known.keys())
    cells = [cell for cell, value in known.items() if value > top - drop]
    points = centre + step * (np.array(cells, dtype=float) + shift) @ root.T
    log_cell = d * np.log(step) + float(np.linalg.slogdet(root)[1])
    return Lattice(points, np.array([known[cell] for cell in cells]), log_cell)


def spread_of(found: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """Mean of a density, and the root of its covariance along the eigenvectors."""
    mean, covariance = found.moments()
    size, turn = np.linalg.eigh(covariance)
    return mean, turn * np.sqrt(np.maximum(size, 1e-12))
