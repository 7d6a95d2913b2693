"""Posteriors of areas as mixtures of normals over the nodes of a hyperparameter, as arrays of all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, ndtr, ndtri

from sae.numerics.fay_herriot.posterior import Areas, Nodes

__all__ = ["Mixture", "area_mixture", "leave_one_out", "shared_columns"]

_ALONE = 1e-9  # share of the predictive variance left, below which an area alone carries a coefficient


@dataclass(frozen=True)
class Mixture:
    """Mixtures of normals, one for each of M areas.

    Attributes
    ----------
    weights : ndarray, shape (K,)
    means, sds : ndarray, shape (K, M)
    """

    weights: np.ndarray
    means: np.ndarray
    sds: np.ndarray

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return means and standard deviations, each of shape (M,)."""
        mean = self.weights @ self.means
        variance = self.weights @ (self.sds**2 + (self.means - mean) ** 2)
        return mean, np.sqrt(variance)

    def quantile(self, probability: float) -> np.ndarray:
        """Return the quantile of every area, shape (M,): Newton steps inside a closing bracket."""
        guess = self.means + self.sds * ndtri(probability)
        low, high = guess.min(axis=0), guess.max(axis=0)
        now = self.weights @ guess
        for _ in range(200):
            z = (now - self.means) / self.sds
            excess = self.weights @ ndtr(z) - probability
            low, high = np.where(excess < 0, now, low), np.where(excess < 0, high, now)
            density = self.weights @ (np.exp(-0.5 * z * z) / self.sds) / np.sqrt(2.0 * np.pi)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = now - excess / density
            following = np.where((step > low) & (step < high), step, 0.5 * (low + high))
            done = np.abs(following - now) <= 1e-12 * (np.abs(now) + high - low)
            now = following
            if done.all():
                break
        return now


def area_mixture(nodes: Nodes, areas: Areas, problem: int = 0) -> Mixture:
    """Return the posterior of the true value of every area of one problem, with or without a sample.

    Parameters
    ----------
    nodes : Nodes
    areas : Areas
    problem : int
    """
    fitted, quad, A, y, D = _parts(nodes, areas, problem)
    w = 1.0 / (A + D)
    shrink = D * w
    return Mixture(
        nodes.weights[nodes.of(problem)], fitted + A * w * (y - fitted), np.sqrt(shrink * (A + shrink * quad))
    )


def shared_columns(nodes: Nodes, areas: Areas, problem: int = 0) -> np.ndarray:
    """Return columns whose products are the posterior covariance of different areas, shape (m, K (p + 1)).

    Given σ, areas share the coefficients; over σ, their conditional means move together.
    """
    mixture, root = area_mixture(nodes, areas, problem), np.sqrt(nodes.weights[nodes.of(problem)])
    place = slice(areas.offsets[problem], areas.offsets[problem + 1])
    D = areas.vardir[place]
    shrink = D / (nodes.sd[nodes.of(problem), None] ** 2 + D)
    half = np.einsum("kqp,qm->kpm", nodes.roots[nodes.of(problem)], areas.X[:, place])
    half *= (root[:, None] * shrink)[:, None, :]
    apart = root[:, None] * (mixture.means - mixture.weights @ mixture.means)
    return np.concatenate([half.reshape(-1, len(D)), apart]).T


def leave_one_out(nodes: Nodes, areas: Areas, problem: int = 0) -> np.ndarray:
    """Return log p(y_d | all other areas) of every sampled area of one problem, exact to quadrature.

    Given σ, the predictive density is that of deleted residuals, r² / (V - x'Qx) with V = σ² + D; over σ it
    is 1 / E[1 / p(y_d | others, σ)]. NaN where the other areas do not determine a coefficient.

    References
    ----------
    Gelfand, Dey and Chang (1992), in Bayesian Statistics 4, 147–167.
    """
    fitted, quad, A, y, D = _parts(nodes, areas, problem)
    sampled = areas.sampled[areas.offsets[problem] : areas.offsets[problem + 1]]
    fitted, quad, V = fitted[:, sampled], quad[:, sampled], (A + D)[:, sampled]
    left = V - quad
    alone = (left < _ALONE * V).any(axis=0)
    left = np.where(alone, 1.0, left)
    log_p = -0.5 * (np.log(2.0 * np.pi * V * V / left) + (y[sampled] - fitted) ** 2 / left)
    found = -logsumexp(-log_p, axis=0, b=nodes.weights[nodes.of(problem), None])
    return np.where(alone, np.nan, found)


def _parts(nodes: Nodes, areas: Areas, problem: int) -> tuple[np.ndarray, ...]:
    """Return X β and x'Qx, shape (K, m), the variances (K, 1), and y and D of one problem."""
    place, inside = nodes.of(problem), slice(areas.offsets[problem], areas.offsets[problem + 1])
    X = areas.X[:, inside]
    half = np.einsum("kqp,qm->kpm", nodes.roots[place], X)
    return (
        nodes.coefficients[place] @ X, (half * half).sum(axis=1), nodes.sd[place, None] ** 2,
        areas.y[inside], areas.vardir[inside],
    )  # fmt: skip
