"""Two-fold Fay-Herriot model: sub-areas within areas, by closed forms.

    y_ij = x_ij'beta + v_i + u_ij + e_ij,   v_i ~ N(0, s_v), u_ij ~ N(0, s_u), e_ij ~ N(0, psi_ij)

With a_ij = 1 / (s_u + psi_ij), A_i = sum_j a_ij and c_i = s_v / (1 + s_v A_i), the covariance of an area
inverts as diag(a_i) - c_i a_i a_i', so that a likelihood is one pass over the sub-areas.

References
----------
Torabi and Rao (2014), Journal of Multivariate Analysis 127, 36-55.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.inference.tally import SLOW, STAGES, Tally
from sae.numerics.inference.two_variances import two_variances
from sae.numerics.random.streams import normals, stream_keys

__all__ = ["TwoFoldFit", "TwoFoldMse", "TwoFoldProblem", "bootstrap_twofold", "fit_twofold", "mse_twofold"]

_SINGULAR = 1e14


@dataclass(frozen=True, eq=False)
class TwoFoldProblem:
    """Sub-areas of one model.

    Attributes
    ----------
    y, psi : ndarray, shape (M,)
        Direct estimates and sampling variances; read only where `seen`.
    X : ndarray, shape (M, p)
    area : ndarray of int, shape (M,)
        Area of each sub-area, 0 to D - 1.
    seen : ndarray of bool, shape (M,)
    """

    y: np.ndarray
    psi: np.ndarray
    X: np.ndarray
    area: np.ndarray
    seen: np.ndarray

    @property
    def n_areas(self) -> int:
        """Number of areas."""
        return int(self.area.max()) + 1

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the seen sub-areas of each area, shape (..., D), from values of theirs, shape (..., n)."""
        area = self.area[self.seen]
        flat = values.reshape(-1, values.shape[-1])
        total = [np.bincount(area, row, self.n_areas) for row in flat]
        return np.array(total).reshape(*values.shape[:-1], self.n_areas)


@dataclass(frozen=True, eq=False)
class TwoFoldFit:
    """Estimates of a two-fold model.

    Attributes
    ----------
    sigma2_v, sigma2_u : float
        Variances between areas and between the sub-areas of one.
    beta : ndarray, shape (p,)
    beta_cov : ndarray, shape (p, p)
    area_effect : ndarray, shape (D,)
    eblup, gamma : ndarray, shape (M,)
        Predictions of all sub-areas, and the weight of their own direct estimates.
    loglik : float
        Full log-likelihood at the estimates, also for REML.
    """

    sigma2_v: float
    sigma2_u: float
    beta: np.ndarray
    beta_cov: np.ndarray
    area_effect: np.ndarray
    eblup: np.ndarray
    gamma: np.ndarray
    loglik: float


@dataclass(frozen=True, eq=False)
class TwoFoldMse:
    """Second-order MSE of all sub-areas, and what it is made of.

    Attributes
    ----------
    mse : ndarray, shape (M,)
    blocks : list of ndarray
        g1 + 2 g3 (less the bias of ML) as a matrix over the sub-areas of each area.
    loose : ndarray, shape (M, p)
        g2 = loose beta_cov loose'.
    information : ndarray, shape (2, 2)
        Expected, of (sigma2_v, sigma2_u).
    """

    mse: np.ndarray
    blocks: list[np.ndarray]
    loose: np.ndarray
    information: np.ndarray


