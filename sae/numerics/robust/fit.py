"""Robust Fay-Herriot: Huber estimating equations and robust predictors.

    y_d = x_d'beta + u_d + e_d,  u_d ~ (0, A),  e_d ~ (0, D_d),  V_d = A + D_d
    r_d = (y_d - x_d'beta) / V_d^1/2

    sum_d x_d psi(r_d) / V_d^1/2 = 0,     sum_d (psi(r_d)^2 - K) / V_d = 0,     K = E psi(Z)^2, Z ~ N(0, 1)

The coefficients are profiled out (for given A they minimise a convex function), the equation in A is scanned
over the whole range in which it can change sign, and every root and the boundary 0 are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from sae.numerics.compile import compiled, inlined
from sae.numerics.linalg.small import factor_small, solve_small

__all__ = [
    "HUBER_K",
    "RobustFit",
    "fit_robust",
    "huber_variance",
    "reblup",
    "robust_batch",
    "robust_effect",
    "variance_of_variance",
]

HUBER_K = 1.345  # 95 % efficiency at the normal distribution
_TOLERANCE = 1e-13
_ROUNDING = 1e-15
_MAX_STEPS = 200
_SCAN_RATIO = 2.0  # the equation bends on the scale of the sampling variances
_KNOWN = 1e-4  # of a sampling variance: areas below are known values beside the others
_EXACT = 1e-10  # of a sampling variance: what is smaller moves no estimate by more than rounding
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


@dataclass(frozen=True, eq=False)
class RobustFit:
    """Solution of the estimating equations; n areas, p coefficients.

    Attributes
    ----------
    variance : float
        A, squared units; exactly 0 where no positive solution is better.
    beta : ndarray, shape (p,)
    beta_cov : ndarray, shape (p, p)
        (X'V^-1X)^-1, the covariance at the model without outliers.
    projection : ndarray, shape (p, n)
        Pseudo-linear form of the coefficients: beta = projection @ y, with projection @ X = I.
    solutions : int
        Number of solutions met, the boundary included.
    status : {"interior", "boundary", "not converged"}
    iterations : int
        Evaluations of the profiled equation.
    residual : float
        Largest of the estimating equations at the solution, each relative to the sum of its terms' sizes; the
        equation in A counts as 0 at the boundary if it points outside.
    k : float
        Tuning constant of psi.
    """

    variance: float
    beta: np.ndarray
    beta_cov: np.ndarray
    projection: np.ndarray
    solutions: int
    status: str
    iterations: int
    residual: float
    k: float


def huber_variance(k: float) -> float:
    """E psi(Z)^2 of Huber's psi for Z ~ N(0, 1).

    Examples
    --------
    >>> round(huber_variance(1.345), 12)
    0.710164548269
    """
    density = np.exp(-0.5 * k * k) / np.sqrt(2 * np.pi)
    return float(1.0 - 2.0 * ndtr(-k) - 2.0 * k * density + 2.0 * k * k * ndtr(-k))


def variance_of_variance(variance: float, vardir: np.ndarray, k: float) -> float:
    """Asymptotic variance of the robust A at the model without outliers; 2 / sum V^-2 where k is large.

    The equation in A has variance Var(psi(Z)^2) sum V^-2 and slope -E(Z^2; |Z| <= k) sum V^-2.
    """
    inside, density = 1.0 - 2.0 * ndtr(-k), np.exp(-0.5 * k * k) / np.sqrt(2 * np.pi)
    second = inside - 2.0 * k * density
    fourth = 3.0 * inside - 2.0 * (k**3 + 3.0 * k) * density + 2.0 * k**4 * ndtr(-k)
    return float((fourth - huber_variance(k) ** 2) / second**2 / (1.0 / (variance + vardir) ** 2).sum())


@inlined
def _loss(y, Q, D, A, k, beta):
    total = 0.0
    for d in range(len(y)):
        e = y[d]
        for j in range(len(beta)):
            e -= Q[d, j] * beta[j]
        r = abs(e) / np.sqrt(A + D[d])
        if r <= k:
            total += 0.5 * r * r
        else:
            total += k * r - 0.5 * k * k
    return total


@inlined
def _step(y, Q, D, A, k, beta, newton, H, g):
    """One step to the minimum of sum rho(r) into g: Newton's (1.0), or that of reweighted squares (0.0)."""
    p = len(beta)
    for j in range(p):
        g[j] = 0.0
        for m in range(j + 1):
            H[j, m] = 0.0
    for d in range(len(y)):
        v = A + D[d]
        e = y[d]
        for j in range(p):
            e -= Q[d, j] * beta[j]
        r = abs(e) / np.sqrt(v)
        w = slope = 1.0
        if r > k:
            w = k / r
            slope = (1.0 - newton) * w
        for j in range(p):
            g[j] += Q[d, j] * w * e / v
            if slope > 0.0:
                for m in range(j + 1):
                    H[j, m] += Q[d, j] * Q[d, m] * slope / v
    if not factor_small(H):
        return False
    solve_small(H, g)
    return True


@inlined
def _huber_regression(y, Q, D, A, k, beta, tried, H, g):
    """Minimise sum rho((y - Q beta) / sqrt(A + D)) from `beta` on, in place; False if the steps run out."""
    value = _loss(y, Q, D, A, k, beta)
    newton = 1.0
    for _ in range(_MAX_STEPS):
        if not _step(y, Q, D, A, k, beta, newton, H, g):
            if newton == 0.0:
                return False
            newton = 0.0
            continue
        longest = 0.0
        for d in range(len(y)):
            move = 0.0
            for j in range(len(beta)):
                move += Q[d, j] * g[j]
            longest = max(longest, (abs(move) - _ROUNDING * abs(y[d])) / np.sqrt(A + D[d]))
        for j in range(len(beta)):
            tried[j] = beta[j] + g[j]
        ahead = _loss(y, Q, D, A, k, tried)
        if newton > 0.0 and longest > 1e-6 and not ahead < value:
            newton = 0.0
            continue
        for j in range(len(beta)):
            beta[j] = tried[j]
        value = ahead
        if longest < 1e-12:
            return True
        newton = 1.0
    return False


@inlined
def _equation(y, Q, D, known, A, k, K, beta, tried, H, g, out):
    """Equation at A, sum psi^2 / V over K sum 1 / V less 1; both without `known` areas in out."""
    done = _huber_regression(y, Q, D, A, k, beta, tried, H, g)
    above = below = 0.0
    out[0] = out[1] = out[2] = 0.0
    for d in range(len(y)):
        v = A + D[d]
        e = y[d]
        for j in range(len(beta)):
            e -= Q[d, j] * beta[j]
        square = min(e * e / v, k * k) / v
        above += square
        below += K / v
        if D[d] > known:
            out[0] += square
            out[1] += K / v
    if done:
        out[2] = 1.0
    return above / below - 1.0


@inlined
def _solve(y, Q, D, known, start, top, smallest, k, K, nodes, weights, beta, answer, work):
    """Find every solution of the profiled equation and keep the best; see `robust_batch`."""
    H, g, tried, out = work
    for j in range(len(beta)):
        beta[j] = start[j]
    low, f_low = 0.0, _equation(y, Q, D, known, 0.0, k, K, beta, tried, H, g, out)
    count, found = 1, 0
    A, gain, best_gain, mark = 0.0, 0.0, 0.0, 0.0
    if f_low <= 0.0:
        found = 1
    high = 0.1 * smallest
    while True:
        f_high = _equation(y, Q, D, known, high, k, K, beta, tried, H, g, out)
        count += 1
        if f_low > 0.0 and f_high <= 0.0:
            a, b, fa, fb = low, high, f_low, f_high
            for step in range(_MAX_STEPS):
                c = (a * fb - b * fa) / (fb - fa)
                if step % 3 == 2 or not a < c < b:
                    c = 0.5 * (a + b)
                fc = _equation(y, Q, D, known, c, k, K, beta, tried, H, g, out)
                count += 1
                if fc > 0.0:
                    a, fa = c, fc
                else:
                    b, fb = c, fc
                if fc == 0.0 or b - a <= _TOLERANCE * b:
                    break
            root = a if fa < -fb else b
            found += 1
            if found == 1:
                A = root
            else:  # the equation integrated from one solution to the next, as a likelihood ratio
                left = mark
                while left < root:
                    right = min(root, max(2.0 * left, 0.1 * smallest))
                    for i in range(len(nodes)):
                        at = left + 0.5 * (right - left) * (1.0 + nodes[i])
                        _equation(y, Q, D, known, at, k, K, beta, tried, H, g, out)
                        gain += 0.25 * (right - left) * weights[i] * (out[0] - out[1])
                    left = right
                if gain > best_gain:
                    A, best_gain = root, gain
            mark = root
        if f_high <= 0.0 and high >= top:
            break
        low, f_low = high, f_high
        high *= _SCAN_RATIO
        if high > 1e6 * (top + smallest):
            break
    for j in range(len(beta)):
        beta[j] = start[j]
    f = _equation(y, Q, D, known, A, k, K, beta, tried, H, g, out)
    residual = 0.0 if A == 0.0 and f <= 0.0 else abs(f)
    answer[0], answer[1], answer[2], answer[3] = A, found, count + 1, residual
    answer[4] = out[2]


@compiled
def _solve_all(y, Q, D, known, starts, tops, smallest, k, K, nodes, weights, betas, answers, work):
    for i in range(len(y)):
        _solve(
            y[i], Q, D, known, starts[i], tops[i], smallest, k, K, nodes, weights, betas[i], answers[i], work
        )


def robust_batch(
    y: np.ndarray, vardir: np.ndarray, X: np.ndarray, k: float = HUBER_K
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve the robust equations for R replicates of the direct estimates of one design.

    Where several variances solve the equations, the integral of the profiled equation between them decides:
    for large k this is the likelihood ratio, so that the solution is then the global maximum. Areas, at most
    as many as coefficients, whose sampling variances are far below all others do not count in it: near 0 the
    coefficients meet them exactly, and their terms K / V favour 0 without end, whatever the others say.

    Parameters
    ----------
    y : ndarray, shape (R, n)
    vardir : ndarray, shape (n,)
        Sampling variances, strictly positive.
    X : ndarray, shape (n, p)
        Design of full column rank, n > p.
    k : float
        Tuning constant of Huber's psi.

    Returns
    -------
    variance : ndarray, shape (R,)
    beta : ndarray, shape (R, p)
    record : ndarray, shape (R, 4)
        Number of solutions, evaluations, relative residual of the equation in A, 1 where beta converged.
    """
    n, p = X.shape
    scale = np.sqrt((X * X).sum(axis=0) / n)
    if n <= p or not (scale > 0).all() or np.linalg.matrix_rank(X / scale) < p:
        raise ValueError(f"the design needs full column rank and more areas than coefficients, got {n} x {p}")
    if not (k > 0 and (vardir > 0).all() and np.isfinite(y).all()):
        raise ValueError(
            "the tuning constant and the sampling variances must be positive, the estimates finite"
        )
    Q, R = np.linalg.qr(X / scale)
    y = np.ascontiguousarray(np.atleast_2d(y), float)
    unit = np.maximum(np.sqrt(np.median(vardir)), np.abs(y).max(axis=1))[:, None]
    starts = (y / unit) @ Q * unit
    K = huber_variance(k)
    tops = 4.0 * ((y - starts @ Q.T) ** 2).max(axis=1) / min(K, k * k)
    betas, answers = np.empty((len(y), p)), np.empty((len(y), 5))
    D = _separable(vardir, p)
    known = _KNOWN * np.partition(D, p)[p]
    work = np.empty((p, p)), np.empty(p), np.empty(p), np.empty(3)
    Q = np.ascontiguousarray(Q)
    _solve_all(y, Q, D, known, starts, tops, D.min(), k, K, _NODES, _WEIGHTS, betas, answers, work)
    return answers[:, 0], np.linalg.solve(R, betas.T).T / scale, answers[:, 1:]


def _separable(vardir: np.ndarray, p: int) -> np.ndarray:
    """Raise variances so small that sums of weights would lose the other areas."""
    return np.maximum(vardir, _EXACT * np.partition(vardir, p)[p])


def fit_robust(y: np.ndarray, vardir: np.ndarray, X: np.ndarray, k: float = HUBER_K) -> RobustFit:
    """Fit the robust Fay-Herriot model to one set of direct estimates.

    Parameters
    ----------
    y, vardir : ndarray, shape (n,)
        Direct estimates and their sampling variances (strictly positive).
    X : ndarray, shape (n, p)
        Design of full column rank, n > p.
    k : float
        Tuning constant of Huber's psi; a large one gives maximum likelihood.

    Raises
    ------
    ValueError
        If the design is rank deficient or an input out of range.

    References
    ----------
    Sinha and Rao (2009), Canadian Journal of Statistics 37, 381-399; Warnholz (2016), thesis, FU Berlin.

    Examples
    --------
    >>> y = np.array([1.0, 2.1, 2.9, 4.2, 15.0, 6.1, 6.8, 8.3])
    >>> X = np.column_stack([np.ones(8), np.arange(8)])
    >>> fit_robust(y, np.full(8, 0.05), X).beta.round(1)
    array([1., 1.])
    """
    variance, beta, record = robust_batch(y, vardir, X, k)
    A = float(variance[0])
    V = A + _separable(vardir, X.shape[1])
    residual = y - X @ beta[0]
    r = residual / np.sqrt(V)
    weight = np.minimum(1.0, k / np.maximum(np.abs(r), k)) / V
    scale = np.sqrt((X * X).sum(axis=0))
    scaled = X / scale
    terms = scaled * (weight * residual)[:, None]
    gap = np.abs(terms.sum(axis=0)) / np.maximum(np.abs(terms).sum(axis=0), np.finfo(float).tiny)
    projection = (
        np.linalg.solve(scaled.T @ (scaled * weight[:, None]), (scaled * weight[:, None]).T) / scale[:, None]
    )
    cov = np.linalg.inv(scaled.T @ (scaled / V[:, None])) / np.outer(scale, scale)
    found, count, off, regressed = record[0]
    worst = float(max(off, gap.max()))
    converged = regressed == 1.0 and found > 0 and off < 1e-8
    status = "not converged" if not converged else "interior" if A > 0 else "boundary"
    return RobustFit(A, beta[0], cov, projection, int(found), status, int(count), worst, k)


def robust_effect(residual, variance, vardir, k):
    """Solve psi((e - u) / sqrt(D)) / sqrt(D) = psi(u / sqrt(A)) / sqrt(A) in closed form."""
    largest = np.sqrt(np.maximum(variance, vardir))
    common = np.clip(residual / (variance + vardir), -k / largest, k / largest)
    return np.where(variance <= vardir, variance * common, residual - vardir * common)


def reblup(
    y: np.ndarray,
    vardir: np.ndarray,
    fitted: np.ndarray,
    variance: np.ndarray | float,
    k: float,
    c: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Robust predictor, and its form with limited bias, of sampled areas.

    The robust area effect solves psi((e - u) / sqrt(D)) / sqrt(D) = psi(u / sqrt(A)) / sqrt(A), e = y -
    x'beta. The bias-corrected form stays within c standard errors of the direct estimate.

    Parameters
    ----------
    y, vardir, fitted : ndarray, shape (..., n)
        Direct estimates, sampling variances, x'beta.
    variance : float or ndarray that broadcasts
        A.
    k, c : float
        Tuning constants of the effect and of the bias correction.

    Returns
    -------
    plain, corrected : ndarray, shape (..., n)

    References
    ----------
    Sinha and Rao (2009); Chambers, Chandra, Salvati and Tzavidis (2014), JRSS B 76, 47-69.
    """
    plain = fitted + robust_effect(y - fitted, variance, vardir, k)
    reach = c * np.sqrt(vardir)
    return plain, np.clip(plain, y - reach, y + reach)
