"""Exact independent draws from the posterior of the nested error model.

τ comes from its tabulated distribution; σe given τ from an inverse gamma that bounds its log-concave density;
β and the area effects are normal. Areas lie in rows and the 64 draws of a block in columns: each area has a
stream of its own, and the cost per draw does not depend on the number of units.

References
----------
Devroye (1986), Non-Uniform Random Variate Generation, chapter II (inversion, rejection).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sae.numerics.compile import compiled, inlined, inlined_sums
from sae.numerics.inference.priors import FLAT_SD, FLAT_VARIANCE, HALF_CAUCHY, HALF_NORMAL, log_prior_sd
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.posterior import NestedErrorPosterior
from sae.numerics.nested_error.profile import AreaSums, bordered
from sae.numerics.random.normals import fill_normals, gamma, new_stream, normal, uniform
from sae.numerics.random.streams import stream_keys

__all__ = ["BLOCK", "JointDraws", "draw_nested_error"]

BLOCK = 64  # draws per block of a stream


@dataclass(frozen=True, eq=False)
class JointDraws:
    """Joint draws, row s of each array from the same draw.

    Attributes
    ----------
    values : ndarray, shape (S, D)
        Area means; a transposed view, so that the draws of one area lie side by side.
    effects : ndarray, shape (S, D)
        Area effects u; empty where they were not asked for.
    sigma_u, sigma_e : ndarray, shape (S,)
    coefficients : ndarray, shape (S, p)
    """

    values: np.ndarray
    effects: np.ndarray
    sigma_u: np.ndarray
    sigma_e: np.ndarray
    coefficients: np.ndarray


class _Prior(NamedTuple):
    """The tabulated distribution of τ and what makes the density of σe given τ."""

    table: np.ndarray
    width: float
    unit: float
    freedom: float
    code: int
    scale: float
    on_ratio: bool


class _Moments(NamedTuple):
    """M(λ) = within + Σ n / (1 + n λ) between, over the distinct sizes n; packed triangles."""

    n: np.ndarray
    within: np.ndarray
    between: np.ndarray


class _Areas(NamedTuple):
    """What each of D areas brings; `sizes` has the distinct sample sizes, `group` which one is the area's."""

    keys: np.ndarray
    outside_keys: np.ndarray
    group: np.ndarray
    sizes: np.ndarray
    x: np.ndarray
    X: np.ndarray
    centre: np.ndarray
    gap: np.ndarray
    fraction: np.ndarray
    outside: np.ndarray


