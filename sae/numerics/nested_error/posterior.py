"""Exact posterior of the nested error model: nodes of τ = σu/σe and of σe, everything else normal.

With β flat and p(σe²) ∝ 1/σe² the data leave

    p(τ, σe | y) ∝ p(σu) σe |V(τ)|^-½ |M(τ)|^-½ σe^-(n - p) exp(-rss(τ) / 2σe²) / σe,   σu = τ σe,

where the factor σe before |V| is that of dσu = σe dτ. A prior of the ratio stands in the place of p(σu) σe as
p(τ): then σe² given τ is inverse gamma, else that times a factor that is log-concave in log σe.

References
----------
Datta and Ghosh (1991), Ann. Stat. 19, 1748-1770; Clenshaw and Curtis (1960), Numer. Math. 2, 197-205.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from sae.numerics.inference.priors import FLAT_VARIANCE, HALF_CAUCHY, HALF_NORMAL, PC, SPARE, log_prior
from sae.numerics.nested_error.profile import AreaSums, Point, Profile

__all__ = ["HyperPrior", "NestedErrorPosterior", "log_conditional", "nested_error_posterior"]

_DROP = 40.0  # nats below the top at which a density is taken for nothing
_NODES = (65, 129, 257, 513, 1025)
_AGREE = 1e-11
_CELLS = 2048  # of the table from which τ is drawn
_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class HyperPrior:
    """Prior of σu, or of σu/σe with `ratio`: `code` and `scale` as in `priors`.

    σe² has density 1/σe² and the coefficients are flat.
    """

    code: int
    scale: float = 1.0
    ratio: bool = False

    def slope(self, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return first and second derivative of the log density with respect to log sd."""
        x = sd / self.scale
        if self.code == FLAT_VARIANCE:
            return np.ones_like(x), np.zeros_like(x)
        if self.code == HALF_NORMAL:
            return -x * x, -2.0 * x * x
        if self.code == HALF_CAUCHY:
            share = x * x / (1.0 + x * x)
            return -2.0 * share, -4.0 * share * (1.0 - share)
        if self.code == PC:
            return -x, -x
        return np.zeros_like(x), np.zeros_like(x)


