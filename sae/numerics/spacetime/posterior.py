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

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import log_ndtr, ndtr

from sae.numerics.inference.priors import log_prior
from sae.numerics.linalg.basis import Basis, orthonormal_basis
from sae.numerics.linalg.cholesky import Factor, factorise
from sae.numerics.linalg.cholesky_solve import solve_columns
from sae.numerics.spacetime.posterior_kernels import area_rows, area_sums
from sae.numerics.spacetime.precision import Structure, walk_covariance

__all__ = [
    "TEMPORAL",
    "AreaField",
    "Conditional",
    "Solved",
    "area_field",
    "condition",
    "log_posterior",
    "prior_variance",
    "solve",
]

TEMPORAL = ("ar1", "iid", "rw1", "rw2")
_TIED = 1e-12  # precision along the sums that are constrained, so that P has a factor where c = 0
_REST = 1e-7  # the same where a difference of variances is what is wanted
# working values beyond which nothing is evaluated: of a deviation; of a correlation, where Q is nearly
# singular (its prior leaves out 4e-8, and 7e-6 for SAR, whose Q is a square)
_SIZES, _MIXES, _MIXES_SAR = (-8.0, 14.0), (-5.5, 5.5), (-4.5, 4.5)
_LOG_ROOT_2PI = 0.5 * np.log(2.0 * np.pi)
_TOGETHER = 2**20  # numbers of one array that are worked on side by side