class _Workspace(NamedTuple):
    """Room for one block of draws."""

    rows: np.ndarray
    tau: np.ndarray
    sigma: np.ndarray
    delta: np.ndarray
    gamma: np.ndarray
    sd: np.ndarray
    z: np.ndarray
    fitted: np.ndarray
    mean: np.ndarray

    @classmethod
    def of(cls, p: int, sizes: int) -> _Workspace:
        """Make room for p coefficients and some distinct sample sizes."""
        shapes = [((p + 1) * (p + 2) // 2, BLOCK), BLOCK, BLOCK, (p, BLOCK), (sizes, BLOCK), (sizes, BLOCK)]
        return cls(*(np.empty(shape) for shape in [*shapes, BLOCK, BLOCK, BLOCK]))


@inlined
def _slope(code, scale, sd):
    """Return first and second derivative of the log prior with respect to log sd."""
    x = sd / scale
    if code == FLAT_VARIANCE:
        return 1.0, 0.0
    if code == FLAT_SD:
        return 0.0, 0.0
    if code == HALF_NORMAL:
        return -x * x, -2.0 * x * x
    if code == HALF_CAUCHY:
        share = x * x / (1.0 + x * x)
        return -2.0 * share, -4.0 * share * (1.0 - share)
    return -x, -x


@inlined
def _draw_tau(state, table, width):
    """Draw τ = width sinh s, s with a density that is linear in every cell of the table."""
    last = table.shape[1] - 1
    goal = uniform(state) * table[2, last]
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        if table[2, middle] <= goal:
            low = middle
        else:
            high = middle
    a, b = table[1, low], table[1, low + 1]
    share = (goal - table[2, low]) / max(table[2, low + 1] - table[2, low], 1e-300)
    # the smaller root of (b - a) t² / 2 + a t = share (a + b) / 2, in the form that does not cancel
    root = math.sqrt(a * a + share * (b * b - a * a))
    t = share * (a + b) / (a + root) if a + root > 0.0 else share
    return width * math.sinh(table[0, low] + t * (table[0, low + 1] - table[0, low]))


@inlined
def _draw_sigma(state, tau, rss, freedom, code, scale, on_ratio):
    """Draw σe given τ: an inverse gamma, thinned by how far the log prior lies below its tangent."""
    if on_ratio:
        return math.sqrt(0.5 * rss / gamma(state, 0.5 * freedom))
    power = freedom - 1.0
    slope, bend = _slope(code, scale, tau)
    v = 0.5 * math.log(rss / max(power - max(slope, 0.0), 0.5))
    for _ in range(4):  # any tangent bounds the density; one near the mode wastes no draws
        slope, bend = _slope(code, scale, tau * math.exp(v))
        inside = rss * math.exp(-2.0 * v)
        v += min(max((inside - power + slope) / (2.0 * inside - bend), -2.0), 2.0)
    slope, bend = _slope(code, scale, tau * math.exp(v))
    if code in (FLAT_VARIANCE, FLAT_SD):
        return math.sqrt(0.5 * rss / gamma(state, 0.5 * (power - slope)))
    centre, top = v, log_prior_sd(code, scale, tau * math.exp(v))
    while True:
        sigma = math.sqrt(0.5 * rss / gamma(state, 0.5 * (power - slope)))
        v = math.log(sigma)
        if math.log(uniform(state)) <= log_prior_sd(code, scale, tau * sigma) - top - slope * (v - centre):
            return sigma


@inlined_sums
def _gram(ratio, n, within, between, rows):
    """Fill the packed M(λ) of all draws of a block, shape (q (q + 1) / 2, 64)."""
    count = len(ratio)
    g = np.empty(count)
    for row in range(len(within)):
        for s in range(count):
            rows[row, s] = within[row]
    for u in range(len(n)):
        for s in range(count):
            g[s] = n[u] / (1.0 + n[u] * ratio[s])
        for row in range(len(within)):
            b = between[u, row]
            for s in range(count):
                rows[row, s] += b * g[s]


@inlined
def _cholesky(rows, q):
    """Replace packed matrices by their lower Cholesky factors, all draws of a block at once."""
    count = rows.shape[1]
    for j in range(q):
        base = j * (j + 1) // 2
        for k in range(j + 1):
            other = k * (k + 1) // 2
            for i in range(k):
                for s in range(count):
                    rows[base + k, s] -= rows[base + i, s] * rows[other + i, s]
            if k < j:
                for s in range(count):
                    rows[base + k, s] /= rows[other + k, s]
            else:
                for s in range(count):
                    rows[base + j, s] = math.sqrt(max(rows[base + j, s], 0.0))


@inlined
def _hyper(key, block, prior, moments, work):
    """Draw τ, σe and δ of one block; always all 64, so that a shorter block is the beginning of a longer."""
    # a field of a tuple is taken out of it before the loops: each time costs a count of references
    table, width, unit, freedom, code, scale, on_ratio = prior
    rows, tau, sigma, delta = work.rows, work.tau, work.sigma, work.delta
    p = len(delta)
    state = new_stream(key, block)
    for s in range(BLOCK):
        tau[s] = _draw_tau(state, table, width)
    _gram(tau * tau, moments.n, moments.within, moments.between, rows)
    _cholesky(rows, p + 1)
    last = p * (p + 1) // 2
    for s in range(BLOCK):
        rss = (rows[last + p, s] / unit) ** 2
        sigma[s] = unit * _draw_sigma(state, tau[s], rss, freedom, code, scale / unit, on_ratio)
        for j in range(p - 1, -1, -1):
            value = rows[last + j, s] + sigma[s] * normal(state)
            for k in range(j + 1, p):
                value -= rows[k * (k + 1) // 2 + j, s] * delta[k, s]
            delta[j, s] = value / rows[j * (j + 1) // 2 + j, s]


@inlined
def _shrinkage(count, sizes, tau, sigma, gamma_, sd):
    """Fill γ and the deviation of u given τ and σe, for every size of a sample."""
    for u in range(len(sizes)):
        for s in range(count):
            ratio = tau[s] * tau[s]
            share = 1.0 / (1.0 + sizes[u] * ratio)
            gamma_[u, s] = sizes[u] * ratio * share
            sd[u, s] = sigma[s] * tau[s] * math.sqrt(share)


@inlined_sums
def _areas(start, count, block, areas, work, values, effects):
    """Draw the effect and the mean of every area for the first `count` draws of a block."""
    keys, outside_keys, group, sizes, x, X, centre, gap, fraction, outside = areas
    _, tau, sigma, delta, gamma_, sd, z, fitted, mean = work
    _shrinkage(count, sizes, tau, sigma, gamma_, sd)
    for d in range(len(keys)):
        fill_normals(new_stream(keys[d], block), z[:count])
        for s in range(count):
            fitted[s] = 0.0
            mean[s] = centre[d]
        for j in range(len(delta)):
            a, b = x[d, j], X[d, j]
            for s in range(count):
                fitted[s] += a * delta[j, s]
                mean[s] += b * delta[j, s]
        u, left = group[d], 1.0 - fraction[d]
        for s in range(count):
            fitted[s] = gamma_[u, s] * (gap[d] - fitted[s]) + sd[u, s] * z[s]
            values[d, start + s] = mean[s] + left * fitted[s]
        if len(effects):
            for s in range(count):
                effects[d, start + s] = fitted[s]
        if outside[d] > 0.0:
            fill_normals(new_stream(outside_keys[d], block), z[:count])
            for s in range(count):
                values[d, start + s] += outside[d] * sigma[s] * z[s]


@compiled
def _draw(key, prior, moments, areas, work, values, effects, sigma_u, sigma_e, deltas):
    total, tau, sigma, delta = len(sigma_u), work.tau, work.sigma, work.delta
    for block in range((total + BLOCK - 1) // BLOCK):
        start = block * BLOCK
        count = min(BLOCK, total - start)
        _hyper(key, block, prior, moments, work)
        for s in range(count):
            sigma_u[start + s] = tau[s] * sigma[s]
            sigma_e[start + s] = sigma[s]
            for j in range(len(delta)):
                deltas[start + s, j] = delta[j, s]
        _areas(start, count, block, areas, work, values, effects)


def draw_nested_error(
    posterior: NestedErrorPosterior,
    sums: AreaSums,
    means: AreaMeans,
    labels: Sequence[object],
    draws: int,
    seed: int,
    *,
    effects: bool = False,
) -> JointDraws:
    """Draw area means, variances and coefficients jointly, each draw independent of the others.

    Parameters
    ----------
    posterior : NestedErrorPosterior
    sums : AreaSums
        Of all D areas.
    means : AreaMeans
        Of the same areas.
    labels : sequence, length D
        Names of the areas: the names of their streams, so that another area or more draws change no number.
    draws, seed : int
    effects : bool
        Keep the area effects too.
    """
    profile, n = posterior.profile, sums.precision
    p, units = len(profile.root), len(n)
    f = means.sampled(sums.n)
    x = sums.x_mean @ profile.root
    start = profile.start[0]
    gap = np.where(n > 0, sums.y_mean[0] - sums.x_mean @ start, 0.0)
    X = means.x_mean @ profile.root - f[:, None] * x
    rows, columns = np.tril_indices(p + 1)
    sizes, group = np.unique(n, return_inverse=True)
    values = np.empty((units, draws))
    kept = np.empty((units if effects else 0, draws))
    sigma_u, sigma_e, deltas = np.empty(draws), np.empty(draws), np.empty((draws, p))
    prior = posterior.prior
    _draw(
        stream_keys(seed, "hyperparameters", [""])[0],
        _Prior(
            posterior.table,
            posterior.width,
            posterior.unit,
            float(profile.units - p),
            prior.code,
            1.0 if prior.ratio else prior.scale,
            prior.ratio,
        ),
        _Moments(
            profile.n,
            bordered(profile.xx, profile.xy[0], profile.yy[0])[rows, columns],
            np.ascontiguousarray(bordered(profile.bxx, profile.bxy[0], profile.byy[0])[:, rows, columns]),
        ),
        _Areas(
            stream_keys(seed, "area effect", labels),
            stream_keys(seed, "units outside the sample", labels),
            group.astype(np.int64),
            sizes,
            np.ascontiguousarray(x),
            np.ascontiguousarray(X),
            means.x_mean @ start + f * gap,
            gap,
            f,
            np.sqrt((1.0 - f) / means.units),
        ),
        _Workspace.of(p, len(sizes)),
        values,
        kept,
        sigma_u,
        sigma_e,
        deltas,
    )
    return JointDraws(values.T, kept.T, sigma_u, sigma_e, start + deltas @ profile.root.T)
