"""Exact posterior of Fay–Herriot models: moments and quantiles without random numbers, independent draws.

With coefficients flat, everything but the standard deviation σ of the area effects is normal given σ. So σ is
integrated on nodes, each area's posterior is a mixture of normals over them, and a joint draw is one of σ,
then of the coefficients, then of the areas. Problem k owns the areas offsets[k] .. offsets[k + 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

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
from sae.numerics.fay_herriot.variance_sums import most_points
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, HALF_CAUCHY, HALF_NORMAL, PC, SPARE
from sae.numerics.linalg.contrasts import SPREAD, contrast_address

__all__ = [
    "Areas",
    "HyperDraws",
    "Nodes",
    "area_exceedance",
    "area_moments",
    "draw_areas",
    "draw_hyper",
    "place_nodes",
    "reduced_draws",
    "tiles_of",
]


_CODES = (FLAT_VARIANCE, FLAT_SD, HALF_NORMAL, HALF_CAUCHY, PC)
_SPARE = np.array([SPARE[code] for code in _CODES])
# areas beyond the coefficients that must be exceeded for the posterior mean of σ² to exist
_NEEDED = np.array([{FLAT_VARIANCE: 4, FLAT_SD: 3, HALF_CAUCHY: 1}.get(code, -1) for code in _CODES])


_PER_NODE = ("t", "log_density", "sd", "weights", "coefficients", "roots")
_PER_PROBLEM = ("unit", "spacing", "error", "finite")
Result = TypeVar("Result")


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

    @cached_property
    def complete(self) -> bool:
        """Whether every area has a sample."""
        return bool(self.sampled.all())

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of areas with a sample in every problem, shape (P,)."""
        if self.complete:
            return self.offsets[1:] - self.offsets[:-1]
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
        `error` is what leaving out every second node changes in the weight γ of a direct estimate; of fine
        nodes, what it changes before their spacing is halved for interpolation.
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

    def only(self, problem: int) -> Nodes:
        """Return the nodes of one problem."""
        k, part = slice(problem, problem + 1), self.of(problem)
        rows = {name: getattr(self, name)[part] for name in _PER_NODE}
        ends = np.array([0, part.stop - part.start])
        return replace(self, offsets=ends, **rows, **{name: getattr(self, name)[k] for name in _PER_PROBLEM})

    def halved(self) -> Nodes:
        """Leave out every second node: of fine nodes, the ones that are placed where not `fine`."""
        sizes = np.diff(self.offsets)
        kept = (np.arange(len(self.t)) - np.repeat(self.offsets[:-1], sizes)) % 2 == 0
        offsets = np.concatenate([[0], np.cumsum((sizes + 1) // 2)])
        weights = self.weights[kept]
        weights /= np.repeat(np.add.reduceat(weights, offsets[:-1]), np.diff(offsets))
        rows = {name: getattr(self, name)[kept] for name in _PER_NODE} | {"weights": weights}
        return replace(self, offsets=offsets, spacing=2.0 * self.spacing, **rows)


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
    codes = np.array([code for code, _ in priors], dtype=np.int64)
    scales = np.array([scale for _, scale in priors], dtype=np.float64)
    counts, p = areas.counts, len(areas.X)
    spare = counts - p
    improper = spare < _SPARE[codes]
    if improper.any():
        raise ValueError("the posterior is improper: too few areas", int(improper.argmax()), -1)
    finite = spare > _NEEDED[codes]
    y, vardir, X, offsets = areas.y, areas.vardir, areas.X, areas.offsets
    if not areas.complete:
        kept = areas.sampled
        y, vardir, X = y[kept], vardir[kept], np.ascontiguousarray(X[:, kept])
        offsets = np.concatenate([[0], np.cumsum(counts)])
    smallest, largest = np.minimum.reduceat(vardir, offsets[:-1]), np.maximum.reduceat(vardir, offsets[:-1])
    ends = np.array([smallest, np.add.reduceat(vardir, offsets[:-1]) / counts, largest])
    spread = float((np.log(largest) - np.log(smallest)).max())
    contrasts = contrast_address() if spread >= math.log(0.5 * SPREAD) else 0
    sizes, spacing, unit, error = np.empty(len(codes), dtype=np.int64), *np.empty((3, len(codes)))

    def run(bounds: tuple[int, int]) -> list[list[np.ndarray]]:
        first, last = bounds
        part = slice(first, last)
        data = NodeData(
            y,
            vardir,
            X,
            offsets[first : last + 1],
            np.ascontiguousarray(ends[:, part]),
            codes[part],
            scales[part],
            finite[part],
        )
        most = int(counts[part].max())
        work = NodeWorkspace.of(most, most_points(most, spread), p, contrasts)
        room = MOST_NODES + 64 * min(last - first, 1024)
        out = NodeOutput.of(sizes[part], spacing[part], unit[part], error[part], room, p)
        parts, done = [], 0
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
            parts.append([rows[:used].copy() for rows in out[4:]])
        return parts

    parts = [part for parts in _spread(run, _chunks(len(codes), threads), threads) for part in parts]
    t, height, coefficients, roots = (
        parts[0] if len(parts) == 1 else (np.concatenate(rows) for rows in zip(*parts, strict=True))
    )
    node_offsets = np.zeros(len(codes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=node_offsets[1:])
    weights = np.exp(height)
    weights /= np.repeat(np.add.reduceat(weights, node_offsets[:-1]), sizes)
    sd = np.repeat(unit, sizes) * np.exp(t - np.exp(-t))
    return Nodes(node_offsets, t, height, sd, weights, coefficients, roots, unit, spacing, error, finite)


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
            for shape in [
                (most, AREA_BLOCK),
                (most, AREA_BLOCK),
                most,
                (4, AREA_BLOCK),
                (6, AREA_BLOCK),
                (len(areas.X) + 2, AREA_BLOCK),
            ]
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
    if not (areas.complete or nodes.finite.all()):
        sd[np.repeat(~nodes.finite, np.diff(areas.offsets)) & ~areas.sampled] = np.inf
    return mean, sd, quantiles


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
        np.empty((9, AREA_BLOCK)),
        np.empty((len(areas.X) + 2, AREA_BLOCK)),
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
            out.reshape(-1),
            out.shape[1],
            first,
        )

    _spread(run, tasks, threads)
    return out


def reduced_draws(
    fine: Nodes,
    areas: Areas,
    hyper_keys: np.ndarray,
    keys: np.ndarray,
    n: int,
    reduce: Callable[[np.ndarray], Result],
    *,
    threads: int = 1,
) -> list[Result]:
    """Return what `reduce` makes of the joint draws of every problem, shape (n, m), which are held no longer.

    Parameters
    ----------
    fine : Nodes
        From ``place_nodes(..., fine=True)``.
    areas : Areas
    hyper_keys, keys : ndarray of uint64, shapes (P,) and (T,)
        One stream per problem and one per tile: the draws are those of `draw_hyper` and `draw_areas`.
    n : int
    reduce : callable
        Must copy what it keeps of the draws: the next problem overwrites them.
    threads : int
        Each holds the draws of one problem.
    """
    sizes = np.diff(areas.offsets)
    tiles = np.concatenate([[0], np.cumsum(-(-sizes // TILE))]).tolist()
    starts = areas.offsets.tolist()

    def run(bounds: tuple[int, int]) -> list[Result]:
        room, results = np.empty(n * int(sizes[bounds[0] : bounds[1]].max())), []
        for k in range(*bounds):
            hyper = draw_hyper(fine.only(k), hyper_keys[k : k + 1], n)
            first, last = starts[k], starts[k + 1]
            out = room[: n * (last - first)]
            areas_kernel(
                keys[tiles[k] : tiles[k + 1]],
                hyper.sd[0],
                hyper.coefficients[0],
                areas.y,
                areas.vardir,
                areas.X,
                first,
                last,
                (0, tiles[k + 1] - tiles[k]),
                out,
                last - first,
                0,
            )
            results.append(reduce(out.reshape(n, last - first)))
        return results

    return [one for part in _spread(run, _chunks(len(sizes), threads), threads) for one in part]


def _pairs(offsets: np.ndarray) -> list[tuple[int, int]]:
    return list(pairwise(offsets.tolist()))


def _chunks(size: int, threads: int) -> list[tuple[int, int]]:
    """Cut 0 .. size into as many ranges as there are threads."""
    if threads <= 1 or size <= 1:
        return [(0, size)]
    edges = np.linspace(0, size, min(threads, size) + 1).astype(int).tolist()
    return list(pairwise(edges))


def _spread(run: Callable, tasks: Sequence, threads: int) -> list:
    """Run every task, on several threads where there are any; the kernels hold no lock."""
    if threads <= 1 or len(tasks) <= 1:
        return [run(task) for task in tasks]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, tasks))
