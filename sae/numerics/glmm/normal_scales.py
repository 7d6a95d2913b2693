"""Area effects under normal observations whose variances have a distribution: all is normal given these.

y_d ~ N(η_d, v_d), v_d ~ inverse gamma, η_d ~ N(x_d'β, σ²). Given (β, σ) the density of y_d is an average of
N(y_d; x_d'β, v + σ²) over v, and the posterior of η_d one of N(shrunken mean, v σ² / (v + σ²)): of two modes
where an outlying y_d has few degrees of freedom, and of widths that differ by any factor. The average is a
sum over equally spaced nodes of log v, as right where y_d lies far from x_d'β as where it is near.

References
----------
You and Chapman (2006), Survey Methodology 32, 97-103 (the model); Trefethen and Weideman (2014), SIAM Review
56, 385-458 (equally spaced nodes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from sae.numerics.compile import compiled, inlined
from sae.numerics.glmm.integrals import uniform_of
from sae.numerics.glmm.laplace import Walk
from sae.numerics.inference.priors import log_prior

__all__ = ["NormalScales", "ScalesWalk"]

_STEP = 0.45  # of log v: the trapezoid rule then errs by 1e-7 of a density,
_NARROW = 0.65  # and where v is known well a step of so many of its deviations
_FALL = 20.0  # in log density, from the top to the outermost nodes
_LEAST = 1e-8  # share of a node in a posterior that is left out of its distribution function
_FAR = 40.0  # deviations from the mean within which quantiles lie
_ROOT_HALF = math.sqrt(0.5)
_ROOT_2PI = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True, eq=False)
class NormalScales:
    """Observations of n areas, and nodes of their variances.

    Attributes
    ----------
    y : ndarray, shape (n,)
    variance, weight : ndarray, shape (n, J)
        Nodes of v_d, ascending, and their weights, whose sum is one.
    counts : ndarray of int, shape (n,)
        How many of them each area has.
    X : ndarray, shape (n, p)
    """

    y: np.ndarray
    variance: np.ndarray
    weight: np.ndarray
    counts: np.ndarray
    X: np.ndarray

    @classmethod
    def of(
        cls, y: np.ndarray, degrees: np.ndarray, scale: np.ndarray, X: np.ndarray, finer: float = 1.0
    ) -> NormalScales:
        """Lay out nodes for Student densities of y - η with these degrees of freedom and squared scales.

        Parameters
        ----------
        y, degrees, scale : ndarray, shape (n,)
        X : ndarray, shape (n, p)
        finer : float
            So many times as many nodes.
        """
        shape, rate = 0.5 * degrees, 0.5 * degrees * scale
        far = (rate + 2.0 * np.ptp(y) ** 2) / (shape + 0.5)  # where v is for the farthest x'β
        fall = _FALL / shape
        first = np.log(rate / shape) - np.log1p(fall + np.sqrt(2.0 * fall))
        fall = _FALL / (shape + 0.5)
        last = np.log(far) + fall + np.sqrt(2.0 * fall)
        step = np.minimum(_STEP, _NARROW / np.sqrt(shape + 0.5)) / finer
        u = first[:, None] + step[:, None] * np.arange(int(np.ceil((last - first) / step).max()) + 1)
        log_weight = -shape[:, None] * u - rate[:, None] * np.exp(-u)
        log_weight += (shape * np.log(rate) - gammaln(shape) + np.log(step))[:, None]
        return cls(y, np.exp(u), np.exp(log_weight), np.ceil((last - first) / step).astype(np.int64) + 1, X)

    def marginals(self, beta: np.ndarray, sigma: np.ndarray, by_area: bool = False) -> np.ndarray:
        """Return the log density of the observations, effects integrated out: (S,), or (S, n) by area."""
        found = _marginals(*self._arrays, beta @ self.X.T, sigma)
        return np.asarray(found if by_area else found.sum(axis=1))

    def derivatives(self, beta: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradient of the log density in β, shape (p,), and minus its second derivatives."""
        first, second = _slopes(*self._arrays, self.X @ beta, sigma)
        return self.X.T @ first, (self.X.T * second) @ self.X

    def moments(self, beta: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means and variances of η given hyperparameters, each of shape (S, n)."""
        mean, variance = _moments(*self._arrays, beta @ self.X.T, sigma)
        return mean, variance

    def below(self, beta: np.ndarray, sigma: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return P(η_d <= x_d), averaged over hyperparameters, shape (n,)."""
        return np.asarray(_below(*self._arrays, beta @ self.X.T, sigma, x))

    def quantiles(
        self, beta: np.ndarray, sigma: np.ndarray, places: np.ndarray, mean: np.ndarray, sd: np.ndarray
    ) -> np.ndarray:
        """Return quantiles of η, averaged over hyperparameters, shape (len(places), n).

        Parameters
        ----------
        mean, sd : ndarray, shape (n,)
            Of η: where quantiles are looked for.
        """
        return np.asarray(_quantiles(*self._arrays, beta @ self.X.T, sigma, places, mean, sd))

    def draw(self, beta: np.ndarray, sigma: np.ndarray, keys: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Draw η, one for each row of (β, σ).

        Parameters
        ----------
        keys : ndarray of uint64, shape (n,)
            Streams that choose the nodes.
        normals : ndarray, shape (S, n)

        Returns
        -------
        ndarray, shape (S, n)
        """
        return np.asarray(_draws(*self._arrays, beta @ self.X.T, sigma, keys, normals))

    @property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.y, self.variance, self.weight, self.counts


class ScalesWalk(Walk):
    """The coefficients' mode and curvature for each log σ; the coefficients are flat."""

    def __init__(self, scales: NormalScales, prior: tuple[int, float], beta: np.ndarray) -> None:
        super().__init__(beta)
        self.scales, self.prior = scales, prior

    def log_posterior(self, beta: np.ndarray, log_sigma: np.ndarray) -> np.ndarray:
        """Log density of (β, log σ), shapes (S, p) and (S,), up to a constant."""
        sigma = np.exp(log_sigma)
        return np.asarray(self.scales.marginals(beta, sigma) + log_prior(self.prior, sigma) + log_sigma)

    def value(self, beta: np.ndarray, t: float) -> float:
        """Return the log posterior density of (β, t); see `Walk`."""
        return float(self.log_posterior(beta[None], np.array([t]))[0])

    def derivatives(self, beta: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Return its gradient in β and minus its second derivatives; see `Walk`."""
        return self.scales.derivatives(beta, float(np.exp(t)))


@inlined
def _shares(y, variance, weight, count, mean, total_variance, out):
    """Share of each node in the posterior given hyperparameters into `out`; the log of their sum."""
    square = (y - mean) ** 2
    least = square / (variance[count - 1] + total_variance)
    total = 0.0
    for j in range(count):
        precision = 1.0 / (variance[j] + total_variance)
        out[j] = weight[j] * math.exp(0.5 * (least - square * precision)) * math.sqrt(precision)
        total += out[j]
    for j in range(count):
        out[j] /= total
    return math.log(total) - 0.5 * least - math.log(_ROOT_2PI)


@compiled
def _marginals(y, variance, weight, counts, mean, sigma):
    out, share = np.empty(mean.shape), np.empty(variance.shape[1])
    for s in range(len(sigma)):
        for d in range(len(y)):
            out[s, d] = _shares(
                y[d], variance[d], weight[d], counts[d], mean[s, d], sigma[s] * sigma[s], share
            )
    return out


@compiled
def _slopes(y, variance, weight, counts, mean, sigma):
    first, second = np.zeros(len(y)), np.zeros(len(y))
    share = np.empty(variance.shape[1])
    for d in range(len(y)):
        _shares(y[d], variance[d], weight[d], counts[d], mean[d], sigma * sigma, share)
        apart, square = y[d] - mean[d], 0.0
        for j in range(counts[d]):
            precision = 1.0 / (variance[d, j] + sigma * sigma)
            slope = apart * precision
            first[d] += share[j] * slope
            second[d] += share[j] * precision
            square += share[j] * slope * slope
        second[d] -= square - first[d] * first[d]
    return first, second


@compiled
def _moments(y, variance, weight, counts, mean, sigma):
    centre, spread, share = np.zeros(mean.shape), np.zeros(mean.shape), np.empty(variance.shape[1])
    for s in range(len(sigma)):
        prior = sigma[s] * sigma[s]
        for d in range(len(y)):
            _shares(y[d], variance[d], weight[d], counts[d], mean[s, d], prior, share)
            apart, first, second = y[d] - mean[s, d], 0.0, 0.0
            for j in range(counts[d]):
                gain = prior / (variance[d, j] + prior)
                first += share[j] * gain * apart
                second += share[j] * (gain * variance[d, j] + (gain * apart) ** 2)
            centre[s, d] = mean[s, d] + first
            spread[s, d] = second - first * first
    return centre, spread


@inlined
def _components(y, variance, weight, count, mean, sigma, share, kept):
    """Weights, means and precisions of the normals of one area into `kept`; their number."""
    size = 0
    for s in range(len(sigma)):
        prior = sigma[s] * sigma[s]
        _shares(y, variance, weight, count, mean[s], prior, share)
        for j in range(count):
            if share[j] > _LEAST:
                gain = prior / (variance[j] + prior)
                kept[0, size] = share[j] / len(sigma)
                kept[1, size] = mean[s] + gain * (y - mean[s])
                kept[2, size] = 1.0 / math.sqrt(gain * variance[j])
                size += 1
    return size


@inlined
def _sum_below(kept, size, x):
    probability, density = 0.0, 0.0
    for i in range(size):
        z = (x - kept[1, i]) * kept[2, i]
        probability += kept[0, i] * math.erfc(-z * _ROOT_HALF)
        if abs(z) < 9.0:
            density += kept[0, i] * kept[2, i] * math.exp(-0.5 * z * z)
    return 0.5 * probability, density / _ROOT_2PI


@compiled
def _below(y, variance, weight, counts, mean, sigma, x):
    out, share = np.empty(len(y)), np.empty(variance.shape[1])
    kept = np.empty((3, len(sigma) * variance.shape[1]))
    for d in range(len(y)):
        size = _components(y[d], variance[d], weight[d], counts[d], mean[:, d], sigma, share, kept)
        out[d] = _sum_below(kept, size, x[d])[0]
    return out


@compiled
def _quantiles(y, variance, weight, counts, mean, sigma, places, centre, sd):
    out, share = np.empty((len(places), len(y))), np.empty(variance.shape[1])
    kept = np.empty((3, len(sigma) * variance.shape[1]))
    for d in range(len(y)):
        size = _components(y[d], variance[d], weight[d], counts[d], mean[:, d], sigma, share, kept)
        for k in range(len(places)):
            low, high = centre[d] - _FAR * sd[d], centre[d] + _FAR * sd[d]
            now = centre[d]
            for _ in range(200):
                probability, density = _sum_below(kept, size, now)
                excess = probability - places[k]
                if excess < 0.0:
                    low = now
                else:
                    high = now
                following = 0.5 * (low + high)
                if density > 0.0 and low < now - excess / density < high:
                    following = now - excess / density
                change, now = abs(following - now), following
                if change < 1e-12 * (sd[d] + abs(now)):
                    break
            out[k, d] = now
    return out


@compiled
def _draws(y, variance, weight, counts, mean, sigma, keys, normals):
    out, share = np.empty(mean.shape), np.empty(variance.shape[1])
    for s in range(len(sigma)):
        prior = sigma[s] * sigma[s]
        for d in range(len(y)):
            _shares(y[d], variance[d], weight[d], counts[d], mean[s, d], prior, share)
            goal, j = uniform_of(keys[d], np.uint64(s)), 0
            while j < counts[d] - 1 and goal > share[j]:
                goal -= share[j]
                j += 1
            gain = prior / (variance[d, j] + prior)
            sd = math.sqrt(gain * variance[d, j])
            out[s, d] = mean[s, d] + gain * (y[d] - mean[s, d]) + sd * normals[s, d]
    return out
