"""Confidence sets for ranks from all pairwise differences, and what draws say of ranks.

The largest value has rank 1. Covariances come as variances and two factors, cov_jk = left_j'right_k for
j ≠ k, so that no matrix of all pairs is held.
"""

from __future__ import annotations

import math

import numpy as np
import scipy

from sae.numerics.compile import compiled, inlined

__all__ = ["credible_ranks", "mean_bar", "rank_draws", "rank_sets", "row_rank_sets", "triple_goal"]


def rank_sets(
    estimate: np.ndarray,
    variance: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    errors: np.ndarray,
    level: float,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return sets of ranks that hold all true ranks together with probability `level`.

    Area k surely lies above j where θ̂_k - θ̂_j exceeds c times its standard error; the set of j goes from
    1 + (areas surely above) to p - (areas surely below). c is the quantile of the largest studentised error
    of all hypotheses "j is not above k" that are not yet rejected, and falls with them, step by step.

    Parameters
    ----------
    estimate, variance : ndarray of float, shape (p,)
    left, right : ndarray of float, shape (p, K)
    errors : ndarray of float, shape (p, R)
        Draws of the errors of the estimates.
    level : float

    Returns
    -------
    low, high : ndarray of int, shape (p,)
    critical : float
        c, after the last step.

    References
    ----------
    Mogstad, Romano, Shaikh and Wilhelm (2024), Rev. Econ. Stud. 91, 476–518, sections 3.2 and 3.5; Romano
    and Wolf (2005), J. Am. Stat. Assoc. 100, 94–108, for the steps.
    """
    estimate, variance, left, right = _arrays(estimate, variance, left, right)
    errors = np.ascontiguousarray(errors, dtype=np.float32)
    limit, apart = float(np.inf), -1
    while True:
        above, below = _surely(estimate, variance, left, right, np.full(len(estimate), limit))
        if int(above.sum()) == apart:
            return 1 + above, len(estimate) - below, limit
        apart = int(above.sum())
        largest = _largest(estimate, variance, left, right, errors, limit)
        limit = min(limit, float(_quantile(largest, level)))


def row_rank_sets(
    estimate: np.ndarray,
    variance: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    errors: np.ndarray,
    level: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return sets that each hold their own true rank with probability `level`: see `rank_sets`."""
    estimate, variance, left, right = _arrays(estimate, variance, left, right)
    errors = np.ascontiguousarray(errors, dtype=np.float32)
    limit = np.full(len(estimate), np.inf)
    apart = np.full(len(estimate), -1)
    open_ = np.ones(len(estimate), dtype=bool)
    while True:
        above, below = _surely(estimate, variance, left, right, limit)
        open_ &= above + below > apart
        if not open_.any():
            return 1 + above, len(estimate) - below
        apart = above + below
        rows = np.flatnonzero(open_)
        critical = _quantile(_largest_of_rows(estimate, variance, left, right, errors, limit, rows), level)
        limit[rows] = np.minimum(limit[rows], critical)


def _arrays(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.ascontiguousarray(array, dtype=float) for array in arrays)


def _quantile(largest: np.ndarray, level: float) -> np.ndarray:
    return np.quantile(largest, level, axis=-1, method="higher").astype(float)


@inlined
def _error(variance, left, right, j, k):
    """Return the variance of the difference of two estimates; 0 where only rounding is left of it."""
    both = variance[j] + variance[k]
    cross = 0.0
    for c in range(left.shape[1]):
        cross += left[j, c] * right[k, c]
    own = both - 2.0 * cross
    return own if own > 1e-12 * both else 0.0


@compiled
def _surely(estimate, variance, left, right, limit):
    """Count the areas that surely lie above and below each, by its own critical value."""
    p = len(estimate)
    above, below = np.zeros(p, np.int64), np.zeros(p, np.int64)
    for j in range(p):
        for k in range(p):
            gap = estimate[k] - estimate[j]
            if k == j or gap == 0.0:
                continue
            own = _error(variance, left, right, j, k)
            if own > 0.0 and not abs(gap) > limit[j] * np.sqrt(own):
                continue
            if gap > 0.0:
                above[j] += 1
            else:
                below[j] += 1
    return above, below


@inlined
def _raise(best, one, other, scale, sides):
    """Raise the largest values by those of one pair: one over the other (1), under it (-1), or both (0)."""
    if sides < 0:
        one, other = other, one
    if sides == 0:
        for r in range(len(best)):
            value = abs(one[r] - other[r]) * scale
            best[r] = value if value > best[r] else best[r]
    else:
        for r in range(len(best)):
            value = (one[r] - other[r]) * scale
            best[r] = value if value > best[r] else best[r]


@compiled
def _largest(estimate, variance, left, right, errors, limit):
    """Return the largest studentised error in each draw of the hypotheses that `limit` does not reject."""
    p, n = errors.shape
    best = np.full(n, np.float32(-np.inf))
    for j in range(p):
        for k in range(j):
            own = _error(variance, left, right, j, k)
            if own > 0.0:
                root = np.sqrt(own)
                gap = estimate[j] - estimate[k]
                sides = -1 if gap > limit * root else (1 if -gap > limit * root else 0)
                _raise(best, errors[j], errors[k], np.float32(1.0 / root), sides)
    return best


@compiled
def _largest_of_rows(estimate, variance, left, right, errors, limit, rows):
    """Return the same of the pairs that each of some rows is in, shape (n_rows, R)."""
    p, n = errors.shape
    best = np.full((len(rows), n), np.float32(-np.inf))
    for i in range(len(rows)):
        j = rows[i]
        for k in range(p):
            if k == j:
                continue
            own = _error(variance, left, right, j, k)
            if own > 0.0:
                root = np.sqrt(own)
                gap = estimate[j] - estimate[k]
                sides = -1 if gap > limit[j] * root else (1 if -gap > limit[j] * root else 0)
                _raise(best[i], errors[j], errors[k], np.float32(1.0 / root), sides)
    return best


def rank_draws(draws: np.ndarray) -> np.ndarray:
    """Return the rank of every area in each draw, 1 for the largest, shape (n, p).

    Areas that are equal in a draw, such as shares of 0 in small populations, take their ranks by chance and
    not by their place in the table.

    Examples
    --------
    >>> rank_draws(np.array([[0.1, 0.3, 0.2]])).tolist()
    [[3, 1, 2]]
    """
    order = np.argsort(-draws, axis=1, kind="stable")
    ordered = np.take_along_axis(draws, order, axis=1)
    equal = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(equal):
        chance = np.random.default_rng(0).random((len(equal), draws.shape[1]))
        order[equal] = np.lexsort((chance, -draws[equal]), axis=1)
    ranks = np.empty(draws.shape, dtype=np.int32)
    np.put_along_axis(ranks, order, np.arange(1, draws.shape[1] + 1, dtype=np.int32)[None, :], axis=1)
    return ranks


def credible_ranks(ranks: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sets of ranks that hold all ranks of at least a share `level` of the draws at once.

    Each set goes from the k-th smallest to the k-th largest rank of its area, with the largest such k.

    Parameters
    ----------
    ranks : ndarray of int, shape (n, p)
    level : float

    References
    ----------
    Besag, Green, Higdon and Mengersen (1995), Statistical Science 10, 3–41, section 6.3.

    Examples
    --------
    >>> low, high = credible_ranks(np.array([[1, 2], [1, 2], [1, 2], [2, 1]]), 0.75)
    >>> low.tolist(), high.tolist()
    ([1, 2], [1, 2])
    """
    n, p = ranks.shape
    ordered = np.sort(ranks, axis=0)
    depth = np.full(n, n)
    for j in range(p):
        upto = np.searchsorted(ordered[:, j], ranks[:, j], side="right")
        since = n - np.searchsorted(ordered[:, j], ranks[:, j], side="left")
        np.minimum(depth, np.minimum(upto, since), out=depth)
    k = np.sort(depth)[n - math.ceil(level * n - 1e-9)]
    return ordered[k - 1], ordered[n - k]


def triple_goal(draws: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return estimates whose ranks and whose spread are good together, shape (p,).

    The area with the K-th smallest expected rank takes the quantile (2K - 1) / 2p of the pooled draws.

    References
    ----------
    Shen and Louis (1998), J. R. Stat. Soc. B 60, 455–471.

    Examples
    --------
    >>> draws = np.array([[0.0, 2.0], [1.0, 3.0]])
    >>> triple_goal(draws, rank_draws(draws)).tolist()
    [0.5, 2.5]
    """
    p = draws.shape[1]
    place = np.empty(p, dtype=int)
    place[np.argsort(-ranks.mean(axis=0), kind="stable")] = np.arange(p)
    return np.quantile(draws, (2.0 * place + 1.0) / (2.0 * p), method="hazen")


def mean_bar(variance: np.ndarray, left: np.ndarray, right: np.ndarray, level: float) -> float:
    """Return the multiple of its standard error that each bar extends, for bars that are compared by eye.

    Of two areas alike, the bars z σ overlap with probability `level`, on average over all pairs.

    Raises
    ------
    ZeroDivisionError
        If no two estimates have an error between them.

    References
    ----------
    Goldstein and Healy (1995), J. R. Stat. Soc. A 158, 175–177.

    Examples
    --------
    >>> none = np.zeros((2, 0))
    >>> round(mean_bar(np.ones(2), none, none, 0.95), 3)  # 1.96 / √2
    1.386
    """
    variance, left, right = _arrays(variance, left, right)

    def excess(z: float) -> float:
        total, pairs = _apart(variance, left, right, z)
        return total / pairs - (1.0 - level)

    return float(scipy.optimize.brentq(excess, 0.0, 40.0, xtol=1e-6))


@compiled
def _apart(variance, left, right, z):
    """Return the summed probability that the bars of two areas alike do not touch, and the pairs."""
    total, pairs = 0.0, 0
    for j in range(len(variance)):
        for k in range(j):
            own = _error(variance, left, right, j, k)
            if own > 0.0:
                width = math.sqrt(variance[j]) + math.sqrt(variance[k])
                total += math.erfc(z * width / math.sqrt(2.0 * own))
                pairs += 1
    return total, pairs
