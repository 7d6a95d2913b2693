"""Interactions in a table of areas × strata × categories: how fitted counts move, and the slope of them.

Counts m_agk ∝ seed_agk exp(λ_gk) with fixed area totals r_ag and category margins c_gk; strata do not mix.

References
----------
Zhang and Chambers (2004), JRSS B 66, 479-496; Agresti (2013), Categorical Data Analysis, ch. 8 and 9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Moves", "Slope", "fit_slope", "moves"]

_STEPS = 100  # Newton steps: the likelihood is concave, so this many mean that there is no maximum

_NOTHING_LEFT = (
    1e-7  # information of the slope, of what it would be at equal shares: it has run off to infinity
)


@dataclass(frozen=True, eq=False)
class Moves:
    """Derivatives of a fitted table m with fixed area totals.

    Attributes
    ----------
    by_effect : ndarray of float, shape (A, G, K, K)
        dm_agk / dλ_gl = m_agk (1(k = l) - m_agl / r_ag).
    inverse : ndarray of float, shape (G, K, K)
        dλ_gk / dc_gl, a pseudo-inverse: the margins of a stratum add up to a constant.
    """

    by_effect: np.ndarray
    inverse: np.ndarray

    @property
    def by_margin(self) -> np.ndarray:
        """dm_agk / dc_gl, shape (A, G, K, K)."""
        return np.einsum("agkl,glj->agkj", self.by_effect, self.inverse)

    def by_slope(self, log_seed: np.ndarray) -> np.ndarray:
        """dm_agk / dβ for the seed exp(β log_seed), both margins fixed, shape (A, G, K)."""
        free = np.einsum("agkl,agl->agk", self.by_effect, log_seed)
        effects = -np.einsum("gkl,gl->gk", self.inverse, free.sum(axis=0))
        return free + np.einsum("agkl,gl->agk", self.by_effect, effects)


def moves(table: np.ndarray) -> Moves:
    """Derive how a fitted table moves with its category margins.

    Parameters
    ----------
    table : ndarray of float, shape (A, G, K)
        Counts, >= 0.
    """
    totals = table.sum(axis=2, keepdims=True)
    share = table / np.where(totals > 0, totals, 1.0)
    by_effect = table[..., None] * (np.eye(table.shape[2]) - share[:, :, None, :])
    moved = by_effect.sum(axis=0)
    scale = np.maximum(np.trace(moved, axis1=1, axis2=2), np.finfo(float).tiny)[:, None, None]
    inverse = np.linalg.pinv(moved / scale, rcond=1e-13, hermitian=True) / scale
    return Moves(by_effect, inverse)


@dataclass(frozen=True, eq=False)
class Slope:
    """A fitted slope.

    Attributes
    ----------
    value : float
    influence : ndarray of float, shape (cells, K)
        dβ / dy: how the slope moves with the direct share of each cell and category.
    """

    value: float
    influence: np.ndarray


def fit_slope(y: np.ndarray, size: np.ndarray, stratum: np.ndarray, log_seed: np.ndarray) -> Slope | None:
    """Fit β in p_ck ∝ exp(λ_gk + β log_seed_ck) by maximum likelihood with the weights `size`.

    Parameters
    ----------
    y : ndarray of float, shape (cells, K)
        Direct shares, each row adding up to 1.
    size : ndarray of float, shape (cells,)
        Effective sample sizes.
    stratum : ndarray of int, shape (cells,)
        g of each cell.
    log_seed : ndarray of float, shape (cells, K)

    Returns
    -------
    Slope or None
        None where no finite slope is the maximum, or none is identified.

    Examples
    --------
    Two areas: the log odds differ by log 4 in the sample and by log 2 in the seed.

    >>> y = np.array([[0.5, 0.5], [0.2, 0.8]])
    >>> seed = np.log(np.array([[1.0, 1.0], [1.0, 2.0]]))
    >>> round(fit_slope(y, np.ones(2), np.zeros(2, int), seed).value, 9)
    2.0
    """
    cells, K = y.shape
    F = np.zeros((cells, K, 1 + (int(stratum.max()) + 1) * (K - 1)))
    F[:, :, 0] = log_seed
    for k in range(1, K):
        F[np.arange(cells), k, (stratum * (K - 1)) + k] = 1.0
    used = np.asarray(F.any(axis=(0, 1)))  # strata without a sample have no effects
    used[0] = True
    F = F[:, :, used]
    found = _newton(F, y, size)
    if found is None:
        return None
    theta, information = found
    towards = np.linalg.solve(information, np.eye(len(theta))[0])
    spread = np.sum(size[:, None] * (log_seed - log_seed.mean(axis=1, keepdims=True)) ** 2)
    if towards[0] * spread * _NOTHING_LEFT > 1.0:
        return None
    return Slope(float(theta[0]), size[:, None] * (F @ towards))


def _newton(F: np.ndarray, y: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Maximise Σ size y log p, p ∝ exp(F θ) within each cell; F of shape (cells, K, q)."""
    theta = np.zeros(F.shape[2])
    p, value = _shares(F, theta, y, size)
    for _ in range(_STEPS):
        gradient = np.einsum("ckq,ck->q", F, size[:, None] * (y - p))
        centred = F - np.einsum("ckq,ck->cq", F, p)[:, None, :]
        information = np.einsum(
            "ckq,ckr->qr", centred * (size[:, None] * p)[..., None], centred, optimize=True
        )
        scale = np.sqrt(np.diag(information))
        if not (scale > 0).all() or np.linalg.cond(information / np.outer(scale, scale)) > 1e13:
            return None
        step = np.linalg.solve(information, gradient)
        gain = float(gradient @ step)
        if gain <= 1e-24 * size.sum():
            return theta, information
        factor = 1.0
        while factor > 1e-8:
            moved, better = _shares(F, theta + factor * step, y, size)
            if better >= value + 1e-4 * factor * gain - 1e-13 * abs(value):
                break
            factor /= 2.0
        theta, p, value = theta + factor * step, moved, better
    return None


def _shares(F: np.ndarray, theta: np.ndarray, y: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, float]:
    logits = F @ theta
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return np.exp(log_p), float(np.sum(size[:, None] * y * log_p))
