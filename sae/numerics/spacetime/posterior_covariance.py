"""Posterior covariance of all rows of a model with spatial and temporal effects, over nodes."""

from __future__ import annotations

import numpy as np

from sae.numerics.spacetime.area_field import AreaField
from sae.numerics.spacetime.posterior import Solved, pulled, solve
from sae.numerics.spacetime.posterior_kernels import area_rows

__all__ = ["joint_covariance"]

_WORK = 2**26  # entries of matrices of all rows that are computed: from there on nodes are left out
_TOGETHER = 2**20  # entries held at once, or those of eight nodes, which are factorised side by side


def joint_covariance(
    field: AreaField, phi: np.ndarray, weights: np.ndarray, means: np.ndarray, sds: np.ndarray
) -> np.ndarray:
    """Return the covariance of the true values, by the law of total covariance, shape (M, M).

    Parameters
    ----------
    field : AreaField
    phi : ndarray, shape (K, d)
        Nodes, as working values.
    weights : ndarray, shape (K,)
        They sum to 1.
    means, sds : ndarray, shape (K, M)
        Of the true values at each node, in the caller's order of the rows: see `condition`.

    Notes
    -----
    Given a node, the value of a row is known + design'β + slack x + what is its area's own: coefficients and
    field make the covariance between areas, and their own effects that within them. Where K M² is large, the
    correlations given a node are averaged over fewer nodes; variances, and what the nodes' means add, always
    are over all.
    """
    n_rows = means.shape[1]
    count = max(1, _WORK // n_rows**2)
    some, share = phi, weights
    if count < len(phi):
        taken = np.searchsorted(np.cumsum(weights), (np.arange(count) + 0.5) / count * (1.0 - 1e-12))
        kept, times = np.unique(taken, return_counts=True)
        some, share = phi[kept], times / count
    inside = np.zeros((n_rows, n_rows))
    step = max(8, _TOGETHER // n_rows**2 // 8 * 8)
    for first in range(0, len(some), step):
        here = slice(first, first + step)
        inside += np.tensordot(share[here], _given_node(field, solve(field, some[here])), axes=1)
    back = np.argsort(field.order)
    inside = inside[np.ix_(back, back)]
    exact = np.sqrt((weights @ sds**2) / np.diag(inside))
    off = np.sqrt(weights)[:, None] * (means - weights @ means)
    return np.asarray(inside * exact[:, None] * exact + off.T @ off)


def _given_node(field: AreaField, at: Solved) -> np.ndarray:
    """Covariance of all rows, sorted as the field has them, at each of k nodes, shape (k, M, M)."""
    row_area = np.repeat(np.arange(field.structure.size), np.diff(field.row_start))
    design, slack = _parts(field, at)
    found, sums = pulled(field, at)
    loose = (design - slack[:, :, None] * found[:, row_area, :-1]) @ at.beta_root
    total = _field_covariance(field, at, sums)[:, row_area[:, None], row_area]
    total *= slack[:, :, None] * slack[:, None, :]
    total += loose @ np.swapaxes(loose, 1, 2)
    one, other = np.nonzero(row_area[:, None] == row_area)
    total[:, one, other] += _own(field, at)[:, row_area[one], field.row_time[one], field.row_time[other]]
    return total


def _parts(field: AreaField, at: Solved) -> tuple[np.ndarray, np.ndarray]:
    """Return what coefficients, (k, M, p), and field, (k, M), have in each row given the data of its area."""
    scales, p = at.scales, field.n_coefficients
    if field.psi.shape[1] == 1:
        slack = np.ones((len(at.beta), len(field.row_X)))
        own = (scales.tau2 + scales.omega[:, 0, 0])[:, None]
        slack[:, field.sampled_row] = field.areas.psi / (field.areas.psi + own)
        return slack[:, :, None] * field.row_X, scales.c[:, None] * slack
    data = field.start, field.time, field.psi, field.Z, field.row_start, field.row_time, field.row_X
    rows = np.stack([area_rows(*data, *own)[0] for own in zip(scales.tau2, scales.omega, strict=True)])
    return rows[:, :, :p], scales.c[:, None] * rows[:, :, p + 1]


def _field_covariance(field: AreaField, at: Solved, sums: np.ndarray) -> np.ndarray:
    """Covariance of the field over the map given the coefficients, its parts summing to 0, (k, D, D)."""
    structure = field.structure
    inverse = at.factor.solve(np.eye(structure.size))
    if structure.n_constraints:
        tied = (sums * np.sqrt(structure.spread(1.0 / at.total[..., None])))[:, :, 0]
        same = structure.component[:, None] == structure.component
        inverse = inverse - tied[:, :, None] * tied[:, None, :] * same
    return inverse


def _own(field: AreaField, at: Solved) -> np.ndarray:
    """Covariance of an area's own effects given its data, coefficients and field, shape (k, D, T, T)."""
    sampled = np.zeros(field.psi.shape[:2], dtype=bool)
    sampled[np.repeat(np.arange(field.structure.size), np.diff(field.start)), field.time] = True
    both = sampled[:, :, None] & sampled[:, None, :]
    prior = (at.scales.tau2[:, None, None] + at.scales.omega)[:, None]
    inverse = np.linalg.inv(np.where(both, prior + field.psi, np.eye(field.psi.shape[1]))) * both
    return np.asarray(prior - prior @ inverse @ prior)
