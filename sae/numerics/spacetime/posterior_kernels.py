"""Kernels over areas for models whose rows within an area are correlated: one small dense block per area.

The rows of area i have V_i = Psi_i + tau² 11' + Omega[t, t']: sampling error, independent part of the area
effect, and effects over time. Rows are sorted by area; `start` (D + 1,) bounds those with a direct estimate,
`row_start` (D + 1,) all of them.
"""

from __future__ import annotations

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.linalg.lanes import EIGHT, LANES, take_off_multiples
from sae.numerics.random.normals import fill_normals, new_stream

__all__ = ["area_rows", "area_sums", "draw_rows", "inner_products", "times_weight"]


@inlined
def _block(V, psi, time, first, n, tau2, omega):
    """Fill V[:n, :n] with the Cholesky root of the covariance of the sampled rows of one area."""
    for a in range(n):
        for b in range(a + 1):
            ta, tb = time[first + a], time[first + b]
            V[a, b] = psi[ta, tb] + tau2 + omega[ta, tb]
    _root(V, n)


@inlined
def _root(V, n):
    for a in range(n):
        for b in range(a + 1):
            total = V[a, b]
            for k in range(b):
                total -= V[a, k] * V[b, k]
            V[a, b] = np.sqrt(total) if a == b else total / V[b, b]


@inlined
def _forward(L, x, n):
    for a in range(n):
        total = x[a]
        for k in range(a):
            total -= L[a, k] * x[k]
        x[a] = total / L[a, a]


@inlined
def _backward(L, x, n):
    for a in range(n - 1, -1, -1):
        total = x[a]
        for k in range(a + 1, n):
            total -= L[k, a] * x[k]
        x[a] = total / L[a, a]


@compiled
def times_weight(weight, Z, constrained, white):
    """Fill in `white` (groups, D, q or q + 1, lanes): weight (groups, D, lanes) times (Z, constrained)."""
    groups, n_areas, columns, lanes = white.shape
    q = Z.shape[1]
    for group in range(groups):
        for i in range(n_areas):
            for j in range(columns):
                for lane in range(lanes):
                    value = weight[group, i, lane] * Z[i, j] if j < q else constrained[i]
                    white[group, i, j, lane] = value


@compiled
def inner_products(white, component, gram, sums, q):
    """Fill in inner products of q columns in lanes, and those of the last one on each part of the map.

    `white` (groups, lanes D q), `component` (D,) the part of each row or -1, `gram` (groups, lanes q²) and
    `sums` (groups, lanes parts q), both zero.
    """
    for group in range(len(white)):
        x = white[group]
        for row in range(len(component)):
            for j in range(q):
                take_off_multiples(EIGHT, gram[group], j * q, x, row * q, q, x, row * q + j)
            if component[row] >= 0:
                last = row * q + q - 1
                take_off_multiples(EIGHT, sums[group], component[row] * q, x, row * q, q, x, last)
        for i in range(LANES * q * q):
            gram[group, i] = -gram[group, i]
        for i in range(sums.shape[1]):
            sums[group, i] = -sums[group, i]


@compiled
def area_sums(start, time, psi, Z, tau2, omega):
    """Return sums over the rows of each area for k hyperparameter values.

    Parameters
    ----------
    start : ndarray of int, shape (D + 1,)
    time : ndarray of int, shape (n,)
        Period of each row with a direct estimate.
    psi : ndarray, shape (D, T, T)
        Sampling covariances.
    Z : ndarray, shape (n, q)
        Covariates and, last, the direct estimates.
    tau2 : ndarray, shape (k,)
    omega : ndarray, shape (k, T, T)

    Returns
    -------
    pull : ndarray, shape (k, D)
        1'V_i^-1 1.
    given : ndarray, shape (k, D, q)
        1'V_i^-1 Z_i.
    gram : ndarray, shape (k, q, q)
        Sum of Z_i'V_i^-1 Z_i.
    logdet : ndarray, shape (k,)
        Sum of log |V_i|.
    """
    k, n_areas, q = len(tau2), len(start) - 1, Z.shape[1]
    T = psi.shape[1]
    pull, given = np.zeros((k, n_areas)), np.zeros((k, n_areas, q))
    gram, logdet = np.zeros((k, q, q)), np.zeros(k)
    L, H = np.empty((T, T)), np.empty((q + 1, T))
    for m in range(k):
        for i in range(n_areas):
            first, n = start[i], start[i + 1] - start[i]
            if T == 1 and n == 1:
                variance = psi[i, 0, 0] + tau2[m] + omega[m, 0, 0]
                logdet[m] += np.log(variance)
                pull[m, i] = 1.0 / variance
                for j in range(q):
                    value = Z[first, j] / variance
                    given[m, i, j] = value
                    for h in range(j + 1):
                        gram[m, j, h] += value * Z[first, h]
                continue
            _block(L, psi[i], time, first, n, tau2[m], omega[m])
            H[q, :n] = 1.0
            for j in range(q):
                for a in range(n):
                    H[j, a] = Z[first + a, j]
            for j in range(q + 1):
                _forward(L, H[j], n)
            for a in range(n):
                logdet[m] += 2.0 * np.log(L[a, a])
                one = H[q, a]
                pull[m, i] += one * one
                for j in range(q):
                    value = H[j, a]
                    given[m, i, j] += one * value
                    for h in range(j + 1):
                        gram[m, j, h] += value * H[h, a]
        for j in range(q):
            for h in range(j):
                gram[m, h, j] = gram[m, j, h]
    return pull, given, gram, logdet


