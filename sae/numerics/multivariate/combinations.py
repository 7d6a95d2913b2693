"""Linear combinations of an area's components over nodes of the covariance of the effects.

The sum Σ_r c_r θ_r has mean Σ_s e_s x_s'β + h_s y_s and, given the coefficients, variance c'Vc - h'Vc. Here
h = c'VΣ^-1 are the weights of the direct estimates and e = c - h; the coefficients, with covariance Q, add
e_s e_t x_s'Q x_t, which is one product of matrices per pair of components.
"""

from __future__ import annotations

import numpy as np

from sae.numerics.inference.mixture import Mixture
from sae.numerics.multivariate.areas import BlockAreas
from sae.numerics.multivariate.grams import (
    Coefficients,
    block_inverses,
    coefficients_at,
    own_columns,
    pair_products,
    parts_near,
)

__all__ = ["combination_mixture", "left_out_at", "moments_at"]

_DETERMINED = 1e-9  # share of a figure's precision below which the others leave a coefficient undetermined


def combination_mixture(
    areas: BlockAreas, covariances: np.ndarray, weights: np.ndarray, contrasts: np.ndarray
) -> Mixture:
    """Return the posterior of linear combinations, of D C columns, area by area.

    Parameters
    ----------
    areas : BlockAreas
    covariances, weights : ndarray, shapes (K, R, R) and (K,)
        The nodes.
    contrasts : ndarray, shape (D, C, R)
    """
    K, size, centred = len(weights), contrasts.shape[0] * contrasts.shape[1], areas.centred
    means, variances = np.empty((K, size)), np.empty((K, size))
    for part in parts_near(K, size, areas.X.shape[2]):
        at = coefficients_at(covariances[part], centred.arrays)
        own, spread = moments_at(centred, covariances[part], at, contrasts)
        means[part], variances[part] = own.T, spread.T
    fitted = np.einsum("dcr,dr->dc", contrasts, areas.X @ areas.fitted).ravel()
    return Mixture(weights, means + fitted, np.sqrt(np.maximum(variances, 1e-300)))


def moments_at(
    areas: BlockAreas, covariances: np.ndarray, at: Coefficients, contrasts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return means and variances of combinations given each covariance, shape (D C, K)."""
    y, X, psi, seen = areas.arrays
    (D, C, R), K = contrasts.shape, len(covariances)
    V = np.moveaxis(covariances, 0, -1)
    inverse, _ = block_inverses(covariances, psi, seen)
    fitted = [X[:, r] @ at.beta.T for r in range(R)]
    products = _coefficient_products(X, at)
    means, variances = np.zeros((D, C, K)), np.zeros((D, C, K))
    for c in range(C):
        used = [(r, contrasts[:, c, r, None]) for r in range(R) if contrasts[:, c, r].any()]
        own = np.zeros((R, D, K))  # c'V
        for r, weight in used:
            for s in range(R):
                own[s] += weight * V[r, s]
        gain = [sum(own[t] * inverse[t, s] for t in range(R)) for s in range(R)]
        left = [-gain[s] for s in range(R)]  # 0 where there is no figure
        for r, weight in used:
            left[r] += weight
            variances[:, c] += weight * own[r]
        for s in range(R):
            means[:, c] += left[s] * fitted[s] + gain[s] * y[:, s, None]
            variances[:, c] -= gain[s] * own[s]
        np.maximum(variances[:, c], 0.0, out=variances[:, c])
        for (r, s), product in products.items():
            variances[:, c] += (1.0 if r == s else 2.0) * left[r] * left[s] * product
    return means.reshape(D * C, K), variances.reshape(D * C, K)


def left_out_at(areas: BlockAreas, covariances: np.ndarray, at: Coefficients) -> np.ndarray:
    """Return the log density of each figure given all others at each covariance, shape (R, D, K).

    By its element of the projected precision P = Σ^-1 - Σ^-1 X Q X'Σ^-1 and of P y. NaN where there is none,
    or where the others leave a coefficient undetermined.
    """
    y, X, psi, seen = areas.arrays
    R = y.shape[1]
    inverse, _ = block_inverses(covariances, psi, seen)
    residual = [y[:, r, None] - X[:, r] @ at.beta.T for r in range(R)]
    products = _coefficient_products(X, at)
    out = np.full((R, len(y), len(covariances)), np.nan)
    for r in range(R):
        pull = sum(inverse[r, s] * residual[s] for s in range(R))
        own = inverse[r, r].copy()
        for (s, t), product in products.items():
            own -= (1.0 if s == t else 2.0) * inverse[r, s] * inverse[r, t] * product
        known = own > _DETERMINED * inverse[r, r]  # 0 where there is no figure
        own = np.where(known, own, 1.0)
        out[r] = np.where(known, -0.5 * (np.log(2.0 * np.pi / own) + pull * pull / own), np.nan)
    return out


def _coefficient_products(X: np.ndarray, at: Coefficients) -> dict[tuple[int, int], np.ndarray]:
    """Return x_r'Q x_s of each pair of components, r >= s, Q the covariance of the coefficients: (D, K)."""
    covariance = at.root @ at.root.swapaxes(1, 2)
    columns = own_columns(X)
    return {
        (r, s): products.T @ covariance[:, place[0], place[1]].reshape(len(covariance), -1).T
        for r, s, place, products in pair_products(X, columns)
    }
