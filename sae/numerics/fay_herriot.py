"""The Fay–Herriot kernel: model variance and coefficients of many problems in one call.

Problem k owns the positions offsets[k] .. offsets[k + 1] of concatenated arrays; each problem may be
fitted to several replicates of its direct estimates (bootstrap) that share design and variances.

The likelihood is profiled over the coefficients, so that only p × p matrices appear. The score of the
profile is scanned over the whole range in which it can change sign, every maximum is polished, and the
highest one, the boundary A = 0 included, wins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sae.numerics._fast import jit_scalar
from sae.numerics.small_matrix import BLOCK, cholesky_inverse, gram_sums, project_out

__all__ = ["METHODS", "FayHerriotFits", "fit_batch"]

METHODS = ("reml", "ml", "fh", "pr")
_REML, _ML, _FH, _PR = range(len(METHODS))
# The profile bends on the scale of the sampling variances: steps of this factor meet every maximum.
_SCAN_RATIO = 3.0
_TOLERANCE = 1e-11
_MAX_STEPS = 100
_SCAN, _POLISH, _MOMENT, _LAST = range(4)


@dataclass(frozen=True)
class FayHerriotFits:
    """Fits of P problems to R replicates each, with p coefficients.

    Attributes
    ----------
    variance : ndarray, shape (R, P)
        Model variance A, squared units; exactly 0 where the boundary is the maximum.
    coefficients : ndarray, shape (R, P, p)
        Generalised least squares at A.
    root : ndarray, shape (R, P, p, p)
        Square root of the covariance of the coefficients: Q = (X' V^-1 X)^-1 = root root'.
    loglik : ndarray, shape (R, P)
        Full Gaussian log-likelihood (not the restricted one) at the estimates.
    maxima : ndarray of int, shape (R, P)
        Number of local maxima of the profile met, the boundary included; 1 for the moment estimators.
    """

    variance: np.ndarray
    coefficients: np.ndarray
    root: np.ndarray
    loglik: np.ndarray
    maxima: np.ndarray


@jit_scalar
def _sum_log(A, vardir, start, n, smallest, largest):
    """Sum log(A + D) with one logarithm per eight areas where no product of eight can underflow."""
    scale = A + largest
    step = 8 if (A + smallest) / scale > 1e-35 else 1
    total = n * math.log(scale)
    for i in range(0, n, step):
        product = 1.0
        for j in range(i, min(i + step, n)):
            product *= (A + vardir[start + j]) / scale
        total += math.log(product)
    return total


@jit_scalar
def _profile(A, Z, n, restricted, scratch, first, second, inverse, delta):
    """Evaluate the profile at A.

    The columns of Z are the orthonormal design, the residuals of y on it, and D. `delta` receives the
    coefficients of the residuals at A, `inverse` the Cholesky factor of X'WX and its inverse.

    Returns
    -------
    tuple of float
        tr P (tr V^-1 where not `restricted`), y'P²y, half the sum of squared weights, y'Py.
    """
    p = len(delta)
    trace, information = gram_sums(A, Z, n, scratch, first, second)
    cholesky_inverse(first, inverse)
    last = p * (p + 1) // 2
    quadratic = first[last + p]
    for j in range(p):  # delta first holds L^-1 X'Wy
        total = 0.0
        for k in range(j + 1):
            total += inverse[0, j, k] * first[last + k]
        delta[j] = total
        quadratic -= total * total
    for j in range(p):
        total = 0.0
        for k in range(j, p):
            total += inverse[0, k, j] * delta[k]
        delta[j] = total
    squared = second[last + p]
    row = 0
    for j in range(p):
        squared -= 2.0 * delta[j] * second[last + j]
        for k in range(j + 1):
            entry = second[row] if j == k else 2.0 * second[row]
            squared += delta[j] * delta[k] * entry
            if restricted:
                q = 0.0
                for s in range(j, p):
                    q += inverse[0, s, j] * inverse[0, s, k]
                trace -= q * entry
            row += 1
    return trace, squared, 0.5 * information, quadratic


@jit_scalar
def _expected(Z, n, p):
    """Return the sum of D (1 - leverage), what the sampling errors put into the residual sum of squares."""
    length = Z.shape[2]
    total = 0.0
    for c in range(Z.shape[0]):
        for i in range(min(length, n - c * length)):
            rest = 1.0
            for j in range(p):
                rest -= Z[c, j, i] * Z[c, j, i]
            total += Z[c, p + 1, i] * rest
    return total


@jit_scalar
def _variance(
    method, vardir, start, Z, n, smallest, largest, rss, scratch, first, second, inverse, delta, points
):
    """Estimate the model variance of one problem; `inverse` and `delta` are left at the estimate.

    Likelihoods: the sign of the score is that of S / T - 1 with S = y'P²y and T = tr P. The eigenvalues of P
    lie between 1 / (A + max D) and 1 / (A + min D), so that going up from a, S/T <= (S/T)(a) f(A) / f(a)
    with f(A) = (A + min D) / (A + max D)², and going down from b, S/T >= (S/T)(b) f(A) / f(b). So both ends
    of the scan are proven; between them it steps by a factor, as the profile bends on the scale of log A. A
    maximum lies at 0 if the score is not positive there, and wherever it falls through 0. These brackets are
    closed by secants on score / information, a straight line in A where the sampling variances are equal,
    with bisection as guard. The highest maximum wins.

    Moments: y'P(A)y = n - p by Newton on 1 / y'Py, which is concave in A, so that it climbs to the root from
    0; Prasad and Rao's is closed.

    Everything asks for one function of A at a time: the loop has one call, and phases that say what for.

    Returns
    -------
    tuple
        A, number of maxima, y'Py at A.
    """
    p = len(delta)
    restricted = method == _REML
    spread = largest - smallest
    # beyond `top` S < T, since S <= rss / (A + min D)² and T >= (n - p) / (A + max D)
    s = rss / (n - p)
    top = (0.5 * (s + math.sqrt(s * s + 4.0 * s * spread)) - smallest) * (1.0 + 1e-9)
    phase = _SCAN
    A, row, highest = min(0.5 * smallest, 0.5 * top), 1, 0
    ratio = max(_SCAN_RATIO, (top / A) ** (1.0 / (len(points) - 3))) if top > 0.0 else _SCAN_RATIO
    points[0, 0], points[0, 1] = 0.0, 1.0
    best, best_value, found = 0.0, 0.0, 0
    low, high, now, now_step, before, before_step = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    width, count, closing = 0.0, 0, False
    if method >= _FH:
        phase = _MOMENT
        A = max((rss - _expected(Z, n, p)) / (n - p), 0.0) if method == _PR else 0.0
    elif not top > 0.0:
        phase, A = _LAST, 0.0
    while True:
        if phase == _POLISH and not closing:
            A = now - now_step * (now - before) / (now_step - before_step)
            if count % 4 == 3:
                if high - low > 0.5 * width:
                    A = low
                width = high - low
            count += 1
            secant = low < A < high
            if not secant:
                A = math.sqrt(low * high) if 4.0 * low < high and low > 0.0 else 0.5 * (low + high)
            # the error after a secant step is of the order of the product of the last two steps
            closing = secant and abs((A - now) * (now - before)) <= _TOLERANCE * now * now
            before, before_step = now, now_step
        trace, squared, information, quadratic = _profile(
            A, Z, n, restricted, scratch, first, second, inverse, delta
        )
        step = 0.5 * (squared - trace) / information
        if phase == _LAST:
            return A, max(found, 1), quadratic
        if phase == _MOMENT:
            climb = quadratic * (quadratic - (n - p)) / ((n - p) * squared)
            if method == _PR or not climb > _TOLERANCE * A:
                return A, 1, quadratic
            A += climb
            continue
        if phase == _SCAN:
            points[row, 0] = A
            points[row, 1] = step if top > A else -abs(step)
            falls = False
            if row > 0:
                highest = row
                shape = (A + largest) * (A + largest) / (A + smallest)
                peak = 4.0 * spread if spread - smallest > A else shape
                falls = top <= A or (squared < trace and squared * shape < trace * peak)
                if row == 1 and not squared * shape * smallest > trace * largest * largest:
                    row, A = 0, 0.0  # not proven to rise from 0 to here
                    points[2, 1] = 1.0 if falls else 0.0
                    continue
            else:
                falls = points[2, 1] == 1.0
            if not falls and highest < len(points) - 1:
                row = highest + 1
                A = min(ratio * points[highest, 0], top)
                continue
            phase, row = _POLISH, -1
        else:
            now, now_step = A, step
            if now_step > 0.0:
                low = now
            else:
                high = now
            if not (closing or now_step == 0.0 or high - low <= _TOLERANCE * now or count > _MAX_STEPS):
                continue
            value = -0.5 * (_sum_log(now, vardir, start, n, smallest, largest) + quadratic)
            if restricted:
                for j in range(p):
                    value -= math.log(inverse[1, j, j])
            found += 1
            if found == 1 or value > best_value:
                best, best_value = now, value
        # the next maximum, or the end
        row += 1
        while row <= highest and not (points[row, 1] <= 0.0 and (row == 0 or points[row - 1, 1] > 0.0)):
            row += 1
        if row > highest:
            if found > 0 and now == best:
                return best, found, quadratic
            phase, A = _LAST, best
            continue
        high, before, before_step = points[row, 0], points[row, 0], points[row, 1]
        closing = row == 0
        low, now_step = points[max(row - 1, 0), 0], points[max(row - 1, 0), 1]
        now = low
        if abs(before_step) < abs(now_step):
            now, now_step, before, before_step = before, before_step, now, now_step
        A, width, count = low, high - low, 0


@jit_scalar
def _fill(values, start, n, Z, column):
    """Copy n values from `start` on into one column of the blocks."""
    length = Z.shape[2]
    for c in range(Z.shape[0]):
        part = values[start + c * length : start + min((c + 1) * length, n)]
        for i in range(len(part)):
            Z[c, column, i] = part[i]


@jit_scalar
def _range(Z, n, column):
    """Return the smallest and the largest value of one column of the blocks."""
    length = Z.shape[2]
    smallest, largest = Z[0, column, 0], Z[0, column, 0]
    for c in range(Z.shape[0]):
        for i in range(min(length, n - c * length)):
            smallest = min(smallest, Z[c, column, i])
            largest = max(largest, Z[c, column, i])
    return smallest, largest


@jit_scalar
def _orthonormalise(X, start, n, Z, R, coefficients):
    """Factor a transposed design as X = Q R by repeated Gram–Schmidt; Q goes to the first columns of Z.

    Returns -1, or the index of the first column that the ones before it explain.
    """
    for j in range(X.shape[0]):
        _fill(X[j], start, n, Z, j)
        for k in range(j):
            coefficients[k] = 0.0
        rest = project_out(Z, n, j, j, coefficients)
        whole = rest
        for k in range(j):
            whole += coefficients[k] * coefficients[k]
        if rest < 0.25 * whole:  # digits cancelled: once more
            rest = project_out(Z, n, j, j, coefficients)
        if not rest > 1e-22 * whole:
            return j
        norm = math.sqrt(rest)
        for k in range(j):
            R[k, j] = coefficients[k]
        R[j, j] = norm
        scale = 1.0 / norm
        for c in range(Z.shape[0]):
            for i in range(Z.shape[2]):
                Z[c, j, i] *= scale
    return -1


@jit_scalar
def _back_solve(R, right, out):
    """Solve R out = right for an upper triangular R."""
    for j in range(len(right) - 1, -1, -1):
        total = right[j]
        for k in range(j + 1, len(right)):
            total -= R[j, k] * out[k]
        out[j] = total / R[j, j]


@jit_scalar
def _fit(y, vardir, X, offsets, method, variance, coefficients, root, loglik, maxima):
    """Fill the outputs; return -1, or the problem × p + column at fault where a design is deficient."""
    p = X.shape[0]
    pairs = (p + 1) * (p + 2) // 2
    points, scratch = np.empty((64, 2)), np.empty((4, BLOCK))
    first, second = np.empty(pairs), np.empty(pairs)
    R, inverse = np.zeros((p, p)), np.zeros((2, p, p))
    delta, initial = np.empty(p), np.empty(p)
    for problem in range(len(offsets) - 1):
        start, n = offsets[problem], offsets[problem + 1] - offsets[problem]
        blocks = (n + BLOCK - 1) // BLOCK
        Z = np.zeros((blocks, p + 2, (n + blocks - 1) // blocks))
        _fill(vardir, start, n, Z, p + 1)
        smallest, largest = _range(Z, n, p + 1)
        fault = _orthonormalise(X, start, n, Z, R, initial)
        if fault >= 0:
            return problem * p + fault
        for replicate in range(y.shape[0]):
            _fill(y[replicate], start, n, Z, p)
            for j in range(p):
                initial[j] = 0.0
            rss = project_out(Z, n, p, p, initial)
            A, found, quadratic = _variance(
                method, vardir, start, Z, n, smallest, largest, rss,
                scratch, first, second, inverse, delta, points,
            )  # fmt: skip
            variance[replicate, problem] = A
            maxima[replicate, problem] = found
            if len(loglik):
                logs = _sum_log(A, vardir, start, n, smallest, largest)
                loglik[replicate, problem] = -0.5 * (n * math.log(2.0 * math.pi) + logs + quadratic)
                for j in range(p):  # Q = root root' with root = R^-1 (L^-1)'
                    _back_solve(R, inverse[0, j], root[replicate, problem, j])
            for j in range(p):
                delta[j] += initial[j]
            _back_solve(R, delta, coefficients[replicate, problem])
    return -1


def fit_batch(
    y: np.ndarray,
    vardir: np.ndarray,
    X: np.ndarray,
    offsets: np.ndarray,
    method: str = "reml",
    *,
    full: bool = True,
) -> FayHerriotFits:
    """Fit many Fay–Herriot models y = X β + u + e, u ~ N(0, A), e ~ N(0, D), in one call.

    Parameters
    ----------
    y : ndarray of float, shape (N,) or (R, N)
        Direct estimates of all problems, concatenated; R replicates share design and variances.
    vardir : ndarray of float, shape (N,)
        Sampling variances D, strictly positive, squared units.
    X : ndarray of float, shape (p, N)
        Designs, transposed, of full column rank in every problem.
    offsets : ndarray of int64, shape (P + 1,)
        Problem k owns the positions offsets[k] .. offsets[k + 1]; each must hold more than p areas.
    method : {"reml", "ml", "fh", "pr"}
        Restricted or full maximum likelihood, Fay–Herriot moment, Prasad–Rao moment.
    full : bool
        Also fill log-likelihood and root; a bootstrap does without.

    Returns
    -------
    FayHerriotFits

    Raises
    ------
    ValueError
        If a problem has no more areas than coefficients, or a design is rank deficient; ``args[1]`` is
        the index of the problem, ``args[2]`` of the column.

    References
    ----------
    Fay and Herriot (1979), JASA 74, 269–277; Prasad and Rao (1990), JASA 85, 163–171, eq. 3.5;
    Datta and Lahiri (2000), Statistica Sinica 10, 613–627; Rao and Molina (2015), section 6.1.2.

    Examples
    --------
    >>> y = np.array([1.0, 3.0, 2.0, 6.0, 4.0])
    >>> fits = fit_batch(y, np.full(5, 0.5), np.ones((1, 5)), np.array([0, 5]))
    >>> bool(np.isclose(fits.variance[0, 0], y.var(ddof=1) - 0.5))  # equal variances: closed form
    True
    """
    y = np.atleast_2d(np.ascontiguousarray(y, dtype=np.float64))
    X = np.ascontiguousarray(X, dtype=np.float64)
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    p, problems = X.shape[0], len(offsets) - 1
    short = np.flatnonzero(np.diff(offsets) <= p)
    if len(short):
        raise ValueError("a problem has no more areas than coefficients", int(short[0]), -1)
    shape = (y.shape[0], problems)
    kept = shape if full else (0, 0)
    variance, maxima = np.empty(shape), np.empty(shape, dtype=np.int64)
    coefficients, root, loglik = np.empty((*shape, p)), np.empty((*kept, p, p)), np.empty(kept)
    fault = _fit(
        y, np.ascontiguousarray(vardir, dtype=np.float64), X, offsets, METHODS.index(method),
        variance, coefficients, root, loglik, maxima,
    )  # fmt: skip
    if fault >= 0:
        raise ValueError("a design is rank deficient", fault // p, fault % p)
    return FayHerriotFits(variance, coefficients, root.swapaxes(-1, -2), loglik, maxima)
