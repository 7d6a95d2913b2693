"""Linear predictors of rows from standard normals: coefficients, effects of areas, of a map and of periods.

Every number of the model, its standard deviations and correlations too, is a function of one standard normal,
so that the prior is the same in all directions. A standard deviation is an odd function of its normal: the
predictor is smooth where it passes 0, and (x, effects) and (-x, -effects) are the same point.

References
----------
Papaspiliopoulos, Roberts and Sköld (2007), Statistical Science 22, 59-73 (non-centred effects).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.special import ndtr

from sae.numerics.glmm.lockstep import times
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL

__all__ = ["EffectField", "deviation"]

_TINY = 1e-300
_FAR = 30.0  # normals beyond it are cut: their tail is no longer a number
_STEP = 1e-5  # of differences along the few normals that are not linear


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def deviation(code: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what has the prior's distribution with scale 1, in size, where x is standard normal; its slope.

    Parameters
    ----------
    code : int
        A proper prior: see `sae.numerics.inference.priors`.
    x : ndarray

    Examples
    --------
    >>> deviation(HALF_NORMAL, np.array([-0.5]))[0]
    array([-0.5])
    """
    if code == HALF_NORMAL:
        return x, np.ones_like(x)
    size = np.minimum(np.abs(x), _FAR)
    tail = ndtr(-size)
    if code == HALF_CAUCHY:
        value, slope = 1.0 / np.tan(math.pi * tail), math.pi / np.sin(math.pi * tail) ** 2
    else:
        value, slope = -np.log(2.0 * tail), 1.0 / tail
    return np.copysign(value, x), slope * _density(size)


@dataclass(frozen=True, eq=False)
class EffectField:
    """η of M rows of D areas in T periods, given d standard normals; functions take C points side by side.

    The normals: coefficients, then x of σ_u, of ρ, of σ_v and of ρ_time where there are such, then the
    effects of the map, of single areas, and of periods and areas.

    Attributes
    ----------
    X : ndarray, shape (M, p)
    cell : ndarray of int, shape (M,)
        period × D + area; no two rows share one.
    root : ndarray, shape (D, r)
        Root of the covariance of the effect over the map; no columns without a map.
    inland : ndarray, shape (D,)
        0 for areas without a neighbour, else 1.
    mixed : bool
        An independent effect beside that over the map.
    temporal : {None, "ar1", "rw1"}
    walk : ndarray, shape (T, T)
        Root of the covariance of a random walk.
    prior : (code, scale)
        Of the standard deviations.
    wide : float
        Standard deviation of the coefficients.
    """

    X: np.ndarray
    cell: np.ndarray
    root: np.ndarray
    inland: np.ndarray
    mixed: bool
    temporal: Literal["ar1", "rw1"] | None
    walk: np.ndarray
    prior: tuple[int, float]
    wide: float

    @cached_property
    def places(self) -> dict[str, slice]:
        """Where the normals of each name stand."""
        (areas, rank), periods = self.root.shape, len(self.walk)
        sizes = {
            "beta": self.X.shape[1],
            "sigma_u": 1,
            "rho": int(self.mixed),
            "sigma_v": int(self.temporal is not None),
            "rho_time": int(self.temporal == "ar1"),
            "map": rank,
            "area": areas if self.mixed or not rank else 0,
            "time": areas * periods if self.temporal is not None else 0,
        }
        ends = np.cumsum(list(sizes.values())).tolist()
        return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}

    @property
    def size(self) -> int:
        """Number d of normals."""
        return self.places["time"].stop

    @property
    def curved(self) -> np.ndarray:
        """Places of the normals in which η is not linear."""
        return np.arange(self.places["sigma_u"].start, self.places["rho_time"].stop)

    def parameters(self, q: np.ndarray) -> dict[str, np.ndarray]:
        """Return coefficients, standard deviations and correlations by name at points of shape (..., d)."""
        code, unit = self.prior
        at = {name: q[..., where] for name, where in self.places.items() if self.has(name)}
        out = {"beta": self.wide * at["beta"]}
        for name in ("sigma_u", "sigma_v"):
            if name in at:
                out[name] = unit * np.abs(deviation(code, at[name][..., 0])[0])
        if "rho" in at:
            out["rho"] = ndtr(at["rho"][..., 0])
        if "rho_time" in at:
            out["rho_time"] = 2.0 * ndtr(at["rho_time"][..., 0]) - 1.0
        return out

    def has(self, name: str) -> bool:
        """Whether there are normals of this name."""
        return self.places[name].stop > self.places[name].start

    def predict(self, q: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Return η, shape (C, M), and the function that turns slopes in η into slopes in q.

        Parameters
        ----------
        q : ndarray, shape (C, d)
        """
        (areas, _), periods, at = self.root.shape, len(self.walk), self.places
        code, unit = self.prior
        part = {name: q[:, where] for name, where in at.items()}
        value, slope = deviation(code, part["sigma_u"])
        over_map = times(part["map"], self.root.T)
        if self.mixed:
            tails = np.maximum(ndtr(part["rho"]), _TINY), np.maximum(ndtr(-part["rho"]), _TINY)
            joint, own = np.sqrt(tails[0]), np.sqrt(tails[1])
            on_map, alone = self.inland * joint + (1.0 - self.inland), self.inland * own
            effect = alone * part["area"] + on_map * over_map
        else:
            effect = over_map if self.root.shape[1] else part["area"]
        total = np.repeat((unit * value * effect)[:, None, :], periods, axis=1)
        path = turn = None
        if self.temporal is not None:
            value_v, slope_v = deviation(code, part["sigma_v"])
            z = part["time"].reshape(-1, periods, areas)
            path, turn = self._path(z, part["rho_time"])
            total += (unit * value_v)[:, :, None] * path
        eta = times(self.wide * part["beta"], self.X.T) + total.reshape(len(q), -1)[:, self.cell]

        def pull(g: np.ndarray) -> np.ndarray:
            out = np.empty_like(q)
            cells = np.zeros((len(q), periods * areas))
            cells[:, self.cell] = g
            by_period = cells.reshape(-1, periods, areas)
            by_area = by_period.sum(axis=1)
            out[:, at["beta"]] = self.wide * times(g, self.X)
            out[:, at["sigma_u"]] = unit * slope * (by_area * effect).sum(axis=1, keepdims=True)
            force = unit * value * by_area
            if self.mixed:
                rate = 0.5 * _density(part["rho"]) * self.inland
                moved = rate * (over_map / joint - part["area"] / own)
                out[:, at["rho"]] = (force * moved).sum(axis=1, keepdims=True)
                out[:, at["area"]] = force * alone
                out[:, at["map"]] = times(force * on_map, self.root)
            elif self.root.shape[1]:
                out[:, at["map"]] = times(force, self.root)
            else:
                out[:, at["area"]] = force
            if path is not None and turn is not None:
                out[:, at["sigma_v"]] = unit * slope_v * (by_period * path).sum(axis=(1, 2))[:, None]
                forces, along = turn((unit * value_v)[:, :, None] * by_period)
                out[:, at["time"]] = forces.reshape(len(q), -1)
                out[:, at["rho_time"]] = along
            return out

        return eta, pull

    def paths(self, q: np.ndarray) -> np.ndarray:
        """Return the standardised effects of periods, shape (C, T, D)."""
        z = q[:, self.places["time"]].reshape(len(q), len(self.walk), -1)
        return self._path(z, q[:, self.places["rho_time"]])[0]

    def _path(
        self, z: np.ndarray, x: np.ndarray
    ) -> tuple[np.ndarray, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
        """Return standardised effects of periods, (C, T, D), from normals z, and the way back."""
        if self.temporal == "rw1":
            walk = self.walk
            return walk @ z, lambda g: (walk.T @ g, np.empty((len(z), 0)))
        phi = 2.0 * ndtr(x) - 1.0
        fresh = np.sqrt(np.maximum(4.0 * ndtr(x) * ndtr(-x), _TINY))
        path = z.copy()
        for k in range(1, path.shape[1]):
            path[:, k] = phi * path[:, k - 1] + fresh * z[:, k]

        def turn(g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            out, carried = g.copy(), np.zeros_like(g[:, 0])
            by_phi, by_fresh = np.zeros((2, len(g), 1))
            for k in range(g.shape[1] - 1, 0, -1):
                carried = g[:, k] + carried
                by_phi += (carried * path[:, k - 1]).sum(axis=1, keepdims=True)
                by_fresh += (carried * z[:, k]).sum(axis=1, keepdims=True)
                out[:, k] = fresh * carried
                carried = phi * carried
            out[:, 0] = g[:, 0] + carried
            return out, 2.0 * _density(x) * (by_phi - by_fresh * phi / fresh)

        return path, turn

    def jacobian(self, q: np.ndarray) -> np.ndarray:
        """Return the slopes of η in the normals at one point: shape (d, M)."""
        points, curved = np.eye(self.size), self.curved
        points[:, curved] = q[curved]  # linear in the others
        base = np.zeros((1, self.size))
        base[:, curved] = q[curved]
        out = self.predict(points)[0] - self.predict(base)[0]
        step = np.repeat(q[None, :], len(curved), axis=0)
        step[np.arange(len(curved)), curved] += _STEP
        back = 2.0 * q - step
        out[curved] = (self.predict(step)[0] - self.predict(back)[0]) / (2.0 * _STEP)
        return out
