"""What areas observe, given their linear predictors η: log-likelihoods, observations to come, first guesses.

Each class holds the observations of n areas. `log_likelihood` is the log density of each area's observation
at linear predictors of shape (n, K), constants included, so that predictive densities can be compared.
`replicate` draws what the model would have observed at linear predictors of shape (S, n), on the reported
scale of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.special import betaln, expit, gammaln, logit

from sae.numerics.glmm.log_rising import log_rising_pairs
from sae.numerics.inference.transforms import Transform
from sae.numerics.random.streams import generator

__all__ = ["Beta", "BetaBinomial", "Binomial", "Likelihood", "Poisson", "StudentVariance", "Unmatched"]

_Draw = Callable[[np.random.Generator, int, np.ndarray], np.ndarray]
_MANY = 2500  # trials, above which log-gamma costs less than products
_LARGE = 1e5  # times a count: the first two terms of a rising factorial are then right to 1e-11 of it
_EDGE = 1e-12  # of a beta density from which shares are drawn: its parameters are at least this


class Likelihood(Protocol):
    """Observations of n areas given η."""

    def log_likelihood(self, eta: np.ndarray) -> np.ndarray:
        """Return log densities, shape (n, K), at linear predictors of that shape."""

    def replicate(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw observations at linear predictors, shape (S, n), from streams named by the areas' labels."""

    def fresh(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw observations of other areas, with the same sampling: what was observed is not used."""

    def guess(self) -> np.ndarray:
        """Return a rough linear predictor of each area, shape (n,)."""

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the sampling variance of a reported figure with this mean, shape (n,)."""


@dataclass(frozen=True, eq=False)
class Binomial:
    """y of n trials succeed, logit P = η; y and n need not be whole: effective sample sizes.

    Attributes
    ----------
    y, n : ndarray, shape (n_areas,)
        0 <= y <= n, n > 0.
    """

    y: np.ndarray
    n: np.ndarray

    def log_likelihood(self, eta: np.ndarray) -> np.ndarray:
        """Return y η - n log(1 + exp η) and the constant; see `Likelihood`."""
        size = np.abs(eta)
        np.negative(size, out=size)
        value = np.exp(size, out=size)
        if self._many:
            np.log1p(value, out=value)
        else:
            value += 1.0
            np.log(value, out=value)
        value += np.maximum(eta, 0.0)
        value *= -self.n[:, None]
        linear = self.y[:, None] * eta
        linear += self._constant
        value += linear
        return value

    @cached_property
    def _many(self) -> bool:
        """Whether there are so many trials that 1 + exp(-|η|) is too rough."""
        return bool(self.n.max() > 1e12)

    @cached_property
    def _constant(self) -> np.ndarray:
        """What does not depend on η, shape (n, 1)."""
        constant = gammaln(self.n + 1.0) - gammaln(self.y + 1.0) - gammaln(self.n - self.y + 1.0)
        return constant[:, None]

    def replicate(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw shares; the trials that are not whole are rounded."""
        trials = np.maximum(np.rint(self.n), 1.0)
        return _by_area(
            eta, seed, labels, lambda rng, d, e: rng.binomial(int(trials[d]), expit(e)) / trials[d]
        )

    def fresh(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw as `replicate`, which uses nothing of what was observed."""
        return self.replicate(eta, seed, labels)

    def guess(self) -> np.ndarray:
        """Return the empirical logits."""
        return np.log((self.y + 0.5) / (self.n - self.y + 0.5))

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the sampling variance; see `Likelihood`."""
        return mean * (1.0 - mean) / self.n


@dataclass(frozen=True, eq=False)
class BetaBinomial:
    """y of n trials succeed, which agree within an area: beta-binomial(n, P, ρ), logit P = η.

    The share of an area varies around P as Beta(P M, (1 - P) M), M = (1 - ρ) / ρ, so that two trials have
    correlation ρ and y has the variance n P (1 - P) (1 + (n - 1) ρ).

    Attributes
    ----------
    y, n : ndarray, shape (n_areas,)
        As in `Binomial`.
    rho : float or ndarray, shape (K,)
        ρ strictly between 0 and 1; an array has one for each column of η (for each draw).
    """

    y: np.ndarray
    n: np.ndarray
    rho: float | np.ndarray

    def log_likelihood(self, eta: np.ndarray) -> np.ndarray:
        """Return log B(y + P M, n - y + (1 - P) M) / B(P M, (1 - P) M) and the constant."""
        y, n, size = self.y[:, None], self.n[:, None], (1.0 - self.rho) / self.rho
        whole, first, second = self._counts
        if whole.all():
            return self._constant + log_rising_pairs(eta, first, second, size)
        value, rest = np.broadcast_to(self._constant, eta.shape).copy(), ~whole
        if whole.any():
            value[whole] += log_rising_pairs(eta[whole], first, second, size)
        value[rest] += _log_rising(size * expit(eta[rest]), y[rest])
        value[rest] += _log_rising(size * expit(-eta[rest]), (n - y)[rest])
        return value

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which areas have whole counts that are not many; their successes and failures."""
        whole = (self.y == np.rint(self.y)) & (self.n == np.rint(self.n)) & (self.n <= _MANY)
        return whole, self.y[whole].astype(np.int64), (self.n - self.y)[whole].astype(np.int64)

    @cached_property
    def _constant(self) -> np.ndarray:
        """What does not depend on η, shape (n, 1) or (n, K)."""
        y, n, size = self.y[:, None], self.n[:, None], (1.0 - self.rho) / self.rho
        return gammaln(n + 1.0) - gammaln(y + 1.0) - gammaln(n - y + 1.0) - _log_rising(size, n)

    def replicate(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw shares; the trials that are not whole are rounded."""
        trials, size = np.maximum(np.rint(self.n), 1.0), (1.0 - self.rho) / self.rho

        def draw(rng: np.random.Generator, d: int, e: np.ndarray) -> np.ndarray:
            shares = rng.beta(np.maximum(size * expit(e), _EDGE), np.maximum(size * expit(-e), _EDGE))
            return rng.binomial(int(trials[d]), shares) / trials[d]

        return _by_area(eta, seed, labels, draw)

    def fresh(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw as `replicate`, which uses nothing of what was observed."""
        return self.replicate(eta, seed, labels)

    def guess(self) -> np.ndarray:
        """Return the empirical logits."""
        return np.log((self.y + 0.5) / (self.n - self.y + 0.5))

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the sampling variance; see `Likelihood`."""
        return mean * (1.0 - mean) / self.n * (1.0 + (self.n - 1.0) * self.rho)


@dataclass(frozen=True, eq=False)
class Poisson:
    """y events, log of their mean η + log exposure; y need not be whole.

    Attributes
    ----------
    y, exposure : ndarray, shape (n_areas,)
        y >= 0, exposure > 0.
    """

    y: np.ndarray
    exposure: np.ndarray

    def log_likelihood(self, eta: np.ndarray) -> np.ndarray:
        """Return y log(exposure exp η) - exposure exp η - log y!; see `Likelihood`."""
        constant = self.y * np.log(self.exposure) - gammaln(self.y + 1.0)
        with np.errstate(over="ignore"):
            events = self.exposure[:, None] * np.exp(eta)
        return self.y[:, None] * eta - events + constant[:, None]

    def replicate(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw rates: events over exposure."""
        means = self.exposure * np.exp(eta)
        return _by_area(means, seed, labels, lambda rng, d, mean: rng.poisson(mean) / self.exposure[d])

    def fresh(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw as `replicate`, which uses nothing of what was observed."""
        return self.replicate(eta, seed, labels)

    def guess(self) -> np.ndarray:
        """Return log rates, with half an event more."""
        return np.log((self.y + 0.5) / self.exposure)

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the sampling variance; see `Likelihood`."""
        return mean / self.exposure


@dataclass(frozen=True, eq=False)
class Beta:
    """A share y ~ Beta(P φ, (1 - P) φ), logit P = η, with known precision φ: variance P (1 - P) / (φ + 1).

    Attributes
    ----------
    y, precision : ndarray, shape (n_areas,)
        0 < y < 1, precision > 0.
    """

    y: np.ndarray
    precision: np.ndarray

    def log_likelihood(self, eta: np.ndarray) -> np.ndarray:
        """Return the log beta density; see `Likelihood`."""
        phi = self.precision[:, None]
        a = np.maximum(phi * expit(eta), 1e-300)
        b = np.maximum(phi * expit(-eta), 1e-300)
        y = self.y[:, None]
        return (a - 1.0) * np.log(y) + (b - 1.0) * np.log1p(-y) - betaln(a, b)

    def replicate(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw shares."""

        def draw(rng: np.random.Generator, d: int, e: np.ndarray) -> np.ndarray:
            phi = self.precision[d]
            return rng.beta(np.maximum(phi * expit(e), _EDGE), np.maximum(phi * expit(-e), _EDGE))

        return _by_area(eta, seed, labels, draw)

    def fresh(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw as `replicate`, which uses nothing of what was observed."""
        return self.replicate(eta, seed, labels)

    def guess(self) -> np.ndarray:
        """Return the logits of the shares."""
        return logit(self.y)

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the sampling variance; see `Likelihood`."""
        return mean * (1.0 - mean) / (self.precision + 1.0)


@dataclass(frozen=True, eq=False)
class Unmatched:
    """y ~ N(h^-1(η), D): sampling on the scale of y, the model on that of its link h.

    Attributes
    ----------
    y, vardir : ndarray, shape (n_areas,)
    link : Transform
    """

    y: np.ndarray
    vardir: np.ndarray
    link: Transform

    def log_likelihood(self, eta: np.ndarray) -> np.ndarray:
        """Return the log normal density; see `Likelihood`."""
        with np.errstate(over="ignore"):
            apart = self.y[:, None] - self.link.inverse(eta)
            square = apart * apart
        return -0.5 * (np.minimum(square, 1e300) / self.vardir[:, None] + _log_2pi(self.vardir)[:, None])

    def replicate(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw direct estimates."""
        sd = np.sqrt(self.vardir)
        return _by_area(self.link.inverse(eta), seed, labels, lambda rng, d, m: rng.normal(m, sd[d]))

    def fresh(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw as `replicate`, which uses nothing of what was observed."""
        return self.replicate(eta, seed, labels)

    def guess(self) -> np.ndarray:
        """Return h(y), with y drawn inside the range of h where it is at or beyond an end."""
        low, high = self.link.range
        sd = np.sqrt(self.vardir)
        inside = np.maximum(self.y, low + 0.5 * sd)
        if np.isfinite(high):
            edge = np.minimum(0.5 * sd, 0.25 * (high - low))
            inside = np.clip(self.y, low + edge, high - edge)
        return self.link.forward(inside)

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the sampling variance; see `Likelihood`."""
        return self.vardir + 0.0 * mean


@dataclass(frozen=True, eq=False)
class StudentVariance:
    """y ~ N(η, σ²) with σ² unknown: its estimate s² ~ σ² χ²(df) / df, and σ² ~ inverse gamma(shape, rate).

    Integrated over σ², y - η has a Student density with 2 shape + df degrees of freedom. Flat σ² is shape -1
    and rate 0, without which the density has no constant.

    Attributes
    ----------
    y, s2, df : ndarray, shape (n_areas,)
        Estimates, estimates of their sampling variances, degrees of freedom of these.
    shape, rate : float
    """

    y: np.ndarray
    s2: np.ndarray
    df: np.ndarray
    shape: float
    rate: float

    @property
    def degrees(self) -> np.ndarray:
        """Degrees of freedom of the Student density, shape (n,)."""
        return self.df + 2.0 * self.shape

    @property
    def scale(self) -> np.ndarray:
        """Scale of the Student density, squared, shape (n,)."""
        return (self.df * self.s2 + 2.0 * self.rate) / self.degrees

    def log_likelihood(self, eta: np.ndarray) -> np.ndarray:
        """Return the log density of y given s²; see `Likelihood`."""
        nu, scale = self.degrees, self.scale
        constant = gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * np.log(np.pi * nu * scale)
        apart = (self.y[:, None] - eta) ** 2 / (nu * scale)[:, None]
        return constant[:, None] - 0.5 * (nu + 1.0)[:, None] * np.log1p(apart)

    def replicate(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw direct estimates, with sampling variances drawn given y, s² and η."""
        nu, spread = self.degrees + 1.0, self.degrees * self.scale

        def draw(rng: np.random.Generator, d: int, mean: np.ndarray) -> np.ndarray:
            sd = np.sqrt((spread[d] + (self.y[d] - mean) ** 2) / nu[d])
            return mean + sd * rng.standard_t(nu[d], len(mean))

        return _by_area(eta, seed, labels, draw)

    def fresh(self, eta: np.ndarray, seed: int, labels: Sequence[str]) -> np.ndarray:
        """Draw direct estimates with sampling variances drawn given s² alone."""
        nu, sd = self.degrees, np.sqrt(self.scale)
        return _by_area(
            eta, seed, labels, lambda rng, d, mean: mean + sd[d] * rng.standard_t(nu[d], len(mean))
        )

    def guess(self) -> np.ndarray:
        """Return the direct estimates."""
        return self.y

    def noise(self, mean: np.ndarray) -> np.ndarray:
        """Return the estimated sampling variance; see `Likelihood`."""
        return self.s2 + 0.0 * mean


def _log_rising(a: np.ndarray | float, count: np.ndarray) -> np.ndarray:
    """Return log Γ(a + count) / Γ(a): of a (a + 1) ... (a + count - 1) where count is whole."""
    a = np.maximum(a, 1e-300)
    large = a > _LARGE * count  # where the difference of two log-gammas is rounding
    near = gammaln(np.where(large, 1.0, a) + count) - gammaln(np.where(large, 1.0, a))
    return np.where(large, count * np.log(a) + 0.5 * count * (count - 1.0) / a, near)


def _log_2pi(variance: np.ndarray) -> np.ndarray:
    return np.log(2.0 * np.pi * variance)


def _by_area(values: np.ndarray, seed: int, labels: Sequence[str], draw: _Draw) -> np.ndarray:
    out = np.empty(values.shape)
    for d, label in enumerate(labels):
        out[:, d] = draw(generator(seed, "replicated observations", label), d, values[:, d])
    return out
