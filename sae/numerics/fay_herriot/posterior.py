"""Exact posterior of Fay–Herriot models: moments and quantiles without random numbers, independent draws.

With coefficients flat, everything but the standard deviation σ of the area effects is normal given σ. So σ is
integrated on nodes, each area's posterior is a mixture of normals over them, and a joint draw is one of σ,
then of the coefficients, then of the areas. Problem k owns the areas offsets[k] .. offsets[k + 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from sae.errors import SaeConvergenceError
from sae.numerics.fay_herriot.posterior_areas import (
    AREA_BLOCK,
    UNSAMPLED,
    exceedance_kernel,
    moments_kernel,
)
from sae.numerics.fay_herriot.posterior_draws import TILE, areas_kernel, hyper_kernel
from sae.numerics.fay_herriot.posterior_nodes import (
    MOST_NODES,
    NodeData,
    NodeOutput,
    NodeWorkspace,
    posterior_nodes,
)
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, HALF_CAUCHY, SPARE

__all__ = [
    "Areas",
    "HyperDraws",
    "Nodes",
    "area_exceedance",
    "area_moments",
    "draw_areas",
    "draw_hyper",
    "place_nodes",
    "tiles_of",
]


@dataclass(frozen=True, eq=False)
class Areas:
    """Areas of P problems, concatenated.

    Attributes
    ----------
    y, vardir : ndarray of float, shape (M,)
        Direct estimates and sampling variances, squared units.
    X : ndarray of float, shape (p, M)
        Designs, transposed.
    sampled : ndarray of bool, shape (M,)
    offsets : ndarray of int64, shape (P + 1,)
    """

    y: np.ndarray
    vardir: np.ndarray
    X: np.ndarray
    sampled: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(
        cls,
        y: np.ndarray,
        vardir: np.ndarray,
        X: np.ndarray,
        sampled: np.ndarray | None = None,
        offsets: np.ndarray | None = None,
    ) -> Areas:
        """Build from arrays; `y` and `vardir` are read only where `sampled`, by default everywhere."""
        sampled = np.ones(len(y), dtype=bool) if sampled is None else np.asarray(sampled, dtype=bool)
        offsets = np.array([0, len(y)]) if offsets is None else offsets
        return cls(
            np.where(sampled, y, 0.0).astype(np.float64),
            np.where(sampled, vardir, UNSAMPLED).astype(np.float64),
            np.ascontiguousarray(X, dtype=np.float64),
            sampled,
            np.ascontiguousarray(offsets, dtype=np.int64),
        )

    @property
    def counts(self) -> np.ndarray:
        """Number of areas with a sample in every problem, shape (P,)."""
        running = np.concatenate([[0], np.cumsum(self.sampled)])
        return np.diff(running[self.offsets])


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes of σ of P problems, concatenated, equidistant in t: σ = unit · exp(t - exp(-t)).

    Attributes
    ----------
    offsets : ndarray of int64, shape (P + 1,)
    t, log_density : ndarray, shape (K,)
        Log posterior density of t, its top being 0.
    sd, weights : ndarray, shape (K,)
        σ, and weights that sum to 1 in every problem.
    coefficients : ndarray, shape (K, p)
        Generalised least squares at each node.
    roots : ndarray, shape (K, p, p)
        Upper triangular root of the covariance of the coefficients: Q = root root'.
    unit, spacing, error : ndarray, shape (P,)
        `error` is what leaving out every second node changes in the weight γ of a direct estimate.
    finite : ndarray of bool, shape (P,)
        Whether the posterior mean of σ² exists.
    """

    offsets: np.ndarray
    t: np.ndarray
    log_density: np.ndarray
    sd: np.ndarray
    weights: np.ndarray
    coefficients: np.ndarray
    roots: np.ndarray
    unit: np.ndarray
    spacing: np.ndarray
    error: np.ndarray
    finite: np.ndarray

    def of(self, problem: int) -> slice:
        """Positions of the nodes of one problem."""
        return slice(self.offsets[problem], self.offsets[problem + 1])


@dataclass(frozen=True, eq=False)
class HyperDraws:
    """n independent draws of σ and the coefficients of P problems.

    Attributes
    ----------
    sd : ndarray, shape (P, n)
    coefficients : ndarray, shape (P, n, p)
    """

    sd: np.ndarray
    coefficients: np.ndarray


