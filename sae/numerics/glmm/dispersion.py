"""One parameter of the likelihood integrated on nodes, with a fit of `posterior` at each of them.

The parameter is a correlation ρ between 0 and 1 with a beta prior. The nodes are equally spaced in
z = Φ⁻¹(ρ): uniform ρ is standard normal z, so that the posterior of z falls off like a normal density on both
sides, where logit ρ has an exponential tail. The weight of a node is prior × evidence: the trapezoid rule,
whose spacing is halved until every second node says nearly the same as all of them.

References
----------
Trefethen and Weideman (2014), SIAM Review 56, 385-458 (equally spaced nodes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import log_ndtr, ndtr

from sae.numerics.glmm.posterior import GridFit, GridProblem, fit_grid

__all__ = ["DispersionFit", "fit_dispersion"]

_STEP = 1.0  # of z, before any halving
_FIRST = -1.0  # ρ = 0.16
_ENDS = (-5.0, 4.0)  # ρ from 3e-7 to 1 - 3e-5
_DROP = 7.0  # in log density, to which z is followed on both sides: beyond lies less than 1e-3
_SAME = 0.1  # posterior deviations between all nodes and every second one: all nodes err by its square
_HALVINGS = 5
_CELLS = 4000


@dataclass(frozen=True, eq=False)
class DispersionFit:
    """Fits at the nodes of ρ, and their weights.

    Attributes
    ----------
    z, log_density : ndarray, shape (K,)
        Equally spaced nodes of Φ⁻¹(ρ), ascending, and the log density of z there up to a constant.
    fits : tuple of GridFit
    error : float
        Largest change of the posterior mean of a coefficient, of log σ or of z when every second node is left
        out, in posterior deviations.
    """

    z: np.ndarray
    log_density: np.ndarray
    fits: tuple[GridFit, ...]
    error: float

    @property
    def weights(self) -> np.ndarray:
        """Weights of the nodes, shape (K,)."""
        found = np.exp(self.log_density - self.log_density.max())
        return found / found.sum()

    def rho(self, places: np.ndarray) -> np.ndarray:
        """Return quantiles of ρ at probabilities: the log density between the nodes is interpolated."""
        fine, cumulated = self._fine()
        return ndtr(np.interp(places, cumulated, fine))

    def nodes(self, places: np.ndarray) -> np.ndarray:
        """Return the nodes that draws with these quantiles of ρ belong to."""
        return np.searchsorted(np.cumsum(self.weights)[:-1], places)

    def rho_moments(self) -> tuple[float, float]:
        """Return posterior mean and standard deviation of ρ."""
        values = self.rho((np.arange(_CELLS) + 0.5) / _CELLS)
        return float(values.mean()), float(values.std())

    def _fine(self) -> tuple[np.ndarray, np.ndarray]:
        half = 0.5 * (self.z[1] - self.z[0])
        edges = np.linspace(self.z[0] - half, self.z[-1] + half, _CELLS + 1)
        curve = CubicSpline(self.z, self.log_density)
        density = np.exp(np.minimum(curve(0.5 * (edges[1:] + edges[:-1])) - self.log_density.max(), 1.0))
        cumulated = np.concatenate([[0.0], np.cumsum(density)])
        return edges, cumulated / cumulated[-1]


def fit_dispersion(
    problem_at: Callable[[float], GridProblem],
    start: tuple[np.ndarray, float],
    prior: tuple[float, float],
    points: int,
) -> DispersionFit:
    """Fit at as many nodes of ρ as its posterior needs.

    Parameters
    ----------
    problem_at : callable
        ρ to the problem given ρ.
    start : (ndarray of shape (p,), float)
        First guess of β and σ.
    prior : (float, float)
        Beta prior of ρ.
    points : int
        Of β and σ at each node.

    Raises
    ------
    SaeConvergenceError
        As `fit_grid`.
    """
    walk = _Walk(problem_at, start, prior, points)
    step, top = _STEP, _FIRST
    while walk(top + step) > walk(top) and top < _ENDS[1]:
        top += step
    while walk(top - step) > walk(top) and top > _ENDS[0]:
        top -= step
    for sign, end in zip((-1.0, 1.0), _ENDS, strict=True):
        z = top
        while walk(z) > walk(top) - _DROP and sign * (end - z) > 0.0:
            z += sign * step
    found = walk.gathered(step)
    for _ in range(_HALVINGS):
        if found.error < _SAME and len(found.z) > 4:
            break
        step *= 0.5
        for z in found.z[:-1]:
            walk(z + step)
        found = walk.gathered(step)
    return found


class _Walk:
    """Log densities of z, each fit started from the nearest one, and kept."""

    def __init__(
        self,
        problem_at: Callable[[float], GridProblem],
        start: tuple[np.ndarray, float],
        prior: tuple[float, float],
        points: int,
    ) -> None:
        self.problem_at, self.start, self.prior, self.points = problem_at, start, prior, points
        self.found: dict[float, tuple[float, GridFit]] = {}

    def __call__(self, z: float) -> float:
        if z not in self.found:
            start = self.start
            if self.found:
                path = self.found[min(self.found, key=lambda other: abs(other - z))][1].path
                top = path.log_density.argmax()
                start = path.beta[top], float(np.exp(path.t[top]))
            fit = fit_grid(self.problem_at(float(ndtr(z))), start, self.points)
            a, b = self.prior
            prior = (a - 1.0) * log_ndtr(z) + (b - 1.0) * log_ndtr(-z) - 0.5 * z * z
            self.found[z] = fit.log_evidence + float(prior), fit
        return self.found[z][0]

    def gathered(self, step: float) -> DispersionFit:
        """Return the nodes within reach of the highest."""
        peak = max(value for value, _ in self.found.values())
        z = np.array(sorted(k for k, (value, _) in self.found.items() if value > peak - _DROP))
        z = np.arange(np.rint(z[0] / step), np.rint(z[-1] / step) + 1.0) * step
        for node in z:
            self(float(node))
        values = np.array([self.found[k][0] for k in z])
        fits = tuple(self.found[k][1] for k in z)
        return DispersionFit(z, values, fits, _halved(z, values, fits))


def _halved(z: np.ndarray, log_density: np.ndarray, fits: tuple[GridFit, ...]) -> float:
    """Change of posterior means when every second node is left out, in posterior deviations."""
    means, squares = [], []
    for place, fit in zip(z, fits, strict=True):
        values = np.column_stack([fit.beta, fit.log_sigma, np.full(len(fit.beta), place)])
        means.append(fit.weights @ values)
        squares.append(fit.weights @ values**2)
    weights = np.exp(log_density - log_density.max())
    weights /= weights.sum()
    mean = weights @ np.array(means)
    sd = np.sqrt(np.maximum(weights @ np.array(squares) - mean**2, 1e-300))
    some = weights[::2] / weights[::2].sum()
    return float((np.abs(some @ np.array(means[::2]) - mean) / sd).max())
