"""Area effects so narrow that the likelihood of every area bends little over them: a few nodes, no grid.

Where σ² times the curvature of the log-likelihood is below `NARROW` the integral over an effect is
Gauss–Hermite quadrature in its prior, and its posterior is normal but for a skewness of that quantity to the
power 3/2.
"""

from __future__ import annotations

import numpy as np

from sae.numerics.glmm.tables import LogLikelihood

__all__ = ["NARROW", "narrow_posterior"]

NARROW = 0.01
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_NUMBERS = 2_000_000  # at a time


def narrow_posterior(
    log_likelihood: LogLikelihood, X: np.ndarray, beta: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log integrals, posterior means and standard deviations of η of all areas, each of shape (S, n).

    Parameters
    ----------
    log_likelihood : callable
        Linear predictors, shape (n, K), to log-likelihoods of the same shape.
    X : ndarray, shape (n, p)
    beta, sigma : ndarray, shapes (S, p) and (S,)
    """
    size, n = len(sigma), len(X)
    found = np.empty((3, size, n))
    chunk = max(_NUMBERS // (n * len(_NODES)), 1)
    for first in range(0, size, chunk):
        part = slice(first, first + chunk)
        mean, sd = X @ beta[part].T, sigma[part]
        eta = mean[:, :, None] + sd[:, None] * _NODES
        values = log_likelihood(eta.reshape(n, -1)).reshape(eta.shape)
        top = values.max(axis=2, keepdims=True)
        weights = np.exp(values - top) * _WEIGHTS
        total = weights.sum(axis=2)
        first_moment = weights @ _NODES / total
        variance = (weights * (_NODES - first_moment[:, :, None]) ** 2).sum(axis=2) / total
        found[0, part] = (np.log(total) + top[:, :, 0]).T
        found[1, part] = (mean + sd * first_moment).T
        found[2, part] = (sd * np.sqrt(variance)).T
    return found[0], found[1], found[2]
