"""Logit model of units, summed to cells of equal covariates, with area effects integrated out.

y_c ~ binomial(n_c, P_c), logit P_c = x_c'β + u_d, u_d ~ N(0, σ²), for the cells c of area d. The work is per
cell, whatever the number of units. The likelihood is that of the units in their order: it has no binomial
coefficients.

References
----------
Jiang and Lahiri (2001), Ann. Inst. Statist. Math. 53, 217-243 (the model).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from sae.errors import SaeConvergenceError
from sae.numerics.glmm.laplace import Walk, trace
from sae.numerics.glmm.sobol import WeightedPoints, weigh_points
from sae.numerics.glmm.unit_density import log_integrals
from sae.numerics.glmm.unit_kernels import derivatives
from sae.numerics.inference.priors import log_prior

__all__ = ["Cells", "MaximumLikelihood", "logistic", "maximise", "weighted_points"]

_NARROWEST = 1e-4  # a standard deviation below is taken for 0 by `maximise`
_STEPS = 200


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of D areas, area after area.

    Attributes
    ----------
    X : ndarray, shape (C, p)
    y, n : ndarray, shape (C,)
        Successes and trials, 0 <= y <= n, n > 0.
    starts : ndarray of int, shape (D + 1,)
        Area d has the cells starts[d] to starts[d + 1]; none is an area without a sample.
    """

    X: np.ndarray
    y: np.ndarray
    n: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray, y: np.ndarray, n: np.ndarray, area: np.ndarray, areas: int) -> Cells:
        """Sum units with equal covariates of an area; the order of the units makes no difference.

        Parameters
        ----------
        X : ndarray, shape (N, p)
        y, n : ndarray, shape (N,)
            Successes and trials of each unit; for 0/1 units n is 1.
        area : ndarray of int, shape (N,)
        areas : int
            How many areas there are.

        Examples
        --------
        >>> X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
        >>> cells = Cells.of(X, np.array([1.0, 0.0, 0.0]), np.ones(3), np.zeros(3, int), 1)
        >>> cells.y.tolist(), cells.n.tolist()
        ([1.0, 0.0], [2.0, 1.0])
        """
        X = X + 0.0  # -0 and 0 are the same covariate
        order = np.lexsort((n, y, *X.T[::-1], area))
        X, area = X[order], area[order]
        first = np.ones(len(area), dtype=bool)
        first[1:] = (area[1:] != area[:-1]) | (X[1:] != X[:-1]).any(axis=1)
        places = np.flatnonzero(first)
        starts = np.searchsorted(area[places], np.arange(areas + 1))
        return cls(
            np.ascontiguousarray(X[places]),
            np.add.reduceat(y[order], places),
            np.add.reduceat(n[order], places),
            starts,
        )

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What the kernels take."""
        return self.X, self.y, self.n, self.starts

    @property
    def area(self) -> np.ndarray:
        """Area of each cell, shape (C,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @property
    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Successes and trials of each area, each of shape (D,)."""
        D = len(self.starts) - 1
        return np.bincount(self.area, self.y, D), np.bincount(self.area, self.n, D)

    def log_likelihood(self, beta: np.ndarray, sigma: np.ndarray, by_area: bool = False) -> np.ndarray:
        """Return the log-likelihood with the area effects integrated out.

        Parameters
        ----------
        beta, sigma : ndarray, shapes (S, p) and (S,)
            σ positive.
        by_area : bool

        Returns
        -------
        ndarray, shape (S,), or (S, D) by area
        """
        found = log_integrals(*self.arrays, beta, sigma)
        return np.ascontiguousarray(found.T) if by_area else found.sum(axis=0)


@dataclass(frozen=True, eq=False)
class MaximumLikelihood:
    """Maximum of the marginal likelihood.

    Attributes
    ----------
    beta : ndarray, shape (p,)
    sigma : float
        0 on the boundary.
    log_likelihood : float
    covariance : ndarray, shape (p + 1, p + 1)
        Inverse information of (β, log σ); on the boundary of β alone, the rest NaN.
    """

    beta: np.ndarray
    sigma: float
    log_likelihood: float
    covariance: np.ndarray


def logistic(cells: Cells, coefficient_sd: float = np.inf) -> tuple[np.ndarray, float, np.ndarray]:
    """Fit without area effects: coefficients, log-likelihood, information, shapes (p,), (), (p, p).

    Raises
    ------
    SaeConvergenceError
        If there is no maximum: the outcomes are separated by the covariates.
    """
    X, y, n, p = cells.X, cells.y, cells.n, cells.X.shape[1]
    precision = coefficient_sd**-2.0

    def value(beta: np.ndarray) -> float:
        eta = X @ beta
        return float(y @ eta - n @ np.logaddexp(0.0, eta) - 0.5 * precision * beta @ beta)

    beta = np.zeros(p)
    now = value(beta)
    for _ in range(_STEPS):
        share = expit(X @ beta)
        gradient = X.T @ (y - n * share) - precision * beta
        information = (X.T * (n * share * (1.0 - share))) @ X + precision * np.eye(p)
        try:
            step = np.linalg.solve(information, gradient)
        except np.linalg.LinAlgError:
            break
        decrement = float(gradient @ step)
        if 0.0 <= decrement < 1e-12 * (1.0 + abs(now)) ** 0.5:
            return beta + step, value(beta + step), information
        for halving in range(40):
            trial = beta + step * 0.5**halving
            new = value(trial)
            if new > now - 1e-10 * abs(now):
                break
        beta, now = trial, new
    raise SaeConvergenceError(
        "The logistic regression of the cells has no maximum.",
        hint="The covariates separate the outcomes, or are nearly collinear.",
    )


def maximise(cells: Cells) -> MaximumLikelihood:
    """Maximise the marginal likelihood of (β, σ); σ = 0 where no area effects make it larger.

    Raises
    ------
    SaeConvergenceError
        If there is no maximum.

    Examples
    --------
    >>> cells = Cells.of(np.ones((6, 1)), np.array([9.0, 2, 5, 7, 1, 4]), np.full(6, 10.0), np.arange(6), 6)
    >>> found = maximise(cells)
    >>> round(found.sigma, 1), found.beta.round(1).tolist()
    (1.2, [-0.2])
    """
    beta, flat, information = logistic(cells)
    p = len(beta)
    boundary = np.full((p + 1, p + 1), np.nan)
    boundary[:p, :p] = np.linalg.inv(information)
    without = MaximumLikelihood(beta, 0.0, flat, boundary)
    theta = np.append(beta, np.log(0.5))
    value, gradient, information = derivatives(*cells.arrays, theta[:p], np.exp(theta[p]))
    for _ in range(_STEPS):
        roots, vectors = np.linalg.eigh(information)
        roots = np.maximum(np.abs(roots), 1e-8 * np.abs(roots).max())
        step = vectors @ ((vectors.T @ gradient) / roots)
        step *= min(1.0, 1.0 / abs(step[p])) if step[p] else 1.0
        decrement = float(gradient @ step)
        if decrement < 1e-13 * (1.0 + abs(value)):
            found = MaximumLikelihood(
                theta[:p], float(np.exp(theta[p])), value, (vectors / roots) @ vectors.T
            )
            return found if value > flat else without
        for halving in range(40):
            trial = theta + step * 0.5**halving
            new = derivatives(*cells.arrays, trial[:p], np.exp(trial[p]))
            if new[0] > value - 1e-11 * abs(value):
                break
        theta, (value, gradient, information) = trial, new
        if theta[p] < np.log(_NARROWEST):
            return without
    raise SaeConvergenceError(
        "No maximum of the likelihood of the cells was found.",
        hint="The standard deviation of the area effects may have none: integrate it over its posterior.",
    )


class _CellsWalk(Walk):
    """The coefficients' mode and curvature for each log σ."""

    def __init__(self, cells: Cells, prior: tuple[int, float], coefficient_sd: float) -> None:
        super().__init__(logistic(cells, coefficient_sd)[0])
        self.cells, self.prior, self.precision = cells, prior, coefficient_sd**-2.0
        self.last: tuple[bytes, float, tuple[float, np.ndarray, np.ndarray]] | None = None

    def log_posterior(self, beta: np.ndarray, log_sigma: np.ndarray) -> np.ndarray:
        """Log density of (β, log σ), shapes (S, p) and (S,), up to a constant."""
        sigma = np.exp(log_sigma)
        own = log_prior(self.prior, sigma) + log_sigma - 0.5 * self.precision * (beta**2).sum(axis=1)
        return np.asarray(self.cells.log_likelihood(beta, sigma) + own)

    def value(self, beta: np.ndarray, t: float) -> float:
        own = log_prior(self.prior, np.exp(np.array([t])))[0] + t - 0.5 * self.precision * (beta**2).sum()
        return float(self._at(beta, t)[0] + own)

    def derivatives(self, beta: np.ndarray, t: float) -> tuple[np.ndarray, np.ndarray]:
        _, gradient, information = self._at(beta, t)
        p = len(beta)
        return gradient[:p] - self.precision * beta, information[:p, :p] + self.precision * np.eye(p)

    def _at(self, beta: np.ndarray, t: float) -> tuple[float, np.ndarray, np.ndarray]:
        """Value and derivatives of the log-likelihood; a climb asks for both of them at every place."""
        if self.last is None or self.last[:2] != (beta.tobytes(), t):
            self.last = beta.tobytes(), t, derivatives(*self.cells.arrays, beta, np.exp(t))
        return self.last[2]


def weighted_points(
    cells: Cells, prior: tuple[int, float], coefficient_sd: float = np.inf, points: int = 4096
) -> WeightedPoints:
    """Return weighted points of the posterior of (β, log σ): no random number enters.

    Parameters
    ----------
    cells : Cells
        With columns of about the same size, whose coefficients are flat or independent normal around 0.
    prior : (code, scale)
        Of σ: see `priors`.
    coefficient_sd : float
        Infinite is flat.
    points : int
        A power of 2.

    Raises
    ------
    SaeConvergenceError
        If no mode is found, or the Pareto k of the weights is above 0.7.
    """
    walk = _CellsWalk(cells, prior, coefficient_sd)
    path = trace(walk, float(np.log(0.5)))
    return weigh_points(path, points, walk.log_posterior)[0]
