"""Predictors of area means under the nested error model and their analytical mean squared error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.nested_error.fit import NestedErrorFits
from sae.numerics.nested_error.profile import AreaSums

__all__ = [
    "AreaMeans",
    "Predictions",
    "bootstrap_targets",
    "gamma_error",
    "ml_bias",
    "predict",
    "variance_information",
]


@dataclass(frozen=True, eq=False)
class AreaMeans:
    """What is to be predicted: the mean of every area.

    Attributes
    ----------
    x_mean : ndarray, shape (D, p)
        Population means of the covariates.
    units : ndarray of float, shape (D,)
        Population sizes N_d; inf where the target is the mean of an infinite population, x̄'β + u.
    """

    x_mean: np.ndarray
    units: np.ndarray

    def sampled(self, n: np.ndarray) -> np.ndarray:
        """Return the sampling fractions f_d = n_d / N_d, shape (D,)."""
        return n / self.units


@dataclass(frozen=True)
class Predictions:
    """Predicted area means of one fit with their error.

    Attributes
    ----------
    estimate : ndarray, shape (D,)
        f ȳ + (1 - f) (x̄_r'β + u), with x̄_r the mean of the units outside the sample; X̄'β + u where N is
        infinite.
    gamma : ndarray, shape (D,)
        σu² / (σu² + σe² / n), where n is Σ k^-2 of the units.
    effect, fitted : ndarray, shape (D,)
        Predicted area effects u; x̄'β at the sample means, 0 without a sample.
    mse, g1, g2, g3 : ndarray, shape (D,)
        Squared units; `g1` holds what is not known of the units outside the sample too.
    corrected : ndarray of bool, shape (D,)
        Where the bias term of ML was taken off: not where the MSE would be negative.
    factor : ndarray, shape (p, D)
        What the errors share through the coefficients: factor' factor is their joint g2.
    """

    estimate: np.ndarray
    gamma: np.ndarray
    effect: np.ndarray
    fitted: np.ndarray
    mse: np.ndarray
    g1: np.ndarray
    g2: np.ndarray
    g3: np.ndarray
    corrected: np.ndarray
    factor: np.ndarray


def bootstrap_targets(
    ratio: np.ndarray,
    beta: np.ndarray,
    sums: AreaSums,
    y_mean: np.ndarray,
    means: AreaMeans,
) -> np.ndarray:
    """Return the predicted area means of R outcomes, shape (R, D), at λ = `ratio` and β, shape (R, p)."""
    n = sums.precision
    shrink = ratio[:, None] * n / (1.0 + n * ratio[:, None])
    f = means.sampled(sums.n)
    return beta @ means.x_mean.T + (f + (1.0 - f) * shrink) * (y_mean - beta @ sums.x_mean.T)


def variance_information(
    units: np.ndarray, precision: np.ndarray, sigma2_u: float, sigma2_e: float
) -> np.ndarray:
    """Return the asymptotic covariance of (σu², σe²), shape (2, 2): inverse Fisher information.

    Rao and Molina (2015), section 7.2.2: I_uu = ½ Σ n² / v², I_ue = ½ Σ n / v² and
    I_ee = ½ Σ [(n - 1) / σe⁴ + 1 / v²] with v = σe² + n σu². Of each area `units` is n in n - 1, `precision`
    Σ k^-2 everywhere else: n where errors spread alike.
    """
    seen = units > 0
    n, units = precision[seen].astype(float), units[seen].astype(float)
    v2 = (sigma2_e + n * sigma2_u) ** 2
    uu, ue = 0.5 * (n * n / v2).sum(), 0.5 * (n / v2).sum()
    ee = 0.5 * ((units - 1.0) / sigma2_e**2 + 1.0 / v2).sum()
    return np.array([[ee, -ue], [-ue, uu]]) / (uu * ee - ue * ue)


def predict(
    fits: NestedErrorFits, sums: AreaSums, means: AreaMeans, method: str = "reml", outcome: int = 0
) -> Predictions:
    """Predict the mean of every area, those without a sample included.

    MSE = (1 - f)² (g1 + g2 + 2 g3) + (1 - f) σe² / N, less the bias of g1 for ML; g1 = (1 - γ) σu²,
    g2 = a'Qa with a = x̄_r - γ x̄, g3 = n^-2 (σu² + σe²/n)^-3 [σe⁴ Vuu + σu⁴ Vee - 2 σe² σu² Vue].

    Parameters
    ----------
    fits : NestedErrorFits
    sums : AreaSums
        Of all areas, n = 0 where there is no sample.
    means : AreaMeans
        Of the same areas.
    method : {"reml", "ml"}
        How the variances were estimated.

    References
    ----------
    Prasad and Rao (1990), JASA 85, 163–171; Datta and Lahiri (2000), Statistica Sinica 10, 613–627;
    Rao and Molina (2015), sections 7.1.1 and 7.2.2.
    """
    u2, e2 = float(fits.sigma2_u[outcome]), float(fits.sigma2_e[outcome])
    beta, root = fits.coefficients[outcome], fits.root[outcome]
    n, f = sums.precision, means.sampled(sums.n)
    gamma = n * u2 / (e2 + n * u2)
    fitted = sums.x_mean @ beta
    gap = np.where(n > 0, sums.y_mean[outcome] - fitted, 0.0)
    estimate = means.x_mean @ beta + (f + (1.0 - f) * gamma) * gap
    factor = root.T @ (means.x_mean - (f + (1.0 - f) * gamma)[:, None] * sums.x_mean).T
    g2 = (factor * factor).sum(axis=0)
    left = (1.0 - f) ** 2
    spread = variance_information(sums.n, sums.precision, u2, e2)
    v = e2 + n * u2  # n^-2 (σu² + σe²/n)^-3 = n / v³
    g3 = left * n / v**3 * gamma_error(spread, u2, e2)
    outside = (1.0 - f) * e2 / means.units
    g1 = left * u2 * e2 / v + outside
    bias = np.zeros(len(n))
    if method == "ml":
        shift = ml_bias(sums, root, u2, e2, spread)
        bias = left * ((e2 / v) ** 2 * shift[0] + u2 * u2 * n / v**2 * shift[1])
        bias += (1.0 - f) / means.units * shift[1]
    mse = g1 + g2 + 2.0 * g3 - bias
    corrected = mse > 0.0
    mse = np.where(corrected, mse, g1 + g2 + 2.0 * g3)
    return Predictions(estimate, gamma, gamma * gap, fitted, mse, g1, g2, g3, corrected | (f >= 1.0), factor)


def gamma_error(spread: np.ndarray, u2: float, e2: float) -> float:
    """Return σe⁴ Vuu + σu⁴ Vee - 2 σe² σu² Vue: the variance of σu² σe² (d log σu² - d log σe²)."""
    return float(e2**2 * spread[0, 0] + u2**2 * spread[1, 1] - 2.0 * e2 * u2 * spread[0, 1])


def ml_bias(sums: AreaSums, root: np.ndarray, u2: float, e2: float, spread: np.ndarray) -> np.ndarray:
    """Return the bias of the ML variances, (σu², σe²): -½ I^-1 tr[Q X'V^-1 (∂V) V^-1 X].

    Parameters
    ----------
    sums : AreaSums
    root : ndarray, shape (p, p)
        Root of the covariance Q of the coefficients.
    u2, e2 : float
    spread : ndarray, shape (2, 2)
        I^-1, of `variance_information`.
    """
    n = sums.precision
    v2 = (e2 + n * u2) ** 2
    leverage = ((sums.x_mean @ root) ** 2).sum(axis=1)
    within = float((root * (sums.xx.sum(axis=0) @ root)).sum())
    traces = np.array([(n * n / v2 * leverage).sum(), within / e2**2 + (n / v2 * leverage).sum()])
    return -0.5 * spread @ traces
