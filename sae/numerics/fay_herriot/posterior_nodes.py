"""Kernels of the Fay–Herriot posterior: its density over the one standard deviation, and equidistant nodes.

The variable is t with σ = unit · exp(t - exp(-t)): logarithmic where the data speak, and running down to 0
double-exponentially, so that the density in t falls off at both ends whatever the prior does at σ = 0. The
likelihood is singular only at σ² = -D, which lies π/2 from the real line on this scale however much the
sampling variances differ; so the trapezoidal rule converges exponentially, and every second node
tells how far.

References
----------
Trefethen and Weideman (2014), SIAM Review 56, 385–458; Takahasi and Mori (1974), Publ. RIMS 9, 721–741.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sae.numerics.compile import call_at, compiled, inlined
from sae.numerics.fay_herriot.variance_sums import fill_sums, sums_at
from sae.numerics.inference.priors import FLAT_SD, log_prior_sd
from sae.numerics.linalg.contrasts import SPREAD, contrast_width
from sae.numerics.linalg.gram import (
    BLOCK,
    back_solve,
    cholesky_inverse,
    fill_column,
    orthonormalise,
    project_out,
)

__all__ = ["MOST_NODES", "NodeData", "NodeOutput", "NodeWorkspace", "posterior_nodes"]

MOST_NODES = 2048
_DROP = 28.0  # nats below the top at which the density is taken for nothing
_SPACING = 0.55  # of the nodes, in standard deviations at the top
_WIDEST = 0.4
_HALVED = 3e-5  # what leaving out every second node may change: all of them are then off by its square
_SCAN, _CLIMB, _RIGHT, _LEFT, _FILL, _REFINE = range(6)
_TOP = 1.357  # the t of the top: the density falls to 0 double-exponentially over the next five units


class NodeData(NamedTuple):
    """P problems, N areas in all, p coefficients.

    Attributes
    ----------
    y, vardir : ndarray, shape (N,)
    X : ndarray, shape (p, N)
    offsets : ndarray of int64, shape (P + 1,)
    ends : ndarray, shape (3, P)
        Smallest, mean and largest sampling variance.
    codes, scales : ndarray, shape (P,)
        Prior.
    finite : ndarray of bool, shape (P,)
        Whether the posterior mean of the variance exists.
    """

    y: np.ndarray
    vardir: np.ndarray
    X: np.ndarray
    offsets: np.ndarray
    ends: np.ndarray
    codes: np.ndarray
    scales: np.ndarray
    finite: np.ndarray


class NodeWorkspace(NamedTuple):
    """Room for the columns of the largest problem, one evaluation, and the nodes of one problem."""

    Z: np.ndarray
    R: np.ndarray
    inverse: np.ndarray
    first: np.ndarray
    delta: np.ndarray
    initial: np.ndarray
    products: np.ndarray
    moments: np.ndarray
    sums: np.ndarray
    weights: np.ndarray
    scan: np.ndarray
    order: np.ndarray
    rows: np.ndarray
    row_delta: np.ndarray
    row_inverse: np.ndarray
    back: np.ndarray
    wide: np.ndarray
    grams: np.ndarray
    parts: np.ndarray
    contrasts: int

    @classmethod
    def of(cls, most: int, points: int, p: int, contrasts: int) -> NodeWorkspace:
        """Make room for areas, points and p coefficients; `contrasts` is an address, 0 if not needed."""
        pairs = (p + 1) * (p + 2) // 2
        length = min(most, BLOCK)
        return cls(
            np.empty((-(-most // BLOCK), p + 2, length)),
            np.zeros((p, p)),
            np.zeros((2, p, p)),
            np.empty(pairs),
            np.empty(p),
            np.empty(p),
            np.empty((pairs + 5, length)),
            np.empty((pairs + 6, points)),
            np.empty((pairs + 2, points)),
            np.empty(points),
            np.empty((256, 2)),
            np.empty(MOST_NODES, dtype=np.int64),
            np.empty((4, MOST_NODES)),
            np.empty((MOST_NODES, p)),
            np.empty((MOST_NODES, p, p)),
            np.empty((p, p)),
            np.empty((p + 3, contrast_width(most, p) if contrasts else 0)),
            np.empty((2, pairs)),
            np.empty(5),
            contrasts,
        )


class NodeOutput(NamedTuple):
    """What the kernel fills.

    Attributes
    ----------
    counts, spacings, units, errors : ndarray, shape (P,)
        Number and spacing of the nodes, unit of σ and error of each problem.
    places, heights, coefficients, roots : ndarray, shapes (K,), (K,), (K, p) and (K, p, p)
        t, log density, its top being 0, coefficients and roots of all nodes, from 0 on at every call.
    """

    counts: np.ndarray
    spacings: np.ndarray
    units: np.ndarray
    errors: np.ndarray
    places: np.ndarray
    heights: np.ndarray
    coefficients: np.ndarray
    roots: np.ndarray

    @classmethod
    def of(
        cls,
        counts: np.ndarray,
        spacings: np.ndarray,
        units: np.ndarray,
        errors: np.ndarray,
        nodes: int,
        p: int,
    ) -> NodeOutput:
        """Make room for so many nodes."""
        places, heights = np.empty((2, nodes))
        return cls(
            counts, spacings, units, errors, places, heights, np.empty((nodes, p)), np.empty((nodes, p, p))
        )


@inlined
def _log_likelihood(
    A, Z, n, sums, size, smallest, largest, weights, first, inverse, delta, wide, grams, parts, contrasts
):
    """Return the log likelihood of the model variance A, coefficients integrated out, up to a constant.

    `delta` receives the coefficients of the residuals, `inverse` the inverse of the Cholesky factor of the
    Gram matrix, both for the orthonormal design in Z.
    """
    p = len(delta)
    logs = sums_at(A, sums, size, weights, first)
    if A + largest > SPREAD * (A + smallest):
        call_at(contrasts, (A, n, Z, wide, grams, inverse, delta, parts))
        for j in range(p):
            logs += 2.0 * math.log(inverse[1, j, j])
        return -0.5 * (logs + parts[2])
    cholesky_inverse(first, inverse)
    last = p * (p + 1) // 2
    rss, half_log = first[last + p], 0.0
    for j in range(p):
        total = 0.0
        for k in range(j + 1):
            total += inverse[0, j, k] * first[last + k]
        delta[j] = total
        rss -= total * total
        half_log += math.log(inverse[0, j, j])
    for j in range(p):
        total = 0.0
        for k in range(j, p):
            total += inverse[0, k, j] * delta[k]
        delta[j] = total
    return half_log - 0.5 * (logs + rss)


@inlined
def _climb(a, fa, b, fb, c, fc):
    """Propose where the top lies between three points, by a parabola with bisection as guard.

    a < b < c are places, fa, fb and fc their heights, fb the highest. Returns the place, the width of the
    parabola, and whether both are known well enough.
    """
    left, right = (fb - fa) / (b - a), (fc - fb) / (c - b)
    bend = 2.0 * (left - right) / (c - a)  # minus the second derivative
    if not 0.0 < bend < np.inf:
        return (0.5 * (a + b) if b - a > c - b else 0.5 * (b + c)), c - a, False
    width = 1.0 / math.sqrt(bend)
    top = b + (left * (c - b) + right * (b - a)) / ((c - a) * bend)
    if abs(top - b) < 0.1 * width:
        if max(b - a, c - b) < 4.0 * width:
            return b, width, True
        top = b - width if b - a > c - b else b + width  # the arms are too long to tell the width
    if not a < top < c:
        top = 0.5 * (a + b) if b - a > c - b else 0.5 * (b + c)
    return top, width, False


@inlined
def _error(rows, order, count, smallest, middle, largest):
    """Compare all nodes with every second one: the largest change of the weight of a direct estimate."""
    error = 0.0
    for D in (smallest, middle, largest):
        whole, half, every, second = 0.0, 0.0, 0.0, 0.0
        for place in range(count):
            k = order[place]
            mass, A = rows[2, k], rows[3, k]
            share = mass * (A / (A + D))
            whole += mass
            every += share
            if place % 2 == 0:
                half += mass
                second += share
        error = max(error, abs(2.0 * half - whole) / whole, abs(second / half - every / whole))
    return error


@inlined
def _start_scan(n, p, smallest, largest, rss, code, scale):
    """Where the scan of u = log σ starts, where its steps double, and beyond where a fall ends it."""
    u = math.log(0.02 * math.sqrt(smallest / n))  # the likelihood is flat below
    if code > FLAT_SD:
        u = min(u, math.log(0.01 * scale))
    bends = math.log(0.1 * math.sqrt(smallest))
    far = math.log(2.0 * math.sqrt(max(largest, rss / max(n - p - 2.0, 0.5))))
    return u, bends, far


@inlined
def _narrow(u, height, a, fa, b, fb, c, fc):
    """Put a new point into the bracket a < b < c, whose middle is the highest."""
    if height > fb:
        if u < b:
            return a, fa, u, height, b, fb
        return b, fb, u, height, c, fc
    if u < b:
        return u, height, b, fb, c, fc
    return a, fa, b, fb, u, height


@inlined
def _reach(scan, scanned, top):
    """Return the scanned range in which the density is not taken for nothing."""
    low, high = np.inf, -np.inf
    for k in range(scanned):
        if scan[k, 1] > top - _DROP:
            low, high = min(low, scan[k, 0]), max(high, scan[k, 0])
    return low, high


@inlined
def _coefficients(position, used, back, initial, row_delta, row_inverse, coefficients, roots):
    """Give out the coefficients of a node and the root of their covariance: `back` turns them into X's."""
    p = len(initial)
    for k in range(p):
        total = 0.0
        for c in range(k, p):
            total += back[k, c] * (initial[c] + row_delta[position, c])
        coefficients[used, k] = total
        for j in range(p):
            total = 0.0
            for c in range(k, j + 1):
                total += back[k, c] * row_inverse[position, j, c]
            roots[used, k, j] = total


