"""The posterior of models whose area effects meet a likelihood that is not normal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sae.numerics.glmm.likelihoods import Likelihood
from sae.numerics.glmm.posterior import GridFit, GridProblem, draw_all_effects, fit_grid, log_marginals
from sae.numerics.glmm.predictors import (
    Distribution,
    Mixed,
    conditional_means,
    sampled_mixture,
    unsampled_mixture,
)
from sae.numerics.glmm.sobol import WeightedPoints
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.psis import psis_loo
from sae.numerics.inference.standardise import standardise
from sae.numerics.inference.transforms import Transform
from sae.numerics.random.streams import generator, normals, stream_keys
from sae.samplers.posterior import Sample

__all__ = ["JOINT", "GridPosterior", "times_rows"]

JOINT = 512  # points of the hyperparameters for the covariance of areas


@dataclass(frozen=True, eq=False)
class GridPosterior:
    """Posterior of h^-1(η_d), η = x'β + u, u ~ N(0, σ²), with any likelihood of η: a `Posterior`.

    Attributes
    ----------
    likelihood : Likelihood
        Of the sampled areas.
    X : ndarray, shape (M, p)
        Designs of all rows.
    sampled : ndarray of bool, shape (M,)
    prior : (code, scale)
        Of σ: see `priors.log_prior`.
    link : Transform
        h; its inverse is increasing.
    labels : sequence of str, length M
        Names of the areas: they name the streams.
    coefficient_sd : float
        Of independent normal priors around 0 of the coefficients of `design`; infinite is flat.
    """

    likelihood: Likelihood
    X: np.ndarray
    sampled: np.ndarray
    prior: tuple[int, float]
    link: Transform
    labels: Sequence[str]
    coefficient_sd: float = np.inf

    @cached_property
    def basis(self) -> np.ndarray:
        """A, (p, p): columns of X A have mean 0 and deviation 1 where X has a constant, else size 1."""
        return standardise(self.X[self.sampled], ddof=0, by_size=True).basis

    @cached_property
    def design(self) -> np.ndarray:
        """Designs with centred and scaled columns, shape (M, p): what is fitted."""
        return times_rows(self.X, self.basis)

    @cached_property
    def fit(self) -> GridFit:
        """Weighted points of the hyperparameters."""
        problem = GridProblem(
            self.likelihood.log_likelihood, self.design[self.sampled], self.prior, self.coefficient_sd
        )
        return fit_grid(problem, self.start)

    @property
    def weighted(self) -> WeightedPoints:
        """The weighted points alone."""
        return self.fit

    @property
    def start(self) -> tuple[np.ndarray, float]:
        """First guess of the coefficients of `design` and of σ."""
        guess, X = self.likelihood.guess(), self.design[self.sampled]
        start, *_ = np.linalg.lstsq(X, guess, rcond=None)
        return start, max(0.5 * float(np.std(guess - X @ start)), 1e-3)

    @property
    def source(self) -> str:
        """How the posterior is computed, in words."""
        return (
            f"area effects integrated on grids, {len(self.weighted.log_weights)} weighted points of the "
            "hyperparameters"
        )

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """Pareto k and effective number of the weighted points, and the quadrature error of a log weight."""
        return {"k_hat": self.fit.k_hat, "ess": self.fit.ess, "quadrature_error": self.fit.error}

    @cached_property
    def mixtures(self) -> tuple[Distribution, Mixed | None]:
        """Posteriors of η of the rows with and without a sample."""
        unsampled = None if self.sampled.all() else unsampled_mixture(self.fit, self.design[~self.sampled])
        return sampled_mixture(self.fit), unsampled

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""
        mean, sd = self._moments
        return mean, sd

    @cached_property
    def _moments(self) -> np.ndarray:
        return self._together(lambda part, _: np.array(part.moments(self.link.inverse)))

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""
        kept = self._kept.get(tuple(probabilities))
        if kept is not None:
            return kept
        return self.link.inverse(self._together(lambda part, _: part.quantiles(probabilities)))

    @cached_property
    def _kept(self) -> dict[tuple[float, ...], np.ndarray]:
        """Quantiles by their probabilities."""
        return {}

    def settle(self, probabilities: np.ndarray) -> None:
        """Keep moments and some quantiles, and let the large mixtures go, to be made again on demand."""
        self.moments()
        self._kept[tuple(probabilities)] = self.quantiles(probabilities)
        self.__dict__.pop("mixtures", None)

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""
        limits = np.broadcast_to(np.asarray(threshold, dtype=float), self.sampled.shape)
        low, high = self.link.range
        inside = (limits > low) & (limits < high)
        eta = self.link.forward(np.where(inside, limits, 0.5))
        found = self._together(lambda part, rows: 1.0 - part.cdf(eta[rows])[None])[0]
        return np.where(inside, found, limits <= low)

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the same seed gives the same draws."""
        eta, beta, sigma = self._drawn(n, seed)
        observed = eta[:, self.sampled]
        names = [label for label, inside in zip(self.labels, self.sampled, strict=True) if inside]
        return Sample(
            self.link.inverse(eta),
            {"sigma_u": sigma, "beta": beta @ self.basis.T},
            self.likelihood.log_likelihood(np.ascontiguousarray(observed.T)).T,
            self.likelihood.replicate(observed, seed, names),
        )

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the true values of all rows alone, shape (n, M)."""
        return self.link.inverse(self._drawn(n, seed)[0])

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures of areas like the observed ones with effects of their own: see `Posterior.fresh`."""
        beta, sigma = self.fit.resample(n, generator(seed, "hyperparameters"))
        return self._fresh(self.likelihood, beta, sigma, seed)

    def _fresh(self, likelihood: Likelihood, beta: np.ndarray, sigma: np.ndarray, seed: int) -> np.ndarray:
        names = [label for label, inside in zip(self.labels, self.sampled, strict=True) if inside]
        z = normals(stream_keys(seed, "fresh effects", names), 0, len(sigma))
        eta = times_rows(self.design[self.sampled], beta.T).T + sigma[:, None] * z
        return likelihood.fresh(eta, seed, names)

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others) and its Pareto k of every observed figure, each of shape (n,).

        The area's effect is integrated out, so that only the hyperparameters are weighted anew.
        """
        fit = self.fit
        found = log_marginals(fit.problem, fit.path, fit.beta, fit.log_sigma, fit.tables, by_area=True)
        return psis_loo(found, fit.log_weights)

    def shared(self) -> np.ndarray:
        """Return columns whose products are the posterior covariance of different rows, shape (M, C)."""
        means = self._conditional()
        columns = (means - means.mean(axis=0)).T / np.sqrt(JOINT)
        if len(columns) >= JOINT:
            return columns
        return np.asarray(np.linalg.qr(columns.T, mode="r")).T  # as many columns as rows say the same

    def parameters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return points of β, shape (S, p), of σ, shape (S,), and their weights."""
        found = self.weighted
        return found.beta @ self.basis.T, np.exp(found.log_sigma), found.weights

    def further(self, probabilities: np.ndarray) -> dict[str, tuple[float, float, np.ndarray]]:
        """Return mean, standard deviation and quantiles of any parameters beside β and σ, by name."""
        return {}

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the sampling variance of figures with these means, shape (n,)."""
        return self.likelihood.noise(mean)

    def equal_points(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return n equally weighted points of the coefficients of `design` and of σ."""
        index = self.weighted.spread(n)
        return self.weighted.beta[index], np.exp(self.weighted.log_sigma[index])

    def synthetic(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of an area like each sampled one, its observation not used."""
        beta, sigma = self.equal_points(JOINT)
        means = beta @ self.design[self.sampled].T
        part = Mixture(np.full(JOINT, 1.0 / JOINT), means, sigma[:, None])
        return Mixed((part,)).moments(self.link.inverse)

    def _drawn(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw η of all rows, β and σ."""
        beta, sigma = self.weighted.resample(n, generator(seed, "hyperparameters"))
        keys = stream_keys(seed, "area effects", self.labels)
        eta = np.empty((n, len(self.design)))
        eta[:, self.sampled] = self._observed(beta, sigma, keys[self.sampled])
        alone = ~self.sampled
        eta[:, alone] = times_rows(self.design[alone], beta.T).T + sigma[:, None] * normals(keys[alone], 0, n)
        return eta, beta, sigma

    def _observed(self, beta: np.ndarray, sigma: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Draw η of the rows with a sample, one for each (β, σ), from their streams: shape (S, n)."""
        return draw_all_effects(self.fit, beta, sigma, keys)

    def _conditional(self) -> np.ndarray:
        """Posterior means of all rows given each of `JOINT` equally weighted points, shape (JOINT, M)."""
        return conditional_means(self.fit, self.design, self.sampled, self.link.inverse, JOINT)

    def _together(self, of: Callable[[Distribution, np.ndarray], np.ndarray]) -> np.ndarray:
        """Bring together what `of` gives for the rows with and without a sample, shape (K, M)."""
        inside, outside = self.mixtures
        first = of(inside, self.sampled)
        found = np.empty((len(first), len(self.sampled)))
        found[:, self.sampled] = first
        if outside is not None:
            found[:, ~self.sampled] = of(outside, ~self.sampled)
        return found


def times_rows(X: np.ndarray, A: np.ndarray) -> np.ndarray:
    """X A, every row computed by itself: the same bits whatever other rows there are."""
    total = X[:, :1] * A[0]
    for column, row in zip(X.T[1:], A[1:], strict=True):
        total += column[:, None] * row
    return total
