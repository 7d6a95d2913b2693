"""One parameter of the likelihood integrated on nodes, with a fit of `posterior` at each of them.

The parameter is a correlation ρ between 0 and 1 with a beta prior, and z = Φ⁻¹(ρ): uniform ρ is standard
normal z, so that the posterior of z falls off on both sides. Its density is first looked through on the whole
line, climbed from every hill and followed down on both sides, by the Laplace approximation, whose integral is
P(z). The nodes are equally spaced in s = Φ⁻¹(P(z)), in which the posterior is nearly standard normal whatever
its shape in z: long ridges with a cliff at their end, several hills. The weight of a node is prior × evidence
× dz/ds: the trapezoid rule, whose spacing is halved until every second node says nearly the same as all.

References
----------
Trefethen and Weideman (2014), SIAM Review 56, 385-458 (equally spaced nodes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.special import log_ndtr, ndtr

from sae.errors import SaeConvergenceError
from sae.numerics.glmm.laplace import GridProblem, LaplacePath, laplace_path
from sae.numerics.glmm.posterior import GridFit, fit_along

__all__ = ["DispersionFit", "fit_dispersion"]

_SCAN = np.arange(-6.0, 4.1, 1.0)  # of z: ρ from 1e-9 to 1 - 3e-5
_ENDS = (-8.0, 6.0)  # beyond, ρ or 1 - ρ is rounding
_DROP = 12.0  # in log density, to which z is followed on both sides, and below which a hill holds nothing
_JUMP = 3.0  # in log density between neighbouring points of the Laplace approximation
_REACH = 3.6  # of s: beyond lies 3e-4 of the probability, and as much of a deviation
_STEP = 0.9  # of s at first
_EDGE = 4.0  # in log density of s, by which the last nodes must at least be below the highest
_SAME = 0.1  # posterior deviations between all nodes and every second one: all nodes err by its square
_HALVINGS = 4
_CELLS = 4000


@dataclass(frozen=True, eq=False)
class _Scores:
    """The integral P of a log density of z, and s = Φ⁻¹(P).

    Attributes
    ----------
    edges, cumulated : ndarray, shape (cells + 1,)
        z, and P there.
    curve : callable
        z to its log density, normalised.
    """

    edges: np.ndarray
    cumulated: np.ndarray
    curve: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(cls, z: np.ndarray, log_density: np.ndarray) -> _Scores:
        """Integrate a log density that is known at some places, ascending."""
        raw = PchipInterpolator(z, log_density)
        edges = np.linspace(z[0], z[-1], _CELLS + 1)
        density = np.exp(raw(0.5 * (edges[1:] + edges[:-1])) - log_density.max())
        level = log_density.max() + np.log(density.sum() * (edges[1] - edges[0]))
        return cls(edges, np.append(0.0, density.cumsum()) / density.sum(), lambda z: raw(z) - level)

    def z(self, s: np.ndarray) -> np.ndarray:
        """Return z at scores."""
        return np.interp(ndtr(s), self.cumulated, self.edges)


@dataclass(frozen=True, eq=False)
class DispersionFit:
    """Fits at the nodes of ρ, and their weights.

    Attributes
    ----------
    s, z, log_density : ndarray, shape (K,)
        Equally spaced scores, ascending; Φ⁻¹(ρ) there; and the log density of s up to a constant.
    fits : tuple of GridFit
        Without their tables, which take much memory and are built again where they are needed.
    scores : _Scores
        From s to z.
    error : float
        Largest change of the posterior mean of a coefficient, of log σ or of z when every second node is left
        out, in posterior deviations.
    """

    s: np.ndarray
    z: np.ndarray
    log_density: np.ndarray
    fits: tuple[GridFit, ...]
    scores: _Scores
    error: float

    @property
    def weights(self) -> np.ndarray:
        """Weights of the nodes, shape (K,)."""
        return _weights(self.log_density)

    def rho(self, places: np.ndarray) -> np.ndarray:
        """Return quantiles of ρ at probabilities: the log density between the nodes is interpolated."""
        half = 0.5 * (self.s[1] - self.s[0])
        edges = np.linspace(self.s[0] - half, self.s[-1] + half, _CELLS + 1)
        curve = CubicSpline(self.s, self.log_density)
        density = np.exp(np.minimum(curve(0.5 * (edges[1:] + edges[:-1])) - self.log_density.max(), 1.0))
        cumulated = np.append(0.0, density.cumsum()) / density.sum()
        return ndtr(self.scores.z(np.interp(places, cumulated, edges)))

    def nodes(self, places: np.ndarray) -> np.ndarray:
        """Return the nodes that draws with these quantiles of ρ belong to."""
        return np.searchsorted(np.cumsum(self.weights)[:-1], places)

    def rho_moments(self) -> tuple[float, float]:
        """Return posterior mean and standard deviation of ρ."""
        values = self.rho((np.arange(_CELLS) + 0.5) / _CELLS)
        return float(values.mean()), float(values.std())


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
        As `fit_grid`; if the posterior of ρ does not fall off towards 0 or 1, or if its nodes still disagree
        after four halvings of their spacing.
    """
    line = _Line(problem_at, start, prior)
    scores = _Scores.of(*_followed(line))
    nodes = _Nodes(line, scores, points)
    step = _STEP
    for _ in range(_HALVINGS + 1):
        found = nodes.gathered(step)
        if found.error < _SAME:
            break
        step *= 0.5
    below = found.log_density.max() - found.log_density
    if found.error > _SAME or min(below[0], below[-1]) < _EDGE:
        raise SaeConvergenceError(
            f"The posterior of rho was not found: {len(found.s)} nodes and every second of them differ by "
            f"{found.error:.2f} posterior deviations, and the outermost lie {below[0]:.1f} and "
            f"{below[-1]:.1f} below the highest in log density.",
            hint="Use a rho_prior that knows more.",
        )
    return found


