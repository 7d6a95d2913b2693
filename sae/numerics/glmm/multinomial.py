"""Multinomial logits with correlated normal effects of areas: the posterior beside that of a linear model.

The log likelihood of every area is replaced by a parabola of its logits. Coefficients and effects are then
normal given their covariance, and are written as a linear map of independent standard normals; what the
parabolas leave out is a remainder. A sampler that knows normals exactly needs to see the remainder alone.

Arrays of C chains and D areas have shape (C, ..., D): operations run along the areas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import scipy

from sae.numerics.compile import compiled, inlined
from sae.numerics.inference.priors import HALF_CAUCHY, HALF_NORMAL

__all__ = ["Given", "Parabolas", "mean_shares", "root_of", "split_root"]


def root_of(scores: np.ndarray, code: int, units: np.ndarray) -> np.ndarray:
    """Return lower roots L of the effects' covariance, (C, k, k), from scores that are N(0, 1) a priori.

    Parameters
    ----------
    scores : ndarray, shape (C, k + k (k - 1) / 2)
        First those of the standard deviations, then those of the partial correlations, row by row: of i and j
        given those before j, Beta(a, a) on (-1, 1) with a = 1 + (k - 2 - j) / 2, which is LKJ(1).
    code : int
        Kind of the prior of the standard deviations, a proper one: see `sae.numerics.inference.priors`.
    units : ndarray, shape (k,)
        Its scales.

    References
    ----------
    Lewandowski, Kurowicka and Joe (2009), J. Multivariate Anal. 100, 1989-2001.
    """
    k, special = len(units), scipy.special
    x = scores[:, :k]
    if code == HALF_NORMAL:
        sd = -special.ndtri(0.5 * special.ndtr(-x))
    elif code == HALF_CAUCHY:
        with np.errstate(divide="ignore"):
            upper = 1.0 / np.tan(0.5 * np.pi * special.ndtr(-x))
        sd = np.where(x > 0.0, upper, np.tan(0.5 * np.pi * special.ndtr(x)))
    else:
        sd = -special.log_ndtr(-x)
    sd = sd * units
    root, place = np.zeros((len(scores), k, k)), k
    for i in range(k):
        left = np.ones(len(scores))
        for j in range(i):
            a, score = 1.0 + 0.5 * (k - 2 - j), scores[:, place]
            place += 1
            tail = special.betaincinv(a, a, special.ndtr(-np.abs(score)))
            partial = np.copysign(1.0 - 2.0 * tail, score)
            root[:, i, j] = partial * left
            left = left * 2.0 * np.sqrt(tail * (1.0 - tail))  # of 1 - partial²
        root[:, i, i] = left
        root[:, i] *= sd[:, i, None]
    return root


def split_root(root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return standard deviations (..., k) and correlations below the diagonal, row by row."""
    sd = np.sqrt((root**2).sum(axis=-1))
    unit = root / np.where(sd > 0.0, sd, 1.0)[..., None]
    row, column = np.tril_indices(root.shape[-1], -1)
    return sd, (unit[..., row, :] * unit[..., column, :]).sum(axis=-1)


