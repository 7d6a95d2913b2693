"""The posterior of sub-area means under the two-fold nested error model with flat priors, for intervals.

With β flat and p(σe²) ∝ 1/σe², flat priors of σv² and σu² (or of σv and σu) leave, σe integrated out,

    p(τv, τu | y) ∝ (τv τu) |V|^-½ |M|^-½ rss^-(N - p - a) / 2,   τ² = σ²/σe²,

with a = 4 and the factor τv τu (a = 2 and none). It is added up on a grid; given its nodes means are normal,
σe² being put at its mean given the node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sae.numerics.inference.joint_mixture import JointMixture
from sae.numerics.inference.mixture import Mixture
from sae.numerics.inference.priors import FLAT_VARIANCE, SPARE
from sae.numerics.nested_error.mse import AreaMeans
from sae.numerics.nested_error.two_fold import TwoFoldPoint, TwoFoldProfile, TwoFoldSums

__all__ = ["TwoFoldPosterior", "two_fold_posterior"]

_DROP = 25.0  # nats below the top at which the density is taken for nothing
_COARSE = 9  # points along each τ while it is found where the density is
_POINTS, _FEWER, _MANY = 31, 21, 500  # points there; fewer with many sub-areas, when it is nearly normal
_LEAST = 1e-7  # weight of a node that counts
_LARGEST = 50_000_000  # numbers of a joint posterior


@dataclass(frozen=True, eq=False)
class TwoFoldPosterior:
    """Posterior on K nodes.

    Attributes
    ----------
    two : TwoFoldSums
    means : AreaMeans
    weights : ndarray, shape (K,)
        They sum to 1.
    centre : ndarray, shape (K, M)
        Means of the sub-areas' means.
    own, shared : ndarray, shape (K, M)
        Their deviations through what is the sub-area's alone, and through the area's effect.
    loadings : ndarray, shape (K, M, p)
        On the coefficients.
    """

    two: TwoFoldSums
    means: AreaMeans
    weights: np.ndarray
    centre: np.ndarray
    own: np.ndarray
    shared: np.ndarray
    loadings: np.ndarray

    def mixture(self) -> Mixture:
        """Return the posterior of every sub-area by itself."""
        variance = self.own**2 + self.shared**2 + (self.loadings**2).sum(axis=2)
        return Mixture(self.weights, self.centre, np.sqrt(variance))

    @property
    def is_small(self) -> bool:
        """Whether the joint posterior can be held."""
        K, M, p = self.loadings.shape
        return K * M * (p + self.two.areas) <= _LARGEST

    def joint(self) -> JointMixture:
        """Return the posterior of all sub-areas together."""
        K, M, _ = self.loadings.shape
        effects = np.zeros((K, M, self.two.areas))
        effects[:, np.arange(M), self.two.area] = self.shared
        loadings = np.concatenate([self.loadings, effects], axis=2)
        return JointMixture(self.weights, self.centre, self.own[:, :, None], loadings)


def two_fold_posterior(two: TwoFoldSums, means: AreaMeans, code: int) -> TwoFoldPosterior:
    """Integrate the posterior.

    Parameters
    ----------
    two : TwoFoldSums
    means : AreaMeans
        Of the sub-areas.
    code : int
        FLAT_VARIANCE or FLAT_SD, of both variances.

    Raises
    ------
    ValueError
        If it is improper: too few areas, or too few areas with several sub-areas.
    """
    profile = TwoFoldProfile.of(two)
    counts = np.bincount(profile.seen.area)
    areas, subareas = int((counts > 0).sum()), int(counts.sum())
    if min(areas - profile.between, subareas - areas) < SPARE[code]:
        raise ValueError("the posterior is improper: too few areas for a flat prior")
    freedom = profile.freedom(restricted=True) - (4 if code == FLAT_VARIANCE else 2)
    width = float(np.sqrt(np.median(1.0 / profile.seen.sums.precision)))

    def log_density(s: np.ndarray) -> np.ndarray:
        tau = width * np.sinh(s)
        log_det, rss = profile.grid(tau**2, restricted=True)
        logs = -0.5 * (log_det + freedom * np.log(rss[:, 0])) + np.log(np.cosh(s)).sum(axis=1)
        if code != FLAT_VARIANCE:
            return logs
        with np.errstate(divide="ignore"):  # nothing at τ = 0
            return logs + np.log(tau).sum(axis=1)

    s, even = _nodes(*_box(log_density), _POINTS if subareas < _MANY else _FEWER)
    logs = log_density(s)
    weights = even * np.exp(logs - logs.max())
    weights /= weights.sum()
    kept = weights > _LEAST
    ratios, weights = (width * np.sinh(s[kept])) ** 2, weights[kept] / weights[kept].sum()
    point = profile.at(ratios, np.zeros(len(ratios), dtype=int), restricted=True)
    return _at(profile, two, means, ratios, weights, point, freedom)


def _nodes(low: np.ndarray, high: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nodes of Simpson's rule on a box, shape (points², 2), and their weights up to a factor."""
    axes = [np.linspace(low[i], high[i], points) for i in range(2)]
    rule = np.where(np.arange(points) % 2 == 1, 4.0, 2.0)
    rule[[0, -1]] = 1.0
    s = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    return s, np.outer(rule, rule).ravel()


