"""Moves of standard deviations and correlations that leave the linear predictor as it is.

With much data on each effect they hardly move while the normals of the effects are held; with the effects
held instead, they move as far as the prior of the effects lets them, at no cost in likelihoods.

References
----------
Yu and Meng (2011), J. Comput. Graph. Stat. 20, 531-570 (interweaving).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from sae.numerics.glmm.effect_field import EffectField, deviation
from sae.numerics.glmm.lockstep import elliptical_slice, times

__all__ = ["interwoven"]

_CANDIDATES = 128  # the present point among them


def interwoven(field: EffectField, q: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the next points of C chains, (C, d), with the same η; normals of deviations are positive."""
    out = q.copy()
    if field.temporal == "ar1":
        _divide(field, out, rng)
    if field.has("rho"):
        _share(field, out, rng)
    _rescale(field, out, "sigma_u", ("map", "area"), rng)
    if field.has("sigma_v"):
        _rescale(field, out, "sigma_v", ("time",), rng)
    return out


def _rescale(
    field: EffectField, q: np.ndarray, name: str, effects: tuple[str, ...], rng: np.random.Generator
) -> None:
    """Draw a standard deviation with its product with the normals of its effects held."""
    parts = [field.places[effect] for effect in effects]
    count = sum(part.stop - part.start for part in parts)
    squares = sum((q[:, part] ** 2).sum(axis=1) for part in parts)
    code, x = field.prior[0], q[:, field.places[name]]
    now = deviation(code, x[:, 0])[0]

    def log_factor(x: np.ndarray) -> np.ndarray:
        size = np.abs(deviation(code, x[:, 0])[0])
        return -0.5 * squares * (now / size) ** 2 - count * np.log(size)

    after = np.abs(elliptical_slice(x, log_factor, rng))
    ratio = now[:, None] / deviation(code, after)[0]
    x[:] = after
    for part in parts:
        q[:, part] *= ratio


def _share(field: EffectField, q: np.ndarray, rng: np.random.Generator) -> None:
    """Draw ρ with √ρ × map and √(1 - ρ) × independent effects held, but for areas without a neighbour."""
    island = field.inland == 0.0
    free = ~np.any(field.root[island] != 0.0, axis=0)
    x, s, v = (q[:, field.places[name]] for name in ("rho", "map", "area"))
    squares = (s[:, free] ** 2).sum(axis=1), (v[:, ~island] ** 2).sum(axis=1)
    counts, now = (free.sum(), (~island).sum()), (ndtr(x), ndtr(-x))

    def log_factor(x: np.ndarray) -> np.ndarray:
        out = np.zeros(len(x))
        for square, count, old, new in zip(squares, counts, now, (ndtr(x), ndtr(-x)), strict=True):
            out -= 0.5 * (square * old[:, 0] / new[:, 0] + count * np.log(new[:, 0]))
        return out

    after = elliptical_slice(x, log_factor, rng)
    x[:] = after
    s[:, free] *= np.sqrt(now[0] / ndtr(after))
    v[:, ~island] *= np.sqrt(now[1] / ndtr(-after))


def _divide(field: EffectField, q: np.ndarray, rng: np.random.Generator) -> None:
    """Draw all deviations and correlations with the sum of effects of every area and period held.

    y = sum less effect of the map is N(0, α² 11' + σ² R) over the periods, R of an AR(1); α v, the area's own
    part, is drawn anew. Some candidates come from the prior: they get from a path near 1 for all periods to
    an effect of the area, which small moves do not.
    """
    periods, on_map = len(field.walk), times(q[:, field.places["map"]], field.root.T)
    x = q[:, field.curved]
    scales = _scales(field, x)
    own_part = scales.own[:, None] * field.inland * q[:, field.places["area"]] if field.has("area") else 0.0
    total = _map_scale(field, scales) * on_map + own_part
    total = total[:, None, :] + scales.path[:, None, None] * field.paths(q)
    parts = [
        (int(some.sum()), float(inland), _moments(total[:, :, some], on_map[:, some]))
        for inland, some in ((1.0, field.inland > 0.0), (0.0, field.inland == 0.0))
        if some.any()
    ]

    def log_factor(x: np.ndarray) -> np.ndarray:
        """At x of shape (..., C, k)."""
        at, out = _scales(field, x), 0.0
        ones, precision = 1.0 + (periods - 1) * (1.0 - at.phi) / (1.0 + at.phi), 1.0 / at.path**2
        for count, inland, moments in parts:
            scale = at.joint if inland else at.single
            first, here, cross, before, level, edge, ends = (
                none - 2.0 * scale * once + scale**2 * twice
                for none, once, twice in moments.transpose(1, 0, 2)
            )
            square = first + (here - 2.0 * at.phi * cross + at.phi**2 * before) / at.rest
            sums = ((1.0 - at.phi) ** 2 * level + 2.0 * at.phi * (1.0 - at.phi) * edge + at.phi**2 * ends) / (
                1.0 + at.phi
            ) ** 2
            own = (inland * at.own) ** 2 * precision
            gain = 1.0 + own * ones
            size = periods * np.log(at.path**2) + (periods - 1) * np.log(at.rest) + np.log(gain)
            out = out - 0.5 * (precision * (square - own * sums / gain) + count * size)
        return np.asarray(out)

    after = elliptical_slice(_resampled(x, log_factor, rng), log_factor, rng)
    scales = _scales(field, after)
    phi, path = scales.phi[:, None], scales.path[:, None]
    y = total - (_map_scale(field, scales) * on_map)[:, None, :]
    if field.has("area"):
        own = scales.own[:, None] * field.inland
        level = (y[:, 0] + (y[:, 1:] - phi[:, :, None] * y[:, :-1]).sum(axis=1) / (1.0 + phi)) / path**2
        gain = 1.0 + own**2 * (1.0 + (periods - 1) * (1.0 - phi) / (1.0 + phi)) / path**2
        v = own * level / gain + rng.standard_normal(own.shape) / np.sqrt(gain)
        q[:, field.places["area"]] = v
        y = y - (own * v)[:, None, :]
    z = y / path[:, :, None]
    z[:, 1:] = (z[:, 1:] - phi[:, :, None] * z[:, :-1]) / np.sqrt(scales.rest)[:, None, None]
    q[:, field.curved] = after
    q[:, field.places["time"]] = z.reshape(len(q), -1)


