"""The posterior kernels against their numpy twin: Clenshaw–Curtis on another variable."""

from dataclasses import dataclass

import numpy as np
import pytest

from sae.numerics.fay_herriot.posterior import Areas, area_moments, place_nodes
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, HALF_CAUCHY, HALF_NORMAL, PC, log_prior

AGREE = 1e-10  # the twin stops where doubling its nodes changes less

PRIORS = [(FLAT_VARIANCE, 1.0), (FLAT_SD, 1.0), (HALF_NORMAL, 0.7), (HALF_CAUCHY, 0.3), (PC, 0.4)]
_DROP = 40.0  # nats below the top at which the density is taken for nothing
_NODES = (65, 129, 257, 513)
_AGREE = 1e-10


@dataclass(frozen=True)
class VariancePosterior:
    """Nodes of the model variance with their posterior weights.

    Attributes
    ----------
    nodes, weights : ndarray, shape (K,)
        Values of A, squared units, and weights that sum to 1.
    coefficients : ndarray, shape (K, p)
        Generalised least squares at each node.
    roots : ndarray, shape (K, p, p)
        Root of the covariance of the coefficients: Q = root root'.
    prior : str
    """

    nodes: np.ndarray
    weights: np.ndarray
    coefficients: np.ndarray
    roots: np.ndarray
    prior: str

    @property
    def mean(self) -> float:
        """Posterior mean of the model variance."""
        return float(self.weights @ self.nodes)


def variance_posterior(y: np.ndarray, vardir: np.ndarray, X: np.ndarray, prior) -> VariancePosterior:
    """Integrate the posterior of the model variance; `prior` is (code, scale)."""
    profile = _Profile(y, vardir, X)
    scale = float(np.median(vardir))

    def log_density(t: np.ndarray) -> np.ndarray:
        # A = scale sinh² t is linear in the standard deviation near 0 and logarithmic far out
        sinh = np.sinh(t)
        sd = np.sqrt(scale) * sinh
        return profile.loglik(sd * sd) + np.log(np.cosh(t)) + log_prior(prior, sd)

    low, high = _bracket(log_density)
    before = None
    for count in _NODES:
        t, weights = _clenshaw_curtis(count, low, high)
        log_values = log_density(t)
        values = weights * np.exp(log_values - np.nanmax(log_values))
        values = np.where(np.isfinite(values), values, 0.0)
        nodes = scale * np.sinh(t) ** 2
        values /= values.sum()
        check = np.array([values @ (nodes / (nodes + scale)), values @ (nodes / (nodes + scale)) ** 2])
        if before is not None and np.abs(check - before).max() < _AGREE:
            break
        before = check
    keep = values > 1e-18
    nodes, values = nodes[keep], values[keep] / values[keep].sum()
    coefficients, roots = profile.coefficients(nodes)
    return VariancePosterior(nodes, values, coefficients, roots, prior)


def area_mixture(
    posterior: VariancePosterior, y: np.ndarray, vardir: np.ndarray, X: np.ndarray, sampled: np.ndarray
) -> Mixture:
    """Return the posterior of the true value of every area, with or without a sample.

    Parameters
    ----------
    posterior : VariancePosterior
    y, vardir : ndarray of float, shape (M,)
        Read only where `sampled`.
    X : ndarray of float, shape (p, M)
    sampled : ndarray of bool, shape (M,)
    """
    A = posterior.nodes[:, None]
    D = np.where(sampled, vardir, 1.0)
    shrink = np.where(sampled, D / (A + D), 1.0)
    fitted = posterior.coefficients @ X
    means = fitted + (1.0 - shrink) * np.where(sampled, y - fitted, 0.0)
    half = np.einsum("kqp,qm->kpm", posterior.roots, X)
    variance = shrink * A + shrink**2 * (half * half).sum(axis=1)
    return Mixture(posterior.weights, means, np.sqrt(variance))


class _Profile:
    """Profile of the restricted likelihood for many values of A at once."""

    def __init__(self, y: np.ndarray, vardir: np.ndarray, X: np.ndarray) -> None:
        Q, self.R = np.linalg.qr(X.T)
        self.start = Q.T @ y
        residual = y - Q @ self.start
        self.p, self.D = X.shape[0], vardir
        Z = np.column_stack([Q, residual])
        rows, columns = np.tril_indices(self.p + 1)
        self.products = Z[:, rows] * Z[:, columns]
        self.rows, self.columns = rows, columns

    def _grams(self, A: np.ndarray) -> np.ndarray:
        packed = (1.0 / (A[:, None] + self.D)) @ self.products
        grams = np.empty((len(A), self.p + 1, self.p + 1))
        grams[:, self.rows, self.columns] = packed
        grams[:, self.columns, self.rows] = packed
        return grams

    def loglik(self, A: np.ndarray) -> np.ndarray:
        grams = self._grams(A)
        XWX, XWy = grams[:, : self.p, : self.p], grams[:, : self.p, self.p]
        L = np.linalg.cholesky(XWX)
        half = np.linalg.solve(L, XWy[..., None])[..., 0]
        rss = grams[:, self.p, self.p] - (half * half).sum(axis=1)
        logdet = 2.0 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
        return -0.5 * (np.log(A[:, None] + self.D).sum(axis=1) + logdet + rss)

    def coefficients(self, A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grams = self._grams(A)
        XWX, XWy = grams[:, : self.p, : self.p], grams[:, : self.p, self.p]
        inverse = np.linalg.inv(np.linalg.cholesky(XWX))
        delta = np.einsum("kba,kbc,kc->ka", inverse, inverse, XWy)
        back = np.linalg.inv(self.R)
        return (self.start + delta) @ back.T, back @ inverse.swapaxes(1, 2)


def _bracket(log_density) -> tuple[float, float]:
    """Find the interval outside which the density is below exp(-_DROP) of its top, by zooming in."""
    low, high = 0.0, 3.0
    while True:  # double until the end has fallen off
        t = np.linspace(low, high, 257)
        values = log_density(t)
        if values[-1] < values.max() - _DROP or high > 300.0:
            break
        high *= 2.0
    for _ in range(60):
        inside = np.flatnonzero(values > values.max() - _DROP)
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, len(t) - 1)
        tight = last - first > 128
        low, high = t[first], t[last]
        if tight:
            break
        t = np.linspace(low, high, 257)
        values = log_density(t)
    return float(low), float(high)


def _clenshaw_curtis(count: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Clenshaw–Curtis quadrature with `count` (odd) points on [low, high]."""
    n = count - 1
    theta = np.pi * np.arange(count) / n
    k = np.arange(1, n // 2 + 1)
    factor = np.where(k == n // 2, 1.0, 2.0) / (4.0 * k * k - 1.0)
    weights = 2.0 / n * (1.0 - np.cos(2.0 * np.outer(theta, k)) @ factor)
    weights[[0, -1]] *= 0.5
    half = 0.5 * (high - low)
    return low + half * (1.0 + np.cos(theta)), half * weights


@pytest.mark.parametrize("prior", PRIORS, ids=["variance", "sd", "normal", "cauchy", "pc"])
@pytest.mark.parametrize(
    ("n", "p", "sd", "spread"), [(9, 2, 0.7, 1.0), (60, 5, 0.05, 0.3), (300, 3, 1.0, 0.5)]
)
def test_numpy_twin(rng, prior, n, p, sd, spread):
    X = np.vstack([np.ones(n), rng.normal(size=(p - 1, n))])
    D = np.exp(spread * rng.normal(size=n))
    areas = Areas.of(rng.normal(size=n) * np.sqrt(D + sd**2), D, X)
    nodes = place_nodes(areas, [prior])
    mean, deviation, quantiles = area_moments(nodes, areas, [0.025, 0.5, 0.975])
    twin = area_mixture(
        variance_posterior(areas.y, areas.vardir, areas.X, prior),
        areas.y,
        areas.vardir,
        areas.X,
        areas.sampled,
    )
    first, second = twin.moments()
    np.testing.assert_allclose((mean - first) / second, 0.0, atol=AGREE)
    np.testing.assert_allclose(deviation, second, rtol=AGREE)
    for q, row in zip((0.025, 0.5, 0.975), quantiles, strict=True):
        np.testing.assert_allclose((row - twin.quantile(q)) / second, 0.0, atol=AGREE)