@dataclass(frozen=True, eq=False)
class NestedErrorPosterior:
    """Posterior of τ and σe on nodes, and a table to draw τ from.

    Attributes
    ----------
    profile : Profile
    prior : HyperPrior
    tau, weights : ndarray, shape (K,)
        Nodes of σu/σe with weights that sum to 1.
    point : Point
        The profile at the nodes.
    sigma_e, inner : ndarray, shape (K, J)
        Nodes of σe given each τ with weights that sum to 1 in every row.
    table : ndarray, shape (3, 2049)
        s, its density and cumulated density up to constants, where τ = width sinh s; the density is linear
        between the points.
    width : float
    unit : float
        Residual standard deviation at τ = 0, in which the table is scale-free.
    error : float
        Largest change of a moment, or of the log of the integral, when the nodes were last doubled.
    log_evidence : float
        Log of the integral, up to a constant of n, p and the prior.
    """

    profile: Profile
    prior: HyperPrior
    tau: np.ndarray
    weights: np.ndarray
    point: Point
    sigma_e: np.ndarray
    inner: np.ndarray
    table: np.ndarray
    width: float
    unit: float
    error: float
    log_evidence: float

    def given_tau(
        self, rss: np.ndarray | None = None, *, drop: float = _DROP, count: int = 0, left_out: int = 0
    ):
        """Integrate σe out at the nodes, or for other residual sums of squares, shape (..., K).

        `left_out` is the number of units that these lack. Returns as `log_conditional`.
        """
        freedom = self.profile.units - len(self.profile.root) - left_out
        rss = self.point.rss if rss is None else rss
        tau = np.broadcast_to(self.tau, rss.shape)
        return _in_units(self.prior, tau.ravel(), rss.ravel(), freedom, self.unit, drop, count)

    @cached_property
    def sigma2_e(self) -> np.ndarray:
        """E(σe² | τ) at the nodes, shape (K,)."""
        return (self.inner * self.sigma_e**2).sum(axis=1)

    def mean(self, tau_power: int, sigma_power: int) -> float:
        """Return E(τ^a σe^b): (1, 1) is σu, (2, 2) its square, (0, 1) σe."""
        inside = (self.inner * self.sigma_e**sigma_power).sum(axis=1)
        return float(self.weights @ (self.tau**tau_power * inside))

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Return posterior means of the coefficients, shape (p,), and a root of their covariance, (p, p)."""
        delta, inverse = self.point.delta, self.point.inverse
        mean = self.weights @ delta
        gap = delta - mean
        inside = np.einsum("k,kab,kac->bc", self.weights * self.sigma2_e, inverse, inverse)
        cov = inside + np.einsum("k,ka,kb->ab", self.weights, gap, gap)
        root = self.profile.root
        return self.profile.start[0] + root @ mean, root @ np.linalg.cholesky(cov)


def log_conditional(
    prior: HyperPrior, tau: np.ndarray, rss: np.ndarray, freedom: int, drop: float = _DROP, count: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integrate σe out given τ, by the trapezoidal rule in v = log σe about the mode.

    The tangent of the concave log prior bounds the density by that of an inverse gamma, whose fall says how
    far the nodes must reach.

    Parameters
    ----------
    prior : HyperPrior
    tau, rss : ndarray, shape (K,)
    freedom : int
        n - p.
    drop : float
        Nats below the mode to which the nodes reach.
    count : int
        Number of nodes; 0 takes enough for full precision.

    Returns
    -------
    logs : ndarray, shape (K,)
        Log of the integral.
    sigma, weights : ndarray, shape (K, J)
    """
    power = float(freedom if prior.ratio else freedom - 1)
    on_ratio = log_prior((prior.code, prior.scale), tau) if prior.ratio else 0.0
    v = 0.5 * np.log(rss / max(power - (prior.code == FLAT_VARIANCE), 0.5))
    slope, bend = np.zeros_like(v), np.zeros_like(v)
    if not prior.ratio:
        for _ in range(60):
            slope, bend = prior.slope(tau * np.exp(v))
            inside = rss * np.exp(-2.0 * v)
            step = np.clip((inside - power + slope) / (2.0 * inside - bend), -2.0, 2.0)
            v = v + step
            if np.abs(step).max() < 1e-3:  # where the nodes stand, not what they weigh
                break
        slope, bend = prior.slope(tau * np.exp(v))
    tight = np.maximum(power - slope, 0.25)
    low = 0.5 * np.log1p(2.0 * drop / tight + 2.0 * np.sqrt(2.0 * drop / tight))
    high = np.sqrt(drop / tight) + drop / tight
    count = count or (37 if power > 10 else 513)
    offset = np.linspace(-low, high, count, axis=1)
    sigma = np.exp(v[:, None] + offset)
    values = -power * (v[:, None] + offset) - 0.5 * rss[:, None] / sigma**2
    if not prior.ratio:
        with np.errstate(divide="ignore"):  # log 0 at τ = 0
            values += log_prior((prior.code, prior.scale), tau[:, None] * sigma)
    with np.errstate(divide="ignore", invalid="ignore"):
        top = values.max(axis=1)
        weights = np.exp(values - np.where(np.isfinite(top), top, 0.0)[:, None])
        total = weights.sum(axis=1)
        logs = top + np.log(total * (low + high) / (count - 1)) + on_ratio
        weights /= np.where(total > 0.0, total, 1.0)[:, None]
    return logs, sigma, weights


