"""The two-fold nested error model: units in sub-areas in areas.

y = x'β + v_d + u_dj + e, v ~ N(0, σv²), u ~ N(0, σu²), e ~ N(0, σe² k²), the k known and mostly 1.

What the units of the sub-areas leave is all that is needed. With λ = σv²/σe², ρ = σu²/σe², n = Σ k^-2,
g = n / (1 + n ρ), G = Σ_j g over the sub-areas of an area, x̃ their means of x̄ weighted by g, and
L = G / (1 + λ G)

    σe² X'V^-1X = W + Σ_dj g (x̄ - x̃)(x̄ - x̃)' + Σ_d L x̃ x̃',

a sum without cancellation, and log |V / σe²| = Σ log(1 + n ρ) + Σ log(1 + λ G).

References
----------
Stukel and Rao (1999), Journal of Statistical Planning and Inference 78, 131-147; Marhuenda, Molina, Morales
and Rao (2017), Journal of the Royal Statistical Society A 180, 1111-1136.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from sae.numerics.inference.two_variances import two_variances
from sae.numerics.nested_error.profile import AreaSums, Profile, bordered

__all__ = ["TwoFoldFits", "TwoFoldProfile", "TwoFoldSums", "fit_two_fold"]

_ELEMENTS = 2_000_000  # numbers held at a time
_WITHIN = 1e-11  # share of a direction's sum of squares below which it does not vary


@dataclass(frozen=True, eq=False)
class TwoFoldSums:
    """What units leave, sub-area by sub-area, and where the M sub-areas lie.

    Attributes
    ----------
    sums : AreaSums
        Of the sub-areas, n = 0 where there is no sample.
    area : ndarray of int, shape (M,)
        Area of each sub-area, 0 to D - 1.
    areas : int
        D.
    """

    sums: AreaSums
    area: np.ndarray
    areas: int

    @cached_property
    def gather(self) -> sparse.csr_array:
        """Return the matrix that adds sub-areas up to areas, shape (D, M)."""
        size = len(self.area)
        return sparse.csr_array((np.ones(size), (self.area, np.arange(size))), shape=(self.areas, size))

    def add(self, values: np.ndarray) -> np.ndarray:
        """Add the values of sub-areas up over their areas, shape (..., M) to (..., D)."""
        flat = values.reshape(-1, values.shape[-1])
        return np.asarray((self.gather @ flat.T).T).reshape(*values.shape[:-1], self.areas)


@dataclass(frozen=True, eq=False)
class TwoFoldFits:
    """Fits of R outcomes that share a design.

    Attributes
    ----------
    sigma2_v, sigma2_u, sigma2_e : ndarray, shape (R,)
        Between areas, between the sub-areas of one, between the units of these; the first two exactly 0 where
        a boundary is the maximum.
    coefficients : ndarray, shape (R, p)
    root : ndarray, shape (R, p, p)
        Their covariance is root root'.
    loglik : ndarray, shape (R,)
        At the estimates: restricted for REML (in which |X'X| does not count), full for ML.
    """

    sigma2_v: np.ndarray
    sigma2_u: np.ndarray
    sigma2_e: np.ndarray
    coefficients: np.ndarray
    root: np.ndarray
    loglik: np.ndarray


@dataclass(frozen=True, eq=False)
class TwoFoldPoint:
    """A profile at K pairs (λ, ρ); arrays with K in front.

    Attributes
    ----------
    delta : ndarray, shape (K, p)
        β in the coordinates of the profile.
    inverse : ndarray, shape (K, p, p)
        M^-1 = inverse' inverse.
    rss, log_det_m, log_det_v : ndarray, shape (K,)
    slopes : ndarray, shape (K, 2)
        Of the profile log-likelihood in (λ, ρ).
    """

    delta: np.ndarray
    inverse: np.ndarray
    rss: np.ndarray
    log_det_m: np.ndarray
    log_det_v: np.ndarray
    slopes: np.ndarray


@dataclass(frozen=True, eq=False)
class TwoFoldProfile:
    """The likelihood of R outcomes profiled over β and σe², in coordinates in which X'X is the identity.

    Attributes
    ----------
    within : Profile
        Of the sub-areas: its products within them, its coordinates.
    seen : TwoFoldSums
        The sub-areas with a sample alone.
    x, y : ndarray, shape (M, p) and (R, M)
        Means of the sub-areas in these coordinates; of the outcome the residuals of least squares.
    """

    within: Profile
    seen: TwoFoldSums
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, two: TwoFoldSums) -> TwoFoldProfile:
        """Prepare the profile; raises as `Profile.of`."""
        within = Profile.of(two.sums)
        kept = np.flatnonzero(two.sums.n > 0)
        sums = two.sums
        part = AreaSums(
            sums.n[kept],
            sums.x_mean[kept],
            sums.y_mean[:, kept],
            sums.xx[:0],
            sums.xy[:, :0],
            sums.yy[:, :0],
            sums.precision[kept],
            sums.log_scale[kept],
        )
        y = part.y_mean - within.start @ part.x_mean.T
        return cls(within, TwoFoldSums(part, two.area[kept], two.areas), part.x_mean @ within.root, y)

    @cached_property
    def between(self) -> int:
        """How many coefficients only the means of areas tell about."""
        n = self.seen.sums.precision
        total = self.seen.add(n)
        mean = self.seen.add(n * self.x.T) / np.where(total > 0, total, 1.0)
        apart = self.x - mean.T[self.seen.area]
        values = np.linalg.eigvalsh(self.within.xx + apart.T @ (n[:, None] * apart))
        return int((values <= _WITHIN).sum())

    def freedom(self, restricted: bool) -> int:
        """Return N - p, or N for the full likelihood."""
        return self.within.units - (len(self.within.root) if restricted else 0)

    def at(self, ratios: np.ndarray, rows: np.ndarray, restricted: bool) -> TwoFoldPoint:
        """Evaluate at pairs (λ, ρ), shape (K, 2), each for the outcome in `rows`."""
        size = max(1, _ELEMENTS // (self.x.size + len(self.x)))
        parts = [
            self._at(ratios[start : start + size], rows[start : start + size], restricted)
            for start in range(0, len(ratios), size)
        ]
        if len(parts) == 1:
            return parts[0]
        return TwoFoldPoint(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in parts[0].__annotations__)
        )

    def _at(self, ratios: np.ndarray, rows: np.ndarray, restricted: bool) -> TwoFoldPoint:
        within, seen, n = self.within, self.seen, self.seen.sums.precision
        p, freedom = len(within.root), self.freedom(restricted)
        v, u = ratios[:, :1], ratios[:, 1:]
        g = n / (1.0 + n * u)
        G = seen.add(g)
        left = 1.0 / (1.0 + v * G)
        Z = np.empty((len(ratios), len(n), p + 1))
        Z[:, :, :p], Z[:, :, p] = self.x, self.y[rows]
        pulled = seen.add((g[:, :, None] * Z).swapaxes(1, 2)).swapaxes(1, 2)
        mean = pulled / np.where(G > 0.0, G, 1.0)[:, :, None]
        apart = Z - mean[:, seen.area]
        gram = bordered(np.broadcast_to(within.xx, (len(ratios), p, p)), within.xy[rows], within.yy[rows])
        gram += (apart * g[:, :, None]).swapaxes(1, 2) @ apart
        gram += (mean * (G * left)[:, :, None]).swapaxes(1, 2) @ mean
        inverse = np.linalg.inv(np.linalg.cholesky(gram[:, :p, :p]))
        half = np.einsum("kab,kb->ka", inverse, gram[:, :p, p])
        delta = np.einsum("kab,ka->kb", inverse, half)
        rss = gram[:, p, p] - (half * half).sum(axis=1)
        # V^-1 Z of every sub-area and its sum over an area: derivatives of the products, with a minus
        solved = g[:, :, None] * (apart + (mean * left[:, :, None])[:, seen.area])
        grouped = left[:, :, None] * pulled
        contrast = np.concatenate([-delta, np.ones((len(ratios), 1))], axis=1)
        traces = ((G * left).sum(axis=1), g.sum(axis=1) - (v * left * seen.add(g * g)).sum(axis=1))
        slopes = np.empty((len(ratios), 2))
        for place, rooted in enumerate((grouped, solved)):
            along = np.einsum("kmq,kq->km", rooted, contrast)
            slopes[:, place] = traces[place] - freedom * (along * along).sum(axis=1) / rss
            if restricted:
                turned = rooted[:, :, :p] @ inverse.swapaxes(1, 2)
                slopes[:, place] -= (turned * turned).sum(axis=(1, 2))
        return TwoFoldPoint(
            delta,
            inverse,
            rss,
            -2.0 * np.log(np.diagonal(inverse, axis1=1, axis2=2)).sum(axis=1),
            np.log1p(n * u).sum(axis=1) + np.log1p(v * G).sum(axis=1),
            -0.5 * slopes,
        )

    def loglik(self, point: TwoFoldPoint, restricted: bool) -> np.ndarray:
        """Return the profile log-likelihood up to a constant, shape (K,)."""
        value = point.log_det_v + self.freedom(restricted) * np.log(point.rss)
        return -0.5 * (value + point.log_det_m if restricted else value)

    def scan(self, grid: np.ndarray, restricted: bool) -> np.ndarray:
        """Return the profile log-likelihood of all outcomes at pairs (λ, ρ), shape (G, R)."""
        log_det, rss = self.grid(grid, restricted)
        return -0.5 * (log_det[:, None] + self.freedom(restricted) * np.log(rss))

    def grid(self, grid: np.ndarray, restricted: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return log |V|, with log |M| where `restricted`, and rss at pairs (λ, ρ): (G,) and (G, R)."""
        within, seen, n = self.within, self.seen, self.seen.sums.precision
        columns = np.concatenate([self.x.T, self.y])
        log_det, rss, p = np.empty(len(grid)), np.empty((len(grid), len(self.y))), len(self.x.T)
        for k, (v, u) in enumerate(grid):
            g = n / (1.0 + n * u)
            G = seen.add(g)
            left = G / (1.0 + v * G)
            mean = seen.add(columns * g) / np.where(G > 0.0, G, 1.0)
            apart = columns - mean[:, seen.area]
            x, y = apart[:p], apart[p:]
            M = within.xx + (x * g) @ x.T + (mean[:p] * left) @ mean[:p].T
            cross = within.xy + (y * g) @ x.T + (mean[p:] * left) @ mean[:p].T
            square = within.yy + y**2 @ g + mean[p:] ** 2 @ left
            rss[k] = square - (cross * np.linalg.solve(M, cross.T).T).sum(axis=1)
            log_det[k] = np.log1p(n * u).sum() + np.log1p(v * G).sum()
            if restricted:
                log_det[k] += np.linalg.slogdet(M)[1]
        return log_det, rss


def fit_two_fold(
    two: TwoFoldSums | TwoFoldProfile, method: str = "reml", near: np.ndarray | None = None
) -> TwoFoldFits:
    """Fit the model by restricted or full maximum likelihood, profiled in both ratios of variances.

    Parameters
    ----------
    two : TwoFoldSums or TwoFoldProfile
        Of one or many outcomes: the cost does not depend on the number of units.
    method : {"reml", "ml"}
    near : ndarray, shape (2,), optional
        Ratios (λ, ρ) that outcomes were drawn with, as of `two_variances`.

    Raises
    ------
    ValueError
        As `fit_nested_error`, of the sub-areas; ``args[1]`` is -4 where no area has two sub-areas with a
        sample, -5 where there are no more areas than coefficients that only area means tell about.

    Examples
    --------
    >>> from sae.numerics.nested_error.profile import area_sums
    >>> y = np.array([1.0, 2.0, 3.0, 5.0, 9.0, 8.0, 7.0, 9.5])
    >>> sums = area_sums(y, np.ones((8, 1)), np.repeat([0, 1, 2, 3], 2), 4)
    >>> fit = fit_two_fold(TwoFoldSums(sums, np.array([0, 0, 1, 1]), 2))
    >>> [float(value[0].round(4)) for value in (fit.sigma2_v, fit.sigma2_u, fit.sigma2_e)]  # balanced
    [15.0312, 0.8125, 1.5312]
    """
    profile = two if isinstance(two, TwoFoldProfile) else TwoFoldProfile.of(two)
    restricted, within = method == "reml", profile.within
    if within.within_freedom < 1:
        raise ValueError("no degree of freedom is left within sub-areas", -1)
    total = within.yy + (within.n * within.byy).sum(axis=1)
    if np.any(within.within_rss() <= 1e-20 * total):
        raise ValueError("the outcome does not vary within sub-areas", -2)
    if within.areas <= within.between:
        raise ValueError("no more sub-areas than coefficients told by their means alone", -3)
    counts = np.bincount(profile.seen.area)
    if counts.max() < 2:
        raise ValueError("no area has two sub-areas", -4)
    if (counts > 0).sum() <= profile.between:
        raise ValueError("no more areas than coefficients told by area means alone", -5)

    def evaluate(ratios: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        point = profile.at(ratios, member, restricted)
        return profile.loglik(point, restricted), point.slopes

    outcomes, rows = len(profile.y), np.arange(len(profile.y))
    unit = float(np.median(1.0 / profile.seen.sums.precision))
    ratios = two_variances(evaluate, lambda grid: profile.scan(grid, restricted), outcomes, unit, near)
    point = profile.at(ratios, rows, restricted)
    freedom = profile.freedom(restricted)
    sigma2_e = point.rss / freedom
    loglik = profile.loglik(point, restricted) - 0.5 * freedom * (1.0 + math.log(2.0 * math.pi / freedom))
    loglik -= within.log_scale
    if restricted:  # log|X'V^-1X| in the units of X
        loglik += float(np.log(np.abs(np.diagonal(within.root))).sum())
    return TwoFoldFits(
        ratios[:, 0] * sigma2_e,
        ratios[:, 1] * sigma2_e,
        sigma2_e,
        within.start + point.delta @ within.root.T,
        np.sqrt(sigma2_e)[:, None, None] * (within.root @ point.inverse.swapaxes(1, 2)),
        loglik,
    )
