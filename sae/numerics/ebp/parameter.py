"""The parameter of a transformation by (restricted) maximum likelihood, of one sample or of many replicates.

The likelihood is that of the outcome over J^(1/n), J being the Jacobian: so Box and Cox (1964) choose it, and
the unit of money does not move the parameter, which under REML with the whole Jacobian it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from sae.numerics.ebp.transforms import forward, log_slope
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import fit_nested_error
from sae.numerics.nested_error.profile import Point, Profile

__all__ = [
    "ParameterFit",
    "ParameterSearch",
    "RatioNodes",
    "estimate_parameter",
    "estimate_parameters",
    "parameter_nodes",
]

_RANGES = {"box-cox": (-1.0, 2.0), "dual-power": (0.0, 2.0)}
_COARSE, _MIDDLE, _FINE = 21, 9, 5  # values of the parameter in each round
_NODES, _GRID = 41, 257  # of log(1 + λ max n)
_LARGEST = 20.0  # ratio of the variances between and within areas up to which replicates are searched
_LEAST, _MOST = 1e-3, 1e3  # times the spread of welfare: how near to its bottom log-shift moves the least one
_STEP = 2e-3  # of the range: how far from a maximum its curvature is taken
_ELEMENTS = 4_000_000  # numbers held at a time

Height = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class ParameterFit:
    """A parameter at the maximum of its profile.

    Attributes
    ----------
    parameter : float
    se : float
        By the curvature of the profile there; nan at an end.
    loglik : float
        Of the scaled outcome.
    grid, profile : ndarray, shape (K,)
        Values over the whole range and their log-likelihoods.
    at_end : bool
        Whether the maximum lies at an end of the range.
    """

    parameter: float
    se: float
    loglik: float
    grid: np.ndarray
    profile: np.ndarray
    at_end: bool


def estimate_parameter(
    units: SampleUnits,
    y: np.ndarray,
    name: str,
    *,
    shift: float = 0.0,
    method: str = "reml",
    height: Height | None = None,
) -> ParameterFit:
    """Return the parameter of one sample; the variances are fitted exactly at every value tried.

    Parameters
    ----------
    units : SampleUnits
    y : ndarray of float, shape (n,)
        Welfare, in the order of the units.
    name : {"log-shift", "box-cox", "dual-power"}
    shift : float
        Added before box-cox and dual-power.
    method : {"reml", "ml"}
    height : callable, optional
        Log-likelihood of outcomes, (R, n) to (R,); by default that of the nested error model.

    Raises
    ------
    ValueError
        As `fit_nested_error`.
    """
    if height is None:
        height = partial(_nested_error, units, method)
    search = ParameterSearch(units, y[None], name, shift, method, height)
    place, grid, profile = search.run()
    low, high = grid[0, 0], grid[0, -1]
    step = _STEP * (high - low)
    below, at, above = search.heights(place[0] + step * np.array([[-1.0, 0.0, 1.0]]))[0]
    bend = (below - 2.0 * at + above) / step**2
    at_end = min(place[0] - low, high - place[0]) < 1e-6 * (high - low)
    slope = np.exp(place[0]) if name == "log-shift" else 1.0
    return ParameterFit(
        float(search.parameter(place[:, None])[0, 0]),
        float(slope / np.sqrt(-bend)) if bend < 0.0 and not at_end else np.nan,
        float(at),
        search.parameter(grid)[0],
        profile[0],
        bool(at_end),
    )


def estimate_parameters(
    units: SampleUnits,
    Y: np.ndarray,
    name: str,
    height: Height,
    *,
    shift: float = 0.0,
    method: str = "reml",
) -> np.ndarray:
    """Return the parameter of each of R replicates, (R, n); all are searched at once.

    `height` is the log-likelihood of outcomes, such as that of `RatioNodes` which the replicates share.
    """
    return ParameterSearch(units, Y, name, shift, method, height).found[:, 0]


def parameter_nodes(
    units: SampleUnits, y: np.ndarray, name: str, *, shift: float, drop: float, count: int
) -> np.ndarray:
    """Return values of the parameter wherever the restricted profile lies less than `drop` below its top.

    Shape (count,), equally spaced; of log-shift in the logarithm of what the least welfare becomes. They end
    where the range of the parameter ends.
    """
    search = ParameterSearch(units, y[None], name, shift, "reml", partial(_nested_error, units, "reml"))
    low, high = (float(end[0]) for end in search.ends)
    while True:
        place = np.linspace(low, high, _COARSE)
        heights = search.heights(place[None])[0]
        inside = np.flatnonzero(heights > heights.max() - drop)
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, _COARSE - 1)
        low, high = place[first], place[last]
        if last - first > _COARSE // 2:
            return search.parameter(np.linspace(low, high, count)[None])[0]


def _nested_error(units: SampleUnits, method: str, Z: np.ndarray) -> np.ndarray:
    return fit_nested_error(units.sums(Z), method).loglik


@dataclass(frozen=True, eq=False)
class RatioNodes:
    """The profile of the likelihood at nodes of λ = σu²/σe², for any outcome of one design.

    X'V^-1X does not depend on the outcome. In t = log(1 + λ max n) the profile is analytic to a distance of π
    from the real line, so that Chebyshev nodes interpolate it to rounding.

    Attributes
    ----------
    point : Point
        Of the design at the nodes.
    between : ndarray, shape (_NODES, _GRID)
        From values at the nodes to values on a grid.
    restricted : bool
    """

    point: Point
    between: np.ndarray
    restricted: bool

    @classmethod
    def of(cls, units: SampleUnits, method: str) -> RatioNodes:
        """Factor the design at all nodes."""
        profile = Profile.of(units.design)
        top = np.log1p(_LARGEST * units.n.max())
        t = top * _lobatto(_NODES)
        ratio = np.expm1(t) / units.n.max()
        return cls(profile.at(ratio), _interpolation(t, np.linspace(0.0, top, _GRID)), method == "reml")

    def loglik(self, units: SampleUnits, Z: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of R outcomes at their best λ, up to a constant, shape (R,)."""
        profile, point = Profile.of(units.sums(Z)), self.point
        cross = profile.xy + np.einsum("ku,rup->krp", point.g, profile.bxy, optimize=True)
        half = cross @ point.inverse.swapaxes(1, 2)
        rss = profile.yy + point.g @ profile.byy.T - np.einsum("krp,krp->kr", half, half)
        freedom = profile.units - (len(profile.root) if self.restricted else 0)
        value = freedom * np.log(rss) + point.log_det_v[:, None]
        if self.restricted:
            value += point.log_det_m[:, None]
        return _peaks(-0.5 * value.T @ self.between)[1]