def _followed(line: _Line) -> tuple[np.ndarray, np.ndarray]:
    """Return places of z, ascending from one end of the posterior to the other, and the log density there."""
    values = np.array([line(z) for z in _SCAN])
    padded = np.concatenate([[-np.inf], values, [-np.inf]])
    hills = np.flatnonzero((values >= padded[:-2]) & (values >= padded[2:]))
    tops = [_climbed(line, float(_SCAN[k])) for k in hills]
    peak = max(line(z) for z in tops)
    tops = [z for z in tops if line(z) > peak - _DROP]
    low, high = _fallen(line, min(tops), -1.0, peak), _fallen(line, max(tops), 1.0, peak)
    while True:
        z = np.array(sorted(place for place in line.values if low <= place <= high))
        values = np.array([line(place) for place in z])
        wide = np.diff(z) > (high - low) / 10.0
        steep = (np.abs(np.diff(values)) > _JUMP) & (np.maximum(values[1:], values[:-1]) > peak - 0.7 * _DROP)
        open_ = np.flatnonzero((wide | steep) & (np.diff(z) > 1e-3 * (high - low)))
        if not len(open_):
            return z, values
        for k in open_:
            line(float(0.5 * (z[k] + z[k + 1])))


def _climbed(line: _Line, z: float) -> float:
    """Return a place within a deviation of the top of the hill at z."""
    step = 0.5
    while step > 1e-4:
        here, beside = line(z), [float(np.clip(z + way * step, *_ENDS)) for way in (-1.0, 1.0)]
        best = max(beside, key=line)
        if line(best) > here:
            z = best
        elif here - min(map(line, beside)) < 0.5:
            break
        else:
            step *= 0.5
    return z


