"""Exact joint draws of an area-level model with spatial and temporal effects, given its hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.compile import compiled
from sae.numerics.linalg.cholesky_solve import colour_columns
from sae.numerics.random.normals import fill_normals, new_stream
from sae.numerics.spacetime.posterior import AreaField, Solved
from sae.numerics.spacetime.posterior_kernels import draw_rows

__all__ = ["FieldDraws", "draw_fields"]

_COLUMNS = 32  # draws of one factor that are solved together


@dataclass(frozen=True, eq=False)
class FieldDraws:
    """Joint draws in the caller's order of the rows.

    Attributes
    ----------
    values : ndarray, shape (S, M)
    beta : ndarray, shape (S, p)
    replicated : ndarray, shape (S, n)
        New direct estimates of the sampled rows.
    """

    values: np.ndarray
    beta: np.ndarray
    replicated: np.ndarray


@compiled
def _normals(key, numbers, draw, n_areas, p):
    """Return normals for the field, (k, D, c), and the coefficients, (k, p, c); none where `draw` is -1."""
    k, c = draw.shape
    field, beta = np.zeros((k, n_areas, c)), np.zeros((k, p, c))
    z = np.empty(n_areas + p)
    for m in range(k):
        for s in range(c):
            if draw[m, s] < 0:
                continue
            fill_normals(new_stream(key, numbers[draw[m, s]]), z)
            field[m, :, s] = z[:n_areas]
            beta[m, :, s] = z[n_areas:]
    return field, beta


@compiled
def _assemble(draw, loose, z, mean, root, pulled, scale, component, sums, total, field, beta):
    """Fill in what the field adds to each area, (S, D), and the coefficients, (S, p).

    The coefficients are mean + root z; the field is scale times (its mean at these coefficients + `loose`
    with the sums taken out).
    """
    (k, c), n_areas, p = draw.shape, loose.shape[1], mean.shape[1]
    n_constraints = total.shape[1]
    off = np.zeros((n_constraints + 1, c))  # its last row, that of areas without a constraint, stays 0
    for m in range(k):
        off[:] = 0.0
        if n_constraints:
            for i in range(n_areas):
                if component[i] >= 0:
                    for s in range(c):
                        off[component[i], s] += loose[m, i, s]
            for part in range(n_constraints):
                for s in range(c):
                    off[part, s] /= total[m, part, 0]
        for s in range(c):
            if draw[m, s] >= 0:
                for j in range(p):
                    value = mean[m, j]
                    for h in range(p):
                        value += root[m, j, h] * z[m, h, s]
                    beta[draw[m, s], j] = value
        for i in range(n_areas):
            for s in range(c):
                row = draw[m, s]
                if row < 0:
                    continue
                value = loose[m, i, s] + pulled[m, i, p]
                if n_constraints:
                    value -= sums[m, i, 0] * off[component[i], s]
                for j in range(p):
                    value -= pulled[m, i, j] * beta[row, j]
                field[row, i] = scale[m] * value


def draw_fields(
    field: AreaField, at: Solved, owner: np.ndarray, numbers: np.ndarray, keys: np.ndarray
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
    keys : ndarray of uint64, shape (2,)
        Streams of the field and of the rows.
    """
    structure, p, S = field.structure, field.n_coefficients, len(owner)
    rank = _rank_within(owner)
    x, beta = np.empty((S, structure.size)), np.empty((S, p))
    for start in range(0, int(rank.max(initial=-1)) + 1, _COLUMNS):
        mine = np.flatnonzero((rank >= start) & (rank < start + _COLUMNS))
        draw = np.full((len(at.beta), rank[mine].max() - start + 1), -1)
        draw[owner[mine], rank[mine] - start] = mine
        z, z_beta = _normals(keys[0], numbers, draw, structure.size, p)
        loose = colour_columns(at.factor, z)
        _assemble(
            draw,
            loose,
            z_beta,
            at.beta,
            at.beta_root,
            at.pulled,
            at.scales.c,
            structure.component,
            at.sums,
            at.total,
            x,
            beta,
        )
    scales = at.scales
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
        x,
        keys[1],
        numbers,
    )
    in_order = np.argsort(field.order[field.sampled_row])
    values += field.row_level
    replicated += field.row_level[field.sampled_row]
    return FieldDraws(values[:, np.argsort(field.order)], field.basis.natural(beta), replicated[:, in_order])


def _lower(roots: np.ndarray) -> np.ndarray:
    """Turn square roots into lower triangular ones with the same product; semi-definite ones too."""
    upper = np.linalg.qr(np.swapaxes(roots, 1, 2), mode="r")
    return np.ascontiguousarray(np.swapaxes(upper, 1, 2))


def _rank_within(owner: np.ndarray) -> np.ndarray:
    """How many earlier draws have the same owner, shape (S,)."""
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner)
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank
