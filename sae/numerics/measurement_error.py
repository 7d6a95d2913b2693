"""Fay-Herriot with covariates measured with error, after Ybarra and Lohr.

    y_d = x_d'beta + u_d + e_d,   known: X_d = x_d + eta_d,   Var(eta_d) = C_d,   e_d and eta_d independent

    gamma_d = (A + b'C_d b) / (A + D_d + b'C_d b),     prediction gamma_d y_d + (1 - gamma_d) X_d'b
    b = [sum w (X X' - C)]^-1 sum w X y,               w_d = 1 / (A + D_d + b'C_d b)
    A = max(0, (n - p)^-1 sum [(y - X'b)^2 - D - b'C b])

iterated from weights of 1 until nothing moves. Rows and columns of C_d are 0 for what area d knows exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.errors import SaeInputError, name_some

__all__ = [
    "MeasurementErrorFit",
    "MeasurementErrorMse",
    "fit_measurement_error",
    "jackknife_measurement_error",
]

_TOLERANCE = 1e-13  # largest relative change of a weight
_MAX_STEPS = 1000
_ELEMENTS = 2_000_000  # numbers held at a time: leave-one-out fits run side by side in blocks


@dataclass(frozen=True, eq=False)
class MeasurementErrorFit:
    """Estimates and predictions of one model; n areas with a direct estimate, p coefficients.

    Attributes
    ----------
    variance : float
        A, exactly 0 where the moment estimate is not positive.
    beta : ndarray, shape (p,)
    beta_cov : ndarray, shape (p, p)
        Sandwich G^-1 [sum s s'] G^-1, G = sum w (X X' - C), s = w (X (y - X'b) + C b).
    gamma, prediction : ndarray, shape (n,)
    error_variance : ndarray, shape (n,)
        b'C_d b, what the measurement error adds to X_d'b.
    status : {"interior", "boundary", "not converged"}
    iterations : int
    residual : float
        Largest of the estimating equations, relative to the sum of its terms' sizes.
    """

    variance: float
    beta: np.ndarray
    beta_cov: np.ndarray
    gamma: np.ndarray
    prediction: np.ndarray
    error_variance: np.ndarray
    status: str
    iterations: int
    residual: float


@dataclass(frozen=True, eq=False)
class MeasurementErrorMse:
    """Jackknife MSE and its parts, shape (n,): mse = leading - bias + spread; `out` for areas without sample.

    `leading` is gamma D (A + b'C b without a sample), `bias` what estimating A and b hides of it, `spread`
    the variance of the prediction over the leave-one-out fits. Like every jackknife it can turn out negative.
    `unfinished` counts leave-one-out fits that did not converge.
    """

    leading: np.ndarray
    bias: np.ndarray
    spread: np.ndarray
    mse: np.ndarray
    out: np.ndarray
    unfinished: int


def _standardise(X, C):
    scale = np.sqrt((X * X).mean(axis=0))
    scale[scale == 0] = 1.0
    return X / scale, C / np.outer(scale, scale), scale


def _check(y, vardir, X, C):
    n, p = X.shape
    if C.shape != (n, p, p):
        raise ValueError(f"the error covariances need shape {(n, p, p)}, got {C.shape}")
    if n <= p or not ((vardir > 0).all() and np.isfinite(y).all() and np.isfinite(C).all()):
        raise ValueError(
            "more areas than coefficients, positive sampling variances and finite values are needed"
        )
    bad = np.flatnonzero((np.einsum("dii->di", C) < 0).any(axis=1))
    if len(bad):
        raise ValueError(f"negative error variances of covariates at positions {name_some(bad)}")


def _solve(y, vardir, X, C, use):
    """Iterate the equations in L lanes; `use` (L, n) says which areas each lane fits.

    Returns A (L,), b (L, p), b'C b (L, n), G (L, p, p), converged (L,), steps.
    """
    lanes, (n, p) = len(use), X.shape
    outer = (np.einsum("di,dj->dij", X, X) - C).reshape(n, -1)
    flat, cross = C.reshape(n, -1), X * y[:, None]
    spare = use.sum(axis=1) - p
    weight, done = use.astype(float), np.zeros(lanes, bool)
    for steps in range(1, _MAX_STEPS + 1):  # noqa: B007
        G = (weight @ outer).reshape(lanes, p, p)
        lowest = np.linalg.eigvalsh(G)[:, 0] / np.einsum("kd,di->ki", weight, X * X).max(axis=1)
        if not (lowest > 1e-12).all():
            lane = int(np.flatnonzero(~(lowest > 1e-12))[0])
            raise SaeInputError(
                "The covariates vary no more between areas than their own errors do, or one is a combination"
                f" of others ({'all areas' if lanes == 1 else f'fit {lane} of the jackknife'}).",
                hint="Drop the covariate, pool its sample over more periods, or take it from a register.",
            )
        b = np.linalg.solve(G, (weight @ cross)[..., None])[..., 0]
        error = np.einsum("ki,kj->kij", b, b).reshape(lanes, -1) @ flat.T
        residual = y - b @ X.T
        A = np.maximum(0.0, (use * (residual**2 - vardir - error)).sum(axis=1) / spare)
        ahead = use / (A[:, None] + vardir + error)
        done = (np.abs(ahead - weight) <= _TOLERANCE * ahead).all(axis=1)
        weight = ahead
        if done.all():
            break
    return A, b, error, G, done, steps


def fit_measurement_error(
    y: np.ndarray, vardir: np.ndarray, X: np.ndarray, C: np.ndarray
) -> MeasurementErrorFit:
    """Fit the model and predict the areas with a direct estimate.

    An area without a direct estimate is predicted by its X'b.

    Parameters
    ----------
    y, vardir : ndarray, shape (n,)
        Direct estimates and their sampling variances (strictly positive).
    X : ndarray, shape (n, p)
        Design, covariates as measured.
    C : ndarray, shape (n, p, p)
        Covariances of the measurement errors; 0 for what is known exactly (intercept, register covariates).

    Raises
    ------
    ValueError
        If shapes do not agree or a variance is out of range.
    SaeInputError
        If sum w (X X' - C) is not positive definite: the covariates are mostly error.

    References
    ----------
    Ybarra and Lohr (2008), Biometrika 95, 919-931, eqs 4, 8-10.

    Examples
    --------
    >>> X = np.column_stack([np.ones(6), np.arange(6.0)])
    >>> C = np.zeros((6, 2, 2)); C[:, 1, 1] = 0.01
    >>> fit = fit_measurement_error(np.array([0.1, 0.9, 2.2, 2.9, 4.1, 5.0]), np.full(6, 0.01), X, C)
    >>> fit.beta.round(2), fit.status
    (array([0.04, 1.  ]), 'boundary')
    """
    _check(y, vardir, X, C)
    scaled, errors, scale = _standardise(X, C)
    A, b, error, G, done, steps = _solve(y, vardir, scaled, errors, np.ones((1, len(y)), bool))
    A, b, error, inverse = float(A[0]), b[0], error[0], np.linalg.inv(G[0])
    weight = 1.0 / (A + vardir + error)
    residual = y - scaled @ b
    score = weight[:, None] * (scaled * residual[:, None] + errors @ b)
    size = np.abs(weight[:, None] * scaled * residual[:, None]).sum(axis=0)
    moment = residual**2 - vardir - error
    off = moment.sum() - (len(y) - X.shape[1]) * A
    gaps = np.append(
        np.abs(score.sum(axis=0)) / size, (max(off, 0.0) if A == 0 else abs(off)) / (residual**2).sum()
    )
    gamma = (A + error) * weight
    prediction = gamma * y + (1.0 - gamma) * (scaled @ b)
    cov = inverse @ (score.T @ score) @ inverse / np.outer(scale, scale)
    status = "not converged" if not done[0] else "interior" if A > 0 else "boundary"
    return MeasurementErrorFit(A, b / scale, cov, gamma, prediction, error, status, steps, float(gaps.max()))


def jackknife_measurement_error(
    fit: MeasurementErrorFit,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    C: np.ndarray,
    X_out: np.ndarray | None = None,
    C_out: np.ndarray | None = None,
) -> MeasurementErrorMse:
    """Jackknife MSE of the predictions, every leave-one-out fit iterated to convergence.

    Parameters
    ----------
    fit : MeasurementErrorFit
    y, vardir, X, C
        As given to `fit_measurement_error`.
    X_out : ndarray, shape (m, p), optional
        Areas without a direct estimate.
    C_out : ndarray, shape (m, p, p), optional
        Their error covariances.

    References
    ----------
    Ybarra and Lohr (2008), section 4; Jiang, Lahiri and Wan (2002), Annals of Statistics 30, 1782-1810.
    """
    n, p = X.shape
    X_out = np.empty((0, p)) if X_out is None else X_out
    C_out = np.zeros((len(X_out), p, p)) if C_out is None else C_out
    scaled, errors, scale = _standardise(X, C)
    leading = fit.gamma * vardir
    outside = fit.variance + np.einsum("i,dij,j->d", fit.beta, C_out, fit.beta)
    bias, spread = np.zeros(n), np.zeros(n)
    out_bias, out_spread = np.zeros(len(X_out)), np.zeros(len(X_out))
    unfinished, block = 0, max(1, _ELEMENTS // n)
    for start in range(0, n, block):
        use = np.arange(n) != np.arange(start, min(start + block, n))[:, None]
        A, b, error, _, done, _ = _solve(y, vardir, scaled, errors, use)
        unfinished += int((~done).sum())
        gamma = (A[:, None] + error) / (A[:, None] + error + vardir)
        predicted = gamma * y + (1.0 - gamma) * (b @ scaled.T)
        bias += (gamma * vardir - leading).sum(axis=0)
        spread += ((predicted - fit.prediction) ** 2).sum(axis=0)
        b /= scale
        out_bias += (A[:, None] + np.einsum("ki,dij,kj->kd", b, C_out, b, optimize=True) - outside).sum(
            axis=0
        )
        out_spread += ((b @ X_out.T - X_out @ fit.beta) ** 2).sum(axis=0)
    share = (n - 1) / n
    bias, spread = share * bias, share * spread
    out = outside - share * out_bias + share * out_spread
    return MeasurementErrorMse(leading, bias, spread, leading - bias + spread, out, unfinished)