@dataclass(frozen=True, eq=False)
class _Scales:
    """Scales of the map, of it where there are no neighbours, of own effects and of paths; φ and 1 - φ²."""

    joint: np.ndarray
    single: np.ndarray
    own: np.ndarray
    path: np.ndarray
    phi: np.ndarray
    rest: np.ndarray


def _scales(field: EffectField, x: np.ndarray) -> _Scales:
    """Return scales at normals of deviations and correlations, (..., k): each of shape (...)."""
    names = [name for name in ("sigma_u", "rho", "sigma_v", "rho_time") if field.has(name)]
    at = {name: x[..., k] for k, name in enumerate(names)}
    code, unit = field.prior
    single, path = (unit * deviation(code, at[name])[0] for name in ("sigma_u", "sigma_v"))
    joint, own = (single, 0.0 * single) if field.root.shape[1] else (0.0 * single, single)
    if "rho" in at:
        joint, own = single * np.sqrt(ndtr(at["rho"])), single * np.sqrt(ndtr(-at["rho"]))
    low, high = ndtr(-at["rho_time"]), ndtr(at["rho_time"])
    return _Scales(joint, single, own, path, high - low, 4.0 * low * high)


def _map_scale(field: EffectField, scales: _Scales) -> np.ndarray:
    """Return the scale of the map's effect in every area, shape (C, D)."""
    return np.where(field.inland > 0.0, scales.joint[:, None], scales.single[:, None])


def _moments(total: np.ndarray, on_map: np.ndarray) -> np.ndarray:
    """Return sums over areas of products of the periods of y = total - scale × map: shape (3, 7, C).

    The first index is the power of the scale; the second what an AR(1) needs of y, (C, T, D): the first
    period's square, later squares, neighbouring products, earlier squares; square of the sum, sum times both
    ends, square of the ends.
    """
    flat = np.repeat(on_map[:, None, :], total.shape[1], axis=1)

    def of(a: np.ndarray, b: np.ndarray) -> list[np.ndarray]:
        (sum_a, end_a), (sum_b, end_b) = ((c.sum(axis=1), c[:, 0] + c[:, -1]) for c in (a, b))
        products = (a * b).sum(axis=2)
        crossed = 0.5 * (a[:, 1:] * b[:, :-1] + a[:, :-1] * b[:, 1:]).sum(axis=(1, 2))
        edges = (sum_a * sum_b, 0.5 * (sum_a * end_b + end_a * sum_b), end_a * end_b)
        return [
            products[:, 0],
            products[:, 1:].sum(axis=1),
            crossed,
            products[:, :-1].sum(axis=1),
            *(edge.sum(axis=1) for edge in edges),
        ]

    return np.array([of(total, total), of(total, flat), of(flat, flat)])


def _resampled(
    x: np.ndarray, log_factor: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Return x, (C, k), or one of many candidates from N(0, I), by their factors.

    References
    ----------
    Andrieu, Lee and Vihola (2018), Bernoulli 24, 842-872 (iterated sampling importance resampling).
    """
    pool = rng.standard_normal((_CANDIDATES, *x.shape))
    pool[0] = x
    with np.errstate(all="ignore"):
        factor = np.nan_to_num(log_factor(pool), nan=-np.inf)
    chosen = (factor + rng.gumbel(size=factor.shape)).argmax(axis=0)
    return np.asarray(pool[chosen, np.arange(len(x))])
