"""Posteriors of areas as mixtures of normals over the nodes of a hyperparameter, as arrays of all of them."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from sae.numerics.fay_herriot.posterior import Areas, Nodes
from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.mixture import Mixture

__all__ = ["area_mixture", "joint_mixture", "leave_one_out", "shared_columns"]

_ALONE = 1e-9  # share of the predictive variance left, below which an area alone carries a coefficient


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


def joint_mixture(nodes: Nodes, areas: Areas, problem: int = 0) -> JointMixture:
    """Return the same posterior with what the areas share: given σ, the coefficients."""
    mixture, place = area_mixture(nodes, areas, problem), nodes.of(problem)
    inside = slice(areas.offsets[problem], areas.offsets[problem + 1])
    A, D = nodes.sd[place, None] ** 2, areas.vardir[inside]
    shrink = D / (A + D)
    loadings = np.einsum("kqp,qm->kmp", nodes.roots[place], areas.X[:, inside]) * shrink[:, :, None]
    endless = None if nodes.finite[problem] else ~areas.sampled[inside]
    return JointMixture(mixture.weights, mixture.means, np.sqrt(shrink * A)[:, :, None], loadings, endless)


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
        nodes.coefficients[place] @ X,
        (half * half).sum(axis=1),
        nodes.sd[place, None] ** 2,
        areas.y[inside],
        areas.vardir[inside],
    )
