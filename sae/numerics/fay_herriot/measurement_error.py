"""Fay-Herriot with covariates measured with error, after Ybarra and Lohr.

    y_d = x_d'beta + u_d + e_d,   known: X_d = x_d + eta_d,   Var(eta_d) = C_d,   Cov(eta_d, e_d) = c_d

    gamma_d = (A + b'C_d b - b'c_d) / V_d,             V_d = A + D_d + b'C_d b - 2 b'c_d
    prediction gamma_d y_d + (1 - gamma_d) X_d'b,      MSE given A, b: (D_d (A + b'C_d b) - (b'c_d)^2) / V_d
    b = [sum (X X' - C) / V]^-1 sum (X y - c) / V
    A = max(0, (n - p)^-1 sum [(y - X'b)^2 - D - b'C b + 2 b'c])

iterated from weights of 1 until nothing moves. Rows and columns of C_d and of c_d are 0 for what area d knows
exactly. With c = 0, covariates of another sample, these are the equations of Ybarra and Lohr. With c, the
moments are the same: E (y - X'b)^2 = V, E X (y - X'b) = c - C b, and gamma minimises the MSE of all weighted
means of y and X'b; it can leave [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "MeasurementErrorFit",
    "MeasurementErrorMse",
    "fit_measurement_error",
    "jackknife_measurement_error",
    "leading_terms",
]

_TOLERANCE = 1e-13  # largest relative change of a weight
_ROUNDING = 1e-10  # below, a change that no longer shrinks is rounding
_MAX_STEPS = 1000
_SINGULAR = (
    "The covariates vary no more between areas than their own errors do, or one is a combination of others."
)
_CANCELLED = "The errors of outcome and covariates cancel: nothing is left to judge the fit by."
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
        Sandwich G^-1 [sum s s'] G^-1, G = sum w (X X' - C), s = w (X (y - X'b) + C b - c).
    gamma, prediction : ndarray, shape (n,)
    error_variance : ndarray, shape (n,)
        b'C_d b, what the measurement error adds to X_d'b.
    error_covariance : ndarray, shape (n,)
        b'c_d.
    leading : ndarray, shape (n,)
        MSE of the prediction where A and b are known.
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
    error_covariance: np.ndarray
    leading: np.ndarray
    status: str
    iterations: int
    residual: float


@dataclass(frozen=True, eq=False)
class MeasurementErrorMse:
    """Jackknife MSE and its parts, mse = leading - bias + spread; of n areas, then m without a sample.

    `leading` is the MSE at known A and b (A + b'C b without a sample), `bias` what estimating A and b hides
    of it, `spread` the variance of the prediction over the leave-one-out fits. Like every jackknife it can
    turn out negative. `unfinished` counts leave-one-out fits that did not converge.
    """

    leading: np.ndarray
    bias: np.ndarray
    spread: np.ndarray
    unfinished: int

    @property
    def mse(self) -> np.ndarray:
        """Mean squared errors, shape (n + m,)."""
        return self.leading - self.bias + self.spread


def _standardise(X, C):
    scale = np.sqrt((X * X).mean(axis=0))
    scale[scale == 0] = 1.0
    return X / scale, C / np.outer(scale, scale), scale


def leading_terms(A, vardir, error, shared):
    """Weight of y and MSE of the prediction where A and b are known.

    Parameters
    ----------
    A, vardir, error, shared : ndarrays that broadcast
        A, D, b'C b and b'c; without a sample, infinite D.

    Returns
    -------
    gamma, mse : ndarray
    """
    total = A + error - shared
    with np.errstate(invalid="ignore"):
        gamma = np.where(np.isinf(vardir), 0.0, total / (total + vardir - shared))
        mse = gamma**2 * np.where(np.isinf(vardir), 0.0, vardir) + (1.0 - gamma) ** 2 * (A + error)
    return gamma, mse + 2.0 * gamma * (1.0 - gamma) * shared


def _check(y, vardir, X, C, c):
    n, p = X.shape
    if C.shape != (n, p, p):
        raise ValueError(f"the error covariances need shape {(n, p, p)}, got {C.shape}")
    if n <= p or not ((vardir > 0).all() and np.isfinite(y).all() and np.isfinite(C).all()):
        raise ValueError(
            "more areas than coefficients, positive sampling variances and finite values are needed"
        )
    joint = np.empty((n, p + 1, p + 1))  # in units of the errors' own standard deviations
    joint[:, :p, :p], joint[:, :p, p], joint[:, p, :p], joint[:, p, p] = C, c, c, vardir
    variances = np.einsum("dii->di", joint)
    sd = np.sqrt(np.where(variances > 0, variances, 1.0))
    lowest = np.linalg.eigvalsh(joint / (sd[:, :, None] * sd[:, None, :]))[:, 0]
    bad = np.flatnonzero((variances < 0).any(axis=1) | (lowest < -1e-8))
    if len(bad):
        raise ValueError("errors with negative variances, or covariances too large", bad.tolist())


def _solve(y, vardir, X, C, c, use):
    """Iterate the equations in L lanes; `use` (L, n) says which areas each lane fits.

    Returns A (L,), b (L, p), b'C b (L, n), b'c (L, n), G (L, p, p), converged (L,), steps; raises a
    LinAlgError with the text and the lane that cannot be solved.
    """
    lanes, (n, p) = len(use), X.shape
    outer = (np.einsum("di,dj->dij", X, X) - C).reshape(n, -1)
    flat, cross = C.reshape(n, -1), X * y[:, None] - c
    spare = use.sum(axis=1) - p
    weight, done, before = use.astype(float), np.zeros(lanes, bool), np.full(lanes, np.inf)
    for steps in range(1, _MAX_STEPS + 1):  # noqa: B007
        G = (weight @ outer).reshape(lanes, p, p)
        lowest = np.linalg.eigvalsh(G)[:, 0] / np.einsum("kd,di->ki", weight, X * X).max(axis=1)
        if not (lowest > 1e-12).all():
            raise np.linalg.LinAlgError(_SINGULAR, int(np.flatnonzero(~(lowest > 1e-12))[0]))
        b = np.linalg.solve(G, (weight @ cross)[..., None])[..., 0]
        error = np.einsum("ki,kj->kij", b, b).reshape(lanes, -1) @ flat.T
        shared, residual = b @ c.T, y - b @ X.T
        extra = vardir + error - 2.0 * shared
        A = np.maximum(0.0, (use * (residual**2 - extra)).sum(axis=1) / spare)
        total = A[:, None] + extra
        if not (total > 1e-12 * vardir).all():  # only where the errors are perfectly correlated
            lane = int(np.flatnonzero(~(total > 1e-12 * vardir).all(axis=1))[0])
            raise np.linalg.LinAlgError(_CANCELLED, lane)
        ahead = use / total
        change = np.divide(np.abs(ahead - weight), ahead, out=np.zeros_like(ahead), where=use).max(axis=1)
        done |= (change <= _TOLERANCE) | ((change <= _ROUNDING) & (change > 0.5 * before))
        weight, before = ahead, change
        if done.all():
            break
    return A, b, error, shared, G, done, steps


def fit_measurement_error(
    y: np.ndarray, vardir: np.ndarray, X: np.ndarray, C: np.ndarray, c: np.ndarray | None = None
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
    c : ndarray, shape (n, p), optional
        Covariances of the measurement errors with the sampling error of y; 0 by default.

    Raises
    ------
    ValueError
        If shapes do not agree or a variance is out of range.
    LinAlgError
        If sum w (X X' - C) is not positive definite: the covariates are mostly error; or if the errors of y
        and X'b cancel.

    References
    ----------
    Ybarra and Lohr (2008), Biometrika 95, 919-931, eqs 4, 8-10, there with c = 0.

    Examples
    --------
    >>> X = np.column_stack([np.ones(6), np.arange(6.0)])
    >>> C = np.zeros((6, 2, 2)); C[:, 1, 1] = 0.01
    >>> fit = fit_measurement_error(np.array([0.1, 0.9, 2.2, 2.9, 4.1, 5.0]), np.full(6, 0.01), X, C)
    >>> fit.beta.round(2), fit.status
    (array([0.04, 1.  ]), 'boundary')
    """
    c = np.zeros(X.shape) if c is None else c
    _check(y, vardir, X, C, c)
    scaled, errors, scale = _standardise(X, C)
    crossed = c / scale
    A, b, error, shared, G, done, steps = _solve(
        y, vardir, scaled, errors, crossed, np.ones((1, len(y)), bool)
    )
    A, b, error, shared, inverse = float(A[0]), b[0], error[0], shared[0], np.linalg.inv(G[0])
    extra = vardir + error - 2.0 * shared
    weight = 1.0 / (A + extra)
    residual = y - scaled @ b
    score = weight[:, None] * (scaled * residual[:, None] + errors @ b - crossed)
    size = np.abs(weight[:, None] * scaled * residual[:, None]).sum(axis=0)
    moment = residual**2 - extra
    off = moment.sum() - (len(y) - X.shape[1]) * A
    gaps = np.append(
        np.abs(score.sum(axis=0)) / size, (max(off, 0.0) if A == 0 else abs(off)) / (residual**2).sum()
    )
    gamma, leading = leading_terms(A, vardir, error, shared)
    prediction = gamma * y + (1.0 - gamma) * (scaled @ b)
    cov = inverse @ (score.T @ score) @ inverse / np.outer(scale, scale)
    status = "not converged" if not done[0] else "interior" if A > 0 else "boundary"
    return MeasurementErrorFit(
        A, b / scale, cov, gamma, prediction, error, shared, leading, status, steps, float(gaps.max())
    )


def jackknife_measurement_error(
    fit: MeasurementErrorFit,
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    C: np.ndarray,
    X_out: np.ndarray | None = None,
    C_out: np.ndarray | None = None,
    c: np.ndarray | None = None,
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
    c : ndarray, shape (n, p), optional
        As given to `fit_measurement_error`.

    Raises
    ------
    LinAlgError
        If a leave-one-out fit cannot be solved; its second argument is the area left out.

    References
    ----------
    Ybarra and Lohr (2008), section 4; Jiang, Lahiri and Wan (2002), Annals of Statistics 30, 1782-1810.
    """
    n, p = X.shape
    X_out = np.empty((0, p)) if X_out is None else X_out
    C_out = np.zeros((len(X_out), p, p)) if C_out is None else C_out
    scaled, errors, scale = _standardise(X, C)
    crossed = np.zeros(X.shape) if c is None else c / scale
    outside = fit.variance + np.einsum("i,dij,j->d", fit.beta, C_out, fit.beta)
    bias, spread = np.zeros(n + len(X_out)), np.zeros(n + len(X_out))
    unfinished, block = 0, max(1, _ELEMENTS // n)
    for start in range(0, n, block):
        use = np.arange(n) != np.arange(start, min(start + block, n))[:, None]
        try:
            A, b, error, shared, _, done, _ = _solve(y, vardir, scaled, errors, crossed, use)
        except np.linalg.LinAlgError as problem:
            raise np.linalg.LinAlgError(problem.args[0], start + problem.args[1]) from None
        unfinished += int((~done).sum())
        gamma, without = leading_terms(A[:, None], vardir, error, shared)
        predicted = gamma * y + (1.0 - gamma) * (b @ scaled.T)
        bias[:n] += (without - fit.leading).sum(axis=0)
        spread[:n] += ((predicted - fit.prediction) ** 2).sum(axis=0)
        b /= scale
        error_out = np.einsum("ki,dij,kj->kd", b, C_out, b, optimize=True)
        bias[n:] += (A[:, None] + error_out - outside).sum(axis=0)
        spread[n:] += ((b @ X_out.T - X_out @ fit.beta) ** 2).sum(axis=0)
    share = (n - 1) / n
    return MeasurementErrorMse(
        np.concatenate([fit.leading, outside]), share * bias, share * spread, unfinished
    )