def _fallen(line: _Line, z: float, sign: float, peak: float) -> float:
    """Return where the density has fallen by `_DROP` beyond z, or by up to half as much again.

    Raises
    ------
    SaeConvergenceError
        If it falls nowhere.
    """
    inside, width, end = z, 0.125, _ENDS[0] if sign < 0.0 else _ENDS[1]
    while True:
        outside = inside + sign * width
        if sign * (outside - end) >= 0.0:
            outside = end
        if line(outside) < peak - _DROP:
            break
        if outside == end:
            raise SaeConvergenceError(
                f"The posterior of rho does not fall off towards {0 if sign < 0.0 else 1}.",
                hint="Use a rho_prior with larger numbers; where trials are independent, sae.BinomialMixed.",
            )
        inside, width = outside, 1.5 * width
    while line(outside) < peak - 1.5 * _DROP:
        middle = 0.5 * (inside + outside)
        if line(middle) < peak - _DROP:
            outside = middle
        else:
            inside = middle
    return outside


class _Line:
    """Laplace approximations of the log density of z, each path started from the nearest one, and kept."""

    def __init__(
        self,
        problem_at: Callable[[float], GridProblem],
        start: tuple[np.ndarray, float],
        prior: tuple[float, float],
    ) -> None:
        self.problem_at, self.start, self.prior = problem_at, start, prior
        self.paths: dict[float, LaplacePath] = {}
        self.values: dict[float, float] = {}

    def __call__(self, z: float) -> float:
        if z not in self.values:
            path = self.at(z, rough=True)[1]
            top = path.log_density.max()
            mass = np.trapezoid(np.exp(path.log_density - top), path.t)
            self.values[z] = float(top + np.log(mass)) + self.log_prior(z)
        return self.values[z]

    def at(self, z: float, rough: bool = False) -> tuple[GridProblem, LaplacePath]:
        """Return the problem given this z and the path of its coefficients."""
        start = self.start
        if self.paths:
            near = self.paths[min(self.paths, key=lambda other: abs(other - z))]
            top = near.log_density.argmax()
            start = near.beta[top], float(np.exp(near.t[top]))
        problem = self.problem_at(float(ndtr(z)))
        path = laplace_path(problem, start, rough)
        self.paths[z] = path
        return problem, path

    def log_prior(self, z: float) -> float:
        """Return the log density of z before the data, up to a constant."""
        a, b = self.prior
        return float((a - 1.0) * log_ndtr(z) + (b - 1.0) * log_ndtr(-z) - 0.5 * z * z)


class _Nodes:
    """Fits at scores, kept."""

    def __init__(self, line: _Line, scores: _Scores, points: int) -> None:
        self.line, self.scores, self.points = line, scores, points
        self.fits: dict[float, GridFit] = {}

    def gathered(self, step: float) -> DispersionFit:
        """Return nodes so far apart."""
        s = step * np.arange(-round(_REACH / step), round(_REACH / step) + 1)
        z = self.scores.z(s)
        log_density = np.empty(len(s))
        for k, place in enumerate(z):
            if place not in self.fits:
                self.fits[place] = replace(fit_along(*self.line.at(float(place)), self.points), tables={})
            log_density[k] = self.fits[place].log_evidence + self.line.log_prior(float(place))
        log_density += -0.5 * s * s - self.scores.curve(z)
        fits = tuple(self.fits[place] for place in z)
        return DispersionFit(s, z, log_density, fits, self.scores, _halved(z, log_density, fits))


def _weights(log_density: np.ndarray) -> np.ndarray:
    found = np.exp(log_density - log_density.max())
    return np.asarray(found / found.sum())


def _halved(z: np.ndarray, log_density: np.ndarray, fits: tuple[GridFit, ...]) -> float:
    """Change of posterior means when every second node is left out, in posterior deviations."""
    means, squares = [], []
    for place, fit in zip(z, fits, strict=True):
        values = np.column_stack([fit.beta, fit.log_sigma, np.full(len(fit.beta), place)])
        means.append(fit.weights @ values)
        squares.append(fit.weights @ values**2)
    weights = _weights(log_density)
    mean = weights @ np.array(means)
    sd = np.sqrt(np.maximum(weights @ np.array(squares) - mean**2, 1e-300))
    some = weights[::2] / weights[::2].sum()
    return float((np.abs(some @ np.array(means[::2]) - mean) / sd).max())
