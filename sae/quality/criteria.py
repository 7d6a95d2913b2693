"""Which model to choose: information criteria, the conditional AIC, R² free of the sampling error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from sae.calls import answered
from sae.errors import SaeInputError, SaeSpecError, name_some

__all__ = [
    "ConditionalAIC",
    "Criteria",
    "conditional_aic",
    "fay_herriot_r2",
    "information_criteria",
]

VarianceEstimator = Literal["reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml"]
_METHODS = get_args(VarianceEstimator)


@dataclass(frozen=True)
class Criteria:
    """Information criteria of one fit; of several fits to the same direct estimates the smallest is best."""

    loglik: float
    aic: float
    bic: float
    kic: float
    parameters: int
    n_areas: int


@dataclass(frozen=True)
class ConditionalAIC:
    """Conditional AIC: how well the predictions themselves would fit new direct estimates of the same areas.

    Attributes
    ----------
    caic : float
        -2 loglik + 2 penalty.
    loglik : float
        log f(y | θ) at the predictions θ.
    penalty : float
        Σ ∂θ/∂y with the model variance estimated from the same y (Han 2013).
    effective_parameters : float
        The same with the model variance held (Vaida and Blanchard 2005): between p and the number of areas.
    """

    caic: float
    loglik: float
    penalty: float
    effective_parameters: float


@answered
def information_criteria(loglik: float, parameters: int, n_areas: int) -> Criteria:
    """AIC, BIC and KIC of a fit.

    Parameters
    ----------
    loglik : float
        Full log-likelihood, not the restricted one.
    parameters : int
        Coefficients and variance parameters.
    n_areas : int
        Areas with a sample.

    References
    ----------
    Akaike (1974); Schwarz (1978); Cavanaugh (1999), Stat. Probab. Lett. 42, 333–343 (KIC).

    Examples
    --------
    >>> fit = sae.quality.information_criteria(-10.0, 3, 20)
    >>> fit.aic, fit.kic
    (26.0, 29.0)
    """
    base = -2.0 * loglik
    return Criteria(
        loglik,
        base + 2 * parameters,
        base + float(np.log(n_areas)) * parameters,
        base + 3 * parameters,
        parameters,
        n_areas,
    )


@answered
def fay_herriot_r2(y: np.ndarray, X: np.ndarray, vardir: np.ndarray) -> float:
    """Share of the variance of the true area values that the covariates explain.

    Both mean squares of the ordinary regression are freed of the sampling error that they contain. Where that
    is more than the mean square itself, the correction h(x, b) = 2x / (1 + exp(2b/x)) keeps it positive; it
    equals x - b to first order.

    Parameters
    ----------
    y, vardir : ndarray of float, shape (n_areas,)
        Direct estimates and their variances, on the scale of the model; areas with a sample only.
    X : ndarray of float, shape (n_areas, p)
        With the intercept.

    Returns
    -------
    float
        At most 1; below 0 where the covariates explain less than their number.

    References
    ----------
    Lahiri and Suntornchost (2015), Sankhya B 77, 312–320.

    Examples
    --------
    >>> y, X = np.array([1.0, 2.0, 3.0, 6.0]), np.column_stack([np.ones(4), np.arange(4)])
    >>> [round(sae.quality.fay_herriot_r2(y, X, np.full(4, vardir)), 3) for vardir in (1e-9, 0.5)]
    [0.871, 0.954]
    """
    y, X, vardir = _checked(y, X, vardir)
    n, p = X.shape
    Q, _ = np.linalg.qr(X)
    free = vardir * (1.0 - (Q**2).sum(axis=1))
    residual = _mean_square(float(np.sum((y - Q @ (Q.T @ y)) ** 2)) / (n - p), float(free.sum()) / (n - p))
    whole = _mean_square(float(np.var(y, ddof=1)), float(vardir.mean()))
    return 1.0 - residual / whole


def _mean_square(x: float, b: float) -> float:
    return 2.0 * x / (1.0 + float(np.exp(min(2.0 * b / x, 700.0)))) if x > 0 else 0.0


@answered
def conditional_aic(
    y: np.ndarray, X: np.ndarray, vardir: np.ndarray, sigma2_u: float, *, method: VarianceEstimator = "reml"
) -> ConditionalAIC:
    """Conditional AIC of a Fay–Herriot fit.

    The penalty Σ ∂θ/∂y counts how far each prediction follows its own direct estimate, through the estimation
    of the model variance too: dσ²/dy = -(∂s/∂y) / (∂s/∂σ²) for the score s that `method` sets to 0, and 0
    where the variance is estimated 0.

    Parameters
    ----------
    y, vardir : ndarray of float, shape (n_areas,)
        On the scale of the model; areas with a sample only.
    X : ndarray of float, shape (n_areas, p)
    sigma2_u : float
        Estimated by `method`.
    method : {"reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml"}

    Raises
    ------
    SaeSpecError
        If the method is unknown.
    SaeInputError
        If figures are missing or there are no more areas than coefficients.

    References
    ----------
    Han (2013), Statistical Methodology 11, 53–67; Vaida and Blanchard (2005), Biometrika 92, 351–370.

    Examples
    --------
    >>> y = np.array([1.0, 3.0, 2.0, 6.0, 4.0])
    >>> fit = sae.quality.conditional_aic(y, np.ones((5, 1)), np.full(5, 0.5), y.var(ddof=1) - 0.5)
    >>> round(fit.effective_parameters, 3), round(fit.penalty, 3)
    (4.459, 4.73)
    """
    if method not in _METHODS:
        raise SaeSpecError(f"method={method!r} is not known.", hint=f"Use one of {name_some(_METHODS, 8)}.")
    y, X, vardir = _checked(y, X, vardir)
    total = sigma2_u + vardir
    inverse = 1.0 / total
    weighted = X * inverse[:, None]
    Q = np.linalg.inv(X.T @ weighted)

    def P(v: np.ndarray) -> np.ndarray:
        return inverse * v - weighted @ (Q @ (weighted.T @ v))

    first = P(y)
    second = P(first)
    prediction = y - vardir * first
    held = len(y) - float(vardir @ (inverse - np.einsum("ij,jk,ik->i", weighted, Q, weighted)))
    penalty = held
    if sigma2_u > 0:
        # θ = y - D P y, so that ∂θ/∂σ² = D P² y
        penalty += float((vardir * second) @ _variance_slope(y, X, vardir, sigma2_u, method, P, Q, weighted))
    loglik = -0.5 * float(np.sum(np.log(2 * np.pi * vardir) + (y - prediction) ** 2 / vardir))
    return ConditionalAIC(-2.0 * loglik + 2.0 * penalty, loglik, penalty, held)


def _variance_slope(
    y: np.ndarray,
    X: np.ndarray,
    vardir: np.ndarray,
    sigma2_u: float,
    method: VarianceEstimator,
    P: Callable[[np.ndarray], np.ndarray],
    Q: np.ndarray,
    weighted: np.ndarray,
) -> np.ndarray:
    """dσ²/dy of an estimator inside the range, shape (n_areas,)."""
    n, p = X.shape
    first = P(y)
    second = P(first)
    if method == "pr":
        base, _ = np.linalg.qr(X)
        return 2.0 * (y - base @ (base.T @ y)) / (n - p)
    if method == "fh":  # y'Py = n - p
        return 2.0 * first / float(first @ first)
    inverse = 1.0 / (sigma2_u + vardir)
    traced = float(inverse @ inverse)
    if method.endswith("reml"):  # tr P²
        cross = Q @ (weighted.T @ (weighted * inverse[:, None]))
        middle = Q @ (weighted.T @ weighted)
        traced += float(-2.0 * np.trace(cross) + np.sum(middle * middle.T))
    bend = 0.5 * traced - float(first @ second)  # derivative of ½ (y'P²y - tr P)
    if method.startswith("ll"):
        bend -= sigma2_u**-2
    elif method.startswith("yl"):
        bend += _yoshimori_bend(vardir, sigma2_u)
    return -second / bend


def _yoshimori_bend(vardir: np.ndarray, A: float) -> float:
    """Second derivative of log atan(Σ γ) / m."""
    total = A + vardir
    S, d1, d2 = np.sum(A / total), np.sum(vardir / total**2), -2.0 * np.sum(vardir / total**3)
    angle, wide = np.arctan(S), 1.0 + S * S
    slope = d1 / (wide * angle)
    return float((d2 / (wide * angle) - 2.0 * S * d1**2 / (wide**2 * angle) - slope**2) / len(vardir))


def _checked(y: np.ndarray, X: np.ndarray, vardir: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, X, vardir = (np.asarray(values, dtype=float) for values in (y, X, vardir))
    if len(y) <= X.shape[1]:
        raise SaeInputError(f"{len(y)} areas are too few for {X.shape[1]} coefficients.")
    missing = ~(np.isfinite(y) & np.isfinite(X).all(axis=1) & np.isfinite(vardir) & (vardir > 0))
    if missing.any():
        raise SaeInputError(
            f"{int(missing.sum())} of {len(y)} areas lack a figure or have a variance of 0.",
            hint="Leave out the areas without a sample.",
        )
    return y, X, vardir
