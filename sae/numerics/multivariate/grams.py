"""Generalised least squares at many covariances of the effects at once.

Everything is elementwise over areas and covariances, arrays ending in (D, K), or a product of matrices over
the areas: X'Σ^-1 X = Σ_rs Σ_d w_rs(d, k) x_dr x_ds', w being the elements of Σ_d^-1, is one such product per
pair of components, over the columns that these have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sae.numerics.multivariate.areas import BlockArrays

__all__ = [
    "Coefficients",
    "block_inverses",
    "coefficients_at",
    "marginals_at",
    "own_columns",
    "pair_products",
    "parts_near",
]

_HELD = 2_000_000  # numbers of one array held at once
_NEAR = 65_536  # of the arrays over areas and covariances: they stay near the processor


class Coefficients(NamedTuple):
    """Coefficients given each covariance: shape (K, p), and the root of their covariance, (K, p, p)."""

    beta: np.ndarray
    root: np.ndarray


def block_inverses(
    covariances: np.ndarray, psi: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the elements of (V_k + Ψ_d)^-1, 0 where a figure is missing, and the log determinants.

    Parameters
    ----------
    covariances : ndarray, shape (K, R, R)
    psi, seen : ndarray, shapes (D, R, R) and (D, R)

    Returns
    -------
    inverse : ndarray, shape (R, R, D, K)
    log_determinant : ndarray, shape (D, K)
        Of the figures that are there; NaN where their covariance is not positive definite.
    """
    R = psi.shape[1]
    shape = (R, R, len(psi), len(covariances))
    root, turned, inverse = np.empty(shape), np.empty(shape), np.empty(shape)
    whole = bool(seen.all())
    logdet = np.zeros(shape[2:])
    with np.errstate(invalid="ignore", divide="ignore"):
        for j in range(R):
            for i in range(j, R):
                rest = covariances[None, :, i, j] + psi[:, i, j, None]
                if not whole:  # a missing figure has variance 1 and no part in the others
                    both = (seen[:, i] & seen[:, j])[:, None]
                    rest *= both
                    if i == j:
                        rest += ~both
                for s in range(j):
                    rest -= root[i, s] * root[j, s]
                root[i, j] = np.sqrt(rest) if i == j else rest * turned[j, j]
                if i == j:
                    turned[j, j] = 1.0 / root[j, j]
            logdet += np.log(root[j, j])
        for j in range(R):
            for i in range(j + 1, R):
                turned[i, j] = -sum(root[i, s] * turned[s, j] for s in range(j, i)) * turned[i, i]
    for i in range(R):
        for j in range(i + 1):
            inverse[i, j] = sum(turned[s, i] * turned[s, j] for s in range(i, R))
            if not whole:
                inverse[i, j] *= (seen[:, i] & seen[:, j])[:, None]
            inverse[j, i] = inverse[i, j]
    return inverse, 2.0 * logdet


def own_columns(X: np.ndarray) -> list[np.ndarray]:
    """Return the columns that each component has, of designs of shape (D, R, p)."""
    return [np.flatnonzero(X[:, r].any(axis=0)) for r in range(X.shape[1])]


def pair_products(
    X: np.ndarray, columns: list[np.ndarray]
) -> Iterator[tuple[int, int, tuple[np.ndarray, np.ndarray], np.ndarray]]:
    """Return of each pair of components r >= s the products of their columns in every area.

    Yields
    ------
    r, s : int
    place : tuple of ndarray
        Where the products stand in a matrix of all columns: rows of r, columns of s.
    products : ndarray, shape (q_r q_s, D)
    """
    for r in range(X.shape[1]):
        for s in range(r + 1):
            mine, other = X[:, r, columns[r]].T, X[:, s, columns[s]].T
            products = (mine[:, None] * other[None]).reshape(-1, len(X))
            yield r, s, (columns[r][:, None], columns[s][None]), products


def marginals_at(covariances: np.ndarray, areas: BlockArrays) -> np.ndarray:
    """Return the log density of the data given each covariance, shape (K,): see `marginal_blocks`."""
    p, count = areas.X.shape[2], areas.seen.sum()
    out = np.empty(len(covariances))
    for part in parts_near(len(covariances), len(areas.y), p + 1):
        gram, logdet = _grams(covariances[part], areas)
        logdet += _factor(gram, p)
        out[part] = -0.5 * (logdet + gram[p, p] + (count - p) * np.log(2.0 * np.pi))
    return out


def coefficients_at(covariances: np.ndarray, areas: BlockArrays) -> Coefficients:
    """Return the posterior of the coefficients given each covariance."""
    K, p = len(covariances), areas.X.shape[2]
    found = Coefficients(np.empty((K, p)), np.empty((K, p, p)))
    for part in parts_near(K, len(areas.y), p + 1):
        gram, _ = _grams(covariances[part], areas)
        _factor(gram, p)
        turned, beta = np.zeros((p, *gram.shape[1:]))[:, :p], np.empty((p, gram.shape[2]))
        for j in range(p):  # row j of L^-1
            turned[j, j] = 1.0 / gram[j, j]
            turned[j, :j] = -turned[j, j] * np.einsum("sk,sck->ck", gram[j, :j], turned[:j, :j])
        for j in range(p):
            beta[j] = np.einsum("sk,sk->k", turned[j:, j], gram[p, j:p])
        found.beta[part], found.root[part] = beta.T, turned.transpose(2, 1, 0)
    return found


def parts_near(count: int, areas: int, columns: int) -> Iterator[slice]:
    """Return parts of `count` covariances that are worked on together."""
    return _parts(count, max(16, min(_NEAR // areas, _HELD // columns**2)))


def _parts(count: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, count, max(1, step)))


def _grams(covariances: np.ndarray, areas: BlockArrays) -> tuple[np.ndarray, np.ndarray]:
    """Return [X y]'Σ^-1 [X y], lower triangle, shape (p + 1, p + 1, K), and log determinants, (K,)."""
    y, X, psi, seen = areas
    together = np.concatenate([X, y[..., None]], axis=2)
    columns = own_columns(together)
    width = max([1, *(len(own) for own in columns)])
    K, n = len(covariances), together.shape[2]
    gram, logdet = np.zeros((n, n, K)), np.zeros(K)
    for own in _parts(len(y), _HELD // max(width * width, K)):
        inverse, own_logdet = block_inverses(covariances, psi[own], seen[own])
        logdet += own_logdet.sum(axis=0)
        for r, s, place, products in pair_products(together[own], columns):
            block = (products @ inverse[r, s]).reshape(len(columns[r]), len(columns[s]), K)
            gram[place] += block
            if r != s:
                gram[place[1].T, place[0].T] += block.swapaxes(0, 1)
    return gram, logdet


def _factor(gram: np.ndarray, p: int) -> np.ndarray:
    """Factor the first p rows, L L', in place, and all rows below by it; return the log determinants, (K,).

    What stays in a further row's diagonal is its square less that of its row of the factor. A matrix that is
    not positive definite gives NaN.
    """
    logdet = np.zeros(gram.shape[2])
    with np.errstate(invalid="ignore", divide="ignore"):
        for j in range(p):
            pivot = np.sqrt(gram[j, j])
            logdet += np.log(pivot)
            gram[j, j] = pivot
            below = gram[j + 1 :, j]
            below /= pivot
            gram[j + 1 :, j + 1 :] -= below[:, None] * below[None]
    return 2.0 * logdet
