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
from typing import NamedTuple

import numpy as np

from sae.numerics.compile import call_at, compiled, inlined
from sae.numerics.linalg.contrasts import SPREAD, contrast_address, contrast_width
from sae.numerics.linalg.gram import (
    BLOCK,
    back_solve,
    cholesky_inverse,
    fill_column,
    fill_products,
    gram_sums,
    orthonormalise,
    project_out,
)

__all__ = ["METHODS", "FayHerriotFits", "fewest_areas", "fit_batch", "units"]

METHODS = ("reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml")
_LIKELIHOOD, _FH, _PR, _LI_LAHIRI, _YOSHIMORI = range(5)
_KINDS = {"fh": _FH, "pr": _PR, "ll": _LI_LAHIRI, "yl": _YOSHIMORI}
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


class _Workspace(NamedTuple):
    """Room for the largest problem: columns and their products in blocks, one evaluation, and the scan."""

    Z: np.ndarray
    products: np.ndarray
    square: np.ndarray
    inverse: np.ndarray
    first: np.ndarray
    second: np.ndarray
    delta: np.ndarray
    initial: np.ndarray
    scratch: np.ndarray
    points: np.ndarray
    wide: np.ndarray
    grams: np.ndarray
    sums: np.ndarray
    contrasts: int

    @classmethod
    def of(cls, most: int, p: int, contrasts: int) -> _Workspace:
        """Make room for up to `most` areas and p coefficients; `contrasts` is an address or 0."""
        blocks, length, pairs = -(-most // BLOCK), min(most, BLOCK), (p + 1) * (p + 2) // 2
        return cls(
            np.empty((blocks, p + 2, length)),
            np.empty((blocks, pairs, length)),
            np.zeros((p, p)),
            np.zeros((2, p, p)),
            np.empty(pairs),
            np.empty(pairs),
            np.empty(p),
            np.empty(p),
            np.empty((2, BLOCK)),
            np.empty((64, 2)),
            np.empty((p + 3, contrast_width(most, p))),
            np.empty((2, pairs)),
            np.empty(5),
            contrasts,
        )


@inlined
def _sum_log(A, vardir, start, n, smallest, largest):
    """Sum log(A + D) with one logarithm per eight areas where no product of eight can underflow."""
    scale = A + largest
    over = 1.0 / scale
    step = 1
    if (A + smallest) * over > 1e-35:
        step = 8
    total, product, count = n * math.log(scale), 1.0, 0
    for i in range(start, start + n):
        product *= (A + vardir[0, i]) * over
        count += 1
        if count == step:
            total += math.log(product)
            product, count = 1.0, 0
    return total + math.log(product)


@inlined
def _profile(A, n, smallest, largest, restricted, work):
    """Evaluate the profile at A.

    The columns of `work.Z` are the orthonormal design, the residuals of y on it, and D. `delta` receives the
    coefficients of the residuals at A, `inverse` the Cholesky factor of X'WX and its inverse. Differences of
    Gram sums serve while the weights are alike.

    Returns
    -------
    tuple of float
        tr P (tr V^-1 where not `restricted`), y'P²y, y'Py, sum of the weights and of their squares.
    """
    inverse, first, second, delta = work.inverse, work.first, work.second, work.delta
    p = len(delta)
    if A + largest > SPREAD * (A + smallest):
        sums = work.sums
        call_at(work.contrasts, (A, n, work.Z, work.wide, work.grams, inverse, delta, sums))
        return sums[0] if restricted else sums[3], sums[1], sums[2], sums[3], sums[4]
    s1, s2 = gram_sums(A, work.Z, work.products, n, work.scratch, first, second)
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
    taken, squared, row = 0.0, second[last + p], 0
    for j in range(p):
        squared -= 2.0 * delta[j] * second[last + j]
        for k in range(j + 1):
            entry = 2.0 * second[row]
            if j == k:
                entry = second[row]
            row += 1
            squared += delta[j] * delta[k] * entry
            for s in range(j, p):
                taken += inverse[0, s, j] * inverse[0, s, k] * entry
    if restricted:
        return s1 - taken, squared, quadratic, s1, s2
    return s1, squared, quadratic, s1, s2


@inlined
def _scan_range(kind, restricted, n, p, smallest, largest, rss, room):
    """Where the scan starts, the bounds outside which the sign of the score is known, and its factor."""
    spread = largest - smallest
    bottom, ratio = 0.0, _SCAN_RATIO
    if kind >= _LI_LAHIRI:
        k = float(n - p if restricted else n)
        lift = 2.0 if kind == _LI_LAHIRI else 2.0 / n
        half = 0.5 * (rss + lift * largest) / (k - lift)
        top = (half + math.sqrt(half * half + rss * largest / (k - lift))) * (1.0 + 1e-9)
        bottom = smallest / max(k - 2.0, 4.0)
        if kind == _YOSHIMORI:
            bottom = 0.6 * smallest * (n - 1) / (k * n * n)
        A = min(0.5 * smallest, 0.5 * top)
        ratio = max(ratio, (top / bottom) ** (1.0 / (room - 3)))
    else:
        # beyond `top` S < T, since S <= rss / (A + min D)² and T >= (n - p) / (A + max D)
        s = rss / (n - p)
        top = (0.5 * (s + math.sqrt(s * s + 4.0 * s * spread)) - smallest) * (1.0 + 1e-9)
        A = min(0.5 * smallest, 0.5 * top)
        if top > 0.0:
            ratio = max(ratio, (top / A) ** (1.0 / (room - 3)))
    return A, bottom, top, ratio


@inlined
def _adjustment(kind, A, n, s1, s2):
    """Slope of log A (Li and Lahiri) or of log atan(tr γ) / n (Yoshimori and Lahiri)."""
    if kind == _LI_LAHIRI:
        return 1.0 / A
    shrink = A * s1
    return (s1 - A * s2) / (n * (1.0 + shrink * shrink) * math.atan(shrink))


@inlined
def _variance(kind, restricted, vardir, start, n, smallest, largest, rss, expected, work):
    """Estimate the model variance of one problem; `inverse` and `delta` are left at the estimate.

    Likelihoods: the sign of the score is that of S / T - 1 with S = y'P²y and T = tr P. The eigenvalues of P
    lie between 1 / (A + max D) and 1 / (A + min D), so that going up from a, S/T <= (S/T)(a) f(A) / f(a)
    with f(A) = (A + min D) / (A + max D)², and going down from b, S/T >= (S/T)(b) f(A) / f(b). So both ends
    of the scan are proven; between them it steps by a factor, as the profile bends on the scale of log A. A
    maximum lies at 0 if the score is not positive there, and wherever it falls through 0. These brackets are
    closed by secants on score / information, a straight line in A where the sampling variances are equal,
    with bisection as guard. The highest maximum wins.

    Adjusted likelihoods add the positive slope a of log A (Li and Lahiri) or of log atan(tr γ) / n (Yoshimori
    and Lahiri): a = 1 / A, or a <= 1 / (nA) everywhere and a >= 2 (1 - 1/n) / (π nA) where tr γ <= 1 and
    A <= min D / (n - 1). Against T <= k / (A + min D), T >= k / (A + max D) and S <= rss / A² with k = n - p,
    or n where not `restricted`, both prove an interval outside which the score is positive below and negative
    above.

    Moments: y'P(A)y = n - p by Newton on 1 / y'Py, which is concave in A, so that it climbs to the root from
    0; Prasad and Rao's is closed: `expected` is what the sampling errors put into the residual sum of
    squares.

    Everything asks for one function of A at a time: the loop has one call, and phases that say what for.

    Returns
    -------
    tuple
        A, number of maxima, y'Py at A.
    """
    inverse, points, p = work.inverse, work.points, len(work.delta)
    adjusted = kind >= _LI_LAHIRI
    moment = kind in (_FH, _PR)
    spread = largest - smallest
    A, bottom, top, ratio = _scan_range(kind, restricted, n, p, smallest, largest, rss, len(points))
    phase, row = _SCAN, 1
    highest = found = count = 0
    falls = proven = closing = False
    points[0, 0] = 0.0
    points[0, 1] = 1.0
    best = best_value = width = low = high = now = now_step = before = before_step = 0.0
    if moment:
        phase, A = _MOMENT, 0.0
        if kind == _PR and rss > expected:
            A = (rss - expected) / (n - p)
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
        trace, squared, quadratic, s1, s2 = _profile(A, n, smallest, largest, restricted, work)
        if phase == _LAST:
            return A, max(found, 1), quadratic
        if phase == _MOMENT:
            climb = quadratic * (quadratic - (n - p)) / ((n - p) * squared)
            if kind == _PR or not climb > _TOLERANCE * A:
                return A, 1, quadratic
            A += climb
            continue
        step = (squared - trace) / s2
        if adjusted:
            step = (step + 2.0 * _adjustment(kind, A, n, s1, s2) / s2) * A / (A + smallest)
        if phase == _SCAN:
            points[row, 0] = A
            points[row, 1] = step if top > A else -abs(step)
            if row > 0:
                highest = row
                shape = (A + largest) * (A + largest) / (A + smallest)
                peak = 4.0 * spread if spread - smallest > A else shape
                falls = top <= A or (not adjusted and squared < trace and squared * shape < trace * peak)
                if not proven and not squared * shape * smallest > trace * largest * largest:
                    proven, row, A = True, 0, bottom  # not proven to rise up to here
                    if adjusted:
                        highest, falls = 0, False
                    continue
                proven = True
            if not falls and highest < len(points) - 1:
                row = highest + 1
                A = min(ratio * points[highest, 0], top)
                continue
            phase, row = _POLISH, -1
        else:
            now = A
            now_step = step
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
            if kind == _LI_LAHIRI:
                value += math.log(now)
            elif kind == _YOSHIMORI:
                value += math.log(math.atan(now * s1)) / n
            found += 1
            if found == 1 or value > best_value:
                best = now
                best_value = value
        # the next maximum, or the end
        row += 1
        while row <= highest and not (points[row, 1] <= 0.0 and (row == 0 or points[row - 1, 1] > 0.0)):
            row += 1
        if row > highest:
            if found > 0 and now == best:
                return best, found, quadratic
            phase, A = _LAST, best
            continue
        closing = row == 0
        previous = max(row - 1, 0)
        high = before = points[row, 0]
        before_step = points[row, 1]
        low = now = A = points[previous, 0]
        now_step = points[previous, 1]
        if abs(before_step) < abs(now_step):
            now, before = before, now
            now_step, before_step = before_step, now_step
        width = high - low
        count = 0


@compiled
def _fit(y, vardir, X, offsets, ends, kind, restricted, work, out):
    """Fill `out`; return -1, or the problem × p + column at fault where a design is deficient.

    `ends` holds the smallest, the largest and the sum of the sampling variances of each problem; `out` the
    arrays of `FayHerriotFits`, the roots transposed.
    """
    Z, products, square, initial = work.Z, work.products, work.square, work.initial
    inverse, delta = work.inverse, work.delta
    variance, coefficients, root, loglik, maxima = out
    p = X.shape[0]
    for problem in range(len(offsets) - 1):
        start, n = offsets[problem], offsets[problem + 1] - offsets[problem]
        smallest, largest, total = ends[0, problem], ends[1, problem], ends[2, problem]
        fill_column(vardir[0], start, n, Z, p + 1)
        fault, taken = orthonormalise(X, start, n, Z, square, initial)
        if fault >= 0:
            return problem * p + fault
        known = np.int64(0)  # columns whose products are there
        for replicate in range(y.shape[0]):
            fill_column(y[replicate], start, n, Z, p)
            for j in range(p):
                initial[j] = 0.0
            rss = project_out(Z, n, p, p, initial)
            fill_products(Z, n, known, p + 1, products)
            known = p
            A, found, quadratic = _variance(
                kind, restricted, vardir, start, n, smallest, largest, rss, total - taken, work
            )
            variance[replicate, problem] = A
            maxima[replicate, problem] = found
            if len(loglik):
                logs = _sum_log(A, vardir, start, n, smallest, largest)
                loglik[replicate, problem] = -0.5 * (n * math.log(2.0 * math.pi) + logs + quadratic)
                for j in range(p):  # Q = root root' with root = R^-1 (L^-1)'
                    row = root[replicate, problem, j]
                    for k in range(p):
                        row[k] = inverse[0, j, k]
                    back_solve(square, p, row)
            beta = coefficients[replicate, problem]
            for j in range(p):
                beta[j] = delta[j] + initial[j]
            back_solve(square, p, beta)
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
    method : {"reml", "ml", "fh", "pr", "ll-reml", "ll-ml", "yl-reml", "yl-ml"}
        Restricted or full maximum likelihood, Fay–Herriot moment, Prasad–Rao moment; likelihoods adjusted by
        Li and Lahiri (times A) or by Yoshimori and Lahiri (times atan(tr γ)^(1/n)), which are never 0.
    full : bool
        Also fill log-likelihood and root; a bootstrap does without.

    Returns
    -------
    FayHerriotFits

    Raises
    ------
    ValueError
        If a problem has too few areas (no more than coefficients; adjusted likelihoods need some more, see
        `fewest_areas`), or a design is rank deficient; ``args[1]`` is the index of the problem, ``args[2]``
        of the column.

    References
    ----------
    Fay and Herriot (1979), JASA 74, 269–277; Prasad and Rao (1990), JASA 85, 163–171, eq. 3.5;
    Datta and Lahiri (2000), Statistica Sinica 10, 613–627; Rao and Molina (2015), section 6.1.2; Li and
    Lahiri (2010), J. Multivariate Anal. 101, 882–892; Yoshimori and Lahiri (2014), same journal 124, 281–294.

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
    vardir = np.atleast_2d(np.ascontiguousarray(vardir, dtype=np.float64))
    p, problems = X.shape[0], len(offsets) - 1
    counts = np.diff(offsets)
    short = np.flatnonzero(counts < fewest_areas(method, p))
    if len(short):
        raise ValueError("a problem has too few areas for its coefficients", int(short[0]), -1)
    shape = (y.shape[0], problems)
    kept = shape if full else (0, 0)
    variance, maxima = np.empty(shape), np.empty(shape, dtype=np.int64)
    coefficients, root, loglik = np.empty((*shape, p)), np.empty((*kept, p, p)), np.empty(kept)
    most = int(counts.max(initial=1))
    ends = np.vstack([ends.reduceat(vardir[0], offsets[:-1]) for ends in (np.minimum, np.maximum, np.add)])
    unit = units(ends[:2])
    if unit is not None:
        areas = np.repeat(unit, counts)
        y, vardir, ends = y / areas, vardir / areas / areas, ends / unit / unit
    wide = ends[1] >= 0.5 * SPREAD * ends[0]  # of those the kernel asks for contrasts
    fault = _fit(
        y,
        vardir,
        X,
        offsets,
        ends,
        _KINDS.get(method.partition("-")[0], _LIKELIHOOD),
        method.endswith("reml"),
        _Workspace.of(most, p, contrast_address() if wide.any() else 0),
        (variance, coefficients, root, loglik, maxima),
    )
    if fault >= 0:
        raise ValueError("a design is rank deficient", fault // p, fault % p)
    if unit is not None:
        variance *= unit
        variance *= unit
        coefficients *= unit[:, None]
        if full:
            root *= unit[:, None, None]
            loglik -= counts * np.log(unit)
    return FayHerriotFits(variance, coefficients, root.swapaxes(-1, -2), loglik, maxima)


def fewest_areas(method: str, coefficients: int) -> int:
    """Return the number of areas from which on the model variance can be estimated.

    Times A the likelihood falls only with two degrees of freedom more; times atan(tr γ)^(1/n) with three
    areas.

    Examples
    --------
    >>> fewest_areas("reml", 2), fewest_areas("ll-reml", 2), fewest_areas("ll-ml", 2)
    (3, 5, 3)
    """
    more = {"ll-reml": coefficients + 3, "ll-ml": 3, "yl-reml": 3}
    return max(coefficients + 1, more.get(method, 0))


def units(ends: np.ndarray) -> np.ndarray | None:
    """Return powers of 2 in which problems are of ordinary size; None where all of them are already.

    Squares of variances are to be numbers: they overflow from 1e154 on.

    Parameters
    ----------
    ends : ndarray, shape (2, P)
        Smallest and largest sampling variance of each problem.

    Examples
    --------
    >>> units(np.array([[1e-8], [1e8]])) is None, np.log2(units(np.array([[1e160], [1e161]])))
    (True, array([267.]))
    """
    logs = np.log2(ends)
    if (np.abs(logs) < 200.0).all():
        return None
    return np.asarray(np.exp2(np.round(0.25 * logs.sum(axis=0))))
