"""Replicate variances on arrays: totals under every replicate weight, and the spread of what they give.

v = scale Σ_r rscales_r (θ_r - centre)².

References
----------
Wolter (2007), Introduction to Variance Estimation, ch. 3 to 5; Fay and Train (1995) (successive differences).
"""

from __future__ import annotations

import numpy as np

from sae.numerics.compile import compiled

__all__ = ["replicate_deviations", "replicate_totals"]


@compiled
def replicate_totals(weights, domain, inside, y, x, n_domains):
    """Σwy and Σwx by domain under every replicate weight, in one pass over the records.

    Parameters
    ----------
    weights : ndarray of float, shape (n, R)
    domain : ndarray of int32, shape (n,)
        Domain of each record, -1 for none.
    inside : ndarray of bool, shape (n,)
    y, x : ndarray of float, shape (n,)
    n_domains : int

    Returns
    -------
    ndarray of float, shape (2, n_domains, R)
    """
    n_replicates = weights.shape[1]
    totals = np.zeros((2, n_domains, n_replicates))
    for i in range(domain.size):
        d = domain[i]
        if d < 0 or not inside[i]:
            continue
        for r in range(n_replicates):
            totals[0, d, r] += weights[i, r] * y[i]
            totals[1, d, r] += weights[i, r] * x[i]
    return totals


def replicate_deviations(
    theta: np.ndarray, estimate: np.ndarray, *, scale: float, rscales: np.ndarray, centre: str
) -> tuple[np.ndarray, np.ndarray]:
    """Deviations whose inner products are the replicate covariances: V = dev @ dev.T.

    A replicate that gives no value for a domain (none of its records has weight) is left out for this
    domain, and the others are scaled up to the sum of all `rscales`.

    Parameters
    ----------
    theta : ndarray of float, shape (k, R)
        Estimates under the replicate weights, missing where there is none.
    estimate : ndarray of float, shape (k,)
    scale : float
    rscales : ndarray of float, shape (R,)
    centre : {"estimate", "mean"}
        What the replicates are measured from: the full estimate, or their own mean.

    Returns
    -------
    deviations : ndarray of float, shape (k, R)
        A missing row where no replicate gives a value.
    empty : ndarray of int64, shape (k,)
        Replicates left out.
    """
    known = np.isfinite(theta) & (rscales > 0)
    empty = np.sum(~known & (rscales > 0), axis=1)
    filled = np.where(known, theta, 0.0)
    count = known.sum(axis=1)
    middle = filled.sum(axis=1) / np.maximum(count, 1) if centre == "mean" else estimate
    share = np.sum(known * rscales, axis=1) / rscales.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.sqrt(scale * rscales[None, :] / share[:, None])
    deviations = np.where(known, (filled - middle[:, None]) * np.where(known, factor, 0.0), 0.0)
    deviations[count == 0] = np.nan
    return deviations, empty