def mean_shares(eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means over chains of p, (k, D), and of diag(p) - p p', (k, k, D), at logits (C, k, D)."""
    full = np.concatenate([eta, np.zeros((len(eta), 1, eta.shape[2]))], axis=1)
    p = np.exp(full - full.max(axis=1, keepdims=True))
    p = (p / p.sum(axis=1, keepdims=True))[:, :-1]
    cross = -np.einsum("cid,cjd->ijd", p, p) / len(p)
    mean = p.mean(axis=0)
    every = np.arange(len(mean))
    cross[every, every] += mean
    return mean, cross


@dataclass(frozen=True, eq=False)
class Given:
    """What C chains know of the effects, given their covariance L L' and coefficients.

    Attributes
    ----------
    root : ndarray, shape (C, k, k)
    beta : ndarray, shape (C, k, p)
    fixed : ndarray, shape (C, k, D)
        Logits without effects.
    precision : ndarray, shape (C, k, k, D)
        Lower roots c of the precision of z in the linear model; effects are L z.
    centre : ndarray, shape (C, k, D)
        Its mean times c'.
    log_evidence : ndarray, shape (C,)
        Of the linear model at the covariance, coefficients and effects integrated out.
    """

    root: np.ndarray
    beta: np.ndarray
    fixed: np.ndarray
    precision: np.ndarray
    centre: np.ndarray
    log_evidence: np.ndarray

    def logits(self, e: np.ndarray) -> np.ndarray:
        """Return the logits that standard normals stand for, both of shape (C, k, D)."""
        eta = np.empty(e.shape)
        _logits(self.root, self.precision, self.centre, self.fixed, e, eta)
        return eta

    def put(self, which: np.ndarray, other: Given, among: np.ndarray) -> None:
        """Overwrite some chains by those of another."""
        for field in fields(self):
            getattr(self, field.name)[which] = getattr(other, field.name)[among]


@dataclass(frozen=True, eq=False)
class Parabolas:
    """The linear model: the log likelihood of an area is b'η - η'Pη / 2.

    Attributes
    ----------
    counts : ndarray, shape (k + 1, D)
    X : ndarray, shape (p, D)
    slope : ndarray, shape (k, D)
    curvature : ndarray, shape (k, k, D)
    wide : float
        Standard deviation of the normal prior of the coefficients.
    """

    counts: np.ndarray
    X: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray
    wide: float

    @classmethod
    def at(cls, counts: np.ndarray, X: np.ndarray, eta: np.ndarray, wide: float) -> Parabolas:
        """Return the parabolas whose first two derivatives are the mean ones over logits (C, k, D).

        Over draws from a posterior these are of the best normal approximation to it (Opper and Archambeau
        2009, Neural Computation 21, 786-792).
        """
        n = counts.sum(axis=0)
        p, spread = mean_shares(eta)
        curvature = n * spread
        slope = counts[:-1] - n * p + np.einsum("ijd,jd->id", curvature, eta.mean(axis=0))
        return cls(counts, X, slope, curvature, wide)

    def remainder(self, eta: np.ndarray) -> np.ndarray:
        """Return the log likelihood less its parabola at logits (C, k, D), shape (C, D)."""
        out = np.empty((len(eta), eta.shape[2]))
        _remainder(self.counts, self.slope, self.curvature, eta, out)
        return out

    def given(self, root: np.ndarray, white: np.ndarray) -> Given:
        """Return what roots of the covariance, (C, k, k), and standard normals, (C, k p), stand for.

        The standard normals become coefficients, drawn in the linear model with its effects integrated out.
        """
        (p, D), (C, k, _) = self.X.shape, root.shape
        beta, fixed, centre = np.empty((C, k, p)), np.empty((C, k, D)), np.empty((C, k, D))
        precision, log_evidence = np.zeros((C, k, k, D)), np.empty(C)
        _given(
            *(self.slope, self.curvature, self.X, self.wide, root, white),
            *(beta, fixed, precision, centre, log_evidence),
        )
        return Given(root, beta, fixed, precision, centre, log_evidence)


@compiled
def _given(b, P, X, wide, root, white, beta, fixed, precision, centre, log_evidence):
    C, k, p, D = len(root), len(b), len(X), X.shape[1]
    c, B, H, h = np.empty((k, k)), np.empty((k, k)), np.empty((k * p, k * p)), np.empty(k * p)
    Q = np.empty((D, k, k))
    for chain in range(C):
        L, evidence = root[chain], 0.0
        H[:], h[:] = 0.0, 0.0
        for d in range(D):
            for i in range(k):  # B = P L, then c = I + L'P L
                for j in range(k):
                    B[i, j] = 0.0
                    for a in range(j, k):
                        B[i, j] += P[i, a, d] * L[a, j]
            for i in range(k):
                for j in range(i + 1):
                    c[i, j] = 1.0 if i == j else 0.0
                    for a in range(i, k):
                        c[i, j] += L[a, i] * B[a, j]
            _root(c, k)
            for i in range(k):  # c B = L': B'B is the variance of the effects
                for j in range(k):
                    B[i, j] = L[j, i] if j >= i else 0.0
                    for a in range(i):
                        B[i, j] -= c[i, a] * B[a, j]
                    B[i, j] /= c[i, i]
                evidence -= math.log(c[i, i])
            for i in range(k):
                value = 0.0
                for j in range(k):
                    precision[chain, i, j, d] = c[i, j] if j <= i else 0.0
                    value += B[i, j] * b[j, d]
                    Q[d, i, j] = 0.0
                    for a in range(k):
                        Q[d, i, j] += B[i, a] * P[a, j, d]
                centre[chain, i, d] = value
                evidence += 0.5 * value * value
            for i in range(k):
                force = b[i, d]
                for a in range(k):
                    force -= Q[d, a, i] * centre[chain, a, d]
                for m in range(p):
                    h[i * p + m] += force * X[m, d]
                for j in range(i + 1):
                    W = P[i, j, d]
                    for a in range(k):
                        W -= Q[d, a, i] * Q[d, a, j]
                    for m in range(p):
                        for n in range(p):
                            H[i * p + m, j * p + n] += W * X[m, d] * X[n, d]
        for i in range(k * p):
            H[i, i] += 1.0 / (wide * wide)
        _root(H, k * p)
        for i in range(k * p):
            for a in range(i):
                h[i] -= H[i, a] * h[a]
            h[i] /= H[i, i]
            evidence += 0.5 * h[i] * h[i] - math.log(H[i, i])
        for i in range(k * p):
            h[i] += white[chain, i]
        for i in range(k * p - 1, -1, -1):
            for a in range(i + 1, k * p):
                h[i] -= H[a, i] * h[a]
            h[i] /= H[i, i]
            beta[chain, i // p, i % p] = h[i]
        for d in range(D):
            for i in range(k):
                fixed[chain, i, d] = 0.0
                for m in range(p):
                    fixed[chain, i, d] += h[i * p + m] * X[m, d]
            for i in range(k):
                for j in range(k):
                    centre[chain, i, d] -= Q[d, i, j] * fixed[chain, j, d]
        # variances beyond the last digit leave no number
        log_evidence[chain] = evidence if math.isfinite(evidence) else -math.inf


@inlined
def _root(A, size):
    """Put the lower root of a matrix into its lower triangle; NaN where there is none."""
    for j in range(size):
        for i in range(j, size):
            value = A[i, j]
            for a in range(j):
                value -= A[i, a] * A[j, a]
            A[i, j] = (math.sqrt(value) if value > 0.0 else math.nan) if i == j else value / A[j, j]


@compiled
def _logits(root, precision, centre, fixed, e, eta):
    C, k, D = e.shape
    z = np.empty(k)
    for chain in range(C):
        for d in range(D):
            for i in range(k - 1, -1, -1):
                z[i] = centre[chain, i, d] + e[chain, i, d]
                for j in range(i + 1, k):
                    z[i] -= precision[chain, j, i, d] * z[j]
                z[i] /= precision[chain, i, i, d]
            for i in range(k):
                eta[chain, i, d] = fixed[chain, i, d]
                for j in range(i + 1):
                    eta[chain, i, d] += root[chain, i, j] * z[j]


@compiled
def _remainder(counts, b, P, eta, out):
    C, k, D = eta.shape
    for chain in range(C):
        for d in range(D):
            top = 0.0
            for i in range(k):
                top = max(top, eta[chain, i, d])
            total, value, n = math.exp(-top), 0.0, counts[k, d]
            for i in range(k):
                one = eta[chain, i, d]
                total += math.exp(one - top)
                n += counts[i, d]
                force = counts[i, d] - b[i, d] + 0.5 * P[i, i, d] * one
                for j in range(i):
                    force += P[i, j, d] * eta[chain, j, d]
                value += force * one
            out[chain, d] = value - n * (top + math.log(total))