def _terms(problem: TwoFoldProblem, s_v: float, s_u: float, Z: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return a (n,), sums of a and of a Z by area (D,), (q, D), V^-1 Z (n, q) and Z'V^-1Z.

    With z the means of an area's rows weighted by a, V^-1 Z = a (Z - z) + a z / (1 + s_v sum a): no sum is
    the difference of two large ones where sampling variances are small beside the effects.
    """
    a = 1.0 / (s_u + problem.psi[problem.seen])
    total, pulled = problem.sums(a), problem.sums((Z * a[:, None]).T)
    mean = (pulled / np.where(total > 0, total, 1.0)).T
    left = 1.0 / (1.0 + s_v * total)
    area = problem.area[problem.seen]
    several = (np.bincount(area, minlength=len(total)) > 1)[area]  # one row is its own mean
    apart = (Z - mean[area]) * several[:, None]
    solved = a[:, None] * (apart + mean[area] * left[area][:, None])
    return a, total, pulled, solved, (apart.T * a) @ apart + (mean.T * (total * left)) @ mean


def loglik(
    problem: TwoFoldProblem, s_v: float, s_u: float, y: np.ndarray, reml: bool
) -> tuple[float, np.ndarray]:
    """Profile (restricted) log-likelihood of outcomes `y`, and its slopes in (s_v, s_u)."""
    X = problem.X[problem.seen]
    n, p = X.shape
    Z = np.column_stack([X, y])
    a, total, pulled, solved, gram = _terms(problem, s_v, s_u, Z)
    inner, edge = gram[:p, :p], gram[:p, p]
    if not np.linalg.cond(inner) < _SINGULAR:  # an area without sampling error, and no effects beside it
        return -np.inf, np.zeros(2)
    cov = np.linalg.inv(inner)
    beta = cov @ edge
    contrast = np.append(-beta, 1.0)
    value = -0.5 * (
        n * np.log(2 * np.pi) - np.log(a).sum() + np.log1p(s_v * total).sum() + contrast @ gram @ contrast
    )
    # V^-1 1 = a / (1 + s_v A)
    square = problem.sums(a * a)
    left = 1.0 / (1.0 + s_v * total)
    c = s_v * left
    grouped = pulled * left
    d_grams = np.stack([-grouped @ grouped.T, -solved.T @ solved])
    slopes = -0.5 * np.array([(total * left).sum(), a.sum() - (c * square).sum()])
    slopes -= 0.5 * np.einsum("i,kij,j->k", contrast, d_grams, contrast)
    if reml:
        value += 0.5 * p * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(inner)[1]
        slopes -= 0.5 * np.einsum("ij,kji->k", cov, d_grams[:, :p, :p])
    return float(value), slopes


def _maximise(problem: TwoFoldProblem, outcomes: np.ndarray, reml: bool) -> np.ndarray:
    """Variances (s_v, s_u) at the global maximum for each outcome, shape (B, n)."""

    def evaluate(theta: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, slopes = np.empty(len(theta)), np.empty((len(theta), 2))
        for k, ((s_v, s_u), b) in enumerate(zip(theta, member, strict=True)):
            values[k], slopes[k] = loglik(problem, s_v, s_u, outcomes[b], reml)
        return values, slopes

    unit = float(np.median(problem.psi[problem.seen]))
    return two_variances(evaluate, lambda grid: _scan(problem, grid, outcomes, reml), len(outcomes), unit)


def _scan(problem: TwoFoldProblem, grid: np.ndarray, outcomes: np.ndarray, reml: bool) -> np.ndarray:
    """Return the profile likelihood of all outcomes at each (s_v, s_u) of a grid, shape (G, B)."""
    X = problem.X[problem.seen]
    n, p = X.shape
    Z, area = np.column_stack([X, outcomes.T]), problem.area[problem.seen]
    values = np.full((len(grid), len(outcomes)), -np.inf)
    for row, (s_v, s_u) in zip(values, grid, strict=True):
        a = 1.0 / (s_u + problem.psi[problem.seen])
        total = problem.sums(a)
        mean = (problem.sums((Z * a[:, None]).T) / np.where(total > 0, total, 1.0)).T
        apart, left = Z - mean[area], total / (1.0 + s_v * total)
        inner, edge = (
            (apart[:, :p].T * a) @ apart[:, own] + (mean[:, :p].T * left) @ mean[:, own]
            for own in (slice(0, p), slice(p, None))
        )
        if not np.linalg.cond(inner) < _SINGULAR:
            continue
        square = (
            a @ apart[:, p:] ** 2
            + left @ mean[:, p:] ** 2
            - (edge * np.linalg.solve(inner, edge)).sum(axis=0)
        )
        row[:] = -0.5 * (n * np.log(2 * np.pi) - np.log(a).sum() + np.log1p(s_v * total).sum() + square)
        if reml:
            row += 0.5 * p * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(inner)[1]
    return values


def fit_twofold(problem: TwoFoldProblem, *, method: str = "reml") -> TwoFoldFit:
    """Estimate both variances by (restricted) maximum likelihood and predict all sub-areas."""
    y = problem.y[problem.seen]
    s_v, s_u = _maximise(problem, y[None], method == "reml")[0]
    value, _ = loglik(problem, s_v, s_u, y, reml=False)
    return _predict(problem, float(s_v), float(s_u), y, value)


def _predict(problem: TwoFoldProblem, s_v: float, s_u: float, y: np.ndarray, value: float) -> TwoFoldFit:
    X = problem.X[problem.seen]
    p = X.shape[1]
    a, total, pulled, _, gram = _terms(problem, s_v, s_u, np.column_stack([X, y]))
    c = s_v / (1.0 + s_v * total)
    cov = np.linalg.inv(gram[:p, :p])
    beta = cov @ gram[:p, p]
    contrast = np.append(-beta, 1.0)
    effect = c * (contrast @ pulled)
    fitted = problem.X @ beta
    eblup = fitted + effect[problem.area]
    own = s_u * a
    area = problem.area[problem.seen]
    eblup[problem.seen] += own * (y - eblup[problem.seen])
    gamma = np.zeros(len(eblup))
    gamma[problem.seen] = own + (1.0 - own) * c[area] * a
    return TwoFoldFit(s_v, s_u, beta, cov, effect, eblup, gamma, value)


def mse_twofold(problem: TwoFoldProblem, fit: TwoFoldFit, *, method: str = "reml") -> TwoFoldMse:
    """Second-order MSE g1 + g2 + 2 g3 (less the bias of g1 under ML), jointly within areas."""
    s_v, s_u = fit.sigma2_v, fit.sigma2_u
    members = np.split(np.argsort(problem.area, kind="stable"), np.cumsum(np.bincount(problem.area))[:-1])
    pieces, information, lost = [], np.zeros((2, 2)), np.zeros(2)
    p = problem.X.shape[1]
    crossed = [np.zeros((p, p)), np.zeros((p, p))]
    mixed = [np.zeros((p, p)) for _ in range(3)]
    for rows in members:
        inside = np.flatnonzero(problem.seen[rows])
        n = len(rows)
        G = s_v + s_u * np.eye(n)
        V = G[np.ix_(inside, inside)] + np.diag(problem.psi[rows][inside])
        inverse = np.linalg.inv(V)
        firsts = (np.ones((n, n)), np.eye(n))
        weights = G[:, inside] @ inverse
        bends = [(F[:, inside] - weights @ F[np.ix_(inside, inside)]) @ inverse for F in firsts]
        turned = [inverse @ F[np.ix_(inside, inside)] for F in firsts]
        X = problem.X[rows][inside]
        for i in range(2):
            crossed[i] += X.T @ turned[i] @ inverse @ X
            for j in range(2):
                information[i, j] += 0.5 * np.sum(turned[i] * turned[j].T)
        for place, (i, j) in enumerate(((0, 0), (0, 1), (1, 1))):
            mixed[place] += X.T @ turned[i] @ turned[j] @ inverse @ X
        g1 = G - weights @ G[inside]
        D = problem.psi[rows][inside]
        tiny = D / (s_v + s_u + D) < 1e-3  # from the other end: Psi - Psi V^-1 Psi
        g1[inside[tiny], inside[tiny]] = (D - D * D * np.diag(inverse))[tiny]
        pieces.append((rows, g1, weights, V, bends, firsts, inside))
    Q = fit.beta_cov
    if method == "reml":  # tr(P F P F) = tr(V^-1 F V^-1 F) - 2 tr(Q X'V^-1FV^-1FV^-1X) + tr(Q M Q M)
        for place, (i, j) in enumerate(((0, 0), (0, 1), (1, 1))):
            extra = -np.sum(Q * mixed[place]) - np.sum(Q * mixed[place].T)
            extra += np.sum((Q @ crossed[i]) * (Q @ crossed[j]).T)
            information[i, j] += 0.5 * extra
            information[j, i] = information[i, j]
    cov = np.linalg.inv(information)
    if method == "ml":
        lost = np.array([np.sum(Q * matrix) for matrix in crossed])
    drift = -0.5 * cov @ lost
    blocks, mse, loose = [], np.empty(len(problem.area)), np.empty((len(problem.area), p))
    for rows, g1, weights, V, bends, firsts, inside in pieces:
        g3 = sum(cov[i, j] * bends[i] @ V @ bends[j].T for i in range(2) for j in range(2))
        block = g1 + 2.0 * g3
        if method == "ml":
            for i, F in enumerate(firsts):
                across = weights @ F[inside]
                block -= drift[i] * (F - across - across.T + weights @ F[np.ix_(inside, inside)] @ weights.T)
        loose[rows] = problem.X[rows] - weights @ problem.X[rows][inside]
        blocks.append(block)
        mse[rows] = np.diag(block) + np.einsum("ij,jk,ik->i", loose[rows], Q, loose[rows])
    return TwoFoldMse(mse, blocks, loose, information)


def bootstrap_twofold(
    problem: TwoFoldProblem,
    fit: TwoFoldFit,
    *,
    areas: list[str],
    subareas: list[str],
    replicates: int | None,
    seed: int,
    method: str = "reml",
) -> tuple[Tally, np.ndarray]:
    """Parametric bootstrap of every sub-area's prediction P.

    Given the direct estimates the truth θ of a replicate is normal: E (P - θ)² = Var θ + E (P - E θ)², of
    which only the last term is simulated.

    Parameters
    ----------
    areas, subareas : list of str
        Names of the random streams.
    replicates : int or None
        None takes as many as bring the error of every sub-area to `GOAL`.

    Returns
    -------
    tally : Tally
        Mean squared errors.
    errors : ndarray, shape (B, M)
        Prediction minus truth in each replicate, or in the first 200 where their number is not given.
    """
    keys = [
        stream_keys(seed, what, names)
        for what, names in (
            ("area effect", areas),
            ("sub-area effect", subareas),
            ("sampling error", subareas),
        )
    ]
    seen, fitted = problem.seen, problem.X @ fit.beta
    own = np.zeros(len(fitted))
    own[seen] = fit.sigma2_u / (fit.sigma2_u + problem.psi[seen])
    a = 1.0 / (fit.sigma2_u + problem.psi[seen])
    shared = fit.sigma2_v / (1.0 + fit.sigma2_v * problem.sums(a))  # variance of an area's effect, given all
    tally = Tally((1.0 - own) * fit.sigma2_u + (1.0 - own) ** 2 * shared[problem.area], replicates, SLOW)
    kept = []
    for start, stop in tally.blocks(STAGES[0]):
        v, u, e = (normals(own_keys, start, stop - start) for own_keys in keys)
        truth = fitted + np.sqrt(fit.sigma2_v) * v[:, problem.area] + np.sqrt(fit.sigma2_u) * u
        y = truth[:, seen] + e[:, seen] * np.sqrt(problem.psi[seen])
        predicted = np.stack(
            [
                _predict(problem, float(s_v), float(s_u), outcome, 0.0).eblup
                for outcome, (s_v, s_u) in zip(y, _maximise(problem, y, method == "reml"), strict=True)
            ]
        )
        best = fitted + (shared * problem.sums(a * (y - fitted[seen])))[:, problem.area]
        best[:, seen] += own[seen] * (y - best[:, seen])
        tally.add((predicted - best) ** 2)
        if replicates is not None or start == 0:
            kept.append(predicted - truth)
    return tally, np.concatenate(kept)
