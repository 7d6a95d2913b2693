"""The pseudo-EBLUP of area means: the nested error model with survey weights.

With w̃ = w / Σ w within an area, ȳ_w = Σ w̃ y, δ² = Σ w̃² k² and γ_w = σu² / (σu² + σe² δ²) the coefficients
solve the weighted equations

    Σ_d Σ_i w x (y - x'β - γ_w (ȳ_w - x̄_w'β)) = 0

and the predictor is X̄'β + γ_w (ȳ_w - x̄_w'β). With an intercept the predictions, added up with the sums of the
weights, meet the survey regression estimator Ŷ_w + (X - X̂_w)'β.

References
----------
You and Rao (2002), Canadian Journal of Statistics 30, 431-439; Torabi and Rao (2010), Canadian Journal of
Statistics 38, 598-608 (the MSE with the covariance that the former leaves out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from sae.numerics.inference.joint_error import JointError
from sae.numerics.nested_error.fit import NestedErrorFits
from sae.numerics.nested_error.mse import gamma_error, ml_bias, variance_information
from sae.numerics.nested_error.profile import AreaSums, weighted_means

__all__ = ["PseudoPredictions", "WeightedUnits", "predict_pseudo"]


@dataclass(frozen=True, eq=False)
class WeightedUnits:
    """Units with their survey weights.

    Attributes
    ----------
    y, weight, k : ndarray, shape (n,)
        Outcomes, weights, and known factors of the errors' standard deviations.
    X : ndarray, shape (n, p)
    area : ndarray of int, shape (n,)
    """

    y: np.ndarray
    weight: np.ndarray
    k: np.ndarray
    X: np.ndarray
    area: np.ndarray


@dataclass(frozen=True, eq=False)
class PseudoPredictions:
    """Predicted area means with survey weights, and their error.

    Attributes
    ----------
    estimate, gamma, mse : ndarray, shape (D,)
    g1, g2, g3, cross : ndarray, shape (D,)
        Parts of the MSE: (1 - γ_w) σu²; of the coefficients; of the variances, counted twice; and twice the
        covariance of the coefficients with the rest, 0 where weights are equal.
    corrected : ndarray of bool, shape (D,)
        Where the bias term of ML was taken off: not where the MSE would be negative.
    coefficients : ndarray, shape (p,)
    covariance : ndarray, shape (p, p)
    fitted, residual, residual_variance : ndarray, shape (D,)
        x̄_w'β, ȳ_w - x̄_w'β and the variance of the latter; 0 without a sample.
    total : ndarray, shape (D,)
        σu² + σe² δ²; 1 without a sample.
    joint : JointError
    """

    estimate: np.ndarray
    gamma: np.ndarray
    mse: np.ndarray
    g1: np.ndarray
    g2: np.ndarray
    g3: np.ndarray
    cross: np.ndarray
    corrected: np.ndarray
    coefficients: np.ndarray
    covariance: np.ndarray
    fitted: np.ndarray
    residual: np.ndarray
    residual_variance: np.ndarray
    total: np.ndarray
    joint: JointError


def predict_pseudo(
    fits: NestedErrorFits, sums: AreaSums, units: WeightedUnits, x_mean: np.ndarray, method: str = "reml"
) -> PseudoPredictions:
    """Predict the mean X̄'β + u of every area, those without a sample included.

    MSE = g1 + g2 + cross + 2 g3, less the bias of g1 for ML. With L = Σ z (y - x'β) the error of the
    coefficients times A = Σ z x', z = w (x - γ_w x̄_w), the variance of L is S = Σ_d σu² z_d z_d' +
    Σ σe² k² z z', its covariance with γ_w (ȳ_w - x̄_w'β) - u is q_d, and with a = X̄ - γ_w x̄_w

        g2 = a'A^-1 S A^-T a,    cross = 2 a'A^-1 q_d.

    Parameters
    ----------
    fits : NestedErrorFits
        Of one outcome: its variances are taken.
    sums : AreaSums
        Of the same units, without their weights.
    units : WeightedUnits
    x_mean : ndarray, shape (D, p)
        Population means.
    method : {"reml", "ml"}
        How the variances were estimated.
    """
    u2, e2, areas = float(fits.sigma2_u[0]), float(fits.sigma2_e[0]), len(sums.n)
    area, w, start = units.area, units.weight, fits.coefficients[0]
    root = fits.root[0] / np.sqrt(e2)  # in which the design is nearly orthonormal
    X, rest = units.X @ root, units.y - units.X @ start
    total_w, means = weighted_means(np.column_stack([X, rest]), area, areas, w)
    x, gap = means[:, :-1], means[:, -1]
    share = w / total_w[area]
    delta2 = np.bincount(area, (share * units.k) ** 2, areas)
    total = np.where(sums.n > 0, u2 + e2 * delta2, 1.0)
    gamma = np.where(sums.n > 0, u2 / total, 0.0)
    z = w[:, None] * (X - gamma[area, None] * x[area])
    apart = X - x[area]
    A = apart.T @ (w[:, None] * apart) + x.T @ ((total_w * (1.0 - gamma))[:, None] * x)
    inverse = np.linalg.inv(A)
    move = inverse @ (apart.T @ (w * (rest - gap[area])) + x.T @ (total_w * (1.0 - gamma) * gap))
    z_sum = (total_w * (1.0 - gamma))[:, None] * x
    e_z = np.column_stack([np.bincount(area, share * units.k**2 * column, areas) for column in z.T])
    S = u2 * z_sum.T @ z_sum + e2 * (z * units.k[:, None] ** 2).T @ z
    q = gamma[:, None] * e2 * e_z - (1.0 - gamma)[:, None] * u2 * z_sum
    pull = (x_mean @ root - gamma[:, None] * x) @ inverse
    g1 = u2 * (1.0 - gamma)
    g2, cross = ((pull @ S) * pull).sum(axis=1), 2.0 * (pull * q).sum(axis=1)
    spread = variance_information(sums.n, sums.precision, u2, e2)
    g3 = delta2**2 / total**3 * gamma_error(spread, u2, e2)
    bias = np.zeros(areas)
    if method == "ml":
        slopes = np.array([(1.0 - gamma) ** 2, gamma**2 * delta2])
        bias = ml_bias(sums, fits.root[0], u2, e2, spread) @ slopes
    mse = g1 + g2 + cross + 2.0 * g3 - bias
    corrected = mse > 0.0
    bias = np.where(corrected, bias, 0.0)
    lift = x @ inverse
    own = u2 * z_sum + e2 * e_z  # covariance of ȳ_w with L
    half = root @ inverse
    return PseudoPredictions(
        x_mean @ (start + root @ move) + gamma * (gap - x @ move),
        gamma,
        g1 + g2 + cross + 2.0 * g3 - bias,
        g1,
        g2,
        g3,
        cross,
        corrected,
        start + root @ move,
        half @ S @ half.T,
        np.where(sums.n > 0, means[:, :-1] @ move + weighted_means(units.X, area, areas, w)[1] @ start, 0.0),
        gap - x @ move,
        total + ((lift @ S) * lift).sum(axis=1) - 2.0 * (lift * own).sum(axis=1),
        total,
        _joint(np.maximum(g1 + 2.0 * g3 - bias, 0.0), pull, q, S),
    )


def _joint(alone: np.ndarray, pull: np.ndarray, q: np.ndarray, S: np.ndarray) -> JointError:
    """Joint error with covariance diag(alone) + B S B' + q B' + B q', B = `pull`.

    That is diag(alone) - q S^-1 q' and a square; the former has the root G (I - P c P') with G² = alone.
    """
    lower = np.linalg.cholesky(S)
    tied = np.linalg.solve(lower, q.T).T
    scale = np.sqrt(alone)
    left, values, _ = np.linalg.svd(tied / np.where(scale > 0.0, scale, 1.0)[:, None], full_matrices=False)
    cut = 1.0 - np.sqrt(np.maximum(1.0 - values**2, 0.0))
    return JointError(
        scale,
        sparse.csr_array(pull @ lower + tied),
        sparse.csr_array(-scale[:, None] * left * cut),
        sparse.csr_array(left),
    )
