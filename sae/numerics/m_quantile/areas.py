"""The M-quantile model of areas: orders of units and areas, means of areas and their pseudo-linear errors.

An area's order q_d is the mean of the orders of its units, 0.5 without a sample; its regression is that of
q_d.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sae.numerics.compile import compiled
from sae.numerics.linalg.small import factor_small, solve_small
from sae.numerics.m_quantile.regression import MQuantileFits, fit_at, fit_grid, unit_orders

__all__ = ["AreaFits", "MeanErrors", "area_means", "coefficient_covariance", "fit_areas", "mean_errors"]

MEDIAN = 0.5  # the order of an area without a sample
FEW = 5  # units: an area with fewer takes the mean squared residual of the others


@dataclass(frozen=True, eq=False)
class AreaFits:
    """M-quantile regressions of D areas.

    Attributes
    ----------
    y : ndarray, shape (n,)
    X : ndarray, shape (n, p)
        X'X = n I.
    area : ndarray of int, shape (n,)
    n : ndarray of int, shape (D,)
        Units of each area.
    grid, areas : MQuantileFits
        Of the orders of the grid; of the areas' orders, shape (D,).
    unit_order : ndarray, shape (n,)
    crossed : int
        Units at which regressions of the grid cross.
    """

    y: np.ndarray
    X: np.ndarray
    area: np.ndarray
    n: np.ndarray
    grid: MQuantileFits
    areas: MQuantileFits
    unit_order: np.ndarray
    crossed: int

    @property
    def fitted(self) -> np.ndarray:
        """M-quantile of each unit at the order of its area, shape (n,)."""
        return np.einsum("ij,ij->i", self.X, self.areas.beta[self.area])

    @property
    def median(self) -> np.ndarray:
        """Coefficients of the order 0.5, shape (p,)."""
        return self.grid.beta[np.argmin(np.abs(self.grid.order - MEDIAN))]

    @property
    def steps(self) -> np.ndarray:
        """Passes of all regressions; negative where one has no answer."""
        return np.concatenate([self.grid.steps, self.areas.steps])

    @property
    def sample_mean(self) -> np.ndarray:
        """Means of the covariates of the units by area, of all units where there are none, shape (D, p)."""
        return self._means(self.X)

    @property
    def residual_mean(self) -> np.ndarray:
        """Mean residual of an area from its own regression, without units of all from that of 0.5."""
        rest = self._means((self.y - self.fitted)[:, None])[:, 0]
        rest[self.n == 0] = np.mean(self.y - self.X @ self.median)
        return rest

    def _means(self, values: np.ndarray) -> np.ndarray:
        sums = np.column_stack([np.bincount(self.area, column, len(self.n)) for column in values.T])
        means = sums / np.maximum(self.n, 1)[:, None]
        means[self.n == 0] = values.mean(axis=0)
        return means


def fit_areas(y: np.ndarray, X: np.ndarray, area: np.ndarray, areas: int, k: float) -> AreaFits:
    """Fit the regressions of a grid of orders, find those of units and areas, and fit the areas' own.

    Parameters
    ----------
    y : ndarray, shape (n,)
    X : ndarray, shape (n, p)
        X'X = n I.
    area : ndarray of int, shape (n,)
        0 to areas - 1; areas may have no unit.
    areas : int
    k : float
        Tuning constant of ψ.

    References
    ----------
    Chambers and Tzavidis (2006), Biometrika 93, 255-268, section 3.
    """
    level = X.T @ y / len(y)  # least squares, as X'X = n I: what is left has the size of the errors
    rest = y - X @ level
    grid = fit_grid(rest, X, k)
    own, crossed = unit_orders(rest, X, grid)
    n = np.bincount(area, minlength=areas)
    order = np.where(n > 0, np.bincount(area, own, areas) / np.maximum(n, 1), MEDIAN)
    different, place = np.unique(order, return_inverse=True)
    fits = fit_at(rest, X, different, grid)
    each = MQuantileFits(order, fits.beta[place] + level, fits.scale[place], fits.steps[place], k)
    return AreaFits(y, X, area, n, replace(grid, beta=grid.beta + level), each, own, crossed)


def area_means(fits: AreaFits, x_mean: np.ndarray, size: np.ndarray, *, adjusted: bool) -> np.ndarray:
    """Predict the means of areas, shape (D,).

    Naive: the sampled units as they are, the others on the regression of their area. Adjusted: the mean of
    the distribution function of Chambers and Dunstan, which adds the area's mean residual; the sampled units
    then cancel.

    Parameters
    ----------
    fits : AreaFits
    x_mean : ndarray, shape (D, p)
        Population means of the covariates, in the coordinates of the fit.
    size : ndarray, shape (D,)
        Numbers of units in the population; inf where they are as good as infinite.
    adjusted : bool

    References
    ----------
    Tzavidis, Marchetti and Chambers (2010), Aust. N. Z. J. Stat. 52, 167-186, equations 2 and 6.
    """
    weight = np.ones(len(size)) if adjusted else fits.n / size
    rest = np.where(weight > 0.0, weight * fits.residual_mean, 0.0)
    return np.asarray(np.einsum("dj,dj->d", x_mean, fits.areas.beta) + rest)


def coefficient_covariance(fits: AreaFits) -> np.ndarray:
    """Return the sandwich covariance of the coefficients of order 0.5, their scale taken as known, (p, p).

    References
    ----------
    Bianchi and Salvati (2015), Commun. Stat. Theory Methods 44, 2416-2429, equation 10.
    """
    place = np.argmin(np.abs(fits.grid.order - MEDIAN))
    r, cut = fits.y - fits.X @ fits.median, fits.grid.k * fits.grid.scale[place]
    bread = np.linalg.inv(fits.X[np.abs(r) <= cut].T @ fits.X[np.abs(r) <= cut])
    scores = fits.X * np.clip(r, -cut, cut)[:, None]
    n, p = fits.X.shape
    return np.asarray(n / (n - p) * bread @ (scores.T @ scores) @ bread)


@dataclass(frozen=True, eq=False)
class MeanErrors:
    """Mean squared errors of the means of D areas.

    Attributes
    ----------
    mse : ndarray, shape (D,)
    freedom : ndarray, shape (D,)
        Degrees of freedom of the variance in it, after Satterthwaite.
    between : float
        Variance of areas about the regression of order 0.5, which the areas without a sample have beside.
    """

    mse: np.ndarray
    freedom: np.ndarray
    between: float


def mean_errors(fits: AreaFits, x_mean: np.ndarray, size: np.ndarray, *, adjusted: bool) -> MeanErrors:
    """Mean squared errors of `area_means`, taken as sums of outcomes with known weights w.

    With ε_j = y_j - x_j'β(q of its area), λ_j what is left of its square by the fit, a_j = N_d w_j less 1 in
    the area itself, the mean squared error is V_d + B_d²,

        V_d = N_d^-2 Σ_j {a_j² + (N_d - n_d) / n} ε_j² / λ_j,    B_d = Σ_j w_j (fit of j) - mean fit of d.

    Of the published λ_j = (1 - φ_jj)² + Σ_k≠j φ_kj² we take off 1 / n_d, the share of a unit in the order of
    its area; an area with fewer than `FEW` units takes the mean of ε² / λ over the others; and an area
    without a sample has the variance of areas about the regression of order 0.5 beside.

    Parameters are as of `area_means`.

    References
    ----------
    Chambers, Chandra and Tzavidis (2011), Survey Methodology 37, 153-170, section 2.2 and 3.3.
    """
    beta, scale, order, n = fits.areas.beta, fits.areas.scale, fits.areas.order, fits.n
    if adjusted:
        share = 1.0 / np.where(n > 0, n, len(fits.y))
        vector = x_mean - fits.sample_mean
    else:
        share = np.where(n > 0, 1.0 / size, 0.0)
        vector = x_mean - (n / size)[:, None] * fits.sample_mean
    whole = (fits.y, fits.X, fits.area, order, fits.grid.k, beta, scale)
    factors, lost = _regressions(*whole)
    e2 = _squares(fits, lost)
    outside = np.where(np.isfinite(size), (1.0 - n / size) / size / len(fits.y), 0.0)
    own = np.where(np.isfinite(size), 1.0 / size, 0.0)
    variance, bias, spread = _errors(
        *whole, n, factors, share, vector, own, outside, e2, fits.y - fits.fitted
    )
    rest = fits.y - fits.X @ fits.median
    gap = np.bincount(fits.area, rest, len(n)) / np.maximum(n, 1) - rest.mean()
    seen = n > 0
    noise = np.bincount(fits.area, e2, len(n)) / np.maximum(n, 1) ** 2
    between = max(0.0, float(np.mean(gap[seen] ** 2 - noise[seen])))
    mse = variance + bias**2 + np.where(seen, 0.0, between)
    shared = max(n[n >= FEW].sum(), seen.sum() - 1)
    freedom = np.where(n >= FEW, spread * (1.0 - 1.0 / np.maximum(n, 1)), shared)
    return MeanErrors(mse, np.where(seen, freedom, seen.sum() - 1.0), between)


def _squares(fits: AreaFits, lost: np.ndarray) -> np.ndarray:
    """Squared residuals over what the fit takes of them; their mean in areas of few units, shape (n,)."""
    left = 1.0 - lost - 1.0 / fits.n[fits.area]
    many = fits.n[fits.area] >= FEW
    e2 = (fits.y - fits.fitted) ** 2
    if not many.any():
        return np.full(len(e2), e2.sum() / np.maximum(left, 0.0).sum())
    e2 = e2 / np.maximum(left, 0.1)
    return np.where(many, e2, e2[many].mean())


@compiled
def _weights(y, X, order, k, beta, scale, W):
    """Weights a ψ(r) / r of least squares about one regression."""
    cut = k * scale
    for i in range(len(y)):
        r = y[i]
        for j in range(X.shape[1]):
            r -= X[i, j] * beta[j]
        W[i] = (order if r > 0.0 else 1.0 - order) * min(1.0, cut / max(abs(r), 1e-300))


@compiled
def _regressions(y, X, area, order, k, beta, scale):
    """Cholesky factor of X'WX of each area's regression, and 2 φ_jj - Σ_k φ_kj² of its units."""
    n, p = X.shape
    D = len(order)
    factors, lost, W = np.zeros((D, p, p)), np.zeros(n), np.empty(n)
    G, v = np.empty((p, p)), np.empty(p)
    for d in range(D):
        H = factors[d]
        _weights(y, X, order[d], k, beta[d], scale[d], W)
        G[:] = 0.0
        for i in range(n):
            for j in range(p):
                part = W[i] * X[i, j]
                for m in range(j + 1):
                    H[j, m] += part * X[i, m]
                    G[j, m] += part * W[i] * X[i, m]
        factor_small(H)
        for i in range(n):
            if area[i] == d:
                v[:] = X[i]
                solve_small(H, v)
                for j in range(p):
                    lost[i] += 2.0 * W[i] * X[i, j] * v[j] - G[j, j] * v[j] * v[j]
                    for m in range(j):
                        lost[i] -= 2.0 * G[j, m] * v[j] * v[m]
    return factors, lost


@compiled
def _errors(y, X, area, order, k, beta, scale, n, factors, share, vector, own, outside, e2, rest):
    """Variance and bias of every area's mean, and (Σ c)² / Σ c² with c what multiplies a squared residual."""
    units, p = X.shape
    D = len(order)
    variance, bias, spread, W = np.zeros(D), np.zeros(D), np.empty(D), np.empty(units)
    for d in range(D):
        _weights(y, X, order[d], k, beta[d], scale[d], W)
        direction = vector[d].copy()
        solve_small(factors[d], direction)
        total, squares = 0.0, 0.0
        for i in range(units):
            w = 0.0
            for j in range(p):
                w += direction[j] * X[i, j]
            w *= W[i]
            bias[d] -= w * rest[i]
            if area[i] == d:
                w += share[d] - own[d]
            elif n[d] == 0:
                w += share[d]
            c = w * w + outside[d]
            variance[d] += c * e2[i]
            total += c
            squares += c * c
        spread[d] = total * total / squares if squares > 0.0 else 1.0
    return variance, bias, spread