def _in_units(
    prior: HyperPrior, tau: np.ndarray, rss: np.ndarray, freedom: int, unit: float, drop: float, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Call `log_conditional` with σe in units of `unit`, so that no scale of the data can overflow."""
    scaled = replace(prior, scale=prior.scale if prior.ratio else prior.scale / unit)
    logs, sigma, weights = log_conditional(scaled, tau, rss / unit**2, freedom, drop, count)
    return logs, sigma * unit, weights


def nested_error_posterior(
    sums: AreaSums | Profile, prior: HyperPrior, *, check: bool = True
) -> NestedErrorPosterior:
    """Integrate the posterior on Clenshaw–Curtis nodes of τ, doubled until the moments agree.

    Parameters
    ----------
    sums : AreaSums or Profile
        Of one outcome.
    prior : HyperPrior
    check : bool
        Refuse an improper posterior.

    Raises
    ------
    ValueError
        If the posterior is improper: ``args[1]`` is -1 where nothing is left within areas to tell σe² by, -2
        where the outcome does not vary within areas, -3 where a flat prior of σu² needs m + 3 areas, one of
        σu m + 2, with m coefficients that only area means tell about, -4 where n < p + 3.

    Examples
    --------
    >>> from sae.numerics.nested_error.profile import area_sums
    >>> y = np.array([1.0, 2.0, 6.0, 7.0, 2.0, 3.0, 4.0, 5.5])
    >>> sums = area_sums(y, np.ones((8, 1)), np.repeat([0, 1, 2, 3], 2), 4)
    >>> posterior = nested_error_posterior(sums, HyperPrior(HALF_NORMAL, 3.0))
    >>> round(float(posterior.weights.sum()), 12)
    1.0
    """
    profile = sums if isinstance(sums, Profile) else Profile.of(sums)
    freedom = profile.units - len(profile.root)
    if check:
        _refuse_improper(profile, prior, freedom)
    unit = math.sqrt(float(profile.at(np.zeros(1)).rss[0]) / freedom)
    # τ = width sinh s is linear near 0 and logarithmic far out
    width = 1.0 / math.sqrt(float(np.median(np.repeat(profile.n, profile.counts.astype(int)))))

    def log_density(s: np.ndarray) -> np.ndarray:
        tau = width * np.sinh(s)
        logs = np.empty(len(tau))
        chunk = max(1, _ELEMENTS // (len(profile.n) + 520))
        for start in range(0, len(tau), chunk):
            part = slice(start, start + chunk)
            point = profile.at(tau[part] ** 2)
            inner = _in_units(prior, tau[part], point.rss, freedom, unit, _DROP, 0)[0]
            logs[part] = inner - 0.5 * (point.log_det_v + point.log_det_m)
        return logs + np.log(width * np.cosh(s))

    low, high = _bracket(log_density)
    before, error = np.full(3, math.inf), math.inf
    for count in _NODES:
        standard, weights = _rule(count)
        half = 0.5 * (high - low)
        s = low + half * (1.0 + standard)
        logs = log_density(s)
        top = float(np.nanmax(logs))
        values = half * weights * np.nan_to_num(np.exp(logs - top))
        total = float(values.sum())
        nodes = width * np.sinh(s)
        share = nodes**2 / (nodes**2 + width**2)
        now = np.array([values @ share / total, values @ share**2 / total, math.log(total) + top])
        error, before = float(np.abs(now - before).max()), now
        if error < _AGREE * max(1.0, abs(now[2])):
            break
    grid = np.linspace(low, high, _CELLS + 1)
    density = np.maximum(_between_nodes(count) @ np.nan_to_num(np.exp(logs - top)), 0.0)
    cumulated = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    keep = values > 1e-18 * total
    nodes, values = nodes[keep], values[keep] / values[keep].sum()
    point = profile.at(nodes**2)
    _, sigma, inner = _in_units(prior, nodes, point.rss, freedom, unit, _DROP, 0)
    return NestedErrorPosterior(
        profile,
        prior,
        nodes,
        values,
        point,
        sigma,
        inner,
        np.stack([grid, density, cumulated]),
        width,
        unit,
        error,
        float(now[2]),
    )


def _refuse_improper(profile: Profile, prior: HyperPrior, freedom: int) -> None:
    if profile.within_freedom < 1:
        raise ValueError("no degree of freedom is left within areas", -1)
    total = profile.yy[0] + float(profile.n @ profile.byy[0])
    if profile.within_rss()[0] <= 1e-20 * total:
        raise ValueError("the outcome does not vary within areas", -2)
    if profile.areas - profile.between < SPARE[prior.code]:
        raise ValueError("the posterior is improper: too few areas for a flat prior", -3)
    if freedom < 3:
        raise ValueError("the posterior is improper: too few units", -4)


def _bracket(log_density) -> tuple[float, float]:
    """Find the interval outside which the density is below exp(-_DROP) of its top, by zooming in."""
    low, high = 0.0, 3.0
    while True:  # double until the end has fallen off
        s = np.linspace(low, high, 65)
        values = log_density(s)
        if values[-1] < np.nanmax(values) - _DROP or high > 300.0:
            break
        high *= 2.0
    for _ in range(60):
        inside = np.flatnonzero(values > np.nanmax(values) - _DROP)
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, len(s) - 1)
        tight = last - first > 24
        low, high = s[first], s[last]
        if tight:
            break
        s = np.linspace(low, high, 65)
        values = log_density(s)
    return float(low), float(high)


@cache
def _between_nodes(count: int) -> np.ndarray:
    """Return the matrix that takes values at Chebyshev nodes to the table's points (barycentric formula)."""
    nodes = np.cos(np.pi * np.arange(count) / (count - 1))
    signs = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
    signs[[0, -1]] *= 0.5
    gap: np.ndarray = np.linspace(-1.0, 1.0, _CELLS + 1)[:, None] - nodes
    hit: np.ndarray = np.asarray(np.abs(gap) < 1e-15)
    share = signs / np.where(hit, 1.0, gap)
    share /= share.sum(axis=1)[:, None]
    return np.where(np.any(hit, axis=1, keepdims=True), hit, share)


@cache
def _rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Clenshaw–Curtis nodes and weights on [-1, 1]; `count` is odd."""
    n = count - 1
    theta = np.pi * np.arange(count) / n
    k = np.arange(1, n // 2 + 1)
    factor = np.where(k == n // 2, 1.0, 2.0) / (4.0 * k * k - 1.0)
    weights = 2.0 / n * (1.0 - np.cos(2.0 * np.outer(theta, k)) @ factor)
    weights[[0, -1]] *= 0.5
    return np.cos(theta), weights
