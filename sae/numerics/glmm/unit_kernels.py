"""Kernels of the logit model by cells: integrals over the effect of an area, its derivatives, draws of it.

The density of the effect is that of `unit_density`.

References
----------
Louis (1982), J. R. Stat. Soc. B 44, 226-233 (derivatives of an integrated likelihood).
"""

from __future__ import annotations

import math

import numpy as np

from sae.numerics.compile import compiled, inlined
from sae.numerics.glmm import unit_scalar
from sae.numerics.glmm.exponentials import exponentials
from sae.numerics.glmm.integrals import cumulated, inverse_of, uniform_of
from sae.numerics.glmm.unit_density import densities

__all__ = ["derivatives", "distributions", "draws", "expected", "likelihoods", "shares", "uniforms"]

_FINER = 2  # times more nodes for draws
_FAR = 700.0  # linear predictors beyond which a share is 0 or 1
_WIDE = 64  # points of the hyperparameters side by side


def derivatives(
    X: np.ndarray, y: np.ndarray, n: np.ndarray, starts: np.ndarray, beta: np.ndarray, sigma: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the log-likelihood of one (β, log σ), gradient, minus second derivatives, by Louis' identity."""
    p = X.shape[1]
    value, gradient, information = 0.0, np.zeros(p + 1), np.zeros((p + 1, p + 1))
    for part in densities(X, y, n, starts, beta[None], np.array([sigma])):
        on = np.flatnonzero(np.diff(starts[part.areas.start : part.areas.stop + 1]) > 0)
        value += float(part.value[on, 0].sum())
        own = starts[part.areas.start : part.areas.stop + 1]
        weights = np.ascontiguousarray(part.weights[:, :, 0])
        _scores(X, y, n, own, beta, sigma, part.middle[:, 0], part.step[:, 0], weights, gradient, information)
    if not np.isfinite(value):
        return unit_scalar.derivatives(X, y, n, starts, beta, sigma)
    return value, gradient, information


@compiled
def _scores(X, y, n, starts, beta, sigma, middle, step, weights, gradient, information):
    p, K = X.shape[1], weights.shape[1]
    scores, share, b = np.empty((p + 1, K)), np.empty(K), np.empty(K)
    for d in range(len(starts) - 1):
        if starts[d] == starts[d + 1]:
            continue
        weight = weights[d]
        for k in range(K):
            u = middle[d] + (k - K // 2) * step[d]
            b[k] = math.exp(u)
            square = (u / sigma) ** 2
            information[p, p] += 2.0 * weight[k] * square
            scores[p, k] = square - 1.0
            for j in range(p):
                scores[j, k] = 0.0
        for c in range(starts[d], starts[d + 1]):
            eta, bend = 0.0, 0.0
            for j in range(p):
                eta += X[c, j] * beta[j]
            e = math.exp(eta)
            for k in range(K):
                q = 1.0 / (1.0 + e * b[k])
                share[k] = 1.0 - q
                bend += weight[k] * q * (1.0 - q)
            for j in range(p):
                score, x = scores[j], X[c, j]
                for k in range(K):
                    score[k] += x * (y[c] - n[c] * share[k])
                for i in range(p):
                    information[i, j] += n[c] * bend * X[c, i] * x
        for j in range(p + 1):
            mean = 0.0
            for k in range(K):
                mean += weight[k] * scores[j, k]
            gradient[j] += mean
            for k in range(K):
                scores[j, k] -= mean
            for i in range(j + 1):
                product = 0.0
                for k in range(K):
                    product += weight[k] * scores[i, k] * scores[j, k]
                information[i, j] -= product
                if i < j:
                    information[j, i] -= product


def draws(
    X: np.ndarray,
    y: np.ndarray,
    n: np.ndarray,
    starts: np.ndarray,
    beta: np.ndarray,
    sigma: np.ndarray,
    uniform: np.ndarray,
) -> np.ndarray:
    """Return effects of all areas, shape (S, D), at the probabilities `uniform` of their distributions."""
    out = np.empty(uniform.shape)
    for part in densities(X, y, n, starts, beta, sigma, _FINER):
        goals = np.ascontiguousarray(uniform[part.points, part.areas].T)
        out[part.points, part.areas] = _inverted(part.weights, part.middle, part.step, goals).T
    wide = np.isnan(out).any(axis=1)
    if wide.any():
        out[wide] = unit_scalar.draws(X, y, n, starts, beta[wide], sigma[wide], uniform[wide])
    return out


@compiled
def _inverted(weights, middle, step, goals):
    D, K, S = weights.shape
    out, weight, summed = np.empty((D, S)), np.empty((_WIDE, K)), np.empty((_WIDE, K))
    for d in range(D):
        for begin in range(0, S, _WIDE):
            width = min(_WIDE, S - begin)
            for k in range(K):
                for s in range(width):
                    own = weights[d, k, begin + s]
                    weight[s, k] = own
                    summed[s, k] = own + (summed[s, k - 1] if k else 0.0)
            for s in range(width):
                place = inverse_of(weight[s], summed[s], goals[d, begin + s]) - K // 2
                out[d, begin + s] = middle[d, begin + s] + place * step[d, begin + s]
    return out


def expected(
    X: np.ndarray,
    y: np.ndarray,
    n: np.ndarray,
    starts: np.ndarray,
    others: np.ndarray,
    size: np.ndarray,
    others_starts: np.ndarray,
    beta: np.ndarray,
    sigma: np.ndarray,
) -> np.ndarray:
    """Return conditional mean and mean square of each area's share, given (β, σ): shape (2, S, D).

    `others` and `size` are the designs and sizes of the population's cells.
    """
    levels = np.empty((len(starts) - 1, 0))
    nothing = np.zeros(len(sigma))
    return distributions(X, y, n, starts, others, size, others_starts, beta, sigma, nothing, levels)[0]


def distributions(
    X: np.ndarray,
    y: np.ndarray,
    n: np.ndarray,
    starts: np.ndarray,
    others: np.ndarray,
    size: np.ndarray,
    others_starts: np.ndarray,
    beta: np.ndarray,
    sigma: np.ndarray,
    mixed: np.ndarray,
    levels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `expected` does, and the distribution functions of the areas' shares, mixed over (β, σ).

    Parameters
    ----------
    mixed : ndarray, shape (S,)
        Weights of the (β, σ).
    levels : ndarray, shape (D, J)
        Logits of the shares at which the distribution is wanted, ascending.
    """
    out, below = np.empty((2, len(sigma), len(starts) - 1)), np.zeros(levels.shape)
    known = np.zeros(len(levels))  # weight of the points whose densities are known
    for part in densities(X, y, n, starts, beta, sigma):
        own, points = others_starts[part.areas.start : part.areas.stop + 1], part.points
        columns = np.ascontiguousarray(beta[points].T)
        found, added, share = _expected(
            others,
            size,
            own,
            columns,
            part.middle,
            part.step,
            part.weights,
            mixed[points],
            levels[part.areas],
        )
        out[:, points, part.areas] = np.swapaxes(found, 1, 2)
        below[part.areas] += added
        known[part.areas] += share
    wide = np.isnan(out[0]).any(axis=1)
    if wide.any():
        out[:, wide] = unit_scalar.expected(
            X, y, n, starts, others, size, others_starts, beta[wide], sigma[wide]
        )
    return out, below / np.where(known > 0.0, known, 1.0)[:, None]


@inlined
def _add_below(weights, logits, size, mixed, levels, below):
    """Add the distribution function at levels, from the weights of nodes, which have zeros on both sides."""
    k, summed = 2, weights[2]
    for j in range(len(levels)):
        level = levels[j]
        while k < size - 4 and logits[k + 1] < level:
            k += 1
            summed += weights[k]
        if level <= logits[k]:
            continue
        if level >= logits[k + 1]:
            below[j] += mixed
            continue
        place = 0.0  # of the level between nodes k and k + 1: the inverse of a cubic through four nodes
        for i in range(4):
            term = i - 1.0
            for m in range(4):
                if m != i:
                    term *= (level - logits[k - 1 + m]) / (logits[k - 1 + i] - logits[k - 1 + m])
            place += term
        place = min(max(place, 0.0), 1.0)
        left, right = cumulated(weights, summed, k), cumulated(weights, summed + weights[k + 1], k + 1)
        rise, low, high = right - left, weights[k], weights[k + 1]
        cube, square = low + high - 2.0 * rise, 3.0 * rise - 2.0 * low - high
        below[j] += mixed * (left + ((cube * place + square) * place + low) * place)


@compiled
def _expected(X, size, starts, columns, middle, step, weights, mixed, levels):
    D, K, S = weights.shape
    out, odds, scratch = np.zeros((2, D, S)), np.zeros(_WIDE), np.empty(_WIDE)
    values, b, below = np.empty((K, _WIDE)), np.zeros((K, _WIDE)), np.zeros(levels.shape)
    own, logits, known = np.empty(K + 6), np.empty(K + 6), np.zeros(D)
    for d in range(D):
        people = 0.0
        for c in range(starts[d], starts[d + 1]):
            people += size[c]
        for begin in range(0, S, _WIDE):
            width = min(_WIDE, S - begin)
            for k in range(K):
                for s in range(width):
                    u = middle[d, begin + s] + (k - K // 2) * step[d, begin + s]
                    b[k, s], values[k, s] = min(max(u, -0.5 * _FAR), 0.5 * _FAR), 0.0
                exponentials(b[k], scratch)
            first, last = K, 0  # of the nodes that weigh anything
            for k in range(K):
                for s in range(width):
                    if weights[d, k, begin + s] > 0.0:
                        first, last = min(first, k), k + 1
            for c in range(starts[d], starts[d + 1]):
                share = size[c] / people
                for s in range(width):
                    odds[s] = 0.0
                for j in range(len(columns)):
                    for s in range(width):
                        odds[s] += X[c, j] * columns[j, begin + s]
                for s in range(width):
                    odds[s] = min(max(odds[s], -0.5 * _FAR), 0.5 * _FAR)
                exponentials(odds, scratch)
                for k in range(first, last):
                    for s in range(width):
                        x = odds[s] * b[k, s]
                        values[k, s] += share * (x / (1.0 + x))
            for k in range(K):
                for s in range(width):
                    mean = weights[d, k, begin + s] * values[k, s]
                    out[0, d, begin + s] += mean
                    out[1, d, begin + s] += mean * values[k, s]
            for s in range(width):
                if not step[d, begin + s] > 0.0:
                    out[0, d, begin + s] = math.nan
            for s in range(width if levels.shape[1] else 0):
                if not step[d, begin + s] > 0.0:
                    continue
                known[d] += mixed[begin + s]
                count = last - first + 6
                for k in range(count):
                    node = first + k - 3
                    own[k] = weights[d, node, begin + s] if first <= node < last else 0.0
                    value = values[min(max(node, first), last - 1), s]
                    outside = min(node - first, 0) + max(node - last + 1, 0)
                    place = math.log(max(value, 1e-300) / max(1.0 - value, 1e-17))
                    place += outside * step[d, begin + s]
                    logits[k] = place if k == 0 else max(place, logits[k - 1] + 1e-6 * step[d, begin + s])
                _add_below(own, logits, count, mixed[begin + s], levels[d], below[d])
    return out, below, known


@compiled
def shares(X, size, starts, beta, u):
    """Σ_c size_c expit(x_c'β + u_d) / Σ_c size_c, shape (S, D)."""
    D, S = len(starts) - 1, len(beta)
    out, columns = np.empty((S, D)), np.ascontiguousarray(beta.T)
    row, found, scratch = np.zeros(_WIDE), np.empty(_WIDE), np.empty(_WIDE)
    for d in range(D):
        people = 0.0
        for c in range(starts[d], starts[d + 1]):
            people += size[c]
        for begin in range(0, S, _WIDE):
            width = min(_WIDE, S - begin)
            for s in range(width):
                found[s] = 0.0
            for c in range(starts[d], starts[d + 1]):
                for s in range(width):
                    row[s] = -u[begin + s, d]
                for j in range(len(columns)):
                    for s in range(width):
                        row[s] -= X[c, j] * columns[j, begin + s]
                for s in range(width):
                    row[s] = min(max(row[s], -_FAR), _FAR)
                exponentials(row, scratch)
                for s in range(width):
                    found[s] += size[c] / (1.0 + row[s])
            for s in range(width):
                out[begin + s, d] = found[s] / people
    return out


@compiled
def likelihoods(X, y, n, starts, beta, u):
    """Σ_c y_c η_c - n_c log(1 + exp η_c), η_c = x_c'β + u_d, shape (S, D)."""
    D, S = len(starts) - 1, len(beta)
    out = np.zeros((S, D))
    for d in range(D):
        for s in range(S):
            for c in range(starts[d], starts[d + 1]):
                eta = u[s, d]
                for j in range(X.shape[1]):
                    eta += X[c, j] * beta[s, j]
                out[s, d] += y[c] * eta - n[c] * (max(eta, 0.0) + math.log1p(math.exp(-abs(eta))))
    return out


@compiled
def uniforms(keys, count):
    """Uniform numbers 0 .. count of each stream, shape (count, D)."""
    out = np.empty((count, len(keys)))
    for s in range(count):
        for d in range(len(keys)):
            out[s, d] = uniform_of(keys[d], np.uint64(s))
    return out
