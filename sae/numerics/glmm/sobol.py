"""Points of a Sobol' sequence laid along a path and weighted by the exact posterior.

References
----------
Sobol' (1967), USSR Comput. Math. Math. Phys. 7, 86-112; Vehtari, Simpson, Gelman, Yao and Gabry (2024),
J. Mach. Learn. Res. 25(72) (smoothed weights and their check).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import chdtri, gammaln, logsumexp, ndtri

from sae.errors import SaeConvergenceError
from sae.numerics.glmm.laplace import LaplacePath, student
from sae.numerics.inference.psis import K_LIMIT, effective_draws, psis

__all__ = ["WeightedPoints", "weigh_points"]

_STRETCHES = (1.0, 1.5, 2.0)  # of the proposal of the coefficients, until the weights are good
_GOOD, _DOUBTFUL = 0.3, 0.5  # Pareto k
_ROUNDS = 5  # of proposals from weighted points
_NOTHING = 20.0  # in log density of log σ, below which nothing is proposed
_CENTRES, _NEAREST = 96, 96  # kernels, and the points whose spread is theirs
_WIDE = 0.1  # share of the proposals that spread as all points together, twice as far
_DEGREES = 5.0  # of freedom of all
_ORDER = 1  # names a fixed permutation


@dataclass(frozen=True, eq=False)
class WeightedPoints:
    """Weighted points of the coefficients and of log σ, and what shows that they can be trusted.

    Attributes
    ----------
    beta, log_sigma, log_weights : ndarray, shapes (S, p), (S,), (S,)
        Smoothed weights, normalised.
    k_hat, ess : float
        Shape of the weights' tail, and 1 / Σ w².
    log_evidence : float
        Log integral of the density that the points stand for.
    """

    beta: np.ndarray
    log_sigma: np.ndarray
    log_weights: np.ndarray
    k_hat: float
    ess: float
    log_evidence: float

    @property
    def weights(self) -> np.ndarray:
        """Weights of the points, shape (S,)."""
        return np.exp(self.log_weights)

    def spread(self, n: int) -> np.ndarray:
        """Return the places of n equally weighted points, the same every time."""
        places = (np.arange(n) + 0.5) / n
        return np.searchsorted(np.cumsum(self.weights), places * (1.0 - 1e-12))

    def resample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return n equally weighted draws (β, σ), in random order: systematic resampling."""
        places = (np.arange(n) + rng.uniform()) / n
        index = np.searchsorted(np.cumsum(self.weights), places * (1.0 - 1e-12))
        index = rng.permutation(index)
        return self.beta[index], np.exp(self.log_sigma[index])


def _known(values: np.ndarray) -> np.ndarray:
    """Return log densities, refusing those that could not be computed; a density of 0 is one."""
    bad = np.isnan(values) | (values == np.inf)
    if bad.any() or np.isneginf(values).all():
        raise SaeConvergenceError(
            f"The posterior could not be computed at {max(int(bad.sum()), 1)} of {len(values)} points of the "
            "hyperparameters.",
            hint="Observations may be far from what any model expects: look at the largest, or rescale them.",
        )
    return values