def _box(log_density: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Find the box outside which the density is below exp(-_DROP) of its top."""
    low, high = np.zeros(2), np.full(2, 3.0)
    for _ in range(12):  # double the sides at whose ends it has not fallen off
        s, _ = _nodes(low, high, _COARSE)
        logs = log_density(s).reshape(_COARSE, _COARSE)
        open_ends = np.array([logs[-1].max(), logs[:, -1].max()]) > np.nanmax(logs) - _DROP
        if not open_ends.any():
            break
        high = np.where(open_ends, 2.0 * high, high)
    for _ in range(12):  # and zoom in until that changes little
        s, _ = _nodes(low, high, _COARSE)
        logs, wide = log_density(s), high - low
        inside, step = s[logs > np.nanmax(logs) - _DROP], wide / (_COARSE - 1)
        low, high = np.maximum(inside.min(axis=0) - step, 0.0), inside.max(axis=0) + step
        if (high - low > 0.6 * wide).all():
            break
    return low, high


def _at(
    profile: TwoFoldProfile,
    two: TwoFoldSums,
    means: AreaMeans,
    ratios: np.ndarray,
    weights: np.ndarray,
    point: TwoFoldPoint,
    freedom: int,
) -> TwoFoldPosterior:
    within, sums, n = profile.within, two.sums, two.sums.precision
    f = means.sampled(sums.n)
    sigma_e = np.sqrt(point.rss / max(freedom - 2, 1))[:, None]
    v, u = ratios[:, :1], ratios[:, 1:]
    h = n / (1.0 + n * u)
    b, spread = u * h, v / (1.0 + v * two.add(h))
    x, X = sums.x_mean @ within.root, means.x_mean @ within.root
    gap = np.where(sums.n > 0, sums.y_mean[0] - sums.x_mean @ within.start[0], 0.0) - point.delta @ x.T
    gap[:, sums.n == 0] = 0.0
    area_effect = (spread * two.add(h * gap))[:, two.area]
    effect = area_effect + np.where(sums.n > 0, b * (gap - area_effect), 0.0)
    centre = means.x_mean @ within.start[0] + point.delta @ X.T + f * gap + (1.0 - f) * effect
    pulled = two.add((h[:, :, None] * x).swapaxes(1, 2)).swapaxes(1, 2)
    of_area = (spread[:, :, None] * pulled)[:, two.area]
    weighed = b[:, :, None] * x + (1.0 - b)[:, :, None] * of_area
    loose = X - f[:, None] * x - (1.0 - f)[:, None] * weighed
    own = (1.0 - f) ** 2 * u * (1.0 - b) + (1.0 - f) / means.units
    return TwoFoldPosterior(
        two,
        means,
        weights,
        centre,
        sigma_e * np.sqrt(own),
        sigma_e * (1.0 - f) * (1.0 - b) * np.sqrt(spread)[:, two.area],
        sigma_e[:, :, None] * (loose @ point.inverse.swapaxes(1, 2)),
    )
