"""Data, structure, priors and hyperparameters of an area-level model with spatial and temporal effects.

The model is that of `spacetime.posterior`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import Chebyshev
from scipy.special import log_ndtr, ndtr

from sae.numerics.inference.priors import log_prior
from sae.numerics.linalg.basis import Basis, orthonormal_basis
from sae.numerics.spacetime.precision import Structure, walk_covariance

__all__ = ["TEMPORAL", "AreaField", "Scales", "area_field"]

TEMPORAL = ("ar1", "iid", "rw1", "rw2")
# working values beyond which nothing is evaluated: of a deviation; of a correlation, where Q is nearly
# singular (its prior leaves out 4e-8, and 7e-6 for SAR, whose Q is a square)
_SIZES, _MIXES, _MIXES_SAR = (-8.0, 14.0), (-5.5, 5.5), (-4.5, 4.5)
_DEGREE = 23  # of the polynomials of log |Q|: they err by some 1e-11
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

    @cached_property
    def areas(self) -> Areas:
        """Sampling variances and data by area, of a model with one period."""
        seen = np.flatnonzero(np.diff(self.start))
        Z = np.zeros((self.structure.size, self.Z.shape[1]))
        Z[seen] = self.Z
        products = (self.Z[:, :, None] * self.Z[:, None]).reshape(len(seen), -1)
        return Areas(seen, self.psi[seen, 0, 0], Z, products)

    @cached_property
    def rows(self) -> Rows:
        """The rows in the caller's order, of a model with one period."""
        back = np.argsort(self.order)
        y = np.zeros(len(back))
        y[self.sampled_row] = self.Z[:, -1]
        psi = np.full(len(back), np.nan)
        psi[self.sampled_row] = self.areas.psi
        area = np.repeat(np.arange(self.structure.size), np.diff(self.row_start))[back]
        seen = np.flatnonzero(np.isfinite(psi[back]))
        X = np.ascontiguousarray(self.row_X[back].T)
        return Rows(area, seen, psi[back][seen], y[back], X, self.row_level[back])

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

    def prior_logdet(self, phi: np.ndarray) -> np.ndarray:
        """Log |Q| at working values, shape (k,), up to a constant where Q is the same at all of them.

        It is a smooth function of the working value of rho_u alone: a polynomial on each interval of length
        1, whose points are factorised when the first value falls into it.
        """
        if not self.structure.varies:
            return np.zeros(len(phi))
        column = list(self.bounds).index("rho_u")
        low, high = self.limits()[:, column]
        value = phi[:, column]
        total, cell = np.empty(len(phi)), np.floor(value)
        for start in np.unique(cell):
            ends = max(start, low), min(start + 1.0, high)
            mine = cell == start
            polynomial = self._logdets.get(start)
            if polynomial is None:
                polynomial = Chebyshev.interpolate(self._logdet_of, _DEGREE, domain=ends)
                self._logdets[start] = polynomial
            total[mine] = polynomial(value[mine])
        return total

    @cached_property
    def _logdets(self) -> dict[float, Chebyshev]:
        """By the lower end of their interval."""
        return {}

    def _logdet_of(self, value: np.ndarray) -> np.ndarray:
        assert self.structure.bounds is not None
        least, largest = self.structure.bounds
        r = least + (largest - least) * ndtr(value)
        return np.concatenate([self.structure.logdet(r[k : k + 8]) for k in range(0, len(r), 8)])

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
class Areas:
    """Data of a model with one period, so that a sampled area has one row.

    Attributes
    ----------
    seen : ndarray of int, shape (n,)
        The sampled areas.
    psi : ndarray, shape (n,)
    Z : ndarray, shape (D, p + 1)
        0 where not sampled.
    products : ndarray, shape (n, (p + 1)²)
        z z' of each sampled area.
    """

    seen: np.ndarray
    psi: np.ndarray
    Z: np.ndarray
    products: np.ndarray


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a model with one period, in the caller's order.

    Attributes
    ----------
    area : ndarray of int, shape (M,)
    seen : ndarray of int, shape (n,)
        The sampled rows.
    psi : ndarray, shape (n,)
    y : ndarray, shape (M,)
        Less `level`; 0 where not sampled.
    X : ndarray, shape (p, M)
    level : ndarray, shape (M,)
    """

    area: np.ndarray
    seen: np.ndarray
    psi: np.ndarray
    y: np.ndarray
    X: np.ndarray
    level: np.ndarray


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
