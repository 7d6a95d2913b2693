"""Draws that meet linear figures exactly: kriging, hyperparameters weighted by the constraint.

Given the hyperparameters of draw s the true values are normal, θ ~ N(m_s, Σ_s). With S the weights of the
sums and t the figures, θ + Σ_s S (S'Σ_s S)^-1 (t - S'θ) is a draw from N(m_s, Σ_s) given S'θ = t, and draws
are weighted by the density N(t; S'm_s, S'Σ_s S) of the constraint itself: together the exact posterior
given it.

References
----------
Rue and Held (2005), Gaussian Markov Random Fields, section 2.3.3 (conditioning by kriging).
"""

from __future__ import annotations

import numpy as np

from sae.numerics.inference.psis import K_LIMIT, psis
from sae.numerics.random.streams import generator
from sae.samplers.chains import taken
from sae.samplers.posterior import Sample

__all__ = ["area_conditionals", "constrain", "krige"]

_SINGULAR = 1e-10  # smallest eigenvalue of the correlations of the sums that counts as more than 0


def krige(
    values: np.ndarray, means: np.ndarray, alone: np.ndarray, shared: np.ndarray, sums: np.ndarray,
    targets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Move each draw onto the constraint, and weigh it.

    Parameters
    ----------
    values : ndarray, shape (n, M)
        Draws θ, each from N(means, diag(alone) + shared shared') of its own hyperparameters.
    means, alone : ndarray, shape (n, M)
    shared : ndarray, shape (n, M, C)
        What the rows have in common; C may be 0.
    sums : ndarray, shape (M, G)
        Weights of the G sums.
    targets : ndarray, shape (G,)

    Returns
    -------
    values : ndarray, shape (n, M)
    log_weights : ndarray, shape (n,)
        Log density of the targets given the hyperparameters of the draw.

    Raises
    ------
    ValueError
        If the sums of a draw have no variance, or depend on each other.

    Examples
    --------
    >>> draws = np.random.default_rng(1).normal(size=(5, 3))
    >>> zero = np.zeros((5, 3))
    >>> moved, _ = krige(draws, zero, zero + 1.0, np.zeros((5, 3, 0)), np.ones((3, 1)), np.array([2.0]))
    >>> moved.sum(axis=1).round(12).tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    spread = alone[:, :, None] * sums + shared @ (np.swapaxes(shared, 1, 2) @ sums)
    inside = np.einsum("mg,nmh->ngh", sums, spread)
    width = np.sqrt(np.einsum("ngg->ng", inside))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = inside / (width[:, :, None] * width[:, None, :])
    if not (width > 0).all() or (np.linalg.eigvalsh(correlation)[:, 0] < _SINGULAR).any():
        raise ValueError("the constrained sums have no variance, or depend on each other")
    root = np.linalg.cholesky(inside)
    apart = np.linalg.solve(root, (targets - means @ sums)[:, :, None])[:, :, 0]
    log_weights = -0.5 * (apart**2).sum(axis=1) - np.log(np.einsum("ngg->ng", root)).sum(axis=1)
    moved = values
    for _ in range(2):  # the second time takes away the rounding of the first
        gap = targets - moved @ sums
        moved = moved + np.einsum("nmg,ng->nm", spread, np.linalg.solve(inside, gap[:, :, None])[:, :, 0])
    return moved, log_weights


def constrain(
    sample: Sample, means: np.ndarray, alone: np.ndarray, shared: np.ndarray, sums: np.ndarray,
    targets: np.ndarray, *, seed: int,
) -> tuple[Sample, float]:  # fmt: skip
    """Return as many draws given S'θ = t: kriged, then each as often as its hyperparameters weigh.

    The second value is k-hat of the weights.

    Parameters
    ----------
    sample : Sample
        Equally weighted draws. Log-likelihoods, replicated figures and coefficients belong to the values
        before, and are left out; hyperparameters stay.
    means, alone, shared, sums, targets
        As of `krige`.
    seed : int

    Raises
    ------
    ValueError
        If a few draws dominate the weights (k-hat above 0.7): the figures contradict the model.
    """
    moved, log_weights = krige(sample.values, means, alone, shared, sums, targets)
    smoothed, k_hat = psis(log_weights)
    if k_hat > K_LIMIT:
        raise ValueError(
            f"the figures contradict the model: Pareto k-hat of the weights they give is {k_hat:.2f}; "
            "benchmark the draws by their ratio or difference instead"
        )
    rng = generator(seed, "draws given the constraint")
    n = len(moved)
    # systematic resampling: a draw of weight w is taken floor(n w) or one more times
    which = np.searchsorted(np.cumsum(np.exp(smoothed)), (np.arange(n) + rng.random()) / n)
    parameters = {name: values for name, values in sample.parameters.items() if values.ndim == 1}
    return taken(Sample(moved, parameters), np.minimum(which, n - 1)), float(k_hat)


def area_conditionals(
    y: np.ndarray, D: np.ndarray, X: np.ndarray, sampled: np.ndarray, sd: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return means, alone and shared of the areas of a Fay-Herriot model given each σ, β flat: see `krige`.

    Parameters
    ----------
    y, D : ndarray, shape (M,)
        Read only where `sampled`.
    X : ndarray, shape (M, p)
    sampled : ndarray of bool, shape (M,)
    sd : ndarray, shape (n,)
    """
    weight = np.where(sampled, 1.0 / (sd[:, None] ** 2 + np.where(sampled, D, 1.0)), 0.0)
    gram = np.einsum("mp,nm,mq->npq", X, weight, X, optimize=True)
    known = np.where(sampled, y, 0.0)
    beta = np.linalg.solve(gram, np.einsum("mp,nm,m->np", X, weight, known, optimize=True)[:, :, None])[
        :, :, 0
    ]
    gain = sd[:, None] ** 2 * weight
    fitted = beta @ X.T
    root = np.linalg.inv(np.linalg.cholesky(gram))  # root'root is the covariance of β
    shared = (1.0 - gain)[:, :, None] * np.einsum("mp,nqp->nmq", X, root)
    return fitted + gain * (known - fitted), sd[:, None] ** 2 * (1.0 - gain), shared
