"""Posterior of R joined estimates per area over the covariance of their effects, by importance sampling.

    y_d = X_d β + u_d + e_d,   u_d ~ N(0, V),   e_d ~ N(0, Ψ_d),   β flat

Given V everything is normal: β is integrated out of the density of V, and areas are mixtures of normals over
weighted nodes of V. The nodes are a Sobol sequence under a Student's t that adapts to the posterior, so that
moments need no random numbers.

References
----------
Oh and Berger (1992), J. Statist. Comput. Simul. 41, 143-168 (a proposal that adapts); Vehtari, Simpson,
Gelman, Yao and Gabry (2024), J. Mach. Learn. Res. 25(72) (PSIS).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, logsumexp, ndtri

from sae.numerics.compile import compiled, inlined
from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.lattice import find_mode
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.psis import effective_draws, psis
from sae.numerics.multivariate.areas import BlockAreas, BlockArrays

__all__ = [
    "NODES",
    "BlockPosterior",
    "Conditionals",
    "CovarianceNodes",
    "condition_blocks",
    "marginal_blocks",
    "place_covariances",
]

_DF = 5.0  # heavier than any posterior of log standard deviations with a proper prior
_ROUNDS = 4  # the proposal moves to the moments of the round before
_WIDEN = 1.15
NODES = 2048
_LIGHT = 1e-9  # share of a node that is left out
_PIECE = 500_000  # numbers of one array held at once
_FEWEST = 64  # nodes of a joint posterior, however many rows there are
_JOINT = 20_000_000  # numbers of a joint posterior at all nodes
_DETERMINED = 1e-9  # share of a figure's precision below which the others leave a coefficient undetermined


class _Workspace(NamedTuple):
    """Room for the Gram matrix and for one area: covariance, [X y], covariance to all rows."""

    gram: np.ndarray
    A: np.ndarray
    B: np.ndarray
    C: np.ndarray
    place: np.ndarray
    loose: np.ndarray


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


@dataclass(frozen=True, eq=False)
class BlockPosterior:
    """Posterior of areas over weighted covariances of their effects."""

    areas: BlockAreas
    nodes: CovarianceNodes

    def mixture(self, contrasts: np.ndarray) -> Mixture:
        """Return the posterior of linear combinations of an area's components.

        Parameters
        ----------
        contrasts : ndarray, shape (D, C, R)
            C combinations per area.

        Returns
        -------
        Mixture
            Of D C columns, area by area.
        """
        y, X, _, seen = self.areas.arrays
        at = condition_blocks(self.areas, self.nodes.covariances)
        K = len(self.nodes.phi)
        means, variances = np.empty((2, K, *contrasts.shape[:2]))
        for own in np.array_split(np.arange(K), max(1, K * X.size // _PIECE)):
            V = self.nodes.covariances[own, None]
            gain = V @ self.areas.inverse(self.nodes.covariances[own])
            fitted = np.moveaxis(X @ at.beta[own].T, -1, 0)
            centre = fitted + np.einsum("kdrs,kds->kdr", gain, np.where(seen, y - fitted, 0.0))
            means[own] = np.einsum("dcr,kdr->kdc", contrasts, centre)
            inside = contrasts @ (V - gain @ V)
            loose = contrasts @ (X - gain @ X) @ at.root[own, None]
            variances[own] = (inside * contrasts).sum(axis=-1) + (loose**2).sum(axis=-1)
        return Mixture(
            self.nodes.weights, means.reshape(K, -1), np.sqrt(np.maximum(variances, 1e-300)).reshape(K, -1)
        )

    def joint(self) -> JointMixture:
        """Return the joint posterior of all D R rows, area by area; of many rows over fewer nodes."""
        y, X, _, seen = self.areas.arrays
        which, weights = np.arange(len(self.nodes.phi)), self.nodes.weights
        count = max(_FEWEST, _JOINT // (y.size * (y.shape[1] + X.shape[2])))
        if count < len(which):
            places = (np.arange(count) + 0.5) / count * (1.0 - 1e-12)
            which, times = np.unique(np.searchsorted(np.cumsum(weights), places), return_counts=True)
            weights = times / count
        at = condition_blocks(self.areas, self.nodes.covariances[which])
        V = self.nodes.covariances[which, None]
        gain = V @ self.areas.inverse(self.nodes.covariances[which])
        fitted = np.moveaxis(X @ at.beta.T, -1, 0)
        means = fitted + np.einsum("kdrs,kds->kdr", gain, np.where(seen, y - fitted, 0.0))
        loose = (X - gain @ X) @ at.root[:, None]
        K, size = len(which), y.size
        return JointMixture(
            weights,
            means.reshape(K, size),
            self._root(V - gain @ V).reshape(K, size, -1),
            loose.reshape(K, size, -1),
        )

    def _root(self, inside: np.ndarray) -> np.ndarray:
        """Return roots of covariances of an area's components, shape (..., R, R)."""
        values, vectors = np.linalg.eigh(inside)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])


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
    arrays = areas.centred.arrays

    def density(phi: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            value = marginal_blocks(build(phi), arrays) + log_prior(phi)
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
    (D, R, p), K = areas.X.shape, len(covariances)
    conditionals = Conditionals(
        np.zeros((K, p)),
        np.zeros((K, p, p)),
        np.empty((K, D, R)),
        np.empty((K, D, R)),
        np.full((K, D, R), np.nan),
    )
    _condition(
        np.ascontiguousarray(covariances),
        areas.centred.arrays,
        conditionals.beta,
        conditionals.root,
        conditionals.means,
        conditionals.sds,
        conditionals.left_out,
    )
    conditionals.beta[:] += areas.fitted
    conditionals.means[:] += areas.X @ areas.fitted
    return conditionals


def marginal_blocks(covariances: np.ndarray, areas: BlockArrays) -> np.ndarray:
    """Return the log density of the data given each covariance, β integrated out, shape (K,).

    A covariance that is not positive definite gives NaN.
    """
    return np.asarray(_marginals(np.ascontiguousarray(covariances), areas))


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


@inlined
def _workspace(R, p):
    """Made inside the kernel, where the compiler knows that the arrays do not overlap."""
    gram, A, B, C = np.empty((p + 1, p + 1)), np.empty((R, R)), np.empty((R, p + 1)), np.empty((R, R))
    return _Workspace(gram, A, B, C, np.empty(R, np.int64), np.empty(p))


@inlined
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


@inlined
def _whiten(A, B, n, columns):
    """Replace the first n rows of B by L^-1 B, L the factor in A."""
    for c in range(columns):
        for j in range(n):
            total = B[j, c]
            for k in range(j):
                total -= A[j, k] * B[k, c]
            B[j, c] = total / A[j, j]


@inlined
def _load(d, V, y, X, psi, seen, A, B, place):
    """Fill A with the covariance of the observed figures of area d, B with [X y]; return their number."""
    R, p = X.shape[1:]
    n = 0
    for r in range(R):
        if seen[d, r]:
            place[n] = r
            n += 1
    for i in range(n):
        for j in range(i + 1):
            A[i, j] = V[place[i], place[j]] + psi[d, place[i], place[j]]
        for c in range(p):
            B[i, c] = X[d, place[i], c]
        B[i, p] = y[d, place[i]]
    return n


@inlined
def _gls(V, areas, work):
    """Fill gram with the factor of [X y]'Σ^-1[X y]; return log determinants, residuals' square and count."""
    y, X, psi, seen = areas
    gram, A, B, _, place, _ = work
    D, _, p = X.shape
    for a in range(p + 1):
        for b in range(p + 1):
            gram[a, b] = 0.0
    logdet, count = 0.0, 0
    for d in range(D):
        n = _load(d, V, y, X, psi, seen, A, B, place)
        count += n
        logdet += _factor(A, n)
        _whiten(A, B, n, p + 1)
        for a in range(p + 1):
            for b in range(a + 1):
                for i in range(n):
                    gram[a, b] += B[i, a] * B[i, b]
    logdet += _factor(gram, p)
    rest = gram[p, p]
    for j in range(p):  # forward substitution
        total = gram[p, j]
        for s in range(j):
            total -= gram[p, s] * gram[j, s]
        gram[p, j] = total / gram[j, j]
        rest -= gram[p, j] ** 2
    return logdet, rest, count


@inlined
def _coefficients(gram, beta, root):
    """β and the root L^-T of its covariance, from the factor L in gram; root' is lower triangular."""
    p = len(beta)
    for j in range(p - 1, -1, -1):
        total = gram[p, j]
        for s in range(j + 1, p):
            total -= gram[s, j] * beta[s]
        beta[j] = total / gram[j, j]
    for c in range(p):  # column c of L^-1, stored as row c of root
        for j in range(c, p):
            total = 1.0 if j == c else 0.0
            for s in range(c, j):
                total -= gram[j, s] * root[c, s]
            root[c, j] = total / gram[j, j]


@inlined
def _load_residuals(k, d, V, beta, y, X, psi, seen, A, B, C, place):
    """As `_load`, whitened and y less X β, and C the whitened covariance to all rows; return the number."""
    R, p = X.shape[1:]
    n = _load(d, V[k], y, X, psi, seen, A, B, place)
    for i in range(n):
        for c in range(p):
            B[i, p] -= B[i, c] * beta[k, c]
        for r in range(R):
            C[i, r] = V[k, place[i], r]
    _factor(A, n)
    _whiten(A, B, n, p + 1)
    _whiten(A, C, n, R)
    return n


@inlined
def _moments(k, d, n, V, X, beta, root, B, C, loose, means, sds):
    """Mean and deviation of X β + u in the rows of an area: of u given its figures, and what β adds."""
    R, p = X.shape[1:]
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


@inlined
def _left_out(k, d, n, root, A, B, C, place, left):
    """Log density of each figure of an area given all others, from its row of the projected precision."""
    p = root.shape[1]
    for i in range(n):
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
        if own > _DETERMINED * whole:
            left[k, d, place[i]] = -0.5 * (math.log(2.0 * math.pi / own) + pull * pull / own)


@compiled
def _marginals(V, areas):
    """Log density of the data at each covariance, coefficients integrated out."""
    _, R, p = areas.X.shape
    work, out = _workspace(R, p), np.empty(len(V))
    for k in range(len(V)):
        logdet, rest, count = _gls(V[k], areas, work)
        out[k] = -0.5 * (logdet + rest + (count - p) * math.log(2.0 * math.pi))
    return out


@compiled
def _condition(V, areas, beta, root, means, sds, left):
    """Fill coefficients with the root of their covariance; means, deviations, left-out densities of rows."""
    y, X, psi, seen = areas
    D, R, p = X.shape
    work = _workspace(R, p)
    gram, A, B, C, place, loose = work
    for k in range(len(V)):
        _gls(V[k], areas, work)
        _coefficients(gram, beta[k], root[k])
        for d in range(D):
            n = _load_residuals(k, d, V, beta, y, X, psi, seen, A, B, C, place)
            _moments(k, d, n, V, X, beta, root, B, C, loose, means, sds)
            _left_out(k, d, n, root, A, B, C, place, left)