@dataclass(frozen=True, eq=False)
class ParameterSearch:
    """Maximise the profile of each of R outcomes, (R, n), in the place of its parameter.

    The place is λ itself, and for log-shift the logarithm of what the least welfare becomes.
    """

    units: SampleUnits
    Y: np.ndarray
    name: str
    shift: float
    method: str
    height: Height

    @property
    def found(self) -> np.ndarray:
        """The parameters, shape (R, 1)."""
        return self.parameter(self.run()[0][:, None])

    @cached_property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The range of places, shape (R,)."""
        if self.name != "log-shift":
            return tuple(np.full(len(self.Y), end) for end in _RANGES[self.name])  # type: ignore[return-value]
        spread = np.ptp(self.Y, axis=1)
        return np.log(_LEAST * spread), np.log(_MOST * spread)

    def parameter(self, place: np.ndarray) -> np.ndarray:
        """Return the parameters at places, shape (R, K)."""
        return np.exp(place) - self.Y.min(axis=1)[:, None] if self.name == "log-shift" else place

    def heights(self, place: np.ndarray) -> np.ndarray:
        """Return the log-likelihood of the scaled outcomes at places, shape (R, K)."""
        R, K = place.shape
        n, p = self.units.X.shape
        out = np.empty((R, K))
        freedom = n - p if self.method == "reml" else n
        rows = max(1, _ELEMENTS // (K * n))
        for start in range(0, R, rows):
            part = slice(start, start + rows)
            Z, slope = self.outcomes(place[part], part)
            out[part] = self.height(Z.reshape(-1, n)).reshape(-1, K) + freedom / n * slope
        return out

    def outcomes(self, place: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return h(y) of some outcomes at places, (r, K, n), and the logarithm of its Jacobian, (r, K)."""
        y = self.Y[rows]
        parameter = np.exp(place) - y.min(axis=1)[:, None] if self.name == "log-shift" else place
        arguments = self.name, y[:, None, :], parameter[:, :, None], self.shift
        return forward(*arguments), log_slope(*arguments).sum(axis=2)

    def run(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the best places, (R,), and the first round: places and heights, (R, K)."""
        low, high = self.ends
        grid = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, _COARSE)
        profile = self.heights(grid)
        best = profile.argmax(axis=1)
        rows = np.arange(len(grid))
        left, right = grid[rows, np.maximum(best - 1, 0)], grid[rows, np.minimum(best + 1, _COARSE - 1)]
        for count in (_MIDDLE, _FINE):
            share = _lobatto(count)
            place = left[:, None] + (right - left)[:, None] * share
            dense = np.linspace(0.0, 1.0, _GRID)
            top, _ = _peaks(self.heights(place) @ _interpolation(share, dense))
            centre, half = left + (right - left) * top / (_GRID - 1), 0.08 * (right - left)
            left, right = np.maximum(centre - half, low), np.minimum(centre + half, high)
        return centre, grid, profile


def _lobatto(count: int) -> np.ndarray:
    """Return Chebyshev points of [0, 1], ends included."""
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(count) / (count - 1))


def _interpolation(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the matrix from values at Lobatto points to values `at`, by the barycentric formula."""
    weights = (-1.0) ** np.arange(len(nodes))
    weights[[0, -1]] *= 0.5
    gap = at[None, :] - nodes[:, None]
    hit = gap == 0.0
    matrix = weights[:, None] / np.where(hit, 1.0, gap)
    matrix /= matrix.sum(axis=0)
    matrix[:, hit.any(axis=0)] = hit[:, hit.any(axis=0)]
    return matrix


def _peaks(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where on its grid each row, (R, G), has its maximum, and how high, by a parabola of three."""
    rows, last = np.arange(len(values)), values.shape[1] - 1
    best = values.argmax(axis=1)
    middle = np.clip(best, 1, last - 1)
    before, at, after = (values[rows, middle + step] for step in (-1, 0, 1))
    slope, bend = 0.5 * (after - before), after - 2.0 * at + before
    step = np.where((bend < 0.0) & (best == middle), -slope / np.where(bend < 0.0, bend, -1.0), 0.0)
    peak = np.where(best == middle, at + 0.5 * slope * step, values[rows, best])
    return best + step, peak
