"""Predicted means of sub-areas under the two-fold nested error model, their MSE, and its bootstrap.

References
----------
Stukel and Rao (1999), Journal of Statistical Planning and Inference 78, 131-147; Rao and Molina (2015),
sections 5.3 and 5.5; González-Manteiga et al. (2008), J. Stat. Comput. Simul. 78, 443-462 (the bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from sae.numerics.inference.joint_error import JointError, block_diagonal
from sae.numerics.inference.tally import SLOW, Tally
from sae.numerics.nested_error.bootstrap import within_products
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.profile import AreaSums
from sae.numerics.nested_error.two_fold import TwoFoldFits, TwoFoldProfile, TwoFoldSums, fit_two_fold
from sae.numerics.random.streams import normals, stream_keys

__all__ = ["TwoFoldPredictions", "bootstrap_two_fold", "predict_two_fold", "two_fold_information"]

_ELEMENTS = 4_000_000  # numbers held at a time: replicates are drawn in blocks


@dataclass(frozen=True, eq=False)
class TwoFoldPredictions:
    """Predicted means of M sub-areas of one fit.

    Attributes
    ----------
    estimate, gamma : ndarray, shape (M,)
        f ȳ + (1 - f)(x̄_r'β + v + u), and the weight of the sub-area's own mean in v + u.
    area_effect : ndarray, shape (D,)
    effect : ndarray, shape (M,)
        v + u.
    mse, g1 : ndarray, shape (M,)
        Squared units; `g1` holds what is not known of the units outside the sample too.
    corrected : ndarray of bool, shape (M,)
        Where the bias term of ML was taken off: not in areas where an MSE would be negative.
    joint : JointError
    """

    estimate: np.ndarray
    gamma: np.ndarray
    area_effect: np.ndarray
    effect: np.ndarray
    mse: np.ndarray
    g1: np.ndarray
    corrected: np.ndarray
    joint: JointError


def _weights(
    two: TwoFoldSums, v: np.ndarray, u: np.ndarray, e: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return b, the weight of a sub-area's residual less v, h = 1 / (σu² + σe²/n), and Var(v | data).

    Variances are of shape (..., 1).
    """
    n = two.sums.precision
    h = n / (e + n * u)
    return u * h, h, v / (1.0 + v * two.add(h))


def _effects(two: TwoFoldSums, variances: tuple[np.ndarray, ...], gap: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return v of areas and v + u of sub-areas from residuals ȳ - x̄'β, shape (..., M)."""
    b, h, spread = _weights(two, *variances)
    area_effect = spread * two.add(h * gap)
    shared = area_effect[..., two.area]
    return area_effect, shared + np.where(two.sums.n > 0, b * (gap - shared), 0.0)


def two_fold_information(two: TwoFoldSums, v: float, u: float, e: float) -> np.ndarray:
    """Return the Fisher information of (σv², σu², σe²), shape (3, 3): ½ tr[V^-1 (∂V) V^-1 (∂V)].

    Of the means of the sub-areas, whose covariance is σv² 11' + diag(σu² + σe²/n), and of what is within
    them.
    """
    n = two.sums.precision
    seen = n > 0
    h, inverse = np.zeros(len(n)), np.zeros(len(n))
    h[seen], inverse[seen] = n[seen] / (e + n[seen] * u), 1.0 / n[seen]
    spread = v / (1.0 + v * two.add(h))
    total = two.add(h)
    left = 1.0 / (1.0 + v * total)  # V^-1 = diag(h) - spread h h', V^-1 1 = left h
    out = np.empty((3, 3))
    out[0, 0] = ((total * left) ** 2).sum()
    for place, one in ((1, np.ones(len(n))), (2, inverse)):
        out[0, place] = out[place, 0] = (left**2 * two.add(h * h * one)).sum()
        for other, second in ((1, np.ones(len(n))), (2, inverse)):
            crossed = two.add(h * h * one) * two.add(h * h * second)
            squares = (h**2 * one * second).sum() - 2.0 * (spread * two.add(h**3 * one * second)).sum()
            out[place, other] = squares + (spread**2 * crossed).sum()
    out[2, 2] += (two.sums.n[seen] - 1.0).sum() / e**2
    return 0.5 * out


def predict_two_fold(
    fits: TwoFoldFits, two: TwoFoldSums, means: AreaMeans, method: str = "reml"
) -> TwoFoldPredictions:
    """Predict the mean of every sub-area, those without a sample included.

    The MSE matrix of the sub-areas of an area is g1 + g2 + 2 g3, less the bias of g1 for ML: with W = G V^-1
    the weights of the means of its sub-areas, G = σv² 11' + σu² I and T = 1 - f,

        g1 = T (G - W G') T + diag((1 - f) σe² / N),  g2 = A Q A',  A = X̄ - f x̄ - T W x̄,
        g3 = T Σ_ab I^-1_ab (∂_a W) V (∂_b W)' T.

    Parameters
    ----------
    fits : TwoFoldFits
        Of one outcome.
    two : TwoFoldSums
    means : AreaMeans
        Of the sub-areas.
    method : {"reml", "ml"}
        How the variances were estimated.
    """
    v, u, e = float(fits.sigma2_v[0]), float(fits.sigma2_u[0]), float(fits.sigma2_e[0])
    beta, root, sums = fits.coefficients[0], fits.root[0], two.sums
    f = means.sampled(sums.n)
    gap = np.where(sums.n > 0, sums.y_mean[0] - sums.x_mean @ beta, 0.0)
    variances = tuple(np.array([value]) for value in (v, u, e))
    area_effect, effect = _effects(two, variances, gap)
    b, h, spread = _weights(two, *variances)
    gamma = b + (1.0 - b) * spread[two.area] * h
    covariance = np.linalg.inv(two_fold_information(two, v, u, e))
    drift = _drift(two, fits, covariance) if method == "ml" else np.zeros(3)
    outside = (1.0 - f) * e / means.units
    blocks, order = [], np.argsort(two.area, kind="stable")
    loose = np.empty_like(means.x_mean)
    mse, g1 = np.empty(len(f)), np.empty(len(f))
    corrected = np.ones(len(f), dtype=bool)
    for rows in np.split(order, np.cumsum(np.bincount(two.area, minlength=two.areas))[:-1]):
        seen = rows[sums.n[rows] > 0]
        inside, T = sums.n[rows] > 0, 1.0 - f[rows]
        firsts = [np.ones((len(rows), len(rows))), np.eye(len(rows))]
        G = v * firsts[0] + u * firsts[1]
        own = np.diag(1.0 / sums.precision[seen])
        V = G[np.ix_(inside, inside)] + e * own
        inverse = np.linalg.inv(V) if len(seen) else V
        W = G[:, inside] @ inverse
        bends = [(F[:, inside] - W @ F[np.ix_(inside, inside)]) @ inverse for F in firsts]
        bends.append(-W @ own @ inverse)
        g3 = sum(covariance[i, j] * bends[i] @ V @ bends[j].T for i in range(3) for j in range(3))
        first = (G - W @ G[inside]) * np.outer(T, T) + np.diag(outside[rows])
        block = first + 2.0 * g3 * np.outer(T, T)
        keep = np.eye(len(rows))
        keep[:, inside] -= W
        slope = drift[0] * keep @ firsts[0] @ keep.T + drift[1] * keep @ keep.T + drift[2] * W @ own @ W.T
        bias = slope * np.outer(T, T) + np.diag(drift[2] * (1.0 - f[rows]) / means.units[rows])
        loose[rows] = means.x_mean[rows] - f[rows, None] * sums.x_mean[rows]
        loose[rows] -= T[:, None] * (W @ sums.x_mean[seen])
        shared = ((loose[rows] @ root) ** 2).sum(axis=1)
        if (np.linalg.eigvalsh(block - bias).min() > -1e-12 * np.diag(block).max()) or method != "ml":
            block = block - bias
        else:
            corrected[rows] = False
        blocks.append(block)
        g1[rows], mse[rows] = np.diag(first), np.diag(block) + shared
    roots = [_root(block).T for block in blocks]
    within = block_diagonal(roots)[np.argsort(order)]
    joint = sparse.csr_array(sparse.hstack([within, sparse.csr_array(loose @ root)]))
    return TwoFoldPredictions(
        means.x_mean @ beta + f * gap + (1.0 - f) * effect,
        gamma,
        area_effect,
        effect,
        mse,
        g1,
        corrected,
        JointError.of_root(joint, mse),
    )


def _root(block: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(block)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _drift(two: TwoFoldSums, fits: TwoFoldFits, covariance: np.ndarray) -> np.ndarray:
    """Return the bias of the ML variances, shape (3,): -½ I^-1 tr[Q X'V^-1 (∂V) V^-1 X]."""
    v, u, e = float(fits.sigma2_v[0]), float(fits.sigma2_u[0]), float(fits.sigma2_e[0])
    n, root = two.sums.precision, fits.root[0]
    h = n / (e + n * u)
    spread = v / (1.0 + v * two.add(h))
    x = two.sums.x_mean @ root
    pulled = two.add((h[:, None] * x).T).T
    solved = h[:, None] * (x - (spread[:, None] * pulled)[two.area])
    grouped = two.add(solved.T)
    within = float((root * (two.sums.xx.sum(axis=0) @ root)).sum())
    noise = np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)
    traces = np.array(
        [(grouped**2).sum(), (solved**2).sum(), within / e**2 + (noise[:, None] * solved**2).sum()]
    )
    return -0.5 * covariance @ traces


def bootstrap_two_fold(
    fits: TwoFoldFits,
    two: TwoFoldSums,
    means: AreaMeans,
    *,
    areas: Sequence[object],
    subareas: Sequence[object],
    method: str,
    replicates: int | None,
    seed: int,
) -> Tally:
    """Parametric bootstrap of every sub-area's prediction P, refitting each replicate.

    Given its units the truth θ of a replicate is normal: E (P - θ)² = g1 + E (P - E θ)², of which only the
    last term is simulated. Each replicate costs the same for any number of units.

    Parameters
    ----------
    fits : TwoFoldFits
        The fit to the data (one outcome).
    two : TwoFoldSums
    means : AreaMeans
    areas, subareas : sequence, lengths D and M
        Names of the random streams.
    method : {"reml", "ml"}
    replicates : int or None
        None takes as many as bring the error of every sub-area to `GOAL`.
    seed : int
    """
    v, u, e = (np.sqrt(value[0]) for value in (fits.sigma2_v, fits.sigma2_u, fits.sigma2_e))
    sums, beta, f = two.sums, fits.coefficients[0], means.sampled(two.sums.n)
    seen = sums.n > 0
    sd = np.divide(e, np.sqrt(sums.precision), out=np.zeros(len(f)), where=seen)
    keys = [
        stream_keys(seed, what, names)
        for what, names in (
            ("area effect", areas),
            ("sub-area effect", subareas),
            ("sampling error", subareas),
        )
    ]
    tally = Tally(predict_two_fold(fits, two, means, method).g1, replicates, SLOW)
    for start, stop in tally.blocks(_ELEMENTS // (len(f) * (len(beta) + 4))):
        drawn = [normals(own, start, stop - start) for own in keys]
        effects = v * drawn[0][:, two.area] + u * drawn[1]
        y_mean = np.where(seen, sums.x_mean @ beta + effects + sd * drawn[2], 0.0)
        xy, yy = within_products(sums, beta, e, start, stop - start, seed)
        outcomes = replace(sums, y_mean=y_mean, xy=xy, yy=yy)
        refit = fit_two_fold(TwoFoldProfile.of(replace(two, sums=outcomes)), method)
        predicted, best = (
            _predicted(two, means, f, y_mean, at)
            for at in (
                (refit.sigma2_v, refit.sigma2_u, refit.sigma2_e, refit.coefficients),
                (fits.sigma2_v, fits.sigma2_u, fits.sigma2_e, fits.coefficients),
            )
        )
        tally.add((predicted - best) ** 2)
    return tally


def _predicted(
    two: TwoFoldSums, means: AreaMeans, f: np.ndarray, y_mean: np.ndarray, at: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Return predictions from means of outcomes, (R, M), at variances, (R,), and coefficients, (R, p)."""
    *variances, beta = at
    sums: AreaSums = two.sums
    gap = np.where(sums.n > 0, y_mean - beta @ sums.x_mean.T, 0.0)
    _, effect = _effects(two, tuple(value[:, None] for value in variances), gap)
    return np.asarray(beta @ means.x_mean.T + f * gap + (1.0 - f) * effect)
