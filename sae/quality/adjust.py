"""How estimates are moved so that S'θ = t: along a line, or by one shift of the link per figure; its cost.

Every map has the derivative A = (I - G S') diag(scale), where G = dθ/dt says how a change of the targets is
spread over the areas: from A and G follow draws and mean squared errors.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from sae.errors import SaeConvergenceError

__all__ = ["gap_variance", "linear_gain", "link_gain", "moved", "rake"]

_STEPS = 200
_BLOCK = 4_000_000  # numbers held at once while draws are raked


def linear_gain(
    S: sparse.csr_array, direction: sparse.csr_array | np.ndarray, own: np.ndarray
) -> sparse.csr_array:
    """Return G = ΩS (S'ΩS + Λ)^-1 of the estimates θ + G (t - S'θ).

    Parameters
    ----------
    S : sparse array, shape (n_areas, K)
    direction : array or sparse array, shape (n_areas, K)
        ΩS.
    own : ndarray of float, shape (K,)
        Λ: variances of the targets where they are weighed, 0 where they are met.

    Raises
    ------
    numpy.linalg.LinAlgError
        If S'ΩS + Λ is singular.

    References
    ----------
    Datta, Ghosh, Steorts and Maples (2011), Test 20, 574–588.
    """
    return _gain(S, sparse.csr_array(direction), own)


def link_gain(S: sparse.csr_array, slope: np.ndarray) -> sparse.csr_array:
    """Return G = D B (S'D B)^-1 of a shift of the link; B is the pattern of S, D the slope of the link."""
    direction = np.repeat(slope, np.diff(S.indptr))
    return _gain(S, sparse.csr_array((direction, S.indices, S.indptr), shape=S.shape), np.zeros(S.shape[1]))


def _gain(S: sparse.csr_array, direction: sparse.csr_array, own: np.ndarray) -> sparse.csr_array:
    """Return direction (S' direction + own)^-1."""
    alone = np.diff(S.indptr).max(initial=0) <= 1 and np.array_equal(S.indices, direction.indices)
    if not alone or not np.array_equal(S.indptr, direction.indptr):
        return _divided(direction, sparse.csr_array(S.T @ direction) + sparse.diags_array(own))
    diagonal = np.bincount(S.indices, S.data * direction.data, S.shape[1]) + own  # no area in two groups
    if (diagonal == 0).any():
        raise np.linalg.LinAlgError("singular")
    values = direction.data * (1.0 / diagonal)[S.indices]
    return sparse.csr_array((values, S.indices, S.indptr), shape=S.shape)


def _divided(direction: sparse.csr_array, gram: sparse.sparray) -> sparse.csr_array:
    """Return direction gram^-1; the groups that share no area stay sparse."""
    coo = sparse.coo_array(gram)
    diagonal = coo.diagonal()
    if (coo.coords[0] == coo.coords[1])[coo.data != 0].all():
        if (diagonal == 0).any():
            raise np.linalg.LinAlgError("singular")
        return sparse.csr_array(direction.multiply(1.0 / diagonal[None, :]))
    dense = coo.toarray()
    # one step of refinement: G must give S'G = I to the last digits
    inverse = np.linalg.inv(dense)
    inverse = inverse @ (2.0 * np.eye(len(dense)) - dense @ inverse)
    return sparse.csr_array(direction @ inverse)


def moved(theta: np.ndarray, S: sparse.csr_array, target: np.ndarray, gain: sparse.csr_array) -> np.ndarray:
    """Return θ + G (t - S'θ) for every row of `theta`.

    Parameters
    ----------
    theta : ndarray of float, shape (..., n_areas)
    target : ndarray of float, shape (..., K)
    """
    gap = target - (S.T @ theta.T).T
    return theta + (gain @ gap.T).T


def rake(
    theta: np.ndarray, S: sparse.csr_array, target: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Shift the link of the estimates by one amount per constraint until all are met.

    The result minimises Σ w KL(θ_new, θ) under the constraints (Poisson for "ratio", Bernoulli for "logit").
    Newton on its dual with the step log(1 + d) / d of d, the largest shift of a link: both duals have a third
    derivative no larger than the second, for which this step descends from anywhere and ends quadratically.

    Parameters
    ----------
    theta : ndarray of float, shape (R, n_areas)
        Estimates, or draws: positive for "ratio", in [0, 1] for "logit"; each row is raked by itself.
    S : sparse array, shape (n_areas, K)
        Weights of linearly independent constraints: those of an area differ by one factor per column.
    target : ndarray of float, shape (R, K)
    method : {"ratio", "logit"}
        Link: logarithm or logit.

    Returns
    -------
    theta : ndarray of float, shape (R, n_areas)
    shift : ndarray of float, shape (R, n_areas)
        What was added to each link.

    Raises
    ------
    SaeConvergenceError
        If it does not converge, as where the targets cannot be met.

    References
    ----------
    Deville and Särndal (1992), JASA 87, 376–382 (raking); Sun and Tran-Dinh (2019), Math. Program. 178,
    145–213 (the step).
    """
    block = max(1, _BLOCK // max(S.nnz, S.shape[1] ** 2, 1))
    parts = [
        _rake_block(theta[start : start + block], S, target[start : start + block], method)
        for start in range(0, len(theta), block)
    ]
    raked, shifts = zip(*parts, strict=True)
    return np.concatenate(raked), np.concatenate(shifts)


def gap_variance(
    X: np.ndarray, vardir: np.ndarray, sigma2_u: float, weights: np.ndarray | sparse.sparray
) -> np.ndarray:
    """Variance of Σ w y - Σ w θ, direct less model, under a Fay–Herriot model with known variances.

    This is what it costs to benchmark to the survey's own direct estimate: `Benchmark.covariance`.

    Parameters
    ----------
    X : ndarray of float, shape (n_areas, p)
    vardir : ndarray of float, shape (n_areas,)
    sigma2_u : float
    weights : ndarray or sparse array of float, shape (n_areas, K)
        S, such as ``benchmark.constraints.weights``.

    Returns
    -------
    ndarray of float, shape (K, K)

    References
    ----------
    Steorts and Ghosh (2013), Statistica Sinica 23, 749–767, Theorem 1 (g4).

    Examples
    --------
    >>> sae.quality.gap_variance(np.ones((2, 1)), np.ones(2), 1.0, np.full((2, 1), 0.5))
    array([[0.]])
    """
    S = sparse.csr_array(weights).toarray()
    total = sigma2_u + vardir
    pulled = S * (vardir / total)[:, None]
    shared = X.T @ pulled
    whole = pulled.T @ (pulled * total[:, None])
    return whole - shared.T @ np.linalg.solve(X.T @ (X / total[:, None]), shared)


def _rake_block(
    theta: np.ndarray, S: sparse.csr_array, target: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray]:
    B, pairs, at = _pattern(S), *_pairs(S)
    across, pairs = S.T.tocsr(), pairs.T.tocsr()
    rows, K = np.arange(len(theta)), S.shape[1]
    shift, result = np.zeros_like(theta), theta.copy()
    norm = (abs(across) @ np.abs(theta).T).T + np.abs(target)
    floor = np.full(len(theta), np.inf)
    for _ in range(_STEPS):
        gap = target[rows] - (across @ result[rows].T).T
        miss = np.max(np.abs(gap) / norm[rows], axis=1)
        # on to the last digits, where the miss no longer falls
        going = (miss > 5e-13) | ((miss > 1e-16) & (miss < 0.5 * floor[rows]))
        floor[rows] = miss
        rows, gap = rows[going], gap[going]
        if not len(rows):
            return result, shift
        slope = result[rows] * (1.0 - result[rows]) if method == "logit" else result[rows]
        jacobian = np.zeros((len(rows), K, K))
        jacobian[:, at[0], at[1]] = (pairs @ slope.T).T
        try:
            step = np.linalg.solve(jacobian, gap[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            break
        step = (B @ step.T).T
        longest = np.max(np.abs(step), axis=1, keepdims=True)
        if not np.isfinite(longest).all() or np.abs(shift[rows]).max() > 600:
            break
        small = longest < 1e-8
        step *= np.where(small, 1.0, np.log1p(longest) / np.where(small, 1.0, longest))
        shift[rows] += step
        result[rows] = _linked(theta[rows], shift[rows], method)
    raise SaeConvergenceError(
        f"Raking by {method} did not converge for {len(rows)} of {len(theta)} sets of estimates.",
        hint="The targets lie at the very edge of what the areas can reach, or beyond it.",
    )


def _linked(theta: np.ndarray, shift: np.ndarray, method: str) -> np.ndarray:
    if method == "ratio":
        return theta * np.exp(shift)
    up = theta * np.exp(np.minimum(shift, 0.0))  # neither exponential can overflow
    down = (1.0 - theta) * np.exp(-np.maximum(shift, 0.0))
    return up / (up + down)


def _pattern(S: sparse.csr_array) -> sparse.csr_array:
    B = S.copy()
    B.data = np.ones_like(B.data)
    return B


def _pairs(S: sparse.csr_array) -> tuple[sparse.csr_array, tuple[np.ndarray, np.ndarray]]:
    """Columns S_k B_l for every pair (k, l) of constraints with an area in common, and the pairs."""
    B = sparse.csc_array(_pattern(S))
    first, second = sparse.coo_array(B.T @ B).coords
    columns = sparse.csc_array(S)[:, first].multiply(B[:, second])
    return sparse.csr_array(columns), (first, second)