@compiled
def posterior_nodes(problem, fine, data, work, out):
    """Place the nodes of the problems from `problem` on, as far as the room for nodes reaches.

    Parameters
    ----------
    problem : int
    fine : bool
        Halve the spacing once more, for interpolation.
    data : NodeData
    work : NodeWorkspace
    out : NodeOutput

    Returns
    -------
    tuple of int
        The first problem not done, the number of nodes used, and the fault that stopped there: -1 for none,
        the column of a deficient design, -2 without convergence.
    """
    y, vardir, X, offsets, ends, codes, scales, finite = data
    Z, R, inverse, first, delta, initial, products, moments, sums, weights = work[:10]
    scan, order, rows, row_delta, row_inverse, back, wide, grams, parts, contrasts = work[10:]
    counts, spacings, units, errors, places, heights, coefficients, roots = out
    p, used = X.shape[0], np.int64(0)  # typed: a bare 0 would have what it is passed to compiled twice
    while problem < len(codes) and used + MOST_NODES <= len(places):
        start, n = offsets[problem], offsets[problem + 1] - offsets[problem]
        smallest, middle, largest = ends[0, problem], ends[1, problem], ends[2, problem]
        code, scale = codes[problem], scales[problem]
        fill_column(vardir, start, n, Z, p + 1)
        deficient, _ = orthonormalise(X, start, n, Z, R, initial)
        if deficient >= 0:
            return problem, used, deficient
        fill_column(y, start, n, Z, p)
        for j in range(p):
            initial[j] = 0.0
        rss = project_out(Z, n, p, p, initial)
        size = fill_sums(Z, n, smallest, largest, products, moments, sums)
        u, bends, far = _start_scan(n, p, smallest, largest, rss, code, scale)
        # scan for the top, climb it, walk right and left of it, fill in until every second node would do
        phase, scanned, best, tries, count, known, halvings = _SCAN, 0, 0, 0, 0, 0, 0
        now, log_unit, step, error = 0.0, 0.0, 0.0, 0.0
        a, fa, b, fb, c, fc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        low, high, highest, steepest, before = 0.0, 0.0, 0.0, 0.0, 0.0
        while count < MOST_NODES:
            fall = math.exp(-now)
            if phase >= _RIGHT:
                u = log_unit + now - fall
            sd = math.exp(u)
            A = sd * sd
            height = _log_likelihood(
                A,
                Z,
                n,
                sums,
                size,
                smallest,
                largest,
                weights,
                first,
                inverse,
                delta,
                wide,
                grams,
                parts,
                contrasts,
            )
            height += log_prior_sd(code, scale, sd) + u
            if phase == _SCAN:
                scan[scanned, 0], scan[scanned, 1] = u, height
                if height > scan[best, 1]:
                    best = scanned
                scanned += 1
                if scanned < len(scan) and not (u > far and height < scan[scanned - 2, 1]):
                    u += 0.5 if u > bends else 1.0
                    continue
                best = min(max(best, 1), scanned - 2)
                a, fa, b, fb = scan[best - 1, 0], scan[best - 1, 1], scan[best, 0], scan[best, 1]
                c, fc = scan[best + 1, 0], scan[best + 1, 1]
                phase = _CLIMB
            elif phase == _CLIMB:
                a, fa, b, fb, c, fc = _narrow(u, height, a, fa, b, fb, c, fc)
            if phase == _CLIMB:
                u, width, done = _climb(a, fa, b, fb, c, fc)
                tries += 1
                if not done and tries < 60:
                    continue
                log_unit = b - _TOP + math.exp(-_TOP)
                step = min(_SPACING * width / (1.0 + math.exp(-_TOP)), _WIDEST)
                low, high = _reach(scan, scanned, fb)
                phase, now, highest, steepest = _RIGHT, _TOP, -np.inf, -np.inf
                continue
            height += math.log1p(fall)
            rows[0, count], rows[1, count], rows[2, count], rows[3, count] = (
                now,
                height,
                math.exp(height - fb),
                A,
            )
            for j in range(p):
                row_delta[count, j] = delta[j]
                for k in range(j + 1):
                    row_inverse[count, j, k] = inverse[0, j, k]
            count += 1
            highest = max(highest, height)
            if phase == _RIGHT:
                # the mean of the variance is to converge too, where it exists
                tail = height + 2.0 * u if finite[problem] else height
                steepest = max(steepest, tail)
                ends_here = height < min(highest - _DROP, before) and tail < steepest - _DROP
                before = height
                if u < high or not ends_here:
                    now += step
                    continue
                phase, now, known = _LEFT, _TOP - step, count
                continue
            if phase == _LEFT:
                if u > low or height > highest - _DROP:
                    now -= step
                    continue
                phase = _FILL
                for k in range(count - known):  # in the order of t: the left ones backwards, the right ones
                    order[k] = count - 1 - k
                for k in range(known):
                    order[count - known + k] = k
            else:
                now += 2.0 * step
                if count < 2 * known - 1:
                    continue
                for k in range(known - 1, -1, -1):
                    order[2 * k] = order[k]
                    if k < known - 1:
                        order[2 * k + 1] = known + k
            if phase == _REFINE:
                break
            known = count
            error = _error(rows, order, count, smallest, middle, largest)
            if error < _HALVED or halvings == 8:
                if not fine:
                    break
                phase = _REFINE  # once more, for interpolation only
            halvings += 1
            step *= 0.5
            now = rows[0, order[0]] + step
        if count == MOST_NODES:
            return problem, used, -2
        for j in range(p):
            for k in range(p):
                delta[k] = 1.0 if j == k else 0.0
            back_solve(R, p, delta)
            for k in range(p):
                back[k, j] = delta[k]
        for place in range(count):
            position = order[place]
            places[used], heights[used] = rows[0, position], rows[1, position] - highest
            _coefficients(position, used, back, initial, row_delta, row_inverse, coefficients, roots)
            used += 1
        counts[problem], spacings[problem], errors[problem] = count, step, error
        units[problem] = math.exp(log_unit)
        problem += 1
    return problem, used, -1
