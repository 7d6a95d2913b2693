"""Where coefficients lie for each standard deviation of the effects: a Laplace approximation along a line.

For every log σ = t the mode β(t) of the coefficients, their curvature, and the density of t with the
coefficients integrated out as if they were normal. It is what importance draws are proposed from: the density
of t has any shape, and the coefficients given t are Student around β(t).

References
----------
Tierney and Kadane (1986), JASA 81, 82-86; Rue, Martino and Chopin (2009), JRSS B 71, 319-392.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import chdtri, gammaln, ndtri

from sae.errors import SaeConvergenceError
from sae.numerics.glmm.integrals import area_moments, holds, marginals
from sae.numerics.glmm.small_effects import NARROW, narrow_posterior
from sae.numerics.glmm.tables import GridTables, LogLikelihood, build_tables
from sae.numerics.inference.priors import log_prior

__all__ = ["GridProblem", "LaplacePath", "Walk", "laplace_path", "student", "trace"]

_DEGREES = 10.0  # of freedom of the coefficients' Student proposal
_CELLS = 4000  # of t
_DROP = 12.0  # in log density, to which t is followed on both sides: beyond lies less than 1e-4
_STEP = 0.75  # in deviations of t
_ROUGH = (1.2, 8.0)  # step and drop for an integral: both leave less than 1e-3 out
_LAST = 60.0  # of |t|
_BEYOND = (2.5, 1.0)  # of t beyond the ends of a path, where another hill is looked for
_HILLS = 3
_FARTHEST = 80  # steps on each side
_WIDE = 0.1  # share of the proposal with twice the width of t
_FLAT = -4.5  # of log σ below the narrow: there σ² times the curvature is 1e-6
_SAME = 0.7  # of log σ: how far tables serve whose every node is taken


@dataclass(frozen=True, eq=False)
class GridProblem:
    """Areas with a sample, their log-likelihoods and priors.

    Attributes
    ----------
    log_likelihood : callable
        Linear predictors, shape (n, K), to log-likelihoods of the same shape.
    X : ndarray, shape (n, p)
    prior : (code, scale)
        Of σ: see `priors`.
    coefficient_sd : float
        Of independent normal priors around 0; infinite is flat.
    """

    log_likelihood: LogLikelihood
    X: np.ndarray
    prior: tuple[int, float]
    coefficient_sd: float = np.inf

    def log_prior(self, beta: np.ndarray, log_sigma: np.ndarray) -> np.ndarray:
        """Return the log density of (β, log σ) before the data, shapes (S, p) and (S,) to (S,)."""
        own = log_prior(self.prior, np.exp(log_sigma)) + log_sigma
        return own - 0.5 * (beta**2).sum(axis=1) / self.coefficient_sd**2


@dataclass(frozen=True, eq=False)
class LaplacePath:
    """The approximation on K points of t = log σ, ascending.

    Attributes
    ----------
    t, log_density : ndarray, shape (K,)
    beta : ndarray, shape (K, p)
    root : ndarray, shape (K, p, p)
        Lower triangles whose squares are the covariances of β given t.
    narrow : float
        Below this t the effects are narrow: see `small_effects`.
    """

    t: np.ndarray
    log_density: np.ndarray
    beta: np.ndarray
    root: np.ndarray
    narrow: float

    def at(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return β(t) and the roots between the points, shapes (S, p) and (S, p, p)."""
        k = np.clip(np.searchsorted(self.t, t) - 1, 0, len(self.t) - 2)
        share = np.clip((t - self.t[k]) / (self.t[k + 1] - self.t[k]), 0.0, 1.0)[:, None]
        beta = (1.0 - share) * self.beta[k] + share * self.beta[k + 1]
        share = share[..., None]
        return beta, (1.0 - share) * self.root[k] + share * self.root[k + 1]

    def propose(
        self, uniforms: np.ndarray, z: np.ndarray, stretch: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Turn uniform numbers, shape (S,), and Student ones, shape (S, p), into (β, t, log density).

        The roots are stretched by a factor.
        """
        edges = np.linspace(self.t[0], self.t[-1], _CELLS + 1)
        fine = PchipInterpolator(self.t, self.log_density)(0.5 * (edges[1:] + edges[:-1]))
        shares = np.exp(fine - fine.max())
        wide = np.exp(0.25 * (fine - fine.max()))
        shares = (1.0 - _WIDE) * shares / shares.sum() + _WIDE * wide / wide.sum()
        cumulated = np.concatenate([[0.0], np.cumsum(shares)])
        cumulated /= cumulated[-1]
        t = np.interp(uniforms, cumulated, edges)
        cell = np.clip(np.searchsorted(edges, t) - 1, 0, _CELLS - 1)
        centre, root = self.at(t)
        root = stretch * root
        p = centre.shape[1]
        log_density = np.log(shares[cell] / (edges[1] - edges[0]))
        log_density -= np.log(np.einsum("sii->si", root)).sum(axis=1) + 0.5 * p * np.log(_DEGREES * np.pi)
        log_density += gammaln(0.5 * (_DEGREES + p)) - gammaln(0.5 * _DEGREES)
        log_density -= 0.5 * (_DEGREES + p) * np.log1p((z * z).sum(axis=1) / _DEGREES)
        return centre + np.einsum("sij,sj->si", root, z), t, log_density


def student(uniforms: np.ndarray) -> np.ndarray:
    """Turn points of the unit cube, shape (S, p + 1), into p Student numbers with one scale, shape (S, p)."""
    return np.asarray(
        ndtri(uniforms[:, :-1]) / np.sqrt(chdtri(_DEGREES, uniforms[:, -1]) / _DEGREES)[:, None]
    )


def laplace_path(problem: GridProblem, start: tuple[np.ndarray, float], rough: bool = False) -> LaplacePath:
    """Follow β(t) to both sides of the most likely t, as far as there is any density.

    Parameters
    ----------
    problem : GridProblem
    start : (ndarray of shape (p,), float)
        First guess of β and σ.
    rough : bool
        Take points enough for the integral over t, but not for a proposal.

    Raises
    ------
    SaeConvergenceError
        If no mode is found, for β given σ or for σ.
    """
    walk = _GridWalk(problem, np.asarray(start[0], dtype=float))
    return trace(walk, float(np.log(start[1])), *(_ROUGH if rough else ()))


def trace(walk: Walk, t: float, step: float = _STEP, drop: float = _DROP) -> LaplacePath:
    """Follow any family's walk to both sides of its most likely t, from a first guess; see `laplace_path`.

    Where the density rises again beyond an end, to what counts, it is followed from that hill as well.
    """
    path = _followed(walk, t, step, drop)
    for _ in range(_HILLS):
        peak, narrow = path.log_density.max(), path.narrow
        beyond = [path.t[-1] + away for away in _BEYOND]
        beyond += [path.t[0] - away for away in _BEYOND if path.t[0] - away > narrow]
        walk.beta = path.beta[path.log_density.argmax()]
        higher = [float(place) for place in beyond if _probed(walk, float(place)) > peak - drop]
        if not higher:
            return path
        other = _followed(walk, max(higher, key=walk), step, drop)
        path = walk.path(sorted({*path.t, *other.t}))
    raise SaeConvergenceError(
        "The posterior of the standard deviation of the area effects has more hills than can be followed.",
        hint="Use a tighter prior, or more areas.",
    )


def _probed(walk: Walk, t: float) -> float:
    """Return the log density of t, -inf where it is so far out that it cannot be computed."""
    try:
        return walk(t)
    except SaeConvergenceError:
        return -np.inf


def _followed(walk: Walk, t: float, wide: float, drop: float) -> LaplacePath:
    """Return the path to both sides of the hill at t, in steps of so many deviations, to such a drop."""
    left, top, right = _bracket(walk, t)
    for _ in range(40):  # successive parabolas, inside the bracket
        falls = [walk(top) - walk(t) for t in (left, right)]
        a, b = top - left, right - top
        step = 0.5 * (a * a * falls[1] - b * b * falls[0]) / -(a * falls[1] + b * falls[0])
        step = np.clip(step, -0.5 * a, 0.5 * b)
        if max(falls) < 2.0 * wide / _STEP and abs(step) < 0.1 * (wide / _STEP) ** 3 * min(a, b):
            break
        if abs(step) < 0.05 * max(a, b):
            step = 0.3 * b if b > a else -0.3 * a
        new = top + step
        if walk(new) > walk(top):
            left, top, right = (top, new, right) if step > 0 else (left, new, top)
        else:
            left, right = (left, new) if step > 0 else (new, right)
    fall = 0.5 * sum((walk(top) - walk(t)) / (t - top) ** 2 for t in (left, right))
    width = float(np.clip(1.0 / np.sqrt(max(2.0 * fall, 1e-12)), 1e-4, 2.0))
    peak, points = walk(top), [top]
    for sign in (1.0, -1.0):
        walk.place(top)
        t, step, slope = top, wide * width, np.inf
        for _ in range(_FARTHEST):
            t += sign * step
            points.append(t)
            fallen, before = peak - walk(t), slope
            if fallen > drop:
                break
            if abs(t) > _LAST:
                raise SaeConvergenceError(
                    "The posterior of the standard deviation of the area effects does not fall off.",
                    hint='Use a proper prior, such as prior="half-normal", or more areas.',
                )
            slope = (walk(t - sign * step) - walk(t)) / step
            step *= 1.12
            if fallen > 2.0 and abs(slope - before) < 0.003 * slope:  # exponential from here on
                step = max(step, 0.25 * (drop - fallen) / slope + 1e-3)
    return walk.path(points)  # evenly apart: two points close together would bend the curve between them


class Walk:
    """Laplace values at any t, each found from the last one, and kept; a family tells its density.

    Attributes
    ----------
    beta : ndarray, shape (p,)
        Where the next climb starts.
    """

    def __init__(self, beta: np.ndarray) -> None:
        self.beta = beta
        self.found: dict[float, tuple[float, np.ndarray, np.ndarray]] = {}

    def value(self, beta: np.ndarray, t: float) -> float:
        """Return the log posterior density of (β, t), up to a constant."""
        raise NotImplementedError

    def derivatives(self, beta: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Return its gradient in β, shape (p,), and minus its second derivatives, shape (p, p)."""
        raise NotImplementedError

    @property
    def narrow(self) -> float:
        """Below this t the effects are narrow."""
        return -np.inf

    def __call__(self, t: float) -> float:
        """Return the log density of t."""
        if t not in self.found:
            value, root = self._climb(t)
            self.found[t] = value, self.beta, root
        return self.found[t][0]

    def place(self, t: float) -> None:
        """Go on from this point."""
        self.beta = self.found[t][1]

    def path(self, points: list[float]) -> LaplacePath:
        """Return the approximation on these points."""
        values, betas, roots = zip(*(self.found[t] for t in sorted(points)), strict=True)
        t = np.array(sorted(points))
        return LaplacePath(t, np.array(values), np.array(betas), np.array(roots), self.narrow)

    def _climb(self, t: float) -> tuple[float, np.ndarray]:
        """Newton steps to β(t); (log density of t, root of the covariance)."""
        value = self.value(self.beta, t)
        for _ in range(100):
            gradient, information = self.derivatives(self.beta, t)
            roots, vectors = np.linalg.eigh(information)
            roots = np.maximum(np.abs(roots), 1e-10 * np.abs(roots).max())
            step = vectors @ ((vectors.T @ gradient) / roots)
            decrement = float(gradient @ step)
            if not np.isfinite(decrement):
                break
            if decrement < 1e-6:
                covariance = (vectors / roots) @ vectors.T
                root = np.linalg.cholesky(covariance)
                return value + float(np.log(np.diag(root)).sum()), root
            for halving in range(30):
                trial = self.beta + step * 0.5**halving
                new = self.value(trial, t)
                if new > value - 1e-9 * abs(value):
                    break
            self.beta, value = trial, new
        raise SaeConvergenceError(
            f"No mode of the coefficients was found where the area effects have deviation {np.exp(t):.3g}.",
            hint="The coefficients may not be identified: look for nearly collinear covariates.",
        )


class _GridWalk(Walk):
    """The walk of a problem on grids."""

    def __init__(self, problem: GridProblem, beta: np.ndarray) -> None:
        super().__init__(beta)
        self.problem = problem
        self.tables: GridTables | None = None
        self.bend = 0.0  # the largest curvature of any area's log-likelihood so far

    @property
    def narrow(self) -> float:
        """Where a few nodes in the prior of an effect are enough."""
        return float(0.5 * np.log(NARROW / max(self.bend, 1e-300)))

    def derivatives(self, beta: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        X, precision, sigma = self.problem.X, self.problem.coefficient_sd**-2.0, np.exp(t)
        if self._is_narrow(t):
            sigma, (_, mean, sd) = self._narrow(beta, t)
            first, variance = mean - X @ beta, sd**2
        else:
            first, second = area_moments(self._held(beta, sigma), X, beta, sigma)
            variance = second - first**2
        gradient = X.T @ first / sigma**2 - precision * beta
        bend = (1.0 - variance / sigma**2) / sigma**2
        self.bend = max(self.bend, float(np.abs(bend * sigma**2 / variance).max()))
        return gradient, (X.T * bend) @ X + precision * np.eye(X.shape[1])

    def value(self, beta: np.ndarray, t: float) -> float:
        sigma = np.exp(t)
        if self._is_narrow(t):
            found = self._narrow(beta, t)[1][0].sum()
        else:
            found = marginals(self._held(beta, sigma), self.problem.X, beta[None], np.array([sigma]))
        return float((found + self.problem.log_prior(beta[None], np.array([t])))[0])

    def _is_narrow(self, t: float) -> bool:
        """Whether it is well below what is narrow; nothing is before any curvature is known."""
        return self.bend > 0.0 and t < self.narrow - 1.0

    def _narrow(self, beta: np.ndarray, t: float) -> tuple[float, tuple[np.ndarray, ...]]:
        """Return a σ from which on nothing changes, at most that of t, and `narrow_posterior` there."""
        sigma = float(np.exp(max(t, self.narrow + _FLAT)))
        found = narrow_posterior(self.problem.log_likelihood, self.problem.X, beta[None], np.array([sigma]))
        return sigma, tuple(part[0] for part in found)

    def _held(self, beta: np.ndarray, sigma: float) -> GridTables:
        """Return the last tables while they hold this point, else new ones; every node is taken."""
        last, X = self.tables, self.problem.X
        near = last is not None and abs(np.log(sigma / last.sigma)) < _SAME
        if last is not None and near and holds(last, X, beta[None], np.array([sigma]))[0]:
            return last
        self.tables = build_tables(self.problem.log_likelihood, X @ beta, sigma, near=last).every_node()
        return self.tables


def _bracket(walk: Walk, t: float) -> tuple[float, float, float]:
    """Three points of t, the middle one the highest."""
    step = 0.7
    if walk(t + step) < walk(t):
        step = -step
    before, now, after = t - step, t, t + step
    while walk(after) >= walk(now):
        if abs(after) > _LAST:
            raise SaeConvergenceError(
                "No mode of the standard deviation of the area effects was found.",
                hint='Use a proper prior, such as prior="half-normal", or more areas.',
            )
        before, now, after = now, after, after + step
    walk(before)
    return (before, now, after) if step > 0 else (after, now, before)