@compiled
def area_rows(start, time, psi, Z, row_start, row_time, row_X, tau2, omega):
    """Return what each row's true value is made of, given coefficients and field, at one set of values.

    With K the covariance of the row's own effects with those of its area's sampled rows and a = V_i^-1 K,
    the value is known + design'beta + slack c x_i + N(0, left).

    Returns
    -------
    rows : ndarray, shape (M, p + 3)
        design (p columns), known, slack, left.
    inverse : ndarray, shape (n, q + 2)
        Of each sampled row: V_i^-1 Z (q columns), V_i^-1 1, and the diagonal of V_i^-1.
    """
    n_areas, q, T = len(start) - 1, Z.shape[1], psi.shape[1]
    p = q - 1
    rows, inverse = np.empty((len(row_time), p + 3)), np.empty((len(time), q + 2))
    L, x = np.empty((T, T)), np.empty(T)
    for i in range(n_areas):
        first, n = start[i], start[i + 1] - start[i]
        _block(L, psi[i], time, first, n, tau2, omega)
        for j in range(q + 1):
            for a in range(n):
                x[a] = Z[first + a, j] if j < q else 1.0
            _forward(L, x, n)
            _backward(L, x, n)
            for a in range(n):
                inverse[first + a, j] = x[a]
        for a in range(n):
            x[:n] = 0.0
            x[a] = 1.0
            _forward(L, x, n)
            total = 0.0
            for b in range(a, n):
                total += x[b] * x[b]
            inverse[first + a, q + 1] = total
        for r in range(row_start[i], row_start[i + 1]):
            t = row_time[r]
            own = tau2 + omega[t, t]
            for a in range(n):
                x[a] = tau2 + omega[t, time[first + a]]
            _forward(L, x, n)
            left = own
            for a in range(n):
                left -= x[a] * x[a]
            _backward(L, x, n)
            slack = 1.0
            for a in range(n):
                slack -= x[a]
            if n == 1 and T == 1:  # no cancellation where the sampling variance is tiny
                slack = psi[i, 0, 0] / (psi[i, 0, 0] + own)
                left = own * slack
            rows[r, p + 1], rows[r, p + 2] = slack, max(left, 0.0)
            for j in range(q):
                total = row_X[r, j] if j < p else 0.0
                for a in range(n):
                    total += (-1.0 if j < p else 1.0) * Z[first + a, j] * x[a]
                rows[r, j] = total
    return rows, inverse


@compiled
def draw_rows(
    start, time, psi, Z, row_start, row_time, row_X, sampled_row, tau2, omega, roots, beta, field, key, blocks
):
    """Draw the true values of all rows, and new direct estimates, given coefficients and field.

    Parameters
    ----------
    tau2, omega, roots : ndarray, shape (S,), (S, T, T), (S, T, T)
        Of each draw; roots roots' = omega.
    beta, field : ndarray, shape (S, p), (S, D)
        Coefficients, and what the field adds to each row of an area.
    key, blocks : uint64, ndarray of int, shape (S,)
        Stream of the draws and the block of each in it.

    Returns
    -------
    values : ndarray, shape (S, M)
    replicated : ndarray, shape (S, n)

    Notes
    -----
    An area with several rows is drawn by kriging: effects and errors from the prior, corrected by what the
    data say beyond them.
    """
    n_areas, q, T = len(start) - 1, Z.shape[1], psi.shape[1]
    p = q - 1
    count = len(tau2)
    values, replicated = np.empty((count, len(row_time))), np.empty((count, len(time)))
    L, E = np.empty((T, T)), np.empty((T, T))
    x, effect = np.empty(T), np.empty(T)
    z = np.empty(3 * T + 1)
    for s in range(count):
        state = new_stream(key, blocks[s])
        tau = np.sqrt(tau2[s])
        for i in range(n_areas):
            first, n = start[i], start[i + 1] - start[i]
            fill_normals(state, z)
            for a in range(n):
                for b in range(a + 1):
                    E[a, b] = psi[i, time[first + a], time[first + b]]
            _root(E, n)
            if T == 1:
                own = tau2[s] + omega[s, 0, 0]
                for r in range(row_start[i], row_start[i + 1]):
                    mean = field[s, i]
                    for j in range(p):
                        mean += row_X[r, j] * beta[s, j]
                    slack = 1.0
                    if n == 1:
                        slack = psi[i, 0, 0] / (psi[i, 0, 0] + own)
                        mean += (1.0 - slack) * (Z[first, p] - mean)
                    values[s, r] = mean + np.sqrt(own * slack) * z[0]
            else:
                for t in range(T):
                    effect[t] = tau * z[3 * T]
                    for k in range(t + 1):
                        effect[t] += roots[s, t, k] * z[k]
                _block(L, psi[i], time, first, n, tau2[s], omega[s])
                for a in range(n):
                    x[a] = Z[first + a, p] - field[s, i] - effect[time[first + a]]
                    for j in range(p):
                        x[a] -= Z[first + a, j] * beta[s, j]
                    for b in range(a + 1):
                        x[a] -= E[a, b] * z[T + b]
                _forward(L, x, n)
                _backward(L, x, n)
                for r in range(row_start[i], row_start[i + 1]):
                    t = row_time[r]
                    value = field[s, i] + effect[t]
                    for j in range(p):
                        value += row_X[r, j] * beta[s, j]
                    for a in range(n):
                        value += (tau2[s] + omega[s, t, time[first + a]]) * x[a]
                    values[s, r] = value
            for a in range(n):
                total = values[s, sampled_row[first + a]]
                for b in range(a + 1):
                    total += E[a, b] * z[2 * T + b]
                replicated[s, first + a] = total
    return values, replicated
