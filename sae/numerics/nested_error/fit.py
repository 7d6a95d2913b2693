"""The nested error model of units in areas: variances and coefficients by REML or ML.

y = x'β + u_d + e, u_d ~ N(0, σu²), e ~ N(0, σe² k²); many outcomes of one design in one call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sae.numerics.nested_error.profile import AreaSums, Profile

__all__ = ["NestedErrorFits", "fit_nested_error"]

_TOLERANCE = 1e-13
_SCAN_RATIO = 3.0  # the profile bends on the scale of log λ: steps of this factor meet every maximum
_ELEMENTS = 4_000_000  # numbers held at a time


@dataclass(frozen=True, eq=False)
class NestedErrorFits:
    """Fits of R outcomes that share a design.

    Attributes
    ----------
    sigma2_u, sigma2_e : ndarray, shape (R,)
        Variances, squared units; `sigma2_u` exactly 0 where the boundary is the maximum.
    coefficients : ndarray, shape (R, p)
        Generalised least squares.
    root : ndarray, shape (R, p, p)
        Their covariance is root root'.
    loglik : ndarray, shape (R,)
        At the estimates: the restricted one (in which |X'X| does not count) for REML, the full one for ML.
    maxima : ndarray of int, shape (R,)
        Number of local maxima of the profile met, the boundary included.
    """

    sigma2_u: np.ndarray
    sigma2_e: np.ndarray
    coefficients: np.ndarray
    root: np.ndarray
    loglik: np.ndarray
    maxima: np.ndarray


def fit_nested_error(sums: AreaSums | Profile, method: str = "reml") -> NestedErrorFits:
    """Fit the model by restricted or full maximum likelihood, profiled in λ = σu²/σe².

    The score is scanned from 0 to a bound beyond which it is negative, every interval in which it falls
    through 0 is closed, and the highest maximum, the boundary λ = 0 included, wins.

    Parameters
    ----------
    sums : AreaSums or Profile
        Of one or many outcomes (replicates): the cost does not depend on the number of units.
    method : {"reml", "ml"}

    Returns
    -------
    NestedErrorFits

    Raises
    ------
    ValueError
        If a column is explained by the others (``args[1]`` is its index), if nothing is left within areas to
        tell σe² by, if the outcome does not vary within areas, or if there are no more areas than
        coefficients that only area means tell about (``args[1]`` is -1, -2, -3).

    References
    ----------
    Battese, Harter and Fuller (1988), JASA 83, 28–36; Rao and Molina (2015), section 7.1.

    Examples
    --------
    >>> from sae.numerics.nested_error.profile import area_sums
    >>> y = np.array([1.0, 2.0, 6.0, 7.0, 2.0, 3.0])
    >>> fits = fit_nested_error(area_sums(y, np.ones((6, 1)), np.repeat([0, 1, 2], 2), 3))
    >>> float(fits.sigma2_e[0].round(10)), float(fits.sigma2_u[0].round(6))  # analysis of variance
    (0.5, 6.75)
    """
    profile = sums if isinstance(sums, Profile) else Profile.of(sums)
    restricted = method == "reml"
    if profile.within_freedom < 1:
        raise ValueError("no degree of freedom is left within areas", -1)
    total = profile.yy + (profile.n * profile.byy).sum(axis=1)
    if np.any(profile.within_rss() <= 1e-20 * total):
        raise ValueError("the outcome does not vary within areas", -2)
    if profile.areas <= profile.between:
        raise ValueError("no more areas than coefficients told by area means alone", -3)
    ratio, maxima = _maximise(profile, restricted)
    rows = np.arange(profile.outcomes)
    point = profile.at(ratio, rows)
    n, p = profile.units, len(profile.root)
    freedom = n - p if restricted else n
    sigma2_e = point.rss / freedom
    loglik = profile.loglik(point, restricted) - 0.5 * freedom * (1.0 + math.log(2.0 * math.pi / freedom))
    loglik -= profile.log_scale
    if restricted:  # log|X'V^-1X| in the units of X, the profile's own being those of `root`
        loglik += float(np.log(np.abs(np.diagonal(profile.root))).sum())
    return NestedErrorFits(
        ratio * sigma2_e,
        sigma2_e,
        profile.start + point.delta @ profile.root.T,
        np.sqrt(sigma2_e)[:, None, None] * (profile.root @ point.inverse.swapaxes(1, 2)),
        loglik,
        maxima,
    )


def _top(profile: Profile, restricted: bool) -> float:
    """Bound the ratios at which the score can be positive.

    With b = Σ r̄² at the coefficients fitted within areas, rss <= w + b / λ where w is its limit, so that
    Σ g² r̄² <= (rss - w) / λ gives S <= ν b / (λ (b + λ w)), while T >= k / (λ + 1 / min n).
    """
    p = len(profile.root)
    freedom = profile.units - p if restricted else profile.units
    k = max(profile.areas - p, 1) if restricted else profile.areas
    delta = profile.within_coefficients()
    b = (
        profile.byy.sum(axis=1)
        - 2.0 * (delta * profile.bxy.sum(axis=1)).sum(axis=1)
        + np.einsum("ra,ab,rb->r", delta, profile.bxx.sum(axis=0), delta)
    )
    b = np.maximum(b, 0.0) / profile.within_rss()
    least = 1.0 / profile.n.min()
    middle = 0.5 * b * (freedom - k) / k
    return float((middle + np.sqrt(middle**2 + freedom * b * least / k)).max() * (1.0 + 1e-9))


def _maximise(profile: Profile, restricted: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the ratio of every outcome at its global maximum, and the number of maxima met."""
    outcomes = profile.outcomes
    bottom, top = 0.5 / profile.n.max(), _top(profile, restricted)
    steps = max(math.ceil(math.log(max(top / bottom, 1.0)) / math.log(_SCAN_RATIO)), 1)
    grid = np.concatenate([[0.0], np.geomspace(bottom, max(top, 2.0 * bottom), steps + 1)])
    scores = np.empty((len(grid), outcomes))
    chunk = max(1, _ELEMENTS // (outcomes * len(profile.n) * (len(profile.root) + 2)))
    rows = np.arange(outcomes)
    for start in range(0, len(grid), chunk):
        part = grid[start : start + chunk]
        point = profile.at(np.repeat(part, outcomes), np.tile(rows, len(part)))
        scores[start : start + chunk] = profile.score(point, restricted).reshape(len(part), outcomes)
    step, owner = np.nonzero((scores[:-1] > 0.0) & (scores[1:] <= 0.0))
    at_zero = scores[0] <= 0.0
    best = np.zeros(outcomes)
    value = np.where(at_zero, profile.loglik(profile.at(np.zeros(outcomes), rows), restricted), -np.inf)
    maxima = at_zero.astype(np.int64) + np.bincount(owner, minlength=outcomes)
    if len(owner):
        found = _close(
            profile,
            restricted,
            owner,
            grid[step],
            grid[step + 1],
            scores[step, owner],
            scores[step + 1, owner],
        )
        height = profile.loglik(profile.at(found, owner), restricted)
        for k in np.argsort(height, kind="stable"):
            if height[k] > value[owner[k]]:
                best[owner[k]], value[owner[k]] = found[k], height[k]
    return best, maxima


def _close(
    profile: Profile,
    restricted: bool,
    owner: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    at_low: np.ndarray,
    at_high: np.ndarray,
) -> np.ndarray:
    """Close brackets of falls through 0, all at once, by Chandrupatla's method (1997, Adv. Eng. Softw. 28).

    Its steps are inverse quadratic where the function is nearly one, else halvings.
    """
    a, fa, b, fb = high.copy(), at_high.copy(), low.copy(), at_low.copy()
    c, fc = a.copy(), fa.copy()
    share = np.full(len(a), 0.5)
    for _ in range(100):
        new = a + share * (b - a)
        f = profile.score(profile.at(new, owner), restricted)
        same = np.sign(f) == np.sign(fa)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = new, f
        near = np.abs(fa) < np.abs(fb)
        best = np.where(near, a, b)
        width = np.abs(b - a)
        tolerance = _TOLERANCE * best / np.where(width > 0.0, width, 1.0)
        if np.all((tolerance > 0.5) | (fa == 0.0) | (width == 0.0)):
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
            smooth = (phi * phi < xi) & ((1.0 - phi) ** 2 < 1.0 - xi)
            quadratic = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        share = np.where(smooth & np.isfinite(quadratic), quadratic, 0.5)
        share = np.clip(share, np.minimum(tolerance, 0.5), 1.0 - np.minimum(tolerance, 0.5))
    return np.where(fa == 0.0, a, best)
