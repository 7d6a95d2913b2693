"""Exact joint draws of an area-level model with spatial and temporal effects, given its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled
from sae.numerics.linalg.lanes import EIGHT, LANES, product, take_off, take_off_multiples
from sae.numerics.random.normals import fill_normals, new_stream
from sae.numerics.spacetime.area_field import AreaField
from sae.numerics.spacetime.posterior import Solved
from sae.numerics.spacetime.posterior_kernels import draw_rows

__all__ = ["FieldDraws", "draw_fields"]


@dataclass(frozen=True, eq=False)
class FieldDraws:
    """Joint draws in the caller's order of the rows.

    Attributes
    ----------
    values : ndarray, shape (S, M)
    beta : ndarray, shape (S, p)
    replicated : ndarray, shape (S, n) or (S, 0)
        New direct estimates of the sampled rows, if they are wanted.
    """

    values: np.ndarray
    beta: np.ndarray
    replicated: np.ndarray


@compiled
def _whitened(key, numbers, draw, white, component, sums, mean, root, x, beta):
    """Fill in the field of each draw in the coordinates of `Solved.white`, and the coefficients.

    `draw` (k, slots) numbers the draws of each hyperparameter value, -1 for none; `white` (groups, lanes D
    q), `sums` (k, parts, q), `mean` (k, p), `root` (k, p, p), `x` (groups, lanes D slots), `beta` (S, p). The
    sums of the field are 0 on each part of the map: what goes along 1 is taken out.
    """
    slots, p, q, n_areas = draw.shape[1], mean.shape[1], sums.shape[2], len(component)
    parts = sums.shape[1]
    z, contrast = np.empty((LANES, n_areas + p)), np.empty(q * slots * LANES)
    along, over = np.empty((parts + 1) * slots * LANES), np.zeros((parts + 1) * LANES)
    for group in range(len(white)):
        H, own = white[group], x[group]
        for i in range(len(contrast)):
            contrast[i] = 0.0
        for s in range(slots):
            for lane in range(LANES):
                m = group * LANES + lane
                one = draw[m, s] if m < len(draw) else -1
                if one < 0:
                    for i in range(n_areas):
                        z[lane, i] = 0.0
                    continue
                fill_normals(new_stream(key, numbers[one]), z[lane])
                for j in range(p):
                    value = mean[m, j]
                    for h in range(p):
                        value += root[m, j, h] * z[lane, n_areas + h]
                    beta[one, j] = value
                    contrast[(j * slots + s) * LANES + lane] = value
                contrast[(p * slots + s) * LANES + lane] = -1.0
            for i in range(n_areas):
                for lane in range(LANES):
                    own[(i * slots + s) * LANES + lane] = z[lane, i]
        for lane in range(LANES):
            for part in range(parts):
                over[part * LANES + lane] = -1.0 / sums[min(group * LANES + lane, len(draw) - 1), part, q - 1]
        for i in range(len(along)):
            along[i] = 0.0
        for i in range(n_areas):
            take_off(EIGHT, own, i * slots, slots, contrast, 0, slots, H, i * q, p + 1)
            if parts and component[i] >= 0:
                take_off_multiples(
                    EIGHT, along, component[i] * slots, own, i * slots, slots, H, i * q + q - 1
                )
        for part in range(parts):
            for s in range(part * slots, (part + 1) * slots):
                product(EIGHT, along, s, along, s, over, part)
        for i in range(n_areas if parts else 0):
            if component[i] >= 0:
                take_off_multiples(
                    EIGHT, own, i * slots, along, component[i] * slots, slots, H, i * q + q - 1
                )


@compiled
def _unlaid(x, draw, place, scale, out):
    """Write the field, times the scale of its value, of each draw: from (groups, lanes D slots) to (S, D)."""
    slots = draw.shape[1]
    for m in range(len(draw)):
        own, lane = x[m // LANES], m % LANES
        for s in range(slots):
            if draw[m, s] >= 0:
                for i in range(len(place)):
                    out[draw[m, s], i] = scale[m] * own[(place[i] * slots + s) * LANES + lane]


@compiled
def _one_period(seen, psi, y, X, level, tau2, beta, field, keys, numbers, values, replicated):
    """Draw the true values of rows that are one to an area, and new direct estimates of the sampled ones.

    Rows are in the caller's order, `X` (p, M), `field` (S, M); `tau2` (S,) is what an area has of its own.
    """
    p, n_rows = X.shape
    z, eta = np.empty(n_rows), np.empty(n_rows)
    slack, noise, sd = np.ones(n_rows), np.empty(n_rows), np.sqrt(psi)
    for s in range(len(beta)):
        if s == 0 or tau2[s] != tau2[s - 1]:
            noise[:] = np.sqrt(tau2[s])
            for k in range(len(seen)):
                slack[seen[k]] = psi[k] / (psi[k] + tau2[s])
                noise[seen[k]] = np.sqrt(tau2[s] * slack[seen[k]])
        for r in range(n_rows):
            eta[r] = field[s, r]
        for j in range(p):
            times = beta[s, j]
            for r in range(n_rows):
                eta[r] += times * X[j, r]
        if tau2[s] > 0.0:
            fill_normals(new_stream(keys[0], numbers[s]), z)
            for r in range(n_rows):
                eta[r] = y[r] + slack[r] * (eta[r] - y[r]) + noise[r] * z[r]
        for r in range(n_rows):
            values[s, r] = eta[r] + level[r]
        if replicated.shape[1]:
            fill_normals(new_stream(keys[1], numbers[s]), z[: len(seen)])
            for k in range(len(seen)):
                replicated[s, k] = values[s, seen[k]] + sd[k] * z[k]


def draw_fields(
    field: AreaField,
    at: Solved,
    owner: np.ndarray,
    numbers: np.ndarray,
    keys: np.ndarray,
    *,
    replicate: bool = True,
) -> FieldDraws:
    """Draw coefficients, effects and true values at hyperparameter values that are solved.

    Parameters
    ----------
    field : AreaField
    at : Solved
        From `solve`, k values.
    owner : ndarray of int, shape (S,)
        Which of the k values each draw has.
    numbers : ndarray of int, shape (S,)
        Number of each draw, from which alone its random numbers follow.
    keys : ndarray of uint64, shape (3,)
        Streams of the field, of the rows, and of the direct estimates.
    replicate : bool
        Whether to draw new direct estimates.
    """
    structure, scales = field.structure, at.scales
    rank = _rank_within(owner)
    draw = np.full((len(at.beta), int(rank.max(initial=0)) + 1), -1)
    draw[owner, rank] = np.arange(len(owner))
    x = np.empty((*at.white.shape[:2], draw.shape[1], at.white.shape[3]))
    beta = np.empty((len(owner), field.n_coefficients))
    groups = len(x)
    component = structure.component[structure.pattern.perm]
    white, flat = at.white.reshape(groups, -1), x.reshape(groups, -1)
    _whitened(keys[0], numbers, draw, white, component, at.sums, at.beta, at.beta_root, flat, beta)
    at.factor.backward(x)
    place = np.argsort(structure.pattern.perm)
    replicated = np.empty((len(owner), len(field.time) if replicate else 0))
    if field.psi.shape[1] == 1:
        rows = field.rows
        values = np.empty((len(owner), len(rows.area)))
        _unlaid(flat, draw, place[rows.area], scales.c, values)
        tau2 = (scales.tau2 + scales.omega[:, 0, 0])[owner]
        data = rows.seen, rows.psi, rows.y, rows.X, rows.level
        _one_period(*data, tau2, beta, values, keys[1:], numbers, values, replicated)
        return FieldDraws(values, field.basis.natural(beta), replicated)
    effects = np.empty((len(owner), structure.size))
    _unlaid(flat, draw, place, scales.c, effects)
    size, turn = np.linalg.eigh(scales.omega)
    roots = _lower(turn * np.sqrt(np.maximum(size, 0.0))[:, None, :])
    values, replicated = draw_rows(
        field.start,
        field.time,
        field.psi,
        field.Z,
        field.row_start,
        field.row_time,
        field.row_X,
        field.sampled_row,
        scales.tau2[owner],
        scales.omega[owner],
        roots[owner],
        beta,
        effects,
        keys[1],
        numbers,
    )
    values = (values + field.row_level)[:, np.argsort(field.order)]
    in_order = np.argsort(field.order[field.sampled_row])
    figures = (replicated + field.row_level[field.sampled_row])[:, in_order if replicate else []]
    return FieldDraws(values, field.basis.natural(beta), figures)


def _lower(roots: np.ndarray) -> np.ndarray:
    """Turn square roots into lower triangular ones with the same product; semi-definite ones too."""
    upper = np.asarray(np.linalg.qr(np.swapaxes(roots, 1, 2), mode="r"))
    # a sign that hangs on rounding would turn draws about
    upper = upper * np.where(np.diagonal(upper, axis1=1, axis2=2) < 0, -1.0, 1.0)[:, :, None]
    return np.ascontiguousarray(np.swapaxes(upper, 1, 2))


def _rank_within(owner: np.ndarray) -> np.ndarray:
    """How many earlier draws have the same owner, shape (S,)."""
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner)
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank
