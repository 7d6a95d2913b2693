"""Area effects whose likelihood is not normal, as tables on one grid per area.

Area d observes something whose log-likelihood ℓ_d depends on its linear predictor η_d = x_d'β + u_d alone:
counts (binomial, Poisson), a share (beta), an estimate whose link is not its scale (unmatched), an estimate
with an unknown variance. The grid of an area is equally spaced around its posterior at a reference value of
the hyperparameters, and ℓ_d is tabulated there once. The trapezoid rule is then exact to rounding for smooth
integrands that fall off like a normal density (its error is exp(-2π² s² / h²) for standard deviation s and
step h), and N(η; m, σ²) on an equally spaced grid is a recurrence of two products: an integral over an area's
effect costs no exponential per node.

An integral takes a window of the grid. Where effects are narrow beside the uncertainty of x_d'β the grid is
longer than the window, which moves with x_d'β.

References
----------
Trefethen and Weideman (2014), SIAM Review 56, 385-458 (the trapezoid rule).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sae.errors import SaeConvergenceError, name_some

__all__ = ["GridTables", "LogLikelihood", "build_tables"]

_HALF = 44  # nodes of the window each side of its centre, before any doubling
_MOST = 2816  # of them after doublings: there the sum over every second node is enough, or it is refused
_SPAN = 8.8  # half the window, in posterior standard deviations at the reference
_EDGE = 1e-12  # share of the integral that the last node of a window may hold
_ROUGH = 1e-4  # error of the sum over every fourth node; every second node is then right to its fourth power
_HIGHEST = 600.0  # of a log-likelihood above that of the centre: numbers end at exp(709)
_EXACT = 1e-10  # error that an integral may have
_STRIDES = (16, 8, 4, 2)
_NUMBERS = 6_000_000  # of all grids together: 48 MB

LogLikelihood = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class GridTables:
    """Likelihoods of n areas on their grids of K nodes.

    Attributes
    ----------
    likelihood : ndarray, shape (n, K)
        exp(ℓ_d(η_k) - ℓ_d(centre)).
    mean, centre, step, level, curvature : ndarray, shape (n,)
        Reference of x_d'β; middle node; distance of the nodes; ℓ_d(centre) + log step; and 1 / s_d² - 1 / σ²
        at the reference, with posterior deviation s_d: what the likelihood adds to the precision of the
        effect.
    stride : ndarray of int, shape (n,)
        Every so many nodes give the integral at the reference.
    half : int
        Nodes of a window each side of its centre.
    sigma : float
        Reference of the standard deviation of the effects.
    """

    likelihood: np.ndarray
    mean: np.ndarray
    centre: np.ndarray
    step: np.ndarray
    level: np.ndarray
    curvature: np.ndarray
    stride: np.ndarray
    half: int
    sigma: float

    @property
    def eta(self) -> np.ndarray:
        """Grid nodes, shape (n, K)."""
        middle = self.likelihood.shape[1] // 2
        return self.centre[:, None] + np.arange(-middle, middle + 1) * self.step[:, None]

    @property
    def arrays(self) -> tuple[np.ndarray | int | float, ...]:
        """What the kernels take."""
        return (
            self.likelihood,
            self.mean,
            self.centre,
            self.step,
            self.level,
            self.curvature,
            self.stride,
            self.half,
            self.sigma,
        )

    def every_node(self) -> GridTables:
        """Return the same tables, with integrals over all nodes: shows what the strides cost."""
        return replace(self, stride=np.ones_like(self.stride))


def build_tables(
    log_likelihood: LogLikelihood,
    mean: np.ndarray,
    sigma: float,
    reach: np.ndarray | float = 0.0,
    near: GridTables | None = None,
) -> GridTables:
    """Centre a grid on each area's posterior given η_d ~ N(mean_d, sigma²) and tabulate the likelihood.

    Parameters
    ----------
    log_likelihood : callable
        Takes linear predictors, shape (n, K), and returns ℓ_d of each, of the same shape.
    mean : ndarray, shape (n,)
    sigma : float
        Reference of the standard deviation of the effects, positive.
    reach : ndarray, shape (n,)
        How far x_d'β will be from `mean`: the grids hold the posteriors, as far as the memory allows.
    near : GridTables, optional
        Of the same areas at another reference, to start from.

    Raises
    ------
    SaeConvergenceError
        With the places of areas whose posterior no grid holds: the log-likelihood is not finite or not
        smooth.
    """
    mean = np.asarray(mean, dtype=float)[:, None]
    centre, spread = _locate(log_likelihood, mean, sigma, near)
    extent, half = _SPAN * spread, _HALF
    while True:
        step = extent / half
        eta = centre + np.arange(-half, half + 1) * step
        values = log_likelihood(eta)
        density = values - 0.5 * ((eta - mean) / sigma) ** 2
        weights = np.exp(density - density.max(axis=1, keepdims=True))
        total = weights.sum(axis=1)
        edge = np.maximum(weights[:, 0], weights[:, -1]) > _EDGE * total
        errors = {m: np.abs(m * weights[:, half % m :: m].sum(axis=1) / total - 1.0) for m in _STRIDES}
        rough = ~(errors[4 if half < _MOST else 2] < _ROUGH) | (step > 0.9 * np.minimum(spread, sigma))[:, 0]
        if not (edge.any() or rough.any()):
            break
        if half >= _MOST:
            bad = np.flatnonzero(edge | rough)
            raise SaeConvergenceError(
                f"No grid holds the posterior of {len(bad)} of {len(mean)} areas, in the order of the data "
                f"{name_some(bad + 1)}, at an effects' standard deviation of {sigma:.3g}.",
                hint="Look at the observations of these areas, or use a tighter prior.",
                areas=bad,
            )
        extent[edge] *= 1.5
        if rough.any():
            half *= 2
    stride = np.ones(len(mean), dtype=np.int64)
    for m in _STRIDES[::-1]:
        stride[(stride == m // 2) & (errors[m] < _EXACT) & (half % m == 0)] = m
    spread, step, extent = spread[:, 0], step[:, 0], extent[:, 0]
    away = np.asarray(reach) * (spread / sigma) ** 2 - 0.3 * extent
    further = int(np.clip(np.ceil((away / step).max()), 0, max(_NUMBERS // (2 * len(mean)) - half, 0)))
    level = values[:, half]
    if further:
        values = log_likelihood(centre + np.arange(-half - further, half + further + 1) * step[:, None])
        steep = np.flatnonzero((values - level[:, None] > _HIGHEST).any(axis=0))
        if len(steep):  # what lies higher than numbers reach is for tables that are centred there
            cut = half + further - max(np.abs(steep - half - further).min() - 1, half)
            values = values[:, cut : values.shape[1] - cut]
    return GridTables(
        np.exp(np.minimum(values - level[:, None], 700.0)),
        mean[:, 0],
        centre[:, 0],
        step,
        level + np.log(step),
        np.maximum(1.0 / spread**2 - 1.0 / sigma**2, 0.0),
        stride,
        half,
        float(sigma),
    )


def _locate(
    log_likelihood: LogLikelihood, mean: np.ndarray, sigma: float, near: GridTables | None
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations of η, shape (n, 1), by sums on grids that follow them."""
    centre, spread = mean.copy(), np.full(mean.shape, float(sigma))
    if near is not None:
        spread = 1.0 / np.sqrt(near.curvature[:, None] + 1.0 / sigma**2)
        share = (spread / sigma) ** 2
        centre = near.centre[:, None] + share * (mean - near.mean[:, None])
    offsets = np.linspace(-8.0, 8.0, 65)
    for _ in range(80):
        eta = centre + offsets * spread
        log_density = log_likelihood(eta) - 0.5 * ((eta - mean) / sigma) ** 2
        weights = np.exp(log_density - log_density.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        moved = (weights * eta).sum(axis=1, keepdims=True)
        width = np.sqrt((weights * (eta - moved) ** 2).sum(axis=1, keepdims=True))
        # a grid too coarse for a narrow posterior sees no width: it is narrowed step by step
        width = np.clip(width, 0.3 * spread, 3.0 * spread)
        width = np.where(np.abs(moved - centre) > 5.0 * spread, 3.0 * spread, width)  # it lies outside
        settled = np.all(np.abs(moved - centre) < 0.05 * spread) and np.all(
            np.abs(width / spread - 1.0) < 0.05
        )
        centre, spread = moved, width
        if settled:
            break
    return centre, spread
