"""Posterior of R joined estimates per area over the covariance of their effects, by importance sampling.

    y_d = X_d β + u_d + e_d,   u_d ~ N(0, V),   e_d ~ N(0, Ψ_d),   β flat

Given V everything is normal: β is integrated out of the density of V, and areas are mixtures of normals over
weighted nodes of V. The nodes are a Sobol sequence under a Student's t that adapts to the posterior, so that
moments need no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import chdtri, logsumexp, ndtri

from sae.numerics.compile import jit_scalar
from sae.numerics.inference.lattice import find_mode
from sae.numerics.inference.psis import effective_draws, psis

__all__ = [
    "NODES", "BlockAreas", "Conditionals", "CovarianceNodes", "condition_blocks", "marginal_blocks",
    "place_covariances",
]  # fmt: skip

_DF = 5.0  # heavier than any posterior of log standard deviations with a proper prior
_ROUNDS = 4  # the proposal moves to the moments of the round before
_WIDEN = 1.15
NODES = 2048
_LIGHT = 1e-9  # share of a node that is left out


@dataclass(frozen=True, eq=False)
class BlockAreas:
    """Joined estimates of D areas.

    Attributes
    ----------
    y : ndarray, shape (D, R)
        NaN where a component has no direct estimate.
    X : ndarray, shape (D, R, p)
    psi : ndarray, shape (D, R, R)
        Read only where both components of a pair have one.
    """

    y: np.ndarray
    X: np.ndarray
    psi: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As kernels take them."""
        seen = np.isfinite(self.y)
        both = seen[:, :, None] & seen[:, None, :]
        return (
            np.where(seen, self.y, 0.0), np.ascontiguousarray(self.X), np.where(both, self.psi, 0.0), seen,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class CovarianceNodes:
    """Weighted values of the covariance of the effects.

    Attributes
    ----------
    phi : ndarray, shape (K, q)
        Working values of the hyperparameters.
    covariances : ndarray, shape (K, R, R)
    log_weights : ndarray, shape (K,)
        Pareto-smoothed; the weights sum to one.
    k_hat, ess : float
        Shape of the tail of the weights; 1 / Σ w².
    """

    phi: np.ndarray
    covariances: np.ndarray
    log_weights: np.ndarray
    k_hat: float
    ess: float

    @property
    def weights(self) -> np.ndarray:
        """Weights of the nodes, shape (K,)."""
        return np.exp(self.log_weights)


@dataclass(frozen=True, eq=False)
class Conditionals:
    """What is normal given each node.

    Attributes
    ----------
    beta : ndarray, shape (K, p)
    root : ndarray, shape (K, p, p)
        root root' is the covariance of β.
    means, sds : ndarray, shape (K, D, R)
        Of the true values.
    left_out : ndarray, shape (K, D, R)
        Log density of each observed figure given all the others; NaN where there is none, or where the others
        leave a coefficient undetermined.
    """

    beta: np.ndarray
    root: np.ndarray
    means: np.ndarray
    sds: np.ndarray
    left_out: np.ndarray


def place_covariances(
    areas: BlockAreas,
    build: Callable[[np.ndarray], np.ndarray],
    log_prior: Callable[[np.ndarray], np.ndarray],
    starts: np.ndarray,
    *,
    nodes: int = NODES,
) -> CovarianceNodes:
    """Find nodes that carry the posterior of the hyperparameters φ.

    Parameters
    ----------
    areas : BlockAreas
    build : callable
        φ, shape (K, q), to covariances of the effects, shape (K, R, R).
    log_prior : callable
        φ to the log prior density of φ, shape (K,).
    starts : ndarray, shape (k, q)
        Where the climb to the mode may begin.
    nodes : int
        A power of two.
    """
    arrays = areas.arrays

    def density(phi: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            value = marginal_blocks(build(phi), *arrays) + log_prior(phi)
        return np.where(np.isfinite(value), value, -np.inf)

    centre, root = find_mode(density, starts)
    for round_ in range(_ROUNDS):
        phi, log_proposal = _proposals(centre, root, nodes if round_ == _ROUNDS - 1 else nodes // 4)
        raw = density(phi) - log_proposal
        log_weights, k_hat = psis(raw)
        weights = np.exp(log_weights)
        if round_ < _ROUNDS - 1:
            centre = weights @ phi
            apart = phi - centre
            spread = (weights[:, None] * apart).T @ apart + 1e-10 * np.eye(len(centre))
            root = _WIDEN * np.linalg.cholesky(spread)
    heavy = weights > _LIGHT
    kept = log_weights[heavy]
    return CovarianceNodes(
        phi[heavy], build(phi[heavy]), kept - logsumexp(kept), k_hat, effective_draws(kept)
    )


def condition_blocks(areas: BlockAreas, covariances: np.ndarray) -> Conditionals:
    """Return the posterior of coefficients and areas given each covariance, shape (K, R, R)."""
    return Conditionals(*_condition(np.ascontiguousarray(covariances), *areas.arrays))


def marginal_blocks(
    covariances: np.ndarray, y: np.ndarray, X: np.ndarray, psi: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    """Return the log density of the data given each covariance, β integrated out, shape (K,).

    Other arguments as `BlockAreas.arrays` gives them; a covariance that is not positive definite gives NaN.
    """
    return np.asarray(_marginals(np.ascontiguousarray(covariances), y, X, psi, seen))


def _proposals(centre: np.ndarray, root: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes of a multivariate t and its log density, up to a constant."""
    q = len(centre)
    z = _student_points(q, nodes)
    return centre + z @ root.T, -0.5 * (_DF + q) * np.log1p((z * z).sum(axis=1) / _DF)


@lru_cache(maxsize=8)
def _student_points(q: int, nodes: int) -> np.ndarray:
    """Even points of a standard t in q dimensions."""
    from scipy.stats import qmc

    uniforms = qmc.Sobol(q + 1, scramble=False).random(nodes) + 0.5 / nodes
    return np.asarray(ndtri(uniforms[:, :q]) * np.sqrt(_DF / chdtri(_DF, uniforms[:, q]))[:, None])


@jit_scalar
def _factor(A, n):
    """Put the lower Cholesky factor of the first n rows of A in its place; return the log determinant."""
    logdet = 0.0
    for j in range(n):
        for k in range(j + 1):
            total = A[j, k]
            for s in range(k):
                total -= A[j, s] * A[k, s]
            if j == k:
                A[j, j] = math.sqrt(total) if total > 0.0 else math.nan
            else:
                A[j, k] = total / A[k, k]
        logdet += 2.0 * math.log(A[j, j])
    return logdet


@jit_scalar
def _whiten(A, B, n, columns):
    """Replace the first n rows of B by L^-1 B, L the factor in A."""
    for c in range(columns):
        for j in range(n):
            total = B[j, c]
            for k in range(j):
                total -= A[j, k] * B[k, c]
            B[j, c] = total / A[j, j]


@jit_scalar
def _load(V, y, X, psi, seen, place, A, B):
    """Fill A with the covariance of the observed figures of an area, B with [X y]; return their number."""
    R, p = X.shape
    n = 0
    for r in range(R):
        if seen[r]:
            place[n] = r
            n += 1
    for i in range(n):
        for j in range(i + 1):
            A[i, j] = V[place[i], place[j]] + psi[place[i], place[j]]
        for c in range(p):
            B[i, c] = X[place[i], c]
        B[i, p] = y[place[i]]
    return n


@jit_scalar
def _gls(V, y, X, psi, seen, gram, A, B, place):
    """Fill gram with the factor of [X y]'Σ^-1[X y]; return log determinants and the count of figures."""
    D, _, p = X.shape
    gram[:] = 0.0
    logdet, count = 0.0, 0
    for d in range(D):
        n = _load(V, y[d], X[d], psi[d], seen[d], place, A, B)
        count += n
        logdet += _factor(A, n)
        _whiten(A, B, n, p + 1)
        for a in range(p + 1):
            for b in range(a + 1):
                for i in range(n):
                    gram[a, b] += B[i, a] * B[i, b]
    return logdet, count


@jit_scalar
def _marginals(V, y, X, psi, seen):
    """Log density of the data at each covariance, coefficients integrated out."""
    K = len(V)
    R, p = X.shape[1:]
    out = np.empty(K)
    gram, A, B, place = (
        np.empty((p + 1, p + 1)),
        np.empty((R, R)),
        np.empty((R, p + 1)),
        np.empty(R, np.int64),
    )
    for k in range(K):
        logdet, count = _gls(V[k], y, X, psi, seen, gram, A, B, place)
        logdet += _factor(gram, p)
        rest = gram[p, p]
        for j in range(p):
            total = gram[p, j]
            for s in range(j):
                total -= gram[p, s] * gram[j, s]
            gram[p, j] = total / gram[j, j]
            rest -= gram[p, j] ** 2
        out[k] = -0.5 * (logdet + rest + (count - p) * math.log(2.0 * math.pi))
    return out


@jit_scalar
def _condition(V, y, X, psi, seen):
    """Coefficients with the root of their covariance; means, deviations, left-out densities of rows."""
    K = len(V)
    D, R, p = X.shape
    beta, root = np.zeros((K, p)), np.zeros((K, p, p))
    means, sds, left = np.empty((K, D, R)), np.empty((K, D, R)), np.full((K, D, R), np.nan)
    gram, A, B, place = (
        np.empty((p + 1, p + 1)),
        np.empty((R, R)),
        np.empty((R, p + 1)),
        np.empty(R, np.int64),
    )
    C, loose = np.empty((R, R)), np.empty(p)
    for k in range(K):
        _gls(V[k], y, X, psi, seen, gram, A, B, place)
        _factor(gram, p)
        for j in range(p):  # forward and backward substitution; root = L^-T, its transpose lower triangular
            total = gram[p, j]
            for s in range(j):
                total -= gram[p, s] * gram[j, s]
            gram[p, j] = total / gram[j, j]
        for j in range(p - 1, -1, -1):
            total = gram[p, j]
            for s in range(j + 1, p):
                total -= gram[s, j] * beta[k, s]
            beta[k, j] = total / gram[j, j]
        for c in range(p):  # column c of L^-1, stored as row c of root
            for j in range(c, p):
                total = 1.0 if j == c else 0.0
                for s in range(c, j):
                    total -= gram[j, s] * root[k, c, s]
                root[k, c, j] = total / gram[j, j]
        for d in range(D):
            n = _load(V[k], y[d], X[d], psi[d], seen[d], place, A, B)
            for i in range(n):
                for c in range(p):
                    B[i, p] -= X[d, place[i], c] * beta[k, c]
                for r in range(R):
                    C[i, r] = V[k, place[i], r]
            _factor(A, n)
            _whiten(A, B, n, p + 1)
            _whiten(A, C, n, R)
            for r in range(R):
                mean, variance = 0.0, V[k, r, r]
                for c in range(p):
                    loose[c] = X[d, r, c]
                    mean += X[d, r, c] * beta[k, c]
                for i in range(n):
                    mean += C[i, r] * B[i, p]
                    variance -= C[i, r] ** 2
                    for c in range(p):
                        loose[c] -= C[i, r] * B[i, c]
                variance = max(variance, 0.0)
                for c in range(p):
                    half = 0.0
                    for s in range(p):
                        half += loose[s] * root[k, s, c]
                    variance += half * half
                means[k, d, r], sds[k, d, r] = mean, math.sqrt(max(variance, 1e-300))
            for i in range(n):  # column i of the rows' part of the projected precision
                for j in range(n):
                    C[j, 0] = 1.0 if i == j else 0.0
                _whiten(A, C, n, 1)
                own, pull = 0.0, 0.0
                for j in range(n):
                    own += C[j, 0] ** 2
                    pull += C[j, 0] * B[j, p]
                whole = own
                for c in range(p):
                    half = 0.0
                    for s in range(p):
                        part = 0.0
                        for j in range(n):
                            part += C[j, 0] * B[j, s]
                        half += part * root[k, s, c]
                    own -= half * half
                if own > 1e-9 * whole:
                    left[k, d, place[i]] = -0.5 * (math.log(2.0 * math.pi / own) + pull * pull / own)
    return beta, root, means, sds, left