def place_nodes(
    areas: Areas, priors: Sequence[tuple[int, float]], *, fine: bool = False, threads: int = 1
) -> Nodes:
    """Integrate σ: place nodes where its posterior has mass, until every second one would do.

    Parameters
    ----------
    areas : Areas
    priors : sequence of (code, scale)
        One per problem: see `priors.log_prior`.
    fine : bool
        Halve the spacing once more: for draws, which interpolate.
    threads : int

    Returns
    -------
    Nodes

    Raises
    ------
    ValueError
        If a posterior is improper or a design is rank deficient; ``args[1]`` is the index of the problem,
        ``args[2]`` of the column or -1.
    SaeConvergenceError
        If the nodes do not converge.

    References
    ----------
    Datta and Ghosh (1991), Ann. Stat. 19, 1748–1770; Rao and Molina (2015), section 10.3.

    Examples
    --------
    >>> areas = Areas.of(np.array([1.0, 2.0, 4.0, 3.0, 2.5]), np.full(5, 0.5), np.ones((1, 5)))
    >>> nodes = place_nodes(areas, [(2, 1.0)])  # half-normal
    >>> round(float(nodes.weights @ nodes.sd), 6)
    0.812951
    """
    counts, p = areas.counts, len(areas.X)
    codes = np.array([code for code, _ in priors], dtype=np.int64)
    scales = np.array([scale for _, scale in priors], dtype=np.float64)
    spare = counts - p
    improper = np.flatnonzero(spare < [SPARE[code] for code, _ in priors])
    if len(improper):
        raise ValueError("the posterior is improper: too few areas", int(improper[0]), -1)
    needs = np.select([codes == FLAT_VARIANCE, codes == FLAT_SD, codes == HALF_CAUCHY], [4, 3, 1], -1)
    finite = spare > needs
    kept = areas.sampled
    inside = np.concatenate([[0], np.cumsum(counts)])
    y, vardir = areas.y[kept], areas.vardir[kept]
    X = areas.X if kept.all() else np.ascontiguousarray(areas.X[:, kept])
    starts = inside[:-1]
    ends = np.array(
        [
            np.minimum.reduceat(vardir, starts),
            np.add.reduceat(vardir, starts) / counts,
            np.maximum.reduceat(vardir, starts),
        ]
    )

    def run(bounds: tuple[int, int]) -> list[np.ndarray]:
        first, last = bounds
        data = NodeData(
            y,
            vardir,
            X,
            inside[first : last + 1],
            ends[:, first:last].copy(),
            codes[first:last],
            scales[first:last],
            finite[first:last],
        )
        work = NodeWorkspace.of(int(counts.max()), p)
        out = NodeOutput.of(last - first, MOST_NODES + 64 * min(last - first, 1024), p)
        kept, done = [], 0
        while done < last - first:
            done, used, fault = posterior_nodes(done, fine, data, work, out)
            if fault == -2:
                which = f" in fit {first + done + 1} of {len(codes)}" if len(codes) > 1 else ""
                raise SaeConvergenceError(
                    f"The posterior of the model variance was not found{which}: its nodes do not converge.",
                    hint="Look for sampling variances or covariates many orders apart; a proper prior helps.",
                )
            if fault >= 0:
                raise ValueError("a design is rank deficient", first + done, fault)
            kept.append([rows[:used].copy() for rows in out[4:]])
        return [*out[:4], *(np.concatenate(parts) for parts in zip(*kept, strict=True))]

    found = _spread(run, _chunks(len(codes), threads), threads)
    sizes, spacing, unit, error, t, height, coefficients, roots = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    weights = np.exp(height)
    weights /= np.repeat(np.add.reduceat(weights, offsets[:-1]), sizes)
    sd = np.repeat(unit, sizes) * np.exp(t - np.exp(-t))
    return Nodes(offsets, t, height, sd, weights, coefficients, roots, unit, spacing, error, finite)


