"""The exact posterior of Fay–Herriot models, whatever their number, on the reported scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numba import config

from sae.numerics.fay_herriot.mixture import area_mixture, leave_one_out
from sae.numerics.fay_herriot.posterior import (
    Areas,
    HyperDraws,
    Nodes,
    area_exceedance,
    area_moments,
    draw_areas,
    draw_hyper,
    place_nodes,
    reduced_draws,
    tiles_of,
)
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.priors import SPARE
from sae.numerics.inference.transforms import Transform, normal_mean
from sae.numerics.random.streams import normals, stream_keys
from sae.samplers.posterior import Sample

__all__ = ["FayHerriotPosterior", "Spread"]

Result = TypeVar("Result")
_MANY = 10**6  # numbers from which on threads are worth their start


@dataclass(frozen=True)
class Spread:
    """Posterior of parameters: mean, standard deviation, quantiles; each an array of one shape."""

    mean: np.ndarray
    sd: np.ndarray
    quantiles: np.ndarray


@dataclass(frozen=True, eq=False)
class FayHerriotPosterior:
    """Posterior of P Fay–Herriot models h(y) = x'β + u + e, u ~ N(0, σ²), with β flat: a `Posterior`.

    Attributes
    ----------
    areas : Areas
        All problems on the model's scale, concatenated.
    priors : sequence of (code, scale)
        Of each problem's σ: see `priors.log_prior`.
    transform : Transform
        The way back to the reported scale.
    labels : sequence of str, length M
        Names of the areas, all that tells them from other areas of any table: they name the streams.
    fits : sequence of str, length P
        Names of the problems, empty where there is only one.
    order : ndarray of int, shape (M,)
        Position in `areas` of each row of the results.
    """

    areas: Areas
    priors: Sequence[tuple[int, float]]
    transform: Transform
    labels: Sequence[str]
    fits: Sequence[str]
    order: np.ndarray

    @property
    def source(self) -> str:
        """How the posterior is computed, in words."""
        counts = np.diff(self.nodes.offsets)
        number = f"{counts[0]}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        back = "" if self._plain else f", back-transformed from the {self.transform.name} scale"
        return f"exact posterior, {number} nodes of σ{back}"

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """The quadrature error: see `errors`."""
        return {"quadrature_error": float(self.errors.max())}

    @cached_property
    def nodes(self) -> Nodes:
        """Nodes of σ of every problem."""
        return self.fine.halved()

    def variance_nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return nodes of σ² and their weights, each of shape (K,); the nodes of all problems in turn."""
        return self.nodes.sd**2, self.nodes.weights

    @cached_property
    def fine(self) -> Nodes:
        """Nodes of half the spacing, between which σ is drawn."""
        return place_nodes(self.areas, self.priors, fine=True, threads=_threads(len(self.areas.y)))

    @cached_property
    def errors(self) -> np.ndarray:
        """What doubling the nodes changes in any area's mean or sd, in posterior sds, shape (P,)."""
        mean, sd, _ = self._normal
        twice, twice_sd, _ = area_moments(self.fine, self.areas, threads=_threads(len(self.areas.y)))
        with np.errstate(invalid="ignore"):
            change = np.maximum(np.abs(twice - mean) / sd, np.abs(twice_sd / sd - 1.0))
        return np.maximum.reduceat(np.nan_to_num(change), self.areas.offsets[:-1])

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""
        mean, sd, _ = self._normal
        if not self._plain:
            found = [_reported(area_mixture(self.nodes, self.areas, k), self.transform) for k in self._each]
            mean, sd = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return mean[self.order], sd[self.order]

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""
        found = area_moments(
            self.nodes, self.areas, list(probabilities), threads=_threads(len(self.areas.y))
        )[2]
        return self.transform.inverse(np.clip(found, *self.transform.bounds))[:, self.order]

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""
        limits = np.broadcast_to(np.asarray(threshold, dtype=np.float64), self.order.shape)
        low, high = self.transform.range
        inside = (limits > low) & (limits < high)
        forward = self.transform.forward(np.where(inside, limits, 0.5))
        place = np.empty_like(self.order)
        place[self.order] = np.arange(len(place))
        found = area_exceedance(self.nodes, self.areas, forward[place])[self.order]
        return np.where(inside, found, limits <= low)

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the same seed gives the same draws, more of them the same first ones."""
        hyper, theta = self._drawn(n, seed)
        sampled = self.order[self.areas.sampled[self.order]]
        y, D = self.areas.y[sampled], self.areas.vardir[sampled]
        apart = y - theta[:, sampled]
        log_likelihood = -0.5 * (np.log(2.0 * np.pi * D) + apart * apart / D)
        noise = self._noise(n, seed)[:, sampled]
        return Sample(
            self._back(theta),
            self._parameters(hyper),
            log_likelihood,
            self.transform.inverse(theta[:, sampled] + np.sqrt(D) * noise),
        )

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the true values of all rows alone, shape (n, M)."""
        return self._back(self._drawn(n, seed)[1])

    def reduced(self, n: int, seed: int, reduce: Callable[[np.ndarray], Result]) -> list[Result]:
        """Return what `reduce` makes of n joint draws of every fit, shape (n, m), in the order of `areas`.

        They are the draws of `values`, but those of one fit at a time are held, and overwritten by the next.
        """
        plain, inverse = self._plain, self.transform.inverse
        return reduced_draws(
            self.fine,
            self.areas,
            self._hyper_keys(seed),
            self._keys(seed, "Fay-Herriot areas"),
            n,
            reduce if plain else lambda theta: reduce(inverse(theta)),
            threads=_threads(n * len(self.areas.y)),
        )

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures of areas like the observed ones with effects of their own: see `Posterior.fresh`."""
        hyper, offsets = self._hyper(n, seed), self.areas.offsets
        found = np.empty((n, len(self.areas.y)))
        z = normals(stream_keys(seed, "fresh effects", self.labels), 0, n)
        for k in self._each:
            mine = slice(*offsets[k : k + 2])
            mean = hyper.coefficients[k] @ self.areas.X[:, mine]
            variance = hyper.sd[k][:, None] ** 2 + np.where(
                self.areas.sampled[mine], self.areas.vardir[mine], 0.0
            )
            found[:, mine] = mean + np.sqrt(variance) * z[:, mine]
        inside = np.clip(found[:, self.order], *self.transform.bounds)
        return self.transform.inverse(inside[:, self.areas.sampled[self.order]])

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(h(y_d) | the others), density on the model's scale, and k = NaN: exact to quadrature.

        NaN where the other areas leave the posterior improper or a coefficient undetermined.
        """
        found = np.full(len(self.areas.y), np.nan)
        p, counts = len(self.areas.X), self.areas.counts
        for k in self._each:
            if counts[k] - 1 >= p + SPARE[self.priors[k][0]]:
                inside = np.arange(*self.areas.offsets[k : k + 2])
                found[inside[self.areas.sampled[inside]]] = leave_one_out(self.nodes, self.areas, k)
        found = found[self.order][self.areas.sampled[self.order]]
        return found, np.full(len(found), np.nan)

    def deviations(self, probabilities: Sequence[float]) -> Spread:
        """Return the posterior of σ of every problem: shapes (P,), (P,), (len(probabilities), P).

        The quantiles of σ² are their squares.
        """
        rows = []
        for k in self._each:
            sd, weights = self.nodes.sd[self.nodes.of(k)], self.nodes.weights[self.nodes.of(k)]
            mean = weights @ sd
            rows.append(
                (mean, np.sqrt(weights @ (sd - mean) ** 2), _sd_quantiles(self.fine, k, probabilities))
            )
        means, sds, quantiles = zip(*rows, strict=True)
        return Spread(np.array(means), np.array(sds), np.array(quantiles).T)

    def variances(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of σ²; infinite where they do not exist."""
        A = self.nodes.sd**2
        starts, counts = self.nodes.offsets[:-1], np.diff(self.nodes.offsets)
        mean = np.add.reduceat(self.nodes.weights * A, starts)
        square = np.add.reduceat(self.nodes.weights * (A - np.repeat(mean, counts)) ** 2, starts)
        return np.where(self.nodes.finite, mean, np.inf), np.where(self.nodes.finite, np.sqrt(square), np.inf)

    def coefficients(self, probabilities: Sequence[float]) -> Spread:
        """Return the posterior of β: shapes (P, p), (P, p), (len(probabilities), P, p)."""
        mixtures = [
            Mixture(
                self.nodes.weights[self.nodes.of(k)],
                self.nodes.coefficients[self.nodes.of(k)],
                np.sqrt((self.nodes.roots[self.nodes.of(k)] ** 2).sum(axis=2)),
            )
            for k in self._each
        ]
        means, sds = zip(*(mixture.moments() for mixture in mixtures), strict=True)
        quantiles = [[mixture.quantile(q) for mixture in mixtures] for q in probabilities]
        return Spread(np.array(means), np.array(sds), np.array(quantiles))

    @property
    def _plain(self) -> bool:
        return self.transform.name == "identity"

    @property
    def _each(self) -> range:
        return range(len(self.areas.offsets) - 1)

    @cached_property
    def _normal(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return area_moments(self.nodes, self.areas, threads=_threads(len(self.areas.y)))

    def _hyper(self, n: int, seed: int) -> HyperDraws:
        return draw_hyper(self.fine, self._hyper_keys(seed), n)

    def _hyper_keys(self, seed: int) -> np.ndarray:
        names = [_joined(self.labels[a:b]) for a, b in pairwise(self.areas.offsets)]
        return stream_keys(seed, "Fay-Herriot parameters", names)

    def _drawn(self, n: int, seed: int) -> tuple[HyperDraws, np.ndarray]:
        """Draw parameters, and true values on the model's scale in the order of the areas."""
        hyper = self._hyper(n, seed)
        return hyper, draw_areas(
            hyper, self.areas, self._keys(seed, "Fay-Herriot areas"), threads=_threads(n * len(self.areas.y))
        )

    def _keys(self, seed: int, what: str) -> np.ndarray:
        tiles = tiles_of(self.areas.offsets)
        names = [_joined(self.labels[a:b]) for a, b in pairwise(tiles)]
        return stream_keys(seed, what, names)

    def _noise(self, n: int, seed: int) -> np.ndarray:
        """Return standard normals of every area: draws of areas whose true values are N(0, 1)."""
        size = len(self.areas.y)
        nowhere = Areas.of(
            np.zeros(size), np.ones(size), np.zeros((1, size)), np.zeros(size, dtype=bool), self.areas.offsets
        )
        problems = len(self.areas.offsets) - 1
        one = HyperDraws(np.ones((problems, n)), np.zeros((problems, n, 1)))
        return draw_areas(one, nowhere, self._keys(seed, "sampling errors"))

    def _back(self, theta: np.ndarray) -> np.ndarray:
        theta = theta if (np.diff(self.order) == 1).all() else theta[:, self.order]
        return theta if self._plain else self.transform.inverse(theta)

    def _parameters(self, hyper: HyperDraws) -> dict[str, np.ndarray]:
        found = {}
        for k, fit in enumerate(self.fits):
            found[f"sigma_u[{fit}]" if fit else "sigma_u"] = hyper.sd[k]
            found[f"beta[{fit}]" if fit else "beta"] = hyper.coefficients[k]
        return found


def _threads(size: int) -> int:
    return int(config.NUMBA_NUM_THREADS) if size >= _MANY else 1


def _joined(labels: Sequence[str]) -> str:
    return "\x1e".join(labels)


def _reported(mixture: Mixture, transform: Transform) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of h^-1 of a mixture, node by node."""
    mean, square = np.zeros(mixture.means.shape[1]), np.zeros(mixture.means.shape[1])
    for weight, centre, sd in zip(mixture.weights, mixture.means, mixture.sds, strict=True):
        mean += weight * transform.mean(centre, sd * sd)
    for weight, centre, sd in zip(mixture.weights, mixture.means, mixture.sds, strict=True):
        square += weight * normal_mean(lambda t: (transform.inverse(t) - mean) ** 2, centre, sd * sd)
    return mean, np.sqrt(square)


def _sd_quantiles(fine: Nodes, problem: int, probabilities: Sequence[float]) -> np.ndarray:
    """Invert the distribution function of σ, its density interpolated by a spline of degree 7."""
    from scipy.interpolate import make_interp_spline

    place = fine.of(problem)
    t = fine.t[place]
    density = make_interp_spline(t, np.exp(fine.log_density[place]), k=7)
    mass = density.antiderivative()
    goal = mass(t[0]) + np.asarray(probabilities) * (mass(t[-1]) - mass(t[0]))
    found = np.interp(goal, np.maximum.accumulate(mass(t)), t)
    for _ in range(5):  # Newton, from within one spacing
        found = found - np.clip(
            (mass(found) - goal) / density(found), -fine.spacing[problem], fine.spacing[problem]
        )
    return fine.unit[problem] * np.exp(found - np.exp(-found))
