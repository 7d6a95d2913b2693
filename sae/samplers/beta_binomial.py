"""The posterior of beta-binomial counts: mixtures over nodes of the correlation within areas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from sae.numerics.glmm.dispersion import DispersionFit, fit_dispersion
from sae.numerics.glmm.likelihoods import BetaBinomial
from sae.numerics.glmm.posterior import GridFit, GridProblem, draw_all_effects, log_marginals
from sae.numerics.glmm.predictors import Mixed, conditional_means, sampled_mixture, unsampled_mixture
from sae.numerics.inference.psis import psis_loo
from sae.numerics.random.streams import generator, normals, stream_keys
from sae.samplers.grid import JOINT, GridPosterior, times_rows
from sae.samplers.posterior import Sample

__all__ = ["BetaBinomialPosterior"]

_SMALL = 1e-3  # weight below which a node does not speak for the whole


@dataclass(frozen=True, eq=False)
class BetaBinomialPosterior(GridPosterior):
    """Posterior of P_d where counts are beta-binomial and ρ is unknown: a `Posterior`.

    Attributes
    ----------
    likelihood : BetaBinomial
        Its ρ is not used.
    rho_prior : (float, float)
        Beta prior of ρ.
    points : int
        Of the other hyperparameters at each node of ρ; a power of 2.
    """

    likelihood: BetaBinomial
    rho_prior: tuple[float, float] = (1.0, 1.0)
    points: int = 512

    @cached_property
    def nodes(self) -> DispersionFit:
        """Fits at the nodes of ρ."""
        X = self.design[self.sampled]

        def problem_at(rho: float) -> GridProblem:
            likelihood = replace(self.likelihood, rho=rho).log_likelihood
            return GridProblem(likelihood, X, self.prior, self.coefficient_sd)

        return fit_dispersion(problem_at, self.start, self.rho_prior, self.points)

    @property
    def fit(self) -> GridFit:
        """Weighted points of the most likely node alone."""
        return self.nodes.fits[int(self.nodes.weights.argmax())]

    @property
    def source(self) -> str:
        """How the posterior is computed, in words."""
        nodes = self.nodes
        return (
            f"area effects integrated on grids, {len(nodes.z)} nodes of ρ with "
            f"{len(nodes.fits[0].log_weights)} weighted points of the other hyperparameters each"
        )

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """As of `GridPosterior`, over all nodes that matter; `rho_error` is that of halving their spacing."""
        nodes = self.nodes
        some = [fit for fit, weight in zip(nodes.fits, nodes.weights, strict=True) if weight > _SMALL]
        return {
            "k_hat": max(fit.k_hat for fit in some),
            "ess": 1.0 / sum(w * w / fit.ess for fit, w in zip(nodes.fits, nodes.weights, strict=True)),
            "quadrature_error": max(fit.error for fit in some),
            "rho_error": nodes.error,
        }

    @cached_property
    def mixtures(self) -> tuple[Mixed, Mixed | None]:
        """Posteriors of η of the rows with and without a sample."""
        inside = self._mixed([sampled_mixture(fit) for fit in self.nodes.fits])
        if self.sampled.all():
            return inside, None
        X = self.design[~self.sampled]
        return inside, self._mixed([unsampled_mixture(fit, X) for fit in self.nodes.fits])

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the same seed gives the same draws."""
        eta, beta, sigma = self._drawn(n, seed)
        rho = self.nodes.rho(_places(n, seed))
        observed = eta[:, self.sampled]
        names = [label for label, inside in zip(self.labels, self.sampled, strict=True) if inside]
        likelihood = replace(self.likelihood, rho=rho)
        return Sample(
            self.link.inverse(eta),
            {"sigma_u": sigma, "rho": rho, "beta": beta @ self.basis.T},
            likelihood.log_likelihood(np.ascontiguousarray(observed.T)).T,
            likelihood.replicate(observed, seed, names),
        )

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures of areas like the observed ones with effects of their own: see `Posterior.fresh`."""
        places = _places(n, seed)
        beta, sigma, node = np.empty((n, self.design.shape[1])), np.empty(n), self.nodes.nodes(places)
        for k in np.unique(node):
            members, rng = np.flatnonzero(node == k), generator(seed, "fresh hyperparameters", int(k))
            beta[members], sigma[members] = self.nodes.fits[k].resample(len(members), rng)
        return self._fresh(replace(self.likelihood, rho=self.nodes.rho(places)), beta, sigma, seed)

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others) and its Pareto k of every observed figure, each of shape (n,)."""
        found = [
            log_marginals(fit.problem, fit.path, fit.beta, fit.log_sigma, {}, by_area=True)
            for fit in self.nodes.fits
        ]
        return psis_loo(np.concatenate(found), self._log_weights())

    def shared(self) -> np.ndarray:
        """Return columns whose products are the posterior covariance of different rows, shape (M, C)."""
        means, weights = [], []
        for fit, weight in zip(self.nodes.fits, self.nodes.weights, strict=True):
            count = max(round(weight * JOINT), 1)
            means.append(conditional_means(fit, self.design, self.sampled, self.link.inverse, count))
            weights.append(np.full(count, weight / count))
        values, shares = np.concatenate(means), np.concatenate(weights)
        columns = (np.sqrt(shares)[:, None] * (values - shares @ values)).T
        if len(columns) >= columns.shape[1]:
            return columns
        return np.asarray(np.linalg.qr(columns.T, mode="r")).T  # as many columns as rows say the same

    def parameters(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return points of β, shape (S, p), of σ, shape (S,), and their weights."""
        beta = np.concatenate([fit.beta for fit in self.nodes.fits])
        sigma = np.exp(np.concatenate([fit.log_sigma for fit in self.nodes.fits]))
        return beta @ self.basis.T, sigma, np.exp(self._log_weights())

    def further(self, probabilities: np.ndarray) -> dict[str, tuple[float, float, np.ndarray]]:
        """Return ρ: mean, standard deviation and quantiles, shape (len(probabilities),)."""
        return {"rho": (*self.nodes.rho_moments(), self.nodes.rho(probabilities))}

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the sampling variance of figures with these means, at the posterior mean of ρ."""
        return replace(self.likelihood, rho=self.nodes.rho_moments()[0]).noise(mean)

    def equal_points(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return n equally weighted points of the coefficients of `design` and of σ."""
        weights = np.exp(self._log_weights())
        index = np.searchsorted(np.cumsum(weights), (np.arange(n) + 0.5) / n * (1.0 - 1e-12))
        beta = np.concatenate([fit.beta for fit in self.nodes.fits])[index]
        return beta, np.exp(np.concatenate([fit.log_sigma for fit in self.nodes.fits])[index])

    def _drawn(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        keys, alone = stream_keys(seed, "area effects", self.labels), ~self.sampled
        eta = np.empty((n, len(self.design)))
        beta, sigma = np.empty((n, self.design.shape[1])), np.empty(n)
        node = self.nodes.nodes(_places(n, seed))
        for k in np.unique(node):
            members, fit = np.flatnonzero(node == k), self.nodes.fits[k]
            rng = generator(seed, "hyperparameters", f"{ndtr(self.nodes.z[k]):.12g}")
            beta[members], sigma[members] = fit.resample(len(members), rng)
            found = draw_all_effects(fit, beta[members], sigma[members], keys[self.sampled], members)
            eta[np.ix_(members, self.sampled)] = found
        means = times_rows(self.design[alone], beta.T).T
        eta[:, alone] = means + sigma[:, None] * normals(keys[alone], 0, n)
        return eta, beta, sigma

    def _log_weights(self) -> np.ndarray:
        pairs = zip(self.nodes.fits, self.nodes.weights, strict=True)
        return np.concatenate([fit.log_weights + np.log(weight) for fit, weight in pairs])

    def _mixed(self, each: list[Mixed]) -> Mixed:
        return Mixed(
            tuple(
                replace(part, weights=weight * part.weights)
                for mixed, weight in zip(each, self.nodes.weights, strict=True)
                for part in mixed.parts
            )
        )


def _places(n: int, seed: int) -> np.ndarray:
    """Quantiles of ρ, one in each n-th of (0, 1), in random order: they choose ρ and its node."""
    rng = generator(seed, "correlation within areas")
    return rng.permutation((np.arange(n) + rng.uniform()) / n)
