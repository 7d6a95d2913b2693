"""Log marginal posterior and exact conditional moments of models with spatial and temporal effects.

    y_it = x_it'beta + c x_i + tau u_i + v_it + e_it
    x ~ N(0, Q(r)^-1) over the map, sums to zero where Q lacks rank;   u_i ~ N(0, 1)
    v_i ~ N(0, Omega) over the periods;   e_i ~ N(0, Psi_i), known

The coefficients are flat. u, v and e are independent between areas, so that with V_i = Psi_i + tau² 11' +
Omega the field x has posterior precision P = Q + c² diag(1'V_i^-1 1): one sparse factorisation gives the
density of the hyperparameters with everything else integrated out, and the moments of every area.

References
----------
Rue and Held (2005), Gaussian Markov Random Fields, sections 2.3.3 (conditioning on sums) and 3.3; Rao and Yu
(1994), Canadian J. Stat. 22, 511-528; Riebler et al. (2016), Stat. Methods Med. Res. 25, 1145-1165.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.linalg.cholesky import Factor, factorise, one_by_one, side_by_side
from sae.numerics.linalg.lanes import EIGHT
from sae.numerics.spacetime.area_field import AreaField, Scales
from sae.numerics.spacetime.posterior_kernels import area_rows, area_sums, inner_products, times_weight
from sae.numerics.spacetime.precision import Structure

__all__ = [
    "Conditional",
    "Solved",
    "condition",
    "log_posterior",
    "prior_variance",
    "pulled",
    "solve",
]

_TIED = 1e-12  # precision along the sums that are constrained, so that P has a factor where c = 0
_REST = 1e-7  # the same where a difference of variances is what is wanted


def log_posterior(field: AreaField, phi: np.ndarray) -> np.ndarray:
    """Log posterior density of working values up to a constant, effects and coefficients integrated out.

    Parameters
    ----------
    phi : ndarray, shape (k, d)
        In the order of `AreaField.bounds`; see `AreaField.natural`.

    Returns
    -------
    ndarray, shape (k,)
        -inf where rounding leaves no density.
    """
    parts = [solve(field, some).log_density for some in field.blocks(np.atleast_2d(phi))]
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class Solved:
    """The field and the coefficients at k hyperparameter values.

    Attributes
    ----------
    scales : Scales
    factor : Factor
        Of P = L D L'.
    white : ndarray, shape (groups, D, p + 1 or p + 2, lanes)
        D^-1/2 L^-1 of c 1'V^-1 (X, y) and, with constraints, of 1, in the permuted order: the field given
        the coefficients is L'^-1 D^-1/2 (white (-beta, 1) + standard normals) with the sums taken out.
    sums : ndarray, shape (k, n_constraints, p + 2)
        1'P^-1 of the same, for each constrained part of the map.
    beta : ndarray, shape (k, p)
        In the coordinates of the field's basis.
    beta_root : ndarray, shape (k, p, p)
        root root' = (X'V^-1 X)^-1.
    log_density : ndarray, shape (k,)
    """

    scales: Scales
    factor: Factor
    white: np.ndarray
    sums: np.ndarray
    beta: np.ndarray
    beta_root: np.ndarray
    log_density: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """1'P^-1 1 of each constrained part of the map, shape (k, n_constraints)."""
        return self.sums[:, :, -1]


def solve(field: AreaField, phi: np.ndarray) -> Solved:
    """Factorise and solve at working values, shape (k, d), all side by side: see `AreaField.blocks`."""
    structure, p = field.structure, field.n_coefficients
    low, high = field.limits()
    outside = ((phi < low) | (phi > high)).any(axis=1)
    phi = np.clip(phi, low, high)
    scales = field.scales(phi)
    pull, white, gram, block_logdet = _sums(field, scales)
    values = np.array(structure.values(scales.r))
    constrained = structure.component >= 0
    values[:, structure.diagonal] += scales.c[:, None] ** 2 * pull + _TIED * constrained
    factor = factorise(structure.pattern, values, EIGHT)
    n_constraints = structure.n_constraints
    factor.forward(white)
    taken, sums = _products(structure, white, len(phi))
    gram = gram - taken[:, : p + 1, : p + 1]
    logdet = block_logdet + factor.logdet() - field.prior_logdet(phi)
    if n_constraints:
        total = sums[:, :, -1]
        along = sums[:, :, :-1] / np.sqrt(total)[..., None]
        gram = gram + np.swapaxes(along, 1, 2) @ along
        logdet = logdet + np.log(total).sum(axis=1)
    beta, root, log_rest = _regress(gram, p)
    log_density = np.where(outside, -np.inf, log_rest - 0.5 * logdet + field.log_prior(phi))
    return Solved(scales, factor, white, sums, beta, root, log_density)