@dataclass(frozen=True, eq=False)
class AreaField:
    """Data, structure and priors of one model: D areas, T periods, M rows, n of them sampled, by area.

    Attributes
    ----------
    structure : Structure
    Z : ndarray, shape (n, p + 1)
        Covariates and, last, the direct estimates of the sampled rows, in the coordinates of `basis`.
    start, row_start : ndarray of int, shape (D + 1,)
        Bounds of each area among the sampled rows, and among all.
    time, row_time : ndarray of int, shape (n,), (M,)
    row_X : ndarray, shape (M, p)
        In the coordinates of `basis`.
    row_level : ndarray, shape (M,)
        What is taken out of the direct estimates.
    basis : Basis
    sampled_row : ndarray of int, shape (n,)
        Place of each sampled row among all.
    psi : ndarray, shape (D, T, T)
    order : ndarray of int, shape (M,)
        Place of each sorted row in the caller's order.
    temporal : str or None
        Of `TEMPORAL`.
    priors : tuple of (int, float)
        Of the standard deviations of the area effect and of the effects over time, as `priors` knows
        them.
    """

    structure: Structure
    Z: np.ndarray
    start: np.ndarray
    row_start: np.ndarray
    time: np.ndarray
    row_time: np.ndarray
    row_X: np.ndarray
    row_level: np.ndarray
    basis: Basis
    sampled_row: np.ndarray
    psi: np.ndarray
    order: np.ndarray
    temporal: str | None
    priors: tuple[tuple[int, float], ...]

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float] | None]:
        """Hyperparameters by name: the open interval of a correlation, None for a standard deviation."""
        names: dict[str, tuple[float, float] | None] = {"sigma_u": None}
        if self.structure.bounds is not None:
            names["rho_u"] = self.structure.bounds
        if self.temporal is not None:
            names["sigma_v"] = None
        if self.temporal == "ar1":
            names["rho_v"] = (-1.0, 1.0)
        return names

    @property
    def n_coefficients(self) -> int:
        """Number of coefficients p."""
        return self.row_X.shape[1]

    @cached_property
    def unit(self) -> float:
        """Half a typical sampling error: a standard deviation far below it cannot be told from 0."""
        area = np.repeat(np.arange(self.structure.size), np.diff(self.start))
        return 0.5 * float(np.sqrt(np.median(self.psi[area, self.time, self.time])))

    def limits(self) -> np.ndarray:
        """Return the least and the largest working value of each hyperparameter, shape (2, d)."""
        mixes = {"rho_u": _MIXES_SAR if self.structure.kind == "sar" else _MIXES, "rho_v": _MIXES}
        return np.array([mixes.get(name, _SIZES) for name in self.bounds]).T

    def natural(self, phi: np.ndarray) -> dict[str, np.ndarray]:
        """Hyperparameters of working values, shape (k, d).

        A standard deviation is unit exp(phi) Phi(phi), a correlation goes through Phi along its interval:
        where prior and likelihood leave a density at an end, that of phi falls off as a normal one.
        """
        return {
            name: self.unit * np.exp(value + log_ndtr(value))
            if ends is None
            else ends[0] + (ends[1] - ends[0]) * ndtr(value)
            for (name, ends), value in zip(self.bounds.items(), phi.T, strict=True)
        }

    def log_prior(self, phi: np.ndarray) -> np.ndarray:
        """Log prior density of working values, shape (k,); correlations are uniform on their interval."""
        total, priors, natural = np.zeros(len(phi)), iter(self.priors), self.natural(phi)
        for (name, ends), value in zip(self.bounds.items(), phi.T, strict=True):
            log_normal = -0.5 * value**2 - _LOG_ROOT_2PI
            if ends is None:
                slope = np.log1p(np.exp(log_normal - log_ndtr(value)))
                total += log_prior(next(priors), natural[name]) + np.log(natural[name]) + slope
            else:
                total += log_normal
        return total

    def scales(self, phi: np.ndarray) -> Scales:
        """Return what the model is made of at working values, shape (k, d)."""
        values = self.natural(phi)
        sigma, r = values["sigma_u"], values.get("rho_u", np.ones(len(phi)))
        c, tau2 = sigma, np.zeros(len(phi))
        if self.structure.splits:
            rest = ndtr(-phi[:, list(self.bounds).index("rho_u")])
            c, tau2 = sigma * np.sqrt(r), sigma**2 * rest
        n_times = self.psi.shape[1]
        omega = np.zeros((len(phi), n_times, n_times))
        if self.temporal is not None:
            omega = values["sigma_v"][:, None, None] ** 2 * self._correlation(values.get("rho_v"))
        return Scales(r, c, tau2, omega)

    def _correlation(self, rho: np.ndarray | None) -> np.ndarray:
        n_times = self.psi.shape[1]
        if self.temporal == "ar1":
            assert rho is not None
            lag = np.abs(np.subtract.outer(np.arange(n_times), np.arange(n_times)))
            return rho[:, None, None] ** lag
        return (
            np.eye(n_times)
            if self.temporal == "iid"
            else walk_covariance(int(str(self.temporal)[2]), n_times)
        )

    def blocks(self, phi: np.ndarray) -> Iterator[np.ndarray]:
        """Cut working values into pieces whose arrays stay small."""
        size = max(8, _TOGETHER // (self.structure.size * (self.n_coefficients + 3)) // 8 * 8)
        for first in range(0, len(phi), size):
            yield phi[first : first + size]


@dataclass(frozen=True, eq=False)
class Scales:
    """Mixing parameter, scale of the field, independent variance (k,) and covariance over time (k, T, T)."""

    r: np.ndarray
    c: np.ndarray
    tau2: np.ndarray
    omega: np.ndarray


def area_field(
    structure: Structure,
    y: np.ndarray,
    X: np.ndarray,
    psi: np.ndarray,
    area: np.ndarray,
    period: np.ndarray,
    *,
    temporal: str | None = None,
    priors: tuple[tuple[int, float], ...],
) -> AreaField:
    """Sort the rows of a model by area and period.

    Parameters
    ----------
    structure : Structure
        Over the D areas.
    y : ndarray, shape (M,)
        Direct estimates; NaN where there is none.
    X : ndarray, shape (M, p)
    psi : ndarray, shape (D, T, T)
        Sampling covariances of each area over the periods; read only where there are direct estimates.
    area, period : ndarray of int, shape (M,)
        Place of each row on the grid; the same place twice has no meaning.
    temporal : {None, "ar1", "iid", "rw1", "rw2"}
        Effects over time within each area.
    priors : tuple of (code, scale)
        Of sigma_u and, with effects over time, of sigma_v: the deviation that a typical row has from them.

    Raises
    ------
    ValueError
        If a prior is improper with so few rows, or the random walk has too few periods.
    """
    order = np.lexsort((period, area))
    y, X, area, period = y[order], X[order].astype(float), area[order], period[order]
    sampled = np.flatnonzero(np.isfinite(y))
    n_areas = structure.size
    bounds = [np.searchsorted(rows, np.arange(n_areas + 1)) for rows in (area[sampled], area)]
    basis = orthonormal_basis(X[sampled], y[sampled])
    level, X = X @ basis.fitted, np.ascontiguousarray(basis.of(X))
    Z = np.ascontiguousarray(np.column_stack([X[sampled], y[sampled] - level[sampled]]))
    field = AreaField(
        structure,
        Z,
        bounds[0],
        bounds[1],
        period[sampled],
        period,
        X,
        level,
        basis,
        sampled,
        np.ascontiguousarray(psi, float),
        order,
        temporal,
        priors,
    )
    if temporal is not None:
        field._correlation(np.zeros(1))
    return field


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
        Of P.
    pulled : ndarray, shape (k, D, p + 1)
        c P^-1 1'V^-1 (X, y) with the sums taken out: the field's mean is its last column less the others
        times the coefficients.
    sums : ndarray, shape (k, D, 1)
        P^-1 1; empty without constraints.
    total : ndarray, shape (k, n_constraints, 1)
        1'P^-1 1 of each constrained part of the map.
    beta : ndarray, shape (k, p)
        In the coordinates of the field's basis.
    beta_root : ndarray, shape (k, p, p)
        root root' = (X'V^-1 X)^-1.
    log_density : ndarray, shape (k,)
    """

    scales: Scales
    factor: Factor
    pulled: np.ndarray
    sums: np.ndarray
    total: np.ndarray
    beta: np.ndarray
    beta_root: np.ndarray
    log_density: np.ndarray


def solve(field: AreaField, phi: np.ndarray) -> Solved:
    """Factorise and solve at working values, shape (k, d), all side by side: see `AreaField.blocks`."""
    structure, p = field.structure, field.n_coefficients
    low, high = field.limits()
    outside = ((phi < low) | (phi > high)).any(axis=1)
    phi = np.clip(phi, low, high)
    scales = field.scales(phi)
    pull, given, gram, block_logdet = area_sums(
        field.start, field.time, field.psi, field.Z, scales.tau2, scales.omega
    )
    values = np.array(structure.values(scales.r))
    prior_logdet = structure.logdet(scales.r)
    constrained = structure.component >= 0
    values[:, structure.diagonal] += scales.c[:, None] ** 2 * pull + _TIED * constrained
    factor = factorise(structure.pattern, values)
    given *= scales.c[:, None, None]
    logdet = block_logdet + factor.logdet() - prior_logdet
    sums, total = np.empty((len(phi), structure.size, 0)), np.empty((len(phi), 0, 1))
    if structure.n_constraints:
        ones = np.broadcast_to(constrained.astype(float)[:, None], (len(phi), structure.size, 1))
        solved = solve_columns(factor, np.concatenate([given, ones], axis=2))
        pulled, sums = solved[..., :-1], solved[..., -1:]
        total = structure.sums(sums)
        pulled = pulled - sums * structure.spread(structure.sums(pulled) / total)
        logdet = logdet + np.log(total).sum(axis=(1, 2))
    else:
        pulled = solve_columns(factor, given)
    gram = gram - np.swapaxes(given, 1, 2) @ pulled
    gram = 0.5 * (gram + np.swapaxes(gram, 1, 2))
    beta, root, log_rest = _regress(gram, p)
    log_density = np.where(outside, -np.inf, log_rest - 0.5 * logdet + field.log_prior(phi))
    return Solved(scales, factor, pulled, sums, total, beta, root, log_density)


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
    p, structure = field.n_coefficients, field.structure
    at = solve(field, phi)
    variance = at.factor.inverse().diagonal()
    if structure.n_constraints:
        variance = variance - (at.sums**2 * structure.spread(1.0 / at.total))[..., 0]
    row_area = np.repeat(np.arange(structure.size), np.diff(field.row_start))
    area = row_area[field.sampled_row]
    n, n_rows = len(field.time), len(row_area)
    means, variances = np.empty((2, len(phi), n_rows))
    left_out, predicted, spread = np.empty((3, len(phi), n))
    for k in range(len(phi)):
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
        mean = at.pulled[k, :, p] - at.pulled[k, :, :p] @ at.beta[k]
        loose = (design - slack[:, None] * at.pulled[k, row_area, :p]) @ at.beta_root[k]
        means[k] = known + design @ at.beta[k] + slack * mean[row_area]
        variances[k] = left + slack**2 * variance[k, row_area] + (loose**2).sum(axis=1)
        pull = c * inverse[:, p + 1]
        loose = (inverse[:, :p] - pull[:, None] * at.pulled[k, area, :p]) @ at.beta_root[k]
        sharp = inverse[:, p + 2] - pull**2 * variance[k, area] - (loose**2).sum(axis=1)
        residual = inverse[:, p] - inverse[:, :p] @ at.beta[k] - pull * mean[area]
        with np.errstate(divide="ignore", invalid="ignore"):
            left_out[k] = 0.5 * (np.log(sharp / (2.0 * np.pi)) - residual**2 / sharp)
            predicted[k], spread[k] = field.Z[:, -1] - residual / sharp, 1.0 / np.sqrt(sharp)
    back = np.argsort(field.order)
    in_order = np.argsort(field.order[field.sampled_row])
    return Conditional(
        at.log_density,
        field.basis.natural(at.beta),
        field.basis.natural_root(at.beta_root),
        (means + field.row_level)[:, back],
        np.sqrt(variances[:, back]),
        left_out[:, in_order],
        (predicted + field.row_level[field.sampled_row])[:, in_order],
        spread[:, in_order],
    )


def prior_variance(field: AreaField, phi: np.ndarray) -> np.ndarray:
    """Prior variance of the effects of every row at working values: shape (k, M), in the caller's order."""
    structure, scales = field.structure, field.scales(phi)
    values = np.array(structure.values(scales.r))
    constrained = structure.component >= 0
    values[:, structure.diagonal] += _REST * constrained
    factor = factorise(structure.pattern, values)
    variance = factor.inverse().diagonal()
    if structure.n_constraints:
        sums = solve_columns(
            factor, np.broadcast_to(constrained.astype(float)[:, None], (*variance.shape, 1))
        )
        variance = variance - (sums**2 * structure.spread(1.0 / structure.sums(sums)))[..., 0]
    area = np.repeat(np.arange(structure.size), np.diff(field.row_start))
    over_time = np.diagonal(scales.omega, axis1=1, axis2=2)[:, field.row_time]
    total = scales.c[:, None] ** 2 * variance[:, area] + scales.tau2[:, None] + over_time
    return total[:, np.argsort(field.order)]
