"""Posterior of Fay–Herriot models with Student-t effects or a horseshoe on coefficients, by Gibbs chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import gammaincinv, logsumexp, ndtr

from sae.numerics.fay_herriot.gibbs import run_chain
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.psis import psis_loo
from sae.numerics.linalg.basis import Basis, orthonormal_basis
from sae.numerics.random.streams import generator, normals, stream_keys
from sae.samplers.chains import random_order, shared_columns
from sae.samplers.posterior import Sample
from sae.samplers.pymc import CHAINS, Chains

__all__ = ["ScaleMixture", "sample_mixture"]

_NODES = 48  # of the factor of an area, Gauss–Legendre in its probability


@dataclass(frozen=True, eq=False)
class ScaleMixture:
    """Chains of (σ, ν, β, λ); true values are normal given them; implements `Posterior`.

    Attributes
    ----------
    y, D : ndarray, shape (M,)
        Read only where `sampled`; y less `level`.
    X : ndarray, shape (M, p)
        In the coordinates of `basis` where coefficients are flat.
    level : ndarray, shape (M,)
        What is taken out of the outcome.
    flat : ndarray of bool, shape (p,)
        Coefficients that are not shrunk.
    basis : Basis or None
        Of their columns.
    sampled : ndarray of bool, shape (M,)
    labels : sequence of str, length M
    chains : Chains
        sigma_u, df, tau, shape (chains, n); beta and factor, λ of the M areas.
    robust : bool
        Whether the effects are Student's.
    """

    y: np.ndarray
    D: np.ndarray
    X: np.ndarray
    level: np.ndarray
    flat: np.ndarray
    basis: Basis | None
    sampled: np.ndarray
    labels: Sequence[str]
    chains: Chains
    robust: bool

    @property
    def source(self) -> str:
        """How the posterior is computed, in words."""
        return f"Gibbs sampler, {self.chains.lengths}, true values integrated"

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """R-hat and effective sample size."""
        return {name: value for name, value in self.chains.diagnostics.items() if name != "divergences"}

    @cached_property
    def hyper(self) -> Mapping[str, np.ndarray]:
        """All draws of the parameters, chain after chain."""
        return self.chains.joined()

    @cached_property
    def effects(self) -> np.ndarray:
        """Draws of the variances of the effects, shape (S, M)."""
        return np.asarray(self.hyper["sigma_u"][:, None] ** 2 * self.hyper["factor"])

    @cached_property
    def beta(self) -> np.ndarray:
        """Draws of the coefficients of the columns as they were given, shape (S, p)."""
        beta = self.hyper["beta"].copy()
        if self.basis is not None:
            beta[:, self.flat] = self.basis.natural(beta[:, self.flat])
        return beta

    @cached_property
    def mixture(self) -> Mixture:
        """Posterior of every row as a mixture of normals over the draws."""
        size = len(self.hyper["sigma_u"])
        return Mixture(np.full(size, 1.0 / size), *self._given(np.arange(size)))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and standard deviations of all rows, each of shape (M,)."""
        return self.mixture.moments()

    def quantiles(self, probabilities: np.ndarray) -> np.ndarray:
        """Return posterior quantiles, shape (len(probabilities), M)."""
        return np.stack([self.mixture.quantile(float(p)) for p in np.atleast_1d(probabilities)])

    def exceedance(self, threshold: np.ndarray | float) -> np.ndarray:
        """Return P(value > threshold | data) of every row, shape (M,)."""
        return np.asarray(self.mixture.weights @ ndtr((self.mixture.means - threshold) / self.mixture.sds))

    def draw(self, n: int, seed: int) -> Sample:
        """Return n joint draws; the same seed gives the same draws, more of them the same first ones."""
        which, theta = self._drawn(n, seed)
        on = self.sampled
        y, D, own = self.y[on] + self.level[on], self.D[on], theta[:, on]
        log_likelihood = -0.5 * (np.log(2.0 * np.pi * D) + (y - own) ** 2 / D)
        noise = normals(stream_keys(seed, "sampling errors", self.labels), 0, n)[:, on]
        named = {name: values[which] for name, values in self.hyper.items() if name != "factor"}
        named["beta"] = self.beta[which]
        return Sample(theta, named, log_likelihood, own + np.sqrt(D) * noise)

    def values(self, n: int, seed: int) -> np.ndarray:
        """Return n joint draws of the true values of all rows alone, shape (n, M)."""
        return self._drawn(n, seed)[1]

    def shared(self) -> np.ndarray:
        """Return columns whose products are the posterior covariance of different rows, shape (M, C)."""
        return shared_columns(self.mixture.means)

    def fresh(self, n: int, seed: int) -> np.ndarray:
        """Return figures of areas like the observed ones with effects of their own: see `Posterior.fresh`."""
        which, on = random_order(len(self.hyper["sigma_u"]), n, seed), self.sampled
        variance = np.broadcast_to(self.hyper["sigma_u"][which, None] ** 2, (n, int(on.sum())))
        if self.robust:
            df = self.hyper["df"][which, None]
            draw = generator(seed, "fresh factors").standard_gamma(0.5 * df, variance.shape)
            variance = variance * 0.5 * df / draw
        z = normals(stream_keys(seed, "fresh effects", self.labels), 0, n)[:, on]
        fitted = self.hyper["beta"][which] @ self.X[on].T + self.level[on]
        return fitted + np.sqrt(variance + self.D[on]) * z

    def loo(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(y_d | the others), effects and their factors integrated out, and its Pareto k."""
        return self._loo

    @cached_property
    def _loo(self) -> tuple[np.ndarray, np.ndarray]:
        sd, df = self.hyper["sigma_u"], self.hyper.get("df", np.full(len(self.hyper["sigma_u"]), np.inf))
        rest = self.y[self.sampled] - self.hyper["beta"] @ self.X[self.sampled].T
        points, weights = np.polynomial.legendre.leggauss(_NODES if self.robust else 1)
        log_p = []
        for point, weight in zip(0.5 * (points + 1.0), 0.5 * weights, strict=True):
            factor = 0.5 * df / gammaincinv(0.5 * df, point) if self.robust else np.ones(len(sd))
            total = (sd**2 * factor)[:, None] + self.D[self.sampled]
            log_p.append(np.log(weight) - 0.5 * (np.log(2.0 * np.pi * total) + rest**2 / total))
        return psis_loo(logsumexp(log_p, axis=0))

    def _given(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and deviations of the true values given some of the draws, shapes (n, M)."""
        fitted = self.hyper["beta"][which] @ self.X.T
        effect = self.effects[which]
        gain = np.where(self.sampled, effect / (effect + self.D), 0.0)
        spread = np.where(self.sampled, gain * self.D, effect)
        mean = self.level + (fitted + gain * np.where(self.sampled, self.y - fitted, 0.0))
        return mean, np.sqrt(spread)

    def _drawn(self, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        which = random_order(len(self.hyper["sigma_u"]), n, seed)
        mean, sd = self._given(which)
        return which, mean + sd * normals(stream_keys(seed, "area effects", self.labels), 0, n)


def sample_mixture(
    y: np.ndarray,
    D: np.ndarray,
    X: np.ndarray,
    sampled: np.ndarray,
    labels: Sequence[str],
    prior: tuple[int, float],
    *,
    seed: int,
    df: float = np.inf,
    shrunk: np.ndarray | None = None,
    tau: float = np.nan,
    tau_scale: float = 1.0,
    draws: int = 1000,
    tune: int = 500,
    thin: int = 2,
) -> ScaleMixture:
    """Run the chains; arguments as of `gibbs.run_chain`, with all M rows.

    A chain takes the areas in the order of their labels, so that the order of the rows changes nothing.
    """
    on = np.flatnonzero(sampled)
    on = on[np.argsort([labels[int(d)] for d in on], kind="stable")]
    flat = np.ones(X.shape[1], dtype=bool) if shrunk is None else ~shrunk
    basis, level = None, np.zeros(len(y))
    if flat.any():
        basis = orthonormal_basis(X[np.ix_(on, flat)], y[on])
        level = X[:, flat] @ basis.fitted
        X = X.copy()
        X[:, flat] = basis.of(X[:, flat])
    y = y - level
    chains = [
        run_chain(
            y[on],
            D[on],
            X[on],
            prior,
            key,
            df=df,
            shrunk=shrunk,
            tau=tau,
            tau_scale=tau_scale,
            draws=draws,
            tune=tune,
            thin=thin,
        )
        for key in stream_keys(seed, "Gibbs sampler", range(CHAINS))
    ]

    def stacked(name: str) -> np.ndarray:
        return np.stack([getattr(chain, name) for chain in chains])

    judged = {"sigma_u": stacked("sd"), "beta": stacked("beta")}
    if np.isnan(df):
        judged["df"] = stacked("df")
    if shrunk is not None and shrunk.any() and np.isnan(tau):
        judged["tau"] = stacked("tau")
    found = Chains.of(judged).checked()
    factor = np.ones((CHAINS, draws, len(y)))
    factor[:, :, on] = stacked("factor")
    if np.isfinite(df) or np.isnan(df):
        _draw_factors(factor, stacked("df"), sampled, labels, seed)
    held = {} if np.isnan(df) or np.isinf(df) else {"df": stacked("df")}
    return ScaleMixture(
        y,
        D,
        X,
        level,
        flat,
        basis,
        sampled,
        labels,
        Chains({**found.draws, **held, "factor": factor}, found.r_hat, found.ess, 0, found.worst),
        not np.isinf(df),
    )


def _draw_factors(
    factor: np.ndarray, df: np.ndarray, sampled: np.ndarray, labels: Sequence[str], seed: int
) -> None:
    """Fill the factors of areas without a sample: each draw has its own, from the prior."""
    for d in np.flatnonzero(~sampled):
        rng = generator(seed, "factor of the effect", labels[int(d)])
        factor[:, :, d] = 0.5 * df / rng.standard_gamma(0.5 * df)