def _sums(field: AreaField, scales: Scales) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """1'V^-1 1 (k, D); c 1'V^-1 Z and, with constraints, 1 as in `Solved.white`; Z'V^-1 Z; and log |V|."""
    structure = field.structure
    perm, constrained = structure.pattern.perm, (structure.component >= 0).astype(float)
    if field.psi.shape[1] > 1:
        pull, given, gram, logdet = area_sums(
            field.start, field.time, field.psi, field.Z, scales.tau2, scales.omega
        )
        given *= scales.c[:, None, None]
        if structure.n_constraints:
            ones = np.broadcast_to(constrained[:, None], (*given.shape[:2], 1))
            given = np.concatenate([given, ones], axis=2)
        return pull, side_by_side(given[:, perm]), gram, logdet
    areas = field.areas
    q = areas.Z.shape[1]
    variance = areas.psi + (scales.tau2 + scales.omega[:, 0, 0])[:, None]
    pull = np.zeros((len(scales.c), structure.size))
    pull[:, areas.seen] = 1.0 / variance
    weight = side_by_side((scales.c[:, None] * pull)[:, perm])
    white = np.empty((len(weight), structure.size, q + (structure.n_constraints > 0), weight.shape[2]))
    times_weight(weight, areas.Z[perm], constrained[perm], white)
    gram = (pull[:, areas.seen] @ areas.products).reshape(-1, q, q)
    return pull, white, gram, np.log(variance).sum(axis=1)


