"""The posterior of area proportions under the logit model by cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.special import expit, logit, ndtr, ndtri

from sae.numerics.glmm.sobol import WeightedPoints
from sae.numerics.glmm.unit_kernels import distributions, draws, expected, likelihoods, shares, uniforms
from sae.numerics.glmm.unit_logit import Cells, weighted_points
from sae.numerics.inference.psis import psis_loo
from sae.numerics.inference.standardise import standardise
from sae.numerics.random.streams import generator, stream_keys
from sae.samplers.grid import times_rows
from sae.samplers.posterior import Sample

__all__ = ["CellsPosterior", "Population"]

_JOINT = 512  # points of the hyperparameters for moments and the covariance of areas
_ROUGH = 64  # of them, for where the areas' shares lie
_TAIL = 8.0 * 1.25 ** np.arange(1, 10)
# deviations at which distribution functions are known: shares near 0 or 1 have long tails of logits
_LEVELS = np.concatenate([-_TAIL[::-1], np.linspace(-8.0, 8.0, 65), _TAIL])
_LEAST = 1e-9  # probability


@dataclass(frozen=True, eq=False)
class Population:
    """Cells of the population of D areas, area after area, every area with at least one.

    Attributes
    ----------
    X : ndarray, shape (C, p)
    size : ndarray, shape (C,)
        People of each cell.
    starts : ndarray of int, shape (D + 1,)
    """

    X: np.ndarray
    size: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True, eq=False)
class CellsPosterior:
    """Posterior of P_d = Σ_c N_dc expit(x_c'β + u_d) / N_d, u_d ~ N(0, σ²), β flat: a `Posterior`.

    Attributes
    ----------
    cells : Cells
        The sample, all D areas, in the order of the rows.
    population : Population
        The same areas in the same order.
    prior : (code, scale)
        Of σ: see `priors.log_prior`.
    labels : sequence of str, length D
        Names of the areas: they name the streams.
    """

    cells: Cells
    population: Population
    prior: tuple[int, float]
    labels: Sequence[str]

    @cached_property
    def basis(self) -> np.ndarray:
        """A, (p, p): X A is what is fitted."""
        return standardise(self.cells.X, ddof=0, by_size=True).basis

    @cached_property
    def own(self) -> Cells:
        """The sample with centred and scaled columns."""
        return Cells(times_rows(self.cells.X, self.basis), self.cells.y, self.cells.n, self.cells.starts)

    @cached_property
    def design(self) -> np.ndarray:
        """The population's designs in the same basis, shape (C, p)."""
        return times_rows(self.population.X, self.basis)

    @cached_property
    def fit(self) -> WeightedPoints:
        """Weighted points of the hyperparameters."""
        return weighted_points(self.own, self.prior)

    @property
    def sampled(self) -> np.ndarray:
        """Which areas have units in the sample, shape (D,)."""
        return np.asarray(np.diff(self.cells.starts) > 0)

    @property
    def source(self) -> str:
        """How it is computed, in words."""
        count = len(self.fit.log_sigma)
        return f"importance sampling, {count} weighted points of β and σ, effects by quadrature"

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """Pareto k and effective number of the weighted points."""
        return {"k_hat": self.fit.k_hat, "ess": self.fit.ess}

    @cached_property
    def conditional(self) -> np.ndarray:
        """Mean and mean square of every P_d given each of equally weighted points of (β, σ): (2, S, D)."""
        return self._distributions[0]

    @cached_property
    def _distributions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`conditional`; logits of shares around every area's, ascending; normal scores of P(P_d <= ...)."""
        people = self.design, self.population.size, self.population.starts
        some, index = self.fit.spread(_ROUGH), self.fit.spread(_JOINT)
        rough = expected(*self.own.arrays, *people, self.fit.beta[some], np.exp(self.fit.log_sigma[some]))
        mean, square = np.clip(rough.mean(axis=1), 1e-300, 1.0)
        spread = np.sqrt(np.maximum(square - mean**2, 1e-30)) / (mean * (1.0 - mean))
        levels = logit(mean)[:, None] + spread[:, None] * _LEVELS
        found, below = distributions(
            *self.own.arrays,
            *people,
            self.fit.beta[index],
            np.exp(self.fit.log_sigma[index]),
            self._shares_of(index),
            levels,
        )
        return found, levels, ndtri(np.clip(np.maximum.accumulate(below, axis=1), _LEAST, 1.0 - _LEAST))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all areas, each of shape (D,)."""
        mean, square = self._shares_of(self.fit.spread(_JOINT)) @ self.conditional
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), D)."""
        _, levels, scores = self._distributions
        goals = ndtri(np.atleast_1d(probabilities))
        return expit([_at(z, x, goals) for x, z in zip(levels, scores, strict=True)]).T

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every area, shape (D,)."""
        _, levels, scores = self._distributions
        with np.errstate(divide="ignore"):
            goals = logit(np.clip(np.broadcast_to(threshold, len(levels)), 0.0, 1.0))
        inside = np.isfinite(goals)
        pairs = zip(levels, scores, np.where(inside, goals, 0.0), strict=True)
        found = ndtr([-float(_at(x, z, np.array([goal]))[0]) for x, z, goal in pairs])
        return np.where(inside, found, goals < 0.0)

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the same seed gives the same draws."""
        beta, sigma, effects = self._drawn(n, seed)
        on = self.sampled
        return Sample(
            self._shares(beta, effects),
            {"sigma_u": sigma, "beta": beta @ self.basis.T},
            likelihoods(*self.own.arrays, beta, effects)[:, on],
            self._replicated(beta, effects, seed)[:, on],
        )

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of all areas' proportions alone, shape (n, D)."""
        beta, _, effects = self._drawn(n, seed)
        return self._shares(beta, effects)

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return shares of areas like the observed ones with effects of their own: see `Posterior.fresh`."""
        beta, sigma = self.fit.resample(n, generator(seed, "hyperparameters"))
        z = ndtri(uniforms(stream_keys(seed, "fresh effects", self.labels), n))
        return self._replicated(beta, sigma[:, None] * z, seed)[:, self.sampled]

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(units of the area | the other areas) and its Pareto k, each of shape (n,).

        The area's effect is integrated out, so that only the hyperparameters are weighted anew.
        """
        found = self.own.log_likelihood(self.fit.beta, np.exp(self.fit.log_sigma), by_area=True)
        return psis_loo(found[:, self.sampled], self.fit.log_weights)

    def shared(self) -> np.ndarray:
        """Return columns whose products are the posterior covariance of different areas, shape (D, C)."""
        means = self.conditional[0]
        columns = (means - means.mean(axis=0)).T / np.sqrt(len(means))
        if len(columns) >= len(means):
            return columns
        values, vectors = np.linalg.eigh(columns @ columns.T)  # as many columns as rows say the same
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def parameters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return points of β, shape (S, p), of σ, shape (S,), and their weights."""
        return self.fit.beta @ self.basis.T, np.exp(self.fit.log_sigma), self.fit.weights

    def _shares_of(self, index: np.ndarray) -> np.ndarray:
        """Weights by which functions known at some equally weighted points are averaged over all, shape (S,).

        What β, β², σ, σ² and log σ tell of a function has its mean over all points: control variates.
        """
        sigma = np.exp(self.fit.log_sigma)[:, None]
        known = np.hstack([self.fit.beta, self.fit.beta**2, sigma, sigma**2, np.log(sigma)])
        known = known - self.fit.weights @ known
        at = np.column_stack([np.ones(len(index)), known[index]])
        return np.asarray(np.linalg.pinv(at)[0])

    def _drawn(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        beta, sigma = self.fit.resample(n, generator(seed, "hyperparameters"))
        places = uniforms(stream_keys(seed, "area effects", self.labels), n)
        return beta, sigma, self._effects(beta, sigma, places)

    def _effects(self, beta: np.ndarray, sigma: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Effects at probabilities of their distributions, shape (S, D)."""
        on, starts = self.sampled, self.own.starts
        out = sigma[:, None] * ndtri(places)
        out[:, on] = draws(
            self.own.X,
            self.own.y,
            self.own.n,
            starts[np.append(on, True)],
            beta,
            sigma,
            np.ascontiguousarray(places[:, on]),
        )
        return out

    def _shares(self, beta: np.ndarray, effects: np.ndarray) -> np.ndarray:
        return np.asarray(shares(self.design, self.population.size, self.population.starts, beta, effects))

    def _replicated(self, beta: np.ndarray, effects: np.ndarray, seed: int) -> np.ndarray:
        """Shares of successes that each sampled area would have shown, shape (S, D)."""
        X, n, starts = self.own.X, self.own.n, self.own.starts
        out = np.full(effects.shape, np.nan)
        for d in map(int, np.flatnonzero(self.sampled)):
            own = slice(starts[d], starts[d + 1])
            trials = np.maximum(np.rint(n[own]), 1.0).astype(int)
            p = expit(times_rows(X[own], beta.T).T + effects[:, [d]])
            successes = generator(seed, "replicated observations", self.labels[d]).binomial(trials, p)
            out[:, d] = successes.sum(axis=1) / trials.sum()
        return out


def _at(x: np.ndarray, y: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Evaluate an increasing function from values known where they differ; beyond these it is a line."""
    some = np.append(True, np.diff(x) > 0.0) & np.append(True, np.diff(y) > 0.0)
    x, y = x[some], y[some]
    if len(x) < 3:
        return np.full(len(place), y[len(y) // 2])
    curve = PchipInterpolator(x, y)
    near = np.clip(place, x[0], x[-1])
    return np.asarray(curve(near) + (place - near) * (y[-1] - y[0]) / (x[-1] - x[0]))