@dataclass(frozen=True, eq=False)
class _Kernels:
    """A mixture of Student densities that follows weighted points of any shape.

    Attributes
    ----------
    centres, roots : ndarray, shapes (K, d) and (K, d, d)
        Lower triangles.
    shares : ndarray, shape (K,)
    """

    centres: np.ndarray
    roots: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, log_weights: np.ndarray) -> _Kernels:
        """Put kernels on points, shape (S, d), each as wide as those nearest to it."""
        weights = np.exp(log_weights)
        mean = weights @ x
        spread = (x - mean).T @ (weights[:, None] * (x - mean)) + 1e-12 * np.eye(x.shape[1])
        root = np.linalg.cholesky(spread)
        size = 16 * _CENTRES
        index = np.searchsorted(np.cumsum(weights), (np.arange(size) + 0.5) / size * (1.0 - 1e-12))
        equal = np.linalg.solve(root, (x[index] - mean).T).T
        order = np.argsort(equal[:, -1], kind="stable")
        centres = equal[order[_CENTRES // 12 :: 16]][:_CENTRES]
        roots = []
        for centre in centres:
            near = np.argsort(((equal - centre) ** 2).sum(axis=1), kind="stable")[:_NEAREST]
            apart = equal[near] - centre
            roots.append(np.linalg.cholesky(apart.T @ apart / _NEAREST + 1e-3 * np.eye(x.shape[1])))
        local = root @ np.array([*roots, 2.0 * np.eye(x.shape[1])])
        shares = np.append(np.full(len(centres), (1.0 - _WIDE) / len(centres)), _WIDE)
        return cls(np.vstack([mean + centres @ root.T, mean]), local, shares)

    def propose(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return points, shape (size, d), and their log densities."""
        from scipy.stats import qmc

        d = self.centres.shape[1]
        uniforms = qmc.Sobol(d + 2, scramble=False).random(size) + 0.5 / size
        uniforms = uniforms[np.random.default_rng(_ORDER).permutation(size)]
        which = np.minimum(np.searchsorted(np.cumsum(self.shares), uniforms[:, 0]), len(self.shares) - 1)
        z = ndtri(uniforms[:, 1 : d + 1]) / np.sqrt(chdtri(_DEGREES, uniforms[:, d + 1]) / _DEGREES)[:, None]
        x = self.centres[which] + np.einsum("sij,sj->si", self.roots[which], z)
        parts = np.empty((len(self.shares), size))
        for k, (centre, root, share) in enumerate(zip(self.centres, self.roots, self.shares, strict=True)):
            square = (np.linalg.solve(root, (x - centre).T) ** 2).sum(axis=0)
            parts[k] = np.log(share) - np.linalg.slogdet(root)[1]
            parts[k] -= 0.5 * (_DEGREES + d) * np.log1p(square / _DEGREES)
        constant = (
            gammaln(0.5 * (_DEGREES + d)) - gammaln(0.5 * _DEGREES) - 0.5 * d * np.log(_DEGREES * np.pi)
        )
        return x, logsumexp(parts, axis=0) + constant


@lru_cache(maxsize=8)
def _standard(points: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points of a Sobol' sequence: uniforms, shape (points,), and Student numbers, (points, p)."""
    from scipy.stats import qmc

    uniforms = qmc.Sobol(p + 2, scramble=False).random(points) + 0.5 / points
    # every so many points of the sequence lie in one corner: in any other order some of them stand for all
    uniforms = uniforms[np.random.default_rng(_ORDER).permutation(points)]
    return uniforms[:, 0].copy(), student(uniforms[:, 1:])


def weigh_points(
    path: LaplacePath, points: int, log_posterior: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[WeightedPoints, np.ndarray]:
    """Weight points along a path by the density they stand for.

    Parameters
    ----------
    path : LaplacePath
    points : int
        A power of 2.
    log_posterior : callable
        β, shape (S, p), and log σ, shape (S,), to log densities up to a constant, shape (S,).

    Returns
    -------
    WeightedPoints
    ndarray, shape (S,)
        Their log densities.

    Raises
    ------
    SaeConvergenceError
        If the Pareto k of the weights is above 0.7.
    """
    uniforms, z = _standard(points, path.beta.shape[1])
    k_hat = np.inf
    for stretch in _STRETCHES:
        beta_now, t_now, log_proposal = path.propose(uniforms, z, stretch)
        values_now = log_posterior(beta_now, t_now)
        raw = _known(values_now) - log_proposal
        smoothed_now, k_now = psis(raw)
        if k_now < k_hat:
            beta, log_sigma, values, smoothed, k_hat = beta_now, t_now, values_now, smoothed_now, k_now
            evidence = float(logsumexp(raw) - np.log(points))
        if k_hat < _GOOD:
            break
    last = np.column_stack([beta, log_sigma]), smoothed
    for _ in range(_ROUNDS if k_hat > _DOUBTFUL else 0):  # far from normal: the points themselves propose
        x, log_proposal = _Kernels.of(*last).propose(points)
        along = np.interp(x[:, -1], path.t, path.log_density, left=-np.inf, right=-np.inf)
        inside = along > path.log_density.max() - _NOTHING
        x = x[inside]
        values_now = log_posterior(x[:, :-1], x[:, -1])
        raw = _known(values_now) - log_proposal[inside]
        smoothed_now, k_now = psis(raw)
        last = x, smoothed_now
        if k_now < k_hat:
            beta, log_sigma, values, smoothed, k_hat = x[:, :-1], x[:, -1], values_now, smoothed_now, k_now
            evidence = float(logsumexp(raw) - np.log(points))
        if k_hat < _GOOD:
            break
    if k_hat > K_LIMIT:
        raise SaeConvergenceError(
            f"The importance weights of the hyperparameters have Pareto k = {k_hat:.2f}, above {K_LIMIT}.",
            hint="The posterior is far from normal: use a tighter prior, fewer covariates, or more areas.",
        )
    some = np.isfinite(values)  # the others have no weight
    smoothed = smoothed[some]
    found = WeightedPoints(beta[some], log_sigma[some], smoothed, k_hat, effective_draws(smoothed), evidence)
    return found, values[some]