def area_moments(
    nodes: Nodes, areas: Areas, probabilities: Sequence[float] = (), *, threads: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return posterior means, standard deviations and quantiles of the true value of every area.

    Parameters
    ----------
    nodes : Nodes
    areas : Areas
    probabilities : sequence of float
        Of the quantiles, each strictly between 0 and 1.
    threads : int

    Returns
    -------
    tuple of ndarray, shape (M,), (M,) and (len(probabilities), M)
        The standard deviation of an area without a sample is infinite where the mean of σ² does not exist.
    """
    chosen = np.asarray(probabilities, dtype=np.float64)
    size = len(areas.y)
    mean, sd, quantiles = np.empty(size), np.empty(size), np.empty((len(chosen), size))
    normal = ndtri(chosen)
    most = int(np.diff(nodes.offsets).max())

    def run(bounds: tuple[int, int]) -> None:
        part = slice(bounds[0], bounds[1] + 1)
        work = [
            np.empty(shape)
            for shape in [(most, AREA_BLOCK), (most, AREA_BLOCK), most, (4, AREA_BLOCK), (6, AREA_BLOCK)]
        ]
        moments_kernel(
            nodes.offsets[part],
            nodes.sd,
            nodes.weights,
            nodes.coefficients,
            nodes.roots,
            areas.y,
            areas.vardir,
            areas.X,
            areas.offsets[part],
            chosen,
            normal,
            mean,
            sd,
            quantiles,
            *work,
        )

    _spread(run, _chunks(len(nodes.unit), threads), threads)
    endless = np.repeat(~nodes.finite, np.diff(areas.offsets)) & ~areas.sampled
    return mean, np.where(endless, np.inf, sd), quantiles


def area_exceedance(nodes: Nodes, areas: Areas, threshold: np.ndarray | float) -> np.ndarray:
    """Return the posterior probability that every area's true value exceeds its threshold, shape (M,)."""
    out = np.empty(len(areas.y))
    limits = np.ascontiguousarray(np.broadcast_to(np.asarray(threshold, dtype=np.float64), out.shape))
    exceedance_kernel(
        nodes.offsets,
        nodes.sd,
        nodes.weights,
        nodes.coefficients,
        nodes.roots,
        areas.y,
        areas.vardir,
        areas.X,
        areas.offsets,
        limits,
        np.empty((4, AREA_BLOCK)),
        out,
    )
    return out


def tiles_of(offsets: np.ndarray) -> np.ndarray:
    """Return the first position of every area tile of every problem, and the end, shape (T + 1,).

    A tile is drawn from a stream of its own: give one key per tile, named by what the tile holds.
    """
    starts = [np.arange(first, last, TILE) for first, last in _pairs(offsets)]
    return np.concatenate([*starts, [offsets[-1]]])


def draw_hyper(fine: Nodes, keys: np.ndarray, n: int) -> HyperDraws:
    """Draw σ from its density between the nodes, exactly, and the coefficients given σ.

    Parameters
    ----------
    fine : Nodes
        From ``place_nodes(..., fine=True)``.
    keys : ndarray of uint64, shape (P,)
        One stream per problem, from `streams.stream_keys`.
    n : int
    """
    problems, p = len(fine.unit), fine.coefficients.shape[1]
    sd, beta = np.empty((problems, n)), np.empty((problems, n, p))
    hyper_kernel(
        keys,
        fine.offsets,
        fine.t[fine.offsets[:-1]],
        fine.spacing,
        fine.unit,
        fine.log_density,
        fine.coefficients,
        fine.roots,
        n,
        sd,
        beta,
    )
    return HyperDraws(sd, beta)


def draw_areas(hyper: HyperDraws, areas: Areas, keys: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Return joint draws of the true values of all areas, shape (n, M).

    Parameters
    ----------
    hyper : HyperDraws
    areas : Areas
    keys : ndarray of uint64, shape (T,)
        One stream per tile: see `tiles_of`.
    threads : int
        The draws are the same for any number.
    """
    n = hyper.sd.shape[1]
    out = np.empty((n, len(areas.y)))
    tasks, used = [], 0
    for problem, (first, last) in enumerate(_pairs(areas.offsets)):
        tiles = -(-(last - first) // TILE)
        for bounds in _chunks(tiles, threads):
            tasks.append((problem, first, last, used, tiles, bounds))
        used += tiles

    def run(task: tuple) -> None:
        problem, first, last, used, tiles, bounds = task
        areas_kernel(
            keys[used : used + tiles],
            hyper.sd[problem],
            hyper.coefficients[problem],
            areas.y,
            areas.vardir,
            areas.X,
            first,
            last,
            bounds,
            out[:, first:last],
        )

    _spread(run, tasks, threads)
    return out


def _pairs(offsets: np.ndarray) -> list[tuple[int, int]]:
    return list(pairwise(offsets.tolist()))


def _chunks(size: int, threads: int) -> list[tuple[int, int]]:
    """Cut 0 .. size into as many ranges as there are threads."""
    edges = np.linspace(0, size, max(min(threads, size), 1) + 1).astype(int).tolist()
    return list(pairwise(edges))


def _spread(run: Callable, tasks: Sequence, threads: int) -> list:
    """Run every task, on several threads where there are any; the kernels hold no lock."""
    if threads <= 1 or len(tasks) <= 1:
        return [run(task) for task in tasks]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, tasks))
