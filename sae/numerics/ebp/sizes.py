"""Sizes of unit errors by covariates, k² = exp(x'α), and the transformation's parameter, by one likelihood.

h(y) = x'β + u_d + e, u_d ~ N(0, σu²), e ~ N(0, σe² k²). The (restricted) likelihood is profiled over β, σu²
and σe², which `fit_nested_error` finds for given k, and climbed in α and the parameter by scoring: with ê the
residuals beyond the predicted effects and P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 (V^-1 for ML)

    ∂/∂α = ½ Σ x (ê² / (σe² k²) - σe² k² P_ii).

Information on α is the average one, ½ v'P v with v = (∂V) P h(y), less what σu² and σe² take from it: it
knows of heavy tails. What the parameter adds is by differences. Sizes count from their mean: an intercept of
α is part of σe².

References
----------
Harville (1977), JASA 72, 320–338 (restricted likelihood, its scores); Gilmour, Thompson and Cullis (1995),
Biometrics 51, 1440–1450 (average information); Davidian and Carroll (1987), JASA 82,
1079–1091 (variance functions); Box and Cox (1964), JRSS B 26, 211–252.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sae.numerics.ebp.parameter import ParameterSearch
from sae.numerics.ebp.transforms import ESTIMATED
from sae.numerics.ebp.units import SampleUnits
from sae.numerics.nested_error.fit import NestedErrorFits, fit_nested_error
from sae.numerics.nested_error.profile import AreaSums

__all__ = ["SizeFits", "SizeLikelihood"]

_RANK = 1e-9  # of a direction of the covariates against the largest
_DIFFERENCE = 5e-4  # of the range of the parameter
_LONGEST = 2.0  # step of log k² of a unit
_WIDEST = 0.1  # step of the parameter, of its range
_TOLERANCE = 1e-8  # of log k², and of the parameter in its range
_ROUNDING = 1e-9  # of a log-likelihood
_STEPS = 100
_LEAST = 1e-6  # share of a step
_FARTHEST = 30.0  # log k² of a unit: there is no maximum
_ELEMENTS = 4_000_000  # numbers held at a time


@dataclass(frozen=True, eq=False)
class SizeFits:
    """Sizes and parameters of R outcomes.

    Attributes
    ----------
    alpha : ndarray of float, shape (R, p)
        Of the covariates; 0 of an intercept.
    parameter : ndarray of float, shape (R,)
        Of the transformation; 0 where it has none.
    se : float
        Standard error of the parameter of the first, sizes being estimated too; nan at an end of its range.
    converged : bool
    """

    alpha: np.ndarray
    parameter: np.ndarray
    se: float = np.nan
    converged: bool = True


@dataclass(frozen=True, eq=False)
class _Rise:
    """Where b outcomes stand, and where a scoring step leads: θ (b, q) and places (b,)."""

    height: np.ndarray
    theta: np.ndarray
    place: np.ndarray
    se: np.ndarray


@dataclass(frozen=True, eq=False)
class SizeLikelihood:
    """The profile of the likelihood of R outcomes in α and the transformation's parameter.

    Attributes
    ----------
    search : ParameterSearch
        Outcomes and scale.
    basis : ndarray, shape (n, q)
        Covariates less their means, as orthogonal columns of mean square 1: log k² = basis θ.
    axes : ndarray, shape (p, q)
        α = axes θ.
    """

    search: ParameterSearch
    basis: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(
        cls, units: SampleUnits, Y: np.ndarray, name: str, *, shift: float = 0.0, method: str = "reml"
    ) -> SizeLikelihood:
        """Prepare the likelihood of outcomes, (R, n) in the order of the units.

        Parameters
        ----------
        units : SampleUnits
            Without sizes.
        Y : ndarray of float, shape (R, n)
        name : str
            A transformation.
        shift : float
        method : {"reml", "ml"}
        """
        apart = units.X - units.X.mean(axis=0)
        sd = np.sqrt((apart**2).mean(axis=0))
        varies = sd > _RANK * np.abs(units.X).max(axis=0)
        scale = np.where(varies, 1.0 / np.where(varies, sd, 1.0), 0.0)
        left, values, right = np.linalg.svd(apart * scale, full_matrices=False)
        keep = values > _RANK * max(float(values[0]), 1e-300)
        root = np.sqrt(len(apart))
        axes = scale[:, None] * right[keep].T * (root / values[keep])
        search = ParameterSearch(units, Y, name, shift, method, lambda Z: np.zeros(len(Z)))
        return cls(search, root * left[:, keep], axes)

    @property
    def _estimated(self) -> bool:
        return self.search.name in ESTIMATED

    def fit(self, parameter: float) -> SizeFits:
        """Climb to the maximum of the first outcome.

        Parameters
        ----------
        parameter : float
            Where to begin: of the transformation, with errors of one size.

        Raises
        ------
        ValueError
            As `fit_nested_error`.
        """
        rows = slice(0, 1)
        theta, place = np.zeros(self.basis.shape[1]), self._place(np.array([parameter]))
        at, converged = self._rise(theta, place, rows), False
        for _ in range(_STEPS):
            if converged or np.abs(self.basis @ theta).max(initial=0.0) > _FARTHEST:
                break
            share, rise = 1.0, None
            while rise is None and share > _LEAST:
                new, there = theta + share * (at.theta[0] - theta), place + share * (at.place - place)
                rise = self._higher(new, there, at.height[0])
                share *= 0.5
            if rise is None:
                break
            moved = max(
                float(np.abs(self.basis @ (new - theta)).max(initial=0.0)),
                float((np.abs(there - place) / self._width(rows))[0]),
            )
            theta, place, at = new, there, rise
            converged = moved < _TOLERANCE
        return SizeFits((self.axes @ theta)[None], self._parameter(place, rows), float(at.se[0]), converged)

    def _higher(self, theta: np.ndarray, place: np.ndarray, height: float) -> _Rise | None:
        """Evaluate the first outcome; None where it is lower than `height`."""
        try:
            rise = self._rise(theta, place, slice(0, 1))
        except ValueError:  # sizes so far apart that units have no weight
            return None
        return rise if rise.height[0] >= height - _ROUNDING else None

    def refit(self, alpha: np.ndarray, parameter: float, steps: int) -> SizeFits:
        """Take scoring steps of every outcome from one place, that of the fit they were simulated from.

        Parameters
        ----------
        alpha : ndarray of float, shape (p,)
        parameter : float
        steps : int
            One gives the estimates to the first order of their errors.
        """
        R, n = self.search.Y.shape
        start = np.linalg.lstsq(self.axes, alpha, rcond=None)[0]
        theta = np.tile(start, (R, 1))
        place = self._place(np.full(R, parameter))
        for step in range(steps):
            size = max(1, _ELEMENTS // (6 * n)) if step == 0 else 1  # at first all have the same sizes
            for first in range(0, R, size):
                rows = slice(first, first + size)
                rise = self._rise(theta[first], place[rows], rows)
                theta[rows], place[rows] = rise.theta, rise.place
        return SizeFits(theta @ self.axes.T, self._parameter(place, slice(0, R)))

    def _place(self, parameter: np.ndarray) -> np.ndarray:
        if self.search.name == "log-shift":
            least = np.exp(self.search.ends[0])  # a replicate may fall below the shift of the fit
            return np.log(np.maximum(parameter + self.search.Y.min(axis=1), least))
        return parameter

    def _parameter(self, place: np.ndarray, rows: slice) -> np.ndarray:
        if not self._estimated:
            return np.zeros(len(place))
        if self.search.name == "log-shift":
            return np.asarray(np.exp(place) - self.search.Y[rows].min(axis=1))
        return place

    def _width(self, rows: slice) -> np.ndarray:
        """Return how wide the range of places is, (b,)."""
        if not self._estimated:
            return np.ones(len(self.search.Y[rows]))
        low, high = self.search.ends
        return np.asarray((high - low)[rows])

    def _rise(self, theta: np.ndarray, place: np.ndarray, rows: slice) -> _Rise:
        """Evaluate outcomes that share θ, (q,), at their places, (b,)."""
        units, method = self.search.units.sized(np.exp(0.5 * self.basis @ theta)), self.search.method
        n, p = units.X.shape
        width = self._width(rows)
        step = _DIFFERENCE * width
        shifts = np.array([-1.0, 0.0, 1.0]) if self._estimated else np.zeros(1)
        middle = len(shifts) // 2
        Z, slope = self.search.outcomes(place[:, None] + step[:, None] * shifts, rows)
        sums = units.sums(Z.reshape(-1, n))
        fits = fit_nested_error(sums, method)
        height = fits.loglik.reshape(slope.shape) + (n - p if method == "reml" else n) / n * slope
        ratio = fits.sigma2_u / fits.sigma2_e
        e = self._residuals(units, sums, fits, Z.reshape(-1, n))
        score = 0.5 * (e**2 * units.weight @ self.basis).reshape(*slope.shape, -1)
        new, at, se = np.empty((len(place), len(theta))), np.empty(len(place)), np.full(len(place), np.nan)
        for i in range(len(place)):
            one = i * len(shifts) + middle
            root = fits.root[one] / np.sqrt(fits.sigma2_e[one])
            pull = ratio[one] / (1.0 + ratio[one] * sums.precision)
            s = score[i, middle] - 0.5 * self._leverage(units, pull, root) @ self.basis
            information = self._information(units, sums, e[one], pull, root)
            move, own = 0.0, np.linalg.solve(information, s)
            if self._estimated:
                cross = (score[i, 2] - score[i, 0]) / (2.0 * step[i])
                tied = np.linalg.solve(information, cross)
                bend = (height[i, 0] - 2.0 * height[i, 1] + height[i, 2]) / step[i] ** 2
                left = -bend - cross @ tied
                climb = (height[i, 2] - height[i, 0]) / (2.0 * step[i]) + cross @ own
                move = climb / left if left > 0.0 else np.copysign(width[i], climb)
                move = float(np.clip(move, -_WIDEST * width[i], _WIDEST * width[i]))
                low, high = (end[rows][i] for end in self.search.ends)
                move = float(np.clip(place[i] + move, low, high)) - place[i]
                own = own + move * tied
                se[i] = 1.0 / np.sqrt(left) if left > 0.0 else np.nan
            longest = float(np.abs(self.basis @ own).max(initial=0.0))
            share = min(1.0, _LONGEST / max(longest, 1e-300))
            new[i], at[i] = theta + share * own, place[i] + share * move
        return _Rise(height[:, middle], new, at, se)

    def _residuals(
        self, units: SampleUnits, sums: AreaSums, fits: NestedErrorFits, Z: np.ndarray
    ) -> np.ndarray:
        """Return what fits leave beyond the effects of areas, over σe, (R, n)."""
        shrink = (fits.sigma2_u / fits.sigma2_e)[:, None] * sums.precision
        gap = sums.y_mean - fits.coefficients @ sums.x_mean.T
        e = Z - fits.coefficients @ units.X.T
        e -= (shrink / (1.0 + shrink) * gap)[:, units.area]
        e /= np.sqrt(fits.sigma2_e)[:, None]
        return e

    def _leverage(self, units: SampleUnits, pull: np.ndarray, root: np.ndarray) -> np.ndarray:
        """Return σe² k² P_ii of every unit, (n,): the expectation of ê² / (σe² k²)."""
        assert units.weight is not None
        base = units.design
        left = 1.0 - pull[units.area] * units.weight
        if self.search.method == "reml":
            gamma = pull * base.precision
            apart = units.deviations @ root + ((1.0 - gamma)[:, None] * (base.x_mean @ root))[units.area]
            left -= units.weight * np.einsum("np,np->n", apart, apart)
        return np.asarray(left)

    def _information(
        self, units: SampleUnits, sums: AreaSums, e: np.ndarray, pull: np.ndarray, root: np.ndarray
    ) -> np.ndarray:
        """Return the average information on θ when σu² and σe² are unknown too, (q, q).

        Parameters
        ----------
        units : SampleUnits
        sums : AreaSums
        e : ndarray, shape (n,)
            Residuals beyond the effects, over σe.
        pull : ndarray, shape (D,)
            γ_d over the precision of the area's mean; all 0 where σu² is.
        root : ndarray, shape (p, p)
            That of the coefficients' covariance, over σe.
        """
        w, gamma = units.weight, pull * sums.precision
        assert w is not None
        columns = [self.basis * e[:, None], e[:, None]]
        if gamma.any():
            shared = np.bincount(units.area, w * e, units.areas)  # 1'P h(y) of the area
            columns.append(shared[units.area, None])
        v = np.concatenate(columns, axis=1)
        weighed, seen = w[:, None] * v, units.area[units.starts]
        total = np.zeros((units.areas, v.shape[1]))
        total[seen] = np.add.reduceat(weighed, units.starts, axis=0)
        cross = root.T @ (units.X.T @ weighed - sums.x_mean.T @ (gamma[:, None] * total))
        whole = v.T @ weighed - total.T @ (pull[:, None] * total) - cross.T @ cross
        q = self.basis.shape[1]
        tied = np.linalg.solve(whole[q:, q:], whole[q:, :q])
        return np.asarray(0.5 * (whole[:q, :q] - whole[:q, q:] @ tied))