def _products(structure: Structure, white: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inner products of the columns (k, q, q), and those of the last one on each part of the map."""
    groups, _, q, lanes = white.shape
    gram, sums = np.zeros((groups, q, q, lanes)), np.zeros((groups, structure.n_constraints, q, lanes))
    component = structure.component[structure.pattern.perm]
    inner_products(
        white.reshape(groups, -1), component, gram.reshape(groups, -1), sums.reshape(groups, -1), q
    )
    return one_by_one(gram, count), one_by_one(sums, count)


def pulled(field: AreaField, at: Solved) -> tuple[np.ndarray, np.ndarray]:
    """Return what the data say of the field, shape (k, D, p + 1), and P^-1 1, shape (k, D, 1).

    The first is c P^-1 1'V^-1 (X, y) with the sums taken out: the field's mean is its last column less the
    others times the coefficients. The second is empty without constraints.
    """
    structure, p = field.structure, field.n_coefficients
    found = at.factor.unpermuted(at.factor.backward(at.white.copy()))
    found, sums = found[..., : p + 1], found[..., p + 1 :]
    if structure.n_constraints:
        found = found - sums * structure.spread(at.sums[:, :, :-1] / at.total[..., None])
    return found, sums


def _regress(gram: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, root of their covariance, and -1/2 (log |X'V^-1 X| + rss), from Grams of (X, y)."""
    # unit diagonal first: covariates may differ by orders of magnitude
    squares = np.diagonal(gram, axis1=1, axis2=2)[:, :p]
    size = np.sqrt(np.where(squares > 0, squares, 1.0))
    scaled = gram[:, :p, :p] / (size[:, :, None] * size[:, None, :])
    fine = (squares > 0).all(axis=1) & (np.linalg.eigvalsh(scaled)[:, 0] > 1e-14)
    L = np.linalg.cholesky(np.where(fine[:, None, None], scaled, np.eye(p)))
    inverse = np.linalg.inv(L)
    half = (inverse @ (gram[:, :p, p] / size)[..., None])[..., 0]
    root = np.swapaxes(inverse, 1, 2) / size[:, :, None]
    beta = (root @ half[..., None])[..., 0]
    logdet = 2.0 * (np.log(np.diagonal(L, axis1=1, axis2=2)) + np.log(size)).sum(axis=1)
    rest = -0.5 * (logdet + gram[:, p, p] - (half**2).sum(axis=1))
    return beta, root, np.where(fine & np.isfinite(rest), rest, -np.inf)


@dataclass(frozen=True, eq=False)
class Conditional:
    """Exact posterior of the rows at k hyperparameter values; rows in the caller's order.

    Attributes
    ----------
    log_density : ndarray, shape (k,)
    beta : ndarray, shape (k, p)
    beta_root : ndarray, shape (k, p, p)
        root root' is the covariance of the coefficients.
    means, sds : ndarray, shape (k, M)
        Of the true values.
    log_left_out : ndarray, shape (k, n)
        Log density of each direct estimate given all others, in the caller's order of the sampled rows.
    left_out, left_out_sd : ndarray, shape (k, n)
        What the others predict of it, and with which standard deviation.
    """

    log_density: np.ndarray
    beta: np.ndarray
    beta_root: np.ndarray
    means: np.ndarray
    sds: np.ndarray
    log_left_out: np.ndarray
    left_out: np.ndarray
    left_out_sd: np.ndarray


def condition(field: AreaField, phi: np.ndarray) -> Conditional:
    """Return the posterior of every row at hyperparameter values, without Monte-Carlo error.

    Parameters
    ----------
    phi : ndarray, shape (k, d)
        Working values; see `log_posterior`.
    """
    parts = [_condition(field, some) for some in field.blocks(np.atleast_2d(phi))]
    names = ("log_density", "beta", "beta_root", "means", "sds", "log_left_out", "left_out", "left_out_sd")
    return Conditional(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _condition(field: AreaField, phi: np.ndarray) -> Conditional:
    at = solve(field, phi)
    mean, variance, left_out, predicted, spread = (
        _areas_given(field, at) if field.psi.shape[1] == 1 else _panels_given(field, at)
    )
    back = np.argsort(field.order)
    in_order = np.argsort(field.order[field.sampled_row])
    return Conditional(
        at.log_density,
        field.basis.natural(at.beta),
        field.basis.natural_root(at.beta_root),
        (mean + field.row_level)[:, back],
        np.sqrt(variance[:, back]),
        left_out[:, in_order],
        (predicted + field.row_level[field.sampled_row])[:, in_order],
        spread[:, in_order],
    )


def _field_given(field: AreaField, at: Solved) -> tuple[np.ndarray, np.ndarray]:
    """Return what the data say of the field, as `pulled`, and its variance given the coefficients, (k, D)."""
    found, sums = pulled(field, at)
    variance = at.factor.inverse().diagonal()
    if field.structure.n_constraints:
        variance -= (sums**2 * field.structure.spread(1.0 / at.total[..., None]))[..., 0]
    return found, variance


def _areas_given(field: AreaField, at: Solved) -> tuple[np.ndarray, ...]:
    """Means and variances of the rows, and the figures left out, of one period: V is diagonal."""
    p, seen = field.n_coefficients, field.sampled_row
    found, variance = _field_given(field, at)
    area = np.repeat(np.arange(field.structure.size), np.diff(field.row_start))
    c = at.scales.c[:, None]
    found, variance = found[:, area], variance[:, area]
    loose = (field.row_X - c[..., None] * found[..., :p]) @ at.beta_root
    mean = c * (found[..., p] - (found[..., :p] @ at.beta[..., None])[..., 0]) + at.beta @ field.row_X.T
    variance = c**2 * variance + (loose**2).sum(axis=2)
    own = (at.scales.tau2 + at.scales.omega[:, 0, 0])[:, None]
    psi, y = field.areas.psi, field.Z[:, -1]
    pull = 1.0 / (psi + own)
    sharp = pull * (1.0 - pull * variance[:, seen])
    off = y - mean[:, seen]
    residual = pull * off
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = 0.5 * (np.log(sharp / (2.0 * np.pi)) - residual**2 / sharp)
        predicted, spread = y - residual / sharp, 1.0 / np.sqrt(sharp)
    slack = psi * pull  # no cancellation where the sampling variance is tiny
    left = np.broadcast_to(own, variance.shape).copy()
    left[:, seen] *= slack
    variance[:, seen] *= slack**2
    mean[:, seen] += (1.0 - slack) * off
    return mean, left + variance, left_out, predicted, spread


def _panels_given(field: AreaField, at: Solved) -> tuple[np.ndarray, ...]:
    """Means and variances of the rows, and the figures left out, of several periods."""
    p, count = field.n_coefficients, len(at.beta)
    found, variance = _field_given(field, at)
    row_area = np.repeat(np.arange(field.structure.size), np.diff(field.row_start))
    area = row_area[field.sampled_row]
    means, variances = np.empty((2, count, len(row_area)))
    left_out, predicted, spread = np.empty((3, count, len(area)))
    for k in range(count):
        c = at.scales.c[k]
        rows, inverse = area_rows(
            field.start,
            field.time,
            field.psi,
            field.Z,
            field.row_start,
            field.row_time,
            field.row_X,
            at.scales.tau2[k],
            at.scales.omega[k],
        )
        design, known, slack, left = rows[:, :p], rows[:, p], c * rows[:, p + 1], rows[:, p + 2]
        mean = found[k, :, p] - found[k, :, :p] @ at.beta[k]
        loose = (design - slack[:, None] * found[k, row_area, :p]) @ at.beta_root[k]
        means[k] = known + design @ at.beta[k] + slack * mean[row_area]
        variances[k] = left + slack**2 * variance[k, row_area] + (loose**2).sum(axis=1)
        pull = c * inverse[:, p + 1]
        loose = (inverse[:, :p] - pull[:, None] * found[k, area, :p]) @ at.beta_root[k]
        sharp = inverse[:, p + 2] - pull**2 * variance[k, area] - (loose**2).sum(axis=1)
        residual = inverse[:, p] - inverse[:, :p] @ at.beta[k] - pull * mean[area]
        with np.errstate(divide="ignore", invalid="ignore"):
            left_out[k] = 0.5 * (np.log(sharp / (2.0 * np.pi)) - residual**2 / sharp)
            predicted[k], spread[k] = field.Z[:, -1] - residual / sharp, 1.0 / np.sqrt(sharp)
    return means, variances, left_out, predicted, spread


def prior_variance(field: AreaField, phi: np.ndarray) -> np.ndarray:
    """Prior variance of the effects of every row at working values: shape (k, M), in the caller's order."""
    structure, scales = field.structure, field.scales(phi)
    if structure.varies:
        parts = [_standard_variance(structure, scales.r[k : k + 8]) for k in range(0, len(phi), 8)]
        variance = np.concatenate(parts)
    else:
        variance = _standard_variance(structure, scales.r[:1])
    area = np.repeat(np.arange(structure.size), np.diff(field.row_start))
    over_time = np.diagonal(scales.omega, axis1=1, axis2=2)[:, field.row_time]
    total = scales.c[:, None] ** 2 * variance[:, area] + scales.tau2[:, None] + over_time
    return total[:, np.argsort(field.order)]


def _standard_variance(structure: Structure, r: np.ndarray) -> np.ndarray:
    """Prior variance of the standardised effects for each r, shape (k, D)."""
    values = np.array(structure.values(r))
    constrained = structure.component >= 0
    values[:, structure.diagonal] += _REST * constrained
    factor = factorise(structure.pattern, values, EIGHT)
    variance = factor.inverse().diagonal()
    if structure.n_constraints:
        sums = factor.solve(constrained.astype(float)[:, None])
        variance -= (sums**2 * structure.spread(1.0 / structure.sums(sums)))[..., 0]
    return variance
