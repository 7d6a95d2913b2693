"""Hamiltonian Monte Carlo of many chains side by side, standard normal prior, dense metric.

The slopes that steer a trajectory may be approximate, as long as they are a function of the point: it stays
reversible and keeps volumes, and the exact density decides on its end.

References
----------
Neal (2011), in Handbook of Markov Chain Monte Carlo, 113-162; Hoffman and Gelman (2014), J. Mach. Learn.
Res. 15, 1593-1623 (dual averaging); Duane, Kennedy, Pendleton and Roweth (1987), Phys. Lett. B 195, 216-222.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Lockstep", "Metric", "elliptical_slice", "shrunk", "times"]

_LONGEST = 64  # leapfrog steps
_DIVERGENT = 1000.0  # energy, but for the likelihood, gained on a trajectory
_TARGET = 0.95  # mean acceptance
_PIECE = 200_000  # products in one piece
_SHRINKS = 200  # of the bracket of an angle


@dataclass(frozen=True, eq=False)
class Metric:
    """Inverse covariance H = C C' that momenta have, and H^-1."""

    root: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, information: np.ndarray) -> Metric:
        """Return the metric of an information matrix, shape (d, d)."""
        root, back = np.array(information), np.eye(len(information))
        for k in range(len(root)):  # by elements: the same bits on any number of threads
            root[k:, k] /= math.sqrt(root[k, k])
            root[k, k + 1 :] = 0.0
            below = root[k + 1 :, k]
            root[k + 1 :, k + 1 :] -= below[:, None] * below
            back[k] /= root[k, k]
            back[k + 1 :, : k + 1] -= below[:, None] * back[k, : k + 1]
        return cls(root, times(back.T, back))


def times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a b in pieces so small that BLAS takes one thread: the same bits whatever it is given."""
    wide = max(_PIECE // max(a.size, 1), 1)
    if wide >= b.shape[1]:
        return np.asarray(a @ b)
    if a.size > _PIECE // 16 and len(a) > 16:
        return np.concatenate([times(a[k : k + 16], b) for k in range(0, len(a), 16)])
    return np.concatenate([a @ b[:, k : k + wide] for k in range(0, b.shape[1], wide)], axis=1)


def elliptical_slice(
    x: np.ndarray, log_factor: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Return the next x, (C, k), of C chains, each of the density N(x; 0, I) exp(log_factor(x)).

    References
    ----------
    Murray, Adams and MacKay (2010), J. Mach. Learn. Res. W&CP 9, 541-548.
    """
    chains = len(x)
    other, after, waiting = rng.standard_normal(x.shape), x.copy(), np.ones(chains, dtype=bool)
    with np.errstate(all="ignore"):
        level = log_factor(x) + np.log(rng.random(chains))
        angle = rng.uniform(0.0, 2.0 * math.pi, chains)
        low, high = angle - 2.0 * math.pi, angle.copy()
        for _ in range(_SHRINKS):
            there = x * np.cos(angle)[:, None] + other * np.sin(angle)[:, None]
            inside = waiting & (log_factor(there) >= level)
            after[inside] = there[inside]
            waiting &= ~inside
            if not waiting.any():
                break
            shrunk(low, high, angle, waiting, rng)
    return after


def shrunk(
    low: np.ndarray, high: np.ndarray, angle: np.ndarray, where: np.ndarray, rng: np.random.Generator
) -> None:
    """Shrink brackets, in place, to angles that were no good, and draw new angles inside."""
    now = angle[where]
    low[where], high[where] = np.where(now < 0.0, now, low[where]), np.where(now < 0.0, high[where], now)
    angle[where] = rng.uniform(low[where], high[where])


class Lockstep:
    """C chains in d dimensions.

    Parameters
    ----------
    log_likelihood : callable
        Of points (C, d): exact, shape (C,).
    slopes : callable
        Of points (C, d): those of the log likelihood, about, shape (C, d).
    start : ndarray, shape (C, d)
    rng : Generator
    """

    def __init__(
        self,
        log_likelihood: Callable[[np.ndarray], np.ndarray],
        slopes: Callable[[np.ndarray], np.ndarray],
        start: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        self._log_likelihood, self._slopes, self._rng = log_likelihood, slopes, rng
        self.divergences = 0
        self.step = 0.3
        self.acceptance = 0.0
        self.points = start
        self._force = slopes(start) - start
        self._log_density = log_likelihood(start) - 0.5 * (start**2).sum(axis=1)
        self.restart()

    def replace(self, points: np.ndarray) -> None:
        """Take the chains to points of the same likelihood."""
        self._log_density += 0.5 * ((self.points**2).sum(axis=1) - (points**2).sum(axis=1))
        self.points, self._force = points, self._slopes(points) - points

    def restart(self) -> None:
        """Begin the search for a step size anew, from the present one."""
        self._anchor, self._sum, self._count, self._average = math.log(2.0 * self.step), 0.0, 0, 0.0

    def sweep(self, metric: Metric, *, tune: bool = False) -> None:
        """Take one trajectory in every chain, about half a period long."""
        rng = self._rng
        step = self.step * rng.uniform(0.5, 1.0)  # some trajectories get to where the usual step is unstable
        half = 0.5 * step
        time = math.pi * rng.uniform(0.6, 1.4)
        steps = min(max(round(time / step), 1), _LONGEST)
        noise = rng.standard_normal(self.points.shape)
        momentum = times(noise, metric.root.T)
        with np.errstate(all="ignore"):
            q, force = self.points, self._force
            momentum = momentum + half * force
            for k in range(steps):
                q = q + step * times(momentum, metric.covariance)
                force = self._slopes(q) - q
                momentum += (half if k == steps - 1 else step) * force
            density = self._log_likelihood(q) - 0.5 * (q**2).sum(axis=1)
            kinetic = 0.5 * (times(momentum, metric.covariance) * momentum).sum(axis=1)
            gain = density - kinetic - self._log_density + 0.5 * (noise**2).sum(axis=1)
            lost = kinetic + 0.5 * (
                (q**2).sum(axis=1) - (noise**2).sum(axis=1) - (self.points**2).sum(axis=1)
            )
        gain = np.where(np.isfinite(gain), gain, -np.inf)
        chance = np.exp(np.minimum(gain, 0.0))
        taken = rng.random(len(chance)) < chance
        # a step off the edge of the likelihood is a rejection; points and momenta that run away are divergent
        self.divergences += 0 if tune else int((~(lost < _DIVERGENT)).sum())
        self.acceptance = float(chance.mean())
        self.points = np.where(taken[:, None], q, self.points)
        self._force = np.where(taken[:, None], force, self._force)
        self._log_density = np.where(taken, density, self._log_density)
        if tune:
            self._tune()

    def settle(self) -> None:
        """Keep the averaged step size."""
        self.step = math.exp(self._average)

    def _tune(self) -> None:
        self._count += 1
        self._sum += _TARGET - self.acceptance
        now = self._anchor - math.sqrt(self._count) / 0.1 * self._sum / (self._count + 10.0)
        weight = self._count**-0.75
        self._average = weight * now + (1.0 - weight) * self._average
        self.step = min(math.exp(now), 1.5)
